/* stream_about.c: esdb-stream info, version and exists. */
#include "stream.h"

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
        cmd_stream_put(out, s, true);
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

/* Nothing is left of then: there may have been something that was removed since. */
static int check_removed(esdb *db, const char *stream, uint64_t end) {
    struct esdb_text name = cmd_text(stream);
    struct esdb_error err = {0};
    struct esdb_query q;
    esdb_query_init(&q);
    q.flags = ESDB_LITERAL | ESDB_WITH_SYSTEM;
    q.streams = &name;
    q.stream_count = 1;
    q.as_of = end - 1;
    int rc = esdb_past_is_whole(db, &q, &err);
    if (rc == 1)
        cmd_message("--at: %s", err.text);
    return rc < 0 ? cmd_report(rc, &err) : rc == 1 ? 9 : 0;
}

static int put_version_at(esdb *db, const char *stream, uint64_t at_us) {
    struct cmd_out *out = cmd_stdout();
    struct esdb_error err = {0};
    uint64_t end;
    int64_t version;
    int rc = esdb_position_at(db, at_us == UINT64_MAX ? at_us : at_us + 1, &end, &err);
    if (rc == 0)
        rc = esdb_stream_version_at(db, cmd_text(stream), end, &version, &err);
    if (rc != 0)
        return cmd_report(rc, &err);
    int status = version < 0 && end > 0 ? check_removed(db, stream, end) : 0;
    if (status == 0)
        cmd_out_printf(out, "%lld\n", (long long)version);
    return status;
}

/* One stream after the other: a missing one sets the status, and the rest is answered all the same. */
int cmd_stream_about(esdb *db, const struct cmd_stream_request *r, char **streams, int count) {
    struct cmd_out *out = cmd_stdout();
    int status = 0;
    if (r->has_at)
        return put_version_at(db, streams[0], r->at_us);
    for (int i = 0; i < count; i++) {
        struct esdb_stream_info info;
        struct esdb_error err = {0};
        int rc = esdb_stream_info(db, cmd_text(streams[i]), &info, &err);
        if (rc == ESDB_ENOTFOUND && r->action == EXISTS) {
            status = status ? status : 4;
        } else if (rc != 0) {
            int failed = cmd_report(rc, &err);
            status = status ? status : failed;
        } else if (r->action == INFO) {
            if (!r->json && i > 0)
                cmd_out_add(out, "\n", 1);
            put_info(out, &info, r->json);
        } else if (r->action == VERSION) {
            cmd_out_number(out, info.last_version);
            cmd_out_add(out, "\n", 1);
        }
    }
    return status;
}
