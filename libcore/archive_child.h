/* archive_child.h: tar files compressed by zstd, made and read by a helper process that is locked in (libexec/esdb-tar.c):
 * libarchive, and what it may be made to do by a hostile file, stay outside. */
#ifndef ES_ARCHIVE_CHILD_H
#define ES_ARCHIVE_CHILD_H

#include "archive_wire.h"
#include "error.h"

/* Both return 0, or a negative code that ends the work and is handed back. */
struct es_tar_ends {
    /* The next message for the helper; *bytes is valid until the next call. The last one is ES_TAR_END. */
    int (*next)(void *context, struct es_tar_message *m, const void **bytes, struct esdb_error *err);
    /* What comes back: ES_TAR_DATA; unpacking: ES_TAR_MEMBER (bytes: es_tar_member) before it. */
    int (*take)(void *context, uint32_t kind, const void *bytes, size_t len, struct esdb_error *err);
    void *context;
};

/* Runs a helper from beginning to end. `name`: of the archive, for messages. ESDB_ECORRUPT: what is unpacked is no archive,
 * or has something in it that none has. ESDB_EUSAGE: the helper is not installed, or this kernel cannot lock it in. Others:
 * those of the callbacks. */
int es_tar_run(bool unpack, const char *name, const struct es_tar_ends *ends, struct esdb_error *err);

#endif
