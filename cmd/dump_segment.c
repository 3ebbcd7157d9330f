#include "dump.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/base64.h"
#include "format/bytes.h"
#include "format/json.h"
#include "format/packed.h"
#include "format/segment.h"

struct survey {
    struct dump *d;
    struct fmt_walk w;
    uint64_t frames, events;
    bool durable_known;
    uint64_t durable; /* frames up to here are proven durable by later frames or by the head */
};

static const char *kind_name(uint8_t kind) {
    switch (kind) {
    case FMT_FRAME_EVENTS:
        return "events";
    case FMT_FRAME_BARRIER:
        return "barrier";
    case FMT_FRAME_CONFIGURATION:
        return "configuration";
    case FMT_FRAME_HOLE:
        return "hole";
    case FMT_FRAME_THINNED:
        return "thinned";
    default:
        return "unknown";
    }
}

/* Asked for at the first fault only: it looks at the whole rest of the file. */
static uint64_t durable_index(struct survey *s) {
    if (s->durable_known)
        return s->durable;
    s->durable_known = true;
    if (s->d->proof_known)
        s->durable = s->d->proof;
    struct fmt_frame f;
    for (size_t at = s->w.offset; (at = fmt_walk_resync(&s->w, at, s->w.index, &f)) != 0; at += f.frame_len)
        if (f.synced_index > s->durable)
            s->durable = f.synced_index;
    return s->durable;
}

/* A fault is damage when something proves that the frame was durable; else it is an append that never ended. */
static bool is_damage(struct survey *s) {
    return !s->d->last || durable_index(s) >= s->w.index;
}

/* A damage or torn record. next: the frame that the walk goes on with, NULL when there is none. */
static void report(struct survey *s, size_t offset, size_t length, const char *text, const struct fmt_frame *next) {
    struct dump *d = s->d;
    bool damage = is_damage(s);
    if (damage)
        d->damaged = true;
    cmd_dump_begin(d, offset, length, damage ? "damage" : "torn");
    cmd_dump_number(d, "index", s->w.index);
    if (next && next->index > s->w.index)
        cmd_dump_number(d, "lost_frames", next->index - s->w.index);
    if (next && next->first_position > s->w.position)
        cmd_dump_number(d, "lost_events", next->first_position - s->w.position);
    cmd_dump_word(d, "text", text);
    cmd_dump_end(d);
}

static void put_content(struct dump *d, const char *key, struct fmt_text t, bool is_json) {
    struct fmt_json_value value;
    struct fmt_json_error error;
    if (!d->json)
        return;
    if (is_json && fmt_json_scan(t.at, t.len, &value, &error) == FMT_JSON_OK) {
        cmd_dump_json(d, key, t);
        return;
    }
    char named[64], *text = cmd_alloc(fmt_base64_encoded_size(t.len) + 2);
    snprintf(named, sizeof named, "%s_base64", key);
    size_t len = fmt_base64_encode(t.at, t.len, text + 1);
    text[0] = text[len + 1] = '"';
    cmd_dump_json(d, named, (struct fmt_text){text, len + 2});
    free(text);
}

static void put_event(struct dump *d, size_t offset, const struct fmt_event *e, uint64_t position) {
    cmd_dump_begin(d, offset, e->event_len, "event");
    cmd_dump_number(d, "position", position);
    cmd_dump_text(d, "stream_id", e->stream_id.at, e->stream_id.len);
    cmd_dump_number(d, "version", e->version);
    cmd_dump_text(d, "event_type", e->event_type.at, e->event_type.len);
    cmd_dump_text(d, "event_id", e->event_id.at, e->event_id.len);
    cmd_dump_time(d, "epoch_us", e->epoch_us);
    cmd_dump_number(d, "data_len", e->data.len);
    cmd_dump_number(d, "metadata_len", e->metadata.len);
    if (e->data_content_type.len)
        cmd_dump_text(d, "data_content_type", e->data_content_type.at, e->data_content_type.len);
    if (e->metadata_content_type.len)
        cmd_dump_text(d, "metadata_content_type", e->metadata_content_type.at, e->metadata_content_type.len);
    if (d->json) {
        cmd_dump_number(d, "flags", e->flags);
        cmd_dump_hex(d, "salt", e->salt, FMT_SALT_SIZE);
        cmd_dump_checksum(d, "checksum", e->checksum);
    }
    if (e->flags & FMT_EVENT_HAS_DATA)
        put_content(d, "data", e->data, !(e->flags & FMT_EVENT_BINARY));
    if (e->flags & FMT_EVENT_HAS_METADATA)
        put_content(d, "metadata", e->metadata, true);
    cmd_dump_word(d, d->json ? "state" : "checksum", fmt_event_intact(d->base + offset, e) ? "ok" : "wrong");
    cmd_dump_end(d);
}

/* The events of a frame, as far as they can be told apart. */
static void put_events(struct dump *d, size_t offset, const struct fmt_frame *f) {
    struct fmt_frame_events events;
    if (fmt_frame_find_events(f, d->base + offset, &events))
        return;
    size_t at = events.at;
    for (uint32_t i = 0; i < f->count; i++) {
        struct fmt_event e;
        bool readable = fmt_event_decode(d->base + offset + at, f->frame_len - at, &e) == NULL;
        size_t length = readable ? e.event_len : f->frame_len - at;
        if (d->bytes) {
            if (cmd_dump_wanted(d, offset + at, length))
                cmd_dump_event_fields(d, offset + at, f->frame_len - at);
        } else if (readable) {
            put_event(d, offset + at, &e, f->first_position + fmt_frame_ordinal(&events, i));
        }
        if (!readable)
            return;
        at += e.event_len;
    }
    if (d->bytes && at < f->frame_len)
        cmd_dump_raw_fields(d, offset + at, f->frame_len - at, "rest", "bytes that belong to no event");
}

static void put_hole(struct dump *d, const struct fmt_frame *f, size_t offset) {
    struct fmt_hole h;
    fmt_hole_decode(d->base + offset + f->header_len, &h);
    cmd_dump_number(d, "last_index", h.last_index);
    cmd_dump_number(d, "last_term", h.last_term);
    cmd_dump_number(d, "end_position", h.end_position);
    cmd_dump_checksum(d, "carried_checksum", h.carried_checksum);
    cmd_dump_number(d, "decision_index", h.decision_index);
}

static void put_frame(struct dump *d, size_t offset, const struct fmt_frame *f, bool intact) {
    cmd_dump_begin(d, offset, f->frame_len, "frame");
    cmd_dump_word(d, "kind", kind_name(f->kind));
    if (d->json)
        cmd_dump_number(d, "kind_number", f->kind);
    cmd_dump_number(d, "index", f->index);
    cmd_dump_number(d, "term", f->term);
    cmd_dump_number(d, "position", f->first_position);
    cmd_dump_number(d, "count", f->count);
    if (d->json)
        cmd_dump_number(d, "flags", f->flags);
    else
        cmd_dump_word(d, "flags", f->flags & FMT_FRAME_ROLLS ? "rolls" : f->flags ? "unknown" : "-");
    cmd_dump_word(d, d->json ? "state" : "checksum", intact ? "ok" : "wrong");
    cmd_dump_number(d, "committed", f->committed_index);
    if (f->synced_intact)
        cmd_dump_number(d, "synced", f->synced_index);
    else
        cmd_dump_word(d, "synced", d->json ? "wrong" : "?");
    cmd_dump_time(d, "last_epoch_us", f->last_epoch_us);
    if (d->json) {
        cmd_dump_time(d, "clock_us", f->clock_us);
        cmd_dump_checksum(d, "incarnation", f->incarnation);
        cmd_dump_number(d, "header_len", f->header_len);
        cmd_dump_checksum(d, "prev_checksum", f->prev_checksum);
        cmd_dump_checksum(d, "payload_checksum", f->payload_checksum);
        cmd_dump_checksum(d, "checksum", f->checksum);
    }
    if (fmt_frame_is_hole(f))
        put_hole(d, f, offset);
    cmd_dump_end(d);
}

static void annotate_frame(struct dump *d, size_t offset, const struct fmt_frame *f) {
    if (!cmd_dump_wanted(d, offset, f->frame_len))
        return;
    cmd_dump_frame_header_fields(d, offset);
    if (fmt_frame_is_hole(f))
        cmd_dump_hole_fields(d, offset + f->header_len);
    struct fmt_frame_events events;
    if (f->kind == FMT_FRAME_THINNED && !fmt_frame_find_events(f, d->base + offset, &events))
        cmd_dump_raw_fields(d, offset + f->header_len + FMT_HOLE_SIZE, events.at - f->header_len - FMT_HOLE_SIZE,
                            "runs", "where the events that are left were, and a checksum");
    if (fmt_frame_has_events(f))
        put_events(d, offset, f);
    else if (f->kind == FMT_FRAME_HOLE)
        return;
    else if (f->frame_len > f->header_len)
        cmd_dump_raw_fields(d, offset + f->header_len, f->frame_len - f->header_len, "payload",
                            "of this kind of frame");
}

/* A frame whose header is right and chains. */
static void show_frame(struct survey *s, const struct fmt_frame *f) {
    struct dump *d = s->d;
    size_t offset = s->w.offset;
    bool intact = fmt_walk_check(&s->w, f) == FMT_OK;
    if (d->bytes)
        annotate_frame(d, offset, f);
    else
        put_frame(d, offset, f, intact);
    if (!intact)
        report(s, s->w.fault_offset, offset + f->frame_len - s->w.fault_offset, s->w.fault, NULL);
    if (!f->synced_intact)
        cmd_dump_damage(d, offset + 96, 16, "synced_checksum is wrong: synced_index proves nothing");
    if (!d->bytes && d->events && fmt_frame_has_events(f))
        put_events(d, offset, f);
    s->frames++;
    s->events += f->count;
    if (intact || !fmt_frame_is_hole(f)) {
        fmt_walk_pass(&s->w, f);
        return;
    }
    s->w.index++;
    s->w.offset += f->frame_len;
}

/* The bytes of a part that is no frame. */
static void annotate_fault(struct dump *d, size_t offset, size_t length) {
    if (!d->bytes || !cmd_dump_wanted(d, offset, length))
        return;
    size_t header = 0;
    if (length >= FMT_FRAME_HEADER_SIZE && fmt_get32(d->base + offset) == FMT_FRAME_MAGIC) {
        cmd_dump_frame_header_fields(d, offset);
        header = FMT_FRAME_HEADER_SIZE;
    }
    cmd_dump_raw_fields(d, offset + header, length - header, "unreadable", "");
}

/* Reports what is wrong at the walk's offset and moves to the next frame that is whole; false when there is none. */
static bool pass_fault(struct survey *s, const char *text) {
    struct fmt_walk *w = &s->w;
    struct fmt_frame f;
    size_t next = fmt_walk_resync(w, w->offset, w->index, &f);
    if (next == 0) {
        size_t end = w->size;
        while (end > w->offset && w->base[end - 1] == 0)
            end--;
        end = fmt_align8(end) < w->size ? fmt_align8(end) : w->size;
        report(s, w->offset, end - w->offset, text, NULL);
        annotate_fault(s->d, w->offset, end - w->offset);
        w->offset = end;
        return false;
    }
    report(s, w->offset, next - w->offset, text, &f);
    annotate_fault(s->d, w->offset, next - w->offset);
    w->offset = next;
    w->index = f.index;
    w->position = f.first_position;
    w->prev_checksum = f.prev_checksum;
    w->term = 0;
    w->last_epoch_us = 0;
    w->rolled = false;
    return true;
}

/* What follows the last frame, and what the whole amounts to. */
static void show_end(struct survey *s) {
    struct dump *d = s->d;
    struct fmt_walk *w = &s->w;
    size_t zeros = w->size - w->offset;
    if (d->bytes) {
        if (zeros)
            cmd_dump_raw_fields(d, w->offset, zeros, "zeros", "allocated ahead, not yet used");
        return;
    }
    if (zeros) {
        cmd_dump_begin(d, w->offset, zeros, "zeros");
        cmd_dump_word(d, "text", "allocated ahead, not yet used");
        cmd_dump_end(d);
    }
    if (!d->last && !w->rolled)
        cmd_dump_damage(d, w->offset, 0, "the segment ends without the frame that closes it");
    if (d->last && d->proof_known && d->proof >= w->index) {
        char text[120];
        snprintf(text, sizeof text, "the log ends at frame %llu, but head proves that frame %llu was durable",
                 (unsigned long long)w->index - 1, (unsigned long long)d->proof);
        cmd_dump_damage(d, w->offset, 0, text);
    }
    cmd_dump_begin(d, w->offset + zeros, 0, "end");
    cmd_dump_number(d, "frames", s->frames);
    cmd_dump_number(d, "events", s->events);
    cmd_dump_number(d, "next_index", w->index);
    cmd_dump_number(d, "next_position", w->position);
    cmd_dump_word(d, "state", w->rolled ? "closed" : "open");
    cmd_dump_end(d);
}

static void put_segment_header(struct dump *d, const struct fmt_segment *s) {
    cmd_dump_begin(d, 0, s->header_len, "segment");
    cmd_dump_number(d, "version", s->version);
    cmd_dump_number(d, "first_index", s->first_index);
    cmd_dump_number(d, "first_position", s->first_position);
    cmd_dump_checksum(d, "prev_checksum", s->prev_checksum);
    cmd_dump_time(d, "last_epoch_us", s->last_epoch_us);
    cmd_dump_number(d, "last_term", s->last_term);
    cmd_dump_uuid(d, "store_id", s->store_id);
    cmd_dump_time(d, "created_us", s->created_us);
    cmd_dump_checksum(d, "features_optional", s->features_optional);
    cmd_dump_checksum(d, "features_required", s->features_required);
    cmd_dump_word(d, d->json ? "state" : "checksum", "ok");
    cmd_dump_end(d);
}

/* The file's name is the first index in 16 hexadecimal digits; 0 when it has another one. */
static uint64_t index_of_name(const char *file) {
    const char *name = strrchr(file, '/') ? strrchr(file, '/') + 1 : file;
    char *end;
    uint64_t index = strtoull(name, &end, 16);
    return end == name + 16 && strcmp(end, ".log") == 0 ? index : 0;
}

/* What a damaged header should have said: where the segment before ended, else what the first frame says. */
static struct fmt_segment make_up(const struct dump *d) {
    struct fmt_segment s = {.header_len = FMT_SEGMENT_HEADER_SIZE, .first_index = index_of_name(d->file)};
    struct fmt_frame f;
    if (d->chained) {
        s.first_index = d->next_index;
        s.first_position = d->next_position;
        s.prev_checksum = d->prev_checksum;
        memcpy(s.store_id, d->store_id, sizeof s.store_id);
    } else if (d->size > s.header_len && !fmt_frame_decode(d->base + s.header_len, d->size - s.header_len, &f)) {
        s.first_index = f.index;
        s.first_position = f.first_position;
        s.prev_checksum = f.prev_checksum;
    }
    return s;
}

/* Reads the header, or makes one up, so that the frames behind a damaged one are still explained. */
static bool begin(struct dump *d, struct fmt_segment *s) {
    bool newer;
    const char *wrong = fmt_segment_decode(d->base, d->size, s, &newer);
    uint64_t named = index_of_name(d->file);
    if (d->bytes)
        cmd_dump_segment_header_fields(d, 0);
    else if (!wrong)
        put_segment_header(d, s);
    if (wrong && newer) {
        d->newer = true;
        cmd_dump_begin(d, 0, d->size, "newer");
        cmd_dump_word(d, "text", wrong);
        cmd_dump_end(d);
        return false;
    }
    if (wrong) {
        *s = make_up(d);
        cmd_dump_damage(d, 0, d->size < FMT_SEGMENT_HEADER_SIZE ? d->size : FMT_SEGMENT_HEADER_SIZE, wrong);
        return d->size > FMT_SEGMENT_HEADER_SIZE;
    }
    if (named && named != s->first_index)
        cmd_dump_damage(d, 32, 8, "first_index is not that of the file's name");
    if (d->chained && memcmp(s->store_id, d->store_id, sizeof d->store_id) != 0)
        cmd_dump_damage(d, 64, 16, "the segment belongs to another store than the one before");
    if (d->chained && (s->first_index != d->next_index || s->first_position != d->next_position ||
                       s->prev_checksum != d->prev_checksum))
        cmd_dump_damage(d, 0, s->header_len, "the segment does not go on where the one before ends");
    return true;
}

static void walk(struct dump *d, const struct fmt_segment *header) {
    struct survey s = {.d = d};
    fmt_walk_init(&s.w, header, d->base, d->size);
    for (;;) {
        struct fmt_frame f;
        int r = fmt_walk_peek(&s.w, &f);
        if (d->bytes && s.w.offset > d->to)
            return;
        if (r == FMT_OK)
            show_frame(&s, &f);
        else if (r == FMT_END && fmt_all_zero(d->base + s.w.offset, d->size - s.w.offset))
            break;
        else if (!pass_fault(&s, r == FMT_END ? "zeros where a frame should be" : s.w.fault))
            break;
    }
    show_end(&s);
    d->chained = true;
    d->next_index = s.w.index;
    d->next_position = s.w.position;
    d->prev_checksum = s.w.prev_checksum;
    memcpy(d->store_id, header->store_id, sizeof d->store_id);
}

/* The blocks, by their place in the file; then the frames, by theirs in what the file stands for. */
static void dump_packed(struct dump *d, const struct fmt_segment *header) {
    const unsigned char *file = d->base;
    size_t size = d->size;
    struct fmt_segment plain = fmt_packed_plain(header);
    unsigned char *content = d->bytes ? NULL : cmd_alloc((size_t)header->content_size);
    if (content)
        fmt_segment_encode(&plain, memset(content, 0, header->header_len));
    if (!cmd_dump_blocks(d, header, content))
        cmd_message("%s: there is no memory to decompress it", d->file);
    d->chained = false;
    if (content) {
        d->base = content;
        d->size = (size_t)header->content_size;
        walk(d, &plain);
        d->base = file;
        d->size = size;
    }
    free(content);
}

void cmd_dump_segment(struct dump *d) {
    struct fmt_segment header;
    if (!begin(d, &header))
        return;
    if (fmt_is_packed(&header))
        dump_packed(d, &header);
    else
        walk(d, &header);
}
