/* jq programs in helpers: order, verdicts, outputs, and how helpers end. tests/42-jq-child.bats has programs that misbehave. */
#include "tests/unit/store_fixture.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>

#include "libcore/jq_child.h"

static struct es_jq *open_jq(const char *program, const struct es_jq_options *o) {
    struct esdb_error err = {0};
    struct es_jq *jq = NULL;
    int rc = es_jq_open(test_text(program), o, &jq, &err);
    if (rc != 0)
        fail_msg("%s: %s", program, err.text);
    return jq;
}

static void send(struct es_jq *jq, const char *text, uint32_t count) {
    struct es_buffer lines = {0};
    assert_int_equal(es_buffer_add(&lines, text, strlen(text)), 0);
    assert_int_equal(es_jq_send(jq, &lines, count, NULL), 0);
    assert_int_equal(lines.len, 0);
    es_buffer_release(&lines);
}

static struct es_jq_results receive(struct es_jq *jq) {
    struct es_jq_results r;
    struct esdb_error err = {0};
    if (es_jq_receive(jq, &r, &err) != 0)
        fail_msg("%s", err.text);
    return r;
}

static void check_text(struct esdb_text text, const char *expected) {
    assert_int_equal(text.len, strlen(expected));
    assert_memory_equal(text.at, expected, text.len);
}

static void verdicts_are_yes_no_and_failed(void **state) {
    (void)state;
    struct es_jq *jq = open_jq(".a | if . == 3 then error(\"three\") elif . == 4 then empty else . end", NULL);
    send(jq, "{\"a\":1}\n{\"a\":false}\n{}\n{\"a\":3}\n{\"a\":4}\n{\"a\":0}\n{\"a\":3}\n", 7);
    struct es_jq_results r = receive(jq);
    assert_int_equal(r.count, 7);
    assert_memory_equal(r.verdict, "\1\0\0\2\0\1\2", 7);
    assert_int_equal(r.failed, 2);
    assert_int_equal(r.first_failed, 3);
    check_text(r.failure, "three");
    es_jq_close(jq);
}

static void any_value_of_several_is_enough(void **state) {
    (void)state;
    struct es_jq *jq = open_jq(".[]", NULL);
    send(jq, "[false,null,1]\n[null]\n[]\n[0]\n5\n", 5);
    struct es_jq_results r = receive(jq);
    assert_memory_equal(r.verdict, "\1\0\0\1\2", 5);
    check_text(r.failure, "Cannot iterate over number (5)");
    es_jq_close(jq);
}

static void texts_of_every_kind_are_taken(void **state) {
    (void)state;
    struct es_jq *jq = open_jq(".", &(struct es_jq_options){.transform = true});
    send(jq, "1\n\"x\"\nnull\n[]\n{\"a\":[1, 2]}\n{\"a\":}\n{\"a\":1\n{\"a\":1} 2\n\ntrue\n", 10);
    struct es_jq_results r = receive(jq);
    assert_memory_equal(r.verdict, "\1\1\1\1\1\2\2\2\2\1", 10);
    check_text(r.output, "1\n\"x\"\nnull\n[]\n{\"a\":[1,2]}\ntrue\n");
    assert_true(r.failure.len > 0 && r.failure.len < 100);
    es_jq_close(jq);
}

static void outputs_are_counted_for_each_input(void **state) {
    (void)state;
    struct es_jq *jq =
        open_jq(".[] | if . == 3 then error({a: 1}) else {v: .} end", &(struct es_jq_options){.transform = true});
    send(jq, "[1,2]\n[]\n[1,3,1]\n[\"\\n\\u0007\"]\n", 4);
    struct es_jq_results r = receive(jq);
    static const uint32_t counts[] = {2, 0, 1, 1};
    assert_int_equal(r.count, 4);
    assert_memory_equal(r.verdict, "\1\1\2\1", 4);
    assert_memory_equal(r.output_count, counts, sizeof counts);
    check_text(r.output, "{\"v\":1}\n{\"v\":2}\n{\"v\":1}\n{\"v\":\"\\n\\u0007\"}\n");
    check_text(r.failure, "{\"a\":1}");
    es_jq_close(jq);
}

static void arguments_are_variables(void **state) {
    (void)state;
    struct es_jq_options o = {.transform = true, .arguments = test_text("{\"x\":{\"y\":[7]},\"z\":1}")};
    struct es_jq *jq = open_jq("$x.y[0] + $z + .", &o);
    send(jq, "1\n", 1);
    check_text(receive(jq).output, "9\n");
    es_jq_close(jq);
    struct esdb_error err = {0};
    o.arguments = test_text("[1]");
    assert_int_equal(es_jq_open(test_text("."), &o, &jq, &err), ESDB_EUSAGE);
    assert_string_equal(err.text, "jq: the arguments are no JSON object");
}

/* Batches of very different cost, with as many under way as there may be: each comes back in its turn, whole. */
static void results_come_in_the_order_of_the_batches(void **state) {
    (void)state;
    struct es_jq_options o = {.transform = true, .helpers = 2};
    struct es_jq *jq = open_jq("if .n % 7 == 0 then (last(range(3000)) | empty), .n else .n end", &o);
    struct es_buffer lines = {0};
    unsigned sent = 0, got = 0, batch = 0;
    while (got < 20000) {
        while (es_jq_room(jq) > 0 && sent < 20000) {
            uint32_t count = 0;
            for (unsigned want = 1 + batch++ % 13 * 40; count < want && sent < 20000; count++) {
                char line[64];
                int len = snprintf(line, sizeof line, "{\"n\":%u}\n", sent++);
                assert_int_equal(es_buffer_add(&lines, line, (size_t)len), 0);
            }
            assert_int_equal(es_jq_send(jq, &lines, count, NULL), 0);
        }
        struct es_jq_results r = receive(jq);
        const char *at = r.output.at;
        for (uint32_t i = 0; i < r.count; i++) {
            char *end;
            assert_int_equal(strtoul(at, &end, 10), got++);
            assert_int_equal(r.output_count[i], 1);
            at = end + 1;
        }
        assert_ptr_equal(at, r.output.at + r.output.len);
    }
    struct es_jq_results r;
    assert_int_equal(es_jq_receive(jq, &r, NULL), ESDB_END);
    es_buffer_release(&lines);
    es_jq_close(jq);
}

/* Both directions are larger than any socket buffer: nobody may wait for the other. */
static void large_batches_both_ways_do_not_lock_up(void **state) {
    (void)state;
    struct es_jq *jq = open_jq("., .", &(struct es_jq_options){.transform = true, .timeout_ms = 30000});
    struct es_buffer lines = {0};
    for (unsigned batch = 0; batch < 8; batch++) {
        while (es_jq_room(jq) == 0)
            assert_int_equal(receive(jq).output.len, 2 * (4u << 20));
        assert_int_equal(es_buffer_reserve(&lines, 4 << 20), 0);
        memset(lines.at, 'x', 4 << 20);
        lines.at[0] = lines.at[(4 << 20) - 2] = '"';
        lines.at[(4 << 20) - 1] = '\n';
        lines.len = 4 << 20;
        assert_int_equal(es_jq_send(jq, &lines, 1, NULL), 0);
    }
    while (es_jq_in_flight(jq) > 0)
        assert_int_equal(receive(jq).output.len, 2 * (4u << 20));
    es_buffer_release(&lines);
    es_jq_close(jq);
}

static void a_full_handle_says_so_and_takes_nothing(void **state) {
    (void)state;
    struct es_jq *jq = open_jq(".", NULL);
    for (unsigned i = 0; i < ES_JQ_IN_FLIGHT; i++)
        send(jq, "1\n", 1);
    assert_int_equal(es_jq_room(jq), 0);
    struct es_buffer lines = {0};
    es_buffer_add(&lines, "2\n", 2);
    assert_int_equal(es_jq_send(jq, &lines, 1, NULL), -EAGAIN);
    assert_int_equal(lines.len, 2);
    es_buffer_release(&lines);
    for (unsigned i = 0; i < ES_JQ_IN_FLIGHT; i++)
        assert_int_equal(receive(jq).count, 1);
    es_jq_close(jq);
}

/* While one batch's results are looked at, others are sent: they stay as they are. */
static void results_stay_until_the_next_ones(void **state) {
    (void)state;
    struct es_jq *jq = open_jq(".", &(struct es_jq_options){.transform = true});
    send(jq, "\"first\"\n", 1);
    struct es_jq_results r = receive(jq);
    for (unsigned i = 0; i < ES_JQ_IN_FLIGHT; i++)
        send(jq, "\"other\"\n", 1);
    struct timespec t = {0, 50000000};
    nanosleep(&t, NULL);
    struct es_buffer none = {0};
    es_jq_send(jq, &none, 0, NULL);
    check_text(r.output, "\"first\"\n");
    es_jq_close(jq);
}

static void an_empty_batch_has_empty_results(void **state) {
    (void)state;
    struct es_jq *jq = open_jq(".", NULL);
    send(jq, "", 0);
    struct es_jq_results r = receive(jq);
    assert_int_equal(r.count, 0);
    assert_int_equal(r.failed, 0);
    es_jq_close(jq);
}

static void programs_that_do_not_compile_are_refused_with_the_place(void **state) {
    (void)state;
    static const struct {
        const char *program, *part;
    } bad[] = {{".a ||", "syntax error"},   {".a\n|\nnope(1)", "line 3"},
               {"$x", "$x is not defined"}, {"import \"a\" as a; .", "module not found: a"},
               {"{", "syntax error"},       {"\"\\(", "syntax error"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct esdb_error err = {0};
        struct es_jq *jq;
        assert_int_equal(es_jq_open(test_text(bad[i].program), NULL, &jq, &err), ESDB_EUSAGE);
        if (!strstr(err.text, bad[i].part) || strncmp(err.text, "jq: ", 4) != 0 || strchr(err.text, '\n'))
            fail_msg("%s: %s", bad[i].program, err.text);
    }
    struct esdb_error err = {0};
    struct es_jq *jq;
    assert_int_equal(es_jq_open((struct esdb_text){".\0.", 3}, NULL, &jq, &err), ESDB_EUSAGE);
    assert_string_equal(err.text, "jq: the program holds a NUL character");
}

static void after_a_failure_the_handle_only_fails(void **state) {
    (void)state;
    struct es_jq *jq = open_jq("last(range(1e12))", &(struct es_jq_options){.timeout_ms = 50, .timeout_option = "--x"});
    struct esdb_error err = {0};
    struct es_jq_results r;
    struct es_buffer lines = {0};
    send(jq, "1\n", 1);
    send(jq, "2\n", 1);
    assert_int_equal(es_jq_receive(jq, &r, &err), ESDB_EUSAGE);
    assert_string_equal(err.text, "the jq program took more than 50 ms of processor time for a batch of events (--x)");
    assert_int_equal(es_jq_receive(jq, &r, NULL), ESDB_EUSAGE);
    assert_int_equal(es_jq_room(jq), 0);
    assert_int_equal(es_jq_send(jq, &lines, 0, NULL), ESDB_EUSAGE);
    es_jq_close(jq);
}

/* Time counts for each batch, not for all. */
static void many_batches_may_take_longer_than_one(void **state) {
    (void)state;
    struct es_jq *jq = open_jq("last(range(200000))", &(struct es_jq_options){.timeout_ms = 300, .helpers = 1});
    for (unsigned i = 0; i < 20; i++) {
        send(jq, "1\n", 1);
        assert_int_equal(receive(jq).verdict[0], ES_JQ_YES);
    }
    es_jq_close(jq);
}

static void on_alarm(int number) {
    (void)number;
}
static void signals_of_the_process_interrupt_nothing(void **state) {
    (void)state;
    struct sigaction action = {.sa_handler = on_alarm}, old;
    struct itimerval often = {{0, 500}, {0, 500}}, off = {{0, 0}, {0, 0}};
    sigaction(SIGALRM, &action, &old);
    setitimer(ITIMER_REAL, &often, NULL);
    results_come_in_the_order_of_the_batches(NULL);
    setitimer(ITIMER_REAL, &off, NULL);
    sigaction(SIGALRM, &old, NULL);
}

static void a_missing_helper_is_named(void **state) {
    (void)state;
    struct esdb_error err = {0};
    struct es_jq *jq;
    setenv("ESDB_LIBEXEC", "/nowhere/at all", 1);
    assert_int_equal(es_jq_open(test_text("."), NULL, &jq, &err), ESDB_EUSAGE);
    unsetenv("ESDB_LIBEXEC");
    assert_string_equal(err.text,
                        "jq programs need the helper esdb-jq: there is none in '/nowhere/at all' ($ESDB_LIBEXEC)");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(verdicts_are_yes_no_and_failed),
        cmocka_unit_test(any_value_of_several_is_enough),
        cmocka_unit_test(texts_of_every_kind_are_taken),
        cmocka_unit_test(outputs_are_counted_for_each_input),
        cmocka_unit_test(arguments_are_variables),
        cmocka_unit_test(results_come_in_the_order_of_the_batches),
        cmocka_unit_test(large_batches_both_ways_do_not_lock_up),
        cmocka_unit_test(a_full_handle_says_so_and_takes_nothing),
        cmocka_unit_test(results_stay_until_the_next_ones),
        cmocka_unit_test(an_empty_batch_has_empty_results),
        cmocka_unit_test(programs_that_do_not_compile_are_refused_with_the_place),
        cmocka_unit_test(after_a_failure_the_handle_only_fails),
        cmocka_unit_test(many_batches_may_take_longer_than_one),
        cmocka_unit_test(signals_of_the_process_interrupt_nothing),
        cmocka_unit_test(a_missing_helper_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
