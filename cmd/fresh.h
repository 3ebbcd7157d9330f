/* fresh.h: options of tools that read a store which may be a copy on this host: how fresh it must be. */
#ifndef CMD_FRESH_H
#define CMD_FRESH_H

#include "cmd.h"

enum { CMD_OPT_CONSISTENT = 900, CMD_OPT_WAIT_FOR, CMD_OPT_FRESH_TIMEOUT };

extern const struct cmd_option cmd_fresh_options[];
#define CMD_GROUP_FRESH \
    { "Replicated stores", cmd_fresh_options }

/* Takes the current option when it is one of the group. Exit 2 when its argument makes no sense. */
bool cmd_fresh_option(int id, const struct cmd_args *args);

/* After the options; and once the store is open: waits as they say. 0, or an exit status after the message. */
void cmd_fresh_check(void);
int cmd_fresh_wait(esdb *db);

#endif
