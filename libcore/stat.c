#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "directory.h"
#include "index.h"
#include "os.h"
#include "recover.h"
#include "segment.h"
#include "shared_head.h"

struct tally {
    int dir;
    struct esdb_stat *out;
};

static uint64_t allocated(int dir, const char *name) {
    struct stat st;
    return es_fstatat(dir, name, &st) == 0 ? (uint64_t)st.st_blocks * 512 : 0;
}

static int tally_log(void *context, const char *name) {
    struct tally *t = context;
    size_t len = strlen(name);
    if (len > 4 && strcmp(name + len - 4, ".log") == 0) {
        t->out->segments++;
        t->out->log_size += allocated(t->dir, name);
    } else
        t->out->index_size += allocated(t->dir, name);
    return 0;
}

static int tally_table(void *context, const char *name) {
    struct tally *t = context;
    t->out->tables++;
    t->out->table_size += allocated(t->dir, name);
    return 0;
}

static int first_epoch(esdb *db, const struct es_visible *v, uint64_t *out, struct esdb_error *err) {
    uint64_t *names;
    size_t count;
    struct es_view view;
    struct fmt_event e;
    int rc = es_segment_list(db, &names, &count, err);
    if (rc < 0 || v->end_position == 0)
        return rc < 0 ? rc : (free(names), 0);
    rc = es_view_open(db, names[0], names[0] == v->segment ? v->end_position : UINT64_MAX, &view, err);
    free(names);
    if (rc == 0 && es_view_event(&view, 0, &e, NULL) == 0)
        *out = e.epoch_us;
    return rc;
}

/* One that cannot be opened is for verification to tell. */
static void tally_compressed(esdb *db, uint64_t name, struct esdb_stat *out) {
    struct es_segment *seg;
    if (es_segment_open(db, name, &seg, NULL) < 0 || !seg->is_packed)
        return;
    out->compressed++;
    out->compressed_used += seg->file_size;
    out->compressed_content += seg->size;
}

/* Bytes of headers and frames: whole files before the active segment, the visible part of that. */
static int used(esdb *db, const struct es_visible *v, struct esdb_stat *out, struct esdb_error *err) {
    uint64_t *names;
    size_t count;
    int rc = es_segment_list(db, &names, &count, err);
    for (size_t i = 0; rc == 0 && i < count; i++) {
        char name[ES_NAME_SIZE];
        struct stat st;
        es_segment_name(names[i], ES_NAME_LOG, name);
        if (names[i] == v->segment) {
            out->log_used += v->end_offset;
            continue;
        }
        if (es_fstatat(db->log, name, &st) == 0)
            out->log_used += (uint64_t)st.st_size;
        tally_compressed(db, names[i], out);
    }
    if (rc == 0)
        free(names);
    return rc;
}

int esdb_stat(esdb *db, struct esdb_stat *out, struct esdb_error *err) {
    struct es_visible v;
    struct esdb_error poison = {0};
    struct esdb_stat s = {
        .incarnation = db->settings.incarnation, .created_us = db->settings.created_us, .settings = db->settings.user};
    memcpy(s.store_id, db->settings.user.store_id, sizeof s.store_id);
    s.head = es_head_state(db);
    int rc = es_visible(db, &v, err);
    if (rc < 0)
        return rc;
    s.committed = s.synced = s.appended = v.index;
    if (es_head_valid(db)) {
        s.synced = es_head_synced(db);
        s.appended = es_head_appended(db);
    }
    s.end_position = v.end_position;
    s.last_epoch_us = v.last_epoch_us;
    if (es_check_poison(db, &poison) < 0) {
        s.poisoned = true;
        memcpy(s.poison, poison.text, sizeof s.poison - 1);
    }
    struct tally t = {db->log, &s};
    rc = es_list_dir(db->dir, "log", tally_log, &t);
    t.dir = db->tables;
    if (rc == 0 && db->tables >= 0)
        rc = es_list_dir(db->dir, "tables", tally_table, &t);
    if (rc < 0)
        return es_fail(err, rc, "%s", db->path);
    rc = used(db, &v, &s, err);
    if (rc == 0)
        rc = first_epoch(db, &v, &s.first_epoch_us, err);
    if (rc < 0)
        return rc;
    s.clock_behind_us = s.last_epoch_us ? (int64_t)(s.last_epoch_us - es_clock_us()) : 0;
    *out = s;
    return 0;
}
