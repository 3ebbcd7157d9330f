/* cloudevents.c: see cloudevents.h. */
#include "cloudevents.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "internal.h"

#define OWN_SCHEME "esdb:"
#define MEMBERS_MAX \
    64u /* metadata with more members goes into esdbmetadata; CloudEvents with more attributes are refused */

/* The attributes of CloudEvents, and esdb's own. The rest are extensions: members of metadata. */
enum attribute {
    SPECVERSION,
    ID,
    SOURCE,
    TYPE,
    SUBJECT,
    TIME,
    DATACONTENTTYPE,
    DATASCHEMA,
    DATA,
    DATA_BASE64,
    ESDB_METADATA,
    ESDB_METADATATYPE,
    ESDB_VERSION_NUMBER,
    ESDB_POSITION,
    ATTRIBUTES,
};

static const char *const attribute_names[ATTRIBUTES] = {
    "specversion", "id",   "source",      "type",         "subject",          "time",        "datacontenttype",
    "dataschema",  "data", "data_base64", "esdbmetadata", "esdbmetadatatype", "esdbversion", "esdbposition",
};

/* Extension attributes whose members of metadata have a '_', which attributes may not. */
static const char *const renamed[][2] = {
    {"correlationid", "correlation_id"},
    {"causationid", "causation_id"},
    {"actorid", "actor_id"},
};
#define RENAMED (sizeof renamed / sizeof *renamed)

static bool is_word(struct fmt_text text, const char *word) {
    return text.len == strlen(word) && memcmp(text.at, word, text.len) == 0;
}

static enum attribute find_attribute(struct fmt_text name) {
    int i = 0;

    while (i < ATTRIBUTES && !is_word(name, attribute_names[i]))
        i++;
    return (enum attribute)i;
}

/* Lower-case letters and digits. */
static bool is_name(struct fmt_text name) {
    for (size_t i = 0; i < name.len; i++)
        if (!(name.at[i] >= 'a' && name.at[i] <= 'z') && !(name.at[i] >= '0' && name.at[i] <= '9'))
            return false;
    return name.len > 0;
}

static bool is_integer(struct fmt_text value) {
    char digits[12];
    long n;

    if (value.len >= sizeof digits || strspn(value.at, "-0123456789") < value.len)
        return false;
    memcpy(digits, value.at, value.len);
    digits[value.len] = '\0';
    n = strtol(digits, NULL, 10);
    return n >= INT32_MIN && n <= INT32_MAX;
}

/* A string's body without what CloudEvents does not allow in strings: control characters. */
static bool is_clean(struct fmt_text body) {
    for (size_t i = 0; i < body.len; i++) {
        unsigned char c = (unsigned char)body.at[i], next = i + 1 < body.len ? (unsigned char)body.at[i + 1] : 0;

        if (c == 0x7f || (c == 0xc2 && next < 0xa0))
            return false;
        if (c == '\\' && next != '"' && next != '\\' && next != '/')
            return false; /* \n and the like; other escapes are not worth a closer look */
        i += c == '\\';
    }
    return true;
}

/* RFC 3986 has no other characters. */
static bool is_uri(struct fmt_text body) {
    static const char others[] = "-._~:/?#[]@!$&'()*+,;=%";

    for (size_t i = 0; i < body.len; i++) {
        char c = body.at[i];
        bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');

        if (!is_letter && (c == '\0' || !strchr(others, c)))
            return false;
    }
    return body.len > 0;
}

static bool is_own_source(struct fmt_text body) {
    return body.len >= strlen(OWN_SCHEME) && memcmp(body.at, OWN_SCHEME, strlen(OWN_SCHEME)) == 0;
}

/* ---- out ---- */

/* The name of the attribute that a member of metadata becomes; at == NULL: it cannot be one. */
static struct fmt_text attribute_for(struct fmt_text key, struct fmt_text value) {
    const struct fmt_text none = {NULL, 0};
    struct fmt_text name = fmt_json_body(key);
    enum attribute a;

    switch (*value.at) {
    case '"':
        if (!is_clean(fmt_json_body(value)))
            return none;
        break;
    case 't':
    case 'f':
        break;
    default:
        if (!is_integer(value))
            return none;
    }
    for (size_t i = 0; i < RENAMED; i++) {
        if (is_word(name, renamed[i][1]))
            return (struct fmt_text){renamed[i][0], strlen(renamed[i][0])};
        if (is_word(name, renamed[i][0]))
            return none; /* it would come back under the other name */
    }
    if (!is_name(name) || (name.len >= 4 && memcmp(name.at, "esdb", 4) == 0))
        return none;
    a = find_attribute(name);
    if (a == SOURCE || a == DATASCHEMA)
        return *value.at == '"' && is_uri(fmt_json_body(value)) && !is_own_source(fmt_json_body(value)) ? name : none;
    return a == ATTRIBUTES ? name : none;
}

/* The members of metadata that become attributes. */
struct extensions {
    struct fmt_text name[MEMBERS_MAX], value[MEMBERS_MAX];
    size_t count;
    bool complete;   /* they are all of metadata */
    bool has_source; /* one of them is the source */
};

static void choose_extensions(struct fmt_text metadata, struct extensions *x) {
    struct fmt_json_walk w;
    struct fmt_text key, value;

    *x = (struct extensions){.complete = true};
    if (!metadata.at)
        return;
    x->complete = *metadata.at == '{' && metadata.len > 2;
    fmt_json_walk_init(&w, metadata);
    while (*metadata.at == '{' && fmt_json_next_member(&w, &key, &value)) {
        struct fmt_text name = attribute_for(key, value);

        for (size_t i = 0; i < x->count && name.at; i++)
            if (x->name[i].len == name.len && memcmp(x->name[i].at, name.at, name.len) == 0)
                x->count = MEMBERS_MAX; /* twice */
        if (x->count == MEMBERS_MAX) {
            *x = (struct extensions){0};
            return;
        }
        if (!name.at) {
            x->complete = false;
            continue;
        }
        x->name[x->count] = name;
        x->value[x->count++] = value;
        x->has_source |= is_word(name, "source");
    }
}

static void put_name(struct cmd_out *out, const char *name) {
    cmd_out_printf(out, ",\"%s\":", name);
}

static void put_source(struct cmd_out *out, struct esdb_text stream_id) {
    static const char plain[] = "-._~";
    struct esdb_settings s = {0};

    esdb_get_settings(cmd_opened_store(), &s);
    put_name(out, "source");
    cmd_out_text(out, "\"" OWN_SCHEME);
    for (int i = 0; i < 16; i++)
        cmd_out_printf(out, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", s.store_id[i]);
    cmd_out_text(out, "/");
    for (size_t i = 0; i < stream_id.len; i++) {
        char c = stream_id.at[i];

        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || (c && strchr(plain, c)))
            cmd_out_add(out, &c, 1);
        else
            cmd_out_printf(out, "%%%02X", (unsigned char)c);
    }
    cmd_out_text(out, "\"");
}

static void put_time(struct cmd_out *out, uint64_t epoch_us) {
    time_t seconds = (time_t)(epoch_us / 1000000);
    char text[32];
    struct tm tm;

    if (epoch_us / 1000000 > 253402300799 || !gmtime_r(&seconds, &tm))
        return; /* RFC 3339 ends with the year 9999 */
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
    put_name(out, "time");
    cmd_out_printf(out, "\"%s.%06uZ\"", text, (unsigned)(epoch_us % 1000000));
}

static void put_metadata(struct cmd_out *out, const struct esdb_event *e, const struct extensions *x) {
    for (size_t i = 0; i < x->count; i++) {
        cmd_out_printf(out, ",\"%.*s\":", (int)x->name[i].len, x->name[i].at);
        cmd_out_stored_json(out, (struct esdb_text){x->value[i].at, x->value[i].len});
    }
    if (!x->complete) {
        put_name(out, "esdbmetadata");
        cmd_out_json(out, e->metadata);
    }
    if (e->metadata_content_type.len > 0) {
        put_name(out, "esdbmetadatatype");
        cmd_out_json(out, e->metadata_content_type);
    }
}

void cmd_cloudevents_print(struct cmd_out *out, const struct esdb_event *e) {
    struct extensions x;

    choose_extensions((struct fmt_text){e->metadata.at, e->metadata.len}, &x);
    cmd_out_text(out, "{\"specversion\":\"1.0\",\"id\":");
    cmd_out_json(out, e->event_id);
    if (!x.has_source)
        put_source(out, e->stream_id);
    put_name(out, "type");
    cmd_out_json(out, e->event_type);
    put_name(out, "subject");
    cmd_out_json(out, e->stream_id);
    put_time(out, e->epoch_us);
    cmd_out_printf(out, ",\"esdbversion\":\"%" PRIu64 "\",\"esdbposition\":\"%" PRIu64 "\"", e->version, e->position);
    put_metadata(out, e, &x);
    if (e->data_content_type.len > 0 || e->data.at) {
        put_name(out, "datacontenttype");
        cmd_out_json(out, e->data_content_type.len > 0 ? e->data_content_type : cmd_text("application/json"));
    }
    if (e->data.at && e->binary) {
        put_name(out, "data_base64");
        cmd_out_text(out, "\"");
        cmd_out_base64(out, e->data);
        cmd_out_text(out, "\"");
    } else if (e->data.at) {
        put_name(out, "data");
        cmd_out_stored_json(out, e->data);
    }
    cmd_out_text(out, "}");
}

/* ---- in ---- */

__attribute__((format(printf, 2, 3))) static bool wrong(struct cmd_cloudevent *c, const char *format, ...) {
    va_list args;

    va_start(args, format);
    vsnprintf(c->wrong, sizeof c->wrong, format, args);
    va_end(args);
    return false;
}

bool cmd_cloudevents_is(struct fmt_text object) {
    struct fmt_text value;

    return fmt_json_member(object, (struct fmt_text){"specversion", 11}, &value);
}

static struct fmt_json_value to_value(struct fmt_text text) {
    return (struct fmt_json_value){text.at, text.len,
                                   *text.at == '-' || (*text.at >= '0' && *text.at <= '9') ? '0' : *text.at, false};
}

/* What a CloudEvent holds. */
struct attributes {
    struct fmt_text known[ATTRIBUTES];                     /* values; at == NULL: absent */
    struct fmt_text name[MEMBERS_MAX], value[MEMBERS_MAX]; /* of extensions, in their order */
    size_t count;
};

static bool add_extension(struct cmd_cloudevent *c, struct attributes *a, struct fmt_text name, struct fmt_text value,
                          bool ignore_unknown) {
    int shown = (int)(name.len < 60 ? name.len : 60);

    if (!is_name(name) || *value.at == '{' || *value.at == '[' || (to_value(value).kind == '0' && !is_integer(value))) {
        if (ignore_unknown)
            return true;
        return is_name(name)
                   ? wrong(c, "%.*s must be a string, an integer of 32 bits, true or false", shown, name.at)
                   : wrong(c, "\"%.*s\" is no name of an attribute: lower-case letters and digits", shown, name.at);
    }
    for (size_t i = 0; i < a->count; i++)
        if (a->name[i].len == name.len && memcmp(a->name[i].at, name.at, name.len) == 0)
            return wrong(c, "%.*s stands there twice", shown, name.at);
    if (a->count == MEMBERS_MAX)
        return wrong(c, "%.*s is one attribute too many: %u are allowed", shown, name.at, MEMBERS_MAX);
    a->name[a->count] = name;
    a->value[a->count++] = value;
    return true;
}

/* Sorts the members of the object. */
static bool collect(struct fmt_text object, bool ignore_unknown, struct cmd_cloudevent *c, struct attributes *a) {
    struct fmt_json_walk w;
    struct fmt_text key, value;

    fmt_json_walk_init(&w, object);
    while (fmt_json_next_member(&w, &key, &value)) {
        struct fmt_text name = fmt_json_body(key);
        enum attribute which = find_attribute(name);
        bool is_data = which == DATA || which == DATA_BASE64;

        if (*value.at == 'n' && which != DATA)
            continue; /* null is: not there */
        if (which != ATTRIBUTES && a->known[which].at)
            return wrong(c, "%s stands there twice", attribute_names[which]);
        if (which != ATTRIBUTES && !is_data && (*value.at != '"' || fmt_json_body(value).len == 0))
            return wrong(c, "%s must be a string that is not empty", attribute_names[which]);
        if (which != ATTRIBUTES)
            a->known[which] = value;
        /* Foreign sources and schemas go to the metadata too, in their place. */
        if (which == ATTRIBUTES || which == DATASCHEMA || (which == SOURCE && !is_own_source(fmt_json_body(value))))
            if (!add_extension(c, a, name, value, ignore_unknown))
                return false;
    }
    return true;
}

/* RFC 3339: esdb_time_parse() takes more than that. */
static bool take_time(struct cmd_cloudevent *c, struct fmt_text value) {
    struct fmt_text text = fmt_json_body(value);
    struct esdb_error err = {0};
    bool has_zone = text.len > 20 &&
                    (text.at[text.len - 1] == 'Z' || text.at[text.len - 1] == 'z' ||
                     ((text.at[text.len - 6] == '+' || text.at[text.len - 6] == '-') && text.at[text.len - 3] == ':'));

    if (text.len == 20)
        has_zone = text.at[19] == 'Z' || text.at[19] == 'z';
    if (!has_zone || (text.at[10] != 'T' && text.at[10] != 't') || text.at[16] != ':' || memchr(text.at, ' ', text.len))
        return wrong(c, "time must be like 2025-11-23T15:04:05.123456Z (RFC 3339)");
    if (esdb_time_parse((struct esdb_text){text.at, text.len}, 0, &c->epoch_us, &err) != 0)
        return wrong(c, "time: %.100s", err.text);
    return true;
}

static bool check_context(struct cmd_cloudevent *c, const struct attributes *a) {
    static const enum attribute required[] = {SPECVERSION, ID, SOURCE, TYPE};

    for (size_t i = 0; i < sizeof required / sizeof *required; i++)
        if (!a->known[required[i]].at)
            return wrong(c, "%s is missing", attribute_names[required[i]]);
    if (!is_word(a->known[SPECVERSION], "\"1.0\""))
        return wrong(c, "specversion must be \"1.0\"");
    return !a->known[TIME].at || take_time(c, a->known[TIME]);
}

/* The member of metadata that an extension attribute stands for. */
static struct fmt_text member_name(struct fmt_text name) {
    for (size_t i = 0; i < RENAMED; i++)
        if (is_word(name, renamed[i][0]))
            return (struct fmt_text){renamed[i][1], strlen(renamed[i][1])};
    return name;
}

static char *put_bytes(char *p, const char *at, size_t len) {
    memcpy(p, at, len);
    return p + len;
}

static char *put_member(char *p, struct fmt_text name, struct fmt_text value) {
    if (p[-1] != '{')
        *p++ = ',';
    *p++ = '"';
    p = put_bytes(p, name.at, name.len);
    p = put_bytes(p, "\":", 2);
    return put_bytes(p, value.at, value.len);
}

/* Metadata from esdbmetadata, and extension attributes that are not in it. `room` is at its start. */
static bool take_metadata(struct cmd_cloudevent *c, const struct attributes *a, bool keep_subject, char *room) {
    struct fmt_text text = a->known[ESDB_METADATA], object = {NULL, 0}, other;
    char *p = room, *start = room;

    if (text.at) {
        struct fmt_json_error err;
        struct fmt_json_value v;

        if (fmt_json_has_lone_surrogate(text))
            return wrong(c, "esdbmetadata has the escape of half a surrogate pair");
        p += fmt_json_decode(text, p, text.len);
        if (fmt_json_scan(room, (size_t)(p - room), &v, &err) != FMT_JSON_OK)
            return wrong(c, "esdbmetadata is not JSON: byte %zu: %s", err.offset + 1, err.what);
        start = p;
        p += fmt_json_strip(&v, p);
        object = (struct fmt_text){start, (size_t)(p - start)};
        if (*object.at != '{' && (a->count > 0 || keep_subject))
            return wrong(c, "esdbmetadata is no object, so there is no place for other attributes");
    } else if (a->count == 0 && !keep_subject) {
        return true;
    } else {
        object = (struct fmt_text){p, 2};
        p = put_bytes(p, "{}", 2);
    }
    if (*object.at == '{') {
        p--; /* over the '}' */
        for (size_t i = 0; i < a->count; i++)
            if (object.len == 2 || !fmt_json_member(object, member_name(a->name[i]), &other))
                p = put_member(p, member_name(a->name[i]), a->value[i]);
        if (keep_subject)
            p = put_member(p, (struct fmt_text){"subject", 7}, a->known[SUBJECT]);
        *p++ = '}';
    }
    c->key[FMT_KEY_METADATA] = to_value((struct fmt_text){start, (size_t)(p - start)});
    return true;
}

bool cmd_cloudevents_take(struct fmt_text object, bool has_stream, bool ignore_unknown, char *room,
                          struct cmd_cloudevent *out) {
    static const struct {
        enum attribute from;
        enum fmt_envelope_key to;
    } same[] = {
        {ID, FMT_KEY_EVENT_ID},
        {TYPE, FMT_KEY_EVENT_TYPE},
        {SUBJECT, FMT_KEY_STREAM_ID},
        {DATACONTENTTYPE, FMT_KEY_DATA_CONTENT_TYPE},
        {DATA, FMT_KEY_DATA},
        {DATA_BASE64, FMT_KEY_DATA_BASE64},
        {ESDB_METADATATYPE, FMT_KEY_METADATA_CONTENT_TYPE},
    };
    struct attributes a = {.count = 0};
    bool keep_subject;

    *out = (struct cmd_cloudevent){0};
    if (!collect(object, ignore_unknown, out, &a) || !check_context(out, &a))
        return false;
    for (size_t i = 0; i < sizeof same / sizeof *same; i++)
        if (a.known[same[i].from].at)
            out->key[same[i].to] = to_value(a.known[same[i].from]);
    out->is_own = is_own_source(fmt_json_body(a.known[SOURCE])) || a.known[ESDB_POSITION].at;
    keep_subject = has_stream && !out->is_own && a.known[SUBJECT].at;
    if (has_stream && !out->is_own)
        out->key[FMT_KEY_STREAM_ID] = (struct fmt_json_value){0};
    return take_metadata(out, &a, keep_subject, room);
}
