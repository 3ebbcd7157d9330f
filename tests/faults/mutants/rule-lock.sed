# what: appends do not exclude each other
# file: libcore/lock.c
# row: races
s/int rc = es_try_lock\(db->lock, byte\);/int rc = 0;\n    (void)db, (void)byte;/
