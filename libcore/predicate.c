#include "predicate.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "predicate_node.h"

#define UNSURE 3 /* beside ES_PREDICATE_NO and _YES */
#define EMPTY 4

static int truth(const struct es_node *n, const struct es_value *input);
static void eval(const struct es_node *n, const struct es_value *input, struct es_value *out);

/* ---- paths ---- */

/* Why a step leads nowhere. */
static void fail_step(const struct es_node *n, struct es_value *out) {
    out->kind = n->optional ? ES_EMPTY : ES_UNSURE;
}

static void step_member(const struct es_node *n, struct es_value *v) {
    struct fmt_text found;

    if (v->kind == ES_OBJECT && v->event) {
        enum es_field field = es_field_by_name(n->value.text);
        const struct esdb_event *e = v->event;

        v->event = NULL;
        v->kind = ES_NULL;
        if (field != ES_FIELDS)
            es_value_of_field(e, field, v);
    } else if (v->kind == ES_OBJECT) {
        if (fmt_json_member(v->text, n->value.text, &found))
            es_value_of_json(found, v);
        else
            v->kind = ES_NULL;
    } else if (v->kind != ES_NULL && v->kind < ES_EMPTY) {
        fail_step(n, v);
    }
}

static void step_index(const struct es_node *n, struct es_value *v) {
    struct fmt_json_walk w;
    struct fmt_text found = {NULL, 0};
    int64_t i = n->value.integer;

    if (v->kind == ES_ARRAY) {
        if (i < 0)
            i += (int64_t)fmt_json_count(v->text);
        fmt_json_walk_init(&w, v->text);
        v->kind = ES_NULL;
        if (i < 0)
            return;
        do
            if (!fmt_json_element(&w, &found))
                return;
        while (i-- > 0);
        es_value_of_json(found, v);
    } else if (v->kind != ES_NULL && v->kind < ES_EMPTY) {
        fail_step(n, v);
    }
}

/* ---- functions of `.` ---- */

static int has_key(const struct es_node *n, const struct es_value *v) {
    struct fmt_text found;
    struct es_value ignored;
    enum es_field field;

    if (v->kind != ES_OBJECT)
        return UNSURE;
    if (!v->event)
        return fmt_json_member(v->text, n->value.text, &found);
    field = es_field_by_name(n->value.text);
    return field != ES_FIELDS && es_value_of_field(v->event, field, &ignored);
}

static int has_text(const struct es_node *n, const struct es_value *v) {
    char room[ES_TEXT_ROOM];
    struct fmt_text text, part = n->value.text;

    if (v->kind != ES_STRING || !es_value_text(v, room, &text))
        return UNSURE;
    switch (n->kind) {
    case ES_NODE_STARTSWITH:
        return text.len >= part.len && memcmp(text.at, part.at, part.len) == 0;
    case ES_NODE_ENDSWITH:
        return text.len >= part.len && memcmp(text.at + text.len - part.len, part.at, part.len) == 0;
    case ES_NODE_CONTAINS:
        if (text.len > 0 && memchr(text.at, '\0', text.len))
            return UNSURE; /* jq 1.6 takes it for the end */
        break;
    default:
        break;
    }
    return fmt_text_find(text, part) != NULL;
}

static int is_in(const struct es_node *n, const struct es_value *v) {
    for (const struct es_node *part = n->child; part; part = part->next) {
        enum es_order o = es_value_order(v, &part->value);

        if (o == ES_ORDER_UNSURE)
            return UNSURE;
        if (o == ES_EQUAL)
            return ES_PREDICATE_YES;
    }
    return ES_PREDICATE_NO;
}

static void set_integer(struct es_value *out, int64_t n) {
    out->kind = ES_NUMBER;
    out->small = true;
    out->integer = n;
    out->text = (struct fmt_text){NULL, 0};
}

static void set_type(struct es_value *out) {
    static const char *const names[] = {"null", "boolean", "boolean", "number", "string", "array", "object"};

    if (out->kind > ES_OBJECT)
        return;
    out->text = (struct fmt_text){names[out->kind], strlen(names[out->kind])};
    out->kind = ES_STRING;
    out->stored = false;
}

/* Members of an object; keys that occur twice count once. -1: too many to tell. */
static int64_t count_members(const struct es_value *v) {
    struct fmt_text seen[32], value;
    struct fmt_json_walk w;
    int64_t n = 0;

    if (v->event) {
        struct es_value ignored;

        for (int f = 0; f < ES_FIELDS; f++)
            n += es_value_of_field(v->event, (enum es_field)f, &ignored);
        return n;
    }
    fmt_json_walk_init(&w, v->text);
    while (n < 32 && fmt_json_next_member(&w, &seen[n], &value)) {
        bool is_new = true;

        for (int64_t i = 0; i < n && is_new; i++)
            is_new = fmt_json_string_order(seen[i], seen[n]) != 0;
        n += is_new;
    }
    return n < 32 ? n : -1;
}

static void set_length(struct es_value *v) {
    char room[ES_TEXT_ROOM];
    struct fmt_text text;
    int64_t n = 0;

    switch (v->kind) {
    case ES_NULL:
        break;
    case ES_NUMBER:
        if (v->small)
            set_integer(v, v->integer < 0 ? -v->integer : v->integer);
        else
            v->kind = ES_UNSURE; /* jq 1.6 makes a double of it */
        return;
    case ES_STRING:
        if (!es_value_text(v, room, &text)) {
            v->kind = ES_UNSURE;
            return;
        }
        for (size_t i = 0; i < text.len; i++)
            n += ((unsigned char)text.at[i] & 0xc0) != 0x80;
        break;
    case ES_ARRAY:
        n = (int64_t)fmt_json_count(v->text);
        break;
    case ES_OBJECT:
        n = count_members(v);
        if (n < 0) {
            v->kind = ES_UNSURE;
            return;
        }
        break;
    case ES_EMPTY:
        return;
    default:
        v->kind = ES_UNSURE;
        return;
    }
    set_integer(v, n);
}

/* ---- operators ---- */

/* Can none of the operands before one fail for this event? */
static inline bool cannot_fail(unsigned fails, const struct esdb_event *e) {
    if ((fails & ES_FAILS_BY_DATA) && e->data.at && !e->binary && *e->data.at != '{' && *e->data.at != 'n')
        return false;
    if ((fails & ES_FAILS_BY_METADATA) && e->metadata.at && *e->metadata.at != '{' && *e->metadata.at != 'n')
        return false;
    return !(fails & ES_FAILS);
}

/* `and`: the first operand that is not `go_on` decides; `or` is the same with the other truth. */
static int chain(const struct es_node *n, const struct es_value *input, int go_on) {
    uint64_t known = 0, bit = 1;

    if (n->value.small && input->event) {
        for (const struct es_node *part = n->child; part; part = part->next, bit <<= 1) {
            if (!part->early || !cannot_fail(part->fails_before, input->event))
                continue;

            int t = truth(part, input);

            if (t == !go_on)
                return t;
            if (t == go_on)
                known |= bit;
        }
        bit = 1;
    }
    for (const struct es_node *part = n->child; part; part = part->next, bit <<= 1) {
        int t = known & bit ? go_on : truth(part, input);

        if (t != go_on)
            return t;
    }
    return go_on;
}

/* `.data.name == "literal"`, of most events without walking: what has neither the literal nor an escape that may hide
 * it has no such member. `!=` is the same. */
static bool is_surely_not_equal(const struct es_node *n, const struct esdb_event *e) {
    struct esdb_text json = n->child->child->field == ES_FIELD_DATA ? e->data : e->metadata;

    if (!json.at || *json.at != '{' || (n->child->child->field == ES_FIELD_DATA && e->binary))
        return false;
    return !fmt_json_may_hold((struct fmt_text){json.at, json.len}, n->searched);
}

static int compare(const struct es_node *n, const struct es_value *input) {
    struct es_value a, b;
    const struct es_value *right = &n->child->next->value;
    enum es_order o;

    if (n->searched.len > 0 && is_surely_not_equal(n, input->event))
        return n->compare == ES_COMPARE_NE;
    eval(n->child, input, &a);
    if (n->child->next->kind != ES_NODE_LITERAL) {
        eval(n->child->next, input, &b);
        right = &b;
    }
    if (a.kind == ES_UNSURE || right->kind == ES_UNSURE)
        return UNSURE;
    if (a.kind == ES_EMPTY || right->kind == ES_EMPTY)
        return EMPTY;
    o = es_value_order(&a, right);
    return o == ES_ORDER_UNSURE ? UNSURE : (n->compare >> o) & 1;
}

static int truth_of(const struct es_value *v) {
    if (v->kind == ES_UNSURE)
        return UNSURE;
    if (v->kind == ES_EMPTY)
        return EMPTY;
    return v->kind > ES_FALSE;
}

static int pipe_truth(const struct es_node *n, const struct es_value *input) {
    struct es_value v;

    eval(n->child, input, &v);
    if (v.kind == ES_UNSURE)
        return UNSURE;
    return v.kind == ES_EMPTY ? EMPTY : truth(n->child->next, &v);
}

/* Is what n makes of `input` neither false nor null? */
static int truth(const struct es_node *n, const struct es_value *input) {
    struct es_value v;

    switch (n->kind) {
    case ES_NODE_AND:
        return chain(n, input, ES_PREDICATE_YES);
    case ES_NODE_OR:
        return chain(n, input, ES_PREDICATE_NO);
    case ES_NODE_COMPARE:
        return compare(n, input);
    case ES_NODE_NOT:
        return !truth_of(input);
    case ES_NODE_STARTSWITH:
    case ES_NODE_ENDSWITH:
    case ES_NODE_CONTAINS:
    case ES_NODE_TEST:
        return has_text(n, input);
    case ES_NODE_HAS:
        return has_key(n, input);
    case ES_NODE_IN:
        return is_in(n, input);
    case ES_NODE_PIPE:
        return pipe_truth(n, input);
    default:
        eval(n, input, &v);
        return truth_of(&v);
    }
}

/* What n makes of `input`, which is a value. */
static void eval(const struct es_node *n, const struct es_value *input, struct es_value *out) {
    static const enum es_kind of_truth[] = {
        [ES_PREDICATE_NO] = ES_FALSE, [ES_PREDICATE_YES] = ES_TRUE, [UNSURE] = ES_UNSURE, [EMPTY] = ES_EMPTY};
    int t;

    switch (n->kind) {
    case ES_NODE_LITERAL:
        *out = n->value;
        break;
    case ES_NODE_DOT:
        *out = *input;
        break;
    case ES_NODE_FIELD:
        es_value_of_field(input->event, n->field, out);
        break;
    case ES_NODE_MEMBER:
        eval(n->child, input, out);
        step_member(n, out);
        break;
    case ES_NODE_INDEX:
        eval(n->child, input, out);
        step_index(n, out);
        break;
    case ES_NODE_ALTERNATIVE:
        eval(n->child, input, out);
        if (out->kind < ES_TRUE || out->kind == ES_EMPTY)
            eval(n->child->next, input, out);
        break;
    case ES_NODE_LENGTH:
        *out = *input;
        set_length(out);
        break;
    case ES_NODE_TYPE:
        *out = *input;
        set_type(out);
        break;
    case ES_NODE_SELECT:
        t = truth(n->child, input);
        *out = *input;
        if (t != ES_PREDICATE_YES)
            out->kind = t == UNSURE ? ES_UNSURE : ES_EMPTY;
        break;
    case ES_NODE_EMPTY:
        out->kind = ES_EMPTY;
        break;
    case ES_NODE_PIPE: {
        struct es_value v;

        eval(n->child, input, &v);
        if (v.kind < ES_EMPTY)
            eval(n->child->next, &v, out);
        else
            *out = v;
        break;
    }
    default:
        out->kind = of_truth[truth(n, input)];
    }
}

/* ---- interface ---- */

int es_predicate_eval(const struct es_predicate *p, const struct esdb_event *e) {
    if (p->match)
        return es_match_eval(p->match, e) ? ES_PREDICATE_YES : ES_PREDICATE_NO;

    struct es_value event = {.kind = ES_OBJECT, .event = e};
    int t = truth(p->root, &event);

    return t == UNSURE ? ES_PREDICATE_ASK : t == ES_PREDICATE_YES;
}

int es_predicate_compile(struct esdb_text expr, struct es_predicate **out, struct esdb_error *err) {
    struct es_predicate *p = calloc(1, sizeof *p);
    int rc = p ? es_predicate_parse(expr, p, err) : -ENOMEM;

    if (rc == 0)
        rc = es_predicate_plan(p);
    if (rc == 0)
        *out = p;
    else
        es_predicate_close(p);
    return rc;
}

void es_predicate_close(struct es_predicate *p) {
    if (!p)
        return;
    es_match_close(p->match);
    free(p->nodes);
    free(p->texts);
    free(p);
}
