/* Base 64: the vectors of RFC 4648 section 10, strictness, round trips. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "format/base64.h"

/* From and to blocks of exactly the size that the header asks for. */
static int decode(const char *text, size_t len, char *bytes, size_t *bytes_len, size_t *bad) {
    char *in = malloc(len + 1), *out = malloc(fmt_base64_decoded_size_max(len) + 1);
    int rc;

    assert_non_null(in);
    assert_non_null(out);
    memcpy(in, text, len);
    in = realloc(in, len > 0 ? len : 1);
    out = realloc(out, fmt_base64_decoded_size_max(len) > 0 ? fmt_base64_decoded_size_max(len) : 1);
    rc = fmt_base64_decode(in, len, out, bytes_len, bad);
    if (rc == 0)
        memcpy(bytes, out, *bytes_len);
    free(in);
    free(out);
    return rc;
}

static void assert_both_ways(const char *plain, const char *text) {
    char out[100];
    size_t len = strlen(plain), n;

    assert_int_equal(fmt_base64_encoded_size(len), strlen(text));
    assert_int_equal(fmt_base64_encode(plain, len, out), strlen(text));
    assert_memory_equal(out, text, strlen(text));
    assert_int_equal(decode(text, strlen(text), out, &n, NULL), 0);
    assert_int_equal(n, len);
    assert_memory_equal(out, plain, len);
}

static void vectors_of_rfc_4648(void **state) {
    (void)state;
    assert_both_ways("", "");
    assert_both_ways("f", "Zg==");
    assert_both_ways("fo", "Zm8=");
    assert_both_ways("foo", "Zm9v");
    assert_both_ways("foob", "Zm9vYg==");
    assert_both_ways("fooba", "Zm9vYmE=");
    assert_both_ways("foobar", "Zm9vYmFy");
    assert_both_ways("\x14\xfb\x9c\x03\xd9\x7e", "FPucA9l+");
    assert_both_ways("\xff\xff\xff", "////");
}

static void assert_bad(const char *text, size_t offset) {
    char out[100];
    size_t n = 777, bad = 999;

    assert_int_equal(decode(text, strlen(text), out, &n, &bad), -EILSEQ);
    assert_int_equal(decode(text, strlen(text), out, &n, NULL), -EILSEQ);
    assert_int_equal(n, 777);
    assert_int_equal(bad, offset);
}

static void the_bad_character_is_named(void **state) {
    (void)state;
    assert_bad("Zm9v!mFy", 4);
    assert_bad("Zm9vY!Fy", 5);
    assert_bad("Zm!vYmFy", 2);
    assert_bad("Zm9-YmFy", 3);
    assert_bad("_m9vYmFy", 0);
    assert_bad("Zm9vYmF\xc3", 7);
    assert_bad("Zm9v\nYmFy", 4);
    assert_bad("Zm9vYmFy\n", 8);
    assert_bad(" Zm9v", 0);
    assert_bad("Zm\\/v", 2);
}

static void missing_or_misplaced_padding_is_refused(void **state) {
    (void)state;
    assert_bad("Z", 1);
    assert_bad("Zg", 2);
    assert_bad("Zg=", 2);
    assert_bad("Zm8", 3);
    assert_bad("Zm9vYg", 6);
    assert_bad("=", 0);
    assert_bad("====", 0);
    assert_bad("Z===", 1);
    assert_bad("Zg=v", 2);
    assert_bad("Zg==Zg==", 2);
    assert_bad("Zm8=Zm8=", 3);
    assert_bad("Zm9v=", 4);
    assert_bad("Zm9v====", 4);
}

static void bits_under_the_padding_must_be_zero(void **state) {
    (void)state;
    assert_bad("Zh==", 1);
    assert_bad("Zv==", 1);
    assert_bad("Zm9=", 2);
    assert_bad("Zm9vZm9=", 6);
}

static void every_byte_outside_the_alphabet_is_refused_at_every_place(void **state) {
    (void)state;
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    for (int c = 0; c < 256; c++) {
        for (size_t i = 0; i < 8; i++) {
            char text[] = "Zm9vYmFy", out[6];
            size_t n, bad = 999;
            bool known = c != 0 && strchr(alphabet, c) != NULL;
            int rc;

            text[i] = (char)c;
            rc = decode(text, 8, out, &n, &bad);
            if (known || (c == '=' && i == 7)) /* "Zm9vYmF=": valid padding, but bits under it */
                assert_int_equal(rc, known ? 0 : -EILSEQ);
            else
                assert_int_equal(bad, i);
        }
    }
}

static void every_length_and_byte_round_trips(void **state) {
    (void)state;
    uint8_t bytes[600];
    char back[sizeof bytes], text[4 * sizeof bytes];
    size_t n;

    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 167 + (i >> 8));
    for (size_t len = 0; len <= sizeof bytes; len++) {
        size_t text_len = fmt_base64_encode(bytes, len, text);

        assert_int_equal(text_len, fmt_base64_encoded_size(len));
        assert_int_equal(decode(text, text_len, back, &n, NULL), 0);
        assert_int_equal(n, len);
        assert_memory_equal(back, bytes, len);
        assert_int_equal(fmt_base64_decode(text, text_len, text, &n, NULL), 0); /* in place */
        assert_int_equal(n, len);
        assert_memory_equal(text, bytes, len);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vectors_of_rfc_4648),
        cmocka_unit_test(the_bad_character_is_named),
        cmocka_unit_test(missing_or_misplaced_padding_is_refused),
        cmocka_unit_test(bits_under_the_padding_must_be_zero),
        cmocka_unit_test(every_byte_outside_the_alphabet_is_refused_at_every_place),
        cmocka_unit_test(every_length_and_byte_round_trips),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
