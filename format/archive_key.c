#include "archive_key.h"

#include <string.h>

#include "utf8.h"

static const char digits[] = "0123456789ABCDEF";

static bool is_plain(unsigned char c, bool first) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
           (c == '.' && !first);
}

size_t fmt_archive_folder(struct fmt_text stream_id, char out[FMT_ARCHIVE_KEY_ROOM]) {
    size_t len = 0, piece = 0;
    for (size_t i = 0; i < stream_id.len; i++) {
        unsigned char c = (unsigned char)stream_id.at[i];
        bool plain = is_plain(c, piece == 0);
        if (piece + (plain ? 1 : 3) > FMT_ARCHIVE_PIECE) {
            out[len++] = '~';
            out[len++] = '/';
            piece = 0;
            plain = is_plain(c, true);
        }
        piece += plain ? 1 : 3;
        if (plain) {
            out[len++] = (char)c;
        } else {
            out[len++] = '%';
            out[len++] = digits[c >> 4];
            out[len++] = digits[c & 15];
        }
    }
    out[len] = '\0';
    return len;
}

static size_t put_number(char *out, uint64_t n) {
    char text[20];
    size_t i = sizeof text;
    do
        text[--i] = (char)('0' + n % 10);
    while ((n /= 10) > 0);
    memcpy(out, text + i, sizeof text - i);
    return sizeof text - i;
}

size_t fmt_archive_key(struct fmt_text stream_id, uint64_t from, uint64_t to, char out[FMT_ARCHIVE_KEY_ROOM]) {
    size_t len = fmt_archive_folder(stream_id, out);
    out[len++] = '/';
    len += put_number(out + len, from);
    out[len++] = '-';
    len += put_number(out + len, to);
    memcpy(out + len, FMT_ARCHIVE_SUFFIX, sizeof FMT_ARCHIVE_SUFFIX);
    return len + sizeof FMT_ARCHIVE_SUFFIX - 1;
}

/* Takes digits from *at on. False: none, or too many. */
static bool take_number(const char **at, const char *end, uint64_t *out) {
    const char *begin = *at;
    uint64_t n = 0;
    for (; *at < end && **at >= '0' && **at <= '9'; ++*at) {
        unsigned digit = (unsigned)(**at - '0');
        if (n > (UINT64_MAX - digit) / 10)
            return false;
        n = n * 10 + digit;
    }
    *out = n;
    return *at > begin;
}

static int hex(char c) {
    const char *at = c ? memchr(digits, c, 16) : NULL;
    return at ? (int)(at - digits) : -1;
}

/* The bytes that a folder stands for, without looking whether it is spelt as it must be. */
static bool decode(const char *at, const char *end, char stream_id[FMT_STREAM_NAME_MAX], size_t *len) {
    *len = 0;
    while (at < end) {
        char c = *at++;
        if (c == '~' && at < end && *at == '/') {
            at++;
            continue;
        }
        if (c == '%') {
            if (end - at < 2 || hex(at[0]) < 0 || hex(at[1]) < 0)
                return false;
            c = (char)(hex(at[0]) << 4 | hex(at[1]));
            at += 2;
        }
        if (*len == FMT_STREAM_NAME_MAX)
            return false;
        stream_id[(*len)++] = c;
    }
    return *len > 0;
}

bool fmt_archive_key_parse(struct fmt_text key, char stream_id[FMT_STREAM_NAME_MAX], size_t *len, uint64_t *from,
                           uint64_t *to) {
    char again[FMT_ARCHIVE_KEY_ROOM];
    const char *end = key.at + key.len, *slash = end - 1;
    if (key.len == 0 || key.len >= FMT_ARCHIVE_KEY_ROOM)
        return false;
    while (slash > key.at && *slash != '/')
        slash--;
    const char *at = slash + 1;
    if (slash == key.at || !take_number(&at, end, from) || at == end || *at++ != '-' || !take_number(&at, end, to) ||
        *from > *to || !decode(key.at, slash, stream_id, len))
        return false;
    struct fmt_text name = {stream_id, *len};
    return fmt_utf8_valid(name.at, name.len, NULL) && !fmt_has_control(name.at, name.len) &&
           fmt_archive_key(name, *from, *to, again) == key.len && memcmp(again, key.at, key.len) == 0;
}
