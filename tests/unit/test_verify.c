/* Verification: whatever byte of a store is wrong, it is found; and damage never becomes a wrong answer. */
#include "tests/unit/store_fixture.h"

#include <dirent.h>
#include <inttypes.h>
#include <unistd.h>

struct findings {
    int count[4]; /* by kind */
    struct esdb_finding first;
    int stop_after; /* 0: never */
};

static int collect(void *context, const struct esdb_finding *f) {
    struct findings *all = context;
    if (f->kind != ESDB_FINDING_NOTE && all->first.text[0] == '\0')
        all->first = *f;
    all->count[f->kind]++;
    assert_true(f->text[0]);
    return all->stop_after > 0 && --all->stop_after == 0 ? 7 : 0;
}

static int verify(const struct test_store *s, struct findings *f, struct esdb_verify_result *r) {
    struct esdb_error err = {0};
    struct esdb_verify_options o = {.finding = collect, .context = f};
    memset(f, 0, sizeof *f);
    memset(r, 0, sizeof *r);
    esdb *db = test_open(s->path, ESDB_EXAMINE);
    int rc = esdb_verify(db, &o, r, &err);
    esdb_close(db);
    assert_true(rc >= 0 || err.text[0]);
    return rc;
}

/* About 20 segments with indexes and tables, one of them merged. */
static void fill(struct test_store *s, struct test_model *m, int events) {
    test_store_open(s, TEST_SMALL_SEGMENT);
    for (int i = 0; i < events; i++)
        test_model_append(m, s, i % 3 ? "a" : "b", test_data(20 + test_below(12000)));
}

static void a_whole_store_has_no_findings(void **state) {
    (void)state;
    struct test_store s;
    struct test_model m = {0};
    struct findings f;
    struct esdb_verify_result r;
    uint64_t names[64];
    test_store_open(&s, TEST_SMALL_SEGMENT);
    assert_int_equal(verify(&s, &f, &r), 0);
    assert_int_equal(r.segments, 1);
    assert_int_equal(r.frames, 0);
    test_store_close(&s);
    fill(&s, &m, 200);
    assert_int_equal(verify(&s, &f, &r), 0);
    assert_int_equal(f.count[0] + f.count[1] + f.count[2] + f.count[3], 0);
    assert_int_equal(r.events, 200);
    assert_int_equal(r.streams, 2);
    assert_int_equal(r.segments, test_segments(&s, names, 64));
    assert_true(r.frames >= 200);
    test_store_close(&s);
    test_model_release(&m);
}

/* Reads forwards and backwards, all and one stream: every event is the model's, and none is missing without an error.
 * at: what was damaged, for messages. */
static void check_nothing_wrong_is_given(const struct test_store *s, const struct test_model *m, uint64_t at) {
    struct esdb_text name = test_text("a");
    for (int way = 0; way < 4; way++) {
        struct esdb_query q;
        struct esdb_error err = {0};
        struct esdb_event e;
        esdb_cursor *c;
        esdb *db = test_open(s->path, ESDB_EXAMINE);
        esdb_query_init(&q);
        q.flags = (way % 2 ? (unsigned)ESDB_REVERSE : 0) | (way < 2 ? (unsigned)ESDB_ALL : 0);
        q.streams = &name;
        q.stream_count = way < 2 ? 0 : 1;
        size_t n = 0, errors = 0;
        int rc = esdb_cursor_open(db, &q, &c, &err);
        for (int calls = 0; rc == 0 && calls < 2000; calls++) {
            struct esdb_error why = {0};
            int next = esdb_cursor_next(c, &e, &why);
            if (next == ESDB_END)
                break;
            errors += next < 0;
            if (next == 0 && !test_model_is(m, &e))
                fail_msg("place %" PRIu64 ", way %d: position %" PRIu64 " is not what was appended", at, way,
                         e.position);
            n += next == 0;
            assert_true(next == 0 || why.text[0]);
        }
        size_t want = 0;
        for (size_t i = 0; i < m->count; i++)
            want += way < 2 || strcmp(m->at[i].stream, "a") == 0;
        if (rc == 0 && n != want && errors == 0)
            fail_msg("place %" PRIu64 ", way %d: %zu events instead of %zu and no error", at, way, n, want);
        if (rc == 0)
            esdb_cursor_close(c);
        esdb_close(db);
    }
}

/* Sealed segments: any byte, any flip is damage of that file, found and named. */
static void a_flipped_byte_in_any_segment_is_found(void **state) {
    (void)state;
    struct test_store s;
    struct test_model m = {0};
    struct findings f;
    struct esdb_verify_result r;
    uint64_t names[64];
    fill(&s, &m, 60);
    size_t count = test_segments(&s, names, 64);
    assert_true(count > 4);
    for (int i = 0; i < 400; i++) {
        char path[TEST_PATH];
        size_t len, k = i < (int)count - 1 ? (size_t)i : test_below((uint32_t)count - 1);
        test_segment_file(path, &s, names[k], "log");
        unsigned char *bytes = test_file_read(path, &len);
        size_t at = i % 3 == 0 ? test_below(400) : i % 3 == 1 ? len - 1 - test_below(200) : test_below((uint32_t)len);
        unsigned char was = bytes[at], odd = (unsigned char)(was ^ 1u << test_below(8));
        test_file_patch(path, at, &odd, 1);
        int rc = verify(&s, &f, &r);
        if (rc != ESDB_ECORRUPT || r.damaged == 0 || !strstr(path, f.first.file))
            fail_msg("segment %zu, byte %zu of %zu: code %d, %s: %s", k, at, len, rc, f.first.file, f.first.text);
        if (i % 4 == 0)
            check_nothing_wrong_is_given(&s, &m, at);
        test_file_patch(path, at, &was, 1);
        free(bytes);
    }
    assert_int_equal(verify(&s, &f, &r), 0);
    test_store_close(&s);
    test_model_release(&m);
}

static void a_flipped_byte_in_the_active_segment_is_found(void **state) {
    (void)state;
    struct test_store s;
    struct test_model m = {0};
    struct findings f;
    struct esdb_verify_result r;
    char path[TEST_PATH];
    size_t len;
    test_store_open(&s, TEST_SMALL_SEGMENT);
    for (int i = 0; i < 6; i++)
        test_model_append(&m, &s, i % 2 ? "a" : "b", "\"data\"");
    test_segment_file(path, &s, 1, "log");
    unsigned char *bytes = test_file_read(path, &len);
    struct fmt_head *h = test_head_map(&s);
    uint64_t end = h->appended_mark[h->appended_mark[0].index < h->appended_mark[1].index].end_offset;
    test_head_unmap(h);
    for (size_t at = 0; at < end; at++) {
        unsigned char odd = (unsigned char)(bytes[at] ^ 1u << (at % 8));
        test_file_patch(path, at, &odd, 1);
        int rc = verify(&s, &f, &r);
        if (rc != ESDB_ECORRUPT || r.damaged == 0)
            fail_msg("byte %zu: code %d, %d damaged, %d torn", at, rc, f.count[ESDB_FINDING_DAMAGE],
                     f.count[ESDB_FINDING_TORN]);
        if (at % 5 == 0)
            check_nothing_wrong_is_given(&s, &m, at);
        test_file_patch(path, at, bytes + at, 1);
    }
    test_file_patch(path, end, "ESF1", 4); /* behind the end: an unfinished append, harmless */
    assert_int_equal(verify(&s, &f, &r), 0);
    assert_int_equal(f.count[ESDB_FINDING_TORN], 1);
    free(bytes);
    test_store_close(&s);
    test_model_release(&m);
}

/* Runs fn for the files of a folder of the store whose names end so. */
static void each_file(const struct test_store *s, const char *folder, const char *suffix, const struct test_model *m,
                      void (*fn)(const struct test_store *s, const struct test_model *m, const char *path)) {
    char dir[TEST_PATH], path[TEST_PATH + 256];
    test_path(dir, s, folder);
    DIR *d = opendir(dir);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        size_t len = strlen(e->d_name), tail = strlen(suffix);
        snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
        if (e->d_name[0] != '.' && len > tail && strcmp(e->d_name + len - tail, suffix) == 0)
            fn(s, m, path);
    }
    closedir(d);
}

static void damage_derived(const struct test_store *s, const struct test_model *m, const char *path) {
    struct findings f;
    struct esdb_verify_result r;
    size_t len;
    unsigned char *bytes = test_file_read(path, &len);
    for (int i = 0; i < 12; i++) {
        size_t at = i < 4 ? test_below(100) : test_below((uint32_t)len);
        unsigned char odd = (unsigned char)(bytes[at] ^ 1u << test_below(8));
        test_file_patch(path, at, &odd, 1);
        int rc = verify(s, &f, &r);
        if (rc != 0 || f.count[ESDB_FINDING_DERIVED] == 0 || !strstr(path, f.first.file))
            fail_msg("%s, byte %zu of %zu: code %d, %s: %s", path, at, len, rc, f.first.file, f.first.text);
        check_nothing_wrong_is_given(s, m, at);
        test_file_patch(path, at, bytes + at, 1);
    }
    free(bytes);
}

static void a_flipped_byte_in_a_derived_file_is_found_and_harmless(void **state) {
    (void)state;
    struct test_store s;
    struct test_model m = {0};
    struct esdb_error err = {0};
    struct findings f;
    struct esdb_verify_result r;
    fill(&s, &m, 140);
    each_file(&s, "log", ".idx", &m, damage_derived);
    each_file(&s, "tables", "", &m, damage_derived);
    test_model_append(&m, &s, "a", "1");
    assert_done(esdb_rebuild(s.db, &err), &err);
    assert_int_equal(verify(&s, &f, &r), 0);
    assert_int_equal(r.derived, 0);
    test_model_check(&m, s.path, m.count);
    test_store_close(&s);
    test_model_release(&m);
}

static void a_missing_segment_is_found(void **state) {
    (void)state;
    struct test_store s;
    struct test_model m = {0};
    struct findings f;
    struct esdb_verify_result r;
    uint64_t names[64];
    char path[TEST_PATH], away[TEST_PATH];
    fill(&s, &m, 60);
    size_t count = test_segments(&s, names, 64);
    test_path(away, &s, "away");
    for (size_t k = 1; k < count; k++) { /* the first one might have been removed by retention */
        test_segment_file(path, &s, names[k], "log");
        assert_int_equal(rename(path, away), 0);
        assert_int_equal(verify(&s, &f, &r), ESDB_ECORRUPT);
        check_nothing_wrong_is_given(&s, &m, names[k]);
        assert_int_equal(rename(away, path), 0);
    }
    assert_int_equal(verify(&s, &f, &r), 0);
    test_store_close(&s);
    test_model_release(&m);
}

static void whole_segments_in_the_wrong_place_are_found(void **state) {
    (void)state;
    struct test_store s[2];
    struct test_model m[2] = {{0}};
    struct findings f;
    struct esdb_verify_result r;
    char path[2][TEST_PATH];
    size_t len;
    for (int i = 0; i < 2; i++) { /* the same events in two stores */
        test_store_open(&s[i], TEST_SMALL_SEGMENT);
        for (int k = 0; k < 40; k++)
            test_model_append(&m[i], &s[i], "a", test_data(5000));
        test_segment_file(path[i], &s[i], 1, "log");
    }
    unsigned char *other = test_file_read(path[1], &len);
    test_file_write(path[0], other, len);
    assert_int_equal(verify(&s[0], &f, &r), ESDB_ECORRUPT);
    assert_non_null(strstr(f.first.text, "segment belongs to another store"));
    uint64_t names[16];
    test_segments(&s[1], names, 16);
    test_segment_file(path[0], &s[1], names[1], "log");
    test_file_write(path[0], other, len);
    assert_int_equal(verify(&s[1], &f, &r), ESDB_ECORRUPT);
    assert_non_null(strstr(f.first.text, "segment has the name of another one"));
    free(other);
    for (int i = 0; i < 2; i++) {
        test_store_close(&s[i]);
        test_model_release(&m[i]);
    }
}

static void a_finding_may_end_it(void **state) {
    (void)state;
    struct test_store s;
    struct test_model m = {0};
    struct findings f = {.stop_after = 1};
    struct esdb_verify_options o = {.finding = collect, .context = &f};
    struct esdb_verify_result r;
    char path[TEST_PATH];
    fill(&s, &m, 60);
    test_segment_file(path, &s, 1, "log");
    test_file_patch(path, 10, "X", 1);
    esdb *db = test_open(s.path, ESDB_EXAMINE);
    assert_int_equal(esdb_verify(db, &o, &r, NULL), 7);
    esdb_close(db);
    test_store_close(&s);
    test_model_release(&m);
}

/* A writer rolls over and trims the segment that is being verified. */
static struct test_store *rolling;
static int roll_over_now(void *context, const struct esdb_finding *f) {
    int *calls = context;
    (void)f;
    if ((*calls)++ == 0)
        for (int i = 0; i < 3; i++)
            test_append(rolling, "a", test_data(500000));
    return 0;
}

static void a_roll_over_meanwhile_is_no_damage(void **state) {
    (void)state;
    struct test_store s;
    int calls = 0;
    struct esdb_error err = {0};
    struct esdb_verify_options o = {.finding = roll_over_now, .context = &calls};
    struct esdb_verify_result r;
    char path[TEST_PATH];
    size_t len;
    test_store_open(&s, 1u << 20);
    rolling = &s;
    for (int i = 0; i < 3; i++)
        test_append(&s, "a", "\"data\"");
    test_segment_file(path, &s, 1, "log");
    unsigned char *bytes = test_file_read(path, &len), *at = memmem(bytes, len, "ESF1", 4);
    test_file_patch(path, (uint64_t)(at - bytes) + 96, "\x55", 1); /* synced_index: a finding, so that we are called */
    free(bytes);
    esdb *db = test_open(s.path, ESDB_READ);
    int rc = esdb_verify(db, &o, &r, &err);
    assert_code(rc, ESDB_ECORRUPT, &err); /* that byte, nothing else */
    assert_int_equal(r.damaged, 1);
    assert_true(calls >= 1);
    esdb_close(db);
    test_store_close(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_whole_store_has_no_findings),
        cmocka_unit_test(a_flipped_byte_in_any_segment_is_found),
        cmocka_unit_test(a_flipped_byte_in_the_active_segment_is_found),
        cmocka_unit_test(a_flipped_byte_in_a_derived_file_is_found_and_harmless),
        cmocka_unit_test(a_missing_segment_is_found),
        cmocka_unit_test(whole_segments_in_the_wrong_place_are_found),
        cmocka_unit_test(a_finding_may_end_it),
        cmocka_unit_test(a_roll_over_meanwhile_is_no_damage),
    };
    test_seed();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
