# what: late appends of what the library has forgotten are given to it
# file: replicate/driver.c
# store: memory
s/if \(prev_index < d->committed && rep_look/if (0 \&\& rep_look/
