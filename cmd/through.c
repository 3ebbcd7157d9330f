/* through.c: see through.h. */
#include "through.h"

int cmd_through_open(struct cmd_through *t, esdb *db, const struct esdb_query *q, bool with_archive, const char *where,
                     struct esdb_error *err) {
    *t = (struct cmd_through){.reverse = q->flags & ESDB_REVERSE, .left = q->limit};
    int rc = esdb_cursor_open(db, q, &t->store, err);
    if (rc == 0 && with_archive)
        rc = esdb_archive_open(db, where, ESDB_READ, &t->place, err);
    if (rc == 0 && with_archive)
        rc = esdb_archive_cursor_open(t->place, q, &t->archive, err);
    if (rc < 0)
        cmd_through_close(t);
    return rc;
}

void cmd_through_close(struct cmd_through *t) {
    esdb_archive_cursor_close(t->archive);
    esdb_archive_close(t->place);
    if (t->store)
        esdb_cursor_close(t->store);
    *t = (struct cmd_through){0};
}

/* Asks a source that has nothing to give yet. */
static int ask(struct cmd_through *t, int i, struct esdb_error *err) {
    if (t->asked[i])
        return t->rc[i];
    t->rc[i] = i == 0 ? esdb_cursor_next(t->store, &t->event[0], err)
                      : esdb_archive_cursor_next(t->archive, &t->event[1], err);
    t->asked[i] = t->rc[i] >= 0; /* damage is told, then the next one is asked for */
    return t->rc[i];
}

/* Which one comes first; the store's when both have it. */
static int choose(const struct cmd_through *t) {
    if (t->rc[0] != 0 || t->rc[1] != 0)
        return t->rc[0] != 0;
    uint64_t a = t->event[0].position, b = t->event[1].position;
    return a == b ? 0 : (a > b) != t->reverse;
}

int cmd_through_next(struct cmd_through *t, struct esdb_event *out, struct esdb_error *err) {
    if (!t->archive)
        return esdb_cursor_next(t->store, out, err);
    if (t->left == 0)
        return ESDB_END;
    for (int i = 0; i < 2; i++)
        if (ask(t, i, err) < 0)
            return t->rc[i];
    if (t->rc[0] != 0 && t->rc[1] != 0)
        return ESDB_END;
    int i = choose(t);
    *out = t->event[i];
    t->asked[i] = false;
    if (i == 0 && t->rc[1] == 0 && t->event[1].position == out->position)
        t->asked[1] = false; /* the same event */
    t->left--;
    return 0;
}

int cmd_through_report(const struct cmd_through *t) {
    struct esdb_explain x;
    int status = cmd_report_select(t->store);
    if (!t->archive)
        return status;
    esdb_archive_cursor_explain(t->archive, &x);
    int archived = cmd_report_failed_select(&x);
    return status ? status : archived;
}
