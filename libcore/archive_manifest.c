#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "archive.h"
#include "format/json.h"
#include "format/json_path.h"

void es_archive_manifest_release(struct es_archive_manifest *m) {
    es_buffer_release(&m->erased);
}

static int add(struct es_buffer *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
static int add(struct es_buffer *b, const char *format, ...) {
    char text[512];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return es_buffer_add(b, text, (size_t)len);
}

int es_archive_manifest_print(const struct es_archive_manifest *m, struct es_buffer *out) {
    char id[37];
    es_uuid_print(m->store_id, id);
    int rc = add(out, "{\"archive\":1,\"stream_id\":\"");
    if (rc == 0)
        rc = es_buffer_reserve(out, 6 * m->stream_len);
    if (rc < 0)
        return rc;
    out->len += fmt_json_escape(m->stream, m->stream_len, (char *)out->at + out->len);
    rc = add(out, "\",\"from\":%" PRIu64 ",\"to\":%" PRIu64 ",\"count\":%" PRIu64, m->from, m->to, m->count);
    if (rc == 0)
        rc =
            add(out, ",\"first_position\":%" PRIu64 ",\"last_position\":%" PRIu64, m->first_position, m->last_position);
    if (rc == 0)
        rc =
            add(out, ",\"first_epoch_us\":%" PRIu64 ",\"last_epoch_us\":%" PRIu64, m->first_epoch_us, m->last_epoch_us);
    if (rc == 0)
        rc = add(out, ",\"store_id\":\"%s\",\"files\":[{\"name\":\"" ES_ARCHIVE_EVENTS "\",\"size\":%" PRIu64, id,
                 m->size);
    if (rc == 0)
        rc = add(out, ",\"xxh128\":\"%s\"}],\"erased\":[", m->digest);
    if (rc == 0)
        rc = es_buffer_add(out, m->erased.at, m->erased.len);
    return rc == 0 ? add(out, "]}\n") : rc;
}

/* ---- reading ---- */

static bool member(struct fmt_text object, const char *key, struct fmt_text *out) {
    return fmt_json_member(object, (struct fmt_text){key, strlen(key)}, out);
}

static bool number(struct fmt_text object, const char *key, uint64_t *out) {
    struct fmt_text v;
    uint64_t n = 0;
    if (!member(object, key, &v) || v.len == 0 || v.len > 20)
        return false;
    for (size_t i = 0; i < v.len; i++) {
        unsigned digit = (unsigned)(v.at[i] - '0');
        if (digit > 9 || n > (UINT64_MAX - digit) / 10)
            return false;
        n = n * 10 + digit;
    }
    *out = n;
    return true;
}

/* At most room - 1 bytes, and a NUL. */
static bool string(struct fmt_text object, const char *key, char *out, size_t room, size_t *len) {
    struct fmt_text v;
    if (!member(object, key, &v) || v.len < 2 || v.at[0] != '"')
        return false;
    *len = fmt_json_decode(v, out, room - 1);
    if (*len >= room)
        return false;
    out[*len] = '\0';
    return true;
}

static bool take_file(struct fmt_text all, struct es_archive_manifest *m) {
    struct fmt_text files, file;
    struct fmt_json_walk w;
    char name[32];
    size_t len;
    if (!member(all, "files", &files) || files.at[0] != '[')
        return false;
    fmt_json_walk_init(&w, files);
    return fmt_json_element(&w, &file) && string(file, "name", name, sizeof name, &len) &&
           strcmp(name, ES_ARCHIVE_EVENTS) == 0 && number(file, "size", &m->size) &&
           string(file, "xxh128", m->digest, sizeof m->digest, &len);
}

static const char *take(struct fmt_text all, struct es_archive_manifest *m) {
    char name[FMT_STREAM_NAME_MAX + 1], id[37];
    struct fmt_text erased;
    uint64_t version;
    size_t len;
    if (!number(all, "archive", &version))
        return "its manifest is none";
    if (version != 1)
        return "it is of a newer version of esdb-archive";
    if (!string(all, "stream_id", name, sizeof name, &m->stream_len) || !number(all, "from", &m->from) ||
        !number(all, "to", &m->to) || !number(all, "count", &m->count) ||
        !number(all, "first_position", &m->first_position) || !number(all, "last_position", &m->last_position) ||
        !number(all, "first_epoch_us", &m->first_epoch_us) || !number(all, "last_epoch_us", &m->last_epoch_us) ||
        !string(all, "store_id", id, sizeof id, &len) || !es_uuid_parse(id, m->store_id) || !take_file(all, m) ||
        !member(all, "erased", &erased) || erased.at[0] != '[')
        return "its manifest lacks something";
    memcpy(m->stream, name, m->stream_len);
    return es_buffer_add(&m->erased, erased.at + 1, erased.len - 2) < 0 ? "there is no memory for its manifest" : NULL;
}

const char *es_archive_manifest_parse(struct fmt_text text, struct es_archive_manifest *out) {
    struct fmt_json_value v;
    struct fmt_json_error wrong;
    struct es_buffer again = {0};
    if (text.len == 0 || text.at[text.len - 1] != '\n' || fmt_json_scan(text.at, text.len, &v, &wrong) != FMT_JSON_OK ||
        v.kind != '{' || v.has_space)
        return "its manifest is no JSON as esdb writes it";
    const char *bad = take((struct fmt_text){v.at, v.len}, out);
    if (!bad && es_archive_manifest_print(out, &again) < 0)
        bad = "there is no memory for its manifest";
    if (!bad && (again.len != text.len || memcmp(again.at, text.at, text.len) != 0))
        bad = "its manifest is not written as esdb writes it";
    es_buffer_release(&again);
    return bad;
}
