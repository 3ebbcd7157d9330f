/* segment.h: a log file: a header, then frames, then zeros or the end of the file. FORMAT.md section 3.
 *
 *   0  8    magic               "ESDBLOG\n"
 *   8  u32  header_len          128; larger in a later format, a multiple of 8
 *  12  u32  version             of the format: FMT_VERSION
 *  16  u64  features_optional   a reader that does not know them may go on
 *  24  u64  features_required   a reader that does not know one of them must stop
 *  32  u64  first_index         of the first frame; also the file's name
 *  40  u64  first_position      of the first event
 *  48  u64  prev_checksum       checksum of the frame before the first; 0 at the start of the log
 *  56  u64  last_epoch_us       time of the newest event before this segment; 0 when there is none
 *  64  16   store_id
 *  80  u64  created_us          clock at creation
 *  88  u64  last_term           of the frame before the first; 0 at the start of the log
 *  96  u64  rewritten_us        clock when it was compacted; 0: it is as it was written
 * 104  u32  content_size        compressed segments (packed.h): size of the segment that this file stands for; else 0
 * 108  u32  table_offset        likewise: where the table of blocks begins
 * 112  u32  block_size          likewise
 * 116  4    zeros
 * 120  u64  checksum            XXH3-64 of bytes 0 .. 120
 */
#ifndef FMT_SEGMENT_H
#define FMT_SEGMENT_H

#include "frame.h"

#define FMT_SEGMENT_HEADER_SIZE 128u
#define FMT_SEGMENT_MAGIC "ESDBLOG\n"
#define FMT_FEATURE_COMPRESSED 1ull
#define FMT_FEATURES_REQUIRED_KNOWN FMT_FEATURE_COMPRESSED

struct fmt_segment {
    uint32_t header_len;
    uint32_t version;
    uint64_t features_optional;
    uint64_t features_required;
    uint64_t first_index;
    uint64_t first_position;
    uint64_t prev_checksum;
    uint64_t last_epoch_us;
    unsigned char store_id[16];
    uint64_t created_us;
    uint64_t last_term;
    uint64_t rewritten_us;
    uint64_t content_size, table_offset; /* with FMT_FEATURE_COMPRESSED; else 0, as the next */
    uint32_t block_size;
};

void fmt_segment_encode(const struct fmt_segment *s, unsigned char out[FMT_SEGMENT_HEADER_SIZE]);

/* Decodes and checks a segment header. Returns NULL and fills *out, or what is wrong. *newer is set when the only
 * fault is a newer version or an unknown required feature. */
const char *fmt_segment_decode(const unsigned char *at, size_t room, struct fmt_segment *out, bool *newer);

/* A walk over the frames of a segment that is in memory. It knows what the next frame must be, so that a frame is taken
 * only when it chains: index, position and prev_checksum fit. */
struct fmt_walk {
    const unsigned char *base; /* the segment's bytes; borrowed */
    size_t size;               /* how many may be read */
    size_t offset;             /* of the next frame */
    uint64_t index;            /* that it must have */
    uint64_t position;
    uint64_t prev_checksum;
    uint64_t last_epoch_us;
    uint64_t term;
    /* Makes bytes from .. to of base readable, of which some are not there before; what cannot be had is zeros. NULL: all
     * are there. What was made readable stays so while the next ones are. */
    void (*need)(void *context, size_t from, size_t to);
    void *context;
    bool rolled;       /* the last frame carries FMT_FRAME_ROLLS: none follows */
    const char *fault; /* after FMT_BAD: what is wrong */
    bool newer;        /* after FMT_BAD: nothing is damaged, but this version does not know what it must understand */
    size_t fault_offset;
};

enum fmt_walk_result { FMT_OK = 0, FMT_END = 1, FMT_BAD = -1 };

/* Starts before the first frame of the segment whose decoded header is s. */
void fmt_walk_init(struct fmt_walk *w, const struct fmt_segment *s, const unsigned char *base, size_t size);

/* Bytes from .. from + len of the walk's base are about to be read; where it ends before, those that there are. */
static inline void fmt_walk_need(const struct fmt_walk *w, size_t from, size_t len) {
    if (w->need && from < w->size)
        w->need(w->context, from, len < w->size - from ? from + len : w->size);
}

/* Is all behind the walk's offset zeros? */
bool fmt_walk_rest_is_zero(const struct fmt_walk *w);

/* Decodes the header of the next frame and checks that it chains and lies inside the segment; does not move.
 * FMT_END: zeros or no bytes are left (or the last frame rolled). FMT_BAD: fault says what is wrong. */
int fmt_walk_peek(struct fmt_walk *w, struct fmt_frame *out);

/* Checks the payload of the frame that fmt_walk_peek gave. FMT_OK or FMT_BAD. */
int fmt_walk_check(struct fmt_walk *w, const struct fmt_frame *f);

/* Moves past the frame that fmt_walk_peek gave. */
void fmt_walk_pass(struct fmt_walk *w, const struct fmt_frame *f);

/* Looks beyond a bad frame: the offset of the next whole frame (payload included) with an index of at least min_index, at
 * any multiple of 8 from `from` on. Returns the offset and fills *out, or 0 when there is none. */
size_t fmt_walk_resync(const struct fmt_walk *w, size_t from, uint64_t min_index, struct fmt_frame *out);

#endif
