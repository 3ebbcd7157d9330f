#include "net.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "libcore/buffer.h"
#include "libcore/error.h"

#define RETRY_MIN_MS 50
#define RETRY_MAX_MS 1000
#define QUIET_MS 10000       /* what a stranger can cause is logged this often at most */
#define USER_TIMEOUT_MS 5000 /* bytes that nobody confirms for so long end a connection: a silent partition */
#define READ_SIZE (64u << 10)
#define MESSAGE_FIRST (1u << 20) /* memory for a long message is taken as it comes, from this size on */

/* One connection, either way. It ends by close_connection, and is freed once libuv is done with it. */
struct connection {
    struct rd_net *net;
    uv_tcp_t tcp;
    uv_timer_t timer; /* of the handshake */
    int handles;      /* that libuv still has */
    bool closing, incoming;
    size_t peer; /* in the configuration; of an incoming one known after the handshake: SIZE_MAX before */
    struct rd_handshake handshake;
    uv_connect_t connecting;
    struct es_buffer in; /* a record that is not whole yet */
    struct es_buffer message;
    size_t message_size; /* 0: between messages */
    char from[64];       /* whose address, for messages */
    struct connection *next;
};

/* What we want of each peer. */
struct outgoing {
    struct rd_net *net;
    size_t peer;
    struct connection *connection; /* NULL: none */
    bool up;
    uv_timer_t retry;
    uv_getaddrinfo_t resolve;
    bool resolving;
    unsigned wait_ms;
    bool told; /* that it cannot be reached */
    uint64_t up_since;
};

struct rd_net {
    uv_loop_t *loop;
    const struct rd_config *config;
    const struct rd_identity *self;
    struct rd_net_events events;
    uv_tcp_t listener;
    bool listening, closing;
    unsigned char known[REP_SERVERS_MAX][RD_KEY_SIZE];
    struct outgoing out[REP_SERVERS_MAX];
    struct connection *connections;
    int handles; /* that libuv still has: listener, timers, look-ups */
    struct rd_net_counts counts;
    uint64_t quiet_until;
    unsigned char scratch[READ_SIZE], plain[RD_RECORD_DATA_MAX];
    void (*done)(void *context);
};

/* ---- telling ---- */

__attribute__((format(printf, 2, 3))) static void tell(struct rd_net *net, const char *format, ...) {
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    net->events.log(net->events.context, text);
}

/* What strangers do is told once in a while, or they could fill a disk with it. */
static void tell_refused(struct connection *c, const char *why) {
    struct rd_net *net = c->net;
    net->counts.handshakes_failed++;
    if (uv_now(net->loop) < net->quiet_until)
        return;
    net->quiet_until = uv_now(net->loop) + QUIET_MS;
    tell(net, "refused a connection from %s, which %s (%llu refused so far)", c->from, why,
         (unsigned long long)(net->counts.handshakes_failed + net->counts.refused));
}

static const char *peer_name(const struct connection *c) {
    return c->peer < c->net->config->peer_count ? c->net->config->peers[c->peer].name : c->from;
}

/* ---- the end of things ---- */

static void maybe_done(struct rd_net *net) {
    if (!net->closing || net->handles > 0 || net->connections)
        return;
    void (*done)(void *) = net->done;
    void *context = net->events.context;
    free(net);
    done(context);
}

static void net_handle_closed(uv_handle_t *h) {
    struct rd_net *net = h->data;
    net->handles--;
    maybe_done(net);
}

static void connection_handle_closed(uv_handle_t *h) {
    struct connection *c = h->data;
    if (--c->handles > 0)
        return;
    struct rd_net *net = c->net;
    struct connection **at = &net->connections;
    while (*at != c)
        at = &(*at)->next;
    *at = c->next;
    net->counts.connections--;
    rd_handshake_release(&c->handshake);
    es_buffer_release(&c->in);
    es_buffer_release(&c->message);
    free(c);
    maybe_done(net);
}

static void retry_later(struct outgoing *o);

static void close_connection(struct connection *c) {
    struct rd_net *net = c->net;
    if (c->closing)
        return;
    c->closing = true;
    uv_close((uv_handle_t *)&c->tcp, connection_handle_closed);
    uv_close((uv_handle_t *)&c->timer, connection_handle_closed);
    if (c->incoming)
        return;
    struct outgoing *o = &net->out[c->peer];
    bool was_up = o->up;
    o->connection = NULL;
    o->up = false;
    if (was_up &&
        uv_now(net->loop) - o->up_since >= RETRY_MAX_MS) /* else it is refused, or another one has its place */
        o->wait_ms = RETRY_MIN_MS;
    if (was_up && !net->closing)
        net->events.down(net->events.context, c->peer);
    retry_later(o);
}

/* ---- what comes in ---- */

static bool took_message(struct connection *c) {
    struct rd_net *net = c->net;
    const char *why = "sent something that cannot be";
    net->counts.messages_in++;
    bool ok = net->events.message(net->events.context, c->peer, c->message.at, c->message.len, &why);
    if (!ok)
        tell(net, "%s: closed the connection: it %s", peer_name(c), why);
    c->message.len = 0;
    c->message_size = 0;
    if (c->message.room > MESSAGE_FIRST)
        es_buffer_release(&c->message);
    return ok;
}

/* The plain bytes of one record. False: the connection is to be closed. */
static bool take_plain(struct connection *c, size_t len, bool last) {
    struct rd_net *net = c->net;
    if (c->message_size == 0) {
        unsigned type;
        if (len < REP_MESSAGE_HEAD)
            return false;
        c->message_size = rep_message_peek(net->plain, &type);
        size_t max = net->events.size_max(net->events.context, type);
        if (c->message_size == 0 || c->message_size > max) {
            tell(net, "%s: closed the connection: a message of type %u has %zu bytes, allowed are %zu", peer_name(c),
                 type, c->message_size, max);
            return false;
        }
        if (es_buffer_reserve(&c->message, c->message_size < MESSAGE_FIRST ? c->message_size : MESSAGE_FIRST) < 0)
            return false;
    }
    if (len > c->message_size - c->message.len || es_buffer_add(&c->message, net->plain, len) < 0)
        return false;
    if (!last)
        return len > 0; /* an empty record that ends nothing is of no use */
    return c->message.len == c->message_size && took_message(c);
}

static bool take_record(struct connection *c, const unsigned char *at, size_t size) {
    struct esdb_error err = {0};
    size_t len = 0;
    bool last = false;
    if (rd_channel_open(&c->handshake.channel, at, size, c->net->plain, &len, &last, &err) < 0) {
        tell(c->net, "%s: closed the connection: it %s", peer_name(c), err.text);
        return false;
    }
    return take_plain(c, len, last);
}

/* Takes whole records from at; what is left of a part is kept. */
static bool take_records(struct connection *c, const unsigned char *at, size_t len) {
    if (c->in.len > 0) { /* complete the one that was begun */
        size_t want = c->in.len < RD_RECORD_HEADER ? RD_RECORD_HEADER : rd_record_size(c->in.at);
        while (c->in.len < want && len > 0) {
            size_t n = want - c->in.len < len ? want - c->in.len : len;
            if (es_buffer_add(&c->in, at, n) < 0)
                return false;
            at += n;
            len -= n;
            if (c->in.len == RD_RECORD_HEADER && (want = rd_record_size(c->in.at)) == 0)
                return false;
        }
        if (c->in.len < want || c->in.len < RD_RECORD_HEADER)
            return true;
        bool ok = take_record(c, c->in.at, c->in.len);
        c->in.len = 0;
        if (!ok || c->closing)
            return ok;
    }
    while (len >= RD_RECORD_HEADER) {
        size_t size = rd_record_size(at);
        if (size == 0)
            return false;
        if (size > len)
            break;
        if (!take_record(c, at, size))
            return false;
        if (c->closing)
            return true;
        at += size;
        len -= size;
    }
    return es_buffer_add(&c->in, at, len) == 0;
}

/* ---- what goes out ---- */

struct write {
    uv_write_t request;
    struct connection *connection;
    size_t len;
    unsigned char bytes[];
};

static void written(uv_write_t *request, int status) {
    struct write *w = (struct write *)request;
    struct connection *c = w->connection;
    if (status < 0)
        close_connection(c);
    free(w);
}

static bool write_bytes(struct connection *c, struct write *w) {
    uv_buf_t buf = uv_buf_init((char *)w->bytes, (unsigned)w->len);
    w->connection = c;
    c->net->counts.bytes_out += w->len;
    /* almost always the socket takes it whole, without a look at it by epoll; an error comes again, to written */
    int n = uv_try_write((uv_stream_t *)&c->tcp, &buf, 1);
    if (n > 0 && (size_t)n == w->len) {
        free(w);
        return true;
    }
    if (n > 0)
        buf = uv_buf_init((char *)w->bytes + n, (unsigned)(w->len - (size_t)n));
    if (uv_write(&w->request, (uv_stream_t *)&c->tcp, &buf, 1, written) == 0)
        return true;
    free(w);
    return false;
}

static bool send_handshake(struct connection *c) {
    size_t len = c->handshake.out_len;
    if (len == 0)
        return true;
    struct write *w = malloc(sizeof *w + len);
    if (!w)
        return false;
    w->len = len;
    memcpy(w->bytes, c->handshake.out, len);
    c->handshake.out_len = 0;
    return write_bytes(c, w);
}

/* Seals the parts as records of one message. Returns the bytes. */
static size_t seal(struct rd_channel *channel, const struct rep_bytes *parts, size_t count, size_t total,
                   unsigned char *plain, unsigned char *out) {
    size_t filled = 0, done = 0, len = 0;
    for (size_t i = 0; i < count; i++) {
        for (size_t at = 0; at < parts[i].len;) {
            size_t n = parts[i].len - at;
            if (n > RD_RECORD_DATA_MAX - filled)
                n = RD_RECORD_DATA_MAX - filled;
            memcpy(plain + filled, parts[i].at + at, n);
            filled += n;
            done += n;
            at += n;
            if (filled < RD_RECORD_DATA_MAX && done < total)
                continue;
            len += rd_channel_seal(channel, plain, filled, done == total, out + len);
            filled = 0;
        }
    }
    return len;
}

bool rd_net_send(struct rd_net *net, size_t peer, const struct rep_bytes *parts, size_t count) {
    struct outgoing *o = &net->out[peer];
    size_t total = 0;
    if (!o->up)
        return false;
    for (size_t i = 0; i < count; i++)
        total += parts[i].len;
    size_t waiting = uv_stream_get_write_queue_size((uv_stream_t *)&o->connection->tcp);
    if (waiting > 0 && waiting + total > net->config->send_buffer_bytes) { /* a single message always fits */
        net->counts.dropped++;
        return false;
    }
    size_t records = (total + RD_RECORD_DATA_MAX - 1) / RD_RECORD_DATA_MAX;
    struct write *w = malloc(sizeof *w + total + records * (RD_RECORD_HEADER + RD_RECORD_OVERHEAD));
    if (!w)
        return false;
    w->len = seal(&o->connection->handshake.channel, parts, count, total, net->plain, w->bytes);
    net->counts.messages_out++;
    if (write_bytes(o->connection, w))
        return true;
    close_connection(o->connection); /* a record is missing in the stream now */
    return false;
}

/* ---- the handshake ---- */

static void handshake_late(uv_timer_t *timer) {
    struct connection *c = timer->data;
    if (c->incoming)
        tell_refused(c, "did not say who it is in time");
    close_connection(c);
}

/* An incoming connection is somebody now: an earlier one of the same peer is dead, or it would not make another. */
static void took_peer(struct connection *c) {
    for (size_t i = 0; i < c->net->config->peer_count; i++)
        if (memcmp(c->net->known[i], c->handshake.peer, RD_KEY_SIZE) == 0)
            c->peer = i;
    for (struct connection *d = c->net->connections; d; d = d->next)
        if (d != c && d->incoming && d->peer == c->peer)
            close_connection(d);
}

static void established(struct connection *c) {
    uv_timer_stop(&c->timer);
    if (c->incoming) {
        took_peer(c);
        return;
    }
    struct outgoing *o = &c->net->out[c->peer];
    o->up = true;
    o->up_since = uv_now(c->net->loop);
    o->told = false;
    c->net->events.up(c->net->events.context, c->peer);
}

/* False: it failed. */
static bool take_handshake(struct connection *c, const unsigned char **at, size_t *len) {
    struct esdb_error err = {0};
    while (*len > 0 && c->handshake.state != RD_HANDSHAKE_DONE) {
        size_t used = 0;
        if (rd_handshake_feed(&c->handshake, *at, *len, &used, &err) < 0) {
            if (c->incoming)
                tell_refused(c, err.text);
            else if (!c->net->out[c->peer].told)
                tell(c->net, "%s: the node at its address %s", peer_name(c), err.text);
            if (!c->incoming)
                c->net->out[c->peer].told = true;
            return false;
        }
        *at += used;
        *len -= used;
        if (!send_handshake(c))
            return false;
        if (c->handshake.state == RD_HANDSHAKE_DONE)
            established(c);
    }
    return true;
}

static void give_memory(uv_handle_t *h, size_t suggested, uv_buf_t *buf) {
    struct connection *c = h->data;
    (void)suggested;
    *buf = uv_buf_init((char *)c->net->scratch, sizeof c->net->scratch); /* used up before the next read begins */
}

static void got_bytes(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf) {
    struct connection *c = stream->data;
    if (n == 0 || c->closing)
        return;
    if (n < 0) {
        close_connection(c);
        return;
    }
    const unsigned char *at = (const unsigned char *)buf->base;
    size_t len = (size_t)n;
    c->net->counts.bytes_in += len;
    bool ok = take_handshake(c, &at, &len);
    if (ok && len > 0 && !c->closing)
        ok = c->incoming && take_records(c, at, len); /* on a connection that we made nobody else speaks */
    if (!ok)
        close_connection(c);
}

/* ---- connections ---- */

static struct connection *new_connection(struct rd_net *net, bool incoming) {
    struct connection *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->net = net;
    c->incoming = incoming;
    c->peer = SIZE_MAX;
    uv_tcp_init(net->loop, &c->tcp);
    uv_timer_init(net->loop, &c->timer);
    c->tcp.data = c->timer.data = c;
    c->handles = 2;
    c->next = net->connections;
    net->connections = c;
    net->counts.connections++;
    uv_timer_start(&c->timer, handshake_late, net->config->handshake_timeout_ms, 0);
    return c;
}

/* What is under way to a peer ends with the connection: a request must not arrive long after who sent it is gone. */
static void tune(struct connection *c) {
    int fd, timeout = USER_TIMEOUT_MS;
    const struct linger none = {1, 0};
    uv_tcp_nodelay(&c->tcp, 1);
    uv_tcp_keepalive(&c->tcp, 1, 5);
    if (uv_fileno((uv_handle_t *)&c->tcp, &fd) < 0)
        return;
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout, sizeof timeout);
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof none);
}

static void name_address(const struct sockaddr_storage *a, char *out, size_t room) {
    char ip[48] = "?";
    if (a->ss_family == AF_INET6)
        uv_ip6_name((const struct sockaddr_in6 *)a, ip, sizeof ip);
    else if (a->ss_family == AF_INET)
        uv_ip4_name((const struct sockaddr_in *)a, ip, sizeof ip);
    snprintf(out, room, "%s", ip);
}

static void accept_one(uv_stream_t *listener, int status) {
    struct rd_net *net = listener->data;
    struct connection *c = status < 0 ? NULL : new_connection(net, true);
    if (!c)
        return;
    struct sockaddr_storage address = {0};
    int len = sizeof address;
    if (uv_accept(listener, (uv_stream_t *)&c->tcp) < 0) {
        close_connection(c);
        return;
    }
    uv_tcp_getpeername(&c->tcp, (struct sockaddr *)&address, &len);
    name_address(&address, c->from, sizeof c->from);
    if (net->counts.connections > net->config->connections_max) {
        net->counts.refused++;
        close_connection(c); /* strangers must not keep the peers out for longer than the handshake's time-out */
        return;
    }
    net->counts.accepted++;
    tune(c);
    rd_handshake_accept(&c->handshake, net->self, net->config->store_id, net->known[0], net->config->peer_count);
    if (uv_read_start((uv_stream_t *)&c->tcp, give_memory, got_bytes) < 0)
        close_connection(c);
}

static void connected(uv_connect_t *request, int status) {
    struct connection *c = request->data;
    if (c->closing)
        return;
    if (status < 0) {
        close_connection(c);
        return;
    }
    tune(c);
    rd_handshake_start(&c->handshake, c->net->self, c->net->config->store_id, c->net->known[c->peer]);
    if (uv_read_start((uv_stream_t *)&c->tcp, give_memory, got_bytes) < 0 || !send_handshake(c))
        close_connection(c);
}

static void resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *found) {
    struct outgoing *o = request->data;
    struct rd_net *net = o->net;
    o->resolving = false;
    net->handles--;
    struct connection *c = status < 0 || net->closing ? NULL : new_connection(net, false);
    if (!c) {
        uv_freeaddrinfo(found);
        if (net->closing)
            maybe_done(net);
        else
            retry_later(o);
        return;
    }
    c->peer = o->peer;
    o->connection = c;
    c->connecting.data = c;
    if (uv_tcp_connect(&c->connecting, &c->tcp, found->ai_addr, connected) < 0)
        close_connection(c);
    uv_freeaddrinfo(found);
}

static void call_peer(uv_timer_t *timer) {
    struct outgoing *o = timer->data;
    const struct rd_address *a = &o->net->config->peers[o->peer].address;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    char port[8];
    snprintf(port, sizeof port, "%u", a->port);
    o->resolve.data = o;
    if (uv_getaddrinfo(o->net->loop, &o->resolve, resolved, a->host, port, &hints) < 0) {
        retry_later(o);
        return;
    }
    o->resolving = true;
    o->net->handles++;
}

static void retry_later(struct outgoing *o) {
    if (o->net->closing)
        return;
    unsigned wait = o->wait_ms / 2 + randombytes_uniform(o->wait_ms / 2 + 1);
    uv_timer_start(&o->retry, call_peer, wait, 0);
    o->wait_ms = o->wait_ms * 2 > RETRY_MAX_MS ? RETRY_MAX_MS : o->wait_ms * 2;
}

/* ---- the whole ---- */

static int bind_listener(struct rd_net *net, struct esdb_error *err) {
    const struct rd_address *a = &net->config->listen;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV}, *found = NULL;
    char port[8];
    snprintf(port, sizeof port, "%u", a->port);
    int rc = getaddrinfo(a->host, port, &hints, &found);
    if (rc != 0)
        return es_fail(err, ESDB_EUSAGE, "listen: %s: %s", a->host, gai_strerror(rc));
    uv_tcp_init(net->loop, &net->listener);
    net->listener.data = net;
    net->listening = true;
    net->handles++;
    rc = uv_tcp_bind(&net->listener, found->ai_addr, 0);
    freeaddrinfo(found);
    if (rc == 0)
        rc = uv_listen((uv_stream_t *)&net->listener, 128, accept_one);
    return rc < 0 ? es_fail(err, rc, "listen: %s:%s", a->host, port) : 0; /* libuv's codes are -errno here */
}

int rd_net_open(uv_loop_t *loop, const struct rd_config *config, const struct rd_identity *self,
                const struct rd_net_events *events, struct rd_net **out, struct esdb_error *err) {
    struct rd_net *net = calloc(1, sizeof *net);
    if (!net)
        return es_fail(err, -ENOMEM, "network");
    net->loop = loop;
    net->config = config;
    net->self = self;
    net->events = *events;
    for (size_t i = 0; i < config->peer_count; i++)
        memcpy(net->known[i], config->peers[i].public_key, RD_KEY_SIZE);
    *out = net;
    int rc = bind_listener(net, err);
    for (size_t i = 0; i < config->peer_count; i++) {
        struct outgoing *o = &net->out[i];
        *o = (struct outgoing){.net = net, .peer = i, .wait_ms = RETRY_MIN_MS};
        uv_timer_init(loop, &o->retry);
        o->retry.data = o;
        net->handles++;
        if (rc == 0 && i != config->self)
            uv_timer_start(&o->retry, call_peer, 0, 0);
    }
    return rc; /* the caller closes it after an error too: handles are libuv's until then */
}

uint16_t rd_net_port(const struct rd_net *net) {
    struct sockaddr_storage a = {0};
    int len = sizeof a;
    if (uv_tcp_getsockname(&net->listener, (struct sockaddr *)&a, &len) < 0)
        return 0;
    return ntohs(a.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&a)->sin6_port
                                         : ((struct sockaddr_in *)&a)->sin_port);
}

bool rd_net_is_up(const struct rd_net *net, size_t peer) {
    return net->out[peer].up;
}

size_t rd_net_queued(const struct rd_net *net, size_t peer) {
    const struct outgoing *o = &net->out[peer];
    return o->up ? uv_stream_get_write_queue_size((const uv_stream_t *)&o->connection->tcp) : 0;
}

void rd_net_get_counts(const struct rd_net *net, struct rd_net_counts *out) {
    *out = net->counts;
}

void rd_net_close(struct rd_net *net, void (*done)(void *context)) {
    net->closing = true;
    net->done = done;
    for (struct connection *c = net->connections; c; c = c->next)
        close_connection(c);
    for (size_t i = 0; i < net->config->peer_count; i++) {
        struct outgoing *o = &net->out[i];
        o->retry.data = net;
        uv_close((uv_handle_t *)&o->retry, net_handle_closed);
        if (o->resolving)
            uv_cancel((uv_req_t *)&o->resolve);
    }
    if (net->listening)
        uv_close((uv_handle_t *)&net->listener, net_handle_closed);
}
