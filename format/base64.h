/*
 * Base 64 of RFC 4648 section 4: the standard alphabet, always padded, no line breaks.
 */
#ifndef FMT_BASE64_H
#define FMT_BASE64_H

#include <stddef.h>

/* The exact number of characters that `len` bytes become. `len` up to SIZE_MAX / 2; no terminating NUL is counted. */
static inline size_t fmt_base64_encoded_size(size_t len) {
    return (len + 2) / 3 * 4;
}

/* Room that decoding `len` characters needs: the exact size, or up to 2 bytes more than it when there is padding. */
static inline size_t fmt_base64_decoded_size_max(size_t len) {
    return len / 4 * 3;
}

/* Encodes `len` bytes into `out`, which has room for fmt_base64_encoded_size(len). Returns that size. */
size_t fmt_base64_encode(const void *bytes, size_t len, char *out);

/*
 * Decodes `len` characters. Strict: anything outside the alphabet, missing or misplaced padding, and bits that are
 * not zero under the padding (RFC 4648 section 3.5) are refused, so that every byte string has exactly one encoding.
 * `text` is the body of a JSON string: when that holds escapes ("\/"), fmt_json_unescape() comes first.
 *
 * `out` has room for fmt_base64_decoded_size_max(len) and may be `text` itself. Returns 0 and sets *out_len, or
 * -EILSEQ and sets *bad_offset (may be NULL) to the offending character: `len` when characters are missing.
 * `out` holds garbage after an error.
 */
int fmt_base64_decode(const char *text, size_t len, void *out, size_t *out_len, size_t *bad_offset);

#endif
