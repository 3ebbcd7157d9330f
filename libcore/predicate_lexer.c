#include "predicate_lexer.h"

#include <string.h>

#include "error.h"
#include "format/json_path.h"

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static bool is_name_start(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_name(char c) {
    return is_name_start(c) || is_digit(c);
}

static char peek(const struct es_lexer *l, size_t ahead) {
    return (size_t)(l->end - l->at) > ahead ? l->at[ahead] : '\0';
}

/* A run of name characters from `from` characters ahead on. */
static void take_name(struct es_lexer *l, size_t from, struct es_token *out) {
    const char *p = l->at + from;

    out->text.at = p;
    while (p < l->end && is_name(*p))
        p++;
    out->text.len = (size_t)(p - out->text.at);
    l->at = p;
    if (peek(l, 0) == ':' && peek(l, 1) == ':') /* a name of a module */
        out->kind = ES_TOKEN_OTHER;
}

static const char *skip_digits(const char *p, const char *end) {
    while (p < end && is_digit(*p))
        p++;
    return p;
}

/* Only numbers that JSON has too: jq's grammar is wider. */
static void take_number(struct es_lexer *l, struct es_token *out) {
    const char *start = l->at, *p = skip_digits(start, l->end), *q;

    out->kind = ES_TOKEN_OTHER;
    if (*start == '0' && p - start > 1)
        return;
    if (p < l->end && *p == '.') {
        q = skip_digits(p + 1, l->end);
        if (q == p + 1)
            return;
        p = q;
    }
    if (p < l->end && (*p == 'e' || *p == 'E')) {
        q = p + 1;
        if (q < l->end && (*q == '+' || *q == '-'))
            q++;
        p = skip_digits(q, l->end);
        if (p == q)
            return;
    }
    if (p < l->end && (is_name(*p) || *p == '.'))
        return;
    out->kind = ES_TOKEN_NUMBER;
    out->text = (struct fmt_text){start, (size_t)(p - start)};
    l->at = p;
}

static bool is_hex(char c) {
    return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* Is the escape at p (a backslash) one of JSON? Sets its length. */
static bool is_json_escape(const char *p, const char *end, size_t *len) {
    if (end - p < 2)
        return false;
    *len = 2;
    if (p[1] != 'u')
        return p[1] != '\0' && strchr("\"\\/bfnrt", p[1]) != NULL;
    *len = 6;
    return end - p >= 6 && is_hex(p[2]) && is_hex(p[3]) && is_hex(p[4]) && is_hex(p[5]);
}

/* l->at is an opening quote. Interpolation, control characters and lone surrogates are jq's business. */
static void take_string(struct es_lexer *l, struct es_token *out) {
    const char *p = l->at + 1;
    struct fmt_text whole;
    size_t len;

    out->kind = ES_TOKEN_OTHER;
    while (p < l->end && *p != '"') {
        len = 1;
        if ((unsigned char)*p < 0x20 || (*p == '\\' && !is_json_escape(p, l->end, &len)))
            return;
        p += len;
    }
    if (p == l->end) {
        out->kind = ES_TOKEN_OPEN_STRING;
        return;
    }
    whole = (struct fmt_text){l->at, (size_t)(p + 1 - l->at)};
    if (fmt_json_has_lone_surrogate(whole))
        return;
    out->kind = ES_TOKEN_STRING;
    out->text = (struct fmt_text){l->room, fmt_json_decode(whole, l->room, whole.len)};
    l->room += out->text.len;
    l->at = p + 1;
}

static enum es_token_kind take(struct es_lexer *l, size_t len, enum es_token_kind kind) {
    l->at += len;
    return kind;
}

/* Operators that are longer than one character, or begin like one that is. */
static enum es_token_kind take_operator(struct es_lexer *l) {
    char next = peek(l, 1);

    switch (*l->at) {
    case '=':
        return next == '=' ? take(l, 2, ES_TOKEN_EQ) : take(l, 1, ES_TOKEN_OPERATOR);
    case '!':
        return next == '=' ? take(l, 2, ES_TOKEN_NE) : ES_TOKEN_NO_CHARACTER;
    case '<':
        return next == '=' ? take(l, 2, ES_TOKEN_LE) : take(l, 1, ES_TOKEN_LT);
    case '>':
        return next == '=' ? take(l, 2, ES_TOKEN_GE) : take(l, 1, ES_TOKEN_GT);
    case '|':
        return next == '=' ? take(l, 2, ES_TOKEN_OPERATOR) : take(l, 1, ES_TOKEN_PIPE);
    case '/':
        if (next == '/')
            return peek(l, 2) == '=' ? take(l, 3, ES_TOKEN_OPERATOR) : take(l, 2, ES_TOKEN_ALTERNATIVE);
        return take(l, next == '=' ? 2 : 1, ES_TOKEN_OPERATOR);
    case '-':
        return next == '=' ? take(l, 2, ES_TOKEN_OPERATOR) : take(l, 1, ES_TOKEN_MINUS);
    case '?':
        return next == '/' ? ES_TOKEN_OTHER : take(l, 1, ES_TOKEN_QUESTION);
    default: /* + * % */
        return take(l, next == '=' ? 2 : 1, ES_TOKEN_OPERATOR);
    }
}

static enum es_token_kind take_sign(struct es_lexer *l) {
    switch (*l->at) {
    case ',':
        return take(l, 1, ES_TOKEN_COMMA);
    case '(':
        return take(l, 1, ES_TOKEN_OPEN);
    case ')':
        return take(l, 1, ES_TOKEN_CLOSE);
    case '[':
        return take(l, 1, ES_TOKEN_BRACKET);
    case ']':
        return take(l, 1, ES_TOKEN_BRACKET_CLOSE);
    case '{':
        return take(l, 1, ES_TOKEN_BRACE);
    case '}':
        return take(l, 1, ES_TOKEN_BRACE_CLOSE);
    case ';':
        return take(l, 1, ES_TOKEN_SEMICOLON);
    case ':':
        return take(l, 1, ES_TOKEN_COLON);
    case '&':
    case '\'':
    case '`':
    case '~':
    case '^':
        return ES_TOKEN_NO_CHARACTER;
    default:
        return ES_TOKEN_OTHER;
    }
}

void es_lexer_next(struct es_lexer *l, struct es_token *out) {
    while (l->at < l->end && (*l->at == ' ' || *l->at == '\t' || *l->at == '\n'))
        l->at++;
    *out = (struct es_token){.kind = ES_TOKEN_END, .at = l->at};
    if (l->at == l->end)
        return;

    char c = *l->at;

    if (c == '.') {
        out->kind = ES_TOKEN_FIELD;
        if (is_name_start(peek(l, 1)))
            take_name(l, 1, out);
        else if (peek(l, 1) == '.' || is_digit(peek(l, 1)))
            out->kind = ES_TOKEN_OTHER;
        else
            out->kind = take(l, 1, ES_TOKEN_DOT);
    } else if (is_name_start(c)) {
        out->kind = ES_TOKEN_NAME;
        take_name(l, 0, out);
    } else if (is_digit(c)) {
        take_number(l, out);
    } else if (c == '"') {
        take_string(l, out);
    } else if (c != '\0' && strchr("=!<>|/-?+*%", c)) {
        out->kind = take_operator(l);
    } else {
        out->kind = take_sign(l);
    }
}

/* ---- errors ---- */

/* The place of `at` as a character number, from 1. */
static size_t column(const struct es_lexer *l, const char *at) {
    size_t n = 1;

    for (const char *p = l->start; p < at; p++)
        n += ((unsigned char)*p & 0xc0) != 0x80;
    return n;
}

#define EXCERPT_MAX 24

/* What stands at `at`, not longer than a few words, without control characters. */
static void excerpt(const struct es_lexer *l, const char *at, char out[EXCERPT_MAX + 4]) {
    size_t left = (size_t)(l->end - at), n = left < EXCERPT_MAX ? left : EXCERPT_MAX;

    while (n < left && n > 0 && ((unsigned char)at[n] & 0xc0) == 0x80)
        n--;
    for (size_t i = 0; i < n; i++)
        out[i] = (unsigned char)at[i] < 0x20 ? ' ' : at[i];
    memcpy(out + n, n < left ? "..." : "", n < left ? 4 : 1);
}

int es_lexer_fail(const struct es_lexer *l, const char *at, const char *what, struct esdb_error *err) {
    char near[EXCERPT_MAX + 4];

    excerpt(l, at, near);
    if (near[0] == '\0')
        return es_fail(err, ESDB_EUSAGE, "select expression: %s at its end", what);
    return es_fail(err, ESDB_EUSAGE, "select expression, character %zu: %s at '%s'", column(l, at), what, near);
}
