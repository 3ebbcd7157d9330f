/* predicate_node.h: a compiled predicate. */
#ifndef ES_PREDICATE_NODE_H
#define ES_PREDICATE_NODE_H

#include "predicate.h"
#include "predicate_value.h"

enum es_node_kind {
    ES_NODE_LITERAL,
    ES_NODE_DOT,
    ES_NODE_FIELD,  /* a field of the event: `.` is known to be the event */
    ES_NODE_MEMBER, /* child[value.text] */
    ES_NODE_INDEX,  /* child[value.integer] */
    ES_NODE_PIPE,   /* child | child->next */
    ES_NODE_AND,    /* children */
    ES_NODE_OR,
    ES_NODE_COMPARE, /* child, child->next */
    ES_NODE_ALTERNATIVE,
    ES_NODE_NOT, /* functions of `.` from here on */
    ES_NODE_LENGTH,
    ES_NODE_TYPE,
    ES_NODE_STARTSWITH, /* value.text */
    ES_NODE_ENDSWITH,
    ES_NODE_CONTAINS,
    ES_NODE_TEST,
    ES_NODE_HAS,
    ES_NODE_IN,     /* children: literals */
    ES_NODE_SELECT, /* child */
    ES_NODE_EMPTY,
};

/* Which orders make a comparison true: bits 1 << enum es_order. */
enum {
    ES_COMPARE_EQ = 1 << ES_EQUAL,
    ES_COMPARE_NE = 1 << ES_LESS | 1 << ES_GREATER,
    ES_COMPARE_LT = 1 << ES_LESS,
    ES_COMPARE_LE = 1 << ES_LESS | 1 << ES_EQUAL,
    ES_COMPARE_GT = 1 << ES_GREATER,
    ES_COMPARE_GE = 1 << ES_GREATER | 1 << ES_EQUAL,
};

/* When a node may fail, or give no output: bits. */
enum {
    ES_FAILS_BY_DATA = 1,     /* when data is neither an object, null nor absent */
    ES_FAILS_BY_METADATA = 2, /* the same */
    ES_FAILS = 4,             /* otherwise */
};

struct es_node {
    enum es_node_kind kind;
    unsigned char compare;      /* ES_COMPARE_... */
    unsigned char fails;        /* ES_FAILS_... */
    unsigned char fails_before; /* a child of AND, OR: the same of those before it */
    unsigned char cost;         /* 0: only fields of the event that need no walk */
    bool optional;              /* a path with `?`: no output where it would fail */
    bool early;                 /* a child of AND, OR: worth asking before those that stand before it */
    enum es_field field;        /* ES_NODE_FIELD */
    struct fmt_text searched;   /* ES_NODE_COMPARE: a string, when looking for it in data comes first */
    struct es_node *child, *next;
    struct es_value value;
};

struct es_match;

struct es_predicate {
    struct es_match *match; /* --match; NULL: --select */
    struct es_node *root;   /* --select */
    struct es_node *nodes;  /* all of them */
    size_t node_count, node_room;
    char *texts; /* of the literals */
    size_t text_len;
};

/* Parses an expression into an empty predicate. As es_predicate_compile; what was made is released by
 * es_predicate_close. */
int es_predicate_parse(struct esdb_text expr, struct es_predicate *p, struct esdb_error *err);

/* Finds out what each node costs and when it fails. 0, or ESDB_END: it may cost so much that jq, which has a time-out,
 * should decide. */
int es_predicate_plan(struct es_predicate *p);

/* match.c */
bool es_match_eval(const struct es_match *m, const struct esdb_event *e);
void es_match_close(struct es_match *m); /* NULL is fine */

#endif
