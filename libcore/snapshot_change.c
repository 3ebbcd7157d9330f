/* Saving and deleting snapshots: one event in "$snapshot:STREAM", which says what the highest snapshot is after it. It is
 * decided on what is visible, and written only when no other event has come into that stream since. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "append.h"
#include "os.h"
#include "snapshot.h"
#include "snapshot_codec.h"

static int fail(struct esdb_text stream, int code, const char *why, struct esdb_error *err) {
    return es_fail(err, code, "%.*s: %s", (int)stream.len, stream.at, why);
}

/* Appends the event; ESDB_ECONFLICT without a word in *err when another came first. */
static int write_event(esdb *db, struct esdb_text stream, const struct fmt_snapshot *s, struct esdb_text data,
                       int64_t stream_version, esdb_batch *b, struct esdb_receipt *out, struct esdb_error *err) {
    char name[FMT_STREAM_NAME_MAX];
    struct esdb_error why = {0};
    struct es_buffer metadata = {0};
    memcpy(name, FMT_SNAPSHOT_PREFIX, FMT_SNAPSHOT_PREFIX_LEN);
    memcpy(name + FMT_SNAPSHOT_PREFIX_LEN, stream.at, stream.len);
    const char *type = s->deletes ? FMT_SNAPSHOT_DELETED : FMT_SNAPSHOT_SAVED;
    const char *content_type = s->zstd ? "application/zstd" : "application/octet-stream";
    struct esdb_new_event e = {.stream_id = {name, FMT_SNAPSHOT_PREFIX_LEN + stream.len},
                               .event_type = {type, strlen(type)},
                               .data = data,
                               .binary = data.at && (s->zstd || !s->json),
                               .system = true};
    if (e.binary)
        e.data_content_type = (struct esdb_text){content_type, strlen(content_type)};
    if (es_buffer_reserve(&metadata, FMT_SNAPSHOT_ROOM + s->metadata.len) < 0)
        return es_fail(err, -ENOMEM, "%s", esdb_path(db));
    e.metadata = (struct esdb_text){(const char *)metadata.at, fmt_snapshot_encode(s, (char *)metadata.at)};
    esdb_batch_clear(b);
    int rc = esdb_batch_expect(b, e.stream_id, stream_version, err);
    if (rc == 0)
        rc = esdb_batch_add(b, &e, err);
    es_buffer_release(&metadata);
    if (rc < 0)
        return rc;
    rc = esdb_append(db, b, s->deletes ? ESDB_USE_RESERVE : 0, out, &why);
    if (rc < 0 && rc != ESDB_ECONFLICT && err && err->code == 0)
        *err = why;
    return rc;
}

/* ---- saving ---- */

/* Has the stream got so far? What is visible is never taken back: that answer holds for ever. *from: the first event that
 * is not deleted, which the snapshot says of itself. */
static int check_version(esdb *db, struct esdb_text stream, uint64_t wanted, uint64_t *from, struct esdb_error *err) {
    struct es_visible visible;
    struct es_view active;
    struct es_stream_life life;
    uint64_t version = 0;
    int rc = es_visible(db, &visible, err);
    if (rc == 0)
        rc = es_view_open(db, visible.segment, visible.end_position, &active, err);
    if (rc < 0)
        return rc;
    rc = es_stream_version(&active, stream, &version, err);
    if (rc == ESDB_ENOTFOUND)
        return fail(stream, rc, "no such stream", err);
    if (rc == 0)
        rc = es_life_in_view(&active, stream, visible.end_position, &life, err);
    if (rc < 0)
        return rc;
    if (!es_life_exists(&life, (int64_t)version))
        return fail(stream, ESDB_ENOTFOUND, "no such stream: it was deleted", err);
    if (wanted > version)
        return es_fail(err, ESDB_ECONFLICT,
                       "%.*s: no snapshot of version %llu can be saved: the stream is at version %llu", (int)stream.len,
                       stream.at, (unsigned long long)wanted, (unsigned long long)version);
    if (wanted < life.deleted_before)
        return es_fail(err, ESDB_ECONFLICT, "%.*s: no snapshot of version %llu can be saved: that version was deleted",
                       (int)stream.len, stream.at, (unsigned long long)wanted);
    *from = life.deleted_before;
    return 0;
}

/* What the newest event of "$snapshot:STREAM" says. */
static int look(esdb *db, struct esdb_text stream, struct es_snapshot_walk *w, struct esdb_error *err) {
    struct esdb_event e;
    struct fmt_snapshot s;
    int rc = es_snapshot_walk_init(w, db, stream, UINT64_MAX, err);
    if (rc == 0)
        rc = es_snapshot_walk_next(w, &e, &s, err);
    es_snapshot_walk_release(w);
    return rc == ESDB_END ? 0 : rc;
}

static int out_of_time(esdb *db, struct esdb_text stream, uint64_t deadline, struct esdb_error *err) {
    (void)db;
    return es_monotonic_ms() <= deadline
               ? 0
               : fail(stream, ESDB_EUNAVAILABLE, "others change its snapshots all the time; try again", err);
}

static int save(esdb *db, struct esdb_text stream, struct fmt_snapshot *s, struct esdb_text data, esdb_batch *b,
                struct esdb_receipt *out, struct esdb_error *err) {
    uint64_t deadline = es_monotonic_ms() + (uint64_t)db->lock_timeout_ms;
    for (;;) {
        struct es_snapshot_walk w;
        int rc = look(db, stream, &w, err);
        if (rc < 0)
            return rc;
        s->has_latest = true;
        s->latest = w.has_latest && w.latest > s->version ? w.latest : s->version;
        rc = write_event(db, stream, s, data, w.stream_version, b, out, err);
        if (rc == ESDB_ECONFLICT)
            rc = out_of_time(db, stream, deadline, err);
        else
            return rc;
        if (rc < 0)
            return rc;
    }
}

static int check_sizes(struct esdb_text stream, const struct esdb_new_snapshot *s, struct esdb_error *err) {
    if (s->version > INT64_MAX)
        return fail(stream, ESDB_EUSAGE, "no stream has such a version", err);
    if (s->state.len > FMT_SNAPSHOT_STATE_MAX)
        return es_fail(err, ESDB_EINVALID, "%.*s: the state has %zu bytes: at most %u MiB", (int)stream.len, stream.at,
                       s->state.len, FMT_SNAPSHOT_STATE_MAX >> 20);
    return 0;
}

static int too_large(struct esdb_text stream, size_t size, size_t stored, struct esdb_error *err) {
    return es_fail(err, ESDB_EINVALID, "%.*s: the state has %zu bytes, %zu compressed: an event has at most %u MiB",
                   (int)stream.len, stream.at, size, stored, FMT_EVENT_SIZE_MAX >> 20);
}

int esdb_snapshot_save(esdb *db, struct esdb_text stream_id, const struct esdb_new_snapshot *s,
                       struct esdb_receipt *out, struct esdb_error *err) {
    return es_snapshot_save(db, stream_id, s, NULL, out, err);
}

int es_snapshot_save(esdb *db, struct esdb_text stream_id, const struct esdb_new_snapshot *s, const uint64_t *from,
                     struct esdb_receipt *out, struct esdb_error *err) {
    uint64_t from_now = 0;
    struct es_buffer compressed = {0};
    struct esdb_receipt r = {0};
    esdb_batch *b = NULL;
    bool zstd = false;
    int rc = db->flags & ESDB_APPEND ? es_snapshot_check_name(stream_id, err)
                                     : es_fail(err, ESDB_EUSAGE, "%s: was not opened for appending", db->path);
    if (rc == 0)
        rc = check_sizes(stream_id, s, err);
    if (rc == 0)
        rc = check_version(db, stream_id, s->version, &from_now, err);
    if (rc == 0 && from && *from != from_now)
        rc = fail(stream_id, ESDB_ECONFLICT, "the stream was deleted or undeleted meanwhile", err);
    if (rc < 0)
        return rc;
    rc = es_snapshot_compress(s->state, &compressed, &zstd);
    if (rc == 0)
        rc = esdb_batch_open(&b);
    if (rc < 0)
        es_fail(err, rc, "%s", db->path);
    struct fmt_snapshot f = {.version = s->version,
                             .from = from_now,
                             .size = s->state.len,
                             .json = s->json,
                             .zstd = zstd,
                             .metadata = {s->metadata.at, s->metadata.len}};
    struct esdb_text data = zstd ? (struct esdb_text){(const char *)compressed.at, compressed.len} : s->state;
    if (rc == 0 && !data.at)
        data.at = "";
    if (rc == 0 && data.len + s->metadata.len + 2 * FMT_EVENT_HEADER_SIZE + 1024 > FMT_EVENT_SIZE_MAX)
        rc = too_large(stream_id, s->state.len, data.len, err);
    if (rc == 0)
        rc = save(db, stream_id, &f, data, b, &r, err);
    es_buffer_release(&compressed);
    esdb_batch_close(b);
    r.streams = NULL;
    r.stream_count = 0;
    if (rc == 0 && out)
        *out = r;
    return rc;
}

/* ---- deleting ---- */

/* What a deletion leaves: counts those that go, finds the highest that stays. `list` is sorted, the highest first. */
static size_t split(const struct esdb_snapshot *list, size_t count, struct fmt_snapshot *s) {
    size_t gone = 0;
    s->has_latest = false;
    for (size_t i = 0; i < count; i++) {
        bool goes = list[i].version >= s->first && list[i].version <= s->last;
        gone += goes;
        if (!goes && !s->has_latest) {
            s->has_latest = true;
            s->latest = list[i].version;
        }
    }
    return gone;
}

/* keep > 0: all but so many; else first .. last. One try. */
static int delete_once(esdb *db, struct esdb_text stream, uint64_t first, uint64_t last, uint64_t keep, esdb_batch *b,
                       size_t *gone, struct esdb_error *err) {
    struct es_snapshot_walk w;
    struct esdb_snapshot *list = NULL;
    struct esdb_receipt r;
    size_t count = 0;
    struct fmt_snapshot s = {.deletes = true, .first = first, .last = last < INT64_MAX ? last : INT64_MAX};
    int rc = look(db, stream, &w, err); /* first: what comes later is a conflict */
    if (rc == 0)
        rc = esdb_snapshots_list(db, stream, UINT64_MAX, &list, &count, err);
    if (rc < 0)
        return rc;
    bool nothing = keep > 0 && count <= keep;
    if (keep > 0 && !nothing)
        s.last = list[keep].version; /* the first that goes */
    *gone = nothing ? 0 : split(list, count, &s);
    esdb_snapshots_free(list, count);
    if (*gone == 0)
        return nothing ? 0 : ESDB_ENOTFOUND;
    return write_event(db, stream, &s, (struct esdb_text){NULL, 0}, w.stream_version, b, &r, err);
}

static int delete_all(esdb *db, struct esdb_text stream, uint64_t first, uint64_t last, uint64_t keep, size_t *count,
                      struct esdb_error *err) {
    uint64_t deadline = es_monotonic_ms() + (uint64_t)db->lock_timeout_ms;
    size_t gone = 0;
    esdb_batch *b;
    if (!(db->flags & ESDB_APPEND))
        return es_fail(err, ESDB_EUSAGE, "%s: was not opened for appending", db->path);
    int rc = esdb_batch_open(&b);
    if (rc < 0)
        return es_fail(err, rc, "%s", db->path);
    while ((rc = delete_once(db, stream, first, last, keep, b, &gone, err)) == ESDB_ECONFLICT)
        if ((rc = out_of_time(db, stream, deadline, err)) < 0)
            break;
    esdb_batch_close(b);
    if (rc == 0 && count)
        *count = gone;
    return rc;
}

/* Says that there is no snapshot, or even no stream. */
static int no_snapshot(esdb *db, struct esdb_text stream, struct esdb_error *err) {
    struct esdb_stream_info info;
    bool missing = esdb_stream_info(db, stream, &info, NULL) == ESDB_ENOTFOUND;
    return fail(stream, ESDB_ENOTFOUND, missing ? "no such stream" : "no snapshot", err);
}

int esdb_snapshot_delete(esdb *db, struct esdb_text stream_id, uint64_t first, uint64_t last, size_t *count,
                         struct esdb_error *err) {
    int rc = delete_all(db, stream_id, first, last, 0, count, err);
    if (rc != ESDB_ENOTFOUND)
        return rc;
    if (first != last)
        return no_snapshot(db, stream_id, err);
    return es_fail(err, rc, "%.*s: no snapshot of version %llu", (int)stream_id.len, stream_id.at,
                   (unsigned long long)first);
}

int esdb_snapshot_prune(esdb *db, struct esdb_text stream_id, uint64_t keep, size_t *count, struct esdb_error *err) {
    struct esdb_stream_info info;
    if (keep == 0)
        return es_fail(err, ESDB_EUSAGE, "at least one snapshot must be kept");
    size_t gone = 0;
    int rc = delete_all(db, stream_id, 0, 0, keep, &gone, err);
    if (rc == 0 && count)
        *count = gone;
    if (rc == 0 && gone == 0 && esdb_stream_info(db, stream_id, &info, NULL) == ESDB_ENOTFOUND)
        return fail(stream_id, ESDB_ENOTFOUND, "no such stream", err);
    return rc;
}
