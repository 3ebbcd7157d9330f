/* archive.h: what the tools that know archives share. */
#ifndef CMD_ARCHIVE_H
#define CMD_ARCHIVE_H

#include "cmd.h"

/* Opens the place of archives; where NULL: the default one. 0, or an exit status after the message. */
int cmd_archive_open(esdb *db, const char *where, unsigned flags, esdb_archive **out);

#endif
