# what: entries count as durable as soon as they are written
# file: replicate/steps.c
# store: memory
s/^    d->last = first \+ u->entries\.n - 1;/    d->synced = d->last = first + u->entries.n - 1;/
