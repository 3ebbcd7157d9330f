/* esdb_restore: a store that ends where somebody wants it to.
 *
 *   whole segments before the end   linked, shared or copied; checked; compared with the manifest when there is one
 *   the segment of the end          its frames up to the end, copied; of a frame that goes beyond, its first events, in a
 *                                   frame made anew (nothing chains to it yet)
 *   a hole in that segment, a whole one or a thinned frame: then it is closed, and an empty one follows: holes stand in sealed segments only
 *   store.yaml                      the same store, another incarnation
 *
 * Then the new store is opened once, as a writer would: that makes head and the indexes that are missing. All of it in a
 * new directory, which then takes its place at once (new_directory.h). */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "backup_files.h"
#include "commit.h"
#include "erasures.h"
#include "format/checksum.h"
#include "lock.h"
#include "new_directory.h"
#include "os.h"
#include "shared_head.h"
#include "tail.h"
#include "visible.h"

struct restore {
    esdb *from;
    const struct esdb_restore_options *o;
    struct esdb_backup_result r;
    struct es_visible visible;
    uint64_t stop; /* position after the last event that is wanted */
    bool cuts;     /* it is before the end of what there is */
    uint64_t *names;
    size_t count, last; /* names[last] is the segment of the end */
    bool has_manifest;
    struct es_backup_manifest manifest;
    struct es_new_directory place;
    int log, tables;
    struct es_settings settings; /* of the new store */
    struct es_log_end end;
    struct esdb_error *err;
};

static int fail(struct restore *x, int rc, const char *what) {
    return es_fail(x->err, rc, "%s: %s", x->place.path, what);
}

/* ---- where it ends ---- */

static int find_stop(struct restore *x) {
    uint64_t stop = x->visible.end_position, by_time = UINT64_MAX;
    if (x->o->to_position != UINT64_MAX && x->o->to_position >= stop)
        return es_fail(x->err, ESDB_ENOTFOUND, "%s: has no position %llu, it ends before %llu", x->from->path,
                       (unsigned long long)x->o->to_position, (unsigned long long)stop);
    if (x->o->until_us < UINT64_MAX) {
        int rc = esdb_position_at(x->from, x->o->until_us + 1, &by_time, x->err);
        if (rc < 0)
            return rc;
    }
    if (x->o->to_position != UINT64_MAX)
        stop = x->o->to_position + 1;
    x->stop = by_time < stop ? by_time : stop;
    x->cuts = x->stop < x->visible.end_position;
    return 0;
}

/* The segment that holds the last wanted event: of several that begin at the end, the first that does is too far. */
static int find_last(struct restore *x) {
    int rc = es_segment_list(x->from, &x->names, &x->count, x->err);
    if (rc < 0)
        return rc;
    while (x->count > 0 && x->names[x->count - 1] > x->visible.segment)
        x->count--;
    if (x->count == 0)
        return es_fail_at(x->err, ESDB_ECORRUPT, "log", 0, "%s/log: a segment is missing", x->from->path);
    x->last = x->count - 1;
    while (x->cuts && x->last > 0) {
        struct es_segment *s;
        rc = es_segment_open(x->from, x->names[x->last], &s, x->err);
        if (rc < 0)
            return rc;
        if (s->header.first_position < x->stop)
            break;
        x->last--;
    }
    return 0;
}

/* ---- the segment of the end ---- */

/* A frame with the first events of another, in a buffer. Its first event that is left out is at position `stop`. */
static int cut_frame(struct restore *x, const unsigned char *bytes, struct fmt_frame f, struct es_buffer *out) {
    unsigned char header[FMT_FRAME_HEADER_SIZE];
    size_t at = f.header_len;
    uint64_t chain = 0;
    uint32_t keep = (uint32_t)(x->stop - f.first_position);
    for (uint32_t i = 0; i < keep; i++) { /* they were checked with their frame */
        struct fmt_event e;
        if (fmt_event_decode(bytes + at, f.frame_len - at, &e))
            return fail(x, ESDB_ECORRUPT, "an event of the frame to be cut");
        chain = fmt_fold(chain, e.checksum);
        f.last_epoch_us = e.epoch_us;
        at += e.event_len;
    }
    size_t payload = at - f.header_len;
    const unsigned char *from = bytes + f.header_len;
    f.flags = 0;
    f.count = keep;
    f.frame_len = (uint32_t)(FMT_FRAME_HEADER_SIZE + payload);
    f.incarnation = x->settings.incarnation;
    f.payload_checksum = chain;
    fmt_frame_encode(&f, header);
    int rc = es_buffer_add(out, header, sizeof header);
    if (rc == 0)
        rc = es_buffer_add(out, from, payload);
    x->end = (struct es_log_end){f.index, x->stop, f.checksum, f.last_epoch_us};
    return rc < 0 ? fail(x, rc, "the last frame") : 0;
}

/* What closes a segment that holds a hole. */
static int add_barrier(struct restore *x, uint64_t term, struct es_buffer *out) {
    unsigned char header[FMT_FRAME_HEADER_SIZE];
    struct fmt_frame f = {.kind = FMT_FRAME_BARRIER,
                          .flags = FMT_FRAME_ROLLS,
                          .frame_len = FMT_FRAME_HEADER_SIZE,
                          .index = x->end.index + 1,
                          .term = term ? term : 1,
                          .first_position = x->end.position,
                          .committed_index = x->end.index,
                          .incarnation = x->settings.incarnation,
                          .clock_us = es_clock_us(),
                          .last_epoch_us = x->end.last_epoch_us,
                          .prev_checksum = x->end.checksum,
                          .payload_checksum = fmt_checksum(header, 0)};
    fmt_frame_encode(&f, header);
    x->end.index = f.index;
    x->end.checksum = f.checksum;
    return es_buffer_add(out, header, sizeof header);
}

/* Where the copied part of the segment ends, and what follows it there. */
struct cut {
    uint64_t size;
    struct es_buffer tail; /* owned */
    uint64_t term;
    bool hole, closed;
};

static int find_cut(struct restore *x, struct es_segment *seg, struct cut *cut) {
    struct fmt_walk w;
    struct fmt_frame f;
    uint64_t size = seg->name == x->visible.segment ? x->visible.end_offset : seg->size;
    es_segment_walk(seg, &w);
    w.size = (size_t)(size < seg->size ? size : seg->size);
    x->end = es_log_end_of(&seg->header);
    cut->term = seg->header.last_term;
    int rc = FMT_OK;
    while ((!x->cuts || w.position < x->stop) && (rc = fmt_walk_peek(&w, &f)) == FMT_OK &&
           (rc = fmt_walk_check(&w, &f)) == FMT_OK) {
        const unsigned char *bytes = seg->map + w.offset;
        struct fmt_walk before = w;
        fmt_walk_pass(&w, &f);
        if (x->cuts && w.position > x->stop && fmt_frame_is_hole(&f))
            return es_fail(x->err, ESDB_ENOTFOUND,
                           "%s: from position %llu to %llu events were removed: no store can end amid them",
                           x->from->path, (unsigned long long)before.position, (unsigned long long)w.position - 1);
        cut->term = f.term;
        if (x->cuts && w.position > x->stop) {
            cut->size = before.offset;
            return cut_frame(x, bytes, f, &cut->tail);
        }
        cut->hole |= fmt_frame_is_hole(&f);
        cut->closed = f.flags & FMT_FRAME_ROLLS;
    }
    cut->size = w.offset;
    if (rc == FMT_BAD)
        return es_fail_at(x->err, w.newer ? ESDB_EUSAGE : ESDB_ECORRUPT, "log", w.fault_offset,
                          "%s/log/%016llx.log, offset %zu: %s", x->from->path, (unsigned long long)seg->name,
                          w.fault_offset, w.fault);
    x->end = (struct es_log_end){w.index - 1, w.position, w.prev_checksum, w.last_epoch_us};
    return 0;
}

static int write_next(struct restore *x, uint64_t term) {
    unsigned char bytes[FMT_SEGMENT_HEADER_SIZE];
    char file[ES_NAME_SIZE];
    struct fmt_segment s = {.version = FMT_VERSION,
                            .first_index = x->end.index + 1,
                            .first_position = x->end.position,
                            .prev_checksum = x->end.checksum,
                            .last_epoch_us = x->end.last_epoch_us,
                            .last_term = term ? term : 1,
                            .created_us = es_clock_us()};
    memcpy(s.store_id, x->settings.user.store_id, sizeof s.store_id);
    fmt_segment_encode(&s, bytes);
    es_segment_name(s.first_index, ES_NAME_LOG, file);
    x->r.segments++;
    return es_write_file(x->from, x->log, file, bytes, sizeof bytes);
}

static int write_last(struct restore *x, struct es_segment *seg, struct cut *cut) {
    char file[ES_NAME_SIZE];
    int fd = -1, rc = 0;
    bool closes = cut->hole && !cut->closed;
    es_segment_name(seg->name, ES_NAME_LOG, file);
    if (closes)
        rc = add_barrier(x, cut->term, &cut->tail);
    if (rc == 0)
        rc = es_copy_segment(x->from, seg, cut->size, x->log, file, &fd, x->err);
    if (rc == 0)
        rc = es_pwrite(fd, cut->tail.at, cut->tail.len, cut->size);
    if (rc == 0 && cut->hole)
        rc = es_set_mode(fd, x->from->mode & 0444);
    if (rc == 0)
        rc = es_fsync(fd);
    es_close(&fd);
    x->r.segments++;
    x->r.copied++;
    x->r.bytes += cut->size + cut->tail.len;
    x->r.new_bytes += cut->size + cut->tail.len;
    if (rc == 0 && cut->hole)
        rc = write_next(x, cut->term);
    return rc < 0 ? fail(x, rc, file) : 0;
}

static int restore_last(struct restore *x) {
    struct es_segment *seg;
    struct cut cut = {0};
    uint64_t begins = x->end.checksum;
    int rc = es_segment_get(x->from, x->names[x->last], &seg, x->err);
    if (rc == 0)
        rc = es_segment_grow(x->from, seg, x->err);
    if (rc == 0 && seg->header.prev_checksum != begins)
        rc = fail(x, ESDB_ECORRUPT, "the segments of the backup do not continue each other");
    if (rc == 0)
        rc = find_cut(x, seg, &cut);
    if (rc == 0)
        rc = write_last(x, seg, &cut);
    es_buffer_release(&cut.tail);
    return rc;
}

/* ---- segments before it ---- */

static int restore_sealed(struct restore *x, uint64_t name) {
    char file[ES_NAME_SIZE];
    struct es_backup_segment s;
    enum es_taken how;
    es_segment_name(name, ES_NAME_LOG, file);
    int rc = es_take_file(x->from, x->from->log, file, x->log, x->o->copy, &how);
    if (rc < 0)
        return fail(x, rc, file);
    rc = es_check_segment_file(x->log, x->from->path, x->settings.user.store_id, name, &x->end, &s, x->err);
    if (rc < 0)
        return rc;
    const struct es_backup_segment *was = x->has_manifest ? es_manifest_find(&x->manifest, name) : NULL;
    if (x->has_manifest && (!was || was->digest != s.digest || was->size != s.size))
        return es_fail_at(x->err, ESDB_ECORRUPT, file, 0, "%s/log/%s: differs from what was backed up", x->from->path,
                          file);
    es_take_index(x->from, x->from->log, name, x->log, x->o->copy);
    x->r.segments++;
    x->r.bytes += s.size;
    x->r.linked += how == ES_LINKED;
    x->r.cloned += how == ES_CLONED;
    x->r.copied += how == ES_COPIED;
    x->r.new_bytes += how == ES_LINKED ? 0 : s.size;
    return 0;
}

/* ---- the store ---- */

static int write_settings(struct restore *x) {
    char text[1024];
    size_t len = es_settings_print(&x->settings, text, sizeof text);
    return es_write_file(x->from, x->place.dir, "store.yaml", text, len);
}

/* As its first writer would: head, what is not proven durable yet, missing indexes. */
static int open_once(struct restore *x) {
    struct es_tail tail = {0};
    esdb *db;
    int rc = esdb_open(x->place.temporary, ESDB_APPEND, &db, x->err);
    if (rc < 0)
        return rc;
    rc = es_lock_append(db, x->err);
    if (rc == 0) {
        rc = es_tail_load(db, &tail, x->err);
        uint64_t generation = rc == 0 ? es_head_generation(db) : 0;
        es_unlock_append(db);
        if (rc == 0)
            rc = es_commit(db, tail.mark.index, generation, x->err);
    }
    if (rc == 0 && (tail.mark.end_position != x->end.position || tail.mark.index != x->end.index))
        rc = fail(x, ESDB_ECORRUPT, "the restored store does not end where it should");
    if (rc == 0)
        rc = esdb_seal(db, x->err);
    esdb_close(db);
    return rc;
}

/* What was erased since, by the rest of the backup or by another store, does not come back. */
static int erase_again(struct restore *x) {
    struct esdb_compaction c;
    esdb *db, *other;
    int rc = esdb_open(x->place.temporary, ESDB_APPEND, &db, x->err);
    if (rc < 0)
        return rc;
    rc = es_erasures_take(x->from, db, &x->r.erased, x->err);
    if (rc == 0 && x->o->erasures) {
        rc = esdb_open(x->o->erasures, ESDB_READ, &other, x->err);
        if (rc == 0) {
            rc = es_erasures_take(other, db, &x->r.erased, x->err);
            esdb_close(other);
        }
    }
    if (rc == 0 && x->r.erased > 0)
        rc = esdb_compact(db, &c, x->err);
    if (rc == 0 && x->r.erased > 0)
        rc = esdb_seal(db, x->err);
    esdb_close(db);
    return rc;
}

static int fill(struct restore *x) {
    x->log = es_new_directory_folder(&x->place, "log");
    x->tables = x->log < 0 ? x->log : es_new_directory_folder(&x->place, "tables");
    int rc = x->tables < 0 ? fail(x, x->tables, "folders") : 0;
    for (size_t i = 0; rc == 0 && i < x->last; i++)
        rc = restore_sealed(x, x->names[i]);
    if (rc == 0)
        rc = restore_last(x);
    if (rc < 0)
        return rc;
    es_take_tables(x->from, x->tables, x->names[x->last], x->o->copy);
    rc = write_settings(x);
    int folders[] = {x->log, x->tables, x->place.dir};
    for (size_t i = 0; rc == 0 && i < 3; i++)
        rc = es_adopt_directory(x->from, folders[i]);
    if (rc < 0)
        return fail(x, rc, "writing the store");
    rc = open_once(x);
    if (rc == 0)
        rc = erase_again(x);
    if (rc == 0 && (rc = es_fsync(x->log)) < 0)
        fail(x, rc, "log");
    return rc;
}

static int into_place(struct restore *x, const char *target) {
    int rc = es_new_directory_begin(&x->place, target, x->from->uid, x->err);
    int there = rc == 0 ? es_new_directory_existing(&x->place, x->err) : rc;
    if (rc == 0 && there != -ENOENT)
        rc = there < 0 ? there : fail(x, ESDB_EUSAGE, "is not an empty directory");
    if (rc == 0)
        rc = fill(x);
    if (rc == 0)
        rc = es_new_directory_commit(&x->place, false, x->err);
    if (rc < 0)
        es_new_directory_abort(&x->place);
    if (there >= 0)
        es_close(&there);
    es_close(&x->log);
    es_close(&x->tables);
    return rc;
}

static int choose_settings(struct restore *x) {
    uint64_t chance;
    int rc = es_random(&chance, sizeof chance);
    x->settings = x->from->settings;
    x->settings.backup = false;
    x->settings.incarnation = 1 + chance % FMT_WORD_MAX;
    return rc < 0 ? es_fail(x->err, rc, "random numbers") : 0;
}

int esdb_restore(const char *backup, const char *target, const struct esdb_restore_options *o,
                 struct esdb_backup_result *out, struct esdb_error *err) {
    struct restore x = {.o = o, .err = err, .log = -1, .tables = -1};
    int rc = esdb_open(backup, ESDB_READ, &x.from, err);
    if (rc < 0)
        return rc;
    x.has_manifest = x.from->settings.backup;
    if (x.has_manifest)
        rc = es_manifest_load(x.from->dir, backup, &x.manifest, err);
    if (rc == 0)
        rc = es_visible_all(x.from, &x.visible, err);
    if (rc == 0 && x.has_manifest && x.visible.index != x.manifest.end_index)
        rc = es_fail_at(err, ESDB_ECORRUPT, "log", 0, "%s: ends with frame %llu, its manifest says %llu", backup,
                        (unsigned long long)x.visible.index, (unsigned long long)x.manifest.end_index);
    if (rc == 0)
        rc = find_stop(&x);
    if (rc == 0)
        rc = find_last(&x);
    if (rc == 0)
        rc = choose_settings(&x);
    if (rc == 0)
        rc = into_place(&x, target);
    esdb_close(x.from);
    free(x.names);
    es_manifest_release(&x.manifest);
    if (rc < 0)
        return rc;
    x.r.end_position = x.end.position;
    x.r.last_epoch_us = x.end.last_epoch_us;
    *out = x.r;
    return 0;
}
