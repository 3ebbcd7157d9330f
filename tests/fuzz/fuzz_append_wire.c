/* Any bytes as what a daemon is asked, and as what it answers. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "libcore/append_wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct es_append_request r;
    struct esdb_receipt receipt;
    struct esdb_error err = {0};
    struct es_buffer again = {0};
    esdb_batch *b = NULL;
    assert(esdb_batch_open(&b) == 0);
    int rc = es_append_decode(data, size, &r, b, &err);
    if (rc == 0)
        assert(es_append_encode(&r, b, &again) == 0);
    else
        assert(err.text[0]);
    es_buffer_release(&again);
    err = (struct esdb_error){0};
    esdb_batch_clear(b);
    rc = es_answer_decode(data, size, b, &receipt, &err);
    assert(rc <= 0);
    for (size_t i = 0; rc == 0 && i < receipt.stream_count; i++)
        assert(receipt.streams[i].stream_id.len <= size);
    esdb_batch_close(b);
    return 0;
}
