/* The index of a segment: all that is in the segment is found; damage in the segment is listed, never hidden. */
#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "format/bytes.h"
#include "format/event_keys.h"
#include "libcore/seal.h"
#include "libcore/table_file.h"
#include "tests/unit/make_segment.h"

static uint64_t random_state;

static uint64_t draw(uint64_t below) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state % below;
}

static struct esdb_text text_of(const char *t) {
    return (struct esdb_text){t, strlen(t)};
}

static void index_of(const struct test_segment *s, struct es_table *out) {
    struct es_buffer image = {0};
    uint32_t bad;
    assert_int_equal(es_seal_build(s->bytes.at, s->bytes.len, &image, NULL), 0);
    es_table_adopt(out, &image);
    assert_null(fmt_table_verify(&out->table, &bad));
}

/* Decodes the event that the index gives for an ordinal. */
static struct fmt_event event_at(const struct test_segment *s, const struct fmt_table *t, uint32_t ordinal) {
    struct fmt_event e;
    uint64_t offset;
    assert_int_equal(es_index_offset(t, ordinal, &offset), 0);
    assert_true(offset > 0);
    assert_null(fmt_event_decode(s->bytes.at + offset, s->bytes.len - offset, &e));
    assert_true(fmt_event_intact(s->bytes.at + offset, &e));
    return e;
}

static bool text_is(struct fmt_text t, const char *want) {
    return t.len == strlen(want) && memcmp(t.at, want, t.len) == 0;
}

enum { STREAMS = 300, EVENTS = 5000 };

/* A segment with random streams, and the truth about it. */
struct sample {
    struct test_segment s;
    const char *prefix;
    uint32_t streams, versions[STREAMS], stream_of[EVENTS], version_of[EVENTS];
};

static struct esdb_text sample_name(const struct sample *x, uint32_t stream, char room[64]) {
    snprintf(room, 64, "%s-%u", x->prefix, stream);
    return text_of(room);
}

static void make_sample(struct sample *x, uint32_t streams, const char *prefix) {
    char name[64], id[32];
    memset(x, 0, sizeof *x);
    x->streams = streams;
    x->prefix = prefix;
    test_segment_begin(&x->s, NULL);
    for (uint32_t i = 0; i < EVENTS; i++) {
        x->stream_of[i] = (uint32_t)draw(streams);
        x->version_of[i] = x->versions[x->stream_of[i]]++;
        sample_name(x, x->stream_of[i], name);
        snprintf(id, sizeof id, "id-%u", i / 2); /* each id twice */
        test_segment_event(&x->s, name, x->version_of[i], id, i % 3 ? "{}" : NULL);
        if (draw(5) == 0)
            test_segment_frame(&x->s);
        if (draw(50) == 0)
            test_segment_frame(&x->s);
    }
    test_segment_frame(&x->s);
}

static void check_streams(const struct sample *x, const struct fmt_table *t) {
    struct es_stream_slot slot;
    char name[64];
    for (uint32_t k = 0; k < x->streams; k++) {
        int rc = es_index_stream(t, sample_name(x, k, name), &slot);
        assert_int_equal(rc, x->versions[k] ? 0 : ESDB_ENOTFOUND);
        assert_int_equal(rc == 0 ? slot.count : 0, x->versions[k]);
        for (uint32_t i = 0; i < x->versions[k]; i++) {
            struct es_event_place posting;
            uint64_t offset;
            assert_int_equal(es_index_posting(t, slot.first_posting + i, &posting), 0);
            assert_int_equal(x->stream_of[posting.ordinal], k);
            assert_int_equal(x->version_of[posting.ordinal], i);
            assert_int_equal(es_index_offset(t, posting.ordinal, &offset), 0);
            assert_int_equal(offset, (uint64_t)posting.offset8 * 8);
        }
    }
    assert_int_equal(es_index_stream(t, text_of("no such stream"), &slot), ESDB_ENOTFOUND);
}

static uint64_t id_hash(const char *id) {
    return fmt_event_key_hash(FMT_EVENT_KEY_ID, (struct fmt_text){id, strlen(id)});
}

static void check_events(const struct sample *x, const struct fmt_table *t) {
    const struct es_buffer *bytes = &x->s.bytes;
    for (uint32_t i = 0; i < EVENTS; i++) {
        struct es_buffer found = {0};
        struct es_frame_place place;
        struct fmt_frame f;
        uint32_t seen = 0;
        char id[32];
        struct fmt_event e = event_at(&x->s, t, i);
        assert_int_equal(e.version, x->version_of[i]);
        snprintf(id, sizeof id, "id-%u", i / 2);
        assert_true(text_is(e.event_id, id));
        assert_int_equal(es_index_keys(t, id_hash(id), EVENTS, &found), 0);
        for (size_t at = 0; at < found.len; at += 4)
            seen += fmt_get32(found.at + at) / 2 == i / 2;
        es_buffer_release(&found);
        assert_int_equal(seen, 2);
        assert_int_equal(es_index_frame_of(t, i, &place), 0);
        assert_null(fmt_frame_decode(bytes->at + place.offset, bytes->len - place.offset, &f));
        assert_true(f.first_position == place.first_event && f.first_position <= i && i - f.first_position < f.count);
    }
}

static void all_events_are_found(void **state) {
    (void)state;
    static struct sample x;
    for (int round = 0; round < 6; round++) {
        struct es_table t;
        struct es_index_damage damage;
        struct es_event_place posting;
        uint64_t offset;
        make_sample(&x, round == 0 ? 1 : 1 + (uint32_t)draw(STREAMS), round % 2 ? "orders-with-a-common-prefix" : "");
        index_of(&x.s, &t);
        check_streams(&x, &t.table);
        check_events(&x, &t.table);
        assert_int_equal(es_index_posting(&t.table, EVENTS, &posting), ESDB_ENOTFOUND);
        assert_int_equal(es_index_offset(&t.table, EVENTS, &offset), ESDB_ENOTFOUND);
        assert_int_equal(es_index_damage(&t.table, 0, &damage), ESDB_END);
        assert_int_equal(t.table.header.last_index, x.s.next.index - 1);
        assert_int_equal(t.table.header.end_position, EVENTS);
        assert_int_equal(t.table.header.last_checksum, x.s.next.prev_checksum);
        assert_int_equal(t.table.header.log_size, x.s.bytes.len);
        assert_int_equal(t.table.header.first_epoch_us, 1001);
        assert_int_equal(t.table.header.last_epoch_us, 1000 + EVENTS);
        es_table_close(&t);
        test_segment_release(&x.s);
    }
}

static void a_segment_without_events_has_an_index(void **state) {
    (void)state;
    for (int frames = 0; frames < 3; frames++) {
        struct test_segment s;
        struct es_table t;
        struct es_stream_slot slot;
        struct es_frame_place place;
        struct es_buffer found = {0};
        test_segment_begin(&s, NULL);
        for (int i = 0; i < frames; i++)
            test_segment_frame(&s);
        index_of(&s, &t);
        assert_int_equal(es_index_stream(&t.table, text_of("a"), &slot), ESDB_ENOTFOUND);
        assert_int_equal(es_index_frame(&t.table, 0, &place), frames ? 0 : ESDB_ENOTFOUND);
        assert_int_equal(es_index_keys(&t.table, 0, UINT64_MAX, &found), 0);
        assert_int_equal(found.len, 0);
        assert_int_equal(t.table.header.last_index, frames);
        es_table_close(&t);
        test_segment_release(&s);
    }
}

static void positions_in_a_hole_are_not_readable(void **state) {
    (void)state;
    struct test_segment s;
    struct es_table t;
    struct es_stream_slot slot;
    struct es_index_damage damage;
    uint64_t offset;
    struct es_event_place posting;
    test_segment_begin(&s, NULL);
    test_segment_event(&s, "a", 0, "x", NULL);
    test_segment_frame(&s);
    test_segment_hole(&s, 3, 10);
    test_segment_event(&s, "a", 7, "y", NULL);
    test_segment_frame(&s);
    test_segment_hole(&s, 1, 2);
    index_of(&s, &t);
    assert_int_equal(t.table.header.end_position, 14);
    assert_int_equal(t.table.header.last_index, 6);
    assert_int_equal(t.table.header.last_checksum, 0x1234567);
    assert_int_equal(es_index_stream(&t.table, text_of("a"), &slot), 0);
    assert_int_equal(slot.first_version, 0);
    assert_int_equal(slot.count, 2);
    assert_int_equal(es_index_posting(&t.table, slot.first_posting + 1, &posting), 0);
    assert_int_equal(posting.ordinal, 11);
    for (uint32_t i = 0; i < 14; i++) {
        assert_int_equal(es_index_offset(&t.table, i, &offset), 0);
        assert_int_equal(offset, i == 0 ? 240 : i == 11 ? offset : ES_OFFSET_REMOVED);
    }
    assert_int_equal(es_index_damage(&t.table, 0, &damage), ESDB_END);
    es_table_close(&t);
    test_segment_release(&s);
}

/* Ten frames of three events: event i is in frame i / 3. */
static void thirty_events(struct test_segment *s) {
    test_segment_begin(s, NULL);
    for (uint64_t i = 0; i < 30; i++) {
        char name[16], id[16];
        snprintf(name, sizeof name, "s-%d", (int)(i % 5));
        snprintf(id, sizeof id, "id-%d", (int)i);
        test_segment_event(s, name, i / 5, id, "{\"a\":1}");
        if (i % 3 == 2)
            test_segment_frame(s);
    }
}

/* What lies in frames that [from, to) does not touch is found where it was; the rest is listed. True when damage is. */
static bool check_damaged(const struct test_segment *s, const struct fmt_table *whole, size_t from, size_t to) {
    struct es_buffer image = {0};
    struct fmt_table t;
    struct es_index_damage d;
    uint32_t bad;
    if (es_seal_build(s->bytes.at, s->bytes.len, &image, NULL) != 0) {
        assert_true(from < FMT_SEGMENT_HEADER_SIZE);
        return true;
    }
    assert_null(fmt_table_open(&t, image.at, image.len));
    assert_null(fmt_table_verify(&t, &bad));
    bool listed = es_index_damage(&t, 0, &d) == 0;
    if (!listed) {
        assert_int_equal(image.len, whole->size);
        assert_memory_equal(image.at, whole->base, image.len);
    }
    for (uint32_t i = 0; i < 30; i++) {
        struct es_frame_place f, next = {.offset = s->bytes.len};
        uint64_t was, now = 0;
        assert_int_equal(es_index_frame(whole, i / 3, &f), 0);
        es_index_frame(whole, i / 3 + 1, &next);
        assert_int_equal(es_index_offset(whole, i, &was), 0);
        int rc = es_index_offset(&t, i, &now);
        if (to <= f.offset || from >= next.offset) {
            assert_int_equal(rc, 0);
            assert_int_equal(now, was);
        }
    }
    es_buffer_release(&image);
    return listed;
}

static void every_flipped_byte_of_a_segment_is_listed(void **state) {
    (void)state;
    struct test_segment s;
    struct es_table whole;
    size_t listed = 0, harmless = 0;
    thirty_events(&s);
    index_of(&s, &whole);
    for (size_t at = 0; at < s.bytes.len; at++) {
        unsigned char byte = s.bytes.at[at];
        s.bytes.at[at] ^= (unsigned char)(1u << draw(8));
        if (check_damaged(&s, &whole.table, at, at + 1))
            listed++;
        else
            harmless++;
        s.bytes.at[at] = byte;
    }
    /* synced_index and its checksum stand outside the chain: 16 bytes a frame. */
    print_message("%zu bytes flipped: %zu listed, %zu harmless\n", s.bytes.len, listed, harmless);
    assert_int_equal(harmless, 10 * 16);
    es_table_close(&whole);
    test_segment_release(&s);
}

static void zeros_in_the_middle_are_listed(void **state) {
    (void)state;
    struct test_segment s;
    struct es_table whole;
    thirty_events(&s);
    index_of(&s, &whole);
    unsigned char *keep = malloc(s.bytes.len);
    assert_non_null(keep);
    memcpy(keep, s.bytes.at, s.bytes.len);
    for (size_t from = FMT_SEGMENT_HEADER_SIZE; from < s.bytes.len; from += 8) {
        size_t to = s.bytes.len - from < 512 ? s.bytes.len : from + 512;
        memset(s.bytes.at + from, 0, to - from);
        assert_true(check_damaged(&s, &whole.table, from, to));
        memcpy(s.bytes.at, keep, s.bytes.len);
    }
    free(keep);
    es_table_close(&whole);
    test_segment_release(&s);
}

static void hostile_segments_do_no_harm(void **state) {
    (void)state;
    struct test_segment s;
    size_t built = 0, rounds = 20000;
    thirty_events(&s);
    test_segment_hole(&s, 2, 5);
    unsigned char *copy = malloc(s.bytes.len);
    assert_non_null(copy);
    for (size_t round = 0; round < rounds; round++) {
        struct es_buffer image = {0};
        size_t size = draw(4) ? s.bytes.len : draw(s.bytes.len);
        memcpy(copy, s.bytes.at, s.bytes.len);
        for (size_t n = 1 + draw(20); n > 0; n--)
            copy[FMT_SEGMENT_HEADER_SIZE + draw(s.bytes.len - FMT_SEGMENT_HEADER_SIZE)] = (unsigned char)draw(256);
        unsigned char *exact = malloc(size + 1);
        assert_non_null(exact);
        memcpy(exact, copy, size);
        if (es_seal_build(exact, size, &image, NULL) == 0) {
            struct fmt_table t;
            uint32_t bad;
            built++;
            assert_null(fmt_table_open(&t, image.at, image.len));
            assert_null(fmt_table_verify(&t, &bad));
        }
        es_buffer_release(&image);
        free(exact);
    }
    print_message("%zu hostile segments, %zu indexed\n", rounds, built);
    free(copy);
    test_segment_release(&s);
}

static void positions_that_run_away_cost_no_memory(void **state) {
    (void)state;
    struct test_segment s;
    struct es_buffer image = {0};
    struct fmt_table t;
    struct es_index_damage d;
    test_segment_begin(&s, NULL);
    test_segment_event(&s, "a", 0, "x", NULL);
    test_segment_frame(&s);
    test_segment_hole(&s, 3, 1ull << 40);
    assert_int_equal(es_seal_build(s.bytes.at, s.bytes.len, &image, NULL), 0);
    assert_null(fmt_table_open(&t, image.at, image.len));
    assert_true(image.len < 100000);
    assert_int_equal(es_index_damage(&t, 0, &d), 0);
    es_buffer_release(&image);
    test_segment_release(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_events_are_found),
        cmocka_unit_test(a_segment_without_events_has_an_index),
        cmocka_unit_test(positions_in_a_hole_are_not_readable),
        cmocka_unit_test(every_flipped_byte_of_a_segment_is_listed),
        cmocka_unit_test(zeros_in_the_middle_are_listed),
        cmocka_unit_test(hostile_segments_do_no_harm),
        cmocka_unit_test(positions_that_run_away_cost_no_memory),
    };
    const char *seed = getenv("SEED");
    random_state = seed ? strtoull(seed, NULL, 10) : (uint64_t)time(NULL) * 2654435761u + 1;
    print_message("SEED=%" PRIu64 "\n", random_state);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
