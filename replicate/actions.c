#include <stdlib.h>
#include <string.h>

#include "replicate/driver_internal.h"

struct rep_chunk {
    struct rep_chunk *next;
    max_align_t bytes[];
};

static struct rep_action scratch; /* where an action goes that there is no memory for: the event fails anyway */

struct rep_action *rep_act(struct rep_driver *d, enum rep_action_type type) {
    struct rep_actions *a = &d->actions;
    if (a->count == a->room) {
        size_t room = a->room ? a->room * 2 : 32;
        struct rep_action *at = realloc(a->at, room * sizeof *at);
        if (!at) {
            a->failed = true;
            return &scratch;
        }
        a->at = at;
        a->room = room;
    }
    struct rep_action *one = &a->at[a->count++];
    *one = (struct rep_action){.type = type};
    return one;
}

void *rep_memory(struct rep_driver *d, size_t len) {
    struct rep_chunk *c = calloc(1, sizeof *c + len);
    if (!c) {
        d->actions.failed = true;
        return NULL;
    }
    c->next = d->actions.memory;
    d->actions.memory = c;
    return c->bytes;
}

void *rep_copy(struct rep_driver *d, const void *from, size_t len) {
    void *to = rep_memory(d, len);
    if (to && len)
        memcpy(to, from, len);
    return to;
}

void rep_actions_clear(struct rep_actions *a) {
    while (a->memory) {
        struct rep_chunk *c = a->memory;
        a->memory = c->next;
        free(c);
    }
    a->count = a->taken = 0;
    a->failed = false;
}

void rep_actions_release(struct rep_actions *a) {
    rep_actions_clear(a);
    free(a->at);
    a->at = NULL;
    a->room = 0;
}

const struct rep_action *rep_next(struct rep_driver *d) {
    struct rep_actions *a = &d->actions;
    return a->taken < a->count ? &a->at[a->taken++] : NULL;
}
