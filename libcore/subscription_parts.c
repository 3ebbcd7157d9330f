/* The whole of a divided subscription. Its own stream says what is wanted, and its parts ("$subpart:K/N:NAME") how far each
 * is. Whoever changes the whole writes to it and to all parts in one frame, so that every holder of a part learns of it. */
#include <errno.h>
#include <string.h>

#include "os.h"
#include "subscription.h"

static void add_counts(struct esdb_subscription_counts *sum, const struct esdb_subscription_counts *c) {
    sum->delivered += c->delivered;
    sum->retried += c->retried;
    sum->parked += c->parked;
    sum->dropped += c->dropped;
    sum->warned += c->warned;
}

int es_sub_parts_info(const esdb_subscription *s, struct esdb_subscription_info *out, struct esdb_error *err) {
    uint64_t position = UINT64_MAX;
    for (uint32_t i = 1; i <= s->record.parts; i++) {
        struct es_sub_state part;
        int rc = es_sub_load_state(s, i, &part, err);
        if (rc < 0)
            return rc;
        if (part.position < position)
            position = part.position;
        if (part.saved_us > out->saved_us)
            out->saved_us = part.saved_us;
        add_counts(&out->counts, &part.counts);
    }
    out->position = position;
    out->parts_held = es_sub_count_locked(s, 1, s->record.parts);
    out->members = es_sub_count_locked(s, ES_SUB_MEMBER_FIRST, ES_SUB_MEMBER_LAST) + (s->member > 0);
    out->held |= out->parts_held > 0;
    return 0;
}

/* ---- changing all ---- */

static int add(esdb_batch *b, struct esdb_text stream, const struct es_sub_state *next, int64_t expected,
               const struct es_sub_record *record, const char *more, struct esdb_error *err) {
    struct es_buffer data = {0};
    const char *type = es_sub_type(next->kind);
    int rc = es_sub_encode(&data, next, record, more);
    struct esdb_new_event e = {
        .stream_id = stream, .event_type = {type, strlen(type)}, .data = {(char *)data.at, data.len}, .system = true};
    if (rc < 0)
        es_fail(err, rc, "%.*s", (int)stream.len, stream.at);
    if (rc == 0)
        rc = esdb_batch_expect(b, stream, expected, err);
    if (rc == 0)
        rc = esdb_batch_add(b, &e, err);
    es_buffer_release(&data);
    return rc;
}

static int add_part(const esdb_subscription *s, esdb_batch *b, uint32_t i, const struct es_sub_change *c,
                    uint64_t record, struct esdb_error *err) {
    char room[FMT_STREAM_NAME_MAX + 1];
    struct es_sub_state next;
    int rc = es_sub_load_state(s, i, &next, err);
    if (rc < 0)
        return rc;
    int64_t expected = next.version;
    if (c->kind == ES_SUB_ACKED && next.position >= c->position)
        return 0;
    if (c->moves || c->position > next.position)
        next.position = c->position;
    if (c->kind != ES_SUB_ACKED) {
        next.epoch++;
        next.host[0] = '\0';
    }
    next.kind = c->kind;
    next.record = record;
    return add(b, es_sub_stream(s, i, room), &next, expected, NULL, NULL, err);
}

/* 1: somebody came in between. */
static int try_change(esdb_subscription *s, const struct es_sub_change *c, esdb_batch *b, struct esdb_error *err) {
    char room[FMT_STREAM_NAME_MAX + 1];
    struct es_sub_state next = es_sub_follow_up(s, c->kind);
    struct es_sub_record record = c->record ? *c->record : s->record;
    struct esdb_receipt receipt;
    struct esdb_error why = {0};
    int64_t version = s->state.version + 1;
    next.record = c->record ? (uint64_t)version : s->record.version;
    if (c->moves)
        next.position = c->position;
    next.epoch += c->deposes;
    next.host[0] = '\0';
    record.version = next.record;
    esdb_batch_clear(b);
    int rc = add(b, es_sub_stream(s, 0, room), &next, s->state.version, c->record ? &record : NULL, c->data, err);
    for (uint32_t i = 1; rc == 0 && i <= s->record.parts; i++)
        rc = add_part(s, b, i, c, next.record, err);
    if (rc < 0)
        return rc;
    rc = esdb_append(s->db, b, 0, &receipt, &why);
    if (rc == ESDB_ECONFLICT)
        return 1;
    if (rc < 0) {
        if (err && err->code == 0)
            *err = why;
        return rc;
    }
    next.version = version;
    next.saved_us = receipt.epoch_us;
    s->state = next;
    return 0;
}

int es_sub_parts_change(esdb_subscription *s, const struct es_sub_change *c, struct esdb_error *err) {
    esdb_batch *b;
    int rc = esdb_batch_open(&b);
    if (rc < 0)
        return es_fail(err, rc, "%s", s->name);
    rc = 1;
    for (int i = 0; rc == 1 && i < ES_SUB_CONFLICTS_MAX; i++) {
        rc = try_change(s, c, b, err);
        int again = rc == 1 ? es_sub_reload(s, err) : 0;
        if (again < 0)
            rc = again;
    }
    esdb_batch_close(b);
    return rc == 1 ? es_fail(err, ESDB_EUNAVAILABLE, "%s: others change it all the time", s->name) : rc;
}

/* ---- holding all ---- */

void es_sub_parts_release(const esdb_subscription *s, uint32_t count) {
    for (uint32_t i = 1; i <= count; i++)
        es_unlock(s->db->lock, es_sub_lock_byte(s, i));
}

int es_sub_parts_hold(const esdb_subscription *s, struct esdb_error *err) {
    for (uint32_t i = 1; i <= s->record.parts; i++) {
        int rc = es_try_lock(s->db->lock, es_sub_lock_byte(s, i));
        if (rc == 0)
            continue;
        struct es_sub_state part;
        es_sub_parts_release(s, i - 1);
        if (rc != -EAGAIN)
            return es_fail(err, rc, "%s/lock", s->db->path);
        rc = es_sub_load_state(s, i, &part, err);
        if (rc < 0)
            return rc;
        return part.host[0] ? es_fail(err, ESDB_EUNAVAILABLE, "%s: process %llu on %s holds part %u", s->name,
                                      (unsigned long long)part.pid, part.host, i)
                            : es_fail(err, ESDB_EUNAVAILABLE, "%s: another process holds part %u", s->name, i);
    }
    return 0;
}

/* ---- groups ---- */

int esdb_subscription_join(esdb_subscription *s, struct esdb_error *err) {
    if (!(s->db->flags & ESDB_APPEND))
        return es_fail(err, ESDB_EUSAGE, "%s: was not opened for appending", s->db->path);
    for (uint32_t i = ES_SUB_MEMBER_FIRST; !s->member && i <= ES_SUB_MEMBER_LAST; i++) {
        int rc = es_try_lock(s->db->lock, es_sub_lock_byte(s, i));
        if (rc == 0)
            s->member = i;
        else if (rc != -EAGAIN)
            return es_fail(err, rc, "%s/lock", s->db->path);
    }
    return s->member ? 0
                     : es_fail(err, ESDB_EUNAVAILABLE, "%s: %u processes take part already", s->name,
                               ES_SUB_MEMBER_LAST - ES_SUB_MEMBER_FIRST + 1);
}

void esdb_subscription_members(const esdb_subscription *s, uint32_t *count, uint32_t *before) {
    *before = s->member ? es_sub_count_locked(s, ES_SUB_MEMBER_FIRST, s->member - 1) : 0;
    *count = *before + (s->member ? 1 + es_sub_count_locked(s, s->member + 1, ES_SUB_MEMBER_LAST)
                                  : es_sub_count_locked(s, ES_SUB_MEMBER_FIRST, ES_SUB_MEMBER_LAST));
}
