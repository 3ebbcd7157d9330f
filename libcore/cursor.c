#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "life.h"
#include "merge.h"
#include "os.h"
#include "pattern.h"
#include "scan.h"
#include "shared_head.h"

#define WAIT_SLICE_MS 1000 /* head may be replaced: whoever waits looks again after this long */
#define POLL_MS 50         /* without a valid head there is nothing to wait on */

/* A cursor is in one of these states:
 *
 *   MERGE ----(forwards, literal names; history read)----> SCAN ---> SCAN, as long as the log grows
 *   MERGE ----(backwards)-----> DONE          BACK ------> DONE
 *   any ----(limit or range reached)---> DONE */
enum state { MERGE, SCAN, BACK, DONE };

struct esdb_cursor {
    esdb *db;
    enum state state;
    unsigned flags;
    struct es_pattern *streams, *types; /* owned */
    size_t stream_count, type_count;
    uint64_t from_position, to_position, from_version, to_version;
    uint64_t left; /* events to return at most */
    uint64_t seen; /* everything before this position was considered (forwards) */
    struct es_merge merge;
    struct es_scan scan;
    struct es_back_scan back;
    struct es_life *life; /* owned; a merge knows by itself */
};

void esdb_query_init(struct esdb_query *q) {
    *q = (struct esdb_query){.to_position = UINT64_MAX,
                             .to_version = UINT64_MAX,
                             .limit = UINT64_MAX,
                             .until_us = UINT64_MAX,
                             .as_of = UINT64_MAX};
}

/* ---- what is wanted ---- */

static bool any_matches(const struct es_pattern *p, size_t count, struct esdb_text text) {
    for (size_t i = 0; i < count; i++)
        if (es_pattern_matches(&p[i], text))
            return true;
    return false;
}

/* System streams are shown when their names, or patterns that begin with '$', ask for them. */
static bool stream_wanted(const struct esdb_cursor *c, struct esdb_text stream) {
    bool system = stream.len && stream.at[0] == '$', open = c->flags & ESDB_WITH_SYSTEM;
    if (c->flags & ESDB_ALL)
        return !system || open;
    for (size_t i = 0; i < c->stream_count; i++) {
        const struct es_pattern *p = &c->streams[i];
        bool named = p->len && p->text[0] == '$';
        if ((!system || open || named) && es_pattern_matches(p, stream))
            return true;
    }
    return false;
}

static bool wanted(const struct esdb_cursor *c, const struct fmt_event *e, uint64_t position) {
    if (es_life_hides(c->life, (struct esdb_text){e->stream_id.at, e->stream_id.len}, e->version))
        return false;
    return position >= c->from_position && position <= c->to_position && e->version >= c->from_version &&
           e->version <= c->to_version &&
           (c->state == MERGE || stream_wanted(c, (struct esdb_text){e->stream_id.at, e->stream_id.len})) &&
           (c->type_count == 0 ||
            any_matches(c->types, c->type_count, (struct esdb_text){e->event_type.at, e->event_type.len}));
}

/* ---- opening ---- */

static int copy_patterns(struct es_pattern **out, size_t *count, const struct esdb_text *texts, size_t n, bool as_is) {
    struct es_pattern *p = calloc(n ? n : 1, sizeof *p);
    if (!p)
        return -ENOMEM;
    *out = p;
    for (*count = 0; *count < n; ++*count)
        if (es_pattern_init(&p[*count], texts[*count], as_is) < 0)
            return -ENOMEM;
    return 0;
}

static int compare_patterns(const void *a, const void *b) {
    const struct es_pattern *x = a, *y = b;
    return fmt_key_compare((struct fmt_text){x->text, x->len}, (struct fmt_text){y->text, y->len});
}

/* Literal names only: they are read through the indexes. A name that is given twice is read once. */
static int open_merge(struct esdb_cursor *c, const struct es_visible *v, struct esdb_error *err) {
    struct esdb_text *names = calloc(c->stream_count, sizeof *names);
    if (!names)
        return es_fail(err, -ENOMEM, "%s", c->db->path);
    size_t n = 0;
    qsort(c->streams, c->stream_count, sizeof *c->streams, compare_patterns);
    for (size_t i = 0; i < c->stream_count; i++)
        if (i == 0 || compare_patterns(&c->streams[i - 1], &c->streams[i]) != 0)
            names[n++] = (struct esdb_text){c->streams[i].text, c->streams[i].len};
    int rc = es_merge_init(&c->merge, c->db, names, n, c->flags & ESDB_REVERSE, c->from_version, c->to_version, v, err);
    free(names);
    return rc;
}

static int begin(struct esdb_cursor *c, struct esdb_error *err) {
    struct es_visible v;
    int rc = es_visible(c->db, &v, err);
    if (rc < 0)
        return rc;
    bool literal = c->stream_count > 0 && !(c->flags & ESDB_ALL);
    for (size_t i = 0; i < c->stream_count; i++)
        literal = literal && c->streams[i].literal;
    c->seen = c->from_position;
    if (literal && c->from_position < v.end_position) {
        c->state = MERGE;
        c->scan.visible = v; /* where the scan goes on */
        return open_merge(c, &v, err);
    }
    rc = es_life_open(c->db, v.end_position, &c->life, err);
    if (rc < 0)
        return rc;
    if (c->flags & ESDB_REVERSE) {
        c->state = BACK;
        return es_back_scan_init(&c->back, c->db, c->to_position, &v, err);
    }
    c->state = SCAN;
    return es_scan_init(&c->scan, c->db, c->from_position, &v, err);
}

int esdb_cursor_open(esdb *db, const struct esdb_query *q, esdb_cursor **out, struct esdb_error *err) {
    if (q->stream_count == 0 && !(q->flags & ESDB_ALL))
        return es_fail(err, ESDB_EUSAGE, "no stream was named");
    struct esdb_cursor *c = calloc(1, sizeof *c);
    if (!c)
        return es_fail(err, -ENOMEM, "%s", db->path);
    c->db = db;
    c->flags = q->flags;
    c->from_position = q->from_position;
    c->to_position = q->to_position;
    c->from_version = q->from_version;
    c->to_version = q->to_version;
    c->left = q->limit;
    int rc = copy_patterns(&c->streams, &c->stream_count, q->streams, q->stream_count, q->flags & ESDB_LITERAL);
    if (rc == 0)
        rc = copy_patterns(&c->types, &c->type_count, q->types, q->type_count, false);
    if (rc < 0)
        es_fail(err, rc, "%s", db->path);
    else
        rc = begin(c, err);
    if (rc < 0) {
        esdb_cursor_close(c);
        return rc;
    }
    *out = c;
    return 0;
}

void esdb_cursor_close(esdb_cursor *c) {
    if (!c)
        return;
    for (size_t i = 0; i < c->stream_count; i++)
        es_pattern_release(&c->streams[i]);
    for (size_t i = 0; i < c->type_count; i++)
        es_pattern_release(&c->types[i]);
    free(c->streams);
    free(c->types);
    es_merge_release(&c->merge);
    es_back_scan_release(&c->back);
    es_life_close(c->life);
    free(c);
}

/* ---- reading ---- */

static struct esdb_text text(struct fmt_text t) {
    return (struct esdb_text){t.at, t.len};
}

static void show(const struct fmt_event *e, uint64_t position, struct esdb_event *out) {
    *out =
        (struct esdb_event){.position = position,
                            .version = e->version,
                            .epoch_us = e->epoch_us,
                            .stream_id = text(e->stream_id),
                            .event_type = text(e->event_type),
                            .event_id = text(e->event_id),
                            .data = e->flags & FMT_EVENT_HAS_DATA ? text(e->data) : (struct esdb_text){0},
                            .metadata = e->flags & FMT_EVENT_HAS_METADATA ? text(e->metadata) : (struct esdb_text){0},
                            .data_content_type = text(e->data_content_type),
                            .metadata_content_type = text(e->metadata_content_type),
                            .binary = e->flags & FMT_EVENT_BINARY};
}

static int step(struct esdb_cursor *c, struct fmt_event *e, uint64_t *position, struct esdb_error *err) {
    switch (c->state) {
    case MERGE:
        return es_merge_next(&c->merge, e, position, err);
    case SCAN:
        return es_scan_next(&c->scan, e, position, err);
    case BACK:
        return es_back_scan_next(&c->back, e, position, err);
    case DONE:
        break;
    }
    return ESDB_END;
}

/* The source has no more: a forward merge goes on with what is appended from then on. 1: that was all for now. */
static int at_end(struct esdb_cursor *c, struct esdb_error *err) {
    if (c->state == MERGE && !(c->flags & ESDB_REVERSE)) {
        struct es_visible v = c->scan.visible;
        c->state = SCAN;
        return es_scan_init(&c->scan, c->db, v.end_position, &v, err);
    }
    if (c->state == SCAN)
        c->seen = c->scan.visible.end_position;
    else
        c->state = DONE;
    return ESDB_END;
}

static bool beyond(const struct esdb_cursor *c, uint64_t position) {
    return c->flags & ESDB_REVERSE ? position < c->from_position : position > c->to_position;
}

int esdb_cursor_next(esdb_cursor *c, struct esdb_event *out, struct esdb_error *err) {
    while (c->left > 0) {
        struct fmt_event e;
        uint64_t position;
        int rc = step(c, &e, &position, err);
        if (rc == ESDB_END) {
            rc = at_end(c, err);
            if (rc == 0)
                continue;
        }
        if (rc != 0)
            return rc;
        if (beyond(c, position))
            break;
        c->seen = position + 1;
        if (c->life && (rc = es_life_take(c->life, &e)) < 0)
            return es_fail(err, rc, "%s", c->db->path);
        if (!wanted(c, &e, position))
            continue;
        c->left--;
        show(&e, position, out);
        return 0;
    }
    c->state = DONE;
    return ESDB_END;
}

uint64_t esdb_cursor_position(const esdb_cursor *c) {
    return c->seen;
}

/* ---- following ---- */

int esdb_cursor_wait(esdb_cursor *c, int timeout_ms, struct esdb_error *err) {
    if (c->state == DONE || c->left == 0 || c->flags & ESDB_REVERSE)
        return es_fail(err, ESDB_ENOTFOUND, "the range is read to its end");
    if (c->state != SCAN)
        return 0;
    uint64_t deadline = timeout_ms < 0 ? UINT64_MAX : es_monotonic_ms() + (uint64_t)timeout_ms;
    for (;;) {
        struct es_visible v;
        const struct fmt_head *head = c->db->head;
        uint32_t wake = head ? head->wake : 0;
        int rc = es_visible(c->db, &v, err);
        if (rc < 0)
            return rc;
        if (v.index > c->scan.visible.index)
            return 0;
        bool valid = head && head == c->db->head && es_head_valid(c->db);
        uint64_t now = es_monotonic_ms();
        if (now >= deadline)
            return ESDB_END;
        int slice = valid ? WAIT_SLICE_MS : POLL_MS;
        if (deadline - now < (uint64_t)slice)
            slice = (int)(deadline - now);
        if (!valid)
            es_sleep_ms(slice);
        else if (es_futex_wait(&c->db->head->wake, wake, ES_WAKE_FOLLOWERS, slice) == -EINTR)
            return ESDB_END;
        if (valid && slice == WAIT_SLICE_MS)
            es_head_look_again(c->db); /* the file may be another one by now */
    }
}

int esdb_end_position(esdb *db, uint64_t *out, struct esdb_error *err) {
    struct es_visible v;
    int rc = es_visible(db, &v, err);
    if (rc == 0)
        *out = v.end_position;
    return rc;
}
