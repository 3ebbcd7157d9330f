#include "piece.h"

#include <string.h>

#include "format/bytes.h"

/* After the head that all messages have (u16 type, u16 zero, u32 size, u64 number):
 *    ASK_MANIFEST  16 u64 first     24 u64 upto      32 u64 checksum
 *    MANIFEST      16 u64 upto      24 u32 count     28 u32 zero       32 outlines, 48 bytes each:
 *                   0 u64 first_index   8 u64 first_position  16 u64 prev_checksum
 *                  24 u64 last_epoch_us 32 u64 last_term      40 u64 size
 *    ASK_PIECE     16 u64 segment   24 u64 offset    32 u32 len        36 u32 zero
 *    PIECE         16 u64 segment   24 u64 offset    32 u32 len        36 u32 zero    40 bytes */

size_t rd_piece_size_max(unsigned type) {
    switch (type) {
    case RD_ASK_MANIFEST:
    case RD_ASK_PIECE:
        return RD_ASK_SIZE;
    case RD_MANIFEST:
        return RD_MANIFEST_HEAD + (size_t)RD_MANIFEST_SEGMENTS_MAX * RD_OUTLINE_SIZE;
    case RD_PIECE:
        return RD_PIECE_HEAD + RD_PIECE_BYTES;
    }
    return 0;
}

static void put_head(unsigned char *out, unsigned type, size_t size, uint64_t number) {
    fmt_put16(out, (uint16_t)type);
    fmt_put16(out + 2, 0);
    fmt_put32(out + 4, (uint32_t)size);
    fmt_put64(out + 8, number);
}

static const char *check_head(const unsigned char *at, size_t len, unsigned type, size_t min, size_t max) {
    if (len < min || len > max || len < REP_MESSAGE_HEAD || fmt_get16(at) != type || fmt_get32(at + 4) != len)
        return "sent a message whose size is impossible";
    return fmt_get16(at + 2) != 0 ? "sent a message whose reserved field is not zero" : NULL;
}

void rd_ask_manifest_encode(const struct rd_ask_manifest *m, unsigned char out[RD_ASK_SIZE]) {
    put_head(out, RD_ASK_MANIFEST, RD_ASK_SIZE, m->number);
    fmt_put64(out + 16, m->first);
    fmt_put64(out + 24, m->upto);
    fmt_put64(out + 32, m->checksum);
}

const char *rd_ask_manifest_decode(const unsigned char *at, size_t len, struct rd_ask_manifest *out) {
    const char *wrong = check_head(at, len, RD_ASK_MANIFEST, RD_ASK_SIZE, RD_ASK_SIZE);
    if (wrong)
        return wrong;
    *out = (struct rd_ask_manifest){fmt_get64(at + 8), fmt_get64(at + 16), fmt_get64(at + 24), fmt_get64(at + 32)};
    return out->first == 0 || out->upto < out->first ? "asked for frames that cannot be" : NULL;
}

void rd_manifest_head(const struct rd_manifest *m, unsigned char out[RD_MANIFEST_HEAD]) {
    put_head(out, RD_MANIFEST, RD_MANIFEST_HEAD + (size_t)m->count * RD_OUTLINE_SIZE, m->number);
    fmt_put64(out + 16, m->upto);
    fmt_put32(out + 24, m->count);
    fmt_put32(out + 28, 0);
}

void rd_outline_encode(const struct es_outline *o, unsigned char out[RD_OUTLINE_SIZE]) {
    fmt_put64(out, o->first_index);
    fmt_put64(out + 8, o->first_position);
    fmt_put64(out + 16, o->prev_checksum);
    fmt_put64(out + 24, o->last_epoch_us);
    fmt_put64(out + 32, o->last_term);
    fmt_put64(out + 40, o->size);
}

void rd_outline_decode(const struct rd_manifest *m, uint32_t i, struct es_outline *out) {
    const unsigned char *at = m->at + (size_t)i * RD_OUTLINE_SIZE;
    *out = (struct es_outline){.first_index = fmt_get64(at),
                               .first_position = fmt_get64(at + 8),
                               .prev_checksum = fmt_get64(at + 16),
                               .last_epoch_us = fmt_get64(at + 24),
                               .last_term = fmt_get64(at + 32),
                               .size = fmt_get64(at + 40)};
}

const char *rd_manifest_decode(const unsigned char *at, size_t len, struct rd_manifest *out) {
    const char *wrong = check_head(at, len, RD_MANIFEST, RD_MANIFEST_HEAD, rd_piece_size_max(RD_MANIFEST));
    if (wrong)
        return wrong;
    struct rd_manifest m = {fmt_get64(at + 8), fmt_get64(at + 16), fmt_get32(at + 24), at + RD_MANIFEST_HEAD};
    if (fmt_get32(at + 28) != 0 || m.count > RD_MANIFEST_SEGMENTS_MAX ||
        len != RD_MANIFEST_HEAD + (size_t)m.count * RD_OUTLINE_SIZE)
        return "sent a manifest that does not fill its message";
    struct es_outline before = {0}, o;
    for (uint32_t i = 0; i < m.count; i++, before = o) {
        rd_outline_decode(&m, i, &o);
        if (o.first_index == 0 || o.first_index > m.upto || (i > 0 && o.first_index <= before.first_index) ||
            o.first_position < before.first_position || o.last_term < before.last_term ||
            o.last_epoch_us < before.last_epoch_us || o.size < FMT_SEGMENT_HEADER_SIZE || o.size > RD_SEGMENT_SIZE_MAX)
            return "sent a manifest that cannot be";
    }
    *out = m;
    return NULL;
}

void rd_ask_piece_encode(const struct rd_ask_piece *m, unsigned char out[RD_ASK_SIZE]) {
    put_head(out, RD_ASK_PIECE, RD_ASK_SIZE, m->number);
    fmt_put64(out + 16, m->segment);
    fmt_put64(out + 24, m->offset);
    fmt_put32(out + 32, m->len);
    fmt_put32(out + 36, 0);
}

static const char *possible_place(uint64_t segment, uint64_t offset) {
    return segment == 0 || offset > RD_SEGMENT_SIZE_MAX ? "named bytes that cannot be" : NULL;
}

const char *rd_ask_piece_decode(const unsigned char *at, size_t len, struct rd_ask_piece *out) {
    const char *wrong = check_head(at, len, RD_ASK_PIECE, RD_ASK_SIZE, RD_ASK_SIZE);
    if (wrong)
        return wrong;
    *out = (struct rd_ask_piece){fmt_get64(at + 8), fmt_get64(at + 16), fmt_get64(at + 24), fmt_get32(at + 32)};
    if (out->len == 0 || out->len > RD_PIECE_BYTES || fmt_get32(at + 36) != 0)
        return "asked for a piece of an impossible size";
    return possible_place(out->segment, out->offset);
}

void rd_piece_head(const struct rd_piece *m, unsigned char out[RD_PIECE_HEAD]) {
    put_head(out, RD_PIECE, RD_PIECE_HEAD + (size_t)m->len, m->number);
    fmt_put64(out + 16, m->segment);
    fmt_put64(out + 24, m->offset);
    fmt_put32(out + 32, m->len);
    fmt_put32(out + 36, 0);
}

const char *rd_piece_decode(const unsigned char *at, size_t len, struct rd_piece *out) {
    const char *wrong = check_head(at, len, RD_PIECE, RD_PIECE_HEAD, RD_PIECE_HEAD + RD_PIECE_BYTES);
    if (wrong)
        return wrong;
    *out = (struct rd_piece){.number = fmt_get64(at + 8),
                             .segment = fmt_get64(at + 16),
                             .offset = fmt_get64(at + 24),
                             .at = at + RD_PIECE_HEAD,
                             .len = fmt_get32(at + 32)};
    if (out->len != len - RD_PIECE_HEAD || fmt_get32(at + 36) != 0)
        return "sent a piece that does not fill its message";
    return possible_place(out->segment, out->offset);
}
