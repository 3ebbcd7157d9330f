# what: a segment is installed behind frames that are not durable yet
# file: libcore/adopt.c
# store: disk
s/es_head_synced\(db\) < r->tail.mark.index/false/
