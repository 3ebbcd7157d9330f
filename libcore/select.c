#include "select.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "event_json.h"

#define SIZE_FIRST 8u
#define SIZE_MAX_EVENTS 4096u
#define BYTES_MAX (1u << 20) /* of events that wait without a question among them */

/* An event in a batch. Its texts are offsets into bytes until it is given out. */
struct waiting {
    struct esdb_event event;
    size_t at; /* where its texts begin */
    bool asked;
};

void es_select_init(struct es_select *s, const struct es_filter *f, uint32_t timeout_ms) {
    *s = (struct es_select){.filter = f, .timeout_ms = timeout_ms, .size = SIZE_FIRST};
}

static void batch_release(struct es_select_batch *b) {
    es_buffer_release(&b->events);
    es_buffer_release(&b->bytes);
    es_buffer_release(&b->lines);
    es_buffer_release(&b->verdicts);
}

void es_select_release(struct es_select *s) {
    for (unsigned i = 0; i < ES_SELECT_BATCHES; i++)
        batch_release(&s->batch[i]);
    es_jq_close(s->jq);
    *s = (struct es_select){0};
}

int es_select_start(struct es_select *s, struct esdb_error *err) {
    struct es_jq_options o = {.timeout_ms = s->timeout_ms, .timeout_option = "--select-timeout"};
    return s->jq ? 0 : es_jq_open(s->filter->program, &o, &s->jq, err);
}

/* ---- filling ---- */

static struct esdb_text *texts(struct esdb_event *e, unsigned i) {
    struct esdb_text *const all[] = {
        &e->stream_id,         &e->event_type,           &e->event_id, &e->data, &e->metadata,
        &e->data_content_type, &e->metadata_content_type};
    return i < sizeof all / sizeof *all ? all[i] : NULL;
}

static int add(struct es_select_batch *b, const struct esdb_event *e, bool ask) {
    struct waiting w = {.event = *e, .at = b->bytes.len, .asked = ask};
    int rc = 0;
    struct esdb_text *t;
    for (unsigned i = 0; rc == 0 && (t = texts(&w.event, i)); i++)
        if (t->at)
            rc = es_buffer_add(&b->bytes, t->at, t->len);
    if (rc == 0 && ask) {
        rc = es_event_json(e, &b->lines);
        b->asked++;
    }
    return rc == 0 ? es_buffer_add(&b->events, &w, sizeof w) : rc;
}

static struct es_select_batch *new_batch(struct es_select *s) {
    struct es_select_batch *b = &s->batch[(s->first + s->count++) % ES_SELECT_BATCHES];
    b->events.len = b->bytes.len = b->lines.len = b->verdicts.len = 0;
    b->asked = 0;
    b->given = 0;
    b->sent = b->answered = false;
    b->rc = 0;
    b->err = (struct esdb_error){0};
    return b;
}

/* Takes candidates from the source until the batch is full, or the source has something to say. */
static int fill(struct es_select *s, const struct esdb_event *first, es_select_source source, void *context,
                struct esdb_error *err) {
    struct es_select_batch *b = new_batch(s);
    int rc = first ? add(b, first, true) : 0;
    while (rc == 0 && b->rc == 0 && b->asked < s->size && b->lines.len < ES_JQ_BATCH_SIZE && b->bytes.len < BYTES_MAX) {
        struct esdb_event e;
        enum es_verdict verdict;
        b->rc = source(context, &e, &verdict, &b->err);
        if (b->rc == 0)
            rc = add(b, &e, verdict == ES_VERDICT_ASK);
    }
    if (rc < 0)
        return es_fail(err, rc, "--select");
    if (s->size < SIZE_MAX_EVENTS)
        s->size *= 2;
    b->answered = b->asked == 0;
    if (b->answered)
        return 0;
    s->asked += b->asked;
    rc = es_select_start(s, err);
    if (rc == 0)
        rc = es_jq_send(s->jq, &b->lines, b->asked, err);
    b->sent = rc == 0;
    return rc;
}

/* ---- emptying ---- */

static struct es_select_batch *first_batch(struct es_select *s) {
    return &s->batch[s->first];
}

static void note_failures(struct es_select *s, const struct es_select_batch *b, const struct es_jq_results *r) {
    if (r->failed > 0 && s->failed == 0) {
        const struct waiting *w = (const struct waiting *)(const void *)b->events.at;
        for (uint32_t nth = 0;; w++)
            if (w->asked && nth++ == r->first_failed)
                break;
        s->failed_position = w->event.position;
        snprintf(s->failure, sizeof s->failure, "%.*s", (int)r->failure.len, r->failure.at);
    }
    s->failed += r->failed;
}

/* Waits for the answers to the oldest batch that has none. */
static int receive(struct es_select *s, struct esdb_error *err) {
    struct es_jq_results r;
    int rc = es_jq_receive(s->jq, &r, err);
    for (unsigned i = 0; rc == 0 && i < s->count; i++) {
        struct es_select_batch *b = &s->batch[(s->first + i) % ES_SELECT_BATCHES];
        if (b->answered)
            continue;
        b->answered = true;
        note_failures(s, b, &r);
        return es_buffer_add(&b->verdicts, r.verdict, r.count) < 0 ? es_fail(err, -ENOMEM, "--select") : 0;
    }
    return rc;
}

/* Gives the texts their places: the bytes do not move any more. */
static void place(const struct es_select_batch *b, const struct waiting *w, struct esdb_event *out) {
    const char *at = (const char *)b->bytes.at + w->at;
    struct esdb_text *t;
    *out = w->event;
    for (unsigned i = 0; (t = texts(out, i)); i++)
        if (t->at) {
            t->at = at;
            at += t->len;
        }
}

/* The next event of the answered batch that passes. False: there is none. */
static bool take(struct es_select *s, struct es_select_batch *b, struct esdb_event *out) {
    const struct waiting *w = (const struct waiting *)(const void *)b->events.at;
    size_t count = b->events.len / sizeof *w;
    while (b->given < count) {
        const struct waiting *next = &w[b->given++];
        bool passes = true;
        if (next->asked) {
            uint8_t verdict = b->verdicts.at[b->verdicts.len - b->asked--];
            passes = verdict != ES_JQ_FAILED && es_filter_decide(s->filter, verdict == ES_JQ_YES);
        }
        if (passes) {
            place(b, next, out);
            return true;
        }
    }
    return false;
}

int es_select_next(struct es_select *s, const struct esdb_event *e, es_select_source source, void *context,
                   struct esdb_event *out, struct esdb_error *err) {
    for (;;) {
        struct es_select_batch *last = s->count ? &s->batch[(s->first + s->count - 1) % ES_SELECT_BATCHES] : NULL;
        bool room = s->count < ES_SELECT_BATCHES && (!s->jq || es_jq_room(s->jq) > 0);
        int rc = 0;
        if (s->count > 0 && first_batch(s)->answered) {
            struct es_select_batch *b = first_batch(s);
            if (take(s, b, out))
                return 0;
            rc = b->rc;
            if (rc < 0 && err && err->code == 0)
                *err = b->err;
            s->first = (s->first + 1) % ES_SELECT_BATCHES;
            s->count--;
            if (rc != 0)
                return rc;
        } else if (room && (!last || last->rc == 0)) {
            rc = fill(s, e, source, context, err);
            e = NULL;
        } else {
            rc = receive(s, err);
        }
        if (rc < 0)
            return rc;
    }
}
