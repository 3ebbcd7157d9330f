/* findings.c: printing what a verification finds. See cmd.h. */
#include <inttypes.h>

#include "cmd.h"

static const char *kind_name(int kind) {
    switch (kind) {
    case ESDB_FINDING_DAMAGE:
        return "damage";
    case ESDB_FINDING_TORN:
        return "torn";
    case ESDB_FINDING_DERIVED:
        return "derived";
    default:
        return "note";
    }
}

void cmd_put_finding(const struct esdb_finding *f, bool json) {
    struct cmd_out *out = cmd_stdout();
    if (json) {
        cmd_out_printf(out, "{\"finding\":\"%s\",\"file\":", kind_name(f->kind));
        cmd_out_json(out, cmd_text(f->file));
        cmd_out_printf(out, ",\"offset\":%" PRIu64 ",\"text\":", f->offset);
        cmd_out_json(out, cmd_text(f->text));
        cmd_out_text(out, "}\n");
    } else {
        cmd_out_color(out, f->kind == ESDB_FINDING_DAMAGE ? CMD_BAD : CMD_WARN);
        cmd_out_text(out, kind_name(f->kind));
        cmd_out_color(out, CMD_PLAIN);
        if (f->file[0]) {
            cmd_out_text(out, ": ");
            cmd_out_plain(out, cmd_text(f->file));
            cmd_out_printf(out, ": %" PRIu64, f->offset);
        }
        cmd_out_text(out, ": ");
        cmd_out_plain(out, cmd_text(f->text));
        cmd_out_text(out, "\n");
    }
    if (out->terminal)
        cmd_out_flush(out);
}
