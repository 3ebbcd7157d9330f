#include "stream_filter.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "format/checksum.h"
#include "os.h"

#define CACHE_SLOTS 4096u /* a regular expression takes a microsecond, and streams come again and again */

/* ---- making ---- */

static int compile_each(struct es_stream_filter *f, struct esdb_error *err) {
    for (; f->regex_count < f->stream_count; f->regex_count++) {
        const struct es_pattern *p = &f->streams[f->regex_count];
        char why[128], text[256];
        size_t len = p->len < sizeof text - 1 ? p->len : sizeof text - 1;
        memcpy(text, p->text, len);
        text[len] = '\0';
        if (p->len >= sizeof text || memchr(p->text, '\0', p->len))
            return es_fail(err, ESDB_EUSAGE, "a regular expression has 1 to %zu bytes", sizeof text - 1);
        int code = regcomp(&f->regexes[f->regex_count], text, REG_EXTENDED | REG_NOSUB);
        if (code != 0) {
            regerror(code, &f->regexes[f->regex_count], why, sizeof why);
            return es_fail(err, ESDB_EUSAGE, "'%s' is no regular expression: %s", text, why);
        }
    }
    return 0;
}

static int compile(struct es_stream_filter *f, struct esdb_error *err) {
    f->utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
    f->regexes = calloc(f->stream_count, sizeof *f->regexes);
    f->decided = calloc(CACHE_SLOTS, sizeof *f->decided);
    if (!f->regexes || !f->decided)
        return es_fail(err, -ENOMEM, "streams");
    if (es_random(&f->seed, sizeof f->seed) < 0)
        f->seed = es_clock_us();
    locale_t before = f->utf8 ? uselocale(f->utf8) : (locale_t)0;
    int rc = compile_each(f, err);
    if (f->utf8)
        uselocale(before);
    return rc;
}

static int init(struct es_stream_filter *f, const struct esdb_query *q, struct esdb_error *err) {
    bool as_is = q->flags & (ESDB_LITERAL | ESDB_REGEX);
    if (q->stream_count == 0 && !(q->flags & ESDB_ALL))
        return es_fail(err, ESDB_EUSAGE, "no stream was named");
    if (q->partitions && (q->partition < 1 || q->partition > q->partitions))
        return es_fail(err, ESDB_EUSAGE, "there is no partition %u of %u", q->partition, q->partitions);
    f->streams = calloc(q->stream_count + 1, sizeof *f->streams);
    if (!f->streams)
        return es_fail(err, -ENOMEM, "streams");
    for (; f->stream_count < q->stream_count; f->stream_count++)
        if (es_pattern_init(&f->streams[f->stream_count], q->streams[f->stream_count], as_is) < 0)
            return es_fail(err, -ENOMEM, "streams");
    return q->flags & ESDB_REGEX && q->stream_count > 0 ? compile(f, err) : 0;
}

int es_stream_filter_init(struct es_stream_filter *f, const struct esdb_query *q, struct esdb_error *err) {
    *f = (struct es_stream_filter){.flags = q->flags, .partition = q->partition, .partitions = q->partitions};
    int rc = init(f, q, err);
    if (rc < 0)
        es_stream_filter_release(f);
    return rc;
}

void es_stream_filter_release(struct es_stream_filter *f) {
    for (size_t i = 0; i < f->stream_count; i++)
        es_pattern_release(&f->streams[i]);
    for (size_t i = 0; i < f->regex_count; i++)
        regfree(&f->regexes[i]);
    if (f->utf8)
        freelocale(f->utf8);
    free(f->streams);
    free(f->regexes);
    free(f->decided);
    *f = (struct es_stream_filter){0};
}

/* ---- asking ---- */

static bool regex_matches(const struct es_stream_filter *f, struct esdb_text stream) {
    locale_t before = f->utf8 ? uselocale(f->utf8) : (locale_t)0;
    bool found = false;
    for (size_t i = 0; !found && i < f->regex_count; i++) {
        regmatch_t whole = {.rm_so = 0, .rm_eo = (regoff_t)stream.len};
        found = regexec(&f->regexes[i], stream.at, 1, &whole, REG_STARTEND) == 0;
    }
    if (f->utf8)
        uselocale(before);
    return found;
}

/* A slot holds the hash of a name, whose lowest bit is the answer; the seed is secret, so nobody can make two names
 * agree. */
static bool regex_decides(struct es_stream_filter *f, struct esdb_text stream) {
    uint64_t hash = XXH3_64bits_withSeed(stream.at, stream.len, f->seed);
    uint64_t *slot = &f->decided[hash >> 52];
    if (*slot == 0 || (*slot ^ hash) >> 1 != 0)
        *slot = (hash & ~1ull) | regex_matches(f, stream);
    return *slot & 1;
}

static bool name_wanted(struct es_stream_filter *f, struct esdb_text stream) {
    bool system = stream.len && stream.at[0] == '$', open = f->flags & ESDB_WITH_SYSTEM;
    if (f->flags & ESDB_ALL)
        return !system || open;
    if (f->flags & ESDB_REGEX)
        return (!system || open) && regex_decides(f, stream);
    for (size_t i = 0; i < f->stream_count; i++) {
        const struct es_pattern *p = &f->streams[i];
        bool named = p->len && p->text[0] == '$'; /* a name or pattern that begins so asks for system streams */
        if ((!system || open || named) && es_pattern_matches(p, stream))
            return true;
    }
    return false;
}

bool es_stream_filter_wants(struct es_stream_filter *f, struct esdb_text stream) {
    return name_wanted(f, stream) && (f->partitions == 0 || esdb_partition(stream, f->partitions) == f->partition);
}

/* ---- names ---- */

static int compare(const void *a, const void *b) {
    const struct es_pattern *x = a, *y = b;
    size_t len = x->len < y->len ? x->len : y->len;
    int order = memcmp(x->text, y->text, len);
    return order ? order : x->len < y->len ? -1 : x->len > y->len;
}

int es_stream_filter_names(struct es_stream_filter *f, struct esdb_text **names, size_t *count) {
    *names = NULL;
    if (f->flags & (ESDB_ALL | ESDB_REGEX))
        return 0;
    for (size_t i = 0; i < f->stream_count; i++)
        if (!f->streams[i].literal)
            return 0;
    struct esdb_text *out = calloc(f->stream_count, sizeof *out);
    if (!out)
        return -ENOMEM;
    qsort(f->streams, f->stream_count, sizeof *f->streams, compare);
    *count = 0;
    for (size_t i = 0; i < f->stream_count; i++) {
        struct esdb_text name = {f->streams[i].text, f->streams[i].len};
        bool again = i > 0 && compare(&f->streams[i - 1], &f->streams[i]) == 0;
        if (!again && (f->partitions == 0 || esdb_partition(name, f->partitions) == f->partition))
            out[(*count)++] = name;
    }
    *names = out;
    return 0;
}
