#include "life.h"

#include <string.h>

#include "checksum.h"

#define ERASED ",\"erased\":["

static const char *const types[FMT_LIFE_KINDS] = {
    [FMT_LIFE_DELETED] = "$stream-deleted",     [FMT_LIFE_UNDELETED] = "$stream-undeleted",
    [FMT_LIFE_TRUNCATED] = "$stream-truncated", [FMT_LIFE_CLOSED] = "$stream-closed",
    [FMT_LIFE_ERASED] = "$event-erased",
};

bool fmt_is_meta(struct fmt_text stream_id) {
    return stream_id.len > FMT_META_PREFIX_LEN && memcmp(stream_id.at, FMT_META_PREFIX, FMT_META_PREFIX_LEN) == 0;
}

const char *fmt_life_type(enum fmt_life_kind kind) {
    return types[kind];
}

/* Adds text, then a number. */
static char *put(char *at, const char *text, uint64_t n) {
    char digits[20];
    size_t len = strlen(text), count = 0;
    memcpy(at, text, len);
    do
        digits[count++] = (char)('0' + n % 10);
    while ((n /= 10) > 0);
    for (at += len; count > 0; at++)
        *at = digits[--count];
    return at;
}

static char *put_text(char *at, struct fmt_text t) {
    memcpy(at, t.at, t.len);
    return at + t.len;
}

size_t fmt_life_encode(const struct fmt_life *l, char *out) {
    char *at = put(out, "{\"deleted_before\":", l->deleted_before);
    at = put(at, ",\"truncated_before\":", l->truncated_before);
    if (l->erased.len) {
        at = put_text(at, (struct fmt_text){ERASED, sizeof ERASED - 1});
        at = put_text(at, l->erased);
        *at++ = ']';
    }
    *at++ = '}';
    return (size_t)(at - out);
}

/* Passes `word`, then a number below 2^63 without leading zeros. */
static bool take(struct fmt_text *t, const char *word, uint64_t *out) {
    size_t len = strlen(word);
    if (t->len < len || memcmp(t->at, word, len) != 0)
        return false;
    t->at += len;
    t->len -= len;
    size_t digits = 0;
    uint64_t n = 0;
    for (; digits < t->len && t->at[digits] >= '0' && t->at[digits] <= '9'; digits++) {
        uint64_t digit = (uint64_t)(t->at[digits] - '0');
        if (n > (INT64_MAX - digit) / 10)
            return false;
        n = n * 10 + digit;
    }
    if (digits == 0 || (t->at[0] == '0' && digits > 1))
        return false;
    t->at += digits;
    t->len -= digits;
    *out = n;
    return true;
}

bool fmt_life_next_erased(struct fmt_text *erased, uint64_t *from, uint64_t *to) {
    struct fmt_text t = *erased;
    if (t.len > 0 && t.at[0] == ',') {
        t.at++;
        t.len--;
    }
    if (!take(&t, "[", from) || !take(&t, ",", to) || t.len == 0 || t.at[0] != ']' || *to < *from)
        return false;
    *erased = (struct fmt_text){t.at + 1, t.len - 1};
    return true;
}

/* The ranges, when the text begins with them, they ascend, and a bracket closes them. */
static void take_erased(struct fmt_text text, struct fmt_text *out) {
    struct fmt_text rest = text;
    uint64_t from, to, least = 0;
    if (text.len < sizeof ERASED - 1 || memcmp(text.at, ERASED, sizeof ERASED - 1) != 0)
        return;
    rest.at += sizeof ERASED - 1;
    rest.len -= sizeof ERASED - 1;
    const char *start = rest.at;
    while (fmt_life_next_erased(&rest, &from, &to) && from >= least)
        least = to + 1;
    if (rest.len > 0 && rest.at[0] == ']')
        *out = (struct fmt_text){start, (size_t)(rest.at - start)};
}

size_t fmt_life_closed_name(struct fmt_text stream_id, char out[FMT_CLOSED_LEN]) {
    uint64_t hash = fmt_checksum(stream_id.at, stream_id.len);
    memcpy(out, FMT_CLOSED_PREFIX, sizeof FMT_CLOSED_PREFIX - 1);
    for (int i = 0; i < 16; i++)
        out[sizeof FMT_CLOSED_PREFIX - 1 + i] = "0123456789abcdef"[hash >> (60 - 4 * i) & 15];
    return FMT_CLOSED_LEN;
}

bool fmt_life_decode(const struct fmt_event *e, struct fmt_life *out) {
    struct fmt_life l = {.kind = FMT_LIFE_KINDS};
    struct fmt_text data = e->data;
    for (int k = 0; k < FMT_LIFE_KINDS; k++)
        if (e->event_type.len == strlen(types[k]) && memcmp(e->event_type.at, types[k], e->event_type.len) == 0)
            l.kind = (enum fmt_life_kind)k;
    if (l.kind == FMT_LIFE_KINDS || (e->flags & (FMT_EVENT_HAS_DATA | FMT_EVENT_BINARY)) != FMT_EVENT_HAS_DATA ||
        !take(&data, "{\"deleted_before\":", &l.deleted_before) ||
        !take(&data, ",\"truncated_before\":", &l.truncated_before))
        return false;
    if (data.len == 0 || (data.at[0] != '}' && data.at[0] != ','))
        return false;
    take_erased(data, &l.erased);
    *out = l;
    return true;
}
