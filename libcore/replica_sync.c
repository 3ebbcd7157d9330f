/* replica_sync.c: what a node needs beside its one thread that writes: syncs from another one, and how a store becomes
 * replicated. */
#include <errno.h>
#include <stdlib.h>

#include "commit.h"
#include "lock.h"
#include "os.h"
#include "replica_internal.h"
#include "segment.h"
#include "settings.h"
#include "shared_head.h"

struct es_replica_syncer {
    struct es_replica *replica;
    esdb *db;
    uint64_t cuts;
};

/* ---- syncing ---- */

int es_replica_syncer_open(struct es_replica *r, struct es_replica_syncer **out, struct esdb_error *err) {
    struct es_replica_syncer *s = calloc(1, sizeof *s);
    if (!s)
        return es_fail(err, -ENOMEM, "%s", r->db->path);
    s->replica = r;
    int rc = esdb_open(r->db->path, ESDB_APPEND, &s->db, err);
    if (rc < 0) {
        free(s);
        return rc;
    }
    *out = s;
    return 0;
}

void es_replica_syncer_close(struct es_replica_syncer *s) {
    if (s)
        esdb_close(s->db);
    free(s);
}

int es_replica_sync(struct es_replica_syncer *s, uint64_t *upto, struct esdb_error *err) {
    int rc = es_lock_sync(s->db, err);
    if (rc < 0)
        return rc;
    uint64_t cuts = s->replica->cuts;
    if (cuts != s->cuts) { /* a segment of the same name may be another file now */
        es_active_close(s->db);
        es_segments_close(s->db);
        s->cuts = cuts;
    }
    rc = es_lead(s->db, NULL, err);
    *upto = es_head_synced(s->db);
    es_unlock(s->db->lock, ES_LOCK_SYNC);
    return rc;
}

/* ---- becoming replicated ---- */

static int fill_settings(void *context, int fd) {
    char text[1024];
    size_t len = es_settings_print(context, text, sizeof text);
    return es_pwrite(fd, text, len, 0);
}

int es_replica_convert(const char *path, uint64_t incarnation, struct es_raft_state *state, struct esdb_error *err) {
    esdb *db;
    struct es_tail tail;
    int rc = esdb_open(path, ESDB_APPEND, &db, err);
    if (rc < 0)
        return rc;
    rc = es_lock_append(db, err);
    if (rc == 0) {
        rc = es_tail_load(db, &tail, err);
        if (rc == 0 && incarnation == 0)
            rc = ESDB_EUSAGE;
        struct es_settings s = db->settings;
        s.incarnation = db->settings.incarnation = incarnation; /* raft/state first: without it nobody may vote */
        s.replicated = true;
        if (rc == 0)
            rc = es_raft_state_create(db, state, err);
        if (rc == 0 && (rc = es_create_durably(db, db->dir, "store.yaml", fill_settings, &s)) < 0)
            es_fail(err, rc, "%s/store.yaml", db->path);
        es_unlock_append(db);
    }
    esdb_close(db);
    return rc;
}
