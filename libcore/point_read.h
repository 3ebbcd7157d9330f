/* point_read.h: single events out of a segment. Mapping a segment and touching a page of it costs several times what
 * reading a few thousand bytes does, so a stream with a few events in each of many segments is read. */
#ifndef ES_POINT_READ_H
#define ES_POINT_READ_H

#include "buffer.h"
#include "index.h"

/* The bytes that were read last. Begins as {0}; released by es_window_release. */
struct es_window {
    uint64_t segment; /* 0: none */
    uint64_t at;      /* offset of the bytes in the segment */
    struct es_buffer bytes;
    bool lone; /* the event that is wanted after this one does not lie close behind it */
};
void es_window_release(struct es_window *w);

/* After `at`, `next` of the same segment will be read: says how much to read at a time. Not needed. */
void es_window_expect(struct es_window *w, struct es_event_place at, struct es_event_place next);

/* As es_view_event, but *out leads into the window and is valid until the next call with that window. Whoever reads many
 * events of a segment gets them from a mapping after all. */
int es_view_read(struct es_view *v, uint32_t ordinal, struct es_window *w, struct fmt_event *out,
                 struct esdb_error *err);

/* The same for an event whose place is known. */
int es_view_read_at(struct es_view *v, struct es_event_place place, struct es_window *w, struct fmt_event *out,
                    struct esdb_error *err);

#endif
