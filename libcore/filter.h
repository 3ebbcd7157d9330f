/* filter.h: does an event pass the filters of a query: types, ids, metadata, tags, --match and --select. */
#ifndef ES_FILTER_H
#define ES_FILTER_H

#include <regex.h>

#include "buffer.h"
#include "error.h"
#include "esdb.h"
#include "pattern.h"

struct es_predicate;

/* Texts of a query, copied. */
struct es_texts {
    struct esdb_text *at; /* owned; so are the bytes */
    size_t count;
};

struct es_filter {
    struct es_pattern *types; /* owned */
    size_t type_count;
    struct es_texts ids, tags, where_keys, where_values;
    struct es_predicate *match; /* owned; NULL: none */
    struct es_predicate *select;
    struct esdb_text program; /* of --select, owned; at == NULL: none */
    bool asks_always;         /* --select has no native form; then `select` may decide, by: */
    bool guard_decides_yes;   /* es_predicate_compile_guard */
    bool all_tags, invert;
    bool any; /* false: every event passes */
};

/* Copies what the query says. ESDB_EUSAGE: --match or --select cannot be understood (what has no native form is left to
 * jq). */
int es_filter_init(struct es_filter *f, const struct esdb_query *q, struct esdb_error *err);
void es_filter_release(struct es_filter *f);

enum es_verdict {
    ES_VERDICT_NO,
    ES_VERDICT_YES,
    ES_VERDICT_ASK /* jq decides: es_filter_decide */
};
enum es_verdict es_filter_judge(const struct es_filter *f, const struct esdb_event *e);

/* What becomes of an event about which jq was asked. */
static inline bool es_filter_decide(const struct es_filter *f, bool yes) {
    return yes != f->invert;
}

/* Hashes of the keys (format/event_keys.h) of which an event must have one to pass, when there are such: *hashes is the
 * caller's, *count > 0, *name says which index. *count 0: any event may pass. -ENOMEM. */
int es_filter_keys(const struct es_filter *f, uint64_t **hashes, size_t *count, const char **name);

#endif
