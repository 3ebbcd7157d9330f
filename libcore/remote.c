#include "remote.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "append_wire.h"
#include "error.h"
#include "format/bytes.h"
#include "os.h"

#define RETRY_MS 20
#define ANSWER_FIRST 512u /* the usual receipt comes whole, by one call */
#define GRACE_MS 2000     /* the daemon gives up first, and says why */

/* A question writes nothing anyway, and does not say so. */
static int unavailable(esdb *db, int code, bool asks, struct esdb_error *err) {
    return es_fail(err, ESDB_EUNAVAILABLE, "%s/" ES_SOCKET ": %s: esdb-raftd does not run here%s", db->path,
                   esdb_strerror(code), asks ? "" : "; nothing was written");
}

/* A daemon that is just being started is waited for. */
static int connect_daemon(esdb *db, uint64_t deadline, bool asks, struct esdb_error *err) {
    while (db->daemon < 0) {
        int fd = es_connect_local(db->dir, ES_SOCKET);
        if (fd >= 0) {
            db->daemon = fd;
            return 0;
        }
        if (fd == -EACCES || fd == -EPERM)
            return es_fail(err, ESDB_EDENIED, "%s/" ES_SOCKET ": %s", db->path, esdb_strerror(fd));
        if (es_monotonic_ms() >= deadline || (fd != -ECONNREFUSED && fd != -ENOENT && fd != -EAGAIN))
            return unavailable(db, fd, asks, err);
        es_sleep_ms(RETRY_MS);
    }
    return 0;
}

/* A part of a request is nothing to the daemon: after a failure here nothing was written. */
static int send_request(esdb *db, const struct es_buffer *request, uint64_t deadline, bool asks,
                        struct esdb_error *err) {
    for (bool again = true;; again = false) {
        bool fresh = db->daemon < 0;
        int rc = connect_daemon(db, deadline, asks, err);
        if (rc < 0)
            return rc;
        rc = es_send_all(db->daemon, request->at, request->len, deadline);
        if (rc == 0)
            return 0;
        es_close(&db->daemon);
        if (fresh || !again) /* one that was kept may have been closed by a daemon that was restarted */
            return unavailable(db, rc, asks, err);
    }
}

static int lost(esdb *db, int code, struct esdb_error *err) {
    es_close(&db->daemon);
    return es_fail(err, ESDB_EUNKNOWN,
                   "%s: the daemon did not answer (%s): whether the event was stored is unknown (a retry with the same "
                   "event_id and --idempotent is safe)",
                   db->path, code == 0 ? "it closed the connection" : esdb_strerror(code));
}

static int receive_answer(esdb *db, uint64_t number, struct es_buffer *answer, uint64_t deadline,
                          struct esdb_error *err) {
    unsigned char first[ANSWER_FIRST];
    ssize_t n = es_receive_some(db->daemon, first, sizeof first, deadline);
    size_t got = n > 0 ? (size_t)n : 0;
    int rc = n < 0 ? (int)n : 0;
    if (rc == 0 && got < ES_WIRE_HEAD) {
        rc = es_receive_all(db->daemon, first + got, ES_WIRE_HEAD - got, deadline);
        got = ES_WIRE_HEAD;
    }
    if (rc < 0)
        return lost(db, rc == -EPIPE ? 0 : rc, err);
    size_t size = es_wire_size(first, ES_WIRE_ANSWER);
    if (size < got || fmt_get64(first + 8) != number || es_buffer_reserve(answer, size) < 0)
        return lost(db, -EPROTO, err);
    es_buffer_add(answer, first, got);
    rc = es_receive_all(db->daemon, answer->at + got, size - got, deadline);
    answer->len = size;
    return rc < 0 ? lost(db, rc == -EPIPE ? 0 : rc, err) : 0;
}

/* One try. *lost: the daemon may have it, and does not answer. */
static int try_once(esdb *db, struct es_append_request *r, esdb_batch *b, uint64_t deadline, bool *lost,
                    struct esdb_receipt *out, struct esdb_error *err) {
    struct es_buffer request = {0}, answer = {0};
    r->number = ++db->daemon_requests;
    int rc = es_append_encode(r, b, &request);
    if (rc < 0)
        es_fail(err, rc, "%s", db->path);
    if (rc == 0)
        rc = send_request(db, &request, deadline, false, err);
    if (rc == 0) {
        rc = receive_answer(db, r->number, &answer, deadline + GRACE_MS, err);
        *lost = rc < 0;
    }
    if (rc == 0)
        rc = es_answer_decode(answer.at, answer.len, b, out, err);
    es_buffer_release(&request);
    es_buffer_release(&answer);
    return rc;
}

/* A daemon that goes away before it answers is asked again, or the one that follows it: events have their ids, so that they are
 * written once. */
int es_append_remote(esdb *db, esdb_batch *b, unsigned flags, struct esdb_receipt *out, struct esdb_error *err) {
    const unsigned by_id = ESDB_IDEMPOTENT | ESDB_IDEMPOTENT_ANYWHERE;
    struct es_append_request r = {.flags = flags & (by_id | ESDB_USE_RESERVE)};
    uint64_t now = es_monotonic_ms(), deadline = now + (uint64_t)db->lock_timeout_ms;
    struct esdb_error unknown = {0};
    for (;;) {
        struct esdb_error why = {0};
        bool gone = false, repeated = unknown.code != 0;
        r.timeout_ms = (uint32_t)(deadline > now ? deadline - now : 0);
        int rc = try_once(db, &r, b, deadline, &gone, out, &why);
        now = es_monotonic_ms();
        if (gone && now < deadline) {
            if (!repeated)
                unknown = why;
            r.flags |= flags & by_id ? 0 : ESDB_IDEMPOTENT;
            es_sleep_ms(RETRY_MS);
            continue;
        }
        if (rc == ESDB_EUNAVAILABLE && repeated) { /* not by this try, but maybe by an earlier one */
            rc = ESDB_EUNKNOWN;
            why = unknown;
        }
        if (rc == 0 && repeated && !(flags & by_id))
            out->existed = false; /* it was this call that wrote it */
        if (rc < 0 && err && err->code == 0)
            *err = why;
        return rc;
    }
}

/* grace: how much longer the daemon may take than the time that it was given itself. */
static int ask(esdb *db, const char *question, uint64_t grace, char **answer, struct esdb_error *err) {
    unsigned char head[ES_WIRE_HEAD] = {0}, code[4];
    size_t len = strlen(question);
    uint64_t deadline = es_monotonic_ms() + (uint64_t)db->lock_timeout_ms;
    struct es_buffer request = {0};
    if (!db->settings.replicated)
        return es_fail(err, ESDB_EUSAGE, "%s: is not a replicated store", db->path);
    if (len > ES_WIRE_QUESTION_MAX)
        return es_fail(err, ESDB_EUSAGE, "the question is too long");
    fmt_put16(head, ES_WIRE_QUESTION);
    fmt_put32(head + 4, (uint32_t)(sizeof head + len));
    int rc = es_buffer_add(&request, head, sizeof head);
    if (rc == 0)
        rc = es_buffer_add(&request, question, len);
    if (rc == 0)
        rc = send_request(db, &request, deadline, true, err);
    es_buffer_release(&request);
    if (rc < 0)
        return rc;
    deadline += grace;
    rc = es_receive_all(db->daemon, head, sizeof head, deadline);
    size_t size = rc == 0 ? es_wire_size(head, ES_WIRE_TEXT) : 0;
    char *text = size >= sizeof head + 4 ? malloc(size - sizeof head - 4 + 1) : NULL;
    if (text)
        rc = es_receive_all(db->daemon, code, sizeof code, deadline);
    if (text && rc == 0)
        rc = es_receive_all(db->daemon, text, size - sizeof head - 4, deadline);
    if (!text || rc < 0) {
        free(text);
        es_close(&db->daemon);
        return es_fail(err, ESDB_EUNAVAILABLE, "%s/" ES_SOCKET ": the daemon did not answer", db->path);
    }
    text[size - sizeof head - 4] = '\0';
    rc = (int)(int32_t)fmt_get32(code);
    if (rc < 0) {
        es_fail(err, rc, "%s", text);
        free(text);
        return rc;
    }
    *answer = text;
    return 0;
}

int esdb_cluster_ask(esdb *db, const char *question, char **answer, struct esdb_error *err) {
    return ask(db, question, 0, answer, err);
}

int esdb_confirm(esdb *db, int timeout_ms, struct esdb_error *err) {
    char question[40], *answer;
    int patience = db->lock_timeout_ms;
    if (!db->settings.replicated)
        return 0;
    snprintf(question, sizeof question, "confirm %d", timeout_ms);
    db->lock_timeout_ms = timeout_ms;
    int rc = ask(db, question, GRACE_MS, &answer, err);
    db->lock_timeout_ms = patience;
    if (rc == 0)
        free(answer);
    return rc;
}
