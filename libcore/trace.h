/* trace.h: inside a graph of events (esdb.h, causation).
 *
 *   trace.c        gathers events:      texts and events grow, in the order in which they are met
 *   trace_graph.c  makes the graph:     nodes, edges, gaps and the order, none of which changes any more
 *   trace_chain.c  the chain alone, which needs no graph
 *
 * A text is a string that events carry: an event id, a causation id, a stream, a type. Each is kept once. */
#ifndef ES_TRACE_H
#define ES_TRACE_H

#include "buffer.h"
#include "esdb.h"
#include "lookup.h"

#define ES_TRACE_NONE UINT32_MAX
#define ES_TRACE_TEXT_MAX 255u /* a longer causation_id cannot be an event's id: its beginning is for people */

/* What has been done about a text, as an id. */
enum es_trace_mark {
    ES_TRACE_QUEUED_UP = 1,   /* its events will be looked for */
    ES_TRACE_ASKED = 2,       /* they were: when there is none, it is missing */
    ES_TRACE_QUEUED_DOWN = 4, /* its effects will be looked for */
    ES_TRACE_IN_STORE = 8,    /* there is such an event, which does not belong to the graph */
};

struct es_trace_text {
    const char *at; /* in the arena */
    uint32_t hash;
    uint32_t node; /* ES_TRACE_NONE: no gathered event has this id. Known when the graph is made */
    uint8_t len;
    uint8_t marks; /* enum es_trace_mark */
};

struct es_trace_event {
    uint64_t position, version, epoch_us;
    uint32_t id, cause, stream, type; /* texts; cause may be ES_TRACE_NONE */
};

/* Positions, for "was it there before?": a hash table with open addressing. */
struct es_trace_set {
    uint64_t *slot; /* position + 1; 0: free. Owned */
    size_t slots, count;
};
/* 1: added. 0: it was in. -ENOMEM. */
int es_trace_set_add(struct es_trace_set *s, uint64_t position);
void es_trace_set_release(struct es_trace_set *s);

struct es_trace_chunk {
    struct es_trace_chunk *next;
    size_t used;
    char at[];
};

struct esdb_trace {
    struct esdb_lookup *lookup; /* borrowed */
    uint64_t event_max;

    struct es_trace_chunk *arena;
    struct es_buffer texts; /* struct es_trace_text */
    uint32_t *slot;         /* hash table: text + 1; 0: free */
    size_t slots;
    struct es_buffer events; /* struct es_trace_event */
    struct es_trace_set seen;
    struct es_buffer queue; /* uint32_t: texts to look at */

    struct esdb_trace_node *nodes; /* owned, and all below */
    struct esdb_trace_gap *gaps;
    uint64_t *positions;
    uint32_t *effects, *causes, *order, *path;
    size_t order_count;
    struct esdb_trace_info info;
};

static inline struct es_trace_text *es_trace_text_at(const struct esdb_trace *t, uint32_t i) {
    return (struct es_trace_text *)t->texts.at + i;
}
static inline size_t es_trace_text_count(const struct esdb_trace *t) {
    return t->texts.len / sizeof(struct es_trace_text);
}
static inline struct es_trace_event *es_trace_event_at(const struct esdb_trace *t, size_t i) {
    return (struct es_trace_event *)t->events.at + i;
}
static inline size_t es_trace_event_count(const struct esdb_trace *t) {
    return t->events.len / sizeof(struct es_trace_event);
}

/* The number of a text, ES_TRACE_NONE when it is not there. */
uint32_t es_trace_text_find(const struct esdb_trace *t, struct esdb_text text);

/* Makes the graph of the events that were gathered. 0 or -ENOMEM. Sorts the events by position. */
int es_trace_make(struct esdb_trace *t);

#endif
