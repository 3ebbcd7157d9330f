/*
 * delivery.h: gives events to commands and learns what became of them (esdb-tail --exec). It knows nothing of
 * subscriptions: the caller offers events in order of positions and is told, once for each, how it ended. Whoever keeps
 * a checkpoint saves cmd_delivery_oldest() of it: nothing before that is under way.
 *
 *   offer ---> waiting ---> given to a child ---> done: collect
 *                 ^               |  failed, retries left: after the backoff
 *                 +---------------+  the child of a loop died: those that it had not answered
 *
 * What holds:
 *  - An event that was offered is collected exactly once, unless the handle is closed before.
 *  - CMD_OK only after a child said so: status 0, or "ok".
 *  - With CMD_ORDER_STREAM an event is not begun before all earlier ones of its stream are done. One exception: with a
 *    window above 1, what was written to the child behind an event that fails cannot be taken back. What the child
 *    answers to events of the same stream then counts for nothing: they are given again, behind the one that failed.
 *  - One worker with CMD_ORDER_STREAM begins the events in order of positions; one that waits for its retry holds up all.
 *  - Memory: the queue has cmd_delivery_full() for a bound, 64 MiB and about workers * (window or batch) * 2 events; a
 *    larger single event is taken when nothing else waits.
 *
 * A child has a process group of its own (so that Ctrl-C does not end it), no descriptors and blocked signals of ours,
 * an event line on stdin, our stdout (a loop: the answers), and a pipe on stderr, which is passed on to ours.
 *
 * The process: SIGCHLD is blocked and handled here (libraries that wait for children of their own are left alone),
 * SIGPIPE is ignored. One delivery a process at a time.
 */
#ifndef CMD_DELIVERY_H
#define CMD_DELIVERY_H

#include "cmd.h"

enum cmd_delivery_mode {
    CMD_DELIVERY_NONE,  /* no --exec */
    CMD_DELIVERY_EVENT, /* a child an event */
    CMD_DELIVERY_BATCH, /* a child a batch of events: a line each on stdin, one status for all. After the last retry of
                           a batch each of its events is given alone, once, to find those that fail */
    CMD_DELIVERY_LOOP,  /* a child for the whole life: reads event lines, answers "ok" or "fail [reason]", in order */
};

enum cmd_delivery_order { CMD_ORDER_STREAM, CMD_ORDER_NONE };

/* When an event failed for good, later ones of its stream ... */
enum cmd_delivery_park {
    CMD_PARK_EVENT,  /* ... go on */
    CMD_PARK_STREAM, /* ... fail too, "stream parked", and are not given to a child */
    CMD_PARK_STOP,   /* ... and all others come back as CMD_STOPPED: cmd_delivery_status() is 123 */
};

struct cmd_delivery_options {
    enum cmd_delivery_mode mode;
    uint32_t batch;   /* CMD_DELIVERY_BATCH: events a child at most, 1 .. 65536 */
    uint32_t window;  /* CMD_DELIVERY_LOOP: events given to a child and not yet answered, 1 .. 65536 */
    uint32_t workers; /* children at once, 1 .. 128 */
    uint32_t retries; /* after the first attempt; 0: none */
    int backoff_ms;   /* before the first retry; doubles with each, up to backoff_max_ms */
    int backoff_max_ms;
    int timeout_ms;      /* an attempt may take; 0: for ever */
    int stop_timeout_ms; /* after a signal: what children have to finish before SIGTERM, and later SIGKILL */
    enum cmd_delivery_order order;
    enum cmd_delivery_park park;
    char *const *argv;  /* the command, NULL behind the last; borrowed until close */
    uint32_t queue_max; /* events taken in at most, as far as the commands do not need more; 0: as many as are useful */
    const char *subscription; /* ESDB_SUBSCRIPTION, ESDB_SOURCE; NULL: none. Borrowed until close */
};

/* Defaults: no mode, batch 1, window 1, one worker, order by stream, 5 retries from 1 s to 1 min, no timeout, 10 s to
 * stop, CMD_PARK_EVENT. */
void cmd_delivery_options_init(struct cmd_delivery_options *o);

enum cmd_delivery_result {
    CMD_OK,
    CMD_FAILED,  /* for good, or "stream parked": the caller parks it */
    CMD_STOPPED, /* neither: a signal, CMD_PARK_STOP, a child that ended with 255, a command that cannot be run */
};

/* How an event ended. Texts are valid until the next call on the delivery. */
struct cmd_delivery_outcome {
    enum cmd_delivery_result result;
    uint64_t position, version, epoch_us;
    struct esdb_text stream_id, event_type, event_id;
    uint32_t attempts;  /* times that it was given to a child; 0: never */
    int exit_status;    /* of the last attempt's child; -1: it was killed, or is a loop that lives */
    int signal;         /* that killed the last attempt's child; 0: none */
    const char *reason; /* "exit status 3", "killed by signal 9", "timed out after 500 ms", what followed "fail",
                                     "stream parked" ...: UTF-8 as far as the child wrote that; "" with CMD_OK */
    struct esdb_text stderr_tail; /* the last bytes that the last attempt wrote to stderr: any bytes, at most 4096 */
};

struct cmd_delivery;

/* Starts no child yet. 0, or an exit status after the message: 126 and 127 when the command cannot be run or found, 2
 * when the arguments hold placeholders that the mode does not have or nobody knows, 1. *out is the caller's. */
int cmd_delivery_open(const struct cmd_delivery_options *o, struct cmd_delivery **out);

/* Copies an event into the queue. False: it is full (or stopping), collect first; the event was not taken. */
bool cmd_delivery_offer(struct cmd_delivery *d, const struct esdb_event *e);

/* When it stops, for whatever reason, commands get no longer than until then (CLOCK_MONOTONIC, in ms). To be moved on. */
void cmd_delivery_stop_before(struct cmd_delivery *d, uint64_t ms);

/* True when cmd_delivery_offer() would be refused. */
bool cmd_delivery_full(const struct cmd_delivery *d);

/* Starts what can be started, listens to children and waits at most timeout_ms (0: not at all, -1: for ever) until an
 * event is done. True: *out is set. False: time is up, nothing is under way, or cmd_stopped was just noticed.
 * Call it whenever there is nothing more to offer: only here children are given anything. */
bool cmd_delivery_collect(struct cmd_delivery *d, int timeout_ms, struct cmd_delivery_outcome *out);

/* As cmd_delivery_collect(), but returns also as soon as `cursor` may have more events and there is room for them.
 * The cursor must have given ESDB_END last.
 * CMD_WAIT_OUTCOME: *out is set. CMD_WAIT_MORE: offer. CMD_WAIT_TIME: time is up, a signal came, or the delivery stops.
 * CMD_WAIT_FAILED: esdb_cursor_wait() failed, *rc and err say how. */
enum cmd_delivery_wait { CMD_WAIT_OUTCOME, CMD_WAIT_MORE, CMD_WAIT_TIME, CMD_WAIT_FAILED };
enum cmd_delivery_wait cmd_delivery_wait(struct cmd_delivery *d, esdb_cursor *cursor, int timeout_ms,
                                         struct cmd_delivery_outcome *out, int *rc, struct esdb_error *err);

/* True when everything that was offered was collected. */
bool cmd_delivery_idle(const struct cmd_delivery *d);

/* The lowest position that was offered and not yet collected. False: there is none. */
bool cmd_delivery_oldest(const struct cmd_delivery *d, uint64_t *position);

/* Says that an event of this stream failed for good in an earlier life (CMD_PARK_STREAM). */
void cmd_delivery_park_stream(struct cmd_delivery *d, struct esdb_text stream_id);

/* No event is begun any more; those that wait come back as CMD_STOPPED, and so do those that do not end in time.
 * Done by itself when cmd_stopped is set. Go on collecting until idle. */
void cmd_delivery_stop(struct cmd_delivery *d);

/* 0, or why it stopped by itself: 123 (CMD_PARK_STOP), 124 (a child ended with 255), 126, 127 (the command cannot be
 * run, not found), 1 (nobody reads our stdout any more), after the message. */
int cmd_delivery_status(const struct cmd_delivery *d);

/* Ends the children: a loop by the end of its input, then SIGTERM after stop_timeout_ms, then SIGKILL; those that have
 * unfinished events at once. NULL is fine. */
void cmd_delivery_close(struct cmd_delivery *d);

/* ---- the options (cmd/delivery_options.c) ---- */

extern const struct cmd_option cmd_delivery_option_list[]; /* --exec, --exec-loop, --batch, --window, --workers ... */
#define CMD_GROUP_DELIVERY \
    { "Giving events to a command", cmd_delivery_option_list }

/* Takes an option of the group; false when it is none of them. */
bool cmd_delivery_option(struct cmd_delivery_options *o, const struct cmd_args *args, int id);

/* After the last option: takes the command from behind "--" (args->count is then that of the other operands) and checks
 * that the options go together; exits 2. No --exec: o->mode is CMD_DELIVERY_NONE, and no other option of the group was
 * given. */
void cmd_delivery_options_end(struct cmd_delivery_options *o, struct cmd_args *args);

/* ---- esdb-tail without a name (cmd/delivery_tail.c) ---- */

/* Gives the events of the cursor to the command until it ends: at a signal, or (until_end) when all is done. Failures are
 * told on stderr. Returns the exit status: 0, 123 when some failed, see cmd_delivery_status(); 1, 5 ... of the cursor. */
int cmd_deliver(esdb_cursor *cursor, const struct cmd_delivery_options *o, bool until_end);

#endif
