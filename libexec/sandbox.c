/* sandbox.c: see sandbox.h. What is left to the process: reading and writing descriptor 0, memory that cannot be executed,
 * the clock, a timer on itself, signals to itself, and ending. Asking for a file gets EACCES (libjq then says "module
 * not found" and such); any other system call kills. */
#include "sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#elif defined(__riscv) && __riscv_xlen == 64
#define ARCHITECTURE AUDIT_ARCH_RISCV64
#elif defined(__powerpc64__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define ARCHITECTURE AUDIT_ARCH_PPC64LE
#elif defined(__s390x__)
#define ARCHITECTURE AUDIT_ARCH_S390X
#elif defined(__loongarch64)
#define ARCHITECTURE 0xc0000102u /* AUDIT_ARCH_LOONGARCH64: newer than some headers */
#elif defined(__i386__)
#define ARCHITECTURE AUDIT_ARCH_I386
#elif defined(__arm__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define ARCHITECTURE AUDIT_ARCH_ARM
#else
#error "sandbox.c does not know how seccomp names this processor"
#endif

/* ---- beginning ---- */

/* When the machine runs out of memory, this process goes first. Failing changes nothing else. */
static void go_first(void) {
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

    if (fd < 0)
        return;
    if (write(fd, "1000", 4) < 0) {
        /* not allowed: it stays as it is */
    }
    close(fd);
}

bool sandbox_begin(void) {
    static char *nothing[1];
    extern char **environ;
    struct rlimit files;
    sigset_t none;

    go_first();        /* before the process hides from /proc */
    environ = nothing; /* not clearenv(): libjq walks through environ without looking whether it is NULL */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
        return false;
    for (int s = 1; s < NSIG; s++)
        signal(s, SIG_DFL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (syscall(SYS_close_range, 1u, ~0u, 0u) == 0)
        return true;
    if (getrlimit(RLIMIT_NOFILE, &files) != 0) /* before Linux 5.9 */
        return false;
    for (rlim_t fd = 1; fd < files.rlim_cur && fd < 1u << 20; fd++)
        close((int)fd);
    return true;
}

bool sandbox_parent_lives(uint32_t parent) {
    return (uint32_t)getppid() == parent;
}

/* ---- limits ---- */

static bool limit(int what, rlim_t most) {
    struct rlimit now, wanted;

    if (getrlimit(what, &now) != 0)
        return false;
    wanted.rlim_cur = wanted.rlim_max = most < now.rlim_max ? most : now.rlim_max;
    return setrlimit(what, &wanted) == 0;
}

static const char *enter_limits(uint64_t memory_max) {
    if (memory_max > 0 && !limit(RLIMIT_AS, (rlim_t)memory_max))
        return "limiting memory";
    if (!limit(RLIMIT_STACK, 8u << 20) || !limit(RLIMIT_CORE, 0) || !limit(RLIMIT_FSIZE, 0) ||
        !limit(RLIMIT_NOFILE, 1) || !limit(RLIMIT_NPROC, 0) || !limit(RLIMIT_MEMLOCK, 0) || !limit(RLIMIT_MSGQUEUE, 0))
        return "limiting files and processes";
    return NULL;
}

/* ---- landlock ---- */

/* As in linux/landlock.h of Linux 6.12; a kernel takes a larger structure when what it does not know is zero. */
struct ruleset {
    uint64_t files, network, scopes;
};

#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#define SYS_landlock_restrict_self 446
#endif

/* Forbids every kind of access that this kernel knows of; there are no rules that would allow one. */
static void enter_landlock(void) {
    long version = syscall(SYS_landlock_create_ruleset, NULL, 0, 1u);
    struct ruleset all = {0};

    if (version < 1)
        return;
    all.files = version >= 5 ? 0xffff : version >= 3 ? 0x7fff : version == 2 ? 0x3fff : 0x1fff;
    all.network = version >= 4 ? 3 : 0;
    all.scopes = version >= 6 ? 3 : 0;
    int fd = (int)syscall(SYS_landlock_create_ruleset, &all, sizeof all, 0u);
    if (fd >= 0) {
        syscall(SYS_landlock_restrict_self, fd, 0u);
        close(fd);
    }
}

/* ---- seccomp ---- */

#define RULES_MAX 512

struct rules {
    struct sock_filter at[RULES_MAX];
    unsigned short count;
};

static void rule(struct rules *r, unsigned short code, uint32_t k, unsigned char yes, unsigned char no) {
    if (r->count < RULES_MAX)
        r->at[r->count++] = (struct sock_filter){code, yes, no, k};
}

static void answer(struct rules *r, uint32_t what) {
    rule(r, BPF_RET | BPF_K, what, 0, 0);
}

static void load(struct rules *r, size_t offset) {
    rule(r, BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset, 0, 0);
}

/* The lower half of an argument. */
static size_t argument(unsigned i) {
    size_t at = offsetof(struct seccomp_data, args) + 8 * i;
    return __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? at + 4 : at;
}

/* A call of this number gets that answer. */
static void call(struct rules *r, long number, uint32_t what) {
    rule(r, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)number, 0, 1);
    answer(r, what);
}

/* A call gets `yes` or `no`, as its argument i is (BPF_JEQ), or has a bit of (BPF_JSET), `value`. */
static void call_if(struct rules *r, long number, unsigned i, unsigned short test, uint32_t value, uint32_t yes,
                    uint32_t no) {
    rule(r, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)number, 0, 4);
    load(r, argument(i));
    rule(r, (unsigned short)(BPF_JMP | test | BPF_K), value, 0, 1);
    answer(r, yes);
    answer(r, no);
}

/* Calls that differ between architectures are named where they exist. */
static const int allowed[] = {
    SYS_munmap,
    SYS_mremap,
    SYS_madvise,
    SYS_brk,
    SYS_exit,
    SYS_exit_group,
    SYS_rt_sigreturn,
    SYS_rt_sigprocmask,
    SYS_getpid,
    SYS_gettid,
    SYS_setitimer,
    SYS_restart_syscall,
#ifdef SYS_clock_gettime
    SYS_clock_gettime,
#endif
#ifdef SYS_clock_gettime64
    SYS_clock_gettime64,
#endif
#ifdef SYS_gettimeofday
    SYS_gettimeofday,
#endif
#ifdef SYS_time
    SYS_time,
#endif
#ifdef SYS_futex
    SYS_futex,
#endif
#ifdef SYS_futex_time64
    SYS_futex_time64,
#endif
#ifdef SYS_sigreturn
    SYS_sigreturn,
#endif
    SYS_getrandom,
};

/* What libjq and libc ask for on the way to a harmless "no". */
static const int refused[] = {
    SYS_openat,     SYS_faccessat, SYS_readlinkat,        SYS_fstat,
    SYS_lseek,      SYS_getcwd,    SYS_getdents64,        SYS_rt_sigaction,
    SYS_ioctl,      SYS_fcntl,     SYS_sysinfo,           SYS_writev,
    SYS_close,      SYS_prlimit64, SYS_sched_getaffinity, SYS_uname,
#ifdef SYS_open
    SYS_open,
#endif
#ifdef SYS_access
    SYS_access,
#endif
#ifdef SYS_stat
    SYS_stat,
#endif
#ifdef SYS_lstat
    SYS_lstat,
#endif
#ifdef SYS_readlink
    SYS_readlink,
#endif
#ifdef SYS_newfstatat
    SYS_newfstatat,
#endif
#ifdef SYS_fstatat64
    SYS_fstatat64,
#endif
#ifdef SYS_statx
    SYS_statx,
#endif
#ifdef SYS_faccessat2
    SYS_faccessat2,
#endif
#ifdef SYS_getrlimit
    SYS_getrlimit,
#endif
};

static void make_rules(struct rules *r) {
    uint32_t bad_fd = SECCOMP_RET_ERRNO | EBADF;

    load(r, offsetof(struct seccomp_data, arch));
    rule(r, BPF_JMP | BPF_JEQ | BPF_K, ARCHITECTURE, 1, 0);
    answer(r, SECCOMP_RET_KILL_PROCESS);
    load(r, offsetof(struct seccomp_data, nr));
    call_if(r, SYS_read, 0, BPF_JEQ, 0, SECCOMP_RET_ALLOW, bad_fd);
    call_if(r, SYS_write, 0, BPF_JEQ, 0, SECCOMP_RET_ALLOW, bad_fd);
    for (size_t i = 0; i < sizeof allowed / sizeof *allowed; i++)
        call(r, allowed[i], SECCOMP_RET_ALLOW);
#if defined(__s390x__)
    call(r, SYS_mmap, SECCOMP_RET_ALLOW); /* its arguments stand in memory, where a filter cannot see them */
#elif !defined(SYS_mmap2)
    call_if(r, SYS_mmap, 2, BPF_JSET, PROT_EXEC, SECCOMP_RET_KILL_PROCESS, SECCOMP_RET_ALLOW);
#else
    call_if(r, SYS_mmap2, 2, BPF_JSET, PROT_EXEC, SECCOMP_RET_KILL_PROCESS, SECCOMP_RET_ALLOW);
#endif
    call_if(r, SYS_mprotect, 2, BPF_JSET, PROT_EXEC, SECCOMP_RET_KILL_PROCESS, SECCOMP_RET_ALLOW);
    call_if(r, SYS_tgkill, 0, BPF_JEQ, (uint32_t)getpid(), SECCOMP_RET_ALLOW, SECCOMP_RET_KILL_PROCESS); /* abort() */
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        call(r, refused[i], SECCOMP_RET_ERRNO | EACCES);
    answer(r, SECCOMP_RET_KILL_PROCESS);
}

static const char *enter_seccomp(void) {
    static struct rules r;
    struct sock_fprog program = {.filter = r.at};

    make_rules(&r);
    program.len = r.count;
    if (r.count == RULES_MAX || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) != 0)
        return "the system call filter (seccomp)";
    return NULL;
}

const char *sandbox_enter(uint64_t memory_max) {
    const char *failed;

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return "giving up privileges";
    enter_landlock();
    failed = enter_limits(memory_max);
    return failed ? failed : enter_seccomp();
}
