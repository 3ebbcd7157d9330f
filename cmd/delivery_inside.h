/*
 * delivery_inside.h: between the files of the delivery.
 *
 *   delivery.c          the queue: streams, retries, what is done
 *   delivery_dispatch.c which event goes to which worker, and when
 *   delivery_child.c    children: starting, ending, timeouts, stderr
 *   delivery_loop.c     the line protocol of CMD_DELIVERY_LOOP
 *   delivery_command.c  arguments and environment of a child
 *
 * An event is in `all` from offer to collect, and in exactly one of: `waiting`, the list of a worker, `done`.
 */
#ifndef CMD_DELIVERY_INSIDE_H
#define CMD_DELIVERY_INSIDE_H

#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/types.h>

#include "delivery.h"

enum {
    STDERR_TAIL = 4096,     /* of a failure: what fits into the event that parks it */
    REASON_MAX = 1024,      /* of "fail REASON" */
    REPLY_MAX = 16 << 10,   /* a longer line is no answer */
    KILL_AFTER_MS = 3000,   /* from SIGTERM to SIGKILL */
    DRAIN_MAX = 256 << 10,  /* read from a child that has ended: its children may go on writing */
    QUEUE_BYTES = 64 << 20, /* bound of memory */
};
#define NEVER UINT64_MAX

/* A stream with events in the queue, or parked. */
struct cmd_delivery_stream {
    struct cmd_delivery_stream *next; /* of the bucket */
    uint64_t hash;
    uint32_t events;    /* in the queue */
    uint32_t in_flight; /* given to `worker` */
    struct cmd_delivery_worker *worker;
    uint64_t blocked_pass; /* of dispatch: an event that must come first could not be given */
    bool parked;
    size_t len;
    char name[];
};

/* Why an attempt failed. */
struct cmd_delivery_failure {
    int exit_status, signal; /* as in the outcome */
    char reason[REASON_MAX];
    size_t tail_len;
    char tail[STDERR_TAIL];
};

struct cmd_delivery_event {
    struct cmd_delivery_event *next, *previous; /* in its list */
    struct cmd_delivery_event *newer, *older;   /* in `all` */
    struct cmd_delivery_stream *stream;
    struct cmd_delivery_failure *failure; /* of the last attempt; owned */
    uint64_t sequence;                    /* of the offers */
    uint64_t position, version, epoch_us;
    struct esdb_text event_type, event_id; /* in `line`'s block */
    uint64_t not_before_ms;                /* its next attempt */
    uint64_t group;                        /* 0, or that of the batch which failed and is given again as it was */
    uint32_t attempts;                     /* begun */
    bool alone;                            /* its batch failed for good */
    bool redo;                             /* an earlier one of its stream failed: the answer counts for nothing */
    enum cmd_delivery_result result;
    size_t size;     /* of the whole block */
    size_t line_len; /* with its newline */
    char line[];
};

struct cmd_delivery_list {
    struct cmd_delivery_event *first, *last;
    uint32_t count;
};

enum cmd_delivery_end { END_NOT, END_INPUT, END_TERM, END_KILL }; /* how far a child has been told to end */

struct cmd_delivery_worker {
    pid_t pid; /* 0: no child */
    struct cmd_delivery_list given;
    struct pollfd *in_poll, *from_in_poll, *to_in_poll; /* in the poll that is going on; NULL: not */
    uint64_t began_ms;                                  /* what the child is at now */
    uint64_t next_ms;                                   /* END_...: when the next step is due */
    enum cmd_delivery_end end;
    char why[128];                     /* ... and the reason for it; "": the delivery stops, or it did so by itself */
    int err[2];                        /* stderr of all its children, one after the other; both ends stay open here */
    struct cmd_delivery_event *unsent; /* loop: the first of `given` that is not wholly written; NULL: all are */
    size_t sent;                       /* bytes of it */
    int to, from;                      /* loop: the child's stdin and stdout; -1 */
    bool answered;                     /* loop: something */
    uint32_t deaths;                   /* loop: in a row, without an answer */
    uint64_t start_ms;                 /* loop: not before */
    size_t reply_len, line_len, tail_len;
    char *reply;            /* loop: REPLY_MAX */
    char line[STDERR_TAIL]; /* the begin of a line for our stderr */
    char tail[STDERR_TAIL];
};

struct cmd_delivery {
    struct cmd_delivery_options o;
    int status;
    bool stopping;
    uint64_t stop_ms;                           /* when children are told to end */
    uint64_t stop_before_ms;                    /* and at the latest, 0: no such limit */
    struct cmd_delivery_event *oldest, *newest; /* all */
    struct cmd_delivery_list waiting, done;
    struct cmd_delivery_event *collected; /* the last outcome's */
    uint32_t count, count_max;
    size_t size;
    uint64_t sequences, passes, groups;
    uint64_t wake_ms; /* when dispatch is worth a try again */
    struct cmd_delivery_stream **bucket;
    uint32_t bucket_count, stream_count;
    struct cmd_delivery_worker *worker; /* o.workers */
    struct pollfd *fds;
    struct cmd_waker *waker;
    /* starting children */
    char *path;
    bool has_placeholders;
    char **env;
    size_t env_count;
    posix_spawnattr_t attr;
    sigset_t poll_mask;
    struct sigaction old_child, old_pipe;
};

uint64_t cmd_delivery_now(void); /* CLOCK_MONOTONIC, ms */

/* min(backoff_ms * 2 ^ (n - 1), backoff_max_ms) */
uint64_t cmd_delivery_backoff(const struct cmd_delivery *d, uint32_t n);

void cmd_delivery_push(struct cmd_delivery_list *l, struct cmd_delivery_event *e);
void cmd_delivery_unlink(struct cmd_delivery_list *l, struct cmd_delivery_event *e);

/* An attempt at e, one of w->given, was a success. */
void cmd_delivery_succeed(struct cmd_delivery *d, struct cmd_delivery_worker *w, struct cmd_delivery_event *e);
/* An attempt at e failed; f becomes e's. */
void cmd_delivery_fail(struct cmd_delivery *d, struct cmd_delivery_worker *w, struct cmd_delivery_event *e,
                       struct cmd_delivery_failure *f);
/* The attempts at all of w->given failed together; f is freed or handed on. */
void cmd_delivery_fail_all(struct cmd_delivery *d, struct cmd_delivery_worker *w, struct cmd_delivery_failure *f);
/* Gives e back: it was no attempt. */
void cmd_delivery_return(struct cmd_delivery *d, struct cmd_delivery_worker *w, struct cmd_delivery_event *e);
/* Stops with this exit status. */
void cmd_delivery_abort(struct cmd_delivery *d, int status);

/* A failure with reason, and the tail of the worker's stderr. */
struct cmd_delivery_failure *cmd_delivery_why(struct cmd_delivery_worker *w, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* delivery_dispatch.c: gives what can be given, and starts children for it */
void cmd_delivery_dispatch(struct cmd_delivery *d);

/* delivery_child.c */
int cmd_delivery_children_open(struct cmd_delivery *d);   /* 0, or exit status after the message */
void cmd_delivery_children_close(struct cmd_delivery *d); /* after the last child has ended */
/* Starts a child for w->given (of a loop: for what will come). Failures are dealt with. */
void cmd_delivery_start(struct cmd_delivery *d, struct cmd_delivery_worker *w);
/* Tells a child to end; what it answers from now on counts for nothing unless `why` is NULL. */
void cmd_delivery_end_child(struct cmd_delivery *d, struct cmd_delivery_worker *w, enum cmd_delivery_end how,
                            const char *why);
/* Waits for children, at most until `until_ms` (0: not at all). extra: a descriptor to wait for too, -1: none; true when
 * it was ready. */
bool cmd_delivery_poll(struct cmd_delivery *d, uint64_t until_ms, int extra);

/* delivery_loop.c */
bool cmd_delivery_loop_can_take(const struct cmd_delivery *d, const struct cmd_delivery_worker *w, uint64_t now);
void cmd_delivery_loop_send(struct cmd_delivery *d, struct cmd_delivery_worker *w);
void cmd_delivery_loop_read(struct cmd_delivery *d, struct cmd_delivery_worker *w);
/* The child has ended; what it had answered was read. */
void cmd_delivery_loop_ended(struct cmd_delivery *d, struct cmd_delivery_worker *w, struct cmd_delivery_failure *f);
void cmd_delivery_loop_disconnect(struct cmd_delivery_worker *w);

/* delivery_command.c */
/* Looks the command up and checks the placeholders. 0, or an exit status after the message. */
int cmd_delivery_command_open(struct cmd_delivery *d);
void cmd_delivery_command_close(struct cmd_delivery *d);
/* posix_spawn with the arguments and the environment for these events (none: a loop). 0 or an errno. */
int cmd_delivery_command_spawn(struct cmd_delivery *d, const posix_spawn_file_actions_t *actions,
                               const struct cmd_delivery_list *events, pid_t *pid);

/* delivery_wake.c: a thread that waits for events in the store while this one waits for children. */
struct cmd_waker;
struct cmd_waker *cmd_waker_start(const esdb *db);
void cmd_waker_stop(struct cmd_waker *w);
/* From now on, once: the descriptor becomes readable when there is more than `position`. */
void cmd_waker_arm(struct cmd_waker *w, uint64_t position);
int cmd_waker_fd(const struct cmd_waker *w);

#endif
