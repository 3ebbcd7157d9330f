/* format/: events, frames, segments, walks and head words as bytes. */
#include "tests/unit/store_fixture.h"

#include "format/bytes.h"
#include "format/checksum.h"
#include "format/event.h"
#include "format/frame.h"
#include "format/live_index.h"
#include "format/segment.h"

enum { ROOM = 4096 };

static struct fmt_text text(const char *s) {
    return (struct fmt_text){s, strlen(s)};
}

/* An encoded event in out; returns its size. */
static size_t make_event(unsigned char *out, const char *data, uint64_t version) {
    static const unsigned char salt[FMT_SALT_SIZE] = "0123456789abcde";
    struct fmt_event e = {.salt = salt,
                          .flags = FMT_EVENT_HAS_DATA,
                          .stream_id = text("stream"),
                          .event_type = text("type"),
                          .event_id = text("id"),
                          .data = text(data)};
    fmt_event_encode(&e, out);
    fmt_event_seal(out, version, 1000 + version);
    return fmt_event_size(&e);
}

/* A frame of `count` events at out. */
static size_t make_frame(unsigned char *out, struct fmt_frame *f, uint64_t index, uint32_t count, uint64_t position,
                         uint64_t prev) {
    size_t at = FMT_FRAME_HEADER_SIZE;
    uint64_t fold = 0;
    for (uint32_t i = 0; i < count; i++) {
        size_t len = make_event(out + at, "\"data of the event\"", position + i);
        fold = fmt_fold(fold, fmt_get64(out + at));
        at += len;
    }
    *f = (struct fmt_frame){.kind = count ? FMT_FRAME_EVENTS : FMT_FRAME_BARRIER,
                            .frame_len = (uint32_t)at,
                            .count = count,
                            .index = index,
                            .term = 1,
                            .first_position = position,
                            .incarnation = 77,
                            .last_epoch_us = 1000 + position + count,
                            .prev_checksum = prev,
                            .payload_checksum = count ? fold : fmt_checksum(out, 0),
                            .synced_index = index - 1};
    fmt_frame_encode(f, out);
    return at;
}

static void an_event_comes_back(void **state) {
    (void)state;
    static const size_t lengths[] = {0, 1, 7, 8, 9, 100};
    unsigned char bytes[ROOM];
    char filler[256];
    memset(filler, 'x', sizeof filler);
    for (size_t i = 0; i < 6 * 6 * 6; i++) {
        unsigned char salt[FMT_SALT_SIZE];
        for (int k = 0; k < (int)sizeof salt; k++)
            salt[k] = (unsigned char)test_random();
        struct fmt_event e = {.salt = salt,
                              .flags = (uint16_t)(i % 8),
                              .stream_id = {filler, 1 + lengths[i % 6]},
                              .event_type = {filler, 1 + lengths[i / 6 % 6]},
                              .event_id = {filler, lengths[i % 5]},
                              .data_content_type = {filler, lengths[i % 4]},
                              .metadata_content_type = {filler, lengths[i % 3]},
                              .data = {filler, lengths[i / 36]},
                              .metadata = {filler, lengths[i % 6]}},
                         back;
        size_t size = fmt_event_size(&e);
        assert_int_equal(size % 8, 0);
        memset(bytes, 0xee, sizeof bytes);
        fmt_event_encode(&e, bytes);
        assert_int_equal(bytes[size], 0xee);
        uint64_t checksum = fmt_event_seal(bytes, i, i * 1000);
        assert_null(fmt_event_decode(bytes, size, &back));
        assert_int_equal(back.checksum, checksum);
        assert_int_equal(back.event_len, size);
        assert_int_equal(back.version, i);
        assert_int_equal(back.epoch_us, i * 1000);
        assert_int_equal(back.flags, e.flags);
        assert_int_equal(back.stream_id.len, e.stream_id.len);
        assert_int_equal(back.event_type.len, e.event_type.len);
        assert_int_equal(back.event_id.len, e.event_id.len);
        assert_int_equal(back.data_content_type.len, e.data_content_type.len);
        assert_int_equal(back.metadata_content_type.len, e.metadata_content_type.len);
        assert_int_equal(back.data.len, e.data.len);
        assert_int_equal(back.metadata.len, e.metadata.len);
        assert_memory_equal(back.salt, salt, sizeof salt);
        assert_true(fmt_event_intact(bytes, &back));
        for (size_t room = 0; room < size; room++)
            assert_non_null(fmt_event_decode(bytes, room, &back));
    }
}

static void every_flipped_byte_of_an_event_is_found(void **state) {
    (void)state;
    unsigned char bytes[ROOM];
    struct fmt_event e;
    size_t size = make_event(bytes, "\"data\"", 3);
    for (size_t at = 0; at < size; at++)
        for (int bit = 0; bit < 8; bit++) {
            bytes[at] ^= (unsigned char)(1 << bit);
            bool good = !fmt_event_decode(bytes, size, &e) && fmt_event_intact(bytes, &e);
            bytes[at] ^= (unsigned char)(1 << bit);
            if (good)
                fail_msg("byte %zu, bit %d", at, bit);
        }
}

static void a_frame_comes_back(void **state) {
    (void)state;
    unsigned char bytes[ROOM];
    for (uint32_t count = 0; count < 5; count++) {
        struct fmt_frame f, back;
        size_t bad, len = make_frame(bytes, &f, 9, count, 40, 1234);
        assert_null(fmt_frame_decode(bytes, FMT_FRAME_HEADER_SIZE, &back));
        assert_null(fmt_frame_check(&back, bytes, &bad));
        assert_int_equal(back.frame_len, len);
        assert_int_equal(back.count, count);
        assert_int_equal(back.index, 9);
        assert_int_equal(back.first_position, 40);
        assert_int_equal(back.prev_checksum, 1234);
        assert_int_equal(back.checksum, f.checksum);
        assert_int_equal(back.synced_index, 8);
        assert_true(back.synced_intact);
        assert_false(fmt_frame_absent(bytes, len));
        for (size_t room = 0; room < FMT_FRAME_HEADER_SIZE; room++)
            assert_non_null(fmt_frame_decode(bytes, room, &back));
    }
    memset(bytes, 0, sizeof bytes);
    assert_true(fmt_frame_absent(bytes, sizeof bytes));
    assert_true(fmt_frame_absent(bytes, 0));
    bytes[FMT_FRAME_HEADER_SIZE - 1] = 1;
    assert_false(fmt_frame_absent(bytes, sizeof bytes));
    assert_true(fmt_frame_absent(bytes, FMT_FRAME_HEADER_SIZE - 1));
}

/* What stands outside the chain, synced_index, proves nothing when its own checksum is wrong. */
static void every_flipped_byte_of_a_frame_is_found(void **state) {
    (void)state;
    unsigned char bytes[ROOM];
    struct fmt_frame f, back;
    size_t bad, len = make_frame(bytes, &f, 9, 3, 40, 1234);
    for (size_t at = 0; at < len; at++)
        for (int bit = 0; bit < 8; bit++) {
            bytes[at] ^= (unsigned char)(1 << bit);
            bool good = !fmt_frame_decode(bytes, len, &back) && !fmt_frame_check(&back, bytes, &bad);
            bytes[at] ^= (unsigned char)(1 << bit);
            if (at >= 96 && at < 112) {
                assert_true(good);
                assert_false(back.synced_intact);
                assert_int_equal(back.synced_index, 0);
            } else if (good)
                fail_msg("byte %zu, bit %d", at, bit);
        }
}

/* Headers whose checksum is right and whose lengths are not. */
static void hostile_lengths_are_refused(void **state) {
    (void)state;
    static const struct {
        size_t at;
        unsigned size;
        uint64_t value;
    } cases[] = {
        {4, 2, 104}, {4, 2, 113},         {4, 2, 65528},     {6, 1, 128}, {6, 1, 255},        {6, 1, 2},
        {6, 1, 4},   {8, 4, 0},           {8, 4, 104},       {8, 4, 113}, {8, 4, 0xfffffff8}, {8, 4, (64u << 20) + 8},
        {12, 4, 0},  {12, 4, 0xffffffff}, {12, 4, 1u << 21}, {16, 8, 0},
    };
    unsigned char bytes[ROOM], good[ROOM];
    struct fmt_frame f;
    size_t bad, len = make_frame(good, &f, 9, 3, 40, 1234);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        memcpy(bytes, good, sizeof bytes);
        for (unsigned k = 0; k < cases[i].size; k++)
            bytes[cases[i].at + k] = (unsigned char)(cases[i].value >> (8 * k));
        fmt_put64(bytes + 88, fmt_checksum(bytes, 88));
        const char *wrong = fmt_frame_decode(bytes, len, &f);
        if (!wrong)
            wrong = fmt_frame_check(&f, bytes, &bad);
        if (!wrong)
            fail_msg("case %zu is taken", i);
    }
}

static void random_bytes_never_crash(void **state) {
    (void)state;
    unsigned char good[ROOM];
    struct fmt_frame f;
    size_t len = make_frame(good, &f, 9, 5, 40, 1234);
    for (int i = 0; i < 100000; i++) {
        unsigned char *bytes = malloc(len); /* just as large: the address sanitizer sees a step too far */
        size_t bad;
        struct fmt_event e;
        memcpy(bytes, good, len);
        for (uint32_t k = 1 + test_below(4); k > 0; k--)
            bytes[test_below(3) ? test_below(FMT_FRAME_HEADER_SIZE + 64) : test_below((uint32_t)len)] =
                (unsigned char)(test_below(2) ? 0xff : test_random());
        fmt_put64(bytes + 88, fmt_checksum(bytes, 88));
        if (!fmt_frame_decode(bytes, len, &f) && f.frame_len <= len && fmt_frame_check(&f, bytes, &bad))
            assert_true(bad <= len);
        (void)fmt_event_decode(bytes + FMT_FRAME_HEADER_SIZE, len - FMT_FRAME_HEADER_SIZE, &e);
        free(bytes);
    }
}

/* ---- segments ---- */

static const struct fmt_segment header = {.header_len = FMT_SEGMENT_HEADER_SIZE,
                                          .version = FMT_VERSION,
                                          .features_optional = 5,
                                          .first_index = 10,
                                          .first_position = 30,
                                          .prev_checksum = 99,
                                          .last_epoch_us = 1,
                                          .store_id = "0123456789abcde",
                                          .created_us = 7};

static void a_segment_header_comes_back(void **state) {
    (void)state;
    unsigned char bytes[FMT_SEGMENT_HEADER_SIZE];
    struct fmt_segment back;
    bool newer;
    fmt_segment_encode(&header, bytes);
    assert_null(fmt_segment_decode(bytes, sizeof bytes, &back, &newer));
    assert_memory_equal(&back, &header, sizeof back);
    for (size_t at = 0; at < sizeof bytes; at++) {
        bytes[at] ^= 0x20;
        assert_non_null(fmt_segment_decode(bytes, sizeof bytes, &back, &newer));
        assert_false(newer);
        bytes[at] ^= 0x20;
        assert_non_null(fmt_segment_decode(bytes, at, &back, &newer));
    }
    struct fmt_segment s = header;
    s.version = FMT_VERSION + 1;
    fmt_segment_encode(&s, bytes);
    assert_non_null(fmt_segment_decode(bytes, sizeof bytes, &back, &newer));
    assert_true(newer);
    s.version = FMT_VERSION;
    s.features_required = 1ull << 63;
    fmt_segment_encode(&s, bytes);
    assert_non_null(fmt_segment_decode(bytes, sizeof bytes, &back, &newer));
    assert_true(newer);
}

/* Three frames in a segment; at[i] is where frame i begins, at[3] the end. */
static size_t make_segment(unsigned char *bytes, struct fmt_frame f[3], size_t at[4]) {
    fmt_segment_encode(&header, bytes);
    at[0] = FMT_SEGMENT_HEADER_SIZE;
    at[1] = at[0] + make_frame(bytes + at[0], &f[0], 10, 2, 30, 99);
    at[2] = at[1] + make_frame(bytes + at[1], &f[1], 11, 1, 32, f[0].checksum);
    at[3] = at[2] + make_frame(bytes + at[2], &f[2], 12, 1, 33, f[1].checksum);
    return at[3];
}

static void a_walk_passes_whole_frames_and_stops_at_bad_ones(void **state) {
    (void)state;
    unsigned char bytes[ROOM] = {0};
    struct fmt_frame f[3], got;
    size_t at[4];
    struct fmt_walk w;
    size_t end = make_segment(bytes, f, at);
    fmt_walk_init(&w, &header, bytes, sizeof bytes);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(fmt_walk_peek(&w, &got), FMT_OK);
        assert_int_equal(fmt_walk_check(&w, &got), FMT_OK);
        assert_int_equal(w.offset, at[i]);
        assert_int_equal(got.index, 10 + i);
        fmt_walk_pass(&w, &got);
    }
    assert_int_equal(w.offset, end);
    assert_int_equal(w.position, 34);
    assert_int_equal(fmt_walk_peek(&w, &got), FMT_END);
    for (size_t size = at[2] + 1; size < end; size++) { /* the last frame is cut short */
        unsigned char *copy = malloc(size);
        memcpy(copy, bytes, size);
        fmt_walk_init(&w, &header, copy, size);
        for (int i = 0; i < 2; i++) {
            assert_int_equal(fmt_walk_peek(&w, &got), FMT_OK);
            fmt_walk_pass(&w, &got);
        }
        assert_int_equal(fmt_walk_peek(&w, &got), FMT_BAD);
        assert_non_null(w.fault);
        assert_int_equal(w.fault_offset, at[2]);
        free(copy);
    }
    bytes[at[1] + 16] ^= 1; /* a bad header in the middle: the walk stops, resync finds the next */
    fmt_walk_init(&w, &header, bytes, sizeof bytes);
    assert_int_equal(fmt_walk_peek(&w, &got), FMT_OK);
    fmt_walk_pass(&w, &got);
    assert_int_equal(fmt_walk_peek(&w, &got), FMT_BAD);
    assert_int_equal(fmt_walk_resync(&w, w.offset + 8, 12, &got), at[2]);
    assert_int_equal(got.index, 12);
    assert_int_equal(fmt_walk_resync(&w, w.offset + 8, 13, &got), 0);
}

/* A frame that is whole in itself and does not belong here. */
static void a_frame_that_does_not_chain_is_bad(void **state) {
    (void)state;
    static const char *const faults[] = {"frame index is not the next one", "frame does not chain to the one before",
                                         "frame position is not the next one", "time goes backwards"};
    for (int i = 0; i < 4; i++) {
        unsigned char bytes[ROOM] = {0};
        struct fmt_frame f[3], got;
        size_t at[4];
        struct fmt_walk w;
        make_segment(bytes, f, at);
        struct fmt_frame odd = f[2];
        odd.index += i == 0;
        odd.prev_checksum += i == 1;
        odd.first_position += i == 2;
        odd.last_epoch_us = i == 3 ? 5 : odd.last_epoch_us;
        fmt_frame_encode(&odd, bytes + at[2]);
        fmt_walk_init(&w, &header, bytes, sizeof bytes);
        for (int k = 0; k < 2; k++) {
            assert_int_equal(fmt_walk_peek(&w, &got), FMT_OK);
            fmt_walk_pass(&w, &got);
        }
        assert_int_equal(fmt_walk_peek(&w, &got), FMT_BAD);
        assert_string_equal(w.fault, faults[i]);
    }
}

static void nothing_follows_a_frame_that_rolls(void **state) {
    (void)state;
    unsigned char bytes[ROOM] = {0};
    struct fmt_frame f[3], got;
    size_t at[4];
    struct fmt_walk w;
    make_segment(bytes, f, at);
    f[2].flags = FMT_FRAME_ROLLS;
    fmt_frame_encode(&f[2], bytes + at[2]);
    fmt_walk_init(&w, &header, bytes, sizeof bytes);
    for (int k = 0; k < 3; k++) {
        assert_int_equal(fmt_walk_peek(&w, &got), FMT_OK);
        fmt_walk_pass(&w, &got);
    }
    assert_true(w.rolled);
    assert_int_equal(fmt_walk_peek(&w, &got), FMT_END);
    bytes[at[3]] = 1;
    assert_int_equal(fmt_walk_peek(&w, &got), FMT_BAD);
}

static void a_hole_carries_the_chain_on(void **state) {
    (void)state;
    unsigned char bytes[ROOM] = {0};
    struct fmt_frame f[3], got, hole, last;
    size_t at[4], bad;
    struct fmt_walk w;
    struct fmt_hole h = {20, 3, 50, 4321, 25, 9000}, back;
    make_segment(bytes, f, at);
    fmt_hole_encode(&h, bytes + at[1] + FMT_FRAME_HEADER_SIZE);
    hole = (struct fmt_frame){.kind = FMT_FRAME_HOLE,
                              .frame_len = FMT_FRAME_HEADER_SIZE + FMT_HOLE_SIZE,
                              .index = 11,
                              .term = 1,
                              .first_position = 32,
                              .incarnation = 77,
                              .last_epoch_us = f[0].last_epoch_us,
                              .prev_checksum = f[0].checksum,
                              .payload_checksum = fmt_checksum(bytes + at[1] + FMT_FRAME_HEADER_SIZE, FMT_HOLE_SIZE)};
    fmt_frame_encode(&hole, bytes + at[1]);
    make_frame(bytes + at[1] + hole.frame_len, &last, 21, 1, 50, 4321);
    last.term = 3;
    last.last_epoch_us = 9000;
    fmt_frame_encode(&last, bytes + at[1] + hole.frame_len);
    fmt_hole_decode(bytes + at[1] + FMT_FRAME_HEADER_SIZE, &back);
    assert_memory_equal(&back, &h, sizeof h);
    fmt_walk_init(&w, &header, bytes, sizeof bytes);
    assert_int_equal(fmt_walk_peek(&w, &got), FMT_OK);
    fmt_walk_pass(&w, &got);
    assert_int_equal(fmt_walk_peek(&w, &got), FMT_OK);
    assert_int_equal(got.kind, FMT_FRAME_HOLE);
    assert_null(fmt_frame_check(&got, bytes + at[1], &bad));
    fmt_walk_pass(&w, &got);
    assert_int_equal(fmt_walk_peek(&w, &got), FMT_OK);
    assert_int_equal(got.index, 21);
    h.last_index = 10; /* ends before it begins */
    fmt_hole_encode(&h, bytes + at[1] + FMT_FRAME_HEADER_SIZE);
    hole.payload_checksum = fmt_checksum(bytes + at[1] + FMT_FRAME_HEADER_SIZE, FMT_HOLE_SIZE);
    fmt_frame_encode(&hole, bytes + at[1]);
    assert_non_null(fmt_frame_check(&hole, bytes + at[1], &bad));
}

/* ---- words ---- */

/* 16 bits of check: a flip of the check is always found, one of the value 65,535 times of 65,536. */
static void words_check_themselves(void **state) {
    (void)state;
    uint64_t v = 0;
    int missed = 0;
    assert_false(fmt_word_decode(0, &v));
    assert_false(fmt_word_decode(UINT64_MAX, &v));
    for (int i = 0; i < 20000; i++) {
        uint64_t value = i < 1000 ? (uint64_t)i : i < 1048 ? 1ull << (i - 1000) : test_random() & FMT_WORD_MAX;
        uint64_t word = fmt_word_encode(value);
        assert_true(fmt_word_decode(word, &v));
        assert_int_equal(v, value);
        for (int bit = 0; bit < 48; bit++)
            missed += fmt_word_decode(word ^ 1ull << bit, &v);
        for (int bit = 48; bit < 64; bit++)
            assert_false(fmt_word_decode(word ^ 1ull << bit, &v));
    }
    assert_true(missed < 60);
    assert_true(fmt_word_decode(fmt_word_encode(FMT_WORD_MAX), &v));
    assert_int_equal(v, FMT_WORD_MAX);
}

static void links_belong_to_their_places(void **state) {
    (void)state;
    for (int i = 0; i < 20000; i++) {
        uint32_t target = (uint32_t)test_random(), got;
        uint64_t place = test_random() >> test_below(50), word = fmt_link_encode(target, place);
        assert_true(word != 0);
        assert_true(fmt_link_decode(word, place, &got));
        assert_int_equal(got, target);
        assert_false(fmt_link_decode(word, place + 1, &got));
        for (int bit = 0; bit < 64; bit++)
            assert_false(fmt_link_decode(word ^ 1ull << bit, place, &got));
    }
    uint32_t none = 7;
    assert_true(fmt_link_decode(0, 5, &none));
    assert_int_equal(none, 0);
}

static void marks_cover_all_their_fields(void **state) {
    (void)state;
    struct fmt_mark m = {1, 2, 3, 4, 5, 6, 7, 0};
    m.check = fmt_mark_check(&m);
    unsigned char bytes[sizeof m];
    for (size_t at = 0; at < offsetof(struct fmt_mark, check); at++) {
        memcpy(bytes, &m, sizeof m);
        bytes[at] ^= 4;
        struct fmt_mark odd;
        memcpy(&odd, bytes, sizeof odd);
        assert_int_not_equal(fmt_mark_check(&odd), m.check);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_event_comes_back),
        cmocka_unit_test(every_flipped_byte_of_an_event_is_found),
        cmocka_unit_test(a_frame_comes_back),
        cmocka_unit_test(every_flipped_byte_of_a_frame_is_found),
        cmocka_unit_test(hostile_lengths_are_refused),
        cmocka_unit_test(random_bytes_never_crash),
        cmocka_unit_test(a_segment_header_comes_back),
        cmocka_unit_test(a_walk_passes_whole_frames_and_stops_at_bad_ones),
        cmocka_unit_test(a_frame_that_does_not_chain_is_bad),
        cmocka_unit_test(nothing_follows_a_frame_that_rolls),
        cmocka_unit_test(a_hole_carries_the_chain_on),
        cmocka_unit_test(words_check_themselves),
        cmocka_unit_test(links_belong_to_their_places),
        cmocka_unit_test(marks_cover_all_their_fields),
    };
    test_seed();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
