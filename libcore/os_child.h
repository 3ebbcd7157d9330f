/* os_child.h: the system calls for a helper process and the socket to it. As in os.h: 0 or a count, else -errno. */
#ifndef ES_OS_CHILD_H
#define ES_OS_CHILD_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <sys/uio.h>

struct es_process {
    pid_t pid; /* 0: none */
    int fd;    /* our end of a stream socket, non-blocking; the child has the other one as descriptor 0. -1: none */
    int pidfd; /* names the process for ever, where the kernel has such things; else -1 */
};

/* Starts a program with an empty environment, in a session of its own (signals of a terminal are not for it). The child
 * keeps descriptor 2, so that a loader can complain. -ENOENT: there is no such program. */
int es_process_start(const char *path, struct es_process *out);

/* How it ended: a wait status. Waits at most timeout_ms for that, then kills. -ECHILD when somebody else has asked. */
int es_process_wait(struct es_process *p, int timeout_ms, int *status);

/* Kills it when it runs, collects it and closes all. */
void es_process_release(struct es_process *p);

/* What a socket takes or has: never waits (-EAGAIN), never raises SIGPIPE (-EPIPE). es_socket_receive: 0 at the end. */
ssize_t es_socket_send(int fd, const struct iovec *parts, int count);
ssize_t es_socket_receive(int fd, void *buf, size_t len);

/* poll(2). 0 when time is up. */
int es_poll(struct pollfd *fds, unsigned count, int timeout_ms);

int es_cores(void); /* that this process may use, at least 1 */
pid_t es_process_id(void);
bool es_can_execute(const char *path);

/* The folder of the running program, as "/usr/bin". 0, or -errno (-ENAMETOOLONG when it does not fit). */
int es_program_folder(char *out, size_t room);

#endif
