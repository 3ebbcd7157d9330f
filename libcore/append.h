/* append.h: writing frames. The public functions are in esdb.h. */
#ifndef ES_APPEND_H
#define ES_APPEND_H

#include "batch.h"
#include "recover.h"

/* A flag of esdb_append beside the public ones: the caller tries again after a conflict, so that the answer is not one
 * that others hear, and need not be waited for. */
#define ES_TRIES_AGAIN (1u << 31)

/* Append lock held, space allocated. Writes a frame at the tail, adds the events of b (NULL: it has none, or later) to
 * the index, publishes it, moves the tail. */
int es_write_frame(esdb *db, const unsigned char *bytes, const struct fmt_frame *f, esdb_batch *b, struct es_tail *tail,
                   struct esdb_error *err);

/* Append lock held. Checks a batch against the tail as esdb_append does and makes its frame, b->frame, for index tail + 1 and
 * that term; writes nothing. 0: *f is its header. 1: nothing to write, *out is a receipt when it was there already.
 * ES_MUST_ROLL: the segment has to be closed first, by a barrier with FMT_FRAME_ROLLS. Errors as esdb_append. */
int es_prepare_frame(esdb *db, esdb_batch *b, unsigned flags, const struct es_tail *tail, uint64_t term,
                     struct fmt_frame *f, struct esdb_receipt *out, struct esdb_error *err);
#define ES_MUST_ROLL 2

/* The receipt of a batch whose frame ends at *m. Lives as long as the batch. */
int es_fill_receipt(esdb *db, esdb_batch *b, const struct fmt_mark *m, struct esdb_receipt *out,
                    struct esdb_error *err);

/* Term of a frame after the tail: never lower. */
uint64_t es_next_term(const struct es_tail *tail);

/* The newest frame known durable, as a new frame records it; 0 in a store that never syncs. */
uint64_t es_known_synced(const esdb *db);

#endif
