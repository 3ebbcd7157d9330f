#include "predicate_value.h"

#include <stdio.h>
#include <string.h>

#include "number.h"

#define CONTAINER_LEVELS 8 /* of arrays in arrays that are compared here */

static const struct fmt_text field_names[ES_FIELDS] = {
#define NAME(name) \
    { name, sizeof(name) - 1 }
    [ES_FIELD_POSITION] = NAME("position"),
    [ES_FIELD_STREAM_ID] = NAME("stream_id"),
    [ES_FIELD_VERSION] = NAME("version"),
    [ES_FIELD_EVENT_ID] = NAME("event_id"),
    [ES_FIELD_EVENT_TYPE] = NAME("event_type"),
    [ES_FIELD_EPOCH_US] = NAME("epoch_us"),
    [ES_FIELD_DATA] = NAME("data"),
    [ES_FIELD_METADATA] = NAME("metadata"),
    [ES_FIELD_DATA_CONTENT_TYPE] = NAME("data_content_type"),
    [ES_FIELD_METADATA_CONTENT_TYPE] = NAME("metadata_content_type"),
    [ES_FIELD_DATA_BASE64] = NAME("data_base64"),
#undef NAME
};

enum es_field es_field_by_name(struct fmt_text name) {
    for (int f = 0; f < ES_FIELDS; f++)
        if (name.len == field_names[f].len && memcmp(name.at, field_names[f].at, name.len) == 0)
            return (enum es_field)f;
    return ES_FIELDS;
}

static bool set_string(struct esdb_text text, struct es_value *out) {
    out->kind = ES_STRING;
    out->stored = false;
    out->text = (struct fmt_text){text.at ? text.at : "", text.len};
    return true;
}

static bool set_number(uint64_t n, struct es_value *out) {
    out->kind = ES_NUMBER;
    out->small = n <= (uint64_t)ES_NUMBER_SMALL;
    out->integer = (int64_t)n; /* beyond 2^63: es_value_order takes it back */
    out->text = (struct fmt_text){NULL, 0};
    return true;
}

bool es_value_of_field(const struct esdb_event *e, enum es_field f, struct es_value *out) {
    switch (f) {
    case ES_FIELD_POSITION:
        return set_number(e->position, out);
    case ES_FIELD_VERSION:
        return set_number(e->version, out);
    case ES_FIELD_EPOCH_US:
        return set_number(e->epoch_us, out);
    case ES_FIELD_STREAM_ID:
        return set_string(e->stream_id, out);
    case ES_FIELD_EVENT_ID:
        return set_string(e->event_id, out);
    case ES_FIELD_EVENT_TYPE:
        return set_string(e->event_type, out);
    case ES_FIELD_DATA:
        if (!e->data.at || e->binary)
            break;
        es_value_of_json((struct fmt_text){e->data.at, e->data.len}, out);
        return true;
    case ES_FIELD_METADATA:
        if (!e->metadata.at)
            break;
        es_value_of_json((struct fmt_text){e->metadata.at, e->metadata.len}, out);
        return true;
    case ES_FIELD_DATA_CONTENT_TYPE:
        if (e->data_content_type.len == 0)
            break;
        return set_string(e->data_content_type, out);
    case ES_FIELD_METADATA_CONTENT_TYPE:
        if (e->metadata_content_type.len == 0)
            break;
        return set_string(e->metadata_content_type, out);
    case ES_FIELD_DATA_BASE64:
        if (!e->data.at || !e->binary)
            break;
        out->kind = ES_STRING;
        out->stored = false;
        out->text = (struct fmt_text){NULL, 0};
        return true;
    default:
        break;
    }
    out->kind = ES_NULL;
    return false;
}

void es_value_of_json(struct fmt_text json, struct es_value *out) {
    out->event = NULL;
    out->text = json;
    switch (json.len > 0 ? json.at[0] : '\0') {
    case 'n':
        out->kind = ES_NULL;
        break;
    case 'f':
        out->kind = ES_FALSE;
        break;
    case 't':
        out->kind = ES_TRUE;
        break;
    case '"':
        out->kind = ES_STRING;
        out->stored = true;
        break;
    case '[':
        out->kind = ES_ARRAY;
        break;
    case '{':
        out->kind = ES_OBJECT;
        break;
    case '\0':
        out->kind = ES_UNSURE;
        break;
    default:
        out->kind = ES_NUMBER;
        out->small = es_number_small(json, &out->integer);
    }
}

/* ---- order ---- */

static enum es_order order_of(int comparison) {
    return comparison < 0 ? ES_LESS : comparison > 0 ? ES_GREATER : ES_EQUAL;
}

static enum es_order reverse(enum es_order o) {
    return o == ES_LESS ? ES_GREATER : o == ES_GREATER ? ES_LESS : o;
}

struct fmt_text es_value_number_text(const struct es_value *v, char room[ES_NUMBER_ROOM]) {
    if (v->text.at)
        return v->text;
    return (struct fmt_text){room, (size_t)snprintf(room, ES_NUMBER_ROOM, "%llu", (unsigned long long)v->integer)};
}

/* Compares a number with a plain fraction, such as 12.50, of at most 15 digits: certain, and soon done. */
static bool fraction_order(struct fmt_text fraction, int64_t integer, enum es_order *out) {
    const char *p = fraction.at, *end = fraction.at + fraction.len;
    bool negative = p < end && *p == '-';
    int64_t digits = 0;
    __int128 other = integer;
    bool has_point = false;

    p += negative;
    if (end - p > 16)
        return false;
    for (; p < end; p++) {
        unsigned digit = (unsigned)(*p - '0');

        if (digit <= 9) {
            digits = digits * 10 + digit;
            if (has_point)
                other *= 10;
        } else if (*p == '.') {
            has_point = true;
        } else {
            return false;
        }
    }
    if (!has_point) /* an integer beyond 2^53 */
        return false;
    if (negative)
        digits = -digits;
    *out = digits < other ? ES_LESS : digits > other ? ES_GREATER : ES_EQUAL;
    return true;
}

static enum es_order number_order(const struct es_value *a, const struct es_value *b) {
    enum es_order o;

    if (a->small && b->small)
        return a->integer < b->integer ? ES_LESS : a->integer > b->integer ? ES_GREATER : ES_EQUAL;
    if (b->small && a->text.at && fraction_order(a->text, b->integer, &o))
        return o;
    if (a->small && b->text.at && fraction_order(b->text, a->integer, &o))
        return reverse(o);

    char room_a[ES_NUMBER_ROOM], room_b[ES_NUMBER_ROOM];
    struct fmt_text x = es_value_number_text(a, room_a), y = es_value_number_text(b, room_b);

    return es_number_certain(x, y) ? order_of(es_number_compare(x, y)) : ES_ORDER_UNSURE;
}

static int plain_order(struct fmt_text a, struct fmt_text b) {
    size_t n = a.len < b.len ? a.len : b.len;
    int order = n == 0 ? 0 : memcmp(a.at, b.at, n);

    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

static bool has_escape(struct fmt_text t) {
    return t.len > 0 && memchr(t.at, '\\', t.len) != NULL;
}

static enum es_order string_order(const struct es_value *a, const struct es_value *b) {
    if (a->text.at == NULL || b->text.at == NULL)
        return ES_ORDER_UNSURE;
    if (!a->stored && !b->stored)
        return order_of(plain_order(a->text, b->text));
    if (!a->stored)
        return reverse(string_order(b, a));

    struct fmt_text body = fmt_json_body(a->text), other = b->stored ? fmt_json_body(b->text) : b->text;
    bool is_escaped = has_escape(body), is_other_escaped = b->stored && has_escape(other);

    if (!is_escaped && !is_other_escaped)
        return order_of(plain_order(body, other));
    if ((is_escaped && fmt_json_has_lone_surrogate(a->text)) ||
        (is_other_escaped && fmt_json_has_lone_surrogate(b->text)))
        return ES_ORDER_UNSURE;
    return order_of(b->stored ? fmt_json_string_order(a->text, b->text) : fmt_json_string_compare(a->text, other));
}

static enum es_order order_at(const struct es_value *a, const struct es_value *b, int levels);

static enum es_order array_order(struct fmt_text a, struct fmt_text b, int levels) {
    struct fmt_json_walk w, u;
    struct fmt_text x, y;

    if (levels == 0)
        return ES_ORDER_UNSURE;
    fmt_json_walk_init(&w, a);
    fmt_json_walk_init(&u, b);
    for (;;) {
        bool has_x = fmt_json_element(&w, &x), has_y = fmt_json_element(&u, &y);
        struct es_value v, z;

        if (!has_x || !has_y)
            return has_x ? ES_GREATER : has_y ? ES_LESS : ES_EQUAL;
        es_value_of_json(x, &v);
        es_value_of_json(y, &z);

        enum es_order o = order_at(&v, &z, levels - 1);

        if (o != ES_EQUAL)
            return o;
    }
}

static bool is_empty_object(const struct es_value *v) {
    return v->event == NULL && v->text.len == 2;
}

static enum es_order order_at(const struct es_value *a, const struct es_value *b, int levels) {
    if (a->kind != b->kind)
        return a->kind < b->kind ? ES_LESS : ES_GREATER;
    switch (a->kind) {
    case ES_NULL:
    case ES_FALSE:
    case ES_TRUE:
        return ES_EQUAL;
    case ES_NUMBER:
        return number_order(a, b);
    case ES_STRING:
        return string_order(a, b);
    case ES_ARRAY:
        return array_order(a->text, b->text, levels);
    default: /* objects: their keys decide first, and those are not sorted here */
        if (is_empty_object(a) || is_empty_object(b))
            return order_of(is_empty_object(b) - is_empty_object(a));
        return ES_ORDER_UNSURE;
    }
}

enum es_order es_value_order(const struct es_value *a, const struct es_value *b) {
    return order_at(a, b, CONTAINER_LEVELS);
}

/* ---- strings ---- */

bool es_value_text(const struct es_value *v, char room[ES_TEXT_ROOM], struct fmt_text *out) {
    if (v->text.at == NULL)
        return false;
    if (!v->stored) {
        *out = v->text;
        return true;
    }

    struct fmt_text body = fmt_json_body(v->text);

    if (has_escape(body)) {
        if (fmt_json_has_lone_surrogate(v->text))
            return false;
        body.len = fmt_json_decode(v->text, room, ES_TEXT_ROOM);
        body.at = room;
        if (body.len == SIZE_MAX)
            return false;
    }
    *out = body;
    return true;
}
