/*
 * table.h: aligned columns at a terminal. The first rows are kept back until they can tell how wide the columns must be;
 * after that the columns stay where they are: a longer text pushes the rest of its own row only. The last column is cut
 * at the right margin.
 */
#ifndef CMD_TABLE_H
#define CMD_TABLE_H

#include "cmd.h"

#define CMD_TABLE_COLUMNS_MAX 16

struct cmd_table_column {
    const char *title;
    unsigned width; /* at least */
    bool is_number; /* aligned to the right */
};

/* Prints a row, the titles above the first one. One table a process. `columns` and `end`, which ends a row, are those of
 * the first row. */
void cmd_table_row(struct cmd_out *out, const struct cmd_table_column *columns, int count,
                   const struct esdb_text *texts, char end);

#endif
