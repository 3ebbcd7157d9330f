/* buffer.h: a growable array of bytes. */
#ifndef ES_BUFFER_H
#define ES_BUFFER_H

#include <stddef.h>

struct es_buffer {
    unsigned char *at; /* owned */
    size_t len;
    size_t room;
};

/* Makes room for `more` bytes after len. 0 or -ENOMEM (unchanged). */
int es_buffer_reserve(struct es_buffer *b, size_t more);
int es_buffer_add(struct es_buffer *b, const void *bytes, size_t len);
void es_buffer_release(struct es_buffer *b); /* empty afterwards, reusable */

#endif
