/* Events through a jq program: the public side of jq_child.h. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "error.h"
#include "event_json.h"
#include "jq_child.h"

#define BATCH_EVENTS 4096u

struct esdb_jq {
    struct es_jq *jq;       /* owned */
    struct es_buffer lines; /* the batch that is being filled */
    uint32_t count;
    struct es_buffer positions; /* u64 of the events that were put and are not answered, that batch included */
    size_t answered;            /* of positions */
    struct es_buffer output;    /* not taken yet, then what was taken last: see `taken` */
    bool taken;
    struct esdb_jq_failures failures;
};

int esdb_jq_open(struct esdb_text program, const struct esdb_jq_options *o, esdb_jq **out, struct esdb_error *err) {
    struct es_jq_options options = {
        .transform = true, .timeout_ms = o->timeout_ms, .arguments = o->arguments, .timeout_option = o->timeout_option};
    struct esdb_jq *t = calloc(1, sizeof *t);
    if (!t)
        return es_fail(err, -ENOMEM, "jq");
    int rc = es_jq_open(program, &options, &t->jq, err);
    if (rc < 0) {
        free(t);
        return rc;
    }
    *out = t;
    return 0;
}

void esdb_jq_close(esdb_jq *t) {
    if (!t)
        return;
    es_jq_close(t->jq);
    es_buffer_release(&t->lines);
    es_buffer_release(&t->positions);
    es_buffer_release(&t->output);
    free(t);
}

static void note_failures(struct esdb_jq *t, const struct es_jq_results *r) {
    if (r->failed > 0 && t->failures.count == 0) {
        memcpy(&t->failures.position, t->positions.at + (t->answered + r->first_failed) * sizeof(uint64_t),
               sizeof(uint64_t));
        snprintf(t->failures.text, sizeof t->failures.text, "%.*s", (int)r->failure.len, r->failure.at);
    }
    t->failures.count += r->failed;
    t->answered += r->count;
    if (t->answered * sizeof(uint64_t) == t->positions.len)
        t->answered = t->positions.len = 0;
}

/* Waits for the oldest batch. */
static int receive(struct esdb_jq *t, struct esdb_error *err) {
    struct es_jq_results r;
    int rc = es_jq_receive(t->jq, &r, err);
    if (rc != 0)
        return rc;
    note_failures(t, &r);
    if (t->taken)
        t->output.len = 0;
    t->taken = false;
    return es_buffer_add(&t->output, r.output.at, r.output.len) < 0 ? es_fail(err, -ENOMEM, "jq") : 0;
}

static int send_batch(struct esdb_jq *t, struct esdb_error *err) {
    int rc = 0;
    while (rc == 0 && es_jq_room(t->jq) == 0)
        rc = receive(t, err);
    if (rc == 0)
        rc = es_jq_send(t->jq, &t->lines, t->count, err);
    t->count = 0;
    return rc;
}

int esdb_jq_put(esdb_jq *t, const struct esdb_event *e, struct esdb_error *err) {
    if (es_event_json(e, &t->lines) < 0 || es_buffer_add(&t->positions, &e->position, sizeof e->position) < 0)
        return es_fail(err, -ENOMEM, "jq");
    t->count++;
    return t->lines.len >= ES_JQ_BATCH_SIZE || t->count == BATCH_EVENTS ? send_batch(t, err) : 0;
}

int esdb_jq_take(esdb_jq *t, bool all, struct esdb_text *output, struct esdb_error *err) {
    int rc = 0;
    if (t->taken)
        t->output.len = 0;
    if (all && t->count > 0)
        rc = send_batch(t, err);
    while (rc == 0 && all && es_jq_in_flight(t->jq) > 0)
        rc = receive(t, err);
    if (rc < 0)
        return rc;
    t->taken = true;
    *output = (struct esdb_text){(const char *)t->output.at, t->output.len};
    return 0;
}

void esdb_jq_get_failures(const esdb_jq *t, struct esdb_jq_failures *out) {
    *out = t->failures;
}
