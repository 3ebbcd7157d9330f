/* socket.h: the bytes between a helper and the process that started it, over descriptor 0. */
#ifndef HELPER_SOCKET_H
#define HELPER_SOCKET_H

#include <stddef.h>

/* All of them. The parent closing its end is how the work ends: then they end the process with status 0. */
void socket_get(void *to, size_t len);
void socket_put(const void *from, size_t len);

#endif
