/* A backup, step by step:
 *
 *   what is committed   es_visible: the copy ends there, whatever is appended meanwhile
 *   the place           new, or an earlier backup whose every frame must be one of this log
 *   sealed segments     from the earlier backup when the store's file is the same one still, else from the store;
 *                       what comes from the store is read and checked
 *   the last segment    always a copy of its own, up to the committed end: nobody ever writes to a file that has two names
 *   store.yaml          says that it is a backup
 *   backup.manifest     last
 *
 * All in a new directory, which then takes the place at once (new_directory.h). */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backup_files.h"
#include "new_directory.h"
#include "os.h"
#include "tail_scan.h"
#include "visible.h"

#define TRIES 3 /* a segment may be rewritten by compaction while it is taken */

struct backup {
    esdb *db;
    const struct esdb_backup_options *o;
    struct esdb_backup_result r;
    struct es_visible visible;
    uint64_t *names; /* the segments up to the visible one; owned */
    size_t count;
    struct es_new_directory place;
    int log, tables;  /* folders in it */
    int old, old_log; /* the earlier backup; -1: there is none */
    struct es_backup_manifest was, is;
    struct es_log_end end;
    uint64_t total;
    struct esdb_error *err;
};

static int fail(struct backup *b, int rc, const char *what) {
    return es_fail(b->err, rc, "%s: %s", b->place.path, what);
}

/* ---- the place ---- */

/* What is of no use to anybody may vanish; the rest stops us. */
static int refuse_foreign(void *context, const char *name) {
    struct backup *b = context;
    static const char *const ours[] = {"store.yaml", "log", "tables", "lock", "head", ES_BACKUP_MANIFEST};
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
        if (strcmp(name, ours[i]) == 0)
            return 0;
    return es_fail(b->err, ESDB_EUSAGE, "%s: holds '%s', which is no part of a backup and would be lost", b->place.path,
                   name);
}

static int refuse_unknown_segment(void *context, const char *name) {
    struct backup *b = context;
    uint64_t segment;
    if (strlen(name) != 20 || strcmp(name + 16, ".log") != 0 || !es_index_parse(name, &segment) ||
        es_manifest_find(&b->was, segment))
        return 0;
    return es_fail(b->err, ESDB_ECONFLICT, "%s/log/%s: is not in the manifest of that backup", b->place.path, name);
}

static bool has_segment(const struct backup *b, uint64_t name) {
    for (size_t i = 0; i < b->count; i++)
        if (b->names[i] == name)
            return true;
    return false;
}

/* Every frame of the earlier backup is in this log: the chain says so for all before the last frame at once, for its last
 * segment by that frame, for the others by the headers of those behind them. */
static int check_history(struct backup *b) {
    static const char other[] = "is a backup of another history, not of this store";
    size_t n = es_manifest_count(&b->was);
    struct es_segment *seg;
    if (memcmp(b->was.store_id, b->db->settings.user.store_id, sizeof b->was.store_id) != 0)
        return fail(b, ESDB_ECONFLICT, "is a backup of another store");
    if (b->was.end_index > b->visible.index)
        return fail(b, ESDB_ECONFLICT, "has more than the store: a backup of another history");
    for (size_t i = 0; i < n; i++) {
        const struct es_backup_segment *s = es_manifest_segment(&b->was, i);
        if (!has_segment(b, s->name))
            return fail(b, ESDB_ECONFLICT, other);
        int rc = es_segment_open(b->db, s->name, &seg, b->err);
        if (rc < 0)
            return rc;
        if (i > 0 && seg->header.prev_checksum != es_manifest_segment(&b->was, i - 1)->checksum)
            return fail(b, ESDB_ECONFLICT, other);
    }
    int rc = es_segment_get(b->db, es_manifest_segment(&b->was, n - 1)->name, &seg, b->err);
    if (rc == 0)
        rc = es_segment_grow(b->db, seg, b->err);
    if (rc < 0)
        return rc;
    struct fmt_mark m = es_mark_after(seg, b->was.end_index);
    if (m.index > b->was.end_index)
        return fail(b, ESDB_ECONFLICT, "ends amid frames that were removed from the store since: take another target");
    return m.index == b->was.end_index && m.checksum == b->was.end_checksum ? 0 : fail(b, ESDB_ECONFLICT, other);
}

static int look_at_place(struct backup *b) {
    b->old = es_new_directory_existing(&b->place, b->err);
    if (b->old == -ENOENT)
        return 0;
    if (b->old < 0)
        return b->old;
    b->r.incremental = true;
    int rc = es_manifest_load(b->old, b->place.path, &b->was, b->err);
    if (rc == 0 && es_manifest_count(&b->was) == 0)
        rc = fail(b, ESDB_ECORRUPT, "the manifest names no segment");
    if (rc == 0)
        rc = es_list_dir(b->old, ".", refuse_foreign, b);
    if (rc == 0 && (b->old_log = es_opendirat(b->old, "log")) < 0)
        rc = fail(b, b->old_log, "log");
    if (rc == 0)
        rc = es_list_dir(b->old, "log", refuse_unknown_segment, b);
    return rc == 0 ? check_history(b) : rc;
}

/* ---- segments ---- */

static void count_taken(struct esdb_backup_result *r, enum es_taken how, uint64_t size) {
    r->linked += how == ES_LINKED;
    r->cloned += how == ES_CLONED;
    r->copied += how == ES_COPIED;
    r->new_bytes += how == ES_LINKED ? 0 : size;
}

static int add_segment(struct backup *b, const struct es_backup_segment *s) {
    b->r.segments++;
    b->r.bytes += s->size;
    if (b->o->progress)
        b->o->progress(b->o->context, b->r.bytes, b->total);
    return es_buffer_add(&b->is.segments, s, sizeof *s);
}

/* 1: the store's file is still the one that the earlier backup has, which was checked then. 0: it has to be taken. */
static int keep_segment(struct backup *b, const char *file, uint64_t name, const struct es_log_end *next) {
    struct stat now, then;
    enum es_taken how;
    const struct es_backup_segment *s = b->old_log >= 0 ? es_manifest_find(&b->was, name) : NULL;
    if (!s || s->checksum != next->checksum || es_fstatat(b->db->log, file, &now) < 0 ||
        es_fstatat(b->old_log, file, &then) < 0 || (uint64_t)now.st_ino != s->inode ||
        (uint64_t)now.st_size != s->size || (uint64_t)then.st_size != s->size)
        return 0;
    int rc = es_take_file(b->db, b->old_log, file, b->log, false, &how);
    if (rc < 0)
        return rc == -ENOENT ? 0 : fail(b, rc, file);
    b->end = *next;
    b->r.kept++;
    rc = add_segment(b, s);
    return rc < 0 ? fail(b, rc, file) : 1;
}

static int take_segment(struct backup *b, const char *file, uint64_t name) {
    for (int tries = 1;; tries++) {
        struct stat before, after;
        struct es_log_end end = b->end;
        struct es_backup_segment s = {0};
        struct esdb_error why = {0};
        enum es_taken how = ES_COPIED;
        int rc = es_fstatat(b->db->log, file, &before);
        if (rc == 0)
            rc = es_take_file(b->db, b->db->log, file, b->log, b->o->copy, &how);
        if (rc < 0)
            es_fail(&why, rc, "%s/log/%s", b->db->path, file);
        if (rc == 0)
            rc = es_check_segment_file(b->log, b->db->path, b->db->settings.user.store_id, name, &end, &s, &why);
        bool same = es_fstatat(b->db->log, file, &after) == 0 && after.st_ino == before.st_ino;
        if (rc == 0 && same) {
            s.inode = (uint64_t)before.st_ino;
            b->end = end;
            count_taken(&b->r, how, s.size);
            return add_segment(b, &s);
        }
        es_unlinkat(b->log, file);
        if (tries == TRIES || (rc < 0 && same))
            return rc < 0 ? es_fail_at(b->err, rc, why.file, why.offset, "%s", why.text)
                          : fail(b, ESDB_EUNAVAILABLE, "a segment of the store is being rewritten all the time");
    }
}

static int take_sealed(struct backup *b, uint64_t name, uint64_t next_name) {
    char file[ES_NAME_SIZE];
    struct es_segment *next;
    es_segment_name(name, ES_NAME_LOG, file);
    int rc = es_segment_open(b->db, next_name, &next, b->err);
    if (rc < 0)
        return rc;
    struct es_log_end end = es_log_end_of(&next->header);
    int kept = keep_segment(b, file, name, &end);
    if (kept < 0)
        return kept;
    if (!kept) {
        rc = take_segment(b, file, name);
        if (rc < 0)
            return es_fail(b->err, rc, "%s/log/%s", b->place.path, file);
        if (b->end.index != end.index || b->end.checksum != end.checksum)
            return es_fail_at(b->err, ESDB_ECORRUPT, file, 0, "%s/log/%s: the segment after it does not continue it",
                              b->db->path, file);
    }
    es_take_index(b->db, b->db->log, name, b->log, b->o->copy);
    return 0;
}

/* What is visible never changes, so that a copy of it is whole whatever is written behind it meanwhile. */
static int take_last(struct backup *b) {
    char file[ES_NAME_SIZE];
    struct es_segment *seg;
    struct es_backup_segment s;
    int fd = -1;
    es_segment_name(b->visible.segment, ES_NAME_LOG, file);
    int rc = es_segment_open(b->db, b->visible.segment, &seg, b->err);
    if (rc < 0)
        return rc;
    rc = es_copy_segment(b->db, seg, b->visible.end_offset, b->log, file, &fd, b->err);
    if (rc == 0)
        rc = es_set_mode(fd, b->db->mode & 0444);
    if (rc == 0)
        rc = es_fsync(fd);
    es_close(&fd);
    if (rc < 0)
        return fail(b, rc, file);
    rc = es_check_segment_file(b->log, b->db->path, b->db->settings.user.store_id, b->visible.segment, &b->end, &s,
                               b->err);
    if (rc < 0)
        return rc;
    if (b->end.index != b->visible.index)
        return es_fail_at(b->err, ESDB_ECORRUPT, file, b->visible.end_offset, "%s/log/%s: ends before frame %llu",
                          b->db->path, file, (unsigned long long)b->visible.index);
    s.inode = (uint64_t)seg->inode;
    count_taken(&b->r, ES_COPIED, s.size);
    rc = add_segment(b, &s);
    return rc < 0 ? fail(b, rc, file) : 0;
}

/* ---- the rest ---- */

static int write_manifest(struct backup *b) {
    char text[1024];
    struct es_buffer manifest = {0};
    struct es_settings settings = b->db->settings;
    settings.backup = true;
    size_t len = es_settings_print(&settings, text, sizeof text);
    int rc = es_write_file(b->db, b->place.dir, "store.yaml", text, len);
    struct es_backup_manifest *m = &b->is;
    memcpy(m->store_id, settings.user.store_id, sizeof m->store_id);
    m->incarnation = settings.incarnation;
    m->made_us = es_clock_us();
    m->end_index = b->end.index;
    m->end_position = b->end.position;
    m->end_checksum = b->end.checksum;
    m->last_epoch_us = b->end.last_epoch_us;
    if (rc == 0)
        rc = es_manifest_print(m, &manifest);
    if (rc == 0)
        rc = es_write_file(b->db, b->place.dir, ES_BACKUP_MANIFEST, manifest.at, manifest.len);
    es_buffer_release(&manifest);
    return rc;
}

static int fill(struct backup *b) {
    b->log = es_new_directory_folder(&b->place, "log");
    b->tables = b->log < 0 ? b->log : es_new_directory_folder(&b->place, "tables");
    int rc = b->tables < 0 ? fail(b, b->tables, "folders") : 0;
    for (size_t i = 0; rc == 0 && i + 1 < b->count; i++)
        rc = take_sealed(b, b->names[i], b->names[i + 1]);
    if (rc == 0)
        rc = take_last(b);
    if (rc < 0)
        return rc;
    es_take_tables(b->db, b->tables, b->visible.segment, b->o->copy);
    rc = write_manifest(b);
    int folders[] = {b->log, b->tables, b->place.dir};
    for (size_t i = 0; rc == 0 && i < 3; i++) {
        rc = es_adopt_directory(b->db, folders[i]);
        if (rc == 0)
            rc = es_fsync(folders[i]);
    }
    return rc < 0 ? fail(b, rc, "writing the backup") : 0;
}

/* The segments that hold what is visible. */
static int list_segments(struct backup *b) {
    int rc = es_segment_list(b->db, &b->names, &b->count, b->err);
    if (rc < 0)
        return rc;
    while (b->count > 0 && b->names[b->count - 1] > b->visible.segment)
        b->count--;
    if (b->count == 0 || b->names[b->count - 1] != b->visible.segment)
        return es_fail_at(b->err, ESDB_ECORRUPT, "log", 0, "%s/log: a segment is missing", b->db->path);
    for (size_t i = 0; i < b->count; i++) {
        char file[ES_NAME_SIZE];
        struct stat st;
        es_segment_name(b->names[i], ES_NAME_LOG, file);
        if (i + 1 < b->count && es_fstatat(b->db->log, file, &st) == 0)
            b->total += (uint64_t)st.st_size;
    }
    b->total += b->visible.end_offset;
    return 0;
}

int esdb_backup(esdb *db, const char *target, const struct esdb_backup_options *o, struct esdb_backup_result *out,
                struct esdb_error *err) {
    struct backup b = {.db = db, .o = o, .err = err, .log = -1, .tables = -1, .old = -1, .old_log = -1};
    int rc = es_visible_all(db, &b.visible, err);
    if (rc == 0)
        rc = list_segments(&b);
    if (rc == 0) {
        rc = es_new_directory_begin(&b.place, target, db->uid, err);
        if (rc == 0)
            rc = look_at_place(&b);
        if (rc == 0)
            rc = fill(&b);
        es_close(&b.tables);
        es_close(&b.log);
        es_close(&b.old_log);
        if (rc == 0)
            rc = es_new_directory_commit(&b.place, b.r.incremental, err);
        if (rc < 0)
            es_new_directory_abort(&b.place);
    }
    es_close(&b.old);
    free(b.names);
    es_manifest_release(&b.was);
    es_manifest_release(&b.is);
    if (rc < 0)
        return rc;
    b.r.end_position = b.end.position;
    b.r.last_epoch_us = b.end.last_epoch_us;
    *out = b.r;
    return 0;
}
