/* check.h: what every program here asks of a store after a fault: is everything that was acknowledged there, is there no
 * half event, is the order whole, does it verify, can it be appended to? Header only: each program is one file.
 *
 * Test events carry {"g":GROUP,"i":I,"of":N} as data: an append writes N events of one GROUP in one frame. So a reader
 * can tell a half frame from a whole one without knowing the format.
 */
#ifndef FAULTS_CHECK_H
#define FAULTS_CHECK_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "format/checksum.h"
#include "format/head.h"
#include "libcore/esdb.h"

#define CHECK_UNUSED __attribute__((unused))
#define CHECK_PATH 4096

static char check_why[1024]; /* the reason of the last failure */

CHECK_UNUSED static int check_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
static int check_fail(const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(check_why, sizeof check_why, format, args);
    va_end(args);
    return -1;
}

CHECK_UNUSED static _Noreturn void die(const char *what) {
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    exit(2);
}

CHECK_UNUSED static double seconds_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* ---- files ---- */

CHECK_UNUSED static void join(char out[CHECK_PATH], const char *dir, const char *name) {
    int n = snprintf(out, CHECK_PATH, "%s/%s", dir, name);
    if (n < 0 || n >= CHECK_PATH) {
        fprintf(stderr, "%s/%s: too long a path\n", dir, name);
        exit(2);
    }
}

/* The whole file, to be freed; NULL when it cannot be read. */
CHECK_UNUSED static unsigned char *slurp(const char *path, size_t *len) {
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    unsigned char *bytes = fstat(fd, &st) == 0 ? malloc((size_t)st.st_size + 1) : NULL;
    ssize_t n = bytes ? pread(fd, bytes, (size_t)st.st_size, 0) : -1;
    close(fd);
    if (n < 0) {
        free(bytes);
        return NULL;
    }
    bytes[n] = '\0';
    *len = (size_t)n;
    return bytes;
}

/* Writes a whole file; the same inode when it exists already. */
CHECK_UNUSED static void spill(const char *path, const void *bytes, size_t len, bool truncate) {
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | (truncate ? O_TRUNC : 0), 0644);
    if (fd < 0 || write(fd, bytes, len) != (ssize_t)len)
        die(path);
    close(fd);
}

CHECK_UNUSED static void remove_tree(const char *path) {
    struct stat st;
    if (lstat(path, &st) < 0)
        return;
    if (S_ISDIR(st.st_mode)) {
        DIR *d = opendir(path);
        struct dirent *e;
        while (d && (e = readdir(d)) != NULL) {
            char child[CHECK_PATH];
            if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
                continue;
            join(child, path, e->d_name);
            remove_tree(child);
        }
        if (d)
            closedir(d);
        rmdir(path);
    } else
        unlink(path);
}

/* Copies a store: regular files and directories. */
CHECK_UNUSED static void copy_tree(const char *from, const char *to) {
    struct stat st;
    if (lstat(from, &st) < 0)
        die(from);
    if (S_ISREG(st.st_mode)) {
        size_t len;
        unsigned char *bytes = slurp(from, &len);
        if (!bytes)
            die(from);
        spill(to, bytes, len, true);
        chmod(to, st.st_mode & 07777);
        free(bytes);
        return;
    }
    if (mkdir(to, st.st_mode & 07777) < 0 && errno != EEXIST)
        die(to);
    DIR *d = opendir(from);
    struct dirent *e;
    while (d && (e = readdir(d)) != NULL) {
        char source[CHECK_PATH], target[CHECK_PATH];
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        join(source, from, e->d_name);
        join(target, to, e->d_name);
        copy_tree(source, target);
    }
    if (d)
        closedir(d);
}

/* ---- what a store says ---- */

struct seen {
    uint64_t position, version, stream;
    uint64_t hash; /* of stream, version, type, id, data */
};

struct seen_log {
    struct seen *at; /* at[i] has position i */
    size_t count, room;
};

CHECK_UNUSED static void seen_release(struct seen_log *l) {
    free(l->at);
    *l = (struct seen_log){0};
}

static void seen_add(struct seen_log *l, const struct seen *s) {
    if (l->count == l->room) {
        l->room = l->room ? l->room * 2 : 256;
        l->at = realloc(l->at, l->room * sizeof *l->at);
        if (!l->at)
            die("memory");
    }
    l->at[l->count++] = *s;
}

static uint64_t hash_text(struct esdb_text t) {
    return fmt_checksum(t.at ? t.at : "", t.len);
}

CHECK_UNUSED static uint64_t hash_name(const char *name) {
    return fmt_checksum(name, strlen(name));
}

static uint64_t hash_event(const struct esdb_event *e) {
    uint64_t h = fmt_fold(hash_text(e->stream_id), e->version);
    h = fmt_fold(h, hash_text(e->event_type));
    h = fmt_fold(h, hash_text(e->event_id));
    h = fmt_fold(h, hash_text(e->metadata));
    return fmt_fold(h, hash_text(e->data));
}

/* Which events of a group have been seen. */
struct group {
    uint64_t hash; /* of its name; 0: none is open */
    long next, of;
};

static long number_after(struct esdb_text data, const char *key) {
    const char *at = data.at ? memmem(data.at, data.len, key, strlen(key)) : NULL;
    return at ? strtol(at + strlen(key), NULL, 10) : -1;
}

static int group_add(struct group *g, const struct esdb_event *e) {
    const char *name = e->data.at ? memmem(e->data.at, e->data.len, "\"g\":\"", 5) : NULL;
    if (!name)
        return g->next < g->of ? check_fail("position %" PRIu64 ": the frame before it is only half there", e->position)
                               : 0;
    const char *end = memchr(name + 5, '"', e->data.len - (size_t)(name + 5 - e->data.at));
    uint64_t hash = end ? fmt_checksum(name + 5, (size_t)(end - name - 5)) : 0;
    long i = number_after(e->data, "\"i\":"), of = number_after(e->data, "\"of\":");
    if (g->next < g->of ? hash != g->hash || i != g->next || of != g->of : i != 0)
        return check_fail("position %" PRIu64 ": event %ld of %ld of a group follows event %ld of %ld: a half frame",
                          e->position, i, of, g->next - 1, g->of);
    *g = (struct group){hash, i + 1, of};
    return 0;
}

/* Versions 0, 1, 2, ... of each stream; a small open hash table. */
struct versions {
    uint64_t *stream, *next;
    size_t slots, used;
};

static uint64_t *version_slot(struct versions *v, uint64_t stream) {
    if (v->used * 2 >= v->slots) {
        struct versions bigger = {.slots = v->slots ? v->slots * 2 : 64};
        bigger.stream = calloc(bigger.slots, sizeof *bigger.stream);
        bigger.next = calloc(bigger.slots, sizeof *bigger.next);
        if (!bigger.stream || !bigger.next)
            die("memory");
        for (size_t i = 0; i < v->slots; i++)
            if (v->stream[i])
                *version_slot(&bigger, v->stream[i]) = v->next[i];
        free(v->stream);
        free(v->next);
        *v = bigger;
    }
    size_t at = stream & (v->slots - 1);
    while (v->stream[at] && v->stream[at] != stream)
        at = (at + 1) & (v->slots - 1);
    v->used += v->stream[at] == 0;
    v->stream[at] = stream;
    return &v->next[at];
}

/* Reads every event through an open store and checks that positions and versions have no gaps and frames are whole.
 * 0, or -1 with check_why. */
CHECK_UNUSED static int read_all(esdb *db, struct seen_log *out) {
    struct esdb_query q;
    struct esdb_error err = {0};
    struct esdb_event e;
    struct versions versions = {0};
    struct group group = {0};
    esdb_cursor *c;
    esdb_query_init(&q);
    q.flags = ESDB_ALL | ESDB_WITH_SYSTEM;
    int rc = esdb_cursor_open(db, &q, &c, &err), bad = 0;
    if (rc < 0)
        return check_fail("reading: %s", err.text);
    out->count = 0;
    while (!bad && (rc = esdb_cursor_next(c, &e, &err)) == 0) {
        struct seen s = {e.position, e.version, hash_text(e.stream_id), hash_event(&e)};
        uint64_t *next = version_slot(&versions, s.stream);
        if (e.position != out->count)
            bad = check_fail("position %" PRIu64 " where %zu should be", e.position, out->count);
        else if (e.version != *next)
            bad = check_fail("position %" PRIu64 ": version %" PRIu64 " where %" PRIu64 " should be", e.position,
                             e.version, *next);
        else
            bad = group_add(&group, &e);
        *next = e.version + 1;
        seen_add(out, &s);
    }
    if (!bad && rc < 0)
        bad = check_fail("reading: %s", err.text);
    if (!bad && group.next < group.of)
        bad = check_fail("the last frame is only half there");
    esdb_cursor_close(c);
    free(versions.stream);
    free(versions.next);
    return bad;
}

CHECK_UNUSED static int read_store(const char *path, unsigned flags, struct seen_log *out) {
    struct esdb_error err = {0};
    esdb *db;
    if (esdb_open(path, flags, &db, &err) < 0)
        return check_fail("opening for reading: %s", err.text);
    esdb_set_lock_timeout(db, 1000);
    int bad = read_all(db, out);
    esdb_close(db);
    return bad;
}

/* Appends `count` events of one group as one frame, with ids, some types and some causes. Returns the library's code; the text is in err. */
CHECK_UNUSED static int append_group(esdb *db, const char *stream, const char *name, unsigned count, size_t fill,
                                     struct esdb_receipt *out, struct esdb_error *err) {
    esdb_batch *b;
    int rc = esdb_batch_open(&b);
    char *data = malloc(fill + 128);
    if (rc < 0 || !data)
        die("memory");
    for (unsigned i = 0; rc == 0 && i < count; i++) {
        char type[16], id[80], metadata[48];
        unsigned some = (unsigned)(hash_name(name) % 1000) + i;
        snprintf(type, sizeof type, "Tested%u", some % 7);
        snprintf(id, sizeof id, "%.60s.%u", name, i);
        snprintf(metadata, sizeof metadata, "{\"correlation_id\":\"c%u\"}", some % 31);
        int n = snprintf(data, fill + 128, "{\"g\":\"%s\",\"i\":%u,\"of\":%u,\"f\":\"", name, i, count);
        memset(data + n, 'x', fill);
        memcpy(data + n + fill, "\"}", 2);
        struct esdb_new_event e = {.stream_id = {stream, strlen(stream)},
                                   .event_type = {type, strlen(type)},
                                   .event_id = {id, strlen(id)},
                                   .data = {data, (size_t)n + fill + 2},
                                   .metadata = {metadata, strlen(metadata)}};
        rc = esdb_batch_add(b, &e, err);
    }
    if (rc == 0)
        rc = esdb_append(db, b, 0, out, err);
    esdb_batch_close(b);
    free(data);
    return rc;
}

/* Appends one event within a second and reads it back. */
CHECK_UNUSED static int append_works(const char *path, uint64_t *position) {
    struct esdb_error err = {0};
    struct esdb_receipt r;
    esdb *db;
    char name[32];
    double begin = seconds_now();
    snprintf(name, sizeof name, "after-%d-%.6f", (int)getpid(), begin);
    if (esdb_open(path, ESDB_APPEND, &db, &err) < 0)
        return check_fail("opening for an append: %s", err.text);
    esdb_set_lock_timeout(db, 1000);
    int rc = append_group(db, "after", name, 1, 0, &r, &err);
    esdb_close(db);
    if (rc < 0)
        return check_fail("the next append: %s", err.text);
    if (seconds_now() - begin > 1.0)
        return check_fail("the next append took %.1f s", seconds_now() - begin);
    *position = r.first_position;
    return 0;
}

static int first_damage(void *context, const struct esdb_finding *f) {
    char *text = context;
    if ((f->kind == ESDB_FINDING_DAMAGE || f->kind == ESDB_FINDING_TORN) && text[0] == '\0')
        snprintf(text, 400, "%s, offset %" PRIu64 ": %s", f->file, f->offset, f->text);
    return 0;
}

/* esdb_verify finds no damage and nothing torn. Derived files may be late. */
CHECK_UNUSED static int verify_clean(const char *path) {
    struct esdb_error err = {0};
    struct esdb_verify_result r = {0};
    char text[400] = "";
    struct esdb_verify_options o = {.finding = first_damage, .context = text};
    esdb *db;
    if (esdb_open(path, ESDB_EXAMINE, &db, &err) < 0)
        return check_fail("opening for verification: %s", err.text);
    int rc = esdb_verify(db, &o, &r, &err);
    esdb_close(db);
    if (rc < 0 || r.damaged || r.torn)
        return check_fail("verify: %s", text[0] ? text : err.text);
    return 0;
}

/* ---- acknowledgements ---- */

struct ack {
    uint64_t first_position, last_position;
    uint64_t stream, first_version; /* stream 0: a frame of several streams */
};

struct ack_list {
    struct ack *at;
    size_t count, room;
};

static bool number_of(const char *line, const char *key, uint64_t *out) {
    const char *at = strstr(line, key);
    if (at)
        *out = strtoull(at + strlen(key), NULL, 10);
    return at != NULL;
}

static void ack_add(struct ack_list *l, const struct ack *a) {
    if (l->count == l->room) {
        l->room = l->room ? l->room * 2 : 64;
        l->at = realloc(l->at, l->room * sizeof *l->at);
        if (!l->at)
            die("memory");
    }
    l->at[l->count++] = *a;
}

/* Takes the whole receipt lines of esdb-append from a NUL-terminated text. */
CHECK_UNUSED static void acks_from(struct ack_list *l, const char *text) {
    for (const char *end; (end = strchr(text, '\n')) != NULL; text = end + 1) {
        char line[1024];
        struct ack a = {0};
        snprintf(line, sizeof line, "%.*s", (int)(end - text), text);
        if (!number_of(line, "\"first_position\":", &a.first_position) ||
            !number_of(line, "\"last_position\":", &a.last_position))
            continue;
        const char *stream = strstr(line, "\"stream_id\":\"");
        const char *quote = stream ? strchr(stream + 13, '"') : NULL;
        if (quote && !strstr(line, "\"streams\":") && number_of(line, "\"first_version\":", &a.first_version))
            a.stream = fmt_checksum(stream + 13, (size_t)(quote - stream - 13));
        ack_add(l, &a);
    }
}

/* Everything that was acknowledged is there, where the receipt said. */
CHECK_UNUSED static int check_acks(const struct ack_list *acks, const struct seen_log *l) {
    for (size_t i = 0; i < acks->count; i++) {
        const struct ack *a = &acks->at[i];
        if (a->last_position >= l->count)
            return check_fail("acknowledged position %" PRIu64 " is lost (%zu events)", a->last_position, l->count);
        const struct seen *s = &l->at[a->first_position];
        if (a->stream && (s->stream != a->stream || s->version != a->first_version))
            return check_fail("position %" PRIu64 " holds another event than was acknowledged", a->first_position);
    }
    return 0;
}

/* Every stream, asked for by its name, is what the whole log says: its info, and its events newest first. */
static int check_stream(esdb *db, const struct seen_log *l, uint64_t stream, struct esdb_text name) {
    struct esdb_query q;
    struct esdb_error err = {0};
    struct esdb_event e;
    struct esdb_stream_info info;
    esdb_cursor *c;
    size_t at = l->count;
    esdb_query_init(&q);
    q.flags = ESDB_REVERSE | ESDB_LITERAL;
    q.streams = &name;
    q.stream_count = 1;
    int rc = esdb_cursor_open(db, &q, &c, &err);
    if (rc < 0)
        return check_fail("reading a stream: %s", err.text);
    int bad = 0;
    while (!bad) {
        while (at > 0 && l->at[at - 1].stream != stream)
            at--;
        rc = esdb_cursor_next(c, &e, &err);
        if (rc == ESDB_END && at == 0)
            break;
        if (rc != 0)
            bad = check_fail("reading a stream: %s", rc < 0 ? err.text : "it ends too early");
        else if (at == 0 || e.position != l->at[at - 1].position || hash_event(&e) != l->at[at - 1].hash)
            bad = check_fail("reading a stream: position %" PRIu64 " is none of its events", e.position);
        else
            at--;
    }
    esdb_cursor_close(c);
    for (at = l->count; at > 0 && l->at[at - 1].stream != stream;)
        at--;
    if (!bad && (esdb_stream_info(db, name, &info, &err) < 0 || info.last_version != l->at[at - 1].version))
        bad = check_fail("stream info: version %" PRIu64 " where %" PRIu64 " should be %s", info.last_version,
                         l->at[at - 1].version, err.text);
    return bad;
}

CHECK_UNUSED static int check_streams(const char *path, const struct seen_log *l) {
    struct esdb_error err = {0};
    struct esdb_stream_list *list;
    struct esdb_stream_info info;
    esdb *db, *other;
    int rc, bad = 0;
    if (esdb_open(path, ESDB_READ, &db, &err) < 0 || esdb_open(path, ESDB_READ, &other, &err) < 0)
        return check_fail("opening: %s", err.text);
    if (esdb_stream_list_open(db, (struct esdb_text){0}, ESDB_WITH_SYSTEM, &list, &err) < 0)
        return check_fail("listing streams: %s", err.text);
    size_t streams = 0, events = 0;
    while (!bad && (rc = esdb_stream_list_next(list, &info, &err)) == 0) {
        bad = check_stream(other, l, hash_text(info.stream_id), info.stream_id);
        streams++;
        events += info.count;
    }
    if (!bad && (rc < 0 || events != l->count))
        bad = check_fail("the list of %zu streams has %zu events of %zu %s", streams, events, l->count, err.text);
    esdb_stream_list_close(list);
    esdb_close(other);
    esdb_close(db);
    return bad;
}

/* The whole examination after a fault that leaves a store to go on with. `before`: what was there (may be NULL). */
CHECK_UNUSED static int check_store(const char *path, const struct ack_list *acks, const struct seen_log *before) {
    struct seen_log l = {0};
    uint64_t position = 0;
    int bad = append_works(path, &position);
    bad = bad || read_store(path, ESDB_READ, &l);
    bad = bad || check_acks(acks, &l);
    if (!bad && position + 1 != l.count)
        bad = check_fail("the next append got position %" PRIu64 ", the log ends with %zu", position, l.count);
    for (size_t i = 0; !bad && before && i < before->count; i++)
        if (i >= l.count || l.at[i].hash != before->at[i].hash)
            bad = check_fail("position %zu was there before and is not the same any more", i);
    bad = bad || check_streams(path, &l);
    bad = bad || verify_clean(path);
    seen_release(&l);
    return bad;
}

/* Makes head valid in a copied store, as it is in one that is in use. */
CHECK_UNUSED static void warm_up(const char *path) {
    uint64_t position;
    if (append_works(path, &position) < 0) {
        fprintf(stderr, "%s: %s\n", path, check_why);
        exit(2);
    }
}

#endif
