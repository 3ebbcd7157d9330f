# what: a frame need not chain to the one before
# file: format/segment.c
# row: flips stale
s/if \(f\.prev_checksum != w->prev_checksum\)/if (0)/
