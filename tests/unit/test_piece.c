/* Messages by which segments are fetched: there and back, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "format/bytes.h"
#include "replicate/piece.h"

static void test_ask_manifest(void **state) {
    (void)state;
    const struct rd_ask_manifest m = {7, 10, 20, 0x1234};
    struct rd_ask_manifest out;
    unsigned char bytes[RD_ASK_SIZE];
    rd_ask_manifest_encode(&m, bytes);
    assert_null(rd_ask_manifest_decode(bytes, sizeof bytes, &out));
    assert_memory_equal(&m, &out, sizeof m);
    assert_non_null(rd_ask_manifest_decode(bytes, sizeof bytes - 1, &out));
    fmt_put64(bytes + 24, 9); /* upto before first */
    assert_string_equal(rd_ask_manifest_decode(bytes, sizeof bytes, &out), "asked for frames that cannot be");
    fmt_put64(bytes + 16, 0);
    assert_non_null(rd_ask_manifest_decode(bytes, sizeof bytes, &out));
}

static void test_ask_piece(void **state) {
    (void)state;
    struct rd_ask_piece out, m = {7, 10, 4096, RD_PIECE_BYTES};
    unsigned char bytes[RD_ASK_SIZE];
    rd_ask_piece_encode(&m, bytes);
    assert_null(rd_ask_piece_decode(bytes, sizeof bytes, &out));
    assert_int_equal(out.offset, 4096);
    assert_int_equal(out.len, RD_PIECE_BYTES);
    fmt_put32(bytes + 32, RD_PIECE_BYTES + 1);
    assert_non_null(rd_ask_piece_decode(bytes, sizeof bytes, &out));
    fmt_put32(bytes + 32, 0);
    assert_non_null(rd_ask_piece_decode(bytes, sizeof bytes, &out));
    m.offset = RD_SEGMENT_SIZE_MAX + 1;
    rd_ask_piece_encode(&m, bytes);
    assert_string_equal(rd_ask_piece_decode(bytes, sizeof bytes, &out), "named bytes that cannot be");
}

static void test_piece(void **state) {
    (void)state;
    unsigned char bytes[RD_PIECE_HEAD + 5] = {0};
    struct rd_piece out;
    memcpy(bytes + RD_PIECE_HEAD, "hello", 5);
    rd_piece_head(&(struct rd_piece){.number = 3, .segment = 1, .offset = 9, .len = 5}, bytes);
    assert_null(rd_piece_decode(bytes, sizeof bytes, &out));
    assert_int_equal(out.len, 5);
    assert_memory_equal(out.at, "hello", 5);
    fmt_put32(bytes + 32, 6);
    assert_string_equal(rd_piece_decode(bytes, sizeof bytes, &out), "sent a piece that does not fill its message");
    fmt_put32(bytes + 32, 5);
    bytes[2] = 1;
    assert_string_equal(rd_piece_decode(bytes, sizeof bytes, &out), "sent a message whose reserved field is not zero");
}

static unsigned char *manifest(const struct es_outline *o, uint32_t count, uint64_t upto, size_t *len) {
    *len = RD_MANIFEST_HEAD + count * RD_OUTLINE_SIZE;
    unsigned char *bytes = malloc(*len);
    rd_manifest_head(&(struct rd_manifest){.number = 1, .upto = upto, .count = count}, bytes);
    for (uint32_t i = 0; i < count; i++)
        rd_outline_encode(&o[i], bytes + RD_MANIFEST_HEAD + i * RD_OUTLINE_SIZE);
    return bytes;
}

static const char *check(const struct es_outline *o, uint32_t count, uint64_t upto) {
    struct rd_manifest m;
    size_t len;
    unsigned char *bytes = manifest(o, count, upto, &len);
    const char *wrong = rd_manifest_decode(bytes, len, &m);
    if (!wrong) {
        struct es_outline again;
        assert_int_equal(m.count, count);
        for (uint32_t i = 0; i < count; i++) {
            rd_outline_decode(&m, i, &again);
            assert_memory_equal(&again, &o[i], sizeof again);
        }
    }
    free(bytes);
    return wrong;
}

static void test_manifest(void **state) {
    (void)state;
    struct es_outline o[3] = {{1, 0, 0, 0, 0, 4096}, {10, 30, 77, 5, 1, 70000}, {20, 60, 78, 6, 2, 200}};
    assert_null(check(o, 3, 25));
    assert_null(check(o, 0, 25));
    assert_non_null(check(o, 3, 19)); /* the last one begins behind the end */
    o[2].first_index = 10;
    assert_string_equal(check(o, 3, 25), "sent a manifest that cannot be");
    o[2].first_index = 20;
    o[2].size = 100;
    assert_non_null(check(o, 3, 25));
    o[2].size = RD_SEGMENT_SIZE_MAX + 1;
    assert_non_null(check(o, 3, 25));
    o[2].size = 200;
    o[1].last_term = 3; /* terms fall */
    assert_non_null(check(o, 3, 25));
}

static void test_sizes(void **state) {
    (void)state;
    assert_int_equal(rd_piece_size_max(63), 0);
    assert_int_equal(rd_piece_size_max(68), 0);
    assert_true(rd_piece_size_max(RD_MANIFEST) <= REP_INSTALL_SIZE_MAX);
    assert_int_equal(rd_piece_size_max(RD_PIECE), RD_PIECE_HEAD + RD_PIECE_BYTES);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ask_manifest), cmocka_unit_test(test_ask_piece), cmocka_unit_test(test_piece),
        cmocka_unit_test(test_manifest),     cmocka_unit_test(test_sizes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
