# what: a receipt does not wait for the sync
# file: libcore/commit.c
# row: power-loss many
s/^    uint64_t deadline = .*/    if (db) return 0;\n&/
