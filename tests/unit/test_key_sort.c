/* key_sort: against the plain comparison of whole values, in every size that goes another way. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "libcore/key_sort.h"

static int compare(const void *left, const void *right) {
    uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;
    return (a > b) - (a < b);
}

/* Sorts `count` values whose high half is chance & mask. */
static void check(size_t count, uint32_t mask) {
    uint64_t *values = calloc(count + 1, sizeof *values), *spare = calloc(count + 1, sizeof *spare);
    uint64_t *expected = calloc(count + 1, sizeof *expected), chance = count * 2 + mask;
    assert_true(values && spare && expected);
    for (size_t i = 0; i < count; i++) {
        chance = chance * 6364136223846793005u + 1442695040888963407u;
        values[i] = (chance & mask ? (chance >> 32 & mask) : 0) << 32 | i;
    }
    memcpy(expected, values, count * sizeof *values);
    qsort(expected, count, sizeof *expected, compare);
    es_key_sort(&values, &spare, count);
    assert_memory_equal(values, expected, count * sizeof *values);
    free(values);
    free(spare);
    free(expected);
}

static void test_sorts_as_a_comparison_does(void **state) {
    static const size_t counts[] = {0, 1, 2, 47, 48, 49, 300, 2047, 2048, 5000, 70000, 600000};
    static const uint32_t masks[] = {0xffffffff, 0x00ffffff, 0xff000000, 0x00fff000, 0x00000fff, 0x0000ff00, 1, 0};
    (void)state;
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        for (size_t j = 0; j < sizeof masks / sizeof *masks; j++)
            check(counts[i], masks[j]);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_sorts_as_a_comparison_does)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
