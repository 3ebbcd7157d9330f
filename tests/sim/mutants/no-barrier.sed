# what: a leader without a committed entry of its own term takes appends
# file: replicate/driver.c
# store: memory
s/return leads\(d\) && d->barrier_term == rep_term\(d\).*/return leads(d) \&\&/
