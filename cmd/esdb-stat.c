/* esdb-stat: one page about a store. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cmd.h"

enum { OPT_JSON = 256 };

static const struct cmd_option options[] = {
    {0, "json", NULL, "one JSON object, sizes in bytes, times in microseconds since 1970", OPT_JSON},
    {0},
};
static const struct cmd_group groups[] = {{"Options", options}, CMD_GROUP_STORE, CMD_GROUP_COLOR, {0}};
static const struct cmd_tool tool = {
    .name = "esdb-stat",
    .synopsis = "[options] [STORE]",
    .summary = "tell the state of a store on one page",
    .examples = "esdb-stat shop\n"
                "# for a monitoring script\n"
                "esdb-stat -S shop --json | jq .end_position",
    .notes = "A head that is stale or damaged is shown as it was found; like every reader that may write, this one "
             "then puts\n"
             "it right. A store that is poisoned after an I/O error, and a clock that is behind the newest event, are\n"
             "warnings on the page; the exit status tells whether the store could be read.",
    .groups = groups,
    .statuses = CMD_STATUS(0) | CMD_STATUS(1) | CMD_STATUS(2) | CMD_STATUS(5) | CMD_STATUS(7),
};

static const char *head_name(enum esdb_head_state state) {
    switch (state) {
    case ESDB_HEAD_VALID:
        return "valid";
    case ESDB_HEAD_ABSENT:
        return "absent";
    case ESDB_HEAD_STALE:
        return "stale";
    default:
        return "bad";
    }
}

/* ---- for people ---- */

static void put_label(struct cmd_out *out, const char *label) {
    cmd_out_color(out, CMD_DIM);
    cmd_out_printf(out, "%-14s ", label);
    cmd_out_color(out, CMD_PLAIN);
}

/* "1.2 MiB (1258291 bytes)" */
static void put_size(struct cmd_out *out, uint64_t bytes) {
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
    double n = (double)bytes;
    int i = 0;
    for (; n >= 1024 && i < 4; i++)
        n /= 1024;
    if (i == 0)
        cmd_out_printf(out, "%" PRIu64 " bytes", bytes);
    else
        cmd_out_printf(out, "%.1f %s (%" PRIu64 " bytes)", n, units[i], bytes);
}

static void put_time(struct cmd_out *out, uint64_t epoch_us) {
    char text[CMD_TIME_ROOM];
    cmd_out_add(out, text, cmd_put_time(text, epoch_us));
}

static void put_warnings(struct cmd_out *out, const struct esdb_stat *s) {
    if (s->settings.durability == ESDB_NOT_DURABLE) {
        put_label(out, "warning");
        cmd_out_color(out, CMD_WARN);
        cmd_out_text(out, "durability is none: events are lost when the machine crashes\n");
        cmd_out_color(out, CMD_PLAIN);
    }
    if (s->clock_behind_us > 0) {
        put_label(out, "warning");
        cmd_out_color(out, CMD_WARN);
        cmd_out_printf(out, "this machine's clock is %.1f s behind the newest event\n",
                       (double)s->clock_behind_us / 1e6);
        cmd_out_color(out, CMD_PLAIN);
    }
    if (s->poisoned) {
        put_label(out, "poisoned");
        cmd_out_color(out, CMD_BAD);
        cmd_out_plain(out, cmd_text(s->poison[0] ? s->poison : "an I/O error"));
        cmd_out_text(out, "\n");
        cmd_out_color(out, CMD_PLAIN);
        put_label(out, "");
        cmd_out_text(out, "appends are refused until esdb-verify --repair\n");
    }
}

static void put_page(struct cmd_out *out, const char *path, const struct esdb_stat *s) {
    char id[37];
    cmd_uuid_text(s->store_id, id);
    put_label(out, "store");
    cmd_out_plain(out, cmd_text(path));
    cmd_out_text(out, "\n");
    put_label(out, "id");
    cmd_out_printf(out, "%s\n", id);
    put_label(out, "incarnation");
    cmd_out_printf(out, "%016" PRIx64 "\n", s->incarnation);
    put_label(out, "created");
    put_time(out, s->created_us);
    cmd_out_text(out, "\n");
    put_label(out, "settings");
    cmd_out_printf(out, "durability %s, shared %s\n", s->settings.durability == ESDB_DURABLE ? "fsync" : "none",
                   s->settings.shared_group ? "group" : "no");
    put_label(out, "segment size");
    put_size(out, s->settings.segment_size);
    cmd_out_text(out, "\n");
    put_label(out, "events");
    cmd_out_printf(out, "%" PRIu64 "\n", s->end_position);
    if (s->end_position > 0) {
        put_label(out, "first event");
        put_time(out, s->first_epoch_us);
        cmd_out_text(out, "\n");
        put_label(out, "last event");
        put_time(out, s->last_epoch_us);
        cmd_out_text(out, "\n");
    }
    put_label(out, "frames");
    cmd_out_printf(out, "appended %" PRIu64 ", synced %" PRIu64 ", committed %" PRIu64 "\n", s->appended, s->synced,
                   s->committed);
    put_label(out, "log");
    put_size(out, s->log_size);
    cmd_out_printf(out, " in %" PRIu64 " segment%s\n", s->segments, s->segments == 1 ? "" : "s");
    put_label(out, "used");
    put_size(out, s->log_used);
    cmd_out_text(out, "\n");
    if (s->compressed > 0) {
        put_label(out, "compressed");
        cmd_out_printf(out, "%" PRIu64 " segment%s, ", s->compressed, s->compressed == 1 ? "" : "s");
        put_size(out, s->compressed_content);
        cmd_out_text(out, " in ");
        put_size(out, s->compressed_used);
        cmd_out_text(out, "\n");
    }
    put_label(out, "indexes");
    put_size(out, s->index_size);
    cmd_out_text(out, "\n");
    put_label(out, "tables");
    put_size(out, s->table_size);
    cmd_out_printf(out, " in %" PRIu64 " file%s\n", s->tables, s->tables == 1 ? "" : "s");
    put_label(out, "head");
    cmd_out_printf(out, "%s\n", head_name(s->head));
    put_warnings(out, s);
}

/* ---- for programs ---- */

static void put_json(struct cmd_out *out, const char *path, const struct esdb_stat *s) {
    const struct {
        const char *key;
        uint64_t value;
    } numbers[] = {{"created_us", s->created_us},
                   {"segment_size", s->settings.segment_size},
                   {"end_position", s->end_position},
                   {"first_epoch_us", s->first_epoch_us},
                   {"last_epoch_us", s->last_epoch_us},
                   {"appended", s->appended},
                   {"synced", s->synced},
                   {"committed", s->committed},
                   {"segments", s->segments},
                   {"tables", s->tables},
                   {"log_size", s->log_size},
                   {"log_used", s->log_used},
                   {"compressed", s->compressed},
                   {"compressed_used", s->compressed_used},
                   {"compressed_content", s->compressed_content},
                   {"index_size", s->index_size},
                   {"table_size", s->table_size}};
    char id[37];
    cmd_uuid_text(s->store_id, id);
    cmd_out_text(out, "{\"path\":");
    cmd_out_json(out, cmd_text(path));
    /* The incarnation is a string: it has 64 bits, more than a JSON number keeps in most readers. */
    cmd_out_printf(out, ",\"store_id\":\"%s\",\"incarnation\":\"%016" PRIx64 "\",\"durability\":\"%s\",\"shared\":%s",
                   id, s->incarnation, s->settings.durability == ESDB_DURABLE ? "fsync" : "none",
                   s->settings.shared_group ? "\"group\"" : "null");
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        cmd_out_printf(out, ",\"%s\":%" PRIu64, numbers[i].key, numbers[i].value);
    cmd_out_printf(out,
                   ",\"head\":\"%s\",\"clock_behind_us\":%" PRId64 ",\"poisoned\":%s,\"poison\":", head_name(s->head),
                   s->clock_behind_us, s->poisoned ? "true" : "false");
    if (s->poisoned)
        cmd_out_json(out, cmd_text(s->poison));
    else
        cmd_out_text(out, "null");
    cmd_out_text(out, "}\n");
}

int main(int argc, char **argv) {
    struct cmd_args args;
    struct esdb_error err = {0};
    struct esdb_stat stat;
    bool json = false;
    esdb *db;
    int id;

    cmd_begin(&tool, &args, argc, argv);
    while ((id = cmd_next_option(&args)) != 0)
        json = json || id == OPT_JSON;
    if (args.count > 1)
        cmd_usage_error("one STORE only");
    if (args.count == 1 && cmd_store_given())
        cmd_usage_error("the store is given twice: with -S and as operand");
    if (args.count == 1)
        cmd_set_store(args.operands[0]);
    int status = cmd_open_store(ESDB_READ, &db);
    if (status != 0)
        return cmd_finish(status);
    int rc = esdb_stat(db, &stat, &err);
    if (rc != 0)
        status = cmd_report(rc, &err);
    else if (json)
        put_json(cmd_stdout(), esdb_path(db), &stat);
    else
        put_page(cmd_stdout(), esdb_path(db), &stat);
    cmd_leave_store(db);
    return cmd_finish(status);
}
