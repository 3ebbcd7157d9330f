#include <errno.h>
#include <stdlib.h>

#include "error.h"
#include "trace.h"

struct edge {
    uint32_t from, to;
};

static int compare_events(const void *a, const void *b) {
    const struct es_trace_event *x = a, *y = b;
    return (x->position > y->position) - (x->position < y->position);
}

static int compare_edges(const void *a, const void *b) {
    const struct edge *x = a, *y = b;
    if (x->from != y->from)
        return x->from < y->from ? -1 : 1;
    return (x->to > y->to) - (x->to < y->to);
}

static struct esdb_text text_of(const struct esdb_trace *t, uint32_t i) {
    const struct es_trace_text *x = es_trace_text_at(t, i);
    return (struct esdb_text){x->at, x->len};
}

/* Zeroed memory for n items, never NULL for none. */
static void *items(size_t n, size_t size) {
    return calloc(n ? n : 1, size);
}

/* ---- nodes ---- */

/* Nodes in the order of their first events; the events are sorted by position. */
static int make_nodes(struct esdb_trace *t) {
    size_t events = es_trace_event_count(t), at = 0;
    t->nodes = items(events, sizeof *t->nodes);
    t->positions = items(events, sizeof *t->positions);
    if (!t->nodes || !t->positions)
        return -ENOMEM;
    for (size_t i = 0; i < events; i++) {
        const struct es_trace_event *e = es_trace_event_at(t, i);
        struct es_trace_text *id = es_trace_text_at(t, e->id);
        if (id->node == ES_TRACE_NONE) {
            id->node = (uint32_t)t->info.nodes++;
            t->nodes[id->node] = (struct esdb_trace_node){.event_id = {id->at, id->len},
                                                          .stream_id = text_of(t, e->stream),
                                                          .event_type = text_of(t, e->type),
                                                          .version = e->version,
                                                          .epoch_us = e->epoch_us};
        }
        t->nodes[id->node].event_count++;
    }
    for (size_t n = 0; n < t->info.nodes; n++) {
        t->nodes[n].positions = t->positions + at;
        at += t->nodes[n].event_count;
        t->nodes[n].event_count = 0;
    }
    for (size_t i = 0; i < events; i++) {
        const struct es_trace_event *e = es_trace_event_at(t, i);
        struct esdb_trace_node *n = &t->nodes[es_trace_text_at(t, e->id)->node];
        t->positions[(size_t)(n->positions - t->positions) + n->event_count++] = e->position;
    }
    t->info.events = events;
    return 0;
}

/* ---- edges ---- */

/* Sorts and drops what is there twice. Returns how many are left. */
static size_t tidy(struct edge *edges, size_t count) {
    size_t n = 0;
    qsort(edges, count, sizeof *edges, compare_edges);
    for (size_t i = 0; i < count; i++)
        if (n == 0 || compare_edges(&edges[n - 1], &edges[i]) != 0)
            edges[n++] = edges[i];
    return n;
}

/* Points the nodes at their effects: edges are sorted by `from`. */
static void point_effects(struct esdb_trace *t, const struct edge *edges) {
    for (size_t i = 0; i < t->info.edges; i++) {
        struct esdb_trace_node *n = &t->nodes[edges[i].from];
        t->effects[i] = edges[i].to;
        if (n->effect_count++ == 0)
            n->effects = t->effects + i;
    }
}

/* And at their causes: sorted by `to` after turning them round. */
static void point_causes(struct esdb_trace *t, struct edge *edges) {
    for (size_t i = 0; i < t->info.edges; i++)
        edges[i] = (struct edge){edges[i].to, edges[i].from};
    qsort(edges, t->info.edges, sizeof *edges, compare_edges);
    for (size_t i = 0; i < t->info.edges; i++) {
        struct esdb_trace_node *n = &t->nodes[edges[i].from];
        t->causes[i] = edges[i].to;
        if (n->cause_count++ == 0)
            n->causes = t->causes + i;
    }
}

/* Gaps are edges from a text that is no node; they are told in the order of their effects. */
static int make_gaps(struct esdb_trace *t, struct edge *gaps, size_t count) {
    count = tidy(gaps, count);
    t->gaps = items(count, sizeof *t->gaps);
    if (!t->gaps)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++) {
        bool in_store = es_trace_text_at(t, gaps[i].to)->marks & ES_TRACE_IN_STORE;
        t->gaps[i] = (struct esdb_trace_gap){
            .causation_id = text_of(t, gaps[i].to), .effect = gaps[i].from, .in_store = in_store};
        t->info.missing += !in_store;
    }
    t->info.gaps = count;
    return 0;
}

static int make_edges(struct esdb_trace *t) {
    size_t events = t->info.events, edge_count = 0, gap_count = 0;
    struct edge *edges = items(events, sizeof *edges), *gaps = items(events, sizeof *gaps);
    int rc = edges && gaps ? 0 : -ENOMEM;
    for (size_t i = 0; rc == 0 && i < events; i++) {
        const struct es_trace_event *e = es_trace_event_at(t, i);
        if (e->cause == ES_TRACE_NONE)
            continue;
        const struct es_trace_text *cause = es_trace_text_at(t, e->cause);
        uint32_t effect = es_trace_text_at(t, e->id)->node;
        if (cause->node != ES_TRACE_NONE)
            edges[edge_count++] = (struct edge){cause->node, effect};
        else if (cause->marks & ES_TRACE_ASKED)
            gaps[gap_count++] = (struct edge){effect, e->cause};
    }
    if (rc == 0)
        rc = make_gaps(t, gaps, gap_count);
    if (rc == 0) {
        t->info.edges = tidy(edges, edge_count);
        t->effects = items(t->info.edges, sizeof *t->effects);
        t->causes = items(t->info.edges, sizeof *t->causes);
        rc = t->effects && t->causes ? 0 : -ENOMEM;
    }
    if (rc == 0) {
        point_effects(t, edges);
        point_causes(t, edges);
    }
    free(edges);
    free(gaps);
    return rc;
}

/* ---- the order ---- */

/* Nodes whose causes are all in the order: a binary heap, the lowest number first. */
struct heap {
    uint32_t *at;
    size_t count;
};

static void heap_push(struct heap *h, uint32_t node) {
    size_t i = h->count++;
    for (; i > 0 && h->at[(i - 1) / 2] > node; i = (i - 1) / 2)
        h->at[i] = h->at[(i - 1) / 2];
    h->at[i] = node;
}

static uint32_t heap_pop(struct heap *h) {
    uint32_t least = h->at[0], last = h->at[--h->count];
    size_t i = 0, child;
    while ((child = 2 * i + 1) < h->count) {
        if (child + 1 < h->count && h->at[child + 1] < h->at[child])
            child++;
        if (last <= h->at[child])
            break;
        h->at[i] = h->at[child];
        i = child;
    }
    h->at[i] = last;
    return least;
}

/* One cycle of those that are left when the order knows no further (`left` causes of each node are not in it): from such a
 * node on always to the lowest cause that is left, until a node comes again. Every such node has one. */
static void find_cycle(struct esdb_trace *t, const uint32_t *left) {
    uint32_t at = 0;
    uint32_t *next = t->order; /* the effect from which a node was reached, + 1 */
    memset(next, 0, t->info.nodes * sizeof *next);
    while (left[at] == 0)
        at++;
    for (uint32_t from = at; next[at] == 0;) {
        const struct esdb_trace_node *n = &t->nodes[at];
        size_t i = 0;
        next[at] = from + 1;
        from = at;
        while (left[n->causes[i]] == 0)
            i++;
        at = n->causes[i];
        if (next[at] != 0)
            next[at] = from + 1; /* closes the circle */
    }
    uint32_t lowest = at;
    for (uint32_t i = next[at] - 1; i != at; i = next[i] - 1)
        if (i < lowest)
            lowest = i;
    t->order_count = 0;
    at = lowest;
    do
        t->path[t->order_count++] = at; /* `order` is still in use */
    while ((at = next[at] - 1) != lowest);
    memcpy(t->order, t->path, t->order_count * sizeof *t->order);
}

static int make_order(struct esdb_trace *t) {
    size_t nodes = t->info.nodes;
    uint32_t *left = items(nodes, sizeof *left), *depth = items(nodes, sizeof *depth);
    struct heap heap = {.at = items(nodes, sizeof *heap.at)};
    int rc = left && depth && heap.at ? 0 : -ENOMEM;
    for (uint32_t i = 0; rc == 0 && i < nodes; i++) {
        left[i] = (uint32_t)t->nodes[i].cause_count;
        if (left[i] == 0)
            heap_push(&heap, i);
        t->info.roots += left[i] == 0;
        t->info.leaves += t->nodes[i].effect_count == 0;
    }
    while (rc == 0 && heap.count > 0) {
        uint32_t at = heap_pop(&heap);
        const struct esdb_trace_node *n = &t->nodes[at];
        t->order[t->order_count++] = at;
        if (depth[at] > t->info.depth)
            t->info.depth = depth[at];
        for (size_t i = 0; i < n->effect_count; i++) {
            uint32_t effect = n->effects[i];
            if (depth[effect] <= depth[at])
                depth[effect] = depth[at] + 1;
            if (--left[effect] == 0)
                heap_push(&heap, effect);
        }
    }
    if (rc == 0 && t->order_count < nodes) {
        t->info.is_cyclic = true;
        t->info.depth = 0;
        find_cycle(t, left);
    }
    free(left);
    free(depth);
    free(heap.at);
    return rc;
}

int es_trace_make(struct esdb_trace *t) {
    if (es_trace_event_count(t) > 0)
        qsort(t->events.at, es_trace_event_count(t), sizeof(struct es_trace_event), compare_events);
    int rc = make_nodes(t);
    if (rc == 0) {
        t->order = items(t->info.nodes, sizeof *t->order);
        t->path = items(t->info.nodes, sizeof *t->path);
        rc = t->order && t->path ? 0 : -ENOMEM;
    }
    if (rc == 0)
        rc = make_edges(t);
    if (rc == 0)
        rc = make_order(t);
    return rc;
}

/* ---- answers ---- */

void esdb_trace_get_info(const esdb_trace *t, struct esdb_trace_info *out) {
    *out = t->info;
}

const struct esdb_trace_node *esdb_trace_get_node(const esdb_trace *t, size_t i) {
    return &t->nodes[i];
}

const struct esdb_trace_gap *esdb_trace_get_gap(const esdb_trace *t, size_t i) {
    return &t->gaps[i];
}

int64_t esdb_trace_find(const esdb_trace *t, struct esdb_text event_id) {
    uint32_t text = es_trace_text_find(t, event_id);
    uint32_t node = text == ES_TRACE_NONE ? ES_TRACE_NONE : es_trace_text_at(t, text)->node;
    return node == ES_TRACE_NONE ? -1 : (int64_t)node;
}

const uint32_t *esdb_trace_get_order(const esdb_trace *t, size_t *count) {
    *count = t->order_count;
    return t->order;
}

/* In breadth from the effect towards its causes. */
int esdb_trace_path(esdb_trace *t, uint32_t from, uint32_t to, const uint32_t **path, size_t *count,
                    struct esdb_error *err) {
    size_t nodes = t->info.nodes, head = 0, tail = 0;
    uint32_t *next = items(nodes, sizeof *next), *line = items(nodes, sizeof *line); /* next: effect + 1 */
    if (!next || !line) {
        free(next);
        free(line);
        return es_fail(err, -ENOMEM, "%s", esdb_path(t->lookup->db));
    }
    line[tail++] = to;
    next[to] = to + 1;
    while (head < tail && next[from] == 0) {
        uint32_t at = line[head++];
        const struct esdb_trace_node *n = &t->nodes[at];
        for (size_t i = 0; i < n->cause_count; i++)
            if (next[n->causes[i]] == 0) {
                next[n->causes[i]] = at + 1;
                line[tail++] = n->causes[i];
            }
    }
    bool found = next[from] != 0;
    *count = 0;
    for (uint32_t at = from; found; at = next[at] - 1) {
        t->path[(*count)++] = at;
        found = at != to;
    }
    free(next);
    free(line);
    if (*count == 0)
        return es_fail(err, ESDB_ENOTFOUND, "no chain of causes leads from one to the other");
    *path = t->path;
    return 0;
}
