/* output.c: how events are printed: --output json, data or table, --fields, -0, --color. See cmd.h. */
#include <stdlib.h>
#include <string.h>

#include "format/base64.h"
#include "format/json.h"
#include "format/utf8.h"
#include "internal.h"

const struct cmd_option cmd_color_options[] = {
    {0, "color", "WHEN", "auto (at a terminal, unless $NO_COLOR is set), always, never", CMD_OPT_COLOR},
    {0, NULL, NULL, NULL, 0},
};

const struct cmd_option cmd_output_options[] = {
    {0, "output", "FORMAT", "json (default), data (the data alone), table (columns)", CMD_OPT_OUTPUT},
    {0, "fields", "NAMES", "only these, in this order, separated by commas, as event_type,data", CMD_OPT_FIELDS},
    {'0', "null", NULL, "end each item with a NUL character instead of a newline", CMD_OPT_NULL},
    {0, "color", "WHEN", "auto (at a terminal, unless $NO_COLOR is set), always, never", CMD_OPT_COLOR},
    {0, NULL, NULL, NULL, 0},
};

enum field {
    POSITION,
    STREAM_ID,
    VERSION,
    EVENT_ID,
    EVENT_TYPE,
    EPOCH_US,
    DATA,
    METADATA,
    DATA_CONTENT_TYPE,
    METADATA_CONTENT_TYPE,
    DATA_BASE64,
    FIELDS,
};

/* In the order in which JSON lines have them. DATA stands for data_base64 too. */
static const char *const field_names[FIELDS] = {
    "position",    "stream_id", "version",  "event_id",          "event_type",
    "epoch_us",    "data",      "metadata", "data_content_type", "metadata_content_type",
    "data_base64",
};

static enum { JSON, DATA_ALONE, TABLE } format = JSON;
static enum field fields[FIELDS];
static int field_count; /* 0: no --fields */
static char terminator = '\n';
static bool output_given;
static enum cmd_color_when color_when = CMD_COLOR_AUTO;

enum cmd_color_when cmd_color_when(void) {
    return color_when;
}

bool cmd_output_given(void) {
    return output_given;
}

bool cmd_output_is_json(void) {
    return format == JSON && field_count == 0;
}

/* ---- options ---- */

static int find_word(const char *text, size_t len, const char *const *words, int count) {
    for (int i = 0; i < count; i++)
        if (strlen(words[i]) == len && memcmp(text, words[i], len) == 0)
            return i;
    return -1;
}

static void take_fields(const struct cmd_args *args) {
    bool used[FIELDS] = {false};

    field_count = 0;
    for (const char *at = args->value;; at++) {
        size_t len = strcspn(at, ",");
        int f = find_word(at, len, field_names, FIELDS);

        if (f < 0)
            cmd_usage_error("%s: there is no field '%.*s'", args->option, (int)len, at);
        if (used[f])
            cmd_usage_error("%s: %s stands there twice", args->option, field_names[f]);
        used[f] = true;
        fields[field_count++] = (enum field)f;
        at += len;
        if (*at == '\0')
            return;
    }
}

bool cmd_output_option(const struct cmd_args *args, int id) {
    static const char *const formats[] = {"json", "data", "table"};
    static const char *const whens[] = {"auto", "always", "never"};
    int i;

    output_given = output_given || id == CMD_OPT_OUTPUT || id == CMD_OPT_FIELDS || id == CMD_OPT_NULL;
    switch (id) {
    case CMD_OPT_OUTPUT:
        i = find_word(args->value, strlen(args->value), formats, 3);
        if (i < 0)
            cmd_usage_error("%s: '%s' is none of json, data, table", args->option, args->value);
        format = i;
        return true;
    case CMD_OPT_COLOR:
        i = find_word(args->value, strlen(args->value), whens, 3);
        if (i < 0)
            cmd_usage_error("%s: '%s' is none of auto, always, never", args->option, args->value);
        color_when = (enum cmd_color_when)i;
        return true;
    case CMD_OPT_FIELDS:
        take_fields(args);
        return true;
    case CMD_OPT_NULL:
        terminator = '\0';
        return true;
    default:
        return false;
    }
}

/* ---- pieces ---- */

static void add_base64(struct cmd_out *out, struct esdb_text bytes) {
    const size_t piece = 48u << 10; /* a multiple of 3 */

    for (size_t at = 0, n; at < bytes.len; at += n) {
        n = bytes.len - at < piece ? bytes.len - at : piece;
        cmd_out_advance(out, fmt_base64_encode(bytes.at + at, n, cmd_out_reserve(out, fmt_base64_encoded_size(n))));
    }
}

/* JSON as it is stored. A terminal gets DEL and the C1 control characters, which JSON allows, as escapes. */
static void add_json(struct cmd_out *out, struct esdb_text json) {
    static const char hex[] = "0123456789abcdef";
    size_t done = 0;

    if (!out->terminal) {
        cmd_out_add(out, json.at, json.len);
        return;
    }
    for (size_t i = 0; i < json.len; i++) {
        unsigned char c = (unsigned char)json.at[i];
        bool is_c1 = c == 0xc2 && i + 1 < json.len && (unsigned char)json.at[i + 1] < 0xa0;

        if (c != 0x7f && !is_c1)
            continue;
        cmd_out_add(out, json.at + done, i - done);
        i += is_c1;
        c = (unsigned char)json.at[i];

        char escape[] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};

        cmd_out_add(out, escape, sizeof escape);
        done = i + 1;
    }
    cmd_out_add(out, json.at + done, json.len - done);
}

/* ---- JSON lines ---- */

#define PUT(literal) (memcpy(p, literal, sizeof(literal) - 1), p += sizeof(literal) - 1)

static inline char *put_string(char *p, struct esdb_text text) {
    return p + fmt_json_escape(text.at, text.len, p);
}

#define LINE_TEXT_MAX 8192u                                  /* a longer value is not copied in place */
#define LINE_ROOM (6 * (3 * 255u) + 200 + 2 * LINE_TEXT_MAX) /* names at their longest, all escaped; two values */

/* The text of a value: in place while there is room for it, else through the buffer. */
static char *put_text(struct cmd_out *out, char **start, char *p, struct esdb_text text) {
    if (text.len <= LINE_TEXT_MAX) {
        memcpy(p, text.at, text.len);
        return p + text.len;
    }
    cmd_out_advance(out, (size_t)(p - *start));
    cmd_out_add(out, text.at, text.len);
    return *start = cmd_out_reserve(out, LINE_ROOM);
}

static char *put_base64(struct cmd_out *out, char **start, char *p, struct esdb_text text) {
    cmd_out_advance(out, (size_t)(p - *start));
    add_base64(out, text);
    return *start = cmd_out_reserve(out, LINE_ROOM);
}

/* The usual line: every field, no colour, no terminal. */
static void print_line(struct cmd_out *out, const struct esdb_event *e) {
    char *start = cmd_out_reserve(out, LINE_ROOM), *p = start;

    PUT("{\"position\":");
    p += cmd_put_number(p, e->position);
    PUT(",\"stream_id\":\"");
    p = put_string(p, e->stream_id);
    PUT("\",\"version\":");
    p += cmd_put_number(p, e->version);
    PUT(",\"event_id\":\"");
    p = put_string(p, e->event_id);
    PUT("\",\"event_type\":\"");
    p = put_string(p, e->event_type);
    PUT("\",\"epoch_us\":");
    p += cmd_put_number(p, e->epoch_us);
    if (e->data.at && e->binary) {
        PUT(",\"data_base64\":\"");
        p = put_base64(out, &start, p, e->data);
        *p++ = '"';
    } else if (e->data.at) {
        PUT(",\"data\":");
        p = put_text(out, &start, p, e->data);
    }
    if (e->metadata.at) {
        PUT(",\"metadata\":");
        p = put_text(out, &start, p, e->metadata);
    }
    cmd_out_advance(out, (size_t)(p - start));
    if (e->data_content_type.len > 0) {
        cmd_out_text(out, ",\"data_content_type\":");
        cmd_out_json(out, e->data_content_type);
    }
    if (e->metadata_content_type.len > 0) {
        cmd_out_text(out, ",\"metadata_content_type\":");
        cmd_out_json(out, e->metadata_content_type);
    }
    p = cmd_out_reserve(out, 2);
    p[0] = '}';
    p[1] = terminator;
    cmd_out_advance(out, 2);
}

static void put_json_string(struct cmd_out *out, struct esdb_text text) {
    cmd_out_add(out, "\"", 1);
    for (size_t at = 0, n; at < text.len; at += n) {
        char escaped[6 * 512];
        size_t len;

        n = text.len - at < 512 ? text.len - at : 512; /* names are shorter: no character is cut */
        len = fmt_json_escape(text.at + at, n, escaped);
        add_json(out, (struct esdb_text){escaped, len});
    }
    cmd_out_add(out, "\"", 1);
}

/* Is there something to print for f? */
static bool has_field(const struct esdb_event *e, enum field f) {
    switch (f) {
    case DATA:
        return e->data.at && !e->binary;
    case DATA_BASE64:
        return e->data.at && e->binary;
    case METADATA:
        return e->metadata.at;
    case DATA_CONTENT_TYPE:
        return e->data_content_type.len > 0;
    case METADATA_CONTENT_TYPE:
        return e->metadata_content_type.len > 0;
    default:
        return true;
    }
}

static void print_value(struct cmd_out *out, const struct esdb_event *e, enum field f) {
    switch (f) {
    case POSITION:
        cmd_out_number(out, e->position);
        break;
    case VERSION:
        cmd_out_number(out, e->version);
        break;
    case EPOCH_US:
        cmd_out_number(out, e->epoch_us);
        break;
    case STREAM_ID:
        put_json_string(out, e->stream_id);
        break;
    case EVENT_ID:
        put_json_string(out, e->event_id);
        break;
    case EVENT_TYPE:
        put_json_string(out, e->event_type);
        break;
    case DATA_CONTENT_TYPE:
        put_json_string(out, e->data_content_type);
        break;
    case METADATA_CONTENT_TYPE:
        put_json_string(out, e->metadata_content_type);
        break;
    case DATA:
        add_json(out, e->data);
        break;
    case METADATA:
        add_json(out, e->metadata);
        break;
    default:
        cmd_out_add(out, "\"", 1);
        add_base64(out, e->data);
        cmd_out_add(out, "\"", 1);
    }
}

/* Any line: chosen fields, colour, a terminal. */
static void print_fields(struct cmd_out *out, const struct esdb_event *e) {
    static const enum field all[] = {POSITION, STREAM_ID,   VERSION,  EVENT_ID,          EVENT_TYPE,           EPOCH_US,
                                     DATA,     DATA_BASE64, METADATA, DATA_CONTENT_TYPE, METADATA_CONTENT_TYPE};
    const enum field *list = field_count > 0 ? fields : all;
    int count = field_count > 0 ? field_count : (int)(sizeof all / sizeof *all);
    const char *separator = "{";

    for (int i = 0; i < count; i++) {
        enum field f = list[i];

        /* Binary data is data all the same: --fields data prints it under its own key. */
        if (field_count > 0 && f == DATA && has_field(e, DATA_BASE64))
            f = DATA_BASE64;
        if (!has_field(e, f))
            continue;
        cmd_out_text(out, separator);
        separator = ",";
        cmd_out_color(out, CMD_KEY);
        cmd_out_printf(out, "\"%s\"", field_names[f]);
        cmd_out_color(out, CMD_PLAIN);
        cmd_out_text(out, ":");
        print_value(out, e, f);
    }
    cmd_out_text(out, *separator == '{' ? "{}" : "}");
    cmd_out_add(out, &terminator, 1);
}

/* ---- the data alone ---- */

static void print_data(struct cmd_out *out, const struct esdb_event *e) {
    bool is_text = e->data_content_type.len > 5 && memcmp(e->data_content_type.at, "text/", 5) == 0;

    if (e->binary) {
        cmd_out_plain(out, e->data);
    } else if (e->data.at && is_text && e->data.at[0] == '"') {
        struct fmt_json_value v = {e->data.at, e->data.len, '"', false};
        char *text = cmd_grow(NULL, e->data.len);
        size_t len;

        if (fmt_json_unescape(&v, text, &len) == 0)
            cmd_out_plain(out, (struct esdb_text){text, len});
        else
            add_json(out, e->data); /* half a surrogate pair is no text */
        free(text);
    } else if (e->data.at) {
        add_json(out, e->data);
    }
    cmd_out_add(out, &terminator, 1);
}

/* ---- table ---- */

#define LOCAL_TIME 26u /* a terminal's columns are dear: the time without its zone, which is the reader's own */

static const enum field table_fields[] = {POSITION, EPOCH_US, STREAM_ID, VERSION, EVENT_TYPE, DATA};

/* What stands in a column; `room` is for the ones that are made here. */
static struct esdb_text cell(const struct esdb_event *e, enum field f, char room[CMD_TIME_ROOM]) {
    switch (f) {
    case POSITION:
        return (struct esdb_text){room, cmd_put_number(room, e->position)};
    case VERSION:
        return (struct esdb_text){room, cmd_put_number(room, e->version)};
    case EPOCH_US:
        return (struct esdb_text){room, cmd_put_time(room, e->epoch_us)};
    case STREAM_ID:
        return e->stream_id;
    case EVENT_ID:
        return e->event_id;
    case EVENT_TYPE:
        return e->event_type;
    case METADATA:
        return e->metadata;
    case DATA_CONTENT_TYPE:
        return e->data_content_type;
    case METADATA_CONTENT_TYPE:
        return e->metadata_content_type;
    default:
        return e->binary ? (struct esdb_text){NULL, 0} : e->data;
    }
}

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

static bool is_number(enum field f) {
    return f == POSITION || f == VERSION;
}

/* One row at a terminal: columns grow with what they hold; the last one is cut at the right margin. */
static void print_row(struct cmd_out *out, const enum field *list, int count, const struct esdb_text *texts,
                      unsigned *widths, unsigned terminal) {
    unsigned column = 0;

    for (int i = 0; i < count; i++) {
        bool is_last = i == count - 1;
        unsigned left = terminal > column ? terminal - column : 0, used;
        char shown[4 * 1024];
        size_t raw = texts[i].len < 1024 ? texts[i].len : 1024;
        size_t len = cmd_make_visible(texts[i].at, raw, "", shown);
        size_t bytes = fit(shown, len, is_last ? left : 64, &used);
        bool is_cut = bytes < len || raw < texts[i].len;

        if (is_last && is_cut && left > 0)
            bytes = fit(shown, len, left - 1, &used);
        if (!is_last && used > widths[i])
            widths[i] = used;
        if (is_number(list[i]))
            cmd_out_printf(out, "%*s", (int)(widths[i] - used), "");
        cmd_out_add(out, shown, bytes);
        if (is_last)
            cmd_out_text(out, is_cut && left > 0 ? "\u2026" : "");
        else
            cmd_out_printf(out, "%*s", is_number(list[i]) ? 2 : (int)(widths[i] - used) + 2, "");
        column += widths[i] + 2;
    }
    cmd_out_add(out, &terminator, 1);
}

static void print_table(struct cmd_out *out, const struct esdb_event *e) {
    static unsigned widths[FIELDS], terminal;
    const enum field *list = field_count > 0 ? fields : table_fields;
    int count = field_count > 0 ? field_count : (int)(sizeof table_fields / sizeof *table_fields);
    char room[FIELDS][CMD_TIME_ROOM];
    struct esdb_text texts[FIELDS];

    if (out->terminal && terminal == 0) {
        static const unsigned usual[FIELDS] = {8, 9, 7, 36, 10, LOCAL_TIME, 20, 20, 16, 16, 20};

        for (int i = 0; i < count; i++) {
            widths[i] = usual[list[i]];
            texts[i] = cmd_text(list[i] == EPOCH_US ? "time" : field_names[list[i]]);
        }
        terminal = cmd_terminal_width();
        cmd_out_color(out, CMD_DIM);
        print_row(out, list, count, texts, widths, terminal);
        cmd_out_color(out, CMD_PLAIN);
    }
    for (int i = 0; i < count; i++) {
        texts[i] = cell(e, list[i], room[i]);
        if ((list[i] == DATA || list[i] == DATA_BASE64) && e->binary && out->terminal)
            texts[i] = cmd_text("(binary)");
        if (list[i] == EPOCH_US && out->terminal && texts[i].len > LOCAL_TIME)
            texts[i].len = LOCAL_TIME;
    }
    if (out->terminal) {
        print_row(out, list, count, texts, widths, terminal);
        return;
    }
    for (int i = 0; i < count; i++) {
        if (i > 0)
            cmd_out_add(out, "\t", 1);
        if ((list[i] == DATA || list[i] == DATA_BASE64) && e->binary)
            add_base64(out, e->data);
        else
            cmd_out_add(out, texts[i].at ? texts[i].at : "", texts[i].len);
    }
    cmd_out_add(out, &terminator, 1);
}

void cmd_print_event(struct cmd_out *out, const struct esdb_event *e) {
    if (format == DATA_ALONE)
        print_data(out, e);
    else if (format == TABLE)
        print_table(out, e);
    else if (field_count > 0 || out->terminal || out->color)
        print_fields(out, e);
    else
        print_line(out, e);
}
