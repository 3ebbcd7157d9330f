/* input.h: standard input in large blocks, and where in it something stands: line and byte. */
#ifndef CMD_INPUT_H
#define CMD_INPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes begin .. end of `at` are read and not yet consumed. */
struct cmd_input {
    int fd;
    bool eof;
    char *at; /* owned */
    size_t begin, end, room;
    uint64_t base;       /* offset in the input of at[0] */
    uint64_t counted;    /* up to this offset, newlines were counted ... */
    uint64_t newlines;   /* ... this many ... */
    uint64_t line_start; /* ... and this is just behind the last of them */
};

/* Where an offset lies; both count from 1. */
struct cmd_place {
    uint64_t line, byte;
};

void cmd_input_init(struct cmd_input *in, int fd);
void cmd_input_release(struct cmd_input *in);

/* Reads a block behind `end`; blocks when there is nothing yet. What was not consumed may move. Returns 1,
 * 0 at the end of the input (then eof is set), -errno. */
int cmd_input_read(struct cmd_input *in);

/* The place of at[index]. `index` may be before begin only when nothing was read since. */
struct cmd_place cmd_input_place(struct cmd_input *in, size_t index);

/* How many lines are consumed whole: "tail -n +N+1" gives the rest of the input. A line with more than white space
 * behind `begin` is not. */
uint64_t cmd_input_lines(struct cmd_input *in);

#endif
