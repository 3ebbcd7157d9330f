/* A client of a cluster for tests/lib/history.py: appends, appends that expect a version, appends to several streams, repeated
 * ones, reads and such that must not be stale, at random, on any node; each with its times and outcome on stdout.
 *
 *     clusterclient [-r] [-p MS] NAME SEED OPERATIONS STREAMS NODE=STORE...
 *
 * The first NODE is asked mostly. -r: each append is sent again with the same event id, to another node, until one is
 * acknowledged and once more. -p: a pause after each operation. Ends after that many operations (0: never), or at SIGTERM. */
#include <err.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "libcore/esdb.h"

enum { NODES_MAX = 8, STREAMS_MAX = 64, TIMEOUT_MS = 1500, READ_BACK = 8 };

struct node {
    char name[32];
    const char *path;
    esdb *db;
};

/* One append; sent again, it is the same with another number. */
struct append {
    int count; /* events */
    int stream[2];
    char id[2][48];
    bool expects;
    int64_t expected;
};

static struct node nodes[NODES_MAX];
static int node_count;
static const char *name;
static int64_t known[STREAMS_MAX]; /* newest version of each stream that this client has heard of */
static unsigned streams;
static uint64_t number;
static volatile sig_atomic_t ending;

static void got_signal(int signal_number) {
    (void)signal_number;
    ending = 1;
}

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void pause_ms(long ms) {
    nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
}

/* ---- the record: a line is written at once, so that it is there whatever happens then ---- */

static char line[8192];
static size_t line_len;

__attribute__((format(printf, 1, 2))) static void add(const char *format, ...) {
    va_list args;
    va_start(args, format);
    line_len += (size_t)vsnprintf(line + line_len, sizeof line - line_len, format, args);
    va_end(args);
    if (line_len >= sizeof line)
        errx(1, "a line is too long");
}

static void end_line(void) {
    add("}\n");
    if (write(STDOUT_FILENO, line, line_len) != (ssize_t)line_len)
        err(1, "stdout");
    line_len = 0;
}

static void begin_append(const struct append *a, const struct node *n, uint64_t t0, const char *outcome) {
    add("{\"op\":\"append\",\"client\":\"%s\",\"number\":%" PRIu64 ",\"node\":\"%s\",\"t0\":%" PRIu64
        ",\"outcome\":\"%s\"",
        name, number, n->name, t0, outcome);
    add(",\"events\":[[\"s%d\",\"%s\"]", a->stream[0], a->id[0]);
    if (a->count == 2)
        add(",[\"s%d\",\"%s\"]", a->stream[1], a->id[1]);
    add("]");
    if (a->expects)
        add(",\"expect\":[[\"s%d\",%" PRId64 "]]", a->stream[0], a->expected);
}

/* ---- operations ---- */

static esdb *open_node(struct node *n) {
    if (!n->db && esdb_open(n->path, ESDB_APPEND, &n->db, NULL) < 0)
        return NULL;
    esdb_set_lock_timeout(n->db, TIMEOUT_MS);
    return n->db;
}

static struct esdb_text text(const char *at) {
    return (struct esdb_text){at, strlen(at)};
}

static void fill(esdb_batch *b, const struct append *a) {
    char stream[2][16];
    esdb_batch_clear(b);
    for (int i = 0; i < a->count; i++) {
        snprintf(stream[i], sizeof stream[i], "s%d", a->stream[i]);
        const struct esdb_new_event e = {.stream_id = text(stream[i]),
                                         .event_type = text("T"),
                                         .event_id = text(a->id[i]),
                                         .data = text("{\"note\":\"an event of a client of a cluster\"}")};
        if (esdb_batch_add(b, &e, NULL) < 0)
            errx(1, "a batch");
    }
    if (a->expects && esdb_batch_expect(b, text(stream[0]), a->expected, NULL) < 0)
        errx(1, "an expected version");
}

static void tell_written(const struct append *a, const struct esdb_receipt *r) {
    uint64_t next[2] = {0};
    add(",\"position\":%" PRIu64 ",\"existed\":%s,\"versions\":[", r->first_position, r->existed ? "true" : "false");
    for (int i = 0; i < a->count; i++) {
        bool same = i == 1 && a->stream[1] == a->stream[0];
        uint64_t version = same ? next[0]++ : r->streams[i].first_version;
        next[i] = version + 1;
        add("%s%" PRIu64, i ? "," : "", version);
        if (known[a->stream[i]] < (int64_t)version)
            known[a->stream[i]] = (int64_t)version;
    }
    add("]");
}

/* What esdb_append says of it: the outcome as the checker knows it. */
static const char *outcome_of(int rc) {
    if (rc == 0)
        return "ok";
    if (rc == ESDB_ECONFLICT)
        return "conflict";
    return rc == ESDB_EUNKNOWN || rc == ESDB_EPOISONED ? "unknown" : "failed";
}

/* Returns the code of the append. */
static int send_append(struct node *n, const struct append *a, bool again) {
    static esdb_batch *batch;
    struct esdb_error error = {0};
    struct esdb_receipt receipt = {0};
    esdb *db = open_node(n);
    if (!db)
        return ESDB_EUNAVAILABLE;
    if (!batch && esdb_batch_open(&batch) < 0)
        errx(1, "no memory");
    fill(batch, a);
    number++;
    uint64_t t0 = now_ns();
    begin_append(a, n, t0, "begin");
    end_line();
    int rc = esdb_append(db, batch, again ? ESDB_IDEMPOTENT : 0, &receipt, &error);
    uint64_t t1 = now_ns();
    begin_append(a, n, t0, outcome_of(rc));
    add(",\"t1\":%" PRIu64, t1);
    if (rc == 0)
        tell_written(a, &receipt);
    else
        add(",\"code\":%d", rc);
    if (rc == ESDB_ECONFLICT) {
        int stream = (int)strtol(error.stream_id + 1, NULL, 10);
        add(",\"stream\":\"%s\",\"actual\":%" PRId64, error.stream_id, error.actual);
        known[stream] = error.actual;
    }
    end_line();
    return rc;
}

/* What has been read is written as one operation: all of the stream from a little before what is known. */
static void read_stream(struct node *n, int stream, bool consistent) {
    char id[16];
    struct esdb_query q = {0};
    struct esdb_event e;
    esdb_cursor *cursor;
    int rc = 0;
    esdb *db = open_node(n);
    if (!db)
        return;
    snprintf(id, sizeof id, "s%d", stream);
    const struct esdb_text wanted = text(id);
    esdb_query_init(&q);
    q.streams = &wanted;
    q.stream_count = 1;
    q.from_version = known[stream] > READ_BACK ? (uint64_t)(known[stream] - READ_BACK) : 0;
    q.limit = 100; /* then there may be more: it is no answer */
    uint64_t t0 = now_ns(), count = 0;
    if (consistent && esdb_confirm(db, TIMEOUT_MS, NULL) < 0)
        return; /* no answer */
    if (esdb_cursor_open(db, &q, &cursor, NULL) < 0)
        return;
    add("{\"op\":\"read\",\"client\":\"%s\",\"node\":\"%s\",\"stream\":\"%s\",\"from\":%" PRIu64 ",\"t0\":%" PRIu64
        ",\"ids\":[",
        name, n->name, id, q.from_version, t0);
    while ((rc = esdb_cursor_next(cursor, &e, NULL)) == 0) {
        add("%s\"%.*s\"", count ? "," : "", (int)e.event_id.len, e.event_id.at);
        known[stream] = (int64_t)e.version > known[stream] ? (int64_t)e.version : known[stream];
        count++;
    }
    esdb_cursor_close(cursor);
    add("],\"consistent\":%s,\"t1\":%" PRIu64, consistent ? "true" : "false", now_ns());
    if (rc == ESDB_END && count < q.limit)
        end_line();
    else if (rc < 0)
        warnx("a read on %s: %s", n->name, esdb_strerror(rc));
    line_len = 0;
}

static void make_append(struct append *a) {
    long kind = random() % 100;
    *a = (struct append){.count = kind < 8 ? 2 : 1};
    for (int i = 0; i < a->count; i++) {
        a->stream[i] = (int)((unsigned long)random() % streams);
        snprintf(a->id[i], sizeof a->id[i], "%s-%" PRIu64 "-%d", name, number, i);
    }
    a->expects = kind >= 70;
    a->expected = known[a->stream[0]];
    if (kind >= 96) /* what it once was */
        a->expected = a->expected > 2 ? a->expected - 3 : ESDB_NO_STREAM;
}

static struct node *choose(void) {
    return &nodes[random() % 8 ? 0 : random() % node_count];
}

static void retry(struct append *a) {
    int rc = ESDB_EUNKNOWN;
    a->expects = false; /* one that was refused is not repeated */
    for (int i = 0; rc != 0 && !ending; i++) {
        rc = send_append(&nodes[i % node_count], a, i > 0);
        if (rc != 0)
            pause_ms(10);
    }
    if (!ending)
        send_append(choose(), a, true);
}

int main(int argc, char **argv) {
    bool retries = false;
    long pause = 0;
    int option;
    while ((option = getopt(argc, argv, "rp:")) != -1)
        if (option == 'r')
            retries = true;
        else if (option == 'p')
            pause = strtol(optarg, NULL, 10);
        else
            errx(2, "usage: clusterclient [-r] [-p MS] NAME SEED OPERATIONS STREAMS NODE=STORE...");
    argv += optind;
    argc -= optind;
    if (argc < 5 || argc > 4 + NODES_MAX)
        errx(2, "usage: clusterclient [-r] [-p MS] NAME SEED OPERATIONS STREAMS NODE=STORE...");
    name = argv[0];
    srandom((unsigned)strtoul(argv[1], NULL, 10));
    uint64_t operations = strtoull(argv[2], NULL, 10);
    streams = (unsigned)strtoul(argv[3], NULL, 10);
    if (streams == 0 || streams > STREAMS_MAX)
        errx(2, "streams: 1 .. %d", STREAMS_MAX);
    for (int i = 4; i < argc; i++) {
        const char *path = strchr(argv[i], '=');
        if (!path)
            errx(2, "%s: no NODE=STORE", argv[i]);
        snprintf(nodes[node_count].name, sizeof nodes[0].name, "%.*s", (int)(path - argv[i]), argv[i]);
        nodes[node_count++].path = path + 1;
    }
    for (unsigned i = 0; i < streams; i++)
        known[i] = ESDB_NO_STREAM;
    signal(SIGTERM, got_signal);
    signal(SIGPIPE, SIG_IGN);
    for (uint64_t done = 0; !ending && (operations == 0 || done < operations); done++) {
        struct append a;
        make_append(&a);
        if (pause > 0)
            pause_ms(pause);
        if (retries)
            retry(&a);
        else if (random() % 100 < 15)
            read_stream(choose(), a.stream[0], random() % 2);
        else if (send_append(choose(), &a, false) < 0 && random() % 2)
            send_append(choose(), &a, true);
    }
    for (int i = 0; i < node_count; i++)
        esdb_close(nodes[i].db);
    return 0;
}
