# what: a sync that began before a cut counts for what was written after it
# file: replicate/driver.c
# store: memory
s/if \(epoch == d->epoch && index > d->synced/if (index > d->synced/
