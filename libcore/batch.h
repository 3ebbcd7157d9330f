/* batch.h: a frame under construction. */
#ifndef ES_BATCH_H
#define ES_BATCH_H

#include "buffer.h"
#include "esdb.h"

struct es_known;

/* A stream of a batch: its events are numbered, and its expectation checked, when the batch is appended. */
struct es_batch_stream {
    size_t name_at; /* in esdb_batch.names */
    uint32_t name_len;
    uint32_t events;
    uint64_t hash;
    int64_t expected;
    bool expects;
    bool begins; /* the first event of the batch must get the version `begin`; a stream that never was begins there */
    uint64_t begin;
    int64_t current;        /* its version before this batch, -1: none; known while appending */
    bool exists;            /* it has such a version, which was not deleted; known while appending */
    uint64_t next;          /* version of its next event */
    uint32_t last;          /* its newest event in the active segment: ordinal + 1; 0: none; ES_LAST_UNKNOWN */
    struct es_known *known; /* what the handle knows of it, NULL: nothing; valid while appending */
};
#define ES_LAST_UNKNOWN UINT32_MAX

struct es_batch_event {
    uint32_t offset; /* of the record in frame */
    uint32_t stream;
    uint64_t epoch_us; /* to keep; 0: that of the append */
};

struct esdb_batch {
    struct es_buffer frame;   /* room for the frame header, then the records */
    struct es_buffer events;  /* struct es_batch_event */
    struct es_buffer streams; /* struct es_batch_stream */
    struct es_buffer names;
    struct es_buffer receipt;   /* struct esdb_receipt_stream */
    uint32_t *slot;             /* hash table: stream + 1, 0 empty */
    uint32_t slots;             /* a power of two */
    unsigned char chance[4096]; /* random bytes not used yet: the last chance_left ones */
    size_t chance_left;
    bool drew;           /* chance was drawn before */
    uint64_t clock_ms;   /* for event ids: not older than the chance */
    bool tells_life;     /* names a "$meta:" stream */
    uint64_t none_below; /* no segment before this one has an id of it: es_find_settled() */
};

static inline uint32_t es_batch_streams(const esdb_batch *b) {
    return (uint32_t)(b->streams.len / sizeof(struct es_batch_stream));
}
static inline struct es_batch_stream *es_batch_stream_at(const esdb_batch *b, uint32_t i) {
    return (struct es_batch_stream *)(void *)b->streams.at + i;
}
static inline const struct es_batch_event *es_batch_event_at(const esdb_batch *b, uint32_t i) {
    return (const struct es_batch_event *)(const void *)b->events.at + i;
}
static inline struct esdb_text es_batch_name(const esdb_batch *b, const struct es_batch_stream *s) {
    return (struct esdb_text){(const char *)b->names.at + s->name_at, s->name_len};
}

/* The number of the stream in the batch; it is added when it is new. -ENOMEM. */
int es_batch_find_stream(esdb_batch *b, struct esdb_text name, uint32_t *out);

#endif
