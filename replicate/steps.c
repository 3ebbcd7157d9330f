/* steps.c: every call of raft_step, and who owns what. As of libraft 0.22.1:
 *
 *   entries array of SUBMIT, RECEIVE   ours, before and after
 *   entries[0].batch of RECEIVE        ours again when the update names entries; freed by the library otherwise
 *   entries[0].batch of SUBMIT         ours, before and after
 *   entries[0].batch of a barrier      that the library makes when it becomes leader: ours
 *   START: entries, batches            ours after success, freed by the library when it fails
 *   START, PERSISTED_SNAPSHOT, SNAPSHOT, CONFIGURATION: the configuration is the library's afterwards
 *   update.messages                    the library's, until the next step; addresses until the next change of membership
 *
 * A batch stands for bytes that the library never looks at (they are in the log); only configurations are decoded. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/frame.h"
#include "libcore/esdb.h"
#include "replicate/driver_internal.h"

/* What messages say of themselves; FEATURE_CAPACITY is not among it, so nobody relies on the capacity. */
#define VOTE_VERSION 2u
#define RESULT_VERSION 2u

/* Where the entries that an update names come from. */
struct source {
    const struct rep_entry *entries;
    size_t count;
    uint64_t stale_term_of; /* the peer whose message has an old term; the answer is not fully set by the library */
};

int rep_stop(struct rep_driver *d, int code, const char *format, ...) {
    va_list args;
    if (d->stopped)
        return 0;
    d->stopped = true;
    va_start(args, format);
    vsnprintf(d->error, sizeof d->error, format, args);
    va_end(args);
    struct rep_action *a = rep_act(d, REP_ACT_STOP);
    a->code = code;
    a->text = d->error;
    return 0;
}

/* ---- what follows from a step ---- */

static const struct rep_entry *find(const struct source *src, uint64_t index) {
    for (size_t i = 0; src && i < src->count; i++)
        if (src->entries[i].index == index)
            return &src->entries[i];
    return NULL;
}

static void handle_entries(struct rep_driver *d, const struct raft_update *u, const struct source *src) {
    uint64_t first = u->entries.index;
    struct rep_entry *entries = rep_memory(d, u->entries.n * sizeof *entries);
    if (first <= d->committed || first > d->last + 1) {
        rep_stop(d, ESDB_ECORRUPT, "frame %llu would be written, where %llu are committed and %llu are there",
                 (unsigned long long)first, (unsigned long long)d->committed, (unsigned long long)d->last);
        return;
    }
    if (!entries)
        return;
    for (unsigned i = 0; i < u->entries.n; i++) {
        const struct raft_entry *e = &u->entries.batch[i];
        const struct rep_entry *given = find(src, first + i);
        if (given && given->term == e->term)
            entries[i] = *given;
        else if (!given && e->type == RAFT_BARRIER)
            entries[i] = (struct rep_entry){.index = first + i, .term = e->term, .kind = FMT_FRAME_BARRIER};
        else
            rep_stop(d, ESDB_ECORRUPT, "frame %llu is not the one that was given", (unsigned long long)(first + i));
        if (entries[i].kind == FMT_FRAME_BARRIER && e->term == d->raft.current_term && d->raft.state == RAFT_LEADER &&
            d->barrier_term != e->term) {
            d->barrier_term = e->term;
            d->barrier_index = first + i;
        }
    }
    if (first <= d->last) {
        rep_act(d, REP_ACT_CUT)->index = first;
        d->epoch++;
        d->last = first - 1;
        d->synced = d->last; /* the cut is durable, and with it all before */
        if (d->stored > d->last)
            d->stored = d->last;
    }
    struct rep_action *a = rep_act(d, REP_ACT_APPEND);
    a->entries = entries;
    a->entry_count = u->entries.n;
    a->epoch = d->epoch;
    d->last = first + u->entries.n - 1;
}

static bool translate(struct rep_driver *d, const struct raft_message *m, const struct source *src,
                      struct rep_message *out) {
    struct rep_frame last = {0};
    out->term = d->raft.current_term;
    switch (m->type) {
    case RAFT_APPEND_ENTRIES:
        out->type = REP_APPEND;
        out->term = m->append_entries.term;
        out->append = (struct rep_append){.prev_index = m->append_entries.prev_log_index,
                                          .prev_term = m->append_entries.prev_log_term,
                                          .commit = m->append_entries.leader_commit,
                                          .frames = {.count = m->append_entries.n_entries}};
        return true;
    case RAFT_APPEND_ENTRIES_RESULT:
        out->type = REP_APPEND_RESULT;
        out->term = m->append_entries_result.term;
        out->append_result = (struct rep_append_result){.rejected = m->append_entries_result.rejected,
                                                        .last = m->append_entries_result.last_log_index};
        if (src && src->stale_term_of == m->server_id)
            out->append_result.last = 0;
        return true;
    case RAFT_REQUEST_VOTE:
        out->type = REP_VOTE;
        out->term = m->request_vote.term;
        out->vote = (struct rep_vote){.candidate = m->request_vote.candidate_id,
                                      .last_index = m->request_vote.last_log_index,
                                      .last_term = m->request_vote.last_log_term,
                                      .disrupt = m->request_vote.disrupt_leader,
                                      .pre = m->request_vote.pre_vote};
        return true;
    case RAFT_REQUEST_VOTE_RESULT:
        out->type = REP_VOTE_RESULT;
        out->term = m->request_vote_result.term;
        if (m->request_vote_result.pre_vote && !m->request_vote_result.vote_granted && out->term < d->raft.current_term)
            out->term =
                d->raft
                    .current_term; /* the library gives back the candidate's: it would ask in its old term for ever */
        out->vote_result = (struct rep_vote_result){.granted = m->request_vote_result.vote_granted,
                                                    .pre = m->request_vote_result.pre_vote};
        return true;
    case RAFT_TIMEOUT_NOW:
        out->type = REP_TIMEOUT_NOW;
        out->term = m->timeout_now.term;
        out->timeout_now = (struct rep_timeout_now){.last_index = m->timeout_now.last_log_index,
                                                    .last_term = m->timeout_now.last_log_term};
        return true;
    case RAFT_INSTALL_SNAPSHOT:
        out->type = REP_INSTALL;
        out->term = m->install_snapshot.term;
        if (m->install_snapshot.last_index == d->snapshot)
            last.checksum = d->snapshot_checksum;
        if (last.checksum == 0)
            rep_look(d, m->install_snapshot.last_index, &last);
        out->install = (struct rep_install){.last_checksum = last.checksum,
                                            .last_index = m->install_snapshot.last_index,
                                            .last_term = m->install_snapshot.last_term,
                                            .configuration_index = d->snapshot_configuration_index,
                                            .configuration = d->snapshot_configuration,
                                            .configuration_len = d->snapshot_configuration_len};
        return true;
    }
    return false;
}

static void handle_messages(struct rep_driver *d, const struct raft_update *u, const struct source *src) {
    for (unsigned i = 0; i < u->messages.n; i++) {
        const struct raft_message *m = &u->messages.batch[i];
        struct rep_message *copy = rep_memory(d, sizeof *copy);
        if (!copy)
            return;
        if (m->server_id == d->options.id || !translate(d, m, src, copy))
            continue;
        const char *address = rep_copy(d, m->server_address, strlen(m->server_address) + 1);
        struct rep_action *a = rep_act(d, REP_ACT_SEND);
        a->peer = m->server_id;
        a->address = address;
        a->message = copy;
    }
}

/* Order matters: term and vote, the log, messages. What is committed follows in rep_settle. */
static void handle(struct rep_driver *d, const struct raft_update *u, const struct source *src) {
    if (u->flags & (RAFT_UPDATE_CURRENT_TERM | RAFT_UPDATE_VOTED_FOR)) {
        struct rep_action *a = rep_act(d, REP_ACT_SAVE);
        a->term = raft_current_term(&d->raft);
        a->vote = raft_voted_for(&d->raft);
    }
    if (u->flags & RAFT_UPDATE_ENTRIES) {
        handle_entries(d, u, src);
        if (u->entries.batch == &d->raft.barrier) {
            raft_free(d->raft.barrier.batch);
            d->raft.barrier.batch = NULL;
        }
    }
    if (!d->stopped && (u->flags & RAFT_UPDATE_MESSAGES || u->messages.n > 0))
        handle_messages(d, u, src);
    rep_members_load(d);
}

/* A code that is handed back says that the step has changed nothing. */
static int step(struct rep_driver *d, struct raft_event *e, const struct source *src, struct raft_update *u) {
    memset(u, 0, sizeof *u);
    e->time = d->now;
    if (d->stopped)
        return 0;
    int rc = raft_step(&d->raft, e, u);
    if (rc == RAFT_NOMEM)
        rep_stop(d, -12 /* ENOMEM */, "no memory for consensus");
    else if (rc == RAFT_SHUTDOWN)
        rep_stop(d, ESDB_ECORRUPT, "the leader's log contradicts what is committed here");
    else if (rc != 0)
        return rc;
    else
        handle(d, u, src);
    return 0;
}

/* ---- configurations ---- */

static int to_raft(const struct rep_server *servers, size_t count, struct raft_configuration *out) {
    raft_configuration_init(out);
    for (size_t i = 0; i < count; i++) {
        int rc = raft_configuration_add(out, servers[i].id, servers[i].address,
                                        servers[i].role == REP_VOTER ? RAFT_VOTER : RAFT_STANDBY);
        if (rc != 0) {
            raft_configuration_close(out);
            return rc;
        }
    }
    return 0;
}

static int bytes_to_raft(const unsigned char *bytes, size_t len, struct raft_configuration *out) {
    struct rep_server servers[REP_SERVERS_MAX];
    size_t count = rep_configuration_decode(bytes, len, servers);
    return count ? to_raft(servers, count, out) : RAFT_MALFORMED;
}

/* ---- starting ---- */

static enum raft_entry_type type_of(uint8_t kind) {
    return kind == FMT_FRAME_CONFIGURATION ? RAFT_CHANGE : kind == FMT_FRAME_BARRIER ? RAFT_BARRIER : RAFT_COMMAND;
}

/* The one batch of an array of entries. */
static void *new_batch(void) {
    return raft_malloc(8);
}

int rep_step_start(struct rep_driver *d, const struct rep_start *s, uint64_t term, uint64_t vote) {
    struct raft_snapshot_metadata metadata = {0};
    struct raft_entry *entries = NULL;
    struct raft_event e = {.type = RAFT_START};
    struct raft_update u;
    if (s->past_count) {
        entries = raft_malloc(s->past_count * sizeof *entries);
        void *batch = new_batch();
        if (!entries || !batch) {
            raft_free(entries);
            raft_free(batch);
            return rep_stop(d, -12, "no memory for consensus");
        }
        for (size_t i = 0; i < s->past_count; i++)
            entries[i] = (struct raft_entry){.term = s->past[i].term,
                                             .type = type_of(s->past[i].kind),
                                             .buf = {(void *)(uintptr_t)s->past[i].payload, s->past[i].payload_len},
                                             .batch = batch};
    }
    if (s->committed) {
        metadata.index = s->committed;
        metadata.term = s->committed_term;
        metadata.configuration_index = s->configuration_index;
        if (bytes_to_raft(s->configuration, s->configuration_len, &metadata.configuration) != 0) {
            if (entries)
                raft_free(entries[0].batch);
            raft_free(entries);
            return rep_stop(d, ESDB_ECORRUPT, "the membership of frame %llu cannot be used",
                            (unsigned long long)s->configuration_index);
        }
        e.start.metadata = &metadata;
    }
    e.start.term = term;
    e.start.voted_for = vote;
    e.start.start_index = s->first;
    e.start.entries = entries;
    e.start.n_entries = (unsigned)s->past_count;
    void *batch = entries ? entries[0].batch : NULL;
    memset(&u, 0, sizeof u);
    e.time = d->now;
    int rc = raft_step(&d->raft, &e, &u);
    if (rc != 0) /* 0.22.1 has freed entries and batches */
        return rep_stop(d, rc == RAFT_NOMEM ? -12 : ESDB_ECORRUPT, "consensus cannot start: %s", raft_strerror(rc));
    raft_free(batch);
    raft_free(entries);
    handle(d, &u, NULL);
    return 0;
}

/* ---- events without contents ---- */

int rep_step_timeout(struct rep_driver *d) {
    struct raft_event e = {.type = RAFT_TIMEOUT};
    struct raft_update u;
    return step(d, &e, NULL, &u);
}

int rep_step_persisted(struct rep_driver *d, uint64_t index) {
    struct raft_event e = {.type = RAFT_PERSISTED_ENTRIES, .persisted_entries = {.index = index}};
    struct raft_update u;
    if (index <= d->stored || index > d->last || d->raft.snapshot.installing || d->raft.state == RAFT_CANDIDATE)
        return 0;
    d->stored = index;
    return step(d, &e, NULL, &u);
}

int rep_step_configuration(struct rep_driver *d, uint64_t index) {
    struct raft_event e = {.type = RAFT_CONFIGURATION, .configuration = {.index = index}};
    struct raft_update u;
    if (to_raft(d->members, d->member_count, &e.configuration.conf) != 0)
        return rep_stop(d, -12, "no memory for consensus");
    return step(d, &e, NULL, &u);
}

int rep_step_snapshot(struct rep_driver *d, uint64_t index, unsigned keep) {
    struct raft_event e = {.type = RAFT_SNAPSHOT, .snapshot = {.trailing = keep}};
    struct rep_frame last = {0};
    struct raft_update u;
    struct rep_server servers[REP_SERVERS_MAX];
    const struct raft_configuration *c = &d->raft.configuration_committed;
    size_t count = c->n < REP_SERVERS_MAX ? c->n : REP_SERVERS_MAX;
    for (size_t i = 0; i < count; i++)
        servers[i] = (struct rep_server){.id = c->servers[i].id,
                                         .address = c->servers[i].address,
                                         .role = c->servers[i].role == RAFT_VOTER ? REP_VOTER : REP_STANDBY};
    e.snapshot.metadata.index = index;
    e.snapshot.metadata.configuration_index = d->raft.configuration_committed_index;
    d->snapshot = index;
    rep_look(d, index, &last);
    d->snapshot_checksum = last.checksum;
    d->snapshot_configuration_index = d->raft.configuration_committed_index;
    d->snapshot_configuration_len = rep_configuration_encode(servers, count, d->snapshot_configuration);
    if (to_raft(servers, count, &e.snapshot.metadata.configuration) != 0)
        return rep_stop(d, -12, "no memory for consensus");
    return step(d, &e, NULL, &u);
}

int rep_step_transfer(struct rep_driver *d, uint64_t id) {
    struct raft_event e = {.type = RAFT_TRANSFER, .transfer = {.server_id = id}};
    struct raft_update u;
    return step(d, &e, NULL, &u);
}

int rep_step_catch_up(struct rep_driver *d, uint64_t id) {
    struct raft_event e = {.type = RAFT_CATCH_UP, .catch_up = {.server_id = id}};
    struct raft_update u;
    return step(d, &e, NULL, &u);
}

/* ---- entries ---- */

/* As the library takes them, in memory of the driver; *batch is for raft_free. NULL: no memory, nothing to free. */
static struct raft_entry *entries_to_raft(struct rep_driver *d, const struct rep_entry *entries, size_t count,
                                          void **batch) {
    struct raft_entry *r = rep_memory(d, count * sizeof *r);
    *batch = r ? new_batch() : NULL;
    if (!*batch)
        return NULL;
    for (size_t i = 0; i < count; i++)
        r[i] = (struct raft_entry){.term = entries[i].term,
                                   .type = type_of(entries[i].kind),
                                   .buf = {(void *)(uintptr_t)entries[i].payload, entries[i].payload_len},
                                   .batch = *batch};
    return r;
}

int rep_step_submit(struct rep_driver *d, const struct rep_entry *entries, size_t count) {
    struct raft_event e = {.type = RAFT_SUBMIT};
    struct raft_update u;
    void *batch;
    struct raft_entry *r = entries_to_raft(d, entries, count, &batch);
    if (!r)
        return RAFT_NOMEM;
    e.submit.entries = r;
    e.submit.n = (unsigned)count;
    struct source src = {.entries = entries, .count = count};
    int rc = step(d, &e, &src, &u);
    raft_free(batch);
    return rc;
}

/* The address by which the library answers; it needs one. */
static const char *address_of(const struct rep_driver *d, uint64_t peer) {
    const struct rep_server *s = rep_member(d, peer);
    return s ? s->address : "?";
}

int rep_step_append(struct rep_driver *d, uint64_t peer, const struct rep_message *m, uint64_t prev_index,
                    uint64_t prev_term, const struct rep_entry *entries, size_t count) {
    if (m->term >= d->raft.current_term)
        d->heard = d->now;
    struct raft_message message = {.type = RAFT_APPEND_ENTRIES, .server_id = peer};
    struct raft_append_entries *a = &message.append_entries;
    struct raft_event e = {.type = RAFT_RECEIVE, .receive = {.message = &message}};
    struct raft_update u;
    struct raft_entry *r = NULL;
    void *batch = NULL;
    char address[REP_ADDRESS_MAX + 1];
    snprintf(address, sizeof address, "%s", address_of(d, peer)); /* that of the membership may go in this very step */
    message.server_address = address;
    if (count && !(r = entries_to_raft(d, entries, count, &batch)))
        return RAFT_NOMEM;
    *a = (struct raft_append_entries){.term = m->term,
                                      .prev_log_index = prev_index,
                                      .prev_log_term = prev_term,
                                      /* the library would count what it has not compared yet */
                                      .leader_commit =
                                          m->append.commit < prev_index + count ? m->append.commit : prev_index + count,
                                      .entries = r,
                                      .n_entries = (unsigned)count};
    struct source src = {
        .entries = entries, .count = count, .stale_term_of = m->term < d->raft.current_term ? peer : 0};
    int rc = step(d, &e, &src, &u);
    if (u.flags & RAFT_UPDATE_ENTRIES)
        raft_free(batch);
    return rc;
}

/* ---- installing ---- */

int rep_step_install(struct rep_driver *d, uint64_t peer, const struct rep_message *m, bool has, bool *begins) {
    struct raft_message message = {.type = RAFT_INSTALL_SNAPSHOT, .server_id = peer};
    struct raft_install_snapshot *a = &message.install_snapshot;
    struct raft_event e = {.type = RAFT_RECEIVE, .receive = {.message = &message}};
    struct raft_update u;
    char address[REP_ADDRESS_MAX + 1];
    snprintf(address, sizeof address, "%s", address_of(d, peer));
    message.server_address = address;
    *a = (struct raft_install_snapshot){.term = m->term,
                                        .last_index = m->install.last_index,
                                        .last_term = m->install.last_term,
                                        .conf_index = m->install.configuration_index};
    raft_configuration_init(&a->conf);
    if (!has && bytes_to_raft(m->install.configuration, m->install.configuration_len, &a->conf) != 0)
        return rep_stop(d, -12, "no memory for consensus");
    struct source src = {.stale_term_of = m->term < d->raft.current_term ? peer : 0};
    int rc = step(d, &e, &src, &u);
    *begins = rc == 0 && (u.flags & RAFT_UPDATE_SNAPSHOT);
    if (*begins) /* ours now; another copy goes back when it is done. Otherwise the library has freed it */
        raft_configuration_close(&a->conf);
    return rc;
}

int rep_step_installed(struct rep_driver *d) {
    struct raft_event e = {.type = RAFT_PERSISTED_SNAPSHOT, .persisted_snapshot = {.last = true}};
    struct raft_snapshot_metadata *m = &e.persisted_snapshot.metadata;
    struct raft_update u;
    m->index = d->install.last_index;
    m->term = d->install.last_term;
    m->configuration_index = d->install.configuration_index;
    if (bytes_to_raft(d->install_configuration, d->install.configuration_len, &m->configuration) != 0)
        return rep_stop(d, -12, "no memory for consensus");
    return step(d, &e, NULL, &u);
}

/* ---- other messages ---- */

static int receive(struct rep_driver *d, uint64_t peer, struct raft_message *message) {
    struct raft_event e = {.type = RAFT_RECEIVE, .receive = {.message = message}};
    struct raft_update u;
    char address[REP_ADDRESS_MAX + 1];
    snprintf(address, sizeof address, "%s", address_of(d, peer));
    message->server_id = peer;
    message->server_address = address;
    return step(d, &e, NULL, &u);
}

int rep_step_append_result(struct rep_driver *d, uint64_t peer, const struct rep_message *m) {
    raft_index match;
    if (m->append_result.rejected > 0 && m->term == d->raft.current_term && d->raft.state == RAFT_LEADER &&
        raft_match_index(&d->raft, peer, &match) == 0 && m->append_result.rejected <= match)
        return 0; /* an old one, overtaken: while it probes the library would go back behind what it knows to match */
    struct raft_message message = {.type = RAFT_APPEND_ENTRIES_RESULT};
    message.append_entries_result = (struct raft_append_entries_result){.version = RESULT_VERSION,
                                                                        .term = m->term,
                                                                        .rejected = m->append_result.rejected,
                                                                        .last_log_index = m->append_result.last};
    return receive(d, peer, &message);
}

/* Whoever is a standby as far as it knows may have been promoted by an entry that it has not yet seen, and be needed for the
 * very election after which it would see it (from one voter to two, always). The library lets only voters vote; who counts
 * is the candidate's business, so a standby votes like a voter (Ongaro's dissertation, 4.2.2). */
static struct raft_server *standby_self(struct rep_driver *d) {
    struct raft_configuration *c = &d->raft.configuration;
    for (unsigned i = 0; i < c->n; i++)
        if (c->servers[i].id == d->options.id && c->servers[i].role == RAFT_STANDBY)
            return &c->servers[i];
    return NULL;
}

int rep_step_vote(struct rep_driver *d, uint64_t peer, const struct rep_message *m) {
    struct raft_server *self = standby_self(d);
    struct raft_message message = {.type = RAFT_REQUEST_VOTE};
    message.request_vote = (struct raft_request_vote){.version = VOTE_VERSION,
                                                      .term = m->term,
                                                      .candidate_id = m->vote.candidate,
                                                      .last_log_index = m->vote.last_index,
                                                      .last_log_term = m->vote.last_term,
                                                      .disrupt_leader = m->vote.disrupt,
                                                      .pre_vote = m->vote.pre};
    if (self) { /* a request for a vote changes no membership: the pointer stays good */
        self->role = RAFT_VOTER;
        if (d->now - d->heard >= d->options.election_ms) /* the library lets a standby believe in a leader for ever */
            message.request_vote.disrupt_leader = true;
    }
    int rc = receive(d, peer, &message);
    if (self) {
        self->role = RAFT_STANDBY;
        rep_members_load(d);
    }
    return rc;
}

int rep_step_vote_result(struct rep_driver *d, uint64_t peer, const struct rep_message *m) {
    struct raft_message message = {.type = RAFT_REQUEST_VOTE_RESULT};
    message.request_vote_result = (struct raft_request_vote_result){.version = VOTE_VERSION,
                                                                    .term = m->term,
                                                                    .vote_granted = m->vote_result.granted,
                                                                    .pre_vote = m->vote_result.pre};
    if (d->raft.state != RAFT_CANDIDATE) /* the library would look at what a candidate knows */
        return 0;
    return receive(d, peer, &message);
}

int rep_step_timeout_now(struct rep_driver *d, uint64_t peer, const struct rep_message *m) {
    struct raft_message message = {.type = RAFT_TIMEOUT_NOW};
    message.timeout_now = (struct raft_timeout_now){
        .term = m->term, .last_log_index = m->timeout_now.last_index, .last_log_term = m->timeout_now.last_term};
    return receive(d, peer, &message);
}
