/* Loads: what applications do with a store. */
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cmd.h"

/* ---- events to append ---- */

/* A process that appends. */
struct writer {
    esdb *db;
    esdb_batch *batch;
    char *data; /* size bytes of JSON */
};

/* A JSON string of exactly `size` bytes (at least 2), of letters that compress no better than real text. */
static char *make_data(uint64_t size, unsigned seed) {
    static const char letters[] = "etaoin shrdlucmfwypvbgkqjxzETAOIN0123456789 -_.,";
    uint64_t state = seed * 2654435761u + 1;
    char *data = cmd_alloc(size + 1);
    for (uint64_t i = 1; i + 1 < size; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        data[i] = letters[(state >> 40) % (sizeof letters - 1)];
    }
    data[0] = data[size - 1] = '"';
    return data;
}

static int writer_open(const struct bench_process *p, struct writer *w) {
    struct esdb_error err = {0};
    int rc = esdb_open(p->plan->store, ESDB_APPEND, &w->db, &err);
    if (rc == 0)
        rc = esdb_batch_open(&w->batch);
    w->data = make_data(p->plan->size, p->number);
    return cmd_report(rc, &err);
}

/* Adds event `n` of the whole load; streams are visited in an order without pattern. */
static int add_event(struct writer *w, const struct bench_plan *plan, uint64_t n, struct esdb_error *err) {
    char stream[40];
    uint64_t number = (n + 1) * 0x9e3779b97f4a7c15u;
    number = (number ^ number >> 30) * 0xbf58476d1ce4e5b9u;
    number ^= number >> 31;
    int len = snprintf(stream, sizeof stream, "bench-%llu", (unsigned long long)(number % plan->streams));
    struct esdb_new_event e = {
        .stream_id = {stream, (size_t)len}, .event_type = cmd_text("BenchEvent"), .data = {w->data, plan->size}};
    return esdb_batch_add(w->batch, &e, err);
}

static int append_events(struct writer *w, const struct bench_plan *plan, uint64_t first, uint64_t count,
                         unsigned flags, struct esdb_receipt *receipt, struct esdb_error *err) {
    int rc = 0;
    esdb_batch_clear(w->batch);
    for (uint64_t i = 0; i < count && rc == 0; i++)
        rc = add_event(w, plan, first + i, err);
    return rc ? rc : esdb_append(w->db, w->batch, flags, receipt, err);
}

/* ---- append ---- */

static int append_prepare(struct bench_process *p, void **state) {
    struct writer *w = cmd_alloc(sizeof *w);
    *state = w;
    return writer_open(p, w);
}

static int append_run(struct bench_process *p, void *state) {
    const struct bench_plan *plan = p->plan;
    for (uint64_t i = 0; i < p->count; i++) {
        struct esdb_error err = {0};
        struct esdb_receipt receipt;
        uint64_t first = (p->first + i) * plan->batch;
        uint64_t count = plan->events - first < plan->batch ? plan->events - first : plan->batch;
        uint64_t begin = cmd_bench_clock_ns();
        int rc = append_events(state, plan, first, count, 0, &receipt, &err);
        if (rc != 0)
            return cmd_report(rc, &err);
        p->latency[i] = cmd_bench_clock_ns() - begin;
        p->events += count;
    }
    return 0;
}

int cmd_bench_append(const struct bench_plan *plan, struct bench_result *out) {
    static const struct bench_work work = {append_prepare, append_run};
    uint64_t operations = (plan->events + plan->batch - 1) / plan->batch;
    return cmd_bench_run(plan, &work, plan->processes, operations, NULL, out);
}

int cmd_bench_fill(const struct bench_plan *plan) {
    enum { FRAME = 1000 };
    struct bench_process p = {.plan = plan};
    struct writer w = {0};
    struct esdb_receipt receipt = {0};
    struct esdb_error err = {0};
    int rc = 0, status = writer_open(&p, &w);
    if (status != 0)
        return status;
    for (uint64_t first = 0; first < plan->events && rc == 0; first += FRAME) {
        uint64_t count = plan->events - first < FRAME ? plan->events - first : FRAME;
        rc = append_events(&w, plan, first, count, ESDB_NO_WAIT, &receipt, &err);
    }
    if (rc == 0)
        rc = esdb_commit(w.db, &receipt, &err);
    esdb_batch_close(w.batch);
    esdb_close(w.db);
    free(w.data);
    return cmd_report(rc, &err);
}

/* ---- read ---- */

/* A process that reads. */
struct reader {
    esdb *db;
    struct esdb_text *streams; /* to choose from */
    uint64_t stream_count;
};

static int list_streams(struct reader *r, uint64_t max, struct esdb_error *err) {
    esdb_stream_list *list;
    struct esdb_stream_info info;
    int rc = esdb_stream_list_open(r->db, (struct esdb_text){0}, 0, &list, err);
    if (rc != 0)
        return rc;
    r->streams = cmd_alloc(max * sizeof *r->streams);
    while (r->stream_count < max && (rc = esdb_stream_list_next(list, &info, err)) == 0) {
        char *copy = cmd_alloc(info.stream_id.len + 1);
        memcpy(copy, info.stream_id.at, info.stream_id.len);
        r->streams[r->stream_count++] = (struct esdb_text){copy, info.stream_id.len};
    }
    esdb_stream_list_close(list);
    return rc < 0 ? rc : 0;
}

static int read_prepare(struct bench_process *p, void **state) {
    struct reader *r = cmd_alloc(sizeof *r);
    struct esdb_error err = {0};
    *state = r;
    int rc = esdb_open(p->plan->store, ESDB_READ, &r->db, &err);
    if (rc == 0 && p->plan->read_kind == READ_STREAM)
        rc = list_streams(r, p->plan->streams, &err);
    return cmd_report(rc, &err);
}

static int read_run(struct bench_process *p, void *state) {
    struct reader *r = state;
    uint64_t random = p->number * 2654435761u + 1;
    for (uint64_t i = 0; i < p->count; i++) {
        struct esdb_error err = {0};
        struct esdb_event e;
        struct esdb_query q;
        esdb_cursor *cursor;
        uint64_t begin = cmd_bench_clock_ns();
        esdb_query_init(&q);
        q.flags = ESDB_ALL;
        if (p->plan->read_kind == READ_STREAM && r->stream_count > 0) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            q.flags = ESDB_LITERAL;
            q.streams = &r->streams[(random >> 33) % r->stream_count];
            q.stream_count = 1;
        }
        int rc = esdb_cursor_open(r->db, &q, &cursor, &err);
        if (rc != 0)
            return cmd_report(rc, &err);
        while ((rc = esdb_cursor_next(cursor, &e, &err)) == 0)
            p->events++;
        esdb_cursor_close(cursor);
        if (rc != ESDB_END)
            return cmd_report(rc, &err);
        p->latency[i] = cmd_bench_clock_ns() - begin;
    }
    return 0;
}

int cmd_bench_read(const struct bench_plan *plan, struct bench_result *out) {
    static const struct bench_work work = {read_prepare, read_run};
    return cmd_bench_run(plan, &work, plan->processes, plan->reads, NULL, out);
}

/* ---- tail: writers and followers, in one run ---- */

/* Shared: when each event was acknowledged, and when each follower saw it; by position from `base` on. */
struct times {
    uint64_t base;
    _Atomic int failed; /* somebody gave up: the others do too */
    uint64_t at[];      /* events, then events for each follower */
};

static int tail_prepare(struct bench_process *p, void **state) {
    struct times *times = p->shared;
    struct esdb_error err = {0};
    if (p->number < p->plan->processes) {
        int status = append_prepare(p, state);
        if (status != 0)
            times->failed = 1;
        return status;
    }
    esdb *db;
    esdb_cursor *cursor = NULL;
    struct esdb_query q;
    esdb_query_init(&q);
    q.flags = ESDB_ALL;
    q.from_position = times->base;
    int rc = esdb_open(p->plan->store, ESDB_READ, &db, &err);
    if (rc == 0)
        rc = esdb_cursor_open(db, &q, &cursor, &err);
    *state = cursor;
    if (rc != 0)
        times->failed = 1;
    return cmd_report(rc, &err);
}

static void pause_for(uint64_t us) {
    struct timespec t = {(time_t)(us / 1000000), (long)(us % 1000000) * 1000};
    nanosleep(&t, NULL);
}

/* The share of the events that a writer appends: every processes-th one. */
static int tail_write(struct bench_process *p, struct writer *w) {
    const struct bench_plan *plan = p->plan;
    struct times *times = p->shared;
    for (uint64_t n = p->number; n < plan->events && !times->failed; n += plan->processes) {
        struct esdb_error err = {0};
        struct esdb_receipt receipt;
        pause_for(plan->interval_us);
        int rc = append_events(w, plan, n, 1, 0, &receipt, &err);
        if (rc != 0)
            return cmd_report(rc, &err);
        uint64_t at = receipt.first_position - times->base;
        if (at < plan->events)
            times->at[at] = cmd_bench_clock_ns();
        p->events++;
    }
    return 0;
}

static int tail_follow(struct bench_process *p, esdb_cursor *cursor) {
    const struct bench_plan *plan = p->plan;
    struct times *times = p->shared;
    uint64_t *seen = times->at + plan->events * (1 + p->number - plan->processes);
    for (uint64_t count = 0; count < plan->events && !times->failed;) {
        struct esdb_error err = {0};
        struct esdb_event e;
        int rc = esdb_cursor_next(cursor, &e, &err);
        if (rc == 0 && e.position - times->base < plan->events) {
            seen[e.position - times->base] = cmd_bench_clock_ns();
            count++;
        } else if (rc == ESDB_END) {
            rc = esdb_cursor_wait(cursor, 200, &err);
        }
        if (rc < 0)
            return cmd_report(rc, &err);
    }
    return 0;
}

static int tail_run(struct bench_process *p, void *state) {
    struct times *times = p->shared;
    int status = p->number < p->plan->processes ? tail_write(p, state) : tail_follow(p, state);
    if (status != 0)
        times->failed = 1;
    return status;
}

static int end_position(const char *store, uint64_t *out) {
    struct esdb_error err = {0};
    esdb *db;
    int rc = esdb_open(store, ESDB_READ, &db, &err);
    if (rc != 0)
        return cmd_report(rc, &err);
    rc = esdb_end_position(db, out, &err);
    esdb_close(db);
    return cmd_report(rc, &err);
}

int cmd_bench_tail(const struct bench_plan *plan, struct bench_result *out) {
    static const struct bench_work work = {tail_prepare, tail_run};
    uint64_t seen = plan->events * plan->followers;
    struct times *times = cmd_bench_shared(sizeof *times + (plan->events + seen) * sizeof(uint64_t));
    int status = end_position(plan->store, &times->base);
    if (status == 0)
        status = cmd_bench_run(plan, &work, plan->processes + plan->followers, 0, times, out);
    if (status != 0)
        return status;
    free(out->latency);
    out->operations = seen;
    out->latency = cmd_alloc(seen * sizeof(uint64_t) + 1);
    for (uint64_t i = 0; i < seen; i++) {
        /* A follower may be faster than the writer's return from its append: that is no time at all. */
        uint64_t acknowledged = times->at[i % plan->events], at = times->at[plan->events + i];
        out->latency[i] = at > acknowledged ? at - acknowledged : 0;
    }
    cmd_bench_sort(out->latency, seen);
    return 0;
}
