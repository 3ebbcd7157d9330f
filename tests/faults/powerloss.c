/* powerloss [-a EVENTS] [-p] [-s SECTOR] [-m STATES] [-r SEED] [-j JOBS] [-k KEEP -d DIR] BASE TRACE TRUTH WORK
 *
 * What the disk may hold after a power cut at any point of a recorded run, and whether the store comes back from each of
 * these states. BASE: the root as it was before the run, all of it durable. TRACE: from powerrecord. TRUTH: the root
 * after the run; its events are what may come back. EVENTS: how many events of BASE had been acknowledged. -p: BASE is
 * poisoned, and the run lifts that before its first output.
 *
 * The model, strict: a write is cut into sectors; of each sector the disk holds one of the versions since its last sync,
 * independently of all others. So it is with the size of each file. A sync makes durable what had been done before it
 * began, of that file alone. Names (create, rename, unlink, mkdir) become durable only with a sync of their directory;
 * before that, the directory holds a prefix of its changes. The shared page is never synced and may hold anything:
 * absent, zeros, random bytes, what it held at the cut or earlier, or a mixture, each as another boot finds it.
 *
 * A state is good when everything acknowledged or shown by then (receipts and lines of esdb-read) comes back, nothing but whole frames of TRUTH in their order,
 * the next append works, and the store verifies. Prints the counts; bad states on stderr. Status 0 when none was bad.
 * With -k, KEEP states are kept in DIR/1, DIR/2, ... with the number of acknowledged events in DIR/N/acks.
 */
#include "check.h"
#include "trace.h"

#include <sys/wait.h>

#define PENDING_MAX 4096
#define FILES 8192
#define HEADS 64 /* earlier pages that are remembered */

/* A change that may or may not be on the disk. Changes of one chain get there in their order. */
struct atom {
    enum { DATA, SIZE, TRUNC, NAME } kind;
    uint32_t file;
    uint64_t at;               /* DATA: offset; SIZE, TRUNC: new size; NAME: hash of the directory */
    const unsigned char *data; /* DATA: len bytes. NAME: the record's paths; borrowed from the trace */
    size_t len;
    uint32_t name_type;
    uint64_t chain;
    bool done; /* by a sync that is under way */
    uint64_t sync;
};

/* What of a file is on the disk for certain. */
struct image {
    unsigned char *bytes; /* owned */
    size_t size, room;
};

struct entry {
    char path[128];
    uint32_t file; /* 0: a directory */
};

struct disk {
    struct image *image; /* by file id */
    struct entry entry[FILES];
    size_t entries;
};

struct shared { /* of all workers */
    _Atomic uint64_t states, bad, points, kept;
    char at[256]; /* what a worker is doing, should it die */
};

static struct disk disk;
static struct atom pending[PENDING_MAX];
static size_t pending_count;
static struct fmt_head heads[HEADS];
static size_t head_count;
static struct seen_log truth;
static uint64_t acked; /* events */
static bool created;   /* a tool has said so: the store must open */
static bool poisoned;  /* nobody has said that this is over */
static unsigned sector = 512, states_max = 40, seed = 1, jobs = 2, keep, job;
static const char *keep_dir, *work;
static char root[CHECK_PATH], store[CHECK_PATH];
static struct shared *shared;

/* ---- the disk ---- */

static void image_resize(struct image *i, size_t size) {
    if (size > i->room) {
        i->room = size + 65536;
        i->bytes = realloc(i->bytes, i->room);
        if (!i->bytes)
            die("memory");
    }
    if (size > i->size)
        memset(i->bytes + i->size, 0, size - i->size);
    i->size = size;
}

/* Data beyond the end stays unseen until the size says so; as zeros, because what lies there was never synced. */
static void apply(struct image *i, const struct atom *a) {
    if (a->kind == SIZE && a->at > i->size)
        image_resize(i, a->at);
    else if (a->kind == TRUNC)
        image_resize(i, a->at);
    else if (a->kind == DATA && a->at < i->size)
        memcpy(i->bytes + a->at, a->data, a->at + a->len <= i->size ? a->len : i->size - a->at);
}

static size_t find_entry(const struct disk *d, const char *path) {
    size_t i = 0;
    while (i < d->entries && strcmp(d->entry[i].path, path) != 0)
        i++;
    return i;
}

static void set_entry(struct disk *d, const char *path, uint32_t file) {
    size_t i = find_entry(d, path);
    if (i == FILES)
        die("too many names");
    if (i == d->entries)
        d->entries++;
    snprintf(d->entry[i].path, sizeof d->entry[i].path, "%s", path);
    d->entry[i].file = file;
}

static void remove_entry(struct disk *d, const char *path) {
    size_t i = find_entry(d, path);
    if (i < d->entries)
        d->entry[i] = d->entry[--d->entries];
}

static void apply_name(struct disk *d, const struct atom *a) {
    const char *path = (const char *)a->data;
    if (a->name_type == TRACE_CREATE || a->name_type == TRACE_MKDIR)
        set_entry(d, path, a->file);
    else if (a->name_type == TRACE_UNLINK)
        remove_entry(d, path);
    else if (find_entry(d, path) < d->entries) {
        remove_entry(d, path);
        set_entry(d, path + strlen(path) + 1, a->file);
    }
}

static uint32_t load_base(const char *dir, const char *relative, uint32_t next) {
    struct dirent **list;
    int n = scandir(dir, &list, NULL, alphasort);
    for (int i = 0; i < n; i++) {
        char path[CHECK_PATH], name[CHECK_PATH];
        struct stat st;
        if (strcmp(list[i]->d_name, ".") == 0 || strcmp(list[i]->d_name, "..") == 0)
            continue;
        join(path, dir, list[i]->d_name);
        if (relative[0])
            join(name, relative, list[i]->d_name);
        else
            snprintf(name, sizeof name, "%s", list[i]->d_name);
        if (lstat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
            set_entry(&disk, name, 0);
            next = load_base(path, name, next);
            continue;
        }
        struct image *image = &disk.image[++next];
        image->bytes = slurp(path, &image->size);
        image->room = image->size;
        set_entry(&disk, name, next);
    }
    return next;
}

/* ---- what is pending ---- */

static struct atom *add(struct atom a) {
    if (pending_count == PENDING_MAX)
        die("too much is pending");
    pending[pending_count] = a;
    return &pending[pending_count++];
}

static uint64_t directory_of(const char *path) {
    const char *slash = strrchr(path, '/');
    return fmt_checksum(path, slash ? (size_t)(slash - path) : 0);
}

static bool is_cache(uint32_t file) {
    for (size_t i = 0; i < disk.entries; i++)
        if (disk.entry[i].file == file && strcmp(disk.entry[i].path, "s/head") == 0)
            return true;
    return false;
}

static void add_write(const struct trace_record *r, const unsigned char *data) {
    for (uint64_t at = r->a, end = r->a + r->len; at < end;) {
        uint64_t upto = (at / sector + 1) * sector < end ? (at / sector + 1) * sector : end;
        add((struct atom){.kind = DATA,
                          .file = r->file,
                          .at = at,
                          .data = data + (at - r->a),
                          .len = upto - at,
                          .chain = fmt_fold(r->file, at / sector)});
        at = upto;
    }
}

static void add_change(const struct trace_record *r, const unsigned char *data) {
    uint64_t sizes = fmt_fold(r->file, UINT64_MAX);
    switch (r->type) {
    case TRACE_CREATE:
    case TRACE_MKDIR:
    case TRACE_RENAME:
    case TRACE_UNLINK:
        add((struct atom){.kind = NAME,
                          .file = r->type == TRACE_MKDIR ? 0 : r->file,
                          .data = data,
                          .name_type = r->type,
                          .at = directory_of((const char *)data),
                          .chain = directory_of((const char *)data)});
        break;
    case TRACE_WRITE:
        add((struct atom){.kind = SIZE, .file = r->file, .at = r->a + r->len, .chain = sizes});
        add_write(r, data);
        break;
    case TRACE_SIZE:
        add((struct atom){.kind = SIZE, .file = r->file, .at = r->a, .chain = sizes});
        break;
    default:
        add((struct atom){.kind = TRUNC, .file = r->file, .at = r->a, .chain = sizes});
        break;
    }
}

/* What has been done so far to the file, or to the names of the directory, is covered by the sync. */
static void sync_begins(const struct trace_record *r, const unsigned char *data) {
    uint64_t directory = r->file ? 0 : fmt_checksum(data, strlen((const char *)data));
    for (size_t i = 0; i < pending_count; i++) {
        struct atom *a = &pending[i];
        if (r->file ? a->kind != NAME && a->file == r->file : a->kind == NAME && a->at == directory)
            if (!a->sync)
                a->sync = r->a;
    }
}

static void sync_ends(const struct trace_record *r) {
    size_t left = 0;
    for (size_t i = 0; i < pending_count; i++) {
        struct atom *a = &pending[i];
        bool ends = a->sync == r->a;
        if (ends && r->b && a->kind == NAME)
            apply_name(&disk, a);
        else if (ends && r->b)
            apply(&disk.image[a->file], a);
        else {
            if (ends)
                a->sync = 0;
            pending[left++] = *a;
        }
    }
    pending_count = left;
}

/* ---- one state ---- */

enum head_kind { ABSENT, ZEROS, CHANCE, NOW, EARLIER, MIXED, ELSEWHERE, HEAD_KINDS };

/* The page as another boot finds it in this place. True when a reader can tell that by it. */
static bool put_head(enum head_kind kind) {
    struct fmt_head h = {0};
    char path[CHECK_PATH];
    struct stat st;
    const struct fmt_head *now = &heads[(head_count + HEADS - 1) % HEADS];
    const struct fmt_head *earlier =
        &heads[head_count == 0 ? 0 : (size_t)random() % (head_count < HEADS ? head_count : HEADS)];
    if (kind == ABSENT || (head_count == 0 && kind != ZEROS && kind != CHANCE))
        return false;
    if (kind == CHANCE)
        for (size_t i = 0; i < sizeof h; i++)
            ((unsigned char *)&h)[i] = (unsigned char)random();
    else if (kind != ZEROS)
        memcpy(&h, kind == EARLIER ? earlier : now, sizeof h);
    for (size_t at = 0; kind == MIXED && at < sizeof h; at += 64)
        if (random() % 2)
            memcpy((char *)&h + at, (const char *)earlier + at, 64);
    join(path, store, "head");
    if (access(store, F_OK) < 0)
        return false;
    spill(path, &h, sizeof h, true);
    if (stat(path, &st) < 0 || kind == ZEROS || kind == CHANCE)
        return false;
    h.inode = (uint64_t)st.st_ino + (kind == ELSEWHERE);
    h.device = (uint64_t)st.st_dev;
    memset(h.boot_id, 1 + (int)(random() % 200), sizeof h.boot_id); /* no boot that ever was */
    h.check = fmt_head_check(&h);
    spill(path, &h, sizeof h, false);
    return memcmp(h.magic, FMT_HEAD_MAGIC, sizeof h.magic) == 0;
}

static int by_depth(const void *a, const void *b) {
    return strcmp(((const struct entry *)a)->path, ((const struct entry *)b)->path);
}

static void put_file(const struct entry *e, const bool *kept) {
    static struct image now;
    char path[CHECK_PATH];
    join(path, root, e->path);
    const struct image *base = &disk.image[e->file];
    bool changed = false;
    for (size_t i = 0; i < pending_count; i++)
        changed = changed || (kept[i] && pending[i].kind != NAME && pending[i].file == e->file);
    if (changed) {
        now.size = 0;
        image_resize(&now, base->size);
        if (base->size)
            memcpy(now.bytes, base->bytes, base->size);
        for (size_t i = 0; i < pending_count; i++)
            if (kept[i] && pending[i].kind != NAME && pending[i].file == e->file)
                apply(&now, &pending[i]);
        base = &now;
    }
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0)
        return; /* its directory is not there */
    if (base->size && pwrite(fd, base->bytes, base->size, 0) != (ssize_t)base->size)
        die(path);
    close(fd);
}

static bool put_state(const bool *kept, enum head_kind head) {
    static struct disk names;
    names.entries = disk.entries;
    memcpy(names.entry, disk.entry, disk.entries * sizeof disk.entry[0]);
    for (size_t i = 0; i < pending_count; i++)
        if (kept[i] && pending[i].kind == NAME)
            apply_name(&names, &pending[i]);
    qsort(names.entry, names.entries, sizeof names.entry[0], by_depth);
    remove_tree(root);
    mkdir(root, 0755);
    for (size_t i = 0; i < names.entries; i++) {
        char path[CHECK_PATH];
        join(path, root, names.entry[i].path);
        if (names.entry[i].file == 0)
            mkdir(path, 0755);
        else if (strcmp(names.entry[i].path, "s/head") != 0)
            put_file(&names.entry[i], kept);
    }
    return put_head(head);
}

/* A store that never said that it was made: opens or can be made again. */
static int check_unborn(void) {
    struct esdb_settings s = {.segment_size = 65536};
    struct esdb_error err = {0};
    uint64_t position;
    int rc = esdb_create(store, &s, &err);
    if (rc < 0 && rc != -EEXIST)
        return check_fail("creating again: %s", err.text);
    return append_works(store, &position) < 0 || verify_clean(store) < 0 ? -1 : 0;
}

static int is_prefix(const struct seen_log *l, size_t n, const char *who) {
    if (n > truth.count)
        return check_fail("%s: %zu events of %zu", who, n, truth.count);
    for (size_t i = 0; i < n; i++)
        if (l->at[i].hash != truth.at[i].hash)
            return check_fail("%s: position %zu is not what was written", who, i);
    return n < acked ? check_fail("%s: %zu events of %" PRIu64 " that were acknowledged", who, n, acked) : 0;
}

static int check_state(bool rebooted, bool born) {
    struct seen_log l = {0};
    uint64_t position;
    int bad = 0;
    if (!born)
        return check_unborn();
    struct esdb_error err = {0};
    if (poisoned && esdb_repair(store, &err) < 0)
        return check_fail("repair: %s", err.text);
    if (random() % 4 == 0) { /* a reader comes first; one that may not write trusts the tail only after another boot */
        bool examine = random() % 2;
        bad = read_store(store, examine ? ESDB_EXAMINE : ESDB_READ, &l);
        if (!bad && (!examine || rebooted))
            bad = is_prefix(&l, l.count, examine ? "a first examiner" : "a first reader");
    }
    bad = bad || append_works(store, &position);
    bad = bad || read_store(store, ESDB_READ, &l);
    if (!bad && position + 1 != l.count)
        bad = check_fail("the next append got position %" PRIu64 " of %zu", position, l.count);
    bad = bad || is_prefix(&l, position, "after the next append");
    if (!bad && random() % 8 == 0)
        bad = check_streams(store, &l);
    bad = bad || verify_clean(store);
    seen_release(&l);
    return bad;
}

static void keep_state(void) {
    char to[CHECK_PATH], acks[CHECK_PATH], text[32];
    uint64_t n = ++shared->kept;
    if (n > keep)
        return;
    int len = snprintf(text, sizeof text, "%" PRIu64 "\n", acked);
    snprintf(to, sizeof to, "%.4000s/%" PRIu64, keep_dir, n);
    remove_tree(to); /* of a run before: two states in one would be none */
    mkdir(to, 0755);
    join(acks, to, "acks");
    spill(acks, text, (size_t)len, true);
    snprintf(to, sizeof to, "%.4000s/%" PRIu64 "/root", keep_dir, n);
    copy_tree(root, to);
}

static void try_state(const bool *kept, size_t cut, const char *how) {
    enum head_kind head = (enum head_kind)(random() % HEAD_KINDS);
    bool rebooted = put_state(kept, head);
    shared->states++;
    char yaml[CHECK_PATH];
    join(yaml, store, "store.yaml");
    bool born = created || access(yaml, F_OK) == 0;
    size_t lost = 0;
    for (size_t i = 0; i < pending_count; i++)
        lost += !kept[i] && pending[i].kind == DATA;
    if (keep && born && (lost && head == NOW ? random() % 31 == 0 : random() % 311 == 0))
        keep_state();
    snprintf(shared->at, sizeof shared->at, "cut %zu, %s, head %d", cut, how, (int)head);
    if (check_state(rebooted, born) == 0)
        return;
    if (++shared->bad <= 5)
        fprintf(stderr, "  sector %u, cut %zu (%zu pending, %s, head %d): %s\n", sector, cut, pending_count, how,
                (int)head, check_why);
}

/* ---- the states of one cut ---- */

static uint64_t *seen_states;
static size_t seen_slots, seen_used;

/* True when this state has been tried already. */
static bool seen_before(const bool *kept) {
    uint64_t h = fmt_fold(acked, disk.entries);
    for (size_t i = 0; i < pending_count; i++)
        h = fmt_fold(h, (uint64_t)(uintptr_t)pending[i].data * 2 + kept[i] + pending[i].at);
    if (seen_used * 2 >= seen_slots) {
        size_t bigger = seen_slots ? seen_slots * 2 : 4096;
        uint64_t *now = calloc(bigger, sizeof *now);
        for (size_t i = 0; now && i < seen_slots; i++)
            for (size_t at = seen_states[i]; seen_states[i]; at++)
                if (now[at % bigger] == 0) {
                    now[at % bigger] = seen_states[i];
                    break;
                }
        free(seen_states);
        seen_states = now;
        seen_slots = bigger;
    }
    size_t at = h | 1;
    for (;; at++) {
        if (seen_states[at % seen_slots] == (h | 1))
            return true;
        if (seen_states[at % seen_slots] == 0)
            break;
    }
    seen_states[at % seen_slots] = h | 1;
    seen_used++;
    return false;
}

/* Nothing is on the disk whose forerunner in its chain is not. */
static void close_chains(bool *kept) {
    for (size_t i = 0; i < pending_count; i++)
        for (size_t j = 0; kept[i] && j < i; j++)
            if (!kept[j] && pending[j].chain == pending[i].chain)
                kept[i] = false;
}

static void choose(bool *kept, unsigned way) {
    size_t n = pending_count;
    for (size_t i = 0; i < n; i++)
        kept[i] = way == 0;
    if (way <= 1)
        return;
    size_t k = (size_t)random() % n;
    unsigned odds = 1 + (unsigned)random() % 9;
    for (size_t i = 0; i < n; i++)
        switch (way % 5) {
        case 0: /* all up to one */
            kept[i] = i < k;
            break;
        case 1: /* all but one chain */
            kept[i] = pending[i].chain != pending[k].chain;
            break;
        case 2: /* one chain, and all names */
            kept[i] = pending[i].chain == pending[k].chain || pending[i].kind == NAME;
            break;
        case 3: /* all names and sizes, some data */
            kept[i] = pending[i].kind != DATA || random() % 2;
            break;
        default:
            kept[i] = (unsigned)random() % 10 < odds;
            break;
        }
}

static void try_cut(size_t cut) {
    static const char *const how[] = {"a prefix", "all but one", "one alone", "some data", "some"};
    bool kept[PENDING_MAX];
    shared->points++;
    srandom(seed * 1000003u + (unsigned)cut);
    unsigned tries = pending_count == 0 ? 1 : pending_count < 4 ? 1u << pending_count << 1 : states_max;
    for (unsigned way = 0; way < (tries < states_max ? tries : states_max); way++) {
        choose(kept, way);
        close_chains(kept);
        if (!seen_before(kept))
            try_state(kept, cut, way == 0 ? "all" : way == 1 ? "nothing" : how[way % 5]);
    }
}

/* ---- the trace ---- */

static void take_output(const unsigned char *data, size_t len) {
    struct ack_list acks = {0};
    char *text = strndup((const char *)data, len);
    acks_from(&acks, text);
    for (size_t i = 0; i < acks.count; i++)
        if (acks.at[i].last_position + 1 > acked)
            acked = acks.at[i].last_position + 1;
    for (const char *at = text; (at = strstr(at, "{\"position\":")) != NULL; at++) {
        uint64_t shown = strtoull(at + strlen("{\"position\":"), NULL, 10);
        if (shown + 1 > acked)
            acked = shown + 1;
    }
    created = true;
    poisoned = false;
    free(text);
    free(acks.at);
}

/* head is no file to the model: put_head makes it. */
static bool concerns_head(const struct trace_record *r) {
    return r->file && r->type >= TRACE_WRITE && r->type <= TRACE_TRUNC && is_cache(r->file);
}

static void replay(const unsigned char *at, size_t len) {
    const unsigned char *end = at + len;
    for (size_t cut = 0; at < end; cut++) {
        struct trace_record r;
        memcpy(&r, at, sizeof r);
        const unsigned char *data = at + sizeof r;
        at = data + r.len;
        if (r.type == TRACE_HEAD)
            memcpy(&heads[head_count++ % HEADS], data, sizeof heads[0]);
        else if (r.type == TRACE_OUTPUT)
            take_output(data, r.len);
        else if (r.type == TRACE_SYNC_BEGIN)
            sync_begins(&r, data);
        else if (r.type == TRACE_SYNC_END)
            sync_ends(&r);
        else if (!concerns_head(&r))
            add_change(&r, data);
        if (cut % jobs == job)
            try_cut(cut);
    }
}

static void run_job(const unsigned char *trace, size_t len) {
    char name[64];
    snprintf(name, sizeof name, "disk-%u", job);
    join(root, work, name);
    join(store, root, "s");
    replay(trace, len);
    remove_tree(root);
    _exit(0);
}

int main(int argc, char **argv) {
    size_t len;
    int c;
    while ((c = getopt(argc, argv, "a:ps:m:r:j:k:d:")) != -1) {
        unsigned long n = optarg ? strtoul(optarg, NULL, 10) : 0;
        switch (c) {
        case 'a':
            acked = n;
            created = true;
            break;
        case 'p':
            poisoned = true;
            break;
        case 's':
            sector = (unsigned)n;
            break;
        case 'm':
            states_max = (unsigned)n;
            break;
        case 'r':
            seed = (unsigned)n;
            break;
        case 'j':
            jobs = (unsigned)n;
            break;
        case 'k':
            keep = (unsigned)n;
            break;
        case 'd':
            keep_dir = optarg;
            break;
        default:
            return 2;
        }
    }
    if (argc - optind != 4) {
        fprintf(stderr, "usage: powerloss [options] BASE TRACE TRUTH WORK\n");
        return 2;
    }
    work = argv[optind + 3];
    disk.image = calloc(FILES, sizeof *disk.image);
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    unsigned char *trace = slurp(argv[optind + 1], &len);
    if (!trace || !disk.image || shared == MAP_FAILED)
        die(argv[optind + 1]);
    load_base(argv[optind], "", 0);
    char path[CHECK_PATH];
    join(path, argv[optind + 2], "s");
    if (read_store(path, ESDB_READ, &truth) < 0) {
        fprintf(stderr, "powerloss: %s\n", check_why);
        return 2;
    }
    for (job = 0; job < jobs; job++)
        if (fork() == 0)
            run_job(trace, len);
    int status;
    while (wait(&status) > 0)
        if (status != 0) {
            shared->bad++;
            fprintf(stderr, "  a worker died (status %x) at: %s\n", (unsigned)status, shared->at);
        }
    printf("%" PRIu64 " states %" PRIu64 " cuts %" PRIu64 " bad\n", (uint64_t)shared->states, (uint64_t)shared->points,
           (uint64_t)shared->bad);
    return shared->bad != 0;
}
