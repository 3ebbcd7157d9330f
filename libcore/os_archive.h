/* os_archive.h: the system calls for archives: temporary files and the commands that keep archives. As in os.h. */
#ifndef ES_OS_ARCHIVE_H
#define ES_OS_ARCHIVE_H

/* A file without a name, for reading and writing, in $TMPDIR, /var/tmp or /tmp: gone when it is closed. Its descriptor. */
int es_scratch_file(void);

/* Runs `command`, a line of the shell, with two more arguments, in the environment of this process; key NULL: one. in, out:
 * its descriptors 0 and 1, read and written from their beginnings; -1: /dev/null. *status: a wait status. */
int es_run_command(const char *command, const char *verb, const char *key, int in, int out, int *status);

#endif
