/* tail_group.c: a named subscription that several processes share (--group). See tail_named.h.
 *
 * It has 64 parts; a stream belongs to one. Each part has a lock byte and a checkpoint of its own, and whoever holds the
 * byte delivers its events. Each process takes part by another byte, so that each can count the others and knows its share:
 *
 *   free ---try lock---> held ---more than the share, or the subscription was changed---> leaving
 *     ^                                                                                     |
 *     +---------------- nothing of it is under way: the checkpoint is saved ----------------+
 *
 * One cursor serves all parts that are held. When one is taken whose checkpoint is behind it, the cursor is opened anew
 * there, and the other parts pass over what they have had. A process that dies leaves its bytes to the others at once. */
#include <stdlib.h>
#include <string.h>

#include "tail_named.h"

enum { PARTS = ESDB_GROUP_PARTS, LOOK_MS = 500 /* the others come and go that often */ };

struct part {
    esdb_subscription *sub; /* owned; NULL: not held */
    bool leaving;
    uint64_t from;  /* events before this were given, or are settled */
    uint64_t limit; /* leaving: none from here on is given */
    uint64_t saved;
    uint64_t unsaved, since_ms;
    struct esdb_subscription_counts more;
    uint64_t *open; /* positions under way, ascending; owned */
    size_t open_count, open_room;
    size_t retrying; /* parked events under way */
};

struct named_group {
    struct part part[PARTS];
    uint32_t held;
    uint64_t look_ms;
    uint64_t cap;    /* what is behind it is not saved; 0: nothing is */
    int64_t version; /* of the whole */
    bool asked;      /* --once: whether it is over, and then */
    uint64_t until;  /* ... what was there at the first time */
    uint64_t ask_ms; /* ... when to look again */
    bool changed;    /* it is another one: all parts are to be given back, and everything begins again */
};

static struct part *part_of(const struct named *n, struct esdb_text stream_id) {
    return &n->group->part[esdb_partition(stream_id, PARTS) - 1];
}

bool cmd_group_has(const struct named *n, struct esdb_text stream_id) {
    const struct part *p = part_of(n, stream_id);

    return p->sub && !p->leaving;
}

struct esdb_subscription_counts *cmd_group_counts(struct named *n, struct esdb_text stream_id) {
    return &part_of(n, stream_id)->more;
}

bool cmd_group_wants(const struct named *n, uint32_t part, uint64_t position) {
    const struct part *p = &n->group->part[part - 1];

    return p->sub && !p->leaving && position >= p->from;
}

void cmd_group_pass(struct named *n, uint32_t part, uint64_t position) {
    struct part *p = &n->group->part[part - 1];

    if (cmd_group_wants(n, part, position))
        p->from = position + 1;
}

void cmd_group_warned(struct named *n, uint32_t part) {
    n->group->part[part - 1].more.warned += n->group->part[part - 1].sub != NULL;
}

static uint32_t number_of(const struct named *n, const struct part *p) {
    return (uint32_t)(p - n->group->part) + 1;
}

/* ---- events under way ---- */

int cmd_group_next(struct named *n, struct esdb_event *e, struct esdb_error *err) {
    for (int passed = 0; passed < NAMED_STEP_MAX; passed++) {
        int rc = cmd_queue_next(n, e, err);
        struct part *p;

        if (rc != 0)
            return rc;
        p = part_of(n, e->stream_id);
        if (!p->sub || p->leaving || e->position < p->from)
            continue;
        p->from = e->position + 1;
        if (p->open_count == p->open_room) {
            p->open_room = p->open_room ? 2 * p->open_room : 16;
            p->open = cmd_grow(p->open, p->open_room * sizeof *p->open);
        }
        p->open[p->open_count++] = e->position;
        return 0;
    }
    return ESDB_PAUSED;
}

void cmd_group_retry(struct named *n, struct esdb_text stream_id) {
    part_of(n, stream_id)->retrying++;
}

void cmd_group_settle(struct named *n, struct esdb_text stream_id, uint64_t position, bool counts) {
    struct part *p = part_of(n, stream_id);
    size_t at = 0;

    while (at < p->open_count && p->open[at] < position) /* the old ones are mostly first */
        at++;
    if (at < p->open_count && p->open[at] == position)
        memmove(p->open + at, p->open + at + 1, (--p->open_count - at) * sizeof *p->open);
    else if (p->retrying > 0)
        p->retrying--;
    if (counts && p->unsaved++ == 0)
        p->since_ms = cmd_named_now_ms();
}

static uint64_t watermark(const struct named *n, const struct part *p) {
    uint64_t position = p->leaving ? p->limit : cmd_named_position(n);

    if (p->open_count > 0 && p->open[0] < position)
        position = p->open[0];
    if (n->group->cap && n->group->cap < position)
        position = n->group->cap;
    return position > p->saved ? position : p->saved;
}

/* ---- the checkpoints ---- */

/* Not ours any more, because somebody has changed the whole: he says where it goes on. */
static bool is_lost(int rc) {
    return rc == ESDB_EUNAVAILABLE || rc == ESDB_ENOTFOUND;
}

static int save(struct named *n, struct part *p, unsigned flags) {
    struct esdb_error err = {0};
    uint64_t position = watermark(n, p);
    int rc;

    bool dropped = cmd_queue_dropped_of(n, number_of(n, p)), lazy = p->unsaved == 0 && p->more.warned == 0;

    if (position == p->saved && lazy && !dropped && p->more.delivered == 0 && p->more.retried == 0 &&
        p->more.parked == 0)
        return 0;
    if (dropped)
        rc = cmd_queue_record(n, p->sub, number_of(n, p), position, &p->more, &err);
    else
        rc = esdb_subscription_save(p->sub, position, &p->more, flags | (lazy ? ESDB_SAVE_LAZY : 0), &err);
    if (is_lost(rc)) {
        cmd_queue_forget(n, number_of(n, p));
        n->group->changed = true;
        return 0;
    }
    if (rc != 0)
        return cmd_report(rc, &err);
    p->saved = position;
    p->unsaved = 0;
    p->more = (struct esdb_subscription_counts){0};
    return 0;
}

/* What is printed counts once it is written out. */
static int flush(void) {
    return cmd_out_flush(cmd_stdout()) != 0 || cmd_stdout()->failed;
}

static bool is_due(const struct named *n, const struct part *p, uint64_t now, int *timeout_ms) {
    int rest;

    if (p->unsaved == 0)
        return watermark(n, p) >= p->saved + (uint64_t)NAMED_STEP_MAX * n->group->held;
    if (watermark(n, p) == p->saved)
        return false;
    if (p->unsaved >= n->t->ack_every || now - p->since_ms >= (uint64_t)n->t->ack_every_ms)
        return true;
    rest = n->t->ack_every_ms - (int)(now - p->since_ms);
    if (*timeout_ms > rest)
        *timeout_ms = rest;
    return false;
}

/* Saves those that are due, or all. Only the last one waits until it is durable, which the others then are too. One that may
 * find that nothing needs to be written cannot be that last one. */
static int save_some(struct named *n, bool all, int *timeout_ms) {
    uint64_t now = cmd_named_now_ms();
    struct part *last = NULL;
    bool flushed = false;
    int status = 0;

    for (int i = 0; i < PARTS && status == 0; i++) {
        struct part *p = &n->group->part[i];

        if (!p->sub || !(all || is_due(n, p, now, timeout_ms)))
            continue;
        if (!flushed)
            status = flush();
        flushed = true;
        if (status == 0 && p->unsaved == 0)
            status = save(n, p, 0);
        else if (status == 0 && last)
            status = save(n, last, ESDB_SAVE_ASYNC);
        if (p->unsaved > 0)
            last = p;
    }
    return status == 0 && last ? save(n, last, 0) : status;
}

int cmd_group_save(struct named *n) {
    int timeout_ms = 0;

    return save_some(n, true, &timeout_ms);
}

/* After it, what is printed and not written out is still to be saved. */
int cmd_group_save_until(struct named *n, uint64_t until, bool all) {
    struct named_group *g = n->group;
    int status = 0;

    g->cap = until > 0 ? until : 1;
    for (int i = 0; i < PARTS && status == 0; i++) {
        struct part *p = &g->part[i];
        uint64_t unsaved = p->unsaved;

        if (!p->sub || !(all || cmd_queue_dropped_of(n, number_of(n, p))))
            continue;
        status = save(n, p, 0);
        p->unsaved = unsaved;
    }
    g->cap = 0;
    n->recorded_ms = cmd_named_now_ms();
    return status;
}

/* What was dropped is recorded as often as the checkpoint is saved. */
static int record_dropped(struct named *n, uint64_t now, int *timeout_ms) {
    bool full, dropped = cmd_queue_dropped(n, &full);
    uint64_t age = now - n->recorded_ms;
    int status = 0;

    if (!dropped)
        return 0;
    if (!full && age < (uint64_t)n->t->ack_every_ms) {
        if (*timeout_ms > n->t->ack_every_ms - (int)age)
            *timeout_ms = n->t->ack_every_ms - (int)age;
        return 0;
    }
    if (flush())
        return 1;
    for (int i = 0; i < PARTS && status == 0; i++)
        if (n->group->part[i].sub && cmd_queue_dropped_of(n, (uint32_t)i + 1))
            status = save(n, &n->group->part[i], 0);
    n->recorded_ms = now;
    return status;
}

/* ---- sharing ---- */

static void give_back(struct named *n, struct part *p) {
    cmd_queue_forget(n, number_of(n, p));
    esdb_subscription_close(p->sub);
    free(p->open);
    *p = (struct part){0};
    n->group->held--;
}

/* Gives back what is leaving and has nothing under way. */
static int give_back_idle(struct named *n) {
    int status = 0;
    bool flushed = false;

    for (int i = 0; i < PARTS && status == 0; i++) {
        struct part *p = &n->group->part[i];

        if (!p->sub || !p->leaving || p->open_count > 0 || p->retrying > 0)
            continue;
        if (!flushed)
            status = flush();
        flushed = true;
        if (status == 0)
            status = save(n, p, 0);
        if (status == 0)
            give_back(n, p);
    }
    return status;
}

static void leave(struct named *n, struct part *p) {
    p->leaving = true;
    p->limit = cmd_named_position(n);
}

/* 0; 1: somebody else holds it; 2: the whole was changed; an exit status, negative. */
static int take(struct named *n, uint32_t i, uint64_t *lowest) {
    struct part *p = &n->group->part[i];
    struct esdb_subscription_info info;
    struct esdb_error err = {0};
    int rc = esdb_subscription_open(n->db, cmd_text(n->t->name), i + 1, &p->sub, &err);

    if (rc == 0)
        rc = esdb_subscription_hold(p->sub, 0, &err);
    if (rc == 0)
        rc = esdb_subscription_info(p->sub, &info, &err);
    if (rc != 0 || info.selector.len != strlen(n->selector) ||
        memcmp(info.selector.at, n->selector, info.selector.len) != 0) {
        esdb_subscription_close(p->sub);
        p->sub = NULL;
        return rc == ESDB_EUNAVAILABLE ? 1 : rc == 0 || rc == ESDB_ENOTFOUND ? 2 : -cmd_report(rc, &err);
    }
    p->from = p->saved = info.position;
    if (info.position < *lowest)
        *lowest = info.position;
    n->group->held++;
    return 0;
}

/* Opens the cursor where the parts that were just taken go on, when that is behind where it is. With a queue, what the scout
 * has passed is not in it; what waits is put in anew. */
static int go_back(struct named *n, uint64_t lowest) {
    uint64_t position = n->cursor ? cmd_named_position(n) : UINT64_MAX;
    int timeout_ms = NAMED_SLICE_MS, status;

    if (n->cursor && lowest >= esdb_cursor_position(cmd_named_cursor(n)))
        return 0;
    n->again = true;
    n->recorded_ms = 0; /* now */
    status = record_dropped(n, cmd_named_now_ms(), &timeout_ms);
    return status ? status : cmd_named_open_cursor(n, lowest < position ? lowest : position);
}

static int share(struct named *n) {
    struct named_group *g = n->group;
    uint32_t members, before, quota, stays = 0;
    uint64_t lowest = UINT64_MAX;
    int rc = 0;

    esdb_subscription_members(n->sub, &members, &before);
    quota = PARTS / members + (before < PARTS % members);
    for (int i = 0; i < PARTS; i++)
        stays += g->part[i].sub && !g->part[i].leaving;
    for (int i = PARTS - 1; i >= 0 && stays > quota; i--)
        if (g->part[i].sub && !g->part[i].leaving) {
            leave(n, &g->part[i]);
            stays--;
        }
    for (uint32_t j = 0; rc >= 0 && rc < 2 && j < PARTS && stays < quota; j++) {
        uint32_t i = (before * PARTS / members + j) % PARTS;

        if (g->part[i].sub)
            continue;
        rc = take(n, i, &lowest);
        stays += rc == 0;
    }
    g->changed |= rc == 2;
    return rc < 0 ? -rc : lowest < UINT64_MAX ? go_back(n, lowest) : 0;
}

/* Everything was given back: begins with what is recorded now. */
static int begin_again(struct named *n) {
    struct esdb_subscription_info info;
    struct esdb_error err = {0};
    int rc = esdb_subscription_info(n->sub, &info, &err);
    uint64_t end;

    if (rc == 0)
        rc = esdb_end_position(n->db, &end, &err);
    if (rc != 0)
        return cmd_report(rc, &err);
    free(n->selector);
    n->selector = cmd_alloc(info.selector.len + 1);
    memcpy(n->selector, info.selector.at, info.selector.len);
    n->group->changed = false;
    n->again = true;
    return cmd_named_open_cursor(n, end);
}

/* What the others do, twice a second. */
static int look_around(struct named *n) {
    struct named_group *g = n->group;
    int status = cmd_named_look(n);

    g->look_ms = cmd_named_now_ms();
    if (status == 0 && esdb_subscription_version(n->sub) != g->version) {
        g->version = esdb_subscription_version(n->sub);
        g->changed = true;
    }
    for (int i = 0; g->changed && i < PARTS; i++)
        if (g->part[i].sub && !g->part[i].leaving)
            leave(n, &g->part[i]);
    if (status == 0)
        status = give_back_idle(n);
    if (status == 0 && g->changed && g->held == 0)
        status = begin_again(n);
    return status == 0 && !g->changed ? share(n) : status;
}

int cmd_group_save_when_due(struct named *n, int *timeout_ms) {
    uint64_t now = cmd_named_now_ms();
    int status = record_dropped(n, now, timeout_ms);

    if (status == 0)
        status = save_some(n, false, timeout_ms);

    if (status == 0 && (n->group->changed || now - n->group->look_ms >= LOOK_MS))
        status = look_around(n);
    if (*timeout_ms > LOOK_MS)
        *timeout_ms = LOOK_MS;
    return status;
}

/* Looking costs a walk over what any part may have before it: it gets a fifth of the time. */
bool cmd_group_finished(struct named *n, int *status) {
    struct named_group *g = n->group;
    struct esdb_subscription_lag lag;
    struct esdb_error err = {0};
    uint64_t began = cmd_named_now_ms(), now;
    int rc = 0;

    if (g->asked && began < g->ask_ms)
        return false;
    if (!g->asked)
        rc = esdb_end_position(n->db, &g->until, &err);
    g->asked = true;
    if (rc == 0 && (*status = cmd_group_save(n)) != 0)
        return true;
    if (rc == 0)
        rc = esdb_subscription_lag(n->sub, 1, &lag, &err);
    if (rc != 0) {
        *status = cmd_report(rc, &err);
        return true;
    }
    now = cmd_named_now_ms();
    g->ask_ms = now + LOOK_MS + 4 * (now - began);
    return !g->changed && lag.position >= g->until;
}

int cmd_group_open(struct named *n) {
    int status = cmd_named_take(n, esdb_subscription_join);

    if (status != 0 || cmd_stopped)
        return status;
    n->group = cmd_alloc(sizeof *n->group);
    n->group->version = esdb_subscription_version(n->sub);
    status = begin_again(n);
    if (status == 0)
        status = look_around(n);
    n->again = false;
    return status;
}

void cmd_group_close(struct named *n) {
    for (int i = 0; n->group && i < PARTS; i++)
        if (n->group->part[i].sub)
            give_back(n, &n->group->part[i]);
    free(n->group);
}
