/*
 * handler: what the followers of the row `followers` give their events to, and what counts what they gave.
 *
 *   handler quiet|ok|ack NAME RECORD OUTPUT SAMPLE APPEND PAUSE_US
 *       Waits before each read, of few events when it waits at all: what was not given to it in time is many. Each
 *       event line of stdin is work: of every SAMPLE-th event (by data.n; 0: of none) the tool APPEND writes one to the
 *       store OUTPUT, in the stream NAME, with --source NAME:POSITION; then (data.n, life) is added to RECORD; then it is
 *       answered: not at all, "ok", or with its position, those of one read in the opposite order.
 *
 *   handler check EVENTS STREAMS MODULUS REST RECORD
 *       Event n of the run is in stream n % STREAMS; those with n % MODULUS == REST were wanted. Of each stream, none may
 *       come before all wanted ones that are before it have come; and to one life each comes once, in order. Prints:
 *       delivered, redelivered, missing, skipped, disordered, unwanted.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ROOM = 1 << 16, SLOW = 4096, LINES = ROOM / 64 };

extern char **environ;

struct record {
    uint32_t n, life; /* life: the process that handled it */
};

static _Noreturn void fail(const char *what) {
    fprintf(stderr, "handler: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void write_all(int fd, const void *from, size_t len) {
    for (const char *at = from; len > 0;) {
        ssize_t n = write(fd, at, len);
        if (n < 0)
            fail("write");
        at += n;
        len -= (size_t)n;
    }
}

/* ---- the work ---- */

struct event {
    uint32_t n;
    unsigned long long position;
};

static struct event parse(const char *line, const char *end) {
    const char *n = memmem(line, (size_t)(end - line), "\"n\":", 4);
    if (strncmp(line, "{\"position\":", 12) != 0 || n == NULL) {
        fprintf(stderr, "handler: no event: %.*s\n", (int)(end - line), line);
        exit(1);
    }
    return (struct event){(uint32_t)strtoul(n + 4, NULL, 10), strtoull(line + 12, NULL, 10)};
}

/* The answer to an event, once, however often it is given. */
static void append(char **argv, struct event e) {
    char source[128], line[64];
    char *command[] = {argv[6], "-q", "-S", argv[4], "-t", "Done", "--source", source, argv[2], NULL};
    posix_spawn_file_actions_t actions;
    int to[2], status;
    pid_t pid;
    snprintf(source, sizeof source, "%s:%llu", argv[2], e.position);
    int len = snprintf(line, sizeof line, "{\"data\":{\"n\":%u}}\n", e.n);
    if (pipe2(to, O_CLOEXEC) != 0)
        fail("pipe");
    write_all(to[1], line, (size_t)len);
    close(to[1]);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, to[0], 0);
    posix_spawn_file_actions_adddup2(&actions, 2, 1);
    if ((errno = posix_spawn(&pid, command[0], &actions, NULL, command, environ)) != 0)
        fail(command[0]);
    posix_spawn_file_actions_destroy(&actions);
    close(to[0]);
    if (waitpid(pid, &status, 0) != pid || status != 0)
        exit(1);
}

static void answer(const char *how, const struct event *done, size_t count) {
    static char text[24 * LINES];
    size_t len = 0;
    if (strcmp(how, "ok") == 0)
        for (size_t i = 0; i < count; i++, len += 3)
            memcpy(text + len, "ok\n", 3);
    if (strcmp(how, "ack") == 0)
        for (size_t i = count; i > 0; i--)
            len += (size_t)snprintf(text + len, sizeof text - len, "%llu\n", done[i - 1].position);
    write_all(1, text, len);
}

static int work(char **argv) {
    static char block[ROOM];
    static struct event events[LINES];
    static struct record records[LINES];
    int record = open(argv[3], O_WRONLY | O_APPEND | O_CREAT, 0666);
    unsigned long sample = strtoul(argv[5], NULL, 10), pause_us = strtoul(argv[7], NULL, 10);
    size_t used = 0, room = pause_us ? SLOW : ROOM;
    ssize_t got;
    if (record < 0)
        fail(argv[3]);
    while (usleep((useconds_t)pause_us) == 0 && (got = read(0, block + used, room - used)) > 0) {
        char *line = block, *end;
        size_t count = 0;
        used += (size_t)got;
        for (; count < LINES && (end = memchr(line, '\n', (size_t)(block + used - line))); line = end + 1) {
            events[count] = parse(line, end);
            if (sample && events[count].n % sample == 0)
                append(argv, events[count]);
            records[count] = (struct record){events[count].n, (uint32_t)getpid()};
            count++;
        }
        write_all(record, records, count * sizeof *records);
        answer(argv[1], events, count);
        used -= (size_t)(line - block);
        memmove(block, line, used);
    }
    return 0; /* a line without its end is that of a tail that was killed */
}

/* ---- the check ---- */

/* The last event that a life gave in a stream, by a hash of both; a life is a process, of which there are not many. */
static uint32_t *last_of(uint32_t life, uint32_t stream, uint32_t streams) {
    enum { LIVES = 1 << 17 };
    static uint32_t lives[LIVES], **last;
    uint32_t at = life * 2654435761u % LIVES;
    if (last == NULL)
        last = calloc(LIVES, sizeof *last);
    while (lives[at] != 0 && lives[at] != life)
        at = (at + 1) % LIVES;
    if (lives[at] == 0) {
        lives[at] = life;
        last[at] = calloc(streams, sizeof **last);
    }
    return &last[at][stream];
}

static int check(char **argv) {
    uint32_t events = (uint32_t)strtoul(argv[2], NULL, 10), streams = (uint32_t)strtoul(argv[3], NULL, 10);
    uint32_t modulus = (uint32_t)strtoul(argv[4], NULL, 10), rest = (uint32_t)strtoul(argv[5], NULL, 10);
    unsigned long delivered = 0, again = 0, missing = 0, skipped = 0, disordered = 0, unwanted = 0;
    unsigned char *seen = calloc(events, 1);
    uint32_t *next = calloc(streams, sizeof *next); /* no wanted event of a stream before it is to come */
    FILE *in = fopen(argv[6], "r");
    struct record r;
    for (uint32_t s = 0; s < streams; s++)
        next[s] = s;
    while (in && fread(&r, sizeof r, 1, in) == 1) {
        uint32_t s = r.n % streams, *last = last_of(r.life, s, streams);
        if (r.n >= events || r.n % modulus != rest) {
            unwanted++;
            continue;
        }
        delivered++;
        again += seen[r.n];
        seen[r.n] = 1;
        while (next[s] < events && (next[s] % modulus != rest || seen[next[s]]))
            next[s] += streams;
        skipped += next[s] < r.n;
        disordered += *last > r.n; /* is n + 1 of the last */
        *last = r.n + 1;
    }
    for (uint32_t n = 0; n < events; n++)
        missing += n % modulus == rest && !seen[n];
    printf("%lu %lu %lu %lu %lu %lu\n", delivered, again, missing, skipped, disordered, unwanted);
    return 0;
}

int main(int argc, char **argv) {
    if (argc == 7 && strcmp(argv[1], "check") == 0)
        return check(argv);
    if (argc != 8) {
        fprintf(stderr, "usage: handler quiet|ok|ack NAME RECORD OUTPUT SAMPLE APPEND PAUSE_US\n"
                        "       handler check EVENTS STREAMS MODULUS REST RECORD\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN); /* one who is answered may be gone: the work is done, and the rest is still to be */
    return work(argv);
}
