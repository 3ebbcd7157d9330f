#include "recover.h"

#include <errno.h>
#include <stdlib.h>

#include "live.h"
#include "lock.h"
#include "os.h"
#include "raft_state.h"
#include "shared_head.h"
#include "tail_scan.h"

/* The name of the newest segment. */
static int last_segment(const esdb *db, uint64_t *name, struct esdb_error *err) {
    uint64_t *names;
    size_t count;
    int rc = es_segment_list(db, &names, &count, err);
    if (rc < 0)
        return rc;
    if (count)
        *name = names[count - 1];
    free(names);
    return count ? 0 : es_fail_at(err, ESDB_ECORRUPT, "log", 0, "%s/log: holds no segment", db->path);
}

int es_rewrite(esdb *db, const struct fmt_mark *from, uint64_t upto, struct esdb_error *err) {
    struct es_buffer b = {0};
    struct fmt_mark m = *from;
    int rc = 0;
    while (rc == 0 && m.index < upto) {
        struct fmt_frame f;
        size_t bad;
        const char *wrong;
        b.len = 0;
        if ((rc = es_buffer_reserve(&b, FMT_FRAME_HEADER_SIZE)) < 0)
            break;
        ssize_t n = es_pread(db->active.fd, b.at, FMT_FRAME_HEADER_SIZE, m.end_offset);
        wrong = n < 0 ? "cannot be read" : fmt_frame_decode(b.at, (size_t)n, &f);
        if (!wrong && (rc = es_buffer_reserve(&b, f.frame_len)) < 0)
            break;
        if (!wrong && es_pread(db->active.fd, b.at, f.frame_len, m.end_offset) != (ssize_t)f.frame_len)
            wrong = "cannot be read";
        if (!wrong) /* the bytes may have changed between the two reads: the second ones count */
            wrong = fmt_frame_decode(b.at, f.frame_len, &f);
        if (!wrong && (f.index != m.index + 1 || f.prev_checksum != m.checksum))
            wrong = "does not chain";
        if (!wrong)
            wrong = fmt_frame_check(&f, b.at, &bad);
        if (wrong) {
            rc = es_poison(db, "a frame that was appended is not whole any more", -EIO, err);
            break;
        }
        rc = es_pwrite(db->active.fd, b.at, f.frame_len, m.end_offset);
        if (rc < 0)
            rc = es_write_failed(db, "writing back the log", rc, err);
        m.index = f.index;
        m.checksum = f.checksum;
        m.end_offset += f.frame_len;
    }
    es_buffer_release(&b);
    return rc == -ENOMEM ? es_fail(err, rc, "%s", db->path) : rc;
}

uint64_t es_known_committed(esdb *db, const struct es_segment *seg, uint64_t by_frames, uint64_t end_index) {
    struct es_raft_state state;
    uint64_t committed = by_frames, *names;
    size_t count;
    if (es_raft_state_load(db, &state, NULL) == 0 && state.committed > committed)
        committed = state.committed;
    if (by_frames == 0 &&
        es_segment_list(db, &names, &count, NULL) == 0) { /* the segment may be new: ask the one before */
        struct es_segment *before;
        struct es_tail_scan s;
        while (count > 0 && names[count - 1] >= seg->name)
            count--;
        if (count > 0 && es_segment_get(db, names[count - 1], &before, NULL) == 0 &&
            es_segment_grow(db, before, NULL) == 0) {
            es_scan_tail(before, db->settings.incarnation, &s);
            if (s.committed > committed)
                committed = s.committed;
        }
        free(names);
    }
    return committed < end_index ? committed : end_index;
}

/* Sync lock held too; the scan found no damage. */
static int rebuild_from(esdb *db, struct es_segment *seg, const struct es_tail_scan *s, bool poisoned,
                        struct esdb_error *err) {
    es_head_invalidate(db);
    int rc = es_active_open(db, seg->name, err);
    if (rc < 0)
        return rc;
    rc = es_zero_rest(db, s->end.end_offset);
    if (rc < 0)
        return es_write_failed(db, "zeroing an unfinished append", rc, err);
    bool durable = db->settings.user.durability == ESDB_DURABLE; /* else nothing is proven: all of it */
    struct fmt_mark begin = es_mark_after(seg, 0);
    rc = es_rewrite(db, durable ? &s->from : &begin, s->end.index, err);
    if (rc < 0) /* a bad frame: nothing is published, head stays invalid (model: OLD_REBUILDPOISON) */
        return rc;
    if (durable) {
        rc = es_fdatasync(db->active.fd);
        if (rc < 0)
            return es_poison(db, "syncing the log", rc, err);
    }
    if (s->end.frame_offset == 0 && (rc = es_fsync(db->log)) < 0) /* its creator may have died before this */
        return es_write_failed(db, "syncing the log's directory", rc, err);
    es_live_discard(db, seg->name);
    uint64_t committed =
        db->settings.replicated ? es_known_committed(db, seg, s->committed, s->end.index) : FMT_COMMITTED_IS_SYNCED;
    return es_head_renew(db, &s->end, committed, poisoned, err);
}

int es_rebuild(esdb *db, struct esdb_error *err) {
    int rc = es_check_poison(db, err);
    if (rc == 0)
        rc = es_lock_sync(db, err);
    if (rc < 0)
        return rc;
    rc = es_renew(db, false, err);
    es_unlock_sync(db);
    return rc;
}

int es_renew(esdb *db, bool poisoned, struct esdb_error *err) {
    uint64_t name = 0;
    struct es_segment *seg;
    struct es_tail_scan s;
    int rc = last_segment(db, &name, err);
    if (rc == 0)
        rc = es_segment_get(db, name, &seg, err);
    if (rc == 0)
        rc = es_segment_grow(db, seg, err);
    if (rc < 0)
        return rc;
    es_scan_tail(seg, db->settings.incarnation, &s);
    uint64_t proof = es_tail_proof(db, &s);
    if (s.newer)
        return es_fail_newer(db, name, s.fault_offset, s.fault, err);
    return proof > s.end.index ? es_fail_lost(db, &s, proof, err) : rebuild_from(db, seg, &s, poisoned, err);
}
