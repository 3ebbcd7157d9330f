#include "live.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "format/checksum.h"
#include "format/event_keys.h"
#include "known.h"
#include "live_internal.h"
#include "os.h"
#include "shared_head.h"

/* How far back the jump of a stream's n-th event (n > 0) goes: Myers' skew-binary rule. n is a sum of numbers 2^k - 1,
 * each taken as large as possible; the jump takes away the smallest. */
static uint32_t jump_distance(uint32_t n) {
    uint32_t weight = 0;
    while (n > 0) {
        weight = (uint32_t)((2ull << (31 - __builtin_clz(n))) - 1); /* 2^k - 1 >= n */
        if (weight > n)
            weight >>= 1;
        n -= weight;
    }
    return weight;
}

/* Place of a new entry in its stream after `prev` (an ordinal): nth, prev, and the jump, which is prev itself or where the
 * jump of prev's jump leads. False: the index is damaged. */
static bool place_after(const esdb *db, uint32_t prev, struct fmt_live_entry *out) {
    const struct fmt_live_entry *p = es_live_entry(db, prev);
    if (!p)
        return false;
    out->nth = p->nth + 1;
    out->prev = out->jump = prev + 1;
    if (jump_distance(out->nth) == 1)
        return true;
    const struct fmt_live_entry *j = p->jump ? es_live_entry(db, p->jump - 1) : NULL;
    if (j)
        out->jump = j->jump;
    return j != NULL;
}

/* An event on its way into the index, and what is known of its stream. */
struct addition {
    struct fmt_event event; /* leads into the log, or into a batch */
    uint64_t offset, stream_hash;
    uint32_t ordinal, frame_event;
    uint32_t last;          /* ES_LAST_UNKNOWN, or its stream's newest event in the index: ordinal + 1; 0: none */
    struct es_known *known; /* may be NULL */
    uint32_t key_count;     /* FEW_KEYS + 1: more than there is room for here */
    uint64_t key[8];
};
#define FEW_KEYS 8u

static void collect_keys(struct addition *a) {
    struct fmt_event_keys k;
    uint64_t hash;
    fmt_event_keys_begin(&k, &a->event);
    for (a->key_count = 0; a->key_count <= FEW_KEYS && fmt_event_keys_next(&k, &hash); a->key_count++)
        if (a->key_count < FEW_KEYS)
            a->key[a->key_count] = hash;
}

static struct esdb_text stream_of(const struct addition *a) {
    return (struct esdb_text){a->event.stream_id.at, a->event.stream_id.len};
}

/* The word of the chain that leads to the stream's newest entry. As es_live_find_stream. */
static int find_link(const esdb *db, const struct es_segment *seg, const struct addition *a,
                     struct es_live_place *out) {
    if (a->last == ES_LAST_UNKNOWN)
        return es_live_find_stream(db, seg, stream_of(a), a->stream_hash, out);
    struct es_live_place f = {.place = a->stream_hash & (db->live.capacity - 1)};
    f.word = &db->live.stream_bucket[f.place];
    for (uint64_t steps = 0; steps <= db->live.capacity; steps++) {
        uint32_t target;
        if (!fmt_link_decode(*f.word, f.place, &target) || target > db->live.capacity)
            return ESDB_ECORRUPT;
        if (target == a->last || target == 0) {
            f.ordinal = target - 1;
            *out = f;
            return target == a->last ? (target == 0) : ESDB_ECORRUPT;
        }
        if (db->live.entry[target - 1].stream_hash == (uint32_t)(a->stream_hash >> 32))
            return ESDB_ECORRUPT; /* perhaps a newer one of the stream: two of one in a chain would hide one from all */
        f.place = db->live.capacity + target - 1;
        f.word = &db->live.entry[target - 1].stream_next;
    }
    return ESDB_ECORRUPT;
}

/* Entry first, then the word that leads to it. */
static int add_entry(esdb *db, const struct es_segment *seg, const struct addition *a) {
    struct es_live *l = &db->live;
    struct es_live_place f;
    uint32_t after = 0;
    int rc = find_link(db, seg, a, &f);
    if (rc < 0)
        return ESDB_ECORRUPT;
    if (rc == 0 && f.ordinal >= a->ordinal) /* a writer died half-way through this frame: the index is made anew */
        return ESDB_ECORRUPT;
    if (rc == 0 && !fmt_link_decode(l->entry[f.ordinal].stream_next, l->capacity + f.ordinal, &after))
        return ESDB_ECORRUPT;
    struct fmt_live_entry fresh = {.offset8 = (uint32_t)(a->offset / 8),
                                   .stream_hash = (uint32_t)(a->stream_hash >> 32),
                                   .frame_event = a->frame_event};
    if (rc == 0 && !place_after(db, f.ordinal, &fresh))
        return ESDB_ECORRUPT;
    fresh.check = fmt_live_entry_check(&fresh, a->ordinal);
    fresh.stream_next = fmt_link_encode(after, l->capacity + a->ordinal);
    memcpy(&l->entry[a->ordinal], &fresh, sizeof fresh);
    atomic_store_explicit(f.word, fmt_link_encode(a->ordinal + 1, f.place), memory_order_release);
    return 0;
}

/* The same for one key, which gets the number *keys. */
static int add_key(struct es_live *l, uint64_t hash, uint32_t ordinal, uint32_t *keys) {
    uint64_t bucket = hash & (l->key_capacity - 1);
    uint32_t next;
    if (*keys >= l->key_capacity || !fmt_link_decode(l->key_bucket[bucket], ES_LIVE_KEY_PLACE + bucket, &next) ||
        next > *keys) /* left by a writer who died */
        return ESDB_ECORRUPT;
    struct fmt_live_key fresh = {.hash = (uint32_t)(hash >> 32), .ordinal = ordinal, .next = next};
    fresh.check = fmt_live_key_check(&fresh, *keys);
    l->key[(*keys)++] = fresh;
    atomic_store_explicit(&l->key_bucket[bucket], fmt_link_encode(*keys, ES_LIVE_KEY_PLACE + bucket),
                          memory_order_release);
    return 0;
}

/* An event with all its keys. */
static int add(esdb *db, const struct es_segment *seg, const struct addition *a, uint32_t *keys) {
    int rc = add_entry(db, seg, a);
    for (uint32_t i = 0; rc == 0 && i < a->key_count && a->key_count <= FEW_KEYS; i++)
        rc = add_key(&db->live, a->key[i], a->ordinal, keys);
    if (rc == 0 && a->key_count > FEW_KEYS) {
        struct fmt_event_keys k;
        uint64_t hash;
        fmt_event_keys_begin(&k, &a->event);
        while (rc == 0 && fmt_event_keys_next(&k, &hash))
            rc = add_key(&db->live, hash, a->ordinal, keys);
    }
    return rc;
}

/* Words, entries and names of events lie anywhere: asking for them some events ahead hides most of the waiting. */
static void prefetch(const esdb *db, const struct addition *a) {
    const struct es_live *l = &db->live;
    __builtin_prefetch(&l->stream_bucket[a->stream_hash & (l->capacity - 1)], 1);
    for (uint32_t i = 0; i < a->key_count && i < FEW_KEYS; i++)
        __builtin_prefetch(&l->key_bucket[a->key[i] & (l->key_capacity - 1)], 1);
    if (a->last && a->last <= l->capacity)
        __builtin_prefetch(&l->entry[a->last - 1], 1);
}
#define AHEAD 16u

static uint64_t word(const _Atomic uint64_t *w) {
    uint64_t v = 0;
    es_word_get(w, &v);
    return v;
}

static void pass_frame(esdb *db, uint32_t events, uint32_t keys, const struct fmt_frame *f, uint64_t offset) {
    struct fmt_live_header *h = db->live.header;
    es_word_set(&h->keys, keys);
    es_word_set(&h->events, events);
    es_word_set(&h->offset8, (offset + f->frame_len) / 8);
    es_word_set(&h->frames, f->index);
    es_known_places_pass(db, f->index);
}

/* ---- frames of the log ---- */

/* The event at `next`, which is moved past it. */
static int see(esdb *db, const struct es_segment *seg, uint64_t end, struct addition *next, struct addition *out) {
    *out = *next;
    if (fmt_event_decode(seg->map + next->offset, (size_t)(end - next->offset), &out->event))
        return ESDB_ECORRUPT;
    out->stream_hash = es_live_stream_hash(stream_of(out));
    out->known = es_known_find(db, out->stream_hash, stream_of(out));
    out->last = out->known ? out->known->last : ES_LAST_UNKNOWN;
    collect_keys(out);
    prefetch(db, out);
    next->offset += out->event.event_len;
    next->ordinal++;
    return 0;
}

static int replay_frame(esdb *db, const struct es_segment *seg, const struct fmt_frame *f, uint64_t offset) {
    struct addition ring[AHEAD];
    uint32_t first = (uint32_t)(f->first_position - db->active.header.first_position);
    struct addition next = {.offset = offset + f->header_len, .ordinal = first, .frame_event = first};
    uint32_t keys = (uint32_t)word(&db->live.header->keys);
    for (uint32_t i = 0, seen = 0; i < f->count; i++) {
        for (; seen < f->count && seen < i + AHEAD; seen++)
            if (see(db, seg, offset + f->frame_len, &next, &ring[seen % AHEAD]) < 0)
                return ESDB_ECORRUPT;
        struct addition *a = &ring[i % AHEAD];
        if (a->known) /* an event in between may have been of the same stream */
            a->last = a->known->last;
        int rc = add(db, seg, a, &keys);
        if (rc < 0)
            return rc;
        if (a->known)
            a->known->last = a->ordinal + 1;
    }
    pass_frame(db, first + f->count, keys, f, offset);
    return 0;
}

static uint64_t keys_of_frame(const struct es_segment *seg, const struct fmt_frame *f, uint64_t offset) {
    uint64_t at = offset + f->header_len, end = offset + f->frame_len, keys = 0, hash;
    struct fmt_event e;
    for (uint32_t i = 0; i < f->count && !fmt_event_decode(seg->map + at, (size_t)(end - at), &e); i++) {
        struct fmt_event_keys k;
        fmt_event_keys_begin(&k, &e);
        while (fmt_event_keys_next(&k, &hash))
            keys++;
        at += e.event_len;
    }
    return keys;
}

/* Adds the frames that the log has and the index does not. *at: of the frame at which it ended. -E2BIG: that one has more
 * keys than there is room for: *keys are needed. */
static int replay(esdb *db, const struct es_segment *seg, const struct fmt_mark *tail, uint64_t *at, uint64_t *keys) {
    enum { MANY = 16 }; /* few events have more keys: then they need not be counted */
    struct fmt_live_header *h = db->live.header;
    uint64_t offset = word(&h->offset8) * 8, frames = word(&h->frames);
    if (frames > tail->index || offset > tail->end_offset || offset < seg->header.header_len)
        return ESDB_ECORRUPT;
    es_known_places_at(db, frames);
    while (frames < tail->index) {
        struct fmt_frame f;
        size_t bad;
        *at = offset;
        if (fmt_frame_decode(seg->map + offset, (size_t)(tail->end_offset - offset), &f) || f.index != frames + 1 ||
            f.frame_len > tail->end_offset - offset ||
            f.first_position + f.count - seg->header.first_position > db->live.capacity ||
            fmt_frame_check(&f, seg->map + offset, &bad))
            return ESDB_ECORRUPT; /* never filed under a name that may be wrong */
        *keys = word(&h->keys) + (uint64_t)f.count * MANY;
        if (*keys > db->live.key_capacity &&
            (*keys = word(&h->keys) + keys_of_frame(seg, &f, offset)) > db->live.key_capacity)
            return -E2BIG;
        int rc = replay_frame(db, seg, &f, offset);
        if (rc < 0)
            return rc;
        offset += f.frame_len;
        frames = f.index;
    }
    return offset == tail->end_offset ? 0 : ESDB_ECORRUPT;
}

/* ---- room ---- */

static uint64_t power_of_two(uint64_t least, uint64_t need) {
    while (least < need)
        least *= 2;
    return least;
}

/* Room for `events`, and for what the segment will hold when it is full, at most four times as many. */
static uint64_t capacity_for(const esdb *db, const struct fmt_mark *tail, uint64_t events) {
    uint64_t used = tail->end_offset, size = db->settings.user.segment_size;
    uint64_t expected = used < size ? (uint64_t)((double)events * (double)size / (double)used) : events;
    uint64_t capacity = power_of_two(FMT_LIVE_CAPACITY_MIN, events);
    while (capacity < expected && capacity < events * 4)
        capacity *= 2;
    return capacity;
}

/* Id, type, and two of the others: more make it grow. */
static uint64_t key_capacity_for(uint64_t capacity, uint64_t keys) {
    return power_of_two(capacity * 4, keys);
}

/* The entry of a smaller index once more: the log gives the hashes, the old entry the place in the stream. */
static int copy_entry(esdb *db, const struct es_segment *seg, const struct es_live *old, uint32_t ordinal,
                      uint32_t *keys) {
    const struct fmt_live_entry *e = &old->entry[ordinal];
    struct addition a = {
        .offset = (uint64_t)e->offset8 * 8, .ordinal = ordinal, .frame_event = e->frame_event, .last = e->prev};
    if (e->check != fmt_live_entry_check(e, ordinal) || !es_live_read(seg, e, &a.event))
        return ESDB_ECORRUPT;
    a.stream_hash = es_live_stream_hash(stream_of(&a));
    if ((uint32_t)(a.stream_hash >> 32) != e->stream_hash)
        return ESDB_ECORRUPT; /* the log has changed under the index */
    collect_keys(&a);
    return add(db, seg, &a, keys);
}

/* Puts a larger index in the place of one that is whole and full: cheaper than looking up every name again. */
static int enlarge(esdb *db, const struct es_segment *seg, uint64_t capacity, uint64_t key_capacity) {
    struct es_live old = db->live;
    uint32_t keys = 0;
    db->live = (struct es_live){.fd = -1};
    int rc = es_live_create(db, seg->name, capacity, key_capacity);
    if (rc < 0) {
        db->live = old;
        return rc;
    }
    uint64_t events = word(&old.header->events);
    for (uint32_t i = 0; rc == 0 && i < events; i++)
        rc = copy_entry(db, seg, &old, i, &keys);
    if (rc == 0) {
        struct fmt_live_header *h = db->live.header;
        es_word_set(&h->keys, keys);
        es_word_set(&h->events, events);
        es_word_set(&h->offset8, word(&old.header->offset8));
        es_word_set(&h->frames, word(&old.header->frames));
    }
    es_word_set(&old.header->retired, 1);
    es_munmap(old.map, old.map_len);
    es_close(&old.fd);
    return rc;
}

/* Makes the index large enough when it is not, and complete. `fresh`: it has just been made. */
static int fill(esdb *db, const struct es_segment *seg, const struct fmt_mark *tail, uint64_t events,
                uint64_t more_keys, uint64_t *at) {
    uint64_t keys = 0;
    for (;;) {
        const struct es_live *l = &db->live;
        if (l->capacity < events || l->key_capacity < keys) {
            uint64_t capacity = l->capacity < events ? capacity_for(db, tail, events) : l->capacity;
            uint64_t key_capacity = power_of_two(l->key_capacity, key_capacity_for(capacity, keys));
            int rc = enlarge(db, seg, capacity, key_capacity);
            if (rc < 0)
                return rc;
        }
        int rc = replay(db, seg, tail, at, &keys);
        if (rc == 0 && word(&db->live.header->keys) + more_keys > db->live.key_capacity)
            keys = word(&db->live.header->keys) + more_keys;
        else if (rc != -E2BIG)
            return rc;
    }
}

int es_live_prepare(esdb *db, const struct es_tail *tail, uint32_t more_events, uint64_t more_keys, bool must,
                    struct esdb_error *err) {
    uint64_t segment = tail->mark.segment;
    uint64_t need = tail->mark.end_position - db->active.header.first_position + more_events;
    struct es_segment *seg;
    int rc = es_segment_get(db, segment, &seg, err);
    if (rc < 0)
        return rc;
    es_segment_covers(seg, tail->mark.end_offset, tail->mark.end_position);
    es_segment_need(seg, 0, seg->size); /* compressed, when the segments behind it are lost */
    uint64_t at = 0;
    rc = es_live_current(db, segment) || es_live_map(db, segment) ? 0 : ESDB_ECORRUPT;
    if (rc == 0)
        rc = fill(db, seg, &tail->mark, need, more_keys, &at);
    if (rc == ESDB_ECORRUPT) { /* absent, of another time, or damaged: it is only an index */
        uint64_t capacity = capacity_for(db, &tail->mark, need);
        es_known_forget_places(db);
        rc = es_live_create(db, segment, capacity, key_capacity_for(capacity, more_keys));
        if (rc == 0)
            rc = fill(db, seg, &tail->mark, need, more_keys, &at);
    }
    if (rc == 0)
        return 0;
    es_live_close(db);
    char path[ES_NAME_SIZE];
    es_segment_path(segment, ES_NAME_LOG, path);
    if (rc == ESDB_ECORRUPT)
        return es_fail_at(err, rc, path, at, "%s/%s, offset %llu: a frame is damaged; nothing was written", db->path,
                          path, (unsigned long long)at);
    return must ? es_fail(err, rc, "%s: making room in the index; this frame was not written", db->path) : 0;
}

/* ---- a frame that was just made: the batch knows its streams ---- */

static struct fmt_event event_of(const esdb_batch *b, uint32_t i) {
    const struct es_batch_event *e = es_batch_event_at(b, i);
    struct fmt_event event;
    (void)fmt_event_decode(b->frame.at + e->offset, b->frame.len - e->offset, &event);
    return event;
}

uint64_t es_live_keys_of(const esdb_batch *b) {
    uint64_t keys = 0, hash;
    for (uint32_t i = 0; i < esdb_batch_count(b); i++) {
        struct fmt_event e = event_of(b, i);
        struct fmt_event_keys k;
        fmt_event_keys_begin(&k, &e);
        while (fmt_event_keys_next(&k, &hash))
            keys++;
    }
    return keys;
}

static int add_batch(esdb *db, const struct es_segment *seg, esdb_batch *b, const struct fmt_frame *f,
                     uint64_t offset) {
    uint32_t first = (uint32_t)(f->first_position - db->active.header.first_position);
    uint32_t keys = (uint32_t)word(&db->live.header->keys);
    for (uint32_t i = 0; i < f->count; i++) {
        const struct es_batch_event *e = es_batch_event_at(b, i);
        struct es_batch_stream *s = es_batch_stream_at(b, e->stream);
        struct addition a = {.event = event_of(b, i),
                             .offset = offset + e->offset,
                             .stream_hash = s->hash,
                             .ordinal = first + i,
                             .frame_event = first,
                             .last = s->last};
        collect_keys(&a);
        int rc = add(db, seg, &a, &keys);
        if (rc < 0)
            return rc;
        s->last = a.ordinal + 1;
    }
    pass_frame(db, first + f->count, keys, f, offset);
    return 0;
}

bool es_live_add(esdb *db, esdb_batch *b, const struct fmt_frame *f, uint64_t offset) {
    struct es_segment *seg;
    if (!db->live.map)
        return false;
    if (es_segment_get(db, db->active.name, &seg, NULL) == 0) {
        es_segment_covers(seg, offset + f->frame_len, f->first_position + f->count);
        if (add_batch(db, seg, b, f, offset) == 0)
            return true;
    }
    es_live_discard(db, db->active.name);
    return false;
}
