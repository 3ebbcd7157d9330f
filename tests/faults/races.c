/* races expect STORE WRITERS APPENDS: so many processes each append so many events to one stream, each with the expected
 * version that it believes to be current: whoever loses looks again. Every version must have exactly one winner.
 * Prints wins, losses and bad ones. Status 0 when every version was won once and none is missing. */
#include "check.h"

#include <sys/wait.h>

struct result {
    _Atomic uint64_t wins, losses, bad;
    _Atomic uint8_t won[]; /* a counter a version */
};

static int64_t current(esdb *db) {
    struct esdb_stream_info info;
    struct esdb_error err = {0};
    return esdb_stream_info(db, (struct esdb_text){"race", 4}, &info, &err) == 0 ? (int64_t)info.last_version : -1;
}

static int append_at(esdb *db, int64_t expected, struct esdb_receipt *r, struct esdb_error *err) {
    esdb_batch *b;
    struct esdb_new_event e = {.stream_id = {"race", 4}, .event_type = {"Raced", 5}, .data = {"{}", 2}};
    if (esdb_batch_open(&b) < 0 || esdb_batch_add(b, &e, err) < 0 ||
        esdb_batch_expect(b, e.stream_id, expected, err) < 0)
        die(err->text);
    int rc = esdb_append(db, b, 0, r, err);
    if (rc == 0 && (int64_t)r->streams[0].first_version != expected + 1)
        rc = check_fail("expected %" PRId64 ", got version %" PRIu64, expected, r->streams[0].first_version);
    esdb_batch_close(b);
    return rc;
}

static void writer(const char *path, long appends, struct result *result, size_t room) {
    struct esdb_error err = {0};
    struct esdb_receipt r;
    esdb *db;
    if (esdb_open(path, ESDB_APPEND, &db, &err) < 0)
        die(err.text);
    esdb_set_lock_timeout(db, 60000);
    int64_t expected = current(db);
    for (long done = 0; done < appends;) {
        err = (struct esdb_error){0};
        int rc = append_at(db, expected, &r, &err);
        if (rc == 0) {
            done++;
            result->wins++;
            if ((size_t)(expected + 1) >= room || ++result->won[expected + 1] != 1)
                result->bad++;
            expected++;
        } else if (rc == ESDB_ECONFLICT) {
            result->losses++;
            if (err.actual == expected)
                result->bad++;
            expected = err.actual;
        } else {
            fprintf(stderr, "  %s %s\n", err.text, check_why);
            result->bad++;
            break;
        }
    }
    esdb_close(db);
}

int main(int argc, char **argv) {
    if (argc != 5 || strcmp(argv[1], "expect") != 0) {
        fprintf(stderr, "usage: races expect STORE WRITERS APPENDS\n");
        return 2;
    }
    long writers = strtol(argv[3], NULL, 10), appends = strtol(argv[4], NULL, 10);
    size_t versions = (size_t)(writers * appends);
    struct result *result =
        mmap(NULL, sizeof *result + versions, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (result == MAP_FAILED)
        die("mmap");
    for (long i = 0; i < writers; i++)
        if (fork() == 0) {
            writer(argv[2], appends, result, versions);
            _exit(0);
        }
    while (wait(NULL) > 0)
        ;
    uint64_t missing = 0;
    for (size_t i = 0; i < versions; i++)
        missing += result->won[i] != 1;
    printf("%" PRIu64 " wins %" PRIu64 " losses %" PRIu64 " bad\n", (uint64_t)result->wins, (uint64_t)result->losses,
           (uint64_t)result->bad + missing);
    return result->bad + missing != 0;
}
