#include <errno.h>
#include <stdlib.h>

#include "directory.h"
#include "directory_units.h"

/* One unit's keys. */
struct source {
    struct es_unit unit; /* as it was when the walk (re)started */
    struct fmt_table_cursor cursor;
};

/* A merge of sorted sources by a binary heap. When a source turns out to be damaged, the directory finds others and the
 * walk starts again from the key where it stands: `bound`. */
struct es_directory_walk {
    struct es_directory *d;
    size_t from, to; /* the segments that it covers */
    struct source *source;
    size_t source_count, source_room;
    size_t *heap; /* numbers of sources; room as for sources */
    size_t heap_len;
    bool started;
    struct es_buffer places;           /* of the current stream */
    char bound[FMT_TABLE_KEY_MAX + 1]; /* the first key that was not given yet */
    size_t bound_len;
    char key[FMT_TABLE_KEY_MAX]; /* the current stream */
    size_t key_len;
};

/* ---- the heap: smallest key first, older segments first among equal keys ---- */

static bool before(const struct es_directory_walk *w, size_t a, size_t b) {
    int order = fmt_key_compare(w->source[a].cursor.key, w->source[b].cursor.key);
    return order < 0 || (order == 0 && a < b);
}

static void sift_down(struct es_directory_walk *w, size_t at) {
    size_t moving = w->heap[at];
    for (size_t child; (child = 2 * at + 1) < w->heap_len; at = child) {
        if (child + 1 < w->heap_len && before(w, w->heap[child + 1], w->heap[child]))
            child++;
        if (!before(w, w->heap[child], moving))
            break;
        w->heap[at] = w->heap[child];
    }
    w->heap[at] = moving;
}

static void build_heap(struct es_directory_walk *w) {
    for (size_t i = w->heap_len / 2; i > 0; i--)
        sift_down(w, i - 1);
}

/* ---- starting ---- */

static int make_room(struct es_directory_walk *w, struct esdb_error *err) {
    size_t want = w->d->unit_count;
    if (want <= w->source_room)
        return 0;
    struct source *source = realloc(w->source, want * sizeof *source);
    if (source)
        w->source = source;
    size_t *heap = realloc(w->heap, want * sizeof *heap);
    if (heap)
        w->heap = heap;
    if (!source || !heap)
        return es_fail(err, -ENOMEM, "stream directory");
    w->source_room = want;
    return 0;
}

/* Opens unit i as a source at the bound. */
static int add_source(struct es_directory_walk *w, size_t i, struct esdb_error *err) {
    int rc = es_unit_open(w->d, i, err);
    if (rc != 0)
        return rc;
    struct source *s = &w->source[w->source_count];
    s->unit = w->d->unit[i];
    rc = fmt_table_hold(s->unit.table); /* the walk keeps a cursor in each */
    if (rc < 0)
        return es_unit_mend(w->d, i, rc, err);
    const struct fmt_section *keys = fmt_table_find(s->unit.table, FMT_SECTION_STREAMS);
    struct fmt_text bound = {w->bound, w->bound_len};
    int found = keys ? fmt_table_seek(&s->cursor, s->unit.table, keys, bound) : -1;
    if (found < 0)
        return es_unit_mend(w->d, i, ESDB_ECORRUPT, err);
    if (found == 0)
        w->heap[w->heap_len++] = w->source_count++;
    return 0;
}

static int start(struct es_directory_walk *w, struct esdb_error *err) {
    int rc = ES_PLAN_CHANGED;
    while (rc == ES_PLAN_CHANGED) {
        w->source_count = w->heap_len = 0;
        rc = make_room(w, err);
        for (size_t i = 0; rc == 0 && i < w->d->unit_count; i++) {
            const struct es_unit *u = &w->d->unit[i];
            if (u->to <= w->from || u->from >= w->to)
                continue;
            /* Only while a part is walked, and somebody else has merged across its border. */
            rc = u->from < w->from || u->to > w->to ? es_fail(err, -EBUSY, "stream directory") : add_source(w, i, err);
        }
    }
    if (rc < 0)
        return rc;
    build_heap(w);
    w->started = true;
    return 0;
}

int es_walk_open_range(struct es_directory *d, size_t from, size_t to, struct esdb_text first,
                       struct es_directory_walk **out, struct esdb_error *err) {
    struct es_directory_walk *w = calloc(1, sizeof *w);
    if (!w)
        return es_fail(err, -ENOMEM, "stream directory");
    w->d = d;
    w->from = from;
    w->to = to;
    /* A longer text stands after every key that it extends: one byte more than a key may have is enough to say so. */
    w->bound_len = first.len < sizeof w->bound ? first.len : sizeof w->bound;
    if (w->bound_len)
        memcpy(w->bound, first.at, w->bound_len);
    *out = w;
    return 0;
}

int es_directory_walk_open(struct es_directory *d, struct esdb_text from, struct es_directory_walk **out,
                           struct esdb_error *err) {
    return es_walk_open_range(d, 0, d->sealed_count, from, out, err);
}

void es_directory_walk_close(struct es_directory_walk *w) {
    if (!w)
        return;
    es_buffer_release(&w->places);
    free(w->source);
    free(w->heap);
    free(w);
}

/* ---- walking ---- */

/* A source is damaged: the next step starts again at the bound, with other units. 0 or an error. */
static int mend(struct es_directory_walk *w, const struct source *s, int code, struct esdb_error *err) {
    w->started = false;
    for (size_t i = 0; i < w->d->unit_count; i++) {
        if (w->d->unit[i].table == s->unit.table) {
            int rc = es_unit_mend(w->d, i, code, err);
            return rc < 0 ? rc : 0;
        }
    }
    return 0; /* somebody else has noticed before */
}

/* Collects the places of the smallest key from all sources that have it; they are moved on. ES_PLAN_CHANGED: start again
 * and collect again. */
static int collect(struct es_directory_walk *w, struct esdb_error *err) {
    struct source *s = &w->source[w->heap[0]];
    struct fmt_text key = {w->key, s->cursor.key.len};
    w->key_len = key.len;
    w->places.len = 0;
    if (key.len)
        memcpy(w->key, s->cursor.key.at, key.len);
    memcpy(w->bound, w->key, w->key_len);
    w->bound_len = w->key_len;
    while (w->heap_len && fmt_key_compare(w->source[w->heap[0]].cursor.key, key) == 0) {
        s = &w->source[w->heap[0]];
        int rc = es_unit_places(w->d, &s->unit, s->cursor.value, false, &w->places);
        int more = rc == 0 ? fmt_table_next(&s->cursor) : 0;
        if (more < 0 || (more == 0 && rc == 0 && fmt_key_compare(s->cursor.key, key) <= 0))
            rc = ESDB_ECORRUPT;
        if (rc < 0) {
            rc = mend(w, s, rc, err);
            return rc < 0 ? rc : ES_PLAN_CHANGED;
        }
        if (more == 1)
            w->heap[0] = w->heap[--w->heap_len];
        if (w->heap_len)
            sift_down(w, 0);
    }
    w->bound[w->bound_len++] = '\0'; /* the key that follows immediately */
    return 0;
}

int es_directory_walk_next(struct es_directory_walk *w, struct es_directory_stream *out, struct esdb_error *err) {
    int rc = ES_PLAN_CHANGED;
    while (rc == ES_PLAN_CHANGED) {
        rc = w->started ? 0 : start(w, err);
        if (rc == 0 && w->heap_len == 0)
            return ESDB_END;
        if (rc == 0)
            rc = collect(w, err);
    }
    if (rc < 0)
        return rc;
    const struct es_place *places = (const struct es_place *)w->places.at;
    size_t count = w->places.len / sizeof *places;
    *out = (struct es_directory_stream){.stream_id = {w->key, w->key_len},
                                        .first = places[0],
                                        .last = places[count - 1],
                                        .places = places,
                                        .place_count = count};
    for (size_t i = 0; i < count; i++)
        out->count += places[i].count;
    return 0;
}
