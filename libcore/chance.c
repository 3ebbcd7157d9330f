#include "chance.h"

#include <string.h>

#include "format/checksum.h"
#include "os.h"

#define PIECES_MAX 16u /* 64 KiB */

/* A word of each of the eight blocks. Processors with shorter registers take several. */
typedef uint32_t lanes __attribute__((vector_size(4 * ES_CHANCE_LANES)));

#define ROTATE(v, n) ((v) = (v) << (n) | (v) >> (32 - (n)))
#define QUARTER_ROUND(a, b, c, d)              \
    do {                                       \
        (a) += (b), (d) ^= (a), ROTATE(d, 16); \
        (c) += (d), (b) ^= (c), ROTATE(b, 12); \
        (a) += (b), (d) ^= (a), ROTATE(d, 8);  \
        (c) += (d), (b) ^= (c), ROTATE(b, 7);  \
    } while (0)

static inline __attribute__((always_inline)) void blocks(const uint32_t key[8], uint32_t counter,
                                                         uint32_t out[16][ES_CHANCE_LANES]) {
    static const uint32_t begin[4] = {0x61707865, 0x3320646e, 0x79622d32, 0x6b206574}; /* "expand 32-byte k" */
    const lanes zero = {0}, number = {0, 1, 2, 3, 4, 5, 6, 7};
    lanes start[16], x[16];
    for (int i = 0; i < 4; i++)
        start[i] = zero + begin[i];
    for (int i = 0; i < 8; i++)
        start[4 + i] = zero + key[i];
    start[12] = number + counter;
    start[13] = start[14] = start[15] = zero;
    memcpy(x, start, sizeof x);
    for (int i = 0; i < 10; i++) {
        QUARTER_ROUND(x[0], x[4], x[8], x[12]);
        QUARTER_ROUND(x[1], x[5], x[9], x[13]);
        QUARTER_ROUND(x[2], x[6], x[10], x[14]);
        QUARTER_ROUND(x[3], x[7], x[11], x[15]);
        QUARTER_ROUND(x[0], x[5], x[10], x[15]);
        QUARTER_ROUND(x[1], x[6], x[11], x[12]);
        QUARTER_ROUND(x[2], x[7], x[8], x[13]);
        QUARTER_ROUND(x[3], x[4], x[9], x[14]);
    }
    for (int i = 0; i < 16; i++) {
        x[i] += start[i];
        memcpy(out[i], &x[i], sizeof x[i]);
    }
}

#if defined(__x86_64__) && defined(__GNUC__)
__attribute__((target("avx2"))) static void blocks_avx2(const uint32_t key[8], uint32_t counter,
                                                        uint32_t out[16][ES_CHANCE_LANES]) {
    blocks(key, counter, out);
}
#else
#define blocks_avx2 blocks
#endif

void es_chacha20(const uint32_t key[8], uint32_t counter, uint32_t out[16][ES_CHANCE_LANES]) {
    if (fmt_checksum_can_be_wide())
        blocks_avx2(key, counter, out);
    else
        blocks(key, counter, out);
}

int es_chance_fill(struct es_chance *c, unsigned char out[ES_CHANCE_PIECE]) {
    uint32_t words[16][ES_CHANCE_LANES];
    pid_t pid = es_pid();
    if (c->pieces == 0 || c->pid != pid) {
        int rc = es_random(c->key, sizeof c->key);
        if (rc < 0)
            return rc;
        c->pieces = PIECES_MAX;
        c->pid = pid;
    }
    for (uint32_t at = 0; at < ES_CHANCE_PIECE; at += sizeof words) {
        es_chacha20(c->key, at / 64, words);
        memcpy(out + at, words, sizeof words);
    }
    memcpy(c->key, out, ES_CHANCE_KEY);
    memset(out, 0, ES_CHANCE_KEY);
    explicit_bzero(words, sizeof words);
    c->pieces--;
    return 0;
}
