/* replica.h: the log of a node of a replicated store, as the one process that may write it (esdb-raftd, the simulator) uses
 * it. The append lock is held from es_replica_open on: nobody else appends, rebuilds or cuts. Frames have the index and term
 * that raft gave them; what is written need not be committed, and readers are shown nothing beyond what es_replica_publish
 * has told. One thread, except for es_replica_sync, which has a handle of its own.
 *
 * Errors: ESDB_ECORRUPT, ESDB_EPOISONED, -errno: this node must stop; except where a function says that nothing was done. */
#ifndef ES_REPLICA_H
#define ES_REPLICA_H

#include "append.h"
#include "raft_state.h"

struct es_replica;

struct es_replica_frame {
    struct fmt_mark mark; /* after the frame */
    uint64_t term;
    uint8_t kind;
    bool rolls; /* it closes its segment */
};

/* Opens a replicated store, recovers its log and makes all of it durable, reads raft/state.
 * ESDB_ENOTFOUND: it is not replicated, or raft/state is missing. ESDB_EUNAVAILABLE: somebody else holds the append lock. */
int es_replica_open(const char *path, struct es_replica **out, struct esdb_error *err);
void es_replica_close(struct es_replica *r);

esdb *es_replica_db(struct es_replica *r);                    /* for reading; borrowed */
struct es_raft_state *es_replica_state(struct es_replica *r); /* to be changed and saved by es_replica_save; borrowed */
int es_replica_save(struct es_replica *r, struct esdb_error *err);

uint64_t es_replica_last(const struct es_replica *r); /* index of the newest frame; 0: the log is empty */
uint64_t es_replica_committed(const struct es_replica *r);

/* The frame at an index. False: it is not there. Cheap for the newest ones. */
bool es_replica_look(struct es_replica *r, uint64_t index, struct es_replica_frame *out);

/* Calls fn for each frame from `first` on: with its header, and its payload for a configuration (else NULL). A result other
 * than 0 ends it and is handed back. */
typedef int es_replica_walk_fn(void *context, const struct fmt_frame *f, const unsigned char *payload, size_t len);
int es_replica_walk(struct es_replica *r, uint64_t first, es_replica_walk_fn *fn, void *context,
                    struct esdb_error *err);

/* Are the frames from `first` on whole, with all that they hold? ESDB_ECORRUPT: the text says which is not, and where. */
int es_replica_check(struct es_replica *r, uint64_t first, struct esdb_error *err);

/* ---- writing ---- */

/* Makes sure that `len` bytes of frames find room. -ENOSPC and its like: nothing was done, try again later. */
int es_replica_reserve(struct es_replica *r, size_t len, struct esdb_error *err);

/* A frame of this node as the leader, for the next index: es_prepare_frame. The batch must stay until the frame was written
 * or the next one is prepared. *frame is borrowed from it. */
int es_replica_prepare(struct es_replica *r, esdb_batch *b, unsigned flags, uint64_t term, const unsigned char **frame,
                       size_t *len, struct esdb_receipt *receipt, struct esdb_error *err);

/* Writes a frame: header and payload as they are to be in everybody's log. It must continue the log. */
int es_replica_append(struct es_replica *r, const unsigned char *frame, size_t len, struct esdb_error *err);

/* Makes a frame without events and writes it. len: a multiple of 8. */
int es_replica_append_made(struct es_replica *r, uint8_t kind, uint8_t flags, uint64_t term,
                           const unsigned char *payload, size_t len, struct esdb_error *err);

/* Removes the frame at index and all after it, durably, and makes durable what stands before it. Never a committed one. */
int es_replica_cut(struct es_replica *r, uint64_t index, struct esdb_error *err);

/* Brings the index of the active segment up to what was written: frames of another leader are not added as they come. */
int es_replica_index(struct es_replica *r, struct esdb_error *err);

/* Readers are shown everything up to this frame, which is durable here. */
int es_replica_publish(struct es_replica *r, uint64_t committed, struct esdb_error *err);

/* Adds the bytes of frames first, first + 1, ... to the buffer, at most `count` and about `bytes_max` (but one at least), and
 * says how many: fewer at the log's end. They are as another node's es_replica_append wants them. */
int es_replica_read(struct es_replica *r, uint64_t first, uint32_t count, size_t bytes_max, struct es_buffer *out,
                    uint32_t *got, struct esdb_error *err);

/* ---- syncing, from any thread ---- */

struct es_replica_syncer;
int es_replica_syncer_open(struct es_replica *r, struct es_replica_syncer **out, struct esdb_error *err);
void es_replica_syncer_close(struct es_replica_syncer *s);

/* Makes durable whatever was appended before the call; *upto is the newest frame of that. */
int es_replica_sync(struct es_replica_syncer *s, uint64_t *upto, struct esdb_error *err);

/* ---- looking for damage, from any thread ---- */

/* Reads all closed segments, `rate` bytes a second, with a handle of its own, until *stop is set. ESDB_ECORRUPT: the text says
 * where. */
int es_scrub(const char *path, uint64_t rate, const _Atomic bool *stop, struct esdb_error *err);

/* ---- becoming replicated ---- */

/* A standalone store becomes a node of a replicated one: store.yaml says so and has the incarnation, raft/state is made of
 * *state. Nobody else may have it open for appending. What was in the log stays. */
int es_replica_convert(const char *path, uint64_t incarnation, struct es_raft_state *state, struct esdb_error *err);

#endif
