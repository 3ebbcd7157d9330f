# what: the name of a segment whose creator died is not made durable
# file: libcore/tail.c
# row: power-loss killed
s/rc = es_fsync\(db->log\); \/\* whoever.*/rc = 0;/
