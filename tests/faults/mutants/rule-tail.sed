# what: the tail that is chained to is not looked at
# file: libcore/tail.c
# row: flips tail
s/^    if \(!whole\)$/    if (0)/
