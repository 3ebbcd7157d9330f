/* Finding snapshots; what changes them is in snapshot_change.c. */
#include "snapshot.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "format/json.h"
#include "snapshot_codec.h"

int es_snapshot_check_name(struct esdb_text stream, struct esdb_error *err) {
    if (stream.len > 0 && stream.at[0] == '$')
        return es_fail(err, ESDB_EUSAGE, "%.*s: is one of the store's own streams", (int)stream.len, stream.at);
    if (stream.len == 0 || stream.len > FMT_STREAM_ID_MAX)
        return es_fail(err, ESDB_EINVALID, "stream_id: must have 1 to %u bytes", FMT_STREAM_ID_MAX);
    return 0;
}

/* ---- walking ---- */

int es_snapshot_walk_init(struct es_snapshot_walk *w, esdb *db, struct esdb_text stream, uint64_t as_of,
                          struct esdb_error *err) {
    char room[FMT_STREAM_NAME_MAX];
    struct esdb_query q;
    *w = (struct es_snapshot_walk){.db = db, .stream = stream, .stream_version = -1};
    int rc = es_snapshot_check_name(stream, err);
    if (rc == 0)
        rc = es_life_of(db, stream, as_of < UINT64_MAX ? as_of + 1 : UINT64_MAX, &w->life, err);
    if (rc < 0)
        return rc;
    memcpy(room, FMT_SNAPSHOT_PREFIX, FMT_SNAPSHOT_PREFIX_LEN);
    memcpy(room + FMT_SNAPSHOT_PREFIX_LEN, stream.at, stream.len);
    struct esdb_text name = {room, FMT_SNAPSHOT_PREFIX_LEN + stream.len};
    esdb_query_init(&q);
    q.flags = ESDB_REVERSE | ESDB_WITH_SYSTEM | ESDB_LITERAL;
    q.streams = &name;
    q.stream_count = 1;
    q.as_of = as_of;
    return esdb_cursor_open(db, &q, &w->cursor, err);
}

void es_snapshot_walk_release(struct es_snapshot_walk *w) {
    esdb_cursor_close(w->cursor);
    es_buffer_release(&w->deleted);
    w->cursor = NULL;
}

static struct fmt_text text(struct esdb_text t) {
    return (struct fmt_text){t.at, t.len};
}

static bool decode(const struct esdb_event *e, struct fmt_snapshot *out) {
    struct fmt_event f = {.event_type = text(e->event_type),
                          .data = text(e->data),
                          .metadata = text(e->metadata),
                          .flags = (uint16_t)((e->data.at ? FMT_EVENT_HAS_DATA : 0) |
                                              (e->metadata.at ? FMT_EVENT_HAS_METADATA : 0) |
                                              (e->binary ? FMT_EVENT_BINARY : 0))};
    return fmt_snapshot_decode(&f, out);
}

/* A state that was made while the stream's first events were deleted is wrong once they are undeleted. */
static bool is_deleted(const struct es_snapshot_walk *w, uint64_t version, uint64_t from) {
    const struct es_snapshot_range *r = (const struct es_snapshot_range *)(const void *)w->deleted.at;
    if (w->life.closed || version < w->life.deleted_before || from != w->life.deleted_before)
        return true;
    for (size_t i = 0; i < w->deleted.len / sizeof *r; i++)
        if (version >= r[i].first && version <= r[i].last)
            return true;
    return false;
}

int es_snapshot_walk_next(struct es_snapshot_walk *w, struct esdb_event *e, struct fmt_snapshot *s,
                          struct esdb_error *err) {
    int rc;
    while ((rc = esdb_cursor_next(w->cursor, e, err)) == 0) {
        if (w->stream_version < 0)
            w->stream_version = (int64_t)e->version;
        if (!decode(e, s))
            continue;
        if (!w->begun) {
            w->begun = true;
            w->has_latest = s->has_latest;
            w->latest = s->latest;
        }
        if (s->deletes) {
            struct es_snapshot_range r = {s->first, s->last};
            if (es_buffer_add(&w->deleted, &r, sizeof r) < 0)
                return es_fail(err, -ENOMEM, "%s", esdb_path(w->db));
        } else if (!is_deleted(w, s->version, s->from)) {
            return 0;
        }
    }
    return rc;
}

/* ---- one of them ---- */

/* Copies what was found. The state is decompressed later. */
static int keep(const struct esdb_event *e, const struct fmt_snapshot *s, bool state, struct esdb_snapshot *out) {
    size_t metadata_len = s->metadata.at ? s->metadata.len : 0, state_len = state ? e->data.len : 0;
    char *memory = malloc(metadata_len + state_len + 1);
    if (!memory)
        return -ENOMEM;
    memcpy(memory, s->metadata.at ? s->metadata.at : "", metadata_len);
    memcpy(memory + metadata_len, state ? e->data.at : "", state_len);
    *out = (struct esdb_snapshot){.version = s->version,
                                  .position = e->position,
                                  .epoch_us = e->epoch_us,
                                  .size = s->size,
                                  .stored_size = e->data.len,
                                  .json = s->json,
                                  .memory = memory};
    if (s->metadata.at)
        out->metadata = (struct esdb_text){memory, metadata_len};
    if (state)
        out->state = (struct esdb_text){memory + metadata_len, state_len};
    return 0;
}

static int corrupt(const struct es_snapshot_walk *w, uint64_t version, struct esdb_error *err) {
    return es_fail(err, ESDB_ECORRUPT, "%.*s: the snapshot of version %llu is not what it says it is",
                   (int)w->stream.len, w->stream.at, (unsigned long long)version);
}

/* What is not compressed was looked at when it was appended. */
static bool is_json(const char *at, size_t len) {
    struct fmt_json_value value;
    struct fmt_json_error wrong;
    return fmt_json_scan(at, len, &value, &wrong) == FMT_JSON_OK && value.len == len && !value.has_space;
}

static int decompress(const struct es_snapshot_walk *w, struct esdb_snapshot *s, struct esdb_error *err) {
    if (s->size > FMT_SNAPSHOT_STATE_MAX)
        return corrupt(w, s->version, err);
    char *memory = malloc(s->metadata.len + s->size + 1);
    if (!memory)
        return es_fail(err, -ENOMEM, "%s", esdb_path(w->db));
    int rc = es_snapshot_decompress(s->state, memory + s->metadata.len, s->size);
    if (rc == 0 && s->json && !is_json(memory + s->metadata.len, s->size))
        rc = ESDB_ECORRUPT;
    if (rc < 0) {
        free(memory);
        return rc == ESDB_ECORRUPT ? corrupt(w, s->version, err) : es_fail(err, rc, "%s", esdb_path(w->db));
    }
    if (s->metadata.at)
        memcpy(memory, s->metadata.at, s->metadata.len);
    free(s->memory);
    s->memory = memory;
    s->metadata.at = s->metadata.at ? memory : NULL;
    s->state = (struct esdb_text){memory + s->metadata.len, s->size};
    return 0;
}

/* No older event can hold a better one. */
static bool is_best(const struct es_snapshot_walk *w, const struct esdb_snapshot_query *q, uint64_t version) {
    return version == q->max_version || (w->has_latest && version >= w->latest);
}

static int find(struct es_snapshot_walk *w, const struct esdb_snapshot_query *q,
                bool (*accept)(void *context, struct esdb_text metadata), void *context, struct esdb_snapshot *best,
                bool *zstd, struct esdb_error *err) {
    struct esdb_event e;
    struct fmt_snapshot s;
    int rc;
    while ((rc = es_snapshot_walk_next(w, &e, &s, err)) == 0) {
        struct esdb_text metadata = {s.metadata.at, s.metadata.len};
        struct esdb_snapshot found;
        if (s.version < q->min_version || s.version > q->max_version || (best->memory && s.version <= best->version) ||
            (accept && !accept(context, metadata)))
            continue;
        if (keep(&e, &s, !q->no_state, &found) < 0)
            return es_fail(err, -ENOMEM, "%s", esdb_path(w->db));
        esdb_snapshot_release(best);
        *best = found;
        *zstd = s.zstd;
        if (is_best(w, q, s.version))
            return 0;
    }
    return rc == ESDB_END ? 0 : rc;
}

int es_snapshot_find(esdb *db, struct esdb_text stream, const struct esdb_snapshot_query *q,
                     bool (*accept)(void *context, struct esdb_text metadata), void *context, struct esdb_snapshot *out,
                     struct esdb_error *err) {
    struct es_snapshot_walk w;
    struct esdb_snapshot best = {0};
    bool zstd = false;
    int rc = es_snapshot_walk_init(&w, db, stream, q->as_of, err);
    if (rc == 0)
        rc = find(&w, q, accept, context, &best, &zstd, err);
    if (rc == 0 && best.memory && zstd && !q->no_state)
        rc = decompress(&w, &best, err);
    es_snapshot_walk_release(&w);
    if (rc == 0 && !best.memory)
        rc = ESDB_ENOTFOUND;
    if (rc == 0)
        *out = best;
    else
        esdb_snapshot_release(&best);
    return rc;
}

/* Says what there is none of: a snapshot that was asked for, any, or even the stream. */
static int missing(esdb *db, struct esdb_text stream, const struct esdb_snapshot_query *q, struct esdb_error *err) {
    struct esdb_stream_info info;
    int len = (int)stream.len;
    if (q->as_of == UINT64_MAX && esdb_stream_info(db, stream, &info, NULL) == ESDB_ENOTFOUND)
        return es_fail(err, ESDB_ENOTFOUND, "%.*s: no such stream", len, stream.at);
    if (q->min_version == q->max_version && q->min_version > 0)
        return es_fail(err, ESDB_ENOTFOUND, "%.*s: no snapshot of version %llu", len, stream.at,
                       (unsigned long long)q->max_version);
    if (q->max_version < UINT64_MAX)
        return es_fail(err, ESDB_ENOTFOUND, "%.*s: no snapshot up to version %llu", len, stream.at,
                       (unsigned long long)q->max_version);
    return es_fail(err, ESDB_ENOTFOUND, "%.*s: no snapshot%s", len, stream.at,
                   q->as_of < UINT64_MAX ? " at that time" : "");
}

int esdb_snapshot_load(esdb *db, struct esdb_text stream_id, const struct esdb_snapshot_query *q,
                       struct esdb_snapshot *out, struct esdb_error *err) {
    int rc = es_snapshot_find(db, stream_id, q, NULL, NULL, out, err);
    return rc == ESDB_ENOTFOUND ? missing(db, stream_id, q, err) : rc;
}

void esdb_snapshot_release(struct esdb_snapshot *s) {
    free(s->memory);
    *s = (struct esdb_snapshot){0};
}

/* ---- all of them ---- */

static int by_version(const void *a, const void *b) {
    const struct esdb_snapshot *x = a, *y = b;
    return (x->version < y->version) - (x->version > y->version);
}

void esdb_snapshots_free(struct esdb_snapshot *list, size_t count) {
    for (size_t i = 0; i < count; i++)
        esdb_snapshot_release(&list[i]);
    free(list);
}

/* Keeps those met first of each version: they come first, being newer. */
static int gather(struct es_snapshot_walk *w, struct es_buffer *all, struct esdb_error *err) {
    struct esdb_event e;
    struct fmt_snapshot s;
    int rc;
    while ((rc = es_snapshot_walk_next(w, &e, &s, err)) == 0) {
        struct esdb_snapshot found;
        if (keep(&e, &s, false, &found) < 0)
            return es_fail(err, -ENOMEM, "%s", esdb_path(w->db));
        if (es_buffer_add(all, &found, sizeof found) < 0) {
            esdb_snapshot_release(&found);
            return es_fail(err, -ENOMEM, "%s", esdb_path(w->db));
        }
    }
    return rc == ESDB_END ? 0 : rc;
}

/* By version, the highest first; of one version the newest alone. */
static size_t sort(struct esdb_snapshot *list, size_t count) {
    size_t kept = 0;
    if (count > 1)
        qsort(list, count, sizeof *list, by_version);
    for (size_t i = 0; i < count; i++) {
        if (kept == 0 || list[kept - 1].version != list[i].version) {
            list[kept++] = list[i];
        } else {
            struct esdb_snapshot *same = &list[kept - 1], older = list[i];
            if (older.position > same->position) {
                older = *same;
                *same = list[i];
            }
            esdb_snapshot_release(&older);
        }
    }
    return kept;
}

int esdb_snapshots_list(esdb *db, struct esdb_text stream_id, uint64_t as_of, struct esdb_snapshot **out, size_t *count,
                        struct esdb_error *err) {
    struct es_snapshot_walk w;
    struct es_buffer all = {0};
    int rc = es_snapshot_walk_init(&w, db, stream_id, as_of, err);
    if (rc == 0)
        rc = gather(&w, &all, err);
    es_snapshot_walk_release(&w);
    struct esdb_snapshot *list = (struct esdb_snapshot *)(void *)all.at;
    size_t n = all.len / sizeof *list;
    if (rc < 0) {
        esdb_snapshots_free(list, n);
        return rc;
    }
    *count = sort(list, n);
    *out = list;
    return 0;
}
