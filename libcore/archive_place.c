/* archive_place.c: where archives are: see archive.h.
 *
 * A file appears in a folder whole or not at all: ".new" beside it, fsync, rename, fsync of the folder. Only one process
 * changes a folder at a time, so a ".new" that is met was left by one that died. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "archive.h"
#include "os.h"
#include "os_archive.h"

#define COPY_SIZE (256u << 10)
#define LIST_MAX (256u << 20) /* bytes that a command may list */
#define EXEC "exec:"
#define POLL_MS 20 /* whoever waits for another process looks this often */

static int fail_here(const esdb_archive *a, const char *key, int code, struct esdb_error *err) {
    return es_fail(err, code, "%s/%s", a->where, key);
}

static int fail_missing(const esdb_archive *a, const char *key, struct esdb_error *err) {
    return es_fail(err, ESDB_ENOTFOUND, "%s/%s: no such archive", a->where, key);
}

/* ---- opening ---- */

static mode_t folder_mode(const esdb *db) {
    return (db->mode & 0777) | ((db->mode & 0444) >> 2);
}

static int open_parent(const char *path) {
    char *above;
    if (asprintf(&above, "%s/..", path) < 0)
        return -ENOMEM;
    int fd = es_open_directory(above);
    free(above);
    return fd;
}

/* Opens the folder, which may be made. -ENOENT: there is none. */
static int open_folder(const esdb_archive *a, bool make) {
    int fd = es_open_directory(a->where);
    if (fd != -ENOENT || !make)
        return fd;
    int rc = es_mkdir(a->where, folder_mode(a->db));
    if (rc < 0 && rc != -EEXIST)
        return rc;
    fd = es_open_directory(a->where);
    if (fd >= 0 && rc == 0)
        es_set_owner(fd, a->db->uid, a->db->gid);
    int parent = fd >= 0 ? open_parent(a->where) : -1;
    if (parent >= 0)
        es_fsync(parent);
    es_close(&parent);
    return fd;
}

/* Only one process changes them at a time. */
static int lock_place(const esdb_archive *a) {
    uint64_t deadline = es_monotonic_ms() + (uint64_t)a->db->lock_timeout_ms;
    int rc;
    while ((rc = es_lock_directory(a->dir)) == -EAGAIN && es_monotonic_ms() < deadline)
        es_sleep_ms(POLL_MS);
    return rc;
}

static bool is_same(int a, int b) {
    struct stat x, y;
    return es_fstat(a, &x) == 0 && es_fstat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

/* Archives of a stream with the name log would be among the segments. */
static bool is_of_a_store(const esdb_archive *a) {
    struct stat st;
    return es_fstatat(a->dir, "store.yaml", &st) == 0 || is_same(a->dir, a->db->log) ||
           (a->db->tables >= 0 && is_same(a->dir, a->db->tables));
}

static int open_place(esdb_archive *a, bool make, struct esdb_error *err) {
    a->dir = open_folder(a, make);
    if (a->dir == -ENOENT && !make) {
        a->dir = -1;
        return 0;
    }
    if (a->dir >= 0 && is_of_a_store(a))
        return es_fail(err, ESDB_EUSAGE, "%s: holds the files of a store, and no archives", a->where);
    int rc = a->dir < 0 ? a->dir : a->writable ? lock_place(a) : 0;
    if (rc == -EAGAIN)
        return es_fail(err, ESDB_EUNAVAILABLE, "%s: another process is changing these archives", a->where);
    return rc < 0 ? es_fail(err, rc, "%s", a->where) : 0;
}

int esdb_archive_open(esdb *db, const char *where, unsigned flags, esdb_archive **out, struct esdb_error *err) {
    if (where && (!*where || strcmp(where, EXEC) == 0))
        return es_fail(err, ESDB_EUSAGE, "archives: the place is empty");
    if (where && strncmp(where, EXEC, strlen(EXEC)) != 0 && strstr(where, "://"))
        return es_fail(
            err, ESDB_EUSAGE,
            "%s: archives are in a folder, or kept by a command that knows such places, as rclone does: exec:CMD",
            where);
    esdb_archive *a = calloc(1, sizeof *a);
    if (!a || (where ? asprintf(&a->where, "%s", where) : asprintf(&a->where, "%s/archive", db->path)) < 0) {
        free(a);
        return es_fail(err, -ENOMEM, "archives");
    }
    a->db = db;
    a->dir = -1;
    a->writable = flags & ESDB_APPEND;
    if (strncmp(a->where, EXEC, strlen(EXEC)) == 0)
        a->command = a->where + strlen(EXEC);
    int rc = a->command ? 0 : open_place(a, false, err);
    if (rc == 0 && where && !a->command && a->dir < 0 && !a->writable)
        rc = es_fail(err, ESDB_ENOTFOUND, "%s: there is no such folder of archives", where);
    if (rc < 0) {
        esdb_archive_close(a);
        return rc;
    }
    *out = a;
    return 0;
}

int es_archive_make(esdb_archive *a, struct esdb_error *err) {
    return a->command || a->dir >= 0 ? 0 : open_place(a, true, err);
}

void esdb_archive_close(esdb_archive *a) {
    if (!a)
        return;
    es_close(&a->dir);
    free(a->where);
    free(a);
}

const char *esdb_archive_where(const esdb_archive *a) {
    return a->where;
}

/* ---- a command ---- */

/* 0, ESDB_ENOTFOUND (exit status 4, and `missing`), or another failure of the command. */
static int run(esdb_archive *a, const char *verb, const char *key, int in, int out, int missing,
               struct esdb_error *err) {
    int status, rc = es_run_command(a->command, verb, key, in, out, &status);
    if (rc < 0)
        return es_fail(err, rc, "%s %s", a->where, verb);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 0;
    if (key && WIFEXITED(status) && strcmp(verb, "put") != 0 &&
        (WEXITSTATUS(status) == 4 || WEXITSTATUS(status) == missing))
        return fail_missing(a, key, err);
    if (WIFEXITED(status))
        return es_fail(err, ESDB_EUNAVAILABLE, "%s: %s %s ended with status %d", a->where, verb, key ? key : "",
                       WEXITSTATUS(status));
    return es_fail(err, ESDB_EUNAVAILABLE, "%s: %s %s was ended by signal %d", a->where, verb, key ? key : "",
                   WTERMSIG(status));
}

static int run_into_scratch(esdb_archive *a, const char *verb, const char *key, int *fd, struct esdb_error *err) {
    int file = es_scratch_file();
    if (file < 0)
        return es_fail(err, file, "a temporary file");
    int rc = run(a, verb, key, -1, file, -1, err);
    if (rc < 0)
        es_close(&file);
    *fd = file;
    return rc;
}

/* ---- single archives ---- */

/* Is it spelt as a key? Nothing else ever becomes a path. */
static int check_key(const char *key, struct esdb_error *err) {
    char stream[FMT_STREAM_NAME_MAX];
    uint64_t from, to;
    size_t len;
    if (fmt_archive_key_parse((struct fmt_text){key, strlen(key)}, stream, &len, &from, &to))
        return 0;
    return es_fail(err, ESDB_EINVALID, "%.300s: is no archive's key", key);
}

int es_archive_get(esdb_archive *a, const char *key, int *fd, struct esdb_error *err) {
    int rc = check_key(key, err);
    if (rc < 0)
        return rc;
    if (a->command)
        return run_into_scratch(a, "get", key, fd, err);
    int file = a->dir < 0 ? -ENOENT : es_openat(a->dir, key, O_RDONLY, 0);
    if (file == -ENOENT || file == -ENOTDIR)
        return fail_missing(a, key, err);
    if (file == -ELOOP || file == -EINVAL)
        return es_fail(err, ESDB_EDENIED, "%s/%s: is no regular file, or a link leads there", a->where, key);
    if (file < 0)
        return fail_here(a, key, file, err);
    *fd = file;
    return 0;
}

int esdb_archive_exists(esdb_archive *a, const char *key, struct esdb_error *err) {
    int fd, rc = check_key(key, err);
    if (rc == 0 && a->command)
        return run(a, "exists", key, -1, -1, 1, err);
    if (rc == 0)
        rc = es_archive_get(a, key, &fd, err);
    if (rc == 0)
        es_close(&fd);
    return rc;
}

/* The part before the last '/', in place; false when there is none. */
static bool go_up(char *path) {
    char *slash = strrchr(path, '/');
    if (slash)
        *slash = '\0';
    return slash != NULL;
}

static int sync_folder(const esdb_archive *a, const char *path) {
    int fd = es_opendirat(a->dir, path), rc = fd < 0 ? fd : es_fsync(fd);
    es_close(&fd);
    return rc;
}

/* Makes the folders of a key, durably. */
static int make_folders(const esdb_archive *a, const char *key) {
    char path[FMT_ARCHIVE_KEY_ROOM], above[FMT_ARCHIVE_KEY_ROOM];
    for (const char *slash = strchr(key, '/'); slash; slash = strchr(slash + 1, '/')) {
        snprintf(path, sizeof path, "%.*s", (int)(slash - key), key);
        int rc = es_mkdirat(a->dir, path, folder_mode(a->db));
        if (rc == -EEXIST)
            continue;
        if (rc < 0)
            return rc;
        int fd = es_opendirat(a->dir, path);
        if (fd >= 0)
            es_set_owner(fd, a->db->uid, a->db->gid);
        es_close(&fd);
        memcpy(above, path, sizeof above);
        rc = sync_folder(a, go_up(above) ? above : ".");
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int copy(int from, int to, uint64_t len) {
    unsigned char *buf = malloc(COPY_SIZE);
    uint64_t at = 0;
    int rc = buf ? 0 : -ENOMEM;
    while (rc == 0 && at < len) {
        ssize_t n = es_pread(from, buf, len - at < COPY_SIZE ? (size_t)(len - at) : COPY_SIZE, at);
        rc = n < 0 ? (int)n : n == 0 ? -EIO : es_pwrite(to, buf, (size_t)n, at);
        at += n > 0 ? (uint64_t)n : 0;
    }
    free(buf);
    return rc;
}

static int put_file(esdb_archive *a, const char *key, int fd, uint64_t len) {
    char folder[FMT_ARCHIVE_KEY_ROOM], fresh[FMT_ARCHIVE_KEY_ROOM + 8];
    snprintf(folder, sizeof folder, "%s", key);
    go_up(folder);
    snprintf(fresh, sizeof fresh, "%s/.new", folder);
    int rc = make_folders(a, key);
    if (rc < 0)
        return rc;
    rc = es_unlinkat(a->dir, fresh); /* of one that died */
    if (rc < 0 && rc != -ENOENT)
        return rc;
    int file = es_openat(a->dir, fresh, O_WRONLY | O_CREAT | O_EXCL, a->db->mode & 0666);
    if (file < 0)
        return file;
    es_adopt_file(a->db, file);
    rc = copy(fd, file, len);
    if (rc == 0)
        rc = es_fsync(file);
    es_drop_cache(file); /* what is read back comes from the disk */
    es_close(&file);
    if (rc == 0)
        rc = es_renameat(a->dir, fresh, key);
    if (rc < 0) {
        es_unlinkat(a->dir, fresh);
        return rc;
    }
    return sync_folder(a, folder);
}

int es_archive_put(esdb_archive *a, const char *key, int fd, uint64_t len, struct esdb_error *err) {
    int rc = check_key(key, err);
    if (rc < 0)
        return rc;
    if (a->command)
        return run(a, "put", key, fd, -1, -1, err);
    rc = es_archive_make(a, err);
    if (rc < 0)
        return rc;
    rc = put_file(a, key, fd, len);
    return rc < 0 ? fail_here(a, key, rc, err) : 0;
}

int esdb_archive_delete(esdb_archive *a, const char *key, struct esdb_error *err) {
    char folder[FMT_ARCHIVE_KEY_ROOM];
    int rc = check_key(key, err);
    if (rc < 0)
        return rc;
    if (a->command) {
        rc = run(a, "exists", key, -1, -1, 1, err);
        return rc == 0 ? run(a, "delete", key, -1, -1, -1, err) : rc;
    }
    rc = a->dir < 0 ? -ENOENT : es_unlinkat(a->dir, key);
    if (rc == -ENOENT || rc == -ENOTDIR)
        return fail_missing(a, key, err);
    snprintf(folder, sizeof folder, "%s", key);
    go_up(folder);
    if (rc == 0)
        rc = sync_folder(a, folder);
    while (rc == 0 && es_rmdirat(a->dir, folder) == 0 && go_up(folder)) /* empty ones go */
        ;
    return rc < 0 ? fail_here(a, key, rc, err) : 0;
}

/* ---- lists ---- */

struct walk {
    esdb_archive *a;
    int (*fn)(void *context, const char *key);
    void *context;
    char path[FMT_ARCHIVE_KEY_ROOM + 256];
};

static int give(struct walk *w, const char *key) {
    return check_key(key, NULL) == 0 ? w->fn(w->context, key) : 0;
}

static int on_file(void *context, const char *name) {
    struct walk *w = context;
    char key[sizeof w->path + 256];
    int n = snprintf(key, sizeof key, "%s/%s", w->path, name);
    return n > 0 && (size_t)n < sizeof key ? give(w, key) : 0;
}

/* A folder with archives, or when its name ends with '~', one with further folders. */
static int on_folder(void *context, const char *name) {
    struct walk *w = context;
    size_t was = strlen(w->path), len = strlen(name);
    if (was + len + 2 > sizeof w->path || name[0] == '.' || len == 0)
        return 0;
    snprintf(w->path + was, sizeof w->path - was, "%s%s", was ? "/" : "", name);
    int rc = es_list_dir(w->a->dir, w->path, name[len - 1] == '~' ? on_folder : on_file, w);
    w->path[was] = '\0';
    return rc == -ENOTDIR || rc == -ENOENT ? 0 : rc; /* something else, or gone meanwhile */
}

static int list_command(struct walk *w, struct esdb_error *err) {
    struct stat st = {0};
    int fd, rc = run_into_scratch(w->a, "list", NULL, &fd, err);
    if (rc < 0)
        return rc;
    rc = es_fstat(fd, &st);
    char *text = rc == 0 && (uint64_t)st.st_size < LIST_MAX ? malloc((size_t)st.st_size + 1) : NULL;
    ssize_t len = text ? es_pread(fd, text, (size_t)st.st_size, 0) : -ENOMEM;
    es_close(&fd);
    if (len < 0) {
        free(text);
        return es_fail(err, (int)len, "%s: its list", w->a->where);
    }
    text[len] = '\0';
    for (char *at = text, *end; rc == 0 && (end = memchr(at, '\n', (size_t)(text + len - at))); at = end + 1) {
        *end = '\0';
        rc = give(w, at);
    }
    free(text);
    return rc < 0 ? es_fail(err, rc, "%s", w->a->where) : 0;
}

int es_archive_keys(esdb_archive *a, int (*fn)(void *context, const char *key), void *context, struct esdb_error *err) {
    struct walk w = {.a = a, .fn = fn, .context = context};
    if (a->command)
        return list_command(&w, err);
    int rc = a->dir < 0 ? 0 : es_list_dir(a->dir, ".", on_folder, &w);
    if (rc == -ELOOP)
        return es_fail(err, ESDB_EDENIED, "%s: holds a link where a stream's folder must be", a->where);
    return rc < 0 ? es_fail(err, rc, "%s", a->where) : 0;
}
