/* What each node costs and when it fails.
 *
 * jq stops at the first operand of `and` that is false and never sees the failure of a later one, but does see that of an
 * earlier one. So a cheap operand may be asked first only when those before it cannot fail for the event at hand. Paths
 * like .data.name, the usual ones, fail only when data is neither an object nor null, which one look tells. */
#include "predicate_node.h"

/* What is known of `.` where a node stands. */
enum input { IS_EVENT, IS_STRING, IS_ANY };

#define WALKS_MAX 256 /* each may be a walk through 16 MiB of JSON, and nothing else bounds the time of an event */

struct planner {
    unsigned walks; /* nodes that look into data or metadata */
};

static void plan(struct planner *s, struct es_node *n, enum input input);

static void take_in(struct es_node *n, const struct es_node *part) {
    unsigned cost = (unsigned)n->cost + part->cost;

    n->fails |= part->fails;
    n->cost = cost < 255 ? (unsigned char)cost : 255;
}

/* Of which kind a planned node's value is. */
static enum input kind_of(const struct es_node *n, enum input input) {
    if (n->kind == ES_NODE_DOT)
        return input;
    if (n->kind == ES_NODE_TYPE || (n->kind == ES_NODE_LITERAL && n->value.kind == ES_STRING))
        return IS_STRING;
    if (n->kind == ES_NODE_FIELD &&
        (n->field == ES_FIELD_STREAM_ID || n->field == ES_FIELD_EVENT_TYPE || n->field == ES_FIELD_EVENT_ID))
        return IS_STRING;
    return IS_ANY;
}

/* A step into an object. The first one from the event is a field. */
static void plan_member(struct planner *s, struct es_node *n, enum input input) {
    struct es_node *of = n->child;

    plan(s, of, input);
    if (kind_of(of, input) == IS_EVENT && of->kind == ES_NODE_DOT) {
        enum es_field field = es_field_by_name(n->value.text);

        if (field == ES_FIELDS) { /* an event has no such field */
            n->kind = ES_NODE_LITERAL;
            n->value.kind = ES_NULL;
        } else {
            n->kind = ES_NODE_FIELD;
            n->field = field;
        }
        return;
    }
    take_in(n, of);
    n->cost += n->cost < 255;
    s->walks++;
    if (of->kind == ES_NODE_FIELD && of->field == ES_FIELD_DATA && !n->optional)
        n->fails |= ES_FAILS_BY_DATA;
    else if (of->kind == ES_NODE_FIELD && of->field == ES_FIELD_METADATA && !n->optional)
        n->fails |= ES_FAILS_BY_METADATA;
    else
        n->fails |= ES_FAILS;
}

static bool is_plain(struct fmt_text text) {
    for (size_t i = 0; i < text.len; i++)
        if ((unsigned char)text.at[i] < 0x20 || text.at[i] == '"' || text.at[i] == '\\')
            return false;
    return true;
}

/* Comparing .data.name with a string that needs no escape in JSON. */
static void plan_compare(struct es_node *n) {
    struct es_node *left = n->child, *right = left->next;

    if ((n->compare != ES_COMPARE_EQ && n->compare != ES_COMPARE_NE) || left->kind != ES_NODE_MEMBER ||
        left->child->kind != ES_NODE_FIELD || right->kind != ES_NODE_LITERAL || right->value.kind != ES_STRING)
        return;
    if (left->child->field != ES_FIELD_DATA && left->child->field != ES_FIELD_METADATA)
        return;
    if (is_plain(right->value.text))
        n->searched = right->value.text;
}

/* Operands of and, or. */
static void plan_chain(struct planner *s, struct es_node *n, enum input input) {
    unsigned char dearest = 0;
    int count = 0;

    for (struct es_node *part = n->child; part; part = part->next) {
        plan(s, part, input);
        part->fails_before = n->fails;
        part->early = part->cost < dearest && !(n->fails & ES_FAILS) && !(part->fails & ES_FAILS) && count < 64;
        if (part->cost > dearest)
            dearest = part->cost;
        n->value.small |= part->early; /* there is one */
        take_in(n, part);
        count++;
    }
}

static void plan(struct planner *s, struct es_node *n, enum input input) {
    switch (n->kind) {
    case ES_NODE_LITERAL:
    case ES_NODE_DOT:
    case ES_NODE_FIELD:
    case ES_NODE_NOT:
    case ES_NODE_TYPE:
        break;
    case ES_NODE_MEMBER:
        plan_member(s, n, input);
        break;
    case ES_NODE_INDEX:
        plan(s, n->child, input);
        take_in(n, n->child);
        n->cost += n->cost < 255;
        n->fails |= ES_FAILS;
        s->walks++;
        break;
    case ES_NODE_PIPE:
        plan(s, n->child, input);
        plan(s, n->child->next, kind_of(n->child, input));
        take_in(n, n->child);
        take_in(n, n->child->next);
        break;
    case ES_NODE_AND:
    case ES_NODE_OR:
        plan_chain(s, n, input);
        break;
    case ES_NODE_COMPARE:
    case ES_NODE_ALTERNATIVE:
        plan(s, n->child, input);
        plan(s, n->child->next, input);
        take_in(n, n->child);
        take_in(n, n->child->next);
        s->walks += n->kind == ES_NODE_COMPARE && n->child->next->kind != ES_NODE_LITERAL;
        if (n->kind == ES_NODE_COMPARE)
            plan_compare(n);
        break;
    case ES_NODE_SELECT:
        plan(s, n->child, input);
        take_in(n, n->child);
        n->fails |= ES_FAILS; /* may give no output */
        break;
    case ES_NODE_IN:
        for (struct es_node *part = n->child; part; part = part->next)
            plan(s, part, input);
        s->walks++;
        break;
    case ES_NODE_EMPTY:
        n->fails |= ES_FAILS;
        break;
    case ES_NODE_HAS:
        if (input != IS_EVENT)
            n->fails |= ES_FAILS;
        s->walks++;
        break;
    default: /* functions of strings */
        if (input != IS_STRING)
            n->fails |= ES_FAILS;
        s->walks++;
        break;
    }
}

int es_predicate_plan(struct es_predicate *p) {
    struct planner s = {0};

    plan(&s, p->root, IS_EVENT);
    return s.walks <= WALKS_MAX ? 0 : ESDB_END;
}
