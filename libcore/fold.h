/* fold.h: events made into states. The public side is in esdb.h.
 *
 *   fold.c         the handle, the states, events one by one
 *   fold_read.c    where events and snapshots come from, where snapshots go
 *   fold_path.c    numbers at a path (ESDB_FOLD_SUM)
 *   fold_reduce.c  jq programs (ESDB_FOLD_REDUCE): events wait in a window, the state goes along with each batch
 *   fold_count.c   jq expressions (ESDB_FOLD_COUNT): those that have no native form wait likewise
 *   tagged.h       tagged values (ESDB_FOLD_TAGGED) */
#ifndef ES_FOLD_H
#define ES_FOLD_H

#include "error.h"
#include "format/json_path.h"
#include "jq_child.h"
#include "predicate_value.h"
#include "tagged.h"

struct es_predicate;

/* ---- paths ---- */

struct es_path_step {
    struct fmt_text name; /* leads into the program; at == NULL: an index */
    uint64_t index;
};
#define ES_PATH_STEPS_MAX 64u
struct es_path {
    enum es_field field;
    struct es_path_step step[ES_PATH_STEPS_MAX];
    size_t count;
};

/* ".data.total", ".data.items[0].price", ".data[\"a key\"]". The text is borrowed. ESDB_EUSAGE. */
int es_path_parse(struct esdb_text text, struct es_path *out, struct esdb_error *err);

/* What stands there. False: nothing. */
bool es_path_find(const struct es_path *p, const struct esdb_event *e, struct es_value *out);

/* ---- states ---- */

struct es_stats {
    uint64_t with_data, binary, data_size;
    uint64_t first_position, last_position, first_epoch_us, last_epoch_us;
    struct es_tagged types, members; /* counts */
};

/* A state. Its kind is the fold's. */
struct es_fold_state {
    size_t name_at; /* in esdb_fold.names */
    uint32_t name_len;
    uint64_t hash;
    int64_t version, snapshot_version;
    uint64_t begin; /* events of lower versions are in the snapshot */
    uint64_t events;
    union {
        struct es_tagged tagged;
        struct es_buffer json;
        struct es_decimal sum;
        uint64_t count;
        struct es_stats *stats; /* owned */
    };
};

/* An event that waits for jq. */
struct es_fold_item {
    uint32_t state;
    uint32_t len; /* of its JSON, at `at` */
    size_t at;
    uint64_t position, version;
};

struct es_fold_jq {
    struct es_jq *jq;        /* owned; NULL: not started */
    struct es_buffer events; /* JSON of those that wait */
    struct es_buffer items;  /* struct es_fold_item */
    struct es_buffer sent;   /* counting: items under way, those that wait behind them */
    size_t answered;         /* of `sent` */
};

struct esdb_fold {
    enum esdb_fold_kind kind;
    unsigned flags;
    struct esdb_text program, init; /* owned */
    uint32_t timeout_ms;
    const char *timeout_option;
    struct es_keys keys;
    struct es_tagged patch;
    struct es_path path;
    struct es_predicate *predicate; /* owned; NULL: jq decides about all events */
    struct es_fold_jq jq;
    struct es_fold_state *state; /* owned */
    size_t count, room;
    uint32_t *slot; /* state + 1, by name; 0: empty; owned */
    size_t slots;
    struct es_buffer names;
    bool one;        /* a single state for all events: state[0] */
    bool savable;    /* states can be saved as snapshots */
    uint64_t end;    /* of what was read: events before this position */
    uint32_t *order; /* of the results; NULL: none was asked for; owned */
    size_t next;
    struct es_buffer text; /* the result's */
    struct esdb_fold_skipped skipped;
};

/* The state of a stream, a new one when there is none. UINT32_MAX: no memory. */
uint32_t es_fold_state_of(esdb_fold *f, struct esdb_text stream);
struct esdb_text es_fold_name(const esdb_fold *f, const struct es_fold_state *s);

/* Gives a state that nothing was folded into what a snapshot, or --init, says. ESDB_EINVALID: it does not fit. */
int es_fold_begin_with(esdb_fold *f, struct es_fold_state *s, struct esdb_text json, struct es_tagged_why *why);

/* Folds one event into the state, or lets it wait. */
int es_fold_event(esdb_fold *f, uint32_t state, const struct esdb_event *e, struct esdb_error *err);

/* Nothing waits any more. */
int es_fold_finish(esdb_fold *f, struct esdb_error *err);

/* An event that cannot be folded: counted, or an error. */
int es_fold_invalid(esdb_fold *f, struct esdb_text stream, uint64_t version, uint64_t position, const char *what,
                    struct esdb_error *err);

/* Adds the state as JSON. 0 or -ENOMEM. */
int es_fold_print(const esdb_fold *f, const struct es_fold_state *s, bool keep_tags, struct es_buffer *out);

/* ---- jq ---- */

int es_fold_reduce_open(esdb_fold *f, struct esdb_error *err);
int es_fold_reduce_put(esdb_fold *f, uint32_t state, const struct esdb_event *e, struct esdb_error *err);
int es_fold_reduce_flush(esdb_fold *f, struct esdb_error *err);

int es_fold_count_open(esdb_fold *f, struct esdb_error *err);
int es_fold_count_put(esdb_fold *f, uint32_t state, const struct esdb_event *e, struct esdb_error *err);
int es_fold_count_flush(esdb_fold *f, struct esdb_error *err);

/* The first number in a JSON text that jq, which has doubles, would change; at == NULL: none. beyond: one of 2^53 or more
 * counts, too: it may be what an odd one was rounded to. */
struct fmt_text es_fold_inexact(struct fmt_text json, bool beyond);

#endif
