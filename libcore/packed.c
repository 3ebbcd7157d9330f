#include "packed.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "os.h"

#define KEPT_BYTES (16u << 20)   /* of decompressed blocks stay in memory, beyond what is asked for at once */
#define SLOTS 8u                 /* blocks that single events are read from */
#define GONE 512u                /* that were, and are remembered */
#define AGAIN_MAX 16u            /* of them were wanted again: the slots are too few */
#define SPARE 1024u              /* entries of the queue, so that several contents do not crowd each other out */
#define FORGET_BYTES (16u << 20) /* of a file that is walked through */

/* ---- the file ---- */

int es_packed_open(int fd, uint64_t size, const struct fmt_segment *header, struct es_packed *out) {
    void *map;
    static _Atomic uint64_t opened;
    int rc = es_mmap(fd, (size_t)size, false, &map);
    if (rc == 0)
        *out = (struct es_packed){*header, map, (size_t)size, ++opened};
    return rc;
}

void es_packed_close(struct es_packed *p) {
    es_munmap(p->map, p->map_len);
    p->map = NULL;
}

/* ---- blocks in memory ---- */

/* A queue of the blocks that are in memory; the oldest goes first, but for those that were asked for again since: these go to
 * the end of the queue once more. */
struct here {
    struct es_unpacked *content; /* NULL: it is gone */
    uint32_t block;
    uint64_t since; /* it is in the queue */
};

struct es_block_memory {
    ZSTD_DCtx *decompressor;
    struct here *queue; /* a ring */
    size_t room, first, count;
    uint64_t now;              /* counts what was asked for */
    uint64_t bytes, asked_max; /* in memory; asked for at once so far */
    struct slot {
        uint64_t id, used; /* of the es_packed; 0: empty. When it was read last */
        uint32_t block;
        size_t room;
        unsigned char *bytes; /* owned */
    } slot[SLOTS];
    uint64_t gone[GONE]; /* blocks that left a slot, by their key */
    unsigned again;      /* how many of them were wanted again */
};

struct es_block_memory *es_block_memory_new(void) {
    struct es_block_memory *m = calloc(1, sizeof *m);
    if (m && !(m->decompressor = ZSTD_createDCtx())) {
        free(m);
        return NULL;
    }
    return m;
}

void es_block_memory_free(struct es_block_memory *m) {
    if (!m)
        return;
    ZSTD_freeDCtx(m->decompressor);
    free(m->queue);
    for (size_t i = 0; i < SLOTS; i++)
        free(m->slot[i].bytes);
    free(m);
}

/* Room for as many entries as a content has blocks. */
static bool make_room(struct es_block_memory *m, size_t blocks) {
    size_t room = m->count + blocks + SPARE;
    if (room <= m->room)
        return true;
    struct here *queue = malloc(room * sizeof *queue);
    if (!queue)
        return false;
    for (size_t i = 0; i < m->count; i++)
        queue[i] = m->queue[(m->first + i) % m->room];
    free(m->queue);
    m->queue = queue;
    m->first = 0;
    m->room = room;
    return true;
}

static void enqueue(struct es_block_memory *m, struct es_unpacked *content, uint32_t block) {
    m->queue[(m->first + m->count++) % m->room] = (struct here){content, block, m->now};
}

static void drop_oldest(struct es_block_memory *m) {
    struct here h = m->queue[m->first];
    m->first = (m->first + 1) % m->room;
    m->count--;
    if (!h.content)
        return;
    if (h.content->used[h.block] > h.since) {
        enqueue(m, h.content, h.block);
        return;
    }
    uint32_t size = h.content->from->header.block_size;
    h.content->used[h.block] = 0;
    es_forget_pages(h.content->at, (size_t)h.block * size, ((size_t)h.block + 1) * size);
    m->bytes -= size;
}

/* ---- the content ---- */

int es_unpacked_open(struct es_unpacked *u, const struct es_packed *from, struct es_block_memory *memory,
                     bool ascending) {
    uint32_t count = fmt_packed_count(&from->header);
    size_t len = (size_t)count * from->header.block_size;
    struct es_unpacked made = {.from = from, .memory = memory, .ascending = ascending};
    void *at;
    int rc = make_room(memory, count) && (made.used = calloc(count, sizeof *made.used))
                 ? es_map_memory(len, ascending, &at)
                 : -ENOMEM;
    if (rc < 0) {
        free(made.used);
        return rc;
    }
    made.at = at;
    *u = made;
    return 0;
}

void es_unpacked_close(struct es_unpacked *u) {
    if (!u->at)
        return;
    struct es_block_memory *m = u->memory;
    for (size_t i = 0; i < m->count; i++) {
        struct here *h = &m->queue[(m->first + i) % m->room];
        if (h->content == u) {
            h->content = NULL;
            m->bytes -= u->from->header.block_size;
        }
    }
    es_munmap(u->at, (size_t)fmt_packed_count(&u->from->header) * u->from->header.block_size);
    free(u->used);
    *u = (struct es_unpacked){0};
}

/* The bytes of a block that was found. NULL, or what is wrong. */
static const char *decompress(const struct es_packed *p, struct es_block_memory *m, const struct fmt_packed_block *b,
                              unsigned char *out) {
    if (b->stored_len == b->len) {
        memcpy(out, p->map + b->offset, b->len);
        return NULL;
    }
    size_t n = ZSTD_decompressDCtx(m->decompressor, out, b->len, p->map + b->offset, b->stored_len);
    return n == b->len ? NULL : "it does not decompress to what it should";
}

/* The bytes of block i to where its range begins; those of the header belong to the first. */
static void read_block(const struct es_packed *p, struct es_block_memory *m, uint32_t i, unsigned char *out) {
    const struct fmt_segment *s = &p->header;
    struct fmt_packed_block b;
    size_t before = i == 0 ? s->header_len : 0;
    if (i == 0) {
        struct fmt_segment plain = fmt_packed_plain(s);
        memset(out, 0, before);
        fmt_segment_encode(&plain, out);
    }
    if (fmt_packed_find(s, p->map, p->map_len, i, &b) || decompress(p, m, &b, out + before)) {
        uint64_t from = (uint64_t)i * s->block_size, to = from + s->block_size;
        to = to < s->content_size ? to : s->content_size;
        memset(out + before, 0, (size_t)(to - from) - before);
    }
}

/* What lies more than a large page before is not needed any more. */
static void forget_passed(struct es_unpacked *u, size_t from) {
    size_t size = u->from->header.block_size, end = from / ES_LARGE_PAGE * ES_LARGE_PAGE;
    end = end < ES_LARGE_PAGE ? 0 : end - ES_LARGE_PAGE;
    if (from < u->passed) { /* back again */
        u->passed = end;
        return;
    }
    if (end <= u->passed)
        return;
    memset(u->used + u->passed / size, 0, (end - u->passed) / size * sizeof *u->used);
    u->passed = es_forget_pages(u->at, u->passed, end);
}

void es_unpacked_need(void *context, size_t from, size_t to) {
    struct es_unpacked *u = context;
    struct es_block_memory *m = u->memory;
    const struct fmt_segment *s = &u->from->header;
    if (to > s->content_size)
        to = (size_t)s->content_size;
    if (from >= to)
        return;
    uint32_t first = (uint32_t)(from / s->block_size), last = (uint32_t)((to - 1) / s->block_size);
    uint64_t asked = (uint64_t)(last - first + 1) * s->block_size;
    if (asked > m->asked_max)
        m->asked_max = asked;
    if (u->ascending)
        forget_passed(u, from);
    m->now++;
    for (uint32_t i = first; i <= last; i++)
        if (u->used[i])
            u->used[i] = m->now;
    for (uint32_t i = first; i <= last; i++) {
        if (u->used[i])
            continue;
        while (m->count == m->room || (m->count > 0 && m->bytes + s->block_size > m->asked_max + KEPT_BYTES))
            drop_oldest(m);
        read_block(u->from, m, i, u->at + (size_t)i * s->block_size);
        u->used[i] = m->now;
        if (u->ascending)
            continue;
        enqueue(m, u, i);
        m->bytes += s->block_size;
    }
}

static uint64_t key_of(uint64_t id, uint32_t block) {
    return id << 32 | block;
}

/* The slot that was read from least recently, empty, with room for a block. NULL: there is no memory. */
static struct slot *free_slot(struct es_block_memory *m, size_t room) {
    struct slot *s = &m->slot[0];
    for (size_t i = 1; i < SLOTS; i++)
        if (m->slot[i].used < s->used)
            s = &m->slot[i];
    if (s->id) {
        uint64_t key = key_of(s->id, s->block);
        m->gone[key % GONE] = key;
    }
    s->id = 0;
    if (s->room < room) {
        free(s->bytes);
        s->bytes = malloc(room);
        s->room = s->bytes ? room : 0;
    }
    return s->bytes ? s : NULL;
}

static struct slot *slot_of(const struct es_packed *p, struct es_block_memory *m, uint32_t block) {
    for (size_t i = 0; i < SLOTS; i++)
        if (m->slot[i].id == p->id && m->slot[i].block == block)
            return &m->slot[i];
    uint64_t key = key_of(p->id, block);
    m->again += m->gone[key % GONE] == key;
    struct slot *s = free_slot(m, p->header.block_size);
    if (!s)
        return NULL;
    read_block(p, m, block, s->bytes);
    s->id = p->id;
    s->block = block;
    return s;
}

int es_packed_read(const struct es_packed *p, struct es_block_memory *memory, uint64_t offset, size_t len,
                   unsigned char *out) {
    size_t size = p->header.block_size, step;
    if (memory->again >= AGAIN_MAX)
        return 1;
    for (; len > 0; len -= step, offset += step, out += step) {
        size_t at = offset % size;
        struct slot *s = slot_of(p, memory, (uint32_t)(offset / size));
        if (!s)
            return -ENOMEM;
        s->used = ++memory->now;
        step = len < size - at ? len : size - at;
        memcpy(out, s->bytes + at, step);
    }
    return 0;
}

const char *es_packed_check(const struct es_packed *p, struct es_block_memory *memory, uint32_t i) {
    struct fmt_packed_block b;
    const char *wrong = fmt_packed_find(&p->header, p->map, p->map_len, i, &b);
    if (wrong)
        return wrong;
    struct slot *s = free_slot(memory, p->header.block_size);
    return s ? decompress(p, memory, &b, s->bytes) : "there is no memory to decompress it";
}

/* ---- a file by itself ---- */

int es_segment_file_open(int fd, uint64_t size, struct es_segment_file *out, const char **wrong) {
    struct es_segment_file f = {.map_len = (size_t)size};
    struct fmt_segment header;
    bool newer = false;
    void *map = NULL;
    *wrong = size < FMT_SEGMENT_HEADER_SIZE || size > FMT_SEGMENT_FILE_MAX ? "is no segment" : NULL;
    int rc = *wrong ? ESDB_ECORRUPT : es_mmap(fd, (size_t)size, false, &map);
    if (rc < 0)
        return rc;
    f.map = map;
    if ((*wrong = fmt_segment_decode(map, (size_t)size, &header, &newer))) {
        es_munmap(map, f.map_len);
        return newer ? ESDB_EUSAGE : ESDB_ECORRUPT;
    }
    f.header = fmt_packed_plain(&header);
    f.base = f.map;
    f.size = f.map_len;
    *out = f;
    if (!fmt_is_packed(&header))
        return 0;
    out->packed = (struct es_packed){.header = header, .map = f.map, .map_len = f.map_len};
    out->memory = es_block_memory_new();
    rc = out->memory ? es_unpacked_open(&out->unpacked, &out->packed, out->memory, true) : -ENOMEM;
    if (rc < 0) {
        es_segment_file_close(out);
        return rc;
    }
    out->base = out->unpacked.at;
    out->size = (size_t)header.content_size;
    return 0;
}

void es_segment_file_walk(struct es_segment_file *f, struct fmt_walk *w) {
    fmt_walk_init(w, &f->header, f->base, f->size);
    if (f->memory) {
        w->need = es_unpacked_need;
        w->context = &f->unpacked;
    }
}

void es_segment_file_passed(struct es_segment_file *f, size_t *forgotten, size_t offset) {
    if (!f->memory && offset >= *forgotten + FORGET_BYTES)
        *forgotten = es_forget_pages(f->map, *forgotten, offset);
}

void es_segment_file_close(struct es_segment_file *f) {
    es_unpacked_close(&f->unpacked);
    es_block_memory_free(f->memory);
    es_munmap(f->map, f->map_len);
    *f = (struct es_segment_file){0};
}
