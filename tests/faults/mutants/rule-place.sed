# what: head of another place is trusted
# file: libcore/shared_head.c
# row: copies
s/h->inode != \(uint64_t\)db->head_inode \|\| h->incarnation/h->incarnation/; s/h->device != \(uint64_t\)db->head_device \|\|$//
