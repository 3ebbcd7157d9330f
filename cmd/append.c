/* append.c: standard input -> frames -> the store. See append.h. */
#include "append.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FRAME_BYTES (1u << 20) /* a frame that has grown to this is appended */

struct run {
    struct cmd_append *a;
    struct cmd_ingest *g;
    struct cmd_pipeline *pipeline;
    esdb_batch *batch; /* being filled */
    uint64_t begin_ms; /* when its first event came */
    bool is_file;      /* standard input never pauses */
    bool failed;       /* the pipeline refuses more */
    bool has_events;   /* the input had one */
    uint64_t size;     /* of a file */
    uint64_t skipped;
    char *only; /* with a plain -e and no STREAM: the input's only stream; owned */
    size_t only_len;
    int status;
    struct cmd_progress progress;
};

static void submit(struct run *r, uint64_t lines, bool full) {
    r->failed = !cmd_pipeline_submit(r->pipeline, r->batch, lines, full);
    r->batch = cmd_pipeline_batch(r->pipeline);
}

/* ---- input ---- */

/* Waits until there is input, as long as the frame may wait. False when it may not. */
static bool wait_for_input(struct run *r) {
    struct pollfd p[2] = {{r->g->in.fd, POLLIN, 0}, {cmd_pipeline_failure_fd(r->pipeline), POLLIN, 0}};
    uint64_t age = esdb_batch_count(r->batch) > 0 ? cmd_now_ms() - r->begin_ms : 0;
    int timeout = -1, n;

    if (esdb_batch_count(r->batch) > 0 && !r->a->atomic)
        timeout = age < r->a->linger_ms ? (int)(r->a->linger_ms - age) : 0;
    do
        n = poll(p, 2, timeout);
    while (n < 0 && errno == EINTR);
    r->failed |= (p[1].revents & POLLIN) != 0;
    return n != 0;
}

static bool is_ready(const struct run *r) {
    struct pollfd p = {r->g->in.fd, POLLIN, 0};

    return r->is_file || poll(&p, 1, 0) != 0;
}

static void read_more(struct run *r) {
    int rc = cmd_input_read(&r->g->in);

    if (rc < 0) {
        cmd_progress_end(&r->progress);
        cmd_message("reading standard input: %s", strerror(-rc));
        r->status = 1;
    }
    cmd_progress_update(&r->progress, r->g->in.base + r->g->in.end, r->size, true);
}

/* All events that are there are in the batch. `paused`: that was already so before a look at what is incomplete. */
static void get_input(struct run *r, bool *paused) {
    bool is_due =
        esdb_batch_count(r->batch) > 0 && !r->a->atomic && !r->is_file && cmd_now_ms() - r->begin_ms >= r->a->linger_ms;

    if (is_ready(r)) {
        if (is_due)
            submit(r, cmd_input_lines(&r->g->in), true);
        read_more(r);
        *paused = false;
        return;
    }
    if (!*paused && r->g->in.begin < r->g->in.end) {
        *paused = true; /* look at what is there first */
        return;
    }
    cmd_pipeline_pause(r->pipeline);
    if (wait_for_input(r)) {
        if (!r->failed)
            read_more(r);
        *paused = false;
    } else {
        submit(r, cmd_input_lines(&r->g->in), false);
    }
}

/* ---- events ---- */

/* With a plain -e, and no STREAM: there may be one stream only. False after the message otherwise. */
static bool check_only(struct run *r, const struct esdb_new_event *e) {
    if (!r->only) {
        r->only = cmd_alloc(e->stream_id.len + 1);
        r->only_len = e->stream_id.len;
        memcpy(r->only, e->stream_id.at, e->stream_id.len);
        cmd_pipeline_expect(r->pipeline, e->stream_id, r->a->expect);
        return true;
    }
    if (r->only_len == e->stream_id.len && memcmp(r->only, e->stream_id.at, r->only_len) == 0)
        return true;
    cmd_message("line %llu: a second stream, %.*s: which one does --expect mean? (-e STREAM=VERSION says it)",
                (unsigned long long)cmd_input_place(&r->g->in, r->g->event_at).line, (int)e->stream_id.len,
                e->stream_id.at);
    r->status = 2;
    return false;
}

static bool add_event(struct run *r, const struct esdb_new_event *e) {
    struct esdb_error err = {0};
    int rc;

    if (r->a->has_expect && !r->g->stream_id.at && !check_only(r, e))
        return true;
    if (esdb_batch_count(r->batch) == 0)
        r->begin_ms = cmd_now_ms();
    rc = esdb_batch_add(r->batch, e, &err);
    if (rc == ESDB_EUSAGE && esdb_batch_count(r->batch) > 0 && !r->a->atomic) {
        /* The frame would be too large. */
        submit(r, cmd_ingest_lines_before(r->g), true);
        if (r->failed)
            return true;
        err = (struct esdb_error){0};
        r->begin_ms = cmd_now_ms();
        rc = esdb_batch_add(r->batch, e, &err);
    }
    if (rc == ESDB_EINVALID || rc == ESDB_EUSAGE) {
        cmd_ingest_refuse(r->g, err.text);
        return false;
    }
    if (rc != 0) {
        r->status = cmd_report(rc, &err);
        return true;
    }
    r->has_events = true;
    if (!r->a->atomic && (esdb_batch_count(r->batch) >= r->a->batch_events || esdb_batch_size(r->batch) >= FRAME_BYTES))
        submit(r, cmd_input_lines(&r->g->in), true);
    return true;
}

/* False when the run ends here. */
static bool take_bad(struct run *r) {
    if (r->a->skip) {
        r->skipped++;
        r->status = 8;
        cmd_progress_end(&r->progress);
        cmd_ingest_report(r->g);
        cmd_ingest_skip(r->g);
        return true;
    }
    if (!r->a->atomic && esdb_batch_count(r->batch) > 0)
        submit(r, cmd_ingest_lines_before(r->g), false);
    r->status = 8;
    return false;
}

static void take_all(struct run *r, bool *has_bad) {
    struct esdb_new_event e;
    bool paused = false, fatal = false;

    while (!r->failed && !fatal) {
        enum cmd_ingest_result answer = cmd_ingest_next(r->g, &e, paused);

        if (answer == CMD_INGEST_EVENT && !add_event(r, &e))
            answer = CMD_INGEST_BAD;
        if (answer == CMD_INGEST_END)
            return;
        if (answer == CMD_INGEST_MORE)
            get_input(r, &paused);
        if (answer == CMD_INGEST_BAD && !take_bad(r)) {
            *has_bad = true;
            return;
        }
        fatal = r->status != 0 && r->status != 8;
    }
}

/* ---- the whole ---- */

/* A pattern, which other tools take as STREAM, would be a name here: that is likely a mistake. */
static void warn_pattern(esdb *db, struct esdb_text name) {
    struct esdb_stream_info info;

    if (name.at && (memchr(name.at, '*', name.len) || memchr(name.at, '?', name.len)) &&
        esdb_stream_info(db, name, &info, NULL) == ESDB_ENOTFOUND)
        cmd_message("warning: %.*s is taken as the name of a new stream, not as a pattern", (int)name.len, name.at);
}

static void prepare(struct run *r) {
    struct stat st;

    if (fstat(STDIN_FILENO, &st) == 0 && S_ISREG(st.st_mode)) {
        r->is_file = true;
        r->size = (uint64_t)st.st_size;
    }
    if (isatty(STDIN_FILENO))
        cmd_message("reading events from the terminal; Ctrl-D ends them");
    cmd_ingest_init(r->g, STDIN_FILENO);
    for (size_t i = 0; i < r->a->expect_count; i++)
        cmd_pipeline_expect(r->pipeline, r->a->expects[i].stream_id, r->a->expects[i].expected);
    if (r->a->has_expect && r->g->stream_id.at)
        cmd_pipeline_expect(r->pipeline, r->g->stream_id, r->a->expect);
    r->batch = cmd_pipeline_batch(r->pipeline);
    cmd_progress_begin(&r->progress, "read");
    if (isatty(STDIN_FILENO) || (isatty(STDOUT_FILENO) && !r->a->quiet))
        r->progress.off = true; /* what is typed, or the receipts, are on the same screen */
}

/* Says what an import that did not go through has written. */
static void say_written(const struct run *r, const struct cmd_pipeline_result *result) {
    unsigned long long events = result->events, lines = result->lines, skipped = r->skipped;
    const char *s = events == 1 ? "" : "s";

    if (skipped > 0)
        cmd_message("%llu event%s written, %llu bad event%s skipped", events, s, skipped, skipped == 1 ? "" : "s");
    else if (r->a->atomic || events == 0)
        cmd_message("nothing was written");
    else if (lines == 0)
        cmd_message("%llu event%s written", events, s);
    else
        cmd_message("%llu event%s written, up to line %llu: go on with line %llu", events, s, lines, lines + 1);
}

/* Appends the last frame; an empty one checks the expectations. */
static void submit_rest(struct run *r) {
    if (!r->has_events && r->a->has_expect && !r->g->stream_id.at) {
        cmd_message("no events on standard input: which stream does --expect mean?");
        r->status = 2;
        return;
    }
    if (esdb_batch_count(r->batch) > 0 || !r->has_events)
        submit(r, cmd_input_lines(&r->g->in), false);
}

/* Tells how it ended, after the receipts. */
static void tell(struct run *r, const struct cmd_pipeline_result *result, bool has_bad) {
    bool is_partial = r->status != 0 && (has_bad || r->has_events || r->skipped > 0);

    cmd_progress_end(&r->progress);
    if (result->failed && result->code == ESDB_EUNKNOWN && !r->a->quiet)
        cmd_out_text(cmd_stdout(), "{\"outcome\":\"unknown\"}\n");
    if (result->failed)
        r->status = cmd_report(result->code, &result->err);
    else if (has_bad)
        cmd_ingest_report(r->g);
    else if (r->status == 0 && !r->has_events)
        cmd_message("no events on standard input");
    if (!r->a->quiet && result->events > 0 && cmd_stdout()->failed)
        cmd_message("receipts are lost, but %" PRIu64 " event%s written: the last one at position %" PRIu64
                    ", from line %" PRIu64 " of the input",
                    result->events, result->events == 1 ? " is" : "s are", result->last_position, result->lines);
    if (is_partial || (result->failed && (result->events > 0 || r->skipped > 0)))
        say_written(r, result);
}

int cmd_append(struct cmd_append *a, esdb *db) {
    struct cmd_pipeline_options o = {a->flags, a->quiet, a->linger_ms};
    struct run r = {.a = a, .g = &a->ingest, .pipeline = cmd_pipeline_open(db, &o)};
    struct cmd_pipeline_result result;
    bool has_bad = false;

    warn_pattern(db, a->ingest.stream_id);
    prepare(&r);
    take_all(&r, &has_bad);
    if (!r.failed && !has_bad && (r.status == 0 || r.status == 8))
        submit_rest(&r);
    esdb_batch_close(r.batch);
    cmd_pipeline_close(r.pipeline, &result);
    tell(&r, &result, has_bad);
    cmd_ingest_release(r.g);
    free(r.only);
    return r.status;
}
