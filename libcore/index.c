#include "index.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "directory.h"
#include "live.h"
#include "recover.h"
#include "shared_head.h"

int es_view_open(esdb *db, uint64_t segment, uint64_t end_position, struct es_view *out, struct esdb_error *err) {
    struct es_view v = {.db = db, .end_position = end_position, .events = UINT64_MAX};
    int rc = end_position == UINT64_MAX ? es_segment_open(db, segment, &v.seg, err)
                                        : es_segment_get(db, segment, &v.seg, err);
    if (rc == 0 && end_position != UINT64_MAX && end_position > v.seg->covered_position)
        rc = es_segment_grow(db, v.seg, err);
    if (rc < 0)
        return rc;
    if (end_position != UINT64_MAX) {
        uint64_t first = v.seg->header.first_position;
        v.events = end_position > first ? end_position - first : 0;
        v.live = v.seg->header.rewritten_us == 0 && es_live_open(db, segment, v.events); /* else closed meanwhile */
    }
    if (!v.live) {
        rc = es_segment_index(db, v.seg, end_position, err);
        if (rc < 0)
            return rc;
        const struct fmt_table_header *h = &v.seg->index.table.header;
        if (v.events > h->end_position - h->first_position)
            v.events = h->end_position - h->first_position;
    }
    *out = v;
    return 0;
}

/* The live index cannot serve any more (it went with its segment, or was damaged): goes on with a table. */
static int leave_live(struct es_view *v, struct esdb_error *err) {
    v->live = false;
    return es_segment_index(v->db, v->seg, v->end_position, err);
}

/* The index turned out to be damaged: goes on with one made from the log. */
static int fall_back(struct es_view *v, struct esdb_error *err) {
    if (v->live) {
        es_live_close(v->db);
        return leave_live(v, err);
    }
    int rc = es_segment_reindex(v->db, v->seg, v->end_position, err);
    if (rc == 0) {
        v->seg->partial = v->end_position != UINT64_MAX;
        v->seg->index_end = v->end_position;
    }
    return rc;
}

/* The answer of an index that was just made from the log: damage in that is a mistake of ours, but has a text. */
static int final(const struct es_view *v, int rc, struct esdb_error *err) {
    return rc == ESDB_ECORRUPT ? es_fail(err, rc, "%s: the index of a segment cannot be used", v->db->path) : rc;
}

/* True when the live index is no more the one that the view was opened on. */
static bool live_gone(const struct es_view *v) {
    return v->live && (!v->db->live.map || v->db->live.header->segment != v->seg->name);
}

/* Every question begins here. */
static int settle(struct es_view *v, struct esdb_error *err) {
    return live_gone(v) ? leave_live(v, err) : 0;
}

static const struct fmt_table *table(const struct es_view *v) {
    return &v->seg->index.table;
}

static int find_live(struct es_view *v, struct esdb_text stream, struct es_view_stream *out) {
    int rc = es_live_last(v->db, v->seg, stream, v->events, &out->last);
    if (rc < 0)
        return rc;
    const struct fmt_live_entry *e = es_live_entry(v->db, out->last);
    if (!e)
        return ESDB_ECORRUPT;
    out->count = (uint64_t)e->nth + 1;
    return 0;
}

static int find_in_table(struct es_view *v, struct esdb_text stream, struct es_view_stream *out) {
    struct es_stream_slot slot;
    int rc = es_index_stream(table(v), stream, &slot);
    if (rc < 0)
        return rc;
    out->first_posting = slot.first_posting;
    out->first_version = slot.first_version;
    for (out->count = slot.count; out->count > 0; out->count--) { /* postings beyond what is visible do not count */
        struct es_event_place last;
        if (es_index_posting(table(v), slot.first_posting + (uint32_t)out->count - 1, &last) < 0)
            return ESDB_ECORRUPT;
        if (last.ordinal < v->events)
            return 0;
    }
    return ESDB_ENOTFOUND;
}

static int stream_once(struct es_view *v, struct esdb_text stream, struct es_view_stream *out) {
    out->live = v->live;
    out->index_generation = v->seg->index_generation;
    return v->live ? find_live(v, stream, out) : find_in_table(v, stream, out);
}

int es_view_stream(struct es_view *v, struct esdb_text stream, struct es_view_stream *out, struct esdb_error *err) {
    if (stream.len > FMT_STREAM_NAME_MAX)
        return ESDB_ENOTFOUND;
    out->name_len = (uint8_t)stream.len;
    memmove(out->name, stream.at, stream.len);
    int rc = settle(v, err);
    if (rc == 0)
        rc = stream_once(v, stream, out);
    if (rc != ESDB_ECORRUPT)
        return rc;
    rc = fall_back(v, err);
    return rc < 0 ? rc : final(v, stream_once(v, stream, out), err);
}

static int places_once(struct es_view *v, const struct es_view_stream *s, uint64_t from, uint64_t to,
                       struct es_event_place *out) {
    if (!v->live) {
        for (uint64_t i = from; i < to; i++)
            if (es_index_posting(table(v), s->first_posting + (uint32_t)i, &out[i - from]) != 0)
                return ESDB_ECORRUPT;
        return 0;
    }
    uint32_t at;
    int rc = es_live_back(v->db, s->last, (uint32_t)to - 1, &at);
    for (uint64_t i = to; rc == 0 && i-- > from;) {
        const struct fmt_live_entry *e = es_live_entry(v->db, at);
        if (!e || e->nth != i || e->prev > at)
            return ESDB_ECORRUPT;
        out[i - from] = (struct es_event_place){at, e->offset8};
        at = e->prev - 1;
    }
    return rc;
}

/* The stream as the view's present index knows it. */
static int renew(struct es_view *v, struct es_view_stream *s, struct esdb_error *err) {
    int rc = settle(v, err);
    if (rc < 0 || (s->live == v->live && s->index_generation == v->seg->index_generation))
        return rc;
    return es_view_stream(v, (struct esdb_text){s->name, s->name_len}, s, err);
}

int es_view_places(struct es_view *v, struct es_view_stream *s, uint64_t from, uint64_t to, struct es_event_place *out,
                   struct esdb_error *err) {
    if (from >= to)
        return 0;
    int rc = renew(v, s, err);
    if (rc == 0)
        rc = places_once(v, s, from, to, out);
    if (rc != ESDB_ECORRUPT)
        return rc;
    rc = fall_back(v, err);
    if (rc == 0)
        rc = renew(v, s, err);
    if (rc == 0)
        rc = places_once(v, s, from, to, out);
    return rc < 0 ? es_fail(err, rc, "%s: the index of a segment is damaged", v->db->path) : 0;
}

int es_view_ordinal(struct es_view *v, struct es_view_stream *s, uint64_t nth, uint32_t *out, struct esdb_error *err) {
    struct es_event_place place;
    int rc = es_view_places(v, s, nth, nth + 1, &place, err);
    if (rc == 0)
        *out = place.ordinal;
    return rc;
}

static int offset_once(const struct es_view *v, uint32_t ordinal, uint64_t *offset) {
    if (!v->live)
        return es_index_offset(table(v), ordinal, offset);
    const struct fmt_live_entry *e = es_live_entry(v->db, ordinal);
    if (!e)
        return ESDB_ECORRUPT;
    *offset = (uint64_t)e->offset8 * 8;
    return 0;
}

int es_view_offset(struct es_view *v, uint32_t ordinal, uint64_t *offset, struct esdb_error *err) {
    int rc = settle(v, err);
    if (rc == 0)
        rc = offset_once(v, ordinal, offset);
    if (rc != ESDB_ECORRUPT)
        return rc;
    rc = fall_back(v, err);
    return rc < 0 ? rc : final(v, offset_once(v, ordinal, offset), err);
}

static int frame_once(struct es_view *v, uint32_t ordinal, uint64_t *offset) {
    if (!v->live) {
        struct es_frame_place place;
        int rc = es_index_frame_of(table(v), ordinal, &place);
        *offset = rc == 0 ? place.offset : 0;
        return rc;
    }
    const struct fmt_live_entry *e = es_live_entry(v->db, ordinal);
    const struct fmt_live_entry *first = e ? es_live_entry(v->db, e->frame_event) : NULL;
    if (!first)
        return ESDB_ECORRUPT;
    *offset = (uint64_t)first->offset8 * 8 - FMT_FRAME_HEADER_SIZE;
    return 0;
}

int es_view_frame(struct es_view *v, uint32_t ordinal, uint64_t *offset, struct esdb_error *err) {
    int rc = settle(v, err);
    if (rc == 0)
        rc = frame_once(v, ordinal, offset);
    if (rc != ESDB_ECORRUPT)
        return rc;
    rc = fall_back(v, err);
    return rc < 0 ? rc : final(v, frame_once(v, ordinal, offset), err);
}

const char *es_view_check(const struct es_view *v, const unsigned char *at, uint64_t offset, size_t room,
                          struct fmt_event *out) {
    if (offset == 0)
        return "event is unreadable";
    if (offset >= v->seg->size)
        return "segment ends before the event";
    const char *wrong = fmt_event_decode(at, room, out);
    return (!wrong || wrong == fmt_newer_event) && !fmt_event_intact(at, out) ? "event checksum is wrong" : wrong;
}

int es_view_wrong(const struct es_view *v, uint32_t ordinal, uint64_t offset, const char *wrong,
                  struct esdb_error *err) {
    char path[ES_NAME_SIZE];
    es_segment_path(v->seg->name, ES_NAME_LOG, path);
    return es_fail_at(err, wrong == fmt_newer_event ? ESDB_EUSAGE : ESDB_ECORRUPT, path, offset,
                      "%s/%s, offset %llu: position %llu: %s", v->db->path, path, (unsigned long long)offset,
                      (unsigned long long)(v->seg->header.first_position + ordinal), wrong);
}

int es_view_event_at(struct es_view *v, struct es_event_place place, struct fmt_event *out, struct esdb_error *err) {
    uint64_t offset = (uint64_t)place.offset8 * 8;
    int rc = offset == ES_OFFSET_REMOVED ? ESDB_ENOTFOUND : es_segment_map(v->db, v->seg, err);
    if (rc < 0)
        return rc;
    bool inside = offset < v->seg->size;
    if (inside && v->seg->is_packed) {
        es_segment_need(v->seg, offset, FMT_EVENT_HEADER_SIZE);
        uint32_t len = v->seg->size - offset < FMT_EVENT_HEADER_SIZE ? 0 : fmt_event_len(v->seg->map + offset);
        es_segment_need(v->seg, offset, len <= FMT_EVENT_SIZE_MAX ? len : 0);
    }
    const char *wrong = es_view_check(v, inside ? v->seg->map + offset : NULL, offset,
                                      inside ? (size_t)(v->seg->size - offset) : 0, out);
    return wrong ? es_view_wrong(v, place.ordinal, offset, wrong, err) : 0;
}

int es_view_event(struct es_view *v, uint32_t ordinal, struct fmt_event *out, struct esdb_error *err) {
    uint64_t offset;
    int rc = es_view_offset(v, ordinal, &offset, err);
    return rc < 0 ? rc : es_view_event_at(v, (struct es_event_place){ordinal, (uint32_t)(offset / 8)}, out, err);
}

static int keys_once(struct es_view *v, uint64_t hash, struct es_buffer *ordinals) {
    ordinals->len = 0;
    return v->live ? es_live_keys(v->db, hash, v->events, ordinals)
                   : es_index_keys(table(v), hash, v->events, ordinals);
}

int es_view_keys(struct es_view *v, uint64_t hash, struct es_buffer *ordinals, struct esdb_error *err) {
    int rc = settle(v, err);
    if (rc == 0)
        rc = keys_once(v, hash, ordinals);
    if (rc == ESDB_ECORRUPT) {
        rc = fall_back(v, err);
        rc = rc < 0 ? rc : final(v, keys_once(v, hash, ordinals), err);
    }
    return rc == -ENOMEM ? es_fail(err, rc, "%s", v->db->path) : rc;
}

static int add_name(struct es_buffer *out, struct fmt_text name, struct esdb_text prefix) {
    unsigned char len = (unsigned char)name.len;
    if (name.len < prefix.len || memcmp(name.at, prefix.at, prefix.len) != 0)
        return 0;
    int rc = es_buffer_add(out, &len, 1);
    return rc == 0 ? es_buffer_add(out, name.at, name.len) : rc;
}

/* Streams whose first event in the segment is here. Their names are taken from the log as they stand: who asks for such a
 * stream finds out whether it is there. */
static int names_in_live(struct es_view *v, struct esdb_text prefix, struct es_buffer *out) {
    for (uint64_t i = 0; i < v->events; i++) {
        const struct fmt_live_entry *entry = es_live_entry(v->db, (uint32_t)i);
        struct fmt_event e;
        if (!entry)
            return ESDB_ECORRUPT;
        uint64_t offset = (uint64_t)entry->offset8 * 8;
        if (entry->nth != 0 || offset >= v->seg->size ||
            fmt_event_decode(v->seg->map + offset, (size_t)(v->seg->size - offset), &e))
            continue;
        int rc = add_name(out, e.stream_id, prefix);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int names_in_table(struct es_view *v, struct esdb_text prefix, struct es_buffer *out) {
    const struct fmt_section *s = fmt_table_find(table(v), FMT_SECTION_STREAMS);
    struct fmt_table_cursor c;
    int rc = s ? fmt_table_seek(&c, table(v), s, (struct fmt_text){prefix.at, prefix.len}) : -1;
    for (; rc == 0; rc = fmt_table_next(&c)) {
        size_t had = out->len;
        if ((rc = add_name(out, c.key, prefix)) < 0)
            return rc;
        if (out->len == had)
            break;
    }
    return rc < 0 ? ESDB_ECORRUPT : 0;
}

int es_view_names(struct es_view *v, struct esdb_text prefix, struct es_buffer *out, struct esdb_error *err) {
    size_t had = out->len;
    int rc = settle(v, err);
    if (rc == 0)
        rc = v->live ? names_in_live(v, prefix, out) : names_in_table(v, prefix, out);
    if (rc == ESDB_ECORRUPT) {
        out->len = had;
        rc = fall_back(v, err);
        rc = rc < 0 ? rc : final(v, names_in_table(v, prefix, out), err);
    }
    return rc == -ENOMEM ? es_fail(err, rc, "%s", v->db->path) : rc;
}

int es_segment_is_whole(const esdb *db, const struct es_segment *s, struct esdb_error *err) {
    struct es_index_damage d;
    char path[ES_NAME_SIZE];
    bool damaged = s->has_index && es_index_damage(&s->index.table, 0, &d) == 0 &&
                   s->header.first_position + d.first_event < s->index_end;
    if (!damaged && !s->next_missing)
        return 0;
    es_segment_path(s->name, ES_NAME_LOG, path);
    if (!damaged)
        return es_fail_at(err, ESDB_ECORRUPT, path, s->size, "%s/%s: the segment after it is missing", db->path, path);
    return es_fail_at(err, ESDB_ECORRUPT, path, d.offset, "%s/%s, offset %llu: damaged; events may be missing",
                      db->path, path, (unsigned long long)d.offset);
}

int es_index_is_whole(const esdb *db, struct esdb_error *err) {
    int rc = 0;
    for (const struct es_segment *s = db->segments; s && rc == 0; s = s->next)
        rc = es_segment_is_whole(db, s, err);
    return rc;
}

int es_stream_version(struct es_view *active, struct esdb_text stream, uint64_t *version, struct esdb_error *err) {
    struct es_view_stream s;
    uint32_t last;
    struct fmt_event e;
    int rc = es_view_stream(active, stream, &s, err);
    if (rc == 0)
        rc = es_view_ordinal(active, &s, s.count - 1, &last, err);
    if (rc == 0)
        rc = es_view_event(active, last, &e, err);
    if (rc == 0)
        *version = e.version;
    if (rc == 0 && active->live)
        return 0;
    if (rc == 0)
        return es_index_is_whole(active->db, err);
    if (rc != ESDB_ENOTFOUND)
        return rc;
    struct es_directory *d;
    struct es_place place;
    rc = es_directory_get(active->db, active->seg->name, &d, err);
    if (rc == 0)
        rc = es_directory_last(d, stream, &place, err);
    if (rc == 0)
        *version = place.first_version + place.count - 1;
    int whole = es_index_is_whole(active->db, err);
    return whole < 0 ? whole : rc;
}
