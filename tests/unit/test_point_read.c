/* Events and tables that are read piece by piece instead of through a mapping. */
#include "tests/unit/store_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "format/bytes.h"
#include "libcore/block_cache.h"
#include "libcore/settings.h"
#include "tests/unit/fault_os.h"

enum { ENTRIES = 1000 * 1000, EACH = FMT_BLOCK_PAYLOAD / 4, BLOCKS = ENTRIES / EACH };

/* A file `table` in a new directory with an array section whose entry i is 3 * i. */
static int make_table(char dir[TEST_PATH]) {
    struct fmt_table_header h = {.kind = FMT_TABLE_SEGMENT, .first_index = 1, .last_index = 2};
    struct fmt_table_builder b;
    struct es_buffer image = {0};
    fmt_table_begin(&b, &h, es_table_image_block, &image);
    fmt_table_array_begin(&b, FMT_SECTION_EVENTS, 4);
    for (uint32_t i = 0; i < ENTRIES; i++) {
        unsigned char bytes[4];
        fmt_put32(bytes, i * 3);
        assert_int_equal(fmt_table_array_put(&b, bytes), 0);
    }
    assert_int_equal(fmt_table_array_end(&b), 0);
    assert_int_equal(fmt_table_end(&b), 0);
    test_make_dir(dir);
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(es_table_save(fd, "table", image.at, image.len, 0600), 0);
    es_buffer_release(&image);
    return fd;
}

static const unsigned char *entry(const struct es_table *t, uint32_t i) {
    bool damaged;
    return fmt_table_entry(&t->table, fmt_table_find(&t->table, FMT_SECTION_EVENTS), i, &damaged);
}

static void a_table_is_read_block_by_block_and_mapped_when_it_is_asked_a_lot(void **state) {
    (void)state;
    char dir[TEST_PATH];
    struct es_block_cache *cache = NULL;
    struct es_table t;
    int fd = make_table(dir), fds = test_count_fds();
    assert_int_equal(es_table_open_cached(&cache, fd, "table", &t), 0);
    fault_install();
    fault_clear();
    for (uint32_t i = 0; i < ENTRIES; i += EACH / 2)
        assert_int_equal(fmt_get32(entry(&t, i)), i * 3);
    assert_true(fault_count(FAULT_PREAD) < BLOCKS); /* of a block that was just read, once */
    assert_int_equal(fault_count(FAULT_MMAP), 1);
    fault_remove();
    es_table_close(&t);
    es_block_cache_close(cache);
    assert_int_equal(test_count_fds(), fds);
    close(fd);
    test_remove_dir(dir);
}

static void a_block_that_is_held_stays(void **state) {
    (void)state;
    char dir[TEST_PATH];
    struct es_block_cache *cache = NULL;
    struct es_table t;
    int fd = make_table(dir);
    assert_int_equal(es_table_open_cached(&cache, fd, "table", &t), 0);
    assert_int_equal(fmt_table_hold(&t.table), 0);
    const unsigned char *first = entry(&t, 7);
    for (uint32_t i = 0; i < ENTRIES; i += EACH)
        assert_non_null(entry(&t, i));
    assert_int_equal(fmt_get32(first), 21);
    es_table_close(&t);
    es_block_cache_close(cache);
    close(fd);
    test_remove_dir(dir);
}

static void a_damaged_block_is_found_each_time_and_the_others_serve(void **state) {
    (void)state;
    char dir[TEST_PATH], path[TEST_PATH + 8];
    struct es_block_cache *cache = NULL;
    struct es_table t;
    int fd = make_table(dir);
    snprintf(path, sizeof path, "%s/table", dir);
    test_file_patch(path, 3 * FMT_BLOCK_SIZE + 100, "x", 1);
    assert_int_equal(es_table_open_cached(&cache, fd, "table", &t), 0);
    for (int held = 0; held < 2; held++) {
        for (int again = 0; again < 3; again++)
            assert_null(entry(&t, 2 * EACH)); /* in block 3 */
        assert_int_equal(fmt_get32(entry(&t, EACH)), EACH * 3);
        assert_int_equal(fmt_table_hold(&t.table), 0);
    }
    es_table_close(&t);
    test_file_patch(path, 8, "x", 1);
    assert_int_equal(es_table_open_cached(&cache, fd, "table", &t), ESDB_ECORRUPT);
    assert_int_equal(es_table_open_cached(&cache, fd, "none", &t), -ENOENT);
    es_block_cache_close(cache);
    close(fd);
    test_remove_dir(dir);
}

static void tables_share_a_cache_and_do_not_use_up_the_descriptors(void **state) {
    (void)state;
    enum { TABLES = 150 };
    char dir[TEST_PATH];
    struct es_block_cache *cache = NULL;
    struct es_table t[TABLES];
    int fd = make_table(dir), fds = test_count_fds();
    for (int i = 0; i < TABLES; i++)
        assert_int_equal(es_table_open_cached(&cache, fd, "table", &t[i]), 0);
    assert_true(test_count_fds() - fds <= 100);
    for (uint32_t i = 0; i < 20 * TABLES; i++)
        assert_int_equal(fmt_get32(entry(&t[i % TABLES], i * 37)), i * 37 * 3);
    for (int i = 0; i < TABLES; i++)
        es_table_close(&t[i]);
    assert_int_equal(test_count_fds(), fds);
    es_block_cache_close(cache);
    close(fd);
    test_remove_dir(dir);
}

/* Small events and large ones, in more than one segment, more of them than are read one by one. */
static void a_stream_is_read_whatever_the_size_of_its_events(void **state) {
    (void)state;
    struct test_store s;
    struct test_model m = {0};
    test_store_open(&s, 1u << 20);
    for (int i = 0; i < 900; i++)
        test_model_append(&m, &s, i % 2 ? "a" : "b", test_data(2 + test_below(i % 7 == 0 ? 9000 : 200)));
    test_model_append(&m, &s, "a", test_data(600000));
    for (int i = 0; i < 100; i++)
        test_model_append(&m, &s, "c", test_data(20000));
    assert_int_equal(test_model_check(&m, s.path, m.count), m.count);
    test_model_release(&m);
    test_store_close(&s);
}

/* What an editor left means the same as what esdb-init wrote. */
static void settings_are_the_same_however_they_are_written(void **state) {
    (void)state;
    struct es_settings made = {.version = 1, .incarnation = 5, .created_us = 9}, back, edited;
    char text[1024], other[1100];
    struct esdb_error err = {0};
    made.user.segment_size = 1u << 20;
    made.user.shared_group = true;
    made.user.store_id[0] = 0xab;
    size_t len = es_settings_print(&made, text, sizeof text);
    assert_done(es_settings_parse((unsigned char *)text, len, "s", &back, &err), &err);
    int n = snprintf(other, sizeof other, "%.*s# edited\n", (int)len, text);
    assert_done(es_settings_parse((unsigned char *)other, (size_t)n, "s", &edited, &err), &err);
    assert_memory_equal(&back, &made, sizeof made);
    assert_memory_equal(&edited, &made, sizeof made);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_table_is_read_block_by_block_and_mapped_when_it_is_asked_a_lot),
        cmocka_unit_test(a_block_that_is_held_stays),
        cmocka_unit_test(a_damaged_block_is_found_each_time_and_the_others_serve),
        cmocka_unit_test(tables_share_a_cache_and_do_not_use_up_the_descriptors),
        cmocka_unit_test(a_stream_is_read_whatever_the_size_of_its_events),
        cmocka_unit_test(settings_are_the_same_however_they_are_written),
    };
    test_seed();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
