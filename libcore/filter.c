#include "filter.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "format/event_keys.h"
#include "predicate.h"

/* ---- texts ---- */

static void texts_release(struct es_texts *t) {
    for (size_t i = 0; i < t->count; i++)
        free((void *)t->at[i].at);
    free(t->at);
    *t = (struct es_texts){0};
}

static int copy_text(struct esdb_text from, struct esdb_text *out) {
    char *copy = malloc(from.len + 1);
    if (!copy)
        return -ENOMEM;
    if (from.len)
        memcpy(copy, from.at, from.len);
    out->at = copy;
    out->len = from.len;
    return 0;
}

static int texts_add(struct es_texts *t, struct esdb_text text) {
    struct esdb_text *grown = realloc(t->at, (t->count + 1) * sizeof *grown);
    if (!grown)
        return -ENOMEM;
    t->at = grown;
    int rc = copy_text(text, &grown[t->count]);
    if (rc == 0)
        t->count++;
    return rc;
}

static int texts_copy(struct es_texts *t, const struct esdb_text *from, size_t count) {
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = texts_add(t, from[i]);
    return rc;
}

static bool same(struct esdb_text a, struct esdb_text b) {
    return a.len == b.len && memcmp(a.at, b.at, a.len) == 0;
}

static struct fmt_text fmt(struct esdb_text t) {
    return (struct fmt_text){t.at, t.len};
}

/* ---- making ---- */

static int copy_types(struct es_filter *f, const struct esdb_query *q) {
    f->types = calloc(q->type_count + 1, sizeof *f->types);
    if (!f->types)
        return -ENOMEM;
    for (; f->type_count < q->type_count; f->type_count++)
        if (es_pattern_init(&f->types[f->type_count], q->types[f->type_count], false) < 0)
            return -ENOMEM;
    return 0;
}

static int compile_select(struct es_filter *f, struct esdb_text program, struct esdb_error *err) {
    int rc = copy_text(program, &f->program);
    if (rc == 0)
        rc = es_predicate_compile(f->program, &f->select, err);
    f->asks_always = rc == ESDB_END;
    if (f->asks_always)
        rc = es_predicate_compile_guard(f->program, &f->select, &f->guard_decides_yes);
    return rc == ESDB_END ? 0 : rc;
}

int es_filter_init(struct es_filter *f, const struct esdb_query *q, struct esdb_error *err) {
    *f = (struct es_filter){.all_tags = q->flags & ESDB_ALL_TAGS, .invert = q->flags & ESDB_INVERT};
    int rc = copy_types(f, q);
    if (rc == 0)
        rc = texts_copy(&f->ids, q->ids, q->id_count);
    if (rc == 0)
        rc = texts_copy(&f->tags, q->tags, q->tag_count);
    for (size_t i = 0; rc == 0 && i < q->where_count; i++) {
        rc = texts_add(&f->where_keys, q->where[i].key);
        if (rc == 0)
            rc = texts_add(&f->where_values, q->where[i].value);
    }
    if (rc == 0 && q->match.at)
        rc = es_match_compile(q->match, &f->match, err);
    if (rc == 0 && q->select.at)
        rc = compile_select(f, q->select, err);
    f->any = f->type_count || f->ids.count || f->tags.count || f->where_keys.count || f->match || q->select.at;
    if (rc < 0) {
        es_filter_release(f);
        return es_fail(err, rc, "filters");
    }
    return 0;
}

void es_filter_release(struct es_filter *f) {
    for (size_t i = 0; i < f->type_count; i++)
        es_pattern_release(&f->types[i]);
    free(f->types);
    texts_release(&f->ids);
    texts_release(&f->tags);
    texts_release(&f->where_keys);
    texts_release(&f->where_values);
    es_predicate_close(f->match);
    es_predicate_close(f->select);
    free((void *)f->program.at);
    *f = (struct es_filter){0};
}

/* ---- judging ---- */

static bool type_passes(const struct es_filter *f, struct esdb_text type) {
    for (size_t i = 0; i < f->type_count; i++)
        if (es_pattern_matches(&f->types[i], type))
            return true;
    return f->type_count == 0;
}

static bool id_passes(const struct es_filter *f, struct esdb_text id) {
    for (size_t i = 0; i < f->ids.count; i++)
        if (same(f->ids.at[i], id))
            return true;
    return f->ids.count == 0;
}

/* A string that stands for the text, or a number, true, false or null written so. */
static bool value_is(struct fmt_text value, struct esdb_text text) {
    if (value.len == 0 || *value.at == '{' || *value.at == '[')
        return false;
    if (*value.at == '"')
        return fmt_json_string_equal(value, fmt(text));
    return same((struct esdb_text){value.at, value.len}, text);
}

static bool where_passes(const struct es_filter *f, struct esdb_text metadata) {
    for (size_t i = 0; i < f->where_keys.count; i++) {
        struct fmt_text value;
        if (!metadata.at || !fmt_json_member(fmt(metadata), fmt(f->where_keys.at[i]), &value) ||
            !value_is(value, f->where_values.at[i]))
            return false;
    }
    return true;
}

static bool has_tag(struct fmt_text tags, struct esdb_text tag) {
    struct fmt_json_walk w;
    struct fmt_text value;
    fmt_json_walk_init(&w, tags);
    while (fmt_json_element(&w, &value))
        if (value_is(value, tag))
            return true;
    return false;
}

static bool tags_pass(const struct es_filter *f, struct esdb_text metadata) {
    struct fmt_text tags;
    if (f->tags.count == 0)
        return true;
    if (!metadata.at || !fmt_json_member(fmt(metadata), (struct fmt_text){"tags", 4}, &tags) || *tags.at != '[')
        return false;
    for (size_t i = 0; i < f->tags.count; i++)
        if (has_tag(tags, f->tags.at[i]) != f->all_tags)
            return !f->all_tags;
    return f->all_tags;
}

enum es_verdict es_filter_judge(const struct es_filter *f, const struct esdb_event *e) {
    if (!f->any)
        return f->invert ? ES_VERDICT_NO : ES_VERDICT_YES;
    bool passes = type_passes(f, e->event_type) && id_passes(f, e->event_id) && where_passes(f, e->metadata) &&
                  tags_pass(f, e->metadata) && (!f->match || es_predicate_eval(f->match, e) == ES_PREDICATE_YES);
    if (passes && f->asks_always && !f->select)
        return ES_VERDICT_ASK;
    if (passes && f->select) {
        int answer = es_predicate_eval(f->select, e);
        if (answer == ES_PREDICATE_ASK || (f->asks_always && answer != f->guard_decides_yes))
            return ES_VERDICT_ASK;
        passes = answer == ES_PREDICATE_YES;
    }
    return passes != f->invert ? ES_VERDICT_YES : ES_VERDICT_NO;
}

/* ---- keys ---- */

static int hash_texts(enum fmt_event_key kind, const struct esdb_text *at, size_t count, uint64_t **hashes) {
    uint64_t *h = malloc((count + 1) * sizeof *h);
    if (!h)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++)
        h[i] = fmt_event_key_hash(kind, fmt(at[i]));
    *hashes = h;
    return 0;
}

/* The member of the metadata that is indexed, when there is one; causes are rarer than what they share. */
static size_t indexed_member(const struct es_filter *f, enum fmt_event_key *kind) {
    static const enum fmt_event_key order[] = {FMT_EVENT_KEY_CAUSATION, FMT_EVENT_KEY_CORRELATION, FMT_EVENT_KEY_ACTOR};
    for (size_t k = 0; k < sizeof order / sizeof *order; k++)
        for (size_t i = 0; i < f->where_keys.count; i++)
            if (fmt_event_key_of_member(fmt(f->where_keys.at[i])) == order[k]) {
                *kind = order[k];
                return i;
            }
    return SIZE_MAX;
}

static int hash_types(const struct es_filter *f, uint64_t **hashes, size_t *count) {
    struct es_texts names = {0};
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < f->type_count; i++) {
        if (!f->types[i].literal)
            break;
        rc = texts_add(&names, (struct esdb_text){f->types[i].text, f->types[i].len});
    }
    if (rc == 0 && names.count == f->type_count)
        rc = hash_texts(FMT_EVENT_KEY_TYPE, names.at, names.count, hashes);
    if (rc == 0 && names.count == f->type_count)
        *count = names.count;
    texts_release(&names);
    return rc;
}

int es_filter_keys(const struct es_filter *f, uint64_t **hashes, size_t *count, const char **name) {
    static const char *const names[] = {[FMT_EVENT_KEY_CAUSATION] = "causation_id",
                                        [FMT_EVENT_KEY_CORRELATION] = "correlation_id",
                                        [FMT_EVENT_KEY_ACTOR] = "actor_id"};
    enum fmt_event_key kind;
    size_t member = indexed_member(f, &kind);
    *count = 0;
    if (f->invert)
        return 0;
    if (f->ids.count > 0) {
        *name = "event_id";
        *count = f->ids.count;
        return hash_texts(FMT_EVENT_KEY_ID, f->ids.at, f->ids.count, hashes);
    }
    if (member != SIZE_MAX) {
        *name = names[kind];
        *count = 1;
        return hash_texts(kind, &f->where_values.at[member], 1, hashes);
    }
    if (f->tags.count > 0) { /* of all tags, any one will do to find the events */
        *name = "tags";
        *count = f->all_tags ? 1 : f->tags.count;
        return hash_texts(FMT_EVENT_KEY_TAG, f->tags.at, *count, hashes);
    }
    *name = "event_type";
    return f->type_count > 0 ? hash_types(f, hashes, count) : 0;
}
