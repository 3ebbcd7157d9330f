/* sub_change.c: esdb-sub ack, seek, remove and parked. */
#include <stdlib.h>
#include <string.h>

#include "sub.h"
#include "tail.h"

/* What was done, for --json: opens an object. */
static void say(const char *name, const char *done) {
    cmd_out_text(cmd_stdout(), "{\"name\":");
    cmd_out_json(cmd_stdout(), cmd_text(name));
    cmd_out_printf(cmd_stdout(), ",\"done\":\"%s\"", done);
}

static int remove_one(esdb *db, const struct sub_request *r, const char *name) {
    struct esdb_error err = {0};
    esdb_subscription *s = NULL;
    int rc = esdb_subscription_open(db, cmd_text(name), 0, &s, &err);

    if (rc == 0)
        rc = esdb_subscription_remove(s, r->force ? ESDB_FORCE : 0, &err);
    esdb_subscription_close(s);
    if (rc != 0)
        return cmd_report(rc, &err);
    if (r->json) {
        say(name, "remove");
        cmd_out_text(cmd_stdout(), "}\n");
    }
    return 0;
}

static uint64_t parse_position(const char *text) {
    uint64_t position;

    if (!cmd_parse_number(strncmp(text, "pos:", 4) == 0 ? text + 4 : text, &position) || position > INT64_MAX)
        cmd_usage_error("'%s' is no POSITION", text);
    return position;
}

/* ack or seek. A code. */
static int move(esdb *db, const struct sub_request *r, const char *name, uint64_t position,
                const struct tail_from *from, struct esdb_error *err) {
    struct esdb_subscription_info info;
    esdb_subscription *s = NULL;
    int rc = esdb_subscription_open(db, cmd_text(name), 0, &s, err);

    if (rc == 0 && r->action == SEEK)
        rc = cmd_tail_find_from(db, from, &position, err);
    if (rc == 0)
        rc = r->action == ACK ? esdb_subscription_ack(s, position, err)
                              : esdb_subscription_seek(s, position, r->force ? ESDB_FORCE : 0, err);
    if (rc == 0 && r->json && (rc = esdb_subscription_info(s, &info, err)) == 0) {
        say(name, r->action == ACK ? "ack" : "seek");
        cmd_out_printf(cmd_stdout(), ",\"checkpoint\":%llu}\n", (unsigned long long)info.position);
    }
    esdb_subscription_close(s);
    return rc;
}

int cmd_sub_change(esdb *db, const struct sub_request *r, char **operands, int count) {
    struct esdb_error err = {0};
    struct tail_from from = {0};
    uint64_t position = 0;
    int status = 0;

    if (r->action == REMOVE) {
        for (int i = 0; i < count; i++) {
            int failed = remove_one(db, r, operands[i]);

            status = status ? status : failed;
        }
        return status;
    }
    if (r->action == ACK)
        position = parse_position(operands[1]);
    else
        from = cmd_tail_parse_from("seek", operands[1]);

    int rc = move(db, r, operands[0], position, &from, &err);

    return rc == 0 ? 0 : cmd_report(rc, &err);
}

/* ---- parked ---- */

/* Calls fn with the one event that has this version of a stream, or this position. */
static int print_event(esdb *db, const char *stream, uint64_t version, uint64_t position, bool whole,
                       struct esdb_error *err) {
    struct esdb_text name = cmd_text(stream);
    struct cmd_out *out = cmd_stdout();
    struct esdb_query q;
    struct esdb_event e;
    esdb_cursor *cursor;
    int rc;

    esdb_query_init(&q);
    q.flags = ESDB_WITH_SYSTEM | ESDB_LITERAL | (whole ? ESDB_ALL : 0);
    if (whole) {
        q.from_position = q.to_position = position;
    } else {
        q.streams = &name;
        q.stream_count = 1;
        q.from_version = q.to_version = version;
    }
    if ((rc = esdb_cursor_open(db, &q, &cursor, err)) != 0)
        return rc;
    if ((rc = esdb_cursor_next(cursor, &e, err)) == 0 && whole) {
        cmd_print_event(out, &e);
    } else if (rc == 0) {
        cmd_out_add(out, e.data.at, e.data.len);
        out->len--; /* before the brace */
        cmd_out_printf(out, ",\"parked_us\":%llu", (unsigned long long)e.epoch_us);
    }
    esdb_cursor_close(cursor);
    return rc;
}

static bool is_named(uint64_t position, char **positions, int count) {
    for (int i = 0; i < count; i++)
        if (parse_position(positions[i]) == position)
            return true;
    return false;
}

static int list_parked(esdb *db, const char *action, const char *name, const struct esdb_parked_entry *list, size_t n,
                       char **positions, int count) {
    size_t size = strlen(name) + sizeof "$parked:";
    char *stream = cmd_alloc(size);
    struct esdb_error err = {0};
    int rc = 0;

    memcpy(stream, "$parked:", 8);
    memcpy(stream + 8, name, strlen(name));
    for (size_t i = 0; i < n && rc == 0; i++) {
        if (count > 0 && !is_named(list[i].position, positions, count))
            continue;
        rc = print_event(db, stream, list[i].version, 0, false, &err);
        if (rc == 0)
            cmd_out_printf(cmd_stdout(), ",\"retry\":%s", list[i].retry ? "true" : "false");
        if (rc == 0 && strcmp(action, "show") == 0) {
            cmd_out_text(cmd_stdout(), ",\"event\":");
            rc = print_event(db, NULL, 0, list[i].position, true, &err);
            if (rc == 0)
                cmd_stdout()->len--; /* its newline */
        }
        cmd_out_text(cmd_stdout(), "}\n");
    }
    free(stream);
    return rc == 0 || rc == ESDB_END ? 0 : cmd_report(rc, &err);
}

static int mark(esdb *db, const struct sub_request *r, const char *name, uint64_t position, enum esdb_parked_mark as) {
    struct esdb_error err = {0};
    int rc = esdb_parked_mark(db, cmd_text(name), position, as, &err);

    if (rc != 0)
        return cmd_report(rc, &err);
    if (r->json) {
        say(name, as == ESDB_PARKED_RETRY ? "retry" : "drop");
        cmd_out_printf(cmd_stdout(), ",\"position\":%llu}\n", (unsigned long long)position);
    }
    return 0;
}

int cmd_sub_parked(esdb *db, const struct sub_request *r, char **operands, int count) {
    const char *action = operands[0], *name = operands[1];
    bool prints = strcmp(action, "list") == 0 || strcmp(action, "show") == 0;
    enum esdb_parked_mark as = strcmp(action, "drop") == 0 ? ESDB_PARKED_DROPPED : ESDB_PARKED_RETRY;
    struct esdb_parked_entry *list = NULL;
    struct esdb_error err = {0};
    esdb_subscription *s = NULL;
    size_t n = 0;
    int status = 0, rc;

    if (!prints && as == ESDB_PARKED_RETRY && strcmp(action, "retry") != 0)
        cmd_usage_error("parked: '%s' is none of list, show, retry, drop", action);
    if (!prints && r->all == (count > 2))
        cmd_usage_error("parked %s: name POSITIONs, or say --every", action);
    for (int i = 2; i < count; i++)
        (void)parse_position(operands[i]);
    if ((rc = esdb_subscription_open(db, cmd_text(name), 0, &s, &err)) != 0)
        return cmd_report(rc, &err);
    esdb_subscription_close(s);
    if ((rc = esdb_parked_list(db, cmd_text(name), &list, &n, &err)) != 0)
        return cmd_report(rc, &err);
    if (prints)
        status = list_parked(db, action, name, list, n, operands + 2, count - 2);
    for (size_t i = 0; i < n && r->all && !prints && status == 0; i++)
        status = mark(db, r, name, list[i].position, as);
    for (int i = 2; i < count && !prints; i++) {
        int failed = mark(db, r, name, parse_position(operands[i]), as);

        status = status ? status : failed;
    }
    free(list);
    return status == 0 && r->exit_status && n == 0 ? 4 : status;
}
