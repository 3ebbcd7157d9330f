/* packed.h: the blocks of a compressed segment. FORMAT.md section 3.
 *
 * A compressed segment stands for a plain one, its content: header, blocks one after the other, table. Block i holds bytes
 * i * block_size .. (i + 1) * block_size of the content; the first one only those behind the header, the last one those
 * that there are. It is a frame of zstd, or, when that is not shorter, the bytes as they are. The table, at table_offset:
 *
 *   0  16 each  blocks
 *        0  u32  offset      in the file, right behind the block before
 *        4  u32  stored_len
 *        8  u64  checksum   fold(XXH3-64 of the stored bytes, i)
 *      u64      checksum    fold(XXH3-64 of all entries, checksum of the segment header)
 *
 * An entry is proven by its block's checksum, so that a damaged table costs no more than the entries that are damaged.
 * A block that cannot be had reads as zeros. */
#ifndef FMT_PACKED_H
#define FMT_PACKED_H

#include "segment.h"

#define FMT_PACKED_BLOCK_MIN (16u << 10)
#define FMT_PACKED_BLOCK_MAX (1u << 20)
/* What is written. Against 64 KiB: a fortieth more bytes, and events that lie scattered are read in 60 % of the time. */
#define FMT_PACKED_BLOCK (32u << 10)
#define FMT_PACKED_ENTRY_SIZE 16u

static inline bool fmt_is_packed(const struct fmt_segment *s) {
    return (s->features_required & FMT_FEATURE_COMPRESSED) != 0;
}

/* The header of the content. */
struct fmt_segment fmt_packed_plain(const struct fmt_segment *s);

/* Of a packed segment: how many blocks it has, and bytes of its table. */
uint32_t fmt_packed_count(const struct fmt_segment *s);
size_t fmt_packed_table_size(const struct fmt_segment *s);

struct fmt_packed_block {
    uint64_t offset; /* in the file */
    uint32_t stored_len;
    uint64_t checksum;
    uint64_t content_offset; /* where its bytes begin in the content */
    uint32_t len;            /* how many those are */
};

/* Where block i is, by its entry alone; `file` is all `size` bytes of the file. False: there is no entry for it. */
bool fmt_packed_entry(const struct fmt_segment *s, const unsigned char *file, size_t size, uint32_t i,
                      struct fmt_packed_block *out);

/* Where block i is, and that it is whole; stored_len == len: its bytes are stored as they are. NULL, or what is wrong with it. */
const char *fmt_packed_find(const struct fmt_segment *s, const unsigned char *file, size_t size, uint32_t i,
                            struct fmt_packed_block *out);

/* NULL, or what is wrong with the table or the size of the file; blocks may be good all the same. */
const char *fmt_packed_table_check(const struct fmt_segment *s, const unsigned char *file, size_t size);

/* Writing: the entry of block number i, stored at offset, and the checksum behind all entries. */
void fmt_packed_entry_encode(const struct fmt_packed_block *b, unsigned char out[FMT_PACKED_ENTRY_SIZE]);
uint64_t fmt_packed_checksum(const unsigned char *stored, size_t len, uint32_t i);
uint64_t fmt_packed_table_checksum(const unsigned char *entries, size_t len, uint64_t header_checksum);

#endif
