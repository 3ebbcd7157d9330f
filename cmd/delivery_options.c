/* delivery_options.c: the options of esdb-tail that give events to a command. */
#include <string.h>

#include "delivery.h"

enum {
    OPT_EXEC = 700,
    OPT_EXEC_LOOP,
    OPT_BATCH,
    OPT_WINDOW,
    OPT_WORKERS,
    OPT_ORDER,
    OPT_RETRIES,
    OPT_BACKOFF,
    OPT_BACKOFF_MAX,
    OPT_TIMEOUT,
    OPT_STOP_TIMEOUT,
    OPT_PARK,
};

enum { BATCH_MAX = 65536, WINDOW_MAX = 65536, WORKERS_MAX = 256, RETRIES_MAX = 1000000 };

const struct cmd_option cmd_delivery_option_list[] = {
    {0, "exec", NULL, "run COMMAND, which stands behind --, for each event: a JSON line on its stdin", OPT_EXEC},
    {0, "exec-loop", NULL, "run COMMAND once: it reads event lines and answers ok or fail to each", OPT_EXEC_LOOP},
    {0, "batch", "N", "with --exec: give up to N events at once", OPT_BATCH},
    {0, "window", "N", "with --exec-loop: up to N events without an answer (1)", OPT_WINDOW},
    {0, "workers", "N", "N commands at once (1)", OPT_WORKERS},
    {0, "order", "WHAT", "among workers keep the order of: stream (default), none", OPT_ORDER},
    {0, "retries", "N", "give an event that failed up to N times more (5)", OPT_RETRIES},
    {0, "backoff", "TIME", "before the first retry (1s); doubles with each", OPT_BACKOFF},
    {0, "backoff-max", "TIME", "the longest time before a retry (1min)", OPT_BACKOFF_MAX},
    {0, "timeout", "TIME", "an attempt fails when it takes longer; default: no limit", OPT_TIMEOUT},
    {0, "stop-timeout", "TIME", "what commands have to finish after a signal (10s)", OPT_STOP_TIMEOUT},
    {0, "park", "WHAT", "after the last retry: event (go on), stream (hold its later events back), stop", OPT_PARK},
    {0, NULL, NULL, NULL, 0},
};

/* What was given, to tell which options do not go together. */
static bool has_exec, has_loop;
static const char *batch_given, *window_given, *other_given;

static uint32_t number(const struct cmd_args *args, uint32_t least, uint32_t most) {
    uint64_t n = cmd_number(args);

    if (n < least || n > most)
        cmd_usage_error("%s: '%s' is not in %u .. %u", args->option, args->value, (unsigned)least, (unsigned)most);
    return (uint32_t)n;
}

/* Which of the words, separated by spaces, the argument is. */
static int word(const struct cmd_args *args, const char *words) {
    size_t len = strlen(args->value);
    int i = 0;

    for (const char *at = words; *at; at += strspn(at, " "), i++) {
        size_t n = strcspn(at, " ");

        if (n == len && memcmp(at, args->value, n) == 0)
            return i;
        at += n;
    }
    cmd_usage_error("%s: '%s' is none of: %s", args->option, args->value, words);
}

static bool timing_option(struct cmd_delivery_options *o, const struct cmd_args *args, int id) {
    switch (id) {
    case OPT_BACKOFF:
        o->backoff_ms = (int)cmd_milliseconds(args);
        return true;
    case OPT_BACKOFF_MAX:
        o->backoff_max_ms = (int)cmd_milliseconds(args);
        return true;
    case OPT_TIMEOUT:
        o->timeout_ms = (int)cmd_milliseconds(args);
        if (o->timeout_ms == 0)
            cmd_usage_error("%s: '%s' is no time to do anything in", args->option, args->value);
        return true;
    case OPT_STOP_TIMEOUT:
        o->stop_timeout_ms = (int)cmd_milliseconds(args);
        return true;
    default:
        return false;
    }
}

bool cmd_delivery_option(struct cmd_delivery_options *o, const struct cmd_args *args, int id) {
    if (id < OPT_EXEC || id > OPT_PARK)
        return false;
    if (id == OPT_EXEC) {
        has_exec = true;
        return true;
    }
    if (id == OPT_EXEC_LOOP) {
        has_loop = true;
        return true;
    }
    other_given = cmd_delivery_option_list[id - OPT_EXEC].long_name;
    if (id == OPT_BATCH) {
        o->batch = number(args, 1, BATCH_MAX);
        batch_given = other_given;
    } else if (id == OPT_WINDOW) {
        o->window = number(args, 1, WINDOW_MAX);
        window_given = other_given;
    } else if (id == OPT_WORKERS) {
        o->workers = number(args, 1, WORKERS_MAX);
    } else if (id == OPT_RETRIES) {
        o->retries = number(args, 0, RETRIES_MAX);
    } else if (id == OPT_ORDER) {
        o->order = (enum cmd_delivery_order)word(args, "stream none");
    } else if (id == OPT_PARK) {
        o->park = (enum cmd_delivery_park)word(args, "event stream stop");
    } else {
        return timing_option(o, args, id);
    }
    return true;
}

void cmd_delivery_options_end(struct cmd_delivery_options *o, struct cmd_args *args) {
    if (!has_exec && !has_loop) {
        if (other_given)
            cmd_usage_error("--%s needs --exec or --exec-loop", other_given);
        return;
    }
    if (args->behind == 0)
        cmd_usage_error("--exec and --exec-loop need a command behind --");
    if (has_loop && batch_given)
        cmd_usage_error("--batch goes with --exec only");
    if (!has_loop && window_given)
        cmd_usage_error("--window goes with --exec-loop only");
    if (o->backoff_max_ms < o->backoff_ms)
        o->backoff_max_ms = o->backoff_ms;
    o->mode = has_loop ? CMD_DELIVERY_LOOP : batch_given ? CMD_DELIVERY_BATCH : CMD_DELIVERY_EVENT;
    args->count -= args->behind;
    o->argv = args->operands + args->count;
    args->behind = 0;
}
