/*
 * jqfilter: lines of JSON through libcore/jq_child.h, for the tests and for measuring.
 *
 *   jqfilter [options] PROGRAM <LINES      prints the lines that pass, as `jq -c 'select(PROGRAM)'`
 *
 *   -t           transform: prints what the program makes of them, as `jq -c PROGRAM`
 *   -q           prints only "COUNT passed, COUNT failed"
 *   -m MS        processor time for a batch (1000)
 *   -w MS        time without a sign of life
 *   -M MIB       memory of a helper (1024)
 *   -c N         helpers (one a core, at most 2)
 *   -a JSON      named arguments
 *   -b BYTES     size of a batch (131072)
 *
 * Messages: "line N: TEXT" for the first line of each batch that failed. Exit status: as esdb's tools; 4 when nothing passed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "libcore/jq_child.h"

#define KEPT (ES_JQ_IN_FLIGHT + 1)

/* The lines of the batches under way, to print those that pass. */
static struct es_buffer kept[KEPT];
static unsigned kept_first, kept_end;
static size_t batch_size = ES_JQ_BATCH_SIZE;
static bool quiet;
static unsigned long long passed, failed_count, line_number;

static _Noreturn void die(int code, const struct esdb_error *err) {
    fflush(stdout);
    fprintf(stderr, "jqfilter: %s\n", err->code ? err->text : esdb_strerror(code));
    exit(esdb_exit_status(code));
}

/* The next batch from stdin; how many lines. */
static uint32_t collect(struct es_buffer *lines) {
    static char *line;
    static size_t room;
    uint32_t count = 0;
    ssize_t n;

    while (lines->len < batch_size && (n = getline(&line, &room, stdin)) > 0) {
        if (es_buffer_add(lines, line, (size_t)n) < 0)
            exit(1);
        count++;
    }
    return count;
}

static void show(const struct es_jq_results *r, bool transform) {
    const char *at = (const char *)kept[kept_first % KEPT].at;

    for (uint32_t i = 0; i < r->count; i++) {
        const char *newline = strchr(at, '\n');

        passed += r->verdict[i] == ES_JQ_YES;
        if (!quiet && !transform && r->verdict[i] == ES_JQ_YES)
            fwrite(at, 1, (size_t)(newline + 1 - at), stdout);
        at = newline + 1;
    }
    if (transform && !quiet)
        fwrite(r->output.at, 1, r->output.len, stdout);
    if (r->failed > 0 && !quiet)
        fprintf(stderr, "line %llu: %.*s\n", line_number + r->first_failed + 1, (int)r->failure.len, r->failure.at);
    failed_count += r->failed;
    line_number += r->count;
    kept[kept_first++ % KEPT].len = 0;
}

/* A copy, since sending takes the buffer away; with a NUL at the end for strchr. */
static void keep(const struct es_buffer *lines) {
    struct es_buffer *k = &kept[kept_end++ % KEPT];

    if (es_buffer_add(k, lines->at, lines->len) < 0 || es_buffer_add(k, "", 1) < 0)
        exit(1);
}

static void run(struct es_jq *jq, bool transform) {
    struct esdb_error err = {0};
    struct es_buffer lines = {0};
    struct es_jq_results results;
    bool more = true;
    int rc = 0;

    while (rc == 0) {
        while (more && es_jq_room(jq) > 0) {
            uint32_t count = collect(&lines);

            more = count > 0;
            if (!more)
                break;
            keep(&lines);
            rc = es_jq_send(jq, &lines, count, &err);
            if (rc < 0)
                die(rc, &err);
        }
        rc = es_jq_receive(jq, &results, &err);
        if (rc == 0)
            show(&results, transform);
    }
    if (rc < 0)
        die(rc, &err);
    es_buffer_release(&lines);
}

int main(int argc, char **argv) {
    struct es_jq_options o = {.timeout_option = "--select-timeout"};
    struct esdb_error err = {0};
    struct es_jq *jq;
    int c, rc;

    while ((c = getopt(argc, argv, "tqm:w:M:c:a:b:")) != -1)
        switch (c) {
        case 't':
            o.transform = true;
            break;
        case 'q':
            quiet = true;
            break;
        case 'm':
            o.timeout_ms = (uint32_t)strtoul(optarg, NULL, 10);
            break;
        case 'w':
            o.wait_ms = (uint32_t)strtoul(optarg, NULL, 10);
            break;
        case 'M':
            o.memory_max = (size_t)strtoul(optarg, NULL, 10) << 20;
            break;
        case 'c':
            o.helpers = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 'a':
            o.arguments = (struct esdb_text){optarg, strlen(optarg)};
            break;
        case 'b':
            batch_size = strtoul(optarg, NULL, 10);
            break;
        default:
            return 2;
        }
    if (optind + 1 != argc)
        return 2;
    rc = es_jq_open((struct esdb_text){argv[optind], strlen(argv[optind])}, &o, &jq, &err);
    if (rc < 0)
        die(rc, &err);
    run(jq, o.transform);
    es_jq_close(jq);
    for (unsigned i = 0; i < KEPT; i++)
        es_buffer_release(&kept[i]);
    if (quiet)
        printf("%llu passed, %llu failed\n", passed, failed_count);
    return passed > 0 ? 0 : 4;
}
