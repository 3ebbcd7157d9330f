/* snapshot.c: what esdb-snapshot does. */
#include "snapshot.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "format/json.h"
#include "format/limits.h"
#include "internal.h"

/* ---- saving ---- */

/* All of standard input. Exit status, 0 when done. One byte more than the limit is enough to know. */
static int read_state(char **out, size_t *len) {
    size_t room = 64u << 10;
    char *at = cmd_grow(NULL, room);
    ssize_t n = 0;

    if (isatty(0))
        cmd_message("reading the state from the terminal; Ctrl-D ends it");
    *len = 0;
    do {
        if (*len == room)
            at = cmd_grow(at, room *= 2);
        n = read(0, at + *len, room - *len);
        if (n > 0)
            *len += (size_t)n;
    } while ((n > 0 && *len <= FMT_SNAPSHOT_STATE_MAX) || (n < 0 && errno == EINTR));
    *out = at;
    if (n < 0) {
        cmd_message("standard input: %s", strerror(errno));
        return 1;
    }
    return 0;
}

static void place_of(const char *at, size_t offset, uint64_t *line, uint64_t *byte) {
    *line = *byte = 1;
    for (size_t i = 0; i < offset; i++) {
        *byte = at[i] == '\n' ? 1 : *byte + 1;
        *line += at[i] == '\n';
    }
}

/* JSON is JSON, without the white space between its tokens; anything else is bytes. What begins as an object or array and
 * is none was meant to be one. */
static int take_state(const struct cmd_snapshot_request *r, char *at, size_t len, struct esdb_new_snapshot *s) {
    struct fmt_json_value value;
    struct fmt_json_error wrong;
    uint64_t line, byte;
    size_t blank = 0;

    if (len > FMT_SNAPSHOT_STATE_MAX) {
        cmd_message("the state is larger than %u MiB: nothing was saved", FMT_SNAPSHOT_STATE_MAX >> 20);
        return 8;
    }
    s->state = (struct esdb_text){at, len};
    if (r->raw)
        return 0;
    while (blank < len && strchr(" \t\r\n", at[blank]) && at[blank])
        blank++;
    if (blank == len) {
        cmd_message("there is no state on standard input: nothing was saved (--raw saves an empty one)");
        return 8;
    }
    if (fmt_json_scan(at, len, &value, &wrong) == FMT_JSON_OK) {
        char *stripped = cmd_grow(NULL, value.len);

        s->state = (struct esdb_text){stripped, fmt_json_strip(&value, stripped)};
        s->json = true;
        return 0;
    }
    if (at[blank] != '{' && at[blank] != '[')
        return 0;
    place_of(at, wrong.offset, &line, &byte);
    cmd_message("line %" PRIu64 ", byte %" PRIu64 ": %s (--raw saves the state as bytes)", line, byte, wrong.what);
    return 8;
}

/* {"KEY":"VALUE",...}, or nothing. */
static struct esdb_text make_metadata(const struct cmd_snapshot_request *r) {
    size_t room = 2, len = 0;
    char *at;

    if (r->metadata_count == 0)
        return (struct esdb_text){NULL, 0};
    for (size_t i = 0; i < r->metadata_count; i++)
        room += 6 * strlen(r->metadata[i]) + 8;
    at = cmd_grow(NULL, room);
    for (size_t i = 0; i < r->metadata_count; i++) {
        const char *value = strchr(r->metadata[i], '=') + 1;

        at[len++] = i == 0 ? '{' : ',';
        at[len++] = '"';
        len += fmt_json_escape(r->metadata[i], (size_t)(value - 1 - r->metadata[i]), at + len);
        memcpy(at + len, "\":\"", 3);
        len += 3;
        len += fmt_json_escape(value, strlen(value), at + len);
        at[len++] = '"';
    }
    at[len++] = '}';
    return (struct esdb_text){at, len};
}

static void print_receipt(const struct cmd_snapshot_request *r, const struct esdb_new_snapshot *s,
                          const struct esdb_receipt *receipt) {
    struct cmd_out *out = cmd_stdout();

    cmd_out_text(out, "{\"stream_id\":");
    cmd_out_json(out, r->stream);
    cmd_out_printf(out, ",\"version\":%" PRIu64 ",\"position\":%" PRIu64 ",\"epoch_us\":%" PRIu64 ",\"size\":%zu}\n",
                   s->version, receipt->first_position, receipt->epoch_us, s->state.len);
}

int cmd_snapshot_save(esdb *db, const struct cmd_snapshot_request *r) {
    struct esdb_new_snapshot s = {.version = r->version};
    struct esdb_receipt receipt;
    struct esdb_error err = {0};
    char *input = NULL;
    size_t len;
    int status = read_state(&input, &len);

    if (status == 0)
        status = take_state(r, input, len, &s);
    if (status == 0) {
        int rc;

        s.metadata = make_metadata(r);
        rc = esdb_snapshot_save(db, r->stream, &s, &receipt, &err);
        status = rc != 0 ? cmd_report(rc, &err) : 0;
        if (rc == 0 && !r->quiet)
            print_receipt(r, &s, &receipt);
        free((void *)s.metadata.at);
    }
    if (s.state.at != input)
        free((void *)s.state.at);
    free(input);
    return status;
}

/* ---- loading ---- */

static void print_members(struct cmd_out *out, const struct esdb_snapshot *s) {
    cmd_out_printf(out,
                   "\"version\":%" PRIu64 ",\"epoch_us\":%" PRIu64 ",\"position\":%" PRIu64 ",\"size\":%" PRIu64
                   ",\"stored_size\":%" PRIu64 ",\"form\":\"%s\"",
                   s->version, s->epoch_us, s->position, s->size, s->stored_size, s->json ? "json" : "bytes");
    if (s->metadata.at) {
        cmd_out_text(out, ",\"metadata\":");
        cmd_out_stored_json(out, s->metadata);
    }
}

static void print_loaded(const struct cmd_snapshot_request *r, const struct esdb_snapshot *s) {
    struct cmd_out *out = cmd_stdout();

    if (r->json) {
        cmd_out_text(out, "{\"stream_id\":");
        cmd_out_json(out, r->stream);
        cmd_out_text(out, ",");
        print_members(out, s);
        cmd_out_text(out, s->json ? ",\"state\":" : ",\"state_base64\":\"");
    }
    if (s->json)
        cmd_out_stored_json(out, s->state);
    else if (r->json)
        cmd_out_base64(out, s->state);
    else if (out->terminal)
        cmd_out_plain(out, s->state);
    else
        cmd_out_add(out, s->state.at, s->state.len);
    if (r->json)
        cmd_out_text(out, s->json ? "}\n" : "\"}\n");
    else if (s->json)
        cmd_out_text(out, "\n");
}

int cmd_snapshot_load(esdb *db, const struct cmd_snapshot_request *r) {
    struct esdb_snapshot_query q = {.max_version = UINT64_MAX, .as_of = r->as_of, .no_state = r->action == EXISTS};
    struct esdb_snapshot s;
    struct esdb_error err = {0};
    int rc;

    if (r->has_at)
        q.min_version = q.max_version = r->at;
    if (r->has_upto)
        q.max_version = r->upto;
    rc = r->nothing_yet ? ESDB_ENOTFOUND : esdb_snapshot_load(db, r->stream, &q, &s, &err);
    if (rc == ESDB_ENOTFOUND && r->action == EXISTS)
        return 4;
    if (r->nothing_yet) {
        cmd_message("%s: no snapshot at that time", r->stream.at);
        return 4;
    }
    if (rc != 0)
        return cmd_report(rc, &err);
    if (r->action == LOAD)
        print_loaded(r, &s);
    esdb_snapshot_release(&s);
    return 0;
}

/* ---- listing ---- */

static void print_row(struct cmd_out *out, const struct esdb_snapshot *s) {
    char time[CMD_TIME_ROOM];
    size_t len = cmd_put_time(time, s->epoch_us);

    cmd_out_printf(out, "%10" PRIu64 "  %.*s %10" PRIu64 " %10" PRIu64 "  %-5s  ", s->version, (int)len, time, s->size,
                   s->stored_size, s->json ? "json" : "bytes");
    if (s->metadata.at)
        cmd_out_stored_json(out, s->metadata);
    cmd_out_text(out, "\n");
}

int cmd_snapshot_list(esdb *db, const struct cmd_snapshot_request *r) {
    struct cmd_out *out = cmd_stdout();
    struct esdb_snapshot *list = NULL;
    struct esdb_stream_info info;
    struct esdb_error err = {0};
    size_t count = 0;
    bool json = r->json || !out->terminal;
    int rc = r->nothing_yet ? 0 : esdb_snapshots_list(db, r->stream, r->as_of, &list, &count, &err);

    if (rc == 0 && count == 0 && (rc = esdb_stream_info(db, r->stream, &info, NULL)) == ESDB_ENOTFOUND) {
        cmd_message("%s: no such stream", r->stream.at);
        return 4;
    }
    if (rc != 0)
        return cmd_report(rc, &err);
    if (!json) {
        cmd_out_color(out, CMD_DIM);
        cmd_out_printf(out, "%10s  %-32s %10s %10s  %-5s  %s\n", "version", "saved", "size", "stored", "form",
                       "metadata");
        cmd_out_color(out, CMD_PLAIN);
    }
    for (size_t i = 0; i < count; i++) {
        if (!json) {
            print_row(out, &list[i]);
            continue;
        }
        cmd_out_text(out, "{");
        print_members(out, &list[i]);
        cmd_out_text(out, "}\n");
    }
    esdb_snapshots_free(list, count);
    return 0;
}

/* ---- removing ---- */

int cmd_snapshot_remove(esdb *db, const struct cmd_snapshot_request *r) {
    struct esdb_error err = {0};
    size_t count = 0;
    int rc;

    if (r->action == PRUNE)
        rc = esdb_snapshot_prune(db, r->stream, r->keep, &count, &err);
    else
        rc = esdb_snapshot_delete(db, r->stream, r->has_at ? r->at : 0, r->has_at ? r->at : UINT64_MAX, &count, &err);
    if (rc != 0)
        return cmd_report(rc, &err);
    if (!r->quiet) {
        cmd_out_text(cmd_stdout(), "{\"stream_id\":");
        cmd_out_json(cmd_stdout(), r->stream);
        cmd_out_printf(cmd_stdout(), ",\"deleted\":%zu}\n", count);
    }
    return 0;
}
