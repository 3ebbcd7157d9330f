/* esdb-sub: which durable subscriptions there are, how far they are, and what is to be done about one. */
#include <stdio.h>
#include <string.h>

#include "sub.h"

enum { OPT_JSON = 256, OPT_FORCE, OPT_ALL_PARKED, OPT_NAGIOS, OPT_MAX, OPT_WARN, OPT_EXIT_STATUS, OPT_END };

static const struct cmd_option options[] = {
    {0, "json", NULL, "one JSON object a line: at a terminal too, and what was done", OPT_JSON},
    {0},
};
static const struct cmd_option list_options[] = {
    {0, "exit-status", NULL, "exit 4 when there is none", OPT_EXIT_STATUS},
    {0},
};
static const struct cmd_option lag_options[] = {
    {0, "max", "N", "exit 9 (check --nagios: 2) when one has more than N events to go", OPT_MAX},
    {0, "warn", "N", "check: warn from N on", OPT_WARN},
    {0, "nagios", NULL, "check: one line and the exit status of a Nagios plugin", OPT_NAGIOS},
    {0},
};
static const struct cmd_option change_options[] = {
    {0, "force", NULL, "although a process holds it, which then ends", OPT_FORCE},
    {0},
};
static const struct cmd_option parked_options[] = {
    {0, "every", NULL, "all that are parked, without naming positions", OPT_ALL_PARKED},
    {0},
};
static const struct cmd_group groups[] = {{"Options of all", options},
                                          {"Options of list and parked list", list_options},
                                          {"Options of lag and check", lag_options},
                                          {"Options of seek and remove", change_options},
                                          {"Options of parked retry and parked drop", parked_options},
                                          CMD_GROUP_STORE,
                                          CMD_GROUP_COLOR,
                                          {0}};
static const struct cmd_tool tool = {
    .name = "esdb-sub",
    .synopsis = "list [options]\n"
                "info [options] NAME...\n"
                "lag [options] [NAME...]\n"
                "check [options] [NAME...]\n"
                "exists NAME...\n"
                "ack NAME POSITION\n"
                "seek [--force] NAME start|end|pos:N|TIME\n"
                "remove [--force] NAME...\n"
                "parked list|show|retry|drop [options] NAME [POSITION...]",
    .summary = "list, inspect and manage durable subscriptions",
    .examples = "esdb-sub list\n"
                "esdb-sub info mailer\n"
                "# is everybody keeping up?\n"
                "esdb-sub lag --max 1000 || echo somebody is behind\n"
                "esdb-sub check --nagios --warn 100 --max 1000\n"
                "# process everything of today once more\n"
                "esdb-sub seek mailer today\n"
                "# event 41 and all before it are done\n"
                "esdb-sub ack mailer 41\n"
                "# what could not be processed, and why; once more\n"
                "esdb-sub parked list mailer\n"
                "esdb-sub parked retry mailer --every",
    .notes = "A subscription is made by esdb-tail --name. Its checkpoint is the position before which all is settled.\n"
             "The lag counts events that match; the store's own events are never behind.\n"
             "ack never goes back (exit 3); only seek does. While a process holds the subscription, seek and remove\n"
             "exit 6 and name it, unless --force: then it finds out and ends, with exit 6.\n"
             "parked retry: whoever holds the subscription, or does so next, delivers the event again.",
    .groups = groups,
    .statuses = CMD_STATUS_SELECT | CMD_STATUS(3) | CMD_STATUS(9) | CMD_STATUS(10),
};

static const struct {
    const char *name;
    int min, max;     /* operands behind it; max 0: any number */
    unsigned options; /* bit N: id OPT_JSON + N */
} actions[SUB_ACTIONS] = {
#define O(id) (1u << ((id)-OPT_JSON))
    [LIST] = {"list", 0, -1, O(OPT_JSON) | O(OPT_EXIT_STATUS)},
    [INFO] = {"info", 1, 0, O(OPT_JSON)},
    [LAG] = {"lag", 0, 0, O(OPT_JSON) | O(OPT_MAX)},
    [ACK] = {"ack", 2, 2, O(OPT_JSON)},
    [SEEK] = {"seek", 2, 2, O(OPT_JSON) | O(OPT_FORCE)},
    [EXISTS] = {"exists", 1, 0, O(OPT_JSON)},
    [REMOVE] = {"remove", 1, 0, O(OPT_JSON) | O(OPT_FORCE)},
    [PARKED] = {"parked", 2, 0, O(OPT_JSON) | O(OPT_ALL_PARKED) | O(OPT_EXIT_STATUS)},
    [CHECK] = {"check", 0, 0, O(OPT_JSON) | O(OPT_MAX) | O(OPT_WARN) | O(OPT_NAGIOS)},
};

static enum sub_action find_action(const struct cmd_args *args) {
    static const char all[] = "list, info, lag, check, exists, ack, seek, remove or parked";

    if (args->count == 0)
        cmd_usage_error("which action: %s?", all);
    for (int i = 0; i < SUB_ACTIONS; i++)
        if (strcmp(args->operands[0], actions[i].name) == 0)
            return (enum sub_action)i;
    cmd_usage_error("'%s' is no action: %s", args->operands[0], all);
}

static void check(const struct sub_request *r, const struct cmd_args *args, unsigned given) {
    int count = args->count - 1, max = actions[r->action].max;
    const char *name = actions[r->action].name;

    for (int id = OPT_JSON; id < OPT_END; id++)
        if (given & O(id) & ~actions[r->action].options)
            cmd_usage_error("%s has no such option: see --help", name);
    if (count < actions[r->action].min)
        cmd_usage_error("%s: which %s?", name,
                        r->action == PARKED ? "action (list, show, retry, drop) and NAME"
                        : r->action == SEEK ? "NAME and place"
                        : r->action == ACK  ? "NAME and POSITION"
                                            : "NAME");
    if ((max > 0 && count > max) || (max < 0 && count > 0))
        cmd_usage_error("%s: too many arguments", name);
    if (r->action == CHECK && r->has_warn && r->has_max && r->warn > r->max)
        cmd_usage_error("--warn is greater than --max");
}

static void parse(struct sub_request *r, struct cmd_args *args) {
    unsigned given = 0;
    int id;

    while ((id = cmd_next_option(args)) != 0) {
        given |= O(id);
        r->json |= id == OPT_JSON;
        r->force |= id == OPT_FORCE;
        r->all |= id == OPT_ALL_PARKED;
        r->nagios |= id == OPT_NAGIOS;
        r->exit_status |= id == OPT_EXIT_STATUS;
        if (id == OPT_MAX) {
            r->has_max = true;
            r->max = cmd_number(args);
        } else if (id == OPT_WARN) {
            r->has_warn = true;
            r->warn = cmd_number(args);
        }
    }
    r->action = find_action(args);
    check(r, args, given);
}

int main(int argc, char **argv) {
    struct sub_request r = {0};
    struct cmd_args args;
    esdb *db;

    cmd_begin(&tool, &args, argc, argv);
    parse(&r, &args);

    char **operands = args.operands + 1;
    int count = args.count - 1;
    bool changes = r.action == ACK || r.action == SEEK || r.action == REMOVE ||
                   (r.action == PARKED && strcmp(operands[0], "list") != 0 && strcmp(operands[0], "show") != 0);
    int status = cmd_open_store(changes ? ESDB_APPEND : ESDB_READ, &db);

    if (status != 0)
        return cmd_finish(r.nagios ? 3 : status);
    if (!changes && r.action != EXISTS) /* those are silent, unless they are asked to speak */
        r.json = r.json || !cmd_stdout()->terminal;
    if (r.action == PARKED)
        status = cmd_sub_parked(db, &r, operands, count);
    else if (r.action == EXISTS)
        status = cmd_sub_exists(db, &r, operands, count);
    else if (changes)
        status = cmd_sub_change(db, &r, operands, count);
    else
        status = cmd_sub_show(db, &r, operands, count);
    cmd_leave_store(db);
    return cmd_finish(status);
}
