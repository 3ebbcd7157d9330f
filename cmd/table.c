/* table.c: see table.h. */
#include "table.h"

#include <stdlib.h>
#include <string.h>

#include "format/utf8.h"
#include "internal.h"

#define KEPT_ROWS 100
#define CELL_BYTES 1024u /* of a text; more does not fit into a line */
#define COLUMN_MAX 64u   /* of all columns but the last */

struct cell {
    char *at; /* visible; owned */
    size_t len;
    bool is_cut;
};

static struct {
    struct cmd_table_column columns[CMD_TABLE_COLUMNS_MAX];
    int count;
    char end;
    unsigned terminal; /* columns */
    bool is_begun;     /* the titles are printed, widths are settled */
    struct cell rows[KEPT_ROWS][CMD_TABLE_COLUMNS_MAX];
    int row_count;
} table;

/* Bytes of the characters that fit into `columns`; *used: the columns they take. Wide ones (East Asian, emoji) count
 * two, which is right for nearly all. */
static size_t fit(const char *text, size_t len, unsigned columns, unsigned *used) {
    size_t i = 0;

    *used = 0;
    while (i < len) {
        unsigned char c = (unsigned char)text[i];
        int n = c < 0x80 ? 1 : fmt_utf8_sequence(text + i, text + len);
        unsigned second = n > 1 ? (unsigned char)text[i + 1] : 0;
        unsigned width = 1;

        if (n <= 0)
            n = 1;
        if (c == 0xcc || (c == 0xcd && second < 0xb0))
            width = 0; /* combining marks */
        else if ((c >= 0xe3 && c <= 0xed && !(c == 0xea && second < 0xb0)) || (c == 0xef && second >= 0xbc) ||
                 (c == 0xf0 && second >= 0x9f))
            width = 2;
        if (*used + width > columns)
            break;
        *used += width;
        i += (size_t)n;
    }
    return i;
}

static struct cell make_cell(struct esdb_text text) {
    char shown[4 * CELL_BYTES];
    size_t raw = text.len < CELL_BYTES ? text.len : CELL_BYTES;
    struct cell c = {.len = cmd_make_visible(text.at, raw, "", shown), .is_cut = raw < text.len};

    c.at = cmd_alloc(c.len + 1);
    memcpy(c.at, shown, c.len);
    return c;
}

static void print_spaces(struct cmd_out *out, unsigned n) {
    cmd_out_printf(out, "%*s", (int)n, "");
}

/* Prints as much of the cell as fits into `room` columns, `…` at its end when that is not all. Returns the columns. */
static unsigned print_cell(struct cmd_out *out, const struct cell *c, unsigned room) {
    unsigned used;
    size_t bytes = fit(c->at, c->len, room, &used);
    bool is_cut = bytes < c->len || c->is_cut;

    if (is_cut && room > 0) {
        bytes = fit(c->at, c->len, room - 1, &used);
        used++;
    }
    cmd_out_add(out, c->at, bytes);
    if (is_cut && room > 0)
        cmd_out_text(out, "\u2026");
    return used;
}

static void print_row(struct cmd_out *out, const struct cell *cells) {
    unsigned column = 0, begin = 0; /* where we are; where the next cell should begin */

    for (int i = 0; i < table.count; i++) {
        const struct cmd_table_column *k = &table.columns[i];
        unsigned used;

        if (i == table.count - 1) {
            print_cell(out, &cells[i], table.terminal > column ? table.terminal - column : 0);
            break;
        }
        if (k->is_number) {
            fit(cells[i].at, cells[i].len, COLUMN_MAX, &used);
            if (column + used < begin + k->width) {
                print_spaces(out, begin + k->width - used - column);
                column = begin + k->width - used;
            }
        }
        column += print_cell(out, &cells[i], COLUMN_MAX);
        begin += k->width + 2;
        used = column + 2 < begin ? begin - column : 2;
        print_spaces(out, used);
        column += used;
    }
    cmd_out_add(out, &table.end, 1);
}

static void print_titles(struct cmd_out *out) {
    struct cell titles[CMD_TABLE_COLUMNS_MAX];

    for (int i = 0; i < table.count; i++)
        titles[i] = make_cell(cmd_text(table.columns[i].title));
    cmd_out_color(out, CMD_DIM);
    print_row(out, titles);
    cmd_out_color(out, CMD_PLAIN);
    for (int i = 0; i < table.count; i++)
        free(titles[i].at);
}

/* Prints what was kept back. */
static void begin(struct cmd_out *out) {
    out->before_flush = NULL;
    table.is_begun = true;
    for (int r = 0; r < table.row_count; r++)
        for (int i = 0; i < table.count; i++) {
            unsigned used;

            fit(table.rows[r][i].at, table.rows[r][i].len, COLUMN_MAX, &used);
            if (used > table.columns[i].width)
                table.columns[i].width = used;
        }
    print_titles(out);
    for (int r = 0; r < table.row_count; r++) {
        print_row(out, table.rows[r]);
        for (int i = 0; i < table.count; i++)
            free(table.rows[r][i].at);
    }
    table.row_count = 0;
}

void cmd_table_row(struct cmd_out *out, const struct cmd_table_column *columns, int count,
                   const struct esdb_text *texts, char end) {
    struct cell *row = table.rows[table.row_count++];

    if (table.count == 0) {
        memcpy(table.columns, columns, (size_t)count * sizeof *columns);
        for (int i = 0; i < count; i++)
            if (strlen(columns[i].title) > table.columns[i].width)
                table.columns[i].width = (unsigned)strlen(columns[i].title);
        table.count = count;
        table.end = end;
        table.terminal = cmd_terminal_width();
        out->before_flush = begin;
    }
    for (int i = 0; i < count; i++)
        row[i] = make_cell(texts[i]);
    if (!table.is_begun) {
        if (table.row_count == KEPT_ROWS)
            begin(out);
        return;
    }
    print_row(out, row);
    for (int i = 0; i < count; i++)
        free(row[i].at);
    table.row_count = 0;
}
