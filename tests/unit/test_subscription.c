/* Subscriptions below the tools: what a selector is recorded as, what an event says of one, what is parked after any
 * history of marks, and the lag of many, divided ones too, against counting by hand. */
#include "tests/unit/store_fixture.h"

#include <errno.h>

#include "libcore/subscription.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* ---- selectors ---- */

static char *written(const struct esdb_query *q) {
    struct esdb_error err = {0};
    char *json;
    assert_done(esdb_selector_write(q, &json, &err), &err);
    return json;
}

static void the_same_choice_has_the_same_text(void **state) {
    (void)state;
    struct esdb_text ab[] = {test_text("b"), test_text("a"), test_text("b")}, ba[] = {test_text("a"), test_text("b")};
    struct esdb_where one[] = {{test_text("k"), test_text("2")}, {test_text("k"), test_text("1")}};
    struct esdb_where two[] = {{test_text("k"), test_text("1")}, {test_text("k"), test_text("2")}};
    struct esdb_query p, q;
    esdb_query_init(&p);
    esdb_query_init(&q);
    p.streams = p.types = p.ids = p.tags = ab;
    p.stream_count = p.type_count = p.id_count = p.tag_count = 3;
    q.streams = q.types = q.ids = q.tags = ba;
    q.stream_count = q.type_count = q.id_count = q.tag_count = 2;
    p.where = one;
    q.where = two;
    p.where_count = q.where_count = 2;
    p.match = test_text(" { \"data\" : 1.0 } ");
    q.match = test_text("{\"data\":1.0}");
    p.from_position = 7; /* where it begins is not what it chooses */
    p.limit = 3;
    p.partition = 1;
    p.partitions = 2;
    char *x = written(&p), *y = written(&q);
    assert_string_equal(x, y);
    assert_string_equal(x, "{\"streams\":[\"a\",\"b\"],\"types\":[\"a\",\"b\"],\"ids\":[\"a\",\"b\"],"
                           "\"where\":[[\"k\",\"1\"],[\"k\",\"2\"]],\"tags\":[\"a\",\"b\"],\"match\":{\"data\":1.0}}");
    free(x);
    free(y);
}

static struct esdb_text any_text(void) {
    static const char *const words[] = {"a", "b*", "\"", "\\", "\xc3\xa4", "\xf0\x9f\x98\x80", "{}", "a\"b\\c/d", "?"};
    return test_text(words[test_below(COUNT(words))]);
}

static size_t any_list(struct esdb_text *list) {
    size_t count = test_below(4);
    for (size_t i = 0; i < count; i++)
        list[i] = any_text();
    return count;
}

static void what_is_written_can_be_read_and_written_again(void **state) {
    (void)state;
    for (int round = 0; round < 2000; round++) {
        struct esdb_text list[4][4];
        struct esdb_where where[4];
        struct esdb_error err = {0};
        struct esdb_query q;
        esdb_selector *selector;
        esdb_query_init(&q);
        q.flags = test_below(2) ? ESDB_ALL : ESDB_LITERAL | ESDB_INVERT;
        q.stream_count = any_list(list[0]);
        q.type_count = any_list(list[1]);
        q.id_count = any_list(list[2]);
        q.tag_count = any_list(list[3]);
        q.streams = list[0];
        q.types = list[1];
        q.ids = list[2];
        q.tags = list[3];
        q.where = where;
        q.where_count = test_below(4);
        for (size_t i = 0; i < q.where_count; i++)
            where[i] = (struct esdb_where){any_text(), any_text()};
        if (test_below(2))
            q.match = test_text("{\"data\":{\"a\\\"b\":[1,\"x\",{}]}}");
        if (test_below(2))
            q.select = test_text(".data.a == \"\xc3\xa4\\n\"");
        q.select_timeout_ms = test_below(3) * 500;
        char *first = written(&q);
        assert_done(esdb_selector_read(test_text(first), &selector, &err), &err);
        char *second = written(esdb_selector_query(selector));
        assert_string_equal(first, second);
        esdb_selector_close(selector);
        free(first);
        free(second);
    }
}

static void what_nobody_knows_is_refused(void **state) {
    (void)state;
    static const char *const bad[] = {
        "",
        "1",
        "[]",
        "\"streams\"",
        "{\"newer\":1}",
        "{\"streams\":\"a\"}",
        "{\"streams\":[]}",
        "{\"streams\":[1]}",
        "{\"streams\":{\"a\":1}}",
        "{\"types\":[\"a\",null]}",
        "{\"all\":false}",
        "{\"all\":1}",
        "{\"where\":[]}",
        "{\"where\":[[\"a\"]]}",
        "{\"where\":[\"a\",\"b\"]}",
        "{\"where\":{\"a\":\"b\"}}",
        "{\"select\":1}",
        "{\"select_timeout_ms\":-1}",
        "{\"select_timeout_ms\":\"1\"}",
        "{\"select_timeout_ms\":4294967296}",
        "{\"select_timeout_ms\":99999999999999999999999999}",
    };
    for (size_t i = 0; i < COUNT(bad); i++) {
        struct esdb_error err = {0};
        esdb_selector *selector = NULL;
        if (esdb_selector_read(test_text(bad[i]), &selector, &err) != ESDB_EUSAGE)
            fail_msg("%s: %s", bad[i], err.text);
        assert_null(selector);
    }
}

/* ---- states ---- */

static struct esdb_event event_of(const char *type, struct es_buffer *data) {
    return (struct esdb_event){.event_type = test_text(type), .data = {(char *)data->at, data->len}, .version = 9};
}

static void a_state_comes_back_as_it_was(void **state) {
    (void)state;
    for (int kind = 0; kind < ES_SUB_KINDS; kind++) {
        struct es_sub_state s = {.version = 9,
                                 .kind = (enum es_sub_kind)kind,
                                 .position = INT64_MAX,
                                 .epoch = 3,
                                 .record = 2,
                                 .pid = 77,
                                 .since_us = 5,
                                 .counts = {1, 2, 3, 4, (uint64_t)kind}};
        struct es_sub_state back = {0};
        struct es_sub_record record = {.start = 1, .created_us = 6, .parts = 64, .group = kind % 2, .selector = "{}"};
        struct es_sub_record read;
        struct es_buffer data = {0};
        memset(s.host, 'h', sizeof s.host - 1); /* the longest */
        record.selector_len = 2;
        assert_int_equal(es_sub_encode(&data, &s, &record, ",\"dropped\":[1,2]"), 0);
        struct esdb_event e = event_of(es_sub_type(s.kind), &data);
        assert_true(es_sub_decode(&e, &back));
        assert_memory_equal(&back.counts, &s.counts, sizeof s.counts);
        assert_string_equal(back.host, s.host);
        assert_true(back.version == 9 && back.kind == s.kind && back.position == s.position && back.epoch == 3 &&
                    back.record == 2 && back.pid == 77 && back.since_us == 5);
        assert_int_equal(es_sub_decode_record(&e, &read), 0);
        assert_true(read.start == 1 && read.created_us == 6 && read.parts == 64 && read.group == (kind % 2 == 1));
        assert_string_equal(read.selector, "{}");
        free(read.selector);
        es_buffer_release(&data);
    }
}

static void nonsense_is_no_state(void **state) {
    (void)state;
    static const char *const bad[] = {
        "{}",
        "1",
        "[]",
        "{\"position\":1,\"epoch\":1}",
        "{\"position\":-1,\"epoch\":1,\"record\":1}",
        "{\"position\":1.5,\"epoch\":1,\"record\":1}",
        "{\"position\":\"1\",\"epoch\":1,\"record\":1}",
        "{\"position\":9223372036854775808,\"epoch\":1,\"record\":1}",
        "{\"position\":99999999999999999999999,\"epoch\":1,\"record\":1}",
    };
    struct es_sub_state out = {.version = 42};
    struct es_sub_record record = {.version = 42};
    for (size_t i = 0; i < COUNT(bad); i++) {
        struct esdb_event e = {.event_type = test_text("$sub-checkpoint"), .data = test_text(bad[i])};
        assert_false(es_sub_decode(&e, &out));
        assert_int_equal(es_sub_decode_record(&e, &record), -EINVAL);
    }
    const char *good = "{\"position\":1,\"epoch\":1,\"record\":1}";
    assert_false(
        es_sub_decode(&(struct esdb_event){.event_type = test_text("$sub-nix"), .data = test_text(good)}, &out));
    assert_false(es_sub_decode(
        &(struct esdb_event){.event_type = test_text("$sub-acked"), .data = test_text(good), .binary = true}, &out));
    assert_true(out.version == 42 && record.version == 42); /* outputs only on success */
    /* A host that does not fit is none. */
    char *json = malloc(400);
    int len =
        snprintf(json, 400, "{\"position\":1,\"epoch\":1,\"record\":1,\"holder\":{\"host\":\"%0300d\",\"pid\":1}}", 1);
    assert_true(
        es_sub_decode(&(struct esdb_event){.event_type = test_text("$sub-acked"), .data = {json, (size_t)len}}, &out));
    assert_string_equal(out.host, "");
    free(json);
}

/* ---- stores ---- */

static void fill(struct test_store *s, uint32_t count, uint32_t streams) {
    char name[32], data[32];
    for (uint32_t i = 0; i < count; i++) {
        snprintf(name, sizeof name, "s-%u", test_below(streams));
        snprintf(data, sizeof data, "%u", i);
        test_append(s, name, data);
    }
}

static esdb_subscription *create(struct test_store *s, const char *name, const struct esdb_query *q, uint32_t parts) {
    struct esdb_error err = {0};
    esdb_subscription *sub;
    assert_done(esdb_subscription_create(s->db, test_text(name), q, 0, parts, parts == ESDB_GROUP_PARTS, &sub, &err),
                &err);
    return sub;
}

/* What is parked after a history, and the same as a plain list tells it. */
static void parked_events_are_those_of_a_plain_list(void **state) {
    (void)state;
    enum { POSITIONS = 40 };
    enum { NOT, PARKED, WANTED } model[POSITIONS] = {0};
    struct test_store s;
    struct esdb_error err = {0};
    struct esdb_query q;
    test_store_open(&s, TEST_SMALL_SEGMENT);
    esdb_query_init(&q);
    q.flags = ESDB_ALL;
    esdb_subscription *sub = create(&s, "a", &q, 0);
    for (int round = 0; round < 600; round++) {
        uint32_t at = test_below(POSITIONS), what = test_below(4);
        if (what == 0) {
            struct esdb_parked p = {.position = at,
                                    .stream_id = test_text("s"),
                                    .event_type = test_text("t"),
                                    .event_id = test_text("i"),
                                    .reason = test_text("not \xff UTF-8"),
                                    .attempts = 1};
            assert_done(esdb_subscription_park(sub, &p, &err), &err);
            model[at] = PARKED;
        } else {
            static const enum esdb_parked_mark marks[] = {0, ESDB_PARKED_RETRY, ESDB_PARKED_DONE, ESDB_PARKED_DROPPED};
            struct esdb_error why = {0};
            int rc = esdb_parked_mark(s.db, test_text("a"), at, marks[what], &why);
            assert_code(rc, model[at] == NOT ? ESDB_ENOTFOUND : 0, &why);
            if (model[at] != NOT)
                model[at] = what == 1 ? WANTED : NOT;
        }
        if (round % 20 != 0)
            continue;
        struct esdb_parked_entry *list;
        size_t count, next = 0;
        assert_done(esdb_parked_list(s.db, test_text("a"), &list, &count, &err), &err);
        for (uint32_t i = 0; i < POSITIONS; i++) {
            if (model[i] == NOT)
                continue;
            assert_true(next < count && list[next].position == i && list[next].retry == (model[i] == WANTED));
            next++;
        }
        assert_int_equal(next, count);
        free(list);
    }
    esdb_subscription_close(sub);
    test_store_close(&s);
}

static uint64_t count_by_hand(struct test_store *s, uint64_t from, uint32_t part, uint32_t parts, uint64_t *first) {
    struct esdb_query q;
    struct esdb_event e;
    esdb_cursor *cursor;
    uint64_t count = 0;
    esdb_query_init(&q);
    q.flags = ESDB_ALL;
    q.from_position = from;
    assert_int_equal(esdb_cursor_open(s->db, &q, &cursor, NULL), 0);
    while (esdb_cursor_next(cursor, &e, NULL) == 0)
        if ((parts == 0 || esdb_partition(e.stream_id, parts) == part) && count++ == 0)
            *first = e.position;
    esdb_cursor_close(cursor);
    return count;
}

static void the_lag_of_many_is_what_is_counted_by_hand(void **state) {
    (void)state;
    enum { SUBS = 24 };
    esdb_subscription *sub[SUBS + 1];
    struct esdb_subscription_lag lag[SUBS + 1];
    struct esdb_error err = {0};
    struct test_store s;
    struct esdb_query q;
    char name[16];
    uint64_t position[SUBS], end;
    test_store_open(&s, TEST_SMALL_SEGMENT);
    fill(&s, 1500, 30);
    esdb_query_init(&q);
    q.flags = ESDB_ALL;
    for (int i = 0; i < SUBS; i++) {
        snprintf(name, sizeof name, "n%d", i);
        sub[i] = create(&s, name, &q, 0);
        position[i] = i < 3 ? 0 : test_below(1700); /* some are at the same place, some behind the end */
        assert_done(esdb_subscription_seek(sub[i], position[i], 0, &err), &err);
    }
    struct esdb_text none = test_text("nobody");
    q.flags = 0;
    q.streams = &none;
    q.stream_count = 1;
    sub[SUBS] = create(&s, "none", &q, 0);
    assert_done(esdb_end_position(s.db, &end, &err), &err);
    assert_done(esdb_subscription_lags(sub, SUBS + 1, lag, &err), &err);
    for (int i = 0; i < SUBS; i++) {
        uint64_t first = end, count = count_by_hand(&s, position[i], 0, 0, &first);
        struct esdb_subscription_lag alone;
        assert_done(esdb_subscription_lag(sub[i], UINT64_MAX, &alone, &err), &err);
        assert_true(lag[i].events == count && lag[i].position == first && lag[i].end_position == end);
        assert_true(alone.events == count && alone.position == first && alone.epoch_us == lag[i].epoch_us);
        assert_done(esdb_subscription_lag(sub[i], 5, &alone, &err), &err);
        assert_true(alone.events == (count < 5 ? count : 5) && alone.position == first);
    }
    assert_true(lag[SUBS].events == 0 && lag[SUBS].position == end && lag[SUBS].epoch_us == 0);
    assert_done(esdb_subscription_lags(sub, 0, lag, &err), &err);
    for (int i = 0; i <= SUBS; i++)
        esdb_subscription_close(sub[i]);
    test_store_close(&s);
}

static void the_whole_of_a_divided_one_is_its_parts(void **state) {
    (void)state;
    enum { PARTS = 5 };
    struct esdb_subscription_counts more = {.delivered = 1, .dropped = 2};
    struct esdb_subscription_info info;
    struct esdb_subscription_lag lag;
    struct esdb_error err = {0}, why = {0};
    struct test_store s;
    struct esdb_query q;
    uint64_t sum = 0, lowest = UINT64_MAX;
    test_store_open(&s, TEST_SMALL_SEGMENT);
    fill(&s, 800, 40);
    esdb_query_init(&q);
    q.flags = ESDB_ALL;
    esdb_subscription *whole = create(&s, "d", &q, PARTS), *part;
    for (uint32_t i = 1; i <= PARTS; i++) {
        uint64_t position = 100 + test_below(700), first;
        assert_done(esdb_subscription_open(s.db, test_text("d"), i, &part, &err), &err);
        assert_done(esdb_subscription_hold(part, 0, &err), &err);
        assert_done(esdb_subscription_save(part, position, &more, 0, &err), &err);
        assert_done(esdb_subscription_save(part, 50, NULL, 0, &err), &err); /* never back */
        assert_done(esdb_subscription_lag(part, UINT64_MAX, &lag, &err), &err);
        assert_true(lag.events == count_by_hand(&s, position, i, PARTS, &first));
        esdb_subscription_close(part);
        sum += lag.events;
        lowest = position < lowest ? position : lowest;
    }
    assert_done(esdb_subscription_info(whole, &info, &err), &err);
    assert_true(info.position == lowest && info.parts == PARTS && !info.group && !info.held);
    assert_true(info.counts.delivered == PARTS && info.counts.dropped == 2 * PARTS);
    assert_done(esdb_subscription_lag(whole, UINT64_MAX, &lag, &err), &err);
    assert_true(lag.events == sum);
    /* ack moves those that are behind, and none back */
    assert_done(esdb_subscription_ack(whole, lowest + 20, &err), &err);
    assert_done(esdb_subscription_info(whole, &info, &err), &err);
    assert_true(info.position > lowest && info.position <= lowest + 21);
    assert_code(esdb_subscription_ack(whole, lowest - 1, &why), ESDB_ECONFLICT, &why);
    assert_done(esdb_subscription_seek(whole, 3, 0, &err), &err);
    for (uint32_t i = 1; i <= PARTS; i++) {
        assert_done(esdb_subscription_open(s.db, test_text("d"), i, &part, &err), &err);
        assert_done(esdb_subscription_info(part, &info, &err), &err);
        assert_true(info.position == 3);
        esdb_subscription_close(part);
    }
    esdb_subscription_close(whole);
    why = (struct esdb_error){0};
    assert_code(esdb_subscription_open(s.db, test_text("d"), PARTS + 1, &part, &why), ESDB_EUSAGE, &why);
    why = (struct esdb_error){0};
    assert_code(esdb_subscription_create(s.db, test_text("e"), &q, 0, ES_SUB_PARTS_MAX + 1, false, &part, &why),
                ESDB_EUSAGE, &why);
    test_store_close(&s);
}

static void a_holder_that_was_deposed_cannot_move_it(void **state) {
    (void)state;
    struct esdb_error err = {0}, why = {0};
    struct esdb_subscription_info info;
    esdb_subscription *holder, *other;
    struct test_store s;
    struct esdb_query q;
    test_store_open(&s, TEST_SMALL_SEGMENT);
    fill(&s, 20, 2);
    esdb_query_init(&q);
    q.flags = ESDB_ALL;
    esdb *db = test_open(s.path, ESDB_APPEND);
    holder = create(&s, "a", &q, 0);
    assert_done(esdb_subscription_hold(holder, 0, &err), &err);
    assert_done(esdb_subscription_save(holder, 5, NULL, 0, &err), &err);
    assert_done(esdb_subscription_open(db, test_text("a"), 0, &other, &err), &err);
    assert_code(esdb_subscription_hold(other, 0, &why), ESDB_EUNAVAILABLE, &why);
    assert_non_null(strstr(why.text, "process ")); /* who it is */
    why = (struct esdb_error){0};
    assert_code(esdb_subscription_seek(other, 1, 0, &why), ESDB_EUNAVAILABLE, &why);
    assert_done(esdb_subscription_seek(other, 1, ESDB_FORCE, &err), &err);
    for (int i = 0; i < 3; i++) { /* not by trying again either */
        why = (struct esdb_error){0};
        assert_code(esdb_subscription_save(holder, 9, NULL, 0, &why), ESDB_EUNAVAILABLE, &why);
    }
    assert_done(esdb_subscription_look(other, &err), &err);
    assert_done(esdb_subscription_info(other, &info, &err), &err);
    assert_true(info.position == 1);
    esdb_subscription_close(holder);
    esdb_subscription_close(other);
    esdb_close(db);
    test_store_close(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_choice_has_the_same_text),
        cmocka_unit_test(what_is_written_can_be_read_and_written_again),
        cmocka_unit_test(what_nobody_knows_is_refused),
        cmocka_unit_test(a_state_comes_back_as_it_was),
        cmocka_unit_test(nonsense_is_no_state),
        cmocka_unit_test(parked_events_are_those_of_a_plain_list),
        cmocka_unit_test(the_lag_of_many_is_what_is_counted_by_hand),
        cmocka_unit_test(the_whole_of_a_divided_one_is_its_parts),
        cmocka_unit_test(a_holder_that_was_deposed_cannot_move_it),
    };
    test_seed();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
