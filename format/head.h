/* head.h: the shared page that every process maps: watermarks, generation, wake-up words. FORMAT.md section 7.
 * A cache: whatever it holds may cost a rebuild, never a wrong answer. In host byte order: it is valid on one boot of one
 * machine only.
 *
 *    0  8    magic "ESDBHEAD"          64  u64  generation   (word)      384  2 x 64  marks of appended
 *    8  u32  version                  128  u64  appended     (word)      512  2 x 64  marks of synced
 *   12  u32  zero                     192  u64  synced       (word)
 *   16  16   boot id                  200  u64  committed    (word)
 *   32  u64  device                   208  u64  in_progress  (word)
 *   40  u64  inode                    216  u64  poisoned     (word)
 *   48  u64  incarnation              256  u32  wake: bumped and woken when synced or committed moves, or poison
 *   56  u64  XXH3-64 of 0..56         260  u32  appender_wake: bumped when the append lock is given back
 *                                     264  u32  appenders: how many wait for it (a hint)
 *                                     272  u64  round (word): the newest frame of the sync that was begun last, times 2,
 *                                               plus its parity, which changes with each
 *                                     280  u64  life (word): every event of a $meta: stream has a position below this;
 *                                               0: there is none. Not valid: not known
 *                                     640  2 x 64  marks of committed, in a replicated store
 */
#ifndef FMT_HEAD_H
#define FMT_HEAD_H

#include <stdbool.h>
#include <stdint.h>

#define FMT_HEAD_SIZE 4096u
#define FMT_HEAD_MAGIC "ESDBHEAD"
#define FMT_HEAD_VERSION 1u
#define FMT_WORD_MAX ((1ull << 48) - 1) /* half of it are 10^14 frames; at 100,000 a second that is 44 years */
#define FMT_COMMITTED_IS_SYNCED FMT_WORD_MAX

/* Where the log stands after frame `index`: the hint that saves a walk. `check` covers the rest. */
struct fmt_mark {
    uint64_t index;         /*  0 */
    uint64_t segment;       /*  8 first frame index of the segment that holds the frame: its name */
    uint64_t frame_offset;  /* 16 of the frame in its segment */
    uint64_t end_offset;    /* 24 just past the frame */
    uint64_t end_position;  /* 32 position of the next event */
    uint64_t last_epoch_us; /* 40 */
    uint64_t checksum;      /* 48 of the frame: what the next one chains to */
    uint64_t check;         /* 56 */
};

struct fmt_head {
    char magic[8];               /*   0 */
    uint32_t version;            /*   8 */
    uint32_t zero;               /*  12 */
    unsigned char boot_id[16];   /*  16 */
    uint64_t device;             /*  32 */
    uint64_t inode;              /*  40 */
    uint64_t incarnation;        /*  48 */
    uint64_t check;              /*  56 of bytes 0 .. 56 */
    _Atomic uint64_t generation; /*  64 */
    char pad1[56];
    _Atomic uint64_t appended; /* 128 */
    char pad2[56];
    _Atomic uint64_t synced;      /* 192 */
    _Atomic uint64_t committed;   /* 200 */
    _Atomic uint64_t in_progress; /* 208 a sync is under way: 1 */
    _Atomic uint64_t poisoned;    /* 216 */
    char pad3[32];
    _Atomic uint32_t wake;          /* 256 */
    _Atomic uint32_t appender_wake; /* 260 */
    _Atomic uint32_t appenders;     /* 264 */
    uint32_t zero2;                 /* 268 */
    _Atomic uint64_t round;         /* 272 */
    _Atomic uint64_t life;          /* 280 */
    char pad4[96];
    struct fmt_mark appended_mark[2];  /* 384 */
    struct fmt_mark synced_mark[2];    /* 512 */
    struct fmt_mark committed_mark[2]; /* 640 */
    char rest[FMT_HEAD_SIZE - 768];
};

/* A self-checking word: 48 bits of value, 16 bits that only that value has. Zero is not a valid word. */
uint64_t fmt_word_encode(uint64_t value);

/* False when the word was damaged; *value is set only on true. */
bool fmt_word_decode(uint64_t word, uint64_t *value);

uint64_t fmt_mark_check(const struct fmt_mark *m);
uint64_t fmt_head_check(const struct fmt_head *h);

#endif
