/* esdb-jq: runs a jq program on JSON texts for libcore/jq_child.c, which starts it and is the only one to talk to it
 * (libcore/jq_wire.h). The one program that links libjq. Nothing here is trusted: libjq aborts when memory fails, and
 * programs may crash it or loop; that is why the process is locked in (sandbox.c) before the program is even compiled.
 *
 * Works with jq 1.6 and 1.7.
 */
#include <errno.h>
#include <jq.h>
#include <malloc.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "libcore/jq_wire.h"
#include "libexec/sandbox.h"
#include "libexec/socket.h"

#define COMPILE_MS 5000u /* processor time that a program may take to compile */

/* Bytes that grow. */
struct bytes {
    char *at;
    size_t len, room;
};

/* The work, and the answer under construction. */
static struct es_jq_start start;
static jq_state *jq;
static jv_parser *parser;
static struct bytes output;
static unsigned char *verdicts;
static uint32_t *output_counts;
static char text[ES_JQ_TEXT_MAX]; /* the first message of the compiler, or of a batch */
static size_t text_len;
static struct es_jq_answer answer;

/* ---- ends ---- */

static void on_timer(int signal_number) {
    (void)signal_number;
    _exit(ES_JQ_EXIT_TIMEOUT);
}

static void on_no_memory(void *unused) {
    (void)unused;
    _exit(ES_JQ_EXIT_MEMORY);
}

/* Ends the process when it has used so much processor time from now on. */
static void set_timer(uint64_t ms) {
    struct itimerval t = {.it_value = {.tv_sec = (time_t)(ms / 1000), .tv_usec = (suseconds_t)(ms % 1000 * 1000)}};

    setitimer(ITIMER_PROF, &t, NULL);
}

static void *grow(void *at, size_t size) {
    void *p = realloc(at, size ? size : 1);

    if (!p)
        _exit(ES_JQ_EXIT_MEMORY);
    return p;
}

static char *reserve(struct bytes *b, size_t more) {
    if (b->room - b->len < more) {
        while (b->room - b->len < more)
            b->room = b->room ? b->room * 2 : 64u << 10;
        b->at = grow(b->at, b->room);
    }
    return b->at + b->len;
}

/* ---- the socket ---- */

static void reply(uint32_t kind) {
    answer.kind = kind;
    answer.failure_len = (uint32_t)text_len;
    socket_put(&answer, sizeof answer);
    if (start.mode == ES_JQ_TRANSFORM)
        socket_put(output_counts, answer.count * sizeof *output_counts);
    socket_put(verdicts, answer.count);
    socket_put(text, text_len);
    socket_put(output.at, answer.output_len);
}

/* ---- messages ---- */

/* Takes a text as one line; a character that does not fit whole is left out. */
static void set_text(const char *at, size_t len) {
    text_len = len < sizeof text ? len : sizeof text;
    if (text_len < len)
        while (text_len > 0 && ((unsigned char)at[text_len] & 0xc0) == 0x80)
            text_len--;
    memcpy(text, at, text_len);
    for (size_t i = 0; i < text_len; i++)
        if ((unsigned char)text[i] < ' ')
            text[i] = ' ';
}

/* Consumes what error() was given: a string is the message, anything else is shown as JSON. */
static void set_message(jv message) {
    static const char no_input[] = "No more inputs"; /* 1.6 says "break" */

    if (jv_get_kind(message) != JV_KIND_STRING)
        message = jv_dump_string(message, 0);
    if (strcmp(jv_string_value(message), "break") == 0)
        set_text(no_input, strlen(no_input));
    else
        set_text(jv_string_value(message), (size_t)jv_string_length_bytes(jv_copy(message)));
    jv_free(message);
}

/* The compiler's first message, without what jq says to users of its command line:
 * "jq: error: syntax error, unexpected '|' (Unix shell quoting issues?) at <top-level>, line 1:\n.a ||" */
static void on_compile_error(void *unused, jv message) {
    static const char prefix[] = "jq: error: ", shell[] = " (Unix shell quoting issues?)",
                      place[] = " at <top-level>, ";
    char one[ES_JQ_TEXT_MAX], *at;
    int len;

    (void)unused;
    if (jv_get_kind(message) != JV_KIND_STRING)
        message = jv_dump_string(message, 0);
    at = strstr(jv_string_value(message), prefix);
    len = snprintf(one, sizeof one, "%s",
                   at == jv_string_value(message) ? at + strlen(prefix) : jv_string_value(message));
    jv_free(message);
    if (text_len > 0 || len < 0)
        return;
    if ((at = strstr(one, shell)))
        memmove(at, at + strlen(shell), strlen(at + strlen(shell)) + 1);
    if ((at = strstr(one, place))) {
        memcpy(at, ", ", 2);
        memmove(at + 2, at + strlen(place), strlen(at + strlen(place)) + 1);
    }
    len = (int)strlen(one);
    while (len > 0 && (one[len - 1] == '\n' || one[len - 1] == ':' || one[len - 1] == ' '))
        len--;
    set_text(one, (size_t)len);
}

/* ---- one input ---- */

/* The value of a line, invalid with a message when it is none that libjq takes (nested deeper than it allows). */
static jv parse(const char *line, size_t len) {
    jv value;

    if (len > 0 && (*line == '{' || *line == '[')) {
        jv_parser_set_buf(parser, line, (int)len, 1);
        value = jv_parser_next(parser);
        if (jv_is_valid(value) && jv_parser_remaining(parser) == 0)
            return value;
        jv_free(value);
        jv_parser_free(parser);
        parser = jv_parser_new(0);
    }
    value = jv_parse_sized(line, (int)len); /* slower, with a message */
    if (jv_is_valid(value) || jv_invalid_has_msg(jv_copy(value)))
        return value;
    jv_free(value);
    return jv_invalid_with_msg(jv_string("not a JSON text"));
}

/* Why the program gave no (more) value: NULL, it was done; else consumed into a message. */
static bool failed(jv last) {
    if (jq_halted(jq)) {
        jv_free(last);
        if (answer.failed == 0)
            set_text("halt is not available here", strlen("halt is not available here"));
        return true;
    }
    if (!jv_invalid_has_msg(jv_copy(last))) {
        jv_free(last);
        return false;
    }
    last = jv_invalid_get_msg(last);
    if (answer.failed == 0)
        set_message(last);
    else
        jv_free(last);
    return true;
}

/* Selecting: the first value that is neither false nor null decides. */
static unsigned char select_one(jv value) {
    jv v;

    jq_start(jq, value, 0);
    while (jv_is_valid(v = jq_next(jq))) {
        jv_kind kind = jv_get_kind(v);

        jv_free(v);
        if (kind != JV_KIND_FALSE && kind != JV_KIND_NULL)
            return 1;
    }
    return failed(v) ? 2 : 0;
}

static unsigned char transform_one(jv value, uint32_t *count) {
    jv v;

    *count = 0;
    jq_start(jq, value, 0);
    while (jv_is_valid(v = jq_next(jq))) {
        jv line = jv_dump_string(v, 0);
        size_t len = (size_t)jv_string_length_bytes(jv_copy(line));

        if (len + 1 > ES_JQ_OUTPUT_MAX - output.len) {
            answer = (struct es_jq_answer){0};
            text_len = 0;
            reply(ES_JQ_TOO_LARGE);
            _exit(0);
        }
        char *at = reserve(&output, len + 1);
        memcpy(at, jv_string_value(line), len);
        at[len] = '\n';
        output.len += len + 1;
        (*count)++;
        jv_free(line);
    }
    return failed(v) ? 2 : 1;
}

static unsigned char do_one(const char *line, size_t len, uint32_t i) {
    jv value = parse(line, len);

    if (start.mode == ES_JQ_TRANSFORM)
        output_counts[i] = 0;
    if (!jv_is_valid(value)) {
        failed(value);
        /* "Exceeds depth limit for parsing at line 1, column 600 (while parsing '...all of it...')" */
        char *all = memmem(text, text_len, " (while parsing", strlen(" (while parsing"));
        if (all)
            text_len = (size_t)(all - text);
        return 2;
    }
    return start.mode == ES_JQ_TRANSFORM ? transform_one(value, &output_counts[i]) : select_one(value);
}

/* ---- batches ---- */

static void do_batch(const char *lines, const struct es_jq_batch *batch) {
    const char *at = lines, *end = lines + batch->len;

    answer = (struct es_jq_answer){.count = batch->count};
    text_len = output.len = 0;
    for (uint32_t i = 0; i < batch->count; i++) {
        const char *newline = at < end ? memchr(at, '\n', (size_t)(end - at)) : NULL;

        if (!newline)
            _exit(ES_JQ_EXIT_PROTOCOL);
        verdicts[i] = do_one(at, (size_t)(newline - at), i);
        if (verdicts[i] == 2 && answer.failed++ == 0)
            answer.first_failed = i;
        at = newline + 1;
    }
    answer.output_len = (uint32_t)output.len;
    reply(ES_JQ_RESULTS);
}

static void serve(void) {
    struct bytes lines = {0};
    uint32_t room = 0;

    for (;;) {
        struct es_jq_batch batch;

        socket_get(&batch, sizeof batch);
        if (batch.len > ES_JQ_BATCH_MAX || batch.count > ES_JQ_COUNT_MAX)
            _exit(ES_JQ_EXIT_PROTOCOL);
        lines.len = 0;
        socket_get(reserve(&lines, batch.len), batch.len);
        if (batch.count > room) {
            room = batch.count;
            verdicts = grow(verdicts, room);
            output_counts = grow(output_counts, room * sizeof *output_counts);
        }
        set_timer(start.timeout_ms + (uint64_t)start.timeout_more * (batch.len >> 20));
        do_batch(lines.at, &batch);
    }
}

/* ---- starting ---- */

static void refuse(uint32_t kind) {
    answer = (struct es_jq_answer){0};
    reply(kind);
    _exit(0);
}

static jv next_input(jq_state *state, void *unused) {
    (void)state;
    (void)unused;
    return jv_invalid(); /* "No more inputs" */
}

static char *get_text(uint32_t len) {
    char *at = grow(NULL, (size_t)len + 1);

    socket_get(at, len);
    at[len] = '\0';
    return at;
}

static void compile(const char *program, const char *arguments) {
    jv named = start.arguments_len > 0 ? jv_parse_sized(arguments, (int)start.arguments_len) : jv_object();

    jq = jq_init();
    parser = jv_parser_new(0);
    if (!jq || !parser)
        _exit(ES_JQ_EXIT_MEMORY);
    jq_set_nomem_handler(jq, on_no_memory, NULL); /* jq_next() installs it in place of main's */
    jq_set_error_cb(jq, on_compile_error, NULL);
    jq_set_input_cb(jq, next_input, NULL);
    jq_set_attr(jq, jv_string("JQ_LIBRARY_PATH"), jv_array());
    if (jv_get_kind(named) != JV_KIND_OBJECT) {
        set_text("the arguments are no JSON object", strlen("the arguments are no JSON object"));
        refuse(ES_JQ_REFUSED);
    }
    if (strlen(program) != start.program_len) {
        set_text("the program holds a NUL character", strlen("the program holds a NUL character"));
        refuse(ES_JQ_REFUSED);
    }
    if (!jq_compile_args(jq, program, named)) {
        if (text_len == 0)
            set_text("it does not compile", strlen("it does not compile"));
        refuse(ES_JQ_REFUSED);
    }
    text_len = 0; /* warnings */
}

int main(void) {
    static const char by_hand[] = "esdb-jq: a part of esdb's tools, not to be started by hand\n";
    struct sigaction timer = {.sa_handler = on_timer};
    char *program, *arguments;
    const char *what;
    int kind;

    if (getsockopt(0, SOL_SOCKET, SO_TYPE, &kind, &(socklen_t){sizeof kind}) != 0) {
        ssize_t n = write(2, by_hand, sizeof by_hand - 1);
        return n < 0 ? 1 : 2;
    }
    if (!sandbox_begin())
        return ES_JQ_EXIT_PROTOCOL;
    socket_get(&start, sizeof start);
    if (start.magic != ES_JQ_MAGIC || start.version != ES_JQ_VERSION || start.mode > ES_JQ_TRANSFORM ||
        start.program_len > ES_JQ_PROGRAM_MAX || start.arguments_len > ES_JQ_ARGUMENTS_MAX)
        return ES_JQ_EXIT_PROTOCOL;
    if (!sandbox_parent_lives(start.parent))
        return 0;
    sigaction(SIGPROF, &timer, NULL);
    mallopt(M_TRIM_THRESHOLD, 64 << 20); /* what a batch gives back the next one takes */
    mallopt(M_MMAP_THRESHOLD, 32 << 20);
    jv_nomem_handler(on_no_memory, NULL);
    what = sandbox_enter(start.memory_max);
    if (what) {
        int len = snprintf(text, sizeof text, "%s: %s", what, strerror(errno));
        text_len = len < 0 ? 0 : (size_t)len;
        refuse(ES_JQ_NO_SANDBOX);
    }
    set_timer(COMPILE_MS);
    program = get_text(start.program_len);
    arguments = get_text(start.arguments_len);
    compile(program, arguments);
    answer = (struct es_jq_answer){0};
    reply(ES_JQ_READY);
    serve();
}
