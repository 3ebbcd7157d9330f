/*
 * gen_events: the events that the benchmarks use, the same ones every time.
 *
 *   gen_events [-f json|tsv|resp] [-l] [-p] [-s STREAMS] EVENTS
 *
 *   -f FORMAT    json: about 250 bytes a line, as esdb-append reads it (default)
 *                tsv:  stream, version, type, data, metadata: for COPY of PostgreSQL and for peer_sqlite
 *                resp: an XADD command an event, for redis-cli --pipe
 *   -l           json with what is to be found in it, spread evenly over the log: 1000 events of type Rare; a chain of
 *                causes chain-0 ... chain-999; 100 effects of the event `cause`; 100 events of the correlation
 *                `correlated` (a tenth of all events where that is less than 1000). Times are 1 ms apart, for
 *                esdb-append --preserve
 *   -p           with two streams to probe for: the events of probe-adjacent stand together in the middle, those of
 *                probe-scattered evenly over all (100 each, or a tenth of all where that is less)
 *   -s STREAMS   default 10000; event i belongs to stream i * 7919 mod STREAMS, so each has about as many events
 */
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { OUT_SIZE = 1 << 18, EVENT_ROOM = 2048, PROBE_EVENTS = 100, STRIDE = 7919, WORDS = 64, NOTE_WORDS = 7 };
enum { LINKS = 1000, LINKS_A_FEW = 10 }; /* of each ten places for links, one has those of which there are 100 */
static const uint64_t FIRST_TIME = 1700000000000000;
enum format { JSON, TSV, RESP };

struct plan {
    enum format format;
    bool probes, links;
    uint64_t events, streams;
};

/* Text under construction; who adds knows that it fits. */
struct text {
    char *at;
    size_t len;
};

struct event {
    char stream[32], data[512], metadata[128], id[32];
    uint64_t version, epoch_us; /* 0: none */
    const char *type;
    struct text stream_text, data_text, metadata_text, id_text; /* an id of length 0: none */
};

static const char *const words[WORDS] = {
    "deliver", "after", "ring",  "the",   "bell",  "leave", "with",   "porter", "red",     "box",   "fragile",
    "gift",    "wrap",  "blue",  "ship",  "soon",  "hold",  "for",    "pickup", "call",    "first", "back",
    "door",    "no",    "sign",  "paid",  "twice", "check", "old",    "note",   "size",    "large", "extra",
    "small",   "part",  "of",    "set",   "left",  "right", "garden", "gate",   "code",    "ask",   "desk",
    "two",     "three", "seven", "boxes", "crate", "keep",  "cold",   "dry",    "upright", "open",  "by",
    "noon",    "late",  "early", "week",  "month", "again", "wait",   "return", "done"};
static const char *const types[] = {"OrderPlaced", "OrderPaid", "OrderShipped", "PaymentReceived"};

static void add(struct text *t, const char *text) {
    size_t len = strlen(text);
    memcpy(t->at + t->len, text, len);
    t->len += len;
}

static void add_text(struct text *t, const struct text *other) {
    memcpy(t->at + t->len, other->at, other->len);
    t->len += other->len;
}

static void add_number(struct text *t, uint64_t n) {
    char digits[20];
    size_t i = sizeof digits;
    do
        digits[--i] = (char)('0' + n % 10);
    while ((n /= 10) != 0);
    memcpy(t->at + t->len, digits + i, sizeof digits - i);
    t->len += sizeof digits - i;
}

static uint64_t mix(uint64_t n) {
    n = (n ^ n >> 30) * 0xbf58476d1ce4e5b9u;
    n = (n ^ n >> 27) * 0x94d049bb133111ebu;
    return n ^ n >> 31;
}

/* ---- what event i is ---- */

/* adjacent: how many events of probe-adjacent there were; those of probe-scattered step over the others. */
static void set_stream(struct event *e, const struct plan *plan, uint64_t i, uint64_t *adjacent) {
    uint64_t probes = plan->events / 10 < PROBE_EVENTS ? plan->events / 10 : PROBE_EVENTS;
    uint64_t step = probes ? plan->events / probes : 1;
    e->stream_text = (struct text){e->stream, 0};
    if (plan->probes && i % step == 1 && i / step < probes) {
        add(&e->stream_text, "probe-scattered");
        e->version = i / step;
    } else if (plan->probes && i >= plan->events / 2 && *adjacent < probes) {
        add(&e->stream_text, "probe-adjacent");
        e->version = (*adjacent)++;
    } else {
        add(&e->stream_text, "order-");
        add_number(&e->stream_text, i * STRIDE % plan->streams);
        e->version = i / plan->streams;
    }
}

static void set_content(struct event *e, uint64_t i) {
    uint64_t random = mix(i + 1);
    e->type = types[i % 4];
    struct text *d = &e->data_text, *m = &e->metadata_text;
    *d = (struct text){e->data, 0};
    add(d, "{\"order_id\":");
    add_number(d, i);
    add(d, ",\"customer\":\"customer-");
    add_number(d, random % 50000);
    add(d, "\",\"total\":");
    add_number(d, random % 977);
    add(d, ".25,\"currency\":\"EUR\",\"note\":\"");
    for (int w = 0; w < NOTE_WORDS; w++) {
        add(d, words[random >> (6 * w + 10) & (WORDS - 1)]);
        add(d, w + 1 < NOTE_WORDS ? " " : "\"}");
    }
    *m = (struct text){e->metadata, 0};
    add(m, "{\"correlation_id\":\"c-");
    add_number(m, i / 3);
    add(m, "\",\"actor_id\":\"user-");
    add_number(m, random % 300);
    add(m, "\"}");
}

static void set_member(struct text *metadata, const char *key, const char *value, uint64_t n) {
    metadata->len--; /* the closing brace */
    add(metadata, ",\"");
    add(metadata, key);
    add(metadata, "\":\"");
    add(metadata, value);
    if (n != UINT64_MAX)
        add_number(metadata, n);
    add(metadata, "\"}");
}

/* What -l adds to event i. Event `place` of each stretch of the log has a part of its own. */
static void set_links(struct event *e, const struct plan *plan, uint64_t i) {
    uint64_t links = plan->events / 10 < LINKS ? plan->events / 10 : LINKS;
    uint64_t stretch = links ? plan->events / links : 1, n = i / stretch, place = i % stretch;
    bool few = n % LINKS_A_FEW == 1;
    e->epoch_us = FIRST_TIME + i * 1000;
    e->id_text = (struct text){e->id, 0};
    if (n >= links)
        return;
    if (place == 2) {
        e->type = "Rare";
    } else if (place == 3) {
        add(&e->id_text, "chain-");
        add_number(&e->id_text, n);
        if (n > 0)
            set_member(&e->metadata_text, "causation_id", "chain-", n - 1);
    } else if (place == 4 && n == 0) {
        add(&e->id_text, "cause");
    } else if (place == 4 && few) {
        set_member(&e->metadata_text, "causation_id", "cause", UINT64_MAX);
    } else if (place == 5 && few) {
        e->metadata_text.len = 0;
        add(&e->metadata_text, "{\"correlation_id\":\"correlated\"}");
    }
}

/* ---- the formats ---- */

static void put_json(struct text *out, const struct event *e) {
    add(out, "{\"stream_id\":\"");
    add_text(out, &e->stream_text);
    add(out, "\",\"event_type\":\"");
    add(out, e->type);
    add(out, "\",\"data\":");
    add_text(out, &e->data_text);
    add(out, ",\"metadata\":");
    add_text(out, &e->metadata_text);
    if (e->id_text.len) {
        add(out, ",\"event_id\":\"");
        add_text(out, &e->id_text);
        add(out, "\"");
    }
    if (e->epoch_us) {
        add(out, ",\"epoch_us\":");
        add_number(out, e->epoch_us);
    }
    add(out, "}\n");
}

static void put_tsv(struct text *out, const struct event *e) {
    add_text(out, &e->stream_text);
    add(out, "\t");
    add_number(out, e->version);
    add(out, "\t");
    add(out, e->type);
    add(out, "\t");
    add_text(out, &e->data_text);
    add(out, "\t");
    add_text(out, &e->metadata_text);
    add(out, "\n");
}

static void put_bulk(struct text *out, const char *at, size_t len) {
    add(out, "$");
    add_number(out, len);
    add(out, "\r\n");
    memcpy(out->at + out->len, at, len);
    out->len += len;
    add(out, "\r\n");
}

static void put_resp(struct text *out, const struct event *e) {
    add(out, "*9\r\n");
    put_bulk(out, "XADD", 4);
    put_bulk(out, e->stream_text.at, e->stream_text.len);
    put_bulk(out, "*", 1);
    put_bulk(out, "type", 4);
    put_bulk(out, e->type, strlen(e->type));
    put_bulk(out, "data", 4);
    put_bulk(out, e->data_text.at, e->data_text.len);
    put_bulk(out, "metadata", 8);
    put_bulk(out, e->metadata_text.at, e->metadata_text.len);
}

static int flush(struct text *out) {
    size_t done = 0;
    while (done < out->len) {
        ssize_t n = write(STDOUT_FILENO, out->at + done, out->len - done);
        if (n < 0 && errno != EINTR)
            return -1;
        done += n > 0 ? (size_t)n : 0;
    }
    out->len = 0;
    return 0;
}

static int generate(const struct plan *plan) {
    static void (*const put[])(struct text *, const struct event *) = {put_json, put_tsv, put_resp};
    static char buffer[OUT_SIZE + EVENT_ROOM];
    struct text out = {buffer, 0};
    struct event e = {.epoch_us = 0};
    uint64_t adjacent = 0;
    for (uint64_t i = 0; i < plan->events; i++) {
        set_stream(&e, plan, i, &adjacent);
        set_content(&e, i);
        if (plan->links)
            set_links(&e, plan, i);
        put[plan->format](&out, &e);
        if (out.len >= OUT_SIZE && flush(&out) != 0)
            return -1;
    }
    return flush(&out);
}

static uint64_t number(const char *text) {
    char *end;
    errno = 0;
    uint64_t n = strtoull(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || n == 0) {
        fprintf(stderr, "gen_events: '%s' is no number above 0\n", text);
        exit(2);
    }
    return n;
}

static enum format format_named(const char *name) {
    static const char *const names[] = {"json", "tsv", "resp"};
    for (int i = 0; i < 3; i++)
        if (strcmp(name, names[i]) == 0)
            return (enum format)i;
    fprintf(stderr, "gen_events: '%s' is no format: json, tsv or resp\n", name);
    exit(2);
}

int main(int argc, char **argv) {
    struct plan plan = {.streams = 10000};
    int option;
    while ((option = getopt(argc, argv, "f:lps:")) != -1) {
        if (option == 'f')
            plan.format = format_named(optarg);
        else if (option == 'l')
            plan.links = true;
        else if (option == 'p')
            plan.probes = true;
        else if (option == 's')
            plan.streams = number(optarg);
        else
            return 2;
    }
    if (argc - optind != 1 || (plan.links && plan.format != JSON)) {
        fprintf(stderr, "usage: gen_events [-f json|tsv|resp] [-l] [-p] [-s STREAMS] EVENTS\n");
        return 2;
    }
    plan.events = number(argv[optind]);
    if (generate(&plan) != 0) {
        perror("gen_events");
        return 1;
    }
    return 0;
}
