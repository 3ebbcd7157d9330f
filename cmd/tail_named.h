/* tail_named.h: a named subscription while it is followed: shared by its three ways of giving events: printing them
 * (tail_named.c), printing and being told what was processed (tail_ack.c), giving them to a command (tail_deliver.c). */
#ifndef CMD_TAIL_NAMED_H
#define CMD_TAIL_NAMED_H

#include "tail.h"

#define NAMED_SLICE_MS 1000  /* the longest wait: bounds the harm of a signal between looking and waiting */
#define NAMED_BUSY_MS 100    /* between two looks at what comes in while nothing is taken out of the queue */
#define NAMED_STEP_MAX 10000 /* events that are passed before the checkpoint follows */

/* What cmd_named_next() returns too, after the message: the queue has overflowed (--overflow error). */
#define NAMED_OVERFLOW 1000

struct named {
    struct tail *t;
    esdb *db;
    esdb_subscription *sub;    /* of a group: the whole, which nobody holds */
    struct named_group *group; /* owned; NULL: it is none */
    struct named_lease *lease; /* owned; NULL: the store stands alone */
    char *selector;            /* JSON, of the cursor; owned */
    bool stopping;             /* the service manager knows that it ends */
    bool again;                /* the cursor is another one: there may be more to read */
    esdb_cursor *cursor;
    struct named_queue *queue;            /* owned; NULL: nothing is dropped or warned of */
    uint64_t saved;                       /* the checkpoint, as this process knows it */
    uint64_t unsaved;                     /* events settled since, those of subscriptions themselves left out */
    uint64_t printed;                     /* events, not written out: at most --max-queue */
    uint64_t written;                     /* what is before this position is, when there is a queue */
    uint64_t recorded_ms;                 /* when the last checkpoint was written */
    uint64_t since_ms;                    /* when the first of them was; when unsaved > 0 */
    uint64_t settled;                     /* in all */
    struct esdb_subscription_counts more; /* since the checkpoint */
    uint64_t *retries;                    /* positions of parked events that are being delivered again; owned */
    size_t retry_count;
};

uint64_t cmd_named_now_ms(void);

/* In each round: tells the service manager that all is well, or that this ends. *timeout_ms becomes at most the time until
 * the next round. */
void cmd_named_alive(struct named *n, int *timeout_ms);

/* An event is settled: delivered, or parked. */
void cmd_named_settle(struct named *n, struct esdb_text stream_id, uint64_t position);
/* What became of events of this stream since the checkpoint, to be added to. */
struct esdb_subscription_counts *cmd_named_counts(struct named *n, struct esdb_text stream_id);

/* Opens the cursor anew, for what n->selector says. 0 or an exit status. */
int cmd_named_open_cursor(struct named *n, uint64_t from_position);
/* Was that done? Then what was at its end is not any more. */
bool cmd_named_again(struct named *n);

/* Writes the checkpoint: everything before `position` is settled. 0 or an exit status. */
int cmd_named_save(struct named *n, uint64_t position);

/* The same when it is due; *timeout_ms becomes at most the time until then. */
int cmd_named_save_when_due(struct named *n, uint64_t position, int *timeout_ms);

/* Parks an event, or one that was parked already anew. 0 or an exit status. */
int cmd_named_park(struct named *n, const struct esdb_parked *p);

/* A parked event that was delivered again is settled. */
int cmd_named_retried(struct named *n, uint64_t position);
bool cmd_named_is_retry(const struct named *n, uint64_t position);

/* Calls give() with each parked event that is to be delivered again and is not under way. It returns false when there is
 * no room. 0 or an exit status. */
int cmd_named_give_retries(struct named *n, bool (*give)(void *context, const struct esdb_event *e), void *context);

#define NAMED_REFUSED (-1)
/* Calls give() with the parked event at a position, of a group only when it is `ours`. 0; NAMED_REFUSED: it returned false; an exit status. */
int cmd_named_give_one(struct named *n, uint64_t position, bool ours,
                       bool (*give)(void *context, const struct esdb_event *e), void *context);

/* After events of others: was it taken away? 0 or an exit status. */
int cmd_named_look(struct named *n);

/* With --once, when there is nothing more to read and nothing under way: is it over? Of a group, when all that was there when
 * this was first asked is settled, by whomever. *status: 0 or an exit status, with which it is over. */
bool cmd_named_finished(struct named *n, int *status);

/* Reports an error of the cursor; damage is not passed. An exit status. */
int cmd_named_cursor_failed(struct named *n, int rc, const struct esdb_error *err);

/* Calls take() until it is held, joined, or cannot be: waits for others when that was asked for, and for a lease of another
 * host that seems to have run out. The lease that comes of it is kept. 0 or an exit status. */
int cmd_named_take(struct named *n, int (*take)(esdb_subscription *s, int timeout_ms, struct esdb_error *err));

/* ---- the lease, in a replicated store (tail_lease.c) ---- */

/* Keeps it from now on, by a thread. 0 or an exit status. */
int cmd_lease_keep(struct named *n);
/* CLOCK_MONOTONIC, in ms: when events must not be given any more, unless it is renewed; UINT64_MAX: no lease is needed. */
uint64_t cmd_lease_until(const struct named *n);
/* Keeps it no longer. `status`, or 6 after a message when it could not be kept. */
int cmd_lease_end(struct named *n, int status);

/* ---- what waits (tail_queue.c) ---- */

/* Anew, when there is one. 0 or an exit status. */
int cmd_queue_open(struct named *n, const struct esdb_query *q);
void cmd_queue_close(struct named *n);

/* As esdb_cursor_next(), of what is still in the queue. ESDB_PAUSED: call it again, when the checkpoint is saved if that is
 * due. */
int cmd_named_next(struct named *n, struct esdb_event *e, struct esdb_error *err);
/* The same, of a group those that are not its own too. */
int cmd_queue_next(struct named *n, struct esdb_event *e, struct esdb_error *err);
/* Everything before it was given, or dropped, or does not match. */
uint64_t cmd_named_position(const struct named *n);
/* The one to wait on after ESDB_END; then cmd_named_more(). */
esdb_cursor *cmd_named_cursor(const struct named *n);
void cmd_named_more(struct named *n);

/* Does nothing wait? */
bool cmd_queue_empty(const struct named *n);
/* Lets come in what is there, while nobody takes anything. 0 or NAMED_OVERFLOW. */
int cmd_queue_look(struct named *n);
/* Was something dropped that is not recorded? *full: as much as can be remembered. */
bool cmd_queue_dropped(const struct named *n, bool *full);
/* Of this part, 0: there are none. */
bool cmd_queue_dropped_of(const struct named *n, uint32_t part);
/* Records them, with the checkpoint. 0 or a code. */
int cmd_queue_record(struct named *n, esdb_subscription *sub, uint32_t part, uint64_t position,
                     const struct esdb_subscription_counts *more, struct esdb_error *err);
/* They are not dropped: somebody else delivers them. */
void cmd_queue_forget(struct named *n, uint32_t part);
void cmd_named_warned(struct named *n, uint32_t part);

/* ---- shared by several processes (tail_group.c); n->sub is the whole ---- */

int cmd_group_open(struct named *n); /* 0 or an exit status */
void cmd_group_close(struct named *n);
int cmd_group_next(struct named *n, struct esdb_event *e, struct esdb_error *err);
void cmd_group_settle(struct named *n, struct esdb_text stream_id, uint64_t position, bool counts);
struct esdb_subscription_counts *cmd_group_counts(struct named *n, struct esdb_text stream_id);
int cmd_group_save(struct named *n);
/* Also takes and gives back parts. */
int cmd_group_save_when_due(struct named *n, int *timeout_ms);
bool cmd_group_finished(struct named *n, int *status);
/* Is an event of this part (1 ..) at this position still to be given by this process? */
bool cmd_group_wants(const struct named *n, uint32_t part, uint64_t position);
/* It, and what is before it in its part, need not be any more: it was dropped. */
void cmd_group_pass(struct named *n, uint32_t part, uint64_t position);
void cmd_group_warned(struct named *n, uint32_t part);
/* Saves what is before `until`, without a look at what is printed and not written out: all parts, or those in which events
 * were dropped. 0 or an exit status. */
int cmd_group_save_until(struct named *n, uint64_t until, bool all);
bool cmd_group_has(const struct named *n, struct esdb_text stream_id);
/* A parked event is given again: its part cannot go before it is settled. */
void cmd_group_retry(struct named *n, struct esdb_text stream_id);

/* The three ways. An exit status. */
int cmd_named_print(struct named *n);
int cmd_named_acked(struct named *n);
int cmd_named_deliver(struct named *n);

#endif
