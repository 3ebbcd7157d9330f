/* esdb-tar: makes and reads the files of esdb-archive, tar compressed by zstd, for libcore/archive_child.c, which starts it
 * and is the only one to talk to it (libcore/archive_wire.h). The one program that links libarchive. An archive may come
 * from anywhere; that is why the process is locked in (sandbox.c) before it looks at the first byte. It opens no file: what
 * it finds goes to the parent, as bytes.
 *
 * Only what FORMAT allows is let through: regular files with plain names, one behind the other. */
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "libcore/archive_wire.h"
#include "libexec/sandbox.h"
#include "libexec/socket.h"

static struct es_tar_start start;
static char bytes[ES_TAR_DATA_MAX]; /* of the message that came last */
static bool input_ended;

static void on_timer(int signal_number) {
    (void)signal_number;
    _exit(ES_TAR_EXIT_TIMEOUT);
}

/* ---- the socket ---- */

static struct es_tar_message get_message(void) {
    struct es_tar_message m;
    socket_get(&m, sizeof m);
    if (m.len > sizeof bytes)
        _exit(ES_TAR_EXIT_PROTOCOL);
    socket_get(bytes, m.len);
    return m;
}

static void put_message(uint32_t kind, const void *at, size_t len) {
    struct es_tar_message m = {kind, (uint32_t)len};
    socket_put(&m, sizeof m);
    socket_put(at, len);
}

static void put_data(const char *at, size_t len) {
    for (size_t n; len > 0; at += n, len -= n) {
        n = len < ES_TAR_DATA_MAX ? len : ES_TAR_DATA_MAX;
        put_message(ES_TAR_DATA, at, n);
    }
}

/* Says why, and ends. The parent may still be sending: what it sends is read, so that it comes to listen. */
static void __attribute__((noreturn, format(printf, 1, 2))) fail(const char *format, ...) {
    char text[ES_TAR_TEXT_MAX];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    put_message(ES_TAR_FAILED, text, len < 0 ? 0 : (size_t)len < sizeof text ? (size_t)len : sizeof text - 1);
    _exit(0);
}

static const char *why(struct archive *a) {
    const char *text = archive_error_string(a);
    return text ? text : "it cannot be read";
}

/* ---- packing ---- */

static ssize_t on_packed(struct archive *a, void *context, const void *at, size_t len) {
    (void)a;
    (void)context;
    put_data(at, len);
    return (ssize_t)len;
}

static void begin_member(struct archive *a, struct archive_entry *entry) {
    struct es_tar_member m;
    memcpy(&m, bytes, sizeof m);
    if (memchr(m.name, '\0', sizeof m.name) == NULL)
        _exit(ES_TAR_EXIT_PROTOCOL);
    archive_entry_clear(entry);
    archive_entry_set_pathname(entry, m.name);
    archive_entry_set_filetype(entry, AE_IFREG);
    archive_entry_set_perm(entry, 0444);
    archive_entry_set_size(entry, (la_int64_t)m.size);
    archive_entry_set_mtime(entry, (time_t)m.seconds, 0);
    if (archive_write_header(a, entry) != ARCHIVE_OK)
        fail("it cannot be packed: %s", why(a));
}

static void pack(void) {
    struct archive *a = archive_write_new();
    struct archive_entry *entry = archive_entry_new();
    if (!a || !entry)
        fail("no memory");
    if (archive_write_set_format_ustar(a) != ARCHIVE_OK || archive_write_add_filter_zstd(a) != ARCHIVE_OK ||
        archive_write_set_bytes_in_last_block(a, 1) != ARCHIVE_OK ||
        archive_write_open2(a, NULL, NULL, on_packed, NULL, NULL) != ARCHIVE_OK)
        fail("it cannot be packed: %s", why(a));
    for (;;) {
        struct es_tar_message m = get_message();
        if (m.kind == ES_TAR_MEMBER && m.len == sizeof(struct es_tar_member))
            begin_member(a, entry);
        else if (m.kind == ES_TAR_DATA) {
            if (archive_write_data(a, bytes, m.len) != (la_ssize_t)m.len)
                fail("it cannot be packed: %s", why(a));
        } else if (m.kind == ES_TAR_END) {
            break;
        } else {
            _exit(ES_TAR_EXIT_PROTOCOL);
        }
    }
    if (archive_write_close(a) != ARCHIVE_OK)
        fail("it cannot be packed: %s", why(a));
    put_message(ES_TAR_END, NULL, 0);
}

/* ---- unpacking ---- */

static ssize_t on_wanted(struct archive *a, void *context, const void **out) {
    (void)a;
    (void)context;
    if (input_ended)
        return 0;
    struct es_tar_message m = get_message();
    if (m.kind == ES_TAR_END)
        input_ended = true;
    else if (m.kind != ES_TAR_DATA)
        _exit(ES_TAR_EXIT_PROTOCOL);
    *out = bytes;
    return m.kind == ES_TAR_END ? 0 : (ssize_t)m.len;
}

static const char *kind_of(struct archive_entry *entry) {
    if (archive_entry_hardlink(entry))
        return "a hard link";
    switch (archive_entry_filetype(entry)) {
    case AE_IFREG:
        return NULL;
    case AE_IFLNK:
        return "a symbolic link";
    case AE_IFDIR:
        return "a directory";
    case AE_IFCHR:
    case AE_IFBLK:
        return "a device";
    case AE_IFIFO:
        return "a pipe";
    default:
        return "of an unknown kind";
    }
}

/* The parent knows which names there may be. What is strange in itself ends here. */
static void check(struct archive_entry *entry, struct es_tar_member *m) {
    const char *name = archive_entry_pathname(entry), *kind = kind_of(entry);
    if (!name || strlen(name) >= sizeof m->name)
        fail("a member's name is missing or too long");
    if (kind)
        fail("its member '%s' is %s", name, kind);
    if (strchr(name, '/') || strcmp(name, "..") == 0 || strcmp(name, ".") == 0 || name[0] == '\0')
        fail("its member '%s' is a path", name);
    if (archive_entry_perm(entry) & 07000)
        fail("its member '%s' is setuid, setgid or sticky", name);
    if (archive_entry_sparse_count(entry) > 0)
        fail("its member '%s' is sparse", name);
    if (!archive_entry_size_is_set(entry) || archive_entry_size(entry) < 0)
        fail("its member '%s' has no size", name);
    memcpy(m->name, name, strlen(name) + 1);
    m->size = (uint64_t)archive_entry_size(entry);
    m->seconds = archive_entry_mtime(entry) > 0 ? (uint64_t)archive_entry_mtime(entry) : 0;
}

static void put_member(struct archive *a, struct archive_entry *entry) {
    static char data[64 << 10];
    struct es_tar_member m = {0};
    check(entry, &m);
    put_message(ES_TAR_MEMBER, &m, sizeof m);
    for (uint64_t left = m.size; left > 0;) {
        la_ssize_t n = archive_read_data(a, data, sizeof data);
        if (n < 0)
            fail("it cannot be unpacked: %s", why(a));
        if (n == 0 || (uint64_t)n > left)
            fail("its member '%s' is cut short", m.name);
        put_data(data, (size_t)n);
        left -= (uint64_t)n;
    }
}

static void unpack(void) {
    struct archive *a = archive_read_new();
    struct archive_entry *entry;
    int rc;
    if (!a)
        fail("no memory");
    /* To the very end: what lies behind the end of the tar is looked at too. */
    if (archive_read_support_filter_zstd(a) != ARCHIVE_OK || archive_read_support_format_tar(a) != ARCHIVE_OK ||
        archive_read_set_options(a, "read_concatenated_archives") != ARCHIVE_OK ||
        archive_read_open(a, NULL, NULL, on_wanted, NULL) != ARCHIVE_OK)
        fail("it is no tar compressed by zstd: %s", why(a));
    while ((rc = archive_read_next_header(a, &entry)) == ARCHIVE_OK) {
        if (archive_filter_code(a, 0) != ARCHIVE_FILTER_ZSTD || archive_filter_count(a) != 2)
            fail("it is no tar compressed by zstd");
        put_member(a, entry);
    }
    if (rc != ARCHIVE_EOF)
        fail("it cannot be unpacked: %s", why(a));
    if (!input_ended && get_message().kind != ES_TAR_END)
        fail("there is something behind its end");
    put_message(ES_TAR_END, NULL, 0);
}

/* ---- starting ---- */

int main(void) {
    static const char by_hand[] = "esdb-tar: a part of esdb's tools, not to be started by hand\n";
    struct itimerval limit = {.it_value = {.tv_sec = ES_TAR_SECONDS}};
    struct sigaction timer = {.sa_handler = on_timer};
    int kind;

    if (getsockopt(0, SOL_SOCKET, SO_TYPE, &kind, &(socklen_t){sizeof kind}) != 0) {
        ssize_t n = write(2, by_hand, sizeof by_hand - 1);
        return n < 0 ? 1 : 2;
    }
    if (!sandbox_begin())
        return ES_TAR_EXIT_PROTOCOL;
    socket_get(&start, sizeof start);
    if (start.magic != ES_TAR_MAGIC || start.version != ES_TAR_VERSION || start.unpack > 1)
        return ES_TAR_EXIT_PROTOCOL;
    if (!sandbox_parent_lives(start.parent))
        return 0;
    sigaction(SIGPROF, &timer, NULL);
    const char *what = sandbox_enter(ES_TAR_MEMORY);
    if (what)
        fail("this kernel cannot lock in what reads archives: %s: %s", what, strerror(errno));
    setitimer(ITIMER_PROF, &limit, NULL);
    put_message(ES_TAR_READY, NULL, 0);
    if (start.unpack)
        unpack();
    else
        pack();
    return 0;
}
