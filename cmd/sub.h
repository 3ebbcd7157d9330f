/* sub.h: the actions of esdb-sub, once its options are known. Each returns an exit status, after the messages. */
#ifndef CMD_SUB_H
#define CMD_SUB_H

#include "cmd.h"

enum sub_action { LIST, INFO, LAG, ACK, SEEK, EXISTS, REMOVE, PARKED, CHECK, SUB_ACTIONS };

/* What the command line asked for. */
struct sub_request {
    enum sub_action action;
    bool json, force, all, nagios, exit_status;
    bool has_max, has_warn;
    uint64_t max, warn;
};

/* list, info, lag, check, exists */
int cmd_sub_show(esdb *db, const struct sub_request *r, char **names, int count);
int cmd_sub_exists(esdb *db, const struct sub_request *r, char **names, int count);

/* ack, seek, remove */
int cmd_sub_change(esdb *db, const struct sub_request *r, char **operands, int count);

/* parked list|show|retry|drop NAME [POSITION...] */
int cmd_sub_parked(esdb *db, const struct sub_request *r, char **operands, int count);

#endif
