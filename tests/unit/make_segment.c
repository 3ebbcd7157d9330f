#include "tests/unit/make_segment.h"

#include <stdlib.h>
#include <string.h>

#include "format/bytes.h"
#include "format/checksum.h"
#include "format/event.h"

static void check(int rc) {
    if (rc < 0)
        abort();
}

void test_segment_begin(struct test_segment *s, const struct test_segment *after) {
    unsigned char header[FMT_SEGMENT_HEADER_SIZE];
    *s = (struct test_segment){.next = {.index = 1, .term = 1, .incarnation = 7, .last_epoch_us = 1000}};
    if (after)
        s->next = after->next;
    struct fmt_segment h = {.version = FMT_VERSION,
                            .first_index = s->next.index,
                            .first_position = s->next.first_position,
                            .prev_checksum = s->next.prev_checksum,
                            .last_epoch_us = s->next.last_epoch_us,
                            .store_id = {1, 2, 3}};
    fmt_segment_encode(&h, header);
    check(es_buffer_add(&s->bytes, header, sizeof header));
}

static struct fmt_text text_of(const char *text) {
    return (struct fmt_text){text, text ? strlen(text) : 0};
}

static void open_frame(struct test_segment *s) {
    static const unsigned char empty[FMT_FRAME_HEADER_SIZE];
    s->frame_at = s->bytes.len;
    s->count = 0;
    s->fold = 0;
    check(es_buffer_add(&s->bytes, empty, sizeof empty));
}

void test_segment_event(struct test_segment *s, const char *stream, uint64_t version, const char *event_id,
                        const char *data) {
    static const unsigned char salt[FMT_SALT_SIZE] = {9, 8, 7};
    if (s->frame_at == 0)
        open_frame(s);
    struct fmt_event e = {.salt = salt,
                          .flags = data ? FMT_EVENT_HAS_DATA : 0,
                          .stream_id = text_of(stream),
                          .event_type = text_of("Tested"),
                          .event_id = text_of(event_id),
                          .data = text_of(data)};
    size_t size = fmt_event_size(&e);
    check(es_buffer_reserve(&s->bytes, size));
    fmt_event_encode(&e, s->bytes.at + s->bytes.len);
    s->fold = fmt_fold(s->fold, fmt_event_seal(s->bytes.at + s->bytes.len, version, ++s->next.last_epoch_us));
    s->bytes.len += size;
    s->count++;
}

/* Encodes the header of the open frame, whose payload is complete. */
static void close_frame(struct test_segment *s, uint8_t kind) {
    s->next.kind = kind;
    s->next.count = s->count;
    s->next.frame_len = (uint32_t)(s->bytes.len - s->frame_at);
    s->next.payload_checksum = s->fold;
    fmt_frame_encode(&s->next, s->bytes.at + s->frame_at);
    s->next.index++;
    s->next.first_position += s->count;
    s->next.prev_checksum = s->next.checksum;
    s->frame_at = 0;
}

void test_segment_frame(struct test_segment *s) {
    bool events = s->frame_at != 0;
    if (!events) {
        open_frame(s);
        s->fold = fmt_checksum("", 0);
    }
    close_frame(s, events ? FMT_FRAME_EVENTS : FMT_FRAME_BARRIER);
}

void test_segment_hole(struct test_segment *s, uint64_t frames, uint64_t events) {
    unsigned char payload[FMT_HOLE_SIZE];
    struct fmt_hole h = {.last_index = s->next.index + frames - 1,
                         .last_term = s->next.term,
                         .end_position = s->next.first_position + events,
                         .carried_checksum = 0x1234567,
                         .last_epoch_us = s->next.last_epoch_us};
    open_frame(s);
    fmt_hole_encode(&h, payload);
    check(es_buffer_add(&s->bytes, payload, sizeof payload));
    s->fold = fmt_checksum(payload, sizeof payload);
    close_frame(s, FMT_FRAME_HOLE);
    s->next.index = h.last_index + 1;
    s->next.first_position = h.end_position;
    s->next.prev_checksum = h.carried_checksum;
}

void test_segment_release(struct test_segment *s) {
    es_buffer_release(&s->bytes);
}
