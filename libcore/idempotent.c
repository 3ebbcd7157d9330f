#include "idempotent.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "directory.h"
#include "format/checksum.h"
#include "format/event_keys.h"
#include "index.h"

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

/* The same id twice for one stream within the batch has no meaning. Hashes of 64 bits stand for the pairs. */
static int refuse_twins(const esdb_batch *b, struct esdb_error *err) {
    uint32_t count = esdb_batch_count(b);
    uint64_t *hash = malloc((count ? count : 1) * sizeof *hash);
    if (!hash)
        return es_fail(err, -ENOMEM, "batch");
    for (uint32_t i = 0; i < count; i++) {
        const struct es_batch_event *e = es_batch_event_at(b, i);
        struct fmt_event event;
        (void)fmt_event_decode(b->frame.at + e->offset, b->frame.len - e->offset, &event);
        hash[i] = fmt_fold(es_batch_stream_at(b, e->stream)->hash, fmt_checksum(event.event_id.at, event.event_id.len));
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

int es_find_existing(esdb *db, esdb_batch *b, const struct fmt_mark *tail, struct esdb_receipt *out,
                     struct esdb_error *err) {
    uint32_t count = esdb_batch_count(b), found = 0;
    int rc = refuse_twins(b, err);
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
        return es_fail(err, ESDB_ECONFLICT, "%u of %u events of the frame are there already, the others are not", found,
                       count);
    return existing_receipt(db, b, out, err);
}
