# what: both writes of raft/state go to one slot
# file: libcore/raft_state.c
# store: disk
s/\(s->number & 1\) \* ES_RAFT_SLOT_SIZE/0/
