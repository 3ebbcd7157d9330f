/* archive.c: see archive.h. */
#include "archive.h"

int cmd_archive_open(esdb *db, const char *where, unsigned flags, esdb_archive **out) {
    struct esdb_error err = {0};
    int rc = esdb_archive_open(db, where, flags, out, &err);
    return rc < 0 ? cmd_report(rc, &err) : 0;
}
