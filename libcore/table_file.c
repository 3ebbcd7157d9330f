#include "table_file.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "error.h"
#include "os.h"

/* ---- reading ---- */

/* Without the bitmap each touch verifies again: slower, not wrong. */
static void add_bitmap(struct es_table *t) {
    t->verified = calloc(1, fmt_table_bitmap_size(&t->table));
    t->table.verified = t->verified;
}

int es_table_map(int fd, uint64_t size, struct es_table *out) {
    if (size < FMT_BLOCK_SIZE || size > SIZE_MAX)
        return ESDB_ECORRUPT;
    struct es_table t = {.map_len = (size_t)size};
    int rc = es_mmap(fd, t.map_len, false, &t.map);
    if (rc < 0)
        return rc;
    if (fmt_table_open(&t.table, t.map, t.map_len)) {
        es_munmap(t.map, t.map_len);
        return ESDB_ECORRUPT;
    }
    add_bitmap(&t);
    *out = t;
    return 0;
}

int es_table_open(int dir, const char *name, struct es_table *out) {
    struct stat st;
    int fd = es_openat_stat(dir, name, O_RDONLY, 0, &st);
    if (fd < 0)
        return fd;
    int rc = es_table_map(fd, (uint64_t)st.st_size, out);
    es_close(&fd);
    return rc;
}

void es_table_adopt(struct es_table *out, struct es_buffer *image) {
    *out = (struct es_table){.image = *image};
    const char *wrong = fmt_table_open(&out->table, out->image.at, out->image.len);
    assert(!wrong);
    (void)wrong;
    *image = (struct es_buffer){0};
    add_bitmap(out);
}

void es_table_close(struct es_table *t) {
    es_table_blocks_close(t->blocks);
    es_munmap(t->map, t->map_len);
    es_buffer_release(&t->image);
    free(t->verified);
    *t = (struct es_table){0};
}

/* ---- writing ---- */

enum { PENDING_MAX = 256 << 10 };

/* The owner of the directory owns what is in it, whoever made it (a cron job of root does not lock the user out). */
static int give_to_owner(int dir, int fd, mode_t mode) {
    struct stat st;
    int rc = es_fstat(dir, &st);
    if (rc == 0 && es_uid() == 0 && (st.st_uid != 0 || st.st_gid != 0))
        rc = es_set_owner(fd, st.st_uid, st.st_gid);
    return rc == 0 ? es_set_mode(fd, mode) : rc;
}

int es_table_writer_open(struct es_table_writer *w, int dir, const char *name, mode_t mode) {
    uint32_t chance;
    *w = (struct es_table_writer){.dir = dir, .fd = -1};
    int rc = es_random(&chance, sizeof chance);
    if (rc < 0)
        return rc;
    int n = snprintf(w->name, sizeof w->name, "%s", name);
    assert(n > 0 && (size_t)n < sizeof w->name);
    n = snprintf(w->temporary, sizeof w->temporary, "%s.%lx-%08" PRIx32 ES_TABLE_TEMPORARY, name, (long)getpid(),
                 chance);
    assert(n > 0 && (size_t)n < sizeof w->temporary);
    w->fd = es_openat(dir, w->temporary, O_RDWR | O_CREAT | O_EXCL, mode);
    if (w->fd < 0)
        return w->fd;
    rc = give_to_owner(dir, w->fd, mode);
    if (rc < 0)
        es_table_writer_abort(w);
    return rc;
}

static int flush(struct es_table_writer *w) {
    int rc = w->pending.len ? es_pwrite(w->fd, w->pending.at, w->pending.len, w->pending_at) : 0;
    w->pending.len = 0;
    return rc;
}

int es_table_writer_block(void *context, uint32_t number, const unsigned char block[FMT_BLOCK_SIZE]) {
    struct es_table_writer *w = context;
    uint64_t at = (uint64_t)number * FMT_BLOCK_SIZE;
    int rc = 0;
    if (w->pending.len >= PENDING_MAX || at != w->pending_at + w->pending.len)
        rc = flush(w);
    if (rc < 0)
        return rc;
    if (w->pending.len == 0)
        w->pending_at = at;
    return es_buffer_add(&w->pending, block, FMT_BLOCK_SIZE);
}

int es_table_writer_commit(struct es_table_writer *w) {
    int rc = flush(w);
    if (rc == 0)
        rc = es_renameat(w->dir, w->temporary, w->name);
    if (rc < 0) {
        es_table_writer_abort(w);
        return rc;
    }
    es_close(&w->fd);
    es_buffer_release(&w->pending);
    return 0;
}

void es_table_writer_abort(struct es_table_writer *w) {
    es_close(&w->fd);
    es_unlinkat(w->dir, w->temporary);
    es_buffer_release(&w->pending);
}

int es_table_save(int dir, const char *name, const unsigned char *bytes, size_t len, mode_t mode) {
    struct es_table_writer w;
    int rc = es_table_writer_open(&w, dir, name, mode);
    if (rc < 0)
        return rc;
    rc = es_pwrite(w.fd, bytes, len, 0);
    if (rc == 0)
        return es_table_writer_commit(&w);
    es_table_writer_abort(&w);
    return rc;
}

int es_table_image_block(void *context, uint32_t number, const unsigned char block[FMT_BLOCK_SIZE]) {
    struct es_buffer *image = context;
    size_t at = (size_t)number * FMT_BLOCK_SIZE, end = at + FMT_BLOCK_SIZE;
    if (end > image->len) {
        int rc = es_buffer_reserve(image, end - image->len);
        if (rc < 0)
            return rc;
        image->len = end;
    }
    memcpy(image->at + at, block, FMT_BLOCK_SIZE);
    return 0;
}

/* ---- fences ---- */

struct fence {
    size_t key_at; /* in keys */
    uint32_t block;
    uint32_t key_len;
};

static int add_fence(void *context, unsigned level, const char *key, size_t key_len, uint32_t block) {
    struct es_fences *f = context;
    if (level >= FMT_TREE_LEVELS)
        return -E2BIG;
    struct es_fence_level *l = &f->level[level];
    struct fence pair = {l->keys.len, block, (uint32_t)key_len};
    int rc = es_buffer_reserve(&l->pairs, sizeof pair);
    if (rc == 0)
        rc = es_buffer_add(&l->keys, key, key_len);
    return rc == 0 ? es_buffer_add(&l->pairs, &pair, sizeof pair) : rc;
}

static bool get_fence(void *context, unsigned level, size_t i, struct fmt_text *key, uint32_t *block) {
    struct es_fences *f = context;
    if (level >= FMT_TREE_LEVELS || i >= f->level[level].pairs.len / sizeof(struct fence))
        return false;
    struct fence pair;
    memcpy(&pair, f->level[level].pairs.at + i * sizeof pair, sizeof pair);
    const char *keys = (const char *)f->level[level].keys.at;
    *key = pair.key_len ? (struct fmt_text){keys + pair.key_at, pair.key_len} : (struct fmt_text){"", 0};
    *block = pair.block;
    return true;
}

struct fmt_fences es_fences_of(struct es_fences *f) {
    return (struct fmt_fences){.add = add_fence, .get = get_fence, .context = f};
}

void es_fences_release(struct es_fences *f) {
    for (unsigned i = 0; i < FMT_TREE_LEVELS; i++) {
        es_buffer_release(&f->level[i].pairs);
        es_buffer_release(&f->level[i].keys);
    }
}
