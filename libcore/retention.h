/* retention.h: which events may go, and what holds them back. */
#ifndef ES_RETENTION_H
#define ES_RETENTION_H

#include "buffer.h"
#include "store.h"

/* ---- what holds events back (retention_holds.c) ---- */

/* The version of the newest snapshot of a stream, from "$snapshot:STREAM"; -1: there is none. */
int es_newest_snapshot(esdb *db, struct esdb_text stream, int64_t *version, struct esdb_error *err);

/* What subscriptions have not processed yet: from which position on, of which streams. */
struct es_hold {
    uint64_t position;    /* everything before it is settled */
    uint32_t part, parts; /* parts 0: all */
    bool all;             /* of every stream: what it wants cannot be told by names alone */
    bool literal;
    size_t name_at, name_len;        /* in es_holds.text */
    size_t streams_at, stream_count; /* each: u32 length, text; in es_holds.text */
};
struct es_holds {
    struct es_buffer hold; /* struct es_hold */
    struct es_buffer text;
};
int es_holds_load(esdb *db, struct es_holds *out, struct esdb_error *err);
void es_holds_release(struct es_holds *h);

/* The lowest position that a subscription to the stream still needs; UINT64_MAX: none. *holder: who; valid as long as h. */
uint64_t es_holds_find(const struct es_holds *h, struct esdb_text stream, struct esdb_text *holder);

/* ---- policies (policy.c) ---- */

/* The policy that counts for a stream; NULL: none. */
const struct esdb_policy *es_policy_of(const struct esdb_policy *list, size_t count, struct esdb_text stream);

#endif
