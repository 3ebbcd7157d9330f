/* Bytes of somebody who has no key, in pieces, to a node that waits for a connection and to one that makes one; then, as the
 * first byte says, bytes of somebody who is inside: changed records. Never done without a key, never an answer to a stranger. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "replicate/handshake.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct rd_identity ann, bob;
static const unsigned char store[16] = "store";

static void stranger(struct rd_handshake *h, size_t piece, const uint8_t *data, size_t size) {
    while (size > 0) {
        struct esdb_error err = {0};
        size_t used = 0, n = piece < size ? piece : size;
        int rc = rd_handshake_feed(h, data, n, &used, &err);
        assert(h->out_len == 0 && h->state != RD_HANDSHAKE_DONE && used <= n);
        if (rc < 0) {
            assert(h->state == RD_HANDSHAKE_FAILED && err.text[0]);
            return;
        }
        assert(used == n);
        data += n;
        size -= n;
    }
}

static void pass(struct rd_handshake *from, struct rd_handshake *to) {
    unsigned char bytes[RD_HANDSHAKE_OUT_MAX];
    size_t used, len = from->out_len;
    memcpy(bytes, from->out, len);
    int rc = rd_handshake_feed(to, bytes, len, &used, NULL);
    assert(rc == 0 && used == len);
}

/* Whoever is between two nodes cannot make up a record. */
static void forged(const uint8_t *data, size_t size) {
    static unsigned char out[RD_RECORD_DATA_MAX];
    struct rd_handshake i, r;
    size_t len;
    bool last;
    rd_handshake_start(&i, &ann, store, bob.public_key);
    rd_handshake_accept(&r, &bob, store, ann.public_key, 1);
    pass(&i, &r);
    pass(&r, &i);
    pass(&i, &r);
    pass(&r, &i);
    if (size <= RD_RECORD_SIZE_MAX)
        assert(rd_channel_open(&r.channel, data, size, out, &len, &last, NULL) == ESDB_EDENIED);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static bool begun;
    if (!begun) {
        static const unsigned char a[crypto_sign_SEEDBYTES] = "a", b[crypto_sign_SEEDBYTES] = "b";
        assert(rd_crypto_begin(NULL) == 0);
        crypto_sign_seed_keypair(ann.public_key, ann.secret_key, a);
        crypto_sign_seed_keypair(bob.public_key, bob.secret_key, b);
        begun = true;
    }
    if (size < 2)
        return 0;
    struct rd_handshake h;
    size_t piece = data[1] ? data[1] : 1;
    if (data[0] == 'r') {
        rd_handshake_accept(&h, &bob, store, ann.public_key, 1);
        stranger(&h, piece, data + 2, size - 2);
    } else if (data[0] == 'i') {
        rd_handshake_start(&h, &ann, store, bob.public_key);
        stranger(&h, piece, data + 2, size - 2);
    } else {
        forged(data + 2, size - 2);
    }
    return 0;
}
