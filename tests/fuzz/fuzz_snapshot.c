/* An event of a snapshot: a byte that says of which type and form, then metadata and data, divided by the first newline. What
 * is understood in metadata that is JSON comes back when it is written again; data that is called compressed is
 * decompressed. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "format/json.h"
#include "format/snapshot.h"
#include "libcore/esdb.h"
#include "libcore/snapshot_codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A block of its exact size. */
static struct fmt_text copy(const uint8_t *bytes, size_t len) {
    char *at = malloc(len > 0 ? len : 1);

    assert(at);
    if (len > 0)
        memcpy(at, bytes, len);
    return (struct fmt_text){at, len};
}

static bool same(struct fmt_text a, struct fmt_text b) {
    return !a.at == !b.at && a.len == b.len && (a.len == 0 || memcmp(a.at, b.at, a.len) == 0);
}

/* What was understood is written, and understood again. */
static void write_again(const struct fmt_event *e, const struct fmt_snapshot *s) {
    size_t room = FMT_SNAPSHOT_ROOM + (s->metadata.at ? s->metadata.len : 0);
    char *out = malloc(room);
    struct fmt_event again = *e;
    struct fmt_snapshot t;

    assert(out);
    again.metadata = (struct fmt_text){out, fmt_snapshot_encode(s, out)};
    assert(again.metadata.len <= room);
    assert(fmt_snapshot_decode(&again, &t));
    assert(s->deletes == t.deletes && s->has_latest == t.has_latest && s->latest == t.latest);
    assert(s->first == t.first && s->last == t.last && s->version == t.version && s->from == t.from);
    assert(s->size == t.size && s->json == t.json && s->zstd == t.zstd && same(s->metadata, t.metadata));
    free(out);
}

static void decompress(const struct fmt_event *e, const struct fmt_snapshot *s) {
    char *out;

    if (s->size > 1 << 20)
        return;
    out = malloc(s->size + 1);
    assert(out);
    int rc = es_snapshot_decompress((struct esdb_text){e->data.at, e->data.len}, out, s->size);
    assert(rc == 0 || rc == ESDB_ECORRUPT);
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const types[] = {FMT_SNAPSHOT_SAVED, FMT_SNAPSHOT_DELETED, "T", ""};

    if (size == 0)
        return 0;
    const uint8_t *newline = memchr(data, '\n', size);
    size_t len = newline ? (size_t)(newline - data) : size;
    const char *type = types[data[0] & 3];
    struct fmt_event e = {
        .event_type = {type, strlen(type)},
        .metadata = len > 0 ? copy(data + 1, len - 1) : copy(data, 0),
        .data = newline ? copy(newline + 1, size - len - 1) : copy(data, 0),
        .flags = (uint16_t)((data[0] & 4 ? 0 : FMT_EVENT_HAS_DATA) | (data[0] & 8 ? FMT_EVENT_BINARY : 0) |
                            (data[0] & 16 ? 0 : FMT_EVENT_HAS_METADATA)),
    };
    struct fmt_snapshot s;
    struct fmt_json_value value;
    struct fmt_json_error wrong;
    if (e.metadata.len > 0 && fmt_snapshot_decode(&e, &s)) {
        if (fmt_json_scan(e.metadata.at, e.metadata.len, &value, &wrong) == FMT_JSON_OK && !value.has_space)
            write_again(&e, &s);
        if (s.zstd)
            decompress(&e, &s);
    }
    free((char *)e.metadata.at);
    free((char *)e.data.at);
    return 0;
}
