# what: a leader believes that it still leads, without asking
# file: replicate/driver.c
# store: memory
s/with > voters \/ 2/with > 0/
