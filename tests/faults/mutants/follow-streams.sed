# what: a stream goes to two commands at once
# file: cmd/delivery_dispatch.c
# row: followers
s/d->o\.order == CMD_ORDER_STREAM && s->in_flight > 0/d->o.order == CMD_ORDER_STREAM \&\& s->in_flight > 4/
