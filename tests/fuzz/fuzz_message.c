/* Any bytes as a message of a peer: what is taken is encoded again as it was, byte for byte. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "replicate/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct rep_message m;
    struct rep_encoded e;
    const char *wrong = rep_message_decode(data, size, &m);
    if (wrong) {
        assert(wrong[0]);
        return 0;
    }
    unsigned type;
    assert(rep_message_peek(data, &type) == size && size <= rep_message_size_max(type));
    assert(rep_message_encode(&m, &e) && e.size == size);
    assert(memcmp(e.head, data, e.head_len) == 0);
    size_t at = e.head_len;
    for (int i = 0; i < 2; i++) {
        assert(e.part[i].len == 0 || memcmp(e.part[i].at, data + at, e.part[i].len) == 0);
        at += e.part[i].len;
    }
    assert(at == size);
    return 0;
}
