/* live.h: the live index of the active segment (format/live_index.h). */
#ifndef ES_LIVE_H
#define ES_LIVE_H

#include "batch.h"
#include "recover.h"
#include "segment.h"
#include "store.h"

/* Append lock held. Makes the live index of the active segment cover everything up to *tail: opens it, creates it, or
 * makes it anew, and replays what is missing; and leaves room for more. An index that cannot be (a full disk) is no
 * error here unless `must`: then nothing may be appended. */
int es_live_prepare(esdb *db, const struct es_tail *tail, uint32_t more_events, uint64_t more_keys, bool must,
                    struct esdb_error *err);

/* How many keys (format/event_keys.h) the events of a batch have. */
uint64_t es_live_keys_of(const esdb_batch *b);

/* Append lock held, prepared. Adds the events of a frame that was just written at `offset` of the active segment.
 * Streams whose `last` is known are found without asking the log, and it is kept up to date. False: the index does not
 * have them; the next es_live_prepare puts that right. */
bool es_live_add(esdb *db, esdb_batch *b, const struct fmt_frame *f, uint64_t offset);

/* For readers: maps the live index of that segment when it is there, valid, and covers `events` events. False: it cannot
 * serve. */
bool es_live_open(esdb *db, uint64_t segment, uint64_t events);

void es_live_close(esdb *db);

/* Removes the live index of a segment: it is made anew when needed. */
void es_live_discard(esdb *db, uint64_t segment);

/* ---- lookups: ordinals count events from the segment's first position ---- */

/* The newest event of the stream with an ordinal below `events`. 0, ESDB_ENOTFOUND, or ESDB_ECORRUPT when the index is
 * damaged (the caller then discards it and does without). seg: the active segment. */
int es_live_last(const esdb *db, const struct es_segment *seg, struct esdb_text stream, uint64_t events,
                 uint32_t *ordinal);

/* Offset of an event's record; nth and frame_event as in struct fmt_live_entry. NULL when damaged. */
const struct fmt_live_entry *es_live_entry(const esdb *db, uint32_t ordinal);

/* The event of the same stream with that nth, from an entry of it with nth >= wanted. 0 or ESDB_ECORRUPT. */
int es_live_back(const esdb *db, uint32_t ordinal, uint32_t nth, uint32_t *out);

/* Adds the ordinals (u32) below `events` of the events that may have a key with this hash (fmt_event_key_hash) to an empty
 * buffer, ascending. They are to be checked against the log. 0, -ENOMEM, or ESDB_ECORRUPT. */
int es_live_keys(const esdb *db, uint64_t hash, uint64_t events, struct es_buffer *ordinals);

#endif
