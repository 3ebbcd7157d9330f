/* delivery_tail.c: esdb-tail --exec without a name: nothing is remembered, failures are told. */
#include "delivery.h"

enum { SLICE_MS = 1000 };

struct deliver {
    struct cmd_delivery *d;
    esdb_cursor *cursor;
    bool until_end, at_end;
    uint64_t failed;
    int status;
};

static void look_at(struct deliver *t, const struct cmd_delivery_outcome *out) {
    if (out->result != CMD_FAILED)
        return;
    t->failed++;
    cmd_message("position %llu (%.*s, version %llu) failed after %u attempt%s: %s", (unsigned long long)out->position,
                (int)out->stream_id.len, out->stream_id.at, (unsigned long long)out->version, out->attempts,
                out->attempts == 1 ? "" : "s", out->reason);
}

/* Reports an error of the cursor. Behind damage it goes on. */
static void report(struct deliver *t, int rc, struct esdb_error *err) {
    t->status = cmd_report(rc, err);
    *err = (struct esdb_error){0};
    if (rc != ESDB_ECORRUPT)
        t->at_end = t->until_end = true;
}

/* Offers until the queue is full or the cursor has no more. */
static void offer(struct deliver *t) {
    struct esdb_error err = {0};
    struct esdb_event e;
    int rc;

    while (!t->at_end && !cmd_stopped && !cmd_delivery_full(t->d)) {
        rc = esdb_cursor_next(t->cursor, &e, &err);
        if (rc == 0)
            cmd_delivery_offer(t->d, &e);
        else if (rc == ESDB_END)
            t->at_end = true;
        else
            report(t, rc, &err);
    }
}

static void run(struct deliver *t) {
    struct cmd_delivery_outcome out;
    struct esdb_error err = {0};
    int rc;

    for (;;) {
        enum cmd_delivery_wait found = CMD_WAIT_TIME;

        offer(t);
        if (cmd_delivery_idle(t->d) && (t->until_end || cmd_stopped || cmd_delivery_status(t->d) != 0) &&
            (t->at_end || cmd_stopped || cmd_delivery_status(t->d) != 0))
            return;
        if (t->until_end || !t->at_end)
            found = cmd_delivery_collect(t->d, SLICE_MS, &out) ? CMD_WAIT_OUTCOME : CMD_WAIT_TIME;
        else
            found = cmd_delivery_wait(t->d, t->cursor, SLICE_MS, &out, &rc, &err);
        if (found == CMD_WAIT_OUTCOME)
            look_at(t, &out);
        else if (found == CMD_WAIT_MORE)
            t->at_end = false;
        else if (found == CMD_WAIT_FAILED && rc == ESDB_ENOTFOUND)
            t->until_end = true; /* the range is finished */
        else if (found == CMD_WAIT_FAILED)
            report(t, rc, &err);
    }
}

int cmd_deliver(esdb_cursor *cursor, const struct cmd_delivery_options *o, bool until_end) {
    struct deliver t = {.cursor = cursor, .until_end = until_end};
    int status = cmd_delivery_open(o, &t.d);

    if (status != 0)
        return status;
    run(&t);
    status = cmd_delivery_status(t.d);
    cmd_delivery_close(t.d);
    if (status == 0)
        status = t.failed > 0 ? 123 : t.status;
    return status;
}
