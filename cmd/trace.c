/* trace.c: what the commands of esdb-trace do. See trace.h. */
#include "trace.h"

#include <stdlib.h>
#include <string.h>

#include "trace_draw.h"

/* ---- printing events ---- */

/* The first status that is not 0 stays, but damage is more than an answer that lacks something. */
static int worse(int a, int b) {
    return a == 0 || (b == 5 && (a == 4 || a == 9)) ? b : a;
}

/* Prints what a query finds; with `key`, only events that name `id` by it. Not the event `without` itself. */
static int print_query(struct cmd_trace_request *r, struct esdb_query *q, const char *key, struct esdb_text id,
                       const char *without) {
    struct cmd_out *out = cmd_stdout();
    struct esdb_text self = cmd_text(without);
    struct esdb_error err = {0};
    struct esdb_event e;
    esdb_cursor *cursor;
    int status = 0, rc = esdb_cursor_open(r->db, q, &cursor, &err);

    if (rc != 0)
        return cmd_report(rc, &err);
    while (r->printed < r->limit && !out->failed && (rc = esdb_cursor_next(cursor, &e, &err)) != ESDB_END) {
        if (rc != 0) {
            cmd_print_flush(out);
            cmd_out_flush(out); /* messages stand where the damage is */
            status = worse(status, cmd_report(rc, &err));
            if (rc != ESDB_ECORRUPT)
                break;
            err = (struct esdb_error){0};
        } else if ((!key || esdb_event_names(&e, cmd_text(key), id)) &&
                   (!without || self.len != e.event_id.len || memcmp(self.at, e.event_id.at, self.len) != 0)) {
            cmd_print_event(out, &e);
            r->printed++;
        }
    }
    esdb_cursor_close(cursor);
    return status;
}

static int print_keyed(struct cmd_trace_request *r, const char *key, const char *id, const char *without) {
    struct esdb_where where = {cmd_text(key), cmd_text(id)};
    struct esdb_query q;

    esdb_query_init(&q);
    q.flags = ESDB_ALL | r->flags;
    q.where = &where;
    q.where_count = 1;
    return print_query(r, &q, key, where.value, without);
}

/* Events by position, in the given order or the opposite one. */
static int print_positions(struct cmd_trace_request *r, const uint64_t *positions, size_t count) {
    struct cmd_out *out = cmd_stdout();
    struct esdb_event e;
    int status = 0;

    for (size_t i = 0; i < count && r->printed < r->limit && !out->failed; i++) {
        struct esdb_error err = {0};
        int rc = esdb_lookup_get(r->lookup, positions[r->flags & ESDB_REVERSE ? count - 1 - i : i], &e, &err);

        if (rc != 0) {
            cmd_out_flush(out);
            status = worse(status, cmd_report(rc, &err));
            continue;
        }
        cmd_print_event(out, &e);
        r->printed++;
    }
    return status;
}

/* ---- what is told on stderr ---- */

static int report_damage(const struct cmd_trace_request *r) {
    struct esdb_error damage = {0};

    return esdb_lookup_is_whole(r->lookup, &damage) ? 0 : cmd_report(damage.code, &damage);
}

static int not_found(const char *id, const char *what) {
    cmd_message("%s: %s", id, what);
    return 4;
}

#define GAPS_TOLD 10u

/* Causes that are not in the store: exit status 9, after a message for each of the first ones. */
static int report_gaps(const struct cmd_trace_request *r, const esdb_trace *t) {
    struct esdb_trace_info info;
    size_t told = 0;

    esdb_trace_get_info(t, &info);
    for (size_t i = 0; i < info.gaps && told < GAPS_TOLD; i++) {
        const struct esdb_trace_gap *g = esdb_trace_get_gap(t, i);
        struct esdb_text id = esdb_trace_get_node(t, g->effect)->event_id;

        if (g->in_store)
            continue;
        cmd_message("%.*s: its cause %.*s is not in the store", (int)id.len, id.at, (int)g->causation_id.len,
                    g->causation_id.at);
        told++;
    }
    if (info.missing > told)
        cmd_message("... and %zu more", info.missing - told);
    return worse(report_damage(r), info.missing > 0 ? 9 : 0);
}

static int report_open(int rc, const struct esdb_error *err, const char *id) {
    if (rc == ESDB_ENOTFOUND)
        return not_found(id, "no such event");
    if (rc == ESDB_EUSAGE) {
        cmd_message("%s: %s: --max allows more", id, err->text);
        return 2;
    }
    return cmd_report(rc, err);
}

/* ---- chains ---- */

int cmd_trace_chain(struct cmd_trace_request *r, char **ids) {
    struct esdb_error err = {0};
    struct esdb_chain c;
    int status, rc = esdb_chain(r->lookup, cmd_text(ids[0]), r->max, &c, &err);

    if (rc != 0)
        return report_open(rc, &err, ids[0]);
    status = print_positions(r, c.positions, c.count);
    cmd_out_flush(cmd_stdout());
    status = worse(status, report_damage(r));
    if (c.is_cycle || c.broken.at) {
        if (c.is_cycle)
            cmd_message(
                "%s: its causes form a cycle: the event at position %llu is an effect of the one at position %llu",
                ids[0], (unsigned long long)c.positions[0], (unsigned long long)c.positions[c.cycle]);
        else
            cmd_message("%s: the cause of the event at position %llu, %.*s, is not in the store", ids[0],
                        (unsigned long long)c.positions[0], (int)c.broken.len, c.broken.at);
        status = worse(status, 9);
    }
    esdb_chain_release(&c);
    return status;
}

/* ---- lists of nodes ---- */

struct list {
    uint64_t *at; /* owned */
    size_t count;
};

static void add_node(struct list *l, const struct esdb_trace_node *n) {
    memcpy(l->at + l->count, n->positions, n->event_count * sizeof *n->positions);
    l->count += n->event_count;
}

static int compare_positions(const void *a, const void *b) {
    const uint64_t *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}

enum which { OTHERS, CAUSES, ROOTS, LEAVES };

/* Prints the events of some nodes in order of positions. `start`: the node that was asked for, or -1. */
static int print_nodes(struct cmd_trace_request *r, const esdb_trace *t, enum which which, int64_t start) {
    struct esdb_trace_info info;
    struct list l = {0};
    int status;

    esdb_trace_get_info(t, &info);
    l.at = cmd_alloc((info.events + 1) * sizeof *l.at);
    for (size_t i = 0; i < info.nodes; i++) {
        const struct esdb_trace_node *n = esdb_trace_get_node(t, i);

        if (which == ROOTS ? n->cause_count == 0 : which == LEAVES ? n->effect_count == 0 : (int64_t)i != start)
            add_node(&l, n);
    }
    qsort(l.at, l.count, sizeof *l.at, compare_positions);
    status = print_positions(r, l.at, l.count);
    free(l.at);
    cmd_out_flush(cmd_stdout());
    return status;
}

static int open_trace(struct cmd_trace_request *r, enum esdb_trace_what what, const char *id, uint32_t depth_max,
                      esdb_trace **out, struct esdb_error *err) {
    struct esdb_trace_query q = {.what = what, .id = cmd_text(id), .depth_max = depth_max, .event_max = r->max};

    return esdb_trace_open(r->lookup, &q, out, err);
}

int cmd_trace_cause(struct cmd_trace_request *r, char **ids) {
    struct esdb_error err = {0};
    esdb_trace *t;
    int64_t start;
    int status, rc = open_trace(r, ESDB_TRACE_CAUSES, ids[0], 1, &t, &err);

    if (rc != 0)
        return report_open(rc, &err, ids[0]);
    start = esdb_trace_find(t, cmd_text(ids[0]));
    status = print_nodes(r, t, CAUSES, start);
    status = worse(status, report_gaps(r, t));
    if (r->printed == 0 && status == 0 && start >= 0 && esdb_trace_get_node(t, (size_t)start)->cause_count > 0) {
        cmd_message("%s: names itself as its cause", ids[0]);
        status = 9;
    } else if (r->printed == 0 && status == 0 && r->limit > 0) {
        status = not_found(ids[0], "has no cause");
    }
    esdb_trace_close(t);
    return status;
}

int cmd_trace_ancestors(struct cmd_trace_request *r, char **ids) {
    struct esdb_error err = {0};
    esdb_trace *t;
    int status, rc = open_trace(r, ESDB_TRACE_CAUSES, ids[0], 0, &t, &err);

    if (rc != 0)
        return report_open(rc, &err, ids[0]);
    status = print_nodes(r, t, OTHERS, esdb_trace_find(t, cmd_text(ids[0])));
    status = worse(status, report_gaps(r, t));
    esdb_trace_close(t);
    return status;
}

/* 0 when there is an event with this id, else a status after the message. */
static int check_event(struct cmd_trace_request *r, const char *id) {
    struct esdb_error err = {0};
    esdb_trace *t;
    struct esdb_trace_info info;
    int status, rc = open_trace(r, ESDB_TRACE_EVENTS, id, 0, &t, &err);

    if (rc != 0)
        return report_open(rc, &err, id);
    esdb_trace_get_info(t, &info);
    status = report_damage(r);
    esdb_trace_close(t);
    return status;
}

int cmd_trace_effects(struct cmd_trace_request *r, char **ids) {
    struct esdb_error err = {0};
    struct esdb_trace_info info;
    esdb_trace *t;
    int status, rc;

    if (!r->all) {
        status = print_keyed(r, "causation_id", ids[0], ids[0]);
        return r->printed == 0 && status == 0 ? check_event(r, ids[0]) : status;
    }
    rc = open_trace(r, ESDB_TRACE_EFFECTS, ids[0], 0, &t, &err);
    if (rc != 0)
        return report_open(rc, &err, ids[0]);
    status = print_nodes(r, t, OTHERS, esdb_trace_find(t, cmd_text(ids[0])));
    esdb_trace_get_info(t, &info);
    status = worse(status, report_damage(r));
    esdb_trace_close(t);
    return status;
}

int cmd_trace_path(struct cmd_trace_request *r, char **ids) {
    struct esdb_error err = {0};
    struct list l = {0};
    const uint32_t *nodes = NULL;
    struct esdb_trace_info info;
    esdb_trace *t;
    size_t count = 0;
    int64_t from, to;
    int status, rc = open_trace(r, ESDB_TRACE_CAUSES, ids[1], 0, &t, &err);

    if (rc != 0)
        return report_open(rc, &err, ids[1]);
    esdb_trace_get_info(t, &info);
    from = esdb_trace_find(t, cmd_text(ids[0]));
    to = esdb_trace_find(t, cmd_text(ids[1]));
    rc = from < 0 || to < 0 ? ESDB_ENOTFOUND : esdb_trace_path(t, (uint32_t)from, (uint32_t)to, &nodes, &count, &err);
    if (rc == 0) {
        l.at = cmd_alloc(info.events * sizeof *l.at);
        for (size_t i = 0; i < count; i++)
            add_node(&l, esdb_trace_get_node(t, nodes[i]));
        status = print_positions(r, l.at, l.count);
        free(l.at);
    } else if (rc == ESDB_ENOTFOUND) {
        /* A chain that is broken may have led there. */
        status = from < 0 ? check_event(r, ids[0]) : 0;
        if (status == 0)
            status = report_gaps(r, t);
        if (status == 0 || status == 9) {
            cmd_message("%s is no %scause of %s", ids[0], status == 9 ? "known " : "", ids[1]);
            status = status ? status : 4;
        }
    } else {
        status = cmd_report(rc, &err);
    }
    esdb_trace_close(t);
    return status;
}

/* ---- by correlation and by actor ---- */

int cmd_trace_correlated(struct cmd_trace_request *r, char **ids) {
    int status = print_keyed(r, "correlation_id", ids[0], NULL);

    return status == 0 && r->printed == 0 && r->limit > 0 ? not_found(ids[0], "no event has this correlation_id")
                                                          : status;
}

int cmd_trace_actor(struct cmd_trace_request *r, char **ids) {
    int status = print_keyed(r, "actor_id", ids[0], NULL);

    return status == 0 && r->printed == 0 && r->limit > 0 ? not_found(ids[0], "no event has this actor_id") : status;
}

/* ---- graphs ---- */

/* The graph that an id stands for. 0, or an exit status after the message. */
static int open_graph(struct cmd_trace_request *r, const char *id, esdb_trace **out) {
    struct esdb_error err = {0};
    int rc = ESDB_ENOTFOUND;

    if (r->by != CMD_TRACE_BY_CORRELATION)
        rc = open_trace(r, ESDB_TRACE_GRAPH, id, 0, out, &err);
    if (rc == ESDB_ENOTFOUND && r->by != CMD_TRACE_BY_EVENT) {
        err = (struct esdb_error){0};
        rc = open_trace(r, ESDB_TRACE_CORRELATION, id, 0, out, &err);
    }
    if (rc == ESDB_ENOTFOUND)
        return not_found(id, r->by == CMD_TRACE_BY_EVENT         ? "no such event"
                             : r->by == CMD_TRACE_BY_CORRELATION ? "no event has this correlation_id"
                                                                 : "no event and no correlation has this id");
    return rc == 0 ? 0 : report_open(rc, &err, id);
}

static int with_graph(struct cmd_trace_request *r, char **ids,
                      void (*show)(struct cmd_trace_request *r, esdb_trace *t, const char *id)) {
    esdb_trace *t;
    int status = open_graph(r, ids[0], &t);

    if (status != 0)
        return status;
    show(r, t, ids[0]);
    cmd_out_flush(cmd_stdout());
    status = report_gaps(r, t);
    esdb_trace_close(t);
    return status;
}

static void show_json(struct cmd_trace_request *r, esdb_trace *t, const char *id) {
    (void)r, (void)id;
    cmd_draw_json(cmd_stdout(), t);
}

static void show_dot(struct cmd_trace_request *r, esdb_trace *t, const char *id) {
    (void)r;
    cmd_draw_dot(cmd_stdout(), t, cmd_text(id));
}

static void show_tree(struct cmd_trace_request *r, esdb_trace *t, const char *id) {
    (void)r, (void)id;
    cmd_draw_tree(cmd_stdout(), t);
}

static void show_stats(struct cmd_trace_request *r, esdb_trace *t, const char *id) {
    (void)id;
    cmd_draw_stats(cmd_stdout(), t, r->json);
}

int cmd_trace_graph(struct cmd_trace_request *r, char **ids) {
    return with_graph(r, ids, show_json);
}

int cmd_trace_dot(struct cmd_trace_request *r, char **ids) {
    return with_graph(r, ids, show_dot);
}

int cmd_trace_tree(struct cmd_trace_request *r, char **ids) {
    return with_graph(r, ids, show_tree);
}

int cmd_trace_stats(struct cmd_trace_request *r, char **ids) {
    return with_graph(r, ids, show_stats);
}

static int some_nodes(struct cmd_trace_request *r, char **ids, enum which which) {
    esdb_trace *t;
    int status = open_graph(r, ids[0], &t);

    if (status != 0)
        return status;
    status = print_nodes(r, t, which, -1);
    status = worse(status, report_gaps(r, t));
    esdb_trace_close(t);
    return status;
}

int cmd_trace_roots(struct cmd_trace_request *r, char **ids) {
    return some_nodes(r, ids, ROOTS);
}

int cmd_trace_leaves(struct cmd_trace_request *r, char **ids) {
    return some_nodes(r, ids, LEAVES);
}

int cmd_trace_topo(struct cmd_trace_request *r, char **ids) {
    struct esdb_trace_info info;
    struct list l = {0};
    const uint32_t *order;
    esdb_trace *t;
    size_t count;
    int status = open_graph(r, ids[0], &t);

    if (status != 0)
        return status;
    esdb_trace_get_info(t, &info);
    order = esdb_trace_get_order(t, &count);
    if (info.is_cyclic) {
        char text[800];

        cmd_draw_cycle(t, text, sizeof text);
        cmd_message("%s: there is no order: %s", ids[0], text);
        status = 9;
    } else {
        l.at = cmd_alloc((info.events + 1) * sizeof *l.at);
        for (size_t i = 0; i < count; i++)
            add_node(&l, esdb_trace_get_node(t, order[i]));
        status = print_positions(r, l.at, l.count);
        free(l.at);
        cmd_out_flush(cmd_stdout());
    }
    status = worse(status, report_gaps(r, t));
    esdb_trace_close(t);
    return status;
}
