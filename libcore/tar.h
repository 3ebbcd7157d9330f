/* tar.h: regular files as a tar archive (POSIX.1-1988 ustar), written as a stream. Just what a backup needs, so that it
 * does not have to start a helper with libarchive in it. Reading archives is left to tar. */
#ifndef ES_TAR_H
#define ES_TAR_H

#include <stddef.h>
#include <stdint.h>

#define ES_TAR_BLOCK 512u
#define ES_TAR_NAME_MAX 99u          /* bytes of a member's path */
#define ES_TAR_SIZE_MAX (8ull << 30) /* 11 octal digits: sizes below this */

struct es_tar {
    int (*write)(void *context, const void *bytes, size_t len); /* 0, or a negative code that is handed back */
    void *context;
    uint64_t left; /* bytes of the member that are still to come */
    uint64_t size; /* of the member */
};

/* The header of a directory or file, whose `size` bytes follow by es_tar_bytes. mode: permission bits; mtime: seconds. */
int es_tar_directory(struct es_tar *t, const char *path, unsigned mode, uint64_t mtime);
int es_tar_file(struct es_tar *t, const char *path, unsigned mode, uint64_t mtime, uint64_t size);
int es_tar_bytes(struct es_tar *t, const void *bytes, size_t len);

/* The end of the archive. */
int es_tar_end(struct es_tar *t);

#endif
