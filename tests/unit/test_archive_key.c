/* Keys of archives: each stream has one for a range, each key one stream, and no key is a path that leads elsewhere. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "format/archive_key.h"

static bool parses(const char *key) {
    char name[FMT_STREAM_NAME_MAX];
    uint64_t from, to;
    size_t len;
    return fmt_archive_key_parse((struct fmt_text){key, strlen(key)}, name, &len, &from, &to);
}

/* What a name becomes, and back. */
static void comes_back(const char *name, size_t len, uint64_t from, uint64_t to, char key[FMT_ARCHIVE_KEY_ROOM]) {
    char again[FMT_STREAM_NAME_MAX];
    uint64_t first, last;
    size_t again_len, key_len = fmt_archive_key((struct fmt_text){name, len}, from, to, key);
    assert_true(key_len < FMT_ARCHIVE_KEY_ROOM);
    assert_int_equal(strlen(key), key_len);
    assert_true(fmt_archive_key_parse((struct fmt_text){key, key_len}, again, &again_len, &first, &last));
    assert_int_equal(again_len, len);
    assert_memory_equal(again, name, len);
    assert_true(first == from && last == to);
    for (const char *part = key; part; part = strchr(part, '/')) {
        part += *part == '/';
        assert_true(*part != '\0' && *part != '.' && *part != '/');
        assert_true(strcspn(part, "/") <= 255);
    }
}

static void names_come_back(void **state) {
    static const char *const names[] = {"a",  ".", "..",  "../x", "/",        "~",
                                        "a~", "%", "%41", "a b",  "\xc3\xa9", "0-9.archive"};
    char key[FMT_ARCHIVE_KEY_ROOM];
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        comes_back(names[i], strlen(names[i]), i, UINT64_MAX - i, key);
    comes_back("a/b \xc3\xa9", 6, 0, 99, key);
    assert_string_equal(key, "a%2Fb%20%C3%A9/0-99.archive");
}

static void long_names_are_divided(void **state) {
    char name[FMT_STREAM_NAME_MAX], key[FMT_ARCHIVE_KEY_ROOM];
    (void)state;
    for (size_t len = 1; len <= sizeof name; len++)
        for (const char *c = "a/."; *c; c++) {
            memset(name, *c, len);
            comes_back(name, len, 0, UINT64_MAX, key);
        }
    memset(name, 'a', sizeof name);
    comes_back(name, 201, 1, 2, key);
    assert_string_equal(key + 200, "~/a/1-2.archive");
}

static void what_is_spelt_otherwise_is_no_key(void **state) {
    static const char *const bad[] = {"",
                                      "/",
                                      "a",
                                      "a/",
                                      "/0-1.archive",
                                      "a/0-1",
                                      "a/0-1.archive/",
                                      "a/0-1.archives",
                                      "a/1-0.archive",
                                      "a/-1.archive",
                                      "a/0-.archive",
                                      "a/00-1.archive",
                                      "a/0-01.archive",
                                      "a/+0-1.archive",
                                      "a/0-18446744073709551616.archive",
                                      "../0-1.archive",
                                      "./0-1.archive",
                                      ".a/0-1.archive",
                                      "a/../0-1.archive",
                                      "a/b/0-1.archive",
                                      "a//0-1.archive",
                                      "a~/0-1.archive",
                                      "a~/b/0-1.archive",
                                      "~/a/0-1.archive",
                                      "%/0-1.archive",
                                      "%2/0-1.archive",
                                      "%2f/0-1.archive",
                                      "%41/0-1.archive",
                                      "%00/0-1.archive",
                                      "%FF/0-1.archive",
                                      "%C3/0-1.archive",
                                      "a b/0-1.archive",
                                      "\xc3\xa9/0-1.archive"};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (parses(bad[i]))
            fail_msg("%s is taken for a key", bad[i]);
    assert_true(parses("a/0-1.archive"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_come_back),
        cmocka_unit_test(long_names_are_divided),
        cmocka_unit_test(what_is_spelt_otherwise_is_no_key),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
