/* program_file.c: jq programs from files. See internal.h. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "internal.h"

#define PROGRAM_MAX (1u << 20) /* what the helper takes */

char *cmd_read_program(const struct cmd_args *args) {
    int fd = open(args->value, O_RDONLY | O_CLOEXEC);
    char *text = cmd_alloc(PROGRAM_MAX + 2);
    size_t len = 0;
    ssize_t n = fd;

    while (n >= 0 && len <= PROGRAM_MAX && (n = read(fd, text + len, PROGRAM_MAX + 1 - len)) != 0)
        if (n > 0)
            len += (size_t)n;
        else if (errno == EINTR)
            n = 0;
    if (n < 0)
        cmd_usage_error("%s: %s: %s", args->option, args->value, strerror(errno));
    close(fd);
    if (len > PROGRAM_MAX)
        cmd_usage_error("%s: %s: is larger than %u KiB", args->option, args->value, PROGRAM_MAX >> 10);
    if (memchr(text, '\0', len))
        cmd_usage_error("%s: %s: has a NUL, as no program has", args->option, args->value);
    if (text[strspn(text, " \t\r\n")] == '\0')
        cmd_usage_error("%s: %s: is empty", args->option, args->value);
    return cmd_grow(text, len + 1);
}
