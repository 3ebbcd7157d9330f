#include "daemon.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "daemon_internal.h"
#include "format/bytes.h"
#include "libcore/append_wire.h"
#include "libcore/error.h"
#include "piece.h"

#define HOUSEKEEPING_MS 50
#define LEAVE_MS 2000 /* how long a leader that ends waits for another one to take over */

uint64_t rd_now(const struct rd_daemon *d) {
    (void)d;
    return uv_hrtime() / 1000000;
}

void rd_say(struct rd_daemon *d, const char *format, ...) {
    char text[600], line[1400];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (!d->options->json) {
        d->options->log(text);
        return;
    }
    struct timespec now;
    char time[32], quoted[1200];
    struct tm tm;
    size_t n = 0;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    strftime(time, sizeof time, "%Y-%m-%dT%H:%M:%S", &tm);
    for (const char *p = text; *p && n + 8 < sizeof quoted; p++) {
        if (*p == '"' || *p == '\\')
            quoted[n++] = '\\';
        quoted[n++] = (unsigned char)*p < 0x20 ? ' ' : *p;
    }
    quoted[n] = '\0';
    snprintf(line, sizeof line, "{\"time\":\"%s.%03ldZ\",\"node\":\"%s\",\"message\":\"%s\"}", time,
             now.tv_nsec / 1000000, d->config->node, quoted);
    d->options->log(line);
}

/* ---- the end ---- */

static void net_closed(void *context) {
    struct rd_daemon *d = context;
    d->net = NULL;
}

static void close_handles(struct rd_daemon *d) {
    if (d->closed)
        return;
    d->closed = true;
    d->options->notify("STOPPING=1");
    rd_clients_close(d->clients);
    rd_metrics_close(d->metrics);
    rd_give_close(d->give);
    d->scrub_stop = true;
    if (d->net)
        rd_net_close(d->net, net_closed);
    uv_close((uv_handle_t *)&d->tick, NULL);
    uv_close((uv_handle_t *)&d->housekeeping, NULL);
    uv_close((uv_handle_t *)&d->terminate, NULL);
    uv_close((uv_handle_t *)&d->interrupt, NULL);
    uv_close((uv_handle_t *)&d->before_sleep, NULL);
}

void rd_daemon_stop(struct rd_daemon *d, int code) {
    if (d->stopping)
        return;
    d->stopping = true;
    d->code = code;
    close_handles(d);
}

/* ---- syncs, in a thread ---- */

static void sync_work(uv_work_t *work) {
    struct rd_daemon *d = work->data;
    d->sync_code = rd_log_sync(d->log, &d->synced_upto, &d->sync_error);
}

static void sync_done(uv_work_t *work, int status) {
    struct rd_daemon *d = work->data;
    (void)status;
    d->syncing = false;
    if (d->stopping)
        return;
    if (d->sync_code < 0) {
        *d->err = d->sync_error;
        rd_daemon_stop(d, d->sync_code); /* nothing that was acknowledged rests on it */
        return;
    }
    rd_daemon_act(d, rep_persisted(d->driver, rd_now(d), d->synced_upto, d->sync_epoch));
}

static void begin_sync(struct rd_daemon *d) {
    if (d->syncing || !d->dirty || d->stopping)
        return;
    d->dirty = false;
    d->syncing = true;
    d->sync_epoch = d->epoch;
    d->sync.data = d;
    d->sync_error = (struct esdb_error){0};
    if (uv_queue_work(&d->loop, &d->sync, sync_work, sync_done) < 0) {
        d->syncing = false;
        rd_daemon_stop(d, es_fail(d->err, -EAGAIN, "no thread for syncs"));
    }
}

/* ---- what the driver asks for ---- */

static void tell_manager(const struct rd_daemon *d) {
    char text[160];
    if (d->leads)
        snprintf(text, sizeof text, "STATUS=leads in term %llu%s", (unsigned long long)d->term,
                 d->ready ? "" : ", not ready yet");
    else
        snprintf(text, sizeof text, "STATUS=%s %s in term %llu", d->leader ? "follows" : "knows",
                 d->leader ? rd_member_name(d, d->leader) : "no leader", (unsigned long long)d->term);
    d->options->notify(text);
}

static void new_role(struct rd_daemon *d, const struct rep_action *a) {
    bool changed = a->leader != d->leader || a->term != d->term || a->ready != d->ready;
    d->term = a->term;
    d->leader = a->leader;
    d->leads = a->leads;
    d->ready = a->ready;
    d->counted.elections += changed && a->leads && a->ready;
    if (changed && a->leads && a->ready)
        rd_say(d, "leads in term %llu", (unsigned long long)a->term);
    else if (changed && !a->leads && a->leader != 0)
        rd_say(d, "follows %s in term %llu", rd_member_name(d, a->leader), (unsigned long long)a->term);
    else if (changed && a->leader == 0)
        rd_say(d, "knows no leader in term %llu", (unsigned long long)a->term);
    if (changed && !d->stopping)
        tell_manager(d);
    rd_requests_role(d->requests);
    rd_reads_role(d->reads);
}

static int act(struct rd_daemon *d, const struct rep_action *a) {
    int rc = 0;
    switch (a->type) {
    case REP_ACT_SAVE:
        return rd_log_save(d->log, a->term, a->vote, d->err);
    case REP_ACT_CUT:
        rd_say(d, "takes back what was not committed, from frame %llu on", (unsigned long long)a->index);
        return rd_log_cut(d->log, a->index, d->err);
    case REP_ACT_APPEND:
        rc = rd_log_append(d->log, a->entries, a->entry_count, d->err);
        d->epoch = a->epoch;
        d->dirty = true;
        d->counted.frames += a->entry_count;
        for (size_t i = 0; i < a->entry_count; i++)
            d->counted.bytes += a->entries[i].frame_len;
        return rc;
    case REP_ACT_SEND:
        return rd_outgoing_add(d, a);
    case REP_ACT_COMMIT:
        rc = rd_log_publish(d->log, a->index, d->err);
        if (rc == 0) {
            rd_requests_committed(d->requests);
            rd_reads_committed(d->reads);
        }
        return rc;
    case REP_ACT_ANSWER:
        rd_requests_answered(d->requests, a->token, a->answer);
        return 0;
    case REP_ACT_ROLE:
        new_role(d, a);
        return 0;
    case REP_ACT_MEMBERS:
        return 0;
    case REP_ACT_INSTALL:
        rd_fetch_want(d->fetch, &a->message->install);
        return 0;
    case REP_ACT_ADOPT:
        d->epoch = a->epoch;
        d->adopted = true;
        return rd_fetch_adopt(d->fetch, a->index, d->err);
    case REP_ACT_PROBED:
        rd_reads_probed(d->reads, a->number, a->result, a->index);
        return 0;
    case REP_ACT_STOP:
        return es_fail(d->err, a->code, "%s: %s", d->options->store, a->text);
    }
    return 0;
}

static void arm(struct rd_daemon *d);

void rd_daemon_act(struct rd_daemon *d, int rc) {
    const struct rep_action *a;
    if (rc < 0)
        es_fail(d->err, rc == -ENOMEM ? -ENOMEM : ESDB_EUNAVAILABLE, "%s: the consensus stopped: %s", d->options->store,
                rep_error(d->driver));
    while ((a = rep_next(d->driver)) != NULL)
        if (rc == 0)
            rc = act(d, a);
    if (rc < 0) {
        rd_daemon_stop(d, d->err->code ? d->err->code : rc);
        return;
    }
    arm(d);
    if (d->adopted && !d->stopping) {
        d->adopted = false;
        rd_daemon_act(d, rep_installed(d->driver, rd_now(d)));
    }
}

/* ---- time ---- */

static void ticked(uv_timer_t *timer) {
    struct rd_daemon *d = timer->data;
    if (!d->leads && !rd_room(d, 0)) { /* as a leader it would have to write */
        if (!d->stopping)
            uv_timer_start(&d->tick, ticked, HOUSEKEEPING_MS, 0);
        return;
    }
    rd_daemon_act(d, rep_tick(d->driver, rd_now(d)));
}

static void arm(struct rd_daemon *d) {
    uint64_t now = rd_now(d), at = rep_deadline(d->driver);
    if (d->stopping)
        return;
    uv_update_time(&d->loop);
    uv_timer_start(&d->tick, ticked, at > now ? at - now : 1, 0);
}

static void seal_work(uv_work_t *work) {
    rd_log_seal(((struct rd_daemon *)work->data)->log);
}

static void seal_done(uv_work_t *work, int status) {
    (void)status;
    ((struct rd_daemon *)work->data)->sealing = false;
}

static void scrub_work(void *context) {
    struct rd_daemon *d = context;
    d->scrub_code = rd_log_scrub(d->options->store, &d->scrub_stop, &d->scrub_error);
    d->scrub_done = true;
}

/* Once after each start all that is on this disk is looked at. */
static void keep_scrubbing(struct rd_daemon *d) {
    if (!d->scrubs || !d->scrub_done)
        return;
    uv_thread_join(&d->scrub);
    d->scrubs = false;
    if (d->scrub_code == ESDB_ECORRUPT) {
        *d->err = d->scrub_error;
        rd_daemon_stop(d, d->scrub_code);
    }
}

/* What closed segments are is raft's to know, or it would remember the whole log. */
static void keep_trail(struct rd_daemon *d) {
    uint64_t index, keep;
    if (rd_log_sealed(d->log, d->config->trail_bytes, &index, &keep))
        rd_daemon_act(d, rep_sealed(d->driver, rd_now(d), index, keep));
}

/* What makes reading fast. */
static void keep_indexes(struct rd_daemon *d) {
    int rc = d->leads ? 0 : rd_log_index(d->log, d->err);
    if (rc < 0) {
        rd_daemon_stop(d, rc);
        return;
    }
    if (d->sealing || !rd_log_must_seal(d->log))
        return;
    d->seal.data = d;
    d->sealing = uv_queue_work(&d->loop, &d->seal, seal_work, seal_done) == 0;
}

static void keep_house(uv_timer_t *timer) {
    struct rd_daemon *d = timer->data;
    d->options->alive();
    rd_metrics_tick(d->metrics);
    if (!d->log || d->stopping)
        return;
    keep_indexes(d);
    if (d->stopping)
        return;
    keep_scrubbing(d);
    if (!d->stopping)
        keep_trail(d);
    if (!d->stopping)
        rd_fetch_tick(d->fetch);
    if (d->stopping)
        return;
    rd_requests_tick(d->requests);
    rd_reads_tick(d->reads);
    if (!d->leaving)
        rd_members_change(d);
    if (d->leaving && !d->stopping && (!d->leads || rd_now(d) >= d->leave_deadline))
        rd_daemon_stop(d, 0);
}

/* Once a turn: all that came in it is written, sent and synced together. */
static void pump(uv_prepare_t *prepare) {
    struct rd_daemon *d = prepare->data;
    if (d->stopping || !d->log)
        return;
    rd_requests_pump(d->requests);
    if (!d->stopping)
        rd_reads_pump(d->reads);
    int rc = d->stopping ? 0 : rd_outgoing_flush(d);
    if (rc < 0)
        rd_daemon_stop(d, d->err->code ? d->err->code : rc);
    begin_sync(d);
}

/* A leader hands over before it ends, so that nobody has to notice its absence. */
static void got_signal(uv_signal_t *handle, int number) {
    struct rd_daemon *d = handle->data;
    (void)number;
    if (d->leaving || !d->leads) {
        rd_daemon_stop(d, 0);
        return;
    }
    d->leaving = true;
    d->leave_deadline = rd_now(d) + LEAVE_MS;
    int rc = rep_transfer(d->driver, rd_now(d), 0);
    if (rc != 0)
        d->leave_deadline = 0; /* nobody is there to take over */
    rd_daemon_act(d, rc == REP_EREFUSED || rc == REP_ENOTLEADER || rc == REP_EBUSY ? 0 : rc);
}

/* ---- what peers send ---- */

static size_t size_max(void *context, unsigned type) {
    (void)context;
    if (type == RD_INTRODUCTION)
        return RD_INTRODUCTION_SIZE;
    if (type == RD_ASK_COMMITTED || type == RD_COMMITTED)
        return type == RD_COMMITTED ? RD_COMMITTED_SIZE : RD_ASK_COMMITTED_SIZE;
    if (type == RD_CLOCK)
        return RD_CLOCK_SIZE;
    if (type == RD_FORWARD || type == ES_WIRE_ANSWER)
        return ES_WIRE_SIZE_MAX + (type == RD_FORWARD ? RD_FORWARD_HEAD : 0);
    return rd_piece_size_max(type) ? rd_piece_size_max(type) : rep_message_size_max(type);
}

static bool took_message(void *context, size_t peer, const unsigned char *bytes, size_t len, const char **why) {
    struct rd_daemon *d = context;
    unsigned type = fmt_get16(bytes);
    if (d->stopping)
        return true;
    if (type == RD_INTRODUCTION)
        return rd_members_introduced(d, peer, bytes, len, why);
    if (!d->log)
        return true;
    if (d->peers[peer].raft_id == 0) {
        *why = "spoke before it introduced itself";
        return false;
    }
    if (type == RD_FORWARD || type == RD_CLOCK || type == ES_WIRE_ANSWER)
        return rd_requests_take(d->requests, peer, bytes, len, why);
    if (type == RD_ASK_COMMITTED || type == RD_COMMITTED)
        return rd_reads_take(d->reads, peer, bytes, len, why);
    if (type == RD_ASK_MANIFEST || type == RD_ASK_PIECE)
        return rd_give_take(d->give, peer, bytes, len, type, why);
    if (type == RD_MANIFEST || type == RD_PIECE)
        return rd_fetch_take(d->fetch, peer, bytes, len, type, why);
    struct rep_message m;
    *why = rep_message_decode(bytes, len, &m);
    if (*why)
        return false;
    if ((m.type == REP_VOTE_RESULT || m.type == REP_TIMEOUT_NOW) && !d->leads && !rd_room(d, 0))
        return true; /* it cannot lead now */
    int rc = m.type == REP_APPEND ? rd_room_receive(d, d->peers[peer].raft_id, &m)
                                  : rep_receive(d->driver, rd_now(d), d->peers[peer].raft_id, &m);
    if (d->stopping)
        return true;
    if (rc == REP_EREFUSED) {
        *why = rep_error(d->driver);
        rd_daemon_act(d, 0);
        return false;
    }
    rd_daemon_act(d, rc);
    return true;
}

static void peer_up(void *context, size_t peer) {
    rd_members_introduce(context, peer);
}

static void peer_down(void *context, size_t peer) {
    struct rd_daemon *d = context;
    rd_say(d, "lost the connection to %s", d->config->peers[peer].name);
    rd_requests_down(d->requests, peer);
    rd_reads_down(d->reads, peer);
    rd_fetch_down(d->fetch, peer);
}

static void net_says(void *context, const char *text) {
    rd_say(context, "%s", text);
}

/* ---- the beginning ---- */

static int begin_driver(struct rd_daemon *d) {
    struct rep_start start;
    struct rd_log_about about;
    rd_log_about(d->log, &about);
    d->raft_id = about.raft_id;
    const struct rep_options o = {.id = d->raft_id,
                                  .address = d->config->node,
                                  .election_ms = (unsigned)d->config->election_timeout_ms,
                                  .heartbeat_ms = (unsigned)d->config->heartbeat_ms,
                                  .seed = randombytes_random()};
    const struct rep_log look = {d->log, rd_log_look};
    int rc = rep_driver_open(&o, &look, &d->driver);
    if (rc < 0)
        return es_fail(d->err, rc, "the consensus");
    rc = rd_log_start(d->log, d->config->trail_bytes, &start, d->err);
    if (rc < 0)
        return rc;
    rd_say(d, "begins as %s, raft id %016llx, with frames up to %llu, committed up to %llu", d->config->node,
           (unsigned long long)d->raft_id, (unsigned long long)about.last, (unsigned long long)start.committed);
    rd_daemon_act(d, rep_start(d->driver, rd_now(d), &start));
    return d->stopping ? d->code : 0;
}

static void begin_handles(struct rd_daemon *d) {
    uv_timer_init(&d->loop, &d->tick);
    uv_timer_init(&d->loop, &d->housekeeping);
    uv_signal_init(&d->loop, &d->terminate);
    uv_signal_init(&d->loop, &d->interrupt);
    uv_prepare_init(&d->loop, &d->before_sleep);
    d->tick.data = d->housekeeping.data = d->terminate.data = d->interrupt.data = d->before_sleep.data = d;
}

/* The store is there: takes part. */
static int begin_log(struct rd_daemon *d) {
    int rc = rd_log_open(d->options->store, d->config->store_id, &d->log, d->err);
    if (rc == 0)
        rc = begin_driver(d);
    if (rc == 0)
        rc = rd_clients_open(d, &d->clients, d->err);
    if (rc == 0)
        d->scrubs = uv_thread_create(&d->scrub, scrub_work, d) == 0;
    for (size_t i = 0; rc == 0 && i < d->config->peer_count; i++)
        rd_members_introduce(d, i);
    return rc;
}

void rd_daemon_join(struct rd_daemon *d, uint64_t incarnation) {
    int rc = rd_log_create(d->options->store, d->config->store_id, incarnation, d->err);
    if (rc == 0)
        rc = begin_log(d);
    if (rc < 0)
        rd_daemon_stop(d, rc);
}

/* What cannot be trusted any more is kept, for whoever wants to look at it, under another name. */
static int set_aside(struct rd_daemon *d) {
    char to[RD_PATH_ROOM + 32];
    int rc = rd_log_set_aside(d->options->store, d->config->store_id, to, sizeof to, d->err);
    if (rc == 0 && to[0])
        rd_say(d, "the store as it was is %s now; this node begins anew, under a new raft id", to);
    return rc;
}

static int begin(struct rd_daemon *d) {
    const struct rd_net_events events = {d, size_max, took_message, peer_up, peer_down, net_says};
    enum rd_log_state state = RD_LOG_NOTHING;
    int rc = rd_requests_open(d, &d->requests);
    if (rc == 0)
        rc = rd_reads_open(d, &d->reads);
    if (rc == 0)
        rc = rd_fetch_open(d, &d->fetch);
    if (rc == 0)
        rc = rd_give_open(d, &d->give);
    if (rc == 0 && d->options->rejoin)
        rc = set_aside(d);
    if (rc == 0 && d->options->bootstrap)
        rc = rd_log_bootstrap(d->options->store, d->config->store_id, d->config->node, d->err);
    if (rc == 0)
        rc = rd_log_look_at(d->options->store, &state, d->err);
    if (rc == 0 && state == RD_LOG_STANDALONE)
        rc = es_fail(d->err, ESDB_EUSAGE,
                     "%s: is a store that stands alone (--bootstrap, on one node only, makes it replicated)",
                     d->options->store);
    if (rc == 0)
        rc = rd_net_open(&d->loop, d->config, d->options->self, &events, &d->net, d->err);
    if (rc == 0)
        rc = rd_metrics_open(d, &d->metrics, d->err);
    if (rc == 0 && state == RD_LOG_REPLICATED)
        rc = begin_log(d);
    else if (rc == 0)
        rd_say(d, "has no store yet, and waits for a peer that has one");
    if (rc < 0)
        return rc;
    d->options->notify(d->log ? "READY=1" : "READY=1\nSTATUS=waits for a peer that has the store");
    uv_signal_start(&d->terminate, got_signal, SIGTERM);
    uv_signal_start(&d->interrupt, got_signal, SIGINT);
    uv_prepare_start(&d->before_sleep, pump);
    uv_timer_start(&d->housekeeping, keep_house, HOUSEKEEPING_MS, HOUSEKEEPING_MS);
    return 0;
}

int rd_daemon_run(const struct rd_daemon_options *o, struct esdb_error *err) {
    struct esdb_error first = {0};
    struct rd_daemon *d = calloc(1, sizeof *d);
    if (!d)
        return es_fail(err, -ENOMEM, "the daemon");
    d->options = o;
    d->config = o->config;
    d->err = &first;
    if (uv_loop_init(&d->loop) < 0) {
        free(d);
        return es_fail(err, -ENOMEM, "the loop");
    }
    signal(SIGPIPE, SIG_IGN);
    begin_handles(d);
    int rc = begin(d);
    if (rc < 0)
        rd_daemon_stop(d, rc);
    uv_run(&d->loop, UV_RUN_DEFAULT);
    rc = d->code;
    if (d->scrubs)
        uv_thread_join(&d->scrub);
    if (rc == ESDB_ECORRUPT)
        rd_say(d, "this node's log is damaged: it takes no part any more. Its store can be made anew from the others: "
                  "esdb-raftd --rejoin");
    rd_fetch_free(d->fetch);
    rd_give_free(d->give);
    free(d->clients);
    free(d->metrics);
    rd_intents_close(d);
    rd_requests_close(d->requests);
    rd_reads_close(d->reads);
    rep_driver_close(d->driver);
    rd_log_close(d->log);
    uv_loop_close(&d->loop);
    free(d);
    if (rc < 0 && err)
        *err = first;
    return rc;
}
