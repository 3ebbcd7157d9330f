/* UTF-8: see utf8.h. */
#include "utf8.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

/* The first byte at or after `p` that is not ASCII, or `end`. */
static const char *skip_ascii(const char *p, const char *end) {
#ifdef __SSE2__
    for (; end - p >= 16; p += 16) {
        int mask = _mm_movemask_epi8(_mm_loadu_si128((const __m128i *)p));

        if (mask != 0)
            return p + __builtin_ctz((unsigned)mask);
    }
#endif
    while (p < end && (unsigned char)*p < 0x80)
        p++;
    return p;
}

bool fmt_utf8_valid(const char *text, size_t len, size_t *bad_offset) {
    const char *p = text, *end;

    if (len == 0) /* `text` may be NULL */
        return true;
    end = text + len;
    while ((p = skip_ascii(p, end)) < end) {
        /* Texts that are not Latin come in runs of such sequences. */
        do {
            int n = fmt_utf8_sequence(p, end);

            if (n <= 0) {
                if (bad_offset != NULL)
                    *bad_offset = (size_t)(p - text);
                return false;
            }
            p += n;
        } while (p < end && (unsigned char)*p >= 0x80);
    }
    return true;
}

bool fmt_has_control(const char *text, size_t len) {
    const unsigned char *u = (const unsigned char *)text;

    for (size_t i = 0; i < len; i++) {
        if (u[i] < 0x20 || u[i] == 0x7f)
            return true;
        if (u[i] == 0xc2 && i + 1 < len && u[i + 1] < 0xa0)
            return true;
    }
    return false;
}
