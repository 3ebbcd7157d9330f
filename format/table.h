/* table.h: an immutable file of sorted tables in checksummed 4 KiB blocks: the index of a sealed segment and the stream
 * directory. FORMAT.md section 9. Pure: a builder that hands out finished blocks, a reader over bytes in memory.
 *
 * block:  0 u32 number | 4 u16 entries | 6 u16 section | 8 payload (4080 bytes) | 4088 u64 XXH3-64 of bytes 0..4088
 *         number: of the block in the file; section: its type, 0 in block 0; payload beyond the entries: zeros
 *
 * Block 0 is the header; its payload (offsets from the payload's start):
 *   0  8    magic "ESDBTAB1"
 *   8  u32  version                 FMT_VERSION
 *  12  u32  kind                    FMT_TABLE_SEGMENT or FMT_TABLE_DIRECTORY
 *  16  u64  features_optional
 *  24  u64  features_required
 *  32  u64  first_index             frames covered: first_index .. last_index
 *  40  u64  last_index
 *  48  u64  first_position          positions covered: first_position .. end_position - 1
 *  56  u64  end_position
 *  64  u64  last_checksum           of frame last_index: binds the table to its log
 *  72  u64  log_size                kind SEGMENT: bytes of header and frames
 *  80  u64  first_epoch_us          of the first event; 0 when there is none
 *  88  u64  last_epoch_us
 *  96  u32  block_count             of the file, this block included
 * 100  u32  section_count
 * 104  32 each: u16 type | u16 entry_size (0: sorted keys) | u32 first_block | u32 block_count | u32 leaf_count |
 *               u64 entry_count | u64 zero
 * 616  u64  log_rewritten_us        rewritten_us of the segment that it was made from; of several, the newest
 * The sections follow each other without gaps and fill the file; one without entries has no blocks.
 *
 * Sections with an entry_size are arrays: entry i lies in block first_block + i / (4080 / entry_size).
 * Sections of sorted keys are trees: leaf_count leaves in key order, then their parents level by level, the root last;
 * an entry is u16 key_len | u16 value_len | key | value; in a parent the key is the first key of the child and the value
 * its block number (u32). Keys are compared as bytes, a shorter one before its extensions.
 * A child stands before its parents, so that every way down ends.
 */
#ifndef FMT_TABLE_H
#define FMT_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "event.h"

#define FMT_BLOCK_SIZE 4096u
#define FMT_BLOCK_PAYLOAD 4080u
#define FMT_TABLE_MAGIC "ESDBTAB1"
#define FMT_TABLE_SECTIONS_MAX 16u
#define FMT_TABLE_KEY_MAX FMT_STREAM_NAME_MAX /* with this, a parent block holds at least 15 keys */
#define FMT_TABLE_VALUE_MAX 64u

enum fmt_table_kind { FMT_TABLE_SEGMENT = 1, FMT_TABLE_DIRECTORY = 2 };

/* Section types, never renumbered; unknown ones are ignored. */
enum fmt_table_section {
    FMT_SECTION_EVENTS = 1,   /* array of u32: offset of event i (counted from first_position) in the segment, / 8 */
    FMT_SECTION_FRAMES = 2,   /* array of {u32 offset / 8, u32 first event}, one a frame */
    FMT_SECTION_POSTINGS = 3, /* array of {u32 ordinal, u32 offset8} of events, grouped by stream, ascending */
    FMT_SECTION_STREAMS = 4,  /* keys: stream_id; value: kind SEGMENT {u64 first_version, u32 count, u32 first_posting},
                                 kind DIRECTORY {u32 first_place, u32 places} */
    /* 5 was IDS, of a format that was never released */
    FMT_SECTION_PLACES = 6, /* kind DIRECTORY: array of {u64 segment, u64 first_version, u64 count} */
    FMT_SECTION_DAMAGE = 7, /* kind SEGMENT: array of {u64 offset, u32 first event, u32 events}: what was unreadable
                                 in the segment when its index was made; ascending */
    FMT_SECTION_KEYS = 8, /* kind SEGMENT: array of {u32 hash, u32 event}, ascending: high half of the hash of each key
                               of each event (event_keys.h) */
};

struct fmt_table_header {
    uint32_t kind;
    uint64_t first_index, last_index;
    uint64_t first_position, end_position;
    uint64_t last_checksum;
    uint64_t log_size;
    uint64_t first_epoch_us, last_epoch_us;
    uint64_t log_rewritten_us;
};

/* In the section EVENTS, instead of an offset / 8: */
#define FMT_EVENT_UNREADABLE 0u
#define FMT_EVENT_REMOVED 1u /* by retention; no event lies there: it is inside the segment's header */

/* ---- building ---- */

/* Receives each finished block, in file order except block 0, which comes last (number 0). Returns 0, or a negative code
 * that ends the build and is handed back. */
typedef int (*fmt_block_sink)(void *context, uint32_t number, const unsigned char block[FMT_BLOCK_SIZE]);

#define FMT_TREE_LEVELS 8u /* leaves included; >= 15 keys a parent, so 170 million leaves fit */

struct fmt_section {
    uint16_t type, entry_size;
    uint32_t first_block, block_count, leaf_count;
    uint64_t entry_count;
};

/* The builder: plain memory, nothing to release. */
struct fmt_table_builder {
    fmt_block_sink sink;
    void *context;
    struct fmt_table_header header;
    uint32_t next_block;
    uint32_t section_count;
    struct fmt_section section[FMT_TABLE_SECTIONS_MAX];
    unsigned char block[FMT_BLOCK_SIZE]; /* the one being filled */
    size_t used;                         /* bytes of its payload */
    uint16_t entries;
    size_t last_key_len; /* of the newest key of the section, to check the order */
    char last_key[FMT_TABLE_KEY_MAX];
};

/* Starts a table. h is copied. */
void fmt_table_begin(struct fmt_table_builder *b, const struct fmt_table_header *h, fmt_block_sink sink, void *context);

/* An array section: begin, any number of puts (each entry_size bytes, integers little-endian), end. Return 0 or what the
 * sink returned. */
void fmt_table_array_begin(struct fmt_table_builder *b, enum fmt_table_section type, uint16_t entry_size);
int fmt_table_array_put(struct fmt_table_builder *b, const void *entry);
int fmt_table_array_end(struct fmt_table_builder *b);

/* A section of sorted keys: keys strictly ascending (asserted), at most FMT_TABLE_KEY_MAX bytes, values at most
 * FMT_TABLE_VALUE_MAX. The parents are built from the leaves' first keys, which the caller keeps in `fences`, growable
 * memory behind callbacks, because nothing is allocated here; fmt_table_keys_end reads them back level by level. The
 * fences are empty before the section begins. Return 0, what sink or fences returned, or -E2BIG: too many keys. */
struct fmt_fences {
    /* appends a pair to the list of the given level (0: leaves); returns 0 or a negative code */
    int (*add)(void *context, unsigned level, const char *key, size_t key_len, uint32_t block);
    /* the i-th pair of a level, valid until the next add; false when there is none */
    bool (*get)(void *context, unsigned level, size_t i, struct fmt_text *key, uint32_t *block);
    void *context;
};
void fmt_table_keys_begin(struct fmt_table_builder *b, enum fmt_table_section type);
int fmt_table_keys_put(struct fmt_table_builder *b, const struct fmt_fences *fences, struct fmt_text key,
                       const void *value, size_t value_len);
int fmt_table_keys_end(struct fmt_table_builder *b, const struct fmt_fences *fences);

/* Emits block 0. */
int fmt_table_end(struct fmt_table_builder *b);

/* ---- reading ---- */

/* Where the blocks of a table come from that is not all in memory. */
struct fmt_block_source {
    /* The block, its checksum verified; NULL when it is damaged or cannot be read. Valid until a few others were asked for:
     * at least as many as a look-up touches. */
    const unsigned char *(*block)(void *context, uint32_t number);
    /* From now on blocks are valid as long as the table. 0 or a negative code. */
    int (*hold)(void *context);
    void *context;
};

/* A table in memory (mapped or built), or one whose blocks are fetched. Each block is verified when it is touched; only the first time when the owner
 * sets `verified` to a zeroed bitmap (a bit a block: fmt_table_bitmap_size bytes). A table with a bitmap belongs to one
 * thread. */
struct fmt_table {
    const unsigned char *base; /* borrowed; NULL when there is a source */
    size_t size;
    unsigned char *verified;               /* borrowed; may be NULL */
    const struct fmt_block_source *source; /* borrowed; NULL when there is a base */
    struct fmt_table_header header;
    uint32_t block_count;
    uint32_t section_count;
    struct fmt_section section[FMT_TABLE_SECTIONS_MAX];
};

/* Checks block 0 and that the file has the size it claims. Fills *t (verified: NULL). NULL, or what is wrong. */
const char *fmt_table_open(struct fmt_table *t, const unsigned char *base, size_t size);
static inline size_t fmt_table_bitmap_size(const struct fmt_table *t) {
    return t->block_count / 8 + 1;
}

/* The same for a table whose blocks are fetched. The source is borrowed; block 0 is needed only for this call. */
const char *fmt_table_open_source(struct fmt_table *t, const unsigned char *block0, size_t size,
                                  const struct fmt_block_source *source);

/* For whoever keeps a cursor while others ask the table too: what the cursor shows stays. 0 or a negative code. */
static inline int fmt_table_hold(const struct fmt_table *t) {
    return t->source ? t->source->hold(t->source->context) : 0;
}

/* True when the block of FMT_BLOCK_SIZE bytes carries its checksum. */
bool fmt_block_intact(const unsigned char *block);

/* The section of that type, or NULL. Valid as long as t. */
const struct fmt_section *fmt_table_find(const struct fmt_table *t, enum fmt_table_section type);

/* A whole block, its checksum verified; NULL when it is damaged. number < block_count. */
const unsigned char *fmt_table_verified(const struct fmt_table *t, uint32_t number);

/* The verified payload of a block, or NULL when it is damaged (wrong number, section or checksum, or out of range). */
const unsigned char *fmt_table_block(const struct fmt_table *t, uint32_t number, uint16_t section, uint16_t *entries);

/* Entry i of an array section (entry_size bytes); NULL when i is out of range or the block is damaged (*damaged tells). */
const unsigned char *fmt_table_entry(const struct fmt_table *t, const struct fmt_section *s, uint64_t i, bool *damaged);

/* A place among sorted keys. */
struct fmt_table_cursor {
    const struct fmt_table *table;
    const struct fmt_section *section;
    const unsigned char *payload; /* of the leaf */
    uint32_t leaf;                /* block number */
    uint16_t entries;             /* in the leaf */
    uint16_t entry;               /* which of them */
    size_t at;                    /* where the next one begins in the payload */
    struct fmt_text key;          /* both lead into the table; key.len <= FMT_TABLE_KEY_MAX */
    struct fmt_text value;
};

/* Moves to the first key >= key; an empty key is before all. 0 found (key, value set; maybe greater), 1 none,
 * -1 damaged. s is a section of sorted keys of t; both are borrowed by the cursor. */
int fmt_table_seek(struct fmt_table_cursor *c, const struct fmt_table *t, const struct fmt_section *s,
                   struct fmt_text key);

/* Moves on after a 0. 0, 1 at the end, -1 damaged. */
int fmt_table_next(struct fmt_table_cursor *c);

/* Byte order of keys: <0, 0, >0. */
int fmt_key_compare(struct fmt_text a, struct fmt_text b);

/* Checks every block's checksum, the numbers of entries, the order of keys and the trees. NULL, or what is wrong and in
 * which block. */
const char *fmt_table_verify(const struct fmt_table *t, uint32_t *bad_block);

#endif
