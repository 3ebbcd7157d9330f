/* ingest.c: see ingest.h. */
#include "ingest.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cloudevents.h"
#include "format/base64.h"
#include "format/limits.h"
#include "format/utf8.h"

/* The text of one event: its data in base 64 is a third longer than the event may be. White space counts. */
#define EVENT_TEXT_MAX (FMT_EVENT_SIZE_MAX / 3 * 4 + (64u << 10))

static const struct esdb_text json_type = {"application/json", 16};

void cmd_ingest_init(struct cmd_ingest *g, int fd) {
    cmd_input_init(&g->in, fd);
}

void cmd_ingest_release(struct cmd_ingest *g) {
    cmd_input_release(&g->in);
    for (size_t i = 0; i < g->member_count; i++)
        free(g->members[i].json);
    free(g->members);
    free(g->room);
}

static bool equal(struct esdb_text a, struct esdb_text b) {
    return a.len == b.len && (a.len == 0 || memcmp(a.at, b.at, a.len) == 0);
}

__attribute__((format(printf, 3, 4))) static enum cmd_ingest_result bad(struct cmd_ingest *g, const char *at,
                                                                        const char *format, ...) {
    va_list args;

    g->bad.at = (size_t)(at - g->in.at);
    g->bad.syntax = false;
    va_start(args, format);
    vsnprintf(g->bad.text, sizeof g->bad.text, format, args);
    va_end(args);
    return CMD_INGEST_BAD;
}

static enum cmd_ingest_result bad_syntax(struct cmd_ingest *g, const char *at, const char *format, const char *what) {
    g->bad.at = (size_t)(at - g->in.at);
    g->bad.syntax = true;
    snprintf(g->bad.text, sizeof g->bad.text, format, what);
    return CMD_INGEST_BAD;
}

/* ---- room for what is changed: one event needs at most `size` bytes in all ---- */

static void make_room(struct cmd_ingest *g, size_t size) {
    g->room_len = 0;
    if (size <= g->room_size)
        return;
    free(g->room);
    g->room = cmd_grow(NULL, size + size / 4);
    g->room_size = size + size / 4;
}

static char *room_end(struct cmd_ingest *g) {
    return g->room + g->room_len;
}

/* The bytes behind room_end() are kept. */
static struct esdb_text keep(struct cmd_ingest *g, size_t len) {
    struct esdb_text text = {room_end(g), len};

    g->room_len += len;
    return text;
}

/* ---- metadata from the command line ---- */

const char *cmd_ingest_add_member(struct cmd_ingest *g, const char *text) {
    const char *equals = strchr(text, '=');
    size_t len = strlen(text), n = 0;
    struct esdb_text key;
    char *json;

    if (!equals || equals == text)
        return "must be KEY=VALUE";
    if (!fmt_utf8_valid(text, len, NULL))
        return "is not valid UTF-8";
    key = (struct esdb_text){text, (size_t)(equals - text)};
    for (size_t i = 0; i < g->member_count; i++)
        if (equal(g->members[i].key, key))
            return "names a key that was given before";
    json = cmd_alloc(6 * len + 8);
    json[n++] = '"';
    n += fmt_json_escape(key.at, key.len, json + n);
    memcpy(json + n, "\":\"", 3);
    n += 3;
    n += fmt_json_escape(equals + 1, len - key.len - 1, json + n);
    json[n++] = '"';
    g->members = cmd_grow(g->members, (g->member_count + 1) * sizeof *g->members);
    g->members[g->member_count++] = (struct cmd_member){key, json, n};
    return NULL;
}

static size_t members_size(const struct cmd_ingest *g) {
    size_t size = 2;

    for (size_t i = 0; i < g->member_count; i++)
        size += g->members[i].json_len + 1;
    return size;
}

/* The end of the string whose opening quote is at p. */
static const char *string_end(const char *p) {
    for (p++; *p != '"'; p++)
        if (*p == '\\')
            p++;
    return p + 1;
}

/* Has the object, valid JSON without white space, this key? */
static bool object_has(struct esdb_text object, struct esdb_text key) {
    const char *p = object.at + 1, *end = object.at + object.len;
    char *text = cmd_alloc(object.len);
    bool found = false;

    while (p < end && *p == '"' && !found) {
        struct fmt_json_value v = {p, (size_t)(string_end(p) - p), '"', false};
        size_t len;
        int depth = 0;

        found = fmt_json_unescape(&v, text, &len) == 0 && equal((struct esdb_text){text, len}, key);
        for (p += v.len; p < end; p++) {
            if (*p == '"') {
                p = string_end(p) - 1;
            } else if (*p == '{' || *p == '[') {
                depth++;
            } else if (*p == '}' || *p == ']') {
                depth--;
            } else if (*p == ',' && depth == 0) {
                p++;
                break;
            }
        }
    }
    free(text);
    return found;
}

/* Adds the members that the object does not have. `object` is the last thing kept, or absent. */
static struct esdb_text merge_members(struct cmd_ingest *g, struct esdb_text object) {
    char *start = object.at ? g->room + (object.at - g->room) : room_end(g), *p = start;
    size_t len = object.len;

    if (!object.at) {
        memcpy(p, "{}", 2);
        len = 2;
        g->room_len += 2;
    }
    p += len - 1; /* over the '}' */
    for (size_t i = 0; i < g->member_count; i++) {
        if (object.at && object_has(object, g->members[i].key))
            continue;
        if (p[-1] != '{')
            *p++ = ',';
        memcpy(p, g->members[i].json, g->members[i].json_len);
        p += g->members[i].json_len;
    }
    *p++ = '}';
    g->room_len = (size_t)(p - g->room);
    return (struct esdb_text){start, (size_t)(p - start)};
}

/* ---- an event from its envelope ---- */

/* The text of a key that holds a string. 0, or what is wrong. */
static const char *take_text(struct cmd_ingest *g, const struct fmt_json_value *v, struct esdb_text *out) {
    size_t len;

    if (v->kind != '"')
        return "must be a string";
    *out = (struct esdb_text){v->at + 1, v->len - 2};
    if (memchr(out->at, '\\', out->len)) {
        if (fmt_json_unescape(v, room_end(g), &len) != 0)
            return "has the escape of half a surrogate pair";
        *out = keep(g, len);
    }
    return out->len == 0 ? "is empty" : NULL;
}

static const char *take_base64(struct cmd_ingest *g, const struct fmt_json_value *v, struct esdb_text *out) {
    struct esdb_text text = {v->at, 0};
    const char *wrong = take_text(g, v, &text);
    size_t len;

    if (wrong && (v->kind != '"' || text.len > 0)) /* no bytes at all are fine */
        return wrong;
    if (fmt_base64_decode(text.at, text.len, room_end(g), &len, NULL) != 0)
        return "is not base 64 (RFC 4648, with padding)";
    *out = keep(g, len);
    return NULL;
}

static const char *take_time(const struct fmt_json_value *v, uint64_t *out) {
    char digits[24];

    if (v->kind != '0' || v->len >= sizeof digits)
        return "must be a positive integer";
    memcpy(digits, v->at, v->len);
    digits[v->len] = '\0';
    return cmd_parse_number(digits, out) && *out > 0 ? NULL : "must be a positive integer";
}

static struct esdb_text take_json(struct cmd_ingest *g, const struct fmt_json_value *v) {
    return v->has_space ? keep(g, fmt_json_strip(v, room_end(g))) : (struct esdb_text){v->at, v->len};
}

static const char *take_metadata(struct cmd_ingest *g, const struct fmt_json_value *v, struct esdb_text *out) {
    if (v->at && g->member_count > 0) {
        if (v->kind != '{')
            return "must be an object, because -m adds to it";
        *out = merge_members(g, keep(g, fmt_json_strip(v, room_end(g))));
    } else if (g->member_count > 0) {
        *out = merge_members(g, (struct esdb_text){NULL, 0});
    } else if (v->at) {
        *out = take_json(g, v);
    }
    return NULL;
}

/* JSON that came in base 64, as CloudEvents may have it. */
static const char *take_json_bytes(struct cmd_ingest *g, struct esdb_text *data) {
    struct fmt_json_error err;
    struct fmt_json_value v;

    if (fmt_json_scan(data->at, data->len, &v, &err) != FMT_JSON_OK)
        return "is not JSON, as datacontenttype says";
    *data = take_json(g, &v);
    return NULL;
}

/* Data and its content type. Sets *key to the one that is wrong. */
static const char *take_data(struct cmd_ingest *g, struct esdb_new_event *e, enum fmt_envelope_key *key) {
    const struct fmt_json_value *k = g->envelope.key;
    const char *wrong = NULL;

    *key = FMT_KEY_DATA_CONTENT_TYPE;
    if (k[*key].at && (wrong = take_text(g, &k[*key], &e->data_content_type)))
        return wrong;
    *key = FMT_KEY_DATA_BASE64;
    if (!k[*key].at) {
        if (k[FMT_KEY_DATA].at)
            e->data = take_json(g, &k[FMT_KEY_DATA]);
    } else {
        if (k[FMT_KEY_DATA].at)
            return "and data exclude each other";
        if (equal(e->data_content_type, json_type) && !g->is_cloudevent)
            return "with data_content_type application/json: give it as data";
        if ((wrong = take_base64(g, &k[*key], &e->data)))
            return wrong;
        e->binary = !equal(e->data_content_type, json_type);
        if (!e->binary && (wrong = take_json_bytes(g, &e->data)))
            return wrong;
        if (e->data_content_type.len == 0)
            e->data_content_type = cmd_text("application/octet-stream");
    }
    if (equal(e->data_content_type, json_type))
        e->data_content_type = (struct esdb_text){NULL, 0};
    return NULL;
}

/* The keys of the envelope but data and metadata. */
static const char *take_names(struct cmd_ingest *g, struct esdb_new_event *e, enum fmt_envelope_key *key) {
    const struct fmt_json_value *k = g->envelope.key;
    const char *wrong;

    *key = FMT_KEY_STREAM_ID;
    if (!k[*key].at)
        e->stream_id = g->stream_id;
    else if ((wrong = take_text(g, &k[*key], &e->stream_id)))
        return wrong;
    if (!e->stream_id.at)
        return "is missing, and no STREAM was given";
    if (g->stream_id.at && !equal(e->stream_id, g->stream_id))
        return "is not the STREAM that was given";
    *key = FMT_KEY_EVENT_TYPE;
    if (!k[*key].at)
        e->event_type = g->event_type;
    else if ((wrong = take_text(g, &k[*key], &e->event_type)))
        return wrong;
    if (!e->event_type.at)
        return "is missing, and no -t TYPE was given";
    *key = FMT_KEY_EVENT_ID;
    if (k[*key].at && (wrong = take_text(g, &k[*key], &e->event_id)))
        return wrong;
    *key = FMT_KEY_METADATA_CONTENT_TYPE;
    if (k[*key].at && (wrong = take_text(g, &k[*key], &e->metadata_content_type)))
        return wrong;
    if (equal(e->metadata_content_type, json_type))
        e->metadata_content_type = (struct esdb_text){NULL, 0};
    *key = FMT_KEY_EPOCH_US;
    if (g->preserve && k[*key].at)
        return take_time(&k[*key], &e->epoch_us);
    return NULL;
}

/* The name of a key in the input. */
static const char *key_name(const struct cmd_ingest *g, enum fmt_envelope_key key) {
    if (!g->is_cloudevent)
        return fmt_envelope_key_name(key);
    switch (key) {
    case FMT_KEY_EVENT_ID:
        return "id";
    case FMT_KEY_EVENT_TYPE:
        return "type";
    case FMT_KEY_STREAM_ID:
        return "subject";
    case FMT_KEY_DATA_CONTENT_TYPE:
        return "datacontenttype";
    case FMT_KEY_METADATA_CONTENT_TYPE:
        return "esdbmetadatatype";
    default:
        return fmt_envelope_key_name(key);
    }
}

/* Where a key's value stands. A translated one is somewhere else: then where the event begins. */
static const char *key_place(const struct cmd_ingest *g, enum fmt_envelope_key key) {
    const struct fmt_envelope *v = &g->envelope;

    return v->key[key].at && !g->is_cloudevent ? v->key[key].at : v->whole.at;
}

/* Is the object, which has unknown keys, a CloudEvent? Then it is translated. 0: it is none; 1; -1 after bad(). */
static int try_cloudevent(struct cmd_ingest *g) {
    struct fmt_json_value whole = {g->envelope.whole.at, g->envelope.whole.len, '{', true};
    struct cmd_cloudevent c;
    struct fmt_text object;
    char *room;

    if (!memmem(whole.at, whole.len, "\"specversion\"", 13))
        return 0;
    /* Without white space, translated, and then what take_envelope() needs for each of the two. */
    make_room(g, 4 * whole.len + 2 * CMD_CLOUDEVENTS_ROOM(whole.len) + members_size(g));
    object.at = room_end(g);
    object.len = keep(g, fmt_json_strip(&whole, room_end(g))).len;
    if (!cmd_cloudevents_is(object))
        return 0;
    room = room_end(g);
    keep(g, CMD_CLOUDEVENTS_ROOM(whole.len));
    if (!cmd_cloudevents_take(object, g->stream_id.at, g->ignore_unknown, room, &c)) {
        bad(g, whole.at, "CloudEvent: %s", c.wrong);
        return -1;
    }
    g->is_cloudevent = true;
    g->cloudevent_us = c.epoch_us;
    memcpy(g->envelope.key, c.key, sizeof g->envelope.key);
    return 1;
}

static enum cmd_ingest_result take_envelope(struct cmd_ingest *g, struct esdb_new_event *e) {
    const struct fmt_envelope *v = &g->envelope;
    enum fmt_envelope_key key;
    const char *wrong;
    int answer = 0;

    *e = (struct esdb_new_event){.system = g->system};
    g->is_cloudevent = false;
    if (v->unknown && (answer = try_cloudevent(g)) < 0)
        return CMD_INGEST_BAD;
    if (v->unknown && answer == 0 && !g->ignore_unknown)
        return bad(g, v->unknown - 1, "unknown key \"%.*s\" (--ignore-unknown lets it pass)",
                   (int)(v->unknown_len < 100 ? v->unknown_len : 100), v->unknown);
    if (!g->is_cloudevent)
        make_room(g, 2 * v->whole.len + members_size(g)); /* twice: base 64 may be unescaped, then decoded */
    wrong = take_names(g, e, &key);
    if (!wrong)
        wrong = take_data(g, e, &key);
    if (!wrong) {
        key = FMT_KEY_METADATA;
        wrong = take_metadata(g, &v->key[key], &e->metadata);
    }
    if (wrong)
        return bad(g, key_place(g, key), "%s%s %s", g->is_cloudevent ? "CloudEvent: " : "", key_name(g, key), wrong);
    if (g->is_cloudevent && g->preserve)
        e->epoch_us = g->cloudevent_us;
    return CMD_INGEST_EVENT;
}

static enum cmd_ingest_result next_json(struct cmd_ingest *g, struct esdb_new_event *e, bool paused) {
    struct cmd_input *in = &g->in;
    size_t len = in->end - in->begin, consumed;
    const char *at = in->at + in->begin;
    struct fmt_json_error err;

    /* A long event that comes in pieces is scanned again when twice as much is there, or nothing more comes for now;
     * and never before a brace that could end it. */
    if (g->scanned > 0 && !in->eof &&
        ((len < 2 * g->scanned && !paused) || !memchr(at + g->scanned, '}', len - g->scanned)))
        return len > EVENT_TEXT_MAX ? bad_syntax(g, at, "%s", "event larger than 16 MiB") : CMD_INGEST_MORE;
    switch (fmt_envelope_scan(at, len, in->eof, &consumed, &g->envelope, &err)) {
    case FMT_JSON_OK:
        g->scanned = 0;
        in->begin += consumed;
        g->event_at = (size_t)(g->envelope.whole.at - in->at);
        return take_envelope(g, e);
    case FMT_JSON_EMPTY:
        g->scanned = 0;
        in->begin = in->end;
        return in->eof ? CMD_INGEST_END : CMD_INGEST_MORE;
    case FMT_JSON_MORE:
        in->begin += consumed;
        g->scanned = len - consumed;
        return g->scanned > EVENT_TEXT_MAX ? bad_syntax(g, in->at + in->begin, "%s", "event larger than 16 MiB")
                                           : CMD_INGEST_MORE;
    default:
        return bad_syntax(g, at + err.offset, "invalid JSON: %s", err.what);
    }
}

/* ---- an event from its data alone ---- */

static enum cmd_ingest_result take_bytes(struct cmd_ingest *g, const char *at, size_t len, struct esdb_new_event *e) {
    bool is_json = equal(g->content_type, json_type);
    bool is_text = !g->content_type.at || (g->content_type.len > 5 && memcmp(g->content_type.at, "text/", 5) == 0);
    size_t wrong_at = 0;

    *e = (struct esdb_new_event){.stream_id = g->stream_id, .event_type = g->event_type};
    g->event_at = (size_t)(at - g->in.at);
    g->envelope = (struct fmt_envelope){0};
    g->is_cloudevent = false;
    if (len > FMT_EVENT_SIZE_MAX)
        return bad(g, at, "event larger than 16 MiB");
    make_room(g, (is_json ? len : 6 * len) + 2 + members_size(g));
    if (is_json) {
        struct fmt_json_error err;
        struct fmt_json_value v;

        if (fmt_json_scan(at, len, &v, &err) != FMT_JSON_OK)
            return bad(g, at + err.offset, "invalid JSON: %s", err.what);
        e->data = take_json(g, &v);
    } else {
        bool is_utf8 = (is_text || g->mode == CMD_INGEST_LINES) && fmt_utf8_valid(at, len, &wrong_at);

        if (g->mode == CMD_INGEST_LINES && !is_utf8)
            return bad(g, at + wrong_at, "invalid UTF-8");
        e->binary = !is_utf8;
        e->data_content_type = g->content_type.at ? g->content_type
                               : is_utf8          ? cmd_text("text/plain")
                                                  : cmd_text("application/octet-stream");
        if (e->binary) {
            e->data = (struct esdb_text){at, len};
        } else {
            char *p = room_end(g);
            size_t n = 1;

            p[0] = '"';
            n += fmt_json_escape(at, len, p + 1);
            p[n++] = '"';
            e->data = keep(g, n);
        }
    }
    if (g->member_count > 0)
        e->metadata = merge_members(g, (struct esdb_text){NULL, 0});
    return CMD_INGEST_EVENT;
}

static enum cmd_ingest_result next_line(struct cmd_ingest *g, struct esdb_new_event *e) {
    struct cmd_input *in = &g->in;
    const char *at = in->at + in->begin;
    size_t len = in->end - in->begin;
    const char *newline = memchr(at + g->scanned, '\n', len - g->scanned);

    if (!newline && !in->eof) {
        g->scanned = len;
        return len > FMT_EVENT_SIZE_MAX ? bad_syntax(g, at, "%s", "line larger than 16 MiB") : CMD_INGEST_MORE;
    }
    g->scanned = 0;
    if (len == 0)
        return CMD_INGEST_END;
    in->begin = newline ? (size_t)(newline + 1 - in->at) : in->end;
    return take_bytes(g, at, newline ? (size_t)(newline - at) : len, e);
}

static enum cmd_ingest_result next_raw(struct cmd_ingest *g, struct esdb_new_event *e) {
    struct cmd_input *in = &g->in;
    const char *at = in->at + in->begin;
    size_t len = in->end - in->begin;

    if (len > FMT_EVENT_SIZE_MAX)
        return bad(g, at, "event larger than 16 MiB");
    if (!in->eof)
        return CMD_INGEST_MORE;
    if (len == 0)
        return CMD_INGEST_END;
    in->begin = in->end;
    return take_bytes(g, at, len, e);
}

/* The source gives the event its id. */
static void take_source(struct cmd_ingest *g, struct esdb_new_event *e) {
    struct esdb_error err = {0};
    int rc = esdb_source_id(g->source, g->source_position, ++g->number, g->id, &err);

    if (rc < 0)
        exit(cmd_report(rc, &err)); /* no memory; nothing is written yet */
    e->event_id = (struct esdb_text){g->id, sizeof g->id - 1};
}

enum cmd_ingest_result cmd_ingest_next(struct cmd_ingest *g, struct esdb_new_event *e, bool paused) {
    struct cmd_input *in = &g->in;
    enum cmd_ingest_result answer;

    if (g->discarding) {
        const char *newline = memchr(in->at + in->begin, '\n', in->end - in->begin);

        in->begin = newline ? (size_t)(newline + 1 - in->at) : in->end;
        g->discarding = !newline;
        if (!newline)
            return in->eof ? CMD_INGEST_END : CMD_INGEST_MORE;
    }
    switch (g->mode) {
    case CMD_INGEST_JSON:
        answer = next_json(g, e, paused);
        break;
    case CMD_INGEST_LINES:
        answer = next_line(g, e);
        break;
    default:
        answer = next_raw(g, e);
    }
    if (answer == CMD_INGEST_EVENT && g->source.at)
        take_source(g, e);
    return answer;
}

/* ---- bad events ---- */

void cmd_ingest_refuse(struct cmd_ingest *g, const char *text) {
    const char *at = g->in.at + g->event_at;

    for (int i = 0; i < FMT_ENVELOPE_KEYS; i++) {
        enum fmt_envelope_key key = (enum fmt_envelope_key)i;
        const char *name = fmt_envelope_key_name(key);
        size_t len = strlen(name);

        if (!g->envelope.key[i].at || strncmp(text, name, len) != 0 || (text[len] != ' ' && text[len] != ':'))
            continue;
        if (g->is_cloudevent) {
            bad(g, at, "CloudEvent: %s%s", key_name(g, key), text + len);
            return;
        }
        at = g->envelope.key[i].at;
    }
    bad(g, at, "%s", text);
}

void cmd_ingest_report(struct cmd_ingest *g) {
    struct cmd_place place = cmd_input_place(&g->in, g->bad.at);

    cmd_message("line %llu, byte %llu: %s", (unsigned long long)place.line, (unsigned long long)place.byte,
                g->bad.text);
}

uint64_t cmd_ingest_lines_before(struct cmd_ingest *g) {
    size_t after = g->in.begin;
    uint64_t lines;

    if (!g->bad.syntax)
        g->in.begin = g->event_at;
    lines = cmd_input_lines(&g->in);
    g->in.begin = after;
    return lines;
}

void cmd_ingest_skip(struct cmd_ingest *g) {
    if (!g->bad.syntax)
        return;
    g->in.begin = g->bad.at;
    g->scanned = 0;
    g->discarding = true;
}
