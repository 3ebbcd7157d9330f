/* tail_named.h: a named subscription while it is followed: shared by its three ways of giving events: printing them
 * (tail_named.c), printing and being told what was processed (tail_ack.c), giving them to a command (tail_deliver.c). */
#ifndef CMD_TAIL_NAMED_H
#define CMD_TAIL_NAMED_H

#include "tail.h"

#define NAMED_SLICE_MS 1000 /* the longest wait: bounds the harm of a signal between looking and waiting */

struct named {
    struct tail *t;
    esdb *db;
    esdb_subscription *sub;
    esdb_cursor *cursor;
    uint64_t saved;                       /* the checkpoint, as this process knows it */
    uint64_t unsaved;                     /* events settled since, those of subscriptions themselves left out */
    uint64_t since_ms;                    /* when the first of them was; when unsaved > 0 */
    uint64_t settled;                     /* in all */
    struct esdb_subscription_counts more; /* since the checkpoint */
    uint64_t *retries;                    /* positions of parked events that are being delivered again; owned */
    size_t retry_count;
};

uint64_t cmd_named_now_ms(void);

/* An event is settled: delivered, or parked. */
void cmd_named_settle(struct named *n, struct esdb_text stream_id);

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
/* Calls give() with the parked event at a position. 0; NAMED_REFUSED: it returned false; an exit status. */
int cmd_named_give_one(struct named *n, uint64_t position, bool (*give)(void *context, const struct esdb_event *e),
                       void *context);

/* After events of others: was it taken away? 0 or an exit status. */
int cmd_named_look(struct named *n);

/* Reports an error of the cursor; damage is not passed. An exit status. */
int cmd_named_cursor_failed(struct named *n, int rc, const struct esdb_error *err);

/* The three ways. An exit status. */
int cmd_named_print(struct named *n);
int cmd_named_acked(struct named *n);
int cmd_named_deliver(struct named *n);

#endif
