# what: a group is acknowledged without fdatasync
# file: libcore/commit.c
# row: power-loss many
s/rc = es_fdatasync\(db->active\.fd\);/rc = 0;/
