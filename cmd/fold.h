/* fold.h: what esdb-fold does once its options are known. Each returns an exit status, after the messages. */
#ifndef CMD_FOLD_H
#define CMD_FOLD_H

#include "cmd.h"

struct cmd_fold_request {
    struct esdb_fold_options options;
    struct esdb_query query;
    bool has_kind, has_upto, merge, finalize_only, exit_status;
    uint64_t save_every; /* events; 0: no snapshot is saved */
};

int cmd_fold_events(esdb *db, const struct cmd_fold_request *r);

/* --merge, --finalize-only: the states come from standard input. */
int cmd_fold_states(const struct cmd_fold_request *r);

#endif
