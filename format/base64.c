/* Base 64: see base64.h. */
#include "base64.h"

#include <errno.h>
#include <stdint.h>

static const char alphabet[64] = {
    'A', 'B', 'C', 'D', 'E', 'F', 'G', 'H', 'I', 'J', 'K', 'L', 'M', 'N', 'O', 'P', 'Q', 'R', 'S', 'T', 'U', 'V',
    'W', 'X', 'Y', 'Z', 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'k', 'l', 'm', 'n', 'o', 'p', 'q', 'r',
    's', 't', 'u', 'v', 'w', 'x', 'y', 'z', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', '+', '/',
};

/* Marks the 64 entries of the table that stand for a value; all others are 0. */
#define KNOWN 0x40

static const uint8_t value_of[256] = {
#define V(character, value) [character] = KNOWN | value
    /* clang-format off */
    V('A', 0), V('B', 1), V('C', 2), V('D', 3), V('E', 4), V('F', 5), V('G', 6), V('H', 7),
    V('I', 8), V('J', 9), V('K', 10), V('L', 11), V('M', 12), V('N', 13), V('O', 14), V('P', 15),
    V('Q', 16), V('R', 17), V('S', 18), V('T', 19), V('U', 20), V('V', 21), V('W', 22), V('X', 23),
    V('Y', 24), V('Z', 25), V('a', 26), V('b', 27), V('c', 28), V('d', 29), V('e', 30), V('f', 31),
    V('g', 32), V('h', 33), V('i', 34), V('j', 35), V('k', 36), V('l', 37), V('m', 38), V('n', 39),
    V('o', 40), V('p', 41), V('q', 42), V('r', 43), V('s', 44), V('t', 45), V('u', 46), V('v', 47),
    V('w', 48), V('x', 49), V('y', 50), V('z', 51), V('0', 52), V('1', 53), V('2', 54), V('3', 55),
    V('4', 56), V('5', 57), V('6', 58), V('7', 59), V('8', 60), V('9', 61), V('+', 62), V('/', 63),
/* clang-format on */
#undef V
};

size_t fmt_base64_encode(const void *bytes, size_t len, char *out) {
    const uint8_t *in = bytes;
    char *o = out;

    for (; len >= 3; len -= 3, in += 3, o += 4) {
        uint32_t v = (uint32_t)in[0] << 16 | (uint32_t)in[1] << 8 | in[2];

        o[0] = alphabet[v >> 18];
        o[1] = alphabet[v >> 12 & 63];
        o[2] = alphabet[v >> 6 & 63];
        o[3] = alphabet[v & 63];
    }
    if (len > 0) {
        uint32_t v = (uint32_t)in[0] << 16 | (len == 2 ? (uint32_t)in[1] << 8 : 0);

        o[0] = alphabet[v >> 18];
        o[1] = alphabet[v >> 12 & 63];
        o[2] = len == 2 ? alphabet[v >> 6 & 63] : '=';
        o[3] = '=';
        o += 4;
    }
    return (size_t)(o - out);
}

static int bad_at(size_t offset, size_t *bad_offset) {
    if (bad_offset != NULL)
        *bad_offset = offset;
    return -EILSEQ;
}

/* The last group, which may be padded and may be short; `at` is its offset in the text, `left` is 1 to 4. */
static int decode_last(const uint8_t *in, size_t left, size_t at, uint8_t *out, size_t *written, size_t *bad_offset) {
    size_t chars = left;

    /* Padding is one or two '=' in the third and fourth place, nowhere else. */
    if (left == 4 && in[3] == '=')
        chars = in[2] == '=' ? 2 : 3;
    for (size_t i = 0; i < chars; i++)
        if (value_of[in[i]] == 0)
            return bad_at(at + i, bad_offset);
    if (left < 4)
        return bad_at(at + left, bad_offset);

    uint32_t v = 0;

    for (size_t i = 0; i < 4; i++)
        v = v << 6 | (i < chars ? value_of[in[i]] & 63u : 0);
    if (chars < 4 && (v & (chars == 2 ? 0xffffu : 0xffu)) != 0)
        return bad_at(at + chars - 1, bad_offset);

    out[0] = (uint8_t)(v >> 16);
    if (chars >= 3)
        out[1] = (uint8_t)(v >> 8);
    if (chars == 4)
        out[2] = (uint8_t)v;
    *written = chars - 1;
    return 0;
}

int fmt_base64_decode(const char *text, size_t len, void *out, size_t *out_len, size_t *bad_offset) {
    const uint8_t *in = (const uint8_t *)text;
    uint8_t *o = out;
    size_t at = 0, written = 0;

    for (; len - at > 4; at += 4, o += 3) {
        uint8_t a = value_of[in[at]], b = value_of[in[at + 1]];
        uint8_t c = value_of[in[at + 2]], d = value_of[in[at + 3]];

        if ((a & b & c & d & KNOWN) == 0) {
            while (value_of[in[at]] != 0)
                at++;
            return bad_at(at, bad_offset);
        }
        o[0] = (uint8_t)(a << 2 | (b & 63) >> 4);
        o[1] = (uint8_t)(b << 4 | (c & 63) >> 2);
        o[2] = (uint8_t)(c << 6 | (d & 63));
    }
    if (at < len) {
        int rc = decode_last(in + at, len - at, at, o, &written, bad_offset);

        if (rc < 0)
            return rc;
    }
    *out_len = (size_t)(o - (uint8_t *)out) + written;
    return 0;
}
