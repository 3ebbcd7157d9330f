#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "directory.h"
#include "format/checksum.h"
#include "fresh_streams.h"
#include "index.h"
#include "life.h"
#include "pattern.h"
#include "recover.h"

/* ---- one stream ---- */

uint32_t esdb_partition(struct esdb_text stream_id, uint32_t partitions) {
    return partitions ? (uint32_t)(fmt_checksum(stream_id.at, stream_id.len) % partitions) + 1 : 0;
}

/* One stream, in the segments that hold it. */
struct whereabouts {
    esdb *db;
    struct esdb_text stream;
    struct es_visible visible;
    struct es_place *place; /* sealed segments, then the active one, which need not have it; owned */
    size_t count;
    const char *why; /* there is no such stream, though there was: static text; NULL */
};

static int find_places(struct whereabouts *w, struct esdb_error *err) {
    struct es_directory *d;
    size_t count = 0;
    int rc = es_visible(w->db, &w->visible, err);
    if (rc == 0)
        rc = es_directory_get(w->db, w->visible.segment, &d, err);
    if (rc == 0)
        rc = es_directory_places(d, w->stream, &w->place, &count, err);
    if (rc < 0 && rc != ESDB_ENOTFOUND)
        return rc;
    struct es_place *place = realloc(w->place, (count + 1) * sizeof *place);
    if (!place)
        return es_fail(err, -ENOMEM, "%s", w->db->path);
    w->place = place;
    w->place[count] = (struct es_place){.segment = w->visible.segment};
    w->count = count + 1;
    return 0;
}

static int open_place(struct whereabouts *w, size_t i, struct es_view *v, struct es_view_stream *s,
                      struct esdb_error *err) {
    bool active = i + 1 == w->count;
    int rc = es_view_open(w->db, w->place[i].segment, active ? w->visible.end_position : UINT64_MAX, v, err);
    return rc == 0 ? es_view_stream(v, w->stream, s, err) : rc;
}

/* ESDB_ECORRUPT when what was not found may have been in a damaged place. */
static int is_whole(const struct whereabouts *w, struct esdb_error *err) {
    int rc = es_index_is_whole(w->db, err);
    return rc == 0 ? es_visible_is_whole(w->db, &w->visible, err) : rc;
}

static int nth_event(struct es_view *v, struct es_view_stream *s, uint64_t nth, struct fmt_event *e, uint64_t *position,
                     struct esdb_error *err) {
    uint32_t ordinal;
    int rc = es_view_ordinal(v, s, nth, &ordinal, err);
    if (rc == 0)
        rc = es_view_event(v, ordinal, e, err);
    if (rc == 0)
        *position = v->seg->header.first_position + ordinal;
    return rc;
}

/* The event with the greatest version of at most `version`, in the newest segment that has one. ESDB_ENOTFOUND: all are
 * newer, or there is none. */
static int find_version(struct whereabouts *w, uint64_t version, struct fmt_event *e, uint64_t *position,
                        struct esdb_error *err) {
    struct es_view v;
    struct es_view_stream s;
    int rc = ESDB_ENOTFOUND;
    for (size_t i = w->count; rc == ESDB_ENOTFOUND && i-- > 0;) {
        if (i + 1 < w->count && w->place[i].first_version > version)
            continue;
        rc = open_place(w, i, &v, &s, err);
        if (rc == 0)
            rc = nth_event(&v, &s, s.count - 1, e, position, err);
        if (rc != 0 || e->version <= version)
            continue;
        uint64_t back = e->version - version;
        rc = back < s.count ? nth_event(&v, &s, s.count - 1 - back, e, position, err) : ESDB_ENOTFOUND;
    }
    return rc;
}

/* The newest event before a position. */
static int find_before(struct whereabouts *w, uint64_t end_position, struct fmt_event *e, struct esdb_error *err) {
    struct es_view v;
    struct es_view_stream s;
    uint64_t position;
    int rc = ESDB_ENOTFOUND;
    for (size_t i = w->count; rc == ESDB_ENOTFOUND && i-- > 0;) {
        rc = open_place(w, i, &v, &s, err);
        uint64_t low = 0, high = rc == 0 ? s.count : 0, first = rc == 0 ? v.seg->header.first_position : 0;
        while (rc == 0 && low < high) { /* events before low are before the position, those from high on are not */
            uint64_t middle = low + (high - low) / 2;
            uint32_t ordinal;
            rc = es_view_ordinal(&v, &s, middle, &ordinal, err);
            if (rc == 0 && first + ordinal < end_position)
                low = middle + 1;
            else
                high = middle;
        }
        if (rc == 0)
            rc = low > 0 ? nth_event(&v, &s, low - 1, e, &position, err) : ESDB_ENOTFOUND;
    }
    return rc;
}

/* The first version that is there, whatever its position. */
static int first_of_all(struct whereabouts *w, struct fmt_event *e, uint64_t *position, struct esdb_error *err) {
    struct es_view v;
    struct es_view_stream s;
    int rc = ESDB_ENOTFOUND;
    for (size_t i = 0; rc == ESDB_ENOTFOUND && i < w->count; i++) { /* retention may have emptied a place */
        rc = open_place(w, i, &v, &s, err);
        if (rc == 0)
            rc = nth_event(&v, &s, 0, e, position, err);
    }
    return rc;
}

/* What is known of a stream, as far as deletions and truncations let it be seen. */
static int describe(struct whereabouts *w, struct esdb_stream_info *out, struct esdb_error *err) {
    struct fmt_event e;
    struct es_stream_life life;
    int rc = find_version(w, UINT64_MAX, &e, &out->last_position, err);
    if (rc < 0)
        return rc;
    out->last_version = e.version;
    out->last_epoch_us = e.epoch_us;
    rc = first_of_all(w, &e, &out->first_position, err);
    if (rc == 0)
        rc = es_life_of(w->db, w->stream, w->visible.end_position, &life, err);
    if (rc < 0)
        return rc;
    if (!es_life_exists(&life, (int64_t)out->last_version)) {
        w->why = life.closed ? ": it was closed for ever" : ": it was deleted";
        return ESDB_ENOTFOUND;
    }
    out->first_version = e.version > life.first_version ? e.version : life.first_version;
    out->count = out->last_version + 1 - out->first_version;
    if (out->count == 0)
        out->first_position = out->last_position;
    else if (out->first_version > e.version)
        rc = find_version(w, out->first_version, &e, &out->first_position, err);
    out->first_epoch_us = out->count ? e.epoch_us : out->last_epoch_us;
    return rc;
}

int esdb_stream_info(esdb *db, struct esdb_text stream_id, struct esdb_stream_info *out, struct esdb_error *err) {
    struct whereabouts w = {.db = db, .stream = stream_id};
    struct esdb_stream_info info = {.stream_id = stream_id};
    int rc = find_places(&w, err);
    if (rc == 0) {
        rc = describe(&w, &info, err);
        int whole = rc == 0 || rc == ESDB_ENOTFOUND ? is_whole(&w, err) : 0;
        rc = whole < 0 ? whole : rc;
    }
    free(w.place);
    if (rc == ESDB_ENOTFOUND)
        return es_fail(err, rc, "%.*s: no such stream%s", (int)stream_id.len, stream_id.at, w.why ? w.why : "");
    if (rc == 0)
        *out = info;
    return rc;
}

int es_stream_version_before(esdb *db, struct esdb_text stream_id, uint64_t end_position, int64_t *version,
                             struct esdb_error *err) {
    struct whereabouts w = {.db = db, .stream = stream_id};
    struct fmt_event e;
    int rc = find_places(&w, err);
    if (rc == 0)
        rc = find_before(&w, end_position, &e, err);
    int whole = rc == ESDB_ENOTFOUND ? is_whole(&w, err) : 0;
    free(w.place);
    if (rc == ESDB_ENOTFOUND && whole == 0) {
        *version = -1;
        return 0;
    }
    if (rc == 0)
        *version = (int64_t)e.version;
    return whole < 0 ? whole : rc;
}

int esdb_stream_version_at(esdb *db, struct esdb_text stream_id, uint64_t end_position, int64_t *version,
                           struct esdb_error *err) {
    struct whereabouts w = {.db = db, .stream = stream_id};
    struct es_stream_life life;
    struct fmt_event e;
    int64_t last = -1;
    int rc = find_places(&w, err);
    if (rc == 0) {
        rc = find_before(&w, end_position, &e, err);
        int whole = rc == ESDB_ENOTFOUND ? is_whole(&w, err) : 0;
        rc = whole < 0 ? whole : rc;
    }
    free(w.place);
    if (rc == 0) {
        last = (int64_t)e.version;
        rc = es_life_of(db, stream_id, end_position, &life, err);
        if (rc == 0 && !es_life_exists(&life, last))
            last = -1;
    }
    if (rc < 0 && rc != ESDB_ENOTFOUND)
        return rc;
    *version = last;
    return 0;
}

/* ---- all streams ---- */

struct esdb_stream_list {
    esdb *db;
    struct es_pattern pattern;
    bool all, with_system;
    struct es_fresh_stream *fresh; /* sorted by name; owned */
    size_t fresh_count, next_fresh;
    struct es_directory *directory; /* owned: the store's own one may be replaced while the list is read */
    struct es_directory_walk *walk;
    struct es_directory_stream old; /* the walk's current stream */
    bool has_old;
    struct es_visible visible;
    struct es_life *life;           /* owned */
    struct esdb_error damage;       /* the first damaged event that was met */
    bool told;                      /* whether all could be seen */
    char name[FMT_STREAM_NAME_MAX]; /* of the stream that was given last */
};

static int next_old(struct esdb_stream_list *l, struct esdb_error *err) {
    int rc = es_directory_walk_next(l->walk, &l->old, err);
    l->has_old = rc == 0;
    return rc == ESDB_END ? 0 : rc;
}

int esdb_stream_list_open(esdb *db, struct esdb_text pattern, unsigned flags, esdb_stream_list **out,
                          struct esdb_error *err) {
    struct es_visible vis = {0};
    struct esdb_stream_list *l = calloc(1, sizeof *l);
    if (!l)
        return es_fail(err, -ENOMEM, "%s", db->path);
    l->db = db;
    l->all = pattern.at == NULL;
    l->with_system = flags & ESDB_WITH_SYSTEM || (pattern.len && pattern.at[0] == '$');
    int rc = l->all ? 0 : es_pattern_init(&l->pattern, pattern, flags & ESDB_LITERAL);
    if (rc < 0)
        es_fail(err, rc, "%s", db->path);
    if (rc == 0)
        rc = es_visible(db, &vis, err);
    l->visible = vis;
    if (rc == 0)
        rc = es_life_open(db, vis.end_position, &l->life, err);
    if (rc == 0)
        rc = es_fresh_streams(db, &vis, &l->fresh, &l->fresh_count, &l->damage, err);
    if (rc == 0)
        rc = es_directory_fresh(db, vis.segment, &l->directory, err);
    if (rc == 0)
        rc = es_directory_walk_open(l->directory, (struct esdb_text){0}, &l->walk, err);
    if (rc == 0)
        rc = next_old(l, err);
    if (rc < 0) {
        esdb_stream_list_close(l);
        return rc;
    }
    *out = l;
    return 0;
}

void esdb_stream_list_close(esdb_stream_list *l) {
    if (!l)
        return;
    es_directory_walk_close(l->walk);
    es_directory_close(l->directory);
    es_pattern_release(&l->pattern);
    es_life_close(l->life);
    free(l->fresh);
    free(l);
}

/* The smaller name of both sources; both when they are equal. */
static int take(struct esdb_stream_list *l, struct esdb_stream_info *out, char name[FMT_STREAM_NAME_MAX],
                struct esdb_error *err) {
    const struct es_fresh_stream *f = l->next_fresh < l->fresh_count ? &l->fresh[l->next_fresh] : NULL;
    if (!f && !l->has_old)
        return ESDB_END;
    struct fmt_text old = {l->old.stream_id.at, l->old.stream_id.len};
    int order = !f ? -1 : !l->has_old ? 1 : fmt_key_compare(old, f->name);
    struct fmt_text chosen = order <= 0 ? old : f->name;
    memcpy(name, chosen.at, chosen.len);
    *out = (struct esdb_stream_info){.stream_id = {name, chosen.len}};
    if (order <= 0) {
        out->first_version = l->old.first.first_version;
        out->last_version = l->old.last.first_version + l->old.last.count - 1;
        out->count = l->old.count;
    }
    if (order >= 0) {
        if (order > 0)
            out->first_version = f->first_version;
        out->last_version = f->first_version + f->count - 1;
        out->count += f->count;
        l->next_fresh++;
    }
    return order <= 0 ? next_old(l, err) : 0;
}

/* Leaves what deletions and truncations leave. False: the stream does not exist any more. */
static bool is_alive(const struct esdb_stream_list *l, struct esdb_stream_info *s) {
    struct es_stream_life life;
    es_life_find(l->life, s->stream_id, &life);
    if (!es_life_exists(&life, (int64_t)s->last_version))
        return false;
    if (life.first_version > s->first_version) {
        s->first_version = life.first_version;
        s->count = s->last_version + 1 - s->first_version;
    }
    return true;
}

int esdb_stream_list_next(esdb_stream_list *l, struct esdb_stream_info *out, struct esdb_error *err) {
    for (;;) {
        int rc = take(l, out, l->name, err);
        if (rc == ESDB_END && !l->told) {
            l->told = true;
            const struct esdb_error *damage = l->damage.code ? &l->damage : &l->life->damage;
            int whole = damage->code == ESDB_ECORRUPT
                            ? es_fail_at(err, ESDB_ECORRUPT, damage->file, damage->offset, "%s", damage->text)
                            : es_index_is_whole(l->db, err);
            if (whole == 0)
                whole = es_visible_is_whole(l->db, &l->visible, err);
            rc = whole < 0 ? whole : rc;
        }
        if (rc != 0)
            return rc;
        bool system = out->stream_id.at[0] == '$';
        if ((!system || l->with_system) && (l->all || es_pattern_matches(&l->pattern, out->stream_id)) &&
            is_alive(l, out))
            return 0;
    }
}
