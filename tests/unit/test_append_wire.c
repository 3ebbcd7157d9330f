/* An append as bytes: what a daemon is asked, and what it answers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "libcore/append_wire.h"

#include "format/bytes.h"

#include <cmocka.h>

static struct esdb_text text(const char *s) {
    return (struct esdb_text){s, strlen(s)};
}

static esdb_batch *batch(void) {
    esdb_batch *b = NULL;
    assert_int_equal(esdb_batch_open(&b), 0);
    return b;
}

static esdb_batch *filled(bool times) {
    esdb_batch *b = batch();
    struct esdb_new_event e[] = {
        {.stream_id = text("a"), .event_type = text("T"), .data = text("{\"x\":1}"), .metadata = text("{}")},
        {.stream_id = text("$sub:x"), .event_type = text("U"), .system = true},
        {.stream_id = text("a"), .event_type = text("T"), .data = text("bytes"), .binary = true,
         .data_content_type = text("image/png"), .event_id = text("my-id"), .epoch_us = times ? 77 : 0},
    };
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(esdb_batch_add(b, &e[i], NULL), 0);
    assert_int_equal(esdb_batch_expect(b, text("a"), 7, NULL), 0);
    assert_int_equal(esdb_batch_expect(b, text("only-expected"), ESDB_NO_STREAM, NULL), 0);
    return b;
}

static void test_request(void **state) {
    (void)state;
    for (int times = 0; times < 2; times++) {
        esdb_batch *b = filled(times), *c = batch();
        struct es_buffer bytes = {0}, again = {0};
        struct es_append_request r = {99, ESDB_IDEMPOTENT, 1234}, back;
        assert_int_equal(es_append_encode(&r, b, &bytes), 0);
        assert_int_equal(es_wire_size(bytes.at, ES_WIRE_APPEND), bytes.len);
        assert_int_equal(es_wire_size(bytes.at, ES_WIRE_ANSWER), 0);
        assert_int_equal(es_append_decode(bytes.at, bytes.len, &back, c, NULL), 0);
        assert_int_equal(back.number, 99);
        assert_int_equal(back.flags, ESDB_IDEMPOTENT);
        assert_int_equal(back.timeout_ms, 1234);
        assert_int_equal(esdb_batch_count(c), 3);
        assert_int_equal(es_batch_event_at(c, 2)->epoch_us, times ? 77 : 0);
        assert_int_equal(es_batch_streams(c), 3);
        assert_int_equal(es_batch_stream_at(c, 0)->expected, 7);
        /* the salts are new; all else is the same */
        assert_int_equal(es_append_encode(&r, c, &again), 0);
        assert_int_equal(again.len, bytes.len);
        esdb_batch_close(b);
        esdb_batch_close(c);
        es_buffer_release(&bytes);
        es_buffer_release(&again);
    }
}

/* Cut anywhere, or with fields that cannot be: refused, nothing read behind the end. */
static void test_malformed(void **state) {
    (void)state;
    esdb_batch *b = filled(true);
    struct es_buffer bytes = {0};
    struct es_append_request r = {1, 0, 0}, back;
    assert_int_equal(es_append_encode(&r, b, &bytes), 0);
    for (size_t n = 0; n < bytes.len; n++) {
        unsigned char *part = malloc(n ? n : 1);
        esdb_batch *c = batch();
        assert_non_null(part);
        memcpy(part, bytes.at, n);
        if (n >= ES_WIRE_HEAD)
            fmt_put32(part + 4, (uint32_t)n);
        assert_int_equal(es_append_decode(part, n, &back, c, NULL), ESDB_EINVALID);
        esdb_batch_close(c);
        free(part);
    }
    static const struct {
        size_t at;
        uint32_t value;
    } row[] = {{16, 1u << 20}, {16, ESDB_NO_WAIT}, {24, 4}, {24, 2}, {24, UINT32_MAX}, {28, 3}, {28, 1}, {32, 8}, {32, UINT32_MAX}, {36, 0}, {36, 2}};
    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
        esdb_batch *c = batch();
        unsigned char *copy = malloc(bytes.len);
        assert_non_null(copy);
        memcpy(copy, bytes.at, bytes.len);
        fmt_put32(copy + row[i].at, row[i].value);
        assert_int_equal(es_append_decode(copy, bytes.len, &back, c, NULL), ESDB_EINVALID);
        esdb_batch_close(c);
        free(copy);
    }
    esdb_batch_close(b);
    es_buffer_release(&bytes);
}

static void test_receipt(void **state) {
    (void)state;
    const struct esdb_receipt_stream streams[] = {{text("a"), 1, 2}, {text("bcd"), 3, 4}};
    const struct esdb_receipt r = {.frame_index = 5, .first_position = 6, .last_position = 8, .epoch_us = 9, .count = 3,
                                   .existed = true, .stream_count = 2, .streams = streams};
    struct es_buffer bytes = {0};
    struct esdb_receipt back = {0};
    struct esdb_error err = {0};
    esdb_batch *b = filled(false);
    assert_int_equal(es_answer_encode(7, 0, &r, NULL, &bytes), 0);
    assert_int_equal(es_wire_size(bytes.at, ES_WIRE_ANSWER), bytes.len);
    assert_int_equal(es_answer_decode(bytes.at, bytes.len, b, &back, &err), 0);
    assert_int_equal(back.frame_index, 5);
    assert_int_equal(back.last_position, 8);
    assert_int_equal(back.count, 3);
    assert_true(back.existed);
    assert_int_equal(back.stream_count, 2);
    assert_memory_equal(back.streams[1].stream_id.at, "bcd", 3);
    assert_int_equal(back.streams[1].last_version, 4);
    for (size_t n = 0; n < bytes.len; n++) {
        unsigned char *part = malloc(n ? n : 1);
        assert_non_null(part);
        memcpy(part, bytes.at, n);
        if (n >= ES_WIRE_HEAD)
            fmt_put32(part + 4, (uint32_t)n);
        struct esdb_error e = {0};
        assert_int_equal(es_answer_decode(part, n, b, &back, &e), ESDB_EUNKNOWN);
        assert_true(e.text[0]);
        free(part);
    }
    es_buffer_release(&bytes);
    esdb_batch_close(b);
}

static void test_refusal(void **state) {
    (void)state;
    struct esdb_error e = {.code = ESDB_ECONFLICT, .text = "a: expected 7", .stream_id = "a", .expected = 7, .actual = 9};
    struct es_buffer bytes = {0};
    struct esdb_receipt back = {0};
    struct esdb_error err = {0};
    esdb_batch *b = filled(false);
    assert_int_equal(es_answer_encode(7, ESDB_ECONFLICT, NULL, &e, &bytes), 0);
    assert_int_equal(es_answer_decode(bytes.at, bytes.len, b, &back, &err), ESDB_ECONFLICT);
    assert_string_equal(err.text, e.text);
    assert_string_equal(err.stream_id, "a");
    assert_int_equal(err.expected, 7);
    assert_int_equal(err.actual, 9);
    es_buffer_release(&bytes);
    esdb_batch_close(b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_request),
        cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_receipt),
        cmocka_unit_test(test_refusal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
