#include "segment.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "block_cache.h"
#include "directory.h"
#include "format/bytes.h"
#include "os.h"
#include "seal.h"

#define ALLOCATE_MIN (64u << 10)
#define ALLOCATE_MAX (16u << 20)
#define FILES_MAX 100u /* segments that are open at a time: descriptors are few */

static const char *suffix(enum es_name_kind kind) {
    return kind == ES_NAME_LOG ? "log" : kind == ES_NAME_INDEX ? "idx" : "live";
}

/* By hand: a process that opens some segments spends a twentieth of its instructions on printf. */
void es_segment_name(uint64_t first_index, enum es_name_kind kind, char out[ES_NAME_SIZE]) {
    for (int i = 15; i >= 0; i--, first_index >>= 4)
        out[i] = "0123456789abcdef"[first_index & 15];
    out[16] = '.';
    memcpy(out + 17, suffix(kind), strlen(suffix(kind)) + 1);
}

void es_segment_path(uint64_t first_index, enum es_name_kind kind, char out[ES_NAME_SIZE]) {
    memcpy(out, "log/", 4);
    char name[ES_NAME_SIZE];
    es_segment_name(first_index, kind, name);
    memcpy(out + 4, name, strlen(name) + 1);
}

bool es_index_parse(const char *digits, uint64_t *out) {
    uint64_t v = 0;
    for (int i = 0; i < 16; i++) {
        char c = digits[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
            return false;
        v = v << 4 | (uint64_t)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    *out = v;
    return true;
}

/* ---- listing ---- */

struct names {
    uint64_t *at;
    size_t count, room;
};

/* 16 hexadecimal digits and ".log"; everything else in the folder is not a segment. */
static bool parse_name(const char *text, uint64_t *out) {
    return strlen(text) == 20 && strcmp(text + 16, ".log") == 0 && es_index_parse(text, out) && *out != 0;
}

static int add_name(void *context, const char *text) {
    struct names *n = context;
    uint64_t name;
    if (!parse_name(text, &name))
        return 0;
    if (n->count == n->room) {
        size_t room = n->room ? n->room * 2 : 64;
        uint64_t *at = realloc(n->at, room * sizeof *at);
        if (!at)
            return -ENOMEM;
        n->at = at;
        n->room = room;
    }
    n->at[n->count++] = name;
    return 0;
}

static int compare_names(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

int es_segment_list(const esdb *db, uint64_t **out, size_t *count, struct esdb_error *err) {
    struct names n = {0};
    int rc = es_list_dir(db->dir, "log", add_name, &n);
    if (rc < 0) {
        free(n.at);
        return es_fail(err, rc, "%s/log", db->path);
    }
    if (n.count)
        qsort(n.at, n.count, sizeof *n.at, compare_names);
    *out = n.at;
    *count = n.count;
    return 0;
}

/* ---- opening ---- */

static int open_file(const esdb *db, uint64_t name, int flags, int *out, struct stat *st, struct esdb_error *err) {
    char file[ES_NAME_SIZE], path[ES_NAME_SIZE];
    es_segment_name(name, ES_NAME_LOG, file);
    es_segment_path(name, ES_NAME_LOG, path);
    int fd = es_openat_stat(db->log, file, flags, 0, st);
    if (fd == -EACCES && (flags & O_ACCMODE) != O_RDONLY) { /* closed, and an old head leads here: reading will do */
        fd = es_openat_stat(db->log, file, O_RDONLY, 0, st);
        if (fd >= 0 && st->st_nlink == 1 && es_set_mode(fd, db->mode) == 0) { /* ours alone */
            es_close(&fd);
            fd = es_openat_stat(db->log, file, flags, 0, st);
        }
    }
    if (fd == -EMLINK) { /* likewise; a closed segment may have other names, in backups */
        fd = es_openat_stat(db->log, file, O_RDONLY, 0, st);
        if (fd >= 0 && (st->st_mode & 0222)) {
            es_close(&fd);
            fd = -EMLINK;
        }
    }
    if (fd == -ENOENT)
        return es_fail_at(err, ESDB_ECORRUPT, path, 0, "%s/%s: the segment is missing", db->path, path);
    if (fd < 0)
        return es_fail_open(err, fd, db->path, path);
    if ((uint64_t)st->st_size > FMT_SEGMENT_FILE_MAX) {
        es_close(&fd);
        return es_fail_at(err, ESDB_ECORRUPT, path, 0, "%s/%s: larger than a segment can be", db->path, path);
    }
    *out = fd;
    return 0;
}

static int read_header(const esdb *db, int fd, uint64_t name, struct fmt_segment *out, struct esdb_error *err) {
    unsigned char bytes[FMT_SEGMENT_HEADER_SIZE];
    char path[ES_NAME_SIZE];
    es_segment_path(name, ES_NAME_LOG, path);
    ssize_t n = es_pread(fd, bytes, sizeof bytes, 0);
    if (n < 0)
        return es_fail_at(err, (int)n, path, 0, "%s/%s", db->path, path);
    bool newer;
    const char *wrong = fmt_segment_decode(bytes, (size_t)n, out, &newer);
    if (!wrong && out->first_index != name)
        wrong = "segment has the name of another one";
    if (!wrong && memcmp(out->store_id, db->settings.user.store_id, sizeof out->store_id) != 0)
        wrong = "segment belongs to another store";
    if (wrong)
        return es_fail_at(err, newer ? ESDB_EUSAGE : ESDB_ECORRUPT, path, 0, "%s/%s, offset 0: %s", db->path, path,
                          wrong);
    return 0;
}

static void learn_file(struct es_segment *s, const struct stat *st) {
    s->size = s->file_size = (uint64_t)st->st_size;
    s->device = st->st_dev;
    s->inode = st->st_ino;
}

/* Mapped once for all that it may grow to, so that pointers into it stay good. */
static size_t room_for(const esdb *db, uint64_t size) {
    uint64_t want = db->settings.user.segment_size;
    if (want < FMT_FRAME_SIZE_MAX + FMT_SEGMENT_HEADER_SIZE) /* a single large frame may be more than the target */
        want = FMT_FRAME_SIZE_MAX + FMT_SEGMENT_HEADER_SIZE;
    return (size_t)(want < size ? size : want);
}

/* The file that is written to is open already, and its header was checked then. */
static int share_active(const esdb *db, struct es_segment *s, struct esdb_error *err) {
    struct stat st;
    int rc = es_fstat(db->active.fd, &st);
    if (rc == 0)
        rc = s->fd = es_dup(db->active.fd);
    if (rc < 0)
        return es_fail(err, rc, "%s: the active segment", db->path);
    learn_file(s, &st);
    s->header = db->active.header;
    return 0;
}

static int open_for_reading(const esdb *db, struct es_segment *s, struct esdb_error *err) {
    if (db->active.name == s->name)
        return share_active(db, s, err);
    struct stat st;
    int rc = open_file(db, s->name, O_RDONLY, &s->fd, &st, err);
    if (rc < 0)
        return rc;
    learn_file(s, &st);
    rc = read_header(db, s->fd, s->name, &s->header, err);
    if (rc < 0)
        es_close(&s->fd);
    if (rc == 0 && fmt_is_packed(&s->header)) {
        s->is_packed = true;
        s->packed.header = s->header;
        s->header = fmt_packed_plain(&s->header);
        s->size = s->packed.header.content_size;
    }
    return rc;
}

/* Enough of them are open: the mapping of this one will do. */
static int close_file(esdb *db, struct es_segment *s, struct esdb_error *err) {
    int rc = es_segment_map(db, s, err);
    if (rc == 0)
        es_close(&s->fd);
    return rc;
}

/* The file of a segment whose descriptor was closed. */
static int reopen(const esdb *db, const struct es_segment *s, int *fd, struct stat *st, struct esdb_error *err) {
    char path[ES_NAME_SIZE];
    int rc = open_file(db, s->name, O_RDONLY, fd, st, err);
    if (rc < 0 || (st->st_dev == s->device && st->st_ino == s->inode))
        return rc;
    es_close(fd);
    es_segment_path(s->name, ES_NAME_LOG, path);
    return es_fail_at(err, -ESTALE, path, 0, "%s/%s: another file has taken its place", db->path, path);
}

int es_segment_descriptor(esdb *db, struct es_segment *s, struct esdb_error *err) {
    struct stat st;
    if (s->fd >= 0)
        return s->fd;
    int rc = reopen(db, s, &s->fd, &st, err);
    db->segment_files += rc == 0;
    return rc < 0 ? rc : s->fd;
}

int es_segment_open(esdb *db, uint64_t name, struct es_segment **out, struct esdb_error *err) {
    for (struct es_segment *s = db->segments; s; s = s->next)
        if (s->name == name) {
            *out = s;
            return 0;
        }
    struct es_segment *s = calloc(1, sizeof *s);
    if (!s)
        return es_fail(err, -ENOMEM, "%s", db->path);
    s->name = name;
    int rc = open_for_reading(db, s, err);
    if (rc < 0) {
        free(s);
        return rc;
    }
    s->map_len = room_for(db, s->size);
    if (db->segment_files >= FILES_MAX) {
        rc = close_file(db, s, err);
        if (rc < 0) {
            es_close(&s->fd);
            free(s);
            return rc;
        }
    } else {
        db->segment_files++;
    }
    s->next = db->segments;
    db->segments = s;
    *out = s;
    return 0;
}

struct es_block_memory *es_block_memory_of(esdb *db) {
    if (!db->block_memory)
        db->block_memory = es_block_memory_new();
    return db->block_memory;
}

/* The file of a compressed segment. */
static int map_file(struct es_segment *s) {
    struct fmt_segment header = s->packed.header;
    return s->packed.map ? 0 : es_packed_open(s->fd, s->file_size, &header, &s->packed);
}

static int map_packed(esdb *db, struct es_segment *s) {
    struct es_block_memory *memory = es_block_memory_of(db);
    int rc = memory ? map_file(s) : -ENOMEM;
    if (rc == 0)
        rc = es_unpacked_open(&s->unpacked, &s->packed, memory, false);
    if (rc == 0)
        s->map = s->unpacked.at;
    return rc;
}

int es_segment_map(esdb *db, struct es_segment *s, struct esdb_error *err) {
    void *map = NULL;
    if (s->map)
        return 0;
    int rc = s->is_packed ? map_packed(db, s) : es_mmap(s->fd, s->map_len, false, &map);
    if (rc == 0 && s->is_packed)
        return 0;
    if (rc < 0)
        return es_fail(err, rc, "%s: mapping a segment", db->path);
    s->map = map;
    return 0;
}

int es_segment_get(esdb *db, uint64_t name, struct es_segment **out, struct esdb_error *err) {
    struct es_segment *s;
    int rc = es_segment_open(db, name, &s, err);
    if (rc == 0)
        rc = es_segment_map(db, s, err);
    if (rc == 0)
        *out = s;
    return rc;
}

void es_segment_walk(struct es_segment *s, struct fmt_walk *w) {
    fmt_walk_init(w, &s->header, s->map, (size_t)s->size);
    if (s->is_packed) {
        w->need = es_unpacked_need;
        w->context = &s->unpacked;
    }
}

size_t es_segment_forget(const struct es_segment *s, size_t from, size_t to) {
    return s->is_packed ? to : es_forget_pages(s->map, from, to);
}

ssize_t es_segment_read(esdb *db, struct es_segment *s, void *buf, size_t len, uint64_t offset) {
    if (!s->is_packed)
        return es_pread(s->fd, buf, len, offset);
    struct es_block_memory *memory = es_block_memory_of(db);
    if (offset >= s->size)
        return 0;
    if (len > s->size - offset)
        len = (size_t)(s->size - offset);
    int rc = memory ? map_file(s) : -ENOMEM;
    if (rc == 0)
        rc = es_packed_read(&s->packed, memory, offset, len, buf);
    if (rc == 1 && (rc = es_segment_map(db, s, NULL)) == 0) {
        es_segment_need(s, offset, len);
        memcpy(buf, s->map + offset, len);
    }
    return rc < 0 ? rc : (ssize_t)len;
}

void es_segment_covers(struct es_segment *s, uint64_t end, uint64_t end_position) {
    s->covered_position = end_position;
    if (s->size < end)
        s->size = end < s->map_len ? end : s->map_len;
}

int es_segment_grow(esdb *db, struct es_segment *s, struct esdb_error *err) {
    struct stat st;
    if (s->is_packed) /* closed, and all of it is there */
        return 0;
    int fd = -1, rc = s->fd < 0 ? reopen(db, s, &fd, &st, NULL) : es_fstat(s->fd, &st);
    es_close(&fd);
    if (rc == -ESTALE) /* it was replaced whole: what is mapped was closed before that, and does not grow */
        return 0;
    if (rc < 0)
        return es_fail(err, rc, "%s: looking at a segment", db->path);
    s->size = (uint64_t)st.st_size < s->map_len ? (uint64_t)st.st_size : s->map_len;
    return 0;
}

static void close_first(esdb *db, struct es_segment **list) {
    struct es_segment *s = *list;
    *list = s->next;
    db->segment_files -= s->fd >= 0;
    if (s->has_index)
        es_table_close(&s->index);
    es_table_close(&s->spoiled);
    if (s->is_packed) {
        es_unpacked_close(&s->unpacked);
        es_packed_close(&s->packed);
    } else
        es_munmap(s->map, s->map_len);
    es_close(&s->fd);
    free(s);
}

void es_segments_close(esdb *db) {
    while (db->segments)
        close_first(db, &db->segments);
}

void es_segment_drop(esdb *db, uint64_t name) {
    struct es_segment **at = &db->segments;
    es_directory_close(db->directory);
    db->directory = NULL;
    while (*at && (*at)->name != name)
        at = &(*at)->next;
    if (*at)
        close_first(db, at);
}

/* Is there no frame from that offset on? */
static bool ends_at(esdb *db, struct es_segment *s, uint64_t offset) {
    if (offset == s->size)
        return true;
    if (es_segment_grow(db, s, NULL) < 0 || offset > s->size) /* it may have been trimmed, or have grown, since */
        return false;
    if (offset == s->size)
        return true;
    if (es_segment_map(db, s, NULL) < 0)
        return false;
    es_segment_need(s, offset, FMT_FRAME_HEADER_SIZE);
    return fmt_frame_absent(s->map + offset, (size_t)(s->size - offset));
}

/* An index file is taken when it covers just this segment; what it says is checked again block by block. */
static bool open_index(esdb *db, struct es_segment *s) {
    char file[ES_NAME_SIZE];
    es_segment_name(s->name, ES_NAME_INDEX, file);
    if (es_table_open_cached(&db->block_cache, db->log, file, &s->index) != 0)
        return false;
    const struct fmt_table_header *h = &s->index.table.header;
    if (h->kind == FMT_TABLE_SEGMENT && h->first_index == s->name && h->first_position == s->header.first_position &&
        h->log_rewritten_us == s->header.rewritten_us && ends_at(db, s, h->log_size))
        return true;
    es_table_close(&s->index);
    return false;
}

size_t es_segment_used(struct es_segment *s, uint64_t end_position) {
    struct fmt_walk w;
    struct fmt_frame f;
    es_segment_walk(s, &w);
    while (w.position < end_position && fmt_walk_peek(&w, &f) == FMT_OK)
        fmt_walk_pass(&w, &f);
    if (w.position >= end_position) /* what is behind may be trimmed at any time: a look there would be the end of us */
        return w.offset;
    return fmt_walk_rest_is_zero(&w) ? w.offset : w.size;
}

int es_seal_segment(struct es_segment *s, uint64_t end_position, struct es_buffer *image, struct esdb_error *err) {
    struct fmt_walk w;
    es_segment_walk(s, &w);
    w.size = es_segment_used(s, end_position);
    return es_seal_walk(&s->header, &w, image, err);
}

int es_segment_reindex(esdb *db, struct es_segment *s, uint64_t end_position, struct esdb_error *err) {
    struct es_buffer image = {0};
    int rc = es_segment_map(db, s, err);
    if (rc == 0)
        rc = es_segment_grow(db, s, err);
    if (rc == 0)
        rc = es_seal_segment(s, end_position, &image, err);
    if (rc < 0) {
        es_buffer_release(&image);
        return rc;
    }
    if (s->has_index && !s->index.image.at) {
        es_table_close(&s->spoiled);
        s->spoiled = s->index;
    } else if (s->has_index)
        es_table_close(&s->index);
    es_table_adopt(&s->index, &image);
    s->has_index = true;
    s->index_generation++;
    return 0;
}

int es_segment_index(esdb *db, struct es_segment *s, uint64_t end_position, struct esdb_error *err) {
    bool sealed = end_position == UINT64_MAX;
    if (!s->has_index) {
        s->has_index = open_index(db, s);
        s->index_generation++;
        s->partial = false;
        s->index_end = UINT64_MAX;
    }
    uint64_t good = s->partial ? s->index_end : s->index.table.header.end_position;
    if (s->has_index && (sealed ? !s->partial : good >= end_position))
        return 0;
    int rc = es_segment_reindex(db, s, end_position, err);
    if (rc == 0) {
        s->partial = !sealed;
        s->index_end = end_position;
    }
    return rc;
}

/* ---- writing ---- */

void es_active_close(esdb *db) {
    es_close(&db->active.fd);
    db->active.name = db->active.written_ahead = 0;
}

/* The newest segment is a compressed one: what was behind it is lost, or was not copied. It is closed, so that its content
 * is only read, and the next one is begun. */
static int unpack_active(esdb *db, uint64_t name, struct esdb_error *err) {
    struct es_segment *s = NULL;
    unsigned char block[64 << 10];
    struct es_active a = {.fd = es_memory_file("segment")};
    int rc = a.fd < 0 ? a.fd : es_segment_open(db, name, &s, err);
    ssize_t n = 0;
    while (rc == 0 && (n = es_segment_read(db, s, block, sizeof block, a.allocated)) > 0) {
        rc = es_pwrite(a.fd, block, (size_t)n, a.allocated);
        a.allocated += (uint64_t)n;
    }
    rc = n < 0 ? (int)n : rc;
    if (rc < 0) {
        es_close(&a.fd);
        return es_fail(err, rc, "%s: reading a compressed segment", db->path);
    }
    a.header = s->header;
    es_set_mode(db->active.fd, db->mode & 0444); /* as it was before it was opened */
    es_close(&db->active.fd);
    db->active = a;
    return 0;
}

int es_active_open(esdb *db, uint64_t name, struct esdb_error *err) {
    if (db->active.name == name)
        return 0;
    es_active_close(db);
    struct stat st;
    int rc = open_file(db, name, O_RDWR, &db->active.fd, &st, err);
    if (rc == 0)
        rc = read_header(db, db->active.fd, name, &db->active.header, err);
    if (rc < 0) {
        es_active_close(db);
        return rc;
    }
    if (fmt_is_packed(&db->active.header)) {
        rc = unpack_active(db, name, err);
        if (rc < 0) {
            es_active_close(db);
            return rc;
        }
        st.st_size = (off_t)db->active.allocated;
    }
    es_no_readahead(db->active.fd); /* looks behind the tail would fill the cache with zeros, to be written over */
    db->active.name = name;
    db->active.allocated = (uint64_t)st.st_size;
    return 0;
}

int es_active_allocate(esdb *db, uint64_t need) {
    struct es_active *a = &db->active;
    if (need <= a->allocated)
        return 0;
    struct stat st;
    int rc = es_fstat(a->fd, &st);
    if (rc < 0)
        return rc;
    a->allocated = (uint64_t)st.st_size;
    if (need <= a->allocated)
        return 0;
    uint64_t step = a->allocated < ALLOCATE_MIN ? ALLOCATE_MIN : a->allocated;
    if (step > ALLOCATE_MAX)
        step = ALLOCATE_MAX;
    uint64_t target = (a->allocated + step) & ~(uint64_t)(ALLOCATE_MIN - 1);
    uint64_t limit = db->settings.user.segment_size;
    if (target > limit)
        target = limit;
    if (target < need)
        target = need;
    rc = es_fallocate(a->fd, a->allocated, target - a->allocated);
    if (rc < 0 && target > need) { /* hardly any space is left: take just what is needed */
        target = need;
        rc = es_fallocate(a->fd, a->allocated, target - a->allocated);
    }
    if (rc == 0)
        a->allocated = target;
    return rc;
}

static int fill_segment(void *context, int fd) {
    const struct fmt_segment *header = context;
    unsigned char bytes[FMT_SEGMENT_HEADER_SIZE];
    fmt_segment_encode(header, bytes);
    int rc = es_fallocate(fd, 0, ALLOCATE_MIN);
    return rc < 0 ? rc : es_pwrite(fd, bytes, sizeof bytes, 0);
}

int es_segment_create(esdb *db, const struct fmt_segment *header, struct esdb_error *err) {
    char file[ES_NAME_SIZE], path[ES_NAME_SIZE];
    es_segment_name(header->first_index, ES_NAME_LOG, file);
    es_segment_path(header->first_index, ES_NAME_LOG, path);
    struct stat st;
    int rc = es_fstatat(db->log, file, &st);
    if (rc == -ENOENT) {
        struct fmt_segment copy = *header;
        rc = es_create_durably(db, db->log, file, fill_segment, &copy);
        return rc < 0 ? es_fail_at(err, rc, path, 0, "%s/%s", db->path, path) : 0;
    }
    if (rc < 0)
        return es_fail_at(err, rc, path, 0, "%s/%s", db->path, path);
    struct es_active was = db->active; /* a process that died left it: the same header is what we would write */
    db->active = (struct es_active){.fd = -1};
    rc = es_active_open(db, header->first_index, err);
    const struct fmt_segment *found = &db->active.header;
    if (rc == 0 && (found->first_position != header->first_position || found->prev_checksum != header->prev_checksum))
        rc = es_fail_at(err, ESDB_ECORRUPT, path, 0, "%s/%s: does not continue the segment before", db->path, path);
    if (rc == 0) /* whoever made it may have died before the name was durable */
        rc = es_fsync(db->log);
    es_active_close(db);
    db->active = was;
    return rc;
}
