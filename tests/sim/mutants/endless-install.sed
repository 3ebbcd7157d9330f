# what: an installation that was overtaken is never begun anew
# file: replicate/driver.c
# store: memory
s/5 \* d->options\.election_ms\)/1u << 30)/
