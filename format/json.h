/*
 * The JSON scanner: checks JSON strictly (RFC 8259) in one pass and says where the parts of an event are. It builds
 * no tree, converts nothing, takes no memory and keeps no state: everything it returns points into the input and
 * is valid as long as the input is. An empty input may be given as NULL, 0.
 *
 * Strict means: UTF-8 is checked (no overlong form, no surrogate, nothing above U+10FFFF); no byte order mark; no
 * control character, NUL included, inside a string; no leading zero, no '+', no NaN; no trailing comma; at most
 * FMT_JSON_DEPTH_MAX arrays and objects in each other, counted within one value: the data of an event may have that
 * many levels, whether it comes alone or inside the event's own object. What RFC 8259 leaves open is allowed and kept:
 * numbers of any size and precision, escapes of lone surrogates ("\ud800"), duplicate keys inside a value.
 */
#ifndef FMT_JSON_H
#define FMT_JSON_H

#include <stdbool.h>
#include <stddef.h>

#include "limits.h" /* FMT_JSON_DEPTH_MAX */

/* Bytes of the input. at == NULL: absent. Owned by whoever owns the input. */
struct fmt_span {
    const char *at;
    size_t len;
};

enum fmt_json_status {
    FMT_JSON_OK = 0,
    FMT_JSON_EMPTY = 1,  /* only white space is left */
    FMT_JSON_MORE = 2,   /* right so far, but not complete: call again from the same start with more bytes */
    FMT_JSON_ERROR = -1, /* no continuation can make it right */
};

/* What is wrong: the offset of the offending byte from the start of the given buffer, and a static English text. */
struct fmt_json_error {
    size_t offset;
    const char *what;
};

/* One value, from its first to its last byte (strings with their quotes). at == NULL: absent. */
struct fmt_json_value {
    const char *at;
    size_t len;
    char kind;      /* '{' '[' '"' '0' (a number) 't' 'f' 'n' */
    bool has_space; /* there is white space between its tokens, which fmt_json_strip() removes */
};

/* The keys that an event may have. */
enum fmt_envelope_key {
    FMT_KEY_EVENT_TYPE,
    FMT_KEY_DATA,
    FMT_KEY_METADATA,
    FMT_KEY_EVENT_ID,
    FMT_KEY_STREAM_ID,
    FMT_KEY_DATA_CONTENT_TYPE,
    FMT_KEY_METADATA_CONTENT_TYPE,
    FMT_KEY_DATA_BASE64,
    FMT_KEY_POSITION,
    FMT_KEY_VERSION,
    FMT_KEY_EPOCH_US,
    FMT_ENVELOPE_KEYS,
};

/* An event as it stands in the input. Values may be of any kind: what a key must hold is the caller's to check. */
struct fmt_envelope {
    struct fmt_json_value key[FMT_ENVELOPE_KEYS]; /* by enum fmt_envelope_key */
    struct fmt_span whole;                        /* from '{' to '}' */
    const char *unknown;                          /* the first unknown key, raw, between its quotes; NULL: none */
    size_t unknown_len;
};

/* The name of an envelope key, such as "event_type". */
const char *fmt_envelope_key_name(enum fmt_envelope_key key);

/*
 * Scans the first event of a buffer: white space, then one JSON object. Events may follow each other with or without
 * white space between them. A known key may occur once, also when it is written with escapes ("event\u005ftype");
 * unknown keys are checked, and the first one is reported.
 *
 * `final`: no more bytes follow `buf`; then an incomplete event is an error ("unexpected end of input", offset `len`).
 *
 *   FMT_JSON_OK     *out is set, *consumed is just past the event's '}'
 *   FMT_JSON_EMPTY  *consumed is `len`
 *   FMT_JSON_MORE   only when !final; *consumed is the number of leading white-space bytes, which may be dropped.
 *                   Scanning starts over with the next call: double the amount each time
 *   FMT_JSON_ERROR  *err is set, *consumed is not
 *
 * *out is undefined unless FMT_JSON_OK is returned.
 */
int fmt_envelope_scan(const char *buf, size_t len, bool final, size_t *consumed, struct fmt_envelope *out,
                      struct fmt_json_error *err);

/*
 * Scans a buffer that holds exactly one value of any kind, with white space around it or none.
 * FMT_JSON_OK and *out (without the white space around it), or FMT_JSON_ERROR and *err.
 */
int fmt_json_scan(const char *buf, size_t len, struct fmt_json_value *out, struct fmt_json_error *err);

/*
 * Copies a value without the white space between its tokens, all else byte for byte. `out` has room for v->len bytes
 * and does not overlap the value. Returns the length written.
 */
size_t fmt_json_strip(const struct fmt_json_value *v, char *out);

/*
 * The text that a string value (kind '"') stands for, in UTF-8: escapes replaced, surrogate pairs combined; "\u0000"
 * becomes a NUL byte. `out` has room for v->len bytes and does not overlap the value.
 * Returns 0 and sets *out_len, or -EILSEQ when it holds the escape of a lone surrogate, which UTF-8 cannot express.
 */
int fmt_json_unescape(const struct fmt_json_value *v, char *out, size_t *out_len);

/*
 * Writes UTF-8 text as the body of a JSON string, without the quotes: '"', '\' and U+0000..U+001F are escaped, in
 * the short form where there is one. `out` has room for 6 * len bytes and does not overlap the text.
 * Returns the length written.
 */
size_t fmt_json_escape(const char *text, size_t len, char *out);

#endif
