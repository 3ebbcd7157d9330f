/* Folds over stores: the same state with and without snapshots at any version, forwards and merged, per stream and alone,
 * while streams are truncated, deleted and come back; and snapshots themselves against a model. */
#include "tests/unit/store_fixture.h"

#define STREAMS 4
static const char *const names[STREAMS] = {"a", "b", "c-1", "c-2"};

/* ---- folding ---- */

static char *copy(struct esdb_text t) {
    char *at = malloc(t.len + 1);
    assert_non_null(at);
    memcpy(at, t.at, t.len);
    at[t.len] = '\0';
    return at;
}

/* A fold that has read one stream, up to a version. */
static esdb_fold *folded(esdb *db, const char *stream, unsigned flags, uint64_t upto) {
    struct esdb_fold_options o = {.flags = flags};
    struct esdb_text name = test_text(stream);
    struct esdb_error err = {0};
    struct esdb_query q;
    esdb_fold *f;
    esdb_query_init(&q);
    q.streams = &name;
    q.stream_count = 1;
    q.to_version = upto;
    assert_done(esdb_fold_open(&o, &f, &err), &err);
    assert_done(esdb_fold_read(f, db, &q, &err), &err);
    return f;
}

/* The state of one stream, the caller's; NULL: none. */
static char *fold(esdb *db, const char *stream, unsigned flags, uint64_t upto, int64_t *snapshot, int64_t *version) {
    struct esdb_fold_result r;
    struct esdb_error err = {0};
    esdb_fold *f = folded(db, stream, flags, upto);
    int rc = esdb_fold_next(f, &r, &err);
    char *state = rc == 0 ? copy(r.state) : NULL;
    if (rc == 0 && snapshot)
        *snapshot = r.snapshot_version;
    if (rc == 0 && version)
        *version = r.version;
    esdb_fold_close(f);
    return state;
}

static int save(esdb *db, const char *stream, uint64_t upto, unsigned flags) {
    struct esdb_fold_result r;
    struct esdb_error err = {0};
    esdb_fold *f = folded(db, stream, flags, upto);
    assert_done(esdb_fold_next(f, &r, &err), &err);
    int rc = esdb_fold_save(f, db, 1, &err);
    esdb_fold_close(f);
    assert_true(rc == 0 || rc == ESDB_END);
    return rc;
}

static const char *random_data(void) {
    static char text[256];
    static const char *const values[] = {"{\"$sum\":1}", "{\"$sum\":0.1}", "{\"$overwrite\":5}", "7",
                                         "null",         "{\"$sum\":-3}"};
    int len = snprintf(text, sizeof text, "{");
    for (uint32_t i = 0, n = test_below(4); i < n; i++)
        len += snprintf(text + len, sizeof text - (size_t)len, "%s\"m%u\":%s", i ? "," : "", test_below(5),
                        values[test_below(6)]);
    snprintf(text + len, sizeof text - (size_t)len, "}");
    return text;
}

static void compare(esdb *db, const char *stream, uint64_t upto) {
    for (unsigned flags = 0; flags <= ESDB_FOLD_KEEP_TAGS; flags += ESDB_FOLD_KEEP_TAGS) {
        int64_t with_version = -1, without_version = -1;
        char *with = fold(db, stream, flags, upto, NULL, &with_version);
        char *without = fold(db, stream, flags | ESDB_FOLD_NO_SNAPSHOTS, upto, NULL, &without_version);
        assert_string_equal(with, without);
        assert_int_equal(with_version, without_version);
        free(with);
        free(without);
    }
}

/* Random lives: whatever snapshots there are, each state is the one that all events make. */
static void test_with_and_without_snapshots(void **unused) {
    (void)unused;
    for (int round = 0; round < 12; round++) {
        uint64_t next[STREAMS] = {0};
        struct test_store s;
        test_store_open(&s, TEST_SMALL_SEGMENT);
        for (int step = 0; step < 150; step++) {
            uint32_t i = test_below(STREAMS);
            uint32_t what = test_below(22);
            if (next[i] == 0 || what < 12) {
                test_append(&s, names[i], random_data());
                next[i]++;
            } else if (what < 15) {
                save(s.db, names[i], test_below(2) ? UINT64_MAX : test_below((uint32_t)next[i]), 0);
            } else if (what == 15) {
                int rc = esdb_snapshot_prune(s.db, test_text(names[i]), 1 + test_below(2), NULL, NULL);
                assert_true(rc == 0 || rc == ESDB_ENOTFOUND); /* it was deleted */
            } else if (what == 16) {
                uint64_t v = test_below((uint32_t)next[i]);
                int rc = esdb_snapshot_delete(s.db, test_text(names[i]), v, v + test_below(3), NULL, NULL);
                assert_true(rc == 0 || rc == ESDB_ENOTFOUND);
            } else if (what ==
                       17) { /* states that are made now have only what comes from here on, until it is undone */
                esdb_stream_delete(s.db, test_text(names[i]), ESDB_ANY, false, NULL, NULL);
            } else if (what == 18) {
                esdb_stream_undelete(s.db, test_text(names[i]), NULL, NULL);
            } else {
                compare(s.db, names[i], test_below(3) ? test_below((uint32_t)next[i]) : UINT64_MAX);
            }
        }
        for (int i = 0; i < STREAMS; i++)
            for (uint64_t v = 0; v < next[i]; v += 1 + test_below(3))
                compare(s.db, names[i], v);
        test_store_close(&s);
    }
}

/* Every stream alone, and all in one pass. */
static void test_per_stream_is_the_same(void **unused) {
    struct esdb_fold_options o = {.flags = ESDB_FOLD_PER_STREAM};
    struct esdb_error err = {0};
    struct esdb_text all = test_text("*");
    struct esdb_fold_result r;
    struct test_store s;
    struct esdb_query q;
    esdb_fold *f;
    int streams = 0, begun = 0;
    (void)unused;
    test_store_open(&s, TEST_SMALL_SEGMENT);
    for (int i = 0; i < 400; i++) {
        test_append(&s, names[test_below(STREAMS)], random_data());
        if (test_below(40) == 0 && i > 50)
            save(s.db, names[test_below(2)], UINT64_MAX, 0);
    }
    save(s.db, names[0], UINT64_MAX, 0);
    esdb_query_init(&q);
    q.streams = &all;
    q.stream_count = 1;
    assert_done(esdb_fold_open(&o, &f, &err), &err);
    assert_done(esdb_fold_read(f, s.db, &q, &err), &err);
    while (esdb_fold_next(f, &r, &err) == 0) {
        int64_t version;
        char *name = copy(r.stream_id), *state = copy(r.state);
        char *alone = fold(s.db, name, ESDB_FOLD_NO_SNAPSHOTS, UINT64_MAX, NULL, &version);
        assert_string_equal(name, names[streams]);
        assert_string_equal(state, alone);
        assert_int_equal(r.version, version);
        begun += r.snapshot_version >= 0;
        free(name);
        free(state);
        free(alone);
        streams++;
    }
    assert_int_equal(streams, STREAMS);
    assert_true(begun >= 1);
    esdb_fold_close(f);
    test_store_close(&s);
}

/* ---- lives ---- */

static void expect_state(esdb *db, const char *stream, const char *wanted, int64_t wanted_snapshot) {
    int64_t snapshot = -1;
    char *state = fold(db, stream, 0, UINT64_MAX, &snapshot, NULL);
    assert_string_equal(state, wanted);
    assert_int_equal(snapshot, wanted_snapshot);
    free(state);
}

/* A snapshot outlives truncation, as long as it leaves no gap; and it goes and comes back with the stream. */
static void test_snapshots_and_the_life_of_streams(void **unused) {
    struct esdb_error err = {0};
    struct test_store s;
    struct esdb_text a = test_text("a");
    struct esdb_snapshot_query q = {.max_version = UINT64_MAX, .as_of = UINT64_MAX};
    struct esdb_snapshot found;
    (void)unused;
    test_store_open(&s, TEST_SMALL_SEGMENT);
    for (int i = 0; i < 4; i++)
        test_append(&s, "a", "{\"n\":{\"$sum\":1}}");
    assert_int_equal(save(s.db, "a", 1, 0), 0);
    assert_done(esdb_stream_truncate(s.db, a, 2, NULL, &err), &err);
    expect_state(s.db, "a", "{\"n\":4}", 1);
    assert_done(esdb_stream_truncate(s.db, a, 3, NULL, &err), &err);
    expect_state(s.db, "a", "{\"n\":1}", -1); /* version 2 is in neither */
    assert_done(esdb_stream_truncate(s.db, a, 4, NULL, &err), &err);
    assert_done(esdb_stream_delete(s.db, a, ESDB_ANY, false, NULL, &err), &err);
    assert_int_equal(esdb_snapshot_load(s.db, a, &q, &found, NULL), ESDB_ENOTFOUND);
    test_append(&s, "a", "{\"n\":{\"$sum\":10}}");
    expect_state(s.db, "a", "{\"n\":10}", -1);
    struct esdb_new_snapshot old = {.version = 3, .state = test_text("{}"), .json = true};
    assert_code(esdb_snapshot_save(s.db, a, &old, NULL, &err), ESDB_ECONFLICT, &err);
    assert_string_equal(err.text, "a: no snapshot of version 3 can be saved: that version was deleted");
    assert_done(esdb_stream_undelete(s.db, a, NULL, &(struct esdb_error){0}), &err);
    assert_int_equal(esdb_snapshot_load(s.db, a, &q, &found, NULL), 0);
    assert_int_equal(found.version, 1);
    esdb_snapshot_release(&found);
    test_store_close(&s);
}

/* What another reducer has made is passed over. */
static void test_reducers_do_not_mix(void **unused) {
    struct test_store s;
    int64_t snapshot = -1;
    (void)unused;
    test_store_open(&s, TEST_SMALL_SEGMENT);
    for (int i = 0; i < 4; i++)
        test_append(&s, "a", "{\"n\":{\"$sum\":1}}");
    assert_int_equal(save(s.db, "a", 1, 0), 0);
    assert_int_equal(save(s.db, "a", 2, ESDB_FOLD_DEEP), 0);
    expect_state(s.db, "a", "{\"n\":4}", 1);
    free(fold(s.db, "a", ESDB_FOLD_DEEP, UINT64_MAX, &snapshot, NULL));
    assert_int_equal(snapshot, 2);
    free(fold(s.db, "a", ESDB_FOLD_SKIP_INVALID, UINT64_MAX, &snapshot, NULL));
    assert_int_equal(snapshot, 1);
    assert_int_equal(save(s.db, "a", 3, ESDB_FOLD_SKIP_INVALID), 0);
    expect_state(s.db, "a", "{\"n\":4}", 1);
    test_store_close(&s);
}

/* ---- snapshots against a model ---- */

struct model {
    bool there[64];
    uint64_t stamp[64];
};

static void check_model(esdb *db, const struct model *m) {
    struct esdb_text a = test_text("a");
    struct esdb_error err = {0};
    struct esdb_snapshot *list, found;
    size_t count = 0, at = 0;
    assert_done(esdb_snapshots_list(db, a, UINT64_MAX, &list, &count, &err), &err);
    for (int v = 63; v >= 0; v--)
        if (m->there[v]) {
            assert_true(at < count);
            assert_int_equal(list[at++].version, v);
        }
    assert_int_equal(at, count);
    esdb_snapshots_free(list, count);
    for (uint64_t upto = 0; upto < 70; upto += 3) {
        struct esdb_snapshot_query q = {.max_version = upto < 66 ? upto : UINT64_MAX, .as_of = UINT64_MAX};
        int best = -1;
        char wanted[64];
        for (int v = 0; v < 64; v++)
            if (m->there[v] && (uint64_t)v <= upto)
                best = v;
        int rc = esdb_snapshot_load(db, a, &q, &found, NULL);
        assert_int_equal(rc, best < 0 ? ESDB_ENOTFOUND : 0);
        if (best < 0)
            continue;
        int len = snprintf(wanted, sizeof wanted, "{\"v\":%d,\"s\":%llu}", best, (unsigned long long)m->stamp[best]);
        assert_int_equal(found.state.len, len);
        assert_memory_equal(found.state.at, wanted, (size_t)len);
        esdb_snapshot_release(&found);
    }
}

static void test_random_snapshots(void **unused) {
    struct esdb_text a = test_text("a");
    struct esdb_error err = {0};
    struct model m = {0};
    struct test_store s;
    (void)unused;
    test_store_open(&s, TEST_SMALL_SEGMENT);
    for (int i = 0; i < 64; i++)
        test_append(&s, "a", "1");
    for (uint64_t step = 0; step < 400; step++) {
        uint32_t what = test_below(12);
        uint64_t v = test_below(64);
        if (what < 8) {
            char state[64];
            int len = snprintf(state, sizeof state, "{\"v\":%u,\"s\":%llu}", (unsigned)v, (unsigned long long)step);
            struct esdb_new_snapshot n = {.version = v, .state = {state, (size_t)len}, .json = true};
            assert_done(esdb_snapshot_save(s.db, a, &n, NULL, &err), &err);
            m.there[v] = true;
            m.stamp[v] = step;
        } else if (what < 10) {
            uint64_t last = test_below(10) ? v + test_below(3) : UINT64_MAX;
            size_t count = 0, wanted = 0;
            for (uint64_t i = v; i < 64 && i <= last; i++) {
                wanted += m.there[i];
                m.there[i] = false;
            }
            int rc = esdb_snapshot_delete(s.db, a, v, last, &count, NULL);
            assert_int_equal(rc, wanted > 0 ? 0 : ESDB_ENOTFOUND);
            assert_int_equal(count, wanted);
        } else if (what == 10) {
            size_t keep = 1 + test_below(5), seen = 0, count;
            assert_done(esdb_snapshot_prune(s.db, a, keep, &count, &err), &err);
            for (int i = 63; i >= 0; i--)
                if (m.there[i] && ++seen > keep)
                    m.there[i] = false;
        }
        if (step % 8 == 0)
            check_model(s.db, &m);
    }
    check_model(s.db, &m);
    test_verify_clean(s.path);
    test_store_close(&s);
}

/* Bytes, large, empty and compressible states come back as they were. */
static void test_states_come_back(void **unused) {
    static const size_t sizes[] = {0, 1, 255, 256, 4096, 1 << 20, 9 << 20};
    struct esdb_snapshot_query q = {.max_version = UINT64_MAX, .as_of = UINT64_MAX};
    struct esdb_error err = {0};
    struct esdb_text a = test_text("a");
    struct test_store s;
    (void)unused;
    test_store_open(&s, TEST_SMALL_SEGMENT);
    test_append(&s, "a", "1");
    for (size_t i = 0; i < 2 * sizeof sizes / sizeof *sizes; i++) {
        size_t size = sizes[i / 2];
        unsigned char *state = malloc(size + 1);
        struct esdb_snapshot found;
        for (size_t k = 0; k < size; k++)
            state[k] = (unsigned char)(i % 2 ? test_random() : k / 50);
        struct esdb_new_snapshot n = {.state = {(char *)state, size}, .metadata = test_text("{\"k\":\"v\"}")};
        assert_done(esdb_snapshot_save(s.db, a, &n, NULL, &err), &err);
        assert_done(esdb_snapshot_load(s.db, a, &q, &found, &err), &err);
        assert_int_equal(found.state.len, size);
        assert_int_equal(found.size, size);
        assert_memory_equal(found.state.at, state, size);
        assert_int_equal(found.metadata.len, 9);
        assert_true(i % 2 || size < 4096 ? found.stored_size == size || size == 256 : found.stored_size < size);
        esdb_snapshot_release(&found);
        free(state);
    }
    test_store_close(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_with_and_without_snapshots),
        cmocka_unit_test(test_per_stream_is_the_same),
        cmocka_unit_test(test_snapshots_and_the_life_of_streams),
        cmocka_unit_test(test_reducers_do_not_mix),
        cmocka_unit_test(test_random_snapshots),
        cmocka_unit_test(test_states_come_back),
    };
    test_seed();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
