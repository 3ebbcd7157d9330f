/* directory_units.h: inside of the directory: the units that together cover the sealed segments, each a table or one
 * segment's own index. Shared by directory.c, directory_walk.c and directory_merge.c only. */
#ifndef ES_DIRECTORY_UNITS_H
#define ES_DIRECTORY_UNITS_H

#include "block_cache.h"
#include "directory.h"
#include "table_file.h"

struct es_unit {
    size_t from, to;               /* covers sealed[from] .. sealed[to - 1] */
    bool is_table;                 /* else one segment */
    bool again;                    /* the segment's index was made anew already */
    const struct fmt_table *table; /* NULL: not open yet; valid until the directory is closed */
};

/* An open table file; kept until the directory is closed, because walks point into it. */
struct es_table_box {
    struct es_table_box *next;
    struct es_table table;
};

struct es_directory {
    int dir;
    uint64_t *sealed; /* names, and after the last one `end` */
    size_t sealed_count;
    struct es_directory_source src;
    struct es_unit *unit; /* ascending, without gaps */
    size_t unit_count;
    struct es_table_box *boxes;
    struct es_block_cache *block_cache; /* of the tables */
    size_t damaged;
    unsigned plans; /* how often the tables were listed again */
};

/* Inclusive frame range of a table file's name. False when it is not such a name. */
bool es_table_name_parse(const char *name, uint64_t *first, uint64_t *last);
void es_table_name(const struct es_directory *d, const struct es_unit *u, char out[ES_TABLE_NAME_MAX]);

/* The number of the segment with that name in sealed (sealed_count: it is `end`). False when there is none. */
bool es_sealed_find(const struct es_directory *d, uint64_t name, size_t *out);

/* Lists the tables and chooses units. Open tables stay in boxes. */
int es_directory_plan(struct es_directory *d, struct esdb_error *err);

/* Results of the next functions beside 0 and errors. */
enum { ES_PLAN_CHANGED = 1 }; /* d->unit is another one now: begin again */

/* Opens unit i. */
int es_unit_open(struct es_directory *d, size_t i, struct esdb_error *err);

/* What to do after unit i could not be opened or read, because of `code`: other units take its place, or its index is made
 * anew (ES_PLAN_CHANGED), or there is no help (the code). */
int es_unit_mend(struct es_directory *d, size_t i, int code, struct esdb_error *err);

/* Appends the places (struct es_place) that the value of a key in STREAMS of the unit's table stands for. 0, -ENOMEM or
 * ESDB_ECORRUPT. only_last: just the newest. */
int es_unit_places(const struct es_directory *d, const struct es_unit *u, struct fmt_text value, bool only_last,
                   struct es_buffer *out);

/* Opens a walk over the units that lie within sealed[from] .. sealed[to - 1]. */
int es_walk_open_range(struct es_directory *d, size_t from, size_t to, struct esdb_text start,
                       struct es_directory_walk **out, struct esdb_error *err);

#endif
