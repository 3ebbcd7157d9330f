/* predicate_gen.h: made-up expressions and events that meet each other: few keys, few values, every trap. */
#ifndef TEST_PREDICATE_GEN_H
#define TEST_PREDICATE_GEN_H

#include <stdbool.h>
#include <stddef.h>

#include "libcore/esdb.h"

/* A text that grows. */
struct gen_text {
    char at[8192];
    size_t len;
};

void gen_add(struct gen_text *t, const char *s);

/* An expression of jq: mostly of the forms that are answered natively. Follows test_random. */
void gen_expression(struct gen_text *out);

/* The same with a mistake: a token left out, doubled or exchanged. */
void gen_broken_expression(struct gen_text *out);

/* An event, with room for what it points to. */
struct gen_event {
    struct esdb_event event;
    struct gen_text data, metadata, names;
    struct gen_text json; /* the event as the object that jq sees */
};
void gen_event(struct gen_event *out);

/* Values of every kind, as JSON; NULL ends them. Those before *literals can stand in an expression as literals. */
const char *const *gen_values(size_t *literals);

#endif
