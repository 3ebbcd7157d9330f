#include "number.h"

#include <stdlib.h>

#define DIGITS_CERTAIN 15               /* DBL_DIG: so many survive the way into a double and back */
#define EXPONENT_CERTAIN 290            /* well inside the range of doubles, whose denormal ones lose digits */
#define EXPONENT_MAX 100000000000000000 /* 10^17: larger ones are taken for this */

bool es_number_small(struct fmt_text text, int64_t *out) {
    const char *p = text.at, *end = text.at + text.len;
    bool negative = p < end && *p == '-';
    int64_t value = 0;

    p += negative;
    if (p == end || end - p > 16)
        return false;
    for (; p < end; p++) {
        unsigned digit = (unsigned)(*p - '0');

        if (digit > 9)
            return false;
        value = value * 10 + digit;
    }
    if (value > ES_NUMBER_SMALL)
        return false;
    *out = negative ? -value : value;
    return true;
}

/* A number taken apart: 0.d1d2d3... * 10^exponent, d1 not 0. */
struct decimal {
    bool negative, zero;
    const char *digits, *end; /* from d1 to the last digit that is not 0, with the point perhaps among them */
    int64_t exponent;
    size_t count; /* of digits */
};

static bool is_digit(char c) {
    return (unsigned char)(c - '0') < 10;
}

/* The exponent after an 'e'. */
static int64_t read_exponent(const char *p, const char *end) {
    bool negative = p < end && *p == '-';
    int64_t value = 0;

    if (p < end && (*p == '-' || *p == '+'))
        p++;
    for (; p < end && is_digit(*p); p++)
        if (value < EXPONENT_MAX)
            value = value * 10 + (*p - '0');
    if (value > EXPONENT_MAX)
        value = EXPONENT_MAX;
    return negative ? -value : value;
}

static struct decimal take_apart(struct fmt_text text) {
    const char *p = text.at, *end = text.at + text.len, *point = NULL;
    struct decimal d = {.zero = true};

    if (p < end && *p == '-') {
        d.negative = true;
        p++;
    }
    for (; p < end && (is_digit(*p) || *p == '.'); p++) {
        if (*p == '.') {
            point = p;
        } else if (*p != '0') {
            if (d.zero)
                d.digits = p;
            d.zero = false;
            d.end = p + 1;
        }
    }
    if (d.zero)
        return d;
    /* p is past the digits. */
    if (point == NULL)
        d.exponent = p - d.digits;
    else
        d.exponent = d.digits < point ? point - d.digits : point + 1 - d.digits;
    d.count = (size_t)(d.end - d.digits) - (point && point > d.digits && point < d.end);
    if (p < end)
        d.exponent += read_exponent(p + 1, end);
    return d;
}

static int compare_magnitudes(const struct decimal *a, const struct decimal *b) {
    if (a->exponent != b->exponent)
        return a->exponent < b->exponent ? -1 : 1;

    const char *p = a->digits, *q = b->digits;

    for (;; p++, q++) {
        if (p < a->end && *p == '.')
            p++;
        if (q < b->end && *q == '.')
            q++;
        if (p == a->end || q == b->end)
            return (p < a->end) - (q < b->end);
        if (*p != *q)
            return *p < *q ? -1 : 1;
    }
}

static int sign(const struct decimal *d) {
    return d->zero ? 0 : d->negative ? -1 : 1;
}

static int compare(const struct decimal *a, const struct decimal *b) {
    int s = sign(a), t = sign(b);

    if (s != t)
        return s < t ? -1 : 1;
    return s == 0 ? 0 : s * compare_magnitudes(a, b);
}

int es_number_compare(struct fmt_text a, struct fmt_text b) {
    struct decimal x = take_apart(a), y = take_apart(b);

    return compare(&x, &y);
}

/* The first twelve digits of d, and `shift` zeros behind them. */
static int64_t leading(const struct decimal *d, int64_t shift) {
    int64_t value = 0;
    const char *p = d->digits;

    for (int i = 0; i < 12 + shift; i++) {
        if (p < d->end && *p == '.')
            p++;
        value = value * 10 + (p < d->end && i < 12 ? *p++ - '0' : 0);
    }
    return value;
}

static bool has_few_digits(const struct decimal *d, struct fmt_text text) {
    int64_t value;

    if (d->zero)
        return true;
    return (d->count <= DIGITS_CERTAIN && llabs((long long)d->exponent) <= EXPONENT_CERTAIN) ||
           es_number_small(text, &value);
}

static bool is_tiny(const struct decimal *d) {
    return !d->zero && d->exponent < -EXPONENT_CERTAIN;
}

bool es_number_certain(struct fmt_text a, struct fmt_text b) {
    struct decimal x = take_apart(a), y = take_apart(b);

    if (has_few_digits(&x, a) && has_few_digits(&y, b))
        return true;
    /* A tiny one may be 0 in a double: its sign means nothing then. */
    if ((is_tiny(&x) && (y.zero || is_tiny(&y))) || (x.zero && is_tiny(&y)))
        return false;
    if (sign(&x) != sign(&y))
        return true;
    if (x.exponent > EXPONENT_CERTAIN && y.exponent > EXPONENT_CERTAIN)
        return false; /* both may be infinite */

    int64_t apart = x.exponent - y.exponent;

    if (apart < -1 || apart > 1)
        return true;
    return llabs((long long)(leading(&x, apart > 0) - leading(&y, apart < 0))) > 1000;
}
