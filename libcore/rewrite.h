/* rewrite.h: a sealed segment in another form: without some of its events, compressed or not any more, or both. Written beside, synced, read
 * again from the disk, renamed over the old one. FORMAT.md section 10. */
#ifndef ES_REWRITE_H
#define ES_REWRITE_H

#include "store.h"

struct fmt_event;

enum es_rewrite_form { ES_AS_IT_WAS, ES_COMPRESSED, ES_PLAIN };

struct es_rewrite {
    esdb *db;
    uint64_t name;
    int (*fate)(void *context, const struct fmt_event *e); /* as of es_thinner */
    void *context;
    uint64_t decision_index;
    enum es_rewrite_form form;
    bool nothing_new; /* no event goes: it stays as it is when compression does not make it smaller */
    /* results */
    uint64_t events, bytes_before, bytes;
    bool compressed, decompressed; /* and was not so before */
    bool kept;                     /* it stayed as it is */
};

/* Compaction lock held. ESDB_ECORRUPT: it is damaged and stayed as it is, as with -errno. */
int es_rewrite_segment(struct es_rewrite *r, struct esdb_error *err);

#endif
