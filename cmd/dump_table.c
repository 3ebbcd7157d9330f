/* Table files: the index of a sealed segment, the stream directory. */
#include "dump.h"

#include <stdio.h>
#include <string.h>

#include "dump_fields.h"
#include "format/bytes.h"
#include "format/checksum.h"
#include "format/table.h"

static const struct field block_header[] = {
    {"number", U32, 4, "of the block"},
    {"entries", U16, 2, ""},
    {"section", U16, 2, "type; 0 in the header"},
    {0},
};

static const struct field table_header[] = {
    {"magic", TEXT, 8, "a table"},
    {"version", U32, 4, "of the format"},
    {"kind", U32, 4, "1 index of a segment, 2 stream directory"},
    {"features_optional", HEX, 8, "may be ignored"},
    {"features_required", HEX, 8, "must be understood"},
    {"first_index", U64, 8, "frames covered: from"},
    {"last_index", U64, 8, "to"},
    {"first_position", U64, 8, "positions covered: from"},
    {"end_position", U64, 8, "to before"},
    {"last_checksum", HEX, 8, "of frame last_index"},
    {"log_size", U64, 8, "header and frames of the segment"},
    {"first_epoch_us", TIME, 8, ""},
    {"last_epoch_us", TIME, 8, ""},
    {"block_count", U32, 4, "of the file"},
    {"section_count", U32, 4, ""},
    {0},
};

static const struct field section_fields[] = {
    {"type", U16, 2, ""},
    {"entry_size", U16, 2, "0: sorted keys"},
    {"first_block", U32, 4, ""},
    {"block_count", U32, 4, ""},
    {"leaf_count", U32, 4, "blocks that hold keys"},
    {"entry_count", U64, 8, ""},
    {"zero", ZERO, 8, ""},
    {0},
};

static const struct field block_sum[] = {{"checksum", SUM, 8, "of bytes 0 to 4087"}, {0}};

static const struct field event_entry[] = {{"offset8", U32, 4, "of the event, in units of 8"}, {0}};
static const struct field frame_entry[] = {
    {"offset8", U32, 4, "of the frame, in units of 8"}, {"first_event", U32, 4, ""}, {0}};
static const struct field posting_entry[] = {
    {"event", U32, 4, "number in the segment"}, {"offset8", U32, 4, "of the event, in units of 8"}, {0}};
static const struct field hash_entry[] = {{"hash", HEX, 4, "of the key"}, {"event", U32, 4, ""}, {0}};
static const struct field place_entry[] = {
    {"segment", HEX, 8, ""}, {"first_version", U64, 8, ""}, {"count", U64, 8, "events"}, {0}};
static const struct field damage_entry[] = {{"offset", U64, 8, "in the segment"},
                                            {"first_event", U32, 4, "number in the segment"},
                                            {"events", U32, 4, ""},
                                            {0}};
static const struct field key_entry[] = {{"key_len", U16, 2, ""}, {"value_len", U16, 2, ""}, {0}};
static const struct field child_value[] = {{"child", U32, 4, "block"}, {0}};
static const struct field stream_value[] = {
    {"first_version", U64, 8, ""}, {"count", U32, 4, "events"}, {"first_posting", U32, 4, ""}, {0}};
static const struct field directory_value[] = {{"first_place", U32, 4, ""}, {"places", U32, 4, ""}, {0}};

static const struct {
    const char *name;
    const struct field *entry; /* of an array; NULL: keys */
    unsigned size;
} sections[] = {
    [0] = {"header", NULL, 0},
    [FMT_SECTION_EVENTS] = {"events", event_entry, 4},
    [FMT_SECTION_FRAMES] = {"frames", frame_entry, 8},
    [FMT_SECTION_POSTINGS] = {"postings", posting_entry, 8},
    [FMT_SECTION_STREAMS] = {"streams", NULL, 0},
    [5] = {"ids", NULL, 0},
    [FMT_SECTION_PLACES] = {"places", place_entry, 24},
    [FMT_SECTION_DAMAGE] = {"damage", damage_entry, 16},
    [FMT_SECTION_KEYS] = {"keys", hash_entry, 8},
};

static const char *section_name(unsigned type) {
    return type < sizeof sections / sizeof sections[0] ? sections[type].name : "unknown";
}

static const struct fmt_section *section_of_block(const struct fmt_table *t, uint32_t number) {
    for (uint32_t i = 0; i < t->section_count; i++)
        if (number >= t->section[i].first_block && number - t->section[i].first_block < t->section[i].block_count)
            return &t->section[i];
    return NULL;
}

/* Is the block a parent in a tree of keys? */
static bool is_parent(const struct fmt_section *s, uint32_t number) {
    return s->entry_size == 0 && number - s->first_block >= s->leaf_count;
}

/* ---- lines ---- */

static void put_table_header(struct dump *d, const struct fmt_table *t) {
    const struct fmt_table_header *h = &t->header;
    cmd_dump_begin(d, 0, d->size, "table");
    cmd_dump_word(d, "kind", h->kind == FMT_TABLE_SEGMENT ? "segment" : "directory");
    cmd_dump_number(d, "first_index", h->first_index);
    cmd_dump_number(d, "last_index", h->last_index);
    cmd_dump_number(d, "first_position", h->first_position);
    cmd_dump_number(d, "end_position", h->end_position);
    cmd_dump_checksum(d, "last_checksum", h->last_checksum);
    cmd_dump_number(d, "log_size", h->log_size);
    cmd_dump_time(d, "first_epoch_us", h->first_epoch_us);
    cmd_dump_time(d, "last_epoch_us", h->last_epoch_us);
    cmd_dump_number(d, "blocks", t->block_count);
    cmd_dump_end(d);
    for (uint32_t i = 0; i < t->section_count; i++) {
        const struct fmt_section *s = &t->section[i];
        cmd_dump_begin(d, (uint64_t)s->first_block * FMT_BLOCK_SIZE, (uint64_t)s->block_count * FMT_BLOCK_SIZE,
                       "section");
        cmd_dump_word(d, "type", section_name(s->type));
        cmd_dump_number(d, "entries", s->entry_count);
        cmd_dump_number(d, "entry_size", s->entry_size);
        cmd_dump_number(d, "leaves", s->leaf_count);
        cmd_dump_end(d);
    }
}

static void put_values(struct dump *d, const unsigned char *at, const struct field *fields) {
    for (const struct field *f = fields; f->name; at += f->size, f++) {
        if (f->type == HEX)
            cmd_dump_checksum(d, f->name, f->size == 4 ? fmt_get32(at) : fmt_get64(at));
        else
            cmd_dump_number(d, f->name, f->size == 4 ? fmt_get32(at) : f->size == 8 ? fmt_get64(at) : fmt_get16(at));
    }
}

/* What the value of a key says: depends on the table and on the level. */
static const struct field *value_fields(const struct fmt_table *t, bool parent, unsigned len) {
    if (parent)
        return len == 4 ? child_value : NULL;
    if (t->header.kind == FMT_TABLE_SEGMENT)
        return len == 16 ? stream_value : NULL;
    return len == 8 ? directory_value : NULL;
}

/* The entries of a verified block, one a line or field by field. */
static void put_keys(struct dump *d, const struct fmt_table *t, bool parent, uint64_t at, unsigned entries) {
    uint64_t end = at + FMT_BLOCK_PAYLOAD;
    for (unsigned i = 0; i < entries && at + 4 <= end; i++) {
        unsigned key_len = fmt_get16(d->base + at), value_len = fmt_get16(d->base + at + 2);
        if (at + 4 + key_len + value_len > end)
            return;
        const struct field *fields = value_fields(t, parent, value_len);
        if (d->bytes) {
            cmd_dump_table_of_fields(d, at, key_entry, NULL);
            cmd_dump_raw_fields(d, at + 4, key_len, "key", "");
            if (fields)
                cmd_dump_table_of_fields(d, at + 4 + key_len, fields, NULL);
            else
                cmd_dump_raw_fields(d, at + 4 + key_len, value_len, "value", "");
        } else {
            cmd_dump_begin(d, at, 4 + key_len + value_len, parent ? "parent" : "key");
            cmd_dump_text(d, "key", (const char *)d->base + at + 4, key_len);
            if (fields)
                put_values(d, d->base + at + 4 + key_len, fields);
            cmd_dump_end(d);
        }
        at += 4 + key_len + value_len;
    }
    if (d->bytes && at < end)
        cmd_dump_raw_fields(d, at, end - at, "unused", "");
}

static void put_array(struct dump *d, unsigned section, unsigned entry_size, uint64_t at, unsigned entries) {
    uint64_t end = at + FMT_BLOCK_PAYLOAD;
    bool known = section < sizeof sections / sizeof sections[0] && sections[section].size == entry_size;
    for (unsigned i = 0; i < entries && at + entry_size <= end; i++, at += entry_size) {
        if (!known) {
            if (d->bytes)
                cmd_dump_raw_fields(d, at, entry_size, "entry", "");
        } else if (d->bytes) {
            cmd_dump_table_of_fields(d, at, sections[section].entry, NULL);
        } else {
            cmd_dump_begin(d, at, entry_size, "entry");
            cmd_dump_word(d, "section", section_name(section));
            put_values(d, d->base + at, sections[section].entry);
            cmd_dump_end(d);
        }
    }
    if (d->bytes && at < end)
        cmd_dump_raw_fields(d, at, end - at, "unused", "");
}

static void put_header_payload(struct dump *d, uint64_t at) {
    uint64_t end = at + FMT_BLOCK_PAYLOAD;
    uint32_t count = fmt_get32(d->base + at + 100);
    at = cmd_dump_table_of_fields(d, at, table_header, NULL);
    for (uint32_t i = 0; i < count && i < FMT_TABLE_SECTIONS_MAX; i++)
        at = cmd_dump_table_of_fields(d, at, section_fields, NULL);
    cmd_dump_raw_fields(d, at, end - at, "unused", "");
}

static void put_block_content(struct dump *d, const struct fmt_table *t, uint32_t number) {
    uint64_t at = (uint64_t)number * FMT_BLOCK_SIZE;
    unsigned entries = fmt_get16(d->base + at + 4), section = fmt_get16(d->base + at + 6);
    const struct fmt_section *s = t ? section_of_block(t, number) : NULL;
    if (number == 0 && d->bytes)
        put_header_payload(d, at + 8);
    else if (s && s->entry_size == 0)
        put_keys(d, t, is_parent(s, number), at + 8, entries);
    else if (s)
        put_array(d, section, s->entry_size, at + 8, entries);
    else if (d->bytes)
        cmd_dump_raw_fields(d, at + 8, FMT_BLOCK_PAYLOAD, "payload", "of a section that is not known");
}

/* t: NULL when the header is damaged. */
static void put_block(struct dump *d, const struct fmt_table *t, uint32_t number) {
    uint64_t at = (uint64_t)number * FMT_BLOCK_SIZE;
    const unsigned char *p = d->base + at;
    uint64_t right = fmt_checksum(p, 4088);
    bool intact = right == fmt_get64(p + 4088) && fmt_get32(p) == number;
    if (d->bytes) {
        if (!cmd_dump_wanted(d, at, FMT_BLOCK_SIZE))
            return;
        struct sum sums[] = {{"checksum", right}, {0}};
        cmd_dump_heading(d, at, "block");
        cmd_dump_table_of_fields(d, at, block_header, NULL);
        put_block_content(d, t, number);
        cmd_dump_table_of_fields(d, at + 4088, block_sum, sums);
    } else {
        const struct fmt_section *s = t ? section_of_block(t, number) : NULL;
        cmd_dump_begin(d, at, FMT_BLOCK_SIZE, "block");
        cmd_dump_number(d, "number", fmt_get32(p));
        cmd_dump_word(d, "section", section_name(fmt_get16(p + 6)));
        cmd_dump_number(d, "entries", fmt_get16(p + 4));
        if (s && s->entry_size == 0)
            cmd_dump_word(d, "level", is_parent(s, number) ? "parent" : "leaf");
        cmd_dump_word(d, d->json ? "state" : "checksum", intact ? "ok" : "wrong");
        cmd_dump_end(d);
    }
    if (!intact)
        cmd_dump_damage(d, at, FMT_BLOCK_SIZE, "the block's checksum or number is wrong");
    else if (!d->bytes && d->events && number > 0)
        put_block_content(d, t, number);
}

void cmd_dump_table(struct dump *d) {
    struct fmt_table t;
    const char *wrong = fmt_table_open(&t, d->base, d->size);
    if (wrong)
        cmd_dump_damage(d, 0, d->size < FMT_BLOCK_SIZE ? d->size : FMT_BLOCK_SIZE, wrong);
    else if (!d->bytes)
        put_table_header(d, &t);
    uint64_t blocks = d->size / FMT_BLOCK_SIZE;
    for (uint64_t i = 0; i < blocks && i < UINT32_MAX; i++)
        put_block(d, wrong ? NULL : &t, (uint32_t)i);
    if (d->size % FMT_BLOCK_SIZE != 0)
        cmd_dump_damage(d, blocks * FMT_BLOCK_SIZE, d->size % FMT_BLOCK_SIZE, "the last block is cut short");
}
