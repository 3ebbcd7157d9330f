# what: a full disk poisons
# file: libcore/recover.c
# row: io-errors ENOSPC
s/if \(code == -ENOSPC \|\| .*/if (0)/
