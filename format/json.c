/*
 * The JSON scanner: see json.h.
 *
 * One pass, no recursion: the open arrays and objects are a stack of the bytes that close them. Every scan_…()
 * function takes the first byte of its token and returns the byte after its last one, or NULL; the scanner then
 * says where and why it stopped.
 */
#include "json.h"

#include <stdint.h>
#include <string.h>

#include "utf8.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define ALWAYS_INLINE inline __attribute__((always_inline))

/* The longest known key with each of its characters written as a six-byte escape. */
#define KEY_ESCAPED_MAX (6 * 21)

struct scanner {
    const char *end;  /* of the input */
    const char *stop; /* where a scan_…() function gave up */
    const char *what; /* why; NULL: the input ended, and was right so far */
    bool space;       /* white space was skipped */
};

static const char *fail(struct scanner *s, const char *at, const char *what) {
    s->stop = at;
    s->what = what;
    return NULL;
}

static const char *ended(struct scanner *s) {
    return fail(s, s->end, NULL);
}

static __attribute__((noinline)) const char *skip_space_run(struct scanner *s, const char *p) {
    const char *start = p;

    while (p < s->end && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t'))
        p++;
    if (p > start)
        s->space = true;
    return p;
}

/* The next byte that is not white space, or the end. */
static ALWAYS_INLINE const char *skip_space(struct scanner *s, const char *p) {
    if (likely(p < s->end && (unsigned char)*p > ' '))
        return p;
    return skip_space_run(s, p);
}

#ifdef __SSE2__
/* Bit i: byte i of the 16 at `p` is one that a string's body cannot just contain: '"', '\', a control, not ASCII. */
static ALWAYS_INLINE unsigned special_mask(const char *p) {
    __m128i bytes = _mm_loadu_si128((const __m128i *)p);
    __m128i quote = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('"'));
    __m128i backslash = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\'));
    /* The comparison is signed: bytes from 0x80 on are negative. */
    __m128i other = _mm_cmplt_epi8(bytes, _mm_set1_epi8(0x20));

    return (unsigned)_mm_movemask_epi8(_mm_or_si128(_mm_or_si128(quote, backslash), other));
}
#endif

static bool is_plain(char c) {
    return (signed char)c >= 0x20 && c != '"' && c != '\\';
}

static const char *skip_plain(const char *p, const char *end) {
#ifdef __SSE2__
    for (; end - p >= 16; p += 16) {
        unsigned mask = special_mask(p);

        if (mask != 0)
            return p + __builtin_ctz(mask);
    }
#endif
    while (p < end && is_plain(*p))
        p++;
    return p;
}

static bool is_hex(char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static const char *scan_escape(struct scanner *s, const char *p) {
    if (++p == s->end)
        return ended(s);
    switch (*p++) {
    case '"':
    case '\\':
    case '/':
    case 'b':
    case 'f':
    case 'n':
    case 'r':
    case 't':
        return p;
    case 'u':
        for (int i = 0; i < 4; i++, p++) {
            if (p == s->end)
                return ended(s);
            if (!is_hex(*p))
                return fail(s, p, "expected four hexadecimal digits after \\u");
        }
        return p;
    default:
        return fail(s, p - 1, "invalid escape in string");
    }
}

static const char *scan_utf8(struct scanner *s, const char *p) {
    do {
        int n = fmt_utf8_sequence(p, s->end);

        if (n == 0)
            return fail(s, p, "invalid UTF-8");
        if (n < 0)
            return ended(s);
        p += n;
    } while (p < s->end && (unsigned char)*p >= 0x80);
    return p;
}

/* The rest of a string, from any character of its body on. */
static __attribute__((noinline)) const char *scan_string_rest(struct scanner *s, const char *p) {
    while (p != NULL) {
        p = skip_plain(p, s->end);
        if (p == s->end)
            return ended(s);
        if (*p == '"')
            return p + 1;
        if (*p == '\\')
            p = scan_escape(s, p);
        else if ((unsigned char)*p >= 0x80)
            p = scan_utf8(s, p);
        else
            return fail(s, p, *p == '\0' ? "NUL byte in string" : "control character in string");
    }
    return NULL;
}

/* `p` is the opening quote. Most strings are short: the first 16 bytes are looked at without a call. */
static ALWAYS_INLINE const char *scan_string(struct scanner *s, const char *p) {
    p++;
#ifdef __SSE2__
    if (likely(s->end - p >= 16)) {
        unsigned mask = special_mask(p);

        if (likely(mask != 0)) {
            p += __builtin_ctz(mask);
            if (likely(*p == '"'))
                return p + 1;
        } else {
            p += 16;
        }
    }
#endif
    return scan_string_rest(s, p);
}

static ALWAYS_INLINE bool is_digit(char c) {
    return (unsigned char)(c - '0') < 10;
}

/* One or more digits. */
static ALWAYS_INLINE const char *scan_digits(struct scanner *s, const char *p, const char *what) {
    if (unlikely(p == s->end))
        return ended(s);
    if (unlikely(!is_digit(*p)))
        return fail(s, p, what);
    do
        p++;
    while (p < s->end && is_digit(*p));
    return p;
}

static const char *scan_number(struct scanner *s, const char *p) {
    if (*p == '-' && (++p == s->end))
        return ended(s);
    if (*p == '0') {
        p++;
        if (p < s->end && is_digit(*p))
            return fail(s, p - 1, "leading zero in number");
    } else if ((p = scan_digits(s, p, "expected a digit after '-'")) == NULL) {
        return NULL;
    }
    if (p < s->end && *p == '.' && (p = scan_digits(s, p + 1, "expected a digit after '.'")) == NULL)
        return NULL;
    if (p < s->end && (*p == 'e' || *p == 'E')) {
        p++;
        if (p < s->end && (*p == '+' || *p == '-'))
            p++;
        p = scan_digits(s, p, "expected a digit in the exponent");
    }
    return p;
}

static const char *scan_literal(struct scanner *s, const char *p, const char *literal) {
    for (; *literal != '\0'; literal++, p++) {
        if (p == s->end)
            return ended(s);
        if (*p != *literal)
            return fail(s, p, "expected true, false or null");
    }
    return p;
}

/* A key and its colon; `p` is what stands in the key's place. *key_end (may be NULL) is set past the closing quote. */
static ALWAYS_INLINE const char *scan_key(struct scanner *s, const char *p, const char **key_end) {
    if (unlikely(p == s->end))
        return ended(s);
    if (unlikely(*p != '"'))
        return fail(s, p, "expected a key in double quotes");
    p = scan_string(s, p);
    if (unlikely(p == NULL))
        return NULL;
    if (key_end != NULL)
        *key_end = p;
    p = skip_space(s, p);
    if (unlikely(p == s->end))
        return ended(s);
    if (unlikely(*p != ':'))
        return fail(s, p, "expected ':' after key");
    return p + 1;
}

/* A string, a number or a literal. */
static ALWAYS_INLINE const char *scan_scalar(struct scanner *s, const char *p) {
    switch (*p) {
    case '"':
        return scan_string(s, p);
    case '-':
    case '0':
    case '1':
    case '2':
    case '3':
    case '4':
    case '5':
    case '6':
    case '7':
    case '8':
    case '9':
        return scan_number(s, p);
    case 't':
        return scan_literal(s, p, "true");
    case 'f':
        return scan_literal(s, p, "false");
    case 'n':
        return scan_literal(s, p, "null");
    default:
        return fail(s, p, "expected a value");
    }
}

static const char *fail_after_value(struct scanner *s, const char *p, char closer) {
    return fail(s, p, closer == '}' ? "expected ',' or '}' after value" : "expected ',' or ']' after value");
}

/* A whole value, with all that is in it; `p` is its first byte. */
static const char *scan_value(struct scanner *s, const char *p) {
    char closers[FMT_JSON_DEPTH_MAX];
    size_t depth = 0;

    for (;;) {
        if (unlikely(p == s->end))
            return ended(s);
        if (*p == '{' || *p == '[') {
            char closer = (char)(*p + 2); /* so ASCII has it, for both */

            if (unlikely(depth == FMT_JSON_DEPTH_MAX))
                return fail(s, p, "nesting deeper than 256");
            closers[depth++] = closer;
            p = skip_space(s, p + 1);
            if (unlikely(p == s->end))
                return ended(s);
            if (*p != closer) {
                if (closer == '}') {
                    p = scan_key(s, p, NULL);
                    if (unlikely(p == NULL))
                        return NULL;
                    p = skip_space(s, p);
                }
                continue;
            }
        } else {
            p = scan_scalar(s, p);
            if (unlikely(p == NULL))
                return NULL;
            if (depth == 0)
                return p;
            p = skip_space(s, p);
        }

        /* A value has ended, or nothing was in a container: close what closes here. */
        while (p < s->end && *p == closers[depth - 1]) {
            p++;
            if (--depth == 0)
                return p;
            p = skip_space(s, p);
        }
        if (unlikely(p == s->end))
            return ended(s);
        if (unlikely(*p != ','))
            return fail_after_value(s, p, closers[depth - 1]);
        p = skip_space(s, p + 1);
        if (closers[depth - 1] == '}') {
            p = scan_key(s, p, NULL);
            if (unlikely(p == NULL))
                return NULL;
            p = skip_space(s, p);
        }
    }
}

_Static_assert(FMT_JSON_DEPTH_MAX == 256, "the message says 256");

static char kind_of(char first) {
    return is_digit(first) || first == '-' ? '0' : first;
}

/* As scan_value(), and describes the value. */
static ALWAYS_INLINE const char *scan_described(struct scanner *s, const char *p, struct fmt_json_value *out) {
    const char *start = p;

    s->space = false;
    p = p < s->end && *p == '"' ? scan_string(s, p) : scan_value(s, p);
    if (likely(p != NULL))
        *out = (struct fmt_json_value){start, (size_t)(p - start), kind_of(*start), s->space};
    return p;
}

static bool starts_with_bom(const char *p, const char *end) {
    return end - p >= 3 && memcmp(p, "\xef\xbb\xbf", 3) == 0;
}

/* What to say when something other than a value stands where one must begin. */
static const char *no_value(const char *p, const char *start, const char *end, const char *what) {
    return p == start && starts_with_bom(p, end) ? "byte order mark before the JSON text" : what;
}

int fmt_json_scan(const char *buf, size_t len, struct fmt_json_value *out, struct fmt_json_error *err) {
    struct scanner s = {0};
    struct fmt_json_value value;
    const char *p;

    if (len == 0) { /* `buf` may be NULL */
        *err = (struct fmt_json_error){0, "unexpected end of input"};
        return FMT_JSON_ERROR;
    }
    s.end = buf + len;
    p = skip_space(&s, buf);

    if (scan_described(&s, p, &value) != NULL) {
        p = skip_space(&s, value.at + value.len);
        if (p == s.end) {
            *out = value;
            return FMT_JSON_OK;
        }
        fail(&s, p, "text after the value");
    }
    err->offset = (size_t)(s.stop - buf);
    err->what = s.what == NULL ? "unexpected end of input" : no_value(s.stop, buf, s.end, s.what);
    return FMT_JSON_ERROR;
}

/* One row a key; the texts are whole because an error's text is static. */
static const struct {
    const char *name;
    const char *duplicate;
} keys[FMT_ENVELOPE_KEYS] = {
#define KEY(id, name) [id] = {name, "duplicate key \"" name "\""}
    KEY(FMT_KEY_EVENT_TYPE, "event_type"),
    KEY(FMT_KEY_DATA, "data"),
    KEY(FMT_KEY_METADATA, "metadata"),
    KEY(FMT_KEY_EVENT_ID, "event_id"),
    KEY(FMT_KEY_STREAM_ID, "stream_id"),
    KEY(FMT_KEY_DATA_CONTENT_TYPE, "data_content_type"),
    KEY(FMT_KEY_METADATA_CONTENT_TYPE, "metadata_content_type"),
    KEY(FMT_KEY_DATA_BASE64, "data_base64"),
    KEY(FMT_KEY_POSITION, "position"),
    KEY(FMT_KEY_VERSION, "version"),
    KEY(FMT_KEY_EPOCH_US, "epoch_us"),
#undef KEY
};

const char *fmt_envelope_key_name(enum fmt_envelope_key key) {
    return keys[key].name;
}

static ALWAYS_INLINE bool same(const char *name, size_t len, const char *known, size_t known_len) {
    return len == known_len && memcmp(name, known, known_len) == 0;
}

/* The known key with this name, or FMT_ENVELOPE_KEYS; the common ones first. The lengths tell nearly all apart. */
static enum fmt_envelope_key key_by_name(const char *name, size_t len) {
#define IF_SAME(id, known)                        \
    if (same(name, len, known, sizeof known - 1)) \
    return id
    IF_SAME(FMT_KEY_DATA, "data");
    IF_SAME(FMT_KEY_METADATA, "metadata");
    IF_SAME(FMT_KEY_STREAM_ID, "stream_id");
    IF_SAME(FMT_KEY_EVENT_TYPE, "event_type");
    IF_SAME(FMT_KEY_EVENT_ID, "event_id");
    IF_SAME(FMT_KEY_DATA_CONTENT_TYPE, "data_content_type");
    IF_SAME(FMT_KEY_METADATA_CONTENT_TYPE, "metadata_content_type");
    IF_SAME(FMT_KEY_DATA_BASE64, "data_base64");
    IF_SAME(FMT_KEY_POSITION, "position");
    IF_SAME(FMT_KEY_VERSION, "version");
    IF_SAME(FMT_KEY_EPOCH_US, "epoch_us");
#undef IF_SAME
    return FMT_ENVELOPE_KEYS;
}

/* As key_by_name(), for a key written with escapes; `at` is its opening quote, `len` counts both quotes. */
static __attribute__((noinline)) enum fmt_envelope_key key_by_escaped_name(const char *at, size_t len) {
    struct fmt_json_value v = {.at = at, .len = len, .kind = '"'};
    char name[KEY_ESCAPED_MAX + 2];
    size_t name_len;

    if (len > sizeof name || fmt_json_unescape(&v, name, &name_len) < 0)
        return FMT_ENVELOPE_KEYS;
    return key_by_name(name, name_len);
}

/* The member of the envelope that starts at `p`: key, colon, value. */
static ALWAYS_INLINE const char *scan_member(struct scanner *s, const char *p, struct fmt_envelope *out) {
    const char *quote = p, *key_end;
    struct fmt_json_value ignored, *value = &ignored;

    p = scan_key(s, p, &key_end);
    if (unlikely(p == NULL))
        return NULL;

    size_t len = (size_t)(key_end - quote) - 2;
    enum fmt_envelope_key key = key_by_name(quote + 1, len);

    if (unlikely(key == FMT_ENVELOPE_KEYS && memchr(quote + 1, '\\', len) != NULL))
        key = key_by_escaped_name(quote, len + 2);
    if (likely(key != FMT_ENVELOPE_KEYS)) {
        value = &out->key[key];
        if (unlikely(value->at != NULL))
            return fail(s, quote, keys[key].duplicate);
    } else if (out->unknown == NULL) {
        out->unknown = quote + 1;
        out->unknown_len = len;
    }
    return scan_described(s, skip_space(s, p), value);
}

/* An event's object; `p` is its '{'. */
static const char *scan_envelope(struct scanner *s, const char *p, struct fmt_envelope *out) {
    const char *start = p;

    memset(out, 0, sizeof *out);
    p = skip_space(s, p + 1);
    if (p == s->end || *p != '}') {
        for (;;) {
            p = scan_member(s, p, out);
            if (unlikely(p == NULL))
                return NULL;
            p = skip_space(s, p);
            if (unlikely(p == s->end))
                return ended(s);
            if (*p == '}')
                break;
            if (unlikely(*p != ','))
                return fail_after_value(s, p, '}');
            p = skip_space(s, p + 1);
        }
    }
    out->whole = (struct fmt_span){start, (size_t)(p + 1 - start)};
    return p + 1;
}

int fmt_envelope_scan(const char *buf, size_t len, bool final, size_t *consumed, struct fmt_envelope *out,
                      struct fmt_json_error *err) {
    struct scanner s = {0};
    const char *start, *p;

    if (len == 0) { /* `buf` may be NULL */
        *consumed = 0;
        return FMT_JSON_EMPTY;
    }
    s.end = buf + len;
    start = skip_space(&s, buf);
    if (start == s.end) {
        *consumed = len;
        return FMT_JSON_EMPTY;
    }
    if (likely(*start == '{'))
        p = scan_envelope(&s, start, out);
    else
        p = fail(&s, start, no_value(start, buf, s.end, "an event must be a JSON object"));

    if (likely(p != NULL)) {
        *consumed = (size_t)(p - buf);
        return FMT_JSON_OK;
    }
    if (s.what == NULL && !final) {
        *consumed = (size_t)(start - buf);
        return FMT_JSON_MORE;
    }
    err->offset = (size_t)(s.stop - buf);
    err->what = s.what == NULL ? "unexpected end of input" : s.what;
    return FMT_JSON_ERROR;
}
