#include "os_child.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os.h"

#define SOCKET_ROOM (1 << 20) /* the kernel gives what it may: usually 208 KiB of payload and as much for its books */

/* ---- starting ---- */

static int prepare(posix_spawn_file_actions_t *actions, posix_spawnattr_t *attributes, int theirs) {
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    int rc = posix_spawn_file_actions_adddup2(actions, theirs, 0);
    if (rc == 0)
        rc = posix_spawnattr_setsigmask(attributes, &none);
    if (rc == 0)
        rc = posix_spawnattr_setsigdefault(attributes, &all);
    if (rc == 0)
        rc = posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSID);
    return -rc;
}

static int spawn(const char *path, int theirs, pid_t *pid) {
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    char *argv[] = {(char *)(uintptr_t)path, NULL}, *environment[] = {NULL};
    int rc = -posix_spawn_file_actions_init(&actions);
    if (rc < 0)
        return rc;
    rc = -posix_spawnattr_init(&attributes);
    if (rc == 0) {
        rc = prepare(&actions, &attributes, theirs);
        if (rc == 0)
            rc = -posix_spawn(pid, path, &actions, &attributes, argv, environment);
        posix_spawnattr_destroy(&attributes);
    }
    posix_spawn_file_actions_destroy(&actions);
    return rc;
}

int es_process_start(const char *path, struct es_process *out) {
    int pair[2], room = SOCKET_ROOM;
    pid_t pid;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return -errno;
    if (pair[1] == 0) { /* dup2 of a descriptor to itself keeps close-on-exec */
        int moved = fcntl(pair[1], F_DUPFD_CLOEXEC, 3);
        int rc = -errno;
        if (moved < 0) {
            es_close(&pair[0]);
            es_close(&pair[1]);
            return rc;
        }
        es_close(&pair[1]);
        pair[1] = moved;
    }
    setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &room, sizeof room); /* failing costs speed only */
    setsockopt(pair[1], SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
    int rc = spawn(path, pair[1], &pid);
    es_close(&pair[1]);
    if (rc < 0) {
        es_close(&pair[0]);
        return rc;
    }
    fcntl(pair[0], F_SETFL, O_RDWR | O_NONBLOCK);
#ifdef SYS_pidfd_open
    int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
#else
    int pidfd = -1;
#endif
    *out = (struct es_process){.pid = pid, .fd = pair[0], .pidfd = pidfd};
    return 0;
}

/* ---- ending ---- */

static void kill_it(const struct es_process *p) {
#ifdef SYS_pidfd_send_signal
    if (p->pidfd >= 0) {
        syscall(SYS_pidfd_send_signal, p->pidfd, SIGKILL, NULL, 0);
        return;
    }
#endif
    kill(p->pid, SIGKILL);
}

int es_process_wait(struct es_process *p, int timeout_ms, int *status) {
    pid_t rc = -1;
    errno = ECHILD;
    if (p->pid > 0) {
        uint64_t until = es_monotonic_ms() + (uint64_t)timeout_ms;
        while ((rc = waitpid(p->pid, status, WNOHANG)) == 0 && es_monotonic_ms() < until) {
            struct pollfd ended = {.fd = p->pidfd, .events = POLLIN};
            poll(&ended, 1, p->pidfd >= 0 ? (int)(until - es_monotonic_ms()) : 1); /* without a pidfd: a short sleep */
        }
        if (rc == 0) {
            kill_it(p);
            do
                rc = waitpid(p->pid, status, 0);
            while (rc < 0 && errno == EINTR);
        }
    }
    int failed = rc < 0 ? -errno : 0;
    p->pid = 0;
    es_close(&p->pidfd);
    return failed;
}

void es_process_release(struct es_process *p) {
    int status;
    es_close(&p->fd);
    if (p->pid > 0) {
        kill_it(p);
        es_process_wait(p, 0, &status);
    }
}

/* ---- talking ---- */

ssize_t es_socket_send(int fd, const struct iovec *parts, int count) {
    struct msghdr m = {.msg_iov = (struct iovec *)(uintptr_t)parts, .msg_iovlen = (size_t)count};
    ssize_t n;
    do
        n = sendmsg(fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

ssize_t es_socket_receive(int fd, void *buf, size_t len) {
    ssize_t n;
    do
        n = recv(fd, buf, len, MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

int es_poll(struct pollfd *fds, unsigned count, int timeout_ms) {
    int rc = poll(fds, count, timeout_ms);
    return rc < 0 ? -errno : rc;
}

/* ---- where we are ---- */

int es_cores(void) {
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) < 0)
        return 1;
    int n = CPU_COUNT(&set);
    return n > 0 ? n : 1;
}

pid_t es_process_id(void) {
    return getpid();
}

bool es_can_execute(const char *path) {
    return access(path, X_OK) == 0;
}

int es_program_folder(char *out, size_t room) {
    ssize_t n = readlink("/proc/self/exe", out, room);
    if (n < 0)
        return -errno;
    if ((size_t)n >= room)
        return -ENAMETOOLONG;
    out[n] = '\0';
    char *slash = strrchr(out, '/');
    if (!slash)
        return -ENOENT;
    *slash = '\0';
    return 0;
}
