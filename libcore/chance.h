/* chance.h: random bytes in bulk. The kernel's are drawn as a key and stretched with ChaCha20 (RFC 8439, section 2.3), which
 * takes a quarter of the time. Each piece replaces the key, so that what was given cannot be found again; a new key is
 * drawn often, and in a forked child. */
#ifndef ES_CHANCE_H
#define ES_CHANCE_H

#include <stdint.h>
#include <sys/types.h>

#define ES_CHANCE_PIECE 4096u
#define ES_CHANCE_KEY 32u
#define ES_CHANCE_LANES 8u

/* Begins as {0}. */
struct es_chance {
    uint32_t key[8];
    unsigned pieces; /* that the key and those after it may still give before a new one is drawn */
    pid_t pid;       /* whose key it is */
};

/* Fills bytes ES_CHANCE_KEY to ES_CHANCE_PIECE of `out`; those before become zero. -errno: nothing is filled. */
int es_chance_fill(struct es_chance *c, unsigned char out[ES_CHANCE_PIECE]);

/* The blocks of ChaCha20 with the numbers counter .. counter + 7 and a nonce of zeros, side by side: word i of block j is
 * out[i][j]. */
void es_chacha20(const uint32_t key[8], uint32_t counter, uint32_t out[16][ES_CHANCE_LANES]);

#endif
