#include "scan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- where to begin ---- */

/* The newest segment that begins at or before the position: its place in names. Segments whose headers are damaged are
 * passed over here; reading meets them and tells. */
static int find_segment(esdb *db, const uint64_t *names, size_t count, uint64_t position, size_t *out) {
    size_t low = 0, high = count; /* the answer is in [low, high) */
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2, at = middle;
        struct es_segment *s = NULL;
        while (at > low && es_segment_get(db, names[at], &s, NULL) < 0)
            at--;
        if (at == low)
            high = middle > low + 1 ? middle : low + 1;
        else if (s->header.first_position <= position)
            low = at == middle ? middle : at;
        else
            high = at;
        if (at != middle && at != low && s && s->header.first_position <= position)
            break; /* damage between: begin before it */
    }
    *out = low;
    return 0;
}

/* The walk goes on as the frame at its offset says: nothing before it is known. */
static void trust(struct fmt_walk *w, const struct fmt_frame *f) {
    w->index = f->index;
    w->position = f->first_position;
    w->prev_checksum = f->prev_checksum;
    w->last_epoch_us = 0;
    w->term = 0;
    w->rolled = false;
}

static void set_size(struct es_scan *s) {
    s->walk.size = (size_t)s->seg->size;
    if (s->seg->name == s->visible.segment && s->visible.end_offset < s->walk.size)
        s->walk.size = (size_t)s->visible.end_offset;
    s->walk.base = s->content.at ? s->content.at : s->seg->map;
}

/* What a compressed segment holds, for this scan alone. */
static int open_content(struct es_scan *s, struct es_segment *seg, struct esdb_error *err) {
    es_unpacked_close(&s->content);
    if (!seg->is_packed)
        return 0;
    if (!s->memory)
        s->memory = es_block_memory_new();
    int rc = s->memory ? es_unpacked_open(&s->content, &seg->packed, s->memory, true) : -ENOMEM;
    return rc < 0 ? es_fail(err, rc, "%s: reading a compressed segment", s->db->path) : 0;
}

void es_scan_release(struct es_scan *s) {
    es_unpacked_close(&s->content);
    es_block_memory_free(s->memory);
    *s = (struct es_scan){0};
}

static int enter(struct es_scan *s, uint64_t name, struct esdb_error *err) {
    struct es_segment *seg;
    int rc = es_segment_get(s->db, name, &seg, err);
    if (rc == 0)
        rc = es_segment_grow(s->db, seg, err);
    if (rc == 0)
        rc = open_content(s, seg, err);
    if (rc < 0)
        return rc;
    s->seg = seg;
    s->segments++;
    es_segment_walk(seg, &s->walk);
    if (seg->is_packed)
        s->walk.context = &s->content;
    set_size(s);
    return 0;
}

/* Moves to the frame that holds the position, by the segment's index. */
static int seek_frame(struct es_scan *s, uint64_t position, struct esdb_error *err) {
    struct es_view v;
    uint64_t offset, first = s->seg->header.first_position;
    bool active = s->seg->name == s->visible.segment;
    if (position <= first)
        return 0;
    int rc = es_view_open(s->db, s->seg->name, active ? s->visible.end_position : UINT64_MAX, &v, err);
    if (rc == 0)
        rc = es_view_frame(&v, (uint32_t)(position - first), &offset, err);
    if (rc == ESDB_ENOTFOUND)
        return 0;
    if (rc == 0) {
        s->walk.offset = offset;
        s->joins = true;
    }
    set_size(s); /* the index may have mapped the segment again */
    return rc;
}

static int damage(const struct es_scan *s, uint64_t offset, const char *what, struct esdb_error *err) {
    char path[ES_NAME_SIZE];
    es_segment_path(s->seg->name, ES_NAME_LOG, path);
    return es_fail_at(err, ESDB_ECORRUPT, path, offset, "%s/%s, offset %llu: %s", s->db->path, path,
                      (unsigned long long)offset, what);
}

int es_scan_init(struct es_scan *s, esdb *db, uint64_t position, const struct es_visible *visible,
                 struct esdb_error *err) {
    *s = (struct es_scan){.db = db, .visible = *visible, .position = position};
    if (position >= visible->end_position) { /* where the log ends now */
        int rc = enter(s, visible->segment, err);
        struct es_visible now;
        if (rc == 0 && s->seg->header.rewritten_us != 0 && es_visible(db, &now, NULL) == 0 &&
            now.segment != visible->segment) { /* closed, and compacted since */
            es_scan_release(s);
            return es_scan_init(s, db, position, &now, err);
        }
        if (rc == 0) {
            s->walk.offset = (size_t)visible->end_offset;
            s->walk.index = visible->index + 1;
            s->walk.position = visible->end_position;
            s->joins = true;
            if (visible->end_offset > s->seg->size) /* events before that were durable */
                rc = damage(s, s->seg->size, "the segment ends too early", err);
        }
        return rc;
    }
    uint64_t *names;
    size_t count, at = 0;
    int rc = es_segment_list(db, &names, &count, err);
    if (rc < 0)
        return rc;
    if (position > 0 && count > 1)
        find_segment(db, names, count, position, &at);
    uint64_t name = count ? names[at] : 0;
    free(names);
    if (at == 0 && name > 1) { /* the beginning is missing: es_scan_next tells it */
        s->walk.index = 1;
        return 0;
    }
    rc = enter(s, name, err);
    if (rc == ESDB_ECORRUPT) { /* es_scan_next tells it and goes on behind */
        s->walk.index = name;
        return 0;
    }
    return rc == 0 ? seek_frame(s, position, err) : rc;
}

/* ---- forwards ---- */

/* Nothing is damaged, but this version may not go on: it stays where it is. */
static int newer(const struct es_scan *s, uint64_t offset, const char *what, struct esdb_error *err) {
    int rc = damage(s, offset, what, err);
    if (err && err->code == rc)
        err->code = ESDB_EUSAGE;
    return ESDB_EUSAGE;
}

/* The first segment whose name is >= index; 0: none. */
static int segment_from(const esdb *db, uint64_t index, uint64_t *out, struct esdb_error *err) {
    uint64_t *names;
    size_t count;
    int rc = es_segment_list(db, &names, &count, err);
    if (rc < 0)
        return rc;
    *out = 0;
    for (size_t i = count; i-- > 0 && names[i] >= index;)
        *out = names[i];
    free(names);
    return 0;
}

/* The segment is at its end: goes on in the next one, which must continue it. */
static int next_segment(struct es_scan *s, struct esdb_error *err) {
    uint64_t want = s->walk.index, name = want, checksum = s->walk.prev_checksum;
    bool joined = s->joins;
    char path[ES_NAME_SIZE] = "log";
    if (s->seg)
        es_segment_path(s->seg->name, ES_NAME_LOG, path);
    int rc = segment_from(s->db, want, &name, err);
    if (rc < 0)
        return rc;
    if (name == 0 && s->visible.index >= want) {
        s->walk.index = s->visible.index + 1; /* told once */
        return es_fail_at(err, ESDB_ECORRUPT, path, s->walk.offset, "%s/%s: the segment after it is missing",
                          s->db->path, path);
    }
    if (name == 0) {
        struct es_visible v; /* so that a follower waits for what comes after it */
        if (es_visible(s->db, &v, NULL) == 0 && v.index < want)
            s->visible = v;
        return ESDB_END;
    }
    uint64_t old_end = s->walk.offset;
    rc = enter(s, name, err);
    if (rc == ESDB_ECORRUPT) { /* its header is damaged: the next call goes on behind it */
        s->seg = NULL;
        s->walk.index = name + 1;
        return rc;
    }
    if (rc < 0)
        return rc;
    s->joins = false;
    if (name != want)
        return es_fail_at(err, ESDB_ECORRUPT, path, old_end, "%s/%s, offset %llu: frames %llu to %llu are missing",
                          s->db->path, path, (unsigned long long)old_end, (unsigned long long)want,
                          (unsigned long long)name - 1);
    if (!joined && s->seg->header.prev_checksum != checksum)
        return damage(s, 0, "does not continue the segment before", err);
    return 0;
}

/* The frame at the walk's offset is bad: looks for the next whole one; there may be none in this segment. */
static int pass_damage(struct es_scan *s, struct esdb_error *err) {
    struct fmt_frame f;
    int rc = damage(s, s->walk.fault_offset, s->walk.fault, err);
    size_t at = fmt_walk_resync(&s->walk, s->walk.offset + 8, s->walk.index + 1, &f);
    if (at) {
        s->walk.offset = at;
        trust(&s->walk, &f);
    } else {
        uint64_t name = 0;
        if (s->seg->name != s->visible.segment)
            segment_from(s->db, s->seg->name + 1, &name, NULL);
        s->walk.offset = s->walk.size;
        s->walk.index = name ? name : s->visible.index + 1;
        s->walk.position = s->visible.end_position;
        s->joins = true;
    }
    return rc;
}

/* The walk met zeros or the end of the file: true when frames must have been there (fault is set). */
static bool is_lost(struct es_scan *s) {
    struct fmt_frame f;
    struct fmt_walk *w = &s->walk;
    bool active = s->seg->name == s->visible.segment;
    bool lost = active ? w->index <= s->visible.index
                       : !w->rolled && w->offset < w->size && fmt_walk_resync(w, w->offset + 8, w->index + 1, &f) != 0;
    if (lost) {
        w->fault = w->offset < w->size ? "zeros, with bytes behind them" : "the segment ends too early";
        w->fault_offset = w->offset;
    }
    return lost;
}

/* Nothing is left in what was visible: is there more by now? */
static int look_again(struct es_scan *s, struct esdb_error *err) {
    struct es_visible v;
    int rc = es_visible(s->db, &v, err);
    if (rc < 0)
        return rc;
    if (v.index <= s->visible.index)
        return ESDB_END;
    s->visible = v;
    rc = es_segment_grow(s->db, s->seg, err);
    set_size(s);
    return rc;
}

/* Opens the next frame that has events. */
static int next_frame(struct es_scan *s, struct esdb_error *err) {
    for (;;) {
        int rc;
        if (!s->seg || (s->walk.offset >= s->walk.size && s->seg->name != s->visible.segment)) {
            if ((rc = next_segment(s, err)) != 0)
                return rc;
            continue;
        }
        struct fmt_frame f;
        fmt_walk_need(&s->walk, s->walk.offset, FMT_FRAME_HEADER_SIZE);
        if (s->joins && s->walk.offset < s->walk.size &&
            !fmt_frame_decode(s->walk.base + s->walk.offset, s->walk.size - s->walk.offset, &f)) {
            trust(&s->walk, &f);
            s->joins = false;
        }
        rc = fmt_walk_peek(&s->walk, &f);
        if (rc == FMT_END && is_lost(s))
            return pass_damage(s, err);
        if (rc == FMT_END && s->seg->name != s->visible.segment) {
            if ((rc = next_segment(s, err)) != 0)
                return rc;
            continue;
        }
        if (rc == FMT_END && s->visible.newer)
            return newer(s, s->visible.newer_offset, s->visible.newer, err);
        if (rc == FMT_END &&
            s->visible.lost_segment != s->told_lost) { /* there is a segment behind, but it is damaged */
            struct es_segment *lost;
            s->told_lost = s->visible.lost_segment;
            return es_segment_get(s->db, s->told_lost, &lost, err);
        }
        if (rc == FMT_END) {
            if ((rc = look_again(s, err)) != 0)
                return rc;
            continue;
        }
        if (rc == FMT_BAD && !s->walk.newer)
            return pass_damage(s, err);
        if (rc == FMT_OK)
            rc = fmt_walk_check(&s->walk, &f);
        if (rc == FMT_BAD && s->walk.newer)
            return newer(s, s->walk.fault_offset, s->walk.fault, err);
        if (rc == FMT_BAD && !fmt_frame_has_events(&f))
            return pass_damage(s, err);
        if (fmt_frame_has_events(&f) && fmt_frame_find_events(&f, s->walk.base + s->walk.offset, &s->events))
            return pass_damage(s, err);
        s->frame = f;
        s->frame_at = s->walk.offset;
        s->event_at = s->walk.offset + s->events.at;
        s->event = 0;
        s->damaged = rc == FMT_BAD;
        uint64_t fault_offset = s->walk.fault_offset;
        fmt_walk_pass(&s->walk, &f);
        if (s->damaged)
            return damage(s, fault_offset, s->walk.fault, err);
        if (fmt_frame_has_events(&f) && s->walk.position > s->position)
            return 0;
        s->event = f.count; /* nothing of it is wanted */
    }
}

int es_scan_next(struct es_scan *s, struct fmt_event *out, uint64_t *position, struct esdb_error *err) {
    for (;;) {
        while (s->event < s->frame.count) {
            const unsigned char *at = s->walk.base + s->event_at;
            uint64_t here = s->frame.first_position + fmt_frame_ordinal(&s->events, s->event);
            if (fmt_event_decode(at, s->frame_at + s->frame.frame_len - s->event_at, out)) {
                s->event = s->frame.count; /* a damaged length: what follows cannot be found from here */
                break;
            }
            s->event++;
            s->event_at += out->event_len;
            if (here < s->position || (s->damaged && !fmt_event_intact(at, out)))
                continue;
            s->position = here + 1;
            *position = here;
            return 0;
        }
        int rc = next_frame(s, err);
        if (rc != 0)
            return rc;
    }
}

/* ---- backwards ---- */

int es_back_scan_init(struct es_back_scan *s, esdb *db, uint64_t to, const struct es_visible *visible,
                      struct esdb_error *err) {
    *s = (struct es_back_scan){
        .db = db, .below = visible->end_position, .whole_from = visible->end_position, .visible = *visible};
    if (to < s->below)
        s->below = to + 1;
    int rc = es_segment_list(db, &s->names, &s->left, err);
    while (rc == 0 && s->left > 0 && s->names[s->left - 1] > visible->segment)
        s->left--;
    return rc;
}

void es_back_scan_release(struct es_back_scan *s) {
    free(s->names);
    s->names = NULL;
    es_window_release(&s->window);
}

/* Told once: the next call goes on as if they had been read. */
static int tell_missing(struct es_back_scan *s, uint64_t from, struct esdb_error *err) {
    uint64_t to = s->whole_from - 1;
    s->whole_from = from;
    return es_fail_at(err, ESDB_ECORRUPT, "log", 0, "%s/log: positions %llu to %llu are missing", s->db->path,
                      (unsigned long long)from, (unsigned long long)to);
}

static int open_view(struct es_back_scan *s, struct esdb_error *err) {
    uint64_t name = s->names[s->left - 1];
    bool active = name == s->visible.segment;
    int rc = es_view_open(s->db, name, active ? s->visible.end_position : UINT64_MAX, &s->view, err);
    if (rc < 0) {
        s->left--;
        s->whole_from = UINT64_MAX;
        return rc;
    }
    uint64_t first = s->view.seg->header.first_position, end = first + s->view.events;
    if (s->whole_from != UINT64_MAX && end < s->whole_from)
        return tell_missing(s, end, err);
    s->whole_from = first;
    s->next = s->view.events;
    if (s->below <= first)
        s->next = 0;
    else if (s->next > s->below - first)
        s->next = s->below - first;
    s->open = true;
    s->segments++;
    return 0;
}

int es_back_scan_next(struct es_back_scan *s, struct fmt_event *out, uint64_t *position, struct esdb_error *err) {
    if (!s->told) {
        s->told = true;
        int rc = es_visible_is_whole(s->db, &s->visible, err);
        if (rc < 0)
            return rc;
    }
    while (s->left > 0) {
        if (!s->open) {
            int rc = open_view(s, err);
            if (rc < 0)
                return rc;
        }
        if (s->next == 0) {
            s->open = false;
            s->left--;
            continue;
        }
        *position = s->view.seg->header.first_position + --s->next;
        int rc = s->view.seg->is_packed ? es_view_read(&s->view, (uint32_t)s->next, &s->window, out, err)
                                        : es_view_event(&s->view, (uint32_t)s->next, out, err);
        if (rc != ESDB_ENOTFOUND) /* else retention has removed it */
            return rc;
    }
    if (s->whole_from != UINT64_MAX && s->whole_from > 0)
        return tell_missing(s, 0, err);
    return ESDB_END;
}
