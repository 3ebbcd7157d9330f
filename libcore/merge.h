/* merge.h: the events of some streams in order of positions, through the indexes. */
#ifndef ES_MERGE_H
#define ES_MERGE_H

#include "directory.h"
#include "point_read.h"
#include "recover.h"

/* What of the streams is read; all bounds are inclusive. */
struct es_stream_range {
    uint64_t from_version, to_version;
    uint64_t from_position, to_position;
    uint64_t life_end; /* deletions from this position on do not count */
    bool reverse;
};

/* One stream, read in one direction. */
struct es_stream_reader {
    esdb *db;
    char *name; /* owned */
    size_t name_len;
    struct es_stream_range range;
    struct es_visible visible;
    struct es_place *places;   /* sealed segments that hold the stream, then the active one; owned */
    size_t place_count, place; /* place: next to open */
    bool erased;               /* some of its events were */
    uint64_t *segments;        /* counts those that were looked into; borrowed */
    bool told;                 /* that the index of a place is not whole */
    bool open;
    struct es_view view;
    struct es_view_stream slot;
    uint64_t from, to;            /* events of the slot still to come: from .. to-1 */
    struct es_event_place *piece; /* some of them; owned */
    uint64_t piece_from, piece_to;
    uint64_t position; /* of the event that `event` shows */
    struct es_window window;
    struct fmt_event event; /* may lead into the window */
};

/* Readers in a heap: the next event of all of them is that of the first. */
struct es_merge {
    struct es_stream_reader *reader; /* owned */
    size_t count;                    /* readers that have an event */
    size_t room;
    size_t stale;      /* readers behind those that have not looked for their first event yet */
    bool told;         /* whether the indexes are whole */
    uint64_t segments; /* that were looked into, by all readers */
    bool erased;       /* one of the streams has erased events: they are not left out here */
    bool given;        /* the first reader's event was given out: it moves on at the next call */
};

/* names: literal stream names. Reads what is visible. */
int es_merge_init(struct es_merge *m, esdb *db, const struct esdb_text *names, size_t count,
                  const struct es_stream_range *range, const struct es_visible *visible, struct esdb_error *err);

/* 0, ESDB_END, ESDB_ECORRUPT (an event or a segment is damaged, passed over by the next call), other errors. */
int es_merge_next(struct es_merge *m, struct fmt_event *out, uint64_t *position, struct esdb_error *err);
void es_merge_release(struct es_merge *m);

#endif
