/* JSON text in and out of strings: strip, unescape, escape. The scanner has checked what is read here. See json.h. */
#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "json.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

/* Must a string's body write this byte as an escape? In a checked string: is it the closing quote or an escape? */
static bool is_escaped(char c) {
    return (unsigned char)c < 0x20 || c == '"' || c == '\\';
}

#ifdef __SSE2__
/* Bit i is set when byte i is_escaped(). */
static int escaped_mask(__m128i bytes) {
    __m128i quote = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('"'));
    __m128i backslash = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\'));
    __m128i control = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1f)), bytes);

    return _mm_movemask_epi8(_mm_or_si128(_mm_or_si128(quote, backslash), control));
}
#endif

/* Copies up to the first is_escaped() byte; returns how many. May write to all of the end - p bytes at `out`. */
static size_t copy_plain(char *out, const char *p, const char *end) {
    const char *start = p;

#ifdef __SSE2__
    for (; end - p >= 16; p += 16, out += 16) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)p);
        int mask = escaped_mask(bytes);

        _mm_storeu_si128((__m128i *)out, bytes);
        if (mask != 0)
            return (size_t)(p - start) + (size_t)__builtin_ctz((unsigned)mask);
    }
    if (p > start) { /* the last bytes with those before them again, which are plain */
        __m128i bytes = _mm_loadu_si128((const __m128i *)(end - 16));
        int mask = escaped_mask(bytes);

        _mm_storeu_si128((__m128i *)(out + (end - p) - 16), bytes);
        return mask == 0 ? (size_t)(end - start) : (size_t)(end - 16 - start) + (size_t)__builtin_ctz((unsigned)mask);
    }
    if (end - p >= 8) { /* two halves that overlap */
        __m128i low = _mm_loadl_epi64((const __m128i *)p), high = _mm_loadl_epi64((const __m128i *)(end - 8));

        if (escaped_mask(_mm_unpacklo_epi64(low, high)) == 0) {
            _mm_storel_epi64((__m128i *)out, low);
            _mm_storel_epi64((__m128i *)(out + (end - p) - 8), high);
            return (size_t)(end - start);
        }
    }
#endif
    while (p < end && !is_escaped(*p))
        *out++ = *p++;
    return (size_t)(p - start);
}

size_t fmt_json_strip(const struct fmt_json_value *v, char *out) {
    if (!v->has_space) {
        memcpy(out, v->at, v->len);
        return v->len;
    }

    const char *p = v->at, *end = v->at + v->len;
    char *o = out;

    while (p < end) {
        char c = *p++;

        /* No token has a byte up to the space, except inside strings. */
        if (c <= ' ')
            continue;
        *o++ = c;
        if (c != '"')
            continue;
        for (;;) {
            size_t n = copy_plain(o, p, end);

            o += n;
            p += n;
            *o++ = *p++;
            if (p[-1] == '"')
                break;
            *o++ = *p++; /* what follows the backslash, which may be a quote */
        }
    }
    return (size_t)(o - out);
}

static unsigned hex_digit(char c) {
    return c <= '9' ? (unsigned)(c - '0') : (unsigned)((c | 0x20) - 'a') + 10;
}

static uint32_t hex4(const char *p) {
    return hex_digit(p[0]) << 12 | hex_digit(p[1]) << 8 | hex_digit(p[2]) << 4 | hex_digit(p[3]);
}

static char *put_utf8(char *o, uint32_t c) {
    if (c < 0x80) {
        *o++ = (char)c;
    } else if (c < 0x800) {
        *o++ = (char)(0xc0 | c >> 6);
        *o++ = (char)(0x80 | (c & 0x3f));
    } else if (c < 0x10000) {
        *o++ = (char)(0xe0 | c >> 12);
        *o++ = (char)(0x80 | (c >> 6 & 0x3f));
        *o++ = (char)(0x80 | (c & 0x3f));
    } else {
        *o++ = (char)(0xf0 | c >> 18);
        *o++ = (char)(0x80 | (c >> 12 & 0x3f));
        *o++ = (char)(0x80 | (c >> 6 & 0x3f));
        *o++ = (char)(0x80 | (c & 0x3f));
    }
    return o;
}

/* *p is past "\u"; moves it past the escape, or both escapes of a pair. Returns the character, or UINT32_MAX. */
static uint32_t take_unicode(const char **p, const char *end) {
    uint32_t c = hex4(*p);

    *p += 4;
    if (c < 0xd800 || c > 0xdfff)
        return c;
    if (c > 0xdbff || end - *p < 6 || (*p)[0] != '\\' || (*p)[1] != 'u')
        return UINT32_MAX;

    uint32_t low = hex4(*p + 2);

    if (low < 0xdc00 || low > 0xdfff)
        return UINT32_MAX;
    *p += 6;
    return 0x10000 + ((c & 0x3ff) << 10) + (low & 0x3ff);
}

int fmt_json_unescape(const struct fmt_json_value *v, char *out, size_t *out_len) {
    assert(v->kind == '"' && v->len >= 2);

    const char *p = v->at + 1, *end = v->at + v->len - 1;
    char *o = out;

    for (;;) {
        size_t n = copy_plain(o, p, end);

        o += n;
        p += n;
        if (p == end)
            break;
        p++;
        switch (*p++) {
        case 'b':
            *o++ = '\b';
            break;
        case 'f':
            *o++ = '\f';
            break;
        case 'n':
            *o++ = '\n';
            break;
        case 'r':
            *o++ = '\r';
            break;
        case 't':
            *o++ = '\t';
            break;
        case 'u': {
            uint32_t c = take_unicode(&p, end);

            if (c == UINT32_MAX)
                return -EILSEQ;
            o = put_utf8(o, c);
            break;
        }
        default: /* '"', '\', '/' */
            *o++ = p[-1];
        }
    }
    *out_len = (size_t)(o - out);
    return 0;
}

/* The letter of the two-byte escapes; 0: "\u00XX". */
static const char short_escape[0x20] = {['\b'] = 'b', ['\f'] = 'f', ['\n'] = 'n', ['\r'] = 'r', ['\t'] = 't'};

size_t fmt_json_escape(const char *text, size_t len, char *out) {
    static const char hex[] = "0123456789abcdef";
    const char *p = text, *end;
    char *o = out;

    if (len == 0) /* `text` may be NULL */
        return 0;
    end = text + len;
    for (;;) {
        size_t n = copy_plain(o, p, end);

        o += n;
        p += n;
        if (p == end)
            return (size_t)(o - out);

        unsigned char c = (unsigned char)*p++;

        *o++ = '\\';
        if (c >= 0x20) {
            *o++ = (char)c;
        } else if (short_escape[c] != 0) {
            *o++ = short_escape[c];
        } else {
            memcpy(o, "u00", 3);
            o[3] = hex[c >> 4];
            o[4] = hex[c & 15];
            o += 5;
        }
    }
}
