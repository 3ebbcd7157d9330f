# what: the check of a key in the live index is not tested
# file: libcore/live_find.c
# row: flips keys
s/ \|\| k->check != fmt_live_key_check\(k, target - 1\)//
