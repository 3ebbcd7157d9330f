/* esdb-read: prints events. */
#include <stdlib.h>
#include <string.h>

#include "cmd.h"

enum { OPT_FROM = 256, OPT_TO, OPT_VERSIONS, OPT_COUNT, OPT_EXIT_STATUS };

static const struct cmd_option range_options[] = {
    {0, "from", "POSITION", "from this position on", OPT_FROM},
    {0, "to", "POSITION", "up to this position, inclusive", OPT_TO},
    {0, "versions", "A..B", "only these versions of each stream, inclusive; A.., ..B, N", OPT_VERSIONS},
    {'n', "limit", "N", "at most N events", 0},
    {'r', "reverse", NULL, "newest first", 0},
    {0, NULL, NULL, NULL, 0},
};
static const struct cmd_option answer_options[] = {
    {0, "count", NULL, "print the number of events only", OPT_COUNT},
    {0, "exit-status", NULL, "exit 4 when nothing matched", OPT_EXIT_STATUS},
    {0, NULL, NULL, NULL, 0},
};
static const struct cmd_group groups[] = {
    CMD_GROUP_SELECTION, {"Ranges", range_options}, {"Answer", answer_options},
    CMD_GROUP_OUTPUT,    CMD_GROUP_STORE,           {NULL, NULL},
};
static const struct cmd_tool tool = {
    .name = "esdb-read",
    .synopsis = "[options] STREAM...\n[options] --all",
    .summary = "print events",
    .examples = "esdb-read orders-1\n"
                "# Every stream that begins with orders-, one type\n"
                "esdb-read 'orders-*' --type OrderPlaced\n"
                "# The last ten events of the store, newest first\n"
                "esdb-read --all -r -n 10 --output table\n"
                "# What was added since position 5000, into another store\n"
                "esdb-read --all --from 5000 | esdb-append -S copy --preserve\n"
                "esdb-read orders-1 --versions 10..19 --fields version,data",
    .notes = "STREAM is a name, or a pattern: * stands for any characters, ? for one, \\ escapes them.\n"
             "One JSON object a line, in order of positions: position, stream_id, version, event_id, event_type,\n"
             "epoch_us, data, metadata, data_content_type, metadata_content_type. What an event lacks is left out;\n"
             "binary data is data_base64. --output data prints the data alone: text as it was, binary data raw.\n"
             "A stream that does not exist exits 4; a range that holds nothing exits 0.\n"
             "Damaged parts are named on stderr and left out; then the exit status is 5.",
    .groups = groups,
    .statuses = CMD_STATUS_READ,
};

static void parse_versions(const struct cmd_args *args, struct esdb_query *q) {
    const char *dots = strstr(args->value, "..");
    char from[32] = "0";
    size_t len = dots ? (size_t)(dots - args->value) : strlen(args->value);
    bool ok = len < sizeof from && (len > 0 || (dots && dots[2] != '\0'));

    if (ok && len > 0) {
        memcpy(from, args->value, len);
        from[len] = '\0';
    }
    ok = ok && cmd_parse_number(from, &q->from_version);
    if (ok && !dots)
        q->to_version = q->from_version;
    else if (ok && dots[2] != '\0')
        ok = cmd_parse_number(dots + 2, &q->to_version);
    if (!ok)
        cmd_usage_error("%s: '%s' is no range of versions (as 3..7, 3.., ..7, 3)", args->option, args->value);
    if (q->from_version > q->to_version)
        cmd_usage_error("%s: %s is backwards", args->option, args->value);
}

static int read_events(esdb *db, const struct esdb_query *q, bool count_only, uint64_t *count) {
    struct esdb_error err = {0};
    struct cmd_out *out = cmd_stdout();
    struct esdb_event e;
    esdb_cursor *cursor;
    int status = 0, rc = esdb_cursor_open(db, q, &cursor, &err);

    if (rc != 0)
        return cmd_report(rc, &err);
    while ((rc = esdb_cursor_next(cursor, &e, &err)) != ESDB_END && !out->failed) {
        if (rc == 0) {
            ++*count;
            if (!count_only)
                cmd_print_event(out, &e);
            continue;
        }
        cmd_out_flush(out); /* messages stand where the damage is */
        status = cmd_report(rc, &err);
        if (rc != ESDB_ECORRUPT)
            break;
        err = (struct esdb_error){0};
    }
    esdb_cursor_close(cursor);
    return status;
}

int main(int argc, char **argv) {
    struct esdb_query q;
    struct cmd_args args;
    bool count_only = false, need_match = false;
    uint64_t count = 0;
    int id, status, missing = 0;
    esdb *db;

    cmd_begin(&tool, &args, argc, argv);
    esdb_query_init(&q);
    while ((id = cmd_next_option(&args)) != 0) {
        if (id == OPT_FROM)
            q.from_position = cmd_number(&args);
        else if (id == OPT_TO)
            q.to_position = cmd_number(&args);
        else if (id == OPT_VERSIONS)
            parse_versions(&args, &q);
        else if (id == 'n')
            q.limit = cmd_number(&args);
        else if (id == 'r')
            q.flags |= ESDB_REVERSE;
        else if (id == OPT_COUNT)
            count_only = true;
        else
            need_match = true;
    }
    if (q.from_position > q.to_position)
        cmd_usage_error("--from is after --to");
    cmd_select(&q, args.operands, args.count);

    if ((status = cmd_open_store(ESDB_READ, &db)) != 0)
        return cmd_finish(status);
    status = read_events(db, &q, count_only, &count);
    if (count_only)
        cmd_out_printf(cmd_stdout(), "%llu\n", (unsigned long long)count);
    /* An event of the only stream shows that it exists. */
    if (count == 0 || q.stream_count > 1) {
        cmd_out_flush(cmd_stdout());
        missing = cmd_check_streams(db, &q, "no such stream");
    }
    if (status == 0)
        status = missing;
    if (status == 0 && need_match && count == 0)
        status = 4;
    cmd_leave_store(db);
    return cmd_finish(status);
}
