/* frame.h: what one append writes: a header and its events, all or nothing. FORMAT.md section 4.
 *
 *   0  u32  magic               "ESF1"
 *   4  u16  header_len          112; larger in a later format, a multiple of 8
 *   6  u8   kind                FMT_FRAME_*; unknown kinds below 128 are skipped, others refuse the store
 *   7  u8   flags               FMT_FRAME_ROLLS
 *   8  u32  frame_len           header and payload; a multiple of 8
 *  12  u32  count               events in the payload
 *  16  u64  index               of this frame: 1, 2, 3, ...
 *  24  u64  term                raft; 1 in a store that was never replicated
 *  32  u64  first_position      position of the first event, or that of the next event when there is none
 *  40  u64  committed_index     newest frame known committed when this one was made
 *  48  u64  incarnation         of the store
 *  56  u64  clock_us            the writer's clock, as it was
 *  64  u64  last_epoch_us       time of the newest event up to and including this frame
 *  72  u64  prev_checksum       checksum of frame index-1; 0 before the first
 *  80  u64  payload_checksum    fold of the events' checksums (see fmt_fold); XXH3-64 of the payload in other kinds
 *  88  u64  checksum            XXH3-64 of bytes 0 .. 88
 *  96  u64  synced_index        newest frame known durable on this disk; outside the chain
 * 104  u64  synced_checksum     XXH3-64 of synced_index, seeded with checksum
 */
#ifndef FMT_FRAME_H
#define FMT_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "limits.h"

#define FMT_FRAME_HEADER_SIZE 112u
#define FMT_FRAME_MAGIC 0x31465345u

enum fmt_frame_kind {
    FMT_FRAME_EVENTS = 1,
    FMT_FRAME_BARRIER = 2,       /* no payload: a raft barrier, or the carrier of FMT_FRAME_ROLLS */
    FMT_FRAME_CONFIGURATION = 3, /* raft membership; the payload belongs to replication */
    FMT_FRAME_HOLE = 4,          /* stands for frames that retention removed; see struct fmt_hole */
    FMT_FRAME_THINNED = 129,     /* a hole that keeps some of the events: struct fmt_frame_events */
};
#define FMT_FRAME_KIND_REFUSE 128u /* unknown kinds from here on must be understood */
#define FMT_FRAME_ROLLS 0x01u      /* the segment ends after this frame */

struct fmt_frame {
    uint8_t kind;
    uint8_t flags;
    uint16_t header_len;
    uint32_t frame_len;
    uint32_t count;
    uint64_t index;
    uint64_t term;
    uint64_t first_position;
    uint64_t committed_index;
    uint64_t incarnation;
    uint64_t clock_us;
    uint64_t last_epoch_us;
    uint64_t prev_checksum;
    uint64_t payload_checksum;
    uint64_t checksum;
    uint64_t synced_index; /* 0 when its own checksum is wrong: then it proves nothing */
    bool synced_intact;
};

/* Payload of a hole frame, 48 bytes. Its header's index, term and first_position are those of the first removed frame;
 * the frame after the hole has index last_index + 1, position end_position, and chains to carried_checksum. */
struct fmt_hole {
    uint64_t last_index;       /*  0 */
    uint64_t last_term;        /*  8 */
    uint64_t end_position;     /* 16 position after the last removed event */
    uint64_t carried_checksum; /* 24 checksum of the last removed frame */
    uint64_t decision_index;   /* 32 frame of the event that decided the removal */
    uint64_t last_epoch_us;    /* 40 */
};
#define FMT_HOLE_SIZE 48u

/* Encodes f into out (FMT_FRAME_HEADER_SIZE bytes) and sets f->checksum. header_len is set by this function. */
void fmt_frame_encode(struct fmt_frame *f, unsigned char *out);

/* Decodes a header of which `room` bytes may be read; the payload need not be in the buffer. Returns NULL and fills
 * *out, or a static text that says what is wrong (all-zero bytes are "no frame here": ask fmt_frame_absent first). */
const char *fmt_frame_decode(const unsigned char *at, size_t room, struct fmt_frame *out);

/* What fmt_frame_decode says of a whole header whose kind this version must understand and does not: no damage. */
extern const char fmt_newer_frame[];

/* True when the bytes where a header would be are all zero, or too few for one: the clean end of a segment. */
bool fmt_frame_absent(const unsigned char *at, size_t room);

/* Checks the payload (frame_len - header_len bytes after the header) event by event, as FORMAT.md section 4 says.
 * Returns NULL, or what is wrong; *bad_offset is then the offset of the bad event from the start of the frame. */
const char *fmt_frame_check(const struct fmt_frame *f, const unsigned char *frame, size_t *bad_offset);

/* Kinds whose payload holds events: EVENTS and THINNED. */
static inline bool fmt_frame_has_events(const struct fmt_frame *f) {
    return f->kind == FMT_FRAME_EVENTS || f->kind == FMT_FRAME_THINNED;
}

/* Kinds whose payload begins with a struct fmt_hole: HOLE and THINNED. */
static inline bool fmt_frame_is_hole(const struct fmt_frame *f) {
    return f->kind == FMT_FRAME_HOLE || f->kind == FMT_FRAME_THINNED;
}

/* Where the events of a frame are. In a thinned frame, some are missing: then the payload is a hole, u64 number of runs,
 * the runs (events without gaps between them: u32 number of the first among those that are left, u32 its ordinal from the
 * first position), XXH3-64 of the payload up to here, the events. */
struct fmt_frame_events {
    const unsigned char *runs; /* NULL: none is missing */
    uint32_t run_count;
    size_t at;             /* of the first event, from the start of the frame */
    uint64_t end_position; /* after the last event, removed or not */
    uint64_t chain;        /* what the payload checksum's fold begins with */
};

/* Finds them and checks all but the events themselves. f has events. Returns NULL and fills *out, or what is wrong. */
const char *fmt_frame_find_events(const struct fmt_frame *f, const unsigned char *frame, struct fmt_frame_events *out);

/* The place of event i of the frame: its position is first_position + ordinal. */
uint32_t fmt_frame_ordinal(const struct fmt_frame_events *e, uint32_t i);

/* Bytes of a thinned frame's payload before its events. */
size_t fmt_thinned_head_size(uint32_t runs);

/* Writes them; run i is set before or after by fmt_thinned_run. Seal last: it returns their checksum. */
void fmt_thinned_run(unsigned char *payload, uint32_t i, uint32_t first, uint32_t ordinal);
uint64_t fmt_thinned_head_seal(const struct fmt_hole *h, uint32_t runs, unsigned char *payload);

/* Decodes the payload of a hole frame that passed fmt_frame_check. */
void fmt_hole_decode(const unsigned char *payload, struct fmt_hole *out);
void fmt_hole_encode(const struct fmt_hole *h, unsigned char out[FMT_HOLE_SIZE]);

#endif
