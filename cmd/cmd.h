/*
 * cmd.h: what the tools share. A main parses with cmd_next_option(), calls libcore, and ends with cmd_finish().
 *
 * Only code in cmd/ prints or exits. stdout carries data only; messages go to stderr with the tool's name before them.
 * Functions marked "exits" end the process after their message; all others return.
 *
 *   static const struct cmd_option options[] = {{'n', "limit", "N", "print at most N events", 0}, {0}};
 *   static const struct cmd_group groups[] = {{"Options", options}, CMD_GROUP_STORE, CMD_GROUP_COLOR, {0}};
 *   static const struct cmd_tool tool = {.name = "esdb-x", ..., .groups = groups, .statuses = CMD_STATUS_READ};
 *
 *   int main(int argc, char **argv) {
 *       struct cmd_args args;
 *       int id;
 *
 *       cmd_begin(&tool, &args, argc, argv);
 *       while ((id = cmd_next_option(&args)) != 0)
 *           switch (id) {
 *           case 'n':
 *               limit = cmd_number(&args);
 *               break;
 *           }
 *       for (int i = 0; i < args.count; i++)
 *           ... args.operands[i] ...
 *       status = cmd_open_store(ESDB_READ, &db);
 *       ...
 *       return cmd_finish(status);
 *   }
 */
#ifndef CMD_H
#define CMD_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "libcore/esdb.h"

/* ---- options: one table gives parsing, -h, --help, --help=options (for pages and completions) ---- */

struct cmd_option {
    char short_name;       /* 0: none */
    const char *long_name; /* NULL: none; an entry with neither name ends the table */
    const char *argument;  /* "N": required; "[SECONDS]": optional, only as --name=SECONDS; NULL: takes none */
    const char *help;      /* one line, begins in lower case, no full stop */
    int id;                /* what cmd_next_option() returns; 0: short_name. Own ids are 256 .. 999 */
};

struct cmd_group {
    const char *title; /* of its section in the help; NULL ends the list of groups */
    const struct cmd_option *options;
};

/* Shared groups. cmd_next_option() handles their options itself and never returns them. */
extern const struct cmd_option cmd_store_options[];     /* -S, --store */
extern const struct cmd_option cmd_color_options[];     /* --color */
extern const struct cmd_option cmd_output_options[];    /* --output, --fields, -0/--null, --color: printing events */
extern const struct cmd_option cmd_selection_options[]; /* -a/--all, --system, --literal, --regex, --partition */
extern const struct cmd_option cmd_filter_options[];    /* -t/--type, --where, --tag, --id, --match, --select, -v ... */
extern const struct cmd_option cmd_time_options[];      /* --since, --until, --as-of */
extern const struct cmd_option cmd_as_of_options[];     /* --as-of alone */
#define CMD_GROUP_STORE \
    { "Store", cmd_store_options }
#define CMD_GROUP_COLOR \
    { "Output", cmd_color_options }
#define CMD_GROUP_OUTPUT \
    { "Output", cmd_output_options }
#define CMD_GROUP_SELECTION \
    { "Streams", cmd_selection_options }
#define CMD_GROUP_FILTER \
    { "Filters (an event must pass each kind that is given)", cmd_filter_options }
#define CMD_GROUP_TIME \
    { "Time", cmd_time_options }
#define CMD_OPT_SINCE 1999 /* --since alone, for a tool without the time group */

/* The exit statuses that a tool can have: bit N for status N, those from 123 on at the upper end. */
#define CMD_STATUS_BIT(n) ((n) < 123 ? (n) : (n)-123 + 27)
#define CMD_STATUS(n) (1u << CMD_STATUS_BIT(n))
#define CMD_STATUS_READ \
    (CMD_STATUS(0) | CMD_STATUS(1) | CMD_STATUS(2) | CMD_STATUS(4) | CMD_STATUS(5) | CMD_STATUS(6) | CMD_STATUS(7))
#define CMD_STATUS_SELECT (CMD_STATUS_READ | CMD_STATUS(8)) /* with --select or --jq */
/* with the delivery group */
#define CMD_STATUS_DELIVERY (CMD_STATUS(123) | CMD_STATUS(124) | CMD_STATUS(126) | CMD_STATUS(127))
#define CMD_STATUS_APPEND                                                                                            \
    (CMD_STATUS(0) | CMD_STATUS(1) | CMD_STATUS(2) | CMD_STATUS(3) | CMD_STATUS(5) | CMD_STATUS(6) | CMD_STATUS(7) | \
     CMD_STATUS(8) | CMD_STATUS(10))

/* What a tool is. Texts end without newline; several lines are allowed in synopsis, examples and notes. */
struct cmd_tool {
    const char *name;     /* "esdb-read" */
    const char *synopsis; /* a usage a line, without the name: "[options] [STREAM...]" */
    const char *summary;  /* one line, begins in lower case, no full stop */
    const char *examples; /* as typed, one a line, "# comment" lines between them */
    const char *notes;    /* after the options in --help; NULL: none */
    const struct cmd_group *groups;
    unsigned statuses; /* CMD_STATUS bits */
};

/* The command line while it is parsed. */
struct cmd_args {
    const char *value;  /* the argument of the option last returned; NULL: none. Lives as long as argv */
    const char *option; /* its name as it stands in messages, "--limit" */
    char **operands;    /* after the last option: what is no option */
    int count;
    int behind; /* how many of the operands, the last ones, stood behind "--" */
    /* inside */
    int argc;
    char **argv;
    void *table;
};

/* Prepares the process: descriptors 0 to 2 open, SIGBUS reported, SIGXFSZ ignored. `tool` and `argv` are kept. */
void cmd_begin(const struct cmd_tool *tool, struct cmd_args *args, int argc, char **argv);

/* For tools with actions ("esdb-stream list ..."): parses `argv` afresh against another table. argv[0] is skipped. */
void cmd_begin_action(const struct cmd_tool *tool, struct cmd_args *args, int argc, char **argv);

/* The next option's id, 0 after the last (then operands and count are set). Options and operands may be mixed; "--" ends
 * the options. Does -h, --help, --version and the shared groups itself; exits 2 on an unknown option. */
int cmd_next_option(struct cmd_args *args);

/* The argument of the current option as a number. Exit 2, naming the option, when it is none or out of range. */
uint64_t cmd_number(const struct cmd_args *args);
uint64_t cmd_size(const struct cmd_args *args);         /* bytes, with K, M or G (powers of 1024) */
uint64_t cmd_milliseconds(const struct cmd_args *args); /* "250", "250ms", "2s", "1min" */

/* Parses all of `text`: decimal digits. False when there is anything else, or an overflow. */
bool cmd_parse_number(const char *text, uint64_t *out);

/* ---- messages ---- */

/* "esdb-append: text\n" on stderr, control bytes made visible. */
void cmd_message(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* A message, "try 'esdb-append --help'" below it; exits 2. */
void cmd_usage_error(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

/* Prints what `err` says (the code's own text when it is empty) and returns the exit status for `code`. 0 prints
 * nothing. */
int cmd_report(int code, const struct esdb_error *err);

/* Memory or exit 1. */
void *cmd_alloc(size_t size); /* zeroed */
void *cmd_grow(void *at, size_t size);

/* ---- the store ---- */

/* The path of the store to use: -S, else $ESDB_STORE; a value without '/' that is no existing directory is a name from
 * the configuration file. 0, or exit status 2 after the message. *out lives until cmd_finish(). */
int cmd_store_path(const char **out);

/* Makes `path` the store to use, as if -S had given it (a tool that takes it as operand). */
void cmd_set_store(const char *path);
bool cmd_store_given(void); /* was -S (or cmd_set_store) used? */

/* Opens that store. 0, or an exit status after the message. *out is the caller's. */
int cmd_open_store(unsigned flags, esdb **out);

/* At the end of a tool: the kernel gives back maps and descriptors at once, faster than one by one. (Closes the store when
 * leaks are being looked for.) */
void cmd_leave_store(esdb *db);

/* ---- output ---- */

/* A buffer before a descriptor. Errors are remembered and reported by cmd_out_flush(). */
struct cmd_out {
    int fd;
    bool terminal;
    bool color;  /* --color and the environment allow it */
    bool failed; /* an error was reported; more output is dropped */
    char *at;    /* owned */
    size_t len, room;
    void (*before_flush)(struct cmd_out *out); /* adds what was kept back; NULL: nothing */
};

/* stdout: the only one that tools need. Opened at first use (cmd_stdout()), flushed and closed by cmd_finish(). */
struct cmd_out *cmd_stdout(void);

/* At least n bytes to write to directly; follow with cmd_out_advance(). Flushes when the buffer is full. Never NULL. */
char *cmd_out_reserve(struct cmd_out *out, size_t n);
static inline void cmd_out_advance(struct cmd_out *out, size_t n) {
    out->len += n;
}
void cmd_out_add(struct cmd_out *out, const char *bytes, size_t len);
void cmd_out_text(struct cmd_out *out, const char *text);
void cmd_out_number(struct cmd_out *out, uint64_t n);
void cmd_out_printf(struct cmd_out *out, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A JSON string with its quotes. The text is UTF-8; at a terminal what is not, DEL and C1 control characters, which JSON
 * allows, appear as escapes of their codes. */
void cmd_out_json(struct cmd_out *out, struct esdb_text text);
/* JSON as it is stored; at a terminal with the same escapes. */
void cmd_out_stored_json(struct cmd_out *out, struct esdb_text json);
/* Text for people: at a terminal control characters, C1 ones included, appear as \xNN. */
void cmd_out_plain(struct cmd_out *out, struct esdb_text text);

enum cmd_color { CMD_PLAIN, CMD_KEY, CMD_DIM, CMD_GOOD, CMD_WARN, CMD_BAD };
/* Begins a colour, or ends it (CMD_PLAIN). Nothing when the output has none. */
void cmd_out_color(struct cmd_out *out, enum cmd_color color);

/* Writes all that is buffered. 0, or exit status 1 after the message (once). Ends by SIGPIPE when nobody reads. */
int cmd_out_flush(struct cmd_out *out);

/* From now on the process ends by SIGPIPE as soon as the reader of stdout has gone, also while it waits for something
 * else. A thread of its own does it. For tools that can be idle. */
void cmd_watch_stdout(void);

/* From now on SIGINT and SIGTERM only set cmd_stopped, which ends waiting and writing; the tool then finishes. */
void cmd_catch_signals(void);
extern volatile sig_atomic_t cmd_stopped; /* the signal's number */

/* Columns of the terminal; 0: no terminal. */
unsigned cmd_terminal_width(void);

/* Decimal digits of n into `at` (room for 20). Returns how many. */
size_t cmd_put_number(char *at, uint64_t n);

/* "2025-11-23T15:04:05.123456+01:00", local time; `at` has room for CMD_TIME_ROOM. Returns the length. */
#define CMD_TIME_ROOM 40
size_t cmd_put_time(char *at, uint64_t epoch_us);

/* Flushes and closes stdout. Returns `status`, or 1 when it was 0 and the output could not be written. */
int cmd_finish(int status);

/* ---- printing events (output group; cmd/output.c) ---- */

/* Prints one event as --output, --fields, -0 and --color say. */
void cmd_print_event(struct cmd_out *out, const struct esdb_event *e);

/* Was --output, --fields, --jq or -0 given? For actions that print no events. */
bool cmd_output_given(void);

/* After the options: starts what --jq asks for. Exits when that cannot be. */
void cmd_print_begin(void);

/* Everything that cmd_print_event() was given is in the output's buffer now: before waiting, and before messages.
 * cmd_finish() does it too. */
void cmd_print_flush(struct cmd_out *out);

/* False when --fields, --output data or table was given: then marker lines (heartbeats) are out of place. */
bool cmd_output_is_json(void);

/* ---- choosing events (selection, filter and time groups; cmd/selection.c) ---- */

/* Completes `q` with the options of these groups and the streams named as operands. Exit 2 when neither STREAM nor --all
 * nor --id was given, or options contradict each other. The texts live until cmd_finish(). */
void cmd_select(struct esdb_query *q, char *const *streams, int count);

/* Was anything said about which events? For tools that can do without: `count` streams were named. */
bool cmd_selection_given(int count);
uint64_t cmd_since(void);                     /* --since; 0: not given */
void cmd_partition(uint32_t *k, uint32_t *n); /* --partition K/N; 0: not given */

/* Once the store is open: completes `q` with --as-of TIME. 0, or an exit status after the message. */
int cmd_select_as_of(esdb *db, struct esdb_query *q);

/* With --as-of, after the last event: 0, or 9 after a message when retention has removed what was there then. */
int cmd_check_past(esdb *db, const struct esdb_query *q);
int cmd_check_past_archived(esdb *db, struct esdb_archive *a,
                            const struct esdb_query *q); /* of which NULL: none count */

/* After the last event: tells whether the expression of --select failed on events. 0, or 8 after the message. */
int cmd_report_select(const esdb_cursor *cursor);
int cmd_report_failed_select(const struct esdb_explain *x); /* the same of what is known already */

/* The argument of the current option as versions, "3..7", "3..", "..7" or "3". Exit 2 when it is none. */
void cmd_versions(const struct cmd_args *args, struct esdb_query *q);

/* The argument of the current option as a point in time (esdb_time_parse). Exit 2 when it is none. */
uint64_t cmd_time(const struct cmd_args *args);

/* Checks that the streams named without a wildcard exist, with --as-of: existed then. 0, or 4 after a message for each
 * that does not: "NAME: text", or with `text` NULL what is known of it. */
int cmd_check_streams(esdb *db, const struct esdb_query *q, const char *text);

static inline struct esdb_text cmd_text(const char *s) {
    return (struct esdb_text){s, s ? __builtin_strlen(s) : 0};
}

/* ---- progress: a line on stderr at a terminal, after a second of work ---- */

struct cmd_progress {
    const char *what; /* "appended", "verified" */
    uint64_t begin_ms, shown_ms;
    bool off, visible;
};
void cmd_progress_begin(struct cmd_progress *p, const char *what);
/* total 0: unknown. `bytes`: shown as sizes, else as counts. Cheap; call often. */
void cmd_progress_update(struct cmd_progress *p, uint64_t done, uint64_t total, bool bytes);
void cmd_progress_end(struct cmd_progress *p); /* clears the line; before any message */

/* Prints a finding of a verification: a line, or a JSON object. */
void cmd_put_finding(const struct esdb_finding *f, bool json);

/* ---- small things ---- */

uint64_t cmd_now_ms(void); /* of a clock that only goes forwards */

/* 8-4-4-4-12 hexadecimal digits. */
void cmd_uuid_text(const unsigned char at[16], char out[37]);

#endif
