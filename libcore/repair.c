#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "directory.h"
#include "index.h"
#include "live.h"
#include "lock.h"
#include "os.h"
#include "recover.h"
#include "roll.h"
#include "shared_head.h"

/* ---- derived files ---- */

static int remove_name(void *context, const char *name) {
    const int *dir = context;
    size_t len = strlen(name);
    if (len > 4 && strcmp(name + len - 4, ".log") == 0)
        return 0;
    int rc = es_unlinkat(*dir, name);
    return rc == -ENOENT ? 0 : rc;
}

/* Append and compaction lock held. */
static int rebuild_all(esdb *db, struct esdb_error *err) {
    uint64_t *names;
    size_t count;
    int rc = es_list_dir(db->dir, "log", remove_name, &db->log);
    if (rc == 0)
        rc = es_list_dir(db->dir, "tables", remove_name, &db->tables);
    if (rc < 0)
        return es_fail(err, rc, "%s: removing derived files", db->path);
    es_live_close(db);
    es_segments_close(db); /* their indexes are gone */
    es_head_invalidate(db);
    rc = es_rebuild(db, err);
    if (rc == 0)
        rc = es_segment_list(db, &names, &count, err);
    if (rc < 0)
        return rc;
    for (size_t i = 0; rc == 0 && i + 1 < count; i++)
        rc = es_seal(db, names[i], err);
    if (rc == 0 && count)
        es_directory_tidy(db, names[count - 1]);
    free(names);
    if (rc == 0) {
        struct es_tail tail;
        rc = es_tail_load(db, &tail, err);
        if (rc == 0)
            rc = es_live_prepare(db, &tail, 0, 0, true, err);
    }
    return rc;
}

int esdb_rebuild(esdb *db, struct esdb_error *err) {
    if (!(db->flags & ESDB_APPEND))
        return es_fail(err, ESDB_EUSAGE, "%s: was not opened for appending", db->path);
    es_directory_close(db->directory);
    db->directory = NULL;
    int rc = es_lock_append(db, err);
    if (rc < 0)
        return rc;
    rc = es_check_poison(db, err);
    if (rc < 0) {
        es_unlock_append(db);
        return rc;
    }
    rc = es_try_lock(db->lock, ES_LOCK_COMPACTION);
    if (rc < 0)
        rc = es_fail(err, ESDB_EUNAVAILABLE, "%s: another process is rebuilding or compacting", db->path);
    else {
        rc = rebuild_all(db, err);
        es_unlock(db->lock, ES_LOCK_COMPACTION);
    }
    es_unlock_append(db);
    return rc;
}

/* ---- poison ---- */

/* What the kernel still holds of the log is forgotten, so that the disk is read. */
static int forget_cache(esdb *db, struct esdb_error *err) {
    uint64_t *names;
    size_t count;
    int rc = es_segment_list(db, &names, &count, err);
    if (rc < 0)
        return rc;
    if (count) {
        es_segments_close(db); /* mapped pages would stay */
        rc = es_active_open(db, names[count - 1], err);
    }
    if (rc == 0 && count)
        es_drop_cache(db->active.fd);
    free(names);
    return rc;
}

/* Append and sync lock held. */
static int repair_locked(esdb *db, struct esdb_error *err) {
    int rc = forget_cache(db, err);
    if (rc < 0)
        return rc;
    es_head_invalidate(db);
    rc = es_renew(db, true, err);
    if (rc < 0)
        return rc;
    rc = es_unlinkat(db->dir, "poison");
    if (rc == 0)
        rc = es_fsync(db->dir);
    if (rc < 0 && rc != -ENOENT)
        return es_fail(err, rc, "%s/poison", db->path);
    es_word_set(&db->head->poisoned, 0);
    return 0;
}

int esdb_repair(const char *path, struct esdb_error *err) {
    esdb *db;
    int rc = esdb_open(path, ESDB_APPEND, &db, err);
    if (rc < 0)
        return rc;
    rc = es_lock_append(db, err);
    if (rc == 0) {
        rc = es_lock_sync(db, err);
        if (rc == 0) {
            rc = repair_locked(db, err);
            es_unlock_sync(db);
        }
        es_unlock_append(db);
    }
    esdb_close(db);
    return rc;
}
