#include "known.h"

#include <stdlib.h>
#include <string.h>

#include "shared_head.h"

#define KNOWN_MAX 65536u  /* streams: 8 MiB with the table half full */
#define IMPORT_EVENTS 64u /* a smaller frame is no import: its few look-ups cost less than remembering */

struct es_known_streams {
    struct es_known *slot;
    size_t slots, used;  /* slots: a power of two */
    uint64_t index;      /* the log's newest frame when this was true */
    uint64_t generation; /* and the head's */
    uint64_t segment;    /* that `last` is about */
};

static void clear(struct es_known_streams *k) {
    if (k->used > 0)
        memset(k->slot, 0, k->slots * sizeof *k->slot);
    k->used = 0;
}

void es_known_release(esdb *db) {
    if (!db->known)
        return;
    free(db->known->slot);
    free(db->known);
    db->known = NULL;
}

/* In another segment versions stay good, places do not. */
static void enter_segment(struct es_known_streams *k, uint64_t segment) {
    for (size_t i = 0; k->segment != segment && i < k->slots; i++)
        k->slot[i].last = 0;
    k->segment = segment;
}

void es_known_begin(esdb *db, const struct fmt_mark *tail) {
    struct es_known_streams *k = db->known;
    if (!k)
        return;
    if (k->index != tail->index || k->generation != es_head_generation(db))
        clear(k);
    enter_segment(k, tail->segment);
}

static struct es_known *probe(const struct es_known_streams *k, uint64_t hash, struct esdb_text name) {
    size_t at = hash & (k->slots - 1);
    while (k->slot[at].name_len && (k->slot[at].hash != hash || k->slot[at].name_len != name.len ||
                                    memcmp(k->slot[at].name, name.at, name.len) != 0))
        at = (at + 1) & (k->slots - 1);
    return &k->slot[at];
}

const struct es_known *es_known_find(const esdb *db, uint64_t hash, struct esdb_text name) {
    if (!db->known || db->known->used == 0 || name.len > ES_KNOWN_NAME_MAX)
        return NULL;
    const struct es_known *found = probe(db->known, hash, name);
    return found->name_len ? found : NULL;
}

static bool grow(struct es_known_streams *k) {
    struct es_known_streams bigger = *k;
    bigger.slots = k->slots ? k->slots * 2 : 4096;
    bigger.slot = calloc(bigger.slots, sizeof *bigger.slot);
    if (!bigger.slot)
        return false;
    for (size_t i = 0; i < k->slots; i++)
        if (k->slot[i].name_len)
            *probe(&bigger, k->slot[i].hash, (struct esdb_text){k->slot[i].name, k->slot[i].name_len}) = k->slot[i];
    free(k->slot);
    *k = bigger;
    return true;
}

static void keep(struct es_known_streams *k, const struct es_batch_stream *s, struct esdb_text name) {
    if (name.len > ES_KNOWN_NAME_MAX)
        return;
    if (k->used * 2 >= k->slots && !grow(k)) {
        clear(k);
        return;
    }
    struct es_known *slot = probe(k, s->hash, name);
    if (!slot->name_len) {
        *slot = (struct es_known){.hash = s->hash, .name_len = (uint8_t)name.len};
        memcpy(slot->name, name.at, name.len);
        k->used++;
    }
    slot->version = (int64_t)s->next - 1;
    slot->last = s->last;
}

void es_known_keep(esdb *db, const esdb_batch *b, const struct fmt_mark *tail) {
    if (!db->known && (esdb_batch_count(b) < IMPORT_EVENTS || !(db->known = calloc(1, sizeof *db->known))))
        return;
    struct es_known_streams *k = db->known;
    if (k->used > KNOWN_MAX || esdb_batch_count(b) < IMPORT_EVENTS)
        clear(k);
    if (esdb_batch_count(b) < IMPORT_EVENTS)
        return;
    enter_segment(k, tail->segment);
    for (uint32_t i = 0; i < es_batch_streams(b); i++) {
        const struct es_batch_stream *s = es_batch_stream_at(b, i);
        if (i + 8 < es_batch_streams(b))
            __builtin_prefetch(&k->slot[k->slots ? es_batch_stream_at(b, i + 8)->hash & (k->slots - 1) : 0]);
        keep(k, s, es_batch_name(b, s));
    }
    k->index = tail->index;
    k->generation = es_head_generation(db);
}
