/* stream_policy.c: esdb-stream set. */
#include <stdlib.h>

#include "stream.h"

static int print_all(esdb *db) {
    struct cmd_out *out = cmd_stdout();
    struct esdb_error err = {0};
    struct esdb_policy *p;
    size_t count;
    int rc = esdb_policies(db, &p, &count, &err);
    if (rc < 0)
        return cmd_report(rc, &err);
    for (size_t i = 0; i < count; i++) {
        cmd_out_text(out, "{\"pattern\":");
        cmd_out_json(out, p[i].pattern);
        if (p[i].max_age_us)
            cmd_out_printf(out, ",\"max_age_us\":%llu", (unsigned long long)p[i].max_age_us);
        if (p[i].max_count)
            cmd_out_printf(out, ",\"max_count\":%llu", (unsigned long long)p[i].max_count);
        cmd_out_text(out, "}\n");
    }
    free(p);
    return 0;
}

int cmd_stream_policy(esdb *db, const struct cmd_stream_request *r, const char *pattern) {
    struct esdb_error err = {0};
    if (!pattern)
        return print_all(db);
    struct esdb_policy p = {cmd_text(pattern), r->max_age_us, r->max_count};
    int rc = esdb_policy_set(db, &p, &err);
    return rc != 0 ? cmd_report(rc, &err) : 0;
}
