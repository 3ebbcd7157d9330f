#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "format/frame.h"
#include "format/head.h"
#include "libcore/error.h"
#include "libcore/install.h"
#include "libcore/os.h"
#include "libcore/replica.h"

/* Frames below the committed one that slow peers can be caught up from: 72 bytes each at the start. */
#define TRAIL_FRAMES UINT64_C(1000000)

/* A membership that is in the log and not committed yet. */
struct membership {
    uint64_t index;
    size_t len;
    unsigned char bytes[REP_CONFIGURATION_MAX];
};

struct rd_log {
    struct es_replica *replica;
    struct es_replica_syncer *syncer;
    struct rep_past *past; /* of rd_log_start; freed by the next call of anything */
    size_t past_count, past_room;
    struct es_buffer payloads; /* of past */
    struct es_buffer pending;  /* struct membership, by index */
    struct es_buffer read;
    uint64_t indexed;     /* newest frame that rd_log_index has seen */
    uint64_t sealed_name; /* segments before this one have their indexes */
    uint64_t told_name;   /* rd_log_sealed has told of the segments before this one */
    uint64_t past_first;  /* index of past[0] */
    esdb *sealer;         /* the handle of rd_log_seal; NULL: none yet */
};

/* ---- coming about ---- */

int rd_log_look_at(const char *path, enum rd_log_state *out, struct esdb_error *err) {
    struct es_settings s;
    struct stat st;
    int dir = es_open_directory(path);
    if (dir == -ENOENT) {
        *out = RD_LOG_NOTHING;
        return 0;
    }
    if (dir < 0)
        return es_fail(err, dir, "%s", path);
    int rc = es_fstatat(dir, "store.yaml", &st);
    *out = RD_LOG_NOTHING;
    if (rc == 0 && (rc = es_settings_load(dir, path, &s, err)) == 0)
        *out = s.replicated ? RD_LOG_REPLICATED : RD_LOG_STANDALONE;
    else if (rc == -ENOENT)
        rc = 0;
    es_close(&dir);
    return rc;
}

static int draw(uint64_t max, uint64_t *out, struct esdb_error *err) {
    int rc = es_random(out, sizeof *out);
    *out = 1 + *out % max;
    return rc < 0 ? es_fail(err, rc, "random numbers") : 0;
}

/* Is it the one that is meant, and nobody's at work? It may be damaged in any other way. */
static int check_aside(int dir, const char *path, const unsigned char store_id[16], struct esdb_error *err) {
    struct es_settings s;
    int rc = es_settings_load(dir, path, &s, err);
    if (rc == 0 && (memcmp(s.user.store_id, store_id, 16) != 0 || !s.replicated))
        return es_fail(err, ESDB_EUSAGE, "%s: is not the replicated store that the configuration names", path);
    int lock = rc == 0 ? es_openat(dir, "lock", O_RDWR, 0) : -ENOENT;
    bool taken = lock >= 0 && es_is_locked(lock, ES_LOCK_APPEND);
    es_close(&lock);
    return rc == 0 && taken ? es_fail(err, ESDB_EUNAVAILABLE, "%s: another process is writing to it", path) : rc;
}

int rd_log_set_aside(const char *path, const unsigned char store_id[16], char *out, size_t room,
                     struct esdb_error *err) {
    struct stat st;
    char parent[4096], own[4096];
    int dir = es_open_directory(path), up = -1;
    out[0] = '\0';
    if (dir == -ENOENT)
        return 0;
    if (dir < 0)
        return es_fail(err, dir, "%s", path);
    int rc = es_fstatat(dir, "store.yaml", &st) == -ENOENT ? 1 : check_aside(dir, path, store_id, err);
    es_close(&dir);
    if (rc != 0)
        return rc < 0 ? rc : 0;
    size_t len = strlen(path);
    while (len > 1 && path[len - 1] == '/')
        len--;
    int n = snprintf(own, sizeof own, "%.*s", (int)len, path);
    int m = snprintf(out, room, "%s.damaged-%llu", own, (unsigned long long)(es_clock_us() / 1000000));
    if (n < 0 || (size_t)n >= sizeof own || m < 0 || (size_t)m >= room)
        return es_fail(err, -ENAMETOOLONG, "%s", path);
    const char *slash = strrchr(own, '/');
    snprintf(parent, sizeof parent, "%.*s", slash ? (int)(slash - own) + 1 : 1, slash ? own : ".");
    rc = es_renameat(AT_FDCWD, own, out);
    up = rc == 0 ? es_open_directory(parent) : -1;
    if (up >= 0)
        rc = es_fsync(up);
    es_close(&up);
    return rc < 0 ? es_fail(err, rc, "%s: renaming it to %s", own, out) : 0;
}

static int convert(const char *path, uint64_t incarnation, struct esdb_error *err) {
    struct es_raft_state state = {0};
    int rc = draw(INT64_MAX, &state.node, err);
    return rc == 0 ? es_replica_convert(path, incarnation, &state, err) : rc;
}

int rd_log_create(const char *path, const unsigned char store_id[16], uint64_t incarnation, struct esdb_error *err) {
    struct esdb_settings s = {0};
    memcpy(s.store_id, store_id, sizeof s.store_id);
    int rc = esdb_create(path, &s, err);
    return rc == 0 ? convert(path, incarnation, err) : rc;
}

static int check_id(const struct rd_log *l, const unsigned char store_id[16], struct esdb_error *err) {
    const esdb *db = es_replica_db(l->replica);
    char here[37], wanted[37];
    if (memcmp(db->settings.user.store_id, store_id, 16) == 0)
        return 0;
    es_uuid_print(db->settings.user.store_id, here);
    es_uuid_print(store_id, wanted);
    return es_fail(err, ESDB_EUSAGE, "%s: is store %s, the configuration is for store %s", db->path, here, wanted);
}

int rd_log_open(const char *path, const unsigned char store_id[16], struct rd_log **out, struct esdb_error *err) {
    struct rd_log *l = calloc(1, sizeof *l);
    if (!l)
        return es_fail(err, -ENOMEM, "%s", path);
    int rc = es_replica_open(path, &l->replica, err);
    if (rc == ESDB_ENOTFOUND && err)
        rc = err->code = ESDB_ECORRUPT; /* raft/state is gone: so is what this node voted for */
    if (rc == 0)
        rc = check_id(l, store_id, err);
    if (rc == 0)
        rc = es_replica_syncer_open(l->replica, &l->syncer, err);
    if (rc < 0) {
        es_replica_close(l->replica);
        free(l);
        return rc;
    }
    *out = l;
    return 0;
}

static void forget_past(struct rd_log *l) {
    free(l->past);
    l->past = NULL;
    l->past_count = l->past_room = 0;
    es_buffer_release(&l->payloads);
}

void rd_log_close(struct rd_log *l) {
    if (!l)
        return;
    forget_past(l);
    es_buffer_release(&l->pending);
    es_buffer_release(&l->read);
    esdb_close(l->sealer);
    es_replica_syncer_close(l->syncer);
    es_replica_close(l->replica);
    free(l);
}

void rd_log_about(const struct rd_log *l, struct rd_log_about *out) {
    const struct es_raft_state *s = es_replica_state(l->replica);
    *out = (struct rd_log_about){.raft_id = s->node,
                                 .incarnation = es_replica_db(l->replica)->settings.incarnation,
                                 .last = es_replica_last(l->replica),
                                 .committed = es_replica_committed(l->replica)};
}

/* ---- bootstrap ---- */

static int is_membership(void *context, const struct fmt_frame *f, const unsigned char *payload, size_t len) {
    (void)context;
    (void)payload;
    (void)len;
    return f->kind == FMT_FRAME_CONFIGURATION ? 1 : 0;
}

/* The first membership: durable, committed, and in raft/state. */
static int write_first(struct rd_log *l, const char *name, struct esdb_error *err) {
    struct es_raft_state *s = es_replica_state(l->replica);
    const struct rep_server self = {s->node, name, REP_VOTER};
    struct es_replica_frame last = {0};
    uint64_t upto = 0;
    size_t len = rep_configuration_encode(&self, 1, s->configuration);
    es_replica_look(l->replica, es_replica_last(l->replica), &last);
    s->term = last.term + 1 > 2 ? last.term + 1 : 2;
    int rc = len ? es_replica_append_made(l->replica, FMT_FRAME_CONFIGURATION, 0, s->term, s->configuration, len, err)
                 : es_fail(err, ESDB_EUSAGE, "%s: cannot be the name of a node", name);
    if (rc == 0)
        rc = rd_log_sync(l, &upto, err);
    if (rc == 0)
        rc = es_replica_publish(l->replica, es_replica_last(l->replica), err);
    if (rc == 0) {
        s->configuration_len = len;
        s->configuration_index = es_replica_last(l->replica);
        rc = es_replica_save(l->replica, err);
    }
    return rc;
}

int rd_log_bootstrap(const char *path, const unsigned char store_id[16], const char *name, struct esdb_error *err) {
    enum rd_log_state state;
    struct esdb_settings settings = {0};
    struct rd_log *l = NULL;
    uint64_t incarnation = 0;
    memcpy(settings.store_id, store_id, sizeof settings.store_id);
    int rc = rd_log_look_at(path, &state, err);
    if (rc == 0 && state == RD_LOG_NOTHING)
        rc = esdb_create(path, &settings, err);
    if (rc == 0 && state != RD_LOG_REPLICATED) {
        esdb *db = NULL; /* another store is not touched */
        rc = esdb_open(path, ESDB_APPEND, &db, err);
        if (rc == 0 && memcmp(db->settings.user.store_id, store_id, 16) != 0)
            rc = es_fail(err, ESDB_EUSAGE, "%s: is another store than the configuration's store_id says", path);
        esdb_close(db);
        if (rc == 0)
            rc = draw(FMT_WORD_MAX, &incarnation, err);
        if (rc == 0)
            rc = convert(path, incarnation, err);
    }
    if (rc == 0)
        rc = rd_log_open(path, store_id, &l, err);
    if (rc < 0)
        return rc;
    rc = es_replica_walk(l->replica, 1, is_membership, NULL, err);
    if (rc == 1)
        rc = es_fail(err, ESDB_EUSAGE, "%s: has been bootstrapped before (start it without --bootstrap)", path);
    else if (rc == 0)
        rc = write_first(l, name, err);
    rd_log_close(l);
    return rc;
}

/* ---- what the driver begins with ---- */

static int add_pending(struct rd_log *l, uint64_t index, const unsigned char *payload, size_t len) {
    struct membership m = {.index = index, .len = len};
    if (len > sizeof m.bytes || !rep_configuration_check(payload, len))
        return ESDB_ECORRUPT;
    memcpy(m.bytes, payload, len);
    return es_buffer_add(&l->pending, &m, sizeof m);
}

/* Memberships up to the committed frame become that of raft/state. True: there was one. */
static bool settle(struct rd_log *l, uint64_t committed) {
    struct es_raft_state *s = es_replica_state(l->replica);
    struct membership *m = (struct membership *)(void *)l->pending.at;
    size_t count = l->pending.len / sizeof *m, n = 0;
    while (n < count && m[n].index <= committed)
        n++;
    if (n == 0)
        return false;
    if (m[n - 1].index > s->configuration_index) {
        s->configuration_index = m[n - 1].index;
        s->configuration_len = m[n - 1].len;
        memcpy(s->configuration, m[n - 1].bytes, m[n - 1].len);
    }
    l->pending.len -= n * sizeof *m;
    memmove(m, m + n, l->pending.len);
    return true;
}

/* The first frame of what the driver is to remember: `trail` bytes of segments before the committed frame, about. */
static uint64_t trail_first(struct rd_log *l, uint64_t committed, uint64_t trail) {
    esdb *db = es_replica_db(l->replica);
    uint64_t first = committed > TRAIL_FRAMES ? committed - TRAIL_FRAMES + 1 : 1, *names, bytes = 0;
    size_t count;
    if (es_segment_list(db, &names, &count, NULL) < 0)
        return first;
    while (count > 0 && names[count - 1] > committed)
        count--;
    for (size_t i = count; i > 0 && names[i - 1] > first; i--) {
        char name[ES_NAME_SIZE];
        struct stat st;
        es_segment_name(names[i - 1], ES_NAME_LOG, name);
        bytes += es_fstatat(db->log, name, &st) == 0 ? (uint64_t)st.st_size : 0;
        if (bytes >= trail)
            first = names[i - 1];
    }
    free(names);
    return first;
}

static int add_past(void *context, const struct fmt_frame *f, const unsigned char *payload, size_t len) {
    struct rd_log *l = context;
    if (f->kind == FMT_FRAME_CONFIGURATION) { /* before the trail, too: raft/state may be older than it */
        int rc = add_pending(l, f->index, payload, len);
        if (rc < 0 || f->index < l->past_first)
            return rc;
    }
    if (f->index < l->past_first)
        return 0;
    if (fmt_frame_is_hole(f) || f->index != l->past_first + l->past_count) { /* it begins after what was compacted */
        l->past_first = fmt_frame_is_hole(f) ? f->index + 1 : f->index;
        l->past_count = 0;
        l->payloads.len = 0;
    }
    if (fmt_frame_is_hole(f))
        return 0;
    if (l->past_count == l->past_room) {
        size_t room = l->past_room ? l->past_room * 2 : 1024;
        struct rep_past *more = realloc(l->past, room * sizeof *more);
        if (!more)
            return -ENOMEM;
        l->past = more;
        l->past_room = room;
    }
    bool membership = f->kind == FMT_FRAME_CONFIGURATION;
    l->past[l->past_count++] = (struct rep_past){.term = f->term, .kind = f->kind, .payload_len = membership ? len : 0};
    return membership ? es_buffer_add(&l->payloads, payload, len) : 0;
}

/* Fills past, and pending with what raft/state does not know. */
static int walk_past(struct rd_log *l, uint64_t first, struct esdb_error *err) {
    const struct es_raft_state *s = es_replica_state(l->replica);
    uint64_t known = s->committed + 1;
    forget_past(l);
    l->pending.len = 0;
    l->past_first = first;
    int rc = es_replica_walk(l->replica, known < first ? known : first, add_past, l, err);
    if (rc < 0)
        return es_fail(err, rc, "the log's trail");
    size_t at = 0;
    for (size_t i = 0; i < l->past_count; i++) {
        if (l->past[i].kind != FMT_FRAME_CONFIGURATION)
            continue;
        l->past[i].payload = l->payloads.at + at;
        at += l->past[i].payload_len;
    }
    return 0;
}

int rd_log_start(struct rd_log *l, uint64_t trail, struct rep_start *out, struct esdb_error *err) {
    struct es_raft_state *s = es_replica_state(l->replica);
    uint64_t committed = es_replica_committed(l->replica), first = trail_first(l, committed, trail);
    struct es_replica_frame f = {0};
    int rc = es_replica_check(l->replica, first, err);
    if (rc == 0)
        rc = walk_past(l, first, err);
    if (rc < 0)
        return rc;
    settle(l, committed);
    s->committed = committed;
    if (committed > 0 && !es_replica_look(l->replica, committed, &f))
        return es_fail(err, ESDB_ECORRUPT, "frame %llu, which is committed, is not there",
                       (unsigned long long)committed);
    l->told_name = f.mark.segment;
    *out = (struct rep_start){.term = s->term,
                              .vote = s->vote,
                              .committed = committed,
                              .committed_term = f.term,
                              .configuration_index = s->configuration_index,
                              .configuration = s->configuration,
                              .configuration_len = s->configuration_len,
                              .first = l->past_first,
                              .past = l->past,
                              .past_count = l->past_count};
    return 0;
}

bool rd_log_sealed(struct rd_log *l, uint64_t trail, uint64_t *index, uint64_t *keep) {
    struct es_replica_frame f;
    uint64_t committed = es_replica_committed(l->replica);
    if (!es_replica_look(l->replica, committed, &f) || f.mark.segment == l->told_name)
        return false;
    l->told_name = f.mark.segment;
    *index = f.mark.segment - 1;
    *keep = *index + 1 - trail_first(l, *index, trail);
    return true;
}

/* ---- what is missing, and what is damaged ---- */

void rd_log_lacks(struct rd_log *l, uint64_t *segment, struct es_part_begin *out) {
    es_replica_lacks(l->replica, segment, out);
}

int rd_log_adopt(struct rd_log *l, const struct es_part *parts, size_t count, struct esdb_error *err) {
    int rc = es_replica_adopt(l->replica, parts, count, err);
    l->pending.len = 0; /* all that is there is committed, and in raft/state */
    return rc;
}

const char *rd_log_path(const struct rd_log *l) {
    return es_replica_db(l->replica)->path;
}

esdb *rd_log_db(const struct rd_log *l) {
    return es_replica_db(l->replica);
}

#define SCRUB_RATE (64u << 20) /* bytes a second: hardly to be noticed, and 1 TB in less than five hours */

int rd_log_scrub(const char *path, const _Atomic bool *stop, struct esdb_error *err) {
    return es_scrub(path, SCRUB_RATE, stop, err);
}

bool rd_log_look(void *log, uint64_t index, struct rep_frame *out) {
    struct rd_log *l = log;
    struct es_replica_frame f;
    if (!es_replica_look(l->replica, index, &f))
        return false;
    *out = (struct rep_frame){.index = index,
                              .term = f.term,
                              .checksum = f.mark.checksum,
                              .position_end = f.mark.end_position,
                              .kind = f.kind};
    return true;
}

/* ---- what the driver asks for ---- */

int rd_log_save(struct rd_log *l, uint64_t term, uint64_t vote, struct esdb_error *err) {
    struct es_raft_state *s = es_replica_state(l->replica);
    s->term = term;
    s->vote = vote;
    return es_replica_save(l->replica, err);
}

int rd_log_reserve(struct rd_log *l, size_t len, struct esdb_error *err) {
    return es_replica_reserve(l->replica, len, err);
}

int rd_log_cut(struct rd_log *l, uint64_t index, struct esdb_error *err) {
    struct membership *m = (struct membership *)(void *)l->pending.at;
    while (l->pending.len > 0 && m[l->pending.len / sizeof *m - 1].index >= index)
        l->pending.len -= sizeof *m;
    return es_replica_cut(l->replica, index, err);
}

/* A frame of the leader is checked whole before it is written: what is wrong in there must not spread. */
static int append_received(struct rd_log *l, const struct rep_entry *e, struct esdb_error *err) {
    struct fmt_frame f;
    size_t bad = 0;
    const char *wrong = fmt_frame_decode(e->frame, e->frame_len, &f);
    if (!wrong)
        wrong = fmt_frame_check(&f, e->frame, &bad);
    if (wrong)
        return es_fail(err, ESDB_ECORRUPT, "frame %llu, as the leader sent it: %s", (unsigned long long)e->index,
                       wrong);
    int rc = es_replica_append(l->replica, e->frame, e->frame_len, err);
    if (rc == 0 && e->kind == FMT_FRAME_CONFIGURATION)
        rc = add_pending(l, e->index, e->frame + f.header_len, f.frame_len - f.header_len);
    return rc;
}

int rd_log_append(struct rd_log *l, const struct rep_entry *entries, size_t count, struct esdb_error *err) {
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < count; i++) {
        const struct rep_entry *e = &entries[i];
        if (e->frame) {
            rc = append_received(l, e, err);
            continue;
        }
        rc = es_replica_append_made(l->replica, e->kind, e->flags, e->term, e->payload, e->payload_len, err);
        if (rc == 0 && e->kind == FMT_FRAME_CONFIGURATION)
            rc = add_pending(l, e->index, e->payload, e->payload_len);
    }
    return rc;
}

int rd_log_publish(struct rd_log *l, uint64_t committed, struct esdb_error *err) {
    int rc = es_replica_publish(l->replica, committed, err);
    if (rc == 0 && settle(l, committed))
        rc = es_replica_save(l->replica, err);
    return rc;
}

int rd_log_sync(struct rd_log *l, uint64_t *upto, struct esdb_error *err) {
    return es_replica_sync(l->syncer, upto, err);
}

int rd_log_index(struct rd_log *l, struct esdb_error *err) {
    uint64_t last = es_replica_last(l->replica);
    if (l->indexed == last)
        return 0;
    l->indexed = last;
    return es_replica_index(l->replica, err);
}

bool rd_log_must_seal(struct rd_log *l) {
    struct es_replica_frame f;
    uint64_t committed = es_replica_committed(l->replica);
    if (!es_replica_look(l->replica, committed, &f) || f.mark.segment == l->sealed_name)
        return false;
    l->sealed_name = f.mark.segment; /* what stands before it is committed */
    return true;
}

void rd_log_seal(struct rd_log *l) {
    if (l->sealer || esdb_open(es_replica_db(l->replica)->path, ESDB_APPEND, &l->sealer, NULL) == 0)
        esdb_seal(l->sealer, NULL);
}

int rd_log_read(struct rd_log *l, uint64_t first, uint32_t count, size_t bytes, struct rep_frames *out,
                struct esdb_error *err) {
    uint32_t got = 0;
    l->read.len = 0;
    int rc = es_replica_read(l->replica, first, count, bytes, &l->read, &got, err);
    if (rc == 0)
        *out = (struct rep_frames){got ? l->read.at : NULL, l->read.len, got};
    return rc;
}

int rd_log_prepare(struct rd_log *l, esdb_batch *b, unsigned flags, uint64_t term, struct rep_entry *entry,
                   struct esdb_receipt *receipt, uint64_t *rests, struct esdb_error *err) {
    const unsigned char *frame;
    size_t len;
    *rests = es_replica_last(l->replica);
    int rc = es_replica_prepare(l->replica, b, flags, term, &frame, &len, receipt, err);
    if (rc == 1)
        return ESDB_END;
    if (rc == ES_MUST_ROLL)
        return RD_LOG_ROLL;
    if (rc == 0)
        *entry = (struct rep_entry){.index = es_replica_last(l->replica) + 1,
                                    .term = term,
                                    .kind = FMT_FRAME_EVENTS,
                                    .frame = frame,
                                    .frame_len = len};
    return rc;
}

int rd_log_receipt(struct rd_log *l, esdb_batch *b, uint64_t index, struct esdb_receipt *out, struct esdb_error *err) {
    struct es_replica_frame f;
    if (!es_replica_look(l->replica, index, &f))
        return es_fail(err, ESDB_ECORRUPT, "frame %llu is not there", (unsigned long long)index);
    return es_fill_receipt(es_replica_db(l->replica), b, &f.mark, out, err);
}
