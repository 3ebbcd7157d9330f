#include "buffer.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int es_buffer_reserve(struct es_buffer *b, size_t more) {
    if (b->room - b->len >= more)
        return 0;
    size_t room = b->room ? b->room : 4096;
    while (room - b->len < more) {
        if (room > SIZE_MAX / 2)
            return -ENOMEM;
        room *= 2;
    }
    unsigned char *at = realloc(b->at, room);
    if (!at)
        return -ENOMEM;
    b->at = at;
    b->room = room;
    return 0;
}

int es_buffer_add(struct es_buffer *b, const void *bytes, size_t len) {
    int rc = es_buffer_reserve(b, len);
    if (rc == 0 && len) {
        memcpy(b->at + b->len, bytes, len);
        b->len += len;
    }
    return rc;
}

void es_buffer_release(struct es_buffer *b) {
    free(b->at);
    *b = (struct es_buffer){0};
}
