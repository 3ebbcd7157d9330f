#include "pattern.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Bytes of the character that begins here. */
static size_t character(const char *at, const char *end) {
    size_t n = 1;
    while (at + n < end && ((unsigned char)at[n] & 0xc0) == 0x80)
        n++;
    return n;
}

/* Greedy with one point to come back to: the newest '*'. Linear in practice, never exponential. */
bool esdb_pattern_match(struct esdb_text pattern, struct esdb_text text) {
    const char *p = pattern.at, *pend = pattern.at + pattern.len;
    const char *t = text.at, *tend = text.at + text.len;
    const char *star = NULL, *retry = NULL;
    while (t < tend) {
        if (p < pend && *p == '*') {
            star = ++p;
            retry = t;
            continue;
        }
        if (p < pend && *p == '?') {
            p++;
            t += character(t, tend);
            continue;
        }
        const char *literal = p < pend && *p == '\\' && p + 1 < pend ? p + 1 : p;
        if (literal < pend && *literal == *t) {
            p = literal + 1;
            t++;
            continue;
        }
        if (!star)
            return false;
        retry += character(retry, tend);
        p = star;
        t = retry;
    }
    while (p < pend && *p == '*')
        p++;
    return p == pend;
}

static bool has_wildcard(struct esdb_text t) {
    for (size_t i = 0; i < t.len; i++) {
        if (t.at[i] == '\\' && i + 1 < t.len)
            i++;
        else if (t.at[i] == '*' || t.at[i] == '?')
            return true;
    }
    return false;
}

int es_pattern_init(struct es_pattern *p, struct esdb_text t, bool as_is) {
    char *copy = malloc(t.len + 1);
    if (!copy)
        return -ENOMEM;
    *p = (struct es_pattern){.text = copy, .literal = as_is || !has_wildcard(t)};
    for (size_t i = 0; i < t.len; i++) {
        if (p->literal && !as_is && t.at[i] == '\\' && i + 1 < t.len)
            i++;
        copy[p->len++] = t.at[i];
    }
    return 0;
}

void es_pattern_release(struct es_pattern *p) {
    free(p->text);
    *p = (struct es_pattern){0};
}

bool es_pattern_matches(const struct es_pattern *p, struct esdb_text text) {
    if (p->literal)
        return p->len == text.len && memcmp(p->text, text.at, text.len) == 0;
    return esdb_pattern_match((struct esdb_text){p->text, p->len}, text);
}
