/* esdb-archive: events that left the log: which archives there are, reading them, putting them back. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "archive.h"

enum {
    OPT_FROM = 256,
    OPT_TO,
    OPT_VERSIONS,
    OPT_COUNT,
    OPT_EXIT_STATUS,
    OPT_ARCHIVE,
    OPT_INTO,
    OPT_NEW_TIMES,
    OPT_ERASURES,
    OPT_JSON
};

static const struct cmd_option options[] = {
    {0, "archive", "WHERE", "a folder, exec:CMD or file:URL; default: the folder archive of the store", OPT_ARCHIVE},
    {'q', "quiet", NULL, "verify, restore, delete: print nothing", 0},
    {0, "json", NULL, "one JSON object a line, at a terminal too", OPT_JSON},
    {0},
};
static const struct cmd_option restore_options[] = {
    {0, "into", "STREAM", "another stream than the archive's", OPT_INTO},
    {0, "new-times", NULL, "events get the time of now, as when newer ones are in the store", OPT_NEW_TIMES},
    {0, "erasures", "STORE", "what this store has erased is not restored: that of the archives", OPT_ERASURES},
    {0},
};
static const struct cmd_option read_options[] = {
    {0, "from", "POSITION", "from this position on", OPT_FROM},
    {0, "to", "POSITION", "up to this position, inclusive", OPT_TO},
    {0, "versions", "A..B", "only these versions of each stream, inclusive; A.., ..B, N", OPT_VERSIONS},
    {'n', "limit", "N", "at most N events", 0},
    {'r', "reverse", NULL, "newest first", 0},
    {0, "count", NULL, "print the number of events only", OPT_COUNT},
    {0, "exit-status", NULL, "exit 4 when nothing matched", OPT_EXIT_STATUS},
    {0},
};
static const struct cmd_group groups[] = {{"Options", options},
                                          {"Options of restore", restore_options},
                                          {"Options of read", read_options},
                                          CMD_GROUP_SELECTION,
                                          CMD_GROUP_FILTER,
                                          CMD_GROUP_TIME,
                                          CMD_GROUP_OUTPUT,
                                          CMD_GROUP_STORE,
                                          {0}};
static const struct cmd_tool tool = {
    .name = "esdb-archive",
    .synopsis = "list [options] [STREAM...]\n"
                "read [options] STREAM...\n"
                "read [options] --all\n"
                "verify [options] [KEY...]\n"
                "restore [options] KEY...\n"
                "exists KEY...\n"
                "delete KEY...\n"
                "parse-key KEY...",
    .summary = "read, check and restore events that were archived",
    .examples = "# events go into archives when they are scavenged\n"
                "esdb-scavenge --archive --before-version 2 --no-require-snapshot orders-1\n"
                "esdb-archive list\n"
                "esdb-archive read orders-1 --select '.data.total > 1'\n"
                "esdb-archive verify\n"
                "esdb-archive restore --into orders-1-before --new-times orders-1/0-1.archive\n"
                "esdb-archive parse-key a%2Fb/0-99.archive\n"
                "# without esdb\n"
                "tar -xOf \"$ESDB_STORE\"/archive/orders-1/0-1.archive events.jsonl | jq .data",
    .notes = "An archive holds some versions of one stream. Its KEY, as list prints it, is its name in the folder:\n"
             "STREAM/FROM-TO.archive, odd characters as %XX. esdb-scavenge --archive writes archives.\n"
             "list prints key, stream_id, from and to. STREAM may be a pattern. verify reads archives, all of them\n"
             "when no KEY is given, and checks everything. read prints as esdb-read does; see there for STREAM, TIME\n"
             "and filters. esdb-read --with-archive prints archived events and those of the store together.\n"
             "restore appends the events again, with their versions: where they follow the stream's last one, or\n"
             "where there is no such stream; else exit 3. exists answers by its exit status.\n"
             "exec:CMD runs CMD put KEY, get KEY, list, delete KEY or exists KEY: see esdb-archive(1).",
    .groups = groups,
    .statuses = CMD_STATUS_SELECT | CMD_STATUS(3) | CMD_STATUS(10),
};

enum action { LIST, READ, VERIFY, RESTORE, EXISTS, DELETE, PARSE_KEY, ACTIONS };
static const char *const actions[ACTIONS] = {"list", "read", "verify", "restore", "exists", "delete", "parse-key"};

/* What the command line asked for. */
struct request {
    enum action action;
    const char *archive, *into, *erasures;
    bool new_times, quiet, json, count_only, exit_status, read_option;
    const char *foreign; /* an option of read that was given */
    struct esdb_query q;
};

/* ---- options ---- */

static enum action find_action(const struct cmd_args *args) {
    static const char all[] = "list, read, verify, restore, exists, delete or parse-key";
    if (args->count == 0)
        cmd_usage_error("which action: %s?", all);
    for (int i = 0; i < ACTIONS; i++)
        if (strcmp(args->operands[0], actions[i]) == 0)
            return (enum action)i;
    cmd_usage_error("'%s' is no action: %s", args->operands[0], all);
}

static void check(struct request *r, struct cmd_args *args) {
    r->action = find_action(args);
    int count = args->count - 1;
    const char *name = actions[r->action];
    if (r->action != READ && (r->foreign || cmd_output_given()))
        cmd_usage_error("%s belongs to read, not to %s", r->foreign ? r->foreign : "the form of events", name);
    if (r->action != RESTORE && (r->into || r->new_times || r->erasures))
        cmd_usage_error("%s belongs to restore, not to %s",
                        r->into        ? "--into"
                        : r->new_times ? "--new-times"
                                       : "--erasures",
                        name);
    if (r->quiet && r->action != VERIFY && r->action != RESTORE && r->action != DELETE)
        cmd_usage_error("-q belongs to verify, restore and delete, not to %s", name);
    if (r->json && (r->action == READ || r->action == EXISTS || r->action == DELETE))
        cmd_usage_error("--json has no meaning with %s", name);
    if (r->action > VERIFY && count == 0)
        cmd_usage_error("%s: which KEY?", name);
    if (r->action > READ && cmd_selection_given(0))
        cmd_usage_error("%s takes KEYs, and no choice of events", name);
    if (r->q.from_position > r->q.to_position)
        cmd_usage_error("--from is after --to");
    if (r->count_only && cmd_output_given())
        cmd_usage_error("--count prints no events: --output, --fields, --jq and -0 have no meaning");
    if (r->into && (r->into[0] == '\0' || r->into[0] == '$'))
        cmd_usage_error("--into: '%s' is no stream of a user", r->into);
    if (r->action == READ || (r->action == LIST && (count > 0 || cmd_selection_given(count))))
        cmd_select(&r->q, args->operands + 1, count);
}

static void take_read_option(struct request *r, const struct cmd_args *args, int id) {
    if (id != 'q' && id != OPT_JSON && id != OPT_ARCHIVE && id != OPT_INTO && id != OPT_NEW_TIMES && id != OPT_ERASURES)
        r->foreign = args->option;
    if (id == OPT_FROM)
        r->q.from_position = cmd_number(args);
    else if (id == OPT_TO)
        r->q.to_position = cmd_number(args);
    else if (id == OPT_VERSIONS)
        cmd_versions(args, &r->q);
    else if (id == 'n')
        r->q.limit = cmd_number(args);
    r->q.flags |= id == 'r' ? ESDB_REVERSE : 0;
    r->count_only |= id == OPT_COUNT;
    r->exit_status |= id == OPT_EXIT_STATUS;
}

static void parse(struct request *r, struct cmd_args *args) {
    int id;
    esdb_query_init(&r->q);
    while ((id = cmd_next_option(args)) != 0) {
        take_read_option(r, args, id);
        r->quiet |= id == 'q';
        r->json |= id == OPT_JSON;
        r->new_times |= id == OPT_NEW_TIMES;
        if (id == OPT_ARCHIVE)
            r->archive = cmd_archive_where(args);
        else if (id == OPT_INTO)
            r->into = args->value;
        else if (id == OPT_ERASURES)
            r->erasures = args->value;
    }
    check(r, args);
}

/* ---- actions ---- */

static void put_key(const char *key, struct esdb_text stream, uint64_t from, uint64_t to, bool json) {
    struct cmd_out *out = cmd_stdout();
    if (!json) {
        cmd_out_plain(out, cmd_text(key));
        cmd_out_add(out, "\n", 1);
        return;
    }
    cmd_out_text(out, "{\"key\":");
    cmd_out_json(out, cmd_text(key));
    cmd_out_text(out, ",\"stream_id\":");
    cmd_out_json(out, stream);
    cmd_out_printf(out, ",\"from\":%" PRIu64 ",\"to\":%" PRIu64 "}\n", from, to);
}

static int list_one(void *context, const char *key, struct esdb_text stream, uint64_t from, uint64_t to) {
    const struct request *r = context;
    put_key(key, stream, from, to, r->json);
    return 0;
}

static int list(esdb_archive *a, struct request *r, int count) {
    struct esdb_error err = {0};
    bool chosen = count > 0 || cmd_selection_given(count);
    int rc = esdb_archive_list(a, chosen ? &r->q : NULL, list_one, r, &err);
    return rc < 0 ? cmd_report(rc, &err) : 0;
}

static int read_archives(esdb *db, esdb_archive *a, struct request *r) {
    struct esdb_error err = {0};
    struct esdb_event e;
    esdb_archive_cursor *c;
    struct esdb_explain x;
    uint64_t count = 0;
    int status = cmd_select_as_of(db, &r->q);
    if (status != 0)
        return status;
    int rc = esdb_archive_cursor_open(a, &r->q, &c, &err);
    if (rc < 0)
        return cmd_report(rc, &err);
    while ((rc = esdb_archive_cursor_next(c, &e, &err)) == 0 && !cmd_stdout()->failed) {
        count++;
        if (!r->count_only)
            cmd_print_event(cmd_stdout(), &e);
    }
    esdb_archive_cursor_explain(c, &x);
    esdb_archive_cursor_close(c);
    cmd_print_flush(cmd_stdout());
    if (r->count_only)
        cmd_out_printf(cmd_stdout(), "%" PRIu64 "\n", count);
    if (rc < 0)
        return cmd_report(rc, &err);
    status = cmd_report_failed_select(&x);
    return status == 0 && r->exit_status && count == 0 ? 4 : status;
}

struct verification {
    esdb_archive *a;
    const struct request *r;
    int status;
};

static int verify_one(void *context, const char *key, struct esdb_text stream, uint64_t from, uint64_t to) {
    struct verification *v = context;
    struct esdb_error err = {0};
    struct esdb_archive_info info;
    int rc = esdb_archive_verify(v->a, key, &info, &err);
    (void)stream;
    (void)from;
    (void)to;
    if (rc < 0) {
        cmd_out_flush(cmd_stdout());
        v->status = cmd_report(rc, &err);
    } else if (!v->r->quiet && v->r->json) {
        cmd_out_text(cmd_stdout(), "{\"key\":");
        cmd_out_json(cmd_stdout(), cmd_text(key));
        cmd_out_printf(cmd_stdout(), ",\"count\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"own\":%s}\n", info.count,
                       info.size, info.own ? "true" : "false");
    } else if (!v->r->quiet) {
        cmd_out_plain(cmd_stdout(), cmd_text(key));
        cmd_out_printf(cmd_stdout(), ": ok, %" PRIu64 " events%s\n", info.count, info.own ? "" : " of another store");
    }
    return 0;
}

static int verify(esdb_archive *a, struct request *r, char **keys, int count) {
    struct verification v = {a, r, 0};
    struct esdb_error err = {0};
    int rc = count == 0 ? esdb_archive_list(a, NULL, verify_one, &v, &err) : 0;
    for (int i = 0; i < count; i++)
        verify_one(&v, keys[i], (struct esdb_text){0}, 0, 0);
    return rc < 0 ? cmd_report(rc, &err) : v.status;
}

static int restore_each(esdb *db, esdb_archive *a, esdb *erasures, struct request *r, char **keys, int count) {
    for (int i = 0; i < count; i++) {
        struct esdb_error err = {0};
        struct esdb_archive_restored done;
        int rc = esdb_archive_restore(a, keys[i], db, cmd_text(r->into), r->new_times, erasures, &done, &err);
        if (rc < 0) {
            int status = cmd_report(rc, &err);
            if (rc == ESDB_ECONFLICT && !r->new_times && strstr(err.text, "epoch_us"))
                cmd_message("newer events are in the store already; --new-times gives these the time of now");
            return status;
        }
        if (r->quiet)
            continue;
        if (r->json) {
            cmd_out_text(cmd_stdout(), "{\"key\":");
            cmd_out_json(cmd_stdout(), cmd_text(keys[i]));
            cmd_out_printf(cmd_stdout(), ",\"from\":%" PRIu64 ",\"to\":%" PRIu64 ",\"count\":%" PRIu64 "}\n", done.from,
                           done.to, done.count);
        } else {
            cmd_out_plain(cmd_stdout(), cmd_text(keys[i]));
            cmd_out_printf(cmd_stdout(), ": %" PRIu64 " events restored\n", done.count);
        }
    }
    return 0;
}

static int restore(esdb *db, esdb_archive *a, struct request *r, char **keys, int count) {
    struct esdb_error err = {0};
    esdb *erasures = NULL;
    int rc = r->erasures ? esdb_open(r->erasures, ESDB_READ, &erasures, &err) : 0;
    if (rc < 0)
        return cmd_report(rc, &err);
    int status = restore_each(db, a, erasures, r, keys, count);
    esdb_close(erasures);
    return status;
}

/* exists, delete: each KEY, also after one that fails. */
static int each(esdb_archive *a, struct request *r, char **keys, int count) {
    int status = 0;
    for (int i = 0; i < count; i++) {
        struct esdb_error err = {0};
        int rc = (r->action == EXISTS ? esdb_archive_exists : esdb_archive_delete)(a, keys[i], &err);
        if (rc == ESDB_ENOTFOUND && r->action == EXISTS)
            status = status ? status : 4;
        else if (rc < 0)
            status = cmd_report(rc, &err);
        else if (r->action == DELETE && !r->quiet && cmd_stdout()->terminal)
            cmd_out_printf(cmd_stdout(), "%s: deleted\n", keys[i]);
    }
    return status;
}

static int parse_keys(const struct request *r, char **keys, int count) {
    int status = 0;
    for (int i = 0; i < count; i++) {
        struct esdb_error err = {0};
        char stream[256];
        uint64_t from, to;
        int rc = esdb_archive_key_parse(cmd_text(keys[i]), stream, &from, &to, &err);
        if (rc < 0) {
            status = cmd_report(rc, &err);
        } else if (r->json) {
            put_key(keys[i], cmd_text(stream), from, to, true);
        } else {
            cmd_out_plain(cmd_stdout(), cmd_text(stream));
            cmd_out_printf(cmd_stdout(), "  versions %" PRIu64 " to %" PRIu64 "\n", from, to);
        }
    }
    return status;
}

static int act(esdb *db, esdb_archive *a, struct request *r, char **operands, int count) {
    switch (r->action) {
    case LIST:
        return list(a, r, count);
    case READ:
        return read_archives(db, a, r);
    case VERIFY:
        return verify(a, r, operands, count);
    case RESTORE:
        return restore(db, a, r, operands, count);
    default:
        return each(a, r, operands, count);
    }
}

int main(int argc, char **argv) {
    struct request r = {0};
    struct cmd_args args;
    esdb_archive *a;
    esdb *db;

    cmd_begin(&tool, &args, argc, argv);
    parse(&r, &args);
    r.json = r.json || !cmd_stdout()->terminal;
    if (r.action == PARSE_KEY)
        return cmd_finish(parse_keys(&r, args.operands + 1, args.count - 1));
    if (r.action == READ)
        cmd_print_begin();
    int status = cmd_open_store(r.action == RESTORE ? ESDB_APPEND : ESDB_READ, &db);
    if (status != 0)
        return cmd_finish(status);
    status = cmd_archive_open(db, r.archive, r.action == DELETE ? ESDB_APPEND : ESDB_READ, &a);
    if (status == 0) {
        status = act(db, a, &r, args.operands + 1, args.count - 1);
        esdb_archive_close(a);
    }
    cmd_leave_store(db);
    return cmd_finish(status);
}
