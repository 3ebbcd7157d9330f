#include "fold.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/checksum.h"
#include "format/json.h"
#include "predicate.h"

/* ---- opening ---- */

static int copy(struct esdb_text from, struct esdb_text *to) {
    if (!from.at)
        return 0;
    char *at = malloc(from.len + 1);
    if (!at)
        return -ENOMEM;
    memcpy(at, from.at, from.len);
    at[from.len] = '\0';
    to->at = at;
    to->len = from.len;
    return 0;
}

/* The state to begin with: checked, without white space, and of the right kind. */
static int take_init(esdb_fold *f, struct esdb_text init, struct esdb_error *err) {
    struct fmt_json_value value;
    struct fmt_json_error wrong;
    if (!init.at)
        return 0;
    if (f->kind != ESDB_FOLD_TAGGED && f->kind != ESDB_FOLD_REDUCE)
        return es_fail(err, ESDB_EUSAGE, "a state to begin with goes with tagged values and programs only");
    if (fmt_json_scan(init.at, init.len, &value, &wrong) != FMT_JSON_OK)
        return es_fail(err, ESDB_EUSAGE, "the state to begin with: byte %zu: %s", wrong.offset + 1, wrong.what);
    if (f->kind == ESDB_FOLD_TAGGED && value.kind != '{')
        return es_fail(err, ESDB_EUSAGE, "the state to begin with is no object");
    if (copy((struct esdb_text){value.at, value.len}, &f->init) < 0)
        return es_fail(err, -ENOMEM, "fold");
    f->init.len = fmt_json_strip(&value, (char *)(uintptr_t)f->init.at);
    struct es_fold_state probe = {0};
    struct es_tagged_why why;
    int rc = es_fold_begin_with(f, &probe, f->init, &why);
    if (f->kind == ESDB_FOLD_TAGGED)
        es_tagged_release(&probe.tagged);
    else
        es_buffer_release(&probe.json);
    return rc == 0 ? 0 : es_fail(err, rc == ESDB_EINVALID ? ESDB_EUSAGE : rc, "the state to begin with: %s", why.text);
}

static int open_kind(esdb_fold *f, struct esdb_error *err) {
    switch (f->kind) {
    case ESDB_FOLD_REDUCE:
        return es_fold_reduce_open(f, err);
    case ESDB_FOLD_SUM:
        return es_path_parse(f->program, &f->path, err);
    case ESDB_FOLD_COUNT:
        return es_fold_count_open(f, err);
    default:
        return 0;
    }
}

int esdb_fold_open(const struct esdb_fold_options *o, esdb_fold **out, struct esdb_error *err) {
    esdb_fold *f = calloc(1, sizeof *f);
    if (!f)
        return es_fail(err, -ENOMEM, "fold");
    f->kind = o->kind;
    f->flags = o->flags;
    f->timeout_ms = o->timeout_ms;
    f->timeout_option = o->timeout_option;
    int rc = copy(o->program, &f->program);
    if (rc < 0)
        es_fail(err, rc, "fold");
    if (rc == 0)
        rc = take_init(f, o->init, err);
    if (rc == 0)
        rc = open_kind(f, err);
    if (rc < 0) {
        esdb_fold_close(f);
        return rc;
    }
    *out = f;
    return 0;
}

static void release_state(const esdb_fold *f, struct es_fold_state *s) {
    if (f->kind == ESDB_FOLD_TAGGED)
        es_tagged_release(&s->tagged);
    else if (f->kind == ESDB_FOLD_REDUCE)
        es_buffer_release(&s->json);
    else if (f->kind == ESDB_FOLD_STATS && s->stats) {
        es_tagged_release(&s->stats->types);
        es_tagged_release(&s->stats->members);
        free(s->stats);
    }
}

void esdb_fold_close(esdb_fold *f) {
    if (!f)
        return;
    for (size_t i = 0; i < f->count; i++)
        release_state(f, &f->state[i]);
    free(f->state);
    free(f->slot);
    free(f->order);
    es_keys_release(&f->keys);
    es_tagged_release(&f->patch);
    es_predicate_close(f->predicate);
    es_jq_close(f->jq.jq);
    es_buffer_release(&f->jq.events);
    es_buffer_release(&f->jq.items);
    es_buffer_release(&f->jq.sent);
    es_buffer_release(&f->names);
    es_buffer_release(&f->text);
    free((void *)(uintptr_t)f->program.at);
    free((void *)(uintptr_t)f->init.at);
    free(f);
}

/* ---- states ---- */

struct esdb_text es_fold_name(const esdb_fold *f, const struct es_fold_state *s) {
    return (struct esdb_text){(const char *)f->names.at + s->name_at, s->name_len};
}

static int grow_slots(esdb_fold *f) {
    size_t slots = f->slots ? f->slots * 2 : 64;
    uint32_t *slot = calloc(slots, sizeof *slot);
    if (!slot)
        return -ENOMEM;
    for (size_t i = 0; i < f->count; i++) {
        size_t s = f->state[i].hash & (slots - 1);
        while (slot[s])
            s = (s + 1) & (slots - 1);
        slot[s] = (uint32_t)i + 1;
    }
    free(f->slot);
    f->slot = slot;
    f->slots = slots;
    return 0;
}

static int new_state(esdb_fold *f, struct esdb_text stream, uint64_t hash) {
    struct es_tagged_why why;
    if (f->count == f->room) {
        size_t room = f->room ? f->room * 2 : 4;
        struct es_fold_state *at = realloc(f->state, room * sizeof *at);
        if (!at)
            return -ENOMEM;
        f->state = at;
        f->room = room;
    }
    struct es_fold_state *s = &f->state[f->count];
    *s = (struct es_fold_state){
        .name_at = f->names.len, .name_len = (uint32_t)stream.len, .hash = hash, .version = -1, .snapshot_version = -1};
    if (es_buffer_add(&f->names, stream.at, stream.len) < 0)
        return -ENOMEM;
    if (f->kind == ESDB_FOLD_STATS && !(s->stats = calloc(1, sizeof *s->stats)))
        return -ENOMEM;
    f->count++;
    return f->init.at ? es_fold_begin_with(f, s, f->init, &why) : 0;
}

uint32_t es_fold_state_of(esdb_fold *f, struct esdb_text stream) {
    uint64_t hash = fmt_checksum(stream.at, stream.len);
    if (f->one && f->count > 0)
        return 0;
    if (f->count >= f->slots / 2 && grow_slots(f) < 0)
        return UINT32_MAX;
    size_t s = hash & (f->slots - 1);
    for (; f->slot[s]; s = (s + 1) & (f->slots - 1)) {
        const struct es_fold_state *at = &f->state[f->slot[s] - 1];
        if (at->hash == hash && at->name_len == stream.len &&
            memcmp(f->names.at + at->name_at, stream.at, stream.len) == 0)
            return f->slot[s] - 1;
    }
    if (f->count >= UINT32_MAX - 1 || new_state(f, stream, hash) < 0)
        return UINT32_MAX;
    f->slot[s] = (uint32_t)f->count;
    return (uint32_t)f->count - 1;
}

/* Puts a state or the data of an event behind what a state has. */
static int add_tagged(esdb_fold *f, struct es_fold_state *s, struct esdb_text json, struct es_tagged_why *why) {
    int rc = es_tagged_parse(&f->keys, (struct fmt_text){json.at, json.len}, f->flags & ESDB_FOLD_DEEP, &f->patch, why);
    if (rc == 0)
        rc = es_tagged_check(&f->keys, &s->tagged, &f->patch, why);
    return rc == 0 ? es_tagged_apply(&s->tagged, &f->patch) : rc;
}

int es_fold_begin_with(esdb_fold *f, struct es_fold_state *s, struct esdb_text json, struct es_tagged_why *why) {
    why->text[0] = '\0';
    if (f->kind == ESDB_FOLD_TAGGED)
        return add_tagged(f, s, json, why);
    struct fmt_text inexact = es_fold_inexact((struct fmt_text){json.at, json.len}, false);
    if (inexact.at) {
        snprintf(why->text, sizeof why->text, "jq would round the number %.*s",
                 inexact.len > 60 ? 60 : (int)inexact.len, inexact.at);
        return ESDB_EINVALID;
    }
    s->json.len = 0;
    return es_buffer_add(&s->json, json.at, json.len);
}

/* ---- events ---- */

int es_fold_invalid(esdb_fold *f, struct esdb_text stream, uint64_t version, uint64_t position, const char *what,
                    struct esdb_error *err) {
    char text[sizeof f->skipped.text];
    int len = stream.len > 120 ? 120 : (int)stream.len;
    snprintf(text, sizeof text, "%.*s%sversion %llu (position %llu): %s", len, stream.at ? stream.at : "",
             len > 0 ? ": " : "", (unsigned long long)version, (unsigned long long)position, what);
    if (!(f->flags & ESDB_FOLD_SKIP_INVALID))
        return es_fail(err, ESDB_EINVALID, "%s", text);
    if (f->skipped.count++ == 0)
        memcpy(f->skipped.text, text, sizeof text);
    return 0;
}

/* An event without data (or with null, which says as little) changes nothing. */
static int fold_tagged(esdb_fold *f, struct es_fold_state *s, const struct esdb_event *e, struct es_tagged_why *why) {
    if (!e->data.at)
        return 0;
    if (e->binary) {
        snprintf(why->text, sizeof why->text, "the data is binary");
        return ESDB_EINVALID;
    }
    return e->data.at[0] == 'n' ? 0 : add_tagged(f, s, e->data, why);
}

static int fold_sum(esdb_fold *f, struct es_fold_state *s, const struct esdb_event *e, struct es_tagged_why *why) {
    char room[ES_NUMBER_ROOM];
    struct es_value value;
    struct es_decimal d;
    if (!es_path_find(&f->path, e, &value) || value.kind == ES_NULL)
        return 0;
    if (value.kind != ES_NUMBER) {
        snprintf(why->text, sizeof why->text, "%.*s is no number", f->program.len > 100 ? 100 : (int)f->program.len,
                 f->program.at);
        return ESDB_EINVALID;
    }
    if (!es_decimal_parse(es_value_number_text(&value, room), &d) || !es_decimal_add(&s->sum, &d)) {
        snprintf(why->text, sizeof why->text, "the sum has more than 38 digits");
        return ESDB_EINVALID;
    }
    return 0;
}

static int count_members(esdb_fold *f, struct es_stats *t, struct fmt_text data) {
    struct fmt_json_walk w;
    struct fmt_text key, value;
    fmt_json_walk_init(&w, data);
    while (*data.at == '{' && fmt_json_next_member(&w, &key, &value)) {
        uint32_t number = es_key_number(&f->keys, fmt_json_body(key));
        if (number == ES_KEY_NONE || es_tagged_count(&t->members, number) < 0)
            return -ENOMEM;
    }
    return 0;
}

static int fold_stats(esdb_fold *f, struct es_fold_state *s, const struct esdb_event *e) {
    struct es_stats *t = s->stats;
    char type[6 * 255 + 1];
    if (e->event_type.len > 255) /* FMT_EVENT_TYPE_MAX: no reader gives one */
        return -EINVAL;
    uint32_t number =
        es_key_number(&f->keys, (struct fmt_text){type, fmt_json_escape(e->event_type.at, e->event_type.len, type)});
    if (number == ES_KEY_NONE || es_tagged_count(&t->types, number) < 0)
        return -ENOMEM;
    if (s->events == 0 || e->position < t->first_position) {
        t->first_position = e->position;
        t->first_epoch_us = e->epoch_us;
    }
    if (s->events == 0 || e->position > t->last_position) {
        t->last_position = e->position;
        t->last_epoch_us = e->epoch_us;
    }
    t->with_data += e->data.at != NULL;
    t->binary += e->binary;
    t->data_size += e->data.len;
    return e->data.at && !e->binary ? count_members(f, t, (struct fmt_text){e->data.at, e->data.len}) : 0;
}

int es_fold_event(esdb_fold *f, uint32_t state, const struct esdb_event *e, struct esdb_error *err) {
    struct es_fold_state *s = &f->state[state];
    struct es_tagged_why why;
    int rc = 0;
    switch (f->kind) {
    case ESDB_FOLD_TAGGED:
        rc = fold_tagged(f, s, e, &why);
        break;
    case ESDB_FOLD_SUM:
        rc = fold_sum(f, s, e, &why);
        break;
    case ESDB_FOLD_STATS:
        rc = fold_stats(f, s, e);
        break;
    case ESDB_FOLD_REDUCE:
        rc = es_fold_reduce_put(f, state, e, err);
        break;
    case ESDB_FOLD_COUNT:
        rc = es_fold_count_put(f, state, e, err);
        break;
    }
    bool waits = f->kind == ESDB_FOLD_REDUCE || f->kind == ESDB_FOLD_COUNT;
    if (rc == ESDB_EINVALID && !waits)
        rc = es_fold_invalid(f, e->stream_id, e->version, e->position, why.text, err);
    else if (rc < 0 && !waits)
        es_fail(err, rc, "fold");
    if ((int64_t)e->version > s->version)
        s->version = (int64_t)e->version;
    s->events++;
    return rc;
}

int es_fold_finish(esdb_fold *f, struct esdb_error *err) {
    return f->kind == ESDB_FOLD_REDUCE  ? es_fold_reduce_flush(f, err)
           : f->kind == ESDB_FOLD_COUNT ? es_fold_count_flush(f, err)
                                        : 0;
}

int esdb_fold_add(esdb_fold *f, struct esdb_text state, struct esdb_error *err) {
    struct es_tagged_why why = {""};
    struct fmt_json_value value;
    struct fmt_json_error wrong;
    if (f->kind != ESDB_FOLD_TAGGED || f->flags & ESDB_FOLD_PER_STREAM)
        return es_fail(err, ESDB_EUSAGE, "only one tagged state can be put together");
    if (fmt_json_scan(state.at, state.len, &value, &wrong) != FMT_JSON_OK)
        return es_fail(err, ESDB_EINVALID, "byte %zu: %s", wrong.offset + 1, wrong.what);
    char *stripped = malloc(value.len + 1);
    f->one = true;
    uint32_t s = stripped ? es_fold_state_of(f, (struct esdb_text){"", 0}) : UINT32_MAX;
    int rc = s == UINT32_MAX ? -ENOMEM : 0;
    if (rc == 0) {
        struct esdb_text text = {stripped, fmt_json_strip(&value, stripped)};
        rc = add_tagged(f, &f->state[s], text, &why);
    }
    free(stripped);
    if (rc == ESDB_EINVALID)
        return es_fail(err, rc, "%s", value.kind == '{' ? why.text : "the state is no object");
    return rc < 0 ? es_fail(err, rc, "fold") : 0;
}

void esdb_fold_get_skipped(const esdb_fold *f, struct esdb_fold_skipped *out) {
    *out = f->skipped;
}

/* ---- results ---- */

static int print_stats(const esdb_fold *f, const struct es_fold_state *s, struct es_buffer *out) {
    const struct es_stats *t = s->stats;
    char text[512];
    int len = snprintf(text, sizeof text, "{\"events\":%llu,\"with_data\":%llu,\"binary\":%llu,\"data_size\":%llu",
                       (unsigned long long)s->events, (unsigned long long)t->with_data, (unsigned long long)t->binary,
                       (unsigned long long)t->data_size);
    if (s->events > 0)
        len +=
            snprintf(text + len, sizeof text - (size_t)len,
                     ",\"first_position\":%llu,\"last_position\":%llu,\"first_epoch_us\":%llu,\"last_epoch_us\":%llu",
                     (unsigned long long)t->first_position, (unsigned long long)t->last_position,
                     (unsigned long long)t->first_epoch_us, (unsigned long long)t->last_epoch_us);
    len += snprintf(text + len, sizeof text - (size_t)len, ",\"unique_types\":%u,\"types\":", t->types.count);
    int rc = es_buffer_add(out, text, (size_t)len);
    if (rc == 0)
        rc = es_tagged_print(&f->keys, &t->types, true, out);
    len = snprintf(text, sizeof text, ",\"unique_fields\":%u,\"fields\":", t->members.count);
    if (rc == 0)
        rc = es_buffer_add(out, text, (size_t)len);
    if (rc == 0)
        rc = es_tagged_print(&f->keys, &t->members, true, out);
    return rc == 0 ? es_buffer_add(out, "}", 1) : rc;
}

int es_fold_print(const esdb_fold *f, const struct es_fold_state *s, bool keep_tags, struct es_buffer *out) {
    char text[ES_DECIMAL_ROOM];
    switch (f->kind) {
    case ESDB_FOLD_TAGGED:
        return es_tagged_print(&f->keys, &s->tagged, !keep_tags, out);
    case ESDB_FOLD_REDUCE:
        return s->json.len > 0 ? es_buffer_add(out, s->json.at, s->json.len) : es_buffer_add(out, "null", 4);
    case ESDB_FOLD_SUM:
        return es_buffer_add(out, text, es_decimal_print(&s->sum, text));
    case ESDB_FOLD_COUNT:
        return es_buffer_add(out, text, (size_t)snprintf(text, sizeof text, "%llu", (unsigned long long)s->count));
    case ESDB_FOLD_STATS:
        return print_stats(f, s, out);
    }
    return -EINVAL;
}

static int by_name(const void *a, const void *b, void *context) {
    const esdb_fold *f = context;
    struct esdb_text x = es_fold_name(f, &f->state[*(const uint32_t *)a]);
    struct esdb_text y = es_fold_name(f, &f->state[*(const uint32_t *)b]);
    int order = memcmp(x.at, y.at, x.len < y.len ? x.len : y.len);
    return order ? order : (x.len > y.len) - (x.len < y.len);
}

static int sort(esdb_fold *f) {
    if (!(f->order = malloc((f->count + 1) * sizeof *f->order)))
        return -ENOMEM;
    for (size_t i = 0; i < f->count; i++)
        f->order[i] = (uint32_t)i;
    if (f->count > 1)
        qsort_r(f->order, f->count, sizeof *f->order, by_name, f);
    return 0;
}

int esdb_fold_next(esdb_fold *f, struct esdb_fold_result *out, struct esdb_error *err) {
    if (f->count == 0 && !(f->flags & ESDB_FOLD_PER_STREAM)) { /* of nothing, too, there is a state */
        f->one = true;
        if (es_fold_state_of(f, (struct esdb_text){"", 0}) == UINT32_MAX)
            return es_fail(err, -ENOMEM, "fold");
    }
    if (!f->order && sort(f) < 0)
        return es_fail(err, -ENOMEM, "fold");
    if (f->next == f->count)
        return ESDB_END;
    const struct es_fold_state *s = &f->state[f->order[f->next]];
    f->text.len = 0;
    if (es_fold_print(f, s, f->flags & ESDB_FOLD_KEEP_TAGS, &f->text) < 0)
        return es_fail(err, -ENOMEM, "fold");
    f->next++;
    *out = (struct esdb_fold_result){.stream_id = es_fold_name(f, s),
                                     .version = s->name_len > 0 ? s->version : -1,
                                     .snapshot_version = s->snapshot_version,
                                     .events = s->events,
                                     .state = {(const char *)f->text.at, f->text.len}};
    return 0;
}
