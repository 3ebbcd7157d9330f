/* esdb: runs the tools: esdb NAME ... is esdb-NAME ... */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd.h"

static const struct cmd_group groups[] = {{NULL, NULL}};
static const struct cmd_tool tool = {
    .name = "esdb",
    .synopsis = "TOOL [argument...]\nhelp [TOOL]",
    .summary = "an event store made of small programs",
    .examples = "esdb init shop\n"
                "echo '{\"event_type\":\"Placed\",\"data\":{\"total\":12}}' | esdb append -S shop o-1\n"
                "esdb read -S shop o-1",
    .notes = "esdb NAME runs esdb-NAME. 'esdb help' lists the tools, 'esdb help NAME' explains one.",
    .groups = groups,
    .statuses = CMD_STATUS(0) | CMD_STATUS(1) | CMD_STATUS(2),
};

static const struct {
    const char *name, *does;
} tools[] = {
    {"init", "create a store"},
    {"append", "append events from standard input"},
    {"read", "print events"},
    {"tail", "follow streams"},
    {"sub", "durable subscriptions: list, move, remove"},
    {"stream", "list, describe, delete and truncate streams"},
    {"trace", "what caused what"},
    {"snapshot", "keep the state of a stream beside it"},
    {"fold", "make state of events"},
    {"scavenge", "remove old events and give their space back"},
    {"archive", "read and restore what was archived"},
    {"stat", "one page about the store"},
    {"verify", "check a store, repair it, rebuild what is derived"},
    {"backup", "copy a store that is in use, restore a copy"},
    {"diff", "compare the events of two stores"},
    {"dump", "explain the bytes of a store"},
    {"raftd", "keep a store the same on several hosts"},
    {"cluster", "how the nodes of a replicated store do"},
    {"bench", "measure this machine's speed with esdb"},
};
#define TOOLS (sizeof tools / sizeof *tools)

/* Steps from one word to the other: insert, leave out, replace or swap a letter. Words are short. */
static unsigned distance(const char *a, const char *b) {
    enum { MOST = 24 };
    unsigned row[MOST + 2][MOST + 2];
    size_t m = strlen(a), n = strlen(b);

    if (m > MOST || n > MOST)
        return MOST;
    for (size_t i = 0; i <= m; i++)
        for (size_t j = 0; j <= n; j++) {
            if (i == 0 || j == 0) {
                row[i][j] = (unsigned)(i + j);
                continue;
            }
            unsigned best = row[i - 1][j - 1] + (a[i - 1] != b[j - 1]);

            if (row[i - 1][j] + 1 < best)
                best = row[i - 1][j] + 1;
            if (row[i][j - 1] + 1 < best)
                best = row[i][j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && row[i - 2][j - 2] + 1 < best)
                best = row[i - 2][j - 2] + 1;
            row[i][j] = best;
        }
    return row[m][n];
}

static int unknown(const char *name) {
    char near[200] = "";

    for (size_t i = 0; i < TOOLS; i++) {
        size_t len = strlen(near);

        if (distance(name, tools[i].name) <= 2 || (strlen(name) > 1 && strncmp(tools[i].name, name, strlen(name)) == 0))
            snprintf(near + len, sizeof near - len, "%s%s", len > 0 ? ", " : "", tools[i].name);
    }
    cmd_message("there is no tool '%s'", name);
    if (*near)
        cmd_message("did you mean: %s?", near);
    else
        cmd_message("'esdb help' lists the tools");
    return cmd_finish(2);
}

/* Becomes esdb-NAME: from the directory of this program, else from $PATH. Returns only when there is none. */
static int run(const char *name, char **argv) {
    char self[PATH_MAX], path[PATH_MAX + 64], program[64];
    ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);
    const char *slash;

    if (name[strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-")] != '\0' || strlen(name) > sizeof program - 8)
        return unknown(name);
    snprintf(program, sizeof program, "esdb-%s", name);
    argv[0] = program;
    if (len > 0) {
        self[len] = '\0';
        slash = strrchr(self, '/');
        snprintf(path, sizeof path, "%.*s/%s", (int)(slash ? slash - self : 0), self, program);
        execv(path, argv);
    }
    if (len <= 0 || errno == ENOENT)
        execvp(program, argv);
    if (errno == ENOENT || errno == EACCES) /* a folder of PATH that may not be searched: it is not there for us */
        return unknown(name);
    cmd_message("%s: %s", program, strerror(errno));
    return cmd_finish(1);
}

static int list_tools(void) {
    struct cmd_out *out = cmd_stdout();

    cmd_out_text(out, "Usage: esdb TOOL [argument...]\n\nTools:\n");
    for (size_t i = 0; i < TOOLS; i++)
        cmd_out_printf(out, "  %-9s %s\n", tools[i].name, tools[i].does);
    cmd_out_text(out, "\n'esdb help TOOL' explains one; esdb(7) introduces them all.\n");
    return cmd_finish(0);
}

int main(int argc, char **argv) {
    struct cmd_args args;

    cmd_begin(&tool, &args, argc, argv);
    if (argc > 1 && argv[1][0] != '-' && strcmp(argv[1], "help") != 0)
        return run(argv[1], argv + 1);
    if (argc == 3 && strcmp(argv[1], "help") == 0 && argv[2][0] != '-') {
        char help[] = "--help";
        char *words[] = {argv[2], help, NULL};

        return run(argv[2], words);
    }
    if (argc > 3 && strcmp(argv[1], "help") == 0)
        cmd_usage_error("help: one tool at a time");
    while (cmd_next_option(&args) != 0)
        ;
    if (args.count == 0 && argc > 1)
        cmd_usage_error("which tool?");
    if (args.count == 0) {
        cmd_message("which tool? 'esdb help' lists them");
        return cmd_finish(2);
    }
    return list_tools();
}
