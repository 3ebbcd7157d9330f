#include "stream_names.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "index.h"
#include "recover.h"

int es_each_sealed_stream(esdb *db, uint64_t active, struct esdb_text prefix,
                          int (*fn)(void *context, const struct es_directory_stream *s), void *context,
                          struct esdb_error *err) {
    struct es_directory *d;
    struct es_directory_walk *w;
    struct es_directory_stream s;
    int rc = es_directory_get(db, active, &d, err);
    if (rc == 0)
        rc = es_directory_walk_open(d, prefix, &w, err);
    if (rc < 0)
        return rc;
    while ((rc = es_directory_walk_next(w, &s, err)) == 0) {
        if (s.stream_id.len < prefix.len || memcmp(s.stream_id.at, prefix.at, prefix.len) != 0)
            break;
        if ((rc = fn(context, &s)) != 0)
            break;
    }
    es_directory_walk_close(w);
    return rc == ESDB_END ? 0 : rc;
}

/* As es_view_names gives them. */
static int add_name(void *context, const struct es_directory_stream *s) {
    unsigned char len = (unsigned char)s->stream_id.len;
    int rc = es_buffer_add(context, &len, 1);
    return rc == 0 ? es_buffer_add(context, s->stream_id.at, len) : rc;
}

/* A byte that holds the length, then the name; in no order. */
static int gather(esdb *db, struct esdb_text prefix, struct es_buffer *names, struct esdb_error *err) {
    struct es_visible vis;
    struct es_view active;
    int rc = es_visible(db, &vis, err);
    if (rc == 0)
        rc = es_view_open(db, vis.segment, vis.end_position, &active, err);
    if (rc == 0)
        rc = es_view_names(&active, prefix, names, err);
    if (rc == 0)
        rc = es_each_sealed_stream(db, vis.segment, prefix, add_name, names, err);
    if (rc == 0)
        rc = es_index_is_whole(db, err);
    return rc < 0 ? rc : es_visible_is_whole(db, &vis, err);
}

static int compare(const void *a, const void *b) {
    const struct esdb_text *x = a, *y = b;
    int order = memcmp(x->at, y->at, x->len < y->len ? x->len : y->len);
    return order ? order : (x->len > y->len) - (x->len < y->len);
}

int es_stream_names(esdb *db, struct esdb_text prefix, struct esdb_text **names, size_t *count,
                    struct esdb_error *err) {
    struct es_buffer found = {0};
    size_t n = 0, kept = 0;
    int rc = gather(db, prefix, &found, err);
    for (size_t at = 0; rc == 0 && at < found.len; at += 1u + found.at[at])
        n++;
    struct esdb_text *list = rc == 0 ? malloc(n * sizeof *list + found.len + 1) : NULL;
    if (rc == 0 && !list)
        rc = es_fail(err, -ENOMEM, "names of streams");
    if (rc == 0 && n > 0) {
        char *bytes = (char *)(list + n);
        size_t i = 0;
        memcpy(bytes, found.at, found.len);
        for (size_t at = 0; at < found.len; at += 1u + found.at[at])
            list[i++] = (struct esdb_text){bytes + at + 1, found.at[at]};
        qsort(list, n, sizeof *list, compare);
        for (i = 0; i < n; i++)
            if (kept == 0 || compare(&list[kept - 1], &list[i]) != 0)
                list[kept++] = list[i];
    }
    es_buffer_release(&found);
    if (rc < 0)
        return rc;
    *names = list;
    *count = kept;
    return 0;
}
