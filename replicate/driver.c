#include "replicate/driver.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/checksum.h"
#include "format/frame.h"
#include "libcore/esdb.h"
#include "replicate/driver_internal.h"

#define ELECTION_MS 200u /* measured: fail-over 375 ms median, 652 ms at the 99th percentile */
#define HEARTBEAT_MS 25u

int rep_refuse(struct rep_driver *d, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(d->error, sizeof d->error, format, args);
    va_end(args);
    return REP_EREFUSED;
}

const char *rep_error(const struct rep_driver *d) {
    return d->error;
}

int rep_driver_open(const struct rep_options *options, const struct rep_log *log, struct rep_driver **out) {
    struct rep_driver *d = calloc(1, sizeof *d);
    if (!d)
        return -ENOMEM;
    d->options = *options;
    d->log = *log;
    if (d->options.election_ms == 0)
        d->options.election_ms = ELECTION_MS;
    if (d->options.heartbeat_ms == 0)
        d->options.heartbeat_ms = HEARTBEAT_MS;
    d->address = strdup(options->address);
    if (!d->address || raft_init(&d->raft, NULL, NULL, options->id, options->address) != 0) {
        free(d->address);
        free(d);
        return -ENOMEM;
    }
    d->raft.tracer = NULL;
    raft_seed(&d->raft, options->seed);
    raft_set_pre_vote(&d->raft, true);
    raft_set_election_timeout(&d->raft, d->options.election_ms);
    raft_set_heartbeat_timeout(&d->raft, d->options.heartbeat_ms);
    /* It is asked for again then, which costs nothing. Much longer, and one that was begun before the leader sealed another
     * segment would never end: the library takes the answers to its heartbeats for those to an older installation. */
    raft_set_install_snapshot_timeout(&d->raft, 5 * d->options.election_ms);
    raft_set_max_inflight_entries(&d->raft, REP_APPEND_FRAMES_MAX);
    *out = d;
    return 0;
}

void rep_driver_close(struct rep_driver *d) {
    if (!d)
        return;
    raft_close(&d->raft, NULL);
    rep_actions_release(&d->actions);
    free(d->address);
    free(d);
}

bool rep_look(const struct rep_driver *d, uint64_t index, struct rep_frame *out) {
    const struct rep_actions *a = &d->actions;
    if (index > d->last)
        return false;
    for (size_t i = a->count; i-- > 0;) { /* what this very event will write is not in the log yet */
        const struct rep_action *one = &a->at[i];
        if (one->type != REP_ACT_APPEND || index < one->entries[0].index)
            continue;
        const struct rep_entry *e = &one->entries[index - one->entries[0].index];
        struct fmt_frame f = {0};
        if (e->frame && fmt_frame_decode(e->frame, e->frame_len, &f) != NULL)
            return false;
        *out = (struct rep_frame){.index = index,
                                  .term = e->term,
                                  .checksum = f.checksum, /* 0: the shell makes it */
                                  .position_end = f.first_position + f.count,
                                  .kind = e->kind};
        return true;
    }
    return d->log.look(d->log.context, index, out);
}

/* ---- state ---- */

uint64_t rep_term(const struct rep_driver *d) {
    return raft_current_term((const struct raft *)&d->raft);
}

uint64_t rep_next_index(const struct rep_driver *d) {
    return d->last + 1;
}

uint64_t rep_committed(const struct rep_driver *d) {
    return d->committed;
}

bool rep_ready(const struct rep_driver *d) {
    return leads(d) && d->barrier_term == rep_term(d) && d->barrier_index <= raft_commit_index(&d->raft) &&
           raft_transferee(&d->raft) == 0;
}

uint64_t rep_leader(const struct rep_driver *d) {
    if (leads(d))
        return d->options.id;
    return d->raft.state == RAFT_FOLLOWER ? d->raft.follower_state.current_leader.id : 0;
}

bool rep_match(const struct rep_driver *d, uint64_t id, uint64_t *index) {
    raft_index match;
    if (!leads(d) || raft_match_index(&d->raft, id, &match) != 0)
        return false;
    *index = match;
    return true;
}

uint64_t rep_deadline(const struct rep_driver *d) {
    uint64_t at = raft_timeout(&d->raft);
    return at > d->now ? at : d->now + 1;
}

bool rep_outgoing(const struct rep_driver *d, const struct rep_message *m) {
    struct rep_frame f;
    if (m->type != REP_APPEND)
        return true;
    if (!leads(d) || m->term != rep_term(d) || m->append.prev_index + m->append.frames.count > d->last)
        return false;
    return m->append.prev_index == 0 || (rep_look(d, m->append.prev_index, &f) && f.term == m->append.prev_term);
}

/* ---- what follows from every event ---- */

static void tell_role(struct rep_driver *d) {
    uint64_t term = rep_term(d), leader = rep_leader(d);
    bool ready = rep_ready(d);
    if (d->told_once && term == d->told_term && leader == d->told_leader && leads(d) == d->told_leads &&
        ready == d->told_ready)
        return;
    if (!leads(d) || term != d->told_term)
        rep_drop_probes(d);
    d->told_once = true;
    d->told_term = term;
    d->told_leader = leader;
    d->told_leads = leads(d);
    d->told_ready = ready;
    struct rep_action *a = rep_act(d, REP_ACT_ROLE);
    a->term = term;
    a->leader = leader;
    a->leads = d->told_leads;
    a->ready = ready;
}

static void answer_decided(struct rep_driver *d) {
    while (d->pending_count && d->pending[d->pending_first].index <= d->committed) {
        const struct rep_pending *p = &d->pending[d->pending_first];
        struct rep_frame f;
        bool found = rep_look(d, p->index, &f);
        struct rep_action *a = rep_act(d, REP_ACT_ANSWER);
        a->token = p->token;
        a->index = p->index;
        a->answer = found && f.term == p->term ? REP_WRITTEN : REP_LOST;
        d->pending_first = (d->pending_first + 1) % REP_PENDING_MAX;
        d->pending_count--;
    }
}

/* What is committed is durable here, too: raft's index may be ahead of this disk. */
static void publish(struct rep_driver *d) {
    uint64_t commit = raft_commit_index(&d->raft);
    if (commit > d->synced)
        commit = d->synced;
    if (commit <= d->committed || d->raft.snapshot.installing)
        return;
    d->committed = commit;
    rep_act(d, REP_ACT_COMMIT)->index = commit;
}

/* A leader needs an entry of its own term: what is committed is known by it alone. The library writes one only when it
 * thinks that something is uncommitted. */
static void ensure_barrier(struct rep_driver *d) {
    if (!leads(d) || d->barrier_term == rep_term(d) || raft_transferee(&d->raft) != 0)
        return;
    struct rep_entry *e = rep_memory(d, sizeof *e);
    if (!e)
        return;
    *e = (struct rep_entry){.index = d->last + 1, .term = rep_term(d), .kind = FMT_FRAME_BARRIER};
    rep_step_submit(d, e, 1);
}

/* A membership counts as committed for the library when it is told so; it forgets to look by itself. */
static void confirm_membership(struct rep_driver *d) {
    uint64_t index = d->raft.configuration_uncommitted_index;
    if (index == 0 || index > raft_commit_index(&d->raft))
        return;
    rep_step_configuration(d, index);
    d->members_changed = true;
}

static void check(const struct rep_driver *d) {
    assert(d->stored <= d->synced && d->synced <= d->last && d->committed <= d->synced);
    assert(d->pending_count <= REP_PENDING_MAX);
}

int rep_settle(struct rep_driver *d) {
    for (int turn = 0; turn < 4 && !d->stopped; turn++) { /* one may make another possible */
        rep_members_load(d);
        ensure_barrier(d);
        rep_step_persisted(d, d->synced);
        confirm_membership(d);
        if (d->promoting)
            rep_promote_due(d);
    }
    rep_members_load(d);
    if (!d->stopped) {
        publish(d);
        answer_decided(d);
        tell_role(d);
        if (d->members_changed)
            rep_act(d, REP_ACT_MEMBERS);
        d->members_changed = false;
        check(d);
    }
    if (d->actions.failed && !d->stopped) {
        rep_stop(d, -ENOMEM, "no memory for consensus");
    }
    return d->stopped ? REP_ESTOPPED : 0;
}

bool rep_begin(struct rep_driver *d, uint64_t now) {
    assert(d->actions.taken == d->actions.count); /* all of the last event's actions were taken */
    if (d->stopped || !d->started)
        return false;
    rep_actions_clear(&d->actions);
    if (now > d->now)
        d->now = now;
    return true;
}

/* ---- events ---- */

int rep_start(struct rep_driver *d, uint64_t now, const struct rep_start *s) {
    struct rep_server servers[REP_SERVERS_MAX];
    uint64_t term = s->term, vote = s->vote, last = s->first + s->past_count - 1;
    const unsigned char *newest = s->configuration;
    size_t newest_len = s->configuration_len, voters = 0;
    bool votes = false;
    if (d->started || s->first == 0 || s->first > s->committed + 1 || last < s->committed ||
        (s->committed > 0 &&
         (s->committed_term == 0 || s->configuration_index == 0 || s->configuration_index > s->committed ||
          !rep_configuration_check(s->configuration, s->configuration_len))) ||
        (s->committed == 0 && s->first != 1))
        return rep_refuse(d, "what is on disk cannot be started from");
    for (size_t i = 0; i < s->past_count; i++) {
        const struct rep_past *p = &s->past[i];
        if (p->term == 0 || p->term > (term ? term : 1) || (i && p->term < p[-1].term))
            return rep_refuse(d, "frame %llu has term %llu", (unsigned long long)(s->first + i),
                              (unsigned long long)p->term);
        if (p->kind != FMT_FRAME_CONFIGURATION)
            continue;
        if (!rep_configuration_check(p->payload, p->payload_len))
            return rep_refuse(d, "the membership of frame %llu cannot be used", (unsigned long long)(s->first + i));
        newest = p->payload;
        newest_len = p->payload_len;
    }
    size_t count = newest ? rep_configuration_decode(newest, newest_len, servers) : 0;
    for (size_t i = 0; i < count; i++) {
        voters += servers[i].role == REP_VOTER;
        votes = votes || (servers[i].id == d->options.id && servers[i].role == REP_VOTER);
    }
    if (s->past_count == 0 && s->committed == 0 && term == 0)
        vote = 0;
    d->now = now;
    d->started = true;
    d->last = d->synced = d->stored = last;
    d->committed = s->committed;
    d->snapshot = s->committed;
    d->snapshot_configuration_index = s->configuration_index;
    if (s->configuration_len <= sizeof d->snapshot_configuration && s->configuration_len > 0) {
        memcpy(d->snapshot_configuration, s->configuration, s->configuration_len);
        d->snapshot_configuration_len = s->configuration_len;
    }
    if (voters == 1 &&
        votes) { /* it elects itself in the term that it has: it must not be one that it wrote in before */
        term++;
        vote = d->options.id;
        struct rep_action *a = rep_act(d, REP_ACT_SAVE);
        a->term = term;
        a->vote = vote;
    }
    rep_step_start(d, s, term, vote);
    d->members_changed = true;
    return rep_settle(d);
}

/* An election that this node wins without asking anybody would take place in the present term, which another may have led:
 * a request from nobody makes the library go on to the next one. */
static void raise_term(struct rep_driver *d) {
    struct rep_message m = {.type = REP_VOTE, .term = rep_term(d) + 1};
    size_t had = d->actions.count;
    m.vote = (struct rep_vote){.candidate = UINT64_MAX, .disrupt = true};
    rep_step_vote(d, UINT64_MAX, &m);
    for (size_t i = had; i < d->actions.count; i++) /* its answer is for nobody */
        if (d->actions.at[i].type == REP_ACT_SEND && d->actions.at[i].peer == UINT64_MAX) {
            memmove(&d->actions.at[i], &d->actions.at[i + 1], (d->actions.count - i - 1) * sizeof d->actions.at[i]);
            d->actions.count--;
            i--;
        }
}

int rep_tick(struct rep_driver *d, uint64_t now) {
    if (!rep_begin(d, now))
        return REP_ESTOPPED;
    bool due = d->now >= raft_timeout(&d->raft); /* earlier, a leader would take its followers for gone */
    if (due && d->raft.state == RAFT_FOLLOWER && rep_is_sole_voter(d) && d->stored == d->last)
        raise_term(d);
    if (due)
        rep_step_timeout(d);
    return rep_settle(d);
}

int rep_persisted(struct rep_driver *d, uint64_t now, uint64_t index, uint64_t epoch) {
    if (!rep_begin(d, now))
        return REP_ESTOPPED;
    if (epoch == d->epoch && index > d->synced && index <= d->last)
        d->synced = index;
    return rep_settle(d);
}

int rep_sealed(struct rep_driver *d, uint64_t now, uint64_t index, uint64_t keep) {
    if (!rep_begin(d, now))
        return REP_ESTOPPED;
    if (index < d->raft.configuration_committed_index) /* the membership that goes with it must not be newer */
        index = d->raft.configuration_committed_index;
    if (index > d->snapshot && index <= d->committed && !d->raft.snapshot.installing)
        rep_step_snapshot(d, index, keep < UINT_MAX ? (unsigned)keep : UINT_MAX);
    return rep_settle(d);
}

int rep_submit(struct rep_driver *d, uint64_t now, const struct rep_entry *entries, size_t count, void *token) {
    struct rep_frame tail = {0};
    uint64_t term = rep_term(d);
    if (!rep_begin(d, now))
        return REP_ESTOPPED;
    if (!rep_ready(d))
        return rep_settle(d) ? REP_ESTOPPED : REP_ENOTLEADER;
    if (count == 0 || d->pending_count == REP_PENDING_MAX || d->last + count > d->committed + REP_UNCOMMITTED_MAX)
        return rep_settle(d) ? REP_ESTOPPED : REP_EBUSY;
    rep_look(d, d->last, &tail);
    uint64_t checksum = tail.checksum;
    for (size_t i = 0; i < count; i++) {
        const struct rep_entry *e = &entries[i];
        struct fmt_frame f;
        bool made = e->frame != NULL;
        if (e->index != d->last + 1 + i || e->term != term || e->kind == FMT_FRAME_CONFIGURATION ||
            (!made && (e->kind != FMT_FRAME_BARRIER || count > 1)))
            return rep_refuse(d, "a frame is not for this place");
        if (!made)
            continue;
        const char *wrong = fmt_frame_decode(e->frame, e->frame_len, &f);
        if (wrong || f.frame_len != e->frame_len || f.index != e->index || f.term != term || f.kind != e->kind ||
            f.prev_checksum != checksum)
            return rep_refuse(d, "a frame does not continue the log");
        checksum = f.checksum;
    }
    int rc = rep_step_submit(d, entries, count);
    if (rc == 0 && !d->stopped && token) {
        size_t at = (d->pending_first + d->pending_count++) % REP_PENDING_MAX;
        d->pending[at] = (struct rep_pending){.index = d->last, .term = term, .token = token};
    }
    int settled = rep_settle(d);
    return settled ? settled : rc == 0 ? 0 : rc == RAFT_NOTLEADER ? REP_ENOTLEADER : REP_EBUSY;
}

/* ---- membership, leadership ---- */

int rep_end(struct rep_driver *d, int rc) {
    int settled = rep_settle(d);
    return settled ? settled : rc;
}

int rep_add(struct rep_driver *d, uint64_t now, uint64_t id, const char *address) {
    return rep_begin(d, now) ? rep_end(d, rep_change_add(d, id, address)) : REP_ESTOPPED;
}

int rep_promote(struct rep_driver *d, uint64_t now, uint64_t id) {
    return rep_begin(d, now) ? rep_end(d, rep_change_promote(d, id)) : REP_ESTOPPED;
}

int rep_remove(struct rep_driver *d, uint64_t now, uint64_t id) {
    return rep_begin(d, now) ? rep_end(d, rep_change_remove(d, id)) : REP_ESTOPPED;
}

int rep_transfer(struct rep_driver *d, uint64_t now, uint64_t id) {
    if (!rep_begin(d, now))
        return REP_ESTOPPED;
    int rc = !rep_ready(d) ? REP_ENOTLEADER : rep_step_transfer(d, id);
    return rep_end(d, rc <= 0 ? rc : rep_refuse(d, "%s", raft_strerror(rc)));
}

/* ---- messages ---- */

/* Decodes and checks the frames of an append, against each other and against the log. */
static int decode_frames(struct rep_driver *d, const struct rep_message *m, struct rep_entry **out) {
    const struct rep_append *a = &m->append;
    struct rep_entry *entries = rep_memory(d, (a->frames.count + 1) * sizeof *entries);
    uint64_t term = a->prev_term, checksum = a->prev_checksum;
    size_t at = 0, bad;
    if (!entries)
        return -ENOMEM;
    for (uint32_t i = 0; i < a->frames.count; i++) {
        const unsigned char *bytes = a->frames.at + at;
        struct rep_frame own;
        struct fmt_frame f;
        const char *wrong = fmt_frame_decode(bytes, a->frames.len - at, &f);
        if (!wrong && f.frame_len > a->frames.len - at)
            wrong = "frame is cut short";
        if (!wrong && (f.index != a->prev_index + 1 + i || f.prev_checksum != checksum))
            wrong = "does not continue the one before";
        if (!wrong && (f.term < term || f.term == 0 || f.term > m->term || f.kind == FMT_FRAME_HOLE ||
                       f.kind >= FMT_FRAME_KIND_REFUSE))
            wrong = "has a term or kind that cannot be";
        if (!wrong)
            wrong = fmt_frame_check(&f, bytes, &bad);
        if (!wrong && f.kind == FMT_FRAME_CONFIGURATION &&
            !rep_configuration_check(bytes + f.header_len, f.frame_len - f.header_len))
            wrong = "is no membership";
        if (wrong)
            return rep_refuse(d, "frame %llu of an append: %s", (unsigned long long)(a->prev_index + 1 + i), wrong);
        if (rep_look(d, f.index, &own) && own.term == f.term && own.checksum != f.checksum)
            return rep_stop(d, ESDB_ECORRUPT, "frame %llu of term %llu is another one here than on the leader",
                            (unsigned long long)f.index, (unsigned long long)f.term);
        entries[i] = (struct rep_entry){.index = f.index,
                                        .term = f.term,
                                        .kind = f.kind,
                                        .frame = bytes,
                                        .frame_len = f.frame_len,
                                        .payload = bytes + f.header_len,
                                        .payload_len = f.frame_len - f.header_len};
        term = f.term;
        checksum = f.checksum;
        at += f.frame_len;
    }
    *out = entries;
    return at == a->frames.len ? 0 : rep_refuse(d, "an append has more bytes than frames");
}

/* The one before it is committed then: no leader begins a second change earlier. The library would forget that, and go back
 * too far if this one were cut away. */
static void confirm_earlier_membership(struct rep_driver *d, uint64_t prev_index, uint64_t prev_term) {
    uint64_t earlier = d->raft.configuration_uncommitted_index;
    struct rep_frame f;
    if (earlier != 0 && earlier <= prev_index && rep_look(d, prev_index, &f) && f.term == prev_term)
        rep_step_configuration(d, earlier);
}

static int receive_append(struct rep_driver *d, uint64_t peer, const struct rep_message *m) {
    const struct rep_append *a = &m->append;
    struct rep_entry *entries = NULL;
    struct rep_frame own;
    if ((a->prev_index == 0) != (a->prev_term == 0) || a->prev_term > m->term ||
        a->frames.count > REP_APPEND_FRAMES_MAX || (a->frames.count == 0 && a->frames.len != 0))
        return rep_refuse(d, "an append that cannot be");
    if (leads(d) && m->term == rep_term(d))
        return rep_stop(d, ESDB_ECORRUPT, "server %llu leads term %llu, too", (unsigned long long)peer,
                        (unsigned long long)m->term);
    if (rep_look(d, a->prev_index, &own) && own.term == a->prev_term && own.checksum != a->prev_checksum)
        return rep_stop(d, ESDB_ECORRUPT, "frame %llu of term %llu is another one here than on the leader",
                        (unsigned long long)a->prev_index, (unsigned long long)a->prev_term);
    int rc = decode_frames(d, m, &entries);
    if (rc != 0 || d->stopped || !entries)
        return rc;
    uint64_t prev_index = a->prev_index, prev_term = a->prev_term;
    uint32_t from = 0;
    if (prev_index < d->committed && rep_look(d, d->committed, &own)) {
        /* What is committed is the leader's, too. The library forgets what lies before its trail, and would take a late copy of
         * it for something new. */
        while (from < a->frames.count && entries[from].index <= d->committed)
            from++;
        prev_index = d->committed;
        prev_term = own.term;
    }
    do { /* a configuration must be the first of its append: the library gives it that one's index */
        uint32_t to = from < a->frames.count ? from + 1 : from;
        while (to < a->frames.count && entries[to].kind != FMT_FRAME_CONFIGURATION)
            to++;
        if (to > from && entries[from].kind == FMT_FRAME_CONFIGURATION) {
            confirm_earlier_membership(d, prev_index, prev_term);
            d->members_changed = true;
        }
        rc = rep_step_append(d, peer, m, prev_index, prev_term, entries + from, to - from);
        if (to > from) {
            prev_index = entries[to - 1].index;
            prev_term = entries[to - 1].term;
        }
        from = to;
        rep_members_load(d);
        confirm_membership(d);
    } while (rc == 0 && !d->stopped && from < a->frames.count);
    return 0;
}

static int receive(struct rep_driver *d, uint64_t peer, const struct rep_message *m) {
    switch (m->type) {
    case REP_APPEND:
        return receive_append(d, peer, m);
    case REP_APPEND_RESULT:
        rep_step_append_result(d, peer, m);
        return 0;
    case REP_VOTE:
        if (m->vote.candidate != peer || (m->vote.last_index == 0) != (m->vote.last_term == 0))
            return rep_refuse(d, "a request for a vote that cannot be");
        if (!leads(d) || m->term != rep_term(d)) /* nobody else is voted for in the term that this node leads */
            rep_step_vote(d, peer, m);
        return 0;
    case REP_VOTE_RESULT:
        if (m->vote_result.pre && m->vote_result.granted && m->term > rep_term(d) + 1)
            return 0; /* for an election of the past or of the future */
        rep_step_vote_result(d, peer, m);
        return 0;
    case REP_TIMEOUT_NOW:
        rep_step_timeout_now(d, peer, m);
        return 0;
    case REP_PROBE:
        return rep_receive_probe(d, peer, m);
    case REP_PROBE_RESULT:
        return rep_receive_probe_result(d, peer, m);
    case REP_INSTALL:
        return rep_receive_install(d, peer, m);
    }
    return rep_refuse(d, "a message of unknown type");
}

int rep_receive(struct rep_driver *d, uint64_t now, uint64_t peer, const struct rep_message *m) {
    if (!rep_begin(d, now))
        return REP_ESTOPPED;
    if (peer == 0 || peer == d->options.id || m->term == 0)
        return rep_end(d, rep_refuse(d, "a message from nobody"));
    return rep_end(d, receive(d, peer, m));
}
