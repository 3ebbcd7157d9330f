# what: appends of deposed leaders are taken
# file: replicate/steps.c
# store: memory
s/\(struct raft_append_entries\)\{\.term = m->term,/(struct raft_append_entries){.term = m->term < d->raft.current_term ? d->raft.current_term : m->term,/
