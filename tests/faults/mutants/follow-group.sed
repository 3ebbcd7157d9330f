# what: the checkpoint of a group's part goes past events under way
# file: cmd/tail_group.c
# row: followers
s/p->open_count > 0 && p->open\[0\] < position/p->open_count > 0 \&\& p->open[0] > position/
