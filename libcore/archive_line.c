/* archive_line.c: see archive.h. The line is read with the scanner that reads events to be appended; then the event is
 * written again, and must give the same bytes: so a line has one meaning, and nothing in it is lost. */
#include "archive.h"
#include "format/base64.h"
#include "format/json.h"

static bool take_number(const struct fmt_json_value *v, uint64_t *out) {
    uint64_t n = 0;
    if (!v->at || v->kind != '0' || v->len > 20)
        return false;
    for (size_t i = 0; i < v->len; i++) {
        unsigned digit = (unsigned)(v->at[i] - '0');
        if (digit > 9 || n > (UINT64_MAX - digit) / 10)
            return false;
        n = n * 10 + digit;
    }
    *out = n;
    return true;
}

/* Of a string; an absent one is empty. There is room. */
static bool take_text(const struct fmt_json_value *v, struct es_buffer *room, struct esdb_text *out) {
    size_t len;
    *out = (struct esdb_text){0};
    if (!v->at)
        return true;
    if (v->kind != '"')
        return false;
    *out = (struct esdb_text){v->at + 1, v->len - 2};
    if (!memchr(out->at, '\\', out->len))
        return true;
    if (fmt_json_unescape(v, (char *)room->at + room->len, &len) != 0)
        return false;
    *out = (struct esdb_text){(const char *)room->at + room->len, len};
    room->len += len;
    return true;
}

static bool take_data(const struct fmt_json_value *k, struct es_buffer *room, struct esdb_event *e) {
    const struct fmt_json_value *coded = &k[FMT_KEY_DATA_BASE64];
    size_t len;
    if (k[FMT_KEY_METADATA].at)
        e->metadata = (struct esdb_text){k[FMT_KEY_METADATA].at, k[FMT_KEY_METADATA].len};
    if (!coded->at) {
        if (k[FMT_KEY_DATA].at)
            e->data = (struct esdb_text){k[FMT_KEY_DATA].at, k[FMT_KEY_DATA].len};
        return true;
    }
    if (k[FMT_KEY_DATA].at || coded->kind != '"' ||
        fmt_base64_decode(coded->at + 1, coded->len - 2, room->at + room->len, &len, NULL) != 0)
        return false;
    e->data = (struct esdb_text){(const char *)room->at + room->len, len};
    e->binary = true;
    room->len += len;
    return true;
}

static bool is_named(const struct esdb_event *e) {
    return e->stream_id.len > 0 && e->stream_id.len <= FMT_STREAM_NAME_MAX && e->event_type.len > 0 &&
           e->event_type.len <= FMT_EVENT_TYPE_MAX && e->event_id.len > 0 && e->event_id.len <= FMT_EVENT_ID_MAX &&
           e->data_content_type.len <= FMT_CONTENT_TYPE_MAX && e->metadata_content_type.len <= FMT_CONTENT_TYPE_MAX;
}

const char *es_archive_line(struct fmt_text line, struct es_buffer *room, struct esdb_event *out) {
    struct fmt_envelope v;
    struct fmt_json_error wrong;
    struct esdb_event e = {0};
    size_t used;
    room->len = 0;
    if (fmt_envelope_scan(line.at, line.len, true, &used, &v, &wrong) != FMT_JSON_OK || used != line.len || v.unknown)
        return "a line is no event";
    if (es_buffer_reserve(room, 2 * line.len + 64) < 0)
        return "there is no memory for an event";
    const struct fmt_json_value *k = v.key;
    if (!take_number(&k[FMT_KEY_POSITION], &e.position) || !take_number(&k[FMT_KEY_VERSION], &e.version) ||
        !take_number(&k[FMT_KEY_EPOCH_US], &e.epoch_us) || !take_text(&k[FMT_KEY_STREAM_ID], room, &e.stream_id) ||
        !take_text(&k[FMT_KEY_EVENT_TYPE], room, &e.event_type) ||
        !take_text(&k[FMT_KEY_EVENT_ID], room, &e.event_id) ||
        !take_text(&k[FMT_KEY_DATA_CONTENT_TYPE], room, &e.data_content_type) ||
        !take_text(&k[FMT_KEY_METADATA_CONTENT_TYPE], room, &e.metadata_content_type) || !take_data(k, room, &e) ||
        !is_named(&e))
        return "a line is no event as esdb writes it";
    /* What points into the room stays: nothing is moved from here on. */
    size_t again = esdb_event_json_room(&e);
    struct es_buffer text = {0};
    if (es_buffer_reserve(&text, again) < 0)
        return "there is no memory for an event";
    bool same = esdb_event_json(&e, (char *)text.at) == line.len && memcmp(text.at, line.at, line.len) == 0;
    es_buffer_release(&text);
    if (!same)
        return "a line is not written as esdb writes it";
    *out = e;
    return NULL;
}
