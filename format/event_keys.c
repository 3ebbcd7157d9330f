#include "event_keys.h"

#include <string.h>

#include "checksum.h"

uint64_t fmt_event_key_hash(enum fmt_event_key kind, struct fmt_text text) {
    return XXH3_64bits_withSeed(text.at, text.len < FMT_EVENT_KEY_BYTES_MAX ? text.len : FMT_EVENT_KEY_BYTES_MAX, kind);
}

enum fmt_event_key fmt_event_key_of_member(struct fmt_text name) {
    static const struct {
        struct fmt_text name;
        enum fmt_event_key kind;
    } members[] = {{{"tags", 4}, FMT_EVENT_KEY_TAG},
                   {{"actor_id", 8}, FMT_EVENT_KEY_ACTOR},
                   {{"causation_id", 12}, FMT_EVENT_KEY_CAUSATION},
                   {{"correlation_id", 14}, FMT_EVENT_KEY_CORRELATION}};
    for (size_t i = 0; i < sizeof members / sizeof *members; i++)
        if (name.len == members[i].name.len && memcmp(name.at, members[i].name.at, name.len) == 0)
            return members[i].kind;
    return FMT_EVENT_KEY_NONE;
}

/* `key` is with its quotes; escapes are rare. */
static enum fmt_event_key kind_of(struct fmt_text key) {
    struct fmt_text body = fmt_json_body(key);
    char room[32];
    if (memchr(body.at, '\\', body.len)) {
        size_t len = fmt_json_decode(key, room, sizeof room);
        return len <= sizeof room ? fmt_event_key_of_member((struct fmt_text){room, len}) : FMT_EVENT_KEY_NONE;
    }
    return fmt_event_key_of_member(body);
}

bool fmt_event_key_text(struct fmt_text value, char room[FMT_EVENT_KEY_BYTES_MAX], struct fmt_text *text) {
    if (value.len == 0 || *value.at == '{' || *value.at == '[')
        return false;
    if (*value.at != '"') {
        *text = value;
        return true;
    }
    struct fmt_text body = fmt_json_body(value);
    if (memchr(body.at, '\\', body.len)) {
        const char *at = body.at, *end = body.at + body.len;
        size_t len = 0;
        while (at < end && len + 4 <= FMT_EVENT_KEY_BYTES_MAX)
            len += fmt_json_next_character(&at, end, room + len);
        while (at < end && len < FMT_EVENT_KEY_BYTES_MAX) { /* the bytes that still fit of the character at the limit */
            char character[4];
            size_t n = fmt_json_next_character(&at, end, character);
            if (n > FMT_EVENT_KEY_BYTES_MAX - len)
                n = FMT_EVENT_KEY_BYTES_MAX - len;
            memcpy(room + len, character, n);
            len += n;
        }
        body = (struct fmt_text){room, len};
    }
    *text = body;
    return true;
}

void fmt_event_keys_begin(struct fmt_event_keys *k, const struct fmt_event *e) {
    k->event = e;
    k->stage = 0;
    k->in_tags = false;
}

static bool hash_value(enum fmt_event_key kind, struct fmt_text value, uint64_t *hash) {
    char room[FMT_EVENT_KEY_BYTES_MAX];
    struct fmt_text text;
    if (!fmt_event_key_text(value, room, &text))
        return false;
    *hash = fmt_event_key_hash(kind, text);
    return true;
}

static bool next_of_metadata(struct fmt_event_keys *k, uint64_t *hash) {
    struct fmt_text key, value;
    for (;;) {
        while (k->in_tags && fmt_json_element(&k->tags, &value))
            if (hash_value(FMT_EVENT_KEY_TAG, value, hash))
                return true;
        k->in_tags = false;
        if (!fmt_json_next_member(&k->members, &key, &value))
            return false;
        enum fmt_event_key kind = kind_of(key);
        if (kind == FMT_EVENT_KEY_TAG) {
            fmt_json_walk_init(&k->tags, value);
            k->in_tags = *value.at == '[';
        } else if (kind != FMT_EVENT_KEY_NONE && hash_value(kind, value, hash)) {
            return true;
        }
    }
}

bool fmt_event_keys_next(struct fmt_event_keys *k, uint64_t *hash) {
    const struct fmt_event *e = k->event;
    switch (k->stage) {
    case 0:
        k->stage = 1;
        *hash = fmt_event_key_hash(FMT_EVENT_KEY_ID, e->event_id);
        if (e->event_id.len)
            return true;
        /* fallthrough */
    case 1:
        k->stage = 2;
        *hash = fmt_event_key_hash(FMT_EVENT_KEY_TYPE, e->event_type);
        if (e->event_type.len)
            return true;
        /* fallthrough */
    case 2:
        if (!(e->flags & FMT_EVENT_HAS_METADATA) || e->metadata.len < 2 || *e->metadata.at != '{') {
            k->stage = 4;
            return false;
        }
        fmt_json_walk_init(&k->members, e->metadata);
        k->stage = 3;
        /* fallthrough */
    case 3:
        return next_of_metadata(k, hash);
    default:
        return false;
    }
}
