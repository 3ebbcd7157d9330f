/* Connections between nodes, on loopback, in one loop. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "replicate/net.h"

#include "format/bytes.h"

#include <cmocka.h>

#define TYPE 40u
#define SIZE_MAX_HERE (5u << 20)

struct node {
    struct rd_config config;
    struct rd_identity identity;
    struct rd_net *net;
    unsigned ups, downs, messages, logs;
    uint64_t sum; /* of what came */
    size_t last_len;
    bool refuse;
    char log[512];
};

static uv_loop_t loop;
static struct node node[3];
static int closed;

static size_t size_max(void *context, unsigned type) {
    (void)context;
    return type == TYPE ? SIZE_MAX_HERE : 0;
}

static bool message(void *context, size_t peer, const unsigned char *bytes, size_t len, const char **why) {
    struct node *n = context;
    (void)peer;
    n->messages++;
    n->last_len = len;
    for (size_t i = REP_MESSAGE_HEAD; i < len; i++)
        n->sum += bytes[i];
    *why = "was refused by the test";
    return !n->refuse;
}

static void up(void *context, size_t peer) {
    (void)peer;
    ((struct node *)context)->ups++;
}

static void down(void *context, size_t peer) {
    (void)peer;
    ((struct node *)context)->downs++;
}

static void note(void *context, const char *text) {
    struct node *n = context;
    n->logs++;
    snprintf(n->log, sizeof n->log, "%s", text);
}

static void done(void *context) {
    (void)context;
    closed++;
}

/* Opens node i with a port of its own; peers are told afterwards. */
static void configure(int i) {
    struct node *n = &node[i];
    memset(n, 0, sizeof *n);
    n->config = (struct rd_config){.handshake_timeout_ms = 200, .connections_max = 16, .send_buffer_bytes = 16 << 20};
    snprintf(n->config.node, sizeof n->config.node, "n%d", i);
    memcpy(n->config.store_id, "the same for all", 16);
    snprintf(n->config.listen.host, sizeof n->config.listen.host, "127.0.0.1");
    crypto_sign_keypair(n->identity.public_key, n->identity.secret_key);
}

/* Below what the kernel gives to outgoing connections, one of which could have it by the time the node listens. */
static uint16_t free_port(void) {
    static uint16_t next;
    int rc = -1;
    if (next == 0)
        next = (uint16_t)(8000 + getpid() % 7000);
    while (rc != 0) {
        uv_tcp_t tcp;
        struct sockaddr_in a;
        int len = sizeof a;
        uv_tcp_init(&loop, &tcp);
        uv_ip4_addr("127.0.0.1", ++next, &a);
        uv_tcp_bind(&tcp, (struct sockaddr *)&a, 0);
        rc = uv_tcp_getsockname(&tcp, (struct sockaddr *)&a, &len); /* of binding, too */
        uv_close((uv_handle_t *)&tcp, NULL);
        uv_run(&loop, UV_RUN_DEFAULT);
    }
    return next;
}

static void open_node(int i) {
    struct node *n = &node[i];
    struct esdb_error err = {0};
    const struct rd_net_events events = {n, size_max, message, up, down, note};
    assert_int_equal(rd_net_open(&loop, &n->config, &n->identity, &events, &n->net, &err), 0);
}

static void begin(int count) {
    assert_int_equal(uv_loop_init(&loop), 0);
    closed = 0;
    for (int i = 0; i < count; i++)
        configure(i);
    for (int i = 0; i < count; i++)
        node[i].config.listen.port = free_port();
    for (int i = 0; i < count; i++) {
        struct rd_config *c = &node[i].config;
        for (int k = 0; k < count; k++) {
            struct rd_peer_config *p = &c->peers[c->peer_count++];
            snprintf(p->name, sizeof p->name, "n%d", k);
            p->address = node[k].config.listen;
            memcpy(p->public_key, node[k].identity.public_key, RD_KEY_SIZE);
        }
        c->self = (size_t)i;
    }
}

static void end(int count) {
    for (int i = 0; i < count; i++)
        rd_net_close(node[i].net, done);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(closed, count);
    assert_int_equal(uv_loop_close(&loop), 0);
}

static void late(uv_timer_t *t) {
    *(bool *)t->data = true;
}

/* Runs the loop until `counter` is at least n, or two seconds have passed. */
static bool run_until(const unsigned *counter, unsigned n) {
    bool is_late = false;
    uv_timer_t timer;
    uv_timer_init(&loop, &timer);
    timer.data = &is_late;
    uv_timer_start(&timer, late, 2000, 0);
    while (*counter < n && !is_late)
        uv_run(&loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&timer, NULL);
    uv_run(&loop, UV_RUN_NOWAIT);
    return *counter >= n;
}

static uint64_t send_text(int from, int to, size_t len, unsigned type, bool *sent) {
    unsigned char head[REP_MESSAGE_HEAD] = {0};
    unsigned char *body = malloc(len ? len : 1);
    uint64_t sum = 0;
    assert_non_null(body);
    for (size_t i = 0; i < len; i++) {
        body[i] = (unsigned char)(i * 7 + len);
        sum += body[i];
    }
    fmt_put16(head, (uint16_t)type);
    fmt_put32(head + 4, (uint32_t)(REP_MESSAGE_HEAD + len));
    const struct rep_bytes parts[] = {{head, sizeof head}, {body, len / 3}, {body + len / 3, len - len / 3}};
    *sent = rd_net_send(node[from].net, (size_t)to, parts, 3);
    free(body);
    return sum;
}

static void test_messages(void **state) {
    (void)state;
    static const size_t size[] = {0, 1, 100, 65519, 65520, 65521, 131056, 200000, SIZE_MAX_HERE - REP_MESSAGE_HEAD};
    uint64_t sum = 0;
    bool sent;
    begin(3);
    for (int i = 0; i < 3; i++)
        open_node(i);
    for (int i = 0; i < 3; i++)
        assert_true(run_until(&node[i].ups, 2));
    for (size_t i = 0; i < sizeof size / sizeof size[0]; i++) {
        sum += send_text(0, 1, size[i], TYPE, &sent);
        assert_true(sent);
        assert_true(run_until(&node[1].messages, (unsigned)i + 1));
        assert_int_equal(node[1].last_len, size[i] + REP_MESSAGE_HEAD);
    }
    assert_int_equal(node[1].sum, sum);
    assert_int_equal(node[2].messages, 0);
    for (int i = 0; i < 500; i++)
        send_text(2, 0, (size_t)i, TYPE, &sent);
    assert_true(run_until(&node[0].messages, 500));
    end(3);
}

/* A node that dies is found again when it is back. */
static void test_again(void **state) {
    (void)state;
    bool sent;
    begin(2);
    open_node(0);
    open_node(1);
    assert_true(run_until(&node[0].ups, 1));
    rd_net_close(node[1].net, done);
    assert_true(run_until(&node[0].downs, 1));
    assert_false(rd_net_is_up(node[0].net, 1));
    send_text(0, 1, 5, TYPE, &sent);
    assert_false(sent);
    open_node(1);
    closed = 0;
    assert_true(run_until(&node[0].ups, 2));
    send_text(0, 1, 5, TYPE, &sent);
    assert_true(sent);
    assert_true(run_until(&node[1].messages, 1));
    end(2);
}

/* Too large, of no known type, or refused: the connection ends, the reason is told. */
static void test_refused(void **state) {
    (void)state;
    bool sent;
    begin(2);
    open_node(0);
    open_node(1);
    assert_true(run_until(&node[0].ups, 1));
    send_text(0, 1, SIZE_MAX_HERE, TYPE, &sent);
    assert_true(run_until(&node[0].downs, 1));
    assert_non_null(strstr(node[1].log, "a message of type 40 has 5242896 bytes, allowed are 5242880"));
    assert_true(run_until(&node[0].ups, 2));
    send_text(0, 1, 5, TYPE + 1, &sent);
    assert_true(run_until(&node[0].downs, 2));
    assert_non_null(strstr(node[1].log, "a message of type 41"));
    assert_int_equal(node[1].messages, 0);
    assert_true(run_until(&node[0].ups, 3));
    node[1].refuse = true;
    send_text(0, 1, 5, TYPE, &sent);
    assert_true(run_until(&node[0].downs, 3));
    assert_string_equal(node[1].log, "n0: closed the connection: it was refused by the test");
    end(2);
}

/* Keys that do not fit, another store: nobody gets in, it is told once. */
static void test_strangers(void **state) {
    (void)state;
    begin(3);
    memcpy(node[2].config.store_id, "another store...", 16);
    node[1].config.peers[0].public_key[0] ^= 1; /* what n1 takes for n0's key is none */
    for (int i = 0; i < 3; i++)
        open_node(i);
    assert_false(run_until(&node[0].ups, 1));
    assert_int_equal(node[1].ups + node[2].ups, 0);
    assert_true(node[1].logs == 1 || node[1].logs == 2);
    struct rd_net_counts counts;
    rd_net_get_counts(node[0].net, &counts);
    assert_true(counts.handshakes_failed > 2);
    end(3);
}

static void connected(uv_connect_t *r, int status) {
    (void)r;
    (void)status;
}

/* Connections that say nothing: as many as are allowed, and only for a while; a peer gets in after that. */
static void test_idle(void **state) {
    (void)state;
    enum { IDLE = 60 };
    static uv_tcp_t tcp[IDLE];
    static uv_connect_t request[IDLE];
    struct sockaddr_in a;
    struct rd_net_counts counts;
    begin(2);
    open_node(0);
    uv_ip4_addr("127.0.0.1", node[0].config.listen.port, &a);
    for (int i = 0; i < IDLE; i++) {
        uv_tcp_init(&loop, &tcp[i]);
        assert_int_equal(uv_tcp_connect(&request[i], &tcp[i], (struct sockaddr *)&a, connected), 0);
    }
    open_node(1);
    assert_true(run_until(&node[1].ups, 1));
    rd_net_get_counts(node[0].net, &counts);
    assert_true(counts.connections <= 16 + 2);
    assert_true(counts.refused >= IDLE - 16);
    assert_true(node[0].logs <= 2);
    for (int i = 0; i < IDLE; i++)
        uv_close((uv_handle_t *)&tcp[i], NULL);
    end(2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_messages),  cmocka_unit_test(test_again), cmocka_unit_test(test_refused),
        cmocka_unit_test(test_strangers), cmocka_unit_test(test_idle),
    };
    if (rd_crypto_begin(NULL) < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
