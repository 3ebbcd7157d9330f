/* Floors: what the same disk does with the same writes and syncs and nothing around them. */
#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd.h"

struct file {
    int fd;
    char *record;
};

/* Shared: where the next record goes, when all write to one file. Changed under the lock only. */
struct end {
    uint64_t at;
};

static int fail(const char *what, const char *path) {
    cmd_message("%s: %s: %s", path, what, strerror(errno));
    return 1;
}

/* Opens the process's file, or that of all, and allocates it as the store allocates its segments. */
static int floor_prepare(struct bench_process *p, void **state) {
    const struct bench_plan *plan = p->plan;
    struct file *f = cmd_alloc(sizeof *f);
    char path[4096];
    uint64_t records = plan->locked ? plan->events : p->count;
    int n = snprintf(path, sizeof path, "%s/floor-%u", plan->store, plan->locked ? 0 : p->number);
    *state = f;
    if (n < 0 || (size_t)n >= sizeof path)
        return errno = ENAMETOOLONG, fail("open", plan->store);
    f->record = cmd_alloc(plan->size);
    memset(f->record, 'x', plan->size);
    f->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (f->fd < 0)
        return fail("open", path);
    if (fallocate(f->fd, 0, 0, (off_t)(records * plan->size + 1)) != 0 && errno != EOPNOTSUPP)
        return fail("allocate", path);
    return fsync(f->fd) == 0 ? 0 : fail("sync", path);
}

static int lock(int fd, short type) {
    struct flock l = {.l_type = type, .l_whence = SEEK_SET, .l_start = 0, .l_len = 1};
    int rc;
    while ((rc = fcntl(fd, F_OFD_SETLKW, &l)) != 0 && errno == EINTR)
        ;
    return rc;
}

static int write_record(const struct file *f, uint64_t at, uint64_t size) {
    if (pwrite(f->fd, f->record, size, (off_t)at) != (ssize_t)size)
        return fail("write", "floor");
    return fdatasync(f->fd) == 0 ? 0 : fail("sync", "floor");
}

static int floor_run(struct bench_process *p, void *state) {
    const struct bench_plan *plan = p->plan;
    const struct file *f = state;
    struct end *end = p->shared;
    int status = 0;
    for (uint64_t i = 0; i < p->count && status == 0; i++) {
        uint64_t begin = cmd_bench_clock_ns();
        if (!plan->locked) {
            status = write_record(f, i * plan->size, plan->size);
        } else {
            if (lock(f->fd, F_WRLCK) != 0)
                return fail("lock", "floor");
            status = write_record(f, end->at, plan->size);
            end->at += plan->size;
            lock(f->fd, F_UNLCK);
        }
        p->latency[i] = cmd_bench_clock_ns() - begin;
        p->events++;
    }
    return status;
}

int cmd_bench_floor(const struct bench_plan *plan, struct bench_result *out) {
    static const struct bench_work work = {floor_prepare, floor_run};
    struct end *end = cmd_bench_shared(sizeof *end);
    return cmd_bench_run(plan, &work, plan->processes, plan->events, end, out);
}
