#include "tail_scan.h"

#include "raft_state.h"
#include "shared_head.h"

static struct fmt_mark mark_of(const struct fmt_walk *w, uint64_t segment, uint64_t frame_offset) {
    return (struct fmt_mark){.index = w->index - 1,
                             .segment = segment,
                             .frame_offset = frame_offset,
                             .end_offset = w->offset,
                             .end_position = w->position,
                             .last_epoch_us = w->last_epoch_us,
                             .checksum = w->prev_checksum};
}

/* What whole frames beyond a bad one prove. */
static void look_beyond(struct es_tail_scan *s, const struct fmt_walk *w, uint64_t segment, uint64_t incarnation) {
    struct fmt_frame f;
    size_t at = w->offset;
    while ((at = fmt_walk_resync(w, at + 8, w->index + 1, &f)) != 0) {
        if (f.incarnation != incarnation)
            continue; /* bytes inside an event may look like a frame */
        if (f.synced_index > s->proof)
            s->proof = f.synced_index;
        s->last = (struct fmt_mark){f.index,         segment,    at, at + f.frame_len, f.first_position + f.count,
                                    f.last_epoch_us, f.checksum, 0};
        at += f.frame_len - 8;
    }
}

void es_scan_tail(struct es_segment *seg, uint64_t incarnation, struct es_tail_scan *s) {
    struct fmt_walk w;
    es_segment_walk(seg, &w);
    *s = (struct es_tail_scan){.end = mark_of(&w, seg->name, 0)};
    s->from = s->end;
    struct fmt_mark next = s->end; /* becomes `from` when it turns out to be proven */
    struct fmt_frame f;
    int rc;
    while ((rc = fmt_walk_peek(&w, &f)) == FMT_OK && (rc = fmt_walk_check(&w, &f)) == FMT_OK) {
        size_t at = w.offset;
        fmt_walk_pass(&w, &f);
        s->end = mark_of(&w, seg->name, at);
        if (f.committed_index > s->committed)
            s->committed = f.committed_index;
        if (f.synced_index > s->proof)
            s->proof = f.synced_index;
        if (s->proof >= next.index) {
            s->from = next;
            next = s->end;
        }
    }
    s->last = s->end;
    if (rc == FMT_BAD) {
        s->fault = w.fault;
        s->newer = w.newer;
        s->fault_offset = w.fault_offset;
    }
    look_beyond(s, &w, seg->name, incarnation);
}

struct fmt_mark es_mark_after(struct es_segment *seg, uint64_t index) {
    struct fmt_walk w;
    struct fmt_frame f;
    size_t at = 0;
    es_segment_walk(seg, &w);
    while (w.index <= index && fmt_walk_peek(&w, &f) == FMT_OK) {
        at = w.offset;
        fmt_walk_pass(&w, &f);
    }
    return mark_of(&w, seg->name, at);
}

uint64_t es_limit_proof(const esdb *db, uint64_t proof) {
    struct es_raft_state state;
    if (!db->settings.replicated || proof == 0 || es_raft_state_load(db, &state, NULL) != 0 || state.cut == 0)
        return proof;
    return proof < state.cut ? proof : state.cut - 1;
}

uint64_t es_tail_proof(const esdb *db, const struct es_tail_scan *s) {
    uint64_t by_head = es_head_proof(db);
    if (db->settings.user.durability == ESDB_NOT_DURABLE)
        return 0;
    return es_limit_proof(db, by_head > s->proof ? by_head : s->proof);
}

void es_examine_tail(const esdb *db, struct es_segment *seg, uint64_t *end_index, uint64_t *proof) {
    struct es_tail_scan s;
    es_scan_tail(seg, db->settings.incarnation, &s);
    *end_index = s.end.index;
    *proof = es_tail_proof(db, &s);
}

int es_fail_newer(const esdb *db, uint64_t segment, uint64_t offset, const char *what, struct esdb_error *err) {
    char path[ES_NAME_SIZE];
    es_segment_path(segment, ES_NAME_LOG, path);
    return es_fail_at(err, ESDB_EUSAGE, path, offset, "%s/%s, offset %llu: %s", db->path, path,
                      (unsigned long long)offset, what);
}

int es_fail_lost(const esdb *db, const struct es_tail_scan *s, uint64_t proof, struct esdb_error *err) {
    char path[ES_NAME_SIZE];
    es_segment_path(s->end.segment, ES_NAME_LOG, path);
    uint64_t at = s->fault ? s->fault_offset : s->end.end_offset;
    return es_fail_at(err, ESDB_ECORRUPT, path, at,
                      "%s/%s, offset %llu: %s; frames up to %llu were durable, only those up to %llu are whole",
                      db->path, path, (unsigned long long)at, s->fault ? s->fault : "the log ends too early",
                      (unsigned long long)proof, (unsigned long long)s->end.index);
}
