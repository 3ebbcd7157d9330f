/* handshake.h: two nodes prove to each other who they are and agree on keys; after that, records. WIRE.md sections 2 and 3.
 *
 * Pure: bytes in, bytes out. Memory is what the structures hold; randomness is libsodium's. A state machine a connection:
 *
 *    initiator                                      responder
 *    START --(rd_handshake_start)--> HELLO ------>  WAIT_HELLO
 *    WAIT_ANSWER  <--------------------- ANSWER --  WAIT_PROOF
 *    WAIT_READY  -- PROOF ----------------------->
 *    DONE  <----------------------------- READY --  DONE
 *
 * Whatever does not fit ends it: FAILED, nothing is sent, the connection is to be closed.
 */
#ifndef RD_HANDSHAKE_H
#define RD_HANDSHAKE_H

#include <sodium.h>

#include "libcore/esdb.h"

#define RD_KEY_SIZE 32u /* Ed25519 public key, X25519 key */
#define RD_VERSION_MIN 1u
#define RD_VERSION_MAX 1u

/*   HELLO    0  8 magic "ESDBWIRE"   8 u16 version_min  10 u16 version_max  12 u32 zero
 *           16 32 initiator's identity  48 32 its ephemeral key  80 64 signature
 *   ANSWER   0 u16 version_min  2 u16 version_max  4 u16 version chosen  6 u16 zero
 *            8 32 responder's ephemeral key  40 64 signature
 *   PROOF    0 24 header of the stream from the initiator  24 81 record: signature
 *   READY    0 24 header of the stream from the responder  24 17 record: empty */
#define RD_HELLO_SIZE 144u
#define RD_ANSWER_SIZE 104u
#define RD_PROOF_SIZE (crypto_secretstream_xchacha20poly1305_HEADERBYTES + RD_RECORD_OVERHEAD + crypto_sign_BYTES)
#define RD_READY_SIZE (crypto_secretstream_xchacha20poly1305_HEADERBYTES + RD_RECORD_OVERHEAD)
#define RD_HANDSHAKE_OUT_MAX RD_HELLO_SIZE

/* A record: u32 length of what follows, then that many bytes: ciphertext and tag. The length is authenticated with it. */
#define RD_RECORD_OVERHEAD crypto_secretstream_xchacha20poly1305_ABYTES
#define RD_RECORD_HEADER 4u
#define RD_RECORD_DATA_MAX (64u << 10) /* bounds what a connection buffers before it can be authenticated */
#define RD_RECORD_SIZE_MAX (RD_RECORD_HEADER + RD_RECORD_DATA_MAX + RD_RECORD_OVERHEAD)

/* The identity of a node. The secret half is wiped by rd_identity_release. */
struct rd_identity {
    unsigned char public_key[crypto_sign_PUBLICKEYBYTES];
    unsigned char secret_key[crypto_sign_SECRETKEYBYTES];
};
void rd_identity_release(struct rd_identity *id);

/* Both directions of an authenticated connection. */
struct rd_channel {
    crypto_secretstream_xchacha20poly1305_state to, from;
};

enum rd_handshake_state {
    RD_HANDSHAKE_START,
    RD_HANDSHAKE_WAIT_HELLO,
    RD_HANDSHAKE_WAIT_ANSWER,
    RD_HANDSHAKE_WAIT_PROOF,
    RD_HANDSHAKE_WAIT_READY,
    RD_HANDSHAKE_DONE,
    RD_HANDSHAKE_FAILED,
};

struct rd_handshake {
    enum rd_handshake_state state;
    const struct rd_identity *self; /* borrowed */
    unsigned char store_id[16];
    uint16_t version_min, version_max; /* spoken here; tests narrow them */
    uint16_t version;                  /* agreed on; from DONE on */
    const unsigned char *known;        /* public keys that may connect, one after the other; borrowed */
    size_t known_count;
    unsigned char peer[RD_KEY_SIZE]; /* initiator: whom it wants; responder: who it is, from WAIT_PROOF on */
    /* what is to be sent now; the caller takes it after each call */
    unsigned char out[RD_HANDSHAKE_OUT_MAX];
    size_t out_len;
    struct rd_channel channel; /* from DONE on */
    /* inside */
    unsigned char in[RD_HELLO_SIZE]; /* the message that is arriving */
    size_t in_len;
    unsigned char ephemeral_secret[RD_KEY_SIZE], ephemeral[RD_KEY_SIZE];
    unsigned char transcript[32]; /* of everything so far */
    unsigned char to_key[32], from_key[32];
};

/* Once a process, before anything else here. ESDB_EUNAVAILABLE: no random numbers. */
int rd_crypto_begin(struct esdb_error *err);

/* Connects to the node with the identity `peer` in the store `store_id`. HELLO is to be sent. */
void rd_handshake_start(struct rd_handshake *h, const struct rd_identity *self, const unsigned char store_id[16],
                        const unsigned char peer[RD_KEY_SIZE]);

/* The same for somebody who speaks other versions, for tests. */
void rd_handshake_start_versions(struct rd_handshake *h, const struct rd_identity *self,
                                 const unsigned char store_id[16], const unsigned char peer[RD_KEY_SIZE], uint16_t min,
                                 uint16_t max);

/* Is connected to by somebody with one of the `count` identities `known`. Nothing is to be sent yet. */
void rd_handshake_accept(struct rd_handshake *h, const struct rd_identity *self, const unsigned char store_id[16],
                         const unsigned char *known, size_t count);

/* Takes bytes from the connection, at most those of one message: *used of len. After it, out is to be sent (out_len may be
 * 0). 0; ESDB_EDENIED: the other end is not who it should be, or does not speak like it: close, send nothing. */
int rd_handshake_feed(struct rd_handshake *h, const void *bytes, size_t len, size_t *used, struct esdb_error *err);

/* Wipes what is secret, the channel included. */
void rd_handshake_release(struct rd_handshake *h);

/* ---- records, after DONE ---- */

/* Writes a record of `len` bytes (at most RD_RECORD_DATA_MAX) to `out`, which has len + RD_RECORD_HEADER +
 * RD_RECORD_OVERHEAD. `last`: it ends a message. Returns the size. */
size_t rd_channel_seal(struct rd_channel *c, const void *bytes, size_t len, bool last, unsigned char *out);

/* The size of the record whose first RD_RECORD_HEADER bytes stand at `at`; 0: it cannot be one. */
size_t rd_record_size(const unsigned char *at);

/* Opens a whole record into `out`, which has room for size - RD_RECORD_HEADER - RD_RECORD_OVERHEAD bytes (*len of them are
 * written) and does not overlap it. 0, or ESDB_EDENIED: it was changed, repeated or left out; close. */
int rd_channel_open(struct rd_channel *c, const unsigned char *record, size_t size, unsigned char *out, size_t *len,
                    bool *last, struct esdb_error *err);

#endif
