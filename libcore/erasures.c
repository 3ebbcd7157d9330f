/* What one store has erased or closed for ever, another one of the same history shall not show either: for what is restored
 * from an older backup, or up to an earlier position. The decisions are events in "$meta:STREAM". */
#include "erasures.h"

#include <string.h>

#include "format/json_path.h"
#include "life.h"
#include "visible.h"

#define ERASED_TYPE "$event-erased"
#define CLOSED_TYPE "$stream-closed"

struct taking {
    esdb *to;
    uint64_t count;
    struct esdb_error *err;
};

static bool version_of(const struct esdb_event *e, uint64_t *out) {
    struct fmt_text value;
    if (!e->data.at || e->binary ||
        !fmt_json_member((struct fmt_text){e->data.at, e->data.len}, (struct fmt_text){"version", 7}, &value))
        return false;
    *out = 0;
    for (size_t i = 0; i < value.len; i++) {
        uint64_t digit = (uint64_t)(value.at[i] - '0');
        if (digit > 9 || *out > (INT64_MAX - digit) / 10)
            return false;
        *out = *out * 10 + digit;
    }
    return value.len > 0;
}

/* Is the event there, and is it the one that was erased: older than the decision? */
static int is_shown(struct taking *t, struct esdb_text stream, uint64_t version, const struct esdb_event *decision,
                    bool *out) {
    struct esdb_query q;
    struct esdb_event e;
    esdb_cursor *c;
    esdb_query_init(&q);
    q.flags = ESDB_LITERAL;
    q.streams = &stream;
    q.stream_count = 1;
    q.from_version = q.to_version = version;
    int rc = esdb_cursor_open(t->to, &q, &c, t->err);
    if (rc < 0)
        return rc;
    rc = esdb_cursor_next(c, &e, t->err);
    *out = rc == 0 && e.position < decision->position && e.epoch_us <= decision->epoch_us;
    esdb_cursor_close(c);
    return rc < 0 ? rc : 0;
}

/* Is it truncated, so that only an archive could bring it back? */
static int is_truncated(struct taking *t, struct esdb_text stream, uint64_t version, bool *out) {
    struct es_stream_life life;
    int rc = es_life_of(t->to, stream, UINT64_MAX, &life, t->err);
    *out = rc == 0 && !life.closed && version < life.truncated_before;
    return rc;
}

static int take_erasure(struct taking *t, struct esdb_text stream, const struct esdb_event *decision) {
    uint64_t version;
    bool shown = false, truncated = false;
    if (!version_of(decision, &version))
        return 0;
    int rc = is_shown(t, stream, version, decision, &shown);
    if (rc == 0 && !shown)
        rc = is_truncated(t, stream, version, &truncated);
    if (rc == 0 && (shown || truncated))
        rc = es_version_erase(t->to, stream, version, (struct esdb_text){"restored", 8}, t->err);
    t->count += rc == 0 && shown;
    return rc;
}

static int close_stream(struct taking *t, struct esdb_text stream) {
    struct esdb_error why = {0};
    int rc = esdb_stream_delete(t->to, stream, ESDB_ANY, true, NULL, &why);
    t->count += rc == 0;
    if (rc == ESDB_ENOTFOUND) /* never there, or closed already */
        return 0;
    if (rc < 0 && t->err && t->err->code == 0)
        *t->err = why;
    return rc;
}

/* Of a closed stream that was forgotten only a hash of its name is known. `closed`: "$closed:HASH". */
static int close_hashed(struct taking *t, struct esdb_text closed) {
    struct esdb_stream_list *l;
    struct esdb_stream_info s;
    char name[FMT_CLOSED_LEN], found[FMT_STREAM_NAME_MAX];
    struct esdb_text stream = {found, 0};
    int rc = esdb_stream_list_open(t->to, (struct esdb_text){0}, 0, &l, t->err);
    if (rc < 0)
        return rc;
    while ((rc = esdb_stream_list_next(l, &s, t->err)) == 0) {
        fmt_life_closed_name((struct fmt_text){s.stream_id.at, s.stream_id.len}, name);
        if (closed.len == sizeof name - FMT_META_PREFIX_LEN &&
            memcmp(closed.at, name + FMT_META_PREFIX_LEN, closed.len) == 0) {
            memcpy(found, s.stream_id.at, stream.len = s.stream_id.len);
            break;
        }
    }
    esdb_stream_list_close(l);
    return rc == 0 ? close_stream(t, stream) : rc == ESDB_END ? 0 : rc;
}

static int take(struct taking *t, const struct esdb_event *e) {
    struct esdb_text stream = {e->stream_id.at + FMT_META_PREFIX_LEN, e->stream_id.len - FMT_META_PREFIX_LEN};
    if (e->event_type.len == sizeof ERASED_TYPE - 1 && memcmp(e->event_type.at, ERASED_TYPE, e->event_type.len) == 0)
        return take_erasure(t, stream, e);
    return stream.len > 0 && stream.at[0] == '$' ? close_hashed(t, stream) : close_stream(t, stream);
}

int es_erasures_take(esdb *from, esdb *to, uint64_t *count, struct esdb_error *err) {
    static const struct esdb_text all = {FMT_META_PREFIX "*", FMT_META_PREFIX_LEN + 1};
    static const struct esdb_text types[] = {{ERASED_TYPE, sizeof ERASED_TYPE - 1},
                                             {CLOSED_TYPE, sizeof CLOSED_TYPE - 1}};
    struct taking t = {.to = to, .err = err};
    struct esdb_query q;
    struct esdb_event e;
    struct es_visible visible;
    esdb_cursor *c;
    if (memcmp(from->settings.user.store_id, to->settings.user.store_id, sizeof from->settings.user.store_id) != 0)
        return es_fail(err, ESDB_EUSAGE, "%s: is another store, whose erasures mean nothing here", from->path);
    int rc = es_visible_all(from, &visible, err); /* one that is missed comes back */
    if (rc < 0)
        return rc;
    esdb_query_init(&q);
    q.flags = ESDB_WITH_SYSTEM;
    q.streams = &all;
    q.stream_count = 1;
    q.types = types;
    q.type_count = 2;
    rc = esdb_cursor_open(from, &q, &c, err);
    if (rc < 0)
        return rc;
    while (rc == 0 && (rc = esdb_cursor_next(c, &e, err)) == 0)
        rc = take(&t, &e);
    esdb_cursor_close(c);
    *count += t.count;
    return rc == ESDB_END ? 0 : rc;
}
