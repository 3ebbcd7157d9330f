#include "settings.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "error.h"
#include "format/limits.h"
#include "os.h"

#define STORE_YAML "store.yaml"

void es_uuid_print(const unsigned char id[16], char out[37]) {
    static const char digits[] = "0123456789abcdef";
    size_t n = 0;
    for (int i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            out[n++] = '-';
        out[n++] = digits[id[i] >> 4];
        out[n++] = digits[id[i] & 15];
    }
    out[n] = '\0';
}

bool es_uuid_parse(const char *text, unsigned char out[16]) {
    unsigned char id[16] = {0};
    if (strlen(text) != 36)
        return false;
    for (int at = 0, digit = 0; at < 36; at++) {
        char c = text[at];
        if (at == 8 || at == 13 || at == 18 || at == 23) {
            if (c != '-')
                return false;
            continue;
        }
        int v = c >= '0' && c <= '9'   ? c - '0'
                : c >= 'a' && c <= 'f' ? c - 'a' + 10
                : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                       : -1;
        if (v < 0)
            return false;
        id[digit / 2] = (unsigned char)(id[digit / 2] << 4 | v);
        digit++;
    }
    memcpy(out, id, sizeof id);
    return true;
}

size_t es_settings_print(const struct es_settings *s, char *out, size_t room) {
    char id[37];
    es_uuid_print(s->user.store_id, id);
    int n = snprintf(out, room,
                     "# An esdb store. Made by esdb-init; do not edit while the store is in use.\n"
                     "format: %u\n"
                     "features_optional: 0x%llx\n"
                     "features_required: 0x%llx\n"
                     "store_id: %s\n"
                     "incarnation: 0x%llx\n"
                     "created_us: %llu\n"
                     "segment_size: %llu\n"
                     "durability: %s\n"
                     "shared: %s\n"
                     "%s%s",
                     s->version, (unsigned long long)s->features_optional, (unsigned long long)s->features_required, id,
                     (unsigned long long)s->incarnation, (unsigned long long)s->created_us,
                     (unsigned long long)s->user.segment_size,
                     s->user.durability == ESDB_NOT_DURABLE ? "none" : "fsync", s->user.shared_group ? "group" : "no",
                     s->replicated ? "replicated: yes\n" : "", s->backup ? "backup: yes\n" : "");
    return n < 0 || (size_t)n >= room ? 0 : (size_t)n;
}

static bool parse_number(const char *text, uint64_t *out) {
    char *end;
    if (*text < '0' || *text > '9')
        return false;
    errno = 0;
    *out = strtoull(text, &end, 0);
    return errno == 0 && *end == '\0';
}

/* One pair of the top mapping. Unknown keys are ignored: what must be understood is said by features_required. */
static bool set(struct es_settings *s, const char *key, const char *value) {
    uint64_t n = 0;
    bool number = parse_number(value, &n);
    if (strcmp(key, "format") == 0)
        s->version = n > UINT32_MAX ? UINT32_MAX : (uint32_t)n;
    else if (strcmp(key, "features_optional") == 0)
        s->features_optional = n;
    else if (strcmp(key, "features_required") == 0)
        s->features_required = n;
    else if (strcmp(key, "incarnation") == 0)
        s->incarnation = n;
    else if (strcmp(key, "created_us") == 0)
        s->created_us = n;
    else if (strcmp(key, "segment_size") == 0)
        s->user.segment_size = n;
    else if (strcmp(key, "store_id") == 0)
        return es_uuid_parse(value, s->user.store_id);
    else if (strcmp(key, "durability") == 0) {
        s->user.durability = strcmp(value, "none") == 0 ? ESDB_NOT_DURABLE : ESDB_DURABLE;
        return strcmp(value, "none") == 0 || strcmp(value, "fsync") == 0;
    } else if (strcmp(key, "shared") == 0) {
        s->user.shared_group = strcmp(value, "group") == 0;
        return strcmp(value, "group") == 0 || strcmp(value, "no") == 0;
    } else if (strcmp(key, "replicated") == 0) {
        s->replicated = strcmp(value, "yes") == 0;
        return strcmp(value, "yes") == 0 || strcmp(value, "no") == 0;
    } else if (strcmp(key, "backup") == 0) {
        s->backup = strcmp(value, "yes") == 0;
        return strcmp(value, "yes") == 0 || strcmp(value, "no") == 0;
    } else
        return true;
    return number;
}

static const char no_memory[] = "no memory";

/* The events of one flat mapping of scalars. Returns NULL or what is wrong. */
static const char *parse(yaml_parser_t *parser, struct es_settings *s, size_t *line) {
    char key[64] = "";
    int depth = 0;
    for (bool done = false; !done;) {
        yaml_event_t e;
        *line = parser->mark.line + 1;
        if (!yaml_parser_parse(parser, &e))
            return parser->error == YAML_MEMORY_ERROR ? no_memory : "not YAML";
        const char *wrong = NULL;
        *line = e.start_mark.line + 1;
        switch (e.type) {
        case YAML_MAPPING_START_EVENT:
            wrong = ++depth > 1 ? "a setting is not a plain value" : e.data.mapping_start.anchor ? "an anchor" : NULL;
            break;
        case YAML_SCALAR_EVENT: {
            const char *text = (const char *)e.data.scalar.value;
            if (depth == 0 || e.data.scalar.anchor || e.data.scalar.tag)
                wrong = "something other than plain settings";
            else if (!key[0])
                snprintf(key, sizeof key, "%s", text);
            else {
                if (!set(s, key, text))
                    wrong = "a setting has a value that cannot be";
                key[0] = '\0';
            }
            break;
        }
        case YAML_ALIAS_EVENT:
        case YAML_SEQUENCE_START_EVENT:
            wrong = "a setting is not a plain value";
            break;
        case YAML_STREAM_END_EVENT:
            done = true;
            break;
        default:
            break;
        }
        yaml_event_delete(&e);
        if (wrong)
            return wrong;
    }
    return NULL;
}

static int check(const struct es_settings *s, const char *path, struct esdb_error *err) {
    if (s->version > FMT_VERSION || s->features_required != 0)
        return es_fail(err, ESDB_EUSAGE,
                       "%s: the store has format %u (features 0x%llx), this esdb knows format %u only", path,
                       s->version, (unsigned long long)s->features_required, FMT_VERSION);
    if (s->version == 0 || s->incarnation == 0 || s->user.segment_size < FMT_SEGMENT_SIZE_MIN ||
        s->user.segment_size > FMT_SEGMENT_SIZE_MAX)
        return es_fail(err, ESDB_EUSAGE, "%s/" STORE_YAML ": a setting is missing or out of range", path);
    return 0;
}

/* What es_settings_print wrote, unchanged since: one "key: value" a line. Whatever this takes, printing gives back byte for
 * byte, so libyaml would read the same; and libyaml takes longer than all else that opening a store costs. */
static bool parse_printed(const char *text, size_t len, struct es_settings *out) {
    char line[128], again[1024];
    struct es_settings s = {0};
    for (const char *at = text, *end = text + len; at < end;) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        size_t n = newline ? (size_t)(newline - at) : sizeof line;
        if (n >= sizeof line)
            return false;
        memcpy(line, at, n);
        line[n] = '\0';
        at += n + 1;
        char *value = strstr(line, ": ");
        if (line[0] == '#')
            continue;
        if (!value)
            return false;
        *value = '\0';
        if (!set(&s, line, value + 2))
            return false;
    }
    if (es_settings_print(&s, again, sizeof again) != len || memcmp(again, text, len) != 0)
        return false;
    *out = s;
    return true;
}

/* Settings that an editor has seen. */
static int parse_yaml(const unsigned char *text, size_t len, const char *path, struct es_settings *out,
                      struct esdb_error *err) {
    yaml_parser_t parser;
    if (!yaml_parser_initialize(&parser))
        return es_fail(err, -ENOMEM, "%s/" STORE_YAML, path);
    yaml_parser_set_input_string(&parser, text, len);
    size_t line = 0;
    const char *wrong = parse(&parser, out, &line);
    yaml_parser_delete(&parser);
    if (wrong == no_memory)
        return es_fail(err, -ENOMEM, "%s/" STORE_YAML, path);
    return wrong ? es_fail(err, ESDB_EUSAGE, "%s/" STORE_YAML ", line %zu: %s", path, line, wrong) : 0;
}

int es_settings_parse(const unsigned char *text, size_t len, const char *path, struct es_settings *out,
                      struct esdb_error *err) {
    struct es_settings s = {0};
    int rc = parse_printed((const char *)text, len, &s) ? 0 : parse_yaml(text, len, path, &s, err);
    if (rc == 0)
        rc = check(&s, path, err);
    if (rc == 0)
        *out = s;
    return rc;
}

int es_settings_load(int dir, const char *path, struct es_settings *out, struct esdb_error *err) {
    unsigned char text[FMT_SETTINGS_SIZE_MAX];
    struct stat st;
    int fd = es_openat_stat(dir, STORE_YAML, O_RDONLY, 0, &st);
    if (fd == -ENOENT)
        return es_fail(err, ESDB_EUSAGE, "%s: not an esdb store (it has no " STORE_YAML ")", path);
    if (fd < 0)
        return es_fail_open(err, fd, path, STORE_YAML);
    bool large = (uint64_t)st.st_size >= sizeof text;
    ssize_t n = st.st_nlink > 1 ? -EMLINK : large ? 0 : es_pread(fd, text, (size_t)st.st_size, 0);
    es_close(&fd);
    if (n == -EMLINK)
        return es_fail_open(err, -EMLINK, path, STORE_YAML);
    if (n < 0)
        return es_fail(err, (int)n, "%s/" STORE_YAML, path);
    if (large)
        return es_fail(err, ESDB_EUSAGE, "%s/" STORE_YAML ": is larger than %u bytes", path, FMT_SETTINGS_SIZE_MAX);
    return es_settings_parse(text, (size_t)n, path, out, err);
}
