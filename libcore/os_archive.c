#include "os_archive.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os.h"

static int scratch_in(const char *folder) {
    char path[4096];
    int fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0)
        return fd;
    if (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL)
        return -errno;
    int n = snprintf(path, sizeof path, "%s/esdb-XXXXXX", folder); /* a file system without such files */
    if (n < 0 || (size_t)n >= sizeof path)
        return -ENAMETOOLONG;
    fd = mkostemp(path, O_CLOEXEC);
    if (fd >= 0)
        unlink(path);
    return fd < 0 ? -errno : fd;
}

int es_scratch_file(void) {
    const char *given = secure_getenv("TMPDIR");
    if (given && *given)
        return scratch_in(given);
    int fd = scratch_in("/var/tmp");
    return fd < 0 ? scratch_in("/tmp") : fd;
}

static int set_up(posix_spawn_file_actions_t *actions, posix_spawnattr_t *attributes, int in, int out) {
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    int rc = in < 0 ? posix_spawn_file_actions_addopen(actions, 0, "/dev/null", O_RDONLY, 0)
                    : posix_spawn_file_actions_adddup2(actions, in, 0);
    if (rc == 0)
        rc = out < 0 ? posix_spawn_file_actions_addopen(actions, 1, "/dev/null", O_WRONLY, 0)
                     : posix_spawn_file_actions_adddup2(actions, out, 1);
    if (rc == 0)
        rc = posix_spawnattr_setsigmask(attributes, &none);
    if (rc == 0)
        rc = posix_spawnattr_setsigdefault(attributes, &all);
    if (rc == 0)
        rc = posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    return -rc;
}

static int start(const char *script, const char *verb, const char *key, int in, int out, pid_t *pid) {
    extern char **environ;
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    const char *argv[] = {"sh", "-c", script, "esdb-archive", verb, key, NULL};
    int rc = -posix_spawn_file_actions_init(&actions);
    if (rc < 0)
        return rc;
    rc = -posix_spawnattr_init(&attributes);
    if (rc == 0) {
        rc = set_up(&actions, &attributes, in, out);
        if (rc == 0)
            rc = -posix_spawn(pid, "/bin/sh", &actions, &attributes, (char **)(uintptr_t)argv, environ);
        posix_spawnattr_destroy(&attributes);
    }
    posix_spawn_file_actions_destroy(&actions);
    return rc;
}

int es_run_command(const char *command, const char *verb, const char *key, int in, int out, int *status) {
    char *script;
    pid_t pid, rc;
    if ((in >= 0 && lseek(in, 0, SEEK_SET) < 0) || (out >= 0 && lseek(out, 0, SEEK_SET) < 0))
        return -errno;
    if (asprintf(&script, "%s \"$@\"", command) < 0)
        return -ENOMEM;
    int failed = start(script, verb, key, in, out, &pid);
    free(script);
    if (failed < 0)
        return failed;
    do
        rc = waitpid(pid, status, 0);
    while (rc < 0 && errno == EINTR);
    return rc < 0 ? -errno : 0;
}
