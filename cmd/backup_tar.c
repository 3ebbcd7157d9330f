/* backup_tar.c: esdb-backup --tar. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backup.h"

/* Where the archive goes: standard output, or a file that gets its name when it is whole. */
struct archive {
    int fd; /* -1: standard output */
    struct cmd_progress progress;
};

static int put(void *context, const void *bytes, size_t len) {
    struct archive *a = context;
    const char *at = bytes;
    if (a->fd < 0) {
        cmd_out_add(cmd_stdout(), at, len);
        return cmd_stdout()->failed ? -EIO : 0;
    }
    while (len > 0) {
        ssize_t n = write(a->fd, at, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        at += n;
        len -= (size_t)n;
    }
    return 0;
}

static void show_progress(void *context, uint64_t done, uint64_t total) {
    struct archive *a = context;
    cmd_progress_update(&a->progress, done, total, true);
}

/* The store's own name: the last part of its real path. */
static const char *name_of(const char *path, char real[PATH_MAX]) {
    const char *slash = realpath(path, real) ? strrchr(real, '/') : NULL;
    return slash && slash[1] ? slash + 1 : "store";
}

static int sync_directory(const char *file) {
    char path[PATH_MAX];
    const char *slash = strrchr(file, '/');
    snprintf(path, sizeof path, "%.*s", slash ? (int)(slash - file + 1) : 1, slash ? file : ".");
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = fd < 0 || fsync(fd) < 0 ? -errno : 0;
    if (fd >= 0)
        close(fd);
    return rc;
}

static int write_archive(esdb *db, struct archive *a, const char *name, struct esdb_backup_result *r) {
    struct esdb_backup_options o = {.progress = show_progress, .context = a};
    struct esdb_error err = {0};
    cmd_progress_begin(&a->progress, "backed up");
    int rc = esdb_backup_tar(db, name, put, &o, r, &err);
    cmd_progress_end(&a->progress);
    if (a->fd < 0 && cmd_stdout()->failed)
        return 1; /* told already */
    return cmd_report(rc, &err);
}

static int write_file(esdb *db, struct archive *a, const char *file, const char *name, struct esdb_backup_result *r) {
    char temporary[PATH_MAX];
    int n = snprintf(temporary, sizeof temporary, "%s.esdb-new", file);
    if (n < 0 || (size_t)n >= sizeof temporary)
        cmd_usage_error("--tar: the path is too long");
    a->fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (a->fd < 0) {
        cmd_message("%s: %s", temporary, strerror(errno));
        return 1;
    }
    int status = write_archive(db, a, name, r);
    bool done = status != 0 || (fsync(a->fd) == 0 && rename(temporary, file) == 0 && sync_directory(file) == 0);
    if (!done) {
        cmd_message("%s: %s", file, strerror(errno));
        status = 1;
    }
    if (status != 0)
        unlink(temporary);
    close(a->fd);
    return status;
}

int cmd_backup_tar(const char *file, const char *name, bool json, bool quiet) {
    struct archive a = {.fd = -1};
    struct esdb_backup_result r = {0};
    char real[PATH_MAX];
    bool to_stdout = strcmp(file, "-") == 0;
    esdb *db;
    if (to_stdout && cmd_stdout()->terminal)
        cmd_usage_error("--tar -: an archive is nothing for a terminal");
    if (to_stdout && json)
        cmd_usage_error("--tar -: standard output is taken, there is no place for --json");
    int status = cmd_open_store(ESDB_READ, &db);
    if (status != 0)
        return status;
    if (!name)
        name = name_of(esdb_path(db), real);
    status = to_stdout ? write_archive(db, &a, name, &r) : write_file(db, &a, file, name, &r);
    if (status == 0 && !to_stdout && !quiet)
        cmd_backup_summary(&r, "backed up", json);
    cmd_leave_store(db);
    return status;
}
