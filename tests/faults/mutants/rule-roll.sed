# what: the old segment is not synced before the next is made
# file: libcore/roll.c
# row: power-loss barrier
s/int rc = es_lead\(db, NULL, err\);/es_publish_synced(db, m);\n    int rc = 0;/
