# what: recovery does not write back what it has not proven
# file: libcore/recover.c
# row: io-errors limbo
s/rc = es_rewrite\(db, durable \? .*/rc = 0, (void)begin;/
