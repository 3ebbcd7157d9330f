/* Any bytes as what follows the header of a compressed segment. The first five bytes say: whether checksums are made right (so
 * that the fuzzer gets behind them) and whether the header stands among the bytes too, how long the content is to be, where
 * the table begins. What a reader does: the header, each block, the table. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "format/bytes.h"
#include "format/checksum.h"
#include "format/packed.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { BEGIN = 5, MAX = 1 << 20 };

static void read_blocks(const struct fmt_segment *s, const unsigned char *file, size_t size) {
    ZSTD_DCtx *d = ZSTD_createDCtx();
    uint32_t count = fmt_packed_count(s);
    assert(d);
    for (uint32_t i = 0; i < count && i < 64; i++) {
        struct fmt_packed_block b;
        if (fmt_packed_find(s, file, size, i, &b))
            continue;
        assert(b.len > 0 && b.len <= s->block_size && b.stored_len <= b.len &&
               b.content_offset + b.len <= s->content_size);
        assert(b.offset >= s->header_len && b.offset + b.stored_len <= size);
        unsigned char *out = malloc(b.len);
        assert(out);
        size_t n = ZSTD_decompressDCtx(d, out, b.len, file + b.offset, b.stored_len);
        assert(ZSTD_isError(n) || n <= b.len);
        free(out);
    }
    struct fmt_packed_block none;
    assert(!fmt_packed_entry(s, file, size, count, &none));
    fmt_packed_table_check(s, file, size);
    ZSTD_freeDCtx(d);
}

/* Entries that lead to bytes get the checksum that belongs to those. */
static void put_right(const struct fmt_segment *s, unsigned char *file, size_t size) {
    for (uint32_t i = 0; i < fmt_packed_count(s) && i < 64; i++) {
        struct fmt_packed_block b;
        if (!fmt_packed_entry(s, file, size, i, &b) || !fmt_inside(b.offset, b.stored_len, size))
            continue;
        size_t at = (size_t)s->table_offset + (size_t)i * FMT_PACKED_ENTRY_SIZE;
        fmt_put64(file + at + 8, fmt_packed_checksum(file + b.offset, b.stored_len, i));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    bool newer;
    if (size < BEGIN || size > MAX)
        return 0;
    size_t len = size - BEGIN + (data[0] & 2 ? 0 : FMT_SEGMENT_HEADER_SIZE);
    unsigned char *file = malloc(len + 1);
    struct fmt_segment s = {.header_len = FMT_SEGMENT_HEADER_SIZE,
                            .version = FMT_VERSION,
                            .features_required = FMT_FEATURE_COMPRESSED,
                            .first_index = 1,
                            .content_size = FMT_SEGMENT_HEADER_SIZE + 1 + (uint64_t)fmt_get16(data + 1) * 16,
                            .table_offset = FMT_SEGMENT_HEADER_SIZE + fmt_get16(data + 3),
                            .block_size = FMT_PACKED_BLOCK_MIN};
    assert(file);
    memcpy(file + len - (size - BEGIN), data + BEGIN, size - BEGIN);
    if (!(data[0] & 2))
        fmt_segment_encode(&s, file);
    else if (len >= FMT_SEGMENT_HEADER_SIZE && data[0] & 1)
        fmt_put64(file + 120, fmt_checksum(file, 120));
    if (!fmt_segment_decode(file, len, &s, &newer) && fmt_is_packed(&s)) {
        assert(fmt_packed_count(&s) > 0 && fmt_packed_count(&s) <= FMT_SEGMENT_FILE_MAX / FMT_PACKED_BLOCK_MIN);
        struct fmt_segment plain = fmt_packed_plain(&s);
        assert(!fmt_is_packed(&plain) && plain.content_size == 0);
        if (data[0] & 1)
            put_right(&s, file, len);
        read_blocks(&s, file, len);
    }
    free(file);
    return 0;
}
