/* block_cache.h: tables read block by block. A look-up touches a handful of blocks of a table of thousands: reading those
 * costs a fraction of mapping the file and touching its pages. Many tables share a few blocks of memory. */
#ifndef ES_BLOCK_CACHE_H
#define ES_BLOCK_CACHE_H

#include "table_file.h"

struct es_block_cache;

/* As es_table_open, but blocks are fetched through the cache, which is made when *cache is NULL (the caller's, to be
 * closed after its tables). A table that is asked a lot is mapped after all. One that cannot have a descriptor of its
 * own for long (there are many already) is opened as by es_table_open. */
int es_table_open_cached(struct es_block_cache **cache, int dir, const char *name, struct es_table *out);

void es_block_cache_close(struct es_block_cache *c); /* NULL is fine */

#endif
