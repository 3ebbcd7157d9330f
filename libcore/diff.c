/* esdb_diff: two logs side by side. Segments of one name are compared as they are first: while they hold the same bytes
 * (or are the same file) their events are the same. From the first that does not, events are compared by position. What
 * compaction has removed on one side is no difference when the other side hides it too. */
#include <stdlib.h>
#include <string.h>

#include "life.h"
#include "os.h"
#include "scan.h"
#include "visible.h"

#define PROGRESS_EVENTS 65536u
#define COMPARED_BYTES (1u << 20)

struct diff {
    esdb *db[2];
    struct es_visible visible[2];
    struct es_life *life[2]; /* owned */
    void (*progress)(void *context, uint64_t done, uint64_t total);
    void *context;
    struct esdb_diff_result r;
    uint64_t position; /* before which all is equal */
    struct esdb_error *err;
};

/* One log, at its next event. */
struct side {
    struct es_scan scan;
    struct fmt_event event;
    uint64_t position; /* UINT64_MAX: there is none */
};

/* ---- segments ---- */

/* Behind their headers, which tell when each was compacted, do they hold the same bytes? */
static bool same_frames(struct es_segment *a, struct es_segment *b) {
    uint64_t step, at = a->header.header_len;
    if (a->size != b->size || at != b->header.header_len || a->header.prev_checksum != b->header.prev_checksum ||
        a->header.first_position != b->header.first_position)
        return false;
    for (; at < a->size; at += step) {
        step = a->size - at < COMPARED_BYTES ? a->size - at : COMPARED_BYTES;
        es_segment_need(a, at, step);
        es_segment_need(b, at, step);
        if (memcmp(a->map + at, b->map + at, (size_t)step) != 0)
            return false;
    }
    return true;
}

static int same_segment(struct diff *d, uint64_t name, bool *same) {
    struct es_segment *s[2];
    for (int i = 0; i < 2; i++) {
        int rc = es_segment_get(d->db[i], name, &s[i], d->err);
        if (rc == 0)
            rc = es_segment_grow(d->db[i], s[i], d->err);
        if (rc < 0)
            return rc;
    }
    *same = (s[0]->device == s[1]->device && s[0]->inode == s[1]->inode) || same_frames(s[0], s[1]);
    return 0;
}

/* Passes over the closed segments that both have and that are equal. */
static int compare_segments(struct diff *d) {
    uint64_t *names[2] = {NULL, NULL};
    size_t count[2] = {0, 0};
    int rc = es_segment_list(d->db[0], &names[0], &count[0], d->err);
    if (rc == 0)
        rc = es_segment_list(d->db[1], &names[1], &count[1], d->err);
    bool same = true;
    for (size_t i = 0; rc == 0 && same && i + 1 < count[0] && i + 1 < count[1]; i++) {
        uint64_t name = names[0][i], next = names[0][i + 1];
        struct es_segment *s[2];
        if (name != names[1][i] || next != names[1][i + 1] || next > d->visible[0].segment ||
            next > d->visible[1].segment)
            break;
        rc = same_segment(d, name, &same);
        for (int k = 0; rc == 0 && same && k < 2; k++)
            rc = es_segment_open(d->db[k], next, &s[k], d->err);
        if (rc < 0 || !same || s[0]->header.first_position != s[1]->header.first_position)
            break;
        d->r.same_segments++;
        d->position = s[0]->header.first_position;
    }
    free(names[0]);
    free(names[1]);
    return rc;
}

/* ---- events ---- */

static bool same_text(struct fmt_text a, struct fmt_text b) {
    return a.len == b.len && (a.len == 0 || memcmp(a.at, b.at, a.len) == 0);
}

/* NULL, or the field that differs. */
static const char *compare_events(const struct fmt_event *a, const struct fmt_event *b) {
    unsigned flags = a->flags ^ b->flags;
    return !same_text(a->stream_id, b->stream_id)                                      ? "stream_id"
           : a->version != b->version                                                  ? "version"
           : !same_text(a->event_id, b->event_id)                                      ? "event_id"
           : !same_text(a->event_type, b->event_type)                                  ? "event_type"
           : a->epoch_us != b->epoch_us                                                ? "epoch_us"
           : flags & ~(unsigned)FMT_EVENT_HAS_METADATA || !same_text(a->data, b->data) ? "data"
           : flags || !same_text(a->metadata, b->metadata)                             ? "metadata"
           : !same_text(a->data_content_type, b->data_content_type)                    ? "data_content_type"
           : !same_text(a->metadata_content_type, b->metadata_content_type)            ? "metadata_content_type"
                                                                                       : NULL;
}

static int step(struct diff *d, int i, struct side *s) {
    int rc = s->position == UINT64_MAX ? ESDB_END : es_scan_next(&s->scan, &s->event, &s->position, d->err);
    if (rc == ESDB_END || (rc == 0 && s->position >= d->visible[i].end_position)) { /* not what was appended since */
        s->position = UINT64_MAX;
        rc = 0;
    }
    return rc;
}

static void note(struct diff *d, uint64_t position, const char *what) {
    if (d->r.what)
        return;
    d->r.first = position;
    d->r.what = what;
}

/* Nobody is shown that event on either side, one of which has removed it. */
static bool is_hidden(const struct diff *d, const struct fmt_event *e) {
    struct esdb_text stream = {e->stream_id.at, e->stream_id.len};
    return es_life_hides(d->life[0], stream, e->version) && es_life_hides(d->life[1], stream, e->version);
}

static int compare_all_events(struct diff *d) {
    static const char *const missing[] = {"missing in B", "missing in A"};
    struct side s[2] = {{.position = 0}, {.position = 0}};
    uint64_t total = d->visible[0].end_position > d->visible[1].end_position ? d->visible[0].end_position
                                                                             : d->visible[1].end_position;
    int rc = 0;
    for (int i = 0; rc == 0 && i < 2; i++) {
        rc = es_scan_init(&s[i].scan, d->db[i], d->position, &d->visible[i], d->err);
        if (rc == 0)
            rc = step(d, i, &s[i]);
    }
    for (uint64_t n = 1; rc == 0 && (s[0].position & s[1].position) != UINT64_MAX; n++) {
        uint64_t a = s[0].position, b = s[1].position;
        const char *what;
        bool erased = a == b && (s[0].event.flags | s[1].event.flags) & FMT_EVENT_ERASED;
        if ((a != b || erased) && is_hidden(d, &s[a > b].event))
            what = NULL;
        else
            what = a == b ? compare_events(&s[0].event, &s[1].event) : missing[a > b];
        *(what == NULL ? &d->r.equal : a == b ? &d->r.different : &d->r.only[a > b]) += 1;
        if (what)
            note(d, a < b ? a : b, what);
        if (a <= b)
            rc = step(d, 0, &s[0]);
        if (rc == 0 && b <= a)
            rc = step(d, 1, &s[1]);
        if (d->progress && n % PROGRESS_EVENTS == 0)
            d->progress(d->context, a < b ? a : b, total);
    }
    es_scan_release(&s[0].scan);
    es_scan_release(&s[1].scan);
    return rc;
}

int esdb_diff(esdb *a, esdb *b, void (*progress)(void *context, uint64_t done, uint64_t total), void *context,
              struct esdb_diff_result *out, struct esdb_error *err) {
    struct diff d = {.db = {a, b}, .progress = progress, .context = context, .err = err};
    int rc = 0;
    for (int i = 0; rc == 0 && i < 2; i++) {
        rc = es_visible(d.db[i], &d.visible[i], err);
        if (rc == 0)
            rc = es_visible_is_whole(d.db[i], &d.visible[i], err);
        d.r.end_position[i] = d.visible[i].end_position;
    }
    if (rc == 0)
        rc = compare_segments(&d);
    for (int i = 0; rc == 0 && i < 2; i++)
        rc = es_life_open(d.db[i], UINT64_MAX, &d.life[i], err);
    d.r.equal = d.position; /* positions of removed events count as equal where both have removed them */
    if (rc == 0)
        rc = compare_all_events(&d);
    es_life_close(d.life[0]);
    es_life_close(d.life[1]);
    if (rc < 0)
        return rc;
    d.r.same = d.r.what == NULL;
    *out = d.r;
    return 0;
}
