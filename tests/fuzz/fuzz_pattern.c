/* A pattern and a text, divided by the first newline: esdb_pattern_match against a plain recursion over the same rules. */
#include <assert.h>
#include <string.h>

#include "format/utf8.h"
#include "libcore/esdb.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t character(const char *t, size_t len) {
    size_t n = 1;
    while (n < len && ((unsigned char)t[n] & 0xc0) == 0x80)
        n++;
    return n;
}

static bool matches(const char *p, size_t plen, const char *t, size_t tlen) {
    if (plen == 0)
        return tlen == 0;
    if (*p == '*') {
        for (size_t skip = 0;; skip += character(t + skip, tlen - skip)) {
            if (matches(p + 1, plen - 1, t + skip, tlen - skip))
                return true;
            if (skip == tlen)
                return false;
        }
    }
    if (tlen == 0)
        return false;
    if (*p == '?') {
        size_t n = character(t, tlen);
        return matches(p + 1, plen - 1, t + n, tlen - n);
    }
    size_t escape = *p == '\\' && plen > 1 ? 1 : 0;
    return p[escape] == *t && matches(p + escape + 1, plen - escape - 1, t + 1, tlen - 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const uint8_t *newline = size ? memchr(data, '\n', size) : NULL;
    if (!newline || newline - data > 8 || size > 30)
        return 0; /* the recursion is exponential */
    struct esdb_text pattern = {(const char *)data, (size_t)(newline - data)};
    struct esdb_text text = {(const char *)newline + 1, size - pattern.len - 1};
    if (!fmt_utf8_valid(pattern.at, pattern.len, NULL) || !fmt_utf8_valid(text.at, text.len, NULL))
        return 0; /* names are UTF-8: nothing else is asked */
    assert(esdb_pattern_match(pattern, text) == matches(pattern.at, pattern.len, text.at, text.len));
    return 0;
}
