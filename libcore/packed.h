/* packed.h: compressed segments (format/packed.h), read as the segments that they stand for.
 *
 * The content gets a range of addresses of its size, without memory. Blocks are decompressed into it when they are needed
 * (es_unpacked_need, which walks call by themselves); of those, the last 16 MiB stay, or what one frame takes and 16 MiB,
 * for all contents of a handle together. A scan has a content of its own, of which about 4 MiB stay.
 * A block that is damaged reads as zeros: frames and events tell the rest. */
#ifndef ES_PACKED_H
#define ES_PACKED_H

#include "error.h"
#include "format/packed.h"

/* A compressed file, mapped. */
struct es_packed {
    struct fmt_segment header; /* as it stands in the file */
    unsigned char *map;        /* NULL: not open */
    size_t map_len;
    uint64_t id; /* another one for each that is opened */
};

/* Maps the file of `size` bytes, the header of which was decoded. 0 or -errno. */
int es_packed_open(int fd, uint64_t size, const struct fmt_segment *header, struct es_packed *out);
void es_packed_close(struct es_packed *p);

/* The memory that contents share: a decompressor and the blocks that are in memory now. Owned by whoever made it; outlives
 * the contents. NULL: there is no memory. */
struct es_block_memory *es_block_memory_new(void);
void es_block_memory_free(struct es_block_memory *m); /* NULL is fine */

/* The content of a compressed file. */
struct es_unpacked {
    const struct es_packed *from; /* borrowed */
    struct es_block_memory *memory;
    unsigned char *at; /* content_size bytes; NULL: not open */
    uint64_t *used;    /* of each block: when it was asked for last, 0: it is not in memory. Owned */
    bool ascending;
    size_t passed; /* then: of what lies before, nothing is in memory */
};
/* `ascending`: what is needed is never far before what was needed last; then little of it stays in memory, in large pages. */
int es_unpacked_open(struct es_unpacked *u, const struct es_packed *from, struct es_block_memory *memory,
                     bool ascending);
void es_unpacked_close(struct es_unpacked *u);

/* Makes bytes from .. to readable, until many others are. For fmt_walk.need: context is the struct es_unpacked. */
void es_unpacked_need(void *context, size_t from, size_t to);

/* Bytes from offset on, len of which are in the content, into out. The few blocks that were read last this way are kept apart:
 * reading single events touches no new memory. 0 or -ENOMEM; 1, and nothing is read: those few do not suffice for what this
 * memory is used for, because the same blocks are wanted again and again. */
int es_packed_read(const struct es_packed *p, struct es_block_memory *memory, uint64_t offset, size_t len,
                   unsigned char *out);

/* NULL, or what is wrong with block i. */
const char *es_packed_check(const struct es_packed *p, struct es_block_memory *memory, uint32_t i);

/* A segment's file, whether it is compressed or not, by itself. */
struct es_segment_file {
    struct fmt_segment header; /* of the content */
    const unsigned char *base; /* the content; compressed: ask before reading (es_segment_file_walk) */
    size_t size;               /* of it */
    unsigned char *map;        /* the file */
    size_t map_len;
    struct es_packed packed;
    struct es_unpacked unpacked;
    struct es_block_memory *memory;
};

/* 0, -errno, or ESDB_ECORRUPT with *wrong (ESDB_EUSAGE: it is of a newer format). The descriptor stays the caller's. */
int es_segment_file_open(int fd, uint64_t size, struct es_segment_file *out, const char **wrong);
void es_segment_file_walk(struct es_segment_file *f, struct fmt_walk *w);
/* What was read before that offset of the content is not needed any more. Called with ascending offsets. */
void es_segment_file_passed(struct es_segment_file *f, size_t *forgotten, size_t offset);
void es_segment_file_close(struct es_segment_file *f);

#endif
