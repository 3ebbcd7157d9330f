#include "merge.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "life.h"

#define PIECE 1024u    /* places fetched at a time */
#define FIRST_INDEX 1u /* generation of the one that was opened, which is what the directory read */

/* ---- one stream ---- */

static void reader_release(struct es_stream_reader *r) {
    free(r->name);
    free(r->places);
    free(r->piece);
    es_window_release(&r->window);
}

/* Number of places whose segments begin at or before the position; `unknown` when that cannot be told. */
static size_t places_until(const struct es_stream_reader *r, uint64_t position, size_t unknown) {
    size_t low = 0, high = r->place_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        struct es_segment *seg;
        if (es_segment_get(r->db, r->places[middle].segment, &seg, NULL) < 0)
            return unknown; /* reading tells of it */
        if (seg->header.first_position <= position)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Leaves the places that may hold positions of the range. */
static void choose_places(struct es_stream_reader *r) {
    if (r->range.to_position < r->visible.end_position)
        r->place_count = places_until(r, r->range.to_position, r->place_count);
    size_t skip = r->range.from_position > 0 ? places_until(r, r->range.from_position, 0) : 0;
    if (skip > 1) {
        r->place_count -= skip - 1;
        memmove(r->places, r->places + skip - 1, r->place_count * sizeof *r->places);
    }
}

static int reader_init(struct es_stream_reader *r, struct esdb_text name, struct esdb_error *err) {
    struct es_directory *d;
    struct es_stream_life life;
    struct es_place *places = NULL;
    size_t count = 0;
    r->name = strndup(name.at, name.len);
    r->name_len = name.len;
    r->piece = malloc(PIECE * sizeof *r->piece);
    if (!r->name || !r->piece)
        return es_fail(err, -ENOMEM, "%s", r->db->path);
    int rc = es_directory_get(r->db, r->visible.segment, &d, err);
    if (rc == 0)
        rc = es_directory_places(d, name, &places, &count, err);
    if (rc == 0 || rc == ESDB_ENOTFOUND)
        rc = es_life_of(r->db, name, r->range.life_end, &life, err);
    if (rc < 0) {
        free(places);
        return rc;
    }
    r->erased = life.erased.len > 0;
    if (life.first_version > r->range.from_version)
        r->range.from_version = life.first_version;
    r->places = realloc(places, (count + 1) * sizeof *places);
    if (!r->places) {
        free(places);
        return es_fail(err, -ENOMEM, "%s", r->db->path);
    }
    r->places[count] = (struct es_place){.segment = r->visible.segment};
    r->place_count = count + 1;
    choose_places(r);
    return 0;
}

/* The number of the first event of the slot, from `low` on, at or after a position; r->to when there is none. */
static int find_position(struct es_stream_reader *r, uint64_t low, uint64_t position, uint64_t *out,
                         struct esdb_error *err) {
    uint64_t first = r->view.seg->header.first_position, high = r->to;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        uint32_t ordinal;
        int rc = es_view_ordinal(&r->view, &r->slot, middle, &ordinal, err);
        if (rc < 0)
            return rc;
        if (first + ordinal < position)
            low = middle + 1;
        else
            high = middle;
    }
    *out = low;
    return 0;
}

/* What the wanted positions leave of that. */
static int narrow(struct es_stream_reader *r, struct esdb_error *err) {
    uint64_t first = r->view.seg->header.first_position;
    int rc = 0;
    if (r->range.from_position > first)
        rc = find_position(r, r->from, r->range.from_position, &r->from, err);
    if (rc == 0 && r->range.to_position < r->visible.end_position)
        rc = find_position(r, r->from, r->range.to_position + 1, &r->to, err);
    r->piece_from = r->piece_to = r->range.reverse ? r->to : r->from;
    return rc;
}

/* The range of events in this place that the wanted versions leave. Versions have no gaps within a segment. */
static void choose_range(struct es_stream_reader *r, uint64_t first_version) {
    r->from = r->range.from_version > first_version ? r->range.from_version - first_version : 0;
    r->to = r->slot.count;
    if (r->range.to_version < first_version)
        r->to = 0;
    else if (r->range.to_version - first_version < r->to)
        r->to = r->range.to_version - first_version + 1;
    if (r->from > r->to)
        r->from = r->to;
}

static bool outside(const struct es_stream_reader *r, const struct es_place *p) {
    return p->count > 0 &&
           (p->first_version > r->range.to_version || p->first_version + p->count - 1 < r->range.from_version);
}

/* What the directory has just read in the segment's own index is not looked up there again, unless that was made anew. */
static int find_slot(struct es_stream_reader *r, const struct es_place *p, struct esdb_error *err) {
    const struct es_segment *seg = r->view.seg;
    if (r->view.live || p->posting1 == 0 || seg->partial || seg->index_generation != FIRST_INDEX)
        return es_view_stream(&r->view, (struct esdb_text){r->name, r->name_len}, &r->slot, err);
    r->slot = (struct es_view_stream){.index_generation = seg->index_generation,
                                      .count = p->count,
                                      .first_posting = p->posting1 - 1,
                                      .first_version = p->first_version,
                                      .name_len = (uint8_t)r->name_len};
    memcpy(r->slot.name, r->name, r->name_len);
    return 0;
}

/* Opens the next place. ESDB_END: there is none. */
static int next_place(struct es_stream_reader *r, struct esdb_error *err) {
    while (r->place < r->place_count) {
        size_t i = r->range.reverse ? r->place_count - 1 - r->place : r->place;
        const struct es_place *p = &r->places[i];
        r->place++;
        if (outside(r, p))
            continue;
        bool active = p->segment == r->visible.segment;
        ++*r->segments;
        uint64_t first_version = p->first_version;
        int rc = es_view_open(r->db, p->segment, active ? r->visible.end_position : UINT64_MAX, &r->view, err);
        if (rc == 0)
            rc = find_slot(r, p, err);
        if (rc == ESDB_ENOTFOUND)
            continue;
        if (rc == 0 && !r->view.live) /* the directory may be older than the segment's index */
            first_version = r->slot.first_version;
        else if (rc == 0) {
            uint32_t last;
            struct fmt_event e;
            rc = es_view_ordinal(&r->view, &r->slot, r->slot.count - 1, &last, err);
            if (rc == 0)
                rc = es_view_event(&r->view, last, &e, err);
            if (rc == 0)
                first_version = e.version - (r->slot.count - 1);
        }
        if (rc == 0 && !r->view.live && !r->told && es_segment_is_whole(r->db, r->view.seg, err) < 0) {
            r->told = true; /* the place is opened again */
            r->place--;
            return ESDB_ECORRUPT;
        }
        if (rc < 0)
            return rc;
        choose_range(r, first_version);
        rc = narrow(r, err);
        r->open = rc == 0;
        return rc;
    }
    return ESDB_END;
}

static int fetch_piece(struct es_stream_reader *r, struct esdb_error *err) {
    if (r->range.reverse) {
        r->piece_to = r->piece_from;
        r->piece_from = r->piece_to - r->from > PIECE ? r->piece_to - PIECE : r->from;
    } else {
        r->piece_from = r->piece_to;
        r->piece_to = r->to - r->piece_from > PIECE ? r->piece_from + PIECE : r->to;
    }
    return es_view_places(&r->view, &r->slot, r->piece_from, r->piece_to, r->piece, err);
}

/* Moves to the next event. 0, ESDB_END, or an error after which the next call goes on. */
static int reader_next(struct es_stream_reader *r, struct esdb_error *err) {
    for (;;) {
        if (r->open && r->from >= r->to)
            r->open = false;
        if (!r->open) {
            int rc = next_place(r, err);
            if (rc != 0)
                return rc;
            continue;
        }
        uint64_t nth = r->range.reverse ? r->to - 1 : r->from;
        if (nth < r->piece_from || nth >= r->piece_to) {
            int rc = fetch_piece(r, err);
            if (rc < 0) {
                r->open = false;
                return rc;
            }
        }
        struct es_event_place at = r->piece[nth - r->piece_from];
        if (r->range.reverse)
            r->to--;
        else
            r->from++;
        uint64_t then = r->range.reverse ? nth - 1 : nth + 1; /* wraps around: not in the piece */
        if (then >= r->piece_from && then < r->piece_to)
            es_window_expect(&r->window, at, r->piece[then - r->piece_from]);
        r->position = r->view.seg->header.first_position + at.ordinal;
        int rc = es_view_read_at(&r->view, at, &r->window, &r->event, err);
        if (rc == 0 &&
            (r->event.stream_id.len != r->name_len || memcmp(r->event.stream_id.at, r->name, r->name_len) != 0))
            rc = es_fail(err, ESDB_ECORRUPT, "%s: position %llu: the index leads to an event of another stream",
                         r->db->path, (unsigned long long)r->position);
        return rc;
    }
}

/* ---- all of them ---- */

static bool before(const struct es_merge *m, size_t a, size_t b) {
    uint64_t x = m->reader[a].position, y = m->reader[b].position;
    return m->reader[0].range.reverse ? x > y : x < y;
}

static void swap(struct es_merge *m, size_t a, size_t b) {
    struct es_stream_reader r = m->reader[a];
    m->reader[a] = m->reader[b];
    m->reader[b] = r;
}

static void sift_down(struct es_merge *m, size_t at) {
    for (;;) {
        size_t least = at, left = 2 * at + 1;
        for (size_t child = left; child < left + 2 && child < m->count; child++)
            if (before(m, child, least))
                least = child;
        if (least == at)
            return;
        swap(m, at, least);
        at = least;
    }
}

static void sift_up(struct es_merge *m, size_t at) {
    while (at > 0 && before(m, at, (at - 1) / 2)) {
        swap(m, at, (at - 1) / 2);
        at = (at - 1) / 2;
    }
}

/* Moves the first reader on and puts it where it belongs. */
static int advance_first(struct es_merge *m, struct esdb_error *err) {
    int rc = reader_next(&m->reader[0], err);
    if (rc == ESDB_END) {
        swap(m, 0, --m->count);
        rc = 0;
    }
    if (rc == 0)
        sift_down(m, 0);
    return rc;
}

int es_merge_init(struct es_merge *m, esdb *db, const struct esdb_text *names, size_t count,
                  const struct es_stream_range *range, const struct es_visible *visible, struct esdb_error *err) {
    *m = (struct es_merge){.stale = count};
    m->reader = calloc(count ? count : 1, sizeof *m->reader);
    if (!m->reader)
        return es_fail(err, -ENOMEM, "%s", db->path);
    for (; m->room < count; m->room++) {
        struct es_stream_reader *r = &m->reader[m->room];
        r->db = db;
        r->range = *range;
        r->visible = *visible;
        r->segments = &m->segments;
        int rc = reader_init(r, names[m->room], err);
        if (rc < 0) {
            m->room++;
            es_merge_release(m);
            return rc;
        }
        m->erased |= r->erased;
    }
    return 0;
}

void es_merge_release(struct es_merge *m) {
    for (size_t i = 0; i < m->room; i++)
        reader_release(&m->reader[i]);
    free(m->reader);
    *m = (struct es_merge){0};
}

/* Readers reader[count .. count + stale - 1] have no event yet: each gets its first and joins the heap. */
static int start(struct es_merge *m, struct esdb_error *err) {
    while (m->stale > 0) {
        size_t at = m->count;
        int rc = reader_next(&m->reader[at], err);
        if (rc < 0)
            return rc;
        m->stale--;
        if (rc == 0) {
            m->count++;
            sift_up(m, at);
        } else
            swap(m, at, at + m->stale);
    }
    return 0;
}

int es_merge_next(struct es_merge *m, struct fmt_event *out, uint64_t *position, struct esdb_error *err) {
    int rc = start(m, err);
    if (rc == 0 && !m->told && m->room > 0) { /* once: what the look-ups above were answered from */
        m->told = true;
        rc = es_index_is_whole(m->reader[0].db, err);
        if (rc == 0 && m->reader[0].range.reverse)
            rc = es_visible_is_whole(m->reader[0].db, &m->reader[0].visible, err);
    }
    if (rc == 0 && m->given)
        rc = advance_first(m, err);
    if (rc < 0)
        return rc;
    m->given = m->count > 0;
    if (!m->given)
        return ESDB_END;
    *out = m->reader[0].event;
    *position = m->reader[0].position;
    return 0;
}
