#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "directory.h"
#include "format/bytes.h"
#include "format/checksum.h"
#include "format/life.h"
#include "index.h"
#include "live.h"
#include "lock.h"
#include "os.h"
#include "recover.h"
#include "shared_head.h"
#include "tail_scan.h"

#define PROGRESS_BYTES (16u << 20)
#define WRITER_MS 50 /* a writer that lives has finished its frame by then */

/* The last version seen of each stream, by the 64-bit hash of its name: enough to see a gap. */
struct versions {
    uint64_t *hash, *next; /* next version; 0: empty slot */
    size_t slots, used;    /* slots: a power of two */
};

struct check {
    esdb *db;
    const struct esdb_verify_options *o;
    struct esdb_verify_result r;
    struct versions versions;
    struct es_visible visible;
    uint64_t total, told;
    struct fmt_walk walk; /* over the segment at hand */
    struct es_segment *seg;
    uint64_t want_index, want_checksum; /* what the next segment must continue; 0: it is the first */
    uint64_t end, proof;                /* of the active segment: es_examine_tail */
    bool active;                        /* that is the one at hand */
    struct esdb_error *err;
    uint64_t incarnation; /* of the frame before; 0: there is none */
    bool holes;           /* retention has removed frames: versions may skip */
};

static int find(struct check *c, int kind, const char *file, uint64_t offset, const char *format, ...)
    __attribute__((format(printf, 5, 6)));
static int find(struct check *c, int kind, const char *file, uint64_t offset, const char *format, ...) {
    struct esdb_finding f = {.offset = offset};
    va_list args;
    f.kind = kind;
    c->r.damaged += kind == ESDB_FINDING_DAMAGE;
    c->r.torn += kind == ESDB_FINDING_TORN;
    c->r.derived += kind == ESDB_FINDING_DERIVED;
    snprintf(f.file, sizeof f.file, "%s", file);
    va_start(args, format);
    vsnprintf(f.text, sizeof f.text, format, args);
    va_end(args);
    return c->o->finding ? c->o->finding(c->o->context, &f) : 0;
}

static void progress(struct check *c, uint64_t done) {
    if (c->o->progress && done - c->told >= PROGRESS_BYTES) {
        c->told = done;
        c->o->progress(c->o->context, done, c->total);
    }
}

/* ---- versions ---- */

static int grow(struct versions *v) {
    struct versions bigger = {.slots = v->slots ? v->slots * 2 : 1024, .used = v->used};
    bigger.hash = calloc(bigger.slots, sizeof *bigger.hash);
    bigger.next = calloc(bigger.slots, sizeof *bigger.next);
    if (!bigger.hash || !bigger.next) {
        free(bigger.hash);
        free(bigger.next);
        return -ENOMEM;
    }
    for (size_t i = 0; i < v->slots; i++) {
        if (v->next[i] == 0)
            continue;
        size_t at = v->hash[i] & (bigger.slots - 1);
        while (bigger.next[at])
            at = (at + 1) & (bigger.slots - 1);
        bigger.hash[at] = v->hash[i];
        bigger.next[at] = v->next[i];
    }
    free(v->hash);
    free(v->next);
    *v = bigger;
    return 0;
}

/* The slot of a stream's next version; a new stream's is 0 and becomes used when it is set. */
static int slot_of(struct versions *v, uint64_t hash, uint64_t **out) {
    if (v->used * 2 >= v->slots && grow(v) < 0)
        return -ENOMEM;
    size_t at = hash & (v->slots - 1);
    while (v->next[at] && v->hash[at] != hash)
        at = (at + 1) & (v->slots - 1);
    v->used += v->next[at] == 0;
    v->hash[at] = hash;
    *out = &v->next[at];
    return 0;
}

/* ---- the log ---- */

/* A stream that was restored begins where the event says that is before it in the same frame. */
static int note_beginning(struct check *c, const struct fmt_event *e) {
    struct fmt_life l;
    uint64_t *next;
    if (e->stream_id.at[0] != '$' || !fmt_is_meta(e->stream_id) || !fmt_life_decode(e, &l) || l.truncated_before == 0)
        return 0;
    const char *name = e->stream_id.at + FMT_META_PREFIX_LEN;
    if (slot_of(&c->versions, fmt_checksum(name, e->stream_id.len - FMT_META_PREFIX_LEN), &next) < 0)
        return -ENOMEM;
    if (*next == 0)
        *next = l.truncated_before;
    return 0;
}

static int check_version(struct check *c, const char *path, uint64_t offset, const struct fmt_event *e) {
    uint64_t *next;
    if (slot_of(&c->versions, fmt_checksum(e->stream_id.at, e->stream_id.len), &next) < 0)
        return -ENOMEM;
    int rc = 0;
    bool gap = e->version > *next && (c->holes || c->r.damaged > 0); /* after damage, gaps are its consequence */
    if (e->version != *next && !gap)
        rc = find(c, ESDB_FINDING_DAMAGE, path, offset, "%.*s: version %llu where %llu should be",
                  (int)e->stream_id.len, e->stream_id.at, (unsigned long long)e->version, (unsigned long long)*next);
    *next = e->version + 1;
    return rc;
}

static int check_events(struct check *c, const char *path, const struct fmt_frame *f,
                        const struct fmt_frame_events *events, size_t frame_at) {
    size_t at = frame_at + events->at;
    uint64_t epoch_us = c->walk.last_epoch_us;
    int rc = 0;
    for (uint32_t i = 0; rc == 0 && i < f->count; i++) {
        struct fmt_event e;
        const char *wrong = fmt_event_decode(c->seg->map + at, frame_at + f->frame_len - at, &e);
        if (!wrong && !fmt_event_intact(c->seg->map + at, &e))
            wrong = "event checksum is wrong";
        if (wrong) {
            rc = find(c, ESDB_FINDING_DAMAGE, path, at, "position %llu: %s",
                      (unsigned long long)(f->first_position + fmt_frame_ordinal(events, i)), wrong);
            if (fmt_event_decode(c->seg->map + at, frame_at + f->frame_len - at, &e))
                break;
            at += e.event_len;
            continue;
        }
        if (e.epoch_us < epoch_us || e.epoch_us > f->last_epoch_us)
            rc = find(c, ESDB_FINDING_DAMAGE, path, at, "position %llu: time is out of order",
                      (unsigned long long)(f->first_position + fmt_frame_ordinal(events, i)));
        epoch_us = e.epoch_us;
        if (rc == 0)
            rc = check_version(c, path, at, &e);
        if (rc == 0)
            rc = note_beginning(c, &e);
        c->r.events++;
        at += e.event_len;
    }
    return rc;
}

static int fail_newer(struct check *c, const char *path) {
    return es_fail_at(c->err, ESDB_EUSAGE, path, c->walk.fault_offset, "%s/%s, offset %llu: %s", c->db->path, path,
                      (unsigned long long)c->walk.fault_offset, c->walk.fault);
}

/* Whatever follows the last whole frame of the active segment, when nothing proves that it was ever durable. */
static bool is_unfinished(const struct check *c) {
    return c->active && c->walk.index == c->end + 1 && c->proof <= c->end;
}

static int find_unfinished(struct check *c, const char *path) {
    uint64_t offset = c->walk.fault ? c->walk.fault_offset : c->walk.offset;
    c->walk.offset = c->walk.size;
    return find(c, ESDB_FINDING_TORN, path, offset, "an unfinished append: %s",
                c->walk.fault ? c->walk.fault : "bytes after the last frame");
}

/* Bytes that are no frame, or no frame that belongs here. */
static int check_bad(struct check *c, const char *path) {
    struct fmt_frame f;
    if (c->walk.newer)
        return fail_newer(c, path);
    if (is_unfinished(c))
        return find_unfinished(c, path);
    size_t at = fmt_walk_resync(&c->walk, c->walk.offset + 8, c->walk.index + 1, &f);
    int rc = find(c, ESDB_FINDING_DAMAGE, path, c->walk.fault_offset, "frame %llu: %s",
                  (unsigned long long)c->walk.index, c->walk.fault);
    c->walk.offset = at ? at : c->walk.size;
    if (at) {
        c->walk.index = f.index;
        c->walk.position = f.first_position;
        c->walk.prev_checksum = f.prev_checksum;
    }
    return rc;
}

static int check_frame(struct check *c, const char *path, const struct fmt_frame *f) {
    size_t at = c->walk.offset;
    int rc = 0;
    struct fmt_frame_events events = {.at = f->header_len};
    bool good = fmt_walk_check(&c->walk, f) == FMT_OK;
    if (!good && c->walk.newer)
        return fail_newer(c, path);
    if (!good && is_unfinished(c))
        return find_unfinished(c, path);
    if (fmt_frame_has_events(f) && fmt_frame_find_events(f, c->walk.base + at, &events))
        return check_bad(c, path);
    c->holes |= fmt_frame_is_hole(f) && (good || fmt_frame_has_events(f));
    if (!good && !fmt_frame_has_events(f))
        rc = find(c, ESDB_FINDING_DAMAGE, path, c->walk.fault_offset, "%s", c->walk.fault);
    uint64_t before = c->r.damaged;
    if (rc == 0)
        rc = check_events(c, path, f, &events, at);
    if (rc == 0 && !good && c->r.damaged == before) /* events are whole, their frame's checksum over them is not */
        rc = find(c, ESDB_FINDING_DAMAGE, path, at, "frame %llu: %s", (unsigned long long)f->index, c->walk.fault);
    if (rc == 0 && !f->synced_intact)
        rc = find(c, ESDB_FINDING_DAMAGE, path, at + 96, "frame %llu: checksum of synced_index is wrong",
                  (unsigned long long)f->index);
    if (rc == 0 && f->incarnation != c->db->settings.incarnation && f->incarnation != c->incarnation)
        rc =
            find(c, ESDB_FINDING_NOTE, path, at, "frame %llu: of an earlier incarnation", (unsigned long long)f->index);
    c->incarnation = f->incarnation; /* told once, where it begins */
    c->r.frames++;
    fmt_walk_pass(&c->walk, f);
    return rc;
}

/* Under a valid head the bytes behind its last frame belong to a writer that is at work, or was when it died: then they
 * stay. They are read, not mapped: a writer may close and trim the segment meanwhile. */
static bool is_left_over(const struct check *c) {
    unsigned char before[FMT_FRAME_HEADER_SIZE], after[sizeof before];
    if (c->seg->is_packed) /* nobody writes to it */
        return false;
    int fd = es_segment_descriptor(c->db, c->seg, NULL);
    ssize_t n = fd < 0 ? fd : es_pread(fd, before, sizeof before, c->walk.offset);
    if (n <= 0 || fmt_all_zero(before, (size_t)n))
        return false;
    es_sleep_ms(WRITER_MS);
    return es_pread(fd, after, sizeof after, c->walk.offset) == n && memcmp(before, after, (size_t)n) == 0 &&
           es_head_valid(c->db) && es_head_appended(c->db) == c->visible.index;
}

/* *more: there are frames behind all the same. */
static int check_end(struct check *c, const char *path, bool *more) {
    size_t from = c->walk.offset;
    bool clean = fmt_walk_rest_is_zero(&c->walk);
    uint64_t durable = c->proof > c->visible.index ? c->proof : c->visible.index;
    struct fmt_frame f;
    size_t behind = clean ? 0 : fmt_walk_resync(&c->walk, from + 8, c->walk.index + 1, &f);
    if (behind && !is_unfinished(c)) {
        int rc = find(c, ESDB_FINDING_DAMAGE, path, from, "frame %llu: zeros, with bytes behind them",
                      (unsigned long long)c->walk.index);
        c->walk.offset = behind;
        c->walk.index = f.index;
        c->walk.position = f.first_position;
        c->walk.prev_checksum = f.prev_checksum;
        *more = true;
        return rc;
    }
    if (c->active && c->walk.index <= durable)
        return find(c, ESDB_FINDING_DAMAGE, path, from, "the log ends with frame %llu; frame %llu was durable",
                    (unsigned long long)c->walk.index - 1, (unsigned long long)durable);
    if ((!clean && is_unfinished(c)) || (c->active && es_head_valid(c->db) && is_left_over(c)))
        return find_unfinished(c, path);
    return clean ? 0 : find(c, ESDB_FINDING_DAMAGE, path, from, "bytes after the last frame");
}

static int check_join(struct check *c, const char *path) {
    const struct fmt_segment *s = &c->seg->header;
    unsigned long long first = s->first_index, want = c->want_index;
    if (want == 0 && first == 1)
        return 0;
    if (want == 0 && c->r.damaged) /* a segment before could not be read: that was told */
        return find(c, ESDB_FINDING_NOTE, path, 0, "the log begins with frame %llu", first);
    if (want == 0)
        return find(c, ESDB_FINDING_DAMAGE, path, 0, "frames 1 to %llu are missing", first - 1);
    if (first != want)
        return find(c, ESDB_FINDING_DAMAGE, path, 0, "frames %llu to %llu are missing", want, first - 1);
    if (s->prev_checksum != c->want_checksum)
        return find(c, ESDB_FINDING_DAMAGE, path, 48, "does not continue the segment before");
    return 0;
}

/* Of a compressed segment: each block, and the table. Offsets are those in the file; what that means for frames is told by
 * the offsets that they have. */
static int check_blocks(struct check *c, const char *path) {
    const struct es_packed *p = &c->seg->packed;
    const struct fmt_segment *s = &p->header;
    struct es_block_memory *memory = es_block_memory_of(c->db);
    int rc = memory ? 0 : -ENOMEM;
    for (uint32_t i = 0; rc == 0 && i < fmt_packed_count(s); i++) {
        struct fmt_packed_block b = {0};
        uint64_t from = (uint64_t)i * s->block_size, to = from + s->block_size;
        const char *wrong = es_packed_check(p, memory, i);
        if (!wrong)
            continue;
        bool placed = fmt_packed_entry(s, p->map, p->map_len, i, &b) && b.offset >= s->header_len &&
                      fmt_inside(b.offset, b.stored_len, p->map_len);
        to = to < s->content_size ? to : s->content_size;
        rc = find(c, ESDB_FINDING_DAMAGE, path, placed ? b.offset : s->table_offset + i * FMT_PACKED_ENTRY_SIZE,
                  "compressed block %u, %u bytes: %s; offsets %llu to %llu of the segment are lost", i,
                  placed ? b.stored_len : 0, wrong, (unsigned long long)from, (unsigned long long)to - 1);
    }
    const char *wrong = fmt_packed_table_check(s, p->map, p->map_len);
    return rc == 0 && wrong ? find(c, ESDB_FINDING_DAMAGE, path, s->table_offset, "%s", wrong) : rc;
}

static int check_segment(struct check *c, uint64_t name) {
    struct esdb_error err = {0};
    char path[ES_NAME_SIZE];
    es_segment_path(name, ES_NAME_LOG, path);
    int rc = es_segment_get(c->db, name, &c->seg, &err);
    if (rc < 0 && rc != ESDB_ECORRUPT && rc != ESDB_EDENIED)
        return es_fail(c->err, rc, "%s", err.text);
    if (rc < 0) {
        c->want_index = 0;
        return find(c, ESDB_FINDING_DAMAGE, path, err.offset, "%s", err.text);
    }
    es_segment_grow(c->db, c->seg, NULL);
    if (c->active && es_head_valid(c->db)) { /* what lies beyond is being written */
        c->seg->size = c->visible.end_offset < c->seg->size ? c->visible.end_offset : c->seg->size;
        c->end = c->proof = c->visible.index;
    } else if (c->active)
        es_examine_tail(c->db, c->seg, &c->end, &c->proof);
    rc = check_join(c, path);
    if (rc == 0 && c->seg->is_packed)
        rc = check_blocks(c, path);
    es_segment_walk(c->seg, &c->walk);
    uint64_t base = c->r.bytes;
    while (rc == 0) {
        struct fmt_frame f;
        int step = fmt_walk_peek(&c->walk, &f);
        if (step == FMT_END) {
            bool more = false;
            rc = check_end(c, path, &more);
            if (!more)
                break;
            continue;
        }
        rc = step == FMT_OK ? check_frame(c, path, &f) : check_bad(c, path);
        progress(c, base + c->walk.offset);
    }
    c->r.bytes += c->seg->size;
    c->r.segments++;
    c->want_index = c->walk.index;
    c->want_checksum = c->walk.prev_checksum;
    return rc;
}

/* ---- derived files ---- */

/* The index of a sealed segment is what seal makes of the segment now, byte for byte. */
static int check_index(struct check *c, uint64_t name) {
    char file[ES_NAME_SIZE], path[ES_NAME_SIZE];
    struct es_table t = {0};
    struct es_buffer image = {0};
    struct es_segment *s;
    es_segment_name(name, ES_NAME_INDEX, file);
    es_segment_path(name, ES_NAME_INDEX, path);
    int rc = es_table_open(c->db->log, file, &t);
    if (rc == -ENOENT)
        return find(c, ESDB_FINDING_DERIVED, path, 0, "is missing (esdb-verify --rebuild makes it)");
    if (rc < 0 && rc != ESDB_ECORRUPT && rc != -EINVAL && rc != -ELOOP)
        return es_fail_at(c->err, rc, path, 0, "%s/%s", c->db->path, path);
    if (rc < 0)
        return find(c, ESDB_FINDING_DERIVED, path, 0, "is damaged (esdb-verify --rebuild makes it anew)");
    uint32_t bad = 0;
    const char *wrong = fmt_table_verify(&t.table, &bad);
    rc = es_segment_get(c->db, name, &s, c->err);
    if (rc == 0)
        rc = es_seal_segment(s, UINT64_MAX, &image, NULL);
    if (rc == 0 && !wrong && (image.len != t.table.size || memcmp(image.at, t.table.base, image.len) != 0))
        wrong = "does not agree with the log";
    rc = rc == 0 && wrong      ? find(c, ESDB_FINDING_DERIVED, path, (uint64_t)bad * FMT_BLOCK_SIZE,
                                      "%s (esdb-verify --rebuild makes it anew)", wrong)
         : rc == ESDB_ECORRUPT ? 0
                               : rc;
    es_buffer_release(&image);
    es_table_close(&t);
    return rc;
}

static int check_directory(struct check *c, uint64_t active) {
    struct es_directory *d;
    struct esdb_error err = {0};
    int rc = es_directory_fresh(c->db, active, &d, c->err);
    if (rc < 0)
        return rc;
    rc = es_directory_verify(d, &err);
    es_directory_close(d);
    if (rc == ESDB_ECORRUPT)
        return find(c, ESDB_FINDING_DERIVED, err.file[0] ? err.file : "tables", err.offset, "%s", err.text);
    if (rc < 0)
        es_fail(c->err, rc, "%s", err.text[0] ? err.text : c->db->path);
    return rc;
}

static int check_head(struct check *c) {
    enum esdb_head_state state = es_head_state(c->db);
    if (state == ESDB_HEAD_BAD)
        return find(c, ESDB_FINDING_DERIVED, "head", 0, "is damaged (the next append rebuilds it)");
    if (state == ESDB_HEAD_STALE)
        return find(c, ESDB_FINDING_NOTE, "head", 0, "is of another boot or place (the next append rebuilds it)");
    return 0;
}

static int run(struct check *c, struct esdb_error *err) {
    uint64_t *names;
    size_t count;
    int rc = es_visible(c->db, &c->visible, err);
    if (rc == 0)
        rc = es_segment_list(c->db, &names, &count, err);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < count; i++) {
        struct es_segment *seg;
        c->total += es_segment_open(c->db, names[i], &seg, NULL) == 0 ? seg->size : 0;
    }
    for (size_t i = 0; rc == 0 && i < count; i++) {
        c->active = i + 1 == count;
        rc = check_segment(c, names[i]);
    }
    for (size_t i = 0; rc == 0 && i + 1 < count; i++)
        rc = check_index(c, names[i]);
    if (rc == 0 && count > 0)
        rc = check_directory(c, names[count - 1]);
    if (rc == 0)
        rc = check_head(c);
    free(names);
    c->r.streams = c->versions.used;
    return rc;
}

int esdb_verify(esdb *db, const struct esdb_verify_options *o, struct esdb_verify_result *out, struct esdb_error *err) {
    struct check c = {.db = db, .o = o, .err = err};
    struct esdb_error poison = {0};
    int rc = run(&c, err);
    free(c.versions.hash);
    free(c.versions.next);
    if (rc == -ENOMEM)
        es_fail(err, rc, "%s", db->path);
    if (rc == 0 && es_check_poison(db, &poison) < 0)
        rc = find(&c, ESDB_FINDING_NOTE, "poison", 0, "%s", poison.text);
    if (rc != 0)
        return rc;
    *out = c.r;
    if (c.r.damaged)
        return es_fail(err, ESDB_ECORRUPT, "%s: %llu damaged places", db->path, (unsigned long long)c.r.damaged);
    return 0;
}
