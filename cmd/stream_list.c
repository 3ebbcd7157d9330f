/* stream_list.c: esdb-stream list. */
#include <stdlib.h>
#include <string.h>

#include "stream.h"

struct source {
    esdb_stream_list *list;
    struct esdb_stream_info info;
    bool ended;
};

void cmd_stream_put(struct cmd_out *out, const struct esdb_stream_info *s, bool json) {
    if (!json) {
        cmd_out_printf(out, "%10llu %10llu %10llu  ", (unsigned long long)s->count,
                       (unsigned long long)s->first_version, (unsigned long long)s->last_version);
        cmd_out_plain(out, s->stream_id);
        cmd_out_add(out, "\n", 1);
        return;
    }
    cmd_out_text(out, "{\"stream_id\":");
    cmd_out_json(out, s->stream_id);
    cmd_out_text(out, ",\"count\":");
    cmd_out_number(out, s->count);
    cmd_out_text(out, ",\"first_version\":");
    cmd_out_number(out, s->first_version);
    cmd_out_text(out, ",\"last_version\":");
    cmd_out_number(out, s->last_version);
    cmd_out_text(out, "}\n");
}

/* Byte order; a name comes before its extensions. */
static int compare(struct esdb_text a, struct esdb_text b) {
    int order = memcmp(a.at, b.at, a.len < b.len ? a.len : b.len);
    return order ? order : (a.len > b.len) - (a.len < b.len);
}

static int advance(struct source *s, struct esdb_error *err) {
    int rc = esdb_stream_list_next(s->list, &s->info, err);
    s->ended = rc != 0;
    return rc == ESDB_END ? 0 : rc;
}

static struct source *least(struct source *sources, int count) {
    struct source *best = NULL;
    for (int i = 0; i < count; i++)
        if (!sources[i].ended && (!best || compare(sources[i].info.stream_id, best->info.stream_id) < 0))
            best = &sources[i];
    return best;
}

/* Merges the lists of all patterns: each is in order, and a stream that several match is printed once. */
static int merge(struct source *sources, int count, const struct cmd_stream_request *r, uint64_t *printed,
                 struct esdb_error *err) {
    struct cmd_out *out = cmd_stdout();
    int rc = 0;
    for (int i = 0; i < count && rc == 0; i++)
        rc = advance(&sources[i], err);
    for (struct source *s; rc == 0 && !out->failed && (s = least(sources, count)) != NULL;) {
        if (!r->count)
            cmd_stream_put(out, &s->info, r->json);
        if (++*printed == 1)
            cmd_out_flush(out); /* the first line at once, however long the rest takes */
        for (struct source *t = sources; t < sources + count && rc == 0; t++)
            if (t != s && !t->ended && compare(t->info.stream_id, s->info.stream_id) == 0)
                rc = advance(t, err);
        if (rc == 0)
            rc = advance(s, err);
    }
    return rc;
}

int cmd_stream_list(esdb *db, const struct cmd_stream_request *r, char **patterns, int count) {
    struct cmd_out *out = cmd_stdout();
    struct esdb_error err = {0};
    uint64_t printed = 0;
    int opened = 0, rc = 0, wanted = count ? count : 1;
    struct source *sources = cmd_alloc((size_t)wanted * sizeof *sources);

    while (opened < wanted && rc == 0) {
        struct esdb_text pattern = count ? cmd_text(patterns[opened]) : (struct esdb_text){0};
        rc = esdb_stream_list_open(db, pattern, r->flags, &sources[opened].list, &err);
        if (rc == 0)
            opened++;
    }
    if (rc == 0 && !r->json && !r->count) {
        cmd_out_color(out, CMD_DIM);
        cmd_out_printf(out, "%10s %10s %10s  %s\n", "events", "first", "last", "stream");
        cmd_out_color(out, CMD_PLAIN);
    }
    if (rc == 0)
        rc = merge(sources, opened, r, &printed, &err);
    while (opened > 0)
        esdb_stream_list_close(sources[--opened].list);
    free(sources);
    if (rc != 0)
        return cmd_report(rc, &err);
    if (r->count) {
        cmd_out_number(out, printed);
        cmd_out_add(out, "\n", 1);
    }
    return r->exit_status && printed == 0 ? 4 : 0;
}
