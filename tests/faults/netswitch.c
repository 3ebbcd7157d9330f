/* A network for nodes in network namespaces, with the faults of real ones: what is sent from one node to another is
 * dropped, delayed, reordered or doubled, in one direction or both. In user space, because not every kernel has netem.
 *
 *     netswitch NAMESPACE...      the first gets 10.77.0.1, the next 10.77.0.2, ...
 *
 * Each namespace gets a device "esdb0", whose packets come here. Prints "ready". Orders come on stdin, a line each; a
 * direction FROM>TO is two numbers from 1, 0 meaning all. Ends at the end of stdin.
 *
 *     cut FROM TO             drops everything of that direction
 *     loss FROM TO PERCENT    drops some
 *     delay FROM TO MS JITTER each packet by MS plus up to JITTER, by which they pass each other
 *     twice FROM TO PERCENT   doubles some
 *     heal                    all is well again */
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

enum { NODES_MAX = 8, PACKET_MAX = 2048, QUEUE_MAX = 20000 };

struct way {
    bool cut;
    unsigned loss, twice; /* per cent */
    unsigned delay_ms, jitter_ms;
};

struct packet {
    uint64_t due_ns, number;
    int to;
    size_t len;
    unsigned char bytes[];
};

static struct way ways[NODES_MAX][NODES_MAX];
static int tuns[NODES_MAX];
static int nodes;
static struct packet *queue[QUEUE_MAX]; /* a heap: the one that is due first is at 0 */
static size_t queued;
static uint64_t packets;

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static bool chance(unsigned percent) {
    return percent > 0 && (unsigned)(random() % 100) < percent;
}

/* ---- devices ---- */

static void set_address(int number) {
    struct ifreq r = {0};
    struct sockaddr_in *a = (struct sockaddr_in *)(void *)&r.ifr_addr;
    int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    snprintf(r.ifr_name, sizeof r.ifr_name, "esdb0");
    a->sin_family = AF_INET;
    a->sin_addr.s_addr = htonl(0x0a4d0000u + (uint32_t)number);
    if (s < 0 || ioctl(s, SIOCSIFADDR, &r) < 0)
        err(1, "address");
    a->sin_addr.s_addr = htonl(0xffffff00u);
    if (ioctl(s, SIOCSIFNETMASK, &r) < 0)
        err(1, "netmask");
    r.ifr_flags = IFF_UP | IFF_RUNNING;
    if (ioctl(s, SIOCSIFFLAGS, &r) < 0)
        err(1, "up");
    close(s);
}

static int open_tun(const char *name, int number) {
    char path[256];
    struct ifreq r = {.ifr_flags = IFF_TUN | IFF_NO_PI};
    snprintf(path, sizeof path, "/run/netns/%s", name);
    int ns = open(path, O_RDONLY | O_CLOEXEC);
    if (ns < 0 || setns(ns, CLONE_NEWNET) < 0)
        err(77, "%s", path);
    close(ns);
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    snprintf(r.ifr_name, sizeof r.ifr_name, "esdb0");
    if (fd < 0 || ioctl(fd, TUNSETIFF, &r) < 0)
        err(77, "/dev/net/tun");
    set_address(number);
    return fd;
}

/* ---- packets under way ---- */

static bool earlier(const struct packet *a, const struct packet *b) {
    return a->due_ns != b->due_ns ? a->due_ns < b->due_ns : a->number < b->number;
}

static void swap(size_t i, size_t j) {
    struct packet *p = queue[i];
    queue[i] = queue[j];
    queue[j] = p;
}

static void put(struct packet *p) {
    if (queued == QUEUE_MAX) { /* a full buffer loses, as a real one does */
        free(p);
        return;
    }
    queue[queued] = p;
    for (size_t i = queued++; i > 0 && earlier(queue[i], queue[(i - 1) / 2]); i = (i - 1) / 2)
        swap(i, (i - 1) / 2);
}

static struct packet *take(void) {
    struct packet *first = queue[0];
    queue[0] = queue[--queued];
    for (size_t i = 0;;) {
        size_t least = i;
        for (size_t k = 2 * i + 1; k <= 2 * i + 2 && k < queued; k++)
            if (earlier(queue[k], queue[least]))
                least = k;
        if (least == i)
            return first;
        swap(i, least);
        i = least;
    }
}

static void give(int to, const unsigned char *bytes, size_t len) {
    if (write(tuns[to], bytes, len) < 0 && errno != EAGAIN && errno != ENOBUFS && errno != EIO && errno != EINVAL)
        err(1, "write");
}

static void pass(int from, const unsigned char *bytes, size_t len) {
    int to = len >= 20 && bytes[0] >> 4 == 4 ? bytes[19] - 1 : -1;
    if (to < 0 || to >= nodes || bytes[16] != 10 || bytes[17] != 77)
        return;
    const struct way *w = &ways[from][to];
    if (w->cut)
        return;
    for (int copies = chance(w->twice) ? 2 : 1; copies > 0; copies--) {
        if (chance(w->loss))
            continue;
        if (w->delay_ms + w->jitter_ms == 0) {
            give(to, bytes, len);
            continue;
        }
        struct packet *p = malloc(sizeof *p + len);
        if (!p)
            errx(1, "no memory");
        uint64_t jitter = w->jitter_ms ? (uint64_t)random() % (w->jitter_ms * 1000000ull) : 0;
        *p = (struct packet){.due_ns = now_ns() + w->delay_ms * 1000000ull + jitter, .number = packets++, .to = to};
        p->len = len;
        memcpy(p->bytes, bytes, len);
        put(p);
    }
}

/* ---- orders ---- */

static void order(const char *line) {
    char what[16] = "";
    unsigned from = 0, to = 0, a = 0, b = 0;
    int n = sscanf(line, "%15s %u %u %u %u", what, &from, &to, &a, &b);
    if (n == 1 && strcmp(what, "heal") == 0) {
        memset(ways, 0, sizeof ways);
        return;
    }
    if (n < 3 || from > (unsigned)nodes || to > (unsigned)nodes)
        errx(1, "no such order: %s", line);
    for (int i = 0; i < nodes; i++)
        for (int k = 0; k < nodes; k++) {
            struct way *w = &ways[i][k];
            if ((from && (int)from != i + 1) || (to && (int)to != k + 1))
                continue;
            if (strcmp(what, "cut") == 0)
                w->cut = true;
            else if (strcmp(what, "loss") == 0)
                w->loss = a;
            else if (strcmp(what, "twice") == 0)
                w->twice = a;
            else if (strcmp(what, "delay") == 0) {
                w->delay_ms = a;
                w->jitter_ms = b;
            } else
                errx(1, "no such order: %s", line);
        }
}

/* False: stdin has ended. */
static bool take_orders(void) {
    static char text[4096];
    static size_t len;
    ssize_t n = read(STDIN_FILENO, text + len, sizeof text - len - 1);
    if (n <= 0)
        return n < 0 && (errno == EAGAIN || errno == EINTR);
    len += (size_t)n;
    text[len] = '\0';
    char *line = text, *end;
    while ((end = strchr(line, '\n')) != NULL) {
        *end = '\0';
        order(line);
        line = end + 1;
    }
    len -= (size_t)(line - text);
    memmove(text, line, len);
    return true;
}

static void forward(int from) {
    unsigned char bytes[PACKET_MAX];
    ssize_t n;
    for (int turn = 0; turn < 64 && (n = read(tuns[from], bytes, sizeof bytes)) > 0; turn++)
        pass(from, bytes, (size_t)n);
}

int main(int argc, char **argv) {
    struct pollfd polled[NODES_MAX + 1] = {{.fd = STDIN_FILENO, .events = POLLIN}};
    nodes = argc - 1;
    if (nodes < 1 || nodes > NODES_MAX)
        errx(2, "usage: netswitch NAMESPACE...");
    for (int i = 0; i < nodes; i++) {
        tuns[i] = open_tun(argv[i + 1], i + 1);
        polled[i + 1] = (struct pollfd){.fd = tuns[i], .events = POLLIN};
    }
    puts("ready");
    fflush(stdout);
    for (;;) {
        uint64_t now = now_ns();
        while (queued > 0 && queue[0]->due_ns <= now) {
            struct packet *p = take();
            give(p->to, p->bytes, p->len);
            free(p);
        }
        struct timespec wait = {1, 0};
        if (queued > 0 && queue[0]->due_ns - now < 1000000000u)
            wait = (struct timespec){0, (long)(queue[0]->due_ns - now)};
        if (ppoll(polled, (nfds_t)nodes + 1, &wait, NULL) < 0 && errno != EINTR)
            err(1, "poll");
        if (polled[0].revents && !take_orders())
            return 0;
        for (int i = 0; i < nodes; i++)
            if (polled[i + 1].revents)
                forward(i);
    }
}
