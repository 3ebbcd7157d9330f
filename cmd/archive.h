/* archive.h: what the tools that know archives share. */
#ifndef CMD_ARCHIVE_H
#define CMD_ARCHIVE_H

#include "cmd.h"

/* A place as options name it: a folder, exec:CMD, or file:/FOLDER, which becomes the folder, in the same memory. Exits 2
 * after the message when such a URL is of another host or is none. NULL: NULL. */
const char *cmd_archive_where(const struct cmd_args *args);

/* Opens the place of archives; where NULL: the default one. 0, or an exit status after the message. */
int cmd_archive_open(esdb *db, const char *where, unsigned flags, esdb_archive **out);

#endif
