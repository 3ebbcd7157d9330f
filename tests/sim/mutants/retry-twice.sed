# what: a retried request is written whether its event id is there or not
# file: tests/sim/disk.c
# store: disk
s/ESDB_IDEMPOTENT, term, frame/0, term, frame/
