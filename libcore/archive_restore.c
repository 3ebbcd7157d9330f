/* archive_restore.c: events of an archive go back into a log, with the versions that they had.
 *
 * Versions of a stream have no gaps in a log. Where events were erased from an archive, events without content take their
 * place, and "$meta:STREAM" says in the same frame that they are erased; likewise that a stream begins at a version above 0:
 * as if it had been truncated up to there.
 *
 * What the store has erased or closed for ever does not come back from an archive that was made before: of erased events only
 * their place does. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "archive.h"
#include "index.h"
#include "life.h"
#include "os.h"
#include "recover.h"
#include "visible.h"

#define TRIES 10 /* while others erase events of the stream */
#define FRAME_BYTES (4u << 20)
#define FRAME_EVENTS 1000u
#define GAP_MAX 100000u       /* erased events in a frame: more is no archive of ours */
#define ERASED_TYPE "$erased" /* of what stands for an event that is not in the archive */

/* A line in the scratch file. */
struct place {
    uint64_t version, at;
    uint32_t len;
    bool erased; /* in this store, since */
};

struct restoring {
    esdb *db;
    struct esdb_text stream;
    bool new_times;
    struct es_scratch lines;
    struct es_buffer places;
    struct es_archive_manifest m;
    bool own;            /* the archive is of this store: */
    int64_t source_meta; /* then es_stream_life.meta_version of its stream, when what is erased was marked */
    int64_t last;        /* version of the stream in the store; -1: it never was */
    struct es_stream_life life;
    struct es_buffer erased; /* ranges, those of the store included */
    struct es_buffer line, room;
    esdb_batch *batch;
    struct esdb_archive_restored done;
};

static const struct place *place_at(const struct restoring *r, size_t i) {
    return (const struct place *)(const void *)r->places.at + i;
}

static size_t place_count(const struct restoring *r) {
    return r->places.len / sizeof(struct place);
}

static int take(void *context, const struct esdb_event *e, struct fmt_text line, struct esdb_error *err) {
    struct restoring *r = context;
    struct place p = {e->version, r->lines.len, (uint32_t)line.len, false};
    if (es_buffer_add(&r->places, &p, sizeof p) < 0)
        return es_fail(err, -ENOMEM, "an archive");
    return es_scratch_add(&r->lines, line.at, line.len, err);
}

static int read_event(struct restoring *r, size_t i, struct esdb_event *out, struct esdb_error *err) {
    const struct place *p = place_at(r, i);
    r->line.len = 0;
    if (es_buffer_reserve(&r->line, p->len) < 0)
        return es_fail(err, -ENOMEM, "an archive");
    ssize_t n = es_pread(r->lines.fd, r->line.at, p->len, p->at);
    const char *wrong = n == (ssize_t)p->len
                            ? es_archive_line((struct fmt_text){(const char *)r->line.at, p->len}, &r->room, out)
                            : "it was cut short";
    return wrong ? es_fail(err, n < 0 ? (int)n : -EIO, "a temporary file: %s", wrong) : 0;
}

/* ---- what was erased since ---- */

/* An archive of a store: what that one has decided holds for what is in it. */
static int mark_erased(struct restoring *r, esdb *by, struct esdb_error *err) {
    struct es_stream_life life;
    struct place *p = (struct place *)(void *)r->places.at;
    struct esdb_text source = {r->m.stream, r->m.stream_len};
    if (memcmp(r->m.store_id, by->settings.user.store_id, sizeof r->m.store_id) != 0)
        return 0;
    int rc = es_life_of(by, source, UINT64_MAX, &life, err);
    if (rc == 0 && life.closed)
        return es_fail(err, ESDB_ECONFLICT, "%.*s: was closed for ever; nothing brings its events back",
                       (int)source.len, source.at);
    for (size_t i = 0; rc == 0 && life.erased.len > 0 && i < place_count(r); i++)
        p[i].erased |= es_life_in_ranges(life.erased, p[i].version);
    if (rc == 0 && by == r->db) {
        r->own = true;
        r->source_meta = life.meta_version;
    }
    return rc;
}

/* By the store itself, and by another one, all of whose decisions must be known. */
static int mark_all_erased(struct restoring *r, esdb *erasures, struct esdb_error *err) {
    struct es_visible all;
    int rc = mark_erased(r, r->db, err);
    if (rc < 0 || !erasures)
        return rc;
    if (memcmp(r->m.store_id, erasures->settings.user.store_id, sizeof r->m.store_id) != 0)
        return es_fail(err, ESDB_EUSAGE, "%s: is another store than that of the archive", erasures->path);
    rc = es_visible_all(erasures, &all, err);
    return rc == 0 ? mark_erased(r, erasures, err) : rc;
}

/* Such events that were restored before they were erased. *changed: there were some. */
static int erase_restored(struct restoring *r, bool *changed, struct esdb_error *err) {
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < place_count(r) && (int64_t)place_at(r, i)->version <= r->last; i++) {
        uint64_t version = place_at(r, i)->version;
        if (!place_at(r, i)->erased || version < r->life.first_version || es_life_in_ranges(r->life.erased, version))
            continue;
        rc = es_version_erase(r->db, r->stream, version, (struct esdb_text){"restored", 8}, err);
        *changed = true;
    }
    return rc;
}

/* ---- does order hold? ---- */

static int look(struct restoring *r, struct esdb_error *err) {
    struct es_visible vis;
    struct es_view active;
    uint64_t version = 0;
    int rc = es_visible(r->db, &vis, err);
    if (rc == 0)
        rc = es_view_open(r->db, vis.segment, vis.end_position, &active, err);
    if (rc == 0)
        rc = es_stream_version(&active, r->stream, &version, err);
    r->last = rc == 0 ? (int64_t)version : -1;
    r->erased.len = 0;
    if (rc != 0 && rc != ESDB_ENOTFOUND)
        return rc;
    rc = es_life_in_view(&active, r->stream, vis.end_position, &r->life, err);
    return rc == 0 && es_buffer_add(&r->erased, r->life.erased.at, r->life.erased.len) < 0
               ? es_fail(err, -ENOMEM, "%s", r->db->path)
               : rc;
}

static bool same_text(struct esdb_text a, struct esdb_text b) {
    return a.len == b.len && (a.at == NULL) == (b.at == NULL) && (a.len == 0 || memcmp(a.at, b.at, a.len) == 0);
}

static bool same_name(struct esdb_text a, struct esdb_text b) {
    return a.len == b.len && (a.len == 0 || memcmp(a.at, b.at, a.len) == 0);
}

static bool same_event(const struct restoring *r, const struct esdb_event *a, const struct esdb_event *b) {
    return a->version == b->version && a->binary == b->binary && same_name(a->event_id, b->event_id) &&
           same_name(a->event_type, b->event_type) && same_text(a->data, b->data) &&
           same_text(a->metadata, b->metadata) && same_name(a->data_content_type, b->data_content_type) &&
           same_name(a->metadata_content_type, b->metadata_content_type) &&
           (r->new_times || a->epoch_us == b->epoch_us);
}

static int differs(const struct restoring *r, uint64_t version, struct esdb_error *err) {
    return es_fail(err, ESDB_ECONFLICT, "%.*s: version %" PRIu64 " is there already, hidden or with other content",
                   (int)r->stream.len, r->stream.at, version);
}

/* Events of the archive that the stream has already. *next: the first that it has not. */
static int compare(struct restoring *r, size_t *next, struct esdb_error *err) {
    struct esdb_query q;
    struct esdb_event there, e;
    esdb_cursor *c;
    esdb_query_init(&q);
    q.flags = ESDB_LITERAL;
    q.streams = &r->stream;
    q.stream_count = 1;
    q.from_version = r->m.from;
    q.to_version = r->m.to < (uint64_t)r->last ? r->m.to : (uint64_t)r->last;
    int rc = esdb_cursor_open(r->db, &q, &c, err);
    if (rc < 0)
        return rc;
    *next = 0;
    while (rc == 0 && *next < place_count(r) && place_at(r, *next)->version <= q.to_version) {
        if (place_at(r, *next)->erased) { /* there too: it is not shown */
            ++*next;
            continue;
        }
        rc = esdb_cursor_next(c, &there, err);
        if (rc == ESDB_END)
            rc = differs(r, place_at(r, *next)->version, err);
        if (rc == 0)
            rc = read_event(r, *next, &e, err);
        if (rc == 0 && !same_event(r, &there, &e))
            rc = differs(r, e.version, err);
        ++*next;
    }
    esdb_cursor_close(c);
    return rc;
}

/* *next: the first event that is to be appended. */
static int check_order(struct restoring *r, size_t *next, struct esdb_error *err) {
    *next = 0;
    if (r->life.closed)
        return es_fail(err, ESDB_ECONFLICT, "%.*s: was closed for ever; nothing can be appended to it",
                       (int)r->stream.len, r->stream.at);
    if (r->last < 0)
        return 0;
    if ((uint64_t)r->last + 1 < r->m.from)
        return es_fail(err, ESDB_ECONFLICT, "%.*s: ends at version %" PRId64 ", the archive begins at %" PRIu64,
                       (int)r->stream.len, r->stream.at, r->last, r->m.from);
    return (uint64_t)r->last >= r->m.from ? compare(r, next, err) : 0;
}

/* ---- writing ---- */

static int add_range(struct restoring *r, uint64_t from, uint64_t to) {
    char text[64];
    int len = snprintf(text, sizeof text, "%s[%" PRIu64 ",%" PRIu64 "]", r->erased.len ? "," : "", from, to);
    return es_buffer_add(&r->erased, text, (size_t)len);
}

/* What "$meta:STREAM" says from this frame on. */
static int add_life(struct restoring *r, uint64_t epoch_us, struct esdb_error *err) {
    char name[FMT_STREAM_NAME_MAX];
    struct fmt_life life = {.kind = r->erased.len ? FMT_LIFE_ERASED : FMT_LIFE_TRUNCATED,
                            .deleted_before = r->life.deleted_before,
                            .truncated_before = r->life.truncated_before,
                            .erased = {(const char *)r->erased.at, r->erased.len}};
    const char *type = fmt_life_type(life.kind);
    struct esdb_text meta = {name, FMT_META_PREFIX_LEN + r->stream.len};
    struct es_buffer data = {0};
    memcpy(name, FMT_META_PREFIX, FMT_META_PREFIX_LEN);
    memcpy(name + FMT_META_PREFIX_LEN, r->stream.at, r->stream.len);
    if (es_buffer_reserve(&data, FMT_LIFE_ROOM + r->erased.len) < 0)
        return es_fail(err, -ENOMEM, "%s", r->db->path);
    data.len = fmt_life_encode(&life, (char *)data.at);
    struct esdb_new_event e = {.stream_id = meta,
                               .event_type = {type, strlen(type)},
                               .data = {(const char *)data.at, data.len},
                               .system = true,
                               .epoch_us = epoch_us};
    int rc = esdb_batch_expect(r->batch, meta, r->life.meta_version, err);
    if (rc == 0)
        rc = esdb_batch_add(r->batch, &e, err);
    r->life.meta_version++;
    es_buffer_release(&data);
    return rc;
}

/* Nothing is appended that was erased since it was looked at: that would bring a conflict. */
static int expect_source(struct restoring *r, bool has_life, struct esdb_error *err) {
    char name[FMT_STREAM_NAME_MAX];
    struct esdb_text source = {r->m.stream, r->m.stream_len};
    bool same = same_name(source, r->stream);
    if (!r->own || (same && has_life)) /* add_life has said it */
        return 0;
    memcpy(name, FMT_META_PREFIX, FMT_META_PREFIX_LEN);
    memcpy(name + FMT_META_PREFIX_LEN, source.at, source.len);
    return esdb_batch_expect(r->batch, (struct esdb_text){name, FMT_META_PREFIX_LEN + source.len},
                             same ? r->life.meta_version : r->source_meta, err);
}

static int add_event(struct restoring *r, const struct esdb_event *e, struct esdb_error *err) {
    struct esdb_new_event n = {.stream_id = r->stream,
                               .event_type = e->event_type,
                               .event_id = e->event_id,
                               .data = e->data,
                               .metadata = e->metadata,
                               .data_content_type = e->data_content_type,
                               .metadata_content_type = e->metadata_content_type,
                               .binary = e->binary,
                               .system = r->stream.at[0] == '$',
                               .epoch_us = r->new_times ? 0 : e->epoch_us};
    return esdb_batch_add(r->batch, &n, err);
}

static int add_blank(struct restoring *r, uint64_t epoch_us, struct esdb_error *err) {
    struct esdb_new_event n = {.stream_id = r->stream,
                               .event_type = {ERASED_TYPE, sizeof ERASED_TYPE - 1},
                               .epoch_us = r->new_times ? 0 : epoch_us};
    return esdb_batch_add(r->batch, &n, err);
}

/* Those versions before `e` that the archive has not. */
static int add_gap(struct restoring *r, uint64_t from, const struct esdb_event *e, struct esdb_error *err) {
    int rc = 0;
    for (uint64_t v = from; rc == 0 && v < e->version; v++)
        rc = add_blank(r, e->epoch_us, err);
    return rc;
}

/* Up to which event a frame goes that begins with event `next`, whose version is to be `version`. Gaps in it are noted. */
static int measure(struct restoring *r, size_t next, uint64_t version, size_t *end, struct esdb_error *err) {
    size_t size = 0, i = next;
    uint64_t events = 0;
    for (; i < place_count(r) && i - next < FRAME_EVENTS && size < FRAME_BYTES; i++) {
        const struct place *p = place_at(r, i);
        events += p->version - version;
        if (events > GAP_MAX)
            return es_fail(err, ESDB_EUSAGE,
                           "%.*s: more than %u events are missing in the archive before version %" PRIu64,
                           (int)r->stream.len, r->stream.at, GAP_MAX, p->version);
        if (p->version + p->erased > version && add_range(r, version, p->version - !p->erased) < 0)
            return es_fail(err, -ENOMEM, "%s", r->db->path);
        size += p->len;
        version = p->version + 1;
    }
    *end = i;
    return 0;
}

static int add_events(struct restoring *r, size_t next, size_t end, uint64_t version, struct esdb_error *err) {
    struct esdb_event e = {0};
    int rc = 0;
    for (; rc == 0 && next < end; next++, version = e.version + 1) {
        rc = read_event(r, next, &e, err);
        if (rc == 0 && e.version > version)
            rc = add_gap(r, version, &e, err);
        if (rc == 0)
            rc = place_at(r, next)->erased ? add_blank(r, e.epoch_us, err) : add_event(r, &e, err);
    }
    return rc;
}

/* Makes a frame of the events from *next on, which is moved. */
static int fill(struct restoring *r, size_t *next, struct esdb_error *err) {
    bool begins = r->last < 0 && r->m.from > 0;
    uint64_t version = r->last < 0 ? r->m.from : (uint64_t)r->last + 1;
    size_t erased = r->erased.len, end = *next;
    struct esdb_event first = {0};
    int rc = measure(r, *next, version, &end, err);
    esdb_batch_clear(r->batch);
    if (rc == 0)
        rc = esdb_batch_expect(r->batch, r->stream, r->last < 0 ? ESDB_NO_STREAM : r->last, err);
    if (rc == 0 && begins)
        rc = esdb_batch_begin(r->batch, r->stream, version, err);
    if (rc == 0)
        rc = read_event(r, *next, &first, err);
    if (begins)
        r->life.truncated_before = version;
    if (rc == 0)
        rc = expect_source(r, begins || r->erased.len > erased, err);
    if (rc == 0 && (begins || r->erased.len > erased)) /* before the events that it is about: FORMAT.md, I8 */
        rc = add_life(r, r->new_times ? 0 : first.epoch_us, err);
    if (rc == 0)
        rc = add_events(r, *next, end, version, err);
    *next = end;
    return rc;
}

static int append_all(struct restoring *r, size_t next, struct esdb_error *err) {
    int rc = esdb_batch_open(&r->batch);
    if (rc < 0)
        return es_fail(err, rc, "%s", r->db->path);
    while (rc == 0 && next < place_count(r)) {
        struct esdb_receipt receipt;
        size_t first = next;
        rc = fill(r, &next, err);
        if (rc == 0)
            rc = esdb_append(r->db, r->batch, 0, &receipt, err);
        if (rc == 0) {
            r->last = (int64_t)place_at(r, next - 1)->version;
            r->done.count += next - first;
        }
    }
    esdb_batch_close(r->batch);
    return rc == 0 ? esdb_catch_up(r->db, err) : rc;
}

/* ---- all of it ---- */

static int check_target(const esdb *db, struct esdb_text stream, struct esdb_error *err) {
    if (!(db->flags & ESDB_APPEND))
        return es_fail(err, ESDB_EUSAGE, "%s: was not opened for appending", db->path);
    if (stream.len > FMT_STREAM_ID_MAX || (stream.len > 0 && stream.at[0] == '$'))
        return es_fail(err, ESDB_EUSAGE, "%.*s: events are restored into streams of users", (int)stream.len, stream.at);
    return 0;
}

/* What is there already is looked at, the rest appended. */
static int put_back(struct restoring *r, esdb *erasures, struct esdb_error *err) {
    bool changed = false;
    size_t next = 0;
    int rc = mark_all_erased(r, erasures, err);
    if (rc == 0)
        rc = look(r, err);
    if (rc == 0)
        rc = erase_restored(r, &changed, err);
    if (rc == 0 && changed)
        rc = look(r, err);
    if (rc == 0)
        rc = check_order(r, &next, err);
    return rc == 0 ? append_all(r, next, err) : rc;
}

/* Again, when something was erased meanwhile. */
static int put_back_surely(struct restoring *r, esdb *erasures, struct esdb_error *err) {
    for (int tries = 1;; tries++) {
        struct esdb_error why = {0};
        int rc = put_back(r, erasures, &why);
        if (rc == ESDB_ECONFLICT && tries < TRIES &&
            fmt_is_meta((struct fmt_text){why.stream_id, strlen(why.stream_id)}))
            continue;
        if (rc < 0 && err && err->code == 0)
            *err = why;
        return rc;
    }
}

int esdb_archive_restore(esdb_archive *a, const char *key, esdb *to, struct esdb_text stream_id, bool new_times,
                         esdb *erasures, struct esdb_archive_restored *out, struct esdb_error *err) {
    struct restoring r = {.db = to, .new_times = new_times, .lines = ES_SCRATCH_NONE};
    int rc = check_target(to, stream_id, err);
    if (rc == 0)
        rc = es_archive_load(a, key, take, &r, &r.m, err);
    if (rc == 0)
        rc = es_scratch_flush(&r.lines, err);
    r.stream = stream_id.len > 0 ? stream_id : (struct esdb_text){r.m.stream, r.m.stream_len};
    if (rc == 0)
        rc = check_target(to, r.stream, err);
    if (rc == 0)
        rc = put_back_surely(&r, erasures, err);
    r.done.from = r.m.from;
    r.done.to = r.m.to;
    if (rc == 0)
        *out = r.done;
    es_archive_manifest_release(&r.m);
    es_scratch_release(&r.lines);
    es_buffer_release(&r.places);
    es_buffer_release(&r.erased);
    es_buffer_release(&r.line);
    es_buffer_release(&r.room);
    return rc;
}
