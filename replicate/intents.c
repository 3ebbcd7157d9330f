/* intents.c: which nodes are not to take part. `esdb-cluster remove` and `add` write what is wanted as events of the stream
 * "$cluster", which all nodes have; the leader brings the membership closer to that and to its configuration (members.c). So a
 * change that a leader began is finished by the next one. */
#include <stdlib.h>
#include <string.h>

#include "daemon_internal.h"

#define EVERY_MS 200u

/* {"name":"NODE"}, as esdb-cluster writes it. */
static bool name_of(const struct esdb_event *e, char out[RD_NAME_MAX + 1]) {
    static const char before[] = "{\"name\":\"", after[] = "\"}";
    size_t around = sizeof before - 1 + sizeof after - 1;
    if (e->data.len <= around || e->data.len - around > RD_NAME_MAX ||
        memcmp(e->data.at, before, sizeof before - 1) != 0)
        return false;
    size_t len = e->data.len - around;
    memcpy(out, e->data.at + sizeof before - 1, len);
    out[len] = '\0';
    return true;
}

bool rd_is_removed(const struct rd_daemon *d, const char *name) {
    for (size_t i = 0; i < d->intents.removed_count; i++)
        if (strcmp(d->intents.removed[i], name) == 0)
            return true;
    return false;
}

static void note(struct rd_intents *w, const char *name, bool removed) {
    size_t i = 0;
    while (i < w->removed_count && strcmp(w->removed[i], name) != 0)
        i++;
    if (removed && i == w->removed_count && i < RD_REMOVED_MAX)
        memcpy(w->removed[w->removed_count++], name, strlen(name) + 1);
    else if (!removed && i < w->removed_count)
        memmove(w->removed[i], w->removed[--w->removed_count], sizeof w->removed[i]);
}

static bool read_events(struct rd_daemon *d) {
    static const struct esdb_text stream = {"$cluster", 8};
    struct rd_intents *w = &d->intents;
    struct esdb_query q;
    esdb_cursor *c;
    struct esdb_event e;
    if (!w->db && esdb_open(d->options->store, ESDB_READ, &w->db, NULL) < 0)
        return false;
    esdb_query_init(&q);
    q.streams = &stream;
    q.stream_count = 1;
    q.from_version = w->version;
    if (esdb_cursor_open(w->db, &q, &c, NULL) < 0)
        return false;
    int rc;
    while ((rc = esdb_cursor_next(c, &e, NULL)) == 0) {
        char name[RD_NAME_MAX + 1];
        bool removed = e.event_type.len == 11 && memcmp(e.event_type.at, "NodeRemoved", 11) == 0;
        if (name_of(&e, name))
            note(w, name, removed);
        w->version = e.version + 1;
    }
    esdb_cursor_close(c);
    return rc == ESDB_END;
}

bool rd_intents_known(struct rd_daemon *d) {
    struct rd_intents *w = &d->intents;
    uint64_t committed = rep_committed(d->driver), now = rd_now(d);
    if (d->ready && w->term != d->term && w->least_term != d->term) { /* what earlier leaders have taken must be seen */
        w->least_term = d->term;
        w->least = rep_next_index(d->driver) - 1;
    }
    bool due = w->committed != committed && now - w->read_at >= EVERY_MS;
    bool first = d->ready && w->term != d->term && committed >= w->least;
    if ((due || first) && read_events(d)) {
        w->committed = committed;
        w->read_at = now;
        if (first)
            w->term = d->term;
    }
    return w->term == d->term;
}

void rd_intents_close(struct rd_daemon *d) {
    esdb_close(d->intents.db);
    d->intents.db = NULL;
}
