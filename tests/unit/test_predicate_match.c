/* --match: what an event must contain. */
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
        .data = data ? test_text(data) : (struct esdb_text){NULL, 0},
        .metadata = test_text("{\"actor_id\":\"ann\",\"tags\":[\"a\",\"b\"]}"),
    };
}

static bool match_event(const char *json, const struct esdb_event *e) {
    struct es_predicate *p = NULL;
    struct esdb_error err = {0};

    assert_done(es_match_compile(test_text(json), &p, &err), &err);

    int answer = es_predicate_eval(p, e);

    es_predicate_close(p);
    assert_int_not_equal(answer, ES_PREDICATE_ASK);
    return answer == ES_PREDICATE_YES;
}

/* `pattern` for data. */
static bool match(const char *pattern, const char *data) {
    char json[1024];
    struct esdb_event e = event_of(data);

    snprintf(json, sizeof json, "{\"data\":%s}", pattern);
    return match_event(json, &e);
}

static void members_that_are_not_named_do_not_matter(void **state) {
    (void)state;
    assert_true(match("{}", "{}"));
    assert_true(match("{}", "{\"a\":1}"));
    assert_true(match("{\"a\":1}", "{\"b\":2,\"a\":1}"));
    assert_false(match("{\"a\":1}", "{\"b\":2}"));
    assert_false(match("{\"a\":1,\"b\":3}", "{\"b\":2,\"a\":1}"));
    assert_true(match("{\"a\":{\"b\":{\"c\":true}}}", "{\"a\":{\"x\":0,\"b\":{\"c\":true}}}"));
    assert_false(match("{\"a\":{\"b\":{\"c\":true}}}", "{\"a\":{\"x\":0,\"b\":[{\"c\":true}]}}"));
    assert_false(match("{}", "[]"));
    assert_false(match("{}", "null"));
    assert_false(match("{}", NULL));
    assert_true(match(" { \"a b\" : [ 1 , { } ] } ", "{\"a b\":[{\"c\":1},1]}"));
}

static void scalars_are_equal_in_kind_and_value(void **state) {
    (void)state;
    assert_true(match("\"a\"", "\"a\""));
    assert_true(match("\"\\u0061\"", "\"a\""));
    assert_true(match("\"a\"", "\"\\u0061\""));
    assert_false(match("\"1\"", "1"));
    assert_false(match("1", "\"1\""));
    assert_true(match("null", "null"));
    assert_false(match("null", NULL));
    assert_false(match("null", "false"));
    assert_false(match("false", "true"));
    assert_false(match("0", "false"));
}

static void numbers_are_compared_exactly(void **state) {
    (void)state;
    assert_true(match("1", "1.0"));
    assert_true(match("1e2", "100"));
    assert_true(match("-0", "0"));
    assert_true(match("0.1", "1e-1"));
    assert_false(match("9007199254740993", "9007199254740992"));
    assert_true(match("9007199254740993", "9007199254740993.000"));
    assert_true(match("{\"$gt\":9007199254740992}", "9007199254740993"));
    assert_false(match("{\"$gt\":9007199254740993}", "9007199254740993"));
    assert_false(match("1e400", "1e401"));
    assert_true(match("{\"$lt\":1e401}", "1e400"));
    assert_true(match("{\"$gt\":0}", "1e-400"));
    assert_true(match("{\"$lt\":-1}", "-1.0000000000000000000000001"));
    assert_false(match("0.1", "0.1000000000000000055511151231257827"));
}

static void decimals_have_an_exact_order(void **state) {
    static const char *const sorted[] = {"-1e400",
                                         "-12345678901234567891",
                                         "-12345678901234567890",
                                         "-100",
                                         "-99.5",
                                         "-1",
                                         "-1e-400",
                                         "0",
                                         "1e-400",
                                         "0.001",
                                         "0.0010001",
                                         "0.1",
                                         "0.11",
                                         "1",
                                         "1.00001",
                                         "2",
                                         "9.99",
                                         "10",
                                         "10.5",
                                         "99",
                                         "100",
                                         "100.000000000000000000000001",
                                         "12345678901234567890",
                                         "12345678901234567890.5",
                                         "12345678901234567891",
                                         "1e20",
                                         "1.5e20",
                                         "1e400",
                                         "2e400"};
    static const char *const equal[] = {"100", "100.0", "1e2", "1E+2", "0.1e3", "1000e-1", "10.0e1", "0.0001e6"};
    size_t count = sizeof sorted / sizeof *sorted;

    (void)state;
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < count; k++) {
            struct fmt_text a = {sorted[i], strlen(sorted[i])}, b = {sorted[k], strlen(sorted[k])};
            int order = es_number_compare(a, b);

            if ((order > 0) - (order < 0) != (i > k) - (i < k))
                fail_msg("%s, %s: %d", sorted[i], sorted[k], order);
        }
    for (size_t i = 0; i < sizeof equal / sizeof *equal; i++)
        for (size_t k = 0; k < sizeof equal / sizeof *equal; k++)
            assert_int_equal(es_number_compare((struct fmt_text){equal[i], strlen(equal[i])},
                                               (struct fmt_text){equal[k], strlen(equal[k])}),
                             0);
}

static void an_array_has_an_element_for_each_of_the_pattern(void **state) {
    (void)state;
    assert_true(match("[]", "[]"));
    assert_true(match("[]", "[1]"));
    assert_true(match("[1]", "[2,1]"));
    assert_true(match("[1,2]", "[2,1]"));
    assert_true(match("[1,1]", "[1]"));
    assert_false(match("[1,3]", "[2,1]"));
    assert_false(match("[1]", "1"));
    assert_false(match("[1]", "{}"));
    assert_false(match("1", "[1]"));
    assert_true(match("{\"items\":[{\"sku\":\"x\",\"n\":{\"$gt\":1}}]}",
                      "{\"items\":[{\"sku\":\"x\",\"n\":1},{\"sku\":\"x\",\"n\":2}]}"));
    assert_false(match("{\"items\":[{\"sku\":\"x\",\"n\":{\"$gt\":1}}]}",
                       "{\"items\":[{\"sku\":\"x\",\"n\":1},{\"sku\":\"y\",\"n\":2}]}"));
    assert_true(match("[[2]]", "[1,[3,2]]"));
}

static void operators_compare(void **state) {
    (void)state;
    assert_true(match("{\"a\":{\"$gt\":1}}", "{\"a\":2}"));
    assert_false(match("{\"a\":{\"$gt\":1}}", "{\"a\":1}"));
    assert_true(match("{\"a\":{\"$gte\":1}}", "{\"a\":1}"));
    assert_true(match("{\"a\":{\"$lt\":1}}", "{\"a\":0.5}"));
    assert_false(match("{\"a\":{\"$lt\":1}}", "{\"a\":1}"));
    assert_true(match("{\"a\":{\"$lte\":1}}", "{\"a\":1.0}"));
    assert_true(match("{\"a\":{\"$gt\":1,\"$lt\":3}}", "{\"a\":2}"));
    assert_false(match("{\"a\":{\"$gt\":1,\"$lt\":3}}", "{\"a\":3}"));
    assert_true(match("{\"a\":{\"$gte\":\"b\"}}", "{\"a\":\"\\u0062\"}"));
    assert_true(match("{\"a\":{\"$gt\":\"\xef\xbf\xbd\"}}", "{\"a\":\"\\ud83d\\ude00\"}"));
    assert_false(match("{\"a\":{\"$gt\":1}}", "{\"a\":\"2\"}"));
    assert_false(match("{\"a\":{\"$lt\":1}}", "{\"a\":null}"));
    assert_false(match("{\"a\":{\"$lt\":1}}", "{}"));
    assert_true(match("{\"a\":{\"$in\":[1,\"x\",null]}}", "{\"a\":\"x\"}"));
    assert_true(match("{\"a\":{\"$in\":[1,\"x\",null]}}", "{\"a\":1.0}"));
    assert_true(match("{\"a\":{\"$in\":[1,\"x\",null]}}", "{\"a\":null}"));
    assert_false(match("{\"a\":{\"$in\":[1,\"x\",null]}}", "{}"));
    assert_false(match("{\"a\":{\"$in\":[]}}", "{\"a\":1}"));
    assert_true(match("{\"a\":{\"$in\":[[1,2],{\"b\":1}]}}", "{\"a\":{\"b\":1}}"));
    assert_true(match("{\"a\":{\"$prefix\":\"or\"}}", "{\"a\":\"order\"}"));
    assert_true(match("{\"a\":{\"$prefix\":\"or\"}}", "{\"a\":\"\\u006frder\"}"));
    assert_true(match("{\"a\":{\"$prefix\":\"\"}}", "{\"a\":\"\"}"));
    assert_false(match("{\"a\":{\"$prefix\":\"or\"}}", "{\"a\":\"o\"}"));
    assert_false(match("{\"a\":{\"$prefix\":\"1\"}}", "{\"a\":12}"));
}

static void what_is_absent_is_neither_equal_nor_there(void **state) {
    (void)state;
    assert_true(match("{\"a\":{\"$exists\":true}}", "{\"a\":null}"));
    assert_false(match("{\"a\":{\"$exists\":true}}", "{\"b\":1}"));
    assert_true(match("{\"a\":{\"$exists\":false}}", "{\"b\":1}"));
    assert_false(match("{\"a\":{\"$exists\":false}}", "{\"a\":false}"));
    assert_true(match("{\"a\":{\"$ne\":1}}", "{}"));
    assert_true(match("{\"a\":{\"$ne\":1}}", "{\"a\":\"1\"}"));
    assert_false(match("{\"a\":{\"$ne\":1}}", "{\"a\":1e0}"));
    assert_false(match("{\"a\":{\"$ne\":1,\"$exists\":true}}", "{}"));
    assert_false(match("{\"a\":{\"b\":{\"$ne\":1}}}", "{}")); /* a must be an object all the same */
    assert_false(match("{\"a\":null}", "{}"));
}

static void eq_is_the_whole_value(void **state) {
    (void)state;
    assert_true(match("{\"$eq\":{\"a\":1,\"b\":[1,{\"c\":null}]}}", "{\"b\":[1.0,{\"c\":null}],\"a\":1}"));
    assert_false(match("{\"$eq\":{\"a\":1}}", "{\"a\":1,\"b\":2}"));
    assert_false(match("{\"$eq\":{\"a\":1,\"b\":2}}", "{\"a\":1}"));
    assert_true(match("{\"$eq\":{\"a\":1}}", "{\"a\":2,\"\\u0061\":1}"));
    assert_false(match("{\"$eq\":{\"a\":2}}", "{\"a\":2,\"\\u0061\":1}"));
    assert_true(match("{\"$eq\":[1,2]}", "[1,2]"));
    assert_false(match("{\"$eq\":[1,2]}", "[2,1]"));
    assert_false(match("{\"$eq\":[1]}", "[1,2]"));
    assert_false(match("{\"$eq\":[1,2]}", "[1]"));
    assert_true(match("{\"$ne\":[1,2]}", "[2,1]"));
    assert_true(match("{\"$eq\":{\"$x\":1}}", "{\"$x\":1}"));
}

static void the_last_of_doubled_keys_counts(void **state) {
    (void)state;
    assert_true(match("{\"a\":2}", "{\"a\":1,\"a\":2}"));
    assert_false(match("{\"a\":1}", "{\"a\":1,\"\\u0061\":2}"));
    assert_true(match("{\"\\u0061\":1}", "{\"a\":1}"));
}

static void fields_of_the_event_are_asked_alike(void **state) {
    struct esdb_event e = event_of("{\"total\":1500,\"customer_type\":\"VIP\"}");

    (void)state;
    assert_true(match_event("{}", &e));
    assert_true(match_event("{\"data\":{\"total\":{\"$gt\":1000},\"customer_type\":\"VIP\"}}", &e));
    assert_true(match_event("{\"event_type\":\"OrderPlaced\",\"stream_id\":{\"$prefix\":\"order-\"}}", &e));
    assert_true(match_event("{\"position\":{\"$gte\":7,\"$lt\":8.5},\"version\":3,\"epoch_us\":{\"$gt\":1.6e15}}", &e));
    assert_true(match_event("{\"metadata\":{\"tags\":[\"b\"],\"actor_id\":{\"$in\":[\"ann\",\"bob\"]}}}", &e));
    assert_true(match_event("{\"data_content_type\":{\"$exists\":false},\"data_base64\":{\"$exists\":false}}", &e));
    assert_false(match_event("{\"event_type\":\"Order\"}", &e));
    assert_false(match_event("{\"event_id\":{\"$gt\":\"id-1\"}}", &e));
    e.position = UINT64_MAX;
    assert_true(match_event("{\"position\":18446744073709551615}", &e));
    assert_false(match_event("{\"position\":18446744073709551614}", &e));
    e.binary = true;
    assert_true(match_event("{\"data\":{\"$exists\":false},\"data_base64\":{\"$exists\":true}}", &e));
    assert_false(match_event("{\"data\":{}}", &e));
}

static void assert_refused(const char *json, const char *expected) {
    struct es_predicate *p = NULL;
    struct esdb_error err = {0};

    assert_code(es_match_compile(test_text(json), &p, &err), ESDB_EUSAGE, &err);
    if (strstr(err.text, expected) == NULL)
        fail_msg("'%s' instead of '%s'", err.text, expected);
    assert_null(p);
}

static void mistakes_are_named(void **state) {
    (void)state;
    assert_refused("", "unexpected end of input, byte 1");
    assert_refused("{\"data\":{\"a\":}}", "expected a value, byte 14");
    assert_refused("{\"data\":1} x", "text after the value, byte 12");
    assert_refused("[]", "an object with fields");
    assert_refused("1", "an object with fields");
    assert_refused("{\"$eq\":1}", "an object with fields");
    assert_refused("{\"total\":1}", "events have no field 'total'");
    assert_refused("{\"data\":{\"a\":{\"$regex\":\"x\"}}}", "'$regex' is no operator, in \"a\"");
    assert_refused("{\"data\":{\"a\":{\"$gt\":1,\"b\":2}}}", "\"a\" has operators and other keys");
    assert_refused("{\"data\":{\"a\":{\"$gt\":null}}}", "$gt in \"a\" takes a number or a string");
    assert_refused("{\"data\":{\"a\":{\"$in\":1}}}", "$in in \"a\" takes an array");
    assert_refused("{\"data\":{\"a\":{\"$exists\":1}}}", "$exists in \"a\" takes true or false");
    assert_refused("{\"data\":{\"a\":{\"$prefix\":1}}}", "$prefix in \"a\" takes a string");
    assert_refused("{\"data_base64\":\"x\"}", "only $exists");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(members_that_are_not_named_do_not_matter),
        cmocka_unit_test(scalars_are_equal_in_kind_and_value),
        cmocka_unit_test(numbers_are_compared_exactly),
        cmocka_unit_test(decimals_have_an_exact_order),
        cmocka_unit_test(an_array_has_an_element_for_each_of_the_pattern),
        cmocka_unit_test(operators_compare),
        cmocka_unit_test(what_is_absent_is_neither_equal_nor_there),
        cmocka_unit_test(eq_is_the_whole_value),
        cmocka_unit_test(the_last_of_doubled_keys_counts),
        cmocka_unit_test(fields_of_the_event_are_asked_alike),
        cmocka_unit_test(mistakes_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
