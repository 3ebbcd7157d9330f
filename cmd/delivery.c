/* delivery.c: the queue between the events that are offered and the children that get them. See delivery.h. */
#include "delivery.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "delivery_inside.h"
#include "internal.h"

enum {
    LOOK_AHEAD = 64,  /* events a worker that may be waiting behind their streams */
    BUCKETS_MIN = 64, /* of streams; a power of two */
    SLICE_MS = 1000,  /* the longest wait: bounds the harm of a signal between looking and waiting */
    PATIENCE_MS = 1,  /* with children, before the store is watched too: quick ones do not need it */
    POLL_MS = 10,     /* without a thread that watches the store */
};

void cmd_delivery_options_init(struct cmd_delivery_options *o) {
    *o = (struct cmd_delivery_options){.batch = 1,
                                       .window = 1,
                                       .workers = 1,
                                       .retries = 5,
                                       .backoff_ms = 1000,
                                       .backoff_max_ms = 60000,
                                       .stop_timeout_ms = 10000};
}

uint64_t cmd_delivery_now(void) {
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

uint64_t cmd_delivery_backoff(const struct cmd_delivery *d, uint32_t n) {
    uint64_t first = (uint64_t)d->o.backoff_ms, most = (uint64_t)d->o.backoff_max_ms;

    if (n > 31 || first << (n - 1) > most)
        return most;
    return first << (n - 1);
}

/* ---- lists ---- */

void cmd_delivery_push(struct cmd_delivery_list *l, struct cmd_delivery_event *e) {
    e->next = NULL;
    e->previous = l->last;
    if (l->last)
        l->last->next = e;
    else
        l->first = e;
    l->last = e;
    l->count++;
}

void cmd_delivery_unlink(struct cmd_delivery_list *l, struct cmd_delivery_event *e) {
    if (e->previous)
        e->previous->next = e->next;
    else
        l->first = e->next;
    if (e->next)
        e->next->previous = e->previous;
    else
        l->last = e->previous;
    l->count--;
}

/* In order of the offers. What comes back is old: the place is near the begin. */
static void insert_waiting(struct cmd_delivery *d, struct cmd_delivery_event *e) {
    struct cmd_delivery_list *l = &d->waiting;
    struct cmd_delivery_event *at = l->first;

    while (at && at->sequence < e->sequence)
        at = at->next;
    if (!at) {
        cmd_delivery_push(l, e);
        return;
    }
    e->next = at;
    e->previous = at->previous;
    if (at->previous)
        at->previous->next = e;
    else
        l->first = e;
    at->previous = e;
    l->count++;
}

/* ---- streams ---- */

static void grow_buckets(struct cmd_delivery *d) {
    uint32_t count = d->bucket_count ? 2 * d->bucket_count : BUCKETS_MIN;
    struct cmd_delivery_stream **bucket = cmd_alloc(count * sizeof *bucket);

    for (uint32_t i = 0; i < d->bucket_count; i++)
        for (struct cmd_delivery_stream *s = d->bucket[i], *next; s; s = next) {
            next = s->next;
            s->next = bucket[s->hash & (count - 1)];
            bucket[s->hash & (count - 1)] = s;
        }
    free(d->bucket);
    d->bucket = bucket;
    d->bucket_count = count;
}

/* The stream's entry, made when it is not there. */
static struct cmd_delivery_stream *find_stream(struct cmd_delivery *d, struct esdb_text name) {
    uint64_t hash = esdb_partition(name, UINT32_MAX);
    struct cmd_delivery_stream *s;

    if (d->stream_count >= d->bucket_count)
        grow_buckets(d);
    for (s = d->bucket[hash & (d->bucket_count - 1)]; s; s = s->next)
        if (s->hash == hash && s->len == name.len && memcmp(s->name, name.at, name.len) == 0)
            return s;
    s = cmd_alloc(sizeof *s + name.len);
    s->hash = hash;
    s->len = name.len;
    memcpy(s->name, name.at, name.len);
    s->next = d->bucket[hash & (d->bucket_count - 1)];
    d->bucket[hash & (d->bucket_count - 1)] = s;
    d->stream_count++;
    return s;
}

static void leave_stream(struct cmd_delivery *d, struct cmd_delivery_stream *s) {
    struct cmd_delivery_stream **at = &d->bucket[s->hash & (d->bucket_count - 1)];

    if (--s->events > 0 || s->parked)
        return;
    while (*at != s)
        at = &(*at)->next;
    *at = s->next;
    d->stream_count--;
    free(s);
}

void cmd_delivery_park_stream(struct cmd_delivery *d, struct esdb_text stream_id) {
    find_stream(d, stream_id)->parked = true;
}

/* ---- how attempts end ---- */

static void finish(struct cmd_delivery *d, struct cmd_delivery_event *e, enum cmd_delivery_result result) {
    e->result = result;
    cmd_delivery_push(&d->done, e);
}

static void finish_waiting(struct cmd_delivery *d, const struct cmd_delivery_stream *only,
                           enum cmd_delivery_result result) {
    for (struct cmd_delivery_event *e = d->waiting.first, *next; e; e = next) {
        next = e->next;
        if (only && e->stream != only)
            continue;
        cmd_delivery_unlink(&d->waiting, e);
        if (only) {
            free(e->failure);
            e->failure = NULL;
        }
        finish(d, e, result);
    }
}

static void take_from(struct cmd_delivery_worker *w, struct cmd_delivery_event *e) {
    if (w->unsent == e) {
        w->unsent = e->next;
        w->sent = 0;
    }
    cmd_delivery_unlink(&w->given, e);
    e->stream->in_flight--;
}

void cmd_delivery_return(struct cmd_delivery *d, struct cmd_delivery_worker *w, struct cmd_delivery_event *e) {
    take_from(w, e);
    e->attempts--;
    e->redo = false;
    if (d->stopping)
        finish(d, e, CMD_STOPPED);
    else if (e->stream->parked)
        finish(d, e, CMD_FAILED);
    else
        insert_waiting(d, e);
}

void cmd_delivery_succeed(struct cmd_delivery *d, struct cmd_delivery_worker *w, struct cmd_delivery_event *e) {
    if (e->redo) {
        cmd_delivery_return(d, w, e);
        return;
    }
    take_from(w, e);
    finish(d, e, CMD_OK);
}

static void fail_for_good(struct cmd_delivery *d, struct cmd_delivery_event *e) {
    finish(d, e, CMD_FAILED);
    if (d->o.park == CMD_PARK_STREAM) {
        e->stream->parked = true;
        finish_waiting(d, e->stream, CMD_FAILED);
    } else if (d->o.park == CMD_PARK_STOP) {
        cmd_delivery_abort(d, 123);
    }
}

void cmd_delivery_fail(struct cmd_delivery *d, struct cmd_delivery_worker *w, struct cmd_delivery_event *e,
                       struct cmd_delivery_failure *f) {
    bool final = e->alone || e->attempts > d->o.retries;

    if (e->redo) {
        free(f);
        cmd_delivery_return(d, w, e);
        return;
    }
    take_from(w, e);
    free(e->failure);
    e->failure = f;
    if (d->o.order == CMD_ORDER_STREAM && (!final || d->o.park != CMD_PARK_EVENT))
        for (struct cmd_delivery_event *i = w->given.first; i; i = i->next)
            if (i->stream == e->stream && i->sequence > e->sequence)
                i->redo = true;
    if (final && !(w->end >= END_TERM && w->why[0] == '\0')) {
        fail_for_good(d, e);
    } else if (d->stopping) {
        finish(d, e, CMD_STOPPED);
    } else {
        e->not_before_ms = cmd_delivery_now() + cmd_delivery_backoff(d, e->attempts);
        insert_waiting(d, e);
    }
}

void cmd_delivery_fail_all(struct cmd_delivery *d, struct cmd_delivery_worker *w, struct cmd_delivery_failure *f) {
    struct cmd_delivery_event *e = w->given.first;
    uint64_t group = e->group, now = cmd_delivery_now();

    if (w->given.count == 1) {
        cmd_delivery_fail(d, w, e, f);
        return;
    }
    if (group == 0)
        group = ++d->groups;
    while ((e = w->given.first)) {
        take_from(w, e);
        e->group = group;
        if (e->attempts > d->o.retries) {
            e->alone = true;
            e->not_before_ms = now;
        } else {
            e->not_before_ms = now + cmd_delivery_backoff(d, e->attempts);
        }
        if (d->stopping)
            finish(d, e, CMD_STOPPED);
        else
            insert_waiting(d, e);
    }
    free(f);
}

void cmd_delivery_abort(struct cmd_delivery *d, int status) {
    if (d->status == 0)
        d->status = status;
    cmd_delivery_stop(d);
}

void cmd_delivery_stop(struct cmd_delivery *d) {
    if (d->stopping)
        return;
    d->stopping = true;
    d->stop_ms = cmd_delivery_now() + (uint64_t)d->o.stop_timeout_ms;
    finish_waiting(d, NULL, CMD_STOPPED);
    for (uint32_t i = 0; i < d->o.workers; i++) {
        struct cmd_delivery_worker *w = &d->worker[i];
        /* What the child has not seen a byte of. */
        struct cmd_delivery_event *e = w->unsent && w->sent > 0 ? w->unsent->next : w->unsent;

        for (struct cmd_delivery_event *next; e; e = next) {
            next = e->next;
            cmd_delivery_return(d, w, e);
        }
    }
}

/* ---- the caller's side ---- */

/* As many as all commands have at the same time. */
static uint32_t at_work(const struct cmd_delivery_options *o) {
    uint32_t each = o->mode == CMD_DELIVERY_LOOP ? o->window : o->mode == CMD_DELIVERY_BATCH ? o->batch : 1;

    return each * o->workers;
}

static uint32_t count_max(const struct cmd_delivery_options *o) {
    if (o->mode == CMD_DELIVERY_LOOP)
        return 2 * o->window * o->workers;
    if (o->mode == CMD_DELIVERY_BATCH)
        return 2 * o->batch * o->workers;
    return o->workers == 1 || o->order == CMD_ORDER_NONE ? o->workers : LOOK_AHEAD * o->workers;
}

int cmd_delivery_open(const struct cmd_delivery_options *o, struct cmd_delivery **out) {
    struct cmd_delivery *d = cmd_alloc(sizeof *d);
    int status;

    d->o = *o;
    d->count_max = count_max(o);
    if (o->queue_max > 0 && o->queue_max < d->count_max)
        d->count_max = o->queue_max > at_work(o) ? o->queue_max : at_work(o);
    grow_buckets(d);
    if ((status = cmd_delivery_command_open(d)) != 0)
        goto err_after_alloc;
    if ((status = cmd_delivery_children_open(d)) != 0)
        goto err_after_command;
    *out = d;
    return 0;

err_after_command:
    cmd_delivery_command_close(d);
err_after_alloc:
    free(d->bucket);
    free(d);
    return status;
}

bool cmd_delivery_full(const struct cmd_delivery *d) {
    return d->stopping || d->count >= d->count_max || d->size >= QUEUE_BYTES;
}

void cmd_delivery_stop_before(struct cmd_delivery *d, uint64_t ms) {
    d->stop_before_ms = ms;
}

static struct cmd_delivery_event *copy_event(const struct esdb_event *from) {
    size_t room = sizeof(struct cmd_delivery_event) + esdb_event_json_room(from) + 1, used;
    struct cmd_delivery_event *e = cmd_grow(NULL, room + from->event_type.len + from->event_id.len);
    size_t len = esdb_event_json(from, e->line);
    char *text;

    e->line[len++] = '\n';
    used = sizeof *e + len + from->event_type.len + from->event_id.len;
    if (room > 2 * used)
        e = cmd_grow(e, used);
    text = e->line + len;
    memset(e, 0, sizeof *e);
    e->size = used;
    e->line_len = len;
    e->position = from->position;
    e->version = from->version;
    e->epoch_us = from->epoch_us;
    e->event_type = (struct esdb_text){text, from->event_type.len};
    e->event_id = (struct esdb_text){text + from->event_type.len, from->event_id.len};
    memcpy(text, from->event_type.at, from->event_type.len);
    memcpy(text + from->event_type.len, from->event_id.at, from->event_id.len);
    return e;
}

bool cmd_delivery_offer(struct cmd_delivery *d, const struct esdb_event *event) {
    struct cmd_delivery_event *e;

    if (cmd_delivery_full(d))
        return false;
    e = copy_event(event);
    e->stream = find_stream(d, event->stream_id);
    e->stream->events++;
    e->sequence = d->sequences++;
    e->older = d->newest;
    if (d->newest)
        d->newest->newer = e;
    else
        d->oldest = e;
    d->newest = e;
    d->count++;
    d->size += e->size;
    if (e->stream->parked)
        finish(d, e, CMD_FAILED);
    else
        cmd_delivery_push(&d->waiting, e);
    return true;
}

static void forget(struct cmd_delivery *d, struct cmd_delivery_event *e) {
    leave_stream(d, e->stream);
    free(e->failure);
    free(e);
}

/* The next event that is done, as the outcome. */
static bool take_done(struct cmd_delivery *d, struct cmd_delivery_outcome *out) {
    struct cmd_delivery_event *e = d->done.first;
    const struct cmd_delivery_failure *f;

    if (!e)
        return false;
    cmd_delivery_unlink(&d->done, e);
    *(e->older ? &e->older->newer : &d->oldest) = e->newer;
    *(e->newer ? &e->newer->older : &d->newest) = e->older;
    d->count--;
    d->size -= e->size;
    d->collected = e;
    f = e->result == CMD_OK ? NULL : e->failure;
    *out = (struct cmd_delivery_outcome){
        .result = e->result,
        .position = e->position,
        .version = e->version,
        .epoch_us = e->epoch_us,
        .stream_id = {e->stream->name, e->stream->len},
        .event_type = e->event_type,
        .event_id = e->event_id,
        .attempts = e->attempts,
        .exit_status = f                                                       ? f->exit_status
                       : e->result == CMD_OK && d->o.mode != CMD_DELIVERY_LOOP ? 0
                                                                               : -1,
        .signal = f ? f->signal : 0,
        .reason = f                         ? f->reason
                  : e->result == CMD_OK     ? ""
                  : e->result == CMD_FAILED ? "stream parked"
                                            : "stopped",
        .stderr_tail = {f ? f->tail : "", f ? f->tail_len : 0},
    };
    return true;
}

enum { COLLECT_NONE, COLLECT_OUTCOME, COLLECT_EXTRA };

static int collect(struct cmd_delivery *d, int timeout_ms, int extra, struct cmd_delivery_outcome *out) {
    uint64_t until = timeout_ms < 0 ? NEVER : timeout_ms == 0 ? 0 : cmd_delivery_now() + (uint64_t)timeout_ms;
    bool polled = false;

    if (d->collected)
        forget(d, d->collected);
    d->collected = NULL;
    for (;;) {
        if (cmd_stopped)
            cmd_delivery_stop(d);
        if (take_done(d, out))
            return COLLECT_OUTCOME;
        cmd_delivery_dispatch(d);
        if (d->done.first)
            continue;
        if (d->count == 0 || (polled && (until == 0 || cmd_delivery_now() >= until)))
            return COLLECT_NONE;
        if (cmd_delivery_poll(d, until, extra))
            return COLLECT_EXTRA;
        polled = true;
        cmd_delivery_dispatch(d); /* before the caller hears of what is done: the children need not wait for it */
    }
}

bool cmd_delivery_collect(struct cmd_delivery *d, int timeout_ms, struct cmd_delivery_outcome *out) {
    return collect(d, timeout_ms, -1, out) == COLLECT_OUTCOME;
}

enum cmd_delivery_wait cmd_delivery_wait(struct cmd_delivery *d, esdb_cursor *cursor, int timeout_ms,
                                         struct cmd_delivery_outcome *out, int *rc, struct esdb_error *err) {
    int found;

    if (timeout_ms < 0 || timeout_ms > SLICE_MS)
        timeout_ms = SLICE_MS;
    if (cmd_delivery_idle(d)) {
        if (d->stopping || cmd_stopped)
            return CMD_WAIT_TIME;
        *rc = esdb_cursor_wait(cursor, timeout_ms, err);
        if (*rc == ESDB_END)
            cmd_delivery_poll(d, 0, -1); /* what idle loops say or do meanwhile */
        return *rc == 0 ? CMD_WAIT_MORE : *rc == ESDB_END ? CMD_WAIT_TIME : CMD_WAIT_FAILED;
    }
    if (cmd_delivery_full(d))
        return cmd_delivery_collect(d, timeout_ms, out) ? CMD_WAIT_OUTCOME : CMD_WAIT_TIME;
    if (cmd_delivery_collect(d, timeout_ms < PATIENCE_MS ? timeout_ms : PATIENCE_MS, out))
        return CMD_WAIT_OUTCOME;
    if (timeout_ms <= PATIENCE_MS || cmd_stopped)
        return CMD_WAIT_TIME;
    if (!d->waker)
        d->waker = cmd_waker_start(cmd_opened_store());
    if (!d->waker)
        return cmd_delivery_collect(d, POLL_MS, out) ? CMD_WAIT_OUTCOME : CMD_WAIT_MORE;
    cmd_waker_arm(d->waker, esdb_cursor_position(cursor));
    found = collect(d, timeout_ms, cmd_waker_fd(d->waker), out);
    return found == COLLECT_EXTRA ? CMD_WAIT_MORE : found == COLLECT_OUTCOME ? CMD_WAIT_OUTCOME : CMD_WAIT_TIME;
}

bool cmd_delivery_idle(const struct cmd_delivery *d) {
    return d->count == 0;
}

bool cmd_delivery_oldest(const struct cmd_delivery *d, uint64_t *position) {
    if (d->oldest)
        *position = d->oldest->position;
    return d->oldest != NULL;
}

int cmd_delivery_status(const struct cmd_delivery *d) {
    return d->status;
}

void cmd_delivery_close(struct cmd_delivery *d) {
    if (!d)
        return;
    cmd_delivery_stop(d);
    cmd_delivery_children_close(d);
    if (d->collected)
        forget(d, d->collected);
    for (struct cmd_delivery_event *e = d->oldest, *newer; e; e = newer) {
        newer = e->newer;
        forget(d, e);
    }
    for (uint32_t i = 0; i < d->bucket_count; i++)
        for (struct cmd_delivery_stream *s = d->bucket[i], *next; s; s = next) {
            next = s->next;
            free(s);
        }
    cmd_waker_stop(d->waker);
    cmd_delivery_command_close(d);
    free(d->bucket);
    free(d);
}
