# what: readers are shown what is durable here, committed or not
# file: libcore/shared_head.c
# store: disk
s/return v == FMT_COMMITTED_IS_SYNCED \? es_head_synced\(db\) : v;/return es_head_synced(db);/
