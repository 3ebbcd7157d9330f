/* Members, elements and strings of stored JSON. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "format/json_path.h"

#define TEXT(literal) ((struct fmt_text){literal, sizeof(literal) - 1})

static struct fmt_text text(const char *s) {
    return (struct fmt_text){s, strlen(s)};
}

static void assert_member(const char *object, const char *key, const char *expected) {
    /* A block of its exact size, so that the sanitizer sees what is read beyond it. */
    size_t len = strlen(object);
    char *copy = malloc(len + 1);
    struct fmt_text value = {NULL, 0};

    assert_non_null(copy);
    memcpy(copy, object, len);
    copy = realloc(copy, len ? len : 1);

    bool found = fmt_json_member((struct fmt_text){copy, len}, text(key), &value);

    assert_int_equal(found, expected != NULL);
    if (expected) {
        assert_int_equal(value.len, strlen(expected));
        assert_memory_equal(value.at, expected, value.len);
    } else {
        assert_null(value.at);
    }
    free(copy);
}

static void a_member_is_found_by_its_key(void **state) {
    (void)state;
    assert_member("{\"a\":1}", "a", "1");
    assert_member("{\"a\":1}", "b", NULL);
    assert_member("{}", "a", NULL);
    assert_member("{\"\":true}", "", "true");
    assert_member("{\"a\":1,\"b\":\"x\",\"c\":[1,2],\"d\":{\"a\":9},\"e\":null}", "a", "1");
    assert_member("{\"a\":1,\"b\":\"x\",\"c\":[1,2],\"d\":{\"a\":9},\"e\":null}", "b", "\"x\"");
    assert_member("{\"a\":1,\"b\":\"x\",\"c\":[1,2],\"d\":{\"a\":9},\"e\":null}", "c", "[1,2]");
    assert_member("{\"a\":1,\"b\":\"x\",\"c\":[1,2],\"d\":{\"a\":9},\"e\":null}", "d", "{\"a\":9}");
    assert_member("{\"a\":1,\"b\":\"x\",\"c\":[1,2],\"d\":{\"a\":9},\"e\":null}", "e", "null");
    assert_member("{\"x\":\"long text, longer than a register of sixteen bytes\",\"y\":-1.5e3}", "y", "-1.5e3");
    assert_member("[\"a\",1]", "a", NULL);
    assert_member("\"a\"", "a", NULL);
    assert_member("", "a", NULL);
}

static void a_member_inside_another_value_is_not_found(void **state) {
    (void)state;
    assert_member("{\"a\":{\"b\":1}}", "b", NULL);
    assert_member("{\"a\":[{\"b\":1}]}", "b", NULL);
    assert_member("{\"a\":\"\\\"b\\\":1\"}", "b", NULL);
    assert_member("{\"a\":\"}\",\"b\":1}", "b", "1");
    assert_member("{\"a\":{\"c\":\"}}]\\\"\"},\"b\":1}", "b", "1");
    assert_member("{\"a\":[[],{},[{\"b\":\"[{\"}]],\"b\":2}", "b", "2");
    assert_member("{\"a\":\"ends with \\\\\",\"b\":3}", "b", "3");
}

static void the_last_of_several_wins(void **state) {
    (void)state;
    assert_member("{\"a\":1,\"a\":2}", "a", "2");
    assert_member("{\"a\":1,\"b\":3,\"a\":{\"a\":4}}", "a", "{\"a\":4}");
    assert_member("{\"a\":1,\"\\u0061\":2}", "a", "2");
    assert_member("{\"\\u0061\":2,\"a\":1}", "a", "1");
}

static void keys_are_compared_decoded(void **state) {
    (void)state;
    assert_member("{\"\\u0061b\":1}", "ab", "1");
    assert_member("{\"\\ud83d\\ude00\":1}", "\xf0\x9f\x98\x80", "1");
    assert_member("{\"\xf0\x9f\x98\x80\":1}", "\xf0\x9f\x98\x80", "1");
    assert_member("{\"a\\\\b\":1}", "a\\b", "1");
    assert_member("{\"a\\nb\":1}", "a\nb", "1");
    assert_member("{\"a\\n\":1}", "a\\n", NULL); /* the raw bytes are equal, the texts are not */
    assert_member("{\"a\\\"b\":1}", "a\"b", "1");
    assert_member("{\"\\ud800\":1}", "\xef\xbf\xbd", "1");

    struct fmt_text value;

    assert_true(fmt_json_member(TEXT("{\"a\\u0000b\":7}"), TEXT("a\0b"), &value));
    assert_int_equal(*value.at, '7');
    assert_false(fmt_json_member(TEXT("{\"a\\u0000b\":7}"), TEXT("a"), &value));
}

static void elements_come_in_order(void **state) {
    static const char *const expected[] = {"1", "\"a,b\"", "[2,[3]]", "{\"x\":[4]}", "null"};
    struct fmt_json_walk w;
    struct fmt_text value;
    size_t n = 0;

    (void)state;
    fmt_json_walk_init(&w, TEXT("[1,\"a,b\",[2,[3]],{\"x\":[4]},null]"));
    while (fmt_json_element(&w, &value)) {
        assert_true(n < 5);
        assert_int_equal(value.len, strlen(expected[n]));
        assert_memory_equal(value.at, expected[n], value.len);
        n++;
    }
    assert_int_equal(n, 5);
    assert_false(fmt_json_element(&w, &value));
    assert_int_equal(fmt_json_count(TEXT("[]")), 0);
    assert_int_equal(fmt_json_count(TEXT("{}")), 0);
    assert_int_equal(fmt_json_count(TEXT("[[]]")), 1);
    assert_int_equal(fmt_json_count(TEXT("[1,2,{}]")), 3);
    assert_int_equal(fmt_json_count(TEXT("{\"a\":[1,2],\"b\":\",\"}")), 2);
    assert_int_equal(fmt_json_count(TEXT("12")), 0);
    assert_int_equal(fmt_json_count(TEXT("\"ab\"")), 0);
}

static void strings_are_compared_as_what_they_stand_for(void **state) {
    (void)state;
    assert_true(fmt_json_string_equal(TEXT("\"abc\""), TEXT("abc")));
    assert_true(fmt_json_string_equal(TEXT("\"\""), TEXT("")));
    assert_false(fmt_json_string_equal(TEXT("\"abc\""), TEXT("ab")));
    assert_false(fmt_json_string_equal(TEXT("\"abc\""), TEXT("abd")));
    assert_false(fmt_json_string_equal(TEXT("123"), TEXT("2")));
    assert_true(fmt_json_string_equal(TEXT("\"\\u00e4\\/\\b\\f\\n\\r\\t\\\"\\\\\""), TEXT("\xc3\xa4/\b\f\n\r\t\"\\")));
    assert_true(fmt_json_string_equal(TEXT("\"a\\u0000b\""), TEXT("a\0b")));
    assert_false(fmt_json_string_equal(TEXT("\"\\u0061\""), TEXT("\\u0061")));
    assert_true(fmt_json_string_compare(TEXT("\"a\""), TEXT("b")) < 0);
    assert_true(fmt_json_string_compare(TEXT("\"b\""), TEXT("a")) > 0);
    assert_true(fmt_json_string_compare(TEXT("\"a\""), TEXT("ab")) < 0);
    assert_true(fmt_json_string_compare(TEXT("\"ab\""), TEXT("a")) > 0);
    assert_true(fmt_json_string_compare(TEXT("\"\\u0062\""), TEXT("a")) > 0);
    assert_true(fmt_json_string_compare(TEXT("\"\\u0061\\u0062\""), TEXT("a")) > 0);
    assert_true(fmt_json_string_compare(TEXT("\"\\u0061\""), TEXT("ab")) < 0);
    /* UTF-16 would have it the other way round. */
    assert_true(fmt_json_string_compare(TEXT("\"\\ud83d\\ude00\""), TEXT("\xef\xbf\xbd")) > 0);
}

static void prefixes_are_compared_decoded(void **state) {
    (void)state;
    assert_true(fmt_json_string_has_prefix(TEXT("\"abc\""), TEXT("")));
    assert_true(fmt_json_string_has_prefix(TEXT("\"abc\""), TEXT("ab")));
    assert_true(fmt_json_string_has_prefix(TEXT("\"abc\""), TEXT("abc")));
    assert_false(fmt_json_string_has_prefix(TEXT("\"abc\""), TEXT("abcd")));
    assert_false(fmt_json_string_has_prefix(TEXT("\"abc\""), TEXT("b")));
    assert_true(fmt_json_string_has_prefix(TEXT("\"\\u0061\\u00e4\\n\""), TEXT("a\xc3\xa4")));
    assert_false(fmt_json_string_has_prefix(TEXT("\"\\u0061\""), TEXT("\\u")));
    assert_false(fmt_json_string_has_prefix(TEXT("123"), TEXT("")));
}

static void two_strings_have_an_order(void **state) {
    static const char *const sorted[] = {"\"\"",           "\"\\u0000\"",  "\"\\n\"",      "\"A\"",
                                         "\"\\u0061\"",    "\"ab\"",       "\"a\\u0063\"", "\"b\"",
                                         "\"\\u00e4\\n\"", "\"\xc3\xa5\"", "\"\\uffff\"",  "\"\\ud83d\\ude00\""};

    (void)state;
    for (int i = 0; i < 12; i++)
        for (int k = 0; k < 12; k++) {
            int order = fmt_json_string_order(text(sorted[i]), text(sorted[k]));

            assert_int_equal((order > 0) - (order < 0), (i > k) - (i < k));
        }
    assert_int_equal(fmt_json_string_order(TEXT("\"\\u0061b\""), TEXT("\"a\\u0062\"")), 0);
}

static void strings_are_decoded(void **state) {
    char out[16];

    (void)state;
    assert_int_equal(fmt_json_decode(TEXT("\"a\\u00e4\\ud83d\\ude00\""), out, sizeof out), 7);
    assert_memory_equal(out, "a\xc3\xa4\xf0\x9f\x98\x80", 7);
    assert_true(fmt_json_decode(TEXT("\"abc\""), out, 2) == SIZE_MAX);
    assert_int_equal(fmt_json_decode(TEXT("\"abc\""), out, 3), 3);
    assert_int_equal(fmt_json_decode(TEXT("\"\\ud800\\udbffx\""), out, sizeof out), 7);
    assert_memory_equal(out, "\xef\xbf\xbd\xef\xbf\xbdx", 7);
    assert_true(fmt_json_has_lone_surrogate(TEXT("\"a\\udc00\"")));
    assert_true(fmt_json_has_lone_surrogate(TEXT("\"\\ud800\\u0041\"")));
    assert_false(fmt_json_has_lone_surrogate(TEXT("\"\\ud83d\\ude00\"")));
    assert_false(fmt_json_has_lone_surrogate(TEXT("\"\\\\ud800\"")));
    assert_false(fmt_json_has_lone_surrogate(TEXT("\"x\"")));
}

static uint32_t below(uint32_t n) {
    static uint64_t state = 20261123;

    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state >> 33) % n;
}

/* An object of members whose keys and values look like one another. */
static size_t make_object(char *out, size_t room) {
    static const char *const keys[] = {"a", "ab", "total", "\\u0061", "a\\\"b", "a b c d e f g h i j k l", "", "t"};
    static const char *const values[] = {"1",
                                         "\"a\"",
                                         "\"total\"",
                                         "{\"a\":2}",
                                         "[\"ab\",{\"ab\":3}]",
                                         "\"a:\"",
                                         "\":\"",
                                         "\"some longer text\"",
                                         "null",
                                         "\"{a:1}\"",
                                         "\"x\\\\\"",
                                         "{\"total\":{}}",
                                         "1234567890123456.5"};
    uint32_t n = below(8), plain = below(2);
    size_t len = 0;

    len += (size_t)snprintf(out, room, "{");
    for (uint32_t i = 0; i < n; i++) {
        const char *key = keys[below(8)], *value = values[below(13)];

        if (plain && (strchr(key, '\\') || strchr(value, '\\')))
            continue;
        len += (size_t)snprintf(out + len, room - len, "%s\"%s\":%s", len > 1 ? "," : "", key, value);
    }
    return len + (size_t)snprintf(out + len, room - len, "}");
}

static void searching_finds_what_walking_finds(void **state) {
    static const char *const wanted[] = {"a", "ab", "total", "a\"b",     "a b c d e f g h i j k l",
                                         "",  "t",  "x",     "\":1,\"ab"};
    unsigned found = 0;

    (void)state;
    for (int i = 0; i < 100000; i++) {
        char json[512], *copy;
        struct fmt_text object = {NULL, make_object(json, sizeof json)}, key = text(wanted[below(9)]);
        struct fmt_text name, member, value = {NULL, 0}, expected = {NULL, 0};
        struct fmt_json_walk w;

        copy = malloc(object.len);
        assert_non_null(copy);
        memcpy(copy, json, object.len);
        object.at = copy;
        fmt_json_walk_init(&w, object);
        while (fmt_json_next_member(&w, &name, &member))
            if (fmt_json_string_equal(name, key))
                expected = member;
        if (fmt_json_member(object, key, &value) != (expected.at != NULL) || value.at != expected.at ||
            value.len != expected.len)
            fail_msg("%s in %s", key.at, json);
        found += expected.at != NULL;

        bool holds = memmem(copy, object.len, key.at, key.len) != NULL || memchr(copy, '\\', object.len) != NULL;

        assert_int_equal(fmt_json_may_hold(object, key), holds);
        assert_ptr_equal(fmt_text_find(object, key), memmem(copy, object.len, key.at, key.len));
        free(copy);
    }
    assert_true(found > 10000);
}

/* Every prefix and every single changed byte of a value: nothing outside is read, every walk ends. */
static void nonsense_is_survived(void **state) {
    static const char good[] = "{\"a\":[1,{\"b\":\"\\ud83d\\ude00\\\"\"}],\"\\u0061\":\"x\\\\\",\"c\":-1.5e3}";
    static const char changes[] = "\"\\{}[],:u\0\xff";
    size_t len = sizeof good - 1;

    (void)state;
    for (size_t cut = 0; cut <= len; cut++)
        for (size_t change = 0; change < (cut == len ? len * (sizeof changes - 1) : 1); change++) {
            char *copy = malloc(cut ? cut : 1), out[sizeof good];
            struct fmt_text value, whole = {copy, cut};
            struct fmt_json_walk w;
            size_t walked = 0;

            assert_non_null(copy);
            memcpy(copy, good, cut);
            if (cut == len)
                copy[change / (sizeof changes - 1)] = changes[change % (sizeof changes - 1)];
            fmt_json_member(whole, TEXT("a"), &value);
            fmt_json_member(whole, TEXT("c"), &value);
            fmt_json_may_hold(whole, TEXT("a"));
            fmt_json_count(whole);
            fmt_json_walk_init(&w, whole);
            while (fmt_json_element(&w, &value)) {
                assert_true(++walked <= cut);
                fmt_json_decode(value, out, sizeof out);
                fmt_json_has_lone_surrogate(value);
                fmt_json_string_compare(value, TEXT("x"));
                fmt_json_string_order(value, value);
            }
            free(copy);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_member_is_found_by_its_key),  cmocka_unit_test(a_member_inside_another_value_is_not_found),
        cmocka_unit_test(the_last_of_several_wins),      cmocka_unit_test(keys_are_compared_decoded),
        cmocka_unit_test(elements_come_in_order),        cmocka_unit_test(strings_are_compared_as_what_they_stand_for),
        cmocka_unit_test(prefixes_are_compared_decoded), cmocka_unit_test(two_strings_have_an_order),
        cmocka_unit_test(strings_are_decoded),           cmocka_unit_test(searching_finds_what_walking_finds),
        cmocka_unit_test(nonsense_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
