#include "snapshot.h"

#include <string.h>

#include "json_path.h"

/* ---- writing ---- */

static char *put(char *at, const char *text) {
    size_t len = strlen(text);
    memcpy(at, text, len);
    return at + len;
}

static char *put_number(char *at, const char *text, uint64_t n) {
    char digits[20];
    size_t count = 0;
    at = put(at, text);
    do
        digits[count++] = (char)('0' + n % 10);
    while ((n /= 10) > 0);
    while (count > 0)
        *at++ = digits[--count];
    return at;
}

size_t fmt_snapshot_encode(const struct fmt_snapshot *s, char *out) {
    char *at = s->has_latest ? put_number(out, "{\"latest\":", s->latest) : put(out, "{\"latest\":null");
    if (s->deletes) {
        at = put_number(at, ",\"first\":", s->first);
        at = put_number(at, ",\"last\":", s->last);
    } else {
        at = put_number(at, ",\"version\":", s->version);
        if (s->from > 0)
            at = put_number(at, ",\"from\":", s->from);
        at = put_number(at, ",\"size\":", s->size);
        at = put(at, s->json ? ",\"state\":\"json\"" : ",\"state\":\"bytes\"");
        at = put(at, s->zstd ? ",\"compression\":\"zstd\"" : ",\"compression\":\"none\"");
        if (s->metadata.at) {
            at = put(at, ",\"metadata\":");
            memcpy(at, s->metadata.at, s->metadata.len);
            at += s->metadata.len;
        }
    }
    *at++ = '}';
    return (size_t)(at - out);
}

/* ---- reading ---- */

static bool is(struct fmt_text t, const char *word) {
    return t.len == strlen(word) && memcmp(t.at, word, t.len) == 0;
}

static bool get(struct fmt_text object, const char *key, struct fmt_text *value) {
    return fmt_json_member(object, (struct fmt_text){key, strlen(key)}, value);
}

/* A number below 2^63 in plain digits. */
static bool get_number(struct fmt_text object, const char *key, uint64_t *out) {
    struct fmt_text value;
    uint64_t n = 0;
    if (!get(object, key, &value) || value.len == 0 || value.len > 19)
        return false;
    for (size_t i = 0; i < value.len; i++) {
        if (value.at[i] < '0' || value.at[i] > '9')
            return false;
        n = n * 10 + (uint64_t)(value.at[i] - '0');
    }
    *out = n;
    return n <= INT64_MAX;
}

static bool decode_saved(const struct fmt_event *e, struct fmt_snapshot *s) {
    struct fmt_text state, compression, from;
    if (get(e->metadata, "from", &from) && !get_number(e->metadata, "from", &s->from))
        return false;
    if (!get_number(e->metadata, "version", &s->version) || !get_number(e->metadata, "size", &s->size) ||
        !get(e->metadata, "state", &state) || !get(e->metadata, "compression", &compression))
        return false;
    s->json = is(state, "\"json\"");
    s->zstd = is(compression, "\"zstd\"");
    if (!get(e->metadata, "metadata", &s->metadata) || s->metadata.len == 0 || *s->metadata.at != '{')
        s->metadata = (struct fmt_text){NULL, 0};
    bool as_bytes = e->flags & FMT_EVENT_BINARY;
    return (e->flags & FMT_EVENT_HAS_DATA) && (s->json || is(state, "\"bytes\"")) &&
           (s->zstd || is(compression, "\"none\"")) && as_bytes == (s->zstd || !s->json) && s->has_latest &&
           (s->zstd || s->size == e->data.len);
}

bool fmt_snapshot_decode(const struct fmt_event *e, struct fmt_snapshot *out) {
    struct fmt_snapshot s = {0};
    struct fmt_text latest;
    if (!(e->flags & FMT_EVENT_HAS_METADATA) || !get(e->metadata, "latest", &latest))
        return false;
    s.has_latest = get_number(e->metadata, "latest", &s.latest);
    if (!s.has_latest && !is(latest, "null"))
        return false;
    s.deletes = is(e->event_type, FMT_SNAPSHOT_DELETED);
    if (s.deletes ? !get_number(e->metadata, "first", &s.first) || !get_number(e->metadata, "last", &s.last)
                  : !is(e->event_type, FMT_SNAPSHOT_SAVED) || !decode_saved(e, &s))
        return false;
    *out = s;
    return true;
}
