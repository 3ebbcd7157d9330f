/* scan.h: events in order of positions, straight from the log, forwards (as long as there are more) or backwards. */
#ifndef ES_SCAN_H
#define ES_SCAN_H

#include "index.h"
#include "point_read.h"
#include "recover.h"

/* Forwards. Frames are checked before their first event is given. */
struct es_scan {
    esdb *db;
    struct es_visible visible;
    struct es_segment *seg; /* NULL: not opened yet */
    struct fmt_walk walk;
    bool joins;             /* the next frame is where this scan begins: there is none before that it could chain to */
    struct fmt_frame frame; /* the one that events come from, when event < frame.count */
    struct fmt_frame_events events;
    size_t frame_at, event_at;
    uint32_t event;
    bool damaged;       /* some of its events are: each is checked */
    uint64_t position;  /* of the next event */
    uint64_t segments;  /* that were looked into */
    uint64_t told_lost; /* visible.lost_segment was told */
    /* Of a compressed segment, its content, for this scan alone: what others read does not take away what it gave. */
    struct es_unpacked content;
    struct es_block_memory *memory; /* owned */
};

/* Begins at a position; what is not there yet is waited for by calling es_scan_next again. */
int es_scan_init(struct es_scan *s, esdb *db, uint64_t position, const struct es_visible *visible,
                 struct esdb_error *err);

void es_scan_release(struct es_scan *s); /* also what es_scan_init failed with, or {0} */

/* 0, ESDB_END (no more for now), ESDB_ECORRUPT (a damaged part, passed over by the next call), other errors. The event
 * leads into the log and stays valid until the next call, or the scan is released. */
int es_scan_next(struct es_scan *s, struct fmt_event *out, uint64_t *position, struct esdb_error *err);

/* Backwards, through the indexes. */
struct es_back_scan {
    esdb *db;
    uint64_t *names; /* segments, ascending; owned */
    size_t left;     /* names[left - 1] is the one being read */
    bool open;
    struct es_view view;
    struct es_window window; /* where the last event lies */
    uint64_t next;           /* ordinal + 1 of the next event */
    uint64_t segments;       /* that were looked into */
    bool told;               /* what lies behind the visible end */
    uint64_t whole_from;     /* everything from this position on was read or told; UINT64_MAX: not known */
    uint64_t below;          /* only positions below this */
    struct es_visible visible;
};

/* Begins with the newest event at or before position `to`. */
int es_back_scan_init(struct es_back_scan *s, esdb *db, uint64_t to, const struct es_visible *visible,
                      struct esdb_error *err);
int es_back_scan_next(struct es_back_scan *s, struct fmt_event *out, uint64_t *position, struct esdb_error *err);
void es_back_scan_release(struct es_back_scan *s);

#endif
