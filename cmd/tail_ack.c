/* tail_ack.c: a named subscription that is told on standard input what was processed (--ack=stdin), or how many events are
 * wanted (--pull). See tail_named.h.
 *
 *   ack POSITION|EVENT_ID        it is processed ("ack" may be left out)
 *   nack POSITION|EVENT_ID [REASON]   it cannot be: it is parked
 *   demand N                     with --pull: N more events */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "delivery_inside.h"
#include "tail_named.h"

#define LINE_MAX_LEN 4096 /* an id and a reason: a longer line is no answer */

/* An event that was printed and not acknowledged. */
struct pending {
    uint64_t position, version, epoch_us;
    char *names; /* stream, type and id one after the other; owned */
    uint32_t stream_len, type_len;
    uint8_t id_len;
    bool done, retry;
};

struct acked {
    struct named *n;
    struct pending *ring; /* of max_queue places; owned */
    uint64_t first, count;
    uint64_t open; /* of them not done */
    struct cmd_waker *waker;
    uint64_t demand, failed;
    char line[LINE_MAX_LEN];
    size_t line_len;
    bool skips, ended, at_end, look;
    int status;
};

static struct pending *at(const struct acked *a, uint64_t i) {
    return &a->ring[(a->first + i) % a->n->t->max_queue];
}

static uint64_t watermark(const struct acked *a) {
    uint64_t position = cmd_named_position(a->n);

    for (uint64_t i = 0; i < a->count; i++)
        if (!at(a, i)->retry)
            return at(a, i)->position < position ? at(a, i)->position : position;
    return position;
}

/* ---- printing ---- */

static bool print(struct acked *a, const struct esdb_event *e, bool retry) {
    struct pending *p;
    size_t len = e->stream_id.len + e->event_type.len + e->event_id.len;

    if (a->count == a->n->t->max_queue)
        return false;
    cmd_print_event(cmd_stdout(), e);
    if (a->n->t->pull && a->demand > 0)
        a->demand--;
    if (!a->n->t->acks_by_stdin && !retry) { /* settled when it is written */
        cmd_named_counts(a->n, e->stream_id)->delivered++;
        cmd_named_settle(a->n, e->stream_id, e->position);
        return true;
    }
    p = at(a, a->count++);
    a->open++;
    *p = (struct pending){e->position,
                          e->version,
                          e->epoch_us,
                          cmd_alloc(len + 1),
                          (uint32_t)e->stream_id.len,
                          (uint32_t)e->event_type.len,
                          (uint8_t)e->event_id.len,
                          false,
                          retry};
    memcpy(p->names, e->stream_id.at, e->stream_id.len);
    memcpy(p->names + p->stream_len, e->event_type.at, e->event_type.len);
    memcpy(p->names + p->stream_len + p->type_len, e->event_id.at, e->event_id.len);
    return true;
}

static bool print_retry(void *context, const struct esdb_event *e) {
    struct acked *a = context;

    return (!a->n->t->pull || a->demand > 0) && print(a, e, true);
}

static bool has_room(const struct acked *a) {
    return a->count < a->n->t->max_queue && (!a->n->t->pull || a->demand > 0);
}

/* ---- what is said on stdin ---- */

static struct pending *find(struct acked *a, struct esdb_text word) {
    char digits[32] = "";
    uint64_t position;
    bool number;

    memcpy(digits, word.at, word.len < sizeof digits ? word.len : 0);
    number = word.len < sizeof digits && cmd_parse_number(digits, &position);
    for (uint64_t i = 0; i < a->count; i++) {
        struct pending *p = at(a, i);

        if (!p->done &&
            ((number && p->position == position) ||
             (p->id_len == word.len && memcmp(p->names + p->stream_len + p->type_len, word.at, word.len) == 0)))
            return p;
    }
    return NULL;
}

/* What is done at the begin of the ring leaves it. */
static void shrink(struct acked *a) {
    while (a->count > 0 && at(a, 0)->done) {
        free(at(a, 0)->names);
        a->first++;
        a->count--;
    }
}

static void fail(struct acked *a, int status) {
    if (a->status == 0)
        a->status = status;
}

static void settle(struct acked *a, struct pending *p, bool ok, struct esdb_text reason) {
    struct esdb_text stream = {p->names, p->stream_len};

    if (ok && p->retry)
        fail(a, cmd_named_retried(a->n, p->position));
    if (!ok) {
        struct esdb_parked parked = {.position = p->position,
                                     .version = p->version,
                                     .epoch_us = p->epoch_us,
                                     .stream_id = stream,
                                     .event_type = {p->names + p->stream_len, p->type_len},
                                     .event_id = {p->names + p->stream_len + p->type_len, p->id_len},
                                     .reason = reason,
                                     .attempts = 1,
                                     .exit_status = -1};

        a->failed++;
        fail(a, cmd_named_park(a->n, &parked));
    }
    if (a->status != 0)
        return; /* what could not be recorded is not settled */
    cmd_named_counts(a->n, stream)->delivered += ok;
    cmd_named_settle(a->n, stream, p->position);
    p->done = true;
    a->open--;
    shrink(a);
}

static struct esdb_text next_word(struct esdb_text *line) {
    struct esdb_text word;

    while (line->len > 0 && *line->at == ' ')
        line->at++, line->len--;
    word = (struct esdb_text){line->at, 0};
    while (word.len < line->len && line->at[word.len] != ' ')
        word.len++;
    line->at += word.len;
    line->len -= word.len;
    while (line->len > 0 && *line->at == ' ')
        line->at++, line->len--;
    return word;
}

static bool is(struct esdb_text word, const char *text) {
    return word.len == strlen(text) && memcmp(word.at, text, word.len) == 0;
}

static void take_demand(struct acked *a, struct esdb_text rest) {
    struct esdb_text word = next_word(&rest);
    char digits[32] = "";
    uint64_t n;

    memcpy(digits, word.at, word.len < sizeof digits ? word.len : 0);
    if (!cmd_parse_number(digits, &n))
        cmd_message("standard input: 'demand %.*s' is no number", (int)word.len, word.at);
    else if (__builtin_add_overflow(a->demand, n, &a->demand))
        a->demand = UINT64_MAX;
}

static void take_line(struct acked *a, struct esdb_text line) {
    struct esdb_text rest, word;
    struct pending *p;
    bool nack;

    if (line.len > 0 && line.at[line.len - 1] == '\r')
        line.len--;
    rest = line;
    word = next_word(&rest);
    if (word.len == 0)
        return;
    if (a->n->t->pull && is(word, "demand")) {
        take_demand(a, rest);
        return;
    }
    nack = is(word, "nack");
    if (nack || is(word, "ack"))
        word = next_word(&rest);
    p = a->n->t->acks_by_stdin && word.len > 0 ? find(a, word) : NULL;
    if (p)
        settle(a, p, !nack, rest.len > 0 ? rest : (struct esdb_text){"nack", 4});
    else
        cmd_message("standard input: '%.*s' is no event that waits for an answer", (int)line.len, line.at);
}

/* Takes what is there. */
static void take_input(struct acked *a) {
    ssize_t got = read(STDIN_FILENO, a->line + a->line_len, sizeof a->line - a->line_len);
    char *begin = a->line, *end;

    if (got <= 0) {
        a->ended = got == 0 || errno != EINTR;
        if (a->ended && a->line_len > 0 && !a->skips)
            take_line(a, (struct esdb_text){a->line, a->line_len});
        return;
    }
    a->line_len += (size_t)got;
    while ((end = memchr(begin, '\n', a->line_len)) != NULL) {
        if (!a->skips)
            take_line(a, (struct esdb_text){begin, (size_t)(end - begin)});
        a->skips = false;
        a->line_len -= (size_t)(end + 1 - begin);
        begin = end + 1;
    }
    memmove(a->line, begin, a->line_len);
    if (a->line_len == sizeof a->line) {
        cmd_message("standard input: a line of more than %d bytes is passed over", LINE_MAX_LEN);
        a->skips = true;
        a->line_len = 0;
    }
}

/* ---- following ---- */

static void read_more(struct acked *a) {
    struct esdb_error err = {0};
    struct esdb_event e;

    while (!a->at_end && a->status == 0 && !cmd_stopped && has_room(a)) {
        int rc = cmd_named_next(a->n, &e, &err), timeout_ms = 0;

        if (rc == 0)
            print(a, &e, false);
        else if (rc == ESDB_PAUSED)
            fail(a, cmd_named_save_when_due(a->n, watermark(a), &timeout_ms));
        else if (rc == ESDB_END)
            a->at_end = a->look = true;
        else
            fail(a, cmd_named_cursor_failed(a->n, rc, &err));
    }
    if (a->look && a->status == 0 && !cmd_stopped) {
        a->look = false;
        fail(a, cmd_named_look(a->n));
        if (a->status == 0)
            fail(a, cmd_named_give_retries(a->n, print_retry, a));
    }
    if (cmd_out_flush(cmd_stdout()) != 0 || cmd_stdout()->failed)
        fail(a, 1);
}

/* Until there is more in the store, when that is wanted, or on stdin. */
static void wait_for_more(struct acked *a, int timeout_ms) {
    struct pollfd p[2] = {{STDIN_FILENO, POLLIN, 0}, {cmd_waker_fd(a->waker), POLLIN, 0}};

    if (a->at_end)
        cmd_waker_arm(a->waker, esdb_cursor_position(cmd_named_cursor(a->n)));
    else if (a->n->queue && timeout_ms > NAMED_BUSY_MS)
        timeout_ms = NAMED_BUSY_MS;
    if (poll(p, a->at_end ? 2 : 1, timeout_ms) <= 0)
        return;
    if (p[0].revents)
        take_input(a);
    if (a->at_end && p[1].revents) {
        a->at_end = false;
        cmd_named_more(a->n);
    }
}

static bool is_over(struct acked *a) {
    int status = 0;

    if (a->status != 0 || cmd_stopped || a->ended)
        return true;
    if (!a->at_end || a->open > 0 || !cmd_named_finished(a->n, &status))
        return false;
    fail(a, status);
    return true;
}

static void run(struct acked *a) {
    for (;;) {
        int timeout_ms = NAMED_SLICE_MS;

        cmd_named_alive(a->n, &timeout_ms);
        read_more(a);
        if (!a->at_end && a->status == 0 && a->n->queue) { /* it has no room for more */
            cmd_named_more(a->n);
            if (cmd_queue_look(a->n) != 0)
                fail(a, 9);
        }
        if (is_over(a))
            return;
        fail(a, cmd_named_save_when_due(a->n, watermark(a), &timeout_ms));
        if (cmd_named_again(a->n))
            a->at_end = false;
        else if (a->status == 0)
            wait_for_more(a, timeout_ms);
    }
}

int cmd_named_acked(struct named *n) {
    struct acked a = {.n = n, .look = true};
    int last;

    a.ring = cmd_alloc(n->t->max_queue * sizeof *a.ring);
    if (!(a.waker = cmd_waker_start(n->db))) {
        cmd_message("cannot wait for events: %s", strerror(errno));
        free(a.ring);
        return 1;
    }
    run(&a);
    if (a.status != 6 && a.status != 4) {
        last = cmd_named_save(n, watermark(&a));
        a.status = a.status ? a.status : last;
    }
    if (a.ended && a.open > 0 && !cmd_stopped) {
        cmd_message("%s: standard input ended, %llu events are not acknowledged", n->t->name,
                    (unsigned long long)a.open);
        a.status = a.status ? a.status : 9;
    }
    cmd_waker_stop(a.waker);
    while (a.count > 0) {
        at(&a, 0)->done = true;
        shrink(&a);
    }
    free(a.ring);
    return a.status == 0 && a.failed > 0 ? 123 : a.status;
}
