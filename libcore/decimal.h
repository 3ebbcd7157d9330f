/* decimal.h: adding JSON numbers exactly, as decimals: 0.1 and 0.2 are 0.3. What does not fit is refused, nothing is ever
 * rounded. */
#ifndef ES_DECIMAL_H
#define ES_DECIMAL_H

#include <stdbool.h>
#include <stdint.h>

#include "format/event.h"

#define ES_DECIMAL_DIGITS 38u          /* that a sum may have: what 128 bits hold */
#define ES_DECIMAL_EXPONENT_MAX 100000 /* of ten, either way: far beyond what a double has */

/* coefficient * 10^exponent. Zero is {0, 0}. */
struct es_decimal {
    __int128 coefficient; /* less than 10^38 in magnitude */
    int32_t exponent;
};

/* The value of a JSON number. False: it has more than 38 digits (zeros at either end aside), or too large an exponent. */
bool es_decimal_parse(struct fmt_text number, struct es_decimal *out);

/* *a += *b. False, and *a unchanged, when the sum does not fit. */
bool es_decimal_add(struct es_decimal *a, const struct es_decimal *b);

/* Writes the number as JSON, the same text for equal values: 12, -0.5, 1e60. Returns the length. */
#define ES_DECIMAL_ROOM 96u
size_t es_decimal_print(const struct es_decimal *d, char out[ES_DECIMAL_ROOM]);

#endif
