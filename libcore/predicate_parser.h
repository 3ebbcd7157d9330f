/* predicate_parser.h: between the files that parse expressions of --select: predicate_parse.c has the grammar. Functions
 * that give a node give NULL when there is none: then rc is set, and nothing goes on. */
#ifndef ES_PREDICATE_PARSER_H
#define ES_PREDICATE_PARSER_H

#include "predicate_lexer.h"
#include "predicate_node.h"

struct es_parser {
    struct es_lexer lexer;
    struct es_token token; /* the next one */
    struct es_predicate *p;
    struct esdb_error *err;
    int rc; /* once not 0, nothing goes on */
    int levels;
};

/* Takes memory for an expression into an empty predicate: its copy is the first expr.len bytes of p->texts. 0, -ENOMEM,
 * or ESDB_END: it is too long, or not UTF-8. es_predicate_close releases it. */
int es_predicate_init(struct es_predicate *p, struct esdb_text expr);

/* A syntax error for sure. */
struct es_node *es_parser_fail(struct es_parser *s, const char *at, const char *what);

/* Nothing that is known here. */
struct es_node *es_parser_leave_to_jq(struct es_parser *s);

void es_parser_next(struct es_parser *s);
struct es_node *es_parser_new_node(struct es_parser *s, enum es_node_kind kind);

/* Is the next token this word? */
bool es_parser_is_name(const struct es_parser *s, const char *name);

/* The next token cannot begin an operand, or follow a whole expression; `closer`: what should stand there. */
struct es_node *es_parser_operand_is_missing(struct es_parser *s);
struct es_node *es_parser_operator_is_missing(struct es_parser *s, enum es_token_kind closer);

/* The rules of the grammar; predicate_term.c has scalars and terms. */
struct es_node *es_parse_pipe(struct es_parser *s);
struct es_node *es_parse_comparison(struct es_parser *s);
struct es_node *es_parse_and(struct es_parser *s);
struct es_node *es_parse_scalar(struct es_parser *s);
struct es_node *es_parse_term(struct es_parser *s);

#endif
