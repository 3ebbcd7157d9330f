/* What a look at the past can no longer show: events that could be seen then, and which compaction has removed since. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "archive.h"
#include "format/life.h"
#include "index.h"
#include "life.h"
#include "stream_filter.h"

/* One question. */
struct past {
    esdb *db;
    const struct esdb_query *q;
    struct es_stream_filter filter;
    struct es_life *then, *now;
    struct es_archive_entry *archived; /* owned; by stream and version */
    size_t archived_count;
};

/* Was any segment with events of then compacted? */
static int was_compacted(const struct past *p, bool *out, struct esdb_error *err) {
    uint64_t *names;
    size_t count;
    int rc = es_segment_list(p->db, &names, &count, err);
    *out = false;
    if (rc < 0)
        return rc;
    for (size_t i = 0; rc == 0 && !*out && i < count; i++) {
        struct es_segment *s;
        rc = es_segment_open(p->db, names[i], &s, NULL);
        if (rc == 0 && s->header.first_position > p->q->as_of)
            break;
        *out = rc == 0 && s->header.rewritten_us != 0;
        rc = rc == ESDB_ECORRUPT ? 0 : rc; /* whoever reads it tells */
    }
    free(names);
    return rc < 0 ? es_fail(err, rc, "%s: looking at segments", p->db->path) : 0;
}

/* Is that version of then still there? */
static int is_there(const struct past *p, struct esdb_text stream, uint64_t version, bool *out,
                    struct esdb_error *err) {
    struct esdb_query q;
    struct esdb_event e;
    esdb_cursor *c;
    esdb_query_init(&q);
    q.flags = ESDB_LITERAL;
    q.streams = &stream;
    q.stream_count = 1;
    q.as_of = p->q->as_of;
    q.from_version = q.to_version = version;
    q.limit = 1;
    int rc = esdb_cursor_open(p->db, &q, &c, err);
    if (rc < 0)
        return rc;
    rc = esdb_cursor_next(c, &e, err);
    *out = rc == 0;
    esdb_cursor_close(c);
    return rc < 0 && rc != ESDB_ECORRUPT ? rc : 0;
}

/* An event of which only its place is left tells when it was. */
static int erased_since(const struct past *p, struct esdb_text stream, bool *gone, struct esdb_error *err) {
    size_t count;
    int64_t last;
    bool there = true;
    const struct es_version_range *r = es_life_ranges(p->now, stream, &count);
    int rc = count > 0 ? es_stream_version_before(p->db, stream, p->q->as_of + 1, &last, err) : 0;
    for (size_t i = 0; rc == 0 && there && i < count; i++)
        for (uint64_t v = r[i].from; rc == 0 && there && v <= r[i].to && (int64_t)v <= last; v++)
            if (!es_life_hides(p->then, stream, v))
                rc = is_there(p, stream, v, &there, err);
    *gone = !there;
    return rc;
}

/* Are all versions from .. before - 1 in archives, by their keys? */
static bool is_archived(const struct past *p, struct esdb_text stream, uint64_t from, uint64_t before) {
    for (size_t i = 0; i < p->archived_count && from < before; i++) {
        const struct es_archive_entry *a = &p->archived[i];
        if (a->stream_len == stream.len && memcmp(a->stream, stream.at, stream.len) == 0 && a->from <= from &&
            a->to >= from)
            from = a->to + 1;
    }
    return from >= before;
}

/* What of one stream was there to be seen, as far as it is known, and is not now? */
static int stream_lacks(const struct past *p, struct esdb_text stream, bool *out, struct esdb_error *err) {
    struct es_stream_life then, now;
    bool there = true;
    int rc = 0;
    es_life_find(p->then, stream, &then);
    es_life_find(p->now, stream, &now);
    if (then.closed)
        return 0;
    if (now.closed || now.truncated_before > then.first_version)
        rc = is_there(p, stream, then.first_version, &there, err);
    if (!now.closed && !there)
        there = is_archived(p, stream, then.first_version, now.truncated_before);
    *out = !there;
    return rc == 0 && there ? erased_since(p, stream, out, err) : rc;
}

/* A closed stream of which nothing but a hash of its name is left, closed since: is it, or may it be, one that is wanted? */
static bool forgotten_wanted(const struct past *p, struct esdb_text closed) {
    char name[FMT_CLOSED_LEN];
    for (size_t i = 0; i < p->filter.stream_count; i++) {
        const struct es_pattern *w = &p->filter.streams[i];
        if (!w->literal)
            return true;
        fmt_life_closed_name((struct fmt_text){w->text, w->len}, name);
        if (closed.len == sizeof name - FMT_META_PREFIX_LEN &&
            memcmp(name + FMT_META_PREFIX_LEN, closed.at, closed.len) == 0)
            return true;
    }
    return p->filter.stream_count == 0;
}

static bool is_forgotten(struct esdb_text stream) {
    const size_t prefix = sizeof FMT_CLOSED_PREFIX - 1 - FMT_META_PREFIX_LEN;
    return stream.len > prefix && memcmp(stream.at, &FMT_CLOSED_PREFIX[FMT_META_PREFIX_LEN], prefix) == 0;
}

static int tell(struct esdb_error *err, const char *what, struct esdb_text stream) {
    if (err)
        snprintf(err->text, sizeof err->text, "%.*s%s", (int)stream.len, stream.len ? stream.at : "", what);
    return 1;
}

/* The first stream that lacks something. 1: there is one. */
static int look(const struct past *p, struct esdb_error *err) {
    struct es_stream_filter filter = p->filter; /* its cache changes, nothing else */
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < p->now->slots; i++) {
        const struct es_life_entry *e = &p->now->slot[i];
        struct esdb_text stream = {(const char *)p->now->names.at + e->name_at, e->name_len};
        bool lacks = false;
        if (!e->name_len)
            continue;
        if (is_forgotten(stream)) {
            if (es_life_knows(p->then, stream) || !forgotten_wanted(p, stream))
                continue;
            return tell(err, "a stream of then that was deleted for ever since may be missing", (struct esdb_text){0});
        }
        if (es_stream_filter_wants(&filter, stream))
            rc = stream_lacks(p, stream, &lacks, err);
        if (rc == 0 && lacks)
            return tell(err, ": events of then were removed since", stream);
    }
    return rc;
}

int esdb_past_is_whole(esdb *db, const struct esdb_query *q, struct esdb_error *err) {
    return esdb_past_is_whole_archived(db, NULL, q, err);
}

int esdb_past_is_whole_archived(esdb *db, esdb_archive *a, const struct esdb_query *q, struct esdb_error *err) {
    struct past p = {.db = db, .q = q};
    bool compacted = false;
    if (q->as_of == UINT64_MAX)
        return 0;
    int rc = was_compacted(&p, &compacted, err);
    if (rc < 0 || !compacted)
        return rc;
    rc = es_stream_filter_init(&p.filter, q, err);
    if (rc < 0)
        return rc;
    rc = es_life_open(db, UINT64_MAX, &p.now, err);
    if (rc == 0)
        rc = es_life_open(db, q->as_of + 1, &p.then, err);
    if (rc == 0 && a)
        rc = es_archive_entries(a, NULL, NULL, &p.archived, &p.archived_count, err);
    if (rc == 0)
        rc = look(&p, err);
    free(p.archived);
    es_life_close(p.then);
    es_life_close(p.now);
    es_stream_filter_release(&p.filter);
    return rc;
}
