/* esdb-stream: which streams there are, what is known about one, and how one ends. */
#include <stdio.h>
#include <string.h>

#include "append.h"
#include "fresh.h"
#include "stream.h"

enum {
    OPT_JSON = 256,
    OPT_SYSTEM,
    OPT_LITERAL,
    OPT_COUNT,
    OPT_EXIT_STATUS,
    OPT_AT,
    OPT_HARD,
    OPT_CONFIRM,
    OPT_MAX_AGE,
    OPT_MAX_COUNT,
    OPT_BEFORE,
};

static const struct cmd_option list_options[] = {
    {0, "system", NULL, "also system streams, whose names begin with $", OPT_SYSTEM},
    {0, "literal", NULL, "PATTERN is a name: *, ? and \\ stand for themselves", OPT_LITERAL},
    {0, "count", NULL, "print the number of streams only", OPT_COUNT},
    {0, "exit-status", NULL, "exit 4 when nothing matched", OPT_EXIT_STATUS},
    {0},
};
static const struct cmd_option options[] = {
    {0, "json", NULL, "one JSON object a line, at a terminal too", OPT_JSON},
    {0},
};
static const struct cmd_option version_options[] = {
    {0, "at", "TIME", "the version at that time; -1: the stream did not exist", OPT_AT},
    {0},
};
static const struct cmd_option delete_options[] = {
    {'e', "expect", "VERSION", "only when the stream is at it: N, exists or any", 0},
    {0, "hard", NULL, "for ever: nothing can be appended to the name again", OPT_HARD},
    {0, "confirm", "STREAM", "with --hard: the name once more", OPT_CONFIRM},
    {0},
};
static const struct cmd_option truncate_options[] = {
    {0, "before", "VERSION", "the first version that stays", OPT_BEFORE},
    {0},
};
static const struct cmd_option set_options[] = {
    {0, "max-age", "AGE", "older events may go: 90d, 12h; 0: whatever their age", OPT_MAX_AGE},
    {0, "max-count", "N", "all but the newest N may go; 0: whatever their number", OPT_MAX_COUNT},
    {0},
};
static const struct cmd_group groups[] = {{"Options of list", list_options},
                                          {"Options of list and info", options},
                                          {"Options of version", version_options},
                                          {"Options of delete", delete_options},
                                          {"Options of truncate", truncate_options},
                                          {"Options of set", set_options},
                                          CMD_GROUP_FRESH,
                                          CMD_GROUP_STORE,
                                          CMD_GROUP_COLOR,
                                          {0}};
static const struct cmd_tool tool = {
    .name = "esdb-stream",
    .synopsis = "list [options] [PATTERN...]\n"
                "info [options] STREAM...\n"
                "version [--at TIME] STREAM\n"
                "exists STREAM...\n"
                "delete [options] STREAM\n"
                "undelete STREAM\n"
                "truncate --before VERSION STREAM\n"
                "set [--max-age AGE] [--max-count N] [PATTERN]\n"
                "partition STREAM N",
    .summary = "list, describe, delete and truncate streams",
    .examples = "esdb-stream list\n"
                "esdb-stream list 'orders-*'\n"
                "esdb-stream info orders-1\n"
                "# the version that the next append may expect\n"
                "esdb-stream version orders-1\n"
                "# the status is the answer\n"
                "esdb-stream exists orders-1 && echo there\n"
                "# gone, unless somebody has appended since version 1; and back\n"
                "esdb-stream delete --expect 1 orders-1\n"
                "esdb-stream undelete orders-1\n"
                "# keep only what comes from version 1 on\n"
                "esdb-stream truncate --before 1 orders-1\n"
                "# what esdb-scavenge may remove; then all such policies\n"
                "esdb-stream set --max-age 90d --max-count 1000 'orders-*'\n"
                "esdb-stream set\n"
                "# which of 4 workers is it for?\n"
                "esdb-stream partition orders-1 4",
    .notes =
        "list prints streams in byte order of their names. In a PATTERN, * stands for any characters and ? for one.\n"
        "A table at a terminal, else one JSON object a line: stream_id, count, first_version, last_version.\n"
        "info adds the positions and times of the first and the last event.\n"
        "version prints the version of the last event. A stream that does not exist: exit 4; exists says nothing.\n"
        "delete hides all events. When somebody appends again, versions go on, and only the new events are shown.\n"
        "Such an append may expect no-stream or the last version, not exists. undelete shows everything again.\n"
        "truncate hides the older events for good; the stream goes on existing.\n"
        "All three are events themselves, in $meta:STREAM: the store as of an earlier position still has the rest.",
    .groups = groups,
    .statuses = CMD_STATUS_READ | CMD_STATUS(3) | CMD_STATUS(8) | CMD_STATUS(9) | CMD_STATUS(10),
};

static const struct {
    const char *name;
    int min, max; /* operands behind it; max 0: any number */
} actions[STREAM_ACTIONS] = {
    [LIST] = {"list", 0, 0},         [INFO] = {"info", 1, 0},     [VERSION] = {"version", 1, 1},
    [EXISTS] = {"exists", 1, 0},     [DELETE] = {"delete", 1, 1}, [UNDELETE] = {"undelete", 1, 1},
    [TRUNCATE] = {"truncate", 1, 1}, [SET] = {"set", 0, 1},       [PARTITION] = {"partition", 2, 2},
};

/* Which actions have an option: a bit each. */
static unsigned actions_of(int option) {
    switch (option) {
    case OPT_JSON:
        return 1u << LIST | 1u << INFO;
    case OPT_AT:
        return 1u << VERSION;
    case 'e':
    case OPT_HARD:
    case OPT_CONFIRM:
        return 1u << DELETE;
    case OPT_BEFORE:
        return 1u << TRUNCATE;
    case OPT_MAX_AGE:
    case OPT_MAX_COUNT:
        return 1u << SET;
    default:
        return 1u << LIST;
    }
}

static enum cmd_stream_action find_action(const struct cmd_args *args) {
    static const char all[] = "list, info, version, exists, delete, undelete, truncate, set or partition";
    if (args->count == 0)
        cmd_usage_error("which action: %s?", all);
    for (int i = 0; i < STREAM_ACTIONS; i++)
        if (strcmp(args->operands[0], actions[i].name) == 0)
            return (enum cmd_stream_action)i;
    cmd_usage_error("'%s' is no action: %s", args->operands[0], all);
}

/* An option of another action is a mistake. */
static void refuse_foreign(enum cmd_stream_action action, int option, const char *name) {
    char owners[64] = "";
    unsigned its = actions_of(option);
    size_t len = 0;
    if (its & 1u << action)
        return;
    for (int i = 0; i < STREAM_ACTIONS; i++)
        if (its & 1u << i)
            len += (size_t)snprintf(owners + len, sizeof owners - len, "%s%s", len ? " and " : "", actions[i].name);
    cmd_usage_error("%s belongs to %s, not to %s", name, owners, actions[action].name);
}

/* What is needed with that action. */
static void check(const struct cmd_stream_request *r, const struct cmd_args *args, const char *confirm) {
    int count = args->count - 1;
    const char *name = actions[r->action].name, *stream = count > 0 ? args->operands[1] : "";
    if (count < actions[r->action].min)
        cmd_usage_error(count == 1 ? "%s: of how many parts?" : "%s: which STREAM?", name);
    if (actions[r->action].max && count > actions[r->action].max)
        cmd_usage_error(r->action == SET         ? "%s: one PATTERN only"
                        : r->action == PARTITION ? "%s: one STREAM and one N only"
                                                 : "%s: one STREAM only",
                        name);
    if (r->action == TRUNCATE && !r->has_before)
        cmd_usage_error("truncate: --before which version?");
    if (r->action == SET && r->has_policy != (count > 0))
        cmd_usage_error(count > 0 ? "set: --max-age or --max-count?" : "set: for which PATTERN?");
    if (r->hard && !confirm)
        cmd_usage_error("--hard is for ever: it needs --confirm=%s", stream);
    if (confirm && !r->hard)
        cmd_usage_error("--confirm goes with --hard");
    if (confirm && strcmp(confirm, stream) != 0)
        cmd_usage_error("--confirm=%s is not the STREAM %s: nothing was deleted", confirm, stream);
}

/* "90d": as long ago as the time "-90d". */
static uint64_t age(const struct cmd_args *args) {
    char text[64];
    struct esdb_error err = {0};
    uint64_t then, now = UINT64_C(1) << 60;
    if (strcmp(args->value, "0") == 0)
        return 0;
    snprintf(text, sizeof text, "-%s", args->value);
    if (args->value[0] < '0' || args->value[0] > '9' || esdb_time_parse(cmd_text(text), now, &then, &err) != 0 ||
        then >= now)
        cmd_usage_error("%s: '%s' is no age, such as 90d or 12h", args->option, args->value);
    return now - then;
}

static void parse(struct cmd_stream_request *r, struct cmd_args *args) {
    const char *given[OPT_BEFORE + 1] = {NULL}, *confirm = NULL;
    int id;
    r->expected = ESDB_ANY;
    while ((id = cmd_next_option(args)) != 0) {
        if (cmd_fresh_option(id, args))
            continue;
        given[id] = args->option;
        r->json |= id == OPT_JSON;
        r->flags |= id == OPT_SYSTEM ? ESDB_WITH_SYSTEM : id == OPT_LITERAL ? ESDB_LITERAL : 0;
        r->count |= id == OPT_COUNT;
        r->exit_status |= id == OPT_EXIT_STATUS;
        r->hard |= id == OPT_HARD;
        if (id == OPT_AT) {
            r->has_at = true;
            r->at_us = cmd_time(args);
        } else if (id == OPT_BEFORE) {
            r->has_before = true;
            r->before = cmd_number(args);
        } else if (id == OPT_MAX_AGE) {
            r->has_policy = true;
            r->max_age_us = age(args);
        } else if (id == OPT_MAX_COUNT) {
            r->has_policy = true;
            r->max_count = cmd_number(args);
        } else if (id == OPT_CONFIRM)
            confirm = args->value;
        else if (id == 'e')
            r->expected = cmd_expected(args, args->value);
    }
    r->action = find_action(args);
    cmd_fresh_check();
    for (int i = 0; i <= OPT_BEFORE; i++)
        if (given[i])
            refuse_foreign(r->action, i, given[i]);
    check(r, args, confirm);
}

/* Needs no store. */
static int partition(const struct cmd_args *args) {
    uint64_t n;
    if (!cmd_parse_number(args->operands[2], &n) || n < 1 || n > UINT32_MAX)
        cmd_usage_error("partition: '%s' is outside of 1 .. %u", args->operands[2], UINT32_MAX);
    cmd_out_number(cmd_stdout(), esdb_partition(cmd_text(args->operands[1]), (uint32_t)n));
    cmd_out_add(cmd_stdout(), "\n", 1);
    return 0;
}

int main(int argc, char **argv) {
    struct cmd_args args;
    struct cmd_stream_request r = {0};
    esdb *db;

    cmd_begin(&tool, &args, argc, argv);
    parse(&r, &args);
    if (r.action == PARTITION)
        return cmd_finish(partition(&args));
    bool changes = r.has_policy || r.action == DELETE || r.action == UNDELETE || r.action == TRUNCATE;
    int status = cmd_open_store(changes ? ESDB_APPEND : ESDB_READ, &db);
    if (status == 0)
        status = cmd_fresh_wait(db);
    if (status != 0)
        return cmd_finish(status);
    r.json = r.json || !cmd_stdout()->terminal;
    if (r.action == SET)
        status = cmd_stream_policy(db, &r, args.count > 1 ? args.operands[1] : NULL);
    else if (changes)
        status = cmd_stream_change(db, &r, args.operands[1]);
    else if (r.action == LIST)
        status = cmd_stream_list(db, &r, args.operands + 1, args.count - 1);
    else
        status = cmd_stream_about(db, &r, args.operands + 1, args.count - 1);
    cmd_leave_store(db);
    return cmd_finish(status);
}
