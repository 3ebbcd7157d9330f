/* seal.h: the index of one segment as an immutable table (format/table.h, FMT_TABLE_SEGMENT): making it from the
 * segment's bytes, and asking it. Events are named by ordinals: position - the segment's first position. */
#ifndef ES_SEAL_H
#define ES_SEAL_H

#include "buffer.h"
#include "error.h"
#include "format/segment.h"
#include "format/table.h"

/* Builds the table for the segment whose header and frames are the `size` bytes at base (which ends exactly with the last
 * frame to cover). What cannot be read is left out and listed in the section DAMAGE: events in bad frames have offset 0
 * and no posting; an event whose lengths are right but whose checksum is wrong is indexed as it seems to be, so that its
 * reader finds the damage. *image is the caller's, a whole table file.
 * ESDB_ECORRUPT: the segment header is damaged, or positions run away; -ENOMEM. */
int es_seal_build(const unsigned char *base, size_t size, struct es_buffer *image, struct esdb_error *err);

/* The same for a walk that stands before the first frame, and ends with the last one to cover. */
int es_seal_walk(const struct fmt_segment *s, struct fmt_walk *w, struct es_buffer *image, struct esdb_error *err);

/* ---- asking. All return 0 or ESDB_ECORRUPT (a block of the table is damaged: the table must be made anew), and what is
 * said beside. t is of kind SEGMENT, or ESDB_ECORRUPT. ---- */

struct es_stream_slot {
    uint64_t first_version; /* of the first posting */
    uint32_t count;         /* postings */
    uint32_t first_posting; /* number of the first one */
};

/* ESDB_ENOTFOUND: the segment has no readable event of that stream. */
int es_index_stream(const struct fmt_table *t, struct esdb_text stream, struct es_stream_slot *out);

/* Decodes the value of a key of the section STREAMS. */
int es_stream_slot_decode(struct fmt_text value, struct es_stream_slot *out);

struct es_event_place {
    uint32_t ordinal;
    uint32_t offset8; /* of its record in the segment, in units of 8 */
};

/* Posting i. ESDB_ENOTFOUND: there are fewer. */
int es_index_posting(const struct fmt_table *t, uint32_t i, struct es_event_place *out);

/* Offset of an event in the segment; 0 when it was unreadable, ES_OFFSET_REMOVED when retention has removed it.
 * ESDB_ENOTFOUND: there are fewer events. */
#define ES_OFFSET_REMOVED (FMT_EVENT_REMOVED * 8)
int es_index_offset(const struct fmt_table *t, uint32_t ordinal, uint64_t *offset);

struct es_frame_place {
    uint32_t nth;         /* among the readable frames of the segment, holes and barriers included */
    uint32_t first_event; /* ordinal of its first event */
    uint64_t offset;      /* in the segment */
};

/* Frame number nth. ESDB_ENOTFOUND: there are fewer. */
int es_index_frame(const struct fmt_table *t, uint32_t nth, struct es_frame_place *out);

/* The last frame that begins at or before the event: the event's own when the event was readable. ESDB_ENOTFOUND: none. */
int es_index_frame_of(const struct fmt_table *t, uint32_t ordinal, struct es_frame_place *out);

/* Adds the ordinals (u32) below `events` of the events that may have a key with this hash (fmt_event_key_hash) to an empty
 * buffer, ascending. They are to be checked against the log. Also -ENOMEM. */
int es_index_keys(const struct fmt_table *t, uint64_t hash, uint64_t events, struct es_buffer *ordinals);

/* Part i of what was unreadable when the table was made. */
struct es_index_damage {
    uint64_t offset;      /* of the bad frame or event in the segment */
    uint32_t first_event; /* ordinal */
    uint32_t count;       /* events that are concerned; 0: unknown */
};
int es_index_damage(const struct fmt_table *t, uint32_t i, struct es_index_damage *out); /* ESDB_END: no more */

#endif
