# what: a full disk poisons
# file: libcore/recover.c
# row: io-errors ENOSPC
s/^    if \(!lost\)$/    if (0)/
