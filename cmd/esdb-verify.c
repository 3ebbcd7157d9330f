/* esdb-verify: checks every byte of a store; repairs it after an I/O error; rebuilds what is made from the log. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cmd.h"

enum { OPT_JSON = 256, OPT_REPAIR, OPT_REBUILD };

static const struct cmd_option options[] = {
    {0, "repair", NULL, "after an I/O error: check the log on the disk and let appends go on", OPT_REPAIR},
    {0, "rebuild", NULL, "make head, indexes and tables anew from the log", OPT_REBUILD},
    {'q', "quiet", NULL, "no summary, only findings", 0},
    {0, "json", NULL, "one JSON object a line", OPT_JSON},
    {0},
};
static const struct cmd_group groups[] = {{"Options", options}, CMD_GROUP_STORE, CMD_GROUP_COLOR, {0}};
static const struct cmd_tool tool = {
    .name = "esdb-verify",
    .synopsis = "[options] [STORE]",
    .summary = "check every byte of a store; repair and rebuild it",
    .examples = "esdb-verify shop\n"
                "# damaged indexes or tables are made anew; the log is not touched\n"
                "esdb-verify --rebuild shop\n"
                "# after an I/O error, when the disk is well again\n"
                "esdb-verify --repair shop",
    .notes =
        "A line a finding: damage (something is lost), torn (an append that never ended: harmless), derived (an index\n"
        "or table that --rebuild makes anew), note. Then a summary line. Exit 5 when there is damage, 0 otherwise.\n"
        "Without --repair and --rebuild nothing is written; with them, checking follows.\n"
        "--repair never removes what was acknowledged: when such an event is damaged it changes nothing and exits 5.",
    .groups = groups,
    .statuses = CMD_STATUS(0) | CMD_STATUS(1) | CMD_STATUS(2) | CMD_STATUS(5) | CMD_STATUS(6) | CMD_STATUS(7),
};

/* A verification under way. */
struct job {
    bool json, quiet;
    uint64_t damaged;
    struct cmd_progress progress;
};

static int put_finding(void *context, const struct esdb_finding *f) {
    struct job *job = context;
    job->damaged += f->kind == ESDB_FINDING_DAMAGE;
    cmd_progress_end(&job->progress);
    cmd_put_finding(f, job->json);
    return 0;
}

static void show_progress(void *context, uint64_t done, uint64_t total) {
    struct job *job = context;
    cmd_progress_update(&job->progress, done, total, true);
}

static const char *plural(uint64_t n) {
    return n == 1 ? "" : "s";
}

static void put_summary(const struct esdb_verify_result *r, bool json) {
    struct cmd_out *out = cmd_stdout();
    if (json) {
        cmd_out_printf(out,
                       "{\"segments\":%" PRIu64 ",\"frames\":%" PRIu64 ",\"events\":%" PRIu64 ",\"streams\":%" PRIu64
                       ",\"bytes\":%" PRIu64 ",\"damaged\":%" PRIu64 ",\"torn\":%" PRIu64 ",\"derived\":%" PRIu64
                       ",\"ok\":%s}\n",
                       r->segments, r->frames, r->events, r->streams, r->bytes, r->damaged, r->torn, r->derived,
                       r->damaged ? "false" : "true");
        return;
    }
    cmd_out_color(out, r->damaged ? CMD_BAD : CMD_GOOD);
    cmd_out_text(out, r->damaged ? "damaged" : "ok");
    cmd_out_color(out, CMD_PLAIN);
    cmd_out_printf(out,
                   ": %" PRIu64 " event%s of %" PRIu64 " stream%s in %" PRIu64 " frame%s and %" PRIu64
                   " segment%s, %" PRIu64 " bytes",
                   r->events, plural(r->events), r->streams, plural(r->streams), r->frames, plural(r->frames),
                   r->segments, plural(r->segments), r->bytes);
    if (r->damaged)
        cmd_out_printf(out, "; %" PRIu64 " damaged", r->damaged);
    if (r->torn)
        cmd_out_printf(out, "; %" PRIu64 " torn", r->torn);
    if (r->derived)
        cmd_out_printf(out, "; %" PRIu64 " derived to rebuild", r->derived);
    cmd_out_text(out, "\n");
}

static int verify(struct job *job) {
    struct esdb_verify_options o = {.finding = put_finding, .progress = show_progress, .context = job};
    struct esdb_verify_result result = {0};
    struct esdb_error err = {0};
    esdb *db;
    int status = cmd_open_store(ESDB_EXAMINE, &db);
    if (status != 0)
        return status;
    cmd_progress_begin(&job->progress, "verified");
    int rc = esdb_verify(db, &o, &result, &err);
    cmd_progress_end(&job->progress);
    esdb_close(db);
    /* Damage that was found has been told line by line: the summary counts it. */
    if (rc != 0 && !(rc == ESDB_ECORRUPT && job->damaged > 0))
        return cmd_report(rc, &err);
    if (!job->quiet)
        put_summary(&result, job->json);
    return esdb_exit_status(rc);
}

static int repair(void) {
    struct esdb_error err = {0};
    const char *path;
    int status = cmd_store_path(&path);
    return status ? status : cmd_report(esdb_repair(path, &err), &err);
}

static int rebuild(void) {
    struct esdb_error err = {0};
    esdb *db;
    int status = cmd_open_store(ESDB_APPEND, &db);
    if (status != 0)
        return status;
    status = cmd_report(esdb_rebuild(db, &err), &err);
    esdb_close(db);
    return status;
}

int main(int argc, char **argv) {
    struct job job = {0};
    struct cmd_args args;
    bool want_repair = false, want_rebuild = false;
    int id, status = 0;

    cmd_begin(&tool, &args, argc, argv);
    while ((id = cmd_next_option(&args)) != 0) {
        job.json = job.json || id == OPT_JSON;
        job.quiet = job.quiet || id == 'q';
        want_repair = want_repair || id == OPT_REPAIR;
        want_rebuild = want_rebuild || id == OPT_REBUILD;
    }
    if (args.count > 1)
        cmd_usage_error("one STORE only");
    if (args.count == 1 && cmd_store_given())
        cmd_usage_error("the store is given twice: with -S and as operand");
    if (args.count == 1)
        cmd_set_store(args.operands[0]);
    if (want_repair)
        status = repair();
    if (status == 0 && want_rebuild)
        status = rebuild();
    if (status == 0)
        status = verify(&job);
    return cmd_finish(status);
}
