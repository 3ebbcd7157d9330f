/* options.c: one table of options gives parsing, -h, --help and --help=options. See cmd.h. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

enum { OPT_HELP = 1000, OPT_VERSION };

static const struct cmd_option common_options[] = {
    {'h', NULL, NULL, "print a short help", OPT_HELP},
    {0, "help", "[options]", "print this help; --help=options: the options alone, for programs", OPT_HELP},
    {0, "version", NULL, "print the version", OPT_VERSION},
    {0, NULL, NULL, NULL, 0},
};

#define OPTIONS_MAX 96
#define VAL_BASE 0x10000 /* what getopt_long returns for a long option: its index above this */

/* The groups of a tool in one list, and what getopt_long wants of it. */
struct table {
    const struct cmd_option *option[OPTIONS_MAX];
    int count;
    int operands; /* met so far: at the begin of argv, in order */
    struct option longs[OPTIONS_MAX + 1];
    char shorts[2 * OPTIONS_MAX + 4];
};

static const struct cmd_tool *the_tool;

const struct cmd_tool *cmd_tool(void) {
    return the_tool;
}

static int id_of(const struct cmd_option *o) {
    return o->id != 0 ? o->id : o->short_name;
}

static bool has_long(const struct table *t, const char *name) {
    for (int i = 0; i < t->count; i++)
        if (t->option[i]->long_name && strcmp(t->option[i]->long_name, name) == 0)
            return true;
    return false;
}

static void add_options(struct table *t, const struct cmd_option *o) {
    for (; o->short_name != 0 || o->long_name; o++) {
        if (o->id == OPT_VERSION && has_long(t, o->long_name)) /* --version N is the tool's own: see refuse() */
            continue;
        if (t->count == OPTIONS_MAX)
            abort();
        t->option[t->count++] = o;
    }
}

static void prepare(struct table *t) {
    struct option *l = t->longs;
    char *s = t->shorts;

    *s++ = '-'; /* operands are given out one by one, so that it is known which of them stand behind "--" */
    *s++ = ':';
    for (int i = 0; i < t->count; i++) {
        const struct cmd_option *o = t->option[i];

        if (o->long_name)
            *l++ = (struct option){o->long_name,
                                   !o->argument            ? no_argument
                                   : o->argument[0] == '[' ? optional_argument
                                                           : required_argument,
                                   NULL, VAL_BASE + i};
        if (o->short_name == 0)
            continue;
        *s++ = o->short_name;
        if (o->argument && o->argument[0] != '[')
            *s++ = ':';
    }
}

#define HELP_WIDTH 80u
#define HELP_COLUMN 31u /* where the meaning of an option begins */

/* Prints text from `column` on; a word that would go over the margin begins a line, below `indent`.
 * Returns the column behind the last word. */
static unsigned put_words(struct cmd_out *out, unsigned column, unsigned indent, const char *text, size_t len) {
    const char *end = text + len;

    while (text < end) {
        size_t spaces = strspn(text, " "), word;

        if (spaces > (size_t)(end - text))
            spaces = (size_t)(end - text);
        word = strcspn(text + spaces, " \n");
        if (column > indent && column + spaces + word > HELP_WIDTH) {
            cmd_out_printf(out, "\n%*s", (int)indent, "");
            column = indent;
            spaces = 0;
            text += strspn(text, " ");
        }
        cmd_out_add(out, text, spaces + word);
        column += (unsigned)(spaces + word);
        text += spaces + word;
    }
    return column;
}

static void print_option(struct cmd_out *out, const struct cmd_option *o) {
    char left[64];
    const char *argument = o->argument ? o->argument : "";
    const char *separator = *argument == '\0' ? "" : *argument == '[' ? "[=" : " ";

    snprintf(left, sizeof left, "  %c%c%s%s%s%s%s", o->short_name ? '-' : ' ', o->short_name ? o->short_name : ' ',
             !o->long_name   ? ""
             : o->short_name ? ", --"
                             : "  --",
             o->long_name ? o->long_name : "", separator, *argument == '[' ? argument + 1 : argument, "");
    if (strlen(left) > HELP_COLUMN - 2)
        cmd_out_printf(out, "%s\n%*s", left, (int)HELP_COLUMN, "");
    else
        cmd_out_printf(out, "%-*s", (int)HELP_COLUMN, left);
    put_words(out, HELP_COLUMN, HELP_COLUMN, o->help, strlen(o->help));
    cmd_out_text(out, "\n");
}

static void print_indented(struct cmd_out *out, const char *text, const char *prefix) {
    for (const char *end; *text; text = *end ? end + 1 : end) {
        end = strchrnul(text, '\n');
        cmd_out_printf(out, "%s%.*s\n", prefix, (int)(end - text), text);
    }
}

/* Where the second column of an indented line begins. */
static unsigned second_column(const char *line) {
    size_t lead = strspn(line, " "), len = strcspn(line, "\n");

    for (size_t i = lead; i + 2 < len; i++)
        if (line[i] == ' ' && line[i + 1] == ' ')
            return (unsigned)(i + strspn(line + i, " "));
    return (unsigned)lead;
}

/* Lines are filled up to the margin; an empty one ends a paragraph, one that begins with a space stands alone. */
static void print_notes(struct cmd_out *out, const char *text) {
    while (*text) {
        const char *end = text;
        unsigned column = 0, indent = *text == ' ' ? second_column(text) : 0;

        do {
            size_t len = strcspn(end, "\n");

            if (column > 0 && column + 1 + strcspn(end, " \n") <= HELP_WIDTH) {
                cmd_out_text(out, " ");
                column++;
            } else if (column > 0) {
                cmd_out_text(out, "\n");
                column = 0;
            }
            column = put_words(out, column, indent, end, len);
            end += len + (end[len] == '\n');
        } while (indent == 0 && *end && *end != ' ' && *end != '\n' && *text != '\n');
        cmd_out_text(out, "\n");
        text = end;
    }
}

static void print_usage(struct cmd_out *out, const struct cmd_tool *tool) {
    const char *word = "Usage:";
    const char *text = tool->synopsis;

    for (const char *end; *text; text = *end ? end + 1 : end) {
        end = strchrnul(text, '\n');
        cmd_out_printf(out, "%-6s %s %.*s\n", word, tool->name, (int)(end - text), text);
        word = "";
    }
}

/* The meanings of the exit statuses: the one table of DESIGN.md section 7. Those of commands that are started are the
 * ones of xargs(1). */
static const char *const status_texts[] = {
    "done",
    "system or I/O error, or a poisoned store",
    "wrong usage or configuration; no such store",
    "conflict: expected version or event id; nothing of that frame was written",
    "no such stream, or nothing matched",
    "damage was found",
    "unavailable: nothing was written, try again",
    "denied",
    "invalid input: which line, which byte, why",
    "the answer is no, or incomplete",
    "outcome unknown: retrying with the same event ids is safe",
    [CMD_STATUS_BIT(123)] = "events failed for good",
    [CMD_STATUS_BIT(124)] = "the command ended with status 255: stopped",
    [CMD_STATUS_BIT(126)] = "the command cannot be run",
    [CMD_STATUS_BIT(127)] = "the command was not found",
};

static void print_long_help(struct cmd_out *out, const struct cmd_tool *tool) {
    cmd_out_printf(out, "%s - %s\n", tool->name, tool->summary);
    if (tool->examples) {
        cmd_out_text(out, "\nExamples:\n");
        print_indented(out, tool->examples, "  ");
    }
    cmd_out_text(out, "\n");
    print_usage(out, tool);
    for (const struct cmd_group *g = tool->groups; g && g->title; g++) {
        cmd_out_printf(out, "\n%s:\n", g->title);
        for (const struct cmd_option *o = g->options; o->short_name != 0 || o->long_name; o++)
            print_option(out, o);
    }
    cmd_out_text(out, "\nHelp:\n");
    for (const struct cmd_option *o = common_options; o->help; o++)
        print_option(out, o);
    if (tool->notes) {
        cmd_out_text(out, "\n");
        print_notes(out, tool->notes);
    }
    cmd_out_text(out, "\nExit status:\n");
    for (unsigned i = 0; i < sizeof status_texts / sizeof *status_texts; i++)
        if (status_texts[i] && tool->statuses & 1u << i) {
            cmd_out_printf(out, "  %2u  ", i < CMD_STATUS_BIT(123) ? i : i + 123 - CMD_STATUS_BIT(123));
            put_words(out, 7, 7, status_texts[i], strlen(status_texts[i]));
            cmd_out_text(out, "\n");
        }
}

static void print_short_help(struct cmd_out *out, const struct cmd_tool *tool, const struct table *t) {
    print_usage(out, tool);
    for (int i = 0; i < t->count; i++)
        print_option(out, t->option[i]);
}

static void print_option_lines(struct cmd_out *out, const struct table *t) {
    for (int i = 0; i < t->count; i++) {
        const struct cmd_option *o = t->option[i];
        char short_name[3] = {'-', o->short_name, '\0'};

        cmd_out_printf(out, "%s\t%s%s\t%s\t%s\n", o->short_name ? short_name : "", o->long_name ? "--" : "",
                       o->long_name ? o->long_name : "", o->argument ? o->argument : "", o->help);
    }
}

static void help(const struct cmd_args *args, const struct table *t, bool is_short) {
    struct cmd_out *out = cmd_stdout();

    if (args->value && strcmp(args->value, "options") != 0)
        cmd_usage_error("--help=%s: only --help=options is known", args->value);
    if (args->value)
        print_option_lines(out, t);
    else if (is_short)
        print_short_help(out, the_tool, t);
    else
        print_long_help(out, the_tool);
    exit(cmd_finish(0));
}

static void version(void) {
    const char *name = the_tool->name;

    cmd_out_printf(cmd_stdout(), "%.*s %s\n", (int)strcspn(name, " "), name, ESDB_VERSION);
    exit(cmd_finish(0));
}

void cmd_begin_action(const struct cmd_tool *tool, struct cmd_args *args, int argc, char **argv) {
    static struct table table; /* one command line is parsed at a time */
    struct table *t = &table;

    the_tool = tool;
    *t = (struct table){0};
    for (const struct cmd_group *g = tool->groups; g && g->title; g++)
        add_options(t, g->options);
    add_options(t, common_options);
    prepare(t);
    *args = (struct cmd_args){.argc = argc, .argv = argv, .table = t};
    optind = 0;
    opterr = 0;
}

static void refuse(const struct cmd_args *args, const struct table *t, int answer) {
    const char *word = args->argv[optind > 0 ? optind - 1 : 0];

    if (optopt != 0 && optopt < VAL_BASE) {
        if (answer == ':')
            cmd_usage_error("-%c needs an argument", optopt);
        cmd_usage_error("unknown option -%c", optopt);
    }
    if (optopt >= VAL_BASE) {
        const struct cmd_option *o = t->option[optopt - VAL_BASE];

        /* Alone, it is the one that every tool has. Beside anything else the number is missing: what was to be done (with
         * an empty variable, say) was not done, and that must not look like success. */
        if (answer == ':' && strcmp(o->long_name, "version") == 0 && args->argc == 2)
            version();
        if (answer == ':')
            cmd_usage_error("--%s needs an argument", o->long_name);
        cmd_usage_error("--%s takes no argument", o->long_name);
    }

    size_t len = strcspn(word, "=");
    int near = 0;

    for (int i = 0; i < t->count; i++)
        if (t->option[i]->long_name && len > 2 && strncmp(t->option[i]->long_name, word + 2, len - 2) == 0)
            near++;
    cmd_usage_error("%s option %.*s", near > 1 ? "ambiguous" : "unknown", (int)len, word);
}

static const struct cmd_option *find_option(const struct table *t, int answer) {
    if (answer >= VAL_BASE)
        return t->option[answer - VAL_BASE];
    for (int i = 0; i < t->count; i++)
        if (t->option[i]->short_name == answer)
            return t->option[i];
    return NULL;
}

int cmd_next_option(struct cmd_args *args) {
    static char name[64];
    struct table *t = args->table;

    for (;;) {
        int answer = getopt_long(args->argc, args->argv, t->shorts, t->longs, NULL);

        if (answer == -1) {
            args->behind = args->argc - optind;
            args->operands = args->argv + optind - t->operands;
            args->count = t->operands + args->behind;
            memmove(args->operands, args->argv + 1, (size_t)t->operands * sizeof *args->operands);
            return 0;
        }
        if (answer == 1) {
            args->argv[++t->operands] = optarg;
            continue;
        }
        if (answer == '?' || answer == ':')
            refuse(args, t, answer);

        const struct cmd_option *o = find_option(t, answer);

        if (answer >= VAL_BASE)
            snprintf(name, sizeof name, "--%s", o->long_name);
        else
            snprintf(name, sizeof name, "-%c", answer);
        args->option = name;
        args->value = optarg;
        if (id_of(o) == OPT_HELP)
            help(args, t, answer < VAL_BASE);
        else if (id_of(o) == OPT_VERSION)
            version();
        else if (!cmd_store_option(args, id_of(o)) && !cmd_output_option(args, id_of(o)) &&
                 !cmd_selection_option(args, id_of(o)))
            return id_of(o);
    }
}

/* ---- numbers ---- */

bool cmd_parse_number(const char *text, uint64_t *out) {
    uint64_t n = 0;

    if (*text == '\0')
        return false;
    for (; *text; text++) {
        if (*text < '0' || *text > '9' || __builtin_mul_overflow(n, 10, &n) ||
            __builtin_add_overflow(n, (uint64_t)(*text - '0'), &n))
            return false;
    }
    *out = n;
    return true;
}

uint64_t cmd_number(const struct cmd_args *args) {
    uint64_t n;

    if (!cmd_parse_number(args->value, &n))
        cmd_usage_error("%s: '%s' is not a number", args->option, args->value);
    return n;
}

/* Digits, then one of the given units or none. False when it is anything else. */
static bool parse_with_unit(const char *text, const char *const *units, const uint64_t *factors, uint64_t *out) {
    char digits[32];
    size_t len = strspn(text, "0123456789");

    if (len == 0 || len >= sizeof digits)
        return false;
    memcpy(digits, text, len);
    digits[len] = '\0';
    if (!cmd_parse_number(digits, out))
        return false;
    for (int i = 0; units[i]; i++)
        if (strcasecmp(text + len, units[i]) == 0)
            return !__builtin_mul_overflow(*out, factors[i], out);
    return false;
}

uint64_t cmd_size(const struct cmd_args *args) {
    static const char *const units[] = {"", "k", "kib", "m", "mib", "g", "gib", NULL};
    static const uint64_t factors[] = {1, 1u << 10, 1u << 10, 1u << 20, 1u << 20, 1u << 30, 1u << 30};
    uint64_t n;

    if (!parse_with_unit(args->value, units, factors, &n))
        cmd_usage_error("%s: '%s' is not a size (as 65536, 64K, 128M, 1G)", args->option, args->value);
    return n;
}

uint64_t cmd_milliseconds(const struct cmd_args *args) {
    static const char *const units[] = {"", "ms", "s", "min", NULL};
    static const uint64_t factors[] = {1, 1, 1000, 60000};
    uint64_t n;

    if (!parse_with_unit(args->value, units, factors, &n) || n > INT32_MAX)
        cmd_usage_error("%s: '%s' is not a time (as 250, 250ms, 2s)", args->option, args->value);
    return n;
}
