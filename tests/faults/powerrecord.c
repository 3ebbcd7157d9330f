/* powerrecord TRACE ROOT -- COMMAND...: runs a command and everything that it starts, and writes to TRACE what they do to
 * the files below ROOT (trace.h). The store lies in ROOT/s. Stores through mmap cannot be seen: the shared page ROOT/s/head
 * is looked at before and after each system call instead. Status: that of the command.
 *
 * In the environment: POWER_KILL_RENAME=SUFFIX: the first process that gives a file a name with that ending is killed
 * there. POWER_KILL_SYNC: the first process that calls fdatasync is killed before that.
 */
#include "check.h"
#include "trace.h"

#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

#ifndef __x86_64__
int main(void) {
    fprintf(stderr, "powerrecord: knows the system calls of x86-64 only\n");
    return 77;
}
#else
#include <linux/ptrace.h>

#define THREADS 1024
#define FILES 8192

struct thread {
    pid_t pid;
    bool inside;
    uint64_t call, args[6];
    uint64_t sync_id;
};

struct file {
    char path[CHECK_PATH]; /* relative to the root; "" when it is gone */
    ino_t inode;
    uint32_t id;
};

static struct thread threads[THREADS];
static struct file files[FILES];
static uint32_t file_count, thread_count;
static char root[CHECK_PATH];
static int out;
static uint64_t next_sync = 1;
static unsigned char head[FMT_HEAD_SIZE];

static void emit(uint32_t type, uint32_t file, uint64_t a, uint64_t b, const void *data, size_t len) {
    struct trace_record r = {type, file, a, b, len};
    struct iovec v[2] = {{&r, sizeof r}, {(void *)data, len}};
    if (writev(out, v, 2) != (ssize_t)(sizeof r + len))
        die("writing the trace");
}

static struct thread *thread_of(pid_t pid) {
    for (uint32_t i = 0; i < thread_count; i++)
        if (threads[i].pid == pid)
            return &threads[i];
    if (thread_count == THREADS)
        thread_count = 0;
    threads[thread_count] = (struct thread){.pid = pid};
    return &threads[thread_count++];
}

/* ---- names ---- */

/* The part of a path below the root; NULL when it is not below. */
static const char *below(const char *path) {
    size_t len = strlen(root);
    if (strncmp(path, root, len) != 0 || (path[len] != '/' && path[len] != '\0'))
        return NULL;
    return path[len] == '/' ? path + len + 1 : "";
}

static struct file *by_inode(ino_t inode) {
    for (uint32_t i = 0; i < file_count; i++)
        if (files[i].inode == inode && files[i].path[0])
            return &files[i];
    return NULL;
}

static struct file *by_path(const char *path) {
    for (uint32_t i = 0; i < file_count; i++)
        if (strcmp(files[i].path, path) == 0)
            return &files[i];
    return NULL;
}

static struct file *new_file(const char *path, ino_t inode) {
    if (file_count == FILES)
        die("too many files");
    struct file *f = &files[file_count++];
    snprintf(f->path, sizeof f->path, "%s", path);
    f->inode = inode;
    f->id = file_count;
    return f;
}

/* What was there before the recording: powerloss reads the same directory in the same order of names. */
static void scan(const char *dir, const char *relative) {
    struct dirent **list;
    int n = scandir(dir, &list, NULL, alphasort);
    for (int i = 0; i < n; i++) {
        char path[CHECK_PATH], name[CHECK_PATH];
        struct stat st;
        if (strcmp(list[i]->d_name, ".") == 0 || strcmp(list[i]->d_name, "..") == 0)
            continue;
        join(path, dir, list[i]->d_name);
        if (relative[0])
            join(name, relative, list[i]->d_name);
        else
            snprintf(name, sizeof name, "%s", list[i]->d_name);
        if (lstat(path, &st) == 0 && S_ISDIR(st.st_mode))
            scan(path, name);
        else
            new_file(name, st.st_ino);
    }
}

static bool read_string(pid_t pid, uint64_t at, char text[CHECK_PATH]) {
    struct iovec here = {text, CHECK_PATH - 1}, there = {(void *)(uintptr_t)at, CHECK_PATH - 1};
    ssize_t n = process_vm_readv(pid, &here, 1, &there, 1, 0);
    if (n <= 0) { /* the string may end just before memory that is not there */
        here.iov_len = there.iov_len = 4096 - at % 4096 < CHECK_PATH - 1 ? 4096 - at % 4096 : CHECK_PATH - 1;
        n = process_vm_readv(pid, &here, 1, &there, 1, 0);
    }
    text[n > 0 ? n : 0] = '\0';
    return n > 0;
}

static void link_of(pid_t pid, const char *what, long fd, char text[CHECK_PATH]) {
    char name[64];
    if (fd >= 0)
        snprintf(name, sizeof name, "/proc/%d/fd/%ld", (int)pid, fd);
    else
        snprintf(name, sizeof name, "/proc/%d/%s", (int)pid, what);
    ssize_t n = readlink(name, text, CHECK_PATH - 1);
    text[n > 0 ? n : 0] = '\0';
}

/* A path argument, relative to the root; NULL when it lies elsewhere. */
static const char *argument(pid_t pid, int dir, uint64_t at, char text[CHECK_PATH]) {
    char given[CHECK_PATH], base[CHECK_PATH];
    if (!read_string(pid, at, given))
        return NULL;
    while (strncmp(given, "./", 2) == 0)
        memmove(given, given + 2, strlen(given + 2) + 1);
    size_t len = strlen(given);
    while (len > 1 && given[len - 1] == '/')
        given[--len] = '\0';
    if (given[0] == '/')
        memcpy(text, given, len + 1);
    else {
        link_of(pid, "cwd", dir == AT_FDCWD ? -1 : dir, base);
        join(text, base, given);
    }
    return below(text);
}

static ino_t inode_of(pid_t pid, uint64_t fd, struct stat *st) {
    char name[64];
    snprintf(name, sizeof name, "/proc/%d/fd/%llu", (int)pid, (unsigned long long)fd);
    return stat(name, st) == 0 ? st->st_ino : 0;
}

/* ---- one system call ---- */

static void look_at_head(void) {
    char path[CHECK_PATH];
    unsigned char now[FMT_HEAD_SIZE];
    join(path, root, "s/head");
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    if (pread(fd, now, sizeof now, 0) == sizeof now && memcmp(now, head, sizeof now) != 0) {
        memcpy(head, now, sizeof now);
        emit(TRACE_HEAD, 0, 0, 0, head, sizeof head);
    }
    close(fd);
}

static void emit_memory(uint32_t type, uint32_t file, uint64_t a, pid_t pid, uint64_t at, size_t len) {
    char *data = malloc(len + 1);
    struct iovec here = {data, len}, there = {(void *)(uintptr_t)at, len};
    if (!data || process_vm_readv(pid, &here, 1, &there, 1, 0) != (ssize_t)len)
        die("reading the memory of a process");
    emit(type, file, a, 0, data, len);
    free(data);
}

static bool is_sync(uint64_t call) {
    return call == SYS_fsync || call == SYS_fdatasync;
}

static void at_entry(struct thread *t) {
    struct stat st;
    if (t->call == SYS_fdatasync && getenv("POWER_KILL_SYNC")) {
        unsetenv("POWER_KILL_SYNC");
        kill(t->pid, SIGKILL);
        return;
    }
    if (t->call == SYS_write && t->args[0] == 1 && (inode_of(t->pid, 1, &st) == 0 || !by_inode(st.st_ino)))
        emit_memory(TRACE_OUTPUT, 0, 0, t->pid, t->args[1], t->args[2]);
    if (!is_sync(t->call) || inode_of(t->pid, t->args[0], &st) == 0)
        return;
    char path[CHECK_PATH];
    link_of(t->pid, NULL, (long)t->args[0], path);
    const char *name = below(path);
    struct file *f = by_inode(st.st_ino);
    t->sync_id = 0;
    if (!f && !(name && S_ISDIR(st.st_mode)))
        return;
    t->sync_id = next_sync++;
    emit(TRACE_SYNC_BEGIN, f ? f->id : 0, t->sync_id, 0, f ? "" : name, f ? 0 : strlen(name) + 1);
}

static void opened(struct thread *t, uint64_t fd, uint64_t flags) {
    char path[CHECK_PATH];
    struct stat st;
    link_of(t->pid, NULL, (long)fd, path);
    const char *name = below(path);
    if (!name || inode_of(t->pid, fd, &st) == 0 || !S_ISREG(st.st_mode))
        return;
    struct file *f = by_path(name);
    if (!f || f->inode != st.st_ino) {
        if (f)
            f->path[0] = '\0';
        f = new_file(name, st.st_ino);
        emit(TRACE_CREATE, f->id, 0, 0, name, strlen(name) + 1);
    }
    if (flags & O_TRUNC)
        emit(TRACE_TRUNC, f->id, 0, 0, "", 0);
}

static void renamed(const struct thread *t, const char *from, const char *to) {
    char both[2 * CHECK_PATH];
    struct file *f = by_path(from), *gone = by_path(to);
    if (!f)
        return;
    size_t n = strlen(from) + 1;
    memcpy(both, from, n);
    memcpy(both + n, to, strlen(to) + 1);
    emit(TRACE_RENAME, f->id, 0, 0, both, n + strlen(to) + 1);
    const char *suffix = getenv("POWER_KILL_RENAME");
    size_t len = strlen(to), end = suffix ? strlen(suffix) : len + 1;
    if (end <= len && strcmp(to + len - end, suffix) == 0) {
        unsetenv("POWER_KILL_RENAME");
        kill(t->pid, SIGKILL);
    }
    if (gone && gone != f)
        gone->path[0] = '\0';
    snprintf(f->path, sizeof f->path, "%s", to);
}

static void changed_name(struct thread *t) {
    char a[CHECK_PATH], b[CHECK_PATH];
    const char *from = NULL, *to = NULL;
    if (t->call == SYS_mkdir || t->call == SYS_mkdirat) {
        from = t->call == SYS_mkdir ? argument(t->pid, AT_FDCWD, t->args[0], a)
                                    : argument(t->pid, (int)t->args[0], t->args[1], a);
        if (from && from[0])
            emit(TRACE_MKDIR, 0, 0, 0, from, strlen(from) + 1);
    } else if (t->call == SYS_unlink || t->call == SYS_unlinkat) {
        from = t->call == SYS_unlink ? argument(t->pid, AT_FDCWD, t->args[0], a)
                                     : argument(t->pid, (int)t->args[0], t->args[1], a);
        struct file *f = from ? by_path(from) : NULL;
        if (f) {
            emit(TRACE_UNLINK, f->id, 0, 0, from, strlen(from) + 1);
            f->path[0] = '\0';
        }
    } else {
        bool plain = t->call == SYS_rename;
        from = argument(t->pid, plain ? AT_FDCWD : (int)t->args[0], t->args[plain ? 0 : 1], a);
        to = argument(t->pid, plain ? AT_FDCWD : (int)t->args[2], t->args[plain ? 1 : 3], b);
        if (from && to)
            renamed(t, from, to);
    }
}

static void at_exit_of(struct thread *t, int64_t result) {
    struct stat st;
    if (is_sync(t->call)) {
        if (t->sync_id)
            emit(TRACE_SYNC_END, 0, t->sync_id, result == 0, "", 0);
        return;
    }
    if (result < 0)
        return;
    struct file *f = NULL;
    switch (t->call) {
    case SYS_open:
        opened(t, (uint64_t)result, t->args[1]);
        break;
    case SYS_openat:
        opened(t, (uint64_t)result, t->args[2]);
        break;
    case SYS_openat2: {
        uint64_t flags = 0;
        struct iovec here = {&flags, 8}, there = {(void *)(uintptr_t)t->args[2], 8};
        if (process_vm_readv(t->pid, &here, 1, &there, 1, 0) == 8)
            opened(t, (uint64_t)result, flags);
        break;
    }
    case SYS_write:
    case SYS_pwrite64:
        if (inode_of(t->pid, t->args[0], &st) && (f = by_inode(st.st_ino)) != NULL)
            emit_memory(TRACE_WRITE, f->id, t->call == SYS_write ? (uint64_t)(st.st_size - result) : t->args[3], t->pid,
                        t->args[1], (size_t)result);
        break;
    case SYS_ftruncate:
    case SYS_fallocate:
        if (inode_of(t->pid, t->args[0], &st) && (f = by_inode(st.st_ino)) != NULL)
            emit(t->call == SYS_ftruncate ? TRACE_TRUNC : TRACE_SIZE, f->id,
                 t->call == SYS_ftruncate ? t->args[1] : t->args[2] + t->args[3], 0, "", 0);
        break;
    case SYS_mkdir:
    case SYS_mkdirat:
    case SYS_unlink:
    case SYS_unlinkat:
    case SYS_rename:
    case SYS_renameat:
    case SYS_renameat2:
        changed_name(t);
        break;
    default:
        break;
    }
}

static void at_stop(pid_t pid) {
    struct ptrace_syscall_info si;
    struct thread *t = thread_of(pid);
    if (ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof si, &si) <= 0)
        return;
    look_at_head();
    if (si.op == PTRACE_SYSCALL_INFO_ENTRY) {
        t->inside = true;
        t->call = si.entry.nr;
        for (int i = 0; i < 6; i++)
            t->args[i] = si.entry.args[i];
        at_entry(t);
    } else if (si.op == PTRACE_SYSCALL_INFO_EXIT && t->inside) {
        t->inside = false;
        at_exit_of(t, si.exit.rval);
    }
}

static int trace(pid_t leader) {
    int status, result = 0;
    waitpid(leader, &status, 0);
    ptrace(PTRACE_SETOPTIONS, leader, 0,
           PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACEEXEC |
               PTRACE_O_EXITKILL);
    ptrace(PTRACE_SYSCALL, leader, 0, 0);
    for (;;) {
        pid_t pid = waitpid(-1, &status, __WALL);
        if (pid < 0)
            return result;
        if (!WIFSTOPPED(status)) {
            if (pid == leader)
                result = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
            continue;
        }
        long deliver = 0;
        int sig = WSTOPSIG(status);
        if (sig == (SIGTRAP | 0x80))
            at_stop(pid);
        else if (sig != SIGTRAP && sig != SIGSTOP)
            deliver = sig;
        ptrace(PTRACE_SYSCALL, pid, 0, deliver);
    }
}

int main(int argc, char **argv) {
    if (argc < 5 || strcmp(argv[3], "--") != 0 || !realpath(argv[2], root)) {
        fprintf(stderr, "usage: powerrecord TRACE ROOT -- COMMAND...\n");
        return 2;
    }
    out = open(argv[1], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (out < 0)
        die(argv[1]);
    scan(root, "");
    look_at_head();
    pid_t leader = fork();
    if (leader < 0)
        die("fork");
    if (leader == 0) {
        ptrace(PTRACE_TRACEME, 0, 0, 0);
        raise(SIGSTOP);
        execvp(argv[4], argv + 4);
        _exit(127);
    }
    return trace(leader);
}
#endif
