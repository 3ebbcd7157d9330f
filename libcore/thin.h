/* thin.h: a segment without some of its events: frames become thinned frames and holes. Bytes to bytes; whoever calls
 * decides which events go. FORMAT.md section 4. */
#ifndef ES_THIN_H
#define ES_THIN_H

#include "buffer.h"
#include "error.h"
#include "format/event.h"
#include "format/segment.h"

enum es_fate { ES_KEEP, ES_BLANK /* only stream, version and time stay */, ES_REMOVE };

struct es_thinner {
    /* What becomes of an event: an enum es_fate, or a negative code that ends it all. */
    int (*fate)(void *context, const struct fmt_event *e);
    /* Takes the bytes of the new segment, in order. */
    int (*put)(void *context, const unsigned char *bytes, size_t len);
    /* The source up to here is not needed any more. May be NULL. */
    void (*passed)(void *context, size_t offset);
    void *context;
    /* As of fmt_walk, for a segment of which not all bytes are there. May be NULL. */
    void (*need)(void *context, size_t from, size_t to);
    void *need_context;
    uint64_t decision_index; /* newest frame whose decisions are carried out */
    uint64_t rewritten_us;   /* for the new header */
    /* inside, and results */
    uint64_t events;   /* removed or blanked */
    struct fmt_walk w; /* at the end: what the next segment continues */
    struct es_buffer fates, frame;
    struct es_thin_run {
        unsigned frames, holes;
        bool removed; /* one of them had events: they become a hole */
        struct fmt_frame first;
        struct fmt_hole hole;
        uint8_t flags;
        size_t from, to; /* their bytes */
    } run;
};

/* Hands the new form of a segment of `size` bytes to put. ESDB_ECORRUPT: it is damaged, or of a newer format; codes of fate
 * and put; -ENOMEM. es_thin_release in any case. */
int es_thin(struct es_thinner *t, const unsigned char *base, size_t size, struct esdb_error *err);
void es_thin_release(struct es_thinner *t);

#endif
