/* give.c: segments for nodes that lack them. One thread reads, with a handle of its own, one piece at a time; so the disk is
 * asked for one piece at a time too, and at most `limits.fetch_rate` bytes a second go out, to all peers together: writers
 * have the rest. A peer that asks for more than it may have under way is not answered, and asks again. */
#include <stdlib.h>
#include <string.h>

#include "daemon_internal.h"
#include "libcore/error.h"
#include "piece.h"

#define ASKED_MAX 64u      /* questions that wait, of all peers */
#define ASKED_PEER_MAX 20u /* of one: it has RD_WINDOW under way */
#define BURST_MS 2u        /* what was not used may be used later, this much */

struct question {
    size_t peer;
    bool manifest;
    struct rd_ask_manifest ask_manifest;
    struct rd_ask_piece ask_piece;
};

struct rd_give {
    struct rd_daemon *d;
    esdb *db; /* of the thread */
    struct question asked[ASKED_MAX];
    size_t first, count;
    bool working;
    uv_work_t work;
    uv_timer_t later;
    uint64_t free_at_us; /* when what was given so far is paid for */
    /* of the question that is answered */
    struct question now;
    struct es_outline *outline;
    size_t outline_count;
    ssize_t got; /* bytes, or a code */
    struct esdb_error err;
    unsigned char bytes[RD_PIECE_BYTES];
};

static void next_question(struct rd_give *g);

int rd_give_open(struct rd_daemon *d, struct rd_give **out) {
    struct rd_give *g = calloc(1, sizeof *g);
    if (!g)
        return -12;
    g->d = d;
    uv_timer_init(&d->loop, &g->later);
    g->later.data = g->work.data = g;
    *out = g;
    return 0;
}

void rd_give_close(struct rd_give *g) {
    if (g)
        uv_close((uv_handle_t *)&g->later, NULL);
}

void rd_give_free(struct rd_give *g) {
    if (!g)
        return;
    esdb_close(g->db);
    free(g->outline);
    free(g);
}

/* ---- answers ---- */

static void send_manifest(struct rd_give *g) {
    struct rd_manifest m = {.number = g->now.ask_manifest.number, .upto = g->now.ask_manifest.upto};
    unsigned char head[RD_MANIFEST_HEAD], *outlines = NULL;
    if (g->got == 0 && g->outline_count <= RD_MANIFEST_SEGMENTS_MAX)
        outlines = malloc(g->outline_count * RD_OUTLINE_SIZE);
    if (outlines)
        m.count = (uint32_t)g->outline_count;
    for (uint32_t i = 0; i < m.count; i++)
        rd_outline_encode(&g->outline[i], outlines + (size_t)i * RD_OUTLINE_SIZE);
    rd_manifest_head(&m, head);
    const struct rep_bytes parts[] = {{head, sizeof head}, {outlines, (size_t)m.count * RD_OUTLINE_SIZE}};
    rd_net_send(g->d->net, g->now.peer, parts, 2);
    free(outlines);
    free(g->outline);
    g->outline = NULL;
}

static void send_piece(struct rd_give *g) {
    const struct rd_ask_piece *a = &g->now.ask_piece;
    struct rd_piece m = {
        .number = a->number, .segment = a->segment, .offset = a->offset, .len = g->got > 0 ? (uint32_t)g->got : 0};
    unsigned char head[RD_PIECE_HEAD];
    rd_piece_head(&m, head);
    rd_net_send(g->d->net, g->now.peer, (const struct rep_bytes[]){{head, sizeof head}, {g->bytes, m.len}}, 2);
}

/* ---- in the thread ---- */

static void read_work(uv_work_t *work) {
    struct rd_give *g = work->data;
    const struct question *q = &g->now;
    g->err = (struct esdb_error){0};
    int rc = g->db ? 0 : esdb_open(g->d->options->store, ESDB_READ, &g->db, &g->err);
    if (rc == 0 && q->manifest)
        rc = es_outline(g->db, q->ask_manifest.first, q->ask_manifest.upto, q->ask_manifest.checksum, &g->outline,
                        &g->outline_count, &g->err);
    g->got = rc;
    if (rc == 0 && !q->manifest)
        g->got = es_outline_read(g->db, q->ask_piece.segment, q->ask_piece.offset, g->bytes, q->ask_piece.len, &g->err);
}

static void read_done(uv_work_t *work, int status) {
    struct rd_give *g = work->data;
    struct rd_daemon *d = g->d;
    (void)status;
    g->working = false;
    if (d->stopping)
        return;
    if (g->got < 0 && g->got != ESDB_ENOTFOUND)
        rd_say(d, "could not give %s what it lacks: %s", d->config->peers[g->now.peer].name, g->err.text);
    if (g->now.manifest)
        send_manifest(g);
    else
        send_piece(g);
    next_question(g);
}

static void later(uv_timer_t *timer) {
    next_question(timer->data);
}

static void next_question(struct rd_give *g) {
    struct rd_daemon *d = g->d;
    uint64_t now = uv_hrtime() / 1000, burst = BURST_MS * 1000;
    if (g->working || g->count == 0 || d->stopping)
        return;
    if (g->free_at_us > now + burst) {
        uv_timer_start(&g->later, later, (g->free_at_us - now - burst) / 1000 + 1, 0);
        return;
    }
    g->now = g->asked[g->first];
    g->first = (g->first + 1) % ASKED_MAX;
    g->count--;
    if (g->free_at_us < now)
        g->free_at_us = now;
    if (!g->now.manifest)
        g->free_at_us += (uint64_t)g->now.ask_piece.len * 1000000 / d->config->fetch_rate_bytes;
    g->working = uv_queue_work(&d->loop, &g->work, read_work, read_done) == 0;
}

/* ---- questions ---- */

bool rd_give_take(struct rd_give *g, size_t peer, const unsigned char *bytes, size_t len, unsigned type,
                  const char **why) {
    struct question q = {.peer = peer, .manifest = type == RD_ASK_MANIFEST};
    *why = q.manifest ? rd_ask_manifest_decode(bytes, len, &q.ask_manifest)
                      : rd_ask_piece_decode(bytes, len, &q.ask_piece);
    if (*why)
        return false;
    size_t of_peer = 0;
    for (size_t i = 0; i < g->count; i++)
        of_peer += g->asked[(g->first + i) % ASKED_MAX].peer == peer;
    if (g->count == ASKED_MAX || of_peer >= ASKED_PEER_MAX)
        return true;                                                       /* it asks again */
    if (q.manifest && q.ask_manifest.upto > rep_committed(g->d->driver)) { /* what is not committed is not given */
        unsigned char head[RD_MANIFEST_HEAD];
        rd_manifest_head(&(struct rd_manifest){.number = q.ask_manifest.number, .upto = q.ask_manifest.upto}, head);
        rd_net_send(g->d->net, peer, &(struct rep_bytes){head, sizeof head}, 1);
        return true;
    }
    g->asked[(g->first + g->count++) % ASKED_MAX] = q;
    next_question(g);
    return true;
}
