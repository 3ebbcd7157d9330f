/* make_segment.h: small segments in memory, for tests. */
#ifndef TEST_MAKE_SEGMENT_H
#define TEST_MAKE_SEGMENT_H

#include "format/segment.h"
#include "libcore/buffer.h"

/* A segment under construction. Frames are added one by one; the chain is carried by `next`. */
struct test_segment {
    struct es_buffer bytes;
    struct fmt_frame next; /* index, first_position, prev_checksum, last_epoch_us of the frame to come */
    size_t frame_at;       /* of the frame under construction; 0: none */
    uint32_t count;
    uint64_t fold;
};

/* Starts a segment after the frame that `after` (NULL: the start of the log) ended with. */
void test_segment_begin(struct test_segment *s, const struct test_segment *after);

/* Opens a frame, if none is open, and adds an event. data may be NULL. */
void test_segment_event(struct test_segment *s, const char *stream, uint64_t version, const char *event_id,
                        const char *data);

/* Ends the open frame, or adds a barrier when none is open. */
void test_segment_frame(struct test_segment *s);

/* Adds a hole that stands for `frames` frames and `events` events. */
void test_segment_hole(struct test_segment *s, uint64_t frames, uint64_t events);

void test_segment_release(struct test_segment *s);

#endif
