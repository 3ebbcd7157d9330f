/* Names and patterns. */
#include "tests/unit/store_fixture.h"

#include "libcore/pattern.h"

static bool match(const char *pattern, const char *text) {
    return esdb_pattern_match(test_text(pattern), test_text(text));
}

static void a_star_is_any_characters(void **state) {
    (void)state;
    assert_true(match("*", ""));
    assert_true(match("*", "anything"));
    assert_true(match("**", "x"));
    assert_true(match("order-*", "order-"));
    assert_true(match("order-*", "order-12"));
    assert_false(match("order-*", "order"));
    assert_false(match("order-*", "an order-1"));
    assert_true(match("*-1", "order-1"));
    assert_false(match("*-1", "order-11x"));
    assert_true(match("*-1", "order-1-1"));
    assert_true(match("a*b*c", "axxbyyc"));
    assert_true(match("a*b*c", "abcbc"));
    assert_false(match("a*b*c", "acb"));
    assert_true(match("*\xc3\xa4*", "h\xc3\xa4user"));
    assert_false(match("", "x"));
    assert_true(match("", ""));
}

static void a_question_mark_is_one_character(void **state) {
    (void)state;
    assert_true(match("?", "a"));
    assert_false(match("?", ""));
    assert_false(match("?", "ab"));
    assert_true(match("?", "\xc3\xa4"));
    assert_true(match("?", "\xe2\x82\xac"));
    assert_true(match("?", "\xf0\x9f\x98\x80"));
    assert_false(match("??", "\xf0\x9f\x98\x80"));
    assert_true(match("??", "\xc3\xa4\xc3\xa4"));
    assert_true(match("a?c*?", "a\xc3\xa4"
                               "c\xe2\x82\xac"));
    assert_false(match("a?c*?", "abc"));
    assert_true(match("*?", "x"));
    assert_false(match("*?", ""));
    assert_true(match("*?b", "\xc3\xa4"
                             "b"));
}

static void a_backslash_takes_the_meaning_away(void **state) {
    (void)state;
    assert_true(match("\\*", "*"));
    assert_false(match("\\*", "a"));
    assert_true(match("a\\?", "a?"));
    assert_false(match("a\\?", "ab"));
    assert_true(match("\\\\", "\\"));
    assert_true(match("\\a", "a"));
    assert_true(match("a\\", "a\\")); /* nothing follows: it is itself */
    assert_true(match("*\\**", "x*y"));
    assert_false(match("*\\**", "xy"));
}

static void the_whole_text_is_compared(void **state) {
    (void)state;
    assert_false(match("a", "ab"));
    assert_false(match("ab", "a"));
    assert_false(match("order", "order\n"));
    assert_false(match("order-?", "order-1\n"));
    assert_true(match("order-*", "order-1\n"));
    assert_false(match("a[bc]", "ab"));
    assert_true(match("a[bc]", "a[bc]"));
    assert_false(match("A", "a"));
    assert_true(esdb_pattern_match((struct esdb_text){"a\0b", 3}, (struct esdb_text){"a\0b", 3}));
    assert_false(esdb_pattern_match((struct esdb_text){"a\0b", 3}, (struct esdb_text){"a\0c", 3}));
}

static void hostile_patterns_are_fast(void **state) {
    (void)state;
    char pattern[512], text[256];
    memset(text, 'a', 255);
    text[255] = '\0';
    for (size_t i = 0; i < 510; i += 2)
        pattern[i] = '*', pattern[i + 1] = 'a';
    pattern[508] = '*';
    pattern[509] = 'b';
    pattern[510] = '\0';
    uint64_t begin = es_monotonic_ms();
    for (int i = 0; i < 1000; i++) {
        assert_false(match(pattern, text));
        assert_false(match("*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b", text));
        assert_false(match("*a?a?a?a?a?a?a?a?a?a?b*a?a?a?c", text));
    }
    assert_true(es_monotonic_ms() - begin < 2000);
}

static void a_name_without_wildcards_is_a_literal(void **state) {
    (void)state;
    static const struct {
        const char *pattern;
        bool literal;
        const char *text;
    } cases[] = {
        {"order-1", true, "order-1"}, {"a*", false, "a*"}, {"a\\*", true, "a*"}, {"a\\?b\\\\", true, "a?b\\"},
        {"a\\", true, "a\\"},         {"?", false, "?"},   {"", true, ""},       {"\\**", false, "\\**"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct es_pattern p;
        assert_int_equal(es_pattern_init(&p, test_text(cases[i].pattern), false), 0);
        assert_int_equal(p.literal, cases[i].literal);
        assert_int_equal(p.len, strlen(cases[i].text));
        assert_memory_equal(p.text, cases[i].text, p.len);
        if (p.literal)
            assert_true(es_pattern_matches(&p, test_text(cases[i].text)));
        es_pattern_release(&p);
        assert_int_equal(es_pattern_init(&p, test_text(cases[i].pattern), true), 0);
        assert_true(p.literal);
        assert_true(es_pattern_matches(&p, test_text(cases[i].pattern)));
        es_pattern_release(&p);
    }
}

/* Against plain backtracking, over a small alphabet. */
static bool plain(const char *p, const char *t) {
    if (*p == '\0')
        return *t == '\0';
    if (*p == '*')
        return plain(p + 1, t) || (*t && plain(p, t + 1));
    if (*p == '?')
        return *t && plain(p + 1, t + 1);
    if (*p == '\\' && p[1])
        p++;
    return *p == *t && plain(p + 1, t + 1);
}

static void random_patterns_match_as_backtracking_does(void **state) {
    (void)state;
    size_t matches = 0;
    for (int i = 0; i < 200000; i++) {
        char p[10] = "", t[10] = "";
        for (uint32_t k = 0, n = test_below(8); k < n; k++)
            p[k] = "ab*?\\*ab"[test_below(8)];
        for (uint32_t k = 0, n = test_below(9); k < n; k++)
            t[k] = "abab*?\\a"[test_below(8)];
        bool want = plain(p, t);
        if (match(p, t) != want)
            fail_msg("pattern '%s', text '%s': should be %d", p, t, want);
        matches += want;
    }
    assert_true(matches > 5000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_star_is_any_characters),
        cmocka_unit_test(a_question_mark_is_one_character),
        cmocka_unit_test(a_backslash_takes_the_meaning_away),
        cmocka_unit_test(the_whole_text_is_compared),
        cmocka_unit_test(hostile_patterns_are_fast),
        cmocka_unit_test(a_name_without_wildcards_is_a_literal),
        cmocka_unit_test(random_patterns_match_as_backtracking_does),
    };
    test_seed();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
