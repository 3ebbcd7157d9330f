/* archive_wire.h: what libcore/archive_child.c and its helper (libexec/esdb-tar.c) say to each other over a socket pair.
 * Both are of the same build on the same machine: native byte order; the version catches a helper left over from another
 * release. What the helper reads may be hostile, so may be what it says: the parent checks every length.
 *
 *   parent                                       helper
 *   es_tar_start                            ->
 *                                           <-   READY, or FAILED
 *   packing:   MEMBER, DATA ..., END        ->
 *                                           <-   DATA ... of the archive, END, or FAILED
 *   unpacking: DATA ... of the archive, END ->
 *                                           <-   MEMBER, DATA ..., END, or FAILED
 *
 * Each message is an es_tar_message and `len` bytes. Of a MEMBER these are an es_tar_member. */
#ifndef ES_ARCHIVE_WIRE_H
#define ES_ARCHIVE_WIRE_H

#include <stdint.h>

#define ES_TAR_MAGIC 0x74617365u /* "esat" */
#define ES_TAR_VERSION 1u

#define ES_TAR_DATA_MAX (256u << 10) /* bytes of a message */
#define ES_TAR_TEXT_MAX 400u         /* bytes of a FAILED's text */
#define ES_TAR_NAME_MAX 100u         /* of a member, with its NUL: as tar has it */
#define ES_TAR_MEMORY (1u << 30) /* bytes of address space: zstd may ask for a window of 128 MiB, or 2 GiB in vain */
#define ES_TAR_SECONDS 300u      /* of processor time for an archive: the largest takes a tenth */

struct es_tar_start {
    uint32_t magic, version;
    uint32_t unpack; /* 0: pack */
    uint32_t parent; /* process id, to notice that it died before the helper could ask to die with it */
};

enum es_tar_kind { ES_TAR_READY = 1, ES_TAR_MEMBER, ES_TAR_DATA, ES_TAR_END, ES_TAR_FAILED };

struct es_tar_message {
    uint32_t kind, len;
};

struct es_tar_member {
    char name[ES_TAR_NAME_MAX];
    uint32_t unused; /* 0 */
    uint64_t size;
    uint64_t seconds; /* its time */
};

/* How the helper ends when it has to. */
enum es_tar_exit { ES_TAR_EXIT_TIMEOUT = 41, ES_TAR_EXIT_PROTOCOL = 43 };

#endif
