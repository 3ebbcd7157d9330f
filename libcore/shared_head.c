#include "shared_head.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>

#include "os.h"

int es_head_open(esdb *db, struct esdb_error *err) {
    struct stat st;
    int fd = es_openat_stat(db->dir, "head", es_writable(db) ? O_RDWR : O_RDONLY, 0, &st);
    if (fd == -ENOENT)
        return 0;
    if (fd < 0)
        return es_fail_open(err, fd, db->path, "head");
    db->head_device = st.st_dev;
    db->head_inode = st.st_ino;
    void *map = NULL;
    int rc = st.st_size == FMT_HEAD_SIZE ? es_mmap(fd, FMT_HEAD_SIZE, es_writable(db), &map) : 0;
    if (!map)
        es_close(&fd);
    if (rc < 0)
        return es_fail(err, rc, "%s/head", db->path);
    db->head = map;
    db->head_fd = fd;
    return 0;
}

void es_head_close(esdb *db) {
    es_munmap(db->head, FMT_HEAD_SIZE);
    db->head = NULL;
    es_close(&db->head_fd);
}

/* True when the file that is mapped is still the one in the directory, with its size. */
static bool same_file(const esdb *db) {
    struct stat st;
    return db->head && es_fstatat(db->dir, "head", &st) == 0 && st.st_dev == db->head_device &&
           st.st_ino == db->head_inode && st.st_size == FMT_HEAD_SIZE;
}

static int create(esdb *db) {
    struct stat st;
    int rc = 0, fd = es_openat_stat(db->dir, "head", O_RDWR | O_CREAT, db->mode, &st);
    if (fd < 0)
        return fd;
    if (st.st_size == 0)
        es_adopt_file(db, fd);
    if (st.st_size > (off_t)FMT_HEAD_SIZE)
        rc = es_ftruncate(fd, FMT_HEAD_SIZE);
    if (rc == 0)
        rc = es_fallocate(fd, 0, FMT_HEAD_SIZE); /* a hole on a full disk would be a SIGBUS */
    es_close(&fd);
    return rc;
}

int es_head_refresh(esdb *db, struct esdb_error *err) {
    if (same_file(db))
        return 0;
    es_head_close(db);
    int rc = create(db);
    if (rc < 0)
        return es_fail_open(err, rc, db->path, "head");
    rc = es_head_open(db, err);
    if (rc == 0 && !db->head)
        rc = es_fail(err, ESDB_EDENIED, "%s/head: not a regular file of %u bytes", db->path, FMT_HEAD_SIZE);
    return rc;
}

void es_head_look_again(esdb *db) {
    if (same_file(db))
        return;
    es_head_close(db);
    es_head_open(db, NULL);
}

bool es_word_get(const _Atomic uint64_t *word, uint64_t *value) {
    return fmt_word_decode(atomic_load_explicit(word, memory_order_acquire), value);
}

void es_word_set(_Atomic uint64_t *word, uint64_t value) {
    atomic_store_explicit(word, fmt_word_encode(value), memory_order_release);
}

static uint64_t value_or_zero(const _Atomic uint64_t *word) {
    uint64_t v = 0;
    es_word_get(word, &v);
    return v;
}

enum esdb_head_state es_head_state(const esdb *db) {
    const struct fmt_head *h = db->head;
    if (!h)
        return ESDB_HEAD_ABSENT;
    if (memcmp(h->magic, FMT_HEAD_MAGIC, sizeof h->magic) != 0 || h->version != FMT_HEAD_VERSION ||
        h->check != fmt_head_check(h))
        return ESDB_HEAD_BAD;
    if (memcmp(h->boot_id, db->boot_id, sizeof h->boot_id) != 0 || h->device != (uint64_t)db->head_device ||
        h->inode != (uint64_t)db->head_inode || h->incarnation != db->settings.incarnation)
        return ESDB_HEAD_STALE;
    uint64_t v;
    if (!es_word_get(&h->generation, &v) || !es_word_get(&h->appended, &v) || !es_word_get(&h->synced, &v) ||
        !es_word_get(&h->committed, &v) || !es_word_get(&h->in_progress, &v) || !es_word_get(&h->poisoned, &v))
        return ESDB_HEAD_BAD;
    return ESDB_HEAD_VALID;
}

bool es_head_of_other_boot(const esdb *db) {
    const struct fmt_head *h = db->head;
    return h && memcmp(h->magic, FMT_HEAD_MAGIC, sizeof h->magic) == 0 && h->check == fmt_head_check(h) &&
           memcmp(h->boot_id, db->boot_id, sizeof h->boot_id) != 0;
}

bool es_head_valid(const esdb *db) {
    return es_head_state(db) == ESDB_HEAD_VALID;
}

uint64_t es_head_synced(const esdb *db) {
    return value_or_zero(&db->head->synced);
}

uint64_t es_head_appended(const esdb *db) {
    return value_or_zero(&db->head->appended);
}

uint64_t es_head_committed(const esdb *db) {
    uint64_t v = value_or_zero(&db->head->committed);
    return v == FMT_COMMITTED_IS_SYNCED ? es_head_synced(db) : v;
}

uint64_t es_head_generation(const esdb *db) {
    return value_or_zero(&db->head->generation);
}

bool es_head_poisoned(const esdb *db) {
    return value_or_zero(&db->head->poisoned) != 0;
}

bool es_head_life(const esdb *db, uint64_t index, uint64_t *end) {
    return db->head && es_head_valid(db) && es_head_appended(db) >= index && es_word_get(&db->head->life, end);
}

void es_head_set_life(esdb *db, uint64_t end) {
    es_word_set(&db->head->life, end);
}

void es_head_forget_life(esdb *db) {
    atomic_store(&db->head->life, 0);
}

bool es_mark_find(const struct fmt_mark mark[2], uint64_t index, struct fmt_mark *out) {
    for (int i = 0; i < 2; i++) {
        struct fmt_mark copy = mark[i];
        atomic_thread_fence(memory_order_acquire);
        if (copy.index == index && copy.check == fmt_mark_check(&copy)) {
            *out = copy;
            return true;
        }
    }
    return false;
}

/* The mark of the published index stays until the next one is published. */
static void publish(struct fmt_mark mark[2], _Atomic uint64_t *word, const struct fmt_mark *m) {
    uint64_t published = value_or_zero(word);
    struct fmt_mark *slot = &mark[mark[0].index == published ? 1 : 0];
    struct fmt_mark copy = *m;
    copy.check = fmt_mark_check(&copy);
    *slot = copy;
    atomic_thread_fence(memory_order_release);
    es_word_set(word, m->index);
}

void es_publish_appended(esdb *db, const struct fmt_mark *m) {
    publish(db->head->appended_mark, &db->head->appended, m);
}

void es_publish_synced(esdb *db, const struct fmt_mark *m) {
    publish(db->head->synced_mark, &db->head->synced, m);
}

void es_publish_committed(esdb *db, const struct fmt_mark *m) {
    publish(db->head->committed_mark, &db->head->committed, m);
}

int es_head_lower(esdb *db, const struct fmt_mark *m) {
    es_head_invalidate(db);
    es_publish_appended(db, m);
    if (es_head_synced(db) > m->index) /* it may know less */
        es_publish_synced(db, m);
    return es_fsync(db->head_fd);
}

uint64_t es_head_proof(const esdb *db) {
    const struct fmt_head *h = db->head;
    if (!h || db->settings.user.durability == ESDB_NOT_DURABLE ||
        memcmp(h->magic, FMT_HEAD_MAGIC, sizeof h->magic) != 0 || h->check != fmt_head_check(h) ||
        h->inode != (uint64_t)db->head_inode || h->incarnation != db->settings.incarnation)
        return 0; /* a copied head says nothing about the copied log */
    return value_or_zero(&h->synced);
}

void es_head_wake(esdb *db) {
    if (!db->head)
        return;
    atomic_fetch_add(&db->head->wake, 1);
    es_futex_wake(&db->head->wake, INT_MAX, ES_WAKE_EVERYBODY);
}

void es_head_wake_round(esdb *db, uint32_t bit) {
    if (!db->head)
        return;
    atomic_fetch_add(&db->head->wake, 1);
    es_futex_wake(&db->head->wake, INT_MAX, bit | ES_WAKE_FOLLOWERS);
    es_futex_wake(&db->head->wake, 1, (ES_WAKE_EVEN | ES_WAKE_ODD) & ~bit);
}

uint32_t es_round_begin(esdb *db, uint64_t index) {
    uint64_t parity = (value_or_zero(&db->head->round) & 1) ^ 1;
    es_word_set(&db->head->round, (index << 1 | parity) & FMT_WORD_MAX);
    return parity ? ES_WAKE_ODD : ES_WAKE_EVEN;
}

uint32_t es_round_for(const esdb *db, uint64_t index) {
    uint64_t round = value_or_zero(&db->head->round);
    bool odd = (round & 1) != 0, covered = round >> 1 >= index;
    return odd == covered ? ES_WAKE_ODD : ES_WAKE_EVEN;
}

void es_head_invalidate(esdb *db) {
    atomic_store(&db->head->generation, 0);
}

int es_head_renew(esdb *db, const struct fmt_mark *appended, uint64_t committed, bool poisoned,
                  struct esdb_error *err) {
    struct fmt_head *h = db->head;
    uint64_t chance;
    int rc = es_random(&chance, sizeof chance);
    if (rc < 0)
        return es_fail(err, rc, "%s/head: random numbers", db->path);
    memcpy(h->magic, FMT_HEAD_MAGIC, sizeof h->magic);
    h->version = FMT_HEAD_VERSION;
    h->zero = 0;
    memcpy(h->boot_id, db->boot_id, sizeof h->boot_id);
    h->device = (uint64_t)db->head_device;
    h->inode = (uint64_t)db->head_inode;
    h->incarnation = db->settings.incarnation;
    h->check = fmt_head_check(h);
    memset(h->appended_mark, 0, sizeof h->appended_mark); /* of a head that outlived its log: they may lie */
    memset(h->synced_mark, 0, sizeof h->synced_mark);
    memset(h->committed_mark, 0, sizeof h->committed_mark);
    es_head_forget_life(db);
    es_word_set(&h->in_progress, 0);
    es_word_set(&h->poisoned, poisoned);
    es_word_set(&h->committed, committed);
    es_publish_appended(db, appended);
    es_publish_synced(db, appended);
    es_word_set(&h->generation, 1 + chance % (FMT_WORD_MAX - 1));
    return 0;
}
