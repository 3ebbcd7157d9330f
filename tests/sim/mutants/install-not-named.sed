# what: the name of an installed segment is not made durable
# file: libcore/adopt.c
# store: disk
s/rc = es_fsync\(db->log\);/rc = 0;/
