/* tail_queue.c: what happens when events come faster than they are taken (--max-queue, --overflow, --warn-at).
 *
 * The events themselves wait in the log. The queue holds positions only: a second cursor, the scout, finds which events
 * match and puts their positions in; the first one reads those that are still in it.
 *
 *   log:    ...... taken ][ o . o o . . o ][ not looked at yet
 *                           ^ cursor       ^ scout          (o: in the queue, of max_queue places)
 *
 * When it is full, the scout stops (block), or the oldest or the newest position is dropped. Looking late makes no
 * difference to what is dropped: nothing leaves the queue meanwhile. What was there when the tail began is never dropped:
 * it was nobody's lack of speed. Writers are not involved at all. */
#include <stdlib.h>

#include "tail_named.h"

#define DROPPED_MAX 10000 /* positions that one event records */
#define STEP_MAX 10000    /* events that the scout looks at before the others have their turn */

struct dropped {
    uint64_t position;
    uint8_t part; /* of a group; 0: there are none */
};

struct named_queue {
    enum tail_overflow overflow;
    uint64_t max, warn_at;
    uint64_t *ring; /* positions, ascending; of `room` places; owned */
    uint8_t *part;  /* of a group: of each of them; owned; NULL: there are none */
    uint64_t room, first, count;
    esdb_cursor *scout; /* owned */
    uint64_t history;   /* what is before this is not dropped */
    bool at_end, failed, warned;
    struct dropped dropped[DROPPED_MAX]; /* not recorded yet */
    size_t dropped_count;
};

int cmd_queue_open(struct named *n, const struct esdb_query *q) {
    const struct tail *t = n->t;
    struct esdb_error err = {0};
    struct named_queue *k;
    int rc;

    cmd_queue_close(n);
    if (t->overflow == TAIL_BLOCK && t->warn_at == 0)
        return 0;
    n->queue = k = cmd_alloc(sizeof *k);
    k->overflow = t->overflow;
    k->max = t->max_queue;
    k->warn_at = t->warn_at;
    k->room = k->warn_at > k->max ? k->warn_at : k->max;
    k->ring = cmd_alloc(k->room * sizeof *k->ring);
    if (n->group)
        k->part = cmd_alloc(k->room);
    if ((rc = esdb_end_position(n->db, &k->history, &err)) == 0)
        rc = esdb_cursor_open(n->db, q, &k->scout, &err);
    return rc == 0 ? 0 : cmd_report(rc, &err);
}

void cmd_queue_close(struct named *n) {
    if (!n->queue)
        return;
    esdb_cursor_close(n->queue->scout);
    free(n->queue->ring);
    free(n->queue->part);
    free(n->queue);
    n->queue = NULL;
}

/* ---- the scout ---- */

static uint32_t part_at(const struct named_queue *k, uint64_t i) {
    return k->part ? k->part[i] : 0;
}

static void warn(struct named *n) {
    struct named_queue *k = n->queue;

    if (k->warned && k->count <= k->warn_at / 2)
        k->warned = false;
    if (k->warn_at == 0 || k->warned || k->count < k->warn_at)
        return;
    k->warned = true;
    cmd_named_warned(n, part_at(k, k->first));
    cmd_message("%s: warning: %llu events wait, from position %llu on", n->t->name, (unsigned long long)k->count,
                (unsigned long long)k->ring[k->first]);
}

/* Is there room for another position, or shall room be made? */
static bool may_look(const struct named_queue *k) {
    if (k->at_end || k->failed)
        return false;
    if (k->overflow == TAIL_BLOCK)
        return k->count < k->room;
    return (k->count < k->max || k->ring[k->first] >= k->history) && k->dropped_count < DROPPED_MAX;
}

static int overflowed(struct named *n) {
    cmd_message("%s: more than %llu events wait; what was delivered is saved", n->t->name,
                (unsigned long long)n->queue->max);
    return NAMED_OVERFLOW;
}

/* What is not ours any more is not ours to drop: whoever has its part now delivers it. */
static void drop(struct named *n, uint64_t position, uint32_t part) {
    struct named_queue *k = n->queue;

    if (part == 0 || cmd_group_wants(n, part, position))
        k->dropped[k->dropped_count++] = (struct dropped){position, (uint8_t)part};
}

static void leave_queue(struct named_queue *k) {
    k->first = (k->first + 1) % k->room;
    k->count--;
}

/* Takes in the event that the scout has found. */
static int take_in(struct named *n, uint64_t position, uint32_t part) {
    struct named_queue *k = n->queue;
    uint64_t most = k->overflow == TAIL_BLOCK ? k->room : k->max, last;

    if (k->count == most && k->overflow == TAIL_ERROR)
        return overflowed(n);
    if (k->count == most && k->overflow == TAIL_DROP_NEWEST) {
        drop(n, position, part);
        return 0;
    }
    if (k->count == most) {
        drop(n, k->ring[k->first], part_at(k, k->first));
        if (k->part)
            cmd_group_pass(n, part_at(k, k->first), k->ring[k->first]);
        leave_queue(k);
    }
    last = (k->first + k->count++) % k->room;
    k->ring[last] = position;
    if (k->part)
        k->part[last] = (uint8_t)part;
    return 0;
}

int cmd_queue_look(struct named *n) {
    struct named_queue *k = n->queue;
    struct esdb_event e;
    int rc = 0;

    for (uint64_t i = 0; k && rc == 0 && i < STEP_MAX && may_look(k) && !cmd_stopped; i++) {
        int found = esdb_cursor_next(k->scout, &e, NULL);

        k->at_end = found == ESDB_END;
        k->failed = found < 0; /* the other cursor meets that too, and tells */
        if (found == 0) {
            uint32_t part = n->group ? esdb_partition(e.stream_id, ESDB_GROUP_PARTS) : 0;

            if (part == 0 || cmd_group_wants(n, part, e.position))
                rc = take_in(n, e.position, part);
        }
        if (found == ESDB_PAUSED)
            break;
    }
    if (k)
        warn(n);
    return rc;
}

/* ---- reading ---- */

uint64_t cmd_named_position(const struct named *n) {
    const struct named_queue *k = n->queue;

    if (!k || (k->count == 0 && k->failed))
        return esdb_cursor_position(n->cursor);
    return k->count > 0 ? k->ring[k->first] : esdb_cursor_position(k->scout);
}

esdb_cursor *cmd_named_cursor(const struct named *n) {
    return n->queue && !n->queue->failed ? n->queue->scout : n->cursor;
}

bool cmd_queue_empty(const struct named *n) {
    return !n->queue || n->queue->count == 0;
}

void cmd_named_more(struct named *n) {
    if (n->queue)
        n->queue->at_end = false;
}

/* The event that is the next in the queue. What was deleted meanwhile is passed over. */
static int take_out(struct named *n, struct esdb_event *e, struct esdb_error *err) {
    struct named_queue *k = n->queue;

    while (k->count > 0) {
        int rc = esdb_cursor_next(n->cursor, e, err);

        if (rc == ESDB_PAUSED)
            continue;
        if (rc == ESDB_END) {
            k->count = 0;
            return ESDB_PAUSED;
        }
        if (rc != 0)
            return rc;
        while (k->count > 0 && k->ring[k->first] < e->position)
            leave_queue(k);
        if (k->count > 0 && k->ring[k->first] == e->position) {
            leave_queue(k);
            return 0;
        }
    }
    return ESDB_PAUSED;
}

int cmd_queue_next(struct named *n, struct esdb_event *e, struct esdb_error *err) {
    struct named_queue *k = n->queue;
    int rc;

    if (!k)
        return esdb_cursor_next(n->cursor, e, err);
    if ((rc = cmd_queue_look(n)) != 0)
        return rc;
    if (k->count > 0)
        return take_out(n, e, err);
    if (k->failed)
        return esdb_cursor_next(n->cursor, e, err);
    return k->at_end ? ESDB_END : ESDB_PAUSED;
}

int cmd_named_next(struct named *n, struct esdb_event *e, struct esdb_error *err) {
    return n->group ? cmd_group_next(n, e, err) : cmd_queue_next(n, e, err);
}

/* ---- what was dropped ---- */

bool cmd_queue_dropped(const struct named *n, bool *full) {
    *full = n->queue && n->queue->dropped_count == DROPPED_MAX;
    return n->queue && n->queue->dropped_count > 0;
}

bool cmd_queue_dropped_of(const struct named *n, uint32_t part) {
    for (size_t i = 0; n->queue && i < n->queue->dropped_count; i++)
        if (n->queue->dropped[i].part == part)
            return true;
    return false;
}

void cmd_queue_forget(struct named *n, uint32_t part) {
    struct named_queue *k = n->queue;
    size_t kept = 0;

    if (!k)
        return;
    for (size_t i = 0; i < k->dropped_count; i++)
        if (k->dropped[i].part != part)
            k->dropped[kept++] = k->dropped[i];
    k->dropped_count = kept;
}

int cmd_queue_record(struct named *n, esdb_subscription *sub, uint32_t part, uint64_t position,
                     const struct esdb_subscription_counts *more, struct esdb_error *err) {
    struct named_queue *k = n->queue;
    uint64_t *list = cmd_alloc(k->dropped_count * sizeof *list + 1);
    size_t count = 0;
    int rc;

    for (size_t i = 0; i < k->dropped_count; i++)
        if (k->dropped[i].part == part)
            list[count++] = k->dropped[i].position;
    rc = esdb_subscription_drop(sub, position, list, count, more, err);
    if (rc == 0) {
        cmd_message("%s: %zu events between positions %llu and %llu dropped: more than %llu waited", n->t->name, count,
                    (unsigned long long)list[0], (unsigned long long)list[count - 1], (unsigned long long)k->max);
        cmd_queue_forget(n, part);
    }
    free(list);
    return rc;
}
