/* tail_parked.c: parking events, and giving those that were parked once more. See tail_named.h. */
#include <stdlib.h>
#include <string.h>

#include "tail_named.h"

bool cmd_named_is_retry(const struct named *n, uint64_t position) {
    for (size_t i = 0; i < n->retry_count; i++)
        if (n->retries[i] == position)
            return true;
    return false;
}

static void forget_retry(struct named *n, uint64_t position) {
    for (size_t i = 0; i < n->retry_count; i++)
        if (n->retries[i] == position) {
            n->retries[i] = n->retries[--n->retry_count];
            return;
        }
}

int cmd_named_park(struct named *n, const struct esdb_parked *p) {
    struct esdb_error err = {0};
    int rc = esdb_subscription_park(n->sub, p, &err);

    if (rc != 0)
        return cmd_report(rc, &err);
    cmd_message("%s: position %llu (%.*s, version %llu) is parked: %.*s", n->t->name, (unsigned long long)p->position,
                (int)p->stream_id.len, p->stream_id.at, (unsigned long long)p->version, (int)p->reason.len,
                p->reason.at);
    forget_retry(n, p->position);
    cmd_named_counts(n, p->stream_id)->parked++;
    return 0;
}

int cmd_named_retried(struct named *n, uint64_t position) {
    struct esdb_error err = {0};
    int rc = esdb_parked_mark(n->db, cmd_text(n->t->name), position, ESDB_PARKED_DONE, &err);

    forget_retry(n, position);
    return rc == 0 || rc == ESDB_ENOTFOUND ? 0 : cmd_report(rc, &err);
}

int cmd_named_give_one(struct named *n, uint64_t position, bool ours,
                       bool (*give)(void *context, const struct esdb_event *e), void *context) {
    struct esdb_error err = {0};
    struct esdb_query q;
    struct esdb_event e;
    esdb_cursor *cursor;
    bool given = true;
    int rc;

    esdb_query_init(&q);
    q.flags = ESDB_ALL | ESDB_WITH_SYSTEM;
    q.from_position = q.to_position = position;
    if ((rc = esdb_cursor_open(n->db, &q, &cursor, &err)) != 0)
        return cmd_report(rc, &err);
    rc = esdb_cursor_next(cursor, &e, &err);
    if (rc == 0 && n->group && ours && !cmd_group_has(n, e.stream_id)) {
        esdb_cursor_close(cursor);
        return 0;
    }
    if (rc == 0 && n->group && ours)
        cmd_group_retry(n, e.stream_id);
    if (rc == 0 && !(given = give(context, &e)) && n->group && ours)
        cmd_group_settle(n, e.stream_id, position, false);
    if (rc == 0 && given) {
        n->retries = cmd_grow(n->retries, (n->retry_count + 1) * sizeof *n->retries);
        n->retries[n->retry_count++] = position;
    }
    esdb_cursor_close(cursor);
    if (rc == ESDB_END) /* deleted since: nothing is left to be delivered */
        return cmd_named_retried(n, position);
    return rc != 0 ? cmd_report(rc, &err) : given ? 0 : NAMED_REFUSED;
}

int cmd_named_give_retries(struct named *n, bool (*give)(void *context, const struct esdb_event *e), void *context) {
    struct esdb_parked_entry *list;
    struct esdb_error err = {0};
    size_t count;
    int rc = esdb_parked_list(n->db, cmd_text(n->t->name), &list, &count, &err);

    if (rc != 0)
        return cmd_report(rc, &err);
    for (size_t i = 0; i < count && rc == 0; i++)
        if (list[i].retry && !cmd_named_is_retry(n, list[i].position))
            rc = cmd_named_give_one(n, list[i].position, true, give, context);
    free(list);
    return rc == NAMED_REFUSED ? 0 : rc;
}
