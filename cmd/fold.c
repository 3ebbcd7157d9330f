/* fold.c: events, or states from standard input, into states. */
#include "fold.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "internal.h"

/* ---- printing ---- */

static void print_result(const struct cmd_fold_request *r, const struct esdb_fold_result *result) {
    struct cmd_out *out = cmd_stdout();

    if (r->options.flags & ESDB_FOLD_PER_STREAM) {
        cmd_out_text(out, "{\"stream_id\":");
        cmd_out_json(out, result->stream_id);
        cmd_out_printf(out, ",\"version\":%" PRId64 ",\"events\":%" PRIu64, result->version, result->events);
        if (result->snapshot_version >= 0)
            cmd_out_printf(out, ",\"snapshot_version\":%" PRId64, result->snapshot_version);
        cmd_out_text(out, ",\"state\":");
        cmd_out_stored_json(out, result->state);
        cmd_out_text(out, "}\n");
        return;
    }
    cmd_out_stored_json(out, result->state);
    cmd_out_text(out, "\n");
}

static int report_skipped(const esdb_fold *fold) {
    struct esdb_fold_skipped skipped;

    esdb_fold_get_skipped(fold, &skipped);
    if (skipped.count == 0)
        return 0;
    cmd_out_flush(cmd_stdout());
    cmd_message("%" PRIu64 " event%s left out (first: %s)", skipped.count, skipped.count == 1 ? " was" : "s were",
                skipped.text);
    return 8;
}

/* ---- events ---- */

/* *from_snapshots: each state goes on from a snapshot, which stands for the events before it. */
static int print_states(esdb *db, const struct cmd_fold_request *r, esdb_fold *fold, bool *from_snapshots) {
    struct esdb_error err = {0};
    struct esdb_fold_result result;
    uint64_t folded = 0;
    int rc;

    while ((rc = esdb_fold_next(fold, &result, &err)) == 0 && !cmd_stdout()->failed) {
        folded += result.events + (result.snapshot_version >= 0);
        *from_snapshots &= result.snapshot_version >= 0;
        print_result(r, &result);
        if (r->save_every > 0 && (rc = esdb_fold_save(fold, db, r->save_every, &err)) < 0)
            break;
    }
    if (rc < 0) {
        cmd_out_flush(cmd_stdout());
        return cmd_report(rc, &err);
    }
    return r->exit_status && folded == 0 ? 4 : 0;
}

int cmd_fold_events(esdb *db, const struct cmd_fold_request *r) {
    struct esdb_error err = {0};
    esdb_fold *fold;
    int missing, skipped, status, past, rc = esdb_fold_open(&r->options, &fold, &err);
    bool from_snapshots = true;

    if (rc != 0)
        return cmd_report(rc, &err);
    rc = esdb_fold_read(fold, db, &r->query, &err);
    if (rc == ESDB_EUSAGE && r->options.init.at && err.text[0] && strstr(err.text, "snapshot"))
        cmd_message("--init and a snapshot exclude each other: --no-snapshot passes it over");
    if (rc != 0) {
        status = cmd_report(rc, &err);
        esdb_fold_close(fold);
        return status;
    }
    missing = cmd_check_streams(db, &r->query, "no such stream");
    /* Of one stream that is not there, there is no state. */
    status =
        missing && !(r->options.flags & ESDB_FOLD_PER_STREAM) ? missing : print_states(db, r, fold, &from_snapshots);
    skipped = report_skipped(fold);
    esdb_fold_close(fold);
    past = (missing || !from_snapshots) && (status == 0 || status == 4) ? cmd_check_past(db, &r->query) : 0;
    return past ? past : status ? status : missing ? missing : skipped;
}

/* ---- states ---- */

static int print_one(const struct cmd_fold_request *r, esdb_fold *fold) {
    struct esdb_fold_result result;
    struct esdb_error err = {0};
    int rc = esdb_fold_next(fold, &result, &err);

    if (rc != 0)
        return cmd_report(rc, &err);
    print_result(r, &result);
    return 0;
}

/* One line: into the fold, or into one of its own, which is printed. */
static int fold_line(const struct cmd_fold_request *r, esdb_fold *fold, struct esdb_text line, uint64_t number) {
    struct esdb_error err = {0};
    esdb_fold *own = NULL;
    int status = 0, rc = fold ? 0 : esdb_fold_open(&r->options, &own, &err);

    if (rc == 0)
        rc = esdb_fold_add(fold ? fold : own, line, &err);
    if (rc == ESDB_EINVALID) {
        cmd_out_flush(cmd_stdout());
        cmd_message("line %" PRIu64 ": %s", number, err.text);
        status = 8;
    } else if (rc != 0) {
        status = cmd_report(rc, &err);
    } else if (own) {
        status = print_one(r, own);
    }
    esdb_fold_close(own);
    return status;
}

int cmd_fold_states(const struct cmd_fold_request *r) {
    struct esdb_error err = {0};
    esdb_fold *fold = NULL;
    char *line = NULL;
    size_t room = 0;
    ssize_t len;
    int status = 0, rc = r->merge ? esdb_fold_open(&r->options, &fold, &err) : 0;

    if (rc != 0)
        return cmd_report(rc, &err);
    if (isatty(0))
        cmd_message("reading states from the terminal; Ctrl-D ends them");
    for (uint64_t number = 1; status == 0 && (len = getline(&line, &room, stdin)) >= 0; number++)
        if (strspn(line, " \t\r\n") < (size_t)len)
            status = fold_line(r, fold, (struct esdb_text){line, (size_t)len}, number);
    if (status == 0 && ferror(stdin)) {
        cmd_message("standard input: %s", strerror(errno));
        status = 1;
    }
    if (status == 0 && fold)
        status = print_one(r, fold);
    free(line);
    esdb_fold_close(fold);
    return status;
}
