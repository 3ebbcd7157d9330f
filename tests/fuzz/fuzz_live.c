/* Any bytes in a live index that other processes share. The input changes a good one, three bytes each: where (16 bits)
 * and what; the first byte says: 1 every check is made right afterwards, so that the fuzzer gets behind them. Whatever
 * stands there: an end in time, nothing outside of the index and the segment, no ordinal that may not be shown. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "format/bytes.h"
#include "format/event_keys.h"
#include "libcore/index.h"
#include "libcore/live_internal.h"

#define EVENTS 60u
#define SHOWN 50u /* as if the others were not committed yet */
#define STREAMS 7u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct {
    char path[64];
    esdb *db;
    struct es_view view;
    unsigned char *good; /* copy of the index */
} store;

static struct esdb_text name_of(uint32_t stream, char room[16]) {
    int len = snprintf(room, 16, "stream-%u", stream);

    return (struct esdb_text){room, (size_t)len};
}

static void remove_store(void) {
    char command[96];

    snprintf(command, sizeof command, "rm -rf '%s'", store.path);
    if (system(command) != 0)
        perror(store.path);
}

static void make_store(void) {
    const char *base = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    struct esdb_settings settings = {.durability = ESDB_NOT_DURABLE};
    struct esdb_error err = {0};
    struct esdb_receipt receipt;
    esdb_batch *batch;

    snprintf(store.path, sizeof store.path, "%s/esdb-fuzz-XXXXXX", base);
    assert(mkdtemp(store.path));
    atexit(remove_store);
    assert(esdb_create(store.path, &settings, &err) == 0 && esdb_open(store.path, ESDB_APPEND, &store.db, &err) == 0);
    assert(esdb_batch_open(&batch) == 0);
    for (uint32_t i = 0; i < EVENTS; i++) {
        char room[16], id[16];
        struct esdb_new_event e = {.stream_id = name_of(i * i % STREAMS, room), .event_type = {"T", 1}};

        e.event_id = (struct esdb_text){id, (size_t)snprintf(id, sizeof id, "id-%u", i)};
        esdb_batch_clear(batch);
        assert(esdb_batch_add(batch, &e, &err) == 0 && esdb_append(store.db, batch, 0, &receipt, &err) == 0);
    }
    esdb_batch_close(batch);
    assert(es_view_open(store.db, 1, SHOWN, &store.view, &err) == 0 && store.view.live);
    store.good = malloc(store.db->live.map_len);
    assert(store.good);
    memcpy(store.good, store.db->live.map, store.db->live.map_len);
}

/* ---- changing ---- */

static void make_word_right(_Atomic uint64_t *word, uint64_t place) {
    *word = *word ? fmt_link_encode((uint32_t)*word, place) : 0;
}

static void make_checks_right(const struct es_live *l) {
    for (uint64_t i = 0; i < l->capacity; i++) {
        l->entry[i].check = fmt_live_entry_check(&l->entry[i], (uint32_t)i);
        make_word_right(&l->entry[i].stream_next, l->capacity + i);
        make_word_right(&l->stream_bucket[i], i);
    }
    for (uint64_t i = 0; i < l->key_capacity; i++) {
        l->key[i].check = fmt_live_key_check(&l->key[i], (uint32_t)i);
        make_word_right(&l->key_bucket[i], ES_LIVE_KEY_PLACE + i);
    }
}

/* ---- asking ---- */

static void ask_stream(const struct es_live *l, struct esdb_text stream) {
    const struct fmt_live_entry *e;
    uint32_t last, at;

    if (es_live_last(store.db, store.view.seg, stream, SHOWN, &last) != 0)
        return;
    assert(last < SHOWN);
    e = es_live_entry(store.db, last);
    for (uint32_t nth = 0; e && nth <= e->nth && nth < EVENTS; nth++)
        if (es_live_back(store.db, last, nth, &at) == 0)
            assert(at <= last && at < l->capacity);
}

static void ask_event(uint32_t ordinal) {
    const struct fmt_live_entry *e = es_live_entry(store.db, ordinal);
    struct fmt_event event;

    if (e && es_live_read(store.view.seg, e, &event))
        (void)fmt_event_intact(store.view.seg->map + (uint64_t)e->offset8 * 8, &event);
}

static void ask_key(uint32_t i) {
    struct es_buffer found = {0};
    char id[16];
    size_t len = (size_t)snprintf(id, sizeof id, "id-%u", i);

    if (es_live_keys(store.db, fmt_event_key_hash(FMT_EVENT_KEY_ID, (struct fmt_text){id, len}), SHOWN, &found) == 0)
        for (size_t k = 0; k < found.len / 4; k++)
            assert(((const uint32_t *)(const void *)found.at)[k] < SHOWN);
    es_buffer_release(&found);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const struct es_live *l;
    char room[16];

    if (!store.db)
        make_store();
    if (size < 1)
        return 0;
    l = &store.db->live;
    memcpy((char *)l->map + FMT_LIVE_HEADER_SIZE, store.good + FMT_LIVE_HEADER_SIZE, l->map_len - FMT_LIVE_HEADER_SIZE);
    for (size_t i = 1; i + 3 <= size; i += 3)
        ((unsigned char *)l->map)[FMT_LIVE_HEADER_SIZE + fmt_get16(data + i) % (l->map_len - FMT_LIVE_HEADER_SIZE)] =
            data[i + 2];
    if (data[0] & 1)
        make_checks_right(l);
    for (uint32_t i = 0; i <= STREAMS; i++)
        ask_stream(l, name_of(i, room));
    for (uint32_t i = 0; i < EVENTS; i++) {
        ask_event(i);
        ask_key(i);
    }
    return 0;
}
