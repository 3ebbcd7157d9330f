#include "live.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "format/checksum.h"
#include "format/event.h"
#include "known.h"
#include "os.h"
#include "segment.h"
#include "shared_head.h"

#define ID_PLACE (1ull << 40) /* places of id buckets begin here, so that no word fits in the other table */

/* ---- mapping ---- */

void es_live_close(esdb *db) {
    es_munmap(db->live.map, db->live.map_len);
    es_close(&db->live.fd);
    db->live = (struct es_live){.fd = -1};
}

void es_live_discard(esdb *db, uint64_t segment) {
    char name[ES_NAME_SIZE];
    es_segment_name(segment, ES_NAME_LIVE, name);
    if (db->live.map && db->live.header->segment == segment) {
        if (db->live.writable)
            es_word_set(&db->live.header->retired, 1);
        es_live_close(db);
    }
    es_unlinkat(db->log, name);
}

static void place(struct es_live *l, void *map, size_t len, uint64_t capacity) {
    l->map = map;
    l->map_len = len;
    l->header = map;
    l->capacity = capacity;
    l->entry = (struct fmt_live_entry *)((char *)map + FMT_LIVE_HEADER_SIZE);
    l->stream_bucket = (_Atomic uint64_t *)(l->entry + capacity);
    l->id_bucket = l->stream_bucket + capacity;
}

static bool header_valid(const esdb *db, const struct es_live *l, const struct stat *st, uint64_t segment) {
    const struct fmt_live_header *h = l->header;
    uint64_t v;
    return memcmp(h->magic, FMT_LIVE_MAGIC, sizeof h->magic) == 0 && h->check == fmt_live_header_check(h) &&
           memcmp(h->boot_id, db->boot_id, sizeof h->boot_id) == 0 && h->device == (uint64_t)st->st_dev &&
           h->inode == (uint64_t)st->st_ino && h->segment == segment && db->head &&
           h->generation == es_head_generation(db) && h->capacity >= FMT_LIVE_CAPACITY_MIN &&
           (h->capacity & (h->capacity - 1)) == 0 && h->capacity <= UINT32_MAX &&
           fmt_live_size(h->capacity) == (size_t)st->st_size && es_word_get(&h->events, &v) && v <= h->capacity &&
           es_word_get(&h->frames, &v) && es_word_get(&h->offset8, &v) && es_word_get(&h->retired, &v) && v == 0;
}

/* Maps the file when it is the valid live index of that segment. */
static bool map_existing(esdb *db, uint64_t segment) {
    char name[ES_NAME_SIZE];
    struct stat st;
    void *map = NULL;
    es_segment_name(segment, ES_NAME_LIVE, name);
    int fd = es_openat(db->log, name, es_writable(db) ? O_RDWR : O_RDONLY, 0);
    if (fd < 0)
        return false;
    if (es_fstat(fd, &st) < 0 || (size_t)st.st_size < fmt_live_size(FMT_LIVE_CAPACITY_MIN) ||
        es_mmap(fd, (size_t)st.st_size, es_writable(db), &map) < 0) {
        es_close(&fd);
        return false;
    }
    struct es_live l = {.fd = fd, .writable = es_writable(db)};
    place(&l, map, (size_t)st.st_size, ((struct fmt_live_header *)map)->capacity);
    if (!header_valid(db, &l, &st, segment)) {
        es_munmap(map, (size_t)st.st_size);
        es_close(&fd);
        return false;
    }
    es_live_close(db);
    db->live = l;
    return true;
}

/* True when what is mapped is still in force for that segment. */
static bool current(const esdb *db, uint64_t segment) {
    uint64_t retired;
    return db->live.map && db->live.header->segment == segment && db->head &&
           db->live.header->generation == es_head_generation(db) && es_word_get(&db->live.header->retired, &retired) &&
           retired == 0;
}

bool es_live_open(esdb *db, uint64_t segment, uint64_t events) {
    if (!es_head_valid(db) || (!current(db, segment) && !map_existing(db, segment)))
        return false;
    uint64_t have = 0;
    return es_word_get(&db->live.header->events, &have) && have >= events;
}

/* A new, empty index with room for `capacity` events, in place of whatever is there. */
static int create(esdb *db, uint64_t segment, uint64_t capacity) {
    char name[ES_NAME_SIZE], temporary[ES_NAME_SIZE + 8];
    struct stat st;
    void *map = NULL;
    size_t size = fmt_live_size(capacity);
    es_segment_name(segment, ES_NAME_LIVE, name);
    snprintf(temporary, sizeof temporary, ".%s.tmp", name);
    es_unlinkat(db->log, temporary);
    int fd = es_openat(db->log, temporary, O_RDWR | O_CREAT | O_EXCL, db->mode);
    if (fd < 0)
        return fd;
    es_adopt_file(db, fd);
    int rc = es_fallocate(fd, 0, size); /* all of it: a hole on a full disk would be a SIGBUS */
    if (rc == 0)
        rc = es_fstat(fd, &st);
    if (rc == 0)
        rc = es_mmap(fd, size, true, &map);
    if (rc < 0)
        goto err_after_open;
    struct es_live l = {.fd = fd, .writable = true};
    place(&l, map, size, capacity);
    struct fmt_live_header *h = l.header;
    memcpy(h->magic, FMT_LIVE_MAGIC, sizeof h->magic);
    memcpy(h->boot_id, db->boot_id, sizeof h->boot_id);
    h->device = (uint64_t)st.st_dev;
    h->inode = (uint64_t)st.st_ino;
    h->segment = segment;
    h->generation = es_head_generation(db);
    h->capacity = capacity;
    h->check = fmt_live_header_check(h);
    es_word_set(&h->events, 0);
    es_word_set(&h->frames, segment - 1);
    es_word_set(&h->offset8, db->active.header.header_len / 8);
    es_word_set(&h->retired, 0);
    rc = es_renameat(db->log, temporary, name);
    if (rc < 0)
        goto err_after_map;
    if (db->live.map && db->live.writable && db->live.header->segment == segment)
        es_word_set(&db->live.header->retired, 1);
    es_live_close(db);
    db->live = l;
    return 0;
err_after_map:
    es_munmap(map, size);
err_after_open:
    es_close(&fd);
    es_unlinkat(db->log, temporary);
    return rc;
}

/* ---- lookups ---- */

const struct fmt_live_entry *es_live_entry(const esdb *db, uint32_t ordinal) {
    if (ordinal >= db->live.capacity)
        return NULL;
    const struct fmt_live_entry *e = &db->live.entry[ordinal];
    return e->check == fmt_live_entry_check(e, ordinal) ? e : NULL;
}

static uint64_t stream_hash(struct esdb_text stream) {
    return fmt_checksum(stream.at, stream.len);
}

static bool same_text(struct esdb_text a, struct fmt_text b) {
    return a.len == b.len && memcmp(a.at, b.at, a.len) == 0;
}

/* The event that an entry leads to. The log is asked, because a hash alone is no proof. */
static bool read_event(const struct es_segment *seg, const struct fmt_live_entry *e, struct fmt_event *out) {
    uint64_t offset = (uint64_t)e->offset8 * 8;
    return offset < seg->size && !fmt_event_decode(seg->map + offset, (size_t)(seg->size - offset), out);
}

/* Where a chain of streams stands: the word that leads to an entry, and the entry. */
struct found {
    _Atomic uint64_t *word;
    uint64_t place;
    uint32_t ordinal;
};

/* Finds the newest entry of the stream. 1: none (word is the chain's end). ESDB_ECORRUPT: damage. */
static int find_stream(const esdb *db, const struct es_segment *seg, struct esdb_text stream, uint64_t hash,
                       struct found *out) {
    struct found f = {.place = hash & (db->live.capacity - 1)};
    f.word = &db->live.stream_bucket[f.place];
    for (uint64_t steps = 0; steps <= db->live.capacity; steps++) {
        uint32_t target;
        if (!fmt_link_decode(atomic_load_explicit(f.word, memory_order_acquire), f.place, &target))
            return ESDB_ECORRUPT;
        if (target == 0) {
            *out = f;
            return 1;
        }
        f.ordinal = target - 1;
        const struct fmt_live_entry *e = es_live_entry(db, f.ordinal);
        if (!e)
            return ESDB_ECORRUPT;
        struct fmt_event event;
        bool maybe = e->stream_hash == (uint32_t)(hash >> 32);
        if (maybe && !read_event(seg, e, &event))
            return ESDB_ECORRUPT;
        if (maybe && same_text(stream, event.stream_id)) {
            *out = f;
            return 0;
        }
        if (maybe && !fmt_event_intact(seg->map + (uint64_t)e->offset8 * 8, &event))
            return ESDB_ECORRUPT; /* it may be this stream's: nobody knows */
        f.place = db->live.capacity + f.ordinal;
        f.word = &db->live.entry[f.ordinal].stream_next;
    }
    return ESDB_ECORRUPT;
}

int es_live_last(const esdb *db, const struct es_segment *seg, struct esdb_text stream, uint64_t events,
                 uint32_t *ordinal) {
    struct found f;
    for (int tries = 0; tries < 3; tries++) { /* a chain may change under a reader: the entry moves to its front */
        int rc = find_stream(db, seg, stream, stream_hash(stream), &f);
        if (rc < 0)
            return rc;
        if (rc == 0)
            break;
        if (tries == 2)
            return ESDB_ENOTFOUND;
    }
    while (f.ordinal >= events) { /* appended, not committed yet */
        const struct fmt_live_entry *e = es_live_entry(db, f.ordinal);
        if (!e || e->prev > f.ordinal)
            return ESDB_ECORRUPT;
        if (e->prev == 0)
            return ESDB_ENOTFOUND;
        f.ordinal = e->prev - 1;
    }
    *ordinal = f.ordinal;
    return 0;
}

int es_live_back(const esdb *db, uint32_t ordinal, uint32_t nth, uint32_t *out) {
    for (;;) {
        const struct fmt_live_entry *e = es_live_entry(db, ordinal);
        if (!e || e->nth < nth)
            return ESDB_ECORRUPT;
        if (e->nth == nth) {
            *out = ordinal;
            return 0;
        }
        const struct fmt_live_entry *j = e->jump ? es_live_entry(db, e->jump - 1) : NULL;
        uint32_t next = j && j->nth >= nth ? e->jump : e->prev;
        if (next == 0 || next > ordinal)
            return ESDB_ECORRUPT;
        ordinal = next - 1;
    }
}

int es_live_by_id(const esdb *db, const struct es_segment *seg, struct esdb_text stream, struct esdb_text id,
                  uint64_t events, uint32_t *ordinal) {
    uint64_t bucket = fmt_checksum(id.at, id.len) & (db->live.capacity - 1);
    uint32_t target;
    if (*ordinal == UINT32_MAX) {
        if (!fmt_link_decode(db->live.id_bucket[bucket], ID_PLACE + bucket, &target))
            return ESDB_ECORRUPT;
    } else
        target = db->live.entry[*ordinal].id_next;
    uint32_t before = UINT32_MAX;
    while (target != 0) {
        const struct fmt_live_entry *e = es_live_entry(db, target - 1);
        struct fmt_event event;
        if (!e || target > before || !read_event(seg, e, &event))
            return ESDB_ECORRUPT;
        if (target - 1 < events && same_text(id, event.event_id) && same_text(stream, event.stream_id)) {
            *ordinal = target - 1;
            return 0;
        }
        before = target - 1;
        target = e->id_next;
    }
    return ESDB_ENOTFOUND;
}

/* ---- adding ---- */

/* How far back the jump of a stream's n-th event (n > 0) goes: Myers' skew-binary rule. n is a sum of numbers 2^k - 1, each
 * taken as large as possible; the jump takes away the smallest. */
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

static void link_id(struct es_live *l, uint64_t bucket, uint32_t ordinal) {
    atomic_store_explicit(&l->id_bucket[bucket], fmt_link_encode(ordinal + 1, ID_PLACE + bucket), memory_order_release);
}

/* What is added: an event, and what is known of its stream. */
struct addition {
    uint64_t offset, stream_hash, id_hash;
    uint32_t ordinal, frame_event;
    struct esdb_text stream; /* at == NULL: `last` is known instead */
    uint32_t last;
};

/* The word of the chain that leads to the stream's newest entry. As find_stream. */
static int find_link(const esdb *db, const struct es_segment *seg, const struct addition *a, struct found *out) {
    if (a->stream.at)
        return find_stream(db, seg, a->stream, a->stream_hash, out);
    struct found f = {.place = a->stream_hash & (db->live.capacity - 1)};
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
        f.place = db->live.capacity + target - 1;
        f.word = &db->live.entry[target - 1].stream_next;
    }
    return ESDB_ECORRUPT;
}

/* Entry first, then the words that lead to it. */
static int add_entry(esdb *db, const struct es_segment *seg, const struct addition *a) {
    struct es_live *l = &db->live;
    uint64_t bucket = a->id_hash & (l->capacity - 1);
    struct found f;
    uint32_t after = 0, id_next;
    int rc = find_link(db, seg, a, &f);
    if (rc < 0 || !fmt_link_decode(l->id_bucket[bucket], ID_PLACE + bucket, &id_next))
        return ESDB_ECORRUPT;
    if (rc == 0 && f.ordinal >= a->ordinal) /* a writer died half-way through this frame: the index is made anew */
        return ESDB_ECORRUPT;
    if (rc == 0 && !fmt_link_decode(l->entry[f.ordinal].stream_next, l->capacity + f.ordinal, &after))
        return ESDB_ECORRUPT;
    struct fmt_live_entry *e = &l->entry[a->ordinal];
    struct fmt_live_entry fresh = {.offset8 = (uint32_t)(a->offset / 8),
                                   .id_next = id_next,
                                   .stream_hash = (uint32_t)(a->stream_hash >> 32),
                                   .frame_event = a->frame_event};
    if (rc == 0 && !place_after(db, f.ordinal, &fresh))
        return ESDB_ECORRUPT;
    fresh.check = fmt_live_entry_check(&fresh, a->ordinal);
    fresh.stream_next = fmt_link_encode(after, l->capacity + a->ordinal);
    memcpy(e, &fresh, sizeof fresh);
    atomic_thread_fence(memory_order_release);
    atomic_store_explicit(f.word, fmt_link_encode(a->ordinal + 1, f.place), memory_order_release);
    link_id(l, bucket, a->ordinal);
    return 0;
}

static void pass_frame(esdb *db, uint32_t events, const struct fmt_frame *f, uint64_t offset) {
    struct fmt_live_header *h = db->live.header;
    es_word_set(&h->events, events);
    es_word_set(&h->offset8, (offset + f->frame_len) / 8);
    es_word_set(&h->frames, f->index);
}

/* An event on its way into the index. Words, entries and names of events lie anywhere: asking for them some events ahead
 * hides most of the waiting. */
struct coming {
    struct addition a;
    struct es_known *known;
};
enum { AHEAD = 16 }; /* a power of two */

static int see(esdb *db, const struct es_segment *seg, const struct addition *next, uint64_t end, struct coming *out,
               uint32_t *len) {
    const struct es_live *l = &db->live;
    struct fmt_event e;
    if (fmt_event_decode(seg->map + next->offset, (size_t)(end - next->offset), &e))
        return ESDB_ECORRUPT;
    out->a = *next;
    out->a.stream = (struct esdb_text){e.stream_id.at, e.stream_id.len};
    out->a.stream_hash = stream_hash(out->a.stream);
    out->a.id_hash = fmt_checksum(e.event_id.at, e.event_id.len);
    out->known = es_known_find(db, out->a.stream_hash, out->a.stream);
    __builtin_prefetch(&l->stream_bucket[out->a.stream_hash & (l->capacity - 1)], 1);
    __builtin_prefetch(&l->id_bucket[out->a.id_hash & (l->capacity - 1)], 1);
    if (out->known && out->known->last && out->known->last <= l->capacity)
        __builtin_prefetch(&l->entry[out->known->last - 1], 1);
    *len = e.event_len;
    return 0;
}

/* A frame of the log: names and ids come from its bytes. */
static int replay_frame(esdb *db, const struct es_segment *seg, const struct fmt_frame *f, uint64_t offset) {
    struct coming ring[AHEAD];
    uint32_t first = (uint32_t)(f->first_position - db->active.header.first_position);
    struct addition next = {.offset = offset + f->header_len, .ordinal = first, .frame_event = first};
    for (uint32_t i = 0, seen = 0; i < f->count; i++) {
        for (; seen < f->count && seen < i + AHEAD; seen++, next.ordinal++) {
            uint32_t len;
            if (see(db, seg, &next, offset + f->frame_len, &ring[seen % AHEAD], &len) < 0)
                return ESDB_ECORRUPT;
            next.offset += len;
        }
        struct coming *c = &ring[i % AHEAD];
        if (c->known && c->known->last != ES_LAST_UNKNOWN) {
            c->a.stream = (struct esdb_text){0};
            c->a.last = c->known->last;
        }
        int rc = add_entry(db, seg, &c->a);
        if (rc < 0)
            return rc;
        if (c->known)
            c->known->last = c->a.ordinal + 1;
    }
    pass_frame(db, first + f->count, f, offset);
    return 0;
}

/* Three words and an entry of each event lie anywhere: asking for them early hides most of the waiting. */
static void prefetch(const esdb *db, const esdb_batch *b, uint32_t i) {
    const struct es_live *l = &db->live;
    const struct es_batch_event *e = es_batch_event_at(b, i);
    const struct es_batch_stream *s = es_batch_stream_at(b, e->stream);
    __builtin_prefetch(&l->stream_bucket[s->hash & (l->capacity - 1)], 1);
    __builtin_prefetch(&l->id_bucket[e->id_hash & (l->capacity - 1)], 1);
    if (s->last && s->last != ES_LAST_UNKNOWN)
        __builtin_prefetch(&l->entry[s->last - 1], 1);
}

/* A frame that was just made: the batch knows its streams. */
static int add_batch(esdb *db, const struct es_segment *seg, esdb_batch *b, const struct fmt_frame *f,
                     uint64_t offset) {
    struct addition a = {.ordinal = (uint32_t)(f->first_position - db->active.header.first_position)};
    a.frame_event = a.ordinal;
    for (uint32_t i = 0; i < f->count; i++, a.ordinal++) {
        const struct es_batch_event *e = es_batch_event_at(b, i);
        struct es_batch_stream *s = es_batch_stream_at(b, e->stream);
        if (i + AHEAD < f->count)
            prefetch(db, b, i + AHEAD);
        a.offset = offset + e->offset;
        a.stream_hash = s->hash;
        a.id_hash = e->id_hash;
        a.last = s->last;
        a.stream = s->last == ES_LAST_UNKNOWN ? es_batch_name(b, s) : (struct esdb_text){0};
        int rc = add_entry(db, seg, &a);
        if (rc < 0)
            return rc;
        s->last = a.ordinal + 1;
    }
    pass_frame(db, a.ordinal, f, offset);
    return 0;
}

static uint64_t word(const _Atomic uint64_t *w) {
    uint64_t v = 0;
    es_word_get(w, &v);
    return v;
}

/* Adds the frames that the log has and the index does not. *at: of the frame at which it ended. */
static int replay(esdb *db, const struct es_segment *seg, const struct fmt_mark *tail, uint64_t *at) {
    struct fmt_live_header *h = db->live.header;
    uint64_t offset = word(&h->offset8) * 8, frames = word(&h->frames);
    if (frames > tail->index || offset > tail->end_offset || offset < seg->header.header_len)
        return ESDB_ECORRUPT;
    while (frames < tail->index) {
        struct fmt_frame f;
        size_t bad;
        *at = offset;
        if (fmt_frame_decode(seg->map + offset, (size_t)(tail->end_offset - offset), &f) || f.index != frames + 1 ||
            f.frame_len > tail->end_offset - offset ||
            f.first_position + f.count - seg->header.first_position > db->live.capacity ||
            fmt_frame_check(&f, seg->map + offset, &bad))
            return ESDB_ECORRUPT; /* never filed under a name that may be wrong */
        int rc = replay_frame(db, seg, &f, offset);
        if (rc < 0)
            return rc;
        offset += f.frame_len;
        frames = f.index;
    }
    return offset == tail->end_offset ? 0 : ESDB_ECORRUPT;
}

/* Room for `events`; in a segment that has just begun, for as many as the one before has, when that is open here. */
static uint64_t capacity_for(const esdb *db, const struct es_segment *seg, uint64_t events) {
    uint64_t capacity = FMT_LIVE_CAPACITY_MIN;
    const struct es_segment *before = NULL;
    for (const struct es_segment *s = db->segments; s; s = s->next)
        if (s->name < seg->name && (!before || s->name > before->name))
            before = s;
    if (before && seg->header.first_position - before->header.first_position > events)
        events = seg->header.first_position - before->header.first_position;
    while (capacity < events)
        capacity *= 2;
    return capacity;
}

/* The entry of a smaller index once more: the log gives the hashes, the old entry the place in the stream. */
static int copy_entry(esdb *db, const struct es_segment *seg, const struct es_live *old, uint32_t ordinal) {
    const struct fmt_live_entry *e = &old->entry[ordinal];
    struct fmt_event event;
    if (e->check != fmt_live_entry_check(e, ordinal) || !read_event(seg, e, &event))
        return ESDB_ECORRUPT;
    struct addition a = {.offset = (uint64_t)e->offset8 * 8,
                         .ordinal = ordinal,
                         .frame_event = e->frame_event,
                         .stream_hash = fmt_checksum(event.stream_id.at, event.stream_id.len),
                         .id_hash = fmt_checksum(event.event_id.at, event.event_id.len),
                         .last = e->prev};
    if ((uint32_t)(a.stream_hash >> 32) != e->stream_hash)
        return ESDB_ECORRUPT; /* the log has changed under the index */
    return add_entry(db, seg, &a);
}

/* Puts a larger index in the place of one that is whole and full: cheaper than looking up every name again. */
static int enlarge(esdb *db, const struct es_segment *seg, uint64_t events, uint64_t capacity) {
    struct es_live old = db->live;
    db->live = (struct es_live){.fd = -1};
    int rc = create(db, seg->name, capacity);
    if (rc < 0) {
        db->live = old;
        return rc;
    }
    for (uint32_t i = 0; rc == 0 && i < events; i++)
        rc = copy_entry(db, seg, &old, i);
    if (rc == 0) {
        struct fmt_live_header *h = db->live.header;
        es_word_set(&h->events, events);
        es_word_set(&h->offset8, word(&old.header->offset8));
        es_word_set(&h->frames, word(&old.header->frames));
    }
    es_word_set(&old.header->retired, 1);
    es_munmap(old.map, old.map_len);
    es_close(&old.fd);
    return rc;
}

int es_live_prepare(esdb *db, const struct es_tail *tail, uint32_t more_events, bool must, struct esdb_error *err) {
    uint64_t segment = tail->mark.segment;
    uint64_t need = tail->mark.end_position - db->active.header.first_position + more_events;
    struct es_segment *seg;
    int rc = es_segment_get(db, segment, &seg, err);
    if (rc < 0)
        return rc;
    es_segment_covers(seg, tail->mark.end_offset, tail->mark.end_position);
    uint64_t at = 0;
    rc = current(db, segment) || map_existing(db, segment) ? 0 : ESDB_ECORRUPT;
    if (rc == 0 && db->live.capacity < need)
        rc = enlarge(db, seg, word(&db->live.header->events), capacity_for(db, seg, need));
    if (rc == 0)
        rc = replay(db, seg, &tail->mark, &at);
    if (rc == ESDB_ECORRUPT) { /* absent, of another time, or damaged: it is only an index */
        es_known_forget_places(db);
        rc = create(db, segment, capacity_for(db, seg, need));
        if (rc == 0)
            rc = replay(db, seg, &tail->mark, &at);
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
