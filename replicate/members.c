/* members.c: who the peers are, and who takes part in the consensus.
 *
 * A raft id is a random number that a node draws for its store; the membership holds for each id the node's name. A node that
 * lost its disk comes back under another id: the old one is removed, for nobody may count what it once confirmed. */
#include <stdio.h>
#include <string.h>

#include "daemon_internal.h"
#include "format/bytes.h"

size_t rd_member_peer(const struct rd_daemon *d, uint64_t raft_id) {
    const struct rep_server *s;
    size_t count = d->driver ? rep_members(d->driver, &s) : 0;
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; s[i].id == raft_id && k < d->config->peer_count; k++)
            if (strcmp(d->config->peers[k].name, s[i].address) == 0)
                return k;
    for (size_t k = 0; k < d->config->peer_count; k++) /* not a member, or not known here yet */
        if (d->peers[k].raft_id == raft_id)
            return k;
    return d->config->peer_count;
}

const char *rd_member_name(const struct rd_daemon *d, uint64_t raft_id) {
    size_t peer = rd_member_peer(d, raft_id);
    if (raft_id == d->raft_id)
        return d->config->node;
    return peer < d->config->peer_count ? d->config->peers[peer].name : "?";
}

void rd_members_introduce(struct rd_daemon *d, size_t peer) {
    unsigned char m[RD_INTRODUCTION_SIZE] = {0};
    struct rd_log_about about = {0};
    if (!rd_net_is_up(d->net, peer))
        return;
    if (d->log)
        rd_log_about(d->log, &about);
    fmt_put16(m, RD_INTRODUCTION);
    fmt_put32(m + 4, sizeof m);
    fmt_put64(m + 8, d->raft_id);
    fmt_put64(m + 16, about.incarnation);
    rd_net_send(d->net, peer, &(struct rep_bytes){m, sizeof m}, 1);
}

bool rd_members_introduced(struct rd_daemon *d, size_t peer, const unsigned char *bytes, size_t len, const char **why) {
    struct rd_log_about about = {0};
    uint64_t id = fmt_get64(bytes + 8), incarnation = len == RD_INTRODUCTION_SIZE ? fmt_get64(bytes + 16) : 0;
    if (d->log)
        rd_log_about(d->log, &about);
    *why = "introduced itself in a way that cannot be";
    if (len != RD_INTRODUCTION_SIZE || (id == 0) != (incarnation == 0) || fmt_get64(bytes + 24) != 0)
        return false;
    *why = "has the raft id of another node: its store is a copy of that one's (esdb-raftd --rejoin makes it anew)";
    if (id != 0 && id == d->raft_id)
        return false;
    for (size_t i = 0; id != 0 && i < d->config->peer_count; i++)
        if (i != peer && d->peers[i].raft_id == id)
            return false;
    if (incarnation != 0 && about.incarnation != 0 && incarnation != about.incarnation) {
        *why = "has another history of this store (incarnation): it was bootstrapped or restored apart";
        return false;
    }
    if (d->peers[peer].raft_id != id && id != 0)
        rd_say(d, "%s is there, raft id %016llx", d->config->peers[peer].name, (unsigned long long)id);
    d->peers[peer] = (struct rd_peer){.raft_id = id, .incarnation = incarnation};
    if (!d->log && incarnation != 0)
        rd_daemon_join(d, incarnation);
    return true;
}

/* The member with this name. NULL: there is none. */
static const struct rep_server *member_named(const struct rd_daemon *d, const char *name) {
    const struct rep_server *s;
    size_t count = rep_members(d->driver, &s);
    for (size_t i = 0; i < count; i++)
        if (strcmp(s[i].address, name) == 0)
            return &s[i];
    return NULL;
}

/* The change that peer needs. False: none, or it cannot be made now. */
static bool change_for(struct rd_daemon *d, size_t peer) {
    const char *name = d->config->peers[peer].name;
    uint64_t id = d->peers[peer].raft_id;
    const struct rep_server *s = member_named(d, name);
    int rc;
    if (id == 0 || peer == d->config->self || !rd_net_is_up(d->net, peer))
        return false;
    if (s && s->id == id && s->role == REP_VOTER)
        return false;
    if (rd_is_removed(d, name) || !rd_room(d, 0))
        return false;
    uint64_t old = s ? s->id : 0; /* what s points to ends with the event */
    if (!s) {
        rc = rep_add(d->driver, rd_now(d), id, name);
        if (rc == 0)
            rd_say(d, "adding %s, to be caught up", name);
    } else if (old != id) {
        rc = rep_remove(d->driver, rd_now(d), old);
        if (rc == 0)
            rd_say(d, "removing %s as it was: it came back with an empty store", name);
    } else {
        rc = rep_promote(d->driver, rd_now(d), id);
        if (rc == 0)
            rd_say(d, "making %s a voter as soon as it has caught up", name);
    }
    if (rc == REP_EREFUSED)
        rd_say(d, "%s cannot be changed: %s", name, rep_error(d->driver));
    bool done = rc == 0;
    rd_daemon_act(d, rc == REP_EREFUSED || rc == REP_EBUSY || rc == REP_ENOTLEADER ? 0 : rc);
    return done;
}

/* Members that were removed by esdb-cluster. A leader hands over first: the next one removes it. */
static bool remove_unwanted(struct rd_daemon *d) {
    const struct rep_server *s;
    size_t count = rep_members(d->driver, &s);
    for (size_t i = 0; i < count; i++) {
        if (!rd_is_removed(d, s[i].address) || !rd_room(d, 0))
            continue;
        bool self = s[i].id == d->raft_id;
        char name[REP_ADDRESS_MAX + 1];
        snprintf(name, sizeof name, "%s", s[i].address);
        int rc = self ? rep_transfer(d->driver, rd_now(d), 0) : rep_remove(d->driver, rd_now(d), s[i].id);
        if (rc == 0)
            rd_say(d, self ? "hands over, for %s is to be removed" : "removing %s, as was asked for", name);
        rd_daemon_act(d, rc == REP_EREFUSED || rc == REP_EBUSY || rc == REP_ENOTLEADER ? 0 : rc);
        return true;
    }
    return false;
}

void rd_members_change(struct rd_daemon *d) {
    if (!rd_intents_known(d) || !d->ready || remove_unwanted(d))
        return;
    for (size_t i = 0; d->ready && !d->stopping && i < d->config->peer_count; i++)
        if (change_for(d, i))
            return;
}

size_t rd_members_wanted(const struct rd_daemon *d) {
    size_t nodes = d->config->self == d->config->peer_count && !rd_is_removed(d, d->config->node);
    for (size_t i = 0; i < d->config->peer_count; i++)
        nodes += !rd_is_removed(d, d->config->peers[i].name);
    return nodes;
}

bool rd_members_enough(const struct rd_daemon *d) {
    const struct rep_server *s;
    size_t count = rep_members(d->driver, &s), voters = 0;
    size_t nodes = rd_members_wanted(d);
    for (size_t i = 0; i < count; i++)
        voters += s[i].role == REP_VOTER;
    return voters > nodes / 2;
}
