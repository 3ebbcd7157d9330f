/* new_directory.h: a directory that appears whole or not at all. It is filled beside its place, under a temporary name,
 * made durable, then renamed; one that is there already is exchanged for the new one.
 *
 *   .NAME.esdb-new   being filled, under a lock; left by a process that died: emptied by the next
 *   NAME             the directory
 *   .NAME.esdb-old   for a moment, the one before, where a file system cannot exchange names
 */
#ifndef ES_NEW_DIRECTORY_H
#define ES_NEW_DIRECTORY_H

#include <limits.h>
#include <stdbool.h>
#include <sys/types.h>

#include "error.h"

struct es_new_directory {
    const char *path; /* of the place, as given; borrowed */
    char *temporary;  /* path of what is being filled; owned */
    uid_t owner;      /* whose directories are taken for ours, too */
    int parent, dir;  /* open directories; dir is the one being filled */
    char name[NAME_MAX + 1], new_name[NAME_MAX + 1], old_name[NAME_MAX + 1];
};

/* Opens an empty directory to be filled. ESDB_EUSAGE: the path names no place for a directory, or one inside a store;
 * ESDB_EUNAVAILABLE: another process is filling it; ESDB_EDENIED: somebody has made it who is neither this user nor `owner`,
 * where everybody may. Ended by es_new_directory_commit or es_new_directory_abort. */
int es_new_directory_begin(struct es_new_directory *n, const char *path, uid_t owner, struct esdb_error *err);

/* What is at the place now, opened to be read: a descriptor, -ENOENT (nothing, or an empty directory), or an error that is
 * in err. */
int es_new_directory_existing(const struct es_new_directory *n, struct esdb_error *err);

/* Makes the directory durable and puts it in its place; `replace`: instead of the one that is there, which is removed.
 * All that was made inside must be durable. On failure the place is as it was, and es_new_directory_abort is still due. */
int es_new_directory_commit(struct es_new_directory *n, bool replace, struct esdb_error *err);

/* Removes what was filled in so far. Fine after an es_new_directory_begin that failed. */
void es_new_directory_abort(struct es_new_directory *n);

/* A folder inside, with the mode of the directory: its descriptor, or -errno. */
int es_new_directory_folder(const struct es_new_directory *n, const char *name);

#endif
