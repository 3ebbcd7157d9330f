#include "subscription.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commit.h"
#include "format/checksum.h"
#include "format/utf8.h"
#include "json_put.h"
#include "os.h"
#include "shared_head.h"

#define POLL_MS 100 /* whoever waits for a holder looks this often */

/* ---- names ---- */

int es_sub_check_name(struct esdb_text name, struct esdb_error *err) {
    if (name.len == 0 || name.len > FMT_STREAM_ID_MAX)
        return es_fail(err, ESDB_EINVALID, "a subscription's name has 1 to %u bytes", FMT_STREAM_ID_MAX);
    if (!fmt_utf8_valid(name.at, name.len, NULL) || fmt_has_control(name.at, name.len))
        return es_fail(err, ESDB_EINVALID, "a subscription's name is UTF-8 without control characters");
    if (name.at[0] == '$')
        return es_fail(err, ESDB_EINVALID, "%.*s: a subscription's name does not begin with $", (int)name.len, name.at);
    return 0;
}

/* A divided one has at most 64 parts, so that the name of a part's stream always fits. */
struct esdb_text es_sub_stream(const esdb_subscription *s, uint32_t part, char room[FMT_STREAM_NAME_MAX + 1]) {
    int len =
        part ? snprintf(room, FMT_STREAM_NAME_MAX + 1, ES_SUB_PART_PREFIX "%u/%u:%s", part, s->record.parts, s->name)
             : snprintf(room, FMT_STREAM_NAME_MAX + 1, ES_SUB_PREFIX "%s", s->name);
    return (struct esdb_text){room, (size_t)len};
}

static void set_stream(esdb_subscription *s) {
    s->stream_len = es_sub_stream(s, s->part, s->stream).len;
}

static struct esdb_text stream_of(const esdb_subscription *s) {
    return (struct esdb_text){s->stream, s->stream_len};
}

uint64_t es_sub_lock_byte(const esdb_subscription *s, uint32_t byte) {
    uint64_t hash = fmt_checksum(s->name, s->name_len) & ((UINT64_C(1) << 54) - 1);
    return ES_LOCK_SUBSCRIPTIONS + hash * ES_LOCK_SUBSCRIPTION_BYTES + byte;
}

static uint64_t lock_byte(const esdb_subscription *s) {
    return es_sub_lock_byte(s, s->part);
}

/* ---- reading ---- */

int es_sub_event(esdb *db, struct esdb_text stream, int64_t version, esdb_cursor **cursor, struct esdb_event *out,
                 struct esdb_error *err) {
    struct esdb_query q;
    esdb_query_init(&q);
    q.streams = &stream;
    q.stream_count = 1;
    q.flags = ESDB_WITH_SYSTEM | ESDB_LITERAL | ESDB_REVERSE;
    q.limit = 1;
    if (version >= 0)
        q.from_version = q.to_version = (uint64_t)version;
    int rc = esdb_cursor_open(db, &q, cursor, err);
    if (rc < 0)
        return rc;
    rc = esdb_cursor_next(*cursor, out, err);
    if (rc != 0)
        esdb_cursor_close(*cursor);
    return rc;
}

static int nonsense(struct esdb_text stream, const struct esdb_event *e, struct esdb_error *err) {
    return es_fail(err, ESDB_ECORRUPT, "%.*s: version %llu says nothing of a subscription", (int)stream.len, stream.at,
                   (unsigned long long)e->version);
}

int es_sub_load_state(const esdb_subscription *s, uint32_t part, struct es_sub_state *out, struct esdb_error *err) {
    char room[FMT_STREAM_NAME_MAX + 1];
    struct esdb_text stream = es_sub_stream(s, part, room);
    esdb_cursor *cursor;
    struct esdb_event e;
    struct es_sub_state state = {.version = -1};
    int rc = es_sub_event(s->db, stream, -1, &cursor, &e, err);
    if (rc == 0) {
        if (!es_sub_decode(&e, &state))
            rc = nonsense(stream, &e, err);
        esdb_cursor_close(cursor);
    }
    if (rc < 0)
        return rc;
    if (state.version < 0)
        state.position = s->record.start;
    if (part && state.kind == ES_SUB_REMOVED) /* the name is used anew */
        state = (struct es_sub_state){state.version, state.kind, .position = s->record.start, .epoch = state.epoch};
    *out = state;
    return 0;
}

int es_sub_load(esdb_subscription *s, struct esdb_error *err) {
    return es_sub_load_state(s, s->part, &s->state, err);
}

/* Of the whole. */
static int load_record(esdb_subscription *s, uint64_t version, struct esdb_error *err) {
    char room[FMT_STREAM_NAME_MAX + 1];
    struct esdb_text stream = es_sub_stream(s, 0, room);
    struct es_sub_record record;
    esdb_cursor *cursor;
    struct esdb_event e;
    if (s->record.selector && s->record.version == version)
        return 0;
    int rc = es_sub_event(s->db, stream, (int64_t)version, &cursor, &e, err);
    if (rc == ESDB_END)
        return es_fail(err, ESDB_ECORRUPT, "%s: version %llu, which says what is wanted, is missing", stream.at,
                       (unsigned long long)version);
    if (rc < 0)
        return rc;
    rc = es_sub_decode_record(&e, &record);
    if (rc == -EINVAL)
        nonsense(stream, &e, err);
    esdb_cursor_close(cursor);
    if (rc < 0)
        return rc == -EINVAL ? ESDB_ECORRUPT : es_fail(err, rc, "%s", s->name);
    free(s->record.selector);
    s->record = record;
    return 0;
}

static int missing(const esdb_subscription *s, struct esdb_error *err) {
    return es_fail(err, ESDB_ENOTFOUND, "%s: no such subscription", s->name);
}

/* The record that *state names. Compaction may take it away once a newer state says again what is wanted: then that is read. */
static int load_record_of(esdb_subscription *s, struct es_sub_state *state, struct esdb_error *err) {
    for (;;) {
        struct esdb_error why = {0};
        uint64_t record = state->record;
        int rc = load_record(s, record, &why);
        if (rc == ESDB_ECORRUPT && es_sub_load_state(s, 0, state, NULL) == 0 && state->record != record &&
            state->version >= 0 && state->kind != ES_SUB_REMOVED)
            continue;
        if (rc < 0 && err && err->code == 0)
            *err = why;
        return rc;
    }
}

/* State and record of the whole. */
static int load_whole(esdb_subscription *s, struct esdb_error *err) {
    int rc = es_sub_load(s, err);
    if (rc < 0)
        return rc;
    if (s->state.version < 0 || s->state.kind == ES_SUB_REMOVED)
        return missing(s, err);
    return load_record_of(s, &s->state, err);
}

static int open_bare(esdb *db, struct esdb_text name, esdb_subscription **out, struct esdb_error *err) {
    int rc = es_sub_check_name(name, err);
    if (rc < 0)
        return rc;
    esdb_subscription *s = calloc(1, sizeof *s);
    if (!s)
        return es_fail(err, -ENOMEM, "subscription");
    s->db = db;
    memcpy(s->name, name.at, name.len);
    s->name_len = name.len;
    s->lease_ms = ESDB_LEASE_MS;
    set_stream(s);
    *out = s;
    return 0;
}

int esdb_subscription_open(esdb *db, struct esdb_text name, uint32_t part, esdb_subscription **out,
                           struct esdb_error *err) {
    esdb_subscription *s;
    int rc = open_bare(db, name, &s, err);
    if (rc < 0)
        return rc;
    rc = load_whole(s, err);
    if (rc == 0 && part > s->record.parts)
        rc = es_fail(err, ESDB_EUSAGE, "%s: has %u parts, not %u", s->name, s->record.parts, part);
    if (rc == 0 && part) {
        s->part = part;
        set_stream(s);
        rc = es_sub_load(s, err);
    }
    if (rc < 0) {
        esdb_subscription_close(s);
        return rc;
    }
    *out = s;
    return 0;
}

void esdb_subscription_close(esdb_subscription *s) {
    if (!s)
        return;
    es_sub_lease_release(s);
    if (s->held)
        es_unlock(s->db->lock, lock_byte(s));
    if (s->member)
        es_unlock(s->db->lock, es_sub_lock_byte(s, s->member));
    esdb_batch_close(s->batch);
    free(s->record.selector);
    free(s);
}

/* ---- who holds it ---- */

uint32_t es_sub_count_locked(const esdb_subscription *s, uint32_t first, uint32_t last) {
    int fd = s->db->lock, own = -1;
    uint32_t count = 0;
    if (fd < 0)
        fd = own = es_openat(s->db->dir, "lock", O_RDONLY, 0);
    for (uint32_t i = first; fd >= 0 && i <= last; i++)
        count += es_is_locked(fd, es_sub_lock_byte(s, i));
    es_close(&own);
    return count;
}

int esdb_subscription_info(esdb_subscription *s, struct esdb_subscription_info *out, struct esdb_error *err) {
    uint32_t held = s->held ? 1 : es_sub_count_locked(s, s->part, s->part);
    (void)es_sub_find_node(s, NULL); /* who may only read may not be told */
    uint64_t left = es_sub_lease_guess(s, &s->state);
    *out = (struct esdb_subscription_info){.name = {s->name, s->name_len},
                                           .selector = {s->record.selector, s->record.selector_len},
                                           .start = s->record.start,
                                           .position = s->state.position,
                                           .epoch = s->state.epoch,
                                           .created_us = s->record.created_us,
                                           .saved_us = s->state.saved_us,
                                           .parts = s->record.parts,
                                           .part = s->part,
                                           .group = s->record.group,
                                           .host = {s->state.host, strlen(s->state.host)},
                                           .pid = s->state.pid,
                                           .since_us = s->state.since_us,
                                           .held = held > 0 || left > 0,
                                           .node = s->state.lease.node,
                                           .lease_ms = s->state.lease.ms,
                                           .lease_left_ms = es_sub_lease_rest(&s->state),
                                           .lapsing = es_sub_lease_left(s, s->part, &s->state) > 0 && left == 0,
                                           .counts = s->state.counts};
    return s->part == 0 && s->record.parts > 0 ? es_sub_parts_info(s, out, err) : 0;
}

int64_t esdb_subscription_version(const esdb_subscription *s) {
    return s->state.lease.node ? (int64_t)s->state.lease.changed : s->state.version;
}

static int lost(const esdb_subscription *s, const struct es_sub_state *now, struct esdb_error *err) {
    if (now->kind == ES_SUB_SOUGHT)
        return es_fail(err, ESDB_EUNAVAILABLE, "%s: was sent to position %llu by somebody else; begin again", s->name,
                       (unsigned long long)now->position);
    return es_fail(err, ESDB_EUNAVAILABLE, "%s: was taken over by process %llu on %s", s->name,
                   (unsigned long long)now->pid, now->host[0] ? now->host : "another host");
}

int es_sub_reload(esdb_subscription *s, struct esdb_error *err) {
    struct es_sub_state now;
    int rc = es_sub_load_state(s, s->part, &now, err);
    if (rc < 0 || now.version < s->state.version) /* of a replicated store: what was written here is not here yet */
        return rc;
    bool other = now.epoch != s->state.epoch;
    if (now.kind == ES_SUB_REMOVED && now.version >= 0 && (s->part == 0 || other))
        return es_fail(err, ESDB_ENOTFOUND, "%s: was removed", s->name);
    if (s->held && other) /* what was known stays: a later attempt must fail too */
        return lost(s, &now, err);
    s->state = now;
    return s->part ? 0 : load_record_of(s, &s->state, err);
}

/* What others have done until it was held. */
static int load_held(esdb_subscription *s, struct esdb_error *err) {
    struct es_sub_state whole;
    int rc = es_sub_load_state(s, 0, &whole, err);
    if (rc == 0 && (whole.version < 0 || whole.kind == ES_SUB_REMOVED))
        rc = es_fail(err, ESDB_ENOTFOUND, "%s: was removed", s->name);
    if (rc == 0)
        rc = load_record_of(s, &whole, err);
    return rc < 0 ? rc : es_sub_load(s, err);
}

int esdb_subscription_look(esdb_subscription *s, struct esdb_error *err) {
    return es_sub_reload(s, err);
}

static int occupied(esdb_subscription *s, struct esdb_error *err) {
    int rc = es_sub_load(s, err); /* whoever holds it has claimed it since */
    if (rc < 0)
        return rc;
    if (!s->state.host[0])
        return es_fail(err, ESDB_EUNAVAILABLE, "%s: another process holds it", s->name);
    return es_fail(err, ESDB_EUNAVAILABLE, "%s: process %llu on %s holds it", s->name, (unsigned long long)s->state.pid,
                   s->state.host);
}

/* What a holder that was killed has written and nobody has made durable yet is shown to nobody, but counts with the next
 * append: then its claim would look like that of somebody who came in between. */
static int settle(esdb *db, struct esdb_error *err) {
    if (db->settings.replicated || !es_head_valid(db) || es_head_appended(db) <= es_head_synced(db))
        return 0;
    return es_commit(db, es_head_appended(db), es_head_generation(db), err);
}

/* Its lock byte, and that no other node has it. */
static int hold_here(esdb_subscription *s, uint64_t deadline, struct esdb_error *err) {
    if (!(s->db->flags & ESDB_APPEND))
        return es_fail(err, ESDB_EUSAGE, "%s: was not opened for appending", s->db->path);
    if (s->held)
        return 0;
    int rc = es_try_lock(s->db->lock, lock_byte(s));
    while (rc == -EAGAIN) {
        uint64_t now = es_monotonic_ms();
        if (now >= deadline)
            return occupied(s, err);
        es_sleep_ms(deadline - now < POLL_MS ? (int)(deadline - now) : POLL_MS);
        rc = es_try_lock(s->db->lock, lock_byte(s));
    }
    if (rc < 0)
        return es_fail(err, rc, "%s/lock", s->db->path);
    rc = settle(s->db, err);
    if (rc == 0)
        rc = load_held(s, err);
    if (rc == 0)
        rc = es_sub_find_node(s, err);
    if (rc == 0)
        rc = es_sub_lease_wait(s, deadline, err);
    if (rc < 0)
        es_unlock(s->db->lock, lock_byte(s));
    s->held = rc == 0;
    return rc;
}

static void let_go(esdb_subscription *s) {
    es_unlock(s->db->lock, lock_byte(s));
    s->held = s->claimed = s->leases = s->leased = false;
}

int esdb_subscription_hold(esdb_subscription *s, int timeout_ms, struct esdb_error *err) {
    uint64_t deadline = timeout_ms < 0 ? UINT64_MAX : es_monotonic_ms() + (uint64_t)timeout_ms;
    if (s->held)
        return 0;
    int rc = hold_here(s, deadline, err);
    if (rc < 0 || !s->node || (s->part && s->record.group)) /* a group has one lease, of the whole */
        return rc;
    s->leases = true;
    rc = esdb_subscription_claim(s, err); /* other nodes know of it by that only */
    if (rc == 0)
        rc = es_sub_catch_up(s, err); /* other handles of this process are to see it */
    if (rc < 0)
        let_go(s);
    return rc;
}

/* ---- writing ---- */

static int add_event(esdb_subscription *s, const struct es_sub_state *next, const struct es_sub_record *record,
                     const char *more, struct esdb_error *err) {
    struct es_buffer data = {0};
    const char *type = es_sub_type(next->kind);
    if (!s->batch) {
        int rc = esdb_batch_open(&s->batch);
        if (rc < 0)
            return es_fail(err, rc, "%s", s->name);
    }
    esdb_batch_clear(s->batch);
    int rc = es_sub_encode(&data, next, record, more);
    struct esdb_new_event e = {.stream_id = stream_of(s), .event_type = {type, strlen(type)}, .system = true};
    e.data = (struct esdb_text){(char *)data.at, data.len};
    if (rc == 0)
        rc = esdb_batch_expect(s->batch, e.stream_id, s->state.version, err);
    if (rc == 0)
        rc = esdb_batch_add(s->batch, &e, err);
    es_buffer_release(&data);
    return rc == -ENOMEM ? es_fail(err, rc, "%s", s->name) : rc;
}

int es_sub_write_state(esdb_subscription *s, struct es_sub_state *next, struct es_sub_record *record, const char *more,
                       unsigned flags, struct esdb_error *err) {
    struct esdb_receipt receipt;
    struct esdb_error why = {0};
    uint64_t version = (uint64_t)(s->state.version + 1);
    if (record)
        record->version = version;
    next->record = record ? version : s->record.version;
    int rc = add_event(s, next, record, more, err);
    if (rc < 0)
        return rc;
    rc = esdb_append(s->db, s->batch, flags & ESDB_SAVE_ASYNC ? ESDB_NO_WAIT : 0, &receipt, &why);
    if (rc == ESDB_ECONFLICT)
        return 1;
    if (rc < 0) {
        if (err && err->code == 0)
            *err = why;
        return rc;
    }
    next->version = (int64_t)version;
    next->saved_us = receipt.epoch_us;
    s->state = *next;
    return 0;
}

int es_sub_restate(esdb_subscription *s, struct esdb_error *err) {
    struct es_sub_state next = s->state;
    struct es_sub_record record = s->record;
    struct es_buffer saved = {0};
    if (next.kind == ES_SUB_DROPPED) /* its positions are not said again */
        next.kind = ES_SUB_CHECKPOINT;
    int rc = es_put_member(&saved, "saved_us", next.saved_us);
    if (rc == 0)
        rc = es_buffer_add(&saved, "", 1);
    if (rc < 0)
        es_fail(err, rc, "%s", s->name);
    else
        rc = es_sub_write_state(s, &next, &record, (const char *)saved.at, 0, err);
    es_buffer_release(&saved);
    if (rc == 0)
        s->record.version = record.version;
    return rc;
}

struct es_sub_record *es_sub_wanted_again(const esdb_subscription *s, struct es_sub_record *record) {
    bool due =
        s->part == 0 && s->record.selector && s->state.version + 1 >= (int64_t)s->record.version + ES_SUB_RESTATE;
    *record = s->record;
    return due ? record : NULL;
}

struct es_sub_state es_sub_follow_up(const esdb_subscription *s, enum es_sub_kind kind) {
    struct es_sub_state next = s->state;
    next.kind = kind;
    if (s->held && !s->claimed) {
        next.epoch++;
        es_host_name(next.host, sizeof next.host);
        next.pid = (uint64_t)es_pid();
        next.since_us = es_clock_us();
    }
    es_sub_lease_follow_up(s, &next);
    return next;
}

static int carry_out(esdb_subscription *s, const struct es_sub_change *c, struct esdb_error *err) {
    int rc = 1;
    if (s->part == 0 && s->record.parts > 0)
        return es_sub_parts_change(s, c, err);
    for (int i = 0; rc == 1 && i < ES_SUB_CONFLICTS_MAX; i++) {
        struct es_sub_state next = es_sub_follow_up(s, c->kind);
        struct es_sub_record record, *again = es_sub_wanted_again(s, &record);
        if (s->held && !s->claimed) { /* somebody else may have come in between */
            int taken = es_sub_lease_wait(s, 0, err);
            if (taken < 0)
                return taken;
        }
        if (c->record) {
            record = *c->record;
            again = &record;
        }
        if (c->moves || c->position > next.position)
            next.position = c->position;
        if (c->deposes) {
            next.epoch += !s->held || s->claimed;
            next.host[0] = '\0';
        }
        if (c->frees)
            next.lease.ms = 0;
        if (c->more) {
            next.counts.delivered += c->more->delivered;
            next.counts.retried += c->more->retried;
            next.counts.parked += c->more->parked;
            next.counts.dropped += c->more->dropped;
            next.counts.warned += c->more->warned;
        }
        rc = es_sub_write_state(s, &next, again, c->data, c->flags, err);
        s->leased = s->leases && rc >= 0;
        if (rc == 0 && s->held)
            s->claimed = true;
        if (rc == 0 && again && !c->record)
            s->record.version = record.version;
        int reloaded = rc == 1 ? es_sub_catch_up(s, err) : 0;
        if (rc == 1 && reloaded == 0)
            reloaded = es_sub_reload(s, err);
        if (reloaded < 0) {
            s->leased = false;
            return reloaded;
        }
    }
    return rc == 1 ? es_fail(err, ESDB_EUNAVAILABLE, "%s: others change it all the time", s->name) : rc;
}

int esdb_subscription_claim(esdb_subscription *s, struct esdb_error *err) {
    if (s->claimed)
        return 0;
    return carry_out(s, &(struct es_sub_change){.kind = ES_SUB_CLAIMED}, err);
}

/* Is there an event of a user in positions state.position .. position - 1? What was looked at is not looked at again. */
static int passes_user(esdb_subscription *s, uint64_t position, bool *found, struct esdb_error *err) {
    struct esdb_query q;
    esdb_cursor *cursor;
    struct esdb_event e;
    uint64_t from = s->looked_until > s->state.position ? s->looked_until : s->state.position;
    *found = false;
    if (from >= position)
        return 0;
    esdb_query_init(&q);
    q.flags = ESDB_ALL;
    q.from_position = from;
    q.to_position = position - 1;
    q.limit = 1;
    int rc = esdb_cursor_open(s->db, &q, &cursor, err);
    if (rc < 0)
        return rc;
    rc = esdb_cursor_next(cursor, &e, NULL);
    *found = rc != ESDB_END; /* damage too is passed, and settled by having been told */
    if (rc == ESDB_END)
        s->looked_until = position;
    esdb_cursor_close(cursor);
    return 0;
}

static int must_hold(const esdb_subscription *s, struct esdb_error *err) {
    return s->held ? 0 : es_fail(err, ESDB_EUSAGE, "%s: is not held", s->name);
}

int esdb_subscription_save(esdb_subscription *s, uint64_t position, const struct esdb_subscription_counts *more,
                           unsigned flags, struct esdb_error *err) {
    int rc = must_hold(s, err);
    if (rc == 0 && flags & ESDB_SAVE_LAZY) {
        bool found;
        rc = passes_user(s, position, &found, err);
        if (rc == 0 && !found)
            return 0;
    }
    if (rc < 0)
        return rc;
    return carry_out(
        s, &(struct es_sub_change){.kind = ES_SUB_CHECKPOINT, .position = position, .more = more, .flags = flags}, err);
}

int esdb_subscription_drop(esdb_subscription *s, uint64_t position, const uint64_t *dropped, size_t count,
                           const struct esdb_subscription_counts *other, struct esdb_error *err) {
    struct esdb_subscription_counts more = other ? *other : (struct esdb_subscription_counts){0};
    struct es_buffer data = {0};
    int rc = must_hold(s, err);
    if (rc < 0)
        return rc;
    more.dropped += count;
    rc = es_put_text(&data, ",\"dropped\":[");
    for (size_t i = 0; rc == 0 && i < count; i++) {
        if (i > 0)
            rc = es_put_text(&data, ",");
        if (rc == 0)
            rc = es_put_number(&data, dropped[i]);
    }
    if (rc == 0)
        rc = es_buffer_add(&data, "]", 2);
    if (rc < 0)
        es_fail(err, rc, "%s", s->name);
    else
        rc = carry_out(s,
                       &(struct es_sub_change){
                           .kind = ES_SUB_DROPPED, .position = position, .more = &more, .data = (const char *)data.at},
                       err);
    es_buffer_release(&data);
    return rc;
}

/* ---- by anybody ---- */

int esdb_subscription_ack(esdb_subscription *s, uint64_t position, struct esdb_error *err) {
    uint64_t end;
    int rc = esdb_end_position(s->db, &end, err);
    if (rc == 0)
        rc = es_sub_reload(s, err);
    if (rc < 0)
        return rc;
    if (position >= end)
        return es_fail(err, ESDB_ENOTFOUND, "%s: there is no event at position %llu yet; the next one is %llu", s->name,
                       (unsigned long long)position, (unsigned long long)end);
    struct esdb_subscription_info now;
    rc = esdb_subscription_info(s, &now, err);
    if (rc < 0 || position + 1 == now.position)
        return rc;
    if (position + 1 < now.position)
        return es_fail(err, ESDB_ECONFLICT, "%s: is at %llu already; only seek goes back", s->name,
                       (unsigned long long)now.position);
    return carry_out(s, &(struct es_sub_change){.kind = ES_SUB_ACKED, .position = position + 1}, err);
}

/* For the moment. A lease of another node that seems to have run out is watched until it has. */
static int hold_shortly(esdb_subscription *s, struct esdb_error *err) {
    struct esdb_error why = {0};
    uint64_t wait_ms = 0;
    int rc = hold_here(s, 0, &why);
    if (rc == ESDB_EUNAVAILABLE && es_sub_lease_left(s, s->part, &s->state) > 0 && !es_sub_lease_guess(s, &s->state)) {
        wait_ms = es_sub_lease_left(s, s->part, &s->state);
        why = (struct esdb_error){0};
        rc = hold_here(s, es_monotonic_ms() + wait_ms + POLL_MS, &why);
    }
    if (rc < 0 && err && err->code == 0)
        *err = why;
    return rc;
}

/* Holds it for the moment, or deposes whoever does. */
static int intrude(esdb_subscription *s, struct es_sub_change *c, struct esdb_error *err) {
    bool held = s->held;
    struct esdb_error why = {0};
    int rc = c->flags & ESDB_FORCE ? hold_here(s, 0, &why) : hold_shortly(s, &why);
    c->frees = rc == 0 && !(c->flags & ESDB_FORCE);
    if (rc == 0 && s->part == 0 && s->record.parts > 0 && !(c->flags & ESDB_FORCE))
        rc = es_sub_parts_hold(s, &why);
    bool parts = rc == 0 && s->part == 0 && s->record.parts > 0 && !(c->flags & ESDB_FORCE);
    if (rc == ESDB_EUNAVAILABLE && c->flags & ESDB_FORCE)
        rc = es_sub_reload(s, err);
    else if (rc < 0 && err && err->code == 0)
        *err = why;
    if (rc == 0) {
        c->deposes = !held;
        rc = carry_out(s, c, err);
    }
    if (parts)
        es_sub_parts_release(s, s->record.parts);
    if (!held && s->held)
        let_go(s);
    return rc;
}

int esdb_subscription_seek(esdb_subscription *s, uint64_t position, unsigned flags, struct esdb_error *err) {
    return intrude(
        s, &(struct es_sub_change){.kind = ES_SUB_SOUGHT, .moves = true, .position = position, .flags = flags}, err);
}

int esdb_subscription_remove(esdb_subscription *s, unsigned flags, struct esdb_error *err) {
    return intrude(s, &(struct es_sub_change){.kind = ES_SUB_REMOVED, .flags = flags}, err);
}

/* ---- what is wanted ---- */

/* A query that cannot be read is not recorded. */
static int try_query(esdb *db, const struct esdb_query *q, struct es_sub_record *record, struct esdb_error *err) {
    esdb_cursor *cursor;
    int rc = esdb_cursor_open(db, q, &cursor, err);
    if (rc < 0)
        return rc;
    esdb_cursor_close(cursor);
    rc = esdb_selector_write(q, &record->selector, err);
    if (rc == 0)
        record->selector_len = strlen(record->selector);
    return rc;
}

int esdb_subscription_change(esdb_subscription *s, const struct esdb_query *q, unsigned flags, struct esdb_error *err) {
    struct es_sub_record record = s->record;
    int rc = try_query(s->db, q, &record, err);
    if (rc < 0)
        return rc;
    rc = intrude(s, &(struct es_sub_change){.kind = ES_SUB_CHANGED, .record = &record, .flags = flags}, err);
    if (rc < 0) {
        free(record.selector);
        return rc;
    }
    free(s->record.selector);
    s->record = record;
    s->record.version = s->state.record;
    return 0;
}

int esdb_subscription_create(esdb *db, struct esdb_text name, const struct esdb_query *q, uint64_t start,
                             uint32_t parts, bool group, esdb_subscription **out, struct esdb_error *err) {
    esdb_subscription *s;
    int rc = parts <= ES_SUB_PARTS_MAX
                 ? open_bare(db, name, &s, err)
                 : es_fail(err, ESDB_EUSAGE, "a subscription has at most %u parts, not %u", ES_SUB_PARTS_MAX, parts);
    if (rc < 0)
        return rc;
    rc = es_sub_load(s, err);
    if (rc == 0 && s->state.version >= 0 && s->state.kind != ES_SUB_REMOVED)
        rc = es_fail(err, ESDB_ECONFLICT, "%s: there is such a subscription already", s->name);
    s->record = (struct es_sub_record){.start = start, .created_us = es_clock_us(), .parts = parts, .group = group};
    if (rc == 0)
        rc = try_query(db, q, &s->record, err);
    if (rc == 0) {
        struct es_sub_state next = {.kind = ES_SUB_CREATED, .position = start, .epoch = s->state.epoch};
        rc = es_sub_write_state(s, &next, &s->record, NULL, 0, err);
    }
    int known = rc >= 0 ? es_sub_catch_up(s, err) : 0;
    if (known < 0)
        rc = known;
    if (rc == 1)
        rc = es_fail(err, ESDB_ECONFLICT, "%s: somebody else has just made it", s->name);
    if (rc < 0) {
        esdb_subscription_close(s);
        return rc;
    }
    *out = s;
    return 0;
}
