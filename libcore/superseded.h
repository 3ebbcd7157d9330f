/* superseded.h: events of the store's own streams that are of no use any more. Unlike events of users they go without a
 * decision of their own: compaction removes those that it meets in closed segments. The newest event of a stream never goes.
 *
 *   $sub:NAME               the newest state stays, and all since the event that says what is wanted: so that the newest
 *                           one alone is left, compaction first lets it say that again (es_subs_restate)
 *   $subpart:K/N:NAME       the newest state stays
 *   $link-def:NAME          the newest definition stays
 *   $parked:NAME            what a policy for such names lets go
 *   $snapshot:STREAM        likewise, but not the snapshot of the highest version, nor what came after it */
#ifndef ES_SUPERSEDED_H
#define ES_SUPERSEDED_H

#include "index.h"
#include "store.h"

/* Zero at first. Keeps the answer for the stream that was asked for last. */
struct es_superseded {
    bool restated; /* subscriptions are taken as es_subs_restate would leave them: set by the caller */
    bool loaded;
    struct esdb_policy *policies; /* owned */
    size_t policy_count;
    uint64_t now_us;
    char name[FMT_STREAM_NAME_MAX];
    size_t len; /* 0: none was asked for */
    uint64_t before;
};

/* Versions below *before of a stream are of no use, by the events before end_position; 0: none, or its newest event says
 * nothing, or is damaged. Other errors are returned. */
int es_superseded_before(struct es_superseded *s, esdb *db, struct esdb_text stream, uint64_t end_position,
                         uint64_t *before, struct esdb_error *err);

/* The beginnings of the names of such streams. False: there is no nth one. */
bool es_superseded_prefix(size_t nth, struct esdb_text *out);

/* *count grows by the events in a segment that are of no use, by the events before end_position. */
int es_superseded_count(struct es_superseded *s, struct es_view *v, uint64_t end_position, uint64_t *count,
                        struct esdb_error *err);
void es_superseded_release(struct es_superseded *s);

#endif
