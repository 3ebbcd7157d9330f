/* Tagged values: every pair of what may be there and what may come, exact numbers, and that folding in groups gives the
 * same as folding one by one. */
#include "tests/unit/store_fixture.h"

#include "libcore/tagged.h"

static struct es_keys keys;

static struct fmt_text text_of(const char *s) {
    return (struct fmt_text){s, strlen(s)};
}

/* Puts `json` behind the state. */
static int add(struct es_tagged *state, const char *json, bool deep, struct es_tagged_why *why) {
    struct es_tagged patch = {0};
    char *copy = strdup(json); /* so that what is still borrowed afterwards is found */
    int rc = es_tagged_parse(&keys, text_of(copy), deep, &patch, why);
    if (rc == 0)
        rc = es_tagged_check(&keys, state, &patch, why);
    if (rc == 0)
        rc = es_tagged_apply(state, &patch);
    es_tagged_release(&patch);
    memset(copy, 'X', strlen(copy));
    free(copy);
    return rc;
}

static char *print(const struct es_tagged *state, bool finalize) {
    struct es_buffer out = {0};
    assert_int_equal(es_tagged_print(&keys, state, finalize, &out), 0);
    assert_int_equal(es_buffer_add(&out, "", 1), 0);
    return (char *)out.at;
}

struct pair {
    const char *before, *after;
    const char *tags, *plain; /* NULL: an error, whose text is in `tags` */
};

static void check_pairs(const struct pair *pairs, size_t count, bool deep) {
    for (size_t i = 0; i < count; i++) {
        struct es_tagged state = {0};
        struct es_tagged_why why = {""};
        assert_int_equal(add(&state, pairs[i].before, deep, &why), 0);
        int rc = add(&state, pairs[i].after, deep, &why);
        if (!pairs[i].plain) {
            char *unchanged = print(&state, false);
            assert_int_equal(rc, ESDB_EINVALID);
            assert_string_equal(why.text, pairs[i].tags);
            assert_string_equal(unchanged, pairs[i].before);
            free(unchanged);
        } else {
            char *tags = print(&state, false), *plain = print(&state, true);
            if (rc != 0)
                fail_msg("%s + %s: %s", pairs[i].before, pairs[i].after, why.text);
            assert_string_equal(tags, pairs[i].tags);
            assert_string_equal(plain, pairs[i].plain);
            free(tags);
            free(plain);
        }
        es_tagged_release(&state);
    }
}

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* The table of esdb-fold(1). */
static void test_every_pair(void **unused) {
    static const struct pair pairs[] = {
        /* missing before */
        {"{}", "{}", "{}", "{}"},
        {"{}", "{\"a\":1}", "{\"a\":1}", "{\"a\":1}"},
        {"{}", "{\"a\":null}", "{\"a\":null}", "{\"a\":null}"},
        {"{}", "{\"a\":{\"$sum\":2}}", "{\"a\":{\"$sum\":2}}", "{\"a\":2}"},
        {"{}", "{\"a\":{\"$overwrite\":\"x\"}}", "{\"a\":{\"$overwrite\":\"x\"}}", "{\"a\":\"x\"}"},
        {"{}", "{\"a\":{\"b\":1}}", "{\"a\":{\"b\":1}}", "{\"a\":{\"b\":1}}"},
        /* missing after */
        {"{\"a\":{\"$sum\":2}}", "{}", "{\"a\":{\"$sum\":2}}", "{\"a\":2}"},
        {"{\"a\":1}", "{\"b\":2}", "{\"a\":1,\"b\":2}", "{\"a\":1,\"b\":2}"},
        /* plain before */
        {"{\"a\":1}", "{\"a\":2}", "{\"a\":2}", "{\"a\":2}"},
        {"{\"a\":1}", "{\"a\":null}", "{\"a\":null}", "{\"a\":null}"},
        {"{\"a\":1}", "{\"a\":{\"$sum\":2}}", "{\"a\":3}", "{\"a\":3}"},
        {"{\"a\":1}", "{\"a\":{\"$overwrite\":2}}", "{\"a\":{\"$overwrite\":2}}", "{\"a\":2}"},
        {"{\"a\":null}", "{\"a\":{\"$sum\":2}}", "{\"a\":2}", "{\"a\":2}"},
        {"{\"a\":\"x\"}", "{\"a\":{\"$sum\":2}}", "a: $sum cannot be added to \"x\"", NULL},
        {"{\"a\":true}", "{\"a\":{\"$sum\":2}}", "a: $sum cannot be added to true", NULL},
        {"{\"a\":[1]}", "{\"a\":{\"$sum\":2}}", "a: $sum cannot be added to [1]", NULL},
        {"{\"a\":{\"b\":1}}", "{\"a\":{\"$sum\":2}}", "a: $sum cannot be added to {\"b\":1}", NULL},
        {"{\"a\":{\"b\":1}}", "{\"a\":{\"c\":2}}", "{\"a\":{\"c\":2}}", "{\"a\":{\"c\":2}}"},
        {"{\"a\":{\"b\":1}}", "{\"a\":3}", "{\"a\":3}", "{\"a\":3}"},
        /* $sum before */
        {"{\"a\":{\"$sum\":1}}", "{\"a\":5}", "{\"a\":5}", "{\"a\":5}"},
        {"{\"a\":{\"$sum\":1}}", "{\"a\":null}", "{\"a\":null}", "{\"a\":null}"},
        {"{\"a\":{\"$sum\":1}}", "{\"a\":{\"$sum\":2}}", "{\"a\":{\"$sum\":3}}", "{\"a\":3}"},
        {"{\"a\":{\"$sum\":1}}", "{\"a\":{\"$overwrite\":9}}", "{\"a\":{\"$overwrite\":9}}", "{\"a\":9}"},
        {"{\"a\":{\"$sum\":1}}", "{\"a\":{\"b\":2}}", "{\"a\":{\"b\":2}}", "{\"a\":{\"b\":2}}"},
        /* $overwrite before */
        {"{\"a\":{\"$overwrite\":1}}", "{\"a\":5}", "{\"a\":5}", "{\"a\":5}"},
        {"{\"a\":{\"$overwrite\":1}}", "{\"a\":{\"$sum\":2}}", "{\"a\":{\"$overwrite\":3}}", "{\"a\":3}"},
        {"{\"a\":{\"$overwrite\":null}}", "{\"a\":{\"$sum\":2}}", "{\"a\":{\"$overwrite\":2}}", "{\"a\":2}"},
        {"{\"a\":{\"$overwrite\":\"x\"}}", "{\"a\":{\"$sum\":2}}", "a: $sum cannot be added to \"x\"", NULL},
        {"{\"a\":{\"$overwrite\":1}}", "{\"a\":{\"$overwrite\":2}}", "{\"a\":{\"$overwrite\":2}}", "{\"a\":2}"},
        {"{}", "{\"\":{\"$sum\":1}}", "{\"\":{\"$sum\":1}}", "{\"\":1}"},
        /* what is no tag */
        {"{}", "{\"a\":{\"$max\":1}}", "{\"a\":{\"$max\":1}}", "{\"a\":{\"$max\":1}}"},
        {"{}", "{\"a\":\"$sum\"}", "{\"a\":\"$sum\"}", "{\"a\":\"$sum\"}"},
        /* escapes do not make another key, and the last of two members with a name counts */
        {"{\"a\":1}", "{\"\\u0061\":{\"\\u0024sum\":2}}", "{\"a\":3}", "{\"a\":3}"},
        {"{}", "{\"a\":{\"$sum\":2},\"a\":{\"$sum\":5}}", "{\"a\":{\"$sum\":5}}", "{\"a\":5}"},
        {"{}", "{\"a\\nb\":1,\"\\ud800\":2}", "{\"a\\nb\":1,\"\\ud800\":2}", "{\"a\\nb\":1,\"\\ud800\":2}"},
    };
    (void)unused;
    check_pairs(pairs, COUNT(pairs), false);
}

static void test_deep_pairs(void **unused) {
    static const struct pair pairs[] = {
        {"{\"a\":{\"b\":1}}", "{\"a\":{\"c\":2}}", "{\"a\":{\"b\":1,\"c\":2}}", "{\"a\":{\"b\":1,\"c\":2}}"},
        {"{\"a\":{\"b\":{\"$sum\":1}}}", "{\"a\":{\"b\":{\"$sum\":2}}}", "{\"a\":{\"b\":{\"$sum\":3}}}",
         "{\"a\":{\"b\":3}}"},
        {"{\"a\":{\"b\":1}}", "{\"a\":{\"$overwrite\":{\"c\":2}}}", "{\"a\":{\"$overwrite\":{\"c\":2}}}",
         "{\"a\":{\"c\":2}}"},
        {"{\"a\":{\"$overwrite\":{\"c\":2}}}", "{\"a\":{\"c\":{\"$sum\":3}}}", "{\"a\":{\"$overwrite\":{\"c\":5}}}",
         "{\"a\":{\"c\":5}}"},
        {"{\"a\":5}", "{\"a\":{\"c\":{\"$sum\":3}}}", "{\"a\":{\"$overwrite\":{\"c\":3}}}", "{\"a\":{\"c\":3}}"},
        {"{\"a\":{\"c\":3}}", "{\"a\":5}", "{\"a\":5}", "{\"a\":5}"},
        {"{\"a\":{\"c\":3}}", "{\"a\":{\"$sum\":5}}", "a: $sum cannot be added to an object", NULL},
        {"{\"a\":{\"b\":\"x\"}}", "{\"a\":{\"b\":{\"$sum\":5}}}", "b: $sum cannot be added to \"x\"", NULL},
        {"{\"a\":{}}", "{\"a\":{\"b\":{\"c\":{\"$sum\":1}}}}", "{\"a\":{\"b\":{\"c\":{\"$sum\":1}}}}",
         "{\"a\":{\"b\":{\"c\":1}}}"},
    };
    (void)unused;
    check_pairs(pairs, COUNT(pairs), true);
}

static void test_refused(void **unused) {
    static const struct {
        const char *json, *why;
        bool deep;
    } bad[] = {
        {"{\"a\":{\"$sum\":\"5\"}}", "a: $sum of a string: it must be a number", false},
        {"{\"a\":{\"$sum\":null}}", "a: $sum of null: it must be a number", false},
        {"{\"a\":{\"$sum\":{}}}", "a: $sum of an object: it must be a number", false},
        {"{\"a\":{\"$sum\":[1]}}", "a: $sum of an array: it must be a number", false},
        {"{\"a\":{\"$sum\":true}}", "a: $sum of true or false: it must be a number", false},
        {"{\"a\":{\"$sum\":1,\"unit\":\"m\"}}", "a: a tag must be the only member of its object", false},
        {"{\"a\":{\"x\":1,\"y\":2,\"$sum\":1}}", "a: a tag must be the only member of its object", false},
        {"{\"a\":{\"b\":{\"$sum\":1}}}", "a: a tag inside a value, which is replaced whole (--deep goes into objects)",
         false},
        {"{\"a\":[{\"$sum\":1}]}", "a: a tag inside an array", true},
        {"{\"a\":{\"$overwrite\":{\"b\":{\"$sum\":1}}}}", "a: a tag inside $overwrite", false},
        {"{\"a\":{\"$overwrite\":{\"b\":{\"$sum\":1}}}}", "b: a tag inside $overwrite", true},
        {"{\"a\":{\"$overwrite\":{\"$sum\":1}}}", "a: a tag inside $overwrite", true},
        {"{\"$sum\":1}", "$sum: a tag, where the name of a member must stand", false},
        {"[1]", "the data is no object", false},
        {"{\"a\":{\"$sum\":123456789012345678901234567890123456789}}", "a: $sum of a number with more than 38 digits",
         false},
        {"{\"a\":{\"$sum\":1e200000}}", "a: $sum of a number with more than 38 digits", false},
    };
    (void)unused;
    for (size_t i = 0; i < COUNT(bad); i++) {
        struct es_tagged state = {0};
        struct es_tagged_why why = {""};
        assert_int_equal(add(&state, bad[i].json, bad[i].deep, &why), ESDB_EINVALID);
        assert_string_equal(why.text, bad[i].why);
        assert_int_equal(state.count, 0);
        es_tagged_release(&state);
    }
}

static void test_numbers_are_exact(void **unused) {
    static const struct {
        const char *a, *b, *sum; /* NULL: refused */
    } sums[] = {
        {"0.1", "0.2", "0.3"},
        {"1.50", "1.5", "3"},
        {"-0", "0", "0"},
        {"-0.0", "0e5", "0"},
        {"9223372036854775807", "1", "9223372036854775808"},
        {"18446744073709551615", "18446744073709551615", "36893488147419103230"},
        {"-9223372036854775808", "-9223372036854775808", "-18446744073709551616"},
        {"9007199254740993", "0", "9007199254740993"},
        {"1e3", "1E-3", "1000.001"},
        {"1e10", "-9999999999", "1"},
        {"0.000001", "-0.000001", "0"},
        {"99999999999999999999999999999999999998", "1", "99999999999999999999999999999999999999"},
        {"99999999999999999999999999999999999999", "1", NULL},
        {"99999999999999999999999999999999999999", "99999999999999999999999999999999999999", NULL},
        {"-99999999999999999999999999999999999999", "-99999999999999999999999999999999999999", NULL},
        {"-99999999999999999999999999999999999999", "99999999999999999999999999999999999999", "0"},
        {"12345678901234567890123456789012345678e20", "1", NULL},
        {"98765432109876543210987654321098765432e1", "1", NULL},
        {"9876543210987654321098765432109876543e1", "2", "98765432109876543210987654321098765432"},
        {"1e37", "9e37", "100000000000000000000000000000000000000"},
        {"1e400", "1e400", "2e400"},
        {"4e100000", "5e100000", "9e100000"},
        {"5e100000", "5e100000", NULL}, /* 1e100001 could not be read again */
        {"-95e99999", "-5e99999", NULL},
        {"-95e99999", "5e99999", "-9e100000"},
        {"5e-100000", "5e-100000", "1e-99999"},
        {"1e400", "1", NULL},
        {"1e-400", "1e-400", "2e-400"},
        {"12345678901234567890.5", "0.5", "12345678901234567891"},
        {"100000000000000000000000000000000000000000000", "0", "1e44"},
        {"0.00000000000000000000000000000000000000001234", "0", "1234e-44"},
        {"-1.25", "1", "-0.25"},
        {"1.0000000000000000000000000000000000000000000", "2", "3"},
    };
    (void)unused;
    for (size_t i = 0; i < COUNT(sums); i++) {
        struct es_decimal a, b;
        char out[ES_DECIMAL_ROOM];
        assert_true(es_decimal_parse(text_of(sums[i].a), &a));
        assert_true(es_decimal_parse(text_of(sums[i].b), &b));
        bool fits = es_decimal_add(&a, &b);
        if (sums[i].sum && !fits)
            fail_msg("%s + %s", sums[i].a, sums[i].b);
        assert_int_equal(fits, sums[i].sum != NULL);
        if (fits) {
            out[es_decimal_print(&a, out)] = '\0';
            assert_string_equal(out, sums[i].sum);
        }
    }
}

/* ---- properties ---- */

static void put_value(char *out, size_t room, int depth) {
    static const char *const plain[] = {"1", "2.5", "null", "-3", "0.1", "7", "10000000000000000000000"};
    static const char *const odd[] = {"\"x\"", "true", "[1,2]", "{}", "{\"z\":1}"};
    char inside[512] = "";
    switch (test_below(depth > 0 ? 9 : 7)) {
    case 0:
    case 1:
        snprintf(out, room, "{\"$sum\":%s}", plain[test_below(2) ? 1 : 4]);
        break;
    case 2:
        snprintf(out, room, "{\"$sum\":%d}", (int)test_below(2000) - 1000);
        break;
    case 3:
        snprintf(out, room, "{\"$overwrite\":%s}",
                 test_below(4) ? plain[test_below(COUNT(plain))] : odd[test_below(COUNT(odd))]);
        break;
    case 4:
    case 5:
        snprintf(out, room, "%s", plain[test_below(COUNT(plain))]);
        break;
    case 6:
        snprintf(out, room, "%s", odd[test_below(COUNT(odd))]);
        break;
    default:
        put_value(inside, sizeof inside / 2, depth - 1);
        snprintf(out, room, "{\"k%u\":%s}", test_below(3), inside);
    }
}

static void put_event(char *out, size_t room, int depth) {
    size_t len = (size_t)snprintf(out, room, "{");
    uint32_t members = test_below(test_below(10) ? 4 : 30);
    for (uint32_t i = 0; i < members; i++) {
        char value[512];
        put_value(value, sizeof value, depth);
        len += (size_t)snprintf(out + len, room - len, "%s\"m%u\":%s", i ? "," : "", test_below(members > 4 ? 30 : 4),
                                value);
    }
    snprintf(out + len, room - len, "}");
}

/* Events one by one, and in random groups whose printed states are then put together (in groups again): the same state, with
 * tags and without. Events at fault are left out in both. */
static void test_groups_give_the_same(void **unused) {
    (void)unused;
    for (int round = 0; round < 3000; round++) {
        bool deep = test_below(2);
        struct es_tagged forward = {0}, merged = {0}, group = {0};
        struct es_tagged_why why;
        for (uint32_t n = test_below(30); n > 0; n--) {
            char event[16384];
            put_event(event, sizeof event, deep ? 2 : 0);
            int rc = add(&forward, event, deep, &why);
            assert_true(rc == 0 || rc == ESDB_EINVALID);
            if (rc == 0)
                assert_int_equal(add(&group, event, deep, &why), 0);
            if (n == 1 || test_below(4) == 0) {
                char *text = print(&group, false);
                if (add(&merged, text, deep, &why) != 0)
                    fail_msg("%s: %s", text, why.text);
                free(text);
                es_tagged_release(&group);
            }
        }
        for (int finalize = 0; finalize < 2; finalize++) {
            char *a = print(&forward, finalize), *b = print(&merged, finalize);
            assert_string_equal(a, b);
            free(a);
            free(b);
        }
        es_tagged_release(&forward);
        es_tagged_release(&merged);
        es_tagged_release(&group);
    }
}

/* Sums of random decimals against 128-bit integers of a fixed scale, in any grouping. */
static void test_random_sums(void **unused) {
    (void)unused;
    for (int round = 0; round < 20000; round++) {
        __int128 expected = 0; /* in units of 10^-6 */
        struct es_decimal sum = {0, 0}, wanted;
        char text[64], a[ES_DECIMAL_ROOM], b[ES_DECIMAL_ROOM];
        for (uint32_t n = test_below(8); n > 0; n--) {
            int64_t v = (int64_t)test_random() >> test_below(60);
            struct es_decimal d;
            snprintf(text, sizeof text, "%llde-6", (long long)v);
            assert_true(es_decimal_parse(text_of(text), &d));
            assert_true(es_decimal_add(&sum, &d));
            expected += v;
        }
        wanted = (struct es_decimal){expected, -6};
        a[es_decimal_print(&sum, a)] = '\0';
        b[es_decimal_print(&wanted, b)] = '\0';
        assert_string_equal(a, b);
    }
}

static int release_keys(void **unused) {
    (void)unused;
    es_keys_release(&keys);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_pair),
        cmocka_unit_test(test_deep_pairs),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_numbers_are_exact),
        cmocka_unit_test(test_groups_give_the_same),
        cmocka_unit_test(test_random_sums),
    };
    test_seed();
    return cmocka_run_group_tests(tests, NULL, release_keys);
}
