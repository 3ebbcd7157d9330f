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
    uint32_t elsewhere = 0;
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
        elsewhere += es_sub_lease_guess(s, &part) > 0;
    }
    out->position = position;
    out->parts_held = es_sub_count_locked(s, 1, s->record.parts) + elsewhere;
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
    if (c->frees)
        next.lease.ms = 0;
    next.lease.changed = (uint64_t)(expected + 1);
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
    if (c->frees)
        next.lease.ms = 0;
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
        int again = rc == 1 ? es_sub_catch_up(s, err) : 0;
        if (rc == 1 && again == 0)
            again = es_sub_reload(s, err);
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

static int part_held(const esdb_subscription *s, uint32_t i, const struct es_sub_state *part, struct esdb_error *err) {
    return part->host[0] ? es_fail(err, ESDB_EUNAVAILABLE, "%s: process %llu on %s holds part %u", s->name,
                                   (unsigned long long)part->pid, part->host, i)
                         : es_fail(err, ESDB_EUNAVAILABLE, "%s: another process holds part %u", s->name, i);
}

/* A part that another node has a lease of is waited for as the whole is. */
static int wait_part(esdb_subscription *s, uint32_t i, struct esdb_error *err) {
    struct es_sub_state part;
    for (;;) {
        int rc = es_sub_load_state(s, i, &part, err);
        uint64_t left = rc < 0 ? 0 : es_sub_lease_left(s, i, &part);
        if (left == 0)
            return rc;
        if (es_sub_lease_guess(s, &part) > 0)
            return part_held(s, i, &part, err);
        es_sleep_ms(left < 100 ? (int)left : 100);
    }
}

int es_sub_parts_hold(esdb_subscription *s, struct esdb_error *err) {
    for (uint32_t i = 1; i <= s->record.parts; i++) {
        int rc = es_try_lock(s->db->lock, es_sub_lock_byte(s, i));
        struct es_sub_state part;
        if (rc == 0 && (rc = wait_part(s, i, err)) == 0)
            continue;
        es_sub_parts_release(s, rc == -EAGAIN ? i - 1 : i);
        if (rc == ESDB_EUNAVAILABLE)
            return rc;
        if (rc != -EAGAIN)
            return es_fail(err, rc, "%s/lock", s->db->path);
        rc = es_sub_load_state(s, i, &part, err);
        if (rc < 0)
            return rc;
        return part_held(s, i, &part, err);
    }
    return 0;
}

/* ---- groups ---- */

/* The lease of the whole is that of all who take part, on one node. */
static int lease_whole(esdb_subscription *s, int timeout_ms, struct esdb_error *err) {
    uint64_t deadline = timeout_ms < 0 ? UINT64_MAX : es_monotonic_ms() + (uint64_t)timeout_ms;
    int rc = es_sub_find_node(s, err);
    if (rc < 0 || !s->node)
        return rc;
    for (rc = 1; rc == 1;) {
        struct es_sub_record record;
        rc = es_sub_lease_wait(s, deadline, err);
        if (rc < 0)
            return rc;
        struct es_sub_state next = s->state;
        next.kind = ES_SUB_RENEWED;
        if (next.lease.node != s->node || next.lease.ms == 0) {
            next.kind = ES_SUB_CLAIMED;
            next.epoch++;
            es_host_name(next.host, sizeof next.host);
            next.pid = (uint64_t)es_pid();
            next.since_us = es_clock_us();
        }
        s->leases = s->held = true;
        es_sub_lease_follow_up(s, &next);
        s->leases = s->held = false;
        rc = es_sub_write_state(s, &next, es_sub_wanted_again(s, &record), NULL, 0, err);
        int again = rc == 1 ? es_sub_catch_up(s, err) : 0;
        if (again == 0 && rc == 1)
            again = es_sub_load(s, err);
        if (again < 0)
            return again;
    }
    return rc < 0 ? rc : es_sub_catch_up(s, err);
}

int esdb_subscription_join(esdb_subscription *s, int timeout_ms, struct esdb_error *err) {
    if (!(s->db->flags & ESDB_APPEND))
        return es_fail(err, ESDB_EUSAGE, "%s: was not opened for appending", s->db->path);
    int leased = lease_whole(s, timeout_ms, err);
    if (leased < 0)
        return leased;
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
