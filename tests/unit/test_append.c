/* Appending: expectations, several streams, idempotency, times, receipts. */
#include "tests/unit/store_fixture.h"

#include <inttypes.h>

#include "format/frame.h"

static uint64_t end_position(esdb *db) {
    uint64_t end = UINT64_MAX;
    struct esdb_error err = {0};
    assert_done(esdb_end_position(db, &end, &err), &err);
    return end;
}

/* Appends one event to `stream` with an expectation. */
static int append_expecting(struct test_store *s, const char *stream, int64_t expected, struct esdb_error *err) {
    struct esdb_receipt r;
    memset(err, 0, sizeof *err);
    esdb_batch_clear(s->batch);
    test_add(s->batch, stream, "t", NULL, "{}");
    assert_int_equal(esdb_batch_expect(s->batch, test_text(stream), expected, NULL), 0);
    return esdb_append(s->db, s->batch, 0, &r, err);
}

static void expect_conflict(struct test_store *s, const char *stream, int64_t expected, int64_t actual,
                            const char *text) {
    struct esdb_error err;
    uint64_t before = end_position(s->db);
    assert_code(append_expecting(s, stream, expected, &err), ESDB_ECONFLICT, &err);
    assert_string_equal(err.text, text);
    assert_string_equal(err.stream_id, stream);
    assert_int_equal(err.expected, expected);
    assert_int_equal(err.actual, actual);
    assert_int_equal(end_position(s->db), before);
}

static void expectations_are_kept(void **state) {
    (void)state;
    struct test_store s;
    struct esdb_error err;
    test_store_open(&s, TEST_SMALL_SEGMENT);
    expect_conflict(&s, "a", ESDB_EXISTS, -1, "a: expected an existing stream, found no stream");
    expect_conflict(&s, "a", 0, -1, "a: expected version 0, found no stream");
    assert_done(append_expecting(&s, "a", ESDB_NO_STREAM, &err), &err); /* version 0 */
    expect_conflict(&s, "a", ESDB_NO_STREAM, 0, "a: expected no stream, found version 0");
    expect_conflict(&s, "a", 1, 0, "a: expected version 1, found 0");
    assert_done(append_expecting(&s, "a", 0, &err), &err); /* 1 */
    expect_conflict(&s, "a", 0, 1, "a: expected version 0, found 1");
    assert_done(append_expecting(&s, "a", ESDB_EXISTS, &err), &err); /* 2 */
    assert_done(append_expecting(&s, "a", ESDB_ANY, &err), &err);    /* 3 */
    expect_conflict(&s, "a", INT64_MAX, 3, "a: expected version 9223372036854775807, found 3");
    assert_done(append_expecting(&s, "b", ESDB_ANY, &err), &err);
    assert_int_equal(end_position(s.db), 5);
    test_store_close(&s);
}

static void several_streams_are_one_frame_or_nothing(void **state) {
    (void)state;
    struct test_store s;
    struct test_model m = {0};
    struct esdb_error err = {0};
    struct esdb_receipt r;
    test_store_open(&s, TEST_SMALL_SEGMENT);
    test_model_append(&m, &s, "b", "0");
    esdb_batch_clear(s.batch);
    static const char *const order[] = {"a", "b", "a", "c", "b"};
    for (size_t i = 0; i < 5; i++)
        test_add(s.batch, order[i], "t", NULL, "1");
    assert_int_equal(esdb_batch_expect(s.batch, test_text("a"), ESDB_NO_STREAM, NULL), 0);
    assert_int_equal(esdb_batch_expect(s.batch, test_text("b"), 1, NULL), 0);
    assert_code(esdb_append(s.db, s.batch, 0, &r, &err), ESDB_ECONFLICT, &err);
    assert_int_equal(end_position(s.db), 1);
    assert_int_equal(esdb_batch_expect(s.batch, test_text("b"), 0, NULL), 0);
    err = (struct esdb_error){0};
    assert_done(esdb_append(s.db, s.batch, 0, &r, &err), &err);
    for (size_t i = 0; i < 5; i++)
        test_model_add(&m, order[i], "t", NULL, "1");
    assert_int_equal(r.frame_index, 2);
    assert_int_equal(r.first_position, 1);
    assert_int_equal(r.last_position, 5);
    assert_int_equal(r.count, 5);
    assert_false(r.existed);
    assert_int_equal(r.stream_count, 3);
    static const struct {
        const char *name;
        uint64_t first, last;
    } want[] = {{"a", 0, 1}, {"b", 1, 2}, {"c", 0, 0}};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(r.streams[i].stream_id.len, 1);
        assert_memory_equal(r.streams[i].stream_id.at, want[i].name, 1);
        assert_int_equal(r.streams[i].first_version, want[i].first);
        assert_int_equal(r.streams[i].last_version, want[i].last);
    }
    test_model_check(&m, s.path, m.count);
    test_store_close(&s);
    test_model_release(&m);
}

static void an_expectation_may_stand_for_a_stream_without_events(void **state) {
    (void)state;
    struct test_store s;
    struct esdb_error err = {0};
    struct esdb_receipt r;
    test_store_open(&s, TEST_SMALL_SEGMENT);
    test_add(s.batch, "a", "t", NULL, "1");
    esdb_batch_expect(s.batch, test_text("guard"), ESDB_EXISTS, NULL);
    assert_code(esdb_append(s.db, s.batch, 0, &r, &err), ESDB_ECONFLICT, &err);
    assert_string_equal(err.stream_id, "guard");
    esdb_batch_expect(s.batch, test_text("guard"), ESDB_NO_STREAM, NULL);
    err = (struct esdb_error){0};
    assert_done(esdb_append(s.db, s.batch, 0, &r, &err), &err);
    assert_int_equal(r.stream_count, 1);
    /* the handle knows now that "guard" does not exist: that must not outlive its creation */
    test_append(&s, "guard", "2");
    esdb_batch_clear(s.batch);
    test_add(s.batch, "a", "t", NULL, "1");
    esdb_batch_expect(s.batch, test_text("guard"), ESDB_NO_STREAM, NULL);
    err = (struct esdb_error){0};
    assert_code(esdb_append(s.db, s.batch, 0, &r, &err), ESDB_ECONFLICT, &err);
    test_store_close(&s);
}

static void an_empty_batch_checks_its_expectations(void **state) {
    (void)state;
    struct test_store s;
    struct esdb_error err = {0};
    struct esdb_receipt r = {.frame_index = 77};
    test_store_open(&s, TEST_SMALL_SEGMENT);
    assert_done(esdb_append(s.db, s.batch, 0, &r, &err), &err);
    assert_int_equal(r.frame_index, 0);
    assert_int_equal(r.count, 0);
    esdb_batch_expect(s.batch, test_text("a"), ESDB_EXISTS, NULL);
    assert_code(esdb_append(s.db, s.batch, 0, &r, &err), ESDB_ECONFLICT, &err);
    err = (struct esdb_error){0};
    assert_code(esdb_append(s.db, s.batch, ESDB_IDEMPOTENT | ESDB_NO_WAIT, &r, &err), ESDB_ECONFLICT, &err);
    test_append(&s, "a", "1");
    esdb_batch_clear(s.batch);
    esdb_batch_expect(s.batch, test_text("a"), 0, NULL);
    err = (struct esdb_error){0};
    assert_done(esdb_append(s.db, s.batch, 0, &r, &err), &err);
    assert_done(esdb_append(s.db, s.batch, ESDB_NO_WAIT, &r, &err), &err);
    assert_done(esdb_commit(s.db, &r, &err), &err);
    assert_int_equal(end_position(s.db), 1);
    test_store_close(&s);
}

static void a_handle_for_reading_does_not_append(void **state) {
    (void)state;
    struct test_store s;
    struct esdb_error err = {0};
    struct esdb_receipt r;
    test_store_open(&s, TEST_SMALL_SEGMENT);
    esdb *reader = test_open(s.path, ESDB_READ);
    test_add(s.batch, "a", "t", NULL, "1");
    assert_code(esdb_append(reader, s.batch, 0, &r, &err), ESDB_EUSAGE, &err);
    assert_non_null(strstr(err.text, "was not opened for appending"));
    esdb_close(reader);
    test_store_close(&s);
}

/* ---- idempotent ---- */

static int append_again(struct test_store *s, struct esdb_receipt *r, struct esdb_error *err) {
    memset(err, 0, sizeof *err);
    return esdb_append(s->db, s->batch, ESDB_IDEMPOTENT, r, err);
}

/* The batch of two streams that the tests below repeat. */
static void fill_pair(struct test_store *s, const char *second_id, const char *second_data) {
    esdb_batch_clear(s->batch);
    test_add(s->batch, "a", "t", "id-1", "1");
    test_add(s->batch, "b", "t", second_id, second_data);
}

static void a_repeated_batch_gets_the_old_receipt(void **state) {
    (void)state;
    struct test_store s;
    struct esdb_error err;
    struct esdb_receipt first, again;
    test_store_open(&s, TEST_SMALL_SEGMENT);
    test_append(&s, "b", "before");
    fill_pair(&s, "id-2", "2");
    assert_done(append_again(&s, &first, &err), &err);
    assert_false(first.existed);
    test_append(&s, "a", "after");
    for (int reopened = 0; reopened < 2; reopened++) {
        fill_pair(&s, "id-2", "2");
        /* ids are looked up before versions: what was true then need not be true now */
        esdb_batch_expect(s.batch, test_text("a"), ESDB_NO_STREAM, NULL);
        assert_done(append_again(&s, &again, &err), &err);
        assert_true(again.existed);
        assert_int_equal(again.frame_index, 0);
        assert_int_equal(again.count, 2);
        assert_int_equal(again.first_position, first.first_position);
        assert_int_equal(again.last_position, first.last_position);
        assert_int_equal(again.epoch_us, first.epoch_us);
        assert_int_equal(again.stream_count, 2);
        assert_int_equal(again.streams[0].first_version, 0);
        assert_int_equal(again.streams[0].last_version, 0);
        assert_int_equal(again.streams[1].first_version, 1);
        assert_int_equal(again.streams[1].last_version, 1);
        assert_done(esdb_commit(s.db, &again, &err), &err);
        test_store_reopen(&s);
    }
    assert_int_equal(end_position(s.db), 4);
    test_store_close(&s);
}

static void a_repeated_id_with_other_content_is_a_conflict(void **state) {
    (void)state;
    struct test_store s;
    struct esdb_error err;
    struct esdb_receipt r;
    test_store_open(&s, TEST_SMALL_SEGMENT);
    fill_pair(&s, "id-2", "2");
    assert_done(append_again(&s, &r, &err), &err);
    fill_pair(&s, "id-2", "3");
    assert_code(append_again(&s, &r, &err), ESDB_ECONFLICT, &err);
    assert_string_equal(err.text, "b: event_id id-2 is there with other content (version 0)");
    struct esdb_new_event e = test_event("b", "t", "2"), good = e;
    good.event_id = test_text("id-2");
    for (int field = 0; field < 5; field++) {
        e = good;
        if (field == 0)
            e.event_type = test_text("u");
        else if (field == 1)
            e.metadata = test_text("{}");
        else if (field == 2)
            e.data_content_type = test_text("text/plain");
        else if (field == 3)
            e.data = test_text(NULL);
        else
            e.binary = true;
        esdb_batch_clear(s.batch);
        assert_int_equal(esdb_batch_add(s.batch, &e, NULL), 0);
        assert_code(append_again(&s, &r, &err), ESDB_ECONFLICT, &err);
    }
    assert_int_equal(end_position(s.db), 2);
    test_store_close(&s);
}

static void only_some_ids_present_is_a_conflict(void **state) {
    (void)state;
    struct test_store s;
    struct esdb_error err;
    struct esdb_receipt r;
    test_store_open(&s, TEST_SMALL_SEGMENT);
    fill_pair(&s, "id-2", "2");
    assert_done(append_again(&s, &r, &err), &err);
    fill_pair(&s, "id-3", "2");
    assert_code(append_again(&s, &r, &err), ESDB_ECONFLICT, &err);
    assert_string_equal(err.text, "1 of 2 events of the frame are there already, the others are not");
    /* an id counts within its stream */
    esdb_batch_clear(s.batch);
    test_add(s.batch, "c", "t", "id-1", "other");
    assert_done(append_again(&s, &r, &err), &err);
    assert_false(r.existed);
    test_store_close(&s);
}

static void twins_are_refused(void **state) {
    (void)state;
    struct test_store s;
    struct esdb_error err;
    struct esdb_receipt r;
    test_store_open(&s, TEST_SMALL_SEGMENT);
    test_add(s.batch, "a", "t", "same", "1");
    test_add(s.batch, "b", "t", "same", "1");
    assert_done(append_again(&s, &r, &err), &err);
    test_add(s.batch, "a", "t", "same", "1");
    assert_code(append_again(&s, &r, &err), ESDB_ECONFLICT, &err);
    assert_string_equal(err.text, "an event_id stands twice in the frame");
    assert_int_equal(end_position(s.db), 2);
    test_store_close(&s);
}

static void ids_are_found_in_any_segment(void **state) {
    (void)state;
    struct test_store s;
    struct esdb_error err;
    struct esdb_receipt r;
    uint64_t names[64];
    char id[16];
    test_store_open(&s, TEST_SMALL_SEGMENT);
    for (int i = 0; i < 300; i++) {
        esdb_batch_clear(s.batch);
        snprintf(id, sizeof id, "id-%d", i);
        test_add(s.batch, i % 3 ? "a" : "b", "t", id, test_data(3000));
        assert_done(append_again(&s, &r, &err), &err);
        assert_int_equal(r.first_position, i);
    }
    assert_in_range(test_segments(&s, names, 64), 10, 20);
    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; i < 300; i++) {
            esdb_batch_clear(s.batch);
            snprintf(id, sizeof id, "id-%d", i);
            test_add(s.batch, i % 3 ? "a" : "b", "t", id, test_data(3000));
            assert_done(append_again(&s, &r, &err), &err);
            assert_true(r.existed);
            assert_int_equal(r.first_position, i);
        }
        test_store_reopen(&s);
    }
    assert_int_equal(end_position(s.db), 300);
    test_store_close(&s);
}

/* ---- times ---- */

static int append_at(struct test_store *s, uint64_t epoch_us, struct esdb_receipt *r, struct esdb_error *err) {
    struct esdb_new_event e = test_event("s", "t", "{}");
    memset(err, 0, sizeof *err);
    e.epoch_us = epoch_us;
    esdb_batch_clear(s->batch);
    assert_int_equal(esdb_batch_add(s->batch, &e, NULL), 0);
    return esdb_append(s->db, s->batch, 0, r, err);
}

static void times_are_kept_when_asked_and_never_go_back(void **state) {
    (void)state;
    struct test_store s;
    struct esdb_error err;
    struct esdb_receipt r;
    test_store_open(&s, TEST_SMALL_SEGMENT);
    assert_done(append_at(&s, 1000, &r, &err), &err);
    assert_int_equal(r.epoch_us, 1000);
    assert_done(append_at(&s, 1000, &r, &err), &err);
    assert_code(append_at(&s, 999, &r, &err), ESDB_ECONFLICT, &err);
    assert_string_equal(err.text,
                        "event 1 of the frame: epoch_us 999 is before the newest event's 1000: order would not hold");
    uint64_t before = es_clock_us();
    assert_done(append_at(&s, 0, &r, &err), &err);
    assert_in_range(r.epoch_us, before, es_clock_us());
    /* a clock that was ahead: its time stays until this clock has caught up. The same as a clock that steps back. */
    uint64_t future = es_clock_us() + 3600ull * 1000000;
    assert_done(append_at(&s, future, &r, &err), &err);
    assert_done(append_at(&s, 0, &r, &err), &err);
    assert_int_equal(r.epoch_us, future);
    struct esdb_stat st;
    assert_done(esdb_stat(s.db, &st, &err), &err);
    assert_true(st.clock_behind_us > 3500ll * 1000000);
    assert_int_equal(st.last_epoch_us, future);
    assert_int_equal(st.first_epoch_us, 1000);
    test_verify_clean(s.path);
    test_store_close(&s);
}

/* An event with the time of the append, then one with a time of its own before that: it cannot be kept, so it is refused. */
static void a_time_that_cannot_be_kept_is_not_changed_silently(void **state) {
    (void)state;
    struct test_store s;
    struct esdb_error err = {0};
    struct esdb_receipt r;
    test_store_open(&s, TEST_SMALL_SEGMENT);
    struct esdb_new_event e = test_event("s", "t", "{}");
    assert_int_equal(esdb_batch_add(s.batch, &e, NULL), 0);
    e.epoch_us = 5000;
    assert_int_equal(esdb_batch_add(s.batch, &e, NULL), 0);
    assert_code(esdb_append(s.db, s.batch, 0, &r, &err), ESDB_ECONFLICT, &err);
    assert_int_equal(end_position(s.db), 0);
    test_store_close(&s);
}

static void the_order_of_kept_times_within_a_frame_is_checked(void **state) {
    (void)state;
    struct test_store s;
    struct esdb_error err = {0};
    struct esdb_receipt r;
    test_store_open(&s, TEST_SMALL_SEGMENT);
    struct esdb_new_event e = test_event("s", "t", "{}");
    for (uint64_t t = 10; t > 8; t--) {
        e.epoch_us = t;
        assert_int_equal(esdb_batch_add(s.batch, &e, NULL), 0);
    }
    assert_code(esdb_append(s.db, s.batch, 0, &r, &err), ESDB_ECONFLICT, &err);
    assert_int_equal(end_position(s.db), 0);
    test_store_close(&s);
}

/* ---- waiting ---- */

static void an_append_without_waiting_is_shown_after_its_commit(void **state) {
    (void)state;
    struct test_store s;
    struct esdb_error err = {0};
    struct esdb_receipt r[3];
    test_store_open(&s, TEST_SMALL_SEGMENT);
    esdb *reader = test_open(s.path, ESDB_READ);
    for (int i = 0; i < 3; i++) {
        esdb_batch_clear(s.batch);
        test_add(s.batch, "a", "t", NULL, "1");
        assert_done(esdb_append(s.db, s.batch, ESDB_NO_WAIT, &r[i], &err), &err);
        assert_int_equal(r[i].frame_index, i + 1);
    }
    assert_int_equal(end_position(reader), 0);
    assert_int_equal(end_position(s.db), 0);
    esdb_write_ahead(s.db);
    assert_done(esdb_commit(s.db, &r[1], &err), &err);
    assert_int_equal(end_position(reader), 3); /* one sync is for all */
    assert_done(esdb_commit(s.db, &r[2], &err), &err);
    esdb_close(reader);
    test_store_close(&s);
}

static void a_conflict_with_an_undurable_frame_is_told_once_it_is_durable(void **state) {
    (void)state;
    struct test_store s;
    struct esdb_error err;
    struct esdb_receipt r;
    test_store_open(&s, TEST_SMALL_SEGMENT);
    esdb *other = test_open(s.path, ESDB_APPEND);
    test_add(s.batch, "a", "t", "id", "1");
    assert_int_equal(esdb_append(other, s.batch, ESDB_NO_WAIT, &r, NULL), 0);
    assert_int_equal(end_position(s.db), 0);
    assert_code(append_expecting(&s, "a", ESDB_NO_STREAM, &err), ESDB_ECONFLICT, &err);
    assert_int_equal(end_position(s.db), 1);
    esdb_batch_clear(s.batch);
    test_add(s.batch, "b", "t", "id", "1");
    assert_int_equal(esdb_append(other, s.batch, ESDB_NO_WAIT, &r, NULL), 0);
    assert_int_equal(end_position(s.db), 1);
    assert_done(append_again(&s, &r, &err), &err);
    assert_true(r.existed);
    assert_int_equal(end_position(s.db), 2);
    esdb_close(other);
    test_store_close(&s);
}

static void a_commit_across_a_rebuild_is_unknown(void **state) {
    (void)state;
    struct test_store s;
    struct esdb_error err = {0};
    struct esdb_receipt r;
    test_store_open(&s, TEST_SMALL_SEGMENT);
    test_add(s.batch, "a", "t", "id", "1");
    assert_int_equal(esdb_append(s.db, s.batch, ESDB_NO_WAIT, &r, NULL), 0);
    struct fmt_head *h = test_head_map(&s);
    memset(h, 0, sizeof *h);
    test_head_unmap(h);
    assert_code(esdb_commit(s.db, &r, &err), ESDB_EUNKNOWN, &err);
    assert_int_equal(esdb_exit_status(ESDB_EUNKNOWN), 10);
    test_store_close(&s);
}

/* ---- two handles ---- */

static void two_handles_alternate(void **state) {
    (void)state;
    struct test_store s;
    struct test_model m = {0};
    struct esdb_error err = {0};
    struct esdb_receipt r;
    char name[8], data[32];
    test_store_open(&s, TEST_SMALL_SEGMENT);
    esdb *handle[2] = {s.db, test_open(s.path, ESDB_APPEND)};
    for (int i = 0; i < 3000; i++) {
        esdb_batch_clear(s.batch);
        int events = 1 + (int)test_below(3);
        for (int k = 0; k < events; k++) {
            snprintf(name, sizeof name, "s%u", test_below(20));
            snprintf(data, sizeof data, "%d", i);
            test_add(s.batch, name, "t", NULL, data);
            test_model_add(&m, name, "t", NULL, data);
        }
        assert_done(esdb_append(handle[test_below(4) % 3 ? 1 : 0], s.batch, 0, &r, &err), &err);
        assert_int_equal(r.last_position + 1, m.count);
    }
    esdb_close(handle[1]);
    test_model_check(&m, s.path, m.count);
    test_store_close(&s);
    test_model_release(&m);
}

static void what_a_handle_knows_is_forgotten_when_another_one_appends(void **state) {
    (void)state;
    struct test_store s;
    struct esdb_error err;
    test_store_open(&s, TEST_SMALL_SEGMENT);
    esdb *mine = s.db, *other = test_open(s.path, ESDB_APPEND);
    assert_done(append_expecting(&s, "a", ESDB_NO_STREAM, &err), &err);
    s.db = other;
    assert_done(append_expecting(&s, "a", 0, &err), &err);
    s.db = mine;
    assert_code(append_expecting(&s, "a", 0, &err), ESDB_ECONFLICT, &err);
    assert_int_equal(err.actual, 1);
    assert_done(append_expecting(&s, "a", 1, &err), &err);
    s.db = other;
    assert_done(append_expecting(&s, "a", 2, &err), &err);
    esdb_close(mine);
    test_store_close(&s);
}

static void many_streams_are_more_than_a_handle_remembers(void **state) {
    (void)state;
    struct test_store s;
    struct esdb_error err = {0};
    struct esdb_receipt r;
    char name[16];
    test_store_open(&s, 64u << 20);
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; i < 70000; i += 1000) {
            esdb_batch_clear(s.batch);
            for (int k = i; k < i + 1000; k++) {
                snprintf(name, sizeof name, "s%d", k);
                test_add(s.batch, name, "t", NULL, NULL);
            }
            assert_done(esdb_append(s.db, s.batch, ESDB_NO_WAIT, &r, &err), &err);
            for (size_t k = 0; k < r.stream_count; k++)
                assert_int_equal(r.streams[k].first_version, pass);
        }
    assert_done(esdb_commit(s.db, &r, &err), &err);
    test_verify_clean(s.path);
    test_store_close(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(expectations_are_kept),
        cmocka_unit_test(several_streams_are_one_frame_or_nothing),
        cmocka_unit_test(an_expectation_may_stand_for_a_stream_without_events),
        cmocka_unit_test(an_empty_batch_checks_its_expectations),
        cmocka_unit_test(a_handle_for_reading_does_not_append),
        cmocka_unit_test(a_repeated_batch_gets_the_old_receipt),
        cmocka_unit_test(a_repeated_id_with_other_content_is_a_conflict),
        cmocka_unit_test(only_some_ids_present_is_a_conflict),
        cmocka_unit_test(twins_are_refused),
        cmocka_unit_test(ids_are_found_in_any_segment),
        cmocka_unit_test(times_are_kept_when_asked_and_never_go_back),
        cmocka_unit_test(a_time_that_cannot_be_kept_is_not_changed_silently),
        cmocka_unit_test(the_order_of_kept_times_within_a_frame_is_checked),
        cmocka_unit_test(an_append_without_waiting_is_shown_after_its_commit),
        cmocka_unit_test(a_conflict_with_an_undurable_frame_is_told_once_it_is_durable),
        cmocka_unit_test(a_commit_across_a_rebuild_is_unknown),
        cmocka_unit_test(two_handles_alternate),
        cmocka_unit_test(what_a_handle_knows_is_forgotten_when_another_one_appends),
        cmocka_unit_test(many_streams_are_more_than_a_handle_remembers),
    };
    test_seed();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
