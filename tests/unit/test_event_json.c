/* An event as a line of JSON. */
#include "tests/unit/store_fixture.h"

#include "libcore/event_json.h"

static void check(const struct esdb_event *e, const char *expected) {
    struct es_buffer b = {0};
    assert_int_equal(es_event_json(e, &b), 0);
    assert_true(b.len <= esdb_event_json_room(e) + 1);
    assert_int_equal(b.len, strlen(expected));
    assert_memory_equal(b.at, expected, b.len);
    es_buffer_release(&b);
}

static struct esdb_event small(void) {
    return (struct esdb_event){
        .stream_id = test_text("s"), .event_type = test_text("T"), .event_id = test_text("i"), .version = 7};
}

static void fields_that_it_lacks_are_left_out(void **state) {
    (void)state;
    struct esdb_event e = small();
    check(
        &e,
        "{\"position\":0,\"stream_id\":\"s\",\"version\":7,\"event_id\":\"i\",\"event_type\":\"T\",\"epoch_us\":0}\n");
}

static void all_fields_stand_in_their_order(void **state) {
    (void)state;
    struct esdb_event e = small();
    e.position = UINT64_MAX;
    e.version = 100;
    e.epoch_us = 1234567890123456;
    e.data = test_text("{\"a\":1.00,\"a\":\"\\ud800\"}");
    e.metadata = test_text("null");
    e.data_content_type = test_text("a/b");
    e.metadata_content_type = test_text("c/\"d");
    check(&e, "{\"position\":18446744073709551615,\"stream_id\":\"s\",\"version\":100,\"event_id\":\"i\",\"event_"
              "type\":\"T\","
              "\"epoch_us\":1234567890123456,\"data\":{\"a\":1.00,\"a\":\"\\ud800\"},\"metadata\":null,"
              "\"data_content_type\":\"a/b\",\"metadata_content_type\":\"c/\\\"d\"}\n");
}

static void bytes_are_base_64(void **state) {
    (void)state;
    struct esdb_event e = small();
    e.binary = true;
    e.data = (struct esdb_text){"\xff\0\n~", 4};
    check(&e,
          "{\"position\":0,\"stream_id\":\"s\",\"version\":7,\"event_id\":\"i\",\"event_type\":\"T\",\"epoch_us\":0,"
          "\"data_base64\":\"/wAKfg==\"}\n");
    e.data.len = 0;
    check(&e,
          "{\"position\":0,\"stream_id\":\"s\",\"version\":7,\"event_id\":\"i\",\"event_type\":\"T\",\"epoch_us\":0,"
          "\"data_base64\":\"\"}\n");
}

static void the_room_is_enough_when_everything_is_escaped(void **state) {
    (void)state;
    char name[255];
    memset(name, 1, sizeof name);
    struct esdb_text n = {name, sizeof name};
    struct esdb_event e = {.position = UINT64_MAX,
                           .version = UINT64_MAX,
                           .epoch_us = UINT64_MAX,
                           .stream_id = n,
                           .event_type = n,
                           .event_id = n,
                           .data = test_text("1"),
                           .binary = true,
                           .metadata = test_text("2"),
                           .data_content_type = n,
                           .metadata_content_type = n};
    struct es_buffer b = {0};
    assert_int_equal(es_event_json(&e, &b), 0);
    assert_true(b.len <= esdb_event_json_room(&e) + 1);
    assert_true(b.len > (size_t)6 * 5 * 255);
    es_buffer_release(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_that_it_lacks_are_left_out),
        cmocka_unit_test(all_fields_stand_in_their_order),
        cmocka_unit_test(bytes_are_base_64),
        cmocka_unit_test(the_room_is_enough_when_everything_is_escaped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
