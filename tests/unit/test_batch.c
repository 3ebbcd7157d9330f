/* Batches: what an event may look like, the ids that are made, how large a frame may be. */
#include "tests/unit/store_fixture.h"

#include "format/limits.h"

static char filler[FMT_EVENT_SIZE_MAX + 1];

static void expect_refused(struct esdb_new_event e, int code, const char *text) {
    struct esdb_error err = {0};
    esdb_batch *b;
    assert_int_equal(esdb_batch_open(&b), 0);
    size_t size = esdb_batch_size(b);
    assert_code(esdb_batch_add(b, &e, &err), code, &err);
    assert_string_equal(err.text, text);
    assert_int_equal(err.code, code);
    assert_int_equal(esdb_batch_count(b), 0);
    assert_int_equal(esdb_batch_size(b), size);
    esdb_batch_close(b);
}

static void expect_taken(struct esdb_new_event e) {
    struct esdb_error err = {0};
    esdb_batch *b;
    assert_int_equal(esdb_batch_open(&b), 0);
    assert_done(esdb_batch_add(b, &e, &err), &err);
    assert_int_equal(esdb_batch_count(b), 1);
    esdb_batch_close(b);
}

static struct esdb_text of_length(size_t len) {
    return (struct esdb_text){filler, len};
}

static void names_are_limited(void **state) {
    (void)state;
    struct esdb_new_event good = test_event("s", "t", "{}"), e;
    e = good, e.stream_id = of_length(0);
    expect_refused(e, ESDB_EINVALID, "stream_id is empty");
    e = good, e.stream_id = of_length(240);
    expect_taken(e);
    e = good, e.stream_id = of_length(241);
    expect_refused(e, ESDB_EINVALID, "stream_id is longer than 240 bytes");
    e = good, e.event_type = of_length(0);
    expect_refused(e, ESDB_EINVALID, "event_type is empty");
    e = good, e.event_type = of_length(255);
    expect_taken(e);
    e = good, e.event_type = of_length(256);
    expect_refused(e, ESDB_EINVALID, "event_type is longer than 255 bytes");
    e = good, e.event_id = of_length(64);
    expect_taken(e);
    e = good, e.event_id = of_length(65);
    expect_refused(e, ESDB_EINVALID, "event_id is longer than 64 bytes");
    e = good, e.data_content_type = of_length(127);
    expect_taken(e);
    e = good, e.data_content_type = of_length(128);
    expect_refused(e, ESDB_EINVALID, "data_content_type is longer than 127 bytes");
    e = good, e.metadata_content_type = of_length(128);
    expect_refused(e, ESDB_EINVALID, "metadata_content_type is longer than 127 bytes");
}

static void names_are_text(void **state) {
    (void)state;
    struct esdb_new_event good = test_event("s", "t", "{}"), e;
    e = good, e.stream_id = test_text("a\nb");
    expect_refused(e, ESDB_EINVALID, "stream_id holds a control character");
    e = good, e.event_type = test_text("a\x7f");
    expect_refused(e, ESDB_EINVALID, "event_type holds a control character");
    e = good, e.event_type = (struct esdb_text){"a\0b", 3};
    expect_refused(e, ESDB_EINVALID, "event_type holds a control character");
    e = good, e.stream_id = test_text("ab\xff");
    expect_refused(e, ESDB_EINVALID, "stream_id is not valid UTF-8 (byte 3)");
    e = good, e.stream_id = test_text("a\xc2\x85");
    expect_refused(e, ESDB_EINVALID, "stream_id holds a control character");
    e = good, e.event_id = test_text("\xed\xa0\x80");
    expect_refused(e, ESDB_EINVALID, "event_id is not valid UTF-8 (byte 1)");
    e = good, e.stream_id = test_text("Bestellung-\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80");
    expect_taken(e);
}

static void system_streams_are_refused_to_users(void **state) {
    (void)state;
    struct esdb_new_event e = test_event("s", "t", "{}");
    e.stream_id = test_text("$sub:a");
    expect_refused(e, ESDB_EINVALID, "stream_id begins with '$': such streams are the store's own");
    e.system = true;
    expect_taken(e);
    char name[256];
    memset(name, 'a', sizeof name);
    name[0] = '$';
    e.stream_id = (struct esdb_text){name, 255};
    expect_taken(e);
    e.stream_id.len = 256;
    expect_refused(e, ESDB_EINVALID, "stream_id is longer than 255 bytes");
}

static void an_event_is_at_most_16_mib(void **state) {
    (void)state;
    struct esdb_new_event e = test_event("s", "t", NULL);
    e.event_id = test_text("1");
    e.data = of_length(FMT_EVENT_SIZE_MAX - 64 - 3); /* header, names */
    expect_taken(e);
    e.data.len++;
    expect_refused(e, ESDB_EINVALID, "event is larger than 16 MiB");
    e.data.len = 8u << 20;
    e.metadata = of_length(8u << 20);
    expect_refused(e, ESDB_EINVALID, "event is larger than 16 MiB");
}

static void a_frame_is_at_most_64_mib(void **state) {
    (void)state;
    struct esdb_error err = {0};
    esdb_batch *b;
    assert_int_equal(esdb_batch_open(&b), 0);
    struct esdb_new_event e = test_event("s", "t", NULL);
    e.data = of_length(15u << 20);
    for (int i = 0; i < 4; i++)
        assert_done(esdb_batch_add(b, &e, &err), &err);
    size_t size = esdb_batch_size(b);
    assert_code(esdb_batch_add(b, &e, &err), ESDB_EUSAGE, &err);
    assert_string_equal(err.text, "frame would be larger than 64 MiB or 1048576 events");
    assert_int_equal(esdb_batch_count(b), 4);
    assert_int_equal(esdb_batch_size(b), size);
    esdb_batch_clear(b);
    assert_int_equal(esdb_batch_count(b), 0);
    err = (struct esdb_error){0};
    assert_done(esdb_batch_add(b, &e, &err), &err);
    esdb_batch_close(b);
}

static void a_refused_event_adds_no_stream(void **state) {
    (void)state;
    struct test_store s;
    struct esdb_error err = {0};
    struct esdb_receipt r;
    test_store_open(&s, TEST_SMALL_SEGMENT);
    struct esdb_new_event e = test_event("big", "t", NULL);
    e.data = of_length(15u << 20);
    for (int i = 0; i < 4; i++)
        assert_done(esdb_batch_add(s.batch, &e, &err), &err);
    e.stream_id = test_text("other");
    assert_int_equal(esdb_batch_add(s.batch, &e, NULL), ESDB_EUSAGE);
    assert_done(esdb_append(s.db, s.batch, 0, &r, &err), &err);
    assert_int_equal(r.stream_count, 1);
    assert_int_equal(r.count, 4);
    assert_int_equal(r.streams[0].last_version, 3);
    test_store_close(&s);
}

static int compare_ids(const void *a, const void *b) {
    return memcmp(a, b, 36);
}

/* RFC 9562: version 7, variant 10, the time in front. */
static void check_uuid(const char *id, uint64_t from_ms, uint64_t to_ms) {
    char time[13] = "";
    for (int i = 0; i < 36; i++) {
        if (i == 8 || i == 13 || i == 18 || i == 23)
            assert_int_equal(id[i], '-');
        else
            assert_true((id[i] >= '0' && id[i] <= '9') || (id[i] >= 'a' && id[i] <= 'f'));
    }
    assert_int_equal(id[14], '7');
    assert_true(id[19] == '8' || id[19] == '9' || id[19] == 'a' || id[19] == 'b');
    memcpy(time, id, 8);
    memcpy(time + 8, id + 9, 4);
    assert_in_range(strtoull(time, NULL, 16), from_ms, to_ms);
}

static void made_ids_are_unique_uuids_of_version_7(void **state) {
    (void)state;
    enum { COUNT = 100000 };
    struct test_store s;
    struct esdb_error err = {0};
    struct esdb_receipt r;
    struct esdb_query q;
    struct esdb_event e;
    esdb_cursor *c;
    char *ids = malloc(36u * COUNT);
    assert_non_null(ids);
    test_store_open(&s, 0);
    uint64_t from_ms = es_clock_us() / 1000;
    struct esdb_new_event fresh = test_event("s", "t", NULL);
    for (size_t i = 0; i < COUNT; i++)
        assert_int_equal(esdb_batch_add(s.batch, &fresh, &err), 0);
    uint64_t to_ms = es_clock_us() / 1000;
    assert_done(esdb_append(s.db, s.batch, 0, &r, &err), &err);
    esdb_query_init(&q);
    q.flags = ESDB_ALL;
    assert_done(esdb_cursor_open(s.db, &q, &c, &err), &err);
    for (size_t i = 0; i < COUNT; i++) {
        assert_int_equal(esdb_cursor_next(c, &e, &err), 0);
        assert_int_equal(e.event_id.len, 36);
        check_uuid(e.event_id.at, from_ms - 1, to_ms + 1);
        memcpy(ids + 36 * i, e.event_id.at, 36);
    }
    esdb_cursor_close(c);
    qsort(ids, COUNT, 36, compare_ids);
    for (size_t i = 1; i < COUNT; i++)
        assert_true(memcmp(ids + 36 * i, ids + 36 * (i - 1), 36) != 0);
    free(ids);
    test_store_close(&s);
}

static void expectations_are_checked_when_made(void **state) {
    (void)state;
    static const int64_t wrong[] = {-3, -5, -6, -100, INT64_MIN};
    static const int64_t right[] = {ESDB_ANY, ESDB_NO_STREAM, ESDB_EXISTS, 0, 1, INT64_MAX};
    struct esdb_error err;
    esdb_batch *b;
    assert_int_equal(esdb_batch_open(&b), 0);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char text[128];
        err = (struct esdb_error){0};
        assert_code(esdb_batch_expect(b, test_text("s"), wrong[i], &err), ESDB_EUSAGE, &err);
        snprintf(text, sizeof text, "expected version %lld: must be any, no-stream, exists or a version",
                 (long long)wrong[i]);
        assert_string_equal(err.text, text);
    }
    for (size_t i = 0; i < sizeof right / sizeof *right; i++)
        assert_int_equal(esdb_batch_expect(b, test_text("s"), right[i], NULL), 0);
    err = (struct esdb_error){0};
    assert_code(esdb_batch_expect(b, of_length(256), 0, &err), ESDB_EINVALID, &err);
    assert_code(esdb_batch_expect(b, of_length(0), 0, NULL), ESDB_EINVALID, NULL);
    esdb_batch_close(b);
}

static void a_frame_holds_a_million_events(void **state) {
    (void)state;
    struct test_store s;
    struct esdb_error err = {0};
    test_store_open(&s, 0);
    /* 1,048,576 of the smallest events are more than 64 MiB: the size is what ends a frame */
    struct esdb_new_event e = test_event("s", "t", NULL);
    e.event_id = test_text("1");
    int rc;
    while ((rc = esdb_batch_add(s.batch, &e, &err)) == 0)
        ;
    assert_code(rc, ESDB_EUSAGE, &err);
    assert_in_range(esdb_batch_size(s.batch), FMT_FRAME_SIZE_MAX - 72, FMT_FRAME_SIZE_MAX);
    struct esdb_receipt r;
    err = (struct esdb_error){0};
    assert_done(esdb_append(s.db, s.batch, 0, &r, &err), &err);
    assert_int_equal(r.count, esdb_batch_count(s.batch));
    assert_int_equal(r.streams[0].last_version, r.count - 1);
    test_store_close(&s);
}

int main(void) {
    memset(filler, 'f', sizeof filler);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_limited),
        cmocka_unit_test(names_are_text),
        cmocka_unit_test(system_streams_are_refused_to_users),
        cmocka_unit_test(an_event_is_at_most_16_mib),
        cmocka_unit_test(a_frame_is_at_most_64_mib),
        cmocka_unit_test(a_refused_event_adds_no_stream),
        cmocka_unit_test(made_ids_are_unique_uuids_of_version_7),
        cmocka_unit_test(expectations_are_checked_when_made),
        cmocka_unit_test(a_frame_holds_a_million_events),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
