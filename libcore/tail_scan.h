/* tail_scan.h: the end of the last segment as its bytes tell it. Shared by recover.c, tail.c, visible.c and verify.c. */
#ifndef ES_TAIL_SCAN_H
#define ES_TAIL_SCAN_H

#include "segment.h"
#include "store.h"

struct es_tail_scan {
    struct fmt_mark end;  /* after the last frame of the unbroken chain */
    uint64_t committed;   /* newest frame that they call committed; in a replicated store the only ones to be shown */
    uint64_t proof;       /* newest frame that the log's own frames prove synced */
    struct fmt_mark from; /* after a frame that proof covers, one of the newest such */
    struct fmt_mark last; /* newest whole frame at all: beyond damage when there is damage */
    const char *fault;    /* of the frame after `end`; NULL: a clean end */
    bool newer;           /* that frame is not damaged, but of a newer format */
    uint64_t fault_offset;
};

/* Walks the segment, as far as it is known to be in the file. incarnation: of the store. */
void es_scan_tail(struct es_segment *seg, uint64_t incarnation, struct es_tail_scan *s);

/* The mark after frame `index` of the segment; frame_offset 0 when that is its beginning. */
struct fmt_mark es_mark_after(struct es_segment *seg, uint64_t index);

/* The newest frame that the log itself or head proves to have been durable; 0 in a store that is not durable. */
uint64_t es_tail_proof(const esdb *db, const struct es_tail_scan *s);

/* In a replicated store nothing is proven of frames that a cut has begun to remove. */
uint64_t es_limit_proof(const esdb *db, uint64_t proof);

/* How the active segment ends: its last frame of the unbroken chain, and the newest frame that the log itself or head
 * proves to have been durable. More is proven than is whole: damage. Otherwise what lies beyond the end is an unfinished
 * append. */
void es_examine_tail(const esdb *db, struct es_segment *seg, uint64_t *end_index, uint64_t *proof);

/* What this version must understand and does not is never cut: ESDB_EUSAGE. */
int es_fail_newer(const esdb *db, uint64_t segment, uint64_t offset, const char *what, struct esdb_error *err);

/* Frames up to `proof` were durable, and the scan found fewer: ESDB_ECORRUPT. */
int es_fail_lost(const esdb *db, const struct es_tail_scan *s, uint64_t proof, struct esdb_error *err);

#endif
