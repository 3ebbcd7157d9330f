/* bytes.h: little-endian access to byte buffers and arithmetic that cannot overflow. Header only. */
#ifndef FMT_BYTES_H
#define FMT_BYTES_H

#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint16_t fmt_get16(const void *at) {
    uint16_t v;
    memcpy(&v, at, sizeof v);
    return le16toh(v);
}

static inline uint32_t fmt_get32(const void *at) {
    uint32_t v;
    memcpy(&v, at, sizeof v);
    return le32toh(v);
}

static inline uint64_t fmt_get64(const void *at) {
    uint64_t v;
    memcpy(&v, at, sizeof v);
    return le64toh(v);
}

static inline void fmt_put16(void *at, uint16_t v) {
    v = htole16(v);
    memcpy(at, &v, sizeof v);
}

static inline void fmt_put32(void *at, uint32_t v) {
    v = htole32(v);
    memcpy(at, &v, sizeof v);
}

static inline void fmt_put64(void *at, uint64_t v) {
    v = htole64(v);
    memcpy(at, &v, sizeof v);
}

/* n rounded up to a multiple of 8. The caller knows that n + 7 does not overflow. */
static inline size_t fmt_align8(size_t n) {
    return (n + 7) & ~(size_t)7;
}

/* True when [at, at + len) lies inside [0, size): false on overflow too. */
static inline bool fmt_inside(uint64_t at, uint64_t len, uint64_t size) {
    return at <= size && len <= size - at;
}

/* True when all len bytes are zero. */
static inline bool fmt_all_zero(const void *at, size_t len) {
    const unsigned char *p = at;
    return len == 0 || (p[0] == 0 && memcmp(p, p + 1, len - 1) == 0);
}

#endif
