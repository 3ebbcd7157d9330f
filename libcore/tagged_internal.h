/* tagged_internal.h: between tagged.c and tagged_parse.c. */
#ifndef ES_TAGGED_INTERNAL_H
#define ES_TAGGED_INTERNAL_H

#include "tagged.h"

/* The entry of a key, or ES_KEY_NONE. */
uint32_t es_tagged_find(const struct es_tagged *t, uint32_t key);

/* A new entry at the end, plain and without a value. NULL: no memory. */
struct es_tagged_entry *es_tagged_new_entry(struct es_tagged *t, uint32_t key);

/* Frees what the entry holds. */
void es_tagged_drop_value(struct es_tagged_entry *e, bool borrowed);

/* Empty, memory kept. */
void es_tagged_clear(struct es_tagged *t);

#endif
