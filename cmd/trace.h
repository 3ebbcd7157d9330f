/* trace.h: the commands of esdb-trace. */
#ifndef CMD_TRACE_H
#define CMD_TRACE_H

#include "cmd.h"

struct cmd_trace_request {
    esdb *db;
    esdb_lookup *lookup; /* of db, with flags */
    unsigned flags;      /* of a query: ESDB_WITH_SYSTEM, ESDB_REVERSE */
    bool all;            /* effects: those of effects too */
    bool json;           /* stats */
    enum { CMD_TRACE_BY_ANY, CMD_TRACE_BY_EVENT, CMD_TRACE_BY_CORRELATION } by; /* what the id of a graph is */
    bool exit_status;                                                           /* 4 when no event is printed */
    uint64_t limit;                                                             /* events printed at most */
    uint64_t max;                                                               /* events gathered at most */
    uint64_t printed;                                                           /* set by the command */
};

/* Each prints what it finds about ids[0] (cmd_trace_path: about ids[0] and ids[1]), and returns the exit status, after a
 * message when it is not 0. */
int cmd_trace_effects(struct cmd_trace_request *r, char **ids);
int cmd_trace_cause(struct cmd_trace_request *r, char **ids);
int cmd_trace_chain(struct cmd_trace_request *r, char **ids);
int cmd_trace_ancestors(struct cmd_trace_request *r, char **ids);
int cmd_trace_path(struct cmd_trace_request *r, char **ids);
int cmd_trace_correlated(struct cmd_trace_request *r, char **ids);
int cmd_trace_actor(struct cmd_trace_request *r, char **ids);
int cmd_trace_graph(struct cmd_trace_request *r, char **ids);
int cmd_trace_dot(struct cmd_trace_request *r, char **ids);
int cmd_trace_tree(struct cmd_trace_request *r, char **ids);
int cmd_trace_stats(struct cmd_trace_request *r, char **ids);
int cmd_trace_topo(struct cmd_trace_request *r, char **ids);
int cmd_trace_roots(struct cmd_trace_request *r, char **ids);
int cmd_trace_leaves(struct cmd_trace_request *r, char **ids);

#endif
