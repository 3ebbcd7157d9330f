#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "filter.h"
#include "key_scan.h"
#include "life.h"
#include "merge.h"
#include "os.h"
#include "scan.h"
#include "select.h"
#include "shared_head.h"
#include "stream_filter.h"

#define WAIT_SLICE_MS 1000 /* head may be replaced: whoever waits looks again after this long */
#define POLL_MS 50         /* without a valid head there is nothing to wait on */

/* A cursor is in one of these states:
 *
 *   MERGE (streams by name) --\
 *                              (forwards, history read)----> SCAN ---> SCAN, as long as the log grows
 *   KEYS (events by key) -----/
 *   MERGE, KEYS (backwards), BACK ------> DONE
 *   any ----(limit or range reached)---> DONE */
enum state { MERGE, KEYS, SCAN, BACK, DONE };

struct esdb_cursor {
    esdb *db;
    enum state state;
    unsigned flags;
    struct es_stream_filter streams;
    struct es_filter filter;
    struct es_life *life; /* owned; a merge knows by itself, but for what was erased */
    uint64_t from_position, to_position, from_version, to_version, since_us, until_us;
    uint64_t life_end; /* deletions from this position on do not count */
    uint64_t left;     /* events to return at most */
    uint64_t step_max; /* events that one call looks at; UINT64_MAX: no bound */
    uint64_t stepped;  /* by this call */
    uint64_t seen;     /* everything before this position was considered (forwards) */
    struct es_merge merge;
    struct es_key_scan keys;
    struct es_scan scan;
    struct es_back_scan back;
    struct es_select select;
    uint64_t given_position; /* of the event that was returned last, when events wait in select */
    struct esdb_explain explain;
};

void esdb_query_init(struct esdb_query *q) {
    *q = (struct esdb_query){.to_position = UINT64_MAX,
                             .to_version = UINT64_MAX,
                             .limit = UINT64_MAX,
                             .until_us = UINT64_MAX,
                             .as_of = UINT64_MAX};
}

/* ---- opening ---- */

/* Times bound positions. What comes later than the newest event is bounded when it is there: see `beyond`. */
static int bound_by_time(struct esdb_cursor *c, const struct es_visible *v, struct esdb_error *err) {
    uint64_t position;
    if (c->since_us > 0) {
        int rc = esdb_position_at(c->db, c->since_us, &position, err);
        if (rc < 0)
            return rc;
        if (position > c->from_position)
            c->from_position = position;
    }
    if (c->until_us < v->last_epoch_us) {
        int rc = esdb_position_at(c->db, c->until_us + 1, &position, err);
        if (rc < 0)
            return rc;
        if (position == 0)
            c->state = DONE;
        else if (position - 1 < c->to_position)
            c->to_position = position - 1;
    }
    return 0;
}

static int open_merge(struct esdb_cursor *c, const struct es_visible *v, const struct esdb_text *names, size_t count,
                      struct esdb_error *err) {
    c->explain.path = "streams";
    c->state = MERGE;
    c->scan.visible = *v; /* where the scan goes on */
    struct es_stream_range range = {.from_version = c->from_version,
                                    .to_version = c->to_version,
                                    .from_position = c->from_position,
                                    .to_position = c->to_position,
                                    .life_end = c->life_end < v->end_position ? c->life_end : v->end_position,
                                    .reverse = c->flags & ESDB_REVERSE};
    int rc = es_merge_init(&c->merge, c->db, names, count, &range, v, err);
    return rc == 0 && c->merge.erased ? es_life_open(c->db, range.life_end, &c->life, err) : rc;
}

static int open_keys(struct esdb_cursor *c, const struct es_visible *v, const uint64_t *hashes, size_t count,
                     struct esdb_error *err) {
    c->explain.path = "keys";
    c->state = KEYS;
    c->scan.visible = *v;
    return es_key_scan_init(&c->keys, c->db, hashes, count, c->flags & ESDB_REVERSE, c->from_position, c->to_position,
                            v, err);
}

static int open_scan(struct esdb_cursor *c, const struct es_visible *v, struct esdb_error *err) {
    if (c->flags & ESDB_REVERSE) {
        c->explain.path = "backward scan";
        c->state = BACK;
        return es_back_scan_init(&c->back, c->db, c->to_position, v, err);
    }
    c->explain.path = "scan";
    c->state = SCAN;
    return es_scan_init(&c->scan, c->db, c->from_position, v, err);
}

/* The way that looks at the fewest events: ids, then streams by name, then other keys, else all of them. */
static int choose(struct esdb_cursor *c, const struct es_visible *v, struct esdb_error *err) {
    struct esdb_text *names = NULL;
    uint64_t *hashes = NULL;
    size_t name_count = 0, hash_count = 0;
    const char *key = "";
    bool history = c->from_position < v->end_position;
    int rc = history ? es_stream_filter_names(&c->streams, &names, &name_count) : 0;
    if (rc == 0 && history && (!names || c->filter.ids.count > 0))
        rc = es_filter_keys(&c->filter, &hashes, &hash_count, &key);
    if (rc == 0 && (hash_count > 0 || !names))
        rc = es_life_open(c->db, c->life_end < v->end_position ? c->life_end : v->end_position, &c->life, err);
    if (rc < 0)
        es_fail(err, rc, "%s", c->db->path);
    else if (hash_count > 0)
        rc = open_keys(c, v, hashes, hash_count, err);
    else
        rc = names ? open_merge(c, v, names, name_count, err) : open_scan(c, v, err);
    if (hash_count > 0)
        c->explain.key = key;
    free(names);
    free(hashes);
    return rc;
}

static int begin(struct esdb_cursor *c, struct esdb_error *err) {
    struct es_visible v;
    int rc = es_visible(c->db, &v, err);
    if (rc == 0)
        rc = bound_by_time(c, &v, err);
    c->seen = c->from_position;
    if (rc < 0 || c->state == DONE)
        return rc;
    if (c->filter.asks_always && (rc = es_select_start(&c->select, err)) < 0)
        return rc;
    return choose(c, &v, err);
}

int esdb_cursor_open(esdb *db, const struct esdb_query *q, esdb_cursor **out, struct esdb_error *err) {
    struct esdb_cursor *c = calloc(1, sizeof *c);
    if (!c)
        return es_fail(err, -ENOMEM, "%s", db->path);
    *c = (struct esdb_cursor){.db = db,
                              .state = SCAN,
                              .flags = q->flags,
                              .from_position = q->from_position,
                              .to_position = q->as_of < q->to_position ? q->as_of : q->to_position,
                              .life_end = q->as_of < UINT64_MAX ? q->as_of + 1 : UINT64_MAX,
                              .from_version = q->from_version,
                              .to_version = q->to_version,
                              .since_us = q->since_us,
                              .until_us = q->until_us,
                              .left = q->limit,
                              .step_max = q->step_max ? q->step_max : UINT64_MAX,
                              .explain = {.path = "", .key = "", .select = ""}};
    int rc = es_stream_filter_init(&c->streams, q, err);
    if (rc == 0)
        rc = es_filter_init(&c->filter, q, err);
    es_select_init(&c->select, &c->filter, q->select_timeout_ms);
    if (rc == 0)
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
    es_select_release(&c->select);
    es_stream_filter_release(&c->streams);
    es_filter_release(&c->filter);
    es_life_close(c->life);
    es_merge_release(&c->merge);
    es_key_scan_release(&c->keys);
    es_scan_release(&c->scan);
    es_back_scan_release(&c->back);
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
    case KEYS:
        return es_key_scan_next(&c->keys, e, position, err);
    case SCAN:
        return es_scan_next(&c->scan, e, position, err);
    case BACK:
        return es_back_scan_next(&c->back, e, position, err);
    case DONE:
        break;
    }
    return ESDB_END;
}

/* The source has no more: forwards, what is appended from then on follows. ESDB_END: that was all for now. */
static int at_end(struct esdb_cursor *c, struct esdb_error *err) {
    if ((c->state == MERGE || c->state == KEYS) && !(c->flags & ESDB_REVERSE)) {
        struct es_visible v = c->scan.visible;
        int rc = c->life ? 0 : es_life_open(c->db, v.end_position, &c->life, err);
        c->state = SCAN;
        return rc < 0 ? rc : es_scan_init(&c->scan, c->db, v.end_position, &v, err);
    }
    if (c->state == SCAN)
        c->seen = c->scan.visible.end_position;
    else
        c->state = DONE;
    return ESDB_END;
}

/* Nothing that is wanted comes after this event. */
static bool beyond(const struct esdb_cursor *c, const struct fmt_event *e, uint64_t position) {
    return c->flags & ESDB_REVERSE ? position < c->from_position || e->epoch_us < c->since_us
                                   : position > c->to_position || e->epoch_us > c->until_us;
}

static bool wanted(struct esdb_cursor *c, const struct fmt_event *e, uint64_t position) {
    if (position < c->from_position || position > c->to_position || e->version < c->from_version ||
        e->version > c->to_version || e->epoch_us < c->since_us || e->epoch_us > c->until_us ||
        e->flags & FMT_EVENT_ERASED)
        return false;
    return (c->state == MERGE || es_stream_filter_wants(&c->streams, text(e->stream_id))) &&
           !es_life_hides(c->life, text(e->stream_id), e->version);
}

/* The next event that passes, as far as that can be told without jq: an es_select_source. */
static int next_candidate(void *context, struct esdb_event *out, enum es_verdict *verdict, struct esdb_error *err) {
    struct esdb_cursor *c = context;
    for (;;) {
        struct fmt_event e;
        uint64_t position;
        if (c->stepped++ >= c->step_max)
            return ESDB_PAUSED;
        int rc = step(c, &e, &position, err);
        if (rc == ESDB_END) {
            rc = at_end(c, err);
            if (rc == 0)
                continue;
        }
        if (rc != 0)
            return rc;
        if (beyond(c, &e, position)) {
            c->state = DONE;
            return ESDB_END;
        }
        c->explain.events_read++;
        c->seen = position + 1;
        if (c->life && (rc = es_life_take(c->life, &e)) < 0)
            return es_fail(err, rc, "%s", c->db->path);
        if (!wanted(c, &e, position))
            continue;
        show(&e, position, out);
        *verdict = es_filter_judge(&c->filter, out);
        if (*verdict != ES_VERDICT_NO)
            return 0;
    }
}

int esdb_cursor_next(esdb_cursor *c, struct esdb_event *out, struct esdb_error *err) {
    if (c->left == 0) {
        c->state = DONE;
        return ESDB_END;
    }
    enum es_verdict verdict = ES_VERDICT_YES;
    c->stepped = 0;
    bool waiting = es_select_waiting(&c->select);
    int rc = waiting ? 0 : next_candidate(c, out, &verdict, err);
    if (rc == 0 && (waiting || verdict == ES_VERDICT_ASK)) {
        struct esdb_event first = *out;
        rc = es_select_next(&c->select, waiting ? NULL : &first, next_candidate, c, out, err);
    }
    if (rc != 0)
        return rc;
    c->given_position = out->position;
    c->explain.events++;
    c->left--;
    return 0;
}

uint64_t esdb_cursor_position(const esdb_cursor *c) {
    return es_select_waiting(&c->select) ? c->given_position + 1 : c->seen;
}

void esdb_cursor_explain(const esdb_cursor *c, struct esdb_explain *out) {
    uint64_t *names;
    size_t count = 0;
    *out = c->explain;
    if (es_segment_list(c->db, &names, &count, NULL) == 0)
        free(names);
    out->segments = count;
    out->segments_read = c->merge.segments + c->keys.segments + c->scan.segments + c->back.segments;
    if (out->segments_read > count) /* the newest was looked into by key, then read on */
        out->segments_read = count;
    out->asked_jq = c->select.asked;
    out->failed = c->select.failed;
    out->failed_position = c->select.failed_position;
    memcpy(out->failure, c->select.failure, sizeof out->failure);
    if (c->filter.program.at)
        out->select = c->filter.asks_always ? "jq" : c->select.asked ? "native, else jq" : "native";
}

/* ---- following ---- */

int esdb_cursor_wait(esdb_cursor *c, int timeout_ms, struct esdb_error *err) {
    if (es_select_waiting(&c->select))
        return 0;
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

int esdb_wait_position(esdb *db, uint64_t position, int timeout_ms, struct esdb_error *err) {
    uint64_t deadline = es_monotonic_ms() + (uint64_t)timeout_ms;
    for (;;) {
        struct es_visible v;
        const struct fmt_head *head = db->head;
        uint32_t wake = head ? head->wake : 0;
        int rc = es_visible(db, &v, err);
        if (rc < 0 || v.end_position > position)
            return rc;
        bool valid = head && head == db->head && es_head_valid(db);
        uint64_t now = es_monotonic_ms();
        if (now >= deadline)
            return es_fail(err, ESDB_EUNAVAILABLE, "%s: position %llu is not here yet: the next one is %llu", db->path,
                           (unsigned long long)position, (unsigned long long)v.end_position);
        int slice = valid ? WAIT_SLICE_MS : POLL_MS;
        if (deadline - now < (uint64_t)slice)
            slice = (int)(deadline - now);
        if (valid)
            es_futex_wait(&db->head->wake, wake, ES_WAKE_FOLLOWERS, slice);
        else
            es_sleep_ms(slice);
        if (valid && slice == WAIT_SLICE_MS)
            es_head_look_again(db); /* the file may be another one by now */
    }
}

int esdb_end_position(esdb *db, uint64_t *out, struct esdb_error *err) {
    struct es_visible v;
    int rc = es_visible(db, &v, err);
    if (rc == 0)
        *out = v.end_position;
    return rc;
}
