/* The life of streams: the codec, what is hidden as of every position against a model, the word in head, times. */
#include "tests/unit/store_fixture.h"

#include "format/life.h"
#include "libcore/life.h"
#include "libcore/shared_head.h"

#include <sys/stat.h>
#include <unistd.h>

/* ---- the codec ---- */

static struct fmt_event life_event(const char *type, const char *data) {
    return (struct fmt_event){.flags = FMT_EVENT_HAS_DATA,
                              .stream_id = {"$meta:a", 7},
                              .event_type = {type, strlen(type)},
                              .data = {data, strlen(data)}};
}

static void what_is_written_is_read(void **state) {
    (void)state;
    for (int kind = 0; kind < FMT_LIFE_KINDS; kind++)
        for (int i = 0; i < 1000; i++) {
            char data[FMT_LIFE_ROOM + 1];
            struct fmt_life l = {(enum fmt_life_kind)kind,
                                 test_random() >> (1 + test_below(63)),
                                 test_random() >> (1 + test_below(63)),
                                 {NULL, 0}};
            struct fmt_life back;
            data[fmt_life_encode(&l, data)] = '\0';
            struct fmt_event e = life_event(fmt_life_type(l.kind), data);
            assert_true(fmt_life_decode(&e, &back));
            assert_int_equal(back.kind, l.kind);
            assert_int_equal(back.deleted_before, l.deleted_before);
            assert_int_equal(back.truncated_before, l.truncated_before);
        }
}

static void what_is_not_as_specified_says_nothing(void **state) {
    (void)state;
    static const struct {
        const char *type, *data;
        bool good;
    } cases[] = {
        {"$stream-deleted", "{\"deleted_before\":1,\"truncated_before\":0}", true},
        {"$stream-deleted", "{\"deleted_before\":1,\"truncated_before\":0,\"why\":\"x\"}", true},
        {"$stream-deleted", "{\"deleted_before\":9223372036854775807,\"truncated_before\":0}", true},
        {"$stream-deleted", "{\"deleted_before\":9223372036854775808,\"truncated_before\":0}", false},
        {"$stream-deleted", "{\"deleted_before\":99999999999999999999,\"truncated_before\":0}", false},
        {"$stream-deleted", "{\"deleted_before\":01,\"truncated_before\":0}", false},
        {"$stream-deleted", "{\"deleted_before\":-1,\"truncated_before\":0}", false},
        {"$stream-deleted", "{\"deleted_before\":1.0,\"truncated_before\":0}", false},
        {"$stream-deleted", "{\"deleted_before\":,\"truncated_before\":0}", false},
        {"$stream-deleted", "{\"truncated_before\":0,\"deleted_before\":1}", false},
        {"$stream-deleted", "{\"deleted_before\":1,\"truncated_before\":0", false},
        {"$stream-deleted", "{\"deleted_before\":1}", false},
        {"$stream-deleted", "", false},
        {"$stream-delete", "{\"deleted_before\":1,\"truncated_before\":0}", false},
        {"$stream-deletedd", "{\"deleted_before\":1,\"truncated_before\":0}", false},
    };
    struct fmt_life l;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct fmt_event e = life_event(cases[i].type, cases[i].data);
        if (fmt_life_decode(&e, &l) != cases[i].good)
            fail_msg("%s %s", cases[i].type, cases[i].data);
    }
    struct fmt_event e = life_event(cases[0].type, cases[0].data);
    e.flags |= FMT_EVENT_BINARY;
    assert_false(fmt_life_decode(&e, &l));
    e.flags = 0;
    assert_false(fmt_life_decode(&e, &l));
    assert_true(fmt_is_meta((struct fmt_text){"$meta:a", 7}));
    assert_false(fmt_is_meta((struct fmt_text){"$meta:", 6}));
    assert_false(fmt_is_meta((struct fmt_text){"$metaa:", 7}));
}

/* ---- a model ---- */

#define STREAMS 6
#define STEPS_MAX 1200

/* After each event of the log: the whole state. */
struct picture {
    int64_t last[STREAMS];
    struct es_stream_life life[STREAMS];
    uint64_t epoch_us;
};

struct model {
    struct picture *at; /* at[p]: before position p */
    uint64_t end;
};

static const char *const names[STREAMS] = {"a", "b", "a-long-name-that-goes-on-beyond-thirty-six-bytes", "d", "e", "f"};

static struct picture *next_picture(struct model *m, uint64_t epoch_us) {
    assert_true(m->end + 1 < STEPS_MAX);
    m->at[m->end + 1] = m->at[m->end];
    m->at[m->end].epoch_us = epoch_us; /* of the event at this position */
    return &m->at[++m->end];
}

static void note_life(struct model *m, int stream, const struct esdb_receipt *r, uint64_t deleted, uint64_t truncated,
                      bool closed) {
    if (r->frame_index == 0)
        return;
    assert_int_equal(r->first_position, m->end);
    struct es_stream_life *l = &next_picture(m, r->epoch_us)->life[stream];
    l->deleted_before = deleted;
    l->truncated_before = truncated;
    l->closed = closed;
    l->first_version = closed ? UINT64_MAX : deleted > truncated ? deleted : truncated;
    l->meta_version++;
}

static void step_append(struct test_store *s, struct model *m, int stream) {
    struct esdb_receipt r;
    struct esdb_error err = {0};
    const struct picture *p = &m->at[m->end];
    int64_t last = p->last[stream];
    bool exists = es_life_exists(&p->life[stream], last), fits = true;
    esdb_batch_clear(s->batch);
    test_add(s->batch, names[stream], "t", NULL, test_data(10 + test_below(2000)));
    static const int64_t choices[] = {ESDB_ANY, ESDB_NO_STREAM, ESDB_EXISTS, 0};
    uint32_t choice = test_below(4);
    int64_t expected = choice == 3 ? (last < 0 ? 0 : last - test_below(2)) : choices[choice];
    if (expected < 0 && choice == 3)
        expected = 0;
    if (choice == 1)
        fits = !exists;
    else if (choice == 2)
        fits = exists;
    else if (choice == 3)
        fits = expected == last;
    fits = fits && !p->life[stream].closed;
    assert_int_equal(esdb_batch_expect(s->batch, test_text(names[stream]), expected, NULL), 0);
    int rc = esdb_append(s->db, s->batch, 0, &r, &err);
    assert_code(rc, fits ? 0 : ESDB_ECONFLICT, &err);
    if (rc == 0) {
        assert_int_equal(r.streams[0].first_version, last + 1);
        next_picture(m, r.epoch_us)->last[stream]++;
    } else
        assert_int_equal(err.actual, last);
}

static void step_change(struct test_store *s, struct model *m, int stream, uint32_t what) {
    struct esdb_receipt r = {0};
    struct esdb_error err = {0};
    struct esdb_text name = test_text(names[stream]);
    struct es_stream_life l = m->at[m->end].life[stream];
    int64_t last = m->at[m->end].last[stream];
    bool exists = es_life_exists(&l, last);
    uint64_t before = test_below((uint32_t)last + 4);
    int rc;
    switch (what) {
    case 0:
        rc = esdb_stream_delete(s->db, name, ESDB_ANY, false, &r, &err);
        assert_code(rc, exists ? 0 : ESDB_ENOTFOUND, &err);
        note_life(m, stream, &r, (uint64_t)last + 1, l.truncated_before, false);
        break;
    case 1:
        rc = esdb_stream_undelete(s->db, name, &r, &err);
        assert_code(rc, l.closed ? ESDB_ECONFLICT : l.deleted_before ? 0 : ESDB_ENOTFOUND, &err);
        note_life(m, stream, &r, 0, l.truncated_before, false);
        break;
    case 2:
        rc = esdb_stream_truncate(s->db, name, before, &r, &err);
        assert_code(rc, !exists ? ESDB_ENOTFOUND : before > (uint64_t)last + 1 ? ESDB_ECONFLICT : 0, &err);
        assert_int_equal(r.frame_index != 0, rc == 0 && before > l.first_version);
        note_life(m, stream, &r, l.deleted_before, before, false);
        break;
    default:
        rc = esdb_stream_delete(s->db, name, last, true, &r, &err);
        assert_code(rc, last >= 0 && !l.closed ? 0 : ESDB_ENOTFOUND, &err);
        note_life(m, stream, &r, (uint64_t)last + 1, l.truncated_before, true);
    }
}

static void same_life(const struct es_stream_life *a, const struct es_stream_life *b) {
    assert_int_equal(a->first_version, b->first_version);
    assert_int_equal(a->deleted_before, b->deleted_before);
    assert_int_equal(a->truncated_before, b->truncated_before);
    assert_int_equal(a->closed, b->closed);
    assert_int_equal(a->meta_version, b->meta_version);
}

/* Everything that is known of all streams as of a position. */
static void check_as_of(esdb *db, const struct model *m, uint64_t end) {
    struct es_life *all;
    struct esdb_error err = {0};
    const struct picture *p = &m->at[end < m->end ? end : m->end];
    assert_done(es_life_open(db, end, &all, &err), &err);
    for (int i = 0; i < STREAMS; i++) {
        struct esdb_text name = test_text(names[i]);
        struct es_stream_life one;
        int64_t version;
        assert_done(es_life_of(db, name, end, &one, &err), &err);
        same_life(&one, &p->life[i]);
        assert_int_equal(es_life_first(all, name), one.first_version);
        es_life_find(all, name, &one);
        assert_int_equal(one.deleted_before, p->life[i].deleted_before);
        assert_int_equal(one.closed, p->life[i].closed);
        for (uint64_t v = 0; v < 8; v++)
            assert_int_equal(es_life_hides(all, name, one.first_version + v - 4),
                             one.first_version + v - 4 < one.first_version);
        assert_done(esdb_stream_version_at(db, name, end, &version, &err), &err);
        assert_int_equal(version, es_life_exists(&p->life[i], p->last[i]) ? p->last[i] : -1);
    }
    assert_int_equal(all->damage.code, 0);
    es_life_close(all);
}

/* A scan that begins with what was known at a position, and takes what comes, knows all at the end. */
static void check_taking(esdb *db, const struct model *m, uint64_t from) {
    struct es_life *l;
    struct esdb_query q;
    struct esdb_cursor *c;
    struct esdb_event e;
    struct esdb_error err = {0};
    int rc;
    assert_done(es_life_open(db, from, &l, &err), &err);
    esdb_query_init(&q);
    q.flags =
        ESDB_ALL | ESDB_WITH_SYSTEM; /* system streams are always shown, old life events too: they change nothing */
    assert_done(esdb_cursor_open(db, &q, &c, &err), &err);
    while ((rc = esdb_cursor_next(c, &e, &err)) == 0) {
        struct fmt_event f = {.version = e.version,
                              .flags = FMT_EVENT_HAS_DATA,
                              .stream_id = {e.stream_id.at, e.stream_id.len},
                              .event_type = {e.event_type.at, e.event_type.len},
                              .data = {e.data.at, e.data.len}};
        assert_int_equal(es_life_take(l, &f), 0);
        if (e.position < from) /* what is older than what is known changes nothing */
            for (int i = 0; i < STREAMS; i++)
                assert_int_equal(es_life_first(l, test_text(names[i])), m->at[from].life[i].first_version);
    }
    assert_code(rc, ESDB_END, &err);
    esdb_cursor_close(c);
    for (int i = 0; i < STREAMS; i++)
        assert_int_equal(es_life_first(l, test_text(names[i])), m->at[m->end].life[i].first_version);
    es_life_close(l);
}

static void check_times(esdb *db, const struct model *m) {
    struct esdb_error err = {0};
    for (uint64_t p = 0; p < m->end; p += 1 + test_below(9))
        for (int64_t by = -1; by <= 1; by++) {
            uint64_t time_us = m->at[p].epoch_us + (uint64_t)by, got, want = 0;
            while (want < m->end && m->at[want].epoch_us < time_us)
                want++;
            assert_done(esdb_position_at(db, time_us, &got, &err), &err);
            assert_int_equal(got, want);
        }
    uint64_t got;
    assert_done(esdb_position_at(db, 0, &got, &err), &err);
    assert_int_equal(got, 0);
    assert_done(esdb_position_at(db, UINT64_MAX, &got, &err), &err);
    assert_int_equal(got, m->end);
}

/* What is told of a stream's first event is what is read. */
static void check_first(esdb *db, const char *name, const struct esdb_stream_info *i) {
    struct esdb_query q;
    struct esdb_cursor *c;
    struct esdb_event e;
    struct esdb_error err = {0};
    struct esdb_text stream = test_text(name);
    esdb_query_init(&q);
    q.streams = &stream;
    q.stream_count = 1;
    assert_done(esdb_cursor_open(db, &q, &c, &err), &err);
    assert_code(esdb_cursor_next(c, &e, &err), i->count ? 0 : ESDB_END, &err);
    if (i->count) {
        assert_int_equal(e.version, i->first_version);
        assert_int_equal(e.position, i->first_position);
        assert_int_equal(e.epoch_us, i->first_epoch_us);
    }
    esdb_cursor_close(c);
}

static void check_now(esdb *db, const struct model *m) {
    struct esdb_error err = {0};
    struct esdb_stream_list *list;
    struct esdb_stream_info i;
    int listed = 0, living = 0, rc;
    for (int k = 0; k < STREAMS; k++) {
        const struct es_stream_life *l = &m->at[m->end].life[k];
        int64_t last = m->at[m->end].last[k];
        bool exists = es_life_exists(l, last);
        rc = esdb_stream_info(db, test_text(names[k]), &i, &err);
        assert_int_equal(rc, exists ? 0 : ESDB_ENOTFOUND);
        err = (struct esdb_error){0};
        living += exists;
        if (!exists)
            continue;
        assert_int_equal(i.last_version, last);
        assert_int_equal(i.first_version, l->first_version);
        assert_int_equal(i.count, (uint64_t)last + 1 - l->first_version);
        check_first(db, names[k], &i);
    }
    assert_done(esdb_stream_list_open(db, test_text(NULL), 0, &list, &err), &err);
    while ((rc = esdb_stream_list_next(list, &i, &err)) == 0)
        listed++;
    assert_code(rc, ESDB_END, &err);
    assert_int_equal(listed, living);
    esdb_stream_list_close(list);
}

static void random_lives_are_those_of_the_model(void **state) {
    (void)state;
    struct test_store s;
    struct model m = {.at = calloc(STEPS_MAX, sizeof(struct picture))};
    assert_non_null(m.at);
    for (int k = 0; k < STREAMS; k++) {
        m.at[0].last[k] = -1;
        m.at[0].life[k].meta_version = -1;
    }
    test_store_open(&s, TEST_SMALL_SEGMENT);
    for (int i = 0; i < 900; i++) {
        int stream = (int)test_below(STREAMS);
        uint32_t what = test_below(100);
        if (what < 60)
            step_append(&s, &m, stream);
        else
            step_change(&s, &m, stream, what < 75 ? 0 : what < 87 ? 1 : what < 99 ? 2 : 3);
        if (test_below(40) == 0)
            test_store_reopen(&s);
        if (test_below(30) == 0)
            check_as_of(s.db, &m, test_random() % (m.end + 2));
        if (test_below(8) == 0)
            check_now(s.db, &m);
    }
    for (int pass = 0; pass < 2; pass++) {
        for (uint64_t p = 0; p <= m.end + 1; p += 1 + test_below(5))
            check_as_of(s.db, &m, p);
        check_as_of(s.db, &m, UINT64_MAX);
        check_now(s.db, &m);
        check_times(s.db, &m);
        check_taking(s.db, &m, 0);
        check_taking(s.db, &m, m.end / 2);
        struct fmt_head *h = test_head_map(&s); /* the second time, head knows nothing */
        memset(h, 0, sizeof *h);
        test_head_unmap(h);
        test_store_reopen(&s);
    }
    test_store_close(&s);
    free(m.at);
}

/* ---- the word in head ---- */

static uint64_t life_word(struct test_store *s) {
    uint64_t end = 0;
    return es_head_life(s->db, 0, &end) ? end : UINT64_MAX;
}

static void expect_exists(struct test_store *s, const char *stream, int code) {
    struct esdb_receipt r;
    esdb_batch_clear(s->batch);
    esdb_batch_expect(s->batch, test_text(stream), ESDB_EXISTS, NULL);
    assert_int_equal(esdb_append(s->db, s->batch, 0, &r, NULL), code);
}

static void head_knows_whether_there_is_anything_to_look_for(void **state) {
    (void)state;
    struct test_store s;
    struct esdb_error err = {0};
    test_store_open(&s, TEST_SMALL_SEGMENT);
    test_append(&s, "a", "1");
    test_append(&s, "a", "1");
    assert_int_equal(life_word(&s), 0);
    struct fmt_head *h = test_head_map(&s), old = *h;
    assert_done(esdb_stream_delete(s.db, test_text("a"), ESDB_ANY, false, NULL, &err), &err);
    assert_int_equal(life_word(&s), 3);
    expect_exists(&s, "a", ESDB_ECONFLICT);
    atomic_store(&h->life, 12345); /* damaged */
    expect_exists(&s, "a", ESDB_ECONFLICT);
    assert_int_equal(life_word(&s), 3);
    *h = old; /* a copy from before the deletion, which says that there is none */
    test_store_reopen(&s);
    expect_exists(&s, "a", ESDB_ECONFLICT);
    *h = old;
    test_store_reopen(&s);
    struct es_life *l;
    assert_done(es_life_open(s.db, UINT64_MAX, &l, &err), &err); /* adopts, looks, and lets the others know */
    assert_int_equal(l->count, 1);
    es_life_close(l);
    assert_int_equal(life_word(&s), 3);
    struct esdb_stream_info i;
    assert_int_equal(esdb_stream_info(s.db, test_text("a"), &i, NULL), ESDB_ENOTFOUND);
    test_append(&s, "b", "1");
    struct fmt_head now = *h;
    *h = old; /* who may not write looks behind it */
    esdb *reader = test_open(s.path, ESDB_EXAMINE);
    assert_int_equal(esdb_stream_info(reader, test_text("a"), &i, NULL), ESDB_ENOTFOUND);
    esdb_close(reader);
    *h = now;
    memset(h, 0, sizeof *h);
    test_store_reopen(&s);
    expect_exists(&s, "a", ESDB_ECONFLICT);
    atomic_store(&h->life, fmt_word_encode(0)); /* left over in a page that is rebuilt */
    atomic_store(&h->generation, 0);
    test_store_reopen(&s);
    expect_exists(&s, "a", ESDB_ECONFLICT);
    test_head_unmap(h);
    test_store_close(&s);
}

/* A handle remembers the streams of its imports: not what it, or another one, deletes in between. */
static void an_import_notices_deletions(void **state) {
    (void)state;
    struct test_store s;
    struct esdb_error err = {0};
    struct esdb_receipt r;
    test_store_open(&s, TEST_SMALL_SEGMENT);
    for (int round = 0; round < 4; round++) {
        esdb *other = round % 2 ? test_open(s.path, ESDB_APPEND) : s.db;
        for (int frame = 0; frame < 2; frame++) {
            esdb_batch_clear(s.batch);
            for (int i = 0; i < 100; i++)
                test_add(s.batch, i % 2 ? "a" : "b", "t", NULL, "1");
            esdb_batch_expect(s.batch, test_text("a"), frame ? ESDB_EXISTS : ESDB_NO_STREAM, NULL);
            assert_done(esdb_append(s.db, s.batch, 0, &r, &err), &err);
        }
        assert_done(esdb_stream_delete(other, test_text("a"), ESDB_ANY, false, NULL, &err), &err);
        expect_exists(&s, "a", ESDB_ECONFLICT);
        expect_exists(&s, "b", 0);
        if (other != s.db)
            esdb_close(other);
    }
    for (int frame = 0; frame < 2; frame++) { /* a deleted stream that is only expected still is none */
        esdb_batch_clear(s.batch);
        for (int i = 0; i < 100; i++)
            test_add(s.batch, "b", "t", NULL, "1");
        esdb_batch_expect(s.batch, test_text("a"), ESDB_NO_STREAM, NULL);
        assert_done(esdb_append(s.db, s.batch, 0, &r, &err), &err);
    }
    assert_done(esdb_stream_delete(s.db, test_text("b"), ESDB_ANY, true, NULL, &err), &err);
    assert_int_equal(esdb_append(s.db, s.batch, 0, &r, NULL), ESDB_ECONFLICT);
    test_store_close(&s);
}

/* What is appended and not yet durable counts for those who append. */
static void undurable_events_count_for_a_deletion(void **state) {
    (void)state;
    struct test_store s;
    struct esdb_error err = {0};
    struct esdb_receipt r;
    int64_t version;
    test_store_open(&s, TEST_SMALL_SEGMENT);
    test_append(&s, "a", "1");
    esdb_batch_clear(s.batch);
    test_add(s.batch, "a", "t", NULL, "2");
    assert_int_equal(esdb_append(s.db, s.batch, ESDB_NO_WAIT, &r, NULL), 0);
    assert_code(esdb_stream_delete(s.db, test_text("a"), 0, false, NULL, &err), ESDB_ECONFLICT, &err);
    assert_int_equal(err.actual, 1);
    err = (struct esdb_error){0};
    assert_int_equal(esdb_append(s.db, s.batch, ESDB_NO_WAIT, &r, NULL), 0);
    assert_done(esdb_stream_delete(s.db, test_text("a"), ESDB_ANY, false, &r, &err), &err);
    assert_int_equal(r.first_position, 3);
    assert_int_equal(r.stream_count, 0);
    assert_done(esdb_stream_version_at(s.db, test_text("a"), 3, &version, &err), &err);
    assert_int_equal(version, 2);
    assert_done(esdb_stream_version_at(s.db, test_text("a"), 4, &version, &err), &err);
    assert_int_equal(version, -1);
    assert_code(esdb_stream_delete(s.db, test_text("$a"), ESDB_ANY, false, NULL, &err), ESDB_EUSAGE, &err);
    err = (struct esdb_error){0};
    assert_code(esdb_stream_truncate(s.db, test_text(""), 0, NULL, &err), ESDB_EINVALID, &err);
    esdb *reader = test_open(s.path, ESDB_READ);
    err = (struct esdb_error){0};
    assert_code(esdb_stream_undelete(reader, test_text("a"), NULL, &err), ESDB_EUSAGE, &err);
    esdb_close(reader);
    test_store_close(&s);
}

/* Other events in a $meta: stream are somebody else's; the newest that tells counts. */
static void other_events_of_a_meta_stream_are_passed_over(void **state) {
    (void)state;
    struct test_store s;
    struct esdb_error err = {0};
    struct esdb_receipt r;
    struct es_stream_life l;
    test_store_open(&s, TEST_SMALL_SEGMENT);
    for (int i = 0; i < 3; i++)
        test_append(&s, "a", "1");
    assert_done(esdb_stream_truncate(s.db, test_text("a"), 2, NULL, &err), &err);
    struct esdb_new_event e = test_event("$meta:a", "$retention", "{\"days\":3}");
    e.system = true;
    esdb_batch_clear(s.batch);
    assert_done(esdb_batch_add(s.batch, &e, &err), &err);
    assert_done(esdb_append(s.db, s.batch, 0, &r, &err), &err);
    assert_done(es_life_of(s.db, test_text("a"), UINT64_MAX, &l, &err), &err);
    assert_int_equal(l.first_version, 2);
    assert_int_equal(l.meta_version, 1);
    assert_done(esdb_stream_delete(s.db, test_text("a"), 2, false, NULL, &err), &err);
    assert_done(es_life_of(s.db, test_text("a"), UINT64_MAX, &l, &err), &err);
    assert_int_equal(l.deleted_before, 3);
    assert_int_equal(l.truncated_before, 2);
    assert_int_equal(l.meta_version, 2);
    test_store_close(&s);
}

/* Somebody truncates between a deletion's look and its write: both hold. */
static void changes_that_meet_both_hold(void **state) {
    (void)state;
    struct test_store s;
    struct esdb_error err = {0};
    struct esdb_receipt r;
    struct es_stream_life l;
    test_store_open(&s, TEST_SMALL_SEGMENT);
    for (int i = 0; i < 3; i++)
        test_append(&s, "a", "1");
    struct esdb_new_event e =
        test_event("$meta:a", "$stream-truncated", "{\"deleted_before\":0,\"truncated_before\":2}");
    e.system = true;
    esdb_batch_clear(s.batch);
    assert_done(esdb_batch_add(s.batch, &e, &err), &err);
    assert_done(esdb_append(s.db, s.batch, ESDB_NO_WAIT, &r, &err), &err); /* not visible yet */
    assert_done(esdb_stream_delete(s.db, test_text("a"), ESDB_ANY, false, &r, &err), &err);
    assert_int_equal(r.first_position, 4);
    assert_done(es_life_of(s.db, test_text("a"), UINT64_MAX, &l, &err), &err);
    assert_int_equal(l.deleted_before, 3);
    assert_int_equal(l.truncated_before, 2);
    test_store_close(&s);
}

/* A damaged segment says nothing; what the others say still holds. */
static void damage_elsewhere_brings_nothing_back(void **state) {
    (void)state;
    struct test_store s;
    struct esdb_error err = {0};
    struct es_life *l;
    char path[TEST_PATH], table[TEST_PATH];
    uint64_t segments[16];
    test_store_open(&s, TEST_SMALL_SEGMENT);
    for (int i = 0; i < 60; i++) {
        test_append(&s, i % 2 ? "a" : "b", test_data(6000));
        if (i == 1)
            assert_done(esdb_stream_delete(s.db, test_text("a"), ESDB_ANY, false, NULL, &err), &err);
        if (i == 35)
            assert_done(esdb_stream_truncate(s.db, test_text("b"), 2, NULL, &err), &err);
    }
    size_t count = test_segments(&s, segments, 16);
    int missing = 0;
    assert_true(count > 4);
    for (size_t damaged = 0; damaged < count; damaged++) {
        size_t len;
        test_segment_file(path, &s, segments[damaged], "log");
        test_segment_file(table, &s, segments[damaged], "idx");
        unsigned char *whole = test_file_read(path, &len);
        assert_non_null(whole);
        chmod(path, 0600);
        test_file_patch(path, 8, "wrong", 5);
        unlink(table);
        esdb *db = test_open(s.path, ESDB_EXAMINE);
        assert_done(es_life_open(db, UINT64_MAX, &l, &err), &err);
        uint64_t a = es_life_first(l, test_text("a")), b = es_life_first(l, test_text("b"));
        assert_true(a == 1 || b == 2);
        missing += (a != 1) + (b != 2);
        assert_int_equal(l->damage.code, ESDB_ECORRUPT);
        es_life_close(l);
        esdb_close(db);
        test_file_write(path, whole, len);
        free(whole);
    }
    assert_int_equal(missing, 2); /* each where its event was */
    test_store_close(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(what_is_not_as_specified_says_nothing),
        cmocka_unit_test(random_lives_are_those_of_the_model),
        cmocka_unit_test(head_knows_whether_there_is_anything_to_look_for),
        cmocka_unit_test(an_import_notices_deletions),
        cmocka_unit_test(undurable_events_count_for_a_deletion),
        cmocka_unit_test(changes_that_meet_both_hold),
        cmocka_unit_test(damage_elsewhere_brings_nothing_back),
        cmocka_unit_test(other_events_of_a_meta_stream_are_passed_over),
    };
    test_seed();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
