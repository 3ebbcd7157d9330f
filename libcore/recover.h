/* recover.h: where the log ends. FORMAT.md sections 10 and 11.
 *
 *   head valid ----------------------------> its marks say it                    es_tail_load
 *   head not valid, we may write ----------> rebuild: walk, prove, cut, rewrite, sync   es_rebuild
 *   head not valid, we may only read ------> walk and show what is certain       es_visible
 *
 * A bad frame in the active segment is TORN, and cut, when nothing proves that it was ever durable. It is CORRUPT, and
 * never touched, when a later whole frame's synced_index or an intact head says that it was. */
#ifndef ES_RECOVER_H
#define ES_RECOVER_H

#include "segment.h"
#include "store.h"

/* Where the next frame goes. */
struct es_tail {
    struct fmt_mark mark; /* after the newest frame */
    uint64_t term;        /* of that frame */
    bool rolled;          /* it closes its segment and the next segment does not exist yet */
};

/* A failed write to the log: poisons the store, unless the disk was full. Returns the code to hand on. */
int es_write_failed(esdb *db, const char *what, int code, struct esdb_error *err);

/* Append lock held. Makes sure that head is valid (rebuilding it), adopts whole frames that a dead writer left, zeroes
 * what is left of a partial one, checks the frame that will be chained to, opens the active segment for writing.
 * *tail is where the next frame goes. ESDB_ECORRUPT, ESDB_EPOISONED, ... : nothing may be written. */
int es_tail_load(esdb *db, struct es_tail *tail, struct esdb_error *err);

/* Append lock held. Rebuilds head from the log. */
int es_rebuild(esdb *db, struct esdb_error *err);

/* The same with the sync lock held too, and although the store is poisoned; it is marked so still when `poisoned`. */
int es_renew(esdb *db, bool poisoned, struct esdb_error *err);

/* Sync lock held. Reads each frame after `from` up to `upto` once, checks that copy and writes it back, so that the next
 * sync is about bytes that were seen. ESDB_EPOISONED: a frame was bad, the store is poisoned now. */
int es_rewrite(esdb *db, const struct fmt_mark *from, uint64_t upto, struct esdb_error *err);

/* Records an I/O error for everybody: the poison file, the word in head, a wake-up. Returns ESDB_EPOISONED. */
int es_poison(esdb *db, const char *what, int code, struct esdb_error *err);

/* ESDB_EPOISONED with the recorded text when the poison file is there, else 0. */
int es_check_poison(esdb *db, struct esdb_error *err);

/* How the active segment ends: its last frame of the unbroken chain, and the newest frame that the log itself or head
 * proves to have been durable. More is proven than is whole: damage. Otherwise what lies beyond the end is an unfinished
 * append. */
void es_examine_tail(const esdb *db, const struct es_segment *seg, uint64_t *end_index, uint64_t *proof);

/* What a reader may show: everything up to frame `index`. */
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

#endif
