/* Rebuilding every derived file; stores that never sync. */
#include "tests/unit/store_fixture.h"

#include <unistd.h>

#include "tests/unit/fault_os.h"

static void a_store_that_never_syncs_works_the_same(void **state) {
    (void)state;
    struct test_store s;
    struct test_model m = {0};
    struct esdb_error err = {0};
    struct esdb_settings settings = {.segment_size = TEST_SMALL_SEGMENT, .durability = ESDB_NOT_DURABLE}, back;
    test_store_open(&s, 0);
    esdb_close(s.db);
    test_remove_dir(s.path);
    assert_done(esdb_create(s.path, &settings, &err), &err);
    s.db = test_open(s.path, ESDB_APPEND);
    esdb_get_settings(s.db, &back);
    assert_int_equal(back.durability, ESDB_NOT_DURABLE);
    fault_install();
    for (int k = 0; k < 60; k++)
        test_model_append(&m, &s, k % 2 ? "a" : "b", test_data(3000));
    assert_int_equal(fault_count(FAULT_FDATASYNC), 0);
    fault_remove();
    test_model_check(&m, s.path, m.count);
    /* the end of the log was lost with the machine: no proof, no damage; the store goes on */
    uint64_t name[16];
    char path[TEST_PATH];
    size_t count = test_segments(&s, name, 16);
    test_segment_file(path, &s, name[count - 1], "log");
    struct fmt_head *h = test_head_map(&s);
    uint64_t at = h->appended_mark[h->appended_mark[0].index < h->appended_mark[1].index].frame_offset;
    h->boot_id[0] ^= 1;
    h->check = fmt_head_check(h);
    test_head_unmap(h);
    assert_int_equal(truncate(path, (off_t)at + 40), 0);
    assert_int_equal(test_append(&s, "a", "1"), m.count - 1);
    test_verify_clean(s.path);
    test_store_close(&s);
    test_model_release(&m);
}

static void a_rebuild_makes_every_derived_file_again(void **state) {
    (void)state;
    struct test_store s;
    struct test_model m = {0};
    struct esdb_error err = {0};
    char command[TEST_PATH * 2];
    test_store_open(&s, TEST_SMALL_SEGMENT);
    for (int k = 0; k < 200; k++)
        test_model_append(&m, &s, k % 7 ? "a" : "b", test_data(4000));
    snprintf(command, sizeof command, "cd %s && rm -f head log/*.idx log/*.live tables/*", s.path);
    assert_int_equal(system(command), 0);
    assert_done(esdb_rebuild(s.db, &err), &err);
    struct esdb_verify_options o = {0};
    struct esdb_verify_result r;
    assert_done(esdb_verify(s.db, &o, &r, &err), &err);
    assert_int_equal(r.derived, 0);
    assert_int_equal(r.events, m.count);
    assert_int_equal(r.streams, 2);
    test_model_append(&m, &s, "a", "1");
    test_model_check(&m, s.path, m.count);
    test_store_close(&s);
    test_model_release(&m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_store_that_never_syncs_works_the_same),
        cmocka_unit_test(a_rebuild_makes_every_derived_file_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
