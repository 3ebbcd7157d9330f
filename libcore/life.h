/* life.h: what of the streams is shown: deletions, truncations and closed names, as of a position. They are events in
 * "$meta:STREAM" (format/life.h); what changes them is in life_change.c. System streams have no life. */
#ifndef ES_LIFE_H
#define ES_LIFE_H

#include "buffer.h"
#include "error.h"
#include "format/life.h"
#include "index.h"
#include "recover.h"

/* ---- one stream ---- */

/* The life of one stream. Zero: nothing was ever done to it, except that meta_version is -1 then. */
struct es_stream_life {
    uint64_t first_version;    /* versions below are hidden; UINT64_MAX: all are, for ever */
    uint64_t deleted_before;   /* versions below are deleted; 0: none */
    uint64_t truncated_before; /* versions below are truncated; 0: none */
    bool closed;
    int64_t meta_version;   /* of the newest event in "$meta:STREAM", of whatever type; -1: none */
    struct fmt_text erased; /* ranges of versions that were erased (format/life.h); leads into the log */
};

/* The life of a stream by the events before end_position. 0; ESDB_ECORRUPT: the event that says it is damaged. */
int es_life_of(esdb *db, struct esdb_text stream, uint64_t end_position, struct es_stream_life *out,
               struct esdb_error *err);

/* The same through the view of the active segment, whose end bounds what is looked at too; for an appender. */
int es_life_in_view(struct es_view *active, struct esdb_text stream, uint64_t end_position, struct es_stream_life *out,
                    struct esdb_error *err);

/* True when a stream whose newest event is version `last` (-1: none) exists. One that was truncated does, even when no
 * event is left to be shown. */
static inline bool es_life_exists(const struct es_stream_life *l, int64_t last) {
    return last >= 0 && !l->closed && (uint64_t)last >= l->deleted_before;
}

/* Append lock held, the view shows everything appended. Whether a stream may have a life: as head says, and when head does
 * not know, looks and lets it know. */
int es_life_any(struct es_view *active, bool *any, struct esdb_error *err);

/* Is the version in the ranges of es_stream_life.erased? */
bool es_life_in_ranges(struct fmt_text erased, uint64_t version);

/* ---- all streams ---- */

struct es_version_range {
    uint64_t from, to; /* inclusive */
};

struct es_life_entry {
    uint64_t hash;
    uint64_t first_version, deleted_before, truncated_before; /* as in struct es_stream_life */
    uint64_t meta_version;                                    /* of the event that says so */
    uint32_t name_at;
    uint32_t erased_at, erased; /* ranges in es_life.erased: the first, how many */
    uint8_t name_len;           /* 0: an empty slot */
};

struct es_life {
    size_t count, slots; /* slots: a power of two */
    struct es_life_entry *slot;
    struct es_buffer names;
    struct es_buffer erased;  /* struct es_version_range */
    bool any;                 /* there is an event of a "$meta:" stream, whatever it says */
    struct esdb_error damage; /* the first damaged event or index that was met: what is hidden may be shown */
};

/* What is hidden by the events before end_position. Costs next to nothing when no stream of the store has a life. Damage
 * is no error: it is kept in (*out)->damage. The append lock is not held. *out is the caller's. */
int es_life_open(esdb *db, uint64_t end_position, struct es_life **out, struct esdb_error *err);
void es_life_close(struct es_life *l); /* NULL is fine */

/* For every event of a scan: one from a "$meta:" stream that is newer than what is known replaces it. 0 or -ENOMEM. */
int es_life_take(struct es_life *l, const struct fmt_event *e);

/* The life of a stream by what is known, without what was erased. */
void es_life_find(const struct es_life *l, struct esdb_text stream, struct es_stream_life *out);

/* Is anything known of that name, a stream's or "$closed:HASH"? */
bool es_life_knows(const struct es_life *l, struct esdb_text name);

/* The first version of the stream that is shown; UINT64_MAX: none, for ever. */
uint64_t es_life_first(const struct es_life *l, struct esdb_text stream);

/* True when an event is not to be shown. For every event of a scan. l may be NULL. */
bool es_life_hides_it(const struct es_life *l, struct esdb_text stream, uint64_t version);
static inline bool es_life_hides(const struct es_life *l, struct esdb_text stream, uint64_t version) {
    return l && l->count > 0 && es_life_hides_it(l, stream, version);
}

/* Was the event erased? And the erased versions of a stream: *count ranges, ascending, in es_life.erased. */
bool es_life_erased(const struct es_life *l, struct esdb_text stream, uint64_t version);
const struct es_version_range *es_life_ranges(const struct es_life *l, struct esdb_text stream, size_t *count);

/* ---- many decisions (life_change.c) ---- */

struct es_truncation {
    struct esdb_text stream;
    uint64_t before;
};

/* Truncates streams, a thousand in a frame. Streams that do not exist any more are passed over. Errors as of
 * esdb_stream_truncate: some may be done. */
int es_streams_truncate(esdb *db, const struct es_truncation *t, size_t count, struct esdb_error *err);

/* Erases one version of a user's stream, also one that is truncated: it may be in archives. Nothing is written when it was
 * erased already. Errors of esdb_event_erase. */
int es_version_erase(esdb *db, struct esdb_text stream, uint64_t version, struct esdb_text reason,
                     struct esdb_error *err);

/* Writes that these names are closed, without naming them: then their "$meta:STREAM" may be forgotten. */
int es_closed_note(esdb *db, const struct esdb_text *streams, size_t count, struct esdb_error *err);

#endif
