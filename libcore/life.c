#include "life.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "format/checksum.h"
#include "lock.h"
#include "os.h"
#include "shared_head.h"
#include "stream_names.h"

/* ---- one stream ---- */

static void put(struct es_stream_life *out, const struct fmt_life *l) {
    out->deleted_before = l->deleted_before;
    out->truncated_before = l->truncated_before;
    out->closed = l->kind == FMT_LIFE_CLOSED;
    out->erased = l->erased;
    out->first_version = l->deleted_before > l->truncated_before ? l->deleted_before : l->truncated_before;
    if (out->closed)
        out->first_version = UINT64_MAX;
}

/* Looks in one segment for the newest event of a $meta: stream that tells, before end_position. out->meta_version is set
 * by the first event met at all. ESDB_ENOTFOUND: none here. */
static int newest_in(struct es_view *v, struct esdb_text meta, uint64_t end_position, struct es_stream_life *out,
                     struct esdb_error *err) {
    struct es_view_stream s;
    int rc = es_view_stream(v, meta, &s, err);
    for (uint64_t nth = rc == 0 ? s.count : 0; rc == 0 && nth-- > 0;) {
        uint32_t ordinal;
        struct fmt_event e;
        struct fmt_life l;
        rc = es_view_ordinal(v, &s, nth, &ordinal, err);
        if (rc < 0 || v->seg->header.first_position + ordinal >= end_position)
            continue;
        rc = es_view_event(v, ordinal, &e, err);
        if (rc == 0 && out->meta_version < 0)
            out->meta_version = (int64_t)e.version;
        if (rc == 0 && fmt_life_decode(&e, &l)) {
            put(out, &l);
            return 0;
        }
    }
    return rc < 0 ? rc : ESDB_ENOTFOUND;
}

/* The same in sealed segments, the newest first. */
static int newest_in_places(esdb *db, const struct es_place *place, size_t count, struct esdb_text meta,
                            uint64_t end_position, struct es_stream_life *out, struct esdb_error *err) {
    int rc = ESDB_ENOTFOUND;
    while (rc == ESDB_ENOTFOUND && count-- > 0) {
        struct es_view v;
        rc = es_view_open(db, place[count].segment, UINT64_MAX, &v, err);
        if (rc == 0)
            rc = v.seg->header.first_position < end_position ? newest_in(&v, meta, end_position, out, err)
                                                             : ESDB_ENOTFOUND;
    }
    return rc;
}

static struct esdb_text meta_name(struct esdb_text stream, char room[FMT_STREAM_NAME_MAX]) {
    memcpy(room, FMT_META_PREFIX, FMT_META_PREFIX_LEN);
    memcpy(room + FMT_META_PREFIX_LEN, stream.at, stream.len);
    return (struct esdb_text){room, FMT_META_PREFIX_LEN + stream.len};
}

static bool has_no_life(struct esdb_text stream) {
    return stream.len == 0 || stream.at[0] == '$' || stream.len > FMT_STREAM_ID_MAX;
}

/* The newest event that tells, wherever it is. ESDB_ENOTFOUND: there is none. */
static int newest_of(struct es_view *active, struct esdb_text meta, uint64_t end_position, struct es_stream_life *life,
                     struct esdb_error *err) {
    int rc = newest_in(active, meta, end_position, life, err);
    if (rc != ESDB_ENOTFOUND)
        return rc;
    struct es_directory *d;
    struct es_place *place = NULL;
    size_t count = 0;
    rc = es_directory_get(active->db, active->seg->name, &d, err);
    if (rc == 0)
        rc = es_directory_places(d, meta, &place, &count, err);
    if (rc == 0)
        rc = newest_in_places(active->db, place, count, meta, end_position, life, err);
    free(place);
    return rc;
}

int es_life_in_view(struct es_view *active, struct esdb_text stream, uint64_t end_position, struct es_stream_life *out,
                    struct esdb_error *err) {
    char room[FMT_STREAM_NAME_MAX], closed[FMT_CLOSED_LEN];
    struct es_stream_life life = {.meta_version = -1}, forgotten = life;
    if (has_no_life(stream)) {
        *out = life;
        return 0;
    }
    int rc = newest_of(active, meta_name(stream, room), end_position, &life, err);
    if (rc == ESDB_ENOTFOUND) { /* a closed one may have been forgotten but for that */
        size_t len = fmt_life_closed_name((struct fmt_text){stream.at, stream.len}, closed);
        rc = newest_of(active, (struct esdb_text){closed, len}, end_position, &forgotten, err);
        if (rc == 0) {
            forgotten.meta_version = -1;
            life = forgotten;
        }
    }
    if (rc == ESDB_ENOTFOUND) /* what a damaged segment held may be just this */
        rc = es_index_is_whole(active->db, err);
    if (rc == 0)
        *out = life;
    return rc;
}

/* What is visible, and where the events are to be looked for: before *end. 1: there is none. */
static int find_end(esdb *db, uint64_t end_position, struct es_visible *vis, uint64_t *end, struct esdb_error *err) {
    uint64_t life;
    int rc = es_visible(db, vis, err);
    if (rc < 0)
        return rc;
    *end = end_position < vis->end_position ? end_position : vis->end_position;
    if (es_head_life(db, vis->index, &life) && life < *end)
        *end = life;
    return *end == 0;
}

int es_life_of(esdb *db, struct esdb_text stream, uint64_t end_position, struct es_stream_life *out,
               struct esdb_error *err) {
    struct es_visible vis;
    struct es_view active;
    uint64_t end;
    int rc = has_no_life(stream) ? 1 : find_end(db, end_position, &vis, &end, err);
    if (rc == 1)
        *out = (struct es_stream_life){.meta_version = -1};
    if (rc != 0)
        return rc < 0 ? rc : 0;
    rc = es_view_open(db, vis.segment, vis.end_position, &active, err);
    return rc == 0 ? es_life_in_view(&active, stream, end, out, err) : rc;
}

/* ---- all streams ---- */

static const struct esdb_text prefix = {FMT_META_PREFIX, FMT_META_PREFIX_LEN};

static struct es_life_entry *probe(const struct es_life *l, uint64_t hash, struct esdb_text name) {
    size_t at = hash & (l->slots - 1);
    for (;; at = (at + 1) & (l->slots - 1)) {
        struct es_life_entry *e = &l->slot[at];
        if (!e->name_len ||
            (e->hash == hash && e->name_len == name.len && memcmp(l->names.at + e->name_at, name.at, name.len) == 0))
            return e;
    }
}

static const struct es_life_entry *find(const struct es_life *l, struct esdb_text stream) {
    static const struct es_life_entry none;
    if (l->count == 0 || has_no_life(stream))
        return &none;
    return probe(l, fmt_checksum(stream.at, stream.len), stream);
}

bool es_life_knows(const struct es_life *l, struct esdb_text name) {
    return l->count > 0 && probe(l, fmt_checksum(name.at, name.len), name)->name_len > 0;
}

uint64_t es_life_first(const struct es_life *l, struct esdb_text stream) {
    return find(l, stream)->first_version;
}

static bool in_ranges(const struct es_life *l, const struct es_life_entry *e, uint64_t version) {
    const struct es_version_range *r = (const struct es_version_range *)(const void *)l->erased.at + e->erased_at;
    size_t low = 0, high = e->erased;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (r[middle].to < version)
            low = middle + 1;
        else
            high = middle;
    }
    return low < e->erased && r[low].from <= version;
}

bool es_life_hides_it(const struct es_life *l, struct esdb_text stream, uint64_t version) {
    const struct es_life_entry *e = find(l, stream);
    return version < e->first_version || (e->erased > 0 && in_ranges(l, e, version));
}

bool es_life_erased(const struct es_life *l, struct esdb_text stream, uint64_t version) {
    const struct es_life_entry *e = find(l, stream);
    return e->erased > 0 && in_ranges(l, e, version);
}

const struct es_version_range *es_life_ranges(const struct es_life *l, struct esdb_text stream, size_t *count) {
    const struct es_life_entry *e = find(l, stream);
    *count = e->erased;
    return e->erased ? (const struct es_version_range *)(const void *)l->erased.at + e->erased_at : NULL;
}

void es_life_find(const struct es_life *l, struct esdb_text stream, struct es_stream_life *out) {
    const struct es_life_entry *e = find(l, stream);
    *out = (struct es_stream_life){.first_version = e->first_version,
                                   .deleted_before = e->deleted_before,
                                   .truncated_before = e->truncated_before,
                                   .closed = e->first_version == UINT64_MAX,
                                   .meta_version = e->name_len ? (int64_t)e->meta_version : -1};
}

static int grow(struct es_life *l) {
    struct es_life bigger = *l;
    bigger.slots = l->slots ? l->slots * 2 : 64;
    bigger.slot = calloc(bigger.slots, sizeof *bigger.slot);
    if (!bigger.slot)
        return -ENOMEM;
    for (size_t i = 0; i < l->slots; i++) {
        const struct es_life_entry *e = &l->slot[i];
        if (e->name_len)
            *probe(&bigger, e->hash, (struct esdb_text){(const char *)l->names.at + e->name_at, e->name_len}) = *e;
    }
    free(l->slot);
    *l = bigger;
    return 0;
}

/* The entry of a stream, made when there is none. NULL: no memory. */
static struct es_life_entry *entry_of(struct es_life *l, struct esdb_text stream) {
    if (l->count * 2 >= l->slots && grow(l) < 0)
        return NULL;
    uint64_t hash = fmt_checksum(stream.at, stream.len);
    struct es_life_entry *e = probe(l, hash, stream);
    if (e->name_len)
        return e;
    size_t name_at = l->names.len;
    if (name_at > UINT32_MAX || es_buffer_add(&l->names, stream.at, stream.len) < 0)
        return NULL;
    *e = (struct es_life_entry){.hash = hash, .name_at = (uint32_t)name_at, .name_len = (uint8_t)stream.len};
    l->count++;
    return e;
}

static int set(struct es_life *l, struct es_life_entry *e, const struct es_stream_life *life) {
    struct fmt_text erased = life->erased;
    struct es_version_range r;
    e->erased_at = (uint32_t)(l->erased.len / sizeof r);
    e->erased = 0;
    for (; erased.len > 0 && fmt_life_next_erased(&erased, &r.from, &r.to); e->erased++)
        if (es_buffer_add(&l->erased, &r, sizeof r) < 0)
            return -ENOMEM;
    e->first_version = life->first_version;
    e->deleted_before = life->deleted_before;
    e->truncated_before = life->truncated_before;
    e->meta_version = (uint64_t)life->meta_version;
    return 0;
}

int es_life_take(struct es_life *l, const struct fmt_event *e) {
    struct fmt_life life;
    if (!fmt_is_meta(e->stream_id) || !fmt_life_decode(e, &life))
        return 0;
    struct esdb_text stream = {e->stream_id.at + FMT_META_PREFIX_LEN, e->stream_id.len - FMT_META_PREFIX_LEN};
    if (has_no_life(stream))
        return 0;
    size_t count = l->count;
    struct es_life_entry *entry = entry_of(l, stream);
    if (!entry)
        return -ENOMEM;
    if (l->count == count && e->version <= entry->meta_version)
        return 0;
    struct es_stream_life now = {.meta_version = (int64_t)e->version};
    put(&now, &life);
    return set(l, entry, &now);
}

/* Keeps what one $meta: stream says. Damage leaves the stream as it is known. */
static int keep(struct es_life *l, struct esdb_text meta, int found, const struct es_stream_life *life,
                struct esdb_error *err) {
    if (found == ESDB_ECORRUPT || found == ESDB_ENOTFOUND)
        return 0;
    if (found < 0 && err && err->code == 0)
        *err = l->damage;
    if (found < 0)
        return found;
    struct esdb_text stream = {meta.at + FMT_META_PREFIX_LEN, meta.len - FMT_META_PREFIX_LEN};
    struct es_life_entry *e = entry_of(l, stream);
    if (!e || set(l, e, life) < 0)
        return es_fail(err, -ENOMEM, "life of streams");
    return 0;
}

static bool is_known(const struct es_life *l, struct esdb_text meta) {
    struct esdb_text stream = {meta.at + FMT_META_PREFIX_LEN, meta.len - FMT_META_PREFIX_LEN};
    return es_life_knows(l, stream);
}

/* Those with an event in that segment, unless a newer one tells about them. */
static int gather_view(struct es_life *l, struct es_view *v, uint64_t end, struct esdb_error *err) {
    struct es_buffer names = {0};
    int rc = end > v->seg->header.first_position ? es_view_names(v, prefix, &names, err) : 0;
    l->any |= names.len > 0;
    for (size_t at = 0; rc == 0 && at < names.len; at += 1 + names.at[at]) {
        struct esdb_text meta = {(const char *)names.at + at + 1, names.at[at]};
        struct es_stream_life life = {.meta_version = -1};
        if (meta.len > FMT_META_PREFIX_LEN && !is_known(l, meta))
            rc = keep(l, meta, newest_in(v, meta, end, &life, &l->damage), &life, err);
    }
    es_buffer_release(&names);
    return rc;
}

struct gather {
    esdb *db;
    struct es_life *life;
    uint64_t end;
    struct esdb_error *err;
};

static int gather_sealed(void *context, const struct es_directory_stream *s) {
    struct gather *g = context;
    struct es_stream_life life = {.meta_version = -1};
    if (s->stream_id.len == prefix.len)
        return 0;
    g->life->any = true;
    if (is_known(g->life, s->stream_id))
        return 0;
    int found = newest_in_places(g->db, s->places, s->place_count, s->stream_id, g->end, &life, &g->life->damage);
    return keep(g->life, s->stream_id, found, &life, g->err);
}

/* A reader has looked at everything: so that others need not, head is told, unless somebody is appending. */
static void tell_head(esdb *db, const struct es_life *l, const struct es_visible *vis) {
    uint64_t end;
    if (!es_writable(db) || es_head_life(db, vis->index, &end) || l->damage.code != 0 ||
        es_try_lock(db->lock, ES_LOCK_APPEND) != 0)
        return;
    if (es_head_valid(db) && es_head_appended(db) == vis->index)
        es_head_set_life(db, l->any ? vis->end_position : 0);
    es_unlock_append(db);
}

/* One segment after the other, the newest first: what is damaged takes nothing away from the others. */
static int gather_each(struct es_life *l, esdb *db, const struct es_visible *vis, uint64_t end,
                       struct esdb_error *err) {
    uint64_t *names;
    size_t count;
    int rc = es_segment_list(db, &names, &count, err);
    if (rc < 0)
        return rc;
    while (rc == 0 && count-- > 0) {
        struct es_view v;
        if (names[count] > vis->segment)
            continue;
        rc = es_view_open(db, names[count], names[count] == vis->segment ? vis->end_position : UINT64_MAX, &v,
                          &l->damage);
        if (rc == 0)
            rc = gather_view(l, &v, end, &l->damage);
        if (rc == ESDB_ECORRUPT)
            rc = 0;
    }
    free(names);
    if (rc < 0 && err->code == 0)
        *err = l->damage;
    return rc;
}

/* By the active segment and the directory. */
static int gather(struct es_life *l, esdb *db, const struct es_visible *vis, uint64_t end, struct esdb_error *err) {
    struct es_view active;
    struct gather g = {.db = db, .life = l, .end = end, .err = err};
    int rc = es_view_open(db, vis->segment, vis->end_position, &active, err);
    if (rc == 0)
        rc = gather_view(l, &active, end, err);
    return rc == 0 ? es_each_sealed_stream(db, vis->segment, prefix, gather_sealed, &g, err) : rc;
}

int es_life_open(esdb *db, uint64_t end_position, struct es_life **out, struct esdb_error *err) {
    struct es_visible vis;
    uint64_t end = 0;
    struct esdb_error why = {0};
    struct es_life *l = calloc(1, sizeof *l);
    if (!l)
        return es_fail(err, -ENOMEM, "%s", db->path);
    int rc = find_end(db, end_position, &vis, &end, &why);
    if (rc == 0)
        rc = gather(l, db, &vis, end, &why);
    if (rc == ESDB_ECORRUPT) { /* whoever reads comes upon it too */
        if (l->damage.code == 0)
            l->damage = why;
        why = (struct esdb_error){0};
        rc = gather_each(l, db, &vis, end, &why);
    }
    if (rc < 0 && err && err->code == 0)
        *err = why;
    if (rc == 0 && l->damage.code == 0)
        (void)es_index_is_whole(db, &l->damage);
    if (rc == 0 && l->damage.code == 0 && end == vis.end_position)
        tell_head(db, l, &vis);
    if (rc < 0) {
        es_life_close(l);
        return rc;
    }
    *out = l;
    return 0;
}

void es_life_close(struct es_life *l) {
    if (!l)
        return;
    free(l->slot);
    es_buffer_release(&l->names);
    es_buffer_release(&l->erased);
    free(l);
}

/* ---- for an appender ---- */

static int stop_at_first(void *context, const struct es_directory_stream *s) {
    *(bool *)context = s->stream_id.len > prefix.len;
    return *(bool *)context ? ESDB_END : 0;
}

int es_life_any(struct es_view *active, bool *any, struct esdb_error *err) {
    esdb *db = active->db;
    uint64_t end;
    if (es_head_life(db, 0, &end)) {
        *any = end > 0;
        return 0;
    }
    struct es_buffer names = {0};
    struct esdb_error why = {0};
    int rc = es_view_names(active, prefix, &names, &why);
    bool found = names.len > 0;
    es_buffer_release(&names);
    if (rc == 0 && !found)
        rc = es_each_sealed_stream(db, active->seg->name, prefix, stop_at_first, &found, &why);
    if (rc < 0 && rc != ESDB_ECORRUPT) {
        if (err && err->code == 0)
            *err = why;
        return rc;
    }
    if (rc != ESDB_ECORRUPT && (found || es_index_is_whole(db, NULL) == 0)) /* damage is no answer to rely on */
        es_head_set_life(db, found ? active->end_position : 0);
    *any = found || rc == ESDB_ECORRUPT;
    return 0;
}
