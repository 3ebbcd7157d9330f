/* flips: changes single bytes of a store and asks for everything: answers must be right, or errors.
 *
 *   flips every WORK STEP        flips every STEP-th byte of the log of a small store, active and sealed: esdb_verify must
 *                                find each, and readers must never show anything but true events
 *   flips tail WORK 1            flips every byte of the last frame: an append must refuse to chain to it
 *   flips stale WORK 1           a frame that was cut comes back behind another one that took its forerunner's place
 *   flips keys WORK STEP         flips every STEP-th byte in use of the live index and of the index of a sealed segment:
 *                                whatever is asked for by id, type or cause is found all the same
 *   flips random WORK N SEED     N random flips in head, live index, sealed indexes, tables and log of a larger store:
 *                                versions, streams, lists and appends with expectations must be right or refused
 *
 * Prints the counts; each bad outcome on stderr. Status 0 when none was bad.
 */
#include "check.h"

#include <dirent.h>
#include <sys/wait.h>

#define STREAMS 150
#define BATCH 25 /* flips between two fresh copies */

static char store[CHECK_PATH], template[CHECK_PATH];
static struct seen_log truth;
static _Atomic long *flips_done; /* by all processes */
static uint64_t name_hash[STREAMS];

/* What an event can be asked for by. */
struct named {
    char id[48], type[16], cause[16];
};
static struct named *named; /* named[i] has position i */
static size_t name_count;

static void stream_name(unsigned i, char out[32]) {
    snprintf(out, 32, "stream-%u", i);
}

static esdb *open_or_null(unsigned flags, int *rc) {
    struct esdb_error err = {0};
    esdb *db = NULL;
    *rc = esdb_open(store, flags, &db, &err);
    return *rc < 0 ? NULL : db;
}

/* A new store: `frames` frames of one to four events in some of the streams. */
static void build(const char *path, unsigned frames, size_t fill) {
    struct esdb_settings s = {.segment_size = 65536};
    struct esdb_error err = {0};
    struct esdb_receipt r;
    esdb *db;
    remove_tree(path);
    if (esdb_create(path, &s, &err) < 0 || esdb_open(path, ESDB_APPEND, &db, &err) < 0) {
        fprintf(stderr, "flips: %s\n", err.text);
        exit(2);
    }
    for (unsigned i = 0; i < frames; i++) {
        char name[32], group[32];
        stream_name((unsigned)random() % STREAMS, name);
        snprintf(group, sizeof group, "g%u", i);
        if (append_group(db, name, group, 1 + i % 4, fill, &r, &err) < 0) {
            fprintf(stderr, "flips: %s\n", err.text);
            exit(2);
        }
    }
    esdb_close(db);
    for (unsigned i = 0; i < STREAMS; i++) {
        char name[32];
        stream_name(i, name);
        name_hash[i] = hash_name(name);
    }
}

static void learn_name(const struct esdb_event *e) {
    if ((name_count & (name_count + 1)) == 0 && !(named = realloc(named, (name_count + 1) * 2 * sizeof *named)))
        die("memory");
    struct named *n = &named[name_count++];
    const char *cause = e->metadata.at ? memmem(e->metadata.at, e->metadata.len, "\"c", 2) : NULL;
    cause = cause ? memmem(cause + 2, e->metadata.len - 2, "\"c", 2) : NULL; /* of {"correlation_id":"c12"} */
    snprintf(n->id, sizeof n->id, "%.*s", (int)e->event_id.len, e->event_id.at);
    snprintf(n->type, sizeof n->type, "%.*s", (int)e->event_type.len, e->event_type.at);
    n->cause[0] = '\0';
    if (cause)
        snprintf(n->cause, sizeof n->cause, "c%ld", strtol(cause + 2, NULL, 10));
}

/* The events from truth.count on become part of the truth. */
static int learn_more(esdb *db) {
    struct esdb_query q;
    struct esdb_error err = {0};
    struct esdb_event e;
    esdb_cursor *c;
    esdb_query_init(&q);
    q.flags = ESDB_ALL;
    q.from_position = truth.count;
    int rc = esdb_cursor_open(db, &q, &c, &err);
    if (rc < 0)
        return 1;
    while ((rc = esdb_cursor_next(c, &e, &err)) == 0) {
        seen_add(&truth, &(struct seen){e.position, e.version, hash_text(e.stream_id), hash_event(&e)});
        learn_name(&e);
    }
    esdb_cursor_close(c);
    return rc != ESDB_END;
}

static void learn_truth(const char *path) {
    struct esdb_error err = {0};
    esdb *db;
    if (read_store(path, ESDB_READ, &truth) < 0 || esdb_open(path, ESDB_READ, &db, &err) < 0) {
        fprintf(stderr, "flips: %s%s\n", check_why, err.text);
        exit(2);
    }
    truth.count = name_count = 0;
    if (learn_more(db))
        die("reading");
    esdb_close(db);
}

/* Flips a byte in place; the same call puts it back. False when the file does not have it. */
static bool flip(const char *path, off_t at, unsigned char with) {
    unsigned char byte;
    (void)chmod(path, 0600); /* closed segments are read-only, also for their owner */
    int fd = open(path, O_RDWR | O_CLOEXEC);
    bool done = fd >= 0 && pread(fd, &byte, 1, at) == 1;
    if (done) {
        byte ^= with;
        done = pwrite(fd, &byte, 1, at) == 1;
    }
    if (fd >= 0)
        close(fd);
    return done;
}

/* Every event that a reader gets is a true one. Errors are fine; *failed counts them. */
static int read_subset(esdb *db, const struct esdb_query *q, size_t *seen, size_t *failed) {
    struct esdb_error err = {0};
    struct esdb_event e;
    esdb_cursor *c;
    *seen = *failed = 0;
    int rc = esdb_cursor_open(db, q, &c, &err), bad = 0;
    if (rc < 0) {
        ++*failed;
        return 0;
    }
    while (!bad && *failed < 1000 && ((rc = esdb_cursor_next(c, &e, &err)) == 0 || rc == ESDB_ECORRUPT)) {
        *failed += rc != 0;
        *seen += rc == 0;
        if (rc == 0 && (e.position >= truth.count || truth.at[e.position].hash != hash_event(&e)))
            bad = check_fail("position %" PRIu64 " is served, and is not what was written", e.position);
    }
    *failed += rc < 0 && rc != ESDB_ECORRUPT;
    esdb_cursor_close(c);
    return bad;
}

/* ---- every byte ---- */

static int ignore(void *context, const struct esdb_finding *f) {
    (void)context;
    (void)f;
    return 0;
}

static int flip_one(bool must_be_damage) {
    struct esdb_verify_options o = {.finding = ignore};
    struct esdb_verify_result r = {0};
    struct esdb_query q;
    size_t seen, failed;
    int rc;
    esdb *db = open_or_null(ESDB_EXAMINE, &rc);
    if (!db)
        return 0; /* refused to open: detected */
    rc = esdb_verify(db, &o, &r, NULL);
    int bad = rc == 0 && must_be_damage ? check_fail("verify does not see it") : 0;
    esdb_query_init(&q);
    q.flags = ESDB_ALL;
    bad = bad || read_subset(db, &q, &seen, &failed);
    if (!bad && must_be_damage && seen < truth.count && failed == 0)
        bad = check_fail("%zu of %zu events are shown and no error is told", seen, truth.count);
    if (!bad && !must_be_damage &&
        (seen < truth.count || failed)) /* beyond the end, where nothing has been written yet */
        bad = check_fail("%zu of %zu events are shown", seen, truth.count);
    esdb_close(db);
    return bad;
}

/* End of what is in use in a segment file. */
static off_t used(const char *path) {
    size_t len;
    unsigned char *bytes = slurp(path, &len);
    while (len > 0 && bytes[len - 1] == 0)
        len--;
    free(bytes);
    return (off_t)((len + 7) & ~(size_t)7);
}

static long flip_file(const char *path, off_t step, long *count) {
    struct stat st;
    long bad = 0;
    off_t end = used(path);
    if (stat(path, &st) < 0)
        die(path);
    for (off_t at = 0; at < st.st_size; at += at < end ? step : 1 + step * 37) {
        unsigned char with = (unsigned char)(at % 3 == 0 ? 1 << random() % 8 : 1 + random() % 255);
        flip(path, at, with);
        int wrong = flip_one(at < end);
        flip(path, at, with);
        ++*count;
        bad += wrong != 0;
        if (wrong && bad <= 5)
            fprintf(stderr, "  %s, byte %lld xor %02x: %s\n", path, (long long)at, with, check_why);
    }
    return bad;
}

static int every(off_t step) {
    char path[CHECK_PATH];
    long count = 0, bad;
    build(store, 12, 30);
    learn_truth(store);
    join(path, store, "log/0000000000000001.log");
    bad = flip_file(path, step, &count);
    build(store, 150, 300);
    learn_truth(store);
    bad += flip_file(path, step * 8, &count);
    printf("%ld bytes, %ld bad\n", count, bad);
    return bad != 0;
}

/* ---- keys ---- */

static int ask_one(esdb *db, const struct esdb_query *q, const char *what, size_t right, bool must) {
    size_t seen, failed;
    if (read_subset(db, q, &seen, &failed) < 0)
        return -1;
    return failed == 0 ? seen == right ? 0 : check_fail("%s: %zu events of %zu and no error", what, seen, right)
           : must ? check_fail("%s: an error, though only an index is damaged", what)
                       : 0;
}

/* The event by its id, all of its type, and all with its cause. must: without an error. */
static int ask_keys(esdb *db, size_t position, bool must) {
    struct named *n = &named[position];
    struct esdb_text id = {n->id, strlen(n->id)}, type = {n->type, strlen(n->type)};
    struct esdb_where where = {.key = {"correlation_id", 14}, .value = {n->cause, strlen(n->cause)}};
    size_t ids = 0, types = 0, causes = 0;
    struct esdb_query q;
    for (size_t i = 0; i < name_count; i++) {
        ids += strcmp(named[i].id, n->id) == 0;
        types += strcmp(named[i].type, n->type) == 0;
        causes += strcmp(named[i].cause, n->cause) == 0;
    }
    esdb_query_init(&q);
    q.flags = ESDB_ALL;
    q.ids = &id;
    q.id_count = 1;
    int bad = ask_one(db, &q, n->id, ids, must);
    esdb_query_init(&q);
    q.flags = ESDB_ALL | (random() % 2 ? ESDB_REVERSE : 0);
    q.types = &type;
    q.type_count = 1;
    bad = bad ? bad : ask_one(db, &q, n->type, types, must);
    esdb_query_init(&q);
    q.flags = ESDB_ALL;
    q.where = &where;
    q.where_count = 1;
    return bad || !n->cause[0] ? bad : ask_one(db, &q, n->cause, causes, must);
}

/* Flips the bytes in use of a file from which answers are taken; one handle asks for every event. */
static long flip_keys(const char *path, off_t step, long *count) {
    size_t len;
    long bad = 0;
    unsigned char *bytes = slurp(path, &len);
    if (!bytes)
        die(path);
    for (off_t at = 0; at < (off_t)len; at++) {
        bool is_used = bytes[at] != 0 || (at > 0 && bytes[at - 1] != 0);
        if (is_used ? at % step != 0 : random() % 100 != 0)
            continue;
        int rc, wrong = 0;
        flip(path, at, (unsigned char)(1 << random() % 8));
        esdb *db = open_or_null(ESDB_READ, &rc);
        if (!db)
            wrong = check_fail("the store does not open");
        for (size_t i = 0; !wrong && i < name_count; i++)
            wrong = ask_keys(db, i, true);
        esdb_close(db);
        spill(path, bytes, len, false);
        ++*count;
        bad += wrong != 0;
        if (wrong && bad <= 5)
            fprintf(stderr, "  %s, byte %lld: %s\n", path, (long long)at, check_why);
    }
    free(bytes);
    return bad;
}

/* The last file of the log with that suffix. */
static void last_of(const char *suffix, char out[CHECK_PATH]) {
    char dir[CHECK_PATH], best[32] = "";
    join(dir, store, "log");
    DIR *d = opendir(dir);
    struct dirent *e;
    while (d && (e = readdir(d)) != NULL)
        if (strlen(e->d_name) == 16 + strlen(suffix) && strcmp(e->d_name + 16, suffix) == 0 &&
            strcmp(e->d_name, best) > 0)
            snprintf(best, sizeof best, "%.31s", e->d_name);
    if (d)
        closedir(d);
    join(out, dir, best);
}

static int keys(off_t step) {
    char path[CHECK_PATH];
    long count = 0, bad = 0;
    build(store, 20, 30);
    learn_truth(store);
    last_of(".live", path);
    bad += flip_keys(path, step, &count);
    build(store, 40, 1500);
    learn_truth(store);
    last_of(".idx", path);
    bad += flip_keys(path, step, &count);
    printf("%ld keys, %ld bad\n", count, bad);
    return bad != 0;
}

/* ---- the last frame ---- */

/* Whoever appends to a damaged tail must say so and write nothing; and the same again for the next one. */
static int refuse_tail(void) {
    struct esdb_error err = {0};
    struct esdb_receipt r;
    int rc;
    for (int i = 0; i < 2; i++) {
        esdb *db = open_or_null(ESDB_APPEND, &rc);
        if (!db)
            return 0;
        rc = append_group(db, "tail", "t", 1, 0, &r, &err);
        esdb_close(db);
        if (rc == 0)
            return check_fail("an append chains to a damaged frame");
    }
    return 0;
}

/* Flips each byte of the last frame; `h` is the head that goes with it. */
static long flip_tail(const struct fmt_head *h, const char *how, long *count) {
    char path[CHECK_PATH], head[CHECK_PATH], poison[CHECK_PATH];
    long bad = 0;
    join(path, store, "log/0000000000000001.log");
    join(head, store, "head");
    join(poison, store, "poison");
    const struct fmt_mark *m = &h->appended_mark[h->appended_mark[1].index > h->appended_mark[0].index];
    for (off_t at = (off_t)m->frame_offset; at < (off_t)m->end_offset; at++) {
        if (at >= (off_t)m->frame_offset + 96 && at < (off_t)m->frame_offset + 112)
            continue; /* synced_index stands outside the chain */
        spill(head, h, sizeof *h, false);
        flip(path, at, 0x10);
        int wrong = refuse_tail();
        size_t now_len;
        unsigned char *now = slurp(path, &now_len);
        if (!wrong && !fmt_all_zero(now + m->end_offset, now_len - m->end_offset))
            wrong = check_fail("a refused append has written something");
        flip(path, at, 0x10);
        unlink(poison);
        free(now);
        ++*count;
        bad += wrong != 0;
        if (wrong && bad <= 5)
            fprintf(stderr, "  byte %lld of the last frame, %s: %s\n", (long long)(at - (off_t)m->frame_offset), how,
                    check_why);
    }
    return bad;
}

static int tail(void) {
    char head[CHECK_PATH];
    long count = 0, bad;
    size_t len;
    build(store, 6, 30);
    join(head, store, "head");
    unsigned char *bytes = slurp(head, &len);
    struct fmt_head h;
    if (!bytes || len != sizeof h)
        die(head);
    memcpy(&h, bytes, sizeof h);
    bad = flip_tail(&h, "head valid", &count);
    memset(h.boot_id, 7, sizeof h.boot_id);
    h.check = fmt_head_check(&h);
    bad += flip_tail(&h, "head of another boot", &count);
    free(bytes);
    printf("%ld tails, %ld bad\n", count, bad);
    return bad != 0;
}

/* ---- stale bytes ---- */

static void append_named(const char *group) {
    struct esdb_error err = {0};
    struct esdb_receipt r;
    int rc;
    esdb *db = open_or_null(ESDB_APPEND, &rc);
    if (!db || append_group(db, "stale", group, 2, 50, &r, &err) < 0)
        die(err.text);
    esdb_close(db);
}

/* History A goes on with A1 A2, then is cut back and goes on with B1; A2 still lies behind it, whole, with the right index
 * and position: only that it does not chain tells it from a frame. */
static int stale_once(bool zero_head) {
    char path[CHECK_PATH], head[CHECK_PATH], zeros[FMT_HEAD_SIZE] = {0};
    struct seen_log l = {0};
    uint64_t position;
    size_t len;
    join(path, store, "log/0000000000000001.log");
    join(head, store, "head");
    remove_tree(template);
    build(store, 6, 30);
    learn_truth(store);
    copy_tree(store, template);
    append_named("b1");
    off_t from = used(path);
    unsigned char *b1 = slurp(path, &len);
    remove_tree(store);
    copy_tree(template, store);
    append_named("a1"); /* later than b1: so that times alone do not tell */
    if (used(path) != from)
        die("frames of different lengths");
    append_named("a2");
    off_t upto = used(path);
    unsigned char *was = slurp(path, &len);
    remove_tree(store);
    copy_tree(template, store);
    spill(path, b1, len, false);
    free(b1);
    (void)chmod(path, 0600);
    int fd = open(path, O_RDWR);
    if (fd < 0 || pwrite(fd, was + from, (size_t)(upto - from), from) != upto - from)
        die(path);
    close(fd);
    free(was);
    if (zero_head)
        spill(head, zeros, sizeof zeros, false);
    else
        unlink(head);
    int bad = append_works(store, &position) < 0 || read_store(store, ESDB_READ, &l) < 0 ? -1 : 0;
    if (!bad && (position != truth.count + 2 || l.count != truth.count + 3))
        bad = check_fail("a stale frame is taken: %zu events of %zu", l.count, truth.count + 3);
    bad = bad || verify_clean(store);
    seen_release(&l);
    return bad;
}

static int stale(void) {
    int bad = 0;
    for (int i = 0; i < 2; i++)
        if (stale_once(i) != 0) {
            fprintf(stderr, "  head %s: %s\n", i ? "zeroed" : "absent", check_why);
            bad++;
        }
    printf("2 stale, %d bad\n", bad);
    return bad != 0;
}

/* ---- random flips ---- */

/* A random file of the store: first the kind, so that the few small files are hit as often as the many large ones. */
static bool random_file(char out[CHECK_PATH]) {
    static const char *const kinds[] = {"head", ".live", ".idx", ".tbl", ".log"};
    const char *kind = kinds[random() % (random() % 4 ? 4 : 5)];
    if (kind[0] != '.') {
        join(out, store, kind);
        return true;
    }
    char dir[CHECK_PATH], names[512][32];
    size_t count = 0;
    join(dir, store, strcmp(kind, ".tbl") == 0 ? "tables" : "log");
    DIR *d = opendir(dir);
    struct dirent *e;
    while (d && (e = readdir(d)) != NULL && count < 512)
        if (strlen(e->d_name) > 5 && strcmp(e->d_name + strlen(e->d_name) - strlen(kind), kind) == 0 &&
            e->d_name[0] != '.')
            snprintf(names[count++], sizeof names[0], "%.31s", e->d_name);
    if (d)
        closedir(d);
    if (strcmp(kind, ".tbl") == 0 && count == 0)
        die("the store has no table");
    if (count == 0)
        return false;
    join(out, dir, names[(size_t)random() % count]);
    return true;
}

/* The newest version of a stream as it must be; -1: there is none. */
static int64_t true_version(unsigned i) {
    for (size_t at = truth.count; at > 0; at--)
        if (truth.at[at - 1].stream == name_hash[i])
            return (int64_t)truth.at[at - 1].version;
    return -1;
}

static int ask_version(esdb *db, unsigned i) {
    struct esdb_error err = {0};
    struct esdb_stream_info info;
    char name[32];
    stream_name(i, name);
    int rc = esdb_stream_info(db, (struct esdb_text){name, strlen(name)}, &info, &err);
    int64_t right = true_version(i);
    if (rc == 0 && (int64_t)info.last_version != right)
        return check_fail("%s: version %" PRIu64 ", not %" PRId64, name, info.last_version, right);
    if (rc == ESDB_ENOTFOUND && right >= 0)
        return check_fail("%s: no such stream, and it has version %" PRId64, name, right);
    return 0;
}

static int ask_stream(esdb *db, unsigned i) {
    struct esdb_query q;
    char name[32];
    size_t seen, failed, right = 0;
    stream_name(i, name);
    struct esdb_text text = {name, strlen(name)};
    esdb_query_init(&q);
    q.flags = ESDB_LITERAL | (random() % 2 ? ESDB_REVERSE : 0);
    q.streams = &text;
    q.stream_count = 1;
    int bad = read_subset(db, &q, &seen, &failed);
    for (size_t at = 0; at < truth.count; at++)
        right += truth.at[at].stream == name_hash[i];
    if (!bad && failed == 0 && seen != right)
        bad = check_fail("%s: %zu events of %zu and no error", name, seen, right);
    return bad;
}

static int ask_list(esdb *db) {
    struct esdb_error err = {0};
    struct esdb_stream_list *list;
    struct esdb_stream_info info;
    size_t events = 0;
    int rc = esdb_stream_list_open(db, (struct esdb_text){0}, 0, &list, &err);
    if (rc < 0)
        return 0;
    while ((rc = esdb_stream_list_next(list, &info, &err)) == 0)
        events += info.count;
    esdb_stream_list_close(list);
    return rc == ESDB_END && events != truth.count ? check_fail("the list has %zu events of %zu", events, truth.count)
                                                   : 0;
}

/* An append that expects the wrong version, then one that expects the right one. */
static int ask_append(esdb *db, unsigned i, bool *poisoned) {
    struct esdb_error err = {0};
    struct esdb_receipt r;
    esdb_batch *b;
    char name[32], data[96];
    int64_t right = true_version(i);
    stream_name(i, name);
    struct esdb_text text = {name, strlen(name)};
    int n = snprintf(data, sizeof data, "{\"g\":\"a%zu\",\"i\":0,\"of\":1}", truth.count);
    struct esdb_new_event e = {.stream_id = text, .event_type = {"Tested", 6}, .data = {data, (size_t)n}};
    if (esdb_batch_open(&b) < 0 || esdb_batch_add(b, &e, &err) < 0 ||
        esdb_batch_expect(b, text, right < 0 ? 0 : right + 1, &err) < 0)
        die(err.text);
    int bad = 0, rc = esdb_append(db, b, 0, &r, &err);
    if (rc == 0)
        bad = check_fail("%s: an append that expects a version that is not there succeeds", name);
    else if (rc == ESDB_ECONFLICT && err.actual != right)
        bad = check_fail("%s: a conflict says version %" PRId64 ", not %" PRId64, name, err.actual, right);
    err = (struct esdb_error){0};
    if (!bad && esdb_batch_expect(b, text, right, &err) == 0 && (rc = esdb_append(db, b, 0, &r, &err)) == 0) {
        if ((int64_t)r.streams[0].first_version != right + 1 || r.first_position != truth.count)
            bad = check_fail("%s: appended as version %" PRIu64 " at %" PRIu64, name, r.streams[0].first_version,
                             r.first_position);
    } else if (!bad && rc == ESDB_ECONFLICT)
        bad = check_fail("%s: a right expectation is refused: %s", name, err.text);
    *poisoned = rc == ESDB_EPOISONED;
    esdb_batch_close(b);
    return bad;
}

static int ask(bool all, bool *stop) {
    int rc, bad = 0;
    esdb *db = open_or_null(ESDB_READ, &rc);
    for (unsigned i = 0; db && all && !bad && i < STREAMS; i++)
        bad = ask_version(db, i);
    for (int i = 0; db && !bad && i < 3; i++) {
        bad = ask_version(db, (unsigned)random() % STREAMS);
        bad = bad || ask_stream(db, (unsigned)random() % STREAMS);
        for (int j = 0; !bad && j < (all ? 8 : 1); j++)
            bad = ask_keys(db, (size_t)random() % name_count, false);
    }
    if (db && !bad && random() % 4 == 0)
        bad = ask_list(db);
    esdb_close(db);
    db = bad ? NULL : open_or_null(ESDB_APPEND, &rc);
    if (db) {
        esdb_set_lock_timeout(db, 2000);
        bad = ask_append(db, (unsigned)random() % STREAMS, stop);
        *stop = *stop || learn_more(db) != 0;
        esdb_close(db);
    }
    return bad;
}

static unsigned char byte_at(const char *path, off_t at) {
    unsigned char byte = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0 && pread(fd, &byte, 1, at) != 1)
        byte = 0;
    if (fd >= 0)
        close(fd);
    return byte;
}

/* Up to BATCH flips in a fresh copy, in a process of its own. All damage stays; one in the log is the last. */
static int batch(unsigned seed) {
    bool stop = false;
    int wrong = 0;
    srandom(seed);
    alarm(60);
    remove_tree(store);
    copy_tree(template, store);
    int rc;
    uint64_t position;
    if (append_works(store, &position) < 0)
        die(check_why);
    esdb *db = open_or_null(ESDB_READ, &rc);
    if (!db || learn_more(db))
        die("reading");
    esdb_close(db);
    for (int i = 0; i < BATCH && !stop && !wrong; i++, ++*flips_done) {
        char path[CHECK_PATH];
        struct stat st;
        if (!random_file(path) || stat(path, &st) < 0 || st.st_size == 0)
            continue;
        off_t at = strstr(path, "/head") && random() % 2        ? random() % 640
                   : strstr(path, ".live") && random() % 3 == 0 ? 128 + random() % 40 /* its words */
                                                                : random() % st.st_size;
        for (int tries = 0; tries < 20 && !byte_at(path, at); tries++) /* what is in use, mostly */
            at = random() % st.st_size;
        unsigned char with = (unsigned char)(1 << random() % 8);
        bool is_log = strcmp(path + strlen(path) - 4, ".log") == 0;
        flip(path, at, with);
        wrong = ask(strstr(path, ".live") != NULL, &stop);
        if (wrong)
            fprintf(stderr, "  seed %u, flip %d: %s, byte %lld xor %02x: %s\n", seed, i, path, (long long)at, with,
                    check_why);
        if (is_log) /* bytes of a log do not heal: an index that was made of them would tell of damage for ever */
            break;
    }
    return wrong != 0;
}

static int random_flips(long n, unsigned seed) {
    long bad = 0;
    flips_done = mmap(NULL, sizeof *flips_done, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (flips_done == MAP_FAILED)
        die("mmap");
    srandom(seed);
    build(template, 1500, 100);
    learn_truth(template);
    for (long i = 0; *flips_done < n && i < n; i++) {
        int status;
        fflush(NULL);
        pid_t pid = fork();
        if (pid == 0)
            _exit(batch(seed * 100000 + (unsigned)i));
        waitpid(pid, &status, 0);
        bad += status != 0;
        if (WIFSIGNALED(status))
            fprintf(stderr, "  seed %u: died by signal %d\n", seed * 100000 + (unsigned)i, WTERMSIG(status));
    }
    printf("%ld flips, %ld bad\n", (long)*flips_done, bad);
    return bad != 0;
}

int main(int argc, char **argv) {
    if (argc < 4) {
        fprintf(stderr, "usage: flips every WORK STEP | flips random WORK N SEED\n");
        return 2;
    }
    join(store, argv[2], "store");
    if (mkdir(argv[2], 0755) < 0 && errno != EEXIST)
        die(argv[2]);
    if (strcmp(argv[1], "every") == 0)
        return every(strtol(argv[3], NULL, 10));
    if (strcmp(argv[1], "keys") == 0)
        return keys(strtol(argv[3], NULL, 10));
    if (strcmp(argv[1], "tail") == 0)
        return tail();
    join(template, argv[2], "template");
    if (strcmp(argv[1], "stale") == 0)
        return stale();
    return random_flips(strtol(argv[3], NULL, 10), argc > 4 ? (unsigned)strtoul(argv[4], NULL, 10) : 1);
}
