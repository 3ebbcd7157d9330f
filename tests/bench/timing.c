/*
 * timing: what a shell cannot measure.
 *
 *   timing spawn [-n COUNT] [-r ROUNDS] [-i FILE] COMMAND... [-- COMMAND...]...
 *       Starts the commands one after the other, COUNT times in each of ROUNDS rounds, and waits for each. A line a
 *       round: the median time of each command in microseconds, from before its start to after its end.
 *       stdin is FILE from its beginning, or empty; stdout is /dev/null.
 *
 *   timing run [-p] [-m] [-i FILE] COMMAND...
 *       Runs the command once. One line: seconds; milliseconds to its first output; bytes of output; peak of its
 *       anonymous memory in KiB. -p: its output goes through a pipe to a process that only reads (else to /dev/null,
 *       and the second and third figure are 0). -m: looks at the memory each millisecond, which takes time of its own.
 *
 *   timing follow [-n EVENTS] [-u PAUSE_US] STORE COMMAND...
 *       The command follows the (new) store and prints a line an event. Appends events one by one; prints the median
 *       time in microseconds from the acknowledgement of an append to the arrival of its line at the reader of a pipe.
 *
 * Status 0; 1 when a command fails or cannot be started; 2 on wrong usage.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "libcore/esdb.h"

enum { COMMANDS_MAX = 16, COUNT_MAX = 1000000, READ_SIZE = 1 << 20, PATIENCE_MS = 20000 };

extern char **environ;

struct options {
    const char *input;
    uint64_t count, rounds, pause_us;
    bool pipe, memory;
};

/* What the process that reads the pipe tells; shared memory. */
struct heard {
    uint64_t first_ns, end_ns, bytes; /* first_ns == 0: there was nothing */
    _Atomic uint64_t lines;
    uint64_t line_ns[]; /* follow: when each line came */
};

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static _Noreturn void fail(const char *what) {
    fprintf(stderr, "timing: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int compare(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static double median_us(uint64_t *ns, size_t count) {
    qsort(ns, count, sizeof *ns, compare);
    return (double)(ns[(count - 1) / 2] + ns[count / 2]) / 2e3;
}

static void *shared(size_t size) {
    void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED)
        fail("memory");
    return at;
}

/* ---- processes ---- */

/* Starts a command; out is its stdout, or -1 for /dev/null. */
static pid_t start(char *const *argv, const char *input, int out) {
    posix_spawn_file_actions_t actions;
    pid_t pid;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, input ? input : "/dev/null", O_RDONLY, 0);
    if (out >= 0)
        posix_spawn_file_actions_adddup2(&actions, out, 1);
    else
        posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
    errno = posix_spawnp(&pid, argv[0], &actions, NULL, argv, environ);
    if (errno != 0)
        fail(argv[0]);
    posix_spawn_file_actions_destroy(&actions);
    return pid;
}

static void check_status(const char *name, int status) {
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return;
    fprintf(stderr, "timing: %s ended with %s %d\n", name, WIFSIGNALED(status) ? "signal" : "status",
            WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    exit(1);
}

static void finish(const char *name, pid_t pid) {
    int status;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            fail("wait");
    check_status(name, status);
}

/* A child that ends when this process does. */
static pid_t fork_child(void) {
    pid_t parent = getpid(), pid = fork();
    if (pid < 0)
        fail("fork");
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(1);
    }
    return pid;
}

/* ---- spawn ---- */

static int split_commands(char **argv, char ***commands) {
    int count = 0;
    while (*argv) {
        if (count == COMMANDS_MAX)
            return 0;
        commands[count++] = argv;
        while (*argv && strcmp(*argv, "--") != 0)
            argv++;
        if (commands[count - 1] == argv)
            return 0;
        if (*argv)
            *argv++ = NULL;
    }
    return count;
}

static void spawn_round(char ***commands, int count, const struct options *o, uint64_t runs, uint64_t *times) {
    for (uint64_t run = 0; run < runs; run++)
        for (int c = 0; c < count; c++) {
            uint64_t begin = now_ns();
            finish(commands[c][0], start(commands[c], o->input, -1));
            times[(uint64_t)c * runs + run] = now_ns() - begin;
        }
}

static int time_spawn(char **argv, const struct options *o) {
    char **commands[COMMANDS_MAX];
    int count = split_commands(argv, commands);
    uint64_t *times = calloc((size_t)(o->count + 2) * COMMANDS_MAX, sizeof *times);
    if (count == 0)
        return 2;
    if (times == NULL)
        fail("memory");
    spawn_round(commands, count, o, 2, times); /* into the page cache */
    for (uint64_t round = 0; round < o->rounds; round++) {
        spawn_round(commands, count, o, o->count, times);
        for (int c = 0; c < count; c++)
            printf("%.1f%c", median_us(times + (uint64_t)c * o->count, o->count), c + 1 < count ? ' ' : '\n');
        fflush(stdout);
    }
    free(times);
    return 0;
}

/* ---- run ---- */

static void read_all(int fd, struct heard *heard) {
    char *buffer = malloc(READ_SIZE);
    ssize_t n;
    if (buffer == NULL)
        _exit(1);
    while ((n = read(fd, buffer, READ_SIZE)) != 0) {
        if (n < 0 && errno != EINTR)
            _exit(1);
        if (heard->first_ns == 0)
            heard->first_ns = now_ns();
        heard->bytes += n > 0 ? (uint64_t)n : 0;
    }
    heard->end_ns = now_ns();
    _exit(0);
}

/* Starts a process that reads the pipe; *out is the end to write to, and the caller's. */
static pid_t start_reader(struct heard *heard, int *out) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0)
        fail("pipe");
    pid_t pid = fork_child();
    if (pid == 0) {
        close(ends[1]);
        read_all(ends[0], heard);
    }
    close(ends[0]);
    *out = ends[1];
    return pid;
}

/* Anonymous memory that the process holds now, in KiB; 0 when it has ended. */
static uint64_t anonymous_kib(pid_t pid) {
    char path[64], line[256];
    uint64_t kib = 0;
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *f = fopen(path, "re");
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "RssAnon: %" SCNu64, &kib) == 1)
            break;
    if (f)
        fclose(f);
    return kib;
}

static uint64_t watch_memory(const char *name, pid_t pid) {
    uint64_t peak = 0;
    int status;
    while (waitpid(pid, &status, WNOHANG) == 0) {
        uint64_t kib = anonymous_kib(pid);
        peak = kib > peak ? kib : peak;
        nanosleep(&(struct timespec){0, 1000000}, NULL);
    }
    check_status(name, status);
    return peak;
}

static int time_run(char **argv, const struct options *o) {
    struct heard *heard = shared(sizeof *heard);
    uint64_t peak = 0;
    int out = -1;
    pid_t reader = o->pipe ? start_reader(heard, &out) : 0;
    uint64_t begin = now_ns();
    pid_t pid = start(argv, o->input, out);
    if (out >= 0)
        close(out);
    if (o->memory)
        peak = watch_memory(argv[0], pid);
    else
        finish(argv[0], pid);
    uint64_t end = now_ns();
    if (reader) {
        finish("the reader", reader);
        end = heard->end_ns > end ? heard->end_ns : end;
    }
    printf("%.6f %.3f %" PRIu64 " %" PRIu64 "\n", (double)(end - begin) / 1e9,
           heard->first_ns ? (double)(heard->first_ns - begin) / 1e6 : 0, heard->bytes, peak);
    return 0;
}

/* ---- follow ---- */

static _Noreturn void stamp_lines(int fd, struct heard *heard, uint64_t max) {
    static char buffer[READ_SIZE];
    ssize_t n;
    while ((n = read(fd, buffer, sizeof buffer)) != 0) {
        uint64_t at = now_ns(), lines = heard->lines;
        if (n < 0 && errno != EINTR)
            _exit(1);
        for (ssize_t i = 0; i < n; i++)
            if (buffer[i] == '\n' && lines < max)
                heard->line_ns[lines++] = at;
        heard->lines = lines;
    }
    _exit(0);
}

static void wait_for_lines(const struct heard *heard, uint64_t count) {
    for (int ms = 0; heard->lines < count; ms++) {
        if (ms == PATIENCE_MS) {
            fprintf(stderr, "timing: %" PRIu64 " of %" PRIu64 " lines came\n", (uint64_t)heard->lines, count);
            exit(1);
        }
        nanosleep(&(struct timespec){0, 1000000}, NULL);
    }
}

static void check(int rc, const struct esdb_error *err) {
    if (rc == 0)
        return;
    (void)err;
    fprintf(stderr, "timing: %s\n", esdb_strerror(rc));
    exit(1);
}

/* Appends an event and returns when it was acknowledged. */
static uint64_t append_one(esdb *db, esdb_batch *batch) {
    static const char data[] =
        "{\"total\":12.25,\"currency\":\"EUR\",\"note\":\"as long as events are here, more or less: "
        "deliver after seven, ring the bell, leave with the porter, call first, keep dry\"}";
    struct esdb_new_event e = {
        .stream_id = {"followed", 8}, .event_type = {"Happened", 8}, .data = {data, sizeof data - 1}};
    struct esdb_error err = {0};
    struct esdb_receipt receipt;
    esdb_batch_clear(batch);
    check(esdb_batch_add(batch, &e, &err), &err);
    check(esdb_append(db, batch, 0, &receipt, &err), &err);
    return now_ns();
}

static int time_follow(char **argv, const struct options *o) {
    struct esdb_error err = {0};
    esdb *db;
    esdb_batch *batch;
    int ends[2];
    if (argv[0] == NULL || argv[1] == NULL)
        return 2;
    uint64_t *acknowledged = calloc(o->count + 1, sizeof *acknowledged);
    struct heard *heard = shared(sizeof *heard + (o->count + 1) * sizeof heard->line_ns[0]);
    if (acknowledged == NULL || pipe2(ends, O_CLOEXEC) != 0)
        fail("follow");
    pid_t reader = fork_child();
    if (reader == 0) {
        close(ends[1]);
        stamp_lines(ends[0], heard, o->count + 1);
    }
    check(esdb_open(argv[0], ESDB_APPEND, &db, &err), &err);
    check(esdb_batch_open(&batch), &err);
    acknowledged[0] = append_one(db, batch);
    pid_t follower = start(argv + 1, NULL, ends[1]);
    close(ends[0]);
    close(ends[1]);
    wait_for_lines(heard, 1); /* the event that was there: the follower has started */
    for (uint64_t i = 1; i <= o->count; i++) {
        nanosleep(&(struct timespec){0, (long)o->pause_us * 1000}, NULL);
        acknowledged[i] = append_one(db, batch);
    }
    wait_for_lines(heard, o->count + 1);
    kill(follower, SIGTERM);
    waitpid(follower, NULL, 0);
    finish("the reader", reader);
    /* The line may come before the acknowledgement: 0 then. */
    for (uint64_t i = 1; i <= o->count; i++)
        acknowledged[i] = heard->line_ns[i] > acknowledged[i] ? heard->line_ns[i] - acknowledged[i] : 0;
    printf("%.1f\n", median_us(acknowledged + 1, o->count));
    esdb_batch_close(batch);
    esdb_close(db);
    free(acknowledged);
    return 0;
}

/* ---- the command line ---- */

static int usage(void) {
    fprintf(stderr, "usage: timing spawn [-n COUNT] [-r ROUNDS] [-i FILE] COMMAND... [-- COMMAND...]...\n"
                    "       timing run [-p] [-m] [-i FILE] COMMAND...\n"
                    "       timing follow [-n EVENTS] [-u PAUSE_US] STORE COMMAND...\n");
    return 2;
}

static uint64_t number(const char *text) {
    char *end;
    errno = 0;
    uint64_t n = strtoull(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || n == 0 || n > COUNT_MAX)
        exit(usage());
    return n;
}

int main(int argc, char **argv) {
    struct options o = {.count = 100, .rounds = 1, .pause_us = 1000};
    int option, status = 2;
    optind = 2;
    while (argc > 1 && (option = getopt(argc, argv, "+n:r:i:u:pm")) != -1) {
        switch (option) {
        case 'n':
            o.count = number(optarg);
            break;
        case 'r':
            o.rounds = number(optarg);
            break;
        case 'u':
            o.pause_us = number(optarg);
            break;
        case 'i':
            o.input = optarg;
            break;
        case 'p':
            o.pipe = true;
            break;
        case 'm':
            o.memory = true;
            break;
        default:
            return usage();
        }
    }
    if (argc > 1 && argv[optind] != NULL) {
        if (strcmp(argv[1], "spawn") == 0)
            status = time_spawn(argv + optind, &o);
        else if (strcmp(argv[1], "run") == 0)
            status = time_run(argv + optind, &o);
        else if (strcmp(argv[1], "follow") == 0)
            status = time_follow(argv + optind, &o);
    }
    return status == 2 ? usage() : status;
}
