/* transform.c: --jq: events through a jq program on their way out. See cmd.h. */
#include <inttypes.h>
#include <stdlib.h>

#include "internal.h"

static const char *program;
static char *program_file; /* what it holds; lives as long as the process */
static uint64_t timeout_ms;
static esdb_jq *jq;
static int status; /* of the tool, because of the program */

bool cmd_transform_option(const struct cmd_args *args, int id) {
    if (id == CMD_OPT_JQ || id == CMD_OPT_JQ_FILE) {
        if (program && (id == CMD_OPT_JQ_FILE) != (program_file != NULL))
            cmd_usage_error("--jq and --jq-file exclude each other");
        if (program)
            cmd_usage_error("%s is given twice", args->option);
        if (id == CMD_OPT_JQ_FILE)
            program_file = cmd_read_program(args);
        program = program_file ? program_file : args->value;
        return true;
    }
    if (id != CMD_OPT_JQ_TIMEOUT)
        return false;
    timeout_ms = cmd_milliseconds(args);
    if (timeout_ms == 0 || timeout_ms > 86400000)
        cmd_usage_error("%s: from 1ms to 24h", args->option);
    return true;
}

bool cmd_transform_wanted(void) {
    return program != NULL;
}

/* No more is to be had from the program. */
static void fail(struct cmd_out *out, int rc, const struct esdb_error *err) {
    cmd_out_flush(out);
    status = cmd_report(rc, err);
    esdb_jq_close(jq);
    jq = NULL;
    out->failed = true; /* what follows would be printed by nobody */
}

static int finish(void) {
    struct esdb_jq_failures failures = {0};

    cmd_print_flush(cmd_stdout());
    if (!jq)
        return status;
    esdb_jq_get_failures(jq, &failures);
    esdb_jq_close(jq);
    jq = NULL;
    if (failures.count > 0) {
        cmd_out_flush(cmd_stdout());
        cmd_message("--jq: the program failed on %" PRIu64 " event%s (first at position %" PRIu64 ": %s)",
                    failures.count, failures.count == 1 ? "" : "s", failures.position, failures.text);
        status = 8;
    }
    return status;
}

void cmd_print_begin(void) {
    struct esdb_jq_options o = {.timeout_ms = (uint32_t)timeout_ms, .timeout_option = "--jq-timeout"};
    struct esdb_error err = {0};
    int rc;

    if (timeout_ms > 0 && !program)
        cmd_usage_error("--jq-timeout needs --jq or --jq-file");
    if (!program)
        return;
    if (!cmd_output_is_plain())
        cmd_usage_error("--jq prints what the program makes: it goes with neither --output nor --fields");
    rc = esdb_jq_open(cmd_text(program), &o, &jq, &err);
    if (rc != 0)
        exit(cmd_finish(cmd_report(rc, &err)));
    cmd_before_finish = finish;
}

static void take(struct cmd_out *out, bool all) {
    struct esdb_error err = {0};
    struct esdb_text text;
    int rc = esdb_jq_take(jq, all, &text, &err);

    if (rc != 0)
        fail(out, rc, &err);
    else
        cmd_print_lines(out, text);
}

void cmd_transform_event(struct cmd_out *out, const struct esdb_event *e) {
    struct esdb_error err = {0};
    int rc;

    if (!jq)
        return;
    rc = esdb_jq_put(jq, e, &err);
    if (rc != 0)
        fail(out, rc, &err);
    else
        take(out, false);
}

void cmd_print_flush(struct cmd_out *out) {
    if (jq)
        take(out, true);
}
