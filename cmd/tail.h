/* tail.h: esdb-tail, once its options are known. */
#ifndef CMD_TAIL_H
#define CMD_TAIL_H

#include "delivery.h"

/* Where to begin. */
struct tail_from {
    enum { TAIL_FROM_START, TAIL_FROM_END, TAIL_FROM_POSITION, TAIL_FROM_TIME } kind;
    uint64_t value; /* a position, or epoch_us */
};

/* The argument of the current option, or of an action. Exit 2, naming `what`, when it is none. */
struct tail_from cmd_tail_parse_from(const char *what, const char *text);
/* The position that it stands for now. 0 or a code. */
int cmd_tail_find_from(esdb *db, const struct tail_from *from, uint64_t *position, struct esdb_error *err);

/* What the command line asked for. */
struct tail {
    struct esdb_query q;
    struct cmd_delivery_options delivery;
    uint64_t last;  /* events of history; when from_last */
    bool from_last; /* begin with the last events, not at `from` */
    struct tail_from from;
    bool until_end;
    bool heartbeat;
    uint64_t heartbeat_ms;
    const char *cursor_file; /* NULL: none */
    bool has_cursor;
    uint64_t cursor_saved; /* the position in it; UINT64_MAX: none yet */
    int status;

    /* a named subscription */
    const char *name; /* NULL: none */
    bool selects;     /* streams or filters were given */
    bool change, wait, once, exit_status, group;
    uint32_t part, parts; /* --partition; 0: not given */
    uint64_t lease_ms;
    bool has_from;
    uint64_t ack_every; /* events */
    int ack_every_ms;
    bool acks_by_stdin, pull;
    bool has_max_queue;
    uint64_t max_queue; /* events that wait: to be taken, and with acks_by_stdin, to be acknowledged */
    enum tail_overflow { TAIL_BLOCK, TAIL_DROP_OLDEST, TAIL_DROP_NEWEST, TAIL_ERROR } overflow;
    uint64_t warn_at; /* 0: never */
};

/* --cursor-file. 0 or an exit status, after the message. *found: there is one, and *position is set. */
int cmd_tail_cursor_load(const esdb *db, const char *path, bool *found, uint64_t *position);
int cmd_tail_cursor_save(const esdb *db, const char *path, uint64_t position);

/* Follows a named subscription. An exit status, after the messages. */
int cmd_tail_named(esdb *db, struct tail *t);

#endif
