/* segment.h: log files: listing, opening for reading, creating, allocating. */
#ifndef ES_SEGMENT_H
#define ES_SEGMENT_H

#include "packed.h"
#include "store.h"
#include "table_file.h"

/* A segment open for reading. Kept until the store is closed, or dropped by es_segments_close. */
struct es_segment {
    struct es_segment *next;
    uint64_t name;
    int fd; /* -1: closed, and mapped (descriptors are few); see es_segment_descriptor */
    dev_t device;
    ino_t inode;
    unsigned char *map; /* of map_len bytes, maybe beyond the end of the file: touch only what is known to be there.
                         * NULL: not yet (es_segment_open). Of a compressed one: see es_segment_need */
    size_t map_len;
    unsigned reads;            /* of single events, instead of a mapping */
    uint64_t size;             /* of the file when it was opened or looked at again */
    uint64_t covered_position; /* events before this one are known to lie inside size */
    struct fmt_segment
        header;         /* of a compressed one: of its content; all offsets, and size, are those of the content */
    bool is_packed;     /* it is compressed: packed.header is set; the rest when it is mapped */
    uint64_t file_size; /* then, of the file */
    struct es_packed packed;
    struct es_unpacked unpacked;
    bool has_index;            /* index is open */
    bool partial;              /* it was made while the segment could still grow */
    uint64_t index_end;        /* position up to which it was asked for: what it says of later bytes means nothing */
    bool next_missing;         /* the segment that continues it is not there */
    uint32_t index_generation; /* counts the indexes that there were: what was found in one means nothing in another */
    struct es_table index;
    struct es_table spoiled; /* an index file that turned out to be damaged: somebody may still point into it */
};

/* Names of all segments, ascending; *out is the caller's (free). An empty log gives count 0. */
int es_segment_list(const esdb *db, uint64_t **out, size_t *count, struct esdb_error *err);

/* The segment of that name, opened and its header checked. Borrowed. ESDB_ECORRUPT when there is no such file or
 * its header is damaged, ESDB_EDENIED for a link or an odd file. */
int es_segment_open(esdb *db, uint64_t name, struct es_segment **out, struct esdb_error *err);

/* Maps it; es_segment_get opens and maps. A mapping costs more than reading a few events does. */
int es_segment_map(esdb *db, struct es_segment *s, struct esdb_error *err);
int es_segment_get(esdb *db, uint64_t name, struct es_segment **out, struct esdb_error *err);

/* Bytes from .. from + len of a mapped segment are about to be read: s->map holds them until other bytes are asked for, 16
 * MiB of them at least. Nothing for a plain one. */
static inline void es_segment_need(struct es_segment *s, uint64_t from, uint64_t len) {
    if (s->is_packed)
        es_unpacked_need(&s->unpacked, (size_t)from, (size_t)(from + len));
}

/* A walk over all of a mapped segment. */
void es_segment_walk(struct es_segment *s, struct fmt_walk *w);

/* What was read up to there is not needed any more: es_forget_pages, which see. */
size_t es_segment_forget(const struct es_segment *s, size_t from, size_t to);

/* Reads bytes of the segment, of its content when it is compressed, without mapping it. How many, or -errno. */
ssize_t es_segment_read(esdb *db, struct es_segment *s, void *buf, size_t len, uint64_t offset);

/* The memory for compressed segments of this handle, made when it is not there; NULL: there is none. */
struct es_block_memory *es_block_memory_of(esdb *db);

/* The segment's file, opened again when it was closed. A descriptor of the segment, or an error: -ESTALE when another file
 * has taken its place. */
int es_segment_descriptor(esdb *db, struct es_segment *s, struct esdb_error *err);

/* Bytes before `end`, with the events before end_position, are known to be in the file: they were just written or read. */
void es_segment_covers(struct es_segment *s, uint64_t end, uint64_t end_position);

/* Looks at the file's size again (the active segment grows). */
int es_segment_grow(esdb *db, struct es_segment *s, struct esdb_error *err);

void es_segments_close(esdb *db);

/* Forgets one of them: its file is another one now. Nobody may have a view of it; closes the directory, which borrows. */
void es_segment_drop(esdb *db, uint64_t name);

/* Opens the table index of a segment as s->index: from its file, or built in memory when that is missing or damaged, or
 * when it does not cover the events before end_position (the active segment grows). */
int es_segment_index(esdb *db, struct es_segment *s, uint64_t end_position, struct esdb_error *err);

/* es_seal_build for a mapped segment: the events before end_position, UINT64_MAX when it is closed. */
int es_seal_segment(struct es_segment *s, uint64_t end_position, struct es_buffer *image, struct esdb_error *err);

/* Bytes of header and frames: the file without the zeros that may follow them. What is behind damage counts. Of a segment
 * that is not closed, where the events before end_position end; else UINT64_MAX. */
size_t es_segment_used(struct es_segment *s, uint64_t end_position);

/* A block of s->index is damaged: makes the index of the events before end_position in memory instead. */
int es_segment_reindex(esdb *db, struct es_segment *s, uint64_t end_position, struct esdb_error *err);

/* ---- writing ---- */

/* Opens the segment for writing as db->active. */
int es_active_open(esdb *db, uint64_t name, struct esdb_error *err);
void es_active_close(esdb *db);

/* Makes sure that the active segment has `need` bytes allocated: in steps from 64 KiB doubling to 16 MiB. */
int es_active_allocate(esdb *db, uint64_t need);

/* Creates a segment durably: temporary name, fsync, rename, fsync of the directory. What is there already under that name
 * with the same header is taken as it is. Sync lock held (unless the store is being created). */
int es_segment_create(esdb *db, const struct fmt_segment *header, struct esdb_error *err);

#endif
