#include <string.h>

#include "fold.h"

static int wrong(struct esdb_text text, size_t at, const char *what, struct esdb_error *err) {
    return es_fail(err, ESDB_EUSAGE, "the path '%.*s': byte %zu: %s", text.len > 200 ? 200 : (int)text.len, text.at,
                   at + 1, what);
}

static bool is_name(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           (unsigned char)c >= 0x80;
}

/* A name without quotes, or one in them (no escapes). *at is moved past it. */
static bool take_name(struct esdb_text text, size_t *at, struct fmt_text *out) {
    size_t from = *at, to = from;
    if (from < text.len && text.at[from] == '"') {
        for (to = ++from; to < text.len && text.at[to] != '"'; to++)
            if (text.at[to] == '\\')
                return false;
        if (to == text.len)
            return false;
        *at = to + 1;
    } else {
        if (to < text.len && text.at[to] >= '0' && text.at[to] <= '9')
            return false;
        while (to < text.len && is_name(text.at[to]))
            to++;
        if (to == from)
            return false;
        *at = to;
    }
    *out = (struct fmt_text){text.at + from, to - from};
    return true;
}

/* What is between brackets: a name in quotes, or a number. */
static bool take_bracket(struct esdb_text text, size_t *at, struct es_path_step *step) {
    ++*at;
    if (*at < text.len && text.at[*at] == '"') {
        if (!take_name(text, at, &step->name))
            return false;
    } else {
        size_t digits = 0;
        for (; *at < text.len && text.at[*at] >= '0' && text.at[*at] <= '9' && digits < 9; ++*at, digits++)
            step->index = step->index * 10 + (uint64_t)(text.at[*at] - '0');
        if (digits == 0)
            return false;
    }
    if (*at >= text.len || text.at[*at] != ']')
        return false;
    ++*at;
    return true;
}

int es_path_parse(struct esdb_text text, struct es_path *out, struct esdb_error *err) {
    struct es_path p = {.field = ES_FIELDS};
    struct fmt_text field;
    size_t at = 1;
    if (text.len < 2 || text.at[0] != '.')
        return wrong(text, 0, "it begins with '.' and a field of the event, as .data.total", err);
    if (!take_name(text, &at, &field))
        return wrong(text, 1, "the name of a field of the event is expected", err);
    p.field = es_field_by_name(field);
    if (p.field == ES_FIELDS)
        return wrong(text, 1, "no field of events, as .data", err);
    while (at < text.len) {
        struct es_path_step step = {{NULL, 0}, 0};
        size_t begin = at;
        bool ok = false;
        if (text.at[at] == '[')
            ok = take_bracket(text, &at, &step);
        else if (text.at[at] == '.')
            ok = ++at < text.len && take_name(text, &at, &step.name);
        if (!ok)
            return wrong(text, begin, ".name, .\"name\" or [number] is expected", err);
        if (p.count == ES_PATH_STEPS_MAX)
            return wrong(text, begin, "too many steps", err);
        p.step[p.count++] = step;
    }
    *out = p;
    return 0;
}

bool es_path_find(const struct es_path *p, const struct esdb_event *e, struct es_value *out) {
    if (!es_value_of_field(e, p->field, out))
        return false;
    for (size_t i = 0; i < p->count; i++) {
        const struct es_path_step *s = &p->step[i];
        struct fmt_text value;
        if (s->name.at) {
            if (out->kind != ES_OBJECT || !fmt_json_member(out->text, s->name, &value))
                return false;
        } else {
            struct fmt_json_walk w;
            uint64_t index = 0;
            if (out->kind != ES_ARRAY)
                return false;
            fmt_json_walk_init(&w, out->text);
            do {
                if (!fmt_json_element(&w, &value))
                    return false;
            } while (index++ < s->index);
        }
        es_value_of_json(value, out);
    }
    return true;
}
