/* lock.h: the append lock and the sync lock. Lock order: append, then sync. */
#ifndef ES_LOCK_H
#define ES_LOCK_H

#include "store.h"

/* Takes the append lock, waiting at most the handle's time-out (ESDB_EUNAVAILABLE then), and makes sure that the mapped
 * head is still the store's. */
int es_lock_append(esdb *db, struct esdb_error *err);
void es_unlock_append(esdb *db);

/* The append lock alone, while a store is being created and has no head. Released with es_unlock. */
int es_lock_bare(esdb *db, struct esdb_error *err);

/* Tries the sync lock. 0, or -EAGAIN. */
int es_try_lock_sync(esdb *db);

/* Waits for the sync lock as es_lock_append does. */
int es_lock_sync(esdb *db, struct esdb_error *err);

/* Waits for the compaction lock; released with es_unlock. It is taken before the others. */
int es_lock_compaction(esdb *db, struct esdb_error *err);

/* Gives the sync lock back, then wakes everybody who waits for a watermark. */
void es_unlock_sync(esdb *db);

#endif
