/* esdb-fold: makes state of events. */
#include <string.h>

#include "fold.h"

enum {
    OPT_RIGHT = 256,
    OPT_INIT,
    OPT_DEEP,
    OPT_NO_FINALIZE,
    OPT_FINALIZE_ONLY,
    OPT_MERGE,
    OPT_REDUCE,
    OPT_SUM,
    OPT_COUNT,
    OPT_STATS,
    OPT_JQ_TIMEOUT,
    OPT_SKIP_INVALID,
    OPT_PER_STREAM,
    OPT_UPTO,
    OPT_SAVE,
    OPT_NO_SNAPSHOT,
    OPT_EXIT_STATUS,
};

static const struct cmd_option how_options[] = {
    {0, "right", NULL, "newest event first: the oldest plain value stays", OPT_RIGHT},
    {0, "init", "JSON", "the state to begin with, instead of {} (with --reduce: null)", OPT_INIT},
    {0, "deep", NULL, "objects in the data are folded member by member, not replaced whole", OPT_DEEP},
    {0, "no-finalize", NULL, "print the state with its tags, for --merge", OPT_NO_FINALIZE},
    {0, "skip-invalid", NULL, "leave out events that cannot be folded, count them; exit 8 at the end",
     OPT_SKIP_INVALID},
    {0, "per-stream", NULL, "a state for each stream: a line with stream_id, version, events, state", OPT_PER_STREAM},
    {0, "exit-status", NULL, "exit 4 when there was nothing to fold", OPT_EXIT_STATUS},
    {0},
};
static const struct cmd_option instead_options[] = {
    {0, "reduce", "PROGRAM", "a jq program: . and $state are the state, $event the event", OPT_REDUCE},
    {0, "sum", "PATH", "the sum of the numbers there, as .data.total", OPT_SUM},
    {0, "count", "EXPR", "how many events this jq expression is true for", OPT_COUNT},
    {0, "stats", NULL, "counts of events, types and members of the data", OPT_STATS},
    {0, "merge", NULL, "fold states with tags, read from standard input, one a line", OPT_MERGE},
    {0, "finalize-only", NULL, "print each state of standard input, one a line, without its tags", OPT_FINALIZE_ONLY},
    {0, "jq-timeout", "TIME", "processor time for a batch of events; default 1s", OPT_JQ_TIMEOUT},
    {0},
};
static const struct cmd_option snapshot_options[] = {
    {0, "upto", "VERSION", "fold up to this version of the stream, inclusive", OPT_UPTO},
    {0, "save-snapshot", "[N]", "save the state when at least N events (1) came after the last snapshot", OPT_SAVE},
    {0, "no-snapshot", NULL, "fold all events, from the first one on", OPT_NO_SNAPSHOT},
    {0},
};
static const struct cmd_group groups[] = {
    {"Folding", how_options},
    {"Instead of tagged values", instead_options},
    {"Snapshots", snapshot_options},
    CMD_GROUP_SELECTION,
    CMD_GROUP_FILTER,
    CMD_GROUP_TIME,
    CMD_GROUP_STORE,
    CMD_GROUP_COLOR,
    {0},
};
static const struct cmd_tool tool = {
    .name = "esdb-fold",
    .synopsis = "[options] STREAM...\n"
                "[options] --all\n"
                "--merge | --finalize-only [options] <STATES",
    .summary = "make state of events",
    .examples = "esdb-fold orders-1\n"
                "# state and version, for an append that expects it\n"
                "esdb-fold --per-stream orders-1\n"
                "esdb-fold --upto 0 orders-1\n"
                "# a reducer of your own\n"
                "esdb-fold --reduce '.n += 1 | .last = $event.event_type' orders-1\n"
                "esdb-fold --sum '.data.total' 'orders-*' -t OrderPlaced\n"
                "esdb-fold --count '.data.total > 10' --all\n"
                "# a line for each stream, in one pass over the log\n"
                "esdb-fold --per-stream 'orders-*'\n"
                "# in parts, then together\n"
                "esdb-fold --per-stream --no-finalize 'o-*' | jq -c .state | esdb-fold --merge\n"
                "# next time only newer events are read\n"
                "esdb-fold --save-snapshot=1000 orders-1",
    .notes =
        "The data of each event is folded into the state, member by member:\n"
        "  {\"$sum\": N}        adds N to a number, null or nothing; to anything else it is an error\n"
        "  {\"$overwrite\": V}  takes the place of what was there\n"
        "  V                  likewise; an object is replaced whole, too, unless --deep\n"
        "Missing members and events without data change nothing. Numbers are added exactly, as decimals of up to\n"
        "38 digits: 0.1 and 0.2 are 0.3. With --reduce, numbers that jq would round are refused.\n"
        "\n"
        "One stream, or each one with --per-stream, begins with its latest snapshot that a fold of the same kind, or\n"
        "esdb-snapshot, has saved; not with filters, --right, --since and --until. --init and a snapshot exclude each\n"
        "other: --no-snapshot passes it over.",
    .groups = groups,
    .statuses = CMD_STATUS_SELECT | CMD_STATUS(9) | CMD_STATUS(3) | CMD_STATUS(10),
};

/* Of programs, paths, expressions and the like there can be one. */
static void take_kind(struct cmd_fold_request *r, const struct cmd_args *args, enum esdb_fold_kind kind) {
    if (r->has_kind)
        cmd_usage_error("--reduce, --sum, --count and --stats: one of them, once");
    r->has_kind = true;
    r->options.kind = kind;
    r->options.program = cmd_text(args->value);
}

static void take_flag(struct cmd_fold_request *r, int id) {
    r->options.flags |= id == OPT_DEEP           ? ESDB_FOLD_DEEP
                        : id == OPT_NO_FINALIZE  ? ESDB_FOLD_KEEP_TAGS
                        : id == OPT_SKIP_INVALID ? ESDB_FOLD_SKIP_INVALID
                        : id == OPT_PER_STREAM   ? ESDB_FOLD_PER_STREAM
                        : id == OPT_NO_SNAPSHOT  ? ESDB_FOLD_NO_SNAPSHOTS
                                                 : 0;
    r->query.flags |= id == OPT_RIGHT ? ESDB_REVERSE : 0;
    r->merge |= id == OPT_MERGE;
    r->finalize_only |= id == OPT_FINALIZE_ONLY;
    r->exit_status |= id == OPT_EXIT_STATUS;
}

static void take(struct cmd_fold_request *r, const struct cmd_args *args, int id) {
    switch (id) {
    case OPT_INIT:
        if (r->options.init.at)
            cmd_usage_error("--init is given twice");
        r->options.init = cmd_text(args->value);
        break;
    case OPT_REDUCE:
        take_kind(r, args, ESDB_FOLD_REDUCE);
        break;
    case OPT_SUM:
        take_kind(r, args, ESDB_FOLD_SUM);
        break;
    case OPT_COUNT:
        take_kind(r, args, ESDB_FOLD_COUNT);
        break;
    case OPT_STATS:
        take_kind(r, args, ESDB_FOLD_STATS);
        break;
    case OPT_JQ_TIMEOUT:
        r->options.timeout_ms = (uint32_t)cmd_milliseconds(args);
        if (r->options.timeout_ms == 0 || r->options.timeout_ms > 86400000)
            cmd_usage_error("%s: from 1ms to 24h", args->option);
        break;
    case OPT_UPTO:
        r->has_upto = true;
        r->query.to_version = cmd_number(args);
        break;
    case OPT_SAVE:
        r->save_every = 1;
        if (args->value && (!cmd_parse_number(args->value, &r->save_every) || r->save_every == 0))
            cmd_usage_error("%s: '%s' is no number of events", args->option, args->value);
        r->options.flags |= ESDB_FOLD_WILL_SAVE;
        break;
    default:
        take_flag(r, id);
    }
}

/* What contradicts itself, or would have no effect. */
static void check(const struct cmd_fold_request *r) {
    enum esdb_fold_kind kind = r->options.kind;
    unsigned flags = r->options.flags;
    bool reverse = r->query.flags & ESDB_REVERSE;

    if (kind != ESDB_FOLD_TAGGED && flags & (ESDB_FOLD_DEEP | ESDB_FOLD_KEEP_TAGS))
        cmd_usage_error("--deep and --no-finalize are about tagged values");
    if (kind != ESDB_FOLD_TAGGED && kind != ESDB_FOLD_REDUCE &&
        (r->options.init.at || r->save_every || reverse || flags & ESDB_FOLD_NO_SNAPSHOTS))
        cmd_usage_error("--init, --right, --save-snapshot and --no-snapshot go with tagged values and --reduce");
    if (r->options.timeout_ms && kind != ESDB_FOLD_REDUCE && kind != ESDB_FOLD_COUNT)
        cmd_usage_error("--jq-timeout needs --reduce or --count");
    if (r->options.init.at && r->save_every)
        cmd_usage_error("--init and --save-snapshot exclude each other");
    if (reverse && r->save_every)
        cmd_usage_error("--right and --save-snapshot exclude each other");
}

/* --merge and --finalize-only work on standard input. */
static void check_input(const struct cmd_fold_request *r, int operands) {
    const char *name = r->merge ? "--merge" : "--finalize-only";

    if (r->merge && r->finalize_only)
        cmd_usage_error("--merge and --finalize-only exclude each other");
    if (operands > 0 || r->query.flags || r->has_upto || r->save_every || r->has_kind || r->exit_status ||
        r->options.flags & ~(unsigned)(ESDB_FOLD_DEEP | ESDB_FOLD_KEEP_TAGS))
        cmd_usage_error("%s reads states from standard input: of the other options it takes --deep%s", name,
                        r->merge ? ", --init and --no-finalize" : "");
    if (r->finalize_only && (r->options.init.at || r->options.flags & ESDB_FOLD_KEEP_TAGS))
        cmd_usage_error("--finalize-only goes with neither --init nor --no-finalize");
}

int main(int argc, char **argv) {
    struct cmd_fold_request r = {.options = {.timeout_option = "--jq-timeout"}};
    struct cmd_args args;
    esdb *db;
    int id, status;

    cmd_begin(&tool, &args, argc, argv);
    esdb_query_init(&r.query);
    while ((id = cmd_next_option(&args)) != 0)
        take(&r, &args, id);
    if (r.merge || r.finalize_only) {
        check_input(&r, args.count);
        return cmd_finish(cmd_fold_states(&r));
    }
    check(&r);
    cmd_select(&r.query, args.operands, args.count);
    if ((status = cmd_open_store(r.save_every ? ESDB_APPEND : ESDB_READ, &db)) != 0 ||
        (status = cmd_select_as_of(db, &r.query)) != 0)
        return cmd_finish(status);
    status = cmd_fold_events(db, &r);
    cmd_leave_store(db);
    return cmd_finish(status);
}
