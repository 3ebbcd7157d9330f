/* lookup.h: finding single events, by position, id or what their metadata names, many times: what a cursor does for each
 * query (what is visible, which segments there are, what is hidden) is done once. */
#ifndef ES_LOOKUP_H
#define ES_LOOKUP_H

#include "format/event_keys.h"
#include "life.h"
#include "point_read.h"

struct es_lookup_segment {
    uint64_t name;
    uint64_t first_position; /* UINT64_MAX: not looked at yet */
    bool is_open, is_bad;    /* view can be used; it cannot, which is noted */
    struct es_view view;
};

/* An event that was found, for when it is asked for by its position: most are, to be printed. */
struct es_kept {
    struct esdb_event event; /* leads into bytes */
    char bytes[];
};

struct esdb_lookup {
    esdb *db;
    unsigned flags; /* ESDB_WITH_SYSTEM or 0 */
    struct es_visible visible;
    struct es_life *life;
    struct es_lookup_segment *segment; /* ascending; owned */
    size_t count;
    struct es_window window; /* where the last event lies */
    struct es_buffer room;   /* text of the last cause, when it had escapes */
    struct es_kept **kept;   /* a hash table with open addressing; owned, as what it points to */
    size_t kept_slots, kept_count, kept_size;
    struct esdb_error damage; /* the first damaged part that was met and left out; code 0: none */
};

/* The events of a range that carry an id (FMT_EVENT_KEY_ID), or whose metadata names it. Begins by es_found_open. */
struct es_found {
    struct esdb_lookup *lookup;
    enum fmt_event_key kind;
    struct esdb_text value;
    uint64_t hash, from, to;
    bool reverse;
    size_t low, high;          /* segments that are left: low .. high-1 */
    struct es_view *view;      /* NULL: none is open */
    struct es_buffer ordinals; /* u32, of that one */
    size_t next;
};

/* Positions from .. to, in order or, with `reverse`, the newest first. `value` is borrowed until es_found_close. An id
 * that no event can have finds nothing. */
void es_found_open(struct es_found *f, struct esdb_lookup *l, enum fmt_event_key kind, struct esdb_text value,
                   bool reverse, uint64_t from, uint64_t to);
/* 0, ESDB_END, or an error. Damage is noted in the lookup, and passed over. *out is valid until the next event is asked
 * for with the same lookup. */
int es_found_next(struct es_found *f, struct esdb_event *out, struct esdb_error *err);
void es_found_close(struct es_found *f);

/* The id of the event's cause. 1: there is one, in *out, which is valid as long as the event, and until the next call. 0:
 * there is none. -ENOMEM. */
int es_lookup_cause(struct esdb_lookup *l, const struct esdb_event *e, struct esdb_text *out, struct esdb_error *err);

#endif
