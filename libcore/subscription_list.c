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

int esdb_subscription_lag(esdb_subscription *s, uint64_t max, struct esdb_subscription_lag *out,
                          struct esdb_error *err) {
    struct esdb_text json = {s->record.selector, s->record.selector_len};
    struct esdb_subscription_lag lag = {0};
    esdb_selector *selector;
    esdb_cursor *cursor;
    struct esdb_event e;
    int rc = esdb_end_position(s->db, &lag.end_position, err);
    if (rc == 0)
        rc = esdb_selector_read(json, &selector, err);
    if (rc < 0)
        return rc;
    struct esdb_query q = *esdb_selector_query(selector);
    struct es_sub_state part[ES_SUB_PARTS_MAX];
    bool divided = s->part == 0 && s->record.parts > 0;
    q.from_position = s->state.position;
    if (s->part) {
        q.partition = s->part;
        q.partitions = s->record.parts;
    }
    for (uint32_t i = 0; rc == 0 && divided && i < s->record.parts; i++) {
        rc = es_sub_load_state(s, i + 1, &part[i], err);
        if (rc == 0 && (i == 0 || part[i].position < q.from_position))
            q.from_position = part[i].position;
    }
    if (rc < 0) {
        esdb_selector_close(selector);
        return rc;
    }
    rc = esdb_cursor_open(s->db, &q, &cursor, err);
    esdb_selector_close(selector);
    if (rc < 0)
        return rc;
    struct esdb_error why = {0};
    while (lag.events < max && ((rc = esdb_cursor_next(cursor, &e, &why)) == 0 || rc == ESDB_ECORRUPT)) {
        if (rc == 0 && divided && e.position < part[esdb_partition(e.stream_id, s->record.parts) - 1].position)
            continue;
        if (rc == 0 && lag.events++ == 0)
            lag.epoch_us = e.epoch_us;
        if (rc == ESDB_ECORRUPT && lag.damage.code == 0)
            lag.damage = why;
        why.code = 0;
    }
    esdb_cursor_close(cursor);
    if (rc < 0) {
        if (err && err->code == 0)
            *err = why;
        return rc;
    }
    *out = lag;
    return 0;
}
