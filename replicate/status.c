/* status.c: what a node says about itself and its cluster, to local tools. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "daemon_internal.h"
#include "libcore/error.h"

__attribute__((format(printf, 2, 3))) static void put(struct es_buffer *out, const char *format, ...) {
    char text[512];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    es_buffer_add(out, text, n < 0 ? 0 : (size_t)n < sizeof text ? (size_t)n : sizeof text - 1);
}

static const char *role_of(const struct rd_daemon *d) {
    return d->leads ? "leader" : d->leader ? "follower" : "candidate";
}

/* NULL: appends go on, with every configured node; else why not. */
static const char *trouble(const struct rd_daemon *d) {
    const struct rep_server *s;
    size_t count = rep_members(d->driver, &s), voters = 0;
    size_t nodes = rd_members_wanted(d);
    for (size_t i = 0; i < count; i++)
        voters += s[i].role == REP_VOTER;
    if (d->leader == 0)
        return rd_is_removed(d, d->config->node)
                   ? "this node was removed (esdb-cluster add on another one takes it back)"
                   : "there is no leader";
    if (voters < nodes)
        return "not every configured node is a voter";
    if (!d->leads)
        return NULL; /* how the others do is the leader's to say */
    if (!d->ready)
        return "the leader is not ready yet";
    for (size_t i = 0; i < d->config->peer_count; i++)
        if (i != d->config->self && !rd_is_removed(d, d->config->peers[i].name) && !rd_net_is_up(d->net, i))
            return "a node cannot be reached";
    uint64_t committed = rep_committed(d->driver);
    for (size_t i = 0; i < count; i++) {
        uint64_t match = 0;
        if (s[i].id != d->raft_id && (!rep_match(d->driver, s[i].id, &match) || match < committed))
            return "a node lags behind";
    }
    return NULL;
}

static void put_members(const struct rd_daemon *d, bool json, struct es_buffer *out) {
    const struct rep_server *s;
    size_t count = rep_members(d->driver, &s);
    uint64_t last = rep_next_index(d->driver) - 1;
    for (size_t i = 0; i < count; i++) {
        size_t peer = rd_member_peer(d, s[i].id);
        bool self = s[i].id == d->raft_id, known = d->leads && !self;
        uint64_t match = self ? last : 0;
        if (known)
            known = rep_match(d->driver, s[i].id, &match);
        bool up = self || (peer < d->config->peer_count && rd_net_is_up(d->net, peer));
        const char *role = s[i].role == REP_VOTER ? "voter" : "standby";
        if (json) {
            put(out, "%s{\"name\":\"%s\",\"raft_id\":\"%016llx\",\"role\":\"%s\",\"self\":%s,\"connected\":%s",
                i ? "," : "", s[i].address, (unsigned long long)s[i].id, role, self ? "true" : "false",
                up ? "true" : "false");
            if (known)
                put(out, ",\"match\":%llu,\"lag\":%llu,\"queued_bytes\":%zu", (unsigned long long)match,
                    (unsigned long long)(last - match), peer < d->config->peer_count ? rd_net_queued(d->net, peer) : 0);
            put(out, "}");
            continue;
        }
        put(out, "%-16s %-8s %-12s", s[i].address, role, self ? "this node" : up ? "connected" : "unreachable");
        if (known)
            put(out, " match %llu, lag %llu", (unsigned long long)match, (unsigned long long)(last - match));
        put(out, "\n");
    }
}

static void put_status(const struct rd_daemon *d, bool json, struct es_buffer *out) {
    const char *wrong = trouble(d), *leader = d->leader ? rd_member_name(d, d->leader) : "";
    unsigned long long term = rep_term(d->driver), commit = rep_committed(d->driver),
                       last = rep_next_index(d->driver) - 1;
    if (json) {
        put(out, "{\"node\":\"%s\",\"role\":\"%s\",\"leader\":\"%s\",\"term\":%llu,\"commit\":%llu,\"last\":%llu,",
            d->config->node, role_of(d), leader, term, commit, last);
        put(out, "\"healthy\":%s,\"trouble\":\"%s\",\"members\":[", wrong ? "false" : "true", wrong ? wrong : "");
        put_members(d, true, out);
        put(out, "]}\n");
        return;
    }
    put(out, "node %s: %s, leader %s, term %llu, commit %llu, last %llu\n", d->config->node, role_of(d),
        d->leader ? leader : "none", term, commit, last);
    put(out, "%s%s\n", wrong ? "not healthy: " : "healthy", wrong ? wrong : "");
    put_members(d, false, out);
}

static int transfer(struct rd_daemon *d, const char *name, struct es_buffer *out) {
    const struct rep_server *s;
    size_t count = rep_members(d->driver, &s);
    uint64_t id = 0;
    for (size_t i = 0; i < count; i++)
        if (strcmp(s[i].address, name) == 0 && s[i].role == REP_VOTER)
            id = s[i].id;
    if (!d->leads) {
        put(out, "%s does not lead; ask %s", d->config->node, d->leader ? rd_member_name(d, d->leader) : "again later");
        return ESDB_EUNAVAILABLE;
    }
    if (id == 0 || id == d->raft_id) {
        put(out, id ? "%s leads already\n" : "%s is no voter of this store", name);
        return id ? 0 : ESDB_EUSAGE;
    }
    int rc = rep_transfer(d->driver, rd_now(d), id);
    if (rc != 0)
        put(out, "cannot hand over now: %s", rc == REP_EREFUSED ? rep_error(d->driver) : "a change is under way");
    rd_daemon_act(d, rc == REP_EREFUSED || rc == REP_ENOTLEADER || rc == REP_EBUSY ? 0 : rc);
    return rc == 0 ? 0 : ESDB_EUNAVAILABLE;
}

/* "voter", "standby", "no member": of a node that is in the configuration or the membership. */
static int put_node(const struct rd_daemon *d, const char *name, struct es_buffer *out) {
    const struct rep_server *s;
    size_t count = rep_members(d->driver, &s);
    bool known = strcmp(d->config->node, name) == 0;
    for (size_t i = 0; i < count; i++)
        if (strcmp(s[i].address, name) == 0) {
            bool left = d->leader == 0 && s[i].id == d->raft_id && rd_is_removed(d, name);
            put(out, "%s%s", s[i].role == REP_VOTER ? "voter" : "standby",
                left ? ", as far as it knows itself (ask another node)" : "");
            return 0;
        }
    for (size_t i = 0; i < d->config->peer_count; i++)
        known = known || strcmp(d->config->peers[i].name, name) == 0;
    put(out, known ? "no member" : "%s: no such node in the configuration", name);
    return known ? 0 : ESDB_EUSAGE;
}

int rd_status_answer(struct rd_daemon *d, const char *question, struct es_buffer *out) {
    if (strcmp(question, "status") == 0 || strcmp(question, "status json") == 0) {
        put_status(d, question[6] != '\0', out);
        return 0;
    }
    if (strcmp(question, "members") == 0) {
        put_members(d, false, out);
        return 0;
    }
    if (strcmp(question, "health") == 0) {
        const char *wrong = trouble(d);
        put(out, "%s", wrong ? wrong : "healthy");
        return wrong ? ESDB_EUNAVAILABLE : 0;
    }
    if (strncmp(question, "node ", 5) == 0)
        return put_node(d, question + 5, out);
    if (strcmp(question, "leader") == 0) {
        put(out, "term %llu leader %s\n", (unsigned long long)rep_term(d->driver),
            d->leader ? rd_member_name(d, d->leader) : "none");
        return 0;
    }
    if (strncmp(question, "transfer ", 9) == 0)
        return transfer(d, question + 9, out);
    put(out, "an unknown question");
    return ESDB_EUSAGE;
}
