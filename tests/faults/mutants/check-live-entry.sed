# what: the check of an entry of the live index is not tested
# file: libcore/live_find.c
# row: flips random
s/return e->check == fmt_live_entry_check\(e, ordinal\) \? e : NULL;/return e;/
