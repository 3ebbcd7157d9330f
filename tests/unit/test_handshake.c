/* The handshake of nodes and the records behind it: WIRE.md sections 2 and 3. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "replicate/handshake.h"

#include "format/bytes.h"

#include <cmocka.h>

static struct rd_identity ann, bob, eve;
static const unsigned char store[16] = "one store here.", other_store[16] = "another store..";
static unsigned char known[2 * RD_KEY_SIZE]; /* who may connect to Bob */

static int begin(void **state) {
    (void)state;
    assert_int_equal(rd_crypto_begin(NULL), 0);
    crypto_sign_keypair(ann.public_key, ann.secret_key);
    crypto_sign_keypair(bob.public_key, bob.secret_key);
    crypto_sign_keypair(eve.public_key, eve.secret_key);
    memcpy(known, bob.public_key, RD_KEY_SIZE);
    memcpy(known + RD_KEY_SIZE, ann.public_key, RD_KEY_SIZE);
    return 0;
}

/* What goes over the wire, message after message, for tests to change. */
struct wire {
    unsigned char bytes[RD_HANDSHAKE_OUT_MAX];
    size_t len;
};

static int pass(struct rd_handshake *from, struct rd_handshake *to, struct esdb_error *err) {
    size_t used = 0;
    struct wire w;
    memcpy(w.bytes, from->out, from->out_len);
    w.len = from->out_len;
    int rc = rd_handshake_feed(to, w.bytes, w.len, &used, err);
    if (rc == 0)
        assert_int_equal(used, w.len);
    return rc;
}

/* Lets two nodes talk; flips bit `bit` of byte `at` of message `message` (1 .. 4; 0: of none). */
static int talk(struct rd_handshake *i, struct rd_handshake *r, int message, size_t at, unsigned bit,
                struct esdb_error *err) {
    struct rd_handshake *from = i, *to = r;
    for (int n = 1; n <= 4; n++) {
        if (n == message)
            from->out[at] ^= (unsigned char)(1u << bit);
        int rc = pass(from, to, err);
        if (rc < 0) {
            assert_int_equal(to->state, RD_HANDSHAKE_FAILED);
            assert_int_equal(to->out_len, 0); /* a closed connection is the only answer */
            return rc;
        }
        struct rd_handshake *t = from;
        from = to;
        to = t;
    }
    return 0;
}

static void start(struct rd_handshake *i, struct rd_handshake *r) {
    rd_handshake_start(i, &ann, store, bob.public_key);
    rd_handshake_accept(r, &bob, store, known, 2);
}

static void check_refused(struct rd_handshake *i, struct rd_handshake *r, const char *text) {
    struct esdb_error err = {0};
    assert_int_equal(talk(i, r, 0, 0, 0, &err), ESDB_EDENIED);
    assert_non_null(strstr(err.text, text));
    rd_handshake_release(i);
    rd_handshake_release(r);
}

static void test_agree(void **state) {
    (void)state;
    struct rd_handshake i, r;
    start(&i, &r);
    assert_int_equal(i.out_len, RD_HELLO_SIZE);
    assert_int_equal(talk(&i, &r, 0, 0, 0, NULL), 0);
    assert_int_equal(i.state, RD_HANDSHAKE_DONE);
    assert_int_equal(r.state, RD_HANDSHAKE_DONE);
    assert_int_equal(i.version, RD_VERSION_MAX);
    assert_int_equal(r.version, RD_VERSION_MAX);
    assert_memory_equal(r.peer, ann.public_key, RD_KEY_SIZE);
    for (int turn = 0; turn < 200; turn++) {
        struct rd_handshake *from = turn % 3 ? &i : &r, *to = turn % 3 ? &r : &i;
        unsigned char text[300], record[sizeof text + RD_RECORD_HEADER + RD_RECORD_OVERHEAD], back[sizeof text];
        size_t len = (size_t)turn, n = 0;
        bool last = false;
        memset(text, turn, sizeof text);
        size_t size = rd_channel_seal(&from->channel, text, len, turn & 1, record);
        assert_int_equal(rd_record_size(record), size);
        assert_int_equal(rd_channel_open(&to->channel, record, size, back, &n, &last, NULL), 0);
        assert_int_equal(n, len);
        assert_int_equal(last, turn & 1);
        assert_memory_equal(back, text, len);
    }
    rd_handshake_release(&i);
    rd_handshake_release(&r);
}

/* Any bit of any message: it fails at once, and what it fails with is silence. */
static void test_every_byte(void **state) {
    (void)state;
    static const size_t size[] = {0, RD_HELLO_SIZE, RD_ANSWER_SIZE, RD_PROOF_SIZE, RD_READY_SIZE};
    for (int message = 1; message <= 4; message++) {
        for (size_t at = 0; at < size[message]; at++) {
            struct rd_handshake i, r;
            struct esdb_error err = {0};
            start(&i, &r);
            assert_int_equal(talk(&i, &r, message, at, (unsigned)at % 8, &err), ESDB_EDENIED);
            assert_true(err.text[0]);
            rd_handshake_release(&i);
            rd_handshake_release(&r);
        }
    }
}

/* In pieces of any size; what follows the message is left alone. */
static void test_pieces(void **state) {
    (void)state;
    for (size_t piece = 1; piece <= 50; piece += 7) {
        struct rd_handshake end[2];
        start(&end[0], &end[1]);
        for (int n = 0; n < 4; n++) {
            struct rd_handshake *from = &end[n % 2], *to = &end[1 - n % 2];
            unsigned char bytes[RD_HANDSHAKE_OUT_MAX + 5] = {0};
            size_t len = from->out_len, at = 0, used = 0;
            memcpy(bytes, from->out, len);
            while (at < len) {
                assert_int_equal(to->out_len * (at > 0), 0);
                size_t room = len + 5 - at;
                assert_int_equal(rd_handshake_feed(to, bytes + at, piece < room ? piece : room, &used, NULL), 0);
                assert_true(used > 0);
                at += used;
            }
            assert_int_equal(at, len);
        }
        assert_int_equal(end[0].state, RD_HANDSHAKE_DONE);
        assert_int_equal(end[1].state, RD_HANDSHAKE_DONE);
        size_t used = 9;
        assert_int_equal(rd_handshake_feed(&end[0], "more", 4, &used, NULL), 0);
        assert_int_equal(used, 0);
    }
}

static void test_strangers(void **state) {
    (void)state;
    struct rd_handshake i, r;
    /* a key that is not configured */
    rd_handshake_start(&i, &eve, store, bob.public_key);
    rd_handshake_accept(&r, &bob, store, known, 2);
    check_refused(&i, &r, "not configured");
    /* the node's own key: nobody talks to himself */
    rd_handshake_start(&i, &bob, store, bob.public_key);
    rd_handshake_accept(&r, &bob, store, known, 2);
    check_refused(&i, &r, "not configured");
    /* another store */
    rd_handshake_start(&i, &ann, other_store, bob.public_key);
    rd_handshake_accept(&r, &bob, store, known, 2);
    check_refused(&i, &r, "another store");
    /* somebody else was called */
    rd_handshake_start(&i, &ann, store, eve.public_key);
    rd_handshake_accept(&r, &bob, store, known, 2);
    check_refused(&i, &r, "another node");
    /* Ann's name on Eve's signature */
    struct rd_identity forged = eve;
    memcpy(forged.public_key, ann.public_key, RD_KEY_SIZE);
    rd_handshake_start(&i, &forged, store, bob.public_key);
    rd_handshake_accept(&r, &bob, store, known, 2);
    check_refused(&i, &r, "has not the key");
    /* nobody is known */
    rd_handshake_start(&i, &ann, store, bob.public_key);
    rd_handshake_accept(&r, &bob, store, NULL, 0);
    check_refused(&i, &r, "not configured");
}

/* Eve sits where Bob should: she can answer, but not as Bob. */
static void test_wrong_responder(void **state) {
    (void)state;
    struct rd_handshake i, r;
    struct rd_identity forged = eve;
    memcpy(forged.public_key, bob.public_key, RD_KEY_SIZE);
    rd_handshake_start(&i, &ann, store, bob.public_key);
    rd_handshake_accept(&r, &forged, store, known, 2);
    /* r refuses only its own key: known holds Bob's and Ann's */
    check_refused(&i, &r, "has not the key that is configured");
}

static void test_replay(void **state) {
    (void)state;
    struct rd_handshake i, r, again;
    unsigned char hello[RD_HELLO_SIZE], proof[RD_PROOF_SIZE];
    size_t used = 0;
    struct esdb_error err = {0};
    start(&i, &r);
    memcpy(hello, i.out, sizeof hello);
    assert_int_equal(pass(&i, &r, NULL), 0);
    assert_int_equal(pass(&r, &i, NULL), 0);
    memcpy(proof, i.out, sizeof proof);
    assert_int_equal(pass(&i, &r, NULL), 0);
    /* somebody who heard all of it says it again */
    rd_handshake_accept(&again, &bob, store, known, 2);
    assert_int_equal(rd_handshake_feed(&again, hello, sizeof hello, &used, NULL), 0);
    assert_int_equal(rd_handshake_feed(&again, proof, sizeof proof, &used, &err), ESDB_EDENIED);
    assert_int_equal(again.state, RD_HANDSHAKE_FAILED);
    /* what failed stays so */
    assert_int_equal(rd_handshake_feed(&again, hello, sizeof hello, &used, NULL), ESDB_EDENIED);
    /* the answer of one connection does not serve another */
    struct rd_handshake i2, r2;
    start(&i, &r);
    start(&i2, &r2);
    assert_int_equal(pass(&i, &r, NULL), 0);
    assert_int_equal(pass(&r, &i2, NULL), ESDB_EDENIED);
}

/* Both choose the newest version that both speak, and notice when somebody in between wants an older one. */
static void test_versions(void **state) {
    (void)state;
    static const struct {
        uint16_t i_min, i_max, r_min, r_max, agreed;
    } row[] = {{1, 1, 1, 1, 1}, {1, 3, 1, 2, 2}, {1, 2, 2, 5, 2}, {2, 4, 1, 9, 4}, {1, 1, 2, 3, 0}, {3, 4, 1, 2, 0}};
    for (size_t n = 0; n < sizeof row / sizeof row[0]; n++) {
        struct rd_handshake i, r;
        struct esdb_error err = {0};
        rd_handshake_start(&i, &ann, store, bob.public_key);
        /* the initiator's range stands in HELLO, which is signed: begin anew with the range wanted */
        rd_handshake_accept(&r, &bob, store, known, 2);
        rd_handshake_start_versions(&i, &ann, store, bob.public_key, row[n].i_min, row[n].i_max);
        r.version_min = row[n].r_min;
        r.version_max = row[n].r_max;
        int rc = talk(&i, &r, 0, 0, 0, &err);
        if (row[n].agreed == 0) {
            assert_int_equal(rc, ESDB_EDENIED);
            assert_non_null(strstr(err.text, "speaks versions"));
            continue;
        }
        assert_int_equal(rc, 0);
        assert_int_equal(i.version, row[n].agreed);
        assert_int_equal(r.version, row[n].agreed);
    }
}

/* Keys that share nothing, as somebody would choose who wants to know the result. */
static void test_low_order(void **state) {
    (void)state;
    struct rd_handshake r;
    size_t used = 0;
    unsigned char hello[RD_HELLO_SIZE] = "ESDBWIRE";
    rd_handshake_accept(&r, &bob, store, known, 2);
    struct rd_handshake i;
    rd_handshake_start(&i, &ann, store, bob.public_key);
    memcpy(hello, i.out, 48); /* the ephemeral key stays zero, and is not signed: refused by the signature already */
    assert_int_equal(rd_handshake_feed(&r, hello, sizeof hello, &used, NULL), ESDB_EDENIED);
    unsigned char shared[32], secret[32] = {1}, zero[32] = {0};
    assert_int_equal(crypto_scalarmult(shared, secret, zero), -1); /* what derive() relies on */
}

static void test_not_esdb(void **state) {
    (void)state;
    struct rd_handshake r;
    size_t used = 0;
    struct esdb_error err = {0};
    rd_handshake_accept(&r, &bob, store, known, 2);
    assert_int_equal(rd_handshake_feed(&r, "GET / HTTP/1.1\r\n", 3, &used, &err), ESDB_EDENIED);
    assert_int_equal(r.out_len, 0);
}

static void agree(struct rd_handshake *i, struct rd_handshake *r) {
    start(i, r);
    assert_int_equal(talk(i, r, 0, 0, 0, NULL), 0);
}

static void test_records(void **state) {
    (void)state;
    unsigned char text[100] = "some text", record[200], copy[200], back[200];
    size_t n = 0;
    bool last;
    /* every bit */
    for (size_t bit = 0; bit < 8 * (sizeof text + RD_RECORD_HEADER + RD_RECORD_OVERHEAD); bit += 5) {
        struct rd_handshake i, r;
        struct esdb_error err = {0};
        agree(&i, &r);
        size_t size = rd_channel_seal(&i.channel, text, sizeof text, true, record);
        record[bit / 8] ^= (unsigned char)(1u << bit % 8);
        assert_int_equal(rd_channel_open(&r.channel, record, size, back, &n, &last, &err), ESDB_EDENIED);
    }
    /* repeated, left out, sent back, cut */
    for (int kind = 0; kind < 4; kind++) {
        struct rd_handshake i, r;
        agree(&i, &r);
        size_t size = rd_channel_seal(&i.channel, text, sizeof text, true, record);
        memcpy(copy, record, size);
        if (kind == 0)
            assert_int_equal(rd_channel_open(&r.channel, record, size, back, &n, &last, NULL), 0);
        else if (kind == 1)
            size = rd_channel_seal(&i.channel, text, sizeof text, true, copy);
        assert_int_equal(rd_channel_open(kind == 2 ? &i.channel : &r.channel, copy, kind == 3 ? size - 1 : size, back,
                                         &n, &last, NULL),
                         ESDB_EDENIED);
    }
    /* lengths, before anything is read or allocated */
    static const struct {
        uint32_t len;
        bool good;
    } row[] = {{0, false},
               {RD_RECORD_OVERHEAD - 1, false},
               {RD_RECORD_OVERHEAD, true},
               {RD_RECORD_DATA_MAX + RD_RECORD_OVERHEAD, true},
               {RD_RECORD_DATA_MAX + RD_RECORD_OVERHEAD + 1, false},
               {UINT32_MAX, false}};
    for (size_t k = 0; k < sizeof row / sizeof row[0]; k++) {
        unsigned char at[4];
        fmt_put32(at, row[k].len);
        assert_int_equal(rd_record_size(at), row[k].good ? row[k].len + RD_RECORD_HEADER : 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_agree),     cmocka_unit_test(test_every_byte),      cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_strangers), cmocka_unit_test(test_wrong_responder), cmocka_unit_test(test_replay),
        cmocka_unit_test(test_versions),  cmocka_unit_test(test_low_order),       cmocka_unit_test(test_not_esdb),
        cmocka_unit_test(test_records),
    };
    return cmocka_run_group_tests(tests, begin, NULL);
}
