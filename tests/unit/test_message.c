/* What nodes say to each other, as bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "replicate/message.h"

#include "format/bytes.h"
#include "format/frame.h"

#include <cmocka.h>

/* Exactly as large as the message, so that a sanitizer sees what is read behind it. */
static unsigned char *flat(const struct rep_message *m, size_t *len) {
    struct rep_encoded e;
    assert_true(rep_message_encode(m, &e));
    unsigned char *at = malloc(e.size);
    assert_non_null(at);
    memcpy(at, e.head, e.head_len);
    size_t n = e.head_len;
    for (int i = 0; i < 2; i++) {
        if (e.part[i].len)
            memcpy(at + n, e.part[i].at, e.part[i].len);
        n += e.part[i].len;
    }
    assert_int_equal(n, e.size);
    *len = n;
    return at;
}

static size_t frames(uint64_t first, uint32_t count, unsigned char *out) {
    for (uint32_t i = 0; i < count; i++) {
        struct fmt_frame f = {.kind = FMT_FRAME_BARRIER,
                              .frame_len = FMT_FRAME_HEADER_SIZE,
                              .index = first + i,
                              .term = 3,
                              .incarnation = 9};
        fmt_frame_encode(&f, out + i * FMT_FRAME_HEADER_SIZE);
    }
    return count * FMT_FRAME_HEADER_SIZE;
}

static unsigned char frame_bytes[4 * FMT_FRAME_HEADER_SIZE];

static void each(void (*check)(const struct rep_message *m)) {
    size_t len = frames(8, 3, frame_bytes);
    const struct rep_message all[] = {
        {.type = REP_APPEND, .term = 5, .append = {7, 4, 0x1122334455667788, 6, {frame_bytes, len, 3}}},
        {.type = REP_APPEND, .term = 5, .append = {7, 4, 1, 6, {NULL, 0, 0}}},
        {.type = REP_APPEND_RESULT, .term = UINT64_MAX, .append_result = {12, 11}},
        {.type = REP_VOTE, .term = 6, .vote = {1, 2, 3, true, false}},
        {.type = REP_VOTE, .term = 6, .vote = {1, 2, 3, false, true}},
        {.type = REP_VOTE_RESULT, .term = 6, .vote_result = {true, false}},
        {.type = REP_VOTE_RESULT, .term = 6, .vote_result = {false, true}},
        {.type = REP_TIMEOUT_NOW, .term = 6, .timeout_now = {10, 20}},
        {.type = REP_INSTALL,
         .term = 6,
         .install = {9, 8, 7, 6, (const unsigned char *)"conf", 4, (const unsigned char *)"manifest", 8}},
        {.type = REP_INSTALL, .term = 6, .install = {9, 8, 7, 6, NULL, 0, NULL, 0}},
        {.type = REP_PROBE, .term = 1, .probe = {77}},
        {.type = REP_PROBE_RESULT, .term = 1, .probe_result = {77, true}},
    };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        check(&all[i]);
}

static void check_round(const struct rep_message *m) {
    size_t len = 0, again_len = 0;
    unsigned type = 0;
    struct rep_message back;
    unsigned char *at = flat(m, &len);
    assert_int_equal(rep_message_peek(at, &type), len);
    assert_int_equal(type, m->type);
    assert_true(len <= rep_message_size_max(type));
    assert_null(rep_message_decode(at, len, &back));
    assert_int_equal(back.type, m->type);
    assert_int_equal(back.term, m->term);
    unsigned char *again = flat(&back, &again_len);
    assert_int_equal(again_len, len);
    assert_memory_equal(again, at, len);
    free(again);
    free(at);
}

static void test_round(void **state) {
    (void)state;
    each(check_round);
}

static void test_fields(void **state) {
    (void)state;
    struct rep_message back;
    size_t len = frames(8, 2, frame_bytes), size = 0;
    struct rep_message m = {.type = REP_APPEND, .term = 5, .append = {7, 4, 99, 6, {frame_bytes, len, 2}}};
    unsigned char *at = flat(&m, &size);
    assert_null(rep_message_decode(at, size, &back));
    assert_int_equal(back.append.prev_index, 7);
    assert_int_equal(back.append.prev_term, 4);
    assert_int_equal(back.append.prev_checksum, 99);
    assert_int_equal(back.append.commit, 6);
    assert_int_equal(back.append.frames.count, 2);
    assert_int_equal(back.append.frames.len, len);
    assert_ptr_equal(back.append.frames.at, at + size - len);
    free(at);
}

/* Cut anywhere, or with a byte more: refused, whatever size it says. */
static void check_cut(const struct rep_message *m) {
    size_t len = 0;
    struct rep_message back;
    unsigned char *at = flat(m, &len);
    for (size_t n = 0; n < len; n++) {
        unsigned char *part = malloc(n ? n : 1);
        assert_non_null(part);
        memcpy(part, at, n);
        assert_non_null(rep_message_decode(part, n, &back));
        if (n >= REP_MESSAGE_HEAD) {
            fmt_put32(part + 4, (uint32_t)n);
            assert_non_null(rep_message_decode(part, n, &back));
        }
        free(part);
    }
    unsigned char *more = calloc(1, len + 1);
    assert_non_null(more);
    memcpy(more, at, len);
    assert_non_null(rep_message_decode(more, len + 1, &back));
    fmt_put32(more + 4, (uint32_t)len + 1);
    if (m->type != REP_INSTALL) /* its manifest would be longer, but then its length does not fit */
        assert_non_null(rep_message_decode(more, len + 1, &back));
    free(more);
    free(at);
}

static void test_cut(void **state) {
    (void)state;
    each(check_cut);
}

static const char *changed(const struct rep_message *m, size_t at, uint64_t value, size_t width) {
    size_t len = 0;
    struct rep_message back;
    unsigned char *bytes = flat(m, &len);
    if (width == 2)
        fmt_put16(bytes + at, (uint16_t)value);
    else if (width == 4)
        fmt_put32(bytes + at, (uint32_t)value);
    else
        fmt_put64(bytes + at, value);
    const char *wrong = rep_message_decode(bytes, len, &back);
    free(bytes);
    return wrong;
}

static void test_refused(void **state) {
    (void)state;
    size_t len = frames(8, 2, frame_bytes);
    struct rep_message append = {.type = REP_APPEND, .append = {7, 4, 99, 6, {frame_bytes, len, 2}}};
    struct rep_message vote = {.type = REP_VOTE, .vote = {1, 2, 3, true, true}};
    struct rep_message install = {.type = REP_INSTALL, .install = {9, 8, 7, 6, frame_bytes, 100, frame_bytes, 20}};
    assert_string_equal(changed(&append, 0, 0, 2), "its type is not known");
    assert_string_equal(changed(&append, 0, 9, 2), "its type is not known");
    assert_string_equal(changed(&append, 0, 65535, 2), "its type is not known");
    assert_string_equal(changed(&append, 2, 1, 2), "a reserved field is not zero");
    assert_string_equal(changed(&append, 0, REP_VOTE, 2), "its size is impossible");
    assert_string_equal(changed(&append, 16, 8, 8), "a frame has another index than it should");
    assert_string_equal(changed(&append, 16, UINT64_MAX, 8), "an impossible index");
    assert_string_equal(changed(&append, 48, 1, 4), "bytes behind the last frame");
    assert_non_null(changed(&append, 48, 3, 4));
    assert_string_equal(changed(&append, 48, REP_APPEND_FRAMES_MAX + 1, 4), "too many frames");
    assert_string_equal(changed(&append, 48, UINT32_MAX, 4), "too many frames");
    assert_string_equal(changed(&append, 52, 1, 4), "a reserved field is not zero");
    assert_non_null(changed(&append, 56 + 8, 1 << 20, 4)); /* frame_len */
    assert_string_equal(changed(&vote, 40, 4, 4), "a reserved field is not zero");
    assert_string_equal(changed(&vote, 44, 1, 4), "a reserved field is not zero");
    assert_string_equal(changed(&install, 48, 99, 4), "its parts do not fill it");
    assert_string_equal(changed(&install, 48, 121, 4), "its parts do not fill it");
    assert_string_equal(changed(&install, 48, UINT32_MAX, 4), "the membership is too large");
    assert_string_equal(changed(&install, 52, UINT32_MAX, 4), "its parts do not fill it");
}

static void test_limits(void **state) {
    (void)state;
    struct rep_encoded e;
    struct rep_message m = {.type = REP_APPEND,
                            .append = {.frames = {frame_bytes, REP_APPEND_SIZE_MAX - REP_ENCODED_HEAD_MAX, 1}}};
    assert_true(rep_message_encode(&m, &e));
    assert_int_equal(e.size, REP_APPEND_SIZE_MAX);
    m.append.frames.len++;
    assert_false(rep_message_encode(&m, &e));
    m = (struct rep_message){.type = REP_INSTALL, .install = {.configuration_len = REP_CONFIGURATION_MAX + 1}};
    assert_false(rep_message_encode(&m, &e));
    m = (struct rep_message){.type = REP_INSTALL, .install = {.configuration_len = 10, .manifest_len = SIZE_MAX}};
    assert_false(rep_message_encode(&m, &e));
    m = (struct rep_message){.type = (enum rep_message_type)200};
    assert_false(rep_message_encode(&m, &e));
    assert_int_equal(rep_message_size_max(0), 0);
    unsigned type;
    unsigned char head[REP_MESSAGE_HEAD] = {1, 0, 0, 0, 15};
    assert_int_equal(rep_message_peek(head, &type), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round),   cmocka_unit_test(test_fields), cmocka_unit_test(test_cut),
        cmocka_unit_test(test_refused), cmocka_unit_test(test_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
