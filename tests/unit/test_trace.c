/* Causation: what events say of others, chains and graphs. Random graphs against brute force: tests/45-trace.bats. */
#include "tests/unit/store_fixture.h"

#include "libcore/trace.h"

/* ---- events ---- */

static bool names(const char *metadata, const char *key, const char *value) {
    struct esdb_event e = {.metadata = test_text(metadata)};
    return esdb_event_names(&e, test_text(key), test_text(value));
}

static void a_name_is_a_string_or_a_number(void **state) {
    (void)state;
    assert_true(names("{\"causation_id\":\"a\"}", "causation_id", "a"));
    assert_true(names("{\"x\":{\"causation_id\":\"b\"},\"causation_id\":\"a\",\"y\":[]}", "causation_id", "a"));
    assert_true(names("{\"causation_id\":17}", "causation_id", "17"));
    assert_true(names("{\"causation_id\":-1.5e3}", "causation_id", "-1.5e3"));
    assert_true(names("{\"c\\u0061usation_id\":\"\\u0061\\n\"}", "causation_id", "a\n"));
    assert_true(names("{\"causation_id\":\"a\",\"causation_id\":\"b\"}", "causation_id", "b"));
    assert_false(names("{\"causation_id\":\"a\",\"causation_id\":\"b\"}", "causation_id", "a"));
    assert_false(names("{\"causation_id\":\"a\",\"causation_id\":null}", "causation_id", "a"));
    assert_false(names("{\"causation_id\":null}", "causation_id", "null"));
    assert_false(names("{\"causation_id\":true}", "causation_id", "true"));
    assert_false(names("{\"causation_id\":[\"a\"]}", "causation_id", "a"));
    assert_false(names("{\"causation_id\":{\"a\":1}}", "causation_id", "a"));
    assert_false(names("{\"causation_id\":\"\"}", "causation_id", ""));
    assert_false(names("{\"x\":{\"causation_id\":\"a\"}}", "causation_id", "a"));
    assert_false(names("[\"causation_id\",\"a\"]", "causation_id", "a"));
    assert_false(names(NULL, "causation_id", "a"));
    assert_false(names("", "causation_id", "a"));
}

/* The library does not check what a program stores: no bytes may mislead it out of the metadata. */
static void bytes_that_are_no_json_are_no_names(void **state) {
    (void)state;
    static const char pieces[] = "{}[]\"\":,causation_id\\u00ea1-\x01";
    for (int i = 0; i < 200000; i++) {
        size_t len = test_below(24);
        char *metadata = malloc(len + 1); /* sanitizers see its end */
        for (size_t k = 0; k < len; k++)
            metadata[k] = pieces[test_below(sizeof pieces - 1)];
        struct esdb_event e = {.metadata = {metadata, len}};
        struct esdb_lookup f = {0};
        struct esdb_text cause;
        (void)esdb_event_names(&e, test_text("a"), test_text("1"));
        if (es_lookup_cause(&f, &e, &cause, NULL) == 1)
            assert_true(cause.len > 0 && cause.len <= len);
        es_buffer_release(&f.room);
        free(metadata);
    }
}

/* ---- stores ---- */

/* Appends an event `id` to a stream; cause may be NULL. */
static void append(struct test_store *s, const char *stream, const char *id, const char *cause) {
    struct esdb_error err = {0};
    struct esdb_receipt r;
    char metadata[300] = "";
    if (cause)
        snprintf(metadata, sizeof metadata, "{\"causation_id\":\"%s\",\"correlation_id\":\"c\"}", cause);
    struct esdb_new_event e = test_event(stream, "T", "{}");
    e.event_id = test_text(id);
    e.metadata = cause ? test_text(metadata) : (struct esdb_text){0};
    esdb_batch_clear(s->batch);
    assert_done(esdb_batch_add(s->batch, &e, &err), &err);
    assert_done(esdb_append(s->db, s->batch, 0, &r, &err), &err);
}

static esdb_lookup *lookup; /* of the store as it was when fresh() was called */

static void done_looking(void) {
    esdb_lookup_close(lookup);
    lookup = NULL;
}

static esdb_lookup *fresh(esdb *db) {
    struct esdb_error err = {0};
    done_looking();
    assert_done(esdb_lookup_open(db, 0, &lookup, &err), &err);
    return lookup;
}

static esdb_trace *trace(esdb *db, enum esdb_trace_what what, const char *id, uint32_t depth_max) {
    struct esdb_trace_query q = {.what = what, .id = test_text(id), .depth_max = depth_max, .event_max = 1000};
    struct esdb_error err = {0};
    esdb_trace *t = NULL;
    assert_done(esdb_trace_open(fresh(db), &q, &t, &err), &err);
    return t;
}

/* The nodes as one text, "a b c". */
static void expect_nodes(const esdb_trace *t, const char *wanted) {
    struct esdb_trace_info info;
    char text[1000] = "";
    size_t len = 0;
    esdb_trace_get_info(t, &info);
    for (size_t i = 0; i < info.nodes; i++) {
        struct esdb_text id = esdb_trace_get_node(t, i)->event_id;
        len += (size_t)snprintf(text + len, sizeof text - len, "%s%.*s", i ? " " : "", (int)id.len, id.at);
    }
    assert_string_equal(text, wanted);
}

static void depth_is_bounded_and_what_was_not_asked_for_is_no_gap(void **state) {
    (void)state;
    struct test_store s;
    struct esdb_trace_info info;
    test_store_open(&s, TEST_SMALL_SEGMENT);
    append(&s, "s", "a", "gone");
    append(&s, "s", "b", "a");
    append(&s, "s", "c", "b");
    append(&s, "s", "d", "c");
    static const struct {
        enum esdb_trace_what what;
        const char *id;
        uint32_t depth_max;
        const char *nodes;
        size_t missing;
    } cases[] = {
        {ESDB_TRACE_CAUSES, "d", 1, "c d", 0},     {ESDB_TRACE_CAUSES, "d", 2, "b c d", 0},
        {ESDB_TRACE_CAUSES, "d", 3, "a b c d", 0}, {ESDB_TRACE_CAUSES, "d", 4, "a b c d", 1},
        {ESDB_TRACE_CAUSES, "d", 0, "a b c d", 1}, {ESDB_TRACE_EFFECTS, "b", 1, "b c", 0},
        {ESDB_TRACE_EFFECTS, "b", 2, "b c d", 0},  {ESDB_TRACE_EFFECTS, "b", 0, "b c d", 0},
        {ESDB_TRACE_EFFECTS, "gone", 1, "a", 1},   {ESDB_TRACE_EVENTS, "c", 0, "c", 0},
        {ESDB_TRACE_GRAPH, "c", 0, "a b c d", 1},  {ESDB_TRACE_CORRELATION, "c", 0, "a b c d", 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        esdb_trace *t = trace(s.db, cases[i].what, cases[i].id, cases[i].depth_max);
        expect_nodes(t, cases[i].nodes);
        esdb_trace_get_info(t, &info);
        assert_int_equal(info.missing, cases[i].missing);
        assert_int_equal(info.gaps, cases[i].missing);
        esdb_trace_close(t);
    }
    esdb_trace_close(NULL);
    done_looking();
    test_store_close(&s);
}

static void ids_that_no_event_can_have_are_not_found(void **state) {
    (void)state;
    struct test_store s;
    char id[400];
    test_store_open(&s, TEST_SMALL_SEGMENT);
    append(&s, "s", "a", NULL);
    memset(id, 'x', sizeof id);
    for (size_t len = 0; len < sizeof id; len += 57) {
        for (int what = ESDB_TRACE_EVENTS; what <= ESDB_TRACE_CORRELATION; what++) {
            struct esdb_trace_query q = {.what = (enum esdb_trace_what)what, .id = {id, len}, .event_max = 10};
            struct esdb_error err = {0};
            esdb_trace *t = NULL;
            assert_code(esdb_trace_open(fresh(s.db), &q, &t, &err), ESDB_ENOTFOUND, &err);
            assert_null(t);
        }
        struct esdb_error err = {0};
        struct esdb_chain c;
        assert_code(esdb_chain(lookup, (struct esdb_text){id, len}, 10, &c, &err), ESDB_ENOTFOUND, &err);
    }
    done_looking();
    test_store_close(&s);
}

/* A causation_id may be longer than an id: its beginning is told, cut between characters, and it is nobody's. */
static void a_long_cause_is_missing_and_cut(void **state) {
    (void)state;
    struct test_store s;
    struct esdb_trace_info info;
    char cause[182];
    test_store_open(&s, TEST_SMALL_SEGMENT);
    cause[0] = 'x';
    for (size_t i = 1; i < 181; i += 2)
        memcpy(cause + i, "\xc3\xa4", 2);
    cause[181] = '\0';
    append(&s, "s", "a", cause);
    esdb_trace *t = trace(s.db, ESDB_TRACE_GRAPH, "a", 0);
    esdb_trace_get_info(t, &info);
    assert_int_equal(info.missing, 1);
    assert_int_equal(esdb_trace_get_gap(t, 0)->causation_id.len, 181);
    esdb_trace_close(t);

    struct esdb_error err = {0};
    struct esdb_receipt r;
    char metadata[600], longer[401];
    for (size_t i = 0; i < 400; i += 2)
        memcpy(longer + i, "\xc3\xa4", 2);
    longer[400] = '\0';
    snprintf(metadata, sizeof metadata, "{\"causation_id\":\"%s\"}", longer);
    struct esdb_new_event e = test_event("s", "T", "{}");
    e.event_id = test_text("b");
    e.metadata = test_text(metadata);
    esdb_batch_clear(s.batch);
    assert_done(esdb_batch_add(s.batch, &e, &err), &err);
    assert_done(esdb_append(s.db, s.batch, 0, &r, &err), &err);
    t = trace(s.db, ESDB_TRACE_CAUSES, "b", 0);
    assert_int_equal(esdb_trace_get_gap(t, 0)->causation_id.len, 254);
    assert_memory_equal(esdb_trace_get_gap(t, 0)->causation_id.at, longer, 254);
    esdb_trace_close(t);
    done_looking();
    test_store_close(&s);
}

static void a_limit_is_an_error_and_leaves_nothing_behind(void **state) {
    (void)state;
    struct test_store s;
    test_store_open(&s, TEST_SMALL_SEGMENT);
    append(&s, "s", "e0", NULL);
    for (int i = 1; i < 20; i++) {
        char id[8], cause[8];
        snprintf(id, sizeof id, "e%d", i);
        snprintf(cause, sizeof cause, "e%d", i - 1);
        append(&s, "s", id, cause);
    }
    for (uint64_t max = 0; max <= 20; max++) {
        struct esdb_trace_query q = {.what = ESDB_TRACE_GRAPH, .id = test_text("e7"), .event_max = max};
        struct esdb_error err = {0}, err2 = {0};
        struct esdb_chain c;
        esdb_trace *t = NULL;
        int want = max < 20 ? ESDB_EUSAGE : 0;
        assert_code(esdb_trace_open(fresh(s.db), &q, &t, &err), want, &err);
        assert_code(esdb_chain(lookup, test_text("e19"), max, &c, &err2), want, &err2);
        esdb_trace_close(t);
        if (want == 0) {
            assert_int_equal(c.count, 20);
            for (size_t i = 0; i < 20; i++)
                assert_int_equal(c.positions[i], i);
            assert_null(c.broken.at);
            esdb_chain_release(&c);
        }
    }
    done_looking();
    test_store_close(&s);
}

static void a_chain_tells_how_it_ends(void **state) {
    (void)state;
    struct test_store s;
    struct esdb_error err = {0};
    struct esdb_chain c;
    test_store_open(&s, TEST_SMALL_SEGMENT);
    append(&s, "s", "a", "gone");
    append(&s, "s", "b", "a");
    append(&s, "s", "x", "z");
    append(&s, "s", "y", "x");
    append(&s, "s", "z", "y");
    append(&s, "s", "w", "z");
    assert_done(esdb_chain(fresh(s.db), test_text("b"), 100, &c, &err), &err);
    assert_int_equal(c.count, 2);
    assert_false(c.is_cycle);
    assert_int_equal(c.broken.len, 4);
    assert_memory_equal(c.broken.at, "gone", 4);
    esdb_chain_release(&c);
    assert_done(esdb_chain(fresh(s.db), test_text("w"), 100, &c, &err), &err);
    assert_int_equal(c.count, 4);
    assert_true(c.is_cycle);
    assert_int_equal(c.positions[0], 2);
    assert_int_equal(c.positions[c.cycle], 4);
    assert_null(c.broken.at);
    esdb_chain_release(&c);
    esdb_chain_release(&c); /* harmless */
    done_looking();
    test_store_close(&s);
}

static void paths_are_shortest_and_cycles_have_numbers(void **state) {
    (void)state;
    struct test_store s;
    struct esdb_error err = {0};
    const uint32_t *path, *order;
    size_t count;
    test_store_open(&s, TEST_SMALL_SEGMENT);
    append(&s, "s1", "a", NULL); /* 0 */
    append(&s, "s1", "b", "a");  /* 1 */
    append(&s, "s1", "c", "b");  /* 2 */
    append(&s, "s1", "d", "c");  /* 3: a -> b -> c -> d */
    append(&s, "s2", "d", "a");  /*    a -> d */
    append(&s, "s1", "e", "d");  /* 4 */
    esdb_trace *t = trace(s.db, ESDB_TRACE_GRAPH, "e", 0);
    expect_nodes(t, "a b c d e");
    assert_done(esdb_trace_path(t, 0, 4, &path, &count, &err), &err);
    assert_int_equal(count, 3);
    assert_int_equal(path[0], 0);
    assert_int_equal(path[1], 3);
    assert_int_equal(path[2], 4);
    assert_code(esdb_trace_path(t, 4, 0, &path, &count, &err), ESDB_ENOTFOUND, &err);
    assert_int_equal(esdb_trace_find(t, test_text("d")), 3);
    assert_int_equal(esdb_trace_find(t, test_text("T")), -1); /* a text, but no id */
    assert_int_equal(esdb_trace_find(t, test_text("none")), -1);
    esdb_trace_close(t);

    append(&s, "s2", "b", "c"); /* b -> c -> b */
    t = trace(s.db, ESDB_TRACE_GRAPH, "e", 0);
    order = esdb_trace_get_order(t, &count);
    assert_int_equal(count, 2);
    assert_int_equal(order[0], 1);
    assert_int_equal(order[1], 2);
    esdb_trace_close(t);
    done_looking();
    test_store_close(&s);
}

/* What a lookup gives is what a cursor gives, over several segments, and as of its beginning. */
static void single_events_are_those_of_a_scan(void **state) {
    (void)state;
    struct test_store s;
    struct esdb_error err = {0};
    struct esdb_event e, same;
    struct esdb_query q;
    esdb_cursor *c;
    uint64_t position = 0;
    test_store_open(&s, TEST_SMALL_SEGMENT);
    assert_code(esdb_lookup_get(fresh(s.db), 0, &e, &err), ESDB_ENOTFOUND, &err);
    for (int i = 0; i < 400; i++)
        test_append(&s, i % 3 ? "a" : "b", test_data(10 + test_below(1500)));
    fresh(s.db);
    test_append(&s, "a", "{}");
    esdb_query_init(&q);
    q.flags = ESDB_ALL;
    q.limit = 400;
    assert_done(esdb_cursor_open(s.db, &q, &c, &err), &err);
    while (esdb_cursor_next(c, &e, &err) == 0) {
        assert_done(esdb_lookup_get(lookup, position++, &same, &err), &err);
        assert_int_equal(same.position, e.position);
        assert_int_equal(same.version, e.version);
        assert_int_equal(same.epoch_us, e.epoch_us);
        assert_int_equal(same.data.len, e.data.len);
        assert_memory_equal(same.data.at, e.data.at, e.data.len);
        assert_memory_equal(same.event_id.at, e.event_id.at, e.event_id.len);
    }
    esdb_cursor_close(c);
    assert_int_equal(position, 400);
    for (int i = 0; i < 1000; i++)
        assert_done(esdb_lookup_get(lookup, test_below(400), &e, &err), &err);
    static const uint64_t beyond[] = {400, 401, UINT32_MAX, 1ull << 40, UINT64_MAX};
    for (size_t i = 0; i < sizeof beyond / sizeof *beyond; i++) {
        err = (struct esdb_error){0};
        assert_code(esdb_lookup_get(lookup, beyond[i], &e, &err), ESDB_ENOTFOUND, &err);
    }
    assert_true(esdb_lookup_is_whole(lookup, NULL));
    done_looking();
    test_store_close(&s);
}

static void a_set_of_positions_knows_what_was_added(void **state) {
    (void)state;
    struct es_trace_set set = {0};
    unsigned char in[5000] = {0};
    for (int i = 0; i < 20000; i++) {
        uint32_t at = test_below(5000);
        assert_int_equal(es_trace_set_add(&set, at), !in[at]);
        in[at] = 1;
    }
    es_trace_set_release(&set);
    assert_int_equal(es_trace_set_add(&set, 1), 1);
    es_trace_set_release(&set);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_name_is_a_string_or_a_number),
        cmocka_unit_test(bytes_that_are_no_json_are_no_names),
        cmocka_unit_test(depth_is_bounded_and_what_was_not_asked_for_is_no_gap),
        cmocka_unit_test(ids_that_no_event_can_have_are_not_found),
        cmocka_unit_test(a_long_cause_is_missing_and_cut),
        cmocka_unit_test(a_limit_is_an_error_and_leaves_nothing_behind),
        cmocka_unit_test(a_chain_tells_how_it_ends),
        cmocka_unit_test(paths_are_shortest_and_cycles_have_numbers),
        cmocka_unit_test(single_events_are_those_of_a_scan),
        cmocka_unit_test(a_set_of_positions_knows_what_was_added),
    };
    test_seed();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
