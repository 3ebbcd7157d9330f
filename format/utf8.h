/*
 * UTF-8 as RFC 3629 and Unicode table 3-7 have it: no overlong form, no surrogate, nothing above U+10FFFF.
 */
#ifndef FMT_UTF8_H
#define FMT_UTF8_H

#include <stdbool.h>
#include <stddef.h>

/*
 * The length (2, 3 or 4) of the well-formed sequence at `p`, whose first byte is 0x80 or above.
 * 0: ill-formed. -1: well-formed as far as it goes, but `end` comes before its last byte. `p` < `end`.
 */
static inline int fmt_utf8_sequence(const char *p, const char *end) {
    const unsigned char *u = (const unsigned char *)p;
    size_t left = (size_t)(end - p);
    unsigned char low = 0x80, high = 0xbf; /* the range of the second byte, narrower for four first bytes */
    int len;

    if (u[0] < 0xc2)
        return 0;
    if (u[0] < 0xe0) {
        len = 2;
    } else if (u[0] < 0xf0) {
        len = 3;
        if (u[0] == 0xe0)
            low = 0xa0;
        else if (u[0] == 0xed)
            high = 0x9f;
    } else if (u[0] < 0xf5) {
        len = 4;
        if (u[0] == 0xf0)
            low = 0x90;
        else if (u[0] == 0xf4)
            high = 0x8f;
    } else {
        return 0;
    }

    if (left < 2)
        return -1;
    if (u[1] < low || u[1] > high)
        return 0;
    for (int i = 2; i < len; i++) {
        if ((size_t)i == left)
            return -1;
        if ((u[i] & 0xc0) != 0x80)
            return 0;
    }
    return len;
}

/*
 * Is `text` well-formed UTF-8? When it is not, *bad_offset (may be NULL) is set to the offset of the first byte of
 * the first ill-formed or cut-off sequence. NUL is a character like any other here. Empty text is valid.
 */
bool fmt_utf8_valid(const char *text, size_t len, size_t *bad_offset);

/*
 * Does `text`, which is valid UTF-8, hold a control character: U+0000..U+001F, U+007F, U+0080..U+009F?
 * Names of streams and event types must not.
 */
bool fmt_has_control(const char *text, size_t len);

#endif
