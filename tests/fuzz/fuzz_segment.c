/* Any bytes as the frames of a segment. The first byte says how: 1 checksums, indexes and positions are made right, so that
 * the fuzzer gets behind them; else the bytes stand as they are. What a reader does with them: walk, check, look beyond
 * damage, make an index, ask it. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "format/bytes.h"
#include "format/checksum.h"
#include "format/event.h"
#include "format/segment.h"
#include "libcore/seal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Offsets of the fields that are put right: frame.h, event.h. */
enum { FRAME_LEN = 8, COUNT = 12, INDEX = 16, POSITION = 32, PREV = 72, PAYLOAD = 80, CHECKSUM = 88, EVENT_LEN = 40 };

/* Gives the events of a frame their checksums, as far as their lengths lead. Returns the fold. */
static uint64_t seal_events(unsigned char *frame, size_t frame_len, uint32_t count) {
    uint64_t fold = 0;
    size_t at = FMT_FRAME_HEADER_SIZE;
    for (uint32_t i = 0; i < count && frame_len - at >= FMT_EVENT_HEADER_SIZE; i++) {
        uint32_t len = fmt_get32(frame + at + EVENT_LEN);
        if (len < FMT_EVENT_HEADER_SIZE || len > frame_len - at)
            break;
        fmt_put64(frame + at, fmt_checksum(frame + at + 8, len - 8));
        fold = fmt_fold(fold, fmt_get64(frame + at));
        at += len;
    }
    return fold;
}

static void seal_frames(unsigned char *base, size_t size) {
    uint64_t index = 1, position = 0, prev = 0;
    size_t at = FMT_SEGMENT_HEADER_SIZE;
    while (size - at >= FMT_FRAME_HEADER_SIZE) {
        unsigned char *f = base + at;
        uint32_t len = fmt_get32(f + FRAME_LEN), count = fmt_get32(f + COUNT);
        if (len < FMT_FRAME_HEADER_SIZE || len > size - at || len % 8)
            return;
        fmt_put32(f, FMT_FRAME_MAGIC);
        fmt_put16(f + 4, FMT_FRAME_HEADER_SIZE);
        fmt_put64(f + INDEX, index++);
        fmt_put64(f + POSITION, position);
        fmt_put64(f + PREV, prev);
        fmt_put64(f + PAYLOAD, f[6] == FMT_FRAME_EVENTS
                                   ? seal_events(f, len, count)
                                   : fmt_checksum(f + FMT_FRAME_HEADER_SIZE, len - FMT_FRAME_HEADER_SIZE));
        prev = fmt_checksum(f, CHECKSUM);
        fmt_put64(f + CHECKSUM, prev);
        position += count;
        at += len;
    }
}

static void walk(const struct fmt_segment *s, const unsigned char *base, size_t size) {
    struct fmt_walk w;
    struct fmt_frame f;
    int rc;
    fmt_walk_init(&w, s, base, size);
    while ((rc = fmt_walk_peek(&w, &f)) == FMT_OK) {
        assert(fmt_inside(w.offset, f.frame_len, size));
        if (fmt_walk_check(&w, &f) == FMT_OK && f.kind == FMT_FRAME_HOLE) {
            struct fmt_hole h;
            fmt_hole_decode(base + w.offset + f.header_len, &h);
            assert(h.last_index >= f.index);
        }
        size_t before = w.offset;
        fmt_walk_pass(&w, &f);
        assert(w.offset > before);
    }
    if (rc == FMT_BAD)
        assert(w.fault && w.fault_offset <= size);
    size_t at = fmt_walk_resync(&w, w.offset + 8, w.index, &f);
    assert(at == 0 || fmt_inside(at, f.frame_len, size));
}

static void index_it(const unsigned char *base, size_t size) {
    struct es_buffer image = {0};
    if (es_seal_build(base, size, &image, NULL) == 0) {
        struct fmt_table t;
        struct es_stream_slot slot;
        uint32_t bad;
        assert(!fmt_table_open(&t, image.at, image.len));
        assert(!fmt_table_verify(&t, &bad));
        (void)es_index_stream(&t, (struct esdb_text){"a", 1}, &slot);
        for (uint32_t i = 0; i < 8; i++) {
            uint64_t offset = 0;
            if (es_index_offset(&t, i, &offset) == 0)
                assert(offset < size);
        }
    }
    es_buffer_release(&image);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1)
        return 0;
    size_t len = FMT_SEGMENT_HEADER_SIZE + size - 1;
    unsigned char *base = malloc(len);
    assert(base);
    struct fmt_segment s = {.version = FMT_VERSION, .first_index = 1, .header_len = FMT_SEGMENT_HEADER_SIZE};
    fmt_segment_encode(&s, base);
    memcpy(base + FMT_SEGMENT_HEADER_SIZE, data + 1, size - 1);
    if (data[0] & 1)
        seal_frames(base, len);
    walk(&s, base, len);
    index_it(base, len);
    free(base);
    return 0;
}
