/*
 * exec_loop: a child for esdb-tail --exec-loop, and the floor for it.
 *
 *   exec_loop [FD]
 *       Answers "ok" to each line of stdin, those of one read with one write. FD: gets a newline for each, first.
 *
 *   exec_loop -p COUNT SIZE
 *       Two processes and two pipes: COUNT lines of SIZE bytes there, each answered with "ok" before the next. Prints
 *       how many a second.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { ROOM = 1 << 16 };

static _Noreturn void fail(const char *what) {
    fprintf(stderr, "exec_loop: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void write_all(int fd, const char *at, size_t len) {
    while (len > 0) {
        ssize_t n = write(fd, at, len);
        if (n < 0)
            fail("write");
        at += n;
        len -= (size_t)n;
    }
}

static void answer(int in, int out, int told) {
    static char block[ROOM], answers[3 * ROOM], newlines[ROOM];
    ssize_t n;
    memset(newlines, '\n', sizeof newlines);
    while ((n = read(in, block, sizeof block)) > 0) {
        size_t lines = 0;
        for (const char *at = block; (at = memchr(at, '\n', (size_t)(block + n - at))); at++)
            memcpy(answers + 3 * lines++, "ok\n", 3);
        if (told >= 0)
            write_all(told, newlines, lines);
        write_all(out, answers, 3 * lines);
    }
    if (n < 0)
        fail("read");
}

static int ping_pong(unsigned long count, size_t size) {
    char *line = malloc(size), reply[16];
    struct timespec begin, end;
    int to[2], from[2], status;
    pid_t pid;
    if (line == NULL || size == 0 || pipe(to) != 0 || pipe(from) != 0 || (pid = fork()) < 0)
        fail("ping-pong");
    if (pid == 0) {
        close(to[1]);
        close(from[0]);
        answer(to[0], from[1], -1);
        _exit(0);
    }
    close(to[0]);
    close(from[1]);
    memset(line, 'x', size);
    line[size - 1] = '\n';
    clock_gettime(CLOCK_MONOTONIC, &begin);
    for (unsigned long i = 0; i < count; i++) {
        write_all(to[1], line, size);
        if (read(from[0], reply, sizeof reply) != 3)
            fail("read");
    }
    clock_gettime(CLOCK_MONOTONIC, &end);
    close(to[1]);
    if (waitpid(pid, &status, 0) != pid || status != 0)
        fail("child");
    printf("%.1f\n",
           (double)count / ((double)(end.tv_sec - begin.tv_sec) + (double)(end.tv_nsec - begin.tv_nsec) / 1e9));
    free(line);
    return 0;
}

int main(int argc, char **argv) {
    if (argc == 4 && strcmp(argv[1], "-p") == 0)
        return ping_pong(strtoul(argv[2], NULL, 10), strtoul(argv[3], NULL, 10));
    if (argc > 2) {
        fprintf(stderr, "usage: exec_loop [FD]\n       exec_loop -p COUNT SIZE\n");
        return 2;
    }
    answer(0, 1, argc == 2 ? (int)strtol(argv[1], NULL, 10) : -1);
    return 0;
}
