/* selection.c: which events: streams, filters, times. See cmd.h. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "internal.h"

const struct cmd_option cmd_selection_options[] = {
    {'a', "all", NULL, "events of all streams", CMD_OPT_ALL},
    {0, "system", NULL, "--all and patterns include system streams (their names begin with $)", CMD_OPT_SYSTEM},
    {0, "literal", NULL, "stream names are no patterns: * and ? stand for themselves", CMD_OPT_LITERAL},
    {0, "regex", NULL, "stream names are POSIX extended regular expressions", CMD_OPT_REGEX},
    {0, "partition", "K/N", "only streams of part K of N, as esdb-stream partition tells it", CMD_OPT_PARTITION},
    {0, NULL, NULL, NULL, 0},
};

const struct cmd_option cmd_filter_options[] = {
    {'t', "type", "TYPE", "of this event type, or pattern; several: any of them", CMD_OPT_TYPE},
    {0, "where", "KEY=VALUE", "with this member in the metadata; several: all of them", CMD_OPT_WHERE},
    {0, "tag", "TAG", "with this one of metadata.tags; several: any of them", CMD_OPT_TAG},
    {0, "all-tags", NULL, "all --tag are needed, not just one", CMD_OPT_ALL_TAGS},
    {0, "id", "EVENT_ID", "with this event id; several: any. Needs no STREAM and no --all", CMD_OPT_ID},
    {0, "match", "JSON", "that contain this, as {\"data\":{\"total\":{\"$gt\":100}}}", CMD_OPT_MATCH},
    {0, "select", "EXPR", "for which this jq expression is true, as '.data.total > 100'", CMD_OPT_SELECT},
    {0, "select-file", "FILE", "the same, with the expression in this file", CMD_OPT_SELECT_FILE},
    {0, "select-timeout", "TIME", "processor time for a batch of events; default 1s", CMD_OPT_SELECT_TIMEOUT},
    {'v', "invert-match", NULL, "only events that do not pass these filters", CMD_OPT_INVERT},
    {0, NULL, NULL, NULL, 0},
};

const struct cmd_option cmd_time_options[] = {
    {0, "since", "TIME", "from this time on: 2025-11-23T15:04, @SECONDS, -2h, yesterday", CMD_OPT_SINCE},
    {0, "until", "TIME", "up to this time, inclusive; a date alone is its midnight", CMD_OPT_UNTIL},
    {0, "as-of", "WHEN", "the store as it was at a TIME, or when pos:N was its newest event", CMD_OPT_AS_OF},
    {0, NULL, NULL, NULL, 0},
};

const struct cmd_option cmd_as_of_options[] = {
    {0, "as-of", "WHEN", "the store as it was at a TIME, or when pos:N was its newest event", CMD_OPT_AS_OF},
    {0, NULL, NULL, NULL, 0},
};

/* A list of texts from the command line; owned. */
struct list {
    struct esdb_text *at;
    size_t count;
};

static struct esdb_query chosen = {.until_us = UINT64_MAX, .as_of = UINT64_MAX}; /* flags and single values */
static bool has_as_of_time;
static uint64_t as_of_us;
static struct list types, streams, tags, ids;
static struct esdb_where *wheres;
static size_t where_count;
static char *select_file; /* the expression that it holds; owned */

static struct esdb_text take_text(const struct cmd_args *args, const char *what) {
    if (*args->value == '\0')
        cmd_usage_error("%s: the %s is empty", args->option, what);
    return cmd_text(args->value);
}

static void add(struct list *l, struct esdb_text text) {
    l->at = cmd_grow(l->at, (l->count + 1) * sizeof *l->at);
    l->at[l->count++] = text;
}

static void add_where(const struct cmd_args *args) {
    const char *equals = strchr(args->value, '=');

    if (!equals || equals == args->value)
        cmd_usage_error("%s: '%s' must be KEY=VALUE", args->option, args->value);
    wheres = cmd_grow(wheres, (where_count + 1) * sizeof *wheres);
    wheres[where_count++] = (struct esdb_where){{args->value, (size_t)(equals - args->value)}, cmd_text(equals + 1)};
}

/* A filter that can be given once: a second one would have to be dropped. */
static void take_once(const struct cmd_args *args, const char *what, struct esdb_text *out) {
    if (out->at)
        cmd_usage_error("%s is given twice", args->option);
    *out = take_text(args, what);
}

static void take_select_file(const struct cmd_args *args) {
    if (select_file)
        cmd_usage_error("%s is given twice", args->option);
    if (chosen.select.at)
        cmd_usage_error("--select and --select-file exclude each other");
    select_file = cmd_read_program(args);
    chosen.select = cmd_text(select_file);
}

uint64_t cmd_time(const struct cmd_args *args) {
    struct esdb_error err = {0};
    struct timespec now;
    uint64_t us;

    clock_gettime(CLOCK_REALTIME, &now);
    if (esdb_time_parse(cmd_text(args->value), (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000, &us,
                        &err) != 0)
        cmd_usage_error("%s: '%s': %s", args->option, args->value, err.text);
    return us;
}

static void take_as_of(const struct cmd_args *args) {
    has_as_of_time = strncmp(args->value, "pos:", 4) != 0;
    if (has_as_of_time)
        as_of_us = cmd_time(args);
    else if (!cmd_parse_number(args->value + 4, &chosen.as_of))
        cmd_usage_error("%s: '%s' is none of TIME, pos:POSITION", args->option, args->value);
}

static void take_partition(const struct cmd_args *args) {
    const char *slash = strchr(args->value, '/');
    char first[16] = "";
    uint64_t k, n;

    if (slash && (size_t)(slash - args->value) < sizeof first)
        memcpy(first, args->value, (size_t)(slash - args->value));
    if (!slash || !cmd_parse_number(first, &k) || !cmd_parse_number(slash + 1, &n) || k < 1 || k > n || n > UINT32_MAX)
        cmd_usage_error("%s: '%s' must be K/N with K of 1 .. N", args->option, args->value);
    chosen.partition = (uint32_t)k;
    chosen.partitions = (uint32_t)n;
}

static void take_timeout(const struct cmd_args *args) {
    uint64_t ms = cmd_milliseconds(args);

    if (ms == 0)
        cmd_usage_error("%s: must be longer than 0", args->option);
    chosen.select_timeout_ms = (uint32_t)ms;
}

static bool take_filter(const struct cmd_args *args, int id) {
    switch (id) {
    case CMD_OPT_TYPE:
        add(&types, take_text(args, "event type"));
        return true;
    case CMD_OPT_WHERE:
        add_where(args);
        return true;
    case CMD_OPT_TAG:
        add(&tags, take_text(args, "tag"));
        return true;
    case CMD_OPT_ALL_TAGS:
        chosen.flags |= ESDB_ALL_TAGS;
        return true;
    case CMD_OPT_ID:
        add(&ids, take_text(args, "event id"));
        return true;
    case CMD_OPT_MATCH:
        take_once(args, "JSON", &chosen.match);
        return true;
    case CMD_OPT_SELECT:
        if (select_file)
            cmd_usage_error("--select and --select-file exclude each other");
        take_once(args, "expression", &chosen.select);
        return true;
    case CMD_OPT_SELECT_FILE:
        take_select_file(args);
        return true;
    case CMD_OPT_SELECT_TIMEOUT:
        take_timeout(args);
        return true;
    case CMD_OPT_INVERT:
        chosen.flags |= ESDB_INVERT;
        return true;
    default:
        return false;
    }
}

bool cmd_selection_option(const struct cmd_args *args, int id) {
    switch (id) {
    case CMD_OPT_ALL:
        chosen.flags |= ESDB_ALL;
        return true;
    case CMD_OPT_SYSTEM:
        chosen.flags |= ESDB_WITH_SYSTEM;
        return true;
    case CMD_OPT_LITERAL:
        chosen.flags |= ESDB_LITERAL;
        return true;
    case CMD_OPT_REGEX:
        chosen.flags |= ESDB_REGEX;
        return true;
    case CMD_OPT_PARTITION:
        take_partition(args);
        return true;
    case CMD_OPT_SINCE:
        chosen.since_us = cmd_time(args);
        return true;
    case CMD_OPT_UNTIL:
        chosen.until_us = cmd_time(args);
        return true;
    case CMD_OPT_AS_OF:
        take_as_of(args);
        return true;
    default:
        return take_filter(args, id);
    }
}

void cmd_selection_release(void) {
    struct list *lists[] = {&types, &streams, &tags, &ids};

    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        free(lists[i]->at);
        *lists[i] = (struct list){NULL, 0};
    }
    free(wheres);
    wheres = NULL;
    free(select_file);
    select_file = NULL;
    where_count = 0;
}

static bool has_filter(void) {
    return types.count + tags.count + ids.count + where_count > 0 || chosen.match.at || chosen.select.at;
}

/* Exits 2 when options contradict each other, or one has nothing to work on. */
static void check_options(int stream_count) {
    bool all = chosen.flags & ESDB_ALL, invert = chosen.flags & ESDB_INVERT;

    if (stream_count == 0 && !all && (ids.count == 0 || invert))
        cmd_usage_error("which streams? Name them, or say --all");
    if (stream_count > 0 && all)
        cmd_usage_error("--all and a stream's name exclude each other");
    if (chosen.flags & ESDB_REGEX && chosen.flags & ESDB_LITERAL)
        cmd_usage_error("--regex and --literal exclude each other");
    if (chosen.flags & ESDB_REGEX && stream_count == 0)
        cmd_usage_error("--regex needs a STREAM: the expression");
    if (chosen.flags & ESDB_ALL_TAGS && tags.count == 0)
        cmd_usage_error("--all-tags needs --tag");
    if (chosen.select_timeout_ms > 0 && !chosen.select.at)
        cmd_usage_error("--select-timeout needs --select or --select-file");
    if (invert && !has_filter())
        cmd_usage_error("-v needs a filter: --type, --where, --tag, --id, --match or --select");
    if (chosen.since_us > chosen.until_us)
        cmd_usage_error("--since is after --until");
}

void cmd_select(struct esdb_query *q, char *const *names, int count) {
    check_options(count);
    for (int i = 0; i < count; i++) {
        if (names[i][0] == '\0')
            cmd_usage_error("a stream's name is empty");
        add(&streams, cmd_text(names[i]));
    }
    q->streams = streams.at;
    q->stream_count = streams.count;
    q->types = types.at;
    q->type_count = types.count;
    q->ids = ids.at;
    q->id_count = ids.count;
    q->where = wheres;
    q->where_count = where_count;
    q->tags = tags.at;
    q->tag_count = tags.count;
    q->match = chosen.match;
    q->select = chosen.select;
    q->select_timeout_ms = chosen.select_timeout_ms;
    q->partition = chosen.partition;
    q->partitions = chosen.partitions;
    q->since_us = chosen.since_us;
    q->until_us = chosen.until_us;
    q->as_of = chosen.as_of;
    q->flags |= chosen.flags | (count == 0 ? ESDB_ALL : 0);
}

bool cmd_selection_given(int count) {
    const unsigned modifiers = ESDB_WITH_SYSTEM | ESDB_LITERAL | ESDB_REGEX | ESDB_INVERT | ESDB_ALL | ESDB_ALL_TAGS;

    return count > 0 || has_filter() || chosen.flags & modifiers || chosen.select_timeout_ms > 0;
}

void cmd_partition(uint32_t *k, uint32_t *n) {
    *k = chosen.partition;
    *n = chosen.partitions;
}

uint64_t cmd_since(void) {
    return chosen.since_us;
}

bool cmd_as_of_time(uint64_t *epoch_us) {
    *epoch_us = as_of_us;
    return has_as_of_time;
}
