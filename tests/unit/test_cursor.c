/* Cursors: ends, following, and what may happen to indexes while one is open. Random queries: test_cursor_model.c. */
#include "tests/unit/store_fixture.h"

#include <errno.h>
#include <pthread.h>
#include <unistd.h>

static struct esdb_query query_all(unsigned flags) {
    struct esdb_query q;
    esdb_query_init(&q);
    q.flags = ESDB_ALL | flags;
    return q;
}

static struct esdb_query query_stream(const struct esdb_text *name, unsigned flags) {
    struct esdb_query q;
    esdb_query_init(&q);
    q.flags = ESDB_LITERAL | flags;
    q.streams = name;
    q.stream_count = 1;
    return q;
}

static esdb_cursor *cursor(esdb *db, const struct esdb_query *q) {
    struct esdb_error err = {0};
    esdb_cursor *c = NULL;
    int rc = esdb_cursor_open(db, q, &c, &err);
    assert_done(rc, &err);
    return c;
}

static void expect_event(esdb_cursor *c, uint64_t position) {
    struct esdb_error err = {0};
    struct esdb_event e;
    assert_done(esdb_cursor_next(c, &e, &err), &err);
    assert_int_equal(e.position, position);
}

static void expect_end(esdb_cursor *c) {
    struct esdb_error err = {0};
    struct esdb_event e;
    assert_code(esdb_cursor_next(c, &e, &err), ESDB_END, &err);
}

/* Appends `count` events to a stream in one frame. */
static void append_many(struct test_store *s, struct test_model *m, const char *stream, int count) {
    struct esdb_error err = {0};
    struct esdb_receipt r;
    esdb_batch_clear(s->batch);
    for (int i = 0; i < count; i++) {
        test_add(s->batch, stream, "t", NULL, "{}");
        test_model_add(m, stream, "t", NULL, "{}");
    }
    assert_done(esdb_append(s->db, s->batch, 0, &r, &err), &err);
}

static void no_stream_is_a_mistake(void **state) {
    (void)state;
    struct test_store s;
    struct esdb_error err = {0};
    struct esdb_query q;
    esdb_cursor *c;
    test_store_open(&s, TEST_SMALL_SEGMENT);
    esdb_query_init(&q);
    assert_code(esdb_cursor_open(s.db, &q, &c, &err), ESDB_EUSAGE, &err);
    assert_string_equal(err.text, "no stream was named");
    test_store_close(&s);
}

/* Whoever keeps a checkpoint wants to save it although nothing matches: also when jq says so. */
static void a_bounded_step_ends_between_events_that_do_not_match(void **state) {
    (void)state;
    static const char *const selects[] = {".data.n == 1", "[.data.n] == [1]"}; /* the second needs jq */
    struct test_store s;
    struct test_model m = {0};
    test_store_open(&s, TEST_SMALL_SEGMENT);
    append_many(&s, &m, "a", 25);
    test_append(&s, "b", "{\"n\":1}");
    append_many(&s, &m, "a", 4);
    for (int i = 0; i < 2; i++) {
        struct esdb_error err = {0};
        struct esdb_query q = query_all(0);
        struct esdb_event e;
        q.step_max = 10;
        q.select = test_text(selects[i]);
        esdb_cursor *c = cursor(s.db, &q);
        assert_code(esdb_cursor_next(c, &e, &err), ESDB_PAUSED, &err);
        assert_int_equal(esdb_cursor_position(c), 10);
        assert_code(esdb_cursor_next(c, &e, &err), ESDB_PAUSED, &err);
        assert_int_equal(esdb_cursor_position(c), 20);
        expect_event(c, 25);
        while (esdb_cursor_next(c, &e, &err) == ESDB_PAUSED)
            ; /* jq has been asked ahead */
        expect_end(c);
        assert_int_equal(esdb_cursor_position(c), 30);
        esdb_cursor_close(c);
    }
    test_model_release(&m);
    test_store_close(&s);
}

static void an_empty_store_is_read_and_followed(void **state) {
    (void)state;
    for (int before = 0; before < 3; before++) { /* a handle that may write, that only reads, that changes nothing */
        static const unsigned flags[] = {ESDB_APPEND, ESDB_READ, ESDB_EXAMINE};
        struct test_store s;
        struct esdb_error err = {0};
        struct esdb_text name = test_text("a");
        test_store_open(&s, TEST_SMALL_SEGMENT);
        esdb *db = test_open(s.path, flags[before]);
        struct esdb_query all = query_all(0), one = query_stream(&name, 0), back = query_all(ESDB_REVERSE);
        esdb_cursor *c[3] = {cursor(db, &all), cursor(db, &one), cursor(db, &back)};
        for (int i = 0; i < 3; i++)
            expect_end(c[i]);
        assert_code(esdb_cursor_wait(c[0], 0, &err), ESDB_END, &err);
        assert_code(esdb_cursor_wait(c[2], 0, &err), ESDB_ENOTFOUND, &err);
        test_append(&s, "a", "1");
        err = (struct esdb_error){0};
        for (int i = 0; i < 2; i++) {
            assert_done(esdb_cursor_wait(c[i], 3000, &err), &err);
            expect_event(c[i], 0);
            expect_end(c[i]);
        }
        expect_end(c[2]);
        for (int i = 0; i < 3; i++)
            esdb_cursor_close(c[i]);
        esdb_close(db);
        test_store_close(&s);
    }
}

static void reading_begins_at_the_last_event_from_beyond_the_end(void **state) {
    (void)state;
    struct test_store s;
    struct esdb_text name = test_text("a");
    test_store_open(&s, TEST_SMALL_SEGMENT);
    for (int i = 0; i < 5; i++)
        test_append(&s, i % 2 ? "b" : "a", "1");
    struct esdb_query q = query_stream(&name, ESDB_REVERSE);
    q.to_version = 1000;
    q.to_position = 1000;
    q.limit = 2;
    esdb_cursor *c = cursor(s.db, &q);
    expect_event(c, 4);
    expect_event(c, 2);
    expect_end(c);
    esdb_cursor_close(c);
    q = query_all(ESDB_REVERSE);
    q.to_position = UINT64_MAX - 1;
    c = cursor(s.db, &q);
    expect_event(c, 4);
    esdb_cursor_close(c);
    q = query_all(0);
    q.from_position = 7; /* two events that do not exist yet are not wanted either */
    c = cursor(s.db, &q);
    expect_end(c);
    for (int i = 0; i < 4; i++)
        test_append(&s, "a", "1");
    expect_event(c, 7);
    expect_event(c, 8);
    expect_end(c);
    esdb_cursor_close(c);
    test_store_close(&s);
}

static void a_limit_counts_events_that_are_returned(void **state) {
    (void)state;
    struct test_store s;
    struct esdb_text type = test_text("rare");
    test_store_open(&s, TEST_SMALL_SEGMENT);
    for (int i = 0; i < 30; i++) {
        esdb_batch_clear(s.batch);
        test_add(s.batch, "a", i % 10 == 9 ? "rare" : "t", NULL, "1");
        struct esdb_receipt r;
        assert_int_equal(esdb_append(s.db, s.batch, 0, &r, NULL), 0);
    }
    struct esdb_query q = query_all(0);
    q.types = &type;
    q.type_count = 1;
    q.limit = 2;
    esdb_cursor *c = cursor(s.db, &q);
    expect_event(c, 9);
    expect_event(c, 19);
    expect_end(c);
    assert_int_equal(esdb_cursor_wait(c, 0, NULL), ESDB_ENOTFOUND);
    esdb_cursor_close(c);
    q.limit = 0;
    c = cursor(s.db, &q);
    expect_end(c);
    esdb_cursor_close(c);
    test_store_close(&s);
}

/* From every position, over roll-overs made by another handle: each event once, in order. */
static void following_from_every_point_misses_and_repeats_nothing(void **state) {
    (void)state;
    enum { BEFORE = 40, AFTER = 40 };
    struct test_store s;
    struct test_model m = {0};
    esdb_cursor *all[BEFORE + 2], *one[BEFORE + 2];
    struct esdb_text name = test_text("a");
    struct esdb_error err = {0};
    struct esdb_event e;
    test_store_open(&s, TEST_SMALL_SEGMENT);
    esdb *reader = test_open(s.path, ESDB_READ);
    size_t at[BEFORE + 2], at_one[BEFORE + 2];
    for (int i = 0; i < BEFORE; i++)
        test_model_append(&m, &s, i % 3 ? "a" : "b", test_data(3000));
    for (size_t i = 0; i < BEFORE + 2; i++) {
        struct esdb_query q = query_all(0), qs = query_stream(&name, 0);
        q.from_position = qs.from_position = at[i] = at_one[i] = i;
        all[i] = cursor(reader, &q);
        one[i] = cursor(reader, &qs);
    }
    for (int i = 0; i <= AFTER; i++) {
        for (size_t k = 0; k < BEFORE + 2; k++) {
            int rc;
            while ((rc = esdb_cursor_next(all[k], &e, &err)) == 0) {
                assert_int_equal(e.position, at[k]++);
                assert_true(test_model_is(&m, &e));
            }
            assert_code(rc, ESDB_END, &err);
            assert_int_equal(at[k], k > m.count ? k : m.count);
            while ((rc = esdb_cursor_next(one[k], &e, &err)) == 0) {
                while (strcmp(m.at[at_one[k]].stream, "a") != 0)
                    at_one[k]++;
                assert_int_equal(e.position, at_one[k]++);
            }
            assert_code(rc, ESDB_END, &err);
        }
        if (i < AFTER)
            test_model_append(&m, &s, i % 3 ? "a" : "b", test_data(3000));
    }
    for (size_t i = 0; i < BEFORE + 2; i++) {
        esdb_cursor_close(all[i]);
        esdb_cursor_close(one[i]);
    }
    esdb_close(reader);
    test_store_close(&s);
    test_model_release(&m);
}

/* ---- indexes that change while a cursor is open ---- */

/* A stream with more events than a cursor fetches at a time; between the pieces its own handle rolls over. */
static void a_cursor_survives_a_roll_over_of_its_own_handle(void **state) {
    (void)state;
    for (int reverse = 0; reverse < 2; reverse++) {
        struct test_store s;
        struct test_model m = {0};
        struct esdb_text names[2] = {test_text("a"), test_text("b")};
        struct esdb_error err = {0};
        struct esdb_event e;
        test_store_open(&s, 1u << 20);
        for (int i = 0; i < 6; i++)
            append_many(&s, &m, i % 2 ? "b" : "a", 700);
        struct esdb_query q = query_stream(names, reverse ? ESDB_REVERSE : 0);
        q.stream_count = 2;
        q.limit = 4200;
        esdb_cursor *c = cursor(s.db, &q);
        int rc = 0;
        for (int i = 0; i < 4200; i++) {
            if (i % 1500 == 10)
                test_model_append(&m, &s, "c", test_data(700000));
            rc = esdb_cursor_next(c, &e, &err);
            assert_done(rc, &err);
            assert_int_equal(e.position, reverse ? 4199 - i : i);
            assert_true(test_model_is(&m, &e));
        }
        expect_end(c);
        esdb_cursor_close(c);
        test_store_close(&s);
        test_model_release(&m);
    }
}

/* The same where the index is made in memory, because this reader has no live one. */
static void a_cursor_survives_a_newer_index_in_memory(void **state) {
    (void)state;
    for (int reverse = 0; reverse < 2; reverse++) {
        struct test_store s;
        struct test_model m = {0};
        struct esdb_text name = test_text("m");
        struct esdb_error err = {0};
        struct esdb_stream_info info;
        struct esdb_event e;
        uint64_t names[8];
        char path[TEST_PATH];
        test_store_open(&s, 8u << 20);
        append_many(&s, &m, "z", 100);
        append_many(&s, &m, "m", 5000);
        test_segments(&s, names, 8);
        test_segment_file(path, &s, names[0], "live");
        esdb *reader = test_open(s.path, ESDB_EXAMINE);
        unlink(path);
        struct esdb_query q = query_stream(&name, reverse ? ESDB_REVERSE : 0);
        q.limit = 5000;
        esdb_cursor *c = cursor(reader, &q);
        for (int i = 0; i < 5000; i++) {
            if (i == 10 || i == 2500) {
                append_many(&s, &m, i == 10 ? "a" : "b", 300); /* sorts before: moves the postings of "m" */
                unlink(path);
                assert_done(esdb_stream_info(reader, test_text("a"), &info, &err), &err);
            }
            int rc = esdb_cursor_next(c, &e, &err);
            assert_done(rc, &err);
            assert_int_equal(e.position, reverse ? 5099 - i : 100 + i);
            assert_true(test_model_is(&m, &e));
        }
        expect_end(c);
        esdb_cursor_close(c);
        esdb_close(reader);
        test_store_close(&s);
        test_model_release(&m);
    }
}

static void a_rebuild_under_a_cursor_of_another_handle_is_not_noticed(void **state) {
    (void)state;
    struct test_store s;
    struct test_model m = {0};
    struct esdb_error err = {0};
    struct esdb_text name = test_text("a");
    test_store_open(&s, TEST_SMALL_SEGMENT);
    for (int i = 0; i < 100; i++)
        test_model_append(&m, &s, "a", test_data(2000));
    esdb *reader = test_open(s.path, ESDB_READ);
    struct esdb_query all = query_all(0), one = query_stream(&name, 0);
    esdb_cursor *c[2] = {cursor(reader, &all), cursor(reader, &one)};
    for (uint64_t i = 0; i < 110; i++) {
        if (i % 20 == 5)
            assert_done(esdb_rebuild(s.db, &err), &err);
        if (i >= 100)
            test_model_append(&m, &s, "a", "1");
        expect_event(c[0], i);
        expect_event(c[1], i);
    }
    expect_end(c[0]);
    expect_end(c[1]);
    esdb_cursor_close(c[0]);
    esdb_cursor_close(c[1]);
    esdb_close(reader);
    test_model_check(&m, s.path, m.count);
    test_store_close(&s);
    test_model_release(&m);
}

/* ---- damage ---- */

/* What lies at the event at that position, as offsets in the only segment. */
static uint64_t offset_of(const struct test_store *s, const char *needle, unsigned char **bytes, size_t *len) {
    char path[TEST_PATH];
    test_segment_file(path, s, 1, "log");
    *bytes = test_file_read(path, len);
    unsigned char *at = memmem(*bytes, *len, needle, strlen(needle));
    assert_non_null(at);
    return (uint64_t)(at - *bytes);
}

/* Reads everything; damage is met at most once. Returns the events, *damage tells whether it was told. */
static size_t read_past_damage(esdb *db, const struct esdb_query *q, bool *damage) {
    struct esdb_event e;
    esdb_cursor *c = cursor(db, q);
    size_t n = 0;
    *damage = false;
    for (int calls = 0; calls < 100; calls++) {
        struct esdb_error err = {0};
        int rc = esdb_cursor_next(c, &e, &err);
        if (rc == ESDB_END)
            break;
        if (rc == ESDB_ECORRUPT) {
            *damage = true;
            assert_true(err.text[0] != '\0');
            assert_string_equal(err.file, "log/0000000000000001.log");
        } else
            assert_done(rc, &err);
        n += rc == 0;
    }
    esdb_cursor_close(c);
    return n;
}

static void fill_ten(struct test_store *s) {
    char data[32];
    test_store_open(s, 1u << 20);
    for (int i = 0; i < 10; i++) {
        snprintf(data, sizeof data, "\"payload-%d\"", i);
        test_append(s, "a", data);
    }
}

static void a_damaged_event_is_told_and_the_others_are_given(void **state) {
    (void)state;
    struct test_store s;
    unsigned char *bytes;
    size_t len;
    char path[TEST_PATH];
    struct esdb_text name = test_text("a");
    fill_ten(&s);
    uint64_t at = offset_of(&s, "payload-4", &bytes, &len);
    test_segment_file(path, &s, 1, "log");
    test_file_patch(path, at, "X", 1);
    struct esdb_query q[4] = {query_all(0), query_all(ESDB_REVERSE), query_stream(&name, 0),
                              query_stream(&name, ESDB_REVERSE)};
    for (int i = 0; i < 4; i++) {
        bool damage;
        esdb *db = test_open(s.path, ESDB_READ);
        assert_int_equal(read_past_damage(db, &q[i], &damage), 9);
        assert_true(damage);
        esdb_close(db);
    }
    free(bytes);
    test_store_close(&s);
}

/* Zeros where a durable frame was are no end of the log. */
static void zeros_within_the_log_are_damage(void **state) {
    (void)state;
    static const unsigned char zeros[4096];
    for (int header_only = 0; header_only < 2; header_only++) {
        struct test_store s;
        unsigned char *bytes;
        size_t len;
        char path[TEST_PATH];
        bool damage;
        fill_ten(&s);
        uint64_t next = offset_of(&s, "payload-5", &bytes, &len), at = next;
        while (memcmp(bytes + at, "ESF1", 4) != 0)
            at--;
        uint64_t end = header_only ? at + 112 : next + 12;
        test_segment_file(path, &s, 1, "log");
        test_file_patch(path, at, zeros, end - at);
        static const unsigned flags[] = {ESDB_READ, ESDB_EXAMINE, ESDB_APPEND};
        for (int i = 0; i < 3; i++) {
            struct esdb_error err = {0};
            struct esdb_verify_options o = {0};
            struct esdb_verify_result r;
            esdb *db = test_open(s.path, flags[i]);
            struct esdb_query q = query_all(0);
            size_t n = read_past_damage(db, &q, &damage);
            assert_true(damage);
            assert_int_equal(n, 9);
            assert_code(esdb_verify(db, &o, &r, &err), ESDB_ECORRUPT, &err);
            esdb_close(db);
        }
        free(bytes);
        test_store_close(&s);
    }
}

/* The active segment is shorter than head says: an error, no signal. */
static void a_segment_cut_short_is_damage(void **state) {
    (void)state;
    for (int step = 0; step < 3; step++) {
        struct test_store s;
        char path[TEST_PATH];
        struct esdb_text name = test_text("a");
        bool damage;
        test_store_open(&s, 1u << 20);
        for (int i = 0; i < 40; i++)
            test_append(&s, "a", test_data(5000));
        test_segment_file(path, &s, 1, "log");
        assert_int_equal(truncate(path, step == 0 ? 100000 : step == 1 ? 4096 : 128), 0);
        struct esdb_query q[3] = {query_all(0), query_stream(&name, 0), query_all(ESDB_REVERSE)};
        for (int i = 0; i < 3; i++) {
            esdb *db = test_open(s.path, ESDB_READ);
            assert_true(read_past_damage(db, &q[i], &damage) < 40);
            if (!damage)
                fail_msg("step %d, query %d: no damage was told", step, i);
            esdb_close(db);
        }
        struct esdb_error err = {0};
        struct esdb_receipt r;
        esdb_batch_clear(s.batch);
        test_add(s.batch, "a", "t", NULL, "1");
        assert_true(esdb_append(s.db, s.batch, 0, &r, &err) < 0);
        assert_true(err.text[0] != '\0');
        test_store_close(&s);
    }
}

/* ---- waiting ---- */

struct waiter {
    esdb *db;
    int rc;
};

static void *wait_for_one(void *context) {
    struct waiter *w = context;
    struct esdb_query q = query_all(0);
    struct esdb_event e;
    esdb_cursor *c;
    w->rc = esdb_cursor_open(w->db, &q, &c, NULL);
    if (w->rc < 0)
        return NULL;
    while ((w->rc = esdb_cursor_next(c, &e, NULL)) == ESDB_END)
        if ((w->rc = esdb_cursor_wait(c, 5000, NULL)) != 0)
            break;
    esdb_cursor_close(c);
    return NULL;
}

static void whoever_waits_is_woken(void **state) {
    (void)state;
    enum { WAITERS = 4 };
    struct test_store s;
    struct waiter w[WAITERS];
    pthread_t thread[WAITERS];
    test_store_open(&s, TEST_SMALL_SEGMENT);
    for (int i = 0; i < WAITERS; i++) {
        w[i].db = test_open(s.path, i % 2 ? ESDB_READ : ESDB_EXAMINE);
        assert_int_equal(pthread_create(&thread[i], NULL, wait_for_one, &w[i]), 0);
    }
    usleep(50000);
    uint64_t begin = es_monotonic_ms();
    test_append(&s, "a", "1");
    for (int i = 0; i < WAITERS; i++) {
        pthread_join(thread[i], NULL);
        assert_int_equal(w[i].rc, 0);
        esdb_close(w[i].db);
    }
    assert_true(es_monotonic_ms() - begin < 1500);
    test_store_close(&s);
}

/* head is removed, replaced, zeroed while somebody follows. */
static void following_survives_the_loss_of_head(void **state) {
    (void)state;
    static const unsigned flags[] = {ESDB_READ, ESDB_EXAMINE};
    for (int i = 0; i < 2; i++) {
        struct test_store s;
        struct esdb_error err = {0};
        char path[TEST_PATH];
        test_store_open(&s, TEST_SMALL_SEGMENT);
        test_append(&s, "a", "0");
        esdb *reader = test_open(s.path, flags[i]);
        struct esdb_query q = query_all(0);
        esdb_cursor *c = cursor(reader, &q);
        expect_event(c, 0);
        test_path(path, &s, "head");
        for (uint64_t k = 1; k < 4; k++) {
            if (k == 2)
                unlink(path);
            else {
                struct fmt_head *h = test_head_map(&s);
                memset(h, k == 1 ? 0 : 0xa5, sizeof *h);
                test_head_unmap(h);
            }
            assert_code(esdb_cursor_wait(c, 10, &err), ESDB_END, &err);
            test_append(&s, "a", "1");
            assert_done(esdb_cursor_wait(c, 3000, &err), &err);
            expect_event(c, k);
            assert_code(esdb_cursor_wait(c, 0, &err), ESDB_END, &err);
        }
        esdb_cursor_close(c);
        esdb_close(reader);
        test_store_close(&s);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_stream_is_a_mistake),
        cmocka_unit_test(a_bounded_step_ends_between_events_that_do_not_match),
        cmocka_unit_test(an_empty_store_is_read_and_followed),
        cmocka_unit_test(reading_begins_at_the_last_event_from_beyond_the_end),
        cmocka_unit_test(a_limit_counts_events_that_are_returned),
        cmocka_unit_test(following_from_every_point_misses_and_repeats_nothing),
        cmocka_unit_test(a_cursor_survives_a_roll_over_of_its_own_handle),
        cmocka_unit_test(a_cursor_survives_a_newer_index_in_memory),
        cmocka_unit_test(a_rebuild_under_a_cursor_of_another_handle_is_not_noticed),
        cmocka_unit_test(a_damaged_event_is_told_and_the_others_are_given),
        cmocka_unit_test(zeros_within_the_log_are_damage),
        cmocka_unit_test(a_segment_cut_short_is_damage),
        cmocka_unit_test(whoever_waits_is_woken),
        cmocka_unit_test(following_survives_the_loss_of_head),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
