/* esdb-append: appends events from standard input. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "append.h"

enum {
    OPT_LINES = 256,
    OPT_RAW,
    OPT_CONTENT_TYPE,
    OPT_IGNORE_UNKNOWN,
    OPT_PRESERVE,
    OPT_SYSTEM,
    OPT_ATOMIC,
    OPT_IDEMPOTENT,
    OPT_SOURCE,
    OPT_CREATE,
    OPT_BATCH,
    OPT_LINGER,
    OPT_ON_ERROR,
    OPT_TIMEOUT,
};

static const struct cmd_option input_options[] = {
    {0, "lines", NULL, "each line is the text data of one event (needs STREAM and -t)", OPT_LINES},
    {0, "raw", NULL, "all of the input is the data of one event (needs STREAM and -t)", OPT_RAW},
    {0, "content-type", "TYPE", "of --lines and --raw data; application/json: it is JSON", OPT_CONTENT_TYPE},
    {'t', "type", "TYPE", "the event type of events that name none", 0},
    {'m', "metadata", "KEY=VALUE", "add to each event's metadata; an event's own KEY wins", 0},
    {0, "ignore-unknown", NULL, "unknown keys are left out instead of being an error", OPT_IGNORE_UNKNOWN},
    {0, "preserve", NULL, "keep epoch_us too (only where it does not go backwards)", OPT_PRESERVE},
    {0, "system", NULL, "with --preserve: events of system streams ($...) too, to copy a store", OPT_SYSTEM},
    {0, "on-error", "WHAT", "stop (default) at a bad event, or skip it; exit 8 either way", OPT_ON_ERROR},
    {0, NULL, NULL, NULL, 0},
};
static const struct cmd_option append_options[] = {
    {'e', "expect", "VERSION", "any, no-stream, exists, N, or STREAM=VERSION (several times)", 0},
    {0, "atomic", NULL, "the whole input in one frame: all of it or nothing", OPT_ATOMIC},
    {0, "idempotent", NULL, "events whose ids are there already are not written again", OPT_IDEMPOTENT},
    {0, "source", "NAME:POSITION", "exactly once: ids are made from this; a repeat writes nothing", OPT_SOURCE},
    {0, "create", NULL, "create the store when there is none", OPT_CREATE},
    {0, "batch", "N", "events in a frame at most, 1 .. 1048576; default 4096", OPT_BATCH},
    {0, "linger", "MS", "how long a frame waits for more input; default 50", OPT_LINGER},
    {0, "timeout", "TIME", "how long to wait for a lock, or a cluster's majority; default 5s", OPT_TIMEOUT},
    {'q', "quiet", NULL, "print no receipts", 0},
    {0, NULL, NULL, NULL, 0},
};
static const struct cmd_group groups[] = {
    {"Input", input_options}, {"Appending", append_options}, CMD_GROUP_STORE, {NULL, NULL}};
static const struct cmd_tool tool = {
    .name = "esdb-append",
    .synopsis = "[options] [STREAM]",
    .summary = "append events from standard input",
    .examples = "echo '{\"event_type\":\"Placed\",\"data\":{\"total\":12}}' | esdb-append order-1\n"
                "# Only when the stream's newest event is version 4\n"
                "echo '{\"event_type\":\"Paid\"}' | esdb-append -e 4 order-1\n"
                "# Into several streams, all or nothing\n"
                "esdb-append --atomic -e a=7 -e b=no-stream <both.jsonl\n"
                "# A log, line by line, for ever; durable within 50 ms\n"
                "tail -F /var/log/syslog | esdb-append --lines -t Line syslog\n"
                "esdb-append --raw --content-type image/png -t Scan scans <page.png\n"
                "# Once, however often it is tried: the answer to event 17 of mailer\n"
                "echo '{\"event_type\":\"Mailed\"}' | esdb-append --source mailer:17 mails\n"
                "# A copy of a whole store\n"
                "esdb-read --all --system | esdb-append -S copy --create --preserve --system\n"
                "# Go on with an import that failed; its last receipt said \"lines\":5000\n"
                "tail -n +5001 events.jsonl | esdb-append",
    .notes =
        "Input is JSON: one object an event, with or without newlines between them. One that has specversion is\n"
        "a CloudEvent (see esdb-append(1) for the mapping); another one has the keys:\n"
        "  event_type             needed, unless -t is given\n"
        "  stream_id              needed, unless STREAM is given; then it must be the same\n"
        "  data, metadata         any JSON; kept as it is, without the white space between tokens\n"
        "  data_base64            binary data instead of data\n"
        "  event_id               default: a new UUIDv7\n"
        "  data_content_type, metadata_content_type  default: application/json\n"
        "  position, version, epoch_us  ignored, so that the output of esdb-read can be appended\n"
        "\n"
        "A frame is written whole or not at all; it ends after --batch events, 1 MiB, or the linger time.\n"
        "For each, when it is durable, a receipt is printed: a line of JSON with frame, first_position,\n"
        "last_position, count, lines (input lines that are written so far), and stream_id, first_version,\n"
        "last_version, or stream_count and streams (at most 100 of them).\n"
        "\n"
        "--source makes the whole input one frame. Its event ids are UUIDs made from NAME, POSITION and the number of\n"
        "the event in the input, in place of others. When the store has events with these ids already, in any\n"
        "stream, nothing is written, and the earlier receipt is printed, with existed; when it has only some of\n"
        "them, that is a conflict. esdb-tail --name NAME --exec puts NAME:POSITION into ESDB_SOURCE.\n"
        "\n"
        "-e without STREAM= means STREAM, or the only stream of the input. It holds for the first frame; each\n"
        "later one expects what the one before it wrote.\n"
        "At a bad event, what stands before it is written, unless --atomic is given. What was written is said.",
    .groups = groups,
    .statuses = CMD_STATUS_APPEND,
};

static void parse_expect(struct cmd_append *a, const struct cmd_args *args) {
    const char *equals = strrchr(args->value, '=');
    struct cmd_expect x = {{args->value, 0}, 0};

    if (!equals) {
        if (a->has_expect)
            cmd_usage_error("%s without STREAM= is given twice", args->option);
        a->has_expect = true;
        a->expect = cmd_expected(args, args->value);
        return;
    }
    x.stream_id.len = (size_t)(equals - args->value);
    x.expected = cmd_expected(args, equals + 1);
    if (x.stream_id.len == 0)
        cmd_usage_error("%s: '%s': the stream's name is empty", args->option, args->value);
    for (size_t i = 0; i < a->expect_count; i++)
        if (a->expects[i].stream_id.len == x.stream_id.len &&
            memcmp(a->expects[i].stream_id.at, x.stream_id.at, x.stream_id.len) == 0)
            cmd_usage_error("%s: %.*s is given twice", args->option, (int)x.stream_id.len, x.stream_id.at);
    a->expects = cmd_grow(a->expects, (a->expect_count + 1) * sizeof *a->expects);
    a->expects[a->expect_count++] = x;
}

static void parse_source(struct cmd_append *a, const struct cmd_args *args) {
    const char *colon = strrchr(args->value, ':');

    if (!colon || colon == args->value || !cmd_parse_number(colon + 1, &a->ingest.source_position))
        cmd_usage_error("%s: '%s' must be NAME:POSITION", args->option, args->value);
    if (colon - args->value > 255)
        cmd_usage_error("%s: the name is longer than 255 bytes", args->option);
    if (a->ingest.source.at)
        cmd_usage_error("%s is given twice", args->option);
    a->ingest.source = (struct esdb_text){args->value, (size_t)(colon - args->value)};
    a->flags |= ESDB_IDEMPOTENT_ANYWHERE;
}

static void parse_option(struct cmd_append *a, const struct cmd_args *args, int id) {
    const char *wrong;

    switch (id) {
    case OPT_LINES:
    case OPT_RAW:
        if (a->ingest.mode != CMD_INGEST_JSON && (id == OPT_RAW) != (a->ingest.mode == CMD_INGEST_RAW))
            cmd_usage_error("--lines and --raw exclude each other");
        a->ingest.mode = id == OPT_RAW ? CMD_INGEST_RAW : CMD_INGEST_LINES;
        break;
    case OPT_CONTENT_TYPE:
        if (*args->value == '\0')
            cmd_usage_error("%s: is empty", args->option);
        a->ingest.content_type = cmd_text(args->value);
        break;
    case 't':
        if (*args->value == '\0')
            cmd_usage_error("%s: the event type is empty", args->option);
        a->ingest.event_type = cmd_text(args->value);
        break;
    case 'm':
        if ((wrong = cmd_ingest_add_member(&a->ingest, args->value)))
            cmd_usage_error("%s: '%s' %s", args->option, args->value, wrong);
        break;
    case 'e':
        parse_expect(a, args);
        break;
    case OPT_SOURCE:
        parse_source(a, args);
        break;
    case OPT_BATCH:
        a->batch_events = cmd_number(args);
        if (a->batch_events < 1 || a->batch_events > 1u << 20)
            cmd_usage_error("%s: %s is outside of 1 .. 1048576", args->option, args->value);
        a->has_batch = true;
        break;
    case OPT_LINGER:
        a->linger_ms = cmd_milliseconds(args);
        a->has_batch = true;
        break;
    case OPT_TIMEOUT:
        a->has_timeout = true;
        a->timeout_ms = cmd_milliseconds(args);
        if (a->timeout_ms > 3600000)
            cmd_usage_error("%s: at most 1 hour", args->option);
        break;
    case OPT_ON_ERROR:
        if (strcmp(args->value, "stop") != 0 && strcmp(args->value, "skip") != 0)
            cmd_usage_error("%s: '%s' is none of stop, skip", args->option, args->value);
        a->skip = args->value[1] == 'k';
        break;
    }
}

static void check_atomic(struct cmd_append *a) {
    const char *option = a->ingest.source.at ? "--source" : "--atomic";

    a->atomic |= a->ingest.source.at != NULL; /* a repeat must meet all or nothing */
    if (a->atomic && a->skip)
        cmd_usage_error("%s writes all or nothing: --on-error=skip does not go with it", option);
    if (a->atomic && a->has_batch)
        cmd_usage_error("%s makes one frame: --batch and --linger do not go with it", option);
}

static void parse(struct cmd_append *a, struct cmd_args *args) {
    int id;

    while ((id = cmd_next_option(args)) != 0) {
        a->ingest.ignore_unknown |= id == OPT_IGNORE_UNKNOWN;
        a->ingest.preserve |= id == OPT_PRESERVE;
        a->ingest.system |= id == OPT_SYSTEM;
        a->atomic |= id == OPT_ATOMIC;
        a->flags |= id == OPT_IDEMPOTENT ? ESDB_IDEMPOTENT : 0;
        a->create |= id == OPT_CREATE;
        a->quiet |= id == 'q';
        parse_option(a, args, id);
    }
    if (args->count > 1)
        cmd_usage_error("one STREAM at a time; events for several name theirs as stream_id");
    if (args->count == 1) {
        if (args->operands[0][0] == '\0')
            cmd_usage_error("the stream's name is empty");
        a->ingest.stream_id = cmd_text(args->operands[0]);
    }
    if (a->ingest.mode != CMD_INGEST_JSON) {
        const char *option = a->ingest.mode == CMD_INGEST_RAW ? "--raw" : "--lines";

        if (!a->ingest.stream_id.at)
            cmd_usage_error("%s needs a STREAM", option);
        if (!a->ingest.event_type.at)
            cmd_usage_error("%s needs -t TYPE", option);
        if (a->ingest.ignore_unknown || a->ingest.preserve)
            cmd_usage_error("%s goes without --ignore-unknown and --preserve", option);
    } else if (a->ingest.content_type.at) {
        cmd_usage_error("--content-type goes with --lines or --raw");
    }
    if (a->ingest.system && !a->ingest.preserve)
        cmd_usage_error("--system goes with --preserve");
    if ((a->flags & ESDB_IDEMPOTENT) && a->ingest.source.at)
        cmd_usage_error("--source makes the event ids: --idempotent does not go with it");
    check_atomic(a);
}

static int open_store(const struct cmd_append *a, esdb **out) {
    struct esdb_settings settings = {0};
    struct esdb_error err = {0};
    const char *path;
    int rc, status = cmd_store_path(&path);

    if (status == 0 && a->create) {
        rc = esdb_create(path, &settings, &err);
        if (rc != 0 && rc != -EEXIST) /* then it is a store, or opening it says what else */
            return cmd_report(rc, &err);
    }
    return status != 0 ? status : cmd_open_store(ESDB_APPEND, out);
}

int main(int argc, char **argv) {
    struct cmd_append a = {.batch_events = 4096, .linger_ms = 50};
    struct cmd_args args;
    int status;
    esdb *db;

    cmd_begin(&tool, &args, argc, argv);
    parse(&a, &args);
    if ((status = open_store(&a, &db)) != 0)
        return cmd_finish(status);
    if (a.has_timeout)
        esdb_set_lock_timeout(db, (int)a.timeout_ms);
    status = cmd_append(&a, db);
    cmd_leave_store(db);
    free(a.expects);
    return cmd_finish(status);
}
