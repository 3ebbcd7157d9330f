#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "live_internal.h"
#include "os.h"
#include "shared_head.h"

void es_live_close(esdb *db) {
    es_munmap(db->live.map, db->live.map_len);
    es_close(&db->live.fd);
    db->live = (struct es_live){.fd = -1};
}

void es_live_discard(esdb *db, uint64_t segment) {
    char name[ES_NAME_SIZE];
    es_segment_name(segment, ES_NAME_LIVE, name);
    if (db->live.map && db->live.header->segment == segment) {
        if (db->live.writable)
            es_word_set(&db->live.header->retired, 1);
        es_live_close(db);
    }
    es_unlinkat(db->log, name);
}

static void place(struct es_live *l, void *map, size_t len, uint64_t capacity, uint64_t key_capacity) {
    l->map = map;
    l->map_len = len;
    l->header = map;
    l->capacity = capacity;
    l->key_capacity = key_capacity;
    l->entry = (struct fmt_live_entry *)((char *)map + FMT_LIVE_HEADER_SIZE);
    l->stream_bucket = (_Atomic uint64_t *)(l->entry + capacity);
    l->key = (struct fmt_live_key *)(l->stream_bucket + capacity);
    l->key_bucket = (_Atomic uint64_t *)(l->key + key_capacity);
}

static bool capacity_valid(uint64_t capacity) {
    return capacity >= FMT_LIVE_CAPACITY_MIN && (capacity & (capacity - 1)) == 0 && capacity <= UINT32_MAX;
}

static bool header_valid(const esdb *db, const struct es_live *l, const struct stat *st, uint64_t segment) {
    const struct fmt_live_header *h = l->header;
    uint64_t v;
    return memcmp(h->magic, FMT_LIVE_MAGIC, sizeof h->magic) == 0 && h->check == fmt_live_header_check(h) &&
           memcmp(h->boot_id, db->boot_id, sizeof h->boot_id) == 0 && h->device == (uint64_t)st->st_dev &&
           h->inode == (uint64_t)st->st_ino && h->segment == segment && db->head &&
           h->generation == es_head_generation(db) && capacity_valid(h->capacity) && capacity_valid(h->key_capacity) &&
           fmt_live_size(h->capacity, h->key_capacity) == (size_t)st->st_size && es_word_get(&h->events, &v) &&
           v <= h->capacity && es_word_get(&h->keys, &v) && v <= h->key_capacity && es_word_get(&h->frames, &v) &&
           es_word_get(&h->offset8, &v) && es_word_get(&h->retired, &v) && v == 0;
}

bool es_live_map(esdb *db, uint64_t segment) {
    char name[ES_NAME_SIZE];
    struct stat st;
    void *map = NULL;
    es_segment_name(segment, ES_NAME_LIVE, name);
    int fd = es_openat_stat(db->log, name, es_writable(db) ? O_RDWR : O_RDONLY, 0, &st);
    if (fd < 0)
        return false;
    if ((size_t)st.st_size < FMT_LIVE_HEADER_SIZE || es_mmap(fd, (size_t)st.st_size, es_writable(db), &map) < 0) {
        es_close(&fd);
        return false;
    }
    struct es_live l = {.fd = fd, .writable = es_writable(db)};
    const struct fmt_live_header *h = map;
    place(&l, map, (size_t)st.st_size, h->capacity, h->key_capacity);
    if (!header_valid(db, &l, &st, segment)) {
        es_munmap(map, (size_t)st.st_size);
        es_close(&fd);
        return false;
    }
    es_live_close(db);
    db->live = l;
    return true;
}

bool es_live_current(const esdb *db, uint64_t segment) {
    uint64_t retired;
    return db->live.map && db->live.header->segment == segment && db->head &&
           db->live.header->generation == es_head_generation(db) && es_word_get(&db->live.header->retired, &retired) &&
           retired == 0;
}

bool es_live_open(esdb *db, uint64_t segment, uint64_t events) {
    if (!es_head_valid(db) || (!es_live_current(db, segment) && !es_live_map(db, segment)))
        return false;
    uint64_t have = 0;
    return es_word_get(&db->live.header->events, &have) && have >= events;
}

int es_live_create(esdb *db, uint64_t segment, uint64_t capacity, uint64_t key_capacity) {
    char name[ES_NAME_SIZE], temporary[ES_NAME_SIZE + 8];
    struct stat st;
    void *map = NULL;
    size_t size = fmt_live_size(capacity, key_capacity);
    es_segment_name(segment, ES_NAME_LIVE, name);
    snprintf(temporary, sizeof temporary, ".%s.tmp", name);
    es_unlinkat(db->log, temporary);
    int fd = es_openat(db->log, temporary, O_RDWR | O_CREAT | O_EXCL, db->mode);
    if (fd < 0)
        return fd;
    es_adopt_file(db, fd);
    int rc = es_fallocate(fd, 0, size); /* all of it: a hole on a full disk would be a SIGBUS */
    if (rc == 0)
        rc = es_fstat(fd, &st);
    if (rc == 0)
        rc = es_mmap(fd, size, true, &map);
    if (rc < 0)
        goto err_after_open;
    struct es_live l = {.fd = fd, .writable = true};
    place(&l, map, size, capacity, key_capacity);
    struct fmt_live_header *h = l.header;
    memcpy(h->magic, FMT_LIVE_MAGIC, sizeof h->magic);
    memcpy(h->boot_id, db->boot_id, sizeof h->boot_id);
    h->device = (uint64_t)st.st_dev;
    h->inode = (uint64_t)st.st_ino;
    h->segment = segment;
    h->generation = es_head_generation(db);
    h->capacity = capacity;
    h->key_capacity = key_capacity;
    h->check = fmt_live_header_check(h);
    es_word_set(&h->events, 0);
    es_word_set(&h->keys, 0);
    es_word_set(&h->frames, segment - 1);
    es_word_set(&h->offset8, db->active.header.header_len / 8);
    es_word_set(&h->retired, 0);
    rc = es_renameat(db->log, temporary, name);
    if (rc < 0)
        goto err_after_map;
    if (db->live.map && db->live.writable && db->live.header->segment == segment)
        es_word_set(&db->live.header->retired, 1);
    es_live_close(db);
    db->live = l;
    return 0;
err_after_map:
    es_munmap(map, size);
err_after_open:
    es_close(&fd);
    es_unlinkat(db->log, temporary);
    return rc;
}
