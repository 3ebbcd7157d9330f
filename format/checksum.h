/* checksum.h: the one checksum of every esdb structure: XXH3-64 (xxhash, doc/xxhash_spec.md). Header only. */
#ifndef FMT_CHECKSUM_H
#define FMT_CHECKSUM_H

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "bytes.h"

/* XXH3-64, seed 0, of len bytes. */
static inline uint64_t fmt_checksum(const void *at, size_t len) {
    return XXH3_64bits(at, len);
}

/* One step of a chain over 64-bit values: XXH3-64 of value (8 bytes, little-endian) with seed chain. */
static inline uint64_t fmt_fold(uint64_t chain, uint64_t value) {
    unsigned char bytes[8];
    fmt_put64(bytes, value);
    return XXH3_64bits_withSeed(bytes, sizeof bytes, chain);
}

#endif
