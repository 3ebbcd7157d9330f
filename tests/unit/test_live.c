/* The live index against a plain array, with every byte of its file flipped, and with several handles. */
#include "tests/unit/store_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "format/event_keys.h"
#include "format/frame.h"
#include "format/live_index.h"
#include "libcore/index.h"
#include "libcore/live.h"
#include "libcore/lock.h"

static void append_frame(struct test_store *s, struct test_model *m, uint32_t events, uint32_t streams) {
    struct esdb_error err = {0};
    struct esdb_receipt r;
    char name[16], id[24];
    esdb_batch_clear(s->batch);
    for (uint32_t i = 0; i < events; i++) {
        snprintf(name, sizeof name, "s%u", test_below(test_below(2) ? streams : 1 + streams / 20));
        snprintf(id, sizeof id, "id-%zu", m->count);
        test_add(s->batch, name, "t", id, NULL);
        test_model_add(m, name, "t", id, NULL);
    }
    assert_done(esdb_append(s->db, s->batch, 0, &r, &err), &err);
    assert_done(esdb_catch_up(s->db, &err), &err);
}

/* Is the event among those that the index gives for its id, and are they in order? */
static bool finds(struct es_view *v, const char *id, uint32_t ordinal) {
    struct es_buffer found = {0};
    struct esdb_error err = {0};
    uint64_t hash = fmt_event_key_hash(FMT_EVENT_KEY_ID, (struct fmt_text){id, strlen(id)});
    assert_done(es_view_keys(v, hash, &found, &err), &err);
    const uint32_t *at = (const uint32_t *)(const void *)found.at;
    size_t count = found.len / sizeof *at, hits = 0;
    for (size_t i = 0; i < count; i++) {
        hits += at[i] == ordinal;
        assert_true(i == 0 || at[i - 1] < at[i]);
        assert_true(at[i] < v->events);
    }
    es_buffer_release(&found);
    return hits == 1 && count < 5;
}

/* Everything that can be asked of the view of the only segment, for random streams. */
static void check_view(struct es_view *v, const struct test_model *m, uint32_t asks, uint32_t streams) {
    struct esdb_error err = {0};
    uint32_t *ordinals = malloc((m->count + 1) * sizeof *ordinals), at;
    struct es_event_place *got = malloc((m->count + 1) * sizeof *got);
    assert_non_null(ordinals);
    assert_non_null(got);
    while (asks-- > 0) {
        char name[16];
        struct es_view_stream slot;
        uint64_t count = 0;
        snprintf(name, sizeof name, "s%u", test_below(streams + 2));
        for (size_t i = 0; i < v->events; i++)
            if (strcmp(m->at[i].stream, name) == 0)
                ordinals[count++] = (uint32_t)i;
        int rc = es_view_stream(v, test_text(name), &slot, &err);
        assert_code(rc, count ? 0 : ESDB_ENOTFOUND, &err);
        if (count == 0)
            continue;
        assert_int_equal(slot.count, count);
        uint64_t from = test_below((uint32_t)count), to = from + 1 + test_below((uint32_t)(count - from));
        assert_done(es_view_places(v, &slot, from, to, got, &err), &err);
        for (uint64_t i = from; i < to; i++) {
            uint64_t offset;
            assert_int_equal(got[i - from].ordinal, ordinals[i]);
            assert_done(es_view_offset(v, ordinals[i], &offset, &err), &err);
            assert_int_equal((uint64_t)got[i - from].offset8 * 8, offset);
        }
        uint64_t nth = test_below((uint32_t)count); /* random access, by jump pointers */
        assert_done(es_view_ordinal(v, &slot, nth, &at, &err), &err);
        assert_int_equal(at, ordinals[nth]);
        struct fmt_event e;
        assert_done(es_view_event(v, at, &e, &err), &err);
        assert_int_equal(e.version, nth);
        assert_true(finds(v, m->at[at].id, at));
        uint64_t frame;
        assert_done(es_view_frame(v, at, &frame, &err), &err);
    }
    free(ordinals);
    free(got);
}

static void lookups_agree_with_the_model_while_the_index_grows(void **state) {
    (void)state;
    struct test_store s;
    struct test_model m = {0};
    struct esdb_error err = {0};
    struct es_view v;
    test_store_open(&s, 16u << 20);
    esdb *reader = test_open(s.path, ESDB_READ);
    for (int step = 0; step < 60; step++) { /* capacities from 256 to 16384 */
        append_frame(&s, &m, 1 + test_below(step % 10 == 9 ? 600 : 100), 50);
        esdb *db = step % 2 ? reader : s.db;
        uint64_t end;
        assert_done(esdb_end_position(db, &end, &err), &err);
        assert_int_equal(end, m.count);
        if (step % 3 == 0)
            end = 1 + test_below((uint32_t)m.count);
        assert_done(es_view_open(db, 1, end, &v, &err), &err);
        assert_true(v.live);
        assert_int_equal(v.events, end);
        check_view(&v, &m, 30, 50);
    }
    assert_true(m.count > 2000);
    esdb_close(reader);
    test_model_check(&m, s.path, m.count);
    test_store_close(&s);
    test_model_release(&m);
}

static void a_long_stream_is_reached_in_few_steps(void **state) {
    (void)state;
    struct test_store s;
    struct test_model m = {0};
    struct esdb_error err = {0};
    struct es_view v;
    struct es_view_stream slot;
    test_store_open(&s, 64u << 20);
    for (int i = 0; i < 20; i++)
        append_frame(&s, &m, 1000, 1);
    assert_done(es_view_open(s.db, 1, m.count, &v, &err), &err);
    assert_true(v.live);
    assert_done(es_view_stream(&v, test_text("s0"), &slot, &err), &err);
    for (uint32_t nth = 0; nth < m.count; nth += 61) {
        uint32_t at = slot.last, steps = 0;
        while (at != nth) { /* all events are of one stream: ordinal and nth are the same */
            const struct fmt_live_entry *e = es_live_entry(s.db, at);
            assert_non_null(e);
            at = e->jump && e->jump - 1 >= nth ? e->jump - 1 : e->prev - 1;
            assert_true(++steps <= 60); /* about three times the logarithm */
        }
        uint32_t got;
        assert_int_equal(es_live_back(s.db, slot.last, nth, &got), 0);
        assert_int_equal(got, nth);
    }
    test_store_close(&s);
    test_model_release(&m);
}

/* ---- damage ---- */

static unsigned char *map_live(const struct test_store *s, size_t *len) {
    char path[TEST_PATH];
    struct stat st;
    test_segment_file(path, s, 1, "live");
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &st), 0);
    *len = (size_t)st.st_size;
    void *map = mmap(NULL, *len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_true(map != MAP_FAILED);
    close(fd);
    return map;
}

/* Reads all streams: the answers must be those of the model. */
static void check_answers(esdb *db, const struct test_model *m, const char *what, size_t at) {
    struct esdb_error err = {0};
    for (int i = 0; i < 4; i++) {
        char name[16];
        struct esdb_stream_info info;
        snprintf(name, sizeof name, "s%d", i);
        uint64_t want = test_model_version(m, name);
        int rc = esdb_stream_info(db, test_text(name), &info, &err);
        if (want ? rc != 0 || info.count != want : rc != ESDB_ENOTFOUND)
            fail_msg("%s, byte %zu: %s: code %d, %" PRIu64 " events instead of %" PRIu64, what, at, name, rc,
                     rc == 0 ? info.count : 0, want);
        memset(&err, 0, sizeof err);
        struct esdb_text text = test_text(name);
        struct esdb_query q;
        esdb_query_init(&q);
        q.flags = ESDB_LITERAL;
        q.streams = &text;
        q.stream_count = 1;
        if (test_count(db, &q, &rc) != want || rc != ESDB_END)
            fail_msg("%s, byte %zu: reading %s gives other events", what, at, name);
    }
}

static void check_append(struct test_store *s, esdb *db, const struct test_model *m, const char *what, size_t at) {
    struct esdb_error err = {0};
    struct esdb_receipt r;
    size_t k = at % m->count;
    esdb_batch_clear(s->batch); /* an old id is found; nothing is written */
    test_add(s->batch, m->at[k].stream, "t", m->at[k].id, NULL);
    int rc = esdb_append(db, s->batch, ESDB_IDEMPOTENT, &r, &err);
    if (rc != 0 || !r.existed || r.first_position != k)
        fail_msg("%s, byte %zu: id of position %zu: code %d %s, position %" PRIu64, what, at, k, rc, err.text,
                 rc == 0 ? r.first_position : 0);
    esdb_batch_clear(s->batch); /* expectations are kept */
    esdb_batch_expect(s->batch, test_text(m->at[k].stream), (int64_t)test_model_version(m, m->at[k].stream) - 1, NULL);
    rc = esdb_append(db, s->batch, 0, &r, &err);
    if (rc != 0)
        fail_msg("%s, byte %zu: %s", what, at, err.text);
}

/* Whatever byte of the file is wrong: right answers, because entries and words check themselves. */
static void every_flipped_byte_is_harmless(void **state) {
    (void)state;
    struct test_store s;
    struct test_model m = {0};
    size_t len, now_len;
    test_store_open(&s, 1u << 20);
    for (int i = 0; i < 8; i++)
        append_frame(&s, &m, 5, 4);
    unsigned char *map = map_live(&s, &len), *copy = malloc(len);
    memcpy(copy, map, len);
    munmap(map, len);
    size_t tried = 0;
    for (size_t at = 0; at < len; at++) {
        if (at >= 160 && at < FMT_LIVE_HEADER_SIZE)
            continue; /* nothing stands there */
        bool used = at < FMT_LIVE_HEADER_SIZE + (m.count + 2) * sizeof(struct fmt_live_entry) ||
                    at >= FMT_LIVE_HEADER_SIZE + 256 * sizeof(struct fmt_live_entry);
        if (!used && at % 7 != 0)
            continue;
        map = map_live(&s, &now_len);
        if (now_len != len || memcmp(map, copy, 128) != 0) { /* it was made anew: its identity is another one now */
            munmap(map, now_len);
            char path[TEST_PATH];
            test_segment_file(path, &s, 1, "live");
            unlink(path);
            test_store_reopen(&s);
            struct esdb_receipt r;
            esdb_batch_clear(s.batch);
            assert_int_equal(esdb_append(s.db, s.batch, 0, &r, NULL), 0); /* replays the log */
            map = map_live(&s, &len);
            memcpy(copy, map, len);
        }
        map[at] ^= (unsigned char)(1u << (at % 8));
        esdb *db = test_open(s.path, at % 2 ? ESDB_APPEND : ESDB_EXAMINE);
        check_answers(db, &m, "opened after", at);
        if (at % 2)
            check_append(&s, db, &m, "opened after", at);
        else if (at % 6 == 0)
            check_answers(s.db, &m, "opened before", at);
        esdb_close(db);
        map[at] = copy[at];
        munmap(map, now_len);
        tried++;
    }
    print_message("%zu bytes flipped\n", tried);
    test_model_check(&m, s.path, m.count);
    free(copy);
    test_store_close(&s);
    test_model_release(&m);
}

static void a_file_of_another_size_is_made_anew(void **state) {
    (void)state;
    static const off_t sizes[] = {0, 1, 4095, 4096, 8192, 18432, 100000};
    struct test_store s;
    struct test_model m = {0};
    char path[TEST_PATH];
    test_store_open(&s, 1u << 20);
    append_frame(&s, &m, 10, 4);
    test_segment_file(path, &s, 1, "live");
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        esdb_close(s.db); /* a file that others have mapped must not be cut: that is a signal */
        assert_int_equal(truncate(path, sizes[i]), 0);
        s.db = test_open(s.path, ESDB_APPEND);
        check_answers(s.db, &m, "size", i);
        append_frame(&s, &m, 1, 4);
        check_answers(s.db, &m, "size", i);
    }
    test_model_check(&m, s.path, m.count);
    test_store_close(&s);
    test_model_release(&m);
}

/* ---- several handles ---- */

static void a_larger_index_is_seen_by_other_handles(void **state) {
    (void)state;
    struct test_store s;
    struct test_model m = {0};
    test_store_open(&s, 4u << 20);
    esdb *mine = s.db, *other = test_open(s.path, ESDB_APPEND), *reader = test_open(s.path, ESDB_READ);
    append_frame(&s, &m, 3, 4);
    check_answers(other, &m, "other", 0);
    check_answers(reader, &m, "reader", 0);
    for (int i = 0; i < 30; i++) {
        s.db = i % 2 ? other : mine;
        append_frame(&s, &m, 1 + test_below(100), 4);
        check_answers(i % 2 ? mine : other, &m, "other", (size_t)i);
        check_answers(reader, &m, "reader", (size_t)i);
        struct es_view v;
        assert_int_equal(es_view_open(reader, 1, m.count, &v, NULL), 0);
        assert_true(v.live); /* the answers came from it */
    }
    s.db = mine;
    esdb_close(other);
    esdb_close(reader);
    test_store_close(&s);
    test_model_release(&m);
}

/* An append that fails: it catches up for others all the same. */
static void conflict(esdb *db, esdb_batch *b) {
    struct esdb_error err = {0};
    struct esdb_receipt r;
    esdb_batch_clear(b);
    test_add(b, "s0", "t", NULL, NULL);
    assert_done(esdb_batch_expect(b, test_text("s0"), 1 << 30, &err), &err);
    assert_code(esdb_append(db, b, 0, &r, &err), ESDB_ECONFLICT, &err);
}

/* Frames of an import are indexed later, by whoever comes first; segments are rolled over meanwhile. */
static void imports_of_several_handles_go_on_where_others_caught_up(void **state) {
    (void)state;
    struct test_store s;
    struct test_model m = {0};
    struct esdb_error err = {0};
    struct esdb_receipt r;
    char name[16];
    test_store_open(&s, TEST_SMALL_SEGMENT);
    esdb *handle[] = {s.db, test_open(s.path, ESDB_APPEND), test_open(s.path, ESDB_APPEND)};
    uint32_t importer = 0;
    for (int i = 0; i < 400; i++) {
        uint32_t what = test_below(10), events = what == 0 ? 1 + test_below(63) : 64 + test_below(30);
        esdb *db = handle[importer];
        if (test_below(15) == 0)
            importer = test_below(3);
        if (what == 1)
            assert_done(esdb_catch_up(db, &err), &err);
        if (what == 2 || what == 3)
            conflict(handle[(importer + 1) % 3], s.batch);
        if (what >= 1 && what <= 3)
            continue;
        esdb_batch_clear(s.batch);
        for (uint32_t j = 0; j < events; j++) {
            snprintf(name, sizeof name, "s%u", test_below(test_below(4) ? 5 : 60));
            test_add(s.batch, name, "t", NULL, NULL);
            test_model_add(&m, name, "t", NULL, NULL);
        }
        assert_done(esdb_append(db, s.batch, ESDB_NO_WAIT, &r, &err), &err);
        for (size_t k = 0; k < r.stream_count; k++) {
            snprintf(name, sizeof name, "%.*s", (int)r.streams[k].stream_id.len, r.streams[k].stream_id.at);
            assert_int_equal(r.streams[k].last_version + 1, test_model_version(&m, name));
        }
    }
    assert_done(esdb_commit(s.db, &r, &err), &err);
    esdb_close(handle[1]);
    esdb_close(handle[2]);
    test_model_check(&m, s.path, m.count);
    test_store_close(&s);
    test_model_release(&m);
}

static void append_import(struct test_store *s, struct test_model *m) {
    struct esdb_error err = {0};
    struct esdb_receipt r;
    esdb_batch_clear(s->batch);
    for (uint32_t i = 0; i < 64; i++) {
        test_add(s->batch, "s", "t", NULL, NULL);
        test_model_add(m, "s", "t", NULL, NULL);
    }
    assert_done(esdb_append(s->db, s->batch, 0, &r, &err), &err);
}

/* As far as a writer may have come: only the header of its frame is in the file. */
static void write_header(const struct test_store *s, uint32_t count) {
    struct fmt_head *h = test_head_map(s);
    const struct fmt_mark *m = &h->appended_mark[h->appended_mark[1].index > h->appended_mark[0].index];
    unsigned char bytes[FMT_FRAME_HEADER_SIZE];
    char path[TEST_PATH];
    struct fmt_frame f = {.kind = FMT_FRAME_EVENTS,
                          .frame_len = FMT_FRAME_HEADER_SIZE + count * FMT_EVENT_HEADER_SIZE,
                          .count = count,
                          .index = m->index + 1,
                          .term = 1,
                          .first_position = m->end_position,
                          .last_epoch_us = m->last_epoch_us,
                          .prev_checksum = m->checksum};
    fmt_frame_encode(&f, bytes);
    test_segment_file(path, s, 1, "log");
    test_file_patch(path, m->end_offset, bytes, sizeof bytes);
    test_head_unmap(h);
}

/* A reader that makes a table of its own, because an import is not indexed yet, sees also what is being written. */
static void a_table_made_during_an_import_says_nothing_of_later_frames(void **state) {
    (void)state;
    struct test_store s;
    struct test_model m = {0};
    struct esdb_error err = {0};
    struct esdb_stream_info info;
    test_store_open(&s, 1u << 20);
    esdb *reader = test_open(s.path, ESDB_READ);
    append_import(&s, &m);
    assert_done(es_lock_append(s.db, &err), &err);
    write_header(&s, 100);
    assert_done(esdb_stream_info(reader, test_text("s"), &info, &err), &err);
    assert_int_equal(info.last_version, 63);
    es_unlock_append(s.db); /* it dies: the next one has another frame there */
    append_import(&s, &m);
    assert_done(esdb_stream_info(reader, test_text("s"), &info, &err), &err);
    assert_int_equal(info.last_version, 127);
    esdb_close(reader);
    test_model_check(&m, s.path, m.count);
    test_store_close(&s);
    test_model_release(&m);
}

static void ids_with_one_bucket_are_told_apart(void **state) {
    (void)state;
    struct test_store s;
    struct esdb_error err = {0};
    struct esdb_receipt r;
    char id[16], stream[16];
    test_store_open(&s, 4u << 20);
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; i < 2000; i++) { /* the same id in several streams */
            snprintf(id, sizeof id, "id-%d", i / 4);
            snprintf(stream, sizeof stream, "s%d", i % 4);
            esdb_batch_clear(s.batch);
            test_add(s.batch, stream, "t", id, NULL);
            assert_done(esdb_append(s.db, s.batch, ESDB_IDEMPOTENT | ESDB_NO_WAIT, &r, &err), &err);
            assert_int_equal(r.existed, pass);
            assert_int_equal(r.first_position, i);
        }
    test_store_close(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lookups_agree_with_the_model_while_the_index_grows),
        cmocka_unit_test(a_long_stream_is_reached_in_few_steps),
        cmocka_unit_test(every_flipped_byte_is_harmless),
        cmocka_unit_test(a_file_of_another_size_is_made_anew),
        cmocka_unit_test(a_larger_index_is_seen_by_other_handles),
        cmocka_unit_test(imports_of_several_handles_go_on_where_others_caught_up),
        cmocka_unit_test(a_table_made_during_an_import_says_nothing_of_later_frames),
        cmocka_unit_test(ids_with_one_bucket_are_told_apart),
    };
    test_seed();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
