/* cmd.c: the process, its messages, and the store to use. See cmd.h. */
#include "cmd.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "format/utf8.h"
#include "internal.h"

/* ---- the process ---- */

static char prefix[40] = "esdb: "; /* "esdb-append: " */
static char bus_text[100];
static size_t bus_len;
volatile sig_atomic_t cmd_stopped;

static void on_bus(int signal) {
    (void)signal;
    if (write(STDERR_FILENO, bus_text, bus_len) < 0)
        _exit(1);
    _exit(1);
}

static void on_stop(int signal) {
    cmd_stopped = signal;
}

void cmd_catch_signals(void) {
    struct sigaction action = {.sa_handler = on_stop}; /* no SA_RESTART: waiting ends */

    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

/* A closed descriptor 0, 1 or 2 would be handed out again for a file of the store, and messages would go into it. */
static void fill_descriptors(void) {
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY) != fd)
            _exit(1);
}

void cmd_begin(const struct cmd_tool *tool, struct cmd_args *args, int argc, char **argv) {
    struct sigaction bus = {.sa_handler = on_bus}, ignore = {.sa_handler = SIG_IGN};

    fill_descriptors();
    snprintf(prefix, sizeof prefix, "%.*s: ", (int)strcspn(tool->name, " "), tool->name);
    bus_len = (size_t)snprintf(bus_text, sizeof bus_text, "%sI/O error while reading the log\n", prefix);
    sigaction(SIGBUS, &bus, NULL);
    sigaction(SIGXFSZ, &ignore, NULL);
    cmd_begin_action(tool, args, argc, argv);
}

void *cmd_alloc(size_t size) {
    void *at = calloc(1, size);

    if (!at) {
        cmd_message("out of memory");
        exit(1);
    }
    return at;
}

void *cmd_grow(void *at, size_t size) {
    at = realloc(at, size);
    if (!at) {
        cmd_message("out of memory");
        exit(1);
    }
    return at;
}

/* ---- messages ---- */

size_t cmd_make_visible(const char *text, size_t len, const char *keep, char *out) {
    static const char hex[] = "0123456789abcdef";
    const char *p = text, *end = text + len;
    char *o = out;

    while (p < end) {
        unsigned char c = (unsigned char)*p;
        int n = 1;
        bool plain = c >= 0x20 && c < 0x7f;

        if (c >= 0x80) {
            n = fmt_utf8_sequence(p, end);
            /* C1 control characters are c2 80 .. c2 9f. */
            plain = n > 0 && !(c == 0xc2 && (unsigned char)p[1] < 0xa0);
            if (n <= 0)
                n = 1;
        } else if (!plain && c != '\0' && strchr(keep, c)) {
            plain = true;
        }
        for (; n > 0; n--, p++) {
            if (plain) {
                *o++ = *p;
                continue;
            }
            *o++ = '\\';
            *o++ = 'x';
            *o++ = hex[(unsigned char)*p >> 4];
            *o++ = hex[*p & 15];
        }
    }
    return (size_t)(o - out);
}

static void write_message(const char *text, size_t len) {
    /* One write, so that messages of several processes do not mix. A failure has nowhere to be told. */
    while (write(STDERR_FILENO, text, len) < 0 && errno == EINTR)
        ;
}

static void message(const char *format, va_list args) {
    char text[1024], line[sizeof prefix + 4 * sizeof text + 1];
    int n = vsnprintf(text, sizeof text, format, args);
    size_t len = n < 0 ? 0 : (size_t)n < sizeof text ? (size_t)n : sizeof text - 1;
    size_t begin = strlen(prefix);

    memcpy(line, prefix, begin);
    len = begin + cmd_make_visible(text, len, "", line + begin);
    line[len++] = '\n';
    write_message(line, len);
}

void cmd_message(const char *format, ...) {
    va_list args;

    va_start(args, format);
    message(format, args);
    va_end(args);
}

void cmd_usage_error(const char *format, ...) {
    va_list args;

    va_start(args, format);
    message(format, args);
    va_end(args);
    cmd_message("try '%s --help'", cmd_tool()->name);
    exit(2);
}

int cmd_report(int code, const struct esdb_error *err) {
    if (code != 0)
        cmd_message("%s", err && err->code != 0 ? err->text : esdb_strerror(code));
    return esdb_exit_status(code);
}

/* ---- the store ---- */

const struct cmd_option cmd_store_options[] = {
    {'S', "store", "STORE", "the store: a directory, or a name from config.yaml; default $ESDB_STORE", CMD_OPT_STORE},
    {0, NULL, NULL, NULL, 0},
};

static const char *store_option;
static const esdb *opened;
static const char *resolved; /* the path for a name from the configuration file; config.c owns it */

bool cmd_store_option(const struct cmd_args *args, int id) {
    if (id != CMD_OPT_STORE)
        return false;
    if (*args->value == '\0')
        cmd_usage_error("%s: the store's name is empty", args->option);
    store_option = args->value;
    return true;
}

void cmd_set_store(const char *path) {
    store_option = path;
}

bool cmd_store_given(void) {
    return store_option != NULL;
}

int cmd_store_path(const char **out) {
    const char *value = store_option ? store_option : getenv("ESDB_STORE");
    struct stat st;
    int status;

    if (!value || *value == '\0') {
        cmd_message("no store given: use -S STORE or set ESDB_STORE");
        return 2;
    }
    *out = value;
    if (strchr(value, '/') || (stat(value, &st) == 0 && S_ISDIR(st.st_mode)))
        return 0;
    if (resolved) {
        *out = resolved;
        return 0;
    }
    status = cmd_config_store(value, out);
    if (status == CMD_CONFIG_FOUND)
        resolved = *out;
    return status == CMD_CONFIG_FOUND ? 0 : status;
}

int cmd_open_store(unsigned flags, esdb **out) {
    struct esdb_error err = {0};
    const char *path;
    int status = cmd_store_path(&path);

    if (status != 0)
        return status;
    status = cmd_report(esdb_open(path, flags, out, &err), &err);
    if (status == 0)
        opened = *out;
    return status;
}

const esdb *cmd_opened_store(void) {
    return opened;
}

void cmd_leave_store(esdb *db) {
#ifdef __SANITIZE_ADDRESS__
    esdb_close(db);
#else
    (void)db;
#endif
}
