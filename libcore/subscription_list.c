/* Which subscriptions there are, and how far behind one is. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "directory.h"
#include "index.h"
#include "recover.h"
#include "subscription.h"

static const struct esdb_text prefix = {ES_SUB_PREFIX, ES_SUB_PREFIX_LEN};

/* Names as es_view_names gives them: a byte that holds the length, then the name. */
static int gather(esdb *db, struct es_buffer *names, struct esdb_error *err) {
    struct es_visible vis;
    struct es_view active;
    struct es_directory *d;
    struct es_directory_walk *w;
    struct es_directory_stream s;
    int rc = es_visible(db, &vis, err);
    if (rc == 0)
        rc = es_view_open(db, vis.segment, vis.end_position, &active, err);
    if (rc == 0)
        rc = es_view_names(&active, prefix, names, err);
    if (rc == 0)
        rc = es_directory_get(db, vis.segment, &d, err);
    if (rc == 0)
        rc = es_directory_walk_open(d, prefix, &w, err);
    if (rc < 0)
        return rc;
    while ((rc = es_directory_walk_next(w, &s, err)) == 0) {
        unsigned char len = (unsigned char)s.stream_id.len;
        if (s.stream_id.len < prefix.len || memcmp(s.stream_id.at, prefix.at, prefix.len) != 0)
            break;
        rc = es_buffer_add(names, &len, 1);
        if (rc == 0)
            rc = es_buffer_add(names, s.stream_id.at, len);
        if (rc < 0)
            break;
    }
    es_directory_walk_close(w);
    if (rc >= 0)
        rc = es_index_is_whole(db, err);
    return rc < 0 ? rc : es_visible_is_whole(db, &vis, err);
}

static int compare(const void *a, const void *b) {
    const struct esdb_text *x = a, *y = b;
    int order = memcmp(x->at, y->at, x->len < y->len ? x->len : y->len);
    return order ? order : (x->len > y->len) - (x->len < y->len);
}

/* Those that are there: not removed, and each once. */
static int sift(esdb *db, struct esdb_text *names, size_t *count, struct esdb_error *err) {
    size_t kept = 0;
    for (size_t i = 0; i < *count; i++) {
        struct esdb_text stream = {names[i].at - prefix.len, names[i].len + prefix.len};
        struct es_sub_state state;
        struct esdb_event e;
        esdb_cursor *cursor;
        if (i > 0 && compare(&names[i - 1], &names[i]) == 0)
            continue;
        int rc = es_sub_event(db, stream, -1, &cursor, &e, err);
        if (rc == ESDB_END)
            continue; /* not visible yet */
        if (rc < 0)
            return rc;
        if (!es_sub_decode(&e, &state) || state.kind != ES_SUB_REMOVED)
            names[kept++] = names[i];
        esdb_cursor_close(cursor);
    }
    *count = kept;
    return 0;
}

int esdb_subscription_names(esdb *db, struct esdb_text **names, size_t *count, struct esdb_error *err) {
    struct es_buffer found = {0};
    size_t n = 0;
    int rc = gather(db, &found, err);
    for (size_t at = 0; rc == 0 && at < found.len; at += 1u + found.at[at])
        n++;
    struct esdb_text *list = rc == 0 ? malloc(n * sizeof *list + found.len + 1) : NULL;
    if (rc == 0 && !list)
        rc = es_fail(err, -ENOMEM, "subscriptions");
    if (rc == 0) {
        char *bytes = (char *)(list + n);
        size_t i = 0;
        memcpy(bytes, found.at ? (const char *)found.at : "", found.len);
        for (size_t at = 0; at < found.len; at += 1u + found.at[at])
            list[i++] = (struct esdb_text){bytes + at + 1 + prefix.len, found.at[at] - prefix.len};
        qsort(list, n, sizeof *list, compare);
        rc = sift(db, list, &n, err);
    }
    es_buffer_release(&found);
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
