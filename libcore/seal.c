#include "seal.h"

#include <errno.h>
#include <stdlib.h>

#include "format/bytes.h"
#include "format/checksum.h"
#include "format/event_keys.h"
#include "format/segment.h"
#include "key_sort.h"
#include "os.h"
#include "table_file.h"

/* No segment holds more; what retention leaves of one neither. It bounds memory against damaged position numbers. */
#define EVENTS_MAX (FMT_SEGMENT_FILE_MAX / FMT_EVENT_HEADER_SIZE)
#define NO_STREAM UINT32_MAX

struct event {
    uint32_t offset8; /* FMT_EVENT_UNREADABLE, FMT_EVENT_REMOVED, or where it is */
    uint32_t stream;  /* number, or NO_STREAM */
};

struct stream {
    uint64_t hash;
    uint64_t first_version;
    uint32_t name_at; /* in names */
    uint32_t name_len;
    uint32_t count;
    uint32_t next_posting; /* first_posting + count when all are placed */
};

/* A slot of the hash table of streams: open addressing, linear probing. */
struct slot {
    uint32_t hash;
    uint32_t stream1; /* number + 1; 0: free */
};

struct frame_entry {
    uint32_t offset8, first_event;
};

struct collector {
    const unsigned char *base;
    uint64_t first_position;
    struct es_buffer events;  /* struct event */
    struct es_buffer frames;  /* struct frame_entry */
    struct es_buffer streams; /* struct stream, in order of appearance */
    struct es_buffer names;
    struct es_buffer damage; /* struct es_index_damage */
    struct es_buffer keys;   /* uint64_t: high half of a key's hash, ordinal */
    struct slot *slots;      /* owned */
    uint32_t slot_mask;
    uint64_t seed; /* random: nobody can choose names that collide */
    uint64_t first_epoch_us;
};

static size_t event_count(const struct collector *c) {
    return c->events.len / sizeof(struct event);
}

static uint32_t stream_count(const struct collector *c) {
    return (uint32_t)(c->streams.len / sizeof(struct stream));
}

static struct stream *stream_at(const struct collector *c, uint32_t i) {
    return (struct stream *)c->streams.at + i;
}

static struct fmt_text name_of(const struct collector *c, const struct stream *s) {
    return (struct fmt_text){(const char *)c->names.at + s->name_at, s->name_len};
}

static void release(struct collector *c) {
    es_buffer_release(&c->events);
    es_buffer_release(&c->frames);
    es_buffer_release(&c->streams);
    es_buffer_release(&c->names);
    es_buffer_release(&c->damage);
    es_buffer_release(&c->keys);
    free(c->slots);
}

/* ---- streams by name ---- */

static int grow_slots(struct collector *c) {
    uint32_t capacity = c->slots ? (c->slot_mask + 1) * 2 : 1024, mask = capacity - 1;
    struct slot *slots = calloc(capacity, sizeof *slots);
    if (!slots)
        return -ENOMEM;
    for (uint32_t i = 0; i < stream_count(c); i++) {
        uint32_t hash = (uint32_t)stream_at(c, i)->hash, at = hash & mask;
        while (slots[at].stream1)
            at = (at + 1) & mask;
        slots[at] = (struct slot){hash, i + 1};
    }
    free(c->slots);
    c->slots = slots;
    c->slot_mask = mask;
    return 0;
}

static int add_stream(struct collector *c, struct fmt_text name, uint64_t hash, uint64_t version, uint32_t slot) {
    struct stream s = {
        .hash = hash, .first_version = version, .name_at = (uint32_t)c->names.len, .name_len = (uint32_t)name.len};
    uint32_t number = stream_count(c);
    int rc = es_buffer_reserve(&c->streams, sizeof s);
    if (rc == 0)
        rc = es_buffer_reserve(&c->names, name.len + 1); /* + 1: never a NULL buffer, also for an empty name */
    if (rc < 0)
        return rc;
    es_buffer_add(&c->names, name.at, name.len);
    es_buffer_add(&c->streams, &s, sizeof s);
    c->slots[slot] = (struct slot){(uint32_t)hash, number + 1};
    return (number + 1) * 2 > c->slot_mask ? grow_slots(c) : 0;
}

/* The number of the stream of an event, which is counted there. */
static int find_stream(struct collector *c, const struct fmt_event *e, uint32_t *out) {
    struct fmt_text name = e->stream_id;
    uint64_t hash = XXH3_64bits_withSeed(name.at, name.len, c->seed);
    uint32_t at = (uint32_t)hash & c->slot_mask;
    for (; c->slots[at].stream1; at = (at + 1) & c->slot_mask) {
        if (c->slots[at].hash != (uint32_t)hash)
            continue;
        struct stream *s = stream_at(c, c->slots[at].stream1 - 1);
        if (s->name_len == name.len && memcmp(c->names.at + s->name_at, name.at, name.len) == 0) {
            s->count++;
            *out = c->slots[at].stream1 - 1;
            return 0;
        }
    }
    *out = stream_count(c);
    int rc = add_stream(c, name, hash, e->version, at);
    if (rc == 0)
        stream_at(c, *out)->count = 1;
    return rc;
}

/* ---- collecting ---- */

static int note_damage(struct collector *c, uint64_t offset, uint64_t first_position, uint64_t count) {
    struct es_index_damage d = {offset, (uint32_t)(first_position - c->first_position), (uint32_t)count};
    return es_buffer_add(&c->damage, &d, sizeof d);
}

/* Everything before `position` that has not been seen is unreadable, or was removed. */
static int fill_gap(struct collector *c, uint64_t position, uint32_t why) {
    size_t have = event_count(c), want = (size_t)(position - c->first_position);
    if (want <= have)
        return 0;
    int rc = es_buffer_reserve(&c->events, (want - have) * sizeof(struct event));
    if (rc < 0)
        return rc;
    struct event *e = (struct event *)c->events.at;
    for (size_t i = have; i < want; i++)
        e[i] = (struct event){.offset8 = why, .stream = NO_STREAM};
    c->events.len = want * sizeof *e;
    return 0;
}

static int take_keys(struct collector *c, const struct fmt_event *e, uint32_t ordinal) {
    struct fmt_event_keys k;
    uint64_t hash;
    int rc = 0;
    fmt_event_keys_begin(&k, e);
    while (rc == 0 && fmt_event_keys_next(&k, &hash)) {
        uint64_t key = (hash & 0xffffffff00000000) | ordinal;
        rc = es_buffer_add(&c->keys, &key, sizeof key);
    }
    return rc;
}

static int take_event(struct collector *c, const unsigned char *at, const struct fmt_event *e) {
    struct event *out = (struct event *)c->events.at + event_count(c); /* room was made for the frame */
    uint32_t stream;
    int rc = find_stream(c, e, &stream);
    if (rc < 0)
        return rc;
    *out = (struct event){.offset8 = (uint32_t)((size_t)(at - c->base) / 8), .stream = stream};
    if (c->first_epoch_us == 0)
        c->first_epoch_us = e->epoch_us;
    rc = take_keys(c, e, (uint32_t)event_count(c));
    c->events.len += sizeof *out;
    return rc;
}

static int take_events(struct collector *c, const struct fmt_frame *f, const struct fmt_frame_events *events,
                       const unsigned char *frame) {
    int rc = es_buffer_reserve(&c->events, (size_t)(events->end_position - f->first_position) * sizeof(struct event));
    size_t at = events->at;
    for (uint32_t i = 0; rc == 0 && i < f->count; i++) {
        struct fmt_event e;
        uint64_t offset = (uint64_t)(frame + at - c->base), position = f->first_position + fmt_frame_ordinal(events, i);
        rc = fill_gap(c, position, FMT_EVENT_REMOVED);
        if (rc == 0 && fmt_event_decode(frame + at, f->frame_len - at, &e)) {
            /* Its length leads nowhere: the rest of the frame is lost with it. */
            rc = note_damage(c, offset, position, events->end_position - position);
            return rc == 0 ? fill_gap(c, events->end_position, FMT_EVENT_UNREADABLE) : rc;
        }
        if (rc == 0 && !fmt_event_intact(frame + at, &e))
            rc = note_damage(c, offset, position, 1);
        if (rc == 0)
            rc = take_event(c, frame + at, &e);
        at += e.event_len;
    }
    return rc;
}

/* The frame that fmt_walk_peek gave. 0 or an error; *bad when it cannot be passed. */
static int take_frame(struct collector *c, struct fmt_walk *w, const struct fmt_frame *f, bool *bad) {
    uint64_t end = f->first_position;
    struct fmt_frame_events events;
    const unsigned char *frame = w->base + w->offset;
    if (f->kind == FMT_FRAME_HOLE) {
        struct fmt_hole h; /* the walk goes where it says: it must be right */
        if (fmt_walk_check(w, f) != FMT_OK) {
            *bad = true;
            return 0;
        }
        fmt_hole_decode(frame + f->header_len, &h);
        end = h.end_position;
    } else if (fmt_frame_has_events(f)) {
        if (fmt_frame_find_events(f, frame, &events)) {
            *bad = true;
            return 0;
        }
        end = events.end_position;
    }
    if (end - c->first_position > EVENTS_MAX) {
        *bad = true;
        return 0;
    }
    struct frame_entry entry = {(uint32_t)(w->offset / 8), (uint32_t)(f->first_position - c->first_position)};
    int rc = es_buffer_add(&c->frames, &entry, sizeof entry);
    if (rc == 0)
        rc = fill_gap(c, f->first_position, FMT_EVENT_UNREADABLE);
    if (rc == 0 && fmt_frame_has_events(f))
        rc = take_events(c, f, &events, frame);
    if (rc == 0)
        rc = fill_gap(c, end, FMT_EVENT_REMOVED);
    return rc;
}

/* Goes to the next frame that can be read after a bad place; *found is false when there is none. */
static int skip_damage(struct collector *c, struct fmt_walk *w, size_t from, bool *found) {
    struct fmt_frame f;
    size_t at = from;
    *found = false;
    while (!*found && (at = fmt_walk_resync(w, at, w->index, &f)) != 0) {
        *found = f.first_position >= w->position && f.first_position - c->first_position <= EVENTS_MAX;
        if (!*found)
            at += 8;
    }
    int rc = note_damage(c, w->offset, w->position, *found ? f.first_position - w->position : 0);
    if (rc == 0 && *found) {
        w->offset = at;
        w->index = f.index;
        w->position = f.first_position;
        w->prev_checksum = f.prev_checksum;
        w->last_epoch_us = f.last_epoch_us;
        w->term = f.term;
    }
    return rc;
}

static int collect(struct collector *c, struct fmt_walk *w) {
    bool more = w->offset < w->size;
    int rc = 0;
    while (rc == 0 && more) {
        struct fmt_frame f;
        bool bad = false;
        int found = fmt_walk_peek(w, &f);
        if (found == FMT_OK)
            rc = take_frame(c, w, &f, &bad);
        if (rc == 0 && (found != FMT_OK || bad)) {
            /* A frame that does not chain may still be read; one that was refused here may not. */
            rc = w->rolled ? note_damage(c, w->offset, w->position, 0)
                           : skip_damage(c, w, w->offset + (bad ? 8 : 0), &more);
            if (w->rolled)
                break;
        } else if (rc == 0) {
            fmt_walk_pass(w, &f);
        }
        if (more)
            more = w->offset < w->size;
    }
    return rc;
}

/* ---- sorting ---- */

struct sort_key {
    uint64_t prefix; /* eight bytes of the name, big-endian, after what all names have in common */
    uint32_t stream;
};

static int compare_names(const void *left, const void *right, void *context) {
    const struct sort_key *a = left, *b = right;
    const struct collector *c = context;
    if (a->prefix != b->prefix)
        return a->prefix < b->prefix ? -1 : 1;
    return fmt_key_compare(name_of(c, stream_at(c, a->stream)), name_of(c, stream_at(c, b->stream)));
}

static size_t common_prefix(const struct collector *c) {
    struct fmt_text first = name_of(c, stream_at(c, 0));
    size_t common = first.len;
    for (uint32_t i = 1; i < stream_count(c); i++) {
        struct fmt_text name = name_of(c, stream_at(c, i));
        size_t same = 0, most = name.len < common ? name.len : common;
        while (same < most && name.at[same] == first.at[same])
            same++;
        common = same;
    }
    return common;
}

static struct sort_key *sort_names(const struct collector *c) {
    uint32_t count = stream_count(c);
    struct sort_key *keys = malloc((count + 1) * sizeof *keys);
    if (!keys || count == 0)
        return keys;
    size_t common = common_prefix(c);
    for (uint32_t i = 0; i < count; i++) {
        struct fmt_text name = name_of(c, stream_at(c, i));
        uint64_t prefix = 0;
        for (size_t at = common; at < common + 8; at++)
            prefix = prefix << 8 | (at < name.len ? (unsigned char)name.at[at] : 0);
        keys[i] = (struct sort_key){prefix, i};
    }
    qsort_r(keys, count, sizeof *keys, compare_names, (void *)c);
    return keys;
}

/* ---- writing the sections ---- */

static int put32(struct fmt_table_builder *b, uint32_t v) {
    unsigned char bytes[4];
    fmt_put32(bytes, v);
    return fmt_table_array_put(b, bytes);
}

static int put_pair(struct fmt_table_builder *b, uint32_t first, uint32_t second) {
    unsigned char bytes[8];
    fmt_put32(bytes, first);
    fmt_put32(bytes + 4, second);
    return fmt_table_array_put(b, bytes);
}

static int write_events(const struct collector *c, struct fmt_table_builder *b) {
    const struct event *e = (const struct event *)c->events.at;
    const struct frame_entry *f = (const struct frame_entry *)c->frames.at;
    int rc = 0;
    fmt_table_array_begin(b, FMT_SECTION_EVENTS, 4);
    for (size_t i = 0; rc == 0 && i < event_count(c); i++)
        rc = put32(b, e[i].offset8);
    if (rc == 0)
        rc = fmt_table_array_end(b);
    if (rc < 0)
        return rc;
    fmt_table_array_begin(b, FMT_SECTION_FRAMES, 8);
    for (size_t i = 0; rc == 0 && i < c->frames.len / sizeof *f; i++)
        rc = put_pair(b, f[i].offset8, f[i].first_event);
    return rc == 0 ? fmt_table_array_end(b) : rc;
}

static int write_postings(const struct collector *c, struct fmt_table_builder *b) {
    const struct event *e = (const struct event *)c->events.at;
    uint32_t sum = 0;
    for (uint32_t i = 0; i < stream_count(c); i++) {
        stream_at(c, i)->next_posting = sum;
        sum += stream_at(c, i)->count;
    }
    uint32_t *postings = malloc((sum + (size_t)1) * sizeof *postings);
    if (!postings)
        return -ENOMEM;
    for (size_t i = 0; i < event_count(c); i++)
        if (e[i].stream != NO_STREAM)
            postings[stream_at(c, e[i].stream)->next_posting++] = (uint32_t)i;
    int rc = 0;
    fmt_table_array_begin(b, FMT_SECTION_POSTINGS, 8);
    for (uint32_t i = 0; rc == 0 && i < sum; i++)
        rc = put_pair(b, postings[i], e[postings[i]].offset8);
    free(postings);
    return rc == 0 ? fmt_table_array_end(b) : rc;
}

static int write_streams(const struct collector *c, struct fmt_table_builder *b) {
    struct es_fences fences = {0};
    struct fmt_fences interface = es_fences_of(&fences);
    struct sort_key *order = sort_names(c);
    int rc = order ? 0 : -ENOMEM;
    fmt_table_keys_begin(b, FMT_SECTION_STREAMS);
    for (uint32_t i = 0; rc == 0 && i < stream_count(c); i++) {
        const struct stream *s = stream_at(c, order[i].stream);
        unsigned char value[16];
        fmt_put64(value, s->first_version);
        fmt_put32(value + 8, s->count);
        fmt_put32(value + 12, s->next_posting - s->count);
        rc = fmt_table_keys_put(b, &interface, name_of(c, s), value, sizeof value);
    }
    if (rc == 0)
        rc = fmt_table_keys_end(b, &interface);
    es_fences_release(&fences);
    free(order);
    return rc;
}

static int write_keys(struct collector *c, struct fmt_table_builder *b) {
    size_t count = c->keys.len / sizeof(uint64_t);
    uint64_t *own = malloc((count + 1) * sizeof *own), *spare = own, *keys = (uint64_t *)(void *)c->keys.at;
    int rc = own ? 0 : -ENOMEM;
    if (rc == 0)
        es_key_sort(&keys, &spare, count);
    fmt_table_array_begin(b, FMT_SECTION_KEYS, 8);
    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = put_pair(b, (uint32_t)(keys[i] >> 32), (uint32_t)keys[i]);
    free(own);
    return rc == 0 ? fmt_table_array_end(b) : rc;
}

static int write_damage(const struct collector *c, struct fmt_table_builder *b) {
    const struct es_index_damage *d = (const struct es_index_damage *)c->damage.at;
    int rc = 0;
    if (c->damage.len == 0)
        return 0;
    fmt_table_array_begin(b, FMT_SECTION_DAMAGE, 16);
    for (size_t i = 0; rc == 0 && i < c->damage.len / sizeof *d; i++) {
        unsigned char bytes[16];
        fmt_put64(bytes, d[i].offset);
        fmt_put32(bytes + 8, d[i].first_event);
        fmt_put32(bytes + 12, d[i].count);
        rc = fmt_table_array_put(b, bytes);
    }
    return rc == 0 ? fmt_table_array_end(b) : rc;
}

static int write_table(struct collector *c, const struct fmt_table_header *h, struct es_buffer *image) {
    struct fmt_table_builder b;
    /* A guess that is rarely too small: what the arrays take, and a key of 48 bytes for each stream. */
    size_t guess =
        event_count(c) * 12 + c->keys.len + c->frames.len + stream_count(c) * (size_t)48 + 16 * (size_t)FMT_BLOCK_SIZE;
    int rc = es_buffer_reserve(image, guess + guess / 128);
    fmt_table_begin(&b, h, es_table_image_block, image);
    if (rc == 0)
        rc = write_events(c, &b);
    if (rc == 0)
        rc = write_postings(c, &b);
    if (rc == 0)
        rc = write_streams(c, &b);
    if (rc == 0)
        rc = write_keys(c, &b);
    if (rc == 0)
        rc = write_damage(c, &b);
    return rc == 0 ? fmt_table_end(&b) : rc;
}

int es_seal_build(const unsigned char *base, size_t size, struct es_buffer *image, struct esdb_error *err) {
    struct fmt_segment s;
    struct fmt_walk w;
    bool newer;
    const char *wrong = fmt_segment_decode(base, size, &s, &newer);
    if (!wrong && size > FMT_SEGMENT_FILE_MAX)
        wrong = "file is too large for a segment";
    if (wrong)
        return es_fail(err, ESDB_ECORRUPT, "%s", wrong);
    fmt_walk_init(&w, &s, base, size);
    return es_seal_walk(&s, &w, image, err);
}

int es_seal_walk(const struct fmt_segment *s, struct fmt_walk *w, struct es_buffer *image, struct esdb_error *err) {
    struct collector c = {.base = w->base, .first_position = s->first_position};
    struct es_buffer built = {0};
    if (es_random(&c.seed, sizeof c.seed) < 0)
        c.seed = es_clock_us();
    int rc = grow_slots(&c);
    if (rc == 0)
        rc = collect(&c, w);
    struct fmt_table_header h = {.kind = FMT_TABLE_SEGMENT,
                                 .first_index = s->first_index,
                                 .last_index = w->index - 1,
                                 .first_position = s->first_position,
                                 .end_position = w->position,
                                 .last_checksum = w->prev_checksum,
                                 .log_size = w->size,
                                 .first_epoch_us = c.first_epoch_us,
                                 .last_epoch_us = w->last_epoch_us,
                                 .log_rewritten_us = s->rewritten_us};
    if (rc == 0)
        rc = write_table(&c, &h, &built);
    release(&c);
    if (rc < 0) {
        es_buffer_release(&built);
        return es_fail(err, rc, "index of segment %016llx", (unsigned long long)s->first_index);
    }
    *image = built;
    return 0;
}
