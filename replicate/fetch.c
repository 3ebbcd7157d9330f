/* fetch.c: what this node lacks, from a node that has it, while everything else goes on.
 *
 *   idle -- the leader wants frames up to T here --> asking: a manifest from a peer, rather not from the leader
 *   asking -- manifest --> fetching: each segment's bytes, from where its part in fetch/ ends (a thread writes them)
 *   fetching -- a segment is whole --> checked by the thread: the next one, or, when it is bad, again, from another peer
 *   fetching -- all are --> done: rep_fetched; when the leader asks again, the log adopts them
 *
 * No answer for a while, a lost connection, a peer that has no such frames: the next peer is asked. What was written stays. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon_internal.h"
#include "libcore/error.h"
#include "libcore/os.h"
#include "piece.h"

#define PATIENCE_MS 3000u /* without any answer of a peer */
#define REST_MS 500u      /* after all peers were asked in vain */
#define TELL_MS 5000u
#define WAIT_MS 300u                        /* for a connection to a node that does not lead, at first */
#define WINDOW (RD_WINDOW * RD_PIECE_BYTES) /* bytes that are asked for, or wait to be written */

enum state { IDLE, ASKING, FETCHING, DONE };

struct rd_fetch {
    struct rd_daemon *d;
    enum state state;
    struct rep_install want; /* the newest wish of the leader; only numbers and checksum */
    uint64_t upto, checksum; /* what is being fetched now */
    size_t peer, tried;      /* who is asked; how many were in vain */
    bool change;             /* to another peer, as soon as the thread is done */
    uint64_t number, heard, told, rest_until, wait_until;
    struct es_outline *outline; /* of the manifest */
    size_t count, at;           /* at: the segment that is fetched now */
    struct es_part *part;       /* that are checked */
    size_t part_count, part_room;
    struct es_part_begin begin;    /* of the segment that is fetched now */
    int folder, fd;                /* fd: its part */
    uint64_t size;                 /* it is to have */
    uint64_t asked, came, written; /* offsets in it */
    uint64_t bytes;                /* fetched since it began, for messages */
    bool begun_segment, tell;      /* tell: the driver has forgotten that it is done */
    /* of the thread */
    uv_work_t work;
    bool working;
    unsigned char *inbox, *outbox; /* pieces that came; those that are written */
    size_t inbox_len, outbox_len;
    uint64_t outbox_at;
    bool checks;
    int code;
    struct es_part checked;
    struct esdb_error err;
};

static void go_on(struct rd_fetch *f);

int rd_fetch_open(struct rd_daemon *d, struct rd_fetch **out) {
    struct rd_fetch *f = calloc(1, sizeof *f);
    if (!f)
        return -12;
    f->d = d;
    f->folder = f->fd = -1;
    f->work.data = f;
    *out = f;
    return 0;
}

void rd_fetch_free(struct rd_fetch *f) {
    if (!f)
        return;
    es_close(&f->fd);
    es_close(&f->folder);
    free(f->outline);
    free(f->part);
    free(f->inbox);
    free(f->outbox);
    free(f);
}

/* ---- whom to ask ---- */

static bool usable(const struct rd_daemon *d, size_t peer) {
    return peer < d->config->peer_count && peer != d->config->self && rd_net_is_up(d->net, peer) &&
           d->peers[peer].raft_id != 0;
}

/* The next one: those that do not lead first. False: there is none. */
static bool choose(struct rd_fetch *f) {
    const struct rd_daemon *d = f->d;
    size_t leader = rd_member_peer(d, d->leader), n = d->config->peer_count, usables = 0;
    size_t order[REP_SERVERS_MAX];
    for (size_t i = 0; i < n; i++)
        if (usable(d, i) && i != leader)
            order[usables++] = i;
    if (usable(d, leader))
        order[usables++] = leader;
    if (usables == 0 || (usables == 1 && order[0] == leader && n > 2 && rd_now(d) < f->wait_until))
        return false;
    f->peer = order[f->tried % usables];
    return true;
}

static void close_segment(struct rd_fetch *f) {
    es_close(&f->fd);
    f->begun_segment = false;
    f->inbox_len = 0;
}

/* Begins to fetch what the leader wants now: what is checked already is kept. */
static void ask(struct rd_fetch *f) {
    struct rd_daemon *d = f->d;
    unsigned char m[RD_ASK_SIZE];
    uint64_t now = rd_now(d);
    if (now < f->rest_until || f->working)
        return;
    if (!choose(f)) {
        f->rest_until = now + (now < f->wait_until ? WAIT_MS / 6 : REST_MS);
        return;
    }
    close_segment(f);
    f->state = ASKING;
    f->upto = f->want.last_index;
    f->checksum = f->want.last_checksum;
    f->heard = now;
    if (f->part_count && f->part[f->part_count - 1].end.index <= rep_committed(d->driver))
        f->part_count = 0; /* it came another way */
    uint64_t have = f->part_count ? f->part[f->part_count - 1].end.index : rep_committed(d->driver);
    rd_ask_manifest_encode(
        &(struct rd_ask_manifest){.number = ++f->number, .first = have + 1, .upto = f->upto, .checksum = f->checksum},
        m);
    rd_net_send(d->net, f->peer, &(struct rep_bytes){m, sizeof m}, 1);
}

static void try_another(struct rd_fetch *f) {
    f->change = f->working; /* which has the file */
    if (f->working)
        return;
    f->tried++;
    f->number++; /* what comes late is not taken */
    close_segment(f);
    f->state = ASKING;
    if (f->tried % f->d->config->peer_count == 0)
        f->rest_until = rd_now(f->d) + REST_MS;
    ask(f);
}

/* ---- the thread ---- */

static void write_work(uv_work_t *work) {
    struct rd_fetch *f = work->data;
    f->err = (struct esdb_error){0};
    f->code = 0;
    if (f->outbox_len > 0) {
        f->code = es_pwrite(f->fd, f->outbox, f->outbox_len, f->outbox_at);
        if (f->code == 0)
            es_write_ahead(f->fd, f->outbox_at, f->outbox_len);
        else
            es_fail(&f->err, f->code, "%s: writing what was fetched", f->d->options->store);
    }
    if (f->code == 0 && f->checks)
        f->code = es_part_check(rd_log_db(f->d->log), f->fd, f->outline[f->at].first_index, f->size, &f->begin,
                                &f->checked, &f->err);
}

static bool keep_part(struct rd_fetch *f) {
    if (f->part_count == f->part_room) {
        size_t room = f->part_room ? f->part_room * 2 : 64;
        struct es_part *more = realloc(f->part, room * sizeof *more);
        if (!more)
            return false;
        f->part = more;
        f->part_room = room;
    }
    f->part[f->part_count++] = f->checked;
    return true;
}

/* The segment is whole. False: the node has to stop. */
static bool segment_done(struct rd_fetch *f) {
    struct rd_daemon *d = f->d;
    const struct es_part *p = &f->checked;
    bool last = f->at + 1 == f->count;
    if (last && (p->end.index != f->upto || p->end.checksum != f->checksum)) {
        rd_say(d, "%s gave other frames than the leader has", d->config->peers[f->peer].name);
        es_part_remove(f->folder, p->segment);
        try_another(f);
        return true;
    }
    if (!keep_part(f))
        return false;
    close_segment(f);
    f->begin = (struct es_part_begin){.index = p->end.index,
                                      .position = p->end.end_position,
                                      .checksum = p->end.checksum,
                                      .last_epoch_us = p->end.last_epoch_us,
                                      .term = p->term};
    f->at++;
    f->tried = 0;
    return true;
}

static void write_done(uv_work_t *work, int status) {
    struct rd_fetch *f = work->data;
    struct rd_daemon *d = f->d;
    (void)status;
    f->working = false;
    if (d->stopping)
        return;
    f->written += f->outbox_len;
    f->outbox_len = 0;
    if (f->code < 0 && f->code != ESDB_ECORRUPT) {
        *d->err = f->err;
        rd_daemon_stop(d, f->code);
        return;
    }
    if (f->change && f->code == 0) {
        try_another(f);
        return;
    }
    if (f->code < 0 && f->state == FETCHING) {
        rd_say(d, "what %s gave is not whole: %s", d->config->peers[f->peer].name, f->err.text);
        es_part_remove(f->folder, f->outline[f->at].first_index);
        f->code = 0;
        try_another(f);
        return;
    }
    if (f->checks && f->state == FETCHING && !segment_done(f)) {
        rd_daemon_stop(d, es_fail(d->err, -12, "%s: no memory for what was fetched", d->options->store));
        return;
    }
    go_on(f);
}

/* Gives the thread what came, or the whole segment to check. */
static void work_on(struct rd_fetch *f) {
    if (f->working || !f->begun_segment)
        return;
    f->checks = f->inbox_len == 0 && f->written == f->size;
    if (f->inbox_len == 0 && !f->checks)
        return;
    unsigned char *swap = f->outbox;
    f->outbox = f->inbox;
    f->outbox_len = f->inbox_len;
    f->outbox_at = f->written;
    f->inbox = swap;
    f->inbox_len = 0;
    f->working = uv_queue_work(&f->d->loop, &f->work, write_work, write_done) == 0;
}

/* ---- fetching ---- */

/* False: the node stops. */
static bool begin_segment(struct rd_fetch *f) {
    struct rd_daemon *d = f->d;
    uint64_t have = 0, segment = f->outline[f->at].first_index;
    f->size = f->outline[f->at].size;
    int rc = es_part_open(rd_log_db(d->log), f->folder, segment, f->begin.base, &f->fd, &have, d->err);
    if (rc < 0) {
        rd_daemon_stop(d, rc);
        return false;
    }
    f->asked = f->came = f->written = have < f->size ? have : f->size;
    f->begun_segment = true;
    return true;
}

static void ask_pieces(struct rd_fetch *f) {
    struct rd_daemon *d = f->d;
    while (f->asked < f->size && f->asked - f->written + RD_PIECE_BYTES <= WINDOW) {
        unsigned char m[RD_ASK_SIZE];
        uint64_t left = f->size - f->asked;
        uint32_t len = left < RD_PIECE_BYTES ? (uint32_t)left : RD_PIECE_BYTES;
        rd_ask_piece_encode(&(struct rd_ask_piece){f->number, f->outline[f->at].first_index, f->asked, len}, m);
        if (!rd_net_send(d->net, f->peer, &(struct rep_bytes){m, sizeof m}, 1))
            return;
        f->asked += len;
    }
}

static void finished(struct rd_fetch *f) {
    struct rd_daemon *d = f->d;
    free(f->outline);
    f->outline = NULL;
    f->count = f->at = 0;
    if (f->want.last_index != f->upto) { /* the leader is further already */
        ask(f);
        return;
    }
    f->state = DONE;
    rd_say(d, "has fetched %llu KB, up to frame %llu", (unsigned long long)(f->bytes >> 10),
           (unsigned long long)f->upto);
    rd_daemon_act(d, rep_fetched(d->driver, rd_now(d), f->upto));
}

static void tell_progress(struct rd_fetch *f) {
    struct rd_daemon *d = f->d;
    if (rd_now(d) < f->told + TELL_MS)
        return;
    f->told = rd_now(d);
    rd_say(d, "fetches from %s: segment %zu of %zu, %llu KB so far", d->config->peers[f->peer].name, f->at + 1,
           f->count, (unsigned long long)(f->bytes >> 10));
}

static void go_on(struct rd_fetch *f) {
    if (f->state != FETCHING || f->d->stopping)
        return;
    if (!f->begun_segment && f->at == f->count) {
        finished(f);
        return;
    }
    if (!f->begun_segment && !begin_segment(f))
        return;
    ask_pieces(f);
    work_on(f);
    tell_progress(f);
}

static bool take_piece(struct rd_fetch *f, const struct rd_piece *p) {
    if (f->state != FETCHING || !f->begun_segment || p->number != f->number ||
        p->segment != f->outline[f->at].first_index || p->offset != f->came || p->offset + p->len > f->asked)
        return true; /* late, or not what was asked for */
    f->heard = rd_now(f->d);
    if (p->len == 0) {
        try_another(f);
        return true;
    }
    if (!f->inbox && (!(f->inbox = malloc(WINDOW)) || !(f->outbox = malloc(WINDOW))))
        return true;
    memcpy(f->inbox + f->inbox_len, p->at, p->len);
    f->inbox_len += p->len;
    f->came += p->len;
    f->bytes += p->len;
    go_on(f);
    return true;
}

/* ---- manifests ---- */

/* Where the first part begins: after what is committed here, or after what was fetched already. False: the manifest does not
 * have that. */
static bool begin_manifest(struct rd_fetch *f) {
    uint64_t segment = 0;
    if (f->part_count > 0) {
        const struct es_part *p = &f->part[f->part_count - 1];
        f->begin = (struct es_part_begin){.base = p->rolls ? 0 : p->size,
                                          .index = p->end.index,
                                          .position = p->end.end_position,
                                          .checksum = p->end.checksum,
                                          .last_epoch_us = p->end.last_epoch_us,
                                          .term = p->term};
        segment = p->rolls ? p->end.index + 1 : p->segment;
        if (!p->rolls) { /* it has grown since: the whole of it is one part */
            f->part_count--;
            if (f->part_count == 0)
                rd_log_lacks(f->d->log, &segment, &f->begin);
            else {
                p = &f->part[f->part_count - 1];
                f->begin = (struct es_part_begin){.index = p->end.index,
                                                  .position = p->end.end_position,
                                                  .checksum = p->end.checksum,
                                                  .last_epoch_us = p->end.last_epoch_us,
                                                  .term = p->term};
                segment = p->end.index + 1;
            }
        }
    } else
        rd_log_lacks(f->d->log, &segment, &f->begin);
    if (segment == 0)
        segment = 1;
    f->at = 0;
    while (f->at < f->count && f->outline[f->at].first_index < segment)
        f->at++;
    return f->at < f->count && f->outline[f->at].first_index == segment;
}

static void took_manifest(struct rd_fetch *f, const struct rd_manifest *m) {
    struct rd_daemon *d = f->d;
    if (f->state != ASKING || m->number != f->number || m->upto != f->upto || f->working)
        return;
    free(f->outline);
    f->outline = m->count ? malloc(m->count * sizeof *f->outline) : NULL;
    f->count = f->outline ? m->count : 0;
    for (uint32_t i = 0; i < f->count; i++)
        rd_outline_decode(m, i, &f->outline[i]);
    if (f->folder < 0)
        f->folder = es_part_folder(rd_log_db(d->log), d->err);
    if (f->folder < 0) {
        rd_daemon_stop(d, f->folder);
        return;
    }
    if (!begin_manifest(f)) {
        try_another(f);
        return;
    }
    uint64_t bytes = 0;
    for (size_t i = f->at; i < f->count; i++)
        bytes += f->outline[i].size;
    rd_say(d, "is too far behind: fetches %zu segments, at most %llu KB, from %s", f->count - f->at,
           (unsigned long long)((bytes - f->begin.base) >> 10), d->config->peers[f->peer].name);
    f->told = rd_now(d);
    f->heard = rd_now(d);
    f->state = FETCHING;
    go_on(f);
}

bool rd_fetch_take(struct rd_fetch *f, size_t peer, const unsigned char *bytes, size_t len, unsigned type,
                   const char **why) {
    struct rd_manifest m;
    struct rd_piece p;
    *why = type == RD_MANIFEST ? rd_manifest_decode(bytes, len, &m) : rd_piece_decode(bytes, len, &p);
    if (*why)
        return false;
    if (peer != f->peer)
        return true;
    if (type == RD_PIECE)
        return take_piece(f, &p);
    took_manifest(f, &m);
    return true;
}

/* ---- what the driver asks for ---- */

void rd_fetch_want(struct rd_fetch *f, const struct rep_install *install) {
    bool new = f->want.last_index != install->last_index || f->want.last_checksum != install->last_checksum;
    f->want = *install;
    f->want.configuration = f->want.manifest = NULL;
    if (f->state == IDLE || (f->state == DONE && new)) {
        f->tried = 0;
        f->wait_until = rd_now(f->d) + WAIT_MS; /* writers wait for what the leader does */
        f->bytes = f->state == IDLE ? 0 : f->bytes;
        f->state = ASKING;
        ask(f);
    } else if (f->state == DONE)
        f->tell = true;
}

void rd_fetch_tick(struct rd_fetch *f) {
    if (f->state == DONE && f->tell) {
        f->tell = false;
        rd_daemon_act(f->d, rep_fetched(f->d->driver, rd_now(f->d), f->upto));
    }
    if (f->state == IDLE || f->state == DONE || f->working)
        return;
    if (f->state == ASKING && f->rest_until && rd_now(f->d) >= f->rest_until) {
        f->rest_until = 0;
        ask(f);
    } else if (rd_now(f->d) >= f->heard + PATIENCE_MS && rd_now(f->d) >= f->rest_until)
        try_another(f);
}

void rd_fetch_down(struct rd_fetch *f, size_t peer) {
    if (f->state != IDLE && f->state != DONE && peer == f->peer)
        try_another(f);
}

int rd_fetch_adopt(struct rd_fetch *f, uint64_t index, struct esdb_error *err) {
    struct rd_daemon *d = f->d;
    if (f->state != DONE || f->part_count == 0 || f->part[f->part_count - 1].end.index != index)
        return es_fail(err, ESDB_ECORRUPT, "%s: frame %llu was not fetched", d->options->store,
                       (unsigned long long)index);
    uint64_t began = rd_now(d);
    es_close(&f->folder);
    int rc = rd_log_adopt(d->log, f->part, f->part_count, err);
    if (rc == 0)
        rd_say(d, "has installed what was fetched, up to frame %llu, in %llu ms", (unsigned long long)index,
               (unsigned long long)(rd_now(d) - began));
    f->part_count = 0;
    f->state = IDLE;
    return rc;
}
