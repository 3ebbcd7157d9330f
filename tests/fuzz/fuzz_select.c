/* An expression and the bytes of an event, divided by the first newline: as --select, and as --match when it is one. The
 * bytes need not be JSON. Nothing is compared (tests/unit/test_predicate_jq.c does that): no crash, no read outside, an
 * end in time. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "libcore/esdb.h"
#include "libcore/predicate.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A block of its exact size. */
static struct esdb_text copy(const uint8_t *bytes, size_t len) {
    char *at = malloc(len > 0 ? len : 1);

    assert(at);
    if (len > 0)
        memcpy(at, bytes, len);
    return (struct esdb_text){at, len};
}

static void ask(const struct es_predicate *p, struct esdb_text bytes, bool is_match) {
    struct esdb_event e = {
        .position = 3,
        .version = UINT64_MAX,
        .epoch_us = 1,
        .stream_id = bytes,
        .event_type = {"a", 1},
        .event_id = {"b", 1},
        .data = bytes,
        .metadata = bytes,
    };
    int answer = es_predicate_eval(p, &e);

    assert(answer == ES_PREDICATE_NO || answer == ES_PREDICATE_YES || (answer == ES_PREDICATE_ASK && !is_match));
    assert(es_predicate_eval(p, &e) == answer);
    e.binary = true;
    e.metadata = (struct esdb_text){NULL, 0};
    es_predicate_eval(p, &e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const uint8_t *newline = size > 0 ? memchr(data, '\n', size) : NULL;
    size_t len = newline ? (size_t)(newline - data) : size;
    struct esdb_text expr = copy(data, len), bytes = copy(newline ? newline + 1 : data, newline ? size - len - 1 : 0);
    struct es_predicate *p = NULL;
    struct esdb_error err = {0};
    int rc = es_predicate_compile(expr, &p, &err);

    assert(rc == 0 || rc == ESDB_END || rc == ESDB_EUSAGE);
    assert((rc == ESDB_EUSAGE) == (err.code != 0));
    if (rc == 0)
        ask(p, bytes, false);
    es_predicate_close(p);
    p = NULL;
    err.code = 0;
    rc = es_match_compile(expr, &p, &err);
    assert(rc == 0 || (rc == ESDB_EUSAGE && err.code != 0));
    if (rc == 0)
        ask(p, bytes, true);
    es_predicate_close(p);
    free((char *)expr.at);
    free((char *)bytes.at);
    return 0;
}
