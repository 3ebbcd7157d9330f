#include "lock.h"

#include <errno.h>

#include "os.h"
#include "shared_head.h"

#define LOCK_SLICE_MS 20 /* a waiter looks again after this long even if nobody woke it: the holder may have died */
#define LOOK_MS 200      /* and after this long whether there is any sense in waiting */

/* Takes the lock or sleeps for a slice; -EAGAIN: not yet. */
static int try_or_sleep(esdb *db, uint64_t byte, _Atomic uint32_t *wake, int slice_ms) {
    uint32_t seen = wake ? *wake : 0;
    int rc = es_try_lock(db->lock, byte);
    if (rc != -EAGAIN)
        return rc;
    if (wake)
        es_futex_wait(wake, seen, ES_WAKE_EVERYBODY, slice_ms);
    else
        es_sleep_ms(1);
    return rc;
}

/* A file lock cannot be waited for with a time-out, so waiters sleep on a futex in head, which whoever gives the lock back
 * bumps when `waiters` tells of any: so that is raised before the last try. */
static int wait_for(esdb *db, uint64_t byte, _Atomic uint32_t *wake, _Atomic uint32_t *waiters, const char *what,
                    struct esdb_error *err) {
    int rc = es_try_lock(db->lock, byte);
    if (rc == -EAGAIN && waiters)
        atomic_fetch_add(waiters, 1);
    bool waits = rc == -EAGAIN;
    uint64_t deadline = waits ? es_monotonic_ms() + (uint64_t)db->lock_timeout_ms : 0;
    uint64_t look = 0;
    int alone = 0;
    while (rc == -EAGAIN) {
        uint64_t now = es_monotonic_ms();
        if (now >= look && (alone = es_check_stands_alone(db, err)) < 0)
            break; /* the daemon of a replicated store has it, for good */
        if (now >= deadline)
            break;
        if (now >= look)
            look = now + LOOK_MS;
        rc = try_or_sleep(db, byte, wake, deadline - now < LOCK_SLICE_MS ? (int)(deadline - now) : LOCK_SLICE_MS);
    }
    if (waits && waiters)
        atomic_fetch_sub(waiters, 1);
    if (alone < 0)
        return alone;
    if (rc == -EAGAIN)
        return es_fail(err, ESDB_EUNAVAILABLE, "%s: %s, held by another process for %d ms; nothing was written",
                       db->path, what, db->lock_timeout_ms);
    return rc < 0 ? es_fail(err, rc, "%s/lock", db->path) : 0;
}

int es_lock_append(esdb *db, struct esdb_error *err) {
    struct fmt_head *h = db->head;
    int rc = wait_for(db, ES_LOCK_APPEND, h ? &h->appender_wake : NULL, h ? &h->appenders : NULL,
                      "the append lock is busy", err);
    if (rc < 0)
        return rc;
    rc = es_check_stands_alone(db, err);
    if (rc == 0)
        rc = es_head_refresh(db, err);
    if (rc < 0)
        es_unlock_append(db);
    return rc;
}

int es_lock_bare(esdb *db, struct esdb_error *err) {
    return wait_for(db, ES_LOCK_APPEND, NULL, NULL, "the append lock is busy", err);
}

void es_unlock_append(esdb *db) {
    es_unlock(db->lock, ES_LOCK_APPEND);
    struct fmt_head *h = db->head;
    if (h && h->appenders != 0) {
        atomic_fetch_add(&h->appender_wake, 1);
        es_futex_wake(&h->appender_wake, 1, ES_WAKE_EVERYBODY);
    }
}

int es_try_lock_sync(esdb *db) {
    return es_try_lock(db->lock, ES_LOCK_SYNC);
}

int es_lock_sync(esdb *db, struct esdb_error *err) {
    return wait_for(db, ES_LOCK_SYNC, db->head ? &db->head->wake : NULL, NULL, "the sync lock is busy", err);
}

int es_lock_compaction(esdb *db, struct esdb_error *err) {
    return wait_for(db, ES_LOCK_COMPACTION, NULL, NULL, "the compaction lock is busy", err);
}

void es_unlock_sync(esdb *db) {
    es_unlock(db->lock, ES_LOCK_SYNC);
    es_head_wake(db);
}
