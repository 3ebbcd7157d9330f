/* helper.h: where the helper executables are: in $ESDB_LIBEXEC when that is set, else in ../libexec/esdb beside the running
 * program's folder (an installation, or a build tree), else where this library was configured to be installed. */
#ifndef ES_HELPER_H
#define ES_HELPER_H

#include "error.h"

/* The path of a helper. `whose`: begins the message when there is none, as "jq programs need". ESDB_EUSAGE. */
int es_find_helper(const char *name, const char *whose, char *path, size_t room, struct esdb_error *err);

#endif
