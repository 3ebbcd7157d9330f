/* driver_internal.h: the driver's parts.
 *
 *   actions.c     the list of what the shell is to do, and memory that lives as long as it
 *   steps.c       every call of raft_step, and who owns what before and after it: RAFT.md's rules are kept here only
 *   install.c     a log that ends before the leader's trail begins
 *   membership.c  configurations: bytes, checks, changes
 *   probe.c       does this leader still lead? for reads that must not be stale
 *   driver.c      events, submissions, what follows from a step
 *
 * Invariants, asserted after each event (rep_check):
 *   D1  stored <= synced, stored <= last, committed <= synced <= last
 *   D2  committed never decreases, and nothing at or below it is ever cut
 *   D3  one persisted report a step, strictly rising, never while installing */
#ifndef REP_DRIVER_INTERNAL_H
#define REP_DRIVER_INTERNAL_H

#include <raft.h>

#include "replicate/driver.h"

#define REP_PENDING_MAX 4096u /* submissions that are not decided: what is uncommitted must fit into memory of peers */
#define REP_UNCOMMITTED_MAX 4096u
#define REP_PROBES_MAX 32u /* questions that wait for a quorum; the oldest gives way to another one */

struct rep_chunk;

/* Actions of the event being handled, in order. */
struct rep_actions {
    struct rep_action *at;
    size_t count, room, taken;
    struct rep_chunk *memory; /* what they point to */
    bool failed;              /* no memory: the event failed */
};

struct rep_pending {
    uint64_t index, term;
    void *token;
};

struct rep_probe_state {
    uint64_t number, index, term;
    uint64_t answered[REP_SERVERS_MAX]; /* ids */
    size_t answered_count;
};

struct rep_driver {
    struct raft raft;
    struct rep_options options;
    char *address;
    struct rep_log log;
    uint64_t now, heard; /* heard: from the leader of the present term, last */
    struct rep_actions actions;
    bool started, stopped;
    char error[256];

    uint64_t last;              /* index of the newest frame, as written by REP_ACT_APPEND */
    uint64_t synced;            /* everything up to here is durable */
    uint64_t stored;            /* what raft was told of that */
    uint64_t committed;         /* published */
    uint64_t epoch;             /* counts cuts */
    uint64_t snapshot;          /* last one that raft was told of */
    uint64_t snapshot_checksum; /* of that frame: to find it later may take long */
    uint64_t snapshot_configuration_index;
    unsigned char snapshot_configuration[REP_CONFIGURATION_MAX];
    size_t snapshot_configuration_len;

    struct rep_install install; /* what the leader wants to be there; last_index 0: nothing. Its membership is below */
    unsigned char install_configuration[REP_CONFIGURATION_MAX];
    bool fetched, installing; /* installing: from REP_ACT_ADOPT to rep_installed */

    uint64_t barrier_index, barrier_term; /* first entry of a term that this node led */
    uint64_t told_term, told_leader;
    bool told_leads, told_ready, told_once;

    struct rep_pending pending[REP_PENDING_MAX]; /* a ring, ascending by index */
    size_t pending_first, pending_count;

    struct rep_server members[REP_SERVERS_MAX];
    size_t member_count;
    bool members_changed;
    uint64_t promoting; /* catches up, is promoted then; 0: nobody */

    uint64_t probe_number;
    struct rep_probe_state probes[REP_PROBES_MAX];
    size_t probe_count;
};

/* ---- actions.c ---- */

/* Adds an action; the pointer is good until the next one is added. Never NULL: when memory fails actions.failed is set and
 * a scratch action is returned. */
struct rep_action *rep_act(struct rep_driver *d, enum rep_action_type type);

/* Zeroed memory until the next event; NULL sets actions.failed. */
void *rep_memory(struct rep_driver *d, size_t len);
void *rep_copy(struct rep_driver *d, const void *from, size_t len);
void rep_actions_clear(struct rep_actions *a);
void rep_actions_release(struct rep_actions *a);

/* ---- steps.c ---- */

/* One call of raft_step each, with all that follows from its update turned into actions. 0, or a RAFT_... code of a step
 * that changed nothing; what cannot be survived stops the driver (d->stopped) and returns 0. */
int rep_step_start(struct rep_driver *d, const struct rep_start *s, uint64_t term, uint64_t vote);
int rep_step_timeout(struct rep_driver *d);
int rep_step_persisted(struct rep_driver *d, uint64_t index);
int rep_step_submit(struct rep_driver *d, const struct rep_entry *entries, size_t count);
int rep_step_configuration(struct rep_driver *d, uint64_t index);
int rep_step_snapshot(struct rep_driver *d, uint64_t index, unsigned keep);
int rep_step_transfer(struct rep_driver *d, uint64_t id);
int rep_step_catch_up(struct rep_driver *d, uint64_t id);

/* entries: what the message's frames hold, checked; at most one configuration, and that as the first. */
int rep_step_append(struct rep_driver *d, uint64_t peer, const struct rep_message *m, uint64_t prev_index,
                    uint64_t prev_term, const struct rep_entry *entries, size_t count);
/* has: the log has what it names, which the library only confirms. *begins: it waits for rep_step_installed now. */
int rep_step_install(struct rep_driver *d, uint64_t peer, const struct rep_message *m, bool has, bool *begins);
int rep_step_installed(struct rep_driver *d);
int rep_step_append_result(struct rep_driver *d, uint64_t peer, const struct rep_message *m);
int rep_step_vote(struct rep_driver *d, uint64_t peer, const struct rep_message *m);
int rep_step_vote_result(struct rep_driver *d, uint64_t peer, const struct rep_message *m);
int rep_step_timeout_now(struct rep_driver *d, uint64_t peer, const struct rep_message *m);

/* The node must stop. */
__attribute__((format(printf, 3, 4))) int rep_stop(struct rep_driver *d, int code, const char *format, ...);

/* ---- membership.c ---- */

/* The membership in force, from raft's, to d->members. */
void rep_members_load(struct rep_driver *d);
bool rep_is_sole_voter(const struct rep_driver *d);
const struct rep_server *rep_member(const struct rep_driver *d, uint64_t id);

/* Decodes what rep_configuration_check accepts; addresses are borrowed from bytes. Returns how many servers. */
size_t rep_configuration_decode(const unsigned char *bytes, size_t len, struct rep_server out[REP_SERVERS_MAX]);

/* One change each, as rep_add, rep_promote and rep_remove, within an event. */
int rep_change_add(struct rep_driver *d, uint64_t id, const char *address);
int rep_change_promote(struct rep_driver *d, uint64_t id);
int rep_change_remove(struct rep_driver *d, uint64_t id);

/* Promotes who has caught up. */
int rep_promote_due(struct rep_driver *d);

/* ---- driver.c ---- */

/* Begins an event: false when there can be none any more. */
bool rep_begin(struct rep_driver *d, uint64_t now);

/* Ends it: what follows from it for all. 0 or REP_ESTOPPED. */
int rep_settle(struct rep_driver *d);

/* As rep_settle, for an event that had the result rc itself. */
int rep_end(struct rep_driver *d, int rc);

static inline bool leads(const struct rep_driver *d) {
    return d->raft.state == RAFT_LEADER;
}

/* ---- probe.c ---- */

int rep_receive_probe(struct rep_driver *d, uint64_t peer, const struct rep_message *m);
int rep_receive_probe_result(struct rep_driver *d, uint64_t peer, const struct rep_message *m);

/* No question is answered any more: this node does not lead, or leads another term. */
void rep_drop_probes(struct rep_driver *d);

/* ---- install.c ---- */

int rep_receive_install(struct rep_driver *d, uint64_t peer, const struct rep_message *m);

/* ---- driver.c ---- */

/* The log as it will be when the actions so far are done. */
bool rep_look(const struct rep_driver *d, uint64_t index, struct rep_frame *out);

__attribute__((format(printf, 2, 3))) int rep_refuse(struct rep_driver *d, const char *format, ...);

#endif
