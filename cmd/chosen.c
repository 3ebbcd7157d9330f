/* chosen.c: what of the selection needs the store. See cmd.h. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

/* --as-of is a time before the first event. */
static bool as_of_nothing;

int cmd_select_as_of(esdb *db, struct esdb_query *q) {
    struct esdb_error err = {0};
    uint64_t us, later;
    int rc;

    if (!cmd_as_of_time(&us))
        return 0;
    if ((rc = esdb_position_at(db, us + 1, &later, &err)) != 0)
        return cmd_report(rc, &err);
    if (later > 0)
        q->as_of = later - 1;
    as_of_nothing = later == 0;
    if (as_of_nothing)
        q->limit = 0;
    return 0;
}

int cmd_report_select(const esdb_cursor *cursor) {
    struct esdb_explain x;

    esdb_cursor_explain(cursor, &x);
    if (x.failed == 0)
        return 0;
    cmd_message("--select: the expression failed on %" PRIu64 " event%s (first at position %" PRIu64 ": %s)", x.failed,
                x.failed == 1 ? "" : "s", x.failed_position, x.failure);
    return 8;
}

/* True when `name` stands for one stream. Then its text without the escaping backslashes is in *out. */
static bool is_single(const struct esdb_query *q, struct esdb_text name, char *room, struct esdb_text *out) {
    size_t len = 0;

    *out = name;
    if (q->flags & ESDB_REGEX)
        return false;
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

/* Whether there is such a stream, in the store as of q->as_of: 0, ESDB_ENOTFOUND, or another error. */
static int find_stream(esdb *db, const struct esdb_query *q, struct esdb_text name, struct esdb_error *err) {
    struct esdb_stream_info info;
    int64_t version = -1;
    int rc = 0;

    if (q->as_of == UINT64_MAX && !as_of_nothing)
        return esdb_stream_info(db, name, &info, err);
    if (!as_of_nothing)
        rc = esdb_stream_version_at(db, name, q->as_of + 1, &version, err);
    return rc == 0 && version < 0 ? ESDB_ENOTFOUND : rc;
}

int cmd_check_streams(esdb *db, const struct esdb_query *q, const char *text) {
    int status = 0;

    for (size_t i = 0; i < q->stream_count; i++) {
        char *room = cmd_alloc(q->streams[i].len + 1);
        struct esdb_error err = {0};
        struct esdb_text name;

        if (is_single(q, q->streams[i], room, &name)) {
            int rc = find_stream(db, q, name, &err);

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
