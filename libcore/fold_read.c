/* Folds over a store: where states begin, which events come, and snapshots of what came out. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fold.h"
#include "format/checksum.h"
#include "snapshot.h"
#include "stream_filter.h"

/* ---- which snapshots fit ---- */

/* What a state was made by; it stands in the metadata of the snapshot as "fold". */
#define MARK_ROOM 64u
static size_t make_mark(const esdb_fold *f, char out[MARK_ROOM]) {
    const char *skip = f->flags & ESDB_FOLD_SKIP_INVALID ? " skip-invalid" : "";
    int len = f->kind == ESDB_FOLD_TAGGED
                  ? snprintf(out, MARK_ROOM, "tagged%s%s", f->flags & ESDB_FOLD_DEEP ? " deep" : "", skip)
                  : snprintf(out, MARK_ROOM, "jq %016llx%s",
                             (unsigned long long)fmt_checksum(f->program.at, f->program.len), skip);
    return (size_t)len;
}

/* A snapshot that no fold has made is anybody's. One made without an invalid event serves those that skip them, too. */
static bool fits(void *context, struct esdb_text metadata) {
    static const struct fmt_text key = {"fold", 4};
    const esdb_fold *f = context;
    struct fmt_text value;
    char mark[MARK_ROOM];
    size_t len = make_mark(f, mark);
    if (!metadata.at || !fmt_json_member((struct fmt_text){metadata.at, metadata.len}, key, &value))
        return true;
    if (fmt_json_string_equal(value, (struct fmt_text){mark, len}))
        return true;
    const char *skip = memmem(mark, len, " skip-invalid", strlen(" skip-invalid"));
    return skip && fmt_json_string_equal(value, (struct fmt_text){mark, (size_t)(skip - mark)});
}

/* Is a state, after this query, what the stream's events from the first one on make? */
static bool takes_all_events(const struct esdb_query *q) {
    return q->type_count + q->id_count + q->where_count + q->tag_count == 0 && !q->match.at && !q->select.at &&
           !(q->flags & (ESDB_REVERSE | ESDB_INVERT)) && q->from_position == 0 && q->to_position == UINT64_MAX &&
           q->from_version == 0 && q->limit == UINT64_MAX && q->since_us == 0 && q->until_us == UINT64_MAX;
}

static int bad_snapshot(struct esdb_text stream, uint64_t version, const char *why, struct esdb_error *err) {
    return es_fail(err, ESDB_EINVALID, "%.*s: the snapshot of version %llu cannot be folded on: %s", (int)stream.len,
                   stream.at, (unsigned long long)version, why);
}

/* Begins a stream's state with its latest snapshot. ESDB_ENOTFOUND: there is none that fits. */
static int begin_with_snapshot(esdb_fold *f, esdb *db, struct esdb_text stream, const struct esdb_query *q,
                               struct esdb_error *err) {
    struct esdb_snapshot_query wanted = {.max_version = q->to_version, .as_of = q->as_of};
    struct es_stream_life life;
    struct esdb_snapshot s;
    struct es_tagged_why why;
    int rc = es_life_of(db, stream, q->as_of < UINT64_MAX ? q->as_of + 1 : UINT64_MAX, &life, err);
    if (rc < 0)
        return rc;
    if (life.truncated_before > 0) /* an older one would leave a gap */
        wanted.min_version = life.truncated_before - 1;
    rc = es_snapshot_find(db, stream, &wanted, fits, f, &s, err);
    if (rc < 0)
        return rc;
    uint32_t n = UINT32_MAX;
    if (f->init.at)
        rc = es_fail(err, ESDB_EUSAGE, "%.*s: has a snapshot of version %llu, and a state to begin with was given, too",
                     (int)stream.len, stream.at, (unsigned long long)s.version);
    else if (!s.json)
        rc = bad_snapshot(stream, s.version, "it is not JSON", err);
    else if ((n = es_fold_state_of(f, stream)) == UINT32_MAX)
        rc = es_fail(err, -ENOMEM, "fold");
    if (rc == 0) {
        struct es_fold_state *state = &f->state[n];
        rc = es_fold_begin_with(f, state, s.state, &why);
        if (rc < 0)
            rc = rc == ESDB_EINVALID ? bad_snapshot(stream, s.version, why.text, err) : es_fail(err, rc, "fold");
        state->version = state->snapshot_version = (int64_t)s.version;
        state->begin = s.version + 1;
    }
    esdb_snapshot_release(&s);
    return rc;
}

/* ---- reading ---- */

/* Finds the snapshots of all streams that are wanted, by their names. */
static int begin_with_snapshots(esdb_fold *f, esdb *db, struct es_stream_filter *filter, const struct esdb_query *q,
                                struct esdb_error *err) {
    static const char pattern[] = FMT_SNAPSHOT_PREFIX "*";
    struct esdb_stream_info info;
    esdb_stream_list *list;
    int rc = esdb_stream_list_open(db, (struct esdb_text){pattern, sizeof pattern - 1}, ESDB_WITH_SYSTEM, &list, err);
    if (rc < 0)
        return rc;
    while ((rc = esdb_stream_list_next(list, &info, err)) == 0) {
        struct esdb_text stream = {info.stream_id.at + FMT_SNAPSHOT_PREFIX_LEN,
                                   info.stream_id.len - FMT_SNAPSHOT_PREFIX_LEN};
        if (stream.len == 0 || stream.len > FMT_STREAM_ID_MAX || *stream.at == '$' ||
            !es_stream_filter_wants(filter, stream))
            continue;
        rc = begin_with_snapshot(f, db, stream, q, err);
        if (rc < 0 && rc != ESDB_ENOTFOUND)
            break;
    }
    esdb_stream_list_close(list);
    return rc == ESDB_END ? 0 : rc;
}

static int read_events(esdb_fold *f, esdb *db, const struct esdb_query *q, struct esdb_error *err) {
    esdb_cursor *cursor;
    struct esdb_event e;
    int rc = esdb_cursor_open(db, q, &cursor, err);
    if (rc < 0)
        return rc;
    while ((rc = esdb_cursor_next(cursor, &e, err)) == 0) {
        uint32_t s = es_fold_state_of(f, e.stream_id);
        if (s == UINT32_MAX)
            rc = es_fail(err, -ENOMEM, "fold");
        else if (e.version >= f->state[s].begin)
            rc = es_fold_event(f, s, &e, err);
        if (rc < 0)
            break;
    }
    struct esdb_explain x;
    esdb_cursor_explain(cursor, &x);
    if (rc == ESDB_END && x.failed > 0)
        rc = es_fail(err, ESDB_EINVALID, "the expression failed on %llu events (first at position %llu: %s)",
                     (unsigned long long)x.failed, (unsigned long long)x.failed_position, x.failure);
    esdb_cursor_close(cursor);
    return rc == ESDB_END ? es_fold_finish(f, err) : rc;
}

/* Streams that were named have a state when they exist, also when none of their events is shown any more; and their
 * version counts on. */
static int complete(esdb_fold *f, esdb *db, const struct esdb_text *names, size_t count, struct esdb_error *err) {
    for (size_t i = 0; i < count; i++) {
        struct esdb_stream_info info;
        int rc = esdb_stream_info(db, names[i], &info, NULL);
        if (rc == ESDB_ENOTFOUND || (rc == 0 && info.count > 0))
            continue;
        uint32_t s = rc == 0 ? es_fold_state_of(f, names[i]) : UINT32_MAX;
        if (s == UINT32_MAX)
            return es_fail(err, rc < 0 ? rc : -ENOMEM, "fold");
        if (f->state[s].version < (int64_t)info.last_version)
            f->state[s].version = (int64_t)info.last_version;
    }
    return 0;
}

static int not_savable(struct esdb_error *err) {
    return es_fail(err, ESDB_EUSAGE,
                   "a snapshot can be saved of each stream's events from the first on: of one stream, or for each "
                   "stream of a pattern, without filters");
}

static int read_all(esdb_fold *f, esdb *db, const struct esdb_query *q, struct es_stream_filter *filter,
                    const struct esdb_text *names, size_t count, struct esdb_error *err) {
    struct esdb_query rest;
    bool of_one = names && count == 1 && *names[0].at != '$', per_stream = f->flags & ESDB_FOLD_PER_STREAM;
    bool resumable = (f->kind == ESDB_FOLD_TAGGED || f->kind == ESDB_FOLD_REDUCE) && takes_all_events(q);
    struct esdb_query now;
    uint64_t end;
    int rc = esdb_end_position(db, &end, err);
    if (rc < 0)
        return rc;
    now = *q; /* snapshots, deletions and events of one instant */
    if (end > 0 && now.as_of >= end)
        now.as_of = end - 1;
    f->end = now.as_of < UINT64_MAX ? now.as_of + 1 : UINT64_MAX;
    rest = now;
    f->one = !per_stream;
    f->savable = resumable && (per_stream || of_one) && !f->init.at;
    if (f->flags & ESDB_FOLD_WILL_SAVE && !f->savable)
        return not_savable(err);
    if (f->one && es_fold_state_of(f, of_one ? names[0] : (struct esdb_text){"", 0}) == UINT32_MAX)
        return es_fail(err, -ENOMEM, "fold");
    if (resumable && (per_stream || of_one) && !(f->flags & ESDB_FOLD_NO_SNAPSHOTS)) {
        if (names)
            for (size_t i = 0; i < count && (rc == 0 || rc == ESDB_ENOTFOUND); i++)
                rc = *names[i].at == '$' ? 0 : begin_with_snapshot(f, db, names[i], &now, err);
        else
            rc = begin_with_snapshots(f, db, filter, &now, err);
    }
    if (rc == ESDB_ENOTFOUND)
        rc = 0;
    if (of_one && f->count > 0)
        rest.from_version = f->state[0].begin > q->from_version ? f->state[0].begin : q->from_version;
    if (rc == 0 && rest.from_version <= rest.to_version)
        rc = read_events(f, db, &rest, err);
    if (rc == 0 && names && (per_stream || of_one) && q->as_of == UINT64_MAX && q->to_version == UINT64_MAX)
        rc = complete(f, db, names, count, err);
    return rc;
}

int esdb_fold_read(esdb_fold *f, esdb *db, const struct esdb_query *q, struct esdb_error *err) {
    struct es_stream_filter filter;
    struct esdb_text *names = NULL;
    size_t count = 0;
    if (f->count > 0)
        return es_fail(err, ESDB_EUSAGE, "this fold has a state already");
    int rc = es_stream_filter_init(&filter, q, err);
    if (rc < 0)
        return rc;
    rc = es_stream_filter_names(&filter, &names, &count);
    if (rc < 0)
        es_fail(err, rc, "fold");
    if (rc == 0)
        rc = read_all(f, db, q, &filter, names, count, err);
    free(names);
    es_stream_filter_release(&filter);
    return rc;
}

/* ---- saving ---- */

int esdb_fold_save(esdb_fold *f, esdb *db, uint64_t every, struct esdb_error *err) {
    struct es_buffer text = {0};
    char metadata[MARK_ROOM + 16], mark[MARK_ROOM];
    if (!f->savable || f->next == 0)
        return not_savable(err);
    const struct es_fold_state *s = &f->state[f->order[f->next - 1]];
    if (s->version < 0 || s->events < every)
        return ESDB_END;
    int len = (int)make_mark(f, mark);
    len = snprintf(metadata, sizeof metadata, "{\"fold\":\"%.*s\"}", len, mark);
    struct es_stream_life life;
    int rc = es_life_of(db, es_fold_name(f, s), f->end, &life, err);
    if (rc < 0)
        return rc;
    rc = es_fold_print(f, s, true, &text);
    if (rc < 0)
        es_fail(err, rc, "fold");
    struct esdb_new_snapshot snapshot = {.version = (uint64_t)s->version,
                                         .state = {(const char *)text.at, text.len},
                                         .json = true,
                                         .metadata = {metadata, (size_t)len}};
    if (rc == 0)
        rc = es_snapshot_save(db, es_fold_name(f, s), &snapshot, &life.deleted_before, NULL, err);
    es_buffer_release(&text);
    return rc;
}
