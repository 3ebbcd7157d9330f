# what: a poisoned store takes appends
# file: libcore/tail.c
# row: io-errors evict|EIO
s/if \(es_head_valid\(db\) && es_head_poisoned\(db\)\)/if (0)/; s/return rc < 0 \? rc : es_renew\(db, (true|err|false)/return (void)rc, es_renew(db, \1/
