/* snapshot.h: the snapshots of a stream, for those inside libcore who choose among them. */
#ifndef ES_SNAPSHOT_H
#define ES_SNAPSHOT_H

#include "buffer.h"
#include "format/snapshot.h"
#include "life.h"

/* Goes through the snapshots of one stream that count, as of a position: the newest saved first, not by version. Of two
 * with one version the first met counts. */
struct es_snapshot_walk {
    esdb *db;
    struct esdb_text stream; /* borrowed */
    esdb_cursor *cursor;     /* NULL: there are none */
    struct es_stream_life life;
    struct es_buffer deleted; /* ranges, struct es_snapshot_range */
    int64_t stream_version;   /* of the newest event in "$snapshot:STREAM"; -1: none. Known after the first step */
    bool begun;
    bool has_latest; /* the highest version that counts, as the newest event says. Known after the first step */
    uint64_t latest;
};
struct es_snapshot_range {
    uint64_t first, last;
};

int es_snapshot_walk_init(struct es_snapshot_walk *w, esdb *db, struct esdb_text stream, uint64_t as_of,
                          struct esdb_error *err);
void es_snapshot_walk_release(struct es_snapshot_walk *w);

/* The next one: its event, which leads into the cursor until the next step, and what it says. 0, ESDB_END, or an error. */
int es_snapshot_walk_next(struct es_snapshot_walk *w, struct esdb_event *e, struct fmt_snapshot *s,
                          struct esdb_error *err);

/* The snapshot with the highest version of those that q means and `accept` (NULL: all) takes. As esdb_snapshot_load. */
int es_snapshot_find(esdb *db, struct esdb_text stream, const struct esdb_snapshot_query *q,
                     bool (*accept)(void *context, struct esdb_text metadata), void *context, struct esdb_snapshot *out,
                     struct esdb_error *err);

/* As esdb_snapshot_save, of a state that was made while the events below *from were deleted; NULL: as they are now.
 * ESDB_ECONFLICT: that is not so any more. */
int es_snapshot_save(esdb *db, struct esdb_text stream, const struct esdb_new_snapshot *s, const uint64_t *from,
                     struct esdb_receipt *out, struct esdb_error *err);

/* ESDB_EUSAGE, ESDB_EINVALID: not the name of a stream that has snapshots. */
int es_snapshot_check_name(struct esdb_text stream, struct esdb_error *err);

#endif
