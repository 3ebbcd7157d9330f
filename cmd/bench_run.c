#include "bench.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cmd.h"

uint64_t cmd_bench_clock_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void *cmd_bench_shared(size_t size) {
    void *at = mmap(NULL, size ? size : 1, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) {
        cmd_message("out of memory");
        exit(cmd_finish(1));
    }
    return at;
}

static int compare(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

void cmd_bench_sort(uint64_t *at, uint64_t count) {
    qsort(at, count, sizeof *at, compare);
}

uint64_t cmd_bench_percentile(const struct bench_result *r, double share) {
    if (r->operations == 0)
        return 0;
    uint64_t nth = (uint64_t)(share * (double)r->operations);
    return r->latency[nth < r->operations ? nth : r->operations - 1];
}

void cmd_bench_result_release(struct bench_result *r) {
    free(r->latency);
    *r = (struct bench_result){0};
}

/* Shared by parent and children. */
struct board {
    uint64_t begin_ns;
    uint64_t end_ns[1024];
    uint64_t events[1024];
};

/* A child: says that it is ready, waits for the start, works. Never returns. */
static void child(struct bench_process *p, const struct bench_work *work, struct board *board, int ready, int start) {
    void *state = NULL;
    char byte = 0;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    int status = work->prepare(p, &state);
    if (write(ready, &byte, 1) != 1)
        _exit(1);
    close(ready); /* when all are closed, nobody is waited for any more */
    while (read(start, &byte, 1) < 0 && errno == EINTR)
        ;
    if (status == 0)
        status = work->run(p, state);
    board->end_ns[p->number] = cmd_bench_clock_ns();
    board->events[p->number] = p->events;
    _exit(status);
}

/* Waits for all; the worst exit status. When told to stop, ends them. */
static int wait_all(const pid_t *pids, unsigned count) {
    int worst = 0;
    for (unsigned i = 0; i < count; i++) {
        int status;
        pid_t ended;
        while ((ended = waitpid(pids[i], &status, WNOHANG)) == 0 || (ended < 0 && errno == EINTR)) {
            for (unsigned j = i; cmd_stopped && j < count; j++) /* a signal may come at any time, also before a wait */
                kill(pids[j], SIGKILL);
            usleep(2000);
        }
        if (ended < 0)
            return 1;
        int code = WIFEXITED(status) ? WEXITSTATUS(status) : 1;
        if (WIFSIGNALED(status) && !cmd_stopped)
            cmd_message("a process was killed by signal %d", WTERMSIG(status));
        worst = worst ? worst : code;
    }
    return worst;
}

/* The share of process `number` of `total` operations. */
static uint64_t share_begin(uint64_t total, unsigned number, unsigned processes) {
    return total / processes * number + (number < total % processes ? number : total % processes);
}

/* Forks the processes, waits until all are ready, starts them. Returns how many were started, into pids. */
static unsigned start_all(const struct bench_plan *plan, const struct bench_work *work, unsigned processes,
                          uint64_t operations, void *shared, uint64_t *latency, struct board *board, pid_t *pids) {
    int ready[2], start[2];
    if (pipe(ready) != 0 || pipe(start) != 0)
        return 0;
    unsigned started = 0;
    for (; started < processes && !cmd_stopped; started++) {
        uint64_t first = share_begin(operations, started, processes);
        struct bench_process p = {.plan = plan,
                                  .number = started,
                                  .first = first,
                                  .count = share_begin(operations, started + 1, processes) - first,
                                  .latency = latency + first,
                                  .shared = shared};
        pids[started] = fork();
        if (pids[started] < 0)
            break;
        if (pids[started] == 0) {
            close(start[1]);
            child(&p, work, board, ready[1], start[0]);
        }
    }
    close(ready[1]);
    char byte;
    for (ssize_t got = 1, waiting = started; waiting > 0 && got != 0 && !cmd_stopped; waiting -= got > 0)
        got = read(ready[0], &byte, 1);
    board->begin_ns = cmd_bench_clock_ns();
    close(start[1]);
    close(start[0]);
    close(ready[0]);
    return started;
}

int cmd_bench_run(const struct bench_plan *plan, const struct bench_work *work, unsigned processes, uint64_t operations,
                  void *shared, struct bench_result *out) {
    size_t size = (size_t)operations * sizeof(uint64_t);
    uint64_t *latency = cmd_bench_shared(size);
    struct board *board = cmd_bench_shared(sizeof *board);
    pid_t *pids = cmd_alloc(processes * sizeof *pids);
    unsigned started = start_all(plan, work, processes, operations, shared, latency, board, pids);
    int status = wait_all(pids, started);
    if (started < processes && !cmd_stopped) {
        cmd_message("%u processes could not be started: %s", processes, strerror(errno));
        status = 1;
    }
    if (cmd_stopped)
        status = 1;
    if (status == 0) {
        *out = (struct bench_result){.operations = operations, .latency = cmd_alloc(size ? size : 1)};
        memcpy(out->latency, latency, size);
        cmd_bench_sort(out->latency, operations);
        for (unsigned i = 0; i < processes; i++) {
            out->events += board->events[i];
            if (board->end_ns[i] - board->begin_ns > out->elapsed_ns)
                out->elapsed_ns = board->end_ns[i] - board->begin_ns;
        }
    }
    free(pids);
    munmap(latency, size ? size : 1);
    munmap(board, sizeof *board);
    return status;
}
