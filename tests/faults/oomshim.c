/* LD_PRELOAD: allocation number OOM_AT fails (counted from 1). OOM_STICKY: all after it too. OOM_COUNT=FILE: the number of
 * allocations is written to FILE when the program ends. */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *at, size_t size);

static atomic_long done;
static atomic_long fail_at = -1; /* -1: the environment has not been asked yet */
static atomic_bool sticky;

static int fails(void) {
    if (fail_at == -1) {
        const char *at = getenv("OOM_AT");
        sticky = getenv("OOM_STICKY") != NULL;
        fail_at = at ? strtol(at, NULL, 10) : 0;
    }
    long n = ++done;
    if (fail_at == 0 || (n != fail_at && !(sticky && n > fail_at)))
        return 0;
    errno = ENOMEM;
    return 1;
}

__attribute__((visibility("default"))) void *malloc(size_t size) {
    return fails() ? NULL : __libc_malloc(size);
}

__attribute__((visibility("default"))) void *calloc(size_t count, size_t size) {
    return fails() ? NULL : __libc_calloc(count, size);
}

__attribute__((visibility("default"))) void *realloc(void *at, size_t size) {
    return fails() ? NULL : __libc_realloc(at, size);
}

__attribute__((destructor)) static void tell(void) {
    char text[32];
    const char *path = getenv("OOM_COUNT");
    int fd = path ? open(path, O_CREAT | O_WRONLY | O_TRUNC, 0644) : -1;
    int n = snprintf(text, sizeof text, "%ld\n", (long)done);
    if (fd >= 0 && write(fd, text, (size_t)n) == n)
        close(fd);
}
