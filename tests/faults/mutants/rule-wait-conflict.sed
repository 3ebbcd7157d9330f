# what: readers see what is not durable
# file: libcore/shared_head.c
# row: io-errors group
s/return v == FMT_COMMITTED_IS_SYNCED \? es_head_synced\(db\) : v;/return v == FMT_COMMITTED_IS_SYNCED ? es_head_appended(db) : v;/
