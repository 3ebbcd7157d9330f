/* clients.c: the socket of local tools, esdb.sock in the store. Who may write the store's files may connect.
 *
 * A client has one request under way at a time; nothing more is read of it until that is answered. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon_internal.h"
#include "format/bytes.h"
#include "libcore/append_wire.h"
#include "libcore/error.h"
#include "libcore/remote.h"

#define READ_SIZE (256u << 10)
#define CONFIRM_MAX_MS 3600000u

struct client {
    struct rd_clients *all;
    struct client *next;
    uv_pipe_t pipe;
    struct es_buffer in;
    bool asked, closing;
};

struct rd_clients {
    struct rd_daemon *d;
    uv_pipe_t listener;
    char path[RD_PATH_ROOM + 16];
    struct client *first;
    size_t count;
    bool listening;
    char memory[READ_SIZE];
};

static void client_closed(uv_handle_t *h) {
    struct client *c = h->data;
    struct client **at = &c->all->first;
    while (*at != c)
        at = &(*at)->next;
    *at = c->next;
    c->all->count--;
    es_buffer_release(&c->in);
    free(c);
}

static void close_client(struct client *c) {
    if (c->closing)
        return;
    c->closing = true;
    if (c->asked)
        rd_requests_forget(c->all->d->requests, c);
    if (c->asked)
        rd_reads_forget(c->all->d->reads, c);
    uv_close((uv_handle_t *)&c->pipe, client_closed);
}

static void give_memory(uv_handle_t *h, size_t suggested, uv_buf_t *buf) {
    struct client *c = h->data;
    (void)suggested;
    *buf = uv_buf_init(c->all->memory, sizeof c->all->memory);
}

/* The text stands behind the head and the code. */
static void answer_text(struct client *c, uint64_t number, int code, struct es_buffer *out) {
    fmt_put16(out->at, ES_WIRE_TEXT);
    fmt_put32(out->at + 4, (uint32_t)out->len);
    fmt_put64(out->at + 8, number);
    fmt_put32(out->at + ES_WIRE_HEAD, (uint32_t)code);
    rd_client_answer(c, out->at, out->len);
}

void rd_client_text(void *client, uint64_t number, int code, const char *text) {
    unsigned char head[ES_WIRE_HEAD + 4] = {0};
    struct es_buffer out = {0};
    if (es_buffer_add(&out, head, sizeof head) == 0 && es_buffer_add(&out, text, strlen(text)) == 0)
        answer_text(client, number, code, &out);
    else
        close_client(client);
    es_buffer_release(&out);
}

/* The whole question is in c->in. */
static void take_question(struct client *c) {
    char question[ES_WIRE_QUESTION_MAX + 1] = {0};
    unsigned char head[ES_WIRE_HEAD + 4] = {0};
    struct es_buffer out = {0};
    memcpy(question, c->in.at + ES_WIRE_HEAD, c->in.len - ES_WIRE_HEAD);
    es_buffer_add(&out, head, sizeof head);
    uint64_t number = fmt_get64(c->in.at + 8);
    c->in.len = 0;
    if (strncmp(question, "confirm ", 8) == 0) {
        uint64_t ms = strtoull(question + 8, NULL, 10);
        c->asked = true;
        rd_reads_add(c->all->d->reads, c, number, ms < CONFIRM_MAX_MS ? ms : CONFIRM_MAX_MS);
        return;
    }
    int code = rd_status_answer(c->all->d, question, &out);
    if (out.len >= sizeof head)
        answer_text(c, number, code, &out);
    es_buffer_release(&out);
}

static void got_bytes(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf) {
    struct client *c = stream->data;
    if (n == 0 || c->closing)
        return;
    if (n < 0 || c->asked || es_buffer_add(&c->in, buf->base, (size_t)n) < 0) {
        close_client(c);
        return;
    }
    if (c->in.len < ES_WIRE_HEAD)
        return;
    bool question = fmt_get16(c->in.at) == ES_WIRE_QUESTION;
    size_t size = es_wire_size(c->in.at, question ? ES_WIRE_QUESTION : ES_WIRE_APPEND);
    if (size == 0 || (question && size > ES_WIRE_HEAD + ES_WIRE_QUESTION_MAX) || c->in.len > size) {
        rd_say(c->all->d, "a client of %s sent something that is no request", ES_SOCKET);
        close_client(c);
        return;
    }
    if (c->in.len < size)
        return;
    if (question) {
        take_question(c);
        return;
    }
    c->asked = true; /* a client that closes is noticed when it is answered, or here */
    rd_requests_add(c->all->d->requests, c, c->in.at, c->in.len);
    if (c->in.room > READ_SIZE * 4)
        es_buffer_release(&c->in);
    c->in.len = 0;
}

struct write {
    uv_write_t request;
    char bytes[];
};

static void written(uv_write_t *request, int status) {
    struct client *c = request->handle->data;
    if (status < 0)
        close_client(c);
    free(request);
}

void rd_client_answer(void *client, const unsigned char *bytes, size_t len) {
    struct client *c = client;
    uv_buf_t buf = uv_buf_init((char *)(uintptr_t)bytes, (unsigned)len);
    c->asked = false;
    /* almost always the socket takes it whole, without a look at it by epoll; an error comes again, to written */
    int n = uv_try_write((uv_stream_t *)&c->pipe, &buf, 1);
    size_t done = n > 0 ? (size_t)n : 0;
    if (done == len)
        return;
    struct write *w = malloc(sizeof *w + len - done);
    if (!w) {
        close_client(c);
        return;
    }
    memcpy(w->bytes, bytes + done, len - done);
    buf = uv_buf_init(w->bytes, (unsigned)(len - done));
    if (uv_write(&w->request, (uv_stream_t *)&c->pipe, &buf, 1, written) < 0) {
        free(w);
        close_client(c);
    }
}

static void accept_client(uv_stream_t *listener, int status) {
    struct rd_clients *all = listener->data;
    struct client *c = status < 0 ? NULL : calloc(1, sizeof *c);
    if (!c)
        return;
    c->all = all;
    uv_pipe_init(&all->d->loop, &c->pipe, 0);
    c->pipe.data = c;
    c->next = all->first;
    all->first = c;
    all->count++;
    if (uv_accept(listener, (uv_stream_t *)&c->pipe) < 0 || all->count > all->d->config->clients_max ||
        uv_read_start((uv_stream_t *)&c->pipe, give_memory, got_bytes) < 0)
        close_client(c);
}

/* The socket takes owner, group and write permission of the store's directory. */
static int set_permissions(const struct rd_clients *c, struct esdb_error *err) {
    struct stat st;
    if (stat(c->d->options->store, &st) < 0)
        return es_fail(err, -errno, "%s", c->d->options->store);
    if (geteuid() == 0 && lchown(c->path, st.st_uid, st.st_gid) < 0)
        return es_fail(err, -errno, "%s", c->path);
    if (chmod(c->path, 0600 | (st.st_mode & 0020 ? 0060 : 0)) < 0)
        return es_fail(err, -errno, "%s", c->path);
    return 0;
}

int rd_clients_open(struct rd_daemon *d, struct rd_clients **out, struct esdb_error *err) {
    struct rd_clients *c = calloc(1, sizeof *c);
    if (!c)
        return es_fail(err, -ENOMEM, "clients");
    c->d = d;
    *out = c;
    snprintf(c->path, sizeof c->path, "%s/" ES_SOCKET, d->options->store);
    if (strlen(c->path) >= 108)
        return es_fail(err, ESDB_EUSAGE, "%s: the path is too long for a socket (107 bytes)", c->path);
    unlink(c->path); /* of a daemon that died; the store is ours, or we would not be here */
    uv_pipe_init(&d->loop, &c->listener, 0);
    c->listener.data = c;
    c->listening = true;
    mode_t mask = umask(0177);
    int rc = uv_pipe_bind(&c->listener, c->path);
    umask(mask);
    if (rc < 0)
        return es_fail(err, rc, "%s", c->path);
    rc = set_permissions(c, err);
    if (rc < 0)
        return rc;
    rc = uv_listen((uv_stream_t *)&c->listener, 128, accept_client);
    return rc < 0 ? es_fail(err, rc, "%s", c->path) : 0;
}

static void listener_closed(uv_handle_t *h) {
    (void)h;
}

void rd_clients_close(struct rd_clients *c) {
    if (!c)
        return;
    if (c->listening)
        uv_close((uv_handle_t *)&c->listener, listener_closed); /* removes the socket */
    c->listening = false;
    for (struct client *k = c->first; k; k = k->next)
        close_client(k);
}
