#include "decimal.h"

#include <stdio.h>
#include <string.h>

#define PLAIN_DIGITS 40 /* longer ones are written with an exponent */

static bool is_digit(char c) {
    return (unsigned char)(c - '0') < 10;
}

/* 10^38: one more than the largest coefficient. */
static __int128 limit(void) {
    return (__int128)10000000000000000000u * 10000000000000000000u;
}

/* ---- from text ---- */

/* Of a number without exponent: digits with a point among them. Zeros wait until a digit comes behind them. */
static bool read_digits(const char **at, const char *end, struct es_decimal *d) {
    const char *p = *at;
    int64_t zeros = 0, places = 0; /* behind the point */
    unsigned digits = 0;
    bool point = false;
    for (; p < end && (is_digit(*p) || *p == '.'); p++) {
        if (*p == '.') {
            point = true;
            continue;
        }
        places += point;
        if (*p == '0') {
            zeros += digits > 0;
            continue;
        }
        if (digits + zeros + 1 > ES_DECIMAL_DIGITS)
            return false;
        for (digits += (unsigned)zeros + 1; zeros > 0; zeros--)
            d->coefficient *= 10;
        d->coefficient = d->coefficient * 10 + (*p - '0');
    }
    *at = p;
    if (zeros - places < -ES_DECIMAL_EXPONENT_MAX || zeros - places > ES_DECIMAL_EXPONENT_MAX)
        return d->coefficient == 0;
    d->exponent = (int32_t)(zeros - places);
    return true;
}

static int64_t read_exponent(const char *p, const char *end) {
    bool negative = p < end && *p == '-';
    int64_t value = 0;
    if (p < end && (*p == '-' || *p == '+'))
        p++;
    for (; p < end && is_digit(*p); p++)
        if (value <= ES_DECIMAL_EXPONENT_MAX * 10)
            value = value * 10 + (*p - '0');
    return negative ? -value : value;
}

bool es_decimal_parse(struct fmt_text number, struct es_decimal *out) {
    const char *p = number.at, *end = number.at + number.len;
    struct es_decimal d = {0, 0};
    bool negative = p < end && *p == '-';
    p += negative;
    if (end - p <= 18) { /* most are short integers */
        int64_t value = 0;
        const char *q = p;
        for (; q < end && is_digit(*q); q++)
            value = value * 10 + (*q - '0');
        if (q == end) {
            *out = (struct es_decimal){negative ? -value : value, 0};
            return true;
        }
    }
    if (!read_digits(&p, end, &d))
        return false;
    if (d.coefficient == 0) {
        *out = (struct es_decimal){0, 0};
        return true;
    }
    if (p < end) {
        int64_t exponent = d.exponent + read_exponent(p + 1, end);
        if (exponent < -ES_DECIMAL_EXPONENT_MAX || exponent > ES_DECIMAL_EXPONENT_MAX)
            return false;
        d.exponent = (int32_t)exponent;
    }
    if (negative)
        d.coefficient = -d.coefficient;
    *out = d;
    return true;
}

/* ---- adding ---- */

/* No zeros at the end of the coefficient: so each value has one form. */
static void normalize(struct es_decimal *d) {
    if (d->coefficient == 0)
        d->exponent = 0;
    while (d->coefficient != 0 && d->coefficient % 10 == 0) {
        d->coefficient /= 10;
        d->exponent++;
    }
}

/* Writes the same value with a smaller exponent. False: that needs too many digits. */
static bool scale(struct es_decimal *d, int32_t exponent) {
    __int128 c = d->coefficient;
    if (c == 0 || d->exponent == exponent) {
        d->exponent = exponent;
        return true;
    }
    if (d->exponent - exponent > (int32_t)ES_DECIMAL_DIGITS)
        return false;
    for (int32_t e = d->exponent; e > exponent; e--) {
        if (c >= limit() / 10 || c <= -limit() / 10) /* 128 bits hold little more than 38 digits */
            return false;
        c *= 10;
    }
    *d = (struct es_decimal){c, exponent};
    return true;
}

static bool add(struct es_decimal *a, const struct es_decimal *b) {
    struct es_decimal x = *a, y = *b;
    int32_t exponent = x.exponent < y.exponent ? x.exponent : y.exponent;
    if (!scale(&x, exponent) || !scale(&y, exponent))
        return false;
    if (__builtin_add_overflow(x.coefficient, y.coefficient, &x.coefficient) || x.coefficient >= limit() ||
        x.coefficient <= -limit())
        return false;
    if (x.exponent > ES_DECIMAL_EXPONENT_MAX - (int32_t)ES_DECIMAL_DIGITS) {
        normalize(&x); /* as it is written, and must be read again */
        if (x.exponent > ES_DECIMAL_EXPONENT_MAX)
            return false;
    }
    *a = x;
    return true;
}

bool es_decimal_add(struct es_decimal *a, const struct es_decimal *b) {
    if (a->coefficient == 0) {
        *a = *b;
        return true;
    }
    if (b->coefficient == 0 || add(a, b))
        return true;
    struct es_decimal x = *a, y = *b;
    normalize(&x);
    normalize(&y);
    if (!add(&x, &y))
        return false;
    *a = x;
    return true;
}

/* ---- to text ---- */

static size_t put_digits(unsigned __int128 n, char out[ES_DECIMAL_DIGITS + 1]) {
    char reversed[ES_DECIMAL_DIGITS + 1];
    size_t len = 0;
    do
        reversed[len++] = (char)('0' + (int)(n % 10));
    while ((n /= 10) > 0);
    for (size_t i = 0; i < len; i++)
        out[i] = reversed[len - 1 - i];
    return len;
}

size_t es_decimal_print(const struct es_decimal *number, char out[ES_DECIMAL_ROOM]) {
    struct es_decimal d = *number;
    char digits[ES_DECIMAL_DIGITS + 1], *at = out;
    normalize(&d);
    int32_t e = d.exponent;
    size_t len = put_digits((unsigned __int128)(d.coefficient < 0 ? -d.coefficient : d.coefficient), digits);
    int64_t before = (int64_t)len + e; /* digits before the point */
    if (d.coefficient < 0)
        *at++ = '-';
    if (before > PLAIN_DIGITS || e < -PLAIN_DIGITS) {
        memcpy(at, digits, len);
        return (size_t)(at + len - out) + (size_t)snprintf(at + len, 16, "e%d", (int)e);
    }
    if (before <= 0) {
        memcpy(at, "0.", 2);
        memset(at + 2, '0', (size_t)-before);
        at += 2 - before;
    }
    for (size_t i = 0; i < len; i++) {
        if (before > 0 && (int64_t)i == before)
            *at++ = '.';
        *at++ = digits[i];
    }
    for (; e > 0; e--)
        *at++ = '0';
    return (size_t)(at - out);
}
