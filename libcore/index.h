/* index.h: one way to ask a segment's index, whether it is the live one, a sealed file, or made in memory because neither
 * is there. Ordinals count events from the segment's first position. Damage in an index is never an answer: it is made
 * anew from the log. */
#ifndef ES_INDEX_H
#define ES_INDEX_H

#include "seal.h"
#include "segment.h"

/* A segment as its index shows it, up to a number of events. Valid until the store is closed. */
struct es_view {
    esdb *db;
    struct es_segment *seg;
    bool live;
    uint64_t end_position; /* that it was opened for; UINT64_MAX: the segment is sealed */
    uint64_t events;       /* ordinals below this may be shown */
};

/* The view of a segment. end_position limits it (what is visible); UINT64_MAX: all of a sealed segment. */
int es_view_open(esdb *db, uint64_t segment, uint64_t end_position, struct es_view *out, struct esdb_error *err);

/* A stream in a view: its events are numbered nth = 0 .. count-1. It is looked up again when the view's index changes. */
struct es_view_stream {
    uint64_t count;
    uint64_t first_version; /* of event 0; sealed only */
    uint32_t last;          /* live: ordinal of the newest */
    uint32_t first_posting; /* sealed */
    bool live;              /* by which index it was found */
    uint32_t index_generation;
    uint8_t name_len;
    char name[FMT_STREAM_NAME_MAX];
};

/* ESDB_ENOTFOUND: no event of it here. */
int es_view_stream(struct es_view *v, struct esdb_text stream, struct es_view_stream *out, struct esdb_error *err);

/* Where the events from..to-1 of the stream are, into out. */
int es_view_places(struct es_view *v, struct es_view_stream *s, uint64_t from, uint64_t to, struct es_event_place *out,
                   struct esdb_error *err);

/* The ordinal of event nth of the stream, which has so many. */
int es_view_ordinal(struct es_view *v, struct es_view_stream *s, uint64_t nth, uint32_t *out, struct esdb_error *err);

/* Offset of an event's record in the segment; 0: it is unreadable; ES_OFFSET_REMOVED. */
int es_view_offset(struct es_view *v, uint32_t ordinal, uint64_t *offset, struct esdb_error *err);

/* Offset of the header of the frame that holds the event. */
int es_view_frame(struct es_view *v, uint32_t ordinal, uint64_t *offset, struct esdb_error *err);

/* Ordinals (u32) of the events that may have a key with this hash (fmt_event_key_hash), ascending, into an empty buffer. Each is
 * to be checked against its event. */
int es_view_keys(struct es_view *v, uint64_t hash, struct es_buffer *ordinals, struct esdb_error *err);

/* What is wrong with the event's record, of which `room` bytes are at `at`; NULL: nothing, *out shows it. */
const char *es_view_check(const struct es_view *v, const unsigned char *at, uint64_t offset, size_t room,
                          struct fmt_event *out);

/* Tells that, with the place. ESDB_ECORRUPT, or ESDB_EUSAGE when it is of a newer format. */
int es_view_wrong(const struct es_view *v, uint32_t ordinal, uint64_t offset, const char *wrong,
                  struct esdb_error *err);

/* The event's record, its checksum verified. ESDB_ECORRUPT names the place. ESDB_ENOTFOUND, without words: retention has
 * removed it. */
int es_view_event(struct es_view *v, uint32_t ordinal, struct fmt_event *out, struct esdb_error *err);
int es_view_event_at(struct es_view *v, struct es_event_place place, struct fmt_event *out, struct esdb_error *err);

/* Adds the streams of the segment whose names begin with `prefix` to out, each as a byte that holds its length and the
 * name; also such as have events beyond what the view shows. */
int es_view_names(struct es_view *v, struct esdb_text prefix, struct es_buffer *out, struct esdb_error *err);

/* ESDB_ECORRUPT when the index of that segment was made from damaged bytes, or the next segment is missing. */
int es_segment_is_whole(const esdb *db, const struct es_segment *s, struct esdb_error *err);

/* ESDB_ECORRUPT, naming the first place, when an index that this handle uses was made from a damaged segment: then what it
 * does not have may have been there. 0 otherwise. */
int es_index_is_whole(const esdb *db, struct esdb_error *err);

/* The directory of all sealed segments before `active`, opened or refreshed. Borrowed. */
int es_directory_get(esdb *db, uint64_t active, struct es_directory **out, struct esdb_error *err);

/* The same as the caller's own, to be closed by es_directory_close. */
int es_directory_fresh(esdb *db, uint64_t active, struct es_directory **out, struct esdb_error *err);

/* Compaction lock held. Makes the directory merges that are due. Failures leave them for later. */
void es_directory_tidy(esdb *db, uint64_t active);

/* The version of the stream's newest event that the view of the active segment, or a segment before it, shows.
 * ESDB_ENOTFOUND: there is no such stream. */
int es_stream_version(struct es_view *active, struct esdb_text stream, uint64_t *version, struct esdb_error *err);

/* The version of the stream's newest event before a position, deleted or not; -1: there is none. */
int es_stream_version_before(esdb *db, struct esdb_text stream_id, uint64_t end_position, int64_t *version,
                             struct esdb_error *err);

#endif
