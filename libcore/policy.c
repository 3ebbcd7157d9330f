/* Standing policies: how much of a stream may stay. Events in "$meta:$policy:PATTERN", the newest of which counts. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "format/json_path.h"
#include "format/limits.h"
#include "retention.h"
#include "snapshot.h"
#include "stream_names.h"
#include "subscription.h"

#define PREFIX "$meta:$policy:"
#define PREFIX_LEN (sizeof PREFIX - 1)
#define TYPE "$stream-policy"

static bool begins(struct esdb_text t, const char *prefix) {
    return t.len > strlen(prefix) && memcmp(t.at, prefix, strlen(prefix)) == 0;
}

int esdb_policy_set(esdb *db, const struct esdb_policy *p, struct esdb_error *err) {
    char name[FMT_STREAM_NAME_MAX], data[96];
    struct esdb_batch *b;
    struct esdb_receipt r;
    if (p->pattern.len == 0 || p->pattern.len > FMT_STREAM_ID_MAX)
        return es_fail(err, ESDB_EINVALID, "a pattern must have 1 to %u bytes", FMT_STREAM_ID_MAX);
    if (p->pattern.at[0] == '$' && !begins(p->pattern, ES_PARKED_PREFIX) && !begins(p->pattern, FMT_SNAPSHOT_PREFIX))
        return es_fail(err, ESDB_EUSAGE, "%.*s: is one of the store's own streams", (int)p->pattern.len, p->pattern.at);
    memcpy(name, PREFIX, PREFIX_LEN);
    memcpy(name + PREFIX_LEN, p->pattern.at, p->pattern.len);
    int len = snprintf(data, sizeof data, "{\"max_age_us\":%llu,\"max_count\":%llu}", (unsigned long long)p->max_age_us,
                       (unsigned long long)p->max_count);
    struct esdb_new_event e = {.stream_id = {name, PREFIX_LEN + p->pattern.len},
                               .event_type = {TYPE, sizeof TYPE - 1},
                               .data = {data, (size_t)len},
                               .system = true};
    int rc = esdb_batch_open(&b);
    if (rc < 0)
        return es_fail(err, rc, "%s", db->path);
    rc = esdb_batch_add(b, &e, err);
    if (rc == 0)
        rc = esdb_append(db, b, ESDB_USE_RESERVE, &r, err);
    esdb_batch_close(b);
    return rc;
}

/* ---- reading ---- */

static uint64_t number(const struct esdb_event *e, const char *key) {
    struct fmt_text value = {NULL, 0};
    uint64_t n = 0;
    if (e->data.at && !e->binary)
        (void)fmt_json_member((struct fmt_text){e->data.at, e->data.len}, (struct fmt_text){key, strlen(key)}, &value);
    for (size_t i = 0; i < value.len; i++) {
        uint64_t digit = (uint64_t)(value.at[i] - '0');
        if (digit > 9 || n > (INT64_MAX - digit) / 10)
            return 0;
        n = n * 10 + digit;
    }
    return n;
}

/* The newest policy of that stream, when it sets one. */
static int read_one(esdb *db, struct esdb_text stream, struct es_buffer *list, struct es_buffer *names,
                    struct esdb_error *err) {
    struct esdb_query q;
    esdb_cursor *c;
    struct esdb_event e;
    struct esdb_text type = {TYPE, sizeof TYPE - 1};
    esdb_query_init(&q);
    q.flags = ESDB_LITERAL | ESDB_WITH_SYSTEM | ESDB_REVERSE;
    q.streams = &stream;
    q.stream_count = 1;
    q.types = &type;
    q.type_count = 1;
    q.limit = 1;
    int rc = esdb_cursor_open(db, &q, &c, err);
    if (rc < 0)
        return rc;
    rc = esdb_cursor_next(c, &e, err);
    struct esdb_policy p = {.pattern = {NULL, stream.len - PREFIX_LEN}};
    if (rc == 0) {
        p.max_age_us = number(&e, "max_age_us");
        p.max_count = number(&e, "max_count");
    }
    esdb_cursor_close(c);
    if (rc == 0 && (p.max_age_us || p.max_count)) {
        rc = es_buffer_add(list, &p, sizeof p);
        if (rc == 0)
            rc = es_buffer_add(names, stream.at + PREFIX_LEN, p.pattern.len);
    }
    return rc == ESDB_END ? 0 : rc;
}

static int read_all(esdb *db, struct es_buffer *list, struct es_buffer *names, struct esdb_error *err) {
    struct esdb_text *streams;
    size_t count;
    int rc = es_stream_names(db, (struct esdb_text){PREFIX, PREFIX_LEN}, &streams, &count, err);
    if (rc < 0)
        return rc;
    for (size_t i = 0; rc == 0 && i < count; i++)
        if (streams[i].len > PREFIX_LEN)
            rc = read_one(db, streams[i], list, names, err);
    free(streams);
    return rc;
}

int esdb_policies(esdb *db, struct esdb_policy **out, size_t *count, struct esdb_error *err) {
    struct es_buffer list = {0}, names = {0};
    int rc = read_all(db, &list, &names, err);
    size_t n = list.len / sizeof **out;
    struct esdb_policy *all = rc == 0 ? malloc(list.len + names.len + 1) : NULL;
    if (rc == 0 && !all)
        rc = -ENOMEM;
    if (rc == 0) {
        char *text = (char *)(all + n);
        if (n > 0) {
            memcpy(all, list.at, list.len);
            memcpy(text, names.at, names.len);
        }
        for (size_t i = 0; i < n; text += all[i++].pattern.len)
            all[i].pattern.at = text;
        *out = all;
        *count = n;
    }
    es_buffer_release(&list);
    es_buffer_release(&names);
    return rc < 0 ? es_fail(err, rc, "policies") : 0;
}

/* How much a pattern says: its own name most, then the characters that are no wildcards. */
static size_t weight(struct esdb_text pattern, struct esdb_text stream) {
    size_t n = 1;
    if (pattern.len == stream.len && memcmp(pattern.at, stream.at, stream.len) == 0)
        return SIZE_MAX;
    for (size_t i = 0; i < pattern.len; i++)
        n += pattern.at[i] != '*' && pattern.at[i] != '?';
    return n;
}

/* Patterns such as "*" do not mean the store's own streams. */
static bool about_own(struct esdb_text t) {
    return t.len > 0 && t.at[0] == '$';
}

const struct esdb_policy *es_policy_of(const struct esdb_policy *list, size_t count, struct esdb_text stream) {
    const struct esdb_policy *best = NULL;
    size_t most = 0;
    for (size_t i = 0; i < count; i++)
        if (about_own(list[i].pattern) == about_own(stream) && esdb_pattern_match(list[i].pattern, stream) &&
            weight(list[i].pattern, stream) > most) {
            best = &list[i];
            most = weight(list[i].pattern, stream);
        }
    return best;
}
