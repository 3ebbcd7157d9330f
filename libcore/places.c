/* places.c: how an open store gives the stream directory what it needs. */
#include <errno.h>
#include <stdlib.h>

#include "directory.h"
#include "index.h"
#include "os.h"
#include "recover.h"

/* The directory is about segments that are there: one that is missing must be noticed by the one before it. */
static void check_next(const esdb *db, struct es_segment *s) {
    char name[ES_NAME_SIZE];
    struct stat st;
    es_segment_name(s->index.table.header.last_index + 1, ES_NAME_LOG, name);
    s->next_missing = es_fstatat(db->log, name, &st) == -ENOENT;
}

static int segment_index(void *context, uint64_t segment, const struct fmt_table **out, struct esdb_error *err) {
    struct es_segment *s;
    int rc = es_segment_open(context, segment, &s, err);
    if (rc == 0)
        rc = es_segment_index(context, s, UINT64_MAX, err);
    if (rc == 0) {
        check_next(context, s);
        *out = &s->index.table;
    }
    return rc;
}

static int segment_index_again(void *context, uint64_t segment, const struct fmt_table **out, struct esdb_error *err) {
    struct es_segment *s;
    int rc = es_segment_open(context, segment, &s, err);
    if (rc == 0)
        rc = es_segment_reindex(context, s, UINT64_MAX, err);
    if (rc == 0)
        *out = &s->index.table;
    return rc;
}

static int segment_prev_checksum(void *context, uint64_t segment, uint64_t *out) {
    struct es_segment *s;
    int rc = es_segment_open(context, segment, &s, NULL);
    if (rc == 0)
        *out = s->header.prev_checksum;
    return rc;
}

static struct es_directory_source source_of(esdb *db) {
    return (struct es_directory_source){db, segment_index, segment_index_again, segment_prev_checksum};
}

/* The names of the segments before `active`. */
static int sealed_before(esdb *db, uint64_t active, uint64_t **names, size_t *count, struct esdb_error *err) {
    int rc = es_segment_list(db, names, count, err);
    while (rc == 0 && *count > 0 && (*names)[*count - 1] >= active)
        --*count;
    return rc;
}

int es_directory_fresh(esdb *db, uint64_t active, struct es_directory **out, struct esdb_error *err) {
    uint64_t *names = NULL;
    size_t count = 0;
    struct es_directory_source source = source_of(db);
    int rc = sealed_before(db, active, &names, &count, err);
    if (rc == 0)
        rc = es_directory_open(db->tables, names, count, active, &source, out, err);
    free(names);
    return rc;
}

int es_directory_get(esdb *db, uint64_t active, struct es_directory **out, struct esdb_error *err) {
    if (!db->directory || db->directory_until != active) {
        struct es_directory *fresh;
        int rc = es_directory_fresh(db, active, &fresh, err);
        if (rc < 0)
            return rc;
        es_directory_close(db->directory);
        db->directory = fresh;
        db->directory_until = active;
    }
    *out = db->directory;
    return 0;
}

void es_directory_tidy(esdb *db, uint64_t active) {
    uint64_t *names = NULL;
    size_t count = 0;
    struct es_directory_source source = source_of(db);
    if (db->tables >= 0 && sealed_before(db, active, &names, &count, NULL) == 0)
        es_directory_merge(db->tables, names, count, active, &source, db->mode & 0444, NULL);
    free(names);
}
