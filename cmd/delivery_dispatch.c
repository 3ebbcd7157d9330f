/* delivery_dispatch.c: which waiting event goes to which worker, and which must wait for another. */
#include "delivery_inside.h"

static void give(struct cmd_delivery *d, struct cmd_delivery_worker *w, struct cmd_delivery_event *e) {
    cmd_delivery_unlink(&d->waiting, e);
    cmd_delivery_push(&w->given, e);
    e->stream->in_flight++;
    e->stream->worker = w;
    e->attempts++;
}

/* True when e must wait, for its time or for another of its stream; later ones of its stream then wait too. */
static bool must_wait(struct cmd_delivery *d, struct cmd_delivery_event *e, uint64_t now) {
    struct cmd_delivery_stream *s = e->stream;

    if (d->o.order == CMD_ORDER_STREAM && s->blocked_pass == d->passes)
        return true;
    if (e->not_before_ms <= now)
        return false;
    if (e->not_before_ms < d->wake_ms)
        d->wake_ms = e->not_before_ms;
    s->blocked_pass = d->passes;
    return true;
}

static bool fits_batch(const struct cmd_delivery *d, const struct cmd_delivery_worker *w,
                       const struct cmd_delivery_event *e) {
    const struct cmd_delivery_event *first = w->given.first;

    if (d->o.order == CMD_ORDER_STREAM && e->stream->in_flight > 0 && e->stream->worker != w)
        return false;
    return !first || (first->group == e->group && !first->alone && !e->alone);
}

/* Gathers what an idle worker may have. */
static void fill_batch(struct cmd_delivery *d, struct cmd_delivery_worker *w, uint64_t now) {
    uint32_t most = d->o.mode == CMD_DELIVERY_BATCH ? d->o.batch : 1;
    bool strict = d->o.workers == 1 && d->o.order == CMD_ORDER_STREAM;

    d->passes++;
    for (struct cmd_delivery_event *e = d->waiting.first, *next; e && w->given.count < most; e = next) {
        next = e->next;
        if (!must_wait(d, e, now)) {
            if (fits_batch(d, w, e)) {
                give(d, w, e);
                continue;
            }
            e->stream->blocked_pass = d->passes;
        }
        if (strict)
            break;
    }
}

static void dispatch_batches(struct cmd_delivery *d, uint64_t now) {
    for (uint32_t i = 0; i < d->o.workers && d->waiting.first; i++) {
        struct cmd_delivery_worker *w = &d->worker[i];

        if (w->pid != 0)
            continue;
        fill_batch(d, w, now);
        if (w->given.count == 0)
            break; /* nor is there anything for another one */
        cmd_delivery_start(d, w);
    }
}

/* The loop that has the least to do; where the stream is, when some of it is there. NULL: none can take more. */
static struct cmd_delivery_worker *pick_loop(struct cmd_delivery *d, const struct cmd_delivery_stream *s,
                                             uint64_t now) {
    struct cmd_delivery_worker *best = NULL;

    if (d->o.order == CMD_ORDER_STREAM && s->in_flight > 0)
        return cmd_delivery_loop_can_take(d, s->worker, now) ? s->worker : NULL;
    for (uint32_t i = 0; i < d->o.workers; i++) {
        struct cmd_delivery_worker *w = &d->worker[i];

        if (cmd_delivery_loop_can_take(d, w, now) && (!best || w->given.count < best->given.count))
            best = w;
        else if (w->pid == 0 && w->start_ms > now && w->start_ms < d->wake_ms)
            d->wake_ms = w->start_ms;
    }
    return best;
}

static void dispatch_loops(struct cmd_delivery *d, uint64_t now) {
    bool strict = d->o.workers == 1 && d->o.order == CMD_ORDER_STREAM;
    uint32_t room = 0;

    for (uint32_t i = 0; i < d->o.workers; i++)
        room += d->o.window - d->worker[i].given.count;
    d->passes++;
    for (struct cmd_delivery_event *e = d->waiting.first, *next; e && room > 0; e = next) {
        struct cmd_delivery_worker *w = NULL;

        next = e->next;
        if (!must_wait(d, e, now) && (w = pick_loop(d, e->stream, now))) {
            if (w->given.count == 0)
                w->began_ms = now;
            give(d, w, e);
            if (!w->unsent)
                w->unsent = e;
            room--;
            continue;
        }
        e->stream->blocked_pass = d->passes;
        if (strict)
            break;
    }
    for (uint32_t i = 0; i < d->o.workers; i++) {
        struct cmd_delivery_worker *w = &d->worker[i];

        if (w->given.count > 0 && w->pid == 0)
            cmd_delivery_start(d, w);
        if (w->unsent)
            cmd_delivery_loop_send(d, w);
    }
}

void cmd_delivery_dispatch(struct cmd_delivery *d) {
    d->wake_ms = NEVER;
    if (d->stopping || !d->waiting.first)
        return;
    if (d->o.mode == CMD_DELIVERY_LOOP)
        dispatch_loops(d, cmd_delivery_now());
    else
        dispatch_batches(d, cmd_delivery_now());
}
