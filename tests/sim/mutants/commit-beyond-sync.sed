# what: raft's commit index is published, though this disk is behind
# file: replicate/driver.c
# store: memory
/^static void publish/,/^}/{s/if \(commit > d->synced\)/if (commit > d->last)/;s/commit = d->synced;/commit = d->last;/;}
