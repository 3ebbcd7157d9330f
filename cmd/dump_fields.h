/* dump_fields.h: structures as tables of fields, for esdb-dump --bytes. */
#ifndef CMD_DUMP_FIELDS_H
#define CMD_DUMP_FIELDS_H

#include "dump.h"

enum field_type { U8, U16, U32, U64, HEX, SUM, TIME, TEXT, UUID, ZERO, FRAME_KIND, FRAME_FLAGS, EVENT_FLAGS, WORD };

/* A field; tables list them in order without gaps and end with one without a name. */
struct field {
    const char *name;
    enum field_type type;
    unsigned size;
    const char *meaning;
};

/* What a checksum field must hold. Lists end with one without a name. */
struct sum {
    const char *name;
    uint64_t right;
};

/* A line that says which structure begins. Nothing with --json. */
void cmd_dump_heading(struct dump *d, uint64_t at, const char *title);

/* Annotates the fields at an offset, as far as they are wanted and inside the file. Returns where they end. */
uint64_t cmd_dump_table_of_fields(struct dump *d, uint64_t at, const struct field *fields, const struct sum *sums);

#endif
