/* number.h: comparing JSON numbers by their decimal text, exactly, whatever their size. */
#ifndef ES_NUMBER_H
#define ES_NUMBER_H

#include <stdbool.h>
#include <stdint.h>

#include "format/event.h"

#define ES_NUMBER_SMALL (INT64_C(1) << 53) /* up to here a double holds every integer */

/* Is `text` (a JSON number) a plain integer of at most 2^53 in magnitude? Then *out is its value. Others are no error. */
bool es_number_small(struct fmt_text text, int64_t *out);

/* < 0, 0, > 0: the exact order of two JSON numbers (exponents up to 10^17). -0 is 0, 1.0 is 1. */
int es_number_compare(struct fmt_text a, struct fmt_text b);

/* Does every version of jq order these two as es_number_compare does? jq 1.6 compares doubles, 1.7 decimals: they agree
 * when both have at most 15 digits (two such decimals are the same double only when they are equal), are integers of at
 * most 2^53, or when they are far from each other. */
bool es_number_certain(struct fmt_text a, struct fmt_text b);

#endif
