/*
 * json_scan: how fast the scanner takes events apart.
 *
 *   json_scan FILE      a file of events, such as esdb-append reads
 *   json_scan           100,000 made-up events of about 235 bytes
 *
 * Prints events/s and GB/s, medians of five runs over the whole input, with the slowest and the fastest.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "format/json.h"

enum { RUNS = 5, MADE_UP = 100000, MADE_UP_SIZE_MAX = 300, PASS_BYTES = 256 << 20 };

struct input {
    char *bytes;
    size_t len;
};

static double now(void) {
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static struct input made_up(void) {
    struct input in = {malloc((size_t)MADE_UP * MADE_UP_SIZE_MAX), 0};

    if (in.bytes == NULL)
        return in;
    for (int i = 0; i < MADE_UP; i++)
        in.len += (size_t)snprintf(
            in.bytes + in.len, MADE_UP_SIZE_MAX,
            "{\"stream_id\":\"order-%d\",\"event_type\":\"%s\",\"data\":{\"order_id\":%d,\"customer\":\"customer-%d\","
            "\"total\":%d.5,\"currency\":\"EUR\",\"note\":\"%.*s\"},"
            "\"metadata\":{\"correlation_id\":\"c-%d\",\"actor_id\":\"user-%d\"}}\n",
            i * 7919 % 10000, i % 3 ? "OrderPlaced" : "PaymentReceived", i, i * 31 % 500, i % 997, 5 + i * 13 % 30,
            "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", i, i * 17 % 300);
    return in;
}

static struct input read_whole(const char *path) {
    struct input in = {NULL, 0};
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return in;
    if (fstat(fd, &st) == 0 && st.st_size > 0 && (in.bytes = malloc((size_t)st.st_size)) != NULL) {
        ssize_t n;

        while ((n = read(fd, in.bytes + in.len, (size_t)st.st_size - in.len)) > 0)
            in.len += (size_t)n;
    }
    close(fd);
    return in;
}

/* Returns the number of events, or -1. */
static long scan_all(const struct input *in) {
    struct fmt_envelope event;
    struct fmt_json_error err;
    size_t at = 0, consumed;
    long events = 0;
    int rc;

    while ((rc = fmt_envelope_scan(in->bytes + at, in->len - at, true, &consumed, &event, &err)) == FMT_JSON_OK) {
        at += consumed;
        events++;
    }
    if (rc == FMT_JSON_EMPTY)
        return events;
    fprintf(stderr, "json_scan: event %ld: byte %zu: %s\n", events + 1, at + err.offset, err.what);
    return -1;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

int main(int argc, char **argv) {
    struct input in = argc > 1 ? read_whole(argv[1]) : made_up();
    double seconds[RUNS];
    long events = 0, passes;

    if (in.bytes == NULL || in.len == 0) {
        fprintf(stderr, "json_scan: %s: %s\n", argc > 1 ? argv[1] : "memory", errno ? strerror(errno) : "empty");
        return 1;
    }
    passes = (long)(PASS_BYTES / in.len) + 1;
    for (int run = 0; run < RUNS; run++) {
        double start = now();

        for (long i = 0; i < passes; i++)
            if ((events = scan_all(&in)) < 0)
                return 8;
        seconds[run] = (now() - start) / (double)passes;
    }
    qsort(seconds, RUNS, sizeof seconds[0], by_value);

    double median = seconds[RUNS / 2], bytes = (double)in.len;

    printf("json_scan: %ld events of %.0f bytes: %.2f M events/s, %.2f GB/s (%.2f to %.2f)\n", events,
           bytes / (double)events, (double)events / median / 1e6, bytes / median / 1e9, bytes / seconds[RUNS - 1] / 1e9,
           bytes / seconds[0] / 1e9);
    free(in.bytes);
    return 0;
}
