/* UTF-8 checking: every boundary of Unicode table 3-7, and every code point. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "format/utf8.h"

/* On a copy in a block of exactly its size, with `before` letters in front, so that both loops are used. */
static bool valid_after(size_t before, const char *text, size_t len, size_t *bad) {
    char *copy = malloc(before + len + 1);
    bool valid;

    assert_non_null(copy);
    memset(copy, 'a', before);
    memcpy(copy + before, text, len);
    copy = realloc(copy, before + len > 0 ? before + len : 1);
    valid = fmt_utf8_valid(copy, before + len, bad);
    free(copy);
    return valid;
}

static void assert_valid(const char *text, size_t len) {
    for (size_t before = 0; before < 40; before++)
        assert_true(valid_after(before, text, len, NULL));
}

static void assert_bad(const char *text, size_t len, size_t offset) {
    for (size_t before = 0; before < 40; before++) {
        size_t bad = 9999;

        assert_false(valid_after(before, text, len, NULL));
        assert_false(valid_after(before, text, len, &bad));
        assert_int_equal(bad, before + offset);
    }
}

#define VALID(text) assert_valid(text, sizeof(text) - 1)
#define BAD(text, offset) assert_bad(text, sizeof(text) - 1, offset)

static void boundaries_of_each_length_are_valid(void **state) {
    (void)state;
    VALID("");
    VALID("\0");
    VALID("\x7f");
    VALID("\xc2\x80");
    VALID("\xdf\xbf");
    VALID("\xe0\xa0\x80");
    VALID("\xed\x9f\xbf");
    VALID("\xee\x80\x80");
    VALID("\xef\xbf\xbf");
    VALID("\xf0\x90\x80\x80");
    VALID("\xf4\x8f\xbf\xbf");
    VALID("a\xc3\xa9z\xe2\x82\xac\xf0\x9f\x98\x80 end");
}

static void overlong_forms_are_refused(void **state) {
    (void)state;
    BAD("\xc0\x80", 0);
    BAD("\xc1\xbf", 0);
    BAD("\xe0\x80\x80", 0);
    BAD("\xe0\x9f\xbf", 0);
    BAD("\xf0\x80\x80\x80", 0);
    BAD("\xf0\x8f\xbf\xbf", 0);
}

static void surrogates_are_refused(void **state) {
    (void)state;
    BAD("\xed\xa0\x80", 0);
    BAD("\xed\xaf\xbf", 0);
    BAD("\xed\xb0\x80", 0);
    BAD("\xed\xbf\xbf", 0);
}

static void nothing_above_10ffff_is_valid(void **state) {
    (void)state;
    BAD("\xf4\x90\x80\x80", 0);
    BAD("\xf5\x80\x80\x80", 0);
    BAD("\xf8\x88\x80\x80\x80", 0);
    BAD("\xfe", 0);
    BAD("\xff", 0);
}

static void stray_and_missing_continuations_are_refused(void **state) {
    (void)state;
    BAD("\x80", 0);
    BAD("ab\xbf", 2);
    BAD("\xc3", 0);
    BAD("\xc3z", 0);
    BAD("\xe2\x82", 0);
    BAD("\xe2\x82z", 0);
    BAD("\xe2z\x82", 0);
    BAD("\xf0\x9f\x98", 0);
    BAD("\xf0\x9f\x98z", 0);
    BAD("\xe2\x82\xc3", 0);
    BAD("\xf0\x9f\xc3\x80", 0);
    BAD("\xf0\x9f\x98\xff", 0);
    BAD("\xc3\xa9\xc3\xa9\xa9", 4);
    BAD("\xc3\xa9 plain \xf0\x9f\x98\x80\xe2", 13);
}

static size_t encode(uint32_t c, char *out) {
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xc0 | c >> 6);
        out[1] = (char)(0x80 | (c & 63));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char)(0xe0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 63));
        out[2] = (char)(0x80 | (c & 63));
        return 3;
    }
    out[0] = (char)(0xf0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 63));
    out[2] = (char)(0x80 | (c >> 6 & 63));
    out[3] = (char)(0x80 | (c & 63));
    return 4;
}

static void exactly_the_scalar_values_are_valid(void **state) {
    (void)state;
    for (uint32_t c = 0; c < 0x1fffff; c++) {
        char text[4];
        size_t len = encode(c, text);
        bool scalar = c <= 0x10ffff && (c < 0xd800 || c > 0xdfff);

        if (fmt_utf8_valid(text, len, NULL) != scalar)
            fail_msg("U+%04X", c);
        if (len > 1 && fmt_utf8_valid(text, len - 1, NULL))
            fail_msg("U+%04X without its last byte", c);
    }
}

static void controls_are_c0_del_and_c1(void **state) {
    (void)state;
    for (uint32_t c = 0; c < 0x3000; c++) {
        char text[6] = "ab";
        size_t len = encode(c, text + 2);
        bool control = c < 0x20 || (c >= 0x7f && c < 0xa0);

        if (fmt_has_control(text + 2, len) != control || fmt_has_control(text, len + 2) != control)
            fail_msg("U+%04X", c);
    }
    assert_false(fmt_has_control("", 0));
    assert_false(fmt_has_control("order-77 \xc3\x9f\xe2\x82\xac", 14));
    assert_true(fmt_has_control("order\0", 6));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(boundaries_of_each_length_are_valid),
        cmocka_unit_test(overlong_forms_are_refused),
        cmocka_unit_test(surrogates_are_refused),
        cmocka_unit_test(nothing_above_10ffff_is_valid),
        cmocka_unit_test(stray_and_missing_continuations_are_refused),
        cmocka_unit_test(exactly_the_scalar_values_are_valid),
        cmocka_unit_test(controls_are_c0_del_and_c1),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
