/* predicate_lexer.h: the words of a jq expression, as far as predicates know them. */
#ifndef ES_PREDICATE_LEXER_H
#define ES_PREDICATE_LEXER_H

#include "esdb.h"
#include "format/event.h"

enum es_token_kind {
    ES_TOKEN_END,
    ES_TOKEN_FIELD, /* .name: text is the name */
    ES_TOKEN_DOT,   /* a point alone */
    ES_TOKEN_NAME,
    ES_TOKEN_NUMBER,
    ES_TOKEN_STRING, /* text: what it stands for */
    ES_TOKEN_PIPE,
    ES_TOKEN_COMMA,
    ES_TOKEN_ALTERNATIVE, /* two slashes */
    ES_TOKEN_EQ,
    ES_TOKEN_NE,
    ES_TOKEN_LT,
    ES_TOKEN_LE,
    ES_TOKEN_GT,
    ES_TOKEN_GE,
    ES_TOKEN_OPEN,    /* ( */
    ES_TOKEN_CLOSE,   /* ) */
    ES_TOKEN_BRACKET, /* [ */
    ES_TOKEN_BRACKET_CLOSE,
    ES_TOKEN_BRACE, /* { */
    ES_TOKEN_BRACE_CLOSE,
    ES_TOKEN_QUESTION,
    ES_TOKEN_MINUS,
    ES_TOKEN_SEMICOLON,
    ES_TOKEN_COLON,
    ES_TOKEN_OPERATOR,     /* another operator of jq that takes two operands and begins none: + * / % = and updates */
    ES_TOKEN_OPEN_STRING,  /* a string without its end */
    ES_TOKEN_NO_CHARACTER, /* a character that no jq program has outside strings */
    ES_TOKEN_OTHER,        /* something that only jq knows */
};

struct es_token {
    enum es_token_kind kind;
    const char *at; /* where it stands in the expression */
    struct fmt_text text;
};

struct es_lexer {
    const char *start, *at, *end;
    char *room; /* for the text of strings; grows no further than the expression is long */
};

/* Takes the next token. After ES_TOKEN_OTHER the rest means nothing. */
void es_lexer_next(struct es_lexer *l, struct es_token *out);

/* Says what is wrong at `at`, a place of the expression: its character, counted from 1, and what stands there.
 * Returns ESDB_EUSAGE. */
int es_lexer_fail(const struct es_lexer *l, const char *at, const char *what, struct esdb_error *err);

#endif
