/* esdb-init: creates a store. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cmd.h"
#include "format/limits.h"

enum { OPT_SEGMENT_SIZE = 256, OPT_SHARED, OPT_DURABILITY, OPT_STORE_ID, OPT_IF_MISSING, OPT_JSON };

static const struct cmd_option options[] = {
    {0, "segment-size", "SIZE", "bytes of a log file, 64K .. 1G; default 128M", OPT_SEGMENT_SIZE},
    {0, "shared", "WHO", "group: the directory's group may append too (as git init --shared=group)", OPT_SHARED},
    {0, "durability", "HOW", "fsync (default), or none: never synced, for throw-away stores", OPT_DURABILITY},
    {0, "store-id", "UUID", "the store's identity; default: a new random one", OPT_STORE_ID},
    {0, "if-missing", NULL, "an existing store is left as it is, exit 0", OPT_IF_MISSING},
    {0, "json", NULL, "print a line of JSON about the store", OPT_JSON},
    {0, NULL, NULL, NULL, 0},
};
static const struct cmd_group groups[] = {{"Options", options}, CMD_GROUP_STORE, {NULL, NULL}};
static const struct cmd_tool tool = {
    .name = "esdb-init",
    .synopsis = "[options] [PATH]",
    .summary = "create an event store",
    .examples = "esdb-init /srv/orders\n"
                "# Several users append: members of the group of /srv/orders\n"
                "esdb-init --shared=group /srv/orders\n"
                "# In a script that may run twice\n"
                "esdb-init --if-missing -S orders",
    .notes = "PATH, or the directory that -S or $ESDB_STORE names, is created, or must be empty.\n"
             "Nothing is printed on success, except by --json: {\"path\":...,\"store_id\":...,\"created\":true}.",
    .groups = groups,
    .statuses = CMD_STATUS(0) | CMD_STATUS(1) | CMD_STATUS(2) | CMD_STATUS(7),
};

static void parse_uuid(const struct cmd_args *args, unsigned char out[16]) {
    static const char digits[] = "0123456789abcdef";
    const char *s = args->value;
    bool ok = strlen(s) == 36;

    for (int i = 0, nibble = 0; ok && i < 36; i++) {
        bool is_dash = i == 8 || i == 13 || i == 18 || i == 23;
        const char *digit = s[i] == '\0' ? NULL : strchr(digits, s[i] >= 'A' && s[i] <= 'F' ? s[i] | 0x20 : s[i]);

        if (is_dash ? s[i] != '-' : !digit) {
            ok = false;
        } else if (!is_dash) {
            out[nibble / 2] = (unsigned char)(out[nibble / 2] << 4 | (digit - digits));
            nibble++;
        }
    }
    for (int i = 0; ok; i++) {
        if (i == 16)
            ok = false;
        else if (out[i] != 0)
            return;
    }
    cmd_usage_error("%s: '%s' is not a UUID", args->option, s);
}

static void parse_option(const struct cmd_args *args, int id, struct esdb_settings *s) {
    switch (id) {
    case OPT_SEGMENT_SIZE:
        s->segment_size = cmd_size(args);
        if (s->segment_size < FMT_SEGMENT_SIZE_MIN || s->segment_size > FMT_SEGMENT_SIZE_MAX)
            cmd_usage_error("%s: %s is outside of 64K .. 1G", args->option, args->value);
        break;
    case OPT_SHARED:
        if (strcmp(args->value, "group") != 0)
            cmd_usage_error("%s: only 'group' is known", args->option);
        s->shared_group = true;
        break;
    case OPT_DURABILITY:
        if (strcmp(args->value, "none") != 0 && strcmp(args->value, "fsync") != 0)
            cmd_usage_error("%s: '%s' is none of fsync, none", args->option, args->value);
        s->durability = *args->value == 'n' ? ESDB_NOT_DURABLE : ESDB_DURABLE;
        break;
    default:
        memset(s->store_id, 0, sizeof s->store_id);
        parse_uuid(args, s->store_id);
    }
}

/* {"path":...,"store_id":...,"created":...}. 0 or an exit status. */
static int print_store(const char *path, bool created) {
    struct esdb_settings s;
    struct esdb_error err = {0};
    struct cmd_out *out = cmd_stdout();
    esdb *db;
    int rc = esdb_open(path, ESDB_READ, &db, &err);

    if (rc != 0)
        return cmd_report(rc, &err);
    esdb_get_settings(db, &s);
    esdb_close(db);
    cmd_out_text(out, "{\"path\":");
    cmd_out_json(out, cmd_text(path));
    cmd_out_text(out, ",\"store_id\":\"");
    for (int i = 0; i < 16; i++)
        cmd_out_printf(out, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", s.store_id[i]);
    cmd_out_printf(out, "\",\"created\":%s}\n", created ? "true" : "false");
    return 0;
}

static bool is_store(const char *path) {
    esdb *db;

    if (esdb_open(path, ESDB_READ, &db, NULL) != 0)
        return false;
    esdb_close(db);
    return true;
}

int main(int argc, char **argv) {
    struct esdb_settings settings = {0};
    struct esdb_error err = {0};
    struct cmd_args args;
    bool if_missing = false, json = false, exists;
    const char *path;
    int id, rc, status;

    cmd_begin(&tool, &args, argc, argv);
    while ((id = cmd_next_option(&args)) != 0) {
        if (id == OPT_IF_MISSING)
            if_missing = true;
        else if (id == OPT_JSON)
            json = true;
        else
            parse_option(&args, id, &settings);
    }
    if (args.count > 1)
        cmd_usage_error("one store at a time");
    if (args.count == 1 && cmd_store_given())
        cmd_usage_error("both -S and PATH are given");
    if (args.count == 1 && args.operands[0][0] == '\0')
        cmd_usage_error("PATH is empty");
    path = args.count == 1 ? args.operands[0] : NULL;
    if (!path && (status = cmd_store_path(&path)) != 0)
        return cmd_finish(status);

    rc = esdb_create(path, &settings, &err);
    exists = rc == -EEXIST && is_store(path);
    if (exists && !if_missing) {
        cmd_message("%s: is an event store already", path);
        return cmd_finish(2);
    }
    if (rc == -EEXIST && !exists) {
        cmd_message("%s: is not an empty directory", path);
        return cmd_finish(2);
    }
    if (rc != 0 && !exists)
        return cmd_finish(cmd_report(rc, &err));
    if (rc == 0 && settings.durability == ESDB_NOT_DURABLE)
        cmd_message("%s: durability none: nothing is ever synced. When the machine crashes or loses power, events that "
                    "were acknowledged are lost, and the store can be damaged",
                    path);
    return cmd_finish(json ? print_store(path, rc == 0) : 0);
}
