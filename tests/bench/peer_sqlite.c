/*
 * peer_sqlite: the load of the benchmarks on SQLite (write-ahead log, synchronous=FULL).
 *
 *   peer_sqlite check                       status 0 when the library is there
 *   peer_sqlite bulk DB FILE                FILE as `gen_events -f tsv` writes it, in one transaction, into a new DB
 *   peer_sqlite writers DB PROCESSES EVENTS each event a transaction; prints events a second of all processes
 *
 * The library is opened at run time, so that the benchmarks can be built without it.
 */
#include <dlfcn.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* What is used of sqlite3.h (its C interface, sqlite.org/c3ref). */
enum { SQLITE_OK = 0, SQLITE_DONE = 101, BUSY_MS = 60000, FIELDS = 5, PROCESSES_MAX = 500 };
struct sqlite3;
struct statement;
static struct {
    int (*open)(const char *path, struct sqlite3 **db);
    int (*close)(struct sqlite3 *db);
    int (*busy_timeout)(struct sqlite3 *db, int ms);
    int (*exec)(struct sqlite3 *db, const char *sql, int (*row)(void *, int, char **, char **), void *, char **);
    int (*prepare)(struct sqlite3 *db, const char *sql, int len, struct statement **out, const char **tail);
    int (*bind_text)(struct statement *s, int i, const char *text, int len, void (*release)(void *));
    int (*step)(struct statement *s);
    int (*reset)(struct statement *s);
    int (*finalize)(struct statement *s);
    const char *(*errmsg)(struct sqlite3 *db);
} sql;

static const char create[] =
    "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
    "CREATE TABLE IF NOT EXISTS events(position INTEGER PRIMARY KEY, stream_id TEXT NOT NULL, version INTEGER NOT NULL,"
    " event_type TEXT NOT NULL, data TEXT, metadata TEXT, UNIQUE(stream_id, version));";
static const char insert[] =
    "INSERT INTO events(stream_id, version, event_type, data, metadata) VALUES(?1, ?2, ?3, ?4, ?5)";
static const char append[] =
    "INSERT INTO events(stream_id, version, event_type, data, metadata)"
    " SELECT ?1, coalesce(max(version) + 1, 0), ?3, ?4, ?5 FROM events WHERE stream_id = ?1 AND ?2 IS NOT NULL";

static bool load_library(void) {
    static const struct {
        const char *name;
        void *to;
    } symbols[] = {{"sqlite3_open", &sql.open},
                   {"sqlite3_close", &sql.close},
                   {"sqlite3_busy_timeout", &sql.busy_timeout},
                   {"sqlite3_exec", &sql.exec},
                   {"sqlite3_prepare_v2", &sql.prepare},
                   {"sqlite3_bind_text", &sql.bind_text},
                   {"sqlite3_step", &sql.step},
                   {"sqlite3_reset", &sql.reset},
                   {"sqlite3_finalize", &sql.finalize},
                   {"sqlite3_errmsg", &sql.errmsg}};
    void *library = dlopen("libsqlite3.so.0", RTLD_NOW | RTLD_LOCAL);
    for (size_t i = 0; library && i < sizeof symbols / sizeof symbols[0]; i++) {
        void *at = dlsym(library, symbols[i].name);
        if (at == NULL)
            return false;
        memcpy(symbols[i].to, &at, sizeof at);
    }
    return library != NULL;
}

static _Noreturn void fail(struct sqlite3 *db, const char *what) {
    fprintf(stderr, "peer_sqlite: %s: %s\n", what, db ? sql.errmsg(db) : strerror(errno));
    exit(1);
}

static struct sqlite3 *open_db(const char *path) {
    struct sqlite3 *db = NULL;
    if (sql.open(path, &db) != SQLITE_OK)
        fail(db, path);
    sql.busy_timeout(db, BUSY_MS);
    if (sql.exec(db, create, NULL, NULL, NULL) != SQLITE_OK)
        fail(db, "create");
    return db;
}

static struct statement *prepare(struct sqlite3 *db, const char *text) {
    struct statement *s = NULL;
    if (sql.prepare(db, text, -1, &s, NULL) != SQLITE_OK)
        fail(db, "prepare");
    return s;
}

static void put(struct sqlite3 *db, struct statement *s, const char *const *field, const size_t *len) {
    for (int i = 0; i < FIELDS; i++)
        if (sql.bind_text(s, i + 1, field[i], (int)len[i], NULL) != SQLITE_OK)
            fail(db, "bind");
    if (sql.step(s) != SQLITE_DONE)
        fail(db, "insert");
    sql.reset(s);
}

/* ---- bulk ---- */

static void put_line(struct sqlite3 *db, struct statement *s, char *line, size_t line_len) {
    const char *field[FIELDS];
    size_t len[FIELDS];
    for (int i = 0; i < FIELDS; i++) {
        char *end = memchr(line, i + 1 < FIELDS ? '\t' : '\n', line_len);
        if (end == NULL) {
            fprintf(stderr, "peer_sqlite: a line has too few fields\n");
            exit(1);
        }
        field[i] = line;
        len[i] = (size_t)(end - line);
        line_len -= len[i] + 1;
        line = end + 1;
    }
    put(db, s, field, len);
}

static void bulk(const char *path, const char *input) {
    struct sqlite3 *db = open_db(path);
    struct statement *s = prepare(db, insert);
    char *line = NULL;
    size_t room = 0;
    ssize_t len;
    FILE *f = fopen(input, "re");
    if (f == NULL)
        fail(NULL, input);
    if (sql.exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL) != SQLITE_OK)
        fail(db, "begin");
    while ((len = getline(&line, &room, f)) > 0)
        put_line(db, s, line, (size_t)len);
    if (sql.exec(db, "COMMIT", NULL, NULL, NULL) != SQLITE_OK)
        fail(db, "commit");
    free(line);
    fclose(f);
    sql.finalize(s);
    sql.close(db);
}

/* ---- writers ---- */

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void write_events(const char *path, uint64_t number, uint64_t processes, uint64_t events, int go) {
    static const char data[] = "{\"order_id\":1,\"customer\":\"customer-7\",\"total\":12.25,\"currency\":\"EUR\","
                               "\"note\":\"deliver after seven ring the bell\"}";
    static const char metadata[] = "{\"correlation_id\":\"c-1\",\"actor_id\":\"user-7\"}";
    struct sqlite3 *db = open_db(path);
    struct statement *s = prepare(db, append);
    char byte;
    while (read(go, &byte, 1) < 0 && errno == EINTR)
        ; /* until all are ready: the end of the pipe */
    for (uint64_t i = number; i < events; i += processes) {
        char stream[40];
        int len = snprintf(stream, sizeof stream, "order-%" PRIu64, i * 7919 % 10000);
        put(db, s, (const char *const[]){stream, "0", "OrderPlaced", data, metadata},
            (const size_t[]){(size_t)len, 1, 11, sizeof data - 1, sizeof metadata - 1});
    }
    sql.finalize(s);
    sql.close(db);
    exit(0);
}

static int writers(const char *path, uint64_t processes, uint64_t events) {
    int ends[2], status, failed = 0;
    pid_t parent = getpid();
    sql.close(open_db(path));
    if (pipe(ends) != 0)
        fail(NULL, "pipe");
    for (uint64_t i = 0; i < processes; i++) {
        pid_t pid = fork();
        if (pid < 0)
            fail(NULL, "fork");
        if (pid == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            if (getppid() != parent)
                _exit(1);
            close(ends[1]);
            write_events(path, i, processes, events, ends[0]);
        }
    }
    close(ends[0]);
    nanosleep(&(struct timespec){0, 300000000}, NULL); /* all have it open by then */
    double begin = now();
    close(ends[1]);
    while (wait(&status) > 0)
        failed |= status;
    if (failed)
        return 1;
    printf("%.1f\n", (double)events / (now() - begin));
    return 0;
}

int main(int argc, char **argv) {
    bool there = load_library();
    if (argc == 2 && strcmp(argv[1], "check") == 0)
        return !there;
    if (!there) {
        fprintf(stderr, "peer_sqlite: libsqlite3.so.0 cannot be opened\n");
        return 1;
    }
    if (argc == 4 && strcmp(argv[1], "bulk") == 0) {
        bulk(argv[2], argv[3]);
        return 0;
    }
    uint64_t processes = argc == 5 ? strtoull(argv[3], NULL, 10) : 0,
             events = argc == 5 ? strtoull(argv[4], NULL, 10) : 0;
    if (argc == 5 && strcmp(argv[1], "writers") == 0 && processes >= 1 && processes <= PROCESSES_MAX && events >= 1)
        return writers(argv[2], processes, events);
    fprintf(stderr, "usage: peer_sqlite check | bulk DB FILE | writers DB PROCESSES EVENTS\n");
    return 2;
}
