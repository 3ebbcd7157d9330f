#include "libexec/socket.h"

#include <errno.h>
#include <unistd.h>

void socket_get(void *to, size_t len) {
    for (size_t done = 0; done < len;) {
        ssize_t n = read(0, (char *)to + done, len - done);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            _exit(0);
        done += (size_t)n;
    }
}

void socket_put(const void *from, size_t len) {
    for (size_t done = 0; done < len;) {
        ssize_t n = write(0, (const char *)from + done, len - done);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            _exit(0);
        done += (size_t)n;
    }
}
