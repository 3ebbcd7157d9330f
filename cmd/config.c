/*
 * config.c: names of stores, from the first configuration file there is:
 *
 *   $XDG_CONFIG_HOME/esdb/config.yaml, else ~/.config/esdb/config.yaml; /etc/esdb/config.yaml
 *
 *   stores:
 *     orders: /srv/orders
 *     notes: ~/notes
 *
 * Read with libyaml's event parser. At most 64 KiB; no anchors, aliases or tags. Other keys are an
 * error, so that a misspelt one is noticed.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <yaml.h>

#include "format/limits.h"
#include "internal.h"

/* Where the parser is. */
struct reader {
    const char *file; /* for messages */
    const char *name; /* the store that is looked for */
    char *found;      /* its path; owned */
    unsigned depth;   /* open maps and sequences */
    bool in_stores;   /* inside the map below `stores:` */
    bool is_value;    /* at depth 1 and, in stores, 2: the next scalar is a value */
    bool key_is_stores, key_is_name;
};

static int bad(const struct reader *r, const yaml_event_t *e, const char *what) {
    cmd_message("%s: line %zu: %s", r->file, e->start_mark.line + 1, what);
    return 2;
}

static int take_scalar(struct reader *r, const yaml_event_t *e) {
    const char *text = (const char *)e->data.scalar.value;
    size_t len = e->data.scalar.length;

    if (e->data.scalar.anchor || e->data.scalar.tag)
        return bad(r, e, "anchors and tags are not allowed");
    if (memchr(text, '\0', len))
        return bad(r, e, "a NUL character");
    if (r->depth == 1 && !r->is_value) {
        r->key_is_stores = strcmp(text, "stores") == 0;
        if (!r->key_is_stores) {
            char what[80];

            snprintf(what, sizeof what, "unknown key '%.40s': only 'stores' is known", text);
            return bad(r, e, what);
        }
    } else if (r->depth == 1 && r->key_is_stores && len > 0) {
        return bad(r, e, "stores: must be a map of names to paths");
    } else if (r->in_stores && r->depth == 2) {
        if (r->is_value && r->key_is_name) {
            if (text[0] != '/' && strncmp(text, "~/", 2) != 0)
                return bad(r, e, "the path of a store must begin with '/' or '~/'");
            free(r->found);
            r->found = strdup(text);
        } else if (!r->is_value) {
            r->key_is_name = strcmp(text, r->name) == 0;
        }
    }
    r->is_value = !r->is_value;
    return 0;
}

static int open_collection(struct reader *r, const yaml_event_t *e, bool is_map, bool decorated) {
    if (decorated)
        return bad(r, e, "anchors and tags are not allowed");
    if (r->depth == 0 && !is_map)
        return bad(r, e, "must be a map");
    if (r->depth == 1 && r->key_is_stores) {
        if (!is_map)
            return bad(r, e, "stores: must be a map of names to paths");
        r->in_stores = true;
    } else if (r->in_stores && r->depth == 2) {
        return bad(r, e, "stores: must be a map of names to paths");
    }
    r->depth++; /* 2 at most: `stores` and its map */
    r->is_value = false;
    return 0;
}

static void close_collection(struct reader *r) {
    r->depth--;
    if (r->depth == 1)
        r->in_stores = false;
    r->is_value = false; /* what was closed was a value */
}

/* 0, or 2 after the message. */
static int take_event(struct reader *r, const yaml_event_t *e) {
    switch (e->type) {
    case YAML_SCALAR_EVENT:
        return take_scalar(r, e);
    case YAML_MAPPING_START_EVENT:
        return open_collection(r, e, true, e->data.mapping_start.anchor || e->data.mapping_start.tag);
    case YAML_SEQUENCE_START_EVENT:
        return open_collection(r, e, false, e->data.sequence_start.anchor || e->data.sequence_start.tag);
    case YAML_MAPPING_END_EVENT:
    case YAML_SEQUENCE_END_EVENT:
        close_collection(r);
        return 0;
    case YAML_ALIAS_EVENT:
        return bad(r, e, "aliases are not allowed");
    default:
        return 0;
    }
}

static int parse(struct reader *r, const char *text, size_t len) {
    yaml_parser_t parser;
    yaml_event_t event;
    int status = 0;

    if (!yaml_parser_initialize(&parser)) {
        cmd_message("out of memory");
        return 1;
    }
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, len);
    for (bool end = false; !end && status == 0;) {
        if (!yaml_parser_parse(&parser, &event)) {
            bool no_memory = parser.error == YAML_MEMORY_ERROR;
            cmd_message("%s: line %zu: %s", r->file, parser.problem_mark.line + 1,
                        no_memory        ? strerror(ENOMEM)
                        : parser.problem ? parser.problem
                                         : "not YAML");
            status = no_memory ? 1 : 2;
            break;
        }
        end = event.type == YAML_STREAM_END_EVENT;
        status = take_event(r, &event);
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
    return status;
}

/* Reads the file into `text`, which has room for one byte more than a file may have. Its length; -1: there is none;
 * -2: an error, after the message. */
static ssize_t read_file(const char *file, char *text) {
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    size_t len = 0;

    if (fd < 0) {
        if (errno == ENOENT || errno == ENOTDIR)
            return -1;
        cmd_message("%s: %s", file, strerror(errno));
        return -2;
    }
    while (len <= FMT_SETTINGS_SIZE_MAX) {
        ssize_t n = read(fd, text + len, FMT_SETTINGS_SIZE_MAX + 1 - len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            cmd_message("%s: %s", file, strerror(errno));
            close(fd);
            return -2;
        }
        if (n == 0)
            break;
        len += (size_t)n;
    }
    close(fd);
    if (len > FMT_SETTINGS_SIZE_MAX) {
        cmd_message("%s: larger than 64 KiB", file);
        return -2;
    }
    return (ssize_t)len;
}

static char *found; /* what cmd_config_store() gave out */

void cmd_config_release(void) {
    free(found);
    found = NULL;
}

/* `path` is taken over. */
static char *expand_home(char *path) {
    const char *home = getenv("HOME");
    char *out;

    if (strncmp(path, "~/", 2) != 0 || !home)
        return path;
    out = cmd_alloc(strlen(home) + strlen(path));
    snprintf(out, strlen(home) + strlen(path), "%s%s", home, path + 1);
    free(path);
    return out;
}

int cmd_config_store(const char *name, const char **out) {
    char files[2][PATH_MAX] = {"", "/etc/esdb/config.yaml"};
    const char *base = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    char *text = cmd_alloc(FMT_SETTINGS_SIZE_MAX + 1);
    int status = 0;

    if (base && base[0] == '/')
        snprintf(files[0], sizeof files[0], "%s/esdb/config.yaml", base);
    else if (home && home[0] == '/')
        snprintf(files[0], sizeof files[0], "%s/.config/esdb/config.yaml", home);
    for (int i = 0; i < 2; i++) {
        struct reader r = {.file = files[i], .name = name};
        ssize_t len = files[i][0] ? read_file(files[i], text) : -1;

        if (len == -1)
            continue;
        status = len < 0 ? 2 : parse(&r, text, (size_t)len);
        if (status == 0 && r.found) {
            *out = found = expand_home(r.found);
            status = CMD_CONFIG_FOUND;
        } else {
            free(r.found);
        }
        break;
    }
    free(text);
    return status;
}
