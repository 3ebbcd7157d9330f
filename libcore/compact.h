/* compact.h: giving back what decisions have hidden. Sealed segments with events that nobody can see any more are rewritten
 * beside, verified, and put in the place of the old ones, while readers and writers go on. FORMAT.md section 10.
 *
 *   what goes                       truncated events, all of streams that were closed for ever
 *   what is left of an event        its place, stream, version and time, when it is the newest of its stream: the next one's
 *                                   version follows from it. Also of one that was erased
 *   a frame without events          becomes part of a hole
 *   a frame with some               becomes a thinned frame
 *
 * Steps, each of which may be the last: the new file is written under a temporary name, synced, read again, renamed over the
 * old one; its index is made; tables made from older indexes are removed; tables are merged. What was left undone is seen by
 * rewritten_us in the headers and done by the next compaction. */
#ifndef ES_COMPACT_H
#define ES_COMPACT_H

#include "store.h"

/* On a full disk: removes the indexes of closed segments, which compaction makes anew. True: something was removed. */
bool es_make_room(esdb *db);

#endif
