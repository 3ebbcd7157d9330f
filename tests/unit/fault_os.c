#include "fault_os.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "libcore/os.h"

const char *const fault_name[FAULT_CALLS] = {"openat",    "pread",    "pwrite",   "fdatasync", "fsync", "ftruncate",
                                             "fallocate", "renameat", "unlinkat", "mkdirat",   "mmap"};

static struct es_os real;
static bool installed;
static unsigned count[FAULT_CALLS];
static int call = -1, error;
static unsigned nth;
static bool fired, lasting;
static const char *only;

void fault_clear(void) {
    call = -1;
    fired = false;
    memset(count, 0, sizeof count);
}

void fault_at(enum fault_call c, unsigned n, int e) {
    fault_clear();
    call = (int)c;
    nth = n;
    error = e;
    lasting = false;
}

void fault_from(enum fault_call c, unsigned n, int e) {
    fault_at(c, n, e);
    lasting = true;
}

void fault_always(enum fault_call c, int e) {
    fault_from(c, 1, e);
}
void fault_only(const char *suffix) {
    only = suffix;
}
bool fault_fired(void) {
    return fired;
}
unsigned fault_count(enum fault_call c) {
    return count[c];
}

static bool ends_so(const char *path) {
    size_t len = strlen(path), tail = strlen(only);
    return len >= tail && strcmp(path + len - tail, only) == 0;
}

static bool counts(int fd, const char *path) {
    char link[64], target[512];
    if (!only)
        return true;
    if (path)
        return ends_so(path);
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, target, sizeof target - 1);
    target[n > 0 ? n : 0] = '\0';
    return ends_so(target);
}

/* True when this call is to fail; errno is set. */
static bool fails(enum fault_call c, int fd, const char *path) {
    if (!counts(fd, path))
        return false;
    count[c]++;
    if (call != (int)c || (lasting ? count[c] < nth : count[c] != nth))
        return false;
    fired = true;
    if (error == FAULT_DIE)
        _exit(0);
    errno = error;
    return true;
}

static int f_openat(int dir, const char *path, int flags, mode_t mode) {
    return fails(FAULT_OPENAT, -1, path) ? -1 : real.openat(dir, path, flags, mode);
}

static ssize_t f_pread(int fd, void *buf, size_t len, off_t at) {
    if (!fails(FAULT_PREAD, fd, NULL))
        return real.pread(fd, buf, len, at);
    return error == FAULT_SHORT ? real.pread(fd, buf, len > 1 ? len / 2 : len, at) : -1;
}

static ssize_t f_pwrite(int fd, const void *buf, size_t len, off_t at) {
    if (!fails(FAULT_PWRITE, fd, NULL))
        return real.pwrite(fd, buf, len, at);
    if (error == FAULT_SHORT)
        return real.pwrite(fd, buf, len > 1 ? len / 2 : len, at);
    if (error == FAULT_HALF) {
        (void)!real.pwrite(fd, buf, len / 2, at);
        errno = EIO;
    }
    return -1;
}

static int f_fdatasync(int fd) {
    return fails(FAULT_FDATASYNC, fd, NULL) ? -1 : real.fdatasync(fd);
}
static int f_fsync(int fd) {
    return fails(FAULT_FSYNC, fd, NULL) ? -1 : real.fsync(fd);
}
static int f_ftruncate(int fd, off_t size) {
    return fails(FAULT_FTRUNCATE, fd, NULL) ? -1 : real.ftruncate(fd, size);
}

static int f_fallocate(int fd, off_t at, off_t len) {
    return fails(FAULT_FALLOCATE, fd, NULL) ? -1 : real.fallocate(fd, at, len);
}

static int f_renameat(int dir, const char *from, const char *to) {
    return fails(FAULT_RENAMEAT, -1, to) ? -1 : real.renameat(dir, from, to);
}

static int f_unlinkat(int dir, const char *path) {
    return fails(FAULT_UNLINKAT, -1, path) ? -1 : real.unlinkat(dir, path);
}

static int f_mkdirat(int dir, const char *path, mode_t mode) {
    return fails(FAULT_MKDIRAT, -1, path) ? -1 : real.mkdirat(dir, path, mode);
}

static void *f_mmap(size_t len, int prot, int fd, off_t at) {
    return fails(FAULT_MMAP, fd, NULL) ? MAP_FAILED : real.mmap(len, prot, fd, at);
}

void fault_install(void) {
    if (!installed)
        real = es_os;
    installed = true;
    fault_clear();
    only = NULL;
    es_os.openat = f_openat;
    es_os.pread = f_pread;
    es_os.pwrite = f_pwrite;
    es_os.fdatasync = f_fdatasync;
    es_os.fsync = f_fsync;
    es_os.ftruncate = f_ftruncate;
    es_os.fallocate = f_fallocate;
    es_os.renameat = f_renameat;
    es_os.unlinkat = f_unlinkat;
    es_os.mkdirat = f_mkdirat;
    es_os.mmap = f_mmap;
}

void fault_remove(void) {
    if (installed)
        es_os = real;
    installed = false;
}
