/* subscription_lease.c: who may hold a subscription of a replicated store (subscription.h). No clocks of two hosts are compared
 * where it matters: a lease of another node is over once this handle has seen no newer one for as long as it lasts. */
#include <errno.h>
#include <string.h>

#include "os.h"
#include "raft_state.h"
#include "remote.h"
#include "subscription.h"

#define POLL_MS 100
#define RELEASE_MS 1000 /* whoever ends does not wait longer for it: it runs out by itself */

int es_sub_find_node(esdb_subscription *s, struct esdb_error *err) {
    struct es_raft_state raft;
    if (!s->db->settings.replicated || s->node)
        return 0;
    int rc = es_raft_state_load(s->db, &raft, err);
    if (rc == 0)
        s->node = raft.node;
    return rc;
}

int es_sub_catch_up(esdb_subscription *s, struct esdb_error *err) {
    return s->db->settings.replicated ? esdb_confirm(s->db, s->db->lock_timeout_ms, err) : 0;
}

static bool is_foreign(const esdb_subscription *s, const struct es_sub_lease *l) {
    return l->node && l->ms && l->node != s->node;
}

uint64_t es_sub_lease_left(esdb_subscription *s, uint32_t part, const struct es_sub_state *state) {
    const struct es_sub_lease *l = &state->lease;
    struct es_sub_seen *seen = &s->seen[part];
    uint64_t now = es_monotonic_ms();
    if (!is_foreign(s, l))
        return 0;
    if (seen->node != l->node || seen->renewed != l->renewed)
        *seen = (struct es_sub_seen){l->node, l->renewed, now};
    return now - seen->since_ms >= l->ms ? 0 : l->ms - (now - seen->since_ms);
}

uint64_t es_sub_lease_rest(const struct es_sub_state *state) {
    uint64_t now = es_clock_us(), begin = state->saved_us, ms = state->lease.ms;
    if (now < begin) /* the clocks differ: by a little? */
        return begin - now < ms * 1000 ? ms : 0;
    return (now - begin) / 1000 < ms ? ms - (now - begin) / 1000 : 0;
}

uint64_t es_sub_lease_guess(const esdb_subscription *s, const struct es_sub_state *state) {
    return is_foreign(s, &state->lease) ? es_sub_lease_rest(state) : 0;
}

int es_sub_lease_wait(esdb_subscription *s, uint64_t deadline, struct esdb_error *err) {
    for (;;) {
        uint64_t left = es_sub_lease_left(s, s->part, &s->state), now = es_monotonic_ms();
        if (left == 0)
            return 0;
        if (now >= deadline)
            return es_fail(err, ESDB_EUNAVAILABLE, "%s: process %llu on %s holds it, on node %016llx, for %llu ms more",
                           s->name, (unsigned long long)s->state.pid, s->state.host[0] ? s->state.host : "another host",
                           (unsigned long long)s->state.lease.node, (unsigned long long)left);
        uint64_t most = deadline - now < left ? deadline - now : left;
        es_sleep_ms(most < POLL_MS ? (int)most : POLL_MS);
        int rc = es_sub_load(s, err);
        if (rc < 0)
            return rc;
    }
}

void es_sub_lease_follow_up(const esdb_subscription *s, struct es_sub_state *next) {
    uint64_t version = (uint64_t)(s->state.version + 1);
    bool changes = next->kind != ES_SUB_CLAIMED && next->kind != ES_SUB_RENEWED && next->kind != ES_SUB_RELEASED;
    uint64_t changed = version; /* of a part's first event too */
    if (!changes && s->state.version >= 0)
        changed = s->state.lease.node ? s->state.lease.changed : (uint64_t)s->state.version;
    if (s->held && s->leases)
        next->lease = (struct es_sub_lease){s->node, s->lease_ms, version, es_boottime_ms(), 0};
    next->lease.changed = changed;
}

void esdb_subscription_set_lease(esdb_subscription *s, uint64_t lease_ms) {
    s->lease_ms = lease_ms;
}

static bool is_ours(const esdb_subscription *s, uint64_t epoch) {
    bool group = s->part == 0 && s->record.parts > 0;
    return s->state.lease.node == s->node && s->state.lease.ms > 0 && (group || s->state.epoch == epoch);
}

/* As write_state of the same state, but for the lease. */
static int write_lease(esdb_subscription *s, enum es_sub_kind kind, uint64_t began_ms, struct esdb_error *err) {
    struct es_sub_state next = s->state;
    struct es_sub_record record;
    next.kind = kind;
    es_sub_lease_follow_up(s, &next);
    next.lease.renewed = (uint64_t)(s->state.version + 1);
    next.lease.began_ms = began_ms;
    if (kind == ES_SUB_RELEASED)
        next.lease.ms = 0;
    return es_sub_write_state(s, &next, es_sub_wanted_again(s, &record), NULL, 0, err);
}

int esdb_subscription_renew(esdb_subscription *s, uint64_t epoch, uint64_t after_ms, uint64_t *began_ms,
                            struct esdb_error *err) {
    int rc = es_sub_find_node(s, err);
    for (int i = 0; rc == 0 && i < ES_SUB_CONFLICTS_MAX; i++) {
        uint64_t now = es_boottime_ms();
        rc = es_sub_reload(s, err);
        if (rc < 0)
            return rc;
        if (!is_ours(s, epoch))
            return es_fail(err, ESDB_ECONFLICT, "%s: was taken over by process %llu on %s", s->name,
                           (unsigned long long)s->state.pid, s->state.host[0] ? s->state.host : "another host");
        *began_ms = s->state.lease.began_ms;
        if (*began_ms <= now && now - *began_ms < after_ms)
            return 0;
        rc = write_lease(s, ES_SUB_RENEWED, now, err);
        if (rc == 0)
            *began_ms = now;
        if (rc <= 0)
            return rc;
        rc = es_sub_catch_up(s, err);
    }
    return rc < 0 ? rc : es_fail(err, ESDB_EUNAVAILABLE, "%s: others change it all the time", s->name);
}

/* Of a group, the last one who takes part. */
static bool may_release(esdb_subscription *s) {
    uint32_t count, before;
    if (!s->node || !s->member)
        return s->held && s->leased && s->claimed;
    esdb_subscription_members(s, &count, &before);
    return count == 1;
}

void es_sub_lease_release(esdb_subscription *s) {
    int patience = s->db->lock_timeout_ms, rc = 1;
    uint64_t epoch = s->state.epoch;
    if (!may_release(s))
        return;
    s->db->lock_timeout_ms = patience < RELEASE_MS ? patience : RELEASE_MS;
    s->leases = false;
    for (int i = 0; i < 3 && rc == 1; i++) {
        rc = es_sub_reload(s, NULL) == 0 && is_ours(s, epoch) ? write_lease(s, ES_SUB_RELEASED, 0, NULL) : 0;
        if (rc == 1 && es_sub_catch_up(s, NULL) < 0)
            rc = 0;
    }
    s->db->lock_timeout_ms = patience;
}
