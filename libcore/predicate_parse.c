/* The common forms of jq expressions, by jq's own grammar: from loose to tight
 *
 *   pipe         = alternative ["|" pipe]
 *   alternative  = or ["//" alternative]
 *   or           = and {"or" and}
 *   and          = comparison {"and" comparison}
 *   comparison   = operand [("==" | "!=" | "<" | "<=" | ">" | ">=") operand]
 *   operand      = "-" number | term
 *   term         = ("." | .name | literal | "(" pipe ")" | function) {.name | . "name" | "[" literal "]"} ["?" after a path]
 *
 * Whatever else stands there, jq decides (ESDB_END). A syntax error is told only where jq has one for sure: all before it
 * was understood, and no token of that kind can stand there. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "format/utf8.h"
#include "predicate_parser.h"

#define EXPRESSION_MAX (64u << 10) /* a longer one is no common form */
#define LEVELS_MAX 64              /* of parentheses and pipes; bounds the stack */

/* A syntax error for sure. */
struct es_node *es_parser_fail(struct es_parser *s, const char *at, const char *what) {
    if (s->rc == 0)
        s->rc = es_lexer_fail(&s->lexer, at, what, s->err);
    return NULL;
}

/* Nothing that is known here. */
struct es_node *es_parser_leave_to_jq(struct es_parser *s) {
    if (s->rc == 0)
        s->rc = ESDB_END;
    return NULL;
}

void es_parser_next(struct es_parser *s) {
    es_lexer_next(&s->lexer, &s->token);
}

struct es_node *es_parser_new_node(struct es_parser *s, enum es_node_kind kind) {
    struct es_predicate *p = s->p;

    if (p->node_count == p->node_room)
        return es_parser_leave_to_jq(s); /* cannot be: each node has a character of its own */

    struct es_node *n = &p->nodes[p->node_count++];

    *n = (struct es_node){.kind = kind};
    return n;
}

/* ---- tokens that cannot stand where they stand ---- */

struct es_node *es_parser_operand_is_missing(struct es_parser *s) {
    switch (s->token.kind) {
    case ES_TOKEN_END:
    case ES_TOKEN_CLOSE:
    case ES_TOKEN_BRACKET_CLOSE:
    case ES_TOKEN_BRACE_CLOSE:
    case ES_TOKEN_PIPE:
    case ES_TOKEN_COMMA:
    case ES_TOKEN_ALTERNATIVE:
    case ES_TOKEN_EQ:
    case ES_TOKEN_NE:
    case ES_TOKEN_LT:
    case ES_TOKEN_LE:
    case ES_TOKEN_GT:
    case ES_TOKEN_GE:
    case ES_TOKEN_OPERATOR:
    case ES_TOKEN_SEMICOLON:
    case ES_TOKEN_COLON:
        return es_parser_fail(s, s->token.at, "a value is missing");
    case ES_TOKEN_OPEN_STRING:
        return es_parser_fail(s, s->token.at, "a string has no end");
    case ES_TOKEN_NO_CHARACTER:
        return es_parser_fail(s, s->token.at, "no such operator");
    default:
        return es_parser_leave_to_jq(s);
    }
}

bool es_parser_is_name(const struct es_parser *s, const char *name) {
    return s->token.kind == ES_TOKEN_NAME && s->token.text.len == strlen(name) &&
           memcmp(s->token.text.at, name, s->token.text.len) == 0;
}

static bool is_keyword(const struct es_parser *s) {
    static const char *const keywords[] = {"and",   "or",     "as",      "if",      "then",   "elif",
                                           "else",  "end",    "reduce",  "foreach", "try",    "catch",
                                           "label", "import", "include", "def",     "module", "__loc__"};

    for (size_t i = 0; i < sizeof keywords / sizeof *keywords; i++)
        if (es_parser_is_name(s, keywords[i]))
            return true;
    return false;
}

/* What follows a whole expression is none of its operators. `closer`: what should stand here. */
struct es_node *es_parser_operator_is_missing(struct es_parser *s, enum es_token_kind closer) {
    switch (s->token.kind) {
    case ES_TOKEN_END:
        return es_parser_fail(s, s->token.at, closer == ES_TOKEN_CLOSE ? "')' is missing" : "']' is missing");
    case ES_TOKEN_CLOSE:
    case ES_TOKEN_BRACKET_CLOSE:
    case ES_TOKEN_BRACE_CLOSE:
        return es_parser_fail(s, s->token.at, "nothing was opened that closes");
    case ES_TOKEN_NAME:
        if (is_keyword(s))
            return es_parser_leave_to_jq(s);
        /* fall through */
    case ES_TOKEN_NUMBER:
    case ES_TOKEN_STRING:
    case ES_TOKEN_OPEN:
    case ES_TOKEN_BRACE:
        return es_parser_fail(s, s->token.at, "an operator is missing");
    case ES_TOKEN_EQ:
    case ES_TOKEN_NE:
    case ES_TOKEN_LT:
    case ES_TOKEN_LE:
    case ES_TOKEN_GT:
    case ES_TOKEN_GE:
        return es_parser_fail(s, s->token.at, "comparisons cannot follow one another");
    case ES_TOKEN_OPEN_STRING:
        return es_parser_fail(s, s->token.at, "a string has no end");
    case ES_TOKEN_NO_CHARACTER:
        return es_parser_fail(s, s->token.at, "no such operator");
    default:
        return es_parser_leave_to_jq(s);
    }
}

/* ---- operators ---- */

static struct es_node *parse_operand(struct es_parser *s) {
    struct es_node *n;

    if (s->token.kind == ES_TOKEN_MINUS) {
        n = es_parse_scalar(s);
        /* A minus takes all steps that follow, and its operand must not be a string then: jq's business. */
        if (s->token.kind == ES_TOKEN_FIELD || s->token.kind == ES_TOKEN_DOT || s->token.kind == ES_TOKEN_BRACKET ||
            s->token.kind == ES_TOKEN_QUESTION)
            return es_parser_leave_to_jq(s);
    } else {
        n = es_parse_term(s);
    }
    if (s->rc == 0 &&
        (s->token.kind == ES_TOKEN_OPERATOR || s->token.kind == ES_TOKEN_MINUS || s->token.kind == ES_TOKEN_OTHER))
        return es_parser_leave_to_jq(s);
    return n;
}

static unsigned char comparison(enum es_token_kind kind) {
    switch (kind) {
    case ES_TOKEN_EQ:
        return ES_COMPARE_EQ;
    case ES_TOKEN_NE:
        return ES_COMPARE_NE;
    case ES_TOKEN_LT:
        return ES_COMPARE_LT;
    case ES_TOKEN_LE:
        return ES_COMPARE_LE;
    case ES_TOKEN_GT:
        return ES_COMPARE_GT;
    case ES_TOKEN_GE:
        return ES_COMPARE_GE;
    default:
        return 0;
    }
}

static struct es_node *pair(struct es_parser *s, enum es_node_kind kind, struct es_node *left, struct es_node *right) {
    struct es_node *n = s->rc == 0 ? es_parser_new_node(s, kind) : NULL;

    if (n) {
        n->child = left;
        left->next = right;
    }
    return n;
}

struct es_node *es_parse_comparison(struct es_parser *s) {
    struct es_node *left = parse_operand(s), *n;
    unsigned char compare = s->rc == 0 ? comparison(s->token.kind) : 0;

    if (compare == 0)
        return left;
    es_parser_next(s);
    n = pair(s, ES_NODE_COMPARE, left, parse_operand(s));
    if (n)
        n->compare = compare;
    return n;
}

/* One or more of `part`, with a word between them. */
static struct es_node *parse_chain(struct es_parser *s, enum es_node_kind kind, const char *word,
                                   struct es_node *(*part)(struct es_parser *s)) {
    struct es_node *first = part(s), *chain = NULL, **last;

    if (s->rc != 0 || !es_parser_is_name(s, word))
        return first;
    chain = es_parser_new_node(s, kind);
    if (!chain)
        return NULL;
    chain->child = first;
    last = &first->next;
    while (s->rc == 0 && es_parser_is_name(s, word)) {
        es_parser_next(s);
        *last = part(s);
        if (*last)
            last = &(*last)->next;
    }
    return s->rc == 0 ? chain : NULL;
}

struct es_node *es_parse_and(struct es_parser *s) {
    return parse_chain(s, ES_NODE_AND, "and", es_parse_comparison);
}

static struct es_node *parse_or(struct es_parser *s) {
    return parse_chain(s, ES_NODE_OR, "or", es_parse_and);
}

static struct es_node *parse_pipe_level(struct es_parser *s, bool alternatives_only) {
    struct es_node *left = NULL;

    if (++s->levels > LEVELS_MAX)
        return es_parser_leave_to_jq(s);
    left = parse_or(s);
    if (s->rc == 0 && s->token.kind == ES_TOKEN_ALTERNATIVE) {
        es_parser_next(s);
        left = pair(s, ES_NODE_ALTERNATIVE, left, parse_pipe_level(s, true));
    }
    if (s->rc == 0 && s->token.kind == ES_TOKEN_PIPE && !alternatives_only) {
        es_parser_next(s);
        left = pair(s, ES_NODE_PIPE, left, parse_pipe_level(s, false));
    }
    s->levels--;
    return s->rc == 0 ? left : NULL;
}

struct es_node *es_parse_pipe(struct es_parser *s) {
    return parse_pipe_level(s, false);
}

int es_predicate_init(struct es_predicate *p, struct esdb_text expr) {
    if (expr.len == 0 || expr.len > EXPRESSION_MAX || !fmt_utf8_valid(expr.at, expr.len, NULL))
        return ESDB_END;
    p->texts = malloc(2 * expr.len);
    p->node_room = expr.len + 1;
    p->nodes = calloc(p->node_room, sizeof *p->nodes);
    if (!p->texts || !p->nodes)
        return -ENOMEM;
    memcpy(p->texts, expr.at, expr.len);
    return 0;
}

int es_predicate_parse(struct esdb_text expr, struct es_predicate *p, struct esdb_error *err) {
    int rc = es_predicate_init(p, expr);

    if (rc != 0)
        return rc;

    struct es_parser s = {.lexer = {p->texts, p->texts, p->texts + expr.len, p->texts + expr.len}, .p = p, .err = err};

    es_parser_next(&s);
    if (s.token.kind == ES_TOKEN_END)
        return ESDB_END;
    p->root = es_parse_pipe(&s);
    if (s.rc == 0 && s.token.kind != ES_TOKEN_END)
        es_parser_operator_is_missing(&s, ES_TOKEN_END);
    return s.rc;
}
