#include "roll.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "append.h"
#include "commit.h"
#include "directory.h"
#include "format/checksum.h"
#include "index.h"
#include "live.h"
#include "lock.h"
#include "os.h"
#include "segment.h"
#include "shared_head.h"

bool es_must_roll(const esdb *db, const struct es_tail *tail, size_t frame_len) {
    if (tail->rolled)
        return true;
    return tail->mark.frame_offset != 0 &&
           tail->mark.end_offset + frame_len + FMT_FRAME_HEADER_SIZE > db->settings.user.segment_size;
}

/* A frame without events; with FMT_FRAME_ROLLS it says: the segment ends here. */
static int write_barrier(esdb *db, struct es_tail *tail, uint8_t flags, struct esdb_error *err) {
    unsigned char bytes[FMT_FRAME_HEADER_SIZE];
    const struct fmt_mark *m = &tail->mark;
    struct fmt_frame f = {.kind = FMT_FRAME_BARRIER,
                          .flags = flags,
                          .frame_len = FMT_FRAME_HEADER_SIZE,
                          .index = m->index + 1,
                          .term = es_next_term(tail),
                          .first_position = m->end_position,
                          .committed_index = es_head_committed(db),
                          .incarnation = db->settings.incarnation,
                          .clock_us = es_clock_us(),
                          .last_epoch_us = m->last_epoch_us,
                          .prev_checksum = m->checksum,
                          .payload_checksum = fmt_checksum(bytes, 0),
                          .synced_index = es_known_synced(db)};
    int rc = es_active_allocate(db, m->end_offset + f.frame_len);
    if (rc < 0)
        return es_write_failed(db, "allocating space for the log", rc, err);
    fmt_frame_encode(&f, bytes);
    return es_write_frame(db, bytes, &f, NULL, tail, err);
}

int es_next_segment(esdb *db, struct es_tail *tail, struct esdb_error *err) {
    struct fmt_mark *m = &tail->mark;
    int rc = es_lead(db, NULL, err);
    if (rc < 0)
        return rc;
    if (es_head_synced(db) < m->index)
        return es_fail(err, ESDB_EUNAVAILABLE, "%s: the segment could not be made durable; nothing was written",
                       db->path);
    if (es_active_open(db, m->segment, NULL) == 0) /* only tidies up */
        es_ftruncate(db->active.fd, m->end_offset);
    struct fmt_segment next = {.version = FMT_VERSION,
                               .first_index = m->index + 1,
                               .first_position = m->end_position,
                               .prev_checksum = m->checksum,
                               .last_epoch_us = m->last_epoch_us,
                               .last_term = tail->term,
                               .created_us = es_clock_us()};
    for (size_t i = 0; i < sizeof next.store_id; i++)
        next.store_id[i] = db->settings.user.store_id[i];
    struct esdb_error why = {0};
    rc = es_segment_create(db, &next, &why);
    if (rc < 0 && rc > ESDB_EUSAGE) /* a system call failed */
        return es_write_failed(db, "creating a segment", rc, err);
    if (rc < 0 && err && err->code == 0)
        *err = why;
    if (rc == 0) {
        es_set_mode(db->active.fd, db->mode & 0444); /* now that nobody will write to it any more */
        rc = es_active_open(db, next.first_index, err);
    }
    if (rc < 0)
        return rc;
    db->sealed_until = m->segment; /* es_seal_rolled has work now */
    m->segment = next.first_index;
    m->frame_offset = 0;
    m->end_offset = db->active.header.header_len;
    tail->rolled = false;
    return 0;
}

int es_roll(esdb *db, struct es_tail *tail, struct esdb_error *err) {
    int rc = tail->rolled ? 0 : write_barrier(db, tail, FMT_FRAME_ROLLS, err);
    if (rc == 0)
        rc = es_lock_sync(db, err);
    if (rc < 0)
        return rc;
    rc = es_next_segment(db, tail, err);
    es_unlock_sync(db);
    return rc;
}

/* The first frame of a segment moves head's marks there, so that nothing refers to the closed one any more. */
static int roll_now(esdb *db, struct es_tail *tail, struct esdb_error *err) {
    int rc = es_tail_load(db, tail, err);
    if (rc == 0 && (tail->rolled || tail->mark.frame_offset != 0))
        rc = es_roll(db, tail, err);
    return rc == 0 ? write_barrier(db, tail, 0, err) : rc;
}

int es_roll_now(esdb *db, struct esdb_error *err) {
    struct es_tail tail = {0};
    int rc = es_lock_append(db, err);
    if (rc < 0)
        return rc;
    rc = roll_now(db, &tail, err);
    uint64_t generation = es_head_valid(db) ? es_head_generation(db) : 0;
    es_unlock_append(db);
    return rc == 0 ? es_commit(db, tail.mark.index, generation, err) : rc;
}

/* ---- derived files of closed segments ---- */

static bool has_index(const esdb *db, uint64_t segment) {
    char name[ES_NAME_SIZE];
    struct stat st;
    es_segment_name(segment, ES_NAME_INDEX, name);
    return es_fstatat(db->log, name, &st) == 0;
}

int es_seal(esdb *db, uint64_t segment, struct esdb_error *err) {
    struct es_segment *seg;
    struct es_buffer image = {0};
    char name[ES_NAME_SIZE], path[ES_NAME_SIZE];
    es_segment_name(segment, ES_NAME_INDEX, name);
    es_segment_path(segment, ES_NAME_INDEX, path);
    int rc = es_segment_get(db, segment, &seg, err);
    if (rc == 0)
        rc = es_segment_grow(db, seg, err);
    if (rc == 0)
        rc = es_seal_segment(seg, UINT64_MAX, &image, err);
    if (rc == 0)
        es_segment_forget(seg, 0, (size_t)seg->size); /* many in a row would fill memory */
    if (rc == 0 && (rc = es_table_save(db->log, name, image.at, image.len, db->mode & 0444)) < 0)
        es_fail(err, rc, "%s/%s", db->path, path);
    es_buffer_release(&image);
    if (rc == 0)
        es_live_discard(db, segment);
    return rc;
}

/* Index files that somebody was writing when he died: "<16 digits>.idx.<who>.tmp". */
static int remove_left_over(void *context, const char *name) {
    const esdb *db = context;
    const char *idx = strstr(name, ".idx.");
    size_t len = strlen(name), suffix = sizeof ES_TABLE_TEMPORARY - 1;
    if (idx == name + 16 && len > suffix && strcmp(name + len - suffix, ES_TABLE_TEMPORARY) == 0)
        es_unlinkat(db->log, name);
    return 0;
}

/* Compaction lock held. */
static int seal_closed(esdb *db, uint64_t active, const uint64_t *names, size_t count, struct esdb_error *err) {
    int rc = 0;
    es_list_dir(db->dir, "log", remove_left_over, db); /* only who holds the lock writes any */
    uint64_t limit = db->settings.replicated && es_head_valid(db) ? es_head_committed(db) : UINT64_MAX;
    for (size_t i = 0; rc == 0 && i + 1 < count && names[i] < active && names[i + 1] - 1 <= limit; i++)
        if (!has_index(db, names[i]))
            rc = es_seal(db, names[i], err);
    es_directory_tidy(db, active);
    return rc;
}

void es_seal_rolled(esdb *db, uint64_t active) {
    if (active == 0 || db->sealed_until >= active)
        return;
    if (db->sealed_until == 0) { /* a new handle: whatever was closed before is its closer's business */
        db->sealed_until = active;
        return;
    }
    uint64_t *names;
    size_t count;
    if (es_try_lock(db->lock, ES_LOCK_COMPACTION) != 0)
        return; /* somebody else is at it */
    if (es_segment_list(db, &names, &count, NULL) == 0) {
        seal_closed(db, active, names, count, NULL);
        free(names);
    }
    es_unlock(db->lock, ES_LOCK_COMPACTION);
    db->sealed_until = active;
}

int esdb_seal(esdb *db, struct esdb_error *err) {
    uint64_t *names;
    size_t count;
    if (!es_writable(db))
        return es_fail(err, ESDB_EUSAGE, "%s: was not opened for appending", db->path);
    if (es_try_lock(db->lock, ES_LOCK_COMPACTION) != 0)
        return 0; /* somebody else is at it */
    int rc = es_segment_list(db, &names, &count, err);
    if (rc == 0) {
        if (count > 1)
            rc = seal_closed(db, names[count - 1], names, count, err);
        free(names);
    }
    es_unlock(db->lock, ES_LOCK_COMPACTION);
    return rc;
}
