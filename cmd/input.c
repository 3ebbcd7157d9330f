/* input.c: see input.h. */
#include "input.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd.h"

#define INPUT_ROOM (512u << 10)
#define INPUT_LEAST (256u << 10) /* room for less than this is not worth a call */
#define INPUT_FIRST (64u << 10)  /* what a pipe holds; for one event more would only take time */

void cmd_input_init(struct cmd_input *in, int fd) {
    *in = (struct cmd_input){.fd = fd, .room = INPUT_FIRST, .at = cmd_grow(NULL, INPUT_FIRST)};
}

void cmd_input_release(struct cmd_input *in) {
    free(in->at);
    *in = (struct cmd_input){.fd = -1};
}

/* Counts the newlines before at[index]. */
static void count_lines(struct cmd_input *in, size_t index) {
    const char *p = in->at + (in->counted - in->base), *end = in->at + index;

    while (p < end) {
        const char *newline = memchr(p, '\n', (size_t)(end - p));

        if (!newline)
            break;
        in->newlines++;
        p = newline + 1;
        in->line_start = in->base + (uint64_t)(p - in->at);
    }
    in->counted = in->base + index;
}

struct cmd_place cmd_input_place(struct cmd_input *in, size_t index) {
    struct cmd_input ahead = *in; /* counting is undone: another place may lie before this one */

    count_lines(&ahead, index);
    return (struct cmd_place){ahead.newlines + 1, in->base + index - ahead.line_start + 1};
}

uint64_t cmd_input_lines(struct cmd_input *in) {
    const char *p, *end = in->at + in->end;

    count_lines(in, in->begin);
    if (in->line_start == in->base + in->begin)
        return in->newlines;
    for (p = in->at + in->begin; p < end && *p != '\n'; p++)
        if (*p != ' ' && *p != '\t' && *p != '\r')
            return in->newlines;
    return in->newlines + 1;
}

int cmd_input_read(struct cmd_input *in) {
    ssize_t n;

    if (in->begin > 0 && (in->begin == in->end || in->room - in->end < INPUT_LEAST)) {
        count_lines(in, in->begin);
        memmove(in->at, in->at + in->begin, in->end - in->begin);
        in->base += in->begin;
        in->end -= in->begin;
        in->begin = 0;
    }
    if (in->room < INPUT_ROOM ? in->base + in->end >= INPUT_FIRST / 2 : in->room - in->end < INPUT_LEAST) {
        in->room = in->room < INPUT_ROOM ? INPUT_ROOM : 2 * in->room;
        in->at = cmd_grow(in->at, in->room);
    }
    do
        n = read(in->fd, in->at + in->end, in->room - in->end);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    in->eof = n == 0;
    in->end += (size_t)n;
    return n > 0;
}
