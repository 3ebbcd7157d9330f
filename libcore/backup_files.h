/* backup_files.h: putting files of one store into another directory, and checking what was put there. Shared by backup.c,
 * backup_tar.c and restore.c. */
#ifndef ES_BACKUP_FILES_H
#define ES_BACKUP_FILES_H

#include "backup_manifest.h"
#include "format/segment.h"
#include "segment.h"

/* How a file came to its new place. */
enum es_taken { ES_LINKED, ES_CLONED, ES_COPIED };

/* What the next segment must continue. All zero: the log begins. */
struct es_log_end {
    uint64_t index; /* of the last frame */
    uint64_t position;
    uint64_t checksum;
    uint64_t last_epoch_us;
};

/* Gives `to` the file `name` of `from`, which nobody ever writes to: as another name of it, as shared blocks, or as a copy,
 * whichever the file system can do; with `copy`, as bytes of its own. New files get owner, and mode without write
 * permission, from the store, and are durable. On failure nothing stays. */
int es_take_file(const esdb *db, int from, const char *name, int to, bool copy, enum es_taken *how);

/* The first `size` bytes of a segment (of its content, when it is compressed) as a new file, never shared and left open for writing: *out is the caller's. They are
 * those that were opened, also when compaction has put another file in its place. */
int es_copy_segment(esdb *db, struct es_segment *seg, uint64_t size, int to, const char *name, int *out,
                    struct esdb_error *err);

/* Checks every byte of a segment, over which w is about to go: its header continues *end, each frame is whole and chains,
 * nothing follows. Moves *end behind it. ESDB_ECORRUPT or ESDB_EUSAGE (newer), naming `path` and the offset. */
int es_check_segment(const struct fmt_segment *header, struct fmt_walk *w, uint64_t name,
                     const unsigned char store_id[16], const char *path, struct es_log_end *end,
                     struct esdb_error *err);

/* The same for a file of the folder `log`; also its size and digest, into *out. `path`: of the store, for messages. */
int es_check_segment_file(int log, const char *path, const unsigned char store_id[16], uint64_t name,
                          struct es_log_end *end, struct es_backup_segment *out, struct esdb_error *err);

/* The end of the log before a segment. */
struct es_log_end es_log_end_of(const struct fmt_segment *next);

/* Writes a whole new file durably. */
int es_write_file(const esdb *db, int dir, const char *name, const void *bytes, size_t len);

/* Gives the directory and its folders owner and mode of the store's. */
int es_adopt_directory(const esdb *db, int dir);

/* Puts the index of a sealed segment, and the tables that cover nothing from segment `before` on, beside their log. They
 * are derived: what cannot be had is left out. */
void es_take_index(const esdb *db, int from, uint64_t segment, int to, bool copy);
void es_take_tables(const esdb *db, int to, uint64_t before, bool copy);

#endif
