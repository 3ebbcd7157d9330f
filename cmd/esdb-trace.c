/* esdb-trace: what caused what: causation_id, correlation_id and actor_id of the metadata. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "trace.h"

enum { OPT_ALL = 256, OPT_BY, OPT_MAX, OPT_JSON, OPT_SYSTEM, OPT_EXIT_STATUS };

static const struct cmd_option options[] = {
    {0, "all", NULL, "effects: also the effects of effects", OPT_ALL},
    {0, "by", "WHAT", "what ID is: event or correlation; default: an event's, else a correlation's", OPT_BY},
    {0, "json", NULL, "stats: one JSON object", OPT_JSON},
    {0, "max", "N", "give up when more than N events are linked; default 1000000", OPT_MAX},
    {0, "system", NULL, "also events of system streams, whose names begin with $", OPT_SYSTEM},
    {0},
};
static const struct cmd_option list_options[] = {
    {'n', "limit", "N", "at most N events", 0},
    {'r', "reverse", NULL, "in the opposite order", 0},
    {0, "exit-status", NULL, "exit 4 when no event was printed", OPT_EXIT_STATUS},
    {0},
};
static const struct cmd_group groups[] = {{"Options", options},
                                          {"Options of commands that print events", list_options},
                                          CMD_GROUP_OUTPUT,
                                          CMD_GROUP_STORE,
                                          {0}};
static const struct cmd_tool tool = {
    .name = "esdb-trace",
    .synopsis = "effects [--all] [options] EVENT_ID\n"
                "cause|chain|ancestors [options] EVENT_ID\n"
                "path [options] EVENT_ID EVENT_ID\n"
                "correlated [options] CORRELATION_ID\n"
                "actor [options] ACTOR_ID\n"
                "graph|dot|tree|stats|topo|roots|leaves [options] ID",
    .summary = "what caused what",
    .examples = "# what an event led to, and how it came about\n"
                "esdb-trace effects --all 0192f7a0-5b1e-7cc3-98c4-dc0c0c07398f\n"
                "esdb-trace chain 0192f7a0-5b1e-7cc3-98c4-dc0c0c07398f\n"
                "# all that belongs to a request, as a tree and as a picture\n"
                "esdb-trace tree request-17\n"
                "esdb-trace dot request-17 | dot -Tsvg >request-17.svg\n"
                "# the last ten things that somebody did\n"
                "esdb-trace actor alice -r -n 10 --output table",
    .notes =
        "effects     the events whose causation_id is EVENT_ID; --all: also those that they caused\n"
        "cause       the event that caused it\n"
        "chain       its cause, the cause of that ..., from the root to the event itself\n"
        "ancestors   all of them, without the event itself, in order of positions\n"
        "path A B    the events from A to B, when A caused B, directly or not\n"
        "correlated  the events with a correlation_id, in order of positions\n"
        "actor       the events with an actor_id, in order of positions\n"
        "The rest is about a graph: of a correlation_id, or of an event: all that came from the same root.\n"
        "graph       nodes, edges, root, as JSON\n"
        "dot         for Graphviz\n"
        "tree        for people\n"
        "stats       how many nodes, edges, roots, leaves, and how deep\n"
        "topo        its events, causes first\n"
        "roots       its events without a cause in it\n"
        "leaves      its events without an effect\n"
        "A cause that is not in the store is named on stderr; then, and where causes form a cycle that a chain or an\n"
        "order cannot pass, the exit status is 9. No such event, or no way from A to B: 4.",
    .groups = groups,
    .statuses = CMD_STATUS_SELECT | CMD_STATUS(9),
};

enum allowed { EVENTS = 1, ALL = 2, BY = 4, MAX = 8, JSON = 16 };

static const struct command {
    const char *name;
    int (*run)(struct cmd_trace_request *r, char **ids);
    unsigned allowed; /* enum allowed */
    int ids;
} commands[] = {
    {"effects", cmd_trace_effects, EVENTS | ALL | MAX, 1},
    {"cause", cmd_trace_cause, EVENTS | MAX, 1},
    {"chain", cmd_trace_chain, EVENTS | MAX, 1},
    {"ancestors", cmd_trace_ancestors, EVENTS | MAX, 1},
    {"path", cmd_trace_path, EVENTS | MAX, 2},
    {"correlated", cmd_trace_correlated, EVENTS, 1},
    {"actor", cmd_trace_actor, EVENTS, 1},
    {"graph", cmd_trace_graph, BY | MAX, 1},
    {"dot", cmd_trace_dot, BY | MAX, 1},
    {"tree", cmd_trace_tree, BY | MAX, 1},
    {"stats", cmd_trace_stats, BY | MAX | JSON, 1},
    {"topo", cmd_trace_topo, EVENTS | BY | MAX, 1},
    {"roots", cmd_trace_roots, EVENTS | BY | MAX, 1},
    {"leaves", cmd_trace_leaves, EVENTS | BY | MAX, 1},
};
#define COMMANDS (sizeof commands / sizeof *commands)

static const struct command *find_command(const struct cmd_args *args) {
    static const char names[] =
        "effects, cause, chain, ancestors, path, correlated, actor, graph, dot, tree, stats, topo, "
        "roots or leaves";

    if (args->count == 0)
        cmd_usage_error("which action: %s?", names);
    for (size_t i = 0; i < COMMANDS; i++)
        if (strcmp(args->operands[0], commands[i].name) == 0)
            return &commands[i];
    cmd_usage_error("'%s' is no action: %s", args->operands[0], names);
}

/* Options of other commands are a mistake. `used` holds the name of an option for each bit of enum allowed. */
static void check(const struct command *c, const struct cmd_args *args, char (*used)[16]) {
    for (unsigned bit = 0; bit < 5; bit++)
        if (*used[bit] && !(c->allowed & 1u << bit))
            cmd_usage_error("%s: has no %s", c->name, used[bit]);
    if (cmd_output_given() && !(c->allowed & EVENTS))
        cmd_usage_error("%s: prints no events: --output, --fields, --jq and -0 have no meaning", c->name);
    if (args->count - 1 < c->ids)
        cmd_usage_error(c->ids == 2 ? "%s: which two events?" : "%s: which ID?", c->name);
    if (args->count - 1 > c->ids)
        cmd_usage_error("%s: %s is one too many", c->name, args->operands[1 + c->ids]);
    for (int i = 1; i < args->count; i++)
        if (args->operands[i][0] == '\0')
            cmd_usage_error("%s: the ID is empty", c->name);
}

static int take_by(const struct cmd_args *args) {
    if (strcmp(args->value, "event") == 0)
        return CMD_TRACE_BY_EVENT;
    if (strcmp(args->value, "correlation") == 0)
        return CMD_TRACE_BY_CORRELATION;
    cmd_usage_error("%s: '%s' is neither event nor correlation", args->option, args->value);
}

/* Which kind of commands an option belongs to: a bit of enum allowed, as its number; -1: all. */
static int take_option(struct cmd_trace_request *r, const struct cmd_args *args, int id) {
    switch (id) {
    case OPT_ALL:
        r->all = true;
        return 1;
    case OPT_BY:
        r->by = take_by(args);
        return 2;
    case OPT_MAX:
        r->max = cmd_number(args);
        return 3;
    case OPT_JSON:
        r->json = true;
        return 4;
    case OPT_SYSTEM:
        r->flags |= ESDB_WITH_SYSTEM;
        return -1;
    case 'n':
        r->limit = cmd_number(args);
        return 0;
    case 'r':
        r->flags |= ESDB_REVERSE;
        return 0;
    default:
        r->exit_status = true;
        return 0;
    }
}

int main(int argc, char **argv) {
    struct cmd_trace_request r = {.limit = UINT64_MAX, .max = 1000000};
    char used[5][16] = {""};
    const struct command *c;
    struct esdb_error err = {0};
    struct cmd_args args;
    int id, status;

    cmd_begin(&tool, &args, argc, argv);
    while ((id = cmd_next_option(&args)) != 0) {
        int bit = take_option(&r, &args, id);

        if (bit >= 0)
            snprintf(used[bit], sizeof used[bit], "%s", args.option);
    }
    c = find_command(&args);
    check(c, &args, used);
    if (c->run == cmd_trace_effects && *used[3] && !r.all)
        cmd_usage_error("effects: --max belongs to --all");
    cmd_print_begin();
    if ((status = cmd_open_store(ESDB_READ, &r.db)) != 0)
        return cmd_finish(status);
    status = cmd_report(esdb_lookup_open(r.db, r.flags & ESDB_WITH_SYSTEM, &r.lookup, &err), &err);
    if (status == 0)
        status = c->run(&r, args.operands + 1);
    if (status == 0 && r.exit_status && r.printed == 0)
        status = 4;
    esdb_lookup_close(r.lookup);
    cmd_leave_store(r.db);
    return cmd_finish(status);
}
