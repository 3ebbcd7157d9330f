#include "archive_child.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "buffer.h"
#include "helper.h"
#include "os.h"
#include "os_child.h"

#define HELPER "esdb-tar"
#define SILENCE_MS 60000 /* without a sign of life while one is awaited */
#define ENDING_MS 1000

struct run {
    const char *name;
    bool unpack;
    const struct es_tar_ends *ends;
    struct es_process process;
    /* what is being sent */
    struct es_tar_message out;
    const void *out_bytes;
    size_t sent;
    bool greeted, has_out, all_sent, deaf; /* deaf: the helper takes no more; it may have something to say */
    /* what is being received */
    struct es_buffer in;
    bool ready, ended;
};

static int refused(struct run *r, int code, const char *what, struct esdb_error *err) {
    return es_fail(err, code, "%s: %s", r->name, what);
}

/* Sends what the socket takes. */
static int push(struct run *r, const struct es_tar_start *start, struct esdb_error *err) {
    while (!r->all_sent && !r->deaf) {
        struct iovec parts[2];
        if (r->greeted && !r->has_out) {
            int rc = r->ends->next(r->ends->context, &r->out, &r->out_bytes, err);
            if (rc < 0)
                return rc;
            r->has_out = true;
            r->sent = 0;
        }
        size_t head = r->greeted ? sizeof r->out : sizeof *start, len = r->greeted ? r->out.len : 0;
        const char *at = r->greeted ? (const char *)&r->out : (const char *)start;
        size_t in_head = r->sent < head ? r->sent : head;
        parts[0] = (struct iovec){(char *)(uintptr_t)at + in_head, head - in_head};
        parts[1] = (struct iovec){(char *)(uintptr_t)r->out_bytes + (r->sent - in_head), len - (r->sent - in_head)};
        ssize_t n = es_socket_send(r->process.fd, parts, len > 0 ? 2 : 1);
        if (n == -EAGAIN)
            return 0;
        if (n < 0) {
            r->deaf = true;
            return 0;
        }
        r->sent += (size_t)n;
        if (r->sent < head + len)
            continue;
        r->all_sent = r->greeted && r->out.kind == ES_TAR_END;
        r->greeted = true;
        r->has_out = false;
    }
    return 0;
}

/* One whole message. */
static int take(struct run *r, const struct es_tar_message *m, const unsigned char *bytes, struct esdb_error *err) {
    char text[ES_TAR_TEXT_MAX + 1];
    if (m->kind == ES_TAR_FAILED) {
        size_t len = m->len < ES_TAR_TEXT_MAX ? m->len : ES_TAR_TEXT_MAX;
        memcpy(text, bytes, len);
        text[len] = '\0';
        return refused(r, !r->ready ? ESDB_EUSAGE : r->unpack ? ESDB_ECORRUPT : ESDB_EUNAVAILABLE, text, err);
    }
    bool first = !r->ready;
    r->ready = true;
    if (first != (m->kind == ES_TAR_READY) || r->ended)
        return refused(r, ESDB_EDENIED, "the helper " HELPER " said something that it must not say", err);
    if (first)
        return 0;
    r->ended = m->kind == ES_TAR_END;
    if (r->ended)
        return 0;
    if (m->kind == ES_TAR_DATA || (m->kind == ES_TAR_MEMBER && r->unpack && m->len == sizeof(struct es_tar_member)))
        return r->ends->take(r->ends->context, m->kind, bytes, m->len, err);
    return refused(r, ESDB_EDENIED, "the helper " HELPER " said something that it must not say", err);
}

/* Receives what is there. *more: false: the helper has hung up. */
static int pull(struct run *r, bool *more, struct esdb_error *err) {
    struct es_tar_message m;
    *more = true;
    if (es_buffer_reserve(&r->in, sizeof m + ES_TAR_DATA_MAX) < 0)
        return refused(r, -ENOMEM, "reading it", err);
    ssize_t n = es_socket_receive(r->process.fd, r->in.at + r->in.len, r->in.room - r->in.len);
    if (n == -EAGAIN)
        return 0;
    *more = n > 0;
    if (n > 0)
        r->in.len += (size_t)n;
    size_t at = 0;
    int rc = 0;
    while (rc == 0 && r->in.len - at >= sizeof m) {
        memcpy(&m, r->in.at + at, sizeof m);
        if (m.len > ES_TAR_DATA_MAX)
            return refused(r, ESDB_EDENIED, "the helper " HELPER " said something that it must not say", err);
        if (r->in.len - at < sizeof m + m.len)
            break;
        rc = take(r, &m, r->in.at + at + sizeof m, err);
        at += sizeof m + m.len;
    }
    memmove(r->in.at, r->in.at + at, r->in.len - at);
    r->in.len -= at;
    return rc;
}

/* It has hung up before the end. */
static int hung_up(struct run *r, struct esdb_error *err) {
    int status = 0;
    es_close(&r->process.fd);
    int rc = es_process_wait(&r->process, ENDING_MS, &status);
    if (rc == 0 && WIFEXITED(status) && WEXITSTATUS(status) == 127)
        return refused(r, ESDB_EUSAGE, "the helper " HELPER " cannot be started: is libarchive installed?", err);
    if (rc == 0 && WIFEXITED(status) && WEXITSTATUS(status) == ES_TAR_EXIT_PROTOCOL)
        return refused(r, ESDB_EUSAGE, "the helper " HELPER " is of another release", err);
    int code = r->unpack ? ESDB_ECORRUPT : ESDB_EUNAVAILABLE;
    if (rc == 0 && WIFEXITED(status) && WEXITSTATUS(status) == ES_TAR_EXIT_TIMEOUT)
        return refused(r, code, "takes more than 300 s of processor time", err);
    if (rc == 0 && WIFSIGNALED(status) && WTERMSIG(status) != 9 && WTERMSIG(status) != 15)
        return refused(r, code, "libarchive crashed, or asked the system for something forbidden", err);
    return refused(r, ESDB_EUNAVAILABLE, "the helper " HELPER " was ended from outside", err);
}

static int converse(struct run *r, struct esdb_error *err) {
    struct es_tar_start start = {ES_TAR_MAGIC, ES_TAR_VERSION, r->unpack, (uint32_t)es_process_id()};
    uint64_t heard = es_monotonic_ms();
    bool more = true;
    int rc = 0;
    while (rc == 0 && more && !r->ended) {
        rc = push(r, &start, err);
        if (rc < 0)
            break;
        struct pollfd p = {.fd = r->process.fd, .events = POLLIN};
        if (!r->all_sent && !r->deaf)
            p.events |= POLLOUT;
        int n = es_poll(&p, 1, 1000);
        if (n < 0 && n != -EINTR)
            return refused(r, n, "waiting for the helper " HELPER, err);
        if (n > 0)
            heard = es_monotonic_ms();
        else if (es_monotonic_ms() - heard > SILENCE_MS)
            return refused(r, ESDB_EUNAVAILABLE, "the helper " HELPER " has not been heard of for 60 s", err);
        if (n > 0 && p.revents & (POLLIN | POLLHUP | POLLERR))
            rc = pull(r, &more, err);
    }
    return rc < 0 || r->ended ? rc : hung_up(r, err);
}

int es_tar_run(bool unpack, const char *name, const struct es_tar_ends *ends, struct esdb_error *err) {
    struct run r = {.name = name, .unpack = unpack, .ends = ends};
    char path[4096];
    int rc = es_find_helper(HELPER, "archives need", path, sizeof path, err);
    if (rc < 0)
        return rc;
    rc = es_process_start(path, &r.process);
    if (rc < 0)
        return es_fail(err, rc, "%s", path);
    rc = converse(&r, err);
    es_process_release(&r.process);
    es_buffer_release(&r.in);
    return rc;
}
