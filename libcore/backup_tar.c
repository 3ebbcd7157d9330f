/* esdb_backup_tar: a backup as a stream, for pipes. Each segment is checked before it is written; the manifest comes last,
 * so that what was cut off is no backup. Derived files stay out: esdb-backup restore makes them. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backup_files.h"
#include "format/checksum.h"
#include "os.h"
#include "tar.h"
#include "visible.h"

#define PIECE (1u << 20)
#define NAME_MAX_TAR 60u /* of the directory: paths fit into a header */

struct stream {
    esdb *db;
    const char *name;
    const struct esdb_backup_options *o;
    struct esdb_backup_result r;
    struct es_visible visible;
    struct es_tar tar;
    struct es_backup_manifest manifest;
    struct es_log_end end;
    uint64_t total, mtime;
    struct esdb_error *err;
};

static int put_file(struct stream *s, const char *file, unsigned mode, const void *bytes, uint64_t size) {
    char path[ES_TAR_NAME_MAX + 1];
    snprintf(path, sizeof path, "%s/%s", s->name, file);
    int rc = es_tar_file(&s->tar, path, mode, s->mtime, size);
    for (uint64_t at = 0; rc == 0 && at < size; at += PIECE)
        rc = es_tar_bytes(&s->tar, (const char *)bytes + at, size - at < PIECE ? (size_t)(size - at) : PIECE);
    return rc < 0 ? es_fail(s->err, rc, "writing the archive") : 0;
}

static int put_directory(struct stream *s, const char *folder) {
    char path[ES_TAR_NAME_MAX + 1];
    snprintf(path, sizeof path, "%s/%s", s->name, folder);
    int rc = es_tar_directory(&s->tar, path, 0700, s->mtime);
    return rc < 0 ? es_fail(s->err, rc, "writing the archive") : 0;
}

static int put_segment(struct stream *s, uint64_t name) {
    char path[ES_NAME_SIZE], where[4096];
    struct es_segment *seg;
    int rc = es_segment_get(s->db, name, &seg, s->err);
    if (rc == 0)
        rc = es_segment_grow(s->db, seg, s->err);
    if (rc < 0)
        return rc;
    uint64_t size = name == s->visible.segment ? s->visible.end_offset : seg->size;
    const unsigned char *file = seg->map;
    struct fmt_walk w;
    es_segment_path(name, ES_NAME_LOG, path);
    snprintf(where, sizeof where, "%s/%s", s->db->path, path);
    if (size > seg->size)
        return es_fail_at(s->err, ESDB_ECORRUPT, path, seg->size, "%s: the segment ends too early", where);
    es_segment_walk(seg, &w);
    w.size = (size_t)size;
    rc = es_check_segment(&seg->header, &w, name, s->db->settings.user.store_id, where, &s->end, s->err);
    if (seg->is_packed) { /* it stays compressed */
        file = seg->packed.map;
        size = seg->packed.map_len;
    }
    if (rc == 0)
        rc = put_file(s, path, 0440, file, size);
    if (rc < 0)
        return rc;
    struct es_backup_segment m = {name, size, fmt_checksum(file, (size_t)size), s->end.checksum, (uint64_t)seg->inode};
    s->r.segments++;
    s->r.copied++;
    s->r.bytes += size;
    s->r.new_bytes += size;
    if (s->o->progress)
        s->o->progress(s->o->context, s->r.bytes, s->total);
    rc = es_buffer_add(&s->manifest.segments, &m, sizeof m);
    return rc < 0 ? es_fail(s->err, rc, "%s", where) : 0;
}

static int put_segments(struct stream *s) {
    uint64_t *names;
    size_t count;
    int rc = es_segment_list(s->db, &names, &count, s->err);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < count; i++) {
        char file[ES_NAME_SIZE];
        struct stat st;
        es_segment_name(names[i], ES_NAME_LOG, file);
        if (names[i] < s->visible.segment && es_fstatat(s->db->log, file, &st) == 0)
            s->total += (uint64_t)st.st_size;
    }
    s->total += s->visible.end_offset;
    for (size_t i = 0; rc == 0 && i < count && names[i] <= s->visible.segment; i++)
        rc = put_segment(s, names[i]);
    free(names);
    if (rc == 0 && s->end.index != s->visible.index)
        rc = es_fail_at(s->err, ESDB_ECORRUPT, "log", 0, "%s/log: ends before frame %" PRIu64, s->db->path,
                        s->visible.index);
    return rc;
}

static int put_manifest(struct stream *s) {
    struct es_buffer text = {0};
    struct es_backup_manifest *m = &s->manifest;
    memcpy(m->store_id, s->db->settings.user.store_id, sizeof m->store_id);
    m->incarnation = s->db->settings.incarnation;
    m->made_us = es_clock_us();
    m->end_index = s->end.index;
    m->end_position = s->end.position;
    m->end_checksum = s->end.checksum;
    m->last_epoch_us = s->end.last_epoch_us;
    int rc = es_manifest_print(m, &text);
    rc = rc < 0 ? es_fail(s->err, rc, "the manifest") : put_file(s, ES_BACKUP_MANIFEST, 0600, text.at, text.len);
    es_buffer_release(&text);
    return rc;
}

static int put_all(struct stream *s) {
    char text[1024];
    struct es_settings settings = s->db->settings;
    settings.backup = true;
    size_t len = es_settings_print(&settings, text, sizeof text);
    int rc = put_directory(s, "");
    if (rc == 0)
        rc = put_file(s, "store.yaml", 0600, text, len);
    if (rc == 0)
        rc = put_directory(s, "log/");
    if (rc == 0)
        rc = put_segments(s);
    if (rc == 0)
        rc = put_manifest(s);
    if (rc == 0 && (rc = es_tar_end(&s->tar)) < 0)
        es_fail(s->err, rc, "writing the archive");
    return rc;
}

int esdb_backup_tar(esdb *db, const char *name, int (*write)(void *context, const void *bytes, size_t len),
                    const struct esdb_backup_options *o, struct esdb_backup_result *out, struct esdb_error *err) {
    struct stream s = {.db = db, .name = name, .o = o, .err = err, .mtime = es_clock_us() / 1000000};
    size_t len = strlen(name);
    if (len == 0 || len > NAME_MAX_TAR || strchr(name, '/') || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return es_fail(err, ESDB_EUSAGE, "'%s' cannot be the name of the directory in the archive", name);
    s.tar = (struct es_tar){.write = write, .context = o->context};
    int rc = es_visible_all(db, &s.visible, err);
    if (rc == 0)
        rc = put_all(&s);
    es_manifest_release(&s.manifest);
    if (rc < 0)
        return rc;
    s.r.end_position = s.end.position;
    s.r.last_epoch_us = s.end.last_epoch_us;
    *out = s.r;
    return 0;
}
