/*
 * The scanner's interface: the envelope, incomplete input, strip, unescape, escape. What it accepts and refuses is
 * in test_json_conformance.c. SEED=N repeats a run of the random tests.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "format/json.h"

static const char sample[] =
    "{\"stream_id\":\"order-77\", \"event_type\":\"OrderPlaced\",\r\n\t\"data\":{\"order_id\":12,\"total\":-12.50e+3,"
    "\"note\":\"gr\xc3\xbc\xc3\x9f\xe2\x82\xac\xf0\x9f\x98\x80 \\\"q\\\" \\ud83d\\ude00\",\"l\":[true, false "
    ",null,{},[ ]]},"
    "\"metadata\":{\"correlation_id\":\"c-5\"},\"event\\u005fid\":\"e-1\"}";

/* As fmt_envelope_scan(), on a copy in a block of exactly its size. The envelope points to freed memory. */
static int scan_copy(const char *text, size_t len, bool final, size_t *consumed, struct fmt_json_error *err) {
    char *copy = malloc(len > 0 ? len : 1);
    struct fmt_envelope event;
    int rc;

    assert_non_null(copy);
    memcpy(copy, text, len);
    rc = fmt_envelope_scan(copy, len, final, consumed, &event, err);
    free(copy);
    return rc;
}

static void assert_refused(const char *text, size_t offset, const char *what) {
    struct fmt_json_error err = {0};
    size_t consumed = 12345;

    for (int final = 0; final < 2; final++) {
        assert_int_equal(scan_copy(text, strlen(text), final, &consumed, &err), FMT_JSON_ERROR);
        assert_string_equal(err.what, what);
        assert_int_equal(err.offset, offset);
        assert_int_equal(consumed, 12345);
    }
}

static struct fmt_envelope scan_ok(const char *text) {
    struct fmt_envelope event;
    struct fmt_json_error err = {0, "none"};
    size_t consumed = 0;
    int rc = fmt_envelope_scan(text, strlen(text), true, &consumed, &event, &err);

    if (rc != FMT_JSON_OK)
        fail_msg("%s: byte %zu: %s", text, err.offset, err.what);
    assert_int_equal(consumed, strlen(text));
    return event;
}

static void assert_value(const struct fmt_json_value *v, const char *text, char kind, bool has_space) {
    assert_non_null(v->at);
    assert_int_equal(v->len, strlen(text));
    assert_memory_equal(v->at, text, v->len);
    assert_int_equal(v->kind, kind);
    assert_int_equal(v->has_space, has_space);
}

/* ---- the envelope ---- */

static void every_known_key_is_found_with_kind_and_span(void **state) {
    (void)state;
    struct fmt_envelope e = scan_ok("{\"event_type\":\"T\",\"data\":{\"a\":[1]},\"metadata\":[],\"event_id\":\"\","
                                    "\"stream_id\":null,\"data_content_type\":true,\"metadata_content_type\":false,"
                                    "\"data_base64\":\"AA==\",\"position\":0,\"version\":-1,\"epoch_us\":1.5e3}");

    assert_value(&e.key[FMT_KEY_EVENT_TYPE], "\"T\"", '"', false);
    assert_value(&e.key[FMT_KEY_DATA], "{\"a\":[1]}", '{', false);
    assert_value(&e.key[FMT_KEY_METADATA], "[]", '[', false);
    assert_value(&e.key[FMT_KEY_EVENT_ID], "\"\"", '"', false);
    assert_value(&e.key[FMT_KEY_STREAM_ID], "null", 'n', false);
    assert_value(&e.key[FMT_KEY_DATA_CONTENT_TYPE], "true", 't', false);
    assert_value(&e.key[FMT_KEY_METADATA_CONTENT_TYPE], "false", 'f', false);
    assert_value(&e.key[FMT_KEY_DATA_BASE64], "\"AA==\"", '"', false);
    assert_value(&e.key[FMT_KEY_POSITION], "0", '0', false);
    assert_value(&e.key[FMT_KEY_VERSION], "-1", '0', false);
    assert_value(&e.key[FMT_KEY_EPOCH_US], "1.5e3", '0', false);
    assert_null(e.unknown);
}

static void absent_keys_are_null(void **state) {
    (void)state;
    struct fmt_envelope e = scan_ok(" {\"data\" : 1 }");

    for (int k = 0; k < FMT_ENVELOPE_KEYS; k++)
        if (k != FMT_KEY_DATA)
            assert_null(e.key[k].at);
    assert_value(&e.key[FMT_KEY_DATA], "1", '0', false);
    assert_int_equal(e.whole.len, strlen("{\"data\" : 1 }"));
    e = scan_ok("{}");
    assert_null(e.key[FMT_KEY_DATA].at);
    assert_int_equal(e.whole.len, 2);
    scan_ok("{ \n }");
}

static void white_space_around_a_value_is_not_in_it(void **state) {
    (void)state;
    struct fmt_envelope e = scan_ok("{ \"data\" :\t[1,2]\n, \"metadata\" : {\"a\" :1} , \"event_type\" : \"a b\" }");

    assert_value(&e.key[FMT_KEY_DATA], "[1,2]", '[', false);
    assert_value(&e.key[FMT_KEY_METADATA], "{\"a\" :1}", '{', true);
    assert_value(&e.key[FMT_KEY_EVENT_TYPE], "\"a b\"", '"', false);
}

static void concatenated_events_need_nothing_between_them(void **state) {
    (void)state;
    const char text[] = "{\"data\":1}{\"data\":2} \n {\"data\":[3]}\n";
    const char *values[] = {"1", "2", "[3]"};
    size_t at = 0, len = strlen(text), consumed;
    struct fmt_envelope e;
    struct fmt_json_error err;

    for (int i = 0; i < 3; i++) {
        assert_int_equal(fmt_envelope_scan(text + at, len - at, false, &consumed, &e, &err), FMT_JSON_OK);
        assert_int_equal(e.key[FMT_KEY_DATA].len, strlen(values[i]));
        assert_memory_equal(e.key[FMT_KEY_DATA].at, values[i], strlen(values[i]));
        at += consumed;
    }
    assert_int_equal(fmt_envelope_scan(text + at, len - at, false, &consumed, &e, &err), FMT_JSON_EMPTY);
    assert_int_equal(at + consumed, len);
}

static void white_space_alone_is_empty(void **state) {
    (void)state;
    struct fmt_json_error err;
    struct fmt_envelope e;
    size_t consumed = 99;

    assert_int_equal(scan_copy("", 0, true, &consumed, &err), FMT_JSON_EMPTY);
    assert_int_equal(consumed, 0);
    assert_int_equal(scan_copy(" \r\n\t ", 5, true, &consumed, &err), FMT_JSON_EMPTY);
    assert_int_equal(consumed, 5);
    assert_int_equal(scan_copy(" ", 1, false, &consumed, &err), FMT_JSON_EMPTY);
    assert_int_equal(fmt_envelope_scan(NULL, 0, true, &consumed, &e, &err), FMT_JSON_EMPTY);
}

static void anything_but_an_object_is_refused(void **state) {
    (void)state;
    const char *texts[] = {"[]", "1", "\"a\"", "null", ",{}", "}", "x", "\xef\xbb", "\xff"};

    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        assert_refused(texts[i], 0, "an event must be a JSON object");
    assert_refused("\n [{}]", 2, "an event must be a JSON object");
    assert_refused("\xef\xbb\xbf{}", 0, "byte order mark before the JSON text");
}

static void every_known_key_may_occur_once(void **state) {
    (void)state;
    for (int k = 0; k < FMT_ENVELOPE_KEYS; k++) {
        const char *name = fmt_envelope_key_name(k);
        char text[200], what[100];

        snprintf(text, sizeof text, "{\"%s\":1,\"x\":{},\"%s\":null}", name, name);
        snprintf(what, sizeof what, "duplicate key \"%s\"", name);
        assert_refused(text, 13 + strlen(name), what);
    }
}

static void a_key_written_with_escapes_is_that_key(void **state) {
    (void)state;
    struct fmt_envelope e;
    char text[200], *t;

    e = scan_ok("{\"event\\u005Ftype\":\"T\"}");
    assert_value(&e.key[FMT_KEY_EVENT_TYPE], "\"T\"", '"', false);
    assert_null(e.unknown);

    /* Every character of the longest key as an escape. */
    t = text + snprintf(text, sizeof text, "{\"");
    for (const char *p = fmt_envelope_key_name(FMT_KEY_METADATA_CONTENT_TYPE); *p != '\0'; p++)
        t += snprintf(t, sizeof text - (size_t)(t - text), "\\u%04x", (unsigned)*p);
    snprintf(t, sizeof text - (size_t)(t - text), "\":7}");
    e = scan_ok(text);
    assert_value(&e.key[FMT_KEY_METADATA_CONTENT_TYPE], "7", '0', false);

    assert_refused("{\"data\":1,\"d\\u0061ta\":2}", 10, "duplicate key \"data\"");
    assert_refused("{\"\\u0064ata\":1,\"data\":2}", 15, "duplicate key \"data\"");

    e = scan_ok("{\"dat\\u0062\":1}");
    assert_null(e.key[FMT_KEY_DATA].at);
    assert_int_equal(e.unknown_len, 9);
    e = scan_ok("{\"data\\ud800\":1}");
    assert_null(e.key[FMT_KEY_DATA].at);
    assert_non_null(e.unknown);
}

static void the_first_unknown_key_is_reported(void **state) {
    (void)state;
    struct fmt_envelope e = scan_ok("{\"data\":1,\"Data\":2,\"evil\":3,\"Data\":4,\"\":5}");

    assert_non_null(e.unknown);
    assert_int_equal(e.unknown_len, 4);
    assert_memory_equal(e.unknown, "Data", 4);
    assert_value(&e.key[FMT_KEY_DATA], "1", '0', false);
    e = scan_ok("{\"\":5}");
    assert_non_null(e.unknown);
    assert_int_equal(e.unknown_len, 0);
    e = scan_ok("{\"xxxx\":0}");
    assert_int_equal(e.unknown_len, 4);
    assert_refused("{\"unknown\":[1,]}", 14, "expected a value");
}

static void errors_name_the_byte_and_the_cause(void **state) {
    (void)state;
    assert_refused("{\"data\" 1}", 8, "expected ':' after key");
    assert_refused("{\"data\":1 \"metadata\":2}", 10, "expected ',' or '}' after value");
    assert_refused("{data:1}", 1, "expected a key in double quotes");
    assert_refused("{\"data\":1,}", 10, "expected a key in double quotes");
    assert_refused("{,}", 1, "expected a key in double quotes");
    assert_refused("{\"data\":}", 8, "expected a value");
    assert_refused("{\"data\":01}", 8, "leading zero in number");
    assert_refused("{\"data\":\"\xff\"}", 9, "invalid UTF-8");
    assert_refused("{\"da\xc3(ta\":1}", 4, "invalid UTF-8");
    assert_refused("{\"data\":\"a\nb\"}", 10, "control character in string");
    assert_refused("{\"data\":[1}", 10, "expected ',' or ']' after value");
    assert_refused("{\"data\":1]", 9, "expected ',' or '}' after value");
}

static void every_truncation_asks_for_more_or_is_an_error_at_the_end(void **state) {
    (void)state;
    struct fmt_json_error err;
    size_t consumed, len = sizeof sample - 1;

    for (size_t cut = 1; cut < len; cut++) {
        consumed = 99;
        if (scan_copy(sample, cut, false, &consumed, &err) != FMT_JSON_MORE)
            fail_msg("cut to %zu bytes", cut);
        assert_int_equal(consumed, 0);
        assert_int_equal(scan_copy(sample, cut, true, &consumed, &err), FMT_JSON_ERROR);
        assert_string_equal(err.what, "unexpected end of input");
        assert_int_equal(err.offset, cut);
    }
    assert_int_equal(scan_copy(sample, len, false, &consumed, &err), FMT_JSON_OK);
    assert_int_equal(consumed, len);
    assert_int_equal(scan_copy("  {\"a\"", 6, false, &consumed, &err), FMT_JSON_MORE);
    assert_int_equal(consumed, 2);
}

/* What is wrong must be said at once, not when more input has come: it may never come. */
static void an_error_is_found_before_the_event_is_complete(void **state) {
    (void)state;
    size_t len = sizeof sample - 1, consumed;
    struct fmt_json_error err;
    char text[sizeof sample];

    for (size_t i = 0; i < len; i++) {
        memcpy(text, sample, sizeof sample);
        text[i] = '\x01'; /* right nowhere */
        assert_int_equal(scan_copy(text, i + 1, false, &consumed, &err), FMT_JSON_ERROR);
        assert_true(err.offset <= i);
        assert_int_equal(scan_copy(text, len, false, &consumed, &err), FMT_JSON_ERROR);
        assert_true(err.offset <= i);
    }
}

/* ---- strip ---- */

static void assert_stripped(const char *text, const char *expected) {
    size_t len = strlen(text);
    struct fmt_json_value v;
    struct fmt_json_error err;

    assert_int_equal(fmt_json_scan(text, len, &v, &err), FMT_JSON_OK);

    char *out = malloc(v.len);
    size_t n = fmt_json_strip(&v, out);

    assert_int_equal(n, strlen(expected));
    assert_memory_equal(out, expected, n);
    assert_int_equal(v.has_space, n != v.len);
    free(out);
}

static void strip_removes_white_space_between_tokens_only(void **state) {
    (void)state;
    assert_stripped("[1,2]", "[1,2]");
    assert_stripped(" [ 1 ,\t2\r\n] ", "[1,2]");
    assert_stripped("{ \"a b\" : \" c  d \" , \"e\" : [ ] }", "{\"a b\":\" c  d \",\"e\":[]}");
    assert_stripped("[ \"\\\" \\\\\" , \" \\\\\\\" \" ]", "[\"\\\" \\\\\",\" \\\\\\\" \"]");
    assert_stripped("{ \"long\" : \"forty bytes of text with spaces in all of it\" }",
                    "{\"long\":\"forty bytes of text with spaces in all of it\"}");
    assert_stripped("[ ]", "[]");
    assert_stripped("[ \"gr\xc3\xbc\xc3\x9f e\" ]", "[\"gr\xc3\xbc\xc3\x9f e\"]");
}

static void strip_keeps_digits_order_duplicates_and_escapes(void **state) {
    (void)state;
    assert_stripped("{ \"b\" : 123456789012345678901234567890 , \"a\" : 1.0 , \"a\" : 1e400 , \"a\" : -0.00 }",
                    "{\"b\":123456789012345678901234567890,\"a\":1.0,\"a\":1e400,\"a\":-0.00}");
    assert_stripped("[ \"\\ud800\" , \"\\u0041\\/\" ]", "[\"\\ud800\",\"\\u0041\\/\"]");
}

/* ---- random values ---- */

static uint64_t random_state;

static unsigned pick(unsigned below) {
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(random_state >> 33) % below;
}

enum { TEXT_MAX = 1 << 16 };

/* The same value twice: `spaced` with white space between tokens, `plain` without. */
struct pair {
    char spaced[TEXT_MAX], plain[TEXT_MAX];
    size_t spaced_len, plain_len;
};

static void put(struct pair *t, const char *token) {
    size_t len = strlen(token);

    for (unsigned n = pick(4) == 0 ? pick(20) : 0; n > 0; n--)
        t->spaced[t->spaced_len++] = " \t\r\n"[pick(4)];
    memcpy(t->spaced + t->spaced_len, token, len);
    memcpy(t->plain + t->plain_len, token, len);
    t->spaced_len += len;
    t->plain_len += len;
}

static void put_string(struct pair *t) {
    static const char *const parts[] = {"a", " ",  "  ",    "\\\"",  "\\\\",    "\\n", "\\u00e9",          "\xc3\xa9",
                                        "{", "}]", "0.5e1", "/* */", "\\ud800", ":, ", "\xf0\x9f\x98\x80", "text"};
    char token[600] = "\"";
    size_t len = 1;

    for (unsigned n = pick(pick(8) == 0 ? 80 : 8); n > 0; n--) {
        const char *part = parts[pick(sizeof parts / sizeof parts[0])];

        memcpy(token + len, part, strlen(part));
        len += strlen(part);
    }
    memcpy(token + len, "\"", 2);
    put(t, token);
}

static void put_value(struct pair *t, int depth) {
    static const char *const scalars[] = {"true", "false", "null", "0", "-1.50", "1e400", "12345678901234567890123"};
    unsigned members = pick(5);

    switch (depth > 6 || t->spaced_len > TEXT_MAX / 2 ? 3 : pick(4)) {
    case 0:
        put(t, "{");
        for (unsigned i = 0; i < members; i++) {
            put_string(t);
            put(t, ":");
            put_value(t, depth + 1);
            put(t, i + 1 < members ? "," : "");
        }
        put(t, "}");
        break;
    case 1:
        put(t, "[");
        for (unsigned i = 0; i < members; i++) {
            put_value(t, depth + 1);
            put(t, i + 1 < members ? "," : "");
        }
        put(t, "]");
        break;
    case 2:
        put_string(t);
        break;
    default:
        put(t, scalars[pick(sizeof scalars / sizeof scalars[0])]);
    }
}

static void stripping_random_white_space_gives_the_same_value(void **state) {
    (void)state;
    struct pair *t = malloc(sizeof *t);
    char *out = malloc(TEXT_MAX);
    struct fmt_json_value v;
    struct fmt_json_error err = {0};

    assert_non_null(t);
    assert_non_null(out);
    for (int round = 0; round < 20000; round++) {
        t->spaced_len = t->plain_len = 0;
        put_value(t, 0);
        if (fmt_json_scan(t->spaced, t->spaced_len, &v, &err) != FMT_JSON_OK)
            fail_msg("round %d: byte %zu: %s", round, err.offset, err.what);
        assert_int_equal(v.has_space, v.len != t->plain_len);

        size_t n = fmt_json_strip(&v, out);

        assert_int_equal(n, t->plain_len);
        assert_memory_equal(out, t->plain, n);
        assert_int_equal(fmt_json_scan(out, n, &v, &err), FMT_JSON_OK);
        assert_false(v.has_space);
    }
    free(out);
    free(t);
}

/* ---- unescape, escape ---- */

static int unescape(const char *text, char *out, size_t *len) {
    struct fmt_json_value v;
    struct fmt_json_error err;

    assert_int_equal(fmt_json_scan(text, strlen(text), &v, &err), FMT_JSON_OK);
    return fmt_json_unescape(&v, out, len);
}

static void assert_unescaped(const char *text, const char *expected, size_t expected_len) {
    char out[200];
    size_t len = 0;

    assert_int_equal(unescape(text, out, &len), 0);
    assert_int_equal(len, expected_len);
    assert_memory_equal(out, expected, len);
}

static void unescape_gives_the_text_in_utf8(void **state) {
    (void)state;
    assert_unescaped("\"\"", "", 0);
    assert_unescaped("\"order-77\"", "order-77", 8);
    assert_unescaped("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t", 8);
    assert_unescaped("\"a\\u0000b\"", "a\0b", 3);
    assert_unescaped("\"\\u007f\\u0080\\u07FF\\u0800\\uffff\"", "\x7f\xc2\x80\xdf\xbf\xe0\xa0\x80\xef\xbf\xbf", 11);
    assert_unescaped("\"\\ud800\\udc00\\uDBFF\\uDFFF\"", "\xf0\x90\x80\x80\xf4\x8f\xbf\xbf", 8);
    assert_unescaped("\"\\ud83d\\ude00\"", "\xf0\x9f\x98\x80", 4);
    assert_unescaped("\"twenty plain letters \\u00e9 and more than sixteen\"",
                     "twenty plain letters \xc3\xa9 and more than sixteen", 45);
    assert_unescaped("\"\\uD7FF\\uE000\"", "\xed\x9f\xbf\xee\x80\x80", 6);
}

static void unescape_refuses_lone_surrogates(void **state) {
    (void)state;
    const char *texts[] = {"\"\\ud800\"",        "\"\\udc00\"",          "\"\\udfffx\"",       "\"\\ud800x\"",
                           "\"\\ud800\\n\"",     "\"\\udbff\\ud800\"",   "\"\\ud800\\u0041\"", "\"\\udc00\\ud800\"",
                           "\"\\ud800\\ue000\"", "\"\\ud800\\\\udc00\"", "\"\\ud800\\udbff\"", "\"\\udc00\\udc00\"",
                           "\"\\ud800xudc00\""};
    char out[100];

    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        size_t len = 777;

        assert_int_equal(unescape(texts[i], out, &len), -EILSEQ);
        assert_int_equal(len, 777);
    }
}

static void escape_uses_short_forms_and_escapes_nothing_else(void **state) {
    (void)state;
    const char text[] = "a\"\\/\b\f\n\r\t\0\x01\x1f\x7f\xc3\xa9";
    const char *expected = "a\\\"\\\\/\\b\\f\\n\\r\\t\\u0000\\u0001\\u001f\x7f\xc3\xa9";
    char out[6 * sizeof text];
    size_t n = fmt_json_escape(text, sizeof text - 1, out);

    assert_int_equal(n, strlen(expected));
    assert_memory_equal(out, expected, n);
    assert_int_equal(fmt_json_escape("", 0, out), 0);
    assert_int_equal(fmt_json_escape(NULL, 0, out), 0);
}

static void unescape_undoes_escape(void **state) {
    (void)state;
    static const char *const parts[] = {
        "\"",   "\\", "\n",  "\x01", "x", "plain text of some length", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80",
        "\x1f", "/",  "\x7f"};

    for (int round = 0; round < 20000; round++) {
        char text[600], *json = malloc(6 * sizeof text + 2), *back = malloc(6 * sizeof text + 2);
        size_t len = 0, back_len;
        struct fmt_json_value v;
        struct fmt_json_error err;

        for (unsigned n = pick(20); n > 0; n--) {
            const char *part = parts[pick(sizeof parts / sizeof parts[0])];

            memcpy(text + len, part, strlen(part));
            len += strlen(part);
        }
        if (pick(4) == 0)
            text[len++] = '\0';

        char *exact_text = malloc(len + 1), *exact_out = malloc(6 * len + 1);

        memcpy(exact_text, text, len);
        json[0] = '"';
        back_len = fmt_json_escape(exact_text, len, exact_out);
        memcpy(json + 1, exact_out, back_len);
        json[back_len + 1] = '"';
        assert_int_equal(fmt_json_scan(json, back_len + 2, &v, &err), FMT_JSON_OK);
        assert_int_equal(fmt_json_unescape(&v, back, &back_len), 0);
        assert_int_equal(back_len, len);
        assert_memory_equal(back, text, len);
        free(exact_text);
        free(exact_out);
        free(json);
        free(back);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_known_key_is_found_with_kind_and_span),
        cmocka_unit_test(absent_keys_are_null),
        cmocka_unit_test(white_space_around_a_value_is_not_in_it),
        cmocka_unit_test(concatenated_events_need_nothing_between_them),
        cmocka_unit_test(white_space_alone_is_empty),
        cmocka_unit_test(anything_but_an_object_is_refused),
        cmocka_unit_test(every_known_key_may_occur_once),
        cmocka_unit_test(a_key_written_with_escapes_is_that_key),
        cmocka_unit_test(the_first_unknown_key_is_reported),
        cmocka_unit_test(errors_name_the_byte_and_the_cause),
        cmocka_unit_test(every_truncation_asks_for_more_or_is_an_error_at_the_end),
        cmocka_unit_test(an_error_is_found_before_the_event_is_complete),
        cmocka_unit_test(strip_removes_white_space_between_tokens_only),
        cmocka_unit_test(strip_keeps_digits_order_duplicates_and_escapes),
        cmocka_unit_test(stripping_random_white_space_gives_the_same_value),
        cmocka_unit_test(unescape_gives_the_text_in_utf8),
        cmocka_unit_test(unescape_refuses_lone_surrogates),
        cmocka_unit_test(escape_uses_short_forms_and_escapes_nothing_else),
        cmocka_unit_test(unescape_undoes_escape),
    };
    const char *seed = getenv("SEED");

    random_state = seed != NULL ? strtoull(seed, NULL, 10) : (uint64_t)time(NULL);
    print_message("SEED=%llu\n", (unsigned long long)random_state);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
