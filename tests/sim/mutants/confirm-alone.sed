# what: a leader believes that it still leads, without asking
# file: replicate/probe.c
# store: memory
s/with > voters \/ 2/with > 0/
