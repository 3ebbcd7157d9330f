/* Counting events for which an expression holds. Most are decided at once; the others wait for jq, in batches. */
#include <errno.h>
#include <stdio.h>

#include "event_json.h"
#include "fold.h"
#include "predicate.h"

#define BATCH_EVENTS 4096u

int es_fold_count_open(esdb_fold *f, struct esdb_error *err) {
    struct es_jq_options o = {.timeout_ms = f->timeout_ms, .timeout_option = f->timeout_option};
    int rc = es_predicate_compile(f->program, &f->predicate, err);
    return rc == ESDB_END ? es_jq_open(f->program, &o, &f->jq.jq, err) : rc;
}

static int receive(esdb_fold *f, struct esdb_error *err) {
    const struct es_fold_item *item = (const struct es_fold_item *)(const void *)f->jq.sent.at + f->jq.answered;
    struct es_jq_results r;
    int rc = es_jq_receive(f->jq.jq, &r, err);
    char what[400];
    for (uint32_t i = 0; rc == 0 && i < r.count; i++) {
        f->state[item[i].state].count += r.verdict[i] == ES_JQ_YES;
        if (r.verdict[i] != ES_JQ_FAILED)
            continue;
        bool first = i == r.first_failed; /* what jq said of the others is not known */
        snprintf(what, sizeof what, "the expression failed%s%.*s", first ? ": " : "",
                 !first                ? 0
                 : r.failure.len > 300 ? 300
                                       : (int)r.failure.len,
                 r.failure.at ? r.failure.at : "");
        rc =
            es_fold_invalid(f, es_fold_name(f, &f->state[item[i].state]), item[i].version, item[i].position, what, err);
    }
    f->jq.answered += rc == 0 ? r.count : 0;
    if (f->jq.answered * sizeof *item == f->jq.sent.len)
        f->jq.answered = f->jq.sent.len = 0;
    return rc;
}

static int send_batch(esdb_fold *f, struct esdb_error *err) {
    struct es_jq_options o = {.timeout_ms = f->timeout_ms, .timeout_option = f->timeout_option};
    uint32_t count = (uint32_t)(f->jq.items.len / sizeof(struct es_fold_item));
    int rc = f->jq.jq ? 0 : es_jq_open(f->program, &o, &f->jq.jq, err);
    while (rc == 0 && es_jq_room(f->jq.jq) == 0)
        rc = receive(f, err);
    if (rc == 0)
        rc = es_jq_send(f->jq.jq, &f->jq.events, count, err);
    if (rc == 0 && es_buffer_add(&f->jq.sent, f->jq.items.at, f->jq.items.len) < 0)
        rc = es_fail(err, -ENOMEM, "fold");
    f->jq.items.len = 0;
    return rc;
}

int es_fold_count_put(esdb_fold *f, uint32_t state, const struct esdb_event *e, struct esdb_error *err) {
    int answer = f->predicate ? es_predicate_eval(f->predicate, e) : ES_PREDICATE_ASK;
    struct es_fold_item item = {.state = state, .position = e->position, .version = e->version};
    if (answer != ES_PREDICATE_ASK) {
        f->state[state].count += answer == ES_PREDICATE_YES;
        return 0;
    }
    if (es_event_json(e, &f->jq.events) < 0 || es_buffer_add(&f->jq.items, &item, sizeof item) < 0)
        return es_fail(err, -ENOMEM, "fold");
    return f->jq.events.len >= ES_JQ_BATCH_SIZE || f->jq.items.len >= BATCH_EVENTS * sizeof item ? send_batch(f, err)
                                                                                                 : 0;
}

int es_fold_count_flush(esdb_fold *f, struct esdb_error *err) {
    int rc = f->jq.items.len > 0 ? send_batch(f, err) : 0;
    while (rc == 0 && f->jq.jq && es_jq_in_flight(f->jq.jq) > 0)
        rc = receive(f, err);
    return rc;
}
