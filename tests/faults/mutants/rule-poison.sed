# what: a failed sync is not remembered
# file: libcore/commit.c
# row: io-errors group|evict
s/rc = es_poison\(db, "syncing the log", rc, err\);.*/rc = es_fail(err, rc, "sync");/
