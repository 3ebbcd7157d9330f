/* Events that could not be delivered: "$parked:NAME". FORMAT.md, "Subscriptions". */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/json_path.h"
#include "format/utf8.h"
#include "json_put.h"
#include "subscription.h"

#define PARKED_TYPE "$event-parked"
#define CONFLICTS_MAX 1000

static const char *const marks[] = {
    [ESDB_PARKED_RETRY] = "$parked-retry",
    [ESDB_PARKED_DONE] = "$parked-done",
    [ESDB_PARKED_DROPPED] = "$parked-dropped",
};

static struct esdb_text stream_of(struct esdb_text name, char room[FMT_STREAM_NAME_MAX + 1]) {
    int len = snprintf(room, FMT_STREAM_NAME_MAX + 1, ES_PARKED_PREFIX "%.*s", (int)name.len, name.at);
    return (struct esdb_text){room, (size_t)len};
}

/* expected < ESDB_ANY: none. 1: conflict. */
static int append(esdb *db, struct esdb_text stream, const char *type, struct esdb_text data, int64_t expected,
                  struct esdb_error *err) {
    struct esdb_new_event e = {.stream_id = stream, .event_type = {type, strlen(type)}, .data = data, .system = true};
    struct esdb_receipt receipt;
    struct esdb_error why = {0};
    esdb_batch *b;
    int rc = esdb_batch_open(&b);
    if (rc < 0)
        return es_fail(err, rc, "%s", db->path);
    rc = esdb_batch_expect(b, stream, expected, err);
    if (rc == 0)
        rc = esdb_batch_add(b, &e, err);
    if (rc == 0) {
        rc = esdb_append(db, b, 0, &receipt, &why);
        if (rc < 0 && rc != ESDB_ECONFLICT && err && err->code == 0)
            *err = why;
    }
    esdb_batch_close(b);
    return rc == ESDB_ECONFLICT ? 1 : rc;
}

/* ---- parking ---- */

/* What a command says need not be UTF-8; each byte that is not becomes a question mark. */
static int put_any(struct es_buffer *b, const char *key, struct esdb_text text) {
    char *copy = malloc(text.len + 1);
    size_t bad;
    int rc = copy ? es_put_text(b, key) : -ENOMEM;
    if (copy && text.len)
        memcpy(copy, text.at, text.len);
    for (size_t at = 0; copy && !fmt_utf8_valid(copy + at, text.len - at, &bad); at += bad)
        copy[at + bad] = '?';
    if (rc == 0)
        rc = es_put_string(b, (struct esdb_text){copy, text.len});
    free(copy);
    return rc;
}

static int encode(struct es_buffer *b, const struct esdb_parked *p) {
    int rc = es_put_text(b, "{\"position\":");
    if (rc == 0)
        rc = es_put_number(b, p->position);
    if (rc == 0)
        rc = put_any(b, ",\"stream_id\":", p->stream_id);
    if (rc == 0)
        rc = es_put_member(b, "version", p->version);
    if (rc == 0)
        rc = put_any(b, ",\"event_type\":", p->event_type);
    if (rc == 0)
        rc = put_any(b, ",\"event_id\":", p->event_id);
    if (rc == 0)
        rc = es_put_member(b, "epoch_us", p->epoch_us);
    if (rc == 0)
        rc = put_any(b, ",\"reason\":", p->reason);
    if (rc == 0)
        rc = es_put_member(b, "attempts", p->attempts);
    if (rc == 0 && p->exit_status >= 0)
        rc = es_put_member(b, "exit_status", (uint64_t)p->exit_status);
    if (rc == 0 && p->stderr_tail.len > 0)
        rc = put_any(b, ",\"stderr\":", p->stderr_tail);
    return rc == 0 ? es_put_text(b, "}") : rc;
}

int esdb_subscription_park(esdb_subscription *s, const struct esdb_parked *p, struct esdb_error *err) {
    char room[FMT_STREAM_NAME_MAX + 1];
    struct esdb_text stream = stream_of((struct esdb_text){s->name, s->name_len}, room);
    struct es_buffer data = {0};
    int rc = encode(&data, p);
    if (rc < 0)
        es_fail(err, rc, "%s", s->name);
    else
        rc = append(s->db, stream, PARKED_TYPE, (struct esdb_text){(char *)data.at, data.len}, ESDB_ANY, err);
    es_buffer_release(&data);
    return rc;
}

/* ---- what is parked ---- */

static bool take_position(const struct esdb_event *e, uint64_t *out) {
    struct fmt_text value;
    uint64_t n = 0;
    if (!e->data.at || e->binary ||
        !fmt_json_member((struct fmt_text){e->data.at, e->data.len}, (struct fmt_text){"position", 8}, &value))
        return false;
    for (size_t i = 0; i < value.len; i++) {
        uint64_t digit = (uint64_t)(value.at[i] - '0');
        if (digit > 9 || n > (INT64_MAX - digit) / 10)
            return false;
        n = n * 10 + digit;
    }
    *out = n;
    return value.len > 0;
}

/* The place of a position in the list, or where it belongs. Most come at the end. */
static size_t place_of(const struct esdb_parked_entry *list, size_t count, uint64_t position) {
    size_t low = 0, high = count;
    if (count > 0 && list[count - 1].position < position)
        return count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (list[middle].position < position)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Follows one event of the stream. -ENOMEM. */
static int follow(struct es_buffer *b, const struct esdb_event *e) {
    struct esdb_parked_entry *list = (struct esdb_parked_entry *)(void *)b->at;
    size_t count = b->len / sizeof *list, size = sizeof *list;
    bool parks =
        e->event_type.len == strlen(PARKED_TYPE) && memcmp(e->event_type.at, PARKED_TYPE, e->event_type.len) == 0;
    bool retries = e->event_type.len == strlen(marks[ESDB_PARKED_RETRY]) &&
                   memcmp(e->event_type.at, marks[ESDB_PARKED_RETRY], e->event_type.len) == 0;
    uint64_t position;
    if (!take_position(e, &position))
        return 0;
    size_t at = place_of(list, count, position);
    bool there = at < count && list[at].position == position;
    if (retries && there)
        list[at].retry = true;
    if (retries || (!parks && !there))
        return 0;
    if (!parks) {
        memmove(list + at, list + at + 1, (count - at - 1) * size);
        b->len -= size;
        return 0;
    }
    if (!there) {
        int rc = es_buffer_reserve(b, size);
        if (rc < 0)
            return rc;
        list = (struct esdb_parked_entry *)(void *)b->at;
        memmove(list + at + 1, list + at, (count - at) * size);
        b->len += size;
    }
    list[at] = (struct esdb_parked_entry){.position = position, .version = e->version};
    return 0;
}

/* *last: version of the newest event, -1: none. */
static int load(esdb *db, struct esdb_text stream, struct es_buffer *list, int64_t *last, struct esdb_error *err) {
    struct esdb_query q;
    esdb_cursor *cursor;
    struct esdb_event e;
    esdb_query_init(&q);
    q.streams = &stream;
    q.stream_count = 1;
    q.flags = ESDB_WITH_SYSTEM | ESDB_LITERAL;
    *last = -1;
    int rc = esdb_cursor_open(db, &q, &cursor, err);
    if (rc < 0)
        return rc;
    while ((rc = esdb_cursor_next(cursor, &e, err)) == 0) {
        *last = (int64_t)e.version;
        if ((rc = follow(list, &e)) < 0) {
            es_fail(err, rc, "%s", db->path);
            break;
        }
    }
    esdb_cursor_close(cursor);
    return rc == ESDB_END ? 0 : rc;
}

int esdb_parked_list(esdb *db, struct esdb_text name, struct esdb_parked_entry **list, size_t *count,
                     struct esdb_error *err) {
    char room[FMT_STREAM_NAME_MAX + 1];
    struct es_buffer found = {0};
    int64_t last;
    int rc = es_sub_check_name(name, err);
    if (rc == 0)
        rc = load(db, stream_of(name, room), &found, &last, err);
    if (rc < 0) {
        es_buffer_release(&found);
        return rc;
    }
    *list = (struct esdb_parked_entry *)(void *)found.at;
    *count = found.len / sizeof **list;
    return 0;
}

int esdb_parked_mark(esdb *db, struct esdb_text name, uint64_t position, enum esdb_parked_mark mark,
                     struct esdb_error *err) {
    char room[FMT_STREAM_NAME_MAX + 1], data[64];
    int rc = es_sub_check_name(name, err);
    if (rc < 0)
        return rc;
    struct esdb_text stream = stream_of(name, room);
    rc = 1;
    for (int i = 0; rc == 1 && i < CONFLICTS_MAX; i++) {
        struct es_buffer found = {0};
        int64_t last;
        rc = load(db, stream, &found, &last, err);
        const struct esdb_parked_entry *list = (struct esdb_parked_entry *)(void *)found.at;
        size_t count = found.len / sizeof *list, at = place_of(list, count, position);
        bool there = at < count && list[at].position == position, again = there && list[at].retry;
        es_buffer_release(&found);
        if (rc < 0)
            return rc;
        if (!there)
            return es_fail(err, ESDB_ENOTFOUND, "%.*s: no event of position %llu is parked", (int)name.len, name.at,
                           (unsigned long long)position);
        if (mark == ESDB_PARKED_RETRY && again)
            return 0;
        int len = snprintf(data, sizeof data, "{\"position\":%llu}", (unsigned long long)position);
        rc = append(db, stream, marks[mark], (struct esdb_text){data, (size_t)len}, last, err);
    }
    return rc == 1 ? es_fail(err, ESDB_EUNAVAILABLE, "%.*s: others change it all the time", (int)name.len, name.at)
                   : rc;
}
