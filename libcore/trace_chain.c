#include <errno.h>
#include <stdlib.h>

#include "error.h"
#include "trace.h"

/* The first event with an id within a range, seen from one of its ends. ESDB_END: there is none. */
static int find_first(struct esdb_lookup *l, struct esdb_text id, bool reverse, uint64_t from, uint64_t to,
                      struct esdb_event *out, struct esdb_error *err) {
    struct es_found found;
    es_found_open(&found, l, FMT_EVENT_KEY_ID, id, reverse, from, to);
    int rc = es_found_next(&found, out, err);
    es_found_close(&found);
    return rc;
}

/* The cause of an event at `position`: nearly always older. */
static int find_cause(struct esdb_lookup *l, struct esdb_text id, uint64_t position, struct esdb_event *out,
                      struct esdb_error *err) {
    int rc = ESDB_END;
    if (position > 0)
        rc = find_first(l, id, true, 0, position - 1, out, err);
    if (rc == ESDB_END)
        rc = find_first(l, id, false, position, UINT64_MAX, out, err);
    return rc;
}

/* The text of an id outlives the event that showed it. */
static int copy_id(struct es_buffer *room, struct esdb_text *id) {
    room->len = 0;
    int rc = es_buffer_add(room, id->at, id->len);
    id->at = (const char *)room->at;
    return rc;
}

struct walk {
    struct esdb_lookup *lookup;
    struct es_trace_set seen;
    struct es_buffer positions; /* the event first, its root last */
    struct es_buffer id;        /* of the cause to look for */
    uint64_t repeated;          /* the position that came again */
    bool is_cycle, is_broken;
    uint64_t event_max;
};

/* Notes an event of the chain. 1 and *cause: it has one, and was not there before. 0: the chain ends here. */
static int step(struct walk *w, const struct esdb_event *e, struct esdb_text *cause, struct esdb_error *err) {
    int rc = es_trace_set_add(&w->seen, e->position);
    if (rc == 0) {
        w->repeated = e->position;
        w->is_cycle = true;
        return 0;
    }
    if (w->seen.count > w->event_max)
        return es_fail(err, ESDB_EUSAGE, "the chain has more than %llu events", (unsigned long long)w->event_max);
    if (rc > 0)
        rc = es_buffer_add(&w->positions, &e->position, sizeof e->position);
    if (rc == 0)
        rc = es_lookup_cause(w->lookup, e, cause, err);
    if (rc > 0 && copy_id(&w->id, cause) < 0)
        rc = -ENOMEM;
    return rc < 0 ? es_fail(err, rc, "%s", esdb_path(w->lookup->db)) : rc;
}

static int climb(struct walk *w, struct esdb_text id, struct esdb_error *err) {
    struct esdb_event e;
    struct esdb_text cause;
    int rc = find_first(w->lookup, id, false, 0, UINT64_MAX, &e, err);
    if (rc == ESDB_END)
        return w->lookup->damage.code ? 0 : es_fail(err, ESDB_ENOTFOUND, "no event has this id");
    while (rc == 0) {
        uint64_t position = e.position;
        rc = step(w, &e, &cause, err);
        if (rc != 1)
            return rc;
        cause = (struct esdb_text){(const char *)w->id.at, w->id.len};
        rc = find_cause(w->lookup, cause, position, &e, err);
    }
    w->is_broken = rc == ESDB_END;
    return rc == ESDB_END ? 0 : rc;
}

static int finish(struct walk *w, struct esdb_chain *out, struct esdb_error *err) {
    size_t count = w->positions.len / sizeof(uint64_t);
    struct esdb_chain c = {.count = count, .is_cycle = w->is_cycle};
    const uint64_t *found = (const uint64_t *)w->positions.at;
    c.positions = calloc(count ? count : 1, sizeof *c.positions);
    char *broken = w->is_broken ? malloc(w->id.len) : NULL;
    if (!c.positions || (w->is_broken && !broken)) {
        free(c.positions);
        free(broken);
        return es_fail(err, -ENOMEM, "%s", esdb_path(w->lookup->db));
    }
    for (size_t i = 0; i < count; i++) {
        c.positions[i] = found[count - 1 - i];
        if (w->is_cycle && c.positions[i] == w->repeated)
            c.cycle = i;
    }
    if (broken) {
        memcpy(broken, w->id.at, w->id.len);
        c.broken = (struct esdb_text){broken, w->id.len};
    }
    *out = c;
    return 0;
}

int esdb_chain(esdb_lookup *l, struct esdb_text event_id, uint64_t event_max, struct esdb_chain *out,
               struct esdb_error *err) {
    struct walk w = {.lookup = l, .event_max = event_max};
    int rc = climb(&w, event_id, err);
    if (rc == 0)
        rc = finish(&w, out, err);
    es_buffer_release(&w.positions);
    es_buffer_release(&w.id);
    es_trace_set_release(&w.seen);
    return rc;
}

void esdb_chain_release(struct esdb_chain *c) {
    free(c->positions);
    free((char *)c->broken.at);
    *c = (struct esdb_chain){0};
}
