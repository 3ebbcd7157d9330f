#include "trace.h"

#include <errno.h>
#include <stdlib.h>

#include "error.h"
#include "format/checksum.h"

#define CHUNK_SIZE (64u << 10)

/* ---- a set of positions ---- */

static size_t slot_of(const struct es_trace_set *s, uint64_t position) {
    size_t i = (size_t)fmt_fold(0, position) & (s->slots - 1);
    while (s->slot[i] != 0 && s->slot[i] != position + 1)
        i = (i + 1) & (s->slots - 1);
    return i;
}

static int grow_set(struct es_trace_set *s) {
    struct es_trace_set larger = {.slots = s->slots ? s->slots * 2 : 64, .count = s->count};
    larger.slot = calloc(larger.slots, sizeof *larger.slot);
    if (!larger.slot)
        return -ENOMEM;
    for (size_t i = 0; i < s->slots; i++)
        if (s->slot[i])
            larger.slot[slot_of(&larger, s->slot[i] - 1)] = s->slot[i];
    free(s->slot);
    *s = larger;
    return 0;
}

int es_trace_set_add(struct es_trace_set *s, uint64_t position) {
    if (s->count * 2 >= s->slots && grow_set(s) < 0)
        return -ENOMEM;
    size_t i = slot_of(s, position);
    if (s->slot[i] != 0)
        return 0;
    s->slot[i] = position + 1;
    s->count++;
    return 1;
}

void es_trace_set_release(struct es_trace_set *s) {
    free(s->slot);
    *s = (struct es_trace_set){0};
}

/* ---- texts ---- */

static const char *keep(struct esdb_trace *t, struct esdb_text text) {
    struct es_trace_chunk *c = t->arena;
    if (!c || CHUNK_SIZE - c->used < text.len) {
        c = malloc(sizeof *c + CHUNK_SIZE);
        if (!c)
            return NULL;
        *c = (struct es_trace_chunk){.next = t->arena};
        t->arena = c;
    }
    char *at = c->at + c->used;
    memcpy(at, text.at, text.len);
    c->used += text.len;
    return at;
}

/* The slot of the hash table that holds the text, or the free one where it belongs. */
static size_t text_slot(const struct esdb_trace *t, struct esdb_text text, uint32_t hash) {
    size_t i = hash & (t->slots - 1);
    for (; t->slot[i] != 0; i = (i + 1) & (t->slots - 1)) {
        const struct es_trace_text *x = es_trace_text_at(t, t->slot[i] - 1);
        if (x->hash == hash && x->len == text.len && memcmp(x->at, text.at, text.len) == 0)
            break;
    }
    return i;
}

static int grow_slots(struct esdb_trace *t) {
    size_t slots = t->slots ? t->slots * 2 : 256;
    uint32_t *slot = calloc(slots, sizeof *slot);
    if (!slot)
        return -ENOMEM;
    for (uint32_t n = 0; n < es_trace_text_count(t); n++) {
        size_t i = es_trace_text_at(t, n)->hash & (slots - 1);
        while (slot[i] != 0)
            i = (i + 1) & (slots - 1);
        slot[i] = n + 1;
    }
    free(t->slot);
    t->slot = slot;
    t->slots = slots;
    return 0;
}

uint32_t es_trace_text_find(const struct esdb_trace *t, struct esdb_text text) {
    if (t->slots == 0 || text.len > ES_TRACE_TEXT_MAX)
        return ES_TRACE_NONE;
    uint32_t n = t->slot[text_slot(t, text, (uint32_t)fmt_checksum(text.at, text.len))];
    return n ? n - 1 : ES_TRACE_NONE;
}

/* The number of a text, which is added when it is new. 0 or -ENOMEM. */
static int intern(struct esdb_trace *t, struct esdb_text text, uint32_t *out) {
    size_t count = es_trace_text_count(t);
    if (text.len > ES_TRACE_TEXT_MAX)
        for (text.len = ES_TRACE_TEXT_MAX; text.len > 0 && (text.at[text.len] & 0xc0) == 0x80;)
            text.len--; /* not within a character */
    if (count * 2 >= t->slots && grow_slots(t) < 0)
        return -ENOMEM;
    uint32_t hash = (uint32_t)fmt_checksum(text.at, text.len);
    size_t slot = text_slot(t, text, hash);
    if (t->slot[slot] == 0) {
        struct es_trace_text x = {.hash = hash, .node = ES_TRACE_NONE, .len = (uint8_t)text.len};
        x.at = keep(t, text);
        if (!x.at || es_buffer_add(&t->texts, &x, sizeof x) < 0)
            return -ENOMEM;
        t->slot[slot] = (uint32_t)count + 1;
    }
    *out = t->slot[slot] - 1;
    return 0;
}

/* ---- gathering ---- */

static int queue(struct esdb_trace *t, uint32_t text, enum es_trace_mark mark) {
    struct es_trace_text *x = es_trace_text_at(t, text);
    if (x->marks & mark)
        return 0;
    x->marks |= (uint8_t)mark;
    return es_buffer_add(&t->queue, &text, sizeof text);
}

/* Notes an event, unless it was met before, and what to look at next because of it. */
static int take(struct esdb_trace *t, const struct esdb_event *e, unsigned next, struct esdb_error *err) {
    struct es_trace_event x = {
        .position = e->position, .version = e->version, .epoch_us = e->epoch_us, .cause = ES_TRACE_NONE};
    struct esdb_text cause;
    int rc = es_trace_set_add(&t->seen, e->position);
    if (rc == 0)
        return 0;
    if (t->seen.count > t->event_max)
        return es_fail(err, ESDB_EUSAGE, "more than %llu events are linked to it", (unsigned long long)t->event_max);
    int has_cause = es_lookup_cause(t->lookup, e, &cause, err);
    if (has_cause < 0)
        return has_cause;
    if (rc > 0)
        rc = intern(t, e->event_id, &x.id);
    if (rc == 0)
        rc = intern(t, e->stream_id, &x.stream);
    if (rc == 0)
        rc = intern(t, e->event_type, &x.type);
    if (rc == 0 && has_cause)
        rc = intern(t, cause, &x.cause);
    if (rc == 0)
        rc = es_buffer_add(&t->events, &x, sizeof x);
    if (rc == 0 && next == ES_TRACE_QUEUED_UP && has_cause)
        rc = queue(t, x.cause, ES_TRACE_QUEUED_UP);
    if (rc == 0 && next == ES_TRACE_QUEUED_DOWN)
        rc = queue(t, x.id, ES_TRACE_QUEUED_DOWN);
    return rc < 0 ? es_fail(err, rc, "%s", esdb_path(t->lookup->db)) : 0;
}

/* Takes all events that a key leads to. */
static int take_all(struct esdb_trace *t, enum fmt_event_key key, struct esdb_text value, unsigned next,
                    struct esdb_error *err) {
    struct es_found found;
    struct esdb_event e;
    int rc = 0;
    es_found_open(&found, t->lookup, key, value, false, 0, UINT64_MAX);
    while (rc == 0 && (rc = es_found_next(&found, &e, err)) == 0)
        rc = take(t, &e, next, err);
    es_found_close(&found);
    return rc == ESDB_END ? 0 : rc;
}

static int ask_events(struct esdb_trace *t, uint32_t text, unsigned next, struct esdb_error *err) {
    struct es_trace_text *x = es_trace_text_at(t, text);
    x->marks |= ES_TRACE_ASKED;
    return take_all(t, FMT_EVENT_KEY_ID, (struct esdb_text){x->at, x->len}, next, err);
}

/* Looks at what is queued, and what gets queued by that, in breadth: at most `levels` (0: all) steps from the
 * beginning. */
static int walk(struct esdb_trace *t, enum es_trace_mark way, uint32_t levels, struct esdb_error *err) {
    size_t level_end = t->queue.len / sizeof(uint32_t);
    uint32_t level = 0;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < t->queue.len / sizeof(uint32_t); i++) {
        if (i == level_end) {
            level_end = t->queue.len / sizeof(uint32_t);
            if (++level == levels)
                break;
        }
        uint32_t text = ((uint32_t *)t->queue.at)[i];
        const struct es_trace_text *x = es_trace_text_at(t, text);
        if (way == ES_TRACE_QUEUED_UP)
            rc = ask_events(t, text, way, err);
        else
            rc = take_all(t, FMT_EVENT_KEY_CAUSATION, (struct esdb_text){x->at, x->len}, way, err);
    }
    t->queue.len = 0;
    return rc;
}

/* Causes, their causes ... The level of the event itself counts as one. */
static int gather_causes(struct esdb_trace *t, uint32_t id, uint32_t depth_max, struct esdb_error *err) {
    int rc = queue(t, id, ES_TRACE_QUEUED_UP);
    return rc < 0 ? rc : walk(t, ES_TRACE_QUEUED_UP, depth_max ? depth_max + 1 : 0, err);
}

static int gather_effects(struct esdb_trace *t, uint32_t id, uint32_t depth_max, struct esdb_error *err) {
    int rc = ask_events(t, id, 0, err);
    if (rc == 0)
        rc = queue(t, id, ES_TRACE_QUEUED_DOWN);
    return rc < 0 ? rc : walk(t, ES_TRACE_QUEUED_DOWN, depth_max, err);
}

static int gather_graph(struct esdb_trace *t, uint32_t id, struct esdb_error *err) {
    int rc = gather_causes(t, id, 0, err);
    for (size_t i = 0; rc == 0 && i < es_trace_event_count(t); i++)
        rc = queue(t, es_trace_event_at(t, i)->id, ES_TRACE_QUEUED_DOWN);
    return rc < 0 ? rc : walk(t, ES_TRACE_QUEUED_DOWN, 0, err);
}

/* Is there an event with this id at all? */
static int look_elsewhere(struct esdb_trace *t, uint32_t text, struct esdb_error *err) {
    struct es_trace_text *x = es_trace_text_at(t, text);
    struct es_found found;
    struct esdb_event e;
    if (x->marks & ES_TRACE_ASKED)
        return 0;
    es_found_open(&found, t->lookup, FMT_EVENT_KEY_ID, (struct esdb_text){x->at, x->len}, false, 0, UINT64_MAX);
    int rc = es_found_next(&found, &e, err);
    es_found_close(&found);
    x->marks |= ES_TRACE_ASKED | (rc == 0 ? ES_TRACE_IN_STORE : 0);
    return rc == ESDB_END ? 0 : rc;
}

static int gather_correlation(struct esdb_trace *t, struct esdb_text id, struct esdb_error *err) {
    int rc = take_all(t, FMT_EVENT_KEY_CORRELATION, id, 0, err);
    for (size_t i = 0; i < es_trace_event_count(t); i++) /* those need not be looked for */
        es_trace_text_at(t, es_trace_event_at(t, i)->id)->marks |= ES_TRACE_ASKED;
    for (size_t i = 0; rc == 0 && i < es_trace_event_count(t); i++) {
        uint32_t cause = es_trace_event_at(t, i)->cause;
        if (cause != ES_TRACE_NONE)
            rc = look_elsewhere(t, cause, err);
    }
    return rc;
}

static int gather(struct esdb_trace *t, const struct esdb_trace_query *q, struct esdb_error *err) {
    uint32_t id = ES_TRACE_NONE;
    int rc = 0;
    if (q->id.len > 0 && q->what != ESDB_TRACE_CORRELATION && q->id.len <= ES_TRACE_TEXT_MAX)
        rc = intern(t, q->id, &id);
    if (rc < 0)
        return es_fail(err, rc, "%s", esdb_path(t->lookup->db));
    if (q->what == ESDB_TRACE_CORRELATION)
        rc = gather_correlation(t, q->id, err);
    else if (id != ES_TRACE_NONE && q->what == ESDB_TRACE_EVENTS)
        rc = ask_events(t, id, 0, err);
    else if (id != ES_TRACE_NONE && q->what == ESDB_TRACE_CAUSES)
        rc = gather_causes(t, id, q->depth_max, err);
    else if (id != ES_TRACE_NONE && q->what == ESDB_TRACE_EFFECTS)
        rc = gather_effects(t, id, q->depth_max, err);
    else if (id != ES_TRACE_NONE)
        rc = gather_graph(t, id, err);
    if (rc < 0)
        return es_fail(err, rc, "%s", esdb_path(t->lookup->db));
    if (es_trace_event_count(t) == 0 && t->lookup->damage.code == 0)
        return es_fail(err, ESDB_ENOTFOUND, "no event has this id");
    return 0;
}

int esdb_trace_open(esdb_lookup *l, const struct esdb_trace_query *q, esdb_trace **out, struct esdb_error *err) {
    struct esdb_trace *t = calloc(1, sizeof *t);
    if (!t)
        return es_fail(err, -ENOMEM, "%s", esdb_path(l->db));
    t->lookup = l;
    t->event_max = q->event_max;
    int rc = gather(t, q, err);
    if (rc == 0 && (rc = es_trace_make(t)) < 0)
        es_fail(err, rc, "%s", esdb_path(l->db));
    if (rc < 0) {
        esdb_trace_close(t);
        return rc;
    }
    *out = t;
    return 0;
}

void esdb_trace_close(esdb_trace *t) {
    if (!t)
        return;
    for (struct es_trace_chunk *c = t->arena, *next; c; c = next) {
        next = c->next;
        free(c);
    }
    es_buffer_release(&t->texts);
    es_buffer_release(&t->events);
    es_buffer_release(&t->queue);
    es_trace_set_release(&t->seen);
    free(t->slot);
    free(t->nodes);
    free(t->gaps);
    free(t->positions);
    free(t->effects);
    free(t->causes);
    free(t->order);
    free(t->path);
    free(t);
}
