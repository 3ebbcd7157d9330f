/* Creating and opening stores; store.yaml. */
#include "tests/unit/store_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libcore/settings.h"
#include "libcore/store.h"

static const char good[] = "format: 1\nfeatures_optional: 0x0\nfeatures_required: 0x0\n"
                           "store_id: 01234567-89ab-4def-8123-456789abcdef\nincarnation: 0x12\ncreated_us: 5\n"
                           "segment_size: 65536\ndurability: fsync\nshared: no\n";

/* Writes store.yaml into an empty directory and loads it. */
static int load(const char *text, size_t len, struct es_settings *out, struct esdb_error *err) {
    char dir[TEST_PATH], path[TEST_PATH + 16];
    test_make_dir(dir);
    snprintf(path, sizeof path, "%s/store.yaml", dir);
    test_file_write(path, text, len);
    int fd = open(dir, O_RDONLY | O_DIRECTORY);
    memset(err, 0, sizeof *err);
    int rc = es_settings_load(fd, "store", out, err);
    close(fd);
    test_remove_dir(dir);
    return rc;
}

static void what_is_printed_is_read_back(void **state) {
    (void)state;
    for (int i = 0; i < 200; i++) {
        struct es_settings s = {0}, back;
        struct esdb_error err;
        char text[1024];
        s.version = 1;
        s.features_optional = test_random();
        s.incarnation = 1 + test_random() % FMT_WORD_MAX;
        s.created_us = test_random();
        s.user.segment_size = (64u << 10) + test_below(1u << 29);
        s.user.durability = test_below(2) ? ESDB_DURABLE : ESDB_NOT_DURABLE;
        s.user.shared_group = test_below(2);
        for (int k = 0; k < 16; k++)
            s.user.store_id[k] = (unsigned char)test_random();
        size_t len = es_settings_print(&s, text, sizeof text);
        assert_int_equal(len, strlen(text));
        assert_done(load(text, len, &back, &err), &err);
        assert_memory_equal(back.user.store_id, s.user.store_id, 16);
        assert_int_equal(back.incarnation, s.incarnation);
        assert_int_equal(back.created_us, s.created_us);
        assert_int_equal(back.features_optional, s.features_optional);
        assert_int_equal(back.user.segment_size, s.user.segment_size);
        assert_int_equal(back.user.durability, s.user.durability);
        assert_int_equal(back.user.shared_group, s.user.shared_group);
        assert_int_equal(es_settings_print(&s, text, len), 0); /* no room for the zero */
    }
}

/* The good text with `from` replaced by `to`. */
static int load_with(const char *from, const char *to, struct esdb_error *err) {
    char text[1024];
    struct es_settings s;
    const char *at = strstr(good, from);
    assert_non_null(at);
    int n = snprintf(text, sizeof text, "%.*s%s%s", (int)(at - good), good, to, at + strlen(from));
    return load(text, (size_t)n, &s, err);
}

static void wrong_settings_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *from, *to, *text;
    } cases[] = {
        {"format: 1", "format: 2", "store: the store has format 2 (features 0x0), this esdb knows format 1 only"},
        {"format: 1", "format: 99999999999", "format 4294967295"},
        {"features_required: 0x0", "features_required: 0x4", "(features 0x4)"},
        {"format: 1\n", "", "a setting is missing or out of range"},
        {"incarnation: 0x12", "incarnation: 0", "a setting is missing or out of range"},
        {"segment_size: 65536", "segment_size: 65535", "a setting is missing or out of range"},
        {"segment_size: 65536", "segment_size: 1073741825", "a setting is missing or out of range"},
        {"segment_size: 65536", "segment_size: -5", "store/store.yaml, line 7: a setting has a value that cannot be"},
        {"segment_size: 65536", "segment_size: 99999999999999999999999", "a setting has a value that cannot be"},
        {"segment_size: 65536", "segment_size: 65536x", "a setting has a value that cannot be"},
        {"durability: fsync", "durability: maybe", "a setting has a value that cannot be"},
        {"shared: no", "shared: all", "a setting has a value that cannot be"},
        {"-8123-", "-812-", "a setting has a value that cannot be"},
        {"456789abcdef", "456789abcdeg", "a setting has a value that cannot be"},
        {"shared: no", "shared: [no]", "a setting is not a plain value"},
        {"shared: no", "shared: {a: no}", "a setting is not a plain value"},
        {"shared: no", "shared: &a no", "something other than plain settings"},
        {"shared: no", "shared: !!str no", "something other than plain settings"},
        {"shared: no", "shared: *a", "a setting is not a plain value"},
        {"shared: no", "shared: \"no", "not YAML"},
        {"format: 1", "\x01", "not YAML"},
        {good, "", "a setting is missing or out of range"},
        {good, "just text", "something other than plain settings"},
        {good, "[]", "a setting is not a plain value"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct esdb_error err;
        assert_code(load_with(cases[i].from, cases[i].to, &err), ESDB_EUSAGE, &err);
        if (!strstr(err.text, cases[i].text))
            fail_msg("case %zu: '%s' does not say '%s'", i, err.text, cases[i].text);
    }
    struct esdb_error err;
    assert_done(load_with("shared: no", "shared: no\nof_a_later_version: 7", &err), &err);
    assert_done(load_with("shared: no", "shared: no # a remark", &err), &err);
}

static void a_file_that_is_too_large_is_refused(void **state) {
    (void)state;
    size_t len = 70000;
    char *text = malloc(len);
    struct esdb_error err;
    struct es_settings s;
    assert_non_null(text);
    memset(text, '\n', len);
    memcpy(text, good, sizeof good - 1);
    assert_code(load(text, len, &s, &err), ESDB_EUSAGE, &err);
    assert_true(err.text[0]);
    free(text);
}

static void damaged_text_never_crashes(void **state) {
    (void)state;
    for (int i = 0; i < 2000; i++) {
        char text[sizeof good];
        struct esdb_error err;
        struct es_settings s;
        memcpy(text, good, sizeof good);
        for (uint32_t k = 1 + test_below(3); k > 0; k--)
            text[test_below(sizeof good - 1)] = (char)test_random();
        int rc = load(text, test_below(5) ? sizeof good - 1 : test_below(sizeof good), &s, &err);
        assert_true(rc == 0 || (rc == ESDB_EUSAGE && err.text[0]));
    }
}

static void uuids_are_read_and_printed(void **state) {
    (void)state;
    unsigned char id[16], back[16];
    char text[37];
    for (int i = 0; i < 16; i++)
        id[i] = (unsigned char)(i * 16 + 15 - i);
    es_uuid_print(id, text);
    assert_string_equal(text, "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0");
    assert_true(es_uuid_parse(text, back));
    assert_memory_equal(id, back, 16);
    assert_true(es_uuid_parse("0F1E2D3C-4B5A-6978-8796-A5B4C3D2E1F0", back));
    static const char *const bad[] = {"",
                                      "0f1e2d3c",
                                      "0f1e2d3c4-b5a-6978-8796-a5b4c3d2e1f0",
                                      "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f",
                                      "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f00",
                                      "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1-0",
                                      "+f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0",
                                      " f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0",
                                      "------------------------------------"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(es_uuid_parse(bad[i], back));
}

/* ---- esdb_create, esdb_open ---- */

static void expect_open_fails(const char *path, unsigned flags, int code, const char *text) {
    struct esdb_error err = {0};
    esdb *db = NULL;
    assert_code(esdb_open(path, flags, &db, &err), code, &err);
    assert_null(db);
    assert_non_null(strstr(err.text, text));
}

static void what_is_no_store_is_refused(void **state) {
    (void)state;
    char dir[TEST_PATH], path[TEST_PATH + 16];
    test_make_dir(dir);
    expect_open_fails(dir, ESDB_READ, ESDB_EUSAGE, ": not an esdb store (it has no store.yaml)");
    snprintf(path, sizeof path, "%s/none", dir);
    expect_open_fails(path, ESDB_APPEND, ESDB_EUSAGE, ": there is no such store (esdb-init makes one)");
    assert_int_not_equal(access(path, F_OK), 0);
    test_file_write(path, "x", 1);
    expect_open_fails(path, ESDB_APPEND, ESDB_EUSAGE, ": not an esdb store (not a directory)");
    test_remove_dir(dir);
}

static void a_store_is_created_once(void **state) {
    (void)state;
    struct esdb_settings settings = {.segment_size = 65535};
    struct esdb_error err = {0};
    char dir[TEST_PATH], path[TEST_PATH + 16];
    test_make_dir(dir);
    assert_code(esdb_create(dir, &settings, &err), ESDB_EUSAGE, &err);
    assert_string_equal(err.text, "segment size must be between 65536 and 1073741824 bytes");
    settings.segment_size = 0;
    snprintf(path, sizeof path, "%s/a", dir);
    memset(&err, 0, sizeof err);
    assert_done(esdb_create(path, &settings, &err), &err);
    assert_code(esdb_create(path, &settings, &err), -EEXIST, &err);
    assert_non_null(strstr(err.text, "is an esdb store already"));
    memset(&err, 0, sizeof err);
    assert_code(esdb_create(dir, &settings, &err), -EEXIST, &err);
    assert_non_null(strstr(err.text, "the directory is not empty"));
    esdb *db = test_open(path, ESDB_READ);
    struct esdb_settings got;
    static const unsigned char none[16];
    esdb_get_settings(db, &got);
    assert_int_equal(got.segment_size, 128u << 20);
    assert_memory_not_equal(got.store_id, none, 16);
    assert_string_equal(esdb_path(db), path);
    esdb_close(db);
    test_remove_dir(dir);
}

/* Many processes at once: one makes it, the others are told so, and it is whole. */
static void one_of_many_creators_wins(void **state) {
    (void)state;
    for (int round = 0; round < 10; round++) {
        char dir[TEST_PATH], path[TEST_PATH + 16];
        test_make_dir(dir);
        snprintf(path, sizeof path, "%s/a", dir);
        enum { CREATORS = 8 };
        for (int i = 0; i < CREATORS; i++)
            if (fork() == 0) {
                struct esdb_settings settings = {.segment_size = TEST_SMALL_SEGMENT};
                int rc = esdb_create(path, &settings, NULL);
                _exit(rc == 0 ? 0 : rc == -EEXIST ? 1 : 2);
            }
        int won = 0, status;
        for (int i = 0; i < CREATORS; i++) {
            assert_true(wait(&status) > 0);
            assert_true(WIFEXITED(status) && WEXITSTATUS(status) <= 1);
            won += WEXITSTATUS(status) == 0;
        }
        assert_int_equal(won, 1);
        test_verify_clean(path);
        test_remove_dir(dir);
    }
}

/* One that waits for another creator, who dies before there is a store.yaml, makes it itself. */
static void a_creator_waits_for_another(void **state) {
    (void)state;
    char dir[TEST_PATH], path[TEST_PATH + 16], lock[TEST_PATH + 32];
    struct flock append = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = ES_LOCK_APPEND, .l_len = 1};
    test_make_dir(dir);
    snprintf(path, sizeof path, "%s/a", dir);
    snprintf(lock, sizeof lock, "%s/lock", path);
    assert_int_equal(mkdir(path, 0700), 0);
    int fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600), status;
    assert_int_equal(fcntl(fd, F_OFD_SETLK, &append), 0);
    pid_t child = fork();
    if (child == 0) {
        struct esdb_settings settings = {.segment_size = TEST_SMALL_SEGMENT};
        close(fd); /* the lock is the open file's, which the parent has too */
        _exit(esdb_create(path, &settings, NULL) == 0 ? 0 : 1);
    }
    usleep(300000); /* longer than a waiter goes without a look around */
    close(fd);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    test_verify_clean(path);
    test_remove_dir(dir);
}

static void unsafe_stores_are_refused(void **state) {
    (void)state;
    struct test_store s;
    char path[TEST_PATH], other[TEST_PATH];
    test_store_open(&s, TEST_SMALL_SEGMENT);
    test_append(&s, "a", "1");
    assert_int_equal(chmod(s.path, 0777), 0);
    expect_open_fails(s.path, ESDB_READ, ESDB_EDENIED, "is writable for everybody, refused (chmod o-w)");
    assert_int_equal(chmod(s.path, 0755), 0);
    test_segment_file(path, &s, 1, "log"); /* a segment that is a link, or has two names */
    test_path(other, &s, "elsewhere");
    assert_int_equal(rename(path, other), 0);
    assert_int_equal(symlink(other, path), 0);
    struct esdb_query q;
    int rc;
    esdb_query_init(&q);
    q.flags = ESDB_ALL;
    esdb *db = test_open(s.path, ESDB_READ);
    test_count(db, &q, &rc);
    assert_int_equal(rc, ESDB_EDENIED);
    esdb_close(db);
    unlink(path);
    assert_int_equal(link(other, path), 0);
    db = test_open(s.path, ESDB_APPEND);
    struct esdb_error err = {0};
    struct esdb_receipt r;
    esdb_batch_clear(s.batch);
    test_add(s.batch, "a", "t", NULL, "1");
    assert_code(esdb_append(db, s.batch, 0, &r, &err), ESDB_EDENIED, &err);
    assert_non_null(strstr(err.text, "has more than one name, refused"));
    assert_int_equal(test_count(db, &q, &rc), 1); /* a backup may link sealed segments: reading is allowed */
    esdb_close(db);
    unlink(other);
    test_store_close(&s);
}

static void new_files_get_the_directorys_mode(void **state) {
    (void)state;
    struct test_store s;
    char path[TEST_PATH];
    struct stat st;
    struct esdb_error err = {0};
    struct esdb_settings settings = {.segment_size = TEST_SMALL_SEGMENT, .shared_group = true};
    test_store_open(&s, 0);
    esdb_close(s.db);
    test_remove_dir(s.path);
    mode_t was = umask(077);
    assert_done(esdb_create(s.path, &settings, &err), &err);
    s.db = test_open(s.path, ESDB_APPEND);
    test_append(&s, "a", "1");
    umask(was);
    static const char *const files[] = {"head", "lock", "store.yaml", "log/0000000000000001.log"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        test_path(path, &s, files[i]);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 0666, 0660);
    }
    assert_int_equal(stat(s.path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 02770);
    test_store_close(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_printed_is_read_back),
        cmocka_unit_test(wrong_settings_are_refused),
        cmocka_unit_test(a_file_that_is_too_large_is_refused),
        cmocka_unit_test(damaged_text_never_crashes),
        cmocka_unit_test(uuids_are_read_and_printed),
        cmocka_unit_test(what_is_no_store_is_refused),
        cmocka_unit_test(a_store_is_created_once),
        cmocka_unit_test(one_of_many_creators_wins),
        cmocka_unit_test(a_creator_waits_for_another),
        cmocka_unit_test(unsafe_stores_are_refused),
        cmocka_unit_test(new_files_get_the_directorys_mode),
    };
    test_seed();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
