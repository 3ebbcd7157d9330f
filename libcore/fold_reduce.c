/* States made by a jq program. Events wait in a window; then each state goes to the helper with its events, as one line
 * {"s":STATE,"e":[EVENT,...]}, and comes back. Nothing is kept in the helper. When a program fails on such a line, its events go
 * one by one, so that the one at fault is named. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "event_json.h"
#include "fold.h"
#include "number.h"

#define WINDOW_SIZE (1u << 20)
#define WINDOW_EVENTS 65536u
#define DIGITS_SURE 15u /* that a double surely keeps */

/* ---- numbers ---- */

/* Would a double be written as the same number? */
static bool survives(const char *at, size_t len) {
    char text[400], back[40];
    if (len >= sizeof text)
        return false;
    memcpy(text, at, len);
    text[len] = '\0';
    double d = strtod(text, NULL);
    for (int digits = 15; digits <= 17; digits++) {
        int n = snprintf(back, sizeof back, "%.*g", digits, d);
        char *plus = strchr(back, '+');
        if (plus) /* 1e+20 */
            memmove(plus, plus + 1, (size_t)(back + n - plus)), n--;
        if (back[n - 1] == 'f' || back[n - 1] == 'n')
            return false;
        if (es_number_compare((struct fmt_text){at, len}, (struct fmt_text){back, (size_t)n}) == 0)
            return true;
    }
    return false;
}

static bool is_beyond(const char *at, size_t len) {
    static const char limit[] = "9007199254740992", lowest[] = "-9007199254740992";
    struct fmt_text number = {at, len};
    return es_number_compare(number, (struct fmt_text){limit, sizeof limit - 1}) >= 0 ||
           es_number_compare(number, (struct fmt_text){lowest, sizeof lowest - 1}) <= 0;
}

static bool in_number(char c) {
    return (c >= '0' && c <= '9') || c == '-' || c == '+' || c == '.' || c == 'e' || c == 'E';
}

struct fmt_text es_fold_inexact(struct fmt_text json, bool beyond) {
    const char *p = json.at, *end = json.at + json.len;
    while (p < end) {
        if (*p == '"') {
            for (p++; p < end && *p != '"'; p++)
                p += *p == '\\';
            p++;
        } else if (*p == '-' || (*p >= '0' && *p <= '9')) {
            const char *from = p;
            bool exponent = false;
            for (; p < end && in_number(*p); p++)
                exponent |= *p == 'e' || *p == 'E';
            size_t len = (size_t)(p - from);
            if ((len > DIGITS_SURE || exponent) && (!survives(from, len) || (beyond && is_beyond(from, len))))
                return (struct fmt_text){from, len};
        } else {
            p++;
        }
    }
    return (struct fmt_text){NULL, 0};
}

/* ---- depth ---- */

/* What libjq 1.6 takes, in whose count an object is two levels, less the object around the state. It prints deeper values,
 * and damaged ones from another depth on. */
#define LEVELS_MAX 254u

static bool is_too_deep(struct fmt_text json) {
    unsigned levels = 0;
    for (const char *p = json.at, *end = json.at + json.len; p < end; p++) {
        if (*p == '"') {
            for (p++; p < end && *p != '"'; p++)
                p += *p == '\\';
        } else if (*p == '[' || *p == '{') {
            levels += *p == '{' ? 2 : 1;
            if (levels > LEVELS_MAX)
                return true;
        } else if (*p == ']' || *p == '}') {
            levels -= *p == '}' ? 2 : 1;
        }
    }
    return false;
}

/* ---- the program ---- */

static const char *const around[] = {
    "reduce .e[] as $event (.s; ",
    ". as $state | ",
    "[(\n",
    "\n)] | if length == 1 then .[0] else error(\"the program must give one state, not \\(length)\") end)",
};

static int wrap(const esdb_fold *f, struct es_buffer *out) {
    static const char state[] = "$state"; /* a second name for the state makes jq copy it: only where it is used */
    struct fmt_text program = {f->program.at, f->program.len};
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < sizeof around / sizeof *around; i++) {
        if (i == 1 && !fmt_text_find(program, (struct fmt_text){state, sizeof state - 1}))
            continue;
        if (i == 3)
            rc = es_buffer_add(out, program.at, program.len);
        if (rc == 0)
            rc = es_buffer_add(out, around[i], strlen(around[i]));
    }
    return rc;
}

/* Is what the user wrote a program by itself? So messages are about that, and nothing of it reaches outside the
 * parentheses. */
static int compile_alone(const esdb_fold *f, struct esdb_error *err) {
    static const char names[] = "{\"event\":null,\"state\":null}";
    struct es_jq_options o = {.timeout_ms = f->timeout_ms, .arguments = {names, sizeof names - 1}, .helpers = 1};
    struct es_jq *alone;
    int rc = es_jq_open(f->program, &o, &alone, err);
    if (rc == 0)
        es_jq_close(alone);
    return rc;
}

/* Does it close what it has not opened? Strings and comments are not looked into: too often yes does no harm. */
static bool may_reach_out(struct esdb_text program) {
    int64_t open = 0, lowest = 0;
    for (size_t i = 0; i < program.len; i++) {
        open += (program.at[i] == '(') - (program.at[i] == ')');
        lowest = open < lowest ? open : lowest;
    }
    return lowest < 0;
}

static bool is_blank(struct esdb_text program) {
    size_t i = 0;
    while (i < program.len && strchr(" \t\r\n", program.at[i]) && program.at[i])
        i++;
    return i == program.len;
}

int es_fold_reduce_open(esdb_fold *f, struct esdb_error *err) {
    struct es_jq_options o = {.transform = true, .timeout_ms = f->timeout_ms, .timeout_option = f->timeout_option};
    struct es_buffer program = {0};
    struct esdb_error why = {0};
    if (is_blank(f->program))
        return es_fail(err, ESDB_EUSAGE, "the program is empty");
    int rc = may_reach_out(f->program) ? compile_alone(f, err) : 0;
    if (rc < 0)
        return rc;
    rc = wrap(f, &program);
    if (rc < 0)
        return es_fail(err, rc, "fold");
    rc = es_jq_open((struct esdb_text){(const char *)program.at, program.len}, &o, &f->jq.jq, &why);
    es_buffer_release(&program);
    if (rc == ESDB_EUSAGE)
        compile_alone(f, err);
    if (rc < 0 && err && err->code == 0)
        *err = why;
    return rc;
}

/* ---- the window ---- */

static struct es_fold_item *items_of(const esdb_fold *f) {
    return (struct es_fold_item *)(void *)f->jq.items.at;
}

static struct esdb_text stream_of(const esdb_fold *f, const struct es_fold_item *item) {
    return es_fold_name(f, &f->state[item->state]);
}

int es_fold_reduce_put(esdb_fold *f, uint32_t state, const struct esdb_event *e, struct esdb_error *err) {
    struct es_fold_item item = {.state = state, .at = f->jq.events.len, .position = e->position, .version = e->version};
    struct fmt_text inexact = {NULL, 0};
    char what[200];
    if (e->data.at && !e->binary)
        inexact = es_fold_inexact((struct fmt_text){e->data.at, e->data.len}, false);
    if (!inexact.at && e->metadata.at)
        inexact = es_fold_inexact((struct fmt_text){e->metadata.at, e->metadata.len}, false);
    if (inexact.at) {
        snprintf(what, sizeof what, "jq would round the number %.*s", inexact.len > 60 ? 60 : (int)inexact.len,
                 inexact.at);
        return es_fold_invalid(f, e->stream_id, e->version, e->position, what, err);
    }
    if (es_event_json(e, &f->jq.events) < 0)
        return es_fail(err, -ENOMEM, "fold");
    f->jq.events.len--; /* the newline */
    item.len = (uint32_t)(f->jq.events.len - item.at);
    if (es_buffer_add(&f->jq.items, &item, sizeof item) < 0)
        return es_fail(err, -ENOMEM, "fold");
    return f->jq.events.len >= WINDOW_SIZE || f->jq.items.len >= WINDOW_EVENTS * sizeof item
               ? es_fold_reduce_flush(f, err)
               : 0;
}

/* Events of one state in the window, in order. */
struct group {
    size_t first, count;
    bool failed;
};

static int by_state(const void *a, const void *b) {
    const struct es_fold_item *x = a, *y = b;
    return x->state != y->state ? (x->state < y->state ? -1 : 1) : (x->at > y->at) - (x->at < y->at);
}

/* Adds the line for some events of a state. */
static int add_line(const esdb_fold *f, size_t first, size_t count, struct es_buffer *lines) {
    const struct es_fold_item *item = items_of(f) + first;
    int rc = es_buffer_add(lines, "{\"s\":", 5);
    if (rc == 0)
        rc = es_fold_print(f, &f->state[item->state], false, lines);
    if (rc == 0)
        rc = es_buffer_add(lines, ",\"e\":[", 6);
    for (size_t i = 0; rc == 0 && i < count; i++) {
        if (i > 0)
            rc = es_buffer_add(lines, ",", 1);
        if (rc == 0)
            rc = es_buffer_add(lines, f->jq.events.at + item[i].at, item[i].len);
    }
    return rc == 0 ? es_buffer_add(lines, "]}\n", 3) : rc;
}

/* The work on a window. */
struct work {
    esdb_fold *f;
    struct es_buffer lines;
    uint32_t in_lines; /* groups whose lines wait in it */
    struct group *group;
    size_t count, answered;
};

/* Takes a state that came back: the line at *at. Not when jq may have rounded in it, or could not take it back. */
struct refused {
    struct fmt_text inexact;
    bool deep;
};
static int take_state(esdb_fold *f, uint32_t state, const char **at, struct refused *why) {
    const char *newline = rawmemchr(*at, '\n');
    struct fmt_text text = {*at, (size_t)(newline - *at)};
    struct es_buffer *json = &f->state[state].json;
    *at = newline + 1;
    *why = (struct refused){.inexact = es_fold_inexact(text, true), .deep = is_too_deep(text)};
    if (why->inexact.at || why->deep)
        return 0;
    json->len = 0;
    return es_buffer_add(json, text.at, text.len);
}

static int receive(struct work *w, struct esdb_error *err) {
    struct es_jq_results r;
    int rc = es_jq_receive(w->f->jq.jq, &r, err);
    const char *at = rc == 0 ? r.output.at : NULL;
    for (uint32_t i = 0; rc == 0 && i < r.count; i++) {
        struct group *g = &w->group[w->answered++];
        struct refused why;
        g->failed = r.verdict[i] != ES_JQ_YES || r.output_count[i] != 1;
        if (g->failed)
            continue; /* the only output comes last: there is none */
        if (take_state(w->f, items_of(w->f)[g->first].state, &at, &why) < 0)
            return es_fail(err, -ENOMEM, "fold");
        g->failed = why.inexact.at || why.deep;
    }
    return rc;
}

static int send_lines(struct work *w, struct esdb_error *err) {
    int rc = 0;
    while (rc == 0 && es_jq_room(w->f->jq.jq) == 0)
        rc = receive(w, err);
    if (rc == 0 && w->in_lines > 0)
        rc = es_jq_send(w->f->jq.jq, &w->lines, w->in_lines, err);
    w->in_lines = 0;
    return rc;
}

/* One event of a group that failed as a whole. */
static int reduce_one(struct work *w, size_t i, struct esdb_error *err) {
    esdb_fold *f = w->f;
    const struct es_fold_item *item = &items_of(f)[i];
    struct es_jq_results r;
    struct refused why = {0};
    char what[400];
    w->lines.len = 0;
    if (add_line(f, i, 1, &w->lines) < 0)
        return es_fail(err, -ENOMEM, "fold");
    int rc = es_jq_send(f->jq.jq, &w->lines, 1, err);
    if (rc == 0)
        rc = es_jq_receive(f->jq.jq, &r, err);
    if (rc != 0)
        return rc;
    const char *at = r.output.at;
    if (r.verdict[0] != ES_JQ_YES)
        snprintf(what, sizeof what, "the program failed: %.*s", r.failure.len > 300 ? 300 : (int)r.failure.len,
                 r.failure.at);
    else if (take_state(f, item->state, &at, &why) < 0)
        return es_fail(err, -ENOMEM, "fold");
    else if (why.deep)
        snprintf(what, sizeof what, "the state would be nested deeper than %u arrays or %u objects", LEVELS_MAX,
                 LEVELS_MAX / 2);
    else if (why.inexact.at)
        snprintf(what, sizeof what, "the state would hold the number %.*s: from 2^53 on jq rounds",
                 why.inexact.len > 60 ? 60 : (int)why.inexact.len, why.inexact.at);
    else
        return 0;
    return es_fold_invalid(f, stream_of(f, item), item->version, item->position, what, err);
}

static int reduce_groups(struct work *w, struct esdb_error *err) {
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < w->count; i++) {
        if (add_line(w->f, w->group[i].first, w->group[i].count, &w->lines) < 0)
            return es_fail(err, -ENOMEM, "fold");
        w->in_lines++;
        if (w->lines.len >= ES_JQ_BATCH_SIZE)
            rc = send_lines(w, err);
    }
    if (rc == 0)
        rc = send_lines(w, err);
    while (rc == 0 && w->answered < w->count)
        rc = receive(w, err);
    for (size_t i = 0; rc == 0 && i < w->count; i++)
        for (size_t n = 0; rc == 0 && w->group[i].failed && n < w->group[i].count; n++)
            rc = reduce_one(w, w->group[i].first + n, err);
    return rc;
}

int es_fold_reduce_flush(esdb_fold *f, struct esdb_error *err) {
    struct work w = {.f = f};
    size_t count = f->jq.items.len / sizeof(struct es_fold_item);
    struct es_fold_item *item = items_of(f);
    if (count == 0)
        return 0;
    if (!(w.group = calloc(count, sizeof *w.group)))
        return es_fail(err, -ENOMEM, "fold");
    qsort(item, count, sizeof *item, by_state);
    for (size_t i = 0; i < count; i++) {
        if (i == 0 || item[i].state != item[i - 1].state)
            w.group[w.count++].first = i;
        w.group[w.count - 1].count++;
    }
    int rc = reduce_groups(&w, err);
    free(w.group);
    es_buffer_release(&w.lines);
    f->jq.items.len = f->jq.events.len = 0;
    return rc;
}
