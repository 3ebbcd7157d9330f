#include "retention.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "archive.h"
#include "compact.h"
#include "format/bytes.h"
#include "format/json.h"
#include "format/json_path.h"
#include "index.h"
#include "life.h"
#include "os.h"
#include "stream_names.h"
#include "superseded.h"

struct esdb_plan {
    struct esdb_retention r; /* without its streams */
    unsigned char store_id[16];
    struct es_buffer cuts; /* struct esdb_cut; texts lead into `names` */
    struct es_buffer names;
    struct es_holds holds; /* of the last application: holders lead there */
    esdb_archive *archive; /* borrowed; NULL: none */
};

void esdb_retention_init(struct esdb_retention *r) {
    *r = (struct esdb_retention){.before_version = UINT64_MAX, .keep = UINT64_MAX};
}

/* ---- how far a stream may be cut ---- */

/* What one plan needs for all streams. */
struct maker {
    esdb *db;
    const struct esdb_retention *r;
    struct esdb_plan *plan;
    struct es_holds holds;
    struct esdb_policy *policies; /* owned */
    size_t policy_count;
    bool by_policy;
    uint64_t before_position; /* events before it are older than before_us */
    uint64_t now_us;
};

static uint64_t at_most(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

/* The first version that is not before the position. */
static int first_from(struct maker *m, struct esdb_text stream, uint64_t position, uint64_t *out,
                      struct esdb_error *err) {
    int64_t version;
    int rc = es_stream_version_before(m->db, stream, position, &version, err);
    if (rc == 0)
        *out = (uint64_t)(version + 1);
    return rc;
}

/* By the rules of the call: each protects what it does not let go. */
static int by_rules(struct maker *m, const struct esdb_stream_info *s, uint64_t *before, struct esdb_error *err) {
    uint64_t next = s->last_version + 1, by_time = next;
    int rc = 0;
    if (m->r->before_us)
        rc = first_from(m, s->stream_id, m->before_position, &by_time, err);
    *before = at_most(by_time, m->r->before_version);
    if (m->r->keep != UINT64_MAX)
        *before = at_most(*before, next > m->r->keep ? next - m->r->keep : 0);
    *before = at_most(*before, next);
    return rc;
}

/* By its policy: what exceeds either limit may go. */
static int by_policy(struct maker *m, const struct esdb_stream_info *s, uint64_t *before, struct esdb_error *err) {
    const struct esdb_policy *p = es_policy_of(m->policies, m->policy_count, s->stream_id);
    uint64_t next = s->last_version + 1, by_age = 0, position;
    int rc = 0;
    *before = 0;
    if (!p)
        return 0;
    if (p->max_age_us && p->max_age_us < m->now_us) {
        rc = esdb_position_at(m->db, m->now_us - p->max_age_us, &position, err);
        if (rc == 0)
            rc = first_from(m, s->stream_id, position, &by_age, err);
    }
    if (p->max_count)
        *before = next > p->max_count ? next - p->max_count : 0;
    *before = at_most(*before > by_age ? *before : by_age, next);
    return rc;
}

/* What holds back lowers cut->before. */
static int hold_back(struct maker *m, struct esdb_cut *cut, struct esdb_error *err) {
    struct esdb_text holder;
    int64_t snapshot;
    int rc = 0;
    if (!m->r->without_snapshot && cut->before > cut->from) {
        rc = es_newest_snapshot(m->db, cut->stream_id, &snapshot, err);
        if (rc == 0 && (uint64_t)(snapshot + 1) < cut->before) {
            cut->before = (uint64_t)(snapshot + 1);
            cut->held = ESDB_HELD_BY_SNAPSHOT;
        }
    }
    uint64_t position = m->r->ignore_subscriptions ? UINT64_MAX : es_holds_find(&m->holds, cut->stream_id, &holder);
    if (rc == 0 && position != UINT64_MAX && cut->before > cut->from) {
        uint64_t first = 0;
        rc = first_from(m, cut->stream_id, position, &first, err);
        if (rc == 0 && first < cut->before) {
            cut->before = first;
            cut->held = ESDB_HELD_BY_SUBSCRIPTION;
            cut->holder = holder;
        }
    }
    if (cut->before < cut->from)
        cut->before = cut->from;
    return rc;
}

/* Bytes that the events take in the log. */
static int measure(struct maker *m, struct esdb_cut *cut, struct esdb_error *err) {
    struct esdb_query q;
    esdb_cursor *c;
    struct esdb_event e;
    if (!m->r->with_bytes || cut->before == cut->from)
        return 0;
    esdb_query_init(&q);
    q.flags = ESDB_LITERAL | ESDB_WITH_SYSTEM;
    q.streams = &cut->stream_id;
    q.stream_count = 1;
    q.from_version = cut->from;
    q.to_version = cut->before - 1;
    q.limit = cut->before - cut->from;
    int rc = esdb_cursor_open(m->db, &q, &c, err);
    if (rc < 0)
        return rc;
    while ((rc = esdb_cursor_next(c, &e, err)) == 0)
        cut->bytes += fmt_align8(FMT_EVENT_HEADER_SIZE + e.stream_id.len + e.event_type.len + e.event_id.len +
                                 e.data_content_type.len + e.metadata_content_type.len + e.data.len + e.metadata.len);
    esdb_cursor_close(c);
    return rc == ESDB_END ? 0 : rc;
}

/* ---- plans ---- */

static int keep_name(struct esdb_plan *p, struct esdb_text *t) {
    size_t at = p->names.len;
    int rc = es_buffer_add(&p->names, t->at, t->len);
    t->at = (const char *)at; /* an offset until complete() */
    return rc;
}

static int add_cut(struct esdb_plan *p, const struct esdb_cut *cut) {
    struct esdb_cut copy = *cut;
    int rc = keep_name(p, &copy.stream_id);
    if (rc == 0)
        rc = keep_name(p, &copy.holder);
    return rc == 0 ? es_buffer_add(&p->cuts, &copy, sizeof copy) : rc;
}

static struct esdb_cut *cuts_of(const struct esdb_plan *p) {
    return (struct esdb_cut *)(void *)p->cuts.at;
}

static size_t count_of(const struct esdb_plan *p) {
    return p->cuts.len / sizeof(struct esdb_cut);
}

static void complete(struct esdb_plan *p) {
    for (size_t i = 0; i < count_of(p); i++) {
        struct esdb_cut *c = &cuts_of(p)[i];
        c->stream_id.at = (const char *)p->names.at + (size_t)c->stream_id.at;
        c->holder.at = (const char *)p->names.at + (size_t)c->holder.at;
    }
}

static int prepare(struct maker *m, struct esdb_error *err) {
    const struct esdb_retention *r = m->r;
    int rc = 0;
    m->now_us = es_clock_us();
    m->by_policy = r->before_us == 0 && r->before_version == UINT64_MAX && r->keep == UINT64_MAX;
    if (m->by_policy)
        rc = esdb_policies(m->db, &m->policies, &m->policy_count, err);
    if (rc == 0 && r->before_us)
        rc = esdb_position_at(m->db, r->before_us, &m->before_position, err);
    return rc == 0 && !r->ignore_subscriptions ? es_holds_load(m->db, &m->holds, err) : rc;
}

static void release(struct maker *m) {
    es_holds_release(&m->holds);
    free(m->policies);
}

/* Patterns such as "*" do not mean the store's own streams. */
static bool matches(const struct esdb_retention *r, struct esdb_text stream) {
    bool own = stream.len > 0 && stream.at[0] == '$';
    for (size_t i = 0; i < r->stream_count; i++)
        if (own && (r->streams[i].len == 0 || r->streams[i].at[0] != '$'))
            continue;
        else if (r->flags & ESDB_LITERAL
                     ? r->streams[i].len == stream.len && memcmp(r->streams[i].at, stream.at, stream.len) == 0
                     : esdb_pattern_match(r->streams[i], stream))
            return true;
    return r->stream_count == 0;
}

static int plan_stream(struct maker *m, const struct esdb_stream_info *s, struct esdb_error *err) {
    struct esdb_cut cut = {.stream_id = s->stream_id, .from = s->first_version};
    int rc = m->by_policy ? by_policy(m, s, &cut.before, err) : by_rules(m, s, &cut.before, err);
    cut.wanted = cut.before;
    if (rc == 0 && cut.wanted <= cut.from)
        return 0;
    if (rc == 0)
        rc = hold_back(m, &cut, err);
    if (rc == 0)
        rc = measure(m, &cut, err);
    if (rc == 0 && add_cut(m->plan, &cut) < 0)
        rc = es_fail(err, -ENOMEM, "%s", m->db->path);
    return rc;
}

static int plan_all(struct maker *m, struct esdb_error *err) {
    struct esdb_stream_list *l;
    struct esdb_stream_info s;
    int rc = esdb_stream_list_open(m->db, (struct esdb_text){0}, 0, &l, err);
    if (rc < 0)
        return rc;
    while ((rc = esdb_stream_list_next(l, &s, err)) == 0)
        if (matches(m->r, s.stream_id) && (rc = plan_stream(m, &s, err)) < 0)
            break;
    esdb_stream_list_close(l);
    return rc == ESDB_END ? 0 : rc;
}

/* The oldest version that is left of one of the store's own streams. ESDB_END: none. */
static int oldest(const struct maker *m, struct esdb_text stream, uint64_t *out, struct esdb_error *err) {
    struct esdb_query q;
    esdb_cursor *c;
    struct esdb_event e;
    esdb_query_init(&q);
    q.flags = ESDB_LITERAL | ESDB_WITH_SYSTEM;
    q.streams = &stream;
    q.stream_count = 1;
    int rc = esdb_cursor_open(m->db, &q, &c, err);
    if (rc < 0)
        return rc;
    rc = esdb_cursor_next(c, &e, err);
    *out = rc == 0 ? e.version : 0;
    esdb_cursor_close(c);
    return rc;
}

static int plan_own(struct maker *m, struct es_superseded *s, struct esdb_text stream, uint64_t end,
                    struct esdb_error *err) {
    struct esdb_cut cut = {.stream_id = stream};
    int rc = es_superseded_before(s, m->db, stream, end, &cut.before, err);
    if (rc < 0 || cut.before == 0)
        return rc;
    rc = oldest(m, stream, &cut.from, err);
    if (rc != 0 || cut.from >= cut.before)
        return rc == ESDB_END ? 0 : rc;
    cut.wanted = cut.before;
    rc = measure(m, &cut, err);
    if (rc == 0 && add_cut(m->plan, &cut) < 0)
        rc = es_fail(err, -ENOMEM, "%s", m->db->path);
    return rc;
}

/* As compaction will find it: subscriptions say again what is wanted before. */
static int plan_all_own(struct maker *m, struct esdb_error *err) {
    struct es_superseded s = {.restated = true};
    struct esdb_text prefix, *names;
    uint64_t end = 0;
    size_t count;
    int rc = esdb_end_position(m->db, &end, err);
    for (size_t i = 0; rc == 0 && es_superseded_prefix(i, &prefix); i++) {
        rc = es_stream_names(m->db, prefix, &names, &count, err);
        if (rc < 0)
            break;
        for (size_t k = 0; rc == 0 && k < count; k++)
            if (matches(m->r, names[k]))
                rc = plan_own(m, &s, names[k], end, err);
        free(names);
    }
    es_superseded_release(&s);
    return rc;
}

static esdb_plan *new_plan(const esdb *db) {
    esdb_plan *p = calloc(1, sizeof *p);
    if (p)
        memcpy(p->store_id, db->settings.user.store_id, sizeof p->store_id);
    return p;
}

int esdb_plan_make(esdb *db, const struct esdb_retention *r, esdb_plan **out, struct esdb_error *err) {
    esdb_plan *p = new_plan(db);
    struct maker m = {.db = db, .r = r, .plan = p};
    if (!p)
        return es_fail(err, -ENOMEM, "%s", db->path);
    p->r = *r;
    p->r.streams = NULL;
    p->r.stream_count = 0;
    int rc = prepare(&m, err);
    if (rc == 0 && r->with_own && (m.by_policy || r->stream_count > 0))
        rc = plan_all_own(&m, err);
    if (rc == 0)
        rc = plan_all(&m, err);
    release(&m);
    if (rc < 0) {
        esdb_plan_close(p);
        return rc;
    }
    complete(p);
    *out = p;
    return 0;
}

void esdb_plan_close(esdb_plan *p) {
    if (!p)
        return;
    es_buffer_release(&p->cuts);
    es_buffer_release(&p->names);
    es_holds_release(&p->holds);
    free(p);
}

const struct esdb_cut *esdb_plan_cuts(const esdb_plan *p, size_t *count) {
    *count = count_of(p);
    return cuts_of(p);
}

/* ---- carrying it out ---- */

/* Looks again at what holds a cut back, for less may be there to be cut than when the plan was made. */
static int look_again(struct maker *m, struct esdb_cut *cut, struct esdb_error *err) {
    struct esdb_stream_info s;
    struct esdb_error gone = {0};
    int rc = esdb_stream_info(m->db, cut->stream_id, &s, &gone);
    if (rc == ESDB_ENOTFOUND) { /* deleted since */
        cut->before = cut->from;
        return 0;
    }
    if (rc < 0) {
        if (err && err->code == 0)
            *err = gone;
        return rc;
    }
    if (cut->from < s.first_version)
        cut->from = s.first_version;
    cut->before = at_most(cut->wanted, s.last_version + 1);
    cut->held = ESDB_HELD_NOT;
    if (cut->before < cut->from)
        cut->before = cut->from;
    return hold_back(m, cut, err);
}

void esdb_plan_set_archive(esdb_plan *p, esdb_archive *a) {
    p->archive = a;
}

/* What will be cut goes into archives first. */
static int archive_all(esdb_plan *p, struct esdb_error *err) {
    bool noted = false;
    int rc = 0;
    for (size_t i = 0; p->archive && rc == 0 && i < count_of(p); i++) {
        const struct esdb_cut *cut = &cuts_of(p)[i];
        if (cut->before == cut->from)
            continue;
        if (!noted)
            rc = es_archive_note(p->archive, err);
        noted = true;
        if (rc == 0)
            rc = es_archive_cut(p->archive, cut->stream_id, cut->from, cut->before, err);
    }
    return rc;
}

int esdb_plan_apply(esdb *db, esdb_plan *p, struct esdb_error *err) {
    struct maker m = {.db = db, .r = &p->r, .plan = p};
    struct es_truncation *t = calloc(count_of(p) + 1, sizeof *t);
    size_t count = 0;
    int rc = t ? 0 : es_fail(err, -ENOMEM, "%s", db->path);
    if (rc == 0 && !p->r.ignore_subscriptions)
        rc = es_holds_load(db, &m.holds, err);
    for (size_t i = 0; rc == 0 && i < count_of(p); i++) {
        struct esdb_cut *cut = &cuts_of(p)[i];
        rc = look_again(&m, cut, err);
        if (rc == 0 && cut->before > cut->from)
            t[count++] = (struct es_truncation){cut->stream_id, cut->before};
    }
    if (rc == 0)
        rc = archive_all(p, err);
    if (rc == 0) {
        struct esdb_error why = {0};
        rc = es_streams_truncate(db, t, count, &why);
        if (rc == -ENOSPC && es_make_room(db)) {
            why = (struct esdb_error){0};
            rc = es_streams_truncate(db, t, count, &why);
        }
        if (rc < 0 && err && err->code == 0)
            *err = why;
    }
    free(t);
    es_holds_release(&p->holds);
    p->holds = m.holds;
    return rc;
}

/* ---- as text ---- */

static int put(struct es_buffer *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
static int put(struct es_buffer *b, const char *format, ...) {
    char text[256];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return es_buffer_add(b, text, (size_t)len);
}

static int put_string(struct es_buffer *b, const char *key, struct esdb_text t) {
    int rc = put(b, "\"%s\":\"", key);
    if (rc == 0)
        rc = es_buffer_reserve(b, 6 * t.len);
    if (rc == 0)
        b->len += fmt_json_escape(t.at, t.len, (char *)b->at + b->len);
    return rc == 0 ? put(b, "\"") : rc;
}

static void id_text(const unsigned char id[16], char out[33]) {
    for (int i = 0; i < 16; i++)
        snprintf(out + 2 * i, 3, "%02x", id[i]);
}

static int put_cut(struct es_buffer *b, const struct esdb_cut *c, bool first) {
    int rc = put(b, first ? "\n  {" : ",\n  {");
    if (rc == 0)
        rc = put_string(b, "stream_id", c->stream_id);
    if (rc == 0)
        rc = put(b, ",\"from\":%llu,\"to\":%llu,\"count\":%llu,\"bytes\":%llu}", (unsigned long long)c->from,
                 (unsigned long long)c->before - 1, (unsigned long long)(c->before - c->from),
                 (unsigned long long)c->bytes);
    return rc;
}

int esdb_plan_write(const esdb_plan *p, char **json, struct esdb_error *err) {
    struct es_buffer b = {0};
    char id[33];
    bool first = true;
    id_text(p->store_id, id);
    int rc = put(&b, "{\"store_id\":\"%s\",\"require_snapshot\":%s,\"ignore_subscriptions\":%s,\"cuts\":[", id,
                 p->r.without_snapshot ? "false" : "true", p->r.ignore_subscriptions ? "true" : "false");
    for (size_t i = 0; rc == 0 && i < count_of(p); i++) {
        const struct esdb_cut *c = &cuts_of(p)[i];
        if (c->before == c->from)
            continue;
        rc = put_cut(&b, c, first);
        first = false;
    }
    if (rc == 0)
        rc = put(&b, "]}");
    if (rc == 0)
        rc = es_buffer_add(&b, "", 1);
    if (rc < 0) {
        es_buffer_release(&b);
        return es_fail(err, rc, "a plan");
    }
    *json = (char *)b.at;
    return 0;
}

static bool take_number(struct fmt_text object, const char *key, uint64_t *out) {
    struct fmt_text value;
    uint64_t n = 0;
    if (!fmt_json_member(object, (struct fmt_text){key, strlen(key)}, &value))
        return false;
    for (size_t i = 0; i < value.len; i++) {
        uint64_t digit = (uint64_t)(value.at[i] - '0');
        if (digit > 9 || n > (INT64_MAX - digit) / 10)
            return false;
        n = n * 10 + digit;
    }
    *out = n;
    return true;
}

static bool take_bool(struct fmt_text object, const char *key, bool *out) {
    struct fmt_text value;
    if (!fmt_json_member(object, (struct fmt_text){key, strlen(key)}, &value))
        return false;
    *out = value.len == 4 && memcmp(value.at, "true", 4) == 0;
    return *out || (value.len == 5 && memcmp(value.at, "false", 5) == 0);
}

static int take_cut(struct esdb_plan *p, struct fmt_text value, struct esdb_error *err) {
    struct esdb_cut cut = {.holder = {"", 0}};
    char name[FMT_STREAM_NAME_MAX];
    struct fmt_text stream;
    uint64_t to;
    if (!fmt_json_member(value, (struct fmt_text){"stream_id", 9}, &stream) || stream.at[0] != '"' ||
        !take_number(value, "from", &cut.from) || !take_number(value, "to", &to) || to < cut.from)
        return es_fail(err, ESDB_EINVALID, "not a plan: a cut must have stream_id, from and to");
    cut.stream_id = (struct esdb_text){name, fmt_json_decode(stream, name, sizeof name)};
    if (cut.stream_id.len == 0 || cut.stream_id.len > sizeof name || name[0] == '$')
        return es_fail(err, ESDB_EINVALID, "not a plan: no stream has the name %.*s", (int)stream.len, stream.at);
    (void)take_number(value, "bytes", &cut.bytes);
    cut.before = cut.wanted = to + 1;
    return add_cut(p, &cut) < 0 ? es_fail(err, -ENOMEM, "a plan") : 0;
}

static int take_plan(struct esdb_plan *p, struct fmt_text all, struct esdb_error *err) {
    struct fmt_text id, cuts, cut;
    struct fmt_json_walk w;
    char own[33];
    bool require;
    id_text(p->store_id, own);
    if (!fmt_json_member(all, (struct fmt_text){"store_id", 8}, &id) ||
        !fmt_json_member(all, (struct fmt_text){"cuts", 4}, &cuts) || cuts.at[0] != '[' ||
        !take_bool(all, "require_snapshot", &require) ||
        !take_bool(all, "ignore_subscriptions", &p->r.ignore_subscriptions))
        return es_fail(err, ESDB_EINVALID,
                       "not a plan: it must have store_id, require_snapshot, ignore_subscriptions and cuts");
    if (!fmt_json_string_equal(id, (struct fmt_text){own, 32}))
        return es_fail(err, ESDB_EINVALID, "the plan is for another store");
    p->r.without_snapshot = !require;
    int rc = 0;
    fmt_json_walk_init(&w, cuts);
    while (rc == 0 && fmt_json_element(&w, &cut))
        rc = take_cut(p, cut, err);
    return rc;
}

int esdb_plan_read(esdb *db, struct esdb_text json, esdb_plan **out, struct esdb_error *err) {
    struct fmt_json_value value;
    struct fmt_json_error wrong;
    esdb_plan *p = new_plan(db);
    char *copy = malloc(json.len + 1);
    int rc = p && copy ? 0 : es_fail(err, -ENOMEM, "a plan");
    if (rc == 0 && fmt_json_scan(json.at, json.len, &value, &wrong) != FMT_JSON_OK)
        rc = es_fail(err, ESDB_EINVALID, "not a plan: byte %zu: %s", wrong.offset, wrong.what);
    if (rc == 0) {
        esdb_retention_init(&p->r);
        rc = take_plan(p, (struct fmt_text){copy, fmt_json_strip(&value, copy)}, err);
    }
    free(copy);
    if (rc < 0) {
        esdb_plan_close(p);
        return rc;
    }
    complete(p);
    *out = p;
    return 0;
}
