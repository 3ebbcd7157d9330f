/* backup_verify.c: esdb-backup --verify: the files of a backup against its manifest, then every byte as esdb-verify does. */
#include <inttypes.h>

#include "backup.h"

struct job {
    bool json;
    uint64_t damaged;
    struct cmd_progress progress;
};

static int put_finding(void *context, const struct esdb_finding *f) {
    struct job *job = context;
    if (f->kind == ESDB_FINDING_DERIVED ||
        f->kind == ESDB_FINDING_NOTE) /* restoring makes indexes; head is not in it */
        return 0;
    job->damaged += f->kind == ESDB_FINDING_DAMAGE;
    cmd_progress_end(&job->progress);
    cmd_put_finding(f, job->json);
    return 0;
}

static void show_progress(void *context, uint64_t done, uint64_t total) {
    struct job *job = context;
    cmd_progress_update(&job->progress, done, total, true);
}

static void put_summary(const struct job *job, const struct esdb_verify_result *r) {
    struct cmd_out *out = cmd_stdout();
    if (job->json) {
        cmd_out_printf(out,
                       "{\"segments\":%" PRIu64 ",\"events\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"damaged\":%" PRIu64
                       ",\"ok\":%s}\n",
                       r->segments, r->events, r->bytes, job->damaged, job->damaged ? "false" : "true");
        return;
    }
    cmd_out_color(out, job->damaged ? CMD_BAD : CMD_GOOD);
    cmd_out_text(out, job->damaged ? "damaged" : "ok");
    cmd_out_color(out, CMD_PLAIN);
    cmd_out_printf(out, ": %" PRIu64 " events in %" PRIu64 " segment%s, %" PRIu64 " bytes", r->events, r->segments,
                   r->segments == 1 ? "" : "s", r->bytes);
    if (job->damaged)
        cmd_out_printf(out, "; %" PRIu64 " damaged", job->damaged);
    cmd_out_text(out, "\n");
}

int cmd_backup_verify(const char *backup, bool json, bool quiet) {
    struct job job = {.json = json};
    struct esdb_verify_options o = {.finding = put_finding, .progress = show_progress, .context = &job};
    struct esdb_verify_result r = {0};
    struct esdb_error err = {0};
    esdb *db = NULL;
    cmd_progress_begin(&job.progress, "compared");
    int rc = esdb_backup_verify(backup, &o, &r, &err);
    cmd_progress_end(&job.progress);
    if (rc != 0 && !(rc == ESDB_ECORRUPT && job.damaged > 0))
        return cmd_report(rc, &err);
    err = (struct esdb_error){0};
    cmd_progress_begin(&job.progress, "verified");
    rc = esdb_open(backup, ESDB_EXAMINE, &db, &err);
    if (rc == 0)
        rc = esdb_verify(db, &o, &r, &err);
    cmd_progress_end(&job.progress);
    esdb_close(db);
    if (rc != 0 && !(rc == ESDB_ECORRUPT && job.damaged > 0))
        return cmd_report(rc, &err);
    if (!quiet)
        put_summary(&job, &r);
    return job.damaged ? esdb_exit_status(ESDB_ECORRUPT) : 0;
}
