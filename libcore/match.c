/* --match: JSON that an event must contain. esdb-read(1) says what contains means; numbers are compared by their exact
 * decimal values, so that there is never anything to ask libjq. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "format/json.h"
#include "number.h"
#include "predicate_node.h"

enum match_kind {
    MATCH_OBJECT,    /* is an object; every child, by its key, holds */
    MATCH_ARRAY,     /* is an array; every child holds for one of its elements */
    MATCH_OPERATORS, /* every child holds */
    MATCH_EQ,
    MATCH_NE,
    MATCH_GT,
    MATCH_GTE,
    MATCH_LT,
    MATCH_LTE,
    MATCH_IN, /* one of the children, all MATCH_EQ, holds */
    MATCH_EXISTS,
    MATCH_NOT_EXISTS,
    MATCH_PREFIX,
};

struct node {
    enum match_kind kind;
    enum es_field field;     /* of the event, for its children */
    struct fmt_text key;     /* in an object, not escaped */
    struct es_value operand; /* a string is not escaped */
    struct node *child, *next;
};

struct es_match {
    struct node *root;
    struct node *nodes;
    size_t node_count;
    char *json; /* the pattern without white space */
    char *texts, *room;
};

/* ---- comparing ---- */

static bool json_equal(struct fmt_text a, struct fmt_text b);

/* The last member of `object` with this key, which is as it stands in JSON. */
static bool find_member(struct fmt_text object, struct fmt_text key, struct fmt_text *value) {
    struct fmt_json_walk w;
    struct fmt_text name, found;
    bool any = false;

    fmt_json_walk_init(&w, object);
    while (fmt_json_next_member(&w, &name, &found)) {
        if (fmt_json_string_order(name, key) == 0) {
            *value = found;
            any = true;
        }
    }
    return any;
}

static bool object_equal(struct fmt_text a, struct fmt_text b) {
    struct fmt_json_walk w;
    struct fmt_text key, value, x, y;

    fmt_json_walk_init(&w, b);
    while (fmt_json_next_member(&w, &key, &value))
        if (!find_member(a, key, &x))
            return false;
    fmt_json_walk_init(&w, a);
    while (fmt_json_next_member(&w, &key, &value))
        if (!find_member(b, key, &y) || !find_member(a, key, &x) || !json_equal(x, y))
            return false;
    return true;
}

static bool array_equal(struct fmt_text a, struct fmt_text b) {
    struct fmt_json_walk w, u;
    struct fmt_text x, y;

    fmt_json_walk_init(&w, a);
    fmt_json_walk_init(&u, b);
    for (;;) {
        bool has_x = fmt_json_element(&w, &x), has_y = fmt_json_element(&u, &y);

        if (!has_x || !has_y)
            return has_x == has_y;
        if (!json_equal(x, y))
            return false;
    }
}

static bool json_equal(struct fmt_text a, struct fmt_text b) {
    struct es_value v, u;

    es_value_of_json(a, &v);
    es_value_of_json(b, &u);
    if (v.kind != u.kind)
        return false;
    switch (v.kind) {
    case ES_NUMBER:
        return es_number_compare(a, b) == 0;
    case ES_STRING:
        return fmt_json_string_order(a, b) == 0;
    case ES_ARRAY:
        return array_equal(a, b);
    case ES_OBJECT:
        return object_equal(a, b);
    default:
        return v.kind != ES_UNSURE;
    }
}

/* The order of two numbers or two strings. */
static int scalar_order(const struct es_value *v, const struct es_value *operand) {
    if (v->kind == ES_NUMBER) {
        char room[ES_NUMBER_ROOM];

        if (v->small && operand->small)
            return (v->integer > operand->integer) - (v->integer < operand->integer);
        return es_number_compare(es_value_number_text(v, room), operand->text);
    }
    if (v->stored)
        return fmt_json_string_compare(v->text, operand->text);

    size_t n = v->text.len < operand->text.len ? v->text.len : operand->text.len;
    int order = n == 0 ? 0 : memcmp(v->text.at, operand->text.at, n);

    return order != 0 ? order : (v->text.len > operand->text.len) - (v->text.len < operand->text.len);
}

static bool value_equal(const struct es_value *v, const struct es_value *operand) {
    if (v->kind != operand->kind)
        return false;
    if (v->kind == ES_NUMBER || v->kind == ES_STRING)
        return scalar_order(v, operand) == 0;
    return v->kind < ES_NUMBER || json_equal(operand->text, v->text);
}

static bool in_order(const struct node *n, const struct es_value *v) {
    int order;

    if (v->kind != n->operand.kind)
        return false;
    order = scalar_order(v, &n->operand);
    switch (n->kind) {
    case MATCH_GT:
        return order > 0;
    case MATCH_GTE:
        return order >= 0;
    case MATCH_LT:
        return order < 0;
    default:
        return order <= 0;
    }
}

static bool has_prefix(const struct node *n, const struct es_value *v) {
    struct fmt_text prefix = n->operand.text;

    if (v->kind != ES_STRING)
        return false;
    if (v->stored)
        return fmt_json_string_has_prefix(v->text, prefix);
    return v->text.len >= prefix.len && memcmp(v->text.at, prefix.at, prefix.len) == 0;
}

/* ---- matching ---- */

static bool holds(const struct node *n, const struct es_value *v);

/* The same for a member or field that may be absent (NULL). */
static bool holds_for(const struct node *n, const struct es_value *v) {
    if (v)
        return holds(n, v);
    if (n->kind != MATCH_OPERATORS)
        return false;
    for (const struct node *op = n->child; op; op = op->next)
        if (op->kind != MATCH_NE && op->kind != MATCH_NOT_EXISTS)
            return false;
    return true;
}

static bool object_holds(const struct node *n, const struct es_value *v) {
    struct fmt_text found;
    struct es_value value;

    if (v->kind != ES_OBJECT)
        return false;
    for (const struct node *part = n->child; part; part = part->next) {
        bool is_there = fmt_json_member(v->text, part->key, &found);

        if (is_there)
            es_value_of_json(found, &value);
        if (!holds_for(part, is_there ? &value : NULL))
            return false;
    }
    return true;
}

static bool array_holds(const struct node *n, const struct es_value *v) {
    if (v->kind != ES_ARRAY)
        return false;
    for (const struct node *part = n->child; part; part = part->next) {
        struct fmt_json_walk w;
        struct fmt_text found;
        bool any = false;

        fmt_json_walk_init(&w, v->text);
        while (!any && fmt_json_element(&w, &found)) {
            struct es_value element;

            es_value_of_json(found, &element);
            any = holds(part, &element);
        }
        if (!any)
            return false;
    }
    return true;
}

static bool holds(const struct node *n, const struct es_value *v) {
    const struct node *part = n->child;

    switch (n->kind) {
    case MATCH_OBJECT:
        return object_holds(n, v);
    case MATCH_ARRAY:
        return array_holds(n, v);
    case MATCH_OPERATORS:
        while (part && holds(part, v))
            part = part->next;
        return part == NULL;
    case MATCH_IN:
        while (part && !value_equal(v, &part->operand))
            part = part->next;
        return part != NULL;
    case MATCH_EQ:
        return value_equal(v, &n->operand);
    case MATCH_NE:
        return !value_equal(v, &n->operand);
    case MATCH_EXISTS:
        return true;
    case MATCH_NOT_EXISTS:
        return false;
    case MATCH_PREFIX:
        return has_prefix(n, v);
    default:
        return in_order(n, v);
    }
}

bool es_match_eval(const struct es_match *m, const struct esdb_event *e) {
    for (const struct node *part = m->root->child; part; part = part->next) {
        struct es_value value = {0};
        bool is_there = es_value_of_field(e, part->field, &value);

        if (!holds_for(part, is_there ? &value : NULL))
            return false;
    }
    return true;
}

/* ---- compiling ---- */

struct compiler {
    struct es_match *m;
    struct esdb_error *err;
    struct fmt_text key; /* the innermost one, for messages */
};

#define QUOTED(text) (int)((text).len < 64 ? (text).len : 64), (text).at

static int compile(struct compiler *c, struct fmt_text json, struct node **out);

static struct node *new_node(struct compiler *c, enum match_kind kind) {
    struct node *n = &c->m->nodes[c->m->node_count++];

    *n = (struct node){.kind = kind};
    return n;
}

/* What a string stands for. Kept as long as the match. */
static struct fmt_text decode(struct compiler *c, struct fmt_text string) {
    struct fmt_text out = {c->m->room, fmt_json_decode(string, c->m->room, string.len)};

    c->m->room += out.len;
    return out;
}

static void set_operand(struct compiler *c, struct fmt_text json, struct node *n) {
    es_value_of_json(json, &n->operand);
    if (n->operand.kind == ES_STRING) {
        n->operand.text = decode(c, json);
        n->operand.stored = false;
    }
}

static const struct {
    const char *name;
    enum match_kind kind;
    const char *wants;
} operators[] = {
    {"$eq", MATCH_EQ, NULL},
    {"$ne", MATCH_NE, NULL},
    {"$gt", MATCH_GT, "a number or a string"},
    {"$gte", MATCH_GTE, "a number or a string"},
    {"$lt", MATCH_LT, "a number or a string"},
    {"$lte", MATCH_LTE, "a number or a string"},
    {"$in", MATCH_IN, "an array"},
    {"$exists", MATCH_EXISTS, "true or false"},
    {"$prefix", MATCH_PREFIX, "a string"},
};

static bool suits(const struct node *n) {
    enum es_kind kind = n->operand.kind;

    switch (n->kind) {
    case MATCH_EQ:
    case MATCH_NE:
        return true;
    case MATCH_IN:
        return kind == ES_ARRAY;
    case MATCH_EXISTS:
        return kind == ES_TRUE || kind == ES_FALSE;
    case MATCH_PREFIX:
        return kind == ES_STRING;
    default:
        return kind == ES_NUMBER || kind == ES_STRING;
    }
}

static int compile_operator(struct compiler *c, struct fmt_text key, struct fmt_text value, struct node **out) {
    struct fmt_text name = fmt_json_body(key), found;
    size_t i = 0, count = sizeof operators / sizeof *operators;
    struct fmt_json_walk w;

    while (i < count && (name.len != strlen(operators[i].name) || memcmp(name.at, operators[i].name, name.len) != 0))
        i++;
    if (i == count)
        return es_fail(
            c->err, ESDB_EUSAGE,
            "match: '%.*s' is no operator, in \"%.*s\": there are $eq, $ne, $gt, $gte, $lt, $lte, $in, $exists "
            "and $prefix",
            QUOTED(name), QUOTED(c->key));

    struct node *n = *out = new_node(c, operators[i].kind), **last = &n->child;

    set_operand(c, value, n);
    if (!suits(n))
        return es_fail(c->err, ESDB_EUSAGE, "match: %s in \"%.*s\" takes %s", operators[i].name, QUOTED(c->key),
                       operators[i].wants);
    if (n->kind == MATCH_EXISTS && n->operand.kind == ES_FALSE)
        n->kind = MATCH_NOT_EXISTS;
    if (n->kind != MATCH_IN)
        return 0;
    fmt_json_walk_init(&w, value);
    while (fmt_json_element(&w, &found)) {
        *last = new_node(c, MATCH_EQ);
        set_operand(c, found, *last);
        last = &(*last)->next;
    }
    return 0;
}

/* Has an object operators? Then it must have nothing else. */
static int has_operators(struct compiler *c, struct fmt_text object, bool *out) {
    struct fmt_json_walk w;
    struct fmt_text key, value;
    bool has_other = false;

    *out = false;
    fmt_json_walk_init(&w, object);
    while (fmt_json_next_member(&w, &key, &value)) {
        bool is_operator = key.len > 2 && key.at[1] == '$';

        *out |= is_operator;
        has_other |= !is_operator;
    }
    if (*out && has_other)
        return es_fail(c->err, ESDB_EUSAGE,
                       "match: \"%.*s\" has operators and other keys together ($eq takes an object "
                       "whose keys begin with $)",
                       QUOTED(c->key));
    return 0;
}

static int compile_object(struct compiler *c, struct fmt_text json, struct node **out) {
    struct fmt_json_walk w;
    struct fmt_text key, value, outer = c->key;
    bool is_operators;
    int rc = has_operators(c, json, &is_operators);

    if (rc < 0)
        return rc;

    struct node **last = &(*out = new_node(c, is_operators ? MATCH_OPERATORS : MATCH_OBJECT))->child;

    fmt_json_walk_init(&w, json);
    while (fmt_json_next_member(&w, &key, &value)) {
        if (is_operators) {
            rc = compile_operator(c, key, value, last);
        } else {
            c->key = decode(c, key);
            rc = compile(c, value, last);
        }
        if (rc < 0)
            return rc;
        (*last)->key = c->key;
        last = &(*last)->next;
        c->key = outer;
    }
    return 0;
}

static int compile_array(struct compiler *c, struct fmt_text json, struct node **out) {
    struct fmt_json_walk w;
    struct fmt_text value;
    struct node **last = &(*out = new_node(c, MATCH_ARRAY))->child;

    fmt_json_walk_init(&w, json);
    while (fmt_json_element(&w, &value)) {
        int rc = compile(c, value, last);

        if (rc < 0)
            return rc;
        last = &(*last)->next;
    }
    return 0;
}

static int compile(struct compiler *c, struct fmt_text json, struct node **out) {
    if (json.at[0] == '{')
        return compile_object(c, json, out);
    if (json.at[0] == '[')
        return compile_array(c, json, out);
    *out = new_node(c, MATCH_EQ);
    set_operand(c, json, *out);
    return 0;
}

/* Does a node ask only whether there is something? */
static bool asks_existence(const struct node *n) {
    if (n->kind != MATCH_OPERATORS)
        return false;
    for (const struct node *op = n->child; op; op = op->next)
        if (op->kind != MATCH_EXISTS && op->kind != MATCH_NOT_EXISTS)
            return false;
    return true;
}

/* The keys of the pattern itself are fields of the event. */
static int compile_fields(struct compiler *c) {
    struct node *root = c->m->root;

    if (root->kind != MATCH_OBJECT)
        return es_fail(
            c->err, ESDB_EUSAGE,
            "match: an object with fields of the event is wanted, such as {\"data\":{\"total\":{\"$gt\":100}}}");
    for (struct node *part = root->child; part; part = part->next) {
        part->field = es_field_by_name(part->key);
        if (part->field == ES_FIELDS)
            return es_fail(c->err, ESDB_EUSAGE, "match: events have no field '%.*s'", QUOTED(part->key));
        if (part->field == ES_FIELD_DATA_BASE64 && !asks_existence(part))
            return es_fail(c->err, ESDB_EUSAGE, "match: of data_base64 only $exists can be asked");
    }
    return 0;
}

static int make(struct compiler *c, struct esdb_text json) {
    struct fmt_json_value v;
    struct fmt_json_error why;
    struct es_match *m = c->m;
    size_t len, count = 2;

    if (fmt_json_scan(json.at, json.len, &v, &why) != FMT_JSON_OK)
        return es_fail(c->err, ESDB_EUSAGE, "match: %s, byte %zu of the JSON", why.what, why.offset + 1);
    m->json = malloc(v.len);
    m->texts = m->room = malloc(2 * v.len); /* a string may be decoded as a key and as an operand */
    if (!m->json || !m->texts)
        return -ENOMEM;
    len = fmt_json_strip(&v, m->json);
    for (size_t i = 0; i < len; i++) /* at most one node a value, and each is followed by one of these */
        count += m->json[i] == ',' || m->json[i] == '}' || m->json[i] == ']';
    m->nodes = calloc(count, sizeof *m->nodes);
    if (!m->nodes)
        return -ENOMEM;

    int rc = compile(c, (struct fmt_text){m->json, len}, &m->root);

    return rc < 0 ? rc : compile_fields(c);
}

int es_match_compile(struct esdb_text json, struct es_predicate **out, struct esdb_error *err) {
    struct es_predicate *p = calloc(1, sizeof *p);
    struct compiler c = {.m = p ? calloc(1, sizeof *c.m) : NULL, .err = err, .key = {"", 0}};
    int rc = c.m ? make(&c, json) : -ENOMEM;

    if (p)
        p->match = c.m;
    if (rc == 0)
        *out = p;
    else
        es_predicate_close(p);
    return rc;
}

void es_match_close(struct es_match *m) {
    if (!m)
        return;
    free(m->nodes);
    free(m->texts);
    free(m->json);
    free(m);
}
