/* The terms of jq expressions: literals, functions, paths. The grammar is in predicate_parse.c. */
#include <string.h>

#include "number.h"
#include "predicate_parser.h"

#define STEPS_MAX 256 /* of a path: no value is deeper; bounds the stack too */

/* ---- literals ---- */

static struct es_node *literal(struct es_parser *s, enum es_kind kind) {
    struct es_node *n = es_parser_new_node(s, ES_NODE_LITERAL);

    if (n)
        n->value.kind = kind;
    return n;
}

/* The number at the next token; `negative`: a minus was before it. */
static struct es_node *number(struct es_parser *s, bool negative) {
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
    es_parser_next(s);
    return n;
}

static struct es_node *string(struct es_parser *s) {
    struct es_node *n = literal(s, ES_STRING);

    if (n)
        n->value.text = s->token.text;
    es_parser_next(s);
    return n;
}

/* An empty array or object. The opening token was taken. */
static struct es_node *empty_container(struct es_parser *s, enum es_kind kind, enum es_token_kind closer) {
    struct es_node *n;

    if (s->token.kind != closer)
        return es_parser_leave_to_jq(s);
    n = literal(s, kind);
    if (n)
        n->value.text = (struct fmt_text){kind == ES_ARRAY ? "[]" : "{}", 2};
    es_parser_next(s);
    return n;
}

/* ---- functions ---- */

static bool expect_close(struct es_parser *s) {
    if (s->rc != 0)
        return false;
    if (s->token.kind != ES_TOKEN_CLOSE) {
        if (s->token.kind == ES_TOKEN_SEMICOLON || s->token.kind == ES_TOKEN_COLON)
            es_parser_leave_to_jq(s); /* more arguments */
        else
            es_parser_operator_is_missing(s, ES_TOKEN_CLOSE);
        return false;
    }
    es_parser_next(s);
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

static struct es_node *with_string(struct es_parser *s, enum es_node_kind kind) {
    struct es_node *n;
    struct fmt_text text = s->token.text;

    if (s->token.kind != ES_TOKEN_STRING)
        return es_parser_leave_to_jq(s);
    es_parser_next(s);
    if (s->token.kind != ES_TOKEN_CLOSE)
        return es_parser_leave_to_jq(s);
    es_parser_next(s);
    if (kind == ES_NODE_TEST && !is_plain_regex(text))
        return es_parser_leave_to_jq(s);
    /* jq 1.6 takes a NUL for the end here. */
    if (kind == ES_NODE_CONTAINS && (text.len == 0 || memchr(text.at, '\0', text.len)))
        return es_parser_leave_to_jq(s);
    n = es_parser_new_node(s, kind);
    if (n)
        n->value.text = text;
    return n;
}

struct es_node *es_parse_scalar(struct es_parser *s) {
    if (s->token.kind == ES_TOKEN_STRING)
        return string(s);
    if (s->token.kind == ES_TOKEN_NUMBER)
        return number(s, false);
    if (s->token.kind == ES_TOKEN_MINUS) {
        es_parser_next(s);
        return s->token.kind == ES_TOKEN_NUMBER ? number(s, true) : es_parser_leave_to_jq(s);
    }
    if (es_parser_is_name(s, "true") || es_parser_is_name(s, "false") || es_parser_is_name(s, "null")) {
        enum es_kind kind = es_parser_is_name(s, "true") ? ES_TRUE : es_parser_is_name(s, "false") ? ES_FALSE : ES_NULL;

        es_parser_next(s);
        return literal(s, kind);
    }
    return es_parser_leave_to_jq(s);
}

/* IN(literal, ...). */
static struct es_node *parse_in(struct es_parser *s) {
    struct es_node *in = es_parser_new_node(s, ES_NODE_IN), **last = in ? &in->child : NULL;

    while (s->rc == 0) {
        *last = es_parse_scalar(s);
        if (*last == NULL)
            return NULL;
        last = &(*last)->next;
        if (s->token.kind == ES_TOKEN_CLOSE) {
            es_parser_next(s);
            return in;
        }
        if (s->token.kind != ES_TOKEN_COMMA)
            return es_parser_leave_to_jq(s);
        es_parser_next(s);
    }
    return NULL;
}

static struct es_node *parse_select(struct es_parser *s) {
    struct es_node *inner = es_parse_pipe(s), *n;

    if (!expect_close(s) || (n = es_parser_new_node(s, ES_NODE_SELECT)) == NULL)
        return NULL;
    n->child = inner;
    return n;
}

/* A name with '(' after it, which was taken. */
static struct es_node *parse_call(struct es_parser *s, struct fmt_text name) {
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
    return es_parser_leave_to_jq(s);
}

static struct es_node *parse_name(struct es_parser *s) {
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

    if (es_parser_is_name(s, "true") || es_parser_is_name(s, "false") || es_parser_is_name(s, "null"))
        return es_parse_scalar(s);
    if (es_parser_is_name(s, "and") || es_parser_is_name(s, "or"))
        return es_parser_fail(s, s->token.at, "a value is missing");
    es_parser_next(s);
    if (s->token.kind == ES_TOKEN_OPEN) {
        es_parser_next(s);
        return parse_call(s, name);
    }
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++)
        if (name.len == strlen(functions[i].name) && memcmp(name.at, functions[i].name, name.len) == 0)
            return es_parser_new_node(s, functions[i].kind);
    return es_parser_leave_to_jq(s);
}

/* ---- paths ---- */

/* Wraps `of` into a step by `key`, which is the step's text. */
static struct es_node *member(struct es_parser *s, struct es_node *of, struct fmt_text key) {
    struct es_node *n = es_parser_new_node(s, ES_NODE_MEMBER);

    if (n) {
        n->child = of;
        n->value.text = key;
    }
    return n;
}

/* What stands in brackets; '[' was taken. */
static struct es_node *parse_bracket(struct es_parser *s, struct es_node *of) {
    struct es_node *n = NULL;
    bool is_negative = s->token.kind == ES_TOKEN_MINUS;
    int64_t index;

    if (is_negative)
        es_parser_next(s);
    if (s->token.kind == ES_TOKEN_STRING && !is_negative) {
        n = member(s, of, s->token.text);
    } else if (s->token.kind == ES_TOKEN_NUMBER && es_number_small(s->token.text, &index) && index < INT32_MAX) {
        n = es_parser_new_node(s, ES_NODE_INDEX);
        if (n) {
            n->child = of;
            n->value.integer = is_negative ? -index : index;
        }
    } else {
        return es_parser_leave_to_jq(s);
    }
    es_parser_next(s);
    if (s->token.kind == ES_TOKEN_END)
        return es_parser_operator_is_missing(s, ES_TOKEN_BRACKET_CLOSE);
    if (s->token.kind != ES_TOKEN_BRACKET_CLOSE)
        return es_parser_leave_to_jq(s);
    es_parser_next(s);
    return n;
}

/* The steps after a term: .name, ."name", ["name"], [1]. */
static struct es_node *parse_steps(struct es_parser *s, struct es_node *n) {
    for (unsigned steps = 0; s->rc == 0; steps++) {
        bool is_step = true;

        if (steps == STEPS_MAX)
            return es_parser_leave_to_jq(s);
        if (s->token.kind == ES_TOKEN_FIELD) {
            n = member(s, n, s->token.text);
            es_parser_next(s);
        } else if (s->token.kind == ES_TOKEN_DOT) {
            es_parser_next(s);
            if (s->token.kind != ES_TOKEN_STRING)
                return es_parser_leave_to_jq(s);
            n = member(s, n, s->token.text);
            es_parser_next(s);
        } else if (s->token.kind == ES_TOKEN_BRACKET) {
            es_parser_next(s);
            n = parse_bracket(s, n);
        } else {
            is_step = false;
        }
        if (!is_step)
            return s->token.kind == ES_TOKEN_QUESTION ? es_parser_leave_to_jq(s) : n;
        if (s->token.kind == ES_TOKEN_QUESTION && n) {
            n->optional = true;
            es_parser_next(s);
        }
    }
    return NULL;
}

/* '.' was taken. */
static struct es_node *parse_dot(struct es_parser *s) {
    struct es_node *n = es_parser_new_node(s, ES_NODE_DOT);

    if (s->token.kind == ES_TOKEN_STRING) {
        n = member(s, n, s->token.text);
        es_parser_next(s);
        if (s->token.kind == ES_TOKEN_QUESTION && n) {
            n->optional = true;
            es_parser_next(s);
        }
    }
    return n;
}

struct es_node *es_parse_term(struct es_parser *s) {
    struct es_node *n = NULL;

    switch (s->token.kind) {
    case ES_TOKEN_FIELD:
        n = es_parser_new_node(s, ES_NODE_DOT); /* the step follows */
        break;
    case ES_TOKEN_DOT:
        es_parser_next(s);
        n = parse_dot(s);
        break;
    case ES_TOKEN_NUMBER:
    case ES_TOKEN_STRING:
        n = es_parse_scalar(s);
        break;
    case ES_TOKEN_NAME:
        n = parse_name(s);
        break;
    case ES_TOKEN_OPEN:
        es_parser_next(s);
        n = es_parse_pipe(s);
        if (!expect_close(s))
            return NULL;
        break;
    case ES_TOKEN_BRACKET:
        es_parser_next(s);
        n = empty_container(s, ES_ARRAY, ES_TOKEN_BRACKET_CLOSE);
        break;
    case ES_TOKEN_BRACE:
        es_parser_next(s);
        n = empty_container(s, ES_OBJECT, ES_TOKEN_BRACE_CLOSE);
        break;
    default:
        return es_parser_operand_is_missing(s);
    }
    return parse_steps(s, n);
}
