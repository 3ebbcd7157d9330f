# what: the check of a mark is not tested
# file: libcore/shared_head.c
# row: flips random
s/copy\.check == fmt_mark_check\(.copy\)/copy.check != 0/
