#include "segment.h"

#include <assert.h>
#include <string.h>

#include "bytes.h"
#include "checksum.h"
#include "event.h"
#include "packed.h"

enum {
    AT_MAGIC = 0,
    AT_HEADER_LEN = 8,
    AT_VERSION = 12,
    AT_FEATURES_OPTIONAL = 16,
    AT_FEATURES_REQUIRED = 24,
    AT_FIRST_INDEX = 32,
    AT_FIRST_POSITION = 40,
    AT_PREV_CHECKSUM = 48,
    AT_LAST_EPOCH = 56,
    AT_STORE_ID = 64,
    AT_CREATED = 80,
    AT_LAST_TERM = 88,
    AT_REWRITTEN = 96,
    AT_CONTENT_SIZE = 104,
    AT_TABLE_OFFSET = 108,
    AT_BLOCK_SIZE = 112,
    AT_CHECKSUM = 120,
};
#define STEP (1u << 20) /* bytes that are made readable at once, when it is not known how many will be wanted */

static_assert(AT_CHECKSUM + 8 == FMT_SEGMENT_HEADER_SIZE, "segment header is 128 bytes");

void fmt_segment_encode(const struct fmt_segment *s, unsigned char out[FMT_SEGMENT_HEADER_SIZE]) {
    memset(out, 0, FMT_SEGMENT_HEADER_SIZE);
    memcpy(out, FMT_SEGMENT_MAGIC, 8);
    fmt_put32(out + AT_HEADER_LEN, FMT_SEGMENT_HEADER_SIZE);
    fmt_put32(out + AT_VERSION, s->version);
    fmt_put64(out + AT_FEATURES_OPTIONAL, s->features_optional);
    fmt_put64(out + AT_FEATURES_REQUIRED, s->features_required);
    fmt_put64(out + AT_FIRST_INDEX, s->first_index);
    fmt_put64(out + AT_FIRST_POSITION, s->first_position);
    fmt_put64(out + AT_PREV_CHECKSUM, s->prev_checksum);
    fmt_put64(out + AT_LAST_EPOCH, s->last_epoch_us);
    memcpy(out + AT_STORE_ID, s->store_id, sizeof s->store_id);
    fmt_put64(out + AT_CREATED, s->created_us);
    fmt_put64(out + AT_LAST_TERM, s->last_term);
    fmt_put64(out + AT_REWRITTEN, s->rewritten_us);
    fmt_put32(out + AT_CONTENT_SIZE, (uint32_t)s->content_size);
    fmt_put32(out + AT_TABLE_OFFSET, (uint32_t)s->table_offset);
    fmt_put32(out + AT_BLOCK_SIZE, s->block_size);
    fmt_put64(out + AT_CHECKSUM, fmt_checksum(out, AT_CHECKSUM));
}

/* What only a compressed segment has. */
static const char *check_compressed(const struct fmt_segment *s) {
    if (s->block_size < FMT_PACKED_BLOCK_MIN || s->block_size > FMT_PACKED_BLOCK_MAX ||
        (s->block_size & (s->block_size - 1)) != 0)
        return "size of compressed blocks is out of range";
    if (s->content_size <= s->header_len || s->content_size > FMT_SEGMENT_FILE_MAX)
        return "size before compression is out of range";
    if (s->table_offset < s->header_len || s->table_offset > FMT_SEGMENT_FILE_MAX)
        return "table of compressed blocks is out of range";
    return NULL;
}

const char *fmt_segment_decode(const unsigned char *at, size_t room, struct fmt_segment *out, bool *newer) {
    *newer = false;
    if (room < FMT_SEGMENT_HEADER_SIZE)
        return "segment header is cut short";
    if (memcmp(at, FMT_SEGMENT_MAGIC, 8) != 0)
        return "no segment magic";
    if (fmt_checksum(at, AT_CHECKSUM) != fmt_get64(at + AT_CHECKSUM))
        return "segment header checksum is wrong";
    struct fmt_segment s = {
        .header_len = fmt_get32(at + AT_HEADER_LEN),
        .version = fmt_get32(at + AT_VERSION),
        .features_optional = fmt_get64(at + AT_FEATURES_OPTIONAL),
        .features_required = fmt_get64(at + AT_FEATURES_REQUIRED),
        .first_index = fmt_get64(at + AT_FIRST_INDEX),
        .first_position = fmt_get64(at + AT_FIRST_POSITION),
        .prev_checksum = fmt_get64(at + AT_PREV_CHECKSUM),
        .last_epoch_us = fmt_get64(at + AT_LAST_EPOCH),
        .created_us = fmt_get64(at + AT_CREATED),
        .last_term = fmt_get64(at + AT_LAST_TERM),
        .rewritten_us = fmt_get64(at + AT_REWRITTEN),
    };
    memcpy(s.store_id, at + AT_STORE_ID, sizeof s.store_id);
    if (s.version == 0)
        return "segment has no version";
    if (s.version > FMT_VERSION || (s.features_required & ~FMT_FEATURES_REQUIRED_KNOWN)) {
        *newer = true;
        return "segment is of a newer format";
    }
    if (s.header_len < FMT_SEGMENT_HEADER_SIZE || s.header_len % 8 != 0 || s.header_len > 4096)
        return "segment header length is out of range";
    if (s.first_index == 0)
        return "first frame index is zero";
    if (s.features_required & FMT_FEATURE_COMPRESSED) {
        s.content_size = fmt_get32(at + AT_CONTENT_SIZE);
        s.table_offset = fmt_get32(at + AT_TABLE_OFFSET);
        s.block_size = fmt_get32(at + AT_BLOCK_SIZE);
        const char *wrong = check_compressed(&s);
        if (wrong)
            return wrong;
    }
    *out = s;
    return NULL;
}

void fmt_walk_init(struct fmt_walk *w, const struct fmt_segment *s, const unsigned char *base, size_t size) {
    *w = (struct fmt_walk){.base = base,
                           .size = size,
                           .offset = s->header_len,
                           .index = s->first_index,
                           .position = s->first_position,
                           .prev_checksum = s->prev_checksum,
                           .last_epoch_us = s->last_epoch_us,
                           .term = s->last_term};
}

static int bad(struct fmt_walk *w, size_t offset, const char *what) {
    w->fault = what;
    w->newer = what == fmt_newer_frame || what == fmt_newer_event;
    w->fault_offset = offset;
    return FMT_BAD;
}

int fmt_walk_peek(struct fmt_walk *w, struct fmt_frame *out) {
    size_t room = w->offset < w->size ? w->size - w->offset : 0;
    const unsigned char *at = w->base + w->offset;
    fmt_walk_need(w, w->offset, FMT_FRAME_HEADER_SIZE);
    if (fmt_frame_absent(at, room))
        return FMT_END;
    if (w->rolled)
        return bad(w, w->offset, "bytes after the frame that closes the segment");
    struct fmt_frame f;
    const char *wrong = fmt_frame_decode(at, room, &f);
    if (wrong)
        return bad(w, w->offset, wrong);
    if (f.index != w->index)
        return bad(w, w->offset, "frame index is not the next one");
    if (f.prev_checksum != w->prev_checksum)
        return bad(w, w->offset, "frame does not chain to the one before");
    if (f.first_position != w->position)
        return bad(w, w->offset, "frame position is not the next one");
    if (f.last_epoch_us < w->last_epoch_us)
        return bad(w, w->offset, "time goes backwards");
    if (f.term < w->term)
        return bad(w, w->offset, "term goes backwards");
    if (f.frame_len > room)
        return bad(w, w->offset, "frame is cut short");
    fmt_walk_need(w, w->offset, f.frame_len);
    *out = f;
    return FMT_OK;
}

int fmt_walk_check(struct fmt_walk *w, const struct fmt_frame *f) {
    size_t at = 0;
    const char *wrong = fmt_frame_check(f, w->base + w->offset, &at);
    return wrong ? bad(w, w->offset + at, wrong) : FMT_OK;
}

void fmt_walk_pass(struct fmt_walk *w, const struct fmt_frame *f) {
    w->index = f->index + 1;
    w->position = f->first_position + f->count;
    w->prev_checksum = f->checksum;
    w->last_epoch_us = f->last_epoch_us;
    w->term = f->term;
    w->rolled = (f->flags & FMT_FRAME_ROLLS) != 0;
    if (fmt_frame_is_hole(f)) {
        struct fmt_hole h;
        fmt_hole_decode(w->base + w->offset + f->header_len, &h);
        w->index = h.last_index + 1;
        w->position = h.end_position;
        w->prev_checksum = h.carried_checksum;
        w->term = h.last_term;
        w->last_epoch_us = h.last_epoch_us;
    }
    w->offset += f->frame_len;
}

/* A whole frame of which so much is known. */
static bool is_frame(const struct fmt_walk *w, size_t at, uint64_t min_index, struct fmt_frame *out) {
    size_t bad_at;
    if (fmt_get32(w->base + at) != FMT_FRAME_MAGIC || fmt_frame_decode(w->base + at, w->size - at, out) ||
        out->index < min_index || out->first_position < w->position || out->frame_len > w->size - at)
        return false;
    fmt_walk_need(w, at, out->frame_len);
    return !fmt_frame_check(out, w->base + at, &bad_at);
}

size_t fmt_walk_resync(const struct fmt_walk *w, size_t from, uint64_t min_index, struct fmt_frame *out) {
    size_t at = (from + 7) & ~(size_t)7, there = at;
    for (; at + FMT_FRAME_HEADER_SIZE <= w->size; at += 8) {
        if (w->need && at + FMT_FRAME_HEADER_SIZE > there) {
            fmt_walk_need(w, at, STEP);
            there = at + STEP;
        }
        if (is_frame(w, at, min_index, out))
            return at;
    }
    return 0;
}

bool fmt_walk_rest_is_zero(const struct fmt_walk *w) {
    size_t step;
    for (size_t at = w->offset; at < w->size; at += step) {
        step = w->need && w->size - at > STEP ? STEP : w->size - at;
        fmt_walk_need(w, at, step);
        if (!fmt_all_zero(w->base + at, step))
            return false;
    }
    return true;
}
