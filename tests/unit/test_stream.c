/* One stream and lists of streams. Random ones: test_cursor_model.c. */
#include "tests/unit/store_fixture.h"

#include <inttypes.h>

static void info(esdb *db, const char *stream, struct esdb_stream_info *out) {
    struct esdb_error err = {0};
    int rc = esdb_stream_info(db, test_text(stream), out, &err);
    assert_done(rc, &err);
}

static void a_stream_says_where_it_begins_and_ends(void **state) {
    (void)state;
    struct test_store s;
    struct test_model m = {0};
    struct esdb_stream_info i;
    struct esdb_error err = {0};
    test_store_open(&s, TEST_SMALL_SEGMENT);
    assert_code(esdb_stream_info(s.db, test_text("a"), &i, &err), ESDB_ENOTFOUND, &err);
    assert_string_equal(err.text, "a: no such stream");
    for (int k = 0; k < 100; k++)
        test_model_append(&m, &s, k < 40 ? "a" : k < 90 ? "b" : k % 2 ? "a" : "c", test_data(4000));
    static const struct {
        const char *name;
        uint64_t last, first_position, last_position;
    } want[] = {{"a", 44, 0, 99}, {"b", 49, 40, 89}, {"c", 4, 90, 98}};
    for (int reopened = 0; reopened < 2; reopened++) {
        for (int k = 0; k < 3; k++) {
            info(s.db, want[k].name, &i);
            assert_int_equal(i.first_version, 0);
            assert_int_equal(i.last_version, want[k].last);
            assert_int_equal(i.count, want[k].last + 1);
            assert_int_equal(i.first_position, want[k].first_position);
            assert_int_equal(i.last_position, want[k].last_position);
            assert_true(i.first_epoch_us <= i.last_epoch_us);
        }
        test_store_reopen(&s);
    }
    test_store_close(&s);
    test_model_release(&m);
}

/* What is appended and not yet durable is nobody's business. */
static void undurable_events_are_not_counted(void **state) {
    (void)state;
    struct test_store s;
    struct esdb_stream_info i;
    struct esdb_stream_list *l;
    struct esdb_error err = {0};
    struct esdb_receipt r;
    test_store_open(&s, TEST_SMALL_SEGMENT);
    test_append(&s, "a", "1");
    esdb_batch_clear(s.batch);
    test_add(s.batch, "a", "t", NULL, "2");
    test_add(s.batch, "b", "t", NULL, "2");
    assert_int_equal(esdb_append(s.db, s.batch, ESDB_NO_WAIT, &r, NULL), 0);
    for (int durable = 0; durable < 2; durable++) {
        info(s.db, "a", &i);
        assert_int_equal(i.last_version, durable);
        assert_int_equal(esdb_stream_info(s.db, test_text("b"), &i, NULL), durable ? 0 : ESDB_ENOTFOUND);
        assert_done(esdb_stream_list_open(s.db, test_text(NULL), 0, &l, &err), &err);
        int n = 0;
        while (esdb_stream_list_next(l, &i, &err) == 0)
            n++;
        assert_int_equal(n, 1 + durable);
        esdb_stream_list_close(l);
        assert_done(esdb_commit(s.db, &r, &err), &err);
    }
    test_store_close(&s);
}

/* A list is a picture of the store when it was opened, also when segments close and tables merge meanwhile. */
static void a_list_stays_what_it_was_while_the_store_grows(void **state) {
    (void)state;
    struct test_store s;
    struct test_model m = {0};
    struct esdb_stream_list *l;
    struct esdb_stream_info i;
    struct esdb_error err = {0};
    char name[16], want[16];
    int rc, n = 0;
    test_store_open(&s, TEST_SMALL_SEGMENT);
    for (int k = 0; k < 200; k++) {
        snprintf(name, sizeof name, "s%03d", k);
        test_model_append(&m, &s, name, test_data(1500));
    }
    assert_done(esdb_stream_list_open(s.db, test_text("s*"), 0, &l, &err), &err);
    while ((rc = esdb_stream_list_next(l, &i, &err)) == 0) {
        snprintf(want, sizeof want, "s%03d", n++);
        assert_int_equal(i.stream_id.len, 4);
        assert_memory_equal(i.stream_id.at, want, 4);
        assert_int_equal(i.count, 1);
        snprintf(name, sizeof name, "s%03d", (int)test_below(300));
        test_model_append(&m, &s, name, test_data(3000));
    }
    assert_code(rc, ESDB_END, &err);
    assert_int_equal(n, 200);
    esdb_stream_list_close(l);
    test_model_check(&m, s.path, m.count);
    test_store_close(&s);
    test_model_release(&m);
}

static void names_are_listed_in_byte_order(void **state) {
    (void)state;
    static const char *const names[] = {"$a", "$b:x", "A", "Z", "a", "aa", "ab", "b", "\xc3\xa4", "\xf0\x9f\x98\x80"};
    enum { NAMES = sizeof names / sizeof *names };
    struct test_store s;
    struct esdb_stream_list *l;
    struct esdb_stream_info i;
    struct esdb_error err = {0};
    test_store_open(&s, TEST_SMALL_SEGMENT);
    for (int k = 0; k < NAMES * 7; k++)
        test_append(&s, names[k * 7 % NAMES], test_data(5000));
    static const struct {
        const char *pattern;
        unsigned flags;
        int from, to;
    } cases[] = {
        {NULL, ESDB_WITH_SYSTEM, 0, NAMES},
        {NULL, 0, 2, NAMES},
        {"*", 0, 2, NAMES},
        {"$*", 0, 0, 2},
        {"a*", 0, 4, 7},
        {"a", ESDB_LITERAL, 4, 5},
        {"$a", ESDB_LITERAL, 0, 1},
        {"a*", ESDB_LITERAL, 0, 0},
        {"nothing", 0, 0, 0},
        {"*", ESDB_WITH_SYSTEM, 0, NAMES},
    };
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        int at = cases[c].from, rc;
        assert_done(esdb_stream_list_open(s.db, test_text(cases[c].pattern), cases[c].flags, &l, &err), &err);
        while ((rc = esdb_stream_list_next(l, &i, &err)) == 0) {
            if (at >= cases[c].to || i.stream_id.len != strlen(names[at]) ||
                memcmp(i.stream_id.at, names[at], i.stream_id.len) != 0)
                fail_msg("case %zu: %.*s instead of %s", c, (int)i.stream_id.len, i.stream_id.at,
                         at < NAMES ? names[at] : "nothing");
            at++;
        }
        assert_code(rc, ESDB_END, &err);
        assert_int_equal(at, cases[c].to);
        esdb_stream_list_close(l);
    }
    test_store_close(&s);
}

/* Names that are prefixes of each other, alike for long, or of any length: each comes once, in byte order. */
static void names_of_the_active_segment_come_in_order(void **state) {
    (void)state;
    struct test_store s;
    struct esdb_error err = {0};
    esdb_stream_list *list;
    struct esdb_stream_info info;
    char last[256] = "";
    uint64_t events = 0, streams = 0;
    test_store_open(&s, 1u << 20);
    for (int i = 0; i < 1500; i++) {
        char name[256];
        int n =
            snprintf(name, sizeof name, "stream-%.*s", (int)test_below(40), "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
        snprintf(name + n, sizeof name - (size_t)n, "%.*s", (int)test_below(3), i % 2 ? "bc" : "A-");
        test_append(&s, name, "1");
    }
    assert_done(esdb_stream_list_open(s.db, (struct esdb_text){0}, 0, &list, &err), &err);
    while (esdb_stream_list_next(list, &info, &err) == 0) {
        char name[256];
        snprintf(name, sizeof name, "%.*s", (int)info.stream_id.len, info.stream_id.at);
        assert_true(strcmp(last, name) < 0);
        snprintf(last, sizeof last, "%s", name);
        struct esdb_stream_info one;
        assert_done(esdb_stream_info(s.db, test_text(name), &one, &err), &err);
        assert_int_equal(info.count, one.count);
        assert_int_equal(info.last_version, one.last_version);
        events += info.count;
        streams++;
    }
    assert_int_equal(events, 1500);
    assert_true(streams > 80);
    esdb_stream_list_close(list);
    test_store_close(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stream_says_where_it_begins_and_ends),
        cmocka_unit_test(undurable_events_are_not_counted),
        cmocka_unit_test(a_list_stays_what_it_was_while_the_store_grows),
        cmocka_unit_test(names_of_the_active_segment_come_in_order),
        cmocka_unit_test(names_are_listed_in_byte_order),
    };
    test_seed();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
