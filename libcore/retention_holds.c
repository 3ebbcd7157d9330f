/* What retention must not take away: versions that no snapshot covers, events that a subscription has still to see. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/json_path.h"
#include "retention.h"
#include "stream_names.h"

#define TRIES 5
#define SUB_PREFIX "$sub:"
#define PART_PREFIX "$subpart:"
#define SNAPSHOT_PREFIX "$snapshot:"

static struct fmt_text member(struct esdb_text object, const char *key) {
    struct fmt_text value = {NULL, 0};
    if (object.at)
        (void)fmt_json_member((struct fmt_text){object.at, object.len}, (struct fmt_text){key, strlen(key)}, &value);
    return value;
}

static bool number(struct fmt_text value, uint64_t *out) {
    uint64_t n = 0;
    for (size_t i = 0; i < value.len; i++) {
        uint64_t digit = (uint64_t)(value.at[i] - '0');
        if (digit > 9 || n > (INT64_MAX - digit) / 10)
            return false;
        n = n * 10 + digit;
    }
    *out = n;
    return value.len > 0;
}

static bool is_type(const struct esdb_event *e, const char *type) {
    return e->event_type.len == strlen(type) && memcmp(e->event_type.at, type, e->event_type.len) == 0;
}

/* One event of a system stream: the newest, or that of a version. It leads into *cursor, the caller's. ESDB_END: none. */
static int one_event(esdb *db, struct esdb_text stream, uint64_t version, esdb_cursor **cursor, struct esdb_event *out,
                     struct esdb_error *err) {
    struct esdb_query q;
    esdb_query_init(&q);
    q.flags = ESDB_LITERAL | ESDB_WITH_SYSTEM | ESDB_REVERSE;
    q.streams = &stream;
    q.stream_count = 1;
    q.limit = 1;
    if (version != UINT64_MAX)
        q.from_version = q.to_version = version;
    int rc = esdb_cursor_open(db, &q, cursor, err);
    if (rc < 0)
        return rc;
    rc = esdb_cursor_next(*cursor, out, err);
    if (rc != 0)
        esdb_cursor_close(*cursor);
    return rc;
}

/* ---- snapshots ---- */

int es_newest_snapshot(esdb *db, struct esdb_text stream, int64_t *version, struct esdb_error *err) {
    char name[FMT_STREAM_NAME_MAX];
    size_t prefix = sizeof SNAPSHOT_PREFIX - 1;
    esdb_cursor *cursor;
    struct esdb_event e;
    uint64_t latest;
    *version = -1;
    if (stream.len > sizeof name - prefix)
        return 0;
    memcpy(name, SNAPSHOT_PREFIX, prefix);
    memcpy(name + prefix, stream.at, stream.len);
    int rc = one_event(db, (struct esdb_text){name, prefix + stream.len}, UINT64_MAX, &cursor, &e, err);
    if (rc != 0)
        return rc < 0 ? rc : 0;
    if ((is_type(&e, "$snapshot-saved") || is_type(&e, "$snapshot-deleted")) &&
        number(member(e.metadata, "latest"), &latest))
        *version = (int64_t)latest;
    esdb_cursor_close(cursor);
    return 0;
}

/* ---- subscriptions ----
 *
 * The newest event of "$sub:NAME" has the position in its data, and the version of the event that holds the selector as
 * `record`. Of a subscription in N parts the positions are those of "$subpart:K/N:NAME", or `start`. */

static int add_text(struct es_buffer *b, struct esdb_text t, size_t *at) {
    *at = b->len;
    return es_buffer_add(b, t.at, t.len);
}

/* The stream names of a selector. What it says of streams otherwise, or not clearly, is taken for: all. */
static int add_streams(struct es_holds *h, struct es_hold *hold, struct fmt_text selector) {
    struct esdb_text s = {selector.at, selector.len};
    struct fmt_text list = member(s, "streams"), name;
    struct fmt_json_walk w;
    hold->streams_at = h->text.len;
    hold->literal = member(s, "literal").len > 0;
    hold->all = !list.at || member(s, "regex").len > 0;
    fmt_json_walk_init(&w, list);
    while (!hold->all && fmt_json_element(&w, &name)) {
        uint32_t len = 0;
        size_t at = h->text.len;
        int rc = es_buffer_reserve(&h->text, name.len + sizeof len);
        if (rc < 0)
            return rc;
        size_t decoded = fmt_json_decode(name, (char *)h->text.at + at + sizeof len, name.len);
        if (decoded == SIZE_MAX) {
            hold->all = true;
            break;
        }
        len = (uint32_t)decoded;
        memcpy(h->text.at + at, &len, sizeof len);
        h->text.len += sizeof len + len;
        hold->stream_count++;
    }
    return 0;
}

/* The position of one part: its own newest event says it, else everything from `start` on is open. */
static int part_position(esdb *db, struct esdb_text sub, uint32_t part, uint32_t parts, uint64_t start, uint64_t *out,
                         struct esdb_error *err) {
    char name[FMT_STREAM_NAME_MAX + 64];
    esdb_cursor *cursor;
    struct esdb_event e;
    int len = snprintf(name, sizeof name, PART_PREFIX "%u/%u:%.*s", part, parts, (int)sub.len, sub.at);
    *out = start;
    int rc = one_event(db, (struct esdb_text){name, (size_t)len}, UINT64_MAX, &cursor, &e, err);
    if (rc != 0)
        return rc < 0 ? rc : 0;
    if (!number(member(e.data, "position"), out))
        *out = start;
    esdb_cursor_close(cursor);
    return 0;
}

static int add_parts(esdb *db, struct es_holds *h, struct es_hold *hold, struct esdb_text sub, struct esdb_text record,
                     struct esdb_error *err) {
    uint64_t parts = 0, start = 0;
    int rc = 0;
    if (!number(member(record, "partitions"), &parts) && !number(member(record, "group"), &parts))
        return es_buffer_add(&h->hold, hold, sizeof *hold);
    (void)number(member(record, "start"), &start);
    hold->parts = (uint32_t)parts;
    for (hold->part = 1; rc == 0 && hold->part <= parts; hold->part++) {
        rc = part_position(db, sub, hold->part, hold->parts, start, &hold->position, err);
        if (rc == 0)
            rc = es_buffer_add(&h->hold, hold, sizeof *hold);
    }
    return rc;
}

/* `e` is the newest event of "$sub:NAME". ESDB_END: its record is missing, and not `anyway`. */
static int add_subscription(esdb *db, struct es_holds *h, struct esdb_text stream, const struct esdb_event *e,
                            bool anyway, struct esdb_error *err) {
    struct esdb_text sub = {stream.at + sizeof SUB_PREFIX - 1, stream.len - (sizeof SUB_PREFIX - 1)};
    struct es_hold hold = {.name_len = sub.len};
    uint64_t record = 0;
    esdb_cursor *cursor;
    struct esdb_event r;
    if (is_type(e, "$sub-removed") || !number(member(e->data, "position"), &hold.position))
        return 0;
    if (!number(member(e->data, "record"), &record))
        record = e->version;
    int rc = add_text(&h->text, sub, &hold.name_at);
    if (rc == 0)
        rc = one_event(db, stream, record, &cursor, &r, err);
    if (rc == ESDB_END && !anyway)
        return rc;
    if (rc == ESDB_END) { /* which streams is not known any more */
        hold.all = true;
        return es_buffer_add(&h->hold, &hold, sizeof hold);
    }
    if (rc < 0)
        return rc;
    rc = add_streams(h, &hold, member(r.data, "selector"));
    if (rc == 0)
        rc = add_parts(db, h, &hold, sub, r.data, err);
    esdb_cursor_close(cursor);
    return rc;
}

/* The record that the newest event names may go while it is read, once a newer one says it again: then that is read. */
static int load_one(esdb *db, struct es_holds *h, struct esdb_text stream, struct esdb_error *err) {
    int rc = ESDB_END;
    for (int tries = 1; rc == ESDB_END; tries++) {
        esdb_cursor *cursor;
        struct esdb_event e;
        rc = one_event(db, stream, UINT64_MAX, &cursor, &e, err);
        if (rc != 0)
            return rc < 0 ? rc : 0;
        rc = add_subscription(db, h, stream, &e, tries == TRIES, err);
        esdb_cursor_close(cursor);
    }
    return rc;
}

int es_holds_load(esdb *db, struct es_holds *out, struct esdb_error *err) {
    struct esdb_text *streams;
    size_t count;
    *out = (struct es_holds){{0}, {0}};
    int rc = es_stream_names(db, (struct esdb_text){SUB_PREFIX, sizeof SUB_PREFIX - 1}, &streams, &count, err);
    if (rc < 0)
        return rc;
    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = load_one(db, out, streams[i], err);
    free(streams);
    return rc == -ENOMEM ? es_fail(err, rc, "subscriptions") : rc;
}

void es_holds_release(struct es_holds *h) {
    es_buffer_release(&h->hold);
    es_buffer_release(&h->text);
}

static bool wants(const struct es_holds *h, const struct es_hold *hold, struct esdb_text stream) {
    size_t at = hold->streams_at;
    bool found = hold->all;
    for (size_t i = 0; !found && i < hold->stream_count; i++) {
        uint32_t len;
        memcpy(&len, h->text.at + at, sizeof len);
        struct esdb_text pattern = {(const char *)h->text.at + at + sizeof len, len};
        found = hold->literal ? pattern.len == stream.len && memcmp(pattern.at, stream.at, stream.len) == 0
                              : esdb_pattern_match(pattern, stream);
        at += sizeof len + len;
    }
    return found && (hold->parts == 0 || esdb_partition(stream, hold->parts) == hold->part);
}

uint64_t es_holds_find(const struct es_holds *h, struct esdb_text stream, struct esdb_text *holder) {
    uint64_t lowest = UINT64_MAX;
    const struct es_hold *hold = (const struct es_hold *)(const void *)h->hold.at;
    for (size_t i = 0; i < h->hold.len / sizeof *hold; i++)
        if (hold[i].position < lowest && wants(h, &hold[i], stream)) {
            lowest = hold[i].position;
            *holder = (struct esdb_text){(const char *)h->text.at + hold[i].name_at, hold[i].name_len};
        }
    return lowest;
}
