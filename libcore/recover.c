#include "recover.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commit.h"
#include "format/bytes.h"
#include "live.h"
#include "lock.h"
#include "os.h"
#include "segment.h"
#include "shared_head.h"

#define READER_PATIENCE_MS 100 /* a reader never waits long for writers, one of which may be stopped */

/* ---- poison ---- */

struct poison_text {
    const char *what;
    int code;
};

static int fill_poison(void *context, int fd) {
    const struct poison_text *p = context;
    char text[512];
    int n = snprintf(text, sizeof text, "%s: %s (at %llu us since 1970)\n", p->what, strerror(-p->code),
                     (unsigned long long)es_clock_us());
    return es_pwrite(fd, text, (size_t)n, 0);
}

int es_poison(esdb *db, const char *what, int code, struct esdb_error *err) {
    struct poison_text p = {what, code};
    struct stat st;
    if (db->head) /* first: whoever dies from here on has told it */
        es_word_set(&db->head->poisoned, 1);
    if (es_fstatat(db->dir, "poison", &st) == -ENOENT)
        es_create_durably(db, db->dir, "poison", fill_poison, &p); /* on a dying disk even that may fail */
    es_head_wake(db);
    return es_fail(err, ESDB_EPOISONED, "%s: I/O error: %s: %s; appends are refused until esdb-verify --repair",
                   db->path, what, strerror(-code));
}

int es_write_failed(esdb *db, const char *what, int code, struct esdb_error *err) {
    static const int harmless[] = {ENOSPC, EDQUOT, EFBIG, EMFILE, ENFILE, ENOMEM, EACCES, EPERM, EROFS};
    bool lost = true; /* the disk may hold something else than was written */
    for (size_t i = 0; i < sizeof harmless / sizeof *harmless; i++)
        lost = lost && code != -harmless[i];
    if (!lost)
        return es_fail(err, code, "%s: %s; this frame was not written", db->path, what);
    return es_poison(db, what, code, err);
}

int es_check_poison(esdb *db, struct esdb_error *err) {
    int fd = es_openat(db->dir, "poison", O_RDONLY, 0);
    if (fd == -ENOENT && es_head_valid(db) && es_head_poisoned(db)) /* not even the file could be written */
        return es_fail(err, ESDB_EPOISONED,
                       "%s: poisoned by an I/O error; appends are refused until esdb-verify --repair", db->path);
    if (fd == -ENOENT)
        return 0;
    char text[256] = "unreadable";
    if (fd >= 0) {
        ssize_t n = es_pread(fd, text, sizeof text - 1, 0);
        text[n > 0 ? n : 0] = '\0';
        text[strcspn(text, "\n")] = '\0';
        es_close(&fd);
    }
    return es_fail_at(err, ESDB_EPOISONED, "poison", 0,
                      "%s: poisoned by an I/O error: %s; appends are refused until esdb-verify --repair", db->path,
                      text);
}

/* ---- walking the active segment ---- */

/* The end of the last segment as its bytes tell it. */
struct scan {
    struct fmt_mark end;  /* after the last frame of the unbroken chain */
    uint64_t proof;       /* newest frame that the log's own frames prove synced */
    struct fmt_mark last; /* newest whole frame at all: beyond damage when there is damage */
    const char *fault;    /* of the frame after `end`; NULL: a clean end */
    bool newer;           /* that frame is not damaged, but of a newer format */
    uint64_t fault_offset;
};

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
static void look_beyond(struct scan *s, const struct fmt_walk *w, uint64_t segment, uint64_t incarnation) {
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

static void scan_segment(const struct es_segment *seg, uint64_t incarnation, struct scan *s) {
    struct fmt_walk w;
    fmt_walk_init(&w, &seg->header, seg->map, (size_t)seg->size);
    *s = (struct scan){.end = mark_of(&w, seg->name, 0)};
    struct fmt_frame f;
    int rc;
    while ((rc = fmt_walk_peek(&w, &f)) == FMT_OK && (rc = fmt_walk_check(&w, &f)) == FMT_OK) {
        size_t at = w.offset;
        fmt_walk_pass(&w, &f);
        s->end = mark_of(&w, seg->name, at);
        if (f.synced_index > s->proof)
            s->proof = f.synced_index;
    }
    s->last = s->end;
    if (rc == FMT_BAD) {
        s->fault = w.fault;
        s->newer = w.newer;
        s->fault_offset = w.fault_offset;
    }
    look_beyond(s, &w, seg->name, incarnation);
}

void es_examine_tail(const esdb *db, const struct es_segment *seg, uint64_t *end_index, uint64_t *proof) {
    struct scan s;
    uint64_t by_head = es_head_proof(db);
    scan_segment(seg, db->settings.incarnation, &s);
    *end_index = s.end.index;
    *proof = db->settings.user.durability == ESDB_NOT_DURABLE ? 0 : by_head > s.proof ? by_head : s.proof;
}

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

/* What this version must understand and does not is never cut. */
static int fail_newer(const esdb *db, uint64_t segment, uint64_t offset, const char *what, struct esdb_error *err) {
    char path[ES_NAME_SIZE];
    es_segment_path(segment, ES_NAME_LOG, path);
    return es_fail_at(err, ESDB_EUSAGE, path, offset, "%s/%s, offset %llu: %s", db->path, path,
                      (unsigned long long)offset, what);
}

static int fail_corrupt(const esdb *db, const struct scan *s, uint64_t proof, struct esdb_error *err) {
    char path[ES_NAME_SIZE];
    es_segment_path(s->end.segment, ES_NAME_LOG, path);
    uint64_t at = s->fault ? s->fault_offset : s->end.end_offset;
    return es_fail_at(err, ESDB_ECORRUPT, path, at,
                      "%s/%s, offset %llu: %s; frames up to %llu were durable, only those up to %llu are whole",
                      db->path, path, (unsigned long long)at, s->fault ? s->fault : "the log ends too early",
                      (unsigned long long)proof, (unsigned long long)s->end.index);
}

/* ---- rebuilding ---- */

/* Zeroes whatever is not zero from `from` to the end of the active segment's file. */
static int zero_rest(esdb *db, uint64_t from) {
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

/* The mark after frame `index` of the scanned segment; frame_offset 0 when that is its beginning. */
static struct fmt_mark mark_after(const struct es_segment *seg, uint64_t index) {
    struct fmt_walk w;
    struct fmt_frame f;
    size_t at = 0;
    fmt_walk_init(&w, &seg->header, seg->map, (size_t)seg->size);
    while (w.index <= index && fmt_walk_peek(&w, &f) == FMT_OK) {
        at = w.offset;
        fmt_walk_pass(&w, &f);
    }
    return mark_of(&w, seg->name, at);
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

/* Sync lock held too; the scan found no damage. */
static int rebuild_from(esdb *db, const struct es_segment *seg, const struct scan *s, bool poisoned,
                        struct esdb_error *err) {
    es_head_invalidate(db);
    int rc = es_active_open(db, seg->name, err);
    if (rc < 0)
        return rc;
    rc = zero_rest(db, s->end.end_offset);
    if (rc < 0)
        return es_write_failed(db, "zeroing an unfinished append", rc, err);
    uint64_t proven = s->proof < s->end.index ? s->proof : s->end.index;
    struct fmt_mark from = mark_after(seg, proven);
    rc = es_rewrite(db, &from, s->end.index, err);
    if (rc < 0) /* a bad frame: nothing is published, head stays invalid (model: OLD_REBUILDPOISON) */
        return rc;
    if (db->settings.user.durability == ESDB_DURABLE) {
        rc = es_fdatasync(db->active.fd);
        if (rc < 0)
            return es_poison(db, "syncing the log", rc, err);
    }
    if (s->end.frame_offset == 0 && (rc = es_fsync(db->log)) < 0) /* its creator may have died before this */
        return es_write_failed(db, "syncing the log's directory", rc, err);
    es_live_discard(db, seg->name);
    return es_head_renew(db, &s->end, poisoned, err);
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
    struct scan s;
    int rc = last_segment(db, &name, err);
    if (rc == 0)
        rc = es_segment_get(db, name, &seg, err);
    if (rc == 0)
        rc = es_segment_grow(db, seg, err);
    if (rc == 0) {
        uint64_t end, proof;
        scan_segment(seg, db->settings.incarnation, &s);
        es_examine_tail(db, seg, &end, &proof);
        if (db->settings.user.durability == ESDB_NOT_DURABLE)
            s.proof = 0;
        if (s.newer)
            return fail_newer(db, name, s.fault_offset, s.fault, err);
        rc = proof > s.end.index ? fail_corrupt(db, &s, proof, err) : rebuild_from(db, seg, &s, poisoned, err);
    }
    return rc;
}

/* ---- the tail, for an appender ---- */

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
        return fail_newer(db, m->segment, m->end_offset, wrong, err);
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
        return fail_newer(db, m->segment, m->end_offset + bad, wrong, err);
    if (wrong)
        return 1;
    *m = (struct fmt_mark){.index = f.index,
                           .segment = m->segment,
                           .frame_offset = m->end_offset,
                           .end_offset = m->end_offset + f.frame_len,
                           .end_position = f.first_position + f.count,
                           .last_epoch_us = f.last_epoch_us,
                           .checksum = f.checksum};
    t->rolled = f.flags & FMT_FRAME_ROLLS;
    t->term = f.term;
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
    struct scan s;
    int rc = es_segment_get(db, m->segment, &seg, err);
    if (rc == 0)
        rc = es_segment_grow(db, seg, err);
    if (rc < 0)
        return rc;
    scan_segment(seg, db->settings.incarnation, &s);
    bool durable = db->settings.user.durability == ESDB_DURABLE;
    return durable && s.proof > m->index ? fail_corrupt(db, &s, s.proof, err) : 0;
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
    if (dirty && (rc = zero_rest(db, t.mark.end_offset)) < 0)
        return es_write_failed(db, "zeroing an unfinished append", rc, err);
    if (t.mark.index != had) {
        es_head_forget_life(db); /* of a head that is older than these frames */
        es_publish_appended(db, &t.mark);
    }
    *tail = t;
    return 0;
}

/* ---- for readers ---- */

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
    struct fmt_mark m = mark_after(seg, index);
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
    if (es_segment_get(db, v->segment, &seg, NULL) < 0)
        return false;
    while (es_pread(seg->fd, header, sizeof header, at) == (ssize_t)sizeof header &&
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
        if (es_mark_find(db->head->synced_mark, committed, &m)) {
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
    bool on_disk = es_head_of_other_boot(db) || es_fs_of(db->dir) == ES_FS_READ_ONLY;
    struct scan s;
    scan_segment(seg, db->settings.incarnation, &s);
    es_head_look_again(db); /* it may have become valid meanwhile */
    if (es_head_valid(db) && visible_by_head(db, out, err) == 0 && !head_is_old(db, out))
        return 0;
    bool damaged = s.proof > s.end.index || lost != 0; /* a segment behind proves this one */
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
        return fail_newer(db, v->segment, v->newer_offset, v->newer, err);
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
