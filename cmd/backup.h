/* backup.h: between the files of esdb-backup. */
#ifndef CMD_BACKUP_H
#define CMD_BACKUP_H

#include "cmd.h"

/* Each does one thing that esdb-backup can do, and returns the exit status. */
int cmd_backup_verify(const char *backup, bool json, bool quiet);

/* file: a path, or "-". name: of the directory in the archive; NULL: that of the store. */
int cmd_backup_tar(const char *file, const char *name, bool json, bool quiet);

/* The summary of a backup that was made ("backed up") or restored. */
void cmd_backup_summary(const struct esdb_backup_result *r, const char *what, bool json);

#endif
