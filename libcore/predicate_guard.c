/* What decides an expression that jq must understand: in `.event_type == "Paid" and (.data | any(. > 1))` the left side,
 * when it is false. jq stops there too and never looks at the right side, whatever that is; `or` is the same with true.
 *
 * That holds only where the whole expression is one chain of `and` (of `or`): no pipe, comma, `//`, assignment, `as` or
 * other keyword may stand outside of parentheses, since it would take the chain for its own operand. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "format/utf8.h"
#include "predicate_parser.h"

static bool is_word(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

/* Behind the string that begins at p; NULL: it has no end, or holds an expression. */
static const char *skip_string(const char *p, const char *end) {
    for (p++; p < end && *p != '"'; p++)
        if (*p == '\\' && (++p == end || *p == '('))
            return NULL;
    return p < end ? p + 1 : NULL;
}

/* May this word stand outside of parentheses? */
static bool is_harmless(const char *word, size_t len, bool may_have_or) {
    static const char *const harmful[] = {"as",  "def",   "if",    "then",    "elif",   "else",  "end",     "reduce",
                                          "try", "catch", "label", "foreach", "import", "break", "include", "module"};

    if (len == 2 && memcmp(word, "or", 2) == 0)
        return may_have_or;
    for (size_t i = 0; i < sizeof harmful / sizeof *harmful; i++)
        if (strlen(harmful[i]) == len && memcmp(word, harmful[i], len) == 0)
            return false;
    return true;
}

/* Behind the sign, blank or word at p, outside of parentheses; NULL: it is none that a chain surely goes on with. */
static const char *skip_plain(const char *p, const char *end, bool may_have_or) {
    const char *q = p;
    char next = p + 1 < end ? p[1] : '\0';

    if (*p >= '0' && *p <= '9') {
        while (q < end && *q >= '0' && *q <= '9')
            q++;
        return end - q > 1 && *q == '.' && q[1] >= '0' && q[1] <= '9' ? q + 2 : q;
    }
    if (is_word(*p)) {
        while (q < end && is_word(*q))
            q++;
        return is_harmless(p, (size_t)(q - p), may_have_or) ? q : NULL;
    }
    switch (*p) {
    case '.': /* what follows a name's point is no keyword */
        if (next == '.' || (next >= '0' && next <= '9'))
            return NULL;
        for (q++; q < end && is_word(*q); q++)
            ;
        return q;
    case '=':
    case '!':
        return next == '=' ? p + 2 : NULL;
    case '<':
    case '>':
        return next == '=' ? p + 2 : p + 1;
    case '+':
    case '-':
    case '*':
    case '%':
    case '/':
        return next == '=' || next == '/' ? NULL : p + 1;
    case ' ':
    case '\t':
    case '\n':
    case '?':
        return p + 1;
    default:
        return NULL;
    }
}

/* Is what stands between p and end, behind the word and (or), the rest of that chain? */
static bool is_rest_of_chain(const char *p, const char *end, bool may_have_or) {
    size_t depth = 0;

    while (p && p < end) {
        if (*p == '#')
            return false; /* a comment: quotes and parentheses in it mean nothing */
        if (*p == '"') {
            p = skip_string(p, end);
        } else if (strchr("([{", *p)) {
            depth++;
            p++;
        } else if (strchr(")]}", *p)) {
            if (depth-- == 0)
                return false;
            p++;
        } else {
            p = depth > 0 ? p + 1 : skip_plain(p, end, may_have_or);
        }
    }
    return p && depth == 0;
}

/* Collects operands behind `first`, as long as `word` stands between them and they are understood. Sets *rest to where
 * the first other one begins; NULL: there is none. */
static struct es_node *take_chain(struct es_parser *s, struct es_node *first, enum es_node_kind kind, const char *word,
                                  struct es_node *(*part)(struct es_parser *s), const char **rest) {
    struct es_node *chain = es_parser_new_node(s, kind), **last = &first->next;

    *rest = NULL;
    if (!chain)
        return NULL;
    chain->child = first;
    while (s->rc == 0 && es_parser_is_name(s, word)) {
        es_parser_next(s);
        *rest = s->token.at;
        *last = part(s);
        if (s->rc != 0) {
            *last = NULL;
            return chain;
        }
        last = &(*last)->next;
    }
    *rest = NULL;
    return chain;
}

/* The chain before the part that is left to jq. NULL: there is none. */
static struct es_node *parse_guard(struct es_parser *s, bool *is_or, const char **rest) {
    struct es_node *first;

    es_parser_next(s);
    first = es_parse_comparison(s);
    if (s->rc != 0)
        return NULL;
    *is_or = false;
    if (es_parser_is_name(s, "and")) {
        first = take_chain(s, first, ES_NODE_AND, "and", es_parse_comparison, rest);
        if (!first || *rest)
            return first;
    }
    if (!es_parser_is_name(s, "or"))
        return NULL;
    *is_or = true;
    first = take_chain(s, first, ES_NODE_OR, "or", es_parse_and, rest);
    return *rest ? first : NULL;
}

int es_predicate_compile_guard(struct esdb_text expr, struct es_predicate **out, bool *decides_yes) {
    struct es_predicate *p = calloc(1, sizeof *p);
    const char *rest;
    int rc = p ? es_predicate_init(p, expr) : -ENOMEM;

    if (rc == 0) {
        struct es_parser s = {.lexer = {p->texts, p->texts, p->texts + expr.len, p->texts + expr.len}, .p = p};

        p->root = parse_guard(&s, decides_yes, &rest);
        /* The parser may write over a sign that it has read: what it left is looked at in the original. */
        if (!p->root || !is_rest_of_chain(expr.at + (rest - p->texts), expr.at + expr.len, *decides_yes))
            rc = ESDB_END;
    }
    if (rc == 0)
        rc = es_predicate_plan(p);
    if (rc == 0)
        *out = p;
    else
        es_predicate_close(p);
    return rc;
}
