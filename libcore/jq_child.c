/* jq_child.c: see jq_child.h; jq_wire.h has the messages. */
#include "jq_child.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "error.h"
#include "helper.h"
#include "jq_wire.h"
#include "os.h"
#include "os_child.h"

#define HELPER "esdb-jq"
#define HELPERS_MAX 2u
#define SLOTS (ES_JQ_IN_FLIGHT + 1) /* one more: results that the caller still looks at */
#define SLICE_MS 100
#define ENDING_MS 1000 /* how long a helper that has hung up may take to end */

/* A batch: sent to one helper, answered by it. */
struct slot {
    unsigned helper;
    bool done;
    struct es_jq_batch batch;
    struct es_buffer lines, body; /* body: what follows the answer */
    struct es_jq_answer answer;
};

struct helper {
    struct es_process process;
    bool ready;         /* it has said so */
    uint64_t next;      /* the batch it is sent next; its own are those whose slot names it */
    size_t sent;        /* of that batch or, before `greeted`, of the greeting */
    bool greeted;       /* the start message is out */
    uint64_t answering; /* the batch whose answer comes next */
    size_t got;         /* bytes of that answer, header and body */
    struct es_jq_answer answer;
};

struct es_jq {
    struct es_jq_options options;
    char path[4096];           /* of the helper */
    struct es_buffer greeting; /* start message, program, arguments */
    struct helper helper[HELPERS_MAX];
    unsigned helpers, helpers_max; /* started; at most */
    struct slot slot[SLOTS];       /* batch n is in slot[n % SLOTS] */
    uint64_t first, end;           /* batches under way: first .. end - 1 */
    struct es_buffer text;         /* of a READY or REFUSED */
    int failed;                    /* the code of the first error */
};

/* ---- how helpers end ---- */

/* The first error is the end: helpers that may be busy, or worse, go at once. */
static int fail(struct es_jq *jq, int code) {
    jq->failed = code;
    for (unsigned i = 0; i < jq->helpers; i++)
        es_process_release(&jq->helper[i].process);
    return code;
}

static int fail_timeout(struct es_jq *jq, const struct helper *h, struct esdb_error *err) {
    if (!h->ready)
        return es_fail(err, ESDB_EUSAGE, "jq took more than 5 s of processor time to compile the program");
    const char *option = jq->options.timeout_option;
    return es_fail(err, ESDB_EUSAGE,
                   "the jq program took more than %u ms of processor time for a batch of events%s%s%s",
                   jq->options.timeout_ms, option ? " (" : "", option ? option : "", option ? ")" : "");
}

/* A helper has hung up. What its end says about the program. */
static int fail_ended(struct es_jq *jq, struct helper *h, struct esdb_error *err) {
    int status;
    const char *doing = h->ready ? "running" : "compiling";
    es_close(&h->process.fd);
    int rc = es_process_wait(&h->process, ENDING_MS, &status);
    if (rc < 0)
        return es_fail(err, ESDB_EUNAVAILABLE, "the helper %s ended while %s the jq program", HELPER, doing);
    if (WIFEXITED(status)) {
        switch (WEXITSTATUS(status)) {
        case ES_JQ_EXIT_TIMEOUT:
            return fail_timeout(jq, h, err);
        case ES_JQ_EXIT_MEMORY:
            return es_fail(err, ESDB_EUSAGE, "the jq program needs more than %zu MiB of memory",
                           jq->options.memory_max >> 20);
        case ES_JQ_EXIT_PROTOCOL:
            return es_fail(err, ESDB_EUSAGE, "%s is of another release", jq->path);
        case 127:
            return es_fail(err, ESDB_EUSAGE, "%s cannot be started: is libjq installed?", jq->path);
        default:
            return es_fail(err, ESDB_EUNAVAILABLE, "the helper %s ended with status %d while %s the jq program", HELPER,
                           WEXITSTATUS(status), doing);
        }
    }
    switch (WTERMSIG(status)) {
    case SIGSYS:
        return es_fail(err, ESDB_EDENIED, "jq was stopped: the program made it ask the system for something forbidden");
    case SIGSEGV:
    case SIGBUS:
    case SIGABRT:
    case SIGILL:
    case SIGFPE:
        return es_fail(err, ESDB_EUSAGE, "jq crashed while %s the program (signal %d)", doing, WTERMSIG(status));
    default:
        return es_fail(err, ESDB_EUNAVAILABLE, "the helper %s was killed (signal %d) while %s the jq program", HELPER,
                       WTERMSIG(status), doing);
    }
}

static int fail_nonsense(struct esdb_error *err) {
    return es_fail(err, ESDB_EDENIED, "the helper %s gave an answer that it must not give: it was stopped", HELPER);
}

/* ---- sending ---- */

/* The next batch of a helper that is not wholly sent; SLOTS when there is none. */
static struct slot *to_send(struct es_jq *jq, struct helper *h) {
    unsigned self = (unsigned)(h - jq->helper);
    if (h->next < jq->first)
        h->next = jq->first;
    for (; h->next < jq->end; h->next++)
        if (jq->slot[h->next % SLOTS].helper == self)
            return &jq->slot[h->next % SLOTS];
    return NULL;
}

/* Sends what the socket takes. 0, or -errno; *more: there is more than it took. */
static int push(struct es_jq *jq, struct helper *h, bool *more) {
    *more = false;
    for (;;) {
        struct slot *s = NULL;
        struct iovec parts[2];
        int count = 0;
        size_t whole = jq->greeting.len, skip = h->sent;
        if (!h->greeted) {
            parts[count++] = (struct iovec){jq->greeting.at + skip, whole - skip};
        } else {
            s = to_send(jq, h);
            if (!s)
                return 0;
            whole = sizeof s->batch + s->lines.len;
            if (skip < sizeof s->batch)
                parts[count++] = (struct iovec){(char *)&s->batch + skip, sizeof s->batch - skip};
            skip = skip > sizeof s->batch ? skip - sizeof s->batch : 0;
            parts[count++] = (struct iovec){s->lines.at + skip, s->lines.len - skip};
        }
        ssize_t n = es_socket_send(h->process.fd, parts, count);
        if (n == -EAGAIN) {
            *more = true;
            return 0;
        }
        if (n < 0)
            return (int)n;
        h->sent += (size_t)n;
        if (h->sent < whole)
            continue;
        h->sent = 0;
        if (h->greeted)
            h->next++;
        h->greeted = true;
    }
}

/* ---- receiving ---- */

static size_t body_len(const struct es_jq *jq, const struct es_jq_answer *a) {
    size_t each = jq->options.transform ? 1 + sizeof(uint32_t) : 1;
    return a->count * each + a->failure_len + a->output_len;
}

static struct slot *answering(struct es_jq *jq, struct helper *h) {
    unsigned self = (unsigned)(h - jq->helper);
    if (h->answering < jq->first)
        h->answering = jq->first;
    for (; h->answering < jq->end; h->answering++)
        if (jq->slot[h->answering % SLOTS].helper == self)
            return &jq->slot[h->answering % SLOTS];
    return NULL;
}

/* May the helper say this now? */
static bool expected(struct es_jq *jq, struct helper *h) {
    const struct es_jq_answer *a = &h->answer;
    if (a->failure_len > ES_JQ_TEXT_MAX || a->output_len > (jq->options.transform ? ES_JQ_OUTPUT_MAX : 0))
        return false;
    if (!h->ready)
        return (a->kind == ES_JQ_READY || a->kind == ES_JQ_REFUSED || a->kind == ES_JQ_NO_SANDBOX) && a->count == 0 &&
               a->output_len == 0;
    struct slot *s = answering(jq, h);
    if (!s || h->answering >= h->next || (a->kind != ES_JQ_RESULTS && a->kind != ES_JQ_TOO_LARGE))
        return false;
    return a->count == (a->kind == ES_JQ_RESULTS ? s->batch.count : 0) && a->failed <= a->count &&
           (a->failed == 0 ? a->failure_len == 0 : a->first_failed < a->count);
}

/* The helper runs untrusted code: verdicts, counts and texts are looked at before anybody believes them. */
static bool plausible(const struct es_jq *jq, const struct slot *s) {
    const struct es_jq_answer *a = &s->answer;
    const unsigned char *at = s->body.at;
    uint64_t lines = 0, found = 0;
    uint32_t failed = 0;
    for (uint32_t i = 0; jq->options.transform && i < a->count; i++, at += sizeof(uint32_t)) {
        uint32_t n;
        memcpy(&n, at, sizeof n);
        lines += n;
    }
    for (uint32_t i = 0; i < a->count; i++) {
        if (at[i] > ES_JQ_FAILED || (jq->options.transform && at[i] == ES_JQ_NO))
            return false;
        failed += at[i] == ES_JQ_FAILED;
    }
    if (failed != a->failed || (failed > 0 && at[a->first_failed] != ES_JQ_FAILED))
        return false;
    at += a->count;
    for (uint32_t i = 0; i < a->failure_len; i++)
        if (*at++ < ' ')
            return false;
    for (uint32_t i = 0; i < a->output_len; i++) {
        found += at[i] == '\n';
        if (at[i] < ' ' && at[i] != '\n')
            return false;
    }
    return found == lines && (a->output_len == 0 || at[a->output_len - 1] == '\n');
}

static int take_greeting(struct es_jq *jq, struct helper *h, struct esdb_error *err) {
    int len = (int)h->answer.failure_len;
    const char *text = (const char *)jq->text.at;
    switch (h->answer.kind) {
    case ES_JQ_READY:
        h->ready = true;
        return 0;
    case ES_JQ_REFUSED:
        return es_fail(err, ESDB_EUSAGE, "jq: %.*s", len, text);
    default:
        return es_fail(err, -ENOSYS, "jq programs cannot be locked in on this system, and are not run otherwise (%.*s)",
                       len, text);
    }
}

static int take_answer(struct es_jq *jq, struct helper *h, struct slot *s, struct esdb_error *err) {
    h->got = 0;
    if (!h->ready)
        return take_greeting(jq, h, err);
    if (h->answer.kind == ES_JQ_TOO_LARGE)
        return es_fail(err, ESDB_EUSAGE, "the jq program made more than %u MiB of a batch of events",
                       ES_JQ_OUTPUT_MAX >> 20);
    s->answer = h->answer;
    s->body.len = body_len(jq, &h->answer);
    if (!plausible(jq, s))
        return fail_nonsense(err);
    s->done = true;
    h->answering++;
    return 0;
}

/* Takes what the socket has. 0, or a code; *some: an answer is complete. */
static int pull(struct es_jq *jq, struct helper *h, bool *some, struct esdb_error *err) {
    for (;;) {
        struct es_jq_answer *a = &h->answer;
        struct slot *s = h->ready ? answering(jq, h) : NULL;
        struct es_buffer *body = s ? &s->body : &jq->text;
        unsigned char *at = (unsigned char *)a + h->got;
        size_t want = sizeof *a - h->got;
        if (h->got >= sizeof *a) {
            at = body->at + (h->got - sizeof *a);
            want = sizeof *a + body_len(jq, a) - h->got;
        }
        ssize_t n = es_socket_receive(h->process.fd, at, want);
        if (n == -EAGAIN)
            return 0;
        if (n <= 0)
            return fail_ended(jq, h, err);
        h->got += (size_t)n;
        if (h->got == sizeof *a) {
            if (!expected(jq, h))
                return fail_nonsense(err);
            body->len = 0;
            if (es_buffer_reserve(body, body_len(jq, a) + 1) < 0)
                return es_fail(err, -ENOMEM, "the answer of a jq program");
        }
        if (h->got >= sizeof *a && h->got == sizeof *a + body_len(jq, a)) {
            int rc = take_answer(jq, h, s, err);
            if (rc < 0)
                return rc;
            *some = true;
        }
    }
}

/* ---- both ways ---- */

/* One round over the helpers. Sets the events that would bring more. */
static int pump(struct es_jq *jq, struct pollfd *fds, bool *some, struct esdb_error *err) {
    *some = false;
    for (unsigned i = 0; i < jq->helpers; i++) {
        struct helper *h = &jq->helper[i];
        bool more;
        int rc = pull(jq, h, some, err);
        if (rc < 0)
            return fail(jq, rc);
        rc = push(jq, h, &more);
        if (rc == -EPIPE || rc == -ECONNRESET) { /* its last words may say why */
            rc = pull(jq, h, some, err);
            return fail(jq, rc < 0 ? rc : fail_ended(jq, h, err));
        }
        if (rc < 0)
            return fail(jq, es_fail(err, rc, "sending events to the helper %s", HELPER));
        fds[i] = (struct pollfd){.fd = h->process.fd, .events = more ? POLLIN | POLLOUT : POLLIN};
    }
    return 0;
}

/* Pumps until a greeting (s == NULL) or a batch's results are there. Time is counted in slices, so that a stopped or
 * sleeping parent blames nobody. */
static int wait_for(struct es_jq *jq, const struct slot *s, struct esdb_error *err) {
    uint32_t waited = 0;
    for (;;) {
        struct pollfd fds[HELPERS_MAX];
        bool some;
        int rc = pump(jq, fds, &some, err);
        if (rc < 0)
            return rc;
        if (s ? s->done : jq->helper[0].ready)
            return 0;
        if (some)
            waited = 0;
        else if (waited >= jq->options.wait_ms)
            return fail(jq, es_fail(err, ESDB_EUNAVAILABLE, "the helper %s gave no sign of life for %u ms", HELPER,
                                    jq->options.wait_ms));
        uint32_t left = jq->options.wait_ms - waited;
        int slice = left < SLICE_MS ? (int)left : SLICE_MS;
        rc = es_poll(fds, jq->helpers, slice);
        if (rc < 0 && rc != -EINTR)
            return fail(jq, es_fail(err, rc, "waiting for the helper %s", HELPER));
        if (rc == 0)
            waited += (uint32_t)(slice > 0 ? slice : 1);
    }
}

/* ---- open, close ---- */

static int make_greeting(struct es_jq *jq, struct esdb_text program, struct esdb_error *err) {
    const struct es_jq_options *o = &jq->options;
    struct esdb_text arguments = o->arguments.at ? o->arguments : (struct esdb_text){"", 0};
    struct es_jq_start start = {.magic = ES_JQ_MAGIC,
                                .version = ES_JQ_VERSION,
                                .mode = o->transform ? ES_JQ_TRANSFORM : ES_JQ_SELECT,
                                .timeout_ms = o->timeout_ms,
                                .timeout_more = o->timeout_ms / 5,
                                .parent = (uint32_t)es_process_id(),
                                .memory_max = o->memory_max,
                                .program_len = (uint32_t)program.len,
                                .arguments_len = (uint32_t)arguments.len};
    if (program.len > ES_JQ_PROGRAM_MAX || arguments.len > ES_JQ_ARGUMENTS_MAX)
        return es_fail(err, ESDB_EUSAGE, "the jq program is larger than %u KiB, or its arguments than %u MiB",
                       ES_JQ_PROGRAM_MAX >> 10, ES_JQ_ARGUMENTS_MAX >> 20);
    if (es_buffer_add(&jq->greeting, &start, sizeof start) < 0 ||
        es_buffer_add(&jq->greeting, program.at, program.len) < 0 ||
        es_buffer_add(&jq->greeting, arguments.at, arguments.len) < 0)
        return es_fail(err, -ENOMEM, "a jq program");
    return 0;
}

static int start_helper(struct es_jq *jq, struct esdb_error *err) {
    struct helper *h = &jq->helper[jq->helpers];
    *h = (struct helper){.process = {.fd = -1, .pidfd = -1}, .next = jq->end, .answering = jq->end};
    int rc = es_process_start(jq->path, &h->process);
    if (rc < 0)
        return es_fail(err, rc, "starting %s", jq->path);
    jq->helpers++;
    return 0;
}

static void set_options(struct es_jq *jq, const struct es_jq_options *o) {
    struct es_jq_options *to = &jq->options;
    if (o)
        *to = *o;
    if (to->timeout_ms == 0)
        to->timeout_ms = 1000;
    if (to->wait_ms == 0)
        to->wait_ms = to->timeout_ms > UINT32_MAX / 20 ? UINT32_MAX : to->timeout_ms * 20;
    if (to->wait_ms < 10000 && (!o || o->wait_ms == 0))
        to->wait_ms = 10000;
    if (to->memory_max == 0)
        to->memory_max = (size_t)1 << 30;
    jq->helpers_max = to->helpers ? to->helpers : (unsigned)es_cores();
    if (jq->helpers_max > HELPERS_MAX)
        jq->helpers_max = HELPERS_MAX;
}

int es_jq_open(struct esdb_text program, const struct es_jq_options *o, struct es_jq **out, struct esdb_error *err) {
    struct es_jq *jq = calloc(1, sizeof *jq);
    if (!jq)
        return es_fail(err, -ENOMEM, "a jq program");
    set_options(jq, o);
    int rc = es_find_helper(HELPER, "jq programs need", jq->path, sizeof jq->path, err);
    if (rc == 0)
        rc = make_greeting(jq, program, err);
    if (rc == 0)
        rc = start_helper(jq, err);
    if (rc == 0)
        rc = wait_for(jq, NULL, err);
    if (rc < 0) {
        es_jq_close(jq);
        return rc;
    }
    jq->options.arguments = (struct esdb_text){NULL, 0}; /* was the caller's */
    *out = jq;
    return 0;
}

void es_jq_close(struct es_jq *jq) {
    if (!jq)
        return;
    for (unsigned i = 0; i < jq->helpers; i++)
        es_process_release(&jq->helper[i].process);
    for (unsigned i = 0; i < SLOTS; i++) {
        es_buffer_release(&jq->slot[i].lines);
        es_buffer_release(&jq->slot[i].body);
    }
    es_buffer_release(&jq->greeting);
    es_buffer_release(&jq->text);
    free(jq);
}

/* ---- batches ---- */

unsigned es_jq_in_flight(const struct es_jq *jq) {
    return (unsigned)(jq->end - jq->first);
}

unsigned es_jq_room(const struct es_jq *jq) {
    return jq->failed ? 0 : ES_JQ_IN_FLIGHT - es_jq_in_flight(jq);
}

/* The helper with the least to do; a new one when all have something and another is allowed. */
static unsigned choose_helper(struct es_jq *jq) {
    unsigned load[HELPERS_MAX] = {0}, best = 0;
    for (uint64_t n = jq->first; n < jq->end; n++)
        if (!jq->slot[n % SLOTS].done)
            load[jq->slot[n % SLOTS].helper]++;
    for (unsigned i = 1; i < jq->helpers; i++)
        if (load[i] < load[best])
            best = i;
    if (load[best] == 0 || jq->helpers == jq->helpers_max)
        return best;
    if (start_helper(jq, NULL) == 0)
        return jq->helpers - 1;
    jq->helpers_max = jq->helpers; /* no room for another process: one does the work too */
    return best;
}

int es_jq_send(struct es_jq *jq, struct es_buffer *lines, uint32_t count, struct esdb_error *err) {
    struct pollfd fds[HELPERS_MAX];
    bool some;
    if (jq->failed)
        return es_fail(err, jq->failed, "the jq program has failed before");
    if (es_jq_room(jq) == 0)
        return -EAGAIN;
    if (lines->len > ES_JQ_BATCH_MAX || count > ES_JQ_COUNT_MAX)
        return es_fail(err, ESDB_EINVALID, "%u events of %zu bytes are too many for a batch", count, lines->len);
    unsigned helper = choose_helper(jq);
    struct slot *s = &jq->slot[jq->end % SLOTS];
    struct es_buffer spare = s->lines;
    s->lines = *lines;
    *lines = spare;
    lines->len = 0;
    s->helper = helper;
    s->done = false;
    s->batch = (struct es_jq_batch){(uint32_t)s->lines.len, count};
    jq->end++;
    return pump(jq, fds, &some, err);
}

int es_jq_receive(struct es_jq *jq, struct es_jq_results *out, struct esdb_error *err) {
    if (jq->failed)
        return es_fail(err, jq->failed, "the jq program has failed before");
    if (jq->first == jq->end)
        return ESDB_END;
    struct slot *s = &jq->slot[jq->first % SLOTS];
    if (!s->done) {
        int rc = wait_for(jq, s, err);
        if (rc < 0)
            return rc;
    }
    const struct es_jq_answer *a = &s->answer;
    const unsigned char *at = s->body.at;
    *out = (struct es_jq_results){.count = a->count, .failed = a->failed, .first_failed = a->first_failed};
    if (jq->options.transform) {
        out->output_count = (const uint32_t *)(const void *)at; /* first, so it is aligned */
        at += a->count * sizeof(uint32_t);
    }
    out->verdict = at;
    at += a->count;
    out->failure = (struct esdb_text){(const char *)at, a->failure_len};
    out->output = (struct esdb_text){(const char *)at + a->failure_len, a->output_len};
    jq->first++;
    return 0;
}
