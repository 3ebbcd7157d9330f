/* Native predicates against libjq, which is linked into this test only: the same answer for every made-up expression and
 * event. SEED=N repeats another run, SEED=random makes one up; PAIRS=N sets how many are compared. */
#include <jq.h>
#include <jv.h>

#include "tests/unit/predicate_gen.h"
#include "tests/unit/store_fixture.h"

#include "libcore/predicate.h"

#define DEFAULT_SEED "20261123"
#define DEFAULT_PAIRS 120000u
#define EXPRESSIONS 25 /* compiled into one program: libjq takes 17 ms for any */
#define EVENTS 40

#ifdef __SANITIZE_ADDRESS__
__attribute__((visibility("default"))) const char *__lsan_default_suppressions(void); /* called by LeakSanitizer */

/* libjq itself loses memory when some expressions fail. */
const char *__lsan_default_suppressions(void) {
    return "leak:libjq\n";
}
#endif

static void no_message(void *context, jv message) {
    (void)context;
    jv_free(message);
}

static jq_state *open_jq(const char *program) {
    jq_state *jq = jq_init();

    assert_non_null(jq);
    jq_set_error_cb(jq, no_message, NULL);
    if (!jq_compile(jq, program)) {
        jq_teardown(&jq);
        return NULL;
    }
    return jq;
}

/* ---- answers ---- */

struct counts {
    unsigned pairs, native, yes, errors, disagreements, unreadable;
    unsigned expressions, left; /* compiled natively, and not */
};

struct batch {
    struct gen_text text[EXPRESSIONS];
    struct es_predicate *native[EXPRESSIONS];
};

/* Expressions until there are enough native ones; the others are counted only. */
static void make_batch(struct batch *b, struct counts *counts) {
    for (int i = 0; i < EXPRESSIONS;) {
        struct esdb_error err = {0};

        gen_expression(&b->text[i]);

        int rc = es_predicate_compile((struct esdb_text){b->text[i].at, b->text[i].len}, &b->native[i], &err);

        if (rc == ESDB_EUSAGE) {
            print_error("%s\n  %s\n", b->text[i].at, err.text);
            fail_msg("a valid expression was refused");
        }
        counts->expressions += rc == 0;
        counts->left += rc == ESDB_END;
        i += rc == 0;
    }
}

/* One program that gives an array: of each expression whether it passes (true, false), or "error". */
static jq_state *compile_batch(const struct batch *b) {
    static char program[EXPRESSIONS * 8300];
    size_t len = 0;
    jq_state *jq;

    for (int i = 0; i < EXPRESSIONS; i++)
        len += (size_t)snprintf(program + len, sizeof program - len,
                                "%s(try [%s] catch \"error\" | if type == \"array\" then any else . end)",
                                i > 0 ? "," : "[", b->text[i].at);
    snprintf(program + len, sizeof program - len, "]");
    jq = open_jq(program);
    if (!jq) {
        for (int i = 0; i < EXPRESSIONS; i++) {
            jq = open_jq(b->text[i].at);
            if (!jq)
                print_error("libjq cannot compile: %s\n", b->text[i].at);
            else
                jq_teardown(&jq);
        }
        fail_msg("what was compiled natively is no expression of jq");
    }
    return jq;
}

static void compare(const struct batch *b, int i, const struct gen_event *e, jv expected, struct counts *counts) {
    static const char *const names[] = {"no", "yes", "ask"};
    int answer = es_predicate_eval(b->native[i], &e->event);
    bool is_error = jv_get_kind(expected) == JV_KIND_STRING;
    bool is_yes = jv_get_kind(expected) == JV_KIND_TRUE;

    counts->pairs++;
    counts->native += answer != ES_PREDICATE_ASK;
    counts->errors += is_error;
    counts->yes += answer == ES_PREDICATE_YES;
    if (answer == ES_PREDICATE_ASK || (!is_error && answer == is_yes))
        return;
    if (counts->disagreements++ < 10)
        print_error("native %s, libjq %s\n  %s\n  %s\n", names[answer], is_error ? "error" : names[is_yes],
                    b->text[i].at, e->json.at);
}

static void run_batch(const struct batch *b, jq_state *jq, struct counts *counts) {
    static struct gen_event e;

    for (int k = 0; k < EVENTS; k++) {
        gen_event(&e);

        jv input = jv_parse_sized(e.json.at, (int)e.json.len), result;

        if (!jv_is_valid(input)) { /* jq 1.6 and half a surrogate pair */
            jv_free(input);
            counts->unreadable++;
            continue;
        }
        jq_start(jq, input, 0);
        result = jq_next(jq);
        assert_int_equal(jv_get_kind(result), JV_KIND_ARRAY);
        assert_int_equal(jv_array_length(jv_copy(result)), EXPRESSIONS);
        for (int i = 0; i < EXPRESSIONS; i++) {
            jv expected = jv_array_get(jv_copy(result), i);

            compare(b, i, &e, expected, counts);
            jv_free(expected);
        }
        jv_free(result);
    }
}

static void answers_are_those_of_libjq(void **state) {
    static struct batch b;
    struct counts counts = {0};
    const char *text = getenv("PAIRS");
    unsigned pairs = text ? (unsigned)strtoul(text, NULL, 10) : DEFAULT_PAIRS;

    (void)state;
    while (counts.pairs < pairs) {
        make_batch(&b, &counts);

        jq_state *jq = compile_batch(&b);

        run_batch(&b, jq, &counts);
        jq_teardown(&jq);
        for (int i = 0; i < EXPRESSIONS; i++)
            es_predicate_close(b.native[i]);
    }
    print_message(
        "%u pairs: %u disagreements; %.1f %% pass, %.1f %% fail in libjq; answered natively %.1f %%, of those "
        "that do not fail %.1f %%\n%u expressions, %u more left to libjq; %u events that libjq cannot read\n",
        counts.pairs, counts.disagreements, 100.0 * counts.yes / counts.pairs, 100.0 * counts.errors / counts.pairs,
        100.0 * counts.native / counts.pairs, 100.0 * counts.native / (counts.pairs - counts.errors),
        counts.expressions, counts.left, counts.unreadable);
    assert_int_equal(counts.disagreements, 0);
    assert_true(counts.native > (counts.pairs - counts.errors) / 100 * 95);
    assert_true(counts.yes > counts.pairs / 20);
    assert_true(counts.left < counts.expressions / 5);
}

/* ---- what decides expressions that jq must understand ---- */

/* An expression of `and` and `or` with a part that only jq knows, and often something that makes the first operands decide
 * nothing. */
static void gen_guarded(struct gen_text *out) {
    static const char *const joins[] = {" and ", " and ", " or ", " or ", "and", "|", ", ", " // ", " as $x | "};
    static const char *const only_jq[] = {
        "(.data | tostring | length > 3)",
        "(.data | any)",
        "error(\"no\")",
        ".version + 1 > 3",
        "(.data as $d | $d == 1)",
        "([.data, 1.5] | length == 2)",
        "(if .version then true else empty end)",
        "if .version > 2 then true | not else true end",
        "(.event_type | ascii_downcase == \"a and ) or \\\" (\")",
        "\"\\(.version)\" == \"1\"",
        "(.event_type | test(\"^[A-M]\"))",
        "(try error catch false)",
        "reduce 1 as $i (0; . + $i) == 1",
        "-.version < 1.5",
        "(true, false)",
        "..",
        "(.data # or (\n)",
        ".event_type + \"(\" == \"\" or .event_type + \")\" > \"\"",
    };
    static const char *const ends[] = {
        "",         "",         "",          "",  "",          " | not",           ", true",
        " // true", " or true", " and true", "?", " == false", " or .version > 1", " - 1"};
    struct gen_text part;

    out->len = 0;
    for (unsigned i = test_random() % 3; i < 3; i++) {
        gen_expression(&part);
        if (part.len > 300)
            continue;
        bool bare = test_random() % 2;

        gen_add(out, bare ? "" : "(");
        gen_add(out, part.at);
        gen_add(out, bare ? "" : ")");
        gen_add(out, i < 2 || test_random() % 4 ? joins[test_random() % 4] : joins[test_random() % 9]);
    }
    gen_add(out, only_jq[test_random() % (sizeof only_jq / sizeof *only_jq)]);
    gen_add(out, ends[test_random() % (sizeof ends / sizeof *ends)]);
}

/* Up to EXPRESSIONS that have a guard, and that libjq can compile. */
static void make_guarded(struct batch *b, bool *decides_yes, struct counts *counts) {
    for (int i = 0; i < EXPRESSIONS;) {
        struct es_predicate *p = NULL;

        gen_guarded(&b->text[i]);

        struct esdb_text text = {b->text[i].at, b->text[i].len};
        int rc = es_predicate_compile(text, &p, NULL);

        if (rc == 0)
            es_predicate_close(p);
        if (rc != ESDB_END)
            continue;
        counts->left++;
        if (es_predicate_compile_guard(text, &b->native[i], &decides_yes[i]) != 0)
            continue;

        jq_state *jq = open_jq(text.at);

        if (jq) {
            jq_teardown(&jq);
            i++;
            counts->expressions++;
        } else {
            es_predicate_close(b->native[i]); /* the helper refuses it too, before any event */
        }
    }
}

static void first_operands_decide_as_in_libjq(void **state) {
    static struct batch b;
    static struct gen_event e;
    bool decides_yes[EXPRESSIONS];
    struct counts counts = {0};

    (void)state;
    for (int round = 0; round < 12; round++) {
        make_guarded(&b, decides_yes, &counts);

        jq_state *jq = compile_batch(&b);

        for (int k = 0; k < EVENTS * 4; k++) {
            gen_event(&e);

            jv input = jv_parse_sized(e.json.at, (int)e.json.len), result;

            if (!jv_is_valid(input)) {
                jv_free(input);
                continue;
            }
            jq_start(jq, input, 0);
            result = jq_next(jq);
            for (int i = 0; i < EXPRESSIONS; i++) {
                jv expected = jv_array_get(jv_copy(result), i);
                int answer = es_predicate_eval(b.native[i], &e.event);

                counts.pairs++;
                if (answer == decides_yes[i]) {
                    counts.native++;
                    if (jv_get_kind(expected) != (answer ? JV_KIND_TRUE : JV_KIND_FALSE) && counts.disagreements++ < 10)
                        print_error("guard %d, libjq %s\n  %s\n  %s\n", answer, jv_kind_name(jv_get_kind(expected)),
                                    b.text[i].at, e.json.at);
                }
                jv_free(expected);
            }
            jv_free(result);
        }
        jq_teardown(&jq);
        for (int i = 0; i < EXPRESSIONS; i++)
            es_predicate_close(b.native[i]);
    }
    print_message(
        "%u expressions of %u have a first operand that may decide; it did for %.1f %% of %u pairs, %u wrong\n",
        counts.expressions, counts.left, 100.0 * counts.native / counts.pairs, counts.pairs, counts.disagreements);
    assert_int_equal(counts.disagreements, 0);
    assert_true(counts.native > counts.pairs / 5);
}

/* ---- every pair of values ---- */

/* What a program says of an event's data: an array of true and false. */
static jv ask(jq_state *jq, const char *data) {
    char json[1024];
    int len = snprintf(json, sizeof json, "{\"data\":%s}", data);
    jv result;

    jq_start(jq, jv_parse_sized(json, len), 0);
    result = jq_next(jq);
    assert_int_equal(jv_get_kind(result), JV_KIND_ARRAY);
    return result;
}

static const char *const operators[] = {"==", "!=", "<", "<=", ">", ">="};

#define OPERATORS (sizeof operators / sizeof *operators)

/* Returns 1 when it was answered natively. */
static int compare_one(const struct es_predicate *p, const char *expression, const char *data, jv expected) {
    struct esdb_event e = {.data = test_text(data)};
    int answer = es_predicate_eval(p, &e);

    if (answer != ES_PREDICATE_ASK && answer != (jv_get_kind(expected) == JV_KIND_TRUE))
        fail_msg("%s with %s: native %d", expression, data, answer);
    jv_free(expected);
    return answer != ES_PREDICATE_ASK;
}

static void every_value_is_compared_with_every_literal_as_in_libjq(void **state) {
    static char program[256 * OPERATORS * 100];
    static struct es_predicate *p[256 * OPERATORS];
    static char text[256 * OPERATORS][100];
    size_t literals, count = 0, len = 1;
    const char *const *values = gen_values(&literals);
    unsigned pairs = 0, native = 0;

    (void)state;
    program[0] = '[';
    for (size_t i = 0; i < literals; i++)
        for (size_t op = 0; op < OPERATORS; op++, count++) {
            snprintf(text[count], sizeof text[count], ".data.a %s %s", operators[op], values[i]);
            assert_int_equal(es_predicate_compile(test_text(text[count]), &p[count], NULL), 0);
            len += (size_t)snprintf(program + len, sizeof program - len, "%s(%s)", count > 0 ? "," : "", text[count]);
        }
    snprintf(program + len, sizeof program - len, "]");

    jq_state *jq = open_jq(program);

    assert_non_null(jq);
    for (size_t k = 0; values[k]; k++) {
        char data[256];

        snprintf(data, sizeof data, "{\"a\":%s}", values[k]);

        jv result = ask(jq, data);

        for (size_t i = 0; i < count; i++, pairs++)
            native += (unsigned)compare_one(p[i], text[i], data, jv_array_get(jv_copy(result), (int)i));
        jv_free(result);
    }
    jq_teardown(&jq);
    for (size_t i = 0; i < count; i++)
        es_predicate_close(p[i]);
    print_message("%u pairs, %.1f %% answered natively\n", pairs, 100.0 * native / pairs);
    assert_true(native > pairs / 10 * 9);
}

static void every_two_values_are_compared_as_in_libjq(void **state) {
    struct es_predicate *p[OPERATORS];
    char text[OPERATORS][32], program[256] = "[";
    size_t literals, len = 1;
    const char *const *values = gen_values(&literals);
    unsigned pairs = 0, native = 0;

    (void)state;
    for (size_t op = 0; op < OPERATORS; op++) {
        snprintf(text[op], sizeof text[op], ".data.a %s .data.b", operators[op]);
        assert_int_equal(es_predicate_compile(test_text(text[op]), &p[op], NULL), 0);
        len += (size_t)snprintf(program + len, sizeof program - len, "%s(%s)", op > 0 ? "," : "", text[op]);
    }
    snprintf(program + len, sizeof program - len, "]");

    jq_state *jq = open_jq(program);

    assert_non_null(jq);
    for (size_t i = 0; values[i]; i++)
        for (size_t k = 0; values[k]; k++) {
            char data[512];

            snprintf(data, sizeof data, "{\"a\":%s,\"b\":%s}", values[i], values[k]);

            jv result = ask(jq, data);

            for (size_t op = 0; op < OPERATORS; op++, pairs++)
                native += (unsigned)compare_one(p[op], text[op], data, jv_array_get(jv_copy(result), (int)op));
            jv_free(result);
        }
    jq_teardown(&jq);
    for (size_t op = 0; op < OPERATORS; op++)
        es_predicate_close(p[op]);
    print_message("%u pairs, %.1f %% answered natively\n", pairs, 100.0 * native / pairs);
    assert_true(native > pairs / 10 * 9);
}

/* ---- syntax ---- */

/* What is refused here is refused by libjq, what is accepted here is accepted there. */
static void mistakes_are_those_of_libjq(void **state) {
    unsigned refused = 0, accepted = 0, left = 0;

    (void)state;
    for (int i = 0; i < 6000; i++) {
        struct gen_text text;
        struct es_predicate *p = NULL;
        struct esdb_error err = {0};

        gen_broken_expression(&text);

        int rc = es_predicate_compile((struct esdb_text){text.at, text.len}, &p, &err);

        es_predicate_close(p);
        refused += rc == ESDB_EUSAGE;
        left += rc == ESDB_END;
        if (rc == ESDB_END || (rc == 0 && accepted++ >= 100)) /* libjq takes long for those that it accepts */
            continue;

        jq_state *jq = open_jq(text.at);

        if ((jq != NULL) != (rc == 0))
            fail_msg("%s\n  libjq %s it; %s", text.at, jq ? "accepts" : "refuses", err.text);
        if (jq)
            jq_teardown(&jq);
    }
    print_message("%u broken expressions refused, %u accepted, %u left to libjq\n", refused, accepted, left);
    assert_true(refused > 1000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_are_those_of_libjq),
        cmocka_unit_test(first_operands_decide_as_in_libjq),
        cmocka_unit_test(every_value_is_compared_with_every_literal_as_in_libjq),
        cmocka_unit_test(every_two_values_are_compared_as_in_libjq),
        cmocka_unit_test(mistakes_are_those_of_libjq),
    };
    const char *seed = getenv("SEED");

    if (!seed)
        setenv("SEED", DEFAULT_SEED, 1);
    else if (strcmp(seed, "random") == 0)
        unsetenv("SEED");
    test_seed();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
