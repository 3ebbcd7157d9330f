/* buffer.h: a growable array of bytes. */
#ifndef ES_BUFFER_H
#define ES_BUFFER_H

#include <stddef.h>
#include <string.h>

struct es_buffer {
    unsigned char *at; /* owned */
    size_t len;
    size_t room;
};

int es_buffer_grow(struct es_buffer *b, size_t more); /* es_buffer_reserve, when there is not enough room */

/* Makes room for `more` bytes after len. 0 or -ENOMEM (unchanged). */
static inline int es_buffer_reserve(struct es_buffer *b, size_t more) {
    return b->room - b->len >= more ? 0 : es_buffer_grow(b, more);
}

static inline int es_buffer_add(struct es_buffer *b, const void *bytes, size_t len) {
    int rc = es_buffer_reserve(b, len);
    if (rc == 0 && len) {
        memcpy(b->at + b->len, bytes, len);
        b->len += len;
    }
    return rc;
}
void es_buffer_release(struct es_buffer *b); /* empty afterwards, reusable */

#endif
