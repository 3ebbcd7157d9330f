/* erasures.h: what one store has erased is erased in another one of the same history. */
#ifndef ES_ERASURES_H
#define ES_ERASURES_H

#include "store.h"

/* Carries out in `to`, which is open for appending, the erasures of events and of whole streams that `from` has decided, as
 * far as `to` still shows what they are about. *count grows by what was decided; esdb_compact then removes it. ESDB_EUSAGE: they
 * are not of one store; errors of reading and of esdb_append. */
int es_erasures_take(esdb *from, esdb *to, uint64_t *count, struct esdb_error *err);

#endif
