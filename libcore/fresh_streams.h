/* fresh_streams.h: the streams of the active segment, which no table lists yet. */
#ifndef ES_FRESH_STREAMS_H
#define ES_FRESH_STREAMS_H

#include "index.h"
#include "recover.h"

struct es_fresh_stream {
    struct fmt_text name; /* leads into the log; valid until the store is closed */
    uint64_t first_version, count;
};

/* The streams with events in the active segment, as far as visible, in byte order of their names. *out is the caller's, to
 * be freed. A stream whose first event there is damaged is left out; *damage keeps the first such event. */
int es_fresh_streams(esdb *db, const struct es_visible *visible, struct es_fresh_stream **out, size_t *count,
                     struct esdb_error *damage, struct esdb_error *err);

#endif
