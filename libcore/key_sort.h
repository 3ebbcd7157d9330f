/* key_sort.h: the keys of a segment's events in the order of their hashes. */
#ifndef ES_KEY_SORT_H
#define ES_KEY_SORT_H

#include <stddef.h>
#include <stdint.h>

/* Sorts *values by their high 32 bits. The low 32 bits are in ascending order, and those of equal high ones stay so. Both
 * arrays hold `count` < 2^32 values; they may be exchanged: the result is in *values. */
void es_key_sort(uint64_t **values, uint64_t **spare, size_t count);

#endif
