/* The shared head page: marks and words, validity, and what locks do when they are held for long. */
#include "tests/unit/store_fixture.h"

#include <errno.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libcore/lock.h"
#include "libcore/shared_head.h"

static void head_tells_what_is_appended_and_synced(void **state) {
    (void)state;
    struct test_store s;
    struct esdb_receipt r;
    struct esdb_stat st;
    test_store_open(&s, TEST_SMALL_SEGMENT);
    assert_int_equal(es_head_state(s.db), ESDB_HEAD_ABSENT);
    test_append(&s, "a", "1");
    assert_true(es_head_valid(s.db));
    assert_int_equal(es_head_appended(s.db), 1);
    assert_int_equal(es_head_synced(s.db), 1);
    assert_int_equal(es_head_committed(s.db), 1);
    uint64_t generation = es_head_generation(s.db);
    esdb_batch_clear(s.batch);
    test_add(s.batch, "a", "t", NULL, "2");
    assert_int_equal(esdb_append(s.db, s.batch, ESDB_NO_WAIT, &r, NULL), 0);
    assert_int_equal(es_head_appended(s.db), 2);
    assert_int_equal(es_head_synced(s.db), 1);
    assert_int_equal(r.generation, generation);
    assert_int_equal(esdb_stat(s.db, &st, NULL), 0);
    assert_int_equal(st.appended, 2);
    assert_int_equal(st.synced, 1);
    assert_int_equal(st.committed, 1);
    assert_int_equal(st.end_position, 1);
    assert_int_equal(st.head, ESDB_HEAD_VALID);
    assert_int_equal(esdb_commit(s.db, &r, NULL), 0);
    assert_int_equal(es_head_synced(s.db), 2);
    assert_int_equal(es_head_generation(s.db), generation);
    test_store_close(&s);
}

/* A word of committed below synced, as a replicated store has it, hides what is above. */
static void readers_stop_at_committed(void **state) {
    (void)state;
    struct test_store s;
    struct esdb_query q;
    struct esdb_stream_info i;
    uint64_t end;
    int rc;
    test_store_open(&s, TEST_SMALL_SEGMENT);
    for (int k = 0; k < 40; k++)
        test_append(&s, "a", test_data(4000));
    struct fmt_head *h = test_head_map(&s);
    esdb *reader = test_open(s.path, ESDB_READ);
    uint64_t names[8];
    assert_true(test_segments(&s, names, 8) >= 2);
    for (uint64_t committed = 40 + test_segments(&s, names, 8) - 1; committed > 0; committed--) {
        es_word_set(&h->committed, committed);
        if (es_head_synced(reader) < committed)
            continue;
        struct esdb_error err = {0};
        rc = esdb_end_position(reader, &end, &err);
        assert_done(rc, &err);
        assert_in_range(end, committed > 3 ? committed - 3 : 0, committed);
        esdb_query_init(&q);
        q.flags = ESDB_ALL;
        assert_int_equal(test_count(reader, &q, &rc), end);
        assert_int_equal(rc, ESDB_END);
        q.flags |= ESDB_REVERSE;
        assert_int_equal(test_count(reader, &q, &rc), end);
        if (end > 0) {
            rc = esdb_stream_info(reader, test_text("a"), &i, &err);
            assert_done(rc, &err);
            assert_int_equal(i.count, end);
        }
    }
    es_word_set(&h->committed, FMT_COMMITTED_IS_SYNCED);
    assert_int_equal(esdb_end_position(reader, &end, NULL), 0);
    assert_int_equal(end, 40);
    test_head_unmap(h);
    esdb_close(reader);
    test_store_close(&s);
}

static void one_of_two_marks_is_always_right(void **state) {
    (void)state;
    struct fmt_mark mark[2] = {{0}}, out;
    assert_false(es_mark_find(mark, 5, &out));
    for (uint64_t i = 1; i < 1000; i++) {
        struct fmt_mark m = {.index = i, .segment = 1, .end_offset = i * 100};
        m.check = fmt_mark_check(&m);
        mark[i % 2] = m;
        assert_true(es_mark_find(mark, i, &out));
        assert_int_equal(out.end_offset, i * 100);
        assert_int_equal(es_mark_find(mark, i - 1, &out), i > 1);
        assert_false(es_mark_find(mark, i + 1, &out));
        mark[i % 2].end_offset++; /* half written */
        assert_false(es_mark_find(mark, i, &out));
        mark[i % 2].end_offset--;
    }
}

/* A child that takes the append lock and is stopped. */
static pid_t hold_lock(const struct test_store *s) {
    int pipes[2];
    char c;
    assert_int_equal(pipe(pipes), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        esdb *db;
        if (esdb_open(s->path, ESDB_APPEND, &db, NULL) < 0 || es_lock_append(db, NULL) < 0)
            _exit(1);
        (void)!write(pipes[1], "x", 1);
        pause();
        _exit(0);
    }
    assert_int_equal(read(pipes[0], &c, 1), 1);
    close(pipes[0]);
    close(pipes[1]);
    return pid;
}

static void a_lock_held_too_long_is_told_and_readers_go_on(void **state) {
    (void)state;
    struct test_store s;
    struct esdb_error err = {0};
    struct esdb_receipt r;
    uint64_t end;
    test_store_open(&s, TEST_SMALL_SEGMENT);
    test_append(&s, "a", "1");
    pid_t pid = hold_lock(&s);
    kill(pid, SIGSTOP);
    esdb_set_lock_timeout(s.db, 100);
    esdb_batch_clear(s.batch);
    test_add(s.batch, "a", "t", NULL, "2");
    uint64_t begin = es_monotonic_ms();
    assert_code(esdb_append(s.db, s.batch, 0, &r, &err), ESDB_EUNAVAILABLE, &err);
    assert_in_range(es_monotonic_ms() - begin, 90, 1000);
    assert_non_null(strstr(err.text, "the append lock is busy"));
    assert_non_null(strstr(err.text, "nothing was written"));
    begin = es_monotonic_ms();
    esdb *reader = test_open(s.path, ESDB_READ);
    assert_int_equal(esdb_end_position(reader, &end, NULL), 0);
    assert_int_equal(end, 1);
    struct fmt_head *h = test_head_map(&s); /* head is lost as well: what is proven is shown, at once */
    memset(h, 0, sizeof *h);
    test_head_unmap(h);
    assert_int_equal(esdb_end_position(reader, &end, NULL), 0);
    assert_true(end <= 1);
    assert_true(es_monotonic_ms() - begin < 1000);
    esdb_close(reader);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    begin = es_monotonic_ms();
    assert_int_equal(test_append(&s, "a", "2"), 1);
    assert_true(es_monotonic_ms() - begin < 1000);
    test_store_close(&s);
}

static void locks_exclude_handles_and_processes(void **state) {
    (void)state;
    struct test_store s;
    struct esdb_error err = {0};
    test_store_open(&s, TEST_SMALL_SEGMENT);
    esdb *other = test_open(s.path, ESDB_APPEND);
    esdb_set_lock_timeout(other, 0);
    assert_done(es_lock_append(s.db, &err), &err);
    assert_int_equal(es_lock_append(other, NULL), ESDB_EUNAVAILABLE);
    assert_int_equal(es_try_lock_sync(other), 0);
    assert_int_equal(es_try_lock_sync(s.db), -EAGAIN);
    es_unlock_append(s.db);
    assert_int_equal(es_lock_append(other, NULL), 0);
    es_unlock_sync(other);
    es_unlock_append(other);
    assert_int_equal(es_try_lock_sync(s.db), 0);
    es_unlock_sync(s.db);
    esdb_close(other);
    test_store_close(&s);
}

/* A head file of any size is put right. */
static void a_head_of_another_size_is_put_right(void **state) {
    (void)state;
    static const size_t sizes[] = {0, 1, 4095, 4097, 100000};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct test_store s;
        struct test_model m = {0};
        char path[TEST_PATH];
        struct stat st;
        unsigned char *bytes = calloc(1, sizes[i] + 1);
        test_store_open(&s, TEST_SMALL_SEGMENT);
        test_model_append(&m, &s, "a", "1");
        esdb_close(s.db);
        test_path(path, &s, "head");
        test_file_write(path, bytes, sizes[i]);
        s.db = test_open(s.path, ESDB_APPEND);
        test_model_append(&m, &s, "a", "2");
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_size, FMT_HEAD_SIZE);
        test_model_check(&m, s.path, m.count);
        free(bytes);
        test_store_close(&s);
        test_model_release(&m);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(head_tells_what_is_appended_and_synced),
        cmocka_unit_test(readers_stop_at_committed),
        cmocka_unit_test(one_of_two_marks_is_always_right),
        cmocka_unit_test(a_lock_held_too_long_is_told_and_readers_go_on),
        cmocka_unit_test(locks_exclude_handles_and_processes),
        cmocka_unit_test(a_head_of_another_size_is_put_right),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
