/* table_file.h: tables (format/table.h) as files and in memory: opening, building, replacing them whole. */
#ifndef ES_TABLE_FILE_H
#define ES_TABLE_FILE_H

#include <sys/types.h>

#include "buffer.h"
#include "format/table.h"

/* ---- reading ---- */

struct es_table_blocks; /* block_cache.c */

/* An open table, mapped from a file, built in memory, or read block by block. May be moved (copied, the old one
 * forgotten), not copied. */
struct es_table {
    struct fmt_table table;
    void *map; /* owned; NULL when it is in memory */
    size_t map_len;
    struct es_buffer image;         /* owned; empty when it is mapped */
    unsigned char *verified;        /* owned; the bitmap of table */
    struct es_table_blocks *blocks; /* owned; NULL unless it is read block by block */
};

/* Maps the file `name` below dir. *out is the caller's, to be closed. 0, -ENOENT, other -errno, or ESDB_ECORRUPT when the
 * header is damaged or the size is wrong. Blocks are verified as they are touched. */
int es_table_open(int dir, const char *name, struct es_table *out);

/* The same for a file that is open: fd stays the caller's, who need not keep it. */
int es_table_map(int fd, uint64_t size, struct es_table *out);

/* Opens a table that was built in memory and takes ownership of its image, which is empty afterwards. The image is whole:
 * anything else is a mistake of ours. */
void es_table_adopt(struct es_table *out, struct es_buffer *image);

void es_table_blocks_close(struct es_table_blocks *b); /* NULL is fine */
void es_table_close(struct es_table *t);               /* all zero afterwards; fine on an all-zero one */

/* ---- writing ---- */

#define ES_TABLE_NAME_MAX 64u /* bytes of a table file's name, the final NUL included */

/* Writes a file whole under its name: a temporary name, then rename. There is no fsync: derived files check themselves.
 * The file gets `mode` and the directory's owner (as far as this user may give it). On failure nothing stays. */
int es_table_save(int dir, const char *name, const unsigned char *bytes, size_t len, mode_t mode);

/* The same, block by block, for tables that are larger than memory should be. */
struct es_table_writer {
    int dir; /* borrowed */
    int fd;
    char name[ES_TABLE_NAME_MAX];
    char temporary[ES_TABLE_NAME_MAX + 32];
    struct es_buffer pending; /* consecutive blocks that are not written yet */
    uint64_t pending_at;      /* where they begin in the file */
};

/* The suffix of temporary names; such a file is rubbish when nobody is writing tables. */
#define ES_TABLE_TEMPORARY ".tmp"

int es_table_writer_open(struct es_table_writer *w, int dir, const char *name, mode_t mode);
int es_table_writer_block(void *w, uint32_t number, const unsigned char block[FMT_BLOCK_SIZE]); /* a fmt_block_sink */
int es_table_writer_commit(struct es_table_writer *w); /* rename; w is closed, also on failure */
void es_table_writer_abort(struct es_table_writer *w); /* removes the temporary; w is closed */

/* A fmt_block_sink whose context is a struct es_buffer: builds the table in memory. */
int es_table_image_block(void *image, uint32_t number, const unsigned char block[FMT_BLOCK_SIZE]);

/* ---- fences: what the builder of a tree of keys remembers ---- */

struct es_fences {
    struct es_fence_level {
        struct es_buffer pairs; /* struct fence */
        struct es_buffer keys;  /* their bytes */
    } level[FMT_TREE_LEVELS];
};

/* An interface to f for fmt_table_keys_put; valid as long as f. */
struct fmt_fences es_fences_of(struct es_fences *f);
void es_fences_release(struct es_fences *f); /* empty afterwards, reusable */

#endif
