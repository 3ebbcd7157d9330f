/* archive.c: see archive.h. */
#include "archive.h"

#include <string.h>
#include <strings.h>

static int digit(char c) {
    const char *digits = "0123456789abcdef", *at = c ? strchr(digits, c >= 'A' && c <= 'F' ? c - 'A' + 'a' : c) : NULL;
    return at ? (int)(at - digits) : -1;
}

/* RFC 8089: a path from the root on, with %XX; on this host. */
const char *cmd_archive_where(const struct cmd_args *args) {
    char *at = (char *)args->value, *out = at; /* an argument: ours */
    if (!at || strncasecmp(at, "file:", 5) != 0)
        return at;
    const char *from = at + 5;
    if (strncmp(from, "//localhost/", 12) == 0)
        from += 11;
    else if (strncmp(from, "///", 3) == 0)
        from += 2;
    if (from[0] != '/' || from[1] == '/')
        cmd_usage_error("%s: '%s' names no folder of this host, such as file:/srv/archives", args->option, at);
    for (; *from; from++) {
        int high = *from == '%' ? digit(from[1]) : -1, low = high >= 0 ? digit(from[2]) : -1;
        if (*from == '%' && (low < 0 || high + low == 0))
            cmd_usage_error("%s: a '%%' in a file: URL is followed by two hexadecimal digits", args->option);
        *out++ = *from == '%' ? (char)(high * 16 + low) : *from;
        from += *from == '%' ? 2 : 0;
    }
    *out = '\0';
    return at;
}

int cmd_archive_open(esdb *db, const char *where, unsigned flags, esdb_archive **out) {
    struct esdb_error err = {0};
    int rc = esdb_archive_open(db, where, flags, out, &err);
    return rc < 0 ? cmd_report(rc, &err) : 0;
}
