/* os.h: every system call of libcore, in one replaceable table, so that tests can fail any of them. Functions return what
 * the system call returns, or -errno; EINTR is retried here where that is right. */
#ifndef ES_OS_H
#define ES_OS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

/* The raw calls. Tests replace members before a store is opened (es_os is one per process). */
struct es_os {
    int (*openat)(int dir, const char *path, int flags, mode_t mode);
    int (*close)(int fd);
    ssize_t (*pread)(int fd, void *buf, size_t len, off_t at);
    ssize_t (*pwrite)(int fd, const void *buf, size_t len, off_t at);
    int (*fdatasync)(int fd);
    int (*fsync)(int fd);
    int (*ftruncate)(int fd, off_t size);
    int (*fallocate)(int fd, off_t at, off_t len);
    int (*renameat)(int dir, const char *from, const char *to);
    int (*unlinkat)(int dir, const char *path);
    int (*mkdirat)(int dir, const char *path, mode_t mode);
    int (*linkat)(int from_dir, const char *from, int to_dir, const char *to);
    void *(*mmap)(size_t len, int prot, int fd, off_t at); /* shared; MAP_FAILED on error */
    int (*munmap)(void *at, size_t len);
};
extern struct es_os es_os;

/* Opens below dir without following any symbolic link (openat2 RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS). Regular files
 * only (-EINVAL); -ELOOP: a symbolic link; -EMLINK: a file to be written has several names. O_CLOEXEC is added. */
int es_openat(int dir, const char *path, int flags, mode_t mode);
int es_openat_stat(int dir, const char *path, int flags, mode_t mode, struct stat *out); /* as es_fstat tells it */
int es_opendirat(int dir, const char *path);                                             /* a directory, to read */
int es_open_directory(const char *path); /* wherever it is, links followed: the user named it */
int es_dup(int fd);
int es_mkdir(const char *path, mode_t mode);
void es_close(int *fd); /* closes and sets -1; -1 is fine */

/* Whole reads and writes: loop over short ones and EINTR. es_pread returns how much was there before the end of file. */
ssize_t es_pread(int fd, void *buf, size_t len, uint64_t at);
int es_pwrite(int fd, const void *buf, size_t len, uint64_t at);

int es_fdatasync(int fd);
int es_fsync(int fd);
int es_ftruncate(int fd, uint64_t size);
/* Allocates and makes the file at least at + len long; writes zeros where the file system cannot allocate. */
int es_fallocate(int fd, uint64_t at, uint64_t len);
int es_renameat(int dir, const char *from, const char *to);
int es_unlinkat(int dir, const char *path);
int es_mkdirat(int dir, const char *path, mode_t mode);
int es_rmdirat(int dir, const char *path);                                 /* an empty directory */
int es_linkat(int from_dir, const char *from, int to_dir, const char *to); /* another name; links are not followed */
/* The bytes of `from` become those of the empty file `to`, shared on the disk. -EOPNOTSUPP, -EXDEV and others: not here. */
int es_clone(int from, int to);
/* Two names of a directory exchange what they name, at once. -EINVAL, -ENOSYS: this file system cannot. */
int es_swapat(int dir, const char *a, const char *b);
/* Locks an open directory for as long as it is open (flock). -EAGAIN: somebody else has it. */
int es_lock_directory(int fd);
int es_mmap(int fd, size_t len, bool writable, void **out);
/* Addresses that become zeroed memory when they are written to; `large`: in large pages, where the system has some. */
int es_map_memory(size_t len, bool large, void **out);
#define ES_LARGE_PAGE ((size_t)2 << 20)
int es_memory_file(const char *name); /* an empty file without a name in any directory */
void es_munmap(void *at, size_t len);

/* Without times; see os.c. */
int es_fstat(int fd, struct stat *out);
int es_fstatat(int dir, const char *path, struct stat *out); /* does not follow links */
int es_set_owner(int fd, uid_t uid, gid_t gid);
int es_set_mode(int fd, mode_t mode);
enum es_fs { ES_FS_LOCAL, ES_FS_READ_ONLY, ES_FS_NETWORK };
enum es_fs es_fs_of(int fd);                            /* a read-only one is told as that, whatever else it is */
void es_write_ahead(int fd, uint64_t at, uint64_t len); /* sync_file_range: starts writing, reports nothing */
void es_drop_cache(int fd);                             /* posix_fadvise DONTNEED */
void es_no_readahead(int fd);                           /* posix_fadvise RANDOM */
/* Takes the pages of a mapping that is only read out of memory: from `from`, a page's begin, up to at most `to`. Returns up
 * to where. */
size_t es_forget_pages(void *map, size_t from, size_t to);

/* Locks of one byte, owned by the open file (F_OFD_SETLK). 0, or -EAGAIN when somebody else holds it. */
int es_try_lock(int fd, uint64_t byte);
void es_unlock(int fd, uint64_t byte);
bool es_is_locked(int fd, uint64_t byte); /* by another open file; needs no right to write */

/* Names in a directory, one call each; fn returns non-zero to stop, which is handed back. */
int es_list_dir(int dir, const char *path, int (*fn)(void *context, const char *name), void *context);
int es_list_all(int dir, const char *path, int (*fn)(void *context, const char *name),
                void *context); /* hidden ones too */

/* Local stream sockets. connect: `name` in `dir`, not blocking afterwards. The others go on until all is done, or the
 * deadline (es_monotonic_ms) has passed: -ETIMEDOUT. -EPIPE: the other end has closed. */
int es_connect_local(int dir, const char *name);
int es_send_all(int fd, const void *at, size_t len, uint64_t deadline);
int es_receive_all(int fd, void *at, size_t len, uint64_t deadline);
/* Waits first, for what is not there yet; then as many bytes as there are, at least one. */
ssize_t es_receive_some(int fd, void *at, size_t room, uint64_t deadline);

uint64_t es_clock_us(void);     /* wall clock, microseconds since 1970 */
uint64_t es_monotonic_ms(void); /* for time-outs */
uint64_t es_boottime_ms(void);  /* goes on while the machine sleeps */
void es_sleep_ms(int ms);
int es_random(void *buf, size_t len);
int es_boot_id(unsigned char out[16]);
uid_t es_uid(void);
pid_t es_pid(void);
void es_host_name(char *out, size_t room); /* "localhost" when it has none */

/* Shared futex. wait: 0 woken or the value differs, -ETIMEDOUT, -EINTR. timeout_ms < 0: for ever. Sleepers are woken by
 * whoever names one of their bits. */
int es_futex_wait(const _Atomic uint32_t *word, uint32_t value, uint32_t bits, int timeout_ms);
void es_futex_wake(_Atomic uint32_t *word, int waiters, uint32_t bits);

#endif
