/* raft_state.h: raft/state, what a node of a replicated store must not forget: its identity, term and vote, the newest frame
 * that it knows to be committed, and the membership that goes with it. FORMAT.md section 2 has the same.
 *
 * Two slots of 4096 bytes, written in turn, each with a number and a checksum; the valid one with the higher number counts.
 * Each write is synced before the next: so one of the two is always whole.
 *
 *    0  8     magic "ESDBRAFT"
 *    8  u32   version            1
 *   12  u32   configuration_len  <= 3584
 *   16  u64   number             of the write, from 1: slot number mod 2
 *   24  16    store_id
 *   40  u64   incarnation
 *   48  u64   node               raft id
 *   56  u64   term
 *   64  u64   vote               raft id, 0: none
 *   72  u64   committed          frame index
 *   80  u64   configuration_index  frame that holds the membership; 0: none
 *   88  u64   cut                a cut of this frame and all after it has begun, and not ended; 0: none
 *   96  u64   checksum           XXH3-64 of bytes 0 .. 96 and of the configuration, folded
 *  512        configuration */
#ifndef ES_RAFT_STATE_H
#define ES_RAFT_STATE_H

#include "store.h"

#define ES_RAFT_SLOT_SIZE 4096u
#define ES_RAFT_CONFIGURATION_AT 512u
#define ES_RAFT_CONFIGURATION_MAX (ES_RAFT_SLOT_SIZE - ES_RAFT_CONFIGURATION_AT)

struct es_raft_state {
    uint64_t number;
    uint64_t node, term, vote, committed;
    uint64_t configuration_index;
    uint64_t cut;
    size_t configuration_len;
    unsigned char configuration[ES_RAFT_CONFIGURATION_MAX];
};

/* ESDB_ENOTFOUND: there is none. ESDB_ECORRUPT: neither slot is whole, or of this store: the node may not vote any more. */
int es_raft_state_load(const esdb *db, struct es_raft_state *out, struct esdb_error *err);

/* Makes raft/ and the file, durably. Whatever is there is replaced. */
int es_raft_state_create(const esdb *db, struct es_raft_state *s, struct esdb_error *err);

/* Writes the other slot and syncs it; raises s->number. After an error the node must stop. */
int es_raft_state_save(const esdb *db, struct es_raft_state *s, struct esdb_error *err);

#endif
