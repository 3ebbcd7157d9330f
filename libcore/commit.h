/* commit.h: becoming durable together with whoever appends at the same time. FORMAT.md section 10; modelled in
 * tests/model/commit.pml. */
#ifndef ES_COMMIT_H
#define ES_COMMIT_H

#include "store.h"

/* Waits until frame `index`, appended under `generation`, is durable, leading a sync when nobody else does.
 * ESDB_EPOISONED; ESDB_EUNKNOWN when the log was rebuilt meanwhile or nobody could sync for long. */
int es_commit(esdb *db, uint64_t index, uint64_t generation, struct esdb_error *err);

/* Sync lock held (it is kept): makes everything appended durable. ESDB_EPOISONED when that fails. Does nothing when head
 * is not valid. *round (may be NULL): see es_round_begin; 0 when there was nothing to sync. */
int es_lead(esdb *db, uint32_t *round, struct esdb_error *err);

#endif
