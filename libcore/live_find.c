#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "format/checksum.h"
#include "live_internal.h"

const struct fmt_live_entry *es_live_entry(const esdb *db, uint32_t ordinal) {
    if (ordinal >= db->live.capacity)
        return NULL;
    const struct fmt_live_entry *e = &db->live.entry[ordinal];
    return e->check == fmt_live_entry_check(e, ordinal) ? e : NULL;
}

uint64_t es_live_stream_hash(struct esdb_text stream) {
    return fmt_checksum(stream.at, stream.len);
}

static bool same_text(struct esdb_text a, struct fmt_text b) {
    return a.len == b.len && memcmp(a.at, b.at, a.len) == 0;
}

bool es_live_read(const struct es_segment *seg, const struct fmt_live_entry *e, struct fmt_event *out) {
    uint64_t offset = (uint64_t)e->offset8 * 8;
    return offset < seg->size && !fmt_event_decode(seg->map + offset, (size_t)(seg->size - offset), out);
}

int es_live_find_stream(const esdb *db, const struct es_segment *seg, struct esdb_text stream, uint64_t hash,
                        struct es_live_place *out) {
    struct es_live_place f = {.place = hash & (db->live.capacity - 1)};
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
        if (maybe && !es_live_read(seg, e, &event))
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
    struct es_live_place f;
    for (int tries = 0; tries < 3; tries++) { /* a chain may change under a reader: the entry moves to its front */
        int rc = es_live_find_stream(db, seg, stream, es_live_stream_hash(stream), &f);
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

int es_live_keys(const esdb *db, uint64_t hash, uint64_t events, struct es_buffer *ordinals) {
    const struct es_live *l = &db->live;
    uint64_t bucket = hash & (l->key_capacity - 1);
    uint32_t target;
    if (!fmt_link_decode(atomic_load_explicit(&l->key_bucket[bucket], memory_order_acquire), ES_LIVE_KEY_PLACE + bucket,
                         &target))
        return ESDB_ECORRUPT;
    for (uint32_t before = UINT32_MAX; target != 0; before = target, target = l->key[target - 1].next) {
        const struct fmt_live_key *k = &l->key[target - 1];
        if (target > l->key_capacity || target >= before || k->check != fmt_live_key_check(k, target - 1))
            return ESDB_ECORRUPT;
        if (k->hash == (uint32_t)(hash >> 32) && k->ordinal < events &&
            es_buffer_add(ordinals, &k->ordinal, sizeof k->ordinal) < 0)
            return -ENOMEM;
    }
    uint32_t *at = (uint32_t *)(void *)ordinals->at;
    for (size_t low = 0, high = ordinals->len / sizeof *at; low + 1 < high; low++) { /* newest first as yet */
        uint32_t newest = at[low];
        at[low] = at[--high];
        at[high] = newest;
    }
    return 0;
}
