#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "append.h"
#include "batch.h"
#include "commit.h"
#include "format/checksum.h"
#include "format/event.h"
#include "idempotent.h"
#include "index.h"
#include "known.h"
#include "life.h"
#include "live.h"
#include "lock.h"
#include "os.h"
#include "recover.h"
#include "remote.h"
#include "roll.h"
#include "shared_head.h"

#define RESERVE_MAX (1u << 20) /* kept back for the store's own events, so that a full disk can be scavenged */
#define TERM_FIRST 1           /* of a store that was never replicated */
#define AHEAD 8u               /* streams: what is known of them lies anywhere in memory */
#define IMPORT_EVENTS 64u      /* a smaller frame is no import: its few look-ups cost less than remembering */

/* ---- versions ---- */

/* deleted: the stream has a version, but does not exist. */
static int conflict(struct esdb_error *err, struct esdb_text stream, int64_t expected, int64_t actual, bool deleted) {
    char wanted[32];
    if (!err || err->code != 0)
        return ESDB_ECONFLICT;
    if (expected >= 0)
        snprintf(wanted, sizeof wanted, "version %lld", (long long)expected);
    else
        snprintf(wanted, sizeof wanted, "%s", expected == ESDB_NO_STREAM ? "no stream" : "an existing stream");
    snprintf(err->stream_id, sizeof err->stream_id, "%.*s", (int)stream.len, stream.at);
    err->expected = expected;
    err->actual = actual;
    if (actual < 0)
        return es_fail(err, ESDB_ECONFLICT, "%.*s: expected %s, found no stream", (int)stream.len, stream.at, wanted);
    if (deleted)
        return es_fail(err, ESDB_ECONFLICT, "%.*s: expected %s, found a deleted stream of version %lld",
                       (int)stream.len, stream.at, wanted, (long long)actual);
    return es_fail(err, ESDB_ECONFLICT, "%.*s: expected %s, found %s%lld", (int)stream.len, stream.at, wanted,
                   expected >= 0 ? "" : "version ", (long long)actual);
}

/* A stream that was deleted does not exist, but its version is still what the next one counts from. */
static bool meets(const struct es_batch_stream *s) {
    if (s->expected == ESDB_ANY)
        return true;
    if (s->expected == ESDB_EXISTS || s->expected == ESDB_NO_STREAM)
        return s->exists == (s->expected == ESDB_EXISTS);
    return s->expected == s->current;
}

/* What deletions leave of a stream. */
static int current_life(struct es_view *active, struct esdb_text name, struct es_batch_stream *s,
                        struct esdb_error *err) {
    struct es_stream_life life;
    int rc = es_life_in_view(active, name, active->end_position, &life, err);
    if (rc < 0)
        return rc;
    s->exists = es_life_exists(&life, s->current);
    if (!life.closed || (s->events == 0 && !s->expects))
        return 0;
    if (err && err->code == 0) {
        snprintf(err->stream_id, sizeof err->stream_id, "%.*s", (int)name.len, name.at);
        err->expected = s->expected;
        err->actual = s->current;
    }
    return es_fail(err, ESDB_ECONFLICT, "%.*s: was closed for ever; nothing can be appended to it", (int)name.len,
                   name.at);
}

/* The version of one stream's newest event, -1 when there is none, where that lies in the active segment, and whether the
 * stream exists. any_life: some stream may have a life. */
static int current_version(struct es_view *active, struct esdb_text name, struct es_batch_stream *s, bool any_life,
                           struct esdb_error *err) {
    const struct es_known *known = s->known = es_known_find(active->db, s->hash, name);
    if (known) { /* by an append of this handle, after which nobody deleted it */
        s->current = known->version;
        s->last = known->last;
        s->exists = known->version >= 0;
        return 0;
    }
    uint64_t version;
    int rc = es_stream_version(active, name, &version, err);
    s->current = rc == 0 ? (int64_t)version : -1;
    s->last = ES_LAST_UNKNOWN;
    s->exists = rc == 0;
    if (rc < 0 && rc != ESDB_ENOTFOUND)
        return rc;
    /* A stream of which nothing is there may have been closed, and all of it removed. */
    return any_life && name.at[0] != '$' ? current_life(active, name, s, err) : 0;
}

/* Looks up the current version of every stream of the batch, events not yet synced included, and checks expectations.
 * What this handle does not know itself is as it was at `indexed`. */
static int number_streams(esdb *db, esdb_batch *b, const struct fmt_mark *indexed, struct esdb_error *err) {
    struct es_view active;
    bool any_life;
    int rc = es_view_open(db, indexed->segment, indexed->end_position, &active, err);
    if (rc == 0)
        rc = es_life_any(&active, &any_life, err);
    if (rc < 0)
        return rc;
    for (uint32_t i = 0; i < es_batch_streams(b); i++) {
        struct es_batch_stream *s = es_batch_stream_at(b, i);
        struct esdb_text name = es_batch_name(b, s);
        if (i + AHEAD < es_batch_streams(b))
            es_known_expect(db, es_batch_stream_at(b, i + AHEAD)->hash);
        rc = current_version(&active, name, s, any_life, err);
        if (rc < 0)
            return rc;
        s->next = (uint64_t)(s->current + 1);
        if (s->expects && !meets(s))
            return conflict(err, name, s->expected, s->current, !s->exists);
        if (s->begins && s->begin != s->next) {
            if (s->current >= 0)
                return es_fail(err, ESDB_ECONFLICT, "%.*s: its next version is %llu, not %llu", (int)name.len, name.at,
                               (unsigned long long)s->next, (unsigned long long)s->begin);
            s->next = s->begin;
        }
    }
    return 0;
}

/* Times that are to be kept must not go backwards. */
static int check_times(const esdb_batch *b, uint64_t last_epoch_us, uint64_t clock_us, struct esdb_error *err) {
    for (uint32_t i = 0; i < esdb_batch_count(b); i++) {
        uint64_t kept = es_batch_event_at(b, i)->epoch_us;
        if (kept == 0 && clock_us > last_epoch_us)
            last_epoch_us = clock_us;
        if (kept != 0 && kept < last_epoch_us)
            return es_fail(
                err, ESDB_ECONFLICT,
                "event %u of the frame: epoch_us %llu is before the newest event's %llu: order would not hold", i + 1,
                (unsigned long long)kept, (unsigned long long)last_epoch_us);
        if (kept != 0)
            last_epoch_us = kept;
    }
    return 0;
}

/* ---- writing ---- */

/* Gives every event its version, time and checksum, and the frame its header. */
static void seal_frame(esdb *db, esdb_batch *b, const struct es_tail *t, uint64_t term, uint64_t clock_us,
                       struct fmt_frame *f) {
    const struct fmt_mark *tail = &t->mark;
    uint64_t epoch_us = tail->last_epoch_us, fold = 0;
    for (uint32_t i = 0; i < esdb_batch_count(b); i++) {
        const struct es_batch_event *e = es_batch_event_at(b, i);
        uint64_t wanted = e->epoch_us ? e->epoch_us : clock_us;
        if (wanted > epoch_us)
            epoch_us = wanted;
        fold =
            fmt_fold(fold, fmt_event_seal(b->frame.at + e->offset, es_batch_stream_at(b, e->stream)->next++, epoch_us));
    }
    uint64_t end = tail->end_offset + b->frame.len;
    bool rolls = end + b->frame.len + FMT_FRAME_HEADER_SIZE > db->settings.user.segment_size;
    *f = (struct fmt_frame){.kind = FMT_FRAME_EVENTS,
                            .flags = rolls ? FMT_FRAME_ROLLS : 0, /* the next one would hardly fit */
                            .frame_len = (uint32_t)b->frame.len,
                            .count = esdb_batch_count(b),
                            .index = tail->index + 1,
                            .term = term,
                            .first_position = tail->end_position,
                            .committed_index = es_head_committed(db),
                            .incarnation = db->settings.incarnation,
                            .clock_us = clock_us,
                            .last_epoch_us = epoch_us,
                            .prev_checksum = tail->checksum,
                            .payload_checksum = fold,
                            .synced_index = es_known_synced(db)};
    fmt_frame_encode(f, b->frame.at);
}

/* No stream of the batch has an event in the segment (0), or it is not known where (ES_LAST_UNKNOWN). */
static void forget_places(esdb_batch *b, uint32_t last) {
    for (uint32_t i = 0; i < es_batch_streams(b); i++)
        es_batch_stream_at(b, i)->last = last;
}

uint64_t es_next_term(const struct es_tail *tail) {
    return tail->term > TERM_FIRST ? tail->term : TERM_FIRST;
}

uint64_t es_known_synced(const esdb *db) {
    return db->settings.user.durability == ESDB_DURABLE ? es_head_synced(db) : 0;
}

int es_write_frame(esdb *db, const unsigned char *bytes, const struct fmt_frame *f, esdb_batch *b, struct es_tail *tail,
                   struct esdb_error *err) {
    struct fmt_mark *m = &tail->mark;
    int rc = es_pwrite(db->active.fd, bytes, f->frame_len, m->end_offset);
    if (rc < 0)
        return es_write_failed(db, "writing the log", rc, err);
    if (b && !es_live_add(db, b, f, m->end_offset)) /* the next append replays it: where its events are is not known */
        forget_places(b, ES_LAST_UNKNOWN);
    es_tail_pass(tail, f);
    db->checked_index = f->index;
    es_publish_appended(db, m);
    return 0;
}

/* Space for the frame, and beyond it what is kept back. */
static int allocate(esdb *db, uint64_t end, unsigned flags, struct esdb_error *err) {
    uint64_t reserve = db->active.allocated / 8 < RESERVE_MAX ? db->active.allocated / 8 : RESERVE_MAX;
    int rc = es_active_allocate(db, end + reserve);
    if (rc < 0 && (flags & ESDB_USE_RESERVE))
        rc = es_active_allocate(db, end);
    return rc < 0 ? es_write_failed(db, "allocating space for the log", rc, err) : 0;
}

/* Makes sure that current versions can be told. *import: this handle knows what the index does not, which follows
 * later. */
static int prepare(esdb *db, const esdb_batch *b, unsigned flags, const struct es_tail *tail, bool *import,
                   struct esdb_error *err) {
    bool must = !(flags & ESDB_USE_RESERVE), holds = es_known_holds(db, &tail->mark);
    *import = esdb_batch_count(b) >= IMPORT_EVENTS && !(flags & (ESDB_IDEMPOTENT | ESDB_IDEMPOTENT_ANYWHERE));
    if (*import && !holds) {
        int rc = es_live_prepare(db, tail, 0, 0, must, err);
        if (rc < 0)
            return rc;
        es_known_start(db, &tail->mark);
        holds = es_known_holds(db, &tail->mark);
    }
    *import = *import && holds;
    return *import ? 0 : es_live_prepare(db, tail, esdb_batch_count(b), es_live_keys_of(b), must, err);
}

/* Closes the segment and begins the next one. */
static int roll(esdb *db, esdb_batch *b, unsigned flags, struct es_tail *tail, bool import, struct esdb_error *err) {
    int rc = es_roll(db, tail, err);
    if (rc < 0)
        return rc;
    forget_places(b, 0);
    if (import)
        return 0;
    return es_live_prepare(db, tail, esdb_batch_count(b), es_live_keys_of(b), !(flags & ESDB_USE_RESERVE), err);
}

/* Append lock held. 0: written. 1: nothing to write, or it was there already. */
static int append_locked(esdb *db, esdb_batch *b, unsigned flags, struct es_tail *tail, struct esdb_receipt *out,
                         struct esdb_error *err) {
    bool import;
    uint64_t clock_us = es_clock_us();
    int rc = es_tail_load(db, tail, err);
    if (rc == 0)
        rc = prepare(db, b, flags, tail, &import, err);
    if (rc == 0 && (flags & ESDB_IDEMPOTENT_ANYWHERE))
        rc = es_find_anywhere(db, b, &tail->mark, out, err);
    else if (rc == 0 && (flags & ESDB_IDEMPOTENT))
        rc = es_find_existing(db, b, &tail->mark, out, err);
    if (rc == 0)
        rc = number_streams(db, b, import ? es_known_base(db) : &tail->mark, err);
    if (rc == 0)
        rc = check_times(b, tail->mark.last_epoch_us, clock_us, err);
    if (rc == 0 && esdb_batch_count(b) == 0)
        return 1;
    if (rc == 0 && es_must_roll(db, tail, b->frame.len))
        rc = roll(db, b, flags, tail, import, err);
    if (rc == 0)
        rc = allocate(db, tail->mark.end_offset + b->frame.len, flags, err);
    if (rc != 0)
        return rc;
    if (b->tells_life) /* first: whoever sees the frame knows that there is something to look for */
        es_head_set_life(db, tail->mark.end_position + esdb_batch_count(b));
    struct fmt_frame f;
    seal_frame(db, b, tail, es_next_term(tail), clock_us, &f);
    rc = es_write_frame(db, b->frame.at, &f, import ? NULL : b, tail, err);
    if (rc == 0)
        es_known_keep(db, b, &tail->mark);
    return rc;
}

/* ---- the receipt ---- */

int es_fill_receipt(esdb *db, esdb_batch *b, const struct fmt_mark *m, struct esdb_receipt *out,
                    struct esdb_error *err) {
    b->receipt.len = 0;
    for (uint32_t i = 0; i < es_batch_streams(b); i++) {
        const struct es_batch_stream *s = es_batch_stream_at(b, i);
        if (s->events == 0)
            continue;
        struct esdb_receipt_stream r = {es_batch_name(b, s), s->next - s->events, s->next - 1};
        if (es_buffer_add(&b->receipt, &r, sizeof r) < 0)
            return es_fail(err, ESDB_EUNKNOWN, "%s: no memory for the receipt of frame %llu", db->path,
                           (unsigned long long)m->index);
    }
    uint32_t count = esdb_batch_count(b);
    *out = (struct esdb_receipt){.frame_index = m->index,
                                 .generation = es_head_generation(db),
                                 .first_position = m->end_position - count,
                                 .last_position = m->end_position - 1,
                                 .epoch_us = m->last_epoch_us,
                                 .count = count,
                                 .stream_count = b->receipt.len / sizeof(struct esdb_receipt_stream),
                                 .streams = (const struct esdb_receipt_stream *)(const void *)b->receipt.at};
    return 0;
}

/* es_commit for a frame that is written: whatever keeps it from being confirmed, it may be there. */
static int await(esdb *db, uint64_t index, uint64_t generation, struct esdb_error *err) {
    struct esdb_error why = {0};
    int rc = es_commit(db, index, generation, &why);
    if (rc == 0)
        return 0;
    if (rc != ESDB_EPOISONED && rc != ESDB_EUNKNOWN)
        return es_fail(err, ESDB_EUNKNOWN, "%s: whether frame %llu was stored is unknown: %s", db->path,
                       (unsigned long long)index, why.text[0] ? why.text : esdb_strerror(rc));
    if (err && err->code == 0)
        *err = why;
    return rc;
}

int esdb_append(esdb *db, esdb_batch *b, unsigned flags, struct esdb_receipt *out, struct esdb_error *err) {
    struct es_tail tail = {0};
    struct esdb_receipt r = {0};
    if (!(db->flags & ESDB_APPEND))
        return es_fail(err, ESDB_EUSAGE, "%s: was not opened for appending", db->path);
    if (db->settings.replicated) /* durable and committed when it returns */
        return es_append_remote(db, b, flags, out, err);
    if (flags & ESDB_IDEMPOTENT_ANYWHERE && es_find_settled(db, b, &r) == 1) {
        *out = r;
        return 0;
    }
    r = (struct esdb_receipt){0};
    int rc = es_lock_append(db, err);
    if (rc < 0)
        return rc;
    rc = append_locked(db, b, flags, &tail, &r, err);
    uint64_t generation = es_head_valid(db) ? es_head_generation(db) : 0;
    if (rc == 0)
        rc = es_fill_receipt(db, b, &tail.mark, &r, err);
    es_unlock_append(db);
    if (rc == 0 && !(flags & ESDB_NO_WAIT))
        rc = await(db, r.frame_index, generation, err);
    if ((rc == ESDB_ECONFLICT && !(flags & ES_TRIES_AGAIN)) ||
        rc == 1) { /* that answer rests on frames which must not be lost any more */
        struct esdb_error why = {0};
        int waited = es_commit(db, tail.mark.index, generation, &why);
        if (waited < 0 && err)
            *err = why;
        if (waited < 0)
            return waited;
        rc = rc == 1 ? 0 : rc;
    }
    if (!(flags & ESDB_NO_SEAL))
        es_seal_rolled(db, tail.mark.segment);
    if (rc == 0)
        *out = r;
    return rc;
}

int es_prepare_frame(esdb *db, esdb_batch *b, unsigned flags, const struct es_tail *tail, uint64_t term,
                     struct fmt_frame *f, struct esdb_receipt *out, struct esdb_error *err) {
    uint64_t clock_us = es_clock_us();
    bool must = !(flags & ESDB_USE_RESERVE);
    int rc = es_live_prepare(db, tail, esdb_batch_count(b), es_live_keys_of(b), must, err);
    if (rc == 0 && (flags & ESDB_IDEMPOTENT_ANYWHERE))
        rc = es_find_anywhere(db, b, &tail->mark, out, err);
    else if (rc == 0 && (flags & ESDB_IDEMPOTENT))
        rc = es_find_existing(db, b, &tail->mark, out, err);
    if (rc == 0)
        rc = number_streams(db, b, &tail->mark, err);
    if (rc == 0)
        rc = check_times(b, tail->mark.last_epoch_us, clock_us, err);
    if (rc == 0 && esdb_batch_count(b) == 0)
        return 1;
    if (rc == 0 && !tail->rolled && es_must_roll(db, tail, b->frame.len))
        return ES_MUST_ROLL;
    if (rc != 0)
        return rc;
    struct es_tail after = *tail; /* where the frame will stand if its segment is still to be made */
    if (after.rolled)
        after.mark.end_offset = FMT_SEGMENT_HEADER_SIZE;
    seal_frame(db, b, &after, term, clock_us, f);
    return 0;
}

int esdb_catch_up(esdb *db, struct esdb_error *err) {
    struct es_tail tail = {0};
    if (!db->known) /* no import: the index is up to date */
        return 0;
    int rc = es_lock_append(db, err);
    if (rc < 0)
        return rc;
    rc = es_tail_load(db, &tail, err);
    if (rc == 0) {
        es_known_holds(db, &tail.mark);
        rc = es_live_prepare(db, &tail, 0, 0, false, err);
    }
    es_unlock_append(db);
    return rc;
}

int esdb_commit(esdb *db, const struct esdb_receipt *r, struct esdb_error *err) {
    return r->frame_index == 0 || db->settings.replicated ? 0 : await(db, r->frame_index, r->generation, err);
}

void esdb_write_ahead(esdb *db) {
    struct es_active *a = &db->active;
    struct fmt_mark m;
    if (a->fd < 0 || !es_head_valid(db) || !es_mark_find(db->head->appended_mark, es_head_appended(db), &m) ||
        m.segment != a->name)
        return;
    if (m.end_offset > a->written_ahead) {
        es_write_ahead(a->fd, a->written_ahead, m.end_offset - a->written_ahead);
        a->written_ahead = m.end_offset;
    }
}
