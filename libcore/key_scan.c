#include "key_scan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- which segments ---- */

static int first_position(esdb *db, uint64_t segment, uint64_t *out, struct esdb_error *err) {
    struct es_segment *seg;
    int rc = es_segment_open(db, segment, &seg, err);
    if (rc == 0)
        *out = seg->header.first_position;
    return rc;
}

/* Number of segments that begin at or before the position. A damaged one counts as such: reading tells of it. */
static size_t segments_until(const struct es_key_scan *s, uint64_t position) {
    size_t low = 0, high = s->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        uint64_t first = 0;
        if (first_position(s->db, s->names[middle], &first, NULL) < 0 || first <= position)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Leaves those that may hold positions of the range. */
static void choose_segments(struct es_key_scan *s) {
    while (s->count > 0 && s->names[s->count - 1] > s->visible.segment)
        s->count--;
    if (s->to_position < s->visible.end_position)
        s->count = segments_until(s, s->to_position);
    size_t skip = s->from_position > 0 ? segments_until(s, s->from_position) : 0;
    if (skip > 1) {
        s->count -= skip - 1;
        memmove(s->names, s->names + skip - 1, s->count * sizeof *s->names);
    }
}

int es_key_scan_init(struct es_key_scan *s, esdb *db, const uint64_t *hashes, size_t count, bool reverse,
                     uint64_t from_position, uint64_t to_position, const struct es_visible *visible,
                     struct esdb_error *err) {
    *s = (struct es_key_scan){.db = db,
                              .hash_count = count,
                              .reverse = reverse,
                              .from_position = from_position,
                              .to_position = to_position,
                              .visible = *visible};
    s->hashes = malloc((count + 1) * sizeof *s->hashes);
    if (!s->hashes)
        return es_fail(err, -ENOMEM, "%s", db->path);
    memcpy(s->hashes, hashes, count * sizeof *hashes);
    int rc = es_segment_list(db, &s->names, &s->count, err);
    if (rc == 0)
        choose_segments(s);
    else
        es_key_scan_release(s);
    return rc;
}

void es_key_scan_release(struct es_key_scan *s) {
    free(s->hashes);
    free(s->names);
    es_buffer_release(&s->ordinals);
    es_window_release(&s->window);
    *s = (struct es_key_scan){0};
}

/* ---- one segment ---- */

static uint32_t *ordinals(const struct es_key_scan *s) {
    return (uint32_t *)(void *)s->ordinals.at;
}

static int compare(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

/* Events with several of the keys, or with one twice, count once. */
static void order(struct es_key_scan *s) {
    size_t count = s->ordinals.len / sizeof(uint32_t), kept = 0;
    uint32_t *at = ordinals(s);
    if (s->hash_count > 1 && count > 1)
        qsort(at, count, sizeof *at, compare);
    for (size_t i = 0; i < count; i++)
        if (kept == 0 || at[i] != at[kept - 1])
            at[kept++] = at[i];
    s->ordinals.len = kept * sizeof *at;
}

static int find(struct es_key_scan *s, struct esdb_error *err) {
    struct es_buffer one = {0};
    int rc = 0;
    s->ordinals.len = 0;
    if (s->hash_count == 1)
        rc = es_view_keys(&s->view, s->hashes[0], &s->ordinals, err);
    for (size_t i = 0; rc == 0 && s->hash_count > 1 && i < s->hash_count; i++) {
        one.len = 0;
        rc = es_view_keys(&s->view, s->hashes[i], &one, err);
        if (rc == 0 && es_buffer_add(&s->ordinals, one.at, one.len) < 0)
            rc = es_fail(err, -ENOMEM, "%s", s->db->path);
    }
    es_buffer_release(&one);
    order(s);
    return rc;
}

/* ESDB_ECORRUPT once for a segment whose index lacks what is damaged. */
static int open_segment(struct es_key_scan *s, struct esdb_error *err) {
    uint64_t name = s->names[s->reverse ? s->count - 1 - s->seen : s->seen];
    bool active = name == s->visible.segment;
    int rc = es_view_open(s->db, name, active ? s->visible.end_position : UINT64_MAX, &s->view, err);
    if (rc == 0)
        rc = find(s, err);
    if (rc == 0 && !s->view.live && !s->told_segment && es_segment_is_whole(s->db, s->view.seg, err) < 0) {
        s->told_segment = true; /* it is opened again */
        return ESDB_ECORRUPT;
    }
    s->seen++;
    s->segments++;
    s->told_segment = false;
    s->open = rc == 0;
    s->next = 0;
    return rc;
}

int es_key_scan_next(struct es_key_scan *s, struct fmt_event *out, uint64_t *position, struct esdb_error *err) {
    for (;;) {
        size_t count = s->ordinals.len / sizeof(uint32_t);
        if (s->open && s->next < count) {
            uint32_t ordinal = ordinals(s)[s->reverse ? count - 1 - s->next : s->next];
            s->next++;
            *position = s->view.seg->header.first_position + ordinal;
            if (*position >= s->from_position && *position <= s->to_position)
                return es_view_read(&s->view, ordinal, &s->window, out, err);
            continue;
        }
        s->open = false;
        if (s->seen < s->count) {
            int rc = open_segment(s, err);
            if (rc < 0)
                return rc;
            continue;
        }
        if (s->told_end || !s->reverse) /* forwards, the scan that follows tells */
            return ESDB_END;
        s->told_end = true;
        int rc = es_visible_is_whole(s->db, &s->visible, err);
        if (rc < 0)
            return rc;
    }
}
