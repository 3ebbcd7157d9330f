#include "fresh_streams.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "live.h"

#define NO_STREAM UINT32_MAX

struct list {
    struct es_buffer streams; /* struct es_fresh_stream */
    struct esdb_error *damage;
};

static struct es_fresh_stream *stream_at(const struct list *l, size_t i) {
    return (struct es_fresh_stream *)(void *)l->streams.at + i;
}

static size_t count_of(const struct list *l) {
    return l->streams.len / sizeof(struct es_fresh_stream);
}

static int add(struct list *l, struct fmt_text name, uint64_t first_version, uint64_t count) {
    struct es_fresh_stream s = {name, first_version, count};
    return es_buffer_add(&l->streams, &s, sizeof s);
}

/* ---- through the live index ---- */

/* Each entry leads to the one before in its stream, so one pass gives every event its stream; only first events are asked
 * for their names. stream_of[i]: number of event i's stream. ESDB_ECORRUPT: the index cannot tell. */
static int gather_entries(struct es_view *v, struct list *l, uint32_t *stream_of, struct esdb_error *err) {
    for (uint64_t i = 0; i < v->events; i++) {
        const struct fmt_live_entry *entry = es_live_entry(v->db, (uint32_t)i);
        if (!entry || (entry->nth != 0 && (entry->prev == 0 || entry->prev > i)))
            return ESDB_ECORRUPT;
        if (entry->nth != 0) {
            stream_of[i] = stream_of[entry->prev - 1];
            if (stream_of[i] != NO_STREAM)
                stream_at(l, stream_of[i])->count++;
            continue;
        }
        struct fmt_event e;
        int rc = es_view_event(v, (uint32_t)i, &e, l->damage);
        if (!v->live) /* another index had to take over */
            return ESDB_ECORRUPT;
        stream_of[i] = rc == 0 ? (uint32_t)count_of(l) : NO_STREAM;
        if (rc == 0)
            rc = add(l, e.stream_id, e.version, 1);
        if (rc < 0 && rc != ESDB_ECORRUPT)
            return es_fail(err, rc, "%s", v->db->path);
    }
    return 0;
}

static int gather_live(struct es_view *v, struct list *l, struct esdb_error *err) {
    uint32_t *stream_of = malloc((size_t)(v->events + 1) * sizeof *stream_of);
    if (!stream_of)
        return es_fail(err, -ENOMEM, "%s", v->db->path);
    int rc = gather_entries(v, l, stream_of, err);
    free(stream_of);
    return rc;
}

/* ---- through any index ---- */

/* Every stream has exactly one event that is its first in the segment. */
static int gather(struct es_view *v, struct list *l, struct esdb_error *err) {
    int rc = 0;
    for (uint64_t i = 0; rc == 0 && i < v->events; i++) {
        struct fmt_event e;
        struct es_view_stream s;
        uint32_t first;
        rc = es_view_event(v, (uint32_t)i, &e, l->damage);
        if (rc == ESDB_ECORRUPT) {
            rc = 0;
            continue;
        }
        if (rc == 0)
            rc = es_view_stream(v, (struct esdb_text){e.stream_id.at, e.stream_id.len}, &s, err);
        if (rc == 0)
            rc = es_view_ordinal(v, &s, 0, &first, err);
        if (rc == 0 && first == i && (rc = add(l, e.stream_id, e.version, s.count)) < 0)
            es_fail(err, rc, "%s", v->db->path);
    }
    return rc;
}

/* ---- in order ---- */

/* A stream and what follows the bytes that all names begin with: names lie all over the log, and most comparisons need not
 * go there. */
struct order {
    uint64_t high, low; /* big-endian, padded with zeros */
    const struct es_fresh_stream *stream;
};

static int compare(const void *a, const void *b) {
    const struct order *x = a, *y = b;
    if (x->high != y->high)
        return x->high < y->high ? -1 : 1;
    if (x->low != y->low)
        return x->low < y->low ? -1 : 1;
    return fmt_key_compare(x->stream->name, y->stream->name);
}

static size_t common(struct fmt_text a, struct fmt_text b, size_t max) {
    size_t n = 0;
    while (n < max && n < b.len && a.at[n] == b.at[n])
        n++;
    return n;
}

static void set_key(struct order *o, size_t skip) {
    uint64_t words[2] = {0};
    struct fmt_text name = o->stream->name;
    size_t left = name.len - skip;
    memcpy(words, name.at + skip, left < sizeof words ? left : sizeof words);
    o->high = be64toh(words[0]);
    o->low = be64toh(words[1]);
}

/* -ENOMEM, or ESDB_ECORRUPT when a name comes twice. */
static int sort(const struct list *l, struct es_fresh_stream **out) {
    size_t count = count_of(l), skip = count ? stream_at(l, 0)->name.len : 0;
    struct order *order = malloc((count + 1) * sizeof *order);
    struct es_fresh_stream *sorted = malloc((count + 1) * sizeof *sorted);
    int rc = order && sorted ? 0 : -ENOMEM;
    for (size_t i = 0; rc == 0 && i < count; i++)
        skip = common(stream_at(l, 0)->name, stream_at(l, i)->name, skip);
    for (size_t i = 0; rc == 0 && i < count; i++) {
        order[i].stream = stream_at(l, i);
        set_key(&order[i], skip);
    }
    if (rc == 0 && count)
        qsort(order, count, sizeof *order, compare);
    for (size_t i = 0; rc == 0 && i < count; i++) {
        sorted[i] = *order[i].stream;
        if (i > 0 && compare(&order[i - 1], &order[i]) == 0)
            rc = ESDB_ECORRUPT;
    }
    free(order);
    if (rc < 0)
        free(sorted);
    else
        *out = sorted;
    return rc;
}

int es_fresh_streams(esdb *db, const struct es_visible *visible, struct es_fresh_stream **out, size_t *count,
                     struct esdb_error *damage, struct esdb_error *err) {
    struct es_view v;
    struct list l = {.damage = damage};
    int rc = es_view_open(db, visible->segment, visible->end_position, &v, err);
    if (rc < 0)
        return rc;
    rc = v.live ? gather_live(&v, &l, err) : ESDB_ECORRUPT;
    if (rc == 0)
        rc = sort(&l, out);
    if (rc == ESDB_ECORRUPT) { /* the long way, which looks each stream up and mends the index when that must be */
        l.streams.len = 0;
        rc = gather(&v, &l, err);
        if (rc == 0)
            rc = sort(&l, out);
    }
    if (rc == 0)
        *count = count_of(&l);
    es_buffer_release(&l.streams);
    return rc < 0 ? es_fail(err, rc, "%s", db->path) : 0;
}
