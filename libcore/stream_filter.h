/* stream_filter.h: which streams a query is about: names, patterns, regular expressions, a partition. */
#ifndef ES_STREAM_FILTER_H
#define ES_STREAM_FILTER_H

#include <locale.h>
#include <regex.h>

#include "error.h"
#include "pattern.h"

struct es_stream_filter {
    unsigned flags;             /* enum esdb_query_flags */
    struct es_pattern *streams; /* owned */
    size_t stream_count;
    locale_t utf8;    /* owned: in it, regular expressions see characters, not bytes; 0: there is none */
    regex_t *regexes; /* owned; with ESDB_REGEX: one for each of the streams */
    size_t regex_count;
    uint32_t partition, partitions;
    uint64_t seed;
    uint64_t *decided; /* owned; with ESDB_REGEX: a cache of answers by hash: see stream_filter.c */
};

/* ESDB_EUSAGE: no stream is named, a regular expression is wrong, there is no such partition. */
int es_stream_filter_init(struct es_stream_filter *f, const struct esdb_query *q, struct esdb_error *err);
void es_stream_filter_release(struct es_stream_filter *f);

bool es_stream_filter_wants(struct es_stream_filter *f, struct esdb_text stream);

/* The streams that are named, each once, in byte order, when all of them are names; *names is the caller's, the texts are
 * the filter's. NULL: there are patterns, or everything is wanted. -ENOMEM. */
int es_stream_filter_names(struct es_stream_filter *f, struct esdb_text **names, size_t *count);

#endif
