/* Any bytes as a table. The first byte says how: 1 the checksums of all blocks are made right, so that the fuzzer gets
 * behind them; 2 with a bitmap of verified blocks; 4 the rest is no table, but changes to a good one: three bytes each,
 * where (16 bits) and what. */
#include <assert.h>
#include <stdlib.h>

#include "format/bytes.h"
#include "format/checksum.h"
#include "format/table.h"
#include "libcore/seal.h"
#include "libcore/table_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void walk(const struct fmt_table *t, const struct fmt_section *s, struct fmt_text from) {
    struct fmt_table_cursor c;
    size_t steps = 0;
    for (int rc = fmt_table_seek(&c, t, s, from); rc == 0; rc = fmt_table_next(&c)) {
        assert(c.key.len <= FMT_TABLE_KEY_MAX && c.value.len <= FMT_TABLE_VALUE_MAX);
        assert(fmt_inside((uint64_t)((const unsigned char *)c.key.at - t->base), c.key.len, t->size));
        assert(fmt_inside((uint64_t)((const unsigned char *)c.value.at - t->base), c.value.len, t->size));
        assert(steps++ <= t->size);
    }
}

static void ask_as_segment(const struct fmt_table *t) {
    struct es_stream_slot slot;
    struct es_frame_place place;
    struct es_buffer found = {0};
    struct es_index_damage damage;
    struct es_event_place posting;
    uint64_t offset;
    if (es_index_stream(t, (struct esdb_text){"a", 1}, &slot) == 0)
        es_index_posting(t, slot.first_posting, &posting);
    es_index_offset(t, 1, &offset);
    es_index_frame_of(t, 5, &place);
    for (uint32_t i = 0; es_index_damage(t, i, &damage) == 0; i++)
        assert(i <= t->size);
    es_index_keys(t, 1ull << 32, UINT64_MAX, &found);
    assert(found.len <= t->size);
    es_buffer_release(&found);
}

static int put_sections(struct fmt_table_builder *b, const struct fmt_fences *fences) {
    static const struct {
        enum fmt_table_section type;
        uint16_t size;
    } arrays[] = {{FMT_SECTION_EVENTS, 4},
                  {FMT_SECTION_FRAMES, 8},
                  {FMT_SECTION_POSTINGS, 8},
                  {FMT_SECTION_KEYS, 8},
                  {FMT_SECTION_DAMAGE, 16}};
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < sizeof arrays / sizeof *arrays; i++) {
        unsigned char entry[16] = {0};
        fmt_table_array_begin(b, arrays[i].type, arrays[i].size);
        for (uint32_t k = 0; rc == 0 && k < 300; k++) {
            fmt_put32(entry, k / 2);
            rc = fmt_table_array_put(b, entry);
        }
        if (rc == 0)
            rc = fmt_table_array_end(b);
    }
    fmt_table_keys_begin(b, FMT_SECTION_STREAMS);
    for (unsigned k = 0; rc == 0 && k < 60; k++) {
        char key[FMT_TABLE_KEY_MAX] = "orders-";
        unsigned char value[16] = {0};
        key[0] = (char)('a' + k / 8);
        key[200] = (char)k;
        rc = fmt_table_keys_put(b, fences, (struct fmt_text){key, 201}, value, sizeof value);
    }
    return rc == 0 ? fmt_table_keys_end(b, fences) : rc;
}

/* A good table with a tree of two levels. */
static const struct es_buffer *good_table(void) {
    static struct es_buffer image;
    if (image.len == 0) {
        struct fmt_table_header h = {.kind = FMT_TABLE_SEGMENT, .first_index = 1, .last_index = 9};
        struct fmt_table_builder b;
        struct es_fences f = {0};
        struct fmt_fences fences = es_fences_of(&f);
        fmt_table_begin(&b, &h, es_table_image_block, &image);
        if (put_sections(&b, &fences) < 0 || fmt_table_end(&b) < 0)
            abort();
        es_fences_release(&f);
    }
    return &image;
}

static unsigned char *make_input(const uint8_t *data, size_t size, size_t *len) {
    const struct es_buffer *good = good_table();
    bool changes = data[0] & 4;
    *len = changes ? good->len : size - 1;
    unsigned char *copy = malloc(*len + 1);
    if (!copy)
        return NULL;
    if (*len)
        memcpy(copy, changes ? good->at : data + 1, *len);
    for (size_t i = 1; changes && i + 3 <= size; i += 3)
        copy[fmt_get16(data + i) % *len] = data[i + 2];
    for (size_t at = 0; data[0] & 1 && at + FMT_BLOCK_SIZE <= *len; at += FMT_BLOCK_SIZE)
        fmt_put64(copy + at + 4088, fmt_checksum(copy + at, 4088));
    return copy;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1 || size > 64 * FMT_BLOCK_SIZE)
        return 0;
    size_t len;
    unsigned char *copy = make_input(data, size, &len), *bitmap = NULL;
    if (!copy)
        return 0;
    struct fmt_table t;
    uint32_t bad = 0;
    if (!fmt_table_open(&t, copy, len)) {
        bitmap = data[0] & 2 ? calloc(1, fmt_table_bitmap_size(&t)) : NULL;
        t.verified = bitmap;
        if (fmt_table_verify(&t, &bad))
            assert(bad < t.block_count);
        for (uint32_t i = 0; i < t.section_count; i++) {
            const struct fmt_section *s = &t.section[i];
            bool damaged;
            walk(&t, s, (struct fmt_text){NULL, 0});
            walk(&t, s, (struct fmt_text){"orders-1", 8});
            for (uint64_t k = 0; k < s->entry_count && k < 5000; k++)
                if (fmt_table_entry(&t, s, k, &damaged))
                    assert(!damaged);
        }
        ask_as_segment(&t);
    }
    free(bitmap);
    free(copy);
    return 0;
}
