#include "tail.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "format/bytes.h"
#include "os.h"
#include "poison.h"
#include "recover.h"
#include "shared_head.h"
#include "tail_scan.h"

int es_zero_rest(esdb *db, uint64_t from) {
    static const unsigned char zeros[64 << 10];
    unsigned char block[sizeof zeros];
    for (uint64_t at = from;; at += sizeof block) {
        ssize_t n = es_pread(db->active.fd, block, sizeof block, at);
        if (n <= 0)
            return (int)n;
        if (memcmp(block, zeros, (size_t)n) != 0) {
            int rc = es_pwrite(db->active.fd, zeros, (size_t)n, at);
            if (rc < 0)
                return rc;
        }
    }
}

void es_tail_pass(struct es_tail *t, const struct fmt_frame *f) {
    struct fmt_mark *m = &t->mark;
    *m = (struct fmt_mark){.index = f->index,
                           .segment = m->segment,
                           .frame_offset = m->end_offset,
                           .end_offset = m->end_offset + f->frame_len,
                           .end_position = f->first_position + f->count,
                           .last_epoch_us = f->last_epoch_us,
                           .checksum = f->checksum};
    t->rolled = f->flags & FMT_FRAME_ROLLS;
    t->term = f->term;
}

/* Bytes of the active segment around its tail: one read serves the last frame and what is behind it when that is small. */
struct window {
    uint64_t at;
    size_t len;
    unsigned char bytes[4096];
};

/* The bytes at offset, as many as there are up to `want`; -errno. */
static ssize_t look(esdb *db, struct window *w, uint64_t offset, size_t want, const unsigned char **out) {
    if (offset < w->at || !fmt_inside(offset - w->at, want, w->len)) {
        ssize_t n = es_pread(db->active.fd, w->bytes, sizeof w->bytes, offset);
        if (n < 0)
            return n;
        w->at = offset;
        w->len = (size_t)n;
    }
    *out = w->bytes + (offset - w->at);
    size_t have = w->len - (size_t)(offset - w->at);
    return (ssize_t)(have < want ? have : want);
}

/* Reads the frame that begins at the tail's end and, when it is whole and chains, moves the tail past it. 1: there is
 * none that does (*dirty tells whether the bytes there are anything but zeros). */
static int adopt_one(esdb *db, struct window *w, struct es_tail *t, bool *dirty, struct esdb_error *err) {
    const unsigned char *header;
    struct fmt_mark *m = &t->mark;
    ssize_t n = look(db, w, m->end_offset, FMT_FRAME_HEADER_SIZE, &header);
    if (n < 0)
        return es_fail(err, (int)n, "%s: reading the log", db->path);
    *dirty = !fmt_all_zero(header, (size_t)n);
    struct fmt_frame f;
    const char *wrong = *dirty ? fmt_frame_decode(header, (size_t)n, &f) : "none";
    if (wrong == fmt_newer_frame)
        return es_fail_newer(db, m->segment, m->end_offset, wrong, err);
    if (wrong || f.index != m->index + 1 || f.prev_checksum != m->checksum)
        return 1;
    unsigned char *bytes = malloc(f.frame_len);
    if (!bytes)
        return es_fail(err, -ENOMEM, "%s", db->path);
    size_t bad = 0;
    wrong = es_pread(db->active.fd, bytes, f.frame_len, m->end_offset) == (ssize_t)f.frame_len
                ? fmt_frame_decode(bytes, f.frame_len, &f)
                : "frame is cut short";
    if (!wrong)
        wrong = fmt_frame_check(&f, bytes, &bad);
    free(bytes);
    if (wrong == fmt_newer_event)
        return es_fail_newer(db, m->segment, m->end_offset + bad, wrong, err);
    if (wrong)
        return 1;
    es_tail_pass(t, &f);
    db->checked_index = f.index;
    return 0;
}

/* The last frame closed its segment: the next segment may be there already (its creator died, or head is old). 1: no. */
static int adopt_segment(esdb *db, struct es_tail *t, struct esdb_error *err) {
    char name[ES_NAME_SIZE], path[ES_NAME_SIZE];
    struct stat st;
    uint64_t next = t->mark.index + 1;
    es_segment_name(next, ES_NAME_LOG, name);
    if (!t->rolled || es_fstatat(db->log, name, &st) == -ENOENT)
        return 1;
    int rc = es_active_open(db, next, err);
    if (rc < 0)
        return rc;
    es_segment_path(next, ES_NAME_LOG, path);
    if (db->active.header.prev_checksum != t->mark.checksum)
        return es_fail_at(err, ESDB_ECORRUPT, path, 0, "%s/%s: does not continue the segment before", db->path, path);
    rc = es_fsync(db->log); /* whoever created it may have died before its name was durable */
    if (rc < 0)
        return es_write_failed(db, "syncing the log's directory", rc, err);
    t->mark.segment = next;
    t->mark.frame_offset = 0;
    t->mark.end_offset = db->active.header.header_len;
    t->rolled = false;
    return 0;
}

/* The frame that the next one will chain to must be whole: its header always, its events once a handle. */
static int check_tail(esdb *db, struct window *w, struct es_tail *t, struct esdb_error *err) {
    const struct fmt_mark *m = &t->mark;
    if (m->frame_offset == 0) {
        t->term = db->active.header.last_term;
        return 0;
    }
    const unsigned char *header;
    struct fmt_frame f;
    size_t bad;
    ssize_t n = look(db, w, m->frame_offset, FMT_FRAME_HEADER_SIZE, &header);
    bool whole = n == (ssize_t)FMT_FRAME_HEADER_SIZE && !fmt_frame_decode(header, (size_t)n, &f) &&
                 f.index == m->index && f.checksum == m->checksum && f.frame_len == m->end_offset - m->frame_offset;
    if (whole && db->checked_index != m->index && f.frame_len <= w->len)
        whole = !fmt_frame_check(&f, header, &bad); /* the window begins with it */
    else if (whole && db->checked_index != m->index) {
        unsigned char *bytes = malloc(f.frame_len);
        if (!bytes)
            return es_fail(err, -ENOMEM, "%s", db->path);
        whole = es_pread(db->active.fd, bytes, f.frame_len, m->frame_offset) == (ssize_t)f.frame_len &&
                !fmt_frame_check(&f, bytes, &bad);
        free(bytes);
    }
    if (!whole)
        return es_poison(db, "the last frame of the log is not whole any more", -EIO, err);
    t->rolled = f.flags & FMT_FRAME_ROLLS;
    t->term = f.term;
    db->checked_index = m->index;
    return 0;
}

static int load_mark(esdb *db, struct fmt_mark *m, struct esdb_error *err) {
    for (int tries = 0; tries < 2; tries++) {
        if (es_head_valid(db) && es_head_poisoned(db)) {
            return es_check_poison(db, err);
        }
        if (es_head_valid(db) && es_mark_find(db->head->appended_mark, es_head_appended(db), m))
            return 0;
        int rc = es_rebuild(db, err);
        if (rc < 0)
            return rc;
    }
    return es_fail(err, ESDB_EUNAVAILABLE, "%s/head: changes while it is rebuilt", db->path);
}

/* What lies behind the tail is about to be zeroed: nothing there may prove that it was durable. */
static int check_unproven(esdb *db, const struct fmt_mark *m, struct esdb_error *err) {
    struct es_segment *seg;
    struct es_tail_scan s;
    int rc = es_segment_get(db, m->segment, &seg, err);
    if (rc == 0)
        rc = es_segment_grow(db, seg, err);
    if (rc < 0)
        return rc;
    es_scan_tail(seg, db->settings.incarnation, &s);
    bool durable = db->settings.user.durability == ESDB_DURABLE;
    return durable && s.proof > m->index && es_limit_proof(db, s.proof) > m->index ? es_fail_lost(db, &s, s.proof, err)
                                                                                   : 0;
}

int es_tail_load(esdb *db, struct es_tail *tail, struct esdb_error *err) {
    struct es_tail t = {0};
    struct window w;
    w.at = w.len = 0;
    int rc = load_mark(db, &t.mark, err);
    if (rc == 0)
        rc = es_active_open(db, t.mark.segment, err);
    if (rc == 0)
        rc = check_tail(db, &w, &t, err);
    uint64_t had = t.mark.index;
    bool dirty = false;
    while (rc == 0) { /* frames, then segments, that dead writers left */
        while ((rc = adopt_one(db, &w, &t, &dirty, err)) == 0)
            ;
        if (rc == 1 && !dirty && (rc = adopt_segment(db, &t, err)) == 0)
            w.len = 0; /* another file */
    }
    if (rc < 0)
        return rc;
    if (dirty && (rc = check_unproven(db, &t.mark, err)) < 0)
        return rc;
    if (dirty && (rc = es_zero_rest(db, t.mark.end_offset)) < 0)
        return es_write_failed(db, "zeroing an unfinished append", rc, err);
    if (t.mark.index != had) {
        es_head_forget_life(db); /* of a head that is older than these frames */
        es_publish_appended(db, &t.mark);
    }
    *tail = t;
    return 0;
}
