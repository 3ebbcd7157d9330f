#include "backup_manifest.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/checksum.h"
#include "os.h"

#define SIZE_MAX_MANIFEST (64u << 20) /* half a million segments: 64 TiB of log */
#define LINE_MAX_MANIFEST 160

static const char no_memory[] = "no memory";
static const char newer[] = "is of a newer version of esdb-backup";

struct es_backup_segment *es_manifest_find(const struct es_backup_manifest *m, uint64_t name) {
    size_t low = 0, high = es_manifest_count(m);
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        struct es_backup_segment *s = es_manifest_segment(m, middle);
        if (s->name == name)
            return s;
        if (s->name < name)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

void es_manifest_release(struct es_backup_manifest *m) {
    es_buffer_release(&m->segments);
}

/* ---- writing ---- */

static int add_line(struct es_buffer *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
static int add_line(struct es_buffer *b, const char *format, ...) {
    char line[LINE_MAX_MANIFEST];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    return es_buffer_add(b, line, (size_t)n);
}

int es_manifest_print(const struct es_backup_manifest *m, struct es_buffer *out) {
    char id[37];
    es_uuid_print(m->store_id, id);
    int rc =
        add_line(out, "# A backup of an esdb store. Made by esdb-backup; do not edit.\nbackup: 1\nstore_id: %s\n", id);
    if (rc == 0)
        rc = add_line(out, "incarnation: 0x%" PRIx64 "\nmade_us: %" PRIu64 "\n", m->incarnation, m->made_us);
    if (rc == 0)
        rc = add_line(out, "end_index: %" PRIu64 "\nend_position: %" PRIu64 "\n", m->end_index, m->end_position);
    if (rc == 0)
        rc = add_line(out, "last_epoch_us: %" PRIu64 "\nend_checksum: 0x%" PRIx64 "\n", m->last_epoch_us,
                      m->end_checksum);
    for (size_t i = 0; rc == 0 && i < es_manifest_count(m); i++) {
        const struct es_backup_segment *s = es_manifest_segment(m, i);
        rc = add_line(out, "segment: %016" PRIx64 " %" PRIu64 " %016" PRIx64 " %016" PRIx64 " %" PRIu64 "\n", s->name,
                      s->size, s->digest, s->checksum, s->inode);
    }
    return rc == 0 ? add_line(out, "digest: %016" PRIx64 "\n", fmt_checksum(out->at, out->len)) : rc;
}

/* ---- reading ---- */

/* What es_manifest_print wrote has one line for each key, in its order, so that the text has one meaning only. */
static const char *parse_segment(const char *value, struct es_backup_manifest *m) {
    struct es_backup_segment s;
    int end = 0;
    size_t count = es_manifest_count(m);
    if (sscanf(value, "%16" SCNx64 " %" SCNu64 " %16" SCNx64 " %16" SCNx64 " %" SCNu64 "%n", &s.name, &s.size,
               &s.digest, &s.checksum, &s.inode, &end) != 5 ||
        value[end] != '\0')
        return "a segment's line cannot be read";
    if (count && s.name <= es_manifest_segment(m, count - 1)->name)
        return "segments are out of order";
    return es_buffer_add(&m->segments, &s, sizeof s) < 0 ? no_memory : NULL;
}

static const char *parse_line(const char *line, struct es_backup_manifest *m, unsigned *seen) {
    static const char *const keys[] = {"backup",       "store_id",      "incarnation",  "made_us", "end_index",
                                       "end_position", "last_epoch_us", "end_checksum", "segment"};
    uint64_t version = 1, *const fields[] = {&version,          NULL,
                                             &m->incarnation,   &m->made_us,
                                             &m->end_index,     &m->end_position,
                                             &m->last_epoch_us, &m->end_checksum};
    const char *value = strstr(line, ": ");
    size_t key = 0;
    if (line[0] == '#')
        return NULL;
    if (!value)
        return "a line cannot be read";
    while (key < 9 && (strlen(keys[key]) != (size_t)(value - line) || strncmp(keys[key], line, strlen(keys[key])) != 0))
        key++;
    value += 2;
    if (key == 9)
        return NULL; /* of a later version, and may be ignored */
    *seen |= 1u << key;
    if (key == 8)
        return parse_segment(value, m);
    if (key == 1)
        return es_uuid_parse(value, m->store_id) ? NULL : "the store's id cannot be read";
    char *end;
    errno = 0;
    *fields[key] = strtoull(value, &end, 0);
    if (value[0] < '0' || value[0] > '9' || errno || *end)
        return "a number cannot be read";
    return version != 1 ? newer : NULL;
}

const char *es_manifest_parse(const char *text, size_t len, struct es_backup_manifest *out) {
    static const char last[] = "digest: ";
    char line[LINE_MAX_MANIFEST];
    struct es_backup_manifest m = {0};
    const char *wrong = NULL;
    unsigned seen = 0;
    uint64_t digest = 0;
    bool whole = false;
    for (size_t at = 0; at < len && !wrong && !whole;) {
        const char *newline = memchr(text + at, '\n', len - at);
        size_t n = newline ? (size_t)(newline - (text + at)) : sizeof line;
        if (n >= sizeof line) {
            wrong = "a line cannot be read";
            break;
        }
        memcpy(line, text + at, n);
        line[n] = '\0';
        if (strncmp(line, last, sizeof last - 1) == 0)
            whole = sscanf(line + sizeof last - 1, "%16" SCNx64, &digest) == 1 && digest == fmt_checksum(text, at) &&
                    at + n + 1 == len;
        if (!whole)
            wrong = strncmp(line, last, sizeof last - 1) == 0 ? "its digest is wrong" : parse_line(line, &m, &seen);
        at += n + 1;
    }
    if (!wrong && (!whole || seen != 0x1ff))
        wrong = "is not whole";
    if (wrong)
        es_manifest_release(&m);
    else
        *out = m;
    return wrong;
}

int es_manifest_load(int dir, const char *path, struct es_backup_manifest *out, struct esdb_error *err) {
    struct stat st;
    int fd = es_openat_stat(dir, ES_BACKUP_MANIFEST, O_RDONLY, 0, &st);
    if (fd == -ENOENT)
        return es_fail(err, ESDB_EUSAGE, "%s: is not a backup (it has no " ES_BACKUP_MANIFEST ")", path);
    if (fd < 0)
        return es_fail_open(err, fd, path, ES_BACKUP_MANIFEST);
    size_t size = (uint64_t)st.st_size > SIZE_MAX_MANIFEST ? SIZE_MAX_MANIFEST : (size_t)st.st_size;
    char *text = malloc(size + 1);
    ssize_t n = text ? es_pread(fd, text, size, 0) : -ENOMEM;
    es_close(&fd);
    const char *wrong = n >= 0 ? es_manifest_parse(text, (size_t)n, out) : NULL;
    free(text);
    if (n < 0 || wrong == no_memory)
        return es_fail(err, n < 0 ? (int)n : -ENOMEM, "%s/" ES_BACKUP_MANIFEST, path);
    if (!wrong)
        return 0;
    return es_fail_at(err, wrong == newer ? ESDB_EUSAGE : ESDB_ECORRUPT, ES_BACKUP_MANIFEST, 0,
                      "%s/" ES_BACKUP_MANIFEST ": %s", path, wrong);
}
