#include "rewrite.h"

#include <errno.h>
#include <fcntl.h>

#include "os.h"
#include "pack.h"
#include "packed.h"
#include "segment.h"
#include "thin.h"

#define WRITE_SIZE (1u << 20)
#define WORTH 16u /* compression that saves less than this part is not worth its price */

struct rewriting {
    struct es_rewrite *r;
    struct es_thinner thinner;
    struct es_segment_file old;
    size_t forgotten;
    int fd; /* the new file */
    bool packs;
    struct es_packer packer;
    struct es_buffer pending; /* when it does not pack */
    uint64_t written;
    struct esdb_error *err;
};

static int flush(struct rewriting *x) {
    int rc = es_pwrite(x->fd, x->pending.at, x->pending.len, x->written);
    if (rc == 0) {
        es_write_ahead(x->fd, x->written, x->pending.len);
        x->written += x->pending.len;
        x->pending.len = 0;
    }
    return rc;
}

static int put(void *context, const unsigned char *bytes, size_t len) {
    struct rewriting *x = context;
    if (x->packs)
        return es_packer_put(&x->packer, bytes, len);
    int rc = es_buffer_add(&x->pending, bytes, len);
    return rc == 0 && x->pending.len >= WRITE_SIZE ? flush(x) : rc;
}

static int end(struct rewriting *x) {
    int rc = x->packs ? es_packer_end(&x->packer) : flush(x);
    if (x->packs)
        x->written = x->packer.written;
    return rc;
}

static int fate_in(void *context, const struct fmt_event *e) {
    struct rewriting *x = context;
    return x->r->fate(x->r->context, e);
}

static void passed(void *context, size_t offset) {
    struct rewriting *x = context;
    es_segment_file_passed(&x->old, &x->forgotten, offset);
}

/* Frame by frame: they must be whole and lead to where the old ones do. NULL, or what is wrong. */
static const char *compare(struct rewriting *x, struct es_segment_file *made) {
    const struct fmt_walk *old = &x->thinner.w;
    struct fmt_walk w;
    struct fmt_frame f;
    size_t forgotten = 0;
    const char *wrong = x->packs ? fmt_packed_table_check(&made->packed.header, made->map, made->map_len) : NULL;
    if (wrong)
        return wrong;
    es_segment_file_walk(made, &w);
    while (fmt_walk_peek(&w, &f) == FMT_OK && fmt_walk_check(&w, &f) == FMT_OK) {
        fmt_walk_pass(&w, &f);
        es_segment_file_passed(made, &forgotten, w.offset);
    }
    if (w.offset != w.size || w.index != old->index || w.position != old->position || w.term != old->term ||
        w.prev_checksum != old->prev_checksum || w.last_epoch_us != old->last_epoch_us || w.rolled != old->rolled)
        return w.fault ? w.fault : "does not end as the old one does";
    return NULL;
}

/* Reads the new file from the disk. */
static int check(struct rewriting *x) {
    struct es_segment_file made = {0};
    const char *wrong = NULL;
    int rc = es_fdatasync(x->fd);
    if (rc < 0)
        return rc;
    es_drop_cache(x->fd);
    rc = es_segment_file_open(x->fd, x->written, &made, &wrong);
    if (rc == 0) {
        wrong = compare(x, &made);
        es_segment_file_close(&made);
    }
    return wrong ? es_fail(x->err, -EIO, "a rewritten segment: %s", wrong) : rc;
}

/* es_create_durably's fill. */
static int fill(void *context, int fd) {
    struct rewriting *x = context;
    x->fd = x->packer.fd = fd;
    int rc = es_thin(&x->thinner, x->old.base, x->old.size, x->err);
    if (rc == 0)
        rc = end(x);
    if (rc == 0 && x->r->nothing_new && x->packs && x->written > x->old.map_len - x->old.map_len / WORTH) {
        x->r->kept = true;
        return -ECANCELED;
    }
    if (rc == 0)
        rc = es_set_mode(fd, x->r->db->mode & 0444);
    return rc == 0 ? check(x) : rc;
}

static int open_old(struct rewriting *x, const char *file) {
    struct stat st;
    const char *wrong = NULL;
    int fd = es_openat_stat(x->r->db->log, file, O_RDONLY, 0, &st);
    if (fd < 0)
        return fd;
    int rc = es_segment_file_open(fd, (uint64_t)st.st_size, &x->old, &wrong);
    es_close(&fd);
    return wrong ? es_fail(x->err, ESDB_ECORRUPT, "offset 0: %s", wrong) : rc;
}

static int run(struct rewriting *x, const char *file) {
    struct es_rewrite *r = x->r;
    int rc = open_old(x, file);
    if (rc < 0)
        return rc;
    bool was_packed = x->old.memory != NULL;
    uint64_t now = es_clock_us(), before = x->old.header.rewritten_us;
    x->packs = r->form == ES_AS_IT_WAS ? was_packed : r->form == ES_COMPRESSED;
    x->thinner = (struct es_thinner){.fate = fate_in,
                                     .put = put,
                                     .passed = passed,
                                     .context = x,
                                     .need = was_packed ? es_unpacked_need : NULL,
                                     .need_context = &x->old.unpacked,
                                     .decision_index = r->decision_index,
                                     .rewritten_us = now > before ? now : before + 1};
    rc = es_create_durably(r->db, r->db->log, file, fill, x);
    r->events = x->thinner.events;
    r->bytes_before = x->old.map_len;
    r->bytes = x->written;
    r->compressed = x->packs && !was_packed;
    r->decompressed = was_packed && !x->packs;
    es_thin_release(&x->thinner);
    es_packer_release(&x->packer);
    es_buffer_release(&x->pending);
    es_segment_file_close(&x->old);
    return r->kept ? 0 : rc;
}

int es_rewrite_segment(struct es_rewrite *r, struct esdb_error *err) {
    struct esdb_error why = {0};
    struct rewriting x = {.r = r, .fd = -1, .err = &why};
    char file[ES_NAME_SIZE], path[ES_NAME_SIZE];
    es_segment_name(r->name, ES_NAME_LOG, file);
    es_segment_path(r->name, ES_NAME_LOG, path);
    int rc = run(&x, file);
    if (rc < 0 && why.code != 0)
        return es_fail_at(err, rc, path, why.offset, "%s/%s, %s", r->db->path, path, why.text);
    return rc < 0 ? es_fail_at(err, rc, path, 0, "%s/%s: compacting it", r->db->path, path) : 0;
}
