/* archive.h: archives, between their files: events of one stream as JSON lines and a manifest, in a tar compressed by zstd
 * (format/ARCHIVE.md). The public functions are in esdb.h.
 *
 *   archive_place.c    where archives are: a directory, or a command
 *   archive_file.c     events -> a file -> events: everything is checked that can be
 *   archive_line.c     a line -> an event
 *   archive_manifest.c
 *   archive_note.c     which places there are
 *   archive_cut.c      what scavenging and erasing write
 *   archive_read.c     a cursor over archives
 *   archive_restore.c
 */
#ifndef ES_ARCHIVE_H
#define ES_ARCHIVE_H

#include "buffer.h"
#include "error.h"
#include "esdb.h"
#include "format/archive_key.h"
#include "format/checksum.h"
#include "store.h"

#define ES_ARCHIVE_EVENTS "events.jsonl"
#define ES_ARCHIVE_MANIFEST "manifest.json"
#define ES_ARCHIVE_SIZE (256u << 20)    /* bytes of lines in an archive that we write: then another one begins */
#define ES_ARCHIVE_LINE_MAX (32u << 20) /* an event of 16 MiB, in base 64 */
#define ES_ARCHIVE_SIZE_MAX (ES_ARCHIVE_SIZE + ES_ARCHIVE_LINE_MAX) /* of what we read */
#define ES_ARCHIVE_MANIFEST_MAX (1u << 20)

struct esdb_archive {
    esdb *db;
    char *where;   /* as given, for messages; owned */
    char *command; /* leads into where; NULL: a directory */
    int dir;       /* -1: there is none yet, or it is a command */
    bool writable;
};

/* ---- bytes in a file without a name ---- */

struct es_scratch {
    int fd; /* -1: not needed yet */
    uint64_t len;
    struct es_buffer tail; /* the last ones, not written yet */
};
#define ES_SCRATCH_NONE \
    { .fd = -1 }
int es_scratch_add(struct es_scratch *s, const void *bytes, size_t len, struct esdb_error *err);
int es_scratch_flush(struct es_scratch *s, struct esdb_error *err); /* before es_pread of s->fd */
int es_scratch_cut(struct es_scratch *s, uint64_t len, struct esdb_error *err);
void es_scratch_release(struct es_scratch *s);

/* ---- where archives are ---- */

/* A file to be read from its beginning: *fd is the caller's. ESDB_ENOTFOUND. */
int es_archive_get(esdb_archive *a, const char *key, int *fd, struct esdb_error *err);
/* Keeps the file's bytes durably under that key, instead of what was there. */
int es_archive_put(esdb_archive *a, const char *key, int fd, uint64_t len, struct esdb_error *err);
/* Makes the folder when there is none. */
int es_archive_make(esdb_archive *a, struct esdb_error *err);
/* Calls fn for every key that there is, in no order; what is no key is passed over. */
int es_archive_keys(esdb_archive *a, int (*fn)(void *context, const char *key), void *context, struct esdb_error *err);

/* ---- manifests ---- */

struct es_archive_manifest {
    char stream[FMT_STREAM_NAME_MAX];
    size_t stream_len;
    uint64_t from, to, count;
    uint64_t first_position, last_position, first_epoch_us, last_epoch_us;
    uint64_t size;   /* of the lines */
    char digest[33]; /* of the lines: XXH3-128, as xxh128sum prints it */
    unsigned char store_id[16];
    struct es_buffer erased; /* JSON objects, separated by commas: what was taken out */
};
void es_archive_manifest_release(struct es_archive_manifest *m);
int es_archive_manifest_print(const struct es_archive_manifest *m, struct es_buffer *out);
/* NULL, or what is wrong: static. */
const char *es_archive_manifest_parse(struct fmt_text text, struct es_archive_manifest *out);

/* ---- files ---- */

/* What is to become an archive. */
struct es_archive_draft {
    struct es_scratch lines;
    struct es_archive_manifest manifest;
    XXH3_state_t *hash; /* owned */
    struct es_buffer line;
};
int es_draft_begin(struct es_archive_draft *d, const esdb *db, struct esdb_text stream, struct esdb_error *err);
int es_draft_add(struct es_archive_draft *d, const struct esdb_event *e, struct esdb_error *err);
void es_draft_release(struct es_archive_draft *d);

/* Writes it under its key, unless that is there and equal, and reads it back. ESDB_ECONFLICT: another one has the key
 * (`replace` false). */
int es_draft_save(struct es_archive_draft *d, esdb_archive *a, bool replace, struct esdb_error *err);

/* Reads a whole archive. What was not checked to the end may have been given already. fn may be NULL: just checks; the
 * event and the line are valid for the call. *m is the caller's to be released, also after a failure. ESDB_ENOTFOUND: there
 * is none. ESDB_ECORRUPT: it is damaged, or is not what its key says. */
typedef int (*es_archive_take)(void *context, const struct esdb_event *e, struct fmt_text line, struct esdb_error *err);
int es_archive_load(esdb_archive *a, const char *key, es_archive_take fn, void *context, struct es_archive_manifest *m,
                    struct esdb_error *err);

/* The event of a line, which must be exactly as esdb_event_json writes it. NULL, or what is wrong: static. Texts lead into
 * the line and `room`, which is emptied before. */
const char *es_archive_line(struct fmt_text line, struct es_buffer *room, struct esdb_event *out);

/* ---- what scavenging writes (archive_cut.c) ---- */

/* Archives the versions from .. before - 1 of a stream, as far as they can be seen. */
int es_archive_cut(esdb_archive *a, struct esdb_text stream, uint64_t from, uint64_t before, struct esdb_error *err);

/* Notes in the store that archives are put into this place; before the first is. */
int es_archive_note(esdb_archive *a, struct esdb_error *err);

/* ---- lists ---- */

struct es_archive_entry {
    char key[FMT_ARCHIVE_KEY_ROOM];
    char stream[FMT_STREAM_NAME_MAX];
    size_t stream_len;
    uint64_t from, to;
};
/* All keys for which `wants` (NULL: every one) is true, by stream and version: *out is the caller's, to be freed. */
int es_archive_entries(esdb_archive *a, bool (*wants)(void *context, struct esdb_text stream), void *context,
                       struct es_archive_entry **out, size_t *count, struct esdb_error *err);

#endif
