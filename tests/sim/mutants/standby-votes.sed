# what: standbys do not vote
# file: replicate/steps.c
# store: memory
s/struct raft_server \*self = standby_self\(d\);/struct raft_server *self = NULL;/
