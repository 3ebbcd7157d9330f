/* Every system call of libcore fails once, in every scenario: whatever was acknowledged stays, nothing crashes or leaks,
 * errors say something, and afterwards the store works again. */
#include "tests/unit/store_fixture.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/fault_os.h"

enum { ATTEMPTS_MAX = 256 };
enum outcome { REFUSED, ACKNOWLEDGED, MAYBE };

/* One run of a scenario. Events are numbered; their data is the number. */
struct run {
    struct test_store s; /* s.db: a handle from before the fault, or NULL */
    enum outcome outcome[ATTEMPTS_MAX];
    int attempts;
    int failures; /* of calls */
    bool benign;  /* this fault must not be noticed */
    int error;
};

static char where[200]; /* what is being tried */

static int show_where(void **state) {
    (void)state;
    fault_remove();
    if (where[0])
        print_error("at: %s\n", where);
    where[0] = '\0';
    return 0;
}

/* Checks a code that a call gave while a fault may have fired. */
static int note(struct run *r, int rc, const struct esdb_error *err) {
    if (rc >= 0)
        return rc;
    r->failures++;
    if (r->benign)
        fail_msg("%s: failed: %s", where, err->text);
    if (err->text[0] == '\0' || err->code != rc)
        fail_msg("%s: code %d without a text (code %d in the error)", where, rc, err->code);
    return rc;
}

static int append_sized(struct run *r, esdb *db, const char *stream, size_t size) {
    struct esdb_error err = {0};
    struct esdb_receipt receipt;
    char *data = malloc(size + 16);
    assert_non_null(data);
    int n = snprintf(data, 16, "\"%d ", r->attempts), k = r->attempts++;
    assert_true(k < ATTEMPTS_MAX);
    memset(data + n, '.', size);
    memcpy(data + (size_t)n + size, "\"", 2);
    esdb_batch_clear(r->s.batch);
    test_add(r->s.batch, stream, "t", NULL, data);
    free(data);
    int rc = note(r, esdb_append(db, r->s.batch, 0, &receipt, &err), &err);
    r->outcome[k] = rc == 0 ? ACKNOWLEDGED : rc == ESDB_EUNKNOWN || rc == ESDB_EPOISONED ? MAYBE : REFUSED;
    return rc;
}

static esdb *open_store(struct run *r, unsigned flags) {
    struct esdb_error err = {0};
    esdb *db = NULL;
    return note(r, esdb_open(r->s.path, flags, &db, &err), &err) == 0 ? db : NULL;
}

/* ---- what must be true afterwards ---- */

/* all: everything that was acknowledged must be shown. */
static void check_events(struct run *r, esdb *db, bool all) {
    struct esdb_error err = {0};
    struct esdb_query q;
    struct esdb_event e;
    esdb_cursor *c;
    int seen = -1, acknowledged = 0, rc;
    uint64_t position = 0;
    esdb_query_init(&q);
    q.flags = ESDB_ALL;
    assert_done(esdb_cursor_open(db, &q, &c, &err), &err);
    while ((rc = esdb_cursor_next(c, &e, &err)) == 0) {
        int k = (int)strtol(e.data.at + 1, NULL, 10);
        if (k <= seen || k >= r->attempts || e.position != position++)
            fail_msg("%s: event %d after %d at position %" PRIu64, where, k, seen, e.position);
        if (r->outcome[k] == REFUSED)
            fail_msg("%s: event %d is there although nothing was written, they said", where, k);
        acknowledged += r->outcome[k] == ACKNOWLEDGED;
        seen = k;
    }
    esdb_cursor_close(c);
    if (rc != ESDB_END)
        fail_msg("%s: reading: %s", where, err.text);
    for (int k = 0; k < r->attempts; k++)
        acknowledged -= r->outcome[k] == ACKNOWLEDGED;
    if (acknowledged != 0 && all)
        fail_msg("%s: %d acknowledged events are lost", where, -acknowledged);
}

static void expect_works(struct run *r, esdb *db, const char *what) {
    r->benign = false;
    int rc = append_sized(r, db, "after", 10);
    if (rc == ESDB_EPOISONED) {
        struct esdb_error err = {0};
        rc = esdb_repair(r->s.path, &err);
        if (rc != 0)
            fail_msg("%s: repair: %s", where, err.text);
        rc = append_sized(r, db, "after", 10);
    }
    if (rc != 0)
        fail_msg("%s: %s does not append any more (%s)", where, what, esdb_strerror(rc));
}

/* Without a valid head (it was lost, and the fault prevents that it is made anew) a reader shows what is proven. */
static bool shows_all(esdb *db) {
    struct esdb_stat st;
    struct esdb_error err = {0};
    assert_done(esdb_stat(db, &st, &err), &err);
    assert_done(esdb_stat(db, &st, &err), &err);
    return st.head == ESDB_HEAD_VALID;
}

static void check_after(struct run *r) {
    esdb *db = test_open(r->s.path, ESDB_READ); /* a reader before anybody else */
    check_events(r, db, shows_all(db));
    esdb_close(db);
    db = test_open(r->s.path, ESDB_APPEND);
    expect_works(r, db, "a new handle");
    if (r->s.db)
        expect_works(r, r->s.db, "the old handle");
    check_events(r, db, true);
    esdb_close(db);
    if (r->s.db)
        check_events(r, r->s.db, true);
    test_verify_clean(r->s.path);
}

/* ---- templates: a store is built once and copied ---- */

static void copy_dir(const char *from, const char *to) {
    DIR *d = opendir(from);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        char a[TEST_PATH * 2], b[TEST_PATH * 2];
        struct stat st;
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        snprintf(a, sizeof a, "%s/%s", from, e->d_name);
        snprintf(b, sizeof b, "%s/%s", to, e->d_name);
        assert_int_equal(stat(a, &st), 0);
        if (S_ISDIR(st.st_mode)) {
            mkdir(b, 0755);
            copy_dir(a, b);
            continue;
        }
        size_t len;
        unsigned char *bytes = test_file_read(a, &len);
        test_file_write(b, bytes, len);
        chmod(b, st.st_mode & 07777);
        free(bytes);
    }
    closedir(d);
}

static struct run template; /* its store has ten segments */

static int make_template(void **state) {
    (void)state;
    test_store_open(&template.s, TEST_SMALL_SEGMENT);
    for (int i = 0; i < 28; i++)
        append_sized(&template, template.s.db, i % 2 ? "a" : "b", 19000);
    esdb_close(template.s.db);
    template.s.db = NULL;
    return 0;
}

static int remove_template(void **state) {
    (void)state;
    test_store_close(&template.s);
    return 0;
}

/* ---- scenarios ---- */

/* prepare: before the fault. act: while it may fire. check: instead of check_after. */
struct scenario {
    const char *name;
    void (*prepare)(struct run *r);
    void (*act)(struct run *r);
    void (*check)(struct run *r);
};

static void prepare_empty(struct run *r) {
    test_store_open(&r->s, TEST_SMALL_SEGMENT);
    esdb_close(r->s.db);
    r->s.db = NULL;
}

/* The template, with a handle that has appended to it. */
static void prepare_full(struct run *r) {
    *r = template;
    test_make_dir(r->s.path);
    copy_dir(template.s.path, r->s.path);
    assert_int_equal(esdb_batch_open(&r->s.batch), 0);
    r->s.db = test_open(r->s.path, ESDB_APPEND);
    assert_int_equal(append_sized(r, r->s.db, "a", 100), 0);
}

static void act_create(struct run *r) {
    struct esdb_settings settings = {.segment_size = TEST_SMALL_SEGMENT};
    struct esdb_error err = {0};
    note(r, esdb_create(r->s.path, &settings, &err), &err);
}

static void prepare_create(struct run *r) {
    test_make_dir(r->s.path);
    assert_int_equal(esdb_batch_open(&r->s.batch), 0);
}

static void check_create(struct run *r) {
    struct esdb_settings settings = {.segment_size = TEST_SMALL_SEGMENT};
    struct esdb_error err = {0};
    int rc = esdb_create(r->s.path, &settings, &err);
    if (rc != 0 && rc != -EEXIST)
        fail_msg("%s: creating it again: %s", where, err.text);
    if (r->failures == 0)
        assert_int_equal(rc, -EEXIST);
    check_after(r);
}

static void act_first_append(struct run *r) {
    esdb *db = open_store(r, ESDB_APPEND);
    if (db)
        append_sized(r, db, "a", 10);
    esdb_close(db);
}

static void act_appends(struct run *r) {
    esdb *db = open_store(r, ESDB_APPEND);
    for (int i = 0; i < 2; i++) {
        append_sized(r, r->s.db, "a", 10);
        if (db)
            append_sized(r, db, "b", 100);
    }
    esdb_close(db);
}

static void act_roll(struct run *r) {
    for (int i = 0; i < 4; i++)
        append_sized(r, r->s.db, i % 2 ? "a" : "b", 30000);
}

static void act_large_frame(struct run *r) {
    append_sized(r, r->s.db, "a", 200000); /* a barrier, a segment of its own */
    append_sized(r, r->s.db, "a", 10);
}

static void act_rebuild(struct run *r) {
    struct esdb_error err = {0};
    note(r, esdb_rebuild(r->s.db, &err), &err);
    append_sized(r, r->s.db, "a", 10);
}

static void prepare_zero_head(struct run *r) {
    prepare_full(r);
    struct fmt_head *h = test_head_map(&r->s);
    memset(h, 0, sizeof *h);
    test_head_unmap(h);
}

static void prepare_no_head(struct run *r) {
    char path[TEST_PATH];
    prepare_full(r);
    test_path(path, &r->s, "head");
    unlink(path);
    test_segment_file(path, &r->s, 1, "idx");
    unlink(path);
}

/* An unfinished append at the end, and its writer gone. */
static void prepare_torn(struct run *r) {
    uint64_t name[64];
    char path[TEST_PATH];
    prepare_full(r);
    struct fmt_head *h = test_head_map(&r->s);
    uint64_t end = h->appended_mark[h->appended_mark[0].index < h->appended_mark[1].index].end_offset;
    test_head_unmap(h);
    size_t count = test_segments(&r->s, name, 64);
    test_segment_file(path, &r->s, name[count - 1], "log");
    test_file_patch(path, end, "ESF1 half a frame", 17);
}

static void prepare_poisoned(struct run *r) {
    prepare_full(r);
    fault_install();
    fault_at(FAULT_FDATASYNC, 1, EIO);
    append_sized(r, r->s.db, "a", 10);
    fault_remove();
    r->failures = 0;
}

static void act_repair(struct run *r) {
    struct esdb_error err = {0};
    note(r, esdb_repair(r->s.path, &err), &err);
}

static void read_one_way(struct run *r, esdb *db, const struct esdb_query *q, size_t want) {
    struct esdb_error err = {0};
    struct esdb_event e;
    esdb_cursor *c;
    size_t n = 0;
    int rc = note(r, esdb_cursor_open(db, q, &c, &err), &err);
    if (rc < 0) {
        assert_int_not_equal(rc, ESDB_ECORRUPT);
        return;
    }
    while ((rc = esdb_cursor_next(c, &e, &err)) == 0) {
        int k = (int)strtol(e.data.at + 1, NULL, 10);
        assert_int_equal(k, (int)e.position);
        n++;
    }
    esdb_cursor_close(c);
    if (rc == ESDB_END && n != want && (n < want - 1 || shows_all(db)))
        fail_msg("%s: %zu events instead of %zu and no error", where, n, want);
    if (rc == ESDB_ECORRUPT)
        fail_msg("%s: is told to be damage: %s", where, err.text);
    if (rc != ESDB_END)
        note(r, rc, &err);
}

static void act_read(struct run *r) {
    struct esdb_text name = test_text("a");
    for (unsigned flags = 0; flags < 2; flags++) {
        esdb *db = open_store(r, flags ? ESDB_EXAMINE : ESDB_READ);
        if (!db)
            continue;
        for (int reverse = 0; reverse < 2; reverse++) {
            struct esdb_query q;
            esdb_query_init(&q);
            q.flags = ESDB_ALL | (reverse ? (unsigned)ESDB_REVERSE : 0);
            read_one_way(r, db, &q, 29);
            q.flags = ESDB_LITERAL | (reverse ? (unsigned)ESDB_REVERSE : 0);
            q.streams = &name;
            q.stream_count = 1;
            read_one_way(r, db, &q, 15);
        }
        esdb_close(db);
    }
}

static void act_list(struct run *r) {
    struct esdb_error err = {0};
    struct esdb_stream_list *l;
    struct esdb_stream_info info;
    struct esdb_stat st;
    esdb *db = open_store(r, ESDB_READ);
    if (!db)
        return;
    int n = 0, rc = note(r, esdb_stream_list_open(db, test_text(NULL), 0, &l, &err), &err);
    if (rc == 0) {
        while ((rc = esdb_stream_list_next(l, &info, &err)) == 0)
            n++;
        if (rc == ESDB_END)
            assert_int_equal(n, 2);
        else
            note(r, rc, &err);
        esdb_stream_list_close(l);
    }
    err = (struct esdb_error){0};
    rc = note(r, esdb_stream_info(db, test_text("a"), &info, &err), &err);
    assert_int_not_equal(rc, ESDB_ENOTFOUND);
    if (rc == 0)
        assert_int_equal(info.count, 15);
    err = (struct esdb_error){0};
    rc = note(r, esdb_stat(db, &st, &err), &err);
    if (rc == 0)
        assert_int_equal(st.end_position, 29);
    esdb_close(db);
}

static void act_verify(struct run *r) {
    struct esdb_error err = {0};
    struct esdb_verify_options o = {0};
    struct esdb_verify_result result = {0};
    esdb *db = open_store(r, ESDB_READ);
    if (!db)
        return;
    int rc = esdb_verify(db, &o, &result, &err);
    if (rc == ESDB_ECORRUPT || result.damaged > 0)
        fail_msg("%s: a failing call is told to be damage: %s", where, err.text);
    if (rc < 0)
        note(r, rc, &err);
    else
        assert_int_equal(result.events, 29);
    esdb_close(db);
}

static void act_follow(struct run *r) {
    struct esdb_error err = {0};
    struct esdb_query q;
    struct esdb_event e;
    esdb_cursor *c = NULL;
    esdb *db = open_store(r, ESDB_READ);
    if (!db)
        return;
    esdb_query_init(&q);
    q.flags = ESDB_ALL;
    q.from_position = 27;
    uint64_t next = 27;
    int rc = note(r, esdb_cursor_open(db, &q, &c, &err), &err);
    for (int i = 0; rc >= 0 && i < 6; i++) {
        if (i < 3)
            append_sized(r, r->s.db, "b", 30000);
        err = (struct esdb_error){0};
        while ((rc = esdb_cursor_next(c, &e, &err)) == 0)
            assert_int_equal(e.position, next++);
        if (rc == ESDB_END)
            rc = esdb_cursor_wait(c, 0, &err);
        note(r, rc, &err);
    }
    uint64_t end = 0;
    if (rc >= 0 && esdb_end_position(db, &end, NULL) == 0)
        assert_int_equal(next, end);
    esdb_cursor_close(c);
    esdb_close(db);
}

static const struct scenario scenarios[] = {
    {"create", prepare_create, act_create, check_create},
    {"first append", prepare_empty, act_first_append, check_after},
    {"append", prepare_full, act_appends, check_after},
    {"append after a torn one", prepare_torn, act_appends, check_after},
    {"append without head", prepare_no_head, act_appends, check_after},
    {"append with a zeroed head", prepare_zero_head, act_appends, check_after},
    {"roll over, seal, merge", prepare_full, act_roll, check_after},
    {"large frame", prepare_full, act_large_frame, check_after},
    {"rebuild", prepare_full, act_rebuild, check_after},
    {"repair", prepare_poisoned, act_repair, check_after},
    {"read", prepare_full, act_read, check_after},
    {"read without head and index", prepare_no_head, act_read, check_after},
    {"list", prepare_full, act_list, check_after},
    {"verify", prepare_full, act_verify, check_after},
    {"follow", prepare_full, act_follow, check_after},
};

/* ---- the loop ---- */

static unsigned faults;

enum manner { ONCE, UNNOTICED /* once, and nobody may notice */, LASTING /* from then on */ };

/* Runs the scenario with a fault at the nth call. False: there are not so many calls. */
static bool run_once(const struct scenario *sc, enum fault_call call, unsigned nth, int error, enum manner manner) {
    struct run r = {.error = error};
    snprintf(where, sizeof where, "%s: %s number %u%s gives %d", sc->name, fault_name[call], nth,
             manner == LASTING ? " and all after it" : "", error);
    int fds = test_count_fds();
    sc->prepare(&r);
    r.benign = manner == UNNOTICED;
    r.failures = 0;
    fault_install();
    (manner == LASTING ? fault_from : fault_at)(call, nth, error);
    sc->act(&r);
    bool fired = fault_fired();
    fault_remove();
    r.benign = false;
    sc->check(&r);
    test_store_close(&r.s);
    if (test_count_fds() != fds)
        fail_msg("%s: %d descriptors more than before", where, test_count_fds() - fds);
    faults += fired;
    return fired;
}

static void run_all(enum fault_call call, int error, enum manner manner) {
    for (size_t i = 0; i < sizeof scenarios / sizeof *scenarios; i++) {
        unsigned nth = 1;
        while (run_once(&scenarios[i], call, nth, error, manner))
            nth++;
    }
    where[0] = '\0';
}

#define FAULT_TEST(name, call, error, manner) \
    static void name(void **state) {          \
        (void)state;                          \
        run_all(call, error, manner);         \
    }

FAULT_TEST(open_fails_for_want_of_descriptors, FAULT_OPENAT, EMFILE, ONCE)
FAULT_TEST(open_fails_with_an_io_error, FAULT_OPENAT, EIO, ONCE)
FAULT_TEST(reading_fails, FAULT_PREAD, EIO, ONCE)
FAULT_TEST(reading_is_short, FAULT_PREAD, FAULT_SHORT, UNNOTICED)
FAULT_TEST(reading_is_interrupted, FAULT_PREAD, EINTR, UNNOTICED)
FAULT_TEST(writing_fails, FAULT_PWRITE, EIO, ONCE)
FAULT_TEST(writing_fails_half_way, FAULT_PWRITE, FAULT_HALF, ONCE)
FAULT_TEST(writing_finds_the_disk_full, FAULT_PWRITE, ENOSPC, ONCE)
FAULT_TEST(writing_is_short, FAULT_PWRITE, FAULT_SHORT, UNNOTICED)
FAULT_TEST(writing_is_interrupted, FAULT_PWRITE, EINTR, UNNOTICED)
FAULT_TEST(syncing_data_fails, FAULT_FDATASYNC, EIO, ONCE)
FAULT_TEST(syncing_data_is_interrupted, FAULT_FDATASYNC, EINTR, UNNOTICED)
FAULT_TEST(syncing_fails, FAULT_FSYNC, EIO, ONCE)
FAULT_TEST(syncing_finds_the_disk_full, FAULT_FSYNC, ENOSPC, ONCE)
FAULT_TEST(syncing_is_interrupted, FAULT_FSYNC, EINTR, UNNOTICED)
FAULT_TEST(truncating_fails, FAULT_FTRUNCATE, EIO, ONCE)
FAULT_TEST(allocating_finds_the_disk_full, FAULT_FALLOCATE, ENOSPC, ONCE)
FAULT_TEST(allocating_fails, FAULT_FALLOCATE, EIO, ONCE)
FAULT_TEST(allocating_is_not_supported, FAULT_FALLOCATE, EOPNOTSUPP, UNNOTICED)
FAULT_TEST(allocating_is_interrupted, FAULT_FALLOCATE, EINTR, UNNOTICED)
FAULT_TEST(renaming_fails, FAULT_RENAMEAT, EIO, ONCE)
FAULT_TEST(renaming_finds_the_disk_full, FAULT_RENAMEAT, ENOSPC, ONCE)
FAULT_TEST(removing_fails, FAULT_UNLINKAT, EIO, ONCE)
FAULT_TEST(making_a_folder_fails, FAULT_MKDIRAT, ENOSPC, ONCE)
FAULT_TEST(mapping_fails, FAULT_MMAP, ENOMEM, ONCE)
FAULT_TEST(descriptors_run_out, FAULT_OPENAT, EMFILE, LASTING)
FAULT_TEST(the_disk_can_no_more_be_read, FAULT_PREAD, EIO, LASTING)
FAULT_TEST(the_disk_can_no_more_be_written, FAULT_PWRITE, EIO, LASTING)
FAULT_TEST(the_disk_becomes_full_for_writing, FAULT_PWRITE, ENOSPC, LASTING)
FAULT_TEST(the_disk_becomes_full_for_allocating, FAULT_FALLOCATE, ENOSPC, LASTING)
FAULT_TEST(nothing_is_synced_any_more, FAULT_FSYNC, EIO, LASTING)
FAULT_TEST(no_data_is_synced_any_more, FAULT_FDATASYNC, EIO, LASTING)
FAULT_TEST(address_space_runs_out, FAULT_MMAP, ENOMEM, LASTING)

/* ---- syncs, in particular ---- */

/* After one failed sync nothing is acknowledged any more, by no handle, until the repair, however often it is tried. */
static void after_a_failed_sync_nothing_is_acknowledged_until_repair(void **state) {
    (void)state;
    for (int visible = 0; visible < 2; visible++) {
        struct run r = {0};
        struct esdb_error err = {0};
        prepare_full(&r);
        esdb *other = test_open(r.s.path, ESDB_APPEND);
        fault_install();
        fault_at(FAULT_FDATASYNC, 1, EIO);
        assert_int_equal(append_sized(&r, r.s.db, "a", 10), ESDB_EPOISONED);
        if (visible)
            fault_always(FAULT_FSYNC, EIO); /* the poison cannot be written down: head knows all the same */
        for (int i = 0; i < 3; i++) {
            assert_int_equal(append_sized(&r, r.s.db, "a", 10), ESDB_EPOISONED);
            assert_int_equal(append_sized(&r, other, "a", 10), ESDB_EPOISONED);
            esdb *fresh = test_open(r.s.path, ESDB_APPEND);
            assert_int_equal(append_sized(&r, fresh, "a", 10), ESDB_EPOISONED);
            esdb_close(fresh);
        }
        fault_remove();
        struct esdb_stat st;
        assert_done(esdb_stat(other, &st, &err), &err);
        assert_true(st.poisoned);
        check_events(&r, other, true); /* reading goes on */
        assert_done(esdb_repair(r.s.path, &err), &err);
        assert_int_equal(append_sized(&r, other, "a", 10), 0);
        esdb_close(other);
        check_after(&r);
        test_store_close(&r.s);
    }
}

/* All waiters of the group get the error. */
static void every_waiter_of_a_failed_sync_is_told(void **state) {
    (void)state;
    struct run r = {0};
    struct esdb_receipt receipt[3];
    prepare_full(&r);
    esdb *other = test_open(r.s.path, ESDB_APPEND);
    esdb_batch_clear(r.s.batch);
    test_add(r.s.batch, "w", "t", NULL, "1");
    for (int i = 0; i < 3; i++)
        assert_int_equal(esdb_append(i % 2 ? other : r.s.db, r.s.batch, ESDB_NO_WAIT, &receipt[i], NULL), 0);
    fault_install();
    fault_at(FAULT_FDATASYNC, 1, EIO);
    for (int i = 0; i < 3; i++) {
        struct esdb_error err = {0};
        assert_code(esdb_commit(i % 2 ? other : r.s.db, &receipt[i], &err), ESDB_EPOISONED, &err);
    }
    fault_remove();
    assert_int_equal(esdb_repair(r.s.path, NULL), 0);
    for (int i = 0; i < 3; i++) /* the log was made anew: nobody knows any more */
        assert_int_equal(esdb_commit(i % 2 ? other : r.s.db, &receipt[i], NULL), ESDB_EUNKNOWN);
    esdb_close(other);
    test_store_close(&r.s);
}

static int show_count(void **state) {
    print_message("%u faults\n", faults);
    return remove_template(state);
}

#define T(name) cmocka_unit_test_teardown(name, show_where)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(open_fails_for_want_of_descriptors),
        T(open_fails_with_an_io_error),
        T(reading_fails),
        T(reading_is_short),
        T(reading_is_interrupted),
        T(writing_fails),
        T(writing_fails_half_way),
        T(writing_finds_the_disk_full),
        T(writing_is_short),
        T(writing_is_interrupted),
        T(syncing_data_fails),
        T(syncing_data_is_interrupted),
        T(syncing_fails),
        T(syncing_finds_the_disk_full),
        T(syncing_is_interrupted),
        T(truncating_fails),
        T(allocating_finds_the_disk_full),
        T(allocating_fails),
        T(allocating_is_not_supported),
        T(allocating_is_interrupted),
        T(renaming_fails),
        T(renaming_finds_the_disk_full),
        T(removing_fails),
        T(making_a_folder_fails),
        T(mapping_fails),
        T(descriptors_run_out),
        T(the_disk_can_no_more_be_read),
        T(the_disk_can_no_more_be_written),
        T(the_disk_becomes_full_for_writing),
        T(the_disk_becomes_full_for_allocating),
        T(nothing_is_synced_any_more),
        T(no_data_is_synced_any_more),
        T(address_space_runs_out),
        T(after_a_failed_sync_nothing_is_acknowledged_until_repair),
        T(every_waiter_of_a_failed_sync_is_told),
    };
    return cmocka_run_group_tests(tests, make_template, show_count);
}
