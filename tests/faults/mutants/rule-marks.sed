# what: recovery leaves old marks in head
# file: libcore/shared_head.c
# row: power-loss
/memset\(h->(appended|synced)_mark/d
