/* esdb-backup: consistent copies of a store that is in use, and stores made of them. */
#include <string.h>

#include "backup.h"

enum { OPT_COPY = 256, OPT_NAME, OPT_VERIFY, OPT_JSON, OPT_TO, OPT_ERASURES };

static const struct cmd_option options[] = {
    {0, "copy", NULL, "share nothing with the store: no hard links, no common blocks", OPT_COPY},
    {'o', "tar", "FILE", "write a tar archive instead; - is standard output", 0},
    {0, "name", "NAME", "with --tar: the directory in the archive (default: that of the store)", OPT_NAME},
    {0, "verify", NULL, "read a backup, and compare it with its manifest", OPT_VERIFY},
    {'q', "quiet", NULL, "print no summary", 0},
    {0, "json", NULL, "print the summary as a JSON object", OPT_JSON},
    {0},
};
static const struct cmd_option restore_options[] = {
    {0, "to", "WHEN", "up to a TIME, or up to the event at pos:N; default: all", OPT_TO},
    {0, "erasures", "STORE", "erase again what this store has erased since", OPT_ERASURES},
    {0},
};
static const struct cmd_group groups[] = {
    {"Options", options}, {"Options of restore", restore_options}, CMD_GROUP_STORE, CMD_GROUP_COLOR, {0}};
static const struct cmd_tool tool = {
    .name = "esdb-backup",
    .synopsis = "[options] TARGET\n"
                "[options] --tar FILE\n"
                "--verify BACKUP\n"
                "restore [--to WHEN] [--erasures STORE] [--copy] BACKUP TARGET",
    .summary = "copy a store that is in use; make a store of a copy",
    .examples = "esdb-backup -S shop shop.backup\n"
                "# again: only what is new since\n"
                "esdb-backup -S shop shop.backup\n"
                "esdb-backup --verify shop.backup\n"
                "# a store as it was after the event at position 2\n"
                "esdb-backup restore --to pos:2 shop.backup before\n"
                "# to another machine\n"
                "esdb-backup -S shop --tar - | ssh backups tar -xf -",
    .notes =
        "A backup is a directory like a store: every tool reads it, and nobody can append to it. It holds what was\n"
        "committed when it began; writers go on meanwhile. Closed segments are hard links where that can be, so that "
        "on\n"
        "the same file system a backup takes time and space for the new ones only: keep another one on another disk\n"
        "(or give --copy). What is put into it is checked first; damage is exit 5, and there is no new backup.\n"
        "TARGET appears whole, or stays as it was. An earlier backup there is replaced, if it is one of the same\n"
        "history; else exit 3. restore makes a store with a history of its own: it never becomes one with the first.",
    .groups = groups,
    .statuses = CMD_STATUS(0) | CMD_STATUS(1) | CMD_STATUS(2) | CMD_STATUS(3) | CMD_STATUS(4) | CMD_STATUS(5) |
                CMD_STATUS(6) | CMD_STATUS(7),
};

/* What was asked for. */
struct request {
    bool copy, verify, quiet, json, restore, has_to;
    const char *tar, *name;
    struct esdb_restore_options to;
    struct cmd_progress progress;
};

static void show_progress(void *context, uint64_t done, uint64_t total) {
    struct request *r = context;
    cmd_progress_update(&r->progress, done, total, true);
}

static int finish(struct request *q, int rc, const struct esdb_backup_result *r, const struct esdb_error *err) {
    cmd_progress_end(&q->progress);
    if (rc != 0)
        return cmd_report(rc, err);
    if (!q->quiet)
        cmd_backup_summary(r, q->restore ? "restored" : "backed up", q->json);
    return 0;
}

static int back_up(struct request *q, const char *target) {
    struct esdb_backup_options o = {.copy = q->copy, .progress = show_progress, .context = q};
    struct esdb_backup_result r = {0};
    struct esdb_error err = {0};
    esdb *db;
    int status = cmd_open_store(ESDB_READ, &db);
    if (status != 0)
        return status;
    cmd_progress_begin(&q->progress, "backed up");
    int rc = esdb_backup(db, target, &o, &r, &err);
    status = finish(q, rc, &r, &err);
    cmd_leave_store(db);
    return status;
}

static int restore(struct request *q, const char *backup, const char *target) {
    struct esdb_backup_result r = {0};
    struct esdb_error err = {0};
    q->to.copy = q->copy;
    cmd_progress_begin(&q->progress, "restored");
    int rc = esdb_restore(backup, target, &q->to, &r, &err);
    return finish(q, rc, &r, &err);
}

static void parse_to(struct request *q, const struct cmd_args *args) {
    q->has_to = true;
    if (strncmp(args->value, "pos:", 4) != 0)
        q->to.until_us = cmd_time(args);
    else if (!cmd_parse_number(args->value + 4, &q->to.to_position) || q->to.to_position == UINT64_MAX)
        cmd_usage_error("%s: '%s' is none of TIME, pos:POSITION", args->option, args->value);
}

static void parse(struct request *q, struct cmd_args *args) {
    int id;
    q->to = (struct esdb_restore_options){.to_position = UINT64_MAX, .until_us = UINT64_MAX};
    while ((id = cmd_next_option(args)) != 0) {
        q->copy |= id == OPT_COPY;
        q->verify |= id == OPT_VERIFY;
        q->quiet |= id == 'q';
        q->json |= id == OPT_JSON;
        if (id == 'o')
            q->tar = args->value;
        else if (id == OPT_NAME)
            q->name = args->value;
        else if (id == OPT_TO)
            parse_to(q, args);
        else if (id == OPT_ERASURES)
            q->to.erasures = args->value;
    }
    q->restore = args->count > 0 && strcmp(args->operands[0], "restore") == 0;
}

/* What does not go together. */
static void check(const struct request *q, const struct cmd_args *args) {
    if (q->restore && args->count != 3)
        cmd_usage_error("restore: which BACKUP, and which TARGET?");
    if (q->restore && (q->tar || q->name || q->verify))
        cmd_usage_error("%s does not belong to restore", q->tar ? "--tar" : q->name ? "--name" : "--verify");
    if (q->restore && cmd_store_given())
        cmd_usage_error("restore takes BACKUP and TARGET, no --store");
    if ((q->has_to || q->to.erasures) && !q->restore)
        cmd_usage_error("%s belongs to restore", q->has_to ? "--to" : "--erasures");
    if (q->verify && (q->tar || q->name || q->copy || cmd_store_given()))
        cmd_usage_error("--verify takes a BACKUP, and goes with --json and --quiet only");
    if (q->verify && args->count != 1)
        cmd_usage_error("--verify: which BACKUP?");
    if (q->tar && args->count > 0)
        cmd_usage_error("either --tar or TARGET");
    if (q->tar && q->copy)
        cmd_usage_error("--copy: an archive shares nothing anyway");
    if (q->name && !q->tar)
        cmd_usage_error("--name goes with --tar");
    if (!q->tar && args->count == 0)
        cmd_usage_error("which TARGET?");
    if (!q->restore && !q->verify && args->count > 1)
        cmd_usage_error("one TARGET only (a backup named 'restore' is ./restore)");
}

int main(int argc, char **argv) {
    struct request q = {0};
    struct cmd_args args;
    int status;

    cmd_begin(&tool, &args, argc, argv);
    parse(&q, &args);
    check(&q, &args);
    if (q.restore)
        status = restore(&q, args.operands[1], args.operands[2]);
    else if (q.verify)
        status = cmd_backup_verify(args.operands[0], q.json, q.quiet);
    else if (q.tar)
        status = cmd_backup_tar(q.tar, q.name, q.json, q.quiet);
    else
        status = back_up(&q, args.operands[0]);
    return cmd_finish(status);
}
