#include "directory.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "directory_units.h"
#include "format/bytes.h"
#include "os.h"
#include "seal.h"
#include "store.h"

#define PLANS_MAX 8u /* somebody merges again and again under us: then the segments are asked */

/* ---- names ---- */

bool es_table_name_parse(const char *name, uint64_t *first, uint64_t *last) {
    return strlen(name) == 37 && name[16] == '-' && memcmp(name + 33, ".tbl", 5) == 0 && es_index_parse(name, first) &&
           es_index_parse(name + 17, last);
}

void es_table_name(const struct es_directory *d, const struct es_unit *u, char out[ES_TABLE_NAME_MAX]) {
    snprintf(out, ES_TABLE_NAME_MAX, "%016" PRIx64 "-%016" PRIx64 ".tbl", d->sealed[u->from], d->sealed[u->to] - 1);
}

bool es_sealed_find(const struct es_directory *d, uint64_t name, size_t *out) {
    size_t low = 0, high = d->sealed_count + 1;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (d->sealed[middle] < name)
            low = middle + 1;
        else
            high = middle;
    }
    *out = low;
    return low <= d->sealed_count && d->sealed[low] == name;
}

/* ---- choosing the units ---- */

struct listing {
    const struct es_directory *d;
    struct es_buffer found; /* struct es_unit */
};

static int note_table(void *context, const char *name) {
    struct listing *l = context;
    struct es_unit u = {.is_table = true};
    uint64_t first, last;
    if (!es_table_name_parse(name, &first, &last) || last == UINT64_MAX || !es_sealed_find(l->d, first, &u.from) ||
        !es_sealed_find(l->d, last + 1, &u.to) || u.from >= u.to)
        return 0;
    return es_buffer_add(&l->found, &u, sizeof u);
}

static int wider_first(const void *left, const void *right) {
    const struct es_unit *a = left, *b = right;
    size_t wide_a = a->to - a->from, wide_b = b->to - b->from;
    if (wide_a != wide_b)
        return wide_a > wide_b ? -1 : 1;
    return (a->from > b->from) - (a->from < b->from);
}

/* Fills d->unit from the tables found. cover[i]: which table (number + 1) covers segment i. */
static int choose(struct es_directory *d, struct es_unit *found, size_t found_count) {
    size_t *cover = calloc(d->sealed_count + 1, sizeof *cover);
    struct es_unit *unit = malloc((d->sealed_count + 1) * sizeof *unit);
    if (!cover || !unit) {
        free(cover);
        free(unit);
        return -ENOMEM;
    }
    if (found_count)
        qsort(found, found_count, sizeof *found, wider_first);
    for (size_t i = 0; i < found_count; i++) {
        size_t at = found[i].from;
        while (at < found[i].to && !cover[at])
            at++;
        if (at < found[i].to)
            continue; /* a wider one covers some of it */
        for (at = found[i].from; at < found[i].to; at++)
            cover[at] = i + 1;
    }
    size_t count = 0;
    for (size_t s = 0; s < d->sealed_count; s = unit[count++].to)
        unit[count] = cover[s] ? found[cover[s] - 1] : (struct es_unit){.from = s, .to = s + 1};
    free(cover);
    free(d->unit);
    d->unit = unit;
    d->unit_count = count;
    return 0;
}

int es_directory_plan(struct es_directory *d, struct esdb_error *err) {
    struct listing l = {.d = d};
    int rc = d->dir >= 0 && d->sealed_count > 0 ? es_list_dir(d->dir, ".", note_table, &l) : 0;
    if (rc == -ENOENT)
        rc = 0;
    if (rc == 0)
        rc = choose(d, (struct es_unit *)l.found.at, l.found.len / sizeof(struct es_unit));
    es_buffer_release(&l.found);
    return rc == 0 ? 0 : es_fail(err, rc, "stream directory");
}

int es_directory_open(int tables_dir, const uint64_t *sealed, size_t sealed_count, uint64_t end,
                      const struct es_directory_source *src, struct es_directory **out, struct esdb_error *err) {
    struct es_directory *d = calloc(1, sizeof *d);
    if (!d)
        return es_fail(err, -ENOMEM, "stream directory");
    d->dir = tables_dir;
    d->src = *src;
    d->sealed_count = sealed_count;
    d->sealed = malloc((sealed_count + 1) * sizeof *d->sealed);
    int rc = d->sealed ? 0 : es_fail(err, -ENOMEM, "stream directory");
    if (rc == 0) {
        if (sealed_count)
            memcpy(d->sealed, sealed, sealed_count * sizeof *sealed);
        d->sealed[sealed_count] = end;
        rc = es_directory_plan(d, err);
    }
    if (rc < 0) {
        es_directory_close(d);
        return rc;
    }
    *out = d;
    return 0;
}

void es_directory_close(struct es_directory *d) {
    if (!d)
        return;
    while (d->boxes) {
        struct es_table_box *next = d->boxes->next;
        es_table_close(&d->boxes->table);
        free(d->boxes);
        d->boxes = next;
    }
    es_block_cache_close(d->block_cache);
    free(d->unit);
    free(d->sealed);
    free(d);
}

void es_directory_stat(const struct es_directory *d, struct es_directory_stat *out) {
    *out = (struct es_directory_stat){.damaged = d->damaged};
    for (size_t i = 0; i < d->unit_count; i++) {
        out->tables += d->unit[i].is_table;
        out->segments += !d->unit[i].is_table;
    }
}

/* ---- opening and mending a unit ---- */

/* Is the table the one that its name promises, made from this log? */
static bool belongs(const struct es_directory *d, const struct es_unit *u, const struct fmt_table_header *h) {
    uint64_t next = d->sealed[u->to], checksum;
    if (h->kind != (u->is_table ? FMT_TABLE_DIRECTORY : FMT_TABLE_SEGMENT) || h->first_index != d->sealed[u->from])
        return false;
    if (!u->is_table)
        return true; /* its giver has looked; a damaged segment may end early */
    if (h->last_index != next - 1)
        return false;
    return !d->src.segment_prev_checksum || d->src.segment_prev_checksum(d->src.context, next, &checksum) < 0 ||
           checksum == h->last_checksum;
}

static int open_table(struct es_directory *d, struct es_unit *u) {
    char name[ES_TABLE_NAME_MAX];
    struct es_table_box *box = calloc(1, sizeof *box);
    if (!box)
        return -ENOMEM;
    es_table_name(d, u, name);
    int rc = es_table_open_cached(&d->block_cache, d->dir, name, &box->table);
    if (rc == 0 && !belongs(d, u, &box->table.table.header)) {
        es_table_close(&box->table);
        rc = ESDB_ECORRUPT;
    }
    if (rc < 0) {
        free(box);
        return rc;
    }
    box->next = d->boxes;
    d->boxes = box;
    u->table = &box->table.table;
    return 0;
}

int es_unit_open(struct es_directory *d, size_t i, struct esdb_error *err) {
    struct es_unit *u = &d->unit[i];
    if (u->table)
        return 0;
    if (u->is_table) {
        int rc = open_table(d, u);
        return rc < 0 ? es_unit_mend(d, i, rc, err) : 0;
    }
    const struct fmt_table *t;
    int rc = d->src.segment_index(d->src.context, d->sealed[u->from], &t, err);
    if (rc < 0)
        return rc;
    if (!belongs(d, u, &t->header))
        return es_unit_mend(d, i, ESDB_ECORRUPT, err);
    u->table = t;
    return 0;
}

/* The segments under table i take its place. */
static int expand(struct es_directory *d, size_t i, struct esdb_error *err) {
    struct es_unit old = d->unit[i];
    size_t more = old.to - old.from - 1;
    struct es_unit *unit = realloc(d->unit, (d->unit_count + more) * sizeof *unit);
    if (!unit)
        return es_fail(err, -ENOMEM, "stream directory");
    memmove(unit + i + 1 + more, unit + i + 1, (d->unit_count - i - 1) * sizeof *unit);
    for (size_t s = old.from; s < old.to; s++)
        unit[i + s - old.from] = (struct es_unit){.from = s, .to = s + 1};
    d->unit = unit;
    d->unit_count += more;
    return ES_PLAN_CHANGED;
}

int es_unit_mend(struct es_directory *d, size_t i, int code, struct esdb_error *err) {
    struct es_unit *u = &d->unit[i];
    if (code == -ENOMEM)
        return es_fail(err, code, "stream directory");
    if (u->is_table) {
        if (code == -ENOENT && d->plans < PLANS_MAX) { /* merged away since the names were read */
            d->plans++;
            int rc = es_directory_plan(d, err);
            return rc < 0 ? rc : ES_PLAN_CHANGED;
        }
        d->damaged += code == ESDB_ECORRUPT;
        return expand(d, i, err);
    }
    const struct fmt_table *t;
    if (code != ESDB_ECORRUPT || u->again || !d->src.segment_index_again)
        return es_fail(err, code, "index of segment %016" PRIx64 " is damaged", d->sealed[u->from]);
    u->again = true;
    int rc = d->src.segment_index_again(d->src.context, d->sealed[u->from], &t, err);
    if (rc < 0)
        return rc;
    if (!belongs(d, u, &t->header))
        return es_fail(err, ESDB_ECORRUPT, "index of segment %016" PRIx64 " is another's", d->sealed[u->from]);
    u->table = t;
    return ES_PLAN_CHANGED;
}

/* ---- asking one unit ---- */

static int read_place(const struct es_directory *d, const struct es_unit *u, uint64_t i, struct es_place *out) {
    const struct fmt_section *s = fmt_table_find(u->table, FMT_SECTION_PLACES);
    bool damaged;
    const unsigned char *at = s && s->entry_size == 24 ? fmt_table_entry(u->table, s, i, &damaged) : NULL;
    if (!at)
        return ESDB_ECORRUPT;
    *out = (struct es_place){fmt_get64(at), fmt_get64(at + 8), fmt_get64(at + 16), 0};
    return out->segment >= d->sealed[u->from] && out->segment < d->sealed[u->to] ? 0 : ESDB_ECORRUPT;
}

int es_unit_places(const struct es_directory *d, const struct es_unit *u, struct fmt_text value, bool only_last,
                   struct es_buffer *out) {
    struct es_place place;
    if (!u->is_table) {
        struct es_stream_slot slot;
        int rc = es_stream_slot_decode(value, &slot);
        place = (struct es_place){d->sealed[u->from], slot.first_version, slot.count, slot.first_posting + 1};
        return rc < 0 ? rc : es_buffer_add(out, &place, sizeof place);
    }
    if (value.len != 8)
        return ESDB_ECORRUPT;
    uint64_t first = fmt_get32(value.at), count = fmt_get32(value.at + 4);
    if (count == 0 || count > u->to - u->from)
        return ESDB_ECORRUPT;
    int rc = 0;
    for (uint64_t i = only_last ? count - 1 : 0; rc == 0 && i < count; i++) {
        rc = read_place(d, u, first + i, &place);
        if (rc == 0)
            rc = es_buffer_add(out, &place, sizeof place);
    }
    return rc;
}

/* Appends the places of a stream in unit i. 0 (also when it has none), ES_PLAN_CHANGED, or an error. */
static int ask(struct es_directory *d, size_t i, struct esdb_text stream, bool only_last, struct es_buffer *out,
               struct esdb_error *err) {
    int rc = es_unit_open(d, i, err);
    if (rc != 0)
        return rc;
    const struct es_unit *u = &d->unit[i];
    const struct fmt_section *s = fmt_table_find(u->table, FMT_SECTION_STREAMS);
    struct fmt_text key = {stream.at, stream.len};
    struct fmt_table_cursor c;
    int found = s ? fmt_table_seek(&c, u->table, s, key) : -1;
    if (found == 0 && fmt_key_compare(c.key, key) == 0)
        rc = es_unit_places(d, u, c.value, only_last, out);
    else if (found < 0)
        rc = ESDB_ECORRUPT;
    return rc < 0 ? es_unit_mend(d, i, rc, err) : 0;
}

/* ---- lookups ---- */

int es_directory_last(struct es_directory *d, struct esdb_text stream, struct es_place *out, struct esdb_error *err) {
    struct es_buffer found = {0};
    int rc = ES_PLAN_CHANGED;
    while (rc == ES_PLAN_CHANGED) {
        found.len = 0;
        rc = 0;
        for (size_t i = d->unit_count; rc == 0 && found.len == 0 && i > 0; i--)
            rc = ask(d, i - 1, stream, true, &found, err);
    }
    if (rc == 0 && found.len == 0)
        rc = ESDB_ENOTFOUND;
    if (rc == 0)
        memcpy(out, found.at, sizeof *out);
    es_buffer_release(&found);
    return rc;
}

int es_directory_places(struct es_directory *d, struct esdb_text stream, struct es_place **out, size_t *count,
                        struct esdb_error *err) {
    struct es_buffer found = {0};
    int rc = ES_PLAN_CHANGED;
    while (rc == ES_PLAN_CHANGED) {
        found.len = 0;
        rc = 0;
        for (size_t i = 0; rc == 0 && i < d->unit_count; i++)
            rc = ask(d, i, stream, false, &found, err);
    }
    if (rc == 0 && found.len == 0)
        rc = ESDB_ENOTFOUND;
    if (rc < 0) {
        es_buffer_release(&found);
        return rc;
    }
    *out = (struct es_place *)found.at;
    *count = found.len / sizeof **out;
    return 0;
}

/* ---- verifying ---- */

int es_directory_verify(struct es_directory *d, struct esdb_error *err) {
    for (size_t i = 0; i < d->unit_count; i++) {
        struct es_unit u = d->unit[i];
        char name[ES_TABLE_NAME_MAX], file[ES_TABLE_NAME_MAX + 8];
        uint32_t block = 0;
        if (!u.is_table)
            continue;
        int rc = u.table ? 0 : open_table(d, &u);
        es_table_name(d, &u, name);
        snprintf(file, sizeof file, "tables/%s", name);
        if (rc == -ENOENT)
            continue; /* merged away meanwhile */
        if (rc < 0)
            return es_fail_at(err, rc, file, 0, "table header is damaged, or of another log");
        const char *wrong = fmt_table_verify(u.table, &block);
        if (wrong)
            return es_fail_at(err, ESDB_ECORRUPT, file, (uint64_t)block * FMT_BLOCK_SIZE, "%s", wrong);
        d->unit[i] = u;
    }
    return 0;
}
