# what: an I/O error of saving term and vote is taken for success
# file: libcore/raft_state.c
# store: disk
s/^        rc = es_fdatasync\(fd\);/        rc = es_fdatasync(fd), rc = 0;/
