# what: expected versions are not tested
# file: libcore/append.c
# row: races
s/return expected == ESDB_EXISTS \? .*/return (void)actual, true;/
