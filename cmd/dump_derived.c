/* The files that are made from the log: head, the live index, tables. */
#include "dump.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dump_fields.h"
#include "format/bytes.h"
#include "format/checksum.h"
#include "format/head.h"
#include "format/live_index.h"

/* ---- head ---- */

static const struct field head_identity[] = {
    {"magic", TEXT, 8, "a head page"},
    {"version", U32, 4, ""},
    {"zero", ZERO, 4, ""},
    {"boot_id", UUID, 16, "valid on this boot only"},
    {"device", U64, 8, "of this file: a copy is not trusted"},
    {"inode", U64, 8, ""},
    {"incarnation", HEX, 8, "of the store"},
    {"check", SUM, 8, "of bytes 0 to 55"},
    {"generation", WORD, 8, "changes when frames may have been cut"},
    {"pad", ZERO, 56, ""},
    {"appended", WORD, 8, "newest frame written"},
    {"pad", ZERO, 56, ""},
    {"synced", WORD, 8, "newest frame durable here"},
    {"committed", WORD, 8, "newest frame committed"},
    {"in_progress", WORD, 8, "1: a sync is under way"},
    {"poisoned", WORD, 8, "1: appends are refused"},
    {"pad", ZERO, 32, ""},
    {"wake", U32, 4, "changes when synced or committed moves"},
    {"appender_wake", U32, 4, "changes when the append lock is free"},
    {"appenders", U32, 4, "processes that wait for it"},
    {"pad", ZERO, 4, ""},
    {"round", WORD, 8, "newest frame of the sync begun last, times 2, plus a parity"},
    {"life", WORD, 8, "events of $meta: streams are below this position; 0: none"},
    {"pad", ZERO, 96, ""},
    {0},
};

static const struct field mark[] = {
    {"index", U64, 8, "of the frame"},
    {"segment", HEX, 8, "that holds it"},
    {"frame_offset", U64, 8, "in the segment"},
    {"end_offset", U64, 8, "just past the frame"},
    {"end_position", U64, 8, "of the next event"},
    {"last_epoch_us", TIME, 8, ""},
    {"checksum", SUM, 8, "of the frame"},
    {"check", SUM, 8, "of bytes 0 to 55"},
    {0},
};

static const char *const mark_names[] = {"appended mark, first", "appended mark, second", "synced mark, first",
                                         "synced mark, second"};
enum { MARKS_AT = 384, MARK_SIZE = 64, MARKS = 4 };

/* The page as a structure; false when the file is too short. */
static bool take_head(const unsigned char *at, size_t len, struct fmt_head *out) {
    if (len < sizeof *out)
        return false;
    memcpy((void *)out, at, sizeof *out);
    return true;
}

bool cmd_dump_head_proof(const unsigned char *at, size_t len, uint64_t *index) {
    struct fmt_head h;
    if (!take_head(at, len, &h) || memcmp(h.magic, FMT_HEAD_MAGIC, 8) != 0 || fmt_head_check(&h) != h.check)
        return false;
    return fmt_word_decode(fmt_get64(at + 192), index);
}

static void put_head_word(struct dump *d, const char *key, size_t at) {
    uint64_t value, word = fmt_get64(d->base + at);
    if (word == 0)
        cmd_dump_word(d, key, "unset");
    else if (!fmt_word_decode(word, &value))
        cmd_dump_word(d, key, "damaged");
    else if (value == FMT_COMMITTED_IS_SYNCED)
        cmd_dump_word(d, key, "synced");
    else
        cmd_dump_number(d, key, value);
}

static void put_head(struct dump *d, const struct fmt_head *h, bool intact) {
    cmd_dump_begin(d, 0, d->size, "head");
    cmd_dump_number(d, "version", h->version);
    cmd_dump_uuid(d, "boot_id", h->boot_id);
    cmd_dump_number(d, "device", h->device);
    cmd_dump_number(d, "inode", h->inode);
    cmd_dump_checksum(d, "incarnation", h->incarnation);
    put_head_word(d, "generation", 64);
    put_head_word(d, "appended", 128);
    put_head_word(d, "synced", 192);
    put_head_word(d, "committed", 200);
    put_head_word(d, "in_progress", 208);
    put_head_word(d, "poisoned", 216);
    cmd_dump_number(d, "wake", fmt_get32(d->base + 256));
    cmd_dump_number(d, "appender_wake", fmt_get32(d->base + 260));
    cmd_dump_number(d, "appenders", fmt_get32(d->base + 264));
    put_head_word(d, "round", 272);
    put_head_word(d, "life", 280);
    cmd_dump_word(d, d->json ? "state" : "checksum", intact ? "ok" : "wrong");
    cmd_dump_end(d);
}

/* One of the two copies of a mark; a writer may be at it, so that a bad one alone is no damage. */
static void put_mark(struct dump *d, unsigned i) {
    size_t at = MARKS_AT + i * MARK_SIZE;
    struct fmt_mark m;
    memcpy(&m, d->base + at, sizeof m);
    if (d->bytes) {
        if (!cmd_dump_wanted(d, at, MARK_SIZE))
            return;
        struct sum sums[] = {{"check", fmt_mark_check(&m)}, {0}};
        cmd_dump_heading(d, at, mark_names[i]);
        cmd_dump_table_of_fields(d, at, mark, sums);
        return;
    }
    cmd_dump_begin(d, at, MARK_SIZE, "mark");
    cmd_dump_word(d, "of", i < 2 ? "appended" : "synced");
    cmd_dump_number(d, "index", m.index);
    char name[17];
    snprintf(name, sizeof name, "%016llx", (unsigned long long)m.segment);
    cmd_dump_word(d, "segment", name);
    cmd_dump_number(d, "frame_offset", m.frame_offset);
    cmd_dump_number(d, "end_offset", m.end_offset);
    cmd_dump_number(d, "end_position", m.end_position);
    cmd_dump_time(d, "last_epoch_us", m.last_epoch_us);
    cmd_dump_checksum(d, "frame_checksum", m.checksum);
    cmd_dump_word(d, d->json ? "state" : "checksum",
                  fmt_all_zero(&m, sizeof m)      ? "unset"
                  : fmt_mark_check(&m) == m.check ? "ok"
                                                  : "wrong");
    cmd_dump_end(d);
}

void cmd_dump_head(struct dump *d) {
    struct fmt_head h;
    if (!take_head(d->base, d->size, &h)) {
        cmd_dump_damage(d, 0, d->size, "the head page is cut short");
        return;
    }
    bool intact = fmt_head_check(&h) == h.check;
    if (d->bytes) {
        struct sum sums[] = {{"check", fmt_head_check(&h)}, {0}};
        cmd_dump_heading(d, 0, "head page");
        cmd_dump_table_of_fields(d, 0, head_identity, sums);
    } else {
        put_head(d, &h, intact);
    }
    if (!intact)
        cmd_dump_damage(d, 0, 64, "the head page's checksum is wrong: it is not used and will be made anew");
    for (unsigned i = 0; i < MARKS; i++)
        put_mark(d, i);
    if (d->bytes)
        cmd_dump_raw_fields(d, 640, d->size - 640, "rest", "not used");
}

/* ---- live index ---- */

static const struct field live_header[] = {
    {"magic", TEXT, 8, "a live index"},
    {"boot_id", UUID, 16, "valid on this boot only"},
    {"device", U64, 8, "of this file"},
    {"inode", U64, 8, ""},
    {"segment", HEX, 8, "that it belongs to"},
    {"generation", U64, 8, "of the head it belongs to"},
    {"capacity", U64, 8, "events"},
    {"key_capacity", U64, 8, "keys"},
    {"check", SUM, 8, "of bytes 0 to 71"},
    {"pad", ZERO, 48, ""},
    {"events", WORD, 8, "how many are in"},
    {"frames", WORD, 8, "newest frame that is in"},
    {"offset8", WORD, 8, "of the next frame, in units of 8"},
    {"retired", WORD, 8, "1: another one has taken its place"},
    {"keys", WORD, 8, "how many are in"},
    {0},
};

static const struct field live_entry[] = {
    {"offset8", U32, 4, "of the event in the segment, in units of 8"},
    {"nth", U32, 4, "earlier events of the stream in the segment"},
    {"prev", U32, 4, "entry of the event before, + 1"},
    {"jump", U32, 4, "entry of an earlier event, + 1"},
    {"zero", ZERO, 4, ""},
    {"stream_hash", HEX, 4, ""},
    {"frame_event", U32, 4, "entry of the first event of the frame"},
    {"check", HEX, 4, "of bytes 0 to 27 and the entry's number"},
    {"stream_next", HEX, 8, "link to another stream of the bucket"},
    {0},
};

static void put_live_header(struct dump *d, const struct fmt_live_header *h, bool intact) {
    char name[17];
    snprintf(name, sizeof name, "%016llx", (unsigned long long)h->segment);
    cmd_dump_begin(d, 0, FMT_LIVE_HEADER_SIZE, "live");
    cmd_dump_word(d, "segment", name);
    cmd_dump_uuid(d, "boot_id", h->boot_id);
    cmd_dump_number(d, "device", h->device);
    cmd_dump_number(d, "inode", h->inode);
    cmd_dump_number(d, "generation", h->generation);
    cmd_dump_number(d, "capacity", h->capacity);
    cmd_dump_number(d, "key_capacity", h->key_capacity);
    put_head_word(d, "events", 128);
    put_head_word(d, "frames", 136);
    put_head_word(d, "offset8", 144);
    put_head_word(d, "retired", 152);
    put_head_word(d, "keys", 160);
    cmd_dump_word(d, d->json ? "state" : "checksum", intact ? "ok" : "wrong");
    cmd_dump_end(d);
}

static void put_live_entry(struct dump *d, uint32_t i) {
    size_t at = FMT_LIVE_HEADER_SIZE + (size_t)i * sizeof(struct fmt_live_entry);
    struct fmt_live_entry e;
    memcpy((void *)&e, d->base + at, sizeof e);
    bool intact = fmt_live_entry_check(&e, i) == e.check;
    if (d->bytes && cmd_dump_wanted(d, at, sizeof e)) {
        char title[40];
        snprintf(title, sizeof title, "entry %u", i);
        cmd_dump_heading(d, at, title);
        cmd_dump_table_of_fields(d, at, live_entry, NULL);
    } else if (!d->bytes && d->events) {
        cmd_dump_begin(d, at, sizeof e, "entry");
        cmd_dump_number(d, "number", i);
        cmd_dump_number(d, "event_offset", e.offset8 * 8ull);
        cmd_dump_number(d, "nth", e.nth);
        cmd_dump_number(d, "prev", e.prev);
        cmd_dump_number(d, "jump", e.jump);
        cmd_dump_hex(d, "stream_hash", (const unsigned char *)&e.stream_hash, 4);
        cmd_dump_number(d, "frame_event", e.frame_event);
        cmd_dump_word(d, d->json ? "state" : "checksum", intact ? "ok" : "wrong");
        cmd_dump_end(d);
    }
    if (!intact)
        cmd_dump_damage(d, at, sizeof e, "the entry's checksum is wrong");
}

void cmd_dump_live_index(struct dump *d) {
    struct fmt_live_header h;
    if (d->size < FMT_LIVE_HEADER_SIZE) {
        cmd_dump_damage(d, 0, d->size, "the live index is cut short");
        return;
    }
    memcpy((void *)&h, d->base, sizeof h);
    bool intact = fmt_live_header_check(&h) == h.check;
    if (d->bytes) {
        struct sum sums[] = {{"check", fmt_live_header_check(&h)}, {0}};
        cmd_dump_heading(d, 0, "live index header");
        cmd_dump_table_of_fields(d, 0, live_header, sums);
    } else {
        put_live_header(d, &h, intact);
    }
    if (!intact || h.capacity > FMT_SEGMENT_FILE_MAX / 8 || h.key_capacity > FMT_SEGMENT_FILE_MAX / 8 ||
        fmt_live_size(h.capacity, h.key_capacity) > d->size) {
        cmd_dump_damage(d, 0, 80, intact ? "the live index is cut short" : "the live index header's checksum is wrong");
        return;
    }
    uint64_t events;
    if (!fmt_word_decode(fmt_get64(d->base + 128), &events) || events > h.capacity) {
        cmd_dump_damage(d, 128, 8, "the number of events is damaged");
        return;
    }
    if (d->bytes)
        cmd_dump_raw_fields(d, 168, FMT_LIVE_HEADER_SIZE - 168, "rest", "not used");
    for (uint32_t i = 0; i < events; i++)
        put_live_entry(d, i);
    size_t used = FMT_LIVE_HEADER_SIZE + (size_t)events * sizeof(struct fmt_live_entry);
    size_t buckets = FMT_LIVE_HEADER_SIZE + (size_t)h.capacity * sizeof(struct fmt_live_entry);
    if (d->bytes) {
        cmd_dump_raw_fields(d, used, buckets - used, "entries", "not yet used");
        cmd_dump_raw_fields(d, buckets, h.capacity * 8, "stream buckets", "link words");
        size_t keys = buckets + h.capacity * 8, key_buckets = keys + h.key_capacity * sizeof(struct fmt_live_key);
        cmd_dump_raw_fields(d, keys, key_buckets - keys, "keys", "16 bytes each");
        cmd_dump_raw_fields(d, key_buckets, h.key_capacity * 8, "key buckets", "link words");
        used = fmt_live_size(h.capacity, h.key_capacity);
        cmd_dump_raw_fields(d, used, d->size - used, "rest", "not used");
    }
}
