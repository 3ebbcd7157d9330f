/* Walking over checked JSON: see json_path.h. */
#include "json_path.h"

#include <stdint.h>
#include <string.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define ALWAYS_INLINE inline __attribute__((always_inline))

#ifdef __SSE2__
/* Loads 16 bytes at `p`, or those that are left with the ones before them; *shift of the bits of a mask are of before. */
static ALWAYS_INLINE __m128i load_near_end(const char *p, const char *end, unsigned *shift) {
    ptrdiff_t left = end - p;

    if (likely(left >= 16)) {
        *shift = 0;
        return _mm_loadu_si128((const __m128i *)p);
    }
    *shift = (unsigned)(16 - left);
    return _mm_loadu_si128((const __m128i *)(end - 16));
}

/* Bit i: byte i of the 16 is '"' or '\'. */
static ALWAYS_INLINE unsigned string_mask(__m128i bytes) {
    __m128i quote = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('"'));
    __m128i backslash = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\'));

    return (unsigned)_mm_movemask_epi8(_mm_or_si128(quote, backslash));
}

/* Bit i: byte i of the 16 is '"' or opens or closes a container: with the bit 0x20 set, '[' is '{' and ']' is '}'. */
static ALWAYS_INLINE unsigned structure_mask(__m128i bytes) {
    __m128i lower = _mm_or_si128(bytes, _mm_set1_epi8(0x20));
    __m128i opener = _mm_cmpeq_epi8(lower, _mm_set1_epi8('{'));
    __m128i closer = _mm_cmpeq_epi8(lower, _mm_set1_epi8('}'));
    __m128i quote = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('"'));

    return (unsigned)_mm_movemask_epi8(_mm_or_si128(_mm_or_si128(opener, closer), quote));
}
#endif

/* The next '"' or '\' from `p` on, or the end. `start` is where the input begins. */
static ALWAYS_INLINE const char *find_quote(const char *start, const char *p, const char *end) {
#ifdef __SSE2__
    if (likely(end - start >= 16)) {
        while (p < end) {
            unsigned shift;
            __m128i bytes = load_near_end(p, end, &shift);
            unsigned mask = string_mask(bytes) >> shift;

            if (likely(mask != 0))
                return p + __builtin_ctz(mask);
            p += 16 - shift;
        }
        return end;
    }
#endif
    while (p < end && *p != '"' && *p != '\\')
        p++;
    return p;
}

/* `p` is past an opening quote. Returns the byte past the closing one, or the end. Sets *escaped when there is a
 * backslash. */
static ALWAYS_INLINE const char *skip_string(const char *start, const char *p, const char *end, bool *escaped) {
    for (;;) {
        p = find_quote(start, p, end);
        if (unlikely(p == end))
            return end;
        if (likely(*p == '"'))
            return p + 1;
        *escaped = true;
        if (unlikely(end - p < 2))
            return end;
        p += 2;
    }
}

/* `p` is past an opening bracket. Returns the byte past the one that closes it, or the end. */
static const char *skip_container(const char *start, const char *p, const char *end) {
    size_t depth = 1;
    bool ignored;

    while (p < end) {
#ifdef __SSE2__
        if (likely(end - start >= 16)) {
            unsigned shift;
            __m128i bytes = load_near_end(p, end, &shift);
            unsigned mask = structure_mask(bytes) >> shift;

            if (mask == 0) {
                p += 16 - shift;
                continue;
            }
            p += __builtin_ctz(mask);
        }
#endif
        char c = *p++;

        if (c == '"')
            p = skip_string(start, p, end, &ignored);
        else if (c == '{' || c == '[')
            depth++;
        else if ((c == '}' || c == ']') && --depth == 0)
            return p;
    }
    return end;
}

/* The end of a number or a word that `p` is in. */
static ALWAYS_INLINE const char *skip_scalar(const char *p, const char *end) {
#ifdef __SSE2__
    if (likely(end - p >= 16)) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)p);
        __m128i comma = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(','));
        __m128i closer = _mm_cmpeq_epi8(_mm_or_si128(bytes, _mm_set1_epi8(0x20)), _mm_set1_epi8('}'));
        unsigned mask = (unsigned)_mm_movemask_epi8(_mm_or_si128(comma, closer));

        if (likely(mask != 0))
            return p + __builtin_ctz(mask);
        p += 16;
    }
#endif
    while (p < end && *p != ',' && *p != '}' && *p != ']')
        p++;
    return p;
}

/* Returns the byte past the value at `p` (< end), or the end. */
static ALWAYS_INLINE const char *skip_value(const char *start, const char *p, const char *end) {
    char c = *p++;
    bool ignored;

    if (c == '"')
        return skip_string(start, p, end, &ignored);
    if (c == '{' || c == '[')
        return skip_container(start, p, end);
    return skip_scalar(p, end);
}

void fmt_json_walk_init(struct fmt_json_walk *w, struct fmt_text container) {
    bool is_container = container.len > 1 && (container.at[0] == '{' || container.at[0] == '[');

    *w = (struct fmt_json_walk){container.at, container.at, container.at};
    if (is_container) {
        w->at++;
        w->end += container.len - 1; /* without the closing bracket */
    }
}

static ALWAYS_INLINE bool next_member(struct fmt_json_walk *w, struct fmt_text *key, bool *is_key_escaped,
                                      struct fmt_text *value) {
    const char *p = w->at;

    if (p < w->end && *p == ',')
        p++;
    if (unlikely(p >= w->end || *p != '"'))
        return false;
    key->at = p;
    *is_key_escaped = false;
    p = skip_string(w->start, p + 1, w->end, is_key_escaped);
    key->len = (size_t)(p - key->at);
    if (unlikely(w->end - p < 2 || *p != ':'))
        return false;
    value->at = ++p;
    p = skip_value(w->start, p, w->end);
    value->len = (size_t)(p - value->at);
    w->at = p;
    return true;
}

bool fmt_json_next_member(struct fmt_json_walk *w, struct fmt_text *key, struct fmt_text *value) {
    bool ignored;

    return next_member(w, key, &ignored, value);
}

bool fmt_json_element(struct fmt_json_walk *w, struct fmt_text *value) {
    const char *p = w->at;

    if (p < w->end && *p == ',')
        p++;
    if (unlikely(p >= w->end))
        return false;
    value->at = p;
    p = skip_value(w->start, p, w->end);
    value->len = (size_t)(p - value->at);
    w->at = p;
    return true;
}

static bool member_by_walking(struct fmt_text object, struct fmt_text key, struct fmt_text *value) {
    struct fmt_json_walk w;
    struct fmt_text name, found;
    bool any = false, escaped;

    fmt_json_walk_init(&w, object);
    while (next_member(&w, &name, &escaped, &found)) {
        if (unlikely(escaped) ? fmt_json_string_equal(name, key)
                              : name.len == key.len + 2 && memcmp(name.at + 1, key.at, key.len) == 0) {
            *value = found;
            any = true;
        }
    }
    return any;
}

#ifdef __SSE2__
enum search { ABSENT, FOUND, UNKNOWN };

/* Is the key at `at`, with its quotes? The colon after it was seen. */
static ALWAYS_INLINE bool is_key(const char *at, struct fmt_text key) {
    return at[-1] == '"' && at[key.len] == '"' && memcmp(at, key.at, key.len) == 0;
}

/*
 * Looks for `"key":` without walking. Where there is no backslash at all, every quote begins or ends a string, so what is
 * found is a key; where no bracket comes before, it is one of the object itself. Else UNKNOWN: walk.
 */
static ALWAYS_INLINE enum search member_by_searching(struct fmt_text object, struct fmt_text key,
                                                     struct fmt_text *value) {
    const char *p = object.at + 1, *end = object.at + object.len, *last = NULL;
    const char *stop = end - 16 - (key.len + 1); /* the last place from where both loads are inside */
    const __m128i head = _mm_set1_epi8(key.at[0]), colon = _mm_set1_epi8(':'), backslash = _mm_set1_epi8('\\');
    const __m128i space = _mm_set1_epi8(0x20), opener = _mm_set1_epi8('{'), closer = _mm_set1_epi8('}');
    bool is_nested = false;

    for (;;) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)p);
        __m128i after = _mm_loadu_si128((const __m128i *)(p + key.len + 1));
        __m128i lower = _mm_or_si128(bytes, space);
        __m128i bracket = _mm_or_si128(_mm_cmpeq_epi8(lower, opener), _mm_cmpeq_epi8(lower, closer));
        __m128i match = _mm_and_si128(_mm_cmpeq_epi8(bytes, head), _mm_cmpeq_epi8(after, colon));
        unsigned brackets = (unsigned)_mm_movemask_epi8(bracket);

        if (unlikely(_mm_movemask_epi8(_mm_cmpeq_epi8(bytes, backslash)) != 0))
            return UNKNOWN;
        for (unsigned mask = (unsigned)_mm_movemask_epi8(match); unlikely(mask != 0); mask &= mask - 1) {
            unsigned i = (unsigned)__builtin_ctz(mask);

            if (!is_key(p + i, key))
                continue;
            if (p + i != last && (is_nested || (brackets & ((1u << i) - 1)) != 0))
                return UNKNOWN;
            last = p + i;
        }
        is_nested |= brackets != 0;
        if (p == stop)
            break;
        p = stop - p < 16 ? stop : p + 16; /* the last block overlaps the one before */
    }
    /* Behind the last place only the backslash of another key matters. */
    if (memchr(stop + 16, '\\', (size_t)(end - (stop + 16))) != NULL)
        return UNKNOWN;
    if (last == NULL)
        return ABSENT;
    if (unlikely(last + key.len + 2 >= end)) /* no JSON */
        return UNKNOWN;
    value->at = last + key.len + 2;
    value->len = (size_t)(skip_value(object.at, value->at, end) - value->at);
    return FOUND;
}
#endif

bool fmt_json_member(struct fmt_text object, struct fmt_text key, struct fmt_text *value) {
    if (object.len < 2 || object.at[0] != '{')
        return false;
#ifdef __SSE2__
    if (key.len > 0 && object.len >= 18 + key.len && memchr(key.at, '"', key.len) == NULL) {
        enum search s = member_by_searching(object, key, value);

        if (likely(s != UNKNOWN))
            return s == FOUND;
    }
#endif
    return member_by_walking(object, key, value);
}

size_t fmt_json_count(struct fmt_text container) {
    struct fmt_json_walk w;
    struct fmt_text key, value;
    size_t n = 0;

    fmt_json_walk_init(&w, container);
    if (container.len > 0 && container.at[0] == '{')
        while (fmt_json_next_member(&w, &key, &value))
            n++;
    else
        while (fmt_json_element(&w, &value))
            n++;
    return n;
}

/* ---- searching ---- */

const char *fmt_text_find(struct fmt_text text, struct fmt_text part) {
    const char *p = text.at, *last;

    if (part.len == 0 || part.len > text.len)
        return part.len == 0 ? text.at : NULL;
    last = text.at + (text.len - part.len); /* where it may begin at the latest */
#ifdef __SSE2__
    /* Sixteen places at a time: its first byte, and its last one as far behind. */
    __m128i head = _mm_set1_epi8(part.at[0]), tail = _mm_set1_epi8(part.at[part.len - 1]);

    for (; last - p >= 15; p += 16) {
        __m128i begin = _mm_loadu_si128((const __m128i *)p);
        __m128i end = _mm_loadu_si128((const __m128i *)(p + part.len - 1));
        __m128i both = _mm_and_si128(_mm_cmpeq_epi8(begin, head), _mm_cmpeq_epi8(end, tail));

        for (unsigned mask = (unsigned)_mm_movemask_epi8(both); mask != 0; mask &= mask - 1) {
            const char *at = p + __builtin_ctz(mask);

            if (memcmp(at, part.at, part.len) == 0)
                return at;
        }
    }
#endif
    for (; p <= last; p++)
        if (*p == part.at[0] && memcmp(p, part.at, part.len) == 0)
            return p;
    return NULL;
}

bool fmt_json_may_hold(struct fmt_text json, struct fmt_text text) {
    const char *p = json.at, *end = json.at + json.len;

    if (text.len == 0)
        return true;
#ifdef __SSE2__
    const char *stop = end - 16 - (text.len - 1);
    const __m128i head = _mm_set1_epi8(text.at[0]), tail = _mm_set1_epi8(text.at[text.len - 1]);
    const __m128i backslash = _mm_set1_epi8('\\');

    if (likely(json.len >= 16 + text.len)) {
        for (;;) {
            __m128i begin = _mm_loadu_si128((const __m128i *)p);
            __m128i last = _mm_loadu_si128((const __m128i *)(p + text.len - 1));
            __m128i both = _mm_and_si128(_mm_cmpeq_epi8(begin, head), _mm_cmpeq_epi8(last, tail));
            __m128i any = _mm_or_si128(both, _mm_cmpeq_epi8(begin, backslash));

            for (unsigned mask = (unsigned)_mm_movemask_epi8(any); unlikely(mask != 0); mask &= mask - 1) {
                const char *at = p + __builtin_ctz(mask);

                if (*at == '\\' || memcmp(at, text.at, text.len) == 0)
                    return true;
            }
            if (p == stop)
                break;
            p = stop - p < 16 ? stop : p + 16;
        }
        p = stop + 16;
        return memchr(p, '\\', (size_t)(end - p)) != NULL;
    }
#endif
    return fmt_text_find(json, text) != NULL || (json.len > 0 && memchr(p, '\\', (size_t)(end - p)) != NULL);
}

/* ---- strings ---- */

struct fmt_text fmt_json_body(struct fmt_text string) {
    if (string.len < 2 || string.at[0] != '"')
        return (struct fmt_text){string.at, 0};
    return (struct fmt_text){string.at + 1, string.len - 2};
}

static unsigned hex_digit(char c) {
    return c <= '9' ? (unsigned)(c - '0') & 15 : ((unsigned)((c | 0x20) - 'a') + 10) & 15;
}

/* The number after "\u"; UINT32_MAX when fewer than four bytes are left. */
static uint32_t hex4(const char *p, const char *end) {
    if (end - p < 4)
        return UINT32_MAX;
    return hex_digit(p[0]) << 12 | hex_digit(p[1]) << 8 | hex_digit(p[2]) << 4 | hex_digit(p[3]);
}

static size_t put_utf8(char *o, uint32_t c) {
    if (c < 0x80) {
        o[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        o[0] = (char)(0xc0 | c >> 6);
        o[1] = (char)(0x80 | (c & 0x3f));
        return 2;
    }
    if (c < 0x10000) {
        o[0] = (char)(0xe0 | c >> 12);
        o[1] = (char)(0x80 | (c >> 6 & 0x3f));
        o[2] = (char)(0x80 | (c & 0x3f));
        return 3;
    }
    o[0] = (char)(0xf0 | c >> 18);
    o[1] = (char)(0x80 | (c >> 12 & 0x3f));
    o[2] = (char)(0x80 | (c >> 6 & 0x3f));
    o[3] = (char)(0x80 | (c & 0x3f));
    return 4;
}

/* The character of an escape; *at is past "\u". UINT32_MAX: a lone surrogate, or not four digits. */
static uint32_t take_unicode(const char **at, const char *end) {
    uint32_t c = hex4(*at, end), low;

    if (c == UINT32_MAX) {
        *at = end;
        return c;
    }
    *at += 4;
    if (c < 0xd800 || c > 0xdfff)
        return c;
    if (c > 0xdbff || end - *at < 6 || (*at)[0] != '\\' || (*at)[1] != 'u')
        return UINT32_MAX;
    low = hex4(*at + 2, end);
    if (low < 0xdc00 || low > 0xdfff)
        return UINT32_MAX;
    *at += 6;
    return 0x10000 + ((c & 0x3ff) << 10) + (low & 0x3ff);
}

/* The character of the escape at *at (a backslash), which is moved past it; UINT32_MAX: a lone surrogate. */
static uint32_t take_escape(const char **at, const char *end) {
    const char *p = *at + 1;
    char c = p < end ? *p++ : '\\';

    *at = p;
    switch (c) {
    case 'b':
        return '\b';
    case 'f':
        return '\f';
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    case 'u':
        return take_unicode(at, end);
    default:
        return (unsigned char)c & 0x7f;
    }
}

size_t fmt_json_next_character(const char **at, const char *end, char out[4]) {
    const char *p = *at;
    size_t n = 0;

    if (unlikely(*p == '\\')) {
        uint32_t c = take_escape(at, end);

        return put_utf8(out, c == UINT32_MAX ? 0xfffd : c);
    }
    do
        out[n++] = *p++;
    while (n < 4 && p < end && ((unsigned char)*p & 0xc0) == 0x80);
    *at = p;
    return n;
}

/* Compares a body that has escapes with text. */
static int compare_decoded(struct fmt_text body, struct fmt_text text) {
    const char *p = body.at, *end = body.at + body.len, *t = text.at, *tend = text.at + text.len;
    char character[4];

    while (p < end) {
        size_t n = fmt_json_next_character(&p, end, character);
        size_t left = (size_t)(tend - t);
        int order = memcmp(character, t, n < left ? n : left);

        if (order != 0)
            return order;
        if (n > left)
            return 1;
        t += n;
    }
    return t < tend ? -1 : 0;
}

static int compare_plain(struct fmt_text a, struct fmt_text b) {
    size_t n = a.len < b.len ? a.len : b.len;
    int order = n == 0 ? 0 : memcmp(a.at, b.at, n);

    if (order != 0)
        return order;
    return a.len < b.len ? -1 : a.len > b.len;
}

static bool has_escape(struct fmt_text body) {
    return body.len > 0 && memchr(body.at, '\\', body.len) != NULL;
}

int fmt_json_string_compare(struct fmt_text string, struct fmt_text text) {
    static const char empty[1];
    struct fmt_text body = fmt_json_body(string);

    if (text.at == NULL)
        text.at = empty;
    return has_escape(body) ? compare_decoded(body, text) : compare_plain(body, text);
}

int fmt_json_string_order(struct fmt_text a, struct fmt_text b) {
    struct fmt_text x = fmt_json_body(a), y = fmt_json_body(b);

    if (!has_escape(y))
        return fmt_json_string_compare(a, y);
    if (!has_escape(x)) {
        int order = fmt_json_string_compare(b, x);

        return order < 0 ? 1 : -(order > 0);
    }

    const char *p = x.at, *q = y.at, *pend = x.at + x.len, *qend = y.at + y.len;

    while (p < pend && q < qend) {
        char c[4], d[4];
        size_t m = fmt_json_next_character(&p, pend, c), n = fmt_json_next_character(&q, qend, d);
        int order = compare_plain((struct fmt_text){c, m}, (struct fmt_text){d, n});

        if (order != 0)
            return order;
    }
    return p < pend ? 1 : q < qend ? -1 : 0;
}

bool fmt_json_string_equal(struct fmt_text string, struct fmt_text text) {
    struct fmt_text body = fmt_json_body(string);

    if (string.len < 2 || string.at[0] != '"' || body.len < text.len)
        return false;
    if (!has_escape(body))
        return body.len == text.len && (text.len == 0 || memcmp(body.at, text.at, text.len) == 0);
    return fmt_json_string_compare(string, text) == 0;
}

bool fmt_json_string_has_prefix(struct fmt_text string, struct fmt_text text) {
    struct fmt_text body = fmt_json_body(string);
    const char *p = body.at, *end = body.at + body.len;
    size_t done = 0;

    if (string.len < 2 || string.at[0] != '"')
        return false;
    while (done < text.len) {
        char character[4];

        if (p == end)
            return false;

        size_t n = fmt_json_next_character(&p, end, character);

        /* Both are UTF-8: a prefix ends where a character does. */
        if (n > text.len - done || memcmp(character, text.at + done, n) != 0)
            return false;
        done += n;
    }
    return true;
}

size_t fmt_json_decode(struct fmt_text string, char *out, size_t room) {
    struct fmt_text body = fmt_json_body(string);
    const char *p = body.at, *end = body.at + body.len;
    size_t len = 0;

    while (p < end) {
        char character[4];
        size_t n = fmt_json_next_character(&p, end, character);

        if (n > room - len)
            return SIZE_MAX;
        memcpy(out + len, character, n);
        len += n;
    }
    return len;
}

bool fmt_json_has_lone_surrogate(struct fmt_text string) {
    struct fmt_text body = fmt_json_body(string);
    const char *p = body.at, *end = body.at + body.len;

    while (p < end && (p = memchr(p, '\\', (size_t)(end - p))) != NULL)
        if (take_escape(&p, end) == UINT32_MAX)
            return true;
    return false;
}
