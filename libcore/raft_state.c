#include "raft_state.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "format/bytes.h"
#include "format/checksum.h"
#include "os.h"

#define MAGIC "ESDBRAFT"
#define STATE "raft/state"
#define CHECKED 96u

static uint64_t checksum(const unsigned char *slot, size_t configuration_len) {
    uint64_t head = fmt_checksum(slot, CHECKED);
    return fmt_fold(head, fmt_checksum(slot + ES_RAFT_CONFIGURATION_AT, configuration_len));
}

static void encode(const esdb *db, const struct es_raft_state *s, unsigned char slot[ES_RAFT_SLOT_SIZE]) {
    memset(slot, 0, ES_RAFT_SLOT_SIZE);
    memcpy(slot, MAGIC, 8);
    fmt_put32(slot + 8, 1);
    fmt_put32(slot + 12, (uint32_t)s->configuration_len);
    fmt_put64(slot + 16, s->number);
    for (size_t i = 0; i < 16; i++)
        slot[24 + i] = db->settings.user.store_id[i];
    fmt_put64(slot + 40, db->settings.incarnation);
    fmt_put64(slot + 48, s->node);
    fmt_put64(slot + 56, s->term);
    fmt_put64(slot + 64, s->vote);
    fmt_put64(slot + 72, s->committed);
    fmt_put64(slot + 80, s->configuration_index);
    fmt_put64(slot + 88, s->cut);
    memcpy(slot + ES_RAFT_CONFIGURATION_AT, s->configuration, s->configuration_len);
    fmt_put64(slot + CHECKED, checksum(slot, s->configuration_len));
}

static bool decode(const esdb *db, const unsigned char *slot, struct es_raft_state *out) {
    uint32_t len = fmt_get32(slot + 12);
    if (memcmp(slot, MAGIC, 8) != 0 || fmt_get32(slot + 8) != 1 || len > ES_RAFT_CONFIGURATION_MAX ||
        fmt_get64(slot + CHECKED) != checksum(slot, len) || fmt_get64(slot + 40) != db->settings.incarnation)
        return false;
    for (size_t i = 0; i < 16; i++)
        if (slot[24 + i] != db->settings.user.store_id[i])
            return false;
    *out = (struct es_raft_state){.number = fmt_get64(slot + 16),
                                  .node = fmt_get64(slot + 48),
                                  .term = fmt_get64(slot + 56),
                                  .vote = fmt_get64(slot + 64),
                                  .committed = fmt_get64(slot + 72),
                                  .configuration_index = fmt_get64(slot + 80),
                                  .cut = fmt_get64(slot + 88),
                                  .configuration_len = len};
    memcpy(out->configuration, slot + ES_RAFT_CONFIGURATION_AT, len);
    return true;
}

static int open_folder(const esdb *db) {
    return es_opendirat(db->dir, "raft");
}

static int fail(const esdb *db, int code, struct esdb_error *err) {
    return es_fail_at(err, code, STATE, 0, "%s/" STATE, db->path);
}

int es_raft_state_load(const esdb *db, struct es_raft_state *out, struct esdb_error *err) {
    unsigned char bytes[2 * ES_RAFT_SLOT_SIZE] = {0};
    int folder = open_folder(db), fd = folder < 0 ? folder : es_openat(folder, "state", O_RDONLY, 0);
    es_close(&folder);
    if (fd == -ENOENT)
        return es_fail(err, ESDB_ENOTFOUND, "%s/" STATE ": there is none", db->path);
    ssize_t n = fd < 0 ? fd : es_pread(fd, bytes, sizeof bytes, 0);
    es_close(&fd);
    if (n < 0)
        return fail(db, (int)n, err);
    struct es_raft_state a, b;
    bool first = decode(db, bytes, &a), second = decode(db, bytes + ES_RAFT_SLOT_SIZE, &b);
    if (!first && !second)
        return es_fail_at(err, ESDB_ECORRUPT, STATE, 0,
                          "%s/" STATE ": damaged: this node cannot tell what it voted for any more", db->path);
    *out = first && (!second || a.number > b.number) ? a : b;
    return 0;
}

static int fill(void *context, int fd) {
    return es_pwrite(fd, context, 2 * ES_RAFT_SLOT_SIZE, 0);
}

int es_raft_state_create(const esdb *db, struct es_raft_state *s, struct esdb_error *err) {
    unsigned char bytes[2 * ES_RAFT_SLOT_SIZE] = {0};
    struct stat st;
    s->number = 1;
    encode(db, s, bytes + ES_RAFT_SLOT_SIZE);
    int rc = es_fstat(db->dir, &st);
    if (rc == 0)
        rc = es_mkdirat(db->dir, "raft", st.st_mode & 0770);
    if (rc == -EEXIST)
        rc = 0;
    int folder = rc < 0 ? rc : open_folder(db);
    if (folder < 0)
        return fail(db, folder, err);
    rc = es_create_durably(db, folder, "state", fill, bytes);
    es_close(&folder);
    if (rc == 0)
        rc = es_fsync(db->dir);
    return rc < 0 ? fail(db, rc, err) : 0;
}

int es_raft_state_save(const esdb *db, struct es_raft_state *s, struct esdb_error *err) {
    unsigned char slot[ES_RAFT_SLOT_SIZE];
    int folder = open_folder(db), fd = folder < 0 ? folder : es_openat(folder, "state", O_RDWR, 0);
    es_close(&folder);
    if (fd < 0)
        return fail(db, fd, err);
    s->number++;
    encode(db, s, slot);
    int rc = es_pwrite(fd, slot, sizeof slot, (s->number & 1) * ES_RAFT_SLOT_SIZE);
    if (rc == 0)
        rc = es_fdatasync(fd);
    es_close(&fd);
    return rc < 0 ? fail(db, rc, err) : 0;
}
