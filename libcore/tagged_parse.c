/* From JSON to tagged values: see tagged.h. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "esdb.h"
#include "format/checksum.h"
#include "format/json.h"
#include "format/json_path.h"
#include "tagged_internal.h"

/* ---- keys ---- */

/* One spelling for each key: escapes are decoded and made anew. A key with half a surrogate pair, which has no other
 * spelling in UTF-8, stays as it is. False: no memory. */
static bool one_spelling(struct fmt_text body, char **room, struct fmt_text *out) {
    struct fmt_text quoted = {body.at - 1, body.len + 2};
    char *text = malloc(7 * body.len + 1);
    *room = text;
    *out = body;
    if (!text)
        return false;
    if (fmt_json_has_lone_surrogate(quoted))
        return true;
    size_t len = fmt_json_decode(quoted, text, body.len);
    out->at = text + body.len;
    out->len = fmt_json_escape(text, len, text + body.len);
    return true;
}

static int grow_slots(struct es_keys *k) {
    uint32_t slots = k->slots ? k->slots * 2 : 64;
    uint32_t *slot = calloc(slots, sizeof *slot);
    const struct es_key *key = (const struct es_key *)(const void *)k->keys.at;
    if (!slot)
        return -ENOMEM;
    for (uint32_t i = 0; i < k->count; i++) {
        uint32_t s = (uint32_t)key[i].hash & (slots - 1);
        while (slot[s])
            s = (s + 1) & (slots - 1);
        slot[s] = i + 1;
    }
    free(k->slot);
    k->slot = slot;
    k->slots = slots;
    return 0;
}

static uint32_t number_of(struct es_keys *k, struct fmt_text body) {
    uint64_t hash = fmt_checksum(body.at, body.len);
    if (k->count >= k->slots / 2 && grow_slots(k) < 0)
        return ES_KEY_NONE;
    uint32_t s = (uint32_t)hash & (k->slots - 1);
    for (; k->slot[s]; s = (s + 1) & (k->slots - 1)) {
        const struct es_key *key = (const struct es_key *)(const void *)k->keys.at + (k->slot[s] - 1);
        if (key->hash == hash && key->len == body.len && memcmp(k->text.at + key->at, body.at, body.len) == 0)
            return k->slot[s] - 1;
    }
    struct es_key key = {hash, k->text.len, (uint32_t)body.len};
    if (es_buffer_reserve(&k->text, body.len + 1) < 0) /* memory also for a name without bytes */
        return ES_KEY_NONE;
    if (es_buffer_add(&k->text, body.at, body.len) < 0 || es_buffer_add(&k->keys, &key, sizeof key) < 0)
        return ES_KEY_NONE;
    k->slot[s] = k->count + 1;
    return k->count++;
}

uint32_t es_key_number(struct es_keys *k, struct fmt_text body) {
    char *room;
    struct fmt_text text;
    if (body.len == 0 || !memchr(body.at, '\\', body.len))
        return number_of(k, body);
    uint32_t key = one_spelling(body, &room, &text) ? number_of(k, text) : ES_KEY_NONE;
    free(room);
    return key;
}

struct fmt_text es_key_text(const struct es_keys *k, uint32_t key) {
    const struct es_key *e = (const struct es_key *)(const void *)k->keys.at + key;
    return (struct fmt_text){(const char *)k->text.at + e->at, e->len};
}

void es_keys_release(struct es_keys *k) {
    es_buffer_release(&k->text);
    es_buffer_release(&k->keys);
    free(k->slot);
    *k = (struct es_keys){0};
}

/* ---- tags ---- */

static const struct fmt_text sum_tag = {"$sum", 4}, overwrite_tag = {"$overwrite", 10};

static bool names_tag(struct fmt_text key) {
    return key.len > 2 && (key.at[1] == '$' || key.at[1] == '\\') &&
           (fmt_json_string_equal(key, sum_tag) || fmt_json_string_equal(key, overwrite_tag));
}

/* What an object is: plain, or one of the tags, whose value is then in *value. */
enum kind { IS_PLAIN, IS_SUM, IS_OVERWRITE, IS_MIXED /* a tag with something beside it */ };

static enum kind kind_of(struct fmt_text object, struct fmt_text *value) {
    struct fmt_json_walk w;
    struct fmt_text key, tag_key = {NULL, 0}, v;
    size_t members = 0;
    fmt_json_walk_init(&w, object);
    while (fmt_json_next_member(&w, &key, &v)) {
        members++;
        if (names_tag(key)) {
            tag_key = key;
            *value = v;
        }
    }
    if (!tag_key.at)
        return IS_PLAIN;
    return members > 1 ? IS_MIXED : fmt_json_string_equal(tag_key, sum_tag) ? IS_SUM : IS_OVERWRITE;
}

/* Is there a tag anywhere inside? */
static bool holds_tag(struct fmt_text value) {
    static const struct fmt_text sign = {"\"$", 2};
    struct fmt_json_walk w;
    struct fmt_text key, v;
    if (value.len < 8 || (*value.at != '{' && *value.at != '[') || !fmt_text_find(value, sign))
        return false;
    fmt_json_walk_init(&w, value);
    if (*value.at == '[') {
        while (fmt_json_element(&w, &v))
            if (holds_tag(v))
                return true;
        return false;
    }
    while (fmt_json_next_member(&w, &key, &v))
        if (names_tag(key) || holds_tag(v))
            return true;
    return false;
}

/* ---- members ---- */

struct parser {
    struct es_keys *keys;
    bool deep;
    struct es_tagged_why *why;
};

static int refuse(struct parser *p, struct fmt_text key, const char *what) {
    struct fmt_text body = fmt_json_body(key);
    snprintf(p->why->text, sizeof p->why->text, "%.*s: %s", body.len > 60 ? 60 : (int)body.len, body.at, what);
    return ESDB_EINVALID;
}

static int parse_members(struct parser *p, struct fmt_text object, bool literal, struct es_tagged *out);

static int parse_object(struct parser *p, struct fmt_text object, bool whole, struct es_tagged_entry *e) {
    struct es_tagged *t = calloc(1, sizeof *t);
    if (!t)
        return -ENOMEM;
    t->borrowed = true;
    int rc = parse_members(p, object, whole, t);
    if (rc < 0) {
        es_tagged_release(t);
        free(t);
        return rc;
    }
    t->whole = whole;
    e->tag = ES_TAG_OBJECT;
    e->object = t;
    return 0;
}

static int parse_sum(struct parser *p, struct fmt_text key, struct fmt_text value, struct es_tagged_entry *e) {
    if (*value.at != '-' && (*value.at < '0' || *value.at > '9'))
        return refuse(p, key,
                      *value.at == '"'   ? "$sum of a string: it must be a number"
                      : *value.at == 'n' ? "$sum of null: it must be a number"
                      : *value.at == '{' ? "$sum of an object: it must be a number"
                      : *value.at == '[' ? "$sum of an array: it must be a number"
                                         : "$sum of true or false: it must be a number");
    e->tag = ES_TAG_SUM;
    e->is_decimal = true;
    if (!es_decimal_parse(value, &e->number)) {
        e->tag = ES_TAG_PLAIN;
        return refuse(p, key, "$sum of a number with more than 38 digits");
    }
    return 0;
}

/* literal: inside {"$overwrite": ...}. */
static int parse_value(struct parser *p, struct fmt_text key, struct fmt_text value, bool literal,
                       struct es_tagged_entry *e) {
    struct fmt_text tagged;
    enum kind kind = *value.at == '{' ? kind_of(value, &tagged) : IS_PLAIN;
    if (kind == IS_MIXED)
        return refuse(p, key, "a tag must be the only member of its object");
    if (literal && kind != IS_PLAIN)
        return refuse(p, key, "a tag inside $overwrite");
    if (kind == IS_SUM)
        return parse_sum(p, key, tagged, e);
    bool whole = kind == IS_OVERWRITE;
    if (whole)
        value = tagged;
    if (p->deep && *value.at == '{') {
        if (whole && kind_of(value, &tagged) != IS_PLAIN)
            return refuse(p, key, "a tag inside $overwrite");
        return parse_object(p, value, whole, e);
    }
    if (holds_tag(value))
        return refuse(p, key,
                      whole     ? "a tag inside $overwrite"
                      : p->deep ? "a tag inside an array"
                                : "a tag inside a value, which is replaced whole (--deep goes into objects)");
    e->tag = whole ? ES_TAG_OVERWRITE : ES_TAG_PLAIN;
    e->text = value;
    return 0;
}

static int parse_members(struct parser *p, struct fmt_text object, bool literal, struct es_tagged *out) {
    struct fmt_json_walk w;
    struct fmt_text key, value;
    fmt_json_walk_init(&w, object);
    while (fmt_json_next_member(&w, &key, &value)) {
        if (names_tag(key))
            return refuse(p, key, "a tag, where the name of a member must stand");
        uint32_t number = es_key_number(p->keys, fmt_json_body(key));
        if (number == ES_KEY_NONE)
            return -ENOMEM;
        uint32_t known = es_tagged_find(out, number);
        struct es_tagged_entry *e;
        if (known == ES_KEY_NONE) {
            e = es_tagged_new_entry(out, number);
        } else { /* of members with one name the last counts, as everywhere */
            e = &out->at[known];
            es_tagged_drop_value(e, true);
        }
        int rc = e ? parse_value(p, key, value, literal, e) : -ENOMEM;
        if (rc < 0)
            return rc;
    }
    return 0;
}

int es_tagged_parse(struct es_keys *k, struct fmt_text object, bool deep, struct es_tagged *patch,
                    struct es_tagged_why *why) {
    struct parser p = {k, deep, why};
    es_tagged_clear(patch);
    patch->borrowed = true;
    if (object.len == 0 || *object.at != '{') {
        snprintf(why->text, sizeof why->text, "the data is no object");
        return ESDB_EINVALID;
    }
    return parse_members(&p, object, false, patch);
}
