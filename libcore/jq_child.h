/* jq_child.h: jq programs over JSON texts, run by helper processes that are locked in (libexec/esdb-jq.c).
 *
 * Batches go out and results come back in the same order. Several batches may be under way, so that the caller collects
 * the next events while the helpers work: up to two helpers, the second started when there is work for it.
 *
 *   for (;;) {
 *       while (es_jq_room(jq) > 0 && there is more)
 *           collect lines; es_jq_send(jq, &lines, count, err);
 *       rc = es_jq_receive(jq, &results, err);     // ESDB_END: nothing is under way
 *   }
 *
 * Nothing here waits for ever: a program that takes too long is stopped, and a helper that crashes is an error. After any
 * error the handle only takes es_jq_close(): no batch gets a wrong or partial answer.
 *
 * Errors of es_jq_open and es_jq_receive, with texts for people:
 *   ESDB_EUSAGE        the program does not compile, took too long, needed too much memory, crashed jq, or gave too
 *                      much output;
 *                      the helper is not installed or is of another release
 *   ESDB_EDENIED       the program made libjq ask for something that is forbidden, and the kernel ended it
 *   ESDB_EUNAVAILABLE  the helper was killed from outside, or did not get to run at all
 *   -ENOSYS            this kernel has no seccomp filters or refuses them here: programs are not run unguarded (landlock,
 *                      the second guard, may be missing)
 *   -ENOMEM, -errno    of starting the helper
 *
 * The helper is looked for in $ESDB_LIBEXEC when that is set, else in ../libexec/esdb beside the running program's folder
 * (an installation, or a build tree), else where this library was configured to be installed.
 *
 * A handle belongs to the thread that opened it: the kernel ends the helpers when that thread ends.
 */
#ifndef ES_JQ_CHILD_H
#define ES_JQ_CHILD_H

#include "buffer.h"
#include "esdb.h"

#define ES_JQ_BATCH_SIZE (128u << 10) /* what a batch had best be: bytes */
#define ES_JQ_IN_FLIGHT 4u            /* batches under way at most */

struct es_jq;

struct es_jq_options {
    bool transform;      /* false: is the program's answer neither false nor null? true: what are its answers? */
    uint32_t timeout_ms; /* processor time for a batch; 0: 1000. A batch over 1 MiB gets a fifth more for each MiB */
    uint32_t wait_ms;    /* time without a sign of life while a batch is awaited; 0: 20 x timeout_ms, >= 10000 */
    size_t memory_max;   /* bytes of address space of each helper; 0: 1 GiB (16 MiB of JSON may take 1 GiB) */
    unsigned helpers;    /* at most, 1 or 2; 0: one a core */
    struct esdb_text arguments; /* a JSON object: {"name": value} is $name in the program; at == NULL: none */
    const char *timeout_option; /* how messages call timeout_ms, as "--select-timeout"; NULL: they do not */
};

/* Starts a helper and compiles the program. `program` and `o` (NULL: all zero) are borrowed for the call, except
 * o->timeout_option, which must live as long as *out. *out is the caller's. */
int es_jq_open(struct esdb_text program, const struct es_jq_options *o, struct es_jq **out, struct esdb_error *err);
void es_jq_close(struct es_jq *jq); /* NULL is fine; ends the helpers */

/* How many batches may be sent now, and how many are under way. */
unsigned es_jq_room(const struct es_jq *jq);
unsigned es_jq_in_flight(const struct es_jq *jq);

/* Hands over a batch: `count` JSON texts (at most 1,048,576; 64 MiB), each one line that ends with '\n'. `lines` is
 * swapped for an empty buffer: what was in it belongs to the handle now. Does not wait. -EAGAIN: no room, receive first
 * (lines is untouched). ESDB_EINVALID: too large. An input that libjq cannot take (1.6: nested deeper than 256) has
 * failed. */
int es_jq_send(struct es_jq *jq, struct es_buffer *lines, uint32_t count, struct esdb_error *err);

enum es_jq_verdict {
    ES_JQ_NO = 0,
    ES_JQ_YES = 1,    /* transforming: done without failure */
    ES_JQ_FAILED = 2, /* the program failed on this input; transforming: after the outputs that are counted */
};

/* The results of a batch, valid until the next es_jq_receive or es_jq_close. */
struct es_jq_results {
    uint32_t count;                /* inputs, as sent */
    uint32_t failed, first_failed; /* how many inputs failed, and which one first */
    const uint8_t *verdict;        /* of each input: enum es_jq_verdict */
    struct esdb_text failure;      /* why the first failed; one line */
    const uint32_t *output_count;  /* transforming: outputs of each input; else NULL */
    struct esdb_text output;       /* transforming: all outputs in order, compact JSON, each ends with '\n' */
};

/* The results of the oldest batch under way; waits for them. ESDB_END: none is under way. Numbers in outputs are as libjq
 * prints them: jq 1.6 keeps 17 digits, so integers over 2^53 may change. */
int es_jq_receive(struct es_jq *jq, struct es_jq_results *out, struct esdb_error *err);

#endif
