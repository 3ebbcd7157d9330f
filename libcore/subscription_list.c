/* Which subscriptions there are, and how far behind one is. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "stream_names.h"
#include "subscription.h"

static const struct esdb_text prefix = {ES_SUB_PREFIX, ES_SUB_PREFIX_LEN};

/* Those that are there: not removed. The names lose their prefix. */
static int sift(esdb *db, struct esdb_text *names, size_t *count, struct esdb_error *err) {
    size_t kept = 0;
    for (size_t i = 0; i < *count; i++) {
        struct es_sub_state state;
        struct esdb_event e;
        esdb_cursor *cursor;
        int rc = es_sub_event(db, names[i], -1, &cursor, &e, err);
        if (rc == ESDB_END)
            continue; /* not visible yet */
        if (rc < 0)
            return rc;
        if (!es_sub_decode(&e, &state) || state.kind != ES_SUB_REMOVED)
            names[kept++] = (struct esdb_text){names[i].at + prefix.len, names[i].len - prefix.len};
        esdb_cursor_close(cursor);
    }
    *count = kept;
    return 0;
}

int esdb_subscription_names(esdb *db, struct esdb_text **names, size_t *count, struct esdb_error *err) {
    struct esdb_text *list;
    size_t n;
    int rc = es_stream_names(db, prefix, &list, &n, err);
    if (rc < 0)
        return rc;
    rc = sift(db, list, &n, err);
    if (rc < 0) {
        free(list);
        return rc;
    }
    *names = list;
    *count = n;
    return 0;
}

void es_subs_restate(esdb *db) {
    struct esdb_text *names;
    size_t count;
    int rc = esdb_subscription_names(db, &names, &count, NULL);
    if (rc < 0)
        return;
    for (size_t i = 0; rc >= 0 && i < count; i++) {
        esdb_subscription *s;
        if (esdb_subscription_open(db, names[i], 0, &s, NULL) < 0)
            continue; /* removed meanwhile, or damaged: whoever uses it is told */
        if (s->state.record < (uint64_t)s->state.version)
            rc = es_sub_restate(s, NULL);
        esdb_subscription_close(s);
    }
    free(names);
}

/* ---- lag ---- */

/* Those of one choice of events, ascending by position: one cursor counts for all of them. */
struct counted {
    esdb_subscription **sub;
    struct esdb_subscription_lag **lag;
    size_t count, begun; /* begun: the cursor is at or behind the position of so many */
    uint64_t events;     /* that the cursor has given */
    uint64_t *before;    /* of them, before the first of each; owned */
};

/* An event matches: it is the first one of whoever begins between the one before and it. */
static void count_event(struct counted *c, const struct esdb_event *e) {
    while (c->begun < c->count && c->sub[c->begun]->state.position <= e->position) {
        c->before[c->begun] = c->events;
        c->lag[c->begun]->position = e->position;
        c->lag[c->begun++]->epoch_us = e->epoch_us;
    }
    c->events++;
}

/* Damage ends it when it counts for several: who of them has it before him, each finds out for himself. */
static int count_with(struct counted *c, const struct esdb_query *q, uint64_t max, struct esdb_error *err) {
    struct esdb_error why = {0};
    esdb_cursor *cursor;
    struct esdb_event e;
    int rc = esdb_cursor_open(c->sub[0]->db, q, &cursor, err);
    if (rc < 0)
        return rc;
    while (c->events < max && ((rc = esdb_cursor_next(cursor, &e, &why)) == 0 || rc == ESDB_ECORRUPT)) {
        if (rc == 0)
            count_event(c, &e);
        else if (c->count > 1)
            break;
        else if (c->lag[0]->damage.code == 0)
            c->lag[0]->damage = why;
        why.code = 0;
    }
    esdb_cursor_close(cursor);
    for (size_t i = 0; i < c->begun; i++)
        c->lag[i]->events = c->events - c->before[i];
    if (rc < 0 && err && err->code == 0)
        *err = why;
    return rc < 0 ? rc : 0;
}

static int count_undivided(struct counted *c, uint64_t max, struct esdb_error *err) {
    const esdb_subscription *s = c->sub[0];
    esdb_selector *selector;
    int rc = esdb_selector_read((struct esdb_text){s->record.selector, s->record.selector_len}, &selector, err);
    if (rc < 0)
        return rc;
    struct esdb_query q = *esdb_selector_query(selector);
    q.from_position = s->state.position;
    if (s->part) {
        q.partition = s->part;
        q.partitions = s->record.parts;
    }
    c->before = malloc(c->count * sizeof *c->before);
    rc = c->before ? count_with(c, &q, max, err) : es_fail(err, -ENOMEM, "%s", s->name);
    free(c->before);
    esdb_selector_close(selector);
    return rc;
}

/* Of the whole of a divided one: each part has a position of its own. */
static int count_divided(const esdb_subscription *s, uint64_t max, struct esdb_subscription_lag *lag,
                         struct esdb_error *err) {
    struct es_sub_state part[ES_SUB_PARTS_MAX];
    struct esdb_error why = {0};
    esdb_selector *selector;
    esdb_cursor *cursor;
    struct esdb_event e;
    int rc = esdb_selector_read((struct esdb_text){s->record.selector, s->record.selector_len}, &selector, err);
    if (rc < 0)
        return rc;
    struct esdb_query q = *esdb_selector_query(selector);
    q.from_position = UINT64_MAX;
    for (uint32_t i = 0; rc == 0 && i < s->record.parts; i++) {
        rc = es_sub_load_state(s, i + 1, &part[i], err);
        if (rc == 0 && part[i].position < q.from_position)
            q.from_position = part[i].position;
    }
    if (rc == 0)
        rc = esdb_cursor_open(s->db, &q, &cursor, err);
    esdb_selector_close(selector);
    if (rc < 0)
        return rc;
    while (lag->events < max && ((rc = esdb_cursor_next(cursor, &e, &why)) == 0 || rc == ESDB_ECORRUPT)) {
        if (rc == 0 && e.position < part[esdb_partition(e.stream_id, s->record.parts) - 1].position)
            continue;
        if (rc == 0 && lag->events++ == 0) {
            lag->epoch_us = e.epoch_us;
            lag->position = e.position;
        }
        if (rc == ESDB_ECORRUPT && lag->damage.code == 0)
            lag->damage = why;
        why.code = 0;
    }
    esdb_cursor_close(cursor);
    if (rc < 0 && err && err->code == 0)
        *err = why;
    return rc < 0 ? rc : 0;
}

static bool is_divided(const esdb_subscription *s) {
    return s->part == 0 && s->record.parts > 0;
}

int esdb_subscription_lag(esdb_subscription *s, uint64_t max, struct esdb_subscription_lag *out,
                          struct esdb_error *err) {
    struct esdb_subscription_lag lag = {0}, *at = &lag;
    struct counted c = {.sub = &s, .lag = &at, .count = 1};
    int rc = esdb_end_position(s->db, &lag.end_position, err);
    lag.position = lag.end_position;
    if (rc == 0)
        rc = is_divided(s) ? count_divided(s, max, &lag, err) : count_undivided(&c, max, err);
    if (rc == 0)
        *out = lag;
    return rc;
}

/* ---- lag of many ---- */

struct member {
    esdb_subscription *sub;
    struct esdb_subscription_lag *lag;
};

/* The same choice: which events, and of which part. */
static int compare_choices(const esdb_subscription *x, const esdb_subscription *y) {
    size_t len = x->record.selector_len < y->record.selector_len ? x->record.selector_len : y->record.selector_len;
    int order = memcmp(x->record.selector, y->record.selector, len);
    if (order == 0)
        order = (x->record.selector_len > y->record.selector_len) - (x->record.selector_len < y->record.selector_len);
    if (order == 0)
        order = (x->record.parts > y->record.parts) - (x->record.parts < y->record.parts);
    return order ? order : (x->part > y->part) - (x->part < y->part);
}

static int compare_members(const void *a, const void *b) {
    const esdb_subscription *x = ((const struct member *)a)->sub, *y = ((const struct member *)b)->sub;
    int order = compare_choices(x, y);
    return order ? order : (x->state.position > y->state.position) - (x->state.position < y->state.position);
}

/* What goes wrong with those of one choice is theirs alone. */
static void count_choice(struct counted *c) {
    struct esdb_error why = {0};
    int rc;
    c->begun = 0;
    c->events = 0;
    rc = is_divided(c->sub[0]) ? count_divided(c->sub[0], UINT64_MAX, c->lag[0], &why)
                               : count_undivided(c, UINT64_MAX, &why);
    for (size_t i = 0; rc < 0 && i < c->count; i++) {
        uint64_t end = c->lag[i]->end_position;
        why = (struct esdb_error){0};
        if (esdb_subscription_lag(c->sub[i], UINT64_MAX, c->lag[i], &why) < 0)
            *c->lag[i] = (struct esdb_subscription_lag){.position = end, .end_position = end, .damage = why};
    }
}

int esdb_subscription_lags(esdb_subscription **s, size_t count, struct esdb_subscription_lag *out,
                           struct esdb_error *err) {
    uint64_t end = 0;
    if (count == 0)
        return 0;
    struct member *member = malloc(count * sizeof *member);
    esdb_subscription **sub = malloc(count * sizeof *sub);
    struct esdb_subscription_lag **lag = malloc(count * sizeof *lag);
    int rc = member && sub && lag ? esdb_end_position(s[0]->db, &end, err) : es_fail(err, -ENOMEM, "subscriptions");
    for (size_t i = 0; rc == 0 && i < count; i++) {
        out[i] = (struct esdb_subscription_lag){.position = end, .end_position = end};
        member[i] = (struct member){s[i], &out[i]};
    }
    if (rc == 0)
        qsort(member, count, sizeof *member, compare_members);
    for (size_t i = 0; rc == 0 && i < count; i++) {
        sub[i] = member[i].sub;
        lag[i] = member[i].lag;
    }
    for (size_t i = 0, n; rc == 0 && i < count; i += n) {
        for (n = 1; i + n < count && !is_divided(sub[i]) && compare_choices(sub[i], sub[i + n]) == 0;)
            n++;
        count_choice(&(struct counted){.sub = sub + i, .lag = lag + i, .count = n});
    }
    free(member);
    free(sub);
    free(lag);
    return rc;
}
