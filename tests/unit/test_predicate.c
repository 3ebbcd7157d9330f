/* --select: which expressions are answered natively, and how. Whether the answers are jq's is test_predicate_jq's matter;
 * here each form and each trap stands by its name. */
#include "tests/unit/store_fixture.h"

#include "libcore/number.h"
#include "libcore/predicate.h"

static struct esdb_event event_of(const char *data) {
    return (struct esdb_event){
        .position = 7,
        .version = 3,
        .epoch_us = 1700000000000000,
        .stream_id = test_text("order-1"),
        .event_type = test_text("OrderPlaced"),
        .event_id = test_text("id-1"),
        .data = test_text(data),
        .metadata = test_text("{\"actor_id\":\"ann\"}"),
    };
}

static int ask_event(const char *expr, const struct esdb_event *e) {
    struct es_predicate *p = NULL;
    struct esdb_error err = {0};

    assert_done(es_predicate_compile(test_text(expr), &p, &err), &err);

    int answer = es_predicate_eval(p, e);

    es_predicate_close(p);
    return answer;
}

static int ask(const char *expr, const char *data) {
    struct esdb_event e = event_of(data);

    return ask_event(expr, &e);
}

#define assert_yes(expr, data) assert_int_equal(ask(expr, data), ES_PREDICATE_YES)
#define assert_no(expr, data) assert_int_equal(ask(expr, data), ES_PREDICATE_NO)
#define assert_ask(expr, data) assert_int_equal(ask(expr, data), ES_PREDICATE_ASK)

static void paths_lead_into_data(void **state) {
    static const char data[] = "{\"total\":1500,\"a b\":1,\"items\":[{\"x\":1},{\"x\":2}],\"c\":{\"d\":{\"e\":\"f\"}}}";

    (void)state;
    assert_yes(".data.total > 1000 and .event_type == \"OrderPlaced\"", data);
    assert_no(".data.total > 1500", data);
    assert_yes(".data[\"a b\"] == 1", data);
    assert_yes(".data.\"a b\" == 1", data);
    assert_yes(".[\"data\"][\"total\"] == 1500", data);
    assert_yes(".\"data\".total == 1500", data);
    assert_yes(".data.items[1].x == 2", data);
    assert_yes(".data.items[-1].x == 2", data);
    assert_yes(".data.items[-2].x == 1", data);
    assert_no(".data.items[2].x", data);
    assert_no(".data.items[-3].x", data);
    assert_yes(".data.c.d.e == \"f\"", data);
    assert_yes(".data .c .d", data);
    assert_yes(".", data);
}

static void what_is_missing_is_null(void **state) {
    (void)state;
    assert_no(".data.a", "{}");
    assert_yes(".data.a == null", "{}");
    assert_yes(".data.a.b.c == null", "{}");
    assert_yes(".data.a[0] == null", "{}");
    assert_yes(".nothing.at.all == null", "{}");
    assert_yes(".data.a < false", "{}");
    assert_yes(".data == null", NULL);
    assert_yes(".data.a == null", NULL);
    assert_yes(".data_base64 == null", "{}");
}

static void stepping_into_a_scalar_is_jqs_to_tell(void **state) {
    (void)state;
    assert_ask(".data.a", "1");
    assert_ask(".data.a", "[]");
    assert_ask(".data[0]", "{}");
    assert_ask(".data.a.b", "{\"a\":\"x\"}");
    assert_ask(".event_type.x", "{}");
    assert_no(".data.a?", "1"); /* no output at all */
    assert_no(".data.a? | not", "1");
    assert_ask(".data.a.b?.c", "{\"a\":{\"b\":1}}");
    assert_yes(".data.a.b?", "{\"a\":{\"b\":1}}");
}

static void kinds_have_an_order(void **state) {
    static const char *const sorted[] = {"null", "false", "true", "-1", "0", "1.5", "\"\"", "\"a\"", "[]", "{}"};

    (void)state;
    for (int i = 0; i < 10; i++)
        for (int k = 0; k < 10; k++) {
            char expr[64], data[64];

            snprintf(expr, sizeof expr, ".data.a < %s", sorted[k]);
            snprintf(data, sizeof data, "{\"a\":%s}", sorted[i]);
            assert_int_equal(ask(expr, data), i < k);
            snprintf(expr, sizeof expr, ".data.a >= %s", sorted[k]);
            assert_int_equal(ask(expr, data), i >= k);
        }
    assert_yes(".data < {}", "[1]");
    assert_yes(".data.a < .data.b", "{\"a\":[1,2],\"b\":[1,3]}");
    assert_yes(".data.a < .data.b", "{\"a\":[1],\"b\":[1,0]}");
    assert_ask(".data.a < .data.b", "{\"a\":{\"x\":1},\"b\":{\"x\":2}}");
}

static void numbers_are_equal_however_they_are_written(void **state) {
    static const char *const one_hundred[] = {"100", "100.0", "1e2", "1E+2", "1000e-1", "0.1e3", "100.00000"};

    (void)state;
    for (int i = 0; i < 7; i++) {
        char expr[64], data[64];

        snprintf(expr, sizeof expr, ".data.a == %s", one_hundred[i]);
        for (int k = 0; k < 7; k++) {
            snprintf(data, sizeof data, "{\"a\":%s}", one_hundred[k]);
            assert_yes(expr, data);
        }
        assert_no(expr, "{\"a\":100.01}");
        assert_no(expr, "{\"a\":\"100\"}");
    }
    assert_yes(".data.a == 0", "{\"a\":-0}");
    assert_yes(".data.a == -0", "{\"a\":0.0}");
    assert_yes(".data.a == 0", "{\"a\":0e400}");
    assert_yes(".data.a < - 1.5", "{\"a\":-1.51}");
    assert_yes(".epoch_us == 1700000000000000", "{}");
    assert_yes(".epoch_us > 1.6999e15", "{}");
}

static void numbers_that_jq_versions_tell_apart_differently_are_asked(void **state) {
    (void)state;
    assert_yes(".data.a == 9007199254740992", "{\"a\":9007199254740992}");
    assert_ask(".data.a == 9007199254740992", "{\"a\":9007199254740993}");
    assert_ask(".data.a == 9007199254740993", "{\"a\":9007199254740993}");
    assert_ask(".data.a < 0.1", "{\"a\":0.1000000000000000055}");
    assert_ask(".data.a == 1e400", "{\"a\":1e401}");
    assert_ask(".data.a == 0", "{\"a\":1e-400}");
    assert_ask(".data.a > 0", "{\"a\":1e-400}");
    /* Where all agree there is nothing to ask. */
    assert_yes(".data.a > 1000", "{\"a\":9007199254740993}");
    assert_yes(".data.a > 1e200", "{\"a\":1e400}");
    assert_no(".data.a == 0.5", "{\"a\":0.1000000000000000055}");

    struct esdb_event e = event_of("{}");

    e.position = 9007199254740993;
    assert_int_equal(ask_event(".position == 9007199254740992", &e), ES_PREDICATE_ASK);
    assert_int_equal(ask_event(".position > 5", &e), ES_PREDICATE_YES);
    e.position = UINT64_MAX;
    assert_int_equal(ask_event(".position > 9007199254740992", &e), ES_PREDICATE_YES);
}

static void strings_are_what_they_stand_for(void **state) {
    (void)state;
    assert_yes(".data.a == \"\\u0061\\u00e4\"", "{\"a\":\"a\xc3\xa4\"}");
    assert_yes(".data.a == \"a\xc3\xa4\"", "{\"a\":\"\\u0061\\u00E4\"}");
    assert_yes(".data.a == \"\\ud83d\\ude00\"", "{\"a\":\"\xf0\x9f\x98\x80\"}");
    assert_yes(".data.a == \"a/b\"", "{\"a\":\"a\\/b\"}");
    assert_no(".data.a == \"a\\u0000\"", "{\"a\":\"a\"}");
    assert_yes(".data.a == \"a\\u0000\"", "{\"a\":\"a\\u0000\"}");
    assert_yes(".data.a > \"\\uffff\"", "{\"a\":\"\\ud83d\\ude00\"}"); /* code points, not UTF-16 */
    assert_yes(".data.\"\xc3\xa4\" == 1", "{\"\\u00e4\":1}");
    assert_yes(".data[\"\\u00e4\"] == 1", "{\"\xc3\xa4\":1}");
    assert_ask(".data.a == \"x\"", "{\"a\":\"\\ud800\"}"); /* half a pair: versions differ */
    assert_no(".data.b == \"x\"", "{\"a\":\"\\\"b\\\":\\\"x\\\"\"}");
}

static void a_literal_elsewhere_does_not_mislead(void **state) {
    (void)state;
    assert_no(".data.a == \"x\"", "{\"a\":\"y\",\"b\":\"x\"}");
    assert_no(".data.a == \"x\"", "{\"b\":{\"a\":\"x\"}}");
    assert_no(".data.a == \"x\"", "{\"x\":1}");
    assert_yes(".data.a != \"x\"", "{\"a\":\"y\"}");
    assert_yes(".data.a != \"x\"", "{}");
    assert_no(".data.a != \"x\"", "{\"a\":\"\\u0078\"}");
    assert_yes(".data.a == \"x\"", "{\"a\":\"\\u0078\"}");
    assert_ask(".data.a == \"x\"", "[1]");
    assert_no(".data.a == \"x\"", NULL);
    assert_yes(".metadata.actor_id == \"ann\"", "1");
}

static void the_last_of_doubled_keys_counts(void **state) {
    (void)state;
    assert_yes(".data.a == 2", "{\"a\":1,\"a\":2}");
    assert_yes(".data.a == 2", "{\"a\":1,\"\\u0061\":2}");
    assert_no(".data.a == \"x\"", "{\"a\":\"x\",\"a\":\"y\"}");
    assert_yes("(.data | length) == 1", "{\"a\":1,\"\\u0061\":2}");
}

static void operators_bind_as_in_jq(void **state) {
    (void)state;
    assert_yes(".data.a == 1 or .data.a == 2 and .data.b == 3", "{\"a\":1}");
    assert_no("(.data.a == 1 or .data.a == 2) and .data.b == 3", "{\"a\":1}");
    assert_no(".data.a == 1 and .data.b == 2 | not", "{\"a\":1,\"b\":2}");
    assert_yes(".data.a == 1 and (.data.b == 1 | not)", "{\"a\":1,\"b\":2}");
    assert_yes(".data.b // .data.a == 1", "{\"a\":1}");         /* .b // (.a == 1) */
    assert_yes(".data.b // .data.a == 2", "{\"a\":1,\"b\":7}"); /* 7 */
    assert_yes("(.data.b // 5) == 5", "{\"b\":null}");
    assert_yes("(.data.b // .data.c // 5) == 6", "{\"c\":6}");
    assert_yes(".data | .a == 1", "{\"a\":1}");
    assert_yes(".data | .a | . == 1", "{\"a\":1}");
    assert_yes(".data.a | not", "{\"a\":null}");
    assert_no("not", "{}");
    assert_yes(".data.a == (1 == 1)", "{\"a\":true}");
    assert_yes("select(.data.a == 1)", "{\"a\":1}");
    assert_no("select(.data.a == 1) | not", "{\"a\":2}");
    assert_no("empty", "{}");
}

static void and_stops_where_jq_stops(void **state) {
    (void)state;
    /* An operand after the one that decides is never seen, one before it is. */
    assert_no(".event_type == \"x\" and .data.a.b", "{\"a\":1}");
    assert_ask(".data.a.b and .event_type == \"x\"", "{\"a\":1}");
    assert_yes(".event_type == \"OrderPlaced\" or .data.a.b", "{\"a\":1}");
    assert_ask(".data.a.b or .event_type == \"OrderPlaced\"", "{\"a\":1}");
    /* The cheap operand goes first only when the one before it cannot fail. */
    assert_no(".data.a == 1 and .event_type == \"x\"", "{\"a\":1}");
    assert_ask(".data.a == 1 and .event_type == \"x\"", "[1]");
    assert_ask(".data.a == 1 and .event_type == \"x\"", "\"text\"");
    assert_no(".data.a == 1 and .event_type == \"x\"", "null");
    assert_ask("(.data.a | startswith(\"x\")) and .event_type == \"x\"", "{\"a\":1}");
    assert_ask("(.data.a | has(\"x\")) and .event_type == \"x\"", "{\"a\":1}");
    assert_ask("(.event_type | has(\"x\")) and .version == 8", "{}");
    assert_no(".metadata.a.b and .version == 8", "{}");
}

static void functions_of_strings(void **state) {
    (void)state;
    assert_yes(".data.a | startswith(\"or\")", "{\"a\":\"order\"}");
    assert_yes(".data.a | startswith(\"or\")", "{\"a\":\"\\u006fr\"}");
    assert_no(".data.a | startswith(\"or\")", "{\"a\":\"o\"}");
    assert_yes(".data.a | endswith(\"er\")", "{\"a\":\"order\"}");
    assert_no(".data.a | endswith(\"er\")", "{\"a\":\"r\"}");
    assert_yes(".data.a | contains(\"de\")", "{\"a\":\"order\"}");
    assert_no(".data.a | contains(\"ed\")", "{\"a\":\"order\"}");
    assert_yes(".data.a | test(\"rd\")", "{\"a\":\"order\"}");
    assert_no(".data.a | test(\"RD\")", "{\"a\":\"order\"}");
    assert_yes(".stream_id | startswith(\"order-\")", "{}");
    assert_ask(".data.a | startswith(\"x\")", "{}");
    assert_ask(".data.a | test(\"x\")", "{\"a\":1}");
    assert_ask(".data.a | contains(\"x\")", "{\"a\":[\"x\"]}");
    assert_ask(".data.a | contains(\"b\")", "{\"a\":\"a\\u0000b\"}"); /* jq 1.6 sees its beginning only */
    assert_yes(".data.a | endswith(\"b\")", "{\"a\":\"a\\u0000b\"}");
}

static void other_functions(void **state) {
    (void)state;
    assert_yes(".data | has(\"a\")", "{\"a\":null}");
    assert_no(".data | has(\"a\")", "{}");
    assert_yes("has(\"data\")", "{}");
    assert_no("has(\"data_base64\")", "{}");
    assert_ask(".data | has(\"a\")", "[]");
    assert_yes(".data.a | type == \"array\"", "{\"a\":[]}");
    assert_yes(".data.a | type == \"null\"", "{}");
    assert_yes("(.data.a | length) == 3", "{\"a\":\"\xc3\xa4\\ud83d\\ude00x\"}");
    assert_yes("(.data.a | length) == 2", "{\"a\":[[],{}]}");
    assert_yes("(.data.a | length) == 2", "{\"a\":-2}");
    assert_yes("(.data.a | length) == 0", "{}");
    assert_ask("(.data.a | length) == 2.5", "{\"a\":-2.5}");
    assert_ask("(.data.a | length) == 0", "{\"a\":true}");
}

static void a_name_may_be_one_of_several(void **state) {
    (void)state;
    assert_yes(".data.a | IN(\"x\", \"y\", 3)", "{\"a\":\"y\"}");
    assert_yes(".data.a | IN(\"x\", \"y\", 3)", "{\"a\":3.0}");
    assert_no(".data.a | IN(\"x\", -3, null)", "{\"a\":3}");
    assert_yes(".data.a | IN(\"x\", null)", "{}");
}

static void an_events_own_fields(void **state) {
    struct esdb_event e = event_of("\"abc\"");

    (void)state;
    assert_int_equal(ask_event(".position == 7 and .version == 3 and .event_id == \"id-1\"", &e), ES_PREDICATE_YES);
    assert_int_equal(ask_event(".stream_id == \"order-1\" and .metadata.actor_id == \"ann\"", &e), ES_PREDICATE_YES);
    assert_int_equal(ask_event(".data_content_type == null and .metadata_content_type == null", &e), ES_PREDICATE_YES);
    assert_int_equal(ask_event("length == 8", &e), ES_PREDICATE_YES);
    e.data_content_type = test_text("text/plain");
    assert_int_equal(ask_event(".data_content_type == \"text/plain\"", &e), ES_PREDICATE_YES);
    e.binary = true;
    assert_int_equal(ask_event(".data == null and has(\"data_base64\")", &e), ES_PREDICATE_YES);
    assert_int_equal(ask_event(".data_base64 == \"YWJj\"", &e), ES_PREDICATE_ASK);
}

/* ---- what is not answered here ---- */

static const char *const others[] = {
    "",
    "  ",
    ".data[]",
    ".data.a, .data.b",
    ".data.a + 1 == 2",
    ".data.a - 1",
    "-.data.a",
    "..",
    ".data.a[1:2]",
    "if .a then 1 else 2 end",
    ".data.a as $x | $x",
    "[.data.a] == [1]",
    "{a:1}",
    ".data | keys",
    "any",
    "any(.a; . == 1)",
    ".data.a == \"x\\(1)\"",
    ".data.a | test(\"^x\")",
    ".data.a | test(\"x\"; \"i\")",
    ".data.a | test(\".\")",
    ".data.a | test(\"\")",
    ".data.a | contains([\"x\"])",
    ".data.a | contains(\"\")",
    ".data.a | startswith(.b)",
    ".data[.k]",
    ".data.a |= 1",
    ".data.a = 1",
    ".data.a //= 1",
    "@base64",
    "$ENV",
    "$__loc__",
    ".data.a == 01",
    ".data.a == 1.",
    ".data.a == .5",
    "try .a",
    "def f: 1; f",
    "reduce .[] as $x (0; 1)",
    "# comment",
    ".data.a # comment",
    ".data.a == nan",
    "now > 1",
    ".data.a == \"\\ud800\"",
    ".data.a == \"\\x\"",
    ".a::b",
    "a::b",
    ".data?//1",
    "\"x\"?",
    "(.a)?",
    ".a??",
    ".data.[\"a\"]",
    ".data.a\r== 1",
    "IN(.a; 1)",
    "IN(.x)",
    "not(1)",
    "\xff",
    ".data.a == \"\xff\"",
    "input",
    "-1.a",
    "{} | .a?|{b:1}",
};

static void the_rest_is_left_to_jq(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        struct es_predicate *p = NULL;
        struct esdb_error err = {0};
        int rc = es_predicate_compile(test_text(others[i]), &p, &err);

        if (rc != ESDB_END)
            fail_msg("%s: %d %s", others[i], rc, err.text);
        assert_null(p);
        assert_int_equal(err.code, 0);
    }
}

static void deep_and_long_ones_are_left_to_jq(void **state) {
    static char expr[100000];
    struct es_predicate *p = NULL;

    (void)state;
    memset(expr, '(', 50000);
    assert_int_equal(es_predicate_compile((struct esdb_text){expr, 50000}, &p, NULL), ESDB_END);
    for (size_t i = 0; i + 3 < sizeof expr; i += 3)
        memcpy(expr + i, ".a|", 3);
    assert_int_equal(es_predicate_compile((struct esdb_text){expr, sizeof expr - 2}, &p, NULL), ESDB_END);
    assert_int_equal(es_predicate_compile((struct esdb_text){expr, 59999}, &p, NULL), ESDB_END);
}

/* Each may walk through a whole event, and only jq has a time-out. */
static void many_walks_are_left_to_jq(void **state) {
    static const struct {
        const char *part, *separator;
        size_t most; /* how many are answered natively */
    } cases[] = {
        {".a", "", 253}, /* behind .data.a */
        {".data.n == 1", " or ", 255},
        {"(.data | contains(\"x\"))", " and ", 255},
        {".data[0]", " > 0 and ", 255},
        {".data == .metadata", " or ", 255},
        {".event_type == \"x\"", " or ", 2000},
    };
    static char expr[65536];

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int more = 0; more < 2; more++) {
            size_t count = cases[i].most + (more && cases[i].most < 2000 ? 2 : 0);
            size_t len = (size_t)snprintf(expr, sizeof expr, ".data.a");
            struct es_predicate *p = NULL;

            if (*cases[i].separator)
                len = (size_t)snprintf(expr, sizeof expr, "%s", cases[i].part);
            for (size_t n = *cases[i].separator ? 1 : 0; n < count; n++)
                len += (size_t)snprintf(expr + len, sizeof expr - len, "%s%s", cases[i].separator, cases[i].part);
            assert_true(len < sizeof expr);

            int rc = es_predicate_compile((struct esdb_text){expr, len}, &p, NULL);

            if (rc != (count > cases[i].most ? ESDB_END : 0))
                fail_msg("%zu times %s: %d", count, cases[i].part, rc);
            es_predicate_close(p);
        }
}

static void syntax_errors_are_pointed_at(void **state) {
    static const struct {
        const char *expr, *text;
    } wrong[] = {
        {".data.a ==", "a value is missing at its end"},
        {".data.a == ", "a value is missing at its end"},
        {"and .a", "character 1: a value is missing at 'and .a'"},
        {".data.a === 1", "character 11: a value is missing at '= 1'"},
        {".data.a && .data.b", "character 9: no such operator at '&& .data.b'"},
        {".data.a || .data.b", "character 10: a value is missing at '| .data.b'"},
        {"!.data.a", "character 1: no such operator at '!.data.a'"},
        {".data.a == 'x'", "character 12: no such operator at ''x''"},
        {".data.a == \"x", "character 12: a string has no end at '\"x'"},
        {"(.data.a == 1", "')' is missing at its end"},
        {".data.a == 1)", "character 13: nothing was opened that closes at ')'"},
        {".data[\"a\"", "']' is missing at its end"},
        {".data.a 5", "character 9: an operator is missing at '5'"},
        {".data.\"\xc3\xa4\" \"x\"", "character 11: an operator is missing at '\"x\"'"},
        {".data.a == 1 == 2", "character 14: comparisons cannot follow one another at '== 2'"},
        {".data.a == )aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "at ')aaaaaaaaaaaaaaaaaaaaaaa...'"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct es_predicate *p = NULL;
        struct esdb_error err = {0};

        assert_code(es_predicate_compile(test_text(wrong[i].expr), &p, &err), ESDB_EUSAGE, &err);
        if (strstr(err.text, wrong[i].text) == NULL)
            fail_msg("%s: '%s' instead of '%s'", wrong[i].expr, err.text, wrong[i].text);
    }
}

/* Stored bytes that are no JSON at all: any answer, nothing read outside. */
static void damaged_data_is_survived(void **state) {
    static const char *const exprs[] = {".data.a == \"x\"",           ".data.a.b[1] > 1.5", "(.data | length) > 1",
                                        ".data.a | contains(\"xy\")", ".data.a == .data.b", ".data.a | IN(1, \"a\")"};
    static const char *const data[] = {"{",
                                       "{\"",
                                       "{\"a",
                                       "{\"a\"",
                                       "{\"a\":",
                                       "{\"a\":\"",
                                       "{\"a\":\"\\",
                                       "{\"a\":\"\\u",
                                       "{\"a\":\"\\ud83d\\u",
                                       "[",
                                       "\"",
                                       "-",
                                       "{\"a\":-}",
                                       "}",
                                       "{]",
                                       "{\"a\":{\"b\":[",
                                       "\xff",
                                       "{\"a\":e"};

    (void)state;
    for (size_t i = 0; i < sizeof exprs / sizeof *exprs; i++) {
        struct es_predicate *p = NULL;

        assert_int_equal(es_predicate_compile(test_text(exprs[i]), &p, NULL), 0);
        for (size_t k = 0; k < sizeof data / sizeof *data; k++) {
            size_t len = strlen(data[k]);
            char *copy = malloc(len);
            struct esdb_event e = event_of("");

            assert_non_null(copy);
            memcpy(copy, data[k], len);
            e.data = (struct esdb_text){copy, len};
            es_predicate_eval(p, &e);
            free(copy);
        }
        es_predicate_close(p);
    }
    es_predicate_close(NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths_lead_into_data),
        cmocka_unit_test(what_is_missing_is_null),
        cmocka_unit_test(stepping_into_a_scalar_is_jqs_to_tell),
        cmocka_unit_test(kinds_have_an_order),
        cmocka_unit_test(numbers_are_equal_however_they_are_written),
        cmocka_unit_test(numbers_that_jq_versions_tell_apart_differently_are_asked),
        cmocka_unit_test(strings_are_what_they_stand_for),
        cmocka_unit_test(a_literal_elsewhere_does_not_mislead),
        cmocka_unit_test(the_last_of_doubled_keys_counts),
        cmocka_unit_test(operators_bind_as_in_jq),
        cmocka_unit_test(and_stops_where_jq_stops),
        cmocka_unit_test(functions_of_strings),
        cmocka_unit_test(other_functions),
        cmocka_unit_test(a_name_may_be_one_of_several),
        cmocka_unit_test(an_events_own_fields),
        cmocka_unit_test(the_rest_is_left_to_jq),
        cmocka_unit_test(deep_and_long_ones_are_left_to_jq),
        cmocka_unit_test(many_walks_are_left_to_jq),
        cmocka_unit_test(syntax_errors_are_pointed_at),
        cmocka_unit_test(damaged_data_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
