/* life.h: events that say how much of a stream is shown: what was deleted, undeleted, truncated or closed. FORMAT.md
 * section 6.
 *
 * The life of stream S is in the system stream "$meta:S". Each such event holds the whole state after it, so that the
 * newest one before a position says all:
 *
 *   event_type          data
 *   $stream-deleted     {"deleted_before":6,"truncated_before":0}
 *   $stream-undeleted   {"deleted_before":0,"truncated_before":0}
 *   $stream-truncated   {"deleted_before":0,"truncated_before":4}
 *   $stream-closed      {"deleted_before":6,"truncated_before":0}     for ever: the last event of its stream
 *   $event-erased       {"deleted_before":0,"truncated_before":4,"erased":[[5,5],[8,9]],...}
 *
 * Versions below either number are not shown, nor those in a range of `erased`; of a closed stream, none is.
 *
 * Of a closed stream not even the name shall stay once its events are gone: then "$meta:$closed:HASH" says that it is. */
#ifndef FMT_LIFE_H
#define FMT_LIFE_H

#include "event.h"

#define FMT_META_PREFIX "$meta:"
#define FMT_META_PREFIX_LEN (sizeof FMT_META_PREFIX - 1)

enum fmt_life_kind {
    FMT_LIFE_DELETED,
    FMT_LIFE_UNDELETED,
    FMT_LIFE_TRUNCATED,
    FMT_LIFE_CLOSED,
    FMT_LIFE_ERASED,
    FMT_LIFE_KINDS
};

struct fmt_life {
    enum fmt_life_kind kind;
    uint64_t deleted_before;   /* versions below were deleted; 0: none */
    uint64_t truncated_before; /* versions below were truncated; 0: none */
    struct fmt_text erased;    /* "[3,3],[7,9]": ranges, ascending; leads into the event. len 0: none */
};

/* True for the name of a stream that tells about another one. */
bool fmt_is_meta(struct fmt_text stream_id);

/* The event_type of a kind. Static. */
const char *fmt_life_type(enum fmt_life_kind kind);

/* Writes the data of such an event. Returns its length. */
#define FMT_LIFE_ROOM 120u /* and erased.len */
size_t fmt_life_encode(const struct fmt_life *l, char *out);

/* The next range of `erased`, which is moved past it. False: no more. */
bool fmt_life_next_erased(struct fmt_text *erased, uint64_t *from, uint64_t *to);

/* "$meta:$closed:" and 16 hexadecimal digits, of the XXH3-64 of the name. Returns the length. */
#define FMT_CLOSED_PREFIX FMT_META_PREFIX "$closed:"
#define FMT_CLOSED_LEN (sizeof FMT_CLOSED_PREFIX - 1 + 16)
size_t fmt_life_closed_name(struct fmt_text stream_id, char out[FMT_CLOSED_LEN]);

/* False when the event, of whatever stream, is of another type or its data is not as above: then it says nothing about
 * the life of a stream. Members that a later version may add behind these are passed over. */
bool fmt_life_decode(const struct fmt_event *e, struct fmt_life *out);

#endif
