#include "store.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "block_cache.h"
#include "directory.h"
#include "format/limits.h"
#include "known.h"
#include "live.h"
#include "lock.h"
#include "os.h"
#include "packed.h"
#include "segment.h"
#include "shared_head.h"

#define LOCK_TIMEOUT_MS 5000

/* ---- files of a store ---- */

void es_adopt_file(const esdb *db, int fd) {
    struct stat st;
    bool foreign = false;
    if (es_fstat(fd, &st) == 0 && (st.st_uid != db->uid || st.st_gid != db->gid))
        foreign = es_set_owner(fd, es_uid() == 0 ? db->uid : (uid_t)-1, db->gid) < 0 && st.st_gid != db->gid;
    es_set_mode(fd, foreign ? db->mode & ~(mode_t)0070 : db->mode); /* whatever the umask was; not for another group */
}

int es_create_durably(const esdb *db, int dir, const char *path, int (*fill)(void *context, int fd), void *context) {
    char temporary[NAME_MAX];
    snprintf(temporary, sizeof temporary, ".%s.tmp", path);
    es_unlinkat(dir, temporary); /* of a process that died */
    int fd = es_openat(dir, temporary, O_RDWR | O_CREAT | O_EXCL, db->mode);
    if (fd < 0)
        return fd;
    es_adopt_file(db, fd);
    int rc = fill(context, fd);
    if (rc == 0)
        rc = es_fsync(fd);
    es_close(&fd);
    if (rc == 0)
        rc = es_renameat(dir, temporary, path);
    if (rc < 0) {
        es_unlinkat(dir, temporary);
        return rc;
    }
    return es_fsync(dir);
}

/* New files take the directory's owner and group; its mode tells who else may read or write them. */
static int learn_owner(esdb *db, struct esdb_error *err) {
    struct stat st;
    int rc = es_fstat(db->dir, &st);
    if (rc < 0)
        return es_fail(err, rc, "%s", db->path);
    if (st.st_mode & S_IWOTH)
        return es_fail(err, ESDB_EDENIED, "%s: is writable for everybody, refused (chmod o-w)", db->path);
    db->uid = st.st_uid;
    db->gid = st.st_gid;
    db->mode = 0600 | (st.st_mode & 0044);
    if (db->settings.user.shared_group)
        db->mode |= 0060;
    return 0;
}

static esdb *new_handle(const char *path, unsigned flags) {
    esdb *db = calloc(1, sizeof *db);
    if (!db)
        return NULL;
    db->flags = flags;
    db->lock_timeout_ms = LOCK_TIMEOUT_MS;
    db->dir = db->log = db->tables = db->lock = db->head_fd = db->daemon = -1;
    db->active.fd = db->live.fd = -1;
    db->path = strdup(path);
    if (!db->path) {
        free(db);
        return NULL;
    }
    return db;
}

void esdb_close(esdb *db) {
    if (!db)
        return;
    es_directory_close(db->directory);
    es_known_release(db);
    es_live_close(db);
    es_segments_close(db);
    es_block_cache_close(db->block_cache);
    es_block_memory_free(db->block_memory);
    es_active_close(db);
    es_head_close(db);
    es_close(&db->daemon);
    es_close(&db->lock);
    es_close(&db->tables);
    es_close(&db->log);
    es_close(&db->dir);
    free(db->path);
    free(db);
}

static int open_directory(esdb *db, struct esdb_error *err) {
    int rc = es_open_directory(db->path);
    if (rc >= 0) {
        db->dir = rc;
        return 0;
    }
    if (rc == -ENOENT)
        return es_fail(err, ESDB_EUSAGE, "%s: there is no such store (esdb-init makes one)", db->path);
    if (rc == -ENOTDIR)
        return es_fail(err, ESDB_EUSAGE, "%s: not an esdb store (not a directory)", db->path);
    return es_fail(err, rc, "%s", db->path);
}

/* ---- opening ---- */

/* A folder with the owner and mode of the store's. What is there already is taken. */
static int make_folder(const esdb *db, const char *name, int *out) {
    struct stat st;
    int rc = es_fstat(db->dir, &st);
    if (rc < 0)
        return rc;
    rc = es_mkdirat(db->dir, name, st.st_mode & 07777);
    int fd = rc < 0 && rc != -EEXIST ? rc : es_opendirat(db->dir, name);
    if (fd < 0)
        return fd;
    if (rc == 0) { /* whatever the umask was */
        if (es_uid() == 0)
            es_set_owner(fd, st.st_uid, st.st_gid);
        es_set_mode(fd, st.st_mode & 07777);
    }
    *out = fd;
    return 0;
}

static int open_folders(esdb *db, struct esdb_error *err) {
    db->log = es_opendirat(db->dir, "log");
    if (db->log < 0)
        return db->log == -ENOENT ? es_fail(err, ESDB_ECORRUPT, "%s/log: is missing", db->path)
                                  : es_fail_open(err, db->log, db->path, "log");
    db->tables = es_opendirat(db->dir, "tables");
    int rc = db->tables;
    if (rc == -ENOENT)
        rc = es_writable(db) ? make_folder(db, "tables", &db->tables) : 0;
    return rc < 0 ? es_fail_open(err, rc, db->path, "tables") : 0;
}

/* A handle may write when it can open the lock file for writing. Readers try too, so that they can put a stale head right;
 * they go on without. */
static int open_lock(esdb *db, struct esdb_error *err) {
    bool must = db->flags & ESDB_APPEND;
    if (db->settings.backup && must)
        return es_fail(err, ESDB_EDENIED,
                       "%s: is a backup, which nobody may change (esdb-backup restore makes a store of it)", db->path);
    if (db->flags & ESDB_EXAMINE || db->settings.backup)
        return 0;
    enum es_fs fs = es_fs_of(db->dir);
    if (fs == ES_FS_READ_ONLY)
        return must ? es_fail(err, ESDB_EDENIED, "%s: on a read-only file system", db->path) : 0;
    if (fs == ES_FS_NETWORK)
        return must ? es_fail(err, ESDB_EDENIED,
                              "%s: on a network file system, where locks and syncs cannot be trusted: "
                              "reading works, appending is refused",
                              db->path)
                    : 0;
    int fd = es_openat(db->dir, "lock", O_RDWR, 0);
    if (fd == -ENOENT) {
        fd = es_openat(db->dir, "lock", O_RDWR | O_CREAT, db->mode);
        if (fd >= 0)
            es_adopt_file(db, fd);
    }
    if (fd < 0)
        return must || (fd != -EACCES && fd != -EPERM && fd != -EROFS) ? es_fail_open(err, fd, db->path, "lock") : 0;
    db->lock = fd;
    return 0;
}

/* The inode first: of a file that is exchanged meanwhile, it is the older one. */
static int load_settings(esdb *db, struct esdb_error *err) {
    struct stat st;
    if (es_fstatat(db->dir, "store.yaml", &st) == 0)
        db->settings_inode = st.st_ino;
    return es_settings_load(db->dir, db->path, &db->settings, err);
}

int es_check_stands_alone(esdb *db, struct esdb_error *err) {
    struct es_settings now;
    struct stat st;
    if (db->settings.replicated || db->settings_inode == 0 ||
        (es_fstatat(db->dir, "store.yaml", &st) == 0 && st.st_ino == db->settings_inode))
        return 0;
    int rc = es_settings_load(db->dir, db->path, &now, err);
    if (rc < 0)
        return rc;
    if (now.replicated)
        return es_fail(
            err, ESDB_EUNAVAILABLE,
            "%s: has become replicated since this process opened it, which must begin anew; nothing was written",
            db->path);
    db->settings_inode = st.st_ino;
    return 0;
}

int esdb_open(const char *path, unsigned flags, esdb **out, struct esdb_error *err) {
    esdb *db = new_handle(path, flags);
    if (!db)
        return es_fail(err, -ENOMEM, "%s", path);
    int rc = open_directory(db, err);
    if (rc == 0)
        rc = load_settings(db, err);
    if (rc == 0)
        rc = learn_owner(db, err);
    if (rc == 0)
        rc = open_lock(db, err);
    if (rc == 0)
        rc = open_folders(db, err);
    if (rc == 0 && es_boot_id(db->boot_id) < 0) {
        memset(db->boot_id, 0, sizeof db->boot_id);
        if (flags & ESDB_APPEND)
            rc = es_fail(err, ESDB_EUSAGE, "%s: this system does not tell its boot id (is /proc mounted?)", path);
    }
    if (rc == 0)
        rc = es_head_open(db, err);
    if (rc < 0) {
        esdb_close(db);
        return rc;
    }
    *out = db;
    return 0;
}

void esdb_set_lock_timeout(esdb *db, int timeout_ms) {
    db->lock_timeout_ms = timeout_ms < 0 ? 0 : timeout_ms;
}

void esdb_get_settings(const esdb *db, struct esdb_settings *out) {
    *out = db->settings.user;
}

const char *esdb_path(const esdb *db) {
    return db->path;
}

/* ---- creating ---- */

static int check_settings(const struct esdb_settings *s, struct esdb_error *err) {
    if (s->segment_size != 0 && (s->segment_size < FMT_SEGMENT_SIZE_MIN || s->segment_size > FMT_SEGMENT_SIZE_MAX))
        return es_fail(err, ESDB_EUSAGE, "segment size must be between %u and %u bytes", FMT_SEGMENT_SIZE_MIN,
                       FMT_SEGMENT_SIZE_MAX);
    return 0;
}

static int choose_settings(const struct esdb_settings *wanted, struct es_settings *out, struct esdb_error *err) {
    static const unsigned char none[16];
    struct es_settings s = {.user = *wanted, .version = FMT_VERSION, .created_us = es_clock_us()};
    if (s.user.segment_size == 0)
        s.user.segment_size = FMT_SEGMENT_SIZE_DEFAULT;
    int rc = es_random(&s.incarnation, sizeof s.incarnation);
    if (rc == 0 && memcmp(s.user.store_id, none, sizeof none) == 0) {
        rc = es_random(s.user.store_id, sizeof s.user.store_id);
        s.user.store_id[6] = (unsigned char)((s.user.store_id[6] & 0x0f) | 0x40); /* RFC 9562: version 4 */
        s.user.store_id[8] = (unsigned char)((s.user.store_id[8] & 0x3f) | 0x80);
    }
    if (rc < 0)
        return es_fail(err, rc, "random numbers");
    s.incarnation = 1 + s.incarnation % FMT_WORD_MAX;
    *out = s;
    return 0;
}

static int refuse_foreign(void *context, const char *name) {
    (void)context;
    static const char *const ours[] = {"store.yaml", "log", "tables", "lock", "head"};
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
        if (strcmp(name, ours[i]) == 0)
            return 0;
    return 1;
}

static int fill_settings(void *context, int fd) {
    char text[1024];
    size_t len = es_settings_print(context, text, sizeof text);
    return es_pwrite(fd, text, len, 0);
}

/* Append lock held, no store.yaml yet: all the rest first, store.yaml last. What a dead creator left is used. */
static int create_files(esdb *db, struct esdb_error *err) {
    int rc = make_folder(db, "log", &db->log);
    if (rc == 0)
        rc = make_folder(db, "tables", &db->tables);
    uint64_t *names = NULL;
    size_t count = 0;
    if (rc == 0)
        rc = es_segment_list(db, &names, &count, err);
    for (size_t i = 0; rc == 0 && i < count;
         i++) { /* of another store id: its creator died before it had an identity */
        char name[ES_NAME_SIZE];
        es_segment_name(names[i], ES_NAME_LOG, name);
        rc = names[i] == 1 ? es_unlinkat(db->log, name) : -ENOTEMPTY;
    }
    free(names);
    if (rc == 0) {
        struct fmt_segment first = {.version = FMT_VERSION, .first_index = 1, .created_us = db->settings.created_us};
        memcpy(first.store_id, db->settings.user.store_id, sizeof first.store_id);
        rc = es_segment_create(db, &first, err);
    }
    if (rc == 0)
        rc = es_create_durably(db, db->dir, "store.yaml", fill_settings, &db->settings);
    return rc < 0 ? es_fail(err, rc, "%s", db->path) : 0;
}

static int sync_parent(const char *path) {
    char *copy = strdup(path);
    if (!copy)
        return -ENOMEM;
    size_t len = strlen(copy);
    while (len > 1 && copy[len - 1] == '/')
        copy[--len] = '\0';
    char *slash = strrchr(copy, '/');
    const char *parent = !slash ? "." : slash == copy ? "/" : copy;
    if (slash && slash != copy)
        *slash = '\0';
    int fd = es_open_directory(parent);
    free(copy);
    if (fd < 0)
        return fd == -EACCES ? 0 : fd; /* a parent that we may not read is somebody else's to sync */
    int rc = es_fsync(fd);
    es_close(&fd);
    return rc;
}

/* Append lock held: takes back what a failed creation has made, unless the store is there all the same. */
static void take_back(esdb *db) {
    char name[ES_NAME_SIZE];
    struct stat st;
    if (es_fstatat(db->dir, "store.yaml", &st) == 0)
        return;
    es_segment_name(1, ES_NAME_LOG, name);
    if (db->log >= 0)
        es_unlinkat(db->log, name);
    es_rmdirat(db->dir, "log");
    es_rmdirat(db->dir, "tables");
    es_unlinkat(db->dir, "lock");
}

static int create_in(esdb *db, bool made, struct esdb_error *err) {
    struct stat st;
    if (es_fstatat(db->dir, "store.yaml", &st) == 0)
        return es_fail(err, -EEXIST, "%s: is an esdb store already", db->path);
    int rc = es_list_dir(db->dir, ".", refuse_foreign, NULL);
    if (rc == 1)
        return es_fail(err, -EEXIST, "%s: the directory is not empty", db->path);
    if (rc < 0)
        return es_fail(err, rc, "%s", db->path);
    if (db->settings.user.shared_group && (rc = es_set_mode(db->dir, 02770)) < 0)
        return es_fail(err, rc, "%s: making it shared", db->path);
    rc = learn_owner(db, err);
    if (rc == 0)
        rc = open_lock(db, err);
    if (rc == 0)
        rc = es_lock_bare(db, err);
    if (rc < 0)
        return rc;
    if (es_fstatat(db->dir, "store.yaml", &st) == 0)
        rc = es_fail(err, -EEXIST, "%s: is an esdb store already", db->path);
    else
        rc = create_files(db, err);
    if (made && rc < 0 && rc != -EEXIST)
        take_back(db);
    es_unlock(db->lock, ES_LOCK_APPEND);
    if (rc == 0 && (rc = sync_parent(db->path)) < 0)
        es_fail(err, rc, "%s: syncing the directory above", db->path);
    return rc;
}

int esdb_create(const char *path, const struct esdb_settings *settings, struct esdb_error *err) {
    int rc = check_settings(settings, err);
    if (rc < 0)
        return rc;
    esdb *db = new_handle(path, ESDB_APPEND);
    if (!db)
        return es_fail(err, -ENOMEM, "%s", path);
    rc = choose_settings(settings, &db->settings, err);
    int made = rc == 0 ? es_mkdir(path, 0777) : -EEXIST;
    if (made < 0 && made != -EEXIST)
        rc = es_fail(err, made, "%s", path);
    if (rc == 0)
        rc = open_directory(db, err);
    if (rc == 0)
        rc = create_in(db, made == 0, err);
    esdb_close(db);
    if (made == 0 && rc < 0)
        es_rmdirat(AT_FDCWD, path); /* when nothing is left in it */
    return rc;
}
