/* piece.h: messages by which a node that is far behind gets segments from another one: what there is (manifest), then their
 * bytes, piece by piece. Pure: bytes and structures. WIRE.md section 5; the layout stands in piece.c. */
#ifndef RD_PIECE_H
#define RD_PIECE_H

#include "libcore/install.h"
#include "message.h"

/* Types beside those of daemon_internal.h; never renumbered. */
enum rd_piece_type {
    RD_ASK_MANIFEST = 64,
    RD_MANIFEST = 65,
    RD_ASK_PIECE = 66,
    RD_PIECE = 67,
};

#define RD_PIECE_BYTES (256u << 10) /* of one piece at most: what anybody waits for on the same connection */
#define RD_PIECE_HEAD 40u
#define RD_ASK_SIZE 40u
#define RD_MANIFEST_HEAD 32u
#define RD_OUTLINE_SIZE 48u
#define RD_MANIFEST_SEGMENTS_MAX 349000u /* fits into REP_INSTALL_SIZE_MAX; 45 TB of segments */
#define RD_SEGMENT_SIZE_MAX (UINT64_C(1) << 34)

/* number: chosen by who asks, comes back in the answer. */
struct rd_ask_manifest {
    uint64_t number;
    uint64_t first, upto; /* frames; upto >= first */
    uint64_t checksum;    /* of frame upto */
};
struct rd_manifest {
    uint64_t number, upto;
    uint32_t count;          /* 0: it does not have these frames */
    const unsigned char *at; /* outlines; borrowed */
};
struct rd_ask_piece {
    uint64_t number, segment, offset;
    uint32_t len; /* 1 .. RD_PIECE_BYTES */
};
struct rd_piece {
    uint64_t number, segment, offset;
    const unsigned char *at; /* len bytes, borrowed; 0: it does not have them (any more) */
    uint32_t len;
};

size_t rd_piece_size_max(unsigned type); /* 0: none of these types */

void rd_ask_manifest_encode(const struct rd_ask_manifest *m, unsigned char out[RD_ASK_SIZE]);
void rd_ask_piece_encode(const struct rd_ask_piece *m, unsigned char out[RD_ASK_SIZE]);
/* The heads; what follows them are m->count outlines, m->len bytes. */
void rd_manifest_head(const struct rd_manifest *m, unsigned char out[RD_MANIFEST_HEAD]);
void rd_outline_encode(const struct es_outline *o, unsigned char out[RD_OUTLINE_SIZE]);
void rd_piece_head(const struct rd_piece *m, unsigned char out[RD_PIECE_HEAD]);

/* A whole message of that type. NULL, or what is wrong with it; *out points into it. A manifest's outlines are ascending, each
 * begins where frames and positions can, and has a possible size. */
const char *rd_ask_manifest_decode(const unsigned char *at, size_t len, struct rd_ask_manifest *out);
const char *rd_manifest_decode(const unsigned char *at, size_t len, struct rd_manifest *out);
const char *rd_ask_piece_decode(const unsigned char *at, size_t len, struct rd_ask_piece *out);
const char *rd_piece_decode(const unsigned char *at, size_t len, struct rd_piece *out);
void rd_outline_decode(const struct rd_manifest *m, uint32_t i, struct es_outline *out);

#endif
