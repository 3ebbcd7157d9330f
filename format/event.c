#include "event.h"

#include <assert.h>
#include <string.h>

#include "bytes.h"
#include "checksum.h"

enum {
    AT_CHECKSUM = 0,
    AT_SALT = 8,
    AT_VERSION = 24,
    AT_EPOCH = 32,
    AT_EVENT_LEN = 40,
    AT_DATA_LEN = 44,
    AT_METADATA_LEN = 48,
    AT_HEADER_LEN = 52,
    AT_FLAGS = 54,
    AT_STREAM_ID_LEN = 56,
    AT_EVENT_TYPE_LEN = 58,
    AT_EVENT_ID_LEN = 60,
    AT_DATA_CONTENT_TYPE_LEN = 61,
    AT_METADATA_CONTENT_TYPE_LEN = 62,
    AT_ZERO = 63,
};
static_assert(AT_SALT + FMT_SALT_SIZE == AT_VERSION, "salt fills the gap");
static_assert(AT_ZERO + 1 == FMT_EVENT_HEADER_SIZE, "event header is 64 bytes");

const char fmt_newer_event[] = "event has a flag that this version does not know";

size_t fmt_event_size(const struct fmt_event *e) {
    if (e->stream_id.len > FMT_STREAM_NAME_MAX || e->event_type.len > FMT_EVENT_TYPE_MAX ||
        e->event_id.len > FMT_EVENT_ID_MAX || e->data_content_type.len > FMT_CONTENT_TYPE_MAX ||
        e->metadata_content_type.len > FMT_CONTENT_TYPE_MAX || e->data.len > FMT_EVENT_SIZE_MAX ||
        e->metadata.len > FMT_EVENT_SIZE_MAX)
        return 0;
    size_t size = fmt_align8(FMT_EVENT_HEADER_SIZE + e->stream_id.len + e->event_type.len + e->event_id.len +
                             e->data_content_type.len + e->metadata_content_type.len + e->data.len + e->metadata.len);
    return size <= FMT_EVENT_SIZE_MAX ? size : 0;
}

static unsigned char *put_text(unsigned char *to, struct fmt_text t) {
    if (t.len)
        memcpy(to, t.at, t.len);
    return to + t.len;
}

void fmt_event_encode(const struct fmt_event *e, unsigned char *out) {
    size_t size = fmt_event_size(e);
    assert(size != 0);
    memcpy(out + AT_SALT, e->salt, FMT_SALT_SIZE);
    fmt_put32(out + AT_EVENT_LEN, (uint32_t)size);
    fmt_put32(out + AT_DATA_LEN, (uint32_t)e->data.len);
    fmt_put32(out + AT_METADATA_LEN, (uint32_t)e->metadata.len);
    fmt_put16(out + AT_HEADER_LEN, FMT_EVENT_HEADER_SIZE);
    fmt_put16(out + AT_FLAGS, e->flags);
    fmt_put16(out + AT_STREAM_ID_LEN, (uint16_t)e->stream_id.len);
    fmt_put16(out + AT_EVENT_TYPE_LEN, (uint16_t)e->event_type.len);
    out[AT_EVENT_ID_LEN] = (unsigned char)e->event_id.len;
    out[AT_DATA_CONTENT_TYPE_LEN] = (unsigned char)e->data_content_type.len;
    out[AT_METADATA_CONTENT_TYPE_LEN] = (unsigned char)e->metadata_content_type.len;
    out[AT_ZERO] = 0;
    unsigned char *to = out + FMT_EVENT_HEADER_SIZE;
    to = put_text(to, e->stream_id);
    to = put_text(to, e->event_type);
    to = put_text(to, e->event_id);
    to = put_text(to, e->data_content_type);
    to = put_text(to, e->metadata_content_type);
    to = put_text(to, e->data);
    to = put_text(to, e->metadata);
    memset(to, 0, (size_t)(out + size - to));
}

uint64_t fmt_event_seal(unsigned char *record, uint64_t version, uint64_t epoch_us) {
    fmt_put64(record + AT_VERSION, version);
    fmt_put64(record + AT_EPOCH, epoch_us);
    uint64_t checksum = fmt_checksum(record + AT_SALT, fmt_get32(record + AT_EVENT_LEN) - (size_t)AT_SALT);
    fmt_put64(record + AT_CHECKSUM, checksum);
    return checksum;
}

static struct fmt_text take(const char **at, size_t len) {
    struct fmt_text t = {*at, len};
    *at += len;
    return t;
}

uint32_t fmt_event_len(const unsigned char *at) {
    return fmt_get32(at + AT_EVENT_LEN);
}

const char *fmt_event_decode(const unsigned char *at, size_t room, struct fmt_event *out) {
    if (room < FMT_EVENT_HEADER_SIZE)
        return "event header is cut short";
    size_t header_len = fmt_get16(at + AT_HEADER_LEN);
    size_t event_len = fmt_get32(at + AT_EVENT_LEN);
    size_t data_len = fmt_get32(at + AT_DATA_LEN), metadata_len = fmt_get32(at + AT_METADATA_LEN);
    size_t stream_len = fmt_get16(at + AT_STREAM_ID_LEN), type_len = fmt_get16(at + AT_EVENT_TYPE_LEN);
    if (event_len > room || event_len % 8 != 0 || event_len > FMT_EVENT_SIZE_MAX)
        return "event length is out of range";
    if (header_len < FMT_EVENT_HEADER_SIZE || header_len % 8 != 0)
        return "event header length is out of range";
    if (data_len > FMT_EVENT_SIZE_MAX || metadata_len > FMT_EVENT_SIZE_MAX || stream_len > FMT_STREAM_NAME_MAX ||
        type_len > FMT_EVENT_TYPE_MAX || at[AT_EVENT_ID_LEN] > FMT_EVENT_ID_MAX ||
        at[AT_DATA_CONTENT_TYPE_LEN] > FMT_CONTENT_TYPE_MAX || at[AT_METADATA_CONTENT_TYPE_LEN] > FMT_CONTENT_TYPE_MAX)
        return "a length in the event header is out of range";
    size_t content = header_len + stream_len + type_len + at[AT_EVENT_ID_LEN] + at[AT_DATA_CONTENT_TYPE_LEN] +
                     at[AT_METADATA_CONTENT_TYPE_LEN] + data_len + metadata_len;
    if (fmt_align8(content) != event_len)
        return "event lengths do not add up";
    uint16_t flags = fmt_get16(at + AT_FLAGS);
    out->checksum = fmt_get64(at + AT_CHECKSUM);
    out->salt = at + AT_SALT;
    out->version = fmt_get64(at + AT_VERSION);
    out->epoch_us = fmt_get64(at + AT_EPOCH);
    out->event_len = (uint32_t)event_len;
    out->flags = flags;
    const char *p = (const char *)at + header_len;
    out->stream_id = take(&p, stream_len);
    out->event_type = take(&p, type_len);
    out->event_id = take(&p, at[AT_EVENT_ID_LEN]);
    out->data_content_type = take(&p, at[AT_DATA_CONTENT_TYPE_LEN]);
    out->metadata_content_type = take(&p, at[AT_METADATA_CONTENT_TYPE_LEN]);
    out->data = take(&p, data_len);
    out->metadata = take(&p, metadata_len);
    return flags & ~FMT_EVENT_FLAGS_KNOWN ? fmt_newer_event : NULL;
}

bool fmt_event_intact(const unsigned char *at, const struct fmt_event *e) {
    return fmt_checksum(at + AT_SALT, e->event_len - (size_t)AT_SALT) == e->checksum;
}
