/*
 * delivery_loop.c: the line protocol of a child that lives on (CMD_DELIVERY_LOOP).
 *
 *   to the child      {"event_id":...}\n          an event line, as esdb-read prints it
 *   from the child    ok\n   fail\n   fail REASON\n    one for each, in the order of the events
 *
 * Both pipes are written and read without blocking, so nobody can wait for us while we wait for him.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "delivery_inside.h"

enum { WRITE_LINES = 64 };

bool cmd_delivery_loop_can_take(const struct cmd_delivery *d, const struct cmd_delivery_worker *w, uint64_t now) {
    if (w->given.count >= d->o.window || w->end != END_NOT)
        return false;
    return w->pid != 0 || w->start_ms <= now;
}

/* What of w->unsent was written: n bytes. */
static void advance(struct cmd_delivery_worker *w, size_t n) {
    while (w->unsent && n >= w->unsent->line_len - w->sent) {
        n -= w->unsent->line_len - w->sent;
        w->unsent = w->unsent->next;
        w->sent = 0;
    }
    w->sent += n;
}

void cmd_delivery_loop_send(struct cmd_delivery *d, struct cmd_delivery_worker *w) {
    while (w->unsent && w->to >= 0) {
        struct iovec iov[WRITE_LINES];
        size_t sum = 0, skip = w->sent;
        int count = 0;
        ssize_t n;

        for (struct cmd_delivery_event *e = w->unsent; e && count < WRITE_LINES; e = e->next) {
            iov[count++] = (struct iovec){e->line + skip, e->line_len - skip};
            sum += e->line_len - skip;
            skip = 0;
        }
        n = writev(w->to, iov, count);
        if (n >= 0) {
            advance(w, (size_t)n);
            if ((size_t)n < sum)
                return;
        } else if (errno == EAGAIN) {
            return;
        } else if (errno != EINTR) {
            /* It reads no more. What it has answered is still to be read, and then it has to end. */
            cmd_delivery_end_child(d, w, END_INPUT, NULL);
        }
    }
}

static void protocol_error(struct cmd_delivery *d, struct cmd_delivery_worker *w, const char *at, size_t len) {
    char why[sizeof w->why];

    if (w->given.count == 0)
        snprintf(why, sizeof why, "answered without an event: '%.*s'", (int)(len < 40 ? len : 40), at);
    else if (w->given.first == w->unsent)
        snprintf(why, sizeof why, "answered before the event was read: '%.*s'", (int)(len < 40 ? len : 40), at);
    else
        snprintf(why, sizeof why, "answered neither ok nor fail: '%.*s'", (int)(len < 40 ? len : 40), at);
    cmd_message("%s: %s", d->o.argv[0], why);
    cmd_delivery_end_child(d, w, END_TERM, why);
}

/* One answer, without its newline. */
static void answer(struct cmd_delivery *d, struct cmd_delivery_worker *w, const char *at, size_t len) {
    struct cmd_delivery_event *e = w->given.first;
    bool ok = len == 2 && memcmp(at, "ok", 2) == 0;
    bool fail = len >= 4 && memcmp(at, "fail", 4) == 0 && (len == 4 || at[4] == ' ');

    if (!e || e == w->unsent || !(ok || fail)) {
        protocol_error(d, w, at, len);
        return;
    }
    w->answered = true;
    w->deaths = 0;
    if (d->o.timeout_ms > 0)
        w->began_ms = cmd_delivery_now();
    if (ok) {
        cmd_delivery_succeed(d, w, e);
    } else {
        size_t reason = len > 5 ? len - 5 : 0;

        cmd_delivery_fail(
            d, w, e,
            reason ? cmd_delivery_why(w, "%.*s", (int)(reason < REASON_MAX ? reason : REASON_MAX - 1), at + 5)
                   : cmd_delivery_why(w, "fail"));
        w->tail_len = 0;
    }
}

static void answers(struct cmd_delivery *d, struct cmd_delivery_worker *w) {
    char *at = w->reply, *end = w->reply + w->reply_len, *newline;

    while (w->from >= 0 && at < end && (newline = memchr(at, '\n', (size_t)(end - at)))) {
        answer(d, w, at, (size_t)(newline - at));
        at = newline + 1;
    }
    if (w->from >= 0 && end - at == REPLY_MAX)
        protocol_error(d, w, at, REPLY_MAX);
    w->reply_len = (size_t)(end - at);
    if (w->reply_len > 0)
        memmove(w->reply, at, w->reply_len);
}

void cmd_delivery_loop_read(struct cmd_delivery *d, struct cmd_delivery_worker *w) {
    if (!w->reply)
        w->reply = cmd_alloc(REPLY_MAX);
    while (w->from >= 0) {
        size_t room = REPLY_MAX - w->reply_len;
        ssize_t n = read(w->from, w->reply + w->reply_len, room);

        if (n > 0) {
            w->reply_len += (size_t)n;
            answers(d, w);
            if ((size_t)n < room)
                return;
        } else if (n == 0) {
            cmd_delivery_loop_disconnect(w);
            if (w->end == END_NOT)
                cmd_delivery_end_child(d, w, END_INPUT, NULL);
        } else if (errno != EINTR) {
            return;
        }
    }
}

void cmd_delivery_loop_ended(struct cmd_delivery *d, struct cmd_delivery_worker *w, struct cmd_delivery_failure *f) {
    struct cmd_delivery_event *first = w->given.first;
    bool told = w->end >= END_TERM;

    w->unsent = NULL;
    w->sent = 0;
    if (!w->answered && !told)
        w->start_ms = cmd_delivery_now() + cmd_delivery_backoff(d, ++w->deaths);
    /* One that has done its share and ends well is no failure; one that ends in the middle of an event is. */
    if (!first || (f->exit_status == 0 && w->answered && !told))
        free(f);
    else
        cmd_delivery_fail(d, w, first, f);
    while (w->given.first)
        cmd_delivery_return(d, w, w->given.first);
    w->end = END_NOT;
}
