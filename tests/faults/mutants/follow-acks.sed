# what: an acknowledgement out of order takes with it those before it
# file: cmd/tail_ack.c
# row: followers
/ watermark\(/,/^}/s/uint64_t i = 0;/uint64_t i = a->count;/
