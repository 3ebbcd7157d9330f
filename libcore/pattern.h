/* pattern.h: names and patterns of streams and types. */
#ifndef ES_PATTERN_H
#define ES_PATTERN_H

#include "esdb.h"

/* A name or a pattern, ready to be compared. */
struct es_pattern {
    char *text; /* owned; a literal's escapes are gone */
    size_t len;
    bool literal;
};

/* Copies t; it is a literal when it has no unescaped wildcard or when `as_is`. 0 or -ENOMEM. */
int es_pattern_init(struct es_pattern *p, struct esdb_text t, bool as_is);
void es_pattern_release(struct es_pattern *p);

bool es_pattern_matches(const struct es_pattern *p, struct esdb_text text);

#endif
