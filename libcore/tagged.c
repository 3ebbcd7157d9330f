#include "tagged.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "esdb.h"
#include "format/json_path.h"
#include "tagged_internal.h"

#define FEW 12u /* entries that are searched one by one */

/* ---- finding entries ---- */

static uint32_t mix(uint32_t key) {
    return key * 2654435769u;
}

uint32_t es_tagged_find(const struct es_tagged *t, uint32_t key) {
    if (!t->slot) {
        for (uint32_t i = 0; i < t->count; i++)
            if (t->at[i].key == key)
                return i;
        return ES_KEY_NONE;
    }
    for (uint32_t s = mix(key) & (t->slots - 1); t->slot[s]; s = (s + 1) & (t->slots - 1))
        if (t->at[t->slot[s] - 1].key == key)
            return t->slot[s] - 1;
    return ES_KEY_NONE;
}

static void enter(struct es_tagged *t, uint32_t i) {
    uint32_t s = mix(t->at[i].key) & (t->slots - 1);
    while (t->slot[s])
        s = (s + 1) & (t->slots - 1);
    t->slot[s] = i + 1;
}

static int index_entries(struct es_tagged *t) {
    uint32_t slots = t->slots ? t->slots * 2 : 64;
    uint32_t *slot = calloc(slots, sizeof *slot);
    if (!slot)
        return -ENOMEM;
    free(t->slot);
    t->slot = slot;
    t->slots = slots;
    for (uint32_t i = 0; i < t->count; i++)
        enter(t, i);
    return 0;
}

struct es_tagged_entry *es_tagged_new_entry(struct es_tagged *t, uint32_t key) {
    if (t->count == t->room) {
        uint32_t room = t->room ? t->room * 2 : 2;
        struct es_tagged_entry *at = realloc(t->at, room * sizeof *at);
        if (!at)
            return NULL;
        t->at = at;
        t->room = room;
    }
    t->at[t->count] = (struct es_tagged_entry){.key = key};
    t->count++;
    if (t->slot ? t->count > t->slots / 2 : t->count > FEW) {
        if (index_entries(t) < 0) {
            t->count--;
            return NULL;
        }
    } else if (t->slot) {
        enter(t, t->count - 1);
    }
    return &t->at[t->count - 1];
}

/* ---- letting go ---- */

void es_tagged_drop_value(struct es_tagged_entry *e, bool borrowed) {
    if (e->tag == ES_TAG_OBJECT) {
        es_tagged_release(e->object);
        free(e->object);
    } else if (!borrowed && e->room > 0) {
        free((void *)e->text.at);
    }
    e->tag = ES_TAG_PLAIN;
    e->is_decimal = false;
    e->room = 0;
    e->text = (struct fmt_text){NULL, 0};
}

void es_tagged_clear(struct es_tagged *t) {
    for (uint32_t i = 0; i < t->count; i++)
        es_tagged_drop_value(&t->at[i], t->borrowed);
    if (t->slot && t->count <= FEW) { /* after one large event, small ones must not clear its table again and again */
        free(t->slot);
        t->slot = NULL;
        t->slots = 0;
    } else if (t->slot) {
        memset(t->slot, 0, t->slots * sizeof *t->slot);
    }
    t->count = 0;
    t->whole = false;
}

void es_tagged_release(struct es_tagged *t) {
    es_tagged_clear(t);
    free(t->at);
    free(t->slot);
    *t = (struct es_tagged){0};
}

/* ---- one behind the other ---- */

static int refuse(const struct es_keys *k, uint32_t key, struct es_tagged_why *why, const char *what,
                  struct fmt_text value) {
    struct fmt_text name = es_key_text(k, key);
    int shown = value.len > 40 ? 40 : (int)value.len;
    snprintf(why->text, sizeof why->text, "%.*s: %s%.*s%s", name.len > 60 ? 60 : (int)name.len, name.at, what, shown,
             value.at ? value.at : "", value.len > 40 ? "..." : "");
    return ESDB_EINVALID;
}

/* The number that a sum is added to. */
static int earlier_number(const struct es_keys *k, const struct es_tagged_entry *a, struct es_decimal *out,
                          struct es_tagged_why *why) {
    if (a->tag == ES_TAG_OBJECT)
        return refuse(k, a->key, why, "$sum cannot be added to an object", (struct fmt_text){NULL, 0});
    *out = a->is_decimal ? a->number : (struct es_decimal){0, 0};
    if (a->is_decimal || (a->text.len == 4 && a->text.at[0] == 'n'))
        return 0;
    if (a->text.at[0] != '-' && (a->text.at[0] < '0' || a->text.at[0] > '9'))
        return refuse(k, a->key, why, "$sum cannot be added to ", a->text);
    if (!es_decimal_parse(a->text, out))
        return refuse(k, a->key, why, "$sum would have more than 38 digits, after ", a->text);
    return 0;
}

static int check_sum(const struct es_keys *k, const struct es_tagged_entry *a, struct es_tagged_entry *b,
                     struct es_tagged_why *why) {
    struct es_decimal sum;
    int rc = earlier_number(k, a, &sum, why);
    if (rc < 0)
        return rc;
    if (!es_decimal_add(&sum, &b->number))
        return refuse(k, a->key, why, "the sum has more than 38 digits", (struct fmt_text){NULL, 0});
    b->number = sum;
    b->tag = a->tag; /* a plain value stays one */
    return 0;
}

int es_tagged_check(const struct es_keys *k, const struct es_tagged *state, struct es_tagged *patch,
                    struct es_tagged_why *why) {
    for (uint32_t i = 0; i < patch->count; i++) {
        struct es_tagged_entry *b = &patch->at[i];
        int rc = 0;
        b->target = es_tagged_find(state, b->key);
        if (b->target == ES_KEY_NONE)
            continue;
        const struct es_tagged_entry *a = &state->at[b->target];
        if (b->tag == ES_TAG_SUM)
            rc = check_sum(k, a, b, why);
        else if (b->tag == ES_TAG_OBJECT && a->tag == ES_TAG_OBJECT && !b->object->whole)
            rc = es_tagged_check(k, a->object, b->object, why);
        else if (b->tag == ES_TAG_OBJECT)
            b->object->whole = true;
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int copy_object(struct es_tagged_entry *a, const struct es_tagged *from);

/* Gives an entry of a state the value of one of a patch. */
static int assign(struct es_tagged_entry *a, const struct es_tagged_entry *b) {
    if (b->tag == ES_TAG_OBJECT)
        return copy_object(a, b->object);
    if (b->is_decimal) {
        if (!a->is_decimal)
            es_tagged_drop_value(a, false);
        a->number = b->number;
    } else {
        if (a->tag == ES_TAG_OBJECT || a->is_decimal)
            es_tagged_drop_value(a, false);
        if (b->text.len > a->room) {
            char *at = malloc(b->text.len);
            if (!at)
                return -ENOMEM;
            es_tagged_drop_value(a, false);
            a->text.at = at;
            a->room = (uint32_t)b->text.len;
        }
        memcpy((char *)(uintptr_t)a->text.at, b->text.at, b->text.len);
        a->text.len = b->text.len;
    }
    a->tag = b->tag;
    a->is_decimal = b->is_decimal;
    return 0;
}

static int copy_object(struct es_tagged_entry *a, const struct es_tagged *from) {
    struct es_tagged *copy = calloc(1, sizeof *copy);
    if (!copy)
        return -ENOMEM;
    copy->whole = from->whole;
    for (uint32_t i = 0; i < from->count; i++) {
        struct es_tagged_entry *e = es_tagged_new_entry(copy, from->at[i].key);
        if (!e || assign(e, &from->at[i]) < 0) {
            es_tagged_release(copy);
            free(copy);
            return -ENOMEM;
        }
    }
    es_tagged_drop_value(a, false);
    a->tag = ES_TAG_OBJECT;
    a->object = copy;
    return 0;
}

int es_tagged_apply(struct es_tagged *state, const struct es_tagged *patch) {
    for (uint32_t i = 0; i < patch->count; i++) {
        const struct es_tagged_entry *b = &patch->at[i];
        struct es_tagged_entry *a =
            b->target == ES_KEY_NONE ? es_tagged_new_entry(state, b->key) : &state->at[b->target];
        int rc = a ? 0 : -ENOMEM;
        if (rc == 0 && b->tag == ES_TAG_OBJECT && a->tag == ES_TAG_OBJECT && !b->object->whole)
            rc = es_tagged_apply(a->object, b->object);
        else if (rc == 0)
            rc = assign(a, b);
        if (rc < 0)
            return rc;
    }
    return 0;
}

int es_tagged_count(struct es_tagged *state, uint32_t key) {
    uint32_t i = es_tagged_find(state, key);
    struct es_tagged_entry *e = i == ES_KEY_NONE ? es_tagged_new_entry(state, key) : &state->at[i];
    if (!e)
        return -ENOMEM;
    if (e->tag != ES_TAG_SUM)
        *e = (struct es_tagged_entry){.key = key, .tag = ES_TAG_SUM, .is_decimal = true, .number = {0, 0}};
    e->number.coefficient++;
    return 0;
}

/* ---- printing ---- */

static int print_value(const struct es_keys *k, const struct es_tagged_entry *e, bool finalize, struct es_buffer *out) {
    char room[ES_DECIMAL_ROOM];
    if (e->tag == ES_TAG_OBJECT)
        return es_tagged_print(k, e->object, finalize || e->object->whole, out);
    if (e->is_decimal)
        return es_buffer_add(out, room, es_decimal_print(&e->number, room));
    return es_buffer_add(out, e->text.at, e->text.len);
}

static int print_entry(const struct es_keys *k, const struct es_tagged_entry *e, bool finalize, struct es_buffer *out) {
    struct fmt_text key = es_key_text(k, e->key);
    bool overwrites = e->tag == ES_TAG_OVERWRITE || (e->tag == ES_TAG_OBJECT && e->object->whole);
    const char *tag = finalize ? NULL : e->tag == ES_TAG_SUM ? "{\"$sum\":" : overwrites ? "{\"$overwrite\":" : NULL;
    int rc = es_buffer_add(out, "\"", 1);
    if (rc == 0)
        rc = es_buffer_add(out, key.at, key.len);
    if (rc == 0)
        rc = es_buffer_add(out, "\":", 2);
    if (rc == 0 && tag)
        rc = es_buffer_add(out, tag, strlen(tag));
    if (rc == 0)
        rc = print_value(k, e, finalize, out);
    if (rc == 0 && tag)
        rc = es_buffer_add(out, "}", 1);
    return rc;
}

int es_tagged_print(const struct es_keys *k, const struct es_tagged *state, bool finalize, struct es_buffer *out) {
    int rc = es_buffer_add(out, "{", 1);
    for (uint32_t i = 0; rc == 0 && i < state->count; i++) {
        if (i > 0)
            rc = es_buffer_add(out, ",", 1);
        if (rc == 0)
            rc = print_entry(k, &state->at[i], finalize, out);
    }
    return rc == 0 ? es_buffer_add(out, "}", 1) : rc;
}
