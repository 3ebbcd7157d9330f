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
#include "number.h"
#include "predicate_lexer.h"
#include "predicate_node.h"

#define EXPRESSION_MAX (64u << 10) /* a longer one is no common form */
#define LEVELS_MAX 64              /* of parentheses and pipes; bounds the stack */
#define STEPS_MAX 256              /* of a path: no value is deeper; bounds the stack too */

struct parser {
    struct es_lexer lexer;
    struct es_token token; /* the next one */
    struct es_predicate *p;
    struct esdb_error *err;
    int rc; /* once not 0, nothing goes on */
    int levels;
};

/* A syntax error for sure. */
static struct es_node *fail_at(struct parser *s, const char *at, const char *what) {
    if (s->rc == 0)
        s->rc = es_lexer_fail(&s->lexer, at, what, s->err);
    return NULL;
}

/* Nothing that is known here. */
static struct es_node *leave_to_jq(struct parser *s) {
    if (s->rc == 0)
        s->rc = ESDB_END;
    return NULL;
}

static void next(struct parser *s) {
    es_lexer_next(&s->lexer, &s->token);
}

static struct es_node *new_node(struct parser *s, enum es_node_kind kind) {
    struct es_predicate *p = s->p;

    if (p->node_count == p->node_room)
        return leave_to_jq(s); /* cannot be: each node has a character of its own */

    struct es_node *n = &p->nodes[p->node_count++];

    *n = (struct es_node){.kind = kind};
    return n;
}

/* ---- tokens that cannot stand where they stand ---- */

static struct es_node *operand_is_missing(struct parser *s) {
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
        return fail_at(s, s->token.at, "a value is missing");
    case ES_TOKEN_OPEN_STRING:
        return fail_at(s, s->token.at, "a string has no end");
    case ES_TOKEN_NO_CHARACTER:
        return fail_at(s, s->token.at, "no such operator");
    default:
        return leave_to_jq(s);
    }
}

static bool is_name(const struct parser *s, const char *name) {
    return s->token.kind == ES_TOKEN_NAME && s->token.text.len == strlen(name) &&
           memcmp(s->token.text.at, name, s->token.text.len) == 0;
}

static bool is_keyword(const struct parser *s) {
    static const char *const keywords[] = {"and",   "or",     "as",      "if",      "then",   "elif",
                                           "else",  "end",    "reduce",  "foreach", "try",    "catch",
                                           "label", "import", "include", "def",     "module", "__loc__"};

    for (size_t i = 0; i < sizeof keywords / sizeof *keywords; i++)
        if (is_name(s, keywords[i]))
            return true;
    return false;
}

/* What follows a whole expression is none of its operators. `closer`: what should stand here. */
static struct es_node *operator_is_missing(struct parser *s, enum es_token_kind closer) {
    switch (s->token.kind) {
    case ES_TOKEN_END:
        return fail_at(s, s->token.at, closer == ES_TOKEN_CLOSE ? "')' is missing" : "']' is missing");
    case ES_TOKEN_CLOSE:
    case ES_TOKEN_BRACKET_CLOSE:
    case ES_TOKEN_BRACE_CLOSE:
        return fail_at(s, s->token.at, "nothing was opened that closes");
    case ES_TOKEN_NAME:
        if (is_keyword(s))
            return leave_to_jq(s);
        /* fall through */
    case ES_TOKEN_NUMBER:
    case ES_TOKEN_STRING:
    case ES_TOKEN_OPEN:
    case ES_TOKEN_BRACE:
        return fail_at(s, s->token.at, "an operator is missing");
    case ES_TOKEN_EQ:
    case ES_TOKEN_NE:
    case ES_TOKEN_LT:
    case ES_TOKEN_LE:
    case ES_TOKEN_GT:
    case ES_TOKEN_GE:
        return fail_at(s, s->token.at, "comparisons cannot follow one another");
    case ES_TOKEN_OPEN_STRING:
        return fail_at(s, s->token.at, "a string has no end");
    case ES_TOKEN_NO_CHARACTER:
        return fail_at(s, s->token.at, "no such operator");
    default:
        return leave_to_jq(s);
    }
}

/* ---- literals ---- */

static struct es_node *literal(struct parser *s, enum es_kind kind) {
    struct es_node *n = new_node(s, ES_NODE_LITERAL);

    if (n)
        n->value.kind = kind;
    return n;
}

/* The number at the next token; `negative`: a minus was before it. */
static struct es_node *number(struct parser *s, bool negative) {
    struct es_node *n = literal(s, ES_NUMBER);
    struct fmt_text text = s->token.text;

    if (!n)
        return NULL;
    n->value.small = es_number_small(text, &n->value.integer);
    if (negative) {
        /* The minus may be apart: what stands before the digits is overwritten, since it was read already. */
        char *at = s->p->texts + (text.at - s->lexer.start) - 1;

        *at = '-';
        text = (struct fmt_text){at, text.len + 1};
        n->value.integer = -n->value.integer;
    }
    n->value.text = text;
    next(s);
    return n;
}

static struct es_node *string(struct parser *s) {
    struct es_node *n = literal(s, ES_STRING);

    if (n)
        n->value.text = s->token.text;
    next(s);
    return n;
}

/* An empty array or object. The opening token was taken. */
static struct es_node *empty_container(struct parser *s, enum es_kind kind, enum es_token_kind closer) {
    struct es_node *n;

    if (s->token.kind != closer)
        return leave_to_jq(s);
    n = literal(s, kind);
    if (n)
        n->value.text = (struct fmt_text){kind == ES_ARRAY ? "[]" : "{}", 2};
    next(s);
    return n;
}

/* ---- functions ---- */

static struct es_node *parse_pipe(struct parser *s);

static bool expect_close(struct parser *s) {
    if (s->rc != 0)
        return false;
    if (s->token.kind != ES_TOKEN_CLOSE) {
        if (s->token.kind == ES_TOKEN_SEMICOLON || s->token.kind == ES_TOKEN_COLON)
            leave_to_jq(s); /* more arguments */
        else
            operator_is_missing(s, ES_TOKEN_CLOSE);
        return false;
    }
    next(s);
    return true;
}

/* Is every character of a regular expression itself? */
static bool is_plain_regex(struct fmt_text regex) {
    for (size_t i = 0; i < regex.len; i++) {
        unsigned char c = (unsigned char)regex.at[i];

        if (c < 0x20 || c == 0x7f || strchr("\\.*+?()[]{}^$|", c))
            return false;
    }
    return regex.len > 0;
}

static struct es_node *with_string(struct parser *s, enum es_node_kind kind) {
    struct es_node *n;
    struct fmt_text text = s->token.text;

    if (s->token.kind != ES_TOKEN_STRING)
        return leave_to_jq(s);
    next(s);
    if (s->token.kind != ES_TOKEN_CLOSE)
        return leave_to_jq(s);
    next(s);
    if (kind == ES_NODE_TEST && !is_plain_regex(text))
        return leave_to_jq(s);
    /* jq 1.6 takes a NUL for the end here. */
    if (kind == ES_NODE_CONTAINS && (text.len == 0 || memchr(text.at, '\0', text.len)))
        return leave_to_jq(s);
    n = new_node(s, kind);
    if (n)
        n->value.text = text;
    return n;
}

static struct es_node *parse_scalar(struct parser *s) {
    if (s->token.kind == ES_TOKEN_STRING)
        return string(s);
    if (s->token.kind == ES_TOKEN_NUMBER)
        return number(s, false);
    if (s->token.kind == ES_TOKEN_MINUS) {
        next(s);
        return s->token.kind == ES_TOKEN_NUMBER ? number(s, true) : leave_to_jq(s);
    }
    if (is_name(s, "true") || is_name(s, "false") || is_name(s, "null")) {
        enum es_kind kind = is_name(s, "true") ? ES_TRUE : is_name(s, "false") ? ES_FALSE : ES_NULL;

        next(s);
        return literal(s, kind);
    }
    return leave_to_jq(s);
}

/* IN(literal, ...). */
static struct es_node *parse_in(struct parser *s) {
    struct es_node *in = new_node(s, ES_NODE_IN), **last = in ? &in->child : NULL;

    while (s->rc == 0) {
        *last = parse_scalar(s);
        if (*last == NULL)
            return NULL;
        last = &(*last)->next;
        if (s->token.kind == ES_TOKEN_CLOSE) {
            next(s);
            return in;
        }
        if (s->token.kind != ES_TOKEN_COMMA)
            return leave_to_jq(s);
        next(s);
    }
    return NULL;
}

static struct es_node *parse_select(struct parser *s) {
    struct es_node *inner = parse_pipe(s), *n;

    if (!expect_close(s) || (n = new_node(s, ES_NODE_SELECT)) == NULL)
        return NULL;
    n->child = inner;
    return n;
}

/* A name with '(' after it, which was taken. */
static struct es_node *parse_call(struct parser *s, struct fmt_text name) {
    static const struct {
        const char *name;
        enum es_node_kind kind;
    } functions[] = {
        {"startswith", ES_NODE_STARTSWITH},
        {"endswith", ES_NODE_ENDSWITH},
        {"contains", ES_NODE_CONTAINS},
        {"test", ES_NODE_TEST},
        {"has", ES_NODE_HAS},
    };

    if (name.len == 2 && memcmp(name.at, "IN", 2) == 0)
        return parse_in(s);
    if (name.len == 6 && memcmp(name.at, "select", 6) == 0)
        return parse_select(s);
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++)
        if (name.len == strlen(functions[i].name) && memcmp(name.at, functions[i].name, name.len) == 0)
            return with_string(s, functions[i].kind);
    return leave_to_jq(s);
}

static struct es_node *parse_name(struct parser *s) {
    static const struct {
        const char *name;
        enum es_node_kind kind;
    } functions[] = {
        {"not", ES_NODE_NOT},
        {"length", ES_NODE_LENGTH},
        {"type", ES_NODE_TYPE},
        {"empty", ES_NODE_EMPTY},
    };
    struct fmt_text name = s->token.text;

    if (is_name(s, "true") || is_name(s, "false") || is_name(s, "null"))
        return parse_scalar(s);
    if (is_name(s, "and") || is_name(s, "or"))
        return fail_at(s, s->token.at, "a value is missing");
    next(s);
    if (s->token.kind == ES_TOKEN_OPEN) {
        next(s);
        return parse_call(s, name);
    }
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++)
        if (name.len == strlen(functions[i].name) && memcmp(name.at, functions[i].name, name.len) == 0)
            return new_node(s, functions[i].kind);
    return leave_to_jq(s);
}

/* ---- paths ---- */

/* Wraps `of` into a step by `key`, which is the step's text. */
static struct es_node *member(struct parser *s, struct es_node *of, struct fmt_text key) {
    struct es_node *n = new_node(s, ES_NODE_MEMBER);

    if (n) {
        n->child = of;
        n->value.text = key;
    }
    return n;
}

/* What stands in brackets; '[' was taken. */
static struct es_node *parse_bracket(struct parser *s, struct es_node *of) {
    struct es_node *n = NULL;
    bool is_negative = s->token.kind == ES_TOKEN_MINUS;
    int64_t index;

    if (is_negative)
        next(s);
    if (s->token.kind == ES_TOKEN_STRING && !is_negative) {
        n = member(s, of, s->token.text);
    } else if (s->token.kind == ES_TOKEN_NUMBER && es_number_small(s->token.text, &index) && index < INT32_MAX) {
        n = new_node(s, ES_NODE_INDEX);
        if (n) {
            n->child = of;
            n->value.integer = is_negative ? -index : index;
        }
    } else {
        return leave_to_jq(s);
    }
    next(s);
    if (s->token.kind == ES_TOKEN_END)
        return operator_is_missing(s, ES_TOKEN_BRACKET_CLOSE);
    if (s->token.kind != ES_TOKEN_BRACKET_CLOSE)
        return leave_to_jq(s);
    next(s);
    return n;
}

/* The steps after a term: .name, ."name", ["name"], [1]. */
static struct es_node *parse_steps(struct parser *s, struct es_node *n) {
    for (unsigned steps = 0; s->rc == 0; steps++) {
        bool is_step = true;

        if (steps == STEPS_MAX)
            return leave_to_jq(s);
        if (s->token.kind == ES_TOKEN_FIELD) {
            n = member(s, n, s->token.text);
            next(s);
        } else if (s->token.kind == ES_TOKEN_DOT) {
            next(s);
            if (s->token.kind != ES_TOKEN_STRING)
                return leave_to_jq(s);
            n = member(s, n, s->token.text);
            next(s);
        } else if (s->token.kind == ES_TOKEN_BRACKET) {
            next(s);
            n = parse_bracket(s, n);
        } else {
            is_step = false;
        }
        if (!is_step)
            return s->token.kind == ES_TOKEN_QUESTION ? leave_to_jq(s) : n;
        if (s->token.kind == ES_TOKEN_QUESTION && n) {
            n->optional = true;
            next(s);
        }
    }
    return NULL;
}

/* '.' was taken. */
static struct es_node *parse_dot(struct parser *s) {
    struct es_node *n = new_node(s, ES_NODE_DOT);

    if (s->token.kind == ES_TOKEN_STRING) {
        n = member(s, n, s->token.text);
        next(s);
        if (s->token.kind == ES_TOKEN_QUESTION && n) {
            n->optional = true;
            next(s);
        }
    }
    return n;
}

static struct es_node *parse_term(struct parser *s) {
    struct es_node *n = NULL;

    switch (s->token.kind) {
    case ES_TOKEN_FIELD:
        n = new_node(s, ES_NODE_DOT); /* the step follows */
        break;
    case ES_TOKEN_DOT:
        next(s);
        n = parse_dot(s);
        break;
    case ES_TOKEN_NUMBER:
    case ES_TOKEN_STRING:
        n = parse_scalar(s);
        break;
    case ES_TOKEN_NAME:
        n = parse_name(s);
        break;
    case ES_TOKEN_OPEN:
        next(s);
        n = parse_pipe(s);
        if (!expect_close(s))
            return NULL;
        break;
    case ES_TOKEN_BRACKET:
        next(s);
        n = empty_container(s, ES_ARRAY, ES_TOKEN_BRACKET_CLOSE);
        break;
    case ES_TOKEN_BRACE:
        next(s);
        n = empty_container(s, ES_OBJECT, ES_TOKEN_BRACE_CLOSE);
        break;
    default:
        return operand_is_missing(s);
    }
    return parse_steps(s, n);
}

/* ---- operators ---- */

static struct es_node *parse_operand(struct parser *s) {
    struct es_node *n;

    if (s->token.kind == ES_TOKEN_MINUS) {
        n = parse_scalar(s);
        /* A minus takes all steps that follow, and its operand must not be a string then: jq's business. */
        if (s->token.kind == ES_TOKEN_FIELD || s->token.kind == ES_TOKEN_DOT || s->token.kind == ES_TOKEN_BRACKET ||
            s->token.kind == ES_TOKEN_QUESTION)
            return leave_to_jq(s);
    } else {
        n = parse_term(s);
    }
    if (s->rc == 0 &&
        (s->token.kind == ES_TOKEN_OPERATOR || s->token.kind == ES_TOKEN_MINUS || s->token.kind == ES_TOKEN_OTHER))
        return leave_to_jq(s);
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

static struct es_node *pair(struct parser *s, enum es_node_kind kind, struct es_node *left, struct es_node *right) {
    struct es_node *n = s->rc == 0 ? new_node(s, kind) : NULL;

    if (n) {
        n->child = left;
        left->next = right;
    }
    return n;
}

static struct es_node *parse_comparison(struct parser *s) {
    struct es_node *left = parse_operand(s), *n;
    unsigned char compare = s->rc == 0 ? comparison(s->token.kind) : 0;

    if (compare == 0)
        return left;
    next(s);
    n = pair(s, ES_NODE_COMPARE, left, parse_operand(s));
    if (n)
        n->compare = compare;
    return n;
}

/* One or more of `part`, with a word between them. */
static struct es_node *parse_chain(struct parser *s, enum es_node_kind kind, const char *word,
                                   struct es_node *(*part)(struct parser *s)) {
    struct es_node *first = part(s), *chain = NULL, **last;

    if (s->rc != 0 || !is_name(s, word))
        return first;
    chain = new_node(s, kind);
    if (!chain)
        return NULL;
    chain->child = first;
    last = &first->next;
    while (s->rc == 0 && is_name(s, word)) {
        next(s);
        *last = part(s);
        if (*last)
            last = &(*last)->next;
    }
    return s->rc == 0 ? chain : NULL;
}

static struct es_node *parse_and(struct parser *s) {
    return parse_chain(s, ES_NODE_AND, "and", parse_comparison);
}

static struct es_node *parse_or(struct parser *s) {
    return parse_chain(s, ES_NODE_OR, "or", parse_and);
}

static struct es_node *parse_pipe_level(struct parser *s, bool alternatives_only) {
    struct es_node *left = NULL;

    if (++s->levels > LEVELS_MAX)
        return leave_to_jq(s);
    left = parse_or(s);
    if (s->rc == 0 && s->token.kind == ES_TOKEN_ALTERNATIVE) {
        next(s);
        left = pair(s, ES_NODE_ALTERNATIVE, left, parse_pipe_level(s, true));
    }
    if (s->rc == 0 && s->token.kind == ES_TOKEN_PIPE && !alternatives_only) {
        next(s);
        left = pair(s, ES_NODE_PIPE, left, parse_pipe_level(s, false));
    }
    s->levels--;
    return s->rc == 0 ? left : NULL;
}

static struct es_node *parse_pipe(struct parser *s) {
    return parse_pipe_level(s, false);
}

int es_predicate_parse(struct esdb_text expr, struct es_predicate *p, struct esdb_error *err) {
    if (expr.len == 0 || expr.len > EXPRESSION_MAX || !fmt_utf8_valid(expr.at, expr.len, NULL))
        return ESDB_END;
    p->texts = malloc(2 * expr.len);
    p->node_room = expr.len + 1;
    p->nodes = calloc(p->node_room, sizeof *p->nodes);
    if (!p->texts || !p->nodes)
        return -ENOMEM;
    memcpy(p->texts, expr.at, expr.len);

    struct parser s = {.lexer = {p->texts, p->texts, p->texts + expr.len, p->texts + expr.len}, .p = p, .err = err};

    next(&s);
    if (s.token.kind == ES_TOKEN_END)
        return ESDB_END;
    p->root = parse_pipe(&s);
    if (s.rc == 0 && s.token.kind != ES_TOKEN_END)
        operator_is_missing(&s, ES_TOKEN_END);
    return s.rc;
}
