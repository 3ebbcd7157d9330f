#include "replica_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "commit.h"
#include "directory.h"
#include "format/bytes.h"
#include "format/checksum.h"
#include "format/event.h"
#include "known.h"
#include "live.h"
#include "lock.h"
#include "os.h"
#include "roll.h"
#include "shared_head.h"
#include "tail_scan.h"

#define LOCK_PATIENCE 500 /* ms: a reader that revives head has the lock for a moment */

/* ---- finding frames ---- */

void es_replica_remember(struct es_replica *r, uint8_t kind) {
    const struct es_tail *t = &r->tail;
    r->ring[t->mark.index % ES_REPLICA_RING] =
        (struct es_replica_frame){.mark = t->mark, .term = t->term, .kind = kind, .rolls = t->rolled};
    if (r->ring_first == 0 || r->ring_first > t->mark.index)
        r->ring_first = t->mark.index;
    if (t->mark.index - r->ring_first >= ES_REPLICA_RING)
        r->ring_first = t->mark.index - ES_REPLICA_RING + 1;
}

/* A walk that stands before frame `index`, in the segment that holds it. */
static int walk_to(struct es_replica *r, uint64_t index, struct es_segment **out, struct fmt_walk *w,
                   struct esdb_error *err) {
    uint64_t *names;
    size_t count;
    struct fmt_frame f;
    if (r->reading.segment && r->reading.walk.index <= index && !r->reading.walk.rolled) {
        *out = r->reading.segment;
        *w = r->reading.walk;
        if (es_segment_grow(r->db, *out, err) == 0)
            w->size = (size_t)(*out)->size;
        while (w->index < index && fmt_walk_peek(w, &f) == FMT_OK)
            fmt_walk_pass(w, &f);
        if (w->index == index && !w->rolled)
            return 0;
    }
    int rc = es_segment_list(r->db, &names, &count, err);
    if (rc < 0)
        return rc;
    while (count > 1 && names[count - 1] > index)
        count--;
    rc = count ? es_segment_get(r->db, names[count - 1], out, err) : ESDB_ECORRUPT;
    free(names);
    if (rc == 0)
        rc = es_segment_grow(r->db, *out, err);
    if (rc < 0)
        return rc;
    es_segment_walk(*out, w);
    while (w->index < index && fmt_walk_peek(w, &f) == FMT_OK)
        fmt_walk_pass(w, &f);
    return w->index == index ? 0 : ESDB_ENOTFOUND;
}

/* The frame at w, which moves past it. */
static int take(struct es_replica *r, struct es_segment *seg, struct fmt_walk *w, struct es_replica_frame *out,
                struct fmt_frame *f) {
    size_t at = w->offset;
    if (fmt_walk_peek(w, f) != FMT_OK)
        return ESDB_ENOTFOUND;
    fmt_walk_pass(w, f);
    *out = (struct es_replica_frame){.mark = {.index = f->index,
                                              .segment = seg->name,
                                              .frame_offset = at,
                                              .end_offset = w->offset,
                                              .end_position = w->position,
                                              .last_epoch_us = w->last_epoch_us,
                                              .checksum = w->prev_checksum},
                                     .term = f->term,
                                     .kind = f->kind,
                                     .rolls = w->rolled};
    r->reading.segment = seg;
    r->reading.walk = *w;
    return 0;
}

bool es_replica_look(struct es_replica *r, uint64_t index, struct es_replica_frame *out) {
    struct es_segment *seg;
    struct fmt_walk w;
    struct fmt_frame f;
    if (index == 0 || index > r->tail.mark.index)
        return false;
    if (r->ring_first != 0 && index >= r->ring_first) {
        *out = r->ring[index % ES_REPLICA_RING];
        return true;
    }
    return walk_to(r, index, &seg, &w, NULL) == 0 && take(r, seg, &w, out, &f) == 0;
}

int es_replica_walk(struct es_replica *r, uint64_t first, es_replica_walk_fn *fn, void *context,
                    struct esdb_error *err) {
    struct es_segment *seg;
    struct fmt_walk w;
    for (uint64_t index = first; index <= r->tail.mark.index;) {
        struct es_replica_frame found;
        struct fmt_frame f;
        int rc = walk_to(r, index, &seg, &w, err);
        while (rc == 0 && index <= r->tail.mark.index && (rc = take(r, seg, &w, &found, &f)) == 0) {
            const unsigned char *payload = seg->map + found.mark.frame_offset + f.header_len;
            bool membership = f.kind == FMT_FRAME_CONFIGURATION;
            rc = fn(context, &f, membership ? payload : NULL, membership ? f.frame_len - f.header_len : 0);
            index = w.index; /* after a hole, more than one */
            if (w.rolled)
                break;
        }
        if (rc == 0)
            es_segment_forget(seg, 0, (size_t)seg->size); /* a long walk would fill memory */
        if (rc != 0)
            return rc == ESDB_ENOTFOUND ? es_fail(err, ESDB_ECORRUPT, "%s: frame %llu is not there", r->db->path,
                                                  (unsigned long long)index)
                                        : rc;
    }
    return 0;
}

/* ---- checking ---- */

/* What is wrong on this disk must not reach others: a node that finds such a frame stops. */
static int check_frame(const struct es_replica *r, struct es_segment *seg, const struct fmt_mark *m, size_t len,
                       struct esdb_error *err) {
    const unsigned char *at = seg->map + m->frame_offset;
    es_segment_need(seg, m->frame_offset, len);
    char path[ES_NAME_SIZE];
    struct fmt_frame f;
    size_t bad = 0;
    const char *wrong = fmt_frame_decode(at, len, &f);
    if (!wrong)
        wrong = fmt_frame_check(&f, at, &bad);
    es_segment_path(m->segment, ES_NAME_LOG, path);
    return wrong ? es_fail_at(err, ESDB_ECORRUPT, path, m->frame_offset + bad, "%s/%s, offset %llu: %s", r->db->path,
                              path, (unsigned long long)(m->frame_offset + bad), wrong)
                 : 0;
}

int es_replica_check(struct es_replica *r, uint64_t first, struct esdb_error *err) {
    for (uint64_t index = first; index <= r->tail.mark.index;) {
        struct es_segment *seg;
        struct es_replica_frame found;
        struct fmt_walk w;
        struct fmt_frame f;
        int rc = walk_to(r, index, &seg, &w, err);
        while (rc == 0 && index <= r->tail.mark.index && (rc = take(r, seg, &w, &found, &f)) == 0) {
            rc = check_frame(r, seg, &found.mark, f.frame_len, err);
            index = w.index;
            if (w.rolled)
                break;
        }
        if (rc == 0)
            es_segment_forget(seg, 0, (size_t)seg->size);
        if (rc != 0)
            return rc == ESDB_ENOTFOUND ? es_fail(err, ESDB_ECORRUPT, "%s: frame %llu is not there, or damaged",
                                                  r->db->path, (unsigned long long)index)
                                        : rc;
    }
    return 0;
}

/* ---- opening ---- */

static int fill_ring(void *context, const struct fmt_frame *f, const unsigned char *payload, size_t len) {
    struct es_replica *r = context;
    (void)payload;
    (void)len;
    struct es_replica_frame *slot = &r->ring[f->index % ES_REPLICA_RING];
    *slot = (struct es_replica_frame){.term = f->term, .kind = f->kind, .rolls = f->flags & FMT_FRAME_ROLLS};
    const struct fmt_walk *w = &r->reading.walk;
    slot->mark = (struct fmt_mark){.index = f->index,
                                   .segment = r->reading.segment->name,
                                   .frame_offset = w->offset - f->frame_len,
                                   .end_offset = w->offset,
                                   .end_position = w->position,
                                   .last_epoch_us = w->last_epoch_us,
                                   .checksum = w->prev_checksum};
    if (f->committed_index > r->committed)
        r->committed = f->committed_index;
    return 0;
}

/* Everything that is there becomes durable: what raft counts as stored must be. */
int es_replica_sync_all(struct es_replica *r, struct esdb_error *err) {
    int rc = es_lock_sync(r->db, err);
    if (rc < 0)
        return rc;
    rc = es_lead(r->db, NULL, err);
    if (rc == 0 && es_head_synced(r->db) < r->tail.mark.index)
        rc = es_fail(err, ESDB_EUNAVAILABLE, "%s: the log could not be made durable", r->db->path);
    es_unlock_sync(r->db);
    return rc;
}

static int load(struct es_replica *r, struct esdb_error *err) {
    esdb *db = r->db;
    int rc = es_tail_load(db, &r->tail, err);
    if (rc == 0)
        rc = es_replica_sync_all(r, err);
    if (rc == 0)
        rc = es_raft_state_load(db, &r->state, err);
    if (rc < 0)
        return rc;
    uint64_t last = r->tail.mark.index, first = last > ES_REPLICA_RING ? last - ES_REPLICA_RING + 1 : 1;
    r->committed = r->state.committed;
    if (last > 0)
        rc = es_replica_walk(r, first, fill_ring, r, err);
    if (rc < 0)
        return rc;
    r->ring_first = last > 0 ? first : 0;
    if (r->committed > last)
        return es_fail(err, ESDB_ECORRUPT, "%s: frames up to %llu were committed, only those up to %llu are there",
                       db->path, (unsigned long long)r->committed, (unsigned long long)last);
    struct es_replica_frame f;
    if (r->committed > 0 && es_replica_look(r, r->committed, &f))
        es_publish_committed(db, &f.mark);
    else
        es_word_set(&db->head->committed, 0);
    es_head_wake(db);
    if (r->state.cut != 0 && r->state.cut <= last) /* it ended halfway */
        return es_replica_cut(r, r->state.cut, err);
    if (r->state.cut != 0) {
        r->state.cut = 0;
        rc = es_replica_save(r, err);
    }
    return rc;
}

int es_replica_open(const char *path, struct es_replica **out, struct esdb_error *err) {
    struct es_replica *r = calloc(1, sizeof *r);
    if (r)
        r->ring = calloc(ES_REPLICA_RING, sizeof *r->ring);
    if (!r || !r->ring) {
        free(r);
        return es_fail(err, -ENOMEM, "%s", path);
    }
    int rc = esdb_open(path, ESDB_APPEND, &r->db, err);
    if (rc < 0)
        goto err_closed;
    if (!r->db->settings.replicated)
        rc = es_fail(err, ESDB_ENOTFOUND, "%s: is not a replicated store", path);
    esdb_set_lock_timeout(r->db, LOCK_PATIENCE);
    if (rc == 0)
        rc = es_lock_append(r->db, err);
    if (rc < 0)
        goto err_open;
    rc = load(r, err);
    if (rc < 0)
        goto err_locked;
    *out = r;
    return 0;
err_locked:
    es_unlock_append(r->db);
err_open:
    esdb_close(r->db);
err_closed:
    free(r->ring);
    free(r);
    return rc;
}

void es_replica_close(struct es_replica *r) {
    if (!r)
        return;
    es_unlock_append(r->db);
    esdb_close(r->db);
    free(r->ring);
    free(r);
}

esdb *es_replica_db(struct es_replica *r) {
    return r->db;
}

struct es_raft_state *es_replica_state(struct es_replica *r) {
    return &r->state;
}

int es_replica_save(struct es_replica *r, struct esdb_error *err) {
    return es_raft_state_save(r->db, &r->state, err);
}

uint64_t es_replica_last(const struct es_replica *r) {
    return r->tail.mark.index;
}

uint64_t es_replica_committed(const struct es_replica *r) {
    return r->committed;
}

/* ---- writing ---- */

/* The tail is where the next frame goes, in a segment that exists. */
static int open_segment(struct es_replica *r, struct esdb_error *err) {
    if (!r->tail.rolled)
        return es_active_open(r->db, r->tail.mark.segment, err);
    int rc = es_lock_sync(r->db, err);
    if (rc < 0)
        return rc;
    rc = es_next_segment(r->db, &r->tail, err);
    es_unlock_sync(r->db);
    return rc;
}

int es_replica_reserve(struct es_replica *r, size_t len, struct esdb_error *err) {
    int rc = open_segment(r, err);
    if (rc == 0)
        rc = es_active_allocate(r->db, r->tail.mark.end_offset + len);
    return rc < 0 ? es_write_failed(r->db, "allocating space for the log", rc, err) : 0;
}

int es_replica_prepare(struct es_replica *r, esdb_batch *b, unsigned flags, uint64_t term, const unsigned char **frame,
                       size_t *len, struct esdb_receipt *receipt, struct esdb_error *err) {
    struct fmt_frame f;
    r->prepared = NULL;
    int rc = r->tail.rolled ? open_segment(r, err) : 0;
    if (rc == 0)
        rc = es_prepare_frame(r->db, b, flags, &r->tail, term, &f, receipt, err);
    if (rc != 0)
        return rc;
    fmt_frame_encode(&f, b->frame.at);
    r->prepared = b;
    r->prepared_index = f.index;
    *frame = b->frame.at;
    *len = b->frame.len;
    return 0;
}

/* Streams whose life it tells must be looked for from now on. */
static void tell_life(struct es_replica *r, const struct fmt_frame *f, const unsigned char *frame) {
    struct fmt_event e;
    size_t at = f->header_len;
    for (uint32_t i = 0; i < f->count; i++) {
        if (fmt_event_decode(frame + at, f->frame_len - at, &e) != NULL)
            return;
        if (e.stream_id.len > 6 && memcmp(e.stream_id.at, "$meta:", 6) == 0) {
            es_head_set_life(r->db, f->first_position + f->count);
            return;
        }
        at += e.event_len;
    }
}

/* Bytes 96 .. 112 of a frame are about this disk. */
static void set_local(const struct es_replica *r, const struct fmt_frame *f, unsigned char *frame) {
    uint64_t synced = es_known_synced(r->db);
    fmt_put64(frame + 96, synced);
    fmt_put64(frame + 104, fmt_fold(f->checksum, synced));
}

int es_replica_append(struct es_replica *r, const unsigned char *frame, size_t len, struct esdb_error *err) {
    struct es_tail *t = &r->tail;
    struct fmt_frame f;
    esdb_batch *b = r->prepared && r->prepared->frame.at == frame ? r->prepared : NULL;
    unsigned char *copy;
    const char *wrong = fmt_frame_decode(frame, len, &f);
    if (!wrong && f.frame_len != len)
        wrong = "frame has another length";
    if (!wrong &&
        (f.index != t->mark.index + 1 || f.prev_checksum != t->mark.checksum ||
         f.first_position != t->mark.end_position || f.last_epoch_us < t->mark.last_epoch_us || f.term < t->term))
        wrong = "frame does not continue the log";
    if (wrong)
        return es_fail(err, ESDB_ECORRUPT, "%s: frame %llu: %s", r->db->path, (unsigned long long)t->mark.index + 1,
                       wrong);
    int rc = es_replica_reserve(r, len, err);
    if (rc < 0)
        return rc;
    if (f.kind == FMT_FRAME_EVENTS && !b)
        tell_life(r, &f, frame);
    else if (b && b->tells_life)
        es_head_set_life(r->db, f.first_position + f.count);
    copy = b ? b->frame.at : malloc(len);
    if (!copy)
        return es_fail(err, -ENOMEM, "%s", r->db->path);
    if (!b)
        memcpy(copy, frame, len);
    set_local(r, &f, copy);
    rc = es_write_frame(r->db, copy, &f, b, t, err);
    if (!b)
        free(copy);
    r->prepared = NULL;
    if (rc == 0)
        es_replica_remember(r, f.kind);
    return rc;
}

int es_replica_append_made(struct es_replica *r, uint8_t kind, uint8_t flags, uint64_t term,
                           const unsigned char *payload, size_t len, struct esdb_error *err) {
    const struct fmt_mark *m = &r->tail.mark;
    struct fmt_frame f = {.kind = kind,
                          .flags = flags,
                          .frame_len = (uint32_t)(FMT_FRAME_HEADER_SIZE + len),
                          .index = m->index + 1,
                          .term = term,
                          .first_position = m->end_position,
                          .committed_index = r->committed,
                          .incarnation = r->db->settings.incarnation,
                          .clock_us = es_clock_us(),
                          .last_epoch_us = m->last_epoch_us,
                          .prev_checksum = m->checksum,
                          .payload_checksum = fmt_checksum(payload, len)};
    unsigned char *frame = malloc(f.frame_len);
    if (!frame)
        return es_fail(err, -ENOMEM, "%s", r->db->path);
    if (len)
        memcpy(frame + FMT_FRAME_HEADER_SIZE, payload, len);
    fmt_frame_encode(&f, frame);
    int rc = es_replica_append(r, frame, f.frame_len, err);
    free(frame);
    return rc;
}

/* ---- cutting ---- */

/* The segments after the one that is kept, the newest first, so that the log has no gap if this ends halfway. */
static int remove_segments(struct es_replica *r, uint64_t after, struct esdb_error *err) {
    uint64_t *names;
    size_t count;
    int rc = es_segment_list(r->db, &names, &count, err);
    if (rc < 0)
        return rc;
    bool some = count > 0 && names[count - 1] > after;
    if (some) {
        es_active_close(r->db);
        es_live_close(r->db);
    }
    for (; rc == 0 && count > 0 && names[count - 1] > after; count--) {
        char name[ES_NAME_SIZE];
        es_segment_name(names[count - 1], ES_NAME_INDEX, name);
        es_unlinkat(r->db->log, name);
        es_live_discard(r->db, names[count - 1]);
        es_segment_name(names[count - 1], ES_NAME_LOG, name);
        rc = es_unlinkat(r->db->log, name);
    }
    free(names);
    if (rc == 0 && some)
        rc = es_fsync(r->db->log);
    return rc < 0 ? es_write_failed(r->db, "removing uncommitted segments", rc, err) : 0;
}

/* Append and sync lock held. The end is durable, in zeros, before anything is written behind it. */
static int cut_to(struct es_replica *r, const struct fmt_mark *m, struct esdb_error *err) {
    esdb *db = r->db;
    int rc = es_head_lower(db, m); /* first: an old head must not prove what is being removed */
    if (rc < 0)
        return es_write_failed(db, "syncing head", rc, err);
    rc = remove_segments(r, m->segment, err);
    if (rc == 0)
        rc = es_active_open(db, m->segment, err);
    if (rc < 0)
        return rc;
    rc = es_ftruncate(db->active.fd, m->end_offset);
    db->active.allocated = m->end_offset;
    if (rc == 0)
        rc = es_active_allocate(db, m->end_offset + 1);
    if (rc == -ENOSPC || rc == -EDQUOT)
        rc = 0; /* nothing is behind the end */
    if (rc == 0)
        rc = es_fdatasync(db->active.fd);
    if (rc < 0)
        return es_poison(db, "cutting what was not committed", rc, err);
    char name[ES_NAME_SIZE];
    es_segment_name(m->segment, ES_NAME_INDEX, name);
    es_unlinkat(db->log, name);
    es_live_discard(db, m->segment);
    return es_head_renew(db, m, r->committed, false, err);
}

/* What this handle remembers of frames that are gone. */
static void forget(struct es_replica *r) {
    esdb *db = r->db;
    r->reading.segment = NULL;
    r->prepared = NULL;
    es_known_release(db);
    es_live_close(db);
    es_segments_close(db);
    es_directory_close(db->directory);
    db->directory = NULL;
    db->directory_until = 0;
    db->checked_index = 0;
}

int es_replica_cut(struct es_replica *r, uint64_t index, struct esdb_error *err) {
    struct es_replica_frame keep, committed;
    if (index <= r->committed || index > r->tail.mark.index)
        return es_fail(err, ESDB_ECORRUPT, "%s: frame %llu is to be cut, %llu are committed, %llu are there",
                       r->db->path, (unsigned long long)index, (unsigned long long)r->committed,
                       (unsigned long long)r->tail.mark.index);
    if (index == 1) { /* nothing remains */
        struct es_segment *seg;
        int rc = es_segment_get(r->db, 1, &seg, err);
        if (rc < 0)
            return rc;
        memset(&keep, 0, sizeof keep);
        keep.mark = es_mark_after(seg, 0);
    } else if (!es_replica_look(r, index - 1, &keep))
        return es_fail(err, ESDB_ECORRUPT, "%s: frame %llu is not there", r->db->path, (unsigned long long)index - 1);
    bool has_committed = r->committed > 0 && es_replica_look(r, r->committed, &committed);
    r->state.cut = index; /* half of a cut looks like damage: old frames prove others that are gone */
    int rc = es_replica_save(r, err);
    if (rc == 0)
        rc = es_lock_sync(r->db, err);
    if (rc < 0)
        return rc;
    forget(r);
    r->cuts++;
    rc = cut_to(r, &keep.mark, err);
    if (rc == 0 && has_committed)
        es_publish_committed(r->db, &committed.mark);
    es_unlock_sync(r->db);
    if (rc < 0)
        return rc;
    r->tail = (struct es_tail){.mark = keep.mark, .term = keep.term, .rolled = keep.rolls};
    if (r->ring_first > r->tail.mark.index)
        r->ring_first = 0;
    r->state.cut = 0;
    return es_replica_save(r, err);
}

/* ---- publishing ---- */

int es_replica_index(struct es_replica *r, struct esdb_error *err) {
    return r->tail.rolled ? 0 : es_live_prepare(r->db, &r->tail, 0, 0, false, err);
}

int es_replica_publish(struct es_replica *r, uint64_t committed, struct esdb_error *err) {
    struct es_replica_frame f;
    if (committed <= r->committed)
        return 0;
    if (!es_replica_look(r, committed, &f))
        return es_fail(err, ESDB_ECORRUPT, "%s: committed frame %llu is not there", r->db->path,
                       (unsigned long long)committed);
    r->committed = r->state.committed = committed;
    es_publish_committed(r->db, &f.mark);
    es_head_wake(r->db);
    return 0;
}

/* ---- reading ---- */

int es_replica_read(struct es_replica *r, uint64_t first, uint32_t count, size_t bytes_max, struct es_buffer *out,
                    uint32_t *got, struct esdb_error *err) {
    uint32_t n = 0;
    size_t begin = out->len;
    for (uint64_t index = first; n < count && index <= r->tail.mark.index; index++, n++) {
        struct es_replica_frame f;
        struct es_segment *seg;
        if (!es_replica_look(r, index, &f))
            return es_fail(err, ESDB_ECORRUPT, "%s: frame %llu is not there", r->db->path, (unsigned long long)index);
        size_t len = (size_t)(f.mark.end_offset - f.mark.frame_offset);
        if (n > 0 && out->len - begin + len > bytes_max)
            break;
        int rc = es_segment_get(r->db, f.mark.segment, &seg, err);
        if (rc == 0 && seg->size < f.mark.end_offset)
            rc = es_segment_grow(r->db, seg, err);
        if (rc == 0 && seg->size < f.mark.end_offset)
            rc = ESDB_ECORRUPT;
        if (rc == 0)
            rc = check_frame(r, seg, &f.mark, len, err);
        if (rc == 0)
            rc = es_buffer_add(out, seg->map + f.mark.frame_offset, len);
        if (rc < 0)
            return es_fail(err, rc, "%s: reading frame %llu", r->db->path, (unsigned long long)index);
    }
    *got = n;
    return 0;
}
