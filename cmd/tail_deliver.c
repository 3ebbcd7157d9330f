/* tail_deliver.c: a named subscription whose events are given to a command (--exec). The checkpoint is the lowest position
 * that is not settled. See tail_named.h. */
#include <stdlib.h>
#include <string.h>

#include "tail_named.h"

struct deliver {
    struct named *n;
    struct cmd_delivery *d;
    bool at_end, look;
    uint64_t failed;
    uint64_t stopped; /* lowest position that came back unsettled; UINT64_MAX: none */
    int status;       /* 0, or why it is over */
};

static uint64_t watermark(const struct deliver *t) {
    uint64_t position = cmd_named_position(t->n), oldest;

    if (cmd_delivery_oldest(t->d, &oldest) && oldest < position)
        position = oldest;
    return t->stopped < position ? t->stopped : position;
}

static void fail(struct deliver *t, int status) {
    if (t->status == 0)
        t->status = status;
    if (status != 0)
        cmd_delivery_stop(t->d);
}

static void park(struct deliver *t, const struct cmd_delivery_outcome *o) {
    struct esdb_parked p = {.position = o->position,
                            .version = o->version,
                            .epoch_us = o->epoch_us,
                            .stream_id = o->stream_id,
                            .event_type = o->event_type,
                            .event_id = o->event_id,
                            .reason = cmd_text(o->reason),
                            .stderr_tail = o->stderr_tail,
                            .attempts = o->attempts,
                            .exit_status = o->exit_status};

    t->failed++;
    fail(t, cmd_named_park(t->n, &p));
}

static void settle(struct deliver *t, const struct cmd_delivery_outcome *o) {
    bool retry = cmd_named_is_retry(t->n, o->position);

    if (o->result == CMD_STOPPED) {
        if (!retry && o->position < t->stopped)
            t->stopped = o->position;
        return;
    }
    cmd_named_counts(t->n, o->stream_id)->retried += o->attempts > 1 ? o->attempts - 1 : 0;
    if (o->result == CMD_FAILED) {
        park(t, o);
        if (t->status != 0 && o->position < t->stopped)
            t->stopped = o->position; /* it could not be parked */
    } else {
        cmd_named_counts(t->n, o->stream_id)->delivered++;
        if (retry)
            fail(t, cmd_named_retried(t->n, o->position));
    }
    cmd_named_settle(t->n, o->stream_id, o->position);
}

static bool give(void *context, const struct esdb_event *e) {
    struct deliver *t = context;

    return cmd_delivery_offer(t->d, e);
}

/* Offers until the queue is full or there is no more. */
static void offer(struct deliver *t) {
    struct esdb_error err = {0};
    struct esdb_event e;
    int rc;

    while (!t->at_end && !cmd_stopped && t->status == 0 && !cmd_delivery_full(t->d)) {
        int timeout_ms = 0;

        rc = cmd_named_next(t->n, &e, &err);
        if (rc == 0)
            cmd_delivery_offer(t->d, &e);
        else if (rc == ESDB_PAUSED)
            fail(t, cmd_named_save_when_due(t->n, watermark(t), &timeout_ms));
        else if (rc == ESDB_END)
            t->at_end = t->look = true;
        else
            fail(t, cmd_named_cursor_failed(t->n, rc, &err));
    }
    if (t->n->queue && !t->at_end && t->status == 0) { /* the command is slow */
        cmd_named_more(t->n);
        if (cmd_queue_look(t->n) != 0)
            fail(t, 9);
    }
    if (!t->look || cmd_stopped || t->status != 0)
        return;
    t->look = false; /* once after each time that something came */
    if ((rc = cmd_named_look(t->n)) == 0)
        rc = cmd_named_give_retries(t->n, give, t);
    fail(t, rc);
}

static bool is_over(struct deliver *t) {
    int status = 0;

    if (!cmd_delivery_idle(t->d))
        return false;
    if (cmd_stopped || t->status != 0 || cmd_delivery_status(t->d) != 0)
        return true;
    if (!t->at_end || !cmd_named_finished(t->n, &status))
        return false;
    fail(t, status);
    return true;
}

static bool park_stream(void *context, const struct esdb_event *e) {
    cmd_delivery_park_stream(context, e->stream_id);
    return false;
}

/* Streams of events that were parked in earlier lives, or by others, wait. */
static int park_streams(struct deliver *t) {
    struct esdb_parked_entry *list;
    struct esdb_error err = {0};
    size_t count;
    int rc;

    if (t->n->t->delivery.park != CMD_PARK_STREAM)
        return 0;
    if ((rc = esdb_parked_list(t->n->db, cmd_text(t->n->t->name), &list, &count, &err)) != 0)
        return cmd_report(rc, &err);
    for (size_t i = 0; i < count && rc <= 0; i++)
        rc = list[i].retry ? 0 : cmd_named_give_one(t->n, list[i].position, false, park_stream, t->d);
    free(list);
    return rc <= 0 ? 0 : rc;
}

static void run(struct deliver *t) {
    struct cmd_delivery_outcome out;
    struct esdb_error err = {0};
    int rc = 0;

    for (;;) {
        enum cmd_delivery_wait found;
        int timeout_ms = NAMED_SLICE_MS;

        cmd_named_alive(t->n, &timeout_ms);
        cmd_delivery_stop_before(t->d, cmd_lease_until(t->n));
        offer(t);
        if (is_over(t))
            return;
        if (t->status == 0)
            fail(t, cmd_named_save_when_due(t->n, watermark(t), &timeout_ms));
        if (cmd_named_again(t->n)) {
            t->at_end = false;
            fail(t, park_streams(t));
            continue;
        }
        if (t->n->queue && !t->at_end && timeout_ms > NAMED_BUSY_MS)
            timeout_ms = NAMED_BUSY_MS;
        if ((t->n->t->once && !t->n->group) || !t->at_end)
            found = cmd_delivery_collect(t->d, timeout_ms, &out) ? CMD_WAIT_OUTCOME : CMD_WAIT_TIME;
        else
            found = cmd_delivery_wait(t->d, cmd_named_cursor(t->n), timeout_ms, &out, &rc, &err);
        if (found == CMD_WAIT_OUTCOME)
            settle(t, &out);
        else if (found == CMD_WAIT_MORE) {
            t->at_end = false;
            cmd_named_more(t->n);
        } else if (found == CMD_WAIT_FAILED)
            fail(t, cmd_report(rc, &err));
    }
}

int cmd_named_deliver(struct named *n) {
    struct deliver t = {.n = n, .look = true, .stopped = UINT64_MAX};
    int status = cmd_delivery_open(&n->t->delivery, &t.d);

    if (status != 0)
        return status;
    if ((status = park_streams(&t)) == 0) {
        run(&t);
        status = t.status;
        if (status != 6 && status != 4) {
            int last = cmd_named_save(n, watermark(&t));

            status = status ? status : last;
        }
        if (status == 0)
            status = cmd_delivery_status(t.d);
    }
    cmd_delivery_close(t.d);
    return status == 0 && t.failed > 0 ? 123 : status;
}
