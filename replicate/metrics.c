/* metrics.c: how this node is, for Prometheus: text format 0.0.4 over HTTP/1.0, on a loopback address. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon_internal.h"
#include "libcore/error.h"

#define REQUEST_MAX 4096u /* what a scraper sends is shorter */
#define SCRAPERS_MAX 16u
#define PATIENCE_MS 5000u

struct scraper {
    struct rd_metrics *all;
    struct scraper *next;
    uv_tcp_t tcp;
    uv_write_t write;
    struct es_buffer out;
    char in[REQUEST_MAX + 1];
    size_t len;
    uint64_t since;
    bool closing, answered;
};

struct rd_metrics {
    struct rd_daemon *d;
    uv_tcp_t listener;
    struct scraper *first;
    size_t count;
    bool closing;
};

static void scraper_closed(uv_handle_t *h) {
    struct scraper *s = h->data, **at = &s->all->first;
    while (*at != s)
        at = &(*at)->next;
    *at = s->next;
    s->all->count--;
    es_buffer_release(&s->out);
    free(s);
}

static void close_scraper(struct scraper *s) {
    if (!s->closing)
        uv_close((uv_handle_t *)&s->tcp, scraper_closed);
    s->closing = true;
}

/* ---- what is told ---- */

__attribute__((format(printf, 2, 3))) static void put(struct es_buffer *out, const char *format, ...) {
    char text[512];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    es_buffer_add(out, text, n < 0 ? 0 : (size_t)n < sizeof text ? (size_t)n : sizeof text - 1);
}

static void put_one(struct es_buffer *out, const char *name, const char *type, const char *help, uint64_t value) {
    put(out, "# HELP %s %s\n# TYPE %s %s\n%s %llu\n", name, help, name, type, name, (unsigned long long)value);
}

static void put_peers(const struct rd_daemon *d, struct es_buffer *out) {
    const struct rep_server *s;
    size_t count = rep_members(d->driver, &s);
    uint64_t last = rep_next_index(d->driver) - 1, match;
    put(out, "# HELP esdb_raft_voter Members: 1 has a vote, 0 is catching up.\n# TYPE esdb_raft_voter gauge\n");
    for (size_t i = 0; i < count; i++)
        put(out, "esdb_raft_voter{peer=\"%s\"} %d\n", s[i].address, s[i].role == REP_VOTER);
    put(out, "# HELP esdb_raft_peer_connected Is there a connection to the peer?\n"
             "# TYPE esdb_raft_peer_connected gauge\n");
    for (size_t i = 0; i < d->config->peer_count; i++)
        if (i != d->config->self)
            put(out, "esdb_raft_peer_connected{peer=\"%s\"} %d\n", d->config->peers[i].name, rd_net_is_up(d->net, i));
    if (!d->leads)
        return;
    put(out, "# HELP esdb_raft_match_index Newest frame that the peer confirmed; told by the leader.\n"
             "# TYPE esdb_raft_match_index gauge\n");
    for (size_t i = 0; i < count; i++)
        if (s[i].id != d->raft_id && rep_match(d->driver, s[i].id, &match))
            put(out, "esdb_raft_match_index{peer=\"%s\"} %llu\n", s[i].address, (unsigned long long)match);
    put(out, "# HELP esdb_raft_lag_frames Frames that the peer has not confirmed; told by the leader.\n"
             "# TYPE esdb_raft_lag_frames gauge\n");
    for (size_t i = 0; i < count; i++)
        if (s[i].id != d->raft_id && rep_match(d->driver, s[i].id, &match))
            put(out, "esdb_raft_lag_frames{peer=\"%s\"} %llu\n", s[i].address, (unsigned long long)(last - match));
    put(out, "# HELP esdb_raft_queued_bytes Bytes that wait to be sent to the peer.\n"
             "# TYPE esdb_raft_queued_bytes gauge\n");
    for (size_t i = 0; i < d->config->peer_count; i++)
        if (i != d->config->self)
            put(out, "esdb_raft_queued_bytes{peer=\"%s\"} %zu\n", d->config->peers[i].name, rd_net_queued(d->net, i));
}

static void put_metrics(const struct rd_daemon *d, struct es_buffer *out) {
    put_one(out, "esdb_raft_up", "gauge", "Does the node take part (1), or wait for a store (0)?", d->driver != NULL);
    if (!d->driver)
        return;
    put(out, "# HELP esdb_raft_role What the node is.\n# TYPE esdb_raft_role gauge\n");
    put(out, "esdb_raft_role{node=\"%s\",role=\"leader\"} %d\n", d->config->node, d->leads);
    put(out, "esdb_raft_role{node=\"%s\",role=\"follower\"} %d\n", d->config->node, !d->leads && d->leader != 0);
    put(out, "esdb_raft_role{node=\"%s\",role=\"candidate\"} %d\n", d->config->node, d->leader == 0);
    put_one(out, "esdb_raft_term", "gauge", "The term.", rep_term(d->driver));
    put_one(out, "esdb_raft_committed_index", "gauge", "Newest frame that is committed and durable here.",
            rep_committed(d->driver));
    put_one(out, "esdb_raft_last_index", "gauge", "Newest frame that is written here.", rep_next_index(d->driver) - 1);
    put_one(out, "esdb_raft_disk_full", "gauge", "Is there no room for frames?", d->full);
    put_one(out, "esdb_raft_elections_total", "counter", "Times that this node became the leader.",
            d->counted.elections);
    put_one(out, "esdb_requests_waiting", "gauge", "Appends that are not answered yet.",
            rd_requests_count(d->requests));
    put_one(out, "esdb_appends_total", "counter", "Appends that this node answered with a receipt.",
            d->counted.appends);
    put_one(out, "esdb_appended_events_total", "counter", "Events of these.", d->counted.events);
    put_one(out, "esdb_refusals_total", "counter", "Appends that this node answered with an error.",
            d->counted.refusals);
    put_one(out, "esdb_written_frames_total", "counter", "Frames written to this node's log.", d->counted.frames);
    put_one(out, "esdb_written_bytes_total", "counter", "Bytes of these that clients or the leader sent.",
            d->counted.bytes);
    put_peers(d, out);
}

/* ---- HTTP ---- */

static void written(uv_write_t *request, int status) {
    (void)status;
    close_scraper(request->handle->data);
}

static void answer(struct scraper *s) {
    struct es_buffer body = {0};
    bool found = strncmp(s->in, "GET /metrics ", 13) == 0 || strncmp(s->in, "GET / ", 6) == 0;
    s->answered = true;
    if (found)
        put_metrics(s->all->d, &body);
    else
        put(&body, "only GET /metrics\n");
    put(&s->out,
        "HTTP/1.0 %s\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nContent-Length: %zu\r\n"
        "Connection: close\r\n\r\n",
        found ? "200 OK" : "404 Not Found", body.len);
    es_buffer_add(&s->out, body.at, body.len);
    es_buffer_release(&body);
    uv_buf_t buf = uv_buf_init((char *)s->out.at, (unsigned)s->out.len);
    if (uv_write(&s->write, (uv_stream_t *)&s->tcp, &buf, 1, written) < 0)
        close_scraper(s);
}

static void give_memory(uv_handle_t *h, size_t suggested, uv_buf_t *buf) {
    struct scraper *s = h->data;
    (void)suggested;
    *buf = uv_buf_init(s->in + s->len, (unsigned)(REQUEST_MAX - s->len));
}

static void got_bytes(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf) {
    struct scraper *s = stream->data;
    (void)buf;
    if (n == 0 || s->closing)
        return;
    if (n < 0 || s->answered) {
        close_scraper(s);
        return;
    }
    s->len += (size_t)n;
    s->in[s->len] = '\0';
    if (strstr(s->in, "\r\n\r\n") || strstr(s->in, "\n\n"))
        answer(s);
    else if (s->len == REQUEST_MAX)
        close_scraper(s);
}

static void accept_scraper(uv_stream_t *listener, int status) {
    struct rd_metrics *m = listener->data;
    struct scraper *s = status < 0 ? NULL : calloc(1, sizeof *s);
    if (!s)
        return;
    s->all = m;
    s->since = rd_now(m->d);
    uv_tcp_init(&m->d->loop, &s->tcp);
    s->tcp.data = s;
    s->next = m->first;
    m->first = s;
    m->count++;
    if (uv_accept(listener, (uv_stream_t *)&s->tcp) < 0 || m->count > SCRAPERS_MAX ||
        uv_read_start((uv_stream_t *)&s->tcp, give_memory, got_bytes) < 0)
        close_scraper(s);
}

int rd_metrics_open(struct rd_daemon *d, struct rd_metrics **out, struct esdb_error *err) {
    const struct rd_address *a = &d->config->metrics;
    struct sockaddr_storage address;
    if (!a->host[0])
        return 0;
    if (!rd_address_loopback(a, &address))
        return es_fail(err, ESDB_EUSAGE, "metrics: %s: must be localhost, 127.x.y.z or [::1]", a->host);
    struct rd_metrics *m = calloc(1, sizeof *m);
    if (!m)
        return es_fail(err, -ENOMEM, "metrics");
    m->d = d;
    *out = m;
    uv_tcp_init(&d->loop, &m->listener);
    m->listener.data = m;
    int rc = uv_tcp_bind(&m->listener, (struct sockaddr *)&address, 0);
    if (rc == 0)
        rc = uv_listen((uv_stream_t *)&m->listener, 16, accept_scraper);
    return rc < 0 ? es_fail(err, rc, "metrics: %s:%u", a->host, a->port) : 0;
}

void rd_metrics_tick(struct rd_metrics *m) {
    for (struct scraper *s = m ? m->first : NULL; s; s = s->next)
        if (rd_now(m->d) - s->since > PATIENCE_MS)
            close_scraper(s);
}

void rd_metrics_close(struct rd_metrics *m) {
    if (!m || m->closing)
        return;
    m->closing = true;
    uv_close((uv_handle_t *)&m->listener, NULL);
    for (struct scraper *s = m->first; s; s = s->next)
        close_scraper(s);
}
