/*
 * Fuzzes the JSON scanner, and compares what it accepts with what libjq accepts.
 *
 * Link with -ljq. The input is tried as one value, and as a stream of events.
 *
 * libjq 1.6 and 1.7 are laxer than RFC 8259 in these ways, and only there may it accept what the scanner refuses:
 *   - a number is whatever strtod takes, white space that JSON does not know included: 01, +1, 1., .5, "\v1"; and nan
 *   - invalid UTF-8 is replaced by U+FFFD
 *   - control characters stand in strings; NUL bytes stand anywhere, and end a literal
 *   - a byte order mark may come first; the record separator of RFC 7464 may follow a value
 * It is stricter in two, which are not compared: its nesting limit is another (1.6 counts an object as two), and 1.6
 * refuses the escape of a high surrogate that no low one follows.
 */
#include <jv.h>
#include <sanitizer/lsan_interface.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "format/json.h"
#include "format/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define check(condition)  \
    do {                  \
        if (!(condition)) \
            abort();      \
    } while (0)

static bool jq_accepts(const char *text, size_t len) {
    __lsan_disable(); /* libjq 1.6 loses memory on some errors, such as [0"" */
    jv value = jv_parse_sized(text, (int)len);
    bool accepted = jv_is_valid(value);

    jv_free(value);
    __lsan_enable();
    return accepted;
}

/* Is the run of bytes around `at` that are no structure of JSON something that jq takes for a number? */
static bool jq_takes_for_number(const char *text, size_t len, size_t at) {
    static const char structure[] = "[]{}:,\" \t\r\n";
    size_t start = at < len ? at : len, end = start;
    char token[64], *token_end;

    while (start > 0 && memchr(structure, text[start - 1], sizeof structure - 1) == NULL)
        start--;
    while (end < len && memchr(structure, text[end], sizeof structure - 1) == NULL)
        end++;
    if (end == start)
        return false;
    if (end - start >= sizeof token)
        return true; /* too long to be told here */
    memcpy(token, text + start, end - start);
    token[end - start] = '\0';
    strtod(token, &token_end);
    return *token_end == '\0';
}

static bool jq_is_known_to_be_laxer(const char *text, size_t len, const struct fmt_json_error *err) {
    static const char *const laxer[] = {
        "invalid UTF-8",
        "control character in string",
        "byte order mark before the JSON text",
        "nesting deeper than 256",
    };

    for (size_t i = 0; i < sizeof laxer / sizeof laxer[0]; i++)
        if (strcmp(err->what, laxer[i]) == 0)
            return true;
    if (memchr(text, '\0', len) != NULL || memchr(text, '\x1e', len) != NULL)
        return true;
    return jq_takes_for_number(text, len, err->offset);
}

static bool jq_may_be_stricter(const char *text, size_t len) {
    size_t openers = 0;

    for (size_t i = 0; i < len; i++) {
        openers += text[i] == '[' || text[i] == '{';
        if (len - i >= 4 && text[i] == '\\' && text[i + 1] == 'u' && (text[i + 2] | 0x20) == 'd' &&
            memchr("89abAB", text[i + 3], 6) != NULL)
            return true;
    }
    return openers > 100;
}

/* An accepted value: what strip and unescape make of it must be right too. */
static void try_accepted(const struct fmt_json_value *v) {
    char *out = malloc(v->len), *again = malloc(6 * v->len + 2);
    struct fmt_json_value stripped;
    struct fmt_json_error err;
    size_t len = fmt_json_strip(v, out), text_len;

    check(out != NULL && again != NULL);
    check((len < v->len) == v->has_space);
    check(fmt_json_scan(out, len, &stripped, &err) == FMT_JSON_OK);
    check(stripped.at == out && stripped.len == len && stripped.kind == v->kind && !stripped.has_space);
    check(fmt_utf8_valid(out, len, NULL));
    if (v->kind == '"' && fmt_json_unescape(v, out, &text_len) == 0) {
        check(text_len <= v->len - 2);
        check(fmt_utf8_valid(out, text_len, NULL));
        len = fmt_json_escape(out, text_len, again + 1);
        again[0] = again[len + 1] = '"';
        check(fmt_json_scan(again, len + 2, &stripped, &err) == FMT_JSON_OK);

        char *back = malloc(len + 2);

        check(back != NULL && fmt_json_unescape(&stripped, back, &len) == 0);
        check(len == text_len && memcmp(back, out, len) == 0);
        free(back);
    }
    free(again);
    free(out);
}

static void try_value(const char *text, size_t len) {
    struct fmt_json_value v;
    struct fmt_json_error err;
    int rc = fmt_json_scan(text, len, &v, &err);

    check(rc == FMT_JSON_OK || rc == FMT_JSON_ERROR);
    if (rc == FMT_JSON_OK) {
        check(v.at >= text && v.len > 0 && v.at + v.len <= text + len);
        try_accepted(&v);
        check(jq_accepts(text, len) || jq_may_be_stricter(text, len));
    } else {
        check(err.offset <= len && err.what != NULL);
        check((err.offset == len) >= (strcmp(err.what, "unexpected end of input") == 0));
        check(!jq_accepts(text, len) || jq_is_known_to_be_laxer(text, len, &err));
    }
}

/* A prefix of an event may be an error only where the whole is, and the same one. */
static void try_prefix(const char *text, size_t len, int rc, size_t consumed, const struct fmt_json_error *err) {
    size_t cut = len / 2, taken;
    char *prefix = malloc(cut + 1);
    struct fmt_envelope e;
    struct fmt_json_error early;

    check(prefix != NULL);
    memcpy(prefix, text, cut);

    int prefix_rc = fmt_envelope_scan(prefix, cut, false, &taken, &e, &early);

    if (prefix_rc == FMT_JSON_OK)
        check(rc == FMT_JSON_OK && taken == consumed);
    else if (prefix_rc == FMT_JSON_ERROR && strncmp(early.what, "byte order", 10) != 0 && early.offset > 0)
        check(rc == FMT_JSON_ERROR && early.offset == err->offset && strcmp(early.what, err->what) == 0);
    else if (prefix_rc == FMT_JSON_EMPTY)
        check(taken == cut);
    free(prefix);
}

static void try_events(const char *text, size_t len) {
    size_t at = 0;

    for (;;) {
        size_t consumed = 0, final_consumed = 0;
        struct fmt_envelope e, f;
        struct fmt_json_error err = {0}, final_err = {0};
        int rc = fmt_envelope_scan(text + at, len - at, false, &consumed, &e, &err);
        int final_rc = fmt_envelope_scan(text + at, len - at, true, &final_consumed, &f, &final_err);

        try_prefix(text + at, len - at, rc, consumed, &err);
        check(final_rc == (rc == FMT_JSON_MORE ? FMT_JSON_ERROR : rc));
        if (rc == FMT_JSON_ERROR)
            check(err.offset < len - at && err.offset == final_err.offset && err.what == final_err.what);
        if (rc == FMT_JSON_MORE)
            check(final_err.offset == len - at);
        if (rc != FMT_JSON_OK)
            return;

        struct fmt_json_value whole;

        check(consumed > 1 && consumed == final_consumed && consumed <= len - at);
        check(e.whole.at[0] == '{' && e.whole.at + e.whole.len == text + at + consumed);
        for (int k = 0; k < FMT_ENVELOPE_KEYS; k++) {
            if (e.key[k].at == NULL)
                continue;
            check(fmt_json_scan(e.key[k].at, e.key[k].len, &whole, &err) == FMT_JSON_OK);
            check(whole.len == e.key[k].len && whole.kind == e.key[k].kind && whole.has_space == e.key[k].has_space);
        }
        at += consumed;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *text = malloc(size > 0 ? size : 1); /* a block of its exact size */

    check(text != NULL);
    memcpy(text, data, size);
    try_value(text, size);
    try_events(text, size);
    free(text);
    return 0;
}
