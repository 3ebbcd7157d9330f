/* esdb-dump: explains the bytes of a store's files, also of damaged ones. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dump.h"
#include "format/bytes.h"
#include "format/head.h"
#include "format/live_index.h"
#include "format/segment.h"
#include "format/table.h"

enum { OPT_JSON = 256 };

static const struct cmd_option options[] = {
    {'v', "events", NULL, "also a line for each event, index entry or key", 0},
    {'b', "bytes", "A..B", "explain the bytes from offset A to B field by field (0x for hexadecimal)", 0},
    {'a', "all", NULL, "of a store: also head, indexes and tables", 0},
    {0, "json", NULL, "one JSON object a line, with everything that is known", OPT_JSON},
    {0},
};
static const struct cmd_group groups[] = {{"Options", options}, CMD_GROUP_STORE, CMD_GROUP_COLOR, {0}};
static const struct cmd_tool tool = {
    .name = "esdb-dump",
    .synopsis = "[options] [FILE...]",
    .summary = "explain the bytes of segments and of the files made from them",
    .examples = "# every frame of the store\n"
                "esdb-dump -S shop\n"
                "# every event too, from one file, which may be damaged, without its store\n"
                "esdb-dump --events shop/log/0000000000000001.log\n"
                "# the segment header and the first frame, byte for byte\n"
                "esdb-dump --bytes 0..239 shop/log/0000000000000001.log\n"
                "# what is damaged, and where\n"
                "esdb-dump -S shop --json | jq -c 'select(.what == \"damage\")'",
    .notes =
        "Without FILE, all segments of the store are explained. A FILE that does not exist is looked for in the "
        "store.\n"
        "Nothing is ever written. Damage is told in place, and the next whole frame is looked for: exit status 5.\n"
        "A torn record is an append that never ended: nothing proves that it was durable, and the next writer cuts it.",
    .groups = groups,
    .statuses = CMD_STATUS(0) | CMD_STATUS(1) | CMD_STATUS(2) | CMD_STATUS(4) | CMD_STATUS(5) | CMD_STATUS(7),
};

static int worst; /* exit status so far, damage aside */

static void fail(const char *path, int error) {
    cmd_message("%s: %s", path, strerror(error));
    int status = error == EACCES || error == EPERM ? 7 : error == ENOENT ? 4 : 1;
    if (worst == 0)
        worst = status;
}

/* A whole file in memory, not to be changed; size 0: at is NULL. The descriptor is closed again. */
struct bytes {
    unsigned char *at;
    size_t size;
};

static bool map_file(const char *path, bool told, struct bytes *out) {
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &st) != 0) {
        if (told)
            fail(path, errno);
        if (fd >= 0)
            close(fd);
        return false;
    }
    *out = (struct bytes){NULL, (size_t)st.st_size};
    bool good = S_ISREG(st.st_mode);
    int error = EINVAL;
    if (good && out->size > 0) {
        void *at = mmap(NULL, out->size, PROT_READ, MAP_SHARED, fd, 0);
        good = at != MAP_FAILED;
        error = errno;
        out->at = good ? at : NULL;
    }
    close(fd);
    if (!good && told) {
        if (S_ISREG(st.st_mode))
            fail(path, error);
        else
            cmd_message("%s: not a regular file", path), worst = worst ? worst : 2;
    }
    return good;
}

static void unmap_file(struct bytes *b) {
    if (b->at)
        munmap(b->at, b->size);
}

static char *join(const char *a, size_t a_len, const char *b) {
    size_t room = a_len + strlen(b) + 2;
    char *path = cmd_alloc(room);
    snprintf(path, room, "%.*s%s%s", (int)a_len, a, a_len && a[a_len - 1] != '/' ? "/" : "", b);
    return path;
}

/* ---- what kind of file it is ---- */

enum kind { SEGMENT, HEAD, LIVE, TABLE, OTHER };
static const char *const kind_names[] = {"segment", "head", "live index", "table", "unknown"};

static bool ends_with(const char *text, const char *end) {
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

/* By its magic; when that is damaged, by its name; else by a frame that is found somewhere in it. */
static enum kind kind_of(const char *path, const struct bytes *b) {
    const char *name = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
    if (b->size >= 8 && memcmp(b->at, FMT_SEGMENT_MAGIC, 8) == 0)
        return SEGMENT;
    if (b->size >= 8 && memcmp(b->at, FMT_HEAD_MAGIC, 8) == 0)
        return HEAD;
    if (b->size >= 8 && memcmp(b->at, FMT_LIVE_MAGIC, 8) == 0)
        return LIVE;
    if (b->size >= 16 && memcmp(b->at + 8, FMT_TABLE_MAGIC, 8) == 0)
        return TABLE;
    if (ends_with(name, ".log"))
        return SEGMENT;
    if (strcmp(name, "head") == 0)
        return HEAD;
    if (ends_with(name, ".live"))
        return LIVE;
    if (ends_with(name, ".idx"))
        return TABLE;
    struct fmt_walk w = {.base = b->at, .size = b->size};
    struct fmt_frame f;
    return fmt_walk_resync(&w, 0, 0, &f) ? SEGMENT : OTHER;
}

/* ---- one file ---- */

/* What stands around a segment in its store tells a torn tail from damage: a later segment, and what head proves. */
static void look_around(struct dump *d, const char *path) {
    const char *slash = strrchr(path, '/');
    size_t dir_len = slash ? (size_t)(slash - path) + 1 : 0;
    char *dir = join(path, dir_len, "."), *head = join(path, dir_len, "../head");
    const char *name = path + dir_len;
    d->last = true;
    DIR *list = opendir(dir);
    for (struct dirent *e; list && (e = readdir(list)) != NULL;)
        if (strlen(e->d_name) == 20 && ends_with(e->d_name, ".log") && strcmp(e->d_name, name) > 0)
            d->last = false;
    if (list)
        closedir(list);
    struct bytes b;
    d->proof_known = false;
    if (ends_with(name, ".log") && map_file(head, false, &b)) {
        d->proof_known = cmd_dump_head_proof(b.at, b.size, &d->proof);
        unmap_file(&b);
    }
    free(dir);
    free(head);
}

static void put_file(struct dump *d, enum kind kind) {
    if (d->json) {
        cmd_dump_begin(d, 0, d->size, "file");
        cmd_dump_word(d, "kind", kind_names[kind]);
        cmd_dump_end(d);
        return;
    }
    cmd_out_text(d->out, "==> ");
    cmd_out_plain(d->out, cmd_text(d->file));
    cmd_out_printf(d->out, " (%s, %zu bytes) <==\n", kind_names[kind], d->size);
    if (!d->bytes)
        cmd_out_printf(d->out, "%10s %10s  what\n", "offset", "length");
}

static void dump_file(struct dump *d, const char *path, const char *shown) {
    struct bytes b;
    if (!map_file(path, true, &b))
        return;
    enum kind kind = kind_of(path, &b);
    d->file = shown;
    d->base = b.at;
    d->size = b.size;
    put_file(d, kind);
    if (b.size == 0) {
        cmd_dump_damage(d, 0, 0, "the file is empty");
    } else if (kind == SEGMENT) {
        look_around(d, path);
        cmd_dump_segment(d);
    } else if (kind == HEAD) {
        cmd_dump_head(d);
    } else if (kind == LIVE) {
        cmd_dump_live_index(d);
    } else if (kind == TABLE) {
        cmd_dump_table(d);
    } else if (d->bytes) {
        cmd_dump_raw_fields(d, 0, d->size, "bytes", "not a file of esdb");
    } else {
        cmd_message("%s: not a file of a store", path);
        worst = worst ? worst : 2;
    }
    unmap_file(&b);
}

/* ---- a store ---- */

static int by_name(const struct dirent **a, const struct dirent **b) {
    return strcmp((*a)->d_name, (*b)->d_name);
}
static int is_visible(const struct dirent *e) {
    return e->d_name[0] != '.';
}
static int is_segment(const struct dirent *e) {
    return strlen(e->d_name) == 20 && ends_with(e->d_name, ".log");
}
static int is_index(const struct dirent *e) {
    return ends_with(e->d_name, ".idx") || ends_with(e->d_name, ".live");
}

/* The files of a folder of the store that pass; how many, or -1 when there is no such folder. */
static int dump_folder(struct dump *d, const char *store, const char *folder, int (*pass)(const struct dirent *)) {
    char *dir = join(store, strlen(store), folder);
    struct dirent **names;
    int count = scandir(dir, &names, pass, by_name);
    for (int i = 0; i < count; i++) {
        char *path = join(dir, strlen(dir), names[i]->d_name);
        char *shown = join(folder, strlen(folder), names[i]->d_name);
        dump_file(d, path, shown);
        free(path);
        free(shown);
        free(names[i]);
    }
    if (count >= 0)
        free(names);
    free(dir);
    return count;
}

static void dump_store(struct dump *d, const char *store, bool all) {
    d->chained = false;
    errno = 0;
    int count = dump_folder(d, store, "log", is_segment);
    if (count < 0) {
        int error = errno;
        if (error == ENOENT || error == ENOTDIR) {
            cmd_message("%s: not a store: there is no folder 'log' in it", store);
            worst = worst ? worst : 2;
        } else {
            fail(store, error);
        }
        return;
    }
    if (all) {
        char *head = join(store, strlen(store), "head");
        if (access(head, F_OK) == 0)
            dump_file(d, head, "head");
        free(head);
        dump_folder(d, store, "log", is_index);
        dump_folder(d, store, "tables", is_visible);
    }
}

/* ---- the command line ---- */

static bool parse_offset(const char *text, size_t len, uint64_t *out) {
    char copy[24], *end;
    if (len == 0 || len >= sizeof copy || text[0] < '0' || text[0] > '9')
        return false;
    memcpy(copy, text, len);
    copy[len] = '\0';
    errno = 0;
    *out = strtoull(copy, &end, copy[1] == 'x' || copy[1] == 'X' ? 16 : 10);
    return *end == '\0' && errno == 0;
}

static void parse_bytes(struct dump *d, const char *text) {
    const char *dots = strstr(text, "..");
    d->bytes = true;
    d->from = 0;
    d->to = UINT64_MAX;
    bool good = dots && (dots == text || parse_offset(text, (size_t)(dots - text), &d->from)) &&
                (dots[2] == '\0' || parse_offset(dots + 2, strlen(dots + 2), &d->to));
    if (!good)
        cmd_usage_error("--bytes: '%s' is not a range of offsets like 128..239", text);
    if (d->from > d->to)
        cmd_usage_error("--bytes: the range '%s' ends before it begins", text);
}

static void dump_operand(struct dump *d, const char *operand, bool all) {
    struct stat st;
    if (stat(operand, &st) == 0 && S_ISDIR(st.st_mode)) {
        dump_store(d, operand, all);
        return;
    }
    const char *store;
    d->chained = false;
    if (access(operand, F_OK) != 0 && errno == ENOENT && (cmd_store_given() || getenv("ESDB_STORE")) &&
        cmd_store_path(&store) == 0) {
        char *path = join(store, strlen(store), operand);
        bool there = access(path, F_OK) == 0;
        dump_file(d, there ? path : operand, operand);
        free(path);
        return;
    }
    dump_file(d, operand, operand);
}

int main(int argc, char **argv) {
    struct cmd_args args;
    struct dump d = {.to = UINT64_MAX};
    bool all = false;
    int id;

    cmd_begin(&tool, &args, argc, argv);
    while ((id = cmd_next_option(&args)) != 0) {
        switch (id) {
        case 'v':
            d.events = true;
            break;
        case 'b':
            parse_bytes(&d, args.value);
            break;
        case 'a':
            all = true;
            break;
        case OPT_JSON:
            d.json = true;
            break;
        }
    }
    d.out = cmd_stdout();
    for (int i = 0; i < args.count; i++)
        dump_operand(&d, args.operands[i], all);
    if (args.count == 0) {
        const char *store;
        int status = cmd_store_path(&store);
        if (status != 0)
            return cmd_finish(status);
        dump_store(&d, store, all);
    }
    if (d.newer && worst == 0)
        worst = 2;
    return cmd_finish(d.damaged ? 5 : worst);
}
