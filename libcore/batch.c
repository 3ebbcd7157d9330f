#include "batch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "format/bytes.h"
#include "format/checksum.h"
#include "format/event.h"
#include "format/frame.h"
#include "format/life.h"
#include "format/utf8.h"
#include "os.h"

#define UUID_TEXT 36u

int esdb_batch_open(esdb_batch **out) {
    esdb_batch *b = calloc(1, sizeof *b);
    if (!b)
        return -ENOMEM;
    if (es_buffer_reserve(&b->frame, FMT_FRAME_HEADER_SIZE) < 0) {
        free(b);
        return -ENOMEM;
    }
    b->frame.len = FMT_FRAME_HEADER_SIZE;
    *out = b;
    return 0;
}

void esdb_batch_close(esdb_batch *b) {
    if (!b)
        return;
    es_buffer_release(&b->frame);
    es_buffer_release(&b->events);
    es_buffer_release(&b->streams);
    es_buffer_release(&b->names);
    es_buffer_release(&b->receipt);
    free(b->slot);
    free(b);
}

void esdb_batch_clear(esdb_batch *b) {
    b->frame.len = FMT_FRAME_HEADER_SIZE;
    b->clock_ms = es_clock_us() / 1000;
    b->events.len = b->streams.len = b->names.len = b->receipt.len = 0;
    b->tells_life = false;
    b->none_below = 0;
    if (b->slot)
        memset(b->slot, 0, b->slots * sizeof *b->slot);
}

uint32_t esdb_batch_count(const esdb_batch *b) {
    return (uint32_t)(b->events.len / sizeof(struct es_batch_event));
}

size_t esdb_batch_size(const esdb_batch *b) {
    return b->frame.len;
}

/* ---- chance and ids ---- */

enum { CHANCE_FIRST = 256 };

static int take_chance(esdb_batch *b, void *out, size_t len) {
    if (b->chance_left < len) {
        size_t n = b->drew ? sizeof b->chance : CHANCE_FIRST; /* a process that appends one event needs no more */
        int rc = es_random(b->chance + sizeof b->chance - n, n);
        if (rc < 0)
            return rc;
        b->chance_left = n;
        b->drew = true;
        b->clock_ms = es_clock_us() / 1000;
    }
    unsigned char *at = b->chance + sizeof b->chance - b->chance_left;
    memcpy(out, at, len);
    memset(at, 0, len); /* a salt is written once, nowhere else */
    b->chance_left -= len;
    return 0;
}

/* 8 half-bytes of v, the highest first, as 8 hexadecimal digits: all at once, because every event needs four of them. */
static void put_hex(uint32_t v, char *out) {
    uint64_t x = v;
    x = ((x & 0x00000000ffff0000) << 16 | (x & 0xffff)); /* spread to one half-byte a byte */
    x = (x << 8 | x) & 0x00ff00ff00ff00ff;
    x = (x << 4 | x) & 0x0f0f0f0f0f0f0f0f;
    uint64_t letters = ((x + 0x0606060606060606) >> 4) & 0x0101010101010101; /* 1 where the digit is above 9 */
    x = htobe64(x + 0x3030303030303030 + letters * ('a' - '0' - 10));
    memcpy(out, &x, sizeof x);
}

/* RFC 9562, version 7: 48 bits of milliseconds, then chance. */
static int make_uuid(esdb_batch *b, char out[UUID_TEXT]) {
    unsigned char chance[10];
    char digits[32];
    int rc = take_chance(b, chance, sizeof chance);
    if (rc < 0)
        return rc;
    uint64_t ms = b->clock_ms;
    put_hex((uint32_t)(ms >> 16), digits);
    put_hex((uint32_t)(ms << 16) | 0x7000 | (fmt_get16(chance) & 0x0fff), digits + 8);
    put_hex((fmt_get32(chance + 2) & 0x3fffffff) | 0x80000000, digits + 16);
    put_hex(fmt_get32(chance + 6), digits + 24);
    memcpy(out, digits, 8); /* each of a fixed length: a loop over the five takes longer than all the rest */
    memcpy(out + 9, digits + 8, 4);
    memcpy(out + 14, digits + 12, 4);
    memcpy(out + 19, digits + 16, 4);
    memcpy(out + 24, digits + 20, 12);
    out[8] = out[13] = out[18] = out[23] = '-';
    return 0;
}

/* ---- checks ---- */

/* Printable ASCII, as nearly every name is; eight bytes at a time. */
static bool is_plain(struct esdb_text t) {
    const uint64_t high = 0x8080808080808080;
    uint64_t odd = 0;
    size_t i = 0;
    for (; i + 8 <= t.len; i += 8) {
        uint64_t x = fmt_get64(t.at + i);
        odd |= x | (x - 0x2020202020202020) | (x + 0x0101010101010101); /* high bits: >= 0x80, < 0x20, == 0x7f */
    }
    bool plain = (odd & high) == 0;
    for (; i < t.len; i++)
        plain &= (unsigned char)t.at[i] >= 0x20 && (unsigned char)t.at[i] < 0x7f;
    return plain;
}

static int check_name(const char *field, struct esdb_text t, size_t max, struct esdb_error *err) {
    size_t bad;
    if (t.len == 0)
        return es_fail(err, ESDB_EINVALID, "%s is empty", field);
    if (t.len > max)
        return es_fail(err, ESDB_EINVALID, "%s is longer than %zu bytes", field, max);
    if (is_plain(t))
        return 0;
    if (!fmt_utf8_valid(t.at, t.len, &bad))
        return es_fail(err, ESDB_EINVALID, "%s is not valid UTF-8 (byte %zu)", field, bad + 1);
    if (fmt_has_control(t.at, t.len))
        return es_fail(err, ESDB_EINVALID, "%s holds a control character", field);
    return 0;
}

static int check_event(const struct esdb_new_event *e, struct esdb_error *err) {
    bool system = e->stream_id.len && e->stream_id.at[0] == '$';
    if (system && !e->system)
        return es_fail(err, ESDB_EINVALID, "stream_id begins with '$': such streams are the store's own");
    int rc = check_name("stream_id", e->stream_id, system ? FMT_STREAM_NAME_MAX : FMT_STREAM_ID_MAX, err);
    if (rc == 0)
        rc = check_name("event_type", e->event_type, FMT_EVENT_TYPE_MAX, err);
    if (rc == 0 && e->event_id.len)
        rc = check_name("event_id", e->event_id, FMT_EVENT_ID_MAX, err);
    if (rc == 0 && e->data_content_type.len)
        rc = check_name("data_content_type", e->data_content_type, FMT_CONTENT_TYPE_MAX, err);
    if (rc == 0 && e->metadata_content_type.len)
        rc = check_name("metadata_content_type", e->metadata_content_type, FMT_CONTENT_TYPE_MAX, err);
    return rc;
}

/* ---- streams of the batch ---- */

static int grow_slots(esdb_batch *b) {
    uint32_t slots = b->slots ? b->slots * 2 : 64;
    uint32_t *slot = calloc(slots, sizeof *slot);
    if (!slot)
        return -ENOMEM;
    for (uint32_t i = 0; i < es_batch_streams(b); i++) {
        uint32_t at = (uint32_t)es_batch_stream_at(b, i)->hash & (slots - 1);
        while (slot[at])
            at = (at + 1) & (slots - 1);
        slot[at] = i + 1;
    }
    free(b->slot);
    b->slot = slot;
    b->slots = slots;
    return 0;
}

int es_batch_find_stream(esdb_batch *b, struct esdb_text name, uint32_t *out) {
    if (es_batch_streams(b) * 2 >= b->slots && grow_slots(b) < 0)
        return -ENOMEM;
    uint64_t hash = fmt_checksum(name.at, name.len);
    uint32_t at = (uint32_t)hash & (b->slots - 1);
    for (; b->slot[at]; at = (at + 1) & (b->slots - 1)) {
        const struct es_batch_stream *s = es_batch_stream_at(b, b->slot[at] - 1);
        if (s->hash == hash && s->name_len == name.len && memcmp(b->names.at + s->name_at, name.at, name.len) == 0) {
            *out = b->slot[at] - 1;
            return 0;
        }
    }
    struct es_batch_stream fresh = {.name_at = b->names.len,
                                    .name_len = (uint32_t)name.len,
                                    .hash = hash,
                                    .expected = ESDB_ANY,
                                    .current = -1,
                                    .last = ES_LAST_UNKNOWN};
    if (es_buffer_reserve(&b->names, name.len) < 0 || es_buffer_add(&b->streams, &fresh, sizeof fresh) < 0)
        return -ENOMEM;
    es_buffer_add(&b->names, name.at, name.len);
    b->tells_life |= name.at[0] == '$' && fmt_is_meta((struct fmt_text){name.at, name.len});
    *out = es_batch_streams(b) - 1;
    b->slot[at] = *out + 1;
    return 0;
}

int esdb_batch_expect(esdb_batch *b, struct esdb_text stream_id, int64_t expected, struct esdb_error *err) {
    if (expected < 0 && expected != ESDB_ANY && expected != ESDB_NO_STREAM && expected != ESDB_EXISTS)
        return es_fail(err, ESDB_EUSAGE, "expected version %lld: must be any, no-stream, exists or a version",
                       (long long)expected);
    int rc = check_name("stream_id", stream_id, FMT_STREAM_NAME_MAX, err);
    if (rc < 0)
        return rc;
    uint32_t i;
    rc = es_batch_find_stream(b, stream_id, &i);
    if (rc < 0)
        return es_fail(err, rc, "batch");
    es_batch_stream_at(b, i)->expected = expected;
    es_batch_stream_at(b, i)->expects = true;
    return 0;
}

int esdb_batch_begin(esdb_batch *b, struct esdb_text stream_id, uint64_t version, struct esdb_error *err) {
    uint32_t i;
    int rc = check_name("stream_id", stream_id, FMT_STREAM_NAME_MAX, err);
    if (rc < 0)
        return rc;
    rc = es_batch_find_stream(b, stream_id, &i);
    if (rc < 0)
        return es_fail(err, rc, "batch");
    es_batch_stream_at(b, i)->begins = true;
    es_batch_stream_at(b, i)->begin = version;
    return 0;
}

/* ---- events ---- */

static struct fmt_text text(struct esdb_text t) {
    return (struct fmt_text){t.at, t.len};
}

int esdb_batch_add(esdb_batch *b, const struct esdb_new_event *e, struct esdb_error *err) {
    char uuid[UUID_TEXT];
    unsigned char salt[FMT_SALT_SIZE];
    int rc = check_event(e, err);
    if (rc < 0)
        return rc;
    rc = take_chance(b, salt, sizeof salt);
    if (rc == 0 && e->event_id.len == 0)
        rc = make_uuid(b, uuid);
    if (rc < 0)
        return es_fail(err, rc, "random numbers");
    struct fmt_event event = {.salt = salt,
                              .flags = (uint16_t)((e->data.at ? FMT_EVENT_HAS_DATA : 0) |
                                                  (e->metadata.at ? FMT_EVENT_HAS_METADATA : 0) |
                                                  (e->binary ? FMT_EVENT_BINARY : 0)),
                              .stream_id = text(e->stream_id),
                              .event_type = text(e->event_type),
                              .event_id = e->event_id.len ? text(e->event_id) : (struct fmt_text){uuid, sizeof uuid},
                              .data_content_type = text(e->data_content_type),
                              .metadata_content_type = text(e->metadata_content_type),
                              .data = text(e->data),
                              .metadata = text(e->metadata)};
    size_t size = fmt_event_size(&event);
    if (size == 0)
        return es_fail(err, ESDB_EINVALID, "event is larger than %u MiB", FMT_EVENT_SIZE_MAX >> 20);
    if (b->frame.len + size > FMT_FRAME_SIZE_MAX || esdb_batch_count(b) == FMT_FRAME_EVENTS_MAX)
        return es_fail(err, ESDB_EUSAGE, "frame would be larger than %u MiB or %u events", FMT_FRAME_SIZE_MAX >> 20,
                       FMT_FRAME_EVENTS_MAX);
    struct es_batch_event place = {.offset = (uint32_t)b->frame.len, .epoch_us = e->epoch_us};
    if (es_buffer_reserve(&b->frame, size) < 0 || es_buffer_reserve(&b->events, sizeof place) < 0 ||
        es_batch_find_stream(b, e->stream_id, &place.stream) < 0)
        return es_fail(err, -ENOMEM, "batch");
    fmt_event_encode(&event, b->frame.at + b->frame.len);
    b->frame.len += size;
    es_buffer_add(&b->events, &place, sizeof place);
    es_batch_stream_at(b, place.stream)->events++;
    return 0;
}
