/* esdb-snapshot: keeps the state of a stream at a version beside it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "snapshot.h"

enum { OPT_VERSION_N = 256, OPT_RAW, OPT_AT, OPT_UPTO, OPT_JSON, OPT_KEEP, OPT_END };

static const struct cmd_option save_options[] = {
    {0, "version", "N", "the state is the one after version N of the stream", OPT_VERSION_N},
    {'m', "metadata", "KEY=VALUE", "kept with it, and shown by list; several times", 0},
    {0, "raw", NULL, "keep the bytes as they are, also when they are JSON", OPT_RAW},
    {0},
};
static const struct cmd_option choice_options[] = {
    {0, "at", "VERSION", "the one of exactly this version", OPT_AT},
    {0, "upto", "VERSION", "with load and exists: the latest that is not after this version", OPT_UPTO},
    {0, "json", NULL, "with load: version, time, metadata and state in one object; with list: at a terminal too",
     OPT_JSON},
    {0, "keep", "N", "with prune: how many of the newest stay", OPT_KEEP},
    {'q', "quiet", NULL, "with save, delete and prune: print no receipt", 0},
    {0},
};
static const struct cmd_group groups[] = {
    {"Options of save", save_options},
    {"Options of the others", choice_options},
    {"Time (load, list, exists)", cmd_as_of_options},
    CMD_GROUP_STORE,
    CMD_GROUP_COLOR,
    {0},
};
static const struct cmd_tool tool = {
    .name = "esdb-snapshot",
    .synopsis = "save --version N [options] STREAM <STATE\n"
                "load [--at VERSION | --upto VERSION] [options] STREAM\n"
                "list [options] STREAM\n"
                "exists [--at VERSION] STREAM\n"
                "delete [--at VERSION] STREAM\n"
                "prune --keep N STREAM",
    .summary = "keep the state of a stream beside it",
    .examples = "echo '{\"total\":42}' | esdb-snapshot save --version 1 -m by=me orders-1\n"
                "esdb-snapshot load orders-1\n"
                "# version and state together\n"
                "esdb-snapshot load --json orders-1\n"
                "esdb-snapshot load --upto 1 orders-1\n"
                "# newest first\n"
                "esdb-snapshot list orders-1\n"
                "esdb-snapshot exists --at 1 orders-1 && echo there\n"
                "# all but the newest three are deleted\n"
                "esdb-snapshot prune --keep 3 orders-1\n"
                "esdb-snapshot delete orders-1",
    .notes =
        "save takes JSON, or any other bytes, from standard input. The stream must have reached the version: "
        "otherwise\n"
        "exit 3, and exit 4 when there is no such stream. Of one version the snapshot that was saved last counts.\n"
        "At most 64 MiB, and 16 MiB as stored: compressed when that helps.\n"
        "load prints the state of the highest version: JSON on one line, bytes as they were. None: exit 4.\n"
        "list prints one JSON object a line, a table at a terminal: the highest version first.\n"
        "Snapshots are events in $snapshot:STREAM, and so are deletions: the store as of an earlier position still "
        "has\n"
        "what was deleted. When a stream is deleted, its snapshots go with it.",
    .groups = groups,
    .statuses = CMD_STATUS_READ | CMD_STATUS(3) | CMD_STATUS(8) | CMD_STATUS(10),
};

static const char *const actions[SNAPSHOT_ACTIONS] = {
    [SAVE] = "save", [LOAD] = "load", [LIST] = "list", [EXISTS] = "exists", [DELETE] = "delete", [PRUNE] = "prune",
};

/* Which actions have an option: a bit each. */
static unsigned actions_of(int option) {
    switch (option) {
    case OPT_VERSION_N:
    case OPT_RAW:
    case 'm':
        return 1u << SAVE;
    case OPT_AT:
        return 1u << LOAD | 1u << EXISTS | 1u << DELETE;
    case OPT_UPTO:
        return 1u << LOAD | 1u << EXISTS;
    case OPT_JSON:
        return 1u << LOAD | 1u << LIST;
    case OPT_KEEP:
        return 1u << PRUNE;
    default:
        return 1u << SAVE | 1u << DELETE | 1u << PRUNE;
    }
}

static enum cmd_snapshot_action find_action(const struct cmd_args *args) {
    static const char all[] = "save, load, list, exists, delete or prune";

    if (args->count == 0)
        cmd_usage_error("which action: %s?", all);
    for (int i = 0; i < SNAPSHOT_ACTIONS; i++)
        if (strcmp(args->operands[0], actions[i]) == 0)
            return (enum cmd_snapshot_action)i;
    cmd_usage_error("'%s' is no action: %s", args->operands[0], all);
}

/* An option of another action is a mistake. */
static void refuse_foreign(enum cmd_snapshot_action action, int option, const char *name) {
    char owners[64] = "";
    unsigned its = actions_of(option);
    size_t len = 0;

    if (its & 1u << action)
        return;
    for (int i = 0; i < SNAPSHOT_ACTIONS; i++)
        if (its & 1u << i)
            len += (size_t)snprintf(owners + len, sizeof owners - len, "%s%s", len ? " and " : "", actions[i]);
    cmd_usage_error("%s belongs to %s, not to %s", name, owners, actions[action]);
}

static void add_metadata(struct cmd_snapshot_request *r, const struct cmd_args *args) {
    const char *equals = strchr(args->value, '=');

    if (!equals || equals == args->value)
        cmd_usage_error("%s: '%s' must be KEY=VALUE", args->option, args->value);
    for (size_t i = 0; i < r->metadata_count; i++)
        if (strncmp(r->metadata[i], args->value, (size_t)(equals - args->value) + 1) == 0)
            cmd_usage_error("%s: '%.*s' is given twice", args->option, (int)(equals - args->value), args->value);
    r->metadata = cmd_grow(r->metadata, (r->metadata_count + 1) * sizeof *r->metadata);
    r->metadata[r->metadata_count++] = args->value;
}

static void take(struct cmd_snapshot_request *r, const struct cmd_args *args, int id) {
    switch (id) {
    case OPT_VERSION_N:
        r->has_version = true;
        r->version = cmd_number(args);
        break;
    case OPT_AT:
        r->has_at = true;
        r->at = cmd_number(args);
        break;
    case OPT_UPTO:
        r->has_upto = true;
        r->upto = cmd_number(args);
        break;
    case OPT_KEEP:
        r->has_keep = true;
        r->keep = cmd_number(args);
        break;
    case 'm':
        add_metadata(r, args);
        break;
    default:
        r->raw |= id == OPT_RAW;
        r->json |= id == OPT_JSON;
        r->quiet |= id == 'q';
    }
}

static void check(const struct cmd_snapshot_request *r, const struct cmd_args *args) {
    const char *name = actions[r->action];

    if (args->count < 2 || args->operands[1][0] == '\0')
        cmd_usage_error("%s: which STREAM?", name);
    if (args->count > 2)
        cmd_usage_error("%s: one STREAM only", name);
    if (r->action == SAVE && !r->has_version)
        cmd_usage_error("save: the state after which version? --version N says it");
    if (r->action == PRUNE && !r->has_keep)
        cmd_usage_error("prune: how many are to stay? --keep N says it");
    if (r->has_keep && r->keep == 0)
        cmd_usage_error("--keep: at least 1 must stay (delete removes all)");
    if (r->has_at && r->has_upto)
        cmd_usage_error("--at and --upto exclude each other");
}

static char *copy_of(const char *text) {
    size_t size = strlen(text) + 1;

    return memcpy(cmd_grow(NULL, size), text, size);
}

static void parse(struct cmd_snapshot_request *r, struct cmd_args *args) {
    char *given[OPT_END] = {NULL};
    int id;

    while ((id = cmd_next_option(args)) != 0) {
        if (!given[id]) /* the name in args is of the current option only */
            given[id] = copy_of(args->option);
        take(r, args, id);
    }
    r->action = find_action(args);
    for (int i = 0; i < OPT_END; i++) {
        if (given[i])
            refuse_foreign(r->action, i, given[i]);
        free(given[i]);
    }
    check(r, args);
    r->stream = cmd_text(args->operands[1]);
}

/* --as-of, once the store is open. */
static int choose_time(esdb *db, struct cmd_snapshot_request *r) {
    struct esdb_query q;
    int status;

    esdb_query_init(&q);
    cmd_select(&q, (char *const *)(const char *const[]){r->stream.at}, 1);
    status = cmd_select_as_of(db, &q);
    r->as_of = q.as_of;
    r->nothing_yet = q.limit == 0;
    if (status == 0 && (r->as_of < UINT64_MAX || r->nothing_yet) &&
        (r->action == SAVE || r->action == DELETE || r->action == PRUNE))
        cmd_usage_error("--as-of belongs to load and list and exists, not to %s", actions[r->action]);
    return status;
}

int main(int argc, char **argv) {
    struct cmd_args args;
    struct cmd_snapshot_request r = {0};
    bool changes;
    esdb *db;
    int status;

    cmd_begin(&tool, &args, argc, argv);
    parse(&r, &args);
    changes = r.action == SAVE || r.action == DELETE || r.action == PRUNE;
    if ((status = cmd_open_store(changes ? ESDB_APPEND : ESDB_READ, &db)) != 0 || (status = choose_time(db, &r)) != 0)
        return cmd_finish(status);
    switch (r.action) {
    case SAVE:
        status = cmd_snapshot_save(db, &r);
        break;
    case LIST:
        status = cmd_snapshot_list(db, &r);
        break;
    case DELETE:
    case PRUNE:
        status = cmd_snapshot_remove(db, &r);
        break;
    default:
        status = cmd_snapshot_load(db, &r);
    }
    free(r.metadata);
    cmd_leave_store(db);
    return cmd_finish(status);
}
