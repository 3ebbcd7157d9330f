/* The blocks of compressed segments: where each is and what it holds; then the segment that they stand for. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "dump.h"
#include "format/bytes.h"
#include "format/packed.h"

static void put_block(struct dump *d, uint32_t i, const struct fmt_packed_block *b) {
    char range[64];
    snprintf(range, sizeof range, "%llu..%llu", (unsigned long long)b->content_offset,
             (unsigned long long)b->content_offset + b->len - 1);
    cmd_dump_begin(d, b->offset, b->stored_len, "block");
    cmd_dump_number(d, "block", i);
    if (d->json) {
        cmd_dump_number(d, "content_offset", b->content_offset);
        cmd_dump_number(d, "content_length", b->len);
        cmd_dump_checksum(d, "checksum", b->checksum);
        cmd_dump_word(d, "state", "ok");
    } else {
        cmd_dump_word(d, "content", range);
        cmd_dump_word(d, "checksum", "ok");
    }
    cmd_dump_word(d, "stored", b->stored_len == b->len ? "plain" : "zstd");
    cmd_dump_end(d);
}

/* The bytes of a block that was found. NULL, or what is wrong. */
static const char *decompress(ZSTD_DCtx *z, const struct dump *d, const struct fmt_packed_block *b,
                              unsigned char *out) {
    if (b->stored_len == b->len) {
        memcpy(out, d->base + b->offset, b->len);
        return NULL;
    }
    size_t n = ZSTD_decompressDCtx(z, out, b->len, d->base + b->offset, b->stored_len);
    return n == b->len ? NULL : "it does not decompress to what it should";
}

/* The damage of block i, at the block, or, when nobody knows where that is, at its entry. */
static void put_bad(struct dump *d, const struct fmt_segment *s, uint32_t i, const char *wrong) {
    struct fmt_packed_block b = {0};
    char text[160];
    bool there = fmt_packed_entry(s, d->base, d->size, i, &b);
    bool placed = there && b.offset >= s->header_len && fmt_inside(b.offset, b.stored_len, d->size);
    uint64_t entry = s->table_offset + (uint64_t)i * FMT_PACKED_ENTRY_SIZE;
    uint64_t from = (uint64_t)i * s->block_size, to = from + s->block_size;
    to = to < s->content_size ? to : s->content_size;
    snprintf(text, sizeof text, "block %u: %s; offsets %llu to %llu are lost", i, wrong, (unsigned long long)from,
             (unsigned long long)to - 1);
    cmd_dump_damage(d, placed ? b.offset : entry, placed ? b.stored_len : FMT_PACKED_ENTRY_SIZE, text);
}

/* With --bytes: entries, then their checksum. */
static void annotate_table(struct dump *d, const struct fmt_segment *s) {
    uint32_t count = fmt_packed_count(s);
    for (uint32_t i = 0; i <= count; i++) {
        uint64_t at = s->table_offset + (uint64_t)i * FMT_PACKED_ENTRY_SIZE;
        uint64_t len = i < count ? FMT_PACKED_ENTRY_SIZE : 8;
        char name[32];
        snprintf(name, sizeof name, "entry %u", i);
        if (fmt_inside(at, len, d->size) && cmd_dump_wanted(d, at, len))
            cmd_dump_raw_fields(d, at, len, i < count ? name : "table checksum",
                                i < count ? "offset, stored_len, checksum" : "of the entries");
    }
}

bool cmd_dump_blocks(struct dump *d, const struct fmt_segment *s, unsigned char *content) {
    const char *wrong = fmt_packed_table_check(s, d->base, d->size);
    ZSTD_DCtx *z = ZSTD_createDCtx();
    struct fmt_packed_block b;
    char name[32];
    for (uint32_t i = 0; z && i < fmt_packed_count(s); i++) {
        const char *bad = fmt_packed_find(s, d->base, d->size, i, &b);
        if (!bad && d->bytes) {
            snprintf(name, sizeof name, "block %u", i);
            if (cmd_dump_wanted(d, b.offset, b.stored_len))
                cmd_dump_raw_fields(d, b.offset, b.stored_len, name,
                                    b.stored_len == b.len ? "as it is" : "a frame of zstd");
        }
        if (!bad && content)
            bad = decompress(z, d, &b, content + b.content_offset);
        if (bad && content)
            memset(content + (i ? (size_t)i * s->block_size : s->header_len), 0,
                   fmt_packed_entry(s, d->base, d->size, i, &b) ? b.len : 0);
        if (bad)
            put_bad(d, s, i, bad);
        else if (!d->bytes)
            put_block(d, i, &b);
    }
    if (d->bytes)
        annotate_table(d, s);
    if (wrong)
        cmd_dump_damage(d, s->table_offset, s->table_offset < d->size ? d->size - s->table_offset : 0, wrong);
    ZSTD_freeDCtx(z);
    return z != NULL;
}
