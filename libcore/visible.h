/* visible.h: what a reader may show. FORMAT.md section 11. */
#ifndef ES_VISIBLE_H
#define ES_VISIBLE_H

#include "store.h"

/* Everything up to frame `index`. */
struct es_visible {
    uint64_t index;
    uint64_t segment;      /* name of the segment that holds it */
    uint64_t end_offset;   /* just past it */
    uint64_t end_position; /* position of the next event */
    uint64_t last_epoch_us;
    uint64_t lost_segment; /* 0, or the newest segment, whose header is damaged: nothing of it can be shown */
    const char *newer;     /* NULL, or what is of a newer format just behind: nothing can be shown from there on */
    uint64_t newer_offset;
};

/* ESDB_ECORRUPT or ESDB_EUSAGE, with the place, when there is something behind what is visible that cannot be shown. */
int es_visible_is_whole(esdb *db, const struct es_visible *v, struct esdb_error *err);

/* Valid head: from its watermarks. Else, when this handle may write: rebuilds first. Else walks. Never fails because of
 * damage: what can be shown is shown. */
int es_visible(esdb *db, struct es_visible *out, struct esdb_error *err);

/* The same, for whom less than what was acknowledged is a wrong answer. Without a valid head nobody knows what was: waits, as
 * long as for a lock, until somebody has made one. ESDB_EPOISONED: nobody can; ESDB_EUNAVAILABLE: nobody did. Errors of
 * es_visible_is_whole too. */
int es_visible_all(esdb *db, struct es_visible *out, struct esdb_error *err);

#endif
