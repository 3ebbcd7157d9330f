/* tail.h: where the next frame goes. FORMAT.md section 10. */
#ifndef ES_TAIL_H
#define ES_TAIL_H

#include "store.h"

/* Where the next frame goes. */
struct es_tail {
    struct fmt_mark mark; /* after the newest frame */
    uint64_t term;        /* of that frame */
    bool rolled;          /* it closes its segment and the next segment does not exist yet */
};

/* Append lock held. Makes sure that head is valid (rebuilding it), adopts whole frames that a dead writer left, zeroes
 * what is left of a partial one, checks the frame that will be chained to, opens the active segment for writing.
 * *tail is where the next frame goes. ESDB_ECORRUPT, ESDB_EPOISONED, ... : nothing may be written. */
int es_tail_load(esdb *db, struct es_tail *tail, struct esdb_error *err);

/* Moves the tail past a frame that was written, or found, there. */
void es_tail_pass(struct es_tail *t, const struct fmt_frame *f);

/* Zeroes whatever is not zero from `from` to the end of the active segment's file, which is open for writing. */
int es_zero_rest(esdb *db, uint64_t from);

#endif
