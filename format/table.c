#include "table.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "bytes.h"
#include "checksum.h"

/* Of every block. */
enum {
    AT_NUMBER = 0,
    AT_ENTRIES = 4,
    AT_SECTION = 6,
    AT_PAYLOAD = 8,
    AT_CHECKSUM = 4088,
};
static_assert(AT_PAYLOAD + FMT_BLOCK_PAYLOAD == AT_CHECKSUM, "payload fills the block");
static_assert(AT_CHECKSUM + 8 == FMT_BLOCK_SIZE, "a block is 4096 bytes");

/* Of the header's payload. */
enum {
    AT_MAGIC = 0,
    AT_VERSION = 8,
    AT_KIND = 12,
    AT_FEATURES_OPTIONAL = 16,
    AT_FEATURES_REQUIRED = 24,
    AT_FIRST_INDEX = 32,
    AT_LAST_INDEX = 40,
    AT_FIRST_POSITION = 48,
    AT_END_POSITION = 56,
    AT_LAST_CHECKSUM = 64,
    AT_LOG_SIZE = 72,
    AT_FIRST_EPOCH = 80,
    AT_LAST_EPOCH = 88,
    AT_BLOCK_COUNT = 96,
    AT_SECTION_COUNT = 100,
    AT_SECTIONS = 104,
    AT_LOG_REWRITTEN = 616,
    SECTION_SIZE = 32,
};
static_assert(AT_SECTIONS + SECTION_SIZE * FMT_TABLE_SECTIONS_MAX == AT_LOG_REWRITTEN, "behind the sections");

enum { ENTRY_HEADER = 4, CHILD_SIZE = 4 }; /* of a sorted key: two lengths; the value in a parent */

int fmt_key_compare(struct fmt_text a, struct fmt_text b) {
    size_t len = a.len < b.len ? a.len : b.len;
    int order = len ? memcmp(a.at, b.at, len) : 0;
    return order ? order : (a.len > b.len) - (a.len < b.len);
}

/* ---- building ---- */

void fmt_table_begin(struct fmt_table_builder *b, const struct fmt_table_header *h, fmt_block_sink sink,
                     void *context) {
    *b = (struct fmt_table_builder){.sink = sink, .context = context, .header = *h, .next_block = 1};
}

/* Hands out the block being filled and starts an empty one. */
static int emit(struct fmt_table_builder *b, uint32_t number, uint16_t section) {
    fmt_put32(b->block + AT_NUMBER, number);
    fmt_put16(b->block + AT_ENTRIES, b->entries);
    fmt_put16(b->block + AT_SECTION, section);
    fmt_put64(b->block + AT_CHECKSUM, fmt_checksum(b->block, AT_CHECKSUM));
    int rc = b->sink(b->context, number, b->block);
    memset(b->block, 0, sizeof b->block);
    b->used = 0;
    b->entries = 0;
    return rc;
}

static struct fmt_section *current(struct fmt_table_builder *b) {
    assert(b->section_count > 0);
    return &b->section[b->section_count - 1];
}

static int emit_next(struct fmt_table_builder *b) {
    if (b->next_block == UINT32_MAX)
        return -E2BIG;
    struct fmt_section *s = current(b);
    s->block_count++;
    return emit(b, b->next_block++, s->type);
}

static void begin_section(struct fmt_table_builder *b, enum fmt_table_section type, uint16_t entry_size) {
    assert(b->section_count < FMT_TABLE_SECTIONS_MAX && b->entries == 0);
    b->section[b->section_count++] =
        (struct fmt_section){.type = (uint16_t)type, .entry_size = entry_size, .first_block = b->next_block};
}

void fmt_table_array_begin(struct fmt_table_builder *b, enum fmt_table_section type, uint16_t entry_size) {
    assert(entry_size > 0 && entry_size <= FMT_BLOCK_PAYLOAD);
    begin_section(b, type, entry_size);
}

int fmt_table_array_put(struct fmt_table_builder *b, const void *entry) {
    struct fmt_section *s = current(b);
    memcpy(b->block + AT_PAYLOAD + b->used, entry, s->entry_size);
    b->used += s->entry_size;
    b->entries++;
    s->entry_count++;
    return b->used + s->entry_size > FMT_BLOCK_PAYLOAD ? emit_next(b) : 0;
}

int fmt_table_array_end(struct fmt_table_builder *b) {
    return b->entries ? emit_next(b) : 0;
}

void fmt_table_keys_begin(struct fmt_table_builder *b, enum fmt_table_section type) {
    begin_section(b, type, 0);
}

/* Adds an entry to the block of the given level, after finishing it when there is no room. */
static int put_key(struct fmt_table_builder *b, const struct fmt_fences *fences, unsigned level, struct fmt_text key,
                   const void *value, size_t value_len) {
    size_t len = ENTRY_HEADER + key.len + value_len;
    int rc = 0;
    if (b->used + len > FMT_BLOCK_PAYLOAD)
        rc = emit_next(b);
    if (rc == 0 && b->entries == 0)
        rc = fences->add(fences->context, level, key.at, key.len, b->next_block);
    if (rc < 0)
        return rc;
    unsigned char *to = b->block + AT_PAYLOAD + b->used;
    fmt_put16(to, (uint16_t)key.len);
    fmt_put16(to + 2, (uint16_t)value_len);
    if (key.len)
        memcpy(to + ENTRY_HEADER, key.at, key.len);
    memcpy(to + ENTRY_HEADER + key.len, value, value_len);
    b->used += len;
    b->entries++;
    return 0;
}

int fmt_table_keys_put(struct fmt_table_builder *b, const struct fmt_fences *fences, struct fmt_text key,
                       const void *value, size_t value_len) {
    struct fmt_section *s = current(b);
    assert(s->entry_size == 0 && key.len <= FMT_TABLE_KEY_MAX && value_len <= FMT_TABLE_VALUE_MAX);
    assert(s->entry_count == 0 || fmt_key_compare((struct fmt_text){b->last_key, b->last_key_len}, key) < 0);
    int rc = put_key(b, fences, 0, key, value, value_len);
    if (rc < 0)
        return rc;
    s->entry_count++;
    b->last_key_len = key.len;
    if (key.len)
        memcpy(b->last_key, key.at, key.len);
    return 0;
}

/* One level of parents over the level below. *count: how many blocks it has. */
static int put_parents(struct fmt_table_builder *b, const struct fmt_fences *fences, unsigned level, uint32_t *count) {
    uint32_t before = current(b)->block_count, child;
    struct fmt_text fence;
    for (size_t i = 0; fences->get(fences->context, level - 1, i, &fence, &child); i++) {
        char copy[FMT_TABLE_KEY_MAX]; /* fence is valid only until the next add */
        unsigned char value[CHILD_SIZE];
        if (fence.len)
            memcpy(copy, fence.at, fence.len);
        fmt_put32(value, child);
        int rc = put_key(b, fences, level, (struct fmt_text){copy, fence.len}, value, sizeof value);
        if (rc < 0)
            return rc;
    }
    int rc = emit_next(b);
    *count = current(b)->block_count - before;
    return rc;
}

int fmt_table_keys_end(struct fmt_table_builder *b, const struct fmt_fences *fences) {
    struct fmt_section *s = current(b);
    if (s->entry_count == 0)
        return 0;
    int rc = emit_next(b);
    s->leaf_count = s->block_count;
    uint32_t count = s->leaf_count;
    for (unsigned level = 1; rc == 0 && count > 1; level++) {
        if (level == FMT_TREE_LEVELS)
            return -E2BIG;
        rc = put_parents(b, fences, level, &count);
    }
    return rc;
}

int fmt_table_end(struct fmt_table_builder *b) {
    const struct fmt_table_header *h = &b->header;
    unsigned char *p = b->block + AT_PAYLOAD;
    assert(b->entries == 0);
    memcpy(p + AT_MAGIC, FMT_TABLE_MAGIC, 8);
    fmt_put32(p + AT_VERSION, FMT_VERSION);
    fmt_put32(p + AT_KIND, h->kind);
    fmt_put64(p + AT_FIRST_INDEX, h->first_index);
    fmt_put64(p + AT_LAST_INDEX, h->last_index);
    fmt_put64(p + AT_FIRST_POSITION, h->first_position);
    fmt_put64(p + AT_END_POSITION, h->end_position);
    fmt_put64(p + AT_LAST_CHECKSUM, h->last_checksum);
    fmt_put64(p + AT_LOG_SIZE, h->log_size);
    fmt_put64(p + AT_FIRST_EPOCH, h->first_epoch_us);
    fmt_put64(p + AT_LAST_EPOCH, h->last_epoch_us);
    fmt_put64(p + AT_LOG_REWRITTEN, h->log_rewritten_us);
    fmt_put32(p + AT_BLOCK_COUNT, b->next_block);
    fmt_put32(p + AT_SECTION_COUNT, b->section_count);
    for (uint32_t i = 0; i < b->section_count; i++) {
        const struct fmt_section *s = &b->section[i];
        unsigned char *to = p + AT_SECTIONS + (size_t)SECTION_SIZE * i;
        fmt_put16(to, s->type);
        fmt_put16(to + 2, s->entry_size);
        fmt_put32(to + 4, s->first_block);
        fmt_put32(to + 8, s->block_count);
        fmt_put32(to + 12, s->leaf_count);
        fmt_put64(to + 16, s->entry_count);
    }
    return emit(b, 0, 0);
}

/* ---- reading ---- */

static const char *decode_header(struct fmt_table *t, const unsigned char *p) {
    if (memcmp(p + AT_MAGIC, FMT_TABLE_MAGIC, 8) != 0)
        return "no table magic";
    if (fmt_get32(p + AT_VERSION) > FMT_VERSION || fmt_get64(p + AT_FEATURES_REQUIRED) != 0)
        return "table is of a newer format";
    t->header = (struct fmt_table_header){
        .kind = fmt_get32(p + AT_KIND),
        .first_index = fmt_get64(p + AT_FIRST_INDEX),
        .last_index = fmt_get64(p + AT_LAST_INDEX),
        .first_position = fmt_get64(p + AT_FIRST_POSITION),
        .end_position = fmt_get64(p + AT_END_POSITION),
        .last_checksum = fmt_get64(p + AT_LAST_CHECKSUM),
        .log_size = fmt_get64(p + AT_LOG_SIZE),
        .first_epoch_us = fmt_get64(p + AT_FIRST_EPOCH),
        .last_epoch_us = fmt_get64(p + AT_LAST_EPOCH),
        .log_rewritten_us = fmt_get64(p + AT_LOG_REWRITTEN),
    };
    t->block_count = fmt_get32(p + AT_BLOCK_COUNT);
    t->section_count = fmt_get32(p + AT_SECTION_COUNT);
    if (t->block_count == 0 || (uint64_t)t->block_count * FMT_BLOCK_SIZE != t->size)
        return "table has not the size that it claims";
    if (t->section_count > FMT_TABLE_SECTIONS_MAX)
        return "number of sections is out of range";
    return NULL;
}

/* The section at `p` must begin at block `next`. */
static const char *decode_section(struct fmt_section *s, const unsigned char *p, uint32_t next, uint32_t block_count) {
    *s = (struct fmt_section){.type = fmt_get16(p),
                              .entry_size = fmt_get16(p + 2),
                              .first_block = fmt_get32(p + 4),
                              .block_count = fmt_get32(p + 8),
                              .leaf_count = fmt_get32(p + 12),
                              .entry_count = fmt_get64(p + 16)};
    if (s->first_block != next || s->block_count > block_count - next)
        return "blocks of a section are out of range";
    if (s->entry_size > FMT_BLOCK_PAYLOAD)
        return "entry size is out of range";
    if (s->entry_size) {
        uint32_t each = FMT_BLOCK_PAYLOAD / s->entry_size;
        if (s->entry_count / each + (s->entry_count % each != 0) != s->block_count)
            return "number of entries does not fit the blocks";
    } else if (s->leaf_count > s->block_count || (s->leaf_count == 0) != (s->block_count == 0) ||
               (s->leaf_count == 0) != (s->entry_count == 0)) {
        return "number of leaves is out of range";
    }
    return NULL;
}

bool fmt_block_intact(const unsigned char *block) {
    return fmt_checksum(block, AT_CHECKSUM) == fmt_get64(block + AT_CHECKSUM);
}

const char *fmt_table_open(struct fmt_table *t, const unsigned char *base, size_t size) {
    *t = (struct fmt_table){.base = base, .size = size, .block_count = 1};
    if (size < FMT_BLOCK_SIZE)
        return "table is cut short";
    if (!fmt_block_intact(base))
        return "table header checksum is wrong";
    if (fmt_get32(base + AT_NUMBER) != 0 || fmt_get16(base + AT_SECTION) != 0)
        return "first block is not a table header";
    const char *wrong = decode_header(t, base + AT_PAYLOAD);
    uint32_t next = 1;
    for (uint32_t i = 0; !wrong && i < t->section_count; i++) {
        wrong = decode_section(&t->section[i], base + AT_PAYLOAD + AT_SECTIONS + (size_t)SECTION_SIZE * i, next,
                               t->block_count);
        next += t->section[i].block_count;
    }
    if (!wrong && next != t->block_count)
        wrong = "sections do not fill the table";
    return wrong;
}

const struct fmt_section *fmt_table_find(const struct fmt_table *t, enum fmt_table_section type) {
    for (uint32_t i = 0; i < t->section_count; i++)
        if (t->section[i].type == type)
            return &t->section[i];
    return NULL;
}

const char *fmt_table_open_source(struct fmt_table *t, const unsigned char *block0, size_t size,
                                  const struct fmt_block_source *source) {
    const char *wrong = fmt_table_open(t, block0, size);
    t->base = NULL;
    t->source = source;
    return wrong;
}

const unsigned char *fmt_table_verified(const struct fmt_table *t, uint32_t number) {
    if (t->source)
        return t->source->block(t->source->context, number);
    const unsigned char *block = t->base + (size_t)number * FMT_BLOCK_SIZE;
    unsigned char bit = (unsigned char)(1u << number % 8);
    if (t->verified && (t->verified[number / 8] & bit))
        return block;
    if (!fmt_block_intact(block))
        return NULL;
    if (t->verified)
        t->verified[number / 8] |= bit;
    return block;
}

const unsigned char *fmt_table_block(const struct fmt_table *t, uint32_t number, uint16_t section, uint16_t *entries) {
    if (number == 0 || number >= t->block_count)
        return NULL;
    const unsigned char *block = fmt_table_verified(t, number);
    if (!block || fmt_get32(block + AT_NUMBER) != number || fmt_get16(block + AT_SECTION) != section)
        return NULL;
    *entries = fmt_get16(block + AT_ENTRIES);
    return block + AT_PAYLOAD;
}

const unsigned char *fmt_table_entry(const struct fmt_table *t, const struct fmt_section *s, uint64_t i,
                                     bool *damaged) {
    *damaged = false;
    if (s->entry_size == 0 || i >= s->entry_count)
        return NULL;
    uint32_t each = FMT_BLOCK_PAYLOAD / s->entry_size;
    uint16_t entries;
    const unsigned char *p = fmt_table_block(t, s->first_block + (uint32_t)(i / each), s->type, &entries);
    if (!p || i % each >= entries) {
        *damaged = true;
        return NULL;
    }
    return p + (size_t)(i % each) * s->entry_size;
}

/* Decodes the key entry at offset `at` of a payload and moves `at` past it. False when it does not fit. */
static bool take_entry(const unsigned char *payload, size_t *at, struct fmt_text *key, struct fmt_text *value) {
    if (*at + ENTRY_HEADER > FMT_BLOCK_PAYLOAD)
        return false;
    size_t key_len = fmt_get16(payload + *at), value_len = fmt_get16(payload + *at + 2);
    size_t from = *at + ENTRY_HEADER;
    if (key_len > FMT_TABLE_KEY_MAX || value_len > FMT_TABLE_VALUE_MAX ||
        key_len + value_len > FMT_BLOCK_PAYLOAD - from)
        return false;
    *key = (struct fmt_text){(const char *)payload + from, key_len};
    *value = (struct fmt_text){(const char *)payload + from + key_len, value_len};
    *at = from + key_len + value_len;
    return true;
}

/* The child of a parent block that holds `want`; 0 when the block is damaged. */
static uint32_t find_child(const struct fmt_table *t, const struct fmt_section *s, uint32_t parent,
                           struct fmt_text want) {
    uint16_t entries;
    const unsigned char *payload = fmt_table_block(t, parent, s->type, &entries);
    uint32_t child = 0;
    size_t at = 0;
    for (uint16_t i = 0; payload && i < entries; i++) {
        struct fmt_text key, value;
        if (!take_entry(payload, &at, &key, &value) || value.len != CHILD_SIZE)
            return 0;
        if (i > 0 && fmt_key_compare(key, want) > 0)
            break;
        child = fmt_get32(value.at);
    }
    return child >= s->first_block && child < parent ? child : 0;
}

/* Opens a leaf; the next fmt_table_next gives its first entry. */
static int enter_leaf(struct fmt_table_cursor *c, uint32_t leaf) {
    c->payload = fmt_table_block(c->table, leaf, c->section->type, &c->entries);
    c->leaf = leaf;
    c->entry = UINT16_MAX;
    c->at = 0;
    return c->payload && c->entries > 0 ? 0 : -1;
}

int fmt_table_next(struct fmt_table_cursor *c) {
    uint16_t next = (uint16_t)(c->entry + 1);
    if (next >= c->entries) {
        if (c->leaf + 1 >= c->section->first_block + c->section->leaf_count)
            return 1;
        if (enter_leaf(c, c->leaf + 1) != 0)
            return -1;
        next = 0;
    }
    c->entry = next;
    return take_entry(c->payload, &c->at, &c->key, &c->value) ? 0 : -1;
}

int fmt_table_seek(struct fmt_table_cursor *c, const struct fmt_table *t, const struct fmt_section *s,
                   struct fmt_text key) {
    *c = (struct fmt_table_cursor){.table = t, .section = s};
    if (s->entry_size != 0)
        return -1;
    if (s->leaf_count == 0)
        return 1;
    uint32_t block = s->first_block + s->block_count - 1;
    for (unsigned level = 1; block >= s->first_block + s->leaf_count; level++) {
        block = level < FMT_TREE_LEVELS ? find_child(t, s, block, key) : 0;
        if (block == 0)
            return -1;
    }
    int rc = enter_leaf(c, block);
    while (rc == 0 && (rc = fmt_table_next(c)) == 0)
        if (fmt_key_compare(c->key, key) >= 0)
            break;
    return rc;
}

/* ---- verifying ---- */

static const char *verify_array(const struct fmt_table *t, const struct fmt_section *s, uint32_t *bad_block) {
    uint64_t left = s->entry_count;
    uint32_t each = FMT_BLOCK_PAYLOAD / s->entry_size;
    for (uint32_t i = 0; i < s->block_count; i++) {
        uint16_t entries;
        *bad_block = s->first_block + i;
        if (!fmt_table_block(t, *bad_block, s->type, &entries))
            return "block is damaged";
        if (entries != (left < each ? left : each))
            return "block has a wrong number of entries";
        left -= entries;
    }
    return NULL;
}

static const char *verify_leaves(const struct fmt_table *t, const struct fmt_section *s, uint32_t *bad_block) {
    struct fmt_table_cursor c;
    struct fmt_text last = {NULL, 0};
    uint64_t count = 0;
    *bad_block = s->first_block;
    int rc = 1;
    for (rc = fmt_table_seek(&c, t, s, last); rc == 0; rc = fmt_table_next(&c)) {
        *bad_block = c.leaf;
        if (count++ > 0 && fmt_key_compare(last, c.key) >= 0)
            return "keys are not in order";
        last = c.key;
    }
    if (rc < 0) {
        *bad_block = c.leaf ? c.leaf : s->first_block + s->block_count - 1;
        return "block is damaged";
    }
    return count == s->entry_count ? NULL : "section has a wrong number of keys";
}

/* Walks all parents in file order: their entries name all blocks of the section in order, each by its first key. */
static const char *verify_parents(const struct fmt_table *t, const struct fmt_section *s, uint32_t *bad_block) {
    uint32_t child = s->first_block;
    for (uint32_t parent = s->first_block + s->leaf_count; parent < s->first_block + s->block_count; parent++) {
        uint16_t entries, child_entries;
        const unsigned char *payload = fmt_table_block(t, parent, s->type, &entries);
        size_t at = 0;
        *bad_block = parent;
        if (!payload || entries == 0)
            return "block is damaged";
        for (uint16_t i = 0; i < entries; i++, child++) {
            struct fmt_text key, value, first;
            size_t child_at = 0;
            if (!take_entry(payload, &at, &key, &value) || value.len != CHILD_SIZE || fmt_get32(value.at) != child ||
                child >= parent)
                return "tree is damaged";
            const unsigned char *below = fmt_table_block(t, child, s->type, &child_entries);
            if (!below || !take_entry(below, &child_at, &first, &value) || fmt_key_compare(key, first) != 0)
                return "tree is damaged";
        }
    }
    return s->block_count == 0 || child == s->first_block + s->block_count - 1 ? NULL : "tree is damaged";
}

const char *fmt_table_verify(const struct fmt_table *t, uint32_t *bad_block) {
    struct fmt_table fresh = *t;
    fresh.verified = NULL; /* what was right once may have rotted since */
    *bad_block = 0;
    if (!fmt_table_verified(&fresh, 0))
        return "table header checksum is wrong";
    for (uint32_t i = 0; i < t->section_count; i++) {
        const struct fmt_section *s = &t->section[i];
        const char *wrong = s->entry_size ? verify_array(&fresh, s, bad_block) : verify_leaves(&fresh, s, bad_block);
        if (!wrong && s->entry_size == 0)
            wrong = verify_parents(&fresh, s, bad_block);
        if (wrong)
            return wrong;
    }
    return NULL;
}
