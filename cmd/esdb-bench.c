/* esdb-bench: load with latencies, on the user's own disk. */
#include <errno.h>
#include <ftw.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "bench.h"
#include "cmd.h"
#include "format/limits.h"

enum { APPEND = 1, READ = 2, TAIL = 4, FLOOR = 8 }; /* actions, also as sets */
enum {
    OPT_EVENTS = 256,
    OPT_SIZE,
    OPT_BATCH,
    OPT_STREAMS,
    OPT_READERS,
    OPT_READS,
    OPT_FOLLOWERS,
    OPT_INTERVAL,
    OPT_KIND,
    OPT_DIR,
    OPT_JSON,
    OPT_END,
};

static const struct cmd_option load_options[] = {
    {'w', "writers", "N", "append, tail, floor: processes that write; default 1", 0},
    {0, "events", "N", "events in all; default 10000 (read 100000, tail 1000)", OPT_EVENTS},
    {0, "size", "BYTES", "data of an event, or a record of a floor; default 250", OPT_SIZE},
    {0, "batch", "N", "append: events an append; default 1", OPT_BATCH},
    {0, "streams", "N", "append, read, tail: streams; default 100", OPT_STREAMS},
    {0, "readers", "N", "read: processes that read; default 1", OPT_READERS},
    {0, "reads", "N", "read: how often; default 10000 streams, or one scan a reader", OPT_READS},
    {0, "followers", "N", "tail: processes that follow; default 1", OPT_FOLLOWERS},
    {0, "interval", "TIME", "tail: pause before each append; default 1ms", OPT_INTERVAL},
    {0, "kind", "KIND", "read: scan (default) or stream; floor: write-sync (default) or lock-write-sync", OPT_KIND},
    {0},
};
static const struct cmd_option other_options[] = {
    {0, "dir", "DIR", "where the temporary store is made; default $TMPDIR, else /tmp", OPT_DIR},
    {0, "json", NULL, "one JSON object; latencies in microseconds", OPT_JSON},
    {0},
};
static const struct cmd_group groups[] = {
    {"Load", load_options}, {"Options", other_options}, CMD_GROUP_STORE, CMD_GROUP_COLOR, {0}};
static const struct cmd_tool tool = {
    .name = "esdb-bench",
    .synopsis = "append [options]\n"
                "read [options]\n"
                "tail [options]\n"
                "floor [options]",
    .summary = "measure a disk with the loads of a store",
    .examples = "# durable appends of eight processes at once\n"
                "esdb-bench append --writers 8 --events 1000\n"
                "# the same writes with a lock and a sync each, without a store\n"
                "esdb-bench floor --kind lock-write-sync --writers 8 --events 1000\n"
                "# how fast one stream is read\n"
                "esdb-bench read --kind stream --events 10000 --reads 1000\n"
                "# from the acknowledgement of an append to the event in another process\n"
                "esdb-bench tail --events 200 --json",
    .notes =
        "A temporary store is made and removed again. With -S (not with $ESDB_STORE), that store is used: append and\n"
        "tail then add events to its streams bench-N, and read reads what is there.\n"
        "All processes have the store open before they start together. The rate is events over the time from the\n"
        "start to the end of the last one; latencies are those of single operations, in microseconds.",
    .groups = groups,
    .statuses =
        CMD_STATUS(0) | CMD_STATUS(1) | CMD_STATUS(2) | CMD_STATUS(5) | CMD_STATUS(6) | CMD_STATUS(7) | CMD_STATUS(10),
};

static const struct {
    int action;
    const char *name, *operation;
} actions[] = {{APPEND, "append", "an append"},
               {READ, "read", "a read"},
               {TAIL, "tail", "a follower, after the acknowledgement"},
               {FLOOR, "floor", "a write with sync"}};
enum { ACTIONS = sizeof actions / sizeof actions[0] };

/* The command line. */
struct request {
    int action; /* index in `actions` */
    struct bench_plan plan;
    const char *kind, *dir;
    bool json;
    const char *given[OPT_END]; /* the option as typed, by id */
};

/* ---- the command line ---- */

static uint64_t number_in(const struct cmd_args *args, uint64_t n, uint64_t min, uint64_t max) {
    if (n < min || n > max)
        cmd_usage_error("%s: %s is outside of %" PRIu64 " .. %" PRIu64, args->option, args->value, min, max);
    return n;
}

static void parse_option(struct request *r, const struct cmd_args *args, int id) {
    enum { PROCESSES_MAX = 500 };
    struct bench_plan *plan = &r->plan;
    r->given[id] = args->option;
    switch (id) {
    case 'w':
    case OPT_READERS:
        plan->processes = (unsigned)number_in(args, cmd_number(args), 1, PROCESSES_MAX);
        break;
    case OPT_FOLLOWERS:
        plan->followers = (unsigned)number_in(args, cmd_number(args), 1, PROCESSES_MAX);
        break;
    case OPT_EVENTS:
        plan->events = number_in(args, cmd_number(args), 1, UINT32_MAX);
        break;
    case OPT_READS:
        plan->reads = number_in(args, cmd_number(args), 1, UINT32_MAX);
        break;
    case OPT_SIZE:
        plan->size = number_in(args, cmd_size(args), 2, FMT_EVENT_SIZE_MAX - 1024);
        break;
    case OPT_BATCH:
        plan->batch = number_in(args, cmd_number(args), 1, FMT_FRAME_EVENTS_MAX);
        break;
    case OPT_STREAMS:
        plan->streams = number_in(args, cmd_number(args), 1, UINT32_MAX);
        break;
    case OPT_INTERVAL:
        plan->interval_us = number_in(args, cmd_milliseconds(args), 0, 60000) * 1000;
        break;
    case OPT_KIND:
        r->kind = args->value;
        break;
    case OPT_DIR:
        r->dir = args->value;
        break;
    default:
        r->json = true;
    }
}

/* An option that means nothing for the action is a mistake, never ignored. */
static void check_options(const struct request *r) {
    static const struct {
        int id, actions;
    } meaning[] = {{'w', APPEND | TAIL | FLOOR}, {OPT_BATCH, APPEND},     {OPT_STREAMS, APPEND | READ | TAIL},
                   {OPT_READERS, READ},          {OPT_READS, READ},       {OPT_FOLLOWERS, TAIL},
                   {OPT_INTERVAL, TAIL},         {OPT_KIND, READ | FLOOR}};
    for (size_t i = 0; i < sizeof meaning / sizeof meaning[0]; i++)
        if (r->given[meaning[i].id] && !(meaning[i].actions & actions[r->action].action))
            cmd_usage_error("%s has no meaning for %s", r->given[meaning[i].id], actions[r->action].name);
    if (cmd_store_given() && (r->dir || actions[r->action].action == FLOOR))
        cmd_usage_error("-S has no meaning %s", r->dir ? "together with --dir" : "for floor");
}

static void set_kind(struct request *r) {
    bool is_read = actions[r->action].action == READ;
    static const char *const kinds[2][2] = {{"write-sync", "lock-write-sync"}, {"scan", "stream"}};
    if (!r->kind)
        r->kind = kinds[is_read][0];
    int i = strcmp(r->kind, kinds[is_read][0]) == 0 ? 0 : strcmp(r->kind, kinds[is_read][1]) == 0 ? 1 : 2;
    if (i == 2)
        cmd_usage_error("--kind: '%s' is neither %s nor %s", r->kind, kinds[is_read][0], kinds[is_read][1]);
    r->plan.read_kind = i ? READ_STREAM : READ_SCAN;
    r->plan.locked = i;
    if (r->plan.reads == 0)
        r->plan.reads = i ? 10000 : r->plan.processes;
}

static void set_defaults(struct request *r) {
    int action = actions[r->action].action;
    struct bench_plan *plan = &r->plan;
    plan->processes = plan->processes ? plan->processes : 1;
    plan->followers = action != TAIL ? 0 : plan->followers ? plan->followers : 1;
    if (!plan->events)
        plan->events = action == READ ? 100000 : action == TAIL ? 1000 : 10000;
    plan->size = plan->size ? plan->size : 250;
    plan->batch = plan->batch ? plan->batch : 1;
    plan->streams = plan->streams ? plan->streams : 100;
    if (!r->given[OPT_INTERVAL])
        plan->interval_us = 1000;
    set_kind(r);
}

static int find_action(const struct cmd_args *args) {
    if (args->count == 0)
        cmd_usage_error("which action: append, read, tail or floor?");
    if (args->count > 1)
        cmd_usage_error("'%s' is one operand too many", args->operands[1]);
    for (int i = 0; i < ACTIONS; i++)
        if (strcmp(args->operands[0], actions[i].name) == 0)
            return i;
    cmd_usage_error("'%s' is no action: append, read, tail or floor", args->operands[0]);
}

/* ---- the temporary store ---- */

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw) {
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static void remove_folder(const char *path) {
    if (nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS) != 0)
        cmd_message("%s: cannot be removed: %s", path, strerror(errno));
}

/* A new folder below --dir, $TMPDIR or /tmp; NULL after a message. The caller frees it. */
static char *make_folder(const char *dir) {
    if (!dir)
        dir = getenv("TMPDIR");
    if (!dir || !*dir)
        dir = "/tmp";
    size_t room = strlen(dir) + 32;
    char *path = cmd_alloc(room);
    snprintf(path, room, "%s/esdb-bench.XXXXXX", dir);
    if (!mkdtemp(path)) {
        cmd_message("%s: %s", path, strerror(errno));
        free(path);
        return NULL;
    }
    struct statfs fs;
    if (statfs(path, &fs) == 0 && (fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC))
        cmd_message("%s is in memory, not on a disk: choose another place with --dir", dir);
    return path;
}

/* ---- the report ---- */

static const struct {
    const char *name;
    double share;
} percentiles[] = {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p99.9", 0.999}, {"max", 1}};
enum { PERCENTILES = sizeof percentiles / sizeof percentiles[0] };

static double rate(uint64_t count, uint64_t ns) {
    return ns ? (double)count * 1e9 / (double)ns : 0;
}

static void put_json(const struct request *r, const struct bench_result *result) {
    struct cmd_out *out = cmd_stdout();
    const struct bench_plan *plan = &r->plan;
    int action = actions[r->action].action;
    cmd_out_printf(out, "{\"action\":\"%s\"", actions[r->action].name);
    if (action & (READ | FLOOR))
        cmd_out_printf(out, ",\"kind\":\"%s\"", r->kind);
    cmd_out_printf(out, ",\"%s\":%u", action == READ ? "readers" : "writers", plan->processes);
    if (action == TAIL)
        cmd_out_printf(out, ",\"followers\":%u,\"interval_us\":%" PRIu64, plan->followers, plan->interval_us);
    cmd_out_printf(out, ",\"events\":%" PRIu64 ",\"size\":%" PRIu64, result->events, plan->size);
    if (action == APPEND)
        cmd_out_printf(out, ",\"batch\":%" PRIu64, plan->batch);
    if (action != FLOOR)
        cmd_out_printf(out, ",\"streams\":%" PRIu64, plan->streams);
    cmd_out_printf(out, ",\"operations\":%" PRIu64 ",\"seconds\":%.6f,\"rate\":%.1f", result->operations,
                   (double)result->elapsed_ns / 1e9, rate(result->events, result->elapsed_ns));
    for (int i = 0; i < PERCENTILES; i++)
        cmd_out_printf(out, ",\"%s\":%.1f", percentiles[i].name,
                       (double)cmd_bench_percentile(result, percentiles[i].share) / 1e3);
    cmd_out_text(out, "}\n");
}

static void put_table(const struct request *r, const struct bench_result *result) {
    struct cmd_out *out = cmd_stdout();
    const struct bench_plan *plan = &r->plan;
    int action = actions[r->action].action;
    cmd_out_printf(out, "%s", actions[r->action].name);
    if (action & (READ | FLOOR))
        cmd_out_printf(out, " %s", r->kind);
    cmd_out_printf(out, ": %u %s%s", plan->processes, action == READ ? "reader" : "writer",
                   plan->processes == 1 ? "" : "s");
    if (action == TAIL)
        cmd_out_printf(out, ", %u follower%s", plan->followers, plan->followers == 1 ? "" : "s");
    cmd_out_printf(out, ", %" PRIu64 " events", result->events);
    if (action != READ || !cmd_store_given())
        cmd_out_printf(out, " of %" PRIu64 " bytes", plan->size);
    if (action == APPEND)
        cmd_out_printf(out, ", %" PRIu64 " an append", plan->batch);
    if (action != FLOOR && !(action == READ && cmd_store_given()))
        cmd_out_printf(out, ", %" PRIu64 " streams", plan->streams);
    cmd_out_printf(out, "\n%.0f events/s in %.3f s", rate(result->events, result->elapsed_ns),
                   (double)result->elapsed_ns / 1e9);
    if (result->operations != result->events && action != TAIL)
        cmd_out_printf(out, ", %.0f %ss/s", rate(result->operations, result->elapsed_ns), actions[r->action].name);
    cmd_out_printf(out, "\nmicroseconds for %s:\n", actions[r->action].operation);
    for (int i = 0; i < PERCENTILES; i++)
        cmd_out_printf(out, "%12s", percentiles[i].name);
    cmd_out_add(out, "\n", 1);
    for (int i = 0; i < PERCENTILES; i++)
        cmd_out_printf(out, "%12.1f", (double)cmd_bench_percentile(result, percentiles[i].share) / 1e3);
    cmd_out_add(out, "\n", 1);
}

/* ---- running ---- */

static int run(struct request *r, bool fill, struct bench_result *result) {
    switch (actions[r->action].action) {
    case APPEND:
        return cmd_bench_append(&r->plan, result);
    case READ: {
        int status = fill ? cmd_bench_fill(&r->plan) : 0;
        return status ? status : cmd_bench_read(&r->plan, result);
    }
    case TAIL:
        return cmd_bench_tail(&r->plan, result);
    default:
        return cmd_bench_floor(&r->plan, result);
    }
}

/* In a folder of our own, which is removed whatever happens. */
static int run_in_folder(struct request *r, struct bench_result *result) {
    struct esdb_error err = {0};
    char *folder = make_folder(r->dir), *store = NULL;
    int status = 0;
    if (!folder)
        return 1;
    r->plan.store = folder;
    if (actions[r->action].action != FLOOR) {
        struct esdb_settings settings = {0};
        size_t room = strlen(folder) + 8;
        store = cmd_alloc(room);
        snprintf(store, room, "%s/store", folder);
        r->plan.store = store;
        status = cmd_report(esdb_create(store, &settings, &err), &err);
    }
    if (status == 0)
        status = run(r, true, result);
    remove_folder(folder);
    free(store);
    free(folder);
    return status;
}

int main(int argc, char **argv) {
    struct cmd_args args;
    struct request r = {0};
    struct bench_result result = {0};
    int id, status;

    cmd_begin(&tool, &args, argc, argv);
    while ((id = cmd_next_option(&args)) != 0)
        parse_option(&r, &args, id);
    r.action = find_action(&args);
    check_options(&r);
    set_defaults(&r);
    cmd_catch_signals();
    if (cmd_store_given()) {
        status = cmd_store_path(&r.plan.store);
        if (status == 0)
            status = run(&r, false, &result);
    } else {
        status = run_in_folder(&r, &result);
    }
    if (status == 0 && r.json)
        put_json(&r, &result);
    else if (status == 0)
        put_table(&r, &result);
    cmd_bench_result_release(&result);
    if (cmd_stopped) { /* the folder is gone: now end by the signal after all */
        signal(cmd_stopped, SIG_DFL);
        raise(cmd_stopped);
    }
    return cmd_finish(status);
}
