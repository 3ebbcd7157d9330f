/* The simulator's time, nodes, clients and faults, and its command line:
 *
 *   sim [--store memory|disk] [--seeds N] [--first SEED] [--jobs N] [--stop N] [--trace] [--directory DIR]
 *
 * Runs N seeds, prints what happened and how many seeds a second; a violation is printed with its seed, and status 1. After
 * N (5) violations it stops. The same seed gives the same run. */
#include "tests/sim/sim.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "format/frame.h"

#define FAULTY_MS 4000u  /* simulated time with faults */
#define HEALED_MS 15000u /* and the longest without, until all nodes must be level */
#define CLIENT_MS 15u    /* mean time between operations */
#define OPS_MAX 400u

/* ---- chance: xoshiro256** (Blackman and Vigna, public domain) ---- */

static uint64_t rotate(uint64_t x, int k) {
    return x << k | x >> (64 - k);
}

uint64_t sim_random(struct sim *s) {
    uint64_t *r = s->random, result = rotate(r[1] * 5, 7) * 9, t = r[1] << 17;
    r[2] ^= r[0];
    r[3] ^= r[1];
    r[1] ^= r[2];
    r[0] ^= r[3];
    r[2] ^= t;
    r[3] = rotate(r[3], 45);
    return result;
}

static void seed_random(struct sim *s, uint64_t seed) {
    for (int i = 0; i < 4; i++) { /* splitmix64 */
        uint64_t z = seed += 0x9e3779b97f4a7c15u;
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
        z = (z ^ z >> 27) * 0x94d049bb133111ebu;
        s->random[i] = z ^ z >> 31;
    }
}

uint64_t sim_below(struct sim *s, uint64_t n) {
    return n ? sim_random(s) % n : 0;
}

bool sim_chance(struct sim *s, unsigned per_ten_thousand) {
    return sim_below(s, 10000) < per_ten_thousand;
}

/* ---- telling ---- */

void sim_violation(struct sim *s, const char *format, ...) {
    va_list args;
    if (s->failed)
        return;
    s->failed = true;
    va_start(args, format);
    int n = snprintf(s->violation, sizeof s->violation, "at %llu ms: ", (unsigned long long)s->now);
    vsnprintf(s->violation + n, sizeof s->violation - (size_t)n, format, args);
    va_end(args);
}

void sim_trace(const struct sim *s, const char *format, ...) {
    va_list args;
    if (!s->trace)
        return;
    printf("%6llu ", (unsigned long long)s->now);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    putchar('\n');
}

/* ---- what will happen when: a binary heap ---- */

struct sim_queue_entry {
    uint64_t at, sequence, a, b;
    enum sim_what what;
    unsigned node;
    void *packet;
};

static bool before(const struct sim_queue_entry *x, const struct sim_queue_entry *y) {
    return x->at != y->at ? x->at < y->at : x->sequence < y->sequence;
}

void sim_schedule(struct sim *s, uint64_t at, enum sim_what what, unsigned node, uint64_t a, uint64_t b, void *packet) {
    if (s->queued == s->queue_room) {
        s->queue_room = s->queue_room ? s->queue_room * 2 : 256;
        s->queue = realloc(s->queue, s->queue_room * sizeof *s->queue);
    }
    struct sim_queue_entry e = {at, s->sequence++, a, b, what, node, packet};
    size_t i = s->queued++;
    for (; i > 0 && before(&e, &s->queue[(i - 1) / 2]); i = (i - 1) / 2)
        s->queue[i] = s->queue[(i - 1) / 2];
    s->queue[i] = e;
}

static struct sim_queue_entry take(struct sim *s) {
    struct sim_queue_entry first = s->queue[0], last = s->queue[--s->queued];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= s->queued)
            break;
        if (child + 1 < s->queued && before(&s->queue[child + 1], &s->queue[child]))
            child++;
        if (!before(&s->queue[child], &last))
            break;
        s->queue[i] = s->queue[child];
        i = child;
    }
    s->queue[i] = last;
    return first;
}

/* ---- nodes ---- */

struct sim_node *sim_node_of(struct sim *s, uint64_t id) {
    uint64_t number = (id - 1) % SIM_IDS;
    return id != 0 && number < s->nodes && s->node[number].id == id ? &s->node[number] : NULL;
}

uint64_t sim_clock(const struct sim_node *n) {
    return n->sim->now + (uint64_t)n->clock_offset;
}

static bool look(void *context, uint64_t index, struct rep_frame *out) {
    struct sim_node *n = context;
    return n->sim->ops->look(n->store, index, out);
}

static void arm(struct sim_node *n) {
    uint64_t at = rep_deadline(n->driver) - (uint64_t)n->clock_offset;
    if (at <= n->sim->now)
        at = n->sim->now + 1;
    if (n->tick_at > n->sim->now && n->tick_at <= at)
        return;
    n->tick_at = at;
    sim_schedule(n->sim, at, SIM_TICK, n->number, n->boot, 0, NULL);
}

static void begin_sync(struct sim_node *n) {
    struct sim *s = n->sim;
    if (n->syncing || !n->dirty)
        return;
    n->syncing = true;
    n->dirty = false;
    uint64_t ms = 1 + sim_below(s, n->sync_ms + 1);
    if (s->faults.slow_disk && !s->healing && sim_chance(s, 300))
        ms += sim_below(s, 600);
    sim_schedule(s, s->now + ms, SIM_SYNC_END, n->number, n->boot, n->epoch, NULL);
}

/* The node is gone; what its disk keeps, and when it comes back. */
static void restart_later(struct sim_node *n, bool power) {
    struct sim *s = n->sim;
    n->up = false;
    n->boot++;
    s->crashes++;
    s->ops->crash(n->store, power);
    sim_schedule(s, s->now + 20 + sim_below(s, 600), SIM_RESTART, n->number, n->boot, 0, NULL);
    if (power && !s->healing && sim_chance(s, 500)) /* and while it recovers */
        s->ops->die(n->store, 1 + (unsigned)sim_below(s, 12), 0);
}

static void start(struct sim_node *n) {
    struct sim *s = n->sim;
    struct rep_options options = {.id = n->id, .address = "", .seed = (unsigned)sim_random(s)};
    struct rep_log log = {.context = n, .look = look};
    struct rep_start from;
    char address[32];
    snprintf(address, sizeof address, "n%llu", (unsigned long long)n->id);
    options.address = address;
    n->dirty = n->syncing = n->fetching = false;
    n->epoch = 0;
    n->tick_at = 0;
    if (!s->ops->start(n->store, &from)) {
        if (s->ops->dead(n->store))
            restart_later(n, s->ops->dead(n->store) == SIM_POWER);
        return;
    }
    n->up = true;
    oracle_started(n);
    memset(n->question, 0, sizeof n->question);
    rep_driver_open(&options, &log, &n->driver);
    sim_trace(s, "node %u starts: term %llu vote %llu committed %llu last %llu", n->number + 1,
              (unsigned long long)from.term, (unsigned long long)from.vote, (unsigned long long)from.committed,
              (unsigned long long)(from.first + from.past_count - 1));
    n->published = from.committed;
    int rc = rep_start(n->driver, sim_clock(n), &from);
    if (rc != 0)
        sim_violation(s, "node %u does not start: %s", n->number + 1, rep_error(n->driver));
    if (from.committed > oracle_max(s) && !s->failed)
        sim_violation(s, "node %u starts with %llu committed, committed is %llu", n->number + 1,
                      (unsigned long long)from.committed, (unsigned long long)oracle_max(s));
    sim_after_event(n);
}

static void crash(struct sim_node *n) {
    struct sim *s = n->sim;
    bool power = s->ops->dead(n->store) == SIM_POWER || sim_below(s, 100) < s->faults.power;
    sim_trace(s, "node %u crashes%s", n->number + 1, power ? " (power)" : "");
    while (rep_next(n->driver))
        ;
    rep_driver_close(n->driver);
    n->driver = NULL;
    restart_later(n, power);
}

/* ---- what a node is missing ---- */

/* From any node that has what is wanted, with all before it. */
static void fetch(struct sim_node *n, const struct rep_install *want) {
    struct sim *s = n->sim;
    struct rep_frame f;
    if (n->fetching)
        return;
    for (unsigned i = 0; i < s->nodes; i++) {
        struct sim_node *from = &s->node[(i + want->last_index) % s->nodes];
        if (from == n || !from->up || s->cut_off[from->number][n->number] ||
            !s->ops->look(from->store, want->last_index, &f) || f.checksum != want->last_checksum)
            continue;
        n->fetched_first = rep_committed(n->driver) + 1;
        n->fetched_len = 0;
        for (uint64_t at = n->fetched_first; at <= want->last_index;) {
            struct rep_frames got;
            s->ops->read(from->store, at, (uint32_t)(want->last_index - at + 1), &got);
            n->fetched = realloc(n->fetched, n->fetched_len + got.len + 1);
            memcpy(n->fetched + n->fetched_len, got.at, got.len);
            n->fetched_len += got.len;
            at += got.count;
        }
        n->fetched_last = want->last_index;
        n->fetching = true;
        sim_schedule(s, s->now + 1 + sim_below(s, 100), SIM_FETCHED, n->number, n->boot, 0, NULL);
        return;
    }
}

/* By segments: some bytes now and then, from whoever has them. Goes on as often as it takes. */
static void fetch_segments(struct sim_node *n) {
    struct sim *s = n->sim;
    struct rep_frame f;
    int rc = 0;
    for (unsigned i = 0; i < s->nodes && rc == 0; i++) {
        struct sim_node *from = &s->node[(i + s->now) % s->nodes];
        if (from == n || !from->up || s->cut_off[from->number][n->number] ||
            !s->ops->look(from->store, n->want_last, &f) || f.checksum != n->want_checksum ||
            rep_committed(from->driver) < n->want_last)
            continue;
        if (!s->healing && sim_chance(s, 1000))
            s->ops->die(n->store, 1 + (unsigned)sim_below(s, 12), 0);
        rc = s->ops->fetch(n->store, from->store, n->want_last, n->want_checksum, 1 + (unsigned)sim_below(s, 8));
        break;
    }
    if (rc < 0 && !s->ops->dead(n->store))
        sim_violation(s, "node %u: fetching fails: %d", n->number + 1, rc);
    n->fetching = rc == 0;
    n->fetched_last = n->want_last;
    n->fetched_checksum = n->want_checksum;
    if (!s->ops->dead(n->store))
        sim_schedule(s, s->now + 1 + sim_below(s, 30), SIM_FETCHED, n->number, n->boot, 0, NULL);
}

static int adopt_segments(struct sim_node *n, uint64_t last) {
    struct sim *s = n->sim;
    s->installs++;
    if (last != n->fetched_last)
        sim_violation(s, "node %u is to adopt what it did not fetch", n->number + 1);
    if (!s->healing && sim_chance(s, 5000))
        s->ops->die(n->store, 1 + (unsigned)sim_below(s, 30), 0);
    int rc = s->ops->adopt(n->store, last, n->fetched_checksum);
    if (rc == 0)
        sim_schedule(s, s->now + 1 + sim_below(s, 30), SIM_INSTALLED, n->number, n->boot, 0, NULL);
    return rc;
}

static void want(struct sim_node *n, const struct rep_install *install) {
    n->want_last = install->last_index;
    n->want_checksum = install->last_checksum;
    if (!n->sim->ops->fetch)
        fetch(n, install);
    else if (!n->fetching) {
        n->fetching = true;
        fetch_segments(n);
    }
}

static int adopt(struct sim_node *n, uint64_t last) {
    struct sim *s = n->sim;
    if (s->ops->fetch)
        return adopt_segments(n, last);
    uint64_t upto = 0;
    size_t at = 0;
    int rc = 0;
    if (last != n->fetched_last || n->fetched_first > rep_committed(n->driver) + 1) {
        sim_violation(s, "node %u is to adopt what it did not fetch", n->number + 1);
        return -1;
    }
    s->installs++;
    for (uint64_t index = n->fetched_first; rc == 0 && index <= last; index++) {
        struct fmt_frame f;
        if (fmt_frame_decode(n->fetched + at, n->fetched_len - at, &f) != NULL)
            return -1;
        struct rep_entry e = {
            .index = index, .term = f.term, .kind = f.kind, .frame = n->fetched + at, .frame_len = f.frame_len};
        struct rep_frame own;
        bool there = s->ops->look(n->store, index, &own);
        if (there && own.checksum != f.checksum) {
            if (index <= oracle_published(n))
                sim_violation(s, "node %u adopts another frame %llu than it has published", n->number + 1,
                              (unsigned long long)index);
            rc = s->ops->cut(n->store, index);
            there = false;
        }
        if (rc == 0 && !there)
            rc = s->ops->append(n->store, &e, 1);
        at += f.frame_len;
    }
    if (rc == 0)
        rc = s->ops->sync(n->store, &upto);
    sim_schedule(s, s->now + 1 + sim_below(s, 30), SIM_INSTALLED, n->number, n->boot, 0, NULL);
    return rc;
}

/* ---- what the driver asks for ---- */

/* Of several copies one may be written; that all are lost is known when each was told so. */
static void answer(struct sim *s, const struct rep_action *a) {
    uint64_t token = (uintptr_t)a->token;
    struct sim_op *op = &s->op[(token & UINT32_MAX) - 1];
    bool written = a->answer == REP_WRITTEN, open = op->outcome == SIM_PENDING || op->outcome == SIM_UNKNOWN;
    if (!open && (written || op->copies == 1))
        sim_violation(s, "operation %u is answered twice", op->number);
    op->lost += !written;
    if (written || (open && op->lost == op->copies))
        op->outcome = written ? SIM_WRITTEN : SIM_LOST;
    if (written) {
        op->index = a->index;
        op->version = op->copy_version[token >> 32];
    }
    sim_trace(s, "operation %u %s at %llu", op->number, written ? "written" : "lost", (unsigned long long)a->index);
}

/* A read that waits for the index must see all that anybody was shown before it was asked for. */
static void confirmed(struct sim_node *n, const struct rep_action *a) {
    struct sim *s = n->sim;
    if (a->result != 0 || n->question[a->number % SIM_QUESTIONS].number != a->number)
        return;
    s->confirmed++;
    if (a->index < n->question[a->number % SIM_QUESTIONS].least)
        sim_violation(s, "node %u says that %llu is committed, when it was asked it was %llu", n->number + 1,
                      (unsigned long long)a->index,
                      (unsigned long long)n->question[a->number % SIM_QUESTIONS].least);
}

static void act(struct sim_node *n, const struct rep_action *a) {
    struct sim *s = n->sim;
    int rc = 0;
    s->steps++;
    switch (a->type) {
    case REP_ACT_SAVE:
        sim_trace(s, "node %u saves term %llu vote %llu", n->number + 1, (unsigned long long)a->term,
                  (unsigned long long)a->vote);
        rc = s->ops->save(n->store, a->term, a->vote);
        break;
    case REP_ACT_CUT:
        sim_trace(s, "node %u cuts at %llu", n->number + 1, (unsigned long long)a->index);
        s->cuts++;
        if (!s->healing && sim_chance(s, 1500))
            s->ops->die(n->store, 1 + (unsigned)sim_below(s, 12), 0);
        if (a->index <= oracle_published(n))
            sim_violation(s, "node %u cuts %llu, which it has published", n->number + 1, (unsigned long long)a->index);
        rc = s->ops->cut(n->store, a->index);
        break;
    case REP_ACT_APPEND:
        sim_trace(s, "node %u appends %llu .. %llu of term %llu", n->number + 1,
                  (unsigned long long)a->entries[0].index, (unsigned long long)a->entries[a->entry_count - 1].index,
                  (unsigned long long)a->entries[a->entry_count - 1].term);
        n->epoch = a->epoch;
        n->dirty = true;
        rc = s->ops->append(n->store, a->entries, a->entry_count);
        break;
    case REP_ACT_SEND:
        sim_send(n, a->peer, a->message);
        break;
    case REP_ACT_COMMIT:
        sim_trace(s, "node %u publishes %llu", n->number + 1, (unsigned long long)a->index);
        oracle_committed(n, a->index);
        s->ops->publish(n->store, a->index);
        if (!s->failed && sim_chance(s, 1000))
            oracle_shown(n);
        break;
    case REP_ACT_ANSWER:
        answer(s, a);
        break;
    case REP_ACT_ROLE:
        if (a->leads)
            oracle_leads(n, a->term);
        sim_trace(s, "node %u: term %llu leader %llu%s", n->number + 1, (unsigned long long)a->term,
                  (unsigned long long)a->leader,
                  a->ready   ? " ready"
                  : a->leads ? " leads"
                             : "");
        break;
    case REP_ACT_STOP:
        sim_violation(s, "node %u stops: %s", n->number + 1, a->text);
        break;
    case REP_ACT_INSTALL:
        want(n, &a->message->install);
        break;
    case REP_ACT_ADOPT:
        sim_trace(s, "node %u adopts %llu .. %llu", n->number + 1, (unsigned long long)n->fetched_first,
                  (unsigned long long)a->index);
        n->epoch = a->epoch;
        rc = adopt(n, a->index);
        break;
    case REP_ACT_PROBED:
        confirmed(n, a);
        break;
    case REP_ACT_MEMBERS:
        break;
    }
    if (rc != 0 && !s->ops->dead(n->store))
        sim_violation(s, "node %u: its store fails: %d", n->number + 1, rc);
    if (rc == 0 && a->type == REP_ACT_SAVE && s->ops->dead(n->store) == SIM_ERROR)
        sim_violation(s, "node %u: what failed is taken for saved", n->number + 1);
}

void sim_after_event(struct sim_node *n) {
    struct sim *s = n->sim;
    const struct rep_action *a;
    while ((a = rep_next(n->driver)) != NULL) {
        if (s->failed)
            continue;
        if (!s->healing && sim_chance(s, s->faults.crash_action)) {
            crash(n);
            return;
        }
        act(n, a);
        if (s->ops->dead(n->store)) {
            crash(n);
            return;
        }
    }
    if (s->failed)
        return;
    begin_sync(n);
    arm(n);
}

static void sync_end(struct sim_node *n, uint64_t epoch) {
    struct sim *s = n->sim;
    uint64_t upto = 0;
    if (s->ops->sync(n->store, &upto) != 0) {
        if (s->ops->dead(n->store)) {
            crash(n);
            return;
        }
        sim_violation(s, "node %u: sync fails", n->number + 1);
        return;
    }
    if (s->ops->dead(n->store) == SIM_ERROR) {
        sim_violation(s, "node %u: a sync that failed is taken for done", n->number + 1);
        return;
    }
    n->syncing = false;
    sim_schedule(s, s->now + sim_below(s, 3), SIM_SYNC_TOLD, n->number, (uint64_t)n->boot << 48 | upto, epoch, NULL);
    begin_sync(n);
}

/* ---- clients ---- */

static int64_t newest_version(const struct sim *s, uint32_t stream) {
    int64_t v = -1;
    for (size_t i = 0; i < s->op_count; i++)
        if (s->op[i].stream == stream && s->op[i].outcome == SIM_WRITTEN && s->op[i].version > v)
            v = s->op[i].version;
    return v;
}

static struct sim_node *some_leader(struct sim *s) {
    unsigned at = (unsigned)sim_below(s, s->nodes); /* of several, any: one may not know yet */
    for (unsigned i = 0; i < s->nodes; i++) {
        struct sim_node *n = &s->node[(at + i) % s->nodes];
        if (n->up && n->paused_until <= s->now && rep_ready(n->driver))
            return n;
    }
    return NULL;
}

/* What became of a request is known only as long as no leader has taken it. */
static void not_written(struct sim_op *op, enum sim_outcome outcome) {
    if (op->copies == 0)
        op->outcome = outcome;
}

/* 2: the segment was rolled over first; once more. */
static int submit_once(struct sim_node *n, struct sim_op *op) {
    struct sim *s = n->sim;
    uint64_t index = rep_next_index(n->driver), term = rep_term(n->driver);
    struct rep_entry e = {.index = index, .term = term};
    struct sim_op copy = *op;
    void *token = (void *)((uintptr_t)op->number | (uintptr_t)op->copies << 32);
    int rc = s->ops->prepare(n->store, &copy, index, term, &e.frame, &e.frame_len);
    if (s->ops->dead(n->store)) {
        not_written(op, SIM_REFUSED);
        crash(n);
        return 0;
    }
    if (rc == 3 && op->copies == 0)
        sim_violation(s, "operation %u is found before anybody wrote it", op->number);
    if (rc == 1)
        not_written(op, SIM_CONFLICT);
    if (rc == 1 || rc == 3)
        return 0;
    if (rc == 2) {
        e = (struct rep_entry){.index = index, .term = term, .kind = FMT_FRAME_BARRIER, .flags = FMT_FRAME_ROLLS};
        token = NULL;
    } else {
        struct fmt_frame f;
        fmt_frame_decode(e.frame, e.frame_len, &f);
        e.kind = f.kind;
        e.flags = f.flags;
    }
    unsigned boot = n->boot;
    int result = rep_submit(n->driver, sim_clock(n), &e, 1, token);
    if (result == 0 && rc == 0)
        op->copy_version[op->copies++] = copy.version;
    else if (rc == 0 && result != REP_EREFUSED)
        not_written(op, SIM_REFUSED);
    if (result == REP_EREFUSED)
        sim_violation(s, "node %u refuses its own frame: %s", n->number + 1, rep_error(n->driver));
    sim_after_event(n);
    return rc == 2 && result == 0 && n->up && n->boot == boot ? 2 : 0;
}

static void submit(struct sim_node *n, struct sim_op *op) {
    if (submit_once(n, op) != 2)
        return;
    if (n->up && rep_ready(n->driver))
        submit_once(n, op);
    else
        not_written(op, SIM_REFUSED);
}

/* A request that is not answered comes once more: from its client, through another node; or a forwarded one comes late, after
 * the node that sent it is gone. */
static void retry(struct sim_node *n) {
    struct sim *s = n->sim;
    size_t newest = s->op_count < 16 ? s->op_count : 16;
    struct sim_op *op = &s->op[s->op_count - 1 - sim_below(s, newest)];
    if (op->copies < SIM_COPIES && (op->outcome == SIM_PENDING || op->outcome == SIM_UNKNOWN)) {
        sim_trace(s, "operation %u again, at node %u", op->number, n->number + 1);
        submit(n, op);
    }
}

static void ask(struct sim_node *n) {
    uint64_t number = 0, least = oracle_max(n->sim);
    if (rep_confirm(n->driver, sim_clock(n), &number) == 0) {
        n->question[number % SIM_QUESTIONS].number = number;
        n->question[number % SIM_QUESTIONS].least = least;
    }
    sim_after_event(n);
}

static void client(struct sim *s) {
    sim_schedule(s, s->now + 1 + sim_below(s, 2 * CLIENT_MS), SIM_CLIENT, 0, 0, 0, NULL);
    struct sim_node *n = some_leader(s);
    if (n && sim_chance(s, 1500)) {
        ask(n);
        n = some_leader(s);
    }
    for (size_t i = s->op_count > 64 ? s->op_count - 64 : 0; i < s->op_count; i++)
        if (s->op[i].outcome == SIM_PENDING && s->op[i].asked_at + 1000 < s->now)
            s->op[i].outcome = SIM_UNKNOWN;
    if (n && s->retries && s->op_count && sim_chance(s, 5000)) {
        retry(n);
        n = some_leader(s);
    }
    if (!n || s->op_count >= OPS_MAX)
        return;
    if (s->op_count == s->op_room) {
        s->op_room = s->op_room ? s->op_room * 2 : 64;
        s->op = realloc(s->op, s->op_room * sizeof *s->op);
    }
    uint32_t stream = (uint32_t)sim_below(s, SIM_STREAMS);
    int64_t expected = sim_chance(s, 5000) ? -2 : newest_version(s, stream);
    struct sim_op *op = &s->op[s->op_count];
    *op =
        (struct sim_op){.number = (uint32_t)++s->op_count, .stream = stream, .expected = expected, .asked_at = s->now};
    if (!s->retries || !sim_chance(s, 1000)) /* else it is on its way */
        submit(n, op);
}

/* ---- who keeps the membership as it should be ---- */

static int mend(struct sim *s, struct sim_node *leader) {
    const struct rep_server *members;
    size_t count = rep_members(leader->driver, &members);
    for (size_t i = 0; i < count; i++)
        if (!sim_node_of(s, members[i].id)) /* it lost its disk, and is another one now */
            return rep_remove(leader->driver, sim_clock(leader), members[i].id);
    for (unsigned i = 0; i < s->nodes; i++) {
        bool found = false;
        for (size_t j = 0; j < count; j++)
            found = found || members[j].id == s->node[i].id;
        char address[32];
        snprintf(address, sizeof address, "n%llu", (unsigned long long)s->node[i].id);
        if (!found)
            return rep_add(leader->driver, sim_clock(leader), s->node[i].id, address);
    }
    for (size_t i = 0; i < count; i++)
        if (members[i].role == REP_STANDBY)
            return rep_promote(leader->driver, sim_clock(leader), members[i].id);
    return 1;
}

static void operate(struct sim *s) {
    sim_schedule(s, s->now + 20 + sim_below(s, 60), SIM_OPERATOR, 0, 0, 0, NULL);
    struct sim_node *leader = some_leader(s);
    if (!leader || mend(s, leader) == 1)
        return;
    sim_after_event(leader);
}

/* All nodes are voters, and the leader has committed that. */
static bool whole(struct sim *s) {
    struct sim_node *leader = some_leader(s);
    const struct rep_server *members;
    size_t count = leader ? rep_members(leader->driver, &members) : 0;
    for (size_t i = 0; i < count; i++)
        if (members[i].role != REP_VOTER || !sim_node_of(s, members[i].id))
            return false;
    return count == s->nodes && rep_committed(leader->driver) + 1 == rep_next_index(leader->driver);
}

/* A node loses its disk; under a new id it is added again. One at a time: else what is acknowledged may be gone. */
static void wipe(struct sim_node *n) {
    struct sim *s = n->sim;
    if (!whole(s) || s->nodes < 3)
        return;
    sim_trace(s, "node %u loses its disk", n->number + 1);
    while (rep_next(n->driver))
        ;
    rep_driver_close(n->driver);
    n->driver = NULL;
    n->up = false;
    n->boot++;
    s->wipes++;
    s->ops->crash(n->store, false);
    s->ops->destroy(n->store);
    n->id += SIM_IDS;
    n->store = s->ops->create(s, n->number, n->id, NULL, 0);
    oracle_wiped(n);
    sim_schedule(s, s->now + 20 + sim_below(s, 400), SIM_RESTART, n->number, n->boot, 0, NULL);
}

/* ---- faults ---- */

enum fault { CRASH, PARTITION, PAUSE, JUMP, TRANSFER, WIPE, ERROR, FAULT_KINDS };

static uint32_t mean(const struct sim *s, enum fault f) {
    const struct sim_faults *x = &s->faults;
    const uint32_t all[FAULT_KINDS] = {x->crash_ms,    x->partition_ms, x->pause_ms, x->jump_ms,
                                       x->transfer_ms, x->wipe_ms,      x->error_ms};
    return all[f];
}

static void plan(struct sim *s, enum fault f) {
    if (mean(s, f))
        sim_schedule(s, s->now + 1 + sim_below(s, 2ull * mean(s, f)), SIM_FAULT, 0, f, 0, NULL);
}

static void partition(struct sim *s) {
    struct sim_node *leader = some_leader(s);
    unsigned how = (unsigned)sim_below(s, leader ? 5 : 4);
    unsigned mask = (unsigned)sim_random(s);
    for (unsigned i = 0; i < s->nodes; i++)
        for (unsigned j = 0; j < s->nodes; j++) {
            bool apart = (mask >> i & 1) != (mask >> j & 1);
            s->cut_off[i][j] = i != j && (how == 0   ? false /* healed */
                                          : how == 1 ? apart /* two halves */
                                          : how == 4 ? i == leader->number || j == leader->number
                                          : how == 2 ? apart && (mask >> i & 1) /* one direction only */
                                                     : sim_chance(s, 3000));
        }
}

static void fault(struct sim *s, enum fault f) {
    struct sim_node *n = &s->node[sim_below(s, s->nodes)];
    if (s->healing)
        return;
    plan(s, f);
    if (f == PARTITION)
        partition(s);
    if (!n->up)
        return;
    if (f == CRASH) {
        bool all = sim_chance(s, 800);
        if (sim_chance(s, 4000)) {
            s->ops->die(n->store, 1 + (unsigned)sim_below(s, 8), 0);
            return;
        }
        for (unsigned i = 0; i < s->nodes; i++)
            if ((all || &s->node[i] == n) && s->node[i].up)
                crash(&s->node[i]);
    } else if (f == PAUSE)
        n->paused_until = s->now + sim_below(s, 800);
    else if (f == JUMP)
        n->clock_offset += (int64_t)sim_below(s, 1500);
    else if (f == WIPE)
        wipe(n);
    else if (f == ERROR)
        s->ops->die(n->store, 1 + (unsigned)sim_below(s, 30), sim_chance(s, 5000) ? EIO : ENOSPC);
    else if (f == TRANSFER) {
        rep_transfer(n->driver, sim_clock(n), 0);
        sim_after_event(n);
    }
}

static void choose_faults(struct sim *s) {
    struct sim_faults *f = &s->faults;
    bool calm = sim_chance(s, 1000);
    *f = (struct sim_faults){.delay_ms = 1 + (uint32_t)sim_below(s, 20), .power = (unsigned)sim_below(s, 101)};
    for (unsigned i = 0; i < s->nodes; i++) {
        s->node[i].sync_ms = 1 + (uint32_t)sim_below(s, sim_chance(s, 3000) ? 120 : 15);
        s->node[i].clock_offset = (int64_t)sim_below(s, 1000000);
    }
    if (calm)
        return;
    f->drop = (unsigned)sim_below(s, sim_chance(s, 5000) ? 300 : 2000);
    f->repeat = (unsigned)sim_below(s, 1500);
    f->overtake = (unsigned)sim_below(s, 1000);
    f->crash_action = sim_chance(s, 5000) ? 1 + (unsigned)sim_below(s, 20) : 0;
    f->crash_ms = sim_chance(s, 7000) ? 150 + (uint32_t)sim_below(s, 1000) : 0;
    f->partition_ms = sim_chance(s, 6000) ? 150 + (uint32_t)sim_below(s, 800) : 0;
    f->pause_ms = sim_chance(s, 4000) ? 200 + (uint32_t)sim_below(s, 1000) : 0;
    f->jump_ms = sim_chance(s, 3000) ? 300 + (uint32_t)sim_below(s, 1000) : 0;
    f->transfer_ms = sim_chance(s, 3000) ? 300 + (uint32_t)sim_below(s, 1000) : 0;
    f->wipe_ms = sim_chance(s, 3000) ? 500 + (uint32_t)sim_below(s, 1500) : 0;
    f->trailing = sim_chance(s, 4000) ? 1 + (uint32_t)sim_below(s, 20) : 0;
    f->slow_disk = sim_chance(s, 3000);
    f->error_ms = sim_chance(s, 4000) ? 200 + (uint32_t)sim_below(s, 1500) : 0;
}

/* ---- one seed ---- */

static void heal(struct sim *s) {
    s->healing = true;
    for (unsigned i = 0; i < s->nodes; i++)
        s->ops->die(s->node[i].store, 0, 0);
    memset(s->cut_off, 0, sizeof s->cut_off);
    s->faults.delay_ms = 3;
    sim_trace(s, "healed");
}

static bool level(struct sim *s) {
    struct sim_node *leader = some_leader(s);
    if (!whole(s))
        return false;
    for (unsigned i = 0; i < s->nodes; i++)
        if (!s->node[i].up || !leader || rep_next_index(s->node[i].driver) != rep_next_index(leader->driver) ||
            rep_committed(s->node[i].driver) + 1 != rep_next_index(leader->driver))
            return false;
    return true;
}

static void happen(struct sim *s, struct sim_queue_entry *e) {
    struct sim_node *n = &s->node[e->node];
    bool of_node = e->what <= SIM_INSTALLED;
    if (of_node && n->up && n->paused_until > s->now) {
        sim_schedule(s, n->paused_until, e->what, e->node, e->a, e->b, e->packet);
        return;
    }
    switch (e->what) {
    case SIM_TICK:
        if (n->up && e->a == n->boot && n->tick_at <= s->now) {
            n->tick_at = 0;
            rep_tick(n->driver, sim_clock(n));
            sim_after_event(n);
        }
        break;
    case SIM_PACKET:
        sim_deliver(s, e->packet);
        break;
    case SIM_SYNC_END:
        if (n->up && e->a == n->boot)
            sync_end(n, e->b);
        break;
    case SIM_SYNC_TOLD:
        if (n->up && e->a >> 48 == n->boot) {
            rep_persisted(n->driver, sim_clock(n), e->a & 0xffffffffffffu, e->b);
            sim_after_event(n);
            if (n->up && !s->failed && s->faults.trailing && sim_chance(s, 1000)) {
                rep_sealed(n->driver, sim_clock(n), rep_committed(n->driver), s->faults.trailing);
                sim_after_event(n);
            }
        }
        break;
    case SIM_FETCHED:
        if (n->up && e->a == n->boot && s->ops->fetch && n->fetching) {
            fetch_segments(n);
            if (s->ops->dead(n->store))
                crash(n);
        } else if (n->up && e->a == n->boot) {
            n->fetching = false;
            rep_fetched(n->driver, sim_clock(n), n->fetched_last);
            sim_after_event(n);
        }
        break;
    case SIM_INSTALLED:
        if (n->up && e->a == n->boot) {
            rep_installed(n->driver, sim_clock(n));
            sim_after_event(n);
        }
        break;
    case SIM_CLIENT:
        if (!s->healing)
            client(s);
        break;
    case SIM_OPERATOR:
        operate(s);
        break;
    case SIM_RESTART:
        if (!n->up && e->a == n->boot)
            start(n);
        break;
    case SIM_FAULT:
        fault(s, (enum fault)e->a);
        break;
    }
}

static void set_up(struct sim *s) {
    struct rep_server servers[SIM_NODES_MAX];
    char address[SIM_NODES_MAX][16];
    unsigned char configuration[REP_CONFIGURATION_MAX];
    s->nodes = sim_chance(s, 2500) ? 5 : 3;
    for (unsigned i = 0; i < s->nodes; i++) {
        snprintf(address[i], sizeof address[i], "n%u", i + 1);
        servers[i] = (struct rep_server){.id = i + 1, .address = address[i], .role = REP_VOTER};
    }
    s->grows = sim_chance(s, 2500);
    s->retries = s->seed % 4 == 3;
    size_t len = rep_configuration_encode(servers, s->grows ? 1 : s->nodes, configuration);
    choose_faults(s);
    for (unsigned i = 0; i < s->nodes && !s->failed; i++) {
        struct sim_node *n = &s->node[i];
        n->sim = s;
        n->number = i;
        n->id = i + 1;
        n->store = s->ops->create(s, i, n->id, configuration, s->grows && i > 0 ? 0 : len);
    }
    s->oracle = oracle_new();
}

static void first_commit(struct sim *s) {
    struct rep_frame f;
    struct sim_node *n = &s->node[0];
    if (s->ops->look(n->store, 1, &f)) /* the membership that all begin with */
        oracle_begin(s, f.checksum, f.term);
}

static bool run_seed(struct sim *s) {
    set_up(s);
    first_commit(s);
    for (unsigned i = 0; i < s->nodes && !s->failed; i++)
        start(&s->node[i]);
    sim_schedule(s, 1, SIM_CLIENT, 0, 0, 0, NULL);
    sim_schedule(s, 1, SIM_OPERATOR, 0, 0, 0, NULL);
    for (enum fault f = CRASH; f < FAULT_KINDS; f++)
        plan(s, f);
    uint64_t looked = 0;
    while (!s->failed && s->queued) {
        struct sim_queue_entry e = take(s);
        s->now = e.at;
        if (!s->healing && s->now > FAULTY_MS)
            heal(s);
        happen(s, &e);
        if (s->healing && s->now > looked + 50) {
            looked = s->now;
            if (level(s))
                break;
            if (s->now > FAULTY_MS + HEALED_MS)
                sim_violation(s, "the nodes do not get level");
        }
    }
    if (!s->failed)
        oracle_end(s);
    return !s->failed;
}

static void tear_down(struct sim *s) {
    while (s->queued) {
        struct sim_queue_entry e = take(s);
        if (e.what == SIM_PACKET)
            sim_packet_free(e.packet);
    }
    for (unsigned i = 0; i < s->nodes; i++) {
        struct sim_node *n = &s->node[i];
        if (n->driver)
            rep_driver_close(n->driver);
        if (n->store)
            s->ops->destroy(n->store);
        free(n->fetched);
    }
    oracle_free(s->oracle);
    free(s->queue);
    free(s->op);
}

/* ---- the command line ---- */

struct totals {
    uint64_t seeds, failed, steps, messages, commits, elections, crashes, cuts, wipes, installs, written, confirmed;
};

struct settings {
    const struct sim_store_ops *ops;
    const char *directory;
    uint64_t first, count, stop;
    unsigned jobs;
    bool trace;
};

static struct totals run_seeds(const struct settings *o, uint64_t first, uint64_t step, uint64_t end) {
    struct totals t = {0};
    for (uint64_t seed = first; seed < end; seed += step) {
        struct sim *s = calloc(1, sizeof *s);
        s->seed = seed;
        s->ops = o->ops;
        s->trace = o->trace;
        s->directory = o->directory;
        seed_random(s, seed);
        if (!run_seed(s)) {
            t.failed++;
            printf("seed %llu: %s\n", (unsigned long long)seed, s->violation);
            fflush(stdout);
        }
        t.seeds++;
        t.steps += s->steps;
        t.messages += s->messages;
        t.commits += s->commits;
        t.elections += s->elections;
        t.crashes += s->crashes;
        t.cuts += s->cuts;
        t.wipes += s->wipes;
        t.installs += s->installs;
        t.confirmed += s->confirmed;
        for (size_t i = 0; i < s->op_count; i++)
            t.written += s->op[i].outcome == SIM_WRITTEN;
        tear_down(s);
        free(s);
        if (t.failed >= o->stop)
            break;
    }
    return t;
}

static void add(struct totals *to, const struct totals *t) {
    const uint64_t *from = (const uint64_t *)t;
    for (size_t i = 0; i < sizeof *t / sizeof *from; i++)
        ((uint64_t *)to)[i] += from[i];
}

static struct totals run_jobs(const struct settings *o) {
    struct totals all = {0}, t;
    int pipes[64][2];
    for (unsigned j = 0; j < o->jobs; j++) {
        if (pipe(pipes[j]) != 0)
            abort();
        fflush(stdout);
        pid_t pid = fork();
        if (pid == 0) {
            t = run_seeds(o, o->first + j, o->jobs, o->first + o->count);
            exit(write(pipes[j][1], &t, sizeof t) == (ssize_t)sizeof t ? 0 : 1);
        }
        close(pipes[j][1]);
    }
    for (unsigned j = 0; j < o->jobs; j++) {
        if (read(pipes[j][0], &t, sizeof t) != (ssize_t)sizeof t) {
            printf("a job died\n");
            t = (struct totals){.failed = 1};
        }
        add(&all, &t);
        wait(NULL);
    }
    return all;
}

int main(int argc, char **argv) {
    static const struct option options[] = {
        {"store", required_argument, NULL, 's'}, {"seeds", required_argument, NULL, 'n'},
        {"first", required_argument, NULL, 'f'}, {"jobs", required_argument, NULL, 'j'},
        {"trace", no_argument, NULL, 't'},       {"directory", required_argument, NULL, 'd'},
        {"stop", required_argument, NULL, 'x'},  {NULL, 0, NULL, 0}};
    struct settings o = {.ops = &sim_memory_ops, .count = 1, .jobs = 1, .stop = 5, .directory = "/dev/shm"};
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (c == 's')
            o.ops = strcmp(optarg, "disk") == 0 ? &sim_disk_ops : &sim_memory_ops;
        else if (c == 'n')
            o.count = strtoull(optarg, NULL, 10);
        else if (c == 'f')
            o.first = strtoull(optarg, NULL, 10);
        else if (c == 'j')
            o.jobs = (unsigned)strtoul(optarg, NULL, 10);
        else if (c == 't')
            o.trace = true;
        else if (c == 'd')
            o.directory = optarg;
        else if (c == 'x')
            o.stop = strtoull(optarg, NULL, 10);
        else
            return 2;
    }
    if (o.jobs < 1 || o.jobs > 64)
        return 2;
    struct timespec a, b;
    clock_gettime(CLOCK_MONOTONIC, &a);
    struct totals t = o.jobs > 1 ? run_jobs(&o) : run_seeds(&o, o.first, 1, o.first + o.count);
    clock_gettime(CLOCK_MONOTONIC, &b);
    double seconds = (double)(b.tv_sec - a.tv_sec) + (double)(b.tv_nsec - a.tv_nsec) / 1e9;
    printf("%llu seeds, %llu violations; %llu elections, %llu crashes, %llu cuts, %llu disks lost, %llu installations, "
           "%llu messages, %llu commits, %llu operations, %llu reads confirmed; %.1f s, %.1f seeds/s\n",
           (unsigned long long)t.seeds, (unsigned long long)t.failed, (unsigned long long)t.elections,
           (unsigned long long)t.crashes, (unsigned long long)t.cuts, (unsigned long long)t.wipes,
           (unsigned long long)t.installs, (unsigned long long)t.messages, (unsigned long long)t.commits,
           (unsigned long long)t.written, (unsigned long long)t.confirmed, seconds, (double)t.seeds / seconds);
    return t.failed ? 1 : 0;
}
