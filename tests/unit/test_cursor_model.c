/* Cursors against a plain array: random streams, frames and queries, whatever is there of the derived files. */
#include "tests/unit/store_fixture.h"

#include <dirent.h>
#include <inttypes.h>
#include <unistd.h>

enum { STREAMS = 14, TYPES = 4, NAMES_MAX = 5 };

static const char *const streams[STREAMS] = {"a",        "b",      "ab",  "abc",   "order-1",  "order-2",
                                             "order-10", "x*y",    "x?y", "\\esc", "\xc3\xa4", "\xc3\xa4\xe2\x82\xac",
                                             "$sub:a",   "$meta:b"};
static const char *const types[TYPES] = {"Placed", "Paid", "Shipped", "Re*"};
static const char *const patterns[] = {"*",   "a*",    "?",  "order-?", "order-*", "x\\*y",   "x\\?y",
                                       "*b*", "\xc3*", "$*", "$sub:*",  "??",      "nothing*"};
static const char *const type_patterns[] = {"Placed", "P*", "*d", "Re\\*", "None", "S??pped"};

static void grow(struct test_store *s, struct test_model *m, int frames, size_t data_max) {
    struct esdb_error err = {0};
    struct esdb_receipt r;
    for (int i = 0; i < frames; i++) {
        esdb_batch_clear(s->batch);
        for (uint32_t k = test_below(3) ? 1 : 1 + test_below(12); k > 0; k--) {
            const char *stream = streams[test_below(2) ? test_below(STREAMS) : test_below(4)];
            const char *type = types[test_below(TYPES)], *data = test_data(2 + test_below((uint32_t)data_max));
            test_add(s->batch, stream, type, NULL, data);
            test_model_add(m, stream, type, NULL, data);
        }
        assert_done(esdb_append(s->db, s->batch, 0, &r, &err), &err);
    }
}

/* ---- the brute-force answer ---- */

/* Backtracking over characters: slow and plain. */
static bool matches(const char *p, const char *t) {
    if (*p == '\0')
        return *t == '\0';
    if (*p == '*')
        return matches(p + 1, t) || (*t && matches(p, t + 1));
    if (*p == '?') {
        if (!*t)
            return false;
        do
            t++;
        while (((unsigned char)*t & 0xc0) == 0x80);
        return matches(p + 1, t);
    }
    if (*p == '\\' && p[1])
        p++;
    return *p == *t && matches(p + 1, t + 1);
}

static bool wanted_stream(const struct esdb_query *q, const char *stream) {
    bool open = q->flags & ESDB_WITH_SYSTEM || *stream != '$';
    if (q->flags & ESDB_ALL)
        return open;
    for (size_t i = 0; i < q->stream_count; i++) {
        const char *p = q->streams[i].at;
        if ((open || *p == '$') && (q->flags & ESDB_LITERAL ? strcmp(p, stream) == 0 : matches(p, stream)))
            return true;
    }
    return false;
}

static bool wanted(const struct esdb_query *q, const struct test_model_event *e, uint64_t position) {
    bool type = q->type_count == 0;
    for (size_t i = 0; i < q->type_count; i++)
        type = type || matches(q->types[i].at, e->type);
    return type && position >= q->from_position && position <= q->to_position && e->version >= q->from_version &&
           e->version <= q->to_version && wanted_stream(q, e->stream);
}

/* ---- queries ---- */

struct random_query {
    struct esdb_query q;
    struct esdb_text streams[NAMES_MAX], types[2];
};

static uint64_t bound(uint64_t top) {
    return test_below(8) ? test_below((uint32_t)top + 3) : top + test_below(1000);
}

static void make_query(struct random_query *r, const struct test_model *m) {
    memset(r, 0, sizeof *r);
    esdb_query_init(&r->q);
    r->q.flags = (test_below(2) ? (unsigned)ESDB_REVERSE : 0) | (test_below(4) ? 0 : (unsigned)ESDB_WITH_SYSTEM);
    uint32_t kind = test_below(4);
    if (kind == 0)
        r->q.flags |= ESDB_ALL;
    else {
        r->q.stream_count = 1 + test_below(test_below(2) ? 1 : NAMES_MAX);
        r->q.streams = r->streams;
        bool literal = kind == 1 || test_below(3) == 0;
        if (literal)
            r->q.flags |= ESDB_LITERAL;
        for (size_t i = 0; i < r->q.stream_count; i++)
            r->streams[i] =
                test_text(literal || test_below(2) ? streams[test_below(STREAMS)]
                                                   : patterns[test_below(sizeof patterns / sizeof *patterns)]);
    }
    if (test_below(4) == 0) {
        r->q.types = r->types;
        r->q.type_count = 1 + test_below(2);
        for (size_t i = 0; i < r->q.type_count; i++)
            r->types[i] = test_text(type_patterns[test_below(sizeof type_patterns / sizeof *type_patterns)]);
    }
    if (test_below(2))
        r->q.from_position = bound(m->count);
    if (test_below(2))
        r->q.to_position = bound(m->count);
    if (test_below(4) == 0)
        r->q.from_version = bound(m->count / 8);
    if (test_below(4) == 0)
        r->q.to_version = bound(m->count / 8);
    if (test_below(3) == 0)
        r->q.limit = test_below(2) ? test_below(5) : test_below((uint32_t)m->count + 1);
}

static void show_query(const struct esdb_query *q) {
    print_error("flags %u positions %" PRIu64 "..%" PRIu64 " versions %" PRIu64 "..%" PRIu64 " limit %" PRIu64
                " streams",
                q->flags, q->from_position, q->to_position, q->from_version, q->to_version, q->limit);
    for (size_t i = 0; i < q->stream_count; i++)
        print_error(" %s", q->streams[i].at);
    print_error(" types");
    for (size_t i = 0; i < q->type_count; i++)
        print_error(" %s", q->types[i].at);
    print_error("\n");
}

/* The next position that the query gives at or after (reverse: before) *at. False: none. */
static bool next_wanted(const struct esdb_query *q, const struct test_model *m, size_t *at) {
    bool reverse = q->flags & ESDB_REVERSE;
    while (reverse ? *at > 0 : *at < m->count) {
        size_t i = reverse ? *at - 1 : *at;
        if (wanted(q, &m->at[i], i))
            return true;
        *at += reverse ? (size_t)-1 : 1;
    }
    return false;
}

static void check_query(esdb *db, const struct test_model *m, const struct esdb_query *q) {
    struct esdb_error err = {0};
    struct esdb_event e;
    esdb_cursor *c;
    bool reverse = q->flags & ESDB_REVERSE;
    size_t at = reverse ? m->count : 0;
    uint64_t given = 0;
    assert_done(esdb_cursor_open(db, q, &c, &err), &err);
    int rc;
    while ((rc = esdb_cursor_next(c, &e, &err)) == 0) {
        bool more = given < q->limit && next_wanted(q, m, &at);
        if (!more || e.position != (reverse ? at - 1 : at) || !test_model_is(m, &e)) {
            show_query(q);
            fail_msg("event %" PRIu64 ": got position %" PRIu64 ", wanted %s%zu", given, e.position,
                     more ? "" : "none after ", reverse ? at - 1 : at);
        }
        given++;
        at += reverse ? (size_t)-1 : 1;
    }
    assert_code(rc, ESDB_END, &err);
    if (given < q->limit && next_wanted(q, m, &at)) {
        show_query(q);
        fail_msg("ended after %" PRIu64 " events, position %zu is missing", given, reverse ? at - 1 : at);
    }
    assert_int_equal(esdb_cursor_next(c, &e, &err), ESDB_END);
    esdb_cursor_close(c);
}

static void check_queries(esdb *db, const struct test_model *m, int count) {
    struct random_query r;
    for (int i = 0; i < count; i++) {
        make_query(&r, m);
        check_query(db, m, &r.q);
    }
}

/* Removes files below `folder` whose names end so, each with a chance. */
static void lose(const struct test_store *s, const char *folder, const char *suffix, uint32_t one_in) {
    char path[TEST_PATH], file[TEST_PATH + 256];
    test_path(path, s, folder);
    DIR *d = opendir(path);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        size_t len = strlen(e->d_name), tail = strlen(suffix);
        snprintf(file, sizeof file, "%s/%s", path, e->d_name);
        if (e->d_name[0] != '.' && len >= tail && strcmp(e->d_name + len - tail, suffix) == 0 &&
            test_below(one_in) == 0)
            unlink(file);
    }
    closedir(d);
}

/* ---- tests ---- */

static void every_query_gives_what_the_model_gives(void **state) {
    (void)state;
    static const size_t data_max[] = {4, 300, 3000};
    for (int round = 0; round < 18; round++) {
        struct test_store s;
        struct test_model m = {0};
        test_store_open(&s, TEST_SMALL_SEGMENT);
        check_queries(s.db, &m, 20); /* of an empty store */
        for (int step = 0; step < 5; step++) {
            grow(&s, &m, 40, data_max[round % 3]);
            check_queries(s.db, &m, 60);
            esdb *reader = test_open(s.path, ESDB_READ);
            check_queries(reader, &m, 20);
            esdb_close(reader);
        }
        test_store_close(&s);
        test_model_release(&m);
    }
}

static void derived_files_may_be_missing(void **state) {
    (void)state;
    for (int round = 0; round < 12; round++) {
        struct test_store s;
        struct test_model m = {0};
        test_store_open(&s, TEST_SMALL_SEGMENT);
        grow(&s, &m, 250, 3000);
        for (int step = 0; step < 5; step++) {
            lose(&s, "log", ".idx", step == 4 ? 1 : 2);
            lose(&s, "log", ".live", 2);
            lose(&s, "tables", "", step == 4 ? 1 : 2);
            esdb *handle[3] = {test_open(s.path, ESDB_READ), test_open(s.path, ESDB_EXAMINE),
                               test_open(s.path, ESDB_APPEND)};
            for (int h = 0; h < 3; h++) {
                check_queries(handle[h], &m, 25);
                esdb_close(handle[h]);
            }
            check_queries(s.db, &m, 10);
            grow(&s, &m, 10, 1000);
        }
        test_model_check(&m, s.path, m.count);
        test_store_close(&s);
        test_model_release(&m);
    }
}

/* Cursors that are open while the log grows under them, by their own handle and by another one. */
static void open_cursors_go_on_while_the_log_grows(void **state) {
    (void)state;
    enum { CURSORS = 8 };
    for (int round = 0; round < 48; round++) {
        struct test_store s;
        struct test_model m = {0};
        struct random_query r[CURSORS];
        esdb_cursor *c[CURSORS];
        size_t at[CURSORS];
        struct esdb_error err = {0};
        struct esdb_event e;
        test_store_open(&s, TEST_SMALL_SEGMENT);
        grow(&s, &m, (int)test_below(100), 400);
        esdb *reader = round % 3 ? test_open(s.path, round % 3 == 1 ? ESDB_READ : ESDB_EXAMINE) : s.db;
        for (int i = 0; i < CURSORS; i++) {
            make_query(&r[i], &m);
            r[i].q.flags &= ~(unsigned)ESDB_REVERSE;
            r[i].q.limit = r[i].q.to_position = r[i].q.to_version = UINT64_MAX;
            at[i] = 0;
            assert_done(esdb_cursor_open(reader, &r[i].q, &c[i], &err), &err);
        }
        for (int step = 0; step < 30; step++) {
            grow(&s, &m, (int)test_below(20), step % 10 == 9 ? 5000 : 300);
            for (int i = 0; i < CURSORS; i++) {
                int rc = 0;
                for (uint32_t n = test_below(5) ? test_below(60) : 100000; n > 0 && rc == 0; n--) {
                    rc = esdb_cursor_next(c[i], &e, &err);
                    bool more = next_wanted(&r[i].q, &m, &at[i]);
                    if (rc == 0 ? !more || e.position != at[i] || !test_model_is(&m, &e) : more || rc != ESDB_END) {
                        show_query(&r[i].q);
                        fail_msg("round %d step %d: code %d %s, got %" PRIu64 ", wanted %s%zu", round, step, rc,
                                 err.text, rc == 0 ? e.position : 0, more ? "" : "none at ", at[i]);
                    }
                    at[i] += rc == 0;
                }
                if (rc == ESDB_END && r[i].q.from_position <= m.count)
                    assert_int_equal(esdb_cursor_position(c[i]), m.count);
            }
        }
        for (int i = 0; i < CURSORS; i++)
            esdb_cursor_close(c[i]);
        if (reader != s.db)
            esdb_close(reader);
        test_store_close(&s);
        test_model_release(&m);
    }
}

static void streams_are_listed_as_the_model_has_them(void **state) {
    (void)state;
    struct test_store s;
    struct test_model m = {0};
    test_store_open(&s, TEST_SMALL_SEGMENT);
    for (int step = 0; step < 8; step++) {
        grow(&s, &m, step ? 40 : 1, 2000);
        if (step == 5) {
            lose(&s, "log", ".live", 1);
            lose(&s, "tables", "", 1);
        }
        for (size_t p = 0; p <= sizeof patterns / sizeof *patterns; p++) {
            struct esdb_error err = {0};
            struct esdb_stream_list *l;
            struct esdb_stream_info info, one;
            char before[256] = "";
            size_t listed = 0, want = 0;
            const char *pattern = p ? patterns[p - 1] : NULL;
            unsigned flags = test_below(2) ? (unsigned)ESDB_WITH_SYSTEM : 0;
            for (int i = 0; i < STREAMS; i++)
                want += test_model_version(&m, streams[i]) > 0 && (!pattern || matches(pattern, streams[i])) &&
                        (*streams[i] != '$' || flags || (pattern && *pattern == '$'));
            assert_done(esdb_stream_list_open(s.db, test_text(pattern), flags, &l, &err), &err);
            int rc;
            while ((rc = esdb_stream_list_next(l, &info, &err)) == 0) {
                char name[256];
                snprintf(name, sizeof name, "%.*s", (int)info.stream_id.len, info.stream_id.at);
                assert_true(strcmp(before, name) < 0);
                snprintf(before, sizeof before, "%s", name);
                assert_int_equal(info.first_version, 0);
                assert_int_equal(info.count, test_model_version(&m, name));
                assert_int_equal(info.last_version, info.count - 1);
                assert_done(esdb_stream_info(s.db, test_text(name), &one, &err), &err);
                assert_int_equal(one.count, info.count);
                assert_int_equal(one.last_version, info.last_version);
                assert_string_equal(m.at[one.first_position].stream, name);
                assert_int_equal(m.at[one.first_position].version, 0);
                assert_string_equal(m.at[one.last_position].stream, name);
                assert_int_equal(m.at[one.last_position].version, one.last_version);
                assert_true(one.first_epoch_us <= one.last_epoch_us);
                listed++;
            }
            assert_code(rc, ESDB_END, &err);
            assert_int_equal(listed, want);
            esdb_stream_list_close(l);
        }
    }
    struct esdb_stream_info info;
    struct esdb_error err = {0};
    assert_code(esdb_stream_info(s.db, test_text("none"), &info, &err), ESDB_ENOTFOUND, &err);
    assert_string_equal(err.text, "none: no such stream");
    test_store_close(&s);
    test_model_release(&m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_query_gives_what_the_model_gives),
        cmocka_unit_test(derived_files_may_be_missing),
        cmocka_unit_test(open_cursors_go_on_while_the_log_grows),
        cmocka_unit_test(streams_are_listed_as_the_model_has_them),
    };
    test_seed();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
