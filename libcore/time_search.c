/* Times never decrease along positions, so that a time is found by halves: segments by their headers, then events. */
#include <stdlib.h>

#include "index.h"
#include "recover.h"

/* The first readable event at or after `ordinal`: where it is and its time. ESDB_END: there is none. Of damage, reading
 * tells; here it is passed over, as what retention has removed. */
static int readable(struct es_view *v, uint64_t *ordinal, uint64_t *epoch_us, struct esdb_error *err) {
    for (; *ordinal < v->events; ++*ordinal) {
        struct fmt_event e;
        struct esdb_error damage = {0};
        int rc = es_view_event(v, (uint32_t)*ordinal, &e, &damage);
        if (rc == 0) {
            *epoch_us = e.epoch_us;
            return 0;
        }
        if (rc != ESDB_ECORRUPT && rc != ESDB_ENOTFOUND) {
            if (err && err->code == 0)
                *err = damage;
            return rc;
        }
    }
    return ESDB_END;
}

/* The ordinal of the first event of the view at or after the time; v->events when there is none. */
static int search_view(struct es_view *v, uint64_t time_us, uint64_t *out, struct esdb_error *err) {
    uint64_t low = 0, high = v->events; /* events before low are older, those from high on are not */
    while (low < high) {
        uint64_t middle = low + (high - low) / 2, at = middle, epoch_us = 0;
        int rc = readable(v, &at, &epoch_us, err);
        if (rc < 0)
            return rc;
        if (rc == ESDB_END || at >= high || epoch_us >= time_us)
            high = middle;
        else
            low = at + 1;
    }
    *out = low;
    return 0;
}

/* The segment in which the first event at or after the time is, if there is one: the newest that begins after an older
 * event. Segments whose headers are damaged are passed over. */
static int find_segment(esdb *db, uint64_t time_us, const struct es_visible *vis, uint64_t *out,
                        struct esdb_error *err) {
    uint64_t *names;
    size_t count;
    int rc = es_segment_list(db, &names, &count, err);
    if (rc < 0)
        return rc;
    while (count > 0 && names[count - 1] > vis->segment)
        count--;
    size_t low = 0, high = count; /* segments before low begin before the time, those from high on do not */
    uint64_t found = 0;
    while (low < high) {
        size_t middle = low + (high - low) / 2, at = middle;
        struct es_segment *s = NULL;
        while (at < high && es_segment_get(db, names[at], &s, NULL) < 0)
            at++;
        if (at == high)
            high = middle;
        else if (s->header.last_epoch_us < time_us) {
            found = names[at];
            low = at + 1;
        } else
            high = middle;
    }
    if (found == 0 && count > 0)
        found = names[0];
    free(names);
    *out = found;
    return found ? 0 : es_fail_at(err, ESDB_ECORRUPT, "log", 0, "%s/log: holds no segment", db->path);
}

int esdb_position_at(esdb *db, uint64_t epoch_us, uint64_t *out, struct esdb_error *err) {
    struct es_visible vis;
    struct es_view v;
    uint64_t name, ordinal;
    int rc = es_visible(db, &vis, err);
    if (rc == 0 && epoch_us > vis.last_epoch_us) {
        *out = vis.end_position;
        return 0;
    }
    if (rc == 0)
        rc = find_segment(db, epoch_us, &vis, &name, err);
    if (rc == 0)
        rc = es_view_open(db, name, name == vis.segment ? vis.end_position : UINT64_MAX, &v, err);
    if (rc == 0)
        rc = search_view(&v, epoch_us, &ordinal, err);
    if (rc == 0)
        *out = v.seg->header.first_position + ordinal;
    return rc;
}
