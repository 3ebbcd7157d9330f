# what: head does not prove loss
# file: libcore/shared_head.c
# row: flips tail
s/return value_or_zero\(&h->synced\);/return 0;/
