/*
 * delivery_child.c: the children of a delivery.
 *
 *   start            END_NOT ---- timeout, wrong answer, signal ----> END_TERM --KILL_AFTER_MS--> END_KILL
 *                       |                                                 ^
 *                       +-- a loop: idle at close, closed its pipes --> END_INPUT
 *   In every state the end of the process leads to ended().
 *
 * SIGCHLD is let through in ppoll() only. Its handler notes that somebody ended; who, waitpid() is asked for each child,
 * because other children of this process are none of our business.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "delivery_inside.h"

enum {
    STOP_STATUS = 255, /* of a child: as for xargs(1), do not go on */
    PIPE_FITS = 4096,  /* an empty pipe takes so much without a reader, whatever the limits of the user are */
    ERR_ROUNDS = 16,   /* reads of one child's stderr before the others have their turn */
    CLOSE_WAIT_MS = 1000,
};

static volatile sig_atomic_t somebody_ended;

static void on_child(int signal) {
    (void)signal;
    somebody_ended = 1;
}

int cmd_delivery_children_open(struct cmd_delivery *d) {
    struct sigaction child = {.sa_handler = on_child}, ignore = {.sa_handler = SIG_IGN};
    sigset_t set, defaults;

    d->worker = cmd_alloc(d->o.workers * sizeof *d->worker);
    d->fds = cmd_alloc((3 * (size_t)d->o.workers + 1) * sizeof *d->fds);
    for (uint32_t i = 0; i < d->o.workers; i++)
        d->worker[i].err[0] = d->worker[i].err[1] = d->worker[i].to = d->worker[i].from = -1;
    sigaction(SIGCHLD, &child, &d->old_child);
    sigaction(SIGPIPE, &ignore, &d->old_pipe);
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    pthread_sigmask(SIG_BLOCK, &set, &d->poll_mask);
    sigdelset(&d->poll_mask, SIGCHLD);

    /* Handlers end with exec; what this process ignores, the child need not. */
    sigemptyset(&set);
    sigemptyset(&defaults);
    sigaddset(&defaults, SIGPIPE);
    sigaddset(&defaults, SIGXFSZ);
    sigaddset(&defaults, SIGCHLD);
    posix_spawnattr_init(&d->attr);
    posix_spawnattr_setflags(&d->attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
    posix_spawnattr_setsigmask(&d->attr, &set);
    posix_spawnattr_setsigdefault(&d->attr, &defaults);
    posix_spawnattr_setpgroup(&d->attr, 0);
    return 0;
}

static void close_fd(int *fd) {
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

void cmd_delivery_loop_disconnect(struct cmd_delivery_worker *w) {
    close_fd(&w->to);
    close_fd(&w->from);
}

/* ---- stderr ---- */

static void keep_tail(struct cmd_delivery_worker *w, const char *at, size_t len) {
    if (len >= STDERR_TAIL) {
        memcpy(w->tail, at + len - STDERR_TAIL, STDERR_TAIL);
        w->tail_len = STDERR_TAIL;
        return;
    }
    if (w->tail_len + len > STDERR_TAIL) {
        size_t drop = w->tail_len + len - STDERR_TAIL;

        memmove(w->tail, w->tail + drop, w->tail_len - drop);
        w->tail_len -= drop;
    }
    memcpy(w->tail + w->tail_len, at, len);
    w->tail_len += len;
}

static void write_stderr(const char *at, size_t len) {
    while (len > 0) {
        ssize_t n = write(STDERR_FILENO, at, len);

        if (n > 0) {
            at += n;
            len -= (size_t)n;
        } else if (errno == EAGAIN) {
            struct pollfd p = {STDERR_FILENO, POLLOUT, 0};

            poll(&p, 1, -1);
        } else if (errno != EINTR || cmd_stopped) {
            return; /* a failure has nowhere to be told */
        }
    }
}

static void flush_line(struct cmd_delivery_worker *w) {
    write_stderr(w->line, w->line_len);
    w->line_len = 0;
}

/* Passes on whole lines, so that those of several children do not mix. */
static void pass_on(struct cmd_delivery_worker *w, const char *at, size_t len) {
    const char *newline = memrchr(at, '\n', len);
    size_t whole = newline ? (size_t)(newline - at) + 1 : 0;

    if (whole == 0 && len > sizeof w->line - w->line_len)
        whole = len; /* a line too long to be kept */
    if (whole > 0) {
        flush_line(w);
        write_stderr(at, whole);
    }
    if (len > whole)
        memcpy(w->line + w->line_len, at + whole, len - whole);
    w->line_len += len - whole;
}

/* True when there was something. */
static bool read_stderr(struct cmd_delivery_worker *w, size_t most) {
    char block[STDERR_TAIL];
    size_t sum = 0;
    ssize_t n;

    while (sum < most && (n = read(w->err[0], block, sizeof block)) > 0) {
        keep_tail(w, block, (size_t)n);
        pass_on(w, block, (size_t)n);
        sum += (size_t)n;
        if ((size_t)n < sizeof block)
            break;
    }
    return sum > 0;
}

struct cmd_delivery_failure *cmd_delivery_why(struct cmd_delivery_worker *w, const char *format, ...) {
    struct cmd_delivery_failure *f = cmd_alloc(sizeof *f);
    va_list args;

    va_start(args, format);
    vsnprintf(f->reason, sizeof f->reason, format, args);
    va_end(args);
    f->exit_status = -1;
    memcpy(f->tail, w->tail, w->tail_len);
    f->tail_len = w->tail_len;
    return f;
}

/* ---- starting ---- */

static int open_stderr(struct cmd_delivery_worker *w) {
    if (w->err[0] >= 0)
        return 0;
    if (pipe2(w->err, O_CLOEXEC) != 0)
        return errno;
    fcntl(w->err[0], F_SETFL, O_NONBLOCK);
    return 0;
}

static int write_all(int fd, const char *at, size_t len) {
    while (len > 0) {
        ssize_t n = write(fd, at, len);

        if (n < 0 && errno != EINTR)
            return errno;
        if (n > 0) {
            at += n;
            len -= (size_t)n;
        }
    }
    return 0;
}

/* The lines of all events in a descriptor to read from: a pipe that holds them all, else a file in memory. Neither needs
 * anybody to write while the child runs, and it does not matter whether the child reads. */
static int make_stdin(const struct cmd_delivery_list *events, int *out) {
    size_t len = 0;
    int fds[2], rc = 0;

    for (const struct cmd_delivery_event *e = events->first; e; e = e->next)
        len += e->line_len;
    if (len <= PIPE_FITS) {
        if (pipe2(fds, O_CLOEXEC) != 0)
            return errno;
    } else {
        if ((fds[1] = memfd_create("events", MFD_CLOEXEC)) < 0)
            return errno;
        fds[0] = -1;
    }
    for (const struct cmd_delivery_event *e = events->first; e && rc == 0; e = e->next)
        rc = write_all(fds[1], e->line, e->line_len);
    if (fds[0] < 0 && lseek(fds[1], 0, SEEK_SET) == 0) {
        fds[0] = fds[1];
        fds[1] = -1;
    }
    close_fd(&fds[1]);
    if (rc != 0)
        close_fd(&fds[0]);
    *out = fds[0];
    return rc;
}

static int spawn(struct cmd_delivery *d, struct cmd_delivery_worker *w, int in, int out) {
    posix_spawn_file_actions_t actions;
    int rc;

    posix_spawn_file_actions_init(&actions);
    rc = posix_spawn_file_actions_adddup2(&actions, in, STDIN_FILENO);
    if (rc == 0 && out >= 0)
        rc = posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
    if (rc == 0)
        rc = posix_spawn_file_actions_adddup2(&actions, w->err[1], STDERR_FILENO);
    if (rc == 0)
        rc = cmd_delivery_command_spawn(d, &actions, out < 0 ? &w->given : NULL, &w->pid);
    posix_spawn_file_actions_destroy(&actions);
    if (rc != 0)
        w->pid = 0;
    return rc;
}

static int start_loop(struct cmd_delivery *d, struct cmd_delivery_worker *w) {
    int to[2] = {-1, -1}, from[2] = {-1, -1};
    int rc = 0;

    if (pipe2(to, O_CLOEXEC) != 0 || pipe2(from, O_CLOEXEC) != 0)
        rc = errno;
    if (rc == 0)
        rc = spawn(d, w, to[0], from[1]);
    close_fd(&to[0]);
    close_fd(&from[1]);
    if (rc != 0) {
        close_fd(&to[1]);
        close_fd(&from[0]);
        return rc;
    }
    fcntl(to[1], F_SETFL, O_NONBLOCK);
    fcntl(from[0], F_SETFL, O_NONBLOCK);
    w->to = to[1];
    w->from = from[0];
    w->reply_len = 0;
    w->answered = false;
    w->unsent = w->given.first;
    w->sent = 0;
    return 0;
}

static int start_batch(struct cmd_delivery *d, struct cmd_delivery_worker *w) {
    int in = -1, rc = make_stdin(&w->given, &in);

    if (rc != 0)
        return rc;
    rc = spawn(d, w, in, -1);
    close(in);
    return rc;
}

/* Short of something now, rather than wrong for ever. */
static bool may_pass(int rc) {
    return rc == EAGAIN || rc == ENOMEM || rc == EMFILE || rc == ENFILE || rc == ENOSPC || rc == ETXTBSY || rc == EIO ||
           rc == EINTR || rc == EFBIG || rc == E2BIG;
}

static void give_back_all(struct cmd_delivery *d, struct cmd_delivery_worker *w) {
    while (w->given.first)
        cmd_delivery_return(d, w, w->given.first);
}

void cmd_delivery_start(struct cmd_delivery *d, struct cmd_delivery_worker *w) {
    int rc = open_stderr(w);

    w->end = END_NOT;
    w->why[0] = '\0';
    w->tail_len = 0;
    if (rc == 0)
        rc = d->o.mode == CMD_DELIVERY_LOOP ? start_loop(d, w) : start_batch(d, w);
    if (rc == 0) {
        w->began_ms = cmd_delivery_now();
        return;
    }
    if (may_pass(rc)) {
        struct cmd_delivery_failure *f = cmd_delivery_why(w, "cannot start %s: %s", d->o.argv[0], strerror(rc));

        if (d->o.mode == CMD_DELIVERY_LOOP)
            cmd_delivery_loop_ended(d, w, f);
        else
            cmd_delivery_fail_all(d, w, f);
        return;
    }
    cmd_message("%s: %s", d->o.argv[0], strerror(rc));
    cmd_delivery_abort(d, rc == ENOENT ? 127 : 126);
    give_back_all(d, w);
}

/* ---- ending ---- */

void cmd_delivery_end_child(struct cmd_delivery *d, struct cmd_delivery_worker *w, enum cmd_delivery_end how,
                            const char *why) {
    uint64_t now = cmd_delivery_now();

    if (why && w->why[0] == '\0')
        snprintf(w->why, sizeof w->why, "%s", why);
    if (why)
        cmd_delivery_loop_disconnect(w);
    w->end = how;
    if (how == END_INPUT) {
        close_fd(&w->to);
        w->next_ms = now + (d->stopping ? (uint64_t)d->o.stop_timeout_ms : KILL_AFTER_MS);
        return;
    }
    kill(-w->pid, how == END_TERM ? SIGTERM : SIGKILL);
    kill(-w->pid, SIGCONT); /* a stopped one does not hear SIGTERM */
    w->next_ms = now + KILL_AFTER_MS;
}

/* What children print goes nowhere: no more of them will do any better. */
static bool output_is_closed(const struct cmd_delivery *d) {
    struct pollfd p = {STDOUT_FILENO, 0, 0};

    return d->o.mode != CMD_DELIVERY_LOOP && poll(&p, 1, 0) == 1 && p.revents & POLLERR;
}

/* Stops because of how a child ended; its events were not handled. */
static void stop_all(struct cmd_delivery *d, struct cmd_delivery_worker *w, int status) {
    cmd_delivery_abort(d, status);
    give_back_all(d, w);
    w->pid = 0;
}

/* A child has ended by itself, or because it was told to. */
static void ended(struct cmd_delivery *d, struct cmd_delivery_worker *w, int status) {
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1, signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    bool told = w->end >= END_TERM;
    struct cmd_delivery_failure *f;

    read_stderr(w, DRAIN_MAX);
    flush_line(w);
    if (d->o.mode == CMD_DELIVERY_LOOP && w->from >= 0)
        cmd_delivery_loop_read(d, w);
    cmd_delivery_loop_disconnect(w);
    if (code == STOP_STATUS && !told) {
        cmd_message("%s: exit status 255: stopping", d->o.argv[0]);
        stop_all(d, w, 124);
        return;
    }
    if (d->o.mode != CMD_DELIVERY_LOOP && code == 0 && !told) {
        while (w->given.first)
            cmd_delivery_succeed(d, w, w->given.first);
        w->pid = 0;
        return;
    }
    if (!told && output_is_closed(d)) {
        if (d->status == 0)
            cmd_message("standard output: %s", strerror(EPIPE));
        stop_all(d, w, 1);
        return;
    }
    if (w->why[0] != '\0')
        f = cmd_delivery_why(w, "%s", w->why);
    else if (signal != 0)
        f = cmd_delivery_why(w, "killed by signal %d (%s)", signal, strsignal(signal));
    else
        f = cmd_delivery_why(w, "exit status %d", code);
    f->exit_status = code;
    f->signal = signal;
    if (d->o.mode == CMD_DELIVERY_LOOP)
        cmd_delivery_loop_ended(d, w, f);
    else
        cmd_delivery_fail_all(d, w, f);
    w->pid = 0;
}

static void reap(struct cmd_delivery *d, struct cmd_delivery_worker *w) {
    siginfo_t info = {0};
    int status;

    if (w->end >= END_TERM) {
        /* What it started must not go on with the event: while it is a zombie, nobody else has its number. */
        if (waitid(P_PID, (id_t)w->pid, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid == 0)
            return;
        kill(-w->pid, SIGKILL);
    }
    if (waitpid(w->pid, &status, WNOHANG) == w->pid)
        ended(d, w, status);
}

/* When commands that are at work are told to end. */
static uint64_t stop_at(const struct cmd_delivery *d) {
    return d->stop_before_ms && d->stop_before_ms < d->stop_ms ? d->stop_before_ms : d->stop_ms;
}

/* When a child must be told something next; NEVER: not foreseen. */
static uint64_t due_ms(const struct cmd_delivery *d, const struct cmd_delivery_worker *w) {
    uint64_t at = NEVER;

    if (w->pid == 0)
        return NEVER;
    if (w->end != END_NOT)
        at = w->next_ms;
    else if (d->o.timeout_ms > 0 && w->given.count > 0)
        at = w->began_ms + (uint64_t)d->o.timeout_ms;
    if (d->stopping && w->given.count > 0 && w->end < END_TERM && stop_at(d) < at)
        at = stop_at(d);
    return at;
}

static void push_on(struct cmd_delivery *d, struct cmd_delivery_worker *w) {
    char why[64];

    if (w->end >= END_TERM)
        cmd_delivery_end_child(d, w, END_KILL, NULL);
    else if (d->stopping && w->given.count > 0 && cmd_delivery_now() >= stop_at(d))
        cmd_delivery_end_child(d, w, END_TERM, NULL);
    else if (w->end == END_INPUT)
        cmd_delivery_end_child(d, w, END_TERM, w->given.count > 0 ? "closed its input or output" : NULL);
    else {
        snprintf(why, sizeof why, "timed out after %d ms", d->o.timeout_ms);
        cmd_delivery_end_child(d, w, END_TERM, why);
    }
}

static struct timespec *wait_time(struct timespec *t, uint64_t until) {
    uint64_t now = cmd_delivery_now(), ms = until > now ? until - now : 0;

    if (until == NEVER)
        return NULL;
    *t = (struct timespec){(time_t)(ms / 1000), (long)(ms % 1000) * 1000000};
    return t;
}

/* Descriptors of the children into d->fds; each worker knows its places there, because serving one may change another. */
static nfds_t gather_fds(struct cmd_delivery *d, uint64_t *until) {
    nfds_t n = 0;

    for (uint32_t i = 0; i < d->o.workers; i++) {
        struct cmd_delivery_worker *w = &d->worker[i];
        uint64_t due = due_ms(d, w);

        if (due < *until)
            *until = due;
        w->in_poll = w->from_in_poll = w->to_in_poll = NULL;
        if (w->pid == 0)
            continue;
        d->fds[n] = (struct pollfd){w->err[0], POLLIN, 0};
        w->in_poll = &d->fds[n++];
        if (w->from >= 0) {
            d->fds[n] = (struct pollfd){w->from, POLLIN, 0};
            w->from_in_poll = &d->fds[n++];
        }
        if (w->to >= 0 && w->unsent) {
            d->fds[n] = (struct pollfd){w->to, POLLOUT, 0};
            w->to_in_poll = &d->fds[n++];
        }
    }
    return n;
}

static void serve(struct cmd_delivery *d, struct cmd_delivery_worker *w, bool ready) {
    bool look = somebody_ended;

    if (ready && w->in_poll && w->in_poll->revents)
        look |= read_stderr(w, (size_t)ERR_ROUNDS * STDERR_TAIL);
    if (ready && w->from_in_poll && w->from_in_poll->revents && w->from >= 0) {
        cmd_delivery_loop_read(d, w);
        look |= w->from < 0;
    }
    if (ready && w->to_in_poll && w->to_in_poll->revents && w->to >= 0 && w->unsent)
        cmd_delivery_loop_send(d, w);
    if (look)
        reap(d, w);
}

bool cmd_delivery_poll(struct cmd_delivery *d, uint64_t until_ms, int extra) {
    uint64_t until = d->wake_ms < until_ms ? d->wake_ms : until_ms;
    nfds_t count = gather_fds(d, &until);
    struct timespec t;
    int n;

    if (extra >= 0)
        d->fds[count] = (struct pollfd){extra, POLLIN, 0};
    n = ppoll(d->fds, count + (extra >= 0), wait_time(&t, until), &d->poll_mask);
    for (uint32_t i = 0; i < d->o.workers && (n > 0 || somebody_ended); i++)
        if (d->worker[i].pid != 0)
            serve(d, &d->worker[i], n > 0);
    somebody_ended = 0;
    for (uint32_t i = 0; i < d->o.workers; i++)
        if (due_ms(d, &d->worker[i]) != NEVER && due_ms(d, &d->worker[i]) <= cmd_delivery_now())
            push_on(d, &d->worker[i]);
    return n > 0 && extra >= 0 && d->fds[count].revents;
}

static bool any_child(const struct cmd_delivery *d) {
    for (uint32_t i = 0; i < d->o.workers; i++)
        if (d->worker[i].pid != 0)
            return true;
    return false;
}

void cmd_delivery_children_close(struct cmd_delivery *d) {
    for (uint32_t i = 0; i < d->o.workers; i++) {
        struct cmd_delivery_worker *w = &d->worker[i];

        if (w->pid != 0 && w->end == END_NOT)
            cmd_delivery_end_child(d, w, w->given.count > 0 ? END_TERM : END_INPUT, NULL);
    }
    while (any_child(d))
        cmd_delivery_poll(d, cmd_delivery_now() + CLOSE_WAIT_MS, -1);
    for (uint32_t i = 0; i < d->o.workers; i++) {
        close_fd(&d->worker[i].err[0]);
        close_fd(&d->worker[i].err[1]);
        free(d->worker[i].reply);
    }
    free(d->worker);
    free(d->fds);
    posix_spawnattr_destroy(&d->attr);
    sigaction(SIGCHLD, &d->old_child, NULL);
    sigaction(SIGPIPE, &d->old_pipe, NULL);
}
