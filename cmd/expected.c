/* expected.c: the argument of --expect. */
#include <string.h>

#include "append.h"

int64_t cmd_expected(const struct cmd_args *args, const char *text) {
    uint64_t n;

    if (strcmp(text, "any") == 0 || strcmp(text, "-2") == 0)
        return ESDB_ANY;
    if (strcmp(text, "no-stream") == 0 || strcmp(text, "-1") == 0)
        return ESDB_NO_STREAM;
    if (strcmp(text, "exists") == 0)
        return ESDB_EXISTS;
    if (!cmd_parse_number(text, &n) || n > INT64_MAX)
        cmd_usage_error("%s: '%s' is none of any (-2), no-stream (-1), exists, a version", args->option, text);
    return (int64_t)n;
}
