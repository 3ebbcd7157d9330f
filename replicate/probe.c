/* Reads that must not be stale: the leader asks the voters whether they still follow it. */
#include <errno.h>
#include <string.h>

#include "replicate/driver_internal.h"

static void end_probe(struct rep_driver *d, size_t at, int result) {
    struct rep_action *a = rep_act(d, REP_ACT_PROBED);
    a->number = d->probes[at].number;
    a->index = d->probes[at].index;
    a->result = result;
    memmove(d->probes + at, d->probes + at + 1, (--d->probe_count - at) * sizeof *d->probes);
}

static bool has_answered(const struct rep_probe_state *p, uint64_t id) {
    size_t i = 0;
    while (i < p->answered_count && p->answered[i] != id)
        i++;
    return i < p->answered_count;
}

/* Of the membership as it is now: the newest, committed or not. */
static void count_probe(struct rep_driver *d, size_t at) {
    size_t voters = 0, with = 0;
    for (size_t i = 0; i < d->member_count; i++) {
        bool voter = d->members[i].role == REP_VOTER;
        voters += voter;
        with += voter && (d->members[i].id == d->options.id || has_answered(&d->probes[at], d->members[i].id));
    }
    if (with > voters / 2)
        end_probe(d, at, 0);
}

int rep_confirm(struct rep_driver *d, uint64_t now, uint64_t *number) {
    if (!rep_begin(d, now))
        return REP_ESTOPPED;
    if (!rep_ready(d))
        return rep_end(d, REP_ENOTLEADER);
    if (d->probe_count == REP_PROBES_MAX) /* its answers were lost */
        end_probe(d, 0, REP_EBUSY);
    struct rep_probe_state *p = &d->probes[d->probe_count++];
    *p = (struct rep_probe_state){
        .number = ++d->probe_number, .index = raft_commit_index(&d->raft), .term = rep_term(d)};
    *number = p->number;
    struct rep_message *m = rep_memory(d, sizeof *m);
    if (m)
        *m = (struct rep_message){.type = REP_PROBE, .term = p->term, .probe = {.number = p->number}};
    for (size_t i = 0; m && i < d->member_count; i++) {
        if (d->members[i].role != REP_VOTER || d->members[i].id == d->options.id)
            continue;
        const char *address = rep_copy(d, d->members[i].address, strlen(d->members[i].address) + 1);
        struct rep_action *a = rep_act(d, REP_ACT_SEND);
        a->peer = d->members[i].id;
        a->address = address;
        a->message = m;
    }
    count_probe(d, d->probe_count - 1); /* maybe it is the only voter */
    return rep_settle(d);
}

int rep_receive_probe(struct rep_driver *d, uint64_t peer, const struct rep_message *m) {
    struct rep_message *answer = rep_memory(d, sizeof *answer);
    if (!answer)
        return 0;
    *answer = (struct rep_message){
        .type = REP_PROBE_RESULT,
        .term = rep_term(d),
        .probe_result = {.number = m->probe.number, .follows = rep_term(d) == m->term && m->term != 0}};
    struct rep_action *a = rep_act(d, REP_ACT_SEND);
    a->peer = peer;
    a->address = "?";
    a->message = answer;
    return 0;
}

int rep_receive_probe_result(struct rep_driver *d, uint64_t peer, const struct rep_message *m) {
    for (size_t i = 0; i < d->probe_count; i++) {
        struct rep_probe_state *p = &d->probes[i];
        if (p->number != m->probe_result.number || p->term != m->term || !m->probe_result.follows || !leads(d) ||
            rep_term(d) != m->term)
            continue;
        if (!has_answered(p, peer) && p->answered_count < REP_SERVERS_MAX)
            p->answered[p->answered_count++] = peer;
        count_probe(d, i);
        return 0;
    }
    return 0;
}

void rep_drop_probes(struct rep_driver *d) {
    for (size_t i = 0; i < d->probe_count; i++) {
        struct rep_action *a = rep_act(d, REP_ACT_PROBED);
        a->number = d->probes[i].number;
        a->result = REP_ENOTLEADER;
    }
    d->probe_count = 0;
}
