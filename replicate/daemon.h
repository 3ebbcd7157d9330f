/* daemon.h: esdb-raftd, once its options are known: a libuv loop round the driver.
 *
 *   daemon.c    the loop: what the driver asks for, syncs in a thread, time, the end
 *   members.c   who the peers are, and who takes part: one change at a time
 *   requests.c  appends on their way: here, or to the leader and back
 *   intents.c   which nodes were removed
 *   metrics.c   for Prometheus
 *   room.c      a full disk
 *   reads.c     reads that must not be stale
 *   clients.c   the socket of local tools
 *   net.c       connections between nodes
 *   fetch.c     segments that this node lacks, from others
 *   give.c      and for others
 *   piece.c     the messages of both
 *   log.c       the driver's view of the store */
#ifndef RD_DAEMON_H
#define RD_DAEMON_H

#include "config.h"

struct rd_daemon_options {
    const struct rd_config *config;
    const struct rd_identity *self;
    const char *store;
    bool rejoin;    /* move the store aside, and fetch everything from the others, as a new node */
    bool bootstrap; /* become the first voter, of a new store or of one that stood alone */
    bool json;      /* log as JSON lines */
    /* A line of the log, without newline. */
    void (*log)(const char *line);
    /* For the service manager, as sd_notify(3) has it: what is new; and, several times a second, that it goes on. */
    void (*notify)(const char *state);
    void (*alive)(void);
};

/* Runs until a signal (SIGTERM, SIGINT), or an error. */
int rd_daemon_run(const struct rd_daemon_options *o, struct esdb_error *err);

#endif
