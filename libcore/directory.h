/* directory.h: where the streams are: stream -> places in sealed segments.
 *
 * A place says that a segment holds `count` events of a stream from `first_version` on. Each sealed segment's own index
 * knows its streams; so that a lookup need not ask all of them, tables (tables/<first>-<last>.tbl, kind DIRECTORY) cover
 * the frames first..last of several whole segments: eight indexes are merged into one table, eight such tables into the
 * next, and so on. What no table covers is answered from the segments' indexes.
 *
 * Tables are derived and may be late, lost, left over or damaged at any time: the answers are the same, only slower. A
 * table is taken only when its range begins and ends at borders of sealed segments, the widest first, and when its
 * last_checksum is the prev_checksum of the segment that follows. Whatever is wrong with it, it is set aside and the
 * segments under it are asked.
 *
 * A directory is a snapshot: it knows the sealed segments that it was opened with. It belongs to one thread. */
#ifndef ES_DIRECTORY_H
#define ES_DIRECTORY_H

#include <sys/types.h>

#include "error.h"
#include "format/table.h"

struct es_place {
    uint64_t segment; /* its name: index of its first frame */
    uint64_t first_version;
    uint64_t count;    /* at least 1 */
    uint32_t posting1; /* number of its first posting in the segment's index, + 1; 0: it came from a table of many */
};

/* Where the directory gets what it does not have. */
struct es_directory_source {
    void *context;

    /* The index of a sealed segment, made when its file is missing. *out is borrowed until the directory is closed. 0 or a
     * negative code, which ends the question. */
    int (*segment_index)(void *context, uint64_t segment, const struct fmt_table **out, struct esdb_error *err);

    /* The same after the index turned out to be damaged: makes it anew from the log. The old one stays valid too. May be
     * NULL: then the question ends with ESDB_ECORRUPT. */
    int (*segment_index_again)(void *context, uint64_t segment, const struct fmt_table **out, struct esdb_error *err);

    /* prev_checksum of the header of a segment (sealed or active). Negative: not known, then the binding is not checked.
     * May be NULL. */
    int (*segment_prev_checksum)(void *context, uint64_t segment, uint64_t *out);
};

struct es_directory;

/* Opens the directory over `sealed`: ascending names of adjacent sealed segments (copied); `end` is the name of the
 * segment after the last of them. tables_dir is borrowed until close; -1: there are no tables. *src is copied. Reads
 * only the names in tables_dir. *out is the caller's. -ENOMEM, -errno. */
int es_directory_open(int tables_dir, const uint64_t *sealed, size_t sealed_count, uint64_t end,
                      const struct es_directory_source *src, struct es_directory **out, struct esdb_error *err);
void es_directory_close(struct es_directory *d); /* NULL is fine */

/* The newest place of a stream. ESDB_ENOTFOUND; ESDB_ECORRUPT: an index is damaged and cannot be made anew; -errno. */
int es_directory_last(struct es_directory *d, struct esdb_text stream, struct es_place *out, struct esdb_error *err);

/* All places of a stream, ascending. *out is the caller's, to be freed. Errors as above. */
int es_directory_places(struct es_directory *d, struct esdb_text stream, struct es_place **out, size_t *count,
                        struct esdb_error *err);

/* ---- all streams, in byte order of their names ---- */

struct es_directory_walk;

struct es_directory_stream {
    struct esdb_text stream_id;    /* valid until the next call on the walk */
    struct es_place first, last;   /* the same when there is only one */
    uint64_t count;                /* events in all places */
    const struct es_place *places; /* all of them, ascending; valid until the next call */
    size_t place_count;
};

/* Starts at the first stream whose name is >= from (at == NULL: at the very first). Closed before d. */
int es_directory_walk_open(struct es_directory *d, struct esdb_text from, struct es_directory_walk **out,
                           struct esdb_error *err);
int es_directory_walk_next(struct es_directory_walk *w, struct es_directory_stream *out, struct esdb_error *err);
void es_directory_walk_close(struct es_directory_walk *w);

/* ---- keeping ---- */

/* Makes the merges that are due and removes tables that have been merged, left-over temporaries and tables that fit no
 * longer. Nobody else does so at the same time (the caller holds a lock). Memory is bounded by one key in about a hundred.
 * New files get `mode`. A crash at any point leaves right answers. Segments whose index lists damage are not merged.
 * Arguments as for es_directory_open. */
int es_directory_merge(int tables_dir, const uint64_t *sealed, size_t sealed_count, uint64_t end,
                       const struct es_directory_source *src, mode_t mode, struct esdb_error *err);

struct es_directory_stat {
    size_t tables;   /* that are in use */
    size_t segments; /* that no table covers */
    size_t damaged;  /* tables that were set aside because they were damaged, so far */
};
void es_directory_stat(const struct es_directory *d, struct es_directory_stat *out);

/* Reads the tables in use from end to end. The first damaged one: ESDB_ECORRUPT, named in err; it is not set aside. */
int es_directory_verify(struct es_directory *d, struct esdb_error *err);

#endif
