/* bench.h: the parts of esdb-bench.
 *
 *   esdb-bench.c   options, the store, the report
 *   bench_run.c    processes that start together, their latencies, percentiles
 *   bench_load.c   append, read, tail
 *   bench_floor.c  what the disk can do without a store: the same writes and syncs, bare
 */
#ifndef CMD_BENCH_H
#define CMD_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What is asked for. */
struct bench_plan {
    const char *store;  /* path; for floors: the folder of the files */
    unsigned processes; /* writers or readers */
    unsigned followers;
    uint64_t events; /* in all */
    uint64_t size;   /* bytes of data of an event; of a record of a floor */
    uint64_t batch;  /* events an append */
    uint64_t streams;
    uint64_t interval_us; /* tail: pause between appends */
    uint64_t reads;       /* read: how often */
    enum { READ_SCAN, READ_STREAM } read_kind;
    bool locked; /* floor: lock, write, sync, unlock on one file */
};

/* What came out. Latencies are in nanoseconds, of one operation each. */
struct bench_result {
    uint64_t operations;
    uint64_t events;
    uint64_t elapsed_ns; /* from the common start to the end of the last process */
    uint64_t *latency;   /* `operations` of them, ascending; owned */
};

/* ---- bench_run.c ---- */

/* What a process of a run sees. Memory is shared between all of them. */
struct bench_process {
    const struct bench_plan *plan;
    unsigned number;       /* 0 .. processes-1 */
    uint64_t first, count; /* its share of the operations */
    uint64_t *latency;     /* room for `count`, its own */
    uint64_t events;       /* to be set: how many it handled */
    void *shared;
};

/* prepare: opens what the process needs, before the start. run: does the work. Both return 0 or an exit status, after a
 * message. *state is theirs. */
struct bench_work {
    int (*prepare)(struct bench_process *p, void **state);
    int (*run)(struct bench_process *p, void *state);
};

/* Runs `operations` of work in `processes` processes that start together. `shared`: memory from cmd_bench_shared(), handed
 * through. Returns 0 and fills *out, or an exit status. */
int cmd_bench_run(const struct bench_plan *plan, const struct bench_work *work, unsigned processes, uint64_t operations,
                  void *shared, struct bench_result *out);
void *cmd_bench_shared(size_t size); /* zeroed memory that child processes share; exits 1 without memory */
void cmd_bench_result_release(struct bench_result *r);

/* The latency that `share` (0 .. 1) of the operations stay within; nanoseconds. */
uint64_t cmd_bench_percentile(const struct bench_result *r, double share);
void cmd_bench_sort(uint64_t *at, uint64_t count);

uint64_t cmd_bench_clock_ns(void); /* monotonic, the same in all processes */

/* ---- bench_load.c, bench_floor.c: each returns 0 and fills *out, or an exit status ---- */

int cmd_bench_append(const struct bench_plan *plan, struct bench_result *out);
int cmd_bench_fill(const struct bench_plan *plan); /* the events that read needs */
int cmd_bench_read(const struct bench_plan *plan, struct bench_result *out);
int cmd_bench_tail(const struct bench_plan *plan, struct bench_result *out);
int cmd_bench_floor(const struct bench_plan *plan, struct bench_result *out);

#endif
