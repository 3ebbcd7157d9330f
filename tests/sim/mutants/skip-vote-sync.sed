# what: term and vote are written, and not synced
# file: libcore/raft_state.c
# store: disk
s/rc = es_fdatasync\(fd\);/rc = 0;/
