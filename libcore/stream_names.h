/* stream_names.h: the streams whose names begin alike, without a look at all the others. */
#ifndef ES_STREAM_NAMES_H
#define ES_STREAM_NAMES_H

#include "directory.h"
#include "store.h"

/* The names of all streams that begin with `prefix`, deleted or not, in byte order, each once; also such as have events that are
 * not visible yet. *names is the caller's: one piece of memory, to be freed. */
int es_stream_names(esdb *db, struct esdb_text prefix, struct esdb_text **names, size_t *count, struct esdb_error *err);

/* Calls fn with each stream of the sealed segments, those before `active`, whose name begins with `prefix`, in byte order,
 * until it returns ESDB_END, or an error, which is handed back. */
int es_each_sealed_stream(esdb *db, uint64_t active, struct esdb_text prefix,
                          int (*fn)(void *context, const struct es_directory_stream *s), void *context,
                          struct esdb_error *err);

#endif
