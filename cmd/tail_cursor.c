/* tail_cursor.c: --cursor-file: a position kept in a file beside the store, replaced by rename. See tail.h.
 *
 *   esdb-cursor 1 STORE_ID POSITION        everything before POSITION was printed */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tail.h"

static void put_store_id(const esdb *db, char out[33]) {
    struct esdb_settings settings;

    esdb_get_settings(db, &settings);
    for (int i = 0; i < 16; i++)
        snprintf(out + 2 * i, 3, "%02x", settings.store_id[i]);
}

int cmd_tail_cursor_load(const esdb *db, const char *path, bool *found, uint64_t *position) {
    char text[128], expected[64], id[33];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t len = fd >= 0 ? read(fd, text, sizeof text - 1) : -1;
    int error = errno;

    if (fd >= 0)
        close(fd);
    *found = len > 0;
    if (len == 0 || (fd < 0 && error == ENOENT))
        return 0;
    if (len < 0) {
        cmd_message("%s: %s", path, strerror(error));
        return 1;
    }
    put_store_id(db, id);

    size_t head = (size_t)snprintf(expected, sizeof expected, "esdb-cursor 1 %s ", id);

    text[len] = '\0';
    text[strcspn(text, "\n")] = '\0';
    if (strncmp(text, "esdb-cursor 1 ", 14) == 0 && strncmp(text, expected, head) != 0) {
        cmd_message("%s: is the cursor of another store", path);
        return 2;
    }
    if (strncmp(text, expected, head) != 0 || !cmd_parse_number(text + head, position)) {
        cmd_message("%s: is no cursor file", path);
        return 2;
    }
    return 0;
}

int cmd_tail_cursor_save(const esdb *db, const char *path, uint64_t position) {
    char text[128], id[33];
    size_t size = strlen(path) + 8;
    char *temporary = cmd_alloc(size);
    bool ok;

    put_store_id(db, id);

    int len = snprintf(text, sizeof text, "esdb-cursor 1 %s %llu\n", id, (unsigned long long)position);

    snprintf(temporary, size, "%s.tmp", path);

    int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);

    ok = fd >= 0 && write(fd, text, (size_t)len) == len;
    ok = (fd < 0 || close(fd) == 0) && ok && rename(temporary, path) == 0;
    if (!ok) {
        cmd_message("%s: %s", path, strerror(errno));
        if (fd >= 0)
            unlink(temporary);
    }
    free(temporary);
    return ok ? 0 : 1;
}
