/* append.h: what esdb-append does once its options are known. */
#ifndef CMD_APPEND_H
#define CMD_APPEND_H

#include "cmd.h"
#include "ingest.h"
#include "pipeline.h"

struct cmd_expect {
    struct esdb_text stream_id;
    int64_t expected;
};

struct cmd_append {
    struct cmd_ingest ingest; /* its settings */
    bool has_expect;          /* of the STREAM, or the only stream of the input */
    int64_t expect;
    struct cmd_expect *expects; /* of named streams; owned by the caller */
    size_t expect_count;
    uint64_t batch_events, linger_ms, timeout_ms;
    bool has_timeout;
    bool has_batch;
    unsigned flags; /* of esdb_append() */
    bool atomic, create, quiet, skip;
};

/* An expected version: "any", "no-stream", "exists" or a number. Exit 2, naming the current option, when it is none. */
int64_t cmd_expected(const struct cmd_args *args, const char *text);

/* Appends all of standard input. An exit status, after the messages. */
int cmd_append(struct cmd_append *a, esdb *db);

#endif
