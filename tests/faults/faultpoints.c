/* faultpoints: runs a tool again and again, each time with one fault at another system call, and examines the store after
 * each run.
 *
 *   faultpoints [-m MODE] [-e ERRNO] [-s SETUP] [-k KIND] [-i FILE] [-n SAMPLES] [-o EVERY] [-r SEED] [-c PROGRAM]
 *               TEMPLATE WORK -- TOOL ARG...
 *
 * TEMPLATE is a store that is copied to WORK/store before each run, or "-" for none; {} in an ARG stands for that copy.
 * MODE   kill   SIGKILL at the entry and at the exit of every system call
 *        step   SIGKILL after some single instructions that follow a system call: inside sections of shared memory
 *        error  the call fails with ERRNO (EIO, ENOSPC), without having been made; only calls that change files
 *        evict  as error with EIO for the syncs alone, and what was not synced before is gone from the file afterwards
 *        limbo  a sync fails, and the process is killed before it can tell anybody. The kernel has dropped what was not
 *               written and reports nothing more. The tool runs again; then the power goes: the disk holds what was synced
 *               before, and what the second run has written itself
 *        short  reads and writes are cut to half their length
 *        eintr  the call fails with EINTR once
 * SETUP  before each run, separated by commas: warm (an append makes head valid), zero (head is zeroed), torn (an
 *        unfinished frame lies at the tail), poison (an I/O error was recorded); between (limbo: head is zeroed before
 *        the second run)
 * KIND   what is examined: store, create (the store is being made), repair, rebuild (esdb-verify does that), scavenge
 *        (events go: PROGRAM alone examines the store)
 * EVERY  of so many calls one is tried (1: all), in steps that differ by SEED
 * PROGRAM  run as PROGRAM before, and PROGRAM after, in WORK: makes what the tool needs beside the store; examines what it
 *        has made there, and prints what is wrong
 *
 * Prints the number of faults and of bad outcomes; each bad one on stderr. Status 0 when none was bad.
 */
#include "check.h"

#include <signal.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>

#ifndef __x86_64__
int main(void) {
    fprintf(stderr, "faultpoints: knows the registers of x86-64 only\n");
    return 77;
}
#else
/* After the system headers, whose names it redefines. */
#include <linux/ptrace.h>

enum mode { KILL, STEP, ERROR, EVICT, LIMBO, SHORT, EINTR_ONCE };
enum kind { STORE, CREATE, REPAIR, REBUILD, SCAVENGE };

struct plan {
    enum mode mode;
    enum kind kind;
    int error;
    const char *setup, *input, *template, *work, *program;
    unsigned samples, every;
    char **argv;
    char store[CHECK_PATH], out[CHECK_PATH], err[CHECK_PATH];
    size_t full_acks; /* receipts of a run without a fault */
};

/* A file as the disk has it. */
struct kept {
    ino_t inode;
    unsigned char *bytes; /* owned */
    size_t len;
};
#define KEPT_MAX 16

/* Part of a file that was written. */
struct region {
    off_t at;
    size_t len;
};
#define REGIONS_MAX 256

/* One run: what to do, and what happened. */
struct run {
    long target;  /* fault at this stop (counted from 1); 0: none */
    long steps;   /* STEP: instructions after it */
    bool at_exit; /* KILL: at the exit of the call */
    long stops;   /* eligible calls seen */
    bool fired;
    long long call;             /* number of the system call that was hit */
    int status;                 /* as of waitpid, of the leader */
    struct kept kept[KEPT_MAX]; /* EVICT: the files as they were last synced */
    size_t kept_count;
    ino_t evicted; /* the file whose sync failed */
    ino_t watched; /* LIMBO: the file whose writes are noted */
    struct region regions[REGIONS_MAX];
    size_t region_count;
};

/* ---- which calls ---- */

static bool changes_files(long long call) {
    switch (call) {
    case SYS_write:
    case SYS_pwrite64:
    case SYS_writev:
    case SYS_pwritev:
    case SYS_fdatasync:
    case SYS_fsync:
    case SYS_ftruncate:
    case SYS_fallocate:
    case SYS_rename:
    case SYS_renameat:
    case SYS_renameat2:
    case SYS_unlinkat:
    case SYS_mkdir:
    case SYS_mkdirat:
    case SYS_linkat:
        return true;
    default:
        return false;
    }
}

static bool is_transfer(long long call) {
    return call == SYS_read || call == SYS_pread64 || call == SYS_write || call == SYS_pwrite64;
}

/* Shared memory is changed between these and the next call. */
static bool precedes_section(long long call) {
    return call == SYS_pwrite64 || call == SYS_fdatasync || call == SYS_mmap || call == SYS_renameat ||
           call == SYS_getrandom;
}

/* Files outside the store, as the dynamic loader's, stay whole; so does stderr. */
static bool is_ours(pid_t pid, long long fd) {
    char link[64], path[CHECK_PATH];
    if (fd == 0 || fd == 1)
        return true;
    snprintf(link, sizeof link, "/proc/%d/fd/%lld", (int)pid, fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    path[n > 0 ? n : 0] = '\0';
    return fd != 2 && strstr(path, "/store") != NULL;
}

static bool eligible(const struct plan *p, pid_t pid, const struct ptrace_syscall_info *si) {
    long long call = (long long)si->entry.nr;
    switch (p->mode) {
    case KILL:
        return true;
    case STEP:
        return precedes_section(call);
    case EVICT:
    case LIMBO:
        return call == SYS_fdatasync;
    case ERROR:
        if (call == SYS_write || call == SYS_pwrite64 || call == SYS_fdatasync || call == SYS_fsync ||
            call == SYS_ftruncate || call == SYS_fallocate)
            return is_ours(pid, (long long)si->entry.args[0]) &&
                   (p->error != ENOSPC || (call != SYS_fdatasync && call != SYS_fsync && call != SYS_ftruncate));
        return p->error == EIO && changes_files(call);
    case SHORT:
        return is_transfer(call) && si->entry.args[2] > 1 && is_ours(pid, (long long)si->entry.args[0]);
    case EINTR_ONCE:
        return (is_transfer(call) || call == SYS_fdatasync || call == SYS_fsync || call == SYS_fallocate ||
                call == SYS_ftruncate || call == SYS_openat2) &&
               (call == SYS_openat2 || is_ours(pid, (long long)si->entry.args[0]));
    }
    return false;
}

/* ---- tracing one run ---- */

static void start(const struct plan *p, char **argv) {
    int in = open(p->input ? p->input : "/dev/null", O_RDONLY);
    int out = open(p->out, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0644);
    int err = open(p->err, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0644);
    if (in < 0 || out < 0 || err < 0)
        die("opening the tool's files");
    dup2(in, 0);
    dup2(out, 1);
    dup2(err, 2);
    close(in);
    close(out);
    close(err);
    ptrace(PTRACE_TRACEME, 0, 0, 0);
    raise(SIGSTOP);
    execv(argv[0], argv);
    _exit(127);
}

/* The last segment's path. */
static bool last_segment(const char *store, char out[CHECK_PATH]) {
    char dir[CHECK_PATH], best[64] = "";
    join(dir, store, "log");
    DIR *d = opendir(dir);
    struct dirent *e;
    while (d && (e = readdir(d)) != NULL)
        if (strlen(e->d_name) == 20 && strcmp(e->d_name + 16, ".log") == 0 && strcmp(e->d_name, best) > 0)
            snprintf(best, sizeof best, "%.20s", e->d_name);
    if (d)
        closedir(d);
    snprintf(out, CHECK_PATH, "%.400s/%s", dir, best);
    return best[0] != '\0';
}

/* Keeps what the file holds now: that much is on the disk. Returns its inode. */
static ino_t keep_synced(struct run *r, const char *path) {
    struct stat st;
    size_t i = 0;
    if (stat(path, &st) < 0 || !S_ISREG(st.st_mode))
        return 0;
    while (i < r->kept_count && r->kept[i].inode != st.st_ino)
        i++;
    if (i == KEPT_MAX)
        return 0;
    if (i == r->kept_count)
        r->kept_count++;
    free(r->kept[i].bytes);
    r->kept[i].inode = st.st_ino;
    r->kept[i].bytes = slurp(path, &r->kept[i].len);
    return st.st_ino;
}

static void file_of(pid_t pid, long long fd, char out[64]) {
    snprintf(out, 64, "/proc/%d/fd/%lld", (int)pid, fd);
}

/* The call is not made; its exit says `error`. */
static void skip_call(pid_t pid, struct user_regs_struct *regs) {
    regs->orig_rax = (unsigned long long)-1;
    ptrace(PTRACE_SETREGS, pid, 0, regs);
}

static void inject(const struct plan *p, struct run *r, pid_t pid) {
    struct user_regs_struct regs;
    int status;
    ptrace(PTRACE_GETREGS, pid, 0, &regs);
    if (p->mode == SHORT) {
        regs.rdx /= 2;
        ptrace(PTRACE_SETREGS, pid, 0, &regs);
        return;
    }
    skip_call(pid, &regs);
    ptrace(PTRACE_SYSCALL, pid, 0, 0);
    if (waitpid(pid, &status, __WALL) != pid || !WIFSTOPPED(status))
        return;
    ptrace(PTRACE_GETREGS, pid, 0, &regs);
    regs.rax = (unsigned long long)-(p->mode == EINTR_ONCE                  ? EINTR
                                     : p->mode == EVICT || p->mode == LIMBO ? EIO
                                                                            : p->error);
    ptrace(PTRACE_SETREGS, pid, 0, &regs);
    (void)r;
}

static void step(struct run *r, pid_t pid) {
    int status;
    for (long i = 0; i < r->steps; i++) {
        if (ptrace(PTRACE_SINGLESTEP, pid, 0, 0) < 0 || waitpid(pid, &status, __WALL) != pid || !WIFSTOPPED(status))
            return;
    }
}

static void kill_all(pid_t leader, struct run *r) {
    kill(leader, SIGKILL);
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, __WALL)) > 0)
        if (pid == leader)
            r->status = status;
}

static void note_write(struct run *r, const char *file, const struct ptrace_syscall_info *si) {
    struct stat st;
    if (si->entry.nr == SYS_pwrite64 && stat(file, &st) == 0 && st.st_ino == r->watched &&
        r->region_count < REGIONS_MAX)
        r->regions[r->region_count++] = (struct region){(off_t)si->entry.args[3], (size_t)si->entry.args[2]};
}

/* A stop at a system call. True when the run ends here. */
static bool at_call(const struct plan *p, struct run *r, pid_t pid, pid_t leader, bool *pending) {
    struct ptrace_syscall_info si;
    if (ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof si, &si) <= 0)
        return false;
    if (si.op == PTRACE_SYSCALL_INFO_ENTRY) {
        char file[64];
        file_of(pid, (long long)si.entry.args[0], file);
        bool counts = eligible(p, pid, &si);
        if (counts && ++r->stops == r->target) {
            struct stat st;
            r->call = (long long)si.entry.nr;
            r->fired = true;
            r->evicted = (p->mode == EVICT || p->mode == LIMBO) && stat(file, &st) == 0 ? st.st_ino : 0;
            if (p->mode == KILL && !r->at_exit)
                return true;
            *pending = p->mode == KILL || p->mode == STEP;
            if (!*pending)
                inject(p, r, pid);
            if (p->mode == LIMBO)
                return true;
        } else if (r->watched)
            note_write(r, file, &si);
        else if ((p->mode == EVICT || p->mode == LIMBO) && (si.entry.nr == SYS_fdatasync || si.entry.nr == SYS_fsync))
            keep_synced(r, file);
        return false;
    }
    if (si.op != PTRACE_SYSCALL_INFO_EXIT || !*pending)
        return false;
    if (p->mode == STEP)
        step(r, pid);
    (void)leader;
    return true;
}

static void run_tool(const struct plan *p, struct run *r) {
    char *argv[32];
    int n = 0, status;
    for (; p->argv[n] && n < 31; n++)
        argv[n] = strcmp(p->argv[n], "{}") == 0 ? (char *)p->store : p->argv[n];
    argv[n] = NULL;
    pid_t leader = fork();
    if (leader < 0)
        die("fork");
    if (leader == 0)
        start(p, argv);
    waitpid(leader, &status, 0);
    ptrace(PTRACE_SETOPTIONS, leader, 0,
           PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL);
    ptrace(PTRACE_SYSCALL, leader, 0, 0);
    bool running = false, pending = false;
    pid_t hit = 0;
    for (;;) {
        pid_t pid = waitpid(-1, &status, __WALL);
        if (pid < 0)
            return;
        if (!WIFSTOPPED(status)) {
            if (pid == leader)
                r->status = status;
            continue;
        }
        long deliver = 0;
        int sig = WSTOPSIG(status);
        if (sig == SIGTRAP && status >> 16 == PTRACE_EVENT_EXEC)
            running = true;
        else if (sig == (SIGTRAP | 0x80)) {
            bool was_pending = pending;
            if (running && (!pending || pid == hit) && at_call(p, r, pid, leader, &pending)) {
                kill_all(leader, r);
                return;
            }
            if (pending && !was_pending)
                hit = pid;
        } else if (sig != SIGTRAP && sig != SIGSTOP)
            deliver = sig;
        ptrace(PTRACE_SYSCALL, pid, 0, deliver);
    }
}

/* ---- before and after ---- */

static bool wants(const struct plan *p, const char *what) {
    return strstr(p->setup, what) != NULL;
}

/* Half a frame at the tail, as a writer leaves it that died while the page cache was full of it. */
static void tear_tail(const char *store) {
    char path[CHECK_PATH];
    size_t len;
    join(path, store, "head");
    unsigned char *bytes = slurp(path, &len);
    struct fmt_head head;
    if (!bytes || len != sizeof head)
        die(path);
    memcpy(&head, bytes, sizeof head);
    free(bytes);
    const struct fmt_mark *m = &head.appended_mark[head.appended_mark[1].index > head.appended_mark[0].index];
    char file[64], name[CHECK_PATH], half[6000]; /* longer than what the next append will write */
    memset(half, 0x5a, sizeof half);
    snprintf(file, sizeof file, "log/%016" PRIx64 ".log", m->segment);
    join(name, store, file);
    int fd = open(name, O_RDWR);
    if (fd < 0 || pread(fd, half, 200, (off_t)m->frame_offset) != 200 ||
        pwrite(fd, half, sizeof half, (off_t)m->end_offset) != sizeof half)
        die(name);
    close(fd);
}

/* The program of -c; its status. */
static int run_program(const struct plan *p, const char *argument) {
    int status;
    fflush(NULL);
    pid_t pid = fork();
    if (pid < 0)
        die("fork");
    if (pid == 0) {
        if (chdir(p->work) == 0)
            execl(p->program, p->program, argument, (char *)NULL);
        die(p->program);
    }
    waitpid(pid, &status, 0);
    return status;
}

static void prepare(const struct plan *p) {
    char path[CHECK_PATH];
    remove_tree(p->store);
    if (strcmp(p->template, "-") == 0)
        return;
    copy_tree(p->template, p->store);
    if (p->program && run_program(p, "before") != 0)
        die(p->program);
    if (wants(p, "warm"))
        warm_up(p->store);
    if (wants(p, "torn"))
        tear_tail(p->store);
    join(path, p->store, "head");
    if (wants(p, "zero")) {
        char zeros[FMT_HEAD_SIZE] = {0};
        spill(path, zeros, sizeof zeros, false);
    }
    if (wants(p, "poison")) {
        unlink(path);
        join(path, p->store, "poison");
        spill(path, "a test\n", 7, true);
    }
}

static bool exists(const char *store, const char *name) {
    char path[CHECK_PATH];
    join(path, store, name);
    return access(path, F_OK) == 0;
}

/* What was lost with the failed sync: everything in that file since the last one that worked, but what `later` has written
 * itself. */
static void evict(const struct plan *p, const struct run *r, const struct run *later) {
    char dir[CHECK_PATH], path[CHECK_PATH];
    struct stat st;
    struct dirent *e;
    size_t len;
    join(dir, p->store, "log");
    DIR *d = opendir(dir);
    while (d && (e = readdir(d)) != NULL) {
        join(path, dir, e->d_name);
        for (size_t i = 0; i < r->kept_count; i++) {
            const struct kept *k = &r->kept[i];
            if (k->inode != r->evicted || stat(path, &st) < 0 || st.st_ino != k->inode)
                continue;
            unsigned char *was = slurp(path, &len), *now = calloc(1, len + 1);
            memcpy(now, k->bytes, k->len < len ? k->len : len);
            for (size_t j = 0; later && j < later->region_count; j++) {
                size_t at = (size_t)later->regions[j].at, n = later->regions[j].len;
                if (at < len)
                    memcpy(now + at, was + at, at + n <= len ? n : len - at);
            }
            spill(path, now, len, false);
            free(was);
            free(now);
        }
    }
    if (d)
        closedir(d);
}

static int examine_create(const struct plan *p, const struct ack_list *acks) {
    struct esdb_settings s = {.segment_size = 65536};
    struct esdb_error err = {0};
    int rc = esdb_create(p->store, &s, &err);
    if (rc < 0 && rc != -EEXIST)
        return check_fail("creating again: %s", err.text);
    return check_store(p->store, acks, NULL);
}

static size_t count_after(const struct seen_log *l) {
    size_t n = 0;
    for (size_t i = 0; i < l->count; i++)
        n += l->at[i].stream == hash_name("after");
    return n;
}

/* After an I/O error: readers go on, appends are refused, repair lifts that. */
static int examine_poison(const struct plan *p, const struct seen_log *before) {
    struct seen_log l = {0};
    struct esdb_error err = {0};
    uint64_t position;
    if (read_store(p->store, ESDB_READ, &l) != 0)
        return -1;
    size_t had = l.count;
    seen_release(&l);
    if (p->kind == REBUILD) /* head was being made anew: a frame that no later one proves cannot be shown */
        had++;
    if (before && had < before->count)
        return check_fail("a poisoned store shows %zu events of %zu that were there", had, before->count);
    if (append_works(p->store, &position) == 0)
        return check_fail("a poisoned store takes an append");
    if (esdb_repair(p->store, &err) < 0)
        return check_fail("repair: %s", err.text);
    if (read_store(p->store, ESDB_READ, &l) != 0)
        return -1;
    size_t written = count_after(&l);
    seen_release(&l);
    if (written > (wants(p, "warm") ? 1 : 0))
        return check_fail("what a poisoned store has refused is there all the same");
    return exists(p->store, "poison") ? check_fail("repair leaves the poison") : 0;
}

static int examine_status(const struct plan *p, const struct run *r, const struct ack_list *acks) {
    struct stat st;
    if (p->mode == KILL || p->mode == STEP)
        return 0;
    if (WIFSIGNALED(r->status))
        return check_fail("the tool died by signal %d", WTERMSIG(r->status));
    int status = WEXITSTATUS(r->status);
    if (p->mode == SHORT || p->mode == EINTR_ONCE) {
        if (status != 0)
            return check_fail("exit status %d", status);
        return acks->count == p->full_acks ? 0 : check_fail("%zu receipts of %zu", acks->count, p->full_acks);
    }
    if (status != 0 && (stat(p->err, &st) < 0 || st.st_size == 0))
        return check_fail("exit status %d without a message", status);
    if (status != 0 && status != 1 && status != 10)
        return check_fail("exit status %d", status);
    if (p->mode == EVICT && status == 0)
        return check_fail("a failed sync, and exit status 0");
    if (p->mode == ERROR && p->error == ENOSPC && p->kind != REPAIR && exists(p->store, "poison"))
        return check_fail("a full disk poisons the store");
    return 0;
}

static void take_acks(const struct plan *p, struct ack_list *acks) {
    size_t len;
    unsigned char *out = slurp(p->out, &len);
    if (out)
        acks_from(acks, (const char *)out);
    free(out);
}

static int examine(const struct plan *p, const struct run *r, const struct seen_log *before) {
    struct ack_list acks = {0};
    struct esdb_error err = {0};
    take_acks(p, &acks);
    int bad = examine_status(p, r, &acks);
    if (bad)
        return bad;
    if (p->mode == EVICT)
        evict(p, r, NULL);
    if (p->program && run_program(p, "after") != 0)
        return check_fail("%s after it: bad", p->program);
    if (p->kind == SCAVENGE)
        return 0;
    if (p->kind == CREATE)
        return examine_create(p, &acks);
    if (p->kind == REPAIR && esdb_repair(p->store, &err) < 0)
        return check_fail("repairing again: %s", err.text);
    if ((p->mode == ERROR || p->mode == EVICT) && exists(p->store, "poison"))
        bad = examine_poison(p, before);
    return bad ? bad : check_store(p->store, &acks, before);
}

/* The second run after a sync whose failure nobody was told, and the power cut after that. */
static int examine_limbo(const struct plan *p, const struct run *r, const struct seen_log *before) {
    struct ack_list acks = {0};
    struct esdb_error err = {0};
    struct run again = {.watched = r->evicted};
    char head[CHECK_PATH], zeros[FMT_HEAD_SIZE] = {0};
    take_acks(p, &acks);
    join(head, p->store, "head");
    if (wants(p, "between"))
        spill(head, zeros, sizeof zeros, false);
    run_tool(p, &again);
    if (WIFSIGNALED(again.status))
        return check_fail("the second run died by signal %d", WTERMSIG(again.status));
    take_acks(p, &acks);
    evict(p, r, &again);
    spill(head, zeros, sizeof zeros, false);
    if (exists(p->store, "poison") && esdb_repair(p->store, &err) < 0)
        return check_fail("repair: %s", err.text);
    return check_store(p->store, &acks, before);
}

/* In a child of its own, so that a crash of the library counts as a bad outcome too. */
static bool is_good(const struct plan *p, const struct run *r, const struct seen_log *before) {
    int status;
    fflush(NULL);
    pid_t pid = fork();
    if (pid < 0)
        die("fork");
    if (pid == 0) {
        alarm(20);
        int bad = p->mode == LIMBO ? examine_limbo(p, r, before) : examine(p, r, before);
        if (bad)
            fprintf(stderr, "  fault at call %ld (%s %lld, steps %ld): %s\n", r->target,
                    r->at_exit ? "exit of" : "entry of", r->call, r->steps, check_why);
        fflush(NULL);
        _exit(bad ? 1 : 0);
    }
    waitpid(pid, &status, 0);
    if (WIFSIGNALED(status))
        fprintf(stderr, "  fault at call %ld (%lld): the examination died by signal %d\n", r->target, r->call,
                WTERMSIG(status));
    return status == 0;
}

static bool try_fault(const struct plan *p, long target, bool at_exit, long steps, bool *good) {
    struct seen_log before = {0};
    struct run r = {.target = target, .at_exit = at_exit, .steps = steps};
    prepare(p);
    if (strcmp(p->template, "-") != 0 && p->kind != SCAVENGE && !wants(p, "poison") &&
        read_store(p->store, ESDB_EXAMINE, &before) != 0)
        die(check_why);
    if (p->mode == EVICT || p->mode == LIMBO) { /* what is there at the start is on the disk */
        char path[CHECK_PATH];
        if (last_segment(p->store, path))
            keep_synced(&r, path);
    }
    run_tool(p, &r);
    *good = !r.fired || is_good(p, &r, &before);
    seen_release(&before);
    for (size_t i = 0; i < r.kept_count; i++)
        free(r.kept[i].bytes);
    return r.fired;
}

/* ---- all points ---- */

static void measure(struct plan *p) {
    struct ack_list acks = {0};
    struct run r = {0};
    prepare(p);
    run_tool(p, &r);
    take_acks(p, &acks);
    p->full_acks = acks.count;
    free(acks.at);
    if (!WIFEXITED(r.status) || WEXITSTATUS(r.status) != 0) {
        fprintf(stderr, "faultpoints: without a fault the tool ends with status %x\n", (unsigned)r.status);
        exit(2);
    }
}

static int run_points(const struct plan *p) {
    long points = 0, bad = 0, missed = 0;
    bool good, fired = true;
    for (long n = 1; missed < 2; n += 1 + random() % (2 * p->every - 1)) {
        unsigned tries = p->mode == KILL ? 2 : p->mode == STEP ? p->samples : 1;
        fired = false;
        for (unsigned i = 0; i < tries; i++) {
            long steps = p->mode != STEP ? 0 : i % 2 ? 1 + random() % 200 : 1 + random() % 3000;
            if (!try_fault(p, n, p->mode == STEP || i == 1, steps, &good))
                continue;
            fired = true;
            points++;
            bad += !good;
        }
        missed = fired ? 0 : missed + 1; /* threads make the number of calls vary a little */
    }
    printf("%ld faults, %ld bad\n", points, bad);
    return bad || points == 0;
}

static enum mode mode_of(const char *name) {
    static const char *const names[] = {"kill", "step", "error", "evict", "limbo", "short", "eintr"};
    for (int i = 0; i < 7; i++)
        if (strcmp(name, names[i]) == 0)
            return (enum mode)i;
    fprintf(stderr, "faultpoints: no mode %s\n", name);
    exit(2);
}

int main(int argc, char **argv) {
    struct plan p = {.setup = "", .error = EIO, .samples = 4, .every = 1};
    int c;
    unsigned seed = 1;
    while ((c = getopt(argc, argv, "+m:e:s:k:i:n:o:r:c:")) != -1) {
        if (c == 'm')
            p.mode = mode_of(optarg);
        else if (c == 'e')
            p.error = strcmp(optarg, "ENOSPC") == 0 ? ENOSPC : EIO;
        else if (c == 's')
            p.setup = optarg;
        else if (c == 'k')
            p.kind = strcmp(optarg, "create") == 0     ? CREATE
                     : strcmp(optarg, "repair") == 0   ? REPAIR
                     : strcmp(optarg, "scavenge") == 0 ? SCAVENGE
                     : strcmp(optarg, "rebuild") == 0  ? REBUILD
                                                       : STORE;
        else if (c == 'i')
            p.input = optarg;
        else if (c == 'c')
            p.program = optarg;
        else if (c == 'n')
            p.samples = (unsigned)strtoul(optarg, NULL, 10);
        else if (c == 'o')
            p.every = (unsigned)strtoul(optarg, NULL, 10);
        else if (c == 'r')
            seed = (unsigned)strtoul(optarg, NULL, 10);
        else
            return 2;
    }
    if (argc - optind < 3 || p.every == 0) {
        fprintf(stderr, "usage: faultpoints [options] TEMPLATE WORK -- TOOL ARG...\n");
        return 2;
    }
    p.template = argv[optind];
    p.work = argv[optind + 1];
    p.argv = argv + optind + 2 + (strcmp(argv[optind + 2], "--") == 0);
    join(p.store, p.work, "store");
    join(p.out, p.work, "out");
    join(p.err, p.work, "err");
    if (mkdir(p.work, 0755) < 0 && errno != EEXIST)
        die(p.work);
    srandom(seed);
    measure(&p);
    return run_points(&p);
}
#endif
