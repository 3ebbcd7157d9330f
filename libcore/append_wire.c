#include "append_wire.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "error.h"
#include "format/bytes.h"
#include "format/event.h"
#include "format/frame.h"

#define REQUEST_HEAD 40u
#define ANSWER_HEAD 88u

size_t es_wire_size(const unsigned char head[ES_WIRE_HEAD], unsigned type) {
    uint32_t size = fmt_get32(head + 4);
    return fmt_get16(head) != type || fmt_get16(head + 2) != 0 || size < ES_WIRE_HEAD || size > ES_WIRE_SIZE_MAX ? 0
                                                                                                                 : size;
}

/* ---- writing ---- */

static int add32(struct es_buffer *b, uint32_t v) {
    unsigned char at[4];
    fmt_put32(at, v);
    return es_buffer_add(b, at, sizeof at);
}

static int add64(struct es_buffer *b, uint64_t v) {
    unsigned char at[8];
    fmt_put64(at, v);
    return es_buffer_add(b, at, sizeof at);
}

static void put_head(unsigned char *at, unsigned type, size_t size, uint64_t number) {
    fmt_put16(at, (uint16_t)type);
    fmt_put16(at + 2, 0);
    fmt_put32(at + 4, (uint32_t)size);
    fmt_put64(at + 8, number);
}

int es_append_encode(const struct es_append_request *r, const esdb_batch *b, struct es_buffer *out) {
    unsigned char head[REQUEST_HEAD] = {0};
    size_t start = out->len, records = b->frame.len - FMT_FRAME_HEADER_SIZE;
    uint32_t count = esdb_batch_count(b), expectations = 0;
    bool times = false;
    for (uint32_t i = 0; i < count; i++)
        times |= es_batch_event_at(b, i)->epoch_us != 0;
    for (uint32_t i = 0; i < es_batch_streams(b); i++)
        expectations += es_batch_stream_at(b, i)->expects;
    fmt_put32(head + 16, r->flags);
    fmt_put32(head + 20, r->timeout_ms);
    fmt_put32(head + 24, count);
    fmt_put32(head + 28, expectations);
    fmt_put32(head + 32, (uint32_t)records);
    fmt_put32(head + 36, times);
    int rc = es_buffer_add(out, head, sizeof head);
    if (rc == 0)
        rc = es_buffer_add(out, b->frame.at + FMT_FRAME_HEADER_SIZE, records);
    for (uint32_t i = 0; rc == 0 && times && i < count; i++)
        rc = add64(out, es_batch_event_at(b, i)->epoch_us);
    for (uint32_t i = 0; rc == 0 && i < es_batch_streams(b); i++) {
        const struct es_batch_stream *s = es_batch_stream_at(b, i);
        struct esdb_text name = es_batch_name(b, s);
        if (!s->expects)
            continue;
        rc = add64(out, (uint64_t)s->expected);
        if (rc == 0)
            rc = add32(out, s->name_len);
        if (rc == 0)
            rc = es_buffer_add(out, name.at, name.len);
    }
    if (rc == 0)
        put_head(out->at + start, ES_WIRE_APPEND, out->len - start, r->number);
    return rc;
}

int es_answer_encode(uint64_t number, int code, const struct esdb_receipt *r, const struct esdb_error *err,
                     struct es_buffer *out) {
    static const struct esdb_receipt none;
    static const struct esdb_error no_error;
    unsigned char head[ANSWER_HEAD] = {0};
    size_t start = out->len;
    if (code != 0 || !r)
        r = &none;
    if (!err || code == 0)
        err = &no_error;
    size_t text = strlen(err->text), stream = strlen(err->stream_id);
    fmt_put32(head + 16, (uint32_t)code);
    fmt_put32(head + 20, (uint32_t)text);
    fmt_put64(head + 24, r->frame_index);
    fmt_put64(head + 32, r->first_position);
    fmt_put64(head + 40, r->last_position);
    fmt_put64(head + 48, r->epoch_us);
    fmt_put32(head + 56, r->count);
    fmt_put32(head + 60, r->existed);
    fmt_put64(head + 64, (uint64_t)err->expected);
    fmt_put64(head + 72, (uint64_t)err->actual);
    fmt_put32(head + 80, (uint32_t)r->stream_count);
    fmt_put32(head + 84, (uint32_t)stream);
    int rc = es_buffer_add(out, head, sizeof head);
    if (rc == 0)
        rc = es_buffer_add(out, err->text, text);
    if (rc == 0)
        rc = es_buffer_add(out, err->stream_id, stream);
    for (size_t i = 0; rc == 0 && i < r->stream_count; i++) {
        const struct esdb_receipt_stream *s = &r->streams[i];
        rc = add64(out, s->first_version);
        if (rc == 0)
            rc = add64(out, s->last_version);
        if (rc == 0)
            rc = add32(out, (uint32_t)s->stream_id.len);
        if (rc == 0)
            rc = es_buffer_add(out, s->stream_id.at, s->stream_id.len);
    }
    if (rc == 0)
        put_head(out->at + start, ES_WIRE_ANSWER, out->len - start, number);
    return rc;
}

/* ---- reading ---- */

/* What is left of a message. */
struct rest {
    const unsigned char *at;
    size_t len;
};

static const unsigned char *take(struct rest *r, size_t n) {
    const unsigned char *at = r->at;
    if (n > r->len)
        return NULL;
    r->at += n;
    r->len -= n;
    return at;
}

static struct esdb_text text_of(struct fmt_text t, bool there) {
    return (struct esdb_text){there ? t.at : NULL, t.len};
}

static int malformed(struct esdb_error *err, const char *what) {
    return es_fail(err, ESDB_EINVALID, "a malformed request: %s", what);
}

static int take_events(struct rest *records, const unsigned char *times, uint32_t count, esdb_batch *b,
                       struct esdb_error *err) {
    for (uint32_t i = 0; i < count; i++) {
        struct fmt_event e;
        const char *wrong = records->len < FMT_EVENT_HEADER_SIZE ? "events are missing"
                                                                 : fmt_event_decode(records->at, records->len, &e);
        if (wrong)
            return malformed(err, wrong);
        struct esdb_new_event n = {.stream_id = text_of(e.stream_id, true),
                                   .event_type = text_of(e.event_type, true),
                                   .event_id = text_of(e.event_id, true),
                                   .data = text_of(e.data, e.flags & FMT_EVENT_HAS_DATA),
                                   .metadata = text_of(e.metadata, e.flags & FMT_EVENT_HAS_METADATA),
                                   .data_content_type = text_of(e.data_content_type, true),
                                   .metadata_content_type = text_of(e.metadata_content_type, true),
                                   .binary = e.flags & FMT_EVENT_BINARY,
                                   .system = true, /* checked where it was made */
                                   .epoch_us = times ? fmt_get64(times + 8 * (size_t)i) : 0};
        int rc = esdb_batch_add(b, &n, err);
        if (rc < 0)
            return rc;
        take(records, e.event_len);
    }
    return records->len == 0 ? 0 : malformed(err, "bytes behind the events");
}

static int take_expectations(struct rest *r, uint32_t count, esdb_batch *b, struct esdb_error *err) {
    for (uint32_t i = 0; i < count; i++) {
        const unsigned char *at = take(r, 12);
        size_t len = at ? fmt_get32(at + 8) : 0;
        const unsigned char *name = at ? take(r, len) : NULL;
        if (!name)
            return malformed(err, "expectations are missing");
        int rc = esdb_batch_expect(b, (struct esdb_text){(const char *)name, len}, (int64_t)fmt_get64(at), err);
        if (rc < 0)
            return rc;
    }
    return r->len == 0 ? 0 : malformed(err, "bytes behind its end");
}

int es_append_decode(const unsigned char *at, size_t len, struct es_append_request *out, esdb_batch *b,
                     struct esdb_error *err) {
    if (len < REQUEST_HEAD || es_wire_size(at, ES_WIRE_APPEND) != len)
        return malformed(err, "its size");
    *out = (struct es_append_request){
        .number = fmt_get64(at + 8), .flags = fmt_get32(at + 16), .timeout_ms = fmt_get32(at + 20)};
    uint32_t count = fmt_get32(at + 24), expectations = fmt_get32(at + 28), times = fmt_get32(at + 36);
    if ((out->flags & ~(unsigned)(ESDB_IDEMPOTENT | ESDB_USE_RESERVE | ESDB_IDEMPOTENT_ANYWHERE)) || times > 1)
        return malformed(err, "its flags");
    if (count > FMT_FRAME_EVENTS_MAX)
        return malformed(err, "too many events");
    struct rest rest = {at + REQUEST_HEAD, len - REQUEST_HEAD};
    struct rest records = {rest.at, fmt_get32(at + 32)};
    if (!take(&rest, records.len))
        return malformed(err, "its parts do not fill it");
    const unsigned char *time = times ? take(&rest, 8 * (size_t)count) : NULL;
    if (times && !time)
        return malformed(err, "times are missing");
    int rc = take_events(&records, time, count, b, err);
    return rc == 0 ? take_expectations(&rest, expectations, b, err) : rc;
}

/* The names stand behind the structures, in the batch's buffer for receipts. */
static int take_streams(struct rest *rest, size_t count, esdb_batch *b) {
    size_t names = rest->len;
    b->receipt.len = 0;
    if (count == 0)
        return names == 0 ? 0 : -1;
    if (count > rest->len / 20 ||
        es_buffer_reserve(&b->receipt, count * sizeof(struct esdb_receipt_stream) + names) < 0)
        return -1;
    struct esdb_receipt_stream *s = (struct esdb_receipt_stream *)(void *)b->receipt.at;
    char *name = (char *)(s + count);
    for (size_t i = 0; i < count; i++) {
        const unsigned char *at = take(rest, 20);
        size_t len = at ? fmt_get32(at + 16) : 0;
        const unsigned char *from = at ? take(rest, len) : NULL;
        if (!from)
            return -1;
        memcpy(name, from, len);
        s[i] = (struct esdb_receipt_stream){{name, len}, fmt_get64(at), fmt_get64(at + 8)};
        name += len;
    }
    b->receipt.len = count * sizeof *s;
    return rest->len == 0 ? 0 : -1;
}

int es_answer_decode(const unsigned char *at, size_t len, esdb_batch *b, struct esdb_receipt *out,
                     struct esdb_error *err) {
    static const char bad[] = "the daemon's answer is malformed: whether the event was stored is unknown";
    if (len < ANSWER_HEAD || es_wire_size(at, ES_WIRE_ANSWER) != len)
        return es_fail(err, ESDB_EUNKNOWN, "%s", bad);
    struct rest rest = {at + ANSWER_HEAD, len - ANSWER_HEAD};
    size_t text_len = fmt_get32(at + 20), stream_len = fmt_get32(at + 84), streams = fmt_get32(at + 80);
    const unsigned char *text = take(&rest, text_len), *stream = text ? take(&rest, stream_len) : NULL;
    if (!stream || text_len >= sizeof err->text || stream_len >= sizeof err->stream_id ||
        take_streams(&rest, streams, b) < 0)
        return es_fail(err, ESDB_EUNKNOWN, "%s", bad);
    int code = (int)(int32_t)fmt_get32(at + 16);
    if (code > 0)
        return es_fail(err, ESDB_EUNKNOWN, "%s", bad);
    if (code < 0) {
        if (err && err->code == 0) {
            *err = (struct esdb_error){
                .code = code, .expected = (int64_t)fmt_get64(at + 64), .actual = (int64_t)fmt_get64(at + 72)};
            memcpy(err->text, text, text_len);
            memcpy(err->stream_id, stream, stream_len);
        }
        return code;
    }
    *out = (struct esdb_receipt){.frame_index = fmt_get64(at + 24),
                                 .first_position = fmt_get64(at + 32),
                                 .last_position = fmt_get64(at + 40),
                                 .epoch_us = fmt_get64(at + 48),
                                 .count = fmt_get32(at + 56),
                                 .existed = fmt_get32(at + 60) == 1,
                                 .stream_count = streams,
                                 .streams = (const struct esdb_receipt_stream *)(const void *)b->receipt.at};
    return 0;
}
