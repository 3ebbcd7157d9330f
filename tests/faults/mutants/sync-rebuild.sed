# what: recovery publishes what it has not synced
# file: libcore/recover.c
# row: power-loss shown
s/rc = es_fdatasync\(db->active\.fd\);/rc = 0;/
