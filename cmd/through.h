/* through.h: events of a store, and where --with-archive asks for it those of its archives, as one. */
#ifndef CMD_THROUGH_H
#define CMD_THROUGH_H

#include "cmd.h"

struct cmd_through {
    esdb_cursor *store;
    esdb_archive *place;          /* NULL: no archives */
    esdb_archive_cursor *archive; /* likewise */
    struct esdb_event event[2];   /* of each, when it is there: the next one */
    int rc[2];                    /* what the source said; 1: it was not asked yet */
    bool asked[2], reverse;
    uint64_t left;
};

/* Opens both. where: as for esdb_archive_open. 0, or what esdb_cursor_open and the others return. */
int cmd_through_open(struct cmd_through *t, esdb *db, const struct esdb_query *q, bool with_archive, const char *where,
                     struct esdb_error *err);

/* As esdb_cursor_next: in order of positions, each once. */
int cmd_through_next(struct cmd_through *t, struct esdb_event *out, struct esdb_error *err);

/* Tells whether the expression of --select failed on events. 0, or 8 after the message. */
int cmd_through_report(const struct cmd_through *t);
void cmd_through_close(struct cmd_through *t);

#endif
