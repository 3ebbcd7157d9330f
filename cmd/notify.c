/* notify.c: see notify.h. A datagram each, to a socket in the file system or ("@...") in the abstract name space. */
#include "notify.h"

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "cmd.h"

enum { ALIVE_MIN_MS = 10, ALIVE_PARTS = 3 /* of the time that the watchdog gives: two may get lost or be late */ };

static struct {
    bool known;
    struct sockaddr_un address;
    socklen_t len;     /* 0: nobody listens */
    uint64_t every_ms; /* 0: there is no watchdog */
    uint64_t next_ms;
} to;

static uint64_t now_ms(void) {
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void take_watchdog(void) {
    const char *usec = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
    uint64_t us, whose;

    if (!usec || !cmd_parse_number(usec, &us) || us == 0)
        return;
    if (pid && (!cmd_parse_number(pid, &whose) || whose != (uint64_t)getpid()))
        return; /* meant for somebody else */
    to.every_ms = us / 1000 / ALIVE_PARTS > ALIVE_MIN_MS ? us / 1000 / ALIVE_PARTS : ALIVE_MIN_MS;
}

static void take_environment(void) {
    const char *name = getenv("NOTIFY_SOCKET");
    size_t len = name ? strlen(name) : 0;

    to.known = true;
    if (len > 1 && len < sizeof to.address.sun_path && (name[0] == '/' || name[0] == '@')) {
        to.address.sun_family = AF_UNIX;
        memcpy(to.address.sun_path, name, len);
        if (name[0] == '@')
            to.address.sun_path[0] = '\0';
        to.len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
        take_watchdog();
    }
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
}

void cmd_notify(const char *state) {
    struct timeval patience = {.tv_sec = 1};
    int fd;

    if (!to.known)
        take_environment();
    if (to.len == 0 || (fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)) < 0)
        return;
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&to.address, to.len);
    close(fd);
}

void cmd_notify_alive(int *timeout_ms) {
    uint64_t now;

    if (!to.known)
        take_environment();
    if (to.every_ms == 0)
        return;
    now = now_ms();
    if (now >= to.next_ms) {
        cmd_notify("WATCHDOG=1");
        to.next_ms = now + to.every_ms;
    }
    if ((uint64_t)*timeout_ms > to.next_ms - now)
        *timeout_ms = (int)(to.next_ms - now);
}
