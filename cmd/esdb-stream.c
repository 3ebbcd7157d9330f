/* esdb-stream: which streams there are, and what is known about one. */
#include <stdlib.h>
#include <string.h>

#include "cmd.h"

enum { OPT_JSON = 256, OPT_SYSTEM, OPT_LITERAL, OPT_COUNT, OPT_EXIT_STATUS };

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
static const struct cmd_group groups[] = {
    {"Options of list", list_options}, {"Options of list and info", options}, CMD_GROUP_STORE, CMD_GROUP_COLOR, {0}};
static const struct cmd_tool tool = {
    .name = "esdb-stream",
    .synopsis = "list [options] [PATTERN...]\n"
                "info [options] STREAM...\n"
                "version STREAM\n"
                "exists STREAM...",
    .summary = "list streams, and tell what is known about them",
    .examples = "esdb-stream list\n"
                "esdb-stream list 'orders-*'\n"
                "esdb-stream info orders-1\n"
                "# the version that the next append may expect\n"
                "esdb-stream version orders-1\n"
                "# the status is the answer\n"
                "esdb-stream exists orders-1 && echo there",
    .notes =
        "list prints streams in byte order of their names. In a PATTERN, * stands for any characters and ? for one.\n"
        "A table at a terminal, else one JSON object a line: stream_id, count, first_version, last_version.\n"
        "info adds the positions and times of the first and the last event.\n"
        "version prints the version of the last event. A stream that does not exist: exit 4; exists says nothing.",
    .groups = groups,
    .statuses = CMD_STATUS_READ,
};

/* What the command line asked for. */
struct request {
    unsigned flags; /* of esdb_stream_list_open */
    bool json, count, exit_status;
};

/* ---- list ---- */

struct source {
    esdb_stream_list *list;
    struct esdb_stream_info info;
    bool ended;
};

static void put_stream(struct cmd_out *out, const struct esdb_stream_info *s, bool json) {
    if (!json) {
        cmd_out_printf(out, "%10llu %10llu %10llu  ", (unsigned long long)s->count,
                       (unsigned long long)s->first_version, (unsigned long long)s->last_version);
        cmd_out_plain(out, s->stream_id);
        cmd_out_add(out, "\n", 1);
        return;
    }
    cmd_out_text(out, "{\"stream_id\":");
    cmd_out_json(out, s->stream_id);
    cmd_out_text(out, ",\"count\":");
    cmd_out_number(out, s->count);
    cmd_out_text(out, ",\"first_version\":");
    cmd_out_number(out, s->first_version);
    cmd_out_text(out, ",\"last_version\":");
    cmd_out_number(out, s->last_version);
    cmd_out_text(out, "}\n");
}

/* Byte order; a name comes before its extensions. */
static int compare(struct esdb_text a, struct esdb_text b) {
    int order = memcmp(a.at, b.at, a.len < b.len ? a.len : b.len);
    return order ? order : (a.len > b.len) - (a.len < b.len);
}

static int advance(struct source *s, struct esdb_error *err) {
    int rc = esdb_stream_list_next(s->list, &s->info, err);
    s->ended = rc != 0;
    return rc == ESDB_END ? 0 : rc;
}

static struct source *least(struct source *sources, int count) {
    struct source *best = NULL;
    for (int i = 0; i < count; i++)
        if (!sources[i].ended && (!best || compare(sources[i].info.stream_id, best->info.stream_id) < 0))
            best = &sources[i];
    return best;
}

/* Merges the lists of all patterns: each is in order, and a stream that several match is printed once. */
static int merge(struct source *sources, int count, const struct request *r, uint64_t *printed,
                 struct esdb_error *err) {
    struct cmd_out *out = cmd_stdout();
    int rc = 0;
    for (int i = 0; i < count && rc == 0; i++)
        rc = advance(&sources[i], err);
    for (struct source *s; rc == 0 && !out->failed && (s = least(sources, count)) != NULL;) {
        if (!r->count)
            put_stream(out, &s->info, r->json);
        if (++*printed == 1)
            cmd_out_flush(out); /* the first line at once, however long the rest takes */
        for (struct source *t = sources; t < sources + count && rc == 0; t++)
            if (t != s && !t->ended && compare(t->info.stream_id, s->info.stream_id) == 0)
                rc = advance(t, err);
        if (rc == 0)
            rc = advance(s, err);
    }
    return rc;
}

static int list(esdb *db, const struct request *r, char **patterns, int count) {
    struct cmd_out *out = cmd_stdout();
    struct esdb_error err = {0};
    uint64_t printed = 0;
    int opened = 0, rc = 0, wanted = count ? count : 1;
    struct source *sources = cmd_alloc((size_t)wanted * sizeof *sources);

    while (opened < wanted && rc == 0) {
        struct esdb_text pattern = count ? cmd_text(patterns[opened]) : (struct esdb_text){0};
        rc = esdb_stream_list_open(db, pattern, r->flags, &sources[opened].list, &err);
        if (rc == 0)
            opened++;
    }
    if (rc == 0 && !r->json && !r->count) {
        cmd_out_color(out, CMD_DIM);
        cmd_out_printf(out, "%10s %10s %10s  %s\n", "events", "first", "last", "stream");
        cmd_out_color(out, CMD_PLAIN);
    }
    if (rc == 0)
        rc = merge(sources, opened, r, &printed, &err);
    while (opened > 0)
        esdb_stream_list_close(sources[--opened].list);
    free(sources);
    if (rc != 0)
        return cmd_report(rc, &err);
    if (r->count) {
        cmd_out_number(out, printed);
        cmd_out_add(out, "\n", 1);
    }
    return r->exit_status && printed == 0 ? 4 : 0;
}

/* ---- info, version, exists ---- */

static void put_time(struct cmd_out *out, const char *label, uint64_t epoch_us) {
    char text[CMD_TIME_ROOM];
    cmd_out_printf(out, "%-10s %.*s\n", label, (int)cmd_put_time(text, epoch_us), text);
}

static void put_info(struct cmd_out *out, const struct esdb_stream_info *s, bool json) {
    const struct {
        const char *key;
        uint64_t value;
    } more[] = {{"first_position", s->first_position},
                {"last_position", s->last_position},
                {"first_epoch_us", s->first_epoch_us},
                {"last_epoch_us", s->last_epoch_us}};
    if (json) {
        put_stream(out, s, true);
        out->len -= 2; /* the members below come before the brace and the newline */
        for (size_t i = 0; i < sizeof more / sizeof more[0]; i++)
            cmd_out_printf(out, ",\"%s\":%llu", more[i].key, (unsigned long long)more[i].value);
        cmd_out_text(out, "}\n");
        return;
    }
    cmd_out_printf(out, "%-10s ", "stream");
    cmd_out_plain(out, s->stream_id);
    cmd_out_printf(out, "\n%-10s %llu\n%-10s %llu..%llu\n%-10s %llu..%llu\n", "events", (unsigned long long)s->count,
                   "versions", (unsigned long long)s->first_version, (unsigned long long)s->last_version, "positions",
                   (unsigned long long)s->first_position, (unsigned long long)s->last_position);
    put_time(out, "first", s->first_epoch_us);
    put_time(out, "last", s->last_epoch_us);
}

enum action { LIST, INFO, VERSION, EXISTS, ACTIONS };
static const char *const action_names[ACTIONS] = {"list", "info", "version", "exists"};

/* One stream after the other: a missing one sets the status, and the rest is answered all the same. */
static int about_streams(esdb *db, enum action action, bool json, char **streams, int count) {
    struct cmd_out *out = cmd_stdout();
    int status = 0;
    for (int i = 0; i < count; i++) {
        struct esdb_stream_info info;
        struct esdb_error err = {0};
        int rc = esdb_stream_info(db, cmd_text(streams[i]), &info, &err);
        if (rc == ESDB_ENOTFOUND && action == EXISTS) {
            status = status ? status : 4;
        } else if (rc != 0) {
            int failed = cmd_report(rc, &err);
            status = status ? status : failed;
        } else if (action == INFO) {
            if (!json && i > 0)
                cmd_out_add(out, "\n", 1);
            put_info(out, &info, json);
        } else if (action == VERSION) {
            cmd_out_number(out, info.last_version);
            cmd_out_add(out, "\n", 1);
        }
    }
    return status;
}

static enum action find_action(const struct cmd_args *args) {
    if (args->count == 0)
        cmd_usage_error("which action: list, info, version or exists?");
    for (int i = 0; i < ACTIONS; i++)
        if (strcmp(args->operands[0], action_names[i]) == 0)
            return (enum action)i;
    cmd_usage_error("'%s' is no action: list, info, version or exists", args->operands[0]);
}

/* Options of one action are a mistake with another one. */
static void check(enum action action, const char *list_only, bool json, int streams) {
    if (action != LIST && list_only)
        cmd_usage_error("%s belongs to list, not to %s", list_only, action_names[action]);
    if ((action == VERSION || action == EXISTS) && json)
        cmd_usage_error("--json belongs to list and info, not to %s", action_names[action]);
    if (action != LIST && streams == 0)
        cmd_usage_error("%s: which STREAM?", action_names[action]);
    if (action == VERSION && streams > 1)
        cmd_usage_error("version: one STREAM only");
}

int main(int argc, char **argv) {
    struct cmd_args args;
    struct request r = {0};
    const char *list_only = NULL;
    esdb *db;
    int id;

    cmd_begin(&tool, &args, argc, argv);
    while ((id = cmd_next_option(&args)) != 0) {
        if (id != OPT_JSON)
            list_only = args.option;
        if (id == OPT_JSON)
            r.json = true;
        else if (id == OPT_SYSTEM)
            r.flags |= ESDB_WITH_SYSTEM;
        else if (id == OPT_LITERAL)
            r.flags |= ESDB_LITERAL;
        else if (id == OPT_COUNT)
            r.count = true;
        else if (id == OPT_EXIT_STATUS)
            r.exit_status = true;
    }
    enum action action = find_action(&args);
    check(action, list_only, r.json, args.count - 1);
    int status = cmd_open_store(ESDB_READ, &db);
    if (status != 0)
        return cmd_finish(status);
    r.json = r.json || !cmd_stdout()->terminal;
    if (action == LIST)
        status = list(db, &r, args.operands + 1, args.count - 1);
    else
        status = about_streams(db, action, r.json, args.operands + 1, args.count - 1);
    cmd_leave_store(db);
    return cmd_finish(status);
}
