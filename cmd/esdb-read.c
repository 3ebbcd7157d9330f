/* esdb-read: prints events. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "archive.h"
#include "format/json.h"
#include "fresh.h"
#include "internal.h"
#include "through.h"

enum {
    OPT_FROM = 256,
    OPT_TO,
    OPT_VERSIONS,
    OPT_FIRST,
    OPT_COUNT,
    OPT_ANY,
    OPT_EXIT_STATUS,
    OPT_EXPLAIN,
    OPT_WITH_ARCHIVE
};

static const struct cmd_option range_options[] = {
    {0, "from", "POSITION", "from this position on", OPT_FROM},
    {0, "to", "POSITION", "up to this position, inclusive", OPT_TO},
    {0, "versions", "A..B", "only these versions of each stream, inclusive; A.., ..B, N", OPT_VERSIONS},
    {'n', "limit", "N", "at most N events", 0},
    {0, "with-archive", "[WHERE]", "also events that were archived: in a folder, exec:CMD or file:URL",
     OPT_WITH_ARCHIVE},
    {0, "first", NULL, "the first event only, as -n 1", OPT_FIRST},
    {'r', "reverse", NULL, "newest first", 0},
    {0, NULL, NULL, NULL, 0},
};
static const struct cmd_option answer_options[] = {
    {0, "count", NULL, "print the number of events only", OPT_COUNT},
    {0, "any", NULL, "print nothing: exit 0 when an event matches, 4 when none does", OPT_ANY},
    {0, "exit-status", NULL, "exit 4 when nothing matched", OPT_EXIT_STATUS},
    {0, "explain", "[FORM]", "at the end, how it was found, on stderr: text (default) or json", OPT_EXPLAIN},
    {0, NULL, NULL, NULL, 0},
};
static const struct cmd_group groups[] = {
    CMD_GROUP_SELECTION,
    CMD_GROUP_FILTER,
    CMD_GROUP_TIME,
    {"Ranges", range_options},
    {"Answer", answer_options},
    CMD_GROUP_OUTPUT,
    CMD_GROUP_FRESH,
    CMD_GROUP_STORE,
    {NULL, NULL},
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
                "esdb-read orders-1 --versions 10..19 --fields version,data\n"
                "# Yesterday's large orders of a shop\n"
                "esdb-read 'orders-*' --since yesterday --until today --where shop=7 \\\n"
                "    --select '.data.total > 1000'\n"
                "# On one host of a cluster, what was appended on another one\n"
                "esdb-read --consistent orders-1\n"
                "# The store as it was an hour ago\n"
                "esdb-read --all --as-of -1h --count",
    .notes = "STREAM is a name, or a pattern: * stands for any characters, ? for one, \\ escapes them.\n"
             "\n"
             "TIME is 2025-11-23, 2025-11-23T15:04:05.123456 with Z, +hh:mm or nothing (local time) behind it,\n"
             "@SECONDS since 1970, epoch_us (15 to 17 digits), now, today, yesterday, tomorrow (midnight), or a\n"
             "span: -2h, +5min, '1h30min ago' (us ms s min h d w month y). Both bounds are inclusive instants.\n"
             "\n"
             "One JSON object a line, in order of positions: position, stream_id, version, event_id, event_type,\n"
             "epoch_us, data, metadata, data_content_type, metadata_content_type. What an event lacks is left out;\n"
             "binary data is data_base64. --output data prints the data alone: text as it was, binary data raw.\n"
             "\n"
             "A stream that does not exist exits 4; a range or filter that gives nothing exits 0.\n"
             "Events for which the expression of --select fails are counted on stderr; then it is exit status 8.\n"
             "Damaged parts are named on stderr and left out; then the exit status is 5.",
    .groups = groups,
    .statuses = CMD_STATUS_SELECT | CMD_STATUS(9),
};

/* What to do with the events. */
struct answer {
    bool count_only, any, exit_status;
    bool has_limit, first;
    bool with_archive;
    const char *where; /* of archives; NULL: the folder of the store */
    enum { SILENT, EXPLAIN, EXPLAIN_JSON } explain;
    uint64_t count, begin_us;
};

static uint64_t clock_us(void) {
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void parse_explain(const struct cmd_args *args, struct answer *a) {
    if (args->value && strcmp(args->value, "json") != 0 && strcmp(args->value, "text") != 0)
        cmd_usage_error("%s: '%s' is none of text, json", args->option, args->value);
    a->explain = args->value && *args->value == 'j' ? EXPLAIN_JSON : EXPLAIN;
}

static void parse(struct esdb_query *q, struct answer *a, struct cmd_args *args) {
    int id;

    while ((id = cmd_next_option(args)) != 0) {
        if (cmd_fresh_option(id, args))
            continue;
        a->has_limit |= id == 'n';
        a->first |= id == OPT_FIRST;
        a->count_only |= id == OPT_COUNT;
        a->any |= id == OPT_ANY;
        a->with_archive |= id == OPT_WITH_ARCHIVE;
        a->exit_status |= id == OPT_EXIT_STATUS;
        q->flags |= id == 'r' ? ESDB_REVERSE : 0;
        if (id == OPT_FROM)
            q->from_position = cmd_number(args);
        else if (id == OPT_TO)
            q->to_position = cmd_number(args);
        else if (id == OPT_VERSIONS)
            cmd_versions(args, q);
        else if (id == 'n')
            q->limit = cmd_number(args);
        else if (id == OPT_EXPLAIN)
            parse_explain(args, a);
        else if (id == OPT_WITH_ARCHIVE)
            a->where = cmd_archive_where(args);
    }
    cmd_fresh_check();
    if (q->from_position > q->to_position)
        cmd_usage_error("--from is after --to");
    if (a->first && a->has_limit)
        cmd_usage_error("--first and -n exclude each other");
    if (a->any && (a->count_only || a->first || a->has_limit))
        cmd_usage_error("--any goes without --count, --first and -n");
    if ((a->any || a->count_only) && cmd_output_given())
        cmd_usage_error("%s prints no events: --output, --fields, --jq and -0 have no meaning",
                        a->any ? "--any" : "--count");
    if (a->first || a->any)
        q->limit = 1;
    cmd_select(q, args->operands, args->count);
}

static void explain_json(const struct esdb_explain *x, uint64_t us) {
    char visible[4 * sizeof x->failure], failure[6 * sizeof visible];
    size_t len = cmd_make_visible(x->failure, strlen(x->failure), "", visible); /* stderr may be a terminal */

    len = fmt_json_escape(visible, len, failure);

    fprintf(stderr,
            "{\"path\":\"%s\",\"key\":\"%s\",\"select\":\"%s\",\"segments\":%" PRIu64 ",\"segments_read\":%" PRIu64
            ",\"segments_skipped\":%" PRIu64 ",\"events_read\":%" PRIu64 ",\"events\":%" PRIu64 ",\"asked_jq\":%" PRIu64
            ",\"failed\":%" PRIu64,
            x->path, x->key, x->select, x->segments, x->segments_read, x->segments - x->segments_read, x->events_read,
            x->events, x->asked_jq, x->failed);
    if (x->failed > 0)
        fprintf(stderr, ",\"failed_position\":%" PRIu64 ",\"failure\":\"%.*s\"", x->failed_position, (int)len, failure);
    fprintf(stderr, ",\"milliseconds\":%.3f}\n", (double)us / 1000);
}

static void explain(const struct answer *a, const esdb_cursor *cursor) {
    uint64_t us = clock_us() - a->begin_us;
    struct esdb_explain x;

    esdb_cursor_explain(cursor, &x);
    cmd_print_flush(cmd_stdout());
    cmd_out_flush(cmd_stdout());
    if (a->explain == EXPLAIN_JSON) {
        explain_json(&x, us);
        return;
    }
    cmd_message("path: %s%s%s", x.path, x.key[0] ? ", by " : "", x.key);
    if (x.select[0])
        cmd_message("select: %s, jq was asked about %" PRIu64 " events", x.select, x.asked_jq);
    cmd_message("segments: %" PRIu64 " read, %" PRIu64 " skipped", x.segments_read, x.segments - x.segments_read);
    cmd_message("events: %" PRIu64 " looked at, %" PRIu64 " matched, %.1f ms", x.events_read, x.events,
                (double)us / 1000);
}

static int read_events(esdb *db, const struct esdb_query *q, struct answer *a) {
    struct esdb_error err = {0};
    struct cmd_out *out = cmd_stdout();
    struct esdb_event e;
    struct cmd_through through;
    int status = 0, failed, rc = cmd_through_open(&through, db, q, a->with_archive, a->where, &err);

    if (rc != 0)
        return cmd_report(rc, &err);
    while ((rc = cmd_through_next(&through, &e, &err)) != ESDB_END && !out->failed) {
        if (rc == 0) {
            a->count++;
            if (!a->count_only && !a->any)
                cmd_print_event(out, &e);
            continue;
        }
        cmd_print_flush(out);
        cmd_out_flush(out); /* messages stand where the damage is */
        status = cmd_report(rc, &err);
        if (rc != ESDB_ECORRUPT)
            break;
        err = (struct esdb_error){0};
    }
    if (a->count_only)
        cmd_out_printf(out, "%" PRIu64 "\n", a->count);
    if (a->explain != SILENT)
        explain(a, through.store);
    failed = cmd_through_report(&through);
    cmd_through_close(&through);
    return status != 0 ? status : failed;
}

/* What is in archives is shown too, so it is not missing. */
static int check_past(esdb *db, const struct esdb_query *q, const struct answer *a) {
    esdb_archive *place = NULL;
    int status = a->with_archive && q->as_of != UINT64_MAX ? cmd_archive_open(db, a->where, ESDB_READ, &place) : 0;
    if (status == 0)
        status = cmd_check_past_archived(db, place, q);
    esdb_archive_close(place);
    return status;
}

int main(int argc, char **argv) {
    struct answer a = {.begin_us = clock_us()};
    struct esdb_query q;
    struct cmd_args args;
    int status, past, missing = 0;
    esdb *db;

    cmd_begin(&tool, &args, argc, argv);
    esdb_query_init(&q);
    parse(&q, &a, &args);
    cmd_print_begin();
    if ((status = cmd_open_store(ESDB_READ, &db)) != 0 || (status = cmd_fresh_wait(db)) != 0 ||
        (status = cmd_select_as_of(db, &q)) != 0)
        return cmd_finish(status);
    status = read_events(db, &q, &a);
    cmd_out_flush(cmd_stdout());
    past = check_past(db, &q, &a);
    /* An event of the only stream shows that it exists. */
    if (past == 0 && !a.any && (a.count == 0 || (q.stream_count > 1 && !a.with_archive))) {
        cmd_out_flush(cmd_stdout());
        missing = cmd_check_streams(db, &q, NULL);
    }
    if (status == 0)
        status = past ? past : missing;
    if (status == 0 && (a.exit_status || a.any) && a.count == 0)
        status = 4;
    cmd_leave_store(db);
    return cmd_finish(status);
}
