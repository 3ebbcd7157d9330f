/* reads.c: reads that must not be stale. Whoever asks is told once this node shows everything that was committed anywhere
 * before the question.
 *
 *     ASKING --- this node leads: asks a majority ---> PROBING --- they still follow ---+
 *       |  ^                        | lost, or too late |                               v
 *       |  +------------------------+-------------------+                            WAITING --- shown here --> answered
 *       v  |                        |                                                   ^
 *     another node leads: FORWARDED +--- its commit index ------------------------------+
 *
 * Nothing is written, so that everything may be asked again at any time: by other numbers, for an answer to an earlier question
 * says nothing about a later one. */
#include <stdio.h>
#include <stdlib.h>

#include "daemon_internal.h"
#include "format/bytes.h"
#include "libcore/error.h"

#define AGAIN_MS 250        /* messages may be lost */
#define PROBES_AT_ONCE 8u   /* what comes meanwhile shares the next one */
#define READS_MAX 4096u     /* of all clients and peers */
#define PEER_PATIENCE 10000 /* ms: whoever asked has given up by then */

enum state { ASKING, PROBING, FORWARDED, WAITING };

struct read {
    struct read *next;
    enum state state;
    void *client;    /* NULL: a peer's */
    size_t peer;     /* whose; of a forwarded one: the leader that was asked */
    uint64_t origin; /* raft id of the peer that asked */
    uint64_t client_number,
        number; /* of who asked; of ours: the driver's (PROBING), or that of the message (FORWARDED) */
    uint64_t deadline, asked_at;
    uint64_t index; /* WAITING */
};

struct rd_reads {
    struct rd_daemon *d;
    struct read *first;
    size_t count;
    uint64_t number;
};

int rd_reads_open(struct rd_daemon *d, struct rd_reads **out) {
    *out = calloc(1, sizeof **out);
    if (!*out)
        return -12;
    (*out)->d = d;
    return 0;
}

static void drop(struct rd_reads *r, struct read **at) {
    struct read *q = *at;
    *at = q->next;
    r->count--;
    free(q);
}

void rd_reads_close(struct rd_reads *r) {
    while (r && r->first)
        drop(r, &r->first);
    free(r);
}

static struct read *add(struct rd_reads *r, uint64_t number, uint64_t timeout_ms) {
    struct read *q = r->count < READS_MAX ? calloc(1, sizeof *q) : NULL;
    if (!q)
        return NULL;
    q->client_number = number;
    q->deadline = rd_now(r->d) + timeout_ms;
    struct read **last = &r->first;
    while (*last)
        last = &(*last)->next;
    *last = q;
    r->count++;
    return q;
}

/* ---- answers ---- */

static void tell_peer(struct rd_daemon *d, const struct read *q, int code, uint64_t index) {
    unsigned char m[RD_COMMITTED_SIZE] = {0};
    if (d->peers[q->peer].raft_id != q->origin)
        return;
    fmt_put16(m, RD_COMMITTED);
    fmt_put32(m + 4, sizeof m);
    fmt_put64(m + 8, q->client_number);
    fmt_put64(m + 16, index);
    fmt_put32(m + 24, (uint32_t)code);
    rd_net_send(d->net, q->peer, &(struct rep_bytes){m, sizeof m}, 1);
}

static void tell_client(struct rd_daemon *d, const struct read *q, int code) {
    char why[200], text[400];
    rd_explain(d, why, sizeof why);
    if (code == 0)
        snprintf(text, sizeof text, "%llu\n", (unsigned long long)q->index);
    else
        snprintf(text, sizeof text, "%s: whether everything is here was not confirmed in time by a majority: %s",
                 d->options->store, q->state == WAITING ? "what is committed has not arrived yet" : why);
    rd_client_text(q->client, q->client_number, code, text);
}

/* ---- coming and going ---- */

void rd_reads_add(struct rd_reads *r, void *client, uint64_t number, uint64_t timeout_ms) {
    struct read *q = add(r, number, timeout_ms);
    if (q)
        q->client = client;
    else
        rd_client_text(client, number, ESDB_EUNAVAILABLE, "too many reads wait for a majority");
}

void rd_reads_forget(struct rd_reads *r, void *client) {
    for (struct read **at = &r->first; *at;) {
        if ((*at)->client == client)
            drop(r, at);
        else
            at = &(*at)->next;
    }
}

bool rd_reads_take(struct rd_reads *r, size_t peer, const unsigned char *bytes, size_t len, const char **why) {
    uint64_t number = fmt_get64(bytes + 8);
    if (fmt_get16(bytes) == RD_ASK_COMMITTED) {
        struct read refused = {.peer = peer, .origin = r->d->peers[peer].raft_id, .client_number = number};
        struct read *q = r->d->ready ? add(r, number, PEER_PATIENCE) : NULL;
        if (!q) {
            tell_peer(r->d, &refused, RD_ENOTLEADER, 0);
            return true;
        }
        q->peer = peer;
        q->origin = refused.origin;
        return true;
    }
    if (len != RD_COMMITTED_SIZE || fmt_get32(bytes + 28) != 0) {
        *why = "sent an answer that cannot be";
        return false;
    }
    for (struct read *q = r->first; q; q = q->next) {
        if (q->state != FORWARDED || q->number != number || q->peer != peer)
            continue;
        q->state = fmt_get32(bytes + 24) == 0 ? WAITING : ASKING;
        q->index = fmt_get64(bytes + 16);
    }
    rd_reads_committed(r);
    return true;
}

void rd_reads_probed(struct rd_reads *r, uint64_t number, int result, uint64_t index) {
    for (struct read **at = &r->first; *at;) {
        struct read *q = *at;
        if (q->state != PROBING || q->number != number) {
            at = &q->next;
            continue;
        }
        q->state = result == 0 ? WAITING : ASKING;
        q->index = index;
        if (q->client) {
            at = &q->next;
            continue;
        }
        tell_peer(r->d, q, result == 0 ? 0 : RD_ENOTLEADER, index);
        drop(r, at);
    }
    rd_reads_committed(r);
}

void rd_reads_committed(struct rd_reads *r) {
    uint64_t committed = rep_committed(r->d->driver);
    for (struct read **at = &r->first; *at;) {
        struct read *q = *at;
        if (q->state != WAITING || q->index > committed) {
            at = &q->next;
            continue;
        }
        tell_client(r->d, q, 0);
        drop(r, at);
    }
}

void rd_reads_role(struct rd_reads *r) {
    size_t leader = rd_member_peer(r->d, r->d->leader);
    for (struct read *q = r->first; q; q = q->next)
        if (q->state == FORWARDED && (r->d->leads || q->peer != leader))
            q->state = ASKING;
}

void rd_reads_down(struct rd_reads *r, size_t peer) {
    for (struct read *q = r->first; q; q = q->next)
        if (q->state == FORWARDED && q->peer == peer)
            q->state = ASKING;
}

void rd_reads_tick(struct rd_reads *r) {
    uint64_t now = rd_now(r->d);
    for (struct read **at = &r->first; *at;) {
        struct read *q = *at;
        if ((q->state == PROBING || q->state == FORWARDED) && now - q->asked_at >= AGAIN_MS)
            q->state = ASKING;
        if (q->deadline > now) {
            at = &q->next;
            continue;
        }
        if (q->client)
            tell_client(r->d, q, ESDB_EUNAVAILABLE);
        drop(r, at);
    }
}

/* ---- asking ---- */

/* All that wait for it share one question. */
static void ask_majority(struct rd_reads *r) {
    struct rd_daemon *d = r->d;
    uint64_t number = 0, newest = 0;
    unsigned under_way = 0;
    bool any = false;
    for (struct read *q = r->first; q; q = q->next) {
        any = any || q->state == ASKING;
        if (q->state == PROBING && q->number > newest) {
            newest = q->number;
            under_way++;
        }
    }
    if (!any || under_way >= PROBES_AT_ONCE)
        return;
    int rc = rep_confirm(d->driver, rd_now(d), &number);
    for (struct read *q = r->first; q && rc == 0; q = q->next) {
        if (q->state != ASKING)
            continue;
        q->state = PROBING;
        q->number = number;
        q->asked_at = rd_now(d);
    }
    rd_daemon_act(d, rc == REP_EBUSY || rc == REP_ENOTLEADER ? 0 : rc);
}

static void forward(struct rd_reads *r, struct read *q) {
    struct rd_daemon *d = r->d;
    unsigned char m[RD_ASK_COMMITTED_SIZE] = {0};
    size_t leader = rd_member_peer(d, d->leader);
    if (leader == d->config->peer_count || !rd_net_is_up(d->net, leader))
        return;
    fmt_put16(m, RD_ASK_COMMITTED);
    fmt_put32(m + 4, sizeof m);
    fmt_put64(m + 8, ++r->number);
    if (!rd_net_send(d->net, leader, &(struct rep_bytes){m, sizeof m}, 1))
        return;
    q->state = FORWARDED;
    q->peer = leader;
    q->number = r->number;
    q->asked_at = rd_now(d);
}

void rd_reads_pump(struct rd_reads *r) {
    struct rd_daemon *d = r->d;
    if (d->ready)
        ask_majority(r);
    else if (!d->leads && d->leader != 0)
        for (struct read *q = r->first; q; q = q->next)
            if (q->state == ASKING && q->client)
                forward(r, q);
}
