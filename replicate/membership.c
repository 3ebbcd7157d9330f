#include <string.h>

#include "format/bytes.h"
#include "format/frame.h"
#include "replicate/driver_internal.h"

/* libraft's encoding: u8 1, u64 count, then for each server u64 id, address with its zero, u8 role; padded to 8. Its decoder
 * trusts lengths, so what comes from others is checked here first. */
#define ENCODING 1u

size_t rep_configuration_encode(const struct rep_server *servers, size_t count,
                                unsigned char out[REP_CONFIGURATION_MAX]) {
    size_t at = 9;
    if (count == 0 || count > REP_SERVERS_MAX)
        return 0;
    memset(out, 0, REP_CONFIGURATION_MAX);
    out[0] = ENCODING;
    fmt_put64(out + 1, count);
    for (size_t i = 0; i < count; i++) {
        size_t len = strlen(servers[i].address);
        if (len == 0 || len > REP_ADDRESS_MAX || servers[i].id == 0)
            return 0;
        fmt_put64(out + at, servers[i].id);
        memcpy(out + at + 8, servers[i].address, len);
        out[at + 8 + len + 1] = servers[i].role == REP_VOTER ? RAFT_VOTER : RAFT_STANDBY;
        at += 8 + len + 2;
    }
    at = (at + 7) & ~(size_t)7;
    return rep_configuration_check(out, at) ? at : 0;
}

size_t rep_configuration_decode(const unsigned char *bytes, size_t len, struct rep_server out[REP_SERVERS_MAX]) {
    size_t at = 9;
    if (len < 9 || len > REP_CONFIGURATION_MAX || bytes[0] != ENCODING)
        return 0;
    uint64_t count = fmt_get64(bytes + 1);
    if (count == 0 || count > REP_SERVERS_MAX)
        return 0;
    for (uint64_t i = 0; i < count; i++) {
        if (len - at < 8 + 2)
            return 0;
        const unsigned char *address = bytes + at + 8, *end = memchr(address, 0, len - at - 8);
        if (!end || end == address || (size_t)(end - address) > REP_ADDRESS_MAX || end + 1 >= bytes + len ||
            end[1] > RAFT_VOTER)
            return 0;
        out[i] = (struct rep_server){.id = fmt_get64(bytes + at),
                                     .address = (const char *)address,
                                     .role = end[1] == RAFT_VOTER ? REP_VOTER : REP_STANDBY};
        for (uint64_t j = 0; j < i; j++)
            if (out[j].id == out[i].id || strcmp(out[j].address, out[i].address) == 0)
                return 0;
        if (out[i].id == 0)
            return 0;
        at = (size_t)(end + 2 - bytes);
    }
    return (size_t)count;
}

bool rep_configuration_check(const unsigned char *bytes, size_t len) {
    struct rep_server servers[REP_SERVERS_MAX];
    size_t count = rep_configuration_decode(bytes, len, servers), voters = 0;
    for (size_t i = 0; i < count; i++)
        voters += servers[i].role == REP_VOTER;
    return voters > 0;
}

void rep_members_load(struct rep_driver *d) {
    const struct raft_configuration *c = &d->raft.configuration;
    d->member_count = c->n < REP_SERVERS_MAX ? c->n : REP_SERVERS_MAX;
    for (size_t i = 0; i < d->member_count; i++)
        d->members[i] = (struct rep_server){.id = c->servers[i].id,
                                            .address = c->servers[i].address,
                                            .role = c->servers[i].role == RAFT_VOTER ? REP_VOTER : REP_STANDBY};
}

size_t rep_members(const struct rep_driver *d, const struct rep_server **out) {
    *out = d->members;
    return d->member_count;
}

const struct rep_server *rep_member(const struct rep_driver *d, uint64_t id) {
    for (size_t i = 0; i < d->member_count; i++)
        if (d->members[i].id == id)
            return &d->members[i];
    return NULL;
}

bool rep_is_sole_voter(const struct rep_driver *d) {
    size_t voters = 0;
    const struct rep_server *self = rep_member(d, d->options.id);
    for (size_t i = 0; i < d->member_count; i++)
        voters += d->members[i].role == REP_VOTER;
    return voters == 1 && self && self->role == REP_VOTER;
}

/* ---- changes ---- */

/* Submits a membership that differs in one server. */
static int change(struct rep_driver *d, const struct rep_server *servers, size_t count) {
    unsigned char *bytes = rep_memory(d, REP_CONFIGURATION_MAX);
    struct rep_entry *e = rep_memory(d, sizeof *e);
    if (!bytes || !e)
        return -1;
    size_t len = rep_configuration_encode(servers, count, bytes);
    if (len == 0)
        return rep_refuse(d, "this membership is not possible");
    *e = (struct rep_entry){.index = d->last + 1,
                            .term = rep_term(d),
                            .kind = FMT_FRAME_CONFIGURATION,
                            .payload = bytes,
                            .payload_len = len};
    int rc = rep_step_submit(d, e, 1);
    return rc == 0 ? 0 : rc == RAFT_CANTCHANGE ? REP_EBUSY : rep_refuse(d, "%s", raft_strerror(rc));
}

static int change_possible(struct rep_driver *d) {
    if (!rep_ready(d))
        return REP_ENOTLEADER;
    return d->raft.configuration_uncommitted_index != 0 || d->promoting != 0 ? REP_EBUSY : 0;
}

/* The one that is being promoted becomes a voter. */
static int promote(struct rep_driver *d) {
    struct rep_server servers[REP_SERVERS_MAX];
    for (size_t i = 0; i < d->member_count; i++) {
        servers[i] = d->members[i];
        if (servers[i].id == d->promoting)
            servers[i].role = REP_VOTER;
    }
    d->promoting = 0;
    return change(d, servers, d->member_count);
}

int rep_promote_due(struct rep_driver *d) {
    int status = RAFT_CATCH_UP_NONE;
    const struct rep_server *who = rep_member(d, d->promoting);
    if (!rep_ready(d) || !who || who->role == REP_VOTER || raft_catch_up(&d->raft, d->promoting, &status) != 0) {
        d->promoting = 0;
        return 0;
    }
    if (status == RAFT_CATCH_UP_RUNNING)
        return 0;
    if (status == RAFT_CATCH_UP_FINISHED)
        return promote(d);
    d->promoting = 0; /* it was too slow */
    d->members_changed = true;
    return 0;
}

/* The others keep their order: raft carries what it knows of peers over by place. */
int rep_change_add(struct rep_driver *d, uint64_t id, const char *address) {
    struct rep_server servers[REP_SERVERS_MAX];
    int rc = change_possible(d);
    if (rc != 0)
        return rc;
    if (d->member_count >= REP_SERVERS_MAX)
        return rep_refuse(d, "%u servers are the most", REP_SERVERS_MAX);
    memcpy(servers, d->members, d->member_count * sizeof *servers);
    servers[d->member_count] = (struct rep_server){.id = id, .address = address, .role = REP_STANDBY};
    return change(d, servers, d->member_count + 1);
}

int rep_change_promote(struct rep_driver *d, uint64_t id) {
    int rc = change_possible(d);
    if (rc != 0)
        return rc;
    const struct rep_server *who = rep_member(d, id);
    if (!who || who->role == REP_VOTER)
        return rep_refuse(d, "server %llu is no standby", (unsigned long long)id);
    uint64_t match;
    int status = RAFT_CATCH_UP_NONE;
    d->promoting = id;
    if (rep_match(d, id, &match) && match == d->last)
        return promote(d);
    if (raft_catch_up(&d->raft, id, &status) == 0 && status == RAFT_CATCH_UP_RUNNING)
        return 0; /* since this node led before */
    return rep_step_catch_up(d, id);
}

int rep_change_remove(struct rep_driver *d, uint64_t id) {
    struct rep_server servers[REP_SERVERS_MAX];
    size_t count = 0, voters = 0;
    int rc = change_possible(d);
    if (rc != 0)
        return rc;
    if (!rep_member(d, id))
        return rep_refuse(d, "server %llu is not a member", (unsigned long long)id);
    for (size_t i = 0; i < d->member_count; i++)
        if (d->members[i].id != id) {
            servers[count++] = d->members[i];
            voters += d->members[i].role == REP_VOTER;
        }
    if (voters == 0)
        return rep_refuse(d, "server %llu is the last voter", (unsigned long long)id);
    return change(d, servers, count);
}
