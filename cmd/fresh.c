#include "fresh.h"

#include <string.h>

#define TIMEOUT_MS 5000
#define TIMEOUT_MAX_MS 3600000

const struct cmd_option cmd_fresh_options[] = {
    {0, "consistent", NULL, "with all that was committed anywhere before now: asks a majority of the nodes",
     CMD_OPT_CONSISTENT},
    {0, "wait-for", "pos:N", "wait until position N, of a receipt of another host, is here", CMD_OPT_WAIT_FOR},
    {0, "timeout", "TIME", "how long to wait for these; then exit 6; default 5s", CMD_OPT_FRESH_TIMEOUT},
    {0, NULL, NULL, NULL, 0},
};

static struct {
    bool consistent, has_position, has_timeout;
    uint64_t position, timeout_ms;
} fresh = {.timeout_ms = TIMEOUT_MS};

bool cmd_fresh_option(int id, const struct cmd_args *args) {
    if (id == CMD_OPT_CONSISTENT)
        fresh.consistent = true;
    else if (id == CMD_OPT_WAIT_FOR) {
        if (strncmp(args->value, "pos:", 4) != 0 || !cmd_parse_number(args->value + 4, &fresh.position))
            cmd_usage_error("%s: '%s' is not pos:N, N a position", args->option, args->value);
        fresh.has_position = true;
    } else if (id == CMD_OPT_FRESH_TIMEOUT) {
        fresh.has_timeout = true;
        fresh.timeout_ms = cmd_milliseconds(args);
        if (fresh.timeout_ms > TIMEOUT_MAX_MS)
            cmd_usage_error("%s: at most 1 hour", args->option);
    } else
        return false;
    return true;
}

void cmd_fresh_check(void) {
    if (fresh.has_timeout && !fresh.consistent && !fresh.has_position)
        cmd_usage_error("--timeout goes with --consistent or --wait-for");
}

int cmd_fresh_wait(esdb *db) {
    uint64_t end = cmd_now_ms() + fresh.timeout_ms;
    struct esdb_error err = {0};
    int rc = fresh.consistent ? esdb_confirm(db, (int)fresh.timeout_ms, &err) : 0;

    if (rc == 0 && fresh.has_position) {
        uint64_t now = cmd_now_ms();

        rc = esdb_wait_position(db, fresh.position, now < end ? (int)(end - now) : 0, &err);
    }
    return rc < 0 ? cmd_report(rc, &err) : 0;
}
