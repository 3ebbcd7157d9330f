/* requests.c: appends on their way.
 *
 *     QUEUED ----- this node leads: prepared, submitted -----> SUBMITTED --- committed --> answered
 *       |  ^                                                      | another entry is there: nothing was written
 *       |  +-----------------------------------------------------+
 *       |  +-- lost its connection, or its leader: again, by event ids --+
 *       v  |                                                             |
 *     another node leads: FORWARDED ------------------------------------+--- answer of the leader --> answered
 *
 *     WAITING: the answer is known, but rests on frames that are not committed yet (a conflict, events that exist).
 *
 * Only the origin of a request repeats it. Once somebody else may have written it, it is repeated with ESDB_IDEMPOTENT, so
 * that it is written once; when time is up before anybody knows, the outcome is unknown.
 *
 * A copy that was forwarded may arrive late, when another one, or a retry of the client through another node, is written
 * already; nothing would recognize it then. So it is good for one term, in which a leader knows all that was written before,
 * and until the client is told that the outcome is unknown. That moment is given in the leader's clock, which it tells all the
 * time: what was heard last and the time since then are never more than what its clock says. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon_internal.h"
#include "format/bytes.h"
#include "format/frame.h"
#include "libcore/append_wire.h"
#include "libcore/error.h"

#define FORWARD_MARGIN_MS 100
#define TIMEOUT_MAX_MS 3600000u

enum state { QUEUED, SUBMITTED, FORWARDED, WAITING, GONE };

struct request {
    struct request *next;
    struct rd_requests *all;
    enum state state;
    void *client; /* of a local one; NULL: it has gone, or it is a peer's */
    bool local;
    size_t peer;                    /* whose; of a forwarded one: the leader that has it */
    uint64_t origin;                /* raft id of the peer that sent it: another one would not know it */
    uint64_t client_number, number; /* of who asked; of ours */
    uint64_t deadline;
    uint64_t term; /* of a peer's: the only one in which it may be written */
    unsigned flags;
    bool repeated; /* somebody may have written it */
    esdb_batch *batch;
    struct es_buffer bytes;  /* the request, to be forwarded */
    uint64_t index;          /* SUBMITTED: of its frame */
    struct es_buffer answer; /* WAITING */
    uint64_t rests;          /* WAITING: until this is committed */
};

struct rd_requests {
    struct rd_daemon *d;
    struct request *first, **last;
    size_t count;
    uint64_t number;
    unsigned walking; /* somebody goes along the list: what is gone stays in it until then */
    bool any_gone;
};

int rd_requests_open(struct rd_daemon *d, struct rd_requests **out) {
    struct rd_requests *r = calloc(1, sizeof *r);
    if (!r)
        return -ENOMEM;
    r->d = d;
    r->last = &r->first;
    *out = r;
    return 0;
}

static void free_request(struct request *q) {
    esdb_batch_close(q->batch);
    es_buffer_release(&q->bytes);
    es_buffer_release(&q->answer);
    free(q);
}

void rd_requests_close(struct rd_requests *r) {
    while (r && r->first) {
        struct request *q = r->first;
        r->first = q->next;
        free_request(q);
    }
    free(r);
}

size_t rd_requests_count(const struct rd_requests *r) {
    return r->count;
}

/* Each walk along the list stands between walk and walked: what happens on the way may end other requests. */
static struct request *walk(struct rd_requests *r) {
    r->walking++;
    return r->first;
}

static void walked(struct rd_requests *r) {
    if (--r->walking > 0 || !r->any_gone)
        return;
    r->any_gone = false;
    for (struct request **at = &r->first; *at;) {
        struct request *q = *at;
        if (q->state != GONE) {
            at = &q->next;
            continue;
        }
        *at = q->next;
        free_request(q);
    }
    r->last = &r->first;
    while (*r->last)
        r->last = &(*r->last)->next;
}

static void drop(struct request *q) {
    struct rd_requests *r = q->all;
    walk(r);
    q->state = GONE;
    q->client = NULL;
    r->any_gone = true;
    r->count--;
    walked(r);
}

/* ---- answers ---- */

static void deliver(struct request *q, const unsigned char *bytes, size_t len) {
    struct rd_daemon *d = q->all->d;
    if (q->local && q->client)
        rd_client_answer(q->client, bytes, len);
    else if (!q->local && d->peers[q->peer].raft_id == q->origin)
        rd_net_send(d->net, q->peer, &(struct rep_bytes){bytes, len}, 1);
    drop(q);
}

static void answer(struct request *q, int code, const struct esdb_receipt *receipt, const struct esdb_error *err) {
    struct es_buffer out = {0};
    struct rd_requests *r = q->all;
    r->d->counted.appends += code == 0;
    r->d->counted.events += code == 0 && receipt ? receipt->count : 0;
    r->d->counted.refusals += code < 0;
    if (es_answer_encode(q->client_number, code, receipt, err, &out) < 0)
        rd_daemon_stop(r->d, es_fail(r->d->err, -ENOMEM, "an answer"));
    else
        deliver(q, out.at, out.len);
    es_buffer_release(&out);
}

__attribute__((format(printf, 3, 4))) static void refuse(struct request *q, int code, const char *format, ...) {
    struct esdb_error err = {.code = code};
    va_list args;
    va_start(args, format);
    vsnprintf(err.text, sizeof err.text, format, args);
    va_end(args);
    answer(q, code, NULL, &err);
}

void rd_explain(const struct rd_daemon *d, char *out, size_t room) {
    if (d->ready && !rd_members_enough(d))
        snprintf(out, room, "too few of the configured nodes have joined");
    else if (d->leader == 0 && rd_is_removed(d, d->config->node))
        snprintf(out, room, "this node, %s, was removed from the nodes of the store", d->config->node);
    else if (d->leader == 0)
        snprintf(out, room, "there is no leader: no majority of the nodes can be reached from %s", d->config->node);
    else
        snprintf(out, room, "the leader, %s, did not take it in time", rd_member_name(d, d->leader));
}

static void time_is_up(struct request *q) {
    char why[200];
    rd_explain(q->all->d, why, sizeof why);
    if (q->repeated || q->state == SUBMITTED || q->state == FORWARDED)
        refuse(q, ESDB_EUNKNOWN,
               "%s: not confirmed in time by a majority: whether the event was stored is unknown (a retry with the "
               "same event_id and --idempotent is safe)",
               q->all->d->options->store);
    else
        refuse(q, ESDB_EUNAVAILABLE, "%s: %s; nothing was written", q->all->d->options->store, why);
}

/* ---- on the leader ---- */

/* The answer is decided, once what it rests on is committed. */
static void wait_for(struct request *q, int code, const struct esdb_receipt *receipt, const struct esdb_error *err,
                     uint64_t rests) {
    if (rep_committed(q->all->d->driver) >= rests) {
        answer(q, code, receipt, err);
        return;
    }
    q->answer.len = 0;
    if (es_answer_encode(q->client_number, code, receipt, err, &q->answer) < 0)
        return; /* stays queued, is tried again */
    q->state = WAITING;
    q->rests = rests;
}

/* Ends the segment first. False: not now. */
static bool roll(struct rd_requests *r) {
    const struct rep_entry barrier = {.index = rep_next_index(r->d->driver),
                                      .term = rep_term(r->d->driver),
                                      .kind = FMT_FRAME_BARRIER,
                                      .flags = FMT_FRAME_ROLLS};
    int rc = rep_submit(r->d->driver, rd_now(r->d), &barrier, 1, NULL);
    rd_daemon_act(r->d, rc == REP_EBUSY || rc == REP_ENOTLEADER ? 0 : rc);
    return rc == 0;
}

static bool no_room(struct request *q) {
    if (q->all->d->stopping)
        return false;
    refuse(q, -ENOSPC, "%s: allocating space for the log on the leader, %s; this frame was not written: %s",
           q->all->d->options->store, q->all->d->config->node, esdb_strerror(-ENOSPC));
    return true;
}

/* A peer's request that comes in another term, or when its client may have asked somebody else already. */
static bool is_late(const struct request *q) {
    const struct rd_daemon *d = q->all->d;
    return !q->local && (q->term != rep_term(d->driver) || rd_now(d) >= q->deadline);
}

/* False: not now; it stays queued, and those behind it too. */
static bool submit(struct request *q) {
    struct rd_daemon *d = q->all->d;
    struct rep_entry entry;
    struct esdb_error err = {0};
    struct esdb_receipt receipt = {0};
    uint64_t rests = 0;
    unsigned flags = q->flags | (q->repeated ? ESDB_IDEMPOTENT : 0);
    if (is_late(q)) {
        refuse(q, RD_ENOTLEADER, "too late");
        return true;
    }
    int rc = rd_log_prepare(d->log, q->batch, flags, rep_term(d->driver), &entry, &receipt, &rests, &err);
    if (rc == RD_LOG_ROLL) {
        if (!rd_room_for_client(d, FMT_FRAME_HEADER_SIZE, flags))
            return no_room(q);
        if (!roll(q->all))
            return false;
        rc = rd_log_prepare(d->log, q->batch, flags, rep_term(d->driver), &entry, &receipt, &rests, &err);
        if (rc == RD_LOG_ROLL)
            return false;
    }
    if (rc == ESDB_EPOISONED) {
        *d->err = err;
        rd_daemon_stop(d, rc);
        return false;
    }
    if (rc != 0) {
        if (rc == ESDB_END && !(q->flags & (ESDB_IDEMPOTENT | ESDB_IDEMPOTENT_ANYWHERE)))
            receipt.existed = false; /* it was this very request that wrote it */
        wait_for(q, rc == ESDB_END ? 0 : rc, &receipt, &err, rests);
        return true;
    }
    if (!rd_room_for_client(d, entry.frame_len, flags))
        return no_room(q);
    q->index = entry.index;
    q->state = SUBMITTED; /* before: what it leads to may come at once */
    rc = rep_submit(d->driver, rd_now(d), &entry, 1, (void *)(uintptr_t)q->number);
    if (rc == REP_EBUSY || rc == REP_ENOTLEADER) {
        q->state = QUEUED;
        rd_daemon_act(d, 0);
        return false;
    }
    rd_daemon_act(d, rc);
    return rc == 0;
}

void rd_requests_answered(struct rd_requests *r, void *token, enum rep_answer result) {
    struct request *q = r->first;
    while (q && !(q->state == SUBMITTED && q->number == (uintptr_t)token))
        q = q->next;
    if (!q) /* time was up before */
        return;
    if (result == REP_WRITTEN) {
        struct esdb_receipt receipt;
        struct esdb_error err = {0};
        int rc = rd_log_receipt(r->d->log, q->batch, q->index, &receipt, &err);
        answer(q, rc < 0 ? ESDB_EUNKNOWN : 0, &receipt, &err);
    } else if (q->local)
        q->state = QUEUED; /* another entry took its place: it was not written and never will be */
    else
        refuse(q, RD_ENOTLEADER, "not the leader");
}

void rd_requests_committed(struct rd_requests *r) {
    uint64_t committed = rep_committed(r->d->driver);
    for (struct request *q = walk(r); q; q = q->next)
        if (q->state == WAITING && q->rests <= committed)
            deliver(q, q->answer.at, q->answer.len);
    walked(r);
}

/* ---- to the leader ---- */

/* False: it cannot be reached now. */
static bool forward(struct request *q) {
    struct rd_daemon *d = q->all->d;
    size_t leader = rd_member_peer(d, d->leader);
    uint64_t now = rd_now(d);
    unsigned char head[RD_FORWARD_HEAD] = {0};
    if (leader == d->config->peer_count || !rd_net_is_up(d->net, leader) || q->deadline <= now)
        return false;
    const struct rd_peer *p = &d->peers[leader];
    if (p->clock == 0) /* it will tell in a moment */
        return false;
    uint64_t left = q->deadline - now, margin = left > 2 * FORWARD_MARGIN_MS ? FORWARD_MARGIN_MS : 1;
    q->number = ++q->all->number; /* an answer to an earlier copy is none to this one */
    fmt_put64(q->bytes.at + 8, q->number);
    fmt_put32(q->bytes.at + 16, q->flags | (q->repeated ? ESDB_IDEMPOTENT : 0));
    fmt_put16(head, RD_FORWARD);
    fmt_put32(head + 4, (uint32_t)(sizeof head + q->bytes.len));
    fmt_put64(head + 8, q->number);
    fmt_put64(head + 16, d->term);
    fmt_put64(head + 24, p->clock + (q->deadline - p->clock_heard) - margin);
    const struct rep_bytes parts[] = {{head, sizeof head}, {q->bytes.at, q->bytes.len}};
    if (!rd_net_send(d->net, leader, parts, 2))
        return false;
    q->state = FORWARDED;
    q->peer = leader;
    return true;
}

/* What a leader that is gone may have written or not is asked for again. */
static void again(struct request *q) {
    q->state = QUEUED;
    q->repeated = true;
}

void rd_requests_down(struct rd_requests *r, size_t peer) {
    for (struct request *q = r->first; q; q = q->next)
        if (q->state == FORWARDED && q->peer == peer)
            again(q);
}

static void tell_clock(struct rd_daemon *d) {
    unsigned char m[RD_CLOCK_SIZE] = {0};
    fmt_put16(m, RD_CLOCK);
    fmt_put32(m + 4, sizeof m);
    fmt_put64(m + 8, rd_now(d));
    for (size_t i = 0; d->leads && i < d->config->peer_count; i++)
        if (rd_net_is_up(d->net, i))
            rd_net_send(d->net, i, &(struct rep_bytes){m, sizeof m}, 1);
}

void rd_requests_role(struct rd_requests *r) {
    size_t leader = rd_member_peer(r->d, r->d->leader);
    tell_clock(r->d);
    for (struct request *q = r->first; q; q = q->next) {
        if (q->state == FORWARDED && r->d->leader != 0 && q->peer != leader)
            again(q);
        else if (q->state == WAITING && !r->d->leads) /* what it rests on may be gone */
            q->state = QUEUED;
    }
}

/* ---- coming and going ---- */

static struct request *new_request(struct rd_requests *r, const unsigned char *bytes, size_t len, int *code,
                                   struct esdb_error *err) {
    struct es_append_request head;
    struct request *q = calloc(1, sizeof *q);
    if (!q) {
        *code = es_fail(err, -ENOMEM, "a request");
        return NULL;
    }
    q->all = r;
    *code = esdb_batch_open(&q->batch);
    if (*code == 0)
        *code = es_append_decode(bytes, len, &head, q->batch, err);
    if (*code == 0)
        *code = es_buffer_add(&q->bytes, bytes, len);
    if (*code < 0) {
        free_request(q);
        return NULL;
    }
    q->client_number = head.number;
    q->number = ++r->number;
    q->flags = head.flags;
    q->deadline = rd_now(r->d) + (head.timeout_ms < TIMEOUT_MAX_MS ? head.timeout_ms : TIMEOUT_MAX_MS);
    *r->last = q;
    r->last = &q->next;
    r->count++;
    return q;
}

void rd_requests_add(struct rd_requests *r, void *client, const unsigned char *bytes, size_t len) {
    struct esdb_error err = {0};
    int code;
    struct request *q = new_request(r, bytes, len, &code, &err);
    if (q) {
        q->local = true;
        q->client = client;
        return;
    }
    struct es_buffer out = {0};
    err.code = code;
    if (es_answer_encode(fmt_get64(bytes + 8), code, NULL, &err, &out) == 0)
        rd_client_answer(client, out.at, out.len);
    es_buffer_release(&out);
}

void rd_requests_forget(struct rd_requests *r, void *client) {
    for (struct request *q = r->first; q; q = q->next)
        if (q->local && q->client == client)
            q->client = NULL; /* what it asked for goes on: it may be written already */
}

static bool take_request(struct rd_requests *r, size_t peer, const unsigned char *bytes, size_t len, const char **why) {
    struct esdb_error err = {0};
    int code;
    struct request *q = len < RD_FORWARD_HEAD + ES_WIRE_HEAD
                            ? NULL
                            : new_request(r, bytes + RD_FORWARD_HEAD, len - RD_FORWARD_HEAD, &code, &err);
    if (!q) {
        *why = "sent a request that cannot be";
        return false;
    }
    q->peer = peer;
    q->origin = r->d->peers[peer].raft_id;
    q->term = fmt_get64(bytes + 16);
    q->deadline = fmt_get64(bytes + 24);
    if (!r->d->ready || is_late(q))
        refuse(q, RD_ENOTLEADER, "not the leader");
    return true;
}

static bool take_clock(struct rd_daemon *d, size_t peer, const unsigned char *bytes, size_t len, const char **why) {
    *why = "told its clock in a way that cannot be";
    if (len != RD_CLOCK_SIZE || fmt_get64(bytes + 8) == 0)
        return false;
    d->peers[peer].clock = fmt_get64(bytes + 8);
    d->peers[peer].clock_heard = rd_now(d);
    return true;
}

static bool take_answer(struct rd_requests *r, const unsigned char *bytes, size_t len) {
    uint64_t number = fmt_get64(bytes + 8);
    struct request *q = r->first;
    while (q && !(q->number == number && q->state == FORWARDED))
        q = q->next;
    if (!q) /* given up, or asked for again */
        return true;
    struct esdb_receipt receipt;
    struct esdb_error err = {0};
    int code = es_answer_decode(bytes, len, q->batch, &receipt, &err);
    if (code == RD_ENOTLEADER) {
        q->state = QUEUED;
        return true;
    }
    if (code < 0 && code != ESDB_ECONFLICT &&
        q->repeated) { /* this copy was not written; the one before it may have been */
        time_is_up(q);
        return true;
    }
    if (code == 0 && q->repeated && !(q->flags & (ESDB_IDEMPOTENT | ESDB_IDEMPOTENT_ANYWHERE)))
        receipt.existed = false;
    answer(q, code, &receipt, &err);
    return true;
}

bool rd_requests_take(struct rd_requests *r, size_t peer, const unsigned char *bytes, size_t len, const char **why) {
    if (fmt_get16(bytes) == RD_FORWARD)
        return take_request(r, peer, bytes, len, why);
    if (fmt_get16(bytes) == RD_CLOCK)
        return take_clock(r->d, peer, bytes, len, why);
    return take_answer(r, bytes, len);
}

void rd_requests_tick(struct rd_requests *r) {
    uint64_t now = rd_now(r->d);
    tell_clock(r->d);
    for (struct request *q = walk(r); q; q = q->next)
        if (q->state != GONE && q->deadline <= now)
            time_is_up(q);
    walked(r);
}

void rd_requests_pump(struct rd_requests *r) {
    struct rd_daemon *d = r->d;
    bool go_on = true;
    for (struct request *q = walk(r); q && go_on && !d->stopping; q = q->next) {
        if (q->state != QUEUED)
            continue;
        if (d->ready)
            go_on = rd_members_enough(d) && submit(q);
        else if (!q->local)
            refuse(q, RD_ENOTLEADER, "not the leader");
        else if (d->leader != 0 && !d->leads)
            go_on = forward(q);
    }
    walked(r);
}
