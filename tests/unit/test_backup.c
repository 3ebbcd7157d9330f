/* The manifest of a backup, the tar writer, and the directory that appears whole. */
#include "tests/unit/store_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libcore/backup_files.h"
#include "libcore/backup_manifest.h"
#include "libcore/new_directory.h"
#include "libcore/store.h"
#include "libcore/tar.h"

static void fill_manifest(struct es_backup_manifest *m, size_t segments) {
    *m = (struct es_backup_manifest){.incarnation = 1 + test_random() % FMT_WORD_MAX,
                                     .made_us = test_random(),
                                     .end_index = test_random(),
                                     .end_position = test_random(),
                                     .last_epoch_us = test_random(),
                                     .end_checksum = test_random()};
    for (int i = 0; i < 16; i++)
        m->store_id[i] = (unsigned char)test_random();
    for (size_t i = 0; i < segments; i++) {
        struct es_backup_segment s = {1 + i * 100 + test_below(99), test_random(), test_random(), test_random(),
                                      test_random()};
        assert_int_equal(es_buffer_add(&m->segments, &s, sizeof s), 0);
    }
}

static void a_manifest_is_read_back(void **state) {
    (void)state;
    for (size_t n = 1; n < 60; n += 7) {
        struct es_backup_manifest m, back;
        struct es_buffer text = {0};
        fill_manifest(&m, n);
        assert_int_equal(es_manifest_print(&m, &text), 0);
        assert_null(es_manifest_parse((const char *)text.at, text.len, &back));
        assert_memory_equal(back.store_id, m.store_id, 16);
        assert_int_equal(back.incarnation, m.incarnation);
        assert_int_equal(back.made_us, m.made_us);
        assert_int_equal(back.end_index, m.end_index);
        assert_int_equal(back.end_position, m.end_position);
        assert_int_equal(back.last_epoch_us, m.last_epoch_us);
        assert_int_equal(back.end_checksum, m.end_checksum);
        assert_int_equal(back.segments.len, m.segments.len);
        assert_memory_equal(back.segments.at, m.segments.at, m.segments.len);
        for (size_t i = 0; i < n; i++)
            assert_ptr_equal(es_manifest_find(&back, es_manifest_segment(&m, i)->name), es_manifest_segment(&back, i));
        assert_null(es_manifest_find(&back, 1 + n * 100));
        es_manifest_release(&back);
        es_manifest_release(&m);
        es_buffer_release(&text);
    }
}

static void every_damaged_manifest_is_refused(void **state) {
    (void)state;
    struct es_backup_manifest m, back;
    struct es_buffer text = {0};
    fill_manifest(&m, 5);
    assert_int_equal(es_manifest_print(&m, &text), 0);
    for (size_t len = 0; len < text.len; len++)
        assert_non_null(es_manifest_parse((const char *)text.at, len, &back));
    for (size_t i = 0; i < text.len; i++)
        for (unsigned bit = 1; bit < 256; bit <<= 1) {
            unsigned char was = text.at[i];
            text.at[i] = (unsigned char)(was ^ bit);
            const char *wrong = es_manifest_parse((const char *)text.at, text.len, &back);
            if (!wrong) { /* the digest's last digits, in capitals */
                assert_true(bit == 0x20 && i + 17 >= text.len);
                es_manifest_release(&back);
            }
            text.at[i] = was;
        }
    assert_int_equal(es_buffer_add(&text, "#\n", 2), 0);
    assert_non_null(es_manifest_parse((const char *)text.at, text.len, &back)); /* nothing may follow */
    es_manifest_release(&m);
    es_buffer_release(&text);
}

static int collect(void *context, const void *bytes, size_t len) {
    return es_buffer_add(context, bytes, len);
}

static void an_archive_has_whole_blocks_and_right_sums(void **state) {
    (void)state;
    static const size_t sizes[] = {0, 1, 511, 512, 513, 4096};
    struct es_buffer out = {0};
    unsigned char bytes[4096];
    struct es_tar t = {.write = collect, .context = &out};
    memset(bytes, 0xa5, sizeof bytes);
    assert_int_equal(es_tar_directory(&t, "d/", 0755, 1), 0);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        size_t begin = out.len;
        assert_int_equal(es_tar_file(&t, "d/file", 0440, 1700000000, sizes[i]), 0);
        for (size_t at = 0; at < sizes[i]; at += 100)
            assert_int_equal(es_tar_bytes(&t, bytes, sizes[i] - at < 100 ? sizes[i] - at : 100), 0);
        assert_int_equal(out.len - begin, 512 + (sizes[i] + 511) / 512 * 512);
        const unsigned char *h = out.at + begin;
        unsigned sum = 8 * ' ', want = 0;
        for (int k = 0; k < 512; k++)
            sum += k >= 148 && k < 156 ? 0 : h[k];
        assert_int_equal(sscanf((const char *)h + 148, "%o", &want), 1);
        assert_int_equal(sum, want);
        assert_int_equal(sscanf((const char *)h + 124, "%o", &want), 1);
        assert_int_equal(want, sizes[i]);
        assert_string_equal((const char *)h + 257, "ustar");
    }
    assert_int_equal(es_tar_end(&t), 0);
    assert_int_equal(out.len % 512, 0);
    es_buffer_release(&out);
}

static void put(int dir, const char *name) {
    int fd = openat(dir, name, O_WRONLY | O_CREAT, 0600);
    assert_true(fd >= 0);
    close(fd);
}

static void a_directory_appears_whole_or_is_exchanged(void **state) {
    (void)state;
    char dir[TEST_PATH], path[TEST_PATH + 16], file[TEST_PATH + 32];
    struct es_new_directory n;
    struct esdb_error err = {0};
    struct stat st;
    test_make_dir(dir);
    snprintf(path, sizeof path, "%s/made", dir);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(es_new_directory_begin(&n, path, 0, &err), 0);
        int before = es_new_directory_existing(&n, &err);
        assert_true(i == 0 ? before == -ENOENT : before >= 0);
        if (before >= 0)
            close(before);
        int folder = es_new_directory_folder(&n, "log");
        put(folder, i == 0 ? "one" : "two");
        put(folder, ".hidden");
        close(folder);
        snprintf(file, sizeof file, "%s/log/two", path);
        assert_int_equal(stat(file, &st), i < 2 ? -1 : 0);
        struct es_new_directory other; /* while one is at work nobody else is */
        struct esdb_error why = {0};
        assert_int_equal(es_new_directory_begin(&other, path, 0, &why), ESDB_EUNAVAILABLE);
        es_new_directory_abort(&other);
        if (i == 1) { /* given up: as before */
            es_new_directory_abort(&n);
            assert_int_equal(stat(file, &st), -1);
            assert_int_equal(es_new_directory_begin(&n, path, 0, &err), 0);
            put(folder = es_new_directory_folder(&n, "log"), "two");
            close(folder);
        }
        assert_int_equal(es_new_directory_commit(&n, i > 0, &err), 0);
        assert_int_equal(stat(file, &st), i == 0 ? -1 : 0);
    }
    snprintf(file, sizeof file, "%s/.made.esdb-new", dir);
    assert_int_equal(stat(file, &st), -1);
    assert_int_equal(err.code, 0);
    test_remove_dir(dir);
}

/* Compaction may put another file in the place of a segment whose descriptor was closed, because too many were open. */
static void a_segment_is_copied_as_it_was_opened(void **state) {
    (void)state;
    struct test_store s;
    struct es_segment *seg;
    struct esdb_error err = {0};
    char dir[TEST_PATH], file[TEST_PATH], beside[TEST_PATH + 8], made[TEST_PATH + 8];
    size_t len, copied;
    int out;
    test_store_open(&s, TEST_SMALL_SEGMENT);
    test_append(&s, "a", "1");
    test_make_dir(dir);
    test_segment_file(file, &s, 1, "log");
    unsigned char *was = test_file_read(file, &len);
    esdb *db = test_open(s.path, ESDB_READ);
    assert_done(es_segment_get(db, 1, &seg, &err), &err);
    close(seg->fd);
    seg->fd = -1;
    db->segment_files--;
    snprintf(beside, sizeof beside, "%s.other", file);
    test_file_write(beside, "other", 5);
    assert_int_equal(rename(beside, file), 0);
    int to = open(dir, O_RDONLY | O_DIRECTORY);
    assert_done(es_copy_segment(db, seg, 200, to, "made", &out, &err), &err);
    close(out);
    close(to);
    snprintf(made, sizeof made, "%s/made", dir);
    unsigned char *is = test_file_read(made, &copied);
    assert_int_equal(copied, 200);
    assert_memory_equal(is, was, 200);
    free(is);
    free(was);
    esdb_close(db);
    test_store_close(&s);
    test_remove_dir(dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_manifest_is_read_back),
        cmocka_unit_test(every_damaged_manifest_is_refused),
        cmocka_unit_test(an_archive_has_whole_blocks_and_right_sums),
        cmocka_unit_test(a_directory_appears_whole_or_is_exchanged),
        cmocka_unit_test(a_segment_is_copied_as_it_was_opened),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
