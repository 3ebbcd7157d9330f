/* Tables: what is built is read back; damage is found at touch; hostile bytes cost an error only. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "format/bytes.h"
#include "format/checksum.h"
#include "libcore/error.h"
#include "libcore/table_file.h"

static uint64_t random_state;

static uint64_t draw(uint64_t below) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state % below;
}

/* Key i of n in ascending order; `width` fills keys up to that length. */
static struct fmt_text key_of(size_t i, size_t width, char room[FMT_TABLE_KEY_MAX]) {
    char digits[16];
    memset(room, 'k', FMT_TABLE_KEY_MAX);
    snprintf(digits, sizeof digits, "%08zu", i);
    memcpy(room, digits, 8);
    return (struct fmt_text){room, width > 8 ? width : 8};
}

static void build(struct es_buffer *image, size_t numbers, size_t keys, size_t width) {
    struct fmt_table_header h = {.kind = FMT_TABLE_SEGMENT, .first_index = 3, .last_index = 9, .last_checksum = 77};
    struct fmt_table_builder b;
    struct es_fences f = {0};
    struct fmt_fences fences = es_fences_of(&f);
    fmt_table_begin(&b, &h, es_table_image_block, image);
    fmt_table_array_begin(&b, FMT_SECTION_EVENTS, 4);
    for (size_t i = 0; i < numbers; i++) {
        unsigned char bytes[4];
        fmt_put32(bytes, (uint32_t)i * 3);
        assert_int_equal(fmt_table_array_put(&b, bytes), 0);
    }
    assert_int_equal(fmt_table_array_end(&b), 0);
    fmt_table_keys_begin(&b, FMT_SECTION_STREAMS);
    for (size_t i = 0; i < keys; i++) {
        char room[FMT_TABLE_KEY_MAX];
        uint64_t value = i;
        assert_int_equal(fmt_table_keys_put(&b, &fences, key_of(i * 2, width, room), &value, sizeof value), 0);
    }
    assert_int_equal(fmt_table_keys_end(&b, &fences), 0);
    assert_int_equal(fmt_table_end(&b), 0);
    es_fences_release(&f);
}

static void check_numbers(const struct fmt_table *t, size_t numbers) {
    const struct fmt_section *s = fmt_table_find(t, FMT_SECTION_EVENTS);
    bool damaged = true;
    for (size_t i = 0; i < numbers; i++) {
        const unsigned char *at = fmt_table_entry(t, s, i, &damaged);
        assert_non_null(at);
        assert_int_equal(fmt_get32(at), i * 3);
    }
    assert_null(fmt_table_entry(t, s, numbers, &damaged));
    assert_false(damaged);
    assert_null(fmt_table_entry(t, s, UINT64_MAX, &damaged));
}

static void check_keys(const struct fmt_table *t, size_t keys, size_t width) {
    const struct fmt_section *s = fmt_table_find(t, FMT_SECTION_STREAMS);
    struct fmt_table_cursor c;
    char room[FMT_TABLE_KEY_MAX];
    for (size_t i = 0; i <= keys * 2; i++) { /* odd ones are not there: the next is found */
        int rc = fmt_table_seek(&c, t, s, key_of(i, width, room));
        size_t want = (i + 1) / 2;
        assert_int_equal(rc, want < keys ? 0 : 1);
        if (rc == 0)
            assert_int_equal(fmt_get64(c.value.at), want);
    }
    size_t n = 0;
    int rc;
    for (rc = fmt_table_seek(&c, t, s, (struct fmt_text){NULL, 0}); rc == 0; rc = fmt_table_next(&c)) {
        assert_int_equal(fmt_key_compare(c.key, key_of(n * 2, width, room)), 0);
        n++;
    }
    assert_int_equal(rc, 1);
    assert_int_equal(n, keys);
}

static void what_is_built_is_read_back(void **state) {
    (void)state;
    static const size_t counts[] = {0, 1, 2, 15, 16, 17, 126, 1019, 1020, 1021, 2040, 5000, 20000};
    static const size_t widths[] = {8, 60, FMT_TABLE_KEY_MAX};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        for (size_t k = 0; k < sizeof widths / sizeof *widths; k++) {
            struct es_buffer image = {0};
            struct es_table t;
            uint32_t bad;
            build(&image, counts[i], counts[i], widths[k]);
            es_table_adopt(&t, &image);
            assert_null(image.at);
            assert_int_equal(t.table.header.kind, FMT_TABLE_SEGMENT);
            assert_int_equal(t.table.header.first_index, 3);
            assert_int_equal(t.table.header.last_index, 9);
            assert_int_equal(t.table.header.last_checksum, 77);
            assert_null(fmt_table_find(&t.table, FMT_SECTION_KEYS));
            check_numbers(&t.table, counts[i]);
            check_keys(&t.table, counts[i], widths[k]);
            assert_null(fmt_table_verify(&t.table, &bad));
            es_table_close(&t);
        }
    }
}

static void keys_are_ordered_as_bytes_and_shorter_first(void **state) {
    (void)state;
    static const struct fmt_text keys[] = {{"", 0},    {"\0", 1}, {"\0\0", 2}, {"a", 1},
                                           {"a\0", 2}, {"ab", 2}, {"b", 1},    {"\xff", 1}};
    struct es_buffer image = {0};
    struct fmt_table_header h = {.kind = FMT_TABLE_SEGMENT};
    struct fmt_table_builder b;
    struct es_fences f = {0};
    struct fmt_fences fences = es_fences_of(&f);
    struct es_table t;
    size_t count = sizeof keys / sizeof *keys;
    fmt_table_begin(&b, &h, es_table_image_block, &image);
    fmt_table_keys_begin(&b, FMT_SECTION_STREAMS);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(fmt_table_keys_put(&b, &fences, keys[i], &i, sizeof i), 0);
    assert_int_equal(fmt_table_keys_end(&b, &fences), 0);
    assert_int_equal(fmt_table_end(&b), 0);
    es_table_adopt(&t, &image);
    for (size_t i = 0; i < count; i++) {
        struct fmt_table_cursor c;
        assert_int_equal(fmt_table_seek(&c, &t.table, fmt_table_find(&t.table, FMT_SECTION_STREAMS), keys[i]), 0);
        assert_int_equal(fmt_get64(c.value.at), i);
    }
    es_fences_release(&f);
    es_table_close(&t);
}

/* Reads everything; true when all of it could be read. Wrong content fails the test. */
static bool read_all(const struct fmt_table *t, size_t numbers, size_t keys, size_t width) {
    const struct fmt_section *s = fmt_table_find(t, FMT_SECTION_EVENTS);
    bool whole = true, damaged;
    for (size_t i = 0; i < numbers; i++) {
        const unsigned char *at = fmt_table_entry(t, s, i, &damaged);
        assert_true(at != NULL || damaged);
        assert_true(at == NULL || fmt_get32(at) == i * 3);
        whole = whole && at;
    }
    for (size_t i = 0; i < keys; i++) {
        struct fmt_table_cursor c;
        char room[FMT_TABLE_KEY_MAX];
        struct fmt_text key = key_of(i * 2, width, room);
        int rc = fmt_table_seek(&c, t, fmt_table_find(t, FMT_SECTION_STREAMS), key);
        assert_true(rc == -1 || (rc == 0 && fmt_key_compare(c.key, key) == 0 && fmt_get64(c.value.at) == i));
        whole = whole && rc == 0;
    }
    return whole;
}

static void every_flipped_byte_is_found_at_touch(void **state) {
    (void)state;
    struct es_buffer image = {0};
    struct fmt_table t;
    uint32_t bad;
    size_t found = 0;
    build(&image, 1500, 40, 200);
    for (size_t at = 0; at < image.len; at++) {
        unsigned char byte = image.at[at];
        image.at[at] ^= (unsigned char)(1u << draw(8));
        if (fmt_table_open(&t, image.at, image.len)) {
            assert_true(at < FMT_BLOCK_SIZE);
            found++;
        } else {
            assert_true(at >= FMT_BLOCK_SIZE);
            unsigned char bitmap[8] = {0};
            assert_true(fmt_table_bitmap_size(&t) <= sizeof bitmap);
            t.verified = bitmap;
            assert_false(read_all(&t, 1500, 40, 200));
            assert_non_null(fmt_table_verify(&t, &bad));
            assert_int_equal(bad, at / FMT_BLOCK_SIZE);
            found++;
        }
        image.at[at] = byte;
    }
    print_message("%zu bytes flipped, %zu found\n", image.len, found);
    assert_int_equal(found, image.len);
    es_buffer_release(&image);
}

/* Random bytes changed and the checksums made right again: anything may be answered, nothing may break. */
static void hostile_bytes_do_no_harm(void **state) {
    (void)state;
    struct es_buffer image = {0};
    build(&image, 1500, 60, 150);
    unsigned char *copy = malloc(image.len);
    size_t opened = 0, rounds = 30000;
    assert_non_null(copy);
    for (size_t round = 0; round < rounds; round++) {
        struct fmt_table t;
        struct fmt_table_cursor c;
        uint32_t bad;
        bool damaged;
        size_t block = draw(image.len / FMT_BLOCK_SIZE) * FMT_BLOCK_SIZE;
        memcpy(copy, image.at, image.len);
        for (size_t n = 1 + draw(4); n > 0; n--)
            copy[block + draw(draw(2) ? 200 : FMT_BLOCK_SIZE - 8)] =
                (unsigned char)(draw(2) ? draw(256) : 255 * draw(2));
        fmt_put64(copy + block + 4088, fmt_checksum(copy + block, 4088));
        if (fmt_table_open(&t, copy, image.len))
            continue;
        opened++;
        fmt_table_verify(&t, &bad);
        for (uint32_t i = 0; i < t.section_count; i++) {
            const struct fmt_section *s = &t.section[i];
            for (int k = 0; k < 4; k++)
                fmt_table_entry(&t, s, s->entry_count ? draw(s->entry_count) : 0, &damaged);
            char room[FMT_TABLE_KEY_MAX];
            size_t steps = 0;
            int rc = fmt_table_seek(&c, &t, s, key_of(draw(120), 150, room));
            for (; rc == 0; rc = fmt_table_next(&c))
                assert_true(steps++ < image.len);
        }
    }
    print_message("%zu hostile tables, %zu opened\n", rounds, opened);
    free(copy);
    es_buffer_release(&image);
}

static void a_file_of_the_wrong_size_is_refused(void **state) {
    (void)state;
    struct es_buffer image = {0};
    struct fmt_table t;
    build(&image, 3000, 10, 8);
    assert_null(fmt_table_open(&t, image.at, image.len));
    for (size_t len = 0; len < image.len; len += len < 16 ? 1 : 511)
        assert_non_null(fmt_table_open(&t, image.at, len));
    es_buffer_release(&image);
}

static int refuse(void *context, uint32_t number, const unsigned char block[FMT_BLOCK_SIZE]) {
    (void)block;
    return number < *(uint32_t *)context ? 0 : -ENOSPC;
}

static void what_the_sink_says_is_handed_back(void **state) {
    (void)state;
    for (uint32_t limit = 1; limit < 4; limit++) {
        struct fmt_table_header h = {.kind = FMT_TABLE_SEGMENT};
        struct fmt_table_builder b;
        unsigned char bytes[4] = {0};
        int rc = 0;
        fmt_table_begin(&b, &h, refuse, &limit);
        fmt_table_array_begin(&b, FMT_SECTION_EVENTS, 4);
        for (int i = 0; rc == 0 && i < 4 * 1020; i++)
            rc = fmt_table_array_put(&b, bytes);
        assert_int_equal(rc, -ENOSPC);
    }
}

static void files_are_replaced_whole(void **state) {
    (void)state;
    char path[] = "/tmp/test_table.XXXXXX";
    assert_non_null(mkdtemp(path));
    int dir = open(path, O_RDONLY | O_DIRECTORY);
    struct es_buffer image = {0};
    struct es_table t;
    struct es_table_writer w;
    struct stat st;
    assert_int_equal(es_table_open(dir, "x", &t), -ENOENT);
    build(&image, 3000, 10, 8);
    assert_int_equal(es_table_save(dir, "x", image.at, image.len, 0440), 0);
    assert_int_equal(fstatat(dir, "x", &st, 0), 0);
    assert_int_equal(st.st_mode & 07777, 0440);
    assert_int_equal(es_table_open(dir, "x", &t), 0);
    assert_int_equal(es_table_save(dir, "x", image.at, FMT_BLOCK_SIZE, 0440), 0);
    check_numbers(&t.table, 3000); /* the old one is still mapped */
    es_table_close(&t);
    es_table_close(&t);
    assert_int_equal(es_table_open(dir, "x", &t), ESDB_ECORRUPT);
    assert_int_equal(es_table_save(dir, "x", image.at, 100, 0440), 0);
    assert_int_equal(es_table_open(dir, "x", &t), ESDB_ECORRUPT);

    assert_int_equal(es_table_writer_open(&w, dir, "y", 0600), 0);
    for (uint32_t i = 1; i < image.len / FMT_BLOCK_SIZE; i++)
        assert_int_equal(es_table_writer_block(&w, i, image.at + (size_t)i * FMT_BLOCK_SIZE), 0);
    assert_int_equal(es_table_writer_block(&w, 0, image.at), 0);
    assert_int_equal(es_table_writer_commit(&w), 0);
    assert_int_equal(es_table_open(dir, "y", &t), 0);
    check_numbers(&t.table, 3000);
    es_table_close(&t);
    assert_int_equal(es_table_writer_open(&w, dir, "z", 0600), 0);
    es_table_writer_abort(&w);
    assert_int_equal(unlinkat(dir, "x", 0), 0);
    assert_int_equal(unlinkat(dir, "y", 0), 0);
    close(dir);
    assert_int_equal(rmdir(path), 0); /* nothing was left */
    es_buffer_release(&image);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_built_is_read_back),
        cmocka_unit_test(keys_are_ordered_as_bytes_and_shorter_first),
        cmocka_unit_test(every_flipped_byte_is_found_at_touch),
        cmocka_unit_test(hostile_bytes_do_no_harm),
        cmocka_unit_test(a_file_of_the_wrong_size_is_refused),
        cmocka_unit_test(what_the_sink_says_is_handed_back),
        cmocka_unit_test(files_are_replaced_whole),
    };
    const char *seed = getenv("SEED");
    random_state = seed ? strtoull(seed, NULL, 10) : (uint64_t)time(NULL) * 2654435761u + 1;
    print_message("SEED=%" PRIu64 "\n", random_state);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
