/* jq_wire.h: what libcore/jq_child.c and its helper (libexec/esdb-jq.c) say to each other over a socket pair. Both are of
 * the same build on the same machine: native byte order, no negotiation; the version catches a helper left over from
 * another release. The helper runs untrusted code: the parent checks every length before it uses it.
 *
 *   parent                                   helper
 *   es_jq_start, program, arguments    ->
 *                                      <-    es_jq_answer READY, or why not, with a text
 *   es_jq_batch, lines                 ->                                              (again and again)
 *                                      <-    es_jq_answer RESULTS, [output counts,] verdicts, failure, [output]
 */
#ifndef ES_JQ_WIRE_H
#define ES_JQ_WIRE_H

#include <stdint.h>

#define ES_JQ_MAGIC 0x716a7365u /* "esjq" */
#define ES_JQ_VERSION 1u

#define ES_JQ_PROGRAM_MAX (1u << 20)    /* bytes: generated programs included */
#define ES_JQ_ARGUMENTS_MAX (64u << 20) /* bytes of JSON: a fold's state may come as an argument */
#define ES_JQ_BATCH_MAX (64u << 20)     /* bytes: an event of 16 MiB, its data in base 64, and its like fit */
#define ES_JQ_COUNT_MAX (1u << 20)      /* inputs of a batch */
#define ES_JQ_OUTPUT_MAX (64u << 20)    /* bytes that a batch may become */
#define ES_JQ_TEXT_MAX 480u             /* bytes of a message: fits in struct esdb_error */

enum es_jq_mode { ES_JQ_SELECT = 0, ES_JQ_TRANSFORM = 1 };

/* First message. Followed by the program and by a JSON object of named arguments (length 0: none). */
struct es_jq_start {
    uint32_t magic, version;
    uint32_t mode;         /* enum es_jq_mode */
    uint32_t timeout_ms;   /* processor time for a batch */
    uint32_t timeout_more; /* and for each MiB of it beyond the first */
    uint32_t parent;       /* process id, to notice that it died before the helper could ask to die with it */
    uint64_t memory_max;   /* bytes of address space */
    uint32_t program_len, arguments_len;
};

struct es_jq_batch {
    uint32_t len;   /* bytes of lines; each line is a JSON text and ends with a newline */
    uint32_t count; /* lines */
};

enum es_jq_kind {
    ES_JQ_READY = 1,
    ES_JQ_REFUSED,    /* the program does not compile; the text says why */
    ES_JQ_NO_SANDBOX, /* this kernel cannot lock the helper in; the text says what failed */
    ES_JQ_RESULTS,
    ES_JQ_TOO_LARGE, /* a batch became more than ES_JQ_OUTPUT_MAX */
};

/* Followed by: when transforming, a uint32_t for each of `count` inputs, how many outputs it had; a byte for each input,
 * enum es_jq_verdict; failure_len bytes of text; output_len bytes of outputs, each ended by a newline. */
struct es_jq_answer {
    uint32_t kind;  /* enum es_jq_kind */
    uint32_t count; /* RESULTS: as in the batch; else 0 */
    uint32_t failed, first_failed;
    uint32_t failure_len, output_len;
};

/* How the helper ends when it has to. */
enum es_jq_exit {
    ES_JQ_EXIT_TIMEOUT = 41,
    ES_JQ_EXIT_MEMORY = 42,
    ES_JQ_EXIT_PROTOCOL = 43, /* the parent, or another release's, said something else than expected */
};

#endif
