/* chance: ChaCha20 against the vectors of RFC 8439, appendix A.1; pieces that never repeat. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "libcore/chance.h"

static void check_block(const uint32_t key[8], uint32_t first, unsigned lane, const char *hex) {
    uint32_t words[16][ES_CHANCE_LANES];
    char text[129];
    es_chacha20(key, first, words);
    for (size_t i = 0; i < 64; i++)
        snprintf(text + 2 * i, 3, "%02x", words[i / 4][lane] >> (i % 4 * 8) & 0xff);
    assert_string_equal(text, hex);
}

static void test_gives_the_blocks_of_the_rfc(void **state) {
    static const uint32_t zero[8] = {0}, one[8] = {[7] = 0x01000000}, ff[8] = {0x0000ff00};
    (void)state;
    check_block(zero, 0, 0,
                "76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7"
                "da41597c5157488d7724e03fb8d84a376a43b8f41518a11cc387b669b2ee6586");
    check_block(zero, 0, 1,
                "9f07e7be5551387a98ba977c732d080dcb0f29a048e3656912c6533e32ee7aed"
                "29b721769ce64e43d57133b074d839d531ed1f28510afb45ace10a1f4b794d6f");
    check_block(one, 0, 1,
                "3aeb5224ecf849929b9d828db1ced4dd832025e8018b8160b82284f3c949aa5a"
                "8eca00bbb4a73bdad192b5c42f73f2fd4e273644c8b36125a64addeb006c13a0");
    check_block(ff, 1, 1,
                "72d54dfbf12ec44b362692df94137f328fea8da73990265ec1bbbea1ae9af0ca"
                "13b25aa26cb4a648cb9b9d1be65b2c0924a66c54d545ec1b7374f4872e99f096");
}

static void test_no_piece_repeats_and_the_key_is_not_in_one(void **state) {
    enum { MANY = 40 };
    static unsigned char piece[MANY][ES_CHANCE_PIECE];
    static const unsigned char zeros[ES_CHANCE_KEY];
    struct es_chance c = {0};
    (void)state;
    for (int i = 0; i < MANY; i++) {
        assert_int_equal(es_chance_fill(&c, piece[i]), 0);
        assert_memory_equal(piece[i], zeros, sizeof zeros);
        assert_null(memmem(piece[i], sizeof piece[i], c.key, 16));
        for (int j = 0; j < i; j++)
            assert_memory_not_equal(piece[i] + ES_CHANCE_KEY, piece[j] + ES_CHANCE_KEY, 64);
        for (size_t at = ES_CHANCE_KEY; at + 64 < sizeof piece[i]; at += 32)
            assert_memory_not_equal(piece[i] + at, piece[i] + at + 32, 32);
    }
}

static void test_a_forked_child_has_bytes_of_its_own(void **state) {
    unsigned char mine[ES_CHANCE_PIECE], its[ES_CHANCE_PIECE];
    struct es_chance c = {0};
    int ends[2], status;
    (void)state;
    assert_int_equal(es_chance_fill(&c, mine), 0);
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0)
        _exit(es_chance_fill(&c, its) == 0 && write(ends[1], its, sizeof its) == (ssize_t)sizeof its ? 0 : 1);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(read(ends[0], its, sizeof its), sizeof its);
    assert_int_equal(es_chance_fill(&c, mine), 0);
    assert_memory_not_equal(mine + ES_CHANCE_KEY, its + ES_CHANCE_KEY, 64);
    close(ends[0]);
    close(ends[1]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gives_the_blocks_of_the_rfc),
        cmocka_unit_test(test_no_piece_repeats_and_the_key_is_not_in_one),
        cmocka_unit_test(test_a_forked_child_has_bytes_of_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
