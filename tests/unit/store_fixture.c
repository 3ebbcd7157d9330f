#include "store_fixture.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* ---- chance ---- */

static uint64_t random_state = 1;

void test_seed(void) {
    const char *seed = getenv("SEED");
    random_state = seed ? strtoull(seed, NULL, 10) : (uint64_t)time(NULL) * 2654435761u + (uint64_t)getpid();
    print_message("SEED=%" PRIu64 "\n", random_state);
}

uint64_t test_random(void) { /* splitmix64 */
    uint64_t z = random_state += 0x9e3779b97f4a7c15ull;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

uint32_t test_below(uint32_t n) {
    return (uint32_t)(test_random() % n);
}

void test_assert_code(int rc, int code, const struct esdb_error *err, const char *file, int line) {
    if (rc != code)
        print_error("code %d (%s) instead of %d: %s\n", rc, esdb_strerror(rc), code, err ? err->text : "");
    _assert_int_equal((uintmax_t)rc, (uintmax_t)code, file, line);
}

/* ---- files ---- */

void test_make_dir(char out[TEST_PATH]) {
    const char *base = getenv("TMPDIR");
    if (!base)
        base = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    snprintf(out, TEST_PATH, "%s/esdb-unit-XXXXXX", base);
    assert_non_null(mkdtemp(out));
}

void test_remove_dir(const char *path) {
    DIR *d = opendir(path);
    if (!d)
        return;
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        if (unlinkat(dirfd(d), e->d_name, 0) < 0) {
            char below[TEST_PATH * 2];
            snprintf(below, sizeof below, "%s/%s", path, e->d_name);
            test_remove_dir(below);
        }
    }
    closedir(d);
    rmdir(path);
}

int test_count_fds(void) {
    int n = 0;
    DIR *d = opendir("/proc/self/fd");
    assert_non_null(d);
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

unsigned char *test_file_read(const char *path, size_t *len) {
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    assert_int_equal(fstat(fd, &st), 0);
    unsigned char *bytes = malloc((size_t)st.st_size + 1);
    assert_non_null(bytes);
    assert_int_equal(pread(fd, bytes, (size_t)st.st_size, 0), st.st_size);
    close(fd);
    *len = (size_t)st.st_size;
    return bytes;
}

void test_file_write(const char *path, const void *bytes, size_t len) {
    (void)chmod(path, 0600); /* closed segments and indexes are read-only, also for their owner */
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)len), 0);
    assert_int_equal(pwrite(fd, bytes, len, 0), (ssize_t)len);
    close(fd);
}

void test_file_patch(const char *path, uint64_t at, const void *bytes, size_t len) {
    (void)chmod(path, 0600);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, bytes, len, (off_t)at), (ssize_t)len);
    close(fd);
}

/* ---- stores ---- */

void test_path(char out[TEST_PATH], const struct test_store *s, const char *name) {
    int n = snprintf(out, TEST_PATH, "%s/%s", s->path, name);
    assert_true(n > 0 && n < TEST_PATH);
}

esdb *test_open(const char *path, unsigned flags) {
    struct esdb_error err = {0};
    esdb *db = NULL;
    int rc = esdb_open(path, flags, &db, &err);
    assert_done(rc, &err);
    return db;
}

void test_store_open(struct test_store *s, uint64_t segment_size) {
    struct esdb_error err = {0};
    struct esdb_settings settings = {.segment_size = segment_size};
    memset(s, 0, sizeof *s);
    test_make_dir(s->path);
    assert_done(esdb_create(s->path, &settings, &err), &err);
    s->db = test_open(s->path, ESDB_APPEND);
    assert_int_equal(esdb_batch_open(&s->batch), 0);
}

void test_store_reopen(struct test_store *s) {
    esdb_close(s->db);
    s->db = test_open(s->path, ESDB_APPEND);
}

void test_store_close(struct test_store *s) {
    esdb_batch_close(s->batch);
    esdb_close(s->db);
    test_remove_dir(s->path);
    memset(s, 0, sizeof *s);
}

static int compare_numbers(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

size_t test_segments(const struct test_store *s, uint64_t *out, size_t room) {
    char path[TEST_PATH];
    size_t count = 0;
    test_path(path, s, "log");
    DIR *d = opendir(path);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d)) != NULL;)
        if (strlen(e->d_name) == 20 && strcmp(e->d_name + 16, ".log") == 0) {
            assert_true(count < room);
            out[count++] = strtoull(e->d_name, NULL, 16);
        }
    closedir(d);
    qsort(out, count, sizeof *out, compare_numbers);
    return count;
}

void test_segment_file(char out[TEST_PATH], const struct test_store *s, uint64_t segment, const char *suffix) {
    char name[64];
    snprintf(name, sizeof name, "log/%016" PRIx64 ".%s", segment, suffix);
    test_path(out, s, name);
}

struct fmt_head *test_head_map(const struct test_store *s) {
    char path[TEST_PATH];
    test_path(path, s, "head");
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    void *at = mmap(NULL, FMT_HEAD_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_true(at != MAP_FAILED);
    close(fd);
    return at;
}

void test_head_unmap(struct fmt_head *h) {
    munmap(h, FMT_HEAD_SIZE);
}

/* ---- events ---- */

struct esdb_text test_text(const char *s) {
    return (struct esdb_text){s, s ? strlen(s) : 0};
}

struct esdb_new_event test_event(const char *stream, const char *type, const char *data) {
    return (struct esdb_new_event){.stream_id = test_text(stream),
                                   .event_type = test_text(type),
                                   .data = test_text(data),
                                   .system = *stream == '$'};
}

void test_add(esdb_batch *b, const char *stream, const char *type, const char *id, const char *data) {
    struct esdb_error err = {0};
    struct esdb_new_event e = test_event(stream, type, data);
    e.event_id = test_text(id);
    assert_done(esdb_batch_add(b, &e, &err), &err);
}

uint64_t test_append(struct test_store *s, const char *stream, const char *data) {
    struct esdb_error err = {0};
    struct esdb_receipt r;
    esdb_batch_clear(s->batch);
    test_add(s->batch, stream, "t", NULL, data);
    assert_done(esdb_append(s->db, s->batch, 0, &r, &err), &err);
    return r.first_position;
}

const char *test_data(size_t len) {
    static char *data;
    static size_t room;
    if (len + 1 > room) {
        free(data);
        data = malloc(room = len + 1);
        assert_non_null(data);
    }
    assert_true(len >= 2);
    memset(data, 'x', len);
    data[0] = data[len - 1] = '"';
    data[len] = '\0';
    return data;
}

/* ---- the model ---- */

uint64_t test_model_version(const struct test_model *m, const char *stream) {
    for (size_t i = m->count; i-- > 0;)
        if (strcmp(m->at[i].stream, stream) == 0)
            return m->at[i].version + 1;
    return 0;
}

void test_model_add(struct test_model *m, const char *stream, const char *type, const char *id, const char *data) {
    if (m->count == m->room) {
        m->room = m->room ? m->room * 2 : 64;
        m->at = realloc(m->at, m->room * sizeof *m->at);
        assert_non_null(m->at);
    }
    uint64_t version = test_model_version(m, stream);
    m->at[m->count++] = (struct test_model_event){strdup(stream), strdup(type), data ? strdup(data) : NULL,
                                                  id ? strdup(id) : NULL, version};
}

void test_model_release(struct test_model *m) {
    for (size_t i = 0; i < m->count; i++) {
        free(m->at[i].stream);
        free(m->at[i].type);
        free(m->at[i].data);
        free(m->at[i].id);
    }
    free(m->at);
    memset(m, 0, sizeof *m);
}

void test_model_append(struct test_model *m, struct test_store *s, const char *stream, const char *data) {
    assert_int_equal(test_append(s, stream, data), m->count);
    test_model_add(m, stream, "t", NULL, data);
}

static bool same(const char *want, struct esdb_text have) {
    return want ? have.at && strlen(want) == have.len && memcmp(want, have.at, have.len) == 0 : !have.at;
}

bool test_model_is(const struct test_model *m, const struct esdb_event *e) {
    if (e->position >= m->count)
        return false;
    const struct test_model_event *w = &m->at[e->position];
    return e->version == w->version && same(w->stream, e->stream_id) && same(w->type, e->event_type) &&
           same(w->data, e->data) && (!w->id || same(w->id, e->event_id));
}

static size_t check_scan(const struct test_model *m, esdb *db, bool reverse, size_t total) {
    struct esdb_error err = {0};
    struct esdb_query q;
    esdb_cursor *c;
    struct esdb_event e;
    size_t n = 0;
    int rc;
    esdb_query_init(&q);
    q.flags = ESDB_ALL | ESDB_WITH_SYSTEM | (reverse ? (unsigned)ESDB_REVERSE : 0);
    assert_done(esdb_cursor_open(db, &q, &c, &err), &err);
    while ((rc = esdb_cursor_next(c, &e, &err)) == 0) {
        assert_int_equal(e.position, reverse ? total - 1 - n : n);
        if (!test_model_is(m, &e))
            fail_msg("position %" PRIu64 ": %.*s version %" PRIu64 " is not what was appended", e.position,
                     (int)e.stream_id.len, e.stream_id.at, e.version);
        n++;
    }
    assert_code(rc, ESDB_END, &err);
    esdb_cursor_close(c);
    return n;
}

static void check_streams(const struct test_model *m, esdb *db, size_t total) {
    struct esdb_error err = {0};
    struct esdb_query q;
    esdb_cursor *c;
    struct esdb_event e;
    int rc;
    for (size_t i = 0; i < total; i++) {
        if (m->at[i].version != 0)
            continue;
        struct esdb_text name = test_text(m->at[i].stream);
        uint64_t next = 0;
        esdb_query_init(&q);
        q.flags = ESDB_LITERAL;
        q.streams = &name;
        q.stream_count = 1;
        assert_done(esdb_cursor_open(db, &q, &c, &err), &err);
        while ((rc = esdb_cursor_next(c, &e, &err)) == 0) {
            assert_true(test_model_is(m, &e));
            assert_int_equal(e.version, next++);
        }
        assert_code(rc, ESDB_END, &err);
        esdb_cursor_close(c);
        uint64_t want = 0;
        for (size_t j = 0; j < total; j++)
            want += strcmp(m->at[j].stream, m->at[i].stream) == 0;
        assert_int_equal(next, want);
    }
}

size_t test_model_check(const struct test_model *m, const char *path, size_t least) {
    struct esdb_error err = {0};
    esdb *db = test_open(path, ESDB_APPEND);
    uint64_t total = 0;
    assert_done(esdb_end_position(db, &total, &err), &err);
    assert_in_range(total, least, m->count);
    assert_int_equal(check_scan(m, db, false, total), total);
    assert_int_equal(check_scan(m, db, true, total), total);
    check_streams(m, db, total);
    esdb_close(db);
    test_verify_clean(path);
    return total;
}

static int show_finding(void *context, const struct esdb_finding *f) {
    (void)context;
    if (f->kind == ESDB_FINDING_DAMAGE || f->kind == ESDB_FINDING_TORN)
        print_error("verify: kind %d, %s at %" PRIu64 ": %s\n", f->kind, f->file, f->offset, f->text);
    return 0;
}

void test_verify_clean(const char *path) {
    struct esdb_error err = {0};
    struct esdb_verify_options o = {.finding = show_finding};
    struct esdb_verify_result r = {0};
    esdb *db = test_open(path, ESDB_READ);
    int rc = esdb_verify(db, &o, &r, &err);
    esdb_close(db);
    assert_done(rc, &err);
    assert_int_equal(r.damaged, 0);
    assert_int_equal(r.torn, 0);
}

size_t test_count(esdb *db, const struct esdb_query *q, int *rc) {
    struct esdb_error err = {0};
    esdb_cursor *c;
    struct esdb_event e;
    size_t n = 0;
    *rc = esdb_cursor_open(db, q, &c, &err);
    if (*rc < 0)
        return 0;
    while ((*rc = esdb_cursor_next(c, &e, &err)) == 0)
        n++;
    esdb_cursor_close(c);
    return n;
}
