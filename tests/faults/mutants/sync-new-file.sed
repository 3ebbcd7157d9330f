# what: a new file gets its name before its content is durable
# file: libcore/store.c
# row: power-loss roll|init
s/rc = es_fsync\(fd\);$/rc = 0;/
