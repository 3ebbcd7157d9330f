/* notify.h: tells the service manager how this process is: the protocol of sd_notify(3), so that a unit can have
 * Type=notify and WatchdogSec=. Without $NOTIFY_SOCKET nothing is done. */
#ifndef CMD_NOTIFY_H
#define CMD_NOTIFY_H

/* Sends assignments, a line each: "READY=1", "STOPPING=1", "STATUS=...". Taken as it is: what the manager does not get
 * within a second is lost. Where the socket is was in the environment at the first call of any function here, and is
 * taken out of it then: children speak for themselves only. Not to be called by several threads at once. */
void cmd_notify(const char *state);

/* "WATCHDOG=1" when it is due (each third of $WATCHDOG_USEC); *timeout_ms becomes at most the time until it is due again.
 * To be called once in each round of the loop that would stand still if the process hung. */
void cmd_notify_alive(int *timeout_ms);

#endif
