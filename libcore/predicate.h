/* predicate.h: questions about a single event that are answered from its stored bytes: --select and --match. */
#ifndef ES_PREDICATE_H
#define ES_PREDICATE_H

#include "esdb.h"

struct es_predicate;

/* Compiles a jq expression of a common form (esdb-read(1), --select). *out is the caller's.
 * 0: it will be answered here. ESDB_END: it is none of the common forms, libjq must decide; no *out.
 * ESDB_EUSAGE: surely a syntax error; err points at it. -ENOMEM. */
int es_predicate_compile(struct esdb_text expr, struct es_predicate **out, struct esdb_error *err);

/* Compiles the first operands of `and` or `or` of an expression that has no native form. *out, the caller's, answers for the
 * whole expression: after `*decides_yes` when it is ES_PREDICATE_YES, else when it is ES_PREDICATE_NO; otherwise jq decides.
 * ESDB_END: no operand is understood, or the expression is no such chain; no *out. -ENOMEM. */
int es_predicate_compile_guard(struct esdb_text expr, struct es_predicate **out, bool *decides_yes);

/* Compiles --match: JSON that an event must contain, with operators (esdb-read(1), --match). *out is the caller's.
 * Errors: ESDB_EUSAGE, -ENOMEM. */
int es_match_compile(struct esdb_text json, struct es_predicate **out, struct esdb_error *err);

enum {
    ES_PREDICATE_NO = 0,
    ES_PREDICATE_YES = 1,
    ES_PREDICATE_ASK =
        2, /* libjq must decide about this event: the expression fails for it, or versions of jq differ */
};

/* Does the event pass? Takes no memory, changes nothing. Never ES_PREDICATE_ASK after es_match_compile. */
int es_predicate_eval(const struct es_predicate *p, const struct esdb_event *e);

void es_predicate_close(struct es_predicate *p); /* NULL is fine */

#endif
