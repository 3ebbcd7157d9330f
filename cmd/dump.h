/* dump.h: the parts of esdb-dump. It explains files from their bytes alone, on the format layer, so that it also works
 * when the store cannot be opened. It never writes.
 *
 *   esdb-dump.c     options, files
 *   dump_record.c   a record: one line of text, or one JSON object
 *   dump_segment.c  segments: frame by frame, over damage
 *   dump_blocks.c   the blocks of compressed segments
 *   dump_fields.c   byte tables: every field of every structure with its meaning (--bytes)
 *   dump_derived.c  head, live index
 *   dump_table.c    table files
 */
#ifndef CMD_DUMP_H
#define CMD_DUMP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cmd.h"
#include "format/event.h"
#include "format/frame.h"
#include "format/segment.h"

/* A dump under way. */
struct dump {
    struct cmd_out *out;
    bool json;
    bool events;       /* also a line an event, an index entry, a key */
    bool bytes;        /* annotate bytes from .. to instead of lines a frame */
    uint64_t from, to; /* inclusive */
    const char *file;  /* as shown */
    const unsigned char *base;
    size_t size;
    bool damaged;     /* damage was seen: exit 5 */
    bool newer;       /* a segment of a newer format was met: exit 2 */
    bool proof_known; /* a valid head was read: */
    uint64_t proof;   /* frames up to this index were durable */
    bool last;        /* the file is the active segment: a torn tail is allowed */
    bool chained;     /* the rest tells how the segment before ended */
    uint64_t next_index, next_position, prev_checksum;
    unsigned char store_id[16];
};

/* ---- dump_record.c ---- */

/* A record begins with where it is and what it is ("frame"); then come its values, as key=value or as members. */
void cmd_dump_begin(struct dump *d, uint64_t offset, uint64_t length, const char *what);
void cmd_dump_number(struct dump *d, const char *key, uint64_t value);
void cmd_dump_word(struct dump *d, const char *key, const char *value);          /* a plain English word or text */
void cmd_dump_text(struct dump *d, const char *key, const char *at, size_t len); /* bytes that may be anything */
void cmd_dump_checksum(struct dump *d, const char *key, uint64_t value);
void cmd_dump_time(struct dump *d, const char *key, uint64_t epoch_us);
void cmd_dump_hex(struct dump *d, const char *key, const unsigned char *at, size_t len);
void cmd_dump_uuid(struct dump *d, const char *key, const unsigned char at[16]);
void cmd_dump_json(struct dump *d, const char *key, struct fmt_text value); /* --json only */
void cmd_dump_end(struct dump *d);

/* A record that is damage: sets the exit status. */
void cmd_dump_damage(struct dump *d, uint64_t offset, uint64_t length, const char *text);

/* Does [offset, offset + length) have something of the range that is to be annotated? */
bool cmd_dump_wanted(const struct dump *d, uint64_t offset, uint64_t length);

/* ---- dump_segment.c ---- */

void cmd_dump_segment(struct dump *d);

/* ---- dump_blocks.c ---- */

/* Tells of each block of a compressed segment, and of its table. content (NULL: not wanted) has room for content_size bytes and
 * gets those behind the header. False: there is no memory. */
bool cmd_dump_blocks(struct dump *d, const struct fmt_segment *s, unsigned char *content);

/* ---- dump_fields.c: with --bytes, everything at an offset in the file ---- */

void cmd_dump_segment_header_fields(struct dump *d, uint64_t at);
void cmd_dump_frame_header_fields(struct dump *d, uint64_t at);
void cmd_dump_event_fields(struct dump *d, uint64_t at, uint64_t room);
void cmd_dump_hole_fields(struct dump *d, uint64_t at);
void cmd_dump_raw_fields(struct dump *d, uint64_t at, uint64_t length, const char *name, const char *meaning);

/* ---- dump_derived.c, dump_table.c ---- */

void cmd_dump_head(struct dump *d);
void cmd_dump_live_index(struct dump *d);
void cmd_dump_table(struct dump *d);

/* The newest frame that an intact head proves durable; false when it proves nothing. */
bool cmd_dump_head_proof(const unsigned char *at, size_t len, uint64_t *index);

#endif
