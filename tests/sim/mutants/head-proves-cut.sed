# what: head still says that what is being cut was durable
# file: libcore/replica.c
# store: disk
s/int rc = es_head_lower\(db, m\);/int rc = 0;/
