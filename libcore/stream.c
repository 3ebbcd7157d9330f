#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "directory.h"
#include "index.h"
#include "live.h"
#include "pattern.h"
#include "recover.h"

/* ---- one stream ---- */

/* First (or last) event of a stream in one segment. */
static int edge(struct es_view *v, struct es_view_stream *s, bool last, struct fmt_event *e, uint64_t *position,
                struct esdb_error *err) {
    uint32_t ordinal;
    uint64_t nth = last ? s->count - 1 : 0;
    int rc = es_view_ordinals(v, s, nth, nth + 1, &ordinal, err);
    if (rc == 0)
        rc = es_view_event(v, ordinal, e, err);
    if (rc == 0)
        *position = v->seg->header.first_position + ordinal;
    return rc;
}

static int look_at(esdb *db, uint64_t segment, uint64_t end_position, struct esdb_text stream, bool first, bool last,
                   struct esdb_stream_info *out, struct esdb_error *err) {
    struct es_view v;
    struct es_view_stream s;
    struct fmt_event e;
    int rc = es_view_open(db, segment, end_position, &v, err);
    if (rc == 0)
        rc = es_view_stream(&v, stream, &s, err);
    if (rc == 0 && last && (rc = edge(&v, &s, true, &e, &out->last_position, err)) == 0) {
        out->last_version = e.version;
        out->last_epoch_us = e.epoch_us;
    }
    if (rc == 0 && first && (rc = edge(&v, &s, false, &e, &out->first_position, err)) == 0) {
        out->first_version = e.version;
        out->first_epoch_us = e.epoch_us;
    }
    return rc;
}

int esdb_stream_info(esdb *db, struct esdb_text stream_id, struct esdb_stream_info *out, struct esdb_error *err) {
    struct es_visible vis;
    struct es_directory *d;
    struct es_place *place = NULL;
    size_t count = 0;
    struct esdb_stream_info info = {.stream_id = stream_id};
    int rc = es_visible(db, &vis, err);
    if (rc == 0)
        rc = es_directory_get(db, vis.segment, &d, err);
    if (rc == 0)
        rc = es_directory_places(d, stream_id, &place, &count, err);
    if (rc == ESDB_ENOTFOUND)
        rc = 0;
    if (rc == 0) {
        rc = look_at(db, vis.segment, vis.end_position, stream_id, count == 0, true, &info, err);
        if (rc == ESDB_ENOTFOUND && count > 0)
            rc = look_at(db, place[count - 1].segment, UINT64_MAX, stream_id, false, true, &info, err);
        if (rc == 0 && count > 0)
            rc = look_at(db, place[0].segment, UINT64_MAX, stream_id, true, false, &info, err);
        info.count = info.last_version - info.first_version + 1;
        if ((rc == 0 || rc == ESDB_ENOTFOUND) && es_index_is_whole(db, err) < 0)
            rc = ESDB_ECORRUPT;
        if (rc == 0 || rc == ESDB_ENOTFOUND) {
            int whole = es_visible_is_whole(db, &vis, err);
            rc = whole < 0 ? whole : rc;
        }
    }
    free(place);
    if (rc == ESDB_ENOTFOUND)
        return es_fail(err, rc, "%.*s: no such stream", (int)stream_id.len, stream_id.at);
    if (rc == 0)
        *out = info;
    return rc;
}

/* ---- all streams ---- */

/* A stream of the active segment. */
struct fresh {
    struct fmt_text name; /* leads into the log */
    uint64_t first_version, count;
};

struct esdb_stream_list {
    esdb *db;
    struct es_pattern pattern;
    bool all, with_system;
    struct fresh *fresh; /* sorted by name; owned */
    size_t fresh_count, fresh_room, next_fresh;
    struct es_directory *directory; /* owned: the store's own one may be replaced while the list is read */
    struct es_directory_walk *walk;
    struct es_directory_stream old; /* the walk's current stream */
    bool has_old;
    struct es_visible visible;
    struct esdb_error damage;       /* the first damaged event that was met */
    bool told;                      /* whether all could be seen */
    char name[FMT_STREAM_NAME_MAX]; /* of the stream that was given last */
};

static int add_fresh(struct esdb_stream_list *l, const struct fresh *f) {
    if (l->fresh_count == l->fresh_room) {
        size_t room = l->fresh_room ? l->fresh_room * 2 : 256;
        struct fresh *at = realloc(l->fresh, room * sizeof *at);
        if (!at)
            return -ENOMEM;
        l->fresh = at;
        l->fresh_room = room;
    }
    l->fresh[l->fresh_count++] = *f;
    return 0;
}

static int compare_fresh(const void *a, const void *b) {
    return fmt_key_compare(((const struct fresh *)a)->name, ((const struct fresh *)b)->name);
}

/* Every stream has exactly one event that is its first in the segment. */
static int gather(struct esdb_stream_list *l, const struct es_visible *vis, struct esdb_error *err) {
    struct es_view v;
    int rc = es_view_open(l->db, vis->segment, vis->end_position, &v, err);
    for (uint64_t i = 0; rc == 0 && i < v.events; i++) {
        const struct fmt_live_entry *entry = v.live ? es_live_entry(l->db, (uint32_t)i) : NULL;
        if (entry && entry->nth != 0)
            continue;
        struct fmt_event e;
        struct es_view_stream s;
        uint32_t first;
        rc = es_view_event(&v, (uint32_t)i, &e, &l->damage); /* damage is told at the end of the list */
        if (rc == ESDB_ECORRUPT) {
            rc = 0;
            continue;
        }
        struct esdb_text name = {e.stream_id.at, e.stream_id.len};
        if (rc == 0)
            rc = es_view_stream(&v, name, &s, err);
        if (rc == 0)
            rc = es_view_ordinals(&v, &s, 0, 1, &first, err);
        if (rc == 0 && first == i) {
            struct fresh f = {e.stream_id, e.version, s.count};
            rc = add_fresh(l, &f);
        }
    }
    if (rc == 0 && l->fresh_count)
        qsort(l->fresh, l->fresh_count, sizeof *l->fresh, compare_fresh);
    return rc;
}

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
        rc = gather(l, &vis, err);
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
    free(l->fresh);
    free(l);
}

/* The smaller name of both sources; both when they are equal. */
static int take(struct esdb_stream_list *l, struct esdb_stream_info *out, char name[FMT_STREAM_NAME_MAX],
                struct esdb_error *err) {
    const struct fresh *f = l->next_fresh < l->fresh_count ? &l->fresh[l->next_fresh] : NULL;
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

int esdb_stream_list_next(esdb_stream_list *l, struct esdb_stream_info *out, struct esdb_error *err) {
    for (;;) {
        int rc = take(l, out, l->name, err);
        if (rc == ESDB_END && !l->told) {
            l->told = true;
            int whole = l->damage.code == ESDB_ECORRUPT
                            ? es_fail_at(err, ESDB_ECORRUPT, l->damage.file, l->damage.offset, "%s", l->damage.text)
                            : es_index_is_whole(l->db, err);
            if (whole == 0)
                whole = es_visible_is_whole(l->db, &l->visible, err);
            rc = whole < 0 ? whole : rc;
        }
        if (rc != 0)
            return rc;
        bool system = out->stream_id.at[0] == '$';
        if ((!system || l->with_system) && (l->all || es_pattern_matches(&l->pattern, out->stream_id)))
            return 0;
    }
}
