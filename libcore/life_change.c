/* Deleting, undeleting and truncating streams: one event in "$meta:STREAM", decided on what is visible and written only
 * when that still holds under the append lock. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "append.h"
#include "format/json.h"
#include "format/utf8.h"
#include "life.h"
#include "lookup.h"
#include "os.h"

/* What is to be done. */
struct change {
    esdb *db;
    struct esdb_text stream;
    enum fmt_life_kind kind;
    int64_t expected;        /* of a deletion */
    uint64_t before;         /* of a truncation; of an erasure, the version */
    struct esdb_text reason; /* of an erasure; len 0: none */
};

/* The stream as it is. */
struct state {
    int64_t last; /* -1: it never was */
    struct es_stream_life life;
};

static int look(const struct change *c, struct state *out, struct esdb_error *err) {
    struct es_visible vis;
    struct es_view active;
    uint64_t version = 0;
    int rc = es_visible(c->db, &vis, err);
    if (rc == 0)
        rc = es_view_open(c->db, vis.segment, vis.end_position, &active, err);
    if (rc == 0)
        rc = es_stream_version(&active, c->stream, &version, err);
    out->last = rc == 0 ? (int64_t)version : -1;
    if (rc != 0 && rc != ESDB_ENOTFOUND)
        return rc;
    return es_life_in_view(&active, c->stream, vis.end_position, &out->life, err);
}

static int refuse(const struct change *c, int code, const char *why, struct esdb_error *err) {
    return es_fail(err, code, "%.*s: %s", (int)c->stream.len, c->stream.at, why);
}

bool es_life_in_ranges(struct fmt_text erased, uint64_t version) {
    uint64_t from, to;
    while (erased.len > 0 && fmt_life_next_erased(&erased, &from, &to))
        if (version >= from && version <= to)
            return true;
    return false;
}

/* What the event is to say. 1: nothing is to be done. */
static int decide(const struct change *c, const struct state *s, struct fmt_life *out, struct esdb_error *err) {
    bool exists = es_life_exists(&s->life, s->last);
    *out = (struct fmt_life){c->kind, s->life.deleted_before, s->life.truncated_before, s->life.erased};
    if (s->last < 0)
        return refuse(c, ESDB_ENOTFOUND, "no such stream", err);
    if (s->life.closed && c->kind == FMT_LIFE_UNDELETED)
        return refuse(c, ESDB_ECONFLICT, "was closed for ever; nothing brings it back", err);
    if (s->life.closed)
        return refuse(c, ESDB_ENOTFOUND, "no such stream: it was closed for ever", err);
    if (c->kind == FMT_LIFE_UNDELETED) {
        out->deleted_before = 0;
        return s->life.deleted_before ? 0 : refuse(c, ESDB_ENOTFOUND, "nothing of it is deleted", err);
    }
    if (c->kind == FMT_LIFE_ERASED)
        return es_life_in_ranges(s->life.erased, c->before);
    if (!exists && c->kind != FMT_LIFE_CLOSED)
        return refuse(c, ESDB_ENOTFOUND, "no such stream: it was deleted", err);
    if (c->kind != FMT_LIFE_TRUNCATED) {
        out->deleted_before = (uint64_t)s->last + 1;
        return 0;
    }
    out->truncated_before = c->before;
    if (c->before > (uint64_t)s->last + 1)
        return es_fail(err, ESDB_ECONFLICT, "%.*s: cannot be truncated before version %llu: its last is %lld",
                       (int)c->stream.len, c->stream.at, (unsigned long long)c->before, (long long)s->last);
    return c->before <= s->life.first_version;
}

/* Does the stream's newest event matter? It does when all up to it, and no other, is to be hidden. */
static bool is_exact(const struct change *c) {
    return c->kind == FMT_LIFE_DELETED && (c->expected == ESDB_ANY || c->expected == ESDB_EXISTS);
}

static int put_range(struct es_buffer *b, uint64_t from, uint64_t to) {
    char text[48];
    int len = snprintf(text, sizeof text, "%s[%llu,%llu]", b->len ? "," : "", (unsigned long long)from,
                       (unsigned long long)to);
    return es_buffer_add(b, text, (size_t)len);
}

/* The ranges with one more version; neighbours become one. Truncated ones stay: they may be in archives. */
static int put_erased(struct es_buffer *b, struct fmt_text erased, uint64_t more) {
    uint64_t from = 0, to = 0, open_from = more, open_to = more;
    bool pending = more != UINT64_MAX;
    int rc = 0;
    while (rc == 0 && erased.len > 0 && fmt_life_next_erased(&erased, &from, &to)) {
        if (pending && to + 1 == open_from) {
            open_from = from;
        } else if (pending && from == open_to + 1) {
            open_to = to;
        } else {
            if (pending && from > open_to) {
                rc = put_range(b, open_from, open_to);
                pending = false;
            }
            if (rc == 0)
                rc = put_range(b, from, to);
        }
    }
    return rc == 0 && pending ? put_range(b, open_from, open_to) : rc;
}

/* The event's data: the state, and of an erasure what was erased and why. */
static int put_data(const struct change *c, const struct fmt_life *l, struct es_buffer *out) {
    struct es_buffer erased = {0};
    struct fmt_life life = *l;
    char text[64];
    int rc = put_erased(&erased, l->erased, c->kind == FMT_LIFE_ERASED ? c->before : UINT64_MAX);
    life.erased = (struct fmt_text){(const char *)erased.at, erased.len};
    if (rc == 0)
        rc = es_buffer_reserve(out, FMT_LIFE_ROOM + erased.len + sizeof text + 6 * c->reason.len);
    if (rc == 0)
        out->len = fmt_life_encode(&life, (char *)out->at);
    es_buffer_release(&erased);
    if (rc < 0 || c->kind != FMT_LIFE_ERASED)
        return rc;
    out->len--; /* the brace */
    int len = snprintf(text, sizeof text, ",\"version\":%llu", (unsigned long long)c->before);
    rc = es_buffer_add(out, text, (size_t)len);
    if (rc == 0 && c->reason.len) {
        rc = es_buffer_add(out, ",\"reason\":\"", 11);
        out->len += fmt_json_escape(c->reason.at, c->reason.len, (char *)out->at + out->len);
        rc = rc == 0 ? es_buffer_add(out, "\"", 1) : rc;
    }
    return rc == 0 ? es_buffer_add(out, "}", 1) : rc;
}

static int add(const struct change *c, const struct state *s, const struct fmt_life *l, esdb_batch *b,
               struct esdb_error *err) {
    char name[FMT_STREAM_NAME_MAX];
    struct es_buffer data = {0};
    const char *type = fmt_life_type(l->kind);
    struct esdb_text meta = {name, FMT_META_PREFIX_LEN + c->stream.len};
    memcpy(name, FMT_META_PREFIX, FMT_META_PREFIX_LEN);
    memcpy(name + FMT_META_PREFIX_LEN, c->stream.at, c->stream.len);
    struct esdb_new_event e = {.stream_id = meta, .event_type = {type, strlen(type)}, .system = true};
    if (put_data(c, l, &data) < 0) {
        es_buffer_release(&data);
        return es_fail(err, -ENOMEM, "%s", c->db->path);
    }
    e.data = (struct esdb_text){(const char *)data.at, data.len};
    int rc =
        esdb_batch_expect(b, meta, s->life.meta_version, err); /* first: it tells whether the state is the one seen */
    if (rc == 0 && is_exact(c))
        rc = esdb_batch_expect(b, c->stream, s->last, err);
    else if (rc == 0 && c->expected != ESDB_ANY)
        rc = esdb_batch_expect(b, c->stream, c->expected, err);
    if (rc == 0)
        rc = esdb_batch_add(b, &e, err);
    es_buffer_release(&data);
    return rc;
}

/* Tries until nobody comes between looking and writing. Whoever appends to the stream meanwhile is followed by the versions
 * that the conflicts tell, which need not be durable: that of the event that is written is not before they are. */
static int carry_out(const struct change *c, esdb_batch *b, struct esdb_receipt *out, struct esdb_error *err) {
    uint64_t deadline = es_monotonic_ms() + (uint64_t)c->db->lock_timeout_ms;
    struct state s;
    struct fmt_life l;
    int rc = look(c, &s, err);
    for (unsigned flags = ESDB_USE_RESERVE; rc == 0;) {
        struct esdb_error why = {0};
        if ((rc = decide(c, &s, &l, err)) != 0)
            break;
        esdb_batch_clear(b);
        if ((rc = add(c, &s, &l, b, err)) < 0)
            break;
        rc = esdb_append(c->db, b, flags, out, &why);
        bool is_meta = fmt_is_meta((struct fmt_text){why.stream_id, strlen(why.stream_id)});
        if (rc != ESDB_ECONFLICT || (!is_meta && !is_exact(c))) {
            if (rc < 0 && err && err->code == 0)
                *err = why;
            break;
        }
        if (es_monotonic_ms() > deadline)
            rc = refuse(c, ESDB_EUNAVAILABLE, "is appended to all the time; nothing was changed, try again", err);
        else if (is_meta || why.actual < 0) {
            flags = ESDB_USE_RESERVE; /* a conflict is waited for, so that the next look sees what it is about */
            rc = look(c, &s, err);
        } else {
            flags = ESDB_USE_RESERVE | ES_TRIES_AGAIN;
            s.last = why.actual;
            rc = 0;
        }
    }
    return rc;
}

static int change(const struct change *c, struct esdb_receipt *out, struct esdb_error *err) {
    struct esdb_receipt r = {0};
    esdb_batch *b;
    if (!(c->db->flags & ESDB_APPEND))
        return es_fail(err, ESDB_EUSAGE, "%s: was not opened for appending", c->db->path);
    if (c->stream.len > 0 && c->stream.at[0] == '$')
        return refuse(c, ESDB_EUSAGE, "is one of the store's own streams", err);
    if (c->stream.len == 0 || c->stream.len > FMT_STREAM_ID_MAX)
        return es_fail(err, ESDB_EINVALID, "stream_id: must have 1 to %u bytes", FMT_STREAM_ID_MAX);
    int rc = esdb_batch_open(&b);
    if (rc < 0)
        return es_fail(err, rc, "%s", c->db->path);
    rc = carry_out(c, b, &r, err);
    esdb_batch_close(b);
    r.streams = NULL;
    r.stream_count = 0;
    if (rc >= 0 && out)
        *out = r;
    return rc < 0 ? rc : 0;
}

int esdb_stream_delete(esdb *db, struct esdb_text stream_id, int64_t expected, bool hard, struct esdb_receipt *out,
                       struct esdb_error *err) {
    return change(&(struct change){db, stream_id, hard ? FMT_LIFE_CLOSED : FMT_LIFE_DELETED, expected, 0, {0}}, out,
                  err);
}

int esdb_stream_undelete(esdb *db, struct esdb_text stream_id, struct esdb_receipt *out, struct esdb_error *err) {
    return change(&(struct change){db, stream_id, FMT_LIFE_UNDELETED, ESDB_ANY, 0, {0}}, out, err);
}

int esdb_stream_truncate(esdb *db, struct esdb_text stream_id, uint64_t before, struct esdb_receipt *out,
                         struct esdb_error *err) {
    return change(&(struct change){db, stream_id, FMT_LIFE_TRUNCATED, ESDB_ANY, before, {0}}, out, err);
}

/* ---- many at once ---- */

#define DECISIONS_MAX 1000u /* in one frame */

/* Those of a chunk that are not decided yet, in one frame. 1: nothing is to be written. */
static int gather(esdb *db, const struct es_truncation *t, size_t count, esdb_batch *b, struct esdb_error *err) {
    int rc = 0;
    esdb_batch_clear(b);
    for (size_t i = 0; rc >= 0 && i < count; i++) {
        struct change c = {db, t[i].stream, FMT_LIFE_TRUNCATED, ESDB_ANY, t[i].before, {0}};
        struct state s;
        struct fmt_life l;
        struct esdb_error gone = {0};
        rc = look(&c, &s, err);
        if (rc == 0)
            rc = decide(&c, &s, &l, &gone);
        if (rc == ESDB_ENOTFOUND) /* deleted meanwhile */
            rc = 1;
        else if (rc < 0 && err && err->code == 0)
            *err = gone;
        if (rc == 0)
            rc = add(&c, &s, &l, b, err);
    }
    return rc < 0 ? rc : esdb_batch_count(b) == 0;
}

static int one_by_one(esdb *db, const struct es_truncation *t, size_t count, struct esdb_error *err) {
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < count; i++) {
        struct esdb_error why = {0};
        rc = esdb_stream_truncate(db, t[i].stream, t[i].before, NULL, &why);
        if (rc == ESDB_ENOTFOUND)
            rc = 0;
        if (rc < 0 && err && err->code == 0)
            *err = why;
    }
    return rc;
}

int es_streams_truncate(esdb *db, const struct es_truncation *t, size_t count, struct esdb_error *err) {
    esdb_batch *b;
    struct esdb_receipt r;
    int rc = esdb_batch_open(&b);
    if (rc < 0)
        return es_fail(err, rc, "%s", db->path);
    for (size_t at = 0, n; rc == 0 && at < count; at += n) {
        struct esdb_error why = {0};
        n = count - at < DECISIONS_MAX ? count - at : DECISIONS_MAX;
        rc = gather(db, t + at, n, b, err);
        if (rc == 0)
            rc = esdb_append(db, b, ESDB_USE_RESERVE, &r, &why);
        if (rc == ESDB_ECONFLICT) /* somebody else changes one of them */
            rc = one_by_one(db, t + at, n, err);
        else if (rc < 0 && err && err->code == 0)
            *err = why;
        rc = rc == 1 ? 0 : rc;
    }
    esdb_batch_close(b);
    return rc == 0 ? esdb_catch_up(db, err) : rc;
}

/* ---- single events ---- */

int es_version_erase(esdb *db, struct esdb_text stream, uint64_t version, struct esdb_text reason,
                     struct esdb_error *err) {
    return change(&(struct change){db, stream, FMT_LIFE_ERASED, ESDB_ANY, version, reason}, NULL, err);
}

static int erase_found(struct es_found *f, struct esdb_text reason, uint64_t *count, struct esdb_error *err) {
    esdb *db = f->lookup->db;
    struct esdb_event e;
    int rc;
    while ((rc = es_found_next(f, &e, err)) == 0) {
        char name[FMT_STREAM_NAME_MAX];
        struct esdb_text stream = {name, e.stream_id.len};
        memcpy(name, e.stream_id.at, e.stream_id.len);
        rc = es_version_erase(db, stream, e.version, reason, err);
        if (rc < 0)
            return rc;
        ++*count;
    }
    return rc == ESDB_END ? 0 : rc;
}

int esdb_event_erase(esdb *db, struct esdb_text event_id, struct esdb_text reason, uint64_t *count,
                     struct esdb_error *err) {
    struct esdb_lookup *l;
    struct es_found f;
    uint64_t erased = 0;
    if (!fmt_utf8_valid(reason.at, reason.len, NULL))
        return es_fail(err, ESDB_EINVALID, "the reason is no valid UTF-8");
    int rc = esdb_lookup_open(db, 0, &l, err);
    if (rc < 0)
        return rc;
    es_found_open(&f, l, FMT_EVENT_KEY_ID, event_id, false, 0, UINT64_MAX);
    rc = erase_found(&f, reason, &erased, err);
    es_found_close(&f);
    if (rc == 0 && !esdb_lookup_is_whole(l, err)) /* one more may be there */
        rc = ESDB_ECORRUPT;
    esdb_lookup_close(l);
    if (rc == 0 && erased == 0)
        rc = es_fail(err, ESDB_ENOTFOUND, "%.*s: no such event", (int)event_id.len, event_id.at);
    if (count)
        *count = erased;
    return rc;
}

/* ---- what is left of a closed name ---- */

int es_closed_note(esdb *db, const struct esdb_text *streams, size_t count, struct esdb_error *err) {
    struct fmt_life closed = {.kind = FMT_LIFE_CLOSED};
    const char *type = fmt_life_type(FMT_LIFE_CLOSED);
    struct esdb_receipt r;
    esdb_batch *b;
    int rc = esdb_batch_open(&b);
    if (rc < 0)
        return es_fail(err, rc, "%s", db->path);
    for (size_t i = 0; rc == 0 && i < count; i++) {
        char name[FMT_CLOSED_LEN], data[FMT_LIFE_ROOM];
        size_t len = fmt_life_closed_name((struct fmt_text){streams[i].at, streams[i].len}, name);
        struct esdb_new_event e = {.stream_id = {name, len}, .event_type = {type, strlen(type)}, .system = true};
        e.data = (struct esdb_text){data, fmt_life_encode(&closed, data)};
        rc = esdb_batch_add(b, &e, err);
        if (rc == 0 && (i + 1 == count || esdb_batch_count(b) == DECISIONS_MAX)) {
            rc = esdb_append(db, b, ESDB_USE_RESERVE, &r, err);
            esdb_batch_clear(b);
        }
    }
    esdb_batch_close(b);
    return rc;
}
