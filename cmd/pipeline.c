/* pipeline.c: see pipeline.h. */
#include "pipeline.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "format/json.h"
#include "sealer.h"

#define QUEUE_FRAMES 8
#define QUEUE_BYTES (16u << 20)
#define KEEP_BYTES (4u << 20)    /* a batch that has grown beyond is not used again */
#define THREAD_BYTES (1u << 20)  /* so much that is appended and not yet durable makes a thread worth while */
#define COMMIT_BYTES (32u << 20) /* the most between two syncs */
#define RECEIPTS_BYTES (1u << 20)
#define IDLE_MS 20 /* without input, after which the index follows: a queue that is empty for a moment fills again */
#define STREAMS_SHOWN 100

struct expectation {
    char *stream_id; /* owned */
    size_t len;
    int64_t expected;
};

struct frame {
    esdb_batch *batch;
    uint64_t lines;
    size_t size;
};

/* What is appended and not yet durable. */
struct pending {
    bool any;
    struct esdb_receipt last;
    uint64_t events, lines;
    uint64_t since_ms;
    size_t bytes;
    char *receipts; /* lines to print; owned */
    size_t len, room;
};

struct cmd_pipeline {
    /* used by the thread that appends: the second one once it runs, else the caller's */
    esdb *db;
    struct cmd_pipeline_options o;
    struct expectation *expectations;
    size_t expectation_count;
    struct pending pending;
    bool unindexed; /* frames were appended since the index was brought up to date */
    struct cmd_pipeline_result result;
    struct cmd_sealer *sealer; /* NULL: none */

    /* shared */
    bool has_thread;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t work, space;
    struct frame queue[QUEUE_FRAMES];
    unsigned first, count;
    size_t queue_bytes;
    bool hurry, closing;
    atomic_bool failed;
    int failure_fd;
    esdb_batch *spare[QUEUE_FRAMES + 2];
    unsigned spare_count;
};

struct cmd_pipeline *cmd_pipeline_open(esdb *db, const struct cmd_pipeline_options *o) {
    struct cmd_pipeline *p = cmd_alloc(sizeof *p);
    pthread_condattr_t attr;

    p->db = db;
    p->o = *o;
    p->failure_fd = -1;
    pthread_mutex_init(&p->mutex, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&p->work, &attr);
    pthread_cond_init(&p->space, NULL);
    pthread_condattr_destroy(&attr);
    return p;
}

void cmd_pipeline_expect(struct cmd_pipeline *p, struct esdb_text stream_id, int64_t expected) {
    struct expectation *x;

    p->expectations = cmd_grow(p->expectations, (p->expectation_count + 1) * sizeof *p->expectations);
    x = &p->expectations[p->expectation_count++];
    *x = (struct expectation){cmd_alloc(stream_id.len + 1), stream_id.len, expected};
    memcpy(x->stream_id, stream_id.at, stream_id.len);
}

int cmd_pipeline_failure_fd(const struct cmd_pipeline *p) {
    return p->failure_fd;
}

/* ---- receipts ---- */

static char *receipts_room(struct pending *d, size_t more) {
    if (d->room - d->len < more) {
        d->room = d->room + more + 4096;
        d->receipts = cmd_grow(d->receipts, d->room);
    }
    return d->receipts + d->len;
}

__attribute__((format(printf, 2, 3))) static void put(struct pending *d, const char *format, ...) {
    const size_t most = 256;
    va_list args;

    va_start(args, format);
    d->len += (size_t)vsnprintf(receipts_room(d, most), most, format, args);
    va_end(args);
}

static void put_stream_id(struct pending *d, struct esdb_text name) {
    char *start = receipts_room(d, 6 * name.len + 2), *p = start;

    *p++ = '"';
    p += fmt_json_escape(name.at, name.len, p);
    *p++ = '"';
    d->len += (size_t)(p - start);
}

typedef unsigned long long ull; /* for printf */

static void put_receipt(struct pending *d, const struct esdb_receipt *r, uint64_t lines) {
    put(d, "{");
    if (r->frame_index != 0)
        put(d, "\"frame\":%llu,", (ull)r->frame_index);
    put(d, "\"first_position\":%llu,\"last_position\":%llu,\"count\":%u,\"lines\":%llu", (ull)r->first_position,
        (ull)r->last_position, (unsigned)r->count, (ull)lines);
    if (r->stream_count == 1) {
        put(d, ",\"stream_id\":");
        put_stream_id(d, r->streams[0].stream_id);
        put(d, ",\"first_version\":%llu,\"last_version\":%llu", (ull)r->streams[0].first_version,
            (ull)r->streams[0].last_version);
    } else {
        put(d, ",\"stream_count\":%zu", r->stream_count);
        for (size_t i = 0; i < r->stream_count && r->stream_count <= STREAMS_SHOWN; i++) {
            put(d, "%s{\"stream_id\":", i == 0 ? ",\"streams\":[" : ",");
            put_stream_id(d, r->streams[i].stream_id);
            put(d, ",\"first_version\":%llu,\"last_version\":%llu}%s", (ull)r->streams[i].first_version,
                (ull)r->streams[i].last_version, i + 1 == r->stream_count ? "]" : "");
        }
    }
    put(d, "%s}\n", r->existed ? ",\"existed\":true" : "");
}

/* ---- appending and making durable ---- */

static void fail(struct cmd_pipeline *p, int code, const struct esdb_error *err) {
    uint64_t one = 1;

    if (p->result.failed)
        return;
    p->result.failed = true;
    p->result.code = code;
    p->result.err = *err;
    atomic_store(&p->failed, true);
    if (p->failure_fd >= 0 && write(p->failure_fd, &one, sizeof one) < 0)
        return; /* the next submit tells */
}

/* What is pending is durable now. */
static void settle(struct cmd_pipeline *p) {
    struct pending *d = &p->pending;

    p->result.events += d->events;
    p->result.lines = d->lines;
    if (d->events > 0)
        p->result.last_position = d->last.last_position;
    if (!p->o.quiet) {
        cmd_out_add(cmd_stdout(), d->receipts, d->len);
        cmd_out_flush(cmd_stdout());
    }
    d->any = false;
    d->events = d->bytes = d->len = 0;
}

static void commit(struct cmd_pipeline *p) {
    struct esdb_error err = {0};
    int rc;

    if (!p->pending.any)
        return;
    rc = esdb_commit(p->db, &p->pending.last, &err);
    if (rc == 0)
        settle(p);
    else
        fail(p, rc, &err);
    p->pending.any = false;
    if (p->sealer)
        cmd_sealer_poke(p->sealer);
}

static int demand(struct cmd_pipeline *p, esdb_batch *b, struct esdb_error *err) {
    for (size_t i = 0; i < p->expectation_count; i++) {
        const struct expectation *x = &p->expectations[i];
        int rc = esdb_batch_expect(b, (struct esdb_text){x->stream_id, x->len}, x->expected, err);

        if (rc != 0)
            return rc;
    }
    return 0;
}

/* The next frame expects what this one wrote. */
static void chain(struct cmd_pipeline *p, const struct esdb_receipt *r) {
    for (size_t i = 0; i < p->expectation_count; i++) {
        struct expectation *x = &p->expectations[i];

        for (size_t j = 0; j < r->stream_count && x->expected != ESDB_ANY; j++)
            if (r->streams[j].stream_id.len == x->len && memcmp(r->streams[j].stream_id.at, x->stream_id, x->len) == 0)
                x->expected = (int64_t)r->streams[j].last_version;
    }
}

/* Appends one frame. `wait`: it is durable when this returns. */
static void append(struct cmd_pipeline *p, const struct frame *f, bool wait) {
    struct pending *d = &p->pending;
    struct esdb_error err = {0};
    struct esdb_receipt r;
    int rc = demand(p, f->batch, &err);

    if (rc == 0)
        rc = esdb_append(p->db, f->batch, p->o.flags | (wait ? 0 : ESDB_NO_WAIT) | (p->sealer ? ESDB_NO_SEAL : 0), &r,
                         &err);
    if (rc != 0) {
        commit(p); /* what went before stands, and is told first */
        fail(p, rc, &err);
        return;
    }
    if (!d->any)
        d->since_ms = cmd_now_ms();
    d->any = true;
    d->last = r;
    d->events += r.count;
    d->bytes += f->size;
    d->lines = f->lines;
    if (p->expectation_count > 0)
        chain(p, &r);
    if (!p->o.quiet && r.count > 0)
        put_receipt(d, &r, f->lines);
    if (wait)
        settle(p);
}

/* ---- batches ---- */

esdb_batch *cmd_pipeline_batch(struct cmd_pipeline *p) {
    struct esdb_error err = {0};
    esdb_batch *b = NULL;
    int rc;

    pthread_mutex_lock(&p->mutex);
    if (p->spare_count > 0)
        b = p->spare[--p->spare_count];
    pthread_mutex_unlock(&p->mutex);
    if (b)
        return b;
    if ((rc = esdb_batch_open(&b)) != 0)
        exit(cmd_finish(cmd_report(rc, &err)));
    return b;
}

static void give_back(struct cmd_pipeline *p, const struct frame *f) {
    bool kept;

    esdb_batch_clear(f->batch);
    pthread_mutex_lock(&p->mutex);
    kept = f->size <= KEEP_BYTES && p->spare_count < sizeof p->spare / sizeof *p->spare;
    if (kept)
        p->spare[p->spare_count++] = f->batch;
    pthread_mutex_unlock(&p->mutex);
    if (!kept)
        esdb_batch_close(f->batch);
}

/* ---- the second thread ---- */

/* When take() need not wait any longer: pending frames shall be durable, or else the index be brought up to date. */
static struct timespec deadline(const struct cmd_pipeline *p) {
    uint64_t at = p->pending.any ? p->pending.since_ms + p->o.linger_ms : cmd_now_ms() + IDLE_MS;

    return (struct timespec){(time_t)(at / 1000), (long)(at % 1000) * 1000000};
}

/* Waits for a frame. 1: *out is it. 0: none for now, but what is pending should become durable, or, when nothing is, the
 * index follow. -1: no more. */
static int take(struct cmd_pipeline *p, struct frame *out) {
    struct timespec until = deadline(p);
    int answer = 1;

    pthread_mutex_lock(&p->mutex);
    while (p->count == 0) {
        if (p->pending.any ? p->hurry || p->closing : p->closing) {
            answer = p->pending.any ? 0 : -1;
            break;
        }
        if (!p->pending.any)
            p->hurry = false;
        if (!p->pending.any && !p->unindexed) {
            pthread_cond_wait(&p->work, &p->mutex);
        } else if (pthread_cond_timedwait(&p->work, &p->mutex, &until) == ETIMEDOUT && p->count == 0) {
            answer = 0;
            break;
        }
    }
    if (answer == 1) {
        *out = p->queue[p->first];
        p->first = (p->first + 1) % QUEUE_FRAMES;
        p->count--;
        p->queue_bytes -= out->size;
        pthread_cond_signal(&p->space);
    }
    pthread_mutex_unlock(&p->mutex);
    return answer;
}

static void *run(void *context) {
    struct cmd_pipeline *p = context;
    struct pending *d = &p->pending;
    struct frame f;
    int answer;

    while ((answer = take(p, &f)) >= 0) {
        if (answer == 0 && !d->any) {
            esdb_catch_up(p->db, NULL);
            p->unindexed = false;
            continue;
        }
        if (answer == 1 && !p->result.failed) {
            append(p, &f, false);
            p->unindexed = true;
            esdb_write_ahead(p->db);
        }
        if (answer == 1)
            give_back(p, &f);
        if (answer == 0 || d->bytes >= COMMIT_BYTES || d->len >= RECEIPTS_BYTES ||
            (d->any && cmd_now_ms() - d->since_ms >= p->o.linger_ms))
            commit(p);
    }
    return NULL;
}

static bool start(struct cmd_pipeline *p) {
    p->failure_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    p->sealer = cmd_sealer_start(p->db);
    p->has_thread = p->failure_fd >= 0 && pthread_create(&p->thread, NULL, run, p) == 0;
    if (!p->has_thread && p->failure_fd >= 0) {
        close(p->failure_fd);
        p->failure_fd = -1;
    }
    return p->has_thread;
}

bool cmd_pipeline_submit(struct cmd_pipeline *p, esdb_batch *b, uint64_t lines, bool full) {
    struct frame f = {b, lines, esdb_batch_size(b)};

    if (!p->has_thread && !(full && p->pending.bytes >= THREAD_BYTES && start(p))) {
        if (!p->result.failed)
            append(p, &f, !full);
        give_back(p, &f);
        return !p->result.failed;
    }
    pthread_mutex_lock(&p->mutex);
    while (p->count == QUEUE_FRAMES || (p->count > 0 && p->queue_bytes + f.size > QUEUE_BYTES))
        pthread_cond_wait(&p->space, &p->mutex);
    p->queue[(p->first + p->count) % QUEUE_FRAMES] = f;
    p->count++;
    p->queue_bytes += f.size;
    p->hurry = !full;
    pthread_cond_signal(&p->work);
    pthread_mutex_unlock(&p->mutex);
    return !atomic_load(&p->failed);
}

void cmd_pipeline_pause(struct cmd_pipeline *p) {
    if (!p->has_thread) {
        commit(p);
        return;
    }
    pthread_mutex_lock(&p->mutex);
    p->hurry = true;
    pthread_cond_signal(&p->work);
    pthread_mutex_unlock(&p->mutex);
}

void cmd_pipeline_close(struct cmd_pipeline *p, struct cmd_pipeline_result *out) {
    if (p->has_thread) {
        pthread_mutex_lock(&p->mutex);
        p->closing = true;
        pthread_cond_signal(&p->work);
        pthread_mutex_unlock(&p->mutex);
        pthread_join(p->thread, NULL);
        close(p->failure_fd);
    }
    commit(p);
    esdb_catch_up(p->db, NULL); /* not done: the next one who appends does it */
    cmd_sealer_stop(p->sealer);
    *out = p->result;
    while (p->spare_count > 0)
        esdb_batch_close(p->spare[--p->spare_count]);
    for (size_t i = 0; i < p->expectation_count; i++)
        free(p->expectations[i].stream_id);
    free(p->expectations);
    free(p->pending.receipts);
    pthread_mutex_destroy(&p->mutex);
    pthread_cond_destroy(&p->work);
    pthread_cond_destroy(&p->space);
    free(p);
}
