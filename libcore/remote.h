/* remote.h: appending to a replicated store: through the socket of the daemon that owns its log. */
#ifndef ES_REMOTE_H
#define ES_REMOTE_H

#include "batch.h"
#include "store.h"

#define ES_SOCKET "esdb.sock"

/* esdb_append for such a store. ESDB_EUNAVAILABLE: nothing was written: no daemon, no leader, no quorum; ESDB_EUNKNOWN. */
int es_append_remote(esdb *db, esdb_batch *b, unsigned flags, struct esdb_receipt *out, struct esdb_error *err);

#endif
