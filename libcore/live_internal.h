/* live_internal.h: what live.c, live_map.c and live_find.c share. */
#ifndef ES_LIVE_INTERNAL_H
#define ES_LIVE_INTERNAL_H

#include "live.h"

#define ES_LIVE_KEY_PLACE (1ull << 40) /* places of key buckets begin here: no word fits in the other table */

/* ---- live_map.c ---- */

/* Maps the file when it is the valid live index of that segment. */
bool es_live_map(esdb *db, uint64_t segment);

/* True when what is mapped is still in force for that segment. */
bool es_live_current(const esdb *db, uint64_t segment);

/* A new, empty index with room for so many events and keys (powers of two), in place of whatever is there. */
int es_live_create(esdb *db, uint64_t segment, uint64_t capacity, uint64_t key_capacity);

/* ---- live_find.c ---- */

/* Where a chain of streams stands: the word that leads to an entry, and the entry. */
struct es_live_place {
    _Atomic uint64_t *word;
    uint64_t place;
    uint32_t ordinal;
};

uint64_t es_live_stream_hash(struct esdb_text stream);

/* Finds the newest entry of the stream. 1: none (word is the chain's end). ESDB_ECORRUPT: damage. */
int es_live_find_stream(const esdb *db, const struct es_segment *seg, struct esdb_text stream, uint64_t hash,
                        struct es_live_place *out);

/* The event that an entry leads to. The log is asked, because a hash alone is no proof. */
bool es_live_read(const struct es_segment *seg, const struct fmt_live_entry *e, struct fmt_event *out);

#endif
