/* backup_summary.c: what esdb-backup says at the end. */
#include <inttypes.h>

#include "backup.h"

void cmd_backup_summary(const struct esdb_backup_result *r, const char *what, bool json) {
    struct cmd_out *out = cmd_stdout();
    if (json) {
        cmd_out_printf(out,
                       "{\"end_position\":%" PRIu64 ",\"last_epoch_us\":%" PRIu64 ",\"segments\":%" PRIu64
                       ",\"bytes\":%" PRIu64 ",\"kept\":%" PRIu64 ",\"linked\":%" PRIu64 ",\"cloned\":%" PRIu64
                       ",\"copied\":%" PRIu64 ",\"new_bytes\":%" PRIu64 ",\"incremental\":%s,\"erased\":%" PRIu64 "}\n",
                       r->end_position, r->last_epoch_us, r->segments, r->bytes, r->kept, r->linked, r->cloned,
                       r->copied, r->new_bytes, r->incremental ? "true" : "false", r->erased);
        return;
    }
    cmd_out_printf(out, "%s: %" PRIu64 " events in %" PRIu64 " segment%s, %" PRIu64 " bytes (", what, r->end_position,
                   r->segments, r->segments == 1 ? "" : "s", r->bytes);
    const struct {
        uint64_t n;
        const char *how;
    } parts[] = {{r->kept, "kept"}, {r->linked, "linked"}, {r->cloned, "cloned"}, {r->copied, "copied"}};
    const char *comma = "";
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (parts[i].n) {
            cmd_out_printf(out, "%s%" PRIu64 " %s", comma, parts[i].n, parts[i].how);
            comma = ", ";
        }
    cmd_out_text(out, ")");
    if (r->erased)
        cmd_out_printf(out, ", %" PRIu64 " erased again", r->erased);
    cmd_out_text(out, "\n");
}
