# what: head of another boot is trusted
# file: libcore/shared_head.c
# row: power-loss many
s/if \(memcmp\(h->boot_id, db->boot_id, sizeof h->boot_id\) != 0 \|\|/if (/
