/* esdb-tail: prints the newest events, then every new one as it is appended. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cmd.h"
#include "delivery.h"

enum { OPT_FROM = 256, OPT_UNTIL_END, OPT_HEARTBEAT };

#define HEARTBEAT_MS 10000
#define SLICE_MS 1000 /* the longest wait: bounds the harm of a signal between looking and waiting */

static const struct cmd_option options[] = {
    {'n', "lines", "N", "begin with the last N matching events; default 10", 0},
    {0, "from", "WHERE", "begin at: start, end, POSITION (or pos:POSITION)", OPT_FROM},
    {0, "since", "TIME", "begin at this time, as esdb-read takes it: 2025-11-23, @SECONDS, -2h", CMD_OPT_SINCE},
    {0, "until-end", NULL, "stop where the store ended at the start", OPT_UNTIL_END},
    {0, "heartbeat", "[SECONDS]", "print a marker line when all is printed, and every SECONDS (10) while idle",
     OPT_HEARTBEAT},
    {0, NULL, NULL, NULL, 0},
};
static const struct cmd_group groups[] = {
    CMD_GROUP_SELECTION, CMD_GROUP_FILTER, {"Following", options}, CMD_GROUP_DELIVERY,
    CMD_GROUP_OUTPUT,    CMD_GROUP_STORE,  {NULL, NULL},
};
static const struct cmd_tool tool = {
    .name = "esdb-tail",
    .synopsis =
        "[options] STREAM...\n[options] --all\n[options] STREAM...|--all --exec|--exec-loop -- COMMAND [ARGUMENT...]",
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
    .statuses = CMD_STATUS_SELECT | CMD_STATUS_DELIVERY,
};

struct tail {
    struct esdb_query q;
    struct cmd_delivery_options delivery;
    uint64_t last;  /* events of history; when from_end */
    bool from_last; /* begin with the last events, not at q.from_position */
    bool from_end;  /* begin with what comes after the start */
    bool until_end;
    bool heartbeat;
    uint64_t heartbeat_ms;
    int status;
};

static uint64_t clock_us(clockid_t id) {
    struct timespec t;

    clock_gettime(id, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void parse_from(struct tail *t, const struct cmd_args *args) {
    const char *where = args->value;

    t->from_last = t->from_end = false;
    t->q.from_position = 0;
    if (strcmp(where, "end") == 0) {
        t->from_end = true;
        return;
    }
    if (strcmp(where, "start") == 0)
        return;
    if (strncmp(where, "pos:", 4) == 0)
        where += 4;
    if (!cmd_parse_number(where, &t->q.from_position))
        cmd_usage_error("%s: '%s' is none of start, end, POSITION", args->option, args->value);
}

static void parse(struct tail *t, struct cmd_args *args) {
    bool has_lines = false, has_from = false;
    int id;

    while ((id = cmd_next_option(args)) != 0) {
        if (id == 'n') {
            t->last = cmd_number(args);
            has_lines = true;
        } else if (id == OPT_FROM) {
            parse_from(t, args);
            has_from = true;
        } else if (id == OPT_UNTIL_END) {
            t->until_end = true;
        } else if (!cmd_delivery_option(&t->delivery, args, id)) {
            t->heartbeat = true;
            if (args->value &&
                (!cmd_parse_number(args->value, &t->heartbeat_ms) || t->heartbeat_ms == 0 || t->heartbeat_ms > 86400))
                cmd_usage_error("%s: '%s' is no number of seconds (1 .. 86400)", args->option, args->value);
            t->heartbeat_ms = args->value ? t->heartbeat_ms * 1000 : HEARTBEAT_MS;
        }
    }
    if (has_lines && has_from)
        cmd_usage_error("-n and --from exclude each other");
    cmd_delivery_options_end(&t->delivery, args);
    cmd_select(&t->q, args->operands, args->count);
    if (t->q.since_us > 0 && has_from)
        cmd_usage_error("--since and --from exclude each other");
    if (t->q.since_us > 0 && !has_lines)
        t->from_last = false;
    if (t->heartbeat && !cmd_output_is_json())
        cmd_usage_error("--heartbeat goes with --output json without --fields only");
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

static void follow(struct tail *t, esdb_cursor *cursor) {
    struct cmd_out *out = cmd_stdout();
    struct esdb_error err = {0};
    uint64_t next_heartbeat = 0; /* at once when all is printed */
    struct esdb_event e;
    int rc;

    while (!cmd_stopped && !out->failed) {
        while ((rc = esdb_cursor_next(cursor, &e, &err)) == 0) {
            cmd_print_event(out, &e);
            if (cmd_stopped || out->failed)
                break;
        }
        if (rc == 0)
            break;
        if (rc != ESDB_END) {
            if (!go_on(t, rc, &err))
                break;
            continue;
        }
        if (t->until_end) {
            if (t->heartbeat)
                print_heartbeat(cursor);
            break;
        }
        if (!wait_for_more(t, cursor, &next_heartbeat, &err))
            break;
    }
}

static void deliver(struct tail *t, esdb_cursor *cursor) {
    int status = cmd_deliver(cursor, &t->delivery, t->until_end);

    if (t->status == 0)
        t->status = status;
}

int main(int argc, char **argv) {
    struct tail t = {.last = 10, .from_last = true};
    struct esdb_error err = {0};
    struct cmd_args args;
    esdb_cursor *cursor;
    uint64_t end;
    int rc, status;
    esdb *db;

    cmd_begin(&tool, &args, argc, argv);
    esdb_query_init(&t.q);
    cmd_delivery_options_init(&t.delivery);
    parse(&t, &args);
    cmd_print_begin();
    if ((status = cmd_open_store(ESDB_READ, &db)) != 0)
        return cmd_finish(status);
    cmd_catch_signals();
    if (t.delivery.mode == CMD_DELIVERY_NONE)
        cmd_watch_stdout();

    rc = esdb_end_position(db, &end, &err);
    if (rc == 0 && t.from_last)
        rc = find_last(&t, db, end, &err);
    if (t.from_end)
        t.q.from_position = end;
    if (rc == 0 && !t.until_end)
        cmd_check_streams(db, &t.q, "no such stream yet, waiting for it");
    if (rc == 0 && t.until_end) {
        t.status = cmd_check_streams(db, &t.q, "no such stream");
        if (end == 0 || t.q.from_position >= end)
            t.q.limit = 0;
        else
            t.q.to_position = end - 1;
    }
    if (rc == 0)
        rc = esdb_cursor_open(db, &t.q, &cursor, &err);
    if (rc == 0) {
        if (t.delivery.mode == CMD_DELIVERY_NONE)
            follow(&t, cursor);
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
    return cmd_finish(t.status);
}
