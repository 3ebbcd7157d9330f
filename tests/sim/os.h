/* os.h: a disk that forgets. libcore's table of system calls is replaced: files lie in a directory of a real file system
 * (best one in memory), and beside them stands what a disk would hold: what was synced. A power loss leaves of everything
 * else an arbitrary part, sector by sector, and of names that were made, renamed or removed without a sync of their
 * directory the first so many. Derived files (indexes, tables, head) are not watched: they are removed. */
#ifndef SIM_OS_H
#define SIM_OS_H

#include "tests/sim/sim.h"

/* Once a process, before anything is opened below `base`, which holds a directory n0, n1, ... for each node. */
void sim_os_install(const char *base);

/* All files of the node's directory are closed, and become what the disk would hold. */
void sim_os_power_loss(struct sim *s, unsigned node);

/* Forgets the node; its directory is removed. */
void sim_os_forget(unsigned node);

/* The power goes just before the node's `calls`-th call from now that would change its disk: that one and all that follow do
 * nothing and fail, until sim_os_power_loss. 0: it does not. */
void sim_os_die(unsigned node, unsigned calls, int error);
enum sim_death sim_os_dead(unsigned node);

#endif
