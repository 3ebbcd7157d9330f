/* checksum.h: the one checksum of every esdb structure: XXH3-64 (xxhash, doc/xxhash_spec.md). Header only. */
#ifndef FMT_CHECKSUM_H
#define FMT_CHECKSUM_H

#include <stdbool.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "bytes.h"

/* ---- checksum_wide.c ---- */

/* May fmt_checksum_wide be called on this processor? */
bool fmt_checksum_can_be_wide(void);
uint64_t fmt_checksum_wide(const void *at, size_t len);
#define FMT_CHECKSUM_WIDE_MIN 256u /* shorter inputs go another way within XXH3, which gains nothing */

/* XXH3-64, seed 0, of len bytes. */
static inline uint64_t fmt_checksum(const void *at, size_t len) {
    if (len >= FMT_CHECKSUM_WIDE_MIN) {
        static signed char wide = -1; /* threads that meet here find the same */
        if (__builtin_expect(wide < 0, 0))
            wide = fmt_checksum_can_be_wide();
        if (wide)
            return fmt_checksum_wide(at, len);
    }
    return XXH3_64bits(at, len);
}

/* One step of a chain over 64-bit values: XXH3-64 of value (8 bytes, little-endian) with seed chain. */
static inline uint64_t fmt_fold(uint64_t chain, uint64_t value) {
    unsigned char bytes[8];
    fmt_put64(bytes, value);
    return XXH3_64bits_withSeed(bytes, sizeof bytes, chain);
}

#endif
