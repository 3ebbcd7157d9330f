/* out.c: the buffer before stdout, and the small pieces that are printed. See cmd.h. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "format/json.h"
#include "format/utf8.h"
#include "internal.h"

#define OUT_ROOM (256u << 10)
#define STOP_PATIENCE_MS 200 /* after a signal: how long a reader may take */
#define OUT_PIPE (1 << 20)   /* a pipe of this size takes four buffers: the reader need not keep step */
#define OUT_PIECE (16u << 10)

static struct cmd_out standard = {.fd = -1};

static bool want_color(bool terminal) {
    const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");

    if (cmd_color_when() != CMD_COLOR_AUTO)
        return cmd_color_when() == CMD_COLOR_ALWAYS;
    return terminal && !(no_color && *no_color) && term && *term && strcmp(term, "dumb") != 0;
}

struct cmd_out *cmd_stdout(void) {
    static char room[OUT_ROOM]; /* not of the heap: only what is used is ever there */

    if (standard.fd < 0) {
        standard.fd = STDOUT_FILENO;
        standard.terminal = isatty(STDOUT_FILENO);
        standard.color = want_color(standard.terminal);
        standard.room = sizeof room;
        standard.at = room;
    }
    return &standard;
}

/* ---- writing ---- */

/* Nobody reads any more: ends the way that a program ends that never heard of SIGPIPE. */
static void end_by_sigpipe(void) {
    struct sigaction action = {.sa_handler = SIG_DFL};
    sigset_t set;

    sigaction(SIGPIPE, &action, NULL);
    sigemptyset(&set);
    sigaddset(&set, SIGPIPE);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    kill(getpid(), SIGPIPE);
    _exit(1);
}

/* After a signal: as much as a reader that lives takes, in pieces that cannot block, so that its last line is whole. */
static ssize_t write_last(const struct cmd_out *out, const char *at, size_t len) {
    struct pollfd p = {out->fd, POLLOUT, 0};

    if (poll(&p, 1, STOP_PATIENCE_MS) <= 0) {
        errno = ETIMEDOUT;
        return -1;
    }
    return write(out->fd, at, len < PIPE_BUF ? len : PIPE_BUF);
}

static void write_out(struct cmd_out *out, const char *at, size_t len) {
    while (len > 0 && !out->failed) {
        ssize_t n = cmd_stopped ? write_last(out, at, len) : write(out->fd, at, len);

        if (n >= 0) {
            at += n;
            len -= (size_t)n;
        } else if (errno == EPIPE) {
            end_by_sigpipe();
        } else if (errno == EAGAIN) {
            struct pollfd p = {out->fd, POLLOUT, 0}; /* somebody made the descriptor non-blocking */

            poll(&p, 1, -1);
        } else if (errno != EINTR) {
            out->failed = true;
            if (!cmd_stopped)
                cmd_message("writing to standard output: %s", strerror(errno));
        }
    }
}

static void flush(struct cmd_out *out) {
    size_t len = out->len;

    out->len = 0;
    write_out(out, out->at, len);
}

/* More than a buffer is printed: now a large pipe is worth its price. */
static void widen_pipe(struct cmd_out *out) {
    static bool done;

    if (!done)
        fcntl(out->fd, F_SETPIPE_SZ, OUT_PIPE); /* fails when it is no pipe, or not allowed: then it stays */
    done = true;
}

void cmd_uuid_text(const unsigned char at[16], char out[37]) {
    size_t n = 0;

    for (int i = 0; i < 16; i++)
        n += (size_t)snprintf(out + n, 37 - n, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", at[i]);
}

char *cmd_out_reserve(struct cmd_out *out, size_t n) {
    assert(n <= out->room);
    if (n > out->room - out->len) {
        widen_pipe(out);
        flush(out);
    }
    return out->at + out->len;
}

void cmd_out_add(struct cmd_out *out, const char *bytes, size_t len) {
    if (len > out->room - out->len) {
        widen_pipe(out);
        flush(out);
        if (len >= out->room) {
            write_out(out, bytes, len);
            return;
        }
    }
    if (len > 0) /* bytes may be NULL then */
        memcpy(out->at + out->len, bytes, len);
    out->len += len;
}

int cmd_out_flush(struct cmd_out *out) {
    if (out->before_flush)
        out->before_flush(out);
    if (out->len > 0)
        flush(out);
    return out->failed && !cmd_stopped;
}

int (*cmd_before_finish)(void);

int cmd_finish(int status) {
    int (*before)(void) = cmd_before_finish;

    cmd_before_finish = NULL;
    if (before) {
        int own = before();

        if (status == 0 || (status == 4 && own != 0)) /* events left out weigh more than none found */
            status = own;
    }
    if (standard.fd >= 0) {
        if (cmd_out_flush(&standard) != 0 && status == 0)
            status = 1;
        if (close(standard.fd) != 0 && errno != EINTR && !standard.failed) {
            cmd_message("closing standard output: %s", strerror(errno));
            if (status == 0)
                status = 1;
        }
        standard = (struct cmd_out){.fd = -1};
    }
    cmd_config_release();
    cmd_selection_release();
    return status;
}

static void *watch(void *unused) {
    struct pollfd p = {STDOUT_FILENO, 0, 0}; /* POLLERR and POLLHUP are always reported */

    (void)unused;
    while (poll(&p, 1, -1) <= 0 || !(p.revents & (POLLERR | POLLHUP)))
        ;
    end_by_sigpipe();
    return NULL;
}

void cmd_watch_stdout(void) {
    struct stat st;
    pthread_t thread;
    sigset_t all, old;

    if (fstat(STDOUT_FILENO, &st) != 0 || !(S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode) || S_ISCHR(st.st_mode)))
        return;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old); /* signals belong to the thread that waits for events */
    if (pthread_create(&thread, NULL, watch, NULL) == 0)
        pthread_detach(thread);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
}

/* ---- pieces ---- */

void cmd_out_text(struct cmd_out *out, const char *text) {
    cmd_out_add(out, text, strlen(text));
}

size_t cmd_put_number(char *at, uint64_t n) {
    static const char pairs[] =
        "00010203040506070809101112131415161718192021222324252627282930313233343536373839404142434445464748"
        "4950515253545556575859606162636465666768697071727374757677787980818283848586878889909192939495969798"
        "99";
    char digits[20];
    size_t i = sizeof digits;

    for (; n >= 100; n /= 100)
        memcpy(digits + (i -= 2), pairs + n % 100 * 2, 2);
    if (n >= 10)
        memcpy(digits + (i -= 2), pairs + n * 2, 2);
    else
        digits[--i] = (char)('0' + n);
    memcpy(at, digits + i, sizeof digits - i);
    return sizeof digits - i;
}

void cmd_out_number(struct cmd_out *out, uint64_t n) {
    cmd_out_advance(out, cmd_put_number(cmd_out_reserve(out, 20), n));
}

void cmd_out_printf(struct cmd_out *out, const char *format, ...) {
    char text[4096];
    va_list args;

    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (n > 0)
        cmd_out_add(out, text, (size_t)n < sizeof text ? (size_t)n : sizeof text - 1);
}

void cmd_out_stored_json(struct cmd_out *out, struct esdb_text json) {
    static const char hex[] = "0123456789abcdef";
    size_t done = 0;

    if (!out->terminal) {
        cmd_out_add(out, json.at, json.len);
        return;
    }
    for (size_t i = 0, n; i < json.len; i += n) {
        unsigned char c = (unsigned char)json.at[i];
        int bytes = c < 0x80 ? 1 : fmt_utf8_sequence(json.at + i, json.at + json.len);
        bool is_c1 = bytes == 2 && c == 0xc2 && (unsigned char)json.at[i + 1] < 0xa0;

        n = bytes > 0 ? (size_t)bytes : 1;
        if (bytes > 0 && c >= 0x20 && c != 0x7f && !is_c1)
            continue;
        cmd_out_add(out, json.at + done, i - done);
        c = (unsigned char)json.at[i + n - 1];

        char escape[] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};

        cmd_out_add(out, escape, sizeof escape);
        done = i + n;
    }
    cmd_out_add(out, json.at + done, json.len - done);
}

void cmd_out_json(struct cmd_out *out, struct esdb_text text) {
    cmd_out_add(out, "\"", 1);
    for (size_t at = 0, n; at < text.len; at += n) {
        char escaped[6 * 512];
        size_t len;

        n = text.len - at < 512 ? text.len - at : 512;
        while (at + n < text.len && n > 508 && ((unsigned char)text.at[at + n] & 0xc0) == 0x80)
            n--; /* no character is cut */
        len = fmt_json_escape(text.at + at, n, escaped);
        cmd_out_stored_json(out, (struct esdb_text){escaped, len});
    }
    cmd_out_add(out, "\"", 1);
}

void cmd_out_plain(struct cmd_out *out, struct esdb_text text) {
    if (!out->terminal) {
        cmd_out_add(out, text.at, text.len);
        return;
    }
    for (size_t at = 0, n; at < text.len; at += n) {
        n = text.len - at < OUT_PIECE ? text.len - at : OUT_PIECE;
        /* not between the bytes of a character */
        while (at + n < text.len && n > OUT_PIECE - 4 && (text.at[at + n] & 0xc0) == 0x80)
            n--;
        cmd_out_advance(out, cmd_make_visible(text.at + at, n, "\n\t", cmd_out_reserve(out, 4 * n)));
    }
}

void cmd_out_color(struct cmd_out *out, enum cmd_color color) {
    static const char *const sequences[] = {
        [CMD_PLAIN] = "\033[0m", [CMD_KEY] = "\033[34;1m", [CMD_DIM] = "\033[2m",
        [CMD_GOOD] = "\033[32m", [CMD_WARN] = "\033[33m",  [CMD_BAD] = "\033[31m",
    };

    if (out->color)
        cmd_out_text(out, sequences[color]);
}

unsigned cmd_terminal_width(void) {
    struct winsize size;

    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0)
        return 0;
    return size.ws_col > 0 ? size.ws_col : 80;
}

size_t cmd_put_time(char *at, uint64_t epoch_us) {
    time_t seconds = (time_t)(epoch_us / 1000000);
    struct tm tm;
    char zone[8];

    if (!localtime_r(&seconds, &tm) || tm.tm_year > 9999 - 1900)
        return cmd_put_number(at, epoch_us); /* no date of this calendar */
    strftime(zone, sizeof zone, "%z", &tm);
    return (size_t)snprintf(at, CMD_TIME_ROOM, "%04u-%02u-%02uT%02u:%02u:%02u.%06u%.3s:%.2s",
                            (unsigned)tm.tm_year % 10000 + 1900, (unsigned)tm.tm_mon % 12 + 1,
                            (unsigned)tm.tm_mday % 32, (unsigned)tm.tm_hour % 24, (unsigned)tm.tm_min % 60,
                            (unsigned)tm.tm_sec % 61, (unsigned)(epoch_us % 1000000), zone, zone + 3);
}
