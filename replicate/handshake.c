#include "handshake.h"

#include <assert.h>
#include <string.h>

#include "format/bytes.h"
#include "libcore/error.h"

static const char magic[8] = "ESDBWIRE";
#define STREAM_HEADER crypto_secretstream_xchacha20poly1305_HEADERBYTES

/* Each signature and each hash begins with a text of its own, so that none can be taken for another. */
static const char hello_context[] = "esdb wire 1: hello";
static const char answer_context[] = "esdb wire 1: answer";
static const char proof_context[] = "esdb wire 1: proof";
static const char keys_context[] = "esdb wire 1: keys";

int rd_crypto_begin(struct esdb_error *err) {
    return sodium_init() < 0 ? es_fail(err, ESDB_EUNAVAILABLE, "the system gives no random numbers") : 0;
}

void rd_identity_release(struct rd_identity *id) {
    sodium_memzero(id, sizeof *id);
}

/* ---- the transcript ---- */

/* transcript = hash(context, transcript, bytes). The context's terminating zero separates it. */
static void absorb(struct rd_handshake *h, const char *context, const void *bytes, size_t len) {
    crypto_generichash_state s;
    crypto_generichash_init(&s, NULL, 0, sizeof h->transcript);
    crypto_generichash_update(&s, (const unsigned char *)context, strlen(context) + 1);
    crypto_generichash_update(&s, h->transcript, sizeof h->transcript);
    crypto_generichash_update(&s, bytes, len);
    crypto_generichash_final(&s, h->transcript, sizeof h->transcript);
}

/* The transcript begins with what both must know already: the store, and who is being called. */
static void begin_transcript(struct rd_handshake *h, const unsigned char *responder) {
    unsigned char start[16 + RD_KEY_SIZE];
    memcpy(start, h->store_id, 16);
    memcpy(start + 16, responder, RD_KEY_SIZE);
    memset(h->transcript, 0, sizeof h->transcript);
    absorb(h, hello_context, start, sizeof start);
}

static void sign(const struct rd_handshake *h, const char *context, unsigned char out[crypto_sign_BYTES]) {
    unsigned char text[64 + sizeof h->transcript] = {0};
    memcpy(text, context, strlen(context));
    memcpy(text + 64, h->transcript, sizeof h->transcript);
    crypto_sign_detached(out, NULL, text, sizeof text, h->self->secret_key);
}

static bool signed_by_peer(const struct rd_handshake *h, const char *context, const unsigned char *signature) {
    unsigned char text[64 + sizeof h->transcript] = {0};
    memcpy(text, context, strlen(context));
    memcpy(text + 64, h->transcript, sizeof h->transcript);
    return crypto_sign_verify_detached(signature, text, sizeof text, h->peer) == 0;
}

/* ---- keys ---- */

static void make_ephemeral(struct rd_handshake *h) {
    randombytes_buf(h->ephemeral_secret, sizeof h->ephemeral_secret);
    crypto_scalarmult_base(h->ephemeral, h->ephemeral_secret);
}

/* The keys of both directions, from what the ephemeral keys share and all that was said. The ephemeral secret is wiped: from
 * now on nobody can find these keys again, not with both identities either. False: a key that shares nothing. */
static bool derive(struct rd_handshake *h, const unsigned char *theirs, bool initiator) {
    unsigned char shared[crypto_scalarmult_BYTES], keys[64];
    bool ok = crypto_scalarmult(shared, h->ephemeral_secret, theirs) == 0;
    sodium_memzero(h->ephemeral_secret, sizeof h->ephemeral_secret);
    if (!ok)
        return false;
    crypto_generichash_state s;
    crypto_generichash_init(&s, NULL, 0, sizeof keys);
    crypto_generichash_update(&s, (const unsigned char *)keys_context, sizeof keys_context);
    crypto_generichash_update(&s, shared, sizeof shared);
    crypto_generichash_update(&s, h->transcript, sizeof h->transcript);
    crypto_generichash_final(&s, keys, sizeof keys);
    memcpy(initiator ? h->to_key : h->from_key, keys, 32);
    memcpy(initiator ? h->from_key : h->to_key, keys + 32, 32);
    sodium_memzero(keys, sizeof keys);
    sodium_memzero(shared, sizeof shared);
    sodium_memzero(&s, sizeof s);
    return true;
}

/* out = the header of the stream to the peer, and its first record, which holds `bytes` and is bound to the transcript. */
static void open_stream(struct rd_handshake *h, const void *bytes, size_t len) {
    crypto_secretstream_xchacha20poly1305_init_push(&h->channel.to, h->out, h->to_key);
    crypto_secretstream_xchacha20poly1305_push(&h->channel.to, h->out + STREAM_HEADER, NULL, bytes, len, h->transcript,
                                               sizeof h->transcript, crypto_secretstream_xchacha20poly1305_TAG_PUSH);
    h->out_len = STREAM_HEADER + len + RD_RECORD_OVERHEAD;
    sodium_memzero(h->to_key, sizeof h->to_key);
}

/* The same of the peer: its header and first record, `size` bytes at `in`. */
static bool join_stream(struct rd_handshake *h, size_t size, unsigned char *bytes) {
    unsigned char tag = 0;
    bool ok =
        crypto_secretstream_xchacha20poly1305_init_pull(&h->channel.from, h->in, h->from_key) == 0 &&
        crypto_secretstream_xchacha20poly1305_pull(&h->channel.from, bytes, NULL, &tag, h->in + STREAM_HEADER,
                                                   size - STREAM_HEADER, h->transcript, sizeof h->transcript) == 0 &&
        tag == crypto_secretstream_xchacha20poly1305_TAG_PUSH;
    sodium_memzero(h->from_key, sizeof h->from_key);
    return ok;
}

/* ---- the four messages, each beside what takes it ---- */

static void send_hello(struct rd_handshake *h) {
    unsigned char *m = h->out;
    memcpy(m, magic, sizeof magic);
    fmt_put16(m + 8, h->version_min);
    fmt_put16(m + 10, h->version_max);
    fmt_put32(m + 12, 0);
    memcpy(m + 16, h->self->public_key, RD_KEY_SIZE);
    memcpy(m + 48, h->ephemeral, RD_KEY_SIZE);
    absorb(h, hello_context, m, 80);
    sign(h, hello_context, m + 80);
    absorb(h, hello_context, m + 80, crypto_sign_BYTES);
    h->out_len = RD_HELLO_SIZE;
}

static bool is_known(const struct rd_handshake *h, const unsigned char *key) {
    for (size_t i = 0; i < h->known_count; i++)
        if (memcmp(h->known + i * RD_KEY_SIZE, key, RD_KEY_SIZE) == 0)
            return true;
    return false;
}

static void send_answer(struct rd_handshake *h) {
    unsigned char *m = h->out;
    fmt_put16(m, h->version_min);
    fmt_put16(m + 2, h->version_max);
    fmt_put16(m + 4, h->version);
    fmt_put16(m + 6, 0);
    memcpy(m + 8, h->ephemeral, RD_KEY_SIZE);
    absorb(h, answer_context, m, 40);
    sign(h, answer_context, m + 40);
    absorb(h, answer_context, m + 40, crypto_sign_BYTES);
    h->out_len = RD_ANSWER_SIZE;
}

static int take_hello(struct rd_handshake *h, struct esdb_error *err) {
    const unsigned char *m = h->in;
    if (memcmp(m, magic, sizeof magic) != 0)
        return es_fail(err, ESDB_EDENIED, "does not speak esdb's protocol");
    if (!is_known(h, m + 16) || memcmp(m + 16, h->self->public_key, RD_KEY_SIZE) == 0)
        return es_fail(err, ESDB_EDENIED, "has a key that is not configured here");
    memcpy(h->peer, m + 16, RD_KEY_SIZE);
    absorb(h, hello_context, m, 80);
    if (!signed_by_peer(h, hello_context, m + 80))
        return es_fail(err, ESDB_EDENIED, "has another store, calls another node, or has not the key that it names");
    absorb(h, hello_context, m + 80, crypto_sign_BYTES);
    uint16_t min = fmt_get16(m + 8), max = fmt_get16(m + 10);
    if (min > max || min > h->version_max || max < h->version_min)
        return es_fail(err, ESDB_EDENIED, "speaks versions %u to %u of the protocol, this node %u to %u", min, max,
                       h->version_min, h->version_max);
    h->version = max < h->version_max ? max : h->version_max;
    make_ephemeral(h);
    unsigned char theirs[RD_KEY_SIZE];
    memcpy(theirs, m + 48, sizeof theirs);
    send_answer(h);
    if (!derive(h, theirs, false))
        return es_fail(err, ESDB_EDENIED, "has an ephemeral key that cannot be");
    h->state = RD_HANDSHAKE_WAIT_PROOF;
    return 0;
}

static int take_answer(struct rd_handshake *h, struct esdb_error *err) {
    const unsigned char *m = h->in;
    absorb(h, answer_context, m, 40);
    if (!signed_by_peer(h, answer_context, m + 40))
        return es_fail(err, ESDB_EDENIED, "has not the key that is configured for it");
    absorb(h, answer_context, m + 40, crypto_sign_BYTES);
    uint16_t min = fmt_get16(m), max = fmt_get16(m + 2);
    uint16_t best = max < h->version_max ? max : h->version_max;
    h->version = fmt_get16(m + 4);
    if (min > max || h->version != best || best < h->version_min || best < min)
        return es_fail(err, ESDB_EDENIED, "chose version %u of the protocol, which is not the newest of both",
                       h->version);
    if (!derive(h, m + 8, true))
        return es_fail(err, ESDB_EDENIED, "has an ephemeral key that cannot be");
    unsigned char signature[crypto_sign_BYTES];
    sign(h, proof_context, signature);
    open_stream(h, signature, sizeof signature);
    h->state = RD_HANDSHAKE_WAIT_READY;
    return 0;
}

static int take_proof(struct rd_handshake *h, struct esdb_error *err) {
    unsigned char signature[crypto_sign_BYTES];
    if (!join_stream(h, RD_PROOF_SIZE, signature) || !signed_by_peer(h, proof_context, signature))
        return es_fail(err, ESDB_EDENIED, "repeats what another one said, or was tampered with on the way");
    open_stream(h, NULL, 0);
    h->state = RD_HANDSHAKE_DONE;
    return 0;
}

static int take_ready(struct rd_handshake *h, struct esdb_error *err) {
    unsigned char none[1];
    if (!join_stream(h, RD_READY_SIZE, none))
        return es_fail(err, ESDB_EDENIED, "was tampered with on the way");
    h->state = RD_HANDSHAKE_DONE;
    return 0;
}

/* ---- the machine ---- */

static void begin(struct rd_handshake *h, const struct rd_identity *self, const unsigned char store_id[16]) {
    memset(h, 0, sizeof *h);
    h->self = self;
    memcpy(h->store_id, store_id, 16);
    h->version_min = RD_VERSION_MIN;
    h->version_max = RD_VERSION_MAX;
}

void rd_handshake_start(struct rd_handshake *h, const struct rd_identity *self, const unsigned char store_id[16],
                        const unsigned char peer[RD_KEY_SIZE]) {
    rd_handshake_start_versions(h, self, store_id, peer, RD_VERSION_MIN, RD_VERSION_MAX);
}

void rd_handshake_start_versions(struct rd_handshake *h, const struct rd_identity *self,
                                 const unsigned char store_id[16], const unsigned char peer[RD_KEY_SIZE], uint16_t min,
                                 uint16_t max) {
    begin(h, self, store_id);
    h->version_min = min;
    h->version_max = max;
    memcpy(h->peer, peer, RD_KEY_SIZE);
    begin_transcript(h, peer);
    make_ephemeral(h);
    send_hello(h);
    h->state = RD_HANDSHAKE_WAIT_ANSWER;
}

void rd_handshake_accept(struct rd_handshake *h, const struct rd_identity *self, const unsigned char store_id[16],
                         const unsigned char *known, size_t count) {
    begin(h, self, store_id);
    h->known = known;
    h->known_count = count;
    begin_transcript(h, self->public_key);
    h->state = RD_HANDSHAKE_WAIT_HELLO;
}

static size_t message_size(enum rd_handshake_state s) {
    switch (s) {
    case RD_HANDSHAKE_WAIT_HELLO:
        return RD_HELLO_SIZE;
    case RD_HANDSHAKE_WAIT_ANSWER:
        return RD_ANSWER_SIZE;
    case RD_HANDSHAKE_WAIT_PROOF:
        return RD_PROOF_SIZE;
    case RD_HANDSHAKE_WAIT_READY:
        return RD_READY_SIZE;
    default:
        return 0;
    }
}

static int take(struct rd_handshake *h, struct esdb_error *err) {
    switch (h->state) {
    case RD_HANDSHAKE_WAIT_HELLO:
        return take_hello(h, err);
    case RD_HANDSHAKE_WAIT_ANSWER:
        return take_answer(h, err);
    case RD_HANDSHAKE_WAIT_PROOF:
        return take_proof(h, err);
    default:
        return take_ready(h, err);
    }
}

int rd_handshake_feed(struct rd_handshake *h, const void *bytes, size_t len, size_t *used, struct esdb_error *err) {
    size_t size = message_size(h->state);
    assert(size <= sizeof h->in);
    h->out_len = 0;
    *used = 0;
    if (size == 0)
        return h->state == RD_HANDSHAKE_DONE ? 0 : es_fail(err, ESDB_EDENIED, "the handshake has failed before");
    size_t n = len < size - h->in_len ? len : size - h->in_len;
    if (n)
        memcpy(h->in + h->in_len, bytes, n);
    h->in_len += n;
    *used = n;
    /* What is no esdb at all ends at its first wrong byte: it need not send a whole message to find out. */
    if (h->state == RD_HANDSHAKE_WAIT_HELLO &&
        memcmp(h->in, magic, h->in_len < sizeof magic ? h->in_len : sizeof magic) != 0) {
        rd_handshake_release(h);
        return es_fail(err, ESDB_EDENIED, "does not speak esdb's protocol");
    }
    if (h->in_len < size)
        return 0;
    int rc = take(h, err);
    h->in_len = 0;
    if (rc < 0)
        rd_handshake_release(h);
    return rc;
}

void rd_handshake_release(struct rd_handshake *h) {
    sodium_memzero(h, sizeof *h);
    h->state = RD_HANDSHAKE_FAILED;
}

/* ---- records ---- */

size_t rd_channel_seal(struct rd_channel *c, const void *bytes, size_t len, bool last, unsigned char *out) {
    assert(len <= RD_RECORD_DATA_MAX);
    fmt_put32(out, (uint32_t)(len + RD_RECORD_OVERHEAD));
    crypto_secretstream_xchacha20poly1305_push(&c->to, out + RD_RECORD_HEADER, NULL, bytes, len, out, RD_RECORD_HEADER,
                                               last ? crypto_secretstream_xchacha20poly1305_TAG_PUSH
                                                    : crypto_secretstream_xchacha20poly1305_TAG_MESSAGE);
    return RD_RECORD_HEADER + len + RD_RECORD_OVERHEAD;
}

size_t rd_record_size(const unsigned char *at) {
    uint32_t n = fmt_get32(at);
    return n < RD_RECORD_OVERHEAD || n > RD_RECORD_DATA_MAX + RD_RECORD_OVERHEAD ? 0 : RD_RECORD_HEADER + (size_t)n;
}

int rd_channel_open(struct rd_channel *c, const unsigned char *record, size_t size, unsigned char *out, size_t *len,
                    bool *last, struct esdb_error *err) {
    unsigned long long n = 0;
    unsigned char tag = 0;
    if (size < RD_RECORD_HEADER + RD_RECORD_OVERHEAD || rd_record_size(record) != size)
        return es_fail(err, ESDB_EDENIED, "sent a record of an impossible size");
    if (crypto_secretstream_xchacha20poly1305_pull(&c->from, out, &n, &tag, record + RD_RECORD_HEADER,
                                                   size - RD_RECORD_HEADER, record, RD_RECORD_HEADER) != 0 ||
        (tag != crypto_secretstream_xchacha20poly1305_TAG_PUSH &&
         tag != crypto_secretstream_xchacha20poly1305_TAG_MESSAGE))
        return es_fail(err, ESDB_EDENIED, "sent a record that was changed, repeated or left out on the way");
    *len = (size_t)n;
    *last = tag == crypto_secretstream_xchacha20poly1305_TAG_PUSH;
    return 0;
}
