# what: what was fetched gets its name in the log before it is on the disk
# file: libcore/install.c
# store: disk
s/rc = es_fdatasync\(fd\);/rc = 0;/
