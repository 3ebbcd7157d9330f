/* backup_manifest.h: the file backup.manifest, which makes a directory a backup and tells what is in it. FORMAT.md
 * section 2. */
#ifndef ES_BACKUP_MANIFEST_H
#define ES_BACKUP_MANIFEST_H

#include "buffer.h"
#include "store.h"

#define ES_BACKUP_MANIFEST "backup.manifest"

/* A segment as it is in the backup. */
struct es_backup_segment {
    uint64_t name;
    uint64_t size;     /* of the file */
    uint64_t digest;   /* XXH3-64 of the whole file */
    uint64_t checksum; /* of its last frame; of the frame before when it has none */
    uint64_t inode;    /* of the store's file when the backup was made: tells one that was rewritten since */
};

struct es_backup_manifest {
    unsigned char store_id[16];
    uint64_t incarnation;
    uint64_t made_us;
    uint64_t end_index; /* of the last frame */
    uint64_t end_position;
    uint64_t last_epoch_us;
    uint64_t end_checksum;     /* of the last frame: with the chain, that of all of history */
    struct es_buffer segments; /* struct es_backup_segment, ascending */
};

static inline size_t es_manifest_count(const struct es_backup_manifest *m) {
    return m->segments.len / sizeof(struct es_backup_segment);
}
static inline struct es_backup_segment *es_manifest_segment(const struct es_backup_manifest *m, size_t i) {
    return (struct es_backup_segment *)(void *)m->segments.at + i;
}
/* NULL when it is not in there. */
struct es_backup_segment *es_manifest_find(const struct es_backup_manifest *m, uint64_t name);

/* Reads the manifest of the directory. ESDB_EUSAGE: there is none, or it is newer; ESDB_ECORRUPT. *out is to be released. */
int es_manifest_load(int dir, const char *path, struct es_backup_manifest *out, struct esdb_error *err);
void es_manifest_release(struct es_backup_manifest *m);

/* Its text, into an empty buffer. 0 or -ENOMEM. */
int es_manifest_print(const struct es_backup_manifest *m, struct es_buffer *out);
/* NULL, or what is wrong with the text. */
const char *es_manifest_parse(const char *text, size_t len, struct es_backup_manifest *out);

#endif
