/* Recovery: what a writer that died, a lost head or damage leaves at the end of the log. */
#include "tests/unit/store_fixture.h"

#include <errno.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <unistd.h>

#include "format/frame.h"
#include "format/live_index.h"
#include "tests/unit/fault_os.h"

/* A small store with some frames, its files in memory, so that it can be damaged and put back. */
struct image {
    struct test_store s;
    struct test_model m;
    char log_path[TEST_PATH], head_path[TEST_PATH], live_path[TEST_PATH], poison_path[TEST_PATH];
    unsigned char *log, *head;
    size_t log_len;
    uint64_t last_at, end; /* the last frame */
};

static void take_image(struct image *i) {
    size_t len;
    free(i->log);
    free(i->head);
    i->log = test_file_read(i->log_path, &i->log_len);
    i->head = test_file_read(i->head_path, &len);
    assert_int_equal(len, FMT_HEAD_SIZE);
    struct fmt_head *h = test_head_map(&i->s);
    const struct fmt_mark *m = &h->appended_mark[h->appended_mark[0].index < h->appended_mark[1].index];
    i->last_at = m->frame_offset;
    i->end = m->end_offset;
    test_head_unmap(h);
}

static void image_open(struct image *i, int frames) {
    memset(i, 0, sizeof *i);
    test_store_open(&i->s, TEST_SMALL_SEGMENT);
    test_segment_file(i->log_path, &i->s, 1, "log");
    test_segment_file(i->live_path, &i->s, 1, "live");
    test_path(i->head_path, &i->s, "head");
    test_path(i->poison_path, &i->s, "poison");
    for (int k = 0; k < frames; k++)
        test_model_append(&i->m, &i->s, k % 2 ? "b" : "a", "\"data of an event\"");
    take_image(i);
}

static void image_restore(struct image *i) {
    test_file_write(i->log_path, i->log, i->log_len);
    test_file_write(i->head_path, i->head, FMT_HEAD_SIZE);
    unlink(i->live_path);
    unlink(i->poison_path);
}

static void image_close(struct image *i) {
    test_store_close(&i->s);
    test_model_release(&i->m);
    free(i->log);
    free(i->head);
}

enum head { HEAD_KEPT, HEAD_GONE, HEAD_ZEROED, HEAD_RANDOM, HEAD_OTHER_BOOT, HEAD_OLD };

/* Puts the head file into a state. HEAD_OTHER_BOOT and HEAD_OLD are intact in themselves. */
static void set_head(struct image *i, enum head state, const unsigned char *old) {
    unsigned char page[FMT_HEAD_SIZE];
    struct fmt_head *h = (void *)page;
    memcpy(page, i->head, sizeof page);
    if (state == HEAD_GONE) {
        unlink(i->head_path);
        return;
    }
    if (state == HEAD_ZEROED)
        memset(page, 0, sizeof page);
    if (state == HEAD_RANDOM)
        for (size_t k = 0; k < sizeof page; k++)
            page[k] = (unsigned char)test_random();
    if (state == HEAD_OTHER_BOOT) {
        h->boot_id[3] ^= 0x40;
        h->check = fmt_head_check(h);
    }
    test_file_write(i->head_path, state == HEAD_OLD ? old : page, sizeof page);
}

/* Appends by a new handle. */
static int append_new(struct image *i, struct esdb_receipt *r, struct esdb_error *err) {
    memset(err, 0, sizeof *err);
    esdb *db = NULL;
    int rc = esdb_open(i->s.path, ESDB_APPEND, &db, err);
    if (rc < 0)
        return rc;
    esdb_batch_clear(i->s.batch);
    test_add(i->s.batch, "new", "t", NULL, "\"after\"");
    rc = esdb_append(db, i->s.batch, 0, r, err);
    esdb_close(db);
    return rc;
}

/* ---- the last frame ---- */

enum wound { CUT_FILE, ZERO_REST, FLIP_BYTE, GARBLE_REST };

static void wound(struct image *i, enum wound how, uint64_t at) {
    unsigned char rest[8192];
    size_t len = (size_t)(i->end - at);
    assert_true(len <= sizeof rest);
    memset(rest, 0, len);
    if (how == CUT_FILE)
        assert_int_equal(truncate(i->log_path, (off_t)at), 0);
    if (how == GARBLE_REST)
        for (size_t k = 0; k < len; k++)
            rest[k] = (unsigned char)(i->log[at + k] ^ (1 + test_below(255)));
    if (how == FLIP_BYTE) {
        rest[0] = i->log[at] ^ (unsigned char)(1u << test_below(8));
        len = 1;
    }
    if (how != CUT_FILE)
        test_file_patch(i->log_path, at, rest, len);
}

/* Nothing proves that the last frame was durable: it is cut, wherever it was torn, and the store goes on. The synced_index
 * of a frame (its last 16 header bytes) stands outside: a wrong one loses no event. */
static void a_torn_last_frame_is_cut(void **state) {
    (void)state;
    static const enum head heads[] = {HEAD_GONE, HEAD_ZEROED, HEAD_RANDOM};
    struct image i;
    image_open(&i, 5);
    for (int how = CUT_FILE; how <= GARBLE_REST; how++)
        for (uint64_t at = i.last_at; at < i.end; at++) {
            struct esdb_receipt r;
            struct esdb_error err;
            image_restore(&i);
            set_head(&i, heads[at % 3], NULL);
            wound(&i, (enum wound)how, at);
            int rc = append_new(&i, &r, &err);
            if (rc != 0)
                fail_msg("wound %d at byte %" PRIu64 " of the frame: %s", how, at - i.last_at, err.text);
            bool beside = how == FLIP_BYTE && at - i.last_at >= 96 && at - i.last_at < 112;
            bool padding =
                how != FLIP_BYTE && how != GARBLE_REST && r.first_position == 5; /* zeros were cut or zeroed */
            if (!padding && r.first_position != (beside ? 5u : 4u))
                fail_msg("wound %d at byte %" PRIu64 ": the next event got position %" PRIu64, how, at - i.last_at,
                         r.first_position);
            if (at % 16 == 0 && !beside)
                test_verify_clean(i.s.path);
        }
    image_close(&i);
}

/* Head is intact and says that the last frame was synced, or that of another boot does: it is not cut. */
static void a_durable_last_frame_is_never_cut(void **state) {
    (void)state;
    struct image i;
    image_open(&i, 5);
    for (int how = CUT_FILE; how <= GARBLE_REST; how++)
        for (int other_boot = 0; other_boot < 2; other_boot++)
            for (uint64_t at = i.last_at; at < i.end; at += 1 + test_below(5)) {
                struct esdb_receipt r;
                struct esdb_error err;
                size_t before_len, after_len;
                uint64_t in = at - i.last_at;
                if (how == FLIP_BYTE && in >= 96 && in < 112)
                    continue;
                image_restore(&i);
                set_head(&i, other_boot ? HEAD_OTHER_BOOT : HEAD_KEPT, NULL);
                wound(&i, (enum wound)how, at);
                unsigned char *before = test_file_read(i.log_path, &before_len);
                int rc = append_new(&i, &r, &err);
                unsigned char *after = test_file_read(i.log_path, &after_len);
                bool unharmed = before_len >= i.end && memcmp(before, i.log, i.end) == 0;
                if (unharmed) /* what was zeroed had been zero */
                    assert_done(rc, &err);
                else if (rc != (other_boot ? ESDB_ECORRUPT : ESDB_EPOISONED))
                    fail_msg("wound %d at byte %" PRIu64 ", head %d: code %d, %s", how, in, other_boot, rc, err.text);
                else {
                    assert_true(err.text[0]);
                    assert_int_equal(after_len, before_len);
                    assert_memory_equal(before, after, before_len);
                    if (!other_boot) { /* a repair changes nothing either */
                        memset(&err, 0, sizeof err);
                        assert_code(esdb_repair(i.s.path, &err), ESDB_ECORRUPT, &err);
                        assert_string_equal(err.file, "log/0000000000000001.log");
                    }
                }
                free(before);
                free(after);
            }
    image_close(&i);
}

/* A frame before the last: a later frame's synced_index proves that it was durable, whatever head is. */
static void a_bad_frame_before_the_last_is_damage(void **state) {
    (void)state;
    struct image i;
    image_open(&i, 5);
    uint64_t third = 0;
    for (uint64_t at = 0, n = 0; at + 112 <= i.end; at += 8) {
        struct fmt_frame f;
        if (!fmt_frame_decode(i.log + at, i.end - at, &f) && ++n == 3)
            third = at;
    }
    assert_true(third > 0);
    struct fmt_frame f;
    assert_null(fmt_frame_decode(i.log + third, i.end - third, &f));
    for (uint64_t at = third; at < third + f.frame_len; at++) {
        struct esdb_receipt r;
        struct esdb_error err;
        size_t len;
        if (at - third >= 96 && at - third < 112)
            continue;
        image_restore(&i);
        set_head(&i, (enum head)(at % 4), NULL);
        enum head head = (enum head)(at % 4);
        unsigned char was[2] = {i.log[at] ^ 0x10, 0};
        test_file_patch(i.log_path, at, was, 1);
        int rc = append_new(&i, &r, &err);
        if (head != HEAD_KEPT ||
            rc != 0) { /* with a valid head an append need not read the whole segment: verify does */
            assert_code(rc, ESDB_ECORRUPT, &err);
            assert_string_equal(err.file, "log/0000000000000001.log");
        }
        unsigned char *now = test_file_read(i.log_path, &len);
        assert_memory_equal(now, i.log, at);
        assert_memory_equal(now + at + 1, i.log + at + 1, i.end - at - 1);
        free(now);
        struct esdb_verify_options o = {0};
        struct esdb_verify_result result;
        esdb *db = test_open(i.s.path, ESDB_READ);
        memset(&err, 0, sizeof err);
        assert_code(esdb_verify(db, &o, &result, &err), ESDB_ECORRUPT, &err);
        esdb_close(db);
    }
    image_close(&i);
}

/* Puts the live index back as if it had never been touched. */
static void restore_live(const struct image *i, unsigned char *bytes, size_t len) {
    struct stat st;
    struct fmt_live_header *h = (void *)bytes;
    test_file_write(i->live_path, bytes, len);
    assert_int_equal(stat(i->live_path, &st), 0);
    h->device = (uint64_t)st.st_dev;
    h->inode = (uint64_t)st.st_ino;
    h->check = fmt_live_header_check(h);
    test_file_write(i->live_path, bytes, len);
}

/* The newest event of a stream is damaged, whatever byte of it: its next event gets the right version or none at all. */
static void a_damaged_event_never_lowers_its_streams_version(void **state) {
    (void)state;
    struct image i;
    image_open(&i, 4);
    test_model_append(&i.m, &i.s, "other", "\"the frame that is chained to\"");
    take_image(&i);
    uint64_t from = 0;
    for (uint64_t at = 0; at < i.last_at; at += 8) {
        struct fmt_frame f;
        if (!fmt_frame_decode(i.log + at, i.end - at, &f))
            from = at;
    }
    size_t live_len;
    unsigned char *live = test_file_read(i.live_path, &live_len);
    for (int kept = 1; kept >= 0; kept--)
        for (uint64_t at = from; at < i.last_at; at++) {
            struct esdb_receipt r;
            struct esdb_error err = {0};
            test_file_write(i.log_path, i.log, i.log_len);
            test_file_write(i.head_path, i.head, FMT_HEAD_SIZE);
            if (kept)
                restore_live(&i, live, live_len);
            else
                unlink(i.live_path);
            unsigned char odd = (unsigned char)(i.log[at] ^ 1u << (at % 8));
            test_file_patch(i.log_path, at, &odd, 1);
            esdb *db = test_open(i.s.path, ESDB_APPEND);
            esdb_batch_clear(i.s.batch);
            test_add(i.s.batch, "b", "t", NULL, "\"next\"");
            int rc = esdb_append(db, i.s.batch, 0, &r, &err);
            if (rc == 0 && r.streams[0].first_version != 2)
                fail_msg("byte %" PRIu64 " of the frame, index %s: version %" PRIu64 " is given again", at - from,
                         kept ? "kept" : "removed", r.streams[0].first_version);
            if (rc != 0)
                assert_code(rc, ESDB_ECORRUPT, &err);
            esdb_close(db);
            unlink(i.poison_path);
        }
    free(live);
    image_close(&i);
}

/* Stale bytes beyond the end, here those of frames that were cut, never come back. */
static void frames_that_were_cut_never_come_back(void **state) {
    (void)state;
    struct image i;
    struct esdb_receipt r;
    struct esdb_error err;
    image_open(&i, 6);
    uint64_t cut = i.last_at - 12; /* inside the frame before the last */
    image_restore(&i);
    set_head(&i, HEAD_GONE, NULL);
    /* both last frames lose their proof: the last one's synced_index is spoiled */
    test_file_patch(i.log_path, i.last_at + 96, "\xff\xff\xff\xff", 4);
    test_file_patch(i.log_path, cut, "X", 1);
    int rc = append_new(&i, &r, &err);
    assert_done(rc, &err);
    uint64_t end = r.first_position;
    assert_true(end < 5);
    for (int k = 0; k < 4; k++) {
        assert_done(append_new(&i, &r, &err), &err);
        assert_int_equal(r.first_position, end + 1 + (uint64_t)k);
        struct fmt_head *h = test_head_map(&i.s);
        memset(h, 0, sizeof *h);
        test_head_unmap(h);
    }
    test_verify_clean(i.s.path);
    image_close(&i);
}

/* ---- a writer that died ---- */

/* The frame is whole in the log, head does not know it yet: it is taken as it is. */
static void a_dead_writers_whole_frames_are_adopted(void **state) {
    (void)state;
    for (int frames = 1; frames < 40; frames += 6) {
        struct image i;
        struct esdb_receipt r;
        struct esdb_error err;
        image_open(&i, 5);
        unsigned char *before = malloc(FMT_HEAD_SIZE);
        memcpy(before, i.head, FMT_HEAD_SIZE);
        for (int k = 0; k < frames; k++) /* the later ones over a roll-over */
            test_model_append(&i.m, &i.s, "dead", test_data(6000));
        esdb_close(i.s.db);
        i.s.db = NULL;
        test_file_write(i.head_path, before, FMT_HEAD_SIZE); /* of before those appends */
        esdb *reader = test_open(i.s.path, ESDB_READ);
        uint64_t end;
        assert_done(esdb_end_position(reader, &end, NULL), NULL);
        assert_in_range(end, 5, i.m.count); /* what is proven or was made durable by a rebuild may be shown */
        assert_done(append_new(&i, &r, &err), &err);
        assert_int_equal(r.first_position, i.m.count);
        test_model_add(&i.m, "new", "t", NULL, "\"after\"");
        assert_done(esdb_end_position(reader, &end, NULL), NULL);
        assert_int_equal(end, i.m.count);
        esdb_close(reader);
        test_model_check(&i.m, i.s.path, i.m.count);
        free(before);
        image_close(&i);
    }
}

/* Half a frame beyond what head knows: zeroed, and its bytes do not matter. */
static void a_dead_writers_half_frame_is_zeroed(void **state) {
    (void)state;
    struct image i;
    image_open(&i, 4);
    unsigned char *old = malloc(FMT_HEAD_SIZE);
    memcpy(old, i.head, FMT_HEAD_SIZE);
    test_append(&i.s, "dead", "\"a frame that will be torn\"");
    take_image(&i);
    for (uint64_t at = i.last_at + 1; at < i.end; at++) {
        struct esdb_receipt r;
        struct esdb_error err;
        image_restore(&i);
        set_head(&i, HEAD_OLD, old);
        wound(&i, at % 2 ? ZERO_REST : GARBLE_REST, at);
        assert_done(append_new(&i, &r, &err), &err);
        uint64_t in = at - i.last_at;
        if (!(in >= 96 && in < 112) && r.first_position != 4 && at % 2 == 0)
            fail_msg("byte %" PRIu64 ": position %" PRIu64, in, r.first_position);
        if (at % 16 == 0)
            test_verify_clean(i.s.path);
    }
    free(old);
    image_close(&i);
}

static void a_stale_sync_mark_makes_the_next_leader_write_again(void **state) {
    (void)state;
    struct image i;
    struct esdb_error err = {0};
    struct esdb_receipt r;
    image_open(&i, 3);
    test_add(i.s.batch, "a", "t", NULL, "1");
    esdb_batch_clear(i.s.batch);
    test_add(i.s.batch, "a", "t", NULL, "\"not synced\"");
    assert_int_equal(esdb_append(i.s.db, i.s.batch, ESDB_NO_WAIT, &r, NULL), 0);
    test_model_add(&i.m, "a", "t", NULL, "\"not synced\"");
    struct fmt_head *h = test_head_map(&i.s);
    h->in_progress = fmt_word_encode(1); /* its leader died between fdatasync and telling */
    fault_install();
    fault_only(".log");
    assert_done(esdb_commit(i.s.db, &r, &err), &err);
    assert_int_equal(fault_count(FAULT_PWRITE), 1); /* just the frame that was not known synced */
    assert_int_equal(fault_count(FAULT_FDATASYNC), 1);
    uint64_t mark = 77;
    assert_true(fmt_word_decode(h->in_progress, &mark));
    assert_int_equal(mark, 0);
    fault_clear();
    test_model_append(&i.m, &i.s, "a", "2");
    assert_int_equal(fault_count(FAULT_PWRITE), 1);
    fault_remove();
    test_head_unmap(h);
    test_model_check(&i.m, i.s.path, i.m.count);
    image_close(&i);
}

/* The same, but the frame went bad meanwhile: poison, and nothing is acknowledged. */
static void a_stale_sync_mark_over_a_bad_frame_poisons(void **state) {
    (void)state;
    struct image i;
    struct esdb_error err = {0};
    struct esdb_receipt r[2];
    image_open(&i, 3);
    for (int k = 0; k < 2; k++) {
        esdb_batch_clear(i.s.batch);
        test_add(i.s.batch, "a", "t", NULL, "\"not synced\"");
        assert_int_equal(esdb_append(i.s.db, i.s.batch, ESDB_NO_WAIT, &r[k], NULL), 0);
    }
    struct fmt_head *h = test_head_map(&i.s);
    h->in_progress = fmt_word_encode(1);
    test_head_unmap(h);
    test_file_patch(i.log_path, i.end + 150, "X", 1); /* in the first of the two */
    assert_code(esdb_commit(i.s.db, &r[0], &err), ESDB_EPOISONED, &err);
    err = (struct esdb_error){0};
    assert_code(esdb_commit(i.s.db, &r[1], &err), ESDB_EPOISONED, &err);
    err = (struct esdb_error){0};
    assert_done(esdb_repair(i.s.path, &err), &err); /* neither was durable: both are cut */
    test_append(&i.s, "a", "1");
    test_verify_clean(i.s.path);
    uint64_t end;
    assert_int_equal(esdb_end_position(i.s.db, &end, NULL), 0);
    assert_int_equal(end, 4);
    image_close(&i);
}

/* ---- head ---- */

static void a_head_that_was_replaced_is_noticed_by_open_handles(void **state) {
    (void)state;
    struct image i;
    image_open(&i, 3);
    esdb *other = test_open(i.s.path, ESDB_APPEND), *mine = i.s.db;
    for (int k = 0; k < 6; k++) {
        char away[TEST_PATH];
        size_t len;
        unsigned char *bytes = test_file_read(i.head_path, &len);
        test_path(away, &i.s, "head.old");
        rename(i.head_path, away); /* another inode with the same bytes, an empty one, none */
        if (k % 3 == 0)
            test_file_write(i.head_path, bytes, len);
        else if (k % 3 == 1)
            test_file_write(i.head_path, "", 0);
        free(bytes);
        i.s.db = k % 2 ? mine : other;
        test_model_append(&i.m, &i.s, "a", "1");
        i.s.db = k % 2 ? other : mine;
        test_model_append(&i.m, &i.s, "a", "2");
        unlink(away);
    }
    i.s.db = mine;
    esdb_close(other);
    test_model_check(&i.m, i.s.path, i.m.count);
    image_close(&i);
}

/* Whatever stands in head: no acknowledged event is lost, no wrong answer is given. */
static void any_byte_of_head_may_be_wrong(void **state) {
    (void)state;
    struct image i;
    image_open(&i, 5);
    for (size_t at = 0; at < 640; at++) {
        struct esdb_error err = {0};
        struct esdb_receipt r;
        image_restore(&i);
        i.head[at] ^= (unsigned char)(1u << (at % 8));
        test_file_write(i.head_path, i.head, FMT_HEAD_SIZE);
        i.head[at] ^= (unsigned char)(1u << (at % 8));
        esdb *db = test_open(i.s.path, at % 2 ? ESDB_EXAMINE : ESDB_READ);
        uint64_t end;
        assert_done(esdb_end_position(db, &end, &err), &err);
        assert_in_range(end, 4, 5);
        struct esdb_query q;
        int rc;
        esdb_query_init(&q);
        q.flags = ESDB_ALL;
        assert_int_equal(test_count(db, &q, &rc), end);
        assert_code(rc, ESDB_END, NULL);
        esdb_close(db);
        assert_done(append_new(&i, &r, &err), &err);
        if (r.first_position != 5)
            fail_msg("byte %zu of head: the next event got position %" PRIu64, at, r.first_position);
        if (at % 32 == 0)
            test_verify_clean(i.s.path);
    }
    image_close(&i);
}

static void a_store_moved_with_its_head_opens_as_it_is(void **state) {
    (void)state;
    struct image i;
    image_open(&i, 5);
    image_restore(&i);
    unlink(i.head_path);
    test_file_write(i.head_path, i.head, FMT_HEAD_SIZE); /* a copy: another inode */
    esdb_close(i.s.db);
    i.s.db = NULL;
    test_model_check(&i.m, i.s.path, i.m.count);
    i.s.db = test_open(i.s.path, ESDB_APPEND);
    test_model_append(&i.m, &i.s, "a", "1");
    test_model_check(&i.m, i.s.path, i.m.count);
    image_close(&i);
}

/* A copied head says nothing about a log that was copied later or earlier. */
static void an_old_head_loses_nothing(void **state) {
    (void)state;
    for (int copied = 0; copied < 2; copied++) {
        struct image i;
        struct esdb_receipt r;
        struct esdb_error err;
        image_open(&i, 3);
        unsigned char *old = malloc(FMT_HEAD_SIZE);
        memcpy(old, i.head, FMT_HEAD_SIZE);
        for (int k = 0; k < 30; k++)
            test_model_append(&i.m, &i.s, "a", test_data(9000));
        if (copied)
            unlink(i.head_path);
        test_file_write(i.head_path, old, FMT_HEAD_SIZE);
        free(old);
        assert_done(append_new(&i, &r, &err), &err);
        assert_int_equal(r.first_position, i.m.count);
        test_model_add(&i.m, "new", "t", NULL, "\"after\"");
        test_model_check(&i.m, i.s.path, i.m.count);
        image_close(&i);
    }
}

/* ---- other ---- */

static void a_poisoned_store_says_why(void **state) {
    (void)state;
    struct image i;
    struct esdb_error err = {0};
    struct esdb_receipt r;
    struct esdb_stat st;
    image_open(&i, 3);
    fault_install();
    fault_at(FAULT_PWRITE, 1, EIO);
    assert_code(append_new(&i, &r, &err), ESDB_EPOISONED, &err);
    fault_remove();
    assert_non_null(strstr(err.text, "appends are refused until esdb-verify --repair"));
    assert_code(append_new(&i, &r, &err), ESDB_EPOISONED, &err);
    assert_non_null(strstr(err.text, "writing the log: Input/output error"));
    esdb *db = test_open(i.s.path, ESDB_READ);
    memset(&err, 0, sizeof err);
    assert_done(esdb_stat(db, &st, &err), &err);
    assert_true(st.poisoned);
    assert_true(st.poison[0]);
    esdb_close(db);
    assert_done(esdb_repair(i.s.path, &err), &err);
    assert_int_not_equal(access(i.poison_path, F_OK), 0);
    assert_done(esdb_repair(i.s.path, &err), &err); /* nothing to do */
    assert_done(append_new(&i, &r, &err), &err);
    assert_int_equal(r.first_position, 3);
    image_close(&i);
}

static void whoever_only_examines_changes_nothing(void **state) {
    (void)state;
    struct image i;
    size_t len;
    struct stat st;
    image_open(&i, 5);
    set_head(&i, HEAD_OTHER_BOOT, NULL);
    test_file_patch(i.log_path, i.end, "garbage", 7);
    free(i.log);
    i.log = test_file_read(i.log_path, &i.log_len);
    free(i.head);
    i.head = test_file_read(i.head_path, &len);
    esdb *db = test_open(i.s.path, ESDB_EXAMINE);
    uint64_t end;
    assert_int_equal(esdb_end_position(db, &end, NULL), 0);
    assert_int_equal(end, 5); /* of another boot: what is on the disk is durable */
    struct esdb_query q;
    int rc;
    esdb_query_init(&q);
    q.flags = ESDB_ALL;
    assert_int_equal(test_count(db, &q, &rc), 5);
    assert_int_equal(rc, ESDB_END);
    struct esdb_verify_options o = {0};
    struct esdb_verify_result r;
    assert_int_equal(esdb_verify(db, &o, &r, NULL), 0);
    assert_int_equal(r.torn, 1);
    esdb_close(db);
    unsigned char *log = test_file_read(i.log_path, &len), *head = test_file_read(i.head_path, &len);
    assert_memory_equal(head, i.head, FMT_HEAD_SIZE);
    assert_memory_equal(log, i.log, i.log_len);
    assert_int_not_equal(stat(i.poison_path, &st), 0);
    free(log);
    free(head);
    image_close(&i);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_torn_last_frame_is_cut),
        cmocka_unit_test(a_durable_last_frame_is_never_cut),
        cmocka_unit_test(a_bad_frame_before_the_last_is_damage),
        cmocka_unit_test(a_damaged_event_never_lowers_its_streams_version),
        cmocka_unit_test(frames_that_were_cut_never_come_back),
        cmocka_unit_test(a_dead_writers_whole_frames_are_adopted),
        cmocka_unit_test(a_dead_writers_half_frame_is_zeroed),
        cmocka_unit_test(a_stale_sync_mark_makes_the_next_leader_write_again),
        cmocka_unit_test(a_stale_sync_mark_over_a_bad_frame_poisons),
        cmocka_unit_test(a_head_that_was_replaced_is_noticed_by_open_handles),
        cmocka_unit_test(any_byte_of_head_may_be_wrong),
        cmocka_unit_test(a_store_moved_with_its_head_opens_as_it_is),
        cmocka_unit_test(an_old_head_loses_nothing),
        cmocka_unit_test(a_poisoned_store_says_why),
        cmocka_unit_test(whoever_only_examines_changes_nothing),
    };
    test_seed();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
