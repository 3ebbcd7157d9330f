#include "superseded.h"

#include <stdlib.h>
#include <string.h>

#include "os.h"
#include "retention.h"
#include "snapshot.h"
#include "subscription.h"

enum kind { NONE, STATES, NEWEST, BY_POLICY, SNAPSHOTS };

static const struct {
    struct esdb_text prefix;
    enum kind kind;
} kinds[] = {{{ES_SUB_PREFIX, ES_SUB_PREFIX_LEN}, STATES},
             {{ES_SUB_PART_PREFIX, sizeof ES_SUB_PART_PREFIX - 1}, NEWEST},
             {{"$link-def:", 10}, NEWEST},
             {{ES_PARKED_PREFIX, ES_PARKED_PREFIX_LEN}, BY_POLICY},
             {{FMT_SNAPSHOT_PREFIX, FMT_SNAPSHOT_PREFIX_LEN}, SNAPSHOTS}};

bool es_superseded_prefix(size_t nth, struct esdb_text *out) {
    bool there = nth < sizeof kinds / sizeof *kinds;
    *out = there ? kinds[nth].prefix : (struct esdb_text){0};
    return there;
}

static enum kind kind_of(struct esdb_text stream) {
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (stream.len > kinds[i].prefix.len && memcmp(stream.at, kinds[i].prefix.at, kinds[i].prefix.len) == 0)
            return kinds[i].kind;
    return NONE;
}

/* Of a subscription's newest state: the record that it names is needed, unless it was removed, or will say it again. */
static uint64_t needed_from(const struct es_superseded *s, const struct es_sub_state *newest) {
    uint64_t version = (uint64_t)newest->version;
    if (newest->kind == ES_SUB_REMOVED)
        return version;
    if (newest->record > version)
        return 0;
    return s->restated && newest->record < version ? version + 1 : newest->record;
}

/* By the newest event: itself, or the one that it refers to. */
static int by_newest(const struct es_superseded *s, esdb *db, struct esdb_text stream, enum kind kind,
                     uint64_t end_position, uint64_t *before, struct esdb_error *err) {
    struct es_sub_state state;
    struct esdb_query q;
    struct esdb_event e;
    esdb_cursor *c;
    esdb_query_init(&q);
    q.flags = ESDB_LITERAL | ESDB_WITH_SYSTEM | ESDB_REVERSE;
    q.streams = &stream;
    q.stream_count = 1;
    q.to_position = end_position - 1;
    q.limit = 1;
    int rc = esdb_cursor_open(db, &q, &c, err);
    if (rc < 0)
        return rc;
    rc = esdb_cursor_next(c, &e, err);
    if (rc == 0 && kind == NEWEST)
        *before = e.version;
    else if (rc == 0 && es_sub_decode(&e, &state))
        *before = needed_from(s, &state);
    esdb_cursor_close(c);
    return rc == ESDB_END ? 0 : rc;
}

/* What exceeds either limit of the policy, but never the newest. */
static int by_policy(struct es_superseded *s, esdb *db, struct esdb_text stream, uint64_t end_position,
                     uint64_t *before, struct esdb_error *err) {
    const struct esdb_policy *p = es_policy_of(s->policies, s->policy_count, stream);
    uint64_t position = 0;
    int64_t last, older = -1;
    if (!p)
        return 0;
    int rc = es_stream_version_before(db, stream, end_position, &last, err);
    if (rc == 0 && p->max_age_us && p->max_age_us < s->now_us) {
        rc = esdb_position_at(db, s->now_us - p->max_age_us, &position, err);
        if (rc == 0)
            rc = es_stream_version_before(db, stream, position, &older, err);
    }
    if (rc < 0 || last < 0)
        return rc;
    if (older >= 0)
        *before = (uint64_t)older + 1;
    if (p->max_count && (uint64_t)last + 1 > p->max_count && (uint64_t)last + 1 - p->max_count > *before)
        *before = (uint64_t)last + 1 - p->max_count;
    if (*before > (uint64_t)last)
        *before = (uint64_t)last;
    return 0;
}

/* Of `stream`, whose snapshots these are: what the highest one covers may have been removed already, so it stays. */
static int keep_highest(esdb *db, struct esdb_text stream, uint64_t end_position, uint64_t *before,
                        struct esdb_error *err) {
    struct es_snapshot_walk w;
    struct fmt_snapshot found;
    struct esdb_event e;
    int rc = es_snapshot_walk_init(&w, db, stream, end_position - 1, err);
    if (rc < 0)
        return rc;
    while ((rc = es_snapshot_walk_next(&w, &e, &found, err)) == 0)
        if (w.has_latest && found.version == w.latest)
            break;
    if (rc == 0 && e.version < *before)
        *before = e.version;
    else if (rc == ESDB_END && (w.has_latest || !w.begun))
        *before = 0;
    es_snapshot_walk_release(&w);
    return rc == ESDB_END ? 0 : rc;
}

static int find(struct es_superseded *s, esdb *db, struct esdb_text stream, uint64_t end_position, uint64_t *before,
                struct esdb_error *err) {
    enum kind kind = kind_of(stream);
    int rc = 0;
    if (kind == NONE || end_position == 0)
        return 0;
    if (kind == STATES || kind == NEWEST)
        return by_newest(s, db, stream, kind, end_position, before, err);
    if (!s->loaded)
        rc = esdb_policies(db, &s->policies, &s->policy_count, err);
    if (rc == 0 && !s->loaded)
        s->now_us = es_clock_us();
    s->loaded |= rc == 0;
    if (rc == 0)
        rc = by_policy(s, db, stream, end_position, before, err);
    if (rc == 0 && kind == SNAPSHOTS && *before > 0)
        rc = keep_highest(db,
                          (struct esdb_text){stream.at + FMT_SNAPSHOT_PREFIX_LEN, stream.len - FMT_SNAPSHOT_PREFIX_LEN},
                          end_position, before, err);
    return rc;
}

int es_superseded_before(struct es_superseded *s, esdb *db, struct esdb_text stream, uint64_t end_position,
                         uint64_t *before, struct esdb_error *err) {
    struct esdb_error why = {0};
    *before = s->before;
    if (s->len == stream.len && memcmp(s->name, stream.at, stream.len) == 0)
        return 0;
    *before = 0;
    int rc = find(s, db, stream, end_position, before, &why);
    if (rc == ESDB_ECORRUPT) { /* nothing goes that is not known for sure */
        *before = 0;
        rc = 0;
    }
    if (rc < 0 && err && err->code == 0)
        *err = why;
    s->len = 0;
    if (rc < 0 || stream.len > sizeof s->name)
        return rc;
    memcpy(s->name, stream.at, stream.len);
    s->len = stream.len;
    s->before = *before;
    return 0;
}

/* Of one stream; below `before` its events are of no use. */
static int count_in(struct es_view *v, struct esdb_text stream, uint64_t before, uint64_t *count,
                    struct esdb_error *err) {
    struct es_view_stream s;
    struct fmt_event first;
    uint32_t ordinal;
    int rc = es_view_stream(v, stream, &s, err);
    if (rc == 0)
        rc = es_view_ordinal(v, &s, 0, &ordinal, err);
    if (rc == 0)
        rc = es_view_event(v, ordinal, &first, err);
    if (rc == 0 && first.version < before)
        *count += before - first.version < s.count ? before - first.version : s.count;
    return rc == ESDB_ENOTFOUND ? 0 : rc;
}

int es_superseded_count(struct es_superseded *s, struct es_view *v, uint64_t end_position, uint64_t *count,
                        struct esdb_error *err) {
    struct esdb_text prefix;
    int rc = 0;
    for (size_t i = 0; rc == 0 && es_superseded_prefix(i, &prefix); i++) {
        struct es_buffer names = {0};
        rc = es_view_names(v, prefix, &names, err);
        for (size_t at = 0; rc == 0 && at < names.len; at += 1u + names.at[at]) {
            struct esdb_text name = {(const char *)names.at + at + 1, names.at[at]};
            uint64_t before;
            rc = es_superseded_before(s, v->db, name, end_position, &before, err);
            if (rc == 0 && before > 0)
                rc = count_in(v, name, before, count, err);
        }
        es_buffer_release(&names);
    }
    return rc;
}

void es_superseded_release(struct es_superseded *s) {
    free(s->policies);
    *s = (struct es_superseded){0};
}
