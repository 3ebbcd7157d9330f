/* Roll-over: when segments end, what stands between them, who may die meanwhile; and full disks. */
#include "tests/unit/store_fixture.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "format/live_index.h"
#include "format/segment.h"
#include "libcore/segment.h"
#include "tests/unit/fault_os.h"

enum { SEGMENTS_MAX = 256 };

/* A segment file as a walk sees it: its last frame, and whether it ends just there. */
static struct fmt_frame last_frame(const struct test_store *s, uint64_t segment, bool *trimmed) {
    char path[TEST_PATH];
    size_t len;
    struct fmt_segment header;
    struct fmt_walk w;
    struct fmt_frame f = {0}, last = {0};
    bool newer;
    test_segment_file(path, s, segment, "log");
    unsigned char *bytes = test_file_read(path, &len);
    assert_non_null(bytes);
    assert_null(fmt_segment_decode(bytes, len, &header, &newer));
    assert_int_equal(header.first_index, segment);
    fmt_walk_init(&w, &header, bytes, len);
    int rc;
    while ((rc = fmt_walk_peek(&w, &f)) == FMT_OK) {
        assert_int_equal(fmt_walk_check(&w, &f), FMT_OK);
        fmt_walk_pass(&w, &f);
        last = f;
    }
    assert_int_equal(rc, FMT_END);
    *trimmed = w.offset == len;
    free(bytes);
    return last;
}

static void check_closed_segments(const struct test_store *s) {
    uint64_t name[SEGMENTS_MAX];
    size_t count = test_segments(s, name, SEGMENTS_MAX);
    for (size_t i = 0; i + 1 < count; i++) {
        bool trimmed;
        char path[TEST_PATH];
        struct fmt_frame f = last_frame(s, name[i], &trimmed);
        assert_true(trimmed);
        assert_true(f.flags & FMT_FRAME_ROLLS);
        assert_int_equal(f.index + 1, name[i + 1]);
        struct stat st;
        test_segment_file(path, s, name[i], "log");
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 0222, 0);
        test_segment_file(path, s, name[i], "idx");
        assert_int_equal(access(path, F_OK), 0);
        test_segment_file(path, s, name[i], "live");
        assert_int_not_equal(access(path, F_OK), 0);
    }
}

static void segments_end_near_their_size(void **state) {
    (void)state;
    static const size_t sizes[] = {2, 500, 7000, 20000, 40000, 65000};
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        struct test_store s;
        struct test_model m = {0};
        uint64_t name[SEGMENTS_MAX];
        test_store_open(&s, TEST_SMALL_SEGMENT);
        size_t events = 300000 / (sizes[k] + 250) + 3;
        for (size_t i = 0; i < events; i++)
            test_model_append(&m, &s, i % 2 ? "a" : "b", test_data(sizes[k]));
        size_t count = test_segments(&s, name, SEGMENTS_MAX);
        assert_true(count >= 3);
        for (size_t i = 0; i + 1 < count; i++) {
            struct stat st;
            char path[TEST_PATH];
            test_segment_file(path, &s, name[i], "log");
            assert_int_equal(stat(path, &st), 0);
            assert_true(st.st_size <= TEST_SMALL_SEGMENT || sizes[k] + 500 > TEST_SMALL_SEGMENT);
        }
        check_closed_segments(&s);
        test_model_check(&m, s.path, m.count);
        test_store_close(&s);
        test_model_release(&m);
    }
}

static void a_frame_larger_than_a_segment_has_one_for_itself(void **state) {
    (void)state;
    struct test_store s;
    struct test_model m = {0};
    uint64_t name[SEGMENTS_MAX];
    test_store_open(&s, TEST_SMALL_SEGMENT);
    test_model_append(&m, &s, "a", "1");
    test_model_append(&m, &s, "a", test_data(1u << 20)); /* a barrier frame must end the first segment */
    test_model_append(&m, &s, "a", test_data(200000));
    test_model_append(&m, &s, "a", "4");
    assert_int_equal(test_segments(&s, name, SEGMENTS_MAX), 4);
    bool trimmed;
    struct fmt_frame f = last_frame(&s, name[0], &trimmed);
    assert_int_equal(f.kind, FMT_FRAME_BARRIER);
    assert_int_equal(f.index, 2);
    f = last_frame(&s, name[1], &trimmed);
    assert_int_equal(f.kind, FMT_FRAME_EVENTS);
    assert_int_equal(f.index, 3);
    check_closed_segments(&s);
    test_model_check(&m, s.path, m.count);
    test_store_close(&s);
    test_model_release(&m);
}

static void sizes_of_all_kinds_are_read_back(void **state) {
    (void)state;
    struct test_store s;
    struct test_model m = {0};
    struct esdb_error err = {0};
    struct esdb_receipt r;
    test_store_open(&s, TEST_SMALL_SEGMENT);
    for (int i = 0; i < 150; i++) {
        esdb_batch_clear(s.batch);
        for (uint32_t k = test_below(4) ? 1 : 1 + test_below(60); k > 0; k--) {
            char name[8];
            const char *data = test_data(2 + (test_below(20) ? test_below(3000) : test_below(150000)));
            snprintf(name, sizeof name, "s%u", test_below(10));
            test_add(s.batch, name, "t", NULL, data);
            test_model_add(&m, name, "t", NULL, data);
        }
        assert_done(esdb_append(s.db, s.batch, 0, &r, &err), &err);
        assert_int_equal(r.last_position + 1, m.count);
    }
    check_closed_segments(&s);
    test_model_check(&m, s.path, m.count);
    test_store_close(&s);
    test_model_release(&m);
}

static void another_handle_may_close_the_segment(void **state) {
    (void)state;
    struct test_store s;
    struct test_model m = {0};
    test_store_open(&s, TEST_SMALL_SEGMENT);
    esdb *mine = s.db, *other = test_open(s.path, ESDB_APPEND);
    for (int i = 0; i < 120; i++) {
        s.db = i % 7 < 5 ? other : mine;
        test_model_append(&m, &s, i % 3 ? "a" : "b", test_data(2000 + 100 * (size_t)(i % 11)));
    }
    s.db = mine;
    esdb_close(other);
    test_model_check(&m, s.path, m.count);
    test_store_close(&s);
    test_model_release(&m);
}

/* The index of the new segment is not thrown away when the old one is sealed. */
static void the_live_index_of_the_new_segment_stays_in_force(void **state) {
    (void)state;
    struct test_store s;
    uint64_t name[SEGMENTS_MAX];
    char path[TEST_PATH];
    size_t len, count;
    test_store_open(&s, TEST_SMALL_SEGMENT);
    do
        test_append(&s, "a", test_data(5000));
    while ((count = test_segments(&s, name, SEGMENTS_MAX)) < 2);
    test_segment_file(path, &s, name[count - 1], "live");
    struct fmt_live_header *h = (void *)test_file_read(path, &len);
    assert_non_null(h);
    uint64_t retired = 77, events = 77;
    assert_true(fmt_word_decode(h->retired, &retired));
    assert_int_equal(retired, 0);
    assert_true(fmt_word_decode(h->events, &events));
    assert_int_equal(events, 1);
    free(h);
    test_store_close(&s);
}

/* ---- somebody dies ---- */

/* Runs an append in a child that dies at that call on a file whose name ends so. True when it did. */
static bool child_dies(struct test_store *s, enum fault_call call, const char *suffix, unsigned nth) {
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct esdb_receipt r;
        esdb *db;
        esdb_batch *b;
        fault_install();
        fault_only(suffix);
        fault_at(call, nth, FAULT_DIE);
        if (esdb_open(s->path, ESDB_APPEND, &db, NULL) < 0 || esdb_batch_open(&b) < 0)
            _exit(2);
        struct esdb_new_event e = test_event("dying", "t", test_data(40000));
        if (esdb_batch_add(b, &e, NULL) < 0)
            _exit(2);
        for (int i = 0; i < 2; i++)
            if (esdb_append(db, b, 0, &r, NULL) < 0)
                _exit(3);
        _exit(1);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) <= 1);
    return WEXITSTATUS(status) == 0;
}

/* Whoever first uses a segment makes its name durable: its creator may have died before it could. */
static void the_name_of_a_dead_writers_segment_is_made_durable(void **state) {
    (void)state;
    for (int zeroed_head = 0; zeroed_head < 2; zeroed_head++) {
        struct test_store s;
        uint64_t name[SEGMENTS_MAX];
        test_store_open(&s, TEST_SMALL_SEGMENT);
        test_append(&s, "a", "1");
        assert_true(child_dies(&s, FAULT_FSYNC, "/log", 1)); /* the new name exists, its directory was not synced */
        assert_int_equal(test_segments(&s, name, SEGMENTS_MAX), 2);
        if (zeroed_head) {
            struct fmt_head *h = test_head_map(&s);
            memset(h, 0, sizeof *h);
            test_head_unmap(h);
        }
        fault_install();
        fault_only("/log");
        test_append(&s, "a", "2");
        assert_true(fault_count(FAULT_FSYNC) > 0);
        fault_remove();
        assert_int_equal(test_segments(&s, name, SEGMENTS_MAX), 2);
        test_verify_clean(s.path);
        test_store_close(&s);
    }
}

static size_t left_over(const struct test_store *s) {
    char path[TEST_PATH];
    size_t count = 0;
    test_path(path, s, "log");
    DIR *d = opendir(path);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));)
        count += strstr(e->d_name, ".tmp") != NULL;
    closedir(d);
    return count;
}

/* A process that died while it wrote an index leaves a file behind; whoever closes the next segment removes it. */
static void what_a_dead_process_left_of_an_index_goes_with_the_next_one(void **state) {
    (void)state;
    struct test_store s;
    uint64_t name[SEGMENTS_MAX];
    test_store_open(&s, TEST_SMALL_SEGMENT);
    test_append(&s, "a", "1");
    for (unsigned i = 1; i <= 2; i++) {
        assert_true(child_dies(&s, FAULT_RENAMEAT, "idx", 1));
        assert_true(left_over(&s) >= 1);
    }
    size_t count = test_segments(&s, name, SEGMENTS_MAX);
    while (test_segments(&s, name, SEGMENTS_MAX) == count)
        test_append(&s, "a", test_data(20000));
    assert_int_equal(left_over(&s), 0);
    test_verify_clean(s.path);
    test_store_close(&s);
}

static void a_failed_sync_of_the_new_name_poisons(void **state) {
    (void)state;
    struct test_store s;
    struct esdb_error err = {0};
    struct esdb_receipt r;
    test_store_open(&s, TEST_SMALL_SEGMENT);
    test_append(&s, "a", "1");
    test_add(s.batch, "a", "t", NULL, test_data(100000));
    fault_install();
    fault_only("/log");
    fault_at(FAULT_FSYNC, 1, EIO);
    assert_true(esdb_append(s.db, s.batch, 0, &r, &err) < 0);
    assert_true(fault_fired());
    fault_remove();
    err = (struct esdb_error){0};
    assert_code(esdb_append(s.db, s.batch, 0, &r, &err), ESDB_EPOISONED, &err); /* a second sync would say 0 */
    err = (struct esdb_error){0};
    assert_done(esdb_repair(s.path, &err), &err);
    assert_done(esdb_append(s.db, s.batch, 0, &r, &err), &err);
    test_verify_clean(s.path);
    test_store_close(&s);
}

static void a_writer_may_die_anywhere_in_a_roll_over(void **state) {
    (void)state;
    static const enum fault_call calls[] = {FAULT_PWRITE,    FAULT_FDATASYNC, FAULT_FSYNC,    FAULT_FTRUNCATE,
                                            FAULT_FALLOCATE, FAULT_RENAMEAT,  FAULT_UNLINKAT, FAULT_OPENAT};
    for (size_t c = 0; c < sizeof calls / sizeof *calls; c++) {
        unsigned nth = 1;
        for (bool died = true; died; nth++) {
            struct test_store s;
            struct esdb_error err = {0};
            uint64_t end;
            test_store_open(&s, TEST_SMALL_SEGMENT);
            test_append(&s, "a", "1");
            died = child_dies(&s, calls[c], "", nth);
            esdb *reader = test_open(s.path, ESDB_READ);
            assert_done(esdb_end_position(reader, &end, &err), &err);
            uint64_t position = test_append(&s, "a", "2");
            assert_in_range(position, end, 3);
            assert_int_equal(test_append(&s, "dying", "3"), position + 1);
            test_verify_clean(s.path);
            esdb_close(reader);
            test_store_close(&s);
        }
        assert_true(nth > 2);
    }
}

/* ---- full disk ---- */

static void a_full_disk_refuses_and_works_again(void **state) {
    (void)state;
    struct test_store s;
    struct test_model m = {0};
    test_store_open(&s, 1u << 20);
    test_model_append(&m, &s, "a", "1");
    for (int round = 0; round < 2; round++) {
        struct esdb_error err = {0};
        struct esdb_receipt r;
        int rc;
        fault_install();
        fault_always(FAULT_FALLOCATE, round == 1 ? EDQUOT : ENOSPC);
        for (;;) { /* until what is allocated is used up */
            esdb_batch_clear(s.batch);
            test_add(s.batch, "a", "t", NULL, test_data(9000));
            rc = esdb_append(s.db, s.batch, 0, &r, &err);
            if (rc < 0)
                break;
            test_model_add(&m, "a", "t", NULL, test_data(9000));
            assert_true(m.count < 1000);
        }
        assert_code(rc, round == 1 ? -EDQUOT : -ENOSPC, &err);
        assert_non_null(strstr(err.text, "was not written"));
        /* a part is kept back for the store's own events */
        esdb_batch_clear(s.batch);
        test_add(s.batch, "$sub:x", "t", NULL, "{}");
        err = (struct esdb_error){0};
        assert_done(esdb_append(s.db, s.batch, ESDB_USE_RESERVE, &r, &err), &err);
        test_model_add(&m, "$sub:x", "t", NULL, "{}");
        fault_remove();
        test_model_append(&m, &s, "a", "after");
    }
    test_model_check(&m, s.path, m.count);
    test_store_close(&s);
    test_model_release(&m);
}

/* No space for the live index: system events go into the log all the same, and the index catches up without a mistake. */
static void an_index_that_missed_frames_catches_up(void **state) {
    (void)state;
    struct test_store s;
    struct test_model m = {0};
    struct esdb_error err = {0};
    struct esdb_receipt r;
    uint64_t name[SEGMENTS_MAX];
    test_store_open(&s, 1u << 20);
    test_model_append(&m, &s, "$x", "1");
    test_model_append(&m, &s, "$y", "1");
    while (test_segments(&s, name, SEGMENTS_MAX) < 2) /* a new segment: neither has an event in it */
        test_model_append(&m, &s, "fill", test_data(200000));
    for (int round = 0; round < 2; round++) {
        fault_install();
        fault_only(".live.tmp");
        fault_always(FAULT_FALLOCATE, ENOSPC);
        esdb_batch_clear(s.batch);
        for (int i = 0; i < 300 << 3 * round; i++) { /* more than the index has room for */
            test_add(s.batch, "$x", "t", NULL, NULL);
            test_model_add(&m, "$x", "t", NULL, NULL);
        }
        err = (struct esdb_error){0};
        assert_done(esdb_append(s.db, s.batch, ESDB_USE_RESERVE | ESDB_IDEMPOTENT, &r, &err), &err);
        assert_true(fault_fired());
        fault_remove();
        test_model_append(&m, &s, "$x", "again");
        test_model_append(&m, &s, "$y", "again");
        test_model_check(&m, s.path, m.count);
    }
    assert_int_equal(test_segments(&s, name, SEGMENTS_MAX), 2);
    test_store_close(&s);
    test_model_release(&m);
}

/* A reader that makes an index of its own has asked for the size of the file; whoever closes the segment then trims it. */
static void a_reader_that_indexes_does_not_look_behind_the_end(void **state) {
    struct test_store s;
    struct esdb_error err = {0};
    struct es_segment *seg;
    uint64_t name[SEGMENTS_MAX];
    char path[TEST_PATH];
    (void)state;
    test_store_open(&s, 8u << 20);
    for (int i = 0; i < 100; i++)
        test_append(&s, "s", test_data(100));
    test_segments(&s, name, SEGMENTS_MAX);
    test_segment_file(path, &s, name[0], "log");
    esdb *reader = test_open(s.path, ESDB_EXAMINE);
    assert_done(es_segment_get(reader, name[0], &seg, &err), &err);
    size_t end = es_segment_used(seg, UINT64_MAX);
    assert_true(seg->size > end + 4096);
    assert_int_equal(truncate(path, (off_t)end), 0);
    assert_int_equal(es_segment_used(seg, 100), end);
    esdb_close(reader);
    test_store_close(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(segments_end_near_their_size),
        cmocka_unit_test(a_frame_larger_than_a_segment_has_one_for_itself),
        cmocka_unit_test(sizes_of_all_kinds_are_read_back),
        cmocka_unit_test(another_handle_may_close_the_segment),
        cmocka_unit_test(the_live_index_of_the_new_segment_stays_in_force),
        cmocka_unit_test(the_name_of_a_dead_writers_segment_is_made_durable),
        cmocka_unit_test(what_a_dead_process_left_of_an_index_goes_with_the_next_one),
        cmocka_unit_test(a_failed_sync_of_the_new_name_poisons),
        cmocka_unit_test(a_writer_may_die_anywhere_in_a_roll_over),
        cmocka_unit_test(a_full_disk_refuses_and_works_again),
        cmocka_unit_test(an_index_that_missed_frames_catches_up),
        cmocka_unit_test(a_reader_that_indexes_does_not_look_behind_the_end),
    };
    test_seed();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
