#include "frame.h"

#include <assert.h>

#include "bytes.h"
#include "checksum.h"
#include "event.h"

enum {
    AT_MAGIC = 0,
    AT_HEADER_LEN = 4,
    AT_KIND = 6,
    AT_FLAGS = 7,
    AT_FRAME_LEN = 8,
    AT_COUNT = 12,
    AT_INDEX = 16,
    AT_TERM = 24,
    AT_FIRST_POSITION = 32,
    AT_COMMITTED_INDEX = 40,
    AT_INCARNATION = 48,
    AT_CLOCK = 56,
    AT_LAST_EPOCH = 64,
    AT_PREV_CHECKSUM = 72,
    AT_PAYLOAD_CHECKSUM = 80,
    AT_CHECKSUM = 88,
    AT_SYNCED_INDEX = 96,
    AT_SYNCED_CHECKSUM = 104,
};
static_assert(AT_SYNCED_CHECKSUM + 8 == FMT_FRAME_HEADER_SIZE, "frame header is 112 bytes");

const char fmt_newer_frame[] = "frame is of a kind that this version does not know";

void fmt_frame_encode(struct fmt_frame *f, unsigned char *out) {
    f->header_len = FMT_FRAME_HEADER_SIZE;
    fmt_put32(out + AT_MAGIC, FMT_FRAME_MAGIC);
    fmt_put16(out + AT_HEADER_LEN, f->header_len);
    out[AT_KIND] = f->kind;
    out[AT_FLAGS] = f->flags;
    fmt_put32(out + AT_FRAME_LEN, f->frame_len);
    fmt_put32(out + AT_COUNT, f->count);
    fmt_put64(out + AT_INDEX, f->index);
    fmt_put64(out + AT_TERM, f->term);
    fmt_put64(out + AT_FIRST_POSITION, f->first_position);
    fmt_put64(out + AT_COMMITTED_INDEX, f->committed_index);
    fmt_put64(out + AT_INCARNATION, f->incarnation);
    fmt_put64(out + AT_CLOCK, f->clock_us);
    fmt_put64(out + AT_LAST_EPOCH, f->last_epoch_us);
    fmt_put64(out + AT_PREV_CHECKSUM, f->prev_checksum);
    fmt_put64(out + AT_PAYLOAD_CHECKSUM, f->payload_checksum);
    f->checksum = fmt_checksum(out, AT_CHECKSUM);
    fmt_put64(out + AT_CHECKSUM, f->checksum);
    fmt_put64(out + AT_SYNCED_INDEX, f->synced_index);
    fmt_put64(out + AT_SYNCED_CHECKSUM, fmt_fold(f->checksum, f->synced_index));
    f->synced_intact = true;
}

/* The rules on lengths and counts that hold for a header whose checksum is right. */
static const char *check_lengths(const struct fmt_frame *f) {
    if (f->header_len < FMT_FRAME_HEADER_SIZE || f->header_len % 8 != 0)
        return "frame header length is out of range";
    size_t more =
        f->kind == FMT_FRAME_THINNED && f->count <= FMT_FRAME_EVENTS_MAX ? fmt_thinned_head_size(f->count) : 0;
    if (f->frame_len < f->header_len || f->frame_len % 8 != 0 || f->frame_len > FMT_FRAME_SIZE_MAX + more)
        return "frame length is out of range";
    uint32_t payload = f->frame_len - f->header_len;
    if (f->count > FMT_FRAME_EVENTS_MAX || f->count > payload / FMT_EVENT_HEADER_SIZE)
        return "event count is out of range";
    if (fmt_frame_has_events(f) != (f->count > 0))
        return "event count does not fit the kind of frame";
    if (f->kind == FMT_FRAME_HOLE && payload < FMT_HOLE_SIZE)
        return "hole frame is too short";
    if (f->kind == FMT_FRAME_THINNED && payload < fmt_thinned_head_size(1))
        return "thinned frame is too short";
    if (f->kind >= FMT_FRAME_KIND_REFUSE && f->kind != FMT_FRAME_THINNED)
        return fmt_newer_frame;
    if (f->index == 0)
        return "frame index is zero";
    return NULL;
}

const char *fmt_frame_decode(const unsigned char *at, size_t room, struct fmt_frame *out) {
    if (room < FMT_FRAME_HEADER_SIZE)
        return "frame header is cut short";
    if (fmt_get32(at + AT_MAGIC) != FMT_FRAME_MAGIC)
        return "no frame magic";
    struct fmt_frame f = {
        .kind = at[AT_KIND],
        .flags = at[AT_FLAGS],
        .header_len = fmt_get16(at + AT_HEADER_LEN),
        .frame_len = fmt_get32(at + AT_FRAME_LEN),
        .count = fmt_get32(at + AT_COUNT),
        .index = fmt_get64(at + AT_INDEX),
        .term = fmt_get64(at + AT_TERM),
        .first_position = fmt_get64(at + AT_FIRST_POSITION),
        .committed_index = fmt_get64(at + AT_COMMITTED_INDEX),
        .incarnation = fmt_get64(at + AT_INCARNATION),
        .clock_us = fmt_get64(at + AT_CLOCK),
        .last_epoch_us = fmt_get64(at + AT_LAST_EPOCH),
        .prev_checksum = fmt_get64(at + AT_PREV_CHECKSUM),
        .payload_checksum = fmt_get64(at + AT_PAYLOAD_CHECKSUM),
        .checksum = fmt_get64(at + AT_CHECKSUM),
        .synced_index = fmt_get64(at + AT_SYNCED_INDEX),
    };
    if (fmt_checksum(at, AT_CHECKSUM) != f.checksum)
        return "frame header checksum is wrong";
    const char *wrong = check_lengths(&f);
    if (wrong)
        return wrong;
    f.synced_intact = fmt_get64(at + AT_SYNCED_CHECKSUM) == fmt_fold(f.checksum, f.synced_index);
    if (!f.synced_intact)
        f.synced_index = 0;
    *out = f;
    return NULL;
}

bool fmt_frame_absent(const unsigned char *at, size_t room) {
    return fmt_all_zero(at, room < FMT_FRAME_HEADER_SIZE ? room : FMT_FRAME_HEADER_SIZE);
}

static const char *check_hole(const struct fmt_frame *f, const unsigned char *frame, struct fmt_hole *h) {
    fmt_hole_decode(frame + f->header_len, h);
    if (h->last_index < f->index || h->end_position < f->first_position || h->last_term < f->term)
        return "hole ends before it begins";
    return NULL;
}

/* ---- events of a frame ---- */

#define AT_RUNS (FMT_HOLE_SIZE + 8)

size_t fmt_thinned_head_size(uint32_t runs) {
    return AT_RUNS + runs * (size_t)8 + 8;
}

void fmt_thinned_run(unsigned char *payload, uint32_t i, uint32_t first, uint32_t ordinal) {
    fmt_put32(payload + AT_RUNS + i * (size_t)8, first);
    fmt_put32(payload + AT_RUNS + i * (size_t)8 + 4, ordinal);
}

uint64_t fmt_thinned_head_seal(const struct fmt_hole *h, uint32_t runs, unsigned char *payload) {
    size_t size = fmt_thinned_head_size(runs);
    fmt_hole_encode(h, payload);
    fmt_put64(payload + FMT_HOLE_SIZE, runs);
    uint64_t checksum = fmt_checksum(payload, size - 8);
    fmt_put64(payload + size - 8, checksum);
    return checksum;
}

static uint32_t run_first(const struct fmt_frame_events *e, uint32_t run) {
    return fmt_get32(e->runs + run * (size_t)8);
}

uint32_t fmt_frame_ordinal(const struct fmt_frame_events *e, uint32_t i) {
    uint32_t low = 0, high = e->run_count; /* the run is in low .. high - 1 */
    if (!e->runs)
        return i;
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (run_first(e, middle) <= i)
            low = middle;
        else
            high = middle;
    }
    return fmt_get32(e->runs + low * (size_t)8 + 4) + (i - run_first(e, low));
}

/* Runs ascend, the first begins with event 0, and between two there is a gap. */
static bool runs_fit(const struct fmt_frame *f, const struct fmt_frame_events *e) {
    uint64_t end = 0, removed = 0, room = e->end_position - f->first_position;
    for (uint32_t i = 0; i < e->run_count; i++) {
        uint64_t first = run_first(e, i), ordinal = fmt_get32(e->runs + i * (size_t)8 + 4);
        if (i == 0 ? first != 0 : first <= end)
            return false;
        if (first >= f->count || ordinal < first || ordinal - first < removed + (i > 0))
            return false;
        end = first;
        removed = ordinal - first;
    }
    return f->count + removed <= room;
}

const char *fmt_frame_find_events(const struct fmt_frame *f, const unsigned char *frame, struct fmt_frame_events *out) {
    struct fmt_hole h;
    *out = (struct fmt_frame_events){.at = f->header_len, .end_position = f->first_position + f->count};
    if (f->kind == FMT_FRAME_EVENTS)
        return NULL;
    const unsigned char *payload = frame + f->header_len;
    uint64_t runs = fmt_get64(payload + FMT_HOLE_SIZE);
    size_t size = runs <= f->count ? fmt_thinned_head_size((uint32_t)runs) : 0;
    if (runs == 0 || size == 0 || size > f->frame_len - f->header_len)
        return "number of runs is out of range";
    out->chain = fmt_get64(payload + size - 8);
    if (fmt_checksum(payload, size - 8) != out->chain)
        return "checksum of what was removed is wrong";
    const char *wrong = check_hole(f, frame, &h);
    if (wrong)
        return wrong;
    out->at += size;
    out->runs = payload + AT_RUNS;
    out->run_count = (uint32_t)runs;
    out->end_position = h.end_position;
    return runs_fit(f, out) ? NULL : "events of a thinned frame are out of order";
}

static const char *check_events(const struct fmt_frame *f, const unsigned char *frame, size_t *bad_offset) {
    struct fmt_frame_events events;
    *bad_offset = f->header_len;
    const char *bad = fmt_frame_find_events(f, frame, &events);
    if (bad)
        return bad;
    uint64_t fold = events.chain;
    size_t at = events.at;
    for (uint32_t i = 0; i < f->count; i++) {
        struct fmt_event e;
        *bad_offset = at;
        const char *wrong = fmt_event_decode(frame + at, f->frame_len - at, &e);
        if (wrong && wrong != fmt_newer_event)
            return wrong;
        if (!fmt_event_intact(frame + at, &e))
            return "event checksum is wrong";
        if (wrong)
            return wrong;
        fold = fmt_fold(fold, e.checksum);
        at += e.event_len;
    }
    *bad_offset = f->header_len;
    if (at != f->frame_len)
        return "events do not fill the frame";
    if (fold != f->payload_checksum)
        return "payload checksum is wrong";
    return NULL;
}

const char *fmt_frame_check(const struct fmt_frame *f, const unsigned char *frame, size_t *bad_offset) {
    if (fmt_frame_has_events(f))
        return check_events(f, frame, bad_offset);
    *bad_offset = f->header_len;
    if (fmt_checksum(frame + f->header_len, f->frame_len - f->header_len) != f->payload_checksum)
        return "payload checksum is wrong";
    struct fmt_hole h;
    return f->kind == FMT_FRAME_HOLE ? check_hole(f, frame, &h) : NULL;
}

void fmt_hole_decode(const unsigned char *p, struct fmt_hole *out) {
    *out = (struct fmt_hole){fmt_get64(p),      fmt_get64(p + 8),  fmt_get64(p + 16),
                             fmt_get64(p + 24), fmt_get64(p + 32), fmt_get64(p + 40)};
}

void fmt_hole_encode(const struct fmt_hole *h, unsigned char out[FMT_HOLE_SIZE]) {
    fmt_put64(out, h->last_index);
    fmt_put64(out + 8, h->last_term);
    fmt_put64(out + 16, h->end_position);
    fmt_put64(out + 24, h->carried_checksum);
    fmt_put64(out + 32, h->decision_index);
    fmt_put64(out + 40, h->last_epoch_us);
}
