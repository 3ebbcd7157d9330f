# what: a leader publishes what is durable on its own disk
# file: replicate/driver.c
# store: memory
/^static void publish/,/^}/s/uint64_t commit = raft_commit_index\(&d->raft\);/uint64_t commit = leads(d) ? d->synced : raft_commit_index(\&d->raft);/
