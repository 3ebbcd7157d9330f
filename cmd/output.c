/* output.c: how events are printed: --output json, data, table or cloudevents, --fields, -0, --color. See cmd.h. */
#include <stdlib.h>
#include <string.h>

#include "cloudevents.h"
#include "format/base64.h"
#include "format/json.h"
#include "internal.h"
#include "table.h"

const struct cmd_option cmd_color_options[] = {
    {0, "color", "WHEN", "auto (at a terminal, unless $NO_COLOR is set), always, never", CMD_OPT_COLOR},
    {0, NULL, NULL, NULL, 0},
};

const struct cmd_option cmd_output_options[] = {
    {0, "output", "FORMAT", "json (default), data (the data alone), table (columns), cloudevents", CMD_OPT_OUTPUT},
    {0, "fields", "NAMES", "only these, in this order, separated by commas, as event_type,data", CMD_OPT_FIELDS},
    {0, "jq", "PROGRAM", "print what this jq program makes of each event", CMD_OPT_JQ},
    {0, "jq-file", "FILE", "the same, with the program in this file", CMD_OPT_JQ_FILE},
    {0, "jq-timeout", "TIME", "processor time for a batch of events, as 500ms, 2s; default 1s", CMD_OPT_JQ_TIMEOUT},
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

static enum { JSON, DATA_ALONE, TABLE, CLOUDEVENTS } format = JSON;
static enum field fields[FIELDS];
static int field_count; /* 0: no --fields */
static char terminator = '\n';
static bool output_given;
static enum cmd_color_when color_when = CMD_COLOR_AUTO;

enum cmd_color_when cmd_color_when(void) {
    return color_when;
}

bool cmd_output_given(void) {
    return output_given || cmd_transform_wanted();
}

bool cmd_output_is_plain(void) {
    return format == JSON && field_count == 0;
}

bool cmd_output_is_json(void) {
    return cmd_output_is_plain() && !cmd_transform_wanted();
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

static void check_fields(void) {
    if (field_count > 0 && (format == DATA_ALONE || format == CLOUDEVENTS))
        cmd_usage_error("--fields goes with --output json or table");
}

bool cmd_output_option(const struct cmd_args *args, int id) {
    static const char *const formats[] = {"json", "data", "table", "cloudevents"};
    static const char *const whens[] = {"auto", "always", "never"};
    int i;

    if (cmd_transform_option(args, id))
        return true;
    output_given = output_given || id == CMD_OPT_OUTPUT || id == CMD_OPT_FIELDS || id == CMD_OPT_NULL;
    switch (id) {
    case CMD_OPT_OUTPUT:
        i = find_word(args->value, strlen(args->value), formats, 4);
        if (i < 0)
            cmd_usage_error("%s: '%s' is none of json, data, table, cloudevents", args->option, args->value);
        format = i;
        check_fields();
        return true;
    case CMD_OPT_COLOR:
        i = find_word(args->value, strlen(args->value), whens, 3);
        if (i < 0)
            cmd_usage_error("%s: '%s' is none of auto, always, never", args->option, args->value);
        color_when = (enum cmd_color_when)i;
        return true;
    case CMD_OPT_FIELDS:
        take_fields(args);
        check_fields();
        return true;
    case CMD_OPT_NULL:
        terminator = '\0';
        return true;
    default:
        return false;
    }
}

/* ---- pieces ---- */

void cmd_out_base64(struct cmd_out *out, struct esdb_text bytes) {
    const size_t piece = 48u << 10; /* a multiple of 3 */

    for (size_t at = 0, n; at < bytes.len; at += n) {
        n = bytes.len - at < piece ? bytes.len - at : piece;
        cmd_out_advance(out, fmt_base64_encode(bytes.at + at, n, cmd_out_reserve(out, fmt_base64_encoded_size(n))));
    }
}

/* ---- JSON lines ---- */

/* The usual line: every field, no colour, no terminal. */
static void print_line(struct cmd_out *out, const struct esdb_event *e) {
    static char *large; /* for a line that does not fit into the output buffer; kept */
    static size_t large_room;
    size_t room = esdb_event_json_room(e) + 1, len;

    if (room <= out->room) {
        char *at = cmd_out_reserve(out, room);

        len = esdb_event_json(e, at);
        at[len] = terminator;
        cmd_out_advance(out, len + 1);
        return;
    }
    if (room > large_room)
        large = cmd_grow(large, large_room = room);
    len = esdb_event_json(e, large);
    large[len] = terminator;
    cmd_out_add(out, large, len + 1);
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
        cmd_out_json(out, e->stream_id);
        break;
    case EVENT_ID:
        cmd_out_json(out, e->event_id);
        break;
    case EVENT_TYPE:
        cmd_out_json(out, e->event_type);
        break;
    case DATA_CONTENT_TYPE:
        cmd_out_json(out, e->data_content_type);
        break;
    case METADATA_CONTENT_TYPE:
        cmd_out_json(out, e->metadata_content_type);
        break;
    case DATA:
        cmd_out_stored_json(out, e->data);
        break;
    case METADATA:
        cmd_out_stored_json(out, e->metadata);
        break;
    default:
        cmd_out_add(out, "\"", 1);
        cmd_out_base64(out, e->data);
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
            cmd_out_stored_json(out, e->data); /* half a surrogate pair is no text */
        free(text);
    } else if (e->data.at) {
        cmd_out_stored_json(out, e->data);
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

/* At a terminal: aligned. */
static void print_aligned(struct cmd_out *out, const struct esdb_event *e, const enum field *list, int count,
                          struct esdb_text *texts) {
    static const unsigned usual[FIELDS] = {3, 9, 7, 36, 10, LOCAL_TIME, 20, 20, 16, 16, 20};
    struct cmd_table_column columns[FIELDS];

    for (int i = 0; i < count; i++) {
        enum field f = list[i];

        columns[i] =
            (struct cmd_table_column){f == EPOCH_US ? "time" : field_names[f], usual[f], f == POSITION || f == VERSION};
        if ((f == DATA || f == DATA_BASE64) && e->binary)
            texts[i] = cmd_text("(binary)");
        if (f == EPOCH_US && texts[i].len > LOCAL_TIME)
            texts[i].len = LOCAL_TIME;
    }
    cmd_table_row(out, columns, count, texts, terminator);
}

static void print_table(struct cmd_out *out, const struct esdb_event *e) {
    const enum field *list = field_count > 0 ? fields : table_fields;
    int count = field_count > 0 ? field_count : (int)(sizeof table_fields / sizeof *table_fields);
    char room[FIELDS][CMD_TIME_ROOM];
    struct esdb_text texts[FIELDS];

    for (int i = 0; i < count; i++)
        texts[i] = cell(e, list[i], room[i]);
    if (out->terminal) {
        for (int i = 0; i < count; i++)
            if (list[i] == EPOCH_US && texts[i].len > LOCAL_TIME)
                room[i][10] = ' '; /* for eyes; --since takes it like that too */
        print_aligned(out, e, list, count, texts);
        return;
    }
    for (int i = 0; i < count; i++) {
        if (i > 0)
            cmd_out_add(out, "\t", 1);
        if ((list[i] == DATA || list[i] == DATA_BASE64) && e->binary)
            cmd_out_base64(out, e->data);
        else
            cmd_out_add(out, texts[i].at ? texts[i].at : "", texts[i].len);
    }
    cmd_out_add(out, &terminator, 1);
}

static void print_cloudevent(struct cmd_out *out, const struct esdb_event *e) {
    cmd_cloudevents_print(out, e);
    cmd_out_add(out, &terminator, 1);
}

void cmd_print_lines(struct cmd_out *out, struct esdb_text lines) {
    const char *end = lines.at + lines.len;

    if (terminator == '\n' && !out->terminal) {
        cmd_out_add(out, lines.at, lines.len);
        return;
    }
    for (const char *at = lines.at, *next; at < end; at = next + 1) {
        next = memchr(at, '\n', (size_t)(end - at));
        cmd_out_stored_json(out, (struct esdb_text){at, (size_t)(next - at)});
        cmd_out_add(out, &terminator, 1);
    }
}

void cmd_print_event(struct cmd_out *out, const struct esdb_event *e) {
    if (cmd_transform_wanted())
        cmd_transform_event(out, e);
    else if (format == DATA_ALONE)
        print_data(out, e);
    else if (format == TABLE)
        print_table(out, e);
    else if (format == CLOUDEVENTS)
        print_cloudevent(out, e);
    else if (field_count > 0 || out->terminal || out->color)
        print_fields(out, e);
    else
        print_line(out, e);
}
