/* pack.h: writing a compressed segment (format/packed.h): its content goes in, in order; blocks, table and header come out. */
#ifndef ES_PACK_H
#define ES_PACK_H

#include "buffer.h"
#include "format/packed.h"

struct ZSTD_CCtx_s;

/* Begins as {.fd = ...}: an empty file, open for writing, the caller's. */
struct es_packer {
    int fd;
    struct ZSTD_CCtx_s *compressor;
    struct es_buffer block;   /* of the content, which is collected */
    struct es_buffer table;   /* entries */
    struct es_buffer pending; /* bytes that are not written yet */
    struct fmt_segment header;
    uint64_t written; /* bytes of the file, at the end all of them */
};

/* The next bytes; the first piece holds the whole segment header. 0, -errno, -ENOMEM. */
int es_packer_put(struct es_packer *p, const unsigned char *bytes, size_t len);

/* The last block, the table, and the header, which makes it a segment. */
int es_packer_end(struct es_packer *p);

void es_packer_release(struct es_packer *p);

#endif
