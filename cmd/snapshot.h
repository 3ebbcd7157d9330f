/* snapshot.h: the actions of esdb-snapshot, once its options are known. Each returns an exit status, after the messages. */
#ifndef CMD_SNAPSHOT_H
#define CMD_SNAPSHOT_H

#include "cmd.h"

enum cmd_snapshot_action { SAVE, LOAD, LIST, EXISTS, DELETE, PRUNE, SNAPSHOT_ACTIONS };

/* What the command line asked for. */
struct cmd_snapshot_request {
    enum cmd_snapshot_action action;
    struct esdb_text stream;
    bool raw, json, quiet;
    bool has_at, has_upto, has_keep, has_version;
    uint64_t version; /* of save */
    uint64_t at, upto, keep;
    uint64_t as_of;
    bool nothing_yet;      /* --as-of is before the first event */
    const char **metadata; /* KEY=VALUE; owned */
    size_t metadata_count;
};

int cmd_snapshot_save(esdb *db, const struct cmd_snapshot_request *r);
int cmd_snapshot_load(esdb *db, const struct cmd_snapshot_request *r); /* exists, too */
int cmd_snapshot_list(esdb *db, const struct cmd_snapshot_request *r);
int cmd_snapshot_remove(esdb *db, const struct cmd_snapshot_request *r); /* delete, prune */

#endif
