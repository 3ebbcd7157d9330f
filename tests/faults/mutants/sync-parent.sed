# what: the name of a new store is not made durable
# file: libcore/store.c
# row: power-loss init
s/int rc = es_fsync\(fd\);/int rc = 0;/
