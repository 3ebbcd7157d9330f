# what: lifting the poison is not made durable
# file: libcore/repair.c
# row: power-loss repair
s/rc = es_fsync\(db->dir\);/rc = 0;/
