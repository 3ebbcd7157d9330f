/* archive_cut.c: what scavenging puts into archives, and what erasing takes out of them. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "archive.h"
#include "format/json.h"
#include "format/utf8.h"
#include "life.h"
#include "os.h"

/* ---- before events are cut ---- */

/* Fills a draft from the cursor; *e is the next event when *has. *has is false at the end. */
static int fill(struct es_archive_draft *d, esdb_cursor *c, struct esdb_event *e, bool *has, struct esdb_error *err) {
    int rc = 0;
    while (*has && rc == 0 && d->manifest.size < ES_ARCHIVE_SIZE) {
        rc = es_draft_add(d, e, err);
        if (rc == 0)
            rc = esdb_cursor_next(c, e, err);
        *has = rc == 0;
    }
    return rc == ESDB_END ? 0 : rc;
}

static int cut(esdb_archive *a, struct esdb_text stream, esdb_cursor *c, struct esdb_error *err) {
    struct esdb_event e;
    int rc = esdb_cursor_next(c, &e, err);
    bool has = rc == 0;
    rc = rc == ESDB_END ? 0 : rc;
    while (rc == 0 && has) {
        struct es_archive_draft d;
        rc = es_draft_begin(&d, a->db, stream, err);
        if (rc == 0)
            rc = fill(&d, c, &e, &has, err);
        if (rc == 0)
            rc = es_draft_save(&d, a, false, err);
        es_draft_release(&d);
    }
    return rc;
}

int es_archive_cut(esdb_archive *a, struct esdb_text stream, uint64_t from, uint64_t before, struct esdb_error *err) {
    struct esdb_query q;
    esdb_cursor *c;
    esdb_query_init(&q);
    q.flags = ESDB_LITERAL;
    q.streams = &stream;
    q.stream_count = 1;
    q.from_version = from;
    q.to_version = before - 1;
    q.limit = before - from;
    int rc = esdb_cursor_open(a->db, &q, &c, err);
    if (rc < 0)
        return rc;
    rc = cut(a, stream, c, err);
    esdb_cursor_close(c);
    return rc;
}

/* ---- erasing ---- */

struct erasing {
    esdb_archive *a;
    struct esdb_text id, reason;
    struct es_archive_draft draft;
    struct es_buffer notes;    /* for the manifest */
    struct es_buffer versions; /* uint64_t: of the events that were found in the archive that is looked at */
};

static size_t found(const struct erasing *x) {
    return x->versions.len / sizeof(uint64_t);
}

static int look(void *context, const struct esdb_event *e, struct fmt_text line, struct esdb_error *err) {
    struct erasing *x = context;
    (void)line;
    if (e->event_id.len != x->id.len || memcmp(e->event_id.at, x->id.at, x->id.len) != 0)
        return 0;
    return es_buffer_add(&x->versions, &e->version, sizeof e->version) < 0 ? es_fail(err, -ENOMEM, "an archive") : 0;
}

static int note(struct erasing *x, uint64_t version) {
    char text[96];
    int len = snprintf(text, sizeof text, "%s{\"version\":%" PRIu64 ",\"epoch_us\":%" PRIu64, x->notes.len ? "," : "",
                       version, es_clock_us());
    int rc = es_buffer_add(&x->notes, text, (size_t)len);
    if (rc == 0 && x->reason.len > 0) {
        rc = es_buffer_add(&x->notes, ",\"reason\":\"", 11);
        if (rc == 0)
            rc = es_buffer_reserve(&x->notes, 6 * x->reason.len + 2);
        if (rc < 0)
            return rc;
        x->notes.len += fmt_json_escape(x->reason.at, x->reason.len, (char *)x->notes.at + x->notes.len);
        rc = es_buffer_add(&x->notes, "\"", 1);
    }
    return rc == 0 ? es_buffer_add(&x->notes, "}", 1) : rc;
}

static int keep(void *context, const struct esdb_event *e, struct fmt_text line, struct esdb_error *err) {
    struct erasing *x = context;
    (void)line;
    if (e->event_id.len != x->id.len || memcmp(e->event_id.at, x->id.at, x->id.len) != 0)
        return es_draft_add(&x->draft, e, err);
    return note(x, e->version) < 0 ? es_fail(err, -ENOMEM, "an archive") : 0;
}

/* Writes an archive anew without the events, then removes the one that has them, when it has another key. */
static int rewrite(struct erasing *x, const struct es_archive_entry *entry, struct esdb_error *err) {
    struct es_archive_manifest was;
    struct es_archive_manifest *m = &x->draft.manifest;
    x->notes.len = 0;
    int rc = es_draft_begin(&x->draft, x->a->db, (struct esdb_text){entry->stream, entry->stream_len}, err);
    if (rc == 0) {
        rc = es_archive_load(x->a, entry->key, keep, x, &was, err);
        memcpy(m->store_id, was.store_id, sizeof m->store_id);
        if (rc == 0 && (es_buffer_add(&m->erased, was.erased.at, was.erased.len) < 0 ||
                        es_buffer_add(&m->erased, ",", was.erased.len > 0) < 0 ||
                        es_buffer_add(&m->erased, x->notes.at, x->notes.len) < 0))
            rc = es_fail(err, -ENOMEM, "an archive");
        es_archive_manifest_release(&was);
    }
    if (rc == 0 && m->count > 0)
        rc = es_draft_save(&x->draft, x->a, true, err);
    if (rc == 0 && (m->count == 0 || m->from != entry->from || m->to != entry->to))
        rc = esdb_archive_delete(x->a, entry->key, err);
    es_draft_release(&x->draft);
    return rc;
}

/* What the store itself does not hold any more is erased in it, too: so that other archives, or a backup of this one, do not
 * bring it back. */
static int decide(struct erasing *x, const struct es_archive_entry *entry, const struct es_archive_manifest *m,
                  struct esdb_error *err) {
    esdb *db = x->a->db;
    struct esdb_text stream = {entry->stream, entry->stream_len};
    struct es_stream_life life;
    if (memcmp(m->store_id, db->settings.user.store_id, sizeof m->store_id) != 0)
        return 0;
    int rc = es_life_of(db, stream, UINT64_MAX, &life, err);
    for (size_t i = 0; rc == 0 && i < found(x); i++) {
        uint64_t version = ((const uint64_t *)(const void *)x->versions.at)[i];
        struct esdb_error why = {0};
        if (life.closed || version >= life.truncated_before)
            continue;
        rc = es_version_erase(db, stream, version, x->reason, &why);
        if (rc == ESDB_ENOTFOUND) /* closed meanwhile */
            rc = 0;
        if (rc < 0 && err && err->code == 0)
            *err = why;
    }
    return rc;
}

static int erase_in(struct erasing *x, const struct es_archive_entry *entry, struct esdb_error *err) {
    struct es_archive_manifest m;
    x->versions.len = 0;
    int rc = es_archive_load(x->a, entry->key, look, x, &m, err);
    if (rc == 0 && found(x) > 0)
        rc = decide(x, entry, &m, err);
    es_archive_manifest_release(&m);
    if (rc == ESDB_ENOTFOUND) /* gone since the list was made */
        return 0;
    return rc == 0 && found(x) > 0 ? rewrite(x, entry, err) : rc;
}

int esdb_archive_erase(esdb_archive *a, struct esdb_text event_id, struct esdb_text reason, uint64_t *count,
                       void (*failed)(void *context, const char *key, const struct esdb_error *why), void *context,
                       struct esdb_error *err) {
    struct erasing x = {.a = a, .id = event_id, .reason = reason};
    struct es_archive_entry *list;
    size_t n;
    if (!fmt_utf8_valid(reason.at, reason.len, NULL))
        return es_fail(err, ESDB_EINVALID, "the reason is no valid UTF-8");
    int first = 0, rc = es_archive_entries(a, NULL, NULL, &list, &n, err);
    *count = 0;
    for (size_t i = 0; rc == 0 && i < n; i++) {
        struct esdb_error why = {0};
        int one = erase_in(&x, &list[i], &why);
        if (one == 0) {
            *count += found(&x);
            continue;
        }
        failed(context, list[i].key, &why);
        if (first == 0) {
            first = one;
            if (err && err->code == 0)
                *err = why;
        }
    }
    if (rc == 0)
        free(list);
    es_buffer_release(&x.notes);
    es_buffer_release(&x.versions);
    return rc < 0 ? rc : first;
}

/* ---- streams that were closed for ever ---- */

static bool is_closed(void *context, struct esdb_text stream) {
    const struct es_life *l = context;
    struct es_stream_life life;
    char name[FMT_CLOSED_LEN];
    es_life_find(l, stream, &life);
    size_t len = fmt_life_closed_name((struct fmt_text){stream.at, stream.len}, name);
    return life.closed || es_life_knows(l, (struct esdb_text){name + FMT_META_PREFIX_LEN, len - FMT_META_PREFIX_LEN});
}

static bool has_closed(const struct es_life *l) {
    for (size_t i = 0; i < l->slots; i++)
        if (l->slot[i].name_len && l->slot[i].first_version == UINT64_MAX)
            return true;
    return false;
}

int esdb_archive_forget(esdb_archive *a, uint64_t *count, struct esdb_error *err) {
    struct es_life *life = NULL;
    struct es_archive_entry *list = NULL;
    struct es_archive_manifest m;
    size_t n = 0;
    *count = 0;
    int rc = es_life_open(a->db, UINT64_MAX, &life, err);
    if (rc == 0 && has_closed(life))
        rc = es_archive_entries(a, is_closed, life, &list, &n, err);
    for (size_t i = 0; rc == 0 && i < n; i++) {
        rc = es_archive_load(a, list[i].key, NULL, NULL, &m, err);
        bool own = rc == 0 && memcmp(m.store_id, a->db->settings.user.store_id, sizeof m.store_id) == 0;
        es_archive_manifest_release(&m);
        if (own)
            rc = esdb_archive_delete(a, list[i].key, err);
        *count += own && rc == 0;
    }
    free(list);
    es_life_close(life);
    return rc;
}
