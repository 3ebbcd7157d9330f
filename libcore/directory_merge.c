/* Merging tables. Eight adjacent units of one size class become one table: written under a temporary name, renamed, and
 * only then are the tables that it covers removed. Wherever this stops, the widest valid table is taken by the next
 * reader, and what it covers is ignored by it and removed by the next merge. */
#include <errno.h>
#include <stdlib.h>

#include "directory.h"
#include "directory_units.h"
#include "format/bytes.h"
#include "os.h"

#define FAN 8u

/* ---- removing what is of no use ---- */

struct rubbish {
    const struct es_directory *d;
    struct es_buffer names; /* ES_TABLE_NAME_MAX + 32 bytes each */
};
enum { RUBBISH_NAME = ES_TABLE_NAME_MAX + 32 };

/* Is the table with this range none of those in use, though all segments of the range are known here? */
static bool useless(const struct es_directory *d, uint64_t first, uint64_t last) {
    if (last >= d->sealed[d->sealed_count])
        return false; /* made by somebody who knows more segments */
    for (size_t i = 0; i < d->unit_count; i++) {
        const struct es_unit *u = &d->unit[i];
        if (u->is_table && d->sealed[u->from] == first && d->sealed[u->to] - 1 == last)
            return false;
    }
    return true;
}

static int note_rubbish(void *context, const char *name) {
    struct rubbish *r = context;
    char copy[RUBBISH_NAME] = "";
    uint64_t first, last;
    size_t len = strlen(name), suffix = sizeof ES_TABLE_TEMPORARY - 1;
    bool temporary = len > suffix && memcmp(name + len - suffix, ES_TABLE_TEMPORARY, suffix) == 0;
    if (len >= sizeof copy || !(temporary || (es_table_name_parse(name, &first, &last) && useless(r->d, first, last))))
        return 0;
    memcpy(copy, name, len);
    return es_buffer_add(&r->names, copy, sizeof copy);
}

/* What cannot be removed now is removed another time. */
static int remove_rubbish(const struct es_directory *d, struct esdb_error *err) {
    struct rubbish r = {.d = d};
    int rc = es_list_dir(d->dir, ".", note_rubbish, &r);
    for (size_t at = 0; rc == 0 && at < r.names.len; at += RUBBISH_NAME)
        es_unlinkat(d->dir, (const char *)r.names.at + at);
    es_buffer_release(&r.names);
    return rc < 0 ? es_fail(err, rc, "tables") : 0;
}

/* ---- choosing what to merge ---- */

/* Tables of 8^n segments are of class n; a segment is of class 0. */
static unsigned size_class(const struct es_unit *u) {
    unsigned class = 0;
    for (size_t n = u->to - u->from; n >= FAN; n /= FAN)
        class ++;
    return class;
}

/* Opens every table in use, so that damaged ones are known and do not count. */
static int open_tables(struct es_directory *d, struct esdb_error *err) {
    int rc = ES_PLAN_CHANGED;
    while (rc == ES_PLAN_CHANGED) {
        rc = 0;
        for (size_t i = 0; rc == 0 && i < d->unit_count; i++)
            if (d->unit[i].is_table)
                rc = es_unit_open(d, i, err);
    }
    return rc;
}

/* May unit i become part of a table? Not when its segment was damaged when it was indexed (the table would keep that
 * after the segment has been restored) or ends otherwise than its successor says. 0, ES_PLAN_CHANGED or an error. */
static int check_unit(struct es_directory *d, size_t i, bool *good, struct esdb_error *err) {
    int rc = es_unit_open(d, i, NULL);
    *good = false;
    if (rc != 0)
        return rc == ESDB_ECORRUPT ? 0 : rc < 0 ? es_fail(err, rc, "stream directory") : rc;
    const struct es_unit *u = &d->unit[i];
    uint64_t next = d->sealed[u->to], checksum;
    *good = u->table->header.last_index == next - 1 && !fmt_table_find(u->table, FMT_SECTION_DAMAGE);
    if (*good && d->src.segment_prev_checksum && d->src.segment_prev_checksum(d->src.context, next, &checksum) == 0)
        *good = checksum == u->table->header.last_checksum;
    return 0;
}

/* The first of FAN adjacent units of the given class that may be merged. 0, ESDB_END: there are none, or an error.
 * *changed: the units are others now, nothing was found. */
static int find_run(struct es_directory *d, unsigned class, size_t *out, bool *changed, struct esdb_error *err) {
    size_t run = 0;
    for (size_t i = 0; i < d->unit_count; i++) {
        run = size_class(&d->unit[i]) == class ? run + 1 : 0;
        if (run < FAN)
            continue;
        bool good = true;
        for (size_t k = i + 1 - FAN; good && k <= i; k++) {
            int rc = check_unit(d, k, &good, err);
            if (rc != 0) {
                *changed = rc == ES_PLAN_CHANGED;
                return rc < 0 ? rc : 0;
            }
            if (!good)
                run = i - k; /* goes on after the bad one */
        }
        if (good) {
            *out = i + 1 - FAN;
            return 0;
        }
    }
    return ESDB_END;
}

/* ---- writing one table ---- */

struct merge {
    struct es_directory *d;
    size_t from, to; /* segments */
    struct es_table_writer writer;
    struct fmt_table_builder builder;
    struct es_fences fences;
};

static int put_places(struct merge *m, struct es_directory_walk *w, struct esdb_error *err) {
    struct es_directory_stream s;
    int rc;
    fmt_table_array_begin(&m->builder, FMT_SECTION_PLACES, 24);
    while ((rc = es_directory_walk_next(w, &s, err)) == 0) {
        for (size_t i = 0; i < s.place_count; i++) {
            unsigned char bytes[24];
            fmt_put64(bytes, s.places[i].segment);
            fmt_put64(bytes + 8, s.places[i].first_version);
            fmt_put64(bytes + 16, s.places[i].count);
            rc = fmt_table_array_put(&m->builder, bytes);
            if (rc < 0)
                return rc;
        }
    }
    return rc < 0 ? rc : fmt_table_array_end(&m->builder);
}

static int put_streams(struct merge *m, struct es_directory_walk *w, struct esdb_error *err) {
    struct fmt_fences fences = es_fences_of(&m->fences);
    struct es_directory_stream s;
    uint64_t place = 0;
    int rc;
    fmt_table_keys_begin(&m->builder, FMT_SECTION_STREAMS);
    while ((rc = es_directory_walk_next(w, &s, err)) == 0) {
        unsigned char value[8];
        if (place + s.place_count > UINT32_MAX)
            return -E2BIG;
        fmt_put32(value, (uint32_t)place);
        fmt_put32(value + 4, (uint32_t)s.place_count);
        place += s.place_count;
        rc = fmt_table_keys_put(&m->builder, &fences, (struct fmt_text){s.stream_id.at, s.stream_id.len}, value,
                                sizeof value);
        if (rc < 0)
            return rc;
    }
    return rc < 0 ? rc : fmt_table_keys_end(&m->builder, &fences);
}

/* One pass over the streams for each section, so that no section has to be kept in memory. */
static int pass(struct merge *m, int (*put)(struct merge *, struct es_directory_walk *, struct esdb_error *),
                struct esdb_error *err) {
    struct es_directory_walk *w;
    int rc = es_walk_open_range(m->d, m->from, m->to, (struct esdb_text){NULL, 0}, &w, err);
    if (rc < 0)
        return rc;
    rc = put(m, w, err);
    es_directory_walk_close(w);
    return rc;
}

static struct fmt_table_header header_of(const struct es_directory *d, size_t first_unit) {
    const struct fmt_table_header *first = &d->unit[first_unit].table->header;
    const struct fmt_table_header *last = &d->unit[first_unit + FAN - 1].table->header;
    struct fmt_table_header h = {.kind = FMT_TABLE_DIRECTORY,
                                 .first_index = first->first_index,
                                 .last_index = last->last_index,
                                 .first_position = first->first_position,
                                 .end_position = last->end_position,
                                 .last_checksum = last->last_checksum,
                                 .last_epoch_us = last->last_epoch_us};
    for (size_t i = 0; i < FAN; i++) {
        const struct fmt_table_header *part = &d->unit[first_unit + i].table->header;
        if (h.first_epoch_us == 0)
            h.first_epoch_us = part->first_epoch_us;
        if (h.log_rewritten_us < part->log_rewritten_us)
            h.log_rewritten_us = part->log_rewritten_us;
    }
    return h;
}

static int merge_run(struct es_directory *d, size_t first_unit, mode_t mode, struct esdb_error *err) {
    struct merge *m = calloc(1, sizeof *m);
    if (!m)
        return es_fail(err, -ENOMEM, "stream directory");
    struct es_unit whole = {.from = d->unit[first_unit].from, .to = d->unit[first_unit + FAN - 1].to};
    struct fmt_table_header h = header_of(d, first_unit);
    char name[ES_TABLE_NAME_MAX];
    es_table_name(d, &whole, name);
    m->d = d;
    m->from = whole.from;
    m->to = whole.to;
    int rc = es_table_writer_open(&m->writer, d->dir, name, mode);
    if (rc < 0)
        goto err_after_alloc;
    fmt_table_begin(&m->builder, &h, es_table_writer_block, &m->writer);
    rc = pass(m, put_places, err);
    if (rc == 0)
        rc = pass(m, put_streams, err);
    if (rc == 0)
        rc = fmt_table_end(&m->builder);
    if (rc < 0)
        es_table_writer_abort(&m->writer);
    else
        rc = es_table_writer_commit(&m->writer);
    es_fences_release(&m->fences);
err_after_alloc:
    free(m);
    return rc < 0 && rc != -E2BIG ? es_fail(err, rc, "tables/%s", name) : rc;
}

/* ---- all of it ---- */

/* Merges FAN units and puts the new table in their place. */
static int merge_units(struct es_directory *d, size_t first_unit, mode_t mode, struct esdb_error *err) {
    struct es_unit covered[FAN], whole = {.is_table = true};
    memcpy(covered, d->unit + first_unit, sizeof covered);
    whole.from = covered[0].from;
    whole.to = covered[FAN - 1].to;
    int rc = merge_run(d, first_unit, mode, err);
    if (rc < 0)
        return rc;
    /* Damage may have put others in the place of those eight meanwhile: the range tells which to drop. */
    size_t kept = 0;
    for (size_t i = 0; i < d->unit_count; i++) {
        if (d->unit[i].from == whole.from)
            d->unit[kept++] = whole;
        else if (d->unit[i].from < whole.from || d->unit[i].from >= whole.to)
            d->unit[kept++] = d->unit[i];
    }
    d->unit_count = kept;
    for (unsigned i = 0; i < FAN; i++) {
        char name[ES_TABLE_NAME_MAX];
        es_table_name(d, &covered[i], name);
        if (covered[i].is_table)
            es_unlinkat(d->dir, name);
    }
    return 0;
}

/* Makes one merge, the smallest first. ESDB_END: none is due. */
static int merge_one(struct es_directory *d, mode_t mode, struct esdb_error *err) {
    unsigned largest = 0;
    for (size_t i = 0; i < d->unit_count; i++)
        largest = size_class(&d->unit[i]) > largest ? size_class(&d->unit[i]) : largest;
    for (unsigned class = 0; class <= largest; class ++) {
        size_t first_unit = 0;
        bool changed = false;
        int rc = find_run(d, class, &first_unit, &changed, err);
        if (rc == ESDB_END)
            continue;
        if (rc < 0 || changed)
            return rc;
        rc = merge_units(d, first_unit, mode, err);
        return rc == -E2BIG ? ESDB_END : rc; /* as large as a table can be */
    }
    return ESDB_END;
}

int es_directory_merge(int tables_dir, const uint64_t *sealed, size_t sealed_count, uint64_t end,
                       const struct es_directory_source *src, mode_t mode, struct esdb_error *err) {
    struct es_directory *d;
    int rc = es_directory_open(tables_dir, sealed, sealed_count, end, src, &d, err);
    if (rc < 0)
        return rc;
    rc = open_tables(d, err);
    if (rc == 0)
        rc = remove_rubbish(d, err);
    while (rc == 0)
        rc = merge_one(d, mode, err);
    es_directory_close(d);
    return rc == ESDB_END ? 0 : rc;
}
