/* append_wire.h: an append as bytes, for a store that a daemon writes: through esdb.sock, and from node to node. Pure.
 *
 * Both messages begin with the head that all messages have: u16 type, u16 zero, u32 size, u64 number (it comes back in the
 * answer). All numbers are little-endian.
 *
 *   request  16 u32 flags of esdb_append   20 u32 timeout_ms    24 u32 events   28 u32 expectations
 *            32 u32 bytes of the records   36 u32 1: times follow
 *            40 records (FORMAT.md section 5, not yet sealed); u64 epoch_us an event, if there are times;
 *               expectations: i64 version, u32 length, name
 *   answer   16 i32 code   20 u32 bytes of the text   24 u64 frame_index   32 u64 first_position   40 u64 last_position
 *            48 u64 epoch_us   56 u32 count   60 u32 1: existed   64 i64 expected   72 i64 actual   80 u32 streams
 *            84 u32 bytes of stream_id   88 text, stream_id; streams: u64 first_version, u64 last_version, u32 length, name
 */
#ifndef ES_APPEND_WIRE_H
#define ES_APPEND_WIRE_H

#include "batch.h"

#define ES_WIRE_APPEND 48u
#define ES_WIRE_ANSWER 49u
#define ES_WIRE_HEAD 16u
/* A frame, as many names as it can hold, and their numbers. */
#define ES_WIRE_SIZE_MAX (160u << 20)

struct es_append_request {
    uint64_t number;
    unsigned flags;
    uint32_t timeout_ms;
};

/* Adds the request to `out`. -ENOMEM. */
int es_append_encode(const struct es_append_request *r, const esdb_batch *b, struct es_buffer *out);

/* Takes a request; the batch is filled with what it holds. ESDB_EINVALID: it is malformed, or breaks a rule of events. */
int es_append_decode(const unsigned char *at, size_t len, struct es_append_request *out, esdb_batch *b,
                     struct esdb_error *err);

/* Adds the answer: the receipt (code 0), or what err says. -ENOMEM. */
int es_answer_encode(uint64_t number, int code, const struct esdb_receipt *r, const struct esdb_error *err,
                     struct es_buffer *out);

/* Takes an answer to the batch's request. The receipt's streams are kept in the batch. Returns the code in it, after err was
 * filled; ESDB_EUNKNOWN when it is malformed: nothing is known then. */
int es_answer_decode(const unsigned char *at, size_t len, esdb_batch *b, struct esdb_receipt *out,
                     struct esdb_error *err);

/* The size that the head says, 0: impossible. */
size_t es_wire_size(const unsigned char head[ES_WIRE_HEAD], unsigned type);

#endif
