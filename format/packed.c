#include "packed.h"

#include "bytes.h"
#include "checksum.h"

struct fmt_segment fmt_packed_plain(const struct fmt_segment *s) {
    struct fmt_segment plain = *s;
    plain.features_required &= ~FMT_FEATURE_COMPRESSED;
    plain.content_size = plain.table_offset = plain.block_size = 0;
    return plain;
}

uint32_t fmt_packed_count(const struct fmt_segment *s) {
    return (uint32_t)((s->content_size + s->block_size - 1) / s->block_size);
}

size_t fmt_packed_table_size(const struct fmt_segment *s) {
    return (size_t)fmt_packed_count(s) * FMT_PACKED_ENTRY_SIZE + 8;
}

uint64_t fmt_packed_checksum(const unsigned char *stored, size_t len, uint32_t i) {
    return fmt_fold(fmt_checksum(stored, len), i);
}

uint64_t fmt_packed_table_checksum(const unsigned char *entries, size_t len, uint64_t header_checksum) {
    return fmt_fold(fmt_checksum(entries, len), header_checksum);
}

void fmt_packed_entry_encode(const struct fmt_packed_block *b, unsigned char out[FMT_PACKED_ENTRY_SIZE]) {
    fmt_put32(out, (uint32_t)b->offset);
    fmt_put32(out + 4, b->stored_len);
    fmt_put64(out + 8, b->checksum);
}

bool fmt_packed_entry(const struct fmt_segment *s, const unsigned char *file, size_t size, uint32_t i,
                      struct fmt_packed_block *out) {
    uint64_t begin = (uint64_t)i * s->block_size, end = begin + s->block_size;
    uint64_t at = s->table_offset + (uint64_t)i * FMT_PACKED_ENTRY_SIZE;
    if (i >= fmt_packed_count(s) || !fmt_inside(at, FMT_PACKED_ENTRY_SIZE, size))
        return false;
    if (end > s->content_size)
        end = s->content_size;
    if (i == 0)
        begin = s->header_len;
    *out = (struct fmt_packed_block){.offset = fmt_get32(file + at),
                                     .stored_len = fmt_get32(file + at + 4),
                                     .checksum = fmt_get64(file + at + 8),
                                     .content_offset = begin,
                                     .len = (uint32_t)(end - begin)};
    return true;
}

const char *fmt_packed_find(const struct fmt_segment *s, const unsigned char *file, size_t size, uint32_t i,
                            struct fmt_packed_block *out) {
    size_t limit = s->table_offset < size ? (size_t)s->table_offset : size;
    struct fmt_packed_block b;
    if (!fmt_packed_entry(s, file, size, i, &b))
        return "the file ends before its entry";
    if (b.stored_len == 0 || b.stored_len > b.len || b.offset < s->header_len ||
        !fmt_inside(b.offset, b.stored_len, limit))
        return "its place is out of range";
    if (fmt_packed_checksum(file + b.offset, b.stored_len, i) != b.checksum)
        return "its checksum is wrong";
    *out = b;
    return NULL;
}

/* Does each block begin where the one before ends, and the table behind the last? */
static bool is_filled(const struct fmt_segment *s, const unsigned char *file, size_t size) {
    uint64_t end = s->header_len;
    struct fmt_packed_block b;
    for (uint32_t i = 0; i < fmt_packed_count(s); i++) {
        if (!fmt_packed_entry(s, file, size, i, &b) || b.offset != end)
            return false;
        end += b.stored_len;
    }
    return end == s->table_offset;
}

const char *fmt_packed_table_check(const struct fmt_segment *s, const unsigned char *file, size_t size) {
    size_t len = fmt_packed_table_size(s);
    if (!fmt_inside(s->table_offset, len, size))
        return "the file ends before the table of blocks does";
    const unsigned char *table = file + s->table_offset;
    if (fmt_packed_table_checksum(table, len - 8, fmt_get64(file + FMT_SEGMENT_HEADER_SIZE - 8)) !=
        fmt_get64(table + len - 8))
        return "checksum of the table of blocks is wrong";
    if (!is_filled(s, file, size))
        return "blocks do not lie one after the other";
    return s->table_offset + len == size ? NULL : "bytes after the table of blocks";
}
