#include "link.h"

#include <errno.h>

#include "error.h"
#include "format/json_path.h"
#include "format/limits.h"

static const struct esdb_text keys[] = {
    [ES_LINK_CAUSATION] = {"causation_id", 12},
    [ES_LINK_CORRELATION] = {"correlation_id", 14},
};

static bool equal(struct esdb_text a, struct esdb_text b) {
    return a.len == b.len && memcmp(a.at, b.at, a.len) == 0;
}

/* ---- what an event says ---- */

/* The value of a member of the metadata that is a name: a string or a number. */
static bool member(const struct esdb_event *e, struct esdb_text key, struct fmt_text *out) {
    struct fmt_text value;
    if (!e->metadata.at || !fmt_json_member((struct fmt_text){e->metadata.at, e->metadata.len},
                                            (struct fmt_text){key.at, key.len}, &value))
        return false;
    *out = value;
    return (value.at[0] == '"' && value.len > 2) || value.at[0] == '-' || (value.at[0] >= '0' && value.at[0] <= '9');
}

int es_link_cause(struct es_link_finder *f, const struct esdb_event *e, struct esdb_text *out, struct esdb_error *err) {
    struct fmt_text value;
    if (!member(e, keys[ES_LINK_CAUSATION], &value))
        return 0;
    if (value.at[0] != '"') {
        *out = (struct esdb_text){value.at, value.len};
    } else if (!memchr(value.at, '\\', value.len)) {
        *out = (struct esdb_text){value.at + 1, value.len - 2};
    } else {
        f->room.len = 0;
        if (es_buffer_reserve(&f->room, value.len) < 0)
            return es_fail(err, -ENOMEM, "the cause of event %llu", (unsigned long long)e->position);
        *out = (struct esdb_text){(char *)f->room.at, fmt_json_decode(value, (char *)f->room.at, value.len)};
    }
    return out->len > 0;
}

bool esdb_event_names(const struct esdb_event *e, struct esdb_text key, struct esdb_text value) {
    struct fmt_text found;
    if (!member(e, key, &found))
        return false;
    if (found.at[0] == '"')
        return fmt_json_string_equal(found, (struct fmt_text){value.at, value.len});
    return equal((struct esdb_text){found.at, found.len}, value);
}

/* ---- finding ---- */

int es_links_open(struct es_links *l, struct es_link_finder *f, enum es_link_key key, struct esdb_text value,
                  unsigned flags, uint64_t from, uint64_t to, struct esdb_error *err) {
    struct esdb_where where = {.value = value};
    struct esdb_query q;
    *l = (struct es_links){.finder = f, .key = key, .value = value};
    if (value.len == 0 || (key == ES_LINK_ID && value.len > FMT_EVENT_ID_MAX))
        return 0; /* without a cursor: nothing is found */
    esdb_query_init(&q);
    q.flags = ESDB_ALL | f->flags | flags;
    q.from_position = from;
    q.to_position = to;
    if (key == ES_LINK_ID) {
        q.ids = &value;
        q.id_count = 1;
    } else {
        where.key = keys[key];
        q.where = &where;
        q.where_count = 1;
    }
    return esdb_cursor_open(f->db, &q, &l->cursor, err);
}

int es_links_next(struct es_links *l, struct esdb_event *out, struct esdb_error *err) {
    while (l->cursor) {
        struct esdb_error wrong = {0};
        int rc = esdb_cursor_next(l->cursor, out, &wrong);
        if (rc == ESDB_END)
            break;
        if (rc == ESDB_ECORRUPT) {
            if (l->finder->damage.code == 0)
                l->finder->damage = wrong;
            continue;
        }
        if (rc < 0) {
            if (err && err->code == 0)
                *err = wrong;
            return rc;
        }
        /* An index may point at more events than those that are meant, and `where` takes true and null as names. */
        if (l->key == ES_LINK_ID ? equal(out->event_id, l->value) : esdb_event_names(out, keys[l->key], l->value))
            return 0;
    }
    return ESDB_END;
}

void es_links_close(struct es_links *l) {
    esdb_cursor_close(l->cursor);
    l->cursor = NULL;
}
