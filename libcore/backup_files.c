#include "backup_files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "directory_units.h"
#include "format/bytes.h"
#include "format/checksum.h"
#include "os.h"

#define COPY_BYTES (1u << 20)

/* ---- taking ---- */

static int copy_bytes(int from, int to, uint64_t size) {
    unsigned char *block = malloc(COPY_BYTES);
    int rc = block ? 0 : -ENOMEM;
    for (uint64_t at = 0; rc == 0 && at < size;) {
        size_t want = size - at < COPY_BYTES ? (size_t)(size - at) : COPY_BYTES;
        ssize_t n = es_pread(from, block, want, at);
        if (n < 0)
            rc = (int)n;
        else if ((size_t)n < want)
            rc = -EIO; /* it became shorter */
        else
            rc = es_pwrite(to, block, want, at);
        at += want;
    }
    free(block);
    return rc;
}

static int make_file(const esdb *db, int dir, const char *name) {
    int fd = es_openat(dir, name, O_RDWR | O_CREAT | O_EXCL, 0600);
    if (fd >= 0)
        es_adopt_file(db, fd);
    return fd;
}

int es_take_file(const esdb *db, int from, const char *name, int to, bool copy, enum es_taken *how) {
    struct stat st;
    *how = ES_LINKED;
    int rc = copy ? -EOPNOTSUPP : es_linkat(from, name, to, name);
    if (rc == 0 || rc == -ENOENT)
        return rc;
    int source = es_openat_stat(from, name, O_RDONLY, 0, &st); /* another file system, or somebody else's file */
    if (source < 0)
        return source;
    int fd = make_file(db, to, name);
    rc = fd;
    if (fd >= 0) {
        *how = ES_CLONED;
        rc = copy ? -EOPNOTSUPP : es_clone(source, fd);
        if (rc < 0) {
            *how = ES_COPIED;
            rc = copy_bytes(source, fd, (uint64_t)st.st_size);
        }
        if (rc == 0)
            rc = es_set_mode(fd, db->mode & 0444);
        if (rc == 0)
            rc = es_fsync(fd);
        es_close(&fd);
        if (rc < 0)
            es_unlinkat(to, name);
    }
    es_close(&source);
    return rc;
}

/* Another file may have taken its place, and this one's descriptor been closed: the mapping leads to this one. */
static int copy_mapped(const struct es_segment *seg, int to, uint64_t size) {
    return seg->map && size <= seg->map_len ? es_pwrite(to, seg->map, (size_t)size, 0) : -ESTALE;
}

static int copy_content(esdb *db, struct es_segment *seg, int to, uint64_t size) {
    int rc = size <= seg->size ? es_segment_map(db, seg, NULL) : -ESTALE;
    for (uint64_t at = 0; rc == 0 && at < size; at += COPY_BYTES) {
        uint64_t step = size - at < COPY_BYTES ? size - at : COPY_BYTES;
        es_segment_need(seg, at, step);
        rc = es_pwrite(to, seg->map + at, (size_t)step, at);
    }
    return rc;
}

int es_copy_segment(esdb *db, struct es_segment *seg, uint64_t size, int to, const char *name, int *out,
                    struct esdb_error *err) {
    struct esdb_error why = {0};
    int from = seg->is_packed ? -ESTALE : es_segment_descriptor(db, seg, &why);
    if (from < 0 && from != -ESTALE)
        return es_fail(err, from, "%s", why.text);
    int fd = make_file(db, to, name);
    if (fd < 0)
        return fd;
    int rc = seg->is_packed ? copy_content(db, seg, fd, size)
             : from < 0     ? copy_mapped(seg, fd, size)
                            : copy_bytes(from, fd, size);
    if (rc < 0) {
        es_close(&fd);
        es_unlinkat(to, name);
        return rc;
    }
    *out = fd;
    return 0;
}

int es_write_file(const esdb *db, int dir, const char *name, const void *bytes, size_t len) {
    int fd = make_file(db, dir, name);
    if (fd < 0)
        return fd;
    int rc = es_pwrite(fd, bytes, len, 0);
    if (rc == 0)
        rc = es_fsync(fd);
    es_close(&fd);
    return rc;
}

int es_adopt_directory(const esdb *db, int dir) {
    struct stat st;
    int rc = es_fstat(db->dir, &st);
    if (rc == 0 && es_uid() == 0)
        rc = es_set_owner(dir, st.st_uid, st.st_gid);
    return rc == 0 ? es_set_mode(dir, (st.st_mode & 07777) | 0700) : rc;
}

/* ---- checking ---- */

static int damaged(const char *path, uint64_t offset, const char *what, bool newer, struct esdb_error *err) {
    return es_fail_at(err, newer ? ESDB_EUSAGE : ESDB_ECORRUPT, path, offset, "%s, offset %llu: %s", path,
                      (unsigned long long)offset, what);
}

struct es_log_end es_log_end_of(const struct fmt_segment *next) {
    return (struct es_log_end){next->first_index - 1, next->first_position, next->prev_checksum, next->last_epoch_us};
}

int es_check_segment(const struct fmt_segment *header, struct fmt_walk *w, uint64_t name,
                     const unsigned char store_id[16], const char *path, struct es_log_end *end,
                     struct esdb_error *err) {
    struct fmt_frame f;
    const char *wrong = NULL;
    if (header->first_index != name)
        wrong = "segment has the name of another one";
    else if (memcmp(header->store_id, store_id, sizeof header->store_id) != 0)
        wrong = "segment belongs to another store";
    else if (header->first_index != end->index + 1 || header->first_position != end->position ||
             header->prev_checksum != end->checksum)
        wrong = "does not continue the segment before";
    if (wrong)
        return damaged(path, 0, wrong, false, err);
    int rc;
    while ((rc = fmt_walk_peek(w, &f)) == FMT_OK && (rc = fmt_walk_check(w, &f)) == FMT_OK)
        fmt_walk_pass(w, &f);
    if (rc == FMT_BAD)
        return damaged(path, w->fault_offset, w->fault, w->newer, err);
    if (!fmt_walk_rest_is_zero(w))
        return damaged(path, w->offset, "bytes after the last frame", false, err);
    *end = (struct es_log_end){w->index - 1, w->position, w->prev_checksum, w->last_epoch_us};
    return 0;
}

/* Of a compressed file: frames that are whole prove their bytes, not the table that leads to them. */
static int check_packed(const struct es_segment_file *f, const char *path, struct esdb_error *err) {
    const char *wrong = f->memory ? fmt_packed_table_check(&f->packed.header, f->map, f->map_len) : NULL;
    return wrong ? damaged(path, f->packed.header.table_offset, wrong, false, err) : 0;
}

int es_check_segment_file(int log, const char *path, const unsigned char store_id[16], uint64_t name,
                          struct es_log_end *end, struct es_backup_segment *out, struct esdb_error *err) {
    char file[ES_NAME_SIZE], where[4096];
    struct es_segment_file f = {0};
    struct fmt_walk w;
    struct stat st;
    const char *wrong = NULL;
    es_segment_name(name, ES_NAME_LOG, file);
    snprintf(where, sizeof where, "%s/log/%s", path, file);
    int fd = es_openat_stat(log, file, O_RDONLY, 0, &st);
    if (fd < 0)
        return es_fail_at(err, fd, file, 0, "%s", where);
    int rc = es_segment_file_open(fd, (uint64_t)st.st_size, &f, &wrong);
    es_close(&fd);
    if (wrong)
        return damaged(where, 0, wrong, rc == ESDB_EUSAGE, err);
    if (rc < 0)
        return es_fail(err, rc, "%s", where);
    es_segment_file_walk(&f, &w);
    rc = check_packed(&f, where, err);
    if (rc == 0)
        rc = es_check_segment(&f.header, &w, name, store_id, where, end, err);
    if (rc == 0)
        *out = (struct es_backup_segment){name, f.map_len, fmt_checksum(f.map, f.map_len), end->checksum,
                                          (uint64_t)st.st_ino};
    es_segment_file_close(&f);
    return rc;
}

/* ---- derived files ---- */

void es_take_index(const esdb *db, int from, uint64_t segment, int to, bool copy) {
    char name[ES_NAME_SIZE];
    enum es_taken how;
    es_segment_name(segment, ES_NAME_INDEX, name);
    es_take_file(db, from, name, to, copy, &how);
}

struct tables {
    const esdb *db;
    int to;
    uint64_t before;
    bool copy;
};

static int take_table(void *context, const char *name) {
    const struct tables *t = context;
    uint64_t first, last;
    enum es_taken how;
    if (es_table_name_parse(name, &first, &last) && last < t->before)
        es_take_file(t->db, t->db->tables, name, t->to, t->copy, &how);
    return 0;
}

void es_take_tables(const esdb *db, int to, uint64_t before, bool copy) {
    struct tables t = {db, to, before, copy};
    if (db->tables >= 0)
        es_list_dir(db->tables, ".", take_table, &t);
}
