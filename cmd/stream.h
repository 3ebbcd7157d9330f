/* stream.h: the actions of esdb-stream, once its options are known. Each returns an exit status, after the messages. */
#ifndef CMD_STREAM_H
#define CMD_STREAM_H

#include "cmd.h"

enum cmd_stream_action { LIST, INFO, VERSION, EXISTS, DELETE, UNDELETE, TRUNCATE, SET, PARTITION, STREAM_ACTIONS };

/* What the command line asked for. */
struct cmd_stream_request {
    enum cmd_stream_action action;
    unsigned flags; /* list: of esdb_stream_list_open */
    bool json, count, exit_status;
    bool has_at; /* version */
    uint64_t at_us;
    bool hard; /* delete */
    int64_t expected;
    bool has_before; /* truncate */
    uint64_t before;
    bool has_policy; /* set */
    uint64_t max_age_us, max_count;
};

int cmd_stream_list(esdb *db, const struct cmd_stream_request *r, char **patterns, int count);

/* info, version, exists */
int cmd_stream_about(esdb *db, const struct cmd_stream_request *r, char **streams, int count);

/* delete, undelete, truncate */
int cmd_stream_change(esdb *db, const struct cmd_stream_request *r, const char *stream);

/* set: a policy for `pattern`; NULL: prints those that there are. */
int cmd_stream_policy(esdb *db, const struct cmd_stream_request *r, const char *pattern);

/* One stream as a line of JSON, or of the table. */
void cmd_stream_put(struct cmd_out *out, const struct esdb_stream_info *s, bool json);

#endif
