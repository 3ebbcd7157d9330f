#include "thin.h"

#include <errno.h>
#include <string.h>

#include "format/bytes.h"
#include "format/checksum.h"

static int damaged(const struct es_thinner *t, struct esdb_error *err) {
    return es_fail_at(err, ESDB_ECORRUPT, "", t->w.fault_offset, "offset %llu: %s",
                      (unsigned long long)t->w.fault_offset, t->w.fault);
}

/* ---- frames without events, one after the other ---- */

/* What follows a frame chains to, and continues. */
static struct fmt_hole hole_of(const struct es_thinner *t, const struct fmt_frame *f) {
    struct fmt_hole h = {.last_index = f->index,
                         .last_term = f->term,
                         .end_position = f->first_position + f->count,
                         .carried_checksum = f->checksum,
                         .last_epoch_us = f->last_epoch_us};
    if (fmt_frame_is_hole(f))
        fmt_hole_decode(t->w.base + t->w.offset + f->header_len, &h);
    h.decision_index = t->decision_index;
    return h;
}

static int put_hole(struct es_thinner *t) {
    struct es_thin_run *r = &t->run;
    unsigned char bytes[FMT_FRAME_HEADER_SIZE + FMT_HOLE_SIZE];
    struct fmt_frame f = r->first;
    fmt_hole_encode(&r->hole, bytes + FMT_FRAME_HEADER_SIZE);
    f.kind = FMT_FRAME_HOLE;
    f.flags = r->flags;
    f.count = 0;
    f.frame_len = sizeof bytes;
    f.last_epoch_us = r->hole.last_epoch_us;
    f.payload_checksum = fmt_checksum(bytes + FMT_FRAME_HEADER_SIZE, FMT_HOLE_SIZE);
    fmt_frame_encode(&f, bytes);
    return t->put(t->context, bytes, sizeof bytes);
}

/* A hole alone, or a barrier, stays as it is: what was compacted once does not change. */
static int end_run(struct es_thinner *t) {
    struct es_thin_run r = t->run;
    int rc = 0;
    if (r.frames > 0 && !r.removed && r.holes <= 1) /* the walk has gone on since */
        fmt_walk_need(&t->w, r.from, r.to - r.from);
    if (r.frames > 0)
        rc = r.removed || r.holes > 1 ? put_hole(t) : t->put(t->context, t->w.base + r.from, r.to - r.from);
    t->run.frames = 0;
    return rc;
}

static void add_to_run(struct es_thinner *t, const struct fmt_frame *f) {
    struct es_thin_run *r = &t->run;
    if (r->frames == 0)
        *r = (struct es_thin_run){.first = *f, .from = t->w.offset};
    r->frames++;
    r->holes += f->kind == FMT_FRAME_HOLE;
    r->removed |= fmt_frame_has_events(f);
    r->hole = hole_of(t, f);
    r->flags = f->flags;
    r->to = t->w.offset + f->frame_len;
}

/* ---- frames of which some events stay ---- */

static int add_blank(struct es_buffer *out, const struct fmt_event *e) {
    static const unsigned char no_salt[FMT_SALT_SIZE];
    struct fmt_event blank = {.salt = no_salt, .flags = FMT_EVENT_ERASED, .stream_id = e->stream_id};
    size_t size = fmt_event_size(&blank);
    int rc = es_buffer_reserve(out, size);
    if (rc < 0)
        return rc;
    fmt_event_encode(&blank, out->at + out->len);
    fmt_event_seal(out->at + out->len, e->version, e->epoch_us);
    out->len += size;
    return 0;
}

/* How many runs of events without gaps are left. */
static uint32_t count_runs(const struct es_thinner *t, const struct fmt_frame *f,
                           const struct fmt_frame_events *events) {
    uint32_t runs = 0, next = UINT32_MAX;
    for (uint32_t i = 0; i < f->count; i++) {
        if (t->fates.at[i] == ES_REMOVE)
            continue;
        uint32_t ordinal = fmt_frame_ordinal(events, i);
        runs += ordinal != next;
        next = ordinal + 1;
    }
    return runs;
}

/* Header, hole and runs of the new frame take their room; events follow. */
static int begin_frame(struct es_thinner *t, uint32_t runs) {
    size_t head = FMT_FRAME_HEADER_SIZE + fmt_thinned_head_size(runs);
    t->frame.len = 0;
    int rc = es_buffer_reserve(&t->frame, head);
    if (rc == 0)
        t->frame.len = head;
    return rc;
}

/* The events that are left, and where they were. */
static int add_events(struct es_thinner *t, const struct fmt_frame *f, const struct fmt_frame_events *events) {
    const unsigned char *frame = t->w.base + t->w.offset;
    uint32_t runs = 0, next = UINT32_MAX, n = 0;
    size_t at = events->at;
    int rc = 0;
    for (uint32_t i = 0; rc == 0 && i < f->count; i++) {
        struct fmt_event e;
        (void)fmt_event_decode(frame + at, f->frame_len - at, &e); /* it was checked */
        if (t->fates.at[i] != ES_REMOVE) {
            uint32_t ordinal = fmt_frame_ordinal(events, i);
            if (ordinal != next)
                fmt_thinned_run(t->frame.at + FMT_FRAME_HEADER_SIZE, runs++, n, ordinal);
            next = ordinal + 1;
            n++;
        }
        if (t->fates.at[i] == ES_BLANK)
            rc = add_blank(&t->frame, &e);
        else if (t->fates.at[i] == ES_KEEP)
            rc = es_buffer_add(&t->frame, frame + at, e.event_len);
        at += e.event_len;
    }
    return rc;
}

static int put_thinned(struct es_thinner *t, const struct fmt_frame *f, const struct fmt_frame_events *events,
                       uint32_t kept) {
    uint32_t runs = count_runs(t, f, events);
    int rc = begin_frame(t, runs);
    size_t first = t->frame.len;
    if (rc == 0)
        rc = add_events(t, f, events);
    if (rc < 0)
        return rc;
    struct fmt_hole h = hole_of(t, f);
    uint64_t fold = fmt_thinned_head_seal(&h, runs, t->frame.at + FMT_FRAME_HEADER_SIZE);
    for (size_t p = first; p < t->frame.len; p += fmt_event_len(t->frame.at + p))
        fold = fmt_fold(fold, fmt_get64(t->frame.at + p));
    struct fmt_frame out = *f;
    out.kind = FMT_FRAME_THINNED;
    out.count = kept;
    out.frame_len = (uint32_t)t->frame.len;
    out.payload_checksum = fold;
    fmt_frame_encode(&out, t->frame.at);
    return t->put(t->context, t->frame.at, t->frame.len);
}

/* Asks for each event. *kept: how many stay, blank or not; *whole: all as they are. */
static int ask(struct es_thinner *t, const struct fmt_frame *f, const struct fmt_frame_events *events, uint32_t *kept,
               bool *whole) {
    const unsigned char *frame = t->w.base + t->w.offset;
    size_t at = events->at;
    *kept = 0;
    *whole = true;
    t->fates.len = 0;
    int rc = es_buffer_reserve(&t->fates, f->count);
    for (uint32_t i = 0; rc >= 0 && i < f->count; i++) {
        struct fmt_event e;
        (void)fmt_event_decode(frame + at, f->frame_len - at, &e);
        rc = t->fate(t->context, &e);
        if (rc < 0)
            return rc;
        if (rc == ES_BLANK && e.flags & FMT_EVENT_ERASED)
            rc = ES_KEEP;
        t->fates.at[i] = (unsigned char)rc;
        *kept += rc != ES_REMOVE;
        *whole = *whole && rc == ES_KEEP;
        t->events += rc != ES_KEEP;
        at += e.event_len;
    }
    return rc < 0 ? rc : 0;
}

/* ---- all of it ---- */

static int take_frame(struct es_thinner *t, const struct fmt_frame *f) {
    const unsigned char *frame = t->w.base + t->w.offset;
    struct fmt_frame_events events;
    uint32_t kept = 0;
    bool whole = true;
    int rc = 0;
    if (fmt_frame_has_events(f)) {
        (void)fmt_frame_find_events(f, frame, &events);
        rc = ask(t, f, &events, &kept, &whole);
        if (rc == 0 && kept == 0) {
            add_to_run(t, f);
            return 0;
        }
    } else if (f->kind == FMT_FRAME_HOLE || f->kind == FMT_FRAME_BARRIER) {
        add_to_run(t, f);
        return 0;
    }
    if (rc == 0)
        rc = end_run(t);
    if (rc == 0)
        rc = whole ? t->put(t->context, frame, f->frame_len) : put_thinned(t, f, &events, kept);
    return rc;
}

int es_thin(struct es_thinner *t, const unsigned char *base, size_t size, struct esdb_error *err) {
    struct fmt_segment header;
    struct fmt_frame f;
    unsigned char bytes[FMT_SEGMENT_HEADER_SIZE];
    bool newer;
    if (t->need)
        t->need(t->need_context, 0, FMT_SEGMENT_HEADER_SIZE);
    const char *wrong = fmt_segment_decode(base, size, &header, &newer);
    if (wrong)
        return es_fail(err, ESDB_ECORRUPT, "%s", wrong);
    fmt_walk_init(&t->w, &header, base, size);
    t->w.need = t->need;
    t->w.context = t->need_context;
    header.header_len = FMT_SEGMENT_HEADER_SIZE;
    header.rewritten_us = t->rewritten_us;
    fmt_segment_encode(&header, bytes);
    int rc = t->put(t->context, bytes, sizeof bytes), step = FMT_OK;
    while (rc == 0 && (step = fmt_walk_peek(&t->w, &f)) == FMT_OK) {
        if ((step = fmt_walk_check(&t->w, &f)) != FMT_OK)
            break;
        rc = take_frame(t, &f);
        fmt_walk_pass(&t->w, &f);
        bool needs_run = t->run.frames > 0 && !t->run.removed; /* its bytes may be copied yet */
        if (rc == 0 && t->passed)
            t->passed(t->context, needs_run ? t->run.from : t->w.offset);
    }
    if (rc == 0 && step == FMT_BAD)
        return damaged(t, err);
    if (rc == 0)
        rc = end_run(t);
    return rc < 0 ? es_fail(err, rc, "rewriting a segment") : 0;
}

void es_thin_release(struct es_thinner *t) {
    es_buffer_release(&t->fates);
    es_buffer_release(&t->frame);
}
