#include "os.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <linux/futex.h>
#include <linux/openat2.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

/* ---- the table ---- */

static int sys_openat(int dir, const char *path, int flags, mode_t mode) {
    struct open_how how = {.flags = (uint64_t)(unsigned)flags,
                           .mode = flags & O_CREAT ? mode : 0,
                           .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS};
    int fd = (int)syscall(SYS_openat2, dir, path, &how, sizeof how);
    if (fd >= 0 || errno != ENOSYS)
        return fd;
    return openat(dir, path, flags | O_NOFOLLOW, mode); /* before Linux 5.6; our paths are single names */
}

static int sys_fallocate(int fd, off_t at, off_t len) {
    return fallocate(fd, 0, at, len);
}

static int sys_renameat(int dir, const char *from, const char *to) {
    return renameat(dir, from, dir, to);
}

static int sys_unlinkat(int dir, const char *path) {
    return unlinkat(dir, path, 0);
}

static int sys_linkat(int from_dir, const char *from, int to_dir, const char *to) {
    return linkat(from_dir, from, to_dir, to, 0);
}

static void *sys_mmap(size_t len, int prot, int fd, off_t at) {
    return mmap(NULL, len, prot, MAP_SHARED, fd, at);
}

struct es_os es_os = {
    .openat = sys_openat,
    .close = close,
    .pread = pread,
    .pwrite = pwrite,
    .fdatasync = fdatasync,
    .fsync = fsync,
    .ftruncate = ftruncate,
    .fallocate = sys_fallocate,
    .renameat = sys_renameat,
    .unlinkat = sys_unlinkat,
    .mkdirat = mkdirat,
    .linkat = sys_linkat,
    .mmap = sys_mmap,
    .munmap = munmap,
};

static int result(int rc) {
    return rc < 0 ? -errno : rc;
}

/* ---- files ---- */

static int open_patiently(int dir, const char *path, int flags, mode_t mode) {
    int fd, tries = 0;
    do /* EAGAIN: somebody renamed things while the kernel looked (openat2(2)) */
        fd = es_os.openat(dir, path, flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, mode);
    while (fd < 0 && (errno == EINTR || (errno == EAGAIN && ++tries < 100)));
    return result(fd);
}

int es_openat_stat(int dir, const char *path, int flags, mode_t mode, struct stat *out) {
    int fd = open_patiently(dir, path, flags, mode);
    if (fd < 0)
        return fd;
    int rc = es_fstat(fd, out);
    if (rc == 0 && !S_ISREG(out->st_mode))
        rc = -EINVAL;
    if (rc == 0 && (flags & O_ACCMODE) != O_RDONLY && out->st_nlink > 1)
        rc = -EMLINK; /* what is written here would be written somewhere else too */
    if (rc < 0) {
        es_close(&fd);
        return rc;
    }
    return fd;
}

int es_openat(int dir, const char *path, int flags, mode_t mode) {
    struct stat st;
    return es_openat_stat(dir, path, flags, mode, &st);
}

int es_opendirat(int dir, const char *path) {
    return open_patiently(dir, path, O_RDONLY | O_DIRECTORY, 0);
}

int es_open_directory(const char *path) {
    return result(open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
}

int es_dup(int fd) {
    return result(fcntl(fd, F_DUPFD_CLOEXEC, 0));
}

int es_mkdir(const char *path, mode_t mode) {
    return result(mkdir(path, mode));
}

void es_close(int *fd) {
    if (*fd >= 0)
        es_os.close(*fd);
    *fd = -1;
}

ssize_t es_pread(int fd, void *buf, size_t len, uint64_t at) {
    size_t done = 0;
    while (done < len) {
        ssize_t n = es_os.pread(fd, (char *)buf + done, len - done, (off_t)(at + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            break;
        done += (size_t)n;
    }
    return (ssize_t)done;
}

int es_pwrite(int fd, const void *buf, size_t len, uint64_t at) {
    size_t done = 0;
    while (done < len) {
        ssize_t n = es_os.pwrite(fd, (const char *)buf + done, len - done, (off_t)(at + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            return -EIO;
        done += (size_t)n;
    }
    return 0;
}

/* An interrupted sync is simply asked again: EINTR is no report of an I/O error. */
int es_fdatasync(int fd) {
    int rc;
    do
        rc = result(es_os.fdatasync(fd));
    while (rc == -EINTR);
    return rc;
}

int es_fsync(int fd) {
    int rc;
    do
        rc = result(es_os.fsync(fd));
    while (rc == -EINTR);
    return rc;
}

int es_ftruncate(int fd, uint64_t size) {
    int rc;
    do
        rc = result(es_os.ftruncate(fd, (off_t)size));
    while (rc == -EINTR);
    return rc;
}

static int write_zeros(int fd, uint64_t at, uint64_t end) {
    static const char zeros[64 << 10];
    while (at < end) {
        size_t len = end - at < sizeof zeros ? (size_t)(end - at) : sizeof zeros;
        int rc = es_pwrite(fd, zeros, len, at);
        if (rc < 0)
            return rc;
        at += len;
    }
    return 0;
}

int es_fallocate(int fd, uint64_t at, uint64_t len) {
    int rc;
    do
        rc = result(es_os.fallocate(fd, (off_t)at, (off_t)len));
    while (rc == -EINTR);
    if (rc != -EOPNOTSUPP)
        return rc;
    struct stat st;
    rc = es_fstat(fd, &st);
    if (rc < 0)
        return rc;
    uint64_t from = (uint64_t)st.st_size > at ? (uint64_t)st.st_size : at;
    return write_zeros(fd, from, at + len);
}

int es_renameat(int dir, const char *from, const char *to) {
    return result(es_os.renameat(dir, from, to));
}

int es_unlinkat(int dir, const char *path) {
    return result(es_os.unlinkat(dir, path));
}

int es_mkdirat(int dir, const char *path, mode_t mode) {
    return result(es_os.mkdirat(dir, path, mode));
}

int es_rmdirat(int dir, const char *path) {
    return result(unlinkat(dir, path, AT_REMOVEDIR));
}

int es_linkat(int from_dir, const char *from, int to_dir, const char *to) {
    return result(es_os.linkat(from_dir, from, to_dir, to));
}

int es_clone(int from, int to) {
    return result(ioctl(to, FICLONE, from));
}

int es_swapat(int dir, const char *a, const char *b) {
    return result(renameat2(dir, a, dir, b, RENAME_EXCHANGE));
}

int es_lock_directory(int fd) {
    int rc = result(flock(fd, LOCK_EX | LOCK_NB));
    return rc == -EWOULDBLOCK ? -EAGAIN : rc;
}

int es_mmap(int fd, size_t len, bool writable, void **out) {
    void *at = es_os.mmap(len, writable ? PROT_READ | PROT_WRITE : PROT_READ, fd, 0);
    if (at == MAP_FAILED)
        return -errno;
    *out = at;
    return 0;
}

int es_map_memory(size_t len, bool large, void **out) {
    void *at = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED)
        return -errno;
    if (large)
        madvise(at, len, MADV_HUGEPAGE);
    *out = at;
    return 0;
}

int es_memory_file(const char *name) {
    return result(memfd_create(name, MFD_CLOEXEC));
}

void es_munmap(void *at, size_t len) {
    if (at)
        es_os.munmap(at, len);
}

/* Not stat(2): since Linux 6.13 whoever asks for times makes the next write to the file update them one by one, and a
 * durable append then costs half as much again. */
static int look(int dir, const char *path, int flags, struct stat *out) {
    struct statx s;
    unsigned mask =
        STATX_TYPE | STATX_MODE | STATX_NLINK | STATX_UID | STATX_GID | STATX_INO | STATX_SIZE | STATX_BLOCKS;
    if (statx(dir, path, flags, mask, &s) < 0)
        return -errno;
    *out = (struct stat){.st_dev = makedev(s.stx_dev_major, s.stx_dev_minor),
                         .st_ino = s.stx_ino,
                         .st_mode = s.stx_mode,
                         .st_nlink = s.stx_nlink,
                         .st_uid = s.stx_uid,
                         .st_gid = s.stx_gid,
                         .st_size = (off_t)s.stx_size,
                         .st_blocks = (blkcnt_t)s.stx_blocks};
    return 0;
}

int es_fstat(int fd, struct stat *out) {
    return look(fd, "", AT_EMPTY_PATH, out);
}

int es_fstatat(int dir, const char *path, struct stat *out) {
    return look(dir, path, AT_SYMLINK_NOFOLLOW, out);
}

int es_set_owner(int fd, uid_t uid, gid_t gid) {
    return result(fchown(fd, uid, gid));
}

int es_set_mode(int fd, mode_t mode) {
    return result(fchmod(fd, mode));
}

/* File systems where locks, mmap or fsync do not mean what the protocol needs. Magic numbers: statfs(2). */
static bool is_network(unsigned long type) {
    static const unsigned long network[] = {
        0x6969 /* nfs */,     0x517b /* smb */,      0xfe534d42 /* smb2 */, 0xff534d42 /* cifs */,
        0x5346414f /* afs */, 0x00c36400 /* ceph */, 0x01021997 /* 9p */,   0x73757245 /* coda */};
    for (size_t i = 0; i < sizeof network / sizeof *network; i++)
        if ((type & 0xffffffff) == network[i])
            return true;
    return false;
}

enum es_fs es_fs_of(int fd) {
    struct statfs st;
    if (fstatfs(fd, &st) < 0)
        return ES_FS_LOCAL;
    if (st.f_flags & ST_RDONLY)
        return ES_FS_READ_ONLY;
    return is_network((unsigned long)st.f_type) ? ES_FS_NETWORK : ES_FS_LOCAL;
}

void es_write_ahead(int fd, uint64_t at, uint64_t len) {
    sync_file_range(fd, (off_t)at, (off_t)len, SYNC_FILE_RANGE_WRITE);
}

void es_no_readahead(int fd) {
    posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM);
}

void es_drop_cache(int fd) {
    posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
}

size_t es_forget_pages(void *map, size_t from, size_t to) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    to -= to % page;
    if (to > from)
        madvise((char *)map + from, to - from, MADV_DONTNEED);
    return to;
}

#define LIST_ROOM 4096u

static int list(int dir, const char *path, bool hidden, int (*fn)(void *context, const char *name), void *context) {
    int fd = es_opendirat(dir, path);
    if (fd < 0)
        return fd;
    _Alignas(struct dirent64) char entries[LIST_ROOM]; /* a stream of the C library takes three calls and 32 KiB more */
    ssize_t n = 0;
    int rc = 0;
    while (rc == 0 && (n = getdents64(fd, entries, sizeof entries)) > 0)
        for (ssize_t at = 0; rc == 0 && at < n;) {
            const struct dirent64 *e = (const struct dirent64 *)(const void *)(entries + at);
            at += e->d_reclen;
            if (e->d_name[0] != '.' || (hidden && strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0))
                rc = fn(context, e->d_name);
        }
    if (rc == 0 && n < 0)
        rc = -errno;
    es_close(&fd);
    return rc;
}

int es_list_dir(int dir, const char *path, int (*fn)(void *context, const char *name), void *context) {
    return list(dir, path, false, fn, context);
}

int es_list_all(int dir, const char *path, int (*fn)(void *context, const char *name), void *context) {
    return list(dir, path, true, fn, context);
}

/* ---- locks ---- */

static int set_lock(int fd, uint64_t byte, short type) {
    struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = (off_t)byte, .l_len = 1};
    int rc = result(fcntl(fd, F_OFD_SETLK, &lock));
    return rc == -EACCES ? -EAGAIN : rc;
}

int es_try_lock(int fd, uint64_t byte) {
    return set_lock(fd, byte, F_WRLCK);
}

void es_unlock(int fd, uint64_t byte) {
    set_lock(fd, byte, F_UNLCK);
}

bool es_is_locked(int fd, uint64_t byte) {
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = (off_t)byte, .l_len = 1};
    return fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

/* ---- clock, chance, identity ---- */

static uint64_t clock_ns(clockid_t which) {
    struct timespec t;
    clock_gettime(which, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t es_clock_us(void) {
    return clock_ns(CLOCK_REALTIME) / 1000;
}

uint64_t es_monotonic_ms(void) {
    return clock_ns(CLOCK_MONOTONIC) / 1000000;
}

uint64_t es_boottime_ms(void) {
    return clock_ns(CLOCK_BOOTTIME) / 1000000;
}

int es_random(void *buf, size_t len) {
    size_t done = 0;
    while (done < len) {
        ssize_t n = getrandom((char *)buf + done, len - done, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        done += (size_t)n;
    }
    return 0;
}

static int hex_value(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int es_boot_id(unsigned char out[16]) {
    char text[64];
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    ssize_t n = read(fd, text, sizeof text);
    close(fd);
    size_t digits = 0;
    memset(out, 0, 16);
    for (ssize_t i = 0; i < n && digits < 32; i++) {
        int v = hex_value(text[i]);
        if (v >= 0) {
            out[digits / 2] = (unsigned char)(out[digits / 2] << 4 | v);
            digits++;
        }
    }
    return digits == 32 ? 0 : -EIO;
}

pid_t es_pid(void) {
    return getpid();
}

void es_host_name(char *out, size_t room) {
    if (gethostname(out, room) != 0 || !out[0])
        snprintf(out, room, "localhost");
    out[room - 1] = '\0';
}

uid_t es_uid(void) {
    return geteuid();
}

/* ---- futex ---- */

int es_futex_wait(const _Atomic uint32_t *word, uint32_t value, uint32_t bits, int timeout_ms) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until); /* FUTEX_WAIT_BITSET takes a point in time */
    until.tv_sec += timeout_ms / 1000;
    until.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_nsec -= 1000000000;
        until.tv_sec++;
    }
    long rc = syscall(SYS_futex, word, FUTEX_WAIT_BITSET, value, timeout_ms < 0 ? NULL : &until, NULL, bits);
    if (rc < 0 && errno != EAGAIN)
        return -errno;
    return 0;
}

void es_futex_wake(_Atomic uint32_t *word, int waiters, uint32_t bits) {
    syscall(SYS_futex, word, FUTEX_WAKE_BITSET, waiters, NULL, NULL, bits);
}

void es_sleep_ms(int ms) {
    struct timespec t = {ms / 1000, (long)(ms % 1000) * 1000000};
    nanosleep(&t, NULL);
}

/* ---- local sockets ---- */

int es_connect_local(int dir, const char *name) {
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    /* by way of the directory: its own path may be longer than an address can be */
    int n = snprintf(a.sun_path, sizeof a.sun_path, "/proc/self/fd/%d/%s", dir, name);
    if (n < 0 || (size_t)n >= sizeof a.sun_path)
        return -ENAMETOOLONG;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    if (connect(fd, (struct sockaddr *)&a, sizeof a) < 0) {
        int rc = -errno;
        close(fd);
        return rc;
    }
    return fd;
}

/* Waits until fd is ready for `events`. */
static int await(int fd, short events, uint64_t deadline) {
    for (;;) {
        uint64_t now = es_monotonic_ms();
        struct pollfd p = {fd, events, 0};
        if (now >= deadline)
            return -ETIMEDOUT;
        int n = poll(&p, 1, deadline - now > 60000 ? 60000 : (int)(deadline - now));
        if (n > 0)
            return 0;
        if (n < 0 && errno != EINTR)
            return -errno;
    }
}

int es_send_all(int fd, const void *at, size_t len, uint64_t deadline) {
    for (size_t done = 0; done < len;) {
        ssize_t n = send(fd, (const char *)at + done, len - done, MSG_NOSIGNAL);
        int rc = n >= 0 ? 0 : errno == EAGAIN ? await(fd, POLLOUT, deadline) : errno == EINTR ? 0 : -errno;
        if (rc < 0)
            return rc;
        done += n > 0 ? (size_t)n : 0;
    }
    return 0;
}

ssize_t es_receive_some(int fd, void *at, size_t room, uint64_t deadline) {
    for (;;) {
        int rc = await(fd, POLLIN, deadline);
        if (rc < 0)
            return rc;
        ssize_t n = recv(fd, at, room, 0);
        if (n > 0)
            return n;
        if (n == 0)
            return -EPIPE;
        if (errno != EAGAIN && errno != EINTR)
            return -errno;
    }
}

int es_receive_all(int fd, void *at, size_t len, uint64_t deadline) {
    for (size_t done = 0; done < len;) {
        ssize_t n = recv(fd, (char *)at + done, len - done, 0);
        int rc = n > 0             ? 0
                 : n == 0          ? -EPIPE
                 : errno == EAGAIN ? await(fd, POLLIN, deadline)
                 : errno == EINTR  ? 0
                                   : -errno;
        if (rc < 0)
            return rc;
        done += n > 0 ? (size_t)n : 0;
    }
    return 0;
}
