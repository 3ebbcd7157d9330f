/* idempotent.h: appending what is there already. */
#ifndef ES_IDEMPOTENT_H
#define ES_IDEMPOTENT_H

#include "batch.h"
#include "store.h"

/* Append lock held. Looks the batch's event ids up in their streams. 0: none is there. 1: all are, with equal content;
 * *out is the receipt of then. ESDB_ECONFLICT: only some are, or an id stands for other content. */
int es_find_existing(esdb *db, esdb_batch *b, const struct fmt_mark *tail, struct esdb_receipt *out,
                     struct esdb_error *err);

/* The same over the whole store: whatever stream and content an event with the id has, it is that one. Ids that are not
 * there are looked for in the index of every segment, b->none_below and later. */
int es_find_anywhere(esdb *db, esdb_batch *b, const struct fmt_mark *tail, struct esdb_receipt *out,
                     struct esdb_error *err);

/* Before the append lock is taken: the same in the segments that are settled, before the newest of which anything may be
 * shown. So that others do not wait for what grows with the store. 1: all are there, *out is the receipt of then. 0: look
 * again under the lock; b->none_below says where that has to begin. Never fails: what goes wrong is met there too. */
int es_find_settled(esdb *db, esdb_batch *b, struct esdb_receipt *out);

#endif
