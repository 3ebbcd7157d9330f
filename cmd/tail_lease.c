/* tail_lease.c: keeps the lease of a named subscription of a replicated store. A thread with a handle of its own renews it, also
 * while the tool waits for a slow reader; a timer ends the tool in time when that does not succeed, also when it was stopped
 * for long. At four fifths of the lease nothing more is given, as after SIGTERM; what still blocks a little before its end is
 * left by _exit(). See tail_named.h. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tail_named.h"

enum { STATUS = 6, RENEWALS = 3, LOOKS = 12, LOOK_MIN_MS = 50 };

struct named_lease {
    esdb *db; /* of the thread */
    esdb_subscription *sub;
    uint64_t epoch, ms;
    pthread_t thread;
    pthread_mutex_t mutex; /* of closing and why */
    pthread_cond_t work;
    bool closing;
    struct esdb_error why; /* the renewal that failed last */
    timer_t timer;
};

/* CLOCK_BOOTTIME, in ms; for the signal handler. */
static _Atomic uint64_t soft_ms = UINT64_MAX, hard_ms = UINT64_MAX;
static atomic_bool over, taken, prints;
static char last_words[400];
static size_t last_words_len;

static uint64_t now_ms(clockid_t id) {
    struct timespec t;

    clock_gettime(id, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void on_alarm(int signal) {
    uint64_t now = now_ms(CLOCK_BOOTTIME);
    int kept = errno;

    if (taken || now >= soft_ms) {
        over = true;
        cmd_stopped = signal;
    }
    if (prints && now >= hard_ms) {
        if (write(STDERR_FILENO, last_words, last_words_len) < 0)
            _exit(STATUS);
        _exit(STATUS);
    }
    errno = kept;
}

/* It lasts from then on. */
static void arm(struct named_lease *l, uint64_t began_ms) {
    struct itimerspec t = {0};
    uint64_t soft = began_ms + l->ms * 4 / 5, hard = began_ms + l->ms * 19 / 20;

    hard_ms = hard;
    soft_ms = soft;
    t.it_value = (struct timespec){(time_t)(soft / 1000), (long)(soft % 1000) * 1000000};
    t.it_interval = (struct timespec){(time_t)((hard - soft) / 1000), (long)((hard - soft) % 1000) * 1000000};
    timer_settime(l->timer, TIMER_ABSTIME, &t, NULL);
}

/* Renews it when it is due. */
static void look(struct named_lease *l) {
    uint64_t now = now_ms(CLOCK_BOOTTIME), began, end = hard_ms;
    struct esdb_error err = {0};
    int rc;

    esdb_set_lock_timeout(l->db, end > now + LOOK_MIN_MS ? (int)(end - now) : LOOK_MIN_MS);
    rc = esdb_subscription_renew(l->sub, l->epoch, l->ms / RENEWALS, &began, &err);
    if (rc == 0) {
        arm(l, began);
        return;
    }
    pthread_mutex_lock(&l->mutex);
    l->why = err;
    pthread_mutex_unlock(&l->mutex);
    if (rc == ESDB_ECONFLICT || rc == ESDB_ENOTFOUND) {
        taken = true;
        kill(getpid(), SIGALRM); /* the other threads of this process do not take signals */
    }
}

static void *run(void *context) {
    struct named_lease *l = context;
    uint64_t tick = l->ms / LOOKS > LOOK_MIN_MS ? l->ms / LOOKS : LOOK_MIN_MS;

    pthread_mutex_lock(&l->mutex);
    while (!l->closing && !over) {
        struct timespec t;

        clock_gettime(CLOCK_MONOTONIC, &t);
        t.tv_nsec += (long)(tick % 1000) * 1000000;
        t.tv_sec += (time_t)(tick / 1000) + t.tv_nsec / 1000000000;
        t.tv_nsec %= 1000000000;
        pthread_cond_timedwait(&l->work, &l->mutex, &t);
        if (l->closing || over)
            break;
        pthread_mutex_unlock(&l->mutex);
        look(l);
        pthread_mutex_lock(&l->mutex);
    }
    pthread_mutex_unlock(&l->mutex);
    return NULL;
}

static int start_thread(struct named_lease *l) {
    pthread_condattr_t clock;
    sigset_t all, old;
    int rc;

    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&l->work, &clock);
    pthread_condattr_destroy(&clock);
    pthread_mutex_init(&l->mutex, NULL);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old); /* signals belong to the thread that delivers */
    rc = pthread_create(&l->thread, NULL, run, l);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return rc;
}

/* Its own view of the subscription, and when the lease began. 0 or a code. */
static int open_own(struct named_lease *l, const struct named *n, uint64_t *began, struct esdb_error *err) {
    int rc = esdb_open(esdb_path(n->db), ESDB_APPEND, &l->db, err);

    if (rc != 0)
        return rc;
    if ((rc = esdb_subscription_open(l->db, cmd_text(n->t->name), n->t->part, &l->sub, err)) == 0) {
        esdb_subscription_set_lease(l->sub, l->ms);
        rc = esdb_subscription_renew(l->sub, l->epoch, 0, began, err);
    }
    if (rc == 0)
        return 0;
    esdb_subscription_close(l->sub);
    esdb_close(l->db);
    return rc;
}

int cmd_lease_keep(struct named *n) {
    struct sigaction action = {.sa_handler = on_alarm};
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM};
    struct esdb_subscription_info info;
    struct esdb_error err = {0};
    struct named_lease *l;
    uint64_t began = 0;
    int rc = esdb_subscription_info(n->sub, &info, &err);

    if (rc != 0)
        return cmd_report(rc, &err);
    if (info.lease_ms == 0)
        return 0;
    l = cmd_alloc(sizeof *l);
    l->epoch = info.epoch;
    l->ms = info.lease_ms;
    if ((rc = open_own(l, n, &began, &err)) != 0) {
        free(l);
        return cmd_report(rc == ESDB_ECONFLICT ? ESDB_EUNAVAILABLE : rc, &err);
    }
    last_words_len = (size_t)snprintf(last_words, sizeof last_words,
                                      "esdb-tail: %.300s: the lease could not be renewed\n", n->t->name);
    prints = n->t->delivery.mode == CMD_DELIVERY_NONE;
    sigaction(SIGALRM, &action, NULL);
    if (timer_create(CLOCK_BOOTTIME, &event, &l->timer) != 0 || start_thread(l) != 0) {
        cmd_message("cannot keep a lease: %s", strerror(errno));
        _exit(1); /* nothing was given yet */
    }
    arm(l, began);
    n->lease = l;
    return 0;
}

uint64_t cmd_lease_until(const struct named *n) {
    uint64_t now, hard = hard_ms;

    if (!n->lease)
        return UINT64_MAX;
    now = now_ms(CLOCK_BOOTTIME);
    return now_ms(CLOCK_MONOTONIC) + (taken || hard <= now ? 0 : hard - now);
}

int cmd_lease_end(struct named *n, int status) {
    struct named_lease *l = n->lease;

    if (!l)
        return status;
    pthread_mutex_lock(&l->mutex);
    l->closing = true;
    pthread_cond_signal(&l->work);
    pthread_mutex_unlock(&l->mutex);
    pthread_join(l->thread, NULL);
    timer_delete(l->timer);
    if (over && status != STATUS) {
        cmd_message("%s: %s", n->t->name,
                    taken ? "was taken over" : "the lease could not be renewed: another host may take it over");
        if (l->why.code != 0)
            cmd_message("%s", l->why.text);
        status = STATUS;
    }
    esdb_subscription_close(l->sub);
    esdb_close(l->db);
    pthread_cond_destroy(&l->work);
    pthread_mutex_destroy(&l->mutex);
    free(l);
    n->lease = NULL;
    return status;
}
