/* Any bytes as one of the messages by which segments are fetched: what is taken is encoded again as it was, byte for byte. */
#include <assert.h>
#include <string.h>

#include "format/bytes.h"
#include "replicate/piece.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_manifest(const uint8_t *data, const struct rd_manifest *m) {
    unsigned char head[RD_MANIFEST_HEAD], bytes[RD_OUTLINE_SIZE];
    struct es_outline o;
    uint64_t before = 0;
    rd_manifest_head(m, head);
    assert(memcmp(head, data, sizeof head) == 0);
    for (uint32_t i = 0; i < m->count; i++) {
        rd_outline_decode(m, i, &o);
        assert(o.first_index > before && o.first_index <= m->upto);
        before = o.first_index;
        rd_outline_encode(&o, bytes);
        assert(memcmp(bytes, m->at + (size_t)i * RD_OUTLINE_SIZE, sizeof bytes) == 0);
    }
}

static const char *take(const uint8_t *data, size_t size, unsigned type) {
    struct rd_ask_manifest am;
    struct rd_manifest m;
    struct rd_ask_piece ap;
    struct rd_piece p;
    unsigned char again[RD_ASK_SIZE];
    const char *wrong;
    if (type == RD_ASK_MANIFEST && !(wrong = rd_ask_manifest_decode(data, size, &am))) {
        rd_ask_manifest_encode(&am, again);
        assert(memcmp(again, data, size) == 0);
    } else if (type == RD_ASK_PIECE && !(wrong = rd_ask_piece_decode(data, size, &ap))) {
        rd_ask_piece_encode(&ap, again);
        assert(memcmp(again, data, size) == 0);
    } else if (type == RD_MANIFEST && !(wrong = rd_manifest_decode(data, size, &m)))
        check_manifest(data, &m);
    else if (type == RD_PIECE && !(wrong = rd_piece_decode(data, size, &p))) {
        rd_piece_head(&p, again);
        assert(memcmp(again, data, RD_PIECE_HEAD) == 0 && p.at + p.len == data + size);
    } else
        return type < RD_ASK_MANIFEST || type > RD_PIECE ? "another type" : wrong;
    return NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < REP_MESSAGE_HEAD)
        return 0;
    unsigned type = fmt_get16(data);
    const char *wrong = take(data, size, type);
    assert(!wrong || wrong[0]);
    assert(wrong || size <= rd_piece_size_max(type));
    return 0;
}
