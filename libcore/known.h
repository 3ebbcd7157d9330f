/* known.h: the streams that this handle appended to, with their versions, so that a bulk import does not ask the index and
 * the log for what it has just written. Good only as long as nobody else appends in between. */
#ifndef ES_KNOWN_H
#define ES_KNOWN_H

#include "batch.h"
#include "store.h"

#define ES_KNOWN_NAME_MAX 36u /* longer names are not remembered: a slot is one cache line */

struct es_known {
    uint64_t hash;
    int64_t version;
    uint32_t last;    /* as in struct es_batch_stream */
    uint8_t name_len; /* 0: an empty slot */
    char name[ES_KNOWN_NAME_MAX];
};

/* Append lock held. Forgets everything when somebody else has appended since. */
void es_known_begin(esdb *db, const struct fmt_mark *tail);

/* NULL: not known. Valid until the next es_known_keep. */
const struct es_known *es_known_find(const esdb *db, uint64_t hash, struct esdb_text name);

/* Append lock held. Remembers the streams of a batch that was written, when it is large; *tail is the log's end now. */
void es_known_keep(esdb *db, const esdb_batch *b, const struct fmt_mark *tail);

void es_known_release(esdb *db);

#endif
