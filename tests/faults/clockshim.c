/* LD_PRELOAD: the wall clock is CLOCK_OFFSET seconds off. */
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

__attribute__((visibility("default"))) int clock_gettime(clockid_t which, struct timespec *out) {
    int rc = (int)syscall(SYS_clock_gettime, which, out);
    const char *offset = getenv("CLOCK_OFFSET");
    if (rc == 0 && which == CLOCK_REALTIME && offset)
        out->tv_sec += strtol(offset, NULL, 10);
    return rc;
}
