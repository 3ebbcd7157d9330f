#include "buffer.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>

int es_buffer_grow(struct es_buffer *b, size_t more) {
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

void es_buffer_release(struct es_buffer *b) {
    free(b->at);
    *b = (struct es_buffer){0};
}
