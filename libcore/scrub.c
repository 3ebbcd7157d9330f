/* scrub.c: does the disk still hold what was written? A slow walk over all closed segments, beside everything else. */
#include <stdlib.h>

#include "os.h"
#include "replica.h"
#include "segment.h"
#include "shared_head.h"

#define STEP (1u << 20) /* bytes between looks at the clock */

/* Sleeps when more was read than `rate` bytes a second allow. */
static void slow_down(uint64_t began_ms, uint64_t bytes, uint64_t rate) {
    uint64_t due = bytes * 1000 / rate, now = es_monotonic_ms() - began_ms;
    if (due > now)
        es_sleep_ms((int)(due - now < 200 ? due - now : 200));
}

struct scrub {
    uint64_t began_ms, bytes, rate;
    const _Atomic bool *stop;
};

/* Returns what is wrong, at w->fault_offset; NULL: nothing, or it was stopped. */
static const char *scrub_segment(struct es_segment *seg, struct scrub *s, struct fmt_walk *w) {
    struct fmt_frame f;
    size_t forgotten = 0, looked = 0;
    int rc;
    es_segment_walk(seg, w);
    while ((rc = fmt_walk_peek(w, &f)) == FMT_OK && (rc = fmt_walk_check(w, &f)) == FMT_OK) {
        fmt_walk_pass(w, &f);
        if (w->offset - looked < STEP)
            continue;
        s->bytes += w->offset - looked;
        looked = w->offset;
        forgotten = es_segment_forget(seg, forgotten, w->offset);
        slow_down(s->began_ms, s->bytes, s->rate);
        if (*s->stop)
            return NULL;
    }
    if (rc == FMT_BAD)
        return w->fault;
    w->fault_offset = w->offset;
    return w->rolled ? NULL : "the segment ends too early";
}

int es_scrub(const char *path, uint64_t rate, const _Atomic bool *stop, struct esdb_error *err) {
    struct scrub s = {es_monotonic_ms(), 0, rate, stop};
    uint64_t *names;
    size_t count;
    esdb *db;
    int rc = esdb_open(path, ESDB_READ, &db, err);
    if (rc < 0)
        return rc;
    rc = es_segment_list(db, &names, &count, err);
    uint64_t committed = db->head && es_head_valid(db) ? es_head_committed(db) : 0; /* the rest may be cut meanwhile */
    for (size_t i = 0; rc == 0 && i + 1 < count && names[i + 1] <= committed + 1 && !*stop; i++) {
        struct es_segment *seg;
        struct fmt_walk w;
        rc = es_segment_get(db, names[i], &seg, err);
        const char *wrong = rc == 0 ? scrub_segment(seg, &s, &w) : NULL;
        char file[ES_NAME_SIZE];
        es_segment_path(names[i], ES_NAME_LOG, file);
        if (wrong)
            rc = es_fail_at(err, ESDB_ECORRUPT, file, w.fault_offset, "%s/%s, offset %llu: %s", path, file,
                            (unsigned long long)w.fault_offset, wrong);
        es_segments_close(db);
    }
    if (count)
        free(names);
    esdb_close(db);
    return rc;
}
