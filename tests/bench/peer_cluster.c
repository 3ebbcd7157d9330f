/*
 * peer_cluster: the load of `make bench-cluster` on etcd and on NATS JetStream, in their own protocols.
 *
 *   peer_cluster etcd PORT CLIENTS WINDOW EVENTS SIZE   puts (gRPC over HTTP/2) of new keys
 *   peer_cluster nats PORT CLIENTS WINDOW EVENTS SIZE   publishes to bench.* (JetStream's acknowledgement is waited for)
 *   peer_cluster stream PORT                            makes the stream BENCH of bench.*, on files, with three replicas;
 *                                                       prints who leads it
 *
 * Each client is a connection that stays, with at most WINDOW operations that are not acknowledged. All are served by one
 * thread, which costs the servers' machine less than the clients that their projects give. Prints one JSON object: rate,
 * and percentiles of the latency in microseconds.
 */
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { CLIENTS_MAX = 256, WINDOW_MAX = 4096, SIZE_MAX_BYTES = 4096, IN_MAX = 1 << 18, OUT_MAX = 1 << 22 };
enum { H2_DATA = 0, H2_HEADERS = 1, H2_RST = 3, H2_SETTINGS = 4, H2_PING = 6, H2_GOAWAY = 7, H2_WINDOW = 8 };

struct client {
    int fd, number;
    unsigned char *in, *out;
    size_t in_len, out_len;
    uint64_t sent, done;     /* operations */
    uint64_t at[WINDOW_MAX]; /* when operation N was sent, at N % WINDOW_MAX */
    bool ok[WINDOW_MAX];     /* etcd: its answer has come, the end of its stream not yet */
    int64_t room;            /* etcd: bytes that the server lets us send */
};

static struct client clients[CLIENTS_MAX];
static int client_count, window;
static bool is_etcd;
static size_t size;
static uint64_t events, begun, ended; /* operations: to do, sent, acknowledged */
static uint32_t *latencies;           /* microseconds */
static unsigned char value[SIZE_MAX_BYTES];

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void add(struct client *c, const void *bytes, size_t len) {
    if (c->out_len + len > OUT_MAX)
        errx(1, "too much to send");
    memcpy(c->out + c->out_len, bytes, len);
    c->out_len += len;
}

static void flush(struct client *c) {
    size_t done = 0;
    while (done < c->out_len) {
        ssize_t n = send(c->fd, c->out + done, c->out_len - done, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN)
            break;
        if (n < 0)
            err(1, "send");
        done += (size_t)n;
    }
    memmove(c->out, c->out + done, c->out_len - done);
    c->out_len -= done;
}

static void open_client(struct client *c, int number, int port) {
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(0x7f000001)};
    int one = 1;
    c->number = number;
    c->in = malloc(IN_MAX);
    c->out = malloc(OUT_MAX);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (!c->in || !c->out || c->fd < 0 || connect(c->fd, (struct sockaddr *)&to, sizeof to) < 0)
        err(1, "port %d", port);
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
}

static void acknowledged(struct client *c, uint64_t operation) {
    latencies[ended++] = (uint32_t)((now_ns() - c->at[operation % WINDOW_MAX]) / 1000);
    c->done++;
}

/* ---- etcd: KV.Put by gRPC (grpc.io: PROTOCOL-HTTP2), over HTTP/2 (RFC 9113) with plain header fields (RFC 7541) ---- */

static void add_frame(struct client *c, int type, int flags, uint32_t stream, const void *payload, size_t len) {
    const unsigned char head[9] = {
        (unsigned char)(len >> 16),    (unsigned char)(len >> 8),    (unsigned char)len,
        (unsigned char)type,           (unsigned char)flags,         (unsigned char)(stream >> 24),
        (unsigned char)(stream >> 16), (unsigned char)(stream >> 8), (unsigned char)stream};
    add(c, head, sizeof head);
    add(c, payload, len);
}

static void etcd_begin(struct client *c) {
    static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    static const unsigned char settings[6] = {0,    4,    0x7f,
                                              0xff, 0xff, 0xff}; /* INITIAL_WINDOW_SIZE: never to be raised */
    static const unsigned char more[4] = {0x7f, 0xff, 0, 0};
    add(c, preface, sizeof preface - 1);
    add_frame(c, H2_SETTINGS, 0, 0, settings, sizeof settings);
    add_frame(c, H2_WINDOW, 0, 0, more, sizeof more);
    c->room = 65535;
}

static size_t put_varint(unsigned char *out, size_t n) {
    size_t len = 0;
    for (; n >= 128; n >>= 7)
        out[len++] = (unsigned char)(n | 128);
    out[len++] = (unsigned char)n;
    return len;
}

/* False: the server lets us send no more for now. */
static bool etcd_send(struct client *c) {
    static const unsigned char headers[] = "\x83\x86\x04\x14/etcdserverpb.KV/Put\x01\x09"
                                           "127.0.0.1\x0f\x10\x10"
                                           "application/grpc\x00\x02te\x08trailers";
    unsigned char body[SIZE_MAX_BYTES + 64];
    char key[32];
    int key_len = snprintf(key, sizeof key, "%d-%010llu", c->number, (unsigned long long)begun);
    size_t len = 5;
    body[len++] = 0x0a;
    len += put_varint(body + len, (size_t)key_len);
    memcpy(body + len, key, (size_t)key_len);
    len += (size_t)key_len;
    body[len++] = 0x12;
    len += put_varint(body + len, size);
    memcpy(body + len, value, size);
    len += size;
    const uint32_t message = htonl((uint32_t)len - 5);
    body[0] = 0;
    memcpy(body + 1, &message, 4);
    if (c->room < (int64_t)len)
        return false;
    c->room -= (int64_t)len;
    uint32_t stream = (uint32_t)(2 * c->sent + 1);
    add_frame(c, H2_HEADERS, 4, stream, headers, sizeof headers - 1); /* END_HEADERS */
    add_frame(c, H2_DATA, 1, stream, body, len);                      /* END_STREAM */
    return true;
}

static size_t etcd_take(struct client *c, const unsigned char *at, size_t len) {
    if (len < 9)
        return 0;
    size_t payload = (size_t)at[0] << 16 | (size_t)at[1] << 8 | at[2];
    uint32_t stream = (uint32_t)(at[5] & 127) << 24 | (uint32_t)at[6] << 16 | (uint32_t)at[7] << 8 | at[8];
    if (len < 9 + payload)
        return 0;
    uint64_t operation = stream / 2;
    switch (at[3]) {
    case H2_SETTINGS:
        if (!(at[4] & 1))
            add_frame(c, H2_SETTINGS, 1, 0, "", 0);
        break;
    case H2_PING:
        if (!(at[4] & 1))
            add_frame(c, H2_PING, 1, 0, at + 9, 8);
        break;
    case H2_WINDOW:
        if (stream == 0)
            c->room +=
                (int64_t)((uint32_t)(at[9] & 127) << 24 | (uint32_t)at[10] << 16 | (uint32_t)at[11] << 8 | at[12]);
        break;
    case H2_DATA: /* an error has none */
        c->ok[operation % WINDOW_MAX] = payload > 5;
        break;
    case H2_HEADERS:
        if (!(at[4] & 1))
            break;
        if (!c->ok[operation % WINDOW_MAX])
            errx(1, "etcd refuses a put");
        acknowledged(c, operation);
        break;
    case H2_RST:
    case H2_GOAWAY:
        errx(1, "etcd ends a stream or the connection");
    }
    return 9 + payload;
}

/* ---- NATS (docs.nats.io: client protocol) ---- */

static void nats_begin(struct client *c) {
    static const char text[] = "CONNECT {\"verbose\":false,\"pedantic\":false}\r\nSUB _INBOX.%d.* 1\r\n";
    char line[128];
    int n = snprintf(line, sizeof line, text, c->number);
    add(c, line, (size_t)n);
}

static bool nats_send(struct client *c) {
    char line[128];
    int n = snprintf(line, sizeof line, "PUB bench.%llu _INBOX.%d.%llu %zu\r\n", (unsigned long long)begun % 100,
                     c->number, (unsigned long long)c->sent, size);
    add(c, line, (size_t)n);
    add(c, value, size);
    add(c, "\r\n", 2);
    return true;
}

/* Of a message: where its text begins and how long it is. 0: not whole yet, or something else; *skip: what to leave behind. */
static size_t nats_message(const unsigned char *at, size_t len, size_t *skip, uint64_t *operation,
                           const unsigned char **text) {
    const unsigned char *end = memmem(at, len, "\r\n", 2);
    unsigned long long number = 0, subscription;
    size_t bytes;
    int client;
    char line[256];
    *skip = 0;
    if (!end)
        return 0;
    size_t line_len = (size_t)(end - at) + 2;
    snprintf(line, sizeof line, "%.*s", (int)(end - at), (const char *)at);
    if (strncmp(line, "-ERR", 4) == 0)
        errx(1, "NATS: %s", line);
    if (strncmp(line, "MSG ", 4) != 0) {
        *skip = line_len;
        return 0;
    }
    if (sscanf(line, "MSG _INBOX.%d.%llu %llu %zu", &client, &number, &subscription, &bytes) != 4)
        errx(1, "NATS: %s", line);
    if (len < line_len + bytes + 2)
        return 0;
    *skip = line_len + bytes + 2;
    *operation = number;
    *text = end + 2;
    return bytes;
}

static size_t nats_take(struct client *c, const unsigned char *at, size_t len) {
    size_t skip;
    uint64_t operation;
    const unsigned char *text;
    if (len >= 6 && memcmp(at, "PING\r\n", 6) == 0)
        add(c, "PONG\r\n", 6);
    size_t bytes = nats_message(at, len, &skip, &operation, &text);
    if (bytes == 0)
        return skip;
    if (memmem(text, bytes, "\"error\"", 7))
        errx(1, "NATS: %.*s", (int)bytes, (const char *)text);
    acknowledged(c, operation);
    return skip;
}

/* ---- the load ---- */

static void send_more(struct client *c) {
    while (c->sent - c->done < (uint64_t)window && begun < events) {
        c->at[c->sent % WINDOW_MAX] = now_ns();
        c->ok[c->sent % WINDOW_MAX] = false;
        if (!(is_etcd ? etcd_send(c) : nats_send(c)))
            break;
        c->sent++;
        begun++;
    }
    flush(c);
}

static void take(struct client *c) {
    ssize_t n = recv(c->fd, c->in + c->in_len, IN_MAX - c->in_len, 0);
    if (n == 0 || (n < 0 && errno != EAGAIN))
        err(1, "the server closed the connection");
    if (n < 0)
        return;
    c->in_len += (size_t)n;
    size_t at = 0, used;
    while (at < c->in_len && (used = (is_etcd ? etcd_take : nats_take)(c, c->in + at, c->in_len - at)) > 0)
        at += used;
    memmove(c->in, c->in + at, c->in_len - at);
    c->in_len -= at;
}

static int compare(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void run(int port) {
    struct pollfd polled[CLIENTS_MAX];
    for (int i = 0; i < client_count; i++) {
        open_client(&clients[i], i, port);
        (is_etcd ? etcd_begin : nats_begin)(&clients[i]);
        flush(&clients[i]);
    }
    nanosleep(&(struct timespec){0, 200000000}, NULL); /* greetings are no part of the load */
    uint64_t t0 = now_ns();
    for (int i = 0; i < client_count; i++)
        send_more(&clients[i]);
    while (ended < events) {
        for (int i = 0; i < client_count; i++)
            polled[i] =
                (struct pollfd){.fd = clients[i].fd, .events = (short)(POLLIN | (clients[i].out_len ? POLLOUT : 0))};
        if (poll(polled, (nfds_t)client_count, 20000) <= 0)
            errx(1, "no answer for 20 s");
        for (int i = 0; i < client_count; i++)
            if (polled[i].revents) {
                take(&clients[i]);
                send_more(&clients[i]);
            }
    }
    double seconds = (double)(now_ns() - t0) / 1e9;
    qsort(latencies, ended, sizeof *latencies, compare);
    printf("{\"clients\":%d,\"window\":%d,\"events\":%llu,\"seconds\":%.6f,\"rate\":%.1f,\"p50\":%u,\"p99\":%u}\n",
           client_count, window, (unsigned long long)events, seconds, (double)events / seconds, latencies[events / 2],
           latencies[events * 99 / 100]);
}

static void make_stream(int port) {
    static const char create[] = "{\"name\":\"BENCH\",\"subjects\":[\"bench.*\"],\"storage\":\"file\",\"num_replicas\":"
                                 "3,\"retention\":\"limits\"}";
    struct client *c = &clients[0];
    char line[256];
    open_client(c, 0, port);
    nats_begin(c);
    int n = snprintf(line, sizeof line, "PUB $JS.API.STREAM.CREATE.BENCH _INBOX.0.1 %zu\r\n", sizeof create - 1);
    add(c, line, (size_t)n);
    add(c, create, sizeof create - 1);
    add(c, "\r\n", 2);
    flush(c);
    for (;;) {
        struct pollfd p = {.fd = c->fd, .events = POLLIN};
        size_t skip, bytes;
        uint64_t operation;
        const unsigned char *text;
        if (poll(&p, 1, 10000) <= 0)
            errx(1, "NATS does not answer");
        ssize_t got = recv(c->fd, c->in + c->in_len, IN_MAX - c->in_len, 0);
        if (got <= 0)
            err(1, "NATS");
        c->in_len += (size_t)got;
        while ((bytes = nats_message(c->in, c->in_len, &skip, &operation, &text)) > 0 || skip > 0) {
            if (bytes > 0) {
                printf("%.*s\n", (int)bytes, (const char *)text);
                exit(memmem(text, bytes, "\"error\"", 7) != NULL);
            }
            memmove(c->in, c->in + skip, c->in_len - skip);
            c->in_len -= skip;
        }
    }
}

static unsigned long number(const char *text, unsigned long max) {
    char *end;
    unsigned long n = strtoul(text, &end, 10);
    if (*end || n == 0 || n > max)
        errx(2, "%s is not in 1 .. %lu", text, max);
    return n;
}

int main(int argc, char **argv) {
    if (argc == 3 && strcmp(argv[1], "stream") == 0)
        make_stream((int)number(argv[2], 65535));
    if (argc != 7 || (strcmp(argv[1], "etcd") != 0 && strcmp(argv[1], "nats") != 0))
        errx(2, "usage: peer_cluster etcd|nats PORT CLIENTS WINDOW EVENTS SIZE");
    is_etcd = argv[1][0] == 'e';
    client_count = (int)number(argv[3], CLIENTS_MAX);
    window = (int)number(argv[4], WINDOW_MAX);
    events = number(argv[5], 100000000);
    size = number(argv[6], SIZE_MAX_BYTES);
    latencies = calloc(events, sizeof *latencies);
    if (!latencies)
        errx(1, "no memory");
    for (size_t i = 0; i < size; i++)
        value[i] = (unsigned char)('a' + i * 7 % 26);
    run((int)number(argv[2], 65535));
    return 0;
}
