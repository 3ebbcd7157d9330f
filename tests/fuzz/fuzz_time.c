/* Any bytes as a TIME of --since and its like. What is taken lies between 1970 and the end of what has 17 digits, and means
 * the same when it is written as epoch_us. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libcore/esdb.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const uint64_t now_us = 1763910245123456;
    struct esdb_error err = {0};
    char *copy = malloc(size ? size : 1), again[24];
    uint64_t us = 0, same = 0;
    int rc;

    assert(copy);
    if (size > 0)
        memcpy(copy, data, size);
    rc = esdb_time_parse((struct esdb_text){copy, size}, now_us, &us, &err);
    free(copy);
    assert(rc == 0 ? err.code == 0 : err.code == rc && err.text[0]);
    if (rc != 0 || us < 100000000000000 || us > 99999999999999999)
        return 0;

    int len = snprintf(again, sizeof again, "%" PRIu64, us);

    assert(esdb_time_parse((struct esdb_text){again, (size_t)len}, now_us, &same, &err) == 0 && same == us);
    return 0;
}
