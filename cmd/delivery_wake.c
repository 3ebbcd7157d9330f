/* delivery_wake.c: a thread that waits for events in the store while the tool waits for children. */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "delivery_inside.h"

enum { SLICE_MS = 1000, AGAIN_US = 10000 };

struct cmd_waker {
    esdb *db; /* a handle of its own: one belongs to one thread */
    int fd;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t work;
    bool armed;
    atomic_bool closing;
    uint64_t position;
};

/* Until there is something at or after `position`. A failure counts too: who looks then meets it. */
static void wait_for_more(struct cmd_waker *w, uint64_t position) {
    struct esdb_query q;
    struct esdb_event e;
    esdb_cursor *cursor;

    esdb_query_init(&q);
    q.flags = ESDB_ALL | ESDB_WITH_SYSTEM;
    q.from_position = position;
    if (esdb_cursor_open(w->db, &q, &cursor, NULL) != 0) {
        usleep(AGAIN_US);
        return;
    }
    while (esdb_cursor_next(cursor, &e, NULL) == ESDB_END && !w->closing)
        while (esdb_cursor_wait(cursor, SLICE_MS, NULL) == ESDB_END && !w->closing)
            ;
    esdb_cursor_close(cursor);
}

static void *run(void *context) {
    struct cmd_waker *w = context;
    uint64_t one = 1;

    for (;;) {
        uint64_t position;

        pthread_mutex_lock(&w->mutex);
        while (!w->armed && !w->closing)
            pthread_cond_wait(&w->work, &w->mutex);
        position = w->position;
        pthread_mutex_unlock(&w->mutex);
        if (w->closing)
            return NULL;
        wait_for_more(w, position);
        pthread_mutex_lock(&w->mutex);
        w->armed = false;
        if (write(w->fd, &one, sizeof one) < 0)
            w->armed = false; /* the counter cannot be full */
        pthread_mutex_unlock(&w->mutex);
    }
}

struct cmd_waker *cmd_waker_start(const esdb *db) {
    struct cmd_waker *w = calloc(1, sizeof *w);
    sigset_t all, old;
    int rc;

    if (!w)
        return NULL;
    if (esdb_open(esdb_path(db), ESDB_READ, &w->db, NULL) != 0)
        goto err_after_alloc;
    if ((w->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) < 0)
        goto err_after_open;
    pthread_mutex_init(&w->mutex, NULL);
    pthread_cond_init(&w->work, NULL);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old); /* signals belong to the thread that delivers */
    rc = pthread_create(&w->thread, NULL, run, w);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (rc == 0)
        return w;
    pthread_cond_destroy(&w->work);
    pthread_mutex_destroy(&w->mutex);
    close(w->fd);
err_after_open:
    esdb_close(w->db);
err_after_alloc:
    free(w);
    return NULL;
}

void cmd_waker_arm(struct cmd_waker *w, uint64_t position) {
    pthread_mutex_lock(&w->mutex);
    if (!w->armed) {
        uint64_t count;

        if (read(w->fd, &count, sizeof count) < 0)
            count = 0; /* it was not set */
        w->armed = true;
        w->position = position;
        pthread_cond_signal(&w->work);
    }
    pthread_mutex_unlock(&w->mutex);
}

int cmd_waker_fd(const struct cmd_waker *w) {
    return w->fd;
}

void cmd_waker_stop(struct cmd_waker *w) {
    if (!w)
        return;
    pthread_mutex_lock(&w->mutex);
    w->closing = true;
    pthread_cond_signal(&w->work);
    pthread_mutex_unlock(&w->mutex);
#ifdef __SANITIZE_ADDRESS__
    pthread_join(w->thread, NULL);
    esdb_close(w->db);
    pthread_cond_destroy(&w->work);
    pthread_mutex_destroy(&w->mutex);
    close(w->fd);
    free(w);
#else
    pthread_detach(w->thread); /* it may look at `closing` in a second only, and the process is about to end */
#endif
}
