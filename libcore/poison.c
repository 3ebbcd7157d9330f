#include "poison.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "os.h"
#include "shared_head.h"

struct poison_text {
    const char *what;
    int code;
};

static int fill_poison(void *context, int fd) {
    const struct poison_text *p = context;
    char text[512];
    int n = snprintf(text, sizeof text, "%s: %s (at %llu us since 1970)\n", p->what, strerror(-p->code),
                     (unsigned long long)es_clock_us());
    return es_pwrite(fd, text, (size_t)n, 0);
}

int es_poison(esdb *db, const char *what, int code, struct esdb_error *err) {
    struct poison_text p = {what, code};
    struct stat st;
    if (db->head) /* first: whoever dies from here on has told it */
        es_word_set(&db->head->poisoned, 1);
    if (es_fstatat(db->dir, "poison", &st) == -ENOENT)
        es_create_durably(db, db->dir, "poison", fill_poison, &p); /* on a dying disk even that may fail */
    es_head_wake(db);
    return es_fail(err, ESDB_EPOISONED, "%s: I/O error: %s: %s; appends are refused until esdb-verify --repair",
                   db->path, what, strerror(-code));
}

int es_write_failed(esdb *db, const char *what, int code, struct esdb_error *err) {
    static const int harmless[] = {ENOSPC, EDQUOT, EFBIG, EMFILE, ENFILE, ENOMEM, EACCES, EPERM, EROFS};
    bool lost = true; /* the disk may hold something else than was written */
    for (size_t i = 0; i < sizeof harmless / sizeof *harmless; i++)
        lost = lost && code != -harmless[i];
    if (!lost)
        return es_fail(err, code, "%s: %s; this frame was not written", db->path, what);
    return es_poison(db, what, code, err);
}

int es_check_poison(esdb *db, struct esdb_error *err) {
    int fd = es_openat(db->dir, "poison", O_RDONLY, 0);
    if (fd == -ENOENT && es_head_valid(db) && es_head_poisoned(db)) /* not even the file could be written */
        return es_fail(err, ESDB_EPOISONED,
                       "%s: poisoned by an I/O error; appends are refused until esdb-verify --repair", db->path);
    if (fd == -ENOENT)
        return 0;
    char text[256] = "unreadable";
    if (fd >= 0) {
        ssize_t n = es_pread(fd, text, sizeof text - 1, 0);
        text[n > 0 ? n : 0] = '\0';
        text[strcspn(text, "\n")] = '\0';
        es_close(&fd);
    }
    return es_fail_at(err, ESDB_EPOISONED, "poison", 0,
                      "%s: poisoned by an I/O error: %s; appends are refused until esdb-verify --repair", db->path,
                      text);
}
