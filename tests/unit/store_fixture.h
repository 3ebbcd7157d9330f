/* store_fixture.h: stores for tests, and a plain array as the model of what must be in them. */
#ifndef TEST_STORE_FIXTURE_H
#define TEST_STORE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "format/head.h"
#include "libcore/esdb.h"
#include "libcore/os.h"

#define TEST_SMALL_SEGMENT (64u << 10)
#define TEST_PATH 256

/* ---- chance: SEED in the environment repeats a run ---- */

void test_seed(void); /* prints SEED=... */
uint64_t test_random(void);
uint32_t test_below(uint32_t n); /* 0 .. n-1 */

/* ---- stores in a directory of their own ---- */

struct test_store {
    char path[TEST_PATH];
    esdb *db; /* open for appending; tests may close it and set NULL */
    esdb_batch *batch;
};

void test_store_open(struct test_store *s, uint64_t segment_size);
void test_store_close(struct test_store *s); /* and removes it */
void test_store_reopen(struct test_store *s);
esdb *test_open(const char *path, unsigned flags); /* must succeed */

void test_path(char out[TEST_PATH], const struct test_store *s, const char *name);
void test_make_dir(char out[TEST_PATH]); /* a new empty directory for a test */
void test_remove_dir(const char *path);  /* with all that is in it */
int test_count_fds(void);

/* Whole files. test_file_read: the caller's, to be freed; NULL when there is no such file. */
unsigned char *test_file_read(const char *path, size_t *len);
void test_file_write(const char *path, const void *bytes, size_t len); /* replaces it, same inode when it exists */
void test_file_patch(const char *path, uint64_t at, const void *bytes, size_t len);

/* Names of the segments (first frame indexes), ascending; returns their number. */
size_t test_segments(const struct test_store *s, uint64_t *out, size_t room);
void test_segment_file(char out[TEST_PATH], const struct test_store *s, uint64_t segment, const char *suffix);

/* The head page as it is, mapped; to be unmapped with test_head_unmap. */
struct fmt_head *test_head_map(const struct test_store *s);
void test_head_unmap(struct fmt_head *h);

/* ---- events ---- */

struct esdb_text test_text(const char *s); /* NULL: absent */
struct esdb_new_event test_event(const char *stream, const char *type, const char *data);
void test_add(esdb_batch *b, const char *stream, const char *type, const char *id, const char *data);

/* Appends one event; must succeed. Returns its position. */
uint64_t test_append(struct test_store *s, const char *stream, const char *data);

/* data of that many bytes: a JSON string; static. */
const char *test_data(size_t len);

/* ---- the model ---- */

struct test_model_event {
    char *stream, *type, *data, *id; /* owned; id NULL: not compared */
    uint64_t version;
};

struct test_model {
    struct test_model_event *at; /* at[i]: position i */
    size_t count, room;
};

void test_model_add(struct test_model *m, const char *stream, const char *type, const char *id, const char *data);
uint64_t test_model_version(const struct test_model *m, const char *stream); /* of its next event */
void test_model_release(struct test_model *m);

/* Appends one event and adds it to the model. */
void test_model_append(struct test_model *m, struct test_store *s, const char *stream, const char *data);

/* True when the event is the model's at its position. */
bool test_model_is(const struct test_model *m, const struct esdb_event *e);

/* Fails the test unless the store, opened anew, holds the model's events (at least the first `least`, at most all of
 * them), in order, by position both ways and by stream, and verifies without damage. Returns how many there are. */
size_t test_model_check(const struct test_model *m, const char *path, size_t least);

/* Fails the test unless verification finds neither damage nor anything else but notes. */
void test_verify_clean(const char *path);

/* Reads everything a query gives through a new cursor: how many events; *rc is the code it ended with. */
size_t test_count(esdb *db, const struct esdb_query *q, int *rc);

/* Asserts rc == 0 and shows the error's text otherwise. */
#define assert_done(rc, err) test_assert_code((rc), 0, (err), __FILE__, __LINE__)
#define assert_code(rc, code, err) test_assert_code((rc), (code), (err), __FILE__, __LINE__)
void test_assert_code(int rc, int code, const struct esdb_error *err, const char *file, int line);

#endif
