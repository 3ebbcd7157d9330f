/* What a process can still do once libexec/sandbox.c has locked it in: the worst case, in which a jq program has become native
 * code. Each attempt runs in a process of its own; it is killed or told no, and never gets what it wants. */
#include "tests/unit/store_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "libexec/sandbox.h"
/* The helpers' own objects are built without sanitizers; this program has its own copy. */
#include "libexec/sandbox.c"

#if defined(__SANITIZE_ADDRESS__)
#define MEMORY 0 /* its shadow is larger than any limit */
#else
#define MEMORY ((uint64_t)256 << 20)
#endif

static int other_fd; /* a descriptor of the parent that the child inherits */
static void *page;   /* one page, readable and writable */
static volatile long parent_id;

/* An attempt returns what the system call did: -1 is a refusal. */
typedef long attempt(void);

/* Exit status of a locked-in process that made the attempt: 0 it got what it wanted, 1 refused. */
static int run_locked(attempt *a) {
    int pair[2], status;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    parent_id = getpid();
    pid_t pid = fork();
    if (pid == 0) {
        dup2(pair[1], 0);
        close(pair[0]);
        if (!sandbox_begin() || !sandbox_parent_lives((uint32_t)parent_id) || sandbox_enter(MEMORY))
            _exit(99);
        syscall(SYS_exit_group, a() == -1 ? 1 : 0); /* _exit() of a sanitizer looks for leaks first */
    }
    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    close(pair[0]);
    close(pair[1]);
    return status;
}

static void must_fail(const char *name, attempt *a, bool killed) {
    int status = run_locked(a);
    if (killed ? !WIFSIGNALED(status) || WTERMSIG(status) != SIGSYS : !WIFEXITED(status) || WEXITSTATUS(status) != 1)
        fail_msg("%s: wait status %#x", name, (unsigned)status);
}

/* ATTEMPT(name, how it must end, system call): a test of that name. */
#define KILLED true
#define REFUSED false
#define ATTEMPT(name, end, ...)               \
    static long try_##name(void) {            \
        return (__VA_ARGS__);                 \
    }                                         \
    static void cannot_##name(void **state) { \
        (void)state;                          \
        must_fail(#name, try_##name, end);    \
    }

static char *const no_arguments[] = {NULL};

/* files */
ATTEMPT(open_a_file, REFUSED, open("/etc/passwd", O_RDONLY))
ATTEMPT(open_a_folder, REFUSED, open("/", O_RDONLY | O_DIRECTORY))
ATTEMPT(create_a_file, REFUSED, open("/tmp/esdb-escape", O_CREAT | O_WRONLY, 0600))
ATTEMPT(open_with_openat2, KILLED, syscall(437, AT_FDCWD, "/etc/passwd", page, 24))
ATTEMPT(open_by_handle, KILLED, syscall(SYS_open_by_handle_at, 0, page, 0))
ATTEMPT(look_at_a_file, REFUSED, access("/etc/passwd", R_OK))
ATTEMPT(read_a_link, REFUSED, readlink("/proc/self/exe", page, 100))
ATTEMPT(remove_a_file, KILLED, syscall(SYS_unlinkat, AT_FDCWD, "/tmp/esdb-escape", 0))
ATTEMPT(rename_a_file, KILLED, syscall(SYS_renameat2, AT_FDCWD, "/tmp/a", AT_FDCWD, "/tmp/b", 0))
ATTEMPT(link_a_file, KILLED, syscall(SYS_linkat, AT_FDCWD, "/etc/passwd", AT_FDCWD, "/tmp/b", 0))
ATTEMPT(make_a_folder, KILLED, syscall(SYS_mkdirat, AT_FDCWD, "/tmp/esdb-escape", 0700))
ATTEMPT(change_a_mode, KILLED, syscall(SYS_fchmodat, AT_FDCWD, "/tmp", 0777))
ATTEMPT(change_the_folder, KILLED, chdir("/"))
ATTEMPT(change_the_root, KILLED, chroot("/tmp"))
ATTEMPT(mount, KILLED, syscall(SYS_mount, "none", "/tmp", "tmpfs", 0, 0))
ATTEMPT(watch_files, KILLED, syscall(SYS_inotify_init1, 0))
/* descriptors */
ATTEMPT(write_to_the_terminal, REFUSED, write(2, "x", 1))
ATTEMPT(write_to_standard_output, REFUSED, write(1, "x", 1))
ATTEMPT(read_an_inherited_descriptor, REFUSED, read(other_fd, page, 1))
ATTEMPT(pread_an_inherited_descriptor, KILLED, pread(other_fd, page, 1, 0))
ATTEMPT(duplicate_a_descriptor, KILLED, dup(0))
ATTEMPT(receive_a_descriptor, KILLED, recvmsg(0, page, 0))
ATTEMPT(send_a_descriptor, KILLED, sendmsg(0, page, 0))
ATTEMPT(make_a_pipe, KILLED, syscall(SYS_pipe2, page, 0))
ATTEMPT(make_a_memory_file, KILLED, syscall(SYS_memfd_create, "x", 0))
ATTEMPT(type_into_the_terminal, REFUSED, syscall(SYS_ioctl, 0, 0x5412 /* TIOCSTI */, page))
/* network */
ATTEMPT(make_a_socket, KILLED, socket(AF_INET, SOCK_STREAM, 0))
ATTEMPT(make_a_local_socket, KILLED, socket(AF_UNIX, SOCK_STREAM, 0))
ATTEMPT(connect, KILLED, connect(0, page, 16))
ATTEMPT(accept, KILLED, accept(0, NULL, NULL))
/* processes */
ATTEMPT(fork, KILLED, fork())
ATTEMPT(clone_with_clone3, KILLED, syscall(435, page, 88))
ATTEMPT(execute, KILLED, execve("/bin/sh", no_arguments, no_arguments))
ATTEMPT(kill_the_parent, KILLED, kill((pid_t)parent_id, 0))
ATTEMPT(kill_everybody, KILLED, kill(-1, 0))
ATTEMPT(signal_another_process, KILLED, syscall(SYS_tgkill, parent_id, parent_id, 0))
ATTEMPT(trace_the_parent, KILLED, syscall(SYS_ptrace, 16, parent_id, 0, 0))
ATTEMPT(read_the_memory_of_the_parent, KILLED, syscall(SYS_process_vm_readv, parent_id, page, 1, page, 1, 0))
ATTEMPT(take_a_descriptor_of_the_parent, KILLED, syscall(438, 3, 0, 0))
ATTEMPT(compare_kernel_objects, KILLED, syscall(SYS_kcmp, parent_id, parent_id, 0, 0, 0))
/* memory that can be executed */
ATTEMPT(map_executable_memory, KILLED,
        mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED)
ATTEMPT(make_memory_executable, KILLED, mprotect(page, 4096, PROT_READ | PROT_EXEC))
ATTEMPT(make_memory_executable_with_a_key, KILLED, syscall(SYS_pkey_mprotect, page, 4096, PROT_READ | PROT_EXEC, -1))
ATTEMPT(change_the_personality, KILLED, syscall(SYS_personality, 0x0400000 /* READ_IMPLIES_EXEC */))
/* rights */
ATTEMPT(raise_a_limit, REFUSED, setrlimit(RLIMIT_NOFILE, &(struct rlimit){1000, 1000}))
ATTEMPT(become_root, KILLED, syscall(SYS_setuid, 0))
ATTEMPT(take_capabilities, KILLED, syscall(SYS_capset, page, page))
ATTEMPT(make_a_namespace, KILLED, syscall(SYS_unshare, 0x10000000 /* CLONE_NEWUSER */))
ATTEMPT(enter_a_namespace, KILLED, syscall(SYS_setns, 0, 0))
ATTEMPT(unlock_by_prctl, KILLED, prctl(PR_SET_DUMPABLE, 1, 0, 0, 0))
ATTEMPT(replace_the_filter, KILLED, syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, page))
ATTEMPT(outlive_the_parent, KILLED, prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0))
ATTEMPT(catch_the_timer, REFUSED, syscall(SYS_rt_sigaction, SIGPROF, page, NULL, 8))
/* kernel */
ATTEMPT(use_io_uring, KILLED, syscall(425, 1, page))
ATTEMPT(load_bpf, KILLED, syscall(SYS_bpf, 0, page, 1))
ATTEMPT(use_userfaultfd, KILLED, syscall(SYS_userfaultfd, 0))
ATTEMPT(count_events, KILLED, syscall(SYS_perf_event_open, page, 0, 0, 0, 0))
ATTEMPT(use_keys, KILLED, syscall(SYS_keyctl, 0, 0, 0, 0, 0))
ATTEMPT(load_a_module, KILLED, syscall(SYS_init_module, page, 1, ""))
ATTEMPT(share_memory, KILLED, syscall(SYS_shmget, 1, 4096, 01600))
ATTEMPT(sleep_for_ever, KILLED, syscall(SYS_clock_nanosleep, 0, 0, &(struct timespec){1000, 0}, NULL))
#if defined(__x86_64__)
ATTEMPT(use_the_x32_calls, KILLED, syscall(0x40000000 + SYS_getpid))

static long old_gate(void) { /* getpid of i386, through the gate of 32-bit programs */
    long rc = 20;
    __asm__ volatile("int $0x80" : "+a"(rc) : : "memory", "r8", "r9", "r10", "r11");
    return rc;
}

static void cannot_use_the_32_bit_calls(void **state) {
    (void)state;
    int status = run_locked(old_gate); /* a kernel without that gate: SIGSEGV */
    assert_true(WIFSIGNALED(status) && (WTERMSIG(status) == SIGSYS || WTERMSIG(status) == SIGSEGV));
}
#endif

/* ---- limits ---- */

static long take_much_memory(void) {
    return mmap(NULL, (size_t)1 << 30, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED ? -1
                                                                                                                 : 0;
}

static void cannot_take_more_memory_than_allowed(void **state) {
    (void)state;
    if (MEMORY > 0)
        must_fail("memory", take_much_memory, REFUSED);
}

/* ---- what must still work ---- */

static long work(void) {
    char c = 'x';
    char *at = malloc(1 << 20);
    struct timespec t;
    bool fine = at && write(0, &c, 1) == 1 && clock_gettime(CLOCK_REALTIME, &t) == 0 && getpid() > 0 &&
                setitimer(ITIMER_PROF, &(struct itimerval){{0, 0}, {1, 0}}, NULL) == 0;
    free(at);
    return fine ? -1 : 0;
}

static void it_can_still_work(void **state) {
    (void)state;
    must_fail("work", work, REFUSED); /* "refused" is status 1: here, that all was well */
}

static long environment_is_there(void) {
    extern char **environ;
    return environ && !*environ && !getenv("PATH") ? -1 : 0;
}

static void the_environment_is_empty(void **state) {
    (void)state;
    must_fail("environment", environment_is_there, REFUSED);
}

/* The second guard is there when the first one is not. */
static long open_under_landlock(void) {
    return open("/etc/passwd", O_RDONLY);
}

static void landlock_alone_refuses_files(void **state) {
    (void)state;
    int status;
    if (syscall(SYS_landlock_create_ruleset, NULL, 0, 1u) < 1)
        skip();
    pid_t pid = fork();
    if (pid == 0) {
        bool before = open_under_landlock() >= 0;
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        enter_landlock();
        syscall(SYS_exit_group, before && open_under_landlock() < 0 && errno == EACCES ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

#if !defined(__SANITIZE_ADDRESS__)
static long abort_works(void) {
    abort();
}

static void aborting_is_seen_as_that(void **state) {
    (void)state;
    int status = run_locked(abort_works);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}
#endif

static int prepare(void **state) {
    (void)state;
    other_fd = open("/etc/passwd", O_RDONLY);
    page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return other_fd < 0 || page == MAP_FAILED;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cannot_open_a_file),
        cmocka_unit_test(cannot_open_a_folder),
        cmocka_unit_test(cannot_create_a_file),
        cmocka_unit_test(cannot_open_with_openat2),
        cmocka_unit_test(cannot_open_by_handle),
        cmocka_unit_test(cannot_look_at_a_file),
        cmocka_unit_test(cannot_read_a_link),
        cmocka_unit_test(cannot_remove_a_file),
        cmocka_unit_test(cannot_rename_a_file),
        cmocka_unit_test(cannot_link_a_file),
        cmocka_unit_test(cannot_make_a_folder),
        cmocka_unit_test(cannot_change_a_mode),
        cmocka_unit_test(cannot_change_the_folder),
        cmocka_unit_test(cannot_change_the_root),
        cmocka_unit_test(cannot_mount),
        cmocka_unit_test(cannot_watch_files),
        cmocka_unit_test(cannot_write_to_the_terminal),
        cmocka_unit_test(cannot_write_to_standard_output),
        cmocka_unit_test(cannot_read_an_inherited_descriptor),
        cmocka_unit_test(cannot_pread_an_inherited_descriptor),
        cmocka_unit_test(cannot_duplicate_a_descriptor),
        cmocka_unit_test(cannot_receive_a_descriptor),
        cmocka_unit_test(cannot_send_a_descriptor),
        cmocka_unit_test(cannot_make_a_pipe),
        cmocka_unit_test(cannot_make_a_memory_file),
        cmocka_unit_test(cannot_type_into_the_terminal),
        cmocka_unit_test(cannot_make_a_socket),
        cmocka_unit_test(cannot_make_a_local_socket),
        cmocka_unit_test(cannot_connect),
        cmocka_unit_test(cannot_accept),
        cmocka_unit_test(cannot_fork),
        cmocka_unit_test(cannot_clone_with_clone3),
        cmocka_unit_test(cannot_execute),
        cmocka_unit_test(cannot_kill_the_parent),
        cmocka_unit_test(cannot_kill_everybody),
        cmocka_unit_test(cannot_signal_another_process),
        cmocka_unit_test(cannot_trace_the_parent),
        cmocka_unit_test(cannot_read_the_memory_of_the_parent),
        cmocka_unit_test(cannot_take_a_descriptor_of_the_parent),
        cmocka_unit_test(cannot_compare_kernel_objects),
        cmocka_unit_test(cannot_map_executable_memory),
        cmocka_unit_test(cannot_make_memory_executable),
        cmocka_unit_test(cannot_make_memory_executable_with_a_key),
        cmocka_unit_test(cannot_change_the_personality),
        cmocka_unit_test(cannot_raise_a_limit),
        cmocka_unit_test(cannot_become_root),
        cmocka_unit_test(cannot_take_capabilities),
        cmocka_unit_test(cannot_make_a_namespace),
        cmocka_unit_test(cannot_enter_a_namespace),
        cmocka_unit_test(cannot_unlock_by_prctl),
        cmocka_unit_test(cannot_replace_the_filter),
        cmocka_unit_test(cannot_outlive_the_parent),
        cmocka_unit_test(cannot_catch_the_timer),
        cmocka_unit_test(cannot_use_io_uring),
        cmocka_unit_test(cannot_load_bpf),
        cmocka_unit_test(cannot_use_userfaultfd),
        cmocka_unit_test(cannot_count_events),
        cmocka_unit_test(cannot_use_keys),
        cmocka_unit_test(cannot_load_a_module),
        cmocka_unit_test(cannot_share_memory),
        cmocka_unit_test(cannot_sleep_for_ever),
#if defined(__x86_64__)
        cmocka_unit_test(cannot_use_the_x32_calls),
        cmocka_unit_test(cannot_use_the_32_bit_calls),
#endif
        cmocka_unit_test(cannot_take_more_memory_than_allowed),
        cmocka_unit_test(it_can_still_work),
        cmocka_unit_test(the_environment_is_empty),
        cmocka_unit_test(landlock_alone_refuses_files),
#if !defined(__SANITIZE_ADDRESS__) /* whose abort() does more */
        cmocka_unit_test(aborting_is_seen_as_that),
#endif
    };
    return cmocka_run_group_tests(tests, prepare, NULL);
}
