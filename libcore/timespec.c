/* timespec.c: points in time as people write them: esdb_time_parse. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "error.h"

#define SECOND 1000000ull
#define MINUTE (60 * SECOND)
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)
#define LAST_YEAR 9999
#define LAST_US (253402300800 * SECOND - 1) /* the last of LAST_YEAR */

struct scan {
    const char *start, *at, *end;
    uint64_t now_us;
    struct esdb_error *err;
};

/* "byte 6: there is no month 13": the place counts from 1. */
__attribute__((format(printf, 3, 4))) static int wrong(struct scan *s, const char *place, const char *format, ...) {
    char text[200];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return es_fail_at(s->err, ESDB_EUSAGE, NULL, (uint64_t)(place - s->start), "byte %zu: %s",
                      (size_t)(place - s->start) + 1, text);
}

static bool at_end(const struct scan *s) {
    return s->at == s->end;
}

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static bool next_is_digit(const struct scan *s) {
    return s->at < s->end && is_digit(*s->at);
}

static bool take(struct scan *s, char c) {
    if (at_end(s) || *s->at != c)
        return false;
    s->at++;
    return true;
}

static void skip_blanks(struct scan *s) {
    while (!at_end(s) && (*s->at == ' ' || *s->at == '\t'))
        s->at++;
}

/* Is the rest this word, in any case? Then it is taken. */
static bool take_last_word(struct scan *s, const char *word) {
    if ((size_t)(s->end - s->at) != strlen(word) || strncasecmp(s->at, word, strlen(word)) != 0)
        return false;
    s->at = s->end;
    return true;
}

/* Digits, at least one. */
static int take_integer(struct scan *s, uint64_t *out) {
    const char *start = s->at;
    uint64_t n = 0;

    if (!next_is_digit(s))
        return wrong(s, start, "a digit is expected");
    for (; next_is_digit(s); s->at++)
        if (__builtin_mul_overflow(n, 10, &n) || __builtin_add_overflow(n, (uint64_t)(*s->at - '0'), &n))
            return wrong(s, start, "the number is too large");
    *out = n;
    return 0;
}

/* Exactly `count` digits that stand for a number of low .. high. */
static int take_digits(struct scan *s, int count, unsigned low, unsigned high, const char *what, unsigned *out) {
    const char *start = s->at;
    unsigned n = 0;

    for (int i = 0; i < count; i++, s->at++) {
        if (!next_is_digit(s))
            return wrong(s, s->at, "the %s has %d digits", what, count);
        n = n * 10 + (unsigned)(*s->at - '0');
    }
    if (n < low || n > high)
        return wrong(s, start, "there is no %s %.*s", what, count, start);
    *out = n;
    return 0;
}

/* ".25": what stands behind the point, in millionths of `unit`; smaller parts are dropped. Nothing there: 0. */
static int take_fraction(struct scan *s, uint64_t *millionths) {
    uint64_t weight = 100000;

    *millionths = 0;
    if (!take(s, '.'))
        return 0;
    if (!next_is_digit(s))
        return wrong(s, s->at, "a digit is expected behind the point");
    for (; next_is_digit(s); s->at++, weight /= 10)
        *millionths += weight * (uint64_t)(*s->at - '0');
    return 0;
}

/* ---- dates ---- */

static int64_t offset_at(int64_t seconds) {
    time_t t = (time_t)seconds;
    struct tm tm;

    return localtime_r(&t, &tm) ? tm.tm_gmtoff : 0;
}

/* The instant of a local time, which is given as if it were UTC. Of a time that the clock shows twice, the first; a time
 * that the clock leaves out counts on from before the gap. */
static int64_t from_local(int64_t as_utc) {
    int64_t before = offset_at(as_utc - 86400), after = offset_at(as_utc + 86400);

    if (offset_at(as_utc - before) != before && offset_at(as_utc - after) == after)
        return as_utc - after;
    return as_utc - before;
}

static int64_t to_seconds(unsigned year, unsigned month, unsigned day, int64_t second_of_day) {
    struct tm tm = {.tm_year = (int)year - 1900, .tm_mon = (int)month - 1, .tm_mday = (int)day};

    return timegm(&tm) + second_of_day;
}

/* Local midnight, `days` from today. */
static int64_t midnight(uint64_t now_us, int days) {
    time_t now = (time_t)(now_us / SECOND);
    struct tm tm;

    if (!localtime_r(&now, &tm))
        gmtime_r(&now, &tm);
    tm.tm_mday += days;
    tm.tm_hour = tm.tm_min = tm.tm_sec = 0;
    tm.tm_isdst = 0;
    return from_local(timegm(&tm));
}

/* "Z", "UTC", "+hh:mm", "+hhmm", "+hh". False in *has: nothing like that. */
static int take_zone(struct scan *s, bool *has, int64_t *seconds) {
    unsigned hours = 0, minutes = 0;
    bool is_behind;
    int rc;

    *has = true;
    *seconds = 0;
    skip_blanks(s);
    if (take_last_word(s, "z") || take_last_word(s, "utc"))
        return 0;
    *has = !at_end(s);
    if (!*has)
        return 0;
    is_behind = *s->at == '-';
    if (!take(s, '+') && !take(s, '-'))
        return wrong(s, s->at, "a time zone is expected: Z, UTC, +hh:mm or -hh:mm");
    if ((rc = take_digits(s, 2, 0, 23, "zone hour", &hours)) != 0)
        return rc;
    if ((take(s, ':') || next_is_digit(s)) && (rc = take_digits(s, 2, 0, 59, "zone minute", &minutes)) != 0)
        return rc;
    *seconds = (int64_t)hours * 3600 + minutes * 60;
    if (is_behind)
        *seconds = -*seconds;
    return 0;
}

/* "12:30[:59[.5]]" */
static int take_clock(struct scan *s, int64_t *second_of_day, uint64_t *us) {
    unsigned hour = 0, minute = 0, second = 0;
    int rc;

    if ((rc = take_digits(s, 2, 0, 23, "hour", &hour)) != 0)
        return rc;
    if (!take(s, ':'))
        return wrong(s, s->at, "':' and minutes are expected");
    if ((rc = take_digits(s, 2, 0, 59, "minute", &minute)) != 0)
        return rc;
    /* 60: a leap second, which Unix time counts as the first one of the next minute. */
    if (take(s, ':') && ((rc = take_digits(s, 2, 0, 60, "second", &second)) != 0 || (rc = take_fraction(s, us)) != 0))
        return rc;
    *second_of_day = (int64_t)hour * 3600 + minute * 60 + second;
    return 0;
}

/* The zone, if any, and the whole as microseconds. */
static int finish_date(struct scan *s, int64_t as_utc, uint64_t us, uint64_t *out) {
    int64_t zone = 0, seconds;
    bool has_zone;
    int rc = take_zone(s, &has_zone, &zone);

    if (rc != 0)
        return rc;
    if (!at_end(s))
        return wrong(s, s->at, "this is too much");
    seconds = has_zone ? as_utc - zone : from_local(as_utc);
    if (seconds < 0)
        return wrong(s, s->start, "times before 1970 are not kept");
    *out = (uint64_t)seconds * SECOND + us;
    return 0;
}

/* "2025-11-23", "2025-11-23T15:04[:05[.123456]][Z]" */
static int parse_date(struct scan *s, uint64_t *out) {
    static const unsigned char month_days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    unsigned year = 1970, month = 1, day = 1, days;
    int64_t second_of_day = 0;
    uint64_t us = 0;
    int rc;

    if ((rc = take_digits(s, 4, 1, LAST_YEAR, "year", &year)) != 0)
        return rc;
    if (!take(s, '-'))
        return wrong(s, s->at, "'-' and a month are expected");
    if ((rc = take_digits(s, 2, 1, 12, "month", &month)) != 0)
        return rc;
    if (!take(s, '-'))
        return wrong(s, s->at, "'-' and a day are expected");
    days = month_days[month - 1] + (month == 2 && year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) ? 1u : 0);
    if ((rc = take_digits(s, 2, 1, days, "day", &day)) != 0)
        return rc;
    if (take(s, 'T') || take(s, 't') || (!at_end(s) && s->end - s->at > 1 && *s->at == ' ' && is_digit(s->at[1]))) {
        skip_blanks(s);
        if ((rc = take_clock(s, &second_of_day, &us)) != 0)
            return rc;
    }
    return finish_date(s, to_seconds(year, month, day, second_of_day), us, out);
}

/* "15:04": today. */
static int parse_clock(struct scan *s, uint64_t *out) {
    time_t now = (time_t)(s->now_us / SECOND);
    int64_t second_of_day = 0;
    uint64_t us = 0;
    struct tm tm;
    int rc = take_clock(s, &second_of_day, &us);

    if (rc != 0)
        return rc;
    if (!localtime_r(&now, &tm))
        gmtime_r(&now, &tm);
    return finish_date(
        s, to_seconds((unsigned)tm.tm_year + 1900, (unsigned)tm.tm_mon + 1, (unsigned)tm.tm_mday, second_of_day), us,
        out);
}

/* ---- numbers ---- */

static int parse_epoch(struct scan *s, uint64_t *out) {
    uint64_t seconds, us;
    int rc;

    if ((rc = take_integer(s, &seconds)) != 0 || (rc = take_fraction(s, &us)) != 0)
        return rc;
    if (!at_end(s))
        return wrong(s, s->at, "@ is followed by seconds since 1970, such as @1700000000.5");
    if (seconds > LAST_US / SECOND)
        return wrong(s, s->start + 1, "that is after the year %d", LAST_YEAR);
    *out = seconds * SECOND + us;
    return 0;
}

/* Digits alone are microseconds; not so few that they would rather be a date, seconds or milliseconds. */
static int parse_microseconds(struct scan *s, uint64_t *out) {
    size_t len = (size_t)(s->end - s->at);
    int rc = take_integer(s, out);

    if (rc != 0)
        return rc;
    if (*out != 0 && (len < 15 || len > 17))
        return wrong(s, s->start, "a number alone is epoch_us, of 15 to 17 digits; @ is for seconds");
    return *out > LAST_US ? wrong(s, s->start, "that is after the year %d", LAST_YEAR) : 0;
}

/* ---- spans ---- */

static const struct {
    const char *name;
    uint64_t us;
} units[] = {
    {"us", 1},
    {"usec", 1},
    {"\xc2\xb5s", 1},
    {"ms", 1000},
    {"msec", 1000},
    {"s", SECOND},
    {"sec", SECOND},
    {"second", SECOND},
    {"seconds", SECOND},
    {"m", MINUTE},
    {"min", MINUTE},
    {"minute", MINUTE},
    {"minutes", MINUTE},
    {"h", HOUR},
    {"hr", HOUR},
    {"hour", HOUR},
    {"hours", HOUR},
    {"d", DAY},
    {"day", DAY},
    {"days", DAY},
    {"w", 7 * DAY},
    {"week", 7 * DAY},
    {"weeks", 7 * DAY},
    {"M", 2630016 * SECOND},
    {"month", 2630016 * SECOND},
    {"months", 2630016 * SECOND},
    {"y", 31557600 * SECOND},
    {"year", 31557600 * SECOND},
    {"years", 31557600 * SECOND},
};

/* The unit that stands here, spelt as in the table. None, and nothing else either: seconds. */
static int take_unit(struct scan *s, uint64_t *us) {
    const char *start = s->at;
    size_t len;

    while (!at_end(s) && !is_digit(*s->at) && *s->at != ' ' && *s->at != '\t')
        s->at++;
    len = (size_t)(s->at - start);
    *us = SECOND;
    if (len == 0)
        return 0;
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        *us = units[i].us;
        if (strlen(units[i].name) == len && memcmp(units[i].name, start, len) == 0)
            return 0;
    }
    return wrong(s, start, "'%.*s' is no unit of time (us ms s min h d w month y)", (int)(len < 40 ? len : 40), start);
}

/* "1h30min", "2 hours", "1.5d", "90". Stops before "ago". */
static int take_span(struct scan *s, uint64_t *out) {
    *out = 0;
    do {
        const char *start = s->at;
        uint64_t n, millionths, unit, part;
        int rc;

        if ((rc = take_integer(s, &n)) != 0 || (rc = take_fraction(s, &millionths)) != 0)
            return rc;
        skip_blanks(s);
        unit = SECOND;
        if ((size_t)(s->end - s->at) != 3 || strncasecmp(s->at, "ago", 3) != 0)
            if ((rc = take_unit(s, &unit)) != 0)
                return rc;
        if (__builtin_mul_overflow(n, unit, &part) ||
            __builtin_add_overflow(part, (uint64_t)((unsigned __int128)millionths * unit / SECOND), &part) ||
            __builtin_add_overflow(*out, part, out))
            return wrong(s, start, "the time is too long");
        skip_blanks(s);
    } while (next_is_digit(s));
    return 0;
}

static int parse_relative(struct scan *s, uint64_t *out) {
    bool is_back = take(s, '-'), is_forward = !is_back && take(s, '+');
    uint64_t span;
    int rc;

    skip_blanks(s);
    if ((rc = take_span(s, &span)) != 0)
        return rc;
    if (!is_back && !is_forward) {
        if (!take_last_word(s, "ago"))
            return wrong(s, s->at, "before or after now? As -2h, '2h ago' or +2h");
        is_back = true;
    }
    if (!at_end(s))
        return wrong(s, s->at, "this is too much");
    if (is_back && span > s->now_us)
        return wrong(s, s->start, "times before 1970 are not kept");
    if (!is_back && (span > LAST_US || s->now_us + span > LAST_US))
        return wrong(s, s->start, "that is after the year %d", LAST_YEAR);
    *out = is_back ? s->now_us - span : s->now_us + span;
    return 0;
}

/* ---- all ---- */

static int parse_number(struct scan *s, uint64_t *out) {
    size_t digits = 0;

    while (s->at + digits < s->end && is_digit(s->at[digits]))
        digits++;
    if (s->at + digits == s->end)
        return parse_microseconds(s, out);
    if (s->at[digits] == '-')
        return parse_date(s, out);
    return s->at[digits] == ':' ? parse_clock(s, out) : parse_relative(s, out);
}

int esdb_time_parse(struct esdb_text text, uint64_t now_us, uint64_t *epoch_us, struct esdb_error *err) {
    static const char *const days[] = {"yesterday", "today", "tomorrow"};
    struct scan s = {text.at, text.at, text.at + text.len, now_us, err};
    uint64_t us = now_us;
    int rc = 0;

    tzset();
    skip_blanks(&s);
    while (s.end > s.at && (s.end[-1] == ' ' || s.end[-1] == '\t'))
        s.end--;
    for (int i = 0; i < 3; i++)
        if (take_last_word(&s, days[i])) {
            int64_t seconds = midnight(now_us, i - 1);

            *epoch_us = seconds < 0 ? 0 : (uint64_t)seconds * SECOND;
            return 0;
        }
    if (at_end(&s))
        rc = wrong(&s, s.at, "a time is expected, such as 2025-11-23, 2025-11-23T15:04:05Z, -2h or yesterday");
    else if (take(&s, '@'))
        rc = parse_epoch(&s, &us);
    else if (is_digit(*s.at))
        rc = parse_number(&s, &us);
    else if (*s.at == '-' || *s.at == '+')
        rc = parse_relative(&s, &us);
    else if (!take_last_word(&s, "now"))
        rc = wrong(&s, s.at, "a time is expected, such as 2025-11-23, 2025-11-23T15:04:05Z, -2h or yesterday");
    if (rc == 0)
        *epoch_us = us;
    return rc;
}
