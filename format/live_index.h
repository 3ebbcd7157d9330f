/* live_index.h: the index of the active segment, mapped and shared while it grows. FORMAT.md section 8.
 * Written under the append lock only; entry first, then the word that leads to it, so that a reader without a lock sees
 * either the old chain or the new one. Every word and entry checks itself and every hit is checked against the log.
 * In host byte order: it is valid on one boot of one machine.
 *
 * file: header page (4096) | entries[capacity] (40 each) | stream buckets[capacity] (8) |
 *       keys[key_capacity] (16 each) | key buckets[key_capacity] (8)
 *
 * Streams: a bucket leads to the newest event of one stream; that entry's stream_next leads to the newest event of
 * another stream of the bucket, and so on; prev leads to the event before in the same stream, jump far back (Myers,
 * "An applicative random-access stack", 1983: O(log n) to any earlier event).
 * Keys (event_keys.h): a bucket leads to the newest key that falls there; next to the one before.
 */
#ifndef FMT_LIVE_INDEX_H
#define FMT_LIVE_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FMT_LIVE_MAGIC "ESDBLIV2"
#define FMT_LIVE_HEADER_SIZE 4096u
#define FMT_LIVE_CAPACITY_MIN 256u

struct fmt_live_entry {
    uint32_t offset8;     /*  0 of the event in the segment, in units of 8 */
    uint32_t nth;         /*  4 number of earlier events of the stream in this segment */
    uint32_t prev;        /*  8 ordinal + 1 of the one before in the stream; 0: none */
    uint32_t jump;        /* 12 ordinal + 1; 0: none */
    uint32_t zero;        /* 16 */
    uint32_t stream_hash; /* 20 */
    uint32_t frame_event; /* 24 ordinal of the first event of its frame: the frame's header lies just before that */
    uint32_t check;       /* 28 of bytes 0..28 and the ordinal */
    _Atomic uint64_t stream_next; /* 32 link word */
};

struct fmt_live_key {
    uint32_t hash;    /*  0 high half of the key's hash */
    uint32_t ordinal; /*  4 of the event */
    uint32_t next;    /*  8 number of the one before in the bucket, + 1; 0: none */
    uint32_t check;   /* 12 of bytes 0..12 and the key's own number */
};

struct fmt_live_header {
    char magic[8];             /*   0 */
    unsigned char boot_id[16]; /*   8 */
    uint64_t device;           /*  24 of this file */
    uint64_t inode;            /*  32 */
    uint64_t segment;          /*  40 name of the segment */
    uint64_t generation;       /*  48 of the head it belongs to */
    uint64_t capacity;         /*  56 events; a power of two */
    uint64_t key_capacity;     /*  64 keys; a power of two */
    uint64_t check;            /*  72 of bytes 0 .. 72 */
    char pad[48];              /*  80 */
    _Atomic uint64_t events;   /* 128 word: how many events are in */
    _Atomic uint64_t frames;   /* 136 word: index of the newest frame that is in; segment - 1: none */
    _Atomic uint64_t offset8;  /* 144 word: where the next frame begins, in units of 8 */
    _Atomic uint64_t retired;  /* 152 word: 1 when a larger or a sealed one has taken its place */
    _Atomic uint64_t keys;     /* 160 word: how many keys are in */
};

/* A link word: ordinal + 1 (0: end of the chain) in the low half, a check over it and the word's place in the high half,
 * which is never zero. An unused bucket is all zero and means: end of the chain. */
uint64_t fmt_link_encode(uint32_t target, uint64_t place);
bool fmt_link_decode(uint64_t word, uint64_t place, uint32_t *target);

uint32_t fmt_live_entry_check(const struct fmt_live_entry *e, uint32_t ordinal);
uint64_t fmt_live_header_check(const struct fmt_live_header *h);
uint32_t fmt_live_key_check(const struct fmt_live_key *k, uint32_t number);
size_t fmt_live_size(uint64_t capacity, uint64_t key_capacity);

#endif
