# what: an interrupted cut is not taken up again
# file: libcore/replica.c
# store: disk
s/r->state\.cut = index;.*/;/
