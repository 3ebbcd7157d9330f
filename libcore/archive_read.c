/* archive_read.c: lists of archives, and a cursor over their events. */
#include <errno.h>
#include <stdlib.h>

#include "archive.h"
#include "filter.h"
#include "life.h"
#include "os.h"
#include "select.h"
#include "stream_filter.h"

#define TRIES 5 /* of reading archives that are rewritten meanwhile */

_Static_assert(ESDB_ARCHIVE_KEY_ROOM == FMT_ARCHIVE_KEY_ROOM, "one limit, two names");

/* ---- keys ---- */

size_t esdb_archive_key(struct esdb_text stream_id, uint64_t from, uint64_t to, char out[ESDB_ARCHIVE_KEY_ROOM]) {
    char stream[FMT_STREAM_NAME_MAX];
    size_t len;
    if (stream_id.len == 0 || stream_id.len > FMT_STREAM_NAME_MAX || from > to)
        return 0;
    size_t n = fmt_archive_key((struct fmt_text){stream_id.at, stream_id.len}, from, to, out);
    return fmt_archive_key_parse((struct fmt_text){out, n}, stream, &len, &from, &to) ? n : 0;
}

int esdb_archive_key_parse(struct esdb_text key, char stream_id[256], uint64_t *from, uint64_t *to,
                           struct esdb_error *err) {
    size_t len;
    if (!fmt_archive_key_parse((struct fmt_text){key.at, key.len}, stream_id, &len, from, to))
        return es_fail(err, ESDB_EINVALID, "%.*s: is no archive's key", key.len < 300 ? (int)key.len : 300, key.at);
    stream_id[len] = '\0';
    return 0;
}

/* ---- lists ---- */

struct listing {
    struct es_buffer entries;
    bool (*wants)(void *context, struct esdb_text stream);
    void *context;
};

static int add_entry(void *context, const char *key) {
    struct listing *l = context;
    struct es_archive_entry e = {0};
    if (!fmt_archive_key_parse((struct fmt_text){key, strlen(key)}, e.stream, &e.stream_len, &e.from, &e.to) ||
        (l->wants && !l->wants(l->context, (struct esdb_text){e.stream, e.stream_len})))
        return 0;
    memcpy(e.key, key, strlen(key) + 1);
    return es_buffer_add(&l->entries, &e, sizeof e);
}

static int by_stream_and_version(const void *a, const void *b) {
    const struct es_archive_entry *x = a, *y = b;
    int order = memcmp(x->stream, y->stream, x->stream_len < y->stream_len ? x->stream_len : y->stream_len);
    if (order == 0)
        order = (x->stream_len > y->stream_len) - (x->stream_len < y->stream_len);
    if (order == 0)
        order = (x->from > y->from) - (x->from < y->from);
    return order ? order : (x->to > y->to) - (x->to < y->to);
}

int es_archive_entries(esdb_archive *a, bool (*wants)(void *context, struct esdb_text stream), void *context,
                       struct es_archive_entry **out, size_t *count, struct esdb_error *err) {
    struct listing l = {.wants = wants, .context = context};
    int rc = es_archive_keys(a, add_entry, &l, err);
    if (rc < 0) {
        es_buffer_release(&l.entries);
        return rc;
    }
    *out = (struct es_archive_entry *)(void *)l.entries.at;
    *count = l.entries.len / sizeof **out;
    if (*count > 0)
        qsort(*out, *count, sizeof **out, by_stream_and_version);
    return 0;
}

static bool wants_stream(void *context, struct esdb_text stream) {
    return es_stream_filter_wants(context, stream);
}

int esdb_archive_list(esdb_archive *a, const struct esdb_query *q,
                      int (*fn)(void *context, const char *key, struct esdb_text stream_id, uint64_t from, uint64_t to),
                      void *context, struct esdb_error *err) {
    struct es_stream_filter filter = {0};
    struct es_archive_entry *list = NULL;
    size_t count = 0;
    int rc = q ? es_stream_filter_init(&filter, q, err) : 0;
    if (rc < 0)
        return rc;
    rc = es_archive_entries(a, q ? wants_stream : NULL, &filter, &list, &count, err);
    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = fn(context, list[i].key, (struct esdb_text){list[i].stream, list[i].stream_len}, list[i].from, list[i].to);
    free(list);
    if (q)
        es_stream_filter_release(&filter);
    return rc;
}

int esdb_archive_verify(esdb_archive *a, const char *key, struct esdb_archive_info *out, struct esdb_error *err) {
    struct es_archive_manifest m;
    int rc = es_archive_load(a, key, NULL, NULL, &m, err);
    if (rc == 0)
        *out = (struct esdb_archive_info){.from = m.from,
                                          .to = m.to,
                                          .count = m.count,
                                          .first_position = m.first_position,
                                          .last_position = m.last_position,
                                          .first_epoch_us = m.first_epoch_us,
                                          .last_epoch_us = m.last_epoch_us,
                                          .size = m.size,
                                          .own = memcmp(m.store_id, a->db->settings.user.store_id, sizeof m.store_id) ==
                                                 0};
    es_archive_manifest_release(&m);
    return rc;
}

/* ---- a cursor ---- */

/* A line in the scratch file. */
struct place {
    uint64_t position, at;
    uint32_t len;
    uint32_t ask; /* jq decides */
};

struct esdb_archive_cursor {
    struct esdb_query q; /* ranges; its pointers are not used after opening */
    struct es_stream_filter streams;
    struct es_filter filter;
    struct es_select select;
    struct es_stream_life
        life; /* of the stream whose archive is being read: what was erased is not shown from it either */
    struct es_scratch lines;
    struct es_buffer places; /* struct place */
    size_t next;
    uint64_t left;
    struct es_buffer line, room; /* of the event that was given last */
};

static size_t place_count(const esdb_archive_cursor *c) {
    return c->places.len / sizeof(struct place);
}

static int take(void *context, const struct esdb_event *e, struct fmt_text line, struct esdb_error *err) {
    esdb_archive_cursor *c = context;
    const struct esdb_query *q = &c->q;
    if (e->position < q->from_position || e->position > q->to_position || e->position > q->as_of ||
        e->version < q->from_version || e->version > q->to_version || e->epoch_us < q->since_us ||
        e->epoch_us > q->until_us || c->life.closed || es_life_in_ranges(c->life.erased, e->version))
        return 0;
    enum es_verdict verdict = es_filter_judge(&c->filter, e);
    if (verdict == ES_VERDICT_NO)
        return 0;
    struct place p = {e->position, c->lines.len, (uint32_t)line.len, verdict == ES_VERDICT_ASK};
    if (es_buffer_add(&c->places, &p, sizeof p) < 0)
        return es_fail(err, -ENOMEM, "archives");
    return es_scratch_add(&c->lines, line.at, line.len, err);
}

static int gather(esdb_archive_cursor *c, esdb_archive *a, struct esdb_error *err) {
    struct es_archive_entry *list = NULL;
    size_t count = 0;
    int rc = es_archive_entries(a, wants_stream, &c->streams, &list, &count, err);
    for (size_t i = 0; rc == 0 && i < count; i++) {
        struct es_archive_manifest m;
        size_t places = c->places.len;
        uint64_t len = c->lines.len;
        if (list[i].to < c->q.from_version || list[i].from > c->q.to_version)
            continue;
        rc = es_life_of(a->db, (struct esdb_text){list[i].stream, list[i].stream_len}, UINT64_MAX, &c->life, err);
        if (rc < 0)
            break;
        rc = es_archive_load(a, list[i].key, take, c, &m, err);
        if (rc == 0 && memcmp(m.store_id, a->db->settings.user.store_id, sizeof m.store_id) != 0) {
            c->places.len = places; /* positions of another store */
            rc = es_scratch_cut(&c->lines, len, err);
        }
        es_archive_manifest_release(&m);
    }
    free(list);
    return rc == 0 ? es_scratch_flush(&c->lines, err) : rc;
}

/* Erasing gives an archive another key, after the new one is there: then the list is old. */
static int gather_all(esdb_archive_cursor *c, esdb_archive *a, struct esdb_error *err) {
    for (int tries = 1;; tries++) {
        struct esdb_error why = {0};
        int rc = gather(c, a, &why);
        if (rc == ESDB_ENOTFOUND && tries < TRIES) {
            c->places.len = 0;
            rc = es_scratch_cut(&c->lines, 0, &why);
            if (rc == 0)
                continue;
        }
        if (rc < 0 && err && err->code == 0)
            *err = why;
        return rc;
    }
}

static int by_position(const void *a, const void *b) {
    const struct place *x = a, *y = b;
    return (x->position > y->position) - (x->position < y->position);
}

/* In order, each position once: ranges of archives may overlap. */
static void sort(esdb_archive_cursor *c) {
    struct place *p = (struct place *)(void *)c->places.at;
    size_t count = place_count(c), kept = 0;
    if (count == 0)
        return;
    qsort(p, count, sizeof *p, by_position);
    for (size_t i = 1; i < count; i++)
        if (p[i].position != p[kept].position)
            p[++kept] = p[i];
    c->places.len = (kept + 1) * sizeof *p;
}

static bool is_reverse(const esdb_archive_cursor *c) {
    return c->q.flags & ESDB_REVERSE;
}

int esdb_archive_cursor_open(esdb_archive *a, const struct esdb_query *q, esdb_archive_cursor **out,
                             struct esdb_error *err) {
    esdb_archive_cursor *c = calloc(1, sizeof *c);
    if (!c)
        return es_fail(err, -ENOMEM, "archives");
    c->q = *q;
    c->lines = (struct es_scratch)ES_SCRATCH_NONE;
    c->left = q->limit;
    int rc = es_stream_filter_init(&c->streams, q, err);
    if (rc < 0) {
        free(c);
        return rc;
    }
    rc = es_filter_init(&c->filter, q, err);
    if (rc < 0) {
        es_stream_filter_release(&c->streams);
        free(c);
        return rc;
    }
    es_select_init(&c->select, &c->filter, q->select_timeout_ms);
    if (c->filter.program.at)
        rc = c->filter.asks_always ? es_select_start(&c->select, err) : 0;
    if (rc == 0)
        rc = gather_all(c, a, err);
    if (rc < 0) {
        esdb_archive_cursor_close(c);
        return rc;
    }
    sort(c);
    *out = c;
    return 0;
}

void esdb_archive_cursor_close(esdb_archive_cursor *c) {
    if (!c)
        return;
    es_select_release(&c->select);
    es_filter_release(&c->filter);
    es_stream_filter_release(&c->streams);
    es_scratch_release(&c->lines);
    es_buffer_release(&c->places);
    es_buffer_release(&c->line);
    es_buffer_release(&c->room);
    free(c);
}

/* An es_select_source. */
static int next_candidate(void *context, struct esdb_event *out, enum es_verdict *verdict, struct esdb_error *err) {
    esdb_archive_cursor *c = context;
    size_t count = place_count(c), i = is_reverse(c) ? count - 1 - c->next : c->next;
    if (c->next == count)
        return ESDB_END;
    const struct place *p = (const struct place *)(const void *)c->places.at + i;
    c->line.len = 0;
    if (es_buffer_reserve(&c->line, p->len) < 0)
        return es_fail(err, -ENOMEM, "archives");
    ssize_t n = es_pread(c->lines.fd, c->line.at, p->len, p->at);
    const char *wrong = n == (ssize_t)p->len
                            ? es_archive_line((struct fmt_text){(const char *)c->line.at, p->len}, &c->room, out)
                            : "it was cut short";
    if (wrong)
        return es_fail(err, n < 0 ? (int)n : -EIO, "a temporary file: %s", wrong);
    *verdict = p->ask ? ES_VERDICT_ASK : ES_VERDICT_YES;
    c->next++;
    return 0;
}

int esdb_archive_cursor_next(esdb_archive_cursor *c, struct esdb_event *out, struct esdb_error *err) {
    if (c->left == 0)
        return ESDB_END;
    enum es_verdict verdict = ES_VERDICT_YES;
    bool waiting = es_select_waiting(&c->select);
    int rc = waiting ? 0 : next_candidate(c, out, &verdict, err);
    if (rc == 0 && (waiting || verdict == ES_VERDICT_ASK)) {
        struct esdb_event first = *out;
        rc = es_select_next(&c->select, waiting ? NULL : &first, next_candidate, c, out, err);
    }
    if (rc == 0)
        c->left--;
    return rc;
}

void esdb_archive_cursor_explain(const esdb_archive_cursor *c, struct esdb_explain *out) {
    *out = (struct esdb_explain){.path = "archives", .key = "", .select = "", .asked_jq = c->select.asked};
    out->failed = c->select.failed;
    out->failed_position = c->select.failed_position;
    memcpy(out->failure, c->select.failure, sizeof out->failure);
}
