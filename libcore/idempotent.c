#include "idempotent.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "directory.h"
#include "format/checksum.h"
#include "format/event_keys.h"
#include "index.h"
#include "poison.h"
#include "visible.h"

/* An event of the batch and what the log says about its id. */
struct lookup {
    struct fmt_event wanted;
    bool found, equal;
    uint64_t position;
    struct fmt_event event; /* found */
};

static bool same(struct fmt_text a, struct fmt_text b) {
    return a.len == b.len && memcmp(a.at, b.at, a.len) == 0;
}

static bool equal_content(const struct fmt_event *a, const struct fmt_event *b) {
    return a->flags == b->flags && same(a->event_type, b->event_type) && same(a->data, b->data) &&
           same(a->metadata, b->metadata) && same(a->data_content_type, b->data_content_type) &&
           same(a->metadata_content_type, b->metadata_content_type);
}

/* Looks for the id in one segment. */
static int look_in(struct es_view *v, struct lookup *l, struct esdb_error *err) {
    struct es_buffer ordinals = {0};
    int rc = es_view_keys(v, fmt_event_key_hash(FMT_EVENT_KEY_ID, l->wanted.event_id), &ordinals, err);
    for (size_t i = ordinals.len / sizeof(uint32_t); rc == 0 && !l->found && i-- > 0;) {
        uint32_t ordinal;
        memcpy(&ordinal, ordinals.at + i * sizeof ordinal, sizeof ordinal);
        rc = es_view_event(v, ordinal, &l->event, err);
        if (rc < 0 || !same(l->event.event_id, l->wanted.event_id) || !same(l->event.stream_id, l->wanted.stream_id))
            continue;
        l->found = true;
        l->equal = equal_content(&l->wanted, &l->event);
        l->position = v->seg->header.first_position + ordinal;
    }
    es_buffer_release(&ordinals);
    return rc;
}

/* Looks in the active segment, then in the sealed ones that hold the stream, newest first. */
static int look_up(esdb *db, const struct fmt_mark *tail, struct lookup *l, struct esdb_error *err) {
    struct es_view v;
    struct esdb_text stream = {l->wanted.stream_id.at, l->wanted.stream_id.len};
    int rc = es_view_open(db, tail->segment, tail->end_position, &v, err);
    if (rc == 0)
        rc = look_in(&v, l, err);
    if (rc < 0 || l->found)
        return rc;
    struct es_directory *d;
    struct es_place *place = NULL;
    size_t count = 0;
    rc = es_directory_get(db, tail->segment, &d, err);
    if (rc == 0)
        rc = es_directory_places(d, stream, &place, &count, err);
    if (rc == ESDB_ENOTFOUND)
        rc = 0;
    while (rc == 0 && !l->found && count-- > 0) {
        rc = es_view_open(db, place[count].segment, UINT64_MAX, &v, err);
        if (rc == 0)
            rc = look_in(&v, l, err);
    }
    free(place);
    return rc;
}

static int compare_hashes(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* The same id twice for one stream, or anywhere, within the batch has no meaning. Hashes of 64 bits stand for them. */
static int refuse_twins(const esdb_batch *b, bool anywhere, struct esdb_error *err) {
    uint32_t count = esdb_batch_count(b);
    uint64_t *hash = malloc((count ? count : 1) * sizeof *hash);
    if (!hash)
        return es_fail(err, -ENOMEM, "batch");
    for (uint32_t i = 0; i < count; i++) {
        const struct es_batch_event *e = es_batch_event_at(b, i);
        struct fmt_event event;
        (void)fmt_event_decode(b->frame.at + e->offset, b->frame.len - e->offset, &event);
        hash[i] = fmt_fold(anywhere ? 0 : es_batch_stream_at(b, e->stream)->hash,
                           fmt_checksum(event.event_id.at, event.event_id.len));
    }
    qsort(hash, count, sizeof *hash, compare_hashes);
    bool twins = false;
    for (uint32_t i = 1; i < count; i++)
        twins |= hash[i] == hash[i - 1];
    free(hash);
    return twins ? es_fail(err, ESDB_ECONFLICT, "an event_id stands twice in the frame") : 0;
}

static int existing_receipt(const esdb *db, esdb_batch *b, struct esdb_receipt *out, struct esdb_error *err) {
    b->receipt.len = 0;
    for (uint32_t i = 0; i < es_batch_streams(b); i++) {
        const struct es_batch_stream *s = es_batch_stream_at(b, i);
        struct esdb_receipt_stream r = {es_batch_name(b, s), (uint64_t)s->current, s->next};
        if (s->events && es_buffer_add(&b->receipt, &r, sizeof r) < 0)
            return es_fail(err, -ENOMEM, "%s: receipt", db->path);
    }
    out->existed = true;
    out->count = esdb_batch_count(b);
    out->stream_count = b->receipt.len / sizeof(struct esdb_receipt_stream);
    out->streams = (const struct esdb_receipt_stream *)(const void *)b->receipt.at;
    return 1;
}

/* Widens the receipt of then by one event: current and next serve as lowest and highest version. */
static void note(struct es_batch_stream *s, const struct lookup *l, bool first, struct esdb_receipt *out) {
    if (s->current < 0 || (int64_t)l->event.version < s->current)
        s->current = (int64_t)l->event.version;
    if (l->event.version > s->next)
        s->next = l->event.version;
    if (first || l->position < out->first_position)
        out->first_position = l->position;
    if (first || l->position > out->last_position)
        out->last_position = l->position;
    if (l->event.epoch_us > out->epoch_us)
        out->epoch_us = l->event.epoch_us;
}

static int only_some(uint32_t found, uint32_t count, struct esdb_error *err) {
    return es_fail(err, ESDB_ECONFLICT, "%u of %u events of the frame are there already, the others are not", found,
                   count);
}

int es_find_existing(esdb *db, esdb_batch *b, const struct fmt_mark *tail, struct esdb_receipt *out,
                     struct esdb_error *err) {
    uint32_t count = esdb_batch_count(b), found = 0;
    int rc = refuse_twins(b, false, err);
    for (uint32_t i = 0; i < es_batch_streams(b); i++) {
        es_batch_stream_at(b, i)->current = -1;
        es_batch_stream_at(b, i)->next = 0;
    }
    for (uint32_t i = 0; rc == 0 && i < count; i++) {
        const struct es_batch_event *e = es_batch_event_at(b, i);
        struct lookup l = {0};
        (void)fmt_event_decode(b->frame.at + e->offset, b->frame.len - e->offset, &l.wanted);
        rc = look_up(db, tail, &l, err);
        if (rc < 0)
            return rc;
        struct es_batch_stream *s = es_batch_stream_at(b, e->stream);
        if (l.found && !l.equal)
            return es_fail(err, ESDB_ECONFLICT, "%.*s: event_id %.*s is there with other content (version %llu)",
                           (int)s->name_len, (const char *)b->names.at + s->name_at, (int)l.wanted.event_id.len,
                           l.wanted.event_id.at, (unsigned long long)l.event.version);
        if (l.found)
            note(s, &l, found++ == 0, out);
    }
    if (rc == 0 && found < count) /* what a damaged segment held may be just these */
        rc = es_index_is_whole(db, err);
    if (rc < 0 || found == 0)
        return rc;
    if (found < count)
        return only_some(found, count, err);
    return existing_receipt(db, b, out, err);
}

/* ---- anywhere ---- */

/* The batch's ids in the whole store. */
struct search {
    esdb *db;
    const esdb_batch *batch;
    bool *found; /* a flag an event of the batch; owned */
    uint32_t count, found_count;
    esdb_batch *then; /* its streams are those that were found; their current and next serve as in note(); owned */
    struct esdb_receipt *out;
};

/* Notes an event that was found, before its bytes may go away. */
static int note_anywhere(struct search *s, uint32_t i, const struct fmt_event *event, uint64_t position,
                         struct esdb_error *err) {
    struct lookup l = {.found = true, .position = position, .event = *event};
    struct esdb_text name = {event->stream_id.at, event->stream_id.len};
    uint32_t stream;
    int rc = es_batch_find_stream(s->then, name, &stream);
    if (rc < 0)
        return es_fail(err, rc, "%s", s->db->path);
    struct es_batch_stream *of = es_batch_stream_at(s->then, stream);
    of->events++;
    note(of, &l, s->found_count++ == 0, s->out);
    s->found[i] = true;
    return 0;
}

/* Looks for one id in one segment; the oldest event that has it counts. */
static int look_for(struct search *s, struct es_view *v, uint32_t i, struct es_buffer *ordinals,
                    struct esdb_error *err) {
    const struct es_batch_event *e = es_batch_event_at(s->batch, i);
    struct fmt_event wanted, event;
    (void)fmt_event_decode(s->batch->frame.at + e->offset, s->batch->frame.len - e->offset, &wanted);
    ordinals->len = 0;
    int rc = es_view_keys(v, fmt_event_key_hash(FMT_EVENT_KEY_ID, wanted.event_id), ordinals, err);
    for (size_t k = 0; rc == 0 && !s->found[i] && k < ordinals->len / sizeof(uint32_t); k++) {
        uint32_t ordinal;
        memcpy(&ordinal, ordinals->at + k * sizeof ordinal, sizeof ordinal);
        rc = es_view_event(v, ordinal, &event, err);
        if (rc == 0 && same(event.event_id, wanted.event_id))
            rc = note_anywhere(s, i, &event, v->seg->header.first_position + ordinal, err);
    }
    return rc;
}

/* Looks for all that are not found yet in one segment. */
static int search_segment(struct search *s, uint64_t segment, uint64_t end_position, struct esdb_error *err) {
    struct es_buffer ordinals = {0};
    struct es_view v;
    int rc = es_view_open(s->db, segment, end_position, &v, err);
    for (uint32_t i = 0; rc == 0 && i < s->count; i++)
        if (!s->found[i])
            rc = look_for(s, &v, i, &ordinals, err);
    es_buffer_release(&ordinals);
    return rc;
}

/* Looks in the segments from .. to-1, newest first: a retry mostly comes soon. */
static int search_sealed(struct search *s, uint64_t from, uint64_t to, struct esdb_error *err) {
    uint64_t *names = NULL;
    size_t n = 0;
    int rc = from < to ? es_segment_list(s->db, &names, &n, err) : 0;
    while (rc == 0 && s->found_count < s->count && n-- > 0)
        if (names[n] < to && names[n] >= from)
            rc = search_segment(s, names[n], UINT64_MAX, err);
    free(names);
    if (rc == 0 && s->found_count < s->count) /* what a damaged segment held may be just these */
        rc = es_index_is_whole(s->db, err);
    return rc;
}

/* The receipt of then: its names lie behind its streams in the batch's own memory. */
static int receipt_of_then(struct search *s, esdb_batch *b, struct esdb_error *err) {
    size_t count = es_batch_streams(s->then), names_at = count * sizeof(struct esdb_receipt_stream);
    b->receipt.len = 0;
    if (es_buffer_reserve(&b->receipt, names_at + s->then->names.len) < 0)
        return es_fail(err, -ENOMEM, "%s: receipt", s->db->path);
    const char *names = (const char *)b->receipt.at + names_at;
    for (uint32_t i = 0; i < count; i++) {
        const struct es_batch_stream *of = es_batch_stream_at(s->then, i);
        struct esdb_receipt_stream r = {{names + of->name_at, of->name_len}, (uint64_t)of->current, of->next};
        es_buffer_add(&b->receipt, &r, sizeof r);
    }
    es_buffer_add(&b->receipt, s->then->names.at, s->then->names.len);
    s->out->existed = true;
    s->out->count = s->count;
    s->out->stream_count = count;
    s->out->streams = (const struct esdb_receipt_stream *)(const void *)b->receipt.at;
    return 1;
}

static int begin_search(struct search *s, struct esdb_error *err) {
    s->found = calloc(s->count, sizeof *s->found);
    if (!s->found || esdb_batch_open(&s->then) < 0)
        return es_fail(err, -ENOMEM, "%s", s->db->path);
    return 0;
}

static void end_search(struct search *s) {
    esdb_batch_close(s->then);
    free(s->found);
}

int es_find_anywhere(esdb *db, esdb_batch *b, const struct fmt_mark *tail, struct esdb_receipt *out,
                     struct esdb_error *err) {
    struct search s = {.db = db, .batch = b, .count = esdb_batch_count(b), .out = out};
    int rc = refuse_twins(b, true, err);
    if (rc < 0 || s.count == 0)
        return rc;
    rc = begin_search(&s, err);
    if (rc == 0)
        rc = search_segment(&s, tail->segment, tail->end_position, err);
    if (rc == 0 && s.found_count < s.count)
        rc = search_sealed(&s, b->none_below, tail->segment, err);
    if (rc == 0 && s.found_count > 0)
        rc = s.found_count < s.count ? only_some(s.found_count, s.count, err) : receipt_of_then(&s, b, err);
    end_search(&s);
    return rc;
}

int es_find_settled(esdb *db, esdb_batch *b, struct esdb_receipt *out) {
    struct search s = {.db = db, .batch = b, .count = esdb_batch_count(b), .out = out};
    struct es_visible visible;
    b->none_below = 0;
    if (s.count == 0 || es_check_poison(db, NULL) < 0 || es_visible(db, &visible, NULL) < 0 ||
        visible.lost_segment != 0 || refuse_twins(b, true, NULL) < 0)
        return 0;
    int rc = begin_search(&s, NULL);
    if (rc == 0)
        rc = search_sealed(&s, 0, visible.segment, NULL);
    if (rc == 0 && s.found_count == s.count)
        rc = receipt_of_then(&s, b, NULL);
    else if (rc == 0 && s.found_count == 0)
        b->none_below = visible.segment;
    end_search(&s);
    return rc == 1;
}
