#include "dump.h"

#include <inttypes.h>
#include <string.h>

#include "format/utf8.h"

static void put_key(struct dump *d, const char *key) {
    if (d->json) {
        cmd_out_add(d->out, ",\"", 2);
        cmd_out_text(d->out, key);
        cmd_out_add(d->out, "\":", 2);
        return;
    }
    cmd_out_add(d->out, " ", 1);
    cmd_out_color(d->out, CMD_DIM);
    cmd_out_text(d->out, key);
    cmd_out_add(d->out, "=", 1);
    cmd_out_color(d->out, CMD_PLAIN);
}

void cmd_dump_begin(struct dump *d, uint64_t offset, uint64_t length, const char *what) {
    if (d->json) {
        cmd_out_text(d->out, "{\"file\":");
        cmd_out_json(d->out, cmd_text(d->file));
        cmd_out_printf(d->out, ",\"offset\":%" PRIu64 ",\"length\":%" PRIu64 ",\"what\":\"%s\"", offset, length, what);
        return;
    }
    cmd_out_printf(d->out, "%10" PRIu64 " %10" PRIu64 "  ", offset, length);
    cmd_out_color(d->out, strcmp(what, "damage") == 0 ? CMD_BAD : strcmp(what, "torn") == 0 ? CMD_WARN : CMD_KEY);
    cmd_out_printf(d->out, "%-7s", what);
    cmd_out_color(d->out, CMD_PLAIN);
}

void cmd_dump_end(struct dump *d) {
    cmd_out_text(d->out, d->json ? "}\n" : "\n");
}

void cmd_dump_number(struct dump *d, const char *key, uint64_t value) {
    put_key(d, key);
    cmd_out_number(d->out, value);
}

void cmd_dump_checksum(struct dump *d, const char *key, uint64_t value) {
    put_key(d, key);
    cmd_out_printf(d->out, d->json ? "\"%016" PRIx64 "\"" : "%016" PRIx64, value);
}

void cmd_dump_time(struct dump *d, const char *key, uint64_t epoch_us) {
    put_key(d, key);
    if (d->json || epoch_us == 0) {
        cmd_out_number(d->out, epoch_us);
        return;
    }
    char text[CMD_TIME_ROOM];
    cmd_out_add(d->out, text, cmd_put_time(text, epoch_us));
}

void cmd_dump_hex(struct dump *d, const char *key, const unsigned char *at, size_t len) {
    put_key(d, key);
    if (d->json)
        cmd_out_add(d->out, "\"", 1);
    for (size_t i = 0; i < len; i++)
        cmd_out_printf(d->out, "%02x", at[i]);
    if (d->json)
        cmd_out_add(d->out, "\"", 1);
}

void cmd_dump_uuid(struct dump *d, const char *key, const unsigned char at[16]) {
    char text[37];
    cmd_uuid_text(at, text);
    cmd_dump_text(d, key, text, 36);
}

/* A text that can stand after '=' without quotes. */
static bool is_plain(const char *at, size_t len) {
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)at[i] <= ' ' || at[i] == '"' || at[i] == '\\' || at[i] == 0x7f)
            return false;
    return len > 0;
}

void cmd_dump_text(struct dump *d, const char *key, const char *at, size_t len) {
    bool valid = fmt_utf8_valid(at, len, NULL), controls = valid && fmt_has_control(at, len);
    if (!valid || (controls && d->out->terminal)) {
        char named[64];
        snprintf(named, sizeof named, "%s_hex", key);
        cmd_dump_hex(d, named, (const unsigned char *)at, len);
        return;
    }
    put_key(d, key);
    if (!d->json && is_plain(at, len) && !controls)
        cmd_out_add(d->out, at, len);
    else
        cmd_out_json(d->out, (struct esdb_text){at, len});
}

void cmd_dump_word(struct dump *d, const char *key, const char *value) {
    put_key(d, key);
    if (d->json)
        cmd_out_json(d->out, cmd_text(value));
    else
        cmd_out_text(d->out, value);
}

void cmd_dump_json(struct dump *d, const char *key, struct fmt_text value) {
    if (!d->json)
        return;
    put_key(d, key);
    cmd_out_stored_json(d->out, (struct esdb_text){value.at, value.len});
}

void cmd_dump_damage(struct dump *d, uint64_t offset, uint64_t length, const char *text) {
    d->damaged = true;
    cmd_dump_begin(d, offset, length, "damage");
    cmd_dump_word(d, "text", text);
    cmd_dump_end(d);
}

bool cmd_dump_wanted(const struct dump *d, uint64_t offset, uint64_t length) {
    return length > 0 && offset <= d->to && offset + length - 1 >= d->from;
}
