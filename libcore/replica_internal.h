/* replica_internal.h: replica.c, and adopt.c, which gives it frames that were fetched. */
#ifndef ES_REPLICA_INTERNAL_H
#define ES_REPLICA_INTERNAL_H

#include "replica.h"

#define ES_REPLICA_RING 16384u /* newest frames that are remembered: 1.3 MiB; what is older is found in the log */

struct es_replica {
    esdb *db;
    struct es_tail tail;
    struct es_raft_state state;
    uint64_t committed;
    struct es_replica_frame *ring; /* frame i at i % RING */
    uint64_t ring_first;           /* older ones are not in it */
    esdb_batch *prepared;          /* whose frame is to be written next; NULL: none */
    uint64_t prepared_index;
    _Atomic uint64_t cuts; /* counted, for syncers: their open file may be gone */
    struct {
        struct es_segment *segment;
        struct fmt_walk walk;
    } reading; /* where the last frame was found that is not in the ring */
};

/* The frame at the tail is the newest one, of that kind. */
void es_replica_remember(struct es_replica *r, uint8_t kind);

/* Everything that was written becomes durable. */
int es_replica_sync_all(struct es_replica *r, struct esdb_error *err);

#endif
