/* adopt.c: what was fetched (install.h) becomes part of the log.
 *
 * After a crash anywhere, the log is one that recovers, with some of the fetched frames at its end, each committed:
 *
 *   1  frames for a segment that is there already are appended, as those of a leader; made durable before 2
 *   2  a whole segment, durable in fetch/, gets its name in log/, and that is made durable: before the next one has its name
 *   3  raft/state learns the newest membership up to there, then that all of it is committed */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commit.h"
#include "format/bytes.h"
#include "install.h"
#include "lock.h"
#include "os.h"
#include "replica_internal.h"
#include "shared_head.h"

#define LOCK_PATIENCE_MS 60000 /* a sync of this node's own may be under way */

void es_replica_lacks(struct es_replica *r, uint64_t *segment, struct es_part_begin *out) {
    struct es_replica_frame f = {0};
    *out = (struct es_part_begin){0};
    *segment = 0;
    if (r->committed == 0 || !es_replica_look(r, r->committed, &f))
        return;
    *out = (struct es_part_begin){.base = f.mark.end_offset,
                                  .index = f.mark.index,
                                  .position = f.mark.end_position,
                                  .checksum = f.mark.checksum,
                                  .last_epoch_us = f.mark.last_epoch_us,
                                  .term = f.term};
    *segment = f.mark.segment;
    if (f.rolls) { /* the next one is wanted whole */
        *segment = r->committed + 1;
        out->base = 0;
    }
}

/* A membership that is committed: raft/state has it when it is saved next. */
static int learn(struct es_replica *r, uint64_t index, const unsigned char *payload, size_t len,
                 struct esdb_error *err) {
    struct es_raft_state *s = &r->state;
    if (index <= s->configuration_index)
        return 0;
    if (len > sizeof s->configuration)
        return es_fail(err, ESDB_ECORRUPT, "%s: the membership in frame %llu is too large", r->db->path,
                       (unsigned long long)index);
    memcpy(s->configuration, payload, len);
    s->configuration_len = len;
    s->configuration_index = index;
    return 0;
}

/* One frame of a part, which is here, is another one here, or comes next. */
static int adopt_frame(struct es_replica *r, const struct fmt_frame *f, const unsigned char *bytes,
                       struct esdb_error *err) {
    struct es_replica_frame own;
    int rc = 0;
    bool there = f->index <= r->tail.mark.index;
    if (there && !es_replica_look(r, f->index, &own))
        return es_fail(err, ESDB_ECORRUPT, "%s: frame %llu is not there", r->db->path, (unsigned long long)f->index);
    if (there && own.mark.checksum != f->checksum) {
        rc = es_replica_cut(r, f->index, err); /* refuses what is committed here */
        there = false;
    }
    if (rc == 0 && !there)
        rc = es_replica_append(r, bytes, f->frame_len, err);
    if (rc == 0 && f->kind == FMT_FRAME_CONFIGURATION)
        rc = learn(r, f->index, bytes + f->header_len, f->frame_len - f->header_len, err);
    return rc;
}

static int adopt_frames(struct es_replica *r, const struct es_part *p, unsigned char *map, struct esdb_error *err) {
    size_t at = p->base ? (size_t)p->base : fmt_get32(map + 8), forgotten = 0; /* header_len of a checked segment */
    int rc = 0;
    if (p->holes)
        return es_fail(err, ESDB_EUNAVAILABLE,
                       "%s: what it lacks of segment %016llx was compacted on the other node (esdb-raftd --rejoin "
                       "fetches everything)",
                       r->db->path, (unsigned long long)p->segment);
    while (rc == 0 && at < p->size) {
        struct fmt_frame f;
        const char *wrong = fmt_frame_decode(map + at, (size_t)p->size - at, &f);
        if (wrong)
            return es_fail(err, ESDB_ECORRUPT, "%s/fetch/%016llx.part, offset %zu: %s", r->db->path,
                           (unsigned long long)p->segment, at, wrong);
        rc = f.index <= r->committed ? 0 : adopt_frame(r, &f, map + at, err);
        at += f.frame_len;
        if (at - forgotten > 8u << 20)
            forgotten = es_forget_pages(map, forgotten, at);
    }
    return rc;
}

/* The part's file, mapped. */
static int map_part(struct es_replica *r, int folder, const struct es_part *p, unsigned char **map,
                    struct esdb_error *err) {
    uint64_t have = 0;
    void *at = NULL;
    int fd, rc = es_part_open(r->db, folder, p->segment, 0, &fd, &have, err);
    if (rc < 0)
        return rc;
    if (have < p->size)
        rc = ESDB_ECORRUPT;
    else
        rc = es_mmap(fd, (size_t)p->size, false, &at);
    es_close(&fd);
    *map = at;
    return rc < 0 ? es_fail(err, rc, "%s/fetch/%016llx.part", r->db->path, (unsigned long long)p->segment) : 0;
}

/* The end of the log is that of the part now. Append lock held, and all is durable. */
static int move_tail(struct es_replica *r, const struct es_part *p, struct esdb_error *err) {
    esdb *db = r->db;
    uint64_t before = r->tail.mark.segment;
    int rc = es_lock_sync(db, err);
    if (rc < 0)
        return rc;
    if (es_active_open(db, before, NULL) == 0)
        es_set_mode(db->active.fd, db->mode & 0444); /* as es_next_segment does; the new one may still be written to */
    r->tail = (struct es_tail){.mark = p->end, .term = p->term, .rolled = p->rolls};
    es_head_forget_life(db);
    es_publish_appended(db, &r->tail.mark);
    es_publish_synced(db, &r->tail.mark);
    es_unlock_sync(db);
    r->ring_first = 0;
    r->prepared = NULL;
    es_replica_remember(r, p->kind);
    return es_active_open(db, p->segment, err);
}

static int learn_from(struct es_replica *r, const struct es_part *p, const unsigned char *map, struct esdb_error *err) {
    if (p->configuration_at == 0)
        return 0;
    const unsigned char *frame = map + p->configuration_at;
    size_t header = fmt_get16(frame + 4);
    return learn(r, p->configuration_index, frame + header, (size_t)p->configuration_len - header, err);
}

static int adopt_whole(struct es_replica *r, const struct es_part *p, const unsigned char *map,
                       struct esdb_error *err) {
    esdb *db = r->db;
    char from[2 * ES_NAME_SIZE], to[ES_NAME_SIZE];
    snprintf(from, sizeof from, "fetch/%016llx.part", (unsigned long long)p->segment);
    es_segment_path(p->segment, ES_NAME_LOG, to);
    int rc = learn_from(r, p, map, err);
    if (rc == 0 && es_head_synced(db) < r->tail.mark.index)
        rc = es_replica_sync_all(r, err);
    if (rc < 0)
        return rc;
    rc = es_renameat(db->dir, from, to);
    if (rc == 0)
        rc = es_fsync(db->log);
    return rc < 0 ? es_write_failed(db, "installing a segment", rc, err) : move_tail(r, p, err);
}

/* Does the part begin just where the log ends, in a segment that is not there yet? */
static bool follows(const struct es_replica *r, const struct es_part *p) {
    return p->base == 0 && p->rolls && r->tail.rolled && r->tail.mark.index + 1 == p->segment;
}

static int adopt_part(struct es_replica *r, int folder, const struct es_part *p, struct esdb_error *err) {
    struct es_replica_frame own;
    unsigned char *map;
    if (es_replica_look(r, p->end.index, &own) && own.mark.checksum == p->end.checksum && p->configuration_at == 0)
        return 0;
    int rc = map_part(r, folder, p, &map, err);
    if (rc < 0)
        return rc;
    rc = follows(r, p) ? adopt_whole(r, p, map, err) : adopt_frames(r, p, map, err);
    es_munmap(map, (size_t)p->size);
    if (rc == 0)
        es_part_remove(folder, p->segment);
    return rc;
}

int es_replica_adopt(struct es_replica *r, const struct es_part *parts, size_t count, struct esdb_error *err) {
    uint64_t decision = 0;
    int folder = es_part_folder(r->db, err), rc = folder < 0 ? folder : 0, patience = r->db->lock_timeout_ms;
    esdb_set_lock_timeout(r->db, LOCK_PATIENCE_MS);
    for (size_t i = 0; rc == 0 && i < count; i++) {
        const struct es_part *p = &parts[i];
        bool whole = follows(r, p);
        decision = p->decision > decision ? p->decision : decision;
        rc = adopt_part(r, folder, p, err);
        if (rc == 0 && r->tail.mark.index < p->end.index)
            rc = es_fail(err, ESDB_ECORRUPT, "%s: frame %llu was not fetched", r->db->path,
                         (unsigned long long)r->tail.mark.index + 1);
        if (rc < 0 || (!whole && i + 1 < count))
            continue;
        if (!whole)
            rc = es_replica_sync_all(r, err);
        if (rc == 0 && decision <= p->end.index) /* nobody is shown a gap before he is shown why */
            rc = es_replica_publish(r, p->end.index, err);
        if (rc == 0)
            rc = es_replica_save(r, err);
    }
    esdb_set_lock_timeout(r->db, patience);
    es_close(&folder);
    if (rc == 0)
        es_part_remove_all(r->db);
    return rc;
}
