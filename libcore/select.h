/* select.h: events on which jq must decide (--select without a native form), kept in order with the others while they wait
 * for the answer, so that finding the next ones and deciding go on at the same time. */
#ifndef ES_SELECT_H
#define ES_SELECT_H

#include "error.h"
#include "filter.h"
#include "jq_child.h"

#define ES_SELECT_BATCHES ES_JQ_IN_FLIGHT

/* Some events, one after the other, and what ended them. */
struct es_select_batch {
    struct es_buffer events; /* struct waiting, see select.c */
    struct es_buffer bytes;  /* their texts, copied */
    struct es_buffer lines;  /* for jq: those that it was asked about */
    struct es_buffer verdicts;
    uint32_t asked;
    size_t given; /* events that were returned or dropped */
    bool sent, answered;
    int rc; /* what the source said behind them; 0: it has more */
    struct esdb_error err;
};

struct es_select {
    const struct es_filter *filter; /* borrowed */
    uint32_t timeout_ms;
    struct es_jq *jq; /* owned; NULL: not asked yet */
    struct es_select_batch batch[ES_SELECT_BATCHES];
    unsigned first, count; /* those in use, a ring */
    uint32_t size;         /* events for jq in the next batch: few at first, so that an early answer comes early */
    uint64_t asked, failed, failed_position;
    char failure[256];
};

/* Gives candidates: 0 and *verdict yes or ask, or what esdb_cursor_next returns otherwise. */
typedef int (*es_select_source)(void *context, struct esdb_event *e, enum es_verdict *verdict, struct esdb_error *err);

void es_select_init(struct es_select *s, const struct es_filter *f, uint32_t timeout_ms);
void es_select_release(struct es_select *s);

/* Starts jq now, so that a mistake in the expression is told at once. ESDB_EUSAGE and others of es_jq_open. */
int es_select_start(struct es_select *s, struct esdb_error *err);

/* True when events wait: then the source must not be asked around this. */
static inline bool es_select_waiting(const struct es_select *s) {
    return s->count > 0;
}

/* The next event that passes. e is NULL, or a first candidate that was already taken from the source, about which jq is
 * to be asked. 0 (*out valid until the next call), or what the source said. */
int es_select_next(struct es_select *s, const struct esdb_event *e, es_select_source source, void *context,
                   struct esdb_event *out, struct esdb_error *err);

#endif
