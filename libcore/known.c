#include "known.h"

#include <stdlib.h>
#include <string.h>

#include "shared_head.h"

#define KNOWN_MAX 262144u /* streams: 32 MiB of slots at most */

struct es_known_streams {
    struct es_known *slot;
    size_t slots, used; /* slots: a power of two */
    struct es_buffer names;
    bool holds;
    struct fmt_mark base;
    uint64_t index;      /* the log's newest frame when this was true */
    uint64_t generation; /* and the head's */
    uint64_t segment;    /* that `last` is about */
    uint64_t indexed;    /* newest frame of its live index when `last` was true: others may add to it as well */
};

static void forget(struct es_known_streams *k) {
    if (k->used > 0)
        memset(k->slot, 0, k->slots * sizeof *k->slot);
    k->used = 0;
    k->names.len = 0;
    k->holds = false;
}

void es_known_release(esdb *db) {
    if (!db->known)
        return;
    es_buffer_release(&db->known->names);
    free(db->known->slot);
    free(db->known);
    db->known = NULL;
}

/* In another segment versions stay good, places do not: no stream has an event there yet. */
static void enter_segment(struct es_known_streams *k, uint64_t segment) {
    if (k->segment == segment)
        return;
    for (size_t i = 0; i < k->slots; i++)
        k->slot[i].last = 0;
    k->segment = segment;
    k->indexed = segment - 1;
}

void es_known_forget_places(esdb *db) {
    struct es_known_streams *k = db->known;
    for (size_t i = 0; k && i < k->slots; i++)
        k->slot[i].last = ES_LAST_UNKNOWN;
}

void es_known_places_at(esdb *db, uint64_t frames) {
    if (db->known && db->known->indexed != frames)
        es_known_forget_places(db);
    es_known_places_pass(db, frames);
}

void es_known_places_pass(esdb *db, uint64_t frames) {
    if (db->known)
        db->known->indexed = frames;
}

bool es_known_holds(esdb *db, const struct fmt_mark *tail) {
    struct es_known_streams *k = db->known;
    if (!k || !k->holds)
        return false;
    if (k->index != tail->index || k->generation != es_head_generation(db)) {
        forget(k);
        return false;
    }
    enter_segment(k, tail->segment);
    return true;
}

void es_known_start(esdb *db, const struct fmt_mark *tail) {
    if (!db->known && !(db->known = calloc(1, sizeof *db->known)))
        return;
    struct es_known_streams *k = db->known;
    forget(k);
    k->holds = true;
    k->base = *tail;
    k->index = tail->index;
    k->generation = es_head_generation(db);
    k->segment = tail->segment;
    k->indexed = tail->index;
}

const struct fmt_mark *es_known_base(const esdb *db) {
    return &db->known->base;
}

/* A long name lies in `names`, at the offset that stands in its slot. */
static const char *name_of(const struct es_known_streams *k, const struct es_known *s) {
    size_t at;
    if (s->name_len <= ES_KNOWN_NAME_MAX)
        return s->name;
    memcpy(&at, s->name, sizeof at);
    return (const char *)k->names.at + at;
}

static struct es_known *probe(const struct es_known_streams *k, uint64_t hash, struct esdb_text name) {
    size_t at = hash & (k->slots - 1);
    while (k->slot[at].name_len && (k->slot[at].hash != hash || k->slot[at].name_len != name.len ||
                                    memcmp(name_of(k, &k->slot[at]), name.at, name.len) != 0))
        at = (at + 1) & (k->slots - 1);
    return &k->slot[at];
}

struct es_known *es_known_find(const esdb *db, uint64_t hash, struct esdb_text name) {
    if (!db->known || db->known->used == 0)
        return NULL;
    struct es_known *found = probe(db->known, hash, name);
    return found->name_len ? found : NULL;
}

void es_known_expect(const esdb *db, uint64_t hash) {
    const struct es_known_streams *k = db->known;
    if (k && k->slots)
        __builtin_prefetch(&k->slot[hash & (k->slots - 1)], 1);
}

static bool grow(struct es_known_streams *k) {
    size_t slots = k->slots ? k->slots * 2 : 4096;
    struct es_known *slot = calloc(slots, sizeof *slot);
    if (!slot)
        return false;
    for (size_t i = 0; i < k->slots; i++) { /* all differ: the first free place is the right one */
        size_t at = k->slot[i].hash & (slots - 1);
        while (k->slot[i].name_len && slot[at].name_len)
            at = (at + 1) & (slots - 1);
        if (k->slot[i].name_len)
            slot[at] = k->slot[i];
    }
    free(k->slot);
    k->slot = slot;
    k->slots = slots;
    return true;
}

/* `slot`: where it is, NULL when that is not known. */
static bool keep(struct es_known_streams *k, const struct es_batch_stream *s, struct es_known *slot,
                 struct esdb_text name) {
    if (!slot && k->used * 2 >= k->slots && (k->used >= KNOWN_MAX || !grow(k)))
        return false;
    if (!slot)
        slot = probe(k, s->hash, name);
    if (!slot->name_len) {
        size_t at = k->names.len;
        if (name.len > ES_KNOWN_NAME_MAX && es_buffer_add(&k->names, name.at, name.len) < 0)
            return false;
        *slot = (struct es_known){.hash = s->hash, .name_len = (uint8_t)name.len};
        if (name.len > ES_KNOWN_NAME_MAX)
            memcpy(slot->name, &at, sizeof at);
        else
            memcpy(slot->name, name.at, name.len);
        k->used++;
    }
    slot->version = (int64_t)s->next - 1;
    slot->last = s->last;
    return true;
}

void es_known_keep(esdb *db, const esdb_batch *b, const struct fmt_mark *tail) {
    struct es_known_streams *k = db->known;
    if (!k || !k->holds)
        return;
    if (b->tells_life) { /* what it deletes may be known here */
        forget(k);
        return;
    }
    enter_segment(k, tail->segment);
    const struct es_known *slots = k->slot; /* those that were found before are there, until there are more */
    for (uint32_t i = 0; i < es_batch_streams(b); i++) {
        const struct es_batch_stream *s = es_batch_stream_at(b, i);
        if (!s->events && !s->exists) /* a deleted one that was only expected: it would be taken for one that exists */
            continue;
        if (!keep(k, s, k->slot == slots ? s->known : NULL, es_batch_name(b, s))) {
            forget(k);
            return;
        }
    }
    k->index = tail->index;
}
