/* esdb-tail: prints the newest events, then every new one as it is appended. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tail.h"

enum {
    OPT_FROM = 256,
    OPT_UNTIL_END,
    OPT_HEARTBEAT,
    OPT_NAME,
    OPT_CHANGE,
    OPT_GROUP,
    OPT_WAIT,
    OPT_LEASE,
    OPT_ONCE,
    OPT_ACK_EVERY,
    OPT_ACK,
    OPT_PULL,
    OPT_MAX_QUEUE,
    OPT_OVERFLOW,
    OPT_WARN_AT,
    OPT_CURSOR_FILE
};

#define HEARTBEAT_MS 10000
#define ACK_EVENTS 10000 /* a checkpoint costs as much as a few hundred events */
#define ACK_MS 1000
#define MAX_QUEUE 1000
#define LEASE_MIN_MS 1000 /* elections take half of it */
#define LEASE_MAX_MS 3600000
#define MAX_QUEUE_MAX 1000000 /* 64 MB */
#define SLICE_MS 1000         /* the longest wait: bounds the harm of a signal between looking and waiting */

static const struct cmd_option options[] = {
    {'n', "lines", "N", "begin with the last N matching events; default 10", 0},
    {0, "from", "WHERE", "begin at: start, end, POSITION (or pos:POSITION), TIME", OPT_FROM},
    {0, "since", "TIME", "begin at this time, as esdb-read takes it: 2025-11-23, @SECONDS, -2h", CMD_OPT_SINCE},
    {0, "until-end", NULL, "stop where the store ended at the start", OPT_UNTIL_END},
    {0, "heartbeat", "[SECONDS]", "print a marker line when all is printed, and every SECONDS (10) while idle",
     OPT_HEARTBEAT},
    {0, "cursor-file", "FILE", "begin where FILE says, if it is there, and keep in it how far this is",
     OPT_CURSOR_FILE},
    {0, NULL, NULL, NULL, 0},
};
static const struct cmd_option named_options[] = {
    {0, "name", "NAME", "remember under this name what was processed; begin there the next time", OPT_NAME},
    {0, "change", NULL, "replace its selector, and with --from its position", OPT_CHANGE},
    {0, "group", NULL, "share it with all processes that follow it with --group", OPT_GROUP},
    {0, "wait", NULL, "when another process holds it, wait until it ends, not: exit 6", OPT_WAIT},
    {0, "lease", "TIME", "in a cluster: other hosts may take it over so long after this one fell silent; default 15s",
     OPT_LEASE},
    {0, "once", NULL, "stop when everything is processed", OPT_ONCE},
    {'e', "exit-status", NULL, "with --once: exit 4 when there was nothing to do", 0},
    {0, "ack", "HOW", "processed is: auto, what was written; stdin, what is acknowledged there", OPT_ACK},
    {0, "max-queue", "N", "at most N events wait to be taken or acknowledged; default 1000", OPT_MAX_QUEUE},
    {0, "overflow", "WHAT", "when more wait: block (default), drop-oldest, drop-newest, error", OPT_OVERFLOW},
    {0, "warn-at", "N", "warn when N events wait", OPT_WARN_AT},
    {0, "pull", NULL, "print only as many as asked for on standard input: demand N", OPT_PULL},
    {0, "ack-every", "N|TIME", "save the position after N events, or a TIME; default 10000 and 1s", OPT_ACK_EVERY},
    {0, NULL, NULL, NULL, 0},
};
static const struct cmd_group groups[] = {
    CMD_GROUP_SELECTION, CMD_GROUP_FILTER, {"Following", options}, {"Durable subscriptions", named_options},
    CMD_GROUP_DELIVERY,  CMD_GROUP_OUTPUT, CMD_GROUP_STORE,        {NULL, NULL},
};
static const struct cmd_tool tool = {
    .name = "esdb-tail",
    .synopsis = "[options] STREAM...\n[options] --all\n[options] STREAM...|--all --exec -- COMMAND [ARGUMENT...]",
    .summary = "follow streams: print the last events, then new ones as they come",
    .examples = "esdb-tail orders-1\n"
                "esdb-tail 'orders-*' --type OrderPlaced -n 0\n"
                "# Everything from the beginning, then live, without gap or repeat\n"
                "esdb-tail --all --from start | jq .event_type\n"
                "# What happened in the last hour, then live\n"
                "esdb-tail --all --since -1h\n"
                "# Catch up and end\n"
                "esdb-tail --all --from 5000 --until-end\n"
                "# Run a command for each new event\n"
                "esdb-tail 'orders-*' -n 0 --exec -- ./send-mail {stream_id}",
    .notes = "History and live events come from one cursor, in order of positions, each once.\n"
             "A stream that does not exist yet is waited for (with --until-end: exit 4).\n"
             "The marker line of --heartbeat is {\"heartbeat\":true,\"position\":N,\"epoch_us\":NOW}: every matching\n"
             "event before position N was printed.\n"
             "SIGINT, SIGTERM and a reader that goes away end the tool at once; after the signals it exits 0.\n"
             "--exec: status 0 of the command acknowledges; see esdb-tail(1), GIVING EVENTS TO A COMMAND.\n"
             "Damaged parts are named on stderr and left out; at the end the exit status is then 5.",
    .groups = groups,
    .statuses = CMD_STATUS_SELECT | CMD_STATUS(3) | CMD_STATUS(9) | CMD_STATUS(10) | CMD_STATUS_DELIVERY,
};

static uint64_t clock_us(clockid_t id) {
    struct timespec t;

    clock_gettime(id, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* "500" are events, "500ms" and "2s" a time. */
static void take_ack_every(struct tail *t, const struct cmd_args *args) {
    if (cmd_parse_number(args->value, &t->ack_every)) {
        if (t->ack_every == 0)
            cmd_usage_error("%s: must be at least 1", args->option);
        return;
    }
    t->ack_every_ms = (int)cmd_milliseconds(args);
}

static void take_heartbeat(struct tail *t, const struct cmd_args *args) {
    t->heartbeat = true;
    if (args->value &&
        (!cmd_parse_number(args->value, &t->heartbeat_ms) || t->heartbeat_ms == 0 || t->heartbeat_ms > 86400))
        cmd_usage_error("%s: '%s' is no number of seconds (1 .. 86400)", args->option, args->value);
    t->heartbeat_ms = args->value ? t->heartbeat_ms * 1000 : HEARTBEAT_MS;
}

static uint64_t events_that_wait(const struct cmd_args *args) {
    uint64_t n = cmd_number(args);

    if (n == 0 || n > MAX_QUEUE_MAX)
        cmd_usage_error("%s: '%s' is outside of 1 .. %d", args->option, args->value, MAX_QUEUE_MAX);
    return n;
}

static void take_overflow(struct tail *t, const struct cmd_args *args) {
    static const char *const words[] = {"block", "drop-oldest", "drop-newest", "error"};

    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcmp(args->value, words[i]) == 0) {
            t->overflow = (enum tail_overflow)i;
            return;
        }
    cmd_usage_error("%s: '%s' is none of: block, drop-oldest, drop-newest, error", args->option, args->value);
}

/* An option of named subscriptions; the first of them is kept for the message. */
static void take_named(struct tail *t, const struct cmd_args *args, int id, char named[32]) {
    if (id == OPT_NAME)
        t->name = args->value;
    else if (!named[0])
        snprintf(named, 32, "%s", args->option);
    t->change |= id == OPT_CHANGE;
    t->wait |= id == OPT_WAIT;
    t->group |= id == OPT_GROUP;
    t->once |= id == OPT_ONCE;
    t->exit_status |= id == 'e';
    t->pull |= id == OPT_PULL;
    if (id == OPT_LEASE) {
        t->lease_ms = cmd_milliseconds(args);
        if (t->lease_ms < LEASE_MIN_MS || t->lease_ms > LEASE_MAX_MS)
            cmd_usage_error("%s: '%s' is outside of 1s .. 1h", args->option, args->value);
    }
    if (id == OPT_ACK_EVERY)
        take_ack_every(t, args);
    if (id == OPT_ACK && strcmp(args->value, "stdin") != 0 && strcmp(args->value, "auto") != 0)
        cmd_usage_error("%s: '%s' is none of auto, stdin", args->option, args->value);
    if (id == OPT_ACK)
        t->acks_by_stdin = strcmp(args->value, "stdin") == 0;
    if (id == OPT_MAX_QUEUE) {
        t->has_max_queue = true;
        t->max_queue = events_that_wait(args);
    }
    if (id == OPT_OVERFLOW)
        take_overflow(t, args);
    if (id == OPT_WARN_AT)
        t->warn_at = events_that_wait(args);
}

/* What goes together, with a name. */
static void check_named(const struct tail *t, bool has_lines) {
    if (has_lines)
        cmd_usage_error("-n does not go with --name: --from says where a subscription begins");
    if (t->until_end)
        cmd_usage_error("--until-end does not go with --name: --once does the same");
    if (t->heartbeat || t->cursor_file)
        cmd_usage_error("--heartbeat and --cursor-file do not go with --name");
    if (t->exit_status && !t->once)
        cmd_usage_error("-e goes with --once");
    if (t->delivery.mode != CMD_DELIVERY_NONE && (t->acks_by_stdin || t->pull))
        cmd_usage_error("with --exec the command acknowledges: --ack stdin and --pull do not go with it");
    if (t->group && t->parts)
        cmd_usage_error("--group and --partition exclude each other");
    if (t->parts > ESDB_GROUP_PARTS)
        cmd_usage_error("--partition: a subscription has at most %u parts", ESDB_GROUP_PARTS);
}

static void parse(struct tail *t, struct cmd_args *args) {
    bool has_lines = false;
    char named[32] = "";
    int id;

    while ((id = cmd_next_option(args)) != 0) {
        if (id == 'n') {
            t->last = cmd_number(args);
            has_lines = true;
        } else if (id == OPT_FROM) {
            t->from = cmd_tail_parse_from(args->option, args->value);
            t->has_from = true;
            t->from_last = false;
        } else if (id == OPT_UNTIL_END) {
            t->until_end = true;
        } else if (id == OPT_CURSOR_FILE) {
            t->cursor_file = args->value;
        } else if (id == OPT_HEARTBEAT) {
            take_heartbeat(t, args);
        } else if (!cmd_delivery_option(&t->delivery, args, id)) {
            take_named(t, args, id, named);
        }
    }
    if (named[0] && !t->name)
        cmd_usage_error("%s goes with --name", named);
    if (has_lines && t->has_from)
        cmd_usage_error("-n and --from exclude each other");
    cmd_delivery_options_end(&t->delivery, args);
    cmd_partition(&t->part, &t->parts);
    t->selects = !t->name || cmd_selection_given(args->count);
    if (t->selects)
        cmd_select(&t->q, args->operands, args->count);
    else
        t->q.since_us = cmd_since();
    if (t->name)
        check_named(t, has_lines);
    if (t->q.since_us > 0 && t->has_from)
        cmd_usage_error("--since and --from exclude each other");
    if (t->q.since_us > 0 && !has_lines)
        t->from_last = false;
    if (t->name && t->q.since_us > 0) {
        t->has_from = true;
        t->from = (struct tail_from){TAIL_FROM_TIME, t->q.since_us};
        t->q.since_us = 0;
    }
    if (t->heartbeat && !cmd_output_is_json())
        cmd_usage_error("--heartbeat goes with --output json without --fields only");
    t->delivery.subscription = t->name;
    if (t->has_max_queue)
        t->delivery.queue_max = (uint32_t)t->max_queue;
    if (t->delivery.mode != CMD_DELIVERY_NONE && t->cursor_file)
        cmd_usage_error("--cursor-file does not go with --exec: --name remembers what the command has done");
    if (t->delivery.mode != CMD_DELIVERY_NONE && (t->heartbeat || cmd_output_given()))
        cmd_usage_error("with --exec nothing is printed: --heartbeat, --output, --fields and -0 do not go with it");
}

/* Reports an error of the cursor. True when reading goes on behind it. */
static bool go_on(struct tail *t, int rc, struct esdb_error *err) {
    cmd_print_flush(cmd_stdout());
    cmd_out_flush(cmd_stdout());
    t->status = cmd_report(rc, err);
    *err = (struct esdb_error){0};
    return rc == ESDB_ECORRUPT;
}

/* Sets q.from_position to the first of the last events that match; to `end` when there are none. 0 or a code. */
static int find_last(struct tail *t, esdb *db, uint64_t end, struct esdb_error *err) {
    struct esdb_query back = t->q;
    struct esdb_explain x;
    struct esdb_event e;
    esdb_cursor *cursor;
    bool damaged = false;
    int rc;

    t->q.from_position = end;
    if (t->last == 0 || end == 0)
        return 0;
    back.flags |= ESDB_REVERSE;
    back.limit = t->last;
    back.to_position = end - 1;
    if ((rc = esdb_cursor_open(db, &back, &cursor, err)) != 0)
        return rc;
    while ((rc = esdb_cursor_next(cursor, &e, err)) == 0 || rc == ESDB_ECORRUPT) {
        if (rc == 0)
            t->q.from_position = e.position;
        damaged |= rc == ESDB_ECORRUPT;
        *err = (struct esdb_error){0};
    }
    /* What is to be reported of all that was looked at is met again on the way forward. */
    esdb_cursor_explain(cursor, &x);
    if (x.events < t->last && (damaged || x.failed > 0))
        t->q.from_position = back.from_position;
    esdb_cursor_close(cursor);
    return rc == ESDB_END ? 0 : rc;
}

static void print_heartbeat(const esdb_cursor *cursor) {
    cmd_out_printf(cmd_stdout(), "{\"heartbeat\":true,\"position\":%llu,\"epoch_us\":%llu}\n",
                   (unsigned long long)esdb_cursor_position(cursor), (unsigned long long)clock_us(CLOCK_REALTIME));
}

/* Keeps the position in the cursor file, once everything before it is written. False: that failed. */
static bool keep_cursor(struct tail *t, const esdb *db, const esdb_cursor *cursor) {
    uint64_t position = esdb_cursor_position(cursor);

    if (!t->cursor_file || position == t->cursor_saved)
        return true;
    if (cmd_out_flush(cmd_stdout()) != 0 || cmd_stdout()->failed ||
        cmd_tail_cursor_save(db, t->cursor_file, position) != 0) {
        t->status = 1;
        return false;
    }
    t->cursor_saved = position;
    return true;
}

/* Waits for more. False when it is over. */
static bool wait_for_more(struct tail *t, esdb_cursor *cursor, uint64_t *next_heartbeat, struct esdb_error *err) {
    int rc;

    cmd_print_flush(cmd_stdout());
    do {
        uint64_t now = clock_us(CLOCK_MONOTONIC) / 1000;

        if (t->heartbeat && now >= *next_heartbeat) {
            print_heartbeat(cursor);
            *next_heartbeat = now + t->heartbeat_ms;
        }
        if (cmd_out_flush(cmd_stdout()) != 0) {
            t->status = 1;
            return false;
        }
        if (cmd_stopped)
            return false;
        rc = esdb_cursor_wait(cursor, SLICE_MS, err);
    } while (rc == ESDB_END);
    return rc == 0 || (rc != ESDB_ENOTFOUND && go_on(t, rc, err));
}

static void follow(struct tail *t, const esdb *db, esdb_cursor *cursor) {
    struct cmd_out *out = cmd_stdout();
    uint64_t printed = 0;
    struct esdb_error err = {0};
    uint64_t next_heartbeat = 0; /* at once when all is printed */
    struct esdb_event e;
    int rc;

    while (!cmd_stopped && !out->failed) {
        while ((rc = esdb_cursor_next(cursor, &e, &err)) == 0) {
            cmd_print_event(out, &e);
            if (cmd_stopped || out->failed)
                break;
            if (t->cursor_file && ++printed % ACK_EVENTS == 0 && !keep_cursor(t, db, cursor))
                return;
        }
        if (rc == 0)
            break;
        if (rc != ESDB_END) {
            if (!go_on(t, rc, &err))
                break;
            continue;
        }
        if (!keep_cursor(t, db, cursor))
            return;
        if (t->until_end) {
            if (t->heartbeat)
                print_heartbeat(cursor);
            break;
        }
        if (!wait_for_more(t, cursor, &next_heartbeat, &err))
            break;
    }
    keep_cursor(t, db, cursor);
}

static void deliver(struct tail *t, esdb_cursor *cursor) {
    int status = cmd_deliver(cursor, &t->delivery, t->until_end);

    if (t->status == 0)
        t->status = status;
}

int main(int argc, char **argv) {
    struct tail t = {.last = 10,
                     .from_last = true,
                     .lease_ms = ESDB_LEASE_MS,
                     .ack_every = ACK_EVENTS,
                     .ack_every_ms = ACK_MS,
                     .max_queue = MAX_QUEUE,
                     .cursor_saved = UINT64_MAX};
    struct esdb_error err = {0};
    struct cmd_args args;
    esdb_cursor *cursor;
    uint64_t end;
    int rc, status, missing = 0;
    esdb *db;

    cmd_begin(&tool, &args, argc, argv);
    esdb_query_init(&t.q);
    cmd_delivery_options_init(&t.delivery);
    parse(&t, &args);
    cmd_print_begin();
    if ((status = cmd_open_store(t.name ? ESDB_APPEND : ESDB_READ, &db)) != 0)
        return cmd_finish(status);
    cmd_catch_signals();
    if (t.delivery.mode == CMD_DELIVERY_NONE)
        cmd_watch_stdout();
    if (t.name) {
        status = cmd_tail_named(db, &t);
        cmd_leave_store(db);
        return cmd_finish(status);
    }

    if (t.cursor_file && (status = cmd_tail_cursor_load(db, t.cursor_file, &t.has_cursor, &t.cursor_saved)) != 0) {
        cmd_leave_store(db);
        return cmd_finish(status);
    }
    rc = esdb_end_position(db, &end, &err);
    if (rc == 0 && t.from_last && !t.has_cursor)
        rc = find_last(&t, db, end, &err);
    if (rc == 0 && t.has_cursor)
        t.q.from_position = t.cursor_saved;
    else if (rc == 0 && t.has_from)
        rc = cmd_tail_find_from(db, &t.from, &t.q.from_position, &err);
    if (rc == 0 && !t.until_end)
        cmd_check_streams(db, &t.q, "no such stream yet, waiting for it");
    if (rc == 0 && t.until_end) {
        missing = cmd_check_streams(db, &t.q, "no such stream");
        if (end == 0 || t.q.from_position >= end)
            t.q.limit = 0;
        else
            t.q.to_position = end - 1;
    }
    if (rc == 0)
        rc = esdb_cursor_open(db, &t.q, &cursor, &err);
    if (rc == 0) {
        if (t.delivery.mode == CMD_DELIVERY_NONE)
            follow(&t, db, cursor);
        else
            deliver(&t, cursor);
        status = cmd_report_select(cursor);
        if (t.status == 0)
            t.status = status;
        esdb_cursor_close(cursor);
    } else {
        t.status = cmd_report(rc, &err);
    }
    cmd_leave_store(db);
    return cmd_finish(t.status != 0 ? t.status : missing); /* as esdb-read: what was read and how comes first */
}
