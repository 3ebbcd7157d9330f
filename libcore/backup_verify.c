/* esdb_backup_verify: a backup against its manifest. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "backup_manifest.h"
#include "format/checksum.h"
#include "os.h"

static int find(const struct esdb_verify_options *o, struct esdb_verify_result *r, const char *file, const char *text) {
    struct esdb_finding f = {.kind = ESDB_FINDING_DAMAGE};
    r->damaged++;
    snprintf(f.file, sizeof f.file, "%s", file);
    snprintf(f.text, sizeof f.text, "%s", text);
    return o->finding ? o->finding(o->context, &f) : 0;
}

static int verify_segment(int dir, const struct es_backup_segment *s, const struct esdb_verify_options *o,
                          struct esdb_verify_result *r, struct esdb_error *err) {
    char file[ES_NAME_SIZE];
    struct stat st;
    void *map = NULL;
    es_segment_path(s->name, ES_NAME_LOG, file);
    int fd = es_openat_stat(dir, file, O_RDONLY, 0, &st);
    r->segments++;
    if (fd == -ENOENT)
        return find(o, r, file, "is missing");
    if (fd < 0)
        return es_fail_open(err, fd, "backup", file);
    int rc = 0;
    if ((uint64_t)st.st_size != s->size || s->size == 0)
        rc = find(o, r, file, "has another size than the manifest says");
    else if ((rc = es_mmap(fd, (size_t)s->size, false, &map)) == 0) {
        if (fmt_checksum(map, (size_t)s->size) != s->digest)
            rc = find(o, r, file, "differs from what was backed up: its digest is another one");
        r->bytes += s->size;
        es_munmap(map, (size_t)s->size);
    } else
        es_fail(err, rc, "%s", file);
    es_close(&fd);
    return rc;
}

static int verify_settings(int dir, const struct es_backup_manifest *m, const char *path,
                           const struct esdb_verify_options *o, struct esdb_verify_result *r) {
    struct es_settings s;
    struct esdb_error why = {0};
    if (es_settings_load(dir, path, &s, &why) < 0)
        return find(o, r, "store.yaml", why.text);
    bool same = memcmp(s.user.store_id, m->store_id, sizeof m->store_id) == 0 && s.incarnation == m->incarnation;
    return same ? 0 : find(o, r, "store.yaml", "is of another store or incarnation than the manifest");
}

int esdb_backup_verify(const char *path, const struct esdb_verify_options *o, struct esdb_verify_result *out,
                       struct esdb_error *err) {
    struct es_backup_manifest m = {0};
    struct esdb_verify_result r = {0};
    uint64_t total = 0;
    int dir = es_open_directory(path);
    if (dir < 0)
        return es_fail(err, dir == -ENOENT || dir == -ENOTDIR ? ESDB_EUSAGE : dir, "%s: there is no such backup", path);
    int rc = es_manifest_load(dir, path, &m, err);
    for (size_t i = 0; rc == 0 && i < es_manifest_count(&m); i++)
        total += es_manifest_segment(&m, i)->size;
    if (rc == 0)
        rc = verify_settings(dir, &m, path, o, &r);
    for (size_t i = 0; rc == 0 && i < es_manifest_count(&m); i++) {
        rc = verify_segment(dir, es_manifest_segment(&m, i), o, &r, err);
        if (o->progress)
            o->progress(o->context, r.bytes, total);
    }
    es_close(&dir);
    es_manifest_release(&m);
    if (rc != 0)
        return rc;
    *out = r;
    return r.damaged ? es_fail(err, ESDB_ECORRUPT, "%s: %llu files differ from the manifest", path,
                               (unsigned long long)r.damaged)
                     : 0;
}
