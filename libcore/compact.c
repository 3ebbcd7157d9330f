#include "compact.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "directory.h"
#include "index.h"
#include "life.h"
#include "live.h"
#include "lock.h"
#include "os.h"
#include "point_read.h"
#include "rewrite.h"
#include "roll.h"
#include "subscription.h"
#include "superseded.h"
#include "thin.h"

#define ROLL_SIZE_MIN (64u << 10) /* a smaller active segment is not closed for truncated events, */
#define ROLL_SHARE 4u             /* nor one of which less than this part may go */

/* One compaction. */
struct compaction {
    esdb *db;
    struct es_visible visible;
    struct es_view active;
    struct es_life *life; /* owned */
    uint64_t rolled;      /* the segment that was closed for this: it changes; 0: none */
    bool unrolled;        /* there was no space to close the active segment */
    enum es_rewrite_form form;
    bool forgets; /* of closed streams, all that is left is their life, which goes now */
    struct es_superseded superseded;
    struct es_window window;
    struct esdb_compaction *out;
    struct esdb_error problem; /* the first that left a segment as it is */
};

/* ---- what goes ---- */

static struct esdb_text text(struct fmt_text t) {
    return (struct esdb_text){t.at, t.len};
}

/* Is there a later event of the stream? */
static int is_newest(struct compaction *c, struct esdb_text stream, uint64_t version, bool *out,
                     struct esdb_error *err) {
    uint64_t last = 0;
    int rc = es_stream_version(&c->active, stream, &last, err);
    *out = rc == ESDB_ENOTFOUND || last <= version;
    return rc == ESDB_ENOTFOUND ? 0 : rc;
}

/* System streams that are about one stream. Its life is forgotten last: until then it hides what is left. */
static bool is_about_closed(const struct compaction *c, struct fmt_text name) {
    static const struct fmt_text prefixes[] = {{"$snapshot:", 10}, {FMT_META_PREFIX, FMT_META_PREFIX_LEN}};
    for (size_t i = 0; i < 1u + c->forgets; i++) {
        struct fmt_text p = prefixes[i];
        struct es_stream_life life;
        if (name.len <= p.len || memcmp(name.at, p.at, p.len) != 0 || name.at[p.len] == '$')
            continue;
        es_life_find(c->life, (struct esdb_text){name.at + p.len, name.len - p.len}, &life);
        if (life.closed)
            return true;
    }
    return false;
}

/* Of the store's own streams, does what newer events say too. */
static int is_superseded(struct compaction *c, struct esdb_text stream, uint64_t version, bool *out,
                         struct esdb_error *err) {
    uint64_t before = 0;
    int rc = 0;
    if (stream.len > 0 && stream.at[0] == '$')
        rc = es_superseded_before(&c->superseded, c->db, stream, c->visible.end_position, &before, err);
    *out = version < before;
    return rc;
}

/* es_thinner.fate. Only what nothing can bring back goes: a deleted stream may be undeleted. */
static int fate(void *context, const struct fmt_event *e) {
    struct compaction *c = context;
    struct es_stream_life life;
    bool newest = false;
    es_life_find(c->life, text(e->stream_id), &life);
    if (life.closed || (e->stream_id.at[0] == '$' && is_about_closed(c, e->stream_id)))
        return ES_REMOVE;
    if (e->stream_id.at[0] == '$') {
        int failed = is_superseded(c, text(e->stream_id), e->version, &newest, &c->problem);
        return failed < 0 ? failed : newest ? ES_REMOVE : ES_KEEP;
    }
    if (e->version >= life.truncated_before)
        return es_life_erased(c->life, text(e->stream_id), e->version) ? ES_BLANK : ES_KEEP;
    int rc =
        e->version + 1 < life.truncated_before ? 0 : is_newest(c, text(e->stream_id), e->version, &newest, &c->problem);
    return rc < 0 ? rc : newest ? ES_BLANK : ES_REMOVE;
}

static int is_blank(struct compaction *c, struct es_view *v, const struct es_stream_slot *s, uint64_t version,
                    bool *out, struct esdb_error *err) {
    struct fmt_event e;
    struct es_event_place place;
    uint32_t nth = (uint32_t)(version - s->first_version);
    *out = false;
    if (es_index_posting(&v->seg->index.table, s->first_posting + nth, &place) != 0)
        return 0;
    int rc = es_view_read_at(v, place, &c->window, &e, err);
    *out = rc == 0 && e.flags & FMT_EVENT_ERASED;
    return rc == ESDB_ECORRUPT ? 0 : rc; /* rewriting tells */
}

/* Are there events that were erased, and not yet removed? */
static int erased_change(struct compaction *c, struct es_view *v, struct esdb_text name, const struct es_stream_slot *s,
                         bool *out, struct esdb_error *err) {
    size_t count;
    const struct es_version_range *r = es_life_ranges(c->life, name, &count);
    int rc = 0;
    for (size_t i = 0; rc == 0 && !*out && i < count; i++) {
        uint64_t from = r[i].from > s->first_version ? r[i].from : s->first_version;
        for (; rc == 0 && !*out && from <= r[i].to && from - s->first_version < s->count; from++) {
            bool blank;
            rc = is_blank(c, v, s, from, &blank, err);
            *out = !blank;
        }
    }
    return rc;
}

/* Would anything change in what a segment has of one stream? */
static int stream_changes(struct compaction *c, struct es_view *v, struct esdb_text name,
                          const struct es_stream_slot *s, bool *out, struct esdb_error *err) {
    struct es_stream_life life;
    bool newest = true, blank;
    es_life_find(c->life, name, &life);
    *out =
        life.closed || (name.len > 0 && name.at[0] == '$' && is_about_closed(c, (struct fmt_text){name.at, name.len}));
    int rc = *out ? 0 : is_superseded(c, name, s->first_version, out, err);
    if (rc < 0 || *out)
        return rc;
    if (s->first_version >= life.truncated_before)
        return erased_change(c, v, name, s, out, err);
    *out = s->count > 1;
    if (*out)
        return 0;
    rc = is_blank(c, v, s, s->first_version, &blank, err);
    if (rc == 0 && blank)
        rc = is_newest(c, name, s->first_version, &newest, err);
    *out = !blank || !newest;
    return rc;
}

/* Would anything change in a sealed segment? */
static int segment_changes(struct compaction *c, uint64_t name, bool *out, struct esdb_error *err) {
    struct es_view v;
    struct fmt_table_cursor at;
    int rc = es_view_open(c->db, name, UINT64_MAX, &v, err);
    *out = false;
    if (rc < 0)
        return rc;
    const struct fmt_table *t = &v.seg->index.table;
    const struct fmt_section *s = fmt_table_find(t, FMT_SECTION_STREAMS);
    int step = s && fmt_table_hold(t) == 0 ? fmt_table_seek(&at, t, s, (struct fmt_text){"", 0}) : -1;
    for (; rc == 0 && step == 0 && !*out; step = fmt_table_next(&at)) {
        struct es_stream_slot slot;
        if (es_stream_slot_decode(at.value, &slot) < 0)
            step = -1;
        else
            rc = stream_changes(c, &v, text(at.key), &slot, out, err);
        if (step < 0)
            break;
    }
    *out |= step < 0; /* the index is damaged: the segment itself tells */
    return rc;
}

/* What of one stream in the active segment is to go: *must, when an event was erased; *hidden counts truncated ones. */
static int active_stream(struct compaction *c, const struct es_life_entry *e, bool *must, uint64_t *hidden,
                         struct esdb_error *err) {
    struct esdb_text name = {(const char *)c->life->names.at + e->name_at, e->name_len};
    struct es_view_stream s;
    struct fmt_event first = {0};
    uint32_t ordinal;
    size_t ranges;
    int rc = es_view_stream(&c->active, name, &s, err);
    if (rc == 0)
        rc = es_view_ordinal(&c->active, &s, 0, &ordinal, err);
    if (rc == 0)
        rc = es_view_event(&c->active, ordinal, &first, err);
    if (rc < 0)
        return rc == ESDB_ENOTFOUND ? 0 : rc;
    if (first.version < e->truncated_before)
        *hidden += e->truncated_before - first.version < s.count ? e->truncated_before - first.version : s.count;
    const struct es_version_range *r = es_life_ranges(c->life, name, &ranges);
    for (size_t k = 0; k < ranges; k++)
        *must |= r[k].to >= first.version; /* all of them from its first on are here */
    return 0;
}

/* Is the active segment to be closed? For what was erased or closed it must be; for what was truncated when there is enough of
 * it, since each segment has a price. */
static int active_changes(struct compaction *c, bool *out, struct esdb_error *err) {
    uint64_t hidden = 0;
    int rc = 0;
    *out = false;
    for (size_t i = 0; rc == 0 && !*out && i < c->life->slots; i++) {
        const struct es_life_entry *e = &c->life->slot[i];
        const char *name = (const char *)c->life->names.at + e->name_at;
        if (e->name_len && e->first_version == UINT64_MAX && *name != '$')
            *out = true; /* its life at least is there, with its name */
        else if (e->name_len && (e->truncated_before > 0 || e->erased > 0))
            rc = active_stream(c, e, out, &hidden, err);
    }
    if (rc == 0 && !*out && c->visible.end_offset >= ROLL_SIZE_MIN)
        rc = es_superseded_count(&c->superseded, &c->active, c->visible.end_position, &hidden, err);
    *out |= c->visible.end_offset >= ROLL_SIZE_MIN && hidden > 0 && hidden >= c->active.events / ROLL_SHARE;
    return rc;
}

/* ---- one segment ---- */

static int rewrite(struct compaction *c, uint64_t name, bool nothing_new, struct esdb_error *err) {
    struct es_rewrite r = {.db = c->db,
                           .name = name,
                           .fate = fate,
                           .context = c,
                           .decision_index = c->visible.index,
                           .form = c->form,
                           .nothing_new = nothing_new};
    int rc = es_rewrite_segment(&r, err);
    if (rc < 0 || r.kept)
        return rc;
    es_window_release(&c->window); /* it may hold bytes of the old form */
    c->out->segments++;
    c->out->compressed += r.compressed;
    c->out->decompressed += r.decompressed;
    c->out->events += r.events;
    c->out->bytes_before += r.bytes_before;
    c->out->bytes += r.bytes;
    return 0;
}

/* Is a segment, of which nothing goes, to have another form? */
static int form_changes(struct compaction *c, uint64_t name, bool *out, struct esdb_error *err) {
    struct es_segment *seg;
    *out = false;
    if (c->form == ES_AS_IT_WAS || c->forgets)
        return 0;
    int rc = es_segment_open(c->db, name, &seg, err);
    *out = rc == 0 && seg->is_packed != (c->form == ES_COMPRESSED);
    return rc;
}

/* On a full disk the old index, which is of no use afterwards, makes room. */
static int rewrite_somehow(struct compaction *c, uint64_t name, bool nothing_new, struct esdb_error *err) {
    struct esdb_error why = {0};
    char index[ES_NAME_SIZE];
    int rc = rewrite(c, name, nothing_new, &why);
    if (rc == -ENOSPC) {
        es_segment_name(name, ES_NAME_INDEX, index);
        es_segment_drop(c->db, name);
        if (es_unlinkat(c->db->log, index) == 0) {
            why = (struct esdb_error){0};
            rc = rewrite(c, name, nothing_new, &why);
        }
    }
    if (rc < 0)
        *err = why;
    return rc;
}

/* ---- what is made from segments ---- */

/* The index of a segment, when it was made from an older form of it, or is missing. */
static int renew_index(struct compaction *c, uint64_t name, uint64_t *rewritten_us, struct esdb_error *err) {
    struct es_segment *seg;
    struct es_table t = {0};
    char file[ES_NAME_SIZE];
    es_segment_name(name, ES_NAME_INDEX, file);
    int rc = es_segment_open(c->db, name, &seg, err);
    if (rc < 0)
        return rc;
    *rewritten_us = seg->header.rewritten_us;
    bool good = es_table_open(c->db->log, file, &t) == 0 && t.table.header.log_rewritten_us == seg->header.rewritten_us;
    es_table_close(&t);
    if (good)
        return 0;
    rc = es_seal(c->db, name, err);
    if (rc < 0)
        es_unlinkat(c->db->log, file); /* it may name what is gone */
    es_segment_drop(c->db, name);      /* with its mapping */
    return rc;
}

struct tables {
    struct compaction *c;
    const uint64_t *names, *rewritten; /* of the sealed segments */
    size_t count;
    struct es_buffer stale; /* names, ES_TABLE_NAME_MAX bytes each */
};

static int note_stale(void *context, const char *name) {
    struct tables *ts = context;
    struct es_table t = {0};
    uint64_t first, last, newest = 0;
    char copy[ES_TABLE_NAME_MAX] = "";
    if (strlen(name) >= sizeof copy || strlen(name) < 17 || !es_index_parse(name, &first) ||
        !es_index_parse(name + 17, &last))
        return 0;
    for (size_t i = 0; i < ts->count; i++)
        if (ts->names[i] >= first && ts->names[i] <= last && ts->rewritten[i] > newest)
            newest = ts->rewritten[i];
    bool good = es_table_open(ts->c->db->tables, name, &t) == 0 && t.table.header.log_rewritten_us == newest;
    es_table_close(&t);
    memcpy(copy, name, strlen(name));
    return good ? 0 : es_buffer_add(&ts->stale, copy, sizeof copy);
}

static int renew_derived(struct compaction *c, const uint64_t *names, size_t count, struct esdb_error *err) {
    uint64_t *rewritten = calloc(count + 1, sizeof *rewritten);
    struct tables ts = {.c = c, .names = names, .rewritten = rewritten, .count = count};
    int rc = rewritten ? 0 : es_fail(err, -ENOMEM, "%s", c->db->path);
    for (size_t i = 0; rc == 0 && i < count; i++) {
        rc = renew_index(c, names[i], &rewritten[i], err);
        if (rc == ESDB_ECORRUPT || rc == -ENOSPC) /* told already; indexes can be made later */
            rc = 0;
    }
    if (rc == 0 && c->db->tables >= 0)
        rc = es_list_dir(c->db->tables, ".", note_stale, &ts);
    for (size_t at = 0; rc == 0 && at < ts.stale.len; at += ES_TABLE_NAME_MAX)
        rc = es_unlinkat(c->db->tables, (const char *)ts.stale.at + at);
    es_buffer_release(&ts.stale);
    free(rewritten);
    if (rc == 0)
        es_directory_tidy(c->db, c->visible.segment);
    return rc < 0 ? es_fail(err, rc, "%s: indexes of what was compacted", c->db->path) : 0;
}

bool es_make_room(esdb *db) {
    uint64_t *names;
    size_t count, removed = 0;
    if (es_lock_compaction(db, NULL) < 0)
        return false;
    if (es_segment_list(db, &names, &count, NULL) == 0) {
        for (size_t i = 0; i + 1 < count; i++) {
            char index[ES_NAME_SIZE];
            es_segment_name(names[i], ES_NAME_INDEX, index);
            es_segment_drop(db, names[i]);
            removed += es_unlinkat(db->log, index) == 0;
        }
        free(names);
    }
    es_unlock(db->lock, ES_LOCK_COMPACTION);
    return removed > 0;
}

/* ---- all of them ---- */

/* ".NAME.log.tmp" of a compaction that died: it may hold what is to be gone. */
static int remove_left_over(void *context, const char *name) {
    const struct compaction *c = context;
    uint64_t segment;
    if (strlen(name) == 25 && name[0] == '.' && strcmp(name + 17, ".log.tmp") == 0 &&
        es_index_parse(name + 1, &segment) && segment < c->visible.segment)
        es_unlinkat(c->db->log, name);
    return 0;
}

/* Sees what there is; the active segment is closed when something of it is to go. */
static int look(struct compaction *c, bool may_roll, struct esdb_error *err) {
    bool roll = false;
    int rc = es_visible(c->db, &c->visible, err);
    if (rc == 0)
        rc = es_view_open(c->db, c->visible.segment, c->visible.end_position, &c->active, err);
    es_life_close(c->life);
    c->life = NULL;
    if (rc == 0)
        rc = es_life_open(c->db, c->visible.end_position, &c->life, err);
    if (rc == 0 && c->life->damage.code != 0) /* what is hidden is not known for sure */
        rc = es_fail(err, c->life->damage.code, "%s", c->life->damage.text);
    if (rc == 0 && may_roll)
        rc = active_changes(c, &roll, err);
    if (rc < 0 || !roll)
        return rc;
    struct esdb_error why = {0};
    rc = es_roll_now(c->db, &why);
    if (rc == -ENOSPC) { /* what closed segments give back makes room for it */
        c->problem = why;
        c->unrolled = true;
        return 0;
    }
    if (rc < 0 && err && err->code == 0)
        *err = why;
    if (rc < 0)
        return rc;
    c->rolled = c->visible.segment;
    es_live_close(c->db);
    es_segment_drop(c->db, c->rolled); /* with its mapping, of which much was touched */
    return look(c, false, err);
}

/* Lack of space and damage keep one segment as it is; others go on, and give space back. */
static int note_problem(struct compaction *c, int rc, const struct esdb_error *why) {
    if (rc != -ENOSPC && rc != -EDQUOT && rc != ESDB_ECORRUPT)
        return rc;
    if (c->problem.code == 0)
        c->problem = *why;
    return 0;
}

static int each(struct compaction *c, const uint64_t *names, size_t count, struct esdb_error *err) {
    bool *done = calloc(count + 1, sizeof *done), progress = true;
    uint64_t damaged = 0, no_space;
    int rc = done ? 0 : es_fail(err, -ENOMEM, "%s", c->db->path);
    while (rc == 0 && progress) {
        progress = false;
        no_space = 0;
        for (size_t i = 0; rc == 0 && i < count; i++) {
            struct esdb_error why = {0};
            bool changes = false, other_form = false;
            if (done[i])
                continue;
            changes = names[i] == c->rolled && !c->forgets;
            if (!changes)
                rc = segment_changes(c, names[i], &changes, &why);
            if (rc == 0 && !changes)
                rc = form_changes(c, names[i], &other_form, &why);
            if (rc == 0 && (changes || other_form))
                rc = rewrite_somehow(c, names[i], !changes, &why);
            if (rc == 0 && (changes || other_form))
                es_segment_drop(c->db, names[i]);
            no_space += rc == -ENOSPC || rc == -EDQUOT;
            damaged += rc == ESDB_ECORRUPT;
            done[i] = rc == 0 || rc == ESDB_ECORRUPT;
            progress |= rc == 0 && (changes || other_form);
            rc = c->forgets ? rc : note_problem(c, rc, &why);
            if (rc < 0 && err && err->code == 0)
                *err = why;
        }
        progress = progress && no_space > 0;
        c->out->left = damaged + no_space;
    }
    free(done);
    return rc;
}

/* The names of streams that were closed and not forgotten yet, into the life's texts. */
static int closed_names(const struct compaction *c, struct es_buffer *out) {
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < c->life->slots; i++) {
        const struct es_life_entry *e = &c->life->slot[i];
        struct esdb_text name = {(const char *)c->life->names.at + e->name_at, e->name_len};
        if (e->name_len && e->first_version == UINT64_MAX && name.at[0] != '$')
            rc = es_buffer_add(out, &name, sizeof name);
    }
    return rc;
}

/* Once nothing is left of closed streams, their names go too: oldest segments first, so that the event that closed a stream
 * is the last of it. That the name is closed is noted before, without the name. */
static int forget_closed(struct compaction *c, const uint64_t *names, size_t count, struct esdb_error *err) {
    struct es_buffer closed = {0};
    int rc = c->out->left == 0 ? closed_names(c, &closed) : 0;
    if (rc == 0 && closed.len > 0) {
        rc = es_closed_note(c->db, (const struct esdb_text *)(const void *)closed.at,
                            closed.len / sizeof(struct esdb_text), err);
        c->forgets = true;
        c->out->forgotten = closed.len / sizeof(struct esdb_text);
        if (rc == 0)
            rc = each(c, names, count, err);
    }
    es_buffer_release(&closed);
    return rc < 0 ? es_fail(err, rc, "%s: names of closed streams", c->db->path) : 0;
}

static int compact(struct compaction *c, struct esdb_error *err) {
    uint64_t *names = NULL;
    size_t count = 0;
    int rc = look(c, true, err);
    if (rc == 0)
        rc = es_segment_list(c->db, &names, &count, err);
    while (rc == 0 && count > 0 && names[count - 1] >= c->visible.segment)
        count--;
    if (rc == 0)
        es_list_dir(c->db->dir, "log", remove_left_over, c);
    if (rc == 0)
        rc = each(c, names, count, err);
    if (rc == 0)
        rc = forget_closed(c, names, count, err);
    if (rc == 0)
        rc = renew_derived(c, names, count, err);
    free(names);
    if (rc == 0 && c->out->left > 0) {
        if (err && err->code == 0)
            *err = c->problem;
        rc = c->problem.code;
    }
    return rc;
}

/* Again, when the active segment could not be closed at first. */
static int compact_twice(struct compaction *c, struct esdb_error *err) {
    int rc = compact(c, err);
    if (rc == 0 && c->unrolled) {
        c->unrolled = false;
        rc = compact(c, err);
    }
    if (rc == 0 && c->unrolled)
        rc = es_fail(err, -ENOSPC, "%s: closing the active segment", c->db->path);
    return rc;
}

static int compact_store(esdb *db, enum es_rewrite_form form, struct esdb_compaction *out, struct esdb_error *err) {
    struct compaction c = {.db = db, .form = form, .out = out};
    *out = (struct esdb_compaction){0};
    if (!(db->flags & ESDB_APPEND))
        return es_fail(err, ESDB_EUSAGE, "%s: was not opened for appending", db->path);
    int rc = es_lock_compaction(db, err);
    if (rc < 0)
        return rc;
    es_subs_restate(db);
    rc = compact_twice(&c, err);
    es_unlock(db->lock, ES_LOCK_COMPACTION);
    es_life_close(c.life);
    es_superseded_release(&c.superseded);
    es_window_release(&c.window);
    return rc;
}

int esdb_compact(esdb *db, struct esdb_compaction *out, struct esdb_error *err) {
    return compact_store(db, ES_AS_IT_WAS, out, err);
}

int esdb_compress(esdb *db, struct esdb_compaction *out, struct esdb_error *err) {
    return compact_store(db, ES_COMPRESSED, out, err);
}

int esdb_decompress(esdb *db, struct esdb_compaction *out, struct esdb_error *err) {
    return compact_store(db, ES_PLAIN, out, err);
}
