#include "lookup.h"

#include <errno.h>
#include <stdlib.h>

#include "format/checksum.h"
#include "format/limits.h"

static const struct esdb_text members[] = {
    [FMT_EVENT_KEY_CAUSATION] = {"causation_id", 12},
    [FMT_EVENT_KEY_CORRELATION] = {"correlation_id", 14},
};

static bool equal(struct esdb_text a, struct esdb_text b) {
    return a.len == b.len && memcmp(a.at, b.at, a.len) == 0;
}

/* ---- what an event says ---- */

/* The value of a member of the metadata that is a name: a string or a number. */
static bool member(const struct esdb_event *e, struct esdb_text key, struct fmt_text *out) {
    struct fmt_text value;
    if (!e->metadata.at || !fmt_json_member((struct fmt_text){e->metadata.at, e->metadata.len},
                                            (struct fmt_text){key.at, key.len}, &value))
        return false;
    *out = value;
    return (value.at[0] == '"' && value.len > 2) || value.at[0] == '-' || (value.at[0] >= '0' && value.at[0] <= '9');
}

int es_lookup_cause(struct esdb_lookup *l, const struct esdb_event *e, struct esdb_text *out, struct esdb_error *err) {
    struct fmt_text value;
    if (!member(e, members[FMT_EVENT_KEY_CAUSATION], &value))
        return 0;
    if (value.at[0] != '"') {
        *out = (struct esdb_text){value.at, value.len};
    } else if (!memchr(value.at, '\\', value.len)) {
        *out = (struct esdb_text){value.at + 1, value.len - 2};
    } else {
        l->room.len = 0;
        if (es_buffer_reserve(&l->room, value.len) < 0)
            return es_fail(err, -ENOMEM, "the cause of event %llu", (unsigned long long)e->position);
        *out = (struct esdb_text){(char *)l->room.at, fmt_json_decode(value, (char *)l->room.at, value.len)};
    }
    return out->len > 0;
}

bool esdb_event_names(const struct esdb_event *e, struct esdb_text key, struct esdb_text value) {
    struct fmt_text found;
    if (!member(e, key, &found))
        return false;
    if (found.at[0] == '"')
        return fmt_json_string_equal(found, (struct fmt_text){value.at, value.len});
    return equal((struct esdb_text){found.at, found.len}, value);
}

/* ---- opening ---- */

static int list_segments(struct esdb_lookup *l, struct esdb_error *err) {
    uint64_t *names;
    size_t count;
    int rc = es_segment_list(l->db, &names, &count, err);
    if (rc < 0)
        return rc;
    while (count > 0 && names[count - 1] > l->visible.segment)
        count--;
    l->segment = calloc(count + 1, sizeof *l->segment);
    if (!l->segment)
        rc = es_fail(err, -ENOMEM, "%s", l->db->path);
    for (size_t i = 0; rc == 0 && i < count; i++)
        l->segment[l->count++] = (struct es_lookup_segment){.name = names[i], .first_position = UINT64_MAX};
    free(names);
    return rc;
}

int esdb_lookup_open(esdb *db, unsigned flags, esdb_lookup **out, struct esdb_error *err) {
    struct esdb_lookup *l = calloc(1, sizeof *l);
    if (!l)
        return es_fail(err, -ENOMEM, "%s", db->path);
    l->db = db;
    l->flags = flags & ESDB_WITH_SYSTEM;
    int rc = es_visible(db, &l->visible, err);
    if (rc == 0)
        rc = es_life_open(db, l->visible.end_position, &l->life, err);
    if (rc == 0)
        rc = list_segments(l, err);
    if (rc < 0) {
        esdb_lookup_close(l);
        return rc;
    }
    l->damage = l->life->damage;
    (void)es_visible_is_whole(db, &l->visible, &l->damage);
    *out = l;
    return 0;
}

void esdb_lookup_close(esdb_lookup *l) {
    if (!l)
        return;
    es_life_close(l->life);
    es_window_release(&l->window);
    es_buffer_release(&l->room);
    for (size_t i = 0; i < l->kept_slots; i++)
        free(l->kept[i]);
    free(l->kept);
    free(l->segment);
    free(l);
}

bool esdb_lookup_is_whole(const esdb_lookup *l, struct esdb_error *err) {
    if (l->damage.code != 0 && err && err->code == 0)
        *err = l->damage;
    return l->damage.code == 0;
}

/* ---- keeping events ---- */

#define KEPT_SIZE_MAX (8u << 20)
#define KEPT_EVENT_MAX (64u << 10)

static size_t kept_slot(const struct esdb_lookup *l, uint64_t position) {
    size_t i = (size_t)fmt_fold(0, position) & (l->kept_slots - 1);
    while (l->kept[i] && l->kept[i]->event.position != position)
        i = (i + 1) & (l->kept_slots - 1);
    return i;
}

static bool grow_kept(struct esdb_lookup *l) {
    struct esdb_lookup larger = {.kept_slots = l->kept_slots ? l->kept_slots * 2 : 64};
    larger.kept = calloc(larger.kept_slots, sizeof(struct es_kept *));
    if (!larger.kept)
        return false;
    for (size_t i = 0; i < l->kept_slots; i++)
        if (l->kept[i])
            larger.kept[kept_slot(&larger, l->kept[i]->event.position)] = l->kept[i];
    free(l->kept);
    l->kept = larger.kept;
    l->kept_slots = larger.kept_slots;
    return true;
}

static void copy_text(struct esdb_text *t, char **to) {
    if (t->len)
        memcpy(*to, t->at, t->len);
    if (t->at)
        t->at = *to;
    *to += t->len;
}

/* Keeps a copy, unless there are enough, or no memory: it is a cache. */
static void keep(struct esdb_lookup *l, const struct esdb_event *e) {
    size_t len = e->stream_id.len + e->event_type.len + e->event_id.len + e->data.len + e->metadata.len +
                 e->data_content_type.len + e->metadata_content_type.len;
    size_t size = sizeof(struct es_kept) + len;
    if (len > KEPT_EVENT_MAX || l->kept_size + size > KEPT_SIZE_MAX ||
        (l->kept_count * 2 >= l->kept_slots && !grow_kept(l)))
        return;
    size_t slot = kept_slot(l, e->position);
    struct es_kept *k = l->kept[slot] ? NULL : malloc(size);
    if (!k)
        return;
    char *to = k->bytes;
    k->event = *e;
    copy_text(&k->event.stream_id, &to);
    copy_text(&k->event.event_type, &to);
    copy_text(&k->event.event_id, &to);
    copy_text(&k->event.data, &to);
    copy_text(&k->event.metadata, &to);
    copy_text(&k->event.data_content_type, &to);
    copy_text(&k->event.metadata_content_type, &to);
    l->kept[slot] = k;
    l->kept_count++;
    l->kept_size += size;
}

/* ---- segments ---- */

/* Damage is noted once; everything else is the caller's to return. */
static int note(struct esdb_lookup *l, int rc, const struct esdb_error *wrong, struct esdb_error *err) {
    if (rc == ESDB_ECORRUPT) {
        if (l->damage.code == 0)
            l->damage = *wrong;
    } else if (err && err->code == 0) {
        *err = *wrong;
    }
    return rc;
}

/* The first position of a segment; 0 of one whose header is damaged, so that it is looked into and tells. */
static uint64_t first_of(struct esdb_lookup *l, size_t i) {
    struct es_lookup_segment *s = &l->segment[i];
    struct es_segment *seg;
    if (s->first_position == UINT64_MAX)
        s->first_position = es_segment_open(l->db, s->name, &seg, NULL) == 0 ? seg->header.first_position : 0;
    return s->first_position;
}

/* Number of segments that begin at or before the position. */
static size_t segments_until(struct esdb_lookup *l, uint64_t position) {
    size_t low = 0, high = l->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (first_of(l, middle) <= position)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The view of a segment; ESDB_ECORRUPT, noted: it cannot be read. */
static int view_of(struct esdb_lookup *l, size_t i, struct es_view **out, struct esdb_error *err) {
    struct es_lookup_segment *s = &l->segment[i];
    struct esdb_error wrong = {0};
    if (s->is_bad)
        return ESDB_ECORRUPT;
    if (!s->is_open) {
        uint64_t end = s->name == l->visible.segment ? l->visible.end_position : UINT64_MAX;
        int rc = es_view_open(l->db, s->name, end, &s->view, &wrong);
        s->is_bad = rc == ESDB_ECORRUPT;
        if (rc < 0)
            return note(l, rc, &wrong, err);
        s->is_open = true;
    }
    *out = &s->view;
    return 0;
}

static struct esdb_text text(struct fmt_text t) {
    return (struct esdb_text){t.at, t.len};
}

/* 0, ESDB_ENOTFOUND when the event is not to be shown, ESDB_ECORRUPT (noted), other errors. */
static int read_event(struct esdb_lookup *l, struct es_view *v, uint32_t ordinal, struct esdb_event *out,
                      struct esdb_error *err) {
    struct esdb_error wrong = {0};
    struct fmt_event e;
    int rc = es_view_read(v, ordinal, &l->window, &e, &wrong);
    if (rc < 0)
        return note(l, rc, &wrong, err);
    if ((e.stream_id.len && e.stream_id.at[0] == '$' && !(l->flags & ESDB_WITH_SYSTEM)) || e.flags & FMT_EVENT_ERASED ||
        es_life_hides(l->life, text(e.stream_id), e.version))
        return ESDB_ENOTFOUND;
    *out = (struct esdb_event){.position = v->seg->header.first_position + ordinal,
                               .version = e.version,
                               .epoch_us = e.epoch_us,
                               .stream_id = text(e.stream_id),
                               .event_type = text(e.event_type),
                               .event_id = text(e.event_id),
                               .data = e.flags & FMT_EVENT_HAS_DATA ? text(e.data) : (struct esdb_text){0},
                               .metadata = e.flags & FMT_EVENT_HAS_METADATA ? text(e.metadata) : (struct esdb_text){0},
                               .data_content_type = text(e.data_content_type),
                               .metadata_content_type = text(e.metadata_content_type),
                               .binary = e.flags & FMT_EVENT_BINARY};
    return 0;
}

int esdb_lookup_get(esdb_lookup *l, uint64_t position, struct esdb_event *out, struct esdb_error *err) {
    struct es_view *v;
    const struct es_kept *kept = l->kept_slots ? l->kept[kept_slot(l, position)] : NULL;
    if (kept) {
        *out = kept->event;
        return 0;
    }
    size_t i = position < l->visible.end_position ? segments_until(l, position) : 0;
    if (i == 0)
        return es_fail(err, ESDB_ENOTFOUND, "there is no event at position %llu", (unsigned long long)position);
    int rc = view_of(l, i - 1, &v, err);
    uint64_t ordinal = rc == 0 ? position - v->seg->header.first_position : 0;
    if (rc == 0)
        rc = ordinal <= UINT32_MAX ? read_event(l, v, (uint32_t)ordinal, out, err) : ESDB_ENOTFOUND;
    if (rc == ESDB_ECORRUPT && err && err->code == 0)
        *err = l->damage;
    return rc;
}

/* ---- finding ---- */

void es_found_open(struct es_found *f, struct esdb_lookup *l, enum fmt_event_key kind, struct esdb_text value,
                   bool reverse, uint64_t from, uint64_t to) {
    *f = (struct es_found){
        .lookup = l, .kind = kind, .value = value, .from = from, .to = to, .reverse = reverse, .high = 0};
    if (value.len == 0 || (kind == FMT_EVENT_KEY_ID && value.len > FMT_EVENT_ID_MAX) || from > to)
        return; /* no segment is left */
    f->hash = fmt_event_key_hash(kind, (struct fmt_text){value.at, value.len});
    f->high = to < l->visible.end_position ? segments_until(l, to) : l->count;
    f->low = from > 0 ? segments_until(l, from) : 0;
    f->low -= f->low > 0;
}

/* Looks into the next segment. */
static int enter(struct es_found *f, struct esdb_error *err) {
    struct esdb_lookup *l = f->lookup;
    struct esdb_error wrong = {0};
    size_t i = f->reverse ? --f->high : f->low++;
    f->ordinals.len = f->next = 0;
    f->view = NULL;
    int rc = view_of(l, i, &f->view, err);
    if (rc == 0 && (rc = es_view_keys(f->view, f->hash, &f->ordinals, &wrong)) < 0)
        rc = note(l, rc, &wrong, err);
    if (rc < 0)
        f->view = NULL;
    else if (!f->view->live && l->damage.code == 0)
        (void)es_segment_is_whole(l->db, f->view->seg, &l->damage); /* what the index lacks may have been it */
    return rc == ESDB_ECORRUPT ? 0 : rc;
}

/* The next event that the index points at. It may be another one by chance. */
static int next_hit(struct es_found *f, struct esdb_event *out, struct esdb_error *err) {
    for (;;) {
        size_t count = f->ordinals.len / sizeof(uint32_t);
        while (f->view && f->next < count) {
            const uint32_t *ordinals = (const uint32_t *)(const void *)f->ordinals.at;
            uint32_t ordinal = ordinals[f->reverse ? count - 1 - f->next : f->next];
            uint64_t position = f->view->seg->header.first_position + ordinal;
            f->next++;
            if (position < f->from || position > f->to)
                continue;
            int rc = read_event(f->lookup, f->view, ordinal, out, err);
            if (rc != ESDB_ENOTFOUND && rc != ESDB_ECORRUPT)
                return rc;
        }
        if (f->low >= f->high)
            return ESDB_END;
        int rc = enter(f, err);
        if (rc < 0)
            return rc;
    }
}

int es_found_next(struct es_found *f, struct esdb_event *out, struct esdb_error *err) {
    for (;;) {
        int rc = next_hit(f, out, err);
        if (rc != 0)
            return rc;
        if (f->kind == FMT_EVENT_KEY_ID ? equal(out->event_id, f->value)
                                        : esdb_event_names(out, members[f->kind], f->value)) {
            keep(f->lookup, out);
            return 0;
        }
    }
}

void es_found_close(struct es_found *f) {
    es_buffer_release(&f->ordinals);
}
