#include "install.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/bytes.h"
#include "os.h"
#include "tail_scan.h"

#define FOLDER "fetch"

static void part_name(uint64_t segment, char out[ES_NAME_SIZE]) {
    snprintf(out, ES_NAME_SIZE, "%016llx.part", (unsigned long long)segment);
}

/* ---- giving ---- */

/* How much of the segment's file there is up to frame `upto`, which has that checksum. */
static int measure(esdb *db, uint64_t name, uint64_t upto, uint64_t checksum, uint64_t *size, struct esdb_error *err) {
    struct es_segment *seg;
    int rc = es_segment_get(db, name, &seg, err);
    if (rc == 0)
        rc = es_segment_grow(db, seg, err);
    if (rc < 0)
        return rc;
    struct fmt_mark m = es_mark_after(seg, upto);
    if (m.index != upto || m.checksum != checksum)
        return es_fail(err, ESDB_ENOTFOUND, "%s: has no frame %llu with that checksum", db->path,
                       (unsigned long long)upto);
    *size = m.end_offset;
    return 0;
}

static int outline_one(esdb *db, uint64_t name, struct es_outline *out, struct esdb_error *err) {
    struct es_segment *seg;
    int rc = es_segment_open(db, name, &seg, err);
    if (rc < 0)
        return rc;
    const struct fmt_segment *h = &seg->header;
    *out = (struct es_outline){.first_index = h->first_index,
                               .first_position = h->first_position,
                               .prev_checksum = h->prev_checksum,
                               .last_epoch_us = h->last_epoch_us,
                               .last_term = h->last_term,
                               .size = seg->size};
    return 0;
}

int es_outline(esdb *db, uint64_t first, uint64_t upto, uint64_t checksum, struct es_outline **out, size_t *count,
               struct esdb_error *err) {
    uint64_t *names;
    size_t all, from = 0;
    struct es_outline *list = NULL;
    es_segments_close(db); /* another process may have compacted some */
    int rc = es_segment_list(db, &names, &all, err);
    if (rc < 0)
        return rc;
    while (all > 0 && names[all - 1] > upto + 1)
        all--;
    while (from + 1 < all && names[from + 1] <= first)
        from++;
    if (all == 0 || names[from] > first)
        rc = es_fail(err, ESDB_ENOTFOUND, "%s: has no frame %llu", db->path, (unsigned long long)first);
    if (rc == 0 && !(list = calloc(all - from, sizeof *list)))
        rc = es_fail(err, -ENOMEM, "%s", db->path);
    for (size_t i = from; rc == 0 && i < all; i++)
        rc = outline_one(db, names[i], &list[i - from], err);
    size_t n = all - from;
    if (rc == 0 && n > 1 && names[all - 1] == upto + 1 && list[n - 1].prev_checksum == checksum)
        n--; /* frame upto closes a segment */
    else if (rc == 0)
        rc = measure(db, names[all - 1], upto, checksum, &list[n - 1].size, err);
    free(names);
    es_segments_close(db);
    if (rc < 0) {
        free(list);
        return rc;
    }
    *out = list;
    *count = n;
    return 0;
}

/* What travels is what it stands for. Damage is told here: the other node would only see zeros. */
static ssize_t read_packed(esdb *db, struct es_segment *seg, void *buf, size_t len, uint64_t offset,
                           struct esdb_error *err) {
    ssize_t n = es_segment_read(db, seg, buf, len, offset);
    return n < 0 ? es_fail(err, (int)n, "%s: reading segment %016llx", db->path, (unsigned long long)seg->name) : n;
}

ssize_t es_outline_read(esdb *db, uint64_t segment, uint64_t offset, void *buf, size_t len, struct esdb_error *err) {
    struct es_segment *seg;
    int rc = es_segment_open(db, segment, &seg, err);
    if (rc < 0)
        return rc;
    if (seg->is_packed)
        return read_packed(db, seg, buf, len, offset, err);
    int fd = es_segment_descriptor(db, seg, err);
    if (fd == -ESTALE) { /* compacted: that file */
        es_segments_close(db);
        rc = es_segment_open(db, segment, &seg, err);
        if (rc == 0 && seg->is_packed)
            return read_packed(db, seg, buf, len, offset, err);
        fd = rc < 0 ? rc : es_segment_descriptor(db, seg, err);
    }
    if (fd < 0)
        return fd;
    ssize_t n = es_pread(fd, buf, len, offset);
    return n < 0 ? es_fail(err, (int)n, "%s: reading segment %016llx", db->path, (unsigned long long)segment) : n;
}

/* ---- fetching ---- */

int es_part_folder(const esdb *db, struct esdb_error *err) {
    struct stat st;
    int rc = es_fstat(db->dir, &st);
    if (rc == 0)
        rc = es_mkdirat(db->dir, FOLDER, st.st_mode & 0770);
    int fd = rc < 0 && rc != -EEXIST ? rc : es_opendirat(db->dir, FOLDER);
    return fd < 0 ? es_fail(err, fd, "%s/" FOLDER, db->path) : fd;
}

int es_part_open(const esdb *db, int folder, uint64_t segment, uint64_t base, int *fd, uint64_t *have,
                 struct esdb_error *err) {
    char name[ES_NAME_SIZE];
    struct stat st;
    part_name(segment, name);
    *fd = es_openat_stat(folder, name, O_RDWR | O_CREAT, db->mode, &st);
    if (*fd < 0)
        return es_fail(err, *fd, "%s/" FOLDER "/%s", db->path, name);
    if (st.st_size == 0)
        es_adopt_file(db, *fd);
    *have = (uint64_t)st.st_size;
    if (*have >= base)
        return 0;
    int rc = es_ftruncate(*fd, base);
    *have = base;
    if (rc < 0)
        es_close(fd);
    return rc < 0 ? es_fail(err, rc, "%s/" FOLDER "/%s", db->path, name) : 0;
}

/* Notes what installing it will have to know of frame f, which w stands before. */
static void note(struct es_part *p, const struct fmt_walk *w, const struct fmt_frame *f) {
    struct fmt_hole h;
    p->kind = f->kind;
    if (f->kind == FMT_FRAME_CONFIGURATION) {
        p->configuration_at = w->offset;
        p->configuration_len = f->frame_len;
        p->configuration_index = f->index;
    }
    if (!fmt_frame_is_hole(f))
        return;
    fmt_hole_decode(w->base + w->offset + f->header_len, &h);
    p->holes = true;
    if (h.decision_index > p->decision)
        p->decision = h.decision_index;
}

static int bad_part(const esdb *db, uint64_t segment, uint64_t offset, const char *what, struct esdb_error *err) {
    char name[ES_NAME_SIZE];
    part_name(segment, name);
    return es_fail(err, ESDB_ECORRUPT, "%s/" FOLDER "/%s, offset %llu: %s", db->path, name, (unsigned long long)offset,
                   what);
}

/* A walk that stands where the part begins. NULL, or what is wrong. */
static const char *begin_walk(const esdb *db, const unsigned char *map, uint64_t segment, uint64_t size,
                              const struct es_part_begin *b, struct fmt_walk *w) {
    struct fmt_segment h = {.first_index = b->index + 1,
                            .first_position = b->position,
                            .prev_checksum = b->checksum,
                            .last_epoch_us = b->last_epoch_us,
                            .last_term = b->term};
    bool newer = false;
    const char *wrong = b->base == 0 ? fmt_segment_decode(map, (size_t)size, &h, &newer) : NULL;
    if (wrong)
        return wrong;
    if (b->base == 0 && (h.first_index != segment || memcmp(h.store_id, db->settings.user.store_id, 16) != 0))
        return "is another segment, or of another store";
    if (h.first_index != b->index + 1 || h.first_position != b->position || h.prev_checksum != b->checksum)
        return "does not continue the segment before";
    fmt_walk_init(w, &h, map, (size_t)size);
    w->term = h.last_term;
    if (b->base)
        w->offset = (size_t)b->base;
    return NULL;
}

/* The whole of it, frame by frame; pages that were looked at are given back as it goes. */
static const char *check_frames(struct fmt_walk *w, struct es_part *p, size_t *at, unsigned char *map) {
    struct fmt_frame f;
    size_t forgotten = 0;
    int rc;
    while ((rc = fmt_walk_peek(w, &f)) == FMT_OK && (rc = fmt_walk_check(w, &f)) == FMT_OK) {
        note(p, w, &f);
        *at = w->offset;
        fmt_walk_pass(w, &f);
        if (w->offset - forgotten > 8u << 20)
            forgotten = es_forget_pages(map, forgotten, w->offset);
    }
    if (rc == FMT_BAD)
        return w->fault;
    return w->offset != w->size && !w->rolled ? "ends too early" : *at == 0 ? "has no frame" : NULL;
}

int es_part_check(const esdb *db, int fd, uint64_t segment, uint64_t size, const struct es_part_begin *begin,
                  struct es_part *out, struct esdb_error *err) {
    struct es_part p = {.segment = segment, .base = begin->base, .size = size};
    struct fmt_walk w;
    struct stat st;
    void *map = NULL;
    size_t at = 0;
    int rc = es_fstat(fd, &st);
    if (rc == 0 && ((uint64_t)st.st_size < size || size <= begin->base || size < FMT_FRAME_HEADER_SIZE))
        return bad_part(db, segment, (uint64_t)st.st_size, "ends too early", err);
    if (rc == 0 && (uint64_t)st.st_size > size)
        rc = es_ftruncate(fd, size);
    if (rc == 0)
        rc = es_mmap(fd, (size_t)size, false, &map);
    if (rc < 0)
        return es_fail(err, rc, "%s/" FOLDER, db->path);
    const char *wrong = begin_walk(db, map, segment, size, begin, &w);
    uint64_t offset = 0;
    if (!wrong && (wrong = check_frames(&w, &p, &at, map)))
        offset = w.fault ? w.fault_offset : w.offset;
    es_munmap(map, (size_t)size);
    if (wrong)
        return bad_part(db, segment, offset, wrong, err);
    p.size = w.offset;
    rc = p.size < size ? es_ftruncate(fd, p.size) : 0; /* whoever closed it may have died before it was trimmed */
    if (rc == 0)
        rc = es_fdatasync(fd);
    if (rc < 0)
        return es_fail(err, rc, "%s/" FOLDER ": syncing what was fetched", db->path);
    p.end = (struct fmt_mark){.index = w.index - 1,
                              .segment = segment,
                              .frame_offset = at,
                              .end_offset = w.offset,
                              .end_position = w.position,
                              .last_epoch_us = w.last_epoch_us,
                              .checksum = w.prev_checksum};
    p.term = w.term;
    p.rolls = w.rolled;
    *out = p;
    return 0;
}

void es_part_remove(int folder, uint64_t segment) {
    char name[ES_NAME_SIZE];
    part_name(segment, name);
    es_unlinkat(folder, name);
}

static int remove_one(void *context, const char *name) {
    es_unlinkat(*(int *)context, name);
    return 0;
}

void es_part_remove_all(const esdb *db) {
    int folder = es_opendirat(db->dir, FOLDER);
    if (folder < 0)
        return;
    es_list_all(db->dir, FOLDER, remove_one, &folder);
    es_close(&folder);
    es_rmdirat(db->dir, FOLDER);
}
