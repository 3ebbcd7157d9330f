#include "tests/unit/predicate_gen.h"

#include <inttypes.h>

#include "format/base64.h"
#include "format/json.h"
#include "tests/unit/store_fixture.h"

void gen_add(struct gen_text *t, const char *s) {
    size_t n = strlen(s);

    assert_true(t->len + n < sizeof t->at);
    memcpy(t->at + t->len, s, n + 1);
    t->len += n;
}

#define PICK(list) list[test_below(sizeof list / sizeof *list)]

/* ---- what expressions and events have in common ---- */

/* The same number is written in several ways; some differ only to a decimal, some only to a double. */
static const char *const numbers[] = {
    "0",
    "-0",
    "0.0",
    "0e5",
    "-0.0E-3",
    "1",
    "1.0",
    "1e0",
    "10e-1",
    "0.1e1",
    "100e-2",
    "-1",
    "-1.0",
    "2",
    "3",
    "10",
    "1e1",
    "100",
    "1000",
    "1e3",
    "1000.5",
    "999.99",
    "1001",
    "-1000",
    "0.1",
    "0.10",
    "1e-1",
    "0.2",
    "0.3",
    "1.5",
    "15e-1",
    "150e-2",
    "12345678901234",
    "123456789012345",
    "1234567890123456",
    "9007199254740991",
    "9007199254740992",
    "9007199254740993",
    "9007199254740994",
    "-9007199254740993",
    "9.007199254740993e15",
    "12345678901234567890",
    "12345678901234567891",
    "1e15",
    "1e16",
    "1e17",
    "1e22",
    "1e23",
    "1e300",
    "1e308",
    "1e309",
    "1e400",
    "-1e400",
    "1e-300",
    "1e-320",
    "1e-400",
    "-1e-400",
    "0.1000000000000000055",
    "0.30000000000000004",
    "0.3000000000000000444",
    "3.141592653589793",
    "3.141592653589793115",
    "123456789.123456789",
    "99999999999999.9",
    "999999999999999.9",
    "1.7976931348623157e308",
    "5e-324",
    "2.2250738585072014e-308",
};

static const char *const plain_numbers[] = {"0", "1", "2", "3", "10", "100", "1000", "1.5", "-1", "0.1", "1001", "1e3"};

/* Strings as JSON writes them: the same text in several ways. */
static const char *const strings[] = {
    "\"\"",
    "\"a\"",
    "\"\\u0061\"",
    "\"b\"",
    "\"ab\"",
    "\"a\\u0062\"",
    "\"abc\"",
    "\"A\"",
    "\"aa\"",
    "\"ba\"",
    "\"a b\"",
    "\"\xc3\xa4\"",
    "\"\\u00e4\"",
    "\"\\u00E4b\"",
    "\"\xe2\x82\xac\"",
    "\"\xef\xbf\xbd\"",
    "\"\xef\xbf\xbf\"",
    "\"\\uffff\"",
    "\"\xf0\x9f\x98\x80\"",
    "\"\\ud83d\\ude00\"",
    "\"\\uD83D\\uDE00a\"",
    "\"\\n\"",
    "\"a\\nb\"",
    "\"\\t\\r\\b\\f\"",
    "\"a/b\"",
    "\"a\\/b\"",
    "\"a\\\\b\"",
    "\"\\\"\"",
    "\"a\\\"b\"",
    "\"1\"",
    "\"null\"",
    "\"OrderPlaced\"",
    "\"Order\"",
    "\"order-1\"",
    "\"VIP\"",
    "\"\\u0000\"",
    "\"a\\u0000\"",
    "\"a\\u0000b\"",
    "\"\\u001f\"",
    "\"\x7f\"",
    "\"a text that is longer than one register of sixteen bytes\"",
    "\"a text that is longer than one register of sixteen \\u0062ytes\"",
};

static const char *const plain_strings[] = {"\"a\"",   "\"ab\"", "\"abc\"",    "\"OrderPlaced\"",
                                            "\"VIP\"", "\"b\"",  "\"order-1\""};

/* Keys as expressions and data write them. */
static const struct {
    const char *step;    /* .key */
    const char *json[3]; /* the same key in JSON */
} keys[] = {
    {".a", {"\"a\"", "\"\\u0061\"", "\"a\""}},
    {".b", {"\"b\"", "\"b\"", "\"\\u0062\""}},
    {".total", {"\"total\"", "\"total\"", "\"t\\u006ftal\""}},
    {".name", {"\"name\"", "\"name\"", "\"name\""}},
    {".items", {"\"items\"", "\"items\"", "\"item\\u0073\""}},
    {"[\"a b\"]", {"\"a b\"", "\"a\\u0020b\"", "\"a b\""}},
    {".\"\xc3\xa4\"", {"\"\xc3\xa4\"", "\"\\u00e4\"", "\"\\u00E4\""}},
    {"[\"\xf0\x9f\x98\x80\"]", {"\"\xf0\x9f\x98\x80\"", "\"\\ud83d\\ude00\"", "\"\\uD83D\\uDE00\""}},
    {"[\"a\\\\b\"]", {"\"a\\\\b\"", "\"a\\u005cb\"", "\"\\u0061\\\\b\""}},
    {"[\"a\\u0000\"]", {"\"a\\u0000\"", "\"\\u0061\\u0000\"", "\"a\\u0000\""}},
    {"[\"\"]", {"\"\"", "\"\"", "\"\""}},
    {"._1x", {"\"_1x\"", "\"_1x\"", "\"_1x\""}},
};

#define KEYS (sizeof keys / sizeof *keys)

/* Common keys come more often. */
static size_t pick_key(void) {
    return test_below(3) ? test_below(5) : test_below(KEYS);
}

/* ---- events ---- */

static void add_string(struct gen_text *t) {
    if (test_below(400) == 0)
        gen_add(t, test_below(2) ? "\"\\ud800\"" : "\"x\\udc00\""); /* half of a pair */
    else
        gen_add(t, test_below(2) ? PICK(plain_strings) : PICK(strings));
}

static void add_value(struct gen_text *t, int depth);

static void add_object(struct gen_text *t, int depth) {
    uint32_t n = test_below(6);

    gen_add(t, "{");
    for (uint32_t i = 0; i < n; i++) {
        if (i > 0)
            gen_add(t, ",");
        gen_add(t, keys[pick_key()].json[test_below(3)]); /* now and then twice the same */
        gen_add(t, ":");
        add_value(t, depth + 1);
    }
    gen_add(t, "}");
}

static void add_array(struct gen_text *t, int depth) {
    uint32_t n = test_below(4);

    gen_add(t, "[");
    for (uint32_t i = 0; i < n; i++) {
        if (i > 0)
            gen_add(t, ",");
        add_value(t, depth + 1);
    }
    gen_add(t, "]");
}

static void add_value(struct gen_text *t, int depth) {
    static const char *const words[] = {"null", "true", "false"};
    uint32_t which = test_below(depth > 3 ? 12 : 16);

    if (which < 2)
        gen_add(t, PICK(words));
    else if (which < 5)
        gen_add(t, PICK(plain_numbers));
    else if (which < 7)
        gen_add(t, PICK(numbers));
    else if (which < 12)
        add_string(t);
    else if (which < 15)
        add_object(t, depth);
    else
        add_array(t, depth);
}

static struct esdb_text name_of(struct gen_event *g, const char *name) {
    struct esdb_text out = {g->names.at + g->names.len, strlen(name)};

    gen_add(&g->names, name);
    return out;
}

static void add_field(struct gen_text *t, const char *name, struct esdb_text text) {
    char escaped[6 * 64 + 1];

    assert_true(text.len <= 64);
    escaped[fmt_json_escape(text.at, text.len, escaped)] = '\0';
    gen_add(t, ",\"");
    gen_add(t, name);
    gen_add(t, "\":\"");
    gen_add(t, escaped);
    gen_add(t, "\"");
}

static uint64_t some_number(void) {
    static const uint64_t odd[] = {0,
                                   1,
                                   2,
                                   1000,
                                   1001,
                                   9007199254740991u,
                                   9007199254740992u,
                                   9007199254740993u,
                                   UINT64_MAX,
                                   1234567890123456u,
                                   12345678901234567890u};

    return test_below(4) ? test_below(12) : PICK(odd);
}

/* The line that esdb-read prints. */
static void write_json(struct gen_event *g) {
    const struct esdb_event *e = &g->event;
    struct gen_text *t = &g->json;

    t->len =
        (size_t)snprintf(t->at, sizeof t->at, "{\"position\":%" PRIu64 ",\"version\":%" PRIu64 ",\"epoch_us\":%" PRIu64,
                         e->position, e->version, e->epoch_us);
    add_field(t, "stream_id", e->stream_id);
    add_field(t, "event_id", e->event_id);
    add_field(t, "event_type", e->event_type);
    if (e->data.at && e->binary) {
        char base64[64];

        add_field(t, "data_base64", (struct esdb_text){base64, fmt_base64_encode(e->data.at, e->data.len, base64)});
    } else if (e->data.at) {
        gen_add(t, ",\"data\":");
        gen_add(t, g->data.at);
    }
    if (e->metadata.at) {
        gen_add(t, ",\"metadata\":");
        gen_add(t, g->metadata.at);
    }
    if (e->data_content_type.len > 0)
        add_field(t, "data_content_type", e->data_content_type);
    if (e->metadata_content_type.len > 0)
        add_field(t, "metadata_content_type", e->metadata_content_type);
    gen_add(t, "}");
}

void gen_event(struct gen_event *g) {
    static const char *const types[] = {"OrderPlaced", "OrderPlaced", "Order", "a", "ab", "\xc3\xa4", "say \"x\\y\""};
    static const char *const streams[] = {"order-1", "order-2", "a", "\xf0\x9f\x98\x80-1", "order"};
    struct esdb_event *e = &g->event;

    g->data.len = g->metadata.len = g->names.len = g->json.len = 0;
    *e = (struct esdb_event){.position = some_number(), .version = some_number(), .epoch_us = some_number()};
    e->stream_id = name_of(g, PICK(streams));
    e->event_type = name_of(g, PICK(types));
    e->event_id = name_of(g, test_below(2) ? "abc" : "6f1c3f5e");
    if (test_below(12)) {
        if (test_below(5))
            add_object(&g->data, 0);
        else
            add_value(&g->data, 0);
        e->data = (struct esdb_text){g->data.at, g->data.len};
    } else if (test_below(2)) {
        gen_add(&g->data, test_below(2) ? "abc" : "");
        e->data = (struct esdb_text){g->data.at, g->data.len};
        e->binary = true;
    }
    if (test_below(3) == 0) {
        if (test_below(8))
            add_object(&g->metadata, 1);
        else
            add_value(&g->metadata, 1);
        e->metadata = (struct esdb_text){g->metadata.at, g->metadata.len};
    }
    if (test_below(6) == 0)
        e->data_content_type = name_of(g, "text/plain");
    if (test_below(9) == 0)
        e->metadata_content_type = name_of(g, "a");
    write_json(g);
}

/* ---- expressions ---- */

static void add_pipe(struct gen_text *t, int depth);

static void add_literal(struct gen_text *t) {
    static const char *const words[] = {"null", "true", "false", "[]", "{}"};
    uint32_t which = test_below(20);

    if (which < 4)
        gen_add(t, PICK(numbers));
    else if (which < 8)
        gen_add(t, PICK(plain_numbers));
    else if (which < 12)
        gen_add(t, PICK(plain_strings));
    else if (which < 16)
        gen_add(t, PICK(strings));
    else
        gen_add(t, PICK(words));
}

static void add_step(struct gen_text *t) {
    static const char *const indexes[] = {"[0]", "[1]", "[-1]", "[ - 2 ]"};

    gen_add(t, test_below(7) == 0 ? PICK(indexes) : keys[pick_key()].step);
    if (test_below(8) == 0)
        gen_add(t, "?");
}

static void add_path(struct gen_text *t, int depth) {
    static const char *const fields[] = {".event_type", ".event_type",        ".stream_id",
                                         ".version",    ".position",          ".epoch_us",
                                         ".event_id",   ".data_content_type", ".[\"metadata_content_type\"]",
                                         ".nothing",    ".data_base64",       ".\"stream_id\""};
    uint32_t which = test_below(16);

    if (which == 0) {
        gen_add(t, ".");
        if (test_below(2)) {
            gen_add(t, test_below(2) ? "[\"data\"]" : "[\"a\"]");
            add_step(t);
        }
        return;
    }
    if (which < 5 && depth == 0) {
        gen_add(t, PICK(fields));
        return;
    }
    if (which < 7) {
        add_step(t);
        if (t->at[0] == '[')
            gen_add(t, "?"); /* an empty array with a question mark: nothing to know */
        return;
    }
    gen_add(t, which < 9 ? ".metadata" : ".data");
    for (uint32_t n = test_below(8) ? 1 + (test_below(4) == 0) + (test_below(8) == 0) : 0; n > 0; n--)
        add_step(t);
}

static void add_function(struct gen_text *t) {
    static const char *const plain[] = {"not", "not", "length", "type"};
    static const char *const of_string[] = {"startswith(", "endswith(", "contains(", "test(", "has(", "IN("};
    const char *f;

    if (test_below(3) == 0) {
        gen_add(t, PICK(plain));
        return;
    }
    f = PICK(of_string);
    gen_add(t, f);
    if (f[0] == 'I') {
        for (uint32_t n = 1 + test_below(3); n > 0; n--) {
            add_literal(t);
            gen_add(t, n > 1 ? "," : "");
        }
    } else if (f[0] == 'h') {
        static const char *const of_has[] = {"\"a\"", "\"data\"", "\"total\"", "\"data_base64\"", "\"\xc3\xa4\""};

        gen_add(t, PICK(of_has));
    } else {
        gen_add(t, test_below(3) ? PICK(plain_strings) : PICK(strings));
    }
    gen_add(t, ")");
}

static void add_operand(struct gen_text *t, int depth) {
    uint32_t which = test_below(depth > 4 ? 8 : 11);

    if (which < 6) {
        add_path(t, 0);
    } else if (which < 8) {
        add_literal(t);
    } else if (which == 8) {
        gen_add(t, "(");
        add_path(t, 0);
        gen_add(t, " // ");
        add_literal(t);
        gen_add(t, ")");
    } else if (which == 9) {
        gen_add(t, "(");
        add_path(t, 0);
        gen_add(t, test_below(2) ? "|" : " | ");
        add_function(t);
        gen_add(t, ")");
    } else {
        gen_add(t, test_below(12) ? "(" : "select(");
        add_pipe(t, depth + 1);
        gen_add(t, ")");
    }
}

static void add_comparison(struct gen_text *t, int depth) {
    static const char *const operators[] = {" == ", " == ", "==", " != ", " < ", "<=", " > ", " >= ", " > "};
    uint32_t which = test_below(16);

    if (which == 0) {
        add_function(t);
        return;
    }
    add_operand(t, depth);
    if (which < 4)
        return;
    gen_add(t, PICK(operators));
    if (test_below(3))
        add_literal(t);
    else
        add_operand(t, depth);
}

static void add_and_or(struct gen_text *t, int depth) {
    add_comparison(t, depth);
    while (test_below(5) < 2 && t->len < 1000) {
        gen_add(t, test_below(2) ? " and " : " or\n");
        add_comparison(t, depth);
    }
}

static void add_pipe(struct gen_text *t, int depth) {
    add_and_or(t, depth);
    if (test_below(16) == 0) {
        gen_add(t, " // ");
        add_and_or(t, depth + 1);
    }
    if (test_below(5) == 0) {
        gen_add(t, " | ");
        if (test_below(2))
            add_function(t);
        else
            add_pipe(t, depth + 1);
    }
}

void gen_expression(struct gen_text *out) {
    out->len = 0;
    add_pipe(out, 0);
}

void gen_broken_expression(struct gen_text *out) {
    static const char *const pieces[] = {"(", ")",  "==", "and ", "or ", ".",    ".a",     "\"a\"", "\"",
                                         "1", "|",  ",",  "//",   "?",   "-",    "[",      "]",     "[]",
                                         "{", "}",  "'",  "&&",   "!",   "=",    "<",      "||",    ";",
                                         ":", "$x", "..", "as",   "if ", "not ", "\\(.a)", "@",     "#"};
    struct gen_text whole;
    size_t from, to;

    gen_expression(&whole);
    from = test_below((uint32_t)whole.len + 1);
    to = from + test_below(4);
    if (to > whole.len)
        to = whole.len;
    out->len = 0;
    gen_add(out, "");
    memcpy(out->at, whole.at, from);
    out->at[from] = '\0';
    out->len = from;
    if (test_below(3))
        gen_add(out, PICK(pieces));
    gen_add(out, whole.at + (test_below(2) ? from : to));
}

const char *const *gen_values(size_t *literals) {
    static const char *const containers[] = {"[null]",        "[1]",       "[1.0]",     "[1,2]",  "[\"a\"]",
                                             "[\"\\u0061\"]", "[[]]",      "[[1]]",     "[{}]",   "{\"a\":1}",
                                             "{\"a\":2}",     "{\"b\":1}", "[1,\"a\"]", "[false]"};
    static const char *const words[] = {"null", "true", "false", "[]", "{}"};
    static const char *all[sizeof numbers / sizeof *numbers + sizeof strings / sizeof *strings + 32];
    size_t n = 0;

    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        all[n++] = words[i];
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        all[n++] = numbers[i];
    for (size_t i = 0; i < sizeof strings / sizeof *strings; i++)
        all[n++] = strings[i];
    *literals = n;
    for (size_t i = 0; i < sizeof containers / sizeof *containers; i++)
        all[n++] = containers[i];
    assert_true(n < sizeof all / sizeof *all);
    all[n] = NULL;
    return all;
}
