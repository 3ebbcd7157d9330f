#include "block_cache.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "os.h"

#define SLOTS 8u /* a block stays valid until so many others were fetched: a look-up holds one while it asks another */
#define FILES_MAX 100  /* open at a time: descriptors are few */
#define READS_MAX 512u /* of one table; then it is mapped: a page fault at a random place costs two reads of a block */

struct es_block_cache {
    unsigned files; /* open now */
    uint64_t last_file;
    unsigned next; /* slot to be used next */
    struct {
        uint64_t file; /* 0: empty */
        uint32_t number;
    } tag[SLOTS];
    unsigned char block[SLOTS][FMT_BLOCK_SIZE];
};

/* One table's file. */
struct es_table_blocks {
    struct fmt_block_source source;
    struct es_block_cache *cache;
    uint64_t file; /* its number in the cache */
    int fd;        /* -1: mapped */
    unsigned reads;
    struct es_table whole; /* once it is mapped */
    uint64_t size;
};

static const unsigned char *fetch(struct es_table_blocks *b, uint32_t number) {
    struct es_block_cache *c = b->cache;
    for (unsigned i = 0; i < SLOTS; i++)
        if (c->tag[i].file == b->file && c->tag[i].number == number)
            return c->block[i];
    unsigned slot = c->next;
    unsigned char *block = c->block[slot];
    c->tag[slot].file = 0;
    b->reads++;
    if (es_pread(b->fd, block, FMT_BLOCK_SIZE, (uint64_t)number * FMT_BLOCK_SIZE) != (ssize_t)FMT_BLOCK_SIZE ||
        !fmt_block_intact(block))
        return NULL;
    c->tag[slot].file = b->file;
    c->tag[slot].number = number;
    c->next = (slot + 1) % SLOTS;
    return block;
}

static int hold(void *context) {
    struct es_table_blocks *b = context;
    if (b->fd < 0)
        return 0;
    int rc = es_table_map(b->fd, b->size, &b->whole);
    if (rc < 0)
        return rc;
    es_close(&b->fd);
    b->cache->files--;
    return 0;
}

static const unsigned char *block(void *context, uint32_t number) {
    struct es_table_blocks *b = context;
    if (b->fd >= 0 && b->reads >= READS_MAX && hold(b) < 0)
        b->reads = 0; /* later */
    return b->fd >= 0 ? fetch(b, number) : fmt_table_verified(&b->whole.table, number);
}

void es_table_blocks_close(struct es_table_blocks *b) {
    if (!b)
        return;
    if (b->fd >= 0)
        b->cache->files--;
    es_close(&b->fd);
    es_table_close(&b->whole);
    free(b);
}

void es_block_cache_close(struct es_block_cache *c) {
    free(c);
}

/* A file of `size` bytes that is open as *fd. Takes the descriptor on success. */
static int begin(struct es_block_cache *c, int *fd, uint64_t size, struct es_table *out) {
    if (size < FMT_BLOCK_SIZE || size > SIZE_MAX)
        return ESDB_ECORRUPT;
    struct es_table_blocks *b = calloc(1, sizeof *b);
    if (!b)
        return -ENOMEM;
    *b = (struct es_table_blocks){
        .source = {block, hold, b}, .cache = c, .file = ++c->last_file, .fd = *fd, .size = size};
    struct es_table t = {.blocks = b};
    const unsigned char *first = fetch(b, 0);
    if (!first || fmt_table_open_source(&t.table, first, (size_t)size, &b->source)) {
        free(b);
        return ESDB_ECORRUPT;
    }
    c->files++;
    *fd = -1;
    *out = t;
    return 0;
}

int es_table_open_cached(struct es_block_cache **cache, int dir, const char *name, struct es_table *out) {
    struct stat st;
    if (!*cache && (*cache = malloc(sizeof **cache)))
        memset(*cache, 0, offsetof(struct es_block_cache, block));
    if (!*cache || (*cache)->files >= FILES_MAX)
        return es_table_open(dir, name, out);
    int fd = es_openat_stat(dir, name, O_RDONLY, 0, &st);
    if (fd < 0)
        return fd;
    int rc = begin(*cache, &fd, (uint64_t)st.st_size, out);
    es_close(&fd);
    return rc;
}
