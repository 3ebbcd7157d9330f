#include "key_sort.h"

#include <stdbool.h>
#include <string.h>

/* What each way is faster for. */
#define DIGIT_BITS_MAX 12u
#define FEW 48u
#define SMALL_PART 2048u

/* One pass over the digit of `bits` bits at `shift`, keeping the order of equals. False: all have the same, nothing is
 * moved. */
static bool move_by_digit(const uint64_t *from, uint64_t *to, size_t count, unsigned shift, unsigned bits) {
    uint32_t start[1u << DIGIT_BITS_MAX], sum = 0, mask = (1u << bits) - 1;
    memset(start, 0, sizeof *start << bits);
    for (size_t i = 0; i < count; i++)
        start[from[i] >> shift & mask]++;
    if (start[from[0] >> shift & mask] == count)
        return false;
    for (size_t i = 0; i <= mask; i++) {
        uint32_t n = start[i];
        start[i] = sum;
        sum += n;
    }
    for (size_t i = 0; i < count; i++)
        to[start[from[i] >> shift & mask]++] = from[i];
    return true;
}

/* Sorts values that are in order of their low 32 bits by bits 32 to 55. `spare` is as long. */
static void sort_part(uint64_t *values, uint64_t *spare, size_t count) {
    uint64_t *from = values, *to = spare;
    if (count < FEW) {
        for (size_t i = 1; i < count; i++) {
            uint64_t v = values[i];
            size_t at = i;
            for (; at > 0 && values[at - 1] > v; at--)
                values[at] = values[at - 1];
            values[at] = v;
        }
        return;
    }
    unsigned bits = count < SMALL_PART ? 8 : 12;
    for (unsigned shift = 32; shift < 56; shift += bits)
        if (move_by_digit(from, to, count, shift, bits)) {
            uint64_t *moved = to;
            to = from;
            from = moved;
        }
    if (from != values)
        memcpy(values, from, count * sizeof *values);
}

/* Once by the highest byte: the parts then fit the processor's cache, as the whole does not. */
void es_key_sort(uint64_t **values, uint64_t **spare, size_t count) {
    size_t start[257] = {0};
    uint64_t *from = *values, *to = *spare;
    if (count == 0) /* then they may be NULL */
        return;
    for (size_t i = 0; i < count; i++)
        start[(from[i] >> 56) + 1]++;
    for (size_t i = 0; i < 256; i++)
        start[i + 1] += start[i];
    for (size_t i = 0; i < count; i++)
        to[start[from[i] >> 56]++] = from[i];
    for (size_t i = 0, at = 0; i < 256; at = start[i++]) /* each has moved to where the next one began */
        sort_part(to + at, from + at, start[i] - at);
    *values = to;
    *spare = from;
}
