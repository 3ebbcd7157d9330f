/*
 * Finding parts of JSON that has been checked: members by key, elements, strings as text. No tree, no memory, no
 * conversion: what is returned points into the input.
 *
 * The input is one value as it is stored: valid, and without white space between its tokens (fmt_json_scan,
 * fmt_json_strip). Of bytes that are something else the answers mean nothing, but nothing outside the input is read and
 * the time is linear in its length. Strings and keys are given and returned as they stand, with their quotes, unless
 * said otherwise.
 */
#ifndef FMT_JSON_PATH_H
#define FMT_JSON_PATH_H

#include <stdbool.h>
#include <stddef.h>

#include "event.h" /* struct fmt_text */

/* A walk over the members of an object or the elements of an array. */
struct fmt_json_walk {
    const char *start, *at, *end;
};

/* Begins a walk over the insides of `container`. Of a value that is neither object nor array there are none. */
void fmt_json_walk_init(struct fmt_json_walk *w, struct fmt_text container);

/* The next member of an object. *key is with its quotes. False at the end; outputs are then undefined. */
bool fmt_json_next_member(struct fmt_json_walk *w, struct fmt_text *key, struct fmt_text *value);

/* The next element of an array. False at the end; *value is then undefined. */
bool fmt_json_element(struct fmt_json_walk *w, struct fmt_text *value);

/* The value of the member whose key stands for the UTF-8 text `key` (not escaped, no quotes; NUL is a character like any
 * other). Of several the last one wins, as in jq. False, and *value unchanged, when there is none or `object` is not an
 * object. */
bool fmt_json_member(struct fmt_text object, struct fmt_text key, struct fmt_text *value);

/* How many elements an array or members an object has; keys that occur twice count twice. Else 0. */
size_t fmt_json_count(struct fmt_text container);

/* Where `part` begins first in `text`, or NULL. As memmem, which takes longer to begin. */
const char *fmt_text_find(struct fmt_text text, struct fmt_text part);

/* May a string in `json` hold `text`, which JSON writes without escapes? False: surely not. A look that is much shorter
 * than a walk. */
bool fmt_json_may_hold(struct fmt_text json, struct fmt_text text);

/* ---- strings ---- */

/* The body of a string: what stands between the quotes. Empty when `string` is none. */
struct fmt_text fmt_json_body(struct fmt_text string);

/* Takes the next character of a string's body at *at (< end), which is moved past it, and writes its UTF-8 to `out`.
 * Returns the number of bytes, 1 .. 4. An escape of a lone surrogate gives U+FFFD; pairs are combined. */
size_t fmt_json_next_character(const char **at, const char *end, char out[4]);

/* Compares the text that `string` stands for with UTF-8 `text`, byte by byte: < 0, 0, > 0. Since both are UTF-8, this is
 * the order of code points, which is jq's. */
int fmt_json_string_compare(struct fmt_text string, struct fmt_text text);

/* The same between two strings as they stand. */
int fmt_json_string_order(struct fmt_text a, struct fmt_text b);

/* Does `string` stand for exactly `text`? */
bool fmt_json_string_equal(struct fmt_text string, struct fmt_text text);

/* Does what `string` stands for begin with `text`? */
bool fmt_json_string_has_prefix(struct fmt_text string, struct fmt_text text);

/* Writes the text that `string` stands for to `out`, at most `room` bytes. Returns its length, or SIZE_MAX when it does
 * not fit (`room` >= string.len always suffices). Lone surrogates become U+FFFD. */
size_t fmt_json_decode(struct fmt_text string, char *out, size_t room);

/* Does `string` hold the escape of a lone surrogate? */
bool fmt_json_has_lone_surrogate(struct fmt_text string);

#endif
