/* progress.c: a line about long work at a terminal: rate, share, time left. See cmd.h. */
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cmd.h"

#define FIRST_MS 1000
#define EVERY_MS 200

uint64_t cmd_now_ms(void) {
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

void cmd_progress_begin(struct cmd_progress *p, const char *what) {
    *p = (struct cmd_progress){.what = what, .begin_ms = cmd_now_ms(), .off = !isatty(STDERR_FILENO)};
}

/* "12.3 MiB" or "1.2 M". */
static void put_amount(char *at, size_t room, double n, bool bytes) {
    static const char *const sizes[] = {" B", " KiB", " MiB", " GiB", " TiB"};
    static const char *const counts[] = {"", " k", " M", " G", " T"};
    double step = bytes ? 1024 : 1000;
    int i = 0;

    for (; n >= step && i < 4; i++)
        n /= step;
    snprintf(at, room, i == 0 ? "%.0f%s" : "%.1f%s", n, bytes ? sizes[i] : counts[i]);
}

void cmd_progress_update(struct cmd_progress *p, uint64_t done, uint64_t total, bool bytes) {
    char amount[32], rate[32], line[160];
    int len;

    if (p->off)
        return;

    uint64_t now = cmd_now_ms(), spent = now - p->begin_ms;

    if (spent < FIRST_MS || now - p->shown_ms < EVERY_MS)
        return;
    p->shown_ms = now;
    put_amount(amount, sizeof amount, (double)done, bytes);
    put_amount(rate, sizeof rate, (double)done * 1000 / (double)spent, bytes);
    len = snprintf(line, sizeof line, "\r%s %s, %s/s", p->what, amount, rate);
    if (total > 0 && done > 0 && done <= total) {
        uint64_t left = (uint64_t)((double)spent * (double)(total - done) / (double)done / 1000 + 0.5);

        len +=
            snprintf(line + len, sizeof line - (size_t)len, ", %d %%, %llu:%02u left",
                     (int)(100.0 * (double)done / (double)total), (unsigned long long)left / 60, (unsigned)(left % 60));
    }
    len += snprintf(line + len, sizeof line - (size_t)len, "\033[K");
    if (write(STDERR_FILENO, line, (size_t)len) < 0)
        p->off = true;
    p->visible = true;
}

void cmd_progress_end(struct cmd_progress *p) {
    if (p->visible && write(STDERR_FILENO, "\r\033[K", 4) < 0)
        p->off = true;
    p->visible = false;
}
