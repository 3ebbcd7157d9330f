/* archive_file.c: events become a file, and a file events: see archive.h. */
#include <errno.h>
#include <stdlib.h>

#include "archive.h"
#include "archive_child.h"
#include "event_json.h"
#include "os.h"
#include "os_archive.h"

#define TAIL_SIZE (1u << 20)
#define CHUNK_SIZE ES_TAR_DATA_MAX

/* ---- bytes in a file without a name ---- */

static int scratch_failed(int rc, struct esdb_error *err) {
    return es_fail(err, rc, "a temporary file ($TMPDIR)");
}

int es_scratch_flush(struct es_scratch *s, struct esdb_error *err) {
    if (s->fd < 0 && (s->fd = es_scratch_file()) < 0) {
        int rc = s->fd;
        s->fd = -1;
        return scratch_failed(rc, err);
    }
    int rc = es_pwrite(s->fd, s->tail.at, s->tail.len, s->len - s->tail.len);
    if (rc < 0)
        return scratch_failed(rc, err);
    s->tail.len = 0;
    return 0;
}

int es_scratch_add(struct es_scratch *s, const void *bytes, size_t len, struct esdb_error *err) {
    if (es_buffer_add(&s->tail, bytes, len) < 0)
        return scratch_failed(-ENOMEM, err);
    s->len += len;
    return s->tail.len >= TAIL_SIZE ? es_scratch_flush(s, err) : 0;
}

int es_scratch_cut(struct es_scratch *s, uint64_t len, struct esdb_error *err) {
    int rc = es_scratch_flush(s, err);
    if (rc == 0)
        s->len = len;
    return rc;
}

void es_scratch_release(struct es_scratch *s) {
    es_close(&s->fd);
    es_buffer_release(&s->tail);
    s->len = 0;
}

/* ---- drafts ---- */

static void put_digest(XXH3_state_t *hash, char out[33]) {
    static const char digits[] = "0123456789abcdef";
    XXH128_canonical_t digest;
    XXH128_canonicalFromHash(&digest, XXH3_128bits_digest(hash));
    for (int i = 0; i < 16; i++) {
        out[2 * i] = digits[digest.digest[i] >> 4];
        out[2 * i + 1] = digits[digest.digest[i] & 15];
    }
    out[32] = '\0';
}

int es_draft_begin(struct es_archive_draft *d, const esdb *db, struct esdb_text stream, struct esdb_error *err) {
    *d = (struct es_archive_draft){.lines = ES_SCRATCH_NONE};
    d->hash = XXH3_createState();
    if (!d->hash)
        return es_fail(err, -ENOMEM, "an archive");
    XXH3_128bits_reset(d->hash);
    memcpy(d->manifest.stream, stream.at, stream.len);
    d->manifest.stream_len = stream.len;
    memcpy(d->manifest.store_id, db->settings.user.store_id, sizeof d->manifest.store_id);
    return 0;
}

int es_draft_add(struct es_archive_draft *d, const struct esdb_event *e, struct esdb_error *err) {
    struct es_archive_manifest *m = &d->manifest;
    d->line.len = 0;
    if (es_event_json(e, &d->line) < 0)
        return es_fail(err, -ENOMEM, "an archive");
    if (m->count++ == 0) {
        m->from = e->version;
        m->first_position = e->position;
        m->first_epoch_us = e->epoch_us;
    }
    m->to = e->version;
    m->last_position = e->position;
    m->last_epoch_us = e->epoch_us;
    m->size += d->line.len;
    XXH3_128bits_update(d->hash, d->line.at, d->line.len);
    return es_scratch_add(&d->lines, d->line.at, d->line.len, err);
}

void es_draft_release(struct es_archive_draft *d) {
    es_scratch_release(&d->lines);
    es_archive_manifest_release(&d->manifest);
    es_buffer_release(&d->line);
    XXH3_freeState(d->hash);
    d->hash = NULL;
}

/* ---- packing ---- */

struct packing {
    struct es_archive_draft *draft;
    struct es_buffer manifest;
    struct es_tar_member member;
    unsigned char *chunk; /* owned */
    enum { MANIFEST, MANIFEST_DATA, EVENTS, EVENTS_DATA, ENDED } step;
    uint64_t at; /* in the lines */
    struct es_scratch packed;
};

static void announce(struct packing *p, const char *name, uint64_t size) {
    p->member = (struct es_tar_member){.size = size, .seconds = p->draft->manifest.last_epoch_us / 1000000};
    memcpy(p->member.name, name, strlen(name));
}

static int next_part(void *context, struct es_tar_message *m, const void **bytes, struct esdb_error *err) {
    struct packing *p = context;
    uint64_t left = p->draft->lines.len - p->at;
    *m = (struct es_tar_message){ES_TAR_MEMBER, sizeof p->member};
    *bytes = &p->member;
    switch (p->step) {
    case MANIFEST:
        announce(p, ES_ARCHIVE_MANIFEST, p->manifest.len);
        break;
    case MANIFEST_DATA:
        *m = (struct es_tar_message){ES_TAR_DATA, (uint32_t)p->manifest.len};
        *bytes = p->manifest.at;
        break;
    case EVENTS:
        announce(p, ES_ARCHIVE_EVENTS, p->draft->lines.len);
        break;
    case EVENTS_DATA:
        *m = (struct es_tar_message){ES_TAR_DATA, left < CHUNK_SIZE ? (uint32_t)left : CHUNK_SIZE};
        *bytes = p->chunk;
        ssize_t n = es_pread(p->draft->lines.fd, p->chunk, m->len, p->at);
        if (n != (ssize_t)m->len)
            return scratch_failed(n < 0 ? (int)n : -EIO, err);
        p->at += m->len;
        p->step -= left > m->len;
        break;
    case ENDED:
        *m = (struct es_tar_message){ES_TAR_END, 0};
        return 0;
    }
    p->step++;
    return 0;
}

static int take_packed(void *context, uint32_t kind, const void *bytes, size_t len, struct esdb_error *err) {
    struct packing *p = context;
    (void)kind;
    return es_scratch_add(&p->packed, bytes, len, err);
}

static int pack(struct packing *p, const char *key, struct esdb_error *err) {
    struct es_tar_ends ends = {next_part, take_packed, p};
    put_digest(p->draft->hash, p->draft->manifest.digest);
    int rc = es_scratch_flush(&p->draft->lines, err);
    p->chunk = rc == 0 ? malloc(CHUNK_SIZE) : NULL;
    if (rc == 0 && (!p->chunk || es_archive_manifest_print(&p->draft->manifest, &p->manifest) < 0))
        rc = es_fail(err, -ENOMEM, "%s", key);
    if (rc == 0 && p->manifest.len > CHUNK_SIZE)
        rc = es_fail(err, ESDB_EUSAGE, "%s: so many events were erased from it that its manifest is too large", key);
    if (rc == 0)
        rc = es_tar_run(false, key, &ends, err);
    return rc == 0 ? es_scratch_flush(&p->packed, err) : rc;
}

static bool is_equal(const struct es_archive_manifest *a, const struct es_archive_manifest *b) {
    return a->from == b->from && a->to == b->to && a->count == b->count && a->size == b->size &&
           memcmp(a->digest, b->digest, sizeof a->digest) == 0;
}

/* What is there now. 0: is equal; 1: there is none; ESDB_ECONFLICT: it is another one. */
static int compare(esdb_archive *a, const char *key, const struct es_archive_manifest *m, struct esdb_error *err) {
    struct es_archive_manifest there = {0};
    struct esdb_error why = {0};
    int rc = es_archive_load(a, key, NULL, NULL, &there, &why);
    bool equal = rc == 0 && is_equal(&there, m);
    es_archive_manifest_release(&there);
    if (rc == ESDB_ENOTFOUND)
        return 1;
    if (rc == ESDB_ECORRUPT) /* half of one, as a command may leave it: it is written again */
        return 1;
    if (rc < 0) {
        if (err && err->code == 0)
            *err = why;
        return rc;
    }
    return equal ? 0 : es_fail(err, ESDB_ECONFLICT, "%s/%s: is there already, with other events", a->where, key);
}

int es_draft_save(struct es_archive_draft *d, esdb_archive *a, bool replace, struct esdb_error *err) {
    char key[FMT_ARCHIVE_KEY_ROOM];
    struct packing p = {.draft = d, .packed = ES_SCRATCH_NONE};
    struct es_archive_manifest *m = &d->manifest;
    fmt_archive_key((struct fmt_text){m->stream, m->stream_len}, m->from, m->to, key);
    put_digest(d->hash, m->digest);
    int rc = replace ? 1 : compare(a, key, m, err);
    if (rc == 1) {
        rc = pack(&p, key, err);
        if (rc == 0)
            rc = es_archive_put(a, key, p.packed.fd, p.packed.len, err);
        if (rc == 0)
            rc = compare(a, key, m, err);
        if (rc == 1)
            rc = es_fail(err, ESDB_ECORRUPT, "%s/%s: cannot be read back after it was written", a->where, key);
    }
    es_scratch_release(&p.packed);
    es_buffer_release(&p.manifest);
    free(p.chunk);
    return rc;
}

/* ---- unpacking ---- */

struct unpacking {
    const char *name;
    int fd;
    uint64_t at;
    unsigned char *chunk; /* owned */
    es_archive_take take;
    void *context;
    struct es_archive_manifest *m;
    enum { NOTHING, IN_MANIFEST, IN_EVENTS } step;
    uint64_t left;         /* bytes of the member */
    struct es_buffer text; /* the manifest, or the beginning of a line */
    struct es_buffer room;
    XXH3_state_t *hash;              /* owned */
    struct es_archive_manifest seen; /* of the lines so far */
};

static int bad(const struct unpacking *u, const char *what, struct esdb_error *err) {
    return es_fail(err, ESDB_ECORRUPT, "%s: %s", u->name, what);
}

static int next_packed(void *context, struct es_tar_message *m, const void **bytes, struct esdb_error *err) {
    struct unpacking *u = context;
    ssize_t n = es_pread(u->fd, u->chunk, CHUNK_SIZE, u->at);
    if (n < 0)
        return es_fail(err, (int)n, "%s", u->name);
    u->at += (uint64_t)n;
    *m = (struct es_tar_message){n > 0 ? ES_TAR_DATA : ES_TAR_END, (uint32_t)n};
    *bytes = u->chunk;
    return 0;
}

static int on_member(struct unpacking *u, const struct es_tar_member *member, struct esdb_error *err) {
    static const char *const names[] = {ES_ARCHIVE_MANIFEST, ES_ARCHIVE_EVENTS};
    if (u->left > 0 || u->step == IN_EVENTS || !memchr(member->name, '\0', sizeof member->name) ||
        strcmp(member->name, names[u->step == IN_MANIFEST]) != 0)
        return es_fail(err, ESDB_ECORRUPT,
                       "%s: holds '%.60s' where it must hold " ES_ARCHIVE_MANIFEST ", then " ES_ARCHIVE_EVENTS, u->name,
                       member->name);
    if (u->step == NOTHING && (member->size == 0 || member->size > ES_ARCHIVE_MANIFEST_MAX))
        return bad(u, "its manifest is empty or too large", err);
    if (u->step == IN_MANIFEST && member->size != u->m->size)
        return bad(u, "its events are not as long as its manifest says", err);
    if (u->step == IN_MANIFEST && (member->size == 0 || member->size > ES_ARCHIVE_SIZE_MAX))
        return bad(u, "its events are too large", err);
    u->left = member->size;
    u->step = u->step == NOTHING ? IN_MANIFEST : IN_EVENTS;
    return 0;
}

/* The manifest is complete: is it what the key says? u->m has the stream and the range of the key. */
static int on_manifest(struct unpacking *u, struct esdb_error *err) {
    struct es_archive_manifest said = {0}, *key = u->m;
    const char *wrong = es_archive_manifest_parse((struct fmt_text){(const char *)u->text.at, u->text.len}, &said);
    if (!wrong && (said.stream_len != key->stream_len || memcmp(said.stream, key->stream, key->stream_len) != 0))
        wrong = "it is of another stream";
    if (!wrong && (said.from != key->from || said.to != key->to))
        wrong = "it has other versions than its name says";
    if (wrong) {
        es_archive_manifest_release(&said);
        return bad(u, wrong, err);
    }
    *key = said;
    u->text.len = 0;
    return 0;
}

static int on_line(struct unpacking *u, struct fmt_text line, struct esdb_error *err) {
    struct es_archive_manifest *s = &u->seen;
    struct esdb_event e;
    const char *wrong = es_archive_line(line, &u->room, &e);
    if (!wrong && (e.stream_id.len != u->m->stream_len || memcmp(e.stream_id.at, u->m->stream, e.stream_id.len) != 0))
        wrong = "an event is of another stream";
    if (!wrong && s->count > 0 &&
        (e.version <= s->to || e.position <= s->last_position || e.epoch_us < s->last_epoch_us))
        wrong = "its events are out of order";
    if (!wrong && (e.version < u->m->from || e.version > u->m->to))
        wrong = "an event is not of the versions that its name says";
    if (wrong)
        return bad(u, wrong, err);
    if (s->count++ == 0) {
        s->from = e.version;
        s->first_position = e.position;
        s->first_epoch_us = e.epoch_us;
    }
    s->to = e.version;
    s->last_position = e.position;
    s->last_epoch_us = e.epoch_us;
    return u->take ? u->take(u->context, &e, line, err) : 0;
}

static int on_events(struct unpacking *u, const char *at, size_t len, struct esdb_error *err) {
    const char *end = at + len, *newline;
    int rc = 0;
    XXH3_128bits_update(u->hash, at, len);
    while (rc == 0 && (newline = memchr(at, '\n', (size_t)(end - at)))) {
        struct fmt_text line = {at, (size_t)(newline - at)};
        if (u->text.len > 0) {
            if (es_buffer_add(&u->text, at, line.len) < 0)
                return es_fail(err, -ENOMEM, "%s", u->name);
            line = (struct fmt_text){(const char *)u->text.at, u->text.len};
        }
        rc = on_line(u, line, err);
        u->text.len = 0;
        at = newline + 1;
    }
    if (rc == 0 && u->text.len + (size_t)(end - at) > ES_ARCHIVE_LINE_MAX)
        return bad(u, "a line is too long", err);
    if (rc == 0 && es_buffer_add(&u->text, at, (size_t)(end - at)) < 0)
        rc = es_fail(err, -ENOMEM, "%s", u->name);
    return rc;
}

static int take_unpacked(void *context, uint32_t kind, const void *bytes, size_t len, struct esdb_error *err) {
    struct unpacking *u = context;
    struct es_tar_member member;
    if (kind == ES_TAR_MEMBER) {
        memcpy(&member, bytes, sizeof member);
        return on_member(u, &member, err);
    }
    if (len > u->left)
        return bad(u, "a member is longer than it said", err);
    u->left -= len;
    if (u->step == IN_EVENTS)
        return on_events(u, bytes, len, err);
    if (es_buffer_add(&u->text, bytes, len) < 0)
        return es_fail(err, -ENOMEM, "%s", u->name);
    return u->left == 0 ? on_manifest(u, err) : 0;
}

/* All was read. */
static int check_end(struct unpacking *u, struct esdb_error *err) {
    const struct es_archive_manifest *s = &u->seen, *m = u->m;
    if (u->step != IN_EVENTS)
        return bad(u, "it lacks " ES_ARCHIVE_MANIFEST " or " ES_ARCHIVE_EVENTS, err);
    if (u->left > 0 || u->text.len > 0)
        return bad(u, "its events are cut short", err);
    put_digest(u->hash, u->seen.digest);
    if (memcmp(s->digest, m->digest, sizeof s->digest) != 0)
        return bad(u, "its events are not those of which its manifest has the hash", err);
    if (s->count != m->count || s->from != m->from || s->to != m->to || s->first_position != m->first_position ||
        s->last_position != m->last_position || s->first_epoch_us != m->first_epoch_us ||
        s->last_epoch_us != m->last_epoch_us)
        return bad(u, "its events are not those that its manifest tells of", err);
    return 0;
}

static int unpack(struct unpacking *u, struct esdb_error *err) {
    struct es_tar_ends ends = {next_packed, take_unpacked, u};
    u->chunk = malloc(CHUNK_SIZE);
    u->hash = XXH3_createState();
    int rc = u->chunk && u->hash ? 0 : es_fail(err, -ENOMEM, "%s", u->name);
    if (rc == 0) {
        XXH3_128bits_reset(u->hash);
        rc = es_tar_run(true, u->name, &ends, err);
    }
    if (rc == 0)
        rc = check_end(u, err);
    free(u->chunk);
    XXH3_freeState(u->hash);
    es_buffer_release(&u->text);
    es_buffer_release(&u->room);
    return rc;
}

int es_archive_load(esdb_archive *a, const char *key, es_archive_take fn, void *context, struct es_archive_manifest *m,
                    struct esdb_error *err) {
    struct unpacking u = {.take = fn, .context = context, .m = m, .fd = -1};
    char *name;
    *m = (struct es_archive_manifest){0};
    if (!fmt_archive_key_parse((struct fmt_text){key, strlen(key)}, m->stream, &m->stream_len, &m->from, &m->to))
        return es_fail(err, ESDB_EINVALID, "%.300s: is no archive's key", key);
    int rc = es_archive_get(a, key, &u.fd, err);
    if (rc < 0)
        return rc;
    if (asprintf(&name, "%s/%s", a->where, key) < 0) {
        es_close(&u.fd);
        return es_fail(err, -ENOMEM, "%s", key);
    }
    u.name = name;
    rc = unpack(&u, err);
    es_close(&u.fd);
    free(name);
    return rc;
}
