/* Points in time as people write them. */
#include <time.h>

#include "tests/unit/store_fixture.h"

#define NOW 1700000000123456ull /* 2023-11-14T22:13:20.123456Z, a Tuesday */
#define S 1000000ull

static void set_zone(const char *zone) {
    setenv("TZ", zone, 1);
}

static uint64_t parse_at(const char *text, uint64_t now) {
    struct esdb_error err = {0};
    uint64_t us = 77;
    int rc = esdb_time_parse(test_text(text), now, &us, &err);

    if (rc != 0)
        fail_msg("'%s': %s", text, err.text);
    return us;
}

static uint64_t parse(const char *text) {
    return parse_at(text, NOW);
}

/* It is refused, with this message. */
static void refuse(const char *text, const char *message) {
    struct esdb_error err = {0};
    uint64_t us = 77;
    int rc = esdb_time_parse(test_text(text), NOW, &us, &err);

    if (rc == 0)
        fail_msg("'%s' is taken for %llu", text, (unsigned long long)us);
    assert_int_equal(rc, ESDB_EUSAGE);
    assert_int_equal(us, 77);
    assert_string_equal(err.text, message);
}

static void iso_8601(void **state) {
    (void)state;
    set_zone("UTC");
    assert_int_equal(parse("2023-11-14"), 1699920000 * S);
    assert_int_equal(parse("2023-11-14T22:13"), 1699999980 * S);
    assert_int_equal(parse("2023-11-14T22:13:20"), 1700000000 * S);
    assert_int_equal(parse("2023-11-14 22:13:20"), 1700000000 * S);
    assert_int_equal(parse("  2023-11-14 22:13:20\t"), 1700000000 * S);
    assert_int_equal(parse("2023-11-14T22:13:20.5"), 1700000000 * S + 500000);
    assert_int_equal(parse("2023-11-14T22:13:20.123456"), NOW);
    assert_int_equal(parse("2023-11-14T22:13:20.123456999"), NOW);
    assert_int_equal(parse("2023-11-14T22:13:20.000001Z"), 1700000000 * S + 1);
    assert_int_equal(parse("2023-11-14t22:13:20z"), 1700000000 * S);
    assert_int_equal(parse("2023-11-14T22:13:20+00:00"), 1700000000 * S);
    assert_int_equal(parse("2023-11-14T23:13:20+01:00"), 1700000000 * S);
    assert_int_equal(parse("2023-11-14T23:13:20+01"), 1700000000 * S);
    assert_int_equal(parse("2023-11-15T03:43:20 +0530"), 1700000000 * S);
    assert_int_equal(parse("2023-11-14T10:13:20-12:00"), 1700000000 * S);
    assert_int_equal(parse("2023-11-14 UTC"), 1699920000 * S);
    assert_int_equal(parse("1970-01-01T00:00:00Z"), 0);
    assert_int_equal(parse("9999-12-31T23:59:59.999999Z"), 253402300799 * S + 999999);
    assert_int_equal(parse("2016-12-31T23:59:60Z"), parse("2017-01-01T00:00:00Z"));
    assert_int_equal(parse("22:13:20.25"), 1700000000 * S + 250000);
    assert_int_equal(parse("00:00"), 1699920000 * S);
}

static void leap_years(void **state) {
    (void)state;
    set_zone("UTC");
    assert_int_equal(parse("2024-02-29"), 1709164800 * S);
    assert_int_equal(parse("2000-02-29"), 951782400 * S);
    refuse("2023-02-29", "byte 9: there is no day 29");
    refuse("2100-02-29", "byte 9: there is no day 29");
    refuse("2024-02-30", "byte 9: there is no day 30");
    refuse("2024-04-31", "byte 9: there is no day 31");
}

static void zones(void **state) {
    (void)state;
    set_zone("Asia/Kathmandu"); /* +05:45 */
    assert_int_equal(parse("2023-11-15T03:58:20"), 1700000000 * S);
    assert_int_equal(parse("2023-11-14T22:13:20Z"), 1700000000 * S);
    assert_int_equal(parse("today"), parse("2023-11-15"));
    set_zone("America/New_York");
    assert_int_equal(parse("2023-11-14"), 1699938000 * S);
    assert_int_equal(parse("today"), parse("2023-11-14T00:00:00-05:00"));
    set_zone("Pacific/Kiritimati"); /* +14:00 */
    assert_int_equal(parse("today"), parse("2023-11-15T00:00:00+14:00"));
}

/* The clock goes forward on 2023-03-26 02:00 (+01) and back on 2023-10-29 03:00 (+02). */
static void daylight_saving(void **state) {
    (void)state;
    set_zone("Europe/Berlin");
    assert_int_equal(parse("2023-03-26T01:59:59"), parse("2023-03-26T00:59:59Z"));
    assert_int_equal(parse("2023-03-26T02:30:00"), parse("2023-03-26T01:30:00Z")); /* left out: shown as 03:30 */
    assert_int_equal(parse("2023-03-26T03:00:00"), parse("2023-03-26T01:00:00Z"));
    assert_int_equal(parse("2023-10-29T02:30:00"), parse("2023-10-29T00:30:00Z")); /* shown twice: the first */
    assert_int_equal(parse("2023-10-29T02:30:00+01:00"), parse("2023-10-29T01:30:00Z"));
    assert_int_equal(parse("2023-10-29T03:00:00"), parse("2023-10-29T02:00:00Z"));
    assert_int_equal(parse("2023-10-29"), parse("2023-10-28T22:00:00Z"));
    assert_int_equal(parse("2023-10-30"), parse("2023-10-29T23:00:00Z"));

    uint64_t noon = parse("2023-10-29T12:00:00"); /* a day of 25 hours */
    assert_int_equal(parse_at("tomorrow", noon) - parse_at("today", noon), 25 * 3600 * S);
    noon = parse("2023-03-26T12:00:00");
    assert_int_equal(parse_at("tomorrow", noon) - parse_at("today", noon), 23 * 3600 * S);
    assert_int_equal(parse_at("-1d", noon), noon - 24 * 3600 * S); /* a span is no calendar day */
}

/* Every local time that the C library shows is read back, around changes of the clock and elsewhere. */
static void what_is_shown_is_read_back(void **state) {
    static const char *const names[] = {"Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Asia/Tehran",
                                        "UTC"};

    (void)state;
    for (int i = 0; i < 50000; i++) {
        uint64_t seconds = test_random() % 4000000000u;
        time_t t = (time_t)seconds;
        char text[64];
        struct tm tm;

        if (i % 10000 == 0) {
            set_zone(names[i / 10000]);
            tzset();
        }
        localtime_r(&t, &tm);
        strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S%z", &tm);
        assert_int_equal(parse(text), seconds * S);
        text[19] = '\0';

        uint64_t local = parse(text); /* an earlier one when the clock shows it twice */
        if (local != seconds * S && seconds * S - local != 3600 * S && seconds * S - local != 1800 * S &&
            seconds * S - local != 7200 * S)
            fail_msg("%s in %s: %lld s off", text, names[i / 10000], (long long)(seconds - local / S));
    }
}

static void words(void **state) {
    (void)state;
    set_zone("UTC");
    assert_int_equal(parse("now"), NOW);
    assert_int_equal(parse("NOW"), NOW);
    assert_int_equal(parse("today"), 1699920000 * S);
    assert_int_equal(parse("yesterday"), 1699833600 * S);
    assert_int_equal(parse("Tomorrow"), 1700006400 * S);
    assert_int_equal(parse_at("yesterday", 5), 0); /* no time is before 1970 */
}

static void numbers(void **state) {
    (void)state;
    assert_int_equal(parse("@0"), 0);
    assert_int_equal(parse("@1700000000"), 1700000000 * S);
    assert_int_equal(parse("@1700000000.123456"), NOW);
    assert_int_equal(parse("@1700000000.1234567"), NOW);
    assert_int_equal(parse("@0.000001"), 1);
    assert_int_equal(parse("1700000000123456"), NOW);
    assert_int_equal(parse("0"), 0);
    refuse("1700000000", "byte 1: a number alone is epoch_us, of 15 to 17 digits; @ is for seconds");
    refuse("1700000000123", "byte 1: a number alone is epoch_us, of 15 to 17 digits; @ is for seconds");
    refuse("20231114", "byte 1: a number alone is epoch_us, of 15 to 17 digits; @ is for seconds");
    refuse("2023", "byte 1: a number alone is epoch_us, of 15 to 17 digits; @ is for seconds");
    refuse("170000000012345678", "byte 1: a number alone is epoch_us, of 15 to 17 digits; @ is for seconds");
    refuse("99999999999999999999999", "byte 1: the number is too large");
    refuse("@253402300800", "byte 2: that is after the year 9999");
    refuse("@18446744073709551616", "byte 2: the number is too large");
    refuse("@", "byte 2: a digit is expected");
    refuse("@12.", "byte 5: a digit is expected behind the point");
    refuse("@-5", "byte 2: a digit is expected");
    refuse("@5s", "byte 3: @ is followed by seconds since 1970, such as @1700000000.5");
}

static void spans(void **state) {
    (void)state;
    assert_int_equal(parse("-2h"), NOW - 7200 * S);
    assert_int_equal(parse("-1h30min"), NOW - 5400 * S);
    assert_int_equal(parse("- 1h 30min"), NOW - 5400 * S);
    assert_int_equal(parse("2 hours ago"), NOW - 7200 * S);
    assert_int_equal(parse("2h ago"), NOW - 7200 * S);
    assert_int_equal(parse("1h30min AGO"), NOW - 5400 * S);
    assert_int_equal(parse("+5min"), NOW + 300 * S);
    assert_int_equal(parse("-1.5d"), NOW - 129600 * S);
    assert_int_equal(parse("-90"), NOW - 90 * S);
    assert_int_equal(parse("90 ago"), NOW - 90 * S);
    assert_int_equal(parse("-3us"), NOW - 3);
    assert_int_equal(parse("-3\xc2\xb5s"), NOW - 3);
    assert_int_equal(parse("-0.5s"), NOW - 500000);
    assert_int_equal(parse("-3ms"), NOW - 3000);
    assert_int_equal(parse("-2w"), NOW - 1209600 * S);
    assert_int_equal(parse("-1month"), NOW - 2630016 * S);
    assert_int_equal(parse("-1M"), NOW - 2630016 * S);
    assert_int_equal(parse("-1m"), NOW - 60 * S);
    assert_int_equal(parse("-1y"), NOW - 31557600 * S);
    assert_int_equal(parse("-0s"), NOW);
    refuse("2h", "byte 3: before or after now? As -2h, '2h ago' or +2h");
    refuse("-2x", "byte 3: 'x' is no unit of time (us ms s min h d w month y)");
}

static void garbage(void **state) {
    static const char *const starts =
        "byte 1: a time is expected, such as 2025-11-23, 2025-11-23T15:04:05Z, -2h or yesterday";

    (void)state;
    set_zone("UTC");
    refuse("", starts);
    refuse("never", starts);
    refuse("nowish", starts);
    refuse("2025-13-01", "byte 6: there is no month 13");
    refuse("2025-00-01", "byte 6: there is no month 00");
    refuse("2025-1-01", "byte 7: the month has 2 digits");
    refuse("2025-11", "byte 8: '-' and a day are expected");
    refuse("25-11-23", "byte 3: the year has 4 digits");
    refuse("2025-11-23T", "byte 12: the hour has 2 digits");
    refuse("2025-11-23T24:00", "byte 12: there is no hour 24");
    refuse("2025-11-23T10", "byte 14: ':' and minutes are expected");
    refuse("2025-11-23T10:60", "byte 15: there is no minute 60");
    refuse("2025-11-23T10:00:61", "byte 18: there is no second 61");
    refuse("2025-11-23T10:00:00.", "byte 21: a digit is expected behind the point");
    refuse("2025-11-23T10:00:00 CET", "byte 21: a time zone is expected: Z, UTC, +hh:mm or -hh:mm");
    refuse("2025-11-23T10:00:00+24:00", "byte 21: there is no zone hour 24");
    refuse("2025-11-23T10:00:00+01:0", "byte 25: the zone minute has 2 digits");
    refuse("2025-11-23T10:00:00+01:00x", "byte 26: this is too much");
    refuse("1969-12-31", "byte 1: times before 1970 are not kept");
    refuse("1970-01-01T00:00+01:00", "byte 1: times before 1970 are not kept");
    refuse("-99y", "byte 1: times before 1970 are not kept");
    refuse("+9000y", "byte 1: that is after the year 9999");
    refuse("-600000y", "byte 2: the time is too long");
    refuse("-18446744073709551616us", "byte 2: the number is too large");
    refuse("-2h ago", "byte 5: this is too much");
}

/* Any bytes: an answer or an error, within the text (which is exactly as long as its memory). */
static void any_bytes(void **state) {
    (void)state;
    for (int i = 0; i < 200000; i++) {
        static const char alphabet[] = "0123456789-+:.TZ @ hmsdy ago\xc2\xb5";
        size_t len = test_below(24);
        char *text = malloc(len ? len : 1);
        struct esdb_error err = {0};
        uint64_t us = 0;

        for (size_t k = 0; k < len; k++)
            text[k] = alphabet[test_below(sizeof alphabet)];
        if (esdb_time_parse((struct esdb_text){text, len}, NOW, &us, &err) != 0)
            assert_true(err.offset <= len && strncmp(err.text, "byte ", 5) == 0);
        free(text);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(iso_8601),        cmocka_unit_test(leap_years), cmocka_unit_test(zones),
        cmocka_unit_test(daylight_saving), cmocka_unit_test(words),      cmocka_unit_test(what_is_shown_is_read_back),
        cmocka_unit_test(numbers),         cmocka_unit_test(spans),      cmocka_unit_test(garbage),
        cmocka_unit_test(any_bytes),
    };
    test_seed();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
