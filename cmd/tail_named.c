/* tail_named.c: esdb-tail --name: a durable subscription. The checkpoint is moved once the lines before it are written. */
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "notify.h"
#include "tail_named.h"

#define ATOMIC_WRITE 4096 /* bytes that a pipe takes at once when it takes any */
#define CLOCK_EVENTS 64   /* between two looks at the clock */

uint64_t cmd_named_now_ms(void) {
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

void cmd_named_alive(struct named *n, int *timeout_ms) {
    if (cmd_stopped && !n->stopping) {
        cmd_notify("STOPPING=1");
        n->stopping = true;
    }
    cmd_notify_alive(timeout_ms);
}

/* ---- which subscription ---- */

static int make(struct named *n, struct esdb_error *err) {
    struct tail *t = n->t;
    uint64_t start;
    int rc;

    if (!t->selects) {
        cmd_message("%s: no such subscription; to make it, name streams, or say --all", t->name);
        return 4;
    }
    if ((rc = cmd_tail_find_from(n->db, &t->from, &start, err)) == 0)
        rc = esdb_subscription_create(n->db, cmd_text(t->name), &t->q, start, t->group ? ESDB_GROUP_PARTS : t->parts,
                                      t->group, &n->sub, err);
    if (rc == ESDB_ECONFLICT) { /* made by somebody else meanwhile */
        *err = (struct esdb_error){0};
        rc = esdb_subscription_open(n->db, cmd_text(t->name), 0, &n->sub, err);
    }
    return rc == 0 ? 0 : cmd_report(rc, err);
}

/* Compares what was asked for with what is recorded. */
static int differs(struct named *n, bool *differ, struct esdb_error *err) {
    struct esdb_subscription_info info;
    char *json;
    int rc;

    *differ = false;
    if (!n->t->selects)
        return 0;
    if ((rc = esdb_selector_write(&n->t->q, &json, err)) != 0)
        return cmd_report(rc, err);
    esdb_subscription_info(n->sub, &info, NULL);
    *differ = strlen(json) != info.selector.len || memcmp(json, info.selector.at, info.selector.len) != 0;
    if (*differ && !n->t->change) {
        cmd_message("%s: is there with another selector; --change replaces it", n->t->name);
        cmd_message("recorded: %.*s", (int)info.selector.len, info.selector.at);
        cmd_message("given:    %s", json);
    }
    free(json);
    return *differ && !n->t->change ? 2 : 0;
}

/* Is it divided as was asked for? How to divide it otherwise is told. */
static int check_parts(struct named *n, const struct esdb_subscription_info *info) {
    struct tail *t = n->t;
    const char *name = t->name;

    t->group |= info->group && t->parts == 0;
    if (t->group ? info->group : info->parts == t->parts && !info->group)
        return 0;
    if (info->group)
        cmd_message("%s: is shared by a group", name);
    else if (info->parts)
        cmd_message("%s: is divided into %u parts, which are followed with --partition 1/%u to %u/%u", name,
                    info->parts, info->parts, info->parts, info->parts);
    else
        cmd_message("%s: is not divided", name);
    cmd_message(
        "to divide it otherwise, end all that follow it, run 'esdb-sub remove %s', and begin with --from pos:%llu",
        name, (unsigned long long)info->position);
    return 2;
}

/* Makes it what was asked for. Held, unless it is divided: then nobody may hold a part. */
static int change(struct named *n, bool differ, struct esdb_error *err) {
    uint64_t position;
    int rc = 0;

    if (!n->t->change)
        return 0;
    if (differ)
        rc = esdb_subscription_change(n->sub, &n->t->q, 0, err);
    if (rc == 0 && n->t->has_from && (rc = cmd_tail_find_from(n->db, &n->t->from, &position, err)) == 0)
        rc = esdb_subscription_seek(n->sub, position, 0, err);
    return rc == 0 ? 0 : cmd_report(rc, err);
}

/* A lease of another host seems to have run out. */
static bool is_lapsing(struct named *n) {
    struct esdb_subscription_info info;

    return esdb_subscription_info(n->sub, &info, NULL) == 0 && info.lapsing;
}

/* Waits in slices, so that a signal ends it. Whoever waits stands by: that is what was asked for, and so it is ready. */
int cmd_named_take(struct named *n, int (*take)(esdb_subscription *s, int timeout_ms, struct esdb_error *err)) {
    struct esdb_error err = {0};
    bool told = false;
    int rc;

    esdb_subscription_set_lease(n->sub, n->t->lease_ms);
    rc = take(n->sub, 0, &err);
    while (rc == ESDB_EUNAVAILABLE && !cmd_stopped && (n->t->wait || is_lapsing(n))) {
        int timeout_ms = NAMED_SLICE_MS;

        if (!told)
            cmd_notify("READY=1\nSTATUS=stands by: another process holds it");
        told = true;
        cmd_named_alive(n, &timeout_ms);
        err = (struct esdb_error){0};
        rc = take(n->sub, timeout_ms, &err);
    }
    if (cmd_stopped)
        return 0;
    return rc == 0 ? cmd_lease_keep(n) : cmd_report(rc, &err);
}

static int hold(struct named *n, struct esdb_error *err) {
    int rc, status = cmd_named_take(n, esdb_subscription_hold);

    if (status != 0 || cmd_stopped)
        return status;
    rc = n->t->once ? 0 /* the first thing that happens tells who it was */ : esdb_subscription_claim(n->sub, err);
    return rc == 0 ? 0 : cmd_report(rc, err);
}

/* Of a divided one, from now on the part that was asked for. */
static int take_part(struct named *n, struct esdb_error *err) {
    int rc;

    if (n->t->parts == 0)
        return 0;
    esdb_subscription_close(n->sub);
    n->sub = NULL;
    rc = esdb_subscription_open(n->db, cmd_text(n->t->name), n->t->part, &n->sub, err);
    return rc == 0 ? 0 : cmd_report(rc, err);
}

static int begin(struct named *n) {
    struct esdb_subscription_info info;
    struct esdb_error err = {0};
    bool differ = false, divided;
    int status, rc = esdb_subscription_open(n->db, cmd_text(n->t->name), 0, &n->sub, &err);

    if (rc == ESDB_ENOTFOUND) {
        err = (struct esdb_error){0};
        status = make(n, &err);
    } else {
        status = rc == 0 ? 0 : cmd_report(rc, &err);
    }
    if (status == 0)
        status = differs(n, &differ, &err);
    if (status == 0 && (rc = esdb_subscription_info(n->sub, &info, &err)) != 0)
        status = cmd_report(rc, &err);
    if (status == 0)
        status = check_parts(n, &info);
    divided = n->t->group || n->t->parts;
    if (status == 0 && divided)
        status = change(n, differ, &err);
    if (status == 0)
        status = take_part(n, &err);
    if (status == 0 && !n->t->group)
        status = hold(n, &err);
    if (status == 0 && !divided && !cmd_stopped)
        status = change(n, differ, &err);
    return status;
}

int cmd_named_open_cursor(struct named *n, uint64_t from_position) {
    struct esdb_error err = {0};
    esdb_selector *selector;
    esdb_cursor *cursor;
    int status, rc = esdb_selector_read(cmd_text(n->selector), &selector, &err);

    if (rc != 0)
        return cmd_report(rc, &err);

    struct esdb_query q = *esdb_selector_query(selector);

    q.from_position = from_position;
    q.step_max = NAMED_STEP_MAX;
    q.partition = n->t->part;
    q.partitions = n->t->parts;
    rc = esdb_cursor_open(n->db, &q, &cursor, &err);
    status = rc == 0 ? cmd_queue_open(n, &q) : cmd_report(rc, &err);
    esdb_selector_close(selector);
    if (rc == 0) {
        if (n->written > from_position)
            n->written = from_position;
        esdb_cursor_close(n->cursor);
        n->cursor = cursor;
    }
    return status;
}

bool cmd_named_again(struct named *n) {
    bool again = n->again;

    n->again = false;
    return again;
}

static int open_cursor(struct named *n) {
    struct esdb_subscription_info info;

    if (n->t->group)
        return cmd_group_open(n);
    esdb_subscription_info(n->sub, &info, NULL);
    n->selector = cmd_alloc(info.selector.len + 1);
    memcpy(n->selector, info.selector.at, info.selector.len);
    n->saved = info.position;
    return cmd_named_open_cursor(n, info.position);
}

/* ---- the checkpoint ---- */

/* The checkpoints of subscriptions must not be what the next checkpoint is about. */
static bool is_own(struct esdb_text stream_id) {
    return stream_id.len > 4 && memcmp(stream_id.at, "$sub", 4) == 0;
}

struct esdb_subscription_counts *cmd_named_counts(struct named *n, struct esdb_text stream_id) {
    return n->group ? cmd_group_counts(n, stream_id) : &n->more;
}

void cmd_named_settle(struct named *n, struct esdb_text stream_id, uint64_t position) {
    n->settled++;
    if (n->group)
        cmd_group_settle(n, stream_id, position, !is_own(stream_id));
    if (!is_own(stream_id) && n->unsaved++ == 0)
        n->since_ms = cmd_named_now_ms();
}

/* Without a look at what is printed and not written out. */
static int write_checkpoint(struct named *n, uint64_t position) {
    struct esdb_error err = {0};
    bool full, lazy = n->unsaved == 0 && n->more.warned == 0;
    int rc;

    if (cmd_queue_dropped(n, &full))
        rc = cmd_queue_record(n, n->sub, 0, position, &n->more, &err);
    else
        rc = esdb_subscription_save(n->sub, position, &n->more, lazy ? ESDB_SAVE_LAZY : 0, &err);
    if (rc != 0)
        return cmd_report(rc, &err);
    n->saved = position > n->saved ? position : n->saved;
    n->unsaved = 0;
    n->recorded_ms = cmd_named_now_ms();
    n->more = (struct esdb_subscription_counts){0};
    return 0;
}

int cmd_named_save(struct named *n, uint64_t position) {
    n->printed = 0;
    if (cmd_out_flush(cmd_stdout()) != 0 || cmd_stdout()->failed)
        return 1;
    return n->group ? cmd_group_save(n) : write_checkpoint(n, position);
}

void cmd_named_warned(struct named *n, uint32_t part) {
    if (part)
        cmd_group_warned(n, part);
    else
        n->more.warned++;
}

int cmd_named_save_when_due(struct named *n, uint64_t position, int *timeout_ms) {
    bool full, dropped = cmd_queue_dropped(n, &full);

    if (n->group) {
        n->unsaved = 0;
        return cmd_group_save_when_due(n, timeout_ms);
    }
    if (full)
        return cmd_named_save(n, position);
    if (dropped && n->unsaved++ == 0)
        n->since_ms = cmd_named_now_ms();
    if (n->unsaved > 0 && (position > n->saved || dropped)) {
        uint64_t age = cmd_named_now_ms() - n->since_ms;

        if (n->unsaved >= n->t->ack_every || age >= (uint64_t)n->t->ack_every_ms)
            return cmd_named_save(n, position);
        if (*timeout_ms > n->t->ack_every_ms - (int)age)
            *timeout_ms = n->t->ack_every_ms - (int)age;
    } else if (position >= n->saved + NAMED_STEP_MAX) {
        return cmd_named_save(n, position);
    }
    return 0;
}

int cmd_named_look(struct named *n) {
    struct esdb_error err = {0};
    int rc = esdb_subscription_look(n->sub, &err);

    return rc == 0 ? 0 : cmd_report(rc, &err);
}

bool cmd_named_finished(struct named *n, int *status) {
    return n->t->once && (!n->group || cmd_group_finished(n, status));
}

int cmd_named_cursor_failed(struct named *n, int rc, const struct esdb_error *err) {
    int status = rc == NAMED_OVERFLOW ? 9 : cmd_report(rc, err);

    if (rc == ESDB_ECORRUPT)
        cmd_message("%s: stays before that; 'esdb-sub seek' can send it behind", n->t->name);
    return status;
}

/* ---- printing ---- */

static int print(struct named *n, const struct esdb_event *e) {
    struct cmd_out *out = cmd_stdout();
    int timeout_ms = NAMED_SLICE_MS;

    cmd_print_event(out, e);
    cmd_named_counts(n, e->stream_id)->delivered++;
    cmd_named_settle(n, e->stream_id, e->position);
    if (n->t->has_max_queue && ++n->printed >= n->t->max_queue) {
        n->printed = 0;
        cmd_print_flush(out);
        cmd_out_flush(out);
    }
    if (out->failed)
        return 1;
    if (n->unsaved < n->t->ack_every && (n->group ? n->settled : n->unsaved) % CLOCK_EVENTS)
        return 0;
    cmd_named_alive(n, &timeout_ms);
    return cmd_named_save_when_due(n, cmd_named_position(n), &timeout_ms);
}

static bool print_retry(void *context, const struct esdb_event *e) {
    struct named *n = context;

    cmd_print_event(cmd_stdout(), e);
    cmd_named_counts(n, e->stream_id)->retried++;
    if (n->group) /* it is printed: its part need not wait */
        cmd_group_settle(n, e->stream_id, e->position, false);
    return true;
}

/* Parked events that are wanted again are printed. */
static int print_retries(struct named *n) {
    int status = cmd_named_give_retries(n, print_retry, n);

    if (status == 0 && n->retry_count > 0 && (cmd_out_flush(cmd_stdout()) != 0 || cmd_stdout()->failed))
        return 1;
    while (status == 0 && n->retry_count > 0)
        status = cmd_named_retried(n, n->retries[0]);
    return status;
}

/* Nothing more for now. -1: go on, else the exit status. */
static int idle(struct named *n) {
    struct esdb_error err = {0};
    int rc, status, timeout_ms = NAMED_SLICE_MS;

    if (cmd_out_flush(cmd_stdout()) != 0)
        return 1;
    if ((status = print_retries(n)) != 0)
        return status;
    if (cmd_stopped || cmd_named_finished(n, &status))
        return status;
    if ((status = cmd_named_save_when_due(n, cmd_named_position(n), &timeout_ms)) != 0)
        return status;
    if (cmd_named_again(n))
        return -1;
    cmd_named_alive(n, &timeout_ms);
    rc = esdb_cursor_wait(cmd_named_cursor(n), timeout_ms, &err);
    if (rc == 0)
        cmd_named_more(n);
    if (rc == 0 && n->unsaved == 0)
        status = cmd_named_look(n); /* what woke us may be somebody who takes it away */
    if (status != 0)
        return status;
    return rc == 0 || rc == ESDB_END ? -1 : cmd_report(rc, &err);
}

/* Records what was dropped, while what is printed cannot be written out. */
static int record_dropped(struct named *n) {
    bool full, dropped = cmd_queue_dropped(n, &full);
    uint64_t unsaved = n->unsaved;
    int rc = 0;

    if (!full && (!dropped || cmd_named_now_ms() - n->recorded_ms < (uint64_t)n->t->ack_every_ms))
        return 0;
    if (n->group)
        rc = cmd_group_save_until(n, n->written, false);
    else
        rc = write_checkpoint(n, n->written > n->saved ? n->written : n->saved);
    n->unsaved = unsaved;
    return rc;
}

/* Until the reader takes something: what comes in meanwhile is looked at. 0 or an exit status. */
static int wait_for_reader(struct named *n) {
    struct cmd_out *out = cmd_stdout();
    struct pollfd p = {out->fd, POLLOUT, 0};
    int rc, timeout_ms = NAMED_BUSY_MS;

    if (!n->queue || (out->len < ATOMIC_WRITE && !cmd_queue_empty(n)))
        return 0;
    cmd_print_flush(out);
    while (!cmd_stopped && poll(&p, 1, timeout_ms) == 0) {
        timeout_ms = NAMED_BUSY_MS;
        cmd_named_alive(n, &timeout_ms);
        cmd_named_more(n);
        if (cmd_queue_look(n) != 0)
            return 9;
        if ((rc = record_dropped(n)) != 0)
            return rc;
    }
    if (cmd_stopped)
        return 0;
    if (cmd_out_flush(out) != 0 || out->failed)
        return 1;
    n->written = cmd_named_position(n);
    return 0;
}

/* The last checkpoint. After an overflow nobody may ever take what is printed: it is not delivered. */
static int end(struct named *n, int status) {
    int last;

    if (status == 9) {
        cmd_print_flush(cmd_stdout());
        cmd_stdout()->len = 0;
        last = n->group ? cmd_group_save_until(n, n->written, true)
                        : write_checkpoint(n, n->written > n->saved ? n->written : n->saved);
    } else {
        last = cmd_named_save(n, cmd_named_position(n));
    }
    return status > 0 ? status : last;
}

int cmd_named_print(struct named *n) {
    struct esdb_error err = {0};
    struct esdb_event e;
    int status = -1, timeout_ms;

    while (status < 0 && !cmd_stopped) {
        int rc = cmd_named_next(n, &e, &err);

        if (rc == 0) {
            if ((rc = print(n, &e)) != 0 || (rc = wait_for_reader(n)) != 0)
                status = rc;
        } else if (rc == ESDB_PAUSED) {
            timeout_ms = 0;
            cmd_named_alive(n, &timeout_ms);
            if ((rc = cmd_named_save_when_due(n, cmd_named_position(n), &timeout_ms)) != 0)
                status = rc;
        } else if (rc == ESDB_END) {
            status = idle(n);
        } else {
            status = cmd_named_cursor_failed(n, rc, &err);
        }
    }
    return status <= 0 || status == 5 || status == 9 ? end(n, status) : status;
}

/* ---- all of it ---- */

int cmd_tail_named(esdb *db, struct tail *t) {
    struct named n = {.t = t, .db = db};
    int status = begin(&n), last;

    if (status == 0 && !cmd_stopped)
        status = open_cursor(&n);
    if (n.cursor && status == 0) {
        cmd_notify("READY=1\nSTATUS=follows");
        status = t->delivery.mode != CMD_DELIVERY_NONE ? cmd_named_deliver(&n)
                 : t->acks_by_stdin || t->pull         ? cmd_named_acked(&n)
                                                       : cmd_named_print(&n);
        if (!n.stopping)
            cmd_notify("STOPPING=1");
        last = cmd_report_select(n.cursor);
        if (status == 0)
            status = last;
        if (status == 0 && t->exit_status && n.settled == 0)
            status = 4;
    }
    status = cmd_lease_end(&n, status);
    cmd_group_close(&n);
    cmd_queue_close(&n);
    esdb_cursor_close(n.cursor);
    esdb_subscription_close(n.sub);
    free(n.selector);
    free(n.retries);
    return status;
}
