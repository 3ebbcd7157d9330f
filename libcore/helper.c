#include "helper.h"

#include <stdio.h>
#include <stdlib.h>

#include "os_child.h"

#ifndef ESDB_LIBEXECDIR
#define ESDB_LIBEXECDIR "/usr/local/libexec/esdb"
#endif

int es_find_helper(const char *name, const char *whose, char *path, size_t room, struct esdb_error *err) {
    const char *given = secure_getenv("ESDB_LIBEXEC");
    char folder[2048];
    if (given && *given) {
        int n = snprintf(path, room, "%s/%s", given, name);
        if (n < 0 || (size_t)n >= room || !es_can_execute(path))
            return es_fail(err, ESDB_EUSAGE, "%s the helper %s: there is none in '%.300s' ($ESDB_LIBEXEC)", whose, name,
                           given);
        return 0;
    }
    if (es_program_folder(folder, sizeof folder) == 0) {
        int n = snprintf(path, room, "%s/../libexec/esdb/%s", folder, name);
        if (n > 0 && (size_t)n < room && es_can_execute(path))
            return 0;
    }
    int n = snprintf(path, room, "%s/%s", ESDB_LIBEXECDIR, name);
    if (n > 0 && (size_t)n < room && es_can_execute(path))
        return 0;
    return es_fail(err, ESDB_EUSAGE,
                   "%s the helper %s: it is not in ../libexec/esdb beside this program, nor in %s "
                   "($ESDB_LIBEXEC can name its folder)",
                   whose, name, ESDB_LIBEXECDIR);
}
