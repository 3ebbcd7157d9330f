/* sealer.h: makes the indexes of the segments that an import closes, in a thread of its own beside the one that
 * appends. */
#ifndef CMD_SEALER_H
#define CMD_SEALER_H

#include "libcore/esdb.h"

struct cmd_sealer;

/* For the store that `db` is open on. NULL: it cannot be had; then esdb_append must seal itself. */
struct cmd_sealer *cmd_sealer_start(const esdb *db);

/* There may be something to do. */
void cmd_sealer_poke(struct cmd_sealer *s);

/* Does what is left and ends. NULL is fine. */
void cmd_sealer_stop(struct cmd_sealer *s);

#endif
