#include "tests/sim/os.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "format/head.h"
#include "libcore/os.h"

#define SECTOR 64u /* smaller than any disk tears: checksums must do without that */
#define FDS 4096
#define NAME 64

struct range {
    uint64_t from, to;
};

/* A file, whatever its name. */
struct file {
    unsigned char *image; /* what the disk holds */
    size_t size;
    struct range *dirty;
    size_t dirty_count, dirty_room;
    bool resized;
    unsigned names; /* in both lists below, and open descriptors */
};

struct name {
    char path[NAME]; /* in the node's directory */
    struct file *file;
};

struct name_change {
    char from[NAME], to[NAME]; /* from empty: made; to empty: removed */
    struct file *file;
};

struct node {
    struct name now[64], disk[64];
    size_t now_count, disk_count;
    struct name_change change[64];
    size_t change_count;
    unsigned dies_after; /* calls; 0: lives on */
    bool dead;
    struct fmt_head head; /* as the kernel has written it last */
    bool has_head;
};

static struct es_os real;
static char base[256];
static struct node nodes[SIM_NODES_MAX];
static struct {
    struct file *file;
    int node; /* number + 1; 0: not ours */
} open_file[FDS];

/* ---- names ---- */

static void hold(struct file *f) {
    f->names++;
}

static void release(struct file *f) {
    if (--f->names > 0)
        return;
    free(f->image);
    free(f->dirty);
    free(f);
}

static struct name *find(struct name *list, size_t count, const char *path) {
    for (size_t i = 0; i < count; i++)
        if (strcmp(list[i].path, path) == 0)
            return &list[i];
    return NULL;
}

static void put(struct name *list, size_t *count, const char *path, struct file *f) {
    struct name *there = find(list, *count, path);
    hold(f);
    if (there)
        release(there->file);
    else if (*count < 64)
        there = &list[(*count)++];
    else
        abort();
    snprintf(there->path, NAME, "%s", path);
    there->file = f;
}

static void drop(struct name *list, size_t *count, const char *path) {
    struct name *there = find(list, *count, path);
    if (!there)
        return;
    release(there->file);
    *there = list[--*count];
}

static bool ends(const char *path, const char *tail) {
    size_t a = strlen(path), b = strlen(tail);
    return a >= b && strcmp(path + a - b, tail) == 0;
}

static bool watched(const char *path) {
    return ends(path, ".part") || ends(path, ".log") || ends(path, ".log.tmp") || strstr(path, "store.yaml") || strstr(path, "raft/state") ||
           strstr(path, "raft/.state") || ends(path, "poison") || ends(path, ".poison.tmp");
}

/* The path of fd below the node's directory. False: not below ours. */
static bool place_of(int fd, int *node, char path[NAME]) {
    char link[64], target[512];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, target, sizeof target - 1);
    if (n <= 0)
        return false;
    target[n] = '\0';
    size_t len = strlen(base);
    if (strncmp(target, base, len) != 0 || target[len] != '/' || target[len + 1] != 'n')
        return false;
    *node = target[len + 2] - '0';
    const char *rest = target + len + 3;
    snprintf(path, NAME, "%s", *rest == '/' ? rest + 1 : rest);
    return *node >= 0 && *node < SIM_NODES_MAX;
}

static bool place(int dir, const char *name, int *node, char path[NAME]) {
    char folder[NAME];
    if (!place_of(dir, node, folder))
        return false;
    int n = snprintf(path, NAME, "%s%s%s", folder, folder[0] ? "/" : "", name);
    return n < NAME && watched(path);
}

static void apply(struct node *n, size_t count) {
    for (size_t i = 0; i < count; i++) {
        struct name_change *c = &n->change[i];
        if (c->from[0])
            drop(n->disk, &n->disk_count, c->from);
        if (c->to[0])
            put(n->disk, &n->disk_count, c->to, c->file);
    }
}

static void forget_changes(struct node *n) {
    for (size_t i = 0; i < n->change_count; i++)
        release(n->change[i].file);
    n->change_count = 0;
}

static void change(int node, const char *from, const char *to, struct file *f) {
    struct node *n = &nodes[node];
    if (n->change_count == 64) { /* journals are written now and then without being asked to */
        apply(n, n->change_count);
        forget_changes(n);
    }
    struct name_change *c = &n->change[n->change_count++];
    snprintf(c->from, NAME, "%s", from);
    snprintf(c->to, NAME, "%s", to);
    c->file = f;
    hold(f);
}

/* ---- the calls ---- */

/* Is this the call at which the power goes, or a later one? */
static bool dies(int node) {
    struct node *n = &nodes[node];
    if (!n->dead && (n->dies_after == 0 || --n->dies_after > 0))
        return false;
    n->dead = true;
    errno = EIO;
    return true;
}

static int sim_openat(int dir, const char *path, int flags, mode_t mode) {
    int node;
    char at[NAME];
    if ((flags & O_CREAT) && place(dir, path, &node, at) && dies(node))
        return -1;
    int fd = real.openat(dir, path, flags, mode);
    if (fd < 0 || fd >= FDS || (flags & O_DIRECTORY) || !place(dir, path, &node, at))
        return fd;
    struct node *n = &nodes[node];
    struct name *there = find(n->now, n->now_count, at);
    struct file *f = there ? there->file : calloc(1, sizeof *f);
    if (!there) {
        put(n->now, &n->now_count, at, f);
        change(node, "", at, f);
    }
    open_file[fd].file = f;
    open_file[fd].node = node + 1;
    hold(f);
    return fd;
}

static struct file *file_of(int fd) {
    return fd >= 0 && fd < FDS && open_file[fd].node ? open_file[fd].file : NULL;
}

static int sim_close(int fd) {
    struct file *f = file_of(fd);
    if (f) {
        open_file[fd].node = 0;
        open_file[fd].file = NULL;
        release(f);
    }
    return real.close(fd);
}

static void touch(struct file *f, uint64_t from, uint64_t to) {
    struct range *last = f->dirty_count ? &f->dirty[f->dirty_count - 1] : NULL;
    if (last && from <= last->to && to >= last->from) {
        last->from = from < last->from ? from : last->from;
        last->to = to > last->to ? to : last->to;
        return;
    }
    if (f->dirty_count == f->dirty_room) {
        f->dirty_room = f->dirty_room ? 2 * f->dirty_room : 8;
        f->dirty = realloc(f->dirty, f->dirty_room * sizeof *f->dirty);
    }
    f->dirty[f->dirty_count++] = (struct range){from, to};
}

static ssize_t sim_pwrite(int fd, const void *buf, size_t len, off_t at) {
    struct file *f = file_of(fd);
    if (f && dies(open_file[fd].node - 1))
        return -1;
    ssize_t n = real.pwrite(fd, buf, len, at);
    if (n > 0 && f)
        touch(f, (uint64_t)at, (uint64_t)at + (uint64_t)n);
    return n;
}

static int sim_ftruncate(int fd, off_t size) {
    struct file *f = file_of(fd);
    if (f && dies(open_file[fd].node - 1))
        return -1;
    int rc = real.ftruncate(fd, size);
    if (rc == 0 && f) {
        f->resized = true;
        touch(f, (uint64_t)size, UINT64_MAX); /* what comes back behind it later is zeros */
    }
    return rc;
}

static int sim_fallocate(int fd, off_t at, off_t len) {
    struct file *f = file_of(fd);
    if (f && dies(open_file[fd].node - 1))
        return -1;
    int rc = real.fallocate(fd, at, len);
    if (rc == 0 && f)
        f->resized = true;
    return rc;
}

/* The disk has what the file holds. */
static void settle(struct file *f, int fd) {
    struct stat st;
    if (f->dirty_count == 0 && !f->resized)
        return;
    if (fstat(fd, &st) != 0)
        abort();
    size_t size = (size_t)st.st_size;
    if (size != f->size) {
        f->image = realloc(f->image, size ? size : 1);
        if (size > f->size)
            memset(f->image + f->size, 0, size - f->size);
        f->size = size;
    }
    for (size_t i = 0; i < f->dirty_count; i++) {
        uint64_t to = f->dirty[i].to < size ? f->dirty[i].to : size, from = f->dirty[i].from;
        if (from < to && real.pread(fd, f->image + from, (size_t)(to - from), (off_t)from) != (ssize_t)(to - from))
            abort();
    }
    f->dirty_count = 0;
    f->resized = false;
}

/* The page is mapped: the kernel writes it when it likes, and when it is asked to. */
static void write_head(int node) {
    char path[512];
    snprintf(path, sizeof path, "%s/n%d/head", base, node);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    nodes[node].has_head = real.pread(fd, &nodes[node].head, sizeof nodes[node].head, 0) == sizeof nodes[node].head;
    real.close(fd);
}

static int sim_fsync(int fd) {
    static unsigned often;
    struct file *f = file_of(fd);
    int node;
    char path[NAME];
    if (f && often++ % 8 == 0)
        write_head(open_file[fd].node - 1);
    if (f) {
        if (dies(open_file[fd].node - 1))
            return -1;
        settle(f, fd);
        return 0;
    }
    if (!place_of(fd, &node, path))
        return real.fsync(fd);
    if (dies(node))
        return -1;
    if (strcmp(path, "head") == 0)
        write_head(node);
    if (strcmp(path, "") != 0 && strcmp(path, "log") != 0 && strcmp(path, "raft") != 0 &&
        strcmp(path, "fetch") != 0)
        return 0;
    apply(&nodes[node], nodes[node].change_count); /* more than this directory alone: journals are in order */
    forget_changes(&nodes[node]);
    return 0;
}

static int sim_renameat(int dir, const char *from, const char *to) {
    int node;
    char a[NAME], b[NAME];
    bool ours = place(dir, from, &node, a) && place(dir, to, &node, b);
    if (ours && dies(node))
        return -1;
    int rc = real.renameat(dir, from, to);
    if (rc != 0 || !ours)
        return rc;
    struct node *n = &nodes[node];
    struct name *there = find(n->now, n->now_count, a);
    if (!there)
        return rc;
    struct file *f = there->file;
    hold(f);
    drop(n->now, &n->now_count, a);
    put(n->now, &n->now_count, b, f);
    change(node, a, b, f);
    release(f);
    return rc;
}

static int sim_unlinkat(int dir, const char *name) {
    int node;
    char path[NAME];
    bool ours = place(dir, name, &node, path);
    if (ours && dies(node))
        return -1;
    int rc = real.unlinkat(dir, name);
    if (rc != 0 || !ours)
        return rc;
    struct node *n = &nodes[node];
    struct name *there = find(n->now, n->now_count, path);
    if (!there)
        return rc;
    change(node, path, "", there->file);
    drop(n->now, &n->now_count, path);
    return rc;
}

void sim_os_install(const char *directory) {
    char resolved[4096];
    if (!realpath(directory, resolved) || strlen(resolved) >= sizeof base)
        abort();
    snprintf(base, sizeof base, "%s", resolved);
    real = es_os;
    es_os.openat = sim_openat;
    es_os.close = sim_close;
    es_os.pwrite = sim_pwrite;
    es_os.ftruncate = sim_ftruncate;
    es_os.fallocate = sim_fallocate;
    es_os.fdatasync = sim_fsync;
    es_os.fsync = sim_fsync;
    es_os.renameat = sim_renameat;
    es_os.unlinkat = sim_unlinkat;
}

void sim_os_die(unsigned node, unsigned calls) {
    nodes[node].dies_after = calls;
}

bool sim_os_dead(unsigned node) {
    return nodes[node].dead;
}

/* ---- power ---- */

/* What of a file survives: each sector that was written since the last sync is there or not; so is a change of its size. */
static void survive(struct sim *s, unsigned node, const struct name *now, struct file *f, unsigned luck) {
    char path[512];
    snprintf(path, sizeof path, "%s/n%u/%s", base, node, now->path);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0)
        abort();
    size_t size = f->size;
    if ((size_t)st.st_size != f->size && sim_below(s, 100) < luck)
        size = (size_t)st.st_size;
    if (size != f->size) {
        f->image = realloc(f->image, size ? size : 1);
        if (size > f->size)
            memset(f->image + f->size, 0, size - f->size);
        f->size = size;
    }
    for (size_t i = 0; i < f->dirty_count; i++)
        for (uint64_t at = f->dirty[i].from / SECTOR * SECTOR; at < f->dirty[i].to && at < size; at += SECTOR) {
            size_t len = size - at < SECTOR ? (size_t)(size - at) : SECTOR;
            if (sim_below(s, 100) >= luck)
                continue;
            ssize_t n = real.pread(fd, f->image + at, len, (off_t)at);
            if (n >= 0 && (size_t)n < len)
                memset(f->image + at + n, 0, len - (size_t)n);
        }
    real.close(fd);
    f->dirty_count = 0;
    f->resized = false;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *where) {
    (void)st;
    (void)type;
    return where->level == 0 ? 0 : remove(path);
}

static int remove_file(const char *path, const struct stat *st, int type, struct FTW *where) {
    (void)st;
    (void)where;
    return type == FTW_F && !ends(path, "/lock") && !ends(path, "/head") ? remove(path) : 0;
}

static void write_back(unsigned node, const struct name *n) {
    char path[512];
    snprintf(path, sizeof path, "%s/n%u/fetch", base, node);
    if (strncmp(n->path, "fetch/", 6) == 0)
        mkdir(path, 0700); /* it may have been removed, and its file not durably */
    snprintf(path, sizeof path, "%s/n%u/%s", base, node, n->path);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, (off_t)n->file->size) != 0 ||
        fallocate(fd, 0, 0, n->file->size ? (off_t)n->file->size : 1) != 0 || ftruncate(fd, (off_t)n->file->size) != 0)
        abort();
    for (size_t at = 0; at < n->file->size; at += 4096) { /* zeros need not be written */
        size_t len = n->file->size - at < 4096 ? n->file->size - at : 4096;
        static const unsigned char zeros[4096];
        if (memcmp(n->file->image + at, zeros, len) != 0 &&
            real.pwrite(fd, n->file->image + at, len, (off_t)at) != (ssize_t)len)
            abort();
    }
    real.close(fd);
}

/* The head page: as the kernel wrote it last, on another boot; or gone. */
static void spoil_head(struct sim *s, unsigned node) {
    char path[512];
    struct fmt_head *h = &nodes[node].head;
    snprintf(path, sizeof path, "%s/n%u/head", base, node);
    int fd = nodes[node].has_head && sim_chance(s, 7000) ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0) {
        unlink(path);
        return;
    }
    memset(h->boot_id, 7, sizeof h->boot_id);
    h->check = fmt_head_check(h);
    if (real.pwrite(fd, h, sizeof *h, 0) != sizeof *h)
        abort();
    real.close(fd);
}

void sim_os_power_loss(struct sim *s, unsigned node) {
    struct node *n = &nodes[node];
    char path[512];
    n->dead = false;
    n->dies_after = 0;
    static const unsigned chances[] = {0, 100, 50, 20, 80};
    unsigned luck = chances[sim_below(s, 5)];
    for (size_t i = 0; i < n->now_count; i++)
        survive(s, node, &n->now[i], n->now[i].file, luck);
    apply(n, sim_below(s, n->change_count + 1));
    forget_changes(n);
    while (n->now_count)
        drop(n->now, &n->now_count, n->now[0].path);
    snprintf(path, sizeof path, "%s/n%u", base, node);
    nftw(path, remove_file, 16, FTW_PHYS);
    spoil_head(s, node);
    for (size_t i = 0; i < n->disk_count; i++) {
        put(n->now, &n->now_count, n->disk[i].path, n->disk[i].file);
        write_back(node, &n->disk[i]);
    }
}

void sim_os_forget(unsigned node) {
    struct node *n = &nodes[node];
    char path[512];
    forget_changes(n);
    while (n->now_count)
        drop(n->now, &n->now_count, n->now[0].path);
    while (n->disk_count)
        drop(n->disk, &n->disk_count, n->disk[0].path);
    n->dead = false;
    n->dies_after = 0;
    n->has_head = false;
    snprintf(path, sizeof path, "%s/n%u", base, node);
    nftw(path, remove_one, 16, FTW_PHYS | FTW_DEPTH);
    rmdir(path);
}
