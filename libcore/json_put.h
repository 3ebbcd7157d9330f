/* json_put.h: writing JSON into a buffer. 0 or -ENOMEM each. */
#ifndef ES_JSON_PUT_H
#define ES_JSON_PUT_H

#include "buffer.h"
#include "esdb.h"

int es_put_text(struct es_buffer *b, const char *text);        /* as it is */
int es_put_string(struct es_buffer *b, struct esdb_text text); /* with quotes, escaped; text is UTF-8 */
int es_put_number(struct es_buffer *b, uint64_t n);
int es_put_member(struct es_buffer *b, const char *key, uint64_t n); /* ,"key":n */

#endif
