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

#include "poison.h"
#include "segment.h"
#include "store.h"
#include "tail.h"
#include "visible.h"

/* Append lock held. Rebuilds head from the log. */
int es_rebuild(esdb *db, struct esdb_error *err);

/* The same with the sync lock held too, and although the store is poisoned; it is marked so still when `poisoned`. */
int es_renew(esdb *db, bool poisoned, struct esdb_error *err);

/* The newest frame that this store's own files call committed, in a replicated one: frames and raft/state. *end_index: the
 * last frame; more is never told. */
uint64_t es_known_committed(esdb *db, const struct es_segment *seg, uint64_t by_frames, uint64_t end_index);

/* Sync lock held. Reads each frame after `from` up to `upto` once, checks that copy and writes it back, so that the next
 * sync is about bytes that were seen. ESDB_EPOISONED: a frame was bad, the store is poisoned now. */
int es_rewrite(esdb *db, const struct fmt_mark *from, uint64_t upto, struct esdb_error *err);

#endif
