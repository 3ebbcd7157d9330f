/* internal.h: between the files of cmd that all tools share. */
#ifndef CMD_INTERNAL_H
#define CMD_INTERNAL_H

#include "cmd.h"

/* The tool that cmd_begin() was given. */
const struct cmd_tool *cmd_tool(void);

/* Ids of the shared groups' options. */
enum cmd_shared_option {
    CMD_OPT_STORE = 2000,
    CMD_OPT_COLOR,
    CMD_OPT_OUTPUT,
    CMD_OPT_FIELDS,
    CMD_OPT_NULL,
    CMD_OPT_ALL,
    CMD_OPT_TYPE,
    CMD_OPT_SYSTEM,
    CMD_OPT_LITERAL,
    CMD_OPT_REGEX,
    CMD_OPT_PARTITION,
    CMD_OPT_WHERE,
    CMD_OPT_TAG,
    CMD_OPT_ALL_TAGS,
    CMD_OPT_ID,
    CMD_OPT_MATCH,
    CMD_OPT_SELECT,
    CMD_OPT_SELECT_FILE,
    CMD_OPT_SELECT_TIMEOUT,
    CMD_OPT_INVERT,
    CMD_OPT_UNTIL,
    CMD_OPT_AS_OF,
    CMD_OPT_JQ,
    CMD_OPT_JQ_FILE,
    CMD_OPT_JQ_TIMEOUT,
};

/* Takes an option of its group. False when the id is not one of them. */
bool cmd_store_option(const struct cmd_args *args, int id);
bool cmd_output_option(const struct cmd_args *args, int id);
bool cmd_selection_option(const struct cmd_args *args, int id);

bool cmd_transform_option(const struct cmd_args *args, int id);

/* The jq program in the file that the current option names, with a NUL behind it; owned by the caller. Exits 2 when it
 * cannot be read, is empty or too large. */
char *cmd_read_program(const struct cmd_args *args);

/* --jq was given: then events go this way, and what the program makes of them comes back through cmd_print_lines. */
bool cmd_transform_wanted(void);
void cmd_transform_event(struct cmd_out *out, const struct esdb_event *e);
bool cmd_output_is_plain(void); /* neither --fields nor another form than JSON was asked for */
void cmd_print_lines(struct cmd_out *out, struct esdb_text lines);

/* NULL, or called by cmd_finish() before it closes stdout: the exit status for a tool that has none of its own,
 * or 4: no such thing. */
extern int (*cmd_before_finish)(void);

/* --color, before the terminal and the environment are asked. */
enum cmd_color_when { CMD_COLOR_AUTO, CMD_COLOR_ALWAYS, CMD_COLOR_NEVER };
enum cmd_color_when cmd_color_when(void);

/* Looks `name` up in the `stores:` of the configuration file. 1: found, *out is set and lives as long as the process.
 * 0: there is none. Otherwise exit status 2, after the message. */
enum { CMD_CONFIG_FOUND = -1 };
int cmd_config_store(const char *name, const char **out);

/* True when --as-of TIME was given. */
bool cmd_as_of_time(uint64_t *epoch_us);

/* What those two hold until the process ends, for cmd_finish(). */
void cmd_config_release(void);
void cmd_selection_release(void);

/* The store that cmd_open_store() opened last. */
const esdb *cmd_opened_store(void);

/* Pieces of events: bytes in base 64; */
void cmd_out_base64(struct cmd_out *out, struct esdb_text bytes);

/* A colour or control sequence free copy of `text`: control characters and invalid UTF-8 as \xNN. Returns the length;
 * `out` has room for 4 * len. `keep` lists ASCII control characters that stay. */
size_t cmd_make_visible(const char *text, size_t len, const char *keep, char *out);

#endif
