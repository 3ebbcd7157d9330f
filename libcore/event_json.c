#include "event_json.h"

#include "format/base64.h"
#include "format/json.h"

#define FIXED_ROOM 256u /* all keys, quotes and digits */

static char *put_number(char *p, uint64_t n) {
    static const char pairs[] =
        "00010203040506070809101112131415161718192021222324252627282930313233343536373839404142434445464748"
        "4950515253545556575859606162636465666768697071727374757677787980818283848586878889909192939495969798"
        "99";
    char digits[20];
    size_t i = sizeof digits;
    for (; n >= 100; n /= 100)
        memcpy(digits + (i -= 2), pairs + n % 100 * 2, 2);
    if (n >= 10)
        memcpy(digits + (i -= 2), pairs + n * 2, 2);
    else
        digits[--i] = (char)('0' + n);
    memcpy(p, digits + i, sizeof digits - i);
    return p + (sizeof digits - i);
}

#define PUT(literal) (memcpy(p, literal, sizeof(literal) - 1), p += sizeof(literal) - 1)

static inline char *put_string(char *p, struct esdb_text text) {
    return p + fmt_json_escape(text.at, text.len, p);
}

static inline char *put_text(char *p, struct esdb_text text) {
    memcpy(p, text.at, text.len);
    return p + text.len;
}

size_t esdb_event_json_room(const struct esdb_event *e) {
    size_t names = e->stream_id.len + e->event_id.len + e->event_type.len + e->data_content_type.len +
                   e->metadata_content_type.len;
    return FIXED_ROOM + 6 * names + (e->binary ? fmt_base64_encoded_size(e->data.len) : e->data.len) + e->metadata.len;
}

size_t esdb_event_json(const struct esdb_event *e, char *out) {
    char *p = out;
    PUT("{\"position\":");
    p = put_number(p, e->position);
    PUT(",\"stream_id\":\"");
    p = put_string(p, e->stream_id);
    PUT("\",\"version\":");
    p = put_number(p, e->version);
    PUT(",\"event_id\":\"");
    p = put_string(p, e->event_id);
    PUT("\",\"event_type\":\"");
    p = put_string(p, e->event_type);
    PUT("\",\"epoch_us\":");
    p = put_number(p, e->epoch_us);
    if (e->data.at && e->binary) {
        PUT(",\"data_base64\":\"");
        p += fmt_base64_encode(e->data.at, e->data.len, p);
        *p++ = '"';
    } else if (e->data.at) {
        PUT(",\"data\":");
        p = put_text(p, e->data);
    }
    if (e->metadata.at) {
        PUT(",\"metadata\":");
        p = put_text(p, e->metadata);
    }
    if (e->data_content_type.len > 0) {
        PUT(",\"data_content_type\":\"");
        p = put_string(p, e->data_content_type);
        *p++ = '"';
    }
    if (e->metadata_content_type.len > 0) {
        PUT(",\"metadata_content_type\":\"");
        p = put_string(p, e->metadata_content_type);
        *p++ = '"';
    }
    *p++ = '}';
    return (size_t)(p - out);
}

int es_event_json(const struct esdb_event *e, struct es_buffer *out) {
    int rc = es_buffer_reserve(out, esdb_event_json_room(e) + 1);
    if (rc < 0)
        return rc;
    out->len += esdb_event_json(e, (char *)out->at + out->len);
    out->at[out->len++] = '\n';
    return 0;
}
