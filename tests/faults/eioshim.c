/* LD_PRELOAD: while the file $EIO_SWITCH exists, writes to files and syncs fail: with EIO, or with what errno the file holds. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/types.h>
#include <unistd.h>

static bool fails(void) {
    char text[16] = "";
    int had = errno;
    const char *path = getenv("EIO_SWITCH");
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0) {
        errno = had;
        return false;
    }
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    errno = n > 0 ? (int)strtol(text, NULL, 10) : EIO;
    return true;
}

static void *next(const char *name) {
    void *at = dlsym(RTLD_NEXT, name);
    if (!at)
        abort();
    return at;
}

__attribute__((visibility("default"))) int fsync(int fd) {
    int (*real)(int) = (int (*)(int))(intptr_t)next("fsync");
    return fails() ? -1 : real(fd);
}

__attribute__((visibility("default"))) int fdatasync(int fd) {
    int (*real)(int) = (int (*)(int))(intptr_t)next("fdatasync");
    return fails() ? -1 : real(fd);
}

__attribute__((visibility("default"))) ssize_t pwrite(int fd, const void *bytes, size_t len, off_t at) {
    ssize_t (*real)(int, const void *, size_t, off_t) =
        (ssize_t(*)(int, const void *, size_t, off_t))(intptr_t)next("pwrite");
    return fails() ? -1 : real(fd, bytes, len, at);
}
