#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/json_path.h"
#include "json_put.h"
#include "subscription.h"

static const char *const types[ES_SUB_KINDS] = {
    [ES_SUB_CREATED] = "$sub-created",       [ES_SUB_CHANGED] = "$sub-changed", [ES_SUB_CLAIMED] = "$sub-claimed",
    [ES_SUB_CHECKPOINT] = "$sub-checkpoint", [ES_SUB_ACKED] = "$sub-acked",     [ES_SUB_SOUGHT] = "$sub-sought",
    [ES_SUB_DROPPED] = "$sub-dropped",       [ES_SUB_REMOVED] = "$sub-removed", [ES_SUB_RENEWED] = "$sub-renewed",
    [ES_SUB_RELEASED] = "$sub-released",
};

const char *es_sub_type(enum es_sub_kind kind) {
    return types[kind];
}

/* ---- writing ---- */

static int put_holder(struct es_buffer *b, const struct es_sub_state *s) {
    int rc = es_put_text(b, ",\"holder\":");
    if (rc < 0 || !s->host[0])
        return rc == 0 ? es_put_text(b, "null") : rc;
    rc = es_put_text(b, "{\"host\":");
    if (rc == 0)
        rc = es_put_string(b, (struct esdb_text){s->host, strlen(s->host)});
    if (rc == 0)
        rc = es_put_member(b, "pid", s->pid);
    if (rc == 0)
        rc = es_put_member(b, "since_us", s->since_us);
    return rc == 0 ? es_put_text(b, "}") : rc;
}

static int put_lease(struct es_buffer *b, const struct es_sub_lease *l) {
    char node[32];
    snprintf(node, sizeof node, "\"%016llx\"", (unsigned long long)l->node); /* beyond what jq keeps of a number */
    int rc = es_put_text(b, ",\"lease\":{\"node\":");
    if (rc == 0)
        rc = es_put_text(b, node);
    if (rc == 0)
        rc = es_put_member(b, "ms", l->ms);
    if (rc == 0)
        rc = es_put_member(b, "renewed", l->renewed);
    if (rc == 0)
        rc = es_put_member(b, "began_ms", l->began_ms);
    if (rc == 0)
        rc = es_put_member(b, "changed", l->changed);
    return rc == 0 ? es_put_text(b, "}") : rc;
}

static int put_counts(struct es_buffer *b, const struct esdb_subscription_counts *c) {
    int rc = es_put_text(b, ",\"counts\":{\"delivered\":");
    if (rc == 0)
        rc = es_put_number(b, c->delivered);
    if (rc == 0)
        rc = es_put_member(b, "retried", c->retried);
    if (rc == 0)
        rc = es_put_member(b, "parked", c->parked);
    if (rc == 0)
        rc = es_put_member(b, "dropped", c->dropped);
    if (rc == 0 && c->warned)
        rc = es_put_member(b, "warned", c->warned);
    return rc == 0 ? es_put_text(b, "}") : rc;
}

static int put_record(struct es_buffer *b, const struct es_sub_record *r) {
    int rc = es_put_text(b, ",\"selector\":");
    if (rc == 0)
        rc = es_buffer_add(b, r->selector, r->selector_len);
    if (rc == 0)
        rc = es_put_member(b, "start", r->start);
    if (rc == 0 && r->parts)
        rc = es_put_member(b, r->group ? "group" : "partitions", r->parts);
    return rc == 0 ? es_put_member(b, "created_us", r->created_us) : rc;
}

int es_sub_encode(struct es_buffer *b, const struct es_sub_state *s, const struct es_sub_record *record,
                  const char *more) {
    b->len = 0;
    int rc = es_put_text(b, "{\"position\":");
    if (rc == 0)
        rc = es_put_number(b, s->position);
    if (rc == 0)
        rc = es_put_member(b, "epoch", s->epoch);
    if (rc == 0)
        rc = es_put_member(b, "record", s->record);
    if (rc == 0)
        rc = put_holder(b, s);
    if (rc == 0 && s->lease.node)
        rc = put_lease(b, &s->lease);
    if (rc == 0)
        rc = put_counts(b, &s->counts);
    if (rc == 0 && record)
        rc = put_record(b, record);
    if (rc == 0 && more)
        rc = es_put_text(b, more);
    return rc == 0 ? es_put_text(b, "}") : rc;
}

/* ---- reading ---- */

static struct fmt_text member(struct fmt_text object, const char *key) {
    struct fmt_text value = {NULL, 0};
    (void)fmt_json_member(object, (struct fmt_text){key, strlen(key)}, &value);
    return value;
}

static bool number(struct fmt_text object, const char *key, uint64_t *out) {
    struct fmt_text value = member(object, key);
    uint64_t n = 0;
    for (size_t i = 0; i < value.len; i++) {
        uint64_t digit = (uint64_t)(value.at[i] - '0');
        if (digit > 9 || n > (INT64_MAX - digit) / 10)
            return false;
        n = n * 10 + digit;
    }
    if (value.len > 0)
        *out = n;
    return value.len > 0;
}

/* 16 hexadecimal digits in quotes. */
static bool node_id(struct fmt_text value, uint64_t *out) {
    uint64_t n = 0;
    if (value.len != 18 || value.at[0] != '"')
        return false;
    for (size_t i = 1; i <= 16; i++) {
        char c = value.at[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
            return false;
        n = n << 4 | (uint64_t)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    *out = n;
    return n > 0;
}

/* A lease that is only half there says nothing. */
static void find_lease(struct fmt_text data, struct es_sub_state *s) {
    struct fmt_text lease = member(data, "lease");
    struct es_sub_lease l = {0};
    if (node_id(member(lease, "node"), &l.node) && number(lease, "ms", &l.ms) && number(lease, "renewed", &l.renewed) &&
        number(lease, "began_ms", &l.began_ms) && number(lease, "changed", &l.changed))
        s->lease = l;
    else
        s->lease = (struct es_sub_lease){.changed = (uint64_t)s->version};
}

static bool find_kind(struct esdb_text type, enum es_sub_kind *out) {
    for (int k = 0; k < ES_SUB_KINDS; k++)
        if (type.len == strlen(types[k]) && memcmp(type.at, types[k], type.len) == 0) {
            *out = (enum es_sub_kind)k;
            return true;
        }
    return false;
}

bool es_sub_decode(const struct esdb_event *e, struct es_sub_state *out) {
    struct es_sub_state s = {.version = (int64_t)e->version, .saved_us = e->epoch_us};
    struct fmt_text data = {e->data.at, e->data.len};
    if (!e->data.at || e->binary || !find_kind(e->event_type, &s.kind) || !number(data, "position", &s.position) ||
        !number(data, "epoch", &s.epoch) || !number(data, "record", &s.record))
        return false;
    (void)number(data, "saved_us", &s.saved_us); /* restated: it is older than the event */
    struct fmt_text holder = member(data, "holder"), counts = member(data, "counts");
    struct fmt_text host = member(holder, "host");
    if (host.len > 2 && host.at[0] == '"') {
        size_t len = fmt_json_decode(host, s.host, sizeof s.host - 1);
        s.host[len < sizeof s.host ? len : 0] = '\0';
        (void)number(holder, "pid", &s.pid);
        (void)number(holder, "since_us", &s.since_us);
    }
    find_lease(data, &s);
    (void)number(counts, "delivered", &s.counts.delivered);
    (void)number(counts, "retried", &s.counts.retried);
    (void)number(counts, "parked", &s.counts.parked);
    (void)number(counts, "dropped", &s.counts.dropped);
    (void)number(counts, "warned", &s.counts.warned);
    *out = s;
    return true;
}

int es_sub_decode_record(const struct esdb_event *e, struct es_sub_record *out) {
    struct fmt_text data = {e->data.at, e->data.len}, selector = member(data, "selector");
    struct es_sub_record r = {.version = e->version};
    uint64_t parts = 0;
    if (!e->data.at || e->binary || !selector.at || selector.at[0] != '{' || !number(data, "start", &r.start) ||
        !number(data, "created_us", &r.created_us))
        return -EINVAL;
    r.group = number(data, "group", &parts);
    if (!r.group)
        (void)number(data, "partitions", &parts);
    r.parts = (uint32_t)(parts < UINT32_MAX ? parts : UINT32_MAX);
    r.selector_len = selector.len;
    r.selector = malloc(selector.len + 1);
    if (!r.selector)
        return -ENOMEM;
    memcpy(r.selector, selector.at, selector.len);
    r.selector[selector.len] = '\0';
    *out = r;
    return 0;
}
