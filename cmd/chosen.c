/* chosen.c: what of the selection needs the store. See cmd.h. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

static uint64_t as_of_end = UINT64_MAX; /* --as-of: the position behind the newest event of then */

int cmd_select_as_of(esdb *db, struct esdb_query *q) {
    struct esdb_error err = {0};
    uint64_t us;
    int rc;

    if (!cmd_as_of_time(&us)) {
        as_of_end = q->as_of < UINT64_MAX ? q->as_of + 1 : UINT64_MAX;
        return 0;
    }
    if ((rc = esdb_position_at(db, us + 1, &as_of_end, &err)) != 0)
        return cmd_report(rc, &err);
    if (as_of_end > 0)
        q->as_of = as_of_end - 1;
    else
        q->limit = 0; /* nothing was there yet */
    return 0;
}

int cmd_check_past(esdb *db, const struct esdb_query *q) {
    return cmd_check_past_archived(db, NULL, q);
}

int cmd_check_past_archived(esdb *db, struct esdb_archive *a, const struct esdb_query *q) {
    struct esdb_error err = {0};
    int rc = q->limit > 0 ? esdb_past_is_whole_archived(db, a, q, &err) : 0;

    if (rc != 1)
        return rc < 0 ? cmd_report(rc, &err) : 0;
    cmd_message("--as-of: %s", err.text);
    return 9;
}

int cmd_report_failed_select(const struct esdb_explain *x) {
    if (x->failed == 0)
        return 0;
    cmd_message("--select: the expression failed on %" PRIu64 " event%s (first at position %" PRIu64 ": %s)", x->failed,
                x->failed == 1 ? "" : "s", x->failed_position, x->failure);
    return 8;
}

int cmd_report_select(const esdb_cursor *cursor) {
    struct esdb_explain x;

    esdb_cursor_explain(cursor, &x);
    return cmd_report_failed_select(&x);
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

/* ESDB_ENOTFOUND with the reason when there is no such stream, or was none as of then. */
static int find_stream(esdb *db, struct esdb_text name, struct esdb_error *err) {
    struct esdb_query then = {.flags = ESDB_LITERAL, .streams = &name, .stream_count = 1, .as_of = as_of_end - 1};
    struct esdb_stream_info info;
    int64_t version;
    int rc;

    if (as_of_end == UINT64_MAX)
        return esdb_stream_info(db, name, &info, err);
    rc = esdb_stream_version_at(db, name, as_of_end, &version, err);
    if (rc == 0 && version < 0 && (as_of_end == 0 || (rc = esdb_past_is_whole(db, &then, err)) == 0)) {
        snprintf(err->text, sizeof err->text, "%.*s: no such stream then", (int)name.len, name.at);
        rc = ESDB_ENOTFOUND;
    }
    return rc == 1 ? 0 : rc; /* 1: what is left does not tell */
}

int cmd_check_streams(esdb *db, const struct esdb_query *q, const char *text) {
    int status = 0;

    for (size_t i = 0; i < q->stream_count; i++) {
        char *room = cmd_alloc(q->streams[i].len + 1);
        struct esdb_error err = {0};
        struct esdb_text name;

        if (is_single(q, q->streams[i], room, &name)) {
            int rc = find_stream(db, name, &err);

            if (rc == ESDB_ENOTFOUND) {
                if (text)
                    cmd_message("%.*s: %s", (int)name.len, name.at, text);
                else
                    cmd_message("%s", err.text);
                status = 4;
            } else if (rc != 0 && status == 0) {
                status = cmd_report(rc, &err);
            }
        }
        free(room);
    }
    return status;
}

void cmd_versions(const struct cmd_args *args, struct esdb_query *q) {
    const char *dots = strstr(args->value, "..");
    char from[32] = "0";
    size_t len = dots ? (size_t)(dots - args->value) : strlen(args->value);
    bool ok = len < sizeof from && (len > 0 || (dots && dots[2] != '\0'));

    if (ok && len > 0) {
        memcpy(from, args->value, len);
        from[len] = '\0';
    }
    ok = ok && cmd_parse_number(from, &q->from_version);
    if (ok && !dots)
        q->to_version = q->from_version;
    else if (ok && dots[2] != '\0')
        ok = cmd_parse_number(dots + 2, &q->to_version);
    if (!ok)
        cmd_usage_error("%s: '%s' is no range of versions (as 3..7, 3.., ..7, 3)", args->option, args->value);
    if (q->from_version > q->to_version)
        cmd_usage_error("%s: %s is backwards", args->option, args->value);
}
