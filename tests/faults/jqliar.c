/*
 * jqliar: a jq helper that has been taken over, for the tests of libcore/jq_child.c. It says READY and answers the first
 * batch with a lie; which one is the name of the folder that it is started from ("…/verdict/esdb-jq"). The parent must call
 * it a lie; it must not believe it, crash, or wait for ever.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "libcore/jq_wire.h"

static void get(void *to, size_t len) {
    for (size_t done = 0; done < len;) {
        ssize_t n = read(0, (char *)to + done, len - done);

        if (n <= 0)
            _exit(0);
        done += (size_t)n;
    }
}

static void put(const void *from, size_t len) {
    if (write(0, from, len) != (ssize_t)len)
        _exit(0);
}

/* A result of one input: its verdict, and for a transformation one output. */
static void put_results(struct es_jq_answer a, uint32_t outputs, unsigned char verdict, const char *failure,
                        const char *output) {
    put(&a, sizeof a);
    put(&outputs, sizeof outputs);
    put(&verdict, 1);
    put(failure, a.failure_len);
    put(output, a.output_len);
}

static void lie(const char *how) {
    struct es_jq_answer a = {.kind = ES_JQ_RESULTS, .count = 1, .output_len = 2};

    if (strcmp(how, "honest") == 0) {
        put_results(a, 1, 1, "", "1\n");
    } else if (strcmp(how, "kind") == 0) {
        a.kind = 77;
        put_results(a, 1, 1, "", "1\n");
    } else if (strcmp(how, "ready-again") == 0) {
        put(&(struct es_jq_answer){.kind = ES_JQ_READY}, sizeof a);
    } else if (strcmp(how, "count") == 0) {
        a.count = 0x40000000;
        put(&a, sizeof a);
    } else if (strcmp(how, "verdict") == 0) {
        put_results(a, 1, 3, "", "1\n");
    } else if (strcmp(how, "failed") == 0) {
        a.failed = 1;
        put_results(a, 1, 1, "", "1\n");
    } else if (strcmp(how, "first") == 0) {
        a.failed = 1;
        a.first_failed = 0xffffffff;
        put_results(a, 1, 2, "", "1\n");
    } else if (strcmp(how, "text") == 0) {
        a.failed = 1;
        a.failure_len = 0x1000;
        put(&a, sizeof a);
    } else if (strcmp(how, "text-control") == 0) {
        a.failed = 1;
        a.failure_len = 4;
        put_results(a, 1, 2, "\033[2J", "1\n");
    } else if (strcmp(how, "huge") == 0) {
        a.output_len = 0xffffffff;
        put(&a, sizeof a);
    } else if (strcmp(how, "lines") == 0) {
        put_results(a, 5, 1, "", "1\n");
    } else if (strcmp(how, "no-newline") == 0) {
        put_results(a, 0, 1, "", "11");
    } else if (strcmp(how, "control") == 0) {
        a.output_len = 6;
        put_results(a, 1, 1, "", "\"\033[J\"\n");
    } else if (strcmp(how, "half") == 0) {
        put(&a, sizeof a);
        _exit(0);
    } else if (strcmp(how, "unasked") == 0) {
        put_results(a, 1, 1, "", "1\n");
        put_results(a, 1, 1, "", "1\n");
    } else if (strcmp(how, "silent") == 0) {
        for (;;)
            pause();
    } else if (strcmp(how, "dribble") == 0) {
        for (size_t i = 0;; i = (i + 1) % (sizeof a - 1)) {
            put((char *)&a + i, 1);
            if (i == sizeof a - 2)
                pause();
            usleep(50000);
        }
    }
}

int main(int argc, char **argv) {
    struct es_jq_start start;
    struct es_jq_batch batch;
    char *slash = argc > 0 ? strrchr(argv[0], '/') : NULL, *rest;

    if (!slash)
        return 2;
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0); /* as the real one, which cannot take it back */
    *slash = '\0';
    slash = strrchr(argv[0], '/');
    get(&start, sizeof start);
    rest = malloc((size_t)start.program_len + start.arguments_len + 1);
    if (!rest)
        return 1;
    get(rest, (size_t)start.program_len + start.arguments_len);
    free(rest);
    put(&(struct es_jq_answer){.kind = ES_JQ_READY}, sizeof(struct es_jq_answer));
    if (slash && strcmp(slash, "/early") == 0) { /* before it can have seen the batch, and then it does not read it */
        get(&batch, sizeof batch);
        lie("honest");
        for (;;)
            pause();
    }
    get(&batch, sizeof batch);
    rest = malloc((size_t)batch.len + 1);
    if (!rest)
        return 1;
    get(rest, batch.len);
    free(rest);
    lie(slash ? slash + 1 : argv[0]);
    get(&batch, 1); /* until the parent hangs up */
    return 0;
}
