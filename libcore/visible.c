#include "visible.h"

#include <stdlib.h>

#include "commit.h"
#include "lock.h"
#include "os.h"
#include "recover.h"
#include "shared_head.h"
#include "tail.h"
#include "tail_scan.h"

#define READER_PATIENCE_MS 100 /* a reader never waits long for writers, one of which may be stopped */
#define POLL_MS 10             /* whoever waits for others to sync looks this often */

/* Where frame `index` ends, without a mark of it: walks from the beginning of the segment that holds it. */
static int walk_to(esdb *db, uint64_t index, struct es_visible *out, struct esdb_error *err) {
    uint64_t *names;
    size_t count;
    struct es_segment *seg;
    int rc = es_segment_list(db, &names, &count, err);
    if (rc < 0)
        return rc;
    while (count > 1 && names[count - 1] > index)
        count--;
    rc = count ? es_segment_get(db, names[count - 1], &seg, err)
               : es_fail_at(err, ESDB_ECORRUPT, "log", 0, "%s/log: holds no segment", db->path);
    free(names);
    if (rc == 0)
        rc = es_segment_grow(db, seg, err);
    if (rc < 0)
        return rc;
    struct fmt_mark m = es_mark_after(seg, index);
    *out = (struct es_visible){m.index, seg->name, m.end_offset, m.end_position, m.last_epoch_us, 0, NULL, 0};
    return 0;
}

/* An old copy of head, put over the file on the same boot, is intact and wrong. Frames behind what it calls synced tell:
 * one of them knows of a later sync, or lies beyond what head calls appended (a frame that is just being written does
 * that too, for a moment, under the append lock). Usually there is none, or a few that wait for a sync. */
static bool head_is_old(esdb *db, const struct es_visible *v) {
    struct es_segment *seg;
    unsigned char header[FMT_FRAME_HEADER_SIZE];
    struct fmt_frame f;
    uint64_t at = v->end_offset, index = v->index;
    if (es_segment_get(db, v->segment, &seg, NULL) < 0 || seg->is_packed)
        return false;
    int fd = es_segment_descriptor(db, seg, NULL);
    if (fd < 0)
        return false;
    while (es_pread(fd, header, sizeof header, at) == (ssize_t)sizeof header &&
           !fmt_frame_decode(header, sizeof header, &f) && f.index == index + 1) {
        if ((f.synced_index > v->index && f.synced_index > es_head_synced(db)) || f.index > es_head_appended(db))
            return true;
        at += f.frame_len;
        index = f.index;
    }
    return false;
}

static int visible_by_head(esdb *db, struct es_visible *out, struct esdb_error *err) {
    struct fmt_mark m;
    for (int tries = 0; tries < 100; tries++) { /* a writer may be publishing right now */
        uint64_t committed = es_head_committed(db);
        if (es_mark_find(db->head->synced_mark, committed, &m) ||
            es_mark_find(db->head->committed_mark, committed, &m)) {
            *out = (struct es_visible){m.index, m.segment, m.end_offset, m.end_position, m.last_epoch_us, 0, NULL, 0};
            return 0;
        }
        if (es_mark_find(db->head->synced_mark, es_head_synced(db), &m) && committed == es_head_committed(db))
            break; /* it lags */
    }
    return walk_to(db, es_head_committed(db), out, err);
}

/* The newest segment whose header is whole; *lost is one behind it whose header is damaged. */
static int last_readable(esdb *db, uint64_t *name, uint64_t *lost, struct esdb_error *err) {
    uint64_t *names;
    size_t count;
    int rc = es_segment_list(db, &names, &count, err);
    if (rc < 0)
        return rc;
    struct es_segment *seg;
    size_t at = count;
    while (at > 1 && es_segment_get(db, names[at - 1], &seg, NULL) == ESDB_ECORRUPT)
        at--;
    if (count) {
        *name = names[at - 1];
        *lost = at < count ? names[at] : 0;
    }
    free(names);
    return count ? 0 : es_fail_at(err, ESDB_ECORRUPT, "log", 0, "%s/log: holds no segment", db->path);
}

/* Nobody vouches for the tail: a frame counts when it is proven, or when this machine has booted since (or nobody can
 * write at all), because then what is read is what the disk holds. */
static int visible_by_walk(esdb *db, struct es_visible *out, struct esdb_error *err) {
    uint64_t name = 0, lost = 0;
    struct es_segment *seg;
    int rc = last_readable(db, &name, &lost, err);
    if (rc == 0)
        rc = es_segment_get(db, name, &seg, err);
    if (rc == 0)
        rc = es_segment_grow(db, seg, err);
    if (rc < 0)
        return rc;
    bool on_disk = db->settings.backup || es_head_of_other_boot(db) || es_fs_of(db->dir) == ES_FS_READ_ONLY;
    struct es_tail_scan s;
    es_scan_tail(seg, db->settings.incarnation, &s);
    es_head_look_again(db); /* it may have become valid meanwhile */
    if (es_head_valid(db) && visible_by_head(db, out, err) == 0 && !head_is_old(db, out))
        return 0;
    bool damaged = s.proof > s.end.index || lost != 0;   /* a segment behind proves this one */
    if (db->settings.replicated && !damaged && !s.newer) /* what is durable here may not be committed */
        return walk_to(db, es_known_committed(db, seg, s.committed, s.end.index), out, err);
    const struct fmt_mark *m = damaged ? &s.last : &s.end;
    *out = (struct es_visible){
        m->index,      name, m->end_offset, m->end_position, m->last_epoch_us, lost, s.newer ? s.fault : NULL,
        s.fault_offset};
    if (s.newer)
        return 0;
    return on_disk || damaged || s.proof >= m->index ? 0 : walk_to(db, s.proof, out, err);
}

/* Makes head good as an appender would. What cannot be done soon, a reader can do without. */
static void revive(esdb *db) {
    int patience_ms = db->lock_timeout_ms;
    struct es_tail tail;
    db->lock_timeout_ms = READER_PATIENCE_MS;
    if (es_lock_append(db, NULL) == 0) {
        bool good = es_tail_load(db, &tail, NULL) == 0; /* rebuilds, or adopts what an old head does not know */
        uint64_t generation = es_head_valid(db) ? es_head_generation(db) : 0;
        es_unlock_append(db);
        if (good)
            es_commit(db, tail.mark.index, generation, NULL);
    }
    db->lock_timeout_ms = patience_ms;
}

int es_visible_is_whole(esdb *db, const struct es_visible *v, struct esdb_error *err) {
    struct es_segment *lost;
    if (v->newer)
        return es_fail_newer(db, v->segment, v->newer_offset, v->newer, err);
    return v->lost_segment ? es_segment_get(db, v->lost_segment, &lost, err) : 0;
}

int es_visible(esdb *db, struct es_visible *out, struct esdb_error *err) {
    if (!es_head_valid(db))
        es_head_look_again(db);
    if (!es_head_valid(db) && es_writable(db))
        revive(db);
    if (!es_head_valid(db))
        return visible_by_walk(db, out, err);
    int rc = visible_by_head(db, out, err);
    if (rc < 0 || !head_is_old(db, out))
        return rc;
    if (es_writable(db))
        revive(db);
    if (!es_head_valid(db))
        return visible_by_walk(db, out, err);
    rc = visible_by_head(db, out, err);
    if (rc < 0 || !head_is_old(db, out))
        return rc;
    struct es_visible walked; /* even an old head is right in what it calls synced */
    if (visible_by_walk(db, &walked, NULL) == 0 && walked.index > out->index)
        *out = walked;
    return 0;
}

/* The newest frame that the log holds, whether it may be shown or not. */
static int newest_frame(esdb *db, uint64_t *index, struct esdb_error *err) {
    uint64_t name, lost;
    struct es_segment *seg;
    struct es_tail_scan s;
    int rc = last_readable(db, &name, &lost, err);
    if (rc == 0)
        rc = es_segment_get(db, name, &seg, err);
    if (rc == 0)
        rc = es_segment_grow(db, seg, err);
    if (rc < 0)
        return rc;
    es_scan_tail(seg, db->settings.incarnation, &s);
    *index = s.end.index;
    return 0;
}

int es_visible_all(esdb *db, struct es_visible *out, struct esdb_error *err) {
    uint64_t deadline = es_monotonic_ms() + (uint64_t)db->lock_timeout_ms, newest;
    for (;;) {
        int rc = es_visible(db, out, err);
        if (rc == 0)
            rc = es_visible_is_whole(db, out, err);
        if (rc < 0 || es_head_valid(db) || db->settings.replicated)
            return rc;
        rc = newest_frame(db, &newest, err);
        if (rc < 0 || out->index >= newest)
            return rc;
        rc = es_check_poison(db, err);
        if (rc < 0)
            return rc;
        if (es_monotonic_ms() >= deadline)
            return es_fail(err, ESDB_EUNAVAILABLE, "%s: its newest events are not known to be durable", db->path);
        es_sleep_ms(POLL_MS);
    }
}
