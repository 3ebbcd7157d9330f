/* A selector is what of a query says which events are wanted, as JSON: FORMAT.md, "Subscriptions". The same choice always
 * gives the same bytes: members have an order, lists are sorted, and repetitions left out. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "format/json.h"
#include "format/json_path.h"
#include "json_put.h"

struct esdb_selector {
    struct esdb_query query;
    struct esdb_text *texts; /* of all lists; owned */
    struct esdb_where *where;
    char *bytes; /* that they lead to; owned */
    size_t text_count, where_count, byte_count;
};

static const struct {
    const char *key;
    unsigned flag;
} flags[] = {{"all", ESDB_ALL},     {"system", ESDB_WITH_SYSTEM}, {"literal", ESDB_LITERAL},
             {"regex", ESDB_REGEX}, {"all_tags", ESDB_ALL_TAGS},  {"invert", ESDB_INVERT}};
enum { FLAGS = sizeof flags / sizeof flags[0] };

/* ---- writing ---- */

static int compare_texts(const void *a, const void *b) {
    const struct esdb_text *x = a, *y = b;
    int order = memcmp(x->at, y->at, x->len < y->len ? x->len : y->len);
    return order ? order : (x->len > y->len) - (x->len < y->len);
}

static int compare_wheres(const void *a, const void *b) {
    const struct esdb_where *x = a, *y = b;
    int order = compare_texts(&x->key, &y->key);
    return order ? order : compare_texts(&x->value, &y->value);
}

static void *sorted(const void *at, size_t count, size_t size, int (*compare)(const void *, const void *)) {
    void *copy = malloc(count * size);
    if (copy) {
        memcpy(copy, at, count * size);
        qsort(copy, count, size, compare);
    }
    return copy;
}

static int begin_member(struct es_buffer *b, const char *key) {
    int rc = es_put_text(b, b->len > 1 ? ",\"" : "\"");
    if (rc == 0)
        rc = es_put_text(b, key);
    return rc == 0 ? es_put_text(b, "\":") : rc;
}

static int put_list(struct es_buffer *b, const char *key, const struct esdb_text *at, size_t count) {
    if (count == 0)
        return 0;
    struct esdb_text *list = sorted(at, count, sizeof *at, compare_texts);
    int rc = list ? begin_member(b, key) : -ENOMEM;
    for (size_t i = 0; rc == 0 && i < count; i++) {
        if (i > 0 && compare_texts(&list[i - 1], &list[i]) == 0)
            continue;
        rc = es_put_text(b, i ? "," : "[");
        if (rc == 0)
            rc = es_put_string(b, list[i]);
    }
    free(list);
    return rc == 0 ? es_put_text(b, "]") : rc;
}

static int put_wheres(struct es_buffer *b, const struct esdb_query *q) {
    if (q->where_count == 0)
        return 0;
    struct esdb_where *list = sorted(q->where, q->where_count, sizeof *q->where, compare_wheres);
    int rc = list ? begin_member(b, "where") : -ENOMEM;
    for (size_t i = 0; rc == 0 && i < q->where_count; i++) {
        if (i > 0 && compare_wheres(&list[i - 1], &list[i]) == 0)
            continue;
        rc = es_put_text(b, i ? ",[" : "[[");
        if (rc == 0)
            rc = es_put_string(b, list[i].key);
        if (rc == 0)
            rc = es_put_text(b, ",");
        if (rc == 0)
            rc = es_put_string(b, list[i].value);
        if (rc == 0)
            rc = es_put_text(b, "]");
    }
    free(list);
    return rc == 0 ? es_put_text(b, "]") : rc;
}

static int put_match(struct es_buffer *b, struct esdb_text match, struct esdb_error *err) {
    struct fmt_json_value value;
    struct fmt_json_error wrong;
    if (!match.at)
        return 0;
    if (fmt_json_scan(match.at, match.len, &value, &wrong) != FMT_JSON_OK)
        return es_fail(err, ESDB_EUSAGE, "match: byte %zu: %s", wrong.offset, wrong.what);
    int rc = begin_member(b, "match");
    if (rc == 0)
        rc = es_buffer_reserve(b, value.len);
    if (rc == 0)
        b->len += fmt_json_strip(&value, (char *)b->at + b->len);
    return rc;
}

static int put_all(struct es_buffer *b, const struct esdb_query *q, struct esdb_error *err) {
    int rc = es_put_text(b, "{");
    for (int i = 0; rc == 0 && i < FLAGS; i++)
        if (q->flags & flags[i].flag) {
            rc = begin_member(b, flags[i].key);
            if (rc == 0)
                rc = es_put_text(b, "true");
        }
    if (rc == 0)
        rc = put_list(b, "streams", q->streams, q->stream_count);
    if (rc == 0)
        rc = put_list(b, "types", q->types, q->type_count);
    if (rc == 0)
        rc = put_list(b, "ids", q->ids, q->id_count);
    if (rc == 0)
        rc = put_wheres(b, q);
    if (rc == 0)
        rc = put_list(b, "tags", q->tags, q->tag_count);
    if (rc == 0)
        rc = put_match(b, q->match, err);
    if (rc == 0 && q->select.at) {
        rc = begin_member(b, "select");
        if (rc == 0)
            rc = es_put_string(b, q->select);
    }
    if (rc == 0 && q->select_timeout_ms) {
        rc = begin_member(b, "select_timeout_ms");
        if (rc == 0)
            rc = es_put_number(b, q->select_timeout_ms);
    }
    return rc == 0 ? es_buffer_add(b, "}", 2) : rc; /* with its NUL */
}

int esdb_selector_write(const struct esdb_query *q, char **json, struct esdb_error *err) {
    struct es_buffer b = {0};
    struct fmt_json_value value;
    struct fmt_json_error wrong;
    int rc = put_all(&b, q, err);
    if (rc == 0 && fmt_json_scan((char *)b.at, b.len - 1, &value, &wrong) != FMT_JSON_OK)
        rc = es_fail(err, ESDB_EUSAGE, "the filters cannot be recorded: %s", wrong.what);
    if (rc < 0) {
        es_buffer_release(&b);
        return rc == -ENOMEM ? es_fail(err, rc, "selector") : rc;
    }
    *json = (char *)b.at;
    return 0;
}

/* ---- reading ---- */

static int foreign(struct fmt_text what, struct esdb_error *err) {
    return es_fail(err, ESDB_EUSAGE, "the selector of a newer version, or none: %.*s",
                   (int)(what.len < 80 ? what.len : 80), what.at);
}

static bool take_text(struct esdb_selector *s, struct fmt_text string, struct esdb_text *out) {
    if (string.len < 2 || string.at[0] != '"')
        return false;
    char *at = s->bytes + s->byte_count;
    size_t len = fmt_json_decode(string, at, string.len);
    s->byte_count += len;
    *out = (struct esdb_text){at, len};
    return true;
}

/* What was counted before is there is room for. */
static bool take_list(struct esdb_selector *s, struct fmt_text value, const struct esdb_text **list, size_t *count) {
    struct fmt_json_walk w;
    struct fmt_text element;
    *list = s->texts + s->text_count;
    *count = 0;
    fmt_json_walk_init(&w, value);
    while (fmt_json_element(&w, &element)) {
        if (!take_text(s, element, &s->texts[s->text_count]))
            return false;
        s->text_count++;
        ++*count;
    }
    return *count > 0 && value.at[0] == '[';
}

static bool take_wheres(struct esdb_selector *s, struct fmt_text value) {
    struct fmt_json_walk w, pair;
    struct fmt_text element, key, text;
    fmt_json_walk_init(&w, value);
    while (fmt_json_element(&w, &element)) {
        struct esdb_where *where = &s->where[s->where_count++];
        fmt_json_walk_init(&pair, element);
        if (!fmt_json_element(&pair, &key) || !fmt_json_element(&pair, &text) || !take_text(s, key, &where->key) ||
            !take_text(s, text, &where->value))
            return false;
    }
    s->query.where = s->where;
    s->query.where_count = s->where_count;
    return s->where_count > 0;
}

static bool take_number(struct fmt_text value, uint32_t *out) {
    uint64_t n = 0;
    for (size_t i = 0; i < value.len; i++) {
        if (value.at[i] < '0' || value.at[i] > '9' || (n = n * 10 + (uint64_t)(value.at[i] - '0')) > UINT32_MAX)
            return false;
    }
    *out = (uint32_t)n;
    return value.len > 0;
}

static bool is_key(struct fmt_text key, const char *name) {
    return fmt_json_string_equal(key, (struct fmt_text){name, strlen(name)});
}

static bool take_member(struct esdb_selector *s, struct fmt_text key, struct fmt_text value) {
    struct esdb_query *q = &s->query;
    for (int i = 0; i < FLAGS; i++)
        if (is_key(key, flags[i].key)) {
            q->flags |= flags[i].flag;
            return value.len == 4 && memcmp(value.at, "true", 4) == 0;
        }
    if (is_key(key, "streams"))
        return take_list(s, value, &q->streams, &q->stream_count);
    if (is_key(key, "types"))
        return take_list(s, value, &q->types, &q->type_count);
    if (is_key(key, "ids"))
        return take_list(s, value, &q->ids, &q->id_count);
    if (is_key(key, "where"))
        return take_wheres(s, value);
    if (is_key(key, "tags"))
        return take_list(s, value, &q->tags, &q->tag_count);
    if (is_key(key, "select"))
        return take_text(s, value, &q->select);
    if (is_key(key, "select_timeout_ms"))
        return take_number(value, &q->select_timeout_ms);
    if (!is_key(key, "match"))
        return false;
    memcpy(s->bytes + s->byte_count, value.at, value.len);
    q->match = (struct esdb_text){s->bytes + s->byte_count, value.len};
    s->byte_count += value.len;
    return true;
}

int esdb_selector_read(struct esdb_text json, struct esdb_selector **out, struct esdb_error *err) {
    struct fmt_text all = {json.at, json.len}, key, value;
    struct fmt_json_walk w;
    struct esdb_selector *s = calloc(1, sizeof *s);
    size_t most = json.len / 2 + 1; /* an element has two bytes at least */
    if (s) {
        s->bytes = malloc(json.len + 1);
        s->texts = calloc(most, sizeof *s->texts);
        s->where = calloc(most, sizeof *s->where);
    }
    if (!s || !s->bytes || !s->texts || !s->where) {
        esdb_selector_close(s);
        return es_fail(err, -ENOMEM, "selector");
    }
    esdb_query_init(&s->query);
    fmt_json_walk_init(&w, all);
    int rc = json.len >= 2 && json.at[0] == '{' ? 0 : foreign(all, err);
    while (rc == 0 && fmt_json_next_member(&w, &key, &value))
        if (!take_member(s, key, value))
            rc = foreign(key, err);
    if (rc < 0) {
        esdb_selector_close(s);
        return rc;
    }
    *out = s;
    return 0;
}

const struct esdb_query *esdb_selector_query(const struct esdb_selector *s) {
    return &s->query;
}

void esdb_selector_close(struct esdb_selector *s) {
    if (!s)
        return;
    free(s->bytes);
    free(s->texts);
    free(s->where);
    free(s);
}
