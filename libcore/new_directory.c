#include "new_directory.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "os.h"

#define ABOVE_MAX 256u /* directories above that are looked at */
#define DEPTH_MAX 3    /* folders within folders that are removed; a store has one level */

/* ---- removing ---- */

struct removal {
    int dir, depth;
};

static int remove_entry(void *context, const char *name) {
    const struct removal *r = context;
    int rc = es_unlinkat(r->dir, name);
    if (rc != -EISDIR || r->depth >= DEPTH_MAX)
        return rc == -ENOENT ? 0 : rc;
    struct removal inside = {es_opendirat(r->dir, name), r->depth + 1};
    if (inside.dir < 0)
        return inside.dir;
    rc = es_list_all(inside.dir, ".", remove_entry, &inside);
    es_close(&inside.dir);
    return rc < 0 ? rc : es_rmdirat(r->dir, name);
}

static int empty(int dir) {
    struct removal r = {dir, 0};
    return es_list_all(dir, ".", remove_entry, &r);
}

static int remove_whole(int parent, const char *name) {
    int dir = es_opendirat(parent, name);
    if (dir < 0)
        return dir == -ENOENT ? 0 : dir;
    int rc = empty(dir);
    es_close(&dir);
    return rc < 0 ? rc : es_rmdirat(parent, name);
}

/* ---- beginning ---- */

/* The path's last part into name, and the parent opened. */
static int split(struct es_new_directory *n, const char *path, struct esdb_error *err) {
    size_t len = strlen(path);
    while (len > 1 && path[len - 1] == '/')
        len--;
    size_t base = len;
    while (base > 0 && path[base - 1] != '/')
        base--;
    size_t name_len = len - base;
    if (name_len == 0 || (name_len == 1 && path[base] == '.') || (name_len == 2 && memcmp(path + base, "..", 2) == 0))
        return es_fail(err, ESDB_EUSAGE, "'%s' does not name a directory that can be made or exchanged", path);
    if (name_len + sizeof "..esdb-new" > sizeof n->name)
        return es_fail(err, ESDB_EUSAGE, "%s: the name is too long", path);
    snprintf(n->name, sizeof n->name, "%.*s", (int)name_len, path + base);
    snprintf(n->new_name, sizeof n->new_name, ".%.*s.esdb-new", (int)name_len, path + base);
    snprintf(n->old_name, sizeof n->old_name, ".%.*s.esdb-old", (int)name_len, path + base);
    size_t room = base + name_len + sizeof "..esdb-new" + 2;
    n->temporary = malloc(room);
    if (!n->temporary)
        return es_fail(err, -ENOMEM, "%s", path);
    snprintf(n->temporary, room, "%.*s", (int)base, base ? path : "");
    n->parent = es_open_directory(base ? n->temporary : ".");
    snprintf(n->temporary, room, "%.*s%s", (int)base, path, n->new_name);
    if (n->parent == -ENOENT || n->parent == -ENOTDIR)
        return es_fail(err, ESDB_EUSAGE, "%s: the directory above does not exist", path);
    return n->parent < 0 ? es_fail(err, n->parent, "%s: opening the directory above", path) : 0;
}

/* A store, or a backup, holds its own files only: nothing is put into one, not even further down. */
static int refuse_in_store(const struct es_new_directory *n, struct esdb_error *err) {
    const char *slash = strrchr(n->temporary, '/');
    size_t len = slash ? (size_t)(slash - n->temporary) + 1 : 2;
    char *above = malloc(len + 3 * ABOVE_MAX + 1);
    struct stat here, below = {0}, st;
    bool there = above != NULL;
    int rc = above ? 0 : es_fail(err, -ENOMEM, "%s", n->path);
    if (above)
        memcpy(above, slash ? n->temporary : "./", len);
    for (unsigned i = 0; rc == 0 && there && i < ABOVE_MAX; i++, len += 3) {
        above[len] = '\0';
        int fd = es_open_directory(above);
        there = fd >= 0 && es_fstat(fd, &here) == 0 && (here.st_ino != below.st_ino || here.st_dev != below.st_dev);
        if (there && es_fstatat(fd, "store.yaml", &st) == 0)
            rc = es_fail(err, ESDB_EUSAGE, "%s: would be inside a store, or inside a backup", n->path);
        es_close(&fd);
        below = here;
        memcpy(above + len, "../", 3);
    }
    free(above);
    return rc;
}

/* Where everybody may make directories, a stranger's is not taken for ours. */
static int refuse_foreign(const struct es_new_directory *n, int dir, const char *name, struct esdb_error *err) {
    struct stat above, st;
    int rc = es_fstat(n->parent, &above);
    if (rc == 0)
        rc = es_fstat(dir, &st);
    if (rc < 0)
        return es_fail(err, rc, "%s", n->path);
    if (!(above.st_mode & S_IWOTH) || st.st_uid == es_uid() || st.st_uid == n->owner)
        return 0;
    return es_fail(err, ESDB_EDENIED, "%s: '%s' is another user's, where everybody may write", n->path, name);
}

static bool same_directory(int parent, const char *name, int fd) {
    struct stat a, b;
    return es_fstatat(parent, name, &a) == 0 && es_fstat(fd, &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

/* Whoever had the lock may just have put the directory in its place: then it is not the temporary one any more. */
static int lock_temporary(struct es_new_directory *n, struct esdb_error *err) {
    for (int tries = 0; tries < 10; tries++) {
        int rc = es_mkdirat(n->parent, n->new_name, 0700);
        if (rc < 0 && rc != -EEXIST)
            return es_fail(err, rc, "%s", n->path);
        n->dir = es_opendirat(n->parent, n->new_name);
        if (n->dir == -ENOENT)
            continue;
        if (n->dir < 0)
            return es_fail(err, n->dir, "%s", n->temporary);
        if ((rc = refuse_foreign(n, n->dir, n->new_name, err)) < 0) {
            es_close(&n->dir);
            return rc;
        }
        rc = es_lock_directory(n->dir);
        if (rc == 0 && same_directory(n->parent, n->new_name, n->dir))
            return 0;
        es_close(&n->dir);
        if (rc < 0 && rc != -EAGAIN)
            return es_fail(err, rc, "%s", n->temporary);
        if (rc == -EAGAIN)
            break;
    }
    return es_fail(err, ESDB_EUNAVAILABLE, "%s: another process is writing it", n->path);
}

int es_new_directory_begin(struct es_new_directory *n, const char *path, uid_t owner, struct esdb_error *err) {
    struct stat st;
    *n = (struct es_new_directory){.path = path, .owner = owner, .parent = -1, .dir = -1};
    int rc = split(n, path, err);
    if (rc == 0)
        rc = refuse_in_store(n, err);
    if (rc == 0)
        rc = lock_temporary(n, err);
    if (rc < 0)
        return rc;
    rc = empty(n->dir);
    if (rc == 0 && es_fstatat(n->parent, n->name, &st) == -ENOENT) { /* died between two renames */
        rc = es_renameat(n->parent, n->old_name, n->name);
        rc = rc == -ENOENT ? 0 : rc;
    } else if (rc == 0)
        rc = remove_whole(n->parent, n->old_name);
    return rc < 0 ? es_fail(err, rc, "%s: removing what an earlier attempt has left", path) : 0;
}

static int found_one(void *context, const char *name) {
    (void)context;
    (void)name;
    return 1;
}

int es_new_directory_existing(const struct es_new_directory *n, struct esdb_error *err) {
    int dir = es_opendirat(n->parent, n->name);
    if (dir == -ENOENT)
        return dir;
    if (dir == -ENOTDIR || dir == -ELOOP)
        return es_fail(err, ESDB_EUSAGE, "%s: is there, and is not a directory", n->path);
    if (dir < 0)
        return es_fail(err, dir, "%s", n->path);
    int rc = refuse_foreign(n, dir, n->name, err);
    if (rc == 0)
        rc = es_list_all(dir, ".", found_one, NULL);
    if (rc == 1)
        return dir;
    es_close(&dir);
    return rc < 0 ? es_fail(err, rc, "%s", n->path) : -ENOENT;
}

int es_new_directory_folder(const struct es_new_directory *n, const char *name) {
    int rc = es_mkdirat(n->dir, name, 0700);
    return rc < 0 ? rc : es_opendirat(n->dir, name);
}

/* ---- ending ---- */

/* Where names cannot be exchanged. A process that dies in between leaves the old one under old_name: the next one that
 * begins puts it back. */
static int exchange_slowly(const struct es_new_directory *n) {
    int rc = es_renameat(n->parent, n->name, n->old_name);
    if (rc == 0)
        rc = es_fsync(n->parent);
    if (rc < 0)
        return rc;
    rc = es_renameat(n->parent, n->new_name, n->name);
    if (rc < 0) {
        es_renameat(n->parent, n->old_name, n->name);
        return rc;
    }
    return 0;
}

static int put_in_place(const struct es_new_directory *n, bool replace) {
    if (!replace)
        return es_renameat(n->parent, n->new_name, n->name);
    int rc = es_swapat(n->parent, n->new_name, n->name);
    return rc == -EINVAL || rc == -ENOSYS || rc == -EOPNOTSUPP ? exchange_slowly(n) : rc;
}

static void release(struct es_new_directory *n) {
    es_close(&n->dir);
    es_close(&n->parent);
    free(n->temporary);
    n->temporary = NULL;
}

int es_new_directory_commit(struct es_new_directory *n, bool replace, struct esdb_error *err) {
    int rc = es_fsync(n->dir);
    int before = rc == 0 && replace ? es_opendirat(n->parent, n->name) : -1;
    if (before >= 0)
        rc = es_lock_directory(before); /* it takes the temporary name, which others may want */
    if (rc == 0)
        rc = put_in_place(n, replace);
    if (rc == 0 && before >= 0 && es_fsync(n->parent) == 0 && empty(before) == 0) { /* else the next run does it */
        es_rmdirat(n->parent, n->new_name);
        es_rmdirat(n->parent, n->old_name);
    }
    es_close(&before);
    if (rc == -ENOTEMPTY || rc == -EEXIST || rc == -ENOTDIR)
        return es_fail(err, ESDB_EUSAGE, "%s: something has come about there meanwhile", n->path);
    if (rc == 0)
        rc = es_fsync(n->parent);
    if (rc < 0)
        return es_fail(err, rc, "%s: putting it in its place", n->path);
    release(n);
    return 0;
}

void es_new_directory_abort(struct es_new_directory *n) {
    if (n->dir >= 0 && same_directory(n->parent, n->new_name, n->dir) && empty(n->dir) == 0)
        es_rmdirat(n->parent, n->new_name);
    release(n);
}
