# what: a full disk poisons
# file: libcore/poison.c
# row: io-errors ENOSPC
s/^    if \(!lost\)$/    if (0)/
