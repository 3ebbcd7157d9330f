/* esdb-scavenge: what is old goes: decides which events, then gives their space back. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "archive.h"

enum {
    OPT_BEFORE = 256,
    OPT_BEFORE_VERSION,
    OPT_KEEP,
    OPT_REQUIRE_SNAPSHOT,
    OPT_NO_REQUIRE_SNAPSHOT,
    OPT_IGNORE_SUBSCRIPTIONS,
    OPT_PLAN,
    OPT_APPLY,
    OPT_NO_COMPACT,
    OPT_LITERAL,
    OPT_JSON,
    OPT_ERASE,
    OPT_REASON,
    OPT_ARCHIVE,
    OPT_COMPRESS,
    OPT_DECOMPRESS,
};

static const struct cmd_option rules[] = {
    {0, "before", "TIME", "events older than this: 2025-11-23, -90d, @SECONDS", OPT_BEFORE},
    {0, "before-version", "N", "versions 0 to N - 1", OPT_BEFORE_VERSION},
    {0, "keep", "N", "all but the last N events of each stream", OPT_KEEP},
    {0, "require-snapshot", NULL, "only what a snapshot covers: the default", OPT_REQUIRE_SNAPSHOT},
    {0, "no-require-snapshot", NULL, "also what no snapshot covers", OPT_NO_REQUIRE_SNAPSHOT},
    {0, "ignore-subscriptions", NULL, "also what a subscription has not processed yet", OPT_IGNORE_SUBSCRIPTIONS},
    {'a', "all", NULL, "of all streams, without the store's own", 0},
    {0, "literal", NULL, "PATTERN is a name: *, ? and \\ stand for themselves", OPT_LITERAL},
    {0},
};
static const struct cmd_option erasing[] = {
    {0, "erase", "EVENT_ID", "the events with this id; several: each", OPT_ERASE},
    {0, "reason", "TEXT", "with --erase: why, for the record", OPT_REASON},
    {0},
};
static const struct cmd_option steps[] = {
    {'n', "dry-run", NULL, "only show what would go", 0},
    {0, "plan", NULL, "only print what would go, for --apply", OPT_PLAN},
    {0, "apply", "FILE", "carry out a plan; -: from stdin", OPT_APPLY},
    {0, "archive", "[WHERE]", "first keep what goes: in a folder, exec:CMD or file:URL; default: STORE/archive",
     OPT_ARCHIVE},
    {0, "compress", NULL, "also compress sealed segments: smaller, slower to read", OPT_COMPRESS},
    {0, "decompress", NULL, "also make compressed segments plain again", OPT_DECOMPRESS},
    {0, "no-compact", NULL, "only decide: the space is given back another time", OPT_NO_COMPACT},
    {'q', "quiet", NULL, "print nothing", 0},
    {0, "json", NULL, "one JSON object a line, at a terminal too", OPT_JSON},
    {0},
};
static const struct cmd_group groups[] = {{"What goes (each rule that is given must let it go)", rules},
                                          {"Single events", erasing},
                                          {"Options", steps},
                                          CMD_GROUP_STORE,
                                          CMD_GROUP_COLOR,
                                          {0}};
static const struct cmd_tool tool = {
    .name = "esdb-scavenge",
    .synopsis = "[options] [PATTERN...]\n"
                "--apply FILE [options]\n"
                "--erase EVENT_ID [--reason TEXT] [options]",
    .summary = "remove old events and give their space back",
    .examples = "# by the standing policies of the streams: esdb-stream set\n"
                "esdb-scavenge\n"
                "# what would go of each order?\n"
                "esdb-scavenge --dry-run --keep 1 --no-require-snapshot 'orders-*'\n"
                "# a plan to be reviewed\n"
                "esdb-scavenge --plan --before -90d 'orders-*' > plan.json\n"
                "esdb-scavenge --apply plan.json\n"
                "# keep everything, in a fifth of the space\n"
                "esdb-scavenge --compress\n"
                "# checkpoints of subscriptions that newer ones replace\n"
                "esdb-scavenge --dry-run '$sub:*'\n"
                "# what should never have been stored\n"
                "esdb-scavenge --erase 0198c0de-0000-7000-8000-000000000001 \\\n"
                "  --reason 'asked by the customer'",
    .notes = "Without a rule, the standing policies of the streams decide, and what was hidden before is removed.\n"
             "The decision is an event in $meta:STREAM: readers no longer see what goes. Then sealed segments are\n"
             "rewritten without it, while readers and writers go on. Positions and versions never change.\n"
             "A snapshot lets go what it covers, a subscription what it has processed; the rest stays. Exit 9: some\n"
             "events stay because of a subscription, or erased ones in archives that were not looked at.",
    .groups = groups,
    .statuses = CMD_STATUS_READ | CMD_STATUS(3) | CMD_STATUS(8) | CMD_STATUS(9) | CMD_STATUS(10),
};

/* What the command line asks for. */
struct request {
    struct esdb_retention r;
    bool all, dry_run, plan, no_compact, compress, decompress, quiet, json;
    bool archive;
    const char *where; /* of archives; NULL: the folder of the store */
    const char *apply, *reason;
    const char **ids; /* to be erased; owned */
    size_t id_count;
    bool has_rule;
};

static void take(struct request *q, const struct cmd_args *args, int id) {
    switch (id) {
    case OPT_BEFORE:
        q->r.before_us = cmd_time(args);
        q->has_rule = true;
        break;
    case OPT_BEFORE_VERSION:
        q->r.before_version = cmd_number(args);
        q->has_rule = true;
        break;
    case OPT_KEEP:
        q->r.keep = cmd_number(args);
        q->has_rule = true;
        break;
    case OPT_REQUIRE_SNAPSHOT:
    case OPT_NO_REQUIRE_SNAPSHOT:
        q->r.without_snapshot = id == OPT_NO_REQUIRE_SNAPSHOT;
        break;
    case OPT_IGNORE_SUBSCRIPTIONS:
        q->r.ignore_subscriptions = true;
        break;
    case OPT_LITERAL:
        q->r.flags |= ESDB_LITERAL;
        break;
    case OPT_PLAN:
        q->plan = true;
        break;
    case OPT_APPLY:
        q->apply = args->value;
        break;
    case OPT_ERASE:
        q->ids = cmd_grow(q->ids, (q->id_count + 1) * sizeof *q->ids);
        q->ids[q->id_count++] = args->value;
        break;
    case OPT_REASON:
        q->reason = args->value;
        break;
    case OPT_ARCHIVE:
        q->archive = true;
        q->where = cmd_archive_where(args);
        break;
    case OPT_COMPRESS:
        q->compress = true;
        break;
    case OPT_DECOMPRESS:
        q->decompress = true;
        break;
    case OPT_NO_COMPACT:
        q->no_compact = true;
        break;
    default:
        q->all |= id == 'a';
        q->dry_run |= id == 'n';
        q->quiet |= id == 'q';
        q->json |= id == OPT_JSON;
    }
}

/* Of the store's own streams only what newer events have made useless goes, whatever the rules. */
static void check_own(const struct request *q, const char *pattern) {
    static const char *const newest[] = {"$sub:", "$subpart:", "$link-def:"}, *const by_policy[] = {"$parked:",
                                                                                                    "$snapshot:"};
    bool keeps_newest = q->r.keep == 1 && !q->r.before_us && q->r.before_version == UINT64_MAX;
    if (pattern[0] != '$')
        return;
    for (size_t i = 0; i < sizeof newest / sizeof *newest; i++)
        if (strncmp(pattern, newest[i], strlen(newest[i])) == 0) {
            if (q->has_rule && !keeps_newest)
                cmd_usage_error(
                    "'%s': of the store's own streams the newest event stays, and no other: no rule but --keep 1",
                    pattern);
            return;
        }
    for (size_t i = 0; i < sizeof by_policy / sizeof *by_policy; i++)
        if (strncmp(pattern, by_policy[i], strlen(by_policy[i])) == 0) {
            if (q->has_rule)
                cmd_usage_error("'%s': goes by its policy only (esdb-stream set '%s' --max-count N)", pattern, pattern);
            return;
        }
    cmd_usage_error(
        "'%s': of the store's own streams, only $sub:, $subpart:, $link-def:, $parked: and $snapshot: are scavenged",
        pattern);
}

static void check(const struct request *q, char *const *operands, int patterns) {
    if (q->apply && (patterns > 0 || q->all || q->has_rule || q->plan || q->r.without_snapshot ||
                     q->r.ignore_subscriptions || q->r.flags))
        cmd_usage_error("--apply: the plan says what goes");
    if (q->id_count > 0 && (patterns > 0 || q->all || q->has_rule || q->plan || q->dry_run || q->apply))
        cmd_usage_error("--erase goes alone");
    if (q->reason && q->id_count == 0)
        cmd_usage_error("--reason goes with --erase");
    if (patterns > 0 && q->all)
        cmd_usage_error("--all and a PATTERN exclude each other");
    if (q->has_rule && patterns == 0 && !q->all)
        cmd_usage_error("of which streams? Name them, or say --all");
    for (int i = 0; i < patterns; i++)
        check_own(q, operands[i]);
    if (q->plan && q->dry_run)
        cmd_usage_error("--plan and --dry-run exclude each other");
    if ((q->plan || q->dry_run) && q->archive)
        cmd_usage_error("--archive: nothing is cut anyway; give it with --apply");
    if ((q->plan || q->dry_run) && q->no_compact)
        cmd_usage_error("--no-compact: nothing is changed anyway");
    if ((q->plan || q->dry_run) && q->compress)
        cmd_usage_error("--compress: nothing is changed anyway; give it with --apply");
    if ((q->plan || q->dry_run) && q->decompress)
        cmd_usage_error("--decompress: nothing is changed anyway; give it with --apply");
    if (q->no_compact + q->compress + q->decompress > 1)
        cmd_usage_error("--compress, --decompress and --no-compact exclude each other");
}

/* ---- output ---- */

static void put_cut(struct cmd_out *out, const struct esdb_cut *c) {
    cmd_out_text(out, "{\"stream_id\":");
    cmd_out_json(out, c->stream_id);
    if (c->before > c->from)
        cmd_out_printf(out, ",\"from\":%llu,\"to\":%llu", (unsigned long long)c->from,
                       (unsigned long long)c->before - 1);
    cmd_out_printf(out, ",\"count\":%llu,\"bytes\":%llu", (unsigned long long)(c->before - c->from),
                   (unsigned long long)c->bytes);
    if (c->held != ESDB_HELD_NOT) {
        cmd_out_printf(out, ",\"held\":%llu,\"held_by\":\"%s\"", (unsigned long long)(c->wanted - c->before),
                       c->held == ESDB_HELD_BY_SNAPSHOT ? "snapshot" : "subscription");
        if (c->held == ESDB_HELD_BY_SUBSCRIPTION) {
            cmd_out_text(out, ",\"subscription\":");
            cmd_out_json(out, c->holder);
        }
    }
    cmd_out_text(out, "}\n");
}

static void put_row(struct cmd_out *out, const struct esdb_cut *c) {
    cmd_out_printf(out, "%10llu  %12llu  ", (unsigned long long)(c->before - c->from), (unsigned long long)c->bytes);
    cmd_out_plain(out, c->stream_id);
    if (c->before > c->from)
        cmd_out_printf(out, "  versions %llu to %llu", (unsigned long long)c->from, (unsigned long long)c->before - 1);
    if (c->held != ESDB_HELD_NOT)
        cmd_out_printf(out, "  (%llu stay: %s)", (unsigned long long)(c->wanted - c->before),
                       c->held == ESDB_HELD_BY_SNAPSHOT ? "no snapshot covers them" : "a subscription needs them");
    cmd_out_add(out, "\n", 1);
}

/* The cuts, and 9 when a subscription keeps some of what should go. */
static int show_cuts(const struct request *q, const esdb_plan *p) {
    size_t count, held = 0, first = 0;
    const struct esdb_cut *c = esdb_plan_cuts(p, &count);
    uint64_t snapshot = 0;
    for (size_t i = 0; i < count; i++) {
        if (!q->quiet && !q->plan && (c[i].before > c[i].from || c[i].held != ESDB_HELD_NOT))
            (q->json ? put_cut : put_row)(cmd_stdout(), &c[i]);
        snapshot += c[i].held == ESDB_HELD_BY_SNAPSHOT;
        if (c[i].held == ESDB_HELD_BY_SUBSCRIPTION && held++ == 0)
            first = i;
    }
    if (snapshot > 0)
        cmd_message("%llu stream%s keep%s events that no snapshot covers (--no-require-snapshot)",
                    (unsigned long long)snapshot, snapshot == 1 ? "" : "s", snapshot == 1 ? "s" : "");
    if (held > 0)
        cmd_message("%.*s: keeps events that the subscription %.*s has not processed yet%s (--ignore-subscriptions)",
                    (int)c[first].stream_id.len, c[first].stream_id.at, (int)c[first].holder.len, c[first].holder.at,
                    held > 1 ? ", and others" : "");
    return held > 0 ? 9 : 0;
}

static void show_compaction(const struct request *q, const struct esdb_compaction *c) {
    struct cmd_out *out = cmd_stdout();
    unsigned long long freed = c->bytes_before > c->bytes ? c->bytes_before - c->bytes : 0;
    if (q->quiet)
        return;
    if (q->json)
        cmd_out_printf(out,
                       "{\"segments\":%llu,\"events\":%llu,\"bytes\":%llu,\"left\":%llu,\"compressed\":%llu,"
                       "\"decompressed\":%llu}\n",
                       (unsigned long long)c->segments, (unsigned long long)c->events, freed,
                       (unsigned long long)c->left, (unsigned long long)c->compressed,
                       (unsigned long long)c->decompressed);
    else
        cmd_out_printf(out, "%llu events removed from %llu segments, %llu bytes given back\n",
                       (unsigned long long)c->events, (unsigned long long)c->segments, freed);
    if (!q->json && q->compress)
        cmd_out_printf(out, "%llu segments compressed\n", (unsigned long long)c->compressed);
    if (!q->json && q->decompress)
        cmd_out_printf(out, "%llu segments decompressed\n", (unsigned long long)c->decompressed);
}

/* ---- the steps ---- */

/* A whole file, or stdin. Exits 1 after the message. */
static struct esdb_text read_file(const char *name) {
    int fd = strcmp(name, "-") == 0 ? 0 : open(name, O_RDONLY | O_CLOEXEC);
    char *at = NULL;
    size_t len = 0, room = 0;
    ssize_t n = fd < 0 ? -1 : 1;
    while (n > 0) {
        if (len == room)
            at = cmd_grow(at, room = room ? room * 2 : 1u << 16);
        n = read(fd, at + len, room - len);
        if (n > 0)
            len += (size_t)n;
    }
    if (n < 0) {
        cmd_message("%s: %s", name, strerror(errno));
        exit(1);
    }
    if (fd > 0)
        close(fd);
    return (struct esdb_text){at, len};
}

static int make_plan(esdb *db, const struct request *q, esdb_plan **out, struct esdb_error *err) {
    if (!q->apply)
        return esdb_plan_make(db, &q->r, out, err);
    struct esdb_text json = read_file(q->apply);
    int rc = esdb_plan_read(db, json, out, err);
    free((char *)json.at);
    return rc;
}

static int compact(esdb *db, const struct request *q, bool *forgot, struct esdb_error *err) {
    struct esdb_compaction c;
    int rc = q->compress     ? esdb_compress(db, &c, err)
             : q->decompress ? esdb_decompress(db, &c, err)
                             : esdb_compact(db, &c, err);
    *forgot = c.forgotten > 0;
    if (rc == 0 || c.segments > 0)
        show_compaction(q, &c);
    if (c.left > 0)
        cmd_message("%llu segments stay as they are", (unsigned long long)c.left);
    return rc;
}

static int print_plan(const esdb_plan *p, struct esdb_error *err) {
    char *json;
    int rc = esdb_plan_write(p, &json, err);
    if (rc < 0)
        return rc;
    cmd_out_text(cmd_stdout(), json);
    cmd_out_text(cmd_stdout(), "\n");
    free(json);
    return 0;
}

static void show_failed(void *context, const char *key, const struct esdb_error *why) {
    (void)key;
    *(bool *)context = true;
    cmd_message("%s", why->text);
}

/* Takes an event out of archives, too. *erased: it was in one. 0, or an exit status after the messages. */
static int erase_archived(esdb_archive *a, const struct request *q, const char *id, bool *erased) {
    struct esdb_error err = {0};
    bool told = false;
    uint64_t count = 0;
    int rc =
        esdb_archive_erase(a, cmd_text(id), cmd_text(q->reason ? q->reason : ""), &count, show_failed, &told, &err);
    *erased = count > 0;
    if (rc < 0 && !told)
        cmd_report(rc, &err);
    if (rc < 0)
        cmd_message("%s: may still be in archives in %s", id, esdb_archive_where(a));
    return rc < 0 ? esdb_exit_status(rc) : 0;
}

static int show_place(void *context, const char *where) {
    ++*(unsigned *)context;
    cmd_message("not looked at: archives in %s (--archive=%s)", where, where);
    return 0;
}

/* Names the places of archives that are out of reach. 0, or an exit status after the messages. */
static int name_others(esdb *db, const struct request *q) {
    struct esdb_error err = {0};
    unsigned count = 0;
    int rc = esdb_archive_places(db, q->where, show_place, &count, &err);
    return rc < 0 ? cmd_report(rc, &err) : count > 0 ? 9 : 0;
}

/* Is the place that was named the store's own folder? */
static bool is_own(const esdb *db, const char *where) {
    struct stat a, b;
    char *own;
    bool same = false;
    if (asprintf(&own, "%s/archive", esdb_path(db)) < 0)
        return false;
    same = stat(own, &a) == 0 && stat(where, &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
    free(own);
    return same;
}

/* The places that are looked at: the store's own folder, and the one that was named. places[1] may be NULL. 0, or an exit
 * status after the message. */
static int open_places(esdb *db, const struct request *q, esdb_archive *places[2]) {
    places[0] = places[1] = NULL;
    int status = cmd_archive_open(db, NULL, ESDB_APPEND, &places[0]);
    if (status == 0 && q->where && !is_own(db, q->where))
        status = cmd_archive_open(db, q->where, ESDB_APPEND, &places[1]);
    if (status != 0)
        esdb_archive_close(places[0]);
    return status;
}

/* From the log and from archives. The others go all the same when one is not there. */
static int erase_one(esdb *db, esdb_archive *const places[2], const struct request *q, const char *id, int *status,
                     struct esdb_error *err) {
    struct esdb_error why = {0};
    bool erased, any = false;
    int rc = esdb_event_erase(db, cmd_text(id), cmd_text(q->reason ? q->reason : ""), NULL, &why), failed = 0;
    if (rc < 0 && rc != ESDB_ENOTFOUND) {
        *err = why;
        return rc;
    }
    for (int i = 0; i < 2 && places[i]; i++) {
        int archived = erase_archived(places[i], q, id, &erased);
        failed = archived ? archived : failed;
        any |= erased;
    }
    struct esdb_error again = {0}; /* what was restored from an archive just before it was taken out of that */
    int late = any ? esdb_event_erase(db, cmd_text(id), cmd_text(q->reason ? q->reason : ""), NULL, &again) : 0;
    if (late < 0 && late != ESDB_ENOTFOUND) {
        *err = again;
        return late;
    }
    if (failed != 0)
        *status = failed;
    else if (rc == ESDB_ENOTFOUND && !any)
        *status = cmd_report(rc, &why);
    return 0;
}

static int erase(esdb *db, const struct request *q) {
    struct esdb_error err = {0};
    esdb_archive *places[2];
    int rc = 0, status = open_places(db, q, places);
    if (status != 0)
        return status;
    for (size_t i = 0; rc == 0 && i < q->id_count; i++)
        rc = erase_one(db, places, q, q->ids[i], &status, &err);
    for (int i = 0; i < 2; i++)
        esdb_archive_close(places[i]);
    int others = rc == 0 ? name_others(db, q) : 0;
    status = status ? status : others;
    bool forgot;
    if (rc == 0 && !q->no_compact)
        rc = compact(db, q, &forgot, &err);
    return rc != 0 ? cmd_report(rc, &err) : status;
}

/* Writes the decisions, and before them the archives. */
static int apply(esdb *db, const struct request *q, esdb_plan *p, struct esdb_error *err) {
    esdb_archive *a = NULL;
    int rc = q->archive ? esdb_archive_open(db, q->where, ESDB_APPEND, &a, err) : 0;
    if (rc == 0) {
        esdb_plan_set_archive(p, a);
        rc = esdb_plan_apply(db, p, err);
    }
    esdb_archive_close(a);
    return rc;
}

/* Archives of streams that were closed for ever go with them, where they are within reach. 0, or an exit status. */
static int forget_archived(esdb *db, const struct request *q) {
    struct esdb_error err = {0};
    esdb_archive *places[2];
    uint64_t count;
    int rc = 0, status = open_places(db, q, places);
    if (status != 0)
        return status;
    for (int i = 0; i < 2 && places[i]; i++) {
        int failed = esdb_archive_forget(places[i], &count, &err);
        rc = rc ? rc : failed;
        esdb_archive_close(places[i]);
    }
    return rc < 0 ? cmd_report(rc, &err) : 0;
}

static int run(esdb *db, const struct request *q) {
    struct esdb_error err = {0};
    esdb_plan *p;
    int status = 0, rc = make_plan(db, q, &p, &err);
    if (rc < 0)
        return cmd_report(rc, &err);
    if (q->plan)
        rc = print_plan(p, &err);
    else if (!q->dry_run)
        rc = apply(db, q, p, &err);
    if (rc == 0)
        status = show_cuts(q, p);
    esdb_plan_close(p);
    if (rc != 0 || q->plan || q->dry_run || q->no_compact)
        return rc != 0 ? cmd_report(rc, &err) : status;
    bool forgot = false;
    int archived = forget_archived(db, q);
    rc = compact(db, q, &forgot, &err);
    if (forgot && archived == 0)
        archived = name_others(db, q);
    return rc != 0 ? cmd_report(rc, &err) : archived ? archived : status;
}

int main(int argc, char **argv) {
    struct cmd_args args;
    struct request q = {0};
    esdb *db;
    int id;

    cmd_begin(&tool, &args, argc, argv);
    esdb_retention_init(&q.r);
    while ((id = cmd_next_option(&args)) != 0)
        take(&q, &args, id);
    check(&q, args.operands, args.count);
    struct esdb_text *names = cmd_alloc((size_t)(args.count + 1) * sizeof *names);
    for (int i = 0; i < args.count; i++)
        names[i] = cmd_text(args.operands[i]);
    q.r.streams = names;
    q.r.stream_count = (size_t)args.count;
    q.r.with_bytes = q.dry_run || q.plan;
    q.r.with_own = q.dry_run;
    q.json = q.json || !cmd_stdout()->terminal;
    int status = cmd_open_store(q.dry_run || q.plan ? ESDB_READ : ESDB_APPEND, &db);
    if (status == 0) {
        status = q.id_count > 0 ? erase(db, &q) : run(db, &q);
        cmd_leave_store(db);
    }
    free(names);
    free(q.ids);
    return cmd_finish(status);
}
