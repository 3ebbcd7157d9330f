#include "config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <yaml.h>

#include "libcore/error.h"
#include "libcore/settings.h"

#define DEPTH_MAX 32

enum kind { NAME, PATH, UUID, ADDRESS, LOOPBACK, PUBLIC_KEY, DURATION, SIZE, COUNT, PEERS, LIMITS };

struct field {
    const char *name;
    enum kind kind;
    bool required;
    size_t at;         /* in the structure */
    uint64_t min, max; /* DURATION (ms), SIZE, COUNT */
};

#define AT(member) offsetof(struct rd_config, member)
static const struct field top_fields[] = {
    {"node", NAME, true, AT(node), 0, 0},
    {"store", PATH, false, AT(store), 0, 0},
    {"store_id", UUID, true, AT(store_id), 0, 0},
    {"key_file", PATH, true, AT(key_file), 0, 0},
    {"listen", ADDRESS, true, AT(listen), 0, 0},
    {"metrics", LOOPBACK, false, AT(metrics), 0, 0},
    {"peers", PEERS, true, 0, 0, 0},
    {"election_timeout", DURATION, false, AT(election_timeout_ms), 20, 60000},
    {"heartbeat", DURATION, false, AT(heartbeat_ms), 2, 10000},
    {"handshake_timeout", DURATION, false, AT(handshake_timeout_ms), 10, 60000},
    {"limits", LIMITS, false, 0, 0, 0},
};
static const struct field limit_fields[] = {
    {"connections", COUNT, false, AT(connections_max), 16, 100000},
    {"clients", COUNT, false, AT(clients_max), 1, 100000},
    {"send_buffer", SIZE, false, AT(send_buffer_bytes), 1 << 20, UINT64_C(1) << 40},
    {"trail", SIZE, false, AT(trail_bytes), 1 << 16, UINT64_C(1) << 30},
    {"fetch_rate", SIZE, false, AT(fetch_rate_bytes), 1 << 16, UINT64_C(1) << 40},
};
#undef AT
#define AT(member) offsetof(struct rd_peer_config, member)
static const struct field peer_fields[] = {
    {"name", NAME, true, AT(name), 0, 0},
    {"address", ADDRESS, true, AT(address), 0, 0},
    {"public_key", PUBLIC_KEY, true, AT(public_key), 0, 0},
};
#undef AT
#define COUNT_OF(a) (sizeof(a) / sizeof(a)[0])

struct reader {
    yaml_parser_t parser;
    yaml_event_t event; /* the current one */
    bool has_event;
    int depth;
    const char *file;
    struct rd_config *out;
    struct esdb_error *err;
    char path[128]; /* the field that is read, "peers[2].address" */
};

/* ---- events ---- */

static int wrong_at(struct reader *r, yaml_mark_t mark, const char *what) {
    return es_fail(r->err, ESDB_EUSAGE, "%s:%zu:%zu: %s%s%s", r->file, mark.line + 1, mark.column + 1, r->path,
                   r->path[0] ? ": " : "", what);
}

static int wrong(struct reader *r, const char *what) {
    return wrong_at(r, r->event.start_mark, what);
}

static int next(struct reader *r) {
    if (r->has_event)
        yaml_event_delete(&r->event);
    r->has_event = false;
    if (!yaml_parser_parse(&r->parser, &r->event)) {
        if (r->parser.error == YAML_MEMORY_ERROR)
            return es_fail(r->err, -ENOMEM, "%s", r->file);
        r->path[0] = '\0';
        char text[200];
        snprintf(text, sizeof text, "not YAML: %s", r->parser.problem ? r->parser.problem : "unreadable");
        return wrong_at(r, r->parser.problem_mark, text);
    }
    r->has_event = true;
    const yaml_event_t *e = &r->event;
    bool start = e->type == YAML_MAPPING_START_EVENT || e->type == YAML_SEQUENCE_START_EVENT;
    if (start && ++r->depth > DEPTH_MAX)
        return wrong(r, "nested too deeply");
    if (e->type == YAML_MAPPING_END_EVENT || e->type == YAML_SEQUENCE_END_EVENT)
        r->depth--;
    if (e->type == YAML_ALIAS_EVENT ||
        (e->type == YAML_SCALAR_EVENT && (e->data.scalar.anchor || e->data.scalar.tag)) ||
        (e->type == YAML_MAPPING_START_EVENT && (e->data.mapping_start.anchor || e->data.mapping_start.tag)) ||
        (e->type == YAML_SEQUENCE_START_EVENT && (e->data.sequence_start.anchor || e->data.sequence_start.tag)))
        return wrong(r, "anchors, aliases and tags are not allowed");
    return 0;
}

/* ---- values ---- */

static bool is_name(const char *s) {
    size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");
    return n > 0 && n <= RD_NAME_MAX && s[n] == '\0' && s[0] != '-' && s[0] != '.';
}

bool rd_address_parse(const char *text, struct rd_address *out) {
    struct rd_address a = {0};
    const char *colon = strrchr(text, ':');
    if (!colon || colon == text)
        return false;
    const char *host = text;
    size_t len = (size_t)(colon - text);
    bool bracketed = *host == '[';
    if (bracketed) {
        if (len < 3 || host[len - 1] != ']')
            return false;
        host++;
        len -= 2;
    }
    if (len > RD_HOST_MAX)
        return false;
    memcpy(a.host, host, len);
    unsigned char ip[16];
    if (bracketed ? inet_pton(AF_INET6, a.host, ip) != 1
                  : strspn(a.host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") != len)
        return false;
    char *end;
    errno = 0;
    unsigned long port = strtoul(colon + 1, &end, 10);
    if (colon[1] < '0' || colon[1] > '9' || *end || errno || port > 65535)
        return false;
    a.port = (uint16_t)port;
    *out = a;
    return true;
}

bool rd_address_loopback(const struct rd_address *a, struct sockaddr_storage *out) {
    const char *host = strcmp(a->host, "localhost") == 0 ? "127.0.0.1" : a->host;
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(a->port)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(a->port)};
    memset(out, 0, sizeof *out);
    if (inet_pton(AF_INET, host, &v4.sin_addr) == 1) {
        memcpy(out, &v4, sizeof v4);
        return ntohl(v4.sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
    }
    if (inet_pton(AF_INET6, host, &v6.sin6_addr) != 1)
        return false;
    memcpy(out, &v6, sizeof v6);
    return IN6_IS_ADDR_LOOPBACK(&v6.sin6_addr);
}

/* A number with one of the units, each of which is a text and a factor. */
static bool take_number(const char *text, const char *const *unit, const uint64_t *factor, size_t units,
                        uint64_t *out) {
    char *end;
    if (*text < '0' || *text > '9')
        return false;
    errno = 0;
    uint64_t n = strtoull(text, &end, 10);
    if (errno)
        return false;
    for (size_t i = 0; i < units; i++)
        if (strcmp(end, unit[i]) == 0)
            return !__builtin_mul_overflow(n, factor[i], out);
    return false;
}

static bool take_duration(const char *text, uint64_t *out) {
    static const char *const unit[] = {"ms", "s", "min"};
    static const uint64_t factor[] = {1, 1000, 60000};
    return take_number(text, unit, factor, 3, out);
}

static bool take_size(const char *text, uint64_t *out) {
    static const char *const unit[] = {"", "K", "M", "G"};
    static const uint64_t factor[] = {1, 1 << 10, 1 << 20, 1 << 30};
    return take_number(text, unit, factor, 4, out);
}

void rd_key_print(const unsigned char key[RD_KEY_SIZE], char out[RD_KEY_TEXT_ROOM]) {
    sodium_bin2base64(out, RD_KEY_TEXT_ROOM, key, RD_KEY_SIZE, sodium_base64_VARIANT_ORIGINAL);
}

bool rd_key_parse(const char *text, unsigned char out[RD_KEY_SIZE]) {
    size_t n = 0;
    const char *end = NULL;
    return sodium_base642bin(out, RD_KEY_SIZE, text, strlen(text), NULL, &n, &end, sodium_base64_VARIANT_ORIGINAL) ==
               0 &&
           n == RD_KEY_SIZE && *end == '\0';
}

/* A path beside the configuration file, unless it is absolute. */
static bool take_path(const char *file, const char *text, char out[RD_PATH_ROOM]) {
    const char *slash = strrchr(file, '/');
    int dir = text[0] == '/' || !slash ? 0 : (int)(slash - file + 1);
    int n = snprintf(out, RD_PATH_ROOM, "%.*s%s", dir, file, text);
    return text[0] != '\0' && n > 0 && (size_t)n < RD_PATH_ROOM;
}

static int set_number(struct reader *r, const struct field *f, const char *value, bool parsed, uint64_t n, void *at) {
    char text[160];
    if (!parsed) {
        snprintf(text, sizeof text, "'%.40s' is not %s", value,
                 f->kind == DURATION ? "a time like 200ms, 5s or 1min"
                 : f->kind == SIZE   ? "a size like 65536, 64K, 16M or 1G"
                                     : "a number");
        return wrong(r, text);
    }
    if (n < f->min || n > f->max) {
        snprintf(text, sizeof text, "%.40s is not in the range %llu to %llu%s", value, (unsigned long long)f->min,
                 (unsigned long long)f->max, f->kind == DURATION ? " ms" : "");
        return wrong(r, text);
    }
    memcpy(at, &n, sizeof n);
    return 0;
}

static int set_scalar(struct reader *r, const struct field *f, void *base) {
    void *at = (char *)base + f->at;
    if (r->event.type != YAML_SCALAR_EVENT)
        return wrong(r, "must be one plain value");
    const char *value = (const char *)r->event.data.scalar.value;
    if (strlen(value) != r->event.data.scalar.length)
        return wrong(r, "holds a zero byte");
    uint64_t n = 0;
    bool parsed;
    switch (f->kind) {
    case NAME:
        if (!is_name(value))
            return wrong(r, "must be 1 to 63 letters, digits, '.', '_' or '-', and begin with none of '.-'");
        memcpy(at, value, strlen(value) + 1);
        return 0;
    case PATH:
        return take_path(r->file, value, at) ? 0 : wrong(r, "is empty, or too long for a path");
    case UUID:
        return es_uuid_parse(value, at) ? 0 : wrong(r, "must be a UUID, as esdb-stat shows it");
    case ADDRESS:
    case LOOPBACK:
        if (!rd_address_parse(value, at))
            return wrong(r, "must be HOST:PORT or [IPV6]:PORT");
        return f->kind == ADDRESS || rd_address_loopback(at, &(struct sockaddr_storage){0})
                   ? 0
                   : wrong(r, "the host must be localhost, 127.x.y.z or [::1]");
    case PUBLIC_KEY:
        return rd_key_parse(value, at) ? 0 : wrong(r, "must be the 44 characters that esdb-raftd --keygen printed");
    default: /* a number of some kind */
        parsed = f->kind == DURATION ? take_duration(value, &n)
                 : f->kind == SIZE   ? take_size(value, &n)
                                     : take_number(value, (const char *const[]){""}, (const uint64_t[]){1}, 1, &n);
        return set_number(r, f, value, parsed, n, at);
    }
}

/* ---- structures ---- */

static int read_peers(struct reader *r);
static int read_mapping(struct reader *r, const struct field *fields, size_t count, void *base);

static int read_value(struct reader *r, const struct field *f, void *base) {
    int rc = next(r);
    if (rc < 0)
        return rc;
    if (f->kind == PEERS)
        return read_peers(r);
    if (f->kind == LIMITS)
        return read_mapping(r, limit_fields, COUNT_OF(limit_fields), base);
    return set_scalar(r, f, base);
}

/* The current event begins it. */
static int read_mapping(struct reader *r, const struct field *fields, size_t count, void *base) {
    unsigned seen = 0;
    size_t prefix = strlen(r->path);
    if (r->event.type != YAML_MAPPING_START_EVENT)
        return wrong(r, "must be 'field: value' lines");
    for (;;) {
        int rc = next(r);
        if (rc < 0)
            return rc;
        r->path[prefix] = '\0';
        if (r->event.type == YAML_MAPPING_END_EVENT)
            break;
        if (r->event.type != YAML_SCALAR_EVENT)
            return wrong(r, "the name of a field must be plain text");
        const char *name = (const char *)r->event.data.scalar.value;
        snprintf(r->path + prefix, sizeof r->path - prefix, "%s%.40s", prefix ? "." : "", name);
        size_t i = 0;
        while (i < count && strcmp(fields[i].name, name) != 0)
            i++;
        if (i == count)
            return wrong(r, "there is no such field");
        if (seen & (1u << i))
            return wrong(r, "was given before");
        seen |= 1u << i;
        rc = read_value(r, &fields[i], base);
        if (rc < 0)
            return rc;
    }
    for (size_t i = 0; i < count; i++) {
        if (fields[i].required && !(seen & (1u << i))) {
            snprintf(r->path + prefix, sizeof r->path - prefix, "%s%s", prefix ? "." : "", fields[i].name);
            return wrong(r, "is missing");
        }
    }
    return 0;
}

static int check_peer(struct reader *r, size_t n, yaml_mark_t mark) {
    const struct rd_peer_config *p = r->out->peers;
    if (p[n].address.port == 0)
        return wrong_at(r, mark, "address: a peer's port cannot be 0");
    for (size_t i = 0; i < n; i++) {
        if (strcmp(p[i].name, p[n].name) == 0)
            return wrong_at(r, mark, "name: another peer has it");
        if (memcmp(p[i].public_key, p[n].public_key, RD_KEY_SIZE) == 0)
            return wrong_at(r, mark, "public_key: another peer has it");
        if (strcmp(p[i].address.host, p[n].address.host) == 0 && p[i].address.port == p[n].address.port)
            return wrong_at(r, mark, "address: another peer has it");
    }
    return 0;
}

static int read_peers(struct reader *r) {
    if (r->event.type != YAML_SEQUENCE_START_EVENT)
        return wrong(r, "must be a list: '- name: ...'");
    for (;;) {
        snprintf(r->path, sizeof r->path, "peers");
        int rc = next(r);
        if (rc < 0)
            return rc;
        if (r->event.type == YAML_SEQUENCE_END_EVENT)
            return 0;
        size_t n = r->out->peer_count;
        yaml_mark_t mark = r->event.start_mark;
        if (n == REP_SERVERS_MAX)
            return wrong(r, "more than 16 nodes");
        snprintf(r->path, sizeof r->path, "peers[%zu]", n + 1);
        rc = read_mapping(r, peer_fields, COUNT_OF(peer_fields), &r->out->peers[n]);
        if (rc == 0)
            rc = check_peer(r, n, mark);
        if (rc < 0)
            return rc;
        r->out->peer_count++;
    }
}

/* What fields say about each other. */
static int check_whole(struct reader *r) {
    struct rd_config *c = r->out;
    yaml_mark_t top = {0, 0, 0};
    for (c->self = 0; c->self < c->peer_count; c->self++)
        if (strcmp(c->peers[c->self].name, c->node) == 0)
            break;
    r->path[0] = '\0';
    if (c->heartbeat_ms * 4 > c->election_timeout_ms)
        return wrong_at(r, top, "heartbeat: must be at most a quarter of election_timeout");
    if (c->self == c->peer_count && c->peer_count == REP_SERVERS_MAX)
        return wrong_at(r, top, "peers: more than 16 nodes with this one");
    return 0;
}

static int read_document(struct reader *r) {
    int rc;
    do
        rc = next(r);
    while (rc == 0 && (r->event.type == YAML_STREAM_START_EVENT || r->event.type == YAML_DOCUMENT_START_EVENT));
    if (rc == 0 && r->event.type == YAML_STREAM_END_EVENT)
        return wrong(r, "is empty");
    if (rc == 0)
        rc = read_mapping(r, top_fields, COUNT_OF(top_fields), r->out);
    while (rc == 0 && r->event.type != YAML_STREAM_END_EVENT) {
        rc = next(r);
        r->path[0] = '\0';
        if (rc == 0 && r->event.type == YAML_DOCUMENT_START_EVENT)
            return wrong(r, "a second document");
    }
    return rc == 0 ? check_whole(r) : rc;
}

int rd_config_parse(const char *file, const char *text, size_t len, struct rd_config *out, struct esdb_error *err) {
    struct rd_config c = {.election_timeout_ms = 200,
                          .heartbeat_ms = 25,
                          .handshake_timeout_ms = 3000,
                          .connections_max = 256,
                          .clients_max = 1024,
                          .send_buffer_bytes = 64u << 20,
                          .trail_bytes = 256u << 20,
                          .fetch_rate_bytes = 256u << 20};
    struct reader r = {.file = file, .out = &c, .err = err};
    if (len > RD_CONFIG_SIZE_MAX)
        return es_fail(err, ESDB_EUSAGE, "%s: larger than 64 KiB", file);
    if (!yaml_parser_initialize(&r.parser))
        return es_fail(err, -ENOMEM, "%s", file);
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)text, len);
    yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
    int rc = read_document(&r);
    if (r.has_event)
        yaml_event_delete(&r.event);
    yaml_parser_delete(&r.parser);
    if (rc == 0)
        *out = c;
    return rc;
}

/* ---- files ---- */

/* At most room bytes of fd. The length, or -errno; room + 1 when there is more. */
static ssize_t read_all(int fd, char *at, size_t room) {
    size_t len = 0;
    for (;;) {
        char beyond;
        ssize_t n = len < room ? read(fd, at + len, room - len) : read(fd, &beyond, 1);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            return (ssize_t)len;
        if (len == room)
            return (ssize_t)room + 1;
        len += (size_t)n;
    }
}

int rd_config_load(const char *file, struct rd_config *out, struct esdb_error *err) {
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return es_fail(err, ESDB_EUSAGE, "%s: %s", file, strerror(errno));
    char *text = malloc(RD_CONFIG_SIZE_MAX);
    int rc = text ? 0 : es_fail(err, -ENOMEM, "%s", file);
    ssize_t n = rc == 0 ? read_all(fd, text, RD_CONFIG_SIZE_MAX) : 0;
    if (rc == 0)
        rc = n < 0 ? es_fail(err, ESDB_EUSAGE, "%s: %s", file, strerror((int)-n))
                   : rd_config_parse(file, text, (size_t)n, out, err);
    free(text);
    close(fd);
    return rc;
}

/* ---- the key file: a line that says what it is, then the 32 bytes of the seed in base64 ---- */

static const char key_title[] = "esdb secret key 1\n";
#define KEY_FILE_SIZE (sizeof key_title - 1 + RD_KEY_TEXT_ROOM) /* the newline stands where the terminating zero was */

static int write_key(int fd, const unsigned char seed[RD_KEY_SIZE]) {
    char text[KEY_FILE_SIZE];
    memcpy(text, key_title, sizeof key_title - 1);
    rd_key_print(seed, text + sizeof key_title - 1);
    text[KEY_FILE_SIZE - 1] = '\n';
    ssize_t n = write(fd, text, sizeof text);
    int rc = n == (ssize_t)sizeof text ? 0 : n < 0 ? -errno : -EIO;
    sodium_memzero(text, sizeof text);
    return rc < 0 || fsync(fd) == 0 ? rc : -errno;
}

int rd_key_create(const char *file, struct rd_identity *out, struct esdb_error *err) {
    unsigned char seed[crypto_sign_SEEDBYTES];
    struct rd_identity id;
    int fd = open(file, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return es_fail(err, errno == EEXIST ? ESDB_EUSAGE : -errno, "%s%s", file,
                       errno == EEXIST ? ": exists; a key is never overwritten" : "");
    randombytes_buf(seed, sizeof seed);
    crypto_sign_seed_keypair(id.public_key, id.secret_key, seed);
    int rc = fchmod(fd, 0600) == 0 ? write_key(fd, seed) : -errno;
    sodium_memzero(seed, sizeof seed);
    close(fd);
    if (rc < 0) {
        unlink(file);
        es_fail(err, rc, "%s", file);
    } else {
        *out = id;
    }
    sodium_memzero(&id, sizeof id);
    return rc;
}

int rd_key_load(const char *file, struct rd_identity *out, struct esdb_error *err) {
    char text[KEY_FILE_SIZE];
    unsigned char seed[crypto_sign_SEEDBYTES];
    struct stat st;
    int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 && errno == ENOENT)
        return es_fail(err, ESDB_EUSAGE, "%s: there is no such key (esdb-raftd --keygen makes one)", file);
    if (fd < 0)
        return es_fail(err, -errno, "%s", file);
    int rc = fstat(fd, &st) < 0 ? es_fail(err, -errno, "%s", file) : 0;
    if (rc == 0 && (!S_ISREG(st.st_mode) || (st.st_mode & 077)))
        rc = es_fail(err, ESDB_EDENIED, "%s: a secret key must be a file that only its owner may read (chmod 600)",
                     file);
    ssize_t n = rc == 0 ? read_all(fd, text, sizeof text) : 0;
    close(fd);
    if (rc == 0 && n < 0)
        rc = es_fail(err, (int)n, "%s", file);
    bool good = rc == 0 && n == (ssize_t)sizeof text && memcmp(text, key_title, sizeof key_title - 1) == 0 &&
                text[sizeof text - 1] == '\n';
    if (good) {
        text[sizeof text - 1] = '\0';
        good = rd_key_parse(text + sizeof key_title - 1, seed);
    }
    if (good)
        crypto_sign_seed_keypair(out->public_key, out->secret_key, seed);
    sodium_memzero(text, sizeof text);
    sodium_memzero(seed, sizeof seed);
    return rc < 0 || good ? rc : es_fail(err, ESDB_EUSAGE, "%s: is no secret key of esdb-raftd --keygen", file);
}
