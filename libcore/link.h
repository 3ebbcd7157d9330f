/* link.h: finding events by what their metadata says of others. See trace.h. */
#ifndef ES_LINK_H
#define ES_LINK_H

#include "buffer.h"
#include "esdb.h"

enum es_link_key { ES_LINK_ID, ES_LINK_CAUSATION, ES_LINK_CORRELATION };

/* Where to look, and what went wrong on the way. */
struct es_link_finder {
    esdb *db;
    unsigned flags;           /* ESDB_WITH_SYSTEM or 0 */
    struct esdb_error damage; /* the first damaged part that was met and left out; code 0: none */
    struct es_buffer room;    /* text of the last value, when it had escapes; owned */
};

/* The events that carry one id, or whose metadata names it. */
struct es_links {
    struct es_link_finder *finder;
    esdb_cursor *cursor;
    enum es_link_key key;
    struct esdb_text value;
};

/* Events of positions `from` .. `to`, in order, or newest first with ESDB_REVERSE in `flags`. `value` is borrowed until
 * es_links_close. Nothing is found by an id that no event can have. */
int es_links_open(struct es_links *l, struct es_link_finder *f, enum es_link_key key, struct esdb_text value,
                  unsigned flags, uint64_t from, uint64_t to, struct esdb_error *err);
/* 0, ESDB_END, or an error. Damage is noted in the finder, and passed over. *out is valid until the next call. */
int es_links_next(struct es_links *l, struct esdb_event *out, struct esdb_error *err);
void es_links_close(struct es_links *l);

/* The id of the event's cause. 1: there is one, in *out, which is valid until the next call with this finder or on the
 * event's cursor. 0: there is none. -ENOMEM. */
int es_link_cause(struct es_link_finder *f, const struct esdb_event *e, struct esdb_text *out, struct esdb_error *err);

#endif
