#include "sealer.h"

#include <pthread.h>
#include <stdlib.h>

struct cmd_sealer {
    esdb *db; /* a handle of its own: one belongs to one thread */
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t work;
    bool poked, closing;
};

/* Failures are left to the next one who seals: indexes can always be made again. */
static void *run(void *context) {
    struct cmd_sealer *s = context;
    bool closing = false;

    while (!closing) {
        pthread_mutex_lock(&s->mutex);
        while (!s->poked && !s->closing)
            pthread_cond_wait(&s->work, &s->mutex);
        s->poked = false;
        closing = s->closing;
        pthread_mutex_unlock(&s->mutex);
        (void)esdb_seal(s->db, NULL);
    }
    return NULL;
}

struct cmd_sealer *cmd_sealer_start(const esdb *db) {
    struct cmd_sealer *s = calloc(1, sizeof *s);

    if (!s)
        return NULL;
    if (esdb_open(esdb_path(db), ESDB_APPEND, &s->db, NULL) != 0) {
        free(s);
        return NULL;
    }
    pthread_mutex_init(&s->mutex, NULL);
    pthread_cond_init(&s->work, NULL);
    if (pthread_create(&s->thread, NULL, run, s) != 0) {
        esdb_close(s->db);
        free(s);
        return NULL;
    }
    return s;
}

void cmd_sealer_poke(struct cmd_sealer *s) {
    pthread_mutex_lock(&s->mutex);
    s->poked = true;
    pthread_cond_signal(&s->work);
    pthread_mutex_unlock(&s->mutex);
}

void cmd_sealer_stop(struct cmd_sealer *s) {
    if (!s)
        return;
    pthread_mutex_lock(&s->mutex);
    s->closing = true;
    pthread_cond_signal(&s->work);
    pthread_mutex_unlock(&s->mutex);
    pthread_join(s->thread, NULL);
    esdb_close(s->db);
    pthread_mutex_destroy(&s->mutex);
    pthread_cond_destroy(&s->work);
    free(s);
}
