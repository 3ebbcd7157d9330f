/* archive_note.c: which places archives were put into, so that erasing can name those that it does not reach. Each is an event
 * in the system stream "$archives", once: its id is made of the place. The store's own folder is not noted. Nothing is
 * ever run or opened because it is noted there: whoever can write the store must not make others do that. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "archive.h"
#include "format/json.h"
#include "format/json_path.h"
#include "format/utf8.h"

#define STREAM "$archives"
#define TYPE "$archive-place"

/* The place as it can be compared: to be freed. NULL: no memory. */
static char *spelt(const char *where) {
    char *path = strncmp(where, "exec:", 5) == 0 ? NULL : realpath(where, NULL);
    return path ? path : strdup(where);
}

/* The same of the store's own folder. */
static char *own_place(const esdb *db) {
    char *folder, *path;
    if (asprintf(&folder, "%s/archive", db->path) < 0)
        return NULL;
    path = spelt(folder);
    free(folder);
    return path;
}

static int append_note(esdb *db, const char *place, struct esdb_error *err) {
    struct es_buffer data = {0};
    struct esdb_receipt r;
    esdb_batch *b;
    char id[32];
    size_t len = strlen(place);
    snprintf(id, sizeof id, "place-%016llx", (unsigned long long)fmt_checksum(place, len));
    int rc = esdb_batch_open(&b);
    if (rc < 0)
        return es_fail(err, rc, "%s", db->path);
    rc = es_buffer_add(&data, "{\"where\":\"", 10);
    if (rc == 0)
        rc = es_buffer_reserve(&data, 6 * len + 2);
    if (rc < 0) {
        esdb_batch_close(b);
        return es_fail(err, rc, "%s", db->path);
    }
    data.len += fmt_json_escape(place, len, (char *)data.at + data.len);
    es_buffer_add(&data, "\"}", 2);
    struct esdb_new_event e = {.stream_id = {STREAM, sizeof STREAM - 1},
                               .event_type = {TYPE, sizeof TYPE - 1},
                               .event_id = {id, strlen(id)},
                               .data = {(const char *)data.at, data.len},
                               .system = true};
    rc = esdb_batch_add(b, &e, err);
    if (rc == 0)
        rc = esdb_append(db, b, ESDB_IDEMPOTENT | ESDB_USE_RESERVE, &r, err);
    es_buffer_release(&data);
    esdb_batch_close(b);
    return rc;
}

int es_archive_note(esdb_archive *a, struct esdb_error *err) {
    size_t bad;
    int rc = es_archive_make(a, err);
    if (rc < 0)
        return rc;
    char *own = own_place(a->db), *place = spelt(a->where);
    if (!own || !place)
        rc = es_fail(err, -ENOMEM, "%s", a->where);
    else if (strcmp(own, place) != 0 && fmt_utf8_valid(place, strlen(place), &bad))
        rc = append_note(a->db, place, err);
    free(own);
    free(place);
    return rc;
}

int esdb_archive_places(esdb *db, const char *except, int (*fn)(void *context, const char *where), void *context,
                        struct esdb_error *err) {
    struct esdb_text stream = {STREAM, sizeof STREAM - 1};
    struct esdb_query q;
    struct esdb_event e;
    esdb_cursor *c;
    char *known = spelt(except ? except : "");
    esdb_query_init(&q);
    q.flags = ESDB_LITERAL;
    q.streams = &stream;
    q.stream_count = 1;
    int rc = known ? esdb_cursor_open(db, &q, &c, err) : es_fail(err, -ENOMEM, "%s", db->path);
    if (rc < 0) {
        free(known);
        return rc;
    }
    while ((rc = esdb_cursor_next(c, &e, err)) == 0) {
        struct fmt_text value;
        if (!fmt_json_member((struct fmt_text){e.data.at, e.data.len}, (struct fmt_text){"where", 5}, &value))
            continue;
        char *place = calloc(1, value.len + 1);
        if (!place) {
            rc = es_fail(err, -ENOMEM, "%s", db->path);
            break;
        }
        fmt_json_decode(value, place, value.len);
        rc = place[0] && strcmp(place, known) != 0 ? fn(context, place) : 0;
        free(place);
        if (rc < 0)
            break;
    }
    esdb_cursor_close(c);
    free(known);
    return rc == ESDB_END ? 0 : rc;
}
