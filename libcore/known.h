/* known.h: the streams that this handle appended to, with their versions, so that a bulk import does not ask the index and
 * the log for what it has just written. It is complete since a place in the log, its base: a stream that is not known is
 * as it was there. So an import needs no index of what it writes itself; the live index follows later (live.h). Good only
 * as long as nobody else appends in between. */
#ifndef ES_KNOWN_H
#define ES_KNOWN_H

#include "batch.h"
#include "store.h"

#define ES_KNOWN_NAME_MAX 36u /* longer names lie elsewhere: a slot is one cache line */

struct es_known {
    uint64_t hash;
    int64_t version;
    uint32_t last;    /* in the live index, as in struct es_batch_stream */
    uint8_t name_len; /* 0: an empty slot */
    char name[ES_KNOWN_NAME_MAX];
};

/* Append lock held, *tail is the log's end. True when what is known is complete since its base: nobody else has appended.
 * Else everything is forgotten. */
bool es_known_holds(esdb *db, const struct fmt_mark *tail);

/* Append lock held, nothing known: *tail becomes the base. The live index covers everything up to it. */
void es_known_start(esdb *db, const struct fmt_mark *tail);

/* Where what is known begins. Valid while es_known_holds. */
const struct fmt_mark *es_known_base(const esdb *db);

/* NULL: not known. Valid until the next es_known_keep. */
struct es_known *es_known_find(const esdb *db, uint64_t hash, struct esdb_text name);

/* Its place will be looked at soon. */
void es_known_expect(const esdb *db, uint64_t hash);

/* Append lock held. Remembers the streams of a batch that was written; *tail is the log's end now. When that is impossible
 * (memory, too many streams) everything is forgotten. What es_known_find gave for a stream of the batch, since the last time,
 * is in its `known`. */
void es_known_keep(esdb *db, const esdb_batch *b, const struct fmt_mark *tail);

/* The live index was made anew: nobody's place in it is known. */
void es_known_forget_places(esdb *db);

/* Append lock held. The live index has the frames up to this one: unless it was this handle that added the last of them,
 * nobody's place is known any more. Somebody else may have caught up for it, without an append of its own. */
void es_known_places_at(esdb *db, uint64_t frames);

/* This handle has added frames up to this one. */
void es_known_places_pass(esdb *db, uint64_t frames);

void es_known_release(esdb *db);

#endif
