/* What errors say: a word for each code, the first cause kept, the system's words behind what an errno came with. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <errno.h>
#include <string.h>
#include <cmocka.h>

#include "libcore/error.h"
#include "libcore/esdb.h"

static void test_each_code_has_its_own_words(void **unused) {
    static const int codes[] = {0,
                                ESDB_END,
                                ESDB_EUSAGE,
                                ESDB_ECONFLICT,
                                ESDB_ENOTFOUND,
                                ESDB_ECORRUPT,
                                ESDB_EUNAVAILABLE,
                                ESDB_EDENIED,
                                ESDB_EINVALID,
                                ESDB_EUNKNOWN,
                                ESDB_EPOISONED,
                                -ENOSPC,
                                -EIO};
    (void)unused;
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        assert_true(strlen(esdb_strerror(codes[i])) > 3);
        for (size_t k = 0; k < i; k++)
            assert_string_not_equal(esdb_strerror(codes[i]), esdb_strerror(codes[k]));
    }
    assert_string_equal(esdb_strerror(-ENOSPC), strerror(ENOSPC));
}

static void test_the_first_cause_stays(void **unused) {
    struct esdb_error err = {0};
    (void)unused;
    assert_int_equal(es_fail_at(&err, ESDB_ECORRUPT, "log/0", 40, "frame %d", 3), ESDB_ECORRUPT);
    assert_int_equal(es_fail(&err, -EIO, "closing"), -EIO);
    assert_int_equal(err.code, ESDB_ECORRUPT);
    assert_int_equal(err.offset, 40);
    assert_string_equal(err.file, "log/0");
    assert_string_equal(err.text, "frame 3");
    assert_int_equal(es_fail(NULL, -EIO, "nobody listens"), -EIO);
}

static void test_what_the_system_says_follows(void **unused) {
    struct esdb_error err = {0};
    char wanted[200];
    (void)unused;
    es_fail(&err, -ENOSPC, "log/%s", "0");
    snprintf(wanted, sizeof wanted, "log/0: %s", strerror(ENOSPC));
    assert_string_equal(err.text, wanted);
}

static void test_files_that_are_refused(void **unused) {
    static const struct {
        int code, wanted;
        const char *text;
    } opened[] = {
        {-ELOOP, ESDB_EDENIED, "s/head: is a symbolic link, refused"},
        {-EXDEV, ESDB_EDENIED, "s/head: is a symbolic link, refused"},
        {-EMLINK, ESDB_EDENIED, "s/head: has more than one name, refused"},
        {-EINVAL, ESDB_EDENIED, "s/head: is not a regular file, refused"},
    };
    (void)unused;
    for (size_t i = 0; i < sizeof opened / sizeof *opened; i++) {
        struct esdb_error err = {0};
        assert_int_equal(es_fail_open(&err, opened[i].code, "s", "head"), opened[i].wanted);
        assert_string_equal(err.text, opened[i].text);
        assert_string_equal(err.file, "head");
    }
    assert_int_equal(es_fail_open(NULL, -ENOENT, "s", "head"), -ENOENT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_code_has_its_own_words),
        cmocka_unit_test(test_the_first_cause_stays),
        cmocka_unit_test(test_what_the_system_says_follows),
        cmocka_unit_test(test_files_that_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
