/* error.h: the first cause of a failure, with its place. */
#ifndef ES_ERROR_H
#define ES_ERROR_H

#include "esdb.h"

/* Records code and a printf-style text unless err holds an error already (err may be NULL). Returns code. For -errno the
 * text is completed with ": " and strerror. */
int es_fail(struct esdb_error *err, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* The same with file and offset. */
int es_fail_at(struct esdb_error *err, int code, const char *file, uint64_t offset, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

/* For a file of a store that cannot be opened: links and odd files are refused (ESDB_EDENIED), the rest is -errno. */
int es_fail_open(struct esdb_error *err, int code, const char *store, const char *file);

#endif
