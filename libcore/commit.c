#include "commit.h"

#include <errno.h>

#include "lock.h"
#include "os.h"
#include "recover.h"
#include "segment.h"
#include "shared_head.h"

#define SLICE_MS 20 /* a leader may die: whoever waits looks again after this long */
#define PATIENCE 6  /* times the lock time-out: a disk may stall for long, and "unknown" is a poor answer */

/* The watermark `synced` as a mark; when its own mark is lost, the beginning of the active segment: what lies before is
 * durable, because segments are synced before they are closed. */
static struct fmt_mark synced_mark(const esdb *db, const struct fmt_mark *appended) {
    struct fmt_mark m;
    if (es_mark_find(db->head->synced_mark, es_head_synced(db), &m) && m.segment == appended->segment)
        return m;
    const struct fmt_segment *s = &db->active.header;
    return (struct fmt_mark){.index = s->first_index - 1,
                             .segment = appended->segment,
                             .end_offset = s->header_len,
                             .end_position = s->first_position,
                             .checksum = s->prev_checksum};
}

int es_lead(esdb *db, uint32_t *round, struct esdb_error *err) {
    struct fmt_mark to;
    uint64_t in_progress = 0;
    int rc = es_head_refresh(db, err); /* a head that was replaced must not be led by: others sync by the new one */
    if (rc < 0)
        return rc;
    if (!es_head_valid(db))
        return 0;
    if (es_head_poisoned(db))
        return es_check_poison(db, err);
    if (!es_mark_find(db->head->appended_mark, es_head_appended(db), &to))
        return 0; /* just being published, or damaged: the caller looks again */
    if (to.index <= es_head_synced(db))
        return 0;
    rc = es_active_open(db, to.segment, err);
    if (rc < 0)
        return rc;
    if (!es_word_get(&db->head->in_progress, &in_progress) ||
        in_progress) { /* a leader died between sync and telling */
        struct fmt_mark from = synced_mark(db, &to);
        rc = es_rewrite(db, &from, to.index, err);
        if (rc < 0)
            return rc;
    }
    uint32_t bit = es_round_begin(db, to.index);
    if (round)
        *round = bit;
    es_word_set(&db->head->in_progress, 1);
    if (db->settings.user.durability == ESDB_DURABLE)
        rc = es_fdatasync(db->active.fd);
    if (rc < 0)
        rc = es_poison(db, "syncing the log", rc, err); /* never retried: the next one would say 0 */
    else
        es_publish_synced(db, &to);
    es_word_set(&db->head->in_progress, 0);
    return rc;
}

/* Head is not valid: becomes so, as for an append. */
static int revive(esdb *db, struct esdb_error *err) {
    int rc = es_lock_append(db, err);
    if (rc < 0)
        return rc;
    if (!es_head_valid(db))
        rc = es_rebuild(db, err);
    es_unlock_append(db);
    return rc;
}

static int unknown(esdb *db, const char *why, struct esdb_error *err) {
    return es_fail(err, ESDB_EUNKNOWN,
                   "%s: %s: whether the event was stored is unknown (a retry with the same event_id "
                   "and --idempotent is safe)",
                   db->path, why);
}

int es_commit(esdb *db, uint64_t index, uint64_t generation, struct esdb_error *err) {
    uint64_t deadline = es_monotonic_ms() + (uint64_t)db->lock_timeout_ms * PATIENCE;
    for (;;) {
        int rc = 0;
        if (!es_head_valid(db)) {
            rc = revive(db, err);
            if (rc < 0)
                return rc;
        }
        uint32_t wake = db->head->wake;
        if (es_head_poisoned(db)) {
            return es_check_poison(db, err);
        }
        if (es_head_valid(db) && es_head_generation(db) != generation)
            return unknown(db, "the log was rebuilt", err);
        uint64_t synced = 0;
        if (es_word_get(&db->head->synced, &synced) && synced >= index && es_head_generation(db) == generation)
            return 0;
        if (es_monotonic_ms() > deadline)
            return unknown(db, "the disk did not confirm in time", err);
        rc = es_try_lock_sync(db);
        if (rc == 0) {
            uint32_t round = 0;
            rc = es_head_synced(db) >= index ? 0 : es_lead(db, &round, err);
            es_unlock(db->lock, ES_LOCK_SYNC);
            es_head_wake_round(db, round);
        } else if (rc == -EAGAIN) { /* woken, late or interrupted: looks again */
            es_futex_wait(&db->head->wake, wake, es_round_for(db, index), SLICE_MS);
            rc = 0;
        }
        if (rc < 0)
            return es_fail(err, rc, "%s/lock: the sync lock", db->path); /* keeps a text that is there already */
    }
}
