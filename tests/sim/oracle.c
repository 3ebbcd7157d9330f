#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/sim.h"

#define TERMS 4096u

struct oracle {
    uint64_t max;       /* newest frame that anybody called committed */
    uint64_t *checksum; /* of each committed frame, by index */
    uint64_t *term;
    uint64_t *commit_term; /* in which it was, at the latest */
    size_t room;
    uint64_t leader[TERMS];            /* id that led a term */
    uint64_t published[SIM_NODES_MAX]; /* by each node, over all its lives */
};

struct oracle *oracle_new(void) {
    return calloc(1, sizeof(struct oracle));
}

void oracle_free(struct oracle *o) {
    free(o->checksum);
    free(o->term);
    free(o->commit_term);
    free(o);
}

static void make_room(struct oracle *o, uint64_t index) {
    if (index < o->room)
        return;
    size_t room = (size_t)index * 2 + 64;
    o->checksum = realloc(o->checksum, room * sizeof *o->checksum);
    o->term = realloc(o->term, room * sizeof *o->term);
    o->commit_term = realloc(o->commit_term, room * sizeof *o->commit_term);
    o->room = room;
}

void oracle_begin(struct sim *s, uint64_t checksum, uint64_t term) {
    struct oracle *o = s->oracle;
    make_room(o, 1);
    o->checksum[1] = checksum;
    o->term[1] = o->commit_term[1] = term;
    o->max = 1;
    for (unsigned i = 0; i < s->nodes; i++)
        o->published[i] = s->grows && i > 0 ? 0 : 1;
}

uint64_t oracle_max(const struct sim *s) {
    return s->oracle->max;
}

uint64_t oracle_published(const struct sim_node *n) {
    return n->sim->oracle->published[n->number];
}

/* The node has all that is committed, and nothing else in its place. */
static void holds_committed(struct sim_node *n, uint64_t upto, const char *when) {
    struct oracle *o = n->sim->oracle;
    struct rep_frame f;
    if (upto == 0)
        return;
    if (!n->sim->ops->look(n->store, upto, &f))
        sim_violation(n->sim, "node %u %s: committed frame %llu is not there", n->number + 1, when,
                      (unsigned long long)upto);
    else if (f.checksum != o->checksum[upto]) /* the chain: then all before it are the same, too */
        sim_violation(n->sim, "node %u %s: frame %llu is %llx of term %llu, committed was %llx of term %llu",
                      n->number + 1, when, (unsigned long long)upto, (unsigned long long)f.checksum,
                      (unsigned long long)f.term, (unsigned long long)o->checksum[upto],
                      (unsigned long long)o->term[upto]);
}

void oracle_leads(struct sim_node *n, uint64_t term) {
    struct oracle *o = n->sim->oracle;
    if (term >= TERMS) {
        sim_violation(n->sim, "term %llu: elections without end", (unsigned long long)term);
        return;
    }
    if (o->leader[term] && o->leader[term] != n->id)
        sim_violation(n->sim, "term %llu has two leaders: %llu and %llu", (unsigned long long)term,
                      (unsigned long long)o->leader[term], (unsigned long long)n->id);
    if (o->leader[term]) /* told again, with other news */
        return;
    n->sim->elections++;
    o->leader[term] = n->id;
    uint64_t index = o->max; /* what later leaders have committed it need not have: an election may be won late */
    while (index > 1 && o->commit_term[index] >= term)
        index--;
    holds_committed(n, index, "becomes leader");
}

static bool majority(struct sim_node *judge, uint64_t index, uint64_t checksum, size_t *with, size_t *voters) {
    struct sim *s = judge->sim;
    const struct rep_server *members;
    size_t count = rep_members(judge->driver, &members);
    struct rep_frame f;
    *with = *voters = 0;
    for (size_t i = 0; i < count; i++) {
        if (members[i].role != REP_VOTER)
            continue;
        ++*voters;
        struct sim_node *peer = sim_node_of(s, members[i].id);
        *with += peer && s->ops->durable(peer->store) >= index && s->ops->look(peer->store, index, &f) &&
                 f.checksum == checksum;
    }
    /* While a membership changes it may have been committed by the one before, which had a voter less. */
    return *with > (s->grows || s->wipes ? *voters - 1 : *voters) / 2;
}

/* A majority of the voters has it on disk, as far as disks themselves tell: by the membership of who publishes it, or by
 * the leader's, which may be one change ahead. */
static void check_majority(struct sim_node *n, uint64_t index) {
    struct sim *s = n->sim;
    struct rep_frame own;
    size_t with, voters;
    s->ops->look(n->store, index, &own);
    bool good = majority(n, index, own.checksum, &with, &voters);
    for (unsigned i = 0; i < s->nodes && !good; i++)
        if (s->node[i].up && rep_leader(s->node[i].driver) == s->node[i].id &&
            rep_term(s->node[i].driver) == rep_term(n->driver))
            good = majority(&s->node[i], index, own.checksum, &with, &voters);
    if (!good)
        sim_violation(s, "frame %llu is called committed, but only %zu of %zu voters have it on disk",
                      (unsigned long long)index, with, voters);
}

void oracle_committed(struct sim_node *n, uint64_t to) {
    uint64_t from = n->published;
    struct oracle *o = n->sim->oracle;
    struct rep_frame f;
    make_room(o, to);
    if (to < n->published)
        sim_violation(n->sim, "node %u publishes %llu after %llu", n->number + 1, (unsigned long long)to,
                      (unsigned long long)n->published);
    if (n->sim->ops->durable(n->store) < to)
        sim_violation(n->sim, "node %u publishes %llu, its disk has %llu", n->number + 1, (unsigned long long)to,
                      (unsigned long long)n->sim->ops->durable(n->store));
    for (uint64_t i = from + 1; i <= to && !n->sim->failed; i++) {
        if (!n->sim->ops->look(n->store, i, &f)) {
            sim_violation(n->sim, "node %u publishes frame %llu, which it does not have", n->number + 1,
                          (unsigned long long)i);
            return;
        }
        if (i > o->max) {
            o->checksum[i] = f.checksum;
            o->term[i] = f.term;
            o->commit_term[i] = rep_term(n->driver);
            o->max = i;
            n->sim->commits++;
            check_majority(n, i);
        } else
            holds_committed(n, i, "publishes");
    }
    n->published = to;
    if (to > o->published[n->number])
        o->published[n->number] = to;
}

void oracle_wiped(struct sim_node *n) {
    n->sim->oracle->published[n->number] = 0;
}

void oracle_started(struct sim_node *n) {
    struct oracle *o = n->sim->oracle;
    holds_committed(n, o->published[n->number] < o->max ? o->published[n->number] : o->max, "starts again");
}

void oracle_shown(struct sim_node *n) {
    struct oracle *o = n->sim->oracle;
    uint64_t shown = n->sim->ops->shown(n->store);
    if (shown > o->max)
        sim_violation(n->sim, "node %u shows frame %llu, committed is %llu", n->number + 1, (unsigned long long)shown,
                      (unsigned long long)o->max);
    else
        holds_committed(n, shown, "shows");
}

/* ---- the end ---- */

struct walk {
    struct sim *s;
    int64_t version[SIM_STREAMS];
    unsigned char *seen;
};

static void pass(void *context, const struct sim_event *e) {
    struct walk *w = context;
    struct sim *s = w->s;
    if (e->op == 0 || e->op > s->op_count || e->stream >= SIM_STREAMS) {
        sim_violation(s, "frame %llu holds an event that nobody wrote", (unsigned long long)e->index);
        return;
    }
    struct sim_op *op = &s->op[e->op - 1];
    if (w->seen[e->op]++)
        sim_violation(s, "operation %u is in the log twice", e->op);
    if (op->expected >= -1 && op->expected != w->version[e->stream])
        sim_violation(s, "operation %u expected version %lld of stream %u, it was %lld", e->op, (long long)op->expected,
                      e->stream, (long long)w->version[e->stream]);
    if (e->version != w->version[e->stream] + 1)
        sim_violation(s, "frame %llu: version %lld of stream %u after %lld", (unsigned long long)e->index,
                      (long long)e->version, e->stream, (long long)w->version[e->stream]);
    w->version[e->stream] = e->version;
    if (op->outcome == SIM_WRITTEN && (op->index != e->index || op->version != e->version))
        sim_violation(s, "operation %u was acknowledged at %llu, it is at %llu", e->op, (unsigned long long)op->index,
                      (unsigned long long)e->index);
    if (op->outcome == SIM_LOST || op->outcome == SIM_CONFLICT || op->outcome == SIM_REFUSED)
        sim_violation(s, "operation %u was answered as not written, and is in the log", e->op);
}

void oracle_end(struct sim *s) {
    for (unsigned i = 0; i < s->nodes && !s->failed; i++) {
        struct walk w = {.s = s, .seen = calloc(s->op_count + 1, 1)};
        for (unsigned j = 0; j < SIM_STREAMS; j++)
            w.version[j] = -1;
        s->ops->walk(s->node[i].store, oracle_published(&s->node[i]), pass, &w);
        for (size_t j = 0; j < s->op_count; j++)
            if (s->op[j].outcome == SIM_WRITTEN && !w.seen[j + 1])
                sim_violation(s, "operation %zu was acknowledged, and node %u does not have it", j + 1, i + 1);
        free(w.seen);
        holds_committed(&s->node[i], s->oracle->max, "at the end");
    }
}
