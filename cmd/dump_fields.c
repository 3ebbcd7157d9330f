/* The byte tables of FORMAT.md as data: what stands where, and what it means. */
#include "dump.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "dump_fields.h"
#include "format/bytes.h"
#include "format/checksum.h"
#include "format/head.h"
#include "format/segment.h"
#include "format/utf8.h"

static const struct field segment_header[] = {
    {"magic", TEXT, 8, "a segment of esdb"},
    {"header_len", U32, 4, "the first frame follows"},
    {"version", U32, 4, "of the format"},
    {"features_optional", HEX, 8, "may be ignored"},
    {"features_required", HEX, 8, "must be understood"},
    {"first_index", U64, 8, "of the first frame; the file's name"},
    {"first_position", U64, 8, "of the first event"},
    {"prev_checksum", SUM, 8, "of the frame before the first"},
    {"last_epoch_us", TIME, 8, "of the newest event before"},
    {"store_id", UUID, 16, ""},
    {"created_us", TIME, 8, "the writer's clock"},
    {"last_term", U64, 8, "of the frame before the first"},
    {"rewritten_us", TIME, 8, "by compaction"},
    {0},
};

static const struct field plain_header[] = {
    {"zeros", ZERO, 16, ""},
    {"checksum", SUM, 8, "of bytes 0 to 119"},
    {0},
};

static const struct field compressed_header[] = {
    {"content_size", U32, 4, "of the segment that this stands for"},
    {"table_offset", U32, 4, "of the table of blocks"},
    {"block_size", U32, 4, "of what a block holds"},
    {"zeros", ZERO, 4, ""},
    {"checksum", SUM, 8, "of bytes 0 to 119"},
    {0},
};

static const struct field frame_header[] = {
    {"magic", TEXT, 4, "a frame"},
    {"header_len", U16, 2, ""},
    {"kind", FRAME_KIND, 1, ""},
    {"flags", FRAME_FLAGS, 1, ""},
    {"frame_len", U32, 4, "header and payload"},
    {"count", U32, 4, "events"},
    {"index", U64, 8, "of this frame"},
    {"term", U64, 8, "raft; 1 in a store never replicated"},
    {"first_position", U64, 8, "of the first event"},
    {"committed_index", U64, 8, "newest frame known committed"},
    {"incarnation", HEX, 8, "of the store"},
    {"clock_us", TIME, 8, "the writer's clock"},
    {"last_epoch_us", TIME, 8, "of the newest event so far"},
    {"prev_checksum", SUM, 8, "of the frame before"},
    {"payload_checksum", SUM, 8, "fold of the events' checksums"},
    {"checksum", SUM, 8, "of bytes 0 to 87"},
    {"synced_index", U64, 8, "newest frame known durable here"},
    {"synced_checksum", SUM, 8, "of synced_index and checksum"},
    {0},
};

static const struct field event_header[] = {
    {"checksum", SUM, 8, "of byte 8 to the end"},
    {"salt", HEX, 16, "random"},
    {"version", U64, 8, "in the stream"},
    {"epoch_us", TIME, 8, ""},
    {"event_len", U32, 4, "with header and padding"},
    {"data_len", U32, 4, ""},
    {"metadata_len", U32, 4, ""},
    {"header_len", U16, 2, ""},
    {"flags", EVENT_FLAGS, 2, ""},
    {"stream_id_len", U16, 2, ""},
    {"event_type_len", U16, 2, ""},
    {"event_id_len", U8, 1, ""},
    {"data_content_type_len", U8, 1, "0: application/json"},
    {"metadata_content_type_len", U8, 1, "0: application/json"},
    {"zero", ZERO, 1, ""},
    {0},
};

static const struct field hole[] = {
    {"last_index", U64, 8, "of the removed frames"},
    {"last_term", U64, 8, ""},
    {"end_position", U64, 8, "after the last removed event"},
    {"carried_checksum", SUM, 8, "what the next frame chains to"},
    {"decision_index", U64, 8, "frame that decided the removal"},
    {"last_epoch_us", TIME, 8, ""},
    {0},
};

/* ---- values ---- */

/* value as text into `to`; true when it is a number. */
static bool format_value(const struct field *f, const unsigned char *at, char *to, size_t room) {
    uint64_t v = f->size == 8 ? fmt_get64(at) : f->size == 4 ? fmt_get32(at) : f->size == 2 ? fmt_get16(at) : at[0];
    size_t n = 0;
    switch (f->type) {
    case HEX:
    case UUID:
        for (unsigned i = 0; f->size == 16 && i < f->size; i++)
            n += (size_t)snprintf(to + n, room - n, "%s%02x",
                                  f->type == UUID && (i == 4 || i == 6 || i == 8 || i == 10) ? "-" : "", at[i]);
        if (f->size != 16)
            snprintf(to, room, "%0*" PRIx64, f->size * 2, v);
        return false;
    case SUM:
        snprintf(to, room, "%016" PRIx64, v);
        return false;
    case ZERO:
        snprintf(to, room, "%s", fmt_all_zero(at, f->size) ? "zeros" : "not zero");
        return false;
    case TEXT:
        for (unsigned i = 0; i < f->size && at[i] >= ' ' && at[i] < 0x7f; i++)
            n += (size_t)snprintf(to + n, room - n, "%c", at[i]);
        return false;
    case WORD: {
        uint64_t inner;
        if (v != 0 && !fmt_word_decode(v, &inner)) {
            snprintf(to, room, "damaged");
            return false;
        }
        if (v != 0 && inner != FMT_WORD_MAX)
            snprintf(to, room, "%" PRIu64, inner);
        else
            snprintf(to, room, "%s", v == 0 ? "unset" : "follows synced");
        return v != 0 && inner != FMT_WORD_MAX;
    }
    default:
        snprintf(to, room, "%" PRIu64, v);
        return true;
    }
}

static const char *format_meaning(const struct field *f, const unsigned char *at, char *to, size_t room) {
    static const char *const kinds[] = {"", "events", "barrier", "configuration", "hole"};
    char time[CMD_TIME_ROOM];
    switch (f->type) {
    case FRAME_KIND:
        return at[0] > 0 && at[0] < sizeof kinds / sizeof kinds[0] ? kinds[at[0]] : "unknown";
    case FRAME_FLAGS:
        return at[0] == 0 ? "" : at[0] == FMT_FRAME_ROLLS ? "the segment ends after this frame" : "unknown";
    case EVENT_FLAGS: {
        unsigned v = fmt_get16(at);
        snprintf(to, room, "%s%s%s%s", v & FMT_EVENT_HAS_DATA ? "data " : "",
                 v & FMT_EVENT_HAS_METADATA ? "metadata " : "", v & FMT_EVENT_BINARY ? "binary " : "",
                 v & ~FMT_EVENT_FLAGS_KNOWN ? "unknown" : "");
        return to;
    }
    case TIME:
        if (fmt_get64(at) == 0)
            return "none";
        snprintf(to, room, "%.*s%s%s", (int)cmd_put_time(time, fmt_get64(at)), time, *f->meaning ? ", " : "",
                 f->meaning);
        return to;
    default:
        return f->meaning;
    }
}

/* ---- output ---- */

void cmd_dump_heading(struct dump *d, uint64_t at, const char *title) {
    if (d->json)
        return;
    cmd_out_add(d->out, "\n", 1);
    cmd_out_color(d->out, CMD_KEY);
    cmd_out_printf(d->out, "%s at %" PRIu64, title, at);
    cmd_out_color(d->out, CMD_PLAIN);
    cmd_out_add(d->out, "\n", 1);
}

/* "00000080  45 53 46 31              ": an offset and up to 8 bytes. */
static void put_bytes(struct dump *d, uint64_t at, size_t len) {
    cmd_out_printf(d->out, "%08" PRIx64 " ", at);
    for (size_t i = 0; i < 8; i++) {
        if (i < len)
            cmd_out_printf(d->out, " %02x", d->base[at + i]);
        else
            cmd_out_add(d->out, "   ", 3);
    }
    cmd_out_add(d->out, "  ", 2);
}

/* The rest of a field that is longer than a line. */
static void put_more_bytes(struct dump *d, uint64_t at, size_t len) {
    for (size_t done = 8; done < len; done += 8) {
        put_bytes(d, at + done, len - done < 8 ? len - done : 8);
        d->out->len -= 2; /* no space at the end of a line */
        while (d->out->len > 0 && d->out->at[d->out->len - 1] == ' ')
            d->out->len--;
        cmd_out_add(d->out, "\n", 1);
    }
}

static void put_field(struct dump *d, uint64_t at, const struct field *f, const struct sum *sum) {
    char value[80], other[120];
    bool number = format_value(f, d->base + at, value, sizeof value);
    const char *meaning = format_meaning(f, d->base + at, other, sizeof other);
    uint64_t stands = f->type == SUM ? fmt_get64(d->base + at) : 0;
    bool wrong = sum && stands != sum->right;
    if (d->json) {
        cmd_dump_begin(d, at, f->size, "field");
        cmd_dump_word(d, "name", f->name);
        cmd_dump_hex(d, "bytes", d->base + at, f->size);
        if (number)
            cmd_dump_json(d, "value", (struct fmt_text){value, strlen(value)});
        else
            cmd_dump_word(d, "value", value);
        cmd_dump_word(d, "meaning", meaning);
        if (sum)
            cmd_dump_word(d, "state", wrong ? "wrong" : "ok");
        if (wrong)
            cmd_dump_checksum(d, "right", sum->right);
        cmd_dump_end(d);
        return;
    }
    put_bytes(d, at, f->size < 8 ? f->size : 8);
    cmd_out_printf(d->out, "%-25s %-20s", f->name, value);
    if (sum && !wrong)
        cmd_out_printf(d->out, " ok, %s", meaning);
    else if (*meaning)
        cmd_out_printf(d->out, " %s", meaning);
    if (wrong) {
        cmd_out_color(d->out, CMD_BAD);
        cmd_out_printf(d->out, " WRONG: %016" PRIx64 " is right", sum->right);
        cmd_out_color(d->out, CMD_PLAIN);
    }
    while (d->out->len > 0 && d->out->at[d->out->len - 1] == ' ')
        d->out->len--;
    cmd_out_add(d->out, "\n", 1);
    if (f->type != ZERO)
        put_more_bytes(d, at, f->size);
}

uint64_t cmd_dump_table_of_fields(struct dump *d, uint64_t at, const struct field *fields, const struct sum *sums) {
    uint64_t begin = at;
    for (const struct field *f = fields; f->name; at += f->size, f++) {
        const struct sum *sum = NULL;
        for (const struct sum *s = sums; s && s->name; s++)
            if (s->name == f->name || strcmp(s->name, f->name) == 0)
                sum = s;
        if (at + f->size > d->size)
            return d->size;
        if (cmd_dump_wanted(d, at, f->size))
            put_field(d, at, f, sum);
    }
    assert(at > begin);
    return at;
}

/* The printable half of a line of text or raw bytes: UTF-8 is shown where a whole character stands. */
static void put_ascii(struct dump *d, uint64_t at, size_t len) {
    cmd_out_add(d->out, "|", 1);
    for (size_t i = 0; i < len; i++) {
        char c = (char)d->base[at + i];
        cmd_out_add(d->out, c >= ' ' && c < 0x7f ? &c : ".", 1);
    }
    cmd_out_add(d->out, "|", 1);
}

void cmd_dump_raw_fields(struct dump *d, uint64_t at, uint64_t length, const char *name, const char *meaning) {
    if (length == 0 || !cmd_dump_wanted(d, at, length))
        return;
    bool zeros = fmt_all_zero(d->base + at, length);
    if (d->json) {
        cmd_dump_begin(d, at, length, "field");
        cmd_dump_word(d, "name", name);
        if (!zeros || length <= 64)
            cmd_dump_hex(d, "bytes", d->base + at, length);
        if (zeros)
            cmd_dump_word(d, "value", "zeros");
        if (!zeros && fmt_utf8_valid((const char *)d->base + at, length, NULL))
            cmd_dump_text(d, "value", (const char *)d->base + at, length);
        cmd_dump_word(d, "meaning", meaning);
        cmd_dump_end(d);
        return;
    }
    if (zeros) {
        cmd_out_printf(d->out, "%08" PRIx64 "  %-22s   %-25s %" PRIu64 " zeros%s%s\n", at, "00 ...", name, length,
                       *meaning ? ", " : "", meaning);
        return;
    }
    bool first = true;
    for (uint64_t done = 0; done < length; done += 8) {
        size_t n = length - done < 8 ? (size_t)(length - done) : 8;
        if (!cmd_dump_wanted(d, at + done, n))
            continue;
        put_bytes(d, at + done, n);
        cmd_out_printf(d->out, "%-25s ", first ? name : "");
        put_ascii(d, at + done, n);
        if (first && *meaning)
            cmd_out_printf(d->out, "%*s %s", (int)(18 - n), "", meaning);
        cmd_out_add(d->out, "\n", 1);
        first = false;
    }
}

/* ---- structures of the log ---- */

void cmd_dump_segment_header_fields(struct dump *d, uint64_t at) {
    if (!cmd_dump_wanted(d, at, FMT_SEGMENT_HEADER_SIZE))
        return;
    cmd_dump_heading(d, at, "segment header");
    struct sum sums[] = {{"checksum", 0}, {0}};
    if (d->size - at >= FMT_SEGMENT_HEADER_SIZE)
        sums[0].right = fmt_checksum(d->base + at, 120);
    bool compressed = d->size - at >= 32 && fmt_get64(d->base + at + 24) & FMT_FEATURE_COMPRESSED;
    uint64_t end = cmd_dump_table_of_fields(d, at, segment_header, sums);
    end = cmd_dump_table_of_fields(d, end, compressed ? compressed_header : plain_header, sums);
    uint32_t header_len = d->size - at >= 12 ? fmt_get32(d->base + at + 8) : 0;
    if (header_len > end - at && header_len <= 4096 && fmt_inside(at, header_len, d->size))
        cmd_dump_raw_fields(d, end, header_len - (end - at), "later fields", "of a newer version");
}

void cmd_dump_frame_header_fields(struct dump *d, uint64_t at) {
    if (!cmd_dump_wanted(d, at, FMT_FRAME_HEADER_SIZE))
        return;
    cmd_dump_heading(d, at, "frame header");
    const unsigned char *p = d->base + at;
    struct fmt_frame f;
    struct sum sums[] = {{"checksum", fmt_checksum(p, 88)},
                         {"synced_checksum", fmt_fold(fmt_get64(p + 88), fmt_get64(p + 96))},
                         {0},
                         {0}};
    size_t bad;
    /* The payload can be judged only when the header tells truly how long it is. */
    bool whole = fmt_frame_decode(p, d->size - at, &f) == NULL && f.frame_len <= d->size - at;
    if (whole && fmt_frame_check(&f, p, &bad) == NULL)
        sums[2] = (struct sum){"payload_checksum", f.payload_checksum};
    cmd_dump_table_of_fields(d, at, frame_header, sums);
    if (whole && f.header_len > FMT_FRAME_HEADER_SIZE)
        cmd_dump_raw_fields(d, at + FMT_FRAME_HEADER_SIZE, f.header_len - FMT_FRAME_HEADER_SIZE, "later fields",
                            "of a newer version");
}

void cmd_dump_hole_fields(struct dump *d, uint64_t at) {
    if (!cmd_dump_wanted(d, at, FMT_HOLE_SIZE))
        return;
    cmd_dump_heading(d, at, "hole");
    cmd_dump_table_of_fields(d, at, hole, NULL);
}

void cmd_dump_event_fields(struct dump *d, uint64_t at, uint64_t room) {
    const unsigned char *p = d->base + at;
    struct fmt_event e;
    const char *wrong = fmt_event_decode(p, room, &e);
    cmd_dump_heading(d, at, "event");
    struct sum sums[] = {{0}, {0}};
    if (!wrong)
        sums[0] = (struct sum){"checksum", fmt_checksum(p + 8, e.event_len - 8)};
    if (room < FMT_EVENT_HEADER_SIZE) {
        cmd_dump_raw_fields(d, at, room, "unreadable", "");
        return;
    }
    cmd_dump_table_of_fields(d, at, event_header, sums);
    if (wrong) {
        cmd_dump_raw_fields(d, at + FMT_EVENT_HEADER_SIZE, room - FMT_EVENT_HEADER_SIZE, "unreadable", "");
        return;
    }
    const struct {
        const char *name;
        struct fmt_text text;
    } parts[] = {{"stream_id", e.stream_id},
                 {"event_type", e.event_type},
                 {"event_id", e.event_id},
                 {"data_content_type", e.data_content_type},
                 {"metadata_content_type", e.metadata_content_type},
                 {"data", e.data},
                 {"metadata", e.metadata}};
    uint64_t next = at + FMT_EVENT_HEADER_SIZE;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        uint64_t begin = (uint64_t)((const unsigned char *)parts[i].text.at - d->base);
        if (begin > next)
            cmd_dump_raw_fields(d, next, begin - next, "later fields", "of a newer version");
        cmd_dump_raw_fields(d, begin, parts[i].text.len, parts[i].name, "");
        next = begin + parts[i].text.len;
    }
    cmd_dump_raw_fields(d, next, at + e.event_len - next, "padding", "to a multiple of 8");
}
