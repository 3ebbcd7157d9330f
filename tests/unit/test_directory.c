/* The stream directory against a model that is a plain array, with tables present, missing, left over and damaged. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "libcore/directory.h"
#include "libcore/seal.h"
#include "libcore/table_file.h"
#include "tests/unit/make_segment.h"

enum { SEGMENTS_MAX = 600, STREAMS = 40 };

/* A log of small segments with its indexes, and the truth about it. */
struct world {
    char path[64];
    int dir;
    size_t count;
    uint64_t sealed[SEGMENTS_MAX], end;
    uint64_t prev_checksum[SEGMENTS_MAX + 1]; /* of segment i; the last: of the active one */
    struct es_table index[SEGMENTS_MAX];
    struct es_table spare[SEGMENTS_MAX]; /* what segment_index_again gives */
    bool no_again;
    size_t again_calls;
    uint32_t first_version[SEGMENTS_MAX][STREAMS], events[SEGMENTS_MAX][STREAMS];
    uint32_t next_version[STREAMS];
    struct test_segment last;
};

static uint64_t random_state;

static uint64_t draw(uint64_t below) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state % below;
}

/* Names that are prefixes of each other, short and long ones, and bytes beyond ASCII. */
static const char *stream_name(size_t i) {
    static char name[300];
    if (i == 0)
        return "a";
    if (i % 10 == 9) {
        memset(name, 'l', 240);
        snprintf(name + 240, sizeof name - 240, "%zu", i);
    } else if (i % 10 == 8) {
        snprintf(name, sizeof name, "\xc3\xa9-%zu", i);
    } else {
        snprintf(name, sizeof name, "orders-%zu", i);
    }
    return name;
}

static struct esdb_text text_of(const char *t) {
    return (struct esdb_text){t, strlen(t)};
}

static int number_of(const struct world *w, uint64_t segment) {
    for (size_t i = 0; i < w->count; i++)
        if (w->sealed[i] == segment)
            return (int)i;
    return -1;
}

static int give_index(void *context, uint64_t segment, const struct fmt_table **out, struct esdb_error *err) {
    struct world *w = context;
    (void)err;
    *out = &w->index[number_of(w, segment)].table;
    return 0;
}

static int give_again(void *context, uint64_t segment, const struct fmt_table **out, struct esdb_error *err) {
    struct world *w = context;
    (void)err;
    w->again_calls++;
    *out = &w->spare[number_of(w, segment)].table;
    return 0;
}

static int give_prev_checksum(void *context, uint64_t segment, uint64_t *out) {
    struct world *w = context;
    *out = w->prev_checksum[segment == w->end ? w->count : (size_t)number_of(w, segment)];
    return 0;
}

static struct es_directory_source source_of(struct world *w) {
    return (struct es_directory_source){w, give_index, w->no_again ? NULL : give_again, give_prev_checksum};
}

static void add_segment(struct world *w, size_t events) {
    struct test_segment s;
    size_t n = w->count++;
    assert_true(n < SEGMENTS_MAX);
    test_segment_begin(&s, n ? &w->last : NULL);
    test_segment_release(&w->last);
    w->sealed[n] = s.next.index;
    w->prev_checksum[n] = s.next.prev_checksum;
    for (size_t i = 0; i < events; i++) {
        size_t stream = draw(draw(2) ? STREAMS : 5);
        if (w->events[n][stream]++ == 0)
            w->first_version[n][stream] = w->next_version[stream];
        test_segment_event(&s, stream_name(stream), w->next_version[stream]++, "id", NULL);
        if (draw(4) == 0)
            test_segment_frame(&s);
    }
    if (s.frame_at || events == 0)
        test_segment_frame(&s);
    for (int i = 0; i < 2; i++) {
        struct es_buffer image = {0};
        assert_int_equal(es_seal_build(s.bytes.at, s.bytes.len, &image, NULL), 0);
        es_table_adopt(i ? &w->spare[n] : &w->index[n], &image);
    }
    w->end = s.next.index;
    w->prev_checksum[n + 1] = s.next.prev_checksum;
    w->last = s;
}

static struct world *world_open(void) {
    struct world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    snprintf(w->path, sizeof w->path, "/tmp/test_directory.XXXXXX");
    assert_non_null(mkdtemp(w->path));
    w->dir = open(w->path, O_RDONLY | O_DIRECTORY);
    assert_true(w->dir >= 0);
    return w;
}

/* Calls fn for each file of tables/. */
static size_t each_file(const struct world *w, void (*fn)(const struct world *w, const char *name)) {
    size_t count = 0;
    DIR *d = opendir(w->path);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        if (e->d_name[0] == '.')
            continue;
        count++;
        if (fn)
            fn(w, e->d_name);
    }
    closedir(d);
    return count;
}

static void remove_file(const struct world *w, const char *name) {
    unlinkat(w->dir, name, 0);
}

static void world_close(struct world *w) {
    each_file(w, remove_file);
    close(w->dir);
    rmdir(w->path);
    for (size_t i = 0; i < w->count; i++) {
        es_table_close(&w->index[i]);
        es_table_close(&w->spare[i]);
    }
    test_segment_release(&w->last);
    free(w);
}

static struct es_directory *directory_open(struct world *w) {
    struct es_directory_source src = source_of(w);
    struct es_directory *d = NULL;
    assert_int_equal(es_directory_open(w->dir, w->sealed, w->count, w->end, &src, &d, NULL), 0);
    return d;
}

static void merge(struct world *w) {
    struct es_directory_source src = source_of(w);
    struct esdb_error err = {0};
    int rc = es_directory_merge(w->dir, w->sealed, w->count, w->end, &src, 0640, &err);
    if (rc)
        print_message("merge: %s\n", err.text);
    assert_int_equal(rc, 0);
}

/* ---- comparing with the model: true when all answers are right; with may_fail ESDB_ECORRUPT is an answer too ---- */

static bool place_right(const struct world *w, const struct es_place *p, size_t segment, size_t stream) {
    return p->segment == w->sealed[segment] && p->first_version == w->first_version[segment][stream] &&
           p->count == w->events[segment][stream];
}

static bool places_right(const struct world *w, const struct es_place *p, size_t count, size_t stream) {
    size_t at = 0;
    for (size_t s = 0; s < w->count; s++)
        if (w->events[s][stream] && (at >= count || !place_right(w, &p[at++], s, stream)))
            return false;
    return at == count;
}

static bool check_stream(const struct world *w, struct es_directory *d, size_t stream, bool may_fail) {
    struct es_place last, *places = NULL;
    size_t count = 0, newest = w->count;
    while (newest > 0 && !w->events[newest - 1][stream])
        newest--;
    struct esdb_text name = text_of(stream_name(stream));
    int rc = es_directory_last(d, name, &last, NULL);
    bool right = rc == ESDB_ECORRUPT ? may_fail
                 : newest == 0       ? rc == ESDB_ENOTFOUND
                                     : rc == 0 && place_right(w, &last, newest - 1, stream);
    rc = es_directory_places(d, name, &places, &count, NULL);
    right = right && (rc == ESDB_ECORRUPT ? may_fail
                      : newest == 0       ? rc == ESDB_ENOTFOUND
                                          : rc == 0 && places_right(w, places, count, stream));
    if (rc == 0)
        free(places);
    return right;
}

static int compare_streams(const void *a, const void *b) {
    char first[300];
    snprintf(first, sizeof first, "%s", stream_name(*(const size_t *)a));
    return strcmp(first, stream_name(*(const size_t *)b));
}

static bool check_walk(const struct world *w, struct es_directory *d, const char *from, bool may_fail) {
    struct es_directory_walk *walk;
    struct es_directory_stream s;
    size_t order[STREAMS] = {0}, n = 0, at = 0;
    for (size_t i = 0; i < STREAMS; i++)
        if (w->next_version[i] > 0 && strcmp(stream_name(i), from) >= 0)
            order[n++] = i;
    qsort(order, n, sizeof *order, compare_streams);
    assert_int_equal(es_directory_walk_open(d, text_of(from), &walk, NULL), 0);
    int rc;
    bool right = true;
    while (right && (rc = es_directory_walk_next(walk, &s, NULL)) == 0) {
        right = at < n && s.stream_id.len == strlen(stream_name(order[at])) &&
                memcmp(s.stream_id.at, stream_name(order[at]), s.stream_id.len) == 0 &&
                places_right(w, s.places, s.place_count, order[at]) && s.count == w->next_version[order[at]] &&
                s.first.first_version == 0 && s.last.segment == s.places[s.place_count - 1].segment;
        at++;
    }
    if (right)
        right = rc == ESDB_END ? at == n : may_fail && rc == ESDB_ECORRUPT;
    es_directory_walk_close(walk);
    return right;
}

static bool check_all(struct world *w, bool may_fail) {
    struct es_directory *d = directory_open(w);
    bool right = check_walk(w, d, "", may_fail);
    for (size_t i = 0; right && i < STREAMS; i++)
        right = check_stream(w, d, i, may_fail);
    char from[300];
    snprintf(from, sizeof from, "%s", stream_name(draw(STREAMS)));
    right = right && check_walk(w, d, "orders-2", may_fail) && check_walk(w, d, from, may_fail);
    es_directory_close(d);
    return right;
}

static struct es_directory_stat stat_of(struct world *w) {
    struct es_directory_stat st;
    struct es_directory *d = directory_open(w);
    es_directory_stat(d, &st);
    es_directory_close(d);
    return st;
}

/* ---- the tests ---- */

static void answers_without_tables_and_without_segments(void **state) {
    (void)state;
    struct world *w = world_open();
    assert_true(check_all(w, false));
    merge(w);
    for (int i = 0; i < 5; i++)
        add_segment(w, (size_t)i);
    merge(w);
    assert_int_equal(each_file(w, NULL), 0);
    assert_true(check_all(w, false));
    world_close(w);
}

static void merges_in_powers_of_eight(void **state) {
    (void)state;
    struct world *w = world_open();
    for (size_t i = 1; i <= 512; i++) {
        add_segment(w, draw(6));
        merge(w);
        size_t digits = i % 8 + i / 8 % 8 + i / 64 % 8 + i / 512;
        struct es_directory_stat st = stat_of(w);
        assert_int_equal(st.tables + st.segments, digits);
        assert_int_equal(each_file(w, NULL), digits - i % 8);
        if (i % 61 == 0 || i == 512)
            assert_true(check_all(w, false));
    }
    struct stat st;
    char name[64];
    snprintf(name, sizeof name, "%016" PRIx64 "-%016" PRIx64 ".tbl", w->sealed[0], w->end - 1);
    assert_int_equal(fstatat(w->dir, name, &st, 0), 0);
    assert_int_equal(st.st_mode & 07777, 0640);
    struct es_directory *d = directory_open(w);
    assert_int_equal(es_directory_verify(d, NULL), 0);
    es_directory_close(d);
    world_close(w);
}

static void all_at_once_is_the_same_as_step_by_step(void **state) {
    (void)state;
    struct world *w = world_open();
    for (size_t i = 0; i < 150; i++)
        add_segment(w, draw(6));
    merge(w);
    struct es_directory_stat st = stat_of(w);
    assert_int_equal(st.tables, 2 + 2);
    assert_int_equal(st.segments, 6);
    assert_true(check_all(w, false));
    world_close(w);
}

static void copy_file(const struct world *w, const char *name, const char *to) {
    static char bytes[1 << 20];
    int from_fd = openat(w->dir, name, O_RDONLY);
    ssize_t n = from_fd >= 0 ? read(from_fd, bytes, sizeof bytes) : 0;
    int to_fd = openat(w->dir, to, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(to_fd >= 0 && write(to_fd, bytes, (size_t)n) == n);
    close(from_fd);
    close(to_fd);
}

static void damage_or_remove(const struct world *w, const char *name) {
    struct stat st;
    uint64_t kind = draw(5);
    if (kind == 0) {
        unlinkat(w->dir, name, 0);
    } else if (kind == 1 && fstatat(w->dir, name, &st, 0) == 0 && st.st_size > 0) {
        int fd = openat(w->dir, name, O_RDWR);
        unsigned char byte;
        off_t at = (off_t)draw((uint64_t)st.st_size);
        assert_int_equal(pread(fd, &byte, 1, at), 1);
        byte ^= (unsigned char)(1 + draw(255));
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
        if (draw(4) == 0)
            assert_int_equal(ftruncate(fd, at), 0);
        close(fd);
    } else if (kind == 2) {
        copy_file(w, name, draw(2) ? "0000000000000001-00000000000000ff.tbl" : "0000000000000001-0000000000000004.tbl");
    } else if (kind == 3) {
        copy_file(w, name, draw(2) ? "rubbish" : "0000000000000001-0000000000000004.tbl.12-3.tmp");
    }
}

static void any_state_of_the_tables_gives_right_answers(void **state) {
    (void)state;
    for (int round = 0; round < 60; round++) {
        struct world *w = world_open();
        uint64_t seed = random_state;
        size_t segments = 1 + draw(140);
        for (size_t i = 0; i < segments; i++) {
            add_segment(w, draw(8));
            if (draw(20) == 0)
                merge(w);
            if (draw(20) == 0)
                each_file(w, damage_or_remove);
            if (draw(10) == 0 && !check_all(w, false))
                fail_msg("wrong answer; state %" PRIu64 ", segment %zu", seed, i);
        }
        each_file(w, damage_or_remove);
        if (!check_all(w, false))
            fail_msg("wrong answer; state %" PRIu64, seed);
        merge(w);
        if (!check_all(w, false))
            fail_msg("wrong answer after merge; state %" PRIu64, seed);
        world_close(w);
    }
}

/* After a crash between rename and unlink both the merged table and its parts are there. */
static void left_over_parts_are_ignored_and_removed(void **state) {
    (void)state;
    struct world *w = world_open();
    for (size_t i = 0; i < 63; i++)
        add_segment(w, 4);
    merge(w);
    assert_int_equal(each_file(w, NULL), 7);
    char part[64], kept[] = "kept";
    snprintf(part, sizeof part, "%016" PRIx64 "-%016" PRIx64 ".tbl", w->sealed[8], w->sealed[16] - 1);
    copy_file(w, part, kept);
    add_segment(w, 4);
    merge(w);
    assert_int_equal(each_file(w, NULL), 2); /* the merged one and `kept` */
    copy_file(w, kept, part);
    assert_true(check_all(w, false));
    assert_int_equal(stat_of(w).tables, 1);
    merge(w);
    assert_int_equal(each_file(w, NULL), 2);
    assert_int_equal(faccessat(w->dir, part, F_OK, 0), -1);
    world_close(w);
}

static void a_table_of_another_log_is_not_believed(void **state) {
    (void)state;
    struct world *w = world_open();
    for (size_t i = 0; i < 8; i++)
        add_segment(w, 4);
    merge(w);
    w->prev_checksum[8] ^= 1; /* as if the log had been written anew from here on */
    struct es_directory *d = directory_open(w);
    struct es_directory_stat st;
    assert_true(check_stream(w, d, 0, false));
    es_directory_stat(d, &st);
    assert_int_equal(st.tables, 0);
    assert_int_equal(st.damaged, 1);
    es_directory_close(d);
    world_close(w);
}

static void every_flipped_byte_of_a_table_is_harmless(void **state) {
    (void)state;
    struct world *w = world_open();
    for (size_t i = 0; i < 8; i++)
        add_segment(w, 60);
    merge(w);
    char name[64];
    snprintf(name, sizeof name, "%016" PRIx64 "-%016" PRIx64 ".tbl", w->sealed[0], w->end - 1);
    int fd = openat(w->dir, name, O_RDWR);
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    size_t found = 0;
    for (off_t at = 0; at < st.st_size; at++) {
        unsigned char byte, flipped;
        assert_int_equal(pread(fd, &byte, 1, at), 1);
        flipped = byte ^ (unsigned char)(1u << draw(8));
        assert_int_equal(pwrite(fd, &flipped, 1, at), 1);
        if (!check_all(w, false))
            fail_msg("wrong answer with byte %ld flipped", (long)at);
        struct es_directory *d = directory_open(w);
        found += es_directory_verify(d, NULL) == ESDB_ECORRUPT;
        es_directory_close(d);
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    }
    print_message("%ld bytes flipped, 0 wrong answers, %zu found by verify\n", (long)st.st_size, found);
    assert_int_equal(found, st.st_size);
    close(fd);
    world_close(w);
}

static void a_flipped_byte_of_a_segment_index_is_found(void **state) {
    (void)state;
    struct world *w = world_open();
    for (size_t i = 0; i < 3; i++)
        add_segment(w, 60);
    struct es_table *t = &w->index[1];
    for (size_t at = FMT_BLOCK_SIZE; at < t->image.len; at++) {
        unsigned char byte = t->image.at[at];
        t->image.at[at] ^= (unsigned char)(1u << draw(8));
        w->no_again = true;
        memset(t->verified, 0, fmt_table_bitmap_size(&t->table));
        if (!check_all(w, true))
            fail_msg("wrong answer with byte %zu flipped", at);
        w->no_again = false;
        memset(t->verified, 0, fmt_table_bitmap_size(&t->table));
        if (!check_all(w, false))
            fail_msg("wrong answer with byte %zu flipped and the index made anew", at);
        t->image.at[at] = byte;
    }
    assert_true(w->again_calls > 0);
    world_close(w);
}

static void a_walk_goes_on_when_a_table_rots_under_it(void **state) {
    (void)state;
    struct world *w = world_open();
    for (size_t i = 0; i < 8; i++)
        add_segment(w, 400);
    merge(w);
    char name[64];
    snprintf(name, sizeof name, "%016" PRIx64 "-%016" PRIx64 ".tbl", w->sealed[0], w->end - 1);
    int fd = openat(w->dir, name, O_RDWR);
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    for (off_t block = 1; block < st.st_size / (off_t)FMT_BLOCK_SIZE; block++) {
        unsigned char before[FMT_BLOCK_SIZE];
        static const unsigned char zeros[FMT_BLOCK_SIZE];
        assert_int_equal(pread(fd, before, sizeof before, block * (off_t)sizeof before), sizeof before);
        assert_int_equal(pwrite(fd, zeros, sizeof zeros, block * (off_t)sizeof before), sizeof before);
        assert_true(check_all(w, false));
        assert_int_equal(pwrite(fd, before, sizeof before, block * (off_t)sizeof before), sizeof before);
    }
    close(fd);
    world_close(w);
}

static void a_table_merged_away_under_a_reader_is_replaced(void **state) {
    (void)state;
    struct world *w = world_open();
    for (size_t i = 0; i < 63; i++)
        add_segment(w, 4);
    merge(w);
    struct es_directory *d = directory_open(w);
    add_segment(w, 0);
    merge(w); /* d has not opened its tables yet */
    w->count--;
    w->end = w->sealed[63];
    for (size_t i = 0; i < STREAMS; i++)
        assert_true(check_stream(w, d, i, false));
    struct es_directory_stat st;
    es_directory_stat(d, &st);
    assert_int_equal(st.damaged, 0);
    es_directory_close(d);
    es_table_close(&w->index[63]);
    es_table_close(&w->spare[63]);
    world_close(w);
}

static void damaged_segments_are_not_merged(void **state) {
    (void)state;
    struct world *w = world_open();
    for (size_t i = 0; i < 12; i++)
        add_segment(w, 4);
    /* Index 3 anew, from a segment with a flipped byte: it lists damage. */
    struct test_segment s;
    struct es_buffer image = {0};
    test_segment_begin(&s, NULL);
    test_segment_event(&s, "a", 0, "id", "{}");
    test_segment_frame(&s);
    struct fmt_segment h;
    bool newer;
    assert_null(fmt_segment_decode(s.bytes.at, s.bytes.len, &h, &newer));
    h.first_index = w->sealed[3];
    fmt_segment_encode(&h, s.bytes.at);
    assert_int_equal(es_seal_build(s.bytes.at, s.bytes.len, &image, NULL), 0);
    es_table_close(&w->index[3]);
    es_table_adopt(&w->index[3], &image);
    assert_non_null(fmt_table_find(&w->index[3].table, FMT_SECTION_DAMAGE));
    merge(w);
    struct es_directory_stat st = stat_of(w);
    assert_int_equal(st.tables, 1);
    assert_int_equal(st.segments, 4);
    test_segment_release(&s);
    world_close(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_without_tables_and_without_segments),
        cmocka_unit_test(merges_in_powers_of_eight),
        cmocka_unit_test(all_at_once_is_the_same_as_step_by_step),
        cmocka_unit_test(any_state_of_the_tables_gives_right_answers),
        cmocka_unit_test(left_over_parts_are_ignored_and_removed),
        cmocka_unit_test(a_table_of_another_log_is_not_believed),
        cmocka_unit_test(every_flipped_byte_of_a_table_is_harmless),
        cmocka_unit_test(a_flipped_byte_of_a_segment_index_is_found),
        cmocka_unit_test(a_walk_goes_on_when_a_table_rots_under_it),
        cmocka_unit_test(a_table_merged_away_under_a_reader_is_replaced),
        cmocka_unit_test(damaged_segments_are_not_merged),
    };
    const char *seed = getenv("SEED");
    random_state = seed ? strtoull(seed, NULL, 10) : (uint64_t)time(NULL) * 2654435761u + 1;
    print_message("SEED=%" PRIu64 "\n", random_state);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
