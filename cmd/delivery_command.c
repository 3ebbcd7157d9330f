/* delivery_command.c: the arguments and the environment of a child. No shell ever sees them. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "delivery_inside.h"

extern char **environ;

enum { VARIABLES_MAX = 12, VARIABLES_ROOM = 4096, VALUE_ROOM = 600 };

enum field { POSITION, STREAM_ID, VERSION, EVENT_ID, EVENT_TYPE, EPOCH_US, SUBSCRIPTION, ATTEMPT, SOURCE, FIELDS };

static const struct {
    const char *placeholder, *variable;
} fields[FIELDS] = {
    [POSITION] = {"position", "ESDB_POSITION"},
    [STREAM_ID] = {"stream_id", "ESDB_STREAM_ID"},
    [VERSION] = {"version", "ESDB_VERSION"},
    [EVENT_ID] = {"event_id", "ESDB_EVENT_ID"},
    [EVENT_TYPE] = {"event_type", "ESDB_EVENT_TYPE"},
    [EPOCH_US] = {"epoch_us", "ESDB_EPOCH_US"},
    [SUBSCRIPTION] = {"subscription", "ESDB_SUBSCRIPTION"},
    [ATTEMPT] = {"attempt", "ESDB_ATTEMPT"},
    [SOURCE] = {"source", "ESDB_SOURCE"},
};
/* Of a batch, beside ESDB_SUBSCRIPTION and ESDB_ATTEMPT. */
static const char *const batch_variables[] = {"ESDB_COUNT", "ESDB_FIRST_POSITION", "ESDB_LAST_POSITION"};
enum { BATCH_VARIABLES = 3 };

/* The field's value into `out` (VALUE_ROOM). Returns its length. */
static size_t value(const struct cmd_delivery *d, enum field field, const struct cmd_delivery_event *e, char *out) {
    const char *name = d->o.subscription ? d->o.subscription : "";
    int n = 0;

    switch (field) {
    case POSITION:
        return cmd_put_number(out, e->position);
    case VERSION:
        return cmd_put_number(out, e->version);
    case EPOCH_US:
        return cmd_put_number(out, e->epoch_us);
    case ATTEMPT:
        return cmd_put_number(out, e->attempts);
    case STREAM_ID:
        n = snprintf(out, VALUE_ROOM, "%.*s", (int)e->stream->len, e->stream->name);
        break;
    case EVENT_ID:
        n = snprintf(out, VALUE_ROOM, "%.*s", (int)e->event_id.len, e->event_id.at);
        break;
    case EVENT_TYPE:
        n = snprintf(out, VALUE_ROOM, "%.*s", (int)e->event_type.len, e->event_type.at);
        break;
    case SUBSCRIPTION:
        n = snprintf(out, VALUE_ROOM, "%s", name);
        break;
    case SOURCE:
        n = snprintf(out, VALUE_ROOM, "%s:%llu", name, (unsigned long long)e->position);
        break;
    case FIELDS:
        break;
    }
    return n < 0 ? 0 : n < VALUE_ROOM ? (size_t)n : VALUE_ROOM - 1;
}

/* ---- placeholders ---- */

/* The placeholder "{name}" at `at`: its field and length; FIELDS: it is none. unknown: a name that nobody has. */
static enum field placeholder(const char *at, size_t *len, bool *unknown) {
    size_t n = at[0] == '{' ? strspn(at + 1, "abcdefghijklmnopqrstuvwxyz_") : 0;

    *unknown = false;
    if (n == 0 || at[n + 1] != '}')
        return FIELDS;
    *len = n + 2;
    for (int i = 0; i < FIELDS; i++)
        if (strlen(fields[i].placeholder) == n && memcmp(fields[i].placeholder, at + 1, n) == 0)
            return (enum field)i;
    *unknown = true;
    return FIELDS;
}

/* Why an argument is refused is told; 0 or exit status 2. */
static int check_argument(struct cmd_delivery *d, const char *text) {
    for (const char *at = text; (at = strchr(at, '{')); at++) {
        size_t len = 0;
        bool unknown;
        enum field field;

        d->has_placeholders = true;
        if (at[1] == '{') {
            at++;
            continue;
        }
        field = placeholder(at, &len, &unknown);
        if (unknown) {
            cmd_message("%s: unknown placeholder %.*s; a literal { is written {{", text, (int)len, at);
            return 2;
        }
        if (field == FIELDS)
            continue;
        if ((field == SUBSCRIPTION || field == SOURCE) && !d->o.subscription) {
            cmd_message("%s: %.*s needs --name", text, (int)len, at);
            return 2;
        }
        if (field != SUBSCRIPTION && d->o.mode != CMD_DELIVERY_EVENT) {
            cmd_message("%s: %.*s is for one event; not with --batch and --exec-loop", text, (int)len, at);
            return 2;
        }
    }
    return 0;
}

/* The argument with what stands for its placeholders; owned by the caller. */
static char *expand(const struct cmd_delivery *d, const char *text, const struct cmd_delivery_event *e) {
    size_t used = 0, room = strlen(text) + VALUE_ROOM;
    char *out = cmd_grow(NULL, room);

    while (*text) {
        size_t len = 0;
        bool unknown;
        enum field field = placeholder(text, &len, &unknown);

        if (room - used < VALUE_ROOM + 1)
            out = cmd_grow(out, room *= 2);
        if (text[0] == '{' && text[1] == '{') {
            out[used++] = '{';
            text += 2;
        } else if (field != FIELDS) {
            used += value(d, field, e, out + used);
            text += len;
        } else {
            out[used++] = *text++;
        }
    }
    out[used] = '\0';
    return out;
}

/* ---- the command ---- */

/* 0 when it can be run; else an errno. */
static int try_path(const char *path) {
    struct stat st;

    if (stat(path, &st) != 0)
        return errno;
    if (S_ISDIR(st.st_mode))
        return EACCES;
    return access(path, X_OK) == 0 ? 0 : errno;
}

/* As execvp(3) looks a command up, once, so that a missing one is told before any event is taken. */
static int look_up(const char *name, char **out) {
    const char *path = getenv("PATH");
    int rc = ENOENT;

    if (*name == '\0')
        return ENOENT;
    if (strchr(name, '/')) {
        *out = strdup(name);
        return *out ? try_path(name) : ENOMEM;
    }
    for (path = path ? path : "/usr/bin:/bin";; path++) {
        size_t len = strcspn(path, ":");
        char *full = cmd_alloc(len + strlen(name) + 3);
        int tried;

        snprintf(full, len + strlen(name) + 3, "%.*s/%s", len ? (int)len : 1, len ? path : ".", name);
        if ((tried = try_path(full)) == 0) {
            *out = full;
            return 0;
        }
        free(full);
        if (tried == EACCES)
            rc = EACCES;
        path += len;
        if (*path == '\0')
            return rc;
    }
}

static bool is_ours(const char *entry) {
    size_t len = strcspn(entry, "=");

    for (int i = 0; i < FIELDS; i++)
        if (strlen(fields[i].variable) == len && memcmp(fields[i].variable, entry, len) == 0)
            return true;
    for (int i = 0; i < BATCH_VARIABLES; i++)
        if (strlen(batch_variables[i]) == len && memcmp(batch_variables[i], entry, len) == 0)
            return true;
    return false;
}

int cmd_delivery_command_open(struct cmd_delivery *d) {
    size_t count = 0;
    int rc;

    for (char *const *arg = d->o.argv; *arg; arg++)
        if ((rc = check_argument(d, *arg)) != 0)
            return rc;
    rc = look_up(d->o.argv[0], &d->path);
    if (rc != 0) {
        cmd_message("%s: %s", d->o.argv[0], strerror(rc));
        free(d->path);
        return rc == ENOENT || rc == ENOTDIR ? 127 : 126;
    }
    while (environ[count])
        count++;
    d->env = cmd_alloc((count + VARIABLES_MAX + 1) * sizeof *d->env);
    for (size_t i = 0; i < count; i++)
        if (!is_ours(environ[i]))
            d->env[d->env_count++] = environ[i];
    return 0;
}

void cmd_delivery_command_close(struct cmd_delivery *d) {
    free(d->path);
    free(d->env);
}

/* ---- the environment ---- */

struct variables {
    char **env;
    size_t count, used;
    char room[VARIABLES_ROOM];
};

static void set(struct variables *v, const char *name, const char *text, size_t len) {
    int n = snprintf(v->room + v->used, sizeof v->room - v->used, "%s=%.*s", name, (int)len, text);

    v->env[v->count++] = v->room + v->used;
    v->used += (size_t)n + 1;
    if (v->used > sizeof v->room)
        abort(); /* names and ids have limits far below */
}

static void set_number(struct variables *v, const char *name, uint64_t n) {
    char digits[20];

    set(v, name, digits, cmd_put_number(digits, n));
}

static void set_fields(const struct cmd_delivery *d, struct variables *v, const struct cmd_delivery_event *e) {
    char text[VALUE_ROOM];

    for (int i = 0; i < FIELDS; i++)
        if (d->o.subscription || (i != SUBSCRIPTION && i != SOURCE))
            set(v, fields[i].variable, text, value(d, (enum field)i, e, text));
}

int cmd_delivery_command_spawn(struct cmd_delivery *d, const posix_spawn_file_actions_t *actions,
                               const struct cmd_delivery_list *events, pid_t *pid) {
    struct variables v = {.env = d->env + d->env_count};
    char *const *argv = d->o.argv;
    char **expanded = NULL;
    size_t count = 0;
    int rc;

    if (d->o.mode == CMD_DELIVERY_EVENT) {
        set_fields(d, &v, events->first);
    } else if (d->o.subscription) {
        set(&v, fields[SUBSCRIPTION].variable, d->o.subscription, strlen(d->o.subscription));
    }
    if (d->o.mode == CMD_DELIVERY_BATCH) {
        set_number(&v, batch_variables[0], events->count);
        set_number(&v, batch_variables[1], events->first->position);
        set_number(&v, batch_variables[2], events->last->position);
        set_number(&v, fields[ATTEMPT].variable, events->first->attempts);
    }
    v.env[v.count] = NULL;
    if (d->has_placeholders) {
        while (argv[count])
            count++;
        expanded = cmd_alloc((count + 1) * sizeof *expanded);
        for (size_t i = 0; i < count; i++)
            expanded[i] = expand(d, argv[i], events ? events->first : NULL);
        argv = expanded;
    }
    rc = posix_spawn(pid, d->path, actions, &d->attr, argv, d->env);
    for (size_t i = 0; expanded && i < count; i++)
        free(expanded[i]);
    free(expanded);
    return rc;
}
