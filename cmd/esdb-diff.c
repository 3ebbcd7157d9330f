/* esdb-diff: do two stores hold the same events? */
#include <inttypes.h>
#include <string.h>

#include "cmd.h"

enum { OPT_JSON = 256 };

static const struct cmd_option options[] = {
    {'q', "quiet", NULL, "print nothing: the exit status is the answer", 0},
    {0, "json", NULL, "print a JSON object", OPT_JSON},
    {0},
};
static const struct cmd_group groups[] = {{"Options", options}, CMD_GROUP_COLOR, {0}};
static const struct cmd_tool tool = {
    .name = "esdb-diff",
    .synopsis = "[options] A B",
    .summary = "compare the events of two stores",
    .examples = "esdb-diff shop shop.backup\n"
                "# the status is the answer\n"
                "esdb-diff -q shop shop.backup || echo 'not the same'",
    .notes =
        "A and B are stores, or backups. Closed segments are compared first, byte by byte; what is equal need not be\n"
        "looked at event by event. Then events are compared by position: all their fields, those of system streams\n"
        "too. Prints how many are equal, different, or in one alone, and the first place where they differ.\n"
        "Exit 0 when the events are the same, 9 when they are not.",
    .groups = groups,
    .statuses =
        CMD_STATUS(0) | CMD_STATUS(1) | CMD_STATUS(2) | CMD_STATUS(5) | CMD_STATUS(6) | CMD_STATUS(7) | CMD_STATUS(9),
};

static void show_progress(void *context, uint64_t done, uint64_t total) {
    cmd_progress_update(context, done, total, false);
}

static void put_json(const struct esdb_diff_result *r) {
    struct cmd_out *out = cmd_stdout();
    cmd_out_printf(out,
                   "{\"same\":%s,\"equal\":%" PRIu64 ",\"different\":%" PRIu64 ",\"only_a\":%" PRIu64
                   ",\"only_b\":%" PRIu64 ",\"end_position_a\":%" PRIu64 ",\"end_position_b\":%" PRIu64
                   ",\"same_segments\":%" PRIu64,
                   r->same ? "true" : "false", r->equal, r->different, r->only[0], r->only[1], r->end_position[0],
                   r->end_position[1], r->same_segments);
    if (!r->same)
        cmd_out_printf(out, ",\"first_position\":%" PRIu64 ",\"what\":\"%s\"", r->first, r->what);
    cmd_out_text(out, "}\n");
}

static void put_text(const struct esdb_diff_result *r) {
    struct cmd_out *out = cmd_stdout();
    cmd_out_color(out, r->same ? CMD_GOOD : CMD_BAD);
    cmd_out_text(out, r->same ? "same" : "different");
    cmd_out_color(out, CMD_PLAIN);
    cmd_out_printf(out, ": %" PRIu64 " events are equal", r->equal);
    if (!r->same)
        cmd_out_printf(out,
                       ", %" PRIu64 " differ, %" PRIu64 " are in A only, %" PRIu64
                       " in B only; first at position %" PRIu64 ": %s",
                       r->different, r->only[0], r->only[1], r->first, r->what);
    cmd_out_text(out, "\n");
}

/* 0 or an exit status, after the message. */
static int open_one(const char *path, esdb **out) {
    struct esdb_error err = {0};
    const char *store;
    cmd_set_store(path);
    int status = cmd_store_path(&store);
    return status ? status : cmd_report(esdb_open(store, ESDB_READ, out, &err), &err);
}

int main(int argc, char **argv) {
    struct esdb_diff_result r = {0};
    struct esdb_error err = {0};
    struct cmd_progress progress;
    struct cmd_args args;
    bool quiet = false, json = false;
    esdb *a = NULL, *b = NULL;
    int id;

    cmd_begin(&tool, &args, argc, argv);
    while ((id = cmd_next_option(&args)) != 0) {
        quiet = quiet || id == 'q';
        json = json || id == OPT_JSON;
    }
    if (args.count != 2)
        cmd_usage_error("which two stores, A and B?");
    int status = open_one(args.operands[0], &a);
    if (status == 0)
        status = open_one(args.operands[1], &b);
    if (status == 0) {
        cmd_progress_begin(&progress, "compared");
        int rc = esdb_diff(a, b, show_progress, &progress, &r, &err);
        cmd_progress_end(&progress);
        status = cmd_report(rc, &err);
        if (rc == 0 && !quiet)
            json ? put_json(&r) : put_text(&r);
        if (rc == 0)
            status = r.same ? 0 : 9;
    }
    esdb_close(a);
    esdb_close(b);
    return cmd_finish(status);
}
