/* selection.c: which streams and types: operands, --all, --type, --system, --literal. See cmd.h. */
#include <stdlib.h>
#include <string.h>

#include "internal.h"

const struct cmd_option cmd_selection_options[] = {
    {'a', "all", NULL, "events of all streams", CMD_OPT_ALL},
    {'t', "type", "TYPE", "only events of this type or pattern; may be given several times", CMD_OPT_TYPE},
    {0, "system", NULL, "--all and patterns include system streams (their names begin with $)", CMD_OPT_SYSTEM},
    {0, "literal", NULL, "stream names are no patterns: * and ? stand for themselves", CMD_OPT_LITERAL},
    {0, NULL, NULL, NULL, 0},
};

static bool all, with_system, literal;
static struct esdb_text *types, *streams;
static size_t type_count;

bool cmd_selection_option(const struct cmd_args *args, int id) {
    switch (id) {
    case CMD_OPT_ALL:
        all = true;
        return true;
    case CMD_OPT_TYPE:
        if (*args->value == '\0')
            cmd_usage_error("%s: the event type is empty", args->option);
        types = cmd_grow(types, (type_count + 1) * sizeof *types);
        types[type_count++] = cmd_text(args->value);
        return true;
    case CMD_OPT_SYSTEM:
        with_system = true;
        return true;
    case CMD_OPT_LITERAL:
        literal = true;
        return true;
    default:
        return false;
    }
}

void cmd_selection_release(void) {
    free(types);
    free(streams);
    types = streams = NULL;
}

void cmd_select(struct esdb_query *q, char *const *names, int count) {
    if (count == 0 && !all)
        cmd_usage_error("which streams? Name them, or say --all");
    if (count > 0 && all)
        cmd_usage_error("--all and a stream's name exclude each other");
    streams = count > 0 ? cmd_alloc((size_t)count * sizeof *streams) : NULL;
    for (int i = 0; i < count; i++) {
        if (names[i][0] == '\0')
            cmd_usage_error("a stream's name is empty");
        streams[i] = cmd_text(names[i]);
    }
    q->streams = streams;
    q->stream_count = (size_t)count;
    q->types = types;
    q->type_count = type_count;
    q->flags |= (all ? ESDB_ALL : 0) | (with_system ? ESDB_WITH_SYSTEM : 0) | (literal ? ESDB_LITERAL : 0);
}

/* True when `name` stands for one stream. Then its text without the escaping backslashes is in *out. */
static bool is_single(const struct esdb_query *q, struct esdb_text name, char *room, struct esdb_text *out) {
    size_t len = 0;

    *out = name;
    if (q->flags & ESDB_LITERAL ||
        (!memchr(name.at, '*', name.len) && !memchr(name.at, '?', name.len) && !memchr(name.at, '\\', name.len)))
        return true;
    for (size_t i = 0; i < name.len; i++) {
        if (name.at[i] == '*' || name.at[i] == '?')
            return false;
        if (name.at[i] == '\\' && i + 1 < name.len)
            i++;
        room[len++] = name.at[i];
    }
    *out = (struct esdb_text){room, len};
    return true;
}

int cmd_check_streams(esdb *db, const struct esdb_query *q, const char *text) {
    int status = 0;

    for (size_t i = 0; i < q->stream_count; i++) {
        char *room = cmd_alloc(q->streams[i].len + 1);
        struct esdb_stream_info info;
        struct esdb_error err = {0};
        struct esdb_text name;

        if (is_single(q, q->streams[i], room, &name)) {
            int rc = esdb_stream_info(db, name, &info, &err);

            if (rc == ESDB_ENOTFOUND) {
                cmd_message("%.*s: %s", (int)name.len, name.at, text);
                status = 4;
            } else if (rc != 0 && status == 0) {
                status = cmd_report(rc, &err);
            }
        }
        free(room);
    }
    return status;
}
