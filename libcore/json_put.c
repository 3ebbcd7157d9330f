#include "json_put.h"

#include <stdio.h>

#include "format/json.h"

int es_put_text(struct es_buffer *b, const char *text) {
    return es_buffer_add(b, text, strlen(text));
}

int es_put_string(struct es_buffer *b, struct esdb_text text) {
    int rc = es_buffer_reserve(b, 6 * text.len + 2);
    if (rc < 0)
        return rc;
    b->at[b->len++] = '"';
    b->len += fmt_json_escape(text.at ? text.at : "", text.len, (char *)b->at + b->len);
    b->at[b->len++] = '"';
    return 0;
}

int es_put_number(struct es_buffer *b, uint64_t n) {
    char digits[24];
    int len = snprintf(digits, sizeof digits, "%llu", (unsigned long long)n);
    return es_buffer_add(b, digits, (size_t)len);
}

int es_put_member(struct es_buffer *b, const char *key, uint64_t n) {
    int rc = es_put_text(b, ",\"");
    if (rc == 0)
        rc = es_put_text(b, key);
    if (rc == 0)
        rc = es_put_text(b, "\":");
    return rc == 0 ? es_put_number(b, n) : rc;
}
